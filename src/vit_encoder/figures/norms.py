"""Plots for norms: spreads, how they grow, and which tokens a norm lets change."""

import matplotlib.pyplot as plt
import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vit_encoder.figures.colours import SERIES, TOGETHER
from vit_encoder.figures.inputs import fade, require_grid, require_patch, require_photo

STREAM = "#767676"


def show_spreads(spreads: dict[str, list[torch.Tensor]], places: list[str]) -> Figure:
    """For each norm, the smallest, the median and the largest spread of a token.

    spreads: what was measured, such as "in" → one tensor of positive numbers a place;
    at most three. places: the names of the norms. Raises ValueError for others.
    """
    looks = ((STREAM, "o"), (TOGETHER, "s"), (SERIES[0], "^"))
    if not 0 < len(spreads) <= len(looks):
        raise ValueError(f"expected one to three kinds of spread, got {len(spreads)}")
    for name, values in spreads.items():
        if len(values) != len(places) or min(v.min().item() for v in values) <= 0:
            raise ValueError(
                f"expected {len(places)} tensors of positive numbers for {name!r}"
            )
    fig, ax = plt.subplots(figsize=(5.2, 3))
    for shift, (name, values), look in zip(
        (-0.25, 0, 0.25), spreads.items(), looks, strict=False
    ):
        colour, mark = look
        x = [place + shift for place in range(len(places))]
        low, middle, high = (
            [pick(v).item() for v in values]
            for pick in (torch.min, torch.median, torch.max)
        )
        ax.vlines(x, low, high, color=colour, linewidth=2.5, alpha=0.6)
        ax.plot(x, middle, mark, color=colour, markersize=4, label=name)
    ax.set_yscale("log")
    ax.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
    ax.minorticks_off()
    ax.set_xticks(range(len(places)), places, fontsize=9)
    ax.set(xlabel="norm", ylabel="spread of a token")
    ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), columnspacing=1)
    return fig


def show_growth(curves: dict[str, list[float]]) -> Figure:
    """Positive numbers against the block after which they were measured, from block 0.

    curves: name → one number before the first block and one after each. Every second
    line is dashed. Raises ValueError for numbers that are not positive.
    """
    if not curves or min(min(values) for values in curves.values()) <= 0:
        raise ValueError("expected curves of positive numbers")
    fig, ax = plt.subplots(figsize=(5.2, 3))
    for i, (name, values) in enumerate(curves.items()):
        colour = SERIES[i % 2]
        style = ("-", "--")[i % 2]
        ax.semilogy(
            values, style, color=colour, linewidth=(1.2, 2.4)[i // 2 % 2], label=name
        )
    ax.set(xlabel="after block", ylabel="mean spread of a token")
    ax.legend()
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
