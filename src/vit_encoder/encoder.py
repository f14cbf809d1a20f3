"""07 The encoder: what chapter 07_encoder builds."""

# Generated from chapters/07_encoder.md by `make sync`. Do not edit.
# Seal: 248f5f1f8b1e41d0

import torch
from torch import nn

from vit_encoder.arguments import require_whole
from vit_encoder.encoder_block import EncoderBlock
from vit_encoder.layer_norm import LayerNorm


class Encoder(nn.Module):
    """L blocks and a final LayerNorm (Dosovitskiy et al. 2021, equations 2 to 4).

    depth: L. dim: D. num_heads: h, divides D. mlp_dim: M. dropout: p, in every block.
    Maps tokens (B, N, D) to (B, N, D). Raises ValueError or TypeError for other sizes
    or inputs.
    """

    def __init__(
        self, depth: int, dim: int, num_heads: int, mlp_dim: int, dropout: float = 0.0
    ):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)  # (B, N, D)
        return self.norm(x)
