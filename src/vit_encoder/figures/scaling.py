"""Figures of training on several processes."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from vit_encoder.arguments import require_whole

WIDTH = 7  # inches


def show_ring(ranks: int) -> Figure:
    """A ring all-reduce, a table a round: how many ranks are added up in each piece.

    ranks: rows and columns of each table. Raises ValueError or TypeError for others.
    """
    counts = ring_counts(ranks)
    fig, axes = plt.subplots(
        1, len(counts), squeeze=False, layout="constrained",
        figsize=(WIDTH, WIDTH / len(counts) + 0.5),
    )  # fmt: skip
    for number, (ax, table) in enumerate(zip(axes[0], counts, strict=True)):
        ax.imshow(table, cmap="Purples", vmin=0, vmax=1.4 * ranks)
        for r, row in enumerate(table):
            for k, count in enumerate(row):
                weight = "bold" if count == ranks else "normal"
                ax.text(k, r, count, ha="center", va="center", weight=weight, size=9)
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"round {number}" if number else "start", size=9)
    names = [f"rank {r}" for r in range(ranks)]
    axes[0, 0].set_yticks(range(ranks), names, size=9)
    return fig


def ring_counts(ranks: int) -> list[list[list[int]]]:
    """At the start and after each round: rank → piece → how many ranks are in it."""
    require_whole(ranks, "ranks")
    table = [[1] * ranks for _ in range(ranks)]
    tables = [table]
    for number in range(2 * (ranks - 1)):
        after = [row[:] for row in table]
        for r in range(ranks):
            # Rank 0 begins with piece 0; a piece goes on from where it arrived.
            k = (r - number) % ranks
            arrived = table[r][k] + (
                table[(r + 1) % ranks][k] if number < ranks - 1 else 0
            )
            after[(r + 1) % ranks][k] = arrived
        table = after
        tables.append(table)
    return tables
