"""A figure that answers: move the norm, take the skips away, choose the depth."""

import copy
from collections.abc import Callable, Sequence

import anywidget
import torch
import traitlets
from torch import nn

from vit_encoder.encoder_block import EncoderBlock
from vit_encoder.figures.front_end import follows, front_end
from vit_encoder.figures.inputs import describe

DEPTH, DIM, NUM_HEADS, MLP_DIM, TOKENS = 24, 32, 4, 64, 5
MOST = 640  # numbers in the tokens; a Jacobian has their square
NORMS = ("pre", "post", "none")
TIMES = (1, 2)  # what the matrices of weights are multiplied by
PARTS = ("norm1", "attn", "norm2", "mlp")


class WiringExplorer(anywidget.AnyWidget):
    """Wire blocks anew: the size of the stream and of the gradient, layer by layer.

    blocks: 1 to 24 blocks with the parts norm1, attn, norm2 and mlp, new or trained, of
    which copies are measured; None gives 24 new ones, 32 wide. tokens: (N, D), at most
    640 numbers; None gives five random ones.

    Measured is, when the figure is made and in float64, for each `wiring`, with weight
    matrices as they are and doubled: the root of the mean square of the stream after
    each block; the `gradient` there, summed over the tokens, if a random one of size 1
    comes to token 0 after the last block; and the `directions` in which that token can
    be changed from there. `norm`, `skips`, `times`, `depth` and `layer` follow what the
    reader chooses. Raises ValueError or TypeError for other arguments. The tests hold
    all sizes to within 1e-5 of what PyTorch's derivative of the whole stack gives.
    """

    _esm = front_end("wiring_explorer.js")
    _css = front_end("wiring_explorer.css")

    most = traitlets.Int().tag(sync=True)  # blocks
    dim = traitlets.Int().tag(sync=True)
    # "norm skips times" → after each block, None where it is too large for float64
    stream = traitlets.Dict().tag(sync=True)
    # the same → for each depth, in each layer from 0 to this depth
    gradient = traitlets.Dict().tag(sync=True)
    directions = traitlets.Dict().tag(sync=True)
    norm = traitlets.Unicode("pre").tag(sync=True)
    skips = traitlets.Bool(True).tag(sync=True)
    times = traitlets.Int(1).tag(sync=True)
    depth = traitlets.Int().tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    _require = follows(
        norm=NORMS,
        times=TIMES,
        depth=lambda self: range(1, self.most + 1),
        layer=lambda self: range(self.most + 1),
    )

    def __init__(
        self,
        blocks: Sequence[nn.Module] | None = None,
        tokens: torch.Tensor | None = None,
    ):
        blocks = new_blocks() if blocks is None else require_blocks(blocks)
        tokens = new_tokens() if tokens is None else require_tokens(tokens)
        require_width(blocks, tokens.shape[1])
        found = {}
        for times in TIMES:
            grown = [times_weights(block, times) for block in blocks]
            for norm in NORMS:
                for skips in (True, False):
                    key = f"{norm} {'skips' if skips else 'row'} {times}"
                    found[key] = measure(wiring(norm, skips=skips), grown, tokens)
        stream, gradient, counts = (
            {key: parts[i] for key, parts in found.items()} for i in range(3)
        )
        super().__init__(
            most=len(blocks),
            dim=tokens.shape[1],
            stream=stream,
            gradient=gradient,
            directions=counts,
            depth=len(blocks),
        )

    def __repr__(self) -> str:
        return f"WiringExplorer({self.most} blocks, {self.dim} wide)"


def wiring(norm: str, *, skips: bool) -> Callable[[nn.Module, torch.Tensor], object]:
    """How tokens pass a block. norm: "pre", "post" or "none"."""

    def half(normalize: nn.Module, branch: nn.Module, x: torch.Tensor) -> torch.Tensor:
        y = branch(normalize(x) if norm == "pre" else x)
        y = x + y if skips else y
        return normalize(y) if norm == "post" else y

    return lambda block, x: half(
        block.norm2, block.mlp, half(block.norm1, block.attn, x)
    )


def measure(
    wired: Callable, blocks: Sequence[nn.Module], tokens: torch.Tensor
) -> tuple[list, list, list]:
    """Sizes of the stream (L + 1), then gradients and directions for each depth.

    tokens: (N, D). By the chain rule the derivative of the stack is the product of
    those of its blocks, so that each of these is needed once.
    """
    width, count = tokens.shape[1], len(blocks)
    stream, jacobians = [tokens], []  # (N, D), (N·D, N·D)
    for block in blocks:
        jacobian = torch.func.jacrev(lambda x, b=block: wired(b, x[None])[0])
        jacobians.append(jacobian(stream[-1]).flatten(2).flatten(0, 1))
        stream.append(wired(block, stream[-1][None])[0])
    start = torch.eye(tokens.numel(), dtype=tokens.dtype, device="cpu")[:width]
    rows = start.new_empty(0, *start.shape)  # of token 0 after the last block
    gradients, counts = ([[] for _ in blocks] for _ in range(2))
    for layer in range(count, -1, -1):
        if layer < count:
            rows = rows @ jacobians[layer]  # (L - layer, D, N·D)
        if layer:
            rows = torch.cat([start[None], rows])  # the stack that ends here
        sizes = rows.square().sum((1, 2)).div(width).sqrt()
        for i, (size, left) in enumerate(zip(sizes, directions(rows), strict=True)):
            depth = max(layer, 1) + i
            gradients[depth - 1].insert(0, rounded(size))
            counts[depth - 1].insert(0, left)
    return [rounded(x.square().mean().sqrt()) for x in stream], gradients, counts


def directions(jacobians: torch.Tensor) -> list[int | None]:
    """How many singular values of each (D, N·D) exceed a hundredth of its largest."""
    largest = jacobians.abs().amax((1, 2), keepdim=True)
    known = largest.isfinite().flatten()
    tiny = torch.finfo(jacobians.dtype).tiny
    scaled = jacobians[known] / largest[known].clamp(min=tiny)
    squares = torch.linalg.eigvalsh(scaled @ scaled.mT)  # (…, D), the largest last
    found = iter((squares > squares[:, -1:] / 100**2).sum(-1).tolist())
    return [next(found) if is_known else None for is_known in known]


def rounded(size: torch.Tensor) -> float | None:
    """Six digits; None for inf and nan, which JSON does not have."""
    return float(f"{size.item():.6g}") if size.isfinite() else None


def new_blocks() -> list[nn.Module]:
    """24 blocks as PyTorch makes their layers."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(0)  # that of a GPU is left alone
        blocks = [EncoderBlock(DIM, NUM_HEADS, MLP_DIM) for _ in range(DEPTH)]
    return require_blocks(blocks)


def new_tokens() -> torch.Tensor:
    """Random tokens (N, D) of size 1 or so."""
    rng = torch.Generator().manual_seed(0)
    return torch.randn(TOKENS, DIM, generator=rng, dtype=torch.float64, device="cpu")


def require_blocks(blocks: Sequence[nn.Module]) -> list[nn.Module]:
    """Copies in float64 on the CPU, with dropout off."""
    if not isinstance(blocks, list | tuple | nn.ModuleList | nn.Sequential):
        raise TypeError(f"expected a list of blocks, got {type(blocks).__name__}")
    if not 1 <= len(blocks) <= DEPTH:
        raise ValueError(f"expected 1 to {DEPTH} blocks, got {len(blocks)}")
    for block in blocks:
        lacks = [part for part in PARTS if not hasattr(block, part)]
        if not isinstance(block, nn.Module) or lacks:
            what = f" without {', '.join(lacks)}" if lacks else ""
            raise TypeError(
                f"expected blocks with the parts {', '.join(PARTS)},"
                f" got {type(block).__name__}{what}"
            )
    return [
        copy.deepcopy(block).to("cpu", torch.float64).eval().requires_grad_(False)
        for block in blocks
    ]


def require_tokens(tokens: torch.Tensor) -> torch.Tensor:
    """The tokens in float64 on the CPU, (N, D)."""
    if not isinstance(tokens, torch.Tensor) or tokens.dim() != 2:
        got = getattr(tokens, "shape", type(tokens).__name__)
        raise ValueError(f"expected tokens (N, D), got {describe(got)}")
    if not 1 <= tokens.numel() <= MOST:
        raise ValueError(
            f"expected 1 to {MOST} numbers in tokens, got {tokens.numel()}"
        )
    tokens = tokens.detach().to("cpu", torch.float64)
    if not tokens.isfinite().all():
        raise ValueError("expected finite tokens, got inf or nan")
    return tokens


def require_width(blocks: Sequence[nn.Module], dim: int):
    """Raise ValueError for blocks that normalize tokens of another width."""
    for block in blocks:
        for name, p in (
            *block.norm1.named_parameters(),
            *block.norm2.named_parameters(),
        ):
            if p.shape != (dim,):
                raise ValueError(
                    f"expected blocks for tokens of width {dim}: their norms have a"
                    f" {name} of shape {tuple(p.shape)}"
                )


def times_weights(block: nn.Module, times: int) -> nn.Module:
    """A copy whose matrices are multiplied; biases, gains and the like stay."""
    block = copy.deepcopy(block)
    for p in block.parameters():
        if p.dim() == 2:
            p.mul_(times)
    return block
