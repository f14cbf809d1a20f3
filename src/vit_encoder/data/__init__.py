"""A real photograph and real trained weights. README.md has sources and licences."""

from pathlib import Path

from torch import Tensor

_FOLDER = Path(__file__).parent


def photo() -> Tensor:
    """The cat Chelsea: (C, H, W) = (3, 192, 288), float32 RGB in [0, 1], on the CPU.

    H and W are multiples of 32. With patches of 16 pixels, the two pupils lie in the
    patches at (row, column) (4, 6) and (5, 12), counted from 0.

    Source: photograph by Stefan van der Walt, CC0, cut from scikit-image's
    `chelsea.png`.
    """
    import numpy as np
    import torch
    from PIL import Image

    with Image.open(_FOLDER / "photo.png") as image:
        pixels = torch.from_numpy(np.array(image))  # (H, W, C), uint8
    return pixels.permute(2, 0, 1).contiguous() / 255  # (C, H, W)


def self_attention_weights() -> dict[str, Tensor]:
    """Trained weights of `SelfAttention(dim=768, head_dim=24)`, as its state dict.

    Keys `query`, `key` and `value`, each with `.weight` (D_h, D) = (24, 768) and
    `.bias` (24,): float32, on the CPU. A token is a patch of 16 x 16 pixels, its
    values in the order (C, P, P), with the photograph's mean patch subtracted, then
    divided by its own root mean square:

        x = patches - patches.mean(dim=0)  # (N, D)
        x = x / x.pow(2).mean(dim=-1, keepdim=True).sqrt()  # (N, D)

    Source: tools/train_self_attention.py, which trained them to denoise patches. They
    classify nothing. Licence: MIT.
    """
    from safetensors.torch import load_file

    stored = load_file(_FOLDER / "self_attention.safetensors")
    return {name: tensor.float() for name, tensor in stored.items()}
