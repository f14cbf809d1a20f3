"""Plots of chapter 01: images side by side, and which parts of one are meant."""

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vit_encoder.figures.inputs import fade, require_photo


def show_images(images: list[torch.Tensor], titles: list[str]) -> Figure:
    """Images side by side, each under its title.

    images: each (C, H, W), C = 1 or 3, values in [0, 1]. Raises ValueError for others,
    and if there is not one title for each.
    """
    if len(images) != len(titles) or not images:
        raise ValueError(
            f"expected one title an image, got {len(titles)} for {len(images)} images"
        )
    images = [require_photo(image, (1, 1)) for image in images]
    width = 5.2  # inches, as in the course's style
    _, high, wide = images[0].shape
    height = width / len(images) * high / wide + 0.25 * (1 + titles[0].count("\n"))
    fig, axes = plt.subplots(
        1, len(images), figsize=(width, height), squeeze=False, layout="constrained"
    )
    for ax, image, title in zip(axes[0], images, titles, strict=True):
        ax.imshow(image.permute(1, 2, 0).numpy())  # (H, W, 3)
        ax.set_title(title)
        ax.set_axis_off()
    return fig


def show_parts(
    photo: torch.Tensor,
    masks: list[torch.Tensor],
    titles: list[str],
    pixel: tuple[int, int] | None = None,
) -> Figure:
    """One panel a mask: its part of the photo in colour, the rest in light grey.

    photo: (C, H, W), values in [0, 1]. masks: bool, each (C, H, W), or (rows, columns)
    for patches, where rows divides H and columns W. A mask with some of the channels
    shows these alone, and one patch is framed. pixel: row and column of a pixel to
    circle in all panels. Raises ValueError for other arguments.
    """
    fig = show_images([lit(photo, mask) for mask in masks], titles)
    for ax, mask in zip(fig.axes, masks, strict=True):
        if mask.dim() == 2 and mask.sum() == 1:
            ((row, column),) = mask.nonzero().tolist()
            high, wide = (
                s / n for s, n in zip(photo.shape[1:], mask.shape, strict=True)
            )
            corner = wide * column - 0.5, high * row - 0.5
            for colour, width in (("black", 4), ("white", 1.5)):
                style = {"fill": False, "edgecolor": colour, "linewidth": width}
                ax.add_patch(Rectangle(corner, wide, high, **style))
    for ax in fig.axes if pixel else ():
        for colour, width in (("black", 3.5), ("white", 1.5)):
            style = {"markerfacecolor": "none", "markeredgecolor": colour}
            ax.plot(*reversed(pixel), "o", ms=7, markeredgewidth=width, **style)
    return fig


def lit(photo: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The photo in light grey but for what the mask marks, (3, H, W)."""
    mask = mask.detach().cpu()
    grid = tuple(mask.shape) if mask.dim() == 2 else (1, 1)
    photo = require_photo(photo, grid)
    if mask.dim() == 2:
        rows, columns = (
            side // n for side, n in zip(photo.shape[1:], grid, strict=True)
        )
        mask = mask.repeat_interleave(rows, 0).repeat_interleave(columns, 1)  # (H, W)
    elif mask.shape[1:] != photo.shape[1:] or mask.shape[0] not in (1, 3):
        raise ValueError(
            f"expected a mask (rows, columns) or (C, H, W) for a photo of shape"
            f" {tuple(photo.shape)}, got shape {tuple(mask.shape)}"
        )
    mask = mask.expand_as(photo)  # (3, H, W)
    return torch.where(mask.any(0), photo * mask, fade(photo))
