"""The drawings of self-attention: one query by hand, and all queries as matrices.

A row of a matrix belongs to one token. The numbers are computed here, from small
examples, so that what is drawn is true.
"""

import math

from vit_encoder.figures.colours import KEY, QUERY, VALUE, WEIGHTS
from vit_encoder.figures.drawing import (
    CELL,
    GREY,
    Drawing,
    arrow,
    box,
    drawing,
    frame,
    line,
    matrix,
    sub,
    text,
)

# One query meets two keys. The chapter computes the same by hand.
ASKED = [1, 1, 1, 1]
KEYS = [[1, -1, 0, 0], [1, 1, 0, 0]]
VALUES = [[10, 0], [0, 10]]
ROWS = (86, 132)  # y of the middle of each key
COLUMNS = (48, 118, 156, 196, 246, 307)  # x of the middle of each column

ONE_QUERY = (
    "One query q = {query} at the top. Below it a table with one row for each of two"
    " keys. From left to right: the key, its product with the query, the product"
    " divided by the root of 4, its exponential, its share of all exponentials, and the"
    " value. {rows} The shares add up to 1. At the bottom the output, the average of"
    " the values with these shares: {output}."
)


def one_query_drawing() -> Drawing:
    """Draw how one query reads two keys and their values, number by number."""
    products = [row[0] for row in product(KEYS, transposed([ASKED]))]
    scores = [p / math.sqrt(len(ASKED)) for p in products]
    powers = [math.exp(s) for s in scores]
    shares = softmax(products, len(ASKED))
    (output,) = product([shares], VALUES)
    heads = ("key", "q · k", "÷ √4", "exp", "share", "value")
    parts = [
        box(8, 8, 128, 26, QUERY),
        text(f"query {vector(ASKED)}", 72, 25),
        *(text(h, x, 58, size=11) for h, x in zip(heads, COLUMNS, strict=True)),
        box(214, 168, 118, 26, VALUE),
        text(f"output {vector(output)}", 273, 185),
        arrow([(COLUMNS[-1], 150), (COLUMNS[-1], 166)], VALUE),
        text("1.00", COLUMNS[4], 162, size=11),
        line([(COLUMNS[4] - 22, 150), (COLUMNS[4] + 22, 150)], width=1),
    ]
    spoken = []
    for y, key, value, *numbers in zip(
        ROWS, KEYS, VALUES, products, scores, powers, shares, strict=True
    ):
        written = [f"{n:.{d}f}" for n, d in zip(numbers, (0, 0, 1, 2), strict=True)]
        spoken.append(f"{vector(key)}: {', '.join(written)}, {vector(value)}.")
        width = 44 * numbers[-1]
        parts += [
            box(8, y - 14, 80, 26, KEY),
            text(vector(key), COLUMNS[0], y + 3),
            *(
                text(n, x, y + 3)
                for n, x in zip(written[:3], COLUMNS[1:4], strict=True)
            ),
            text(written[3], COLUMNS[4], y - 1, bold=True),
            line([(224, y + 8), (224 + width, y + 8)], WEIGHTS, 5),
            box(282, y - 14, 50, 26, VALUE),
            text(vector(value), COLUMNS[5], y + 3),
        ]
    description = ONE_QUERY.format(
        query=vector(ASKED), rows=" ".join(spoken), output=vector(output)
    )
    return drawing("One query, two keys, by hand", description, parts, 204)


def vector(numbers: list[float]) -> str:
    """Numbers in brackets, with one place if they need one, and a true minus."""
    return f"({', '.join(f'{round(n, 1):g}' for n in numbers)})".replace("-", "−")


# Four tokens, all at once.
HEIGHT = 340
TOP = 178  # y of the matrices that have one row a token
SHOWN = 1  # the row that is followed through the drawing

TOKENS = [[0.9, 0.2, 0.4], [0.3, 0.8, 0.6], [0.7, 0.5, 0.1], [0.2, 0.4, 0.9]]
W_QUERY = [[3.1, -0.7], [-1.1, 2.6], [-1.2, 1.7]]
W_KEY = [[1.3, -0.9], [-1.4, 0.5], [-0.8, 1.9]]
W_VALUE = [[0.8, 0.1], [0.3, 0.5], [0.1, 0.9]]

DESCRIPTION = (
    "Tokens X stand at the left, one token a row. Three arrows lead from them: through"
    " W Q to the queries Q, through W K to the keys K, drawn transposed, and through"
    " W V to the values V. Queries and keys meet in a square table of weights A, with"
    " one row for each query and one column for each key. Weights and values meet in"
    " the outputs Y, one row for each query. One row is outlined from Q through A to Y:"
    " its weights are {weights} and add up to 1."
)


def attention_drawing() -> Drawing:
    """Draw one head of self-attention (Dosovitskiy et al. 2021, equations 5 to 7)."""
    queries = product(TOKENS, W_QUERY)
    keys = transposed(product(TOKENS, W_KEY))
    values = product(TOKENS, W_VALUE)
    weights = [softmax(row, len(W_QUERY[0])) for row in product(queries, keys)]
    outputs = product(weights, values)
    shown = [f"{w:.2f}" for w in weights[SHOWN]]
    parts = [
        matrix(TOKENS, 8, TOP, GREY),
        matrix(queries, 98, TOP, QUERY),
        matrix(keys, 166, TOP - 72, KEY),
        matrix(weights, 166, TOP, WEIGHTS, strongest=1),
        matrix(values, 292, TOP - 112, VALUE),
        matrix(outputs, 292, TOP, VALUE),
        *(row_frame(x, columns) for x, columns in ((98, 2), (166, 4), (292, 2))),
        *arrows(),
        *labels(),
        text(f"{' + '.join(shown)} = 1", 206, TOP + 153, size=12),
        text("the outlined row of A", 206, TOP + 137, size=11),
    ]
    name = "Self-attention as products of matrices"
    description = DESCRIPTION.format(weights=", ".join(shown))
    return drawing(name, description, parts, HEIGHT)


def product(a: list[list[float]], b: list[list[float]]) -> list[list[float]]:
    """The product of two matrices."""
    return [
        [
            sum(x * y for x, y in zip(row, column, strict=True))
            for column in transposed(b)
        ]
        for row in a
    ]


def transposed(a: list[list[float]]) -> list[list[float]]:
    """The matrix with rows and columns exchanged."""
    return [list(column) for column in zip(*a, strict=True)]


def softmax(products: list[float], width: int) -> list[float]:
    """The weights of one query, from its products with all keys of a width."""
    powers = [math.exp(p / math.sqrt(width)) for p in products]
    return [power / sum(powers) for power in powers]


def row_frame(x: int, columns: int) -> str:
    """The frame around the row that is followed."""
    y = TOP + CELL * SHOWN - 3
    return frame(x - 3, y, CELL * columns + 4, CELL + 4)


def arrows() -> list[str]:
    """The projections in the colours of what they make, then the two products."""
    middle, key_row = TOP + 39, TOP - 52
    return [
        arrow([(70, middle), (92, middle)], QUERY),
        arrow([(38, TOP - 4), (38, key_row), (160, key_row)], KEY),
        arrow([(38, key_row), (38, 30), (311, 30), (311, TOP - 116)], VALUE),
        arrow([(140, middle), (160, middle)]),
        arrow([(205, TOP - 30), (205, TOP - 6)]),
        arrow([(248, middle), (286, middle)]),
        arrow([(311, TOP - 30), (311, TOP - 6)]),
    ]


def labels() -> list[str]:
    """The names of the matrices and of the projections."""
    below = TOP + 98
    return [
        text("X", 37, below, bold=True),
        text("tokens", 37, below + 15),
        text("Q", 117, below, bold=True),
        text("queries", 117, below + 15),
        text("A", 205, below, bold=True),
        text("weights", 205, below + 15),
        text("Y", 311, below, bold=True),
        text("outputs", 311, below + 15),
        text("keys Kᵀ", 205, TOP - 80, bold=True),
        text("values V", 284, TOP - 100, "end", bold=True),
        text(sub("W", "Q"), 80, TOP + 30),
        text(sub("W", "K"), 62, TOP - 58),
        text(sub("W", "V"), 62, 24),
    ]
