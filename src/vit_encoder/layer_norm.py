"""04 Layer normalization: what chapter 04_layer_norm builds."""

# Generated from chapters/04_layer_norm.md by `make sync`. Do not edit.
# Seal: 504257e09c2633e2

import torch
from torch import nn

from vit_encoder.arguments import require_features


def layer_norm(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> torch.Tensor:
    """Normalize each token over its features (Ba et al. 2016).

    x: (..., D), floating point. weight: γ (D,). bias: β (D,). eps: ε > 0, added to the
    variance. Returns (..., D) in the dtype of x; float16 and bfloat16 are computed in
    float32. Raises ValueError or TypeError for another input.
    """
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # room for the squares
    mean = wide.mean(dim=-1, keepdim=True)  # (..., 1)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)  # (..., 1)
    normalized = (wide - mean) / torch.sqrt(variance + eps)  # (..., D)
    return (weight * normalized + bias).to(x.dtype)


class LayerNorm(nn.Module):
    """LayerNorm with a learned gain and bias for each feature (Ba et al. 2016).

    dim: D. eps: ε, added to the variance. Maps (..., D) to (..., D). Raises ValueError
    or TypeError for another input.
    """

    def __init__(self, dim: int, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return layer_norm(x, self.weight, self.bias, self.eps)
