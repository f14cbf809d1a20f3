"""Multi-head self-attention: what people get wrong, what must hold, and the tasks."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vit_encoder.arguments import require_divides, require_tokens
from vit_encoder.check import self_attention
from vit_encoder.check.adapter import Form, Problem, Question, Reply
from vit_encoder.check.judge import (
    Property,
    Show,
    Trials,
    agrees,
    refuses,
    returns_right_shapes,
)
from vit_encoder.check.misconceptions import Misconception, against
from vit_encoder.check.oracle import (
    Get,
    attention_parameters,
    multi_head,
    oracle_of,
)
from vit_encoder.check.properties import EDGES, REPEATS
from vit_encoder.check.questions import FUSED, Normal, batch, double, finish, small
from vit_encoder.check.self_attention import (
    LARGE_SCORES,
    same_rows,
    separates_images,
)
from vit_encoder.check.tasks import BreakIt, Choose, Implement, PredictNumbers, Wrong
from vit_encoder.multi_head import MultiHeadSelfAttention, merge_heads, split_heads
from vit_encoder.self_attention import attention

GITHUB = "https://github.com/"
OURS = "constructed for this course"

# Misconceptions of split_heads. Each is the course's version with one visible change.

wrong_split = against(split_heads)


@wrong_split(
    seen="The shape is right, but row n of a head is no longer token n: the numbers "
    "keep their order, and only the boxes around them have changed.",
    ask="A view renames boxes; it never moves a number. Where does token 0 end up?",
    source=GITHUB + "hyunwoongko/transformer/issues/15",
)
def split_by_reshape(x, num_heads):
    require_divides(num_heads, x.shape[-1], "num_heads", "the width")
    return x.reshape(len(x), num_heads, x.shape[1], -1)


@wrong_split(
    seen="Head 0 gets features 0, h, 2h and so on, not the first D_h of them.",
    ask="Which of the two new axes counts the heads, the slow one or the fast one?",
    source=OURS,
)
def every_hth_feature(x, num_heads):
    require_divides(num_heads, x.shape[-1], "num_heads", "the width")
    return x.unflatten(-1, (-1, num_heads)).permute(0, 3, 1, 2)


@wrong_split(
    seen="Images and heads share one axis, and the numbers have kept their order: a "
    "head gets pieces of a few tokens, not a piece of each.",
    ask="Which of the four axes must change places before any two can be joined?",
    source=GITHUB + "reczoo/FuxiCTR/issues/30",
)
def joined_by_reshape(x, num_heads):
    require_divides(num_heads, x.shape[-1], "num_heads", "the width")
    return x.reshape(len(x) * num_heads, x.shape[1], -1)


@wrong_split(
    seen="Images and heads share one axis: three axes come back, expected four.",
    ask="How does the next step know which rows belong to one image?",
    source=OURS,
)
def images_and_heads_joined(x, num_heads):
    require_divides(num_heads, x.shape[-1], "num_heads", "the width")
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2).flatten(0, 1)


@wrong_split(
    seen="The heads stand behind the tokens: (B, N, h, D_h).",
    ask="Attention compares along the last axis but one. What would it compare here?",
    source=OURS,
)
def heads_behind_tokens(x, num_heads):
    require_divides(num_heads, x.shape[-1], "num_heads", "the width")
    return x.unflatten(-1, (num_heads, -1))


@wrong_split(
    seen="The heads stand before the images: (h, B, N, D_h).",
    ask="Which axis comes first in every tensor of this course?",
    source=OURS,
)
def heads_before_images(x, num_heads):
    require_divides(num_heads, x.shape[-1], "num_heads", "the width")
    return x.unflatten(-1, (num_heads, -1)).permute(2, 0, 1, 3)


@wrong_split(
    seen="Features and tokens have changed places: (B, h, D_h, N).",
    ask="What should one row be: a token, or a feature?",
    source=OURS,
)
def features_before_tokens(x, num_heads):
    require_divides(num_heads, x.shape[-1], "num_heads", "the width")
    return x.unflatten(-1, (num_heads, -1)).permute(0, 2, 3, 1)


@wrong_split(
    seen="If the heads do not divide the width, the last features are dropped.",
    ask="Where did the remainder go?",
    source=GITHUB + "yandexdataschool/nlp_course/pull/131",
)
def remainder_dropped(x, num_heads):
    x = x[..., : x.shape[-1] // num_heads * num_heads]
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


SPLIT = (
    split_by_reshape,
    every_hth_feature,
    joined_by_reshape,
    images_and_heads_joined,
    heads_behind_tokens,
    heads_before_images,
    features_before_tokens,
    remainder_dropped,
)

# Misconceptions of merge_heads.

wrong_merge = against(merge_heads)


@wrong_merge(
    seen="The shape is right, but a token gets what one head made of several tokens.",
    ask="Where do head 1's features of token 0 lie in memory after attention?",
    source=GITHUB + "jsbaan/transformer-from-scratch/pull/6",
)
def merge_by_reshape(x):
    return x.reshape(len(x), x.shape[2], -1)


@wrong_merge(
    seen="The features of all heads alternate instead of standing head after head.",
    ask="Which features does the output projection expect first: all of head 0?",
    source=OURS,
)
def heads_alternate(x):
    return x.permute(0, 2, 3, 1).flatten(2)


@wrong_merge(
    seen="The heads stand one below the other: h · N rows come back, expected N.",
    ask="How many tokens go in, and how many should come out?",
    source=OURS,
)
def heads_below_one_another(x):
    return x.flatten(1, 2)


@wrong_merge(
    seen="The heads have moved behind the tokens, but still have an axis of their own.",
    ask="Which two axes together are the width of a token?",
    source=OURS,
)
def heads_not_joined(x):
    return x.transpose(1, 2)


@wrong_merge(
    seen="The heads are averaged: what each of them found can no longer be told apart.",
    ask="How wide is a token when the heads stand side by side?",
    source=OURS,
)
def heads_averaged(x):
    return x.mean(1)


@wrong_merge(
    seen="The heads are added up: what each of them found can no longer be told apart.",
    ask="How wide is a token when the heads stand side by side?",
    source=OURS,
)
def heads_added(x):
    return x.sum(1)


MERGE = (
    merge_by_reshape,
    heads_alternate,
    heads_below_one_another,
    heads_not_joined,
    heads_averaged,
    heads_added,
)

# Misconceptions of MultiHeadSelfAttention, written against the course's class.

wrong_layer = against(MultiHeadSelfAttention)


@wrong_layer(
    seen="The scale is made from the width of the token, D, not from that of a head, "
    "so the scores are too small by √h.",
    ask="Count the products that were added up for one score: D or D_h?",
    source=GITHUB + "lucidrains/vit-pytorch/issues/65",
)
class ScaledByDim(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        scores = q @ k.transpose(-2, -1) / math.sqrt(x.shape[-1])
        output = scores.softmax(dim=-1) @ v
        return self.proj(merge_heads(output))


@wrong_layer(
    seen="The output projection is never applied: no feature of the output depends "
    "on more than one head.",
    ask="Who reads all heads at once?",
    source=GITHUB + "Kyubyong/transformer/pull/17",
)
class NoOutputProjection(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        output, _ = attention(q, k, v)
        return merge_heads(output)


@wrong_layer(
    seen="The token is cut into h slices, and each head projects its own slice. A head "
    "is blind to all other features.",
    ask="What is cut into heads: the token, or what is made from it?",
    source=GITHUB + "aladdinpersson/Machine-Learning-Collection/issues/3",
)
class TokenSliced(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim // num_heads, 3 * dim // num_heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        require_tokens(x, self.num_heads * self.qkv.in_features)
        slices = split_heads(x, self.num_heads)
        q, k, v = self.qkv(slices).chunk(3, dim=-1)
        output, _ = attention(q, k, v)
        return self.proj(merge_heads(output))


@wrong_layer(
    seen="`qkv` is read head by head, each with its query, key and value. Weights that "
    "were trained for the other order do not fit.",
    ask="If `qkv` stacks all queries, all keys, all values, where does head 1 begin?",
    source="tutorial 6 of phlippe/uvadlc_notebooks, which reads it so on purpose",
)
class QkvReadByHead(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = split_heads(self.qkv(x), self.num_heads).chunk(3, dim=-1)
        output, _ = attention(q, k, v)
        return self.proj(merge_heads(output))


@wrong_layer(
    seen="All heads share the projections of one head, so they all do the same.",
    ask="If all heads agree, how many do you have?",
    source=OURS,
)
class OneHeadRepeated(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim // num_heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).unsqueeze(1).chunk(3, dim=-1)
        output, _ = attention(q, k, v)
        return self.proj(merge_heads(output.expand(-1, self.num_heads, -1, -1)))


@wrong_layer(
    seen="Each head is as wide as the token, so the layer has about h times as many "
    "parameters.",
    ask="If h heads stand side by side, how wide may each be?",
    source=OURS,
)
class HeadsOfFullWidth(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim * num_heads)
        self.proj = nn.Linear(dim * num_heads, dim)

    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        output, _ = attention(q, k, v)
        return self.proj(merge_heads(output))


@wrong_layer(
    seen="The outputs of the heads are averaged, not put side by side.",
    ask="After an average, can the output projection tell the heads apart?",
    source=OURS,
)
class HeadsAveraged(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim // num_heads, dim)

    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        output, _ = attention(q, k, v)
        return self.proj(output.mean(1))


# Written out, as an exercise shows it where the functions may not be written yet.
@wrong_layer(
    seen="The scale is made from the number of heads, not from the width of a head.",
    ask="Which of the two is the length of a query?",
    source=GITHUB + "tenstorrent/tt-metal/pull/56789",
)
class ScaledByHeads(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).unbind(2)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        scores = q @ k.transpose(-2, -1) / math.sqrt(self.num_heads)
        output = scores.softmax(dim=-1) @ v
        return self.proj(output.transpose(1, 2).flatten(2))


# Those that change `forward` alone.


@wrong_layer(
    seen="The heads of one token attend to one another; no token sees another token.",
    ask="Which axis stands last but one when attention is called?",
    source=OURS,
)
class HeadsAttendToHeads(MultiHeadSelfAttention):
    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (t.unflatten(-1, (self.num_heads, -1)) for t in (q, k, v))
        output, _ = attention(q, k, v)
        return self.proj(output.flatten(2))


@wrong_layer(
    seen="The images attend to one another; the tokens of an image do not.",
    ask="Which axis does your attention take for the tokens?",
    source=GITHUB + "dhimasryan/MOSA-Net-Cross-Domain/issues/10",
)
class BatchTakenForTokens(MultiHeadSelfAttention):
    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x.transpose(0, 1)).chunk(3, dim=-1)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        output, _ = attention(q, k, v)
        return self.proj(merge_heads(output)).transpose(0, 1)


@wrong_layer(
    seen="The joined axis is made with the heads outside and read with the images "
    "outside, so an image gets heads of other images.",
    ask="Does your joined axis count heads or images faster?",
    source=GITHUB + "lsdefine/attention-is-all-you-need-keras/issues/36",
)
class HeadsAndImagesMixed(MultiHeadSelfAttention):
    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        output, _ = attention(q, k, v)
        output = output.transpose(0, 1).reshape(output.shape)
        return self.proj(merge_heads(output))


@wrong_layer(
    seen="The weights are averaged over the heads, and all heads use the average.",
    ask="What can two heads do that one cannot, if their weights are equal?",
    source=OURS,
)
class WeightsAveraged(MultiHeadSelfAttention):
    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        _, weights = attention(q, k, v)
        return self.proj(merge_heads(weights.mean(1, keepdim=True) @ v))


@wrong_layer(
    seen="An activation cuts off what is negative in queries, keys and values.",
    ask="How many steps of the equation are not linear?",
    source=GITHUB + "Kyubyong/transformer/issues/49",
)
class ActivationInProjections(MultiHeadSelfAttention):
    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).relu().chunk(3, dim=-1)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        output, _ = attention(q, k, v)
        return self.proj(merge_heads(output))


@wrong_layer(
    seen="An activation behind the output projection cuts off what is negative.",
    ask="How many steps of the equation are not linear?",
    source=GITHUB + "Kyubyong/transformer/pull/17",
)
class ActivationAtTheEnd(MultiHeadSelfAttention):
    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        output, _ = attention(q, k, v)
        return self.proj(merge_heads(output)).relu()


@wrong_layer(
    seen="The tokens themselves are added to the output.",
    ask="Is the skip connection a part of attention, or of what stands around it?",
    source=OURS,
)
class TokensAdded(MultiHeadSelfAttention):
    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        output, _ = attention(q, k, v)
        return x + self.proj(merge_heads(output))


@wrong_layer(
    seen="It returns a tuple (output, weights), expected the output alone.",
    ask="What does the next layer take?",
    source=OURS,
)
class PairReturned(MultiHeadSelfAttention):
    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        output, weights = attention(q, k, v)
        return self.proj(merge_heads(output)), weights


@wrong_layer(
    seen="The input itself is split into heads and serves as queries, keys and values.",
    ask="What is cut into heads: the token, or what is made from it?",
    source="https://stats.stackexchange.com/questions/612334",
)
class NoProjections(MultiHeadSelfAttention):
    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        x = split_heads(x, self.num_heads)
        output, _ = attention(x, x, x)
        return self.proj(merge_heads(output))


@wrong_layer(
    seen="Every third entry of `qkv` is read as a query, not the first D of them.",
    ask="If `qkv` stacks queries, keys and values, where in it do the keys begin?",
    source=OURS,
)
class QkvInterleaved(MultiHeadSelfAttention):
    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).unflatten(-1, (-1, 3)).unbind(-1)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        output, _ = attention(q, k, v)
        return self.proj(merge_heads(output))


@wrong_layer(
    seen="`qkv` is cut into queries, keys and values by a bare reshape, so they hold "
    "pieces of one another, and of other images.",
    ask="Along which axis of `qkv` do queries, keys and values stand side by side?",
    source=OURS,
)
class QkvByReshape(MultiHeadSelfAttention):
    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).reshape(3, *x.shape)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        output, _ = attention(q, k, v)
        return self.proj(merge_heads(output))


@wrong_layer(
    seen="`qkv` is reshaped to (3, B, h, N, D_h) in one step. No number moves, so "
    "queries, keys and values hold pieces of one another, and of other images.",
    ask="In which order do the axes of `qkv` count, before anything moves?",
    source=OURS,
)
class AllByReshape(MultiHeadSelfAttention):
    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        images, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(3, images, self.num_heads, tokens, -1)
        output, _ = attention(q, k, v)
        return self.proj(merge_heads(output))


def layer_of(
    split: Callable = split_heads,
    attend: Callable = attention,
    merge: Callable = merge_heads,
) -> type[nn.Module]:
    """The layer made of these parts."""

    class Wrong(MultiHeadSelfAttention):
        def forward(self, x):
            require_tokens(x, self.qkv.in_features)
            q, k, v = (split(t, self.num_heads) for t in self.qkv(x).chunk(3, dim=-1))
            output, _ = attend(q, k, v)
            return self.proj(merge(output))

    return Wrong


def inside(misconception: Misconception) -> Misconception:
    """A misconception of a function as it shows in the module that calls it."""
    place = {"split_heads": "split", "attention": "attend", "merge_heads": "merge"}
    part = {place[misconception.right.__name__]: misconception.wrong}
    return replace(misconception, wrong=layer_of(**part), right=MultiHeadSelfAttention)


def confused(
    misconception: Misconception, choose: Callable[..., tuple[Tensor, Tensor, Tensor]]
) -> Misconception:
    """A misconception of SelfAttention: which projection serves for what.

    choose: queries, keys, values → what attention is called with.
    """
    part = layer_of(attend=lambda *qkv: attention(*choose(*qkv)))
    return replace(misconception, wrong=part, right=MultiHeadSelfAttention)


CONFUSED = (
    confused(self_attention.QueryAndKeySwapped, lambda q, k, v: (k, q, v)),
    confused(self_attention.KeyAndValueSwapped, lambda q, k, v: (q, v, k)),
    confused(self_attention.OneProjection, lambda q, k, v: (q, q, q)),
    confused(self_attention.QueryIsKey, lambda q, k, v: (q, q, v)),
    confused(self_attention.ValueIsQuery, lambda q, k, v: (q, k, q)),
)
BOTH_BY_RESHAPE = Misconception(
    "split-and-merge-by-reshape",
    layer_of(split=split_by_reshape.wrong, merge=merge_by_reshape.wrong),
    "Split and merge undo each other, but neither moves a number: a head compares "
    "pieces of a few tokens.",
    "merge(split(x)) is x. Does this say that a row of a head is a token?",
    GITHUB + "harvardnlp/annotated-transformer/issues/17",
    MultiHeadSelfAttention,
)
HEADS_INTERLEAVED = Misconception(
    "heads-interleaved",
    layer_of(split=every_hth_feature.wrong, merge=heads_alternate.wrong),
    "Split and merge undo each other, but head i gets every h-th feature, not the "
    "D_h that stand together.",
    "Which of the two new axes counts the heads, the slow one or the fast one?",
    OURS,
    MultiHeadSelfAttention,
)
softmax_over_heads = replace(
    self_attention.softmax_over_axis_1,
    name="softmax-over-heads",
    seen="Softmax runs over the heads: for each query and key they share out 100 %.",
)
INSIDE = (
    split_by_reshape,
    every_hth_feature,
    merge_by_reshape,
    heads_alternate,
    self_attention.no_scale,
    self_attention.softmax_over_queries,
    softmax_over_heads,
    replace(
        self_attention.softmax_over_batch,
        seen="Softmax runs over the images of the batch.",
    ),
    self_attention.softmax_over_everything,
    self_attention.divided_by_width,
    self_attention.multiplied_by_root,
    self_attention.divided_by_key_count,
    self_attention.scaled_after_softmax,
    self_attention.weights_transposed,
    self_attention.keys_averaged,
    self_attention.softmax_overflows,
    self_attention.exponential_not_normalised,
    self_attention.normalised_without_exponential,
    self_attention.no_softmax,
    self_attention.causal_mask,
)
LAYER = (
    ScaledByDim,
    ScaledByHeads,
    NoOutputProjection,
    TokenSliced,
    QkvReadByHead,
    QkvInterleaved,
    QkvByReshape,
    AllByReshape,
    OneHeadRepeated,
    HeadsOfFullWidth,
    HeadsAveraged,
    WeightsAveraged,
    HeadsAttendToHeads,
    BatchTakenForTokens,
    HeadsAndImagesMixed,
    ActivationInProjections,
    ActivationAtTheEnd,
    TokensAdded,
    PairReturned,
    NoProjections,
    BOTH_BY_RESHAPE,
    HEADS_INTERLEAVED,
    *CONFUSED,
    *map(inside, INSIDE),
)
MISCONCEPTIONS = {
    "split_heads": SPLIT,
    "merge_heads": MERGE,
    "MultiHeadSelfAttention": LAYER,
}

# The oracles.


def split_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """Equal parts of the last axis, stacked as heads."""
    x, num_heads = double(question.inputs[0]), question.inputs[1]
    return finish(question, {"input 0": x}, (torch.stack(x.chunk(num_heads, -1), 1),))


def merge_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """The heads side by side."""
    x = double(question.inputs[0])
    return finish(question, {"input 0": x}, (torch.cat(x.unbind(1), -1),))


def layer(x: Tensor, get: Get, dim: int, num_heads: int) -> Tensor:
    """MultiHeadSelfAttention."""
    return multi_head(x, get, num_heads)


# The questions. All sizes differ; where two are equal, a wrong version must fail by its
# numbers, not by its shapes.

# The number 12 is feature 2 of token 1.
NUMBERED = small([0, 1, 2, 3], [10, 11, 12, 13], [20, 21, 22, 23])
# The same, with a hundred for head 1.
NUMBERED_HEADS = torch.stack([NUMBERED[:, :2], 100 + NUMBERED[:, :2]])


def split_questions(seed: int) -> list[Question]:
    """Small numbered tokens for messages, random ones for the verdict."""
    normal = Normal(seed)
    x = normal(2, 5, 12)
    return [
        Question("small numbers", (NUMBERED[None], 2)),
        Question("three heads", (x, 3)),
        Question("six heads", (x, 6)),
        Question("as many heads as tokens", (normal(2, 3, 12), 3)),
        Question("heads as wide as there are tokens", (normal(2, 4, 12), 3)),
        Question("one head", (normal(2, 5, 7), 1)),
        Question("heads of width 1", (normal(2, 5, 3), 3)),
        Question("float32", (x.float(), 3)),
        Question("float32 again", (x.float(), 3)),
        Question("gradients", (x, 3), cotangent=normal(2, 3, 5, 4)),
        Question("another device", (x, 3), device="meta"),
        Question("five heads", (x, 5), refused=True),
        Question("more heads than features", (x, 24), refused=True),
    ]


def merge_questions(seed: int) -> list[Question]:
    """Small numbered heads for messages, random ones for the verdict."""
    normal = Normal(seed)
    x = normal(2, 3, 5, 4)
    return [
        Question("small numbers", (NUMBERED_HEADS[None],)),
        Question("three heads", (x,)),
        Question("as many heads as tokens", (normal(2, 3, 3, 4),)),
        Question("heads as wide as there are tokens", (normal(2, 3, 4, 4),)),
        Question("one head", (normal(2, 1, 5, 7),)),
        Question("heads of width 1", (normal(2, 3, 5, 1),)),
        Question("float32", (x.float(),)),
        Question("float32 again", (x.float(),)),
        Question("gradients", (x,), cotangent=normal(2, 5, 12)),
        Question("another device", (x,), device="meta"),
    ]


def layer_questions(seed: int) -> list[Question]:
    """As for the functions, with parameters for the four projections."""
    normal = Normal(seed)
    x, order = normal(2, 5, 12), normal.order(5)
    tiny = asked(4, 2, SMALL_PARAMETERS)
    four = asked(12, 4, attention_parameters(normal, 12))
    two = asked(10, 2, attention_parameters(normal, 10))
    one = asked(7, 1, attention_parameters(normal, 7))
    narrow = asked(3, 3, attention_parameters(normal, 3))
    refused = {"refused": True}
    return [
        # The first tells most wrong versions apart.
        Question("four heads", (x,), **four),
        Question("small numbers", (SMALL_X,), **tiny),
        Question("two small images", (batch(SMALL_X[0]),), **tiny),
        Question("one head, small", (SMALL_X,), **asked(4, 1, SMALL_PARAMETERS)),
        Question("another order", (x[:, order],), **four),
        Question("as many heads as tokens", (normal(2, 4, 12),), **four),
        Question("two heads", (normal(3, 4, 10),), **two),
        Question("one token", (normal(3, 1, 10),), **two),
        Question("one head", (normal(2, 3, 7),), **one),
        Question("heads of width 1", (normal(2, 5, 3),), **narrow),
        Question("float32", (x.float(),), **four),
        Question("float32 again", (x.float(),), **four),
        Question("large scores", (100 * SMALL_X.float(),), **tiny),
        Question("gradients", (x,), **four, cotangent=normal(2, 5, 12)),
        Question("another device", (x,), **four, device="meta"),
        Question("five heads", (x,), **asked(12, 5, {}), **refused),
        Question("more heads than features", (x,), **asked(12, 24, {}), **refused),
    ]


def asked(dim: int, num_heads: int, parameters: dict[str, Tensor]) -> dict:
    """What the layer is built with, and its parameters."""
    return {
        "arguments": {"dim": dim, "num_heads": num_heads},
        "parameters": parameters,
    }


SMALL_X = small([1, 0, 2, -1], [0, 1, 1, 0], [-1, 2, 0, 1])[None]
SMALL_PARAMETERS = {
    "query.weight": small([1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 1, 0]),
    "query.bias": small([0, 0, 0, 1])[0],
    "key.weight": small([0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]),
    "key.bias": small([0, 0, 0, 0])[0],
    "value.weight": small([1, 0, 1, 0], [0, 1, 0, 0], [2, 0, 0, 1], [0, 0, 1, 0]),
    "value.bias": small([0, 1, 0, 0])[0],
    "proj.weight": small([1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 1, 0, 2]),
    "proj.bias": small([0, 0, 1, 0])[0],
}

# The properties that are multi-head self-attention's own.


def rows_are_tokens(trials: Trials) -> Problem | None:
    """Row n of each head holds numbers of token n alone."""
    trial = trials["three heads"]
    if trial.problem() or trial.right():
        return trial.problem()
    x, _ = trial.question.inputs  # (B, N, D)
    for n, rows in enumerate(trial.reply.outputs[0].unbind(2)):  # each (B, h, D_h)
        if not all(map(within, rows, x[:, n])):
            text = f"Row {n} of the heads holds numbers that are not from token {n}."
            return Problem("", text)
    return None


def tokens_are_rows(trials: Trials) -> Problem | None:
    """Token n holds numbers of row n of each head alone."""
    trial = trials["three heads"]
    if trial.problem() or trial.right():
        return trial.problem()
    (x,) = trial.question.inputs  # (B, h, N, D_h)
    for n, tokens in enumerate(trial.reply.outputs[0].unbind(1)):  # each (B, D)
        if not all(map(within, tokens, x[:, :, n])):
            text = f"Token {n} holds numbers that are not from row {n} of the heads."
            return Problem("", text)
    return None


def within(numbers: Tensor, others: Tensor) -> bool:
    """Each number is one of the others, up to rounding."""
    apart = numbers.double().flatten()[:, None] - others.double().flatten()
    return bool((apart.abs().amin(-1) < 1e-4).all())


# The entries of all matrices of a layer, of D = 12 and 4 heads → what they betray.
D, D_H = 12, 3
ENTRIES = {
    0: NoProjections,
    D * D: NoProjections,
    2 * D * D: self_attention.OneProjection,
    3 * D * D: NoOutputProjection,
    3 * D * D_H: OneHeadRepeated,
    3 * D * D_H + D * D: OneHeadRepeated,
    3 * D * D + D_H * D: HeadsAveraged,
    16 * D * D: HeadsOfFullWidth,
}


def has_projections(trials: Trials) -> Problem | None:
    """Queries, keys, values and the output have a projection each, of all features."""
    trial = trials["four heads"]
    reply = trial.reply
    if not reply.parameters and reply.problem:
        return trial.problem()
    missing = [n for n in ("query", "key", "value", "proj") if no_matrix(reply, n)]
    if not missing:
        return shared_or_none(reply)
    matrices = [shape for shape in reply.parameters.values() if len(shape) > 1]
    betrayed = ENTRIES.get(sum(map(math.prod, matrices)))
    if any(max(shape) < D for shape in matrices):
        betrayed = TokenSliced
    if betrayed:
        return Problem(betrayed.name, betrayed.seen)
    if reply.problem:
        return trial.problem()
    has = ", ".join(list(reply.parameters)[:8])
    text = (
        f"It has no {', '.join(missing)}. Expected are the parts `query`, `key` "
        f"and `value`, or `qkv` for the three joined, and `proj`. It has: {has}."
    )
    return Problem("missing-parameters", text)


def shared_or_none(reply: Reply) -> Problem | None:
    """Two projections that are one and the same."""
    shared = [pair for pair in reply.shared if pair[0].endswith("weight")]
    if not shared:
        return None
    if len(shared) == 3:
        same = self_attention.OneProjection
        return Problem(same.name, same.seen)
    if shared[0] == ("query.weight", "key.weight"):
        return Problem(self_attention.QueryIsKey.name, self_attention.QueryIsKey.seen)
    text = f"Its {shared[0][0]} and its {shared[0][1]} are one and the same parameter."
    return Problem("shared-parameters", text)


def no_matrix(reply: Reply, name: str) -> bool:
    """The answer holds no matrix under this name."""
    return f"{name}.weight" not in reply.taken


def follows_order(trials: Trials) -> Problem | None:
    """Tokens in another order give the same outputs in that order."""
    trial, moved = trials["four heads"], trials["another order"]
    if trial.problem() or moved.problem():
        return trial.problem() or moved.problem()
    if same_rows(trial.reply.outputs[0], moved.reply.outputs[0]):
        return None
    return Problem("", "When the tokens change places, the outputs change values.")


AXES = "Which axis of each tensor is which: image, head, token or feature?"
REFUSES = Property(
    "heads that do not divide the width are refused",
    refuses(remainder_dropped.name, "five heads", "more heads than features"),
    remainder_dropped.ask,
)
EQUAL_SIZES = ("as many heads as tokens", "heads as wide as there are tokens")
EXTREMES = ("one head", "heads of width 1")
SPLIT_PROPERTIES = (
    REPEATS,
    Property(
        "heads (B, h, N, D_h) come back",
        returns_right_shapes("small numbers", "three heads"),
        AXES,
        core=True,
    ),
    Property(
        "row n of a head is made from token n",
        rows_are_tokens,
        "Follow the numbers of token 0. In which rows do they end up?",
        core=True,
    ),
    Property(
        "the numbers agree with the definition",
        agrees("small numbers", "three heads", "six heads", *EQUAL_SIZES),
        "Which features does head 0 get, and in which order?",
        core=True,
    ),
    Property(
        "one head, and heads of width 1, work",
        agrees(*EXTREMES),
        "Does an axis of length 1 vanish on the way?",
    ),
    REFUSES,
    *EDGES,
)
MERGE_PROPERTIES = (
    REPEATS,
    Property(
        "tokens (B, N, D) come back",
        returns_right_shapes("small numbers", "three heads"),
        AXES,
        core=True,
    ),
    Property(
        "token n is made from row n of each head",
        tokens_are_rows,
        "Follow the numbers of token 0. Which rows of the heads hold them?",
        core=True,
    ),
    Property(
        "the numbers agree with the definition",
        agrees("small numbers", "three heads", *EQUAL_SIZES),
        "Which head's features come first in a token?",
        core=True,
    ),
    Property(
        "one head, and heads of width 1, work",
        agrees(*EXTREMES),
        "Does an axis of length 1 vanish on the way?",
    ),
    *EDGES,
)
LAYER_PROPERTIES = (
    REPEATS,
    Property(
        "projections of queries, keys, values and of the output are there",
        has_projections,
        "What is learned here, and how wide is each part?",
        core=True,
    ),
    Property(
        "output (B, N, D) comes back",
        returns_right_shapes("small numbers", "four heads", "two heads"),
        AXES,
        core=True,
    ),
    Property(
        "images do not influence one another",
        separates_images,
        "Which tokens may one token look at?",
        core=True,
    ),
    Property(
        "the order of tokens does not matter",
        follows_order,
        "Follow the numbers of token 0. In which rows do they end up?",
        core=True,
    ),
    Property(
        "one head agrees with the definition in float64",
        agrees("one head"),
        "With one head there is nothing to split. Which other step differs?",
        core=True,
    ),
    Property(
        "several heads agree with the definition in float64",
        agrees("four heads", "as many heads as tokens", "two heads", "one token"),
        "With one head all is right. Which step depends on how many there are?",
        core=True,
    ),
    Property(
        "heads of width 1 work",
        agrees("heads of width 1"),
        "Does an axis of length 1 vanish on the way?",
    ),
    REFUSES,
    LARGE_SCORES,
    *EDGES,
)

# The tasks.

WRITE_SPLIT = Implement(
    form=Form(outputs=("heads",), reference=(split_heads,)),
    ask_about=split_questions,
    oracle=split_oracle,
    properties=SPLIT_PROPERTIES,
    bank=SPLIT,
    show=Show(
        questions=("small numbers",),
        inputs=("x", "num_heads"),
        order={"heads": 0},
        axes={"heads": ("token", "feature")},
    ),
    again="Code",
)
WRITE_MERGE = Implement(
    form=Form(outputs=("tokens",), reference=(merge_heads,)),
    ask_about=merge_questions,
    oracle=merge_oracle,
    properties=MERGE_PROPERTIES,
    bank=MERGE,
    show=Show(
        questions=("small numbers",),
        inputs=("x",),
        order={"tokens": 0},
        axes={"tokens": ("token", "feature")},
    ),
    again="Code",
)
WRITE_LAYER = Implement(
    form=Form(
        outputs=("output",),
        is_class=True,
        fused=FUSED,
        builtins=("multi_head_attention",),
        reference=(MultiHeadSelfAttention, multi_head),
    ),
    ask_about=layer_questions,
    oracle=oracle_of(layer),
    properties=LAYER_PROPERTIES,
    bank=LAYER,
    show=Show(
        questions=(
            "small numbers",
            "two small images",
            "one head, small",
            "large scores",
        ),
        inputs=("x",),
        order={"output": 0},
        axes={"output": ("token", "feature")},
    ),
    again="Code",
)


def costs_of(
    part: Callable, products: tuple[int, int] = (400, 400), weights=(25, 200)
) -> tuple[float, ...]:
    """What a layer of width 16 costs with 1 and with 8 heads, for 5 tokens.

    products: of numbers, to make all scores. weights: of all heads.
    """
    layers = (part(16, h) for h in (1, 8))
    parameters = (sum(p.numel() for p in layer.parameters()) for layer in layers)
    return (*parameters, *products, *weights)


MORE_COST_MORE = Wrong(
    "more-heads-cost-more",
    "Here eight heads cost more parameters or products than one. They would if each "
    "were as wide as the token.",
    "How wide is one of eight heads, and how wide are all together?",
)
PREDICT_COSTS = PredictNumbers(
    right=costs_of(MultiHeadSelfAttention),
    names=(
        "The number of parameters with 1 head",
        "The number of parameters with 8 heads",
        "The number of products with 1 head",
        "The number of products with 8 heads",
        "The number of weights with 1 head",
        "The number of weights with 8 heads",
    ),
    wrong=(
        (costs_of(HeadsOfFullWidth.wrong, (400, 3200)), MORE_COST_MORE),
        (costs_of(MultiHeadSelfAttention, (400, 3200)), MORE_COST_MORE),
        ((1088, 8 * 1088, 400, 3200, 25, 200), MORE_COST_MORE),
        (
            costs_of(TokenSliced.wrong),
            Wrong(
                TokenSliced.name,
                "Here each head projects a slice of the token, with small matrices.",
                TokenSliced.ask,
            ),
        ),
        (
            costs_of(OneHeadRepeated.wrong),
            Wrong(
                OneHeadRepeated.name,
                "Here eight heads share one set of projections.",
                OneHeadRepeated.ask,
            ),
        ),
        (
            (1024, 1024, 400, 400, 25, 200),
            Wrong(
                "biases-left-out",
                "These are the entries of the four matrices alone.",
                "What else does nn.Linear learn?",
            ),
        ),
        (
            (816, 816, 400, 400, 25, 200),
            Wrong(
                NoOutputProjection.name,
                "These are the projections of queries, keys and values.",
                NoOutputProjection.ask,
            ),
        ),
        (
            costs_of(MultiHeadSelfAttention, (400, 50)),
            Wrong(
                "one-head-counted",
                "With 8 heads, 50 products are what one head needs.",
                "How many heads make scores?",
            ),
        ),
        (
            costs_of(MultiHeadSelfAttention, weights=(25, 25)),
            Wrong(
                WeightsAveraged.name,
                "Here all heads together have one table of weights.",
                WeightsAveraged.ask,
            ),
        ),
    ),
    ask="Write down the shapes of all matrices for h = 1 and h = 8. What differs?",
    again="Check",
)
PREDICT_READING = Choose(
    right="C",
    because="Each head projects all features, so all heads change. And each query "
    "compares itself with the key of token 2, so all rows change.",
    wrong={
        "A": Wrong(
            "one-row-changes",
            "Then no token would attend to another, and each head would read a slice.",
            "What do the other tokens receive from token 2?",
        ),
        "B": Wrong(
            TokenSliced.name,
            "Then head 0 would own the first features of the token.",
            "How many features does one column of a projection read?",
        ),
        "D": Wrong(
            "rows-stay-apart",
            "Then the other tokens would not see token 2 at all.",
            "Which queries are compared with the key of token 2?",
        ),
    },
    again="Check",
)
TEST_THE_RESHAPE = BreakIt(
    right=(
        MultiHeadSelfAttention,
        layer_of(attend=lambda *qkv: (F.scaled_dot_product_attention(*qkv), None)),
    ),
    wrong=(inside(split_by_reshape), inside(merge_by_reshape), BOTH_BY_RESHAPE),
    ask="What is true of every layer that takes rows for tokens? And with how many "
    "heads does a reshape move nothing?",
    again="Break it",
)

TASKS = {
    "costs": PREDICT_COSTS,
    "split_heads": WRITE_SPLIT,
    "merge_heads": WRITE_MERGE,
    "one_number": PREDICT_READING,
    "MultiHeadSelfAttention": WRITE_LAYER,
    "bare_reshape": TEST_THE_RESHAPE,
    "find_the_bug": replace(WRITE_LAYER, bug=ScaledByHeads, again="The equation"),
}
