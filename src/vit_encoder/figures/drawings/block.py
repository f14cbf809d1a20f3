"""The drawings of the encoder block: its two branches, and where its norms stand.

Each bar is a token, and its length is the token's size: the root of the mean square of
its D numbers. The sizes are those of a small example that the course's own block
computes here, so that what is drawn is true.
"""

from collections.abc import Callable

import torch

from vit_encoder.encoder_block import EncoderBlock
from vit_encoder.figures.colours import WEIGHTS
from vit_encoder.figures.drawing import (
    GREY,
    Drawing,
    arrow,
    box,
    drawing,
    line,
    sub,
    text,
)

Sizes = list[float]

TOKENS = (
    (1.0, -0.6, 1.2, -1.1, -0.4),
    (-1.3, 0.5, 0.9, -0.8, 1.0),
    (0.7, 1.1, -1.0, -1.2, 0.8),
)
START = (0.4, 1.0, 2.0)  # the sizes to which the tokens are brought
UNIT = 24  # length of a bar of size 1
BARS = 28  # height of three bars

HEIGHT = 622
STREAM, LEFT, RIGHT = 170, 58, 282  # x of the residual stream and of the two branches
BRANCH = 108  # width of a branch's boxes
BOTTOM = HEIGHT - 22  # y where the stream begins; below it stands the legend
FORKS = BOTTOM - 66, BOTTOM - 328  # y where the branches leave the stream
RISE = 198  # from there up to where they join it

PAIR = 412  # height of the drawing of two blocks
ASIDE = 80  # from their streams to their branches

LEGEND = "Each bar is a token; its length is the token's size."
BLOCK = (
    "Read from bottom to top. Three tokens of unlike size, z of block l minus 1, enter"
    " the residual stream, a thick grey line that runs straight up. A branch leads to"
    " the right: LayerNorm 1 gives all tokens the same size; then come multi-head"
    " self-attention, in which tokens meet, and dropout. What comes out is added to"
    " the stream and gives z prime. A second branch leads to the left: LayerNorm 2,"
    " then the MLP, which takes each token alone through a linear layer from D to M,"
    " GELU, dropout and a linear layer from M to D; then dropout. What comes out is"
    " added too and gives z of block l. The tokens in the stream still differ in size."
    " The shape is (B, N, D) before and after each half."
)
PLACES = (
    "Two blocks side by side, read from bottom to top, with the same three tokens of"
    " unlike size at the bottom. Left, pre-norm, as in ViT: a LayerNorm stands on each"
    " branch, in front of the attention and in front of the MLP. The residual stream"
    " runs straight to the top, and the tokens there still differ in size. Right,"
    " post-norm, as in the first Transformer: a LayerNorm stands in the stream itself,"
    " after each of the two sums. At the top all tokens have the same size."
)
SKIPS = (
    "Two blocks side by side, read from bottom to top, with the same three tokens of"
    " unlike size at the bottom. Left, right: each LayerNorm stands on a branch,"
    " so the stream carries the tokens themselves, and at the top they still differ in"
    " size. Right, wrong: each LayerNorm stands in the stream, below the place"
    " where a branch leaves it. The skip carries normalized tokens; at the top all"
    " tokens have about the same size."
)


def block_drawing() -> Drawing:
    """Draw a pre-norm block (Dosovitskiy et al. 2021, equations 2 and 3)."""
    sizes = pre_norm()
    sums = [fork - RISE for fork in FORKS]
    x, z, y = BOTTOM - 50, sums[0] - 48, sums[1] - 48  # tops of the bars in the stream
    parts = [
        *stream(STREAM, (BOTTOM, x + 32), (x - 4, z + 32), (z - 4, y + 32), (y - 4, 2)),
        bars(sizes["x"], STREAM, x, GREY),
        bars(sizes["z"], STREAM, z, GREY),
        bars(sizes["y"], STREAM, y, GREY),
        *branch(sizes, RIGHT, FORKS[0], "LayerNorm 1", "attended", attention_box),
        *branch(sizes, LEFT, FORKS[1], "LayerNorm 2", "computed", mlp_box),
        *(plus(STREAM, height) for height in sums),
        *labels(x + 18, z + 18, y + 18),
        text(LEGEND, 170, HEIGHT - 5),
    ]
    return drawing("A pre-norm encoder block", BLOCK, parts, HEIGHT)


def norm_places_drawing() -> Drawing:
    """Draw pre-norm (ViT) beside post-norm (Vaswani et al. 2017, section 3.1)."""
    parts = [
        *half_block(36, pre_norm()["y"]),
        *half_block(212, post_norm(), "after the sum"),
        line([(164, 40), (164, PAIR - 24)], "currentColor", 1, dashed=True),
        text("pre-norm", 80, 14, bold=True),
        text("ViT", 80, 30),
        text("post-norm", 256, 14, bold=True),
        text("the first Transformer", 256, 30),
        text(LEGEND, 170, PAIR - 5),
    ]
    return drawing("Pre-norm and post-norm", PLACES, parts, PAIR)


def normed_skip_drawing() -> Drawing:
    """Draw a pre-norm block beside one whose skips carry normalized tokens."""
    parts = [
        *half_block(36, pre_norm()["y"]),
        *half_block(212, normed_skip(), "before the fork"),
        line([(164, 40), (164, PAIR - 24)], "currentColor", 1, dashed=True),
        text("right", 80, 14, bold=True),
        text("the skip carries tokens", 80, 30),
        text("wrong", 256, 14, bold=True),
        text("it carries their norms", 256, 30),
        text(LEGEND, 170, PAIR - 5),
    ]
    return drawing("A skip that carries normalized tokens", SKIPS, parts, PAIR)


# The example


def example() -> tuple[EncoderBlock, torch.Tensor]:
    """A block with fixed random weights, and tokens (1, N, D) of the sizes START."""
    rng = torch.Generator().manual_seed(0)
    block = EncoderBlock(dim=len(TOKENS[0]), num_heads=1, mlp_dim=12).double()
    for name, parameter in block.named_parameters():
        if name.endswith("bias"):
            parameter.data.zero_()
        elif parameter.dim() == 2:
            values = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
            parameter.data = values / parameter.shape[1] ** 0.5
    tokens = block.norm1(torch.tensor([TOKENS], dtype=torch.float64))  # (1, N, D)
    return block, tokens * torch.tensor(START, dtype=torch.float64)[:, None]


@torch.no_grad()
def pre_norm() -> dict[str, Sizes]:
    """The tokens' sizes at each place of the drawing of the block."""
    block, x = example()
    attended = block.attn(block.norm1(x))
    z = x + attended
    places = {
        "x": x,
        "LayerNorm 1": block.norm1(x),
        "attended": attended,
        "z": z,
        "LayerNorm 2": block.norm2(z),
        "computed": block.mlp(block.norm2(z)),
        "y": block(x),
    }
    return {place: sizes_of(tokens) for place, tokens in places.items()}


@torch.no_grad()
def post_norm() -> Sizes:
    """The tokens' sizes after the same block if each norm stands after a sum."""
    block, x = example()
    z = block.norm1(x + block.attn(x))
    return sizes_of(block.norm2(z + block.mlp(z)))


@torch.no_grad()
def normed_skip() -> Sizes:
    """The tokens' sizes after the same block if each norm replaces the tokens."""
    block, x = example()
    x = block.norm1(x)
    x = block.norm2(x + block.attn(x))
    return sizes_of(x + block.mlp(x))


def sizes_of(tokens: torch.Tensor) -> Sizes:
    """The root mean square of each of the tokens (1, N, D)."""
    return tokens[0].square().mean(-1).sqrt().tolist()


# The pieces


def bars(sizes: Sizes, x: float, top: float, colour: str = "currentColor") -> str:
    """One bar a token around x, the first at the top."""
    return "".join(
        f'<rect x="{x - UNIT * size / 2:.1f}" y="{top + 10 * i:g}"'
        f' width="{UNIT * size:.1f}" height="8" rx="2" fill="{colour}"/>'
        for i, size in enumerate(sizes)
    )


def stream(x: float, *pieces: tuple[float, float]) -> list[str]:
    """The residual stream, from y to y; the last piece ends in a head."""
    *below, (start, end) = pieces
    head = f'<path d="M{x:g} {end:g}l-8 11h16z" fill="{GREY}"/>'
    drawn = [*below, (start, end + 10)]
    return [*(line([(x, a), (x, b)], GREY, 5) for a, b in drawn), head]


def plus(x: float, y: float) -> str:
    """The sign for adding a branch to the stream."""
    return (
        f'<circle cx="{x:g}" cy="{y:g}" r="10" fill="{GREY}"/>'
        f'<path d="M{x - 5:g} {y:g}h10M{x:g} {y - 5:g}v10" stroke="#fff"'
        ' stroke-width="2"/>'
    )


def branch(
    sizes: dict[str, Sizes],
    x: float,
    fork: float,
    norm: str,
    added: str,
    contents: Callable[[float, float], list[str]],
) -> list[str]:
    """From the fork through the norm, the part and dropout back to the stream."""
    edge, join = x - BRANCH / 2, fork - RISE
    outwards = 1 if x > STREAM else -1
    middle = STREAM + outwards * 54  # x of the bars that are added
    return [
        arrow([(STREAM, fork), (x, fork), (x, fork - 16)]),
        box(edge, fork - 40, BRANCH, 24),
        text(norm, x, fork - 24, bold=True),
        line([(x, fork - 40), (x, fork - 50)]),
        bars(sizes[norm], x, fork - 82),
        arrow([(x, fork - 84), (x, fork - 96)]),
        box(edge, fork - 160, BRANCH, 64),
        *contents(x, fork - 160),
        line([(x, fork - 160), (x, fork - 168)]),
        *dropout_pill(x, fork - 184),
        line([(x, fork - 184), (x, join), (middle + outwards * 20, join)]),
        bars(sizes[added], middle, join - BARS / 2),
        arrow([(middle - outwards * 20, join), (STREAM + outwards * 10, join)]),
    ]


def dropout_pill(x: float, top: float) -> list[str]:
    """A dashed box, since dropout acts in training only."""
    return [
        f'<rect x="{x - 34:g}" y="{top:g}" width="68" height="16" rx="8" fill="none"'
        ' stroke="currentColor" stroke-dasharray="3 3"/>',
        text("dropout", x, top + 12, size=11),
    ]


def attention_box(x: float, top: float) -> list[str]:
    """The name, and a token that collects from all tokens."""
    columns = [x + 18 * i for i in range(-2, 3)]
    lines = (
        line([(column, top + 56), (columns[1], top + 40)], WEIGHTS, width)
        for column, width in zip(columns, (1.5, 2, 1, 3, 2), strict=True)
    )
    return [
        text("Multi-head", x, top + 15, bold=True),
        text("self-attention", x, top + 29, bold=True),
        *lines,
        *(token(column, y) for column in columns for y in (top + 35, top + 53)),
    ]


def token(x: float, y: float) -> str:
    """A token in an icon."""
    return f'<rect x="{x - 4:g}" y="{y:g}" width="8" height="7" rx="2"/>'


def mlp_box(x: float, top: float) -> list[str]:
    """The name and the steps, from bottom to top."""
    steps = ("↑ linear M → D", "↑ GELU, dropout", "↑ linear D → M")
    left = x - BRANCH / 2 + 8
    return [
        text("MLP", x, top + 15, bold=True),
        *(
            text(step, left, top + 30 + 14 * i, "start", size=11)
            for i, step in enumerate(steps)
        ),
    ]


def labels(x: float, z: float, y: float) -> list[str]:
    """The symbols beside the stream and the words beside the branches."""
    symbols = ((sub("z", "ℓ−1"), x), (sub("z′", "ℓ"), z), (sub("z", "ℓ"), y))
    first, second = FORKS[0] - 140, FORKS[1] - 140
    return [
        *(text(symbol, 206, at, "start", bold=True) for symbol, at in symbols),
        *(text("(B, N, D)", 238, at, "start", size=11) for _, at in symbols),
        text("tokens in", 136, x, "end"),
        text("tokens out", 136, y, "end"),
        text("residual", 158, FORKS[0] - 20, "end"),
        text("stream", 158, FORKS[0] - 5, "end"),
        text("First half:", 12, first, "start", bold=True),
        text("tokens exchange", 12, first + 16, "start"),
        text("information", 12, first + 31, "start"),
        text("z′ = z + MSA(LN(z))", 12, first + 50, "start", size=11),
        text("Second half:", 204, second, "start", bold=True),
        text("each token", 204, second + 16, "start"),
        text("on its own", 204, second + 31, "start"),
        text("z = z′ + MLP(LN(z′))", 204, second + 50, "start", size=11),
    ]


def half_block(x: float, sizes: Sizes, norms: str = "on the branch") -> list[str]:
    """One of the two blocks: its stream at x, its branches to the right.

    norms: where they stand; "after the sum" and "before the fork" are in the stream.
    """
    side = x + ASIDE
    parts, pieces, start = [], [], PAIR - 58
    for fork, name in ((PAIR - 72, "attention"), (PAIR - 200, "MLP")):
        if norms == "before the fork":
            pieces.append((start, fork))
            start = fork - 24
            parts += named_box(x, start, "LayerNorm")
            fork -= 40
        join = fork - (94 if norms == "on the branch" else 58)
        parts += [
            arrow([(x, fork), (side, fork), (side, fork - 14)]),
            *named_box(side, join + 20, name),
            arrow([(side, join + 20), (side, join), (x + 10, join)]),
            plus(x, join),
        ]
        if norms == "after the sum":
            parts += named_box(x, join - 40, "LayerNorm")
            pieces.append((start, join - 16))
            start = join - 40
        elif norms == "on the branch":
            parts += named_box(side, fork - 38, "LayerNorm")
            parts.append(arrow([(side, fork - 38), (side, fork - 50)]))
    return [
        *stream(x, *pieces, (start, 86)),
        bars(START, x, PAIR - 54, GREY),
        bars(sizes, x, 52, GREY),
        *parts,
    ]


def named_box(x: float, top: float, name: str) -> list[str]:
    """A small box with a name around x."""
    return [box(x - 42, top, 84, 24), text(name, x, top + 16, bold=True)]
