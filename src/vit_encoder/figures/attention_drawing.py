"""The drawing of self-attention: each matrix stands where its product needs it.

A row of a matrix belongs to one token. The numbers are those of a small example that is
computed here, so that what is drawn is true.
"""

import math

WIDTH, HEIGHT, CELL = 340, 340, 20
TOP = 178  # y of the matrices that have one row a token
QUERY, KEY, VALUE, GREY = "#0072b2", "#e69f00", "#009e73", "#767676"
WEIGHTS = "#6a35a8"
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


class AttentionDrawing:
    """The finished drawing, which a notebook shows by itself. `svg` is its text."""

    def __init__(self, svg: str):
        self.svg = svg

    def _repr_html_(self) -> str:
        return f'<div class="vit-drawing">{self.svg}</div>'

    def __repr__(self) -> str:
        return "AttentionDrawing()"


def attention_drawing() -> AttentionDrawing:
    """Draw one head of self-attention (Dosovitskiy et al. 2021, equations 5 to 7)."""
    queries = product(TOKENS, W_QUERY)
    keys = transposed(product(TOKENS, W_KEY))
    values = product(TOKENS, W_VALUE)
    weights = [softmax(row) for row in product(queries, keys)]
    outputs = product(weights, values)
    shown = [f"{w:.2f}" for w in weights[SHOWN]]
    parts = [
        matrix(TOKENS, 8, TOP, GREY),
        matrix(queries, 98, TOP, QUERY),
        matrix(keys, 166, TOP - 72, KEY),
        matrix(weights, 166, TOP, WEIGHTS, strongest=1),
        matrix(values, 292, TOP - 112, VALUE),
        matrix(outputs, 292, TOP, VALUE),
        *(outline(x, columns) for x, columns in ((98, 2), (166, 4), (292, 2))),
        *arrows(),
        *labels(),
        text(f"{' + '.join(shown)} = 1", 206, TOP + 153, size=12),
        text("the outlined row of A", 206, TOP + 137, size=11),
    ]
    return AttentionDrawing(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' width="{WIDTH}" height="{HEIGHT}" role="img" fill="currentColor"'
        ' font-family="system-ui, sans-serif"'
        ' style="display: block; width: 100%; max-width: 440px; height: auto;'
        ' margin: 0 auto">\n<title>Self-attention as products of matrices</title>\n'
        f"<desc>{DESCRIPTION.format(weights=', '.join(shown))}</desc>\n"
        + "\n".join(parts)
        + "\n</svg>"
    )


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


def softmax(products: list[float]) -> list[float]:
    """The weights of one query, from its products with all keys."""
    powers = [math.exp(p / math.sqrt(len(W_QUERY[0]))) for p in products]
    return [power / sum(powers) for power in powers]


def matrix(
    numbers: list[list[float]], x: int, y: int, colour: str, strongest: float = 0
) -> str:
    """A matrix as cells; the larger a number, the stronger its colour."""
    flat = [number for row in numbers for number in row]
    low = 0 if strongest else min(flat)
    span = (strongest or max(flat)) - low
    return "".join(
        f'<rect x="{x + CELL * j}" y="{y + CELL * i}" width="{CELL - 2}"'
        f' height="{CELL - 2}" rx="3" fill="{colour}"'
        f' opacity="{0.2 + 0.8 * (number - low) / span:.2f}"/>'
        for i, row in enumerate(numbers)
        for j, number in enumerate(row)
    )


def outline(x: int, columns: int) -> str:
    """The frame around the row that is followed."""
    return (
        f'<rect x="{x - 3}" y="{TOP + CELL * SHOWN - 3}" width="{CELL * columns + 4}"'
        f' height="{CELL + 4}" rx="5" fill="none" stroke="currentColor"'
        ' stroke-width="2"/>'
    )


def arrows() -> list[str]:
    """The projections in the colours of what they make, then the two products."""
    middle, key_row, ink = TOP + 39, TOP - 52, "currentColor"
    return [
        arrow([(70, middle), (92, middle)], QUERY),
        arrow([(38, TOP - 4), (38, key_row), (160, key_row)], KEY),
        arrow([(38, key_row), (38, 30), (311, 30), (311, TOP - 116)], VALUE),
        arrow([(140, middle), (160, middle)], ink),
        arrow([(205, TOP - 30), (205, TOP - 6)], ink),
        arrow([(248, middle), (286, middle)], ink),
        arrow([(311, TOP - 30), (311, TOP - 6)], ink),
    ]


def arrow(points: list[tuple[int, int]], colour: str) -> str:
    """A line through the points with a head, to the right or down, at the last one."""
    (before, _), (x, y) = points[-2:]
    wings = "l-4.5-8h9z" if before == x else "l-8-4.5v9z"
    path = "L".join(f"{px} {py}" for px, py in points)
    return (
        f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        f'<path d="M{x} {y}{wings}" fill="{colour}"/>'
    )


def labels() -> list[str]:
    """The names of the matrices and of the projections."""
    below = TOP + 98
    return [
        text("X", 37, below, name=True),
        text("tokens", 37, below + 15),
        text("Q", 117, below, name=True),
        text("queries", 117, below + 15),
        text("A", 205, below, name=True),
        text("weights", 205, below + 15),
        text("Y", 311, below, name=True),
        text("outputs", 311, below + 15),
        text("keys Kᵀ", 205, TOP - 80, name=True),
        text("values V", 284, TOP - 100, "end", name=True),
        text("W<tspan dy='3' font-size='9'>Q</tspan>", 80, TOP + 30),
        text("W<tspan dy='3' font-size='9'>K</tspan>", 62, TOP - 58),
        text("W<tspan dy='3' font-size='9'>V</tspan>", 62, 24),
    ]


def text(
    content: str,
    x: int,
    y: int,
    anchor: str = "middle",
    size: int = 12,
    name: bool = False,
) -> str:
    """A line of text; a name is bold."""
    bold = ' font-weight="600"' if name else ""
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}"{bold}>'
        f"{content}</text>"
    )
