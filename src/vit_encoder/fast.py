"""11 Making it fast: what chapter 11_making_it_fast builds."""

# Generated from chapters/11_making_it_fast.md by `make sync`. Do not edit.
# Seal: 01b149dc6fda3abf

import math

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from vit_encoder import encoder as textbook
from vit_encoder import training
from vit_encoder.arguments import require_tokens, require_whole
from vit_encoder.encoder_block import EncoderBlock
from vit_encoder.layer_norm import LayerNorm
from vit_encoder.mlp import dropout


def block_flops(dim: int, mlp_dim: int, tokens: int, queries: int | None = None) -> int:
    """FLOPs of one encoder block for one image, a multiply-add counted as two.

    dim: D. mlp_dim: M. tokens: N. queries: how many of the tokens go on after the
    attention; None stands for all. Counts matrix products alone:
    24 N D² + 4 N² D for all tokens and M = 4 D. Raises ValueError or TypeError for
    sizes that are not whole numbers from 1, or more queries than tokens.
    """
    queries = tokens if queries is None else queries
    sizes = {"dim": dim, "mlp_dim": mlp_dim, "tokens": tokens, "queries": queries}
    for name, size in sizes.items():
        require_whole(size, name)
    if queries > tokens:
        raise ValueError(f"expected at most {tokens} queries, got {queries}")
    project = 2 * tokens * dim * 3 * dim + 2 * queries * dim * dim  # q, k, v; output
    attend = 2 * 2 * queries * tokens * dim  # scores, and the average of the values
    mlp = 2 * 2 * queries * dim * mlp_dim
    return project + attend + mlp


def online_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, tile: int
) -> torch.Tensor:
    """Attention that never holds all scores (Dao et al. 2022, without its backward).

    q: (..., N_q, D_h), k: (..., N_k, D_h), v: (..., N_k, D_v), of one floating dtype.
    tile: how many keys are looked at together; the last tile may be smaller.
    Returns the output of `attention`, (..., N_q, D_v). Raises ValueError or TypeError
    for a tile that is no whole number from 1.
    """
    require_whole(tile, "tile")
    top = q.new_full((*q.shape[:-1], 1), -math.inf)  # (..., N_q, 1), largest score
    total = torch.zeros_like(top)  # (..., N_q, 1), sum of exp(score - top)
    output = q.new_zeros(*q.shape[:-1], v.shape[-1])  # (..., N_q, D_v), not divided
    for k_tile, v_tile in zip(k.split(tile, -2), v.split(tile, -2), strict=True):
        scores = q @ k_tile.transpose(-2, -1) / math.sqrt(q.shape[-1])
        new_top = torch.maximum(top, scores.amax(-1, keepdim=True))
        shrink = torch.exp(top - new_top)  # what was summed so far had another top
        weights = torch.exp(scores - new_top)  # (..., N_q, tile)
        total = shrink * total + weights.sum(-1, keepdim=True)
        output = shrink * output + weights @ v_tile
        top = new_top
    return output / total


def norm(x: torch.Tensor, part: LayerNorm) -> torch.Tensor:
    """What `part(x)` gives, in one operation instead of ten: (..., D)."""
    return F.layer_norm(x, part.weight.shape, part.weight, part.bias, part.eps)


def run_block(
    block: EncoderBlock, x: torch.Tensor, queries: int | None = None
) -> torch.Tensor:
    """What `block(x)` gives, with fewer trips to memory: (B, N, D) → (B, N, D).

    queries: only the first so many tokens go on after the attention, (B, queries, D);
    None stands for all. The modules `attn` and `mlp` are not called, only their layers,
    so hooks on them hear nothing, and the attention weights are nowhere. Without
    gradients GELU overwrites what `fc1` gave: a hook there must copy what it keeps.
    """
    attn, mlp, p, train = block.attn, block.mlp, block.dropout, block.training
    qkv = attn.qkv(norm(x, block.norm1)).unflatten(-1, (3, attn.num_heads, -1))
    q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, h, N, D_h)
    y = F.scaled_dot_product_attention(q[:, :, :queries], k, v)  # (B, h, queries, D_h)
    y = attn.proj(y.transpose(1, 2).flatten(2))  # (B, queries, D)
    x = x[:, :queries] + dropout(y, p, train)
    y = mlp.fc1(norm(x, block.norm2))  # (B, queries, M)
    # A gradient needs what GELU was given; without one, its place is free.
    y = F.gelu(y) if torch.is_grad_enabled() else torch.ops.aten.gelu_(y)
    y = mlp.fc2(dropout(y, p, train))  # (B, queries, D)
    return x + dropout(y, p, train)


def encode(
    encoder: textbook.Encoder,
    x: torch.Tensor,
    queries: int | None = None,
    checkpointing: bool = False,
) -> torch.Tensor:
    """What `encoder(x)` gives, faster: (B, N, D) → (B, N, D).

    queries: give the first so many tokens only, (B, queries, D). The last block then
    computes no others; None stands for all. checkpointing: keep only what enters each
    block, and compute the rest again for the gradient (Chen et al. 2016).
    Raises ValueError or TypeError for other tokens.
    """
    require_tokens(x, len(encoder.norm.weight))
    last = encoder.blocks[-1]
    for block in encoder.blocks:
        wanted = queries if block is last else None
        if checkpointing:
            x = checkpoint(run_block, block, x, wanted, use_reentrant=False)
        else:
            x = run_block(block, x, wanted)
    return norm(x, encoder.norm)


class Encoder(textbook.Encoder):
    """The textbook's Encoder, with its arguments, parameters and numbers, but faster.

    checkpointing: set it to True on an object for less memory and more time in
    training. Hooks on the parts of a block hear nothing, see `run_block`.
    """

    checkpointing = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return encode(self, x, checkpointing=self.checkpointing)


class VisionTransformer(training.VisionTransformer):
    """The textbook's VisionTransformer, with its arguments, parameters and numbers.

    Where the head reads the class token alone, the last block computes no other token,
    except in training with dropout, which then draws the textbook's random numbers.
    checkpointing: see Encoder.
    """

    checkpointing = False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = dropout(self.embedding(images), self.dropout, self.training)
        alone = self.pool == "cls" and not (self.training and self.dropout)
        x = encode(self.encoder, x, 1 if alone else None, self.checkpointing)
        x = x[:, 0] if self.pool == "cls" else x[:, 1:].mean(dim=1)  # (B, D)
        if self.pre_logits is not None:
            x = torch.tanh(self.pre_logits(x))  # (B, R)
        return self.head(x)  # (B, J)


def quantize_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round each row of a matrix to 255 levels, so that weight ≈ levels · scale.

    weight: (out, in), of a floating dtype. Returns levels (out, in), int8 from -127 to
    127, and scale (out, 1), in the dtype of weight: what is largest in a row, sign
    apart, divided by 127; 1 for a row of zeros.
    """
    scale = weight.abs().amax(-1, keepdim=True) / 127  # (out, 1)
    scale = torch.where(scale > 0, scale, 1)
    return (weight / scale).round().to(torch.int8), scale
