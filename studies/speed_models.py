"""The contestants of the speed benchmark: one ViT with equal weights in seven codes.

Each maps images (B, 3, H, W) to logits (B, J). All do the same work, with one exception
that says so in its name: "fast, class token" computes in the last block what the class
token needs, and the others also compute tokens that nothing reads.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

import library_models
from library_models import Sizes, randomize
from vit_encoder import PatchEmbedding, VisionTransformer, fast
from vit_encoder.loading import (
    Weights,
    from_timm,
    from_torch_encoder,
    from_torchvision,
    from_transformers,
)

# isort: split

from vit_pytorch import ViT

State = Mapping[str, torch.Tensor]
PACKAGES = ("torch", "timm", "torchvision", "transformers", "vit-pytorch")
TOLERANCE = 1e-5  # of the largest number; float32 rounds to some 1e-6 here
SIZES = {
    "Ti": Sizes(),
    "S": Sizes(dim=384, num_heads=6, mlp_dim=1536),
    "B": Sizes(dim=768, num_heads=12, mlp_dim=3072),
}


@dataclass(frozen=True)
class Contestant:
    """A model, and what puts its state dict, or its gradients, in the course's form."""

    model: nn.Module
    read: Callable[[State], Weights]


def contestants(sizes: Sizes) -> dict[str, Contestant]:
    """Name → contestant; all have the same random numbers in their parameters."""
    makers = {
        "textbook": (textbook, parts_of),
        "fast": (AllTokens, parts_of),
        "fast, class token": (fast_vit, parts_of),
        "timm": (library_models.timm_vit, from_timm),
        "torchvision": (library_models.torchvision_vit, from_torchvision),
        "PyTorch": (PyTorchViT, from_pytorch),
        "transformers": (TransformersViT, read_transformers),
        "vit-pytorch": (vit_pytorch, from_vit_pytorch),
    }
    made = {
        name: Contestant(make(sizes), read) for name, (make, read) in makers.items()
    }
    weights = parts_of(randomize(made["textbook"].model).state_dict())
    for contestant in made.values():
        give(contestant, weights)
    return made


def give(contestant: Contestant, weights: Weights) -> None:
    """Put weights of the course into a contestant.

    Its reader goes from the contestant to the course. So it is given the places of the
    contestant's numbers, and tells for each number of the course where it belongs.
    """
    state = contestant.model.state_dict()
    counts = [tensor.numel() for tensor in state.values()]
    places = torch.arange(sum(counts)).split(counts)
    shaped = zip(state.items(), places, strict=True)
    read = contestant.read({key: p.view(t.shape) for (key, t), p in shaped})
    numbers = torch.full((sum(counts),), torch.nan)
    for part, wanted in zip(read, weights, strict=True):
        assert part.keys() == wanted.keys()
        for name, where in part.items():
            numbers[where] = wanted[name]
    shaped = zip(state.items(), numbers.split(counts), strict=True)
    contestant.model.load_state_dict({k: n.view(t.shape) for (k, t), n in shaped})


# The course's


def course_arguments(sizes: Sizes) -> tuple[int, ...]:
    """The arguments of the course's VisionTransformer."""
    s = sizes
    embedding = (s.image_size, s.patch_size, s.in_channels, s.num_classes)
    return *embedding, s.depth, s.dim, s.num_heads, s.mlp_dim


def textbook(sizes: Sizes) -> VisionTransformer:
    """What the chapters up to 08 build."""
    return VisionTransformer(*course_arguments(sizes))


def fast_vit(sizes: Sizes) -> fast.VisionTransformer:
    """The fast form, whose last block is computed for the class token alone."""
    return fast.VisionTransformer(*course_arguments(sizes))


class AllTokens(fast.VisionTransformer):
    """The fast form with all tokens in the last block, as the libraries have it."""

    def __init__(self, sizes: Sizes):
        super().__init__(*course_arguments(sizes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.embedding(images)  # (B, N, D)
        x = fast.encode(self.encoder, x, checkpointing=self.checkpointing)
        return self.head(x[:, 0])  # (B, J)


def parts_of(state: State) -> Weights:
    """The state dict of the course's VisionTransformer, by its parts."""
    return Weights(
        **{
            part: {
                key.removeprefix(f"{part}."): tensor
                for key, tensor in state.items()
                if key.startswith(f"{part}.")
            }
            for part in Weights._fields
        }
    )


# The libraries'


class PyTorchViT(nn.Module):
    """PyTorch's own encoder between the course's patch embedding and a linear head."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        s = sizes
        self.embedding = PatchEmbedding(
            s.image_size, s.patch_size, s.in_channels, s.dim
        )
        self.theirs = library_models.torch_encoder(
            sizes,
            activation="gelu",
            norm_first=True,
            batch_first=True,
            layer_norm_eps=1e-6,
            dropout=0.0,
        )
        self.head = nn.Linear(s.dim, s.num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.theirs(self.embedding(images))[:, 0])


def from_pytorch(state: State) -> Weights:
    """The weights of a PyTorchViT."""
    theirs = {
        key.removeprefix("theirs."): tensor
        for key, tensor in state.items()
        if key.startswith("theirs.")
    }
    return parts_of(state)._replace(encoder=from_torch_encoder(theirs).encoder)


class TransformersViT(nn.Module):
    """transformers' model, of whose output the logits are taken; eps as everywhere."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.theirs = library_models.transformers_vit(
            sizes, layer_norm_eps=1e-6, attn_implementation="sdpa"
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.theirs(images).logits


def read_transformers(state: State) -> Weights:
    """The weights of a TransformersViT."""
    return from_transformers({k.removeprefix("theirs."): t for k, t in state.items()})


def vit_pytorch(sizes: Sizes) -> ViT:
    """vit-pytorch's, changed to compute what the others do.

    By itself it has two more norms in the patch embedding, no bias of queries, keys and
    values, and an eps of 1e-5.
    """
    s = sizes
    model = ViT(
        image_size=s.image_size,
        patch_size=s.patch_size,
        num_classes=s.num_classes,
        dim=s.dim,
        depth=s.depth,
        heads=s.num_heads,
        mlp_dim=s.mlp_dim,
        channels=s.in_channels,
        dim_head=s.dim // s.num_heads,
    )
    embed = model.to_patch_embedding
    embed[1] = embed[3] = nn.Identity()
    for attention, _ in model.transformer.layers:
        attention.to_qkv = nn.Linear(s.dim, 3 * s.dim)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-6
    return model


VIT_PYTORCH = {
    r"to_patch_embedding\.2": "patch_embed.proj",
    r"pos_embedding": "pos_embed",
    r"transformer\.norm": "norm",
    r"mlp_head": "head",
    r"transformer\.layers\.(\d+)\.0\.norm": r"blocks.\1.norm1",
    r"transformer\.layers\.(\d+)\.0\.to_qkv": r"blocks.\1.attn.qkv",
    r"transformer\.layers\.(\d+)\.0\.to_out\.0": r"blocks.\1.attn.proj",
    r"transformer\.layers\.(\d+)\.1\.net\.0": r"blocks.\1.norm2",
    r"transformer\.layers\.(\d+)\.1\.net\.1": r"blocks.\1.mlp.fc1",
    r"transformer\.layers\.(\d+)\.1\.net\.4": r"blocks.\1.mlp.fc2",
}


def from_vit_pytorch(state: State) -> Weights:
    """The weights of `vit_pytorch`, by timm's names; its patches are of 3 channels."""
    renamed = {}
    for key, tensor in state.items():
        for theirs, name in VIT_PYTORCH.items():
            key = re.sub(rf"^{theirs}(?=\.|$)", name, key)
        renamed[key] = tensor
    for key in ("cls_token", "pos_embed"):
        renamed[key] = renamed[key][None]
    kernel = renamed["patch_embed.proj.weight"]  # (D, P·P·C)
    P = round((kernel.shape[1] / 3) ** 0.5)
    kernel = kernel.unflatten(1, (P, P, 3)).permute(0, 3, 1, 2)  # (D, C, P, P)
    renamed["patch_embed.proj.weight"] = kernel
    return from_timm(renamed)


# Equality


def differences(sizes: Sizes) -> dict[str, dict[str, float]]:
    """How far each contestant is from the textbook, in float32 and two random images.

    The largest difference of the logits, and of the gradients of all parameters, each
    divided by the largest number of the textbook's tensor.
    """
    rng = torch.Generator().manual_seed(0)
    side = sizes.image_size
    images = torch.randn(2, sizes.in_channels, side, side, generator=rng)
    labels = torch.randint(sizes.num_classes, (2,), generator=rng)
    found = {name: answer(c, images, labels) for name, c in contestants(sizes).items()}
    logits, gradients = found["textbook"]
    return {
        name: {
            "logits": off(theirs, logits),
            "gradients": max(
                off(part[key], expected)
                for part, right in zip(grads, gradients, strict=True)
                for key, expected in right.items()
            ),
        }
        for name, (theirs, grads) in found.items()
    }


def answer(
    contestant: Contestant, images: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, Weights]:
    """The logits, and the gradients in the course's form."""
    logits = contestant.model.eval()(images)
    F.cross_entropy(logits, labels).backward()
    named = contestant.model.named_parameters()
    return logits.detach(), contestant.read({name: p.grad for name, p in named})


def off(got: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, divided by the largest number that is expected."""
    return ((got - expected).abs().max() / expected.abs().max()).item()
