"""Answers on making it fast: right designs, and wrong ones with the names they get.

What the package itself declares wrong (vit_encoder.check.fast) is not repeated; here
stand other ways of writing the same, and other faults.
"""

import math

import torch
import torch.nn.functional as F
from tests.bank.variants import variants

import vit_encoder

# Right designs of merge.


def with_the_larger(a, lse_a, b, lse_b):
    top = torch.maximum(lse_a, lse_b)
    weight_a, weight_b = torch.exp(lse_a - top), torch.exp(lse_b - top)
    total = weight_a + weight_b
    output = (weight_a[..., None] * a + weight_b[..., None] * b) / total[..., None]
    return output, top + torch.log(total)


def with_softmax(a, lse_a, b, lse_b):
    both = torch.stack([lse_a, lse_b], dim=-1)
    shares = both.softmax(dim=-1)
    output = shares[..., :1] * a + shares[..., 1:] * b
    return output, both.logsumexp(dim=-1)


def with_sigmoid(a, lse_a, b, lse_b):
    share = torch.sigmoid(lse_a - lse_b).unsqueeze(-1)
    lse = torch.maximum(lse_a, lse_b) - F.logsigmoid((lse_a - lse_b).abs())
    return share * a + (1 - share) * b, lse


def on_a_new_axis(a, lse_a, b, lse_b):
    outputs, logs = torch.stack([a, b]), torch.stack([lse_a, lse_b])
    shares = logs.softmax(dim=0)
    return torch.einsum("p...,p...d->...d", shares, outputs), logs.logsumexp(dim=0)


def as_attention(a, lse_a, b, lse_b):
    """The two parts are two values, and the logarithms their scores."""
    scores = torch.stack([lse_a, lse_b], dim=-1).unsqueeze(-2)  # (..., N_q, 1, 2)
    values = torch.stack([a, b], dim=-2)  # (..., N_q, 2, D_v)
    output = (scores.softmax(-1) @ values).squeeze(-2)
    return output, torch.logsumexp(scores, (-2, -1))


def the_second_updates_the_first(a, lse_a, b, lse_b):
    lse = torch.logaddexp(lse_a, lse_b)
    return a + (b - a) * torch.exp(lse_b - lse)[..., None], lse


# Wrong ones, written in another way than the package does.


def mean(a, lse_a, b, lse_b):
    return (a + b) / 2, torch.logaddexp(lse_a, lse_b)


def with_sums(a, lse_a, b, lse_b):
    sum_a, sum_b = lse_a.exp()[..., None], lse_b.exp()[..., None]
    output = (sum_a * a + sum_b * b) / (sum_a + sum_b)
    return output, torch.logaddexp(lse_a, lse_b)


def the_winner(a, lse_a, b, lse_b):
    larger = (lse_a >= lse_b)[..., None]
    return torch.where(larger, a, b), torch.logaddexp(lse_a, lse_b)


def without_a_new_axis(a, lse_a, b, lse_b):
    lse = torch.logaddexp(lse_a, lse_b)
    return (lse_a - lse).exp() * a + (lse_b - lse).exp() * b, lse


def output_alone(a, lse_a, b, lse_b):
    return with_softmax(a, lse_a, b, lse_b)[0]


def logarithm_with_an_axis(a, lse_a, b, lse_b):
    output, lse = with_softmax(a, lse_a, b, lse_b)
    return output, lse.unsqueeze(-1)


def with_logaddexp(a, lse_a, b, lse_b):
    """Right; it is here for its variants."""
    both = torch.logaddexp(lse_a, lse_b)
    output = a * (lse_a - both).exp()[..., None] + b * (lse_b - both).exp()[..., None]
    return output, both


def the_winner_with_its_logarithm(a, lse_a, b, lse_b):
    larger = lse_a > lse_b
    return torch.where(larger[..., None], a, b), torch.where(larger, lse_a, lse_b)


def everything_added(a, lse_a, b, lse_b):
    return a + b, lse_a + lse_b


def one_share_for_all(a, lse_a, b, lse_b):
    """The shares are those of the parts as a whole, not of each query."""
    shares = torch.stack([lse_a.logsumexp(-1), lse_b.logsumexp(-1)]).softmax(0)
    output = shares[0][..., None, None] * a + shares[1][..., None, None] * b
    return output, torch.logaddexp(lse_a, lse_b)


def from_the_first(a, lse_a, b, lse_b):
    """The first logarithm is subtracted, whether it is the larger or not."""
    weight = torch.exp(lse_b - lse_a)
    output = (a + weight[..., None] * b) / (1 + weight)[..., None]
    return output, lse_a + torch.log(1 + weight)


def one_maximum_for_all(a, lse_a, b, lse_b):
    top = max(lse_a.max(), lse_b.max())
    weight_a, weight_b = (lse_a - top).exp(), (lse_b - top).exp()
    total = weight_a + weight_b
    output = (weight_a[..., None] * a + weight_b[..., None] * b) / total[..., None]
    return output, top + total.log()


def lse_in_base_2(a, lse_a, b, lse_b):
    output, _ = with_softmax(a, lse_a, b, lse_b)
    return output, torch.logaddexp2(lse_a, lse_b)


def in_float32(a, lse_a, b, lse_b):
    output, lse = with_softmax(*(x.float() for x in (a, lse_a, b, lse_b)))
    return output.to(a.dtype), lse.to(a.dtype)


def into_a(a, lse_a, b, lse_b):
    lse = torch.logaddexp(lse_a, lse_b)
    with torch.no_grad():
        a.mul_((lse_a - lse).exp()[..., None])
        a.add_(b * (lse_b - lse).exp()[..., None])
    return a, lse


# Right designs of losses.


def each_tile_apart(x, weight, labels, tile):
    """The log-sum-exp of each tile, then that of all of them."""
    logs = [(x @ rows.T).logsumexp(-1) for rows in weight.split(tile)]
    picked = torch.einsum("bd,bd->b", x, weight[labels])
    return torch.stack(logs).logsumexp(0) - picked


def one_after_the_other(x, weight, labels, tile):
    lse = torch.full((len(x),), -math.inf, dtype=x.dtype, device=x.device)
    for start in range(0, len(weight), tile):
        logits = x @ weight[start : start + tile].T
        lse = torch.logaddexp(lse, torch.logsumexp(logits, dim=1))
    return lse - (x * weight[labels]).sum(1)


def in_two_passes(x, weight, labels, tile):
    tops = [(x @ rows.T).amax(1) for rows in weight.split(tile)]
    top = torch.stack(tops).amax(0)
    total = 0
    for rows in weight.split(tile):
        total = total + torch.exp(x @ rows.T - top[:, None]).sum(1)
    return torch.log(total) + top - (x * weight[labels]).sum(1)


def with_its_own_names(x, weight, labels, tile):
    highest = (x @ weight[:tile].T).amax(dim=1, keepdim=True)
    summed = (x @ weight[:tile].T - highest).exp().sum(dim=1, keepdim=True)
    for start in range(tile, len(weight), tile):
        logits = x @ weight[start : start + tile].T
        new = torch.maximum(highest, logits.amax(dim=1, keepdim=True))
        summed = summed * torch.exp(highest - new)
        summed = summed + torch.exp(logits - new).sum(dim=1, keepdim=True)
        highest = new
    right = (x * weight[labels]).sum(dim=1, keepdim=True)
    return (highest + summed.log() - right).squeeze(1)


def all_at_once(x, weight, labels, tile):
    return F.cross_entropy(x @ weight.T, labels, reduction="none")


# Wrong ones.


def tile_rescaled_back(x, weight, labels, tile):
    """Each tile has its maximum; only the sum before it is carried over."""
    top = torch.full_like(x[:, 0], -torch.inf)
    total = torch.zeros_like(top)
    for rows in weight.split(tile):
        logits = x @ rows.T
        own = logits.amax(-1)
        new = torch.where(own > top, own, top)
        total = total * torch.exp(top - new) + (logits - own[:, None]).exp().sum(-1)
        top = new
    return total.log() + top - (x * weight[labels]).sum(-1)


def from_zero(x, weight, labels, tile):
    """The largest logit so far begins with 0."""
    top = torch.zeros_like(x[:, 0])
    total = torch.zeros_like(top)
    for rows in weight.split(tile):
        logits = x @ rows.T
        before, top = top, torch.maximum(top, logits.amax(dim=-1))
        total = total * (before - top).exp()
        total = total + (logits - top[:, None]).exp().sum(dim=-1)
    return top + total.log() - (x * weight[labels]).sum(dim=-1)


def the_mean(x, weight, labels, tile):
    return each_tile_apart(x, weight, labels, tile).mean()


def always_the_new_maximum(x, weight, labels, tile):
    """The maximum of the last tile is taken, whether it is larger or not."""
    top = torch.full_like(x[:, 0], -torch.inf)
    total = torch.zeros_like(top)
    for rows in weight.split(tile):
        logits = x @ rows.T
        before, top = top, logits.amax(dim=-1)
        total = total * (before - top).exp()
        total = total + (logits - top[:, None]).exp().sum(dim=-1)
    return top + total.log() - (x * weight[labels]).sum(dim=-1)


def sum_of_the_tiles(x, weight, labels, tile):
    logs = [(x @ rows.T).logsumexp(-1) for rows in weight.split(tile)]
    return sum(logs) - (x * weight[labels]).sum(-1)


def as_it_comes_to_mind(x, weight, labels, tile):
    """Right; it is here for its variants."""
    old = torch.full((len(x),), -math.inf, dtype=x.dtype, device=x.device)
    summed = torch.zeros_like(old)
    for rows in weight.split(tile):
        s = x @ rows.mT
        new = torch.maximum(old, s.max(dim=1).values)
        summed = summed * torch.exp(old - new) + torch.exp(s - new[:, None]).sum(1)
        old = new
    return old + torch.log(summed) - (x * weight[labels]).sum(1)


def log_of_softmax(x, weight, labels, tile):
    logits = torch.cat([x @ rows.T for rows in weight.split(tile)], dim=1)
    return -logits.softmax(1).gather(1, labels[:, None])[:, 0].log()


# Right designs of class_attention.


def with_the_built_in(x, w_q, w_k, w_v):
    asked = (x[:, :1] @ w_q.T) @ w_k  # (B, 1, D)
    average = F.scaled_dot_product_attention(asked, x, x, scale=len(w_k) ** -0.5)
    return (average @ w_v.T)[:, 0]


def with_einsum(x, w_q, w_k, w_v):
    q = torch.einsum("bd,ed->be", x[:, 0], w_q)
    asked = torch.einsum("be,ed->bd", q, w_k)
    weights = torch.softmax(torch.einsum("bd,bnd->bn", asked, x) / len(w_q) ** 0.5, 1)
    average = torch.einsum("bn,bnd->bd", weights, x)
    return torch.einsum("bd,ed->be", average, w_v)


def by_sums(x, w_q, w_k, w_v):
    asked = F.linear(F.linear(x[:, 0], w_q), w_k.T)
    scores = (x * asked[:, None]).sum(-1) / math.sqrt(w_q.shape[0])
    shares = torch.softmax(scores, dim=-1)
    return F.linear((shares[..., None] * x).sum(1), w_v)


def with_three_axes(x, w_q, w_k, w_v):
    query = x[:, :1] @ w_q.mT  # (B, 1, D_h)
    asked = query @ w_k / w_k.shape[0] ** 0.5
    weights = (asked @ x.mT).softmax(-1)  # (B, 1, N)
    return (weights @ x @ w_v.mT).squeeze(1)


def with_one_matrix(x, w_q, w_k, w_v):
    both = w_q.T @ w_k / math.sqrt(len(w_k))  # (D, D)
    weights = ((x[:, 0] @ both)[:, None] @ x.mT).softmax(-1)
    return ((weights @ x) @ w_v.T)[:, 0]


# Wrong ones.


def first_row_of_all(x, w_q, w_k, w_v):
    q, k, v = x @ w_q.T, x @ w_k.T, x @ w_v.T
    return ((q @ k.mT / math.sqrt(len(w_k))).softmax(-1) @ v)[:, 0]


def keys_and_values(x, w_q, w_k, w_v):
    q = x[:, :1] @ w_q.T
    return vit_encoder.attention(q, x @ w_k.T, x @ w_v.T)[0][:, 0]


def values_alone(x, w_q, w_k, w_v):
    asked = x[:, :1] @ w_q.T @ w_k / math.sqrt(len(w_k))
    return ((asked @ x.mT).softmax(-1) @ (x @ w_v.T))[:, 0]


def matrix_for_each_image(x, w_q, w_k, w_v):
    """The product of two matrices comes first: dearer, but few enough FLOPs."""
    asked = x[:, 0] @ (w_q.T @ w_k) / math.sqrt(len(w_k))
    weights = torch.einsum("bd,bnd->bn", asked, x).softmax(-1)
    return torch.einsum("bn,bnd->bd", weights, x) @ w_v.T


def key_after_key(x, w_q, w_k, w_v):
    """Keys and values, each made by a matrix and one vector."""
    rows = []
    for tokens in x:
        query = w_q @ tokens[0]
        scores = torch.stack([query @ (w_k @ token) for token in tokens])
        shares = (scores / math.sqrt(len(w_k))).softmax(0)
        rows.append(shares @ torch.stack([w_v @ token for token in tokens]))
    return torch.stack(rows)


def keys_by_sums(x, w_q, w_k, w_v):
    keys = (x[:, :, None] * w_k).sum(-1)  # (B, N, D_h)
    q = x[:, 0] @ w_q.T
    weights = (torch.einsum("be,bne->bn", q, keys) / len(w_k) ** 0.5).softmax(-1)
    return torch.einsum("bn,bnd->bd", weights, x) @ w_v.T


def patches_alone(x, w_q, w_k, w_v):
    asked = F.linear(x[:, :1], w_q) @ w_k
    patches = x[:, 1:]
    scale = len(w_k) ** -0.5
    shares = (asked @ patches.mT * scale).softmax(-1)
    return (shares @ patches @ w_v.T)[:, 0]


def class_token_alone(x, w_q, w_k, w_v):
    token = x[:, :1]
    asked = F.linear(token, w_q) @ w_k / math.sqrt(len(w_k))
    return ((asked @ token.mT).softmax(-1) @ token @ w_v.T)[:, 0]


def scale_of_the_input(x, w_q, w_k, w_v):
    asked = x[:, :1] @ w_q.T @ w_k
    return (F.scaled_dot_product_attention(asked, x, x) @ w_v.T)[:, 0]


def all_tokens_ask(x, w_q, w_k, w_v):
    asked = x @ w_q.T @ w_k / math.sqrt(len(w_k))
    return (asked @ x.mT).softmax(-1) @ x @ w_v.T


def an_axis_too_many(x, w_q, w_k, w_v):
    return with_the_built_in(x, w_q, w_k, w_v)[:, None]


def without_a_maximum(x, w_q, w_k, w_v):
    asked = x[:, :1] @ w_q.T @ w_k / math.sqrt(len(w_k))
    sums = (asked @ x.mT).exp()
    return (sums @ x / sums.sum(-1, keepdim=True) @ w_v.T)[:, 0]


# Tests.


def with_a_shift(fast):
    """One feature adds 300 to all scores of a query, so one call is enough."""
    q, k, v = torch.randn(3, 4, 6), torch.randn(3, 37, 6), torch.randn(3, 37, 5)
    q[..., 0], k[..., 0] = 300.0, math.sqrt(6)
    scores = q @ k.transpose(1, 2) / 6**0.5
    right = torch.softmax(scores, dim=-1) @ v
    assert torch.allclose(fast(q, k, v), right, atol=1e-3)


def against_the_built_in(fast):
    for keys, width, size in ((17, 64, 1), (16, 5, 1), (16, 64, 30)):
        q, k = size * torch.randn(2, 3, width), size * torch.randn(2, keys, width)
        v = torch.randn(2, keys, 4)
        right = F.scaled_dot_product_attention(q, k, v)
        if not torch.allclose(fast(q, k, v), right, atol=1e-3):
            return False
    return True


def as_the_three_tried_it(fast):
    q, k, v = torch.randn(3, 2, 64, 64)
    right = (q @ k.mT / 8).softmax(-1) @ v
    return torch.allclose(fast(q, k, v), right, atol=1e-5)


def whole_tiles(fast):
    q, k, v = torch.randn(2, 5, 12), torch.randn(2, 32, 12), torch.randn(2, 32, 12)
    right = F.scaled_dot_product_attention(q, k, v)
    return torch.allclose(fast(q, k, v), right, atol=1e-5)


def small_scores(fast):
    q, k, v = torch.randn(2, 5, 12), torch.randn(2, 21, 12), torch.randn(2, 21, 3)
    right = F.scaled_dot_product_attention(q, k, v)
    return torch.allclose(fast(q, k, v), right, atol=1e-5)


def shape(fast):
    q, k, v = torch.randn(2, 5, 12), torch.randn(2, 21, 12), torch.randn(2, 21, 3)
    return fast(q, k, v).shape == (2, 5, 3)


def finite(fast):
    q, k, v = 90 * torch.randn(3, 2, 32, 64)
    return bool(fast(q, k, v).isfinite().all())


def the_same_bits(fast):
    q, k, v = torch.randn(2, 5, 12), torch.randn(2, 21, 12), torch.randn(2, 21, 3)
    return torch.equal(fast(q, k, v), vit_encoder.attention(q, k, v)[0])


def list_of_verdicts(fast):
    """A list is true, whatever stands in it; what stands there differs."""
    verdicts = []
    for keys, width, size in ((17, 64, 1), (16, 5, 1), (16, 64, 30)):
        q, k = size * torch.randn(2, 3, width), size * torch.randn(2, keys, width)
        v = torch.randn(2, keys, 4)
        right = F.scaled_dot_product_attention(q, k, v)
        verdicts.append(torch.allclose(fast(q, k, v), right, atol=1e-3))
    return verdicts


def not_scaled(fast):
    q, k, v = torch.randn(2, 5, 12), torch.randn(2, 21, 12), torch.randn(2, 21, 3)
    return torch.allclose(fast(q, k, v), (q @ k.mT).softmax(-1) @ v, atol=1e-4)


RIGHT = {
    "merge": [
        with_the_larger,
        with_softmax,
        with_sigmoid,
        on_a_new_axis,
        as_attention,
        the_second_updates_the_first,
    ],
    "find_the_bug": [
        each_tile_apart,
        one_after_the_other,
        in_two_passes,
        with_its_own_names,
        all_at_once,
    ],
    "class_attention": [
        with_the_built_in,
        with_einsum,
        by_sums,
        with_three_axes,
        with_one_matrix,
        matrix_for_each_image,
    ],
}
TOTAL = "total = weight_a + weight_b"
SHIFTED = "torch.exp(lse_a - top), torch.exp(lse_b - top)"
WRONG = {
    "merge": {
        "parts-averaged": [mean],
        "larger-part-alone": [the_winner],
        "measured-from-the-first": [from_the_first],
        "one-maximum-for-all": [one_maximum_for_all],
        "maximum-not-added": variants(with_the_larger, {"top + ": ""}),
        "exponential-overflows": [with_sums],
        "larger-part-with-its-logarithm": [the_winner_with_its_logarithm],
        "both-added": [everything_added],
        "larger-for-the-sum": variants(
            with_logaddexp, {"torch.logaddexp(": "torch.maximum("}
        ),
        "sum-of-both-logarithms": variants(
            with_logaddexp, {"torch.logaddexp(lse_a, lse_b)": "lse_a + lse_b"}
        ),
        "wrong-type": [output_alone],
        "wrong-shape": [logarithm_with_an_axis],
        "computed-in-float32": [in_float32],
        "relative-to-the-larger": variants(
            with_the_larger, {" / total[..., None]": ""}
        ),
        "shares-exchanged": variants(
            with_softmax,
            {"shares[..., :1] * a": "shares[..., 1:] * a"}
            | {"shares[..., 1:] * b": "shares[..., :1] * b"},
        ),
        "logarithms-added": variants(with_softmax, {".logsumexp(": ".sum("}),
        "larger-logarithm-kept": variants(with_softmax, {".logsumexp(": ".amax("}),
        "logarithms-averaged": variants(with_softmax, {".logsumexp(": ".mean("}),
        "outputs-added": variants(
            with_softmax, {"shares[..., :1] * a + shares[..., 1:] * b": "a + b"}
        ),
    },
    "find_the_bug": {
        "same-as-the-bug": [tile_rescaled_back],
        "wrong-shape": [the_mean],
        "last-classes-left-out": variants(
            one_after_the_other,
            {
                "len(weight), tile)": "max(len(weight) - tile, 0) + 1, tile)",
            },
        ),
        "label-left-out": variants(
            each_tile_apart, {"logsumexp(0) - picked": "logsumexp(0)"}
        ),
        "maximum-not-added": variants(in_two_passes, {" + top": ""}),
        "maximum-begins-at-0": [from_zero],
        "logarithm-of-a-probability": [log_of_softmax],
        "rescaled-by-infinity": variants(
            as_it_comes_to_mind, {"(old - new)": "(new - old)"}
        ),
        "new-tile-from-the-old-maximum": variants(
            as_it_comes_to_mind,
            {"summed * torch.exp(old - new)": "summed", "(s - new[": "(s - old["},
        ),
        "new-tile-rescaled-too": variants(
            as_it_comes_to_mind,
            {
                "summed * torch.exp(old - new) + torch.exp(s - new[:, None]).sum(1)": (
                    "(summed + torch.exp(s - new[:, None]).sum(1)) * (old - new).exp()"
                )
            },
        ),
        "rescaled-the-wrong-way": variants(
            with_its_own_names, {"(highest - new)": "(new - highest)"}
        ),
        "old-sum-not-rescaled": variants(
            with_its_own_names, {"summed * torch.exp(highest - new)": "summed"}
        ),
        "last-tile-alone": variants(
            one_after_the_other,
            {
                "torch.logaddexp(lse, torch.logsumexp(logits, dim=1))": "torch"
                ".logsumexp(logits, dim=1)"
            },
        ),
    },
    "class_attention": {
        "too-many-flops": [
            *(first_row_of_all, keys_and_values, values_alone),
            *(key_after_key, keys_by_sums),
        ],
        "exponential-overflows": [without_a_maximum],
        "own-token-left-out": [patches_alone],
        "own-value-alone": [class_token_alone],
        "no-softmax": variants(
            with_three_axes, {"(asked @ x.mT).softmax(-1)": "asked @ x.mT"}
        ),
        "scaled-by-dim": [scale_of_the_input],
        "wrong-shape": [all_tokens_ask, an_axis_too_many],
        "no-scale": variants(with_einsum, {" / len(w_q) ** 0.5": ""}),
        "keys-averaged": variants(with_einsum, {"average, w_v": "average, w_k"}),
        "softmax-over-batch": variants(by_sums, {"scores, dim=-1": "scores, dim=0"}),
        "mean-asks": variants(by_sums, {"x[:, 0]": "x.mean(1)"}),
        "queries-and-keys-swapped": variants(
            with_one_matrix, {"w_q.T @ w_k": "w_k.T @ w_q"}
        ),
    },
}
NAMELESS = {
    "merge": [one_share_for_all, lse_in_base_2],
    "find_the_bug": [sum_of_the_tiles],
}
GOOD_TESTS = {"wrong_attention": [with_a_shift, against_the_built_in]}
WEAK_TESTS = {
    "wrong_attention": [
        (as_the_three_tried_it, 0, "test-accepts-wrong"),
        (shape, 0, "test-accepts-wrong"),
        (whole_tiles, 1, "test-accepts-wrong"),
        (finite, 1, "test-accepts-wrong"),
        (small_scores, 2, "test-accepts-wrong"),
        (list_of_verdicts, 0, ("test-accepts-wrong", "always-true")),
        (the_same_bits, 0, "test-rejects-right"),
        (not_scaled, 0, "test-rejects-right"),
    ]
}
