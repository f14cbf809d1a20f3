"""Real pictures and real trained weights. README.md has sources and licences."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from vit_encoder.shipped import shipped_file, shipped_pixels, shipped_weights

if TYPE_CHECKING:
    from vit_encoder.encoder import Encoder
    from vit_encoder.training import VisionTransformer

CIFAR_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def photo(file: Path | str | None = None) -> Tensor:
    """A photograph: (C, H, W) = (3, 192, 288), float32 RGB in [0, 1], on the CPU.

    file: one of yours, in a format that Pillow reads. It is turned as its camera was
    held, cut evenly at two sides and scaled. Raises FileNotFoundError, or ValueError
    for a file that holds no image.

    None gives the cat Chelsea. H and W are multiples of 32. With patches of 16 pixels,
    the two pupils lie in the patches at (row, column) (4, 6) and (5, 12), counted
    from 0.

    Source: photograph by Stefan van der Walt, CC0, cut from scikit-image's
    `chelsea.png`.
    """
    import numpy as np
    import torch
    from PIL import Image, ImageOps

    broken = OSError, ValueError, EOFError, SyntaxError, Image.DecompressionBombError
    file = shipped_file("photo.png") if file is None else file
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"expected a photograph in {file}, found no file"
        ) from error
    except broken as error:
        raise ValueError(f"expected a photograph in {file}: {error}") from error
    pixels = np.array(ImageOps.fit(upright, (288, 192)))  # (H, W, C), uint8
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous() / 255  # (C, H, W)


def self_attention_weights() -> dict[str, Tensor]:
    """Trained weights of `SelfAttention(dim=768, head_dim=24)`, as its state dict.

    Keys `query`, `key` and `value`, each with `.weight` (D_h, D) = (24, 768) and
    `.bias` (24,): float32, on the CPU. A token is a patch of 16 x 16 pixels, its
    values in the order (C, P, P), with the photograph's mean patch subtracted, then
    divided by its own root mean square:

        x = patches - patches.mean(dim=0)  # (N, D)
        x = x / x.pow(2).mean(dim=-1, keepdim=True).sqrt()  # (N, D)

    Source: studies/train_self_attention.py, which trained them to denoise patches. They
    classify nothing. Licence: MIT.
    """
    stored = shipped_weights("self_attention.safetensors")
    return {name: tensor.float() for name, tensor in stored.items()}


def text_line() -> dict[str, Tensor]:
    """A line of text on its way through a trained recognizer, recorded by onnxruntime.

    It reads "An image is worth 16x16 words". All tensors are float32 on the CPU:

        image              (48, 448)       grey values in [0, 1]
        tokens             (1, N, D)       what enters the encoder, N = 56, D = 120;
                                           token n stands for the pixel columns 8n to
                                           8n + 7; no class token, no position embedding
        block 0, block 1   (1, N, D)       what each of the two blocks gives
        block 0, weights   (1, h, N, N)    its attention weights, h = 8; so for block 1
        encoder            (1, N, D)       after the final LayerNorm
        skip               (1, N, D)       what the recognizer adds before its head

    Source: PP-OCRv6_small_rec of PaddleOCR, Apache-2.0; studies/record_text_encoder.py.
    """
    import torch

    pixels = torch.from_numpy(shipped_pixels("text_line.png")) / 255
    return {"image": pixels} | shipped_weights("text_line.safetensors")


def text_encoder_weights() -> dict[str, Tensor]:
    """Trained weights of the two blocks and the final LayerNorm that read `text_line`.

    A state dict for `Encoder(depth=2, dim=120, num_heads=8, mlp_dim=240)`, float32. Two
    things differ from a ViT: the MLP has SiLU in place of GELU, and the LayerNorms of
    the blocks have eps = 1e-5. `text_encoder` builds the encoder with both.

    Source: PP-OCRv6_small_rec of PaddleOCR, Apache-2.0; studies/record_text_encoder.py.
    """
    stored = shipped_weights("text_encoder.safetensors")
    return {k: v for k, v in stored.items() if not k.startswith("head.")}


def text_encoder() -> "Encoder":
    """The course's `Encoder` with `text_encoder_weights`, its SiLU and its eps."""
    import torch.nn.functional as F

    from vit_encoder.encoder import Encoder
    from vit_encoder.mlp import MLP

    class SiLUMLP(MLP):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc2(F.silu(self.fc1(x)))

    encoder = Encoder(depth=2, dim=120, num_heads=8, mlp_dim=240)
    for block in encoder.blocks:
        block.mlp = SiLUMLP(120, 240)
        block.norm1.eps = block.norm2.eps = 1e-5
    encoder.load_state_dict(text_encoder_weights())
    return encoder.eval()


def fashion_vit() -> "VisionTransformer":
    """A ViT that this course trained on Fashion-MNIST, in evaluation mode, float32.

    It maps images (B, 1, 28, 28), as `LabelledImages.normalized` gives them, to the
    logits (B, 10) of `datasets.CLASSES`. P = 4, N = 50, L = 6, D = 64, h = 4, M = 128.

    Source: studies/train_vit.py. Its card stands in README.md. Licence: MIT.
    """
    from vit_encoder.training import VisionTransformer

    model = VisionTransformer(28, 4, 1, 10, depth=6, dim=64, num_heads=4, mlp_dim=128)
    model.load_state_dict(shipped_weights("fashion.safetensors"))
    return model.eval()


def cifar_vit(*, trained: bool = True) -> "VisionTransformer":
    """A ViT that this course trained on CIFAR-10, in evaluation mode, float32.

    It maps images (B, 3, 32, 32), RGB in [0, 1], to the logits (B, 10) of
    `CIFAR_CLASSES`. P = 4, N = 65, L = 6, D = 64, h = 4, M = 128. What enters its
    embedding is normalized first, as in training. trained: False for a new one, with
    weights from torch's global random numbers.

    Source: studies/train_vit.py. Its card stands in README.md. Licence: MIT.
    """
    from vit_encoder.training import VisionTransformer

    model = VisionTransformer(32, 4, 3, 10, depth=6, dim=64, num_heads=4, mlp_dim=128)
    stored = shipped_weights("cifar10.safetensors")
    mean, std = (stored.pop(name).float() for name in ("mean", "std"))  # (3, 1, 1)
    if trained:
        model.load_state_dict(stored)

    def normalized(_, inputs: tuple[Tensor]) -> Tensor:
        (images,) = inputs
        return (images - mean.to(images)) / std.to(images)

    model.embedding.register_forward_pre_hook(normalized)
    return model.eval()


def read_line(features: Tensor) -> str:
    """The text that the recognizer's head reads from what its encoder gives.

    features: (N, D) or (1, N, D) with D = 120, the encoder's output plus the recorded
    `skip`. For each token the head picks a character or a blank; equal neighbours count
    once and blanks not at all. Of the head's 18 710 characters the ASCII ones are here.
    Raises ValueError for another shape.
    """
    from safetensors import safe_open

    rows = features.squeeze(0) if features.dim() == 3 else features  # (N, D)
    if rows.dim() != 2 or rows.shape[1] != 120:
        raise ValueError(
            f"expected features (N, 120) or (1, N, 120), got {tuple(features.shape)}"
        )
    name = "text_encoder.safetensors"
    stored = shipped_weights(name)
    weight, bias = (stored[f"head.{k}"] for k in ("weight", "bias"))
    with safe_open(shipped_file(name), "pt") as opened:
        characters = json.loads(opened.metadata()["characters"])
    rows = rows.detach().to("cpu", weight.dtype)
    best = (rows @ weight.T + bias).argmax(-1).tolist()
    pairs = zip(best, [None, *best[:-1]], strict=True)
    return "".join(characters[c] for c, before in pairs if c != before)
