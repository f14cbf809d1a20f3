"""The drawing of two gates: GELU's looks at the number, dropout's does not."""

import math

from vit_encoder.figures.colours import HIDDEN
from vit_encoder.figures.drawing import GREY, Drawing, drawing, line, text

P = 0.3  # the probability of dropout
PANELS = (88, 258)  # x of 0 in each
UNIT, REACH = 24, 3  # length of 1 sideways; from -3 to 3
FLOOR, TALL = 168, 110  # y of probability 0, and how far above it 1 is
HEIGHT = 216

DESCRIPTION = (
    "Two plots over numbers x from -3 to 3 of the probability that a number passes the"
    " gate. GELU: a curve that rises from {low} at x = -2 over 0.5 at x = 0 to {high}"
    " at x = 2, so that large numbers pass and very negative ones do not. Dropout with"
    " p = {p}: a level line at {kept}, the same for every number."
)


def gates_drawing() -> Drawing:
    """Draw how often a number passes (Hendrycks and Gimpel 2016, section 2)."""
    xs = [i / 10 for i in range(-10 * REACH, 10 * REACH + 1)]
    curves = {
        "GELU: Φ(x)": [passes(x) for x in xs],
        "dropout: 1 − p": [1 - P] * len(xs),
    }
    parts = []
    for middle, (name, heights) in zip(PANELS, curves.items(), strict=True):
        left, right = middle - REACH * UNIT, middle + REACH * UNIT
        parts += [
            text(name, middle, 18, bold=True),
            line([(left, FLOOR), (right, FLOOR)], GREY, 1),
            line([(middle, FLOOR), (middle, FLOOR - TALL - 6)], GREY, 1),
            line([(left, FLOOR - TALL), (right, FLOOR - TALL)], GREY, 1, dashed=True),
            line(
                [
                    (middle + UNIT * x, round(FLOOR - TALL * h, 1))
                    for x, h in zip(xs, heights, strict=True)
                ],
                HIDDEN,
                3,
            ),
            text("1", left - 4, FLOOR - TALL + 4, "end", 11),
            text("0", left - 4, FLOOR + 4, "end", 11),
        ]
        parts += [
            text(str(x).replace("-", "−"), middle + UNIT * x, FLOOR + 16, size=11)
            for x in (-2, 0, 2)
        ]
        parts.append(text("x", right, FLOOR + 16, size=11))
    parts.append(text("how often a number x passes the gate", 170, 208, size=11))
    description = DESCRIPTION.format(
        low=f"{passes(-2):.2f}", high=f"{passes(2):.2f}", p=P, kept=1 - P
    )
    return drawing("Two gates", description, parts, HEIGHT)


def passes(x: float) -> float:
    """Φ(x), the share of a standard normal distribution below x."""
    return (1 + math.erf(x / math.sqrt(2))) / 2
