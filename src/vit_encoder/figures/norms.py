"""Plots for norms: photographs side by side, and which tokens a norm lets change."""

import matplotlib.pyplot as plt
import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vit_encoder.figures.inputs import fade, require_grid, require_patch, require_photo


def show_photos(photos: dict[str, torch.Tensor], columns: int = 2) -> Figure:
    """Photos in rows of `columns`, each under its title.

    photos: title → (C, H, W), values in [0, 1], all of one size. Raises ValueError for
    other arguments.
    """
    if not photos or len(photos) % columns:
        raise ValueError(f"expected full rows of {columns} photos, got {len(photos)}")
    pictures = [require_photo(photo, (1, 1)) for photo in photos.values()]
    _, height, width = pictures[0].shape
    rows = len(photos) // columns
    size = (5.2, rows * (5.2 / columns * height / width + 0.35))
    fig, axes = plt.subplots(
        rows, columns, figsize=size, squeeze=False, layout="constrained"
    )
    for ax, title, picture in zip(axes.flat, photos, pictures, strict=True):
        ax.imshow(picture.permute(1, 2, 0).numpy())
        ax.set_title(title)
        ax.set_axis_off()
    return fig


def show_changes(
    photos: torch.Tensor,
    changes: dict[str, torch.Tensor],
    grid: tuple[int, int],
    changed: tuple[int, int],
) -> Figure:
    """One column a norm, one row an image: how much the output of each token changed.

    photos: (B, C, H, W), values in [0, 1]. changes: name of the norm → (B, N), not
    negative; 0 shows the grey photo. grid: rows and columns of patches. changed: row
    and column of the patch of image 0 whose token was changed; it is outlined. All
    panels share one logarithmic scale. Raises ValueError for other arguments.
    """
    rows, columns = require_grid(grid)
    row, column = require_patch(changed, grid)
    photos = torch.stack([require_photo(photo, grid) for photo in photos])
    count, _, height, width = photos.shape
    for name, change in changes.items():
        if change.shape != (count, rows * columns):
            raise ValueError(
                f"expected changes of {name!r} ({count}, {rows * columns}),"
                f" got shape {tuple(change.shape)}"
            )
    maps = {n: c.detach().cpu().view(count, rows, columns) for n, c in changes.items()}
    seen = torch.cat([m[m > 0] for m in maps.values()])
    if not len(seen):
        raise ValueError("expected a change above 0, got none")
    scale = LogNorm(seen.min().item(), seen.max().item())
    panel = 5.2 / len(maps)
    fig, axes = plt.subplots(
        count, len(maps), figsize=(5.2, count * panel * height / width + 1.15),
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for i, photo in enumerate(photos):
        for ax, (name, map_) in zip(axes[i], maps.items(), strict=True):
            ax.imshow(fade(photo).numpy(), cmap="gray", vmin=0, vmax=1)
            ax.imshow(
                map_[i].masked_fill(map_[i] <= 0, torch.nan).numpy(), cmap="viridis_r",
                norm=scale, extent=(-0.5, width - 0.5, height - 0.5, -0.5), alpha=0.85,
            )  # fmt: skip
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if i == 0:
                ax.set_title(name)
                corner = (column * width // columns, row * height // rows)
                size = (width // columns, height // rows)
                for colour, line in (("white", 3.5), ("black", 1.8)):
                    outline = {"fill": False, "edgecolor": colour, "linewidth": line}
                    ax.add_patch(Rectangle(corner, *size, **outline))
        axes[i][0].set_ylabel(f"image {i}")
    colours = plt.cm.ScalarMappable(scale, "viridis_r")
    fig.colorbar(
        colours, ax=axes, label="change of the output (root mean square)",
        location="bottom", fraction=0.06, aspect=40, pad=0.04,
    )  # fmt: skip
    return fig
