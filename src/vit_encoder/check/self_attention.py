"""Self-attention: what people get wrong, what must hold, and the tasks."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from vit_encoder.arguments import require_tokens
from vit_encoder.check.adapter import Form, Problem, Question
from vit_encoder.check.judge import (
    Property,
    Show,
    Trials,
    agrees,
    close,
    returns_right_shapes,
    stays_finite,
    tolerance_of,
)
from vit_encoder.check.misconceptions import Misconception, against
from vit_encoder.check.oracle import Get, exact, oracle_of, single_head
from vit_encoder.check.properties import EDGES, REPEATS
from vit_encoder.check.questions import FUSED, Normal, batch, double, finish, small
from vit_encoder.check.tasks import BreakIt, Choose, Implement, PredictNumbers, Wrong
from vit_encoder.self_attention import SelfAttention, attention

# Misconceptions of attention. Each is the course's version with one visible change.

GITHUB = "https://github.com/"
OURS = "constructed for this course"
VASWANI = "Vaswani et al. 2017, section 3.2.1"
wrong_attention = against(attention)


@wrong_attention(
    seen="The weights of one query do not add up to 1; those that one key gets do.",
    ask="Which index runs over the things that are averaged?",
    source=GITHUB + "labmlai/annotated_deep_learning_paper_implementations/issues/146",
)
def softmax_over_queries(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=-2)
    return weights @ v, weights


@wrong_attention(
    seen="Softmax runs over axis 0: with two axes these are the queries, with three "
    "the images of the batch.",
    ask="Should one image's attention depend on which others are in its batch?",
    source=GITHUB + "PetrochukM/PyTorch-NLP/issues/2",
)
def softmax_over_batch(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=0)
    return weights @ v, weights


@wrong_attention(
    seen="Softmax runs over axis 1, counted from the front. With two axes these are "
    "the keys, with three the queries.",
    ask="Which axis stays the keys however many axes stand in front?",
    source=GITHUB + "labmlai/annotated_deep_learning_paper_implementations/issues/146",
)
def softmax_over_axis_1(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=1)
    return weights @ v, weights


@wrong_attention(
    seen="Softmax runs over axis 2, counted from the front. With three axes these are "
    "the keys, with four the queries, and with two there is no axis 2.",
    ask="Which axis stays the keys however many axes stand in front?",
    source=GITHUB + "FudanNLP/fastNLP/issues/254",
)
def softmax_over_axis_2(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=2)
    return weights @ v, weights


@wrong_attention(
    seen="Every weight is 1, whatever the scores are.",
    ask="What does softmax return for a single number?",
    source=GITHUB + "DEEP-PolyU/KEQA_WSDM19/issues/2",
)
def softmax_over_one_number(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.unsqueeze(-1).softmax(dim=-1).squeeze(-1)
    return weights @ v, weights


@wrong_attention(
    seen="The weights of all queries together add up to 1, not those of each.",
    ask="How much attention does one query have to hand out?",
    source=OURS,
)
def softmax_over_everything(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.flatten(-2).softmax(dim=-1).view_as(scores)
    return weights @ v, weights


@wrong_attention(
    seen="The scores grow with D_h: the wider the head, the closer each query comes to "
    "picking a single key.",
    ask="How does the spread of a sum depend on how many terms it has?",
    source=VASWANI,
)
def no_scale(q, k, v):
    scores = q @ k.transpose(-2, -1)
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


@wrong_attention(
    seen="The scores shrink with D_h: the wider the head, the more evenly each query "
    "spreads its attention. They were divided by √D_h twice.",
    ask="By what must a sum of D_h terms be divided so that its spread stays 1?",
    source=OURS,
)
def divided_by_width(q, k, v):
    scores = q @ k.transpose(-2, -1) / q.shape[-1]
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


@wrong_attention(
    seen="The scores grow with D_h, even faster than with no scale at all.",
    ask="Should wider heads have larger scores, or scores of the same size?",
    source=OURS,
)
def multiplied_by_root(q, k, v):
    scores = q @ k.transpose(-2, -1) * math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


@wrong_attention(
    seen="The scale depends on how many keys there are, not on D_h.",
    ask="How many products were added up to make one score?",
    source=OURS,
)
def divided_by_key_count(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(k.shape[-2])
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


@wrong_attention(
    seen="The scale depends on how many queries there are, not on D_h.",
    ask="How many products were added up to make one score?",
    source=OURS,
)
def divided_by_query_count(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-2])
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


@wrong_attention(
    seen="The scale depends on D_v, the width of the values, not on D_h.",
    ask="How many products were added up to make one score?",
    source=OURS,
)
def divided_by_value_width(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(v.shape[-1])
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


@wrong_attention(
    seen="The weights of each query add up to 1/√D_h, not to 1.",
    ask="What must be made smaller: the scores, or the shares made from them?",
    source=OURS,
)
def scaled_after_softmax(q, k, v):
    scores = q @ k.transpose(-2, -1)
    weights = scores.softmax(dim=-1) / math.sqrt(q.shape[-1])
    return weights @ v, weights


@wrong_attention(
    seen="Queries and keys are multiplied without turning the keys; the sizes do not "
    "fit, or fit by chance.",
    ask="Which index of q and which of k must be summed over?",
    source=OURS,
)
def keys_not_transposed(q, k, v):
    scores = q @ k / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


@wrong_attention(
    seen="It works with two axes only: with more, all axes change places, not two.",
    ask="Which two axes change places, and which stay?",
    source=OURS,
)
def all_axes_reversed(q, k, v):
    scores = q @ k.permute(*range(k.ndim)[::-1]) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


@wrong_attention(
    seen="It works with three axes only: the axes to swap are counted from the front.",
    ask="Which numbers name the last two axes however many stand in front?",
    source=OURS,
)
def axes_1_and_2_swapped(q, k, v):
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


@wrong_attention(
    seen="The values are averaged with the weights that a key gets, not with those "
    "that a query hands out.",
    ask="Say the two indices of the weights aloud: which one do the values have?",
    source=OURS,
)
def weights_transposed(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=-1)
    return weights.transpose(-2, -1) @ v, weights


@wrong_attention(
    seen="Queries and keys have changed places: a row belongs to a key.",
    ask="Who asks, and who is asked? Which of them has a row of its own?",
    source=OURS,
)
def queries_and_keys_swapped(q, k, v):
    scores = k @ q.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


@wrong_attention(
    seen="The output is an average of the keys; the values are never read.",
    ask="What does a key serve for, and what is handed on in the end?",
    source=OURS,
)
def keys_averaged(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=-1)
    return weights @ k, weights


@wrong_attention(
    seen="With large scores it returns nan: the exponential left the number range.",
    ask="Softmax does not change when a row is shifted. Which shift keeps exp small?",
    source=OURS,
)
def softmax_overflows(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
    return weights @ v, weights


@wrong_attention(
    seen="The weights are positive, but those of one query do not add up to 1.",
    ask="What is left to do so that a query hands out exactly 100 %?",
    source=OURS,
)
def exponential_not_normalised(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.exp()
    return weights @ v, weights


@wrong_attention(
    seen="The weights add up to 1, but some are negative or larger than 1.",
    ask="How can a negative score still become a positive share?",
    source=OURS,
)
def normalised_without_exponential(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores / scores.sum(dim=-1, keepdim=True)
    return weights @ v, weights


@wrong_attention(
    seen="The scores themselves are used as weights.",
    ask="What turns a row of scores into shares that add up to 1?",
    source=OURS,
)
def no_softmax(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores
    return weights @ v, weights


@wrong_attention(
    seen="The output is right, but what comes with it are the scores.",
    ask="At which point do the scores become weights?",
    source=OURS,
)
def scores_returned(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=-1)
    return weights @ v, scores


@wrong_attention(
    seen="It returns the output alone, expected a tuple (output, weights).",
    ask="What else does the caller want to look at?",
    source=OURS,
)
def weights_not_returned(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=-1)
    return weights @ v


@wrong_attention(
    seen="The weights come first and the output second.",
    ask="In which order does the task ask for the two?",
    source=OURS,
)
def pair_swapped(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=-1)
    return weights, weights @ v


@wrong_attention(
    seen="A query sees no key that comes after it.",
    ask="Is there a reason why a patch may not look at the patches that follow?",
    source=OURS,
)
def causal_mask(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = (scores + torch.full_like(scores, -torch.inf).triu(1)).softmax(dim=-1)
    return weights @ v, weights


ATTENTION = (
    softmax_over_queries,
    softmax_over_batch,
    softmax_over_axis_1,
    softmax_over_axis_2,
    softmax_over_one_number,
    softmax_over_everything,
    no_scale,
    divided_by_width,
    multiplied_by_root,
    divided_by_key_count,
    divided_by_query_count,
    divided_by_value_width,
    scaled_after_softmax,
    keys_not_transposed,
    all_axes_reversed,
    axes_1_and_2_swapped,
    weights_transposed,
    queries_and_keys_swapped,
    keys_averaged,
    softmax_overflows,
    exponential_not_normalised,
    normalised_without_exponential,
    no_softmax,
    scores_returned,
    weights_not_returned,
    pair_swapped,
    causal_mask,
)

# Misconceptions of SelfAttention, written against the course's class.

wrong_self_attention = against(SelfAttention)


@wrong_self_attention(
    seen="The input itself serves as queries, keys and values; nothing is learned.",
    ask="Can a token then look for something that it is not itself?",
    source=GITHUB + "tensorflow/tensor2tensor/issues/1582",
)
class NoProjections(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.query = nn.Linear(dim, head_dim)
        self.key = nn.Linear(dim, head_dim)
        self.value = nn.Linear(dim, head_dim)

    def forward(self, x):
        require_tokens(x, self.query.in_features)
        q, k, v = x, x, x
        output, _ = attention(q, k, v)
        return output


@wrong_self_attention(
    seen="One projection makes queries, keys and values alike.",
    ask="What would the weights look like if asking and answering were one act?",
    source=GITHUB + "594422814/TransformerTrack/issues/33",
)
class OneProjection(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.query = nn.Linear(dim, head_dim)
        self.key = nn.Linear(dim, head_dim)
        self.value = nn.Linear(dim, head_dim)

    def forward(self, x):
        require_tokens(x, self.query.in_features)
        q, k, v = self.query(x), self.query(x), self.query(x)
        output, _ = attention(q, k, v)
        return output


@wrong_self_attention(
    seen="Queries and keys come from the same projection, so the scores are symmetric.",
    ask="Must token A look at B exactly as much as B looks at A?",
    source=GITHUB + "594422814/TransformerTrack/issues/33",
)
class QueryIsKey(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.query = nn.Linear(dim, head_dim)
        self.key = nn.Linear(dim, head_dim)
        self.value = nn.Linear(dim, head_dim)

    def forward(self, x):
        require_tokens(x, self.query.in_features)
        q, k, v = self.query(x), self.query(x), self.value(x)
        output, _ = attention(q, k, v)
        return output


@wrong_self_attention(
    seen="The values are the input itself; only queries and keys are projected.",
    ask="Which of the three is handed on, and is it learned?",
    source=OURS,
)
class ValueNotProjected(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.query = nn.Linear(dim, head_dim)
        self.key = nn.Linear(dim, head_dim)
        self.value = nn.Linear(dim, head_dim)

    def forward(self, x):
        require_tokens(x, self.query.in_features)
        q, k, v = self.query(x), self.key(x), x
        output, _ = attention(q, k, v)
        return output


@wrong_self_attention(
    seen="The values come from the projection of the queries.",
    ask="Is what a token looks for the same as what it hands on?",
    source=OURS,
)
class ValueIsQuery(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.query = nn.Linear(dim, head_dim)
        self.key = nn.Linear(dim, head_dim)
        self.value = nn.Linear(dim, head_dim)

    def forward(self, x):
        require_tokens(x, self.query.in_features)
        q, k, v = self.query(x), self.key(x), self.query(x)
        output, _ = attention(q, k, v)
        return output


@wrong_self_attention(
    seen="Every third entry of `qkv` is read as a query, not the first D_h of them.",
    ask="If `qkv` stacks query, key and value, where in it does the key begin?",
    source=OURS,
)
class QkvInterleaved(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * head_dim)

    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).unflatten(-1, (-1, 3)).unbind(-1)
        output, _ = attention(q, k, v)
        return output


@wrong_self_attention(
    seen="The tokens of all images stand in one row, so images look at each other.",
    ask="Which tokens may one token look at?",
    source=OURS,
)
class ImagesMixed(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.query = nn.Linear(dim, head_dim)
        self.key = nn.Linear(dim, head_dim)
        self.value = nn.Linear(dim, head_dim)

    def forward(self, x):
        require_tokens(x, self.query.in_features)
        tokens = x.flatten(0, 1)
        q, k, v = self.query(tokens), self.key(tokens), self.value(tokens)
        output, _ = attention(q, k, v)
        return output.unflatten(0, x.shape[:2])


@wrong_self_attention(
    seen="Queries and keys have changed places.",
    ask="Which projection makes the token that asks?",
    source=OURS,
)
class QueryAndKeySwapped(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.query = nn.Linear(dim, head_dim)
        self.key = nn.Linear(dim, head_dim)
        self.value = nn.Linear(dim, head_dim)

    def forward(self, x):
        require_tokens(x, self.query.in_features)
        q, k, v = self.key(x), self.query(x), self.value(x)
        output, _ = attention(q, k, v)
        return output


@wrong_self_attention(
    seen="Keys and values have changed places.",
    ask="Which projection makes what is compared, and which what is handed on?",
    source=OURS,
)
class KeyAndValueSwapped(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.query = nn.Linear(dim, head_dim)
        self.key = nn.Linear(dim, head_dim)
        self.value = nn.Linear(dim, head_dim)

    def forward(self, x):
        require_tokens(x, self.query.in_features)
        q, k, v = self.query(x), self.value(x), self.key(x)
        output, _ = attention(q, k, v)
        return output


@wrong_self_attention(
    seen="The scale is made from the width of the input, D, not from that of the head.",
    ask="Count the products that were added up for one score: D or D_h?",
    source=GITHUB + "lucidrains/vit-pytorch/issues/65",
)
class ScaledByDim(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.query = nn.Linear(dim, head_dim)
        self.key = nn.Linear(dim, head_dim)
        self.value = nn.Linear(dim, head_dim)

    def forward(self, x):
        require_tokens(x, self.query.in_features)
        q, k, v = self.query(x), self.key(x), self.value(x)
        scores = q @ k.transpose(-2, -1) / math.sqrt(x.shape[-1])
        return scores.softmax(dim=-1) @ v


@wrong_self_attention(
    seen="Each projection reads a third of the input's features.",
    ask="Which has 3 · D_h entries: what goes into the projections, or what comes out?",
    source=GITHUB + "lucidrains/vit-pytorch/issues/237",
)
class InputCutInThree(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.query = nn.Linear(dim // 3, head_dim)
        self.key = nn.Linear(dim // 3, head_dim)
        self.value = nn.Linear(dim // 3, head_dim)

    def forward(self, x):
        require_tokens(x, 3 * self.query.in_features)
        q, k, v = (f(p) for f, p in zip(self.children(), x.chunk(3, -1), strict=True))
        output, _ = attention(q, k, v)
        return output


@wrong_self_attention(
    seen="It returns a tuple (output, weights), expected the output alone.",
    ask="What does the next layer take?",
    source=OURS,
)
class PairReturned(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.query = nn.Linear(dim, head_dim)
        self.key = nn.Linear(dim, head_dim)
        self.value = nn.Linear(dim, head_dim)

    def forward(self, x):
        require_tokens(x, self.query.in_features)
        q, k, v = self.query(x), self.key(x), self.value(x)
        output, weights = attention(q, k, v)
        return output, weights


SELF_ATTENTION = (
    NoProjections,
    OneProjection,
    QueryIsKey,
    ValueNotProjected,
    ValueIsQuery,
    QkvInterleaved,
    ImagesMixed,
    QueryAndKeySwapped,
    KeyAndValueSwapped,
    ScaledByDim,
    InputCutInThree,
    PairReturned,
)


def inside(misconception: Misconception) -> Misconception:
    """A misconception of attention as it shows in SelfAttention."""

    class Wrong(SelfAttention):
        def forward(self, x):
            result = misconception.wrong(self.query(x), self.key(x), self.value(x))
            return result[0] if isinstance(result, tuple) else result

    return replace(misconception, wrong=Wrong, right=SelfAttention)


# Those that show in a module, which has three axes and as many queries as keys.
INSIDE = (
    softmax_over_queries,
    softmax_over_batch,
    softmax_over_one_number,
    softmax_over_everything,
    no_scale,
    divided_by_width,
    multiplied_by_root,
    divided_by_key_count,
    scaled_after_softmax,
    keys_not_transposed,
    all_axes_reversed,
    weights_transposed,
    keys_averaged,
    softmax_overflows,
    exponential_not_normalised,
    normalised_without_exponential,
    no_softmax,
    causal_mask,
)
MISCONCEPTIONS = {"attention": ATTENTION, "SelfAttention": SELF_ATTENTION}

# The oracles.


def attention_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """The outputs and gradients of attention in float64."""
    leaves = {f"input {i}": double(x) for i, x in enumerate(question.inputs)}
    return finish(question, leaves, exact(*leaves.values()))


def one_head(x: Tensor, get: Get, **_built: int) -> Tensor:
    """SelfAttention."""
    return single_head(x, get)


self_attention_oracle = oracle_of(one_head)


# The questions.


def attention_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict.

    Sizes differ within a random one, so that a wrong axis cannot hide. Where two are
    equal, a wrong version must fail by its numbers, not by its shapes.
    """
    normal = Normal(seed)
    q, k, v = normal(2, 5, 7), normal(2, 3, 7), normal(2, 3, 4)
    queries, keys = normal.order(5), normal.order(3)
    shuffled = (q[:, queries], k[:, keys], v[:, keys])
    constant = normal(1, 1, 3).expand(2, 5, 3).clone()
    large = tuple(x[None].float() for x in (300 * SMALL[0], *SMALL[1:]))
    return [
        Question("small numbers", SMALL),
        Question("small numbers in a batch", tuple(map(batch, SMALL))),
        Question("small numbers, four axes", tuple(batch(x)[None] for x in SMALL)),
        Question("three axes", (q, k, v)),
        Question("another order", shuffled),
        Question("equal counts", (normal(3, 6, 5), normal(3, 6, 5), normal(3, 6, 2))),
        Question("equal values", (normal(2, 4, 6), normal(2, 5, 6), constant)),
        Question("width 16", wide(normal, 16)),
        Question("width 256", wide(normal, 256)),
        Question("two axes", (normal(4, 3), normal(6, 3), normal(6, 5))),
        Question(
            "four axes", (normal(2, 3, 4, 5), normal(2, 3, 6, 5), normal(2, 3, 6, 7))
        ),
        Question("float32", (q.float(), k.float(), v.float())),
        Question("float32 again", (q.float(), k.float(), v.float())),
        Question("large scores", large),
        Question("gradients", (q, k, v), cotangent=normal(2, 5, 4)),
        Question("another device", (q, k, v), device="meta"),
    ]


def wide(normal: Normal, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys of unit variance: 8 queries, 64 keys."""
    return normal(1, 8, width), normal(1, 64, width), normal(1, 64, 2)


SMALL = (
    small([2, 0, 1, 0], [0, 2, 0, 1]),
    small([-1, 0, 0, 0], [0, 1, 0, 1], [1, 1, 2, 0]),
    small([1, 0], [0, 1], [2, 2]),
)


def self_attention_questions(seed: int) -> list[Question]:
    """As for attention, with parameters for the three projections."""
    normal = Normal(seed)
    x, parameters = normal(2, 5, 6), projections(normal, 6, 4)
    order = normal.order(5)
    other = projections(normal, 9, 10)
    large = 100 * SMALL_X.float()
    tiny = {"arguments": built(3, 4), "parameters": SMALL_PARAMETERS}
    common = {"arguments": built(6, 4), "parameters": parameters}
    wide_head = {"arguments": built(9, 10), "parameters": other}
    return [
        Question("small numbers", (SMALL_X,), **tiny),
        Question("two small images", (batch(SMALL_X[0]),), **tiny),
        Question("a narrow head", (x,), **common),
        Question("another order", (x[:, order],), **common),
        Question("a wide head", (normal(3, 4, 9),), **wide_head),
        Question("one token", (normal(3, 1, 9),), **wide_head),
        Question("float32", (x.float(),), **common),
        Question("float32 again", (x.float(),), **common),
        Question("large scores", (large,), **tiny),
        Question("gradients", (x,), **common, cotangent=normal(2, 5, 4)),
        Question("another device", (x,), **common, device="meta"),
    ]


def built(dim: int, head_dim: int) -> dict[str, int]:
    """What SelfAttention is built with."""
    return {"dim": dim, "head_dim": head_dim}


def projections(normal: Normal, dim: int, head_dim: int) -> dict[str, Tensor]:
    """Random weights (head_dim, dim) and biases (head_dim) of the three."""
    parameters = {}
    for name in ("query", "key", "value"):
        parameters[f"{name}.weight"] = normal(head_dim, dim)
        parameters[f"{name}.bias"] = normal(head_dim)
    return parameters


SMALL_X = small([1, 0, 2], [0, 1, 1])[None]
SMALL_PARAMETERS = {
    "query.weight": small([1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1]),
    "query.bias": small([0, 0, 0, 1])[0],
    "key.weight": small([0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]),
    "key.bias": small([0, 0, 0, 0])[0],
    "value.weight": small([1, 0, 1], [0, 1, 0], [2, 0, 0], [0, 0, 1]),
    "value.bias": small([0, 1, 0, 0])[0],
}

# The properties that are self-attention's own.


def rows_sum_to_one(trials: Trials) -> Problem | None:
    """The weights of each query are shares: not negative, adding up to 1."""
    trial = trials["three axes"]
    if trial.problem():
        return trial.problem()
    weights = trial.reply.outputs[1]
    if (weights < 0).any():
        return Problem("", "Some weights are negative.")
    if adds_up_to_one(weights, -1):
        return None
    if adds_up_to_one(weights, -2):
        return Problem(softmax_over_queries.name, softmax_over_queries.seen)
    sums = weights.double().sum(-1).flatten()
    worst = float(sums[(sums - 1).abs().argmax()])
    return Problem("", f"The weights of one query add up to {worst:.6g}, not 1.")


def adds_up_to_one(weights: Tensor, axis: int) -> bool:
    """The sums over an axis are 1, up to what the dtype can hold."""
    sums = weights.double().sum(axis)
    return torch.allclose(sums, torch.ones_like(sums), atol=tolerance_of(weights))


def averages_equal_values(trials: Trials) -> Problem | None:
    """If all keys carry the same value, that value comes out."""
    trial = trials["equal values"]
    if trial.problem() or trial.right():
        return trial.problem()
    if close(trial.reply.outputs[0], trial.expected[0]):
        return None
    return Problem("", "All values are equal, and yet another vector comes out.")


def follows_order(output: int):
    """Tokens in another order give the same outputs in that order."""

    def test(trials: Trials) -> Problem | None:
        trial, moved = trials["three axes"], trials["another order"]
        if trial.problem() or moved.problem():
            return trial.problem() or moved.problem()
        before, after = trial.reply.outputs[output], moved.reply.outputs[output]
        if same_rows(before, after):
            return None
        return Problem("", "When the tokens change places, the outputs change values.")

    return test


def same_rows(before: Tensor, after: Tensor) -> bool:
    """Each row of one is a row of the other, image by image."""
    apart = (before.double()[:, :, None] - after.double()[:, None]).abs().amax(-1)
    limit = tolerance_of(before)
    return bool((apart.amin(-1) < limit).all() and (apart.amin(-2) < limit).all())


def spread_ignores_width(trials: Trials) -> Problem | None:
    """Scores of unit-variance queries and keys do not spread with √D_h, nor 1/√D_h."""
    spreads = []
    for name in ("width 16", "width 256"):
        if trials[name].problem():
            return trials[name].problem()
        weights = trials[name].reply.outputs[1].double()
        spreads.append(float(weights.clamp_min(1e-300).log().std(-1).mean()))
    if not 3 < max(spreads) / max(min(spreads), 1e-9) < 5.5:  # √D_h makes it √16
        return None
    narrow, wide = (f"{spread:.1f}" for spread in spreads)
    text = (
        f"With D_h = 16 the logarithms of the weights spread by {narrow}, with "
        f"D_h = 256 by {wide}, expected about 1 for both."
    )
    return Problem("", text)


def has_three_projections(trials: Trials) -> Problem | None:
    """Parameters of the expected names are there, none twice, and enough of them."""
    trial = trials["a narrow head"]
    if trial.reply.problem:
        return trial.problem()
    dim, head_dim = trial.question.arguments.values()
    wanted = [f"{name}.weight" for name in ("query", "key", "value")]
    missing = [name for name in wanted if name not in trial.reply.taken]
    shapes = trial.reply.parameters.values()
    learned = sum(math.prod(shape) for shape in shapes if len(shape) > 1)
    if not missing and learned >= 3 * dim * head_dim:
        return None
    names = {0: "no-projections", dim * head_dim: "one-projection"}
    twice = [pair for pair in trial.reply.shared if pair[0] in wanted]
    if learned not in names and twice:
        return one_for_two(*twice[0])
    text = f"Its weights have {learned} entries, expected 3 · {dim} · {head_dim}."
    if missing:
        text = (
            f"It has no {', '.join(missing)}. Expected are the parts `query`, "
            "`key` and `value`, or `qkv` for the three joined."
        )
    return Problem(names.get(learned, "missing-parameters"), text)


def one_for_two(first: str, second: str) -> Problem:
    """Two projections are one and the same."""
    if (first, second) == ("query.weight", "key.weight"):
        return Problem(QueryIsKey.name, QueryIsKey.seen)
    text = f"Its {first} and its {second} are one and the same parameter."
    return Problem("missing-parameters", text)


def separates_images(trials: Trials) -> Problem | None:
    """An image's output is the same alone and in a batch."""
    alone, together = trials["small numbers"], trials["two small images"]
    if alone.problem() or together.problem():
        return alone.problem() or together.problem()
    if close(together.reply.outputs[0][:1], alone.reply.outputs[0]):
        return None
    text = "An image gives other outputs in a batch of two than alone."
    return Problem(ImagesMixed.name, text)


INDEX = "Which index of each tensor is which: image, query, key or feature?"
SHARES = "How much attention does one query have to hand out in all?"
LARGE_SCORES = Property(
    "large scores stay finite",
    stays_finite("large scores"),
    "What does exp give for 600 in float32?",
)
ATTENTION_PROPERTIES = (
    REPEATS,
    Property(
        "output (..., N_q, D_v) and weights (..., N_q, N_k) come back",
        returns_right_shapes("three axes", "small numbers in a batch"),
        INDEX,
        core=True,
    ),
    Property("the weights of a query add up to 1", rows_sum_to_one, SHARES, core=True),
    Property(
        "equal values come out",
        averages_equal_values,
        "What is the average of equal values?",
        core=True,
    ),
    Property(
        "the order of tokens does not matter",
        follows_order(output=0),
        "Does anything in your code depend on where a token stands?",
        core=True,
    ),
    Property(
        "the spread of the scores does not depend on D_h",
        spread_ignores_width,
        "How does the spread of a sum depend on how many terms it has?",
        core=True,
    ),
    Property(
        "the numbers agree with the definition in float64",
        agrees("three axes", "equal counts", "equal values", "width 16", "width 256"),
        "Which step of the equation does something else in your code?",
        core=True,
    ),
    Property(
        "two, three or four axes work",
        agrees("two axes", "four axes"),
        "Which axes do you name, and from which end do you count?",
    ),
    LARGE_SCORES,
    *EDGES,
)
SELF_ATTENTION_PROPERTIES = (
    REPEATS,
    Property(
        "three projections are there",
        has_three_projections,
        "What is learned here, and how many of them?",
        core=True,
    ),
    Property(
        "output (B, N, D_h) comes back",
        returns_right_shapes("small numbers", "a narrow head", "a wide head"),
        INDEX,
        core=True,
    ),
    Property(
        "images do not influence one another",
        separates_images,
        "Which tokens may one token look at?",
        core=True,
    ),
    Property(
        "the numbers agree with the definition in float64",
        agrees("a narrow head", "another order", "a wide head", "one token"),
        "Which projection goes where, and what is divided by what?",
        core=True,
    ),
    LARGE_SCORES,
    *EDGES,
)

# The tasks.

BUILT_INS = ("scaled_dot_product", "multi_head_attention")
ATTENTION_FORM = Form(
    outputs=("output", "weights"), builtins=BUILT_INS, reference=(attention, exact)
)
SELF_ATTENTION_FORM = Form(
    outputs=("output",),
    is_class=True,
    fused=FUSED,
    builtins=BUILT_INS,
    reference=(SelfAttention,),
)
WRITE_ATTENTION = Implement(
    form=ATTENTION_FORM,
    ask_about=attention_questions,
    oracle=attention_oracle,
    properties=ATTENTION_PROPERTIES,
    bank=ATTENTION,
    show=Show(
        questions=(
            "small numbers",
            "small numbers in a batch",
            "small numbers, four axes",
            "large scores",
        ),
        inputs=("q", "k", "v"),
        order={"weights": 1, "output": 0},
        axes={"weights": ("query", "key"), "output": ("query", "feature")},
    ),
    again="Code",
)
WRITE_SELF_ATTENTION = Implement(
    form=SELF_ATTENTION_FORM,
    ask_about=self_attention_questions,
    oracle=self_attention_oracle,
    properties=SELF_ATTENTION_PROPERTIES,
    bank=(*SELF_ATTENTION, *map(inside, INSIDE)),
    show=Show(
        questions=("small numbers", "two small images", "large scores"),
        inputs=("x",),
        order={"output": 0},
        axes={"output": ("token", "feature")},
    ),
    again="Code",
)

# One query, two keys, D_h = 4: the second score is 2 ln 3, so that exp gives 3.
LN_3 = 1.0986
ONE_QUERY = (
    small([1, 1, 0, 0]),
    small([0, 0, 0, 0], [LN_3, LN_3, 0, 0]),
    small([4], [8]),
)


def numbers_of(attention) -> tuple[float, ...]:
    """The two weights and the output of the query, as a student writes them."""
    output, weights = attention(*ONE_QUERY)
    return (*weights.flatten().tolist(), *output.flatten().tolist())


PREDICT_ONE_QUERY = PredictNumbers(
    right=numbers_of(exact),
    names=("The weight of key 0", "The weight of key 1", "The output"),
    wrong=tuple(
        (numbers_of(m.wrong), m)
        for m in (
            replace(
                no_scale,
                seen="Here the products themselves are the scores.",
                ask="What stands between the product and the exponential?",
            ),
            replace(divided_by_width, seen="Here the products are divided by 4."),
            replace(
                multiplied_by_root,
                seen="Here the products are multiplied by 2.",
                ask="Does the scale make the products larger, or smaller?",
            ),
            divided_by_key_count,
            scaled_after_softmax,
            softmax_over_queries,
            exponential_not_normalised,
            replace(
                normalised_without_exponential,
                seen="Here the weights are the scores, divided by their sum.",
                ask="Can a weight from softmax be exactly 0?",
            ),
            no_softmax,
        )
    ),
    ask="In which order come product, scale, exponential, share and average?",
    again="The equation",
)
PREDICT_ENTROPY = Choose(
    right="B",
    because="The products spread by √D_h, and softmax picks the largest: from 3.8 nats "
    "of at most ln 197 = 5.28 down to about 0.15.",
    wrong={
        "A": Wrong(
            "softmax-spreads-evenly",
            "Only equal scores give ln 197 = 5.28 nats. These scores differ.",
            "How far apart are two products of 1024 random terms each?",
        ),
        "C": Wrong(
            "width-flattens-softmax",
            "The entropy would rise if the scores came closer together with D_h.",
            "Does a sum of more random terms spread more, or less?",
        ),
        "D": Wrong(
            "scale-taken-for-granted",
            "That is what happens with the scale. Here nothing is divided by √D_h.",
            "What does the scale undo?",
        ),
    },
    again="Break it",
)
TEST_THE_AXIS = BreakIt(
    right=(attention, exact),
    wrong=(softmax_over_queries, softmax_over_batch),
    ask="What is true of the weights of one query, and false on the wrong axis?",
    again="Break it",
)

TASKS = {
    "one_query": PREDICT_ONE_QUERY,
    "attention": WRITE_ATTENTION,
    "entropy": PREDICT_ENTROPY,
    "SelfAttention": WRITE_SELF_ATTENTION,
    "wrong_axis": TEST_THE_AXIS,
    "find_the_bug": replace(WRITE_ATTENTION, bug=divided_by_key_count, again="Check"),
}
