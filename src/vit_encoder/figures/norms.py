"""Plots for norms: spreads, and how they grow."""

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from vit_encoder.figures.colours import SERIES, TOGETHER

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
    ax.set_xticks(range(len(places)), places)
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
