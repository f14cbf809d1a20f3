"""The drawing of one training step on three logits, by hand."""

import math

from vit_encoder.figures.colours import WRONG
from vit_encoder.figures.drawing import GREY, Drawing, arrow, drawing, line, text

LOGITS = (2.0, 1.0, 0.0)
TRUE = 1  # the class of the image
TALL, ZERO = 90, 134  # how high probability 1 is, and y of 0
CENTRES = (66, 170, 274)  # x of the middle of each class
WIDE, HEIGHT = 34, 232

DESCRIPTION = (
    "Three classes with the logits {logits}. Each has a bar for its probability,"
    " {probabilities}, and a dashed outline for the truth, which is 1 for class {true}"
    " and 0 for the others. Arrows below say how a step moves the logits, against the"
    " gradient: that of class {true} goes up by {up} times the learning rate, those of"
    " the others go down by {down} times it."
)


def training_step_drawing() -> Drawing:
    """Draw probabilities, truth, and the way in which each logit moves."""
    powers = [math.exp(logit) for logit in LOGITS]
    found = [power / sum(powers) for power in powers]
    moves = [(j == TRUE) - p for j, p in enumerate(found)]  # minus the gradient
    parts = [line([(12, ZERO), (328, ZERO)], GREY, 1)]
    for j, (x, p, move) in enumerate(zip(CENTRES, found, moves, strict=True)):
        parts += [
            text(f"class {j}", x, 18, bold=True),
            f'<rect x="{x - WIDE / 2:g}" y="{ZERO - TALL * p:.1f}" width="{WIDE}"'
            f' height="{TALL * p:.1f}" fill="{GREY}" fill-opacity=".6"/>',
            text(f"{p:.3f}", x + WIDE / 2 + 6, ZERO - 6, "start", 11),
            text(f"logit {LOGITS[j]:g}", x, ZERO + 17, size=11),
        ]
        if j == TRUE:
            parts += [
                f'<rect x="{x - WIDE / 2:g}" y="{ZERO - TALL}" width="{WIDE}"'
                f' height="{TALL}" fill="none" stroke="currentColor" stroke-width="1.5"'
                ' stroke-dasharray="4 3"/>',
                text("truth: 1", x + WIDE / 2 + 6, ZERO - TALL + 10, "start", 11),
            ]
        length = 44 * abs(move)
        ends = [(x, 204 - length / 2), (x, 204 + length / 2)]
        colour = "currentColor" if j == TRUE else WRONG
        parts.append(arrow(ends[::-1] if move > 0 else ends, colour))
        sign = "+" if move > 0 else "−"
        parts.append(text(f"{sign}{abs(move):.3f}", x + 12, 208, "start", 11))
    spoken = [f"{p:.3f}" for p in found]
    description = DESCRIPTION.format(
        logits=", ".join(f"{x:g}" for x in LOGITS),
        probabilities=", ".join(spoken),
        true=TRUE,
        up=f"{moves[TRUE]:.3f}",
        down=" and ".join(p for j, p in enumerate(spoken) if j != TRUE),
    )
    return drawing("One step on three logits", description, parts, HEIGHT)
