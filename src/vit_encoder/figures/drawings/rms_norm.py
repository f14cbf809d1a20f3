"""The drawing of one token after LayerNorm and after RMSNorm."""

import math

from vit_encoder.figures.colours import TOGETHER
from vit_encoder.figures.drawing import GREY, Drawing, drawing, line, text

TOKEN = [6.0, 4.0, 3.0, 7.0]
UNIT, PITCH, WIDE = 13, 26, 18  # a bar's length a unit, from bar to bar, its width
PANELS = (9, 121, 233)  # x of the first bar of each
ZERO, HEIGHT = 136, 222

DESCRIPTION = (
    "Three groups of four bars. The token has the values {token}, with the mean {mean}"
    " as a mark at both sides. After LayerNorm they are {layer}, on both sides of 0,"
    " which is their mean, and their spread is 1. After RMSNorm they are {rms}:"
    " all are still positive, with the mean {rest}, and the mean of their squares is 1."
)


def rms_norm_drawing() -> Drawing:
    """Draw a token, normalized with its mean (Ba et al. 2016) and without."""
    mean = sum(TOKEN) / len(TOKEN)
    centred = [x - mean for x in TOKEN]
    layer = [x / size(centred) for x in centred]
    rms = [x / size(TOKEN) for x in TOKEN]
    parts = [line([(4, ZERO), (336, ZERO)], GREY, 1)]
    panels = (("the token", TOKEN, GREY, 1), ("LayerNorm", layer, TOGETHER, 3))
    panels += (("RMSNorm", rms, TOGETHER, 3),)
    for x, (name, token, colour, stretch) in zip(PANELS, panels, strict=True):
        centre = x + (3 * PITCH + WIDE) / 2
        middle = sum(token) / len(token)
        parts.append(text(name, centre, 20, bold=True))
        for i, value in enumerate(token):
            length = UNIT * stretch * abs(value)
            top = ZERO - length if value > 0 else ZERO
            left = x + PITCH * i
            parts.append(
                f'<rect x="{left}" y="{top:.1f}" width="{WIDE}" height="{length:.1f}"'
                f' fill="{colour}"/>'
            )
            beyond = top - 5 if value > 0 else top + length + 13
            parts.append(text(short(value), left + WIDE / 2, beyond, size=11))
        y = ZERO - UNIT * stretch * middle
        for end in (x - 2, x + 3 * PITCH + WIDE + 2):
            parts.append(line([(end - 5, y), (end + 5, y)], width=3))
        parts.append(text(f"mean {short(middle)}", centre, 214, size=11))
    description = DESCRIPTION.format(
        token=spoken(TOKEN), mean=short(mean), layer=spoken(layer), rms=spoken(rms),
        rest=short(sum(rms) / len(rms)),
    )  # fmt: skip
    return drawing("LayerNorm and RMSNorm of a token", description, parts, HEIGHT)


def size(token: list[float]) -> float:
    """The root of the mean square."""
    return math.sqrt(sum(x * x for x in token) / len(token))


def short(number: float) -> str:
    """At most two places, with a true minus."""
    return f"{number + 0:.2f}".rstrip("0").rstrip(".").replace("-", "−")


def spoken(token: list[float]) -> str:
    """The values of a token in a sentence."""
    return ", ".join(map(short, token))
