"""The drawing of what reshape and permute do to the reading order of a tensor."""

from vit_encoder.figures.drawing import Drawing, drawing, text
from vit_encoder.figures.drawings.patches import numbered

HEIGHT = 176
CELL = 24
TENSOR = [[0, 1, 2], [3, 4, 5]]
LEFT, MIDDLE, RIGHT = 20, 146, 260  # x of the three tensors
TOP = 48  # their y

DESCRIPTION = (
    "Three tensors. The first has 2 rows and 3 columns and holds 0, 1, 2 in its first"
    " row and 3, 4, 5 in its second. Reshape makes 3 rows and 2 columns of it: 0 and 1,"
    " 2 and 3, 4 and 5. Permute also makes 3 rows and 2 columns: 0 and 3, 1 and 4, 2"
    " and 5. Below each stand its numbers read row by row. For the first two they are"
    " 0 1 2 3 4 5; for the third they are {order}."
)


def reshape_drawing() -> Drawing:
    """Draw one tensor, reshaped and permuted to the same shape."""
    numbers = read(TENSOR)
    reshaped = [numbers[i : i + 2] for i in range(0, 6, 2)]
    permuted = [list(column) for column in zip(*TENSOR, strict=True)]
    parts = [
        *panel(TENSOR, LEFT, "t", "(2, 3)"),
        *panel(reshaped, MIDDLE, "reshaped", "(3, 2)"),
        *panel(permuted, RIGHT, "permuted", "(3, 2)"),
    ]
    order = " ".join(map(str, read(permuted)))
    return drawing(
        "Reshape and permute", DESCRIPTION.format(order=order), parts, HEIGHT
    )


def read(tensor: list[list[int]]) -> list[int]:
    """The numbers row by row."""
    return [number for row in tensor for number in row]


def panel(tensor: list[list[int]], x: int, name: str, shape: str) -> list[str]:
    """A tensor with its name, its shape and its numbers in the order of reading."""
    centre = x + CELL * len(tensor[0]) / 2 - 1
    return [
        text(name, centre, 16, bold=True),
        text(shape, centre, 34),
        *numbered(tensor, x, TOP, CELL, largest=5),
        text("row by row:", centre, 148, size=11),
        text(" ".join(map(str, read(tensor))), centre, 165),
    ]
