"""Weights as other people store them, for chapter 09. data/README.md says whence."""

import copy
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vit_encoder.datasets import LabelledImages, fashion_mnist
from vit_encoder.shipped import FOLDER, shipped_file, shipped_weights
from vit_encoder.training import VisionTransformer

LIBRARIES_FILE = FOLDER / "libraries.safetensors"
KNOWN = (0, 1, 3, 4, 7, 8)  # T-shirt, trousers, dress, coat, sneaker, bag
NEW = (2, 5, 6, 9)  # pullover, sandal, shirt, ankle boot
GARMENTS = {
    "image_size": 28,
    "patch_size": 4,
    "in_channels": 1,
    "num_classes": 6,
    "depth": 6,
    "dim": 48,
    "num_heads": 4,
    "mlp_dim": 96,
}


def garments_file() -> Path:
    """Where the ViT for six classes of garments lies, under timm's names.

    Raises ValueError, as `shipped_file` does.
    """
    return shipped_file("garments.safetensors")


def only(data: LabelledImages, classes: tuple[int, ...]) -> LabelledImages:
    """The images of these classes of Fashion-MNIST, which are numbered anew from 0."""
    kept = torch.isin(data.labels, torch.tensor(classes))
    number = torch.full((10,), -1)
    number[list(classes)] = torch.arange(len(classes))
    return replace(data, images=data.images[kept], labels=number[data.labels[kept]])


def garments(split: str) -> tuple[LabelledImages, LabelledImages]:
    """The shipped part of Fashion-MNIST: the six known classes, and the four new ones.

    split: "train", "validation" or "test". ValueError for another word.
    """
    splits = fashion_mnist()
    if split not in ("train", "validation", "test"):
        raise ValueError(f'expected "train", "validation" or "test", got {split!r}')
    data = getattr(splits, split)
    return only(data, KNOWN), only(data, NEW)


def few(data: LabelledImages, count: int, seed: int) -> LabelledImages:
    """`count` images of each class, drawn at random."""
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data), generator=rng)
    labels = data.labels[order]
    drawn = [order[labels == label][:count] for label in labels.unique()]
    return data[torch.cat(drawn)]


def as_timm(model: VisionTransformer) -> dict[str, Tensor]:
    """The state dict of the course's model under the names and shapes of timm."""
    state = {}
    for name, value in model.state_dict().items():
        name = name.removeprefix("encoder.").removeprefix("embedding.")
        if name.startswith("proj."):
            name = f"patch_embed.{name}"
            if value.dim() == 2:
                P = model.embedding.patch_size
                value = value.unflatten(1, (-1, P, P))  # (D, C, P, P)
        state[name] = value
    return state


def library_weights(name: str) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """A small ViT with random weights, and what its library computes from an image.

    name: "timm", "torchvision", "transformers" or "jax". All tensors are float64.
    Returns the parameters under the library's names, an image (1, 3, 12, 12) and the
    logits (1, 7) that the library gave for it. "jax" are the arrays of an `.npz` file;
    their logits are those of timm, which reads such files, too.
    Source: studies/record_foreign_weights.py. Raises ValueError for another name.
    """
    stored = shipped_weights(LIBRARIES_FILE.name)
    own = {
        key.removeprefix(f"{name}|"): value
        for key, value in stored.items()
        if key.startswith(f"{name}|")
    }
    if not own:
        known = "jax, timm, torchvision, transformers"
        raise ValueError(f"expected one of {known}, got {name!r}")
    logits = own.pop("| logits")
    return own, stored["image"], logits


def library_positions(n: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Random positions of a 7 × 7 grid, and what four libraries make of them.

    n: 4 or 10, the side of the new grid. Returns (1, 1 + 49, 6), float64, and by
    library (1, 1 + n², 6). timm computes in float32.
    Source: studies/record_foreign_weights.py. Raises ValueError for another n.
    """
    if n not in (4, 10):
        raise ValueError(f"expected 4 or 10, got {n}")
    stored = shipped_weights(LIBRARIES_FILE.name)
    names = ("timm", "torchvision", "transformers", "jax")
    return stored["positions"], {x: stored[f"positions|{x}|{n}"] for x in names}


def suspects(model: VisionTransformer) -> dict[str, VisionTransformer]:
    """Copies of a model of twelve layers: three differ in one place, one does not.

    Where and how is for the reader to find out, so do not read on here. The parameters
    of a copy have the names and shapes of the model's. Raises ValueError for a model
    with another number of layers.
    """
    if len(model.encoder.blocks) != 12:
        raise ValueError(f"expected 12 layers, got {len(model.encoder.blocks)}")
    copies = {name: copy.deepcopy(model) for name in "ABCD"}
    blocks = {name: found.encoder.blocks for name, found in copies.items()}
    attn = blocks["A"][4].attn
    with torch.no_grad():
        for p in attn.qkv.parameters():
            q, k, v = p.chunk(3)
            p.copy_(torch.cat([q, v, k]))
    blocks["C"][7].norm2.eps = 1e-5
    mlp = blocks["D"][10].mlp
    mlp.forward = lambda x: mlp.fc2(F.gelu(mlp.fc1(x), approximate="tanh"))
    return copies
