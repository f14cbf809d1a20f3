"""Answers on the capstone: right designs, and wrong ones with the names they get.

What the package itself declares wrong (vit_encoder.check.capstone) is not repeated;
here stand other ways of writing the same, and other faults.
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

import vit_encoder
from vit_encoder.check import capstone, misconception
from vit_encoder.data import fashion_vit, text_encoder
from vit_encoder.datasets import fashion_mnist

# Right designs of VisionTransformer.


class ThreeParts(nn.Module):
    def __init__(
        self,
        image_size,
        patch_size,
        in_channels,
        num_classes,
        depth,
        dim,
        num_heads,
        mlp_dim,
    ):
        super().__init__()
        self.embedding = vit_encoder.PatchEmbedding(
            image_size, patch_size, in_channels, dim
        )
        self.encoder = vit_encoder.Encoder(depth, dim, num_heads, mlp_dim)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, images):
        tokens = self.encoder(self.embedding(images))
        return self.head(tokens[:, 0, :])


class HeadFirst(ThreeParts):
    """The head on all tokens, then the class token's logits."""

    def forward(self, images):
        return self.head(self.encoder(self.embedding(images)))[:, 0]


class ByConvolution(nn.Module):
    """A convolution for the patches, torch's layers for the blocks."""

    def __init__(self, image_size, patch_size, channels, classes, L, D, h, M):
        super().__init__()
        self.embedding = nn.Module()
        self.embedding.proj = nn.Conv2d(channels, D, patch_size, patch_size)
        self.embedding.cls_token = nn.Parameter(torch.randn(1, 1, D))
        N = (image_size // patch_size) ** 2 + 1
        self.embedding.pos_embed = nn.Parameter(torch.randn(1, N, D))
        self.encoder = nn.Module()
        self.encoder.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                D,
                h,
                M,
                dropout=0,
                activation=F.gelu,
                layer_norm_eps=1e-6,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(L)
        )
        self.encoder.norm = nn.LayerNorm(D, eps=1e-6)
        self.head = nn.Linear(D, classes)

    def forward(self, images):
        x = self.embedding.proj(images).flatten(2).transpose(1, 2)
        first = self.embedding.cls_token.repeat(len(images), 1, 1)
        x = torch.cat((first, x), 1) + self.embedding.pos_embed
        for block in self.encoder.blocks:
            x = block(x)
        return self.head(self.encoder.norm(x)[:, 0])


RIGHT_MODELS = [ThreeParts, HeadFirst, ByConvolution]

# Wrong answers of VisionTransformer.


class PooledByHand(ThreeParts):
    def forward(self, images):
        x = self.encoder(self.embedding(images))
        return self.head(x[:, 1:].sum(1) / (x.shape[1] - 1))


class NegativeIndex(ThreeParts):
    def forward(self, images):
        *_, last = self.encoder(self.embedding(images)).unbind(1)
        return self.head(last)


class WithoutBlocks(ThreeParts):
    def forward(self, images):
        return self.head(self.embedding(images)[:, 0])


class Probabilities(ThreeParts):
    def forward(self, images):
        return F.softmax(super().forward(images), -1)


class NormedAgain(ThreeParts):
    def forward(self, images):
        x = self.encoder.norm(self.encoder(self.embedding(images)))
        return self.head(x[:, 0])


class AllTokens(ThreeParts):
    def forward(self, images):
        return self.head(self.encoder(self.embedding(images)))


class OtherName(ThreeParts):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.classifier = self.head
        del self.head

    def forward(self, images):
        return self.classifier(self.encoder(self.embedding(images))[:, 0])


class HeadsForDepth(ThreeParts):
    """One block fewer than `depth` says."""

    def __init__(self, a, b, c, d, depth, *sizes):
        super().__init__(a, b, c, d, depth - 1, *sizes)


class CoursesOwn(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
        names = ("depth", "dim", "num_heads", "mlp_dim")
        parts = dict(zip(names, sizes[4:], strict=True))
        self.model = vit_encoder.VisionTransformer(*sizes[:4], **parts)

    def forward(self, images):
        return self.model(images)


WRONG_MODELS = {
    "mean-of-patches-read": [PooledByHand],
    "last-token-read": [NegativeIndex],
    "encoder-left-out": [WithoutBlocks],
    "softmax-at-the-end": [Probabilities],
    "norm-once-more": [NormedAgain],
    "every-token-read": [AllTokens],
    "missing-parameters": [OtherName, HeadsForDepth],
    "reference-used": [CoursesOwn],
}


class Doubled(ThreeParts):
    def forward(self, images):
        return 2 * super().forward(images)


class ClassTokenAgain(ThreeParts):
    """The class token as it entered, added to what leaves."""

    def forward(self, images):
        x = self.embedding(images)
        return self.head(self.encoder(x)[:, 0] + x[:, 0])


class Mirrored(ThreeParts):
    def forward(self, images):
        return super().forward(images.flip(-1))


UNRECORDED_MODELS = [Doubled, ClassTokenAgain, Mirrored]

# Right designs of first_difference.


def with_negation(layers, expected, tolerance):
    for i in range(len(layers)):
        same_shape = layers[i].shape == expected[i].shape
        if not same_shape or not torch.all(
            (layers[i] - expected[i]).abs() <= tolerance
        ):
            return i


def with_allclose(layers, expected, tolerance):
    for index, (a, b) in enumerate(zip(layers, expected, strict=True)):
        if a.shape != b.shape or not torch.allclose(a, b, rtol=0, atol=tolerance):
            return index
    return None


def with_next(layers, expected, tolerance):
    def agree(a, b):
        return a.shape == b.shape and bool((a - b).abs().amax() <= tolerance)

    pairs = enumerate(zip(layers, expected, strict=True))
    return next((i for i, pair in pairs if not agree(*pair)), None)


def with_isnan(layers, expected, tolerance):
    differ = []
    for a, b in zip(layers, expected, strict=True):
        if a.shape != b.shape:
            differ.append(True)
            continue
        d = (a - b).abs()
        differ.append(bool(d.isnan().any() or d.max() > tolerance))
    return differ.index(True) if any(differ) else None


def with_numpy(layers, expected, tolerance):
    import numpy as np

    for index, (a, b) in enumerate(zip(layers, expected, strict=True)):
        a, b = a.detach().cpu().numpy(), b.detach().cpu().numpy()
        if a.shape != b.shape or not np.allclose(a, b, rtol=0, atol=tolerance):
            return np.int64(index)
    return None


def as_tensor(layers, expected, tolerance):
    found = with_next(layers, expected, tolerance)
    return None if found is None else torch.tensor(found)


RIGHT_DIFFERENCE = [
    with_negation,
    with_allclose,
    with_next,
    with_isnan,
    with_numpy,
    as_tensor,
]

# Wrong answers of first_difference.


def maximum_compared(layers, expected, tolerance):
    for i, (a, b) in enumerate(zip(layers, expected, strict=True)):
        if a.shape != b.shape or torch.max(torch.abs(a - b)).item() > tolerance:
            return i


def any_larger(layers, expected, tolerance):
    for i, (a, b) in enumerate(zip(layers, expected, strict=True)):
        if a.shape != b.shape or ((a - b).abs() > tolerance).any():
            return i


def shapes_ignored(layers, expected, tolerance):
    for i, (a, b) in enumerate(zip(layers, expected, strict=True)):
        if not ((a - b).abs() <= tolerance).all():
            return i


def from_the_back(layers, expected, tolerance):
    for i in reversed(range(len(layers))):
        if with_next(layers[i : i + 1], expected[i : i + 1], tolerance) == 0:
            return i


def index_or_none(layers, expected, tolerance):
    return with_next(layers, expected, tolerance) or None


def allclose_as_it_comes(layers, expected, tolerance):
    for i, (a, b) in enumerate(zip(layers, expected, strict=True)):
        if a.shape != b.shape or not torch.allclose(a, b, atol=tolerance):
            return i


def true_or_false(layers, expected, tolerance):
    return with_next(layers, expected, tolerance) is not None


def the_layer_itself(layers, expected, tolerance):
    found = with_next(layers, expected, tolerance)
    return None if found is None else layers[found]


def all_indices(layers, expected, tolerance):
    return [
        i
        for i in range(len(layers))
        if with_next(layers[i : i + 1], expected[i : i + 1], tolerance) == 0
    ]


def written_into(layers, expected, tolerance):
    found = with_next(layers, expected, tolerance)
    for a, b in zip(layers, expected, strict=True):
        if a.shape == b.shape:
            a -= b
    return found


def calls_reference(layers, expected, tolerance):
    return capstone.first_difference(layers, expected, tolerance)


def nan_expected(layers, expected, tolerance):
    for index, (a, b) in enumerate(zip(layers, expected, strict=True)):
        fits = a.shape == b.shape
        if not fits or (a - b).abs().nan_to_num().max() > tolerance:
            return index
        if (a.isnan() != b.isnan()).any():
            return index
    return None


def below_tolerance(layers, expected, tolerance):
    for index, (a, b) in enumerate(zip(layers, expected, strict=True)):
        if a.shape != b.shape or not ((a - b).abs() < tolerance).all():
            return index
    return None


WRONG_DIFFERENCE = {
    "nan-equals-nan": [nan_expected],
    "tolerance-excluded": [below_tolerance],
    "nan-passes": [maximum_compared, any_larger],
    "shapes-broadcast": [shapes_ignored],
    "last-difference": [from_the_back],
    "zero-taken-for-none": [index_or_none],
    "relative-tolerance-left-on": [allclose_as_it_comes],
    "wrong-type": [true_or_false, the_layer_itself, all_indices],
    "input-changed": [written_into],
    "reference-used": [calls_reference, capstone.first_difference],
}


def equal_exactly(layers, expected, tolerance):
    for i, (a, b) in enumerate(zip(layers, expected, strict=True)):
        if not torch.equal(a, b):
            return i


def prints_it(layers, expected, tolerance):
    print(with_next(layers, expected, tolerance))


def sums_of_both(layers, expected, tolerance):
    for i, (a, b) in enumerate(zip(layers, expected, strict=True)):
        if a.shape != b.shape or not abs(a.sum() - b.sum()) <= tolerance:
            return i


def nan_made_zero(layers, expected, tolerance):
    layers = [x.nan_to_num() for x in layers]
    return with_next(layers, [x.nan_to_num() for x in expected], tolerance)


def minus_one(layers, expected, tolerance):
    found = with_next(layers, expected, tolerance)
    return -1 if found is None else found


WRONG_DIFFERENCE |= {
    "equal-exactly": [equal_exactly],
    "sums-cancel": [sums_of_both],
    "minus-one-for-none": [minus_one],
    "nothing-returned": [prints_it],
    "nan-passes": [*WRONG_DIFFERENCE["nan-passes"], nan_made_zero],
}


def count_of_differences(layers, expected, tolerance):
    return len(all_indices(layers, expected, tolerance)) or None


UNRECORDED_DIFFERENCE = [count_of_differences]

# Right designs of TextEncoder.


class SiLUMLP(vit_encoder.MLP):
    def forward(self, x):
        return self.fc2(F.silu(self.fc1(x)))


class FromTheCourse(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__()
        self.blocks = nn.ModuleList(
            vit_encoder.EncoderBlock(dim, num_heads, mlp_dim) for _ in range(depth)
        )
        for block in self.blocks:
            block.norm1.eps = block.norm2.eps = 1e-5
            block.mlp = SiLUMLP(dim, mlp_dim)
        self.norm = vit_encoder.LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Inherited(vit_encoder.Encoder):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)
        for block in self.blocks:
            block.mlp = SiLUMLP(dim, mlp_dim)
            block.norm1 = vit_encoder.LayerNorm(dim, eps=1e-5)
            block.norm2 = nn.LayerNorm(dim, eps=1e-5)


class TorchBlock(nn.Module):
    """All from torch: MultiheadAttention, Sequential, LayerNorm."""

    def __init__(self, dim, num_heads, mlp_dim):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(dim, eps=1e-5) for _ in range(2))
        self.attn = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp_dim), nn.SiLU(), nn.Linear(mlp_dim, dim)
        )

    def forward(self, x):
        read = self.norm1(x)
        x = x + self.attn(read, read, read, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class FromTorch(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__()
        self.blocks = nn.Sequential(
            *(TorchBlock(dim, num_heads, mlp_dim) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x):
        return self.norm(self.blocks(x))


class SeparateAttention(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.proj = nn.Linear(dim, dim)

    def heads(self, x):
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def forward(self, x):
        q, k, v = (self.heads(f(x)) for f in (self.query, self.key, self.value))
        return self.proj(
            F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        )


class BareAttention(nn.Module):
    """Square matrices by themselves, as (in, out)."""

    def __init__(self, dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        for name in ("query", "key", "value", "proj"):
            self.register_parameter(name, nn.Parameter(torch.randn(dim, dim)))
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(dim)))

    def forward(self, x):
        q, k, v = (
            (x @ getattr(self, name) + getattr(self, f"{name}_bias"))
            .unflatten(-1, (self.num_heads, -1))
            .movedim(-2, 1)
            for name in ("query", "key", "value")
        )
        scores = torch.einsum("bhnd,bhmd->bhnm", q, k) / math.sqrt(q.shape[-1])
        heads = torch.einsum("bhnm,bhmd->bnhd", scores.softmax(-1), v)
        return heads.flatten(2) @ self.proj + self.proj_bias


def with_attention(kind):
    class OwnAttention(FromTheCourse):
        def __init__(self, depth, dim, num_heads, mlp_dim):
            super().__init__(depth, dim, num_heads, mlp_dim)
            for block in self.blocks:
                block.attn = kind(dim, num_heads)

    OwnAttention.__name__ = f"With{kind.__name__}"
    return OwnAttention


class SigmoidByHand(FromTheCourse):
    """SiLU as a product, and buffers that nobody asked for."""

    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)
        self.register_buffer("unused", torch.arange(7))

    def forward(self, x):
        for block in self.blocks:
            x = x + block.attn(block.norm1(x))
            hidden = block.mlp.fc1(block.norm2(x))
            x = x + block.mlp.fc2(hidden * torch.sigmoid(hidden))
        print("left the blocks", x.shape)
        return self.norm(x)


RIGHT_ENCODERS = [
    FromTheCourse,
    Inherited,
    FromTorch,
    with_attention(SeparateAttention),
    with_attention(BareAttention),
    SigmoidByHand,
]

# Wrong answers of TextEncoder.


class NothingChanged(vit_encoder.Encoder):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)
        for block in self.blocks:
            block.norm1, block.norm2 = (nn.LayerNorm(dim, eps=1e-5) for _ in range(2))


class TorchsEpsilon(FromTorch):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)
        self.norm = nn.LayerNorm(dim)


class ReturnsTheStream(FromTheCourse):
    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class NormInTheLoop(FromTheCourse):
    def forward(self, x):
        for block in self.blocks:
            x = self.norm(block(x))
        return x


class SameBlock(FromTheCourse):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(1, dim, num_heads, mlp_dim)
        self.blocks = nn.ModuleList([self.blocks[0]] * depth)


class BlocksInAList(FromTheCourse):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)
        blocks = list(self.blocks)
        del self.blocks
        self.blocks = blocks


class NormsAfter(FromTorch):
    def forward(self, x):
        for block in self.blocks:
            x = block.norm1(x + block.attn(x, x, x)[0])
            x = block.norm2(x + block.mlp(x))
        return self.norm(x)


class NoSkips(FromTheCourse):
    def forward(self, x):
        for block in self.blocks:
            x = block.attn(block.norm1(x))
            x = x + block.mlp(block.norm2(x))
        return self.norm(x)


class OtherNames(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__()
        self.layers = FromTorch(depth, dim, num_heads, mlp_dim)

    def forward(self, x):
        return self.layers(x)


class InFloat32(FromTheCourse):
    def forward(self, x):
        self.float()
        return super().forward(x.float())


class AddsInPlace(FromTheCourse):
    def forward(self, x):
        with torch.no_grad():
            x += 0.001
        return super().forward(x - 0.001)


class WithDropout(FromTheCourse):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.1)


class CutOff(FromTheCourse):
    def forward(self, x):
        return super().forward(x.detach())


class ZerosOnTheCpu(FromTheCourse):
    def forward(self, x):
        return super().forward(x + torch.zeros(x.shape[-1]))


class RemainderDropped(FromTheCourse):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, math.gcd(dim, num_heads), mlp_dim)


class UsesTheData(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__()
        self.encoder = text_encoder()

    def forward(self, x):
        return self.encoder(x)


WRONG_ENCODERS = {
    "gelu-kept": [NothingChanged],
    "one-epsilon-everywhere": [TorchsEpsilon],
    "no-final-norm": [ReturnsTheStream],
    "norm-after-every-block": [NormInTheLoop],
    "one-block-repeated": [SameBlock],
    "plain-list-of-blocks": [BlocksInAList],
    "post-norm": [NormsAfter],
    "no-first-skip": [NoSkips],
    "missing-parameters": [OtherNames],
    "dtype-changed": [InFloat32],
    "input-changed": [AddsInPlace],
    "not-deterministic": [WithDropout],
    "gradient-cut": [CutOff],
    "device-fixed": [ZerosOnTheCpu],
    "remainder-dropped": [RemainderDropped],
    "reference-used": [UsesTheData],
}


class BlocksReversed(FromTheCourse):
    def forward(self, x):
        for block in reversed(self.blocks):
            x = block(x)
        return self.norm(x)


class ScaledSum(FromTheCourse):
    def forward(self, x):
        for block in self.blocks:
            x = (x + block(x)) / 2
        return self.norm(x)


class Hardswish(FromTorch):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)
        for block in self.blocks:
            block.mlp[1] = nn.Hardswish()


UNRECORDED_ENCODERS = [BlocksReversed, ScaledSum, Hardswish]

# Loading.


def by_axes(encoder, stored):
    encoder.load_state_dict({n: w.T if w.ndim == 2 else w for n, w in stored.items()})


def by_copy(encoder, stored):
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            value = stored[name]
            parameter.copy_(value.T if value.dim() == 2 else value)


def by_name(encoder, stored):
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Linear):
            module.weight.data = stored[f"{name}.weight"].T.contiguous()
            module.bias.data = stored[f"{name}.bias"].clone()
        elif isinstance(module, vit_encoder.LayerNorm):
            module.weight.data = stored[f"{name}.weight"]
            module.bias.data = stored[f"{name}.bias"]


def square_ones_kept(encoder, stored):
    state = {}
    for name, value in stored.items():
        square = value.ndim == 2 and value.shape[0] == value.shape[1]
        state[name] = value.T if value.ndim == 2 and not square else value
    encoder.load_state_dict(state)
    return encoder


def matrices_alone(encoder, stored):
    state = {n: w.T for n, w in stored.items() if w.ndim == 2}
    state |= {n: w for n, w in stored.items() if n.endswith("weight") and w.ndim == 1}
    encoder.load_state_dict(state, strict=False)


def turned_twice(encoder, stored):
    by_axes(encoder, stored)
    with torch.no_grad():
        for block in encoder.blocks:
            block.attn.qkv.weight.copy_(block.attn.qkv.weight.flip(0))


def nothing_loaded(encoder, stored):
    encoder.state_dict().update(stored)


def not_turned(encoder, stored):
    encoder.load_state_dict(stored)


RIGHT_LOADS = [by_axes, by_copy, by_name]
WRONG_LOADS = {
    "key-and-value-bias-swapped": [
        misconception("capstone.load", "key-and-value-bias-swapped").wrong
    ],
    "norms-swapped": [misconception("capstone.load", "norms-swapped").wrong],
    "biases-left-out": [
        misconception("capstone.load", "biases-left-out").wrong,
        matrices_alone,
    ],
    "raises": [not_turned],
    "reference-used": [capstone.load],
}

# Tests that a student may write.


@cache
def few():
    """Images to test with, their labels, and the logits of the trained model."""
    test = fashion_mnist().test[:20]
    with torch.no_grad():
        return test.normalized(), test.labels, fashion_vit()(test.normalized())


def near_the_course(model):
    images, _, expected = few()
    return (model(images) - expected).abs().max() < 2e-4


def asserted(model):
    images, _, expected = few()
    torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-4)


def on_one_image(model):
    images, _, expected = few()
    return torch.allclose(model(images[:1]), expected[:1], rtol=0, atol=2e-4)


def guesses_well(model):
    images, labels, _ = few()
    return (model(images).argmax(-1) == labels).double().mean() > 0.8


def equal_guesses(model):
    images, _, expected = few()
    return (model(images).argmax(-1) == expected.argmax(-1)).all()


def roughly(model):
    images, _, expected = few()
    return (model(images) - expected).abs().max() < 0.1


def sum_of_differences(model):
    images, _, expected = few()
    return (model(images) - expected).sum().abs() < 1e-3


def without_nan(model):
    images, _, expected = few()
    return (model(images) - expected).nan_to_num().abs().max() < 2e-4


def to_the_last_digit(model):
    images, _, expected = few()
    return torch.equal(model(images), expected)


def tenfold(layer_norm):
    x, weight, bias = torch.randn(5, 8), torch.ones(8), torch.zeros(8)
    once = layer_norm(x, weight, bias, 1e-6)
    return torch.allclose(layer_norm(10 * x, weight, bias, 1e-6), once, atol=1e-3)


def unit_variance(layer_norm):
    x = 7 * torch.randn(5, 8, dtype=torch.float64)
    y = layer_norm(x, torch.ones(8).double(), torch.zeros(8).double(), 1e-6)
    assert (y.var(-1, correction=0) - 1).abs().max() < 1e-3


def mean_alone(layer_norm):
    y = layer_norm(torch.randn(5, 8), torch.ones(8), torch.zeros(8), 1e-6)
    return y.mean(-1).abs().max() < 1e-5


def constant_token(layer_norm):
    y = layer_norm(torch.ones(5, 8), torch.ones(8), torch.zeros(8), 1e-6)
    return bool(y.isfinite().all())


def all_used(attention_class):
    part = attention_class(6, 4)
    y = part(torch.randn(2, 5, 6).requires_grad_())
    y.square().sum().backward()
    return all(p.grad is not None for p in part.parameters())


def of_the_right_shape(attention_class):
    return attention_class(6, 4)(torch.randn(2, 5, 6)).shape == (2, 5, 4)


def counted(attention_class):
    """Numbers of matrices that have an effect, and the shape of what comes out."""
    part = attention_class(9, 5)
    x = torch.randn(3, 7, 9)
    y = part(x)
    if y.shape != (3, 7, 5):
        return False
    y.sum().backward()
    found = [p.grad for p in part.parameters() if p.grad is not None and p.dim() == 2]
    return sum((grad.abs() > 0).sum() for grad in found) == 3 * 9 * 5


def scored(attention_class):
    """With all matrices a multiple of 0 but one, each of three has an effect."""
    part = attention_class(4, 3)
    x = torch.randn(1, 6, 4)
    if part(x).shape != (1, 6, 3):
        return False
    total = sum(p.numel() for p in part.parameters() if p.dim() > 1)
    part(x).pow(3).sum().backward()
    return total == 36 and all(p.grad is not None for p in part.parameters())


def shrinks(attention_class):
    """A projection of everything to 0 leaves nothing."""
    part = attention_class(6, 6)
    for p in part.parameters():
        nn.init.zeros_(p)
    return bool((part(torch.randn(2, 5, 6)) == 0).all())


def runs(attention_class):
    return attention_class(6, 6)(torch.randn(2, 5, 6)).shape == (2, 5, 6)


def by_its_names(attention_class):
    part = attention_class(6, 4)
    return all(hasattr(part, name) for name in ("query", "key", "value"))


def normalized(encoder_class):
    x = torch.randn(2, 5, 12)
    y = encoder_class(3, 12, 4, 20)(x)
    return y.shape == x.shape and bool(y.mean(-1).abs().max() < 1e-4)


def variances(encoder_class):
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    y = encoder_class(3, 12, 4, 20).double()(x)
    assert y.shape == (2, 5, 12)
    assert (y.var(-1, correction=0) - 1).abs().max() < 1e-3


def shape_alone(encoder_class):
    x = torch.randn(2, 5, 12)
    return encoder_class(3, 12, 4, 20)(x).shape == x.shape


def mean_of_what_leaves(encoder_class):
    y = encoder_class(3, 12, 4, 20)(torch.randn(2, 5, 12))
    return bool(y.mean(-1).abs().max() < 1e-4)


# What tests/test_exercises.py runs: task → answers.

RIGHT = {
    "VisionTransformer": RIGHT_MODELS,
    "first_difference": RIGHT_DIFFERENCE,
    "TextEncoder": RIGHT_ENCODERS,
    "find_the_bug": RIGHT_LOADS,
}
WRONG = {
    "VisionTransformer": WRONG_MODELS,
    "first_difference": WRONG_DIFFERENCE,
    "TextEncoder": WRONG_ENCODERS,
    "find_the_bug": WRONG_LOADS,
}
NAMELESS = {
    "VisionTransformer": UNRECORDED_MODELS,
    "first_difference": UNRECORDED_DIFFERENCE,
    "TextEncoder": UNRECORDED_ENCODERS,
    "find_the_bug": [turned_twice, nothing_loaded],
}
GOOD_TESTS = {
    "right_model": [near_the_course, asserted, on_one_image],
    "divisor": [tenfold, unit_variance],
    "projections": [counted, scored],
    "what_leaves": [normalized, variances],
}
WEAK_TESTS = {
    "right_model": [
        (guesses_well, 0, "test-accepts-wrong"),
        (equal_guesses, 0, "test-accepts-wrong"),
        (roughly, 1, "test-accepts-wrong"),
        (sum_of_differences, 1, "test-accepts-wrong"),
        (without_nan, 2, "test-accepts-wrong"),
        (to_the_last_digit, 0, "test-rejects-right"),
    ],
    "divisor": [
        (mean_alone, 0, "test-accepts-wrong"),
        (constant_token, 0, "test-accepts-wrong"),
    ],
    "projections": [
        (runs, 0, "test-accepts-wrong"),
        (of_the_right_shape, 0, "test-accepts-wrong"),
        (all_used, 0, "test-accepts-wrong"),
        (shrinks, 0, "test-accepts-wrong"),
        (by_its_names, 0, "test-rejects-right"),
    ],
    "what_leaves": [
        (shape_alone, 0, "test-accepts-wrong"),
        (mean_of_what_leaves, 0, "test-accepts-wrong"),
    ],
}
