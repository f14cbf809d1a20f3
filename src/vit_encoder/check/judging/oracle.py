"""What is right, in float64, written apart from the course's parts.

A module is a function of its input and of `get`, which gives a parameter by its name; a
bias that an answer does not have is 0. `oracle_of` makes of it what a task needs, and
`oracle_of_function` of a function.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vit_encoder.check.hearing.data import Question
from vit_encoder.check.judging.questions import Normal, double, finish

EPS = 1e-6
Get = Callable[[str], Tensor]


def exact(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Attention by indices: output (..., N_q, D_v) and weights (..., N_q, N_k)."""
    scores = torch.einsum("...nd,...md->...nm", q * q.shape[-1] ** -0.5, k)
    weights = (scores - scores.logsumexp(-1, keepdim=True)).exp()
    return torch.einsum("...nm,...mv->...nv", weights, v), weights


def linear(x: Tensor, get: Get, name: str) -> Tensor:
    """x Wᵀ + b over the last axis."""
    weight = get(f"{name}.weight")
    return torch.einsum("...i,oi->...o", x, weight) + get(f"{name}.bias")


def single_head(x: Tensor, get: Get, prefix: str = "") -> Tensor:
    """One head of self-attention, (B, N, D) to (B, N, D_h)."""
    q, k, v = (linear(x, get, f"{prefix}{n}") for n in ("query", "key", "value"))
    return exact(q, k, v)[0]


def multi_head(x: Tensor, get: Get, num_heads: int, prefix: str = "") -> Tensor:
    """Multi-head self-attention, head by head, (B, N, D) to (B, N, D)."""
    q, k, v = (
        linear(x, get, f"{prefix}{n}").chunk(num_heads, -1)
        for n in ("query", "key", "value")
    )
    heads = [exact(*qkv)[0] for qkv in zip(q, k, v, strict=True)]
    return linear(torch.cat(heads, -1), get, f"{prefix}proj")


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = EPS) -> Tensor:
    """LayerNorm over the last axis."""
    variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    return (x - mean) * (variance + eps).rsqrt() * weight + bias


def norm(x: Tensor, get: Get, name: str) -> Tensor:
    """LayerNorm with the parameters of that name."""
    return layer_norm(x, get(f"{name}.weight"), get(f"{name}.bias"))


def gelu(x: Tensor) -> Tensor:
    """x Φ(x)."""
    return x * torch.special.ndtr(x)


def mlp(x: Tensor, get: Get, prefix: str = "") -> Tensor:
    """Linear, GELU, linear."""
    return linear(gelu(linear(x, get, f"{prefix}fc1")), get, f"{prefix}fc2")


def encoder_block(x: Tensor, get: Get, num_heads: int, prefix: str = "") -> Tensor:
    """A pre-norm block without dropout."""
    x = x + multi_head(norm(x, get, f"{prefix}norm1"), get, num_heads, f"{prefix}attn.")
    return x + mlp(norm(x, get, f"{prefix}norm2"), get, f"{prefix}mlp.")


def encoder(x: Tensor, get: Get, depth: int, num_heads: int) -> Tensor:
    """The blocks, then the final LayerNorm."""
    for i in range(depth):
        x = encoder_block(x, get, num_heads, f"blocks.{i}.")
    return norm(x, get, "norm")


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """(B, C, H, W) to (B, n, C·P·P)."""
    return F.unfold(images, patch_size, stride=patch_size).mT


def patch_embedding(images: Tensor, get: Get, patch_size: int) -> Tensor:
    """Patches, projection, class token, positions: (B, C, H, W) to (B, N, D)."""
    weight = get("proj.weight").unflatten(1, (-1, patch_size, patch_size))
    x = F.conv2d(images, weight, get("proj.bias"), stride=patch_size)  # (B, D, ·, ·)
    first = get("cls_token").expand(len(images), -1, -1)
    return torch.cat([first, x.flatten(2).mT], 1) + get("pos_embed")


def oracle_of(compute: Callable) -> Callable:
    """The oracle of a module's task.

    compute: the inputs, get, and what the module is built with, by name → output.
    """

    def oracle(question: Question, taken: tuple[str, ...]) -> tuple:
        inputs = {f"input {i}": double(x) for i, x in enumerate(question.inputs)}
        leaves = inputs | {name: double(question.parameters[name]) for name in taken}

        def get(name: str) -> Tensor:
            if name in leaves:
                return leaves[name]
            value = question.parameters[name].double()
            return torch.zeros_like(value) if name.endswith("bias") else value

        output = compute(*inputs.values(), get, **question.arguments)
        return finish(question, leaves, (output,))

    return oracle


def oracle_of_function(compute: Callable) -> Callable:
    """The oracle of a function's task.

    compute: the inputs, with tensors of floating point as float64 → an output or more,
    the first of which has a gradient for each of these tensors.
    """

    def oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
        leaves = {
            f"input {i}": double(x)
            for i, x in enumerate(question.inputs)
            if isinstance(x, Tensor) and x.is_floating_point()
        }
        given = (leaves.get(f"input {i}", x) for i, x in enumerate(question.inputs))
        outputs = compute(*given)
        return finish(
            question, leaves, outputs if isinstance(outputs, tuple) else (outputs,)
        )

    return oracle


# Random parameters, large enough to matter: an error in one shows in the output.


def linear_parameters(
    normal: Normal, name: str, outputs: int, inputs: int
) -> dict[str, Tensor]:
    """The weight (outputs, inputs) and bias (outputs,) of a linear layer."""
    return {
        f"{name}.weight": normal(outputs, inputs) / math.sqrt(inputs),
        f"{name}.bias": normal(outputs) / 2,
    }


def norm_parameters(normal: Normal, name: str, dim: int) -> dict[str, Tensor]:
    """The gain and bias of a LayerNorm."""
    return {f"{name}.weight": 1 + normal(dim) / 2, f"{name}.bias": normal(dim) / 2}


def attention_parameters(
    normal: Normal, dim: int, prefix: str = ""
) -> dict[str, Tensor]:
    """Those of multi-head self-attention."""
    parameters = {}
    for name in ("query", "key", "value", "proj"):
        parameters |= linear_parameters(normal, f"{prefix}{name}", dim, dim)
    return parameters


def block_parameters(
    normal: Normal, dim: int, mlp_dim: int, prefix: str = ""
) -> dict[str, Tensor]:
    """Those of an encoder block."""
    return {
        **norm_parameters(normal, f"{prefix}norm1", dim),
        **attention_parameters(normal, dim, f"{prefix}attn."),
        **norm_parameters(normal, f"{prefix}norm2", dim),
        **linear_parameters(normal, f"{prefix}mlp.fc1", mlp_dim, dim),
        **linear_parameters(normal, f"{prefix}mlp.fc2", dim, mlp_dim),
    }
