"""The drawing of the encoder in depth: tokens that pass through L blocks and a norm.

The numbers are those of a small encoder that is computed here with the course's own
class, so that what is drawn is true.
"""

from itertools import pairwise

import torch

from vit_encoder.encoder import Encoder
from vit_encoder.encoder_block import EncoderBlock
from vit_encoder.figures.colours import RAMP
from vit_encoder.figures.drawing import (
    GREY,
    Drawing,
    arrow,
    box,
    drawing,
    frame,
    line,
    matrix,
    sub,
    text,
)
from vit_encoder.multi_head import split_heads
from vit_encoder.self_attention import attention

DEPTH, DIM, HEADS, HIDDEN, TOKENS = 3, 4, 2, 8, 5
WEIGHTS = RAMP[5]  # lines of this purple can be seen on white and on black
HEIGHT = 476
CELL_SIDE = 9
LANES = [31, 75, 119, 163, 207]  # x of the middle of each token
LEFT, RIGHT = 8, 230  # of the boxes
NOTES = 238  # x where the notes at the right begin
STATES = [431, 340, 249, 158]  # y of the rows of tokens, from z0 to zL
BLOCKS = [359, 268, 177]  # y of the upper edge of each block
BLOCK_HEIGHT = 56
NORM, OUTPUT, HEAD = 113, 84, 5  # y of the norm, of what leaves, and of the head

PLACES = ("at first", "after block 1", "after block 2", "after block 3")
DESCRIPTION = (
    "Read from bottom to top. Five tokens, the class token and four patches, are rows"
    " of four cells; a cell is the stronger, the larger its number is. They pass"
    " through three blocks. Each token has its own straight line, the residual stream."
    " In each block the class token collects from all tokens; wider lines mean larger"
    " attention weights. Then an MLP works on each token alone. The root mean squares"
    " of the tokens are {sizes}. A final LayerNorm follows, after which all are 1.0."
    " Five tokens of the same width leave the encoder. The class token alone goes on to"
    " a head, which is not part of the encoder."
)


def encoder_drawing() -> Drawing:
    """Draw the encoder in depth (Dosovitskiy et al. 2021, equations 2 to 4)."""
    with torch.no_grad():
        encoder, x = small_example()
        states, collected = [x], []
        for block in encoder.blocks:
            collected.append(weights_of_class_token(block, states[-1]))
            states.append(block(states[-1]))
        output = encoder.norm(states[-1])
    strongest = max(state.abs().sqrt().max().item() for state in (*states, output))
    sizes = [spread_of_sizes(state) for state in states]
    parts = [
        *draw_stream(),
        *(draw_block(y, weights) for y, weights in zip(BLOCKS, collected, strict=True)),
        draw_norm(),
        *(
            draw_tokens(y, state, strongest)
            for y, state in zip((*STATES, OUTPUT), (*states, output), strict=True)
        ),
        *draw_head(),
        *notes(sizes, spread_of_sizes(output)),
    ]
    spoken = [f"{size} {where}" for size, where in zip(sizes, PLACES, strict=True)]
    return drawing(
        "The encoder in depth",
        DESCRIPTION.format(sizes=", ".join(spoken)),
        parts,
        HEIGHT,
    )


def small_example() -> tuple[Encoder, torch.Tensor]:
    """A small encoder with numbers from a sine, and tokens (1, N, D)."""
    with torch.random.fork_rng(devices=[]):  # the reader's random numbers stay
        encoder = Encoder(DEPTH, DIM, HEADS, HIDDEN).double()
    for i, (name, parameter) in enumerate(encoder.named_parameters()):
        if parameter.dim() == 2:
            parameter.copy_(waves(*parameter.shape, start=i) / DIM**0.5)
        elif name.endswith("bias"):
            parameter.zero_()
    return encoder, 0.9 * waves(1, TOKENS, DIM, start=2)


def waves(*shape: int, start: float) -> torch.Tensor:
    """Numbers between -√2 and √2 that look random and are the same everywhere."""
    count = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (2**0.5 * torch.sin(1.9 * count**1.4 + start)).reshape(shape)


def weights_of_class_token(block: EncoderBlock, x: torch.Tensor) -> list[float]:
    """How the class token spreads its attention, as the mean over the heads."""
    q, k, v = block.attn.qkv(block.norm1(x)).chunk(3, dim=-1)
    _, weights = attention(*(split_heads(t, HEADS) for t in (q, k, v)))
    return weights[0].mean(dim=0)[0].tolist()  # (h, N, N) to (N,)


def spread_of_sizes(x: torch.Tensor) -> str:
    """The smallest and the largest root mean square of a token."""
    sizes = x.square().mean(dim=-1).sqrt()
    low, high = f"{sizes.min().item():.1f}", f"{sizes.max().item():.1f}"
    return low if low == high else f"{low} to {high}"


def draw_stream() -> list[str]:
    """The residual stream: a line for each token, up to the norm and on from there."""
    ends = [*pairwise(STATES), (STATES[-1], NORM + 15), (NORM + 3, OUTPUT)]
    return [
        line([(lane, low - 3), (lane, high + 11)], GREY, 3)
        for low, high in ends
        for lane in LANES
    ]


def draw_tokens(y: float, x: torch.Tensor, strongest: float) -> str:
    """A row of tokens; a cell is the stronger, the larger its number is.

    The strength follows the square root of a number's size: small ones can be seen.
    """
    return "".join(
        matrix([token], lane - CELL_SIDE * DIM / 2 + 1, y, GREY, strongest, CELL_SIDE)
        for lane, token in zip(LANES, x[0].abs().sqrt().tolist(), strict=True)
    )


def draw_block(y: float, weights: list[float]) -> str:
    """A block: lines into the class token, then a mark on each line for the MLP."""
    lines = [
        line([(lane, y + 50), (LANES[0], y + 28)], WEIGHTS, 0.6 + 8 * weight)
        for lane, weight in zip(LANES, weights, strict=True)
    ]
    marks = (
        f'<rect x="{lane - 13}" y="{y + 9}" width="26" height="9" rx="3"'
        ' fill="currentColor" fill-opacity=".55"/>'
        for lane in LANES
    )
    return box(LEFT, y, RIGHT - LEFT, BLOCK_HEIGHT) + "".join((*lines, *marks))


def draw_norm() -> str:
    """The final LayerNorm."""
    middle = (LEFT + RIGHT) / 2
    return box(LEFT, NORM, RIGHT - LEFT, 26) + text(
        "final LayerNorm", middle, NORM + 17, bold=True
    )


def draw_head() -> list[str]:
    """The class token goes on to a head outside the encoder."""
    return [
        frame(LANES[0] - 22, OUTPUT - 5, 43, 17),
        arrow([(LANES[0], OUTPUT - 8), (LANES[0], HEAD + 30)]),
        f'<rect x="{LEFT}" y="{HEAD}" width="90" height="28" rx="6" fill="none"'
        ' stroke="currentColor" stroke-dasharray="4 3"/>',
        text("head", LEFT + 45, HEAD + 18),
    ]


def notes(sizes: list[str], after: str) -> list[str]:
    """The names, shapes and sizes beside the rows of tokens and the boxes."""
    last = len(sizes) - 1
    return [
        text("class", LANES[0], STATES[0] + 24),
        text("token", LANES[0], STATES[0] + 37),
        text("tokens of n = 4 patches", sum(LANES[1:]) / 4, STATES[0] + 24),
        text("size of a token", NOTES, STATES[0] + 24, "start", 11),
        *(
            text(f"{sub('z', str(i))}<tspan dy='-3'>: {size}</tspan>",
                 NOTES, STATES[i] + 9, "start")
            for i, size in enumerate(sizes)
        ),
        *(
            text(f"block {i + 1}" + (" = L" if i + 1 == last else ""),
                 NOTES, y + 33, "start", bold=True)
            for i, y in enumerate(BLOCKS)
        ),
        text("then the MLP", NOTES, BLOCKS[0] + 17, "start", 11),
        text("attention first", NOTES, BLOCKS[0] + 49, "start", 11),
        text(f"y: {after}", NOTES, OUTPUT + 9, "start"),
        text("(N, D) = (5, 4)", 119, OUTPUT - 14, "start"),
        text("(D,)", LANES[0] + 10, HEAD + 53, "start"),
        text("not part of the encoder", LEFT + 100, HEAD + 18, "start"),
    ]  # fmt: skip
