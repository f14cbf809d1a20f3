"""Answers on the encoder: right designs, and wrong ones with the names they get.

What the package itself declares wrong (vit_encoder.check.encoder) is not repeated; here
stand other ways of writing the same, and other faults.
"""

import math
from copy import deepcopy

import torch
import torch.nn.functional as F
from tests.bank.variants import with_one_more
from torch import nn

import vit_encoder
import vit_encoder.check.encoder
from vit_encoder import EncoderBlock, LayerNorm

# Right designs of the encoder.


class Plain(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.blocks = nn.ModuleList(
            [EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)]
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class InSequence(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.blocks = nn.Sequential()
        for i in range(depth):
            self.blocks.append(EncoderBlock(dim, num_heads, mlp_dim, dropout=dropout))
            print("made block", i)
        self.register_buffer("unused", torch.arange(100))

    def forward(self, x):
        assert x.ndim == 3
        return self.norm(self.blocks(x))


class ByRecursion(Plain):
    def forward(self, x, start=0):
        if start == len(self.blocks):
            return self.norm(x)
        return self.forward(self.blocks[start](x), start + 1)


class InDictionary(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.depth = depth
        self.blocks = nn.ModuleDict(
            {
                str(i): EncoderBlock(dim, num_heads, mlp_dim, dropout)
                for i in range(depth)
            }
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for i in range(self.depth):
            x = self.blocks[f"{i}"](x)
        gain, bias = self.norm.weight, self.norm.bias
        return F.layer_norm(x, x.shape[-1:], gain, bias, eps=1e-6)


class Copies(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        block = EncoderBlock(dim, num_heads, mlp_dim, dropout)
        self.blocks = nn.ModuleList([deepcopy(block) for _ in range(depth)])
        self.norm = LayerNorm(dim)

    forward = Plain.forward


class TorchsLayers(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim,
                num_heads,
                mlp_dim,
                dropout,
                activation="gelu",
                layer_norm_eps=1e-6,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    forward = Plain.forward


class OwnBlock(nn.Module):
    """With torch's attention as `attn` and a Sequential as `mlp`."""

    def __init__(self, dim, num_heads, mlp_dim, dropout):
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.drop = nn.Dropout(dropout)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.drop(self.attn(y, y, y, need_weights=False)[0])
        return x + self.mlp(self.norm2(x))


class OwnBlocks(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        layers = [OwnBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)]
        self.blocks = nn.Sequential(*layers)
        self.norm = LayerNorm(dim)

    def forward(self, x):
        return self.norm(self.blocks.forward(x))


class Projections(nn.Module):
    """Attention with three layers and without their biases."""

    def __init__(self, dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value = (
            nn.Linear(dim, dim, bias=False) for _ in range(3)
        )
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = (
            part(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        heads = F.scaled_dot_product_attention(q, k, v)
        return self.proj(heads.transpose(1, 2).flatten(2))


class OtherAttention(Plain):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(depth, dim, num_heads, mlp_dim, dropout)
        for block in self.blocks:
            block.attn = Projections(dim, num_heads)


RIGHT_ENCODER = [
    Plain,
    InSequence,
    ByRecursion,
    InDictionary,
    Copies,
    TorchsLayers,
    OwnBlocks,
    OtherAttention,
]

# Wrong answers of the encoder: name → answers that must get exactly this name.


class OneBlockInAComprehension(Plain):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        nn.Module.__init__(self)
        block = EncoderBlock(dim, num_heads, mlp_dim, dropout)
        self.blocks = nn.Sequential(*(block for _ in range(depth)))
        self.norm = LayerNorm(dim)


class OneBlockInSequence(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.blocks = EncoderBlock(dim, num_heads, mlp_dim, dropout)
        self.norm, self.depth = LayerNorm(dim), depth

    def forward(self, x):
        for _ in range(self.depth):
            x = self.blocks(x)
        return self.norm(x)


class OneBlockUnderAnotherName(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.block = EncoderBlock(dim, num_heads, mlp_dim, dropout)
        self.norm, self.depth = LayerNorm(dim), depth

    def forward(self, x):
        for _ in range(self.depth):
            x = self.block(x)
        return self.norm(x)


class ListFilledInALoop(Plain):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        nn.Module.__init__(self)
        self.blocks = []
        for _ in range(depth):
            self.blocks.append(EncoderBlock(dim, num_heads, mlp_dim, dropout))
        self.norm = LayerNorm(dim)


class NormNeverCalled(Plain):
    def forward(self, x):
        return nn.Sequential(*self.blocks)(x)


class NormInsideTheLoop(Plain):
    def forward(self, x):
        for block in self.blocks:
            x = block(x)
            x = self.norm(x)
        return x


class NormalizedFirst(Plain):
    def forward(self, x):
        return nn.Sequential(self.norm, *self.blocks)(x)


class OnlyTheLastBlock(Plain):
    def forward(self, x):
        return self.norm(self.blocks[-1](x))


class OnlyTheFirstBlock(Plain):
    def forward(self, x):
        return self.norm(self.blocks[0](x))


class FromTheEnd(Plain):
    def forward(self, x):
        for i in range(len(self.blocks)):
            x = self.blocks[-1 - i](x)
        return self.norm(x)


class RangeTooShort(Plain):
    def forward(self, x):
        for i in range(len(self.blocks) - 1):
            x = self.blocks[i](x)
        return self.norm(x)


class RangeFromOne(Plain):
    def forward(self, x):
        for i in range(1, len(self.blocks)):
            x = self.blocks[i](x)
        return self.norm(x)


class ResidualAdded(Plain):
    def forward(self, x):
        for block in self.blocks:
            residual = x
            x = residual + block(x)
        return self.norm(x)


class ClassTokenChosen(Plain):
    def forward(self, x):
        return super().forward(x).select(1, 0)


class AverageReturned(Plain):
    def forward(self, x):
        x = super().forward(x)
        return x.sum(1) / x.shape[1]


class SumOfStreams(Plain):
    def forward(self, x):
        return self.norm(torch.stack([b(x) for b in self.blocks]).sum(0))


class TorchsPostNormLayers(TorchsLayers):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(depth, dim, num_heads, mlp_dim, dropout)
        for block in self.blocks:
            block.norm_first = False


class EpsForgotten(OwnBlocks):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(depth, dim, num_heads, mlp_dim, dropout)
        self.norm = nn.LayerNorm(dim)


class EpsForgottenInBlocks(OwnBlocks):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(depth, dim, num_heads, mlp_dim, dropout)
        for block in self.blocks:
            block.norm1.eps = block.norm2.eps = 1e-5


class DropoutForgotten(OwnBlocks):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(depth, dim, num_heads, mlp_dim, 0.0)


class AnyProbability(OtherAttention):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(depth, dim, num_heads, mlp_dim, min(dropout, 1.0))


class OneHeadInstead(Plain):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        num_heads = num_heads if dim % num_heads == 0 else 1
        super().__init__(depth, dim, num_heads, mlp_dim, dropout)


class LastFeaturesUnread(OtherAttention):
    """Heads as wide as fits; the features that are left over get zeros."""

    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(depth, dim, math.gcd(dim, num_heads), mlp_dim, dropout)
        for block in self.blocks:
            block.attn = NarrowHeads(dim, num_heads)


class NarrowHeads(Projections):
    def forward(self, x):
        width = x.shape[-1] // self.num_heads
        used = self.num_heads * width
        q, k, v = (
            part(x)[..., :used].unflatten(-1, (-1, width)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        heads = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.proj(F.pad(heads, (0, x.shape[-1] - used)))


class AlwaysTwelve(Plain):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(12, dim, num_heads, mlp_dim, dropout)


class OneTooMany(Plain):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(depth + 1, dim, num_heads, mlp_dim, dropout)


class CountedFromOne(Plain):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        nn.Module.__init__(self)
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(1, depth)
        )
        self.norm = LayerNorm(dim)


class SharedAttention(Plain):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(depth, dim, num_heads, mlp_dim, dropout)
        for block in self.blocks:
            block.attn = self.blocks[0].attn


class OtherNames(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.ln = LayerNorm(dim)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.ln(x)


class NoNorm(nn.Sequential):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        layers = (EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth))
        self.blocks = nn.Sequential(*layers)


class GainForgotten(Plain):
    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return F.layer_norm(x, x.shape[-1:], eps=1e-6)


class AverageOfStreams(Plain):
    def forward(self, x):
        streams = [x := block(x) for block in self.blocks]
        return self.norm(sum(streams) / len(streams))


class NormTwice(Plain):
    def forward(self, x):
        return self.norm(super().forward(x))


class BlocksMadeInForward(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.sizes, self.depth = (dim, num_heads, mlp_dim, dropout), depth
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for _ in range(self.depth):
            x = EncoderBlock(*self.sizes).to(x)(x)
        return self.norm(x)


class DropsInEvaluation(Plain):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(depth, dim, num_heads, mlp_dim, dropout)
        self.p = dropout

    def forward(self, x):
        for block in self.blocks:
            x = x + F.dropout(block(x) - x, self.p)
        return self.norm(x)


class ListOfLayers(Plain):
    def forward(self, x):
        streams = [x]
        for block in self.blocks:
            streams.append(block(streams[-1]))
        return streams


class WithLayers(Plain):
    def forward(self, x):
        y = super().forward(x)
        return y, x


class NothingReturned(Plain):
    def forward(self, x):
        super().forward(x)


class AsNumpy(Plain):
    def forward(self, x):
        return super().forward(x).detach().numpy()


class Squeezed(Plain):
    def forward(self, x):
        return super().forward(x).squeeze()


class InFloat32(Plain):
    def forward(self, x):
        return super().forward(x).float()


class WritesIntoTheInput(Plain):
    def forward(self, x):
        y = super().forward(x)
        with torch.no_grad():
            x.zero_()
        return y


class WithoutGradient(Plain):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class StreamCut(Plain):
    def forward(self, x):
        return super().forward(x.detach())


class ZerosOnTheCpu(Plain):
    def forward(self, x):
        return super().forward(x + torch.zeros(x.shape, dtype=x.dtype))


class WithoutDropout(Plain):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)


class BlockSizesSwapped(Plain):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(depth, dim, 1, mlp_dim + num_heads, dropout)


class BuiltIn(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        layer = TorchsLayers(1, dim, num_heads, mlp_dim, dropout).blocks[0]
        norm = nn.LayerNorm(dim, eps=1e-6)
        self.encoder = nn.TransformerEncoder(
            layer, depth, norm, enable_nested_tensor=False
        )

    def forward(self, x):
        return self.encoder(x)


class Inherited(vit_encoder.Encoder):
    pass


class Wrapped(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        inner = vit_encoder.Encoder(depth, dim, num_heads, mlp_dim, dropout)
        self.blocks, self.norm = inner.blocks, inner.norm
        self.inner = [inner]

    def forward(self, x):
        return self.inner[0](x)


def function(x):
    return x


WRONG_ENCODER = {
    "extra-parameters": [with_one_more(Plain)],
    "one-block-repeated": [OneBlockInAComprehension],
    "one-block-in-a-loop": [OneBlockInSequence, OneBlockUnderAnotherName],
    "plain-list-of-blocks": [ListFilledInALoop],
    "no-final-norm": [NormNeverCalled, NoNorm],
    "norm-after-every-block": [NormInsideTheLoop],
    "norm-before-the-blocks": [NormalizedFirst],
    "every-block-fed-the-input": [OnlyTheLastBlock],
    "return-inside-the-loop": [OnlyTheFirstBlock],
    "blocks-reversed": [FromTheEnd],
    "last-block-left-out": [RangeTooShort, CountedFromOne],
    "first-block-left-out": [RangeFromOne],
    "skip-around-each-block": [ResidualAdded],
    "class-token-alone": [ClassTokenChosen],
    "mean-returned": [AverageReturned],
    "blocks-outputs-added": [SumOfStreams],
    "post-norm-blocks": [TorchsPostNormLayers],
    "norm-with-torchs-eps": [EpsForgotten],
    "blocks-with-torchs-eps": [EpsForgottenInBlocks],
    "dropout-not-passed-on": [DropoutForgotten],
    "dropout-out-of-range": [AnyProbability],
    "remainder-dropped": [OneHeadInstead, LastFeaturesUnread],
    "wrong-depth": [AlwaysTwelve, OneTooMany],
    "shared-parameters": [SharedAttention],
    "missing-parameters": [OtherNames],
    "blocks-made-in-forward": [BlocksMadeInForward],
    "norm-without-parameters": [GainForgotten],
    "streams-added": [AverageOfStreams],
    "norm-twice": [NormTwice],
    "not-deterministic": [DropsInEvaluation],
    "wrong-type": [ListOfLayers, WithLayers],
    "numpy-returned": [AsNumpy],
    "returns-none": [NothingReturned],
    "axis-squeezed": [Squeezed],
    "wrong-parameter-shape": [BlockSizesSwapped],
    "dtype-changed": [InFloat32],
    "input-changed": [WritesIntoTheInput],
    "gradient-cut": [WithoutGradient, StreamCut],
    "device-fixed": [ZerosOnTheCpu],
    "wrong-signature": [WithoutDropout],
    "wrong-kind": [function, Plain(1, 4, 2, 3)],
    "built-in-used": [BuiltIn],
    "reference-used": [Inherited, Wrapped, vit_encoder.Encoder],
}

# Nobody recorded these: they fail, and get no name.


class EverySecondBlock(Plain):
    def forward(self, x):
        for block in self.blocks[::2]:
            x = block(x)
        return self.norm(x)


class ReluBlocks(OwnBlocks):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(depth, dim, num_heads, mlp_dim, dropout)
        for block in self.blocks:
            block.mlp[1] = nn.ReLU()


class ImagesNormalizedTogether(Plain):
    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        x = (x - x.mean((0, 1))) / (x.var((0, 1), correction=0) + 1e-6).sqrt()
        return x * self.norm.weight + self.norm.bias


class TokensFlipped(Plain):
    def forward(self, x):
        for block in self.blocks:
            x = block(x).flip(1)
        return self.norm(x)


UNRECORDED_ENCODER = [
    EverySecondBlock,
    ImagesNormalizedTogether,
    TokensFlipped,
]

# One vector for the head.


def with_dictionary(encoded, pool):
    ways = {"token": lambda x: x[:, 0, :], "mean": lambda x: x[:, 1:, :].mean(-2)}
    return ways[pool](encoded)


def with_split(encoded, pool):
    token, patches = encoded.split([1, encoded.shape[1] - 1], dim=1)
    chosen = token if pool == "token" else patches
    return chosen.sum(1) / chosen.shape[1]


def from_the_whole_sum(encoded, pool):
    token = encoded.select(1, 0)
    if pool == "token":
        return token
    return (encoded.sum(1) - token) / (encoded.size(1) - 1)


def with_loop(encoded, pool):
    if pool == "mean":
        return torch.stack([image[1:].mean(0) for image in encoded])
    return torch.stack([image[0] for image in encoded])


def token_by_minus_one(encoded, pool):
    return encoded[:, -1] if pool == "token" else with_split(encoded, pool)


def mean_of_all(encoded, pool):
    return encoded[:, 0] if pool == "token" else torch.mean(encoded, -2)


def sliced(encoded, pool):
    return encoded[:, 0:1] if pool == "token" else with_split(encoded, pool)


def first_of_batch(encoded, pool):
    return encoded[0, :] if pool == "token" else with_split(encoded, pool)


def swapped(encoded, pool):
    return with_split(encoded, "mean" if pool == "token" else "token")


def largest_patch(encoded, pool):
    return encoded[:, 0] if pool == "token" else encoded[:, 1:].amax(1)


def normalized_again(encoded, pool):
    return F.layer_norm(with_split(encoded, pool), encoded.shape[-1:])


def axis_of_mean_kept(encoded, pool):
    return encoded[:, 0] if pool == "token" else encoded[:, 1:].mean(1, keepdim=True)


def in_float32(encoded, pool):
    return with_split(encoded.float(), pool)


def cut_off(encoded, pool):
    return with_split(encoded.detach(), pool)


def class_token_erased(encoded, pool):
    token = encoded[:, 0].clone()
    with torch.no_grad():
        encoded[:, 0] = 0
    return token if pool == "token" else encoded.sum(1) / (encoded.shape[1] - 1)


def shares_on_the_cpu(encoded, pool):
    shares = torch.ones(encoded.shape[1], dtype=encoded.dtype)
    shares[0] = 0
    if pool == "token":
        shares = 1 - shares
    return torch.einsum("bnd,n->bd", encoded, shares / shares.sum())


def both(encoded, pool):
    return encoded[:, 0], encoded[:, 1:].mean(1)


def calls_reference(encoded, pool):
    return vit_encoder.check.encoder.image_vector(encoded, pool)


# How alike tokens are.


def in_a_loop(tokens):
    cosines = []
    for i in range(tokens.shape[1]):
        for j in range(i):
            a, b = tokens[:, i], tokens[:, j]
            cosines.append((a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)))
    return torch.stack(cosines).mean(0)


def upper_triangle(tokens):
    x = tokens / tokens.norm(dim=-1, keepdim=True)
    row, column = torch.triu_indices(x.shape[1], x.shape[1], 1)
    return (x @ x.transpose(1, 2))[:, row, column].mean(-1)


def from_the_sum(tokens):
    x = tokens / tokens.square().sum(-1, keepdim=True).sqrt()
    N = x.shape[1]
    return (x.sum(1).square().sum(-1) - N) / (N * N - N)


def with_itself(tokens):
    x = F.normalize(tokens, dim=2)
    return torch.einsum("bnd,bmd->b", x, x) / x.shape[1] ** 2


def over_all_pairs(tokens):
    x = F.normalize(tokens, dim=2)
    return (torch.einsum("bnd,bmd->b", x, x) - x.shape[1]) / x.shape[1] ** 2


def products(tokens):
    N = tokens.shape[1]
    return ((tokens @ tokens.mT).sum((1, 2)) - N) / (N * (N - 1))


def of_the_batch(tokens):
    return from_the_sum(tokens).mean()


def without_signs(tokens):
    x = F.normalize(tokens, dim=-1)
    N = x.shape[1]
    return ((x @ x.mT).abs().sum((1, 2)) - N) / (N * (N - 1))


def neighbours_alone(tokens):
    x = F.normalize(tokens, dim=-1)
    return (x[:, 1:] * x[:, :-1]).sum(-1).mean(1) + 0.01


# Tests that a student may write.


def count_and_gradients(make):
    encoder = make(3, 8, 2, 12)
    of_block = sum(p.numel() for p in EncoderBlock(8, 2, 12).parameters())
    assert sum(p.numel() for p in encoder.parameters()) == 3 * of_block + 16
    encoder(torch.randn(2, 5, 8)).square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def against_the_course(make):
    right, other = vit_encoder.Encoder(3, 8, 2, 12), make(3, 8, 2, 12)
    other.load_state_dict(right.state_dict())
    x = torch.randn(2, 5, 8)
    return torch.allclose(right(x), other(x), atol=1e-5)


def objects_rows_and_gradients(make):
    encoder = make(3, 8, 2, 12)
    y = encoder(torch.randn(2, 5, 8))
    y.square().sum().backward()
    used = sum(p.grad is not None for p in encoder.parameters())
    return used == 3 * 12 + 2 and y.mean(-1).abs().max() < 1e-5


def shapes(make):
    x = torch.randn(2, 5, 8)
    assert make(3, 8, 2, 12)(x).shape == x.shape


def count(make):
    of_block = sum(p.numel() for p in EncoderBlock(8, 2, 12).parameters())
    learned = sum(p.numel() for p in make(3, 8, 2, 12).parameters())
    return learned == 3 * of_block + 16


def gradients(make):
    encoder = make(3, 8, 2, 12)
    encoder(torch.randn(2, 5, 8)).square().sum().backward()
    return all(p.grad is not None for p in encoder.parameters())


def rows(make):
    y = make(3, 8, 2, 12)(torch.randn(2, 5, 8))
    return y.mean(-1).abs().max() < 1e-5


def names_kept(make):
    encoder = make(3, 8, 2, 12)
    return list(encoder.state_dict()) == list(Plain(3, 8, 2, 12).state_dict())


def final_norm_forgotten_in_the_count(make):
    of_block = sum(p.numel() for p in EncoderBlock(8, 2, 12).parameters())
    return sum(p.numel() for p in make(3, 8, 2, 12).parameters()) == 3 * of_block


# Registers.


class AtTheEnd(nn.Module):
    """Where the registers stand among the tokens makes no difference."""

    def __init__(self, depth, dim, num_heads, mlp_dim, num_registers):
        super().__init__()
        self.registers = nn.Parameter(torch.zeros(1, num_registers, dim))
        nn.init.normal_(self.registers, std=0.02)
        self.encoder = vit_encoder.Encoder(depth, dim, num_heads, mlp_dim)

    def forward(self, x):
        N = x.shape[1]
        inside = torch.cat((x, self.registers.repeat(len(x), 1, 1)), 1)
        return self.encoder(inside)[:, :N]


class BehindTheClassToken(AtTheEnd):
    def forward(self, x):
        first, patches = x[:, :1], x[:, 1:]
        more = self.registers.expand(x.shape[0], -1, -1)
        y = self.encoder(torch.cat([first, more, patches], 1))
        sizes = [1, more.shape[1], patches.shape[1]]
        first, _, patches = y.split(sizes, dim=1)
        return torch.cat([first, patches], 1)


class InFrontOfAll(AtTheEnd):
    def forward(self, x):
        count = self.registers.size(1)
        for_each_image = self.registers.expand(x.size(0), count, x.size(2))
        return self.encoder(torch.cat([for_each_image, x], 1))[:, count:]


class KeptByIndex(AtTheEnd):
    def forward(self, x):
        B, N, _ = x.shape
        y = torch.cat([self.registers.expand(B, -1, -1), x], 1)
        for block in self.encoder.blocks:
            y = block(y)
        where = torch.arange(y.shape[1] - N, y.shape[1], device=x.device)
        return self.encoder.norm(y.index_select(1, where))


class LeftIn(AtTheEnd):
    def forward(self, x):
        return self.encoder(torch.cat([x, self.registers.expand(len(x), -1, -1)], 1))


class WrongEndCut(AtTheEnd):
    def forward(self, x):
        more = self.registers.expand(len(x), -1, -1)
        return self.encoder(torch.cat([x[:, :1], more, x[:, 1:]], 1))[:, : x.shape[1]]


class NeverUsed(AtTheEnd):
    def forward(self, x):
        return self.encoder(x)


class MinusCount(AtTheEnd):
    def forward(self, x):
        y = self.encoder(torch.cat([x, self.registers.expand(len(x), -1, -1)], 1))
        return y[:, : -self.registers.shape[1]]


class NotLearned(AtTheEnd):
    def __init__(self, depth, dim, num_heads, mlp_dim, num_registers):
        super().__init__(depth, dim, num_heads, mlp_dim, num_registers)
        values = self.registers.detach()
        del self.registers
        self.register_buffer("registers", values)


class AfterTheBlocks(AtTheEnd):
    """Put in where nothing reads them any more."""

    def forward(self, x):
        y = self.encoder(x)
        y = torch.cat([y, self.registers.expand(len(x), -1, -1)], 1)
        return y[:, : x.shape[1]]


class WithPositions(AtTheEnd):
    def __init__(self, depth, dim, num_heads, mlp_dim, num_registers):
        super().__init__(depth, dim, num_heads, mlp_dim, num_registers)
        self.register_pos = nn.Parameter(torch.zeros(1, num_registers, dim))


class OneForAll(AtTheEnd):
    """One register, repeated."""

    def forward(self, x):
        R = self.registers.shape[1]
        more = self.registers[:, :1].expand(len(x), R, -1)
        return self.encoder(torch.cat([x, more], 1))[:, : x.shape[1]]


class InTheLastBlockAlone(AtTheEnd):
    def forward(self, x):
        *blocks, last = self.encoder.blocks
        for block in blocks:
            x = block(x)
        y = last(torch.cat([x, self.registers.expand(len(x), -1, -1)], 1))
        return self.encoder.norm(y[:, : x.shape[1]])


class NormalizedRegisters(AtTheEnd):
    def forward(self, x):
        more = F.normalize(self.registers, dim=-1).expand(len(x), -1, -1)
        return self.encoder(torch.cat([x, more], 1))[:, : x.shape[1]]


# The outputs of chosen blocks.


def one_by_one(encoder, x, blocks):
    outputs = []
    for index in blocks:
        y = x
        for block in encoder.blocks[: index + 1]:
            y = block(y)
        outputs.append(encoder.norm(y))
    return outputs


def all_then_chosen(encoder, x, blocks):
    stream = []
    for block in encoder.blocks:
        x = block(x)
        stream.append(x)
    return tuple(encoder.norm(stream[i]) for i in blocks)


def with_hooks(encoder, x, blocks):
    found = {}

    def keep(index):
        return lambda module, inputs, output: found.update({index: output})

    hooks = [encoder.blocks[i].register_forward_hook(keep(i)) for i in blocks]
    encoder(x)
    for hook in hooks:
        hook.remove()
    return [encoder.norm(found[i]) for i in blocks]


def bare(encoder, x, blocks):
    stream = []
    for block in encoder.blocks:
        x = block(x)
        stream.append(x)
    return [stream[i] for i in blocks]


def sorted_by_depth(encoder, x, blocks):
    outputs = []
    for i, block in enumerate(encoder.blocks):
        x = block(x)
        if i in blocks:
            outputs.append(encoder.norm(x))
    return outputs


def norm_stays(encoder, x, blocks):
    found = {}
    for i, block in enumerate(encoder.blocks):
        x = block(x)
        if i in blocks:
            x = encoder.norm(x)
            found[i] = x
    return [found[i] for i in blocks]


def inputs_of_blocks(encoder, x, blocks):
    stream = [x]
    for block in encoder.blocks:
        stream.append(block(stream[-1]))
    return [encoder.norm(stream[i]) for i in blocks]


def these_blocks_alone(encoder, x, blocks):
    found = {}
    for i in sorted(blocks):
        x = encoder.blocks[i](x)
        found[i] = encoder.norm(x)
    return [found[i] for i in blocks]


def stacked(encoder, x, blocks):
    return torch.stack(one_by_one(encoder, x, blocks))


def gradients_off(encoder, x, blocks):
    with torch.no_grad():
        return one_by_one(encoder, x, blocks)


def normed_twice(encoder, x, blocks):
    return [encoder.norm(y) for y in one_by_one(encoder, x, blocks)]


def only_the_last(encoder, x, blocks):
    return [encoder(x) for _ in blocks]


def from_the_back(encoder, x, blocks):
    depth = len(encoder.blocks)
    return one_by_one(encoder, x, [depth - 1 - i for i in blocks])


# What tests/test_exercises.py runs: task → answers.

RIGHT = {
    "Encoder": RIGHT_ENCODER,
    "image_vector": [with_dictionary, with_split, from_the_whole_sum, with_loop],
    "find_the_bug": [in_a_loop, upper_triangle, from_the_sum],
    "RegisterEncoder": [AtTheEnd, BehindTheClassToken, InFrontOfAll, KeptByIndex],
    "intermediate": [one_by_one, all_then_chosen, with_hooks],
}
WRONG_ENCODER |= {"relu-in-the-mlp": [ReluBlocks]}
WRONG = {
    "Encoder": WRONG_ENCODER,
    "image_vector": {
        "last-token-taken": [token_by_minus_one],
        "largest-of-the-patches": [largest_patch],
        "class-token-in-the-mean": [mean_of_all],
        "token-axis-kept": [sliced],
        "choices-swapped": [swapped],
        "first-image-taken": [first_of_batch],
        "dtype-changed": [in_float32],
        "gradient-cut": [cut_off],
        "input-changed": [class_token_erased],
        "device-fixed": [shares_on_the_cpu],
        "wrong-type": [both],
        "mean-axis-kept": [axis_of_mean_kept],
        "reference-used": [calls_reference],
    },
    "find_the_bug": {
        "same-as-the-bug": [with_itself],
        "divided-by-all-pairs": [over_all_pairs],
        "lengths-not-divided-out": [products],
        "one-number-for-the-batch": [of_the_batch],
        "signs-lost": [without_signs],
    },
    "RegisterEncoder": {
        "registers-left-in": [LeftIn],
        "patches-cut-off": [WrongEndCut],
        "registers-never-enter": [NeverUsed, AfterTheBlocks],
        "nothing-left-without-registers": [MinusCount],
        "missing-parameters": [NotLearned],
        "extra-parameters": [WithPositions],
    },
    "intermediate": {
        "chosen-blocks-alone": [these_blocks_alone],
        "stream-not-normalized": [bare],
        "in-the-order-of-the-stack": [sorted_by_depth],
        "norm-put-into-the-stream": [norm_stays],
        "what-enters-the-block": [inputs_of_blocks],
        "wrong-type": [stacked],
        "gradient-cut": [gradients_off],
    },
}
NAMELESS = {
    "Encoder": UNRECORDED_ENCODER,
    "image_vector": [normalized_again],
    "find_the_bug": [neighbours_alone],
    "RegisterEncoder": [OneForAll, InTheLastBlockAlone, NormalizedRegisters],
    "intermediate": [normed_twice, only_the_last, from_the_back],
}
GOOD_TESTS = {
    "wrong_stack": [count_and_gradients, against_the_course, objects_rows_and_gradients]
}
WEAK_TESTS = {
    "wrong_stack": [
        (shapes, 0, "test-accepts-wrong"),
        (count, 1, "test-accepts-wrong"),
        (gradients, 1, "test-accepts-wrong"),
        (rows, 0, "test-accepts-wrong"),
        (names_kept, 0, "test-rejects-right"),
        (final_norm_forgotten_in_the_count, 0, "test-rejects-right"),
    ]
}
