"""The tables of the page `book/specification.md`, computed from the course's parts."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import nn

from vit_encoder import Encoder, PatchEmbedding

IMAGE_SIZE, CHANNELS, CLASSES = 224, 3, 1000


@dataclass(frozen=True)
class Size:
    """A model by its name, such as B/16, and the sizes that define it."""

    name: str
    patch_size: int
    depth: int
    dim: int
    mlp_dim: int
    num_heads: int

    @property
    def patches(self) -> int:
        """n, the number of patches of one image; the class token makes N = n + 1."""
        return (IMAGE_SIZE // self.patch_size) ** 2


SIZES = (
    Size("Ti/16", 16, 12, 192, 768, 3),
    Size("S/16", 16, 12, 384, 1536, 6),
    Size("B/16", 16, 12, 768, 3072, 12),
    Size("B/32", 32, 12, 768, 3072, 12),
    Size("L/16", 16, 24, 1024, 4096, 16),
    Size("L/32", 32, 24, 1024, 4096, 16),
    Size("H/14", 14, 32, 1280, 5120, 16),
)


def build(
    size: Size, image_size: int, in_channels: int, num_classes: int
) -> nn.ModuleDict:
    """The patch embedding, the encoder and a linear head."""
    return nn.ModuleDict(
        {
            "embedding": PatchEmbedding(
                image_size, size.patch_size, in_channels, size.dim
            ),
            "encoder": Encoder(size.depth, size.dim, size.num_heads, size.mlp_dim),
            "head": nn.Linear(size.dim, num_classes),
        }
    )


def build_on_meta(size: Size) -> nn.ModuleDict:
    """The published model: shapes without numbers, so that it takes no memory."""
    with torch.device("meta"):
        return build(size, IMAGE_SIZE, CHANNELS, CLASSES)


# What the page counts.


@cache
def parameters_by_part(size: Size) -> dict[str, int]:
    """How many numbers training changes, part by part."""
    model = build_on_meta(replace(size, depth=1))  # to build each block takes long
    embedding, encoder = model["embedding"], model["encoder"]
    parts = {
        "Patches": count(embedding.proj),
        "Class token": embedding.cls_token.numel(),
        "Positions": embedding.pos_embed.numel(),
        "Blocks": size.depth * count(encoder.blocks),
        "Last norm": count(encoder.norm),
        "Head": count(model["head"]),
    }
    return parts | {"All": sum(parts.values())}


def count(module: nn.Module) -> int:
    """How many numbers a module learns."""
    return sum(parameter.numel() for parameter in module.parameters())


def flops(size: Size) -> int:
    """Operations in the matrix products for one image, two for a multiply-add.

    2n(C·P²)D + L(8ND² + 4N²D + 4NDM) + 2DK. All else is left out, as counters do.
    """
    n, D, M = size.patches, size.dim, size.mlp_dim
    N = n + 1
    embedding = 2 * n * CHANNELS * size.patch_size**2 * D
    block = 8 * N * D**2 + 4 * N**2 * D + 4 * N * D * M
    return embedding + size.depth * block + 2 * D * CLASSES


def sizes_table() -> str:
    """The sizes that define each model."""
    header = ["Model", "`L`", "`D`", "`M`", "`h`", "`D_h`", "`N`"]
    rows = []
    for s in SIZES:
        head_dim, tokens = s.dim // s.num_heads, s.patches + 1
        rows.append([s.name, s.depth, s.dim, s.mlp_dim, s.num_heads, head_dim, tokens])
    return table(header, rows)


def counts_table() -> str:
    """Parameters and operations of each model."""
    header = ["Model", "Parameters", "GFLOP", "GMAC"]
    rows = []
    for size in SIZES:
        work = [f"{flops(size) / each:.3f}" for each in (1e9, 2e9)]
        rows.append([size.name, f"{parameters_by_part(size)['All']:,}", *work])
    return table(header, rows)


def parts_table() -> str:
    """The parameters of each model, part by part."""
    parts = {size.name: parameters_by_part(size) for size in SIZES}
    header = ["Model", *parts[SIZES[0].name]]
    rows = [[name, *(f"{n:,}" for n in p.values())] for name, p in parts.items()]
    return table(header, rows)


# What the page says of each parameter. The sizes of the small model all differ, so a
# number tells which size it is; they are large enough to tell how values were drawn.

SMALL = Size("small", patch_size=5, depth=1, dim=96, mlp_dim=160, num_heads=6)
SYMBOLS = {50: "C·P·P", 96: "D", 288: "3·D", 160: "M", 37: "N", 70: "J", 1: "1"}


@cache
def small_model() -> nn.ModuleDict:
    """A model of 2 channels, 36 patches and 70 classes, as it starts."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(SMALL, image_size=30, in_channels=2, num_classes=70)


def parameters_table(module: nn.Module) -> str:
    """Name, shape in symbols and start of each parameter in a part of `small_model`."""
    parameters = dict(module.named_parameters())
    rows = []
    for name, parameter in parameters.items():
        shape = ", ".join(SYMBOLS[size] for size in parameter.shape)
        comma = "," if parameter.dim() == 1 else ""
        inputs = parameters[name.replace("bias", "weight")].shape[-1]
        start = describe_start(parameter.detach(), inputs)
        rows.append([f"`{name}`", f"`({shape}{comma})`", start])
    return table(["Name", "Shape", "Starts as"], rows)


def describe_start(values: torch.Tensor, inputs: int) -> str:
    """How initial values were drawn, in words; ValueError if no description fits.

    inputs: the width of what the parameter's layer reads.
    """
    if (values == 0).all():
        return "zeros"
    if (values == 1).all():
        return "ones"
    bound = 1 / math.sqrt(inputs)
    largest, spread = values.abs().max().item(), values.std().item()
    if 0.9 * bound < largest <= bound and 0.5 < spread / largest < 0.7:
        name = SYMBOLS[inputs]
        return f"uniform, ±1/√{f'({name})' if '·' in name else name}"
    if 3 * spread < largest < 6 * spread:
        return f"normal, standard deviation {spread:.2g}"
    raise ValueError(
        f"expected zeros, ones, uniform values up to {bound:.3f} or normal ones, got "
        f"values up to {largest:.3f} with standard deviation {spread:.3f}"
    )


def table(header: list, rows: list[list]) -> str:
    """A Markdown table; columns of numbers stand at the right."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    columns = zip(*lines[1:], strict=True)
    numeric = [all(cell[0].isdigit() for cell in column) for column in columns]
    lines.insert(1, ["---:" if right else "---" for right in numeric])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TABLES: dict[str, Callable[[], str]] = {
    "sizes": sizes_table,
    "counts": counts_table,
    "parts": parts_table,
    "embedding": lambda: parameters_table(small_model()["embedding"]),
    "block": lambda: parameters_table(small_model()["encoder"].blocks[0]),
    "norm": lambda: parameters_table(small_model()["encoder"].norm),
    "head": lambda: parameters_table(small_model()["head"]),
}
