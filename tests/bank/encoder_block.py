"""Answers on the encoder block: right designs, and wrong ones with the names they get.

What the package itself declares wrong (vit_encoder.check.encoder_block) is not
repeated; here stand other ways of writing the same, and other faults.
"""

import math

import torch
import torch.nn.functional as F
from tests.bank.variants import variants
from torch import nn

import vit_encoder
from vit_encoder import MLP, LayerNorm, MultiHeadSelfAttention, dropout
from vit_encoder.check.encoder_block import AttentionHalf

# Right designs of the attention half.


class Half(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)

    def forward(self, x):
        return self.attn(self.norm(x)) + x


class HalfOfTorch(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.attn = nn.MultiheadAttention(dim, num_heads, batch_first=True)

    def forward(self, x):
        h = self.norm(x)
        attended, _ = self.attn(h, h, h, need_weights=False)
        return torch.add(x, attended)


class HalfTokensFirst(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = nn.LayerNorm(dim, 1e-6)
        self.attn = nn.MultiheadAttention(dim, num_heads)

    def forward(self, x):
        h = self.norm(x).transpose(0, 1)
        return x + self.attn(h, h, h)[0].transpose(0, 1)


class HalfInPlaceOnACopy(Half):
    def forward(self, x):
        out = x.clone()
        out += self.attn(self.norm(x))
        return out


class Attention(nn.Module):
    """Three projections and PyTorch's product; biases of q, k, v left out."""

    def __init__(self, dim, num_heads, bias=False):
        super().__init__()
        if dim % num_heads:
            raise ValueError("heads must divide the width")
        self.num_heads = num_heads
        self.query, self.key, self.value = (
            nn.Linear(dim, dim, bias=bias) for _ in range(3)
        )
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = (
            part(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        heads = F.scaled_dot_product_attention(q, k, v)
        return self.proj(heads.transpose(1, 2).flatten(2))


class HalfWithOwnAttention(Half):
    def __init__(self, dim, num_heads):
        nn.Module.__init__(self)
        self.norm = LayerNorm(dim)
        self.attn = Attention(dim, num_heads)


class HalfInSteps(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)

    def forward(self, x):
        y = self.attn(self.norm(x))
        return x + y


class HalfStacked(HalfInSteps):
    def forward(self, x):
        return torch.stack([x, self.attn(self.norm(x))]).sum(0)


class HalfAsAFunction(HalfInSteps):
    def forward(self, tokens):
        residual = tokens
        tokens = self.norm(tokens)
        tokens = self.attn(tokens)
        tokens = tokens.add(residual)
        return tokens


class HalfImageByImage(HalfInSteps):
    def forward(self, x):
        return torch.cat([super(HalfImageByImage, self).forward(i[None]) for i in x])


class HalfInherited(MultiHeadSelfAttention):
    def __init__(self, dim: int, num_heads: int):
        super().__init__(dim, num_heads)
        attn = MultiHeadSelfAttention(dim, num_heads)
        del self.qkv, self.proj
        self.attn, self.norm = attn, LayerNorm(dim, eps=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.add(self.attn(self.norm(x)), x, alpha=1)


RIGHT_HALF = [
    HalfInSteps,
    HalfStacked,
    HalfAsAFunction,
    HalfImageByImage,
    HalfInherited,
    Half,
    HalfOfTorch,
    HalfTokensFirst,
    HalfInPlaceOnACopy,
    HalfWithOwnAttention,
]

# Right designs of the block.


class Block(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.drop = nn.Dropout(dropout)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        x = x + self.drop(self.attn(self.norm1(x)))
        x = x + self.mlp(self.norm2(x))
        return x


class OfTorch(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x):
        h = self.norm1(x)
        h, _ = self.attn(h, h, h)
        z = x + self.dropout(h)
        return z + self.mlp(self.norm2(z))


class SequentialWithoutDropout(OfTorch):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(dim, num_heads, mlp_dim, dropout)

        class DroppedGelu(nn.GELU):
            def forward(self, x):
                return F.dropout(super().forward(x), dropout, self.training)

        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp_dim), DroppedGelu(), nn.Linear(mlp_dim, dim)
        )

    def forward(self, x):
        h = self.norm1(x)
        x = self.dropout(self.attn(h, h, h, need_weights=False)[0]) + x
        return self.dropout(self.mlp(self.norm2(x))) + x


class OfHalves(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.p = dropout
        self.norm1, self.norm2 = LayerNorm(dim), LayerNorm(dim)
        self.attn = Attention(dim, num_heads, bias=True)
        self.mlp = MLP(dim, mlp_dim, dropout)
        self.register_buffer("unused", torch.arange(100))

    def add(self, x, branch):
        return x + branch

    def forward(self, x):
        print(x.shape, x.sum().item())
        assert x.ndim == 3
        branch = F.dropout(self.attn(self.norm1(x)), self.p, training=self.training)
        z = self.add(x, branch)
        return self.add(z, self.mlp(self.norm2(z)))


class SecondSumInPlace(Block):
    def forward(self, x):
        z = x + self.drop(self.attn(self.norm1(x)))
        z += self.mlp(self.norm2(z))
        return z


class BranchesAddedFirst(Block):
    def forward(self, x):
        attended = self.drop(self.attn(self.norm1(x)))
        return x + (attended + self.mlp(self.norm2(x + attended)))


class ImageByImage(Block):
    def forward(self, x):
        return torch.cat([super(ImageByImage, self).forward(i[None]) for i in x])


class BareParameters(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        if not 0 <= dropout <= 1:
            raise ValueError("p is a probability")
        self.p, self.num_heads = dropout, num_heads
        self.norm1 = nn.ParameterDict(
            {"weight": torch.ones(dim), "bias": torch.zeros(dim)}
        )
        self.norm2 = nn.ParameterDict(
            {"weight": torch.ones(dim), "bias": torch.zeros(dim)}
        )
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(dim, mlp_dim), "fc2": nn.Linear(mlp_dim, dim)}
        )

    def normalize(self, x, norm):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) / (variance + 1e-6).sqrt() * norm["weight"] + norm["bias"]

    def drop(self, x):
        return F.dropout(x, self.p, self.training)

    def forward(self, x):
        z = x + self.drop(self.attn(self.normalize(x, self.norm1)))
        hidden = F.gelu(self.mlp["fc1"](self.normalize(z, self.norm2)))
        return z + self.drop(self.mlp["fc2"](self.drop(hidden)))


class InSteps(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, p=0.0):
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.drop = nn.Dropout(p)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, p)

    def forward(self, x):
        z = x + self.drop(self.attn(self.norm1(x)))
        y = z + self.mlp(self.norm2(z))
        return y


class AsInTimm(OfTorch):
    """With what is there for other uses and does nothing here."""

    def __init__(self, dim, num_heads, mlp_dim, drop=0.0, init_values=None):
        super().__init__(dim, num_heads, mlp_dim, drop)
        self.ls1 = self.ls2 = self.drop_path1 = self.drop_path2 = nn.Identity()

    def forward(self, x):
        h = self.norm1(x)
        h = self.dropout(self.attn(h, h, h, need_weights=False)[0])
        x = x + self.drop_path1(self.ls1(h))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))


class AsInTorchvision(InSteps):
    def forward(self, input):
        torch._assert(input.dim() == 3, f"expected three axes, got {input.shape}")
        x = self.norm1(input)
        x = self.attn(x)
        x = self.drop(x)
        x = x + input
        y = self.norm2(x)
        y = self.mlp(y)
        return x + y


class InALoop(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.norm1, self.norm2 = (LayerNorm(dim, eps=1e-6) for _ in range(2))
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.mlp = MLP(dim=dim, mlp_dim=mlp_dim, dropout=dropout)
        self.drop = nn.Dropout(p=dropout, inplace=True)

    def forward(self, x):
        halves = (self.norm1, self.attn, self.drop), (self.norm2, self.mlp)
        for norm, branch, *rest in halves:
            added = branch(norm(x))
            for step in rest:
                added = step(added)
            x = torch.add(x, added)
        return x


class InDictionaries(nn.Module):
    """Heads split as in timm, and PyTorch's product."""

    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        if not 0 <= dropout <= 1 or dim % num_heads:
            raise ValueError(dropout, num_heads)
        self.p, self.h = dropout, num_heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(dim, 3 * dim), "proj": nn.Linear(dim, dim)}
        )
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(dim, mlp_dim), "fc2": nn.Linear(mlp_dim, dim)}
        )

    def drop(self, x):
        return F.dropout(x, self.p, self.training)

    def forward(self, x):
        B, N, D = x.shape
        qkv = self.attn["qkv"](self.norm1(x)).reshape(B, N, 3, self.h, D // self.h)
        heads = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))
        heads = heads.transpose(1, 2).reshape(B, N, D)
        x = x + self.drop(self.attn["proj"](heads))
        hidden = self.drop(F.gelu(self.mlp["fc1"](self.norm2(x))))
        return x + self.drop(self.mlp["fc2"](hidden))


class SumsOfAStack(InSteps):
    def forward(self, x):
        z = torch.stack([x, self.drop(self.attn(self.norm1(x)))]).sum(0)
        return torch.stack([z, self.mlp(self.norm2(z))]).sum(0)


class WithMoreArguments(InSteps):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0, **more):
        super().__init__(dim, num_heads, mlp_dim, dropout)
        self.more, self.last = more, None

    def forward(self, x):
        self.last = super().forward(x)
        return self.last


class OfResiduals(InSteps):
    class Residual(nn.Module):
        def __init__(self, branch):
            super().__init__()
            self.branch = branch

        def forward(self, x):
            return self.branch(x) + x

    def forward(self, x):
        first = self.Residual(lambda x: self.drop(self.attn(self.norm1(x))))
        second = self.Residual(lambda x: self.mlp(self.norm2(x)))
        return second(first(x))


RIGHT_BLOCK = [
    InSteps,
    AsInTimm,
    AsInTorchvision,
    InALoop,
    InDictionaries,
    SumsOfAStack,
    WithMoreArguments,
    OfResiduals,
    Block,
    OfTorch,
    SequentialWithoutDropout,
    OfHalves,
    SecondSumInPlace,
    BranchesAddedFirst,
    ImageByImage,
    BareParameters,
]

# Wrong answers of the attention half: name → answers that must get exactly this name.


class HalfPostNormOfTorch(HalfOfTorch):
    def forward(self, x):
        return self.norm(x + self.attn(x, x, x)[0])


class HalfOverwritten(Half):
    def forward(self, x):
        normed = self.norm(x)
        return normed + self.attn(normed)


class HalfOneName(HalfOfTorch):
    def forward(self, x):
        x = self.norm(x)
        x, _ = self.attn(x, x, x)
        return x + x


class HalfInPlace(Half):
    def forward(self, x):
        return x.add_(self.attn(self.norm(x)))


class HalfInPlaceUnseen(Half):
    def forward(self, x):
        out = x + self.attn(self.norm(x))
        with torch.no_grad():
            x.zero_()
        return out


class HalfInNumpy(Half):
    def forward(self, x):
        return super().forward(x).detach().numpy()


class HalfOfPair(HalfOfTorch):
    def forward(self, x):
        h = self.norm(x)
        return x + self.attn(h, h, h)


class HalfSilent(Half):
    def forward(self, x):
        self.attn(self.norm(x))


class HalfOtherNames(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.ln = LayerNorm(dim)
        self.msa = MultiHeadSelfAttention(dim, num_heads)

    def forward(self, x):
        return x + self.msa(self.ln(x))


class HalfTokensFirstForgotten(HalfTokensFirst):
    def forward(self, x):
        h = self.norm(x)
        return x + self.attn(h, h, h, need_weights=False)[0]


class HalfHeadsOfOne(Half):
    def __init__(self, dim, num_heads):
        super().__init__(dim, 1)


class HalfOfSmallEpsilon(Half):
    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        self.norm = LayerNorm(dim, eps=1e-12)


class HalfFromTheBlock(Half):
    def forward(self, x):
        dim, heads = x.shape[-1], self.attn.num_heads
        block = vit_encoder.EncoderBlock(dim, heads, 1).to(x)
        nn.init.zeros_(block.mlp.fc2.weight)
        return block(x)


class HalfScaled(Half):
    def forward(self, x):
        return (x + self.attn(self.norm(x))) / math.sqrt(2)


class HalfSubtracted(Half):
    def forward(self, x):
        return x - self.attn(self.norm(x))


ATTEND, HALF_ATTENTION = "y = self.attn(self.norm(x))", "MultiHeadSelfAttention(dim, "


def half(*changes):
    """HalfInSteps with other text in some places."""
    return variants(HalfInSteps, *changes)


def half_returning(*results):
    """HalfInSteps that returns something else."""
    return half(*({"return x + y": f"return {other}"} for other in results))


def half_attending(*attentions):
    """HalfInSteps whose attention reads or gives something else."""
    return half(*({ATTEND: f"y = {other}"} for other in attentions))


def half_of_torch(*calls):
    """HalfInSteps with PyTorch's attention."""
    torchs = "nn.MultiheadAttention(dim, num_heads, batch_first=True)"
    return half(
        *(
            {f"{HALF_ATTENTION}num_heads)": torchs}
            | {ATTEND: f"h = self.norm(x)\n        y = self.attn({call})[0]"}
            for call in calls
        )
    )


WRONG_HALF = {
    "stream-changed": [
        HalfScaled,
        *half_returning("y - x", "x * y", "(x + y) / 2", "2 * x + y", "x + x"),
        *half_attending("self.norm(x)"),
        *half(
            {"= LayerNorm(dim)": "= LayerNorm(dim)\n        self.mlp = MLP(dim, 7)"}
            | {"return x + y": "return x + self.mlp(x + y)"}
        ),
    ],
    "branch-scaled": [
        HalfSubtracted,
        *half_returning("x + y / 2", "x + y + y", "x", "x + 0.01 * y"),
    ],
    "attention-half": [
        *half_returning("x + self.norm(y)", "F.relu(x + y)", "torch.maximum(x, y)"),
        *half_returning("x + y.mean(1, keepdim=True)", "x + y[:, :1]"),
        *half_attending(
            "self.norm(self.attn(self.norm(x)))",
            "self.attn(self.norm(self.norm(x)))",
            "self.attn(self.attn(self.norm(x)))",
            "self.attn(self.norm(x).flip(1))",
        ),
        *half(
            {"(dim, num_heads)\n\n": "(dim, dim)\n\n"},
            {"(dim, num_heads)\n\n": "(dim, 2)\n\n"},
            {
                "LayerNorm(dim)": "nn.BatchNorm1d(dim)",
                "self.norm(x)": "self.norm(x.mT).mT",
            },
            {
                "LayerNorm(dim)": "nn.GroupNorm(1, dim)",
                "self.norm(x)": "self.norm(x.mT).mT",
            },
        ),
        *half_of_torch("x, h, h", "h, h, x"),
        *half_of_torch(
            "h, h, h, attn_mask=torch.ones(2 * x.shape[1:2]).triu(1).bool()"
        ),
    ],
    "images-mixed": half_attending(
        "self.attn(self.norm(x).transpose(0, 1)).transpose(0, 1)",
        "self.attn(self.norm(x).flatten(0, 1)[None]).view(x.shape)",
    ),
    "norm-on-query-only": half_of_torch("h, x, x"),
    "norm-on-the-sum": half_returning("self.norm(x + y)"),
    "norm-on-the-output": half_attending("self.norm(self.attn(x))"),
    "no-norm": half_attending("self.attn(x)"),
    "no-skip": half_returning("y"),
    "arguments-exchanged": half(
        {"(dim, num_heads)\n\n": "(num_heads, dim)\n\n"},
        {"self, dim, num_heads": "self, num_heads, dim"},
    ),
    "heads-for-head-width": half(
        {"(dim, num_heads)\n\n": "(dim, dim // num_heads)\n\n"}
    ),
    "torchs-epsilon": half({"= LayerNorm": "= nn.LayerNorm"}),
    "unasked-dropout": [
        *half_returning("F.dropout(x + y, 0.1, self.training)"),
        *half_attending(
            "nn.Dropout(0.1)(self.attn(self.norm(x))) if self.training "
            "else self.attn(self.norm(x))"
        ),
    ],
    "not-deterministic": half_returning("x + F.dropout(y, 0.1)"),
    "extra-parameters": half(
        {
            "= LayerNorm(dim)": "= LayerNorm(dim)\n        self.scale = nn.Parameter("
            "torch.ones(1))",
            "return x + y": "return x + self.scale * y",
        }
    ),
    "nan-hidden": half_returning("(x + y).nan_to_num()"),
    "axis-squeezed": half_returning("(x + y).squeeze()"),
    "wrong-shape": half_returning("torch.cat([x, y], -1)", "(x + y)[:, 0]"),
    "trailing-comma": half_returning("x + y,"),
    "printed-not-returned": half({"return x + y": "print(x + y)"}),
    "super-init-missing": half({"        super().__init__()\n": ""}),
    "self-forgotten": half({"(self, x)": "(x)"}),
    "wrong-signature": half({"dim, num_heads):": "dim, num_heads, mlp_dim):"}),
    "wrong-parameter-shape": half({"LayerNorm(dim)": "LayerNorm(num_heads)"}),
    "tuple-for-tensor": [HalfOfPair],
    "numpy-returned": [HalfInNumpy],
    "post-norm": [HalfPostNormOfTorch],
    "norm-on-the-skip": [HalfOverwritten],
    "added-to-itself": [HalfOneName],
    "added-in-place": [HalfInPlace],
    "input-changed": [HalfInPlaceUnseen],
    "returns-none": [HalfSilent],
    "missing-parameters": [
        HalfOtherNames,
        *half({"self.norm = ": "self.ln = ", "self.norm(x)": "self.ln(x)"}),
        *half({f"{HALF_ATTENTION}num_heads)": "vit_encoder.SelfAttention(dim, dim)"}),
    ],
    "attention-across-images": [HalfTokensFirstForgotten],
    "one-head": [HalfHeadsOfOne],
    "other-epsilon": [HalfOfSmallEpsilon],
    "reference-used": [AttentionHalf, HalfFromTheBlock],
}

# Wrong answers of the block.


class PostNormOfTorch(OfTorch):
    def forward(self, x):
        x = self.norm1(x + self.dropout(self.attn(x, x, x)[0]))
        return self.norm2(x + self.mlp(x))


class SkipsNormed(Block):
    def forward(self, x):
        h = self.norm1(x)
        z = h + self.drop(self.attn(h))
        h = self.norm2(z)
        return h + self.mlp(h)


class OneObjectTwice(Block):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(dim, num_heads, mlp_dim, dropout)
        self.norm2 = self.norm1


class OneNormUsed(OfTorch):
    def forward(self, x):
        h = self.norm1(x)
        z = x + self.dropout(self.attn(h, h, h)[0])
        return z + self.mlp(self.norm1(z))


class SideBySide(Block):
    def forward(self, x):
        attended = self.drop(self.attn(self.norm1(x)))
        computed = self.mlp(self.norm2(x))
        return x + attended + computed


class FirstSumLost(Block):
    def forward(self, x):
        residual = x
        x = residual + self.drop(self.attn(self.norm1(x)))
        return residual + self.mlp(self.norm2(x))


class SumsOfOneName(OfTorch):
    def forward(self, x):
        x = self.norm1(x)
        x, _ = self.attn(x, x, x)
        x = x + self.dropout(x)
        x = self.mlp(self.norm2(x))
        return x + x


class Chain(Block):
    def forward(self, x):
        for part in (self.norm1, self.attn, self.drop, self.norm2, self.mlp):
            x = part(x)
        return x


class InPlace(Block):
    def forward(self, x):
        x += self.drop(self.attn(self.norm1(x)))
        x += self.mlp(self.norm2(x))
        return x


class QueryNormed(OfTorch):
    def forward(self, x):
        z = x + self.dropout(self.attn(self.norm1(x), x, x)[0])
        return z + self.mlp(self.norm2(z))


class BatchNotFirst(OfTorch):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(dim, num_heads, mlp_dim, dropout)
        self.attn = nn.MultiheadAttention(dim, num_heads)


class HeadsForgotten(OfTorch):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(dim, 1, mlp_dim, dropout)


class DefaultEpsilon(OfTorch):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(dim, num_heads, mlp_dim, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)


class OneDefaultEpsilon(OfTorch):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(dim, num_heads, mlp_dim, dropout)
        self.norm2 = nn.LayerNorm(dim)


class TwoLayers(OfTorch):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(dim, num_heads, mlp_dim, dropout)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp_dim),
            nn.Identity(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, dim),
            nn.Dropout(dropout),
        )


class Relu(OfTorch):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(dim, num_heads, mlp_dim, dropout)
        self.mlp[1] = nn.ReLU()


class DropoutNeverHeardOf(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(dim), LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.mlp = MLP(dim, mlp_dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class DroppedSums(SequentialWithoutDropout):
    def forward(self, x):
        h = self.norm1(x)
        x = self.dropout(x + self.attn(h, h, h)[0])
        return self.dropout(x + self.mlp(self.norm2(x)))


class AlwaysDropped(Block):
    def forward(self, x):
        x = x + F.dropout(self.attn(self.norm1(x)), self.drop.p)
        return x + self.mlp(self.norm2(x))


class AllAlwaysDropped(SequentialWithoutDropout):
    def forward(self, x):
        h = self.norm1(x)
        x = x + F.dropout(self.attn(h, h, h)[0], self.dropout.p)
        return x + F.dropout(self.mlp(self.norm2(x)), self.dropout.p)


class WeightsDropped(OfTorch):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(dim, num_heads, mlp_dim, dropout)
        self.attn = nn.MultiheadAttention(
            dim, num_heads, dropout=dropout, batch_first=True
        )
        self.dropout = nn.Identity()


class DroppedOnceMore(OfTorch):
    def forward(self, x):
        h = self.norm1(x)
        z = x + self.dropout(self.attn(h, h, h)[0])
        return z + self.dropout(self.mlp(self.norm2(z)))


class AnyProbability(BareParameters):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(dim, num_heads, mlp_dim, min(dropout, 1.0))


class RemainderDropped(Block):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        num_heads = math.gcd(num_heads, dim)
        super().__init__(dim, num_heads, mlp_dim, dropout)


class OneNorm(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        x = x + self.attn(self.norm(x))
        return x + self.mlp(self.norm(x))


class OtherNames(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.ln_1, self.ln_2 = LayerNorm(dim), LayerNorm(dim)
        self.attention = MultiHeadSelfAttention(dim, num_heads)
        self.feed_forward = MLP(dim, mlp_dim, dropout)
        self.p = dropout

    def forward(self, x):
        x = x + dropout(self.attention(self.ln_1(x)), self.p, self.training)
        return x + self.feed_forward(self.ln_2(x))


class PlainList(Block):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(dim, num_heads, mlp_dim, dropout)
        self.norms = [self.norm1, self.norm2]
        del self.norm1, self.norm2

    def forward(self, x):
        x = x + self.drop(self.attn(self.norms[0](x)))
        return x + self.mlp(self.norms[1](x))


class HiddenWidthIgnored(Block):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(dim, num_heads, 4 * dim, dropout)


class PairReturned(Block):
    def forward(self, x):
        z = x + self.drop(self.attn(self.norm1(x)))
        return z, z + self.mlp(self.norm2(z))


class ReturnForgotten(Block):
    def forward(self, x):
        x = x + self.drop(self.attn(self.norm1(x)))
        x = x + self.mlp(self.norm2(x))


class InHalf(Block):
    def forward(self, x):
        return super().forward(x).half()


class NoGradient(Block):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class ZerosOnTheCpu(Block):
    def forward(self, x):
        return super().forward(x) + torch.zeros(x.shape[-1])


class DropoutAtTenPercent(Block):
    def forward(self, x):
        x = x + F.dropout(self.attn(self.norm1(x)), 0.1)
        return x + self.mlp(self.norm2(x))


class LayerOfTorch(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            dim,
            num_heads,
            mlp_dim,
            dropout,
            activation="gelu",
            layer_norm_eps=1e-6,
            batch_first=True,
            norm_first=True,
        )

    def forward(self, x):
        return self.layer(x)


class StackOfTorch(LayerOfTorch):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(dim, num_heads, mlp_dim, dropout)
        self.layer = nn.TransformerEncoder(self.layer, 1)


class Inherited(vit_encoder.EncoderBlock):
    pass


class Wrapped(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.block = vit_encoder.EncoderBlock(dim, num_heads, mlp_dim, dropout)

    def forward(self, x):
        return self.block(x)


class FromTheOracle(Block):
    def forward(self, x):
        get = dict(self.named_parameters()).__getitem__
        return vit_encoder.check.judging.oracle.encoder_block(
            x, get, self.attn.num_heads
        )


class SecondNormTwice(Block):
    def forward(self, x):
        x = x + self.drop(self.attn(self.norm2(x)))
        return x + self.mlp(self.norm2(x))


class AttentionTwice(Block):
    def forward(self, x):
        x = x + self.drop(self.attn(self.norm1(x)))
        x = x + self.drop(self.attn(self.norm1(x)))
        return x + self.mlp(self.norm2(x))


class NormOnTheLastSum(Block):
    def forward(self, x):
        x = x + self.drop(self.attn(self.norm1(x)))
        return self.norm2(x + self.mlp(self.norm2(x)))


class InputAddedAtTheEnd(Block):
    def forward(self, x):
        z = x + self.drop(self.attn(self.norm1(x)))
        return x + z + self.mlp(self.norm2(z))


class MlpReadsTheAttention(Block):
    def forward(self, x):
        attended = self.drop(self.attn(self.norm1(x)))
        return x + attended + self.mlp(self.norm2(attended))


class MlpReadsTheNormed(Block):
    def forward(self, x):
        h = self.norm1(x)
        z = x + self.drop(self.attn(h))
        return z + self.mlp(self.norm2(h))


FIRST = "z = x + self.drop(self.attn(self.norm1(x)))"
SECOND = "y = z + self.mlp(self.norm2(z))"
HEADS, HIDDEN = "MultiHeadSelfAttention(dim, num_heads)", "MLP(dim, mlp_dim, p)"
NORM1, NORM2 = "self.norm1 = LayerNorm(dim)", "self.norm2 = LayerNorm(dim)"


def block(*changes):
    """InSteps with other text in some places."""
    return variants(InSteps, *changes)


def first(*others):
    """InSteps with another first half."""
    return block(*({FIRST: f"z = {other}"} for other in others))


def second(*others):
    """InSteps with another second half."""
    return block(*({SECOND: f"y = {other}"} for other in others))


def returning(*results):
    """InSteps that returns something else."""
    return block(*({"return y": f"return {other}"} for other in results))


def beginning(code, **changes):
    """A change of InSteps that runs a statement before its first half."""
    return {"z = x +": f"{code}\n        z = x +", **changes}


def in_evaluation(code):
    """Runs a statement in evaluation."""
    return beginning(f"if not self.training:\n            {code}")


def with_part(part, **changes):
    """A change of InSteps that gives it one part more."""
    return {NORM2: f"{NORM2}\n        {part}", **changes}


TO_ATTEND = "self.drop(self.attn(self.norm1(x)))"
DROP_PATH = """def forward(self, x):
        keep = 1 - self.drop.p if self.training else 1.0
        gate = x.new_empty(len(x), 1, 1).bernoulli_(keep) / max(keep, 1e-9)"""
WRONG_BLOCK = {
    "stream-changed": [
        NormOnTheLastSum,
        InputAddedAtTheEnd,
        *first(
            "self.norm1(x + self.drop(self.attn(x)))",
            f"x + x + {TO_ATTEND}",
            f"(x + {TO_ATTEND}) / math.sqrt(2)",
            "x + self.drop(self.norm1(x))",
            f"F.gelu(x + {TO_ATTEND})",
            f"x * {TO_ATTEND}",
        ),
        *second(
            "self.norm2(z + self.mlp(z))",
            "z + self.norm2(self.mlp(z))",
            "z + self.norm2(z)",
            "x + z + self.mlp(self.norm2(z))",
        ),
        *returning("y / 2", "y + x", "self.norm2(y)"),
        *block(
            with_part(
                "self.norm3 = LayerNorm(dim)", **{"return y": "return self.norm3(y)"}
            )
        ),
    ],
    "attention-half": [
        AttentionTwice,
        SecondNormTwice,
        *first(
            "x + self.drop(self.norm1(self.attn(x)))",
            "x + self.drop(self.norm1(self.attn(self.norm1(x))))",
            "x + self.drop(self.attn(self.norm1(self.mlp(x))))",
        ),
        *block(
            {
                NORM1: "self.norm1 = nn.BatchNorm1d(dim)",
                "self.norm1(x)": "self.norm1(x.mT).mT",
            }
        ),
        *returning("F.relu(y)"),
    ],
    "mlp-half": [
        MlpReadsTheNormed,
        *second("z + F.gelu(self.mlp(self.norm2(z)))"),
        *second("z + self.mlp(self.norm2(z + self.mlp(self.norm2(z))))"),
        *block(
            {
                HIDDEN: "nn.Sequential(nn.Linear(dim, mlp_dim), nn.SiLU(), "
                "nn.Dropout(p), nn.Linear(mlp_dim, dim), nn.Dropout(p))"
            }
        ),
    ],
    "branch-scaled": [
        *first(f"x - {TO_ATTEND}", f"x + 0.5 * {TO_ATTEND}"),
        *second("z - self.mlp(self.norm2(z))", "z + 2 * self.mlp(self.norm2(z))"),
        *returning("(y + x) / 2"),
        *block(
            with_part(
                "self.gamma = nn.Parameter(1e-5 * torch.ones(dim))",
                **{"z = x +": "z = x + self.gamma *"},
            )
        ),
    ],
    "mlp-reads-the-attention": [
        MlpReadsTheAttention,
    ],
    "one-skip-around-both": block(
        {FIRST: f"z = {TO_ATTEND}", SECOND: "y = x + self.mlp(self.norm2(z))"}
    ),
    "attention-left-out": first("x"),
    "mlp-left-out": [*second("z"), *returning("z")],
    "no-first-skip": first(TO_ATTEND),
    "no-second-skip": second("self.mlp(self.norm2(z))"),
    "norm-on-the-first-skip": first(f"self.norm1(x) + {TO_ATTEND}"),
    "norm-on-the-second-skip": second("self.norm2(z) + self.mlp(self.norm2(z))"),
    "mlp-first": block(
        {FIRST: "z = x + self.mlp(self.norm2(x))"}
        | {SECOND: "y = z + self.drop(self.attn(self.norm1(z)))"}
    ),
    "images-mixed": first(
        "x + self.drop(self.attn(self.norm1(x.transpose(0, 1))).transpose(0, 1))"
    ),
    "heads-for-head-width": block({HEADS: HEADS.replace("num", "dim // num")}),
    "arguments-exchanged": block(
        {HEADS: "MultiHeadSelfAttention(num_heads, dim)"},
        {"dim, num_heads, mlp_dim, p=": "num_heads, dim, mlp_dim, p="},
    ),
    "hidden-width-for-heads": block(
        {HEADS: "MultiHeadSelfAttention(dim, mlp_dim)"},
        {"dim, num_heads, mlp_dim, p=": "dim, mlp_dim, num_heads, p="},
    ),
    "dropout-elsewhere": first("x + self.attn(self.drop(self.norm1(x)))"),
    "no-dropout-after-attention": first("x + self.attn(self.norm1(x))"),
    "mlp-without-dropout": block({HIDDEN: "MLP(dim, mlp_dim)"}),
    "shared-gates": block(
        {"nn.Dropout(p)": "nn.Dropout1d(p)"},
        {"def forward(self, x):": DROP_PATH, "self.drop(self": "gate * (self"},
    ),
    "another-share": block({"nn.Dropout(p)": "nn.Dropout(p * p)"}),
    "dropout-off-for-good": block(
        in_evaluation("self.drop.p = 0"),
        in_evaluation("self.drop.p = self.mlp.dropout = 0.0"),
    ),
    "unasked-dropout": block(
        {"p=0.0": "p=0.1"},
        {"p=0.0": "p=0.5"},
    ),
    "state-kept": block(
        {FIRST: f"self.seen = getattr(self, 'seen', 0) + 1\n        {FIRST}"}
        | {"return y": "return y if self.seen < 2 or self.drop.p else x"}
    ),
    "extra-parameters": block(
        with_part(
            "self.gamma = nn.Parameter(torch.ones(dim))",
            **{"return y": "return y * self.gamma"},
        )
    ),
    "nan-hidden": returning("y.nan_to_num()"),
    "seed-set": block(beginning("torch.manual_seed(0)")),
    "axis-squeezed": returning("y.squeeze(0)"),
    "wrong-shape": returning("y[:, 0]", "y.mean(1)"),
    "trailing-comma": returning("y,"),
    "printed-not-returned": block({"return y": "print(y)"}),
    "super-init-missing": block({"        super().__init__()\n": ""}),
    "attribute-never-set": block({"self.attn = ": "attn = "}),
    "self-dot-forgotten": block({"self.attn(self": "attn(self"}),
    "wrong-signature": block(
        {"mlp_dim, p=0.0": "mlp_dim", "nn.Dropout(p)": "nn.Dropout(0.0)"}
        | {HIDDEN: "MLP(dim, mlp_dim)"}
    ),
    "post-norm": [PostNormOfTorch],
    "norm-on-the-skip": [SkipsNormed],
    "one-norm-twice": [OneObjectTwice, OneNormUsed],
    "mlp-reads-the-input": [SideBySide],
    "skip-from-the-input": [FirstSumLost],
    "both-added-to-themselves": [SumsOfOneName],
    "no-skips": [Chain],
    "added-in-place": [InPlace],
    "norm-on-query-only": [QueryNormed],
    "attention-across-images": [BatchNotFirst],
    "one-head": [HeadsForgotten],
    "torchs-epsilon": [DefaultEpsilon],
    "other-epsilon": [OneDefaultEpsilon],
    "no-activation": [TwoLayers],
    "relu-in-the-mlp": [Relu],
    "dropout-ignored": [DropoutNeverHeardOf],
    "dropout-on-the-stream": [DroppedSums],
    "dropout-in-evaluation": [AlwaysDropped, AllAlwaysDropped],
    "dropout-on-the-weights": [WeightsDropped],
    "dropout-twice": [DroppedOnceMore],
    "any-probability-taken": [AnyProbability],
    "remainder-dropped": [RemainderDropped],
    "missing-parameters": [OneNorm, OtherNames, PlainList],
    "wrong-parameter-shape": [
        HiddenWidthIgnored,
        *block(
            {HIDDEN: "MLP(mlp_dim, dim, p)"},
            {HIDDEN: "MLP(dim, dim, p)"},
            {HIDDEN: "MLP(dim, num_heads, p)"},
            {NORM1: "self.norm1 = LayerNorm(mlp_dim)"},
        ),
    ],
    "wrong-type": [PairReturned],
    "returns-none": [ReturnForgotten, *block({"return y": "y"})],
    "dtype-changed": [InHalf],
    "gradient-cut": [NoGradient],
    "device-fixed": [ZerosOnTheCpu],
    "not-deterministic": [DropoutAtTenPercent],
    "built-in-used": [LayerOfTorch, StackOfTorch],
    "reference-used": [Inherited, Wrapped, FromTheOracle, vit_encoder.EncoderBlock],
}

# Designs of the post-norm block.


class PostNorm(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim):
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(dim), LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.mlp = MLP(dim, mlp_dim)

    def forward(self, x):
        x = self.norm1(x + self.attn(x))
        return self.norm2(x + self.mlp(x))


class PostNormInALoop(PostNorm):
    def forward(self, x):
        for norm, branch in ((self.norm1, self.attn), (self.norm2, self.mlp)):
            x = norm(torch.add(branch(x), x))
        return x


class PostNormOfTorchsParts(OfTorch):
    def forward(self, x):
        x = self.norm1(x + self.dropout(self.attn(x, x, x)[0]))
        return self.norm2(self.mlp(x) + x)


class SkipsBeforeTheNorm(PostNorm):
    def forward(self, x):
        x = x + self.attn(x)
        return self.norm2(x + self.mlp(self.norm1(x)))


class NormedOnceMore(PostNorm):
    def forward(self, x):
        return self.norm2(super().forward(x))


# Tests that a student may write.


def randomized(part):
    block = part(12, 3, 20).double()
    with torch.no_grad():
        for p in block.parameters():
            p.copy_(torch.randn(p.shape) / 2)
    return block


def by_the_equations(part):
    block, x = randomized(part), torch.randn(2, 5, 12).double()
    z = x + block.attn(block.norm1(x))
    torch.testing.assert_close(block(x), z + block.mlp(block.norm2(z)))


def against_torch(part):
    block, x = randomized(part), torch.randn(2, 5, 12).double()
    layer = nn.TransformerEncoderLayer(
        12, 3, 20, 0.0, F.gelu, 1e-6, batch_first=True, norm_first=True
    ).double()
    values = dict(block.named_parameters())
    names = {"attn.qkv.weight": "self_attn.in_proj_weight"}
    names |= {"attn.qkv.bias": "self_attn.in_proj_bias"}
    for old, new in (
        ("attn.proj", "self_attn.out_proj"),
        ("mlp.fc1", "linear1"),
        ("mlp.fc2", "linear2"),
    ):
        names |= {f"{old}.{kind}": f"{new}.{kind}" for kind in ("weight", "bias")}
    layer.load_state_dict({names.get(n, n): p for n, p in values.items()})
    return torch.allclose(block(x), layer(x))


def other_norms(part):
    """In float32, and only the norms are changed."""
    block, x = part(12, 3, 20), torch.randn(2, 5, 12)
    nn.init.normal_(block.norm1.weight)
    nn.init.normal_(block.norm2.bias)
    z = x + block.attn(block.norm1(x))
    y = z + block.mlp(block.norm2(z))
    assert (block(x) - y).abs().max() < 1e-4


def shapes(part):
    return part(12, 3, 20)(torch.randn(2, 5, 12)).shape == (2, 5, 12)


def silent_branches(part):
    block, x = randomized(part), torch.randn(2, 5, 12).double()
    for layer in (block.attn.proj, block.mlp.fc2):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return torch.allclose(block(x), x)


def all_used(part):
    block = part(12, 3, 20)
    block(torch.randn(2, 5, 12)).sum().backward()
    assert all(p.grad is not None for p in block.parameters())


def new_block(part):
    block, x = part(12, 3, 20).double(), torch.randn(2, 5, 12).double()
    z = x + block.attn(block.norm1(x))
    return torch.allclose(block(x), z + block.mlp(block.norm2(z)))


def bit_by_bit(part):
    block, x = randomized(part), torch.randn(2, 5, 12).double()
    z = x + block.attn(block.norm1(x))
    return torch.equal(block(x), z + block.mlp(block.norm2(z)))


def built_wrong(part):
    return part(12, 3)(torch.randn(2, 5, 12)) is not None


# What tests/test_exercises.py runs: task → answers.

# Answers of the block whose branches stand side by side.


class Fused(nn.Module):
    """As in timm: views, then torch's attention."""

    def __init__(self, dim, num_heads, mlp_dim):
        super().__init__()
        if dim % num_heads != 0:
            raise ValueError("dim must be divisible by num_heads")
        self.dim, self.h, self.d = dim, num_heads, dim // num_heads
        self.norm = LayerNorm(dim)
        self.enter = nn.Linear(dim, 3 * dim + mlp_dim)
        self.leave = nn.Linear(dim + mlp_dim, dim)

    def forward(self, x):
        B, N, D = x.shape
        y = self.enter(self.norm(x))
        q, k, v, hidden = torch.split(y, [D, D, D, y.shape[-1] - 3 * D], dim=-1)
        q = q.view(B, N, self.h, self.d).transpose(1, 2)
        k = k.view(B, N, self.h, self.d).transpose(1, 2)
        v = v.view(B, N, self.h, self.d).transpose(1, 2)
        heads = F.scaled_dot_product_attention(q, k, v)
        heads = heads.transpose(1, 2).reshape(B, N, D)
        return x + self.leave(torch.cat([heads, F.gelu(hidden)], dim=-1))


class HeadByHead(nn.Module):
    """Slices by their numbers, the scores by hand."""

    def __init__(self, dim, num_heads, mlp_dim):
        super().__init__()
        assert_fits(dim, num_heads)
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.enter = nn.Linear(dim, dim * 3 + mlp_dim)
        self.leave = nn.Linear(mlp_dim + dim, dim)

    def forward(self, x):
        D, size = x.size(-1), x.size(-1) // self.num_heads
        all_of_it = self.enter(self.norm(x))
        parts = []
        for i in range(self.num_heads):
            q, k, v = (
                all_of_it[:, :, j * D + i * size : j * D + (i + 1) * size]
                for j in range(3)
            )
            weights = (q @ k.mT / size**0.5).softmax(-1)
            parts.append(weights @ v)
        parts.append(vit_encoder.gelu(all_of_it[:, :, 3 * D :]))
        return self.leave(torch.cat(parts, -1)) + x


class TwoProducts(nn.Module):
    """The two halves of `leave` used apart, each sum on its own."""

    def __init__(self, dim, num_heads, mlp_dim):
        super().__init__()
        assert_fits(dim, num_heads)
        self.num_heads = num_heads
        self.norm = LayerNorm(dim)
        self.enter = nn.Linear(dim, mlp_dim + 3 * dim)
        self.leave = nn.Linear(dim + mlp_dim, dim)

    def forward(self, x):
        D = x.shape[-1]
        z = self.norm(x)
        qkv = F.linear(z, self.enter.weight[: 3 * D], self.enter.bias[: 3 * D])
        hidden = F.linear(z, self.enter.weight[3 * D :], self.enter.bias[3 * D :])
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = vit_encoder.attention(*qkv)[0].transpose(1, 2).flatten(2)
        x = x + attended @ self.leave.weight[:, :D].T
        return x + F.linear(F.gelu(hidden), self.leave.weight[:, D:], self.leave.bias)


def assert_fits(dim, num_heads):
    if dim % num_heads:
        raise ValueError(f"{num_heads} heads do not divide {dim}")


def parallel(*changes):
    """Fused with other text in some places."""
    return variants(Fused, *changes)


CAT = "torch.cat([heads, F.gelu(hidden)], dim=-1)"
QKVH = "[D, D, D, y.shape[-1] - 3 * D]"


class DropsTheRest(Fused):
    """Heads of int(D / h) features; what is left over is never read."""

    def __init__(self, dim, num_heads, mlp_dim):
        super().__init__(dim, 1, mlp_dim)
        self.h, self.d = num_heads, dim // num_heads

    def forward(self, x):
        D = x.shape[-1]
        y, used = self.enter(self.norm(x)), self.h * self.d
        q, k, v = (
            part[..., :used].unflatten(-1, (self.h, -1)).transpose(1, 2)
            for part in y[..., : 3 * D].chunk(3, -1)
        )
        heads = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        heads = F.pad(heads, (0, D - used))
        return x + self.leave(torch.cat([heads, F.gelu(y[..., 3 * D :])], dim=-1))


class TwoNorms(nn.Module):
    """The layers of an ordinary block, side by side."""

    def __init__(self, dim, num_heads, mlp_dim):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.mlp = MLP(dim, mlp_dim)

    def forward(self, x):
        y = self.norm(x)
        return x + self.attn(y) + self.mlp(y)


WRONG_PARALLEL = {
    "norm-on-the-skip": parallel(
        {"y = self.enter(self.norm(x))": "x = self.norm(x)\n        y = self.enter(x)"}
    ),
    "no-skip": parallel({"return x + ": "return "}),
    "two-skips": parallel({"return x + ": "return x + x + "}),
    "no-norm": parallel({"self.norm(x)": "x"}),
    "post-norm": parallel(
        {"self.enter(self.norm(x))": "self.enter(x)"}
        | {"return x +": "return self.norm(x +", f"{CAT})": f"{CAT}))"}
    ),
    "no-activation": parallel({"F.gelu(hidden)": "hidden"}),
    "gelu-on-the-heads": parallel({CAT: "F.gelu(torch.cat([heads, hidden], dim=-1))"}),
    "hidden-units-first-out": parallel(
        {"[heads, F.gelu(hidden)]": "[F.gelu(hidden), heads]"}
    ),
    "hidden-units-first-in": parallel(
        {"q, k, v, hidden": "hidden, q, k, v", QKVH: "[y.shape[-1] - 3 * D, D, D, D]"}
    ),
    "query-and-key-swapped": parallel({"q, k, v, hidden": "k, q, v, hidden"}),
    "query-and-value-swapped": parallel({"attention(q, k, v)": "attention(v, k, q)"}),
    "one-head": parallel({"= dim, num_heads, dim // num_heads": "= dim, 1, dim"}),
    "heads-not-merged": parallel({"heads.transpose(1, 2).reshape": "heads.reshape"}),
    "torchs-epsilon": parallel({"LayerNorm(dim)": "nn.LayerNorm(dim)"}),
    "stream-changed": parallel(
        {"return x + ": "return F.gelu(x) + "},
        {"return x + ": "return self.norm(x) + x + "},
    ),
    "branch-scaled": parallel(
        {"return x + ": "return x + 0.5 * "}, {"[heads, ": "[2 * heads, "}
    ),
    "attention-part": parallel(
        {"attention(q, k, v)": "attention(q, k, v, is_causal=True)"},
        {"attention(q, k, v)": "attention(q, k, v, scale=1.0)"},
        {"attention(q, k, v)": "attention(q, k, v, scale=self.dim**-0.5)"},
    ),
    "mlp-part": parallel(
        {"F.gelu(hidden)": "F.relu(hidden)"},
        {"F.gelu(hidden)": "F.gelu(hidden, approximate='tanh')"},
        {"F.gelu(hidden)": "F.silu(hidden)"},
    ),
    "remainder-dropped": [DropsTheRest],
    "missing-parameters": [TwoNorms],
    "wrong-parameter-shape": parallel(
        {"nn.Linear(dim, 3 * dim + mlp_dim)": "nn.Linear(dim, 4 * dim + mlp_dim)"}
    ),
    "images-mixed": parallel({"self.norm(x))": "self.norm(x) + x.mean(0))"}),
    "unasked-dropout": parallel({CAT: f"F.dropout({CAT}, 0.1, self.training)"}),
}
NAMELESS_PARALLEL = [
    *parallel({"heads = F.scaled": "heads = v if self.h == 1 else F.scaled"}),
    *variants(  # the MLP reads what the attention has changed
        TwoProducts,
        {
            "        hidden = F.linear(z,": "        hidden = lambda z: F.linear(z,",
            "F.gelu(hidden)": "F.gelu(hidden(self.norm(x)))",
        },
    ),
]

# Tests of drop path that a student may write.


def image_by_image(drop_path):
    x = torch.randn(100, 4, 3).abs() + 1
    y = drop_path(x, 0.5, True)
    dropped = [bool((image == 0).all()) for image in y]
    for before, after, gone in zip(x, y, dropped, strict=True):
        if not gone and not torch.allclose(after, 2 * before):
            return False
    return 15 < sum(dropped) < 85


def with_asserts_on_ratios(drop_path):
    x = 1 + torch.rand(2000, 2, 5)
    ratio = drop_path(x, 0.25, training=True) / x
    per_image = ratio.flatten(1)
    torch.testing.assert_close(per_image.amax(1), per_image.amin(1))
    assert abs(ratio.mean() - 1) < 0.2
    assert 0 < per_image[:, 0].count_nonzero() < 2000
    torch.testing.assert_close(drop_path(x, 0.25, False), x)


def many_small_batches(drop_path):
    """Whole images, some of them in one batch, of the right size."""
    values, mixed = set(), False
    for _ in range(15):
        y = drop_path(torch.ones(8, 3, 2), 0.5, True)
        if any(image.min() != image.max() for image in y):
            return False
        values |= set(y.flatten().tolist())
        mixed |= y.min() != y.max()
    return mixed and values == {0.0, 2.0}


def mean_alone(drop_path):
    y = drop_path(torch.ones(4000, 2, 2), 0.4, True)
    return abs(y.mean() - 1) < 0.2


def shape_alone(drop_path):
    return drop_path(torch.ones(4, 3, 2), 0.5, True).shape == (4, 3, 2)


def share_alone(drop_path):
    y = drop_path(torch.ones(4000, 2, 2), 0.4, True)
    return 0.3 < (y == 0).float().mean() < 0.5


def without_a_mixed_batch(drop_path):
    """One draw for all images passes it if that draw keeps them."""
    y = drop_path(torch.ones(1000, 3, 2), 0.5, True)
    return (y == y[:, :1, :1]).all() and y.max() == 2


def after_training_alone(drop_path):
    x = torch.randn(4, 3, 2)
    return torch.equal(drop_path(x, 0.5, False), x)


def exact_count(drop_path):
    y = drop_path(torch.ones(1000, 3, 2), 0.4, True)
    return (y[:, 0, 0] == 0).sum() == 400


def same_twice(drop_path):
    x = torch.ones(1000, 3, 2)
    return torch.equal(drop_path(x, 0.4, True), drop_path(x, 0.4, True))


RIGHT = {
    "AttentionHalf": RIGHT_HALF,
    "EncoderBlock": RIGHT_BLOCK,
    "find_the_bug": [PostNorm, PostNormInALoop, PostNormOfTorchsParts],
    "ParallelBlock": [Fused, HeadByHead, TwoProducts],
}
WRONG = {
    "AttentionHalf": WRONG_HALF,
    "EncoderBlock": WRONG_BLOCK,
    "find_the_bug": {
        "pre-norm": [InSteps, Block, OfTorch],  # what earned the points of task 4
        "same-as-the-bug": [SkipsBeforeTheNorm],
        "built-in-used": [LayerOfTorch],
    },
    "ParallelBlock": WRONG_PARALLEL,
}
NAMELESS = {"find_the_bug": [NormedOnceMore], "ParallelBlock": NAMELESS_PARALLEL}
GOOD_TESTS = {
    "wrong_wiring": [by_the_equations, against_torch, other_norms],
    "drop_path": [image_by_image, with_asserts_on_ratios, many_small_batches],
}
WEAK_TESTS = {
    "wrong_wiring": [
        (shapes, 0, "test-accepts-wrong"),
        (silent_branches, 1, "test-accepts-wrong"),
        (all_used, 1, "test-accepts-wrong"),
        (new_block, 2, "test-accepts-wrong"),
        (bit_by_bit, 0, "test-rejects-right"),
        (built_wrong, 0, "test-rejects-right"),
    ],
    "drop_path": [
        (shape_alone, 0, "test-accepts-wrong"),
        (after_training_alone, 0, "test-accepts-wrong"),
        (share_alone, 0, "test-accepts-wrong"),
        (mean_alone, 1, "test-accepts-wrong"),
        (without_a_mixed_batch, 1, "test-accepts-wrong"),
        (exact_count, 0, "test-rejects-right"),
        (same_twice, 0, "test-rejects-right"),
    ],
}
