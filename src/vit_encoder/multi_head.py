"""03 Multi-head self-attention: what chapter 03_multi_head_self_attention builds."""

# Generated from chapters/03_multi_head_self_attention.md by `make sync`. Do not edit.
# Seal: 1f2842bde774cf1f

import torch
from torch import nn

from vit_encoder.arguments import require_divides, require_tokens
from vit_encoder.self_attention import attention


def split_heads(x: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Give each head its own features: (B, N, D) → (B, h, N, D_h), D_h = D / h.

    Raises ValueError if num_heads does not divide D.
    """
    require_divides(num_heads, x.shape[-1], "num_heads", "the width")
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)  # (B, h, N, D_h)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Put the features of all heads side by side: (B, h, N, D_h) → (B, N, D)."""
    return x.transpose(1, 2).flatten(2)  # (B, N, D)


class MultiHeadSelfAttention(nn.Module):
    """h heads side by side and an output projection (Dosovitskiy et al. 2021, eq. 8).

    dim: D, the width of a token. num_heads: h, divides D.
    Maps tokens (B, N, D) to (B, N, D). Raises ValueError or TypeError if the sizes do
    not divide or the input is not of that form.
    """

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # each (B, N, D)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))  # (B, h, N, D_h)
        output, _ = attention(q, k, v)  # (B, h, N, D_h)
        return self.proj(merge_heads(output))  # (B, N, D)
