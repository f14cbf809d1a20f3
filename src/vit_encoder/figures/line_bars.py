"""A line of text, and below each of its tokens one number a quantity."""

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vit_encoder.figures.colours import HIDDEN
from vit_encoder.figures.text_line import draw_text_line


def show_line_bars(
    image: torch.Tensor,
    bars: dict[str, torch.Tensor],
    label: str,
    colours: list[str] | None = None,
) -> Figure:
    """The line of text, and below it a panel of bars for each entry of `bars`.

    image: (H, W), grey values in [0, 1]. bars: title → (N,), one number a token, for N
    tokens that divide the image's columns evenly. label: what the numbers are, with the
    unit. colours: one a panel. Raises ValueError for other arguments.
    """
    if image.dim() != 2 or not bars:
        raise ValueError(
            f"expected an image (H, W) and bars, got {tuple(image.shape)} and {bars!r}"
        )
    n = len(next(iter(bars.values())))
    if image.shape[1] % n or any(values.shape != (n,) for values in bars.values()):
        shapes = [tuple(values.shape) for values in bars.values()]
        raise ValueError(
            f"expected bars (N,) of one length that divides {image.shape[1]} columns,"
            f" got {shapes}"
        )
    colours = colours or [HIDDEN] * len(bars)
    fig, axes = plt.subplots(
        len(bars) + 1, figsize=(5.2, 0.7 + 0.95 * len(bars)), sharex=True,
        layout="constrained", height_ratios=[0.75, *[1] * len(bars)],
    )  # fmt: skip
    draw_text_line(axes[0], image, n)
    for ax, (title, values), colour in zip(
        axes[1:], bars.items(), colours, strict=True
    ):
        ax.bar(range(n), values.detach().cpu().float().numpy(), 0.8, color=colour)
        ax.axhline(0, color="#444444", linewidth=0.8)
        ax.set_title(title, loc="left", fontsize=10, pad=3)
        ax.yaxis.set_major_locator(MaxNLocator(3))
    axes[-1].set_xlabel("token")
    fig.supylabel(label, fontsize=11)
    return fig
