"""02 Self-attention: what chapter 02_self_attention builds."""

# Generated from chapters/02_self_attention.md by `make sync`. Do not edit.
# Seal: 8db84d8b1e624fa6

import math

import torch
from torch import nn

from vit_encoder.arguments import require_tokens


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled dot-product attention (Vaswani et al. 2017, equation 1).

    q: (..., N_q, D_h), k: (..., N_k, D_h), v: (..., N_k, D_v), of one floating dtype.
    Returns the output (..., N_q, D_v) and the weights (..., N_q, N_k). Each row of the
    weights sums to 1.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., N_q, N_k)
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


class SelfAttention(nn.Module):
    """One head of self-attention (Dosovitskiy et al. 2021, equations 5 to 7).

    dim: D, the width of a token. head_dim: D_h, the width of a query, key and value.
    Maps tokens (B, N, D) to (B, N, D_h). Raises ValueError or TypeError if the input
    is not of that form.
    """

    def __init__(self, dim: int, head_dim: int):
        super().__init__()
        self.query = nn.Linear(dim, head_dim)
        self.key = nn.Linear(dim, head_dim)
        self.value = nn.Linear(dim, head_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        require_tokens(x, self.query.in_features)
        q, k, v = self.query(x), self.key(x), self.value(x)  # each (B, N, D_h)
        output, _ = attention(q, k, v)
        return output  # (B, N, D_h)
