"""The course's VisionTransformer with one part taken out or changed, for ablations.

`build("no skips", ...)` gives one. Its parts compute the same as the course's with the
library's fused functions, which are faster; tests/test_vit_variants.py compares them.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from vit_encoder import (
    MLP,
    EncoderBlock,
    LayerNorm,
    MultiHeadSelfAttention,
    merge_heads,
    split_heads,
)
from vit_encoder.training import VisionTransformer


class FusedNorm(LayerNorm):
    """LayerNorm by PyTorch's kernel."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class FusedMLP(MLP):
    """The MLP, without dropout, by PyTorch's kernel for GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class FusedAttention(MultiHeadSelfAttention):
    """Attention by PyTorch's kernel; `scale` None stands for 1/√D_h."""

    scale: float | None = None

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv(x).chunk(3, -1))
        output = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.proj(merge_heads(output))


class UnscaledAttention(FusedAttention):
    """Attention whose scores are not divided by √D_h."""

    scale = 1.0


class PostNormBlock(EncoderBlock):
    """Each norm after the sum, as in the first Transformer."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.attn(x))
        return self.norm2(x + self.mlp(x))


class PlainBlock(EncoderBlock):
    """No residual connections."""

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.norm2(self.attn(self.norm1(x))))


class AttentionBlock(EncoderBlock):
    """The attention half alone."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attn(self.norm1(x))


class MLPBlock(EncoderBlock):
    """The MLP half alone: no token learns of another."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm2(x))


BLOCKS = {
    "post-norm": PostNormBlock,
    "no skips": PlainBlock,
    "no MLP": AttentionBlock,
    "no attention": MLPBlock,
    "no attention, mean": MLPBlock,
}
VARIANTS = (
    "base",
    "no positions",
    "no norms",
    "no final norm",
    "post-norm",
    "no scale",
    "no skips",
    "no MLP",
    "one head",
    "mean",
    "no attention",
    "no attention, mean",
)


def build(variant: str, **sizes: int) -> VisionTransformer:
    """A new model, its parameters by torch's global random numbers.

    variant: one of VARIANTS. sizes: arguments of VisionTransformer. Parameters that a
    variant does not use are removed, so that `parameters()` counts what is trained.
    Raises ValueError for another variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"expected a variant of {VARIANTS}, got {variant!r}")
    if variant == "one head":
        sizes["num_heads"] = 1
    if variant in ("mean", "no attention, mean"):
        sizes["pool"] = "mean"
    model = VisionTransformer(**sizes)
    if variant == "no positions":
        model.embedding.pos_embed.data.zero_()
        model.embedding.pos_embed.requires_grad_(False)
    if variant in ("no norms", "no final norm", "post-norm"):
        model.encoder.norm = nn.Identity()
    for block in model.encoder.blocks:
        if variant in BLOCKS:
            block.__class__ = BLOCKS[variant]
        unscaled = variant == "no scale"
        block.attn.__class__ = UnscaledAttention if unscaled else FusedAttention
        block.mlp.__class__ = FusedMLP
        if variant == "no norms":
            block.norm1 = block.norm2 = nn.Identity()
        if variant == "no MLP":
            del block.mlp, block.norm2
        if variant.startswith("no attention"):
            del block.attn, block.norm1
    for module in model.modules():
        if isinstance(module, LayerNorm):
            module.__class__ = FusedNorm
    return model
