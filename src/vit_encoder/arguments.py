"""Clear errors for arguments that a part cannot take."""

import torch


def require_tokens(x: torch.Tensor, dim: int) -> None:
    """Accept tokens of shape (B, N, D) with D equal to `dim`, of a floating dtype.

    Raises TypeError for anything but a floating-point tensor and ValueError for another
    shape; both say what was expected and what came.
    """
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"expected a tensor of tokens, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"expected tokens of a floating-point dtype, got {x.dtype}")
    if x.dim() != 3 or x.shape[-1] != dim:
        raise ValueError(f"expected tokens (B, N, {dim}), got shape {tuple(x.shape)}")
