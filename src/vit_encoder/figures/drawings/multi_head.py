"""The drawing of multi-head self-attention: the projections are cut, not the token.

A row of a matrix belongs to one token. What belongs to head 0 has a solid frame, what
belongs to head 1 a dashed one. The numbers are those of a small example that is
computed here, so that what is drawn is true.
"""

import math
from random import Random

from vit_encoder.figures.colours import KEY, QUERY, VALUE, WEIGHTS
from vit_encoder.figures.drawing import (
    GREY,
    Drawing,
    arrow,
    drawing,
    frame,
    line,
    matrix,
    sub,
    text,
)
from vit_encoder.figures.drawings.attention import product, transposed

HEADS, TOKENS, HEAD_WIDTH = 2, 4, 3
WIDTH = HEADS * HEAD_WIDTH  # D, the width of a token
SHOWN = 1  # the token that is followed through the drawing
SEED = 18  # gives heads that attend to different tokens

CELL = 11
HEIGHT = 602
PROJECTED = 114  # y of queries, keys and values
LANES, LANE_WIDTH, LANE_HEIGHT = 218, 161, 182  # the frames around the heads
MERGED = 522  # y of the joined outputs and of the layer's output
COLOURS = {"Q": QUERY, "K": KEY, "V": VALUE}

DESCRIPTION = (
    "Five steps from top to bottom, for {tokens} tokens of {width} features and {heads}"
    " heads. First, tokens X are projected by W Q, W K and W V. Each of their columns"
    " has {width} rows, one for each feature of a token. Second, queries, keys and"
    " values are cut: the first {head_width} columns of each go to head 0, in a solid"
    " frame, the last {head_width} to head 1, in a dashed frame. Third, each head has a"
    " square table of weights A and outputs Y of its own. Fourth, the outputs of both"
    " heads are put side by side. Fifth, they are multiplied by W O, whose upper rows"
    " read head 0 and whose lower rows read head 1: each head adds its part to every"
    " feature of the result. One token is outlined in all steps. Its weights are"
    " {first} in head 0 and {second} in head 1; both rows add up to 1."
)

Matrix = list[list[float]]


def multi_head_drawing() -> Drawing:
    """Draw multi-head self-attention (Dosovitskiy et al. 2021, equations 5 to 8)."""
    tokens, projections, output_projection = example()
    projected = {name: product(tokens, w) for name, w in projections.items()}
    weights, outputs = zip(*(attend(projected, i) for i in range(HEADS)), strict=True)
    merged = [[*first, *second] for first, second in zip(*outputs, strict=True)]
    shown = [[f"{w:.2f}" for w in table[SHOWN]] for table in weights]
    parts = [
        *draw_projection(tokens, projections, projected),
        *draw_split(),
        *(draw_head(i, projected, weights[i], outputs[i]) for i in range(HEADS)),
        *(draw_sum(i, numbers) for i, numbers in enumerate(shown)),
        *draw_merge(merged),
        *draw_output(output_projection, product(merged, output_projection)),
    ]
    description = DESCRIPTION.format(
        tokens=TOKENS,
        width=WIDTH,
        heads=HEADS,
        head_width=HEAD_WIDTH,
        first=", ".join(shown[0]),
        second=", ".join(shown[1]),
    )
    name = "Multi-head self-attention as products of matrices"
    return drawing(name, description, parts, HEIGHT)


def example() -> tuple[Matrix, dict[str, Matrix], Matrix]:
    """Tokens (N, D), the three projections (D, D) and the output projection (D, D)."""
    numbers = Random(SEED)

    def random_matrix(rows: int) -> Matrix:
        return [[numbers.uniform(-1.3, 1.3) for _ in range(WIDTH)] for _ in range(rows)]

    projections = {name: random_matrix(WIDTH) for name in COLOURS}
    return random_matrix(TOKENS), projections, random_matrix(WIDTH)


def attend(projected: dict[str, Matrix], head: int) -> tuple[Matrix, Matrix]:
    """The weights (N, N) and the outputs (N, D_h) of a head."""
    q, k, v = (columns_of(head, projected[name]) for name in COLOURS)
    weights = [softmax(row) for row in product(q, transposed(k))]
    return weights, product(weights, v)


def columns_of(head: int, whole: Matrix) -> Matrix:
    """The columns of a matrix that belong to a head."""
    return [row[HEAD_WIDTH * head : HEAD_WIDTH * (head + 1)] for row in whole]


def softmax(products: list[float]) -> list[float]:
    """The weights of one query, from its products with all keys."""
    powers = [math.exp(p / math.sqrt(HEAD_WIDTH)) for p in products]
    return [power / sum(powers) for power in powers]


def draw_projection(
    tokens: Matrix, projections: dict[str, Matrix], projected: dict[str, Matrix]
) -> list[str]:
    """Step 1: tokens at the left, weights above, their products where they cross."""
    parts = [
        step("1 project", 8, 13),
        *(
            text(words, 8, 44 + 14 * i, "start", size=11)
            for i, words in enumerate(("each column", "reads all", f"{WIDTH} features"))
        ),
        matrix(tokens, 8, PROJECTED, GREY, cell=CELL),
        text("X", 40, PROJECTED + 62, bold=True),
        text("tokens", 40, PROJECTED + 76),
        arrow([(78, PROJECTED + 21), (94, PROJECTED + 21)]),
        row_frame(8, PROJECTED, WIDTH),
        frame(97, PROJECTED + CELL * SHOWN - 3, 238, CELL + 4),
    ]
    for name, colour in COLOURS.items():
        middle = left_edge(name, 0) + HEAD_WIDTH * CELL + 1
        parts += [
            text(sub("W", name), middle, 13),
            arrow([(middle, 94), (middle, PROJECTED - 4)], colour),
        ]
        for head in range(HEADS):
            x, middle = left_edge(name, head), left_edge(name, head) + 16
            own = columns_of(head, projections[name]), columns_of(head, projected[name])
            parts += [
                matrix(own[0], x, 24, colour, cell=CELL),
                matrix(own[1], x, PROJECTED, colour, cell=CELL),
                head_frame(x - 3, 21, 37, 70, head, 1),
                head_frame(x - 3, PROJECTED - 3, 37, 48, head, 1),
                text(sub(name, str(head)), middle, PROJECTED + 62, bold=True),
            ]
    return parts


def left_edge(name: str, head: int) -> int:
    """x of the columns of a head in the queries, keys or values."""
    return 101 + 82 * "QKV".index(name) + 38 * head


def draw_split() -> list[str]:
    """Step 2: what belongs to a head goes to its frame."""
    parts = [step("2 split", 8, LANES - 7)]
    for head, into in enumerate((128, 254)):
        top, y = PROJECTED + 68, PROJECTED + 78 + 9 * head
        starts = [left_edge(name, head) + 16 for name in COLOURS]
        bar = [(min(into, *starts), y), (max(starts), y)]
        pieces = [[(x, top), (x, y)] for x in starts]
        parts += [line(p, width=1.5, dashed=head == 1) for p in (bar, *pieces)]
        parts.append(arrow([(into, y), (into, LANES - 1)], width=1.5))
    return parts


def draw_head(
    head: int, projected: dict[str, Matrix], weights: Matrix, outputs: Matrix
) -> str:
    """Step 3: one head, drawn as in the chapter before."""
    q, k, v = (columns_of(head, projected[name]) for name in COLOURS)
    left, y = lane(head) + 10, LANES + 94
    table, out = left + 51, left + 51 + 62
    key_top, value_top = y - 18 - HEAD_WIDTH * CELL, y - 18 - TOKENS * CELL
    number = str(head)
    return "".join(
        [
            head_frame(lane(head), LANES, LANE_WIDTH, LANE_HEIGHT, head, 1.5),
            step(f"3 attend: head {number}", lane(head) + 9, LANES + 18),
            matrix(q, left, y, QUERY, cell=CELL),
            matrix(transposed(k), table, key_top, KEY, cell=CELL),
            matrix(weights, table, y, WEIGHTS, strongest=1, cell=CELL),
            matrix(v, out, value_top, VALUE, cell=CELL),
            matrix(outputs, out, y, VALUE, cell=CELL),
            arrow([(left + 36, y + 21), (table - 5, y + 21)]),
            arrow([(table + 21, y - 18), (table + 21, y - 4)]),
            arrow([(table + 47, y + 21), (out - 5, y + 21)]),
            arrow([(out + 15, y - 18), (out + 15, y - 4)]),
            row_frame(left, y, HEAD_WIDTH),
            row_frame(table, y, TOKENS),
            row_frame(out, y, HEAD_WIDTH),
            text(sub("Q", number), left + 16, y + 62, bold=True),
            text(sub("A", number), table + 21, y + 62, bold=True),
            text(sub("Y", number), out + 16, y + 62, bold=True),
            text(f"K{'₀₁'[head]}ᵀ", table + 21, key_top - 7, bold=True),
            text(sub("V", number), out + 16, value_top - 8, bold=True),
        ]
    )


def lane(head: int) -> int:
    """x of the frame around a head."""
    return 6 + 168 * head


def draw_sum(head: int, numbers: list[str]) -> str:
    """The weights of the token that is followed."""
    sum_of_numbers = " + ".join(number.removeprefix("0") for number in numbers)
    middle = lane(head) + LANE_WIDTH / 2
    return text(f"{sum_of_numbers} = 1", middle, LANES + LANE_HEIGHT - 8, size=11)


def draw_merge(merged: Matrix) -> list[str]:
    """Step 4: the outputs of the heads, side by side."""
    left, bottom = 62, LANES + LANE_HEIGHT
    parts = [step("4 merge", 8, MERGED - 16), row_frame(left, MERGED, WIDTH + 0.4)]
    ways = ([(77, bottom), (77, MERGED - 5)], [(192, bottom), (192, bottom + 14)])
    ways[1].extend([(115, bottom + 14), (115, MERGED - 5)])
    for head, way in enumerate(ways):
        x = left + 38 * head
        parts += [
            arrow(way, VALUE),
            matrix(columns_of(head, merged), x, MERGED, VALUE, cell=CELL),
            head_frame(x - 3, MERGED - 3, 37, 48, head, 1),
            text(sub("Y", str(head)), x + 16, MERGED + 62, bold=True),
        ]
    return parts


def draw_output(output_projection: Matrix, output: Matrix) -> list[str]:
    """Step 5: the output projection, whose rows read one head each."""
    left, top = 178, MERGED - 20 - WIDTH * CELL
    half = HEAD_WIDTH * CELL
    return [
        step("5 project", 252, top - 8),
        text(sub("W", "O"), left + 32, top - 8),
        matrix(output_projection, left, top, "currentColor", cell=CELL),
        *(
            head_frame(left - 3, top - 3 + half * i, WIDTH * CELL + 4, half + 2, i, 1)
            for i in range(HEADS)
        ),
        *(
            text(f"reads {sub('Y', str(i))}", left + 76, top + 20 + half * i, "start")
            for i in range(HEADS)
        ),
        arrow([(142, MERGED + 21), (left - 6, MERGED + 21)]),
        arrow([(left + 32, MERGED - 18), (left + 32, MERGED - 4)]),
        matrix(output, left, MERGED, GREY, cell=CELL),
        row_frame(left, MERGED, WIDTH),
        text("output", left + 32, MERGED + 62),
        text("heads add", left + 76, MERGED + 18, "start"),
        text("their parts", left + 76, MERGED + 33, "start"),
    ]


def step(words: str, x: float, y: float) -> str:
    """The number and the name of a step."""
    return text(words, x, y, "start", bold=True)


def head_frame(
    x: float, y: float, width: float, height: float, head: int, line_width: float
) -> str:
    """The frame around what belongs to a head: solid for head 0, dashed for head 1."""
    dashes = ' stroke-dasharray="4 3"' if head else ""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4"'
        f' fill="none" stroke="currentColor" stroke-width="{line_width:g}"{dashes}/>'
    )


def row_frame(x: float, top: float, columns: float) -> str:
    """The frame around the row that is followed."""
    return frame(x - 3, top + CELL * SHOWN - 3, CELL * columns + 4, CELL + 4)
