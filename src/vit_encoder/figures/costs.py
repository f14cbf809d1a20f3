"""A plot of what an encoder's costs consist of."""

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
