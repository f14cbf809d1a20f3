"""The drawing of attention tile by tile: one query, three keys in two tiles."""

from vit_encoder.figures.colours import VALUE
from vit_encoder.figures.drawing import GREY, Drawing, arrow, box, drawing, text

TILES = (((0, 10), (2, 20)), ((3, 30),))  # of each key its score and its value
KEPT = (  # after each tile
    ("t = 2", "u = e⁻² + 1 = 1.135", "o = 10 e⁻² + 20 = 21.35"),
    ("t = 3", "u = 1.135 e⁻¹ + 1 = 1.418", "o = 21.35 e⁻¹ + 30 = 37.86"),
)
OUTPUT = "output: o / u = 26.7"
CELL, LEFT = 36, 40  # of a tile, and where its first key stands
SUMS, WIDE = 146, 192  # the box of what is kept
TOP, HIGH, STEP = 22, 74, 116  # of the first tile, and from tile to tile

DESCRIPTION = (
    "Three keys of one query in two tiles. The first tile has the scores 0 and 2 and"
    " the values 10 and 20. It leads to a box of what is kept: t = 2, u = 1.135 and"
    " o = 21.35. The second tile has the score 3 and the value 30. Since 3 is larger"
    " than 2 by 1, u and o are multiplied by e to the power of −1 on the way to the"
    " second box: t = 3, u = 1.418, o = 37.86. The output is o divided by u, 26.7."
)


def tiles_drawing() -> Drawing:
    """Draw what attention tile by tile keeps after each tile, and its output."""
    parts = [text("tiles", LEFT + CELL, 12), text("kept", SUMS + WIDE / 2, 12)]
    for i, (keys, lines) in enumerate(zip(TILES, KEPT, strict=True)):
        y, right = TOP + STEP * i, LEFT + CELL * len(keys)
        parts += [*tile(keys, y), box(SUMS, y, WIDE, HIGH)]
        parts.append(arrow([(right + 10, y + HIGH / 2), (SUMS - 4, y + HIGH / 2)]))
        for row, words in enumerate(lines):
            parts.append(text(words, SUMS + 12, y + 20 + 22 * row, "start"))
        parts.append(text("largest score", SUMS + WIDE - 10, y + 20, "end", size=11))
    between, end = TOP + HIGH, TOP + HIGH + STEP
    for y, length in ((between, STEP - HIGH), (end, 24)):
        parts.append(arrow([(SUMS + 40, y), (SUMS + 40, y + length)]))
    parts.append(
        text("3 is larger: × e⁻¹", SUMS + 54, between + 25, "start", bold=True)
    )
    parts.append(text(OUTPUT, SUMS + 12, end + 42, "start", bold=True))
    return drawing("Attention tile by tile", DESCRIPTION, parts, height=end + 50)


def tile(keys: tuple[tuple[int, int], ...], y: float) -> list[str]:
    """A tile: scores over values."""
    parts = [
        text("score", LEFT - 8, y + 26, "end", size=11),
        text("value", LEFT - 8, y + 58, "end", size=11),
        box(LEFT - 4, y, CELL * len(keys) + 6, HIGH),
    ]
    for i, numbers in enumerate(keys):
        x = LEFT + CELL * i
        for row, colour in enumerate((GREY, VALUE)):
            top = y + 6 + 32 * row
            parts.append(
                f'<rect x="{x}" y="{top}" width="{CELL - 2}" height="30" rx="4"'
                f' fill="{colour}" fill-opacity=".25"/>'
            )
            words = text(str(numbers[row]), x + CELL / 2 - 1, top + 20, bold=True)
            parts.append(words)
    return parts
