"""01 Patches and positions: what chapter 01_patches_and_positions builds."""

# Generated from chapters/01_patches_and_positions.md by `make sync`. Do not edit.
# Seal: 78d74cb0d03528e8

import torch
from torch import nn

from vit_encoder.arguments import require_divides, require_images


def patchify(images: torch.Tensor, patch_size: int) -> torch.Tensor:
    """Cut images into flattened square patches (Dosovitskiy et al. 2021, section 3.1).

    images: (B, C, H, W), floating point; P = patch_size divides H and W.
    Returns (B, n, C·P·P) with n = HW / P². Patches come row by row; the values of a
    patch come in the order of a convolution's weight: channel, row, column.
    Raises ValueError or TypeError for other arguments.
    """
    require_images(images)
    P = patch_size
    for side in images.shape[2:]:
        require_divides(P, side, "a patch_size", "the image's height and width")
    x = images.unflatten(3, (-1, P)).unflatten(2, (-1, P))  # (B, C, H/P, P, W/P, P)
    x = x.permute(0, 2, 4, 1, 3, 5)  # (B, H/P, W/P, C, P, P)
    return x.flatten(3).flatten(1, 2)  # (B, n, C·P·P)


class PatchEmbedding(nn.Module):
    """From images to the encoder's input (Dosovitskiy et al. 2021, equation 1).

    image_size: side of the square images in pixels. patch_size: P, divides it.
    in_channels: C. dim: D, the width of a token.
    Maps images (B, C, H, W) with n patches to (B, N, D), N = n + 1; the class token
    comes first. Raises ValueError or TypeError for other sizes or inputs.
    """

    def __init__(self, image_size: int, patch_size: int, in_channels: int, dim: int):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        n = (image_size // patch_size) ** 2
        N = n + 1  # the patches and the class token
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N, dim))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))  # (B, n, D)
        cls_token = self.cls_token.expand(len(x), -1, -1)  # (B, 1, D)
        x = torch.cat([cls_token, x], dim=1)  # (B, N, D)
        return x + self.pos_embed
