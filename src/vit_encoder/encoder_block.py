"""06 The encoder block: what chapter 06_encoder_block builds."""

# Generated from chapters/06_encoder_block.md by `make sync`. Do not edit.
# Seal: 49d2c2333d672d9e

import torch
from torch import nn

from vit_encoder.layer_norm import LayerNorm
from vit_encoder.mlp import MLP, dropout
from vit_encoder.multi_head import MultiHeadSelfAttention


class EncoderBlock(nn.Module):
    """A pre-norm block: attention, then MLP (Dosovitskiy et al. 2021, equations 2, 3).

    dim: D. num_heads: h, divides D. mlp_dim: M, the MLP's hidden width.
    dropout: p, after the attention, after GELU and after the MLP.
    Maps tokens (B, N, D) to (B, N, D). Raises ValueError or TypeError for other sizes
    or inputs.
    """

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attended = self.attn(self.norm1(x))  # (B, N, D)
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))  # (B, N, D)
