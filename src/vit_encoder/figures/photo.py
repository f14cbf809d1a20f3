"""Plots of an image: cut into tokens, a patch of it, the attention of some queries."""

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from vit_encoder.figures.colours import QUERY
from vit_encoder.figures.inputs import (
    fade,
    require_grid,
    require_patch,
    require_photo,
    require_table,
)
from vit_encoder.figures.style import ATTENTION


def show_tokens(photo: torch.Tensor, grid: tuple[int, int]) -> Figure:
    """The photo, and beside it the same cut into patches; the corners are numbered.

    photo: (C, H, W), values in [0, 1]; grid: rows and columns, which divide H and W.
    Raises ValueError for other arguments.
    """
    photo = require_photo(photo, grid)
    rows, columns = require_grid(grid)
    _, height, width = photo.shape
    patch_height, patch_width = height // rows, width // columns
    gap = max(2, patch_width // 4)
    fig, (left, right) = plt.subplots(1, 2, figsize=(5.2, 2.3), layout="constrained")
    left.imshow(photo.permute(1, 2, 0).numpy())
    right.imshow(cut(photo, (rows, columns), gap).permute(1, 2, 0).numpy())
    left.set_title(f"{height} × {width} pixels", pad=20)
    right.set_title(
        f"{rows * columns} patches of {patch_height} × {patch_width}", pad=20
    )
    for ax in (left, right):
        ax.set_axis_off()
    number_corners(right, rows, columns, patch_width + gap)
    return fig


def cut(photo: torch.Tensor, grid: tuple[int, int], gap: int) -> torch.Tensor:
    """The patches of a photo with white gaps between them, (C, H', W')."""
    rows, columns = grid
    patches = photo.unflatten(2, (columns, -1)).unflatten(1, (rows, -1))
    patches = F.pad(patches, (0, gap, 0, 0, 0, gap), value=1.0)
    return patches.flatten(3, 4).flatten(1, 2)[:, :-gap, :-gap]


def number_corners(ax: Axes, rows: int, columns: int, step: int) -> None:
    """Write the numbers of the patches at the four corners, above and below them."""
    x = (step * 0.4, step * (columns - 0.6))
    for row, y, vertical in ((0, 1.02, "bottom"), (rows - 1, -0.02, "top")):
        for column, place in zip((0, columns - 1), x, strict=True):
            ax.text(
                place, y, str(row * columns + column),
                transform=ax.get_xaxis_transform(), ha="center", va=vertical, size=10,
            )  # fmt: skip


def show_patch_twice(
    images: torch.Tensor, patch: tuple[int, int], P: int, titles: list[str]
) -> Figure:
    """One patch of each of two images, enlarged; beside them the images.

    images: (2, C, H, W), values in [0, 1]. patch: its row and column, outlined in the
    images. titles: what stands above the four panels. Raises ValueError for others.
    """
    if images.dim() != 4 or len(images) != 2 or len(titles) != 4:
        raise ValueError(
            f"expected two images (2, C, H, W) and 4 titles, got shape"
            f" {tuple(images.shape)} and {len(titles)} titles"
        )
    grid = tuple(side // P for side in images.shape[2:])
    row, column = require_patch(patch, grid)
    whole = [require_photo(image, grid) for image in images]
    corner = row * P, column * P
    pieces = [x[:, corner[0] : corner[0] + P, corner[1] : corner[1] + P] for x in whole]
    fig, axes = plt.subplots(1, 4, figsize=(5.2, 1.75), layout="constrained")
    for ax, image, title in zip(axes, [*pieces, *whole], titles, strict=True):
        ax.imshow(image.permute(1, 2, 0).numpy(), vmin=0, vmax=1)
        ax.set_title(title)
        ax.set_axis_off()
    for ax in axes[2:]:
        for colour, width in (("black", 3.5), ("white", 1.8)):
            style = {"color": colour, "linewidth": width, "fill": False}
            place = (corner[1] - 0.5, corner[0] - 0.5)
            ax.add_patch(Rectangle(place, P, P, clip_on=False, **style))
    return fig


def show_attention(
    photo: torch.Tensor,
    weights: torch.Tensor | list[torch.Tensor],
    grid: tuple[int, int],
    queries: list[tuple[int, int]],
    titles: list[str] | None = None,
) -> Figure:
    """One panel a query: its attention weights, laid over the photo in purple.

    photo: (C, H, W), values in [0, 1]. weights: (N, N), one row a query, for N patches,
    or a list with such a table for each panel. grid: rows and columns of patches.
    queries: (row, column) of each, outlined in blue.
    All panels share the scale of the colour bar. Raises ValueError for other arguments.
    """
    photo = require_photo(photo, grid)
    grid = require_grid(grid)
    tables = weights if isinstance(weights, list) else [weights] * len(queries)
    tables = [require_table(table, grid, "weights") for table in tables]
    queries = [require_patch(query, grid) for query in queries]
    titles = titles or [f"query {query}" for query in queries]
    if len(titles) != len(queries) or not queries:
        raise ValueError(
            f"expected one title a query, got {len(titles)} for {len(queries)} queries"
        )
    if len(tables) != len(queries):
        raise ValueError(
            f"expected one table of weights a query, got {len(tables)} for"
            f" {len(queries)} queries"
        )
    rows = [
        table[row * grid[1] + column]
        for table, (row, column) in zip(tables, queries, strict=True)
    ]
    top = max(row.max().item() for row in rows)
    width = 5.2  # inches, as in the course's style
    height = width / len(queries) * photo.shape[1] / photo.shape[2] + 1.1
    fig, axes = plt.subplots(
        1, len(queries), figsize=(width, height), squeeze=False, layout="constrained"
    )
    for ax, query, row, title in zip(axes[0], queries, rows, titles, strict=True):
        draw_panel(ax, photo, row.view(grid) / top, query)
        ax.set_title(title)
    colours = plt.cm.ScalarMappable(plt.Normalize(0, top), ATTENTION)
    fig.colorbar(
        colours, ax=axes, label="attention weight", location="bottom",
        ticks=MaxNLocator(4), fraction=0.06, aspect=40, pad=0.04,
    )  # fmt: skip
    return fig


def draw_panel(
    ax: Axes, photo: torch.Tensor, weights: torch.Tensor, query: tuple[int, int]
) -> None:
    """The grey photo times the colour of each weight, and the query outlined."""
    height, width = (
        n // m for n, m in zip(photo.shape[1:], weights.shape, strict=True)
    )
    colours = torch.from_numpy(ATTENTION(weights.numpy())[..., :3])
    colours = colours.repeat_interleave(height, 0).repeat_interleave(width, 1)
    ax.imshow((fade(photo)[..., None] * colours).numpy())  # (H, W, 3)
    corner = (query[1] * width - 0.5, query[0] * height - 0.5)
    for colour, line in (("white", 3), (QUERY, 1.8)):
        style = {"color": colour, "linewidth": line, "fill": False, "clip_on": False}
        ax.add_patch(Rectangle(corner, width, height, **style))
    ax.set_axis_off()
