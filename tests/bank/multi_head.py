"""Answers on multi-head self-attention: right designs, and wrong ones with their names.

What the package itself declares wrong (vit_encoder.check.multi_head) is not repeated;
here stand other ways of writing the same, and other faults.
"""

import math

import torch
import torch.nn.functional as F
from tests.bank.variants import variants, with_one_more
from torch import nn

import vit_encoder
from vit_encoder.check.judging.oracle import multi_head
from vit_encoder.check.multi_head import rotated, windowed


def need_no_remainder(num_heads, dim):
    if dim % num_heads:
        raise ValueError(f"{num_heads} heads do not divide {dim}")


# Right designs of split_heads.


def split_by_view(x, num_heads):
    need_no_remainder(num_heads, x.shape[-1])
    images, tokens, dim = x.shape
    return x.view(images, tokens, num_heads, dim // num_heads).permute(0, 2, 1, 3)


def split_by_chunks(x, num_heads):
    need_no_remainder(num_heads, x.shape[-1])
    return torch.stack(x.chunk(num_heads, dim=-1), dim=1)


def split_by_slices(x, num_heads):
    need_no_remainder(num_heads, x.shape[2])
    width = x.shape[2] // num_heads
    heads = [x[:, :, i * width : (i + 1) * width] for i in range(num_heads)]
    return torch.cat([head[:, None] for head in heads], dim=1).contiguous()


def split_by_products(x, num_heads):
    need_no_remainder(num_heads, x.shape[-1])
    unit = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return torch.einsum("bnd,dhk->bhnk", x, unit.unflatten(1, (num_heads, -1)))


def split_by_unfolding(x, num_heads):
    need_no_remainder(num_heads, x.shape[-1])
    width = x.shape[-1] // num_heads
    return x.unfold(-1, width, width).movedim(2, 1)


def calls_the_course_s_check(x, num_heads):
    vit_encoder.arguments.require_divides(num_heads, x.shape[-1], "h", "D")
    return x.reshape(*x.shape[:2], num_heads, -1).swapaxes(1, 2)


def usual_split(x, num_heads):
    B, N, D = x.shape
    if D % num_heads != 0:
        raise ValueError("the heads do not divide the width")
    head_dim = D // num_heads
    x = x.reshape(B, N, num_heads, head_dim)
    return x.permute(0, 2, 1, 3)


CUT, MOVE = "x = x.reshape(B, N, num_heads, head_dim)", "x.permute(0, 2, 1, 3)"
REFUSE = """if D % num_heads != 0:
        raise ValueError("the heads do not divide the width")"""


def split(*expressions):
    """The usual split with another expression in place of both steps."""
    return variants(usual_split, *({CUT: "", MOVE: new} for new in expressions))


def as_in_hugging_face(x: torch.Tensor, num_heads: int = 12) -> torch.Tensor:
    class OwnError(ValueError):
        pass

    if x.size(-1) % num_heads:
        raise OwnError
    new_shape = (*x.size()[:-1], num_heads, x.size(-1) // num_heads)
    return x.view(*new_shape).permute(0, 2, 1, 3)


class SplitAsModule(nn.Module):
    def forward(self, x, num_heads):
        return usual_split(x, num_heads)


RIGHT_SPLIT = [
    split_by_view,
    split_by_chunks,
    split_by_slices,
    split_by_products,
    split_by_unfolding,
    calls_the_course_s_check,
    as_in_hugging_face,
    SplitAsModule(),
    lambda tokens, count: usual_split(tokens, count),
    *split(
        "torch.stack(x.split(head_dim, dim=-1), dim=1)",
        "torch.stack(torch.tensor_split(x, num_heads, dim=2), 1)",
        "x.mT.reshape(B, num_heads, head_dim, N).mT",
        "x.as_strided((B, num_heads, N, head_dim), (N * D, head_dim, D, 1))",
        "x[..., torch.arange(D).view(num_heads, -1)].transpose(1, 2)",
    ),
    *variants(
        usual_split,
        {MOVE: "torch.einsum('bnhd->bhnd', x)"},
        {MOVE: "torch.vmap(lambda image: image.transpose(0, 1))(x)"},
        {"B, N, num_heads, head_dim": "B, -1, num_heads, head_dim"},
        {REFUSE: "if num_heads * (D // num_heads) != D:\n        raise ValueError"},
        {
            REFUSE: "",
            CUT: """try:
        x = x.unflatten(-1, (num_heads, -1))
    except RuntimeError as error:
        raise ValueError("no") from error""",
        },
    ),
]

# Right designs of merge_heads.


def merge_by_view(x):
    images, heads, tokens, width = x.shape
    return x.transpose(1, 2).contiguous().view(images, tokens, heads * width)


def merge_by_cat(x):
    return torch.cat(x.unbind(dim=1), dim=-1)


def merge_by_reshape_after_permute(x):
    return x.permute(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def merge_by_copying(x):
    images, heads, tokens, width = x.shape
    merged = x.new_empty(images, tokens, heads, width)
    for i in range(heads):
        merged[:, :, i] = x[:, i]
    return merged.flatten(-2)


def usual_merge(x):
    B, h, N, d = x.shape
    x = x.permute(0, 2, 1, 3)
    return x.reshape(B, N, h * d)


BACK, JOIN = "x = x.permute(0, 2, 1, 3)", "x.reshape(B, N, h * d)"


def merge(*expressions):
    """The usual merge with another expression in place of both steps."""
    return variants(usual_merge, *({BACK: "", JOIN: new} for new in expressions))


RIGHT_MERGE = [
    merge_by_view,
    merge_by_cat,
    merge_by_reshape_after_permute,
    merge_by_copying,
    *merge(
        "torch.einsum('bhnd->bnhd', x).flatten(-2)",
        "torch.cat([x[:, i] for i in range(h)], dim=-1)",
        "torch.cat(x.split(1, dim=1), dim=-1).squeeze(1)",
        "x.mT.flatten(1, 2).mT",
        "x.movedim(1, 2).flatten(start_dim=2, end_dim=3)",
        "torch.vmap(lambda image: torch.cat(tuple(image), -1))(x)",
        "x.swapaxes(1, 2).contiguous().view(B, N, -1)",
        "torch.stack([torch.cat([*image], -1) for image in x])",
    ),
    *variants(
        usual_merge,
        {JOIN: "torch.reshape(x, (B, N, -1))"},
        {JOIN: "x.contiguous().view(*x.size()[:-2], h * d)"},
    ),
]

# Right designs of MultiHeadSelfAttention.


class Fused(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        need_no_remainder(num_heads, dim)
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def heads(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return (vit_encoder.split_heads(t, self.num_heads) for t in (q, k, v))

    def forward(self, x):
        output, _ = vit_encoder.attention(*self.heads(x))
        return self.proj(vit_encoder.merge_heads(output))


class WithBuiltInAttention(Fused):
    def forward(self, x):
        output = F.scaled_dot_product_attention(*self.heads(x))
        return self.proj(output.transpose(1, 2).flatten(2))


class FusedWithoutBiases(Fused):
    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim, bias=False)


class LikeTimm(Fused):
    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        self.scale = (dim // num_heads) ** -0.5
        self.drop = nn.Dropout(0.0)

    def forward(self, x):
        images, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(images, tokens, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q * self.scale @ k.transpose(-2, -1)).softmax(dim=-1)
        x = self.drop(weights) @ v
        return self.proj(x.transpose(1, 2).reshape(images, tokens, dim))


class Separate(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        need_no_remainder(num_heads, dim)
        self.num_heads = num_heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)
        self.register_buffer("unused", torch.arange(100))

    def forward(self, x):
        q, k, v = (
            part(x).unflatten(-1, (self.num_heads, -1))
            for part in (self.query, self.key, self.value)
        )
        scores = torch.einsum("bnhk,bmhk->bhnm", q, k) / math.sqrt(q.shape[-1])
        output = torch.einsum("bhnm,bmhk->bnhk", scores.softmax(-1), v)
        return self.proj(output.flatten(2))


class HeadByHead(Fused):
    def forward(self, x):
        q, k, v = (t.chunk(self.num_heads, -1) for t in self.qkv(x).chunk(3, -1))
        heads = [vit_encoder.attention(*t)[0] for t in zip(q, k, v, strict=True)]
        return self.proj(torch.cat(heads, dim=-1))


class SumOfHeads(Fused):
    def forward(self, x):
        blocks = self.proj.weight.T.chunk(self.num_heads)
        heads = vit_encoder.attention(*self.heads(x))[0].unbind(1)
        return sum(y @ w for y, w in zip(heads, blocks, strict=True)) + self.proj.bias


class HeadsInTheBatch(Fused):
    def forward(self, x):
        q, k, v = (t.flatten(0, 1) for t in self.heads(x))  # each (B * h, N, D_h)
        output = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1).bmm(v)
        output = output.unflatten(0, (len(x), -1))
        return self.proj(vit_encoder.merge_heads(output))


class BareParameters(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        need_no_remainder(num_heads, dim)
        self.num_heads = num_heads
        self.query, self.key, self.value, self.proj = (
            nn.Parameter(torch.randn(dim, dim)) for _ in range(4)
        )

    def forward(self, x):
        q, k, v = (
            vit_encoder.split_heads(x @ weight, self.num_heads)
            for weight in (self.query, self.key, self.value)
        )
        output, _ = vit_encoder.attention(q, k, v)
        return vit_encoder.merge_heads(output) @ self.proj


class BareParametersTurned(BareParameters):
    def forward(self, x):
        q, k, v = (
            vit_encoder.split_heads(F.linear(x, weight), self.num_heads)
            for weight in (self.query, self.key, self.value)
        )
        output, _ = vit_encoder.attention(q, k, v)
        return F.linear(vit_encoder.merge_heads(output), self.proj)


class BareWeightsAndBiases(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        need_no_remainder(num_heads, dim)
        self.num_heads = num_heads
        self.qkv_weight = nn.Parameter(torch.randn(dim, 3 * dim))
        self.qkv_bias = nn.Parameter(torch.zeros(3 * dim))
        self.proj_weight = nn.Parameter(torch.randn(dim, dim))
        self.proj_bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        q, k, v = (x @ self.qkv_weight + self.qkv_bias).chunk(3, dim=-1)
        q, k, v = (vit_encoder.split_heads(t, self.num_heads) for t in (q, k, v))
        output, _ = vit_encoder.attention(q, k, v)
        return vit_encoder.merge_heads(output) @ self.proj_weight + self.proj_bias


class LazyLayers(Separate):
    def __init__(self, dim, num_heads):
        nn.Module.__init__(self)
        need_no_remainder(num_heads, dim)
        self.num_heads = num_heads
        self.query, self.key, self.value, self.proj = (
            nn.LazyLinear(dim) for _ in range(4)
        )


class RefusesInForward(Fused):
    def __init__(self, dim, num_heads):
        nn.Module.__init__(self)
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)


class LooksAtNumbers(Fused):
    def forward(self, x):
        assert torch.isfinite(x).all()
        print(x.tolist())
        return super().forward(x)


class Usual(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        if dim % num_heads != 0:
            raise ValueError("the heads do not divide the width")
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        B, N, D = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
        weights = scores.softmax(dim=-1)
        out = (weights @ v).transpose(1, 2).reshape(B, N, D)
        return self.proj(out)


SHAPE = "B, N, 3, self.num_heads, self.head_dim"
SCORES = "q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)"
SCALE, ROOT = "/ math.sqrt(self.head_dim)", "math.sqrt(self.head_dim)"
WEIGHTS, OUT = (
    "scores.softmax(dim=-1)",
    "(weights @ v).transpose(1, 2).reshape(B, N, D)",
)
WIDTH = "self.head_dim = dim // num_heads"
JOINT, LAST = "self.qkv = nn.Linear(dim, 3 * dim)", "self.proj = nn.Linear(dim, dim)"
END = "return self.proj(out)"


def usual(*changes):
    return variants(Usual, *changes)


class AsInHuggingFace(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads != 0:
            raise ValueError(f"The hidden size {dim} is not a multiple of {num_heads}")
        self.num_attention_heads = num_heads
        self.attention_head_size = int(dim / num_heads)
        self.all_head_size = self.num_attention_heads * self.attention_head_size
        self.query = nn.Linear(dim, self.all_head_size, bias=True)
        self.key = nn.Linear(dim, self.all_head_size, bias=True)
        self.value = nn.Linear(dim, self.all_head_size, bias=True)
        self.dropout = nn.Dropout(0.0)
        self.proj = nn.Linear(dim, dim)

    def transpose_for_scores(self, x):
        sizes = self.num_attention_heads, self.attention_head_size
        return x.view(*x.size()[:-1], *sizes).permute(0, 2, 1, 3)

    def forward(self, hidden_states, head_mask=None, output_attentions: bool = False):
        key = self.transpose_for_scores(self.key(hidden_states))
        value = self.transpose_for_scores(self.value(hidden_states))
        query = self.transpose_for_scores(self.query(hidden_states))
        scores = torch.matmul(query, key.transpose(-1, -2))
        scores = scores / math.sqrt(self.attention_head_size)
        probabilities = self.dropout(nn.functional.softmax(scores, dim=-1))
        context = torch.matmul(probabilities, value).permute(0, 2, 1, 3).contiguous()
        return self.proj(context.view(*context.size()[:-2], self.all_head_size))


class AsInDiveIntoDeepLearning(nn.Module):
    def __init__(self, dim, num_heads, bias=False):
        super().__init__()
        vit_encoder.arguments.require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.query = nn.LazyLinear(dim, bias=bias)
        self.key = nn.LazyLinear(dim, bias=bias)
        self.value = nn.LazyLinear(dim, bias=bias)
        self.proj = nn.LazyLinear(dim, bias=bias)

    def transpose_qkv(self, x):
        x = x.reshape(x.shape[0], x.shape[1], self.num_heads, -1)
        x = x.permute(0, 2, 1, 3)
        return x.reshape(-1, x.shape[2], x.shape[3])

    def transpose_output(self, x):
        x = x.reshape(-1, self.num_heads, x.shape[1], x.shape[2])
        x = x.permute(0, 2, 1, 3)
        return x.reshape(x.shape[0], x.shape[1], -1)

    def forward(self, x):
        q, k, v = map(self.transpose_qkv, (self.query(x), self.key(x), self.value(x)))
        scores = torch.bmm(q, k.transpose(1, 2)) / math.sqrt(q.shape[-1])
        return self.proj(self.transpose_output(torch.bmm(scores.softmax(-1), v)))


RIGHT_LAYER = [
    Fused,
    WithBuiltInAttention,
    FusedWithoutBiases,
    LikeTimm,
    Separate,
    HeadByHead,
    SumOfHeads,
    HeadsInTheBatch,
    BareParameters,
    BareParametersTurned,
    BareWeightsAndBiases,
    LazyLayers,
    RefusesInForward,
    LooksAtNumbers,
    AsInHuggingFace,
    AsInDiveIntoDeepLearning,
    *usual(
        {ROOT: "torch.sqrt(torch.tensor(self.head_dim, dtype=torch.float32))"},
        {
            WIDTH: f"""{WIDTH}
        self.register_buffer("scale", torch.tensor(self.head_dim**-0.5))""",
            SCALE: "* self.scale",
        },
        {
            WIDTH: f"""{WIDTH}
        self.scale = torch.sqrt(torch.tensor(self.head_dim))""",
            ROOT: "self.scale",
        },
        {LAST: "self.proj = nn.Sequential(nn.Linear(dim, dim), nn.Dropout(0.0))"},
        {
            "dim, num_heads)": "dim, num_heads=8, qkv_bias=True, attn_drop=0.0)",
            "3 * dim": "3 * dim, bias=qkv_bias",
            WEIGHTS: "F.dropout(scores.softmax(dim=-1), 0.0, self.training)",
        },
        {
            f"reshape({SHAPE})": "unflatten(-1, (3, self.num_heads, -1))",
            "permute(2, 0, 3, 1, 4)": "unbind(2)",
            SCORES: "torch.einsum('bihd,bjhd->bhij', q, k) * self.head_dim**-0.5",
            OUT: "torch.einsum('bhij,bjhd->bihd', weights, v).flatten(2)",
        },
        {
            JOINT: "self.qkv = nn.Conv1d(dim, 3 * dim, 1)",
            "self.qkv(x)": "self.qkv(x.mT).mT",
        },
        {SCORES: "(q / self.head_dim**0.25) @ (k / self.head_dim**0.25).mT"},
        {WEIGHTS: "(scores - scores.logsumexp(-1, keepdim=True)).exp()"},
        {"(self, x)": "(self, x, mask=None)", WEIGHTS: "nn.Softmax(dim=-1)(scores)"},
        {END: "return F.linear(out, self.proj.weight, self.proj.bias)"},
    ),
]

# Wrong answers of split_heads: name → answers that must get exactly this name.


def split_by_bare_view(x, num_heads):
    need_no_remainder(num_heads, x.shape[-1])
    images, tokens, dim = x.shape
    return x.contiguous().view(images, num_heads, tokens, dim // num_heads)


def transposed_then_viewed(x, num_heads):
    need_no_remainder(num_heads, x.shape[-1])
    images, tokens, dim = x.shape
    x = x.flatten().view(images * num_heads, tokens, dim // num_heads)
    return x.unflatten(0, (images, num_heads))


def strided_slices(x, num_heads):
    need_no_remainder(num_heads, x.shape[-1])
    return torch.stack([x[..., i::num_heads] for i in range(num_heads)], dim=1)


def split_but_not_moved(x, num_heads):
    need_no_remainder(num_heads, x.shape[-1])
    return x.view(*x.shape[:2], num_heads, x.shape[-1] // num_heads)


def stacked_in_front(x, num_heads):
    need_no_remainder(num_heads, x.shape[-1])
    return torch.stack(x.chunk(num_heads, dim=-1))


def heads_catenated(x, num_heads):
    need_no_remainder(num_heads, x.shape[-1])
    return torch.stack(x.chunk(num_heads, -1), 1).reshape(
        len(x) * num_heads, x.shape[1], -1
    )


def narrow_slices(x, num_heads):
    width = x.shape[-1] // num_heads
    slices = [x[..., i * width : (i + 1) * width] for i in range(num_heads)]
    return torch.stack(slices, dim=1)


def nothing_refused(x, num_heads):
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def refused_by_assert(x, num_heads):
    assert x.shape[-1] % num_heads == 0
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def axes_of_length_1_dropped(x, num_heads):
    return split_by_chunks(x, num_heads).squeeze()


def split_in_float32(x, num_heads):
    return split_by_chunks(x.float(), num_heads)


def rounded_to_float32(x, num_heads):
    return split_by_chunks(x.float(), num_heads).to(x.dtype)


def into_zeros(x, num_heads):
    need_no_remainder(num_heads, x.shape[-1])
    width = x.shape[-1] // num_heads
    heads = torch.zeros(len(x), num_heads, x.shape[1], width, dtype=x.dtype)
    for i in range(num_heads):
        heads[:, i] = x[..., i * width : (i + 1) * width]
    return heads


def through_numpy(x, num_heads):
    need_no_remainder(num_heads, x.shape[-1])
    array = x.detach().numpy().reshape(*x.shape[:2], num_heads, -1)
    return torch.from_numpy(array.transpose(0, 2, 1, 3).copy())


def list_of_heads(x, num_heads):
    need_no_remainder(num_heads, x.shape[-1])
    return list(x.chunk(num_heads, dim=-1))


def prints_only(x, num_heads):
    print(split_by_view(x, num_heads))


def shrinks_its_input(x, num_heads):
    heads = split_by_view(x, num_heads).clone()
    with torch.no_grad():
        x *= 0.5
    return heads


def through_the_course(x, num_heads):
    return vit_encoder.split_heads(x, num_heads)


def heads_reversed(x, num_heads):
    return split_by_view(x, num_heads).flip(1)


def tokens_rolled(x, num_heads):
    return split_by_view(x, num_heads).roll(1, 2)


WRONG_SPLIT = {
    "split-by-reshape": [
        split_by_bare_view,
        transposed_then_viewed,
        *split("x.contiguous().view(B, num_heads, N, head_dim)"),
    ],
    "every-hth-feature": [
        strided_slices,
        *split("x.reshape(B, N, head_dim, num_heads).permute(0, 3, 1, 2)"),
    ],
    "tokens-mixed": [tokens_rolled, *split("x.mT.reshape(B, num_heads, N, head_dim)")],
    "numbers-changed": variants(
        usual_split,
        {MOVE: f"{MOVE}.softmax(-1)"},
        {MOVE: f"{MOVE} / math.sqrt(head_dim)"},
    ),
    "heads-reversed": [heads_reversed],
    "first-head-repeated": split(
        "x[:, None, :, :head_dim].expand(B, num_heads, N, head_dim)"
    ),
    "heads-overlap": split(
        "torch.stack([x[..., i : i + head_dim] for i in range(num_heads)], 1)"
    ),
    "heads-behind-tokens": [
        split_but_not_moved,
        *split("torch.stack(x.chunk(num_heads, dim=-1), dim=2)"),
        *variants(usual_split, {f"return {MOVE}": f"{MOVE}\n    return x"}),
    ],
    "axes-in-another-order": [
        *variants(
            usual_split,
            {MOVE: "x.permute(0, 1, 3, 2)"},
            {MOVE: "x.permute(2, 1, 0, 3)"},
            {"num_heads, head_dim)": "head_dim, num_heads)"},
            {"B, N, D =": "N, B, D ="},
        ),
        *split("torch.stack(x.split(num_heads, dim=-1), dim=1)"),
    ],
    "wrong-sizes-refused": variants(
        usual_split,
        {"D % num_heads != 0": "num_heads % D != 0"},
        {"D % num_heads != 0": "D % num_heads == 0"},
        {"D % num_heads != 0": "N % num_heads != 0"},
    ),
    "error-returned": variants(usual_split, {"raise": "return"}),
    "fraction-for-whole-number": variants(usual_split, {"D // n": "D / n"}),
    "trailing-comma": variants(usual_split, {MOVE: f"{MOVE},"}),
    "nan-hidden": variants(usual_split, {MOVE: f"{MOVE}.nan_to_num()"}),
    "heads-before-images": [stacked_in_front],
    "images-and-heads-joined": [heads_catenated],
    "remainder-dropped": [narrow_slices],
    "wrong-error": [
        nothing_refused,
        refused_by_assert,
        *variants(
            usual_split, {"ValueError": "TypeError"}, {"raise ValueError": "print"}
        ),
    ],
    "axis-squeezed": [axes_of_length_1_dropped],
    "wrong-shape": split(
        "torch.cat(x.chunk(num_heads, dim=-1), dim=1)",
        "x.unsqueeze(1).expand(B, num_heads, N, D)",
        "x.reshape(-1, num_heads, head_dim).transpose(0, 1)",
    ),
    "dtype-changed": [split_in_float32],
    "computed-in-float32": [rounded_to_float32],
    "device-fixed": [into_zeros],
    "gradient-cut": [through_numpy],
    "wrong-type": [list_of_heads],
    "printed-not-returned": [prints_only],
    "input-changed": [shrinks_its_input],
    "reference-used": [through_the_course, vit_encoder.split_heads],
}

# Wrong answers of merge_heads.


def merge_by_bare_view(x):
    images, heads, tokens, width = x.shape
    return x.contiguous().view(images, tokens, heads * width)


def merge_by_stacking(x):
    return torch.stack(x.unbind(1), dim=-1).flatten(2)


def merge_below(x):
    return torch.cat(x.unbind(1), dim=1)


def merge_by_movedim(x):
    return x.movedim(1, 2).contiguous()


def merge_by_mean(x):
    return sum(x.unbind(1)) / x.shape[1]


def view_refuses(x):
    images, heads, tokens, width = x.shape
    return x.transpose(1, 2).view(images, tokens, heads * width)


def merge_in_half(x):
    return merge_by_cat(x).half()


def merge_on_cpu(x):
    return merge_by_cat(x).cpu()


def merged_data(x):
    return merge_by_cat(x.data)


def merge_to_list(x):
    return merge_by_cat(x).tolist()


def through_the_course_s_merge(x):
    return vit_encoder.merge_heads(x)


def merged_from_the_last(x):
    return merge_by_cat(x.flip(1))


def transposed_inside(x):
    return x.transpose(2, 3).reshape(len(x), x.shape[2], -1)


WRONG_MERGE = {
    "merge-by-reshape": [
        merge_by_bare_view,
        *variants(usual_merge, {BACK: "x.permute(0, 2, 1, 3)"}),
    ],
    "heads-alternate": [merge_by_stacking],
    "heads-reversed": [
        merged_from_the_last,
        *merge("torch.cat([x[:, i] for i in reversed(range(h))], -1)"),
    ],
    "tokens-mixed": [
        transposed_inside,
        *variants(
            usual_merge,
            {BACK: "x = x.permute(2, 0, 1, 3)"},
            {BACK: "x = x.transpose(0, 1)"},
            {BACK: "x = x.permute(0, 3, 2, 1)"},
        ),
    ],
    "numbers-changed": variants(usual_merge, {JOIN: f"{JOIN} / h"}),
    "axes-in-another-order": variants(
        usual_merge, {JOIN: "x.reshape(B, h * d, N)"}, {JOIN: "x.reshape(N, B, h * d)"}
    ),
    "wrong-shape": [
        *merge("x.flatten(2)", "x[:, 0]", "x.amax(1)", "torch.cat(x.unbind(1), 0)"),
        *variants(usual_merge, {"B, h, N, d": "B, N, h, d"}),
    ],
    "unpacking-does-not-fit": variants(usual_merge, {"B, h, N, d": "B, N, D"}),
    "axis-squeezed": variants(usual_merge, {JOIN: f"{JOIN}.squeeze()"}),
    "numpy-returned": variants(usual_merge, {JOIN: f"{JOIN}.numpy()"}),
    "nan-hidden": variants(usual_merge, {JOIN: f"{JOIN}.nan_to_num()"}),
    "heads-below-one-another": [merge_below],
    "heads-not-joined": [merge_by_movedim],
    "heads-averaged": [merge_by_mean],
    "view-of-reordered-tensor": [view_refuses],
    "dtype-changed": [merge_in_half],
    "device-fixed": [merge_on_cpu],
    "gradient-cut": [merged_data],
    "wrong-type": [merge_to_list],
    "reference-used": [through_the_course_s_merge, vit_encoder.merge_heads],
}

# Wrong answers of MultiHeadSelfAttention.


class BareView(Separate):
    def forward(self, x):
        images, tokens, dim = x.shape
        shape = (images * self.num_heads, tokens, dim // self.num_heads)
        q, k, v = (p(x).view(shape) for p in (self.query, self.key, self.value))
        output = vit_encoder.attention(q, k, v)[0].unflatten(0, (images, -1))
        return self.proj(vit_encoder.merge_heads(output))


class BareMerge(Fused):
    def forward(self, x):
        output = F.scaled_dot_product_attention(*self.heads(x))
        return self.proj(output.reshape(x.shape))


class BareBoth(Separate):
    def forward(self, x):
        images, tokens, dim = x.shape
        shape = (images, self.num_heads, tokens, dim // self.num_heads)
        q, k, v = (p(x).view(shape) for p in (self.query, self.key, self.value))
        return self.proj(vit_encoder.attention(q, k, v)[0].reshape(x.shape))


class ScaleOfTheToken(LikeTimm):
    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        self.scale = dim**-0.5


class ScaleOfTheCount(LikeTimm):
    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        self.scale = num_heads**-0.5


class NoScale(LikeTimm):
    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        self.scale = 1.0


class ScaledTwice(Fused):
    def forward(self, x):
        q, k, v = self.heads(x)
        output, _ = vit_encoder.attention(q / q.shape[-1] ** 0.5, k, v)
        return self.proj(vit_encoder.merge_heads(output))


class SoftmaxOverHeads(Separate):
    def forward(self, x):
        q, k, v = (
            vit_encoder.split_heads(part(x), self.num_heads)
            for part in (self.query, self.key, self.value)
        )
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=1)
        return self.proj(vit_encoder.merge_heads(weights @ v))


class NothingBehind(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        need_no_remainder(num_heads, dim)
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (vit_encoder.split_heads(t, self.num_heads) for t in (q, k, v))
        return vit_encoder.merge_heads(vit_encoder.attention(q, k, v)[0])


class LikeTheVideo(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        need_no_remainder(num_heads, dim)
        self.num_heads = num_heads
        width = dim // num_heads
        self.values, self.keys, self.queries = (
            nn.Linear(width, width, bias=False) for _ in range(3)
        )
        self.fc_out = nn.Linear(dim, dim)

    def forward(self, x):
        slices = vit_encoder.split_heads(x, self.num_heads)
        parts = (self.queries, self.keys, self.values)
        output, _ = vit_encoder.attention(*(part(slices) for part in parts))
        return self.fc_out(vit_encoder.merge_heads(output))


class SlicesWithTheRightNames(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        need_no_remainder(num_heads, dim)
        self.num_heads = num_heads
        width = dim // num_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        x = vit_encoder.split_heads(x, self.num_heads)
        output, _ = vit_encoder.attention(self.query(x), self.key(x), self.value(x))
        return self.proj(vit_encoder.merge_heads(output))


class OneNarrowHead(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        need_no_remainder(num_heads, dim)
        self.num_heads = num_heads
        width = dim // num_heads
        self.query, self.key, self.value = (nn.Linear(dim, width) for _ in range(3))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = self.query(x), self.key(x), self.value(x)
        output, _ = vit_encoder.attention(q, k, v)
        return self.proj(output.repeat(1, 1, self.num_heads))


class WideHeads(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        need_no_remainder(num_heads, dim)
        self.heads = nn.ModuleList(
            vit_encoder.SelfAttention(dim, dim) for _ in range(num_heads)
        )
        self.proj = nn.Linear(num_heads * dim, dim)

    def forward(self, x):
        return self.proj(torch.cat([head(x) for head in self.heads], dim=-1))


class MeanOfHeads(Separate):
    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        self.proj = nn.Linear(dim // num_heads, dim)

    def forward(self, x):
        q, k, v = (
            vit_encoder.split_heads(part(x), self.num_heads)
            for part in (self.query, self.key, self.value)
        )
        return self.proj(vit_encoder.attention(q, k, v)[0].mean(1))


class HeadsApart(nn.Module):
    """A right design, but the names are not those that are asked for."""

    def __init__(self, dim, num_heads):
        super().__init__()
        need_no_remainder(num_heads, dim)
        self.heads = nn.ModuleList(
            vit_encoder.SelfAttention(dim, dim // num_heads) for _ in range(num_heads)
        )
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        return self.proj(torch.cat([head(x) for head in self.heads], dim=-1))


class OtherNames(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.w_q, self.w_k, self.w_v, self.w_o = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x):
        q, k, v = (
            vit_encoder.split_heads(part(x), self.num_heads)
            for part in (self.w_q, self.w_k, self.w_v)
        )
        return self.w_o(vit_encoder.merge_heads(vit_encoder.attention(q, k, v)[0]))


class SharedKey(Separate):
    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        self.key = self.query


class SharedValue(Separate):
    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        self.value = self.query


class KeysNotTransposed(Fused):
    def forward(self, x):
        q, k, v = self.heads(x)
        return self.proj(vit_encoder.attention(q, k.mT, v)[0])


class LayersInAList(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        need_no_remainder(num_heads, dim)
        self.heads = [
            vit_encoder.SelfAttention(dim, dim // num_heads) for _ in range(num_heads)
        ]
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        return self.proj(torch.cat([head(x) for head in self.heads], dim=-1))


class PlainTensors(Separate):
    def __init__(self, dim, num_heads):
        nn.Module.__init__(self)
        need_no_remainder(num_heads, dim)
        self.num_heads = num_heads
        self.weights = [torch.randn(dim, dim) for _ in range(4)]

    def forward(self, x):
        *qkv, last = self.weights
        q, k, v = (vit_encoder.split_heads(x @ w, self.num_heads) for w in qkv)
        return vit_encoder.merge_heads(vit_encoder.attention(q, k, v)[0]) @ last


class PairForgotten(Fused):
    def forward(self, x):
        return self.proj(vit_encoder.merge_heads(vit_encoder.attention(*self.heads(x))))


class Drifting(Fused):
    def forward(self, x):
        y = super().forward(x)
        self.proj.bias.data += 0.1
        return y


class WholeHeads(Fused):
    def forward(self, x):
        heads = (t.repeat(1, 1, self.num_heads) for t in self.qkv(x).chunk(3, -1))
        heads = (vit_encoder.split_heads(t, self.num_heads) for t in heads)
        return self.proj(vit_encoder.attention(*heads)[0].mean(1))


class HeadsCounted(Fused):
    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        self.num_heads = dim // num_heads


class OneForThree(Separate):
    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        self.key = self.value = self.query


class NothingLearned(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        need_no_remainder(num_heads, dim)
        self.num_heads = num_heads
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        x = vit_encoder.split_heads(x, self.num_heads)
        return self.proj(vit_encoder.merge_heads(vit_encoder.attention(x, x, x)[0]))


class ReadByHead(Fused):
    def forward(self, x):
        qkv = self.qkv(x).unflatten(-1, (self.num_heads, 3, -1)).transpose(1, 2)
        output, _ = vit_encoder.attention(*qkv.unbind(3))
        return self.proj(vit_encoder.merge_heads(output))


class ThreesLast(Fused):
    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (self.num_heads, -1, 3)).unbind(-1)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        output, _ = vit_encoder.attention(q, k, v)
        return self.proj(vit_encoder.merge_heads(output))


class ViewedInThree(Fused):
    def forward(self, x):
        shape = (3, len(x), self.num_heads, x.shape[1], -1)
        q, k, v = self.qkv(x).view(shape).unbind()
        return self.proj(vit_encoder.merge_heads(vit_encoder.attention(q, k, v)[0]))


class OrderOfChunks(Fused):
    def forward(self, x):
        q, v, k = self.heads(x)
        return self.proj(vit_encoder.merge_heads(vit_encoder.attention(q, k, v)[0]))


class KeysAsk(Fused):
    def forward(self, x):
        q, k, v = self.heads(x)
        weights = (k @ q.mT / q.shape[-1] ** 0.5).softmax(-1)
        return self.proj(vit_encoder.merge_heads(weights @ v))


class NotTransposed(Separate):
    def forward(self, x):
        shape = (*x.shape[:2], self.num_heads, -1)
        q, k, v = (p(x).reshape(shape) for p in (self.query, self.key, self.value))
        output = F.scaled_dot_product_attention(q, k, v)
        return self.proj(output.reshape(x.shape))


class TokensFirst(Separate):
    """As nn.MultiheadAttention does without batch_first=True."""

    def forward(self, x):
        return super().forward(x.transpose(0, 1)).transpose(0, 1)


class AllTokensInOneRow(Separate):
    def forward(self, x):
        return super().forward(x.flatten(0, 1)[None]).view_as(x)


class HeadsOutside(Fused):
    def forward(self, x):
        q, k, v = (torch.cat(t.unbind(1)) for t in self.heads(x))  # (h * B, N, D_h)
        output = vit_encoder.attention(q, k, v)[0].unflatten(0, (len(x), -1))
        return self.proj(vit_encoder.merge_heads(output))


class Rectified(Separate):
    def forward(self, x):
        q, k, v = (
            vit_encoder.split_heads(F.relu(part(x)), self.num_heads)
            for part in (self.query, self.key, self.value)
        )
        return self.proj(vit_encoder.merge_heads(vit_encoder.attention(q, k, v)[0]))


class RectifiedBehind(Separate):
    def forward(self, x):
        return F.relu(super().forward(x))


class WithSkip(Separate):
    def forward(self, x):
        return super().forward(x) + x


class WithWeights(Separate):
    def forward(self, x):
        return super().forward(x), x


class AverageWeights(Fused):
    def forward(self, x):
        q, k, v = self.heads(x)
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        weights = weights.mean(1)[:, None].expand_as(weights)
        return self.proj(vit_encoder.merge_heads(weights @ v))


class FeaturesCutOff(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        width = dim // num_heads * num_heads
        self.qkv = nn.Linear(dim, 3 * width)
        self.proj = nn.Linear(width, dim)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if q.shape[-1] == 0:
            raise ValueError("no features are left")
        q, k, v = (vit_encoder.split_heads(t, self.num_heads) for t in (q, k, v))
        return self.proj(vit_encoder.merge_heads(vit_encoder.attention(q, k, v)[0]))


class RefusedByAssert(Fused):
    def __init__(self, dim, num_heads):
        assert dim % num_heads == 0, "heads do not divide"
        super().__init__(dim, num_heads)


class WeightsDropped(Fused):
    def forward(self, x):
        q, k, v = self.heads(x)
        output = F.scaled_dot_product_attention(q, k, v, dropout_p=0.3)
        return self.proj(vit_encoder.merge_heads(output))


class MaskOnTheCpu(Fused):
    def forward(self, x):
        q, k, v = self.heads(x)
        mask = torch.zeros(x.shape[1], x.shape[1])
        weights = (q @ k.mT / q.shape[-1] ** 0.5 + mask).softmax(-1)
        return self.proj(vit_encoder.merge_heads(weights @ v))


class InFloat32(Fused):
    def forward(self, x):
        return super().forward(x).float()


class DetachedWeights(Fused):
    def forward(self, x):
        q, k, v = self.heads(x)
        output, _ = vit_encoder.attention(q.detach(), k.detach(), v)
        return self.proj(vit_encoder.merge_heads(output))


class BuiltIn(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        need_no_remainder(num_heads, dim)
        self.attention = nn.MultiheadAttention(dim, num_heads, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class Inherited(vit_encoder.MultiHeadSelfAttention):
    pass


class CallsTheOracle(Fused):
    def forward(self, x):
        weights = {}
        for n, w, b in zip(
            ("query", "key", "value"),
            self.qkv.weight.chunk(3),
            self.qkv.bias.chunk(3),
            strict=True,
        ):
            weights |= {f"{n}.weight": w, f"{n}.bias": b}
        weights |= {"proj.weight": self.proj.weight, "proj.bias": self.proj.bias}
        return multi_head(x, weights.get, self.num_heads)


class ProjectedTwice(Fused):
    def forward(self, x):
        return self.proj(super().forward(x))


class CosineHeads(Fused):
    def forward(self, x):
        q, k, v = self.heads(x)
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        return self.proj(vit_encoder.merge_heads(vit_encoder.attention(q, k, v)[0]))


class Normalized(Fused):
    def forward(self, x):
        return super().forward(F.layer_norm(x, x.shape[-1:]))


WRONG_LAYER = {
    "extra-parameters": [with_one_more(Usual)],
    "split-by-reshape": [BareView],
    "merge-by-reshape": [BareMerge, *usual({OUT: "(weights @ v).reshape(B, N, D)"})],
    "split-and-merge-by-reshape": [BareBoth],
    "scaled-by-dim": [ScaleOfTheToken, *usual({ROOT: "math.sqrt(D)"})],
    "scaled-by-heads": [ScaleOfTheCount, *usual({ROOT: "math.sqrt(k.shape[1])"})],
    "no-scale": [NoScale],
    "divided-by-width": [
        ScaledTwice,
        *usual({ROOT: "self.head_dim"}, {SCALE: "/ math.sqrt(self.head_dim) ** 2"}),
    ],
    "multiplied-by-root": usual({SCALE: "* self.head_dim**0.5"}),
    "root-of-whole-number": usual({ROOT: f"int({ROOT})"}),
    "halved-for-root": usual({ROOT: "(self.head_dim ** 1 / 2)"}),
    "power-before-division": usual({ROOT: "self.head_dim ** 1 / 2"}),
    "divided-by-key-count": usual({ROOT: "math.sqrt(N)"}),
    "divided-by-batch-size": usual({ROOT: "math.sqrt(k.shape[0])"}),
    "softmax-over-queries": usual({WEIGHTS: "scores.softmax(dim=2)"}),
    "softmax-over-heads": [
        SoftmaxOverHeads,
        *usual({WEIGHTS: "nn.Softmax()(scores)"}),
    ],
    "softmax-over-batch": usual({WEIGHTS: "scores.softmax(0)"}),
    "softmax-twice": usual({WEIGHTS: f"{WEIGHTS}.softmax(-1)"}),
    "log-weights": usual({WEIGHTS: "scores.log_softmax(-1)"}),
    "sigmoid-for-softmax": usual({WEIGHTS: "scores.sigmoid()"}),
    "scaled-after-softmax": usual(
        {SCORES: "q @ k.mT", WEIGHTS: f"{WEIGHTS} / math.sqrt(self.head_dim)"}
    ),
    "causal-mask": usual(
        {WEIGHTS: "(scores + torch.full_like(scores, -1e9).triu(1)).softmax(-1)"}
    ),
    "later-weights-cut": usual({WEIGHTS: f"{WEIGHTS}.tril()"}),
    "own-token-hidden": usual(
        {WEIGHTS: "(scores - 1e9 * torch.eye(N).to(scores)).softmax(-1)"}
    ),
    "keys-not-transposed": [KeysNotTransposed],
    "all-axes-reversed": usual({"k.transpose(-2, -1)": "k.T"}),
    "axes-1-and-2-swapped": usual({"k.transpose(-2, -1)": "k.transpose(1, 2)"}),
    "no-output-projection": [
        NothingBehind,
        *usual({END: "return out"}, {LAST: "", END: "return out"}),
    ],
    "projected-twice": [ProjectedTwice],
    "attention-never-used": usual({END: "return self.proj(x)"}),
    "values-not-averaged": usual({"weights @ v": "v"}),
    "token-sliced": [LikeTheVideo, SlicesWithTheRightNames],
    "one-head-repeated": [OneNarrowHead],
    "one-head": [WholeHeads],
    "count-and-width-exchanged": [
        HeadsCounted,
        *usual({WIDTH: "self.head_dim, self.num_heads = num_heads, dim // num_heads"}),
    ],
    "heads-of-full-width": [WideHeads],
    "heads-averaged": [
        MeanOfHeads,
        *usual(
            {
                LAST: LAST.replace("(dim", "(dim // num_heads"),
                OUT: "(weights @ v)[:, 0]",
            }
        ),
    ],
    "missing-parameters": [
        HeadsApart,
        OtherNames,
        *usual({LAST: "self.out = nn.Linear(dim, dim)", END: "return self.out(out)"}),
    ],
    "projections-hidden": [
        LayersInAList,
        PlainTensors,
        *usual(
            {
                JOINT: "self.three = [nn.Linear(dim, dim) for _ in range(3)]",
                "self.qkv(x)": "torch.cat([layer(x) for layer in self.three], -1)",
            }
        ),
    ],
    "query-is-key": [SharedKey, *usual({"k.transpose": "q.transpose"})],
    "shared-parameters": [SharedValue],
    "one-projection": [OneForThree, *usual({"3 * dim)": "dim)"})],
    "no-projections": [NothingLearned],
    "qkv-read-by-head": [ReadByHead],
    "qkv-interleaved": [ThreesLast],
    "all-by-reshape": [ViewedInThree],
    "key-and-value-swapped": [OrderOfChunks],
    "query-and-key-swapped": [KeysAsk, *usual({"q, k, v =": "k, q, v ="})],
    "query-and-value-swapped": usual({"q, k, v =": "v, k, q ="}),
    "qkv-read-as-kvq": usual({"q, k, v =": "k, v, q ="}),
    "qkv-read-as-vqk": usual({"q, k, v =": "v, q, k ="}),
    "value-is-query": usual({"weights @ v": "weights @ q"}),
    "keys-averaged": usual({"weights @ v": "weights @ k"}),
    "heads-attend-to-heads": [NotTransposed],
    "order-matters": usual(
        {"permute(2, 0, 3, 1, 4)": "permute(2, 0, 1, 3, 4)"},
        {SHAPE: "B, 3, self.num_heads, N, -1", "permute(2, 0, 3, 1, 4)": "unbind(1)"},
        {SHAPE: "B, -1, N, 3, self.head_dim", "permute(2, 0, 3, 1, 4)": "unbind(3)"},
        {OUT: "(weights @ v).transpose(2, 3).reshape(B, N, D)"},
        {"self.qkv(x)": "self.qkv(x[:, :1]).expand(-1, N, -1)"},
    ),
    "batch-taken-for-tokens": [TokensFirst],
    "images-mixed": [AllTokensInOneRow],
    "heads-and-images-mixed": [HeadsOutside],
    "shapes-do-not-multiply": [
        *usual({OUT: "(weights @ v).mean(1)"}, {OUT: "(weights @ v).transpose(1, 2)"}),
    ],
    "tuple-for-tensor": [PairForgotten],
    "wrong-sizes-refused": usual(
        {"dim % num_heads": "num_heads % dim"},
        {"!=": "=="},
        {"self, dim, num_heads": "self, num_heads, dim"},
    ),
    "wrong-signature": [nn.MultiheadAttention],
    "activation-in-projections": [Rectified],
    "activation-before-proj": usual({END: "return self.proj(out.relu())"}),
    "activation-at-the-end": [RectifiedBehind],
    "tokens-added": [WithSkip],
    "tokens-added-before-proj": usual({END: "return self.proj(out + x)"}),
    "norm-in-front": [Normalized],
    "norm-at-the-end": usual({END: "return F.layer_norm(self.proj(out), (D,))"}),
    "skip-and-norm": usual({END: "return F.layer_norm(self.proj(out) + x, (D,))"}),
    "queries-and-keys-normalized": [CosineHeads],
    "pair-returned": [WithWeights],
    "axis-squeezed": usual({END: f"{END}.squeeze()"}),
    "wrong-shape": usual({END: f"{END}[:, 0]"}, {END: "return weights"}),
    "axes-in-another-order": usual({END: f"{END}.transpose(0, 1)"}),
    "wrong-parameter-shape": usual({"3 * dim)": "3 * dim // 2)"}),
    "weights-averaged": [AverageWeights],
    "remainder-dropped": [FeaturesCutOff],
    "wrong-error": [RefusedByAssert, *usual({"!= 0": "!= 0 and False"})],
    "error-returned": usual({"raise": "return"}),
    "not-deterministic": [
        WeightsDropped,
        *usual({END: "return nn.Linear(D, D).to(x)(out)"}),
    ],
    "unasked-dropout": usual(
        {WEIGHTS: f"F.dropout({WEIGHTS}, 0.1, self.training)"},
        {LAST: "self.proj = nn.Sequential(nn.Linear(dim, dim), nn.Dropout(0.1))"},
    ),
    "seed-set": usual({END: f"torch.manual_seed(0)\n        {END}"}),
    "state-kept": [Drifting],
    "nan-hidden": usual({END: f"{END}.nan_to_num()"}),
    "rounded": usual({END: f"{END}.round(decimals=4)"}),
    "device-fixed": [MaskOnTheCpu],
    "dtype-changed": [InFloat32],
    "gradient-cut": usual({END: f"{END}.detach()"}),
    "built-in-used": [BuiltIn],
    "reference-used": [Inherited, vit_encoder.MultiHeadSelfAttention, CallsTheOracle],
}

# Nobody recorded these: they fail, and get no name.


def features_reversed(x, num_heads):
    return split_by_view(x, num_heads).flip(-1)


def first_head_everywhere(x):
    return merge_by_cat(x[:, :1].expand_as(x))


class FirstHeadTwice(Fused):
    def forward(self, x):
        q, k, v = self.heads(x)
        q, k = q.clone(), k.clone()
        q[:, -1], k[:, -1] = q[:, 0], k[:, 0]
        return self.proj(vit_encoder.merge_heads(vit_encoder.attention(q, k, v)[0]))


class HeadsScaledApart(Fused):
    def forward(self, x):
        q, k, v = self.heads(x)
        sharper = torch.arange(1, self.num_heads + 1).to(q)[:, None, None]
        output, _ = vit_encoder.attention(sharper * q, k, v)
        return self.proj(vit_encoder.merge_heads(output))


# What each head adds to the output.


def by_rows_of_the_transpose(heads, w_out):
    return heads @ w_out.T.unflatten(0, (heads.shape[1], -1))


def by_columns(heads, w_out):
    blocks = w_out.chunk(heads.shape[1], dim=1)  # each (D, D_h)
    return torch.stack(
        [F.linear(y, w) for y, w in zip(heads.unbind(1), blocks, strict=True)], 1
    )


def by_einsum(heads, w_out):
    blocks = w_out.view(len(w_out), heads.shape[1], -1)  # (D, h, D_h)
    return torch.einsum("bhnd,ehd->bhne", heads, blocks)


def others_silenced(heads, w_out):
    """The whole layer, once for each head, with zeros in all others."""
    parts = []
    for i in range(heads.shape[1]):
        only = torch.zeros_like(heads)
        only[:, i] = heads[:, i]
        parts.append(vit_encoder.merge_heads(only) @ w_out.T)
    return torch.stack(parts, dim=1)


def rows_of_the_weight(heads, w_out):
    blocks = w_out.chunk(heads.shape[1], dim=0)  # each (D_h, D)
    return torch.stack([y @ w for y, w in zip(heads.unbind(1), blocks, strict=True)], 1)


def first_block_for_all(heads, w_out):
    return F.linear(heads, w_out[:, : heads.shape[-1]])


def mean_of_parts(heads, w_out):
    return by_einsum(heads, w_out) / heads.shape[1]


def last_head_first(heads, w_out):
    return by_einsum(heads.flip(1), w_out).flip(1)


def alternating(heads, w_out):
    blocks = w_out.unflatten(1, (-1, heads.shape[1]))  # (D, D_h, h)
    return torch.einsum("bhnd,edh->bhne", heads, blocks)


def all_added_up(heads, w_out):
    return by_einsum(heads, w_out).sum(1)


def part_of_the_answer(heads, w_out):
    return vit_encoder.check.multi_head.added(heads, w_out)


RIGHT_ADDED = [by_rows_of_the_transpose, by_columns, by_einsum, others_silenced]
WRONG_ADDED = {
    "same-as-the-bug": [rows_of_the_weight],
    "one-block-for-all": [first_block_for_all],
    "divided-by-heads": [mean_of_parts],
    "heads-reversed": [last_head_first],
    "every-hth-feature": [alternating],
    "wrong-shape": [all_added_up],
    "reference-used": [part_of_the_answer],
}


def turned_within_the_head(heads, w_out):
    return by_einsum(heads.flip(-1), w_out)


# Attention in windows.


def need_full_windows(rows, columns, window):
    if rows % window != 0 or columns % window != 0:
        raise ValueError("the windows do not fill the grid")


def as_in_swin(q, k, v, rows, columns, window):
    need_full_windows(rows, columns, window)
    B, h, N, D_h = q.shape

    def window_partition(x):
        x = x.view(B, h, rows // window, window, columns // window, window, D_h)
        x = x.permute(0, 2, 4, 1, 3, 5, 6).contiguous()
        return x.view(-1, h, window * window, D_h)

    q, k, v = window_partition(q), window_partition(k), window_partition(v)
    scores = (q * D_h**-0.5) @ k.transpose(-2, -1)
    out = scores.softmax(dim=-1) @ v
    out = out.view(B, rows // window, columns // window, h, window, window, D_h)
    return out.permute(0, 3, 1, 4, 2, 5, 6).reshape(B, h, N, D_h)


def window_by_window(q, k, v, rows, columns, window):
    need_full_windows(rows, columns, window)
    q, k, v = (t.reshape(*t.shape[:2], rows, columns, -1) for t in (q, k, v))
    out = torch.zeros_like(v)
    for top in range(0, rows, window):
        for left in range(0, columns, window):
            part = (
                ...,
                slice(top, top + window),
                slice(left, left + window),
                slice(None),
            )
            here = [t[part].flatten(2, 3) for t in (q, k, v)]
            y, _ = vit_encoder.attention(*here)
            out[part] = y.unflatten(2, (window, window))
    return out.flatten(2, 3)


def same_window(rows, columns, window, like):
    """(N, N), True where two tokens share a window."""
    need_full_windows(rows, columns, window)
    tokens = torch.arange(rows * columns, device=like.device)
    row, column = tokens // columns // window, tokens % columns // window
    return (row[:, None] == row) & (column[:, None] == column)


def with_a_mask(q, k, v, rows, columns, window):
    mask = same_window(rows, columns, window, q)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def with_sorted_tokens(q, k, v, rows, columns, window):
    need_full_windows(rows, columns, window)
    tokens = torch.arange(rows * columns, device=q.device).view(rows, columns)
    parts = [s for r in tokens.split(window) for s in r.split(window, dim=1)]
    order = torch.cat([part.flatten() for part in parts])
    size = window * window
    q, k, v = (t[:, :, order].unflatten(2, (-1, size)) for t in (q, k, v))
    output = vit_encoder.attention(q, k, v)[0].flatten(2, 3)
    return output[:, :, order.argsort()]


BACK_IN_SWIN = "out.permute(0, 3, 1, 4, 2, 5, 6)"
RIGHT_WINDOWED = [as_in_swin, window_by_window, with_a_mask, with_sorted_tokens]


def one_after_another(q, k, v, rows, columns, window):
    need_full_windows(rows, columns, window)
    B, h, N, D_h = q.shape
    q, k, v = (t.reshape(B, h, -1, window**2, D_h) for t in (q, k, v))
    return vit_encoder.attention(q, k, v)[0].reshape(B, h, N, D_h)


def without_windows(q, k, v, rows, columns, window):
    need_full_windows(rows, columns, window)
    return vit_encoder.attention(q, k, v)[0]


def windows_cut_short(q, k, v, rows, columns, window):
    tokens = torch.arange(rows * columns, device=q.device)
    across = -(-columns // window)
    window_of = tokens // columns // window * across + tokens % columns // window
    mask = window_of[:, None] == window_of
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def asserted(q, k, v, rows, columns, window):
    assert rows % window == columns % window == 0
    return as_in_swin(q, k, v, rows, columns, window)


def windows_as_they_come(q, k, v, rows, columns, window):
    need_full_windows(rows, columns, window)
    B, h, _, D_h = q.shape
    q, k, v = (
        t.reshape(B, h, rows // window, window, columns // window, window, D_h)
        .transpose(3, 4)
        .reshape(B, h, -1, window * window, D_h)
        for t in (q, k, v)
    )
    return vit_encoder.attention(q, k, v)[0]


WRONG_WINDOWED = {
    "windows-by-reshape": [one_after_another],
    "order-of-windows-kept": [
        *variants(as_in_swin, {BACK_IN_SWIN: "out.permute(0, 3, 1, 2, 4, 5, 6)"}),
        *variants(with_sorted_tokens, {"output[:, :, order.argsort()]": "output"}),
    ],
    "windows-and-images-mixed": variants(
        as_in_swin,
        {
            "x.permute(0, 2, 4, 1, 3, 5, 6)": "x.permute(2, 4, 0, 1, 3, 5, 6)",
        },
    ),
    "no-windows": [without_windows],
    "no-scale": variants(as_in_swin, {"(q * D_h**-0.5)": "q"}),
    "windows-of-other-sizes": [windows_cut_short],
    "wrong-error": [asserted],
    "wrong-shape": [windows_as_they_come],
    "reference-used": [windowed],
}


def other_windows_score_zero(q, k, v, rows, columns, window):
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    scores = scores * same_window(rows, columns, window, q)
    return scores.softmax(-1) @ v


def cut_after_softmax(q, k, v, rows, columns, window):
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    return weights * same_window(rows, columns, window, q) @ v


def a_neighbourhood_for_each(q, k, v, rows, columns, window):
    tokens = torch.arange(rows * columns, device=q.device)
    row, column = tokens // columns, tokens % columns
    need_full_windows(rows, columns, window)
    near = (row[:, None] - row).abs() < window
    near = near & ((column[:, None] - column).abs() < window)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=near)


NAMELESS_WINDOWED = [
    other_windows_score_zero,
    cut_after_softmax,
    a_neighbourhood_for_each,
]


# Rotary positions.


def as_a_complex_number(x, positions, base):
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
    width = x.shape[-1]
    freqs = 1.0 / base ** (torch.arange(0, width, 2, device=x.device).to(x) / width)
    angles = torch.outer(positions.to(x), freqs)
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).flatten(3)


def as_in_gpt_j(x, positions, base):
    width = x.shape[-1]
    inv_freq = 1.0 / (base ** (torch.arange(0, width, 2, device=x.device) / width))
    angles = torch.einsum("i,j->ij", positions.float(), inv_freq)
    sin = torch.repeat_interleave(angles.sin(), 2, dim=-1)
    cos = torch.repeat_interleave(angles.cos(), 2, dim=-1)
    rotated_half = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)
    return (x * cos + rotated_half * sin).to(x.dtype)


def with_matrices(x, positions, base):
    out = []
    width = x.shape[-1]
    for j in range(width // 2):
        angle = positions.to(x.dtype) * base ** (-2 * j / width)
        c, s = torch.cos(angle), torch.sin(angle)
        matrix = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
        pair = x[..., 2 * j : 2 * j + 2]
        out.append((matrix @ pair.unsqueeze(-1)).squeeze(-1))
    return torch.cat(out, dim=-1)


def into_a_new_tensor(x, positions, base):
    N, D_h = x.shape[2:]
    j = torch.arange(D_h // 2, device=x.device)
    theta = base ** (-2 * j / D_h)
    angle = positions.view(N, 1) * theta
    y = torch.empty_like(x)
    y[..., 0::2] = x[..., 0::2] * angle.cos() - x[..., 1::2] * angle.sin()
    y[..., 1::2] = x[..., 0::2] * angle.sin() + x[..., 1::2] * angle.cos()
    return y


RIGHT_ROTATED = [
    as_a_complex_number,
    as_in_gpt_j,
    with_matrices,
    into_a_new_tensor,
]


def as_in_llama(x, positions, base):
    width = x.shape[-1]
    inv_freq = 1.0 / (base ** (torch.arange(0, width, 2, device=x.device) / width))
    freqs = positions[:, None].float() * inv_freq
    emb = torch.cat((freqs, freqs), dim=-1)
    x1, x2 = x[..., : width // 2], x[..., width // 2 :]
    return x * emb.cos().to(x) + torch.cat((-x2, x1), dim=-1) * emb.sin().to(x)


def into_the_same_tensor(x, positions, base):
    width = x.shape[-1]
    angle = positions[:, None] * base ** (-torch.arange(0, width, 2).to(x) / width)
    y = x.clone()
    y[..., 0::2] = y[..., 0::2] * angle.cos() - y[..., 1::2] * angle.sin()
    y[..., 1::2] = y[..., 0::2] * angle.sin() + y[..., 1::2] * angle.cos()
    return y


def into_the_input(x, positions, base):
    x[:] = as_in_gpt_j(x, positions, base)
    return x


THETA = "base ** (-2 * j / D_h)"
WRONG_ROTATED = {
    "halves-paired": [as_in_llama],
    "one-half-already-turned": [into_the_same_tensor],
    ("input-changed", "in-place-on-leaf"): [into_the_input],
    "device-fixed": variants(into_a_new_tensor, {", device=x.device": ""}),
    "turned-backwards": variants(
        as_a_complex_number, {"torch.outer(positions": "torch.outer(-positions"}
    ),
    "pairs-not-put-back": variants(
        into_a_new_tensor,
        {
            "y[..., 0::2] = x": "y[..., : D_h // 2] = x",
            "y[..., 1::2] = x": "y[..., D_h // 2 :] = x",
        },
    ),
    "angles-grow-along-the-pairs": variants(
        into_a_new_tensor, {THETA: "base ** (2 * j / D_h)"}
    ),
    "pairs-numbered-by-one": variants(into_a_new_tensor, {THETA: "base ** (-j / D_h)"}),
    "one-angle-for-all-pairs": variants(into_a_new_tensor, {THETA: "base ** (0 * j)"}),
    "positions-counted-anew": variants(
        into_a_new_tensor,
        {"positions.view(N, 1)": "torch.arange(N, device=x.device).view(N, 1)"},
    ),
    "sizes-do-not-broadcast": variants(
        into_a_new_tensor, {"positions.view(N, 1)": "positions"}
    ),
    "reference-used": [rotated],
}


def in_degrees(x, positions, base):
    return as_a_complex_number(x, positions * torch.pi / 180, base)


def every_second_pair(x, positions, base):
    y = as_in_gpt_j(x, positions, base)
    return torch.cat([y[..., :2], x[..., 2:]], dim=-1)


NAMELESS_ROTATED = [in_degrees, every_second_pair]


# Tests that a student may write.


def shuffled(Layer):
    layer = Layer(12, 3)
    x, order = torch.randn(2, 5, 12), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order])


def equal_values(Layer):
    layer = Layer(12, 4)
    with torch.no_grad():
        layer.qkv.weight[24:] = 0
        layer.qkv.bias[24:] = torch.arange(12.0)
        value = layer.proj(layer.qkv.bias[24:])
        return (layer(torch.randn(2, 5, 12)) - value).abs().max() < 1e-4


def against_torch(Layer):
    layer = Layer(12, 2).double()
    theirs = nn.MultiheadAttention(12, 2, batch_first=True).double()
    theirs.in_proj_weight, theirs.in_proj_bias = layer.qkv.weight, layer.qkv.bias
    theirs.out_proj.weight, theirs.out_proj.bias = layer.proj.weight, layer.proj.bias
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    return torch.allclose(layer(x), theirs(x, x, x)[0])


def one_token_moved(Layer):
    layer = Layer(6, 2).eval()
    x = torch.randn(1, 3, 6)
    return bool((layer(x)[:, 0] - layer(x[:, [0, 2, 1]])[:, 0]).abs().max() < 1e-5)


def shapes(Layer):
    return Layer(12, 3)(torch.randn(2, 5, 12)).shape == (2, 5, 12)


def shuffled_with_one_head(Layer):
    layer, x = Layer(12, 1), torch.randn(2, 5, 12)
    return torch.allclose(layer(x.flip(1)), layer(x).flip(1), atol=1e-5)


def images_alone(Layer):
    layer, x = Layer(12, 3), torch.randn(2, 5, 12)
    return torch.allclose(layer(x[:1]), layer(x)[:1], atol=1e-5)


def neighbours_swapped(Layer):
    """With both reshapes, head 0 holds tokens 0 and 1 alone, so it may swap them."""
    layer, x = Layer(12, 3), torch.randn(2, 6, 12)
    order = [1, 0, 2, 3, 4, 5]
    return torch.allclose(layer(x[:, order]), layer(x)[:, order], atol=1e-5)


def shuffled_without_outputs(Layer):
    layer, x = Layer(12, 3), torch.randn(2, 5, 12)
    return torch.allclose(layer(x.flip(1)), layer(x), atol=1e-5)


def heads_that_do_not_fit(Layer):
    return Layer(12, 5)(torch.randn(2, 5, 12)).shape == (2, 5, 12)


# What tests/test_exercises.py runs: task → answers.

RIGHT = {
    "split_heads": RIGHT_SPLIT,
    "merge_heads": RIGHT_MERGE,
    "MultiHeadSelfAttention": RIGHT_LAYER,
    "find_the_bug": RIGHT_ADDED,
    "windowed": RIGHT_WINDOWED,
    "rotated": RIGHT_ROTATED,
}
WRONG = {
    "split_heads": WRONG_SPLIT,
    "merge_heads": WRONG_MERGE,
    "MultiHeadSelfAttention": WRONG_LAYER,
    "find_the_bug": WRONG_ADDED,
    "windowed": WRONG_WINDOWED,
    "rotated": WRONG_ROTATED,
}
NAMELESS = {
    "split_heads": [features_reversed],
    "merge_heads": [first_head_everywhere],
    "MultiHeadSelfAttention": [
        FirstHeadTwice,
        HeadsScaledApart,
    ],
    "find_the_bug": [turned_within_the_head],
    "windowed": NAMELESS_WINDOWED,
    "rotated": NAMELESS_ROTATED,
}
GOOD_TESTS = {"bare_reshape": [shuffled, equal_values, against_torch, one_token_moved]}
WEAK_TESTS = {
    "bare_reshape": [
        (shapes, 0, "test-accepts-wrong"),
        (shuffled_with_one_head, 0, "test-accepts-wrong"),
        (images_alone, 0, "test-accepts-wrong"),
        (neighbours_swapped, 2, "test-accepts-wrong"),
        (shuffled_without_outputs, 0, "test-rejects-right"),
        (heads_that_do_not_fit, 0, "test-rejects-right"),
    ]
}
