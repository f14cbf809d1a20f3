"""From the state dicts of other libraries to the course's parts: one function each.

A function renames, transposes and stacks. It accounts for every key: one that is
missing, unexpected or of a wrong shape raises ValueError. `load` puts what comes out
into a model, all or nothing. Nothing is imported from the libraries. What a state dict
does not hold, such as the eps of a LayerNorm, is listed on the page "Why don't my
numbers match?".
"""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from vit_encoder.layer_norm import LayerNorm
from vit_encoder.training import VisionTransformer


class Weights(NamedTuple):
    """State dicts for the parts of a ViT; a part that the source lacks is empty.

    embedding: for PatchEmbedding. encoder: for Encoder. head: for the nn.Linear that
    gives the logits. pre_logits: for the nn.Linear that stands with a tanh before it.
    Tensors may share memory with the source; `load_state_dict` copies them.
    """

    embedding: dict[str, torch.Tensor]
    encoder: dict[str, torch.Tensor]
    pre_logits: dict[str, torch.Tensor]
    head: dict[str, torch.Tensor]


def from_timm(state: Mapping[str, torch.Tensor]) -> Weights:
    """The weights of timm's VisionTransformer.

    state: its state dict. Raises ValueError if the course's parts cannot hold it: with
    average pooling, for example, timm's last norm follows the pooling.
    """
    return _convert(state, "timm's VisionTransformer", PYTORCH, TIMM)


def from_torchvision(state: Mapping[str, torch.Tensor]) -> Weights:
    """The weights of torchvision's VisionTransformer.

    state: its state dict, also with the earlier names of the MLP. Raises ValueError if
    the course's parts cannot hold it.
    """
    source = "torchvision's VisionTransformer"
    return _convert(state, source, PYTORCH, TORCHVISION, TORCHVISION_EARLIER)


def from_transformers(state: Mapping[str, torch.Tensor]) -> Weights:
    """The weights of transformers' ViTModel or ViTForImageClassification.

    state: its state dict, or that of a file, which has the names of earlier versions.
    The pooler of a ViTModel becomes `pre_logits`. The default eps is 1e-12: `set_eps`
    sets it. Raises ValueError if the course's parts cannot hold the state dict.
    """
    state = {key.removeprefix("vit."): value for key, value in _items(state)}
    source = "transformers' ViTModel"
    return _convert(state, source, SEPARATE, TRANSFORMERS, TRANSFORMERS_EARLIER)


def from_jax(arrays: Mapping) -> Weights:
    """The weights of the official JAX code.

    arrays: the arrays of an `.npz` file by name, such as `numpy.load(path)`. The JAX
    code approximates GELU with tanh. Raises ValueError if the course's parts cannot
    hold the arrays.
    """
    state = {key: torch.as_tensor(array) for key, array in _items(arrays)}
    return _convert(state, "the official JAX code", FLAX, JAX)


def from_torch_encoder(state: Mapping[str, torch.Tensor]) -> Weights:
    """The weights of nn.TransformerEncoder, made with a final norm.

    state: its state dict. It looks the same for layers that are no blocks of a ViT;
    those need `norm_first=True`, `activation="gelu"` and `layer_norm_eps=1e-6`.
    Raises ValueError if the course's encoder cannot hold it.
    """
    return _convert(state, "nn.TransformerEncoder", PYTORCH, TORCH_ENCODER)


def from_timm_blocks(state: Mapping[str, torch.Tensor]) -> Weights:
    """The blocks and the last norm of any of timm's VisionTransformers.

    state: its state dict. The embedding and the head are left out, so that models fit
    whose tokens are made or read in another way: with registers, without a class token,
    with attention pooling. Raises ValueError if the course's encoder cannot hold the
    blocks; a LayerScale is to be folded in first, by `fold_layer_scale`.
    """
    encoder = {k: TIMM[k] for k in TIMM if k.startswith(("blocks.", "norm"))}
    own = {k: v for k, v in _items(state) if k.startswith(("blocks.", "norm."))}
    return _convert(own, "the blocks of timm's VisionTransformer", PYTORCH, encoder)


def fold_layer_scale(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same model without LayerScale (Touvron et al. 2021, going deeper).

    state: of timm's VisionTransformer. LayerScale multiplies what a branch adds by γ,
    one number for each feature. The branch ends in a linear layer, so γ can be
    multiplied into that layer's rows: γ ⊙ (W x + b) = (γ ⊙ W) x + γ ⊙ b.
    A state dict without LayerScale comes back as it is.
    """
    state = dict(_items(state))
    for key in [k for k in state if re.fullmatch(r"blocks\.\d+\.ls[12]\.gamma", k)]:
        gamma = state.pop(key)  # (D,)
        layer = key.replace("ls1.gamma", "attn.proj").replace("ls2.gamma", "mlp.fc2")
        state[f"{layer}.weight"] = gamma[:, None] * state[f"{layer}.weight"]
        state[f"{layer}.bias"] = gamma * state[f"{layer}.bias"]
    return state


def load(model: VisionTransformer, weights: Weights, *, head: bool = True) -> None:
    """Copy the weights into the model: all of them, or none if anything does not fit.

    model: keeps its device and dtype. head: False keeps the model's own head, with its
    `pre_logits` if it has one, whatever the source has there.
    Raises ValueError that names every key that is missing, left over or of a wrong
    shape, with what was expected; the model is then as it was.
    """
    wanted = {
        name: value
        for name, value in model.state_dict(keep_vars=True).items()
        if head or not name.startswith(("pre_logits.", "head."))
    }
    given = {
        f"{part}.{name}": value
        for part, state in zip(Weights._fields, weights, strict=True)
        for name, value in state.items()
        if head or part not in ("pre_logits", "head")
    }
    _copy(given, wanted)


def _copy(given: Mapping, wanted: Mapping) -> None:
    """Copy what is given into the parameters; ValueError if there is a difference."""
    faults = [
        f"{name} is missing, expected {tuple(wanted[name].shape)}"
        for name in wanted
        if name not in given
    ]
    faults += [
        f"{name} {tuple(given[name].shape)} is left over: the model has no such layer"
        for name in given
        if name not in wanted
    ]
    faults += [
        f"{name} is {_described(given[name])}, expected {tuple(wanted[name].shape)}"
        for name in wanted
        if name in given and not _can_be_copied(given[name], wanted[name])
    ]
    if faults:
        hints = [hint for word, hint in HINTS.items() if any(word in f for f in faults)]
        more = [f"and {len(faults) - MOST_FAULTS} more"] * (len(faults) > MOST_FAULTS)
        lines = [*faults[:MOST_FAULTS], *more, *hints]
        raise ValueError(
            "expected weights that fit the model; nothing was loaded:\n  "
            + "\n  ".join(lines)
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(given[name])


def load_part(part: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Copy weights into one part: all of them, or none if anything does not fit.

    part: an embedding or an encoder. It may differ from the course's as the exercises
    allow: with `query`, `key` and `value` for `qkv`, or a convolution for the linear
    layer on patches. It keeps its device and dtype. state: such as Weights.encoder.
    Raises ValueError that names every key that is missing, left over or of a wrong
    shape; the part is then as it was.
    """
    wanted, given = dict(part.named_parameters()), {}
    for name, value in state.items():
        before, joined, after = name.rpartition("qkv.")
        if joined and f"{before}query.{after}" in wanted:
            thirds = zip(("query", "key", "value"), value.chunk(3), strict=True)
            given |= {f"{before}{own}.{after}": third for own, third in thirds}
        elif name in wanted and wanted[name].dim() == 4:  # D (C P P) -> D C P P
            fits = wanted[name][0].numel() == value[0].numel()
            given[name] = value.view_as(wanted[name]) if fits else value
        else:
            given[name] = value
    _copy(given, wanted)


MOST_FAULTS = 8  # that a message lists
HINTS = {
    "pos_embed is": "Another image size? See vit_encoder.interpolate_positions.",
    "pre_logits.": "Another head? head=False keeps the model's own.",
    "head.weight": "Other classes? head=False keeps the model's own head.",
}


def _can_be_copied(value: torch.Tensor, parameter: torch.Tensor) -> bool:
    """It has the parameter's shape, and real numbers."""
    fits = value.shape == parameter.shape and value.is_floating_point()
    return fits and not value.is_meta


def _described(value: torch.Tensor) -> str:
    """Shape, and the dtype where that is what does not fit."""
    if value.is_meta:
        return f"{tuple(value.shape)} without numbers, on the device meta,"
    dtype = "" if value.is_floating_point() else f" of {value.dtype}"
    return f"{tuple(value.shape)}{dtype}"


def set_eps(module: nn.Module, eps: float) -> None:
    """Give every LayerNorm in the module this eps. Raises ValueError if it has none."""
    norms = [m for m in module.modules() if isinstance(m, LayerNorm | nn.LayerNorm)]
    if not norms:
        raise ValueError(f"expected a module with LayerNorms, got {module}")
    for norm in norms:
        norm.eps = eps


def first_difference(
    layers: list[torch.Tensor], expected: list[torch.Tensor], tolerance: float
) -> int | None:
    """The index of the first layer with a number that is off by more than tolerance.

    layers, expected: as many tensors. nan and another shape are differences, too.
    None if there is no difference.
    """
    for index, (layer, right) in enumerate(zip(layers, expected, strict=True)):
        if layer.shape != right.shape:
            return index
        if not (layer - right).abs().max() <= tolerance:
            return index
    return None


# The axes of the parameters of each layer. `D M -> M D`: stored as (D, M), wanted as
# (M, D); brackets merge axes. C channels, P patch side, N tokens, D width, h heads,
# M hidden width, R width of pre_logits, J classes, # the number of a block from 0.
PYTORCH = {
    "embedding.cls_token": {"": "1 1 D"},
    "embedding.pos_embed": {"": "1 N D"},
    "embedding.proj": {"weight": "D C P P' -> D (C P P')", "bias": "D"},
    "blocks.#.norm1": {"weight": "D", "bias": "D"},
    "blocks.#.attn.qkv": {"weight": "3D D", "bias": "3D"},
    "blocks.#.attn.proj": {"weight": "D D", "bias": "D"},
    "blocks.#.norm2": {"weight": "D", "bias": "D"},
    "blocks.#.mlp.fc1": {"weight": "M D", "bias": "M"},
    "blocks.#.mlp.fc2": {"weight": "D M", "bias": "D"},
    "norm": {"weight": "D", "bias": "D"},
    "pre_logits": {"weight": "R D", "bias": "R"},
    "head": {"weight": "J R", "bias": "J"},
}
SEPARATE = PYTORCH | {"blocks.#.attn.qkv": {"weight": "D D", "bias": "D"}}
FLAX = {
    "embedding.cls_token": {"": "1 1 D"},
    "embedding.pos_embed": {"": "1 N D"},
    "embedding.proj": {"kernel": "P P' C D -> D (C P P')", "bias": "D"},
    "blocks.#.norm1": {"scale": "D", "bias": "D"},
    "blocks.#.attn.qkv": {
        "kernel": "D h D/h -> (h D/h) D",
        "bias": "h D/h -> (h D/h)",
    },
    "blocks.#.attn.proj": {"kernel": "h D/h D -> D (h D/h)", "bias": "D"},
    "blocks.#.norm2": {"scale": "D", "bias": "D"},
    "blocks.#.mlp.fc1": {"kernel": "D M -> M D", "bias": "M"},
    "blocks.#.mlp.fc2": {"kernel": "M D -> D M", "bias": "D"},
    "norm": {"scale": "D", "bias": "D"},
    "pre_logits": {"kernel": "D R -> R D", "bias": "R"},
    "head": {"kernel": "R J -> J R", "bias": "J"},
}

# The name of each layer in a library; several are stacked in their order.
TIMM = {
    "embedding.cls_token": ["cls_token"],
    "embedding.pos_embed": ["pos_embed"],
    "embedding.proj": ["patch_embed.proj."],
    "blocks.#.norm1": ["blocks.#.norm1."],
    "blocks.#.attn.qkv": ["blocks.#.attn.qkv."],
    "blocks.#.attn.proj": ["blocks.#.attn.proj."],
    "blocks.#.norm2": ["blocks.#.norm2."],
    "blocks.#.mlp.fc1": ["blocks.#.mlp.fc1."],
    "blocks.#.mlp.fc2": ["blocks.#.mlp.fc2."],
    "norm": ["norm."],
    "head": ["head."],
}
TORCHVISION = {
    "embedding.cls_token": ["class_token"],
    "embedding.pos_embed": ["encoder.pos_embedding"],
    "embedding.proj": ["conv_proj."],
    "blocks.#.norm1": ["encoder.layers.encoder_layer_#.ln_1."],
    "blocks.#.attn.qkv": ["encoder.layers.encoder_layer_#.self_attention.in_proj_"],
    "blocks.#.attn.proj": ["encoder.layers.encoder_layer_#.self_attention.out_proj."],
    "blocks.#.norm2": ["encoder.layers.encoder_layer_#.ln_2."],
    "blocks.#.mlp.fc1": ["encoder.layers.encoder_layer_#.mlp.0."],
    "blocks.#.mlp.fc2": ["encoder.layers.encoder_layer_#.mlp.3."],
    "norm": ["encoder.ln."],
    "pre_logits": ["heads.pre_logits."],
    "head": ["heads.head."],
}
TORCHVISION_EARLIER = TORCHVISION | {
    "blocks.#.mlp.fc1": ["encoder.layers.encoder_layer_#.mlp.linear_1."],
    "blocks.#.mlp.fc2": ["encoder.layers.encoder_layer_#.mlp.linear_2."],
}
TRANSFORMERS = {
    "embedding.cls_token": ["embeddings.cls_token"],
    "embedding.pos_embed": ["embeddings.position_embeddings"],
    "embedding.proj": ["embeddings.patch_embeddings.projection."],
    "blocks.#.norm1": ["layers.#.layernorm_before."],
    "blocks.#.attn.qkv": [f"layers.#.attention.{x}_proj." for x in "qkv"],
    "blocks.#.attn.proj": ["layers.#.attention.o_proj."],
    "blocks.#.norm2": ["layers.#.layernorm_after."],
    "blocks.#.mlp.fc1": ["layers.#.mlp.fc1."],
    "blocks.#.mlp.fc2": ["layers.#.mlp.fc2."],
    "norm": ["layernorm."],
    "pre_logits": ["pooler.dense."],
    "head": ["classifier."],
}
TRANSFORMERS_EARLIER = TRANSFORMERS | {
    "blocks.#.norm1": ["encoder.layer.#.layernorm_before."],
    "blocks.#.attn.qkv": [
        f"encoder.layer.#.attention.attention.{x}." for x in ("query", "key", "value")
    ],
    "blocks.#.attn.proj": ["encoder.layer.#.attention.output.dense."],
    "blocks.#.norm2": ["encoder.layer.#.layernorm_after."],
    "blocks.#.mlp.fc1": ["encoder.layer.#.intermediate.dense."],
    "blocks.#.mlp.fc2": ["encoder.layer.#.output.dense."],
}
TORCH_ENCODER = {
    "blocks.#.norm1": ["layers.#.norm1."],
    "blocks.#.attn.qkv": ["layers.#.self_attn.in_proj_"],
    "blocks.#.attn.proj": ["layers.#.self_attn.out_proj."],
    "blocks.#.norm2": ["layers.#.norm2."],
    "blocks.#.mlp.fc1": ["layers.#.linear1."],
    "blocks.#.mlp.fc2": ["layers.#.linear2."],
    "norm": ["norm."],
}
_BLOCK = "Transformer/encoderblock_#/"
_ATTENTION = f"{_BLOCK}MultiHeadDotProductAttention_1/"
JAX = {
    "embedding.cls_token": ["cls"],
    "embedding.pos_embed": ["Transformer/posembed_input/pos_embedding"],
    "embedding.proj": ["embedding/"],
    "blocks.#.norm1": [f"{_BLOCK}LayerNorm_0/"],
    "blocks.#.attn.qkv": [f"{_ATTENTION}{x}/" for x in ("query", "key", "value")],
    "blocks.#.attn.proj": [f"{_ATTENTION}out/"],
    "blocks.#.norm2": [f"{_BLOCK}LayerNorm_2/"],
    "blocks.#.mlp.fc1": [f"{_BLOCK}MlpBlock_3/Dense_0/"],
    "blocks.#.mlp.fc2": [f"{_BLOCK}MlpBlock_3/Dense_1/"],
    "norm": ["Transformer/encoder_norm/"],
    "pre_logits": ["pre_logits/"],
    "head": ["head/"],
}
OPTIONAL = ("pre_logits", "head")


def _items(state: Mapping) -> list[tuple]:
    """Names and values. Raises TypeError for what has none, such as a model."""
    if not isinstance(state, Mapping):
        raise TypeError(f"expected a state dict, got {type(state).__name__}")
    return list(state.items())


def _convert(state: Mapping, source: str, layout: dict, *namings: dict) -> Weights:
    """Rename, check and rearrange every tensor of a state dict."""
    state = dict(_items(state))
    rows = [_rows(state, layout, names) for names in namings]
    rows = min(rows, key=lambda rows: len(state.keys() ^ _keys(rows)))
    _require_same_keys(state.keys(), _keys(rows), source)
    parts = {part: {} for part in Weights._fields}
    sizes = {"": 1}
    for name, (keys, axes) in rows.items():
        if name == "head.weight":
            sizes.setdefault("R", sizes["D"])  # the head reads the encoder directly
        tensors = [_rearrange(state[key], axes, sizes, key) for key in keys]
        part, _, rest = name.partition(".")
        if part not in parts:
            part, rest = "encoder", name
        parts[part][rest] = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
    return Weights(**parts)


def _rows(state: Mapping, layout: dict, names: dict) -> dict[str, tuple]:
    """The course's names → the keys that hold the parameter, and their axes."""
    before, _, _ = names["blocks.#.norm1"][0].partition("#")
    numbers = {
        m[1] for key in state if (m := re.match(rf"{re.escape(before)}(\d+)\D", key))
    }
    rows = {}
    for layer in (layer for layer in layout if layer in names):
        if layer in OPTIONAL and not any(k.startswith(names[layer][0]) for k in state):
            continue
        for i in range(len(numbers) or 1) if "#" in layer else (0,):
            for word, axes in layout[layer].items():
                own = {"kernel": "weight", "scale": "weight"}.get(word, word)
                name = f"{layer}.{own}".rstrip(".").replace("#", str(i))
                keys = [f"{n}{word}".replace("#", str(i)) for n in names[layer]]
                rows[name] = keys, axes
    return rows


def _keys(rows: dict[str, tuple]) -> set[str]:
    """All keys that the rows read."""
    return {key for keys, _ in rows.values() for key in keys}


def _require_same_keys(found: set, expected: set, source: str) -> None:
    """Raise ValueError if a key is missing or unexpected."""
    faults = [
        f"{len(keys)} {word}: {', '.join(sorted(keys)[:4])}{', …' * (len(keys) > 4)}"
        for word, keys in (
            ("missing", expected - found),
            ("unexpected", found - expected),
        )
        if keys
    ]
    if faults:
        raise ValueError(f"expected the keys of {source}, got {'; '.join(faults)}")


def _rearrange(tensor: torch.Tensor, axes: str, sizes: dict, key: str) -> torch.Tensor:
    """Put the axes of a tensor in the course's order.

    axes: as in the tables. sizes: of the axes seen so far, and those learned here.
    Raises ValueError if the shape does not fit.
    """
    stored, _, wanted = axes.partition(" -> ")
    stored = stored.split()
    fits = tensor.dim() == len(stored) and all(
        _fits(axis, size, sizes)
        for axis, size in zip(stored, tensor.shape, strict=True)
    )
    if not fits:
        known = ", ".join(f"{n} = {s}" for n, s in sizes.items() if n and n in axes)
        raise ValueError(
            f"expected {key} of shape ({', '.join(stored)})"
            f"{f' with {known}' if known else ''}, got {tuple(tensor.shape)}"
        )
    if not wanted:
        return tensor
    groups = [
        [stored.index(axis) for axis in (merged or single).split()]
        for merged, single in re.findall(r"\((.+?)\)|(\S+)", wanted)
    ]
    order = [axis for group in groups for axis in group]
    shape = [math.prod(tensor.shape[axis] for axis in group) for group in groups]
    return tensor.permute(order).reshape(shape)


def _fits(axis: str, size: int, sizes: dict) -> bool:
    """Whether an axis such as 3D, D/h, P' or 1 has its size; a new name learns it."""
    count, name, divisor = re.match(r"(\d*)([A-Za-z]*)'?/?(\w*)", axis).groups()
    known = sizes.setdefault(name, size)
    return size * sizes[divisor] == int(count or 1) * known
