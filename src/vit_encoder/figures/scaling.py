"""Figures of training on several processes."""

import math

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from vit_encoder.arguments import require_whole

WIDTH, COLUMNS = 5.2, 4  # inches, as in the course's style; tables in a row


def show_ring(ranks: int) -> Figure:
    """A ring all-reduce, a table a round: how many ranks are added up in each piece.

    ranks: rows and columns of each table. Raises ValueError or TypeError for others.
    """
    counts = ring_counts(ranks)
    rows = math.ceil(len(counts) / COLUMNS)
    fig, axes = plt.subplots(
        rows, COLUMNS, squeeze=False, layout="constrained",
        figsize=(WIDTH, rows * (WIDTH / COLUMNS + 0.3)),
    )  # fmt: skip
    for ax in axes.flat[len(counts) :]:
        ax.axis("off")
    names = [f"rank {r}" for r in range(ranks)]
    for number, (ax, table) in enumerate(zip(axes.flat, counts, strict=False)):
        ax.imshow(table, cmap="Greys", vmin=0, vmax=2.5 * ranks)
        for r, row in enumerate(table):
            for k, count in enumerate(row):
                weight = "bold" if count == ranks else "normal"
                ax.text(k, r, count, ha="center", va="center", weight=weight)
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"round {number}" if number else "start")
    for ax in axes[:, 0]:
        ax.set_yticks(range(ranks), names)
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
