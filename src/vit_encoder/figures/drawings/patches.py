"""The drawing of chapter 01: from an image to the tokens that enter the encoder.

All matrices with one row a token stand side by side, so that a token is a line from
left to right; the projection stands above its product. The numbers are those of a small
image, and all else is computed from them here, so that what is drawn is true.
"""

from vit_encoder.figures.colours import CLASS, POSITION
from vit_encoder.figures.drawing import (
    GREY,
    Drawing,
    arrow,
    drawing,
    frame,
    matrix,
    sub,
    text,
)
from vit_encoder.figures.drawings.attention import product

HEIGHT = 418
CELL = 18
PIXEL, GAP = 22, 7  # the image's pixels and the gaps between its patches, in units
ROWS, COLUMNS, P = 2, 2, 2  # patches below one another, side by side, and their side
IMAGE_X, IMAGE_Y = 22, 46
TOP, FIRST = 258, 282  # y of the class token, and of the first patch below it
PATCHES, EMBEDDED, POSITIONS, TOKENS = 22, 120, 196, 268  # x of the matrices
SHOWN = 1  # the patch that is followed through the drawing

CLASS_AND_PATCHES = (
    '[x<tspan dy="3" font-size="9">class</tspan><tspan dy="-3">; x</tspan>'
    '<tspan dy="3" font-size="9">p</tspan><tspan dy="-3">E]</tspan>'
)

COUNT = ROWS * COLUMNS  # n
LARGEST = P * ROWS * P * COLUMNS - 1

IMAGE = [
    [P * COLUMNS * row + column for column in range(P * COLUMNS)]
    for row in range(P * ROWS)
]
# The mean, right minus left, below minus above: what the chapter does by hand.
PROJECTION = [[0.25, -1, -1], [0.25, 1, -1], [0.25, -1, 1], [0.25, 1, 1]]
CLASS_TOKEN = [0.5, 0.1, 0.7]
POSITION_ROWS = [
    [0.7, 0.2, 0.5],
    [0.1, 0.6, 0.8],
    [0.5, 0.9, 0.1],
    [0.8, 0.0, 0.6],
    [0.2, 0.5, 0.0],
]

DESCRIPTION = (
    "At the top an image of 4 rows and 4 columns of pixels, numbered row by row from 0"
    " to 15. It is cut into 4 patches of 2 by 2 pixels, numbered from 0. One patch is"
    " outlined; it holds the pixels {pixels}. An arrow leads down to a matrix with one"
    " patch a row; the outlined row reads {pixels}. To its right stand the same rows"
    " after multiplication with the learned matrix E, which stands above them: 4 rows"
    " of 3 numbers. A row of round cells on top of them is the class token; nothing in"
    " the image leads to it. A second learned matrix of 5 rows, the position"
    " embeddings, is added. The sum has 5 rows: tokens 0 to 4, which go to the encoder."
    " Patch {patch} has become token {token}. Dashed outlines mark what is learned: E,"
    " the class token and the position embeddings."
)


def patches_drawing() -> Drawing:
    """Draw equation 1 of the ViT paper (Dosovitskiy et al. 2021)."""
    patches = cut(IMAGE)
    scaled = [[pixel / LARGEST for pixel in patch] for patch in patches]
    embedded = product(scaled, PROJECTION)
    rows = [CLASS_TOKEN, *embedded]
    tokens = [
        [a + b for a, b in zip(row, position, strict=True)]
        for row, position in zip(rows, POSITION_ROWS, strict=True)
    ]
    parts = [
        *draw_image(),
        *numbered(patches, PATCHES, FIRST),
        learned(EMBEDDED, TOP - 84, 3, 4),
        matrix(PROJECTION, EMBEDDED, TOP - 84, GREY, cell=CELL),
        learned(EMBEDDED, TOP, 3, 1),
        class_row(CLASS_TOKEN, EMBEDDED),
        matrix(embedded, EMBEDDED, FIRST, GREY, cell=CELL),
        learned(POSITIONS, TOP, 3, COUNT + 1, FIRST - TOP - CELL),
        matrix(POSITION_ROWS[:1], POSITIONS, TOP, POSITION, 0.9, CELL),
        matrix(POSITION_ROWS[1:], POSITIONS, FIRST, POSITION, 0.9, CELL),
        class_row(tokens[0], TOKENS),
        matrix(tokens[1:], TOKENS, FIRST, GREY, cell=CELL),
        *row_frames(),
        *arrows(),
        *indices(),
        *labels(),
    ]
    pixels = ", ".join(map(str, patches[SHOWN]))
    description = DESCRIPTION.format(pixels=pixels, patch=SHOWN, token=SHOWN + 1)
    return drawing("From an image to tokens", description, parts, HEIGHT)


def cut(image: list[list[int]]) -> list[list[int]]:
    """The patches row by row, each with its pixels row by row."""
    return [
        [image[P * row + i][P * column + j] for i in range(P) for j in range(P)]
        for row in range(ROWS)
        for column in range(COLUMNS)
    ]


def corner(patch: int) -> tuple[int, int]:
    """Where a patch of the image is drawn, x and y."""
    step = P * PIXEL + GAP
    row, column = divmod(patch, COLUMNS)
    return IMAGE_X + step * column, IMAGE_Y + step * row


def draw_image() -> list[str]:
    """The image with gaps between its patches, and one patch outlined."""
    parts = []
    for patch, pixels in enumerate(cut(IMAGE)):
        x, y = corner(patch)
        square = [pixels[:P], pixels[P:]]
        parts += numbered(square, x, y, PIXEL)
        above = patch < COLUMNS
        name = "patch 0" if patch == 0 else str(patch)
        parts.append(text(name, x + PIXEL - 1, y + (-8 if above else 57), size=11))
    x, y = corner(SHOWN)
    return [*parts, frame(x - 3, y - 3, P * PIXEL + 4, P * PIXEL + 4)]


def numbered(
    numbers: list[list[int]], x: int, y: int, cell: int = CELL, largest: int = LARGEST
) -> list[str]:
    """Cells with their numbers, shaded so lightly that the numbers can be read."""
    side, middle = cell - 2, cell / 2 - 1
    parts = []
    for i, row in enumerate(numbers):
        for j, number in enumerate(row):
            left, top = x + cell * j, y + cell * i
            parts += [
                f'<rect x="{left}" y="{top}" width="{side}" height="{side}" rx="3"'
                f' fill="{GREY}" opacity="{0.12 + 0.38 * number / largest:.2f}"/>',
                text(str(number), left + middle, top + middle + 4, size=11),
            ]
    return parts


def class_row(numbers: list[float], x: int) -> str:
    """The class token: a row of round cells."""
    low, high = min(numbers), max(numbers)
    return "".join(
        f'<circle cx="{x + CELL * j + CELL / 2 - 1:g}" cy="{TOP + CELL / 2 - 1:g}"'
        f' r="{CELL / 2 - 1:g}" fill="{CLASS}"'
        f' opacity="{0.4 + 0.6 * (number - low) / (high - low):.2f}"/>'
        for j, number in enumerate(numbers)
    )


def learned(x: float, y: float, columns: int, rows: int, gap: int = 0) -> str:
    """The dashed outline around parameters. gap: between their rows, in units."""
    return (
        f'<rect x="{x - 4:g}" y="{y - 4:g}" width="{CELL * columns + 6}"'
        f' height="{CELL * rows + gap + 6}" rx="5" fill="none" stroke="currentColor"'
        ' stroke-dasharray="4 3"/>'
    )


def row_frames() -> list[str]:
    """The frames around the row that is followed."""
    y = FIRST + CELL * SHOWN - 3
    return [
        frame(x - 3, y, CELL * columns + 4, CELL + 4)
        for x, columns in ((PATCHES, 4), (EMBEDDED, 3), (POSITIONS, 3), (TOKENS, 3))
    ]


def arrows() -> list[str]:
    """From the image to its patches in rows, and from these to the product with E."""
    x, y, up = PATCHES + 8, FIRST + CELL * (SHOWN + 0.5) - 1, TOKENS + 26
    return [
        arrow([(x, corner(COLUMNS)[1] + 64), (x, FIRST - 6)]),
        arrow([(PATCHES + 4 * CELL + 4, y), (EMBEDDED - 6, y)]),
        arrow([(up, TOP - 6), (up, TOP - 36)]),
    ]


def indices() -> list[str]:
    """The numbers of the patches at the left and of the tokens at the right."""
    rows = [FIRST + CELL * i + 13 for i in range(COUNT)]
    right = TOKENS + 3 * CELL + 8
    return [
        *(text(str(i), PATCHES - 8, y, "end", 11) for i, y in enumerate(rows)),
        *(text(str(i), right, y, size=11) for i, y in enumerate([TOP + 13, *rows])),
    ]


def labels() -> list[str]:
    """The names and shapes of the matrices, and what the outlines mean."""
    low = FIRST + COUNT * CELL + 20
    columns = (
        (PATCHES + 35, sub("x", "p"), "patches", "(n, C·P·P)"),
        (EMBEDDED + 26, CLASS_AND_PATCHES, "embedded", "(N, D)"),
        (POSITIONS + 26, sub("E", "pos"), "positions", "(N, D)"),
        (TOKENS + 26, sub("z", "0"), "tokens", "(N, D)"),
    )
    middle = FIRST + CELL * (SHOWN + 0.5) + 5
    return [
        text("image, 4 × 4 pixels", IMAGE_X, 18, "start", bold=True),
        text("P = 2", 190, 60, "start"),
        text("n = 4 · 4 / 2² = 4", 190, 78, "start"),
        text("learned, the same", 216, 110, "start", 11),
        text("for every image", 216, 124, "start", 11),
        learned(190, 105, 1, 1),
        text("cut and", 40, TOP - 46, "start"),
        text("flatten", 40, TOP - 31, "start"),
        text("E", 182, TOP - 64, "start", bold=True),
        text("one matrix for", 182, TOP - 49, "start", 11),
        text("all patches", 182, TOP - 35, "start", 11),
        text("encoder", TOKENS + 26, TOP - 42),
        text("token", 338, TOP - 5, "end", 11),
        text("class token", EMBEDDED - 10, TOP + 13, "end"),
        text("E", (PATCHES + 4 * CELL + EMBEDDED) / 2, middle - 13, bold=True),
        text("+", 184, middle, size=18),
        text("=", 258, middle - 1, size=14),
        *(text(symbol, x, low, bold=True) for x, symbol, _, _ in columns),
        *(text(name, x, low + 16) for x, _, name, _ in columns),
        *(text(shape, x, low + 31, size=11) for x, *_, shape in columns),
    ]
