"""Plots of what an encoder costs."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from vit_encoder.figures.colours import SERIES

FIRST, SECOND = SERIES[0], "#d9d9d9"


def show_shares(shares: dict[str, float], first: str, second: str) -> Figure:
    """One bar a cost, divided in two; the first piece is dark, the second hatched.

    shares: cost → the share of the first piece, in [0, 1]. first, second: what the
    pieces are. Raises ValueError for a share outside [0, 1].
    """
    if wrong := [share for share in shares.values() if not 0 <= share <= 1]:
        raise ValueError(f"expected shares from 0 to 1, got {wrong}")
    fig, ax = plt.subplots(figsize=(5.2, 0.9 + 0.45 * len(shares)))
    names, values = list(shares), list(shares.values())
    rest = [1 - share for share in values]
    ax.barh(names, values, color=FIRST, label=first)
    ax.barh(
        names, rest, left=values, color=SECOND, hatch="///", edgecolor="white",
        label=second,
    )  # fmt: skip
    for y, share in enumerate(values):
        ax.text(share / 2, y, f"{share:.0%}", color="white", ha="center", va="center")
    ax.set(xlim=(0, 1), xticks=[])
    ax.invert_yaxis()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    fig.legend(ncols=2, loc="outside lower center")
    return fig


def show_steps(steps: dict[str, tuple[float, float | None]]) -> Figure:
    """Two bars a step, of its time and of its bytes, with what they are in percent.

    steps: step → time and bytes, as shares of the same; None was not counted. Raises
    ValueError for a negative share.
    """
    given = [share for pair in steps.values() for share in pair if share is not None]
    if wrong := [share for share in given if not share >= 0]:
        raise ValueError(f"expected shares from 0, got {wrong}")
    fig, ax = plt.subplots(figsize=(5.2, 0.9 + 0.45 * len(steps)))
    looks = {"time": {"color": FIRST}, "bytes": {"color": SECOND, "hatch": "///"}}
    for side, ((label, look), shares) in enumerate(
        zip(looks.items(), zip(*steps.values(), strict=True), strict=True)
    ):
        places = [i + 0.4 * side - 0.2 for i in range(len(steps))]
        widths = [share or 0 for share in shares]
        bars = ax.barh(places, widths, 0.38, edgecolor="white", label=label, **look)
        words = ["" if share is None else f"{share:.0%}" for share in shares]
        ax.bar_label(bars, words, padding=3)
    ax.set(xlim=(0, 1.1 * max(given)), xticks=[], yticks=range(len(steps)))
    ax.set_yticklabels(steps)
    ax.invert_yaxis()
    ax.tick_params(length=0)
    ax.spines[["bottom", "right", "top"]].set_visible(False)
    fig.legend(ncols=2, loc="outside lower center")
    return fig
