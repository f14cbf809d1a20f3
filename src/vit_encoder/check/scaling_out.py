"""Scaling out: what people get wrong, what must hold, and the tasks."""

from collections.abc import Callable

import torch
from torch import Tensor

from vit_encoder.check.hearing.data import Form, Question
from vit_encoder.check.judging.misconceptions import GITHUB, edit, edits, named
from vit_encoder.check.judging.oracle import oracle_of_function
from vit_encoder.check.judging.pictures import Show
from vit_encoder.check.judging.properties import (
    EDGES,
    GRADIENTS,
    PASSES_NAN_ON,
    REPEATS,
    agrees,
    each,
    refuses,
    repeats,
    returns_right_shapes,
)
from vit_encoder.check.judging.questions import (
    Normal,
    double,
    edges,
    finish,
    small,
    with_nan,
)
from vit_encoder.check.judging.trials import Fails, Trial
from vit_encoder.check.tasks import BreakIt, Implement

# Which images a rank reads, and what people get wrong about it.


def rank_indices(order: Tensor, rank: int, ranks: int) -> Tensor:
    """The indices of one rank, in turn from the order, which begins again if needed."""
    if not 0 <= rank < ranks:
        raise ValueError(f"expected a rank from 0 to {ranks - 1}, got {rank}")
    each = -(-len(order) // ranks)
    times = -(-each * ranks // len(order))
    padded = order.repeat(times)[: each * ranks]
    return padded[rank::ranks]


EACH, SHARE = "-(-len(order) // ranks)", "padded[rank::ranks]"
PADDED = "order.repeat(times)[: each * ranks]"
ALIKE = "How many indices should each rank get, and what if they do not suffice?"
SAMPLER = edits(
    rank_indices,
    edit(
        "rest-left-out",
        {
            EACH: "len(order) // ranks",
            "times = -(-each * ranks // len(order))": "times = 1",
        },
        "What does not divide among the ranks is left out: nobody reads these images.",
        ALIKE,
    ),
    edit(
        "not-padded",
        {PADDED: "order"},
        "Nothing is repeated, so that some ranks get fewer indices than others.",
        "A rank has one batch more than the others: what does it wait for?",
        GITHUB + "pytorch/pytorch/issues/33148",
    ),
    edit(
        "padded-at-most-once",
        {PADDED: "torch.cat([order, order[: each * ranks - len(order)]])"},
        "The order begins again once at most: with more than twice as many ranks as "
        "images some ranks get nothing.",
        "Three ranks and one image: how often must it be read?",
        GITHUB + "pytorch/pytorch/issues/45324",
    ),
    edit(
        "padded-with-zeros",
        {PADDED: "torch.cat([order, order.new_zeros(each * ranks - len(order))])"},
        "Where the images do not suffice, the index 0 is given.",
        "Where should the order go on when it is at its end?",
    ),
    edit(
        "padded-with-the-last",
        {PADDED: "torch.cat([order, order[-1:].repeat(each * ranks - len(order))])"},
        "Where the images do not suffice, the last one is repeated.",
        "Where should the order go on when it is at its end?",
    ),
    edit(
        "padded-with-the-first",
        {PADDED: "torch.cat([order, order[:1].repeat(each * ranks - len(order))])"},
        "Where the images do not suffice, the first one is repeated.",
        "Where should the order go on when it is at its end, and who gets its second "
        "index then?",
    ),
    edit(
        "each-index-repeated",
        {PADDED: "order.repeat_interleave(times)[: each * ranks]"},
        "Each index is repeated before the next one comes.",
        "Where should the order go on when it is at its end?",
    ),
    edit(
        "padded-with-its-own",
        {
            PADDED: "order",
            SHARE: "torch.cat([padded[rank::ranks], padded[rank::ranks]]"
            " + [padded] * times)[:each]",
        },
        "A rank whose share is too short repeats its own first image.",
        "Where should the order go on when it is at its end?",
    ),
    edit(
        "one-block-for-each",
        {SHARE: "padded[rank * each : (rank + 1) * each]"},
        "Each rank gets one block of the order.",
        "Who takes the second index of the order?",
    ),
    edit(
        "rank-ignored",
        {SHARE: "padded[::ranks]"},
        "All ranks get the images of rank 0.",
        "What should differ from rank to rank?",
    ),
    edit(
        "rank-counted-from-one",
        {SHARE: "padded.roll(1)[rank::ranks]"},
        "Every rank gets the share of its left neighbour.",
        "Which rank takes the first index?",
    ),
    edit(
        "ranks-backwards",
        {SHARE: "padded[ranks - 1 - rank :: ranks]"},
        "The last rank takes first.",
        "Which rank takes the first index?",
    ),
    edit(
        "always-one-more",
        {EACH: "len(order) // ranks + 1"},
        "Each rank gets one index more also where the images divide evenly.",
        "How many does each of four ranks get of eight images?",
    ),
    edit(
        "places-for-indices",
        {PADDED: "torch.arange(each * ranks).to(order) % len(order)"},
        "It returns places in the order, not the indices that stand there.",
        "What has the shuffling done to the indices?",
    ),
    edit(
        "order-sorted",
        {PADDED: "order.sort().values.repeat(times)[: each * ranks]"},
        "The indices are sorted first, so the shuffling is undone.",
        "In which order should the images be read?",
    ),
    edit(
        "any-rank-taken",
        {"if not 0 <= rank < ranks:": "if ranks < 1:"},
        "It takes a rank that does not exist.",
        "From which number to which are four ranks counted?",
    ),
)

# A round of the ring, and what people get wrong about it.


def ring_round(held: Tensor, i: int) -> Tensor:
    """What the ranks hold after round i, in which pieces are added up: (p, p, n)."""
    p = len(held)
    after = held.clone()
    for r in range(p):
        k, right = (r - i) % p, (r + 1) % p
        after[right, k] = held[right, k] + held[r, k]
    return after


ADDED, PIECE = "held[right, k] + held[r, k]", "(r - i) % p"
WHO = "Rank 0 of three, round 0: which piece does it send, and to whom?"
RING = edits(
    ring_round,
    edit(
        "sent-to-the-left",
        {"(r + 1) % p": "(r - 1) % p"},
        "The pieces go to the left neighbour.",
        WHO,
    ),
    edit(
        "same-piece-in-every-round",
        {PIECE: "r"},
        "Each rank sends the same piece in every round.",
        "Which piece has a rank that it got in the round before?",
    ),
    edit(
        "pieces-the-other-way",
        {PIECE: "(r + i) % p"},
        "From round to round the number of the piece rises.",
        "Which piece has a rank that it got in the round before?",
    ),
    edit(
        "one-piece-further",
        {PIECE: "(r + 1 - i) % p"},
        "Each rank sends the piece after the one that it should.",
        WHO,
    ),
    edit(
        "one-piece-back",
        {PIECE: "(r - 1 - i) % p"},
        "Each rank sends the piece before the one that it should.",
        WHO,
    ),
    edit(
        "put-beside-the-piece",
        {
            f"after[right, k] = {ADDED}": "after[right, (k + 1) % p] = held[right, "
            "(k + 1) % p] + held[r, k]"
        },
        "The piece that comes is added to the next one.",
        "Which number has the piece that a rank adds to its own?",
    ),
    edit(
        "nothing-sent",
        {ADDED: "held[right, k]"},
        "The ranks hold what they held before.",
        "Which tensor do your lines write into, and is it the one that you return?",
    ),
    edit(
        "added-at-the-sender",
        {f"after[right, k] = {ADDED}": "after[r, k] = held[r, k] + held[r, k]"},
        "Each rank adds the piece that it sends to its own, and nobody gets it.",
        "Whose piece changes: that of the rank that sends, or of the one that gets?",
    ),
    edit(
        "other-pieces-lost",
        {"held.clone()": "torch.zeros_like(held)", ADDED: "held[r, k]"},
        "Only what came is there: what the ranks held before is gone.",
        "Which pieces does a rank keep as they are, and what is added to the other?",
    ),
    edit(
        "rounds-before-repeated",
        {
            "in range(p)": "in range(p * (i + 1))",
            PIECE: "(r - r // p) % p",
            ADDED: "after[right, k] + after[r % p, k]",
        },
        "All rounds up to this one are run, though the ranks hold already what the "
        "earlier ones gave.",
        "What do the ranks hold when round i begins?",
    ),
    edit(
        "everything-added-up",
        {
            "after = held.clone()": "after = held.sum(0).expand_as(held).clone()",
            ADDED: "after[right, k]",
        },
        "Every rank has the complete sum of every piece.",
        "How many pieces does a rank get in one round?",
    ),
    edit(
        "replaced-not-added",
        {ADDED: "held[r, k]"},
        "The piece that comes takes the place of the rank's own.",
        "What should the sum hold when a piece has been at every rank?",
    ),
    edit(
        "averaged",
        {ADDED: "(held[right, k] + held[r, k]) / 2"},
        "What comes and what is there are averaged in every round.",
        "Which weight has the first rank's number after three such rounds?",
    ),
    edit(
        "ring-not-closed",
        {"in range(p)": "in range(p - 1)"},
        "The last rank sends nothing.",
        "Who is the right neighbour of the last rank?",
    ),
    edit(
        "everything-sent",
        {
            "after = held.clone()": "after = held + held.roll(1, 0)",
            ADDED: "after[right, k]",
        },
        "Each rank sends all its pieces.",
        "How many pieces does a rank send in one round?",
    ),
    edit(
        "given-away",
        {
            f"after[right, k] = {ADDED}": f"after[right, k] = {ADDED}\n"
            "    for r in range(p):\n        after[r, (r - i) % p] = 0"
        },
        "Who sends a piece no longer has it.",
        "What does a rank keep when it has sent a copy?",
    ),
    edit(
        "sender-adds",
        {f"after[right, k] = {ADDED}": f"after[r, k] = {ADDED}"},
        "The sum stands at the rank that sends.",
        "Who has both pieces: who sends, or who gets?",
    ),
)

# The mean over ranks with unequal shares.


def mean_gradient(gradients: Tensor, counts: Tensor) -> Tensor:
    """The gradient of the mean loss over all images: (p, ...), (p,) → (...)."""
    there = counts > 0
    weights = counts[there] / counts.sum()
    return torch.tensordot(weights, gradients[there], dims=1)


WEIGHTS, THERE = "counts[there] / counts.sum()", "there = counts > 0"
IMAGE = "How much should one image count, whichever rank has read it?"
SHARES = edits(
    mean_gradient,
    edit(
        "plain-mean",
        {WEIGHTS: "torch.ones_like(counts[there]) / there.sum()"},
        "The ranks count alike, however many images they have read.",
        IMAGE,
        GITHUB + "huggingface/transformers/issues/34242",
    ),
    edit(
        "divided-by-all-ranks",
        {WEIGHTS: "torch.ones_like(counts[there]) / len(counts)"},
        "The ranks count alike, and those without images as if they had added 0.",
        IMAGE,
    ),
    edit(
        "plain-mean-of-all-ranks",
        {WEIGHTS: "counts[there] * 0 + 1 / len(counts)", THERE: "there = counts >= 0"},
        "The ranks count alike, however many images they have read, also those that "
        "have read none.",
        IMAGE,
    ),
    edit(
        "ranks-added-up",
        {WEIGHTS: "torch.ones_like(counts[there])"},
        "The gradients of the ranks are added up, and those of one image and of a "
        "thousand count alike.",
        IMAGE,
    ),
    edit(
        "count-left-out",
        {WEIGHTS: "torch.ones_like(counts[there]) / counts.sum()"},
        "The gradients are added up and divided by the number of images, as if each "
        "were that of one image.",
        "For how many images does the gradient of one rank stand?",
    ),
    edit(
        "divided-by-its-count",
        {WEIGHTS: "1 / counts[there]"},
        "Each gradient is divided by the images of its rank, though it is a mean "
        "already.",
        "What is the sum of the gradients of a rank's images, if this is their mean?",
    ),
    edit(
        "averaged-once-more",
        {WEIGHTS: "counts[there] / counts.sum() / there.sum()"},
        "The weights are right, and then a mean over the ranks is taken.",
        "What do the weights of all ranks add up to?",
    ),
    edit(
        "largest-rank-alone",
        {
            "    weights =": "    first = counts.argmax()\n    weights =",
            WEIGHTS: "torch.eye(len(counts)).to(counts)[first][there]",
        },
        "Only the rank with the most images counts.",
        IMAGE,
    ),
    edit(
        "images-added-up",
        {WEIGHTS: "counts[there]"},
        "The gradients of all images are added up, not averaged.",
        "What do the weights of all ranks add up to?",
    ),
    edit(
        "divided-by-ranks",
        {WEIGHTS: "counts[there] / len(counts)"},
        "The sum is divided by the number of ranks.",
        "What do the weights of all ranks add up to?",
    ),
    edit(
        "divided-by-busy-ranks",
        {WEIGHTS: "counts[there] / there.sum()"},
        "The sum is divided by the number of ranks that have read images.",
        "What do the weights of all ranks add up to?",
    ),
    edit(
        "empty-rank-counted",
        {THERE: "there = counts >= 0"},
        "The nan of a rank without images gets into the result.",
        "What is 0 times nan?",
    ),
    edit(
        "every-nan-dropped",
        {"gradients[there]": "gradients[there].nan_to_num(0.0)"},
        "A nan of a rank that has read images is taken for 0, and the training goes on "
        "as if nothing had happened.",
        "Which ranks may be left out, and how do you know them?",
    ),
    edit(
        "divided-by-the-largest",
        {WEIGHTS: "counts[there] / counts.max()"},
        "The weights are divided by the largest count.",
        "What do the weights of all ranks add up to?",
    ),
    edit(
        "softmax-of-counts",
        {WEIGHTS: "counts[there].softmax(0)"},
        "The weights are a softmax of the counts: a rank with a few images more gets "
        "nearly everything.",
        IMAGE,
    ),
    edit(
        "weights-turned-round",
        {WEIGHTS: "(1 / counts[there]) / (1 / counts[there]).sum()"},
        "Ranks with fewer images count more.",
        IMAGE,
    ),
)

# Clipping a gradient that lies in shards.


def clip(shards: Tensor, max_norm: float) -> Tensor:
    """Scale the whole gradient (p, n) so that its norm is `max_norm` at most."""
    norm = shards.square().sum().sqrt()
    return shards * (max_norm / norm.clamp_min(max_norm))


NORM, FACTOR = "shards.square().sum().sqrt()", "(max_norm / norm.clamp_min(max_norm))"
WHOLE = "Shards with the norms 3 and 4: what is the norm of both together?"
CLIP = edits(
    clip,
    edit(
        "own-shard-alone",
        {NORM: "shards.square().sum(dim=1, keepdim=True).sqrt()"},
        "Each shard is clipped by its own norm.",
        "By how many different factors may the parts of one gradient be scaled?",
        GITHUB + "pytorch/pytorch/issues/72548",
    ),
    edit(
        "norms-added",
        {NORM: "shards.square().sum(dim=1).sqrt().sum()"},
        "The norms of the shards are added up: the result is too short.",
        WHOLE,
    ),
    edit(
        "norms-averaged",
        {NORM: "shards.square().sum(dim=1).sqrt().mean()"},
        "The mean of the shards' norms is taken for the norm of the whole.",
        WHOLE,
    ),
    edit(
        "largest-shard",
        {NORM: "shards.square().sum(dim=1).sqrt().amax()"},
        "The largest norm of a shard is taken for the norm of the whole.",
        WHOLE,
    ),
    edit(
        "squares-averaged",
        {NORM: "shards.square().sum(dim=1).mean().sqrt()"},
        "The squares are averaged over the ranks: the norm comes out too small.",
        WHOLE,
    ),
    edit(
        "square-for-norm",
        {NORM: "shards.square().sum()"},
        "The square of the norm is taken for the norm.",
        "What is the norm of (3, 4)?",
    ),
    edit(
        "absolute-values-added",
        {NORM: "shards.abs().sum()"},
        "The absolute values are added up. That is another norm.",
        "What is the norm of (3, 4)?",
    ),
    edit(
        "limit-divided",
        {
            NORM: "shards.square().sum(dim=1, keepdim=True).sqrt()",
            FACTOR: "(max_norm / norm.mul(len(shards)).clamp_min(max_norm))",
        },
        "Each shard is clipped by its own norm, and the limit is shared out evenly.",
        "Must all shards be equally long?",
    ),
    edit(
        "limit-divided-by-the-root",
        {
            NORM: "shards.square().sum(dim=1, keepdim=True).sqrt()",
            FACTOR: "(max_norm / norm.mul(len(shards) ** 0.5).clamp_min(max_norm))",
        },
        "Each shard is clipped by its own norm, and the limit is shared out evenly.",
        "Must all shards be equally long?",
    ),
    edit(
        "places-clipped-apart",
        {NORM: "shards.square().sum(dim=0).sqrt()"},
        "Each place in the shards is clipped by a norm of its own.",
        "By how many different factors may the parts of one gradient be scaled?",
    ),
    edit(
        "shards-added-first",
        {NORM: "shards.sum(dim=0).square().sum().sqrt()"},
        "The shards are added up before the norm is taken, as if each were a gradient "
        "of the whole.",
        "What is the whole gradient, if one rank holds 3 and the other 4?",
    ),
    edit(
        "first-shard",
        {NORM: "shards[0].square().sum().sqrt()"},
        "The norm of rank 0 is taken for the norm of the whole.",
        WHOLE,
    ),
    edit(
        "largest-number",
        {NORM: "shards.abs().max()"},
        "The largest number is taken for the norm.",
        "What is the norm of (3, 4)?",
    ),
    edit(
        "scaled-to-1",
        {FACTOR: "torch.where(norm > max_norm, 1 / norm, 1.0)"},
        "A long gradient gets the norm 1, whatever `max_norm` is.",
        "What should the norm be afterwards?",
    ),
    edit(
        "clipped-above-1",
        {FACTOR: "torch.where(norm > 1, max_norm / norm, 1.0)"},
        "It scales what is longer than 1, whatever `max_norm` is.",
        "Which gradients should be clipped?",
    ),
    edit(
        "square-compared",
        {FACTOR: "torch.where(norm.square() > max_norm, max_norm / norm, 1.0)"},
        "The square of the norm is compared with `max_norm`.",
        "A gradient has the norm 2, and `max_norm` is 3. Should it be clipped?",
    ),
    edit(
        "always-scaled",
        {FACTOR: "(max_norm / norm)"},
        "A gradient that is short enough is made longer.",
        "What should happen to a gradient whose norm is below `max_norm`?",
    ),
    edit(
        "each-number-clipped",
        {f"shards * {FACTOR}": "shards.clamp(-max_norm, max_norm)"},
        "Each number is cut off on its own, so the gradient points elsewhere.",
        "In which direction should the clipped gradient point?",
    ),
    edit(
        "never-clipped",
        {f"shards * {FACTOR}": "shards + 0 * norm"},
        "Nothing is clipped.",
        "What should the norm be afterwards?",
    ),
)
MISCONCEPTIONS = {
    "rank_indices": SAMPLER,
    "ring_round": RING,
    "mean_gradient": SHARES,
    "clip": CLIP,
}

# The oracles.


def taken_in_turn(order: list, rank: int, ranks: int) -> list:
    """The indices of one rank, dealt one by one."""
    share, dealt = [], 0
    while dealt < len(order) or dealt % ranks:
        if dealt % ranks == rank:
            share.append(order[dealt % len(order)])
        dealt += 1
    return share


@oracle_of_function
def dealt_out(order: Tensor, rank: int, ranks: int) -> Tensor:
    """The indices, as float64."""
    return small(taken_in_turn(order.tolist(), rank, ranks))[0]


def passed_on(held: Tensor, i: int) -> Tensor:
    """The round, by a mask of what arrives where."""
    p = len(held)
    rank = torch.arange(p, device=held.device)
    sent = (rank[:, None] - i) % p == rank  # (p, p): rank r sends piece k
    arrives = torch.where(sent[..., None], held, torch.zeros_like(held))
    return held + arrives.roll(1, 0)


def over_images(gradients: Tensor, counts: Tensor) -> Tensor:
    """The mean over a list in which each image has its rank's gradient."""
    rows = [g for g, n in zip(gradients, counts.tolist(), strict=True) if n]
    times = [int(n) for n in counts.tolist() if n]
    every = [g for g, n in zip(rows, times, strict=True) for _ in range(n)]
    return torch.stack(every).mean(0)


def shares_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """The mean gradient, in float64."""
    leaves = {"input 0": double(question.inputs[0])}
    return finish(
        question, leaves, (over_images(*leaves.values(), question.inputs[1]),)
    )


@oracle_of_function
def clipped_whole(shards: Tensor, max_norm: float) -> Tensor:
    """The shards of the clipped whole."""
    flat = shards.flatten()
    norm = torch.linalg.vector_norm(flat)
    flat = flat * max_norm / norm if norm > max_norm else flat
    return flat.view_as(shards)


# The questions.


def sampler_questions(seed: int) -> list[Question]:
    """Counts that the ranks divide, and counts that they do not; few images, too."""
    generator = Normal(seed).generator
    order = 100 + torch.randperm(21, generator=generator).double()  # 3 are missing
    five = small([50, 10, 40, 20, 30])[0]
    asked = [
        Question("five images, two ranks, rank 0", (five, 0, 2)),
        Question("five images, two ranks, rank 1", (five, 1, 2)),
        Question("six images, three ranks", (small([7, 9, 3, 8, 4, 6])[0], 2, 3)),
        Question("one image, three ranks", (small([5])[0], 2, 3)),
        Question("two images, seven ranks", (small([8, 6])[0], 5, 7)),
        Question("one rank", (five, 0, 1)),
    ]
    asked += [
        Question(f"many images, rank {rank}", (order, rank, 4)) for rank in range(4)
    ]
    return [
        *asked,
        Question("many images, rank 0 again", (order, 0, 4)),
        Question("rank 2 of two", (five, 2, 2), refused=True),
        Question("rank -1", (five, -1, 2), refused=True),
    ]


def ring_questions(seed: int) -> list[Question]:
    """Three ranks with plain numbers for messages; n differs from p."""
    normal = Normal(seed)
    plain = torch.tensor(
        [[1, 2, 3], [10, 20, 30], [100, 200, 300]], dtype=torch.float64, device="cpu"
    )[..., None]
    held = normal(5, 5, 3)
    return [
        Question("three ranks, round 0", (plain, 0)),
        Question("three ranks, round 1", (plain, 1)),
        Question("two ranks", (normal(2, 2, 4), 0)),
        Question("five ranks, round 0", (held, 0)),
        Question("five ranks, round 1", (held, 1)),
        Question("five ranks, round 3", (held, 3)),
        Question("a nan", (with_nan(held), 1), secondary=True),
        *edges((held, 2), normal(5, 5, 3)),
    ]


def shares_questions(seed: int) -> list[Question]:
    """Counts that differ, and a rank that has read nothing."""
    normal = Normal(seed)
    gradients, counts = normal(4, 3), small([5, 2, 7, 1])[0]
    empty = gradients.clone()
    empty[1] = torch.nan
    return [
        Question("three images and one", (small([2, 6], [10, 2]), small([3, 1])[0])),
        Question("equal shares", (small([2, 6], [10, 2]), small([2, 2])[0])),
        Question("four ranks", (gradients, counts)),
        Question("matrices", (normal(3, 4, 2), small([1, 6, 2])[0])),
        Question("numbers", (normal(3), small([4, 1, 2])[0])),
        Question("a nan", (with_nan(gradients), counts), secondary=True),
        Question("a rank without images", (empty, small([5, 0, 7, 1])[0])),
        *edges((gradients, counts), normal(3)),
    ]


def clip_questions(seed: int) -> list[Question]:
    """Long gradients and short ones; shards of different length."""
    normal = Normal(seed)
    shards = normal(4, 3) * small([1, 5, 2, 0.1]).T
    return [
        Question("three and four", (small([3], [4]), 1.0)),
        Question("two ranks", (small([2, 1], [0, 4]), 1.5)),
        Question("short enough", (small([0.3, 0.1], [0.2, 0.4]), 1.0)),
        Question("below a larger limit", (small([1.2, 0.4], [0.8, 1.6]), 3.0)),
        Question("above 1, below the limit", (small([0.9, 0], [0, 1.2]), 3.0)),
        Question("below 1, above the limit", (small([0.48], [0.64]), 0.7)),
        Question("one shard short", (small([0.3, 0.1], [6, 8]), 2.0)),
        Question("four ranks", (shards, 0.7)),
        Question("four ranks, a larger limit", (shards, 3.0)),
        Question("one rank", (normal(1, 6), 0.5)),
        Question("nothing but 0", (torch.zeros_like(shards), 1.0), secondary=True),
        *edges((shards, 0.7)),
    ]


def call_with_order(answer: Callable, inputs: list, _parameters: dict) -> object:
    """A plain call, with the order in whole numbers."""
    order, *rest = inputs
    return answer(order.detach().long(), *rest)


# The properties that are these functions' own.

FIVE = ("five images, two ranks, rank 0", "five images, two ranks, rank 1")
MANY = tuple(f"many images, rank {rank}" for rank in range(4))


@each("an index is a whole number", FIVE, "Which step made fractions of the indices?")
def gives_whole_numbers(trial: Trial) -> None:
    """The indices can be used as such."""
    if (found := trial.output.dtype).is_floating_point and len(trial.output):
        text = f"The indices have the dtype {found}. An index is a whole number."
        raise Fails(text, "dtype-changed")


SAMPLER_PROPERTIES = (
    repeats("many images, rank 0"),
    returns_right_shapes(
        "all ranks get equally many",
        *(*FIVE, "six images, three ranks", *MANY),
        ask=ALIKE,
    ),
    agrees(
        "the ranks take in turn",
        *("six images, three ranks", "one rank"),
        ask="Who takes the second index of the order, and who the one after the last?",
        core=True,
    ),
    agrees(
        "where the images do not suffice, the order begins again",
        *(*FIVE, *MANY),
        ask="Where should the order go on when it is at its end?",
        core=True,
    ),
    agrees(
        "there may be more ranks than images",
        *("one image, three ranks", "two images, seven ranks"),
        ask="How often must one image be read if there are three ranks and nothing "
        "else?",
    ),
    gives_whole_numbers,
    refuses(
        "a rank that does not exist is refused",
        "any-rank-taken",
        *("rank 2 of two", "rank -1"),
        ask="From which number to which are four ranks counted?",
    ),
)
RING_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "what all ranks hold comes back",
        *("three ranks, round 0", "five ranks, round 0"),
        ask="How many ranks hold how many pieces afterwards?",
    ),
    agrees(
        "in round 0 rank r sends piece r to the right",
        *("three ranks, round 0", "two ranks", "five ranks, round 0"),
        ask=WHO,
        core=True,
    ),
    agrees(
        "in later rounds it sends what it got before",
        *("three ranks, round 1", "five ranks, round 1", "five ranks, round 3"),
        ask="Which piece has a rank that it got in the round before?",
        core=True,
    ),
    PASSES_NAN_ON,
    *EDGES,
)


@each(
    "a rank without images does not matter",
    ("a rank without images",),
    "Which ranks count if one of them has read nothing?",
)
def empty_does_not_matter(trial: Trial) -> None:
    """Its nan stays out."""
    if trial.problem() is None and trial.output.isnan().any():
        (wrong,) = named(SHARES, "empty-rank-counted")
        raise Fails.like(wrong)
    trial.require_right()


SHARES_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "one gradient comes back",
        *("three images and one", "four ranks", "matrices"),
        ask="Which axis counts the ranks, and what becomes of it?",
    ),
    agrees(
        "equal shares give the plain mean",
        "equal shares",
        ask="What do the weights of all ranks add up to?",
        core=True,
    ),
    agrees(
        "each image counts alike",
        *("three images and one", "four ranks"),
        ask=IMAGE,
        core=True,
    ),
    agrees(
        "a gradient may have any number of axes",
        *("matrices", "numbers"),
        ask="To which axis belongs a weight?",
    ),
    empty_does_not_matter,
    PASSES_NAN_ON,
    *EDGES,
)
CLIP_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "shards of the same shape come back",
        *("three and four", "four ranks"),
        ask="What does clipping do to the number of numbers?",
    ),
    agrees(
        "a long gradient gets the norm that is asked for, and keeps its direction",
        *("three and four", "two ranks", "one shard short", "four ranks", "one rank"),
        *("four ranks, a larger limit", "below 1, above the limit"),
        ask="By which factor is the whole scaled, and is it the same for all ranks?",
        core=True,
    ),
    agrees(
        "a short gradient stays as it is",
        *("short enough", "below a larger limit"),
        *("above 1, below the limit", "nothing but 0"),
        ask="What should happen to a gradient whose norm is below `max_norm`?",
        core=True,
    ),
    *(edge for edge in EDGES if edge is not GRADIENTS),
)

# The tasks.

WRITE_SAMPLER = Implement(
    form=Form(
        outputs=("indices",),
        reference=(rank_indices, taken_in_turn),
        call=call_with_order,
    ),
    ask_about=sampler_questions,
    oracle=dealt_out,
    properties=SAMPLER_PROPERTIES,
    misconceptions=SAMPLER,
    show=Show(
        questions=(*FIVE, "six images, three ranks", "two images, seven ranks"),
        axes={"indices": ("place", "index")},
    ),
)
WRITE_ROUND = Implement(
    form=Form(outputs=("pieces",), reference=(ring_round, passed_on)),
    ask_about=ring_questions,
    oracle=oracle_of_function(passed_on),
    properties=RING_PROPERTIES,
    misconceptions=RING,
    show=Show(
        questions=("three ranks, round 0", "three ranks, round 1"),
        axes={"pieces": ("piece", "number")},
    ),
)
WRITE_MEAN = Implement(
    form=Form(outputs=("gradient",), reference=(mean_gradient, over_images)),
    ask_about=shares_questions,
    oracle=shares_oracle,
    properties=SHARES_PROPERTIES,
    misconceptions=SHARES,
    show=Show(
        questions=("three images and one", "equal shares"),
        axes={"gradient": ("place", "number")},
    ),
)
REPAIR_CLIP = Implement(
    form=Form(outputs=("shards",), reference=(clip,)),
    ask_about=clip_questions,
    oracle=clipped_whole,
    properties=CLIP_PROPERTIES,
    misconceptions=CLIP,
    show=Show(
        questions=("three and four", "two ranks", "short enough"),
        axes={"shards": ("rank", "number")},
    ),
    bug=named(CLIP, "own-shard-alone")[0],
)


def dealt(order: Tensor, rank: int, ranks: int) -> Tensor:
    """A right sampler of another design."""
    if rank not in range(ranks):
        raise ValueError(f"there are {ranks} ranks, and none is {rank}")
    return torch.tensor(taken_in_turn(order.tolist(), rank, ranks))


TEST_SAMPLERS = BreakIt(
    right={"the course's own": rank_indices, "one that deals one by one": dealt},
    wrong=named(
        SAMPLER, "rest-left-out", "not-padded", "rank-ignored", "padded-with-zeros"
    ),
    ask="Which number of images do your ranks not divide, and do you ask all of them?",
)

TASKS = {
    "rank_indices": WRITE_SAMPLER,
    "ring_round": WRITE_ROUND,
    "mean_gradient": WRITE_MEAN,
    "wrong_samplers": TEST_SAMPLERS,
    "find_the_bug": REPAIR_CLIP,
}
