"""The drawing of two layers of attention, and of the way back through both."""

from vit_encoder.figures.colours import RAMP
from vit_encoder.figures.drawing import GREY, Drawing, drawing, line, text

LAYERS = ([[0.2, 0.8], [0.6, 0.4]], [[1.0, 0.0], [0.5, 0.5]])  # A1, A2: query → key
LEVELS = (204, 118, 32)  # y of the tokens at the start, after layer 1, after layer 2
PANELS = ((30, 134), (200, 304))  # x of tokens 0 and 1 without and with the identity
HEIGHT = 292

DESCRIPTION = (
    "Two tokens at three levels, at the start, after layer 1 and after layer 2, joined"
    " by lines as thick as the weights. Left, attention alone: in layer 2 token 0 looks"
    " at itself with weight 1, in layer 1 it takes {a00} from itself and {a01} from"
    " token 1. So of token 0 at the end {r00} came from token 0 and {r01} from token"
    " 1. Right, half of each layer is the identity: {i00} of token 0 at the end is its"
    " own, {i01} came from token 1."
)


def rollout_drawing() -> Drawing:
    """Draw the tokens' ways (Abnar and Zuidema 2020) with the identity and without."""
    parts, shares = [], []
    names = ("attention alone", "half identity")
    for xs, name, part in zip(PANELS, names, (1.0, 0.5), strict=True):
        mixed = [
            [
                [part * w + (1 - part) * (i == j) for j, w in enumerate(row)]
                for i, row in enumerate(layer)
            ]
            for layer in LAYERS
        ]
        first, second = mixed
        share = [
            sum(second[0][m] * first[m][j] for m in range(2)) for j in range(2)
        ]  # of token 0 at the end
        shares.append(share)
        for below, above, layer in zip(LEVELS, LEVELS[1:], mixed, strict=False):
            for i, row in enumerate(layer):
                for j, weight in enumerate(row):
                    if weight:
                        ends = [(xs[j], below), (xs[i], above)]
                        parts.append(way(ends, weight))
        for y in LEVELS:
            parts += [token(x, y, j) for j, x in enumerate(xs)]
        centre = sum(xs) / 2
        said = f"{say(share[0])} from 0 and {say(share[1])} from 1"
        parts += [
            text(name, centre, 232, bold=True),
            text("of token 0 at the end,", centre, 247, size=11),
            text(said, centre, 260, size=11),
        ]
    below = "from below: at the start, after layer 1, after layer 2"
    parts.append(text(below, 167, 284, size=11))
    (r00, r01), (i00, i01) = shares
    description = DESCRIPTION.format(
        a00=LAYERS[0][0][0], a01=LAYERS[0][0][1], r00=say(r00), r01=say(r01),
        i00=say(i00), i01=say(i01),
    )  # fmt: skip
    return drawing("The way back through two layers", description, parts, HEIGHT)


def way(ends: list[tuple[float, float]], weight: float) -> str:
    """A line as thick as a weight, with its number near the token that asks."""
    (x0, y0), (x1, y1) = ends
    at = 0.85 if x0 != x1 else 0.5
    x, y = x0 + at * (x1 - x0), y0 + at * (y1 - y0)
    aside = 11 if x1 < x0 else -11
    if x0 == x1:
        aside = -7 if x0 in (PANELS[0][0], PANELS[1][0]) else 7
    anchor = "end" if aside < 0 else "start"
    return line(ends, RAMP[5], round(1 + 7 * weight, 1)) + text(
        say(weight), x + aside, y + 4, anchor, 11
    )


def token(x: float, y: float, number: int) -> str:
    """A token with its number."""
    return (
        f'<circle cx="{x}" cy="{y}" r="12" fill="{GREY}"/>'
        f'<text x="{x}" y="{y + 4}" text-anchor="middle" font-size="12"'
        f' fill="#fff">{number}</text>'
    )


def say(number: float) -> str:
    """A share without needless zeros."""
    return f"{number:.3f}".rstrip("0").rstrip(".")
