"""Self-attention: what people get wrong, what must hold, and the tasks."""

import itertools
import math

import torch
from torch import Tensor, nn

from vit_encoder.check.hearing.data import Form, Question
from vit_encoder.check.hearing.parameters import FUSED
from vit_encoder.check.judging.misconceptions import GITHUB, edit, edits, inside, named
from vit_encoder.check.judging.oracle import (
    Get,
    exact,
    linear,
    oracle_of,
    oracle_of_function,
    single_head,
)
from vit_encoder.check.judging.pictures import Show
from vit_encoder.check.judging.properties import (
    EDGES,
    PASSES_NAN_ON,
    REPEATS,
    SAME_IN_TRAINING,
    Property,
    agrees,
    as_defined,
    each,
    follows_order,
    has_parameters,
    holds,
    learns_no_more,
    returns_right_shapes,
    shows,
    stays_finite,
)
from vit_encoder.check.judging.questions import Normal, batch, edges, small, with_nan
from vit_encoder.check.judging.trials import Fails, Trial, Trials, close, tolerance_of
from vit_encoder.check.tasks import BreakIt, Implement
from vit_encoder.self_attention import SelfAttention, attention

# Misconceptions of attention.

ANNOTATED = GITHUB + "labmlai/annotated_deep_learning_paper_implementations/issues/146"
TERMS = "How many products were added up to make one score?"
FROM_THE_END = "Which axis stays the keys however many axes stand in front?"
NO_SCALE = edit(
    "no-scale",
    {" / math.sqrt(q.shape[-1])": ""},
    "The scores grow with D_h: the wider the head, the closer each query comes to "
    "picking a single key.",
    "How does the spread of a sum depend on how many terms it has?",
    "Vaswani et al. 2017, section 3.2.1",
)
ATTENTION = edits(
    attention,
    edit(
        "softmax-over-queries",
        {"dim=-1": "dim=-2"},
        "The weights of one query do not add up to 1; those that one key gets do.",
        "Which index runs over the things that are averaged?",
        ANNOTATED,
    ),
    edit(
        "softmax-over-batch",
        {"dim=-1": "dim=0"},
        "Softmax runs over axis 0: with two axes these are the queries, with three "
        "the images of the batch.",
        "Should one image's attention depend on which others are in its batch?",
        GITHUB + "PetrochukM/PyTorch-NLP/issues/2",
    ),
    edit(
        "softmax-over-axis-1",
        {"dim=-1": "dim=1"},
        "Softmax runs over axis 1, counted from the front. With two axes these are "
        "the keys, with three the queries.",
        FROM_THE_END,
        ANNOTATED,
    ),
    edit(
        "softmax-over-axis-2",
        {"dim=-1": "dim=2"},
        "Softmax runs over axis 2, counted from the front. With three axes these are "
        "the keys, with four the queries, and with two there is no axis 2.",
        FROM_THE_END,
        GITHUB + "FudanNLP/fastNLP/issues/254",
    ),
    edit(
        "softmax-over-one-number",
        {"scores.softmax(dim=-1)": "scores.unsqueeze(-1).softmax(dim=-1).squeeze(-1)"},
        "Every weight is 1, whatever the scores are.",
        "What does softmax return for a single number?",
        GITHUB + "DEEP-PolyU/KEQA_WSDM19/issues/2",
    ),
    edit(
        "softmax-over-everything",
        {".softmax(dim=-1)": ".flatten(-2).softmax(dim=-1).view_as(scores)"},
        "The weights of all queries together add up to 1, not those of each.",
        "How much attention does one query have to hand out?",
    ),
    edit(
        "softmax-without-axis",
        {"scores.softmax(dim=-1)": "F.softmax(scores)"},
        "Softmax was given no axis, so PyTorch picked one by the number of axes.",
        FROM_THE_END,
    ),
    edit(
        "softmax-twice",
        {"softmax(dim=-1)": "softmax(dim=-1).softmax(dim=-1)"},
        "Softmax was taken of weights that softmax had made: they are nearly even.",
        "How far apart can two numbers be that lie between 0 and 1?",
    ),
    edit(
        "log-weights",
        {"softmax(dim=-1)": "log_softmax(dim=-1)"},
        "The weights are logarithms: none is above 0.",
        "Which function gives shares, and which gives their logarithms?",
    ),
    edit(
        "sigmoid-for-softmax",
        {"softmax(dim=-1)": "sigmoid()"},
        "Each weight lies between 0 and 1, but those of one query do not add up to 1.",
        "Does the share of one key have to depend on the scores of the others?",
    ),
    NO_SCALE,
    edit(
        "divided-by-width",
        {"math.sqrt(q.shape[-1])": "q.shape[-1]"},
        "The scores shrink with D_h: the wider the head, the more evenly each query "
        "spreads its attention. They were divided by √D_h twice.",
        "By what must a sum of D_h terms be divided so that its spread stays 1?",
    ),
    edit(
        "multiplied-by-root",
        {"/ math.sqrt": "* math.sqrt"},
        "The scores grow with D_h, even faster than with no scale at all.",
        "Should wider heads have larger scores, or scores of the same size?",
    ),
    edit(
        "root-of-whole-number",
        {"math.sqrt(q.shape[-1])": "int(math.sqrt(q.shape[-1]))"},
        "The scale is right where √D_h is a whole number. Elsewhere the digits after "
        "the point are lost.",
        "What does `//` or `int` make of √8?",
    ),
    edit(
        "halved-for-root",
        {"math.sqrt(q.shape[-1])": "(q.shape[-1] ** 1 / 2)"},
        "The scores are divided by half of D_h, not by its root.",
        "Which does Python do first in `d ** 1 / 2`: the power or the division?",
    ),
    edit(
        "power-before-division",
        {"math.sqrt(q.shape[-1])": "q.shape[-1] ** 1 / 2"},
        "The scores are divided by D_h and then by 2, not by the root of D_h.",
        "In which order does Python work through `/ d ** 1 / 2`?",
    ),
    edit(
        "divided-by-key-count",
        {"q.shape[-1]": "k.shape[-2]"},
        "The scale depends on how many keys there are, not on D_h.",
        TERMS,
    ),
    edit(
        "divided-by-query-count",
        {"q.shape[-1]": "q.shape[-2]"},
        "The scale depends on how many queries there are, not on D_h.",
        TERMS,
    ),
    edit(
        "divided-by-value-width",
        {"q.shape[-1]": "v.shape[-1]"},
        "The scale depends on D_v, the width of the values, not on D_h.",
        TERMS,
    ),
    edit(
        "divided-by-batch-size",
        {"q.shape[-1]": "len(q)"},
        "The scale depends on the first axis of q, not on D_h.",
        TERMS,
    ),
    edit(
        "scaled-after-softmax",
        {
            " / math.sqrt(q.shape[-1])": "",
            "softmax(dim=-1)": "softmax(dim=-1) / math.sqrt(q.shape[-1])",
        },
        "The weights of each query add up to 1/√D_h, not to 1.",
        "What must be made smaller: the scores, or the shares made from them?",
    ),
    edit(
        "keys-not-transposed",
        {"k.transpose(-2, -1)": "k"},
        "Queries and keys are multiplied without turning the keys; the sizes do not "
        "fit, or fit by chance.",
        "Which index of q and which of k must be summed over?",
    ),
    edit(
        "all-axes-reversed",
        {"k.transpose(-2, -1)": "k.permute(*range(k.ndim)[::-1])"},
        "It works with two axes only: with more, all axes change places, not two.",
        "Which two axes change places, and which stay?",
    ),
    edit(
        "axes-1-and-2-swapped",
        {"transpose(-2, -1)": "transpose(1, 2)"},
        "It works with three axes only: the axes to swap are counted from the front.",
        "Which numbers name the last two axes however many stand in front?",
    ),
    edit(
        "weights-transposed",
        {"weights @ v": "weights.transpose(-2, -1) @ v"},
        "The values are averaged with the weights that a key gets, not with those "
        "that a query hands out.",
        "Say the two indices of the weights aloud: which one do the values have?",
    ),
    edit(
        "queries-and-keys-swapped",
        {"q @ k.transpose": "k @ q.transpose"},
        "Queries and keys have changed places: a row belongs to a key.",
        "Who asks, and who is asked? Which of them has a row of its own?",
    ),
    edit(
        "keys-averaged",
        {"weights @ v": "weights @ k"},
        "The output is an average of the keys; the values are never read.",
        "What does a key serve for, and what is handed on in the end?",
    ),
    edit(
        "keys-and-values-exchanged",
        {"q @ k.transpose": "q @ v.transpose", "weights @ v": "weights @ k"},
        "Keys and values have changed places: queries are compared with values.",
        "Which of the three arguments is compared with the queries?",
    ),
    edit(
        "averaged-twice",
        {"weights @ v": "weights @ v / v.shape[-2]"},
        "The output is divided by the number of keys, though the weights are shares.",
        "What do the weights of one query add up to already?",
    ),
    edit(
        "softmax-overflows",
        {"scores.softmax(dim=-1)": "scores.exp() / scores.exp().sum(-1, True)"},
        "With large scores it returns nan: the exponential left the number range.",
        "Softmax does not change when a row is shifted. Which shift keeps exp small?",
    ),
    edit(
        "exponential-not-normalized",
        {"softmax(dim=-1)": "exp()"},
        "The weights are positive, but those of one query do not add up to 1.",
        "What is left to do so that a query hands out exactly 100 %?",
    ),
    edit(
        "normalized-without-exponential",
        {"scores.softmax(dim=-1)": "scores / scores.sum(dim=-1, keepdim=True)"},
        "The weights add up to 1, but some are negative or larger than 1.",
        "How can a negative score still become a positive share?",
    ),
    edit(
        "no-softmax",
        {".softmax(dim=-1)": ""},
        "The scores themselves are used as weights.",
        "What turns a row of scores into shares that add up to 1?",
    ),
    edit(
        "scores-returned",
        {"v, weights": "v, scores"},
        "The output is right, but what comes with it are the scores.",
        "At which point do the scores become weights?",
    ),
    edit(
        "weights-not-returned",
        {"v, weights": "v"},
        "It returns the output alone, expected a tuple (output, weights).",
        "What else does the caller want to look at?",
    ),
    edit(
        "pair-swapped",
        {"weights @ v, weights": "weights, weights @ v"},
        "The weights come first and the output second.",
        "In which order does the task ask for the two?",
    ),
    edit(
        "causal-mask",
        {
            "scores.softmax": "(\n        scores + "
            "torch.full_like(scores, -torch.inf).triu(1)\n    ).softmax"
        },
        "A query sees no key that comes after it.",
        "Is there a reason why a patch may not look at the patches that follow?",
    ),
    edit(
        "later-weights-cut",
        {"softmax(dim=-1)": "softmax(dim=-1).tril()"},
        "The weights of later keys are set to 0, so those left do not add up to 1.",
        "Is there a reason why a patch may not look at the patches that follow?",
    ),
)

# Misconceptions of SelfAttention.

THREE = "self.query(x), self.key(x), self.value(x)"
TRANSTRACK = GITHUB + "594422814/TransformerTrack/issues/33"
SCALED_BY_DIM = edit(
    "scaled-by-dim",
    {
        "output, _ = attention(q, k, v)": "scores = q @ k.transpose(-2, -1) / "
        "math.sqrt(x.shape[-1])",
        "return output": "return scores.softmax(dim=-1) @ v",
    },
    "The scale is made from the width of the input, D, not from that of the head.",
    "Count the products that were added up for one score: D or D_h?",
    GITHUB + "lucidrains/vit-pytorch/issues/65",
)
SELF_ATTENTION = edits(
    SelfAttention,
    edit(
        "values-added",
        {"return output": "return output + v"},
        "Each token's own value is added once more to what attention gives.",
        "Which layer of the ViT has a residual connection: this one?",
    ),
    edit(
        "no-projections",
        {THREE: "x, x, x"},
        "The input itself serves as queries, keys and values; nothing is learned.",
        "Can a token then look for something that it is not itself?",
        GITHUB + "tensorflow/tensor2tensor/issues/1582",
    ),
    edit(
        "one-projection",
        {THREE: "self.query(x), self.query(x), self.query(x)"},
        "One projection makes queries, keys and values alike.",
        "What would the weights look like if asking and answering were one act?",
        TRANSTRACK,
    ),
    edit(
        "query-is-key",
        {"self.key(x)": "self.query(x)"},
        "Queries and keys come from the same projection, so the scores are symmetric.",
        "Must token A look at B exactly as much as B looks at A?",
        TRANSTRACK,
    ),
    edit(
        "value-not-projected",
        {"self.value(x)": "x"},
        "The values are the input itself; only queries and keys are projected.",
        "Which of the three is handed on, and is it learned?",
    ),
    edit(
        "value-is-query",
        {"self.value(x)": "self.query(x)"},
        "The values come from the projection of the queries.",
        "Is what a token looks for the same as what it hands on?",
    ),
    edit(
        "qkv-interleaved",
        {
            "self.query = nn.Linear(dim, head_dim)": "self.qkv = "
            "nn.Linear(dim, 3 * head_dim)",
            "        self.key = nn.Linear(dim, head_dim)\n": "",
            "        self.value = nn.Linear(dim, head_dim)\n": "",
            "self.query.in_features": "self.qkv.in_features",
            THREE: "self.qkv(x).unflatten(-1, (-1, 3)).unbind(-1)",
        },
        "Every third entry of `qkv` is read as a query, not the first D_h of them.",
        "If `qkv` stacks query, key and value, where in it does the key begin?",
    ),
    edit(
        "images-mixed",
        {
            THREE: "(layer(x.flatten(0, 1)) for layer in self.children())",
            "return output": "return output.unflatten(0, x.shape[:2])",
        },
        "The tokens of all images stand in one row, so images look at each other.",
        "Which tokens may one token look at?",
    ),
    edit(
        "query-and-key-swapped",
        {"self.query(x), self.key(x)": "self.key(x), self.query(x)"},
        "Queries and keys have changed places.",
        "Which projection makes the token that asks?",
    ),
    edit(
        "key-and-value-swapped",
        {"self.key(x), self.value(x)": "self.value(x), self.key(x)"},
        "Keys and values have changed places.",
        "Which projection makes what is compared, and which what is handed on?",
    ),
    edit(
        "query-and-value-swapped",
        {THREE: "self.value(x), self.key(x), self.query(x)"},
        "Queries and values have changed places.",
        "Which projection makes what is compared, and which what is handed on?",
    ),
    edit(
        "projections-bent",
        {
            "self.query(x)": "self.query(x).relu()",
            "self.key(x)": "self.key(x).relu()",
            "self.value(x)": "self.value(x).relu()",
        },
        "A nonlinearity follows the projections.",
        "Is there anything but a linear map between a token and its query?",
    ),
    SCALED_BY_DIM,
    edit(
        "input-cut-in-three",
        {
            "self.query = nn.Linear(dim,": "self.query = nn.Linear(dim // 3,",
            "self.key = nn.Linear(dim,": "self.key = nn.Linear(dim // 3,",
            "self.value = nn.Linear(dim,": "self.value = nn.Linear(dim // 3,",
            "self.query.in_features": "3 * self.query.in_features",
            f"q, k, v = {THREE}": "parts = zip(self.children(), x.chunk(3, -1))\n"
            "        q, k, v = (layer(part) for layer, part in parts)",
        },
        "Each projection reads a third of the input's features.",
        "Which has 3 · D_h entries: what goes into the projections, or what comes out?",
        GITHUB + "lucidrains/vit-pytorch/issues/237",
    ),
    edit(
        "pair-returned",
        {"output, _": "output, weights", "return output": "return output, weights"},
        "It returns a tuple (output, weights), expected the output alone.",
        "What does the next layer take?",
    ),
)
# How much attention each token receives: the right version, and wrong ones.


def received(x: Tensor, w_query: Tensor, w_key: Tensor) -> Tensor:
    """How much attention each token receives, as a mean over all that ask.

    x: (..., N, D). w_query, w_key: (D, D_h). Returns (..., N), which adds up to 1.
    """
    q, k = x @ w_query, x @ w_key  # each (..., N, D_h)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., N, N)
    weights = scores.softmax(dim=-1)
    return weights.mean(dim=-2)  # (..., N)


WHO_RECEIVES = "Row i holds what token i hands out. Where stands what it receives?"
RECEIVED = edits(
    received,
    edit(
        "averaged-before-softmax",
        {
            "weights = scores.softmax(dim=-1)": "mean = scores.mean(dim=-2)",
            "weights.mean(dim=-2)": "mean.softmax(dim=-1)",
        },
        "The scores are averaged over the queries, and softmax is taken of that mean.",
        "One query likes key 0 by far, another dislikes it as much. What does key 0 "
        "receive from the two, and what does the mean of their scores say?",
    ),
    edit(
        "mean-over-keys",
        {"weights.mean(dim=-2)": "weights.mean(dim=-1)"},
        "Each token gets 1/N, whatever the scores are.",
        WHO_RECEIVES,
    ),
    edit(
        "summed-over-queries",
        {"weights.mean(dim=-2)": "weights.sum(dim=-2)"},
        "The numbers add up to N, not to 1.",
        "N tokens hand out 100 % each. What is left to do to get a mean?",
    ),
    edit(
        "largest-weight",
        {"weights.mean(dim=-2)": "weights.amax(dim=-2)"},
        "Each token gets the largest weight that any query gives it.",
        "Does it matter how many look at a token, or only who looks at it most?",
    ),
    edit(
        "own-weight",
        {"weights.mean(dim=-2)": "weights.diagonal(dim1=-2, dim2=-1)"},
        "Each token gets the weight that it gives itself.",
        WHO_RECEIVES,
    ),
    edit(
        "first-query-alone",
        {"weights.mean(dim=-2)": "weights[..., 0, :]"},
        "Only what token 0 hands out is counted.",
        "How many tokens ask?",
    ),
    NO_SCALE,
    edit(
        "scaled-by-dim",
        {"math.sqrt(q.shape[-1])": "math.sqrt(x.shape[-1])"},
        "The scale is made from the width of the input, D, not from that of the head.",
        "Count the products that were added up for one score: D or D_h?",
        GITHUB + "lucidrains/vit-pytorch/issues/65",
    ),
    edit(
        "query-and-key-swapped",
        {"q @ k.transpose": "k @ q.transpose"},
        "Queries and keys have changed places.",
        "Which projection makes the token that asks?",
    ),
    edit(
        "query-is-key",
        {"x @ w_key": "x @ w_query"},
        "Queries and keys come from the same projection, so the scores are symmetric.",
        "Must token A look at B exactly as much as B looks at A?",
        TRANSTRACK,
    ),
)
# Cross-attention: the right version, and wrong ones.


class CrossAttention(nn.Module):
    """One head of cross-attention: tokens read from those of a context.

    dim: D, the width of the tokens that ask, x (B, N_q, D). context_dim: D_c, that of
    the tokens that are asked, context (B, N_k, D_c). Returns (B, N_q, D_h).
    """

    def __init__(self, dim: int, context_dim: int, head_dim: int):
        super().__init__()
        self.query = nn.Linear(dim, head_dim)
        self.key = nn.Linear(context_dim, head_dim)
        self.value = nn.Linear(context_dim, head_dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Image by image: each x reads from its own context."""
        q = self.query(x)  # (B, N_q, D_h)
        k, v = self.key(context), self.value(context)  # each (B, N_k, D_h)
        output, _ = attention(q, k, v)
        return output  # (B, N_q, D_h)


QUERY_WIDTH = "self.query = nn.Linear(dim"
KEY_WIDTH = "self.key = nn.Linear(context_dim"
VALUE_WIDTH = "self.value = nn.Linear(context_dim"
KEYS_AND_VALUES = "self.key(context), self.value(context)"
WHO_ASKS = "Which of the two sequences asks, and which one is read?"
ONE_ROW = "How many rows should come back: one for each token of which sequence?"
CROSS_ATTENTION = edits(
    CrossAttention,
    edit(
        "context-ignored",
        {
            KEY_WIDTH: "self.key = nn.Linear(dim",
            VALUE_WIDTH: "self.value = nn.Linear(dim",
            KEYS_AND_VALUES: "self.key(x), self.value(x)",
        },
        "Queries, keys and values all come from x. The context is never read.",
        WHO_ASKS,
    ),
    edit(
        "sequences-exchanged",
        {
            QUERY_WIDTH: "self.query = nn.Linear(context_dim",
            KEY_WIDTH: "self.key = nn.Linear(dim",
            VALUE_WIDTH: "self.value = nn.Linear(dim",
            "self.query(x)": "self.query(context)",
            KEYS_AND_VALUES: "self.key(x), self.value(x)",
        },
        "The context asks and x is read. It should be the other way round.",
        ONE_ROW,
    ),
    edit(
        "keys-from-x",
        {
            KEY_WIDTH: "self.key = nn.Linear(dim",
            "self.key(context)": "self.key(x)",
        },
        "The keys come from x and the values from the context, so a weight belongs to "
        "a token of one sequence, and the value that it multiplies to the other.",
        "A weight says how much of a token is read. Whose value must it multiply?",
    ),
    edit(
        "values-from-x",
        {
            VALUE_WIDTH: "self.value = nn.Linear(dim",
            "self.value(context)": "self.value(x)",
        },
        "The keys come from the context and the values from x. What the context has "
        "to say is compared, and never handed on.",
        "A weight says how much of a token is read. Whose value must it multiply?",
    ),
    edit(
        "one-width-for-both",
        {
            KEY_WIDTH: "self.key = nn.Linear(dim",
            VALUE_WIDTH: "self.value = nn.Linear(dim",
        },
        "All three projections take D numbers. It works while D_c equals D.",
        "How many numbers does a token have that goes into the keys?",
    ),
    edit(
        "widths-exchanged",
        {
            QUERY_WIDTH: "self.query = nn.Linear(context_dim",
            KEY_WIDTH: "self.key = nn.Linear(dim",
            VALUE_WIDTH: "self.value = nn.Linear(dim",
        },
        "The two widths have changed places. It works while D_c equals D.",
        "How many numbers does a token have that goes into the queries?",
    ),
    edit(
        "value-is-key",
        {"self.value(context)": "self.key(context)"},
        "Keys and values come from the same projection.",
        "Is what a token is found by the same as what it hands on?",
    ),
    edit(
        "key-and-value-swapped",
        {KEYS_AND_VALUES: "self.value(context), self.key(context)"},
        "Keys and values have changed places.",
        "Which projection makes what is compared, and which what is handed on?",
    ),
    edit(
        "contexts-mixed",
        {KEYS_AND_VALUES: "(f(context).flatten(0, 1) for f in (self.key, self.value))"},
        "The contexts of all images stand in one row, so each image reads them all.",
        "Which context may the first image of a batch read?",
    ),
    edit(
        "first-context-for-all",
        {KEYS_AND_VALUES: "self.key(context[:1]), self.value(context[:1])"},
        "Every image of a batch reads the context of the first one.",
        "Which context may the second image of a batch read?",
    ),
    edit(
        "queries-added",
        {"return output": "return output + q"},
        "The queries are added to what is read, as in a residual connection.",
        "With one token in the context, what should every output be?",
    ),
    SCALED_BY_DIM,
    edit(
        "pair-returned",
        {"output, _": "output, weights", "return output": "return output, weights"},
        "It returns a tuple (output, weights), expected the output alone.",
        "What does the next layer take?",
    ),
)
# Attention with a mask: the right version, and wrong ones.


def masked_attention(
    q: Tensor, k: Tensor, v: Tensor, visible: Tensor
) -> tuple[Tensor, Tensor]:
    """Attention in which each query sees some of the keys.

    q, k, v: as in attention. visible: truth values that broadcast to (..., N_q, N_k),
    True where the query may see the key. Returns the output (..., N_q, D_v) and the
    weights (..., N_q, N_k). A query that may see no key gets 0 in both.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., N_q, N_k)
    scores = scores.masked_fill(~visible, -math.inf)
    weights = scores.softmax(dim=-1)  # nan in a row where nothing is visible
    weights = weights.masked_fill(~visible, 0.0)
    return weights @ v, weights


HIDE = "scores = scores.masked_fill(~visible, -math.inf)"
CLEAR = "weights = weights.masked_fill(~visible, 0.0)"
EXP_OF_SCORE = "Of which score does the exponential make a weight of exactly 0?"
MASKED = edits(
    masked_attention,
    edit(
        "mask-inverted",
        {HIDE: HIDE.replace("~", ""), CLEAR: CLEAR.replace("~", "")},
        "What may be seen is hidden, and what should be hidden is seen.",
        "What does True mean in this mask: see, or hide?",
        GITHUB + "rasbt/LLMs-from-scratch/issues/1061",
    ),
    edit(
        "mask-transposed",
        {
            HIDE: HIDE.replace("visible", "visible.mT"),
            CLEAR: CLEAR.replace("visible", "visible.mT"),
        },
        "In the mask, queries and keys have changed places.",
        "Which axis of the mask counts the queries, and which the keys?",
        GITHUB + "hyunwoongko/transformer/pull/40",
    ),
    edit(
        "masked-after-softmax",
        {HIDE: ""},
        "The weights of hidden keys are set to 0 after the shares were made, so those "
        "of the visible keys add up to less than 1.",
        "How much attention does a query have to hand out among the keys that it sees?",
        GITHUB + "huggingface/pytorch-image-models/pull/2236",
    ),
    edit(
        "hidden-score-near-zero",
        {HIDE: HIDE.replace("-math.inf", "0.0"), CLEAR: ""},
        "Hidden keys get a score of 0, or one near it such as −1e-9. Many keys that "
        "may be seen have a lower one.",
        EXP_OF_SCORE,
        GITHUB + "awslabs/gluonts/pull/1401",
    ),
    edit(
        "mask-added-as-number",
        {HIDE: "scores = scores + visible", CLEAR: ""},
        "The mask is added to the scores as 0 and 1: a visible key gets a score that "
        "is larger by 1, and a hidden one is seen all the same.",
        EXP_OF_SCORE,
    ),
    edit(
        "zero-times-infinity",
        {HIDE: "scores = scores + ~visible * -math.inf", CLEAR: ""},
        "Minus infinity is multiplied by the mask as 0 and 1, and then added: every "
        "visible key gets the score nan.",
        "What is 0 times infinity?",
    ),
    edit(
        "all-hidden-shared-evenly",
        {HIDE: HIDE.replace("-math.inf", "-1e9"), CLEAR: ""},
        "A query that may see no key gets the mean of all values, as if it saw every "
        "key. All other queries are right.",
        "A row holds the same number everywhere, however small it is. What does "
        "softmax make of it?",
        GITHUB + "lsdefine/attention-is-all-you-need-keras/issues/16",
    ),
    edit(
        "all-hidden-gives-nan",
        {CLEAR: ""},
        "A query that may see no key gets nan. All other queries are right.",
        "Softmax divides by a sum of exponentials. What is this sum if every score is "
        "minus infinity?",
        GITHUB + "pytorch/pytorch/issues/103963",
    ),
    edit(
        "shared-anew-after-softmax",
        {
            HIDE: "",
            CLEAR: "weights = weights * visible\n"
            "    weights = weights / weights.sum(-1, keepdim=True)",
        },
        "Softmax counts hidden keys too, and what is left is divided by its sum. "
        "Where nothing is left, 0 is divided by 0.",
        "A hidden key has a score that is larger by 1000 than all others. What are the "
        "other weights before the mask comes?",
        GITHUB + "abisee/pointer-generator/issues/88",
    ),
    NO_SCALE,
    edit(
        "softmax-over-queries",
        {"dim=-1": "dim=-2"},
        "The weights of one query do not add up to 1; those that one key gets do.",
        "Which index runs over the things that are averaged?",
        ANNOTATED,
    ),
)
# Those of attention that show in a module, which has three axes and as many queries as
# keys.
HIDDEN = (
    "softmax-over-axis-1",
    "softmax-over-axis-2",
    "softmax-without-axis",
    "divided-by-query-count",
    "divided-by-value-width",
    "axes-1-and-2-swapped",
    "queries-and-keys-swapped",
    "scores-returned",
    "weights-not-returned",
    "pair-swapped",
    "keys-and-values-exchanged",
)
INSIDE = inside(SelfAttention, (m for m in ATTENTION if m.name not in HIDDEN))
INSIDE_CROSS = inside(
    CrossAttention,
    named(
        ATTENTION,
        "softmax-over-queries",
        "softmax-over-everything",
        "no-scale",
        "divided-by-key-count",
        "queries-and-keys-swapped",
        "softmax-overflows",
        "no-softmax",
    ),
)
MISCONCEPTIONS = {
    "attention": ATTENTION,
    "SelfAttention": (*SELF_ATTENTION, *INSIDE),
    "find_the_bug": RECEIVED,
    "CrossAttention": (*CROSS_ATTENTION, *INSIDE_CROSS),
    "masked_attention": MASKED,
}

# The oracles.


def one_head(x: Tensor, get: Get, **_built: int) -> Tensor:
    """SelfAttention."""
    return single_head(x, get)


self_attention_oracle = oracle_of(one_head)


@oracle_of_function
def received_oracle(x: Tensor, w_query: Tensor, w_key: Tensor) -> Tensor:
    """What each token receives, from the oracle's weights in float64."""
    q, k = (torch.einsum("...ni,id->...nd", x, w) for w in (w_query, w_key))
    weights = exact(q, k, k)[1]
    return weights.sum(-2) / x.shape[-2]


def one_cross_head(x: Tensor, context: Tensor, get: Get, **_built: int) -> Tensor:
    """CrossAttention."""
    k, v = (linear(context, get, name) for name in ("key", "value"))
    return exact(linear(x, get, "query"), k, v)[0]


cross_attention_oracle = oracle_of(one_cross_head)


@oracle_of_function
def masked_oracle(
    q: Tensor, k: Tensor, v: Tensor, visible: Tensor
) -> tuple[Tensor, Tensor]:
    """Query by query: attention to the keys that it sees, as if there were no others.

    The sums over no keys are 0.
    """
    outputs, weights = [], []
    shape = (*q.shape[:-1], k.shape[-2])  # (..., N_q, N_k)
    for place in itertools.product(*map(range, shape[:-1])):
        seen, image = visible.expand(shape)[place], place[:-1]
        output, shares = exact(q[place][None], k[image][seen], v[image][seen])
        outputs.append(output[0])
        weights.append(torch.zeros_like(seen).double().masked_scatter(seen, shares))
    output, table = (torch.stack(rows) for rows in (outputs, weights))
    return output.view(*shape[:-1], -1), table.view(shape)


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
        Question("large scores", large),
        Question("a nan", (with_nan(q), k, v)),
        *edges((q, k, v), normal(2, 5, 4)),
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
        Question("in training", (x,), **common, training=True),
        Question("large scores", (large,), **tiny),
        Question("a nan", (with_nan(x),), **common),
        *edges((x,), normal(2, 5, 4), **common),
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


def received_questions(seed: int) -> list[Question]:
    """Tokens and two projections; the small ones are one feature wide."""
    normal = Normal(seed)
    x, maps = normal(2, 5, 6), (normal(6, 4), normal(6, 4))
    order = normal.order(5)
    few = small([1, 0], [-1, 0], [0, 1])  # three tokens
    asks, offers = small([2], [0]), small([0], [2])
    large = tuple(x.float() for x in (30 * few, asks, offers))
    return [
        Question("three tokens", (few, asks, offers)),
        Question("three tokens, twice", (batch(few), asks, offers)),
        Question("tokens", (x, *maps)),
        Question("another order", (x[:, order], *maps)),
        Question("two axes", (normal(7, 3), normal(3, 2), normal(3, 2))),
        Question("a wide head", (normal(3, 4, 5), normal(5, 16), normal(5, 16))),
        Question("one token", (normal(2, 1, 6), *maps)),
        Question("large scores", large),
        Question("a nan", (with_nan(x), *maps)),
        *edges((x, *maps), normal(2, 5)),
    ]


def cross_attention_questions(seed: int) -> list[Question]:
    """Tokens and contexts; where widths and counts are equal, numbers must tell."""
    normal = Normal(seed)
    x, context = normal(2, 5, 6), normal(2, 7, 3)
    common = reading(normal, 6, 3, 4)
    equal = reading(normal, 5, 5, 8)
    tiny = {"arguments": reads(3, 2, 4), "parameters": SMALL_READING}
    large = (SMALL_X.float(), 300 * SMALL_CONTEXT.float())
    two_images = (batch(SMALL_X[0]), batch(SMALL_CONTEXT[0]))
    return [
        Question("small numbers", (SMALL_X, SMALL_CONTEXT), **tiny),
        Question("two small images", two_images, **tiny),
        Question("a context", (x, context), **common),
        Question("its tokens in another order", (x, context.flip(1)), **common),
        Question("a context of one token", (x, context[:, 3:4]), **common),
        Question(
            "more tokens than context", (normal(3, 9, 6), normal(3, 2, 3)), **common
        ),
        Question("equal sizes", (normal(2, 4, 5), normal(2, 4, 5)), **equal),
        Question("in training", (x, context), **common, training=True),
        Question("large scores", large, **tiny),
        Question("a nan", (with_nan(x), context), **common),
        *edges((x, context), normal(2, 5, 4), **common),
    ]


def reads(dim: int, context_dim: int, head_dim: int) -> dict[str, int]:
    """What CrossAttention is built with."""
    return {"dim": dim, "context_dim": context_dim, "head_dim": head_dim}


def reading(normal: Normal, *widths: int) -> dict[str, dict]:
    """What CrossAttention is built with, and random parameters for it."""
    arguments = reads(*widths)
    dim, context_dim, head_dim = widths
    inputs = {"query": dim, "key": context_dim, "value": context_dim}
    parameters = {}
    for name, width in inputs.items():
        parameters[f"{name}.weight"] = normal(head_dim, width)
        parameters[f"{name}.bias"] = normal(head_dim)
    return {"arguments": arguments, "parameters": parameters}


SMALL_CONTEXT = small([1, 0], [0, 2], [-1, 1])[None]
SMALL_READING = {
    "query.weight": SMALL_PARAMETERS["query.weight"],
    "query.bias": SMALL_PARAMETERS["query.bias"],
    "key.weight": small([0, 1], [1, 0], [0, 0], [0, 1]),
    "key.bias": SMALL_PARAMETERS["key.bias"],
    "value.weight": small([1, 0], [0, 1], [2, 0], [1, 1]),
    "value.bias": SMALL_PARAMETERS["value.bias"],
}


def masked_questions(seed: int) -> list[Question]:
    """As for attention, with masks of several shapes."""
    normal = Normal(seed)
    q, k, v = normal(2, 5, 7), normal(2, 3, 7), normal(2, 3, 4)
    visible = some_visible(normal, 2, 5, 3)
    visible[-1, -1] = True  # where a nan comes in, nothing is hidden: 0 · nan is nan
    real = truths([[[1, 1, 0]], [[1, 0, 0]]])  # (2, 1, 3): two patches, then one
    padding = real.repeat(1, 5, 1)
    other = (q, *(x.where(real.mT, normal(*x.shape)) for x in (k, v)))
    all_true = torch.ones_like(visible)
    blind = visible.clone()
    blind[0, 1] = blind[1, 4] = False
    large = tuple(x[None].float() for x in (300 * SMALL[0], *SMALL[1:]))
    equal = (normal(3, 6, 5), normal(3, 6, 5), normal(3, 6, 2))
    four = (normal(2, 3, 4, 5), normal(2, 3, 6, 5), normal(2, 3, 6, 7))
    return [
        Question("small numbers", (*SMALL, SMALL_VISIBLE)),
        Question("a small row with nothing to see", (*SMALL, SMALL_BLIND)),
        Question("three axes", (q, k, v, visible)),
        Question("one mask for all images", (q, k, v, visible[1])),
        Question("one mask for all queries", (q, k, v, real)),
        Question("padding", (q, k, v, padding)),
        Question("other padding", (*other, padding)),
        Question("all visible", (q, k, v, all_true)),
        Question("nothing to see", (q, k, v, blind)),
        Question("equal counts", (*equal, some_visible(normal, 3, 6, 6))),
        Question("two axes", (*(x[0, 0] for x in four), some_visible(normal, 4, 6))),
        Question("four axes", (*four, some_visible(normal, 2, 3, 4, 6))),
        Question("a hidden key far ahead", FAR_AHEAD),
        Question("visible keys far behind", FAR_BEHIND),
        Question("float32", (q.float(), k.float(), v.float(), visible)),
        Question("float32 again", (q.float(), k.float(), v.float(), visible)),
        Question("large scores", (*large, SMALL_VISIBLE[None])),
        Question("a nan", (with_nan(q), k, v, visible)),
        Question("gradients", (q, k, v, blind), cotangent=normal(2, 5, 4)),
        Question("another device", (q, k, v, visible), device="meta"),
    ]


def truths(rows: list) -> Tensor:
    """A mask from lists of 0 and 1."""
    return torch.tensor(rows, dtype=torch.bool, device="cpu")


def some_visible(normal: Normal, *shape: int) -> Tensor:
    """A random mask (..., N_q, N_k) in which each query sees a key or more."""
    rows, columns = shape[-2:]
    own = torch.arange(rows, device="cpu")[:, None] % columns
    return (normal(*shape) > 0) | (own == torch.arange(columns, device="cpu"))


SMALL_VISIBLE = truths([[1, 1, 0], [1, 0, 1]])
SMALL_BLIND = truths([[0, 0, 0], [1, 0, 1]])
# The hidden key has a score of 9000, the others have scores of 3 and less.
FAR_AHEAD = (
    small([3, 0, 0, 0], [0, 3, 0, 0]),
    small([2, 1, 0, 0], [6000, 6000, 0, 0], [1, 2, 0, 0]),
    small([1, 0], [5, 5], [0, 1]),
    truths([[1, 0, 1], [1, 0, 1]]),
)
# The visible keys have scores of −9000 and less, the hidden one has a score of 0.
FAR_BEHIND = (
    FAR_AHEAD[0],
    small([-6000, -6001, 0, 0], [0, 0, 0, 0], [-6001, -6000, 0, 0]),
    *FAR_AHEAD[2:],
)

# The properties that are self-attention's own.


@each(
    "the weights of a query add up to 1",
    ("three axes",),
    "How much attention does one query have to hand out in all?",
    core=True,
)
def rows_sum_to_one(trial: Trial) -> None:
    """The weights of each query are shares: not negative, adding up to 1."""
    weights = trial.outputs[1]
    if (weights < 0).any():
        raise Fails("Some weights are negative.")
    if adds_up_to_one(weights, -1):
        return
    if adds_up_to_one(weights, -2):
        raise shows(ATTENTION, "softmax-over-queries")
    trial.require_no_rounding()
    sums = weights.double().sum(-1).flatten()
    worst = float(sums[(sums - 1).abs().argmax()])
    raise Fails(f"The weights of one query add up to {worst:.6g}, not 1.")


def adds_up_to_one(weights: Tensor, axis: int) -> bool:
    """The sums over an axis are 1, up to what the dtype can hold."""
    sums = weights.double().sum(axis)
    return torch.allclose(sums, torch.ones_like(sums), atol=tolerance_of(weights))


@each(
    "equal values come out",
    ("equal values",),
    "What is the average of equal values?",
    core=True,
)
def averages_equal_values(trial: Trial) -> None:
    """If all keys carry the same value, that value comes out."""
    if not close(trial.output, trial.expected[0]):
        raise Fails("All values are equal, and yet another vector comes out.")


@holds(
    "the spread of the scores does not depend on D_h",
    "How does the spread of a sum depend on how many terms it has?",
    core=True,
)
def spread_ignores_width(trials: Trials) -> None:
    """Scores of unit-variance queries and keys do not spread with √D_h, nor 1/√D_h."""
    spreads = []
    for name in ("width 16", "width 256"):
        weights = trials[name].outputs[1].double()
        spreads.append(float(weights.clamp_min(1e-300).log().std(-1).mean()))
    if 3 < max(spreads) / max(min(spreads), 1e-9) < 5.5:  # √D_h makes it √16
        narrow, wide = (f"{spread:.1f}" for spread in spreads)
        raise Fails(
            f"With D_h = 16 the logarithms of the weights spread by {narrow}, with "
            f"D_h = 256 by {wide}, expected about 1 for both."
        )


@each(
    "three projections are there",
    ("a narrow head",),
    "What is learned here, and how many of them?",
    core=True,
)
def has_three_projections(trial: Trial) -> None:
    """Parameters of the expected names are there, none twice, and enough of them."""
    if trial.reply.problem:
        raise Fails.because(trial.problem())
    dim, head_dim = trial.question.arguments.values()
    wanted = [f"{name}.weight" for name in ("query", "key", "value")]
    missing = [name for name in wanted if name not in trial.reply.taken]
    shapes = trial.reply.parameters.values()
    learned = sum(math.prod(shape) for shape in shapes if len(shape) > 1)
    if not missing and learned >= 3 * dim * head_dim:
        return
    names = {0: "no-projections", dim * head_dim: "one-projection"}
    twice = [pair for pair in trial.reply.shared if pair[0] in wanted]
    if learned not in names and twice:
        raise one_for_two(*twice[0])
    text = f"Its weights have {learned} entries, expected 3 · {dim} · {head_dim}."
    if missing:
        text = (
            f"It has no {', '.join(missing)}. Expected are the parts `query`, "
            "`key` and `value`, or `qkv` for the three joined."
        )
    raise Fails(
        text, names.get(learned, "missing-parameters"), None if learned in names else ""
    )


def one_for_two(first: str, second: str) -> Fails:
    """Two projections are one and the same."""
    if (first, second) == ("query.weight", "key.weight"):
        return shows(SELF_ATTENTION, "query-is-key")
    text = f"Its {first} and its {second} are one and the same parameter."
    return Fails(text, "missing-parameters", "")


@holds(
    "images do not influence one another",
    "Which tokens may one token look at?",
    core=True,
)
def SEPARATES_IMAGES(trials: Trials) -> None:  # noqa: N802, as other chapters use it
    """An image's output is the same alone and in a batch."""
    alone, together = trials["small numbers"], trials["two small images"]
    if not close(together.output[:1], alone.output):
        text = "An image gives other outputs in a batch of two than alone."
        raise Fails(text, "images-mixed")


INDEX = "Which index of each tensor is which: image, query, key or feature?"
LARGE_SCORES = stays_finite(
    "large scores stay finite", "large scores", "What does exp give for 600 in float32?"
)
ATTENTION_PROPERTIES: tuple[Property, ...] = (
    REPEATS,
    returns_right_shapes(
        "output (..., N_q, D_v) and weights (..., N_q, N_k) come back",
        *("three axes", "small numbers in a batch"),
        ask=INDEX,
    ),
    rows_sum_to_one,
    averages_equal_values,
    follows_order(
        *("three axes", "another order"),
        ask="Does anything in your code depend on where a token stands?",
    ),
    spread_ignores_width,
    as_defined(
        *("three axes", "equal counts", "equal values", "width 16", "width 256"),
        ask="Which step of the equation does something else in your code?",
    ),
    agrees(
        "two, three or four axes work",
        *("two axes", "four axes"),
        ask="Which axes do you name, and from which end do you count?",
    ),
    LARGE_SCORES,
    PASSES_NAN_ON,
    *EDGES,
)
SELF_ATTENTION_PROPERTIES: tuple[Property, ...] = (
    REPEATS,
    has_three_projections,
    returns_right_shapes(
        "output (B, N, D_h) comes back",
        *("small numbers", "a narrow head", "a wide head"),
        ask=INDEX,
    ),
    SEPARATES_IMAGES,
    as_defined(
        *("a narrow head", "another order", "a wide head", "one token"),
        ask="Which projection goes where, and what is divided by what?",
    ),
    learns_no_more("a narrow head"),
    SAME_IN_TRAINING,
    LARGE_SCORES,
    PASSES_NAN_ON,
    *EDGES,
)


@each(
    "what is received adds up to 1",
    ("three tokens", "tokens"),
    "N tokens hand out 100 % each, and N receive it. What does one get on average?",
    core=True,
)
def received_sums_to_one(trial: Trial) -> None:
    """What all tokens receive, as a mean over those that ask, adds up to 1."""
    if not adds_up_to_one(trial.output, -1):
        sums = trial.output.double().sum(-1).flatten()
        raise Fails(f"What an image's tokens receive adds up to {sums[0]:.6g}, not 1.")


RECEIVED_PROPERTIES: tuple[Property, ...] = (
    REPEATS,
    returns_right_shapes(
        "one number for each token comes back",
        *("tokens", "three tokens"),
        ask=INDEX,
    ),
    received_sums_to_one,
    as_defined(
        *("three tokens", "tokens", "another order", "a wide head", "one token"),
        ask="What does each single query hand out, before anything is averaged?",
    ),
    agrees(
        "two or three axes work",
        *("two axes", "three tokens, twice"),
        ask="Which axes do you name, and from which end do you count?",
    ),
    LARGE_SCORES,
    PASSES_NAN_ON,
    *EDGES,
)


@each(
    "a context of one token is read by every query",
    ("a context of one token",),
    "If there is one key, what is its weight? And what then is the output?",
    core=True,
)
def reads_the_only_token(trial: Trial) -> None:
    """All of x get the value of the one token that there is to read."""
    output = trial.output
    if not close(output, output[:, :1].expand_as(output)):
        raise Fails(
            "The context has a single token, so all queries read the same. Their "
            "outputs differ."
        )


@holds(
    "the order of the context does not matter",
    "Does anything in your code depend on where a token of the context stands?",
    core=True,
)
def ignores_order_of_context(trials: Trials) -> None:
    """Keys and values change places together."""
    before, after = trials["a context"], trials["its tokens in another order"]
    if not close(after.output, before.output):
        text = "When the tokens of the context change places, the outputs change."
        raise Fails(text)


CROSS_ATTENTION_PROPERTIES: tuple[Property, ...] = (
    REPEATS,
    has_parameters(
        "three projections are there",
        "a context",
        ask="What is learned here, and how many of them?",
        optional=(".bias",),
    ),
    returns_right_shapes(
        "output (B, N_q, D_h) comes back",
        *("small numbers", "a context", "more tokens than context"),
        ask=ONE_ROW,
    ),
    SEPARATES_IMAGES,
    reads_the_only_token,
    ignores_order_of_context,
    as_defined(
        *("a context", "a context of one token", "more tokens than context"),
        "equal sizes",
        ask="Which sequence goes into which projection?",
    ),
    learns_no_more("a context"),
    SAME_IN_TRAINING,
    LARGE_SCORES,
    PASSES_NAN_ON,
    *EDGES,
)


@each(
    "a hidden key has a weight of 0",
    ("three axes", "padding"),
    EXP_OF_SCORE,
    core=True,
)
def hidden_weighs_nothing(trial: Trial) -> None:
    """The weights are 0 where the mask is False."""
    weights = trial.outputs[1].double()
    found = weights[~trial.question.inputs[-1].expand_as(weights)].abs().max()
    if found > 1e-9:
        raise Fails(f"A key that is hidden has a weight of {float(found):.2g}.")


@holds(
    "what is hidden has no effect",
    "Through which of the scores, weights and values can a hidden key still act?",
    core=True,
)
def hidden_has_no_effect(trials: Trials) -> None:
    """Other keys and values behind the mask give the same output."""
    before, after = trials["padding"], trials["other padding"]
    if not close(after.output, before.output):
        text = "Keys and values that no query may see were changed, and so the output."
        raise Fails(text)


@each(
    "a query that may see nothing gets 0",
    ("nothing to see",),
    "What does softmax return for a row that holds nothing but minus infinity?",
)
def sees_nothing(trial: Trial) -> None:
    """Its weights and its output are 0."""
    if trial.right():
        return
    for name, got in zip(("output", "weights"), trial.outputs, strict=True):
        found = got[~trial.question.inputs[-1].any(-1)]
        if found.any():
            number = float(found[found != 0][0])
            text = f"A query that may see no key has {number:.2g} in its {name}"
            raise Fails(f"{text}, expected 0.")
    trial.require_right()


MASKED_PROPERTIES: tuple[Property, ...] = (
    REPEATS,
    returns_right_shapes(
        "output (..., N_q, D_v) and weights (..., N_q, N_k) come back",
        *("three axes", "small numbers"),
        ask=INDEX,
    ),
    hidden_weighs_nothing,
    rows_sum_to_one,
    hidden_has_no_effect,
    as_defined(
        *("three axes", "padding", "all visible", "equal counts"),
        ask="A query sees three of five keys. What would it get if the other two did "
        "not exist?",
    ),
    agrees(
        "two, three or four axes work",
        *("two axes", "four axes"),
        ask="Which axes do you name, and from which end do you count?",
    ),
    agrees(
        "a mask of a shape that broadcasts works",
        *("one mask for all images", "one mask for all queries"),
        ask="Which line wants a mask of exactly the shape of the scores?",
    ),
    sees_nothing,
    agrees(
        "a hidden key with a far larger score has no effect",
        "a hidden key far ahead",
        ask="What are the weights of the others before the mask comes?",
    ),
    agrees(
        "a hidden key has no effect where all others have very low scores",
        "visible keys far behind",
        ask="Which score does a hidden key get? Can one that is seen have a lower one?",
    ),
    LARGE_SCORES,
    PASSES_NAN_ON,
    *EDGES,
)

# The tasks.

BUILT_INS = ("scaled_dot_product", "multi_head_attention")
WRITE_ATTENTION = Implement(
    form=Form(
        outputs=("output", "weights"), builtins=BUILT_INS, reference=(attention, exact)
    ),
    ask_about=attention_questions,
    oracle=oracle_of_function(exact),
    properties=ATTENTION_PROPERTIES,
    misconceptions=ATTENTION,
    show=Show(
        (
            "small numbers",
            "small numbers in a batch",
            "small numbers, four axes",
            "large scores",
        ),
        axes={"weights": ("query", "key"), "output": ("query", "feature")},
    ),
)
WRITE_SELF_ATTENTION = Implement(
    form=Form(
        outputs=("output",),
        is_class=True,
        fused=FUSED,
        builtins=BUILT_INS,
        reference=(SelfAttention,),
    ),
    ask_about=self_attention_questions,
    oracle=self_attention_oracle,
    properties=SELF_ATTENTION_PROPERTIES,
    misconceptions=MISCONCEPTIONS["SelfAttention"],
    show=Show(
        ("small numbers", "two small images", "large scores"),
        axes={"output": ("token", "feature")},
    ),
)
TEST_THE_AXIS = BreakIt(
    right={"the course's own": attention, "one that rounds in another order": exact},
    wrong=named(ATTENTION, "softmax-over-queries", "softmax-over-batch"),
    ask="What is true of the weights of one query, and false on the wrong axis?",
)
REPAIR_RECEIVED = Implement(
    form=Form(
        outputs=("shares",), builtins=BUILT_INS, reference=(received, attention, exact)
    ),
    ask_about=received_questions,
    oracle=received_oracle,
    properties=RECEIVED_PROPERTIES,
    misconceptions=RECEIVED,
    show=Show(("three tokens, twice",), axes={"shares": ("image", "token")}),
    bug=named(RECEIVED, "averaged-before-softmax")[0],
)
WRITE_CROSS_ATTENTION = Implement(
    form=Form(
        outputs=("output",),
        is_class=True,
        fused={"kv": ("key", "value")},
        builtins=BUILT_INS,
        reference=(CrossAttention,),
    ),
    ask_about=cross_attention_questions,
    oracle=cross_attention_oracle,
    properties=CROSS_ATTENTION_PROPERTIES,
    misconceptions=MISCONCEPTIONS["CrossAttention"],
    show=Show(
        ("small numbers", "two small images", "large scores"),
        axes={"output": ("token", "feature")},
    ),
)
WRITE_MASKED_ATTENTION = Implement(
    form=Form(
        outputs=("output", "weights"),
        builtins=BUILT_INS,
        reference=(masked_attention,),
    ),
    ask_about=masked_questions,
    oracle=masked_oracle,
    properties=MASKED_PROPERTIES,
    misconceptions=MASKED,
    show=Show(
        (
            "small numbers",
            "a small row with nothing to see",
            "a hidden key far ahead",
            "visible keys far behind",
            "large scores",
        ),
        axes={"weights": ("query", "key"), "output": ("query", "feature")},
    ),
)

TASKS = {
    "attention": WRITE_ATTENTION,
    "SelfAttention": WRITE_SELF_ATTENTION,
    "wrong_axis": TEST_THE_AXIS,
    "find_the_bug": REPAIR_RECEIVED,
    "CrossAttention": WRITE_CROSS_ATTENTION,
    "masked_attention": WRITE_MASKED_ATTENTION,
}
