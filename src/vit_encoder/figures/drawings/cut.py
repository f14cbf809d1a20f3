"""The drawing of an image that is cut into patches, by the number of each pixel."""

from vit_encoder.figures.drawing import Drawing, arrow, drawing, frame, text
from vit_encoder.figures.drawings.patches import numbered

H, W, P = 6, 12, 3
CELL = 27
LEFT, TOP, ROW = 8, 30, 232  # the corner of the image; y of the patch as a row
SHOWN = 6  # the patch that is followed through the drawing
HEIGHT = 282

DESCRIPTION = (
    "An image of {h} rows and {w} columns; each pixel has its place in reading order as"
    " its value, 0 to {last}. Gaps cut it into {n} patches of {p} by {p}, numbered 0 to"
    " {m} from left to right, then from top to bottom. Patch {shown} has a"
    " frame. An arrow leads from it to its row of {length} numbers below: {numbers}."
)


def cut_drawing() -> Drawing:
    """Draw a numbered image, cut, and one of its patches as a row."""
    parts = []
    for patch in range(H // P * (W // P)):
        row, column = divmod(patch, W // P)
        x, y = place(row, column)
        parts += numbered(pixels(row, column), x, y, CELL - 3, largest=H * W - 1)
        above = y - 6 if row == 0 else y + 3 * (CELL - 3) + 12
        centre = x + P * (CELL - 3) / 2 - 1
        parts.append(text(f"patch {patch}", centre, above, size=11))
    row, column = divmod(SHOWN, W // P)
    x, y = place(row, column)
    side = P * (CELL - 3) + 2
    flat = [number for line in pixels(row, column) for number in line]
    start = LEFT + 62
    parts += [
        frame(x - 2, y - 2, side, side),
        arrow([(x + side / 2, y + side + 16), (x + side / 2, ROW - 6)]),
        *numbered([flat], start, ROW, CELL, largest=H * W - 1),
        text(f"patch {SHOWN}:", start - 8, ROW + 17, "end", bold=True),
        text("row by row within the patch", start, ROW + 44, "start", size=11),
    ]
    count = H // P * (W // P)
    description = DESCRIPTION.format(
        h=H, w=W, p=P, last=H * W - 1, n=count, m=count - 1, shown=SHOWN,
        length=len(flat), numbers=", ".join(map(str, flat)),
    )  # fmt: skip
    return drawing("An image, cut into patches", description, parts, HEIGHT)


def place(row: int, column: int) -> tuple[int, int]:
    """The corner of a patch."""
    side = P * (CELL - 3)
    return LEFT + (side + 11) * column, TOP + (side + 14) * row


def pixels(row: int, column: int) -> list[list[int]]:
    """The numbers of a patch, row by row."""
    return [
        [W * i + j for j in range(P * column, P * (column + 1))]
        for i in range(P * row, P * (row + 1))
    ]
