"""Measure how libraries differ, and write book/library_differences.json.

The page "Why don't my numbers match?" is made from that file. It holds the size of each
difference's effect, what the libraries' blocks do when they run, and their initial
values. Nothing is downloaded. The JAX code is not run: what stands there of it was read
in its source, and its initial values are drawn by the rules read there.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from inspect import signature
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

import library_effects
import library_models
from library_differences import FILE
from library_effects import CHANGES, measure_changes, measure_eager
from library_models import (
    CourseViT,
    Sizes,
    timm_vit,
    torch_encoder,
    torchvision_vit,
    transformers_vit,
)
from vit_encoder import attention, split_heads
from vit_encoder.loading import (
    Weights,
    from_timm,
    from_torch_encoder,
    from_torchvision,
    from_transformers,
)

# isort: split

import timm.data
from timm.layers import lecun_normal_
from torchvision.models import ViT_B_16_Weights
from transformers import ViTImageProcessor

LIBRARIES = ("torch", "timm", "torchvision", "transformers")
SCRIPTS = (__file__, library_effects.__file__, library_models.__file__)


def main() -> None:
    """Measure everything and write the file."""
    measured = {
        "scripts": digest(),
        "versions": versions(),
        "effects": effects(),
        "blocks": blocks(),
        "dropout": dropout_sites(),
        "initial": initial_values(),
        "pixels": pixels(),
    }
    text = json.dumps(measured, indent=2, ensure_ascii=False)
    FILE.write_text(text + "\n", encoding="utf-8")


def digest() -> str:
    """What tells this version of the scripts from others."""
    content = b"".join(Path(script).read_bytes() for script in SCRIPTS)
    return hashlib.sha256(content).hexdigest()[:16]


def versions() -> dict[str, str]:
    """The libraries' versions, without the name of the build."""
    return {name: version(name).partition("+")[0] for name in LIBRARIES}


def rounded(value: float, digits: int = 2) -> float:
    """The value with so many significant digits."""
    return float(f"{value:.{digits}g}")


# The size of the effects.


def effects() -> list[dict]:
    """Each difference, its section on the page, and its size for both weights."""
    found = {}
    for weights in ("random", "initial"):
        found[weights] = measure_changes(CHANGES, weights)
        found[weights]["eager attention of transformers"] = measure_eager(weights)
    return [
        {
            "change": name,
            "section": CHANGES[name][0] if name in CHANGES else "rounding",
            **{weights: rounded(sizes[name]) for weights, sizes in found.items()},
        }
        for name in found["random"]
    ]


# What a block does: the functions of PyTorch that it calls are recorded.

SMALL = Sizes(
    image_size=12,
    patch_size=4,
    in_channels=3,
    depth=1,
    dim=30,
    num_heads=5,
    mlp_dim=70,
    num_classes=11,
)
ACTIVATIONS = {"none": "erf GELU", "tanh": "tanh GELU", "relu": "ReLU"}


class Recorder(TorchFunctionMode):
    """Keeps all calls of PyTorch's functions: the name, and the arguments by name."""

    def __init__(self):
        super().__init__()
        self.calls: list[tuple[str, dict]] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        named = dict(zip(POSITIONAL.get(name, ()), args, strict=False)) | kwargs
        self.calls.append((name, named))
        return func(*args, **kwargs)


POSITIONAL = {
    function.__name__: tuple(signature(function).parameters)
    for function in (F.dropout, F.layer_norm, F.multi_head_attention_forward)
} | {"linear": ("input", "weight")}
ATTENTION = ("scaled_dot_product_attention", "multi_head_attention_forward")


def calls_of(build: Callable, **options) -> list[tuple[str, dict]]:
    """What a model of one block calls in training."""
    model = build(SMALL, **options).train()
    shape = (2, 7, SMALL.dim) if build is torch_encoder else (2, 3, 12, 12)
    with Recorder() as recorder:
        model(torch.randn(shape))
    return recorder.calls


def dropout_by_site(calls: list[tuple[str, dict]]) -> dict[str, float]:
    """The probability of each dropout, by the place where it stands."""
    found, site = {}, "positions"
    for name, given in calls:
        if name in ATTENTION:
            found["weights"] = given["dropout_p"]
            site = "projection"
        elif name in ("gelu", "relu"):
            site = "GELU"
        elif name == "linear" and given["weight"].shape[1] == SMALL.mlp_dim:
            site = "fc2"
        elif name == "dropout":
            pooled = given["input"].dim() == 2
            found["head" if pooled else site] = given["p"]
    return found


def describe_block(build: Callable, **options) -> dict:
    """Where the norms of a model stand, their eps, its activation and its dropout."""
    calls = calls_of(build, **options)
    order = [n for n, _ in calls if n == "layer_norm" or n in ATTENTION]
    norms = [given for name, given in calls if name == "layer_norm"]
    (eps,) = {norm["eps"] for norm in norms}
    (activation,) = {
        given.get("approximate", "none") if name == "gelu" else name
        for name, given in calls
        if name in ("gelu", "relu")
    }
    last_norm = "tokens" if norms[-1]["input"].dim() == 3 else "mean"
    return {
        "norms": "pre" if order[0] == "layer_norm" else "post",
        "eps": eps,
        "activation": ACTIVATIONS[activation],
        "last norm": last_norm if len(norms) == 3 else "none",
        "dropout": max(dropout_by_site(calls).values()),
    }


# Read in the source: https://github.com/google-research/vision_transformer at c6de1e5.
JAX_BLOCK = {
    "norms": "pre",
    "eps": 1e-6,
    "activation": "tanh GELU",
    "last norm": "tokens",
    "dropout": 0.1,
}
JAX_DROPOUT = {
    "positions": "dropout_rate",
    "weights": "attention_dropout_rate",
    "projection": "dropout_rate",
    "GELU": "dropout_rate",
    "fc2": "dropout_rate",
}
JAX_PIXELS = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "resize": "224 × 224",
    "interpolation": "bilinear",
}


def blocks() -> dict[str, dict]:
    """What the models do by default."""
    return {
        "JAX code": JAX_BLOCK,
        "timm": describe_block(timm_vit),
        "timm, average pooling": describe_block(timm_vit, global_pool="avg"),
        "torchvision": describe_block(torchvision_vit),
        "transformers": describe_block(transformers_vit),
        "PyTorch": describe_block(torch_encoder, last_norm=False),
    }


DROPOUT_OPTIONS = {
    "timm": (
        timm_vit,
        ("pos_drop_rate", "attn_drop_rate", "proj_drop_rate", "drop_rate"),
    ),
    "torchvision": (torchvision_vit, ("dropout", "attention_dropout")),
    "transformers": (
        transformers_vit,
        ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    ),
    "PyTorch": (torch_encoder, ("dropout",)),
}


def dropout_sites() -> dict[str, dict[str, str]]:
    """The places where a model has dropout, and the option that sets it there."""
    found = {"JAX code": JAX_DROPOUT}
    for library, (build, options) in DROPOUT_OPTIONS.items():
        given = {option: (i + 1) / 10 for i, option in enumerate(options)}
        sites = dropout_by_site(calls_of(build, **given))
        named = {p: option for option, p in given.items()}
        found[library] = {site: named[p] for site, p in sites.items()}
    return found


# Initial values, at the width of ViT-B/16.

BASE = replace(Sizes(), depth=2, dim=768, num_heads=12, mlp_dim=3072)


def initial_values() -> dict[str, dict]:
    """The spread of the initial parameters, and the entropy of the first attention."""
    built = {
        "JAX code": partial(jax_initial, BASE),
        "timm": lambda: from_timm(timm_vit(BASE).state_dict()),
        "timm, jax mode": lambda: from_timm(
            timm_vit(BASE, weight_init="jax").state_dict()
        ),
        "torchvision": lambda: from_torchvision(torchvision_vit(BASE).state_dict()),
        "transformers": lambda: from_transformers(transformers_vit(BASE).state_dict()),
        "PyTorch": lambda: from_torch_encoder(torch_encoder(BASE).state_dict()),
        "this course": partial(course_initial, BASE),
    }
    found = {}
    for library, build in built.items():
        torch.manual_seed(0)
        found[library] = describe_initial(build())
    return found


def describe_initial(weights: Weights) -> dict:
    """Standard deviations of the parameters; the entropy of the first block's weights.

    What enters the block's attention are random tokens after a LayerNorm, N = 197.
    """
    first, second = (
        {
            name.removeprefix(f"blocks.{i}."): value
            for name, value in weights.encoder.items()
            if name.startswith(f"blocks.{i}.")
        }
        for i in (0, 1)
    )
    tensors = {
        "qkv": first["attn.qkv.weight"],
        "proj": first["attn.proj.weight"],
        "fc1": first["mlp.fc1.weight"],
        "fc2": first["mlp.fc2.weight"],
        "patches": weights.embedding.get("proj.weight"),
        "class token": weights.embedding.get("cls_token"),
        "positions": weights.embedding.get("pos_embed"),
        "head": weights.head.get("weight"),
    }
    return {
        **{
            name: spread(tensor)
            for name, tensor in tensors.items()
            if tensor is not None
        },
        "entropy": rounded(entropy(first["attn.qkv.weight"]), 3),
        "equal blocks": all(torch.equal(first[name], second[name]) for name in first),
    }


def spread(tensor: torch.Tensor) -> float:
    """The standard deviation, with the digits that so many numbers can give."""
    return rounded(tensor.std().item(), 3 if tensor.numel() > 10**5 else 2)


def entropy(qkv: torch.Tensor) -> float:
    """The mean entropy in nats of the attention of 197 random, normalized tokens."""
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randn(4, 197, BASE.dim, generator=rng)
    x = F.layer_norm(tokens, (BASE.dim,))  # (B, N, D)
    q, k, v = (
        split_heads(part, BASE.num_heads) for part in F.linear(x, qkv).chunk(3, -1)
    )
    _, weights = attention(q, k, v)  # (B, h, N, N)
    return -(weights * weights.log()).sum(-1).mean().item()


def course_initial(sizes: Sizes) -> Weights:
    """The course's own initial values."""
    model = CourseViT(sizes)
    return Weights(
        model.embedding.state_dict(),
        model.encoder.state_dict(),
        {},
        model.head.state_dict(),
    )


def jax_initial(sizes: Sizes) -> Weights:
    """The initial values of the JAX code, drawn by the rules in its source.

    Each of query, key, value and out is Glorot uniform as a matrix (D, D). The patch
    kernel has the default of Flax, LeCun normal.
    """
    weights = course_initial(sizes)
    for name, tensor in weights.encoder.items():
        if name.endswith("qkv.weight"):
            for part in tensor.chunk(3):
                nn.init.xavier_uniform_(part)
        elif tensor.dim() == 2:
            nn.init.xavier_uniform_(tensor)
    lecun_normal_(weights.embedding["proj.weight"])
    nn.init.zeros_(weights.embedding["cls_token"])
    nn.init.normal_(weights.embedding["pos_embed"], std=0.02)
    nn.init.zeros_(weights.head["weight"])
    return weights


# How pixels are prepared.


def pixels() -> dict[str, dict]:
    """What each library does with an image before a ViT-B/16 of 224 pixels sees it."""
    config = timm.get_pretrained_cfg("vit_base_patch16_224").to_dict()
    config = timm.data.resolve_data_config(pretrained_cfg=config)
    resize, cut, *_ = timm.data.create_transform(**config).transforms
    theirs = ViT_B_16_Weights.DEFAULT.transforms()
    processor = ViTImageProcessor()
    return {
        "JAX code": JAX_PIXELS,
        "timm": {
            "mean": list(config["mean"]),
            "std": list(config["std"]),
            "resize": f"{resize.size}, cut to {cut.size[0]}",
            "interpolation": config["interpolation"],
        },
        "torchvision": {
            "mean": theirs.mean,
            "std": theirs.std,
            "resize": f"{theirs.resize_size[0]}, cut to {theirs.crop_size[0]}",
            "interpolation": theirs.interpolation.value,
        },
        "transformers": {
            "mean": list(processor.image_mean),
            "std": list(processor.image_std),
            "resize": f"{processor.size.height} × {processor.size.width}",
            "interpolation": processor.resample.name.lower(),
        },
    }


if __name__ == "__main__":
    main()
