"""The drawing of what LayerNorm does to a token, for D = 3: two steps in space.

The direction (1, 1, 1) points up. So the height of a token is its mean, times the root
of 3, and the ground is the plane of the tokens with mean 0. All points and numbers are
computed here.
"""

import math

from vit_encoder.figures.colours import TOGETHER
from vit_encoder.figures.drawing import GREY, Drawing, drawing, line, text

HEIGHT = 356
CENTRE = (158, 158)  # where the origin lies
UNIT = 46  # pixels that a length of 1 has
TURN, TILT = math.radians(-28), math.radians(24)  # of the viewer, about the axis and up
BASIS = [  # up, then two directions in the plane
    [1 / math.sqrt(3)] * 3,
    [2 / math.sqrt(6), -1 / math.sqrt(6), -1 / math.sqrt(6)],
    [0, 1 / math.sqrt(2), -1 / math.sqrt(2)],
]
GROUND = 2.9  # the radius of the piece of the plane that is drawn

TOKENS = {"a": [3, 0, 0], "b": [2, 1, 1], "c": [0.5, 1, 1.5]}
LABELS_AT = {"a": (10, 4, "start"), "b": (0, -10, "middle"), "c": (0, -10, "middle")}

DESCRIPTION = (
    "Three tokens with three features, as points in space: a = (3, 0, 0), b = (2, 1, 1)"
    " and c = (0.5, 1, 1.5). An axis in the direction (1, 1, 1) points up. At right"
    " angles to it lies the plane of mean 0, with a circle of radius root of 3 around"
    " the origin. Step 1, subtract the mean: each token falls straight down on the"
    " plane. Step 2, divide by the standard deviation: it moves along the plane to the"
    " circle, inwards from a, outwards from b and c. a and b arrive at the same point."
    " Below, a table of the numbers. {rows}."
)


def layer_norm_drawing() -> Drawing:
    """Draw LayerNorm without gain and bias (Ba et al. 2016), for D = 3."""
    steps = {name: normalize(token) for name, token in TOKENS.items()}
    parts = [*plane(), *axis()]
    for name, (centred, normalized) in steps.items():
        parts += path(TOKENS[name], centred, normalized)
    parts += [*labels(), *table(steps)]
    rows = [
        f"{name} less its mean: {spoken(centred)}; normalized: {spoken(normalized)}"
        for name, (centred, normalized) in steps.items()
    ]
    description = DESCRIPTION.format(rows=". ".join(rows))
    return drawing("LayerNorm moves a token in two steps", description, parts, HEIGHT)


def normalize(token: list[float]) -> tuple[list[float], list[float]]:
    """A token without its mean, and that divided by its standard deviation."""
    mean = sum(token) / len(token)
    centred = [x - mean for x in token]
    deviation = math.sqrt(sum(x * x for x in centred) / len(token))
    return centred, [x / deviation for x in centred]


def spoken(vector: list[float]) -> str:
    """A vector in words that a screen reader can say."""
    return ", ".join(f"{x:.2f}" for x in vector)


def seen(height: float, one: float, other: float) -> tuple[float, float]:
    """Where a point lies on the page: its height, and its two places in the plane."""
    right = one * math.cos(TURN) - other * math.sin(TURN)
    back = one * math.sin(TURN) + other * math.cos(TURN)
    rise = height * math.cos(TILT) + back * math.sin(TILT)
    return CENTRE[0] + UNIT * right, CENTRE[1] - UNIT * rise


def place(vector: list[float]) -> tuple[float, float]:
    """Where a vector of three features lies on the page."""
    return seen(
        *(sum(x * y for x, y in zip(vector, axis, strict=True)) for axis in BASIS)
    )


def ellipse(radius: float, rest: str) -> str:
    """A circle in the plane, seen from the side."""
    x, y = CENTRE
    rx, ry = UNIT * radius, UNIT * radius * math.sin(TILT)
    return f'<ellipse cx="{x}" cy="{y}" rx="{rx:.1f}" ry="{ry:.1f}" {rest}/>'


def plane() -> list[str]:
    """The piece of the plane of mean 0, and the circle on it."""
    return [
        ellipse(GROUND, f'fill="{GREY}" fill-opacity=".16"'),
        ellipse(math.sqrt(3), f'fill="none" stroke="{TOGETHER}" stroke-width="3"'),
    ]


def axis() -> list[str]:
    """The axis of the tokens whose features are all equal."""
    x, y = CENTRE
    top = seen(3.2, 0, 0)[1]
    return [
        line([(x, y), (x, top)], width=1.5),
        f'<path d="M{x} {top - 7:.1f}l-4 9h8z"/>',
        dot((x, y), "currentColor", 2.5),
    ]


def path(
    token: list[float], centred: list[float], normalized: list[float]
) -> list[str]:
    """The way of one token: straight down, then along the plane to the circle."""
    start, ground, end = place(token), place(centred), place(normalized)
    return [
        *along(start, ground, dashed=True),
        *along(ground, end),
        dot(start, GREY, 5),
        dot(ground, "currentColor", 2.5),
        dot(end, TOGETHER, 5),
    ]


def along(
    start: tuple[float, float], end: tuple[float, float], dashed: bool = False
) -> list[str]:
    """An arrow in any direction that ends a little before a point."""
    length = math.dist(start, end)
    dx, dy = ((e - s) / length for s, e in zip(start, end, strict=True))
    tip = end[0] - 6 * dx, end[1] - 6 * dy
    back = end[0] - 14 * dx, end[1] - 14 * dy
    wings = " ".join(f"{back[0] + w * dy:.1f},{back[1] - w * dx:.1f}" for w in (4, -4))
    return [
        line([start, back], dashed=dashed),
        f'<polygon points="{tip[0]:.1f},{tip[1]:.1f} {wings}" fill="currentColor"/>',
    ]


def dot(point: tuple[float, float], colour: str, radius: float) -> str:
    """A point of the drawing."""
    return (
        f'<circle cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="{radius}" fill="{colour}"'
        ' stroke="currentColor" stroke-width="1"/>'
    )


def labels() -> list[str]:
    """The names of the tokens, the steps, the axis, the plane and the circle."""
    words = []
    for name, token in TOKENS.items():
        (x, y), (dx, dy, anchor) = place(token), LABELS_AT[name]
        words.append(text(name, x + dx, y + dy, anchor, 13, bold=True))
    x, y = CENTRE
    return [
        *words,
        text("1", 264, y - 14, "start", bold=True),
        text("2", 246, y + 33, bold=True),
        text("direction (1, 1, 1)", x - 9, seen(3.2, 0, 0)[1], "end", 11),
        text("circle of radius √3", x - 14, y + 46, size=11),
        text("plane of mean 0", 336, y + 60, "end", 11),
    ]


def table(steps: dict[str, tuple[list[float], list[float]]]) -> list[str]:
    """The numbers of the steps, one row a token."""
    columns = [(54, 24), (158, 39), (278, 40)]  # the middle of each, and its step
    heads = ("token x", "1: x − μ", "2: (x − μ) / σ")
    top = CENTRE[1] + 106
    cells = [
        text(head, x, top, bold=True)
        for head, (x, _) in zip(heads, columns, strict=True)
    ]
    for i, (name, vectors) in enumerate(steps.items()):
        y = top + 24 + 22 * i
        cells.append(text(name, 6, y, "start", 13, bold=True))
        for vector, (x, step) in zip((TOKENS[name], *vectors), columns, strict=True):
            cells += [
                text(short(number), x + step * (j - 1), y, size=11)
                for j, number in enumerate(vector)
            ]
    return cells


def short(number: float) -> str:
    """A number with at most two decimals and a true minus."""
    return f"{number:.2f}".rstrip("0").rstrip(".").replace("-", "−")
