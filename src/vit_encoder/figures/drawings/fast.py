"""The drawings of chapter 11: the last block, and what is kept for the gradient."""

from vit_encoder.figures.colours import CLASS, KEY, RAMP, VALUE
from vit_encoder.figures.drawing import GREY, Drawing, arrow, box, drawing, line, text

PATCHES = 4
LAST = (
    "The last block, from the bottom up. The class token and {n} patches enter it, and"
    " all of them give keys and values. Only the class token gives a query, so one line"
    " leads from each token to it. From there on the projection, the MLP and the head"
    " see the class token alone; above the patches there is nothing."
)


def last_block_drawing() -> Drawing:
    """Draw which tokens the last block still needs."""
    xs = [40 + 56 * i for i in range(PATCHES + 1)]
    names = ["class", *(f"patch {i}" for i in range(PATCHES))]
    parts = []
    for i, (x, name) in enumerate(zip(xs, names, strict=True)):
        colour = CLASS if i == 0 else GREY
        parts += [
            line([(x, 240), (x, 206)], GREY),
            f'<circle cx="{x}" cy="250" r="10" fill="{colour}"/>',
            text(name, x, 278, size=11),
            line([(x, 178), (xs[0], 142)], RAMP[5], 2.5),
            f'<rect x="{x - 20}" y="178" width="18" height="28" rx="3" fill="{KEY}"'
            ' fill-opacity=".45"/>',
            text("k", x - 11, 196),
            f'<rect x="{x + 2}" y="178" width="18" height="28" rx="3" fill="{VALUE}"'
            ' fill-opacity=".45"/>',
            text("v", x + 11, 196),
        ]
    x = xs[0]
    parts += [
        f'<circle cx="{x}" cy="134" r="10" fill="{CLASS}"/>',
        text("q", x - 18, 138, "end", bold=True),
        arrow([(x, 124), (x, 110)], GREY),
        box(x - 34, 82, 68, 26),
        text("proj", x, 99),
        arrow([(x, 82), (x, 70)], GREY),
        box(x - 34, 42, 68, 26),
        text("MLP", x, 59),
        arrow([(x, 42), (x, 24)], GREY),
        text("head", x, 16, bold=True),
        text("nobody reads what would stand here", 208, 62, size=11),
    ]
    return drawing("The last block", LAST.format(n=PATCHES), parts, 286)


BLOCKS, INSIDE = 4, 5
KEPT = (
    "Two rows of {blocks} blocks. Without checkpointing each block keeps all {inside}"
    " of its inner results for the backward pass, {all} cells. With checkpointing each"
    " keeps only what entered it, {blocks} cells, and the last block, whose gradient is"
    " being computed, has its {inside} inner results once more: {fewer} cells."
)


def checkpointing_drawing() -> Drawing:
    """Draw what lies in memory during the backward pass (Chen et al. 2016)."""
    parts = []
    for y, name, saves in ((34, "all is kept", False), (134, "checkpointing", True)):
        parts.append(text(name, 8, y - 14, "start", bold=True))
        for b in range(BLOCKS):
            x = 22 + 80 * b
            parts.append(box(x, y, 62, 44))
            parts.append(text(f"block {b + 1}", x + 31, y + 60, size=11))
            if saves:
                parts.append(cell(x - 14, y + 17, "currentColor"))
            else:
                parts.append(arrow([(x - 14, y + 22), (x - 3, y + 22)], GREY))
            for i in range(INSIDE):
                full = not saves or b == BLOCKS - 1
                parts.append(cell(x + 4 + 11 * i, y + 17, GREY, full))
    parts.append(text("computed once more", 330, 124, "end", 11))
    fewer = BLOCKS + INSIDE
    description = KEPT.format(
        blocks=BLOCKS, inside=INSIDE, all=BLOCKS * INSIDE, fewer=fewer
    )
    return drawing("What is kept for the gradient", description, parts, 204)


def cell(x: float, y: float, colour: str, full: bool = True) -> str:
    """A result, filled if it lies in memory."""
    look = f'fill="{colour}"' if full else f'fill="none" stroke="{colour}"'
    return f'<rect x="{x:g}" y="{y:g}" width="9" height="9" rx="2" {look}/>'
