"""Making it fast: what people get wrong, what must hold, and the tasks."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from vit_encoder.check.hearing.data import Form, ProblemError, Question
from vit_encoder.check.judging.misconceptions import edit, edits, named
from vit_encoder.check.judging.oracle import exact, oracle_of_function
from vit_encoder.check.judging.pictures import Show
from vit_encoder.check.judging.properties import (
    EDGES,
    PASSES_NAN_ON,
    REPEATS,
    agrees,
    each,
    holds,
    returns_right_shapes,
    shows,
)
from vit_encoder.check.judging.questions import (
    Normal,
    edges,
    small,
    with_nan,
)
from vit_encoder.check.judging.trials import Fails, Trial, Trials
from vit_encoder.check.tasks import BreakIt, Implement
from vit_encoder.fast import online_attention
from vit_encoder.self_attention import attention

# Misconceptions of merge.


def merge(a: Tensor, lse_a: Tensor, b: Tensor, lse_b: Tensor) -> tuple[Tensor, Tensor]:
    """One attention from those over some keys and over the others.

    a, b: (..., N_q, D_v). lse_a, lse_b: the logarithms of the sums of exponentials of
    the scores, (..., N_q). Returns the same two over all keys.
    """
    lse = torch.logaddexp(lse_a, lse_b)  # (..., N_q)
    share_a = (lse_a - lse).exp().unsqueeze(-1)  # (..., N_q, 1)
    share_b = (lse_b - lse).exp().unsqueeze(-1)
    return share_a * a + share_b * b, lse


BOTH = "torch.logaddexp(lse_a, lse_b)"
SHARE_A, SHARE_B = "(lse_a - lse).exp().", "(lse_b - lse).exp()."
SHARES = "What must the two shares of one query add up to?"
EXPONENTIALS = (
    "Of which two numbers are lse_a and lse_b the logarithms, and in what ratio do "
    "those two stand?"
)
MERGE = edits(
    merge,
    edit(
        "parts-averaged",
        {SHARE_A: "(lse_a * 0 + 0.5).", SHARE_B: "(lse_b * 0 + 0.5)."},
        "Each part has the share one half, whatever its scores are.",
        "One part holds ten keys with large scores, the other one key with a small "
        "one. How much of the output should come from each?",
    ),
    edit(
        "outputs-added",
        {SHARE_A: "(lse_a * 0 + 1).", SHARE_B: "(lse_b * 0 + 1)."},
        "The two outputs are added up, though each is an average already.",
        SHARES,
    ),
    edit(
        "shares-exchanged",
        {"share_a * a + share_b * b": "share_b * a + share_a * b"},
        "The shares have changed places: the part with the smaller sum counts more.",
        "Let both parts hold one key each, the first with the larger score. Which "
        "should count more?",
    ),
    edit(
        "larger-part-alone",
        {SHARE_A: "(lse_a >= lse_b).to(a).", SHARE_B: "(lse_a < lse_b).to(a)."},
        "The part with the larger sum is taken, and the other left out.",
        "If both sums are the same, what should come out?",
    ),
    edit(
        "weighted-by-logarithms",
        {SHARE_A: "(lse_a / (lse_a + lse_b)).", SHARE_B: "(lse_b / (lse_a + lse_b))."},
        "The outputs are weighted with the logarithms, not with the sums themselves.",
        EXPONENTIALS,
    ),
    edit(
        "weighted-by-sums",
        {SHARE_A: "lse_a.exp().", SHARE_B: "lse_b.exp()."},
        "The outputs are weighted with the two sums, and the result is not divided.",
        SHARES,
    ),
    edit(
        "relative-to-the-larger",
        {SHARE_A: "(lse_a - top).exp().", SHARE_B: "(lse_b - top).exp()."}
        | {"    share_a =": "    top = torch.maximum(lse_a, lse_b)\n    share_a ="},
        "The larger part has the share 1, and the smaller one is added to it.",
        SHARES,
    ),
    edit(
        "shares-over-queries",
        {
            SHARE_A: "(lse_a - lse).softmax(-1).",
            SHARE_B: "(lse_b - lse).softmax(-1).",
        },
        "The shares of all queries add up to 1, not those of the two parts.",
        "Which two numbers must add up to 1?",
    ),
    edit(
        "exponential-overflows",
        {BOTH: "(lse_a.exp() + lse_b.exp()).log()"},
        "With large or very negative scores it is wrong: an exponential left the "
        "number range.",
        "Only the difference of the two matters for a share. Which number can be "
        "subtracted from both before the exponential is taken?",
    ),
    edit(
        "measured-from-the-first",
        {
            BOTH: "lse_a + (lse_b - lse_a).exp().log1p()",
            SHARE_A: "(1 / (1 + (lse_b - lse_a).exp())).",
            SHARE_B: "((lse_b - lse_a).exp() / (1 + (lse_b - lse_a).exp())).",
        },
        "Where the first part is far smaller or has no keys, it is wrong: the first "
        "logarithm is subtracted, whether it is the larger or not.",
        "Which of the two numbers can be subtracted from both so that no exponential "
        "is above 1?",
    ),
    edit(
        "one-maximum-for-all",
        {
            BOTH: "((lse_a - top).exp() + (lse_b - top).exp()).log() + top",
            SHARE_A: "((lse_a - top).exp() / (lse - top).exp()).",
            SHARE_B: "((lse_b - top).exp() / (lse - top).exp()).",
            "    lse =": "    top = torch.maximum(lse_a.max(), lse_b.max())\n    lse =",
        },
        "Where the sums of two queries lie far apart, it is wrong: one maximum is "
        "taken for all queries.",
        "What is left of a query whose logarithms both lie 1000 below the maximum?",
    ),
    edit(
        "larger-for-the-sum",
        {BOTH: "torch.maximum(lse_a, lse_b)"},
        "The larger of the two logarithms is taken for that of both sums together.",
        "Let both parts be alike. By what factor is the sum over all keys larger than "
        "that of one part?",
    ),
    edit(
        "sum-of-both-logarithms",
        {BOTH: "lse_a + lse_b"},
        "The two logarithms are added up, as if that were the logarithm of a sum.",
        "What does a sum of logarithms belong to?",
    ),
    edit(
        "larger-part-with-its-logarithm",
        {
            BOTH: "torch.maximum(lse_a, lse_b)",
            SHARE_A: "(lse_a >= lse_b).to(a).",
            SHARE_B: "(lse_a < lse_b).to(a).",
        },
        "The part with the larger sum is taken, and the other left out.",
        "If both sums are the same, what should come out?",
    ),
    edit(
        "both-added",
        {
            SHARE_A: "(lse_a * 0 + 1).",
            SHARE_B: "(lse_b * 0 + 1).",
            "* b, lse\n": "* b, lse_a + lse_b\n",
        },
        "Outputs and logarithms are added up, though each output is an average.",
        SHARES,
    ),
    edit(
        "logarithms-added",
        {"* b, lse\n": "* b, lse_a + lse_b\n"},
        "The output is right. As log-sum-exp it returns the sum of the two logarithms.",
        "The logarithm of which sum is asked for? What does a sum of logarithms belong "
        "to?",
    ),
    edit(
        "larger-logarithm-kept",
        {"* b, lse\n": "* b, torch.maximum(lse_a, lse_b)\n"},
        "The output is right. As log-sum-exp it returns the larger of the two.",
        "Let both parts be alike. By what factor is the sum over all keys larger than "
        "that of one part?",
    ),
    edit(
        "logarithms-averaged",
        {"* b, lse\n": "* b, (lse_a + lse_b) / 2\n"},
        "The output is right. As log-sum-exp it returns the mean of the two.",
        "Let both parts be alike. By what factor is the sum over all keys larger than "
        "that of one part?",
    ),
    edit(
        "maximum-not-added",
        {"* b, lse\n": "* b, lse - torch.maximum(lse_a, lse_b)\n"},
        "The output is right. In its log-sum-exp the larger logarithm was subtracted "
        "and is not given back.",
        "Every exponential was divided by the same number. What must the logarithm of "
        "their sum get back?",
    ),
    edit(
        "sum-without-logarithm",
        {"* b, lse\n": "* b, lse.exp()\n"},
        "The output is right. With it comes the sum of the exponentials itself, not "
        "its logarithm.",
        "If a third part is merged with these, what must it be given?",
    ),
    edit(
        "pair-swapped",
        {
            "return share_a * a + share_b * b, lse": "return lse, share_a * a + "
            "share_b * b"
        },
        "The log-sum-exp comes first and the output second.",
        "In which order does the task ask for the two?",
    ),
)

# Misconceptions of losses.


def losses(x: Tensor, weight: Tensor, labels: Tensor, tile: int) -> Tensor:
    """The cross-entropy of each image, with the logits of `tile` classes at a time.

    x: (B, D). weight: (J, D). labels: (B,), whole numbers. Returns (B,).
    """
    top = torch.full_like(x[:, 0], -torch.inf)  # (B,)
    total = torch.zeros_like(top)  # (B,), the sum of exp(logit - top)
    for rows in weight.split(tile):
        logits = x @ rows.T  # (B, tile)
        before, top = top, torch.maximum(top, logits.amax(dim=-1))
        total = total * (before - top).exp()
        total = total + (logits - top[:, None]).exp().sum(dim=-1)
    return top + total.log() - (x * weight[labels]).sum(dim=-1)


NEW = "total + (logits - top[:, None]).exp().sum(dim=-1)"
FROM_WHICH = "From which number is each exponential measured that stands in the sum?"
LOSSES = edits(
    losses,
    edit(
        "tiles-measured-apart",
        {"(logits - top[:, None])": "(logits - logits.amax(dim=-1)[:, None])"},
        "The exponentials of a tile are measured from the largest logit of this tile, "
        "those before it from the largest of all: they are added all the same.",
        FROM_WHICH,
    ),
    edit(
        "old-sum-not-rescaled",
        {"total * (before - top).exp()": "total"},
        "When a larger logit comes, what was summed before is still measured from the "
        "old one.",
        FROM_WHICH,
    ),
    edit(
        "rescaled-the-wrong-way",
        {"(before - top).exp()": "(top - before).exp().nan_to_num(posinf=0)"},
        "What was summed before is rescaled by the inverse of the factor.",
        "If a larger logit comes, should the old sum shrink or grow?",
    ),
    edit(
        "rescaled-by-infinity",
        {"(before - top).exp()": "(top - before).exp()"},
        "What was summed before the first tile is 0, and it is multiplied by infinity.",
        "If a larger logit comes, should the old sum shrink or grow?",
    ),
    edit(
        "new-tile-rescaled-too",
        {
            "total = total * (before - top).exp()\n": "factor = (before - top).exp()\n",
            "= total + (logits - top[:, None]).exp().sum(dim=-1)": "= (total + (logits "
            "- top[:, None]).exp().sum(dim=-1)) * factor",
        },
        "The exponentials of the new tile shrink, too, though they are measured from "
        "the new maximum already.",
        FROM_WHICH,
    ),
    edit(
        "new-tile-from-the-old-maximum",
        {
            "total * (before - top).exp()": "total",
            "(logits - top[:, None])": "(logits - before[:, None])",
        },
        "The new tile is measured from the largest logit before it.",
        FROM_WHICH,
    ),
    edit(
        "maximum-begins-at-0",
        {"torch.full_like(x[:, 0], -torch.inf)": "torch.zeros_like(x[:, 0])"},
        "With very negative logits it is wrong: the largest logit so far begins at 0 "
        "and stays there.",
        "Which number is smaller than every logit?",
    ),
    edit(
        "maximum-left-out",
        {"torch.maximum(top, logits.amax(dim=-1))": "torch.zeros_like(top)"},
        "With large logits it is wrong: an exponential left the number range.",
        "What was the largest logit subtracted for?",
    ),
    edit(
        "last-classes-left-out",
        {"weight.split(tile)": "weight.split(tile)[: max(len(weight) // tile, 1)]"},
        "The classes that do not fill a tile are left out of the sum.",
        "How many classes are in the last tile, if `tile` does not divide "
        "their number?",
    ),
    edit(
        "last-tile-alone",
        {NEW: NEW.removeprefix("total + ")},
        "Only the classes of the last tile are in the sum.",
        "What should each turn do with the sum of the one before?",
    ),
    edit(
        "maximum-not-added",
        {"top + total.log()": "total.log()"},
        "The largest logit was subtracted in the exponentials, and is not given back.",
        "Every exponential was divided by exp(top). What must the logarithm of their "
        "sum get back?",
    ),
    edit(
        "label-left-out",
        {" - (x * weight[labels]).sum(dim=-1)": ""},
        "It is the logarithm of the sum over all classes, whatever the label is.",
        "What is subtracted from it in the cross-entropy?",
    ),
    edit(
        "logarithm-of-a-probability",
        {
            "return top + total.log() - (x * weight[labels]).sum(dim=-1)": "return "
            "-(((x * weight[labels]).sum(dim=-1) - top).exp() / total).log()"
        },
        "Where logits lie far apart it is wrong: a probability became 0 before its "
        "logarithm was taken.",
        "What does the logarithm of a quotient become, and of an exponential?",
    ),
    edit(
        "sign-turned",
        {
            "return top + total.log() - (x * weight[labels]).sum(dim=-1)": "return "
            "(x * weight[labels]).sum(dim=-1) - top - total.log()"
        },
        "The losses have the wrong sign.",
        "Is the loss of a sure and right answer above or below that of a wrong one?",
    ),
)

# Misconceptions of class_attention.


def class_attention(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor) -> Tensor:
    """What the class token gets in one head, without keys and values of the tokens.

    x: (B, N, D). w_q, w_k, w_v: (D_h, D). Returns (B, D_h).
    """
    query = x[:, 0] @ w_q.T  # (B, D_h)
    asked = query @ w_k / math.sqrt(len(w_k))  # (B, D)
    scores = (x @ asked.unsqueeze(-1)).squeeze(-1)  # (B, N)
    weights = scores.softmax(dim=-1)
    average = (weights.unsqueeze(1) @ x).squeeze(1)  # (B, D)
    return average @ w_v.T  # (B, D_h)


WHO_ASKS = "Which token is the class token, and which row of x is it?"
TERMS = "In q · k, how many products are added up for one score?"
CLASS_ATTENTION = edits(
    class_attention,
    edit(
        "scaled-by-dim",
        {"math.sqrt(len(w_k))": "math.sqrt(x.shape[-1])"},
        "The scores are divided by the root of D, the width of the tokens.",
        TERMS,
    ),
    edit(
        "no-scale",
        {" / math.sqrt(len(w_k))": ""},
        "The scores are not scaled.",
        "By what does attention divide the scores?",
    ),
    edit(
        "scaled-by-token-count",
        {"math.sqrt(len(w_k))": "math.sqrt(x.shape[1])"},
        "The scores are divided by the root of N, the number of tokens.",
        TERMS,
    ),
    edit(
        "divided-by-width",
        {"math.sqrt(len(w_k))": "len(w_k)"},
        "The scores are divided by D_h, not by its root.",
        "By what must a sum of D_h terms be divided so that its spread stays 1?",
    ),
    edit(
        "token-itself-asks",
        {"query @ w_k /": "x[:, 0] /"},
        "The tokens are compared with the class token itself, as if neither queries "
        "nor keys were learned.",
        "Which two matrices must stand between two tokens in a score?",
    ),
    edit(
        "keys-by-query-weights",
        {"query @ w_k": "query @ w_q"},
        "Queries and keys are made with the same weights.",
        "Must token A look at B exactly as much as B looks at A?",
    ),
    edit(
        "queries-and-keys-swapped",
        {"@ w_q.T": "@ w_k.T", "query @ w_k": "query @ w_q"},
        "Queries and keys have changed places: the class token is looked at.",
        "Whose query is it, and whose keys?",
    ),
    edit(
        "last-token-asks",
        {"x[:, 0]": "x[:, -1]"},
        "The last token asks.",
        WHO_ASKS,
    ),
    edit(
        "mean-asks",
        {"x[:, 0]": "x.mean(dim=1)"},
        "The mean of all tokens asks.",
        WHO_ASKS,
    ),
    edit(
        "own-token-left-out",
        {
            "(x @ asked": "(x[:, 1:] @ asked",
            "unsqueeze(1) @ x": "unsqueeze(1) @ x[:, 1:]",
        },
        "The class token does not look at itself.",
        "Which tokens does a token look at in self-attention?",
    ),
    edit(
        "own-value-alone",
        {"(weights.unsqueeze(1) @ x).squeeze(1)": "x[:, 0] + 0 * scores[:, :1]"},
        "The class token gets its own value and nothing of the other tokens.",
        "The class token alone asks. Which tokens does it look at?",
    ),
    edit(
        "no-softmax",
        {"scores.softmax(dim=-1)": "scores"},
        "The scores themselves are the weights.",
        "What must the weights of one query add up to?",
    ),
    edit(
        "exponential-overflows",
        {"scores.softmax(dim=-1)": "scores.exp() / scores.exp().sum(-1, keepdim=True)"},
        "With large scores it is wrong: an exponential left the number range.",
        "Softmax does not change when a row is shifted. Which shift keeps exponentials "
        "small?",
    ),
    edit(
        "softmax-over-batch",
        {"dim=-1": "dim=0"},
        "Softmax runs over the images of the batch.",
        "Should one image's attention depend on which others are in its batch?",
    ),
    edit(
        "keys-averaged",
        {"average @ w_v": "average @ w_k"},
        "What comes out is an average of keys.",
        "What does a key serve for, and what is handed on in the end?",
    ),
    edit(
        "tokens-averaged",
        {"return average @ w_v.T": "return average"},
        "The average of the tokens comes out, before it became one of values.",
        "Which of the three matrices has not been used?",
    ),
)

# Wrong versions of fast attention.


def in_tiles_of_16(version: Callable) -> Callable:
    """A version of online_attention with the tiles that all have in the task."""

    def tiled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return version(q, k, v, 16)

    return tiled


def at_once(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The chapter's first attention, which makes all scores."""
    return attention(q, k, v)[0]


WHOLE = "[..., : {}.shape[-2] // tile * tile, :].split"
ATTENTION = tuple(
    replace(wrong, given_as=in_tiles_of_16)
    for wrong in edits(
        online_attention,
        edit(
            "last-keys-left-out",
            {
                x: x.replace(".split", WHOLE.format(x[0]))
                for x in ("k.split", "v.split")
            },
            "It drops the keys that do not fill a tile.",
            "How many keys does the last tile have?",
        ),
        edit(
            "scale-of-one-width",
            {"math.sqrt(q.shape[-1])": "8"},
            "Its scale is 1/8, which is right for heads of width 64.",
            "Which width does the scale depend on?",
        ),
        edit(
            "no-maximum",
            {"torch.maximum(top, scores.amax(-1, keepdim=True))": "0 * total"},
            "It subtracts no maximum before it takes the exponentials.",
            "How large may a score be before its exponential is infinite?",
        ),
    )
)

MISCONCEPTIONS = {
    "merge": MERGE,
    "losses": LOSSES,
    "class_attention": CLASS_ATTENTION,
    "online_attention": ATTENTION,
}

# The oracles.


@oracle_of_function
def merged(a: Tensor, lse_a: Tensor, b: Tensor, lse_b: Tensor) -> tuple[Tensor, Tensor]:
    """The parts as two values whose scores are the logarithms."""
    scores = torch.stack([lse_a, lse_b], -1)  # (..., N_q, 2)
    output = torch.einsum(
        "...p,...pv->...v", scores.softmax(-1), torch.stack([a, b], -2)
    )
    return output, scores.logsumexp(-1)


@oracle_of_function
def losses_at_once(x: Tensor, weight: Tensor, labels: Tensor, _tile: int) -> Tensor:
    """The losses from all logits at once."""
    logits = torch.einsum("bd,jd->bj", x, weight)
    picked = logits[torch.arange(len(labels), device="cpu"), labels]
    return logits.logsumexp(-1) - picked


@oracle_of_function
def row_0(x: Tensor, *weights: Tensor) -> Tensor:
    """Row 0 of attention with all keys and values."""
    q, k, v = (torch.einsum("bnd,ed->bne", x, w) for w in weights)
    return exact(q, k, v)[0][:, 0]


# The questions.

COARSE = 1e-3  # what is left of a share if the logarithms were float32
TWO = small([2, 0], [6, 4])[None]  # (h, N_q, D_v)
LOGS = small([1, 2.1])  # (h, N_q); the shares are 1/4 and 3/4


def merge_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict."""
    normal = Normal(seed)
    parts = (
        (normal(2, 3, 5, 4), 2 * normal(2, 3, 5)),
        (
            normal(2, 3, 5, 4),
            2 * normal(2, 3, 5) + 1,
        ),
    )
    (a, lse_a), (b, lse_b) = parts
    inputs = a, lse_a, b, lse_b
    nothing = torch.zeros_like(b), torch.full_like(lse_b, -torch.inf)
    far = small([1000, -1000, 0, 1000, -1000])[0]  # for each query its own
    return [
        Question("two queries", (TWO, LOGS, TWO + 4, LOGS.flip(-1))),
        Question("parts", inputs),
        Question("one matrix", (a[0, 0], lse_a[0, 0], b[0, 0], lse_b[0, 0])),
        Question("one far smaller", (a, lse_a, b, lse_b - 30)),
        Question("large scores", (a, lse_a + 1000, b, lse_b + 1000), secondary=True),
        Question(
            "very negative scores", (a, lse_a - 1000, b, lse_b - 1000), secondary=True
        ),
        Question("the first far smaller", (a, lse_a - 1000, b, lse_b), secondary=True),
        Question("queries far apart", (a, lse_a + far, b, lse_b + far), secondary=True),
        Question("a part without keys", (a, lse_a, *nothing), secondary=True),
        Question("the first without keys", (*nothing, b, lse_b), secondary=True),
        Question("a nan", (with_nan(a), lse_a, b, lse_b), secondary=True),
        *edges(inputs, normal(2, 3, 5, 4)),
    ]


def losses_questions(seed: int) -> list[Question]:
    """J, B, D and the tiles all differ; the largest logits stand in many places."""
    normal = Normal(seed)
    x, weight = normal(5, 4), 2 * normal(11, 4)
    labels = torch.tensor([3, 10, 0, 7, 3], device="cpu")
    one, rising = small([1]), small([0], [1], [2], [3])
    last = torch.tensor([3], device="cpu")
    return [
        Question("rising logits", (one, rising, last, 1)),
        Question("falling logits", (one, rising.flip(0), last, 1)),
        Question("tiles of three", (x, weight, labels, 3)),
        Question("tiles of four", (x, weight, labels, 4)),
        Question("one class a tile", (x, weight, labels, 1)),
        Question("one tile", (x, weight, labels, 11)),
        Question("a tile too large", (x, weight, labels, 20)),
        Question("large logits", (1000 * x, weight, labels, 3), secondary=True),
        Question("very negative logits", (one, rising - 2000, last, 1), secondary=True),
        Question("a nan", (x, with_nan(weight), labels, 3), secondary=True),
        *edges((x, weight, labels, 3), normal(5)),
    ]


HOT = small([1, 0], [0, 1])[None]  # (B, N, D)
PROJECTIONS = (  # each (D_h, D)
    small([1, 0], [1, 2], [0, 0], [0, 1]),
    small([1, 2], [0, 1], [1, 0], [0, 1]),
    small([8, 0], [0, 8], [4, 4], [0, 4]),
)


def class_questions(seed: int) -> list[Question]:
    """FLOPs are counted for many tokens; a few leave nothing to save."""
    normal = Normal(seed)
    weights = normal(3, 5, 7).unbind()  # w_q, w_k, w_v, each (D_h, D)
    x = normal(2, 4, 7)
    many, wide = normal(3, 40, 12), normal(3, 8, 12).unbind()
    all_keys = {"flops": torch.tensor(2 * 3 * 40 * 12 * 8, device="cpu")}
    return [
        Question("two tokens", (HOT, *PROJECTIONS)),
        Question("tokens", (x, *weights)),
        Question("one token", (x[:, :1], *weights)),
        Question("many tokens", (many, *wide), parameters=all_keys),
        Question("large scores", (30 * x, *weights), secondary=True),
        Question("a nan", (with_nan(x), *weights), secondary=True),
        *edges((x, *weights), normal(2, 5)),
    ]


def flops_of(a: tuple, b: object, *, out_shape: tuple, **_kind: object) -> int:
    """FLOPs of a matrix times a vector, or of products that a sum may add up."""
    return 2 * max(math.prod(a), math.prod(out_shape)) if isinstance(b, tuple) else 0


# What torch's counter leaves out, by which keys could be made for nothing. By name:
# the marking sends this into its sandbox, and an operation cannot be pickled.
UNCOUNTED = ("mv", "dot", "mul")


def call_counted(answer: Callable, inputs: list, parameters: dict) -> object:
    """The output, if its products take fewer FLOPs than a question allows."""
    if "flops" not in parameters:
        return answer(*inputs)
    from torch.utils.flop_counter import FlopCounterMode

    counted = {getattr(torch.ops.aten, name): flops_of for name in UNCOUNTED}
    with FlopCounterMode(display=False, custom_mapping=counted) as counter:
        output = answer(*inputs)
    flops, all_keys = counter.get_total_flops(), int(parameters["flops"])
    if output is not Ellipsis and flops >= all_keys:
        text = f"For x of shape {tuple(inputs[0].shape)} its products take "
        text += f"{flops} FLOPs. All keys alone take {all_keys}."
        ask = "Which of your products has a result for each token that is as wide as a "
        raise ProblemError("too-many-flops", text, ask + "key or a value?")
    return output


# The properties that are these functions' own.


@holds(
    "large and very small scores keep within the number range",
    "Only the difference of the two logarithms matters for a share. Do you take an "
    "exponential of one of them alone?",
)
def merges_large_scores(trials: Trials) -> None:
    """Shifting all scores shifts the lse and leaves the output."""
    for name in ("large scores", "very negative scores"):
        trial = trials[name]
        finite = all(x.isfinite().all() for x in trial.outputs)
        if not finite or (trials["parts"].right() and not trial.right(COARSE)):
            raise shows(MERGE, "exponential-overflows")


@each(
    "an output lies between those of the parts",
    ("parts",),
    SHARES,
    core=True,
)
def lies_between(trial: Trial) -> None:
    """Each number of the output lies between those of the two parts."""
    a, _, b, _ = trial.question.inputs
    low, high = torch.minimum(a, b) - 1e-6, torch.maximum(a, b) + 1e-6
    output = trial.output.double()
    if not ((low <= output) & (output <= high)).all():
        raise Fails("Some of its outputs lie outside the two that were merged.")


@each(
    "few enough products are computed",
    ("many tokens",),
    "What has a result for each token that is as wide as a key?",
    core=True,
)
def is_cheap(trial: Trial) -> None:
    """Neither all keys nor all values are made."""
    problem = trial.reply.problem
    if problem and problem.name == "too-many-flops":
        raise Fails(problem.text, problem.name, problem.ask)
    trial.require_right()


MERGE_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "an output for each query comes back, and its log-sum-exp",
        *("parts", "one matrix", "two queries"),
        ask="Which axis do the shares not have, and the outputs do?",
    ),
    lies_between,
    agrees(
        "the numbers are those of attention over all keys",
        *("two queries", "parts", "one matrix", "one far smaller"),
        ask="With which number must an output be multiplied to become a sum of "
        "weighted values again?",
        core=True,
    ),
    merges_large_scores,
    agrees(
        "queries and parts may differ by any amount",
        *("the first far smaller", "queries far apart"),
        ask="Which number is subtracted from both logarithms of one query, and is it "
        "the larger of the two?",
    ),
    agrees(
        "a part without keys changes nothing",
        *("a part without keys", "the first without keys"),
        ask="What is left of -inf when the exponential is taken?",
    ),
    PASSES_NAN_ON,
    *EDGES,
)
LOSSES_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "one loss for each image comes back",
        *("tiles of three", "one tile", "rising logits"),
        ask="Over which axis is there a sum, and which one stays?",
    ),
    agrees(
        "it is right with one tile",
        *("one tile", "a tile too large"),
        ask="What is the cross-entropy of one image, as a formula?",
        core=True,
    ),
    agrees(
        "the order of the classes does not matter",
        *("rising logits", "falling logits"),
        ask="Follow `top` and `total` by hand. After which turn is `total` no longer "
        "the sum of exp(logit - top) over the classes so far?",
        core=True,
    ),
    agrees(
        "random logits agree with the formula in float64",
        *("one class a tile", "tiles of three"),
        ask="After which turn is `total` no longer the sum of exp(logit - top)?",
        core=True,
    ),
    agrees(
        "the last tile may be smaller",
        "tiles of four",
        ask="How many classes are in each tile?",
        core=True,
    ),
    agrees(
        "large and very negative logits keep within the number range",
        *("large logits", "very negative logits"),
        ask="What was the largest logit subtracted for?",
    ),
    PASSES_NAN_ON,
    *EDGES,
)
CLASS_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "one row for each image comes back",
        *("tokens", "two tokens", "one token"),
        ask="Which axis counts the tokens, and how many of them ask?",
    ),
    agrees(
        "the numbers are the first row of full attention",
        *("two tokens", "tokens", "one token"),
        ask="What is a score, written with x_j in place of its key?",
        core=True,
    ),
    is_cheap,
    agrees(
        "large scores keep within the number range",
        "large scores",
        ask="Softmax does not change when a row is shifted. Which shift keeps "
        "exponentials small?",
    ),
    PASSES_NAN_ON,
    *EDGES,
)

# The tasks.

WRITE_MERGE = Implement(
    form=Form(outputs=("output", "lse"), reference=(merge,)),
    ask_about=merge_questions,
    oracle=merged,
    properties=MERGE_PROPERTIES,
    misconceptions=MERGE,
    show=Show(
        questions=("two queries",),
        axes={"output": ("query", "feature"), "lse": ("head", "query")},
    ),
)
TEST_ATTENTION = BreakIt(
    right={
        "one with tiles": in_tiles_of_16(online_attention),
        "one that makes all scores at once": at_once,
    },
    wrong=ATTENTION,
    ask="Which numbers of keys, which widths and which sizes of scores does your test "
    "try?",
)
REPAIR_LOSSES = Implement(
    form=Form(outputs=("losses",), reference=(losses,)),
    ask_about=losses_questions,
    oracle=losses_at_once,
    properties=LOSSES_PROPERTIES,
    misconceptions=LOSSES,
    show=Show(
        questions=("rising logits", "falling logits"),
        axes={"losses": ("image", "loss")},
    ),
    bug=named(LOSSES, "tiles-measured-apart")[0],
)
WRITE_CLASS_ATTENTION = Implement(
    form=Form(outputs=("output",), reference=(class_attention,), call=call_counted),
    ask_about=class_questions,
    oracle=row_0,
    properties=CLASS_PROPERTIES,
    misconceptions=CLASS_ATTENTION,
    show=Show(
        questions=("two tokens",),
        axes={"output": ("image", "feature")},
    ),
)

TASKS = {
    "merge": WRITE_MERGE,
    "wrong_attention": TEST_ATTENTION,
    "find_the_bug": REPAIR_LOSSES,
    "class_attention": WRITE_CLASS_ATTENTION,
}
