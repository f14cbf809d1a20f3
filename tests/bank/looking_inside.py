"""Answers on looking inside: right designs, and wrong ones with the names they get.

What the package itself declares wrong (vit_encoder.check.looking_inside) is not
repeated; here stand other ways of writing the same, and other faults.
"""

import math
from functools import reduce

import torch
from tests.bank.variants import variants

import vit_encoder

# Right designs of rollout.


def in_a_loop(maps, identity=0.5):
    L, B, h, T, _ = maps.shape
    eye = torch.eye(T, dtype=maps.dtype, device=maps.device).expand(B, T, T)
    result = eye
    for i in range(L):
        mean = maps[i].sum(dim=1) / h
        result = torch.bmm((1 - identity) * mean + identity * eye, result)
    return result


def from_the_last(maps, identity=0.5):
    eye = torch.eye(maps.shape[-1]).to(maps)
    mixed = (1 - identity) * maps.mean(2) + identity * eye
    return reduce(lambda done, layer: done @ layer, reversed([*mixed]))


def with_einsum(maps, identity=0.5):
    eye = maps.new_zeros(maps.shape[-2:])
    eye.fill_diagonal_(1)
    result = None
    for layer in torch.einsum("lbhnm->lbnm", maps) / maps.shape[2]:
        step = torch.lerp(layer, eye, identity)
        result = step if result is None else torch.einsum("bnk,bkm->bnm", step, result)
    return result


def with_chain(maps, identity=0.5):
    eye = torch.eye(maps.shape[-1], device=maps.device, dtype=maps.dtype)
    mixed = (maps * (1 - identity)).mean(2) + eye * identity
    images = [[layer[b] for layer in mixed.flip(0)] for b in range(maps.shape[1])]
    return torch.stack(
        [m[0] if len(m) == 1 else torch.linalg.multi_dot(m) for m in images]
    )


def each_head_mixed_first(maps, identity=0.5):
    eye = torch.eye(maps.shape[-1], device=maps.device, dtype=maps.dtype)
    per_head = maps * (1 - identity) + eye * identity
    result = per_head[0].mean(1)
    for layer in per_head[1:]:
        result = torch.matmul(layer.mean(1), result)
    return result


def divided_by_its_rows(maps, identity=0.5):
    eye = torch.eye(maps.shape[-1], device=maps.device, dtype=maps.dtype)
    result = eye.repeat(maps.shape[1], 1, 1)
    for layer in maps.mean(dim=2):
        mixed = (1 - identity) * layer + identity * eye
        result = (mixed / mixed.sum(dim=-1, keepdim=True)) @ result
    return result


RIGHT_ROLLOUT = [
    in_a_loop,
    from_the_last,
    with_einsum,
    with_chain,
    each_head_mixed_first,
]

# Wrong ones, written in another way than the package does.


def rows_in_one_sum(maps, identity=0.5):
    eye = torch.eye(maps.shape[-1], device=maps.device, dtype=maps.dtype)
    result = eye
    for layer in maps.mean(dim=2):
        result = layer @ result + result
    return result


def backwards(maps, identity=0.5):
    eye = torch.eye(maps.shape[-1], device=maps.device, dtype=maps.dtype)
    result = eye
    for layer in maps.mean(2).flip(0):
        result = torch.matmul((1 - identity) * layer + identity * eye, result)
    return result


def mean_of_the_layers(maps, identity=0.5):
    eye = torch.eye(maps.shape[-1], device=maps.device, dtype=maps.dtype)
    return (1 - identity) * maps.mean(dim=(0, 2)) + identity * eye


def without_identity(maps, identity=0.5):
    heads = maps.mean(2)
    result = heads[0]
    for layer in heads[1:]:
        result = layer @ result
    return result


def the_last(maps, identity=0.5):
    eye = torch.eye(maps.shape[-1], device=maps.device, dtype=maps.dtype)
    return (1 - identity) * maps[-1].mean(1) + identity * eye


def class_row(maps, identity=0.5):
    return in_a_loop(maps, identity)[:, 0]


def calls_the_package(maps, identity=0.5):
    return vit_encoder.rollout(maps, identity)


def in_float32(maps, identity=0.5):
    return in_a_loop(maps.float(), identity).to(maps.dtype)


def on_the_cpu(maps, identity=0.5):
    eye = torch.eye(maps.shape[-1], dtype=maps.dtype)
    result = eye
    for layer in maps.mean(2):
        result = ((1 - identity) * layer + identity * eye) @ result
    return result


WRONG_ROLLOUT = {
    "first-layer-last": [backwards],
    "identity-added": [rows_in_one_sum],
    "layers-averaged": [mean_of_the_layers],
    "identity-left-out": [without_identity],
    "last-layer-alone": [the_last],
    "wrong-shape": [class_row],
    "computed-in-float32": [in_float32],
    "device-fixed": [on_the_cpu],
    "identity-always-half": variants(
        in_a_loop, {"(1 - identity) * mean + identity * eye": "0.5 * mean + 0.5 * eye"}
    ),
    "heads-added": variants(in_a_loop, {" / h\n": "\n"}),
    "first-head-alone": variants(
        in_a_loop, {"maps[i].sum(dim=1) / h": "maps[i][:, 0]"}
    ),
}

# Right designs of attention_distance.


def require_square(count):
    """What all right designs begin with."""
    side = round(count**0.5)
    if side * side != count:
        raise ValueError(f"{count} patches are no square")
    return side


def with_cdist(maps, patch_size, prefix):
    weights = maps[..., prefix:, prefix:]
    side = require_square(weights.shape[-1])
    rows = torch.arange(side, device=maps.device, dtype=maps.dtype)
    y, x = torch.meshgrid(rows, rows, indexing="ij")
    places = torch.stack([y.flatten(), x.flatten()], dim=-1) * patch_size
    apart = torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return (weights * apart).sum(-1).mean(-1)


def with_divmod(maps, patch_size, prefix):
    side = require_square(maps.shape[-1] - prefix)
    apart = [
        [math.dist(divmod(i, side), divmod(j, side)) for j in range(side**2)]
        for i in range(side**2)
    ]
    apart = patch_size * torch.tensor(apart, dtype=maps.dtype, device=maps.device)
    weights = maps[..., prefix:, prefix:]
    return torch.einsum("...nm,nm->...n", weights, apart).div(weights.sum(-1)).mean(-1)


def by_rows_and_columns(maps, patch_size, prefix):
    side = require_square(maps.shape[-1] - prefix)
    n = torch.arange(side**2, device=maps.device)
    row, column = n // side, n % side
    squares = (row[:, None] - row) ** 2 + (column[:, None] - column) ** 2
    apart = patch_size * squares.to(maps.dtype).sqrt()
    weights = maps[..., prefix:, prefix:]
    total = (weights * apart).sum(dim=-1) / weights.sum(dim=-1)
    return total.sum(dim=-1) / side**2


def with_matrix_products(maps, patch_size, prefix):
    side = require_square(maps.shape[-1] - prefix)
    n = torch.arange(side**2, device=maps.device, dtype=maps.dtype)
    row = torch.div(n, side, rounding_mode="floor")
    column = n - side * row
    apart = torch.hypot(row[:, None] - row, column[:, None] - column)
    weights = maps[..., prefix:, prefix:]
    shares = weights / weights.sum(-1, keepdim=True)
    return patch_size * (shares @ apart.T).diagonal(dim1=-2, dim2=-1).mean(-1)


RIGHT_DISTANCE = [with_cdist, with_divmod, by_rows_and_columns, with_matrix_products]


def at_once(maps, patch_size, prefix):
    """One quotient for the whole map, not one for each row."""
    side = require_square(maps.shape[-1] - prefix)
    n = torch.arange(side**2, device=maps.device)
    squares = (n[:, None] // side - n // side) ** 2 + (
        n[:, None] % side - n % side
    ) ** 2
    apart = patch_size * squares.to(maps.dtype).sqrt()
    weights = maps[..., prefix:, prefix:]
    return (weights * apart).sum((-2, -1)) / weights.sum((-2, -1))


def no_square_refused(maps, patch_size, prefix):
    weights = maps[..., prefix:, prefix:]
    side = int(weights.shape[-1] ** 0.5)
    n = torch.arange(weights.shape[-1], device=maps.device)
    squares = (n[:, None] // side - n // side) ** 2 + (
        n[:, None] % side - n % side
    ) ** 2
    apart = patch_size * squares.to(maps.dtype).sqrt()
    return ((weights * apart).sum(-1) / weights.sum(-1)).mean(-1)


def calls_the_packages(maps, patch_size, prefix):
    return vit_encoder.attention_distance(maps, patch_size)


def as_in_the_chapter(maps, patch_size, prefix=1):
    """The chapter's code, to which the argument was added and not used."""
    return with_cdist(maps, patch_size, 1)


RENORMALISED = "weights = weights / weights.sum(dim=-1, keepdim=True)"
WRONG_DISTANCE = {
    "not-divided-by-what-is-left": variants(with_cdist, {RENORMALISED: "pass"}),
    "distance-in-patches": variants(with_cdist, {" * patch_size": ""}),
    "distance-squared": variants(
        with_cdist, {"weights * apart)": "weights * apart**2)"}
    ),
    "distance-by-blocks": variants(
        with_cdist,
        {'compute_mode="donot_use_mm_for_euclid_dist"': "p=1"},
    ),
    "larger-of-both": variants(
        with_cdist,
        {'compute_mode="donot_use_mm_for_euclid_dist"': 'p=float("inf")'},
    ),
    "queries-added": variants(with_cdist, {".sum(-1).mean(-1)": ".sum((-2, -1))"}),
    "any-count-taken": [no_square_refused],
    "one-token-in-front": [as_in_the_chapter],
}
NAMELESS_DISTANCE = [at_once, *variants(by_rows_and_columns, {".sqrt()": ""})]

# Right designs of delete.


def with_topk(patches, scores, count):
    out = patches.clone()
    for image, best in zip(out, scores.topk(count, dim=-1).indices, strict=True):
        image[best] = 0
    return out


def by_rank(patches, scores, count):
    rank = scores.argsort(dim=-1, descending=True).argsort(dim=-1)
    return torch.where((rank < count)[..., None], torch.zeros_like(patches), patches)


def by_threshold(patches, scores, count):
    if count == 0:
        return patches.clone()
    least = scores.sort(dim=-1, descending=True).values[:, count - 1]
    keep = scores < least[:, None]
    return patches * keep[..., None]


def with_ones(patches, scores, count):
    keep = torch.ones_like(scores)
    keep.scatter_(1, scores.argsort(-1, descending=True)[:, :count], 0)
    return patches * keep.unsqueeze(-1)


def by_comparison(patches, scores, count):
    larger = (scores[:, None, :] > scores[:, :, None]).sum(-1)
    return patches * (larger >= count)[..., None]


def by_indices(patches, scores, count):
    best = scores.argsort(-1, descending=True)[:, :count]
    out = patches.clone()
    out[torch.arange(len(out), device=out.device)[:, None], best] = 0
    return out


RIGHT_DELETE = [with_topk, by_rank, with_ones, by_indices]

# Tests.


def by_hand(rollout):
    first = [[0.4, 0.6], [0.1, 0.9]], [[0.2, 0.8], [0.5, 0.5]]
    second = [[0.3, 0.7], [1.0, 0.0]], [[0.9, 0.1], [0.6, 0.4]]
    maps = torch.tensor([first, second])[:, None]  # (L, B, h, 2, 2)
    a, b = ((sum(heads) / 2 + torch.eye(2)) / 2 for heads in maps[:, 0])
    assert torch.allclose(rollout(maps), b @ a)


def random_maps(rollout):
    maps = torch.randn(3, 2, 4, 5, 5).softmax(-1)
    result = torch.eye(5)
    for layer in maps.mean(2):
        result = (layer / 2 + torch.eye(5) / 2) @ result
    return torch.allclose(rollout(maps), result, atol=1e-5)


def rows_add_up(rollout):
    maps = torch.randn(3, 2, 4, 5, 5).softmax(-1)
    sums = rollout(maps).sum(-1)
    return torch.allclose(sums, torch.ones_like(sums))


def shape(rollout):
    return rollout(torch.rand(3, 2, 4, 5, 5).softmax(-1)).shape == (2, 5, 5)


def one_layer(rollout):
    maps = torch.randn(1, 2, 1, 5, 5).softmax(-1)
    return torch.allclose(rollout(maps), (maps[0, :, 0] + torch.eye(5)) / 2)


def one_head(rollout):
    maps = torch.randn(2, 1, 1, 5, 5).softmax(-1)
    a, b = (maps[:, 0, 0] + torch.eye(5)) / 2
    return torch.allclose(rollout(maps)[0], b @ a, atol=1e-6)


def the_same_bits(rollout):
    maps = torch.randn(3, 2, 4, 5, 5).softmax(-1)
    return torch.equal(rollout(maps), vit_encoder.rollout(maps))


def without(rollout):
    maps = torch.randn(2, 1, 3, 5, 5).softmax(-1)
    a, b = maps.mean(2)[:, 0]
    return torch.allclose(rollout(maps)[0], b @ a, atol=1e-6)


RIGHT = {
    "rollout": [*RIGHT_ROLLOUT, divided_by_its_rows],
    "attention_distance": RIGHT_DISTANCE,
    "find_the_bug": RIGHT_DELETE,
}
WRONG = {
    "rollout": WRONG_ROLLOUT,
    "attention_distance": WRONG_DISTANCE,
    "find_the_bug": {
        "smallest-first": variants(by_rank, {", descending=True": ""}),
        "kept-for-removed": variants(by_rank, {"rank < count": "rank >= count"}),
        "best-of-the-whole-batch": variants(
            by_rank,
            {
                "scores.argsort(dim=-1, descending=True).argsort(dim=-1)": "scores"
                ".view(-1).argsort(descending=True).argsort().view_as(scores) "
                "// len(scores)"
            },
        ),
        "one-too-many": variants(by_rank, {"rank < count": "rank <= count"}),
        "one-order-for-all": variants(
            by_indices, {"scores.argsort": "scores[:1].argsort"}
        ),
        "input-changed": variants(by_indices, {"patches.clone()": "patches"}),
        "equal-ones-too": [by_threshold, by_comparison],
        "same-as-the-bug": variants(by_rank, {".argsort(dim=-1)\n": "\n"}),
    },
}
NAMELESS = {"attention_distance": NAMELESS_DISTANCE}
GOOD_TESTS = {"wrong_rollouts": [by_hand, random_maps]}
WEAK_TESTS = {
    "wrong_rollouts": [
        (rows_add_up, 0, "test-accepts-wrong"),
        (shape, 0, "test-accepts-wrong"),
        (one_layer, 1, "test-accepts-wrong"),
        (one_head, 2, "test-accepts-wrong"),
        (the_same_bits, 0, "test-rejects-right"),
        (without, 0, "test-rejects-right"),
    ]
}
