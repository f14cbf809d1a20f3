"""The drawing of which numbers share a mean: three norms on one block of B x N x D.

Each small cube is a number. Features run to the right, tokens down, images into depth.
What is read together is coloured, and chosen so that it can be seen from the front.
"""

from collections.abc import Callable
from typing import NamedTuple

from vit_encoder.figures.colours import TOGETHER, WRONG
from vit_encoder.figures.drawing import GREY, Drawing, drawing, text

B, N, D = 2, 3, 4  # images, tokens, features
CELL, DEPTH = 17, 12  # the side of a cube, and how far the next image is set off
LEFT, STEP = 17, 111  # x of the first block, and from block to block
TOP = 30
HEIGHT = 190
FRONT, ABOVE, BESIDE = 1.0, 0.75, 0.55  # how much colour each side of a cube has
Point = tuple[float, float]

DESCRIPTION = (
    "The same batch three times, as a block of small cubes: {D} features to the right,"
    " {N} tokens down, {B} images into depth. Cubes that share one mean and one"
    " variance are coloured. LayerNorm: one row of the front image, that is one token,"
    " so there are {tokens} means of {D} numbers. BatchNorm: the last column through"
    " both images, that is one feature, so there are {D} means of {tokens} numbers."
    " LayerNorm over N and D, marked as wrong: the whole front image, so there are {B}"
    " means of {image} numbers."
)


class Norm(NamedTuple):
    """A panel. together: whether number (b, n, d) is among those that are coloured."""

    title: str
    together: Callable[[int, int, int], bool]
    words: list[str]
    colour: str = TOGETHER


NORMS = [
    Norm(
        "LayerNorm",
        lambda b, n, d: b == 0 and n == 1,
        ["one token", f"B·N = {B * N} means,", f"each of D = {D}"],
    ),
    Norm(
        "BatchNorm",
        lambda b, n, d: d == D - 1,
        ["one feature", f"D = {D} means,", f"each of B·N = {B * N}"],
    ),
    Norm(
        "✗ over N and D",
        lambda b, n, d: b == 0,
        ["one image", f"B = {B} means,", f"each of N·D = {N * D}"],
        WRONG,
    ),
]


def norm_axes_drawing() -> Drawing:
    """Draw which numbers LayerNorm, BatchNorm and a wrong LayerNorm read together."""
    parts = axes()
    for i, norm in enumerate(NORMS):
        x = LEFT + STEP * i
        middle = x + (CELL * D + DEPTH * B) / 2
        parts += [*block(x, norm), text(norm.title, middle, 16, bold=True)]
        parts += [
            text(line, middle, TOP + 116 + 16 * j, size=11)
            for j, line in enumerate(norm.words)
        ]
    description = DESCRIPTION.format(B=B, N=N, D=D, tokens=B * N, image=N * D)
    return drawing("Which numbers share a mean", description, parts, HEIGHT)


def block(x: float, norm: Norm) -> list[str]:
    """A block of cubes from the front: its front, its top and its right side."""
    y = TOP + DEPTH * B
    right, down, back = (CELL, 0), (0, CELL), (DEPTH, -DEPTH)
    sides = []
    for b in range(B):
        for n in range(N):
            for d in range(D):
                corner = (x + CELL * d + DEPTH * b, y + CELL * n - DEPTH * b)
                lit = norm.colour if norm.together(b, n, d) else ""
                if b == 0:
                    sides.append(side(corner, right, down, lit, FRONT))
                if n == 0:
                    sides.append(side(corner, right, back, lit, ABOVE))
                if d == D - 1:
                    corner = (corner[0] + CELL, corner[1])
                    sides.append(side(corner, down, back, lit, BESIDE))
    return sides


def side(corner: Point, one: Point, other: Point, lit: str, strength: float) -> str:
    """One side of a cube, from a corner and the two edges that meet there."""
    steps = [(0, 0), one, (one[0] + other[0], one[1] + other[1]), other]
    points = " ".join(f"{corner[0] + dx:g},{corner[1] + dy:g}" for dx, dy in steps)
    opacity = strength if lit else 0.32 * strength
    return (
        f'<polygon points="{points}" fill="{lit or GREY}" fill-opacity="{opacity:.2f}"'
        ' stroke="currentColor" stroke-width=".8"/>'
    )


def axes() -> list[str]:
    """What the three edges of a block count, at the first one."""
    x, y = LEFT, TOP + DEPTH * B
    bottom = y + CELL * N
    return [
        text("N", x - 9, y + CELL * N / 2 + 4, size=11),
        text("D", x + CELL * D / 2, bottom + 14, size=11),
        text("B", x + CELL * D + DEPTH * B / 2 + 9, bottom - 2, size=11),
    ]
