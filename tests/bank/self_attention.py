"""Answers on self-attention: right designs, and wrong ones with the names they get.

What the package itself declares wrong (vit_encoder.check.self_attention) is not
repeated; here stand other ways of writing the same, and other faults.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from tests.bank.variants import with_one_more
from torch import nn

import vit_encoder
import vit_encoder.check.self_attention

# Right designs of attention.


def with_matmul(q, k, v):
    weights = torch.softmax(torch.matmul(q, k.mT) * q.shape[-1] ** -0.5, -1)
    return torch.matmul(weights, v), weights


def with_einsum(q, k, v):
    scores = torch.einsum("...nd,...md->...nm", q, k) / math.sqrt(k.shape[-1])
    weights = F.softmax(scores, dim=scores.ndim - 1)
    return torch.einsum("...nm,...mv->...nv", weights, v), weights


def with_scaled_query(q, k, v):
    q = q / q.new_tensor(q.shape[-1]).sqrt()
    weights = (q @ k.transpose(-1, -2)).softmax(-1)
    return weights @ v, weights


def with_root_in_float32(q, k, v):
    root = torch.sqrt(torch.tensor(q.shape[-1], dtype=torch.float32))
    weights = (q @ k.mT / root).softmax(-1)
    return weights @ v, weights


def with_baddbmm(q, k, v):
    """As in the annotated Transformers: the scale inside the product."""
    shape = (*q.shape[:-1], k.shape[-2])
    q, k = q.reshape(-1, *q.shape[-2:]), k.reshape(-1, *k.shape[-2:])
    nothing = q.new_zeros(1, 1, 1)
    scores = torch.baddbmm(nothing, q, k.mT, beta=0, alpha=q.shape[-1] ** -0.5)
    weights = F.softmax(scores.reshape(shape), dim=-1)
    return torch.matmul(weights, v), weights


def with_numpy_root(q, k, v):
    d_k = q.size(-1)
    scores = torch.matmul(q, k.transpose(-2, -1)) / np.sqrt(d_k)
    p_attn = scores.softmax(dim=-1)
    return torch.matmul(p_attn, v), p_attn


def with_both_scaled(q, k, v):
    scale = q.shape[-1] ** -0.25
    weights = ((q * scale) @ (k * scale).mT).softmax(-1)
    return weights @ v, weights


def with_swapaxes_and_flatten(q, k, v):
    scores = torch.matmul(q, k.swapaxes(-1, -2)).mul(1 / math.sqrt(k.size(-1)))
    weights = torch.exp(scores - torch.logsumexp(scores, dim=-1, keepdim=True))
    output = torch.einsum("...ij,...jd->...id", weights, v)
    return output, weights


def with_softmax_in_float32(q, k, v):
    """For half precision, as in many libraries; float64 stays what it is."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    wide = torch.promote_types(scores.dtype, torch.float32)
    weights = scores.softmax(-1, dtype=wide).to(q.dtype)
    return weights @ v, weights


def with_softmax_by_hand(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    shifted = (scores - scores.max(dim=-1, keepdim=True).values).exp()
    weights = shifted / shifted.sum(-1, keepdim=True)
    return weights @ v, weights


def with_asserts_and_prints(q, k, v):
    assert q.shape[-1] == k.shape[-1]
    assert torch.isfinite(q).all()
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    print("scores", scores.shape)
    weights = torch.log_softmax(scores, -1).exp()
    return weights @ v, weights.detach()


def with_loop_over_queries(q, k, v):
    rows = []
    for query in q.unbind(-2):
        scores = (k @ query.unsqueeze(-1)).squeeze(-1) / q.shape[-1] ** 0.5
        rows.append(scores.softmax(-1))
    weights = torch.stack(rows, dim=-2)
    return (weights.unsqueeze(-1) * v.unsqueeze(-3)).sum(-2), weights


def looks_at_numbers(q, k, v):
    output, weights = with_matmul(q, k, v)
    print(weights.tolist(), weights.sum(-1).max().item())
    return output, weights


class AsModule(nn.Module):
    def forward(self, q, k, v):
        return with_matmul(q, k, v)


RIGHT_ATTENTION = [
    with_matmul,
    with_einsum,
    with_scaled_query,
    with_softmax_by_hand,
    with_asserts_and_prints,
    with_loop_over_queries,
    looks_at_numbers,
    with_root_in_float32,
    with_baddbmm,
    with_numpy_root,
    with_both_scaled,
    with_swapaxes_and_flatten,
    with_softmax_in_float32,
    AsModule(),
    lambda q, k, v: with_matmul(q, k, v),
]

# Right designs of SelfAttention.


class Separate(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.value = nn.Linear(dim, head_dim)
        self.key = nn.Linear(dim, head_dim, bias=False)
        self.query = nn.Linear(dim, head_dim)

    def forward(self, x):
        return vit_encoder.attention(self.query(x), self.key(x), self.value(x))[0]


class Fused(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.head_dim = head_dim
        self.qkv = nn.Linear(dim, 3 * head_dim)
        self.register_buffer("scale", torch.tensor(head_dim**-0.5))

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return (q @ k.mT * self.scale).softmax(-1) @ v


class FusedUnflatten(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * head_dim, bias=False)
        self.register_buffer("unused", torch.arange(100))

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, -1)).unbind(-2)
        return with_einsum(q, k, v)[0]


class BareParameters(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.query = nn.Parameter(torch.randn(dim, head_dim))
        self.key = nn.Parameter(torch.randn(dim, head_dim))
        self.value = nn.Parameter(torch.randn(dim, head_dim))

    def forward(self, x):
        return with_matmul(x @ self.query, x @ self.key, x @ self.value)[0]


class InDictionary(nn.ModuleDict):
    def __init__(self, dim, head_dim):
        super().__init__(
            {name: nn.Linear(dim, head_dim) for name in ("query", "key", "value")}
        )

    def forward(self, x):
        return with_matmul(*(part(x) for part in self.values()))[0]


class ScaledInQuery(Separate):
    def forward(self, x):
        q = self.query(x) / math.sqrt(self.query.out_features)
        return F.softmax(q @ self.key(x).transpose(1, 2), dim=2) @ self.value(x)


class Lazy(Separate):
    def __init__(self, dim, head_dim):
        nn.Module.__init__(self)
        self.query, self.key, self.value = (nn.LazyLinear(head_dim) for _ in range(3))


class LazyFused(Fused):
    def __init__(self, dim, head_dim):
        super().__init__(dim, head_dim)
        self.qkv = nn.LazyLinear(3 * head_dim)


class Convolutions(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.query = nn.Conv1d(dim, head_dim, 1)
        self.key = nn.Conv1d(dim, head_dim, 1)
        self.value = nn.Conv1d(dim, head_dim, 1, bias=False)

    def forward(self, x):
        parts = (self.query, self.key, self.value)
        return with_matmul(*(part(x.mT).mT for part in parts))[0]


RIGHT_SELF_ATTENTION = [
    Separate,
    Fused,
    FusedUnflatten,
    BareParameters,
    InDictionary,
    ScaledInQuery,
    Lazy,
    LazyFused,
    Convolutions,
]

# Wrong answers of attention: name → answers that must get exactly this name.


def queries_by_einsum(q, k, v):
    weights = torch.einsum("...id,...jd->...ij", q, k).div(q.shape[-1] ** 0.5)
    weights = weights.softmax(-2)
    return torch.einsum("...ij,...jd->...id", weights, v), weights


def scale_left_out(q, k, v):
    return with_matmul(q * q.shape[-1] ** 0.5, k, v)


def scaled_twice(q, k, v):
    q = q / q.shape[-1] ** 0.5
    return with_matmul(q, k, v)


def exponential_by_hand(q, k, v):
    scores = torch.exp(q @ k.mT / q.shape[-1] ** 0.5)
    weights = scores / torch.sum(scores, -1, True)
    return weights @ v, weights


def queries_without_scale(q, k, v):
    weights = (q @ k.mT).softmax(-2)
    return weights @ v, weights


def scaled_by_value_width(q, k, v):
    weights = (q @ k.mT * v.shape[-1] ** -0.5).softmax(-1)
    return weights @ v, weights


def in_half(q, k, v):
    return tuple(x.half() for x in with_matmul(q, k, v))


def in_float32(q, k, v):
    return with_matmul(q.float(), k.float(), v.float())


def float32_and_back(q, k, v):
    return tuple(x.to(q.dtype) for x in in_float32(q, k, v))


def writes_into_query(q, k, v):
    with torch.no_grad():
        q /= q.shape[-1] ** 0.5
    weights = (q @ k.mT).softmax(-1)
    return weights @ v, weights


def adds_zeros_made_on_cpu(q, k, v):
    mask = torch.zeros(q.shape[-2], k.shape[-2])
    weights = (q @ k.mT / q.shape[-1] ** 0.5 + mask).softmax(-1)
    return weights @ v, weights


def returned_on_cpu(q, k, v):
    output, weights = with_matmul(q, k, v)
    return output.cpu(), weights.cpu()


def moved_to_cpu(q, k, v):
    return with_matmul(q.to("cpu"), k.to("cpu"), v.to("cpu"))


def with_dropout(q, k, v):
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    return F.dropout(weights, 0.1) @ v, weights


def through_numpy(q, k, v):
    output, weights = with_matmul(q, k, v)
    return torch.from_numpy(output.detach().numpy()), weights


@torch.no_grad()
def without_gradient(q, k, v):
    return with_matmul(q, k, v)


def calls_built_in(q, k, v):
    return F.scaled_dot_product_attention(q, k, v), with_matmul(q, k, v)[1]


def calls_multi_head(q, k, v):
    return nn.MultiheadAttention(q.shape[-1], 1, batch_first=True)(q, k, v)


def calls_operator(q, k, v):
    return torch.ops.aten._scaled_dot_product_attention_math(q, k, v)


def calls_overload(q, k, v):
    return torch.ops.aten._scaled_dot_product_attention_math.default(q, k, v)


def calls_oracle(q, k, v):
    return vit_encoder.check.self_attention.exact(q, k, v)


def calls_reference(q, k, v):
    return vit_encoder.attention(q, k, v)


WRONG_ATTENTION = {
    "softmax-over-queries": [queries_by_einsum, queries_without_scale],
    "no-scale": [scale_left_out],
    "divided-by-width": [scaled_twice],
    "divided-by-value-width": [scaled_by_value_width],
    "softmax-overflows": [exponential_by_hand],
    "dtype-changed": [in_float32, in_half],
    "computed-in-float32": [float32_and_back],
    "input-changed": [writes_into_query],
    "device-fixed": [adds_zeros_made_on_cpu, returned_on_cpu, moved_to_cpu],
    "not-deterministic": [with_dropout],
    "gradient-cut": [through_numpy, without_gradient],
    "built-in-used": [
        calls_built_in,
        calls_multi_head,
        calls_operator,
        calls_overload,
    ],
    "reference-used": [calls_reference, calls_oracle, vit_encoder.attention],
}

# Wrong answers of SelfAttention.


class NothingLearned(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()

    def forward(self, x):
        return with_matmul(x, x, x)[0]


class OneLinear(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.projection = nn.Linear(dim, head_dim)

    def forward(self, x):
        q = k = v = self.projection(x)
        return with_matmul(q, k, v)[0]


class SharedModule(Separate):
    def __init__(self, dim, head_dim):
        super().__init__(dim, head_dim)
        self.key = self.value = self.query


class KeyIsQuery(Separate):
    def __init__(self, dim, head_dim):
        super().__init__(dim, head_dim)
        self.key = self.query


class ValueIsKey(Separate):
    def __init__(self, dim, head_dim):
        super().__init__(dim, head_dim)
        self.value = self.key


class ValueFromQuery(Separate):
    def forward(self, x):
        q, k = self.query(x), self.key(x)
        return with_matmul(q, k, q)[0]


class ThreesLast(Fused):
    def forward(self, x):
        q, k, v = self.qkv(x).reshape(*x.shape[:2], -1, 3).movedim(-1, 0)
        return with_matmul(q, k, v)[0]


class BatchFlattened(Separate):
    def forward(self, x):
        return super().forward(x.flatten(0, 1)).view(*x.shape[:2], -1)


class BatchFlattenedAndUnscaled(Separate):
    def forward(self, x):
        x, shape = x.flatten(0, 1), x.shape
        weights = (self.query(x) @ self.key(x).mT).softmax(-1)
        return (weights @ self.value(x)).unflatten(0, shape[:2])


class LayersMadeInForward(Separate):
    def forward(self, x):
        dim, width = x.shape[-1], self.query.out_features
        q, k, v = (nn.Linear(dim, width)(x) for _ in range(3))
        return with_matmul(q, k, v)[0]


class OtherNames(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.w_q, self.w_k, self.w_v = (nn.Linear(dim, head_dim) for _ in range(3))

    def forward(self, x):
        return with_matmul(self.w_q(x), self.w_k(x), self.w_v(x))[0]


class OrderOfChunks(Fused):
    def forward(self, x):
        q, v, k = self.qkv(x).chunk(3, dim=-1)
        return with_matmul(q, k, v)[0]


class WidthOfInput(Separate):
    def forward(self, x):
        q = self.query(x) * (self.query.out_features / x.shape[-1]) ** 0.5
        return with_matmul(q, self.key(x), self.value(x))[0]


class MapsBack(Separate):
    def __init__(self, dim, head_dim):
        super().__init__(dim, head_dim)
        self.proj = nn.Linear(head_dim, dim)

    def forward(self, x):
        return self.proj(super().forward(x))


class QueriesInside(Separate):
    def forward(self, x):
        return queries_by_einsum(self.query(x), self.key(x), self.value(x))[0]


class BuiltIn(Separate):
    def forward(self, x):
        q, k, v = self.query(x), self.key(x), self.value(x)
        return F.scaled_dot_product_attention(q, k, v)


class MultiHead(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, 1, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x)[0]


class Inherited(vit_encoder.SelfAttention):
    pass


class LayersInAList(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.layers = [nn.Linear(dim, head_dim) for _ in range(3)]

    def forward(self, x):
        return with_matmul(*(layer(x) for layer in self.layers))[0]


class ParametersInAList(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.maps = [nn.Parameter(torch.randn(dim, head_dim)) for _ in range(3)]

    def forward(self, x):
        return with_matmul(*(x @ weight for weight in self.maps))[0]


class ListOfNoCulprits(nn.Module):
    """What the list holds has no parameters; a tensor keeps its dtype."""

    def __init__(self, dim, head_dim):
        super().__init__()
        self.steps = [nn.Identity()]
        self.query, self.key = nn.Linear(dim, head_dim), nn.Linear(dim, head_dim)
        self.value = torch.randn(dim, head_dim)

    def forward(self, x):
        (step,) = self.steps
        return with_matmul(self.query(step(x)), self.key(x), x @ self.value)[0]


WRONG_SELF_ATTENTION = {
    "dtypes-mixed": [ListOfNoCulprits],
    "layers-hidden": [LayersInAList, ParametersInAList],
    "extra-parameters": [with_one_more(Fused)],
    "no-projections": [NothingLearned],
    "one-projection": [OneLinear, SharedModule],
    "query-is-key": [KeyIsQuery],
    "value-is-query": [ValueFromQuery],
    "qkv-interleaved": [ThreesLast],
    "images-mixed": [BatchFlattened, BatchFlattenedAndUnscaled],
    "missing-parameters": [OtherNames, ValueIsKey],
    "key-and-value-swapped": [OrderOfChunks],
    "scaled-by-dim": [WidthOfInput],
    "wrong-shape": [MapsBack],
    "softmax-over-queries": [QueriesInside],
    "built-in-used": [BuiltIn, MultiHead],
    "reference-used": [Inherited, vit_encoder.SelfAttention],
}

# Nobody recorded these: they fail, and get no name.


def hard_attention(q, k, v):
    best = (q @ k.mT).argmax(-1)
    weights = F.one_hot(best, k.shape[-2]).to(q.dtype)
    return weights @ v, weights


def cosine_attention(q, k, v):
    return with_matmul(F.normalize(q, dim=-1), F.normalize(k, dim=-1), v)


def twice_as_sharp(q, k, v):
    return with_matmul(2 * q, k, v)


def distance_attention(q, k, v):
    weights = (-torch.cdist(q, k)).softmax(-1)
    return weights @ v, weights


def relu_attention(q, k, v):
    scores = (q @ k.mT / q.shape[-1] ** 0.5).relu() + 1e-3
    weights = scores / scores.sum(-1, keepdim=True)
    return weights @ v, weights


UNRECORDED = [
    hard_attention,
    cosine_attention,
    twice_as_sharp,
    distance_attention,
    relu_attention,
]

# How much attention each token receives.


def mean_of_weights(x, w_query, w_key):
    q, k = x @ w_query, x @ w_key
    return with_matmul(q, k, k)[1].mean(-2)


def column_sums_over_count(x, w_query, w_key):
    q, k = torch.matmul(x, w_query), torch.matmul(x, w_key)
    weights = F.softmax(
        torch.einsum("...id,...jd->...ij", q, k) * q.shape[-1] ** -0.5, -1
    )
    return weights.sum(-2) / x.shape[-2]


def asked_one_by_one(x, w_query, w_key):
    k, total = x @ w_key, 0
    for token in x.unbind(-2):
        scores = (k @ (token @ w_query).unsqueeze(-1)).squeeze(-1)
        total = total + (scores / k.shape[-1] ** 0.5).softmax(-1)
    return total / x.shape[-2]


def read_off_the_values(x, w_query, w_key):
    """Values that are one-hot show the weights."""
    names = torch.eye(x.shape[-2], dtype=x.dtype, device=x.device)
    names = names.expand(*x.shape[:-1], -1)
    return with_matmul(x @ w_query, x @ w_key, names)[0].mean(-2)


RIGHT_RECEIVED = [
    mean_of_weights,
    column_sums_over_count,
    asked_one_by_one,
    read_off_the_values,
]


def softmax_of_the_mean_query(x, w_query, w_key):
    """The mean query asks: the same as the mean of all scores."""
    q, k = (x @ w_query).mean(-2, keepdim=True), x @ w_key
    return with_matmul(q, k, k)[1].squeeze(-2)


def softmax_last(x, w_query, w_key):
    scores = (x @ w_query) @ (x @ w_key).mT / w_key.shape[-1] ** 0.5
    return scores.mean(-2).softmax(-1)


def row_means(x, w_query, w_key):
    q, k = x @ w_query, x @ w_key
    return with_matmul(q, k, k)[1].mean(-1)


def column_sums_alone(x, w_query, w_key):
    q, k = x @ w_query, x @ w_key
    return with_matmul(q, k, k)[1].sum(-2)


def calls_attention(x, w_query, w_key):
    q, k = x @ w_query, x @ w_key
    return vit_encoder.attention(q, k, k)[1].mean(-2)


def calls_the_answer(x, w_query, w_key):
    return vit_encoder.check.self_attention.received(x, w_query, w_key)


WRONG_RECEIVED = {
    "same-as-the-bug": [softmax_of_the_mean_query, softmax_last],
    "mean-over-keys": [row_means],
    "summed-over-queries": [column_sums_alone],
    "reference-used": [calls_attention, calls_the_answer],
}


def softmax_of_column_sums(x, w_query, w_key):
    q, k = x @ w_query, x @ w_key
    return with_matmul(q, k, k)[1].sum(-2).softmax(-1)


# Right designs of CrossAttention.


class Reads(nn.Module):
    def __init__(self, dim, context_dim, head_dim):
        super().__init__()
        self.query = nn.Linear(dim, head_dim, bias=False)
        self.key = nn.Linear(context_dim, head_dim, bias=False)
        self.value = nn.Linear(context_dim, head_dim)

    def forward(self, x, context):
        return with_einsum(self.query(x), self.key(context), self.value(context))[0]


class KeysAndValuesJoined(nn.Module):
    """As in many libraries: one layer for what is made of the context."""

    def __init__(self, query_dim, context_dim, inner_dim):
        super().__init__()
        self.scale = inner_dim**-0.5
        self.query = nn.Linear(query_dim, inner_dim)
        self.kv = nn.Linear(context_dim, 2 * inner_dim)

    def forward(self, x, context):
        k, v = self.kv(context).chunk(2, dim=-1)
        weights = (self.query(x) * self.scale @ k.mT).softmax(-1)
        return weights @ v


class ReadsWithMatrices(nn.Module):
    def __init__(self, dim, context_dim, head_dim):
        super().__init__()
        self.query = nn.Parameter(torch.randn(dim, head_dim))
        self.key = nn.Parameter(torch.randn(context_dim, head_dim))
        self.value = nn.Parameter(torch.randn(context_dim, head_dim))

    def forward(self, x, context):
        q, k, v = x @ self.query, context @ self.key, context @ self.value
        return vit_encoder.attention(q, k, v)[0]


class ProjectsWhatWasRead(Reads):
    """The values are projected after the average: a linear map may wait."""

    def forward(self, x, context):
        read, _ = with_matmul(self.query(x), self.key(context), context)
        return self.value(read)


RIGHT_CROSS = [Reads, KeysAndValuesJoined, ReadsWithMatrices, ProjectsWhatWasRead]

# Wrong answers of CrossAttention.


class ReadsItself(nn.Module):
    def __init__(self, dim, context_dim, head_dim):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(dim, head_dim) for _ in range(3))

    def forward(self, x, context=None):
        return with_matmul(self.query(x), self.key(x), self.value(x))[0]


class ContextAsks(nn.Module):
    def __init__(self, dim, context_dim, head_dim):
        super().__init__()
        self.query = nn.Linear(context_dim, head_dim)
        self.key = nn.Linear(dim, head_dim)
        self.value = nn.Linear(dim, head_dim)

    def forward(self, x, context):
        return with_matmul(self.query(context), self.key(x), self.value(x))[0]


class AllOfWidthD(ReadsItself):
    def forward(self, x, context):
        return with_matmul(self.query(x), self.key(context), self.value(context))[0]


class ValuesFirst(KeysAndValuesJoined):
    def forward(self, x, context):
        v, k = self.kv(context).chunk(2, dim=-1)
        return with_matmul(self.query(x), k, v)[0]


class KeysServeTwice(KeysAndValuesJoined):
    def forward(self, x, context):
        k, _ = self.kv(context).chunk(2, dim=-1)
        return with_matmul(self.query(x), k, k)[0]


class ScaledByTheInput(Reads):
    def forward(self, x, context):
        scores = self.query(x) @ self.key(context).mT * x.shape[-1] ** -0.5
        return scores.softmax(-1) @ self.value(context)


class SoftmaxOverTokens(Reads):
    def forward(self, x, context):
        scores = self.query(x) @ self.key(context).mT / self.key.out_features**0.5
        return scores.softmax(1) @ self.value(context)


class WithResidual(Reads):
    def forward(self, x, context):
        q = self.query(x)
        return q + with_matmul(q, self.key(context), self.value(context))[0]


class OneTextForAll(Reads):
    def forward(self, x, context):
        k, v = self.key(context)[0], self.value(context)[0]
        return with_matmul(self.query(x), k, v)[0]


class BothReturned(Reads):
    def forward(self, x, context):
        return with_matmul(self.query(x), self.key(context), self.value(context))


class MapsBackAgain(Reads):
    def __init__(self, dim, context_dim, head_dim):
        super().__init__(dim, context_dim, head_dim)
        self.proj = nn.Linear(head_dim, dim)

    def forward(self, x, context):
        return self.proj(super().forward(x, context))


class NamedAsInDiffusers(nn.Module):
    def __init__(self, dim, context_dim, head_dim):
        super().__init__()
        self.to_q = nn.Linear(dim, head_dim, bias=False)
        self.to_k = nn.Linear(context_dim, head_dim, bias=False)
        self.to_v = nn.Linear(context_dim, head_dim, bias=False)

    def forward(self, x, context):
        return with_matmul(self.to_q(x), self.to_k(context), self.to_v(context))[0]


class BuiltInReads(Reads):
    def forward(self, x, context):
        k, v = self.key(context), self.value(context)
        return F.scaled_dot_product_attention(self.query(x), k, v)


class LayersInADict(nn.Module):
    def __init__(self, dim, context_dim, head_dim):
        super().__init__()
        widths = {"query": dim, "key": context_dim, "value": context_dim}
        self.layers = {name: nn.Linear(w, head_dim) for name, w in widths.items()}

    def forward(self, x, context):
        q, k = self.layers["query"](x), self.layers["key"](context)
        return with_matmul(q, k, self.layers["value"](context))[0]


WRONG_CROSS = {
    "layers-hidden": [LayersInADict],
    "context-ignored": [ReadsItself],
    "sequences-exchanged": [ContextAsks],
    "one-width-for-both": [AllOfWidthD],
    "key-and-value-swapped": [ValuesFirst],
    "value-is-key": [KeysServeTwice],
    "scaled-by-dim": [ScaledByTheInput],
    "softmax-over-queries": [SoftmaxOverTokens],
    "queries-added": [WithResidual],
    "first-context-for-all": [OneTextForAll],
    "pair-returned": [BothReturned],
    "wrong-shape": [MapsBackAgain],
    "missing-parameters": [NamedAsInDiffusers],
    "built-in-used": [BuiltInReads],
}


class ReadsTheMean(Reads):
    def forward(self, x, context):
        v = self.value(context).mean(1, keepdim=True)
        return v.expand(-1, x.shape[1], -1)


class ReadsTheBest(Reads):
    def forward(self, x, context):
        q, k, v = self.query(x), self.key(context), self.value(context)
        return hard_attention(q, k, v)[0]


class PlacesCount(Reads):
    def forward(self, x, context):
        place = torch.arange(context.shape[1], device=x.device).to(x.dtype)
        k = self.key(context) + place[:, None] / 10
        return with_matmul(self.query(x), k, self.value(context))[0]


NAMELESS_CROSS = [ReadsTheMean, ReadsTheBest, PlacesCount]

# Right designs of attention with a mask.


def where_then_zero(q, k, v, visible):
    scores = torch.einsum("...id,...jd->...ij", q, k) * q.shape[-1] ** -0.5
    weights = torch.where(visible, scores, -torch.inf).softmax(-1)
    weights = torch.where(visible, weights, 0.0)
    return weights @ v, weights


def empty_rows_apart(q, k, v, visible):
    """Rows that see nothing are kept away from softmax."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    visible = visible.expand_as(scores)
    empty = ~visible.any(-1, keepdim=True)
    weights = scores.masked_fill(~visible & ~empty, float("-inf")).softmax(-1)
    weights = weights.masked_fill(empty, 0)
    return torch.matmul(weights, v), weights


def large_number_then_product(q, k, v, visible):
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(visible.logical_not(), torch.finfo(q.dtype).min)
    weights = F.softmax(scores, dim=-1) * visible
    return weights @ v, weights


def exponentials_of_the_visible(q, k, v, visible):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~visible, torch.finfo(q.dtype).min)
    powers = (scores - scores.amax(-1, keepdim=True)).exp() * visible
    weights = powers / powers.sum(-1, keepdim=True).clamp_min(1e-30)
    return weights @ v, weights


def number_added(q, k, v, visible):
    """As in BERT: 0 or a very negative number is added to the scores."""
    scores = q @ k.mT / q.shape[-1] ** 0.5 + (~visible).to(q.dtype) * -1e30
    weights = scores.softmax(-1) * visible.any(-1, keepdim=True)
    return weights @ v, weights


RIGHT_MASKED = [
    where_then_zero,
    empty_rows_apart,
    large_number_then_product,
    exponentials_of_the_visible,
    number_added,
]

# Wrong answers of attention with a mask.


def true_hides(q, k, v, visible):
    """As nn.MultiheadAttention reads a mask."""
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(visible, -torch.inf)
    weights = scores.softmax(-1).masked_fill(visible, 0)
    return weights @ v, weights


def product_of_weights_and_mask(q, k, v, visible):
    weights = with_matmul(q, k, v)[1] * visible
    return weights @ v, weights


def product_of_scores_and_mask(q, k, v, visible):
    weights = (q @ k.mT * visible / q.shape[-1] ** 0.5).softmax(-1)
    return weights @ v, weights


def nearly_zero(q, k, v, visible):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    weights = scores.masked_fill(visible == 0, -1e-9).softmax(dim=-1)
    return weights @ v, weights


def lowest_number(q, k, v, visible):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~visible, torch.finfo(scores.dtype).min).softmax(-1)
    return weights @ v, weights


def infinity_alone(q, k, v, visible):
    bias = torch.zeros_like(visible, dtype=q.dtype).masked_fill(~visible, -torch.inf)
    weights = (q @ k.mT / q.shape[-1] ** 0.5 + bias).softmax(-1)
    return weights @ v, weights


def divided_by_what_is_left(q, k, v, visible):
    weights = with_matmul(q, k, v)[1] * visible
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return weights @ v, weights


def nan_made_zero(q, k, v, visible):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~visible, -torch.inf).softmax(-1).nan_to_num()
    return weights @ v, weights


def nan_cut_from_the_record(q, k, v, visible):
    bias = torch.zeros_like(visible, dtype=q.dtype).masked_fill(~visible, -torch.inf)
    weights = (q @ k.mT / q.shape[-1] ** 0.5 + bias).softmax(-1)
    weights = weights.masked_fill(~visible, 0)
    return weights @ v, weights


def writes_into_the_mask(q, k, v, visible):
    visible.logical_not_()
    return true_hides(q, k, v, visible)


def mask_given_to_the_built_in(q, k, v, visible):
    output = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
    return output, where_then_zero(q, k, v, visible)[1]


def hundred_below_zero(q, k, v, visible):
    """Right until the visible scores are lower still."""
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~visible, -100.0)
    weights = scores.softmax(-1).masked_fill(~visible, 0)
    return weights @ v, weights


WRONG_MASKED = {
    "mask-inverted": [true_hides],
    "masked-after-softmax": [product_of_weights_and_mask],
    "hidden-score-near-zero": [product_of_scores_and_mask, nearly_zero],
    "all-hidden-shared-evenly": [lowest_number],
    "all-hidden-gives-nan": [infinity_alone],
    "shared-anew-after-softmax": [divided_by_what_is_left],
    "nan-hidden": [nan_made_zero],
    "gradient-differs": [nan_cut_from_the_record],
    "input-changed": [writes_into_the_mask],
    "built-in-used": [mask_given_to_the_built_in],
    (): [hundred_below_zero],  # an edge, which no name tells
}


def values_hidden_alone(q, k, v, visible):
    """The mask meets the values, not the weights."""
    weights = with_matmul(q, k, v)[1]
    seen = visible.to(v.dtype).expand_as(weights)
    return (weights * seen) @ v, weights


def mask_left_out(q, k, v, visible):
    return with_matmul(q, k, v)


def a_little_lower(q, k, v, visible):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~visible, -3.0).softmax(-1)
    return weights @ v, weights


def last_keys_hidden(q, k, v, visible):
    """It counts the visible keys, and takes the first ones."""
    count = visible.sum(-1, keepdim=True)
    first = torch.arange(k.shape[-2], device=q.device) < count
    return where_then_zero(q, k, v, first)


NAMELESS_MASKED = [values_hidden_alone, mask_left_out, a_little_lower, last_keys_hidden]


# Tests that a student may write.


def row_sums(attention):
    q, k, v = torch.randn(5, 7), torch.randn(3, 7), torch.randn(3, 4)
    sums = attention(q, k, v)[1].sum(-1)
    return torch.allclose(sums, torch.ones_like(sums))


def row_sums_asserted(attention):
    q, k, v = torch.randn(2, 5, 7), torch.randn(2, 3, 7), torch.randn(2, 3, 4)
    sums = attention(q, k, v)[1].sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums))


def constant_values(attention):
    q, k, v = torch.randn(2, 5, 7), torch.randn(2, 3, 7), torch.ones(2, 3, 4)
    return (attention(q, k, v)[0] - 1).abs().max() < 1e-5


def against_torch(attention):
    q, k, v = torch.randn(2, 5, 7), torch.randn(2, 3, 7), torch.randn(2, 3, 4)
    expected = F.scaled_dot_product_attention(q, k, v)
    return torch.allclose(attention(q, k, v)[0], expected, atol=1e-5)


def shapes(attention):
    q, k, v = torch.randn(5, 7), torch.randn(3, 7), torch.randn(3, 4)
    output, weights = attention(q, k, v)
    assert output.shape == (5, 4)
    assert weights.shape == (5, 3)


def column_sums(attention):
    q, k, v = torch.randn(5, 7), torch.randn(3, 7), torch.randn(3, 4)
    return torch.allclose(attention(q, k, v)[1].sum(-2), torch.ones(3))


def batch_only(attention):
    q = torch.randn(2, 5, 7)
    alone = attention(q[:1], q[:1], q[:1])[0]
    return torch.allclose(attention(q, q, q)[0][:1], alone, atol=1e-5)


# What tests/test_exercises.py runs: task → answers.

RIGHT = {
    "attention": RIGHT_ATTENTION,
    "SelfAttention": RIGHT_SELF_ATTENTION,
    "find_the_bug": RIGHT_RECEIVED,
    "CrossAttention": RIGHT_CROSS,
    "masked_attention": RIGHT_MASKED,
}
WRONG = {
    "attention": WRONG_ATTENTION,
    "SelfAttention": WRONG_SELF_ATTENTION,
    "find_the_bug": WRONG_RECEIVED,
    "CrossAttention": WRONG_CROSS,
    "masked_attention": WRONG_MASKED,
}
NAMELESS = {
    "attention": UNRECORDED,
    "find_the_bug": [softmax_of_column_sums],
    "CrossAttention": NAMELESS_CROSS,
    "masked_attention": NAMELESS_MASKED,
}
GOOD_TESTS = {
    "wrong_axis": [row_sums, row_sums_asserted, constant_values, against_torch]
}
WEAK_TESTS = {
    "wrong_axis": [
        (shapes, 0, "test-accepts-wrong"),
        (batch_only, 1, "test-accepts-wrong"),
        (column_sums, 0, "test-rejects-right"),
        (lambda attention: attention(1), 0, "test-rejects-right"),
        (lambda attention: attention.__name__ == "attention", 0, "test-rejects-right"),
        (lambda attention: torch.ones(3) > 0, 0, "test-rejects-right"),
    ]
}
