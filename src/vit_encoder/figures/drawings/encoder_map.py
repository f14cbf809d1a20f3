"""The map of the encoder: one drawing, from the lists of boxes, lines and labels below.

It is 340 units wide, so that a unit is a pixel on a phone. Lines and plain text take
the page's colour; filled boxes bring the colour of their text. Nothing in it has an
id, so that several maps may stand on one page.
"""

from html import escape
from typing import NamedTuple

from vit_encoder.figures.colours import (
    CLASS,
    HIDDEN,
    KEY,
    POSITION,
    QUERY,
    RAMP,
    TOGETHER,
    VALUE,
)
from vit_encoder.figures.drawing import in_notebook

PARTS = {
    "patches": "Patches and positions",
    "self_attention": "Self-attention",
    "multi_head": "Multi-head self-attention",
    "layer_norm": "LayerNorm",
    "mlp": "MLP",
    "encoder_block": "Encoder block",
    "encoder": "Encoder",
}

FLOW = """\
Read from bottom to top. An image is cut into patches. Each patch becomes a token, a
class token is added, and positions are added: N tokens of width D. They enter the
encoder and pass through L blocks along the residual stream. In each block a branch
leads through LayerNorm and multi-head self-attention, which holds h heads of
self-attention; its result is added to the stream. A second branch leads through
LayerNorm and the MLP; its result is added too. After the last block comes a final
LayerNorm. N tokens of width D leave the encoder. The class token goes on to a head,
which is not part of the encoder."""

WIDTH, HEIGHT = 340, 668
STREAM, LEFT, RIGHT = 170, 89, 251  # x of the residual stream and of the two branches
GREY = "#767676"  # the residual stream: at least 4:1 on white and on black
QUIET = 0.65  # opacity of what is not lit
LIT, INK = "#f5e663", "#1a1a1a"  # a lit box and the text on it
WEIGHTS = RAMP[3], RAMP[5], RAMP[7]
TINTS = {  # a part has the colour of what it is about
    "patches": POSITION,
    "self_attention": WEIGHTS[1],
    "multi_head": WEIGHTS[1],
    "layer_norm": TOGETHER,
    "mlp": HIDDEN,
}


class Box(NamedTuple):
    """One place of a part. A frame holds other boxes and has a title bar."""

    part: str
    x: int
    y: int
    width: int
    height: int
    name: str
    times: str = ""
    frame: bool = False

    def holds(self, other: "Box") -> bool:
        """Whether the other box begins inside this one."""
        return (
            self.x < other.x < self.x + self.width
            and self.y < other.y < self.y + self.height
        )


BOXES = [
    Box("encoder", 4, 76, 332, 476, "Encoder", "", True),
    Box("encoder_block", 14, 166, 312, 376, "Encoder block", "× L", True),
    Box("multi_head", 186, 358, 130, 108, "Multi-head", "× h", True),
    Box("patches", 14, 606, 312, 60, "Patches"),
    Box("layer_norm", 186, 482, 130, 30, "LayerNorm"),
    Box("self_attention", 196, 396, 110, 60, "Self-attention"),
    Box("layer_norm", 24, 280, 130, 30, "LayerNorm"),
    Box("mlp", 24, 222, 130, 42, "MLP"),
    Box("layer_norm", 105, 110, 130, 30, "LayerNorm"),
]
NAMES_AT = {  # x, y in the box, which point of the text stands there
    "patches": (76, 26, "start"),
    "self_attention": (55, 20, "middle"),
    "mlp": (36, 25, "middle"),
}
BAR = 24  # the height of a frame's title bar
REPEATED = ("encoder_block", "self_attention")  # sheets behind them show it

STREAM_PIECES = [(574, 352), (332, 216), (196, 140), (110, 66)]  # from y to y
SUMS = [342, 206]  # y of the places where a branch is added to the stream
ARROWS = [  # the points that a branch passes through; a head stands at the last one
    [(STREAM, 528), (RIGHT, 528), (RIGHT, 512)],
    [(RIGHT, 482), (RIGHT, 466)],
    [(RIGHT, 358), (RIGHT, 342), (STREAM + 10, 342)],
    [(STREAM, 326), (LEFT, 326), (LEFT, 310)],
    [(LEFT, 280), (LEFT, 264)],
    [(LEFT, 222), (LEFT, 206), (STREAM - 10, 206)],
    [(STREAM, 606), (STREAM, 592)],
]
TOKEN_ROWS = [42, 575]  # y
LABELS = [  # text, x, y, which point of the text stands there
    ("each token", RIGHT, 270, "middle"),
    ("on its own", RIGHT, 286, "middle"),
    ("tokens look", LEFT, 424, "middle"),
    ("at each other", LEFT, 440, "middle"),
    ("residual", 158, 500, "end"),
    ("stream", 158, 515, "end"),
    ("head", 117, 20, "middle"),
    ("class token", 102, 53, "end"),
    ("(N, D)", 238, 53, "start"),
    ("class token", 102, 586, "end"),
    ("(N, D)", 238, 586, "start"),
]

STYLE = """<style>
.vit-map a:is(:link, :visited, :hover) { color: inherit; text-decoration: none; }
.vit-map a .name { text-decoration: underline; text-underline-offset: 3px; }
.vit-map a:hover .outline { stroke-width: 3; }
.vit-map a:focus-visible { outline: 3px solid currentColor; outline-offset: 3px; }
</style>"""


class EncoderMap:
    """A finished map, which a notebook shows by itself. `svg` is its text."""

    def __init__(self, svg: str, lit: tuple[str, ...]):
        self.svg = svg
        self.lit = lit

    def _repr_html_(self) -> str:
        return in_notebook("vit-map", self.svg)

    def __repr__(self) -> str:
        return f"EncoderMap(lit={list(self.lit)})"


def encoder_map(
    lit: str | list[str] | tuple[str, ...] | None = None,
    links: dict[str, str] | None = None,
) -> EncoderMap:
    """Draw the encoder. `lit` parts stand out; `links` leads from parts to addresses.

    Parts have the names of the package's modules, the keys of `PARTS`. Raises
    ValueError for any other name.
    """
    lit = (lit,) if isinstance(lit, str) else tuple(lit or ())
    links = links or {}
    for part in (*lit, *links):
        if part not in PARTS:
            raise ValueError(f"expected parts among {', '.join(PARTS)}; got {part!r}")
    frames = [draw_box(box, lit, links) for box in BOXES if box.frame]
    others = [draw_box(box, lit, links) for box in BOXES if not box.frame]
    flow = draw_flow(QUIET if lit else 1)
    title = "Map of the ViT encoder"
    if lit:
        title += f", with this part lit: {', '.join(PARTS[part] for part in lit)}"
    return EncoderMap(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' width="{WIDTH}" height="{HEIGHT}" role="{"group" if links else "img"}"'
        ' fill="currentColor" font-family="system-ui, sans-serif" font-size="12"'
        ' style="display: block; width: 100%; max-width: 360px; height: auto;'
        ' margin: 0 auto">\n'
        f"<title>{title}</title>\n<desc>{FLOW}</desc>\n{STYLE if links else ''}\n"
        + "\n".join([*frames, flow, *others, *draw_tags(lit)])
        + "\n</svg>",
        lit,
    )


def draw_box(box: Box, lit: tuple[str, ...], links: dict[str, str]) -> str:
    """One box with what is drawn in it; a link if it has an address."""
    is_lit = box.part in lit
    in_lit_frame = any(other.part in lit and other.holds(box) for other in BOXES)
    opacity = 1 if is_lit or in_lit_frame or not lit else QUIET
    details = {
        "patches": draw_patches,
        "self_attention": draw_self_attention,
        "mlp": draw_mlp,
    }.get(box.part, draw_times)
    ink = INK if is_lit else "currentColor"
    named = f'{draw_outline(box, is_lit)}<g fill="{ink}">{draw_name(box)}</g>'
    if box.part in links:
        href = escape(links[box.part])
        named = f'<a href="{href}" aria-label="{PARTS[box.part]}">{named}</a>'
    return (
        f'<g data-part="{box.part}" opacity="{opacity}">{draw_sheets(box)}{named}'
        f'<g fill="{ink}" pointer-events="none">{details(box)}</g></g>'
    )


def draw_outline(box: Box, is_lit: bool) -> str:
    """The box, filled; of a frame the title bar is filled and the rest is tinted."""
    x, y, width, height = box.x, box.y, box.width, box.height
    fill, strength = TINTS.get(box.part, "currentColor"), 0.08
    if is_lit:
        fill, strength = LIT, 1
    elif box.part in TINTS:
        strength = 0.22
    bar = (
        f'<path d="M{x} {y + BAR}v{8 - BAR}q0-8 8-8h{width - 16}q8 0 8 8v{BAR - 8}z"'
        f' fill="{fill}" fill-opacity="{strength}"/>'
    )
    return (bar if box.frame else "") + (
        f'<rect class="outline" x="{x}" y="{y}" width="{width}" height="{height}"'
        f' rx="{8 if box.frame else 6}" fill="{fill}"'
        f' fill-opacity="{strength / 8 if box.frame else strength:g}"'
        f' stroke="currentColor" stroke-width="{3 if is_lit else 1.25}"/>'
    )


def draw_sheets(box: Box) -> str:
    """The upper edges of two sheets behind a box that is there several times."""
    edges = [(box.x + 6 * i, box.y + 4 - 4 * i, box.width - 12 * i - 8) for i in (1, 2)]
    return "".join(
        f'<path d="M{x} {y}q0-4 4-4h{width}q4 0 4 4" fill="none"'
        f' stroke="currentColor" stroke-width="1.25" opacity=".55"/>'
        for x, y, width in (edges if box.part in REPEATED else ())
    )


def draw_name(box: Box) -> str:
    """The name: in a frame's title bar, beside the details, or in the middle."""
    middle = (box.width // 2, box.height // 2 + 4, "middle")
    x, y, anchor = (10, 17, "start") if box.frame else NAMES_AT.get(box.part, middle)
    return text(box.name, box.x + x, box.y + y, anchor, name=True)


def draw_times(box: Box) -> str:
    """How many times a frame is there."""
    if not box.times:
        return ""
    return text(box.times, box.x + box.width - 10, box.y + 17, "end")


def draw_mlp(box: Box) -> str:
    """The width of a token grows and shrinks again."""
    return "".join(
        f'<rect x="{box.x + 87 - width // 2}" y="{box.y + 10 + 8 * i}" width="{width}"'
        f' height="6" rx="2" {look}/>'
        for i, (width, look) in enumerate(
            ((16, 'opacity=".6"'), (52, f'fill="{HIDDEN}"'), (16, 'opacity=".6"'))
        )
    )


def draw_patches(box: Box) -> str:
    """An image cut into patches, and what becomes of them."""
    squares = (
        square(box.x + 14 + 15 * (i % 3), box.y + 9 + 15 * (i // 3), 12, i)
        for i in range(9)
    )
    caption = text("+ class token + positions", box.x + 76, box.y + 43)
    return "".join(squares) + caption


def draw_self_attention(box: Box) -> str:
    """Query and key make a table of weights; the weights average the values."""
    y = box.y + 40
    circles = "".join(
        f'<circle cx="{box.x + dx}" cy="{y}" r="9" fill="{fill}"/>'
        + text(letter, box.x + dx, y + 4, "middle", fill=ink)
        for letter, dx, fill, ink in (
            ("q", 18, QUERY, "#fff"),
            ("k", 41, KEY, INK),
            ("v", 92, VALUE, INK),
        )
    )
    table = "".join(
        f'<rect x="{box.x + 58 + 6 * (i % 3)}" y="{y - 8 + 6 * (i // 3)}" width="5"'
        f' height="5" fill="{WEIGHTS[(i * 5 + i // 3) % 3]}"/>'
        for i in range(9)
    )
    return circles + table


def draw_flow(opacity: float) -> str:
    """All between the boxes: the stream, the branches, the tokens and the labels."""
    stream = "".join(f"M{STREAM} {start}V{end}" for start, end in STREAM_PIECES)
    shapes = [
        *(draw_arrow(points) for points in ARROWS),
        *(draw_tokens(y) for y in TOKEN_ROWS),
        '<path d="M117 40v-12M82 4h70v24h-70z" fill="none" stroke="currentColor"'
        ' stroke-dasharray="3 3" opacity=".7"/>',
        draw_small_tokens(LEFT, 364, alone=False),
        draw_small_tokens(RIGHT, 210, alone=True),
        *(text(*label) for label in LABELS),
    ]
    return (
        f'<g opacity="{opacity}">{"".join(shapes)}</g>'
        f'<path d="{stream}" stroke="{GREY}" stroke-width="5"/>'
        f'<path d="M{STREAM} 60l-8 11h16z" fill="{GREY}"/>'
        + "".join(draw_sum(y) for y in SUMS)
    )


def draw_small_tokens(x: int, y: int, alone: bool) -> str:
    """Tokens below and what they become above: each alone, or one from all."""
    columns = [x + 18 * i for i in range(-2, 3)]
    rows = "".join(
        f'<rect x="{column - 5}" y="{top}" width="10" height="10" rx="2" opacity=".6"/>'
        for top in (y, y + 32)
        for column in columns
    )
    lines = "".join(
        f'<path d="M{column} {y + 31}L{column if alone else columns[1]} {y + 11}"'
        f' stroke="{"currentColor" if alone else WEIGHTS[1]}" stroke-width="{width}"/>'
        for column, width in zip(
            columns, (1.5,) * 5 if alone else (1.5, 2, 1, 4, 2.5), strict=True
        )
    )
    return lines + rows


def draw_arrow(points: list[tuple[int, int]]) -> str:
    """A line through the points with a head at the last one."""
    (x0, y0), (x, y) = points[-2:]
    path = "L".join(f"{px} {py}" for px, py in points)
    back = 7 if (x0 > x or y0 > y) else -7
    wings = f"l{back} -4v8z" if y0 == y else f"l-4 {back}h8z"
    return (
        f'<path d="M{path}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        f'<path d="M{x} {y}{wings}"/>'
    )


def draw_sum(y: int) -> str:
    """The sign for adding a branch to the stream."""
    return (
        f'<circle cx="{STREAM}" cy="{y}" r="10" fill="{GREY}"/>'
        f'<path d="M{STREAM - 5} {y}h10M{STREAM} {y - 5}v10" stroke="#fff"'
        ' stroke-width="2"/>'
    )


def draw_tokens(y: int) -> str:
    """A row of tokens: the class token is blue and round, the others are patches."""
    patches = "".join(square(109 + 18 * i, y, 14, i) for i in range(1, 7))
    return (
        f'<circle cx="117" cy="{y + 7}" r="7" fill="{CLASS}" stroke="currentColor"/>'
        + patches
    )


def draw_tags(lit: tuple[str, ...]) -> list[str]:
    """A tag with words on the only lit part; ticks if there are several."""
    places = {box.part: box for box in reversed(BOXES)}
    if len(lit) == 1:
        return [draw_here(places[lit[0]])]
    return [draw_tick(box) for box in BOXES if box.part in lit]


def draw_here(box: Box) -> str:
    """The tag "you are here" on the upper edge, beside the arrow that leaves there."""
    x, y = 257 if box.x + box.width > STREAM else 3, box.y - 15
    return (
        f'<rect x="{x}" y="{y}" width="80" height="18" rx="9" fill="{INK}"'
        f' stroke="{LIT}" stroke-width="1.5"/><g font-size="11">'
        f"{text('you are here', x + 40, y + 13, 'middle', fill=LIT)}</g>"
    )


def draw_tick(box: Box) -> str:
    """A small tick in a circle on the upper right corner."""
    x, y = box.x + box.width - 6, box.y
    return (
        f'<circle cx="{x}" cy="{y}" r="8" fill="{INK}" stroke="{LIT}"/>'
        f'<path d="M{x - 4} {y}l3 3 5-6" fill="none" stroke="{LIT}" stroke-width="2"/>'
    )


def square(x: int, y: int, side: int, i: int) -> str:
    """A patch; the shades differ as those of a picture's patches do."""
    opacity = (0.25, 0.45, 0.7)[(i * 4 + i // 3) % 3]
    return (
        f'<rect x="{x}" y="{y}" width="{side}" height="{side}" rx="2"'
        f' opacity="{opacity}"/>'
    )


def text(
    content: str,
    x: int | str,
    y: int | str,
    anchor: str = "start",
    fill: str = "",
    name: bool = False,
) -> str:
    """A line of text: a name, in bold, or what `FLOW` says to a screen reader."""
    kind = ' class="name" font-weight="600"' if name else ' aria-hidden="true"'
    colour = f' fill="{fill}"' if fill else ""
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}"{kind}{colour}>{content}</text>'
    )
