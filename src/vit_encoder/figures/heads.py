"""Figures of multi-head self-attention: how numbers are cut, and what reads what."""

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vit_encoder.figures.colours import WRONG
from vit_encoder.figures.drawing import Drawing, drawing, text

# Light enough for dark numbers, one a token; none stands for a concept.
TOKEN_COLOURS = ("#F0E442", "#C8C8C8", "#E3C9A8")
INK = "#1a1a1a"  # the numbers on these colours
LEFT, CELL = 50, 19


def show_split(x: torch.Tensor, **cuts: torch.Tensor) -> Drawing:
    """Numbers before and after they are cut into heads, one colour a token.

    x: (1, N, D), whole numbers from 0 to 99 that differ, N at most 3. cuts: by name,
    the same numbers as (1, h, N, D_h); an underscore in a name stands for a space.
    Row n of a head has a frame if it holds a number of another token than token n.
    Raises ValueError for other arguments.
    """
    tokens = require_numbers(x, cuts)
    owner = {number: n for n, row in enumerate(tokens) for number in row}
    tables = {"tokens": [tokens]} | {k: cut[0].tolist() for k, cut in cuts.items()}
    parts, told, top, width = [], [], 14, 0
    for name, heads in tables.items():
        title = name.replace("_", " ")
        parts.append(text(title, LEFT, top, "start", bold=True))
        top += 8 if name == "tokens" else 22
        x_of_head, wrong = LEFT, False
        for i, rows in enumerate(heads):
            if name != "tokens":
                parts.append(text(f"head {i}", x_of_head, top - 6, "start", size=11))
            parts += draw_rows(rows, x_of_head, top, owner)
            wrong |= any(strange(row, n, owner) for n, row in enumerate(rows))
            x_of_head += CELL * len(rows[0]) + 16
            head = "" if name == "tokens" else f", head {i}"
            told.append(f"{title}{head}, row by row: {rows_in_words(rows)}.")
        words = ("framed: not", "token n") if wrong else ("row n is", "token n")
        for i, line in enumerate(words):
            parts.append(text(line, x_of_head, top + 24 + 14 * i, "start", size=11))
        for n in range(len(tokens)):
            y = top + CELL * n + 13
            parts.append(text(f"row {n}", LEFT - 8, y, "end", size=11))
        top += CELL * len(tokens) + 28
        width = max(width, x_of_head + 72)
    told.append("A frame marks row n of a head if it is not made of token n.")
    name = "How heads get their numbers"
    return drawing(name, " ".join(told), parts, top - 24, width)


def require_numbers(
    x: torch.Tensor, cuts: dict[str, torch.Tensor]
) -> list[list[float]]:
    """The numbers of the tokens, if the cuts hold the same. Raises ValueError."""
    if x.dim() != 3 or len(x) != 1 or x.shape[1] > len(TOKEN_COLOURS):
        raise ValueError(f"expected x (1, N, D) with N ≤ 3, got shape {tuple(x.shape)}")
    for name, cut in cuts.items():
        fits = cut.dim() == 4 and cut.shape[2] == x.shape[1]
        if not fits or sorted(cut.flatten().tolist()) != sorted(x.flatten().tolist()):
            raise ValueError(
                f"expected in {name} the numbers of x as (1, h, {x.shape[1]}, D_h),"
                f" got shape {tuple(cut.shape)}"
            )
    return x[0].tolist()


def draw_rows(
    rows: list[list[float]], left: float, top: float, owner: dict[float, int]
) -> list[str]:
    """Numbered boxes in the colours of the tokens; a frame around a strange row."""
    parts = []
    for n, row in enumerate(rows):
        y = top + CELL * n
        for j, number in enumerate(row):
            x, colour = left + CELL * j, TOKEN_COLOURS[owner[number]]
            parts += [
                f'<rect x="{x:g}" y="{y:g}" width="{CELL - 1}" height="{CELL - 1}"'
                f' rx="3" fill="{colour}"/>',
                text(f"{number:02.0f}", x + 9, y + 13, size=11, colour=INK),
            ]
        if strange(row, n, owner):
            parts.append(
                f'<rect x="{left - 1.5:g}" y="{y - 1:g}" rx="4" fill="none"'
                f' width="{CELL * len(row) + 2:g}" height="{CELL + 1}"'
                f' stroke="{WRONG}" stroke-width="3"/>'
            )
    return parts


def strange(row: list[float], n: int, owner: dict[float, int]) -> bool:
    """Whether row n holds a number of another token than token n."""
    return any(owner[number] != n for number in row)


def rows_in_words(rows: list[list[float]]) -> str:
    """The numbers, row by row, for someone who cannot see them."""
    return "; ".join(" ".join(f"{number:02.0f}" for number in row) for row in rows)


def show_reads(tables: dict[str, torch.Tensor], rows: str, columns: str) -> Figure:
    """How strongly each output feature reads each input feature, one panel a table.

    tables: title → (h, D_h, D), not negative, for each feature of each head; the
    darker, the stronger, and white is 0. rows, columns: what the features are. Raises
    ValueError for other arguments.
    """
    for title, table in tables.items():
        if table.dim() != 3 or (table < 0).any() or not (table > 0).any():
            raise ValueError(
                f"expected in {title!r} numbers from 0 of shape (h, D_h, D), got shape"
                f" {tuple(table.shape)}"
            )
    fig, axes = plt.subplots(
        1, len(tables), figsize=(5.2, 2.9), squeeze=False, sharey=True
    )
    for ax, (title, table) in zip(axes[0], tables.items(), strict=True):
        heads, width = table.shape[:2]
        shades = (table / table.max()).flatten(0, 1).detach().cpu()  # (h·D_h, D)
        ax.imshow(shades.numpy(), cmap="Greys", vmin=0, vmax=1.4)
        for i in range(1, heads):
            ax.axhline(i * width - 0.5, color="black", lw=1.2, ls="--")
        ax.set_yticks([width * (i + 0.5) - 0.5 for i in range(heads)])
        ax.set_yticklabels([f"head {i}" for i in range(heads)])
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.set(title=title, xlabel=columns)
        ax.spines[["top", "right"]].set_visible(True)
    axes[0, 0].set_ylabel(rows)
    return fig
