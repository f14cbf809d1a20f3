"""Plots of what is inside a model: maps over images, heads, similar positions."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vit_encoder.figures.inputs import describe, fade, require_photo
from vit_encoder.figures.style import ATTENTION

SIGNED = "BrBG"  # a colour map for values on both sides of 0
WIDTH = 5.2  # inches, as in the course's style


def show_maps(
    images: torch.Tensor,
    maps: torch.Tensor,
    columns: list[str],
    rows: list[str] | None = None,
    stretch: bool = False,
) -> Figure:
    """A table of maps, each laid over the image of its row in purple.

    images: (R, C, H, W), values in [0, 1]; one on black is drawn as its negative. maps:
    (R, S, n), one number for each of n patches in a square grid. Each map has a scale
    of its own: its largest number is darkest, and white is 0 and what lies below, or
    with stretch its smallest number. columns: S titles. rows: R labels; without them
    each row begins with its image. Raises ValueError for other arguments.
    """
    if maps.dim() != 3 or len(images) != len(maps) or maps.shape[1] != len(columns):
        raise ValueError(
            "expected maps (R, S, n), an image a row and a title a column, got maps "
            f"{tuple(maps.shape)}, {len(images)} images and {len(columns)} titles"
        )
    if rows is not None and len(rows) != len(maps):
        raise ValueError(f"expected {len(maps)} labels of rows, got {len(rows)}")
    side = side_of(maps.shape[2])
    photos = [require_photo(image, (side, side)) for image in images]
    maps = maps.detach().to("cpu", torch.float64)
    maps = maps - maps.amin(-1, keepdim=True) if stretch else maps.clamp_min(0)
    first = 1 if rows is None else 0
    count = len(columns) + first
    width = WIDTH if rows is None else WIDTH - 0.7  # what the labels leave
    fig, axes = plt.subplots(
        len(maps), count, squeeze=False, layout="constrained",
        figsize=(WIDTH, width / count * len(maps) + 0.35),
    )  # fmt: skip
    for r, (photo, row) in enumerate(zip(photos, maps, strict=True)):
        if rows is None:
            axes[r, 0].imshow(photo.permute(1, 2, 0).numpy())
        else:
            axes[r, 0].set_ylabel(rows[r], rotation=0, ha="right", va="center")
        for ax, numbers in zip(axes[r, first:], row, strict=True):
            lay_over(ax, photo, numbers.view(side, side))
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for ax, title in zip(axes[0, first:], columns, strict=True):
        ax.set_title(title, fontsize=11)
    return fig


def lay_over(ax: Axes, photo: torch.Tensor, numbers: torch.Tensor) -> None:
    """The grey photo times the colour of each number, (rows, columns) from 0."""
    height, width = (
        n // m for n, m in zip(photo.shape[1:], numbers.shape, strict=True)
    )
    shades = numbers / numbers.max().clamp_min(1e-12)
    colours = torch.from_numpy(ATTENTION(shades.numpy())[..., :3])
    colours = colours.repeat_interleave(height, 0).repeat_interleave(width, 1)
    grey = 0.5 + 0.5 * fade(1 - photo if photo.median() < 0.1 else photo)  # (H, W)
    ax.imshow((grey[..., None] * colours).clamp(0, 1).numpy())  # (H, W, 3)


def show_similarities(tables: dict[str, torch.Tensor]) -> Figure:
    """Similarities of positions, one panel a table: a small map for each position.

    tables: title → (n, n), values in [-1, 1], for n patches in a square grid. The map
    in row r and column c shows how alike the position there is to all others. Raises
    ValueError for other arguments.
    """
    for title, table in tables.items():
        if table.dim() != 2 or table.shape[0] != table.shape[1]:
            raise ValueError(
                f"expected a table (n, n) in {title!r}, got "
                f"{describe(f'shape {tuple(table.shape)}')}"
            )
    fig, axes = plt.subplots(
        1, len(tables), squeeze=False, layout="constrained",
        figsize=(WIDTH, WIDTH / len(tables) + 0.6),
    )  # fmt: skip
    for ax, (title, table) in zip(axes[0], tables.items(), strict=True):
        picture = ax.imshow(
            tiles(table.detach().cpu().double()).numpy(), cmap=SIGNED, vmin=-1, vmax=1
        )
        ax.set_title(title)
        ax.set_axis_off()
    fig.colorbar(
        picture, ax=axes, label="cosine similarity", location="bottom",
        ticks=[-1, 0, 1], fraction=0.05, aspect=40, pad=0.03,
    )  # fmt: skip
    return fig


def show_heads(
    measured: dict[str, dict[str, torch.Tensor]], levels: list[float]
) -> Figure:
    """One panel a quantity: a dot for each head, against the layer.

    measured: title → name of a model → (L, h), for at most three models. levels: for
    each panel the value that a dashed line marks, above 0. Raises ValueError where the
    two do not go together.
    """
    if len(measured) != len(levels):
        raise ValueError(
            f"expected a level for each of {len(measured)} panels, got {len(levels)}"
        )
    fig, axes = plt.subplots(1, len(levels), figsize=(WIDTH, 2.8), squeeze=False)
    for ax, (title, models), level in zip(
        axes[0], measured.items(), levels, strict=True
    ):
        for i, ((name, values), marker) in enumerate(
            zip(models.items(), ("o", "x", "+"), strict=False)
        ):
            depth, heads = values.shape
            layer = torch.arange(depth).repeat_interleave(heads) + 0.22 * (i - 1)
            ax.plot(layer, values.flatten().cpu(), marker, ms=5, label=name)
        ax.axhline(level, color="gray", ls="--", lw=1)
        top = 1.1 * max(level, *(values.max().item() for values in models.values()))
        ax.set(xlabel="layer", title=title, xticks=range(depth), ylim=(0, top))
    handles = axes[0, 0].get_legend_handles_labels()
    fig.legend(*handles, ncols=3, loc="outside lower center")
    return fig


def show_lines(
    lines: dict[str, list[float]], places: Sequence[int], x: str, y: str
) -> Figure:
    """One line a name, with a marker of its own at each place.

    lines: name → one value a place, for at most seven names. x, y: what the axes say.
    Raises ValueError for another number of values.
    """
    for name, values in lines.items():
        if len(values) != len(places):
            raise ValueError(
                f"expected {len(places)} values in {name!r}, got {len(values)}"
            )
    fig, ax = plt.subplots(figsize=(WIDTH, 3.8))
    looks = ("-o", "-s", ":o", ":s", "--^", "-.v", "-.D")
    for (name, values), look in zip(lines.items(), looks, strict=False):
        ax.plot(places, values, look, ms=4, lw=1.5, label=name)
    ax.set(xlabel=x, ylabel=y, xticks=places)
    ax.set_ylim(min(0, ax.get_ylim()[0]), None)
    fig.legend(ncols=2, loc="outside lower center")
    return fig


def tiles(table: torch.Tensor) -> torch.Tensor:
    """The rows of a table (n, n) as small maps in a grid, with gaps of nan."""
    side = side_of(len(table))
    maps = table.view(side, side, side, side)  # (row, column, row, column)
    maps = torch.nn.functional.pad(maps, (0, 1, 0, 1), value=math.nan)
    return maps.transpose(1, 2).flatten(2).flatten(0, 1)[:-1, :-1]


def side_of(count: int) -> int:
    """The side of a square grid of so many patches. Raises ValueError if it is none."""
    side = math.isqrt(count)
    if side**2 != count or not count:
        raise ValueError(f"expected a square number of patches, got {count}")
    return side
