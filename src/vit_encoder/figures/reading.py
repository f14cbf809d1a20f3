"""A plot of a line of text, with what is read from each of its tokens."""

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vit_encoder.figures.colours import WRONG

BLANK, SPACE = "·", "␣"
ROW = 16  # the height of a row of characters, in the image's pixels
WIDTH = 5.2  # inches, as in the course's style
NAMES = 1.25  # inches for the names of the readings


def show_reading(
    image: torch.Tensor,
    right: dict[str, list[str]],
    wrong: dict[str, list[str]],
    cut: int,
) -> Figure:
    """A line of text in two pieces; under each token what every reading made of it.

    image: (H, W), grey values in [0, 1]. right, wrong: the name of a reading and its N
    characters, one a token, "" for a blank; N divides W. The wrong readings stand below
    the right ones, in vermilion. cut: how many tokens the first piece has, at least
    half of them. Raises ValueError for other arguments.
    """
    readings = {**right, **wrong}
    counts = {len(characters) for characters in readings.values()}
    if len(counts) != 1 or image.dim() != 2:
        raise ValueError(
            "expected an image (H, W) and readings of one length, got shape"
            f" {tuple(image.shape)} and lengths {sorted(counts)}"
        )
    (count,) = counts
    height, width = image.shape
    if count == 0 or width % count or not count <= 2 * cut < 2 * count:
        raise ValueError(
            "expected a number of tokens that divides the width, and a cut in their"
            f" second half, got {count} tokens, {width} pixels and a cut at {cut}"
        )
    step = width // count
    rows_below = height + ROW * len(readings)
    panel = (WIDTH - NAMES) * rows_below / (cut * step)
    fig, axes = plt.subplots(2, 1, figsize=(WIDTH, 2 * panel + 0.3))
    for ax, piece in zip(axes, (slice(0, cut), slice(cut, count)), strict=True):
        pixels = image[:, piece.start * step : piece.stop * step].cpu()
        rows = {name: made[piece] for name, made in readings.items()}
        draw_piece(ax, pixels, rows, step, wrong)
        ax.set(xlim=(-0.5, cut * step - 0.5), ylim=(rows_below, -0.5))
    return fig


def draw_piece(
    ax: Axes,
    pixels: torch.Tensor,
    rows: dict[str, list[str]],
    step: int,
    wrong: dict[str, list[str]],
) -> None:
    """The pixels, faint borders of the tokens, and a row of characters a reading."""
    height, width = pixels.shape
    ax.imshow(pixels.numpy(), cmap="gray", vmin=0, vmax=1)
    borders = [x - 0.5 for x in range(step, width, step)]
    ax.vlines(borders, -0.5, height + ROW * len(rows), color="0.85", linewidth=0.6)
    for i, (name, characters) in enumerate(rows.items()):
        y = height + ROW * (i + 0.5)
        colour = WRONG if name in wrong else "black"
        ax.text(-6, y, name, ha="right", va="center", size=10, color=colour)
        for n, character in enumerate(characters):
            ax.text(
                (n + 0.5) * step - 0.5, y, character.replace(" ", SPACE) or BLANK,
                ha="center", va="center", size=10, family="monospace",
                color=colour if character else "0.6",
            )  # fmt: skip
    ax.set_axis_off()
