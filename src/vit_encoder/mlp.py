"""05 The MLP: what chapter 05_mlp builds."""

# Generated from chapters/05_mlp.md by `make sync`. Do not edit.
# Seal: 1e83947d502e0911

import math

import torch
from torch import nn

from vit_encoder.arguments import require_features, require_probability


def gelu(x: torch.Tensor) -> torch.Tensor:
    """x Φ(x), with Φ the distribution function of N(0, 1) (Hendrycks, Gimpel 2016).

    x: any shape, of a floating dtype. The result has the same shape and dtype.
    """
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def dropout(x: torch.Tensor, p: float, training: bool) -> torch.Tensor:
    """In training, zero each number with probability p and scale the others.

    What is kept is divided by 1 - p, so the mean stays. Srivastava et al. 2014 scale
    after training instead, and name this way as equivalent.
    Outside training x comes back unchanged. Raises ValueError if p is not in [0, 1].
    """
    require_probability(p, "p")
    if not training or p == 0:
        return x
    # Drawn in float32 whatever x is: bfloat16 cannot tell all p apart.
    kept = torch.rand(x.shape, dtype=torch.float32, device=x.device) >= p
    scale = 1 / (1 - p) if p < 1 else 0.0
    return x * kept * scale


class MLP(nn.Module):
    """Two linear layers with GELU between them (Dosovitskiy et al. 2021, section 3.1).

    dim: D. mlp_dim: M, the hidden width. dropout: p, after GELU and at the end.
    Maps (..., D) to (..., D), each token on its own. Raises ValueError or TypeError
    for another input or p.
    """

    def __init__(self, dim: int, mlp_dim: int, dropout: float = 0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        require_features(x, self.fc1.in_features)
        x = dropout(gelu(self.fc1(x)), self.dropout, self.training)  # (..., M)
        return dropout(self.fc2(x), self.dropout, self.training)  # (..., D)
