"""How tokens grow alike from block to block, with and without parts of the blocks."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from vit_encoder.figures.colours import SERIES

STYLES = ("o:", "s--", "^-.", "o-", "s-")
DARK, LIGHT, _ = SERIES
COLOURS = (LIGHT, LIGHT, LIGHT, DARK, DARK)  # without skips, with them


def show_collapse(curves: dict[tuple[str, str], list[float]]) -> Figure:
    """How much tokens differ after each block: a plot a kind of blocks, a line a way.

    curves: (kind, way) → what was measured before the first block and after each, the
    ways in one order, five at most. Raises ValueError for curves of several lengths.
    """
    lengths = {len(curve) for curve in curves.values()}
    if len(lengths) != 1:
        raise ValueError(f"expected curves of one length, got {sorted(lengths)}")
    kinds = list(dict.fromkeys(kind for kind, _ in curves))
    fig, axes = plt.subplots(
        1, len(kinds), figsize=(5.2, 3.4), sharey=True, squeeze=False
    )
    for ax, kind in zip(axes[0], kinds, strict=True):
        ways = {way: curve for (k, way), curve in curves.items() if k == kind}
        for (way, curve), style, colour in zip(
            ways.items(), STYLES, COLOURS, strict=False
        ):
            ax.semilogy(curve, style, color=colour, label=way, markersize=4)
        ax.set(xlabel="blocks", title=f"{kind} blocks", xticks=range(*lengths))
    axes[0, 0].set_ylabel("how much tokens differ")
    handles = axes[0, 0].get_legend_handles_labels()
    fig.legend(*handles, ncols=2, loc="outside lower center")
    return fig
