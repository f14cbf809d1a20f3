"""A photograph as few pixels, in the two forms that a front end needs."""

import base64
import io

import torch
import torch.nn.functional as F

from vit_encoder.figures.inputs import require_photo


def few_pixels(photo: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The middle of a photo, shrunk to (3, height, width), as bytes.

    photo: (C, H, W), C = 1 or 3, values in [0, 1]. Raises ValueError for others.
    """
    photo = require_photo(photo, (1, 1))  # (3, H, W)
    H, W = photo.shape[1:]
    high, wide = min(H, W * height // width), min(W, H * width // height)
    if not high or not wide:
        raise ValueError(f"expected a photo of more pixels, got {H} × {W}")
    top, left = (H - high) // 2, (W - wide) // 2
    photo = photo[None, :, top : top + high, left : left + wide]
    small = F.interpolate(photo, (height, width), mode="area")[0]
    return (255 * small).round().byte()


def as_text(pixels: torch.Tensor) -> str:
    """Red, green and blue of pixel after pixel, in base64."""
    data = pixels.permute(1, 2, 0).contiguous().numpy().tobytes()
    return base64.b64encode(data).decode()


def as_picture(pixels: torch.Tensor) -> str:
    """A PNG inside a URL. pixels: bytes (3, H, W), or (1, H, W) for grey."""
    from PIL import Image  # comes with matplotlib; only these figures need it

    buffer = io.BytesIO()
    image = Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).contiguous().numpy())
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
