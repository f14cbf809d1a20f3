"""Multi-head self-attention: what people get wrong, what must hold, and the tasks."""

import math
from dataclasses import replace
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from vit_encoder.check.hearing.data import Form, Question, Reply
from vit_encoder.check.hearing.parameters import FUSED
from vit_encoder.check.judging.misconceptions import (
    GITHUB,
    Misconception,
    edit,
    edits,
    inside,
    named,
)
from vit_encoder.check.judging.oracle import (
    Get,
    attention_parameters,
    multi_head,
    oracle_of,
    oracle_of_function,
)
from vit_encoder.check.judging.pictures import Show
from vit_encoder.check.judging.properties import (
    EDGES,
    KEEPS_NO_STATE,
    PASSES_NAN_ON,
    REPEATS,
    SAME_IN_TRAINING,
    Property,
    agrees,
    as_defined,
    each,
    follows_order,
    holds,
    learns_no_more,
    listed,
    one_and_the_same,
    refuses,
    returns_right_shapes,
    shows,
)
from vit_encoder.check.judging.questions import (
    Normal,
    batch,
    double,
    edges,
    finish,
    small,
    with_nan,
)
from vit_encoder.check.judging.trials import Fails, Trial, Trials, close, tolerance_of
from vit_encoder.check.self_attention import (
    ATTENTION,
    HIDDEN,
    LARGE_SCORES,
    SELF_ATTENTION,
    SEPARATES_IMAGES,
)
from vit_encoder.check.tasks import BreakIt, Implement
from vit_encoder.multi_head import MultiHeadSelfAttention, merge_heads, split_heads
from vit_encoder.self_attention import attention

# Misconceptions of split_heads.

DIVIDES = 'require_divides(num_heads, x.shape[-1], "num_heads", "the width")'
WHICH_AXIS = "Which of the two new axes counts the heads, the slow one or the fast one?"
SPLIT = edits(
    split_heads,
    edit(
        "split-by-reshape",
        {
            "unflatten(-1, (num_heads, -1)).transpose(1, 2)": "reshape(len(x), "
            "num_heads, x.shape[1], -1)"
        },
        "The shape is right, but row n of a head is no longer token n: read row by "
        "row, the numbers come in the same order as before.",
        "A reshape keeps the reading order. In which rows does token 0 end up?",
        GITHUB + "hyunwoongko/transformer/issues/15",
    ),
    edit(
        "every-hth-feature",
        {"(num_heads, -1)).transpose(1, 2)": "(-1, num_heads)).permute(0, 3, 1, 2)"},
        "Head 0 gets features 0, h, 2h and so on, not the first D_h of them.",
        WHICH_AXIS,
    ),
    edit(
        "joined-by-reshape",
        {
            "unflatten(-1, (num_heads, -1)).transpose(1, 2)": "reshape(len(x) * "
            "num_heads, x.shape[1], -1)"
        },
        "Images and heads share one axis, and the reading order is kept: a "
        "head gets pieces of a few tokens, not a piece of each.",
        "Which of the four axes must change places before any two can be joined?",
        GITHUB + "reczoo/FuxiCTR/issues/30",
    ),
    edit(
        "images-and-heads-joined",
        {"transpose(1, 2)": "transpose(1, 2).flatten(0, 1)"},
        "Images and heads share one axis: three axes come back, expected four.",
        "How does the next step know which rows belong to one image?",
    ),
    edit(
        "heads-behind-tokens",
        {".transpose(1, 2)": ""},
        "The heads stand behind the tokens: (B, N, h, D_h).",
        "Attention compares along the last axis but one. What would it compare here?",
    ),
    edit(
        "heads-before-images",
        {"transpose(1, 2)": "permute(2, 0, 1, 3)"},
        "The heads stand before the images: (h, B, N, D_h).",
        "Which axis comes first in every tensor of this course?",
    ),
    edit(
        "features-before-tokens",
        {"transpose(1, 2)": "permute(0, 2, 3, 1)"},
        "Features and tokens have changed places: (B, h, D_h, N).",
        "What should one row be: a token, or a feature?",
    ),
    edit(
        "first-head-repeated",
        {
            "unflatten(-1, (num_heads, -1)).transpose(1, 2)": "chunk(num_heads, -1)[0]"
            ".unsqueeze(1).expand(-1, num_heads, -1, -1)"
        },
        "Every head gets the first D_h features; the others go nowhere.",
        "Which features does the second head get?",
    ),
    edit(
        "heads-overlap",
        {
            "x.unflatten(-1, (num_heads, -1))": "x.unfold("
            "-1, x.shape[-1] // num_heads, 1)[:, :, :num_heads]"
        },
        "Head i begins at feature i, so that heads share features.",
        "How far apart are the first features of two heads?",
    ),
    edit(
        "heads-reversed",
        {"transpose(1, 2)": "transpose(1, 2).flip(1)"},
        "The last head comes first.",
        "Which head gets the first D_h features?",
    ),
    edit(
        "remainder-dropped",
        {DIVIDES: "x = x[..., : x.shape[-1] // num_heads * num_heads]"},
        "If the heads do not divide the width, the last features are dropped.",
        "How many features are in the heads, and how many came?",
        GITHUB + "yandexdataschool/nlp_course/pull/131",
    ),
)

# Misconceptions of merge_heads.

MOVED, JOINED = "x.transpose(1, 2)", "x.transpose(1, 2).flatten(2)"
SIDE_BY_SIDE = "How wide is a token when the heads stand side by side?"
MERGE = edits(
    merge_heads,
    edit(
        "merge-by-reshape",
        {JOINED: "x.reshape(len(x), x.shape[2], -1)"},
        "The shape is right, but a token gets what one head made of several tokens.",
        "Read the heads row by row. What comes after head 0's features of token 0?",
        GITHUB + "jsbaan/transformer-from-scratch/pull/6",
    ),
    edit(
        "heads-alternate",
        {MOVED: "x.permute(0, 2, 3, 1)"},
        "The features of all heads alternate instead of standing head after head.",
        "Which features does the output projection expect first: all of head 0?",
    ),
    edit(
        "heads-below-one-another",
        {JOINED: "x.flatten(1, 2)"},
        "The heads stand one below the other: h · N rows come back, expected N.",
        "How many tokens go in, and how many should come out?",
    ),
    edit(
        "heads-not-joined",
        {".flatten(2)": ""},
        "The heads have moved behind the tokens, but still have an axis of their own.",
        "Which two axes together are the width of a token?",
    ),
    edit(
        "heads-averaged",
        {JOINED: "x.mean(1)"},
        "The heads are averaged: what each of them found can no longer be told apart.",
        SIDE_BY_SIDE,
    ),
    edit(
        "heads-added",
        {JOINED: "x.sum(1)"},
        "The heads are added up: what each of them found can no longer be told apart.",
        SIDE_BY_SIDE,
    ),
    edit(
        "heads-reversed",
        {MOVED: "x.flip(1).transpose(1, 2)"},
        "The features of the last head come first.",
        "Which head's features does the output projection expect first?",
    ),
)

# Misconceptions of MultiHeadSelfAttention.

EACH_SPLIT = "split_heads(t, self.num_heads)"
SPLITTING = f"        q, k, v = ({EACH_SPLIT} for t in (q, k, v))  # (B, h, N, D_h)\n"
ATTENDING, ENDING = "output, _ = attention(q, k, v)", "self.proj(merge_heads(output))"
NOT_LINEAR = "How many steps of the equation are not linear?"
SKIP = "Is the skip connection a part of attention, or of what stands around it?"
WHERE_NORM = "Is a LayerNorm a part of attention, or of what stands around it?"
JOINED_IN_ORDER = "In which order does the task join the three?"
WHAT_IS_CUT = "What is cut into heads: the token, or what is made from it?"
OWN = edits(
    MultiHeadSelfAttention,
    edit(
        "scaled-by-dim",
        {
            ATTENDING: "scores = q @ k.transpose(-2, -1) / math.sqrt(x.shape[-1])\n"
            "        output = scores.softmax(dim=-1) @ v"
        },
        "The scale is made from the width of the token, D, not from that of a head, "
        "so the scores are too small by √h.",
        "Count the products that were added up for one score: D or D_h?",
        GITHUB + "lucidrains/vit-pytorch/issues/65",
    ),
    # Written out, as an exercise shows it where the functions may not be written yet.
    edit(
        "scaled-by-heads",
        {
            "chunk(3, dim=-1)": "unflatten(-1, (3, self.num_heads, -1)).unbind(2)",
            EACH_SPLIT: "t.transpose(1, 2)",
            ATTENDING: "scores = q @ k.transpose(-2, -1) / math.sqrt(self.num_heads)\n"
            "        output = scores.softmax(dim=-1) @ v",
            "merge_heads(output)": "output.transpose(1, 2).flatten(2)",
        },
        "The scale is made from the number of heads, not from the width of a head.",
        "Which of the two is the length of a query?",
        GITHUB + "tenstorrent/tt-metal/pull/56789",
    ),
    edit(
        "no-output-projection",
        {ENDING: "merge_heads(output)"},
        "The output projection is never applied: no feature of the output depends "
        "on more than one head.",
        "Head 1 makes D_h features. How does what it found get into the others?",
        GITHUB + "Kyubyong/transformer/pull/17",
    ),
    edit(
        "token-sliced",
        {
            "nn.Linear(dim, 3 * dim)": "nn.Linear(dim // num_heads, "
            "3 * dim // num_heads)",
            "(x, self.qkv.in_features)": "(x, self.num_heads * self.qkv.in_features)",
            "self.qkv(x)": "self.qkv(split_heads(x, self.num_heads))",
            SPLITTING: "",
        },
        "The token is cut into h slices, and each head projects its own slice. A head "
        "is blind to all other features.",
        WHAT_IS_CUT,
        GITHUB + "aladdinpersson/Machine-Learning-Collection/issues/3",
    ),
    edit(
        "qkv-read-by-head",
        {"self.qkv(x)": "split_heads(self.qkv(x), self.num_heads)", SPLITTING: ""},
        "`qkv` is read head by head, each with its query, key and value. Weights that "
        "were trained for the other order do not fit.",
        "If `qkv` stacks all queries, all keys, all values, where does head 1 begin?",
        "tutorial 6 of phlippe/uvadlc_notebooks, which reads it so on purpose",
    ),
    edit(
        "qkv-interleaved",
        {"chunk(3, dim=-1)": "unflatten(-1, (-1, 3)).unbind(-1)"},
        "Every third entry of `qkv` is read as a query, not the first D of them.",
        "If `qkv` stacks queries, keys and values, where in it do the keys begin?",
    ),
    edit(
        "qkv-by-reshape",
        {"chunk(3, dim=-1)": "reshape(3, *x.shape)"},
        "`qkv` is cut into queries, keys and values by a bare reshape, so they hold "
        "pieces of one another, and of other images.",
        "Along which axis of `qkv` do queries, keys and values stand side by side?",
    ),
    edit(
        "all-by-reshape",
        {
            "chunk(3, dim=-1)": "reshape(3, len(x), self.num_heads, x.shape[1], -1)",
            SPLITTING: "",
        },
        "`qkv` is reshaped to (3, B, h, N, D_h) in one step. The reading order stays, "
        "so queries, keys and values hold pieces of one another, and of other images.",
        "In which order do the axes of `qkv` count, before any of them is moved?",
    ),
    edit(
        "one-head-repeated",
        {
            "3 * dim)": "3 * dim // num_heads)",
            "self.qkv(x)": "self.qkv(x).unsqueeze(1)",
            SPLITTING: "",
            "(output)": "(output.expand(-1, self.num_heads, -1, -1))",
        },
        "All heads share the projections of one head, so they all do the same.",
        "If all heads agree, how many do you have?",
    ),
    edit(
        "heads-of-full-width",
        {
            "3 * dim)": "3 * dim * num_heads)",
            "nn.Linear(dim, dim)": "nn.Linear(dim * num_heads, dim)",
        },
        "Each head is as wide as the token, so the layer has about h times as many "
        "parameters.",
        "If h heads stand side by side, how wide may each be?",
    ),
    edit(
        "heads-averaged",
        {
            "nn.Linear(dim, dim)": "nn.Linear(dim // num_heads, dim)",
            "merge_heads(output)": "output.mean(1)",
        },
        "The outputs of the heads are averaged, added or left out; they do not stand "
        "side by side.",
        "After an average, can the output projection tell the heads apart?",
    ),
    edit(
        "weights-averaged",
        {
            "output, _": "_, weights",
            "(output)": "(weights.mean(1, keepdim=True) @ v)",
        },
        "The weights are averaged over the heads, and all heads use the average.",
        "What can two heads do that one cannot, if their weights are equal?",
    ),
    edit(
        "heads-attend-to-heads",
        {
            EACH_SPLIT: "t.unflatten(-1, (self.num_heads, -1))",
            "merge_heads(output)": "output.flatten(2)",
        },
        "The heads of one token attend to one another; no token sees another token.",
        "Which axis stands last but one when attention is called?",
    ),
    edit(
        "batch-taken-for-tokens",
        {
            "self.qkv(x)": "self.qkv(x.transpose(0, 1))",
            ENDING: f"{ENDING}.transpose(0, 1)",
        },
        "The images attend to one another; the tokens of an image do not.",
        "Which axis does your attention take for the tokens?",
        GITHUB + "dhimasryan/MOSA-Net-Cross-Domain/issues/10",
    ),
    edit(
        "heads-and-images-mixed",
        {"(output)": "(output.transpose(0, 1).reshape(output.shape))"},
        "The joined axis is made with the heads outside and read with the images "
        "outside, so an image gets heads of other images.",
        "Does your joined axis count heads or images faster?",
        GITHUB + "lsdefine/attention-is-all-you-need-keras/issues/36",
    ),
    edit(
        "one-head",
        {SPLITTING: "", "merge_heads(output)": "output"},
        "There is one head, as wide as the token, whatever `num_heads` says.",
        "Where does the number of heads go that the module was built with?",
    ),
    edit(
        "count-and-width-exchanged",
        {EACH_SPLIT: "split_heads(t, t.shape[-1] // self.num_heads)"},
        "There are D_h heads of h features each, not h heads of D_h.",
        "Which of the two new axes counts the heads, and how long is it?",
    ),
    edit(
        "qkv-read-as-kvq",
        {ATTENDING: "output, _ = attention(v, q, k)"},
        "The three parts of `qkv` are read as keys, values and queries.",
        JOINED_IN_ORDER,
    ),
    edit(
        "qkv-read-as-vqk",
        {ATTENDING: "output, _ = attention(k, v, q)"},
        "The three parts of `qkv` are read as values, queries and keys.",
        JOINED_IN_ORDER,
    ),
    edit(
        "own-token-hidden",
        {
            ATTENDING: "scores = q @ k.mT / math.sqrt(q.shape[-1])\n"
            "        scores.diagonal(dim1=-2, dim2=-1).fill_(-1e9)\n"
            "        output = scores.softmax(dim=-1) @ v"
        },
        "A token does not see itself.",
        "May a query meet the key of its own token?",
        "Lee et al. 2021, Vision Transformer for Small-Size Datasets, on purpose",
    ),
    edit(
        "values-not-averaged",
        {"merge_heads(output)": "merge_heads(v)"},
        "Each token keeps its own value: no token sees another.",
        "What are the weights for, once they are computed?",
    ),
    edit(
        "attention-never-used",
        {"merge_heads(output)": "x"},
        "The output projection reads the tokens themselves; what the heads found is "
        "lost.",
        "Which tensor leaves the last step before the output projection?",
    ),
    edit(
        "projected-twice",
        {ENDING: "self.proj(self.proj(merge_heads(output)))"},
        "The output projection is applied twice.",
        "How often does W_O stand in the equation?",
    ),
    edit(
        "activation-before-proj",
        {"merge_heads(output)": "merge_heads(output).relu()"},
        "An activation cuts off what is negative before the output projection.",
        NOT_LINEAR,
    ),
    edit(
        "tokens-added-before-proj",
        {"merge_heads(output)": "x + merge_heads(output)"},
        "The tokens are added to what the heads found, before the output projection.",
        SKIP,
    ),
    edit(
        "norm-in-front",
        {"self.qkv(x)": "self.qkv(F.layer_norm(x, x.shape[-1:]))"},
        "The tokens are normalized before the projections.",
        WHERE_NORM,
    ),
    edit(
        "norm-at-the-end",
        {ENDING: f"F.layer_norm({ENDING}, x.shape[-1:])"},
        "The output is normalized.",
        WHERE_NORM,
    ),
    edit(
        "skip-and-norm",
        {ENDING: f"F.layer_norm(x + {ENDING}, x.shape[-1:])"},
        "The tokens are added to the output, and the sum is normalized.",
        SKIP,
        "BertSelfOutput in huggingface/transformers, where it belongs",
    ),
    edit(
        "queries-and-keys-normalized",
        {
            ATTENDING: "output, _ = attention(F.normalize(q, dim=-1), "
            "F.normalize(k, dim=-1), v)"
        },
        "Queries and keys are set to length 1, so a score is a cosine.",
        "What does the equation divide the scores by, and what does it leave alone?",
        "Liu et al. 2022, Swin Transformer V2, on purpose",
    ),
    edit(
        "activation-in-projections",
        {"self.qkv(x)": "self.qkv(x).relu()"},
        "An activation cuts off what is negative in queries, keys and values.",
        NOT_LINEAR,
        GITHUB + "Kyubyong/transformer/issues/49",
    ),
    edit(
        "activation-at-the-end",
        {ENDING: f"{ENDING}.relu()"},
        "An activation behind the output projection cuts off what is negative.",
        NOT_LINEAR,
        GITHUB + "Kyubyong/transformer/pull/17",
    ),
    edit(
        "tokens-added",
        {ENDING: f"x + {ENDING}"},
        "The tokens themselves are added to the output.",
        SKIP,
    ),
    edit(
        "pair-returned",
        {"output, _": "output, weights", ENDING: f"{ENDING}, weights"},
        "It returns a tuple (output, weights), expected the output alone.",
        "What does the next layer take?",
    ),
    edit(
        "no-projections",
        {"self.qkv(x).chunk(3, dim=-1)": "x, x, x"},
        "The input itself is split into heads and serves as queries, keys and values.",
        WHAT_IS_CUT,
        "https://stats.stackexchange.com/questions/612334",
    ),
    edit(
        "split-and-merge-by-reshape",
        {
            EACH_SPLIT: "t.reshape(len(x), self.num_heads, x.shape[1], -1)",
            "merge_heads(output)": "output.reshape(x.shape)",
        },
        "Split and merge undo each other, but both keep the reading order: a head "
        "compares pieces of a few tokens.",
        "merge(split(x)) is x. Does this say that a row of a head is a token?",
        GITHUB + "harvardnlp/annotated-transformer/issues/17",
    ),
    edit(
        "heads-interleaved",
        {
            EACH_SPLIT: "t.unflatten(-1, (-1, self.num_heads)).permute(0, 3, 1, 2)",
            "merge_heads(output)": "output.permute(0, 2, 3, 1).flatten(2)",
        },
        "Split and merge undo each other, but head i gets every h-th feature, not the "
        "D_h that stand together.",
        WHICH_AXIS,
    ),
)
# Those of SelfAttention: which projection serves for what.
CONFUSED = {
    "query-and-key-swapped": "k, q, v",
    "key-and-value-swapped": "q, v, k",
    "query-and-value-swapped": "v, k, q",
    "one-projection": "q, q, q",
    "query-is-key": "q, q, v",
    "value-is-query": "q, k, q",
}


def confused(name: str, order: str) -> Misconception:
    """A misconception of SelfAttention as it shows with several heads."""
    (one_head,) = named(SELF_ATTENTION, name)
    changes = {"(q, k, v)  # (B, h, N": f"({order})  # (B, h, N"}
    return replace(one_head, right=MultiHeadSelfAttention, changes=changes)


# Those of attention that look alike or cannot be seen with heads, or look otherwise.
APART = {*HIDDEN, "softmax-over-batch"} - {"axes-1-and-2-swapped"}
OF_ATTENTION = (
    replace(
        *named(ATTENTION, "softmax-over-axis-1"),
        name="softmax-over-heads",
        seen="Softmax runs over the heads: for each query and key they share out "
        "100 %.",
    ),
    replace(
        *named(ATTENTION, "softmax-over-batch"),
        seen="Softmax runs over the images of the batch.",
    ),
    *(m for m in ATTENTION if m.name not in APART),
)
LAYER = (
    *OWN,
    *(confused(name, order) for name, order in CONFUSED.items()),
    *inside(
        MultiHeadSelfAttention,
        (
            *named(SPLIT, "split-by-reshape", "every-hth-feature"),
            *named(MERGE, "merge-by-reshape", "heads-alternate"),
            *OF_ATTENTION,
        ),
    ),
)
# What each head adds to the output: the right version, and wrong ones.


def added(heads: Tensor, w_out: Tensor) -> Tensor:
    """What each head adds to the output, without the bias.

    heads: the heads' outputs (B, h, N, D_h). w_out: (D, D), as nn.Linear holds it.
    Returns (B, h, N, D), which adds up over the heads to what the layer returns.
    """
    h, D_h = heads.shape[1], heads.shape[-1]
    blocks = w_out.T.unflatten(0, (h, D_h))  # (h, D_h, D)
    return heads @ blocks


ADDED = edits(
    added,
    edit(
        "weight-not-transposed",
        {"w_out.T": "w_out"},
        "The rows of the weight are dealt out to the heads. Each row of it makes one "
        "feature of the output, from all heads.",
        "nn.Linear computes x Wᵀ. Where in W stand the numbers that head 0 meets?",
    ),
    edit(
        "every-hth-feature",
        {"(h, D_h))": "(D_h, h)).transpose(0, 1)"},
        "Head 0 meets what belongs to features 0, h, 2h and so on of the joined heads.",
        WHICH_AXIS,
    ),
    edit(
        "one-block-for-all",
        {"heads @ blocks": "heads @ blocks[0]"},
        "All heads meet what belongs to head 0.",
        "Which rows of W_O does the second head meet?",
    ),
    edit(
        "heads-reversed",
        {"heads @ blocks": "heads @ blocks.flip(0)"},
        "The first head meets what belongs to the last.",
        "In which order do the heads stand side by side?",
    ),
    edit(
        "divided-by-heads",
        {"heads @ blocks": "heads @ blocks / h"},
        "What is added is too small by h.",
        "Do the parts of the heads add up to the output, or is it their mean?",
    ),
)
# Attention in windows: the right version, and wrong ones.


def windowed(
    q: Tensor, k: Tensor, v: Tensor, rows: int, columns: int, window: int
) -> Tensor:
    """Attention inside square windows that do not overlap, as in Swin without shifts.

    q, k, v: (B, h, N, D_h), a grid of tokens row by row, N = rows · columns.
    Returns (B, h, N, D_h), row by row. Raises ValueError if the windows do not fill
    the grid.
    """
    if rows % window or columns % window:
        raise ValueError(f"windows of {window} do not fill {rows} × {columns} tokens")
    down, across = rows // window, columns // window
    q, k, v = (
        t.unflatten(2, (down, window, across, window)).transpose(3, 4).flatten(4, 5)
        for t in (q, k, v)
    )  # each (B, h, down, across, window², D_h)
    output, _ = attention(q, k, v)
    output = output.unflatten(4, (window, window)).transpose(3, 4)
    return output.flatten(2, 5)  # (B, h, N, D_h)


CUTTING = "(down, window, across, window)).transpose(3, 4).flatten(4, 5)"
PUTTING_BACK = "unflatten(4, (window, window)).transpose(3, 4)"
SAME_WINDOW = "Draw two rows of four tokens and number them. Which share a window of 2?"
WINDOWS = edits(
    windowed,
    edit(
        "windows-by-reshape",
        {CUTTING: "(down, across, -1))", f"{PUTTING_BACK}\n": "flatten(2, 4)\n"}
        | {"output.flatten(2, 5)": "output"},
        "The tokens are cut in reading order: each window² tokens that follow one "
        "another attend to one another. Those of a window lie in several rows.",
        SAME_WINDOW,
    ),
    edit(
        "order-of-windows-kept",
        {f".{PUTTING_BACK}": ""} | {"flatten(2, 5)": "flatten(2, 4)"},
        "The windows are right, but what comes back stands window after window, not "
        "row by row.",
        "Token 1 stands beside token 0. What stands there after the first window?",
        GITHUB + "microsoft/Swin-Transformer, whose window_reverse does that step",
    ),
    edit(
        "rows-and-columns-exchanged",
        {"rows // window, columns // window": "columns // window, rows // window"},
        "The grid is read with as many rows as it has columns.",
        "How many tokens stand in the first row?",
    ),
    edit(
        "count-and-size-exchanged",
        {
            "(down, window, across, window)": "(window, down, window, across)",
            "(window, window)": "(down, across)",
        },
        "There are window × window windows, not windows of window × window tokens.",
        "Does `window` say how many windows there are, or how long a side is?",
    ),
    edit(
        "tokens-far-apart",
        {
            CUTTING: "(window, down, window, across))"
            ".permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 5)",
            PUTTING_BACK: "unflatten(4, (window, window)).permute(0, 1, 4, 2, 5, 3, 6)",
        },
        "As many tokens as a window has attend to one another, but they lie far apart: "
        "every second or third one of the grid, not neighbours.",
        SAME_WINDOW,
        "the grid attention of MaxViT (Tu et al. 2022), on purpose",
    ),
    edit(
        "windows-attend-to-windows",
        {
            CUTTING: "(down, window, across, window))"
            ".permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 5)",
            PUTTING_BACK: "unflatten(4, (down, across)).permute(0, 1, 4, 2, 5, 3, 6)",
        },
        "A token attends to those that have the same place in other windows, and to "
        "none of its own.",
        "Which axis stands last but one when attention is called?",
    ),
    edit(
        "strips-for-windows",
        {CUTTING: "(down, -1))", f"{PUTTING_BACK}\n": "flatten(2, 3)\n"}
        | {"output.flatten(2, 5)": "output"},
        "The grid is cut into strips of whole rows: what is left of a window and what "
        "is right of it belong to it, too.",
        "How many tokens has a window of 2, and how many attend to one another here?",
    ),
    edit(
        "no-windows",
        {f".unflatten(2, {CUTTING}": "", f"output = output.{PUTTING_BACK}": ""}
        | {"output.flatten(2, 5)": "output"},
        "Every token attends to the whole grid.",
        "Which keys may token 0 meet?",
    ),
    edit(
        "windows-and-images-mixed",
        {
            f"output.{PUTTING_BACK}": "output.permute(2, 3, 0, 1, 4, 5).reshape(\n"
            "        len(q), down, across, -1, window**2, v.shape[-1]\n"
            f"    )\n    output = output.movedim(3, 1).{PUTTING_BACK}"
        },
        "The joined axis is made with the windows outside and read with the images "
        "outside, so an image gets windows of other images.",
        "Does your joined axis count windows or images faster?",
    ),
    edit(
        "values-not-averaged",
        {"output, _ = attention(q, k, v)": "output = v"},
        "Each token keeps its own value: no token sees another.",
        "What are the weights for, once they are computed?",
    ),
)
WINDOWED = (*WINDOWS, *inside(windowed, named(ATTENTION, "no-scale")))
# Rotary positions: the right version, and wrong ones.


def rotated(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """Turn each pair of features by an angle that grows with the position (RoPE).

    x: queries or keys (B, h, N, D_h), D_h even. positions: N whole numbers.
    Features 2j and 2j + 1 of a token at position p turn by p · base^(−2j / D_h).
    Returns (B, h, N, D_h). Source: Su et al. 2024.
    """
    D_h = x.shape[-1]
    exponents = torch.arange(0, D_h, 2, dtype=x.dtype, device=x.device) / D_h
    angles = positions[:, None] * base**-exponents  # (N, D_h / 2)
    cos, sin = angles.cos(), angles.sin()
    first, second = x[..., 0::2], x[..., 1::2]  # each (B, h, N, D_h / 2)
    turned = first * cos - second * sin, first * sin + second * cos
    return torch.stack(turned, dim=-1).flatten(-2)


PAIRS, JOINING = "x[..., 0::2], x[..., 1::2]", "torch.stack(turned, dim=-1).flatten(-2)"
TURNED = "first * cos - second * sin, first * sin + second * cos"
WHICH_PAIR = "Which feature makes a pair with feature 0?"
TURN_ONE = "Turn the pair (1, 0) by a quarter of a full turn. What comes out?"
WHICH_ANGLE = (
    "Token 1 stands at position 1. By which angle does each of its pairs turn?"
)
ROTATED = edits(
    rotated,
    edit(
        "halves-paired",
        {PAIRS: "x.chunk(2, dim=-1)", JOINING: "torch.cat(turned, dim=-1)"},
        "Feature j makes a pair with feature j + D_h / 2. The scores depend on "
        "distances then, too, but weights that were trained with neighbours do not "
        "fit.",
        WHICH_PAIR,
        "the Llama of huggingface/transformers, which pairs them so on purpose",
    ),
    edit(
        "pairs-not-put-back",
        {JOINING: "torch.cat(turned, dim=-1)"},
        "The pairs turn rightly, but then all first features stand before all second "
        "ones.",
        "Where was the second feature of the first pair, and where is it now?",
    ),
    edit(
        "turned-backwards",
        {TURNED: "first * cos + second * sin, second * cos - first * sin"},
        "The pairs turn the other way round: from the second axis to the first.",
        TURN_ONE,
    ),
    edit(
        "mirrored",
        {TURNED: "first * cos - second * sin, first * sin - second * cos"},
        "The pairs are mirrored, not turned: at position 0 the second feature of each "
        "pair changes its sign.",
        "By which angle does (0, 1) turn at position 0, and what should come out?",
    ),
    edit(
        "sine-and-cosine-exchanged",
        {"cos, sin =": "sin, cos ="},
        "Sine and cosine have changed places, so a token at position 0 turns, too.",
        "What are the sine and the cosine of 0?",
    ),
    edit(
        "one-half-already-turned",
        {
            "    turned = ": "    first = first * cos - second * sin\n    turned = ",
            TURNED: "first, first * sin + second * cos",
        },
        "The second feature of a pair is made from the first one as it is after the "
        "turn, so lengths change.",
        "At which moment does your code still know the pair as it was?",
    ),
    edit(
        "one-angle-for-all-pairs",
        {"base**-exponents": "torch.ones_like(exponents)"},
        "All pairs turn by the position itself, whatever j is.",
        WHICH_ANGLE,
    ),
    edit(
        "angles-grow-along-the-pairs",
        {"base**-exponents": "base**exponents"},
        "Later pairs turn faster than the first one, not slower.",
        "Is base^(−2j / D_h) larger or smaller than 1?",
    ),
    edit(
        "pairs-numbered-by-one",
        {"torch.arange(0, D_h, 2, ": "torch.arange(D_h // 2, "},
        "Pair j turns by p · base^(−j / D_h): the 2 in the exponent is missing.",
        "Which exponent has the last of the D_h / 2 pairs?",
    ),
    edit(
        "divided-by-pairs",
        {" / D_h\n": " / (D_h // 2)\n"},
        "The exponent is divided by the number of pairs, not by D_h.",
        "Which exponent has the last of the D_h / 2 pairs?",
    ),
    edit(
        "positions-counted-anew",
        {"positions[:, None]": "torch.arange(len(positions)).to(positions)[:, None]"},
        "The angles are made from the places in the list, 0 to N − 1; the positions "
        "that were given are never read.",
        "What comes out for a single token at position 7?",
    ),
    edit(
        "added-instead-of-turned",
        {TURNED: "first + cos, second + sin"},
        "Sines and cosines are added to the features. That is how positions get to the "
        "tokens in chapter 01; here nothing is turned.",
        "Does a turn change the length of a vector? And a sum?",
    ),
)
MISCONCEPTIONS = {
    "split_heads": SPLIT,
    "merge_heads": MERGE,
    "MultiHeadSelfAttention": LAYER,
    "find_the_bug": ADDED,
    "windowed": WINDOWED,
    "rotated": ROTATED,
}

# The oracles.


@oracle_of_function
def split_oracle(x: Tensor, num_heads: int) -> Tensor:
    """Equal parts of the last axis, stacked as heads."""
    return torch.stack(x.chunk(num_heads, -1), 1)


@oracle_of_function
def merge_oracle(x: Tensor) -> Tensor:
    """The heads side by side."""
    return torch.cat(x.unbind(1), -1)


@oracle_of_function
def added_oracle(heads: Tensor, w_out: Tensor) -> Tensor:
    """Each head by itself, with the columns of the weight that meet it."""
    columns = w_out.chunk(heads.shape[1], dim=-1)  # h times (D, D_h)
    parts = [
        torch.einsum("bnd,ed->bne", y, w)
        for y, w in zip(heads.unbind(1), columns, strict=True)
    ]
    return torch.stack(parts, 1)


@oracle_of_function
def windowed_oracle(
    q: Tensor, k: Tensor, v: Tensor, rows: int, columns: int, window: int
) -> Tensor:
    """Attention over the whole grid, with no weight for keys of other windows."""
    place = torch.arange(rows * columns, device="cpu")
    place = torch.stack([place // columns, place % columns]) // window  # (2, N)
    apart = (place[:, :, None] != place[:, None]).any(0)  # (N, N)
    scores = torch.einsum("bhnd,bhmd->bhnm", q, k) * q.shape[-1] ** -0.5
    scores = scores.masked_fill(apart, -torch.inf)
    weights = (scores - scores.logsumexp(-1, keepdim=True)).exp()
    return torch.einsum("bhnm,bhmd->bhnd", weights, v)


def rotated_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """Each pair as a complex number, multiplied by one of length 1."""
    x, (positions, base) = double(question.inputs[0]), question.inputs[1:]
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))  # (B, h, N, D_h / 2)
    count = pairs.shape[-1]
    speeds = base ** (-torch.arange(count, device="cpu").double() / count)
    angles = torch.outer(positions.double(), speeds)
    output = torch.view_as_real(pairs * torch.exp(1j * angles)).flatten(-2)
    return finish(question, {"input 0": x}, (output,))


def layer(x: Tensor, get: Get, dim: int, num_heads: int) -> Tensor:
    """MultiHeadSelfAttention."""
    return multi_head(x, get, num_heads)


# The questions. All sizes differ; where two are equal, a wrong version must fail by its
# numbers, not by its shapes.

# The number 12 is feature 2 of token 1.
NUMBERED = small(*([10 * n + i for i in range(6)] for n in range(4)))
# The same, with a hundred for head 1.
NUMBERED_HEADS = torch.stack([NUMBERED[:, :3], 100 + NUMBERED[:, :3]])


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
        Question("a nan", (with_nan(x), 3)),
        *edges((x, 3), normal(2, 3, 5, 4)),
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
        Question("a nan", (with_nan(x),)),
        *edges((x,), normal(2, 5, 12)),
    ]


SMALL_HEADS = torch.stack([small([1, 0], [0, 1]), small([2, 0], [0, 3])])
SMALL_W_OUT = small([1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 2, 1, 0])


def added_questions(seed: int) -> list[Question]:
    """Two small heads for messages, random ones for the verdict."""
    normal = Normal(seed)
    heads, w_out = normal(2, 4, 5, 3), normal(12, 12)
    return [
        Question("small numbers", (SMALL_HEADS[None], SMALL_W_OUT)),
        Question("four heads", (heads, w_out)),
        Question("as many heads as tokens", (normal(2, 4, 4, 3), w_out)),
        Question("heads as wide as there are tokens", (normal(2, 4, 3, 3), w_out)),
        Question("two heads", (normal(3, 2, 4, 5), normal(10, 10))),
        Question("one head", (normal(2, 1, 5, 7), normal(7, 7))),
        Question("heads of width 1", (normal(2, 3, 5, 1), normal(3, 3))),
        Question("a nan", (with_nan(heads), w_out)),
        *edges((heads, w_out), normal(2, 4, 5, 12)),
    ]


# Two rows of four tokens. With queries of 0 all keys of a window count the same, and a
# token gets the mean of its window: 2.5 or 4.5.
NUMBERED_GRID = small(*([i] for i in range(8)))[None, None]  # (1, 1, 8, 1)
GRID = 0 * NUMBERED_GRID


def windowed_questions(seed: int) -> list[Question]:
    """A small numbered grid for messages, random ones for the verdict."""
    normal = Normal(seed)
    q, k, v = (normal(2, 4, 60, 7) for _ in range(3))
    grid = (6, 10, 2)  # rows, columns, window: 3 · 5 windows
    changed = k.clone(), v.clone()
    for t in changed:
        t[0, :, CHANGED] += 3
    narrow = tuple(normal(3, 2, 18, 1) for _ in range(3))
    return [
        Question("small numbers", (GRID, GRID, NUMBERED_GRID, 2, 4, 2)),
        Question("a grid", (q, k, v, *grid)),
        Question("one token changed", (q, *changed, *grid)),
        Question("windows of three", (*narrow, 3, 6, 3)),
        Question("a square grid", (*(t[:, :, :36] for t in (q, k, v)), 6, 6, 2)),
        Question("one window", (*(t[:, :, :16] for t in (q, k, v)), 4, 4, 4)),
        Question("windows of one token", (q, k, v, 6, 10, 1)),
        Question("a nan", (q, with_nan(k), v, *grid)),
        *edges((q, k, v, *grid), normal(2, 4, 60, 7)),
        Question("rows that are left over", (q, k, v, 15, 4, 2), refused=True),
        Question("columns that are left over", (q, k, v, 4, 15, 2), refused=True),
    ]


CHANGED = 24  # in row 2, column 4 of ten


# Three tokens with two pairs each: (1, 0) and (0, 1).
PAIRED = small([1, 0, 0, 1], [1, 0, 0, 1], [1, 0, 0, 1])[None, None]


def rotated_questions(seed: int) -> list[Question]:
    """Small pairs for messages, random tokens for the verdict."""
    normal = Normal(seed)
    x, base = normal(2, 3, 5, 8), 10.0
    row = torch.arange(5, device="cpu")
    apart = torch.tensor([4, 0, 7, 2, 6], device="cpu")
    return [
        Question("small numbers", (PAIRED, row[:3], 100.0)),
        Question("in a row", (x, row, base)),
        Question("in a row, further on", (x, row + 6, base)),
        Question("at other positions", (x, apart, base)),
        Question("all at position 0", (x, 0 * apart, base)),
        Question("equal sizes", (normal(4, 4, 4, 4), row[:4], base)),
        Question("another base", (normal(3, 2, 4, 6), row[:4], 50.0)),
        Question("one pair", (normal(2, 3, 5, 2), row, base)),
        Question("one token", (normal(2, 3, 1, 8), apart[:1], base)),
        Question("a nan", (with_nan(x), apart, base)),
        *edges((x, apart, base), normal(2, 3, 5, 8)),
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
        # The same for every seed, so that wrong versions are asked once. They tell most
        # of them apart.
        Question("small numbers", (SMALL_X,), **tiny),
        Question("two small images", (batch(SMALL_X[0]),), **tiny),
        Question("one head, small", (SMALL_X,), **asked(4, 1, SMALL_PARAMETERS)),
        Question("four heads", (x,), **four),
        Question("another order", (x[:, order],), **four),
        Question("as many heads as tokens", (normal(2, 4, 12),), **four),
        Question("two heads", (normal(3, 4, 10),), **two),
        Question("one token", (normal(3, 1, 10),), **two),
        Question("one head", (normal(2, 3, 7),), **one),
        Question("heads of width 1", (normal(2, 5, 3),), **narrow),
        Question("called again", (x,), **four, rehearsals=(False,)),
        Question("in training", (x,), **four, training=True),
        Question("a nan", (with_nan(x),), **four),
        Question("large scores", (100 * SMALL_X.float(),), **tiny),
        *edges((x,), normal(2, 5, 12), **four),
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


# The sizes of the question that shows shapes, all different.
SPLIT_AXES = {"B": 2, "h": 3, "N": 5, "D_h": 4}
LAYER_AXES = {"B": 2, "h": 4, "N": 5, "D_h": 3}


def returns_axes(name: str, *questions: str, axes: dict[str, int]) -> Property:
    """The questions have answers of the expected shapes.

    axes: name → size, in the first question. It spells the shape that came.
    """

    @each(
        name,
        questions,
        "Which axis is which: image, head, token or feature?",
        core=True,
    )
    def test(trial: Trial) -> None:
        problem = trial.problem()
        if (
            problem
            and problem.name == "wrong-shape"
            and trial.question.name == questions[0]
        ):
            got, wanted = trial.reply.outputs[0].shape, trial.expected[0].shape
            text = ", ".join(spelled(size, axes) for size in got)
            name = "axes-in-another-order" if sorted(got) == sorted(wanted) else ""
            raise Fails(f"{problem.text} Its axes are ({text}).", name or problem.name)
        if problem:
            raise Fails.because(problem)

    return test


def spelled(size: int, axes: dict[str, int]) -> str:
    """A size as the neighbours that it is the product of, as h · N; or its digits."""
    orders = ("B", "h", "N", "D_h"), ("B", "N", "h", "D_h")
    for count, start in product(range(5), range(4)):
        for order in orders:
            names = order[start : start + count]
            if math.prod(axes[name] for name in names) == size:
                return " · ".join(names).replace("h · D_h", "D") or "1"
    return str(size)


def moves_numbers(part: str, ask: str) -> Property:
    """Each number that comes out went in."""

    @each(f"a {part} moves numbers and changes none", ("three heads",), ask, core=True)
    def test(trial: Trial) -> None:
        if not within(trial.output, trial.question.inputs[0]):
            text = (
                f"It returns numbers that it was not given. A {part} only moves them."
            )
            raise Fails(text, "numbers-changed")

    return test


def tokens_stay_apart(
    name: str, text: str, ask: str, before: int, after: int
) -> Property:
    """What is made of a token holds its numbers alone.

    before, after: the axes of the tokens in the input and in the output.
    """

    @each(name, ("three heads",), ask, core=True)
    def test(trial: Trial) -> None:
        if trial.right():
            return
        pairs = zip(
            trial.output.unbind(after),
            trial.question.inputs[0].unbind(before),
            strict=True,
        )
        for n, (made, given) in enumerate(pairs):  # each a token in all images
            if not all(map(within, made, given)):
                raise Fails(text.format(n=n), "tokens-mixed")

    return test


def within(numbers: Tensor, others: Tensor) -> bool:
    """Each number is one of the others, up to rounding."""
    numbers, limit = numbers.double().flatten(), tolerance_of(numbers)
    apart = (numbers[:, None] - others.double().flatten()).abs().amin(-1)
    return bool((apart < limit * (1 + numbers.abs())).all())


def refuses_no_right_sizes(question: str) -> Property:
    """Sizes that divide are taken, if the answer itself decides which are."""

    @holds(
        "heads that divide the width are taken",
        "Which axis of x is dealt out to the heads, and what must divide its length?",
        core=True,
    )
    def test(trials: Trials) -> None:
        came, problem = trials[question], trials[question].reply.problem
        wrong = [trials[n] for n in UNEVEN if not trials[n].right()]
        if problem and problem.name == "own-error" and wrong:
            text = f"It refuses {came.sizes()}, but not {wrong[0].sizes()}."
            raise Fails(text, "wrong-sizes-refused")

    return test


# The entries of all matrices of a layer, of D = 12 and 4 heads → what they betray.
D, D_H = 12, 3
ENTRIES = {
    0: "no-projections",
    D * D: "no-projections",
    2 * D * D: "one-projection",
    3 * D * D: "no-output-projection",
    3 * D * D_H: "one-head-repeated",
    3 * D * D_H + D * D: "one-head-repeated",
    3 * D * D + D_H * D: "heads-averaged",
    16 * D * D: "heads-of-full-width",
}
PROJECTIONS = ("query.weight", "key.weight", "value.weight", "proj.weight")


@holds(
    "projections of queries, keys, values and of the output are there",
    "What is learned here, and how wide is each part?",
    core=True,
)
def has_projections(trials: Trials) -> None:
    """Queries, keys, values and the output have a projection each, of all features."""
    trial = trials["float32"]  # in float64, layers in a list stop at their dtype
    reply = trial.reply
    if reply.problem and not reply.parameters:
        raise Fails.because(trial.problem())
    missing = [n.removesuffix(".weight") for n in PROJECTIONS if n not in reply.taken]
    if not missing:
        return require_apart(reply)
    matrices = [shape for shape in reply.parameters.values() if len(shape) > 1]
    betrayed = ENTRIES.get(sum(map(math.prod, matrices)))
    if any(max(shape) < D for shape in matrices):
        betrayed = "token-sliced"
    if betrayed == "no-projections" and trials["four heads"].reply.problem:
        text = (
            "Torch knows of no projection of queries, keys and values in it. A layer "
        )
        text += "in a plain list is hidden from it, and so is a plain tensor."
        ask = "How does a module learn which parts are its own?"
        raise Fails(text, "projections-hidden", ask)
    if betrayed:
        raise shows(LAYER, betrayed)
    if reply.problem:
        raise Fails.because(trial.problem())
    many = [n for n in missing if f"{n}.0.weight" in reply.parameters]
    if many:
        text = f"`{many[0]}` holds several layers. Expected is one, for all heads."
        ask = "Which rows of one large weight would belong to head 0?"
        raise Fails(text, "layer-for-each-head", ask)
    has = listed(reply.parameters, near=missing)
    text = (
        f"It has no {', '.join(missing)}. Expected are the parts `query`, `key` "
        f"and `value`, or `qkv` for the three joined, and `proj`. It has: {has}."
    )
    raise Fails(text, "missing-parameters", "")


def require_apart(reply: Reply) -> None:
    """Fails if two projections are one and the same."""
    shared = [pair for pair in reply.shared if pair[0].endswith("weight")]
    if len(shared) == 3:
        raise shows(LAYER, "one-projection")
    if shared[:1] == [("query.weight", "key.weight")]:
        raise shows(LAYER, "query-is-key")
    if shared:
        raise one_and_the_same(*shared[0])


@each(
    "the parts add up to the output of the layer",
    ("small numbers", "four heads"),
    "Put the heads side by side and let nn.Linear map them. Is the sum of the parts "
    "the same?",
    core=True,
)
def parts_add_up(trial: Trial) -> None:
    """Over the heads they sum to the joined heads, projected."""
    heads, w_out = map(double, trial.question.inputs)
    whole = F.linear(torch.cat(heads.unbind(1), -1), w_out)
    apart = (trial.output.double().sum(1) - whole).abs().max().item()
    if not apart < tolerance_of(trial.output) * (1 + whole.abs().max().item()):
        text = "What the heads add does not sum to what the layer returns: it is off "
        raise Fails(f"{text}by up to {apart:.3g}.")


@holds(
    "a token hears its own window, and nothing else",
    "Which tokens may see that one of them changed?",
    core=True,
)
def stays_in_its_window(trials: Trials) -> None:
    """Where one token's key and value change, the outputs of its window do."""
    before, after = (trials[n].output.double() for n in ("a grid", "one token changed"))
    moved = (before - after).abs().amax((1, 3)) > 1e-4  # (B, N)
    *_, columns, window = trials["a grid"].question.inputs
    row, column = divmod(CHANGED, columns)
    places = {
        columns * r + c
        for r in range(row // window * window, row // window * window + window)
        for c in range(column // window * window, column // window * window + window)
    }
    text = f"In a grid of {columns} columns with windows of {window}, key and value of "
    text += f"token {CHANGED} changed, which is in row {row} and column {column}. "
    if moved[1:].any():
        raise Fails(f"{text}Tokens of another image changed, too.", "images-mixed")
    heard = set(moved[0].nonzero().flatten().tolist())
    if heard != places:
        some = ", ".join(map(str, sorted(heard)[:8])) + (
            ", …" if len(heard) > 8 else ""
        )
        wanted = ", ".join(map(str, sorted(places)))
        raise Fails(
            f"{text}Of its image, {some or 'no token'} changed in the output, "
            f"expected {wanted}."
        )


@each(
    "at position 0 nothing turns",
    ("all at position 0",),
    "By which angle does a token at position 0 turn?",
    core=True,
)
def rests_at_zero(trial: Trial) -> None:
    """The angle is 0 there, whatever the pair."""
    if not close(trial.output, trial.expected[0]):
        raise Fails("All tokens stand at position 0, and yet their features change.")


@each(
    "lengths stay as they are",
    ("at other positions",),
    "Does a turn make a vector longer?",
    core=True,
)
def keeps_lengths(trial: Trial) -> None:
    """The vector of each token and head is as long as before."""
    lengths = trial.output.double().norm(dim=-1)
    before = trial.question.inputs[0].double().norm(dim=-1)
    if not close(lengths, before):
        place = int((lengths - before)[0, 0].abs().argmax())
        text = f"Token {place} of head 0 had the length {before[0, 0, place]:.4g}, and "
        raise Fails(f"{text}now it has {lengths[0, 0, place]:.4g}.")


@holds(
    "a score depends on the distance of two tokens alone",
    "A query turns by pα and a key by rα. What is the angle between the two then?",
    core=True,
)
def scores_by_distance(trials: Trials) -> None:
    """If all tokens move on by as much, no score changes."""
    here, there = (
        trials[name].output.double() for name in ("in a row", "in a row, further on")
    )
    scores, moved = here @ here.mT, there @ there.mT
    if not close(scores, moved):
        most = float((scores - moved).abs().max())
        text = "All tokens moved on by 6 positions, so their distances are as before. "
        raise Fails(f"{text}Yet scores between them changed, by up to {most:.2g}.")


EQUAL_SIZES = ("as many heads as tokens", "heads as wide as there are tokens")
NARROW = "Does an axis of length 1 vanish on the way?"
TOKEN_0 = "Follow the numbers of token 0."
UNEVEN = ("five heads", "more heads than features")
REFUSES = refuses(
    "heads that do not divide the width are refused",
    "remainder-dropped",
    *UNEVEN,
    ask=named(SPLIT, "remainder-dropped")[0].ask,
)
EXTREMES = agrees(
    "one head, and heads of width 1, work", "one head", "heads of width 1", ask=NARROW
)
SPLIT_PROPERTIES = (
    REPEATS,
    refuses_no_right_sizes("three heads"),
    returns_axes(
        "heads (B, h, N, D_h) come back",
        *("three heads", "small numbers"),
        axes=SPLIT_AXES,
    ),
    moves_numbers("split", "Does a split compute, or only put numbers elsewhere?"),
    tokens_stay_apart(
        "row n of a head is made from token n",
        "Row {n} of the heads holds numbers that are not from token {n}.",
        f"{TOKEN_0} In which rows do they end up?",
        before=1,
        after=2,
    ),
    agrees(
        "the numbers agree with the definition",
        *("small numbers", "three heads", "six heads", *EQUAL_SIZES),
        ask="Which features does head 0 get, and in which order?",
        core=True,
    ),
    EXTREMES,
    REFUSES,
    PASSES_NAN_ON,
    *EDGES,
)
MERGE_PROPERTIES = (
    REPEATS,
    returns_axes(
        "tokens (B, N, D) come back",
        *("three heads", "small numbers"),
        axes=SPLIT_AXES,
    ),
    moves_numbers("merge", "Does a merge compute, or only put numbers elsewhere?"),
    tokens_stay_apart(
        "token n is made from row n of each head",
        "Token {n} holds numbers that are not from row {n} of the heads.",
        f"{TOKEN_0} Which rows of the heads hold them?",
        before=2,
        after=1,
    ),
    agrees(
        "the numbers agree with the definition",
        *("small numbers", "three heads", *EQUAL_SIZES),
        ask="Which head's features come first in a token?",
        core=True,
    ),
    EXTREMES,
    PASSES_NAN_ON,
    *EDGES,
)
ADDED_PROPERTIES = (
    REPEATS,
    returns_axes(
        "what each head adds (B, h, N, D) comes back",
        *("four heads", "small numbers", "two heads"),
        axes=LAYER_AXES,
    ),
    parts_add_up,
    agrees(
        "the numbers agree with the definition",
        *("small numbers", "four heads", "two heads", *EQUAL_SIZES),
        ask="Which entries of the weight does head 0 meet?",
        core=True,
    ),
    EXTREMES,
    PASSES_NAN_ON,
    *EDGES,
)
WINDOWED_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "output (B, h, N, D_h) comes back",
        *("a grid", "small numbers", "windows of three"),
        ask="Which axes did you make for the windows, and which are joined in the end?",
    ),
    stays_in_its_window,
    as_defined(
        *("small numbers", "a grid", "windows of three", "a square grid"),
        ask="Which keys does each query meet, and where does its output belong?",
    ),
    agrees(
        "one window, and windows of one token, work",
        *("one window", "windows of one token"),
        ask="What is left of attention with one key? And with one window?",
    ),
    refuses(
        "windows that do not fill the grid are refused",
        "windows-of-other-sizes",
        *("rows that are left over", "columns that are left over"),
        ask="What becomes of the tokens that are left over?",
    ),
    PASSES_NAN_ON,
    *EDGES,
)
ROTATED_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "the shape (B, h, N, D_h) comes back",
        *("in a row", "small numbers", "another base"),
        ask="What is done to a pair, and how many numbers are a pair afterwards?",
    ),
    rests_at_zero,
    keeps_lengths,
    scores_by_distance,
    as_defined(
        *("small numbers", "in a row", "in a row, further on"),
        *("at other positions", "equal sizes"),
        ask="Which features make a pair, by which angle does it turn, and which way?",
    ),
    agrees(
        "any base will do",
        "another base",
        ask="Where does `base` enter into your angles?",
    ),
    agrees("one pair, and one token, work", "one pair", "one token", ask=NARROW),
    PASSES_NAN_ON,
    *EDGES,
)
LAYER_PROPERTIES = (
    REPEATS,
    refuses_no_right_sizes("four heads"),
    has_projections,
    returns_axes(
        "output (B, N, D) comes back",
        *("four heads", "small numbers", "two heads"),
        axes=LAYER_AXES,
    ),
    SEPARATES_IMAGES,
    follows_order(
        *("four heads", "another order"),
        ask="Which step depends on where a token stands: a reshape, or a mask?",
        name="order-matters",
    ),
    agrees(
        "one head agrees with the definition in float64",
        "one head",
        ask="With one head there is nothing to split. Which other step differs?",
        core=True,
    ),
    agrees(
        "several heads agree with the definition in float64",
        *("four heads", "as many heads as tokens", "two heads", "one token"),
        ask="With one head all is right. Which step depends on how many there are?",
        core=True,
    ),
    agrees("heads of width 1 work", "heads of width 1", ask=NARROW),
    REFUSES,
    learns_no_more("four heads"),
    KEEPS_NO_STATE,
    SAME_IN_TRAINING,
    LARGE_SCORES,
    PASSES_NAN_ON,
    *EDGES,
)

# The tasks.

WRITE_SPLIT = Implement(
    form=Form(outputs=("heads",), reference=(split_heads,)),
    ask_about=split_questions,
    oracle=split_oracle,
    properties=SPLIT_PROPERTIES,
    misconceptions=SPLIT,
    show=Show(("small numbers",), axes={"heads": ("token", "feature")}),
)
WRITE_MERGE = Implement(
    form=Form(outputs=("tokens",), reference=(merge_heads,)),
    ask_about=merge_questions,
    oracle=merge_oracle,
    properties=MERGE_PROPERTIES,
    misconceptions=MERGE,
    show=Show(("small numbers",), axes={"tokens": ("token", "feature")}),
)
WRITE_LAYER = Implement(
    form=Form(
        outputs=("output",),
        is_class=True,
        fused=FUSED,
        aliases={"proj": ("proj.0",)},  # with dropout behind it, as in vit-pytorch
        builtins=("multi_head_attention",),
        reference=(MultiHeadSelfAttention, multi_head),
    ),
    ask_about=layer_questions,
    oracle=oracle_of(layer),
    properties=LAYER_PROPERTIES,
    misconceptions=LAYER,
    show=Show(
        (
            "small numbers",
            "two small images",
            "one head, small",
            "large scores",
        ),
        axes={"output": ("token", "feature")},
    ),
)


class WithTorchsAttention(MultiHeadSelfAttention):
    """A right layer that leaves scores and softmax to torch."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv(x).chunk(3, -1))
        return self.proj(merge_heads(F.scaled_dot_product_attention(q, k, v)))


TEST_THE_RESHAPE = BreakIt(
    right={
        "the course's own": MultiHeadSelfAttention,
        "one with torch's attention": WithTorchsAttention,
    },
    wrong=named(
        LAYER, "split-by-reshape", "merge-by-reshape", "split-and-merge-by-reshape"
    ),
    ask="What is true of every layer that takes rows for tokens? And with how many "
    "heads is a bare reshape right?",
)
REPAIR_ADDED = Implement(
    form=Form(outputs=("parts",), reference=(added,)),
    ask_about=added_questions,
    oracle=added_oracle,
    properties=ADDED_PROPERTIES,
    misconceptions=ADDED,
    show=Show(("small numbers",), axes={"parts": ("token", "feature")}),
    bug=named(ADDED, "weight-not-transposed")[0],
)
WRITE_WINDOWED = Implement(
    form=Form(outputs=("output",), reference=(windowed,)),
    ask_about=windowed_questions,
    oracle=windowed_oracle,
    properties=WINDOWED_PROPERTIES,
    misconceptions=WINDOWED,
    show=Show(("small numbers",), axes={"output": ("token", "feature")}),
)
WRITE_ROTATED = Implement(
    form=Form(outputs=("turned",), reference=(rotated,)),
    ask_about=rotated_questions,
    oracle=rotated_oracle,
    properties=ROTATED_PROPERTIES,
    misconceptions=ROTATED,
    show=Show(("small numbers",), axes={"turned": ("token", "feature")}),
)

TASKS = {
    "split_heads": WRITE_SPLIT,
    "merge_heads": WRITE_MERGE,
    "MultiHeadSelfAttention": WRITE_LAYER,
    "bare_reshape": TEST_THE_RESHAPE,
    "find_the_bug": REPAIR_ADDED,
    "windowed": WRITE_WINDOWED,
    "rotated": WRITE_ROTATED,
}
