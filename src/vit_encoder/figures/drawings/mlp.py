"""The drawing of the MLP: tokens become wide, are bent, and become narrow again.

A row belongs to one token in every matrix. The numbers are those of a small example
that is computed here, so that what is drawn is true.
"""

import math
import random

from vit_encoder.figures.colours import HIDDEN
from vit_encoder.figures.drawing import (
    GREY,
    Drawing,
    arrow,
    drawing,
    frame,
    line,
    matrix,
    text,
)
from vit_encoder.figures.drawings.attention import product

N, D, M = 4, 3, 12  # tokens, their width, the hidden width
P = 0.25  # the probability of dropout
CELL, PITCH = 14, 20  # from column to column, from row to row
LEFT, MIDDLE, RIGHT = 8, 86, 290  # x of the matrices
TOP, CENTRE, BOTTOM = 44, 172, 300  # y of the matrices
TALL = PITCH * (N - 1) + CELL - 2  # the height of a matrix
SHOWN = 1  # the row that is followed through the drawing
HEIGHT = 396

DESCRIPTION = (
    "Tokens X stand at the left, {n} rows of {d} cells, with space between the rows."
    " {n} parallel arrows named fc1, one a row, lead to the hidden units, {n} rows of"
    " {m} cells. {negative} of these {cells} cells are negative, which a bar says. An"
    " arrow named GELU leads down to a second matrix of the same size: strong positive"
    " cells are as strong as before, negative cells nearly vanish. An arrow named"
    " dropout leads down to a third one, in which {dropped} cells are crossed out and"
    " the others are a little stronger. {n} parallel arrows named fc2 lead right to Y,"
    " {n} rows of {d} cells. A last arrow named dropout leads up to the output of the"
    " same size. One row is outlined in all matrices. No arrow leads from one row to"
    " another."
)


def mlp_drawing() -> Drawing:
    """Draw the MLP of a block in training (Dosovitskiy et al. 2021, section 3.1)."""
    rng = random.Random(1633)
    tokens = normal(rng, N, D)
    hidden = product(tokens, normal(rng, D, M))
    bent = [[gelu(number) for number in row] for row in hidden]
    thinned = dropout(rng, bent)
    narrow = product(thinned, normal(rng, M, D, 0.5))
    output = dropout(rng, narrow)
    parts = [
        *rows(tokens, LEFT, TOP, GREY),
        *rows(hidden, MIDDLE, TOP, HIDDEN),
        *rows(bent, MIDDLE, CENTRE, HIDDEN),
        *rows(thinned, MIDDLE, BOTTOM, HIDDEN),
        *rows(narrow, RIGHT, BOTTOM, GREY),
        *rows(output, RIGHT, CENTRE, GREY),
        *arrows(),
        *labels(),
        *legend(),
    ]
    description = DESCRIPTION.format(
        n=N,
        d=D,
        m=M,
        cells=N * M,
        negative=sum(number < 0 for row in hidden for number in row),
        dropped=sum(number == 0 for row in thinned for number in row),
    )
    return drawing("The MLP, row by row", description, parts, HEIGHT)


def normal(
    rng: random.Random, height: int, width: int, spread: float = 1.0
) -> list[list[float]]:
    """A matrix of normal random numbers."""
    return [[rng.gauss(0, spread) for _ in range(width)] for _ in range(height)]


def gelu(x: float) -> float:
    """x Φ(x)."""
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def dropout(rng: random.Random, numbers: list[list[float]]) -> list[list[float]]:
    """Each number 0 with probability P, else divided by 1 - P."""
    return [[(rng.random() >= P) * x / (1 - P) for x in row] for row in numbers]


def rows(numbers: list[list[float]], x: float, y: float, colour: str) -> list[str]:
    """A matrix of sizes, with a bar in negative cells and a cross in those that are 0.

    The row that is followed has a frame.
    """
    shapes = [
        frame(x - 3, y + PITCH * SHOWN - 3, CELL * len(numbers[SHOWN]) + 4, CELL + 4)
    ]
    for i, row in enumerate(numbers):
        sizes = [min(abs(number), 2) for number in row]
        shapes.append(matrix([sizes], x, y + PITCH * i, colour, 2, CELL))
        for j, number in enumerate(row):
            middle = x + CELL * (j + 0.5) - 1, y + PITCH * i + CELL / 2 - 1
            if number == 0:
                shapes.append(cross(*middle))
            elif number < 0:
                shapes.append(bar(*middle))
    return shapes


def bar(x: float, y: float) -> str:
    """The sign of a negative number."""
    return line([(x - 3, y), (x + 3, y)], width=1.25)


def cross(x: float, y: float) -> str:
    """The sign of a number that was dropped."""
    return line([(x - 3, y - 3), (x + 3, y + 3)], width=1.25) + line(
        [(x - 3, y + 3), (x + 3, y - 3)], width=1.25
    )


def lanes(x: float, y: float, end: float) -> list[str]:
    """One arrow for each row, from x to `end`; the one that is followed is thicker."""
    return [
        arrow(
            [(x, y + PITCH * i + 6), (end, y + PITCH * i + 6)],
            width=2 if i == SHOWN else 1,
        )
        for i in range(N)
    ]


def arrows() -> list[str]:
    """The five steps with their names."""
    middle, last = MIDDLE + CELL * M / 2 - 1, RIGHT + CELL * D / 2 - 1
    return [
        *lanes(LEFT + 46, TOP, MIDDLE - 6),
        arrow([(middle, TOP + TALL + 6), (middle, CENTRE - 6)]),
        arrow([(middle, CENTRE + TALL + 6), (middle, BOTTOM - 6)]),
        *lanes(MIDDLE + CELL * M + 4, BOTTOM, RIGHT - 6),
        arrow([(last, BOTTOM - 6), (last, CENTRE + TALL + 22)]),
        text("fc1", 67, TOP - 8, bold=True),
        text("GELU", middle - 12, CENTRE - 22, "end", bold=True),
        text("dropout", middle - 12, BOTTOM - 22, "end", bold=True),
        text("fc2", 271, BOTTOM + TALL + 16, bold=True),
        text("dropout", last - 12, BOTTOM - 16, "end", bold=True),
    ]


def labels() -> list[str]:
    """The names of the matrices, and their shapes."""
    middle, last = MIDDLE + CELL * M / 2 - 1, RIGHT + CELL * D / 2 - 1
    return [
        text("tokens X", LEFT - 4, TOP - 26, "start", bold=True),
        text("hidden units, M = 4 D", middle, TOP - 26, bold=True),
        text("output", last, CENTRE - 12, bold=True),
        text("(N, D)", LEFT + 20, TOP + TALL + 16, size=11),
        text("(N, D)", last, CENTRE + TALL + 16, size=11),
        text("(N, D)", last, BOTTOM + TALL + 16, size=11),
        *(
            text("(N, M)", MIDDLE - 2, y + TALL + 16, "start", size=11)
            for y in (TOP, CENTRE, BOTTOM)
        ),
    ]


def legend() -> list[str]:
    """What a row is, and what the signs mean."""
    note = ("a row is", "one token;", "no row sees", "another row")
    return [
        *(
            text(words, LEFT - 4, CENTRE + 11 + PITCH * i, "start", size=11)
            for i, words in enumerate(note)
        ),
        bar(LEFT + 1, BOTTOM + 26),
        text("negative", LEFT + 10, BOTTOM + 30, "start", size=11),
        cross(LEFT + 1, BOTTOM + 46),
        text("dropped", LEFT + 10, BOTTOM + 50, "start", size=11),
    ]
