"""Clear errors for arguments that a part cannot take."""

import torch


def require_floating(x: torch.Tensor, what: str) -> None:
    """Accept a floating-point tensor. Raises TypeError for anything else.

    what: what was expected, for the message, such as "tokens".
    """
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"expected a tensor of {what}, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"expected {what} of a floating-point dtype, got {x.dtype}")


def require_tokens(x: torch.Tensor, dim: int) -> None:
    """Accept tokens of shape (B, N, D) with D equal to `dim`, of a floating dtype.

    Raises TypeError for anything but a floating-point tensor and ValueError for another
    shape; both say what was expected and what came.
    """
    require_floating(x, "tokens")
    if x.dim() != 3 or x.shape[-1] != dim:
        raise ValueError(f"expected tokens (B, N, {dim}), got shape {tuple(x.shape)}")


def require_features(x: torch.Tensor, dim: int) -> None:
    """Accept (..., D) with D equal to `dim`, of a floating dtype.

    Raises TypeError for anything but a floating-point tensor and ValueError for another
    shape; both say what was expected and what came.
    """
    require_floating(x, "features")
    if x.dim() == 0 or x.shape[-1] != dim:
        raise ValueError(f"expected features (..., {dim}), got shape {tuple(x.shape)}")


def require_images(images: torch.Tensor, *sizes: int | None) -> None:
    """Accept images (B, C, H, W) of a floating dtype; `sizes` fixes C, H and W.

    Raises TypeError for anything but a floating-point tensor and ValueError for another
    shape; both say what was expected and what came.
    """
    require_floating(images, "images")
    sizes = sizes or (None, None, None)
    fits = images.dim() == 4 and all(
        wanted in (None, got)
        for wanted, got in zip(sizes, images.shape[1:], strict=True)
    )
    if not fits:
        names = [n if s is None else s for n, s in zip("CHW", sizes, strict=True)]
        wanted = ", ".join(map(str, ("B", *names)))
        raise ValueError(f"expected images ({wanted}), got shape {tuple(images.shape)}")


def require_whole(value: int, name: str) -> None:
    """Accept a whole number from 1. Raises TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number as {name}, got {value!r}")
    if value < 1:
        raise ValueError(f"expected {name} of 1 or more, got {value}")


def require_divides(part: int, whole: int, part_name: str, whole_name: str) -> None:
    """Accept sizes that divide without remainder. Raises TypeError or ValueError."""
    require_whole(part, part_name)
    require_whole(whole, whole_name)
    if whole % part:
        raise ValueError(
            f"expected {part_name} that divides {whole_name}, got {part} and {whole}"
        )


def require_probability(p: float, name: str) -> None:
    """Accept a number from 0 to 1. Raises ValueError."""
    if not 0 <= p <= 1:
        raise ValueError(f"expected {name} from 0 to 1, got {p}")
