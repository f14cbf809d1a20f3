"""The drawing of two models whose layers agree up to one of them."""

from vit_encoder.figures.colours import WRONG
from vit_encoder.figures.drawing import Drawing, drawing, text

LAYERS, FIRST = 12, 7  # how many, and the first that differs
SIDE, PITCH = 20, 24
LEFT, ROWS = 52, (8, 44)  # x of layer 0, y of the two rows

DESCRIPTION = (
    "Two rows of {count} boxes, numbered from 0. Boxes 0 to {last} are equal in both"
    " rows. Box {first} of the lower row, called theirs, is filled: there the models"
    " differ for the first time. All boxes after it have a dashed line, since they"
    " differ too, and only pass the difference on."
)


def first_difference_drawing() -> Drawing:
    """Draw where two models on the same image begin to differ."""
    parts = []
    for name, y in zip(("yours", "theirs"), ROWS, strict=True):
        parts.append(text(name, LEFT - 8, y + 14, "end", 12))
        for layer in range(LAYERS):
            x = LEFT + PITCH * layer
            theirs = name == "theirs"
            first, later = theirs and layer == FIRST, theirs and layer > FIRST
            look = f'fill="{WRONG}"' if first else 'fill="none"'
            look += f' stroke="{WRONG if first or later else "currentColor"}"'
            if later:
                look += ' stroke-dasharray="4 3"'
            parts += [
                f'<rect x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" rx="3" {look}'
                ' stroke-width="1.5"/>',
                text(str(layer), x + SIDE / 2, y + 14, size=11, bold=first,
                     colour="#000" if first else ""),
            ]  # fmt: skip
    description = DESCRIPTION.format(count=LAYERS, last=FIRST - 1, first=FIRST)
    return drawing("The first layer that differs", description, parts, 72)
