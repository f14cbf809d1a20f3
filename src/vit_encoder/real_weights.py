"""09 Real weights: what chapter 09_real_weights builds."""

# Generated from chapters/09_real_weights.md by `make sync`. Do not edit.
# Seal: d6ea50d635192f01

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

from vit_encoder.arguments import require_floating, require_whole


def interpolate_positions(
    pos_embed: torch.Tensor,
    grid: tuple[int, int],
    prefix: int = 1,
    mode: str = "bicubic",
    antialias: bool = True,
    align_corners: bool = False,
) -> torch.Tensor:
    """Position embeddings for another grid of patches (Dosovitskiy et al. 2021, 3.2).

    pos_embed: (1, prefix + side², D), a square grid row by row after `prefix` positions
    of other tokens, which stay as they are. grid: rows and columns of the new grid.
    mode, antialias, align_corners: as for F.interpolate; the defaults are timm's.
    Returns (1, prefix + rows · columns, D), of the same dtype. Raises ValueError or
    TypeError for other arguments.
    """
    require_floating(pos_embed, "positions")
    rows, columns = grid
    require_whole(rows, "rows")
    require_whole(columns, "columns")
    count = pos_embed.shape[-2] - prefix if pos_embed.dim() == 3 else 0
    side = math.isqrt(max(count, 0))
    if side < 1 or pos_embed.shape[:2] != (1, prefix + side**2):
        raise ValueError(
            f"expected positions (1, {prefix} + side², D), got {tuple(pos_embed.shape)}"
        )
    first, places = pos_embed[:, :prefix], pos_embed[:, prefix:]
    places = places.unflatten(1, (side, side)).permute(0, 3, 1, 2)  # (1, D, side, side)
    exact = places.to(torch.promote_types(places.dtype, torch.float32))
    exact = F.interpolate(
        exact, (rows, columns), None, mode, align_corners, antialias=antialias
    )
    places = exact.to(places.dtype).flatten(2).transpose(1, 2)  # (1, rows · columns, D)
    return torch.cat([first, places], dim=1)


class LoRALinear(nn.Module):
    """A frozen nn.Linear and a learned change of low rank (Hu et al. 2022, section 4).

    linear: W_0 (out, in) and its bias, frozen from now on. rank: r, at most the smaller
    of in and out. alpha: the change is B A · alpha / r. `lora_A` is random, `lora_B`
    is 0, so that at the start nothing is changed.
    Maps (..., in) to (..., out). Raises ValueError or TypeError for another rank.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float):
        super().__init__()
        require_whole(rank, "rank")
        self.out_features, self.in_features = linear.weight.shape
        if rank > min(linear.weight.shape):
            raise ValueError(
                f"expected a rank up to {min(linear.weight.shape)}, got {rank}"
            )
        self.linear = linear.requires_grad_(False)
        self.scale = alpha / rank
        new = linear.weight.new_zeros
        self.lora_A = nn.Parameter(new(rank, self.in_features))
        self.lora_B = nn.Parameter(new(self.out_features, rank))
        nn.init.normal_(self.lora_A, std=self.in_features**-0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        change = x @ self.lora_A.T @ self.lora_B.T  # (..., out)
        return self.linear(x) + self.scale * change

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        """One nn.Linear that does the same, with W_0 + B A · alpha / r."""
        merged = copy.deepcopy(self.linear).requires_grad_()
        merged.weight += self.scale * self.lora_B @ self.lora_A
        return merged
