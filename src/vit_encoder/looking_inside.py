"""10 Looking inside: what chapter 10_looking_inside builds."""

# Generated from chapters/10_looking_inside.md by `make sync`. Do not edit.
# Seal: 52e104b44e1c17e4

import math

import torch

from vit_encoder.arguments import require_probability, require_whole
from vit_encoder.multi_head import split_heads
from vit_encoder.self_attention import attention
from vit_encoder.training import VisionTransformer


@torch.no_grad()
def attention_maps(model: VisionTransformer, images: torch.Tensor) -> torch.Tensor:
    """The weights of all heads: images (B, C, H, W) → (L, B, h, N, N).

    The model runs as it is. The hooks that listen to it are removed afterwards, also
    where it raises an error.
    """
    maps = []

    def listen(attn, inputs, _):
        q, k, v = attn.qkv(inputs[0]).chunk(3, dim=-1)  # each (B, N, D)
        q, k, v = (split_heads(t, attn.num_heads) for t in (q, k, v))
        maps.append(attention(q, k, v)[1])  # (B, h, N, N)

    hooks = [b.attn.register_forward_hook(listen) for b in model.encoder.blocks]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(maps)


def attention_distance(maps: torch.Tensor, patch_size: int) -> torch.Tensor:
    """How far heads look, in pixels (Dosovitskiy et al. 2021, section 4.5).

    maps: weights (..., N, N), the class token first, the n patches row by row in a
    square grid. patch_size: P. Returns (...): the mean over the patches as queries.
    Class token and its column are left out, and each row is divided by what is left.
    Raises ValueError if n is no square number.
    """
    require_whole(patch_size, "patch_size")
    weights = maps[..., 1:, 1:]  # (..., n, n)
    side = math.isqrt(weights.shape[-1])
    if side**2 != weights.shape[-1]:
        raise ValueError(f"expected a square grid, got {weights.shape[-1]} patches")
    steps = torch.arange(side, device=maps.device, dtype=maps.dtype) * patch_size
    places = torch.cartesian_prod(steps, steps)  # (n, 2), row and column
    apart = (places[:, None] - places).square().sum(-1).sqrt()  # (n, n)
    far = (weights * apart).sum(-1) / weights.sum(-1)  # (..., n)
    return far.mean(-1)


def attention_entropy(maps: torch.Tensor) -> torch.Tensor:
    """How widely queries spread their weights, in nats: (..., N_q, N_k) → (..., N_q).

    From 0, one key gets everything, to ln N_k, all get the same.
    """
    return torch.special.entr(maps).sum(-1)  # 0 ln 0 counts as 0


def rollout(maps: torch.Tensor, identity: float = 0.5) -> torch.Tensor:
    """Attention through all layers (Abnar and Zuidema 2020): (B, N, N).

    maps: weights (L, B, h, N, N), the first layer first. identity: the share of
    the residual connection in each layer, from 0 to 1. Entry (i, j) is the share of
    input token j in output token i, so that each row sums to 1.
    """
    require_probability(identity, "identity")
    eye = torch.eye(maps.shape[-1], device=maps.device, dtype=maps.dtype)
    result = eye
    for layer in maps.mean(dim=2):  # (B, N, N)
        result = ((1 - identity) * layer + identity * eye) @ result
    return result


@torch.no_grad()
def residual_stream(model: VisionTransformer, images: torch.Tensor) -> torch.Tensor:
    """The tokens before the first block and after each: (L + 1, B, N, D)."""
    x = model.embedding(images)  # (B, N, D)
    stream = [x]
    for block in model.encoder.blocks:
        x = block(x)
        stream.append(x)
    return torch.stack(stream)


@torch.no_grad()
def logit_lens(model: VisionTransformer, stream: torch.Tensor) -> torch.Tensor:
    """What the head reads from the class token of each layer (nostalgebraist 2020).

    stream: (L + 1, B, N, D), as `residual_stream` gives it. Returns (L + 1, B, J);
    the last of them are the model's logits. Raises ValueError for a model whose head
    does not read the class token alone.
    """
    if model.pool != "cls" or model.pre_logits is not None:
        raise ValueError('expected a model with pool "cls" and no pre_logits')
    return model.head(model.encoder.norm(stream)[:, :, 0])
