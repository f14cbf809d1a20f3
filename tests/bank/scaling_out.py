"""Answers on scaling out: right designs, and wrong ones with the names they get.

What the package itself declares wrong (vit_encoder.check.scaling_out) is not repeated;
here stand other ways of writing the same, and other faults.
"""

import itertools
import math

import torch
from tests.bank.variants import variants

# Right designs of the sampler.


def require_rank(rank, ranks):
    """What all right designs begin with."""
    if rank not in range(ranks):
        raise ValueError(f"no rank {rank}")


def by_remainders(order, rank, ranks):
    require_rank(rank, ranks)
    each = math.ceil(len(order) / ranks)
    places = rank + ranks * torch.arange(each)
    return order[places % len(order)]


def as_torch_does(order, rank, ranks):
    require_rank(rank, ranks)
    indices = order.tolist()
    total = math.ceil(len(indices) / ranks) * ranks
    missing = total - len(indices)
    indices += (indices * math.ceil(missing / len(indices)))[:missing]
    return torch.tensor(indices[rank:total:ranks])


def by_cycle(order, rank, ranks):
    require_rank(rank, ranks)
    stop = math.ceil(len(order) / ranks) * ranks
    return torch.stack([*itertools.islice(itertools.cycle(order), rank, stop, ranks)])


def by_columns(order, rank, ranks):
    require_rank(rank, ranks)
    while len(order) % ranks or len(order) < ranks:
        length = len(order)
        wanted = -(-length // ranks) * ranks
        order = torch.cat([order, order[: wanted - length]])
    return order.view(-1, ranks)[:, rank]


def by_doubling(order, rank, ranks):
    require_rank(rank, ranks)
    total = -(-len(order) // ranks) * ranks
    padded = order
    while len(padded) < total:
        padded = torch.cat([padded, order])
    return padded[:total].view(-1, ranks).T[rank]


RIGHT_SAMPLER = [by_remainders, as_torch_does, by_cycle, by_doubling]
EACH = "math.ceil(len(order) / ranks)"
MORE = "(indices * math.ceil(missing / len(indices)))[:missing]"
WRONG_SAMPLER = {
    "rest-left-out": variants(by_remainders, {EACH: "len(order) // ranks"}),
    "always-one-more": variants(by_remainders, {EACH: "len(order) // ranks + 1"}),
    "one-block-for-each": variants(
        by_remainders, {"rank + ranks * torch": "rank * each + torch"}
    ),
    "rank-ignored": variants(by_remainders, {"rank + ranks *": "ranks *"}),
    "places-for-indices": variants(
        by_remainders, {"order[places % len(order)]": "places % len(order)"}
    ),
    "order-sorted": variants(
        as_torch_does, {"order.tolist()": "sorted(order.tolist())"}
    ),
    "padded-with-zeros": variants(
        as_torch_does,
        {MORE: "[0] * missing"},
    ),
    "padded-with-the-last": variants(
        as_torch_does,
        {MORE: "[indices[-1]] * missing"},
    ),
    "padded-at-most-once": variants(
        as_torch_does,
        {MORE: "indices[:missing]"},
    ),
    "not-padded": variants(
        as_torch_does,
        {f"    indices += {MORE}\n": ""},
    ),
    "padded-with-the-first": variants(as_torch_does, {MORE: "indices[:1] * missing"}),
    "each-index-repeated": variants(
        by_doubling,
        {"padded[:total]": "order.repeat_interleave(-(-total // len(order)))[:total]"},
    ),
    "not-deterministic": variants(
        by_remainders,
        {"order[places": "order[torch.randperm(len(order))][places"},
    ),
    "dtype-changed": variants(
        by_remainders, {"order[places % len(order)]": "order[places % len(order)] / 1"}
    ),
    "any-rank-taken": variants(by_remainders, {"    require_rank(rank, ranks)\n": ""}),
    "wrong-error": variants(
        by_remainders,
        {"require_rank(rank, ranks)": "assert rank in range(ranks)"},
    ),
    "returns-none": variants(by_remainders, {"    return order": "    order"}),
}
NAMELESS_SAMPLER = variants(
    by_remainders, {"rank + ranks *": "(rank + 2) % ranks + ranks *"}
)

# Right designs of a round.


def by_index(held, i):
    p = len(held)
    sender = torch.arange(p, device=held.device)
    piece, getter = (sender - i) % p, (sender + 1) % p
    after = held.clone()
    after[getter, piece] += held[sender, piece]
    return after


def all_rounds(held, i):
    for earlier in range(i + 1):
        held = by_index(held, earlier)
    return held


def seen_from_the_getter(held, i):
    p = len(held)
    rows = []
    for r in range(p):
        left = r - 1
        row = list(held[r])
        row[(left - i) % p] = row[(left - i) % p] + held[left, (left - i) % p]
        rows.append(torch.stack(row))
    return torch.stack(rows)


def by_a_mask(held, i):
    p = held.shape[0]
    mask = torch.eye(p, dtype=held.dtype, device=held.device).roll(-i, dims=1)
    return held + (mask.unsqueeze(-1) * held).roll(1, dims=0)


RIGHT_ROUND = [by_index, seen_from_the_getter, by_a_mask]
SENT = "after[getter, piece] += held[sender, piece]"
WRONG_ROUND = {
    "sent-to-the-left": variants(by_index, {"(sender + 1) % p": "(sender - 1) % p"}),
    "same-piece-in-every-round": variants(by_index, {"(sender - i) % p": "sender"}),
    "pieces-the-other-way": variants(
        by_index, {"(sender - i) % p": "(sender + i) % p"}
    ),
    "one-piece-further": variants(
        by_index, {"(sender - i) % p": "(sender - i + 1) % p"}
    ),
    "replaced-not-added": variants(by_index, {"piece] += held": "piece] = held"}),
    ("input-changed", "in-place-on-leaf"): variants(by_index, {"held.clone()": "held"}),
    "sender-adds": variants(
        by_index, {SENT: "after[sender, piece] += held[getter, piece]"}
    ),
    "everything-sent": variants(by_a_mask, {"mask.unsqueeze(-1) * held": "held"}),
    "device-fixed": variants(by_a_mask, {", device=held.device": ""}),
    "computed-in-float32": variants(
        by_a_mask,
        {
            "return held + (mask.unsqueeze(-1) * held).roll(1, dims=0)": "held, mask, "
            "dtype = held.float(), mask.float(), held.dtype\n    return (held + "
            "(mask.unsqueeze(-1) * held).roll(1, dims=0)).to(dtype)"
        },
    ),
    "returns-none": variants(by_a_mask, {"return held": "held"}),
}
WRONG_ROUND |= {
    "one-piece-back": variants(by_index, {"(sender - i) % p": "(sender - i - 1) % p"}),
    "put-beside-the-piece": variants(
        by_index, {"after[getter, piece] +=": "after[getter, (piece + 1) % p] +="}
    ),
    "nothing-sent": [  # it writes into a copy
        *variants(by_index, {SENT: "after[getter][:, piece] += held[sender][:, piece]"})
    ],
    "added-at-the-sender": variants(by_index, {"after[getter,": "after[sender,"}),
    "other-pieces-lost": variants(by_index, {"held.clone()": "torch.zeros_like(held)"}),
    "rounds-before-repeated": [all_rounds],
    "everything-added-up": [
        lambda held, i: held.sum(0, keepdim=True).repeat(len(held), 1, 1)
    ],
}
NAMELESS_ROUND = variants(by_index, {"(sender - i) % p": "(2 * sender - i) % p"})

# Right designs of the mean.


def by_sums(gradients, counts):
    total = torch.zeros_like(gradients[0])
    for gradient, count in zip(gradients, counts, strict=True):
        if count > 0:
            total = total + gradient * (count / counts.sum())
    return total


def without_nan(gradients, counts):
    shape = (-1,) + (1,) * (gradients.dim() - 1)
    n = counts.view(shape)
    kept = torch.where(n > 0, gradients, torch.zeros_like(gradients))
    return (n * kept).sum(0) / counts.sum()


def with_einsum(gradients, counts):
    kept = gradients.masked_fill(
        (counts == 0).view(-1, *[1] * (gradients.dim() - 1)), 0
    )
    return torch.einsum("r,r...->...", counts / counts.sum(), kept)


RIGHT_MEAN = [by_sums, without_nan, with_einsum]


def every_nan_dropped(gradients, counts):
    """A nan stands for 0, also that of a rank with images."""
    n = counts.view(-1, *[1] * (gradients.dim() - 1))
    return (n * gradients.nan_to_num()).sum(0) / counts.sum()


WRONG_MEAN = {
    "every-nan-dropped": [every_nan_dropped],
    "plain-mean": variants(
        by_sums, {"(count / counts.sum())": "1 / (counts > 0).sum()"}
    ),
    "plain-mean-of-all-ranks": [lambda gradients, counts: gradients.mean(0)],
    "ranks-added-up": [lambda gradients, counts: gradients[counts > 0].sum(0)],
    "count-left-out": variants(without_nan, {"n * kept": "kept"}),
    "divided-by-its-count": variants(
        by_sums, {"gradient * (count / counts.sum())": "gradient / count"}
    ),
    "averaged-once-more": variants(
        by_sums, {"return total": "return total / (counts > 0).sum()"}
    ),
    "divided-by-busy-ranks": variants(
        by_sums, {"count / counts.sum()": "count / (counts > 0).sum()"}
    ),
    "largest-rank-alone": [lambda gradients, counts: gradients[counts.argmax()]],
    "images-added-up": variants(without_nan, {" / counts.sum()": ""}),
    "divided-by-ranks": variants(without_nan, {"counts.sum()": "len(counts)"}),
    "empty-rank-counted": variants(without_nan, {"n > 0": "n >= 0"}),
    "divided-by-the-largest": variants(without_nan, {"counts.sum()": "counts.max()"}),
    "divided-by-all-ranks": variants(
        without_nan, {"(n * kept).sum(0) / counts.sum()": "kept.mean(0)"}
    ),
    "returns-none": variants(without_nan, {"return (n": "(n"}),
}


NAMELESS_MEAN = variants(without_nan, {"n * kept": "n**2 * kept"})

# Right designs of clipping.


def with_min(shards, max_norm):
    norm = torch.linalg.vector_norm(shards)
    return shards * torch.clamp(max_norm / (norm + 1e-30), max=1)


def with_if(shards, max_norm):
    norm = sum((shard**2).sum() for shard in shards) ** 0.5
    return shards / norm * max_norm if norm > max_norm else shards.clone()


def from_norms(shards, max_norm):
    norm = shards.norm(dim=1).norm()
    return torch.where(norm > max_norm, shards * max_norm / norm, shards)


RIGHT_CLIP = [with_min, with_if, from_norms]
WRONG_CLIP = {
    "same-as-the-bug": variants(
        from_norms, {"shards.norm(dim=1).norm()": "shards.norm(dim=1, keepdim=True)"}
    ),
    "norms-added": variants(
        from_norms, {"shards.norm(dim=1).norm()": "shards.norm(dim=1).sum()"}
    ),
    "norms-averaged": variants(
        from_norms, {"shards.norm(dim=1).norm()": "shards.norm(dim=1).mean()"}
    ),
    "largest-shard": variants(
        from_norms, {"shards.norm(dim=1).norm()": "max(shards.norm(dim=1))"}
    ),
    "square-for-norm": variants(with_if, {" ** 0.5": ""}),
    "limit-divided": [
        lambda shards, max_norm: torch.stack(
            [with_min(shard, max_norm / len(shards)) for shard in shards]
        )
    ],
    "limit-divided-by-the-root": [
        lambda shards, max_norm: torch.stack(
            [with_min(shard, max_norm / math.sqrt(len(shards))) for shard in shards]
        )
    ],
    "places-clipped-apart": variants(
        from_norms, {"shards.norm(dim=1).norm()": "shards.norm(dim=0)"}
    ),
    "shards-added-first": variants(from_norms, {"shards.norm(dim=1)": "shards.sum(0)"}),
    "first-shard": variants(from_norms, {"shards.norm(dim=1)": "shards[0]"}),
    "largest-number": variants(
        from_norms, {"shards.norm(dim=1).norm()": "shards.abs().max()"}
    ),
    "scaled-to-1": variants(with_if, {" * max_norm if": " if"}),
    "clipped-above-1": variants(with_if, {"norm > max_norm": "norm > 1"}),
    "square-compared": variants(with_if, {"norm > max_norm": "norm**2 > max_norm"}),
    "always-scaled": variants(with_if, {"norm > max_norm": "norm > 0"}),
    "each-number-clipped": variants(
        with_if,
        {
            "shards / norm * max_norm if norm > max_norm else shards.clone()": "shards"
            ".clip(-max_norm, max_norm)"
        },
    ),
    "never-clipped": [lambda shards, max_norm: shards.clone()],
    "input-changed": variants(
        with_min,
        {"return shards * torch": "return shards.mul_(torch"} | {"max=1)": "max=1))"},
    ),
}


def as_if_the_limit_were_1(shards, max_norm):
    return shards * max_norm / shards.norm().clamp_min(1)


def factor_of_the_norm(shards, max_norm):
    return shards * (max_norm / shards.norm()).clamp(max=max_norm)


NAMELESS_CLIP = [
    *variants(with_if, {"* max_norm if": "* max_norm / 2 if"}),
    as_if_the_limit_were_1,
    factor_of_the_norm,
]

# Tests.


def by_hand(sampler):
    order = torch.tensor([50, 10, 40, 20, 30])
    assert sampler(order, 0, 2).tolist() == [50, 40, 30]
    assert sampler(order, 1, 2).tolist() == [10, 20, 50]


def equal_and_complete(sampler):
    order = 5 + torch.randperm(11)
    shares = [sampler(order, rank, 4) for rank in range(4)]
    alike = len({len(share) for share in shares}) == 1
    return alike and {*torch.cat(shares).tolist()} == {*order.tolist()}


def refuses_too(sampler):
    """It asks for all that task 2 asks for."""
    try:
        sampler(torch.arange(5), 2, 2)
    except ValueError:
        return equal_and_complete(sampler)
    return False


def lengths_alone(sampler):
    return all(len(sampler(torch.arange(7), rank, 3)) == 3 for rank in range(3))


def complete_alone(sampler):
    order = 5 + torch.randperm(7)
    got = {i for rank in range(3) for i in sampler(order, rank, 3).tolist()}
    return got == {*order.tolist()}


def evenly(sampler):
    shares = [sampler(torch.arange(8), rank, 4).tolist() for rank in range(4)]
    return sorted(i for share in shares for i in share) == [*range(8)]


def no_repeats(sampler):
    shares = [sampler(torch.arange(7), rank, 3).tolist() for rank in range(3)]
    return sorted(i for share in shares for i in share) == [*range(7)]


# What tests/test_exercises.py runs: task → answers.

RIGHT = {
    "rank_indices": [*RIGHT_SAMPLER, by_columns],
    "ring_round": RIGHT_ROUND,
    "mean_gradient": RIGHT_MEAN,
    "find_the_bug": RIGHT_CLIP,
}
WRONG = {
    "rank_indices": WRONG_SAMPLER,
    "ring_round": WRONG_ROUND,
    "mean_gradient": WRONG_MEAN,
    "find_the_bug": WRONG_CLIP,
}
NAMELESS = {
    "rank_indices": NAMELESS_SAMPLER,
    "ring_round": NAMELESS_ROUND,
    "mean_gradient": NAMELESS_MEAN,
    "find_the_bug": NAMELESS_CLIP,
}
GOOD_TESTS = {"wrong_samplers": [by_hand, equal_and_complete, refuses_too]}
WEAK_TESTS = {
    "wrong_samplers": [
        (lengths_alone, 1, "test-accepts-wrong"),
        (complete_alone, 2, "test-accepts-wrong"),
        (evenly, 0, "test-accepts-wrong"),
        (no_repeats, 0, "test-rejects-right"),
    ]
}
