"""Figures of training: images with what was guessed, confusion, versions compared."""

import matplotlib.pyplot as plt
import torch
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from vit_encoder.figures.colours import SERIES, WRONG
from vit_encoder.training_runs import Ablation


def show_guesses(
    images: torch.Tensor, titles: list[str], wrong: list[bool], columns: int = 3
) -> Figure:
    """Images in rows, each under what was guessed; a wrong guess is bold and coloured.

    images: (count, 1, H, W), values in [0, 1]. Raises ValueError for other arguments.
    """
    count = len(titles)
    if images.dim() != 4 or images.shape[1] != 1 or len(images) != count or not count:
        raise ValueError(
            f"expected images ({count}, 1, H, W), one a title, got shape"
            f" {tuple(images.shape)}"
        )
    rows = -(-count // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(5.2, rows * 5.2 / columns * 1.3), squeeze=False
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, title, is_wrong in zip(
        axes.flat, images, titles, wrong, strict=False
    ):
        ax.imshow(image[0].cpu().numpy(), cmap="gray", vmin=0, vmax=1)
        style = {"color": WRONG, "weight": "bold"} if is_wrong else {}
        ax.set_title(title, pad=3, **style)
    return fig


def show_confusion(counts: torch.Tensor, classes: tuple[str, ...]) -> Figure:
    """How often an image of each class (row) was taken for each class (column).

    counts: (J, J), whole numbers; row by row they are shown as shares. Raises
    ValueError for another shape.
    """
    num_classes = len(classes)
    if counts.shape != (num_classes, num_classes):
        expected = f"({num_classes}, {num_classes})"
        raise ValueError(f"expected counts {expected}, got {tuple(counts.shape)}")
    shares = (counts / counts.sum(1, keepdim=True).clamp(min=1)).cpu()
    fig, ax = plt.subplots(figsize=(5.2, 4.9))
    ax.imshow(shares.numpy(), cmap="cividis", vmin=0, vmax=1)
    for row in range(num_classes):
        for column in range(num_classes):
            share = round(100 * shares[row, column].item())
            if share:
                ink = "black" if share > 50 else "white"
                at = {"ha": "center", "va": "center"}
                ax.text(column, row, share, size=10, color=ink, **at)
    ax.set_xticks(range(num_classes), classes, rotation=50, ha="right")
    ax.set_yticks(range(num_classes), classes)
    ax.set(xlabel="guessed", ylabel="true class")
    ax.spines[:].set_visible(False)
    return fig


def show_ablations(rows: dict[str, Ablation], base: str) -> Figure:
    """One row a version: a dot for each seed, a bar for their mean.

    rows: name → what was measured, shown from top to bottom. base: the name of the row
    whose mean is drawn as a line through all.
    """
    fig, ax = plt.subplots(figsize=(5.2, 0.6 + 0.32 * len(rows)))
    for y, (name, measured) in enumerate(rows.items()):
        colour = SERIES[0] if name == base else SERIES[1]
        ax.plot(
            measured.accuracies, [y] * 3, "o", color=colour, markersize=5, alpha=0.7
        )
        ax.plot(measured.mean, y, "|", color=colour, markersize=16, markeredgewidth=2)
    ax.axvline(rows[base].mean, color="gray", lw=1, ls=":")
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)  # from top to bottom
    in_percent(ax.xaxis)
    ax.set_xlabel("accuracy on images that were not trained on")
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color="#dddddd", lw=0.6)
    return fig


def show_sweep(
    curves: dict[str, dict[float, Ablation]], label: str, log: bool = True
) -> Figure:
    """Accuracy against one size: a line a version, its band from worst to best seed.

    curves: version → size → what was measured. label: what the size is.
    """
    fig, ax = plt.subplots()
    styles = ("o-", "s--", "^-.", "D:", "v-")
    for (name, points), style in zip(curves.items(), styles, strict=False):
        sizes = sorted(points)
        (line,) = ax.plot(sizes, [points[s].mean for s in sizes], style, label=name)
        low, high = ([pick(points[s].accuracies) for s in sizes] for pick in (min, max))
        ax.fill_between(sizes, low, high, color=line.get_color(), alpha=0.18, lw=0)
    if log:
        ax.set_xscale("log", base=2)
    sizes = sorted({size for points in curves.values() for size in points})
    ax.set_xticks(sizes, [f"{size:g}" for size in sizes])
    ax.minorticks_off()
    in_percent(ax.yaxis)
    ax.set(xlabel=label, ylabel="accuracy")
    ax.legend()
    return fig


def in_percent(axis: Axis) -> None:
    """Ticks at whole percentages, of numbers in [0, 1]."""
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(PercentFormatter(1, decimals=0))
