"""What the course's drawings are made of: SVG that is readable in light and dark.

A drawing is 340 units wide or less, so that a unit is a pixel on a phone and text of 11
units can be read there. Lines and plain text take the page's colour. Nothing has an id,
so that several drawings may stand on one page.
"""

import base64
from html import escape
from xml.etree import ElementTree as ET

from vit_encoder.figures.colours import WEIGHTS, WEIGHTS_IN_THE_DARK

NAMESPACE = "http://www.w3.org/2000/svg"
WIDTH, CELL = 340, 20
GREY = "#767676"  # tokens and the residual stream: at least 4:1 on white and on black


class Drawing:
    """A finished drawing, which a notebook shows by itself. `svg` is its text."""

    def __init__(self, name: str, svg: str):
        self.name = name
        self.svg = svg

    def _repr_html_(self) -> str:
        return in_notebook("vit-drawing", self.svg)

    def __repr__(self) -> str:
        return f"Drawing({self.name!r})"


# How JupyterLab and Colab say that they are dark. For pages it stands in course.css.
DARK = ":is(body[data-jp-theme-light=false], html[theme=dark])"
TWIN = f'{DARK} [fill="{WEIGHTS}"] {{fill: {WEIGHTS_IN_THE_DARK}}}'


def in_notebook(kind: str, svg: str) -> str:
    """A drawing in HTML: its SVG, and a picture where the notebook is not trusted.

    JupyterLab takes SVG and styles out of what it does not trust, and leaves pictures.
    As a picture a drawing cannot take the page's colours, so it stands on white.
    """
    head, _, rest = svg.partition(">")
    image = f'{head}><rect width="100%" height="100%" fill="#fff"/>{rest}'
    data = base64.b64encode(image.encode()).decode()
    told = " ".join(ET.fromstring(svg).findtext(f"{{{NAMESPACE}}}desc").split())
    return (
        f'<div class="{kind}">{svg}<style>.{kind} > svg ~ img {{display: none}} {TWIN}'
        "</style>"
        f'<img alt="{escape(told)}" src="data:image/svg+xml;base64,{data}">'
        "</div>"
    )


def drawing(
    name: str, description: str, parts: list[str], height: int, width: int = WIDTH
) -> Drawing:
    """Put parts into a picture, in the order in which they are painted.

    name: what it shows, in a few words. description: all that a person sees in it, for
    one who cannot see it.
    """
    return Drawing(
        name,
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" role="img" fill="currentColor"'
        ' font-family="system-ui, sans-serif"'
        ' style="display: block; width: 100%; max-width: 440px; height: auto;'
        f' margin: 0 auto">\n<title>{escape(name)}</title>\n'
        f"<desc>{escape(description)}</desc>\n" + "\n".join(parts) + "\n</svg>",
    )


def matrix(
    numbers: list[list[float]],
    x: float,
    y: float,
    colour: str,
    strongest: float = 0,
    cell: int = CELL,
) -> str:
    """A matrix as cells; the larger a number, the stronger its colour.

    strongest: the number with the full colour if 0 has the weakest; else the smallest
    and the largest number have them.
    """
    flat = [number for row in numbers for number in row]
    low = 0 if strongest else min(flat)
    span = (strongest or max(flat)) - low or 1
    return "".join(
        f'<rect x="{x + cell * j:g}" y="{y + cell * i:g}" width="{cell - 2}"'
        f' height="{cell - 2}" rx="3" fill="{colour}"'
        f' opacity="{0.2 + 0.8 * (number - low) / span:.2f}"/>'
        for i, row in enumerate(numbers)
        for j, number in enumerate(row)
    )


def box(
    x: float, y: float, width: float, height: float, colour: str = "currentColor"
) -> str:
    """A rounded box with a light fill."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"'
        f' fill="{colour}" fill-opacity=".1" stroke="{colour}" stroke-width="1.5"/>'
    )


def frame(x: float, y: float, width: float, height: float) -> str:
    """A thick frame around what is followed through a drawing."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"'
        ' fill="none" stroke="currentColor" stroke-width="2"/>'
    )


def arrow(
    points: list[tuple[float, float]], colour: str = "currentColor", width: float = 2
) -> str:
    """A line through the points with a head at the last one.

    The last piece runs straight right, left, down or up.
    """
    (x0, y0), (x, y) = points[-2:]
    back = 8 if (x0 > x or y0 > y) else -8
    wings = f"l{back}-4.5v9z" if y0 == y else f"l-4.5 {back}h9z"
    return (
        line(points, colour, width) + f'<path d="M{x:g} {y:g}{wings}" fill="{colour}"/>'
    )


def line(
    points: list[tuple[float, float]],
    colour: str = "currentColor",
    width: float = 2,
    dashed: bool = False,
) -> str:
    """A line through the points."""
    path = "L".join(f"{x:g} {y:g}" for x, y in points)
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return (
        f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"'
        f"{dashes}/>"
    )


def text(
    content: str,
    x: float,
    y: float,
    anchor: str = "middle",
    size: int = 12,
    bold: bool = False,
    colour: str = "",
) -> str:
    """A line of text. content: may hold <tspan>; write &lt; for a plain <."""
    weight = ' font-weight="600"' if bold else ""
    fill = f' fill="{colour}"' if colour else ""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}"'
        f"{weight}{fill}>{content}</text>"
    )


def sub(letter: str, index: str) -> str:
    """A symbol with an index for `text`, such as W with Q."""
    return f'{letter}<tspan dy="3" font-size="9">{index}</tspan>'
