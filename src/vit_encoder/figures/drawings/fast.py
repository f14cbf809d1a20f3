"""The drawings of chapter 11: tiles of keys, the last block, what is kept."""

import math

from vit_encoder.figures.colours import CLASS, KEY, RAMP, VALUE
from vit_encoder.figures.drawing import GREY, Drawing, arrow, box, drawing, line, text

SCORES, VALUES, TILE = (0.0, 2.0, 3.0), (10.0, 20.0, 30.0), 2

TILES = (
    "One query meets its keys tile by tile. The first tile has the scores {first}, the"
    " second the score {second}. After the first tile the largest score t is {t0}, the"
    " sum u of the weights {u0}, the sum o of the weighted values {o0}. The second tile"
    " brings a larger score, so u and o are multiplied by {shrink} before its part is"
    " added: t is {t1}, u is {u1}, o is {o1}. Their quotient {y} is the output."
)


def tiles_drawing() -> Drawing:
    """Draw attention tile by tile (Dao et al. 2022), with the numbers of the text."""
    parts, seen = [], []
    top, total, output = -math.inf, 0.0, 0.0
    for start in range(0, len(SCORES), TILE):
        scores = SCORES[start : start + TILE]
        new = max(top, *scores)
        shrink = math.exp(top - new)
        weights = [math.exp(s - new) for s in scores]
        total = shrink * total + sum(weights)
        output = shrink * output + sum(
            w * v for w, v in zip(weights, VALUES[start:], strict=False)
        )
        top = new
        seen.append((shrink, top, total, output))
    for j, score in enumerate(SCORES):
        x = 92 + 46 * j + 70 * (j // TILE)
        parts += [
            f'<rect x="{x}" y="30" width="40" height="26" rx="4" fill="{KEY}"'
            ' fill-opacity=".3"/>',
            text(f"{score:g}", x + 20, 48),
            f'<rect x="{x}" y="62" width="40" height="26" rx="4" fill="{VALUE}"'
            ' fill-opacity=".3"/>',
            text(f"{VALUES[j]:g}", x + 20, 80),
        ]
    parts += [
        text("score", 82, 48, "end", 11),
        text("value", 82, 80, "end", 11),
        text("first tile", 135, 18, bold=True),
        text("second tile", 274, 18, bold=True),
    ]
    for x, (_, t, u, o) in zip((96, 235), seen, strict=True):
        parts += [
            arrow([(x + 38, 94), (x + 38, 122)]),
            box(x - 4, 126, 86, 62),
            text(f"t = {t:g}", x + 39, 144, size=12),
            text(f"u = {u:.3f}", x + 39, 161, size=12),
            text(f"o = {o:.2f}", x + 39, 178, size=12),
        ]
    again = f"{seen[1][0]:.2f}"
    parts += [
        arrow([(180, 157), (227, 157)]),
        text(f"× {again}", 202, 150, size=11),
        text(f"o / u = {output / total:.1f}", 274, 208, bold=True),
        text("kept", 82, 161, "end", 11),
    ]
    (_, t0, u0, o0), (_, t1, u1, o1) = seen
    description = TILES.format(
        first=" and ".join(f"{s:g}" for s in SCORES[:TILE]), second=f"{SCORES[TILE]:g}",
        t0=f"{t0:g}", u0=f"{u0:.3f}", o0=f"{o0:.2f}", shrink=again, t1=f"{t1:g}",
        u1=f"{u1:.3f}", o1=f"{o1:.2f}", y=f"{output / total:.1f}",
    )  # fmt: skip
    return drawing("Attention, tile by tile", description, parts, 214)


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
