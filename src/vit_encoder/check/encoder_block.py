"""The encoder block: what people get wrong, what must hold, and the tasks."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from vit_encoder.check import mlp
from vit_encoder.check.hearing.data import Form, Question
from vit_encoder.check.hearing.parameters import ALIASES, FUSED
from vit_encoder.check.judging import oracle
from vit_encoder.check.judging.chance import (
    NOT_BY_CHANCE,
    gated,
    require_drops,
    settled,
)
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
    block_parameters,
    linear_parameters,
    norm_parameters,
    oracle_of,
)
from vit_encoder.check.judging.pictures import Show
from vit_encoder.check.judging.properties import (
    EDGES,
    KEEPS_NO_STATE,
    PASSES_NAN_ON,
    REPEATS,
    UNEVEN_HEADS,
    Property,
    agrees,
    as_defined,
    each,
    has_parameters,
    holds,
    learns_no_more,
    refuses,
    require_parameters,
    returns_right_shapes,
    same_in_training,
    shows,
)
from vit_encoder.check.judging.questions import Normal, edges, small, with_nan
from vit_encoder.check.judging.trials import Fails, Trial, Trials, close
from vit_encoder.check.self_attention import LARGE_SCORES, SEPARATES_IMAGES
from vit_encoder.check.tasks import BreakIt, Implement
from vit_encoder.encoder_block import EncoderBlock
from vit_encoder.layer_norm import LayerNorm
from vit_encoder.mlp import MLP, dropout, gelu
from vit_encoder.multi_head import MultiHeadSelfAttention
from vit_encoder.self_attention import attention

# Misconceptions of the block. Many belong to one half, or to both in the same way.

ATTENDED, READ = "attended = self.attn(self.norm1(x))", "self.attn(self.norm1(x))"
COMPUTED, LAST = "self.mlp(self.norm2(x))", "return x + self.mlp(self.norm2(x))"
DROPPED = "dropout(attended, self.dropout, self.training)"
NO_NORM = {READ: "self.attn(x)"}, {COMPUTED: "self.mlp(x)"}
NORM_ON_THE_SKIP = (
    {ATTENDED: "x = self.norm1(x)\n        attended = self.attn(x)"},
    {LAST: "x = self.norm2(x)\n        return x + self.mlp(x)"},
)
NO_SKIP = {"x + dropout": "dropout"}, {"return x +": "return"}
ADDED_TO_ITSELF = (
    {"attended =": "x = attended ="},
    {LAST: f"x = {COMPUTED}\n        return x + x"},
)
ATTENTION = "MultiHeadSelfAttention(dim, num_heads)"
NORMED = (
    "normed = self.norm1(x)\n        attended, _ = self.attn(normed, normed, normed)"
)
BATCH_FIRST = "nn.MultiheadAttention(dim, num_heads, batch_first=True)"
BEFORE = "Which x does the sum remember, the one before the norm or the one after?"
BETWEEN = "What stands between the stream and each of the two branches?"
THREE_PLACES = "In which three places does dropout stand?"
PLACES = "In which three places does dropout stand, and who tells it about training?"
WIRE = "Which tokens does each branch read, and to which is its result added?"
TRANSFORMER = GITHUB + "SHI-Labs/Compact-Transformers/issues/25"
BITNET = GITHUB + "kyegomez/BitNet/issues/32"
# How the same parts are wired; all hold the parameters of the course's block.
TORCHS_EPSILON = edit(
    "torchs-epsilon",
    {"norm1 = LayerNorm": "norm1 = nn.LayerNorm", "norm2 = L": "norm2 = nn.L"},
    "The norms have PyTorch's default ε, 1e-5. It shows on tokens of small numbers.",
    "Whose default do you know by heart: PyTorch's, or that of ViT?",
    GITHUB + "keras-team/keras-hub/issues/642",
)
WIRING = edits(
    EncoderBlock,
    edit(
        "post-norm",
        NO_NORM[0]
        | {
            f"x + {DROPPED}": f"self.norm1(x + {DROPPED})",
            LAST: "return self.norm2(x + self.mlp(x))",
        },
        "Each LayerNorm stands after a sum, so every token leaves with the same size.",
        "If both branches were silent, what should come out?",
        GITHUB + "jeonsworld/ViT-pytorch/issues/5",
    ),
    edit(
        "norm-on-the-skip",
        NORM_ON_THE_SKIP[0] | NORM_ON_THE_SKIP[1],
        "The skips carry the normalized tokens: the stream forgets their sizes.",
        BEFORE,
        GITHUB + "pytorch/pytorch/issues/61165",
    ),
    edit(
        "halves-exchanged",
        {
            ATTENDED: "x = x + self.mlp(self.norm1(x))\n"
            "        attended = self.attn(self.norm2(x))",
            LAST: "return x",
        },
        "The MLP comes first, with the first norm, and the attention second.",
        "Which of the two halves does equation 2 name?",
    ),
    edit(
        "norm-on-the-first-skip",
        NORM_ON_THE_SKIP[0],
        "The first skip carries the normalized tokens; the second is as it should be.",
        "Which x does the first sum remember, the one before the norm or the one "
        "after?",
        TRANSFORMER,
    ),
    edit(
        "norm-on-the-second-skip",
        NORM_ON_THE_SKIP[1],
        "The second skip carries the normalized tokens; the first is as it should be.",
        "Which x does the second sum remember, the one before the norm or the one "
        "after?",
        TRANSFORMER,
    ),
    edit(
        "one-norm-twice",
        {"self.norm2(x)": "self.norm1(x)"},
        "The first LayerNorm serves both halves; the second is there but never used.",
        "At the start the two are twins. What tells them apart after training?",
        GITHUB + "allenai/OLMo/issues/222",
    ),
    edit(
        "norms-swapped",
        {"self.norm1(x)": "self.norm2(x)", COMPUTED: "self.mlp(self.norm1(x))"},
        "The two LayerNorms have changed places: the second serves the "
        "attention, the first the MLP.",
        "Which gain and bias did training fit to the attention?",
    ),
    edit(
        "mlp-reads-the-input",
        {"x = x + dropout": "z = x + dropout", "return x": "return z"},
        "The MLP reads the tokens that entered the block: attention and MLP work side "
        "by side, not one after the other.",
        "Has the attention spoken before the MLP listens?",
    ),
    edit(
        "mlp-reads-the-attention",
        {"self.norm2(x)": "self.norm2(attended)"},
        "The MLP reads what the attention gave, not the sum of that and the tokens.",
        "Which tokens go into the second LayerNorm, before the first sum or after?",
    ),
    edit(
        "one-skip-around-both",
        {"x = x + dropout": "z = dropout", "self.norm2(x)": "self.norm2(z)"},
        "There is one skip, from the block's input to its end, and no first sum.",
        "How many sums do equations 2 and 3 have together?",
    ),
    edit(
        "attention-left-out",
        {f"x = x + {DROPPED}": "pass"},
        "What the attention gives is not used.",
        "Where does a token learn of the other tokens?",
    ),
    edit(
        "mlp-left-out",
        {"x = x +": "return x +", f"        {LAST}  # (B, N, D)\n": ""},
        "The MLP is there, and never called.",
        "What does equation 3 add to the tokens?",
    ),
    edit(
        "skip-from-the-input",
        {"x = x + dropout": "z = x + dropout", "self.norm2(x)": "self.norm2(z)"},
        "The second skip starts at the block's input, so what the attention added to "
        "the stream is lost.",
        "Where must the second skip begin so that the first sum is kept?",
        GITHUB + "strutive07/transformer-tensorflow2.0/issues/14",
    ),
    edit(
        "no-first-skip",
        NO_SKIP[0],
        "What the attention gives replaces the tokens; nothing is added to them.",
        "How does a token keep what it knew before the attention?",
    ),
    edit(
        "no-second-skip",
        NO_SKIP[1],
        "What the MLP gives replaces the tokens; nothing is added to them.",
        "How does a token keep what it knew before the MLP?",
    ),
    edit(
        "no-skips",
        NO_SKIP[0] | NO_SKIP[1],
        "There is no sum at all: what each branch gives replaces the tokens.",
        "What is left of a token when both branches are silent?",
    ),
    edit(
        "added-to-itself",
        ADDED_TO_ITSELF[0],
        "The attention's result is added to itself; the tokens themselves are lost.",
        "When the sum is taken, what does the name x stand for?",
        BITNET,
    ),
    edit(
        "mlp-added-to-itself",
        ADDED_TO_ITSELF[1],
        "The MLP's result is added to itself; the tokens that it read are lost.",
        "When the second sum is taken, what does the name x stand for?",
        BITNET,
    ),
    edit(
        "both-added-to-themselves",
        ADDED_TO_ITSELF[0] | ADDED_TO_ITSELF[1],
        "What each branch gives is added to itself; the tokens themselves are lost.",
        "When a sum is taken, what does the name x stand for?",
        BITNET,
    ),
    edit(
        "no-first-norm",
        NO_NORM[0],
        "The attention reads the stream as it is; the first LayerNorm is never used.",
        BETWEEN,
    ),
    edit(
        "no-second-norm",
        NO_NORM[1],
        "The MLP reads the stream as it is; the second LayerNorm is never used.",
        BETWEEN,
    ),
    edit(
        "no-norms",
        NO_NORM[0] | NO_NORM[1],
        "Both branches read the stream as it is; no LayerNorm is ever used.",
        "What do the two LayerNorms do, and where in the equations do they stand?",
        GITHUB + "OpenTabular/DeepTab/pull/436",
    ),
    edit(
        "norm-on-the-output",
        {READ: "self.norm1(self.attn(x))", COMPUTED: "self.norm2(self.mlp(x))"},
        "Each LayerNorm stands behind its branch: the branch reads the stream as "
        "it is, and what it gives is normalized.",
        "What should be of one size: what a branch reads, or what it adds?",
        GITHUB + "lucidrains/vit-pytorch/issues/244",
    ),
    edit(
        "mlp-first",
        {
            "attended =": f"x = x + {COMPUTED}\n        attended =",
            "x = x +": "return x +",
            f"        {LAST}  # (B, N, D)\n": "",
        },
        "The MLP comes first and the attention second.",
        "Which of the two halves does equation 2 name?",
    ),
    edit(
        "added-in-place",
        {"x = x +": "x +="},
        "It writes its result into the tensor that it was given.",
        "Who else holds this tensor, and needs it as it was?",
        GITHUB + "karpathy/nanoGPT/pull/72",
    ),
)
OTHER_PARTS = edits(
    EncoderBlock,
    edit(
        "norm-on-query-only",
        {
            ATTENTION: BATCH_FIRST,
            ATTENDED: "attended, _ = self.attn(self.norm1(x), x, x)",
        },
        "Only the queries come from the normalized tokens; keys and values come "
        "from the stream as it is.",
        "How many inputs does attention take, and which of them are normalized?",
        GITHUB + "facebookresearch/xformers/pull/233",
    ),
    edit(
        "attention-across-images",
        {"MultiHeadSelfAttention": "nn.MultiheadAttention", ATTENDED: NORMED},
        "The attention takes the images for tokens: the output of one image "
        "depends on the others in its batch.",
        "Which axis does this module take for the tokens?",
        GITHUB + "dhimasryan/MOSA-Net-Cross-Domain/issues/10",
    ),
    edit(
        "one-head",
        {"(dim, num_heads)": "(dim, 1)"},
        "The attention has one head, whatever num_heads says.",
        "Where does the number of heads go that the module was built with?",
    ),
    edit(
        "arguments-exchanged",
        {"(dim, num_heads)": "(num_heads, dim)"},
        "The attention is built with num_heads as its width, and with dim heads.",
        "In which order does it take its two arguments, and in which do you?",
    ),
    edit(
        "hidden-width-for-heads",
        {"(dim, num_heads)": "(dim, mlp_dim)"},
        "The attention is built with mlp_dim heads.",
        "In which order does the block get its sizes?",
    ),
    edit(
        "heads-for-head-width",
        {"(dim, num_heads)": "(dim, dim // num_heads)"},
        "The attention has as many heads as one head should have features.",
        "Does the attention want to know how many heads there are, or how wide one is?",
    ),
    TORCHS_EPSILON,
)
DROPOUT = edits(
    EncoderBlock,
    edit(
        "dropout-ignored",
        {DROPPED: "attended", "MLP(dim, mlp_dim, dropout)": "MLP(dim, mlp_dim)"},
        "The block takes a p for dropout, but never drops anything.",
        "What should be left of the branches with p = 1 in training?",
    ),
    edit(
        "dropout-on-the-stream",
        {"x + dropout(attended": "dropout(x + attended"},
        "Dropout hits the sum, so it erases parts of the stream itself.",
        "What must survive when everything that a branch adds is dropped?",
    ),
    edit(
        "mlp-without-dropout",
        {"MLP(dim, mlp_dim, dropout)": "MLP(dim, mlp_dim)"},
        "The MLP never hears of p: with p = 1 in training it still adds to the stream.",
        "Who tells the MLP about dropout?",
    ),
    edit(
        "no-dropout-after-attention",
        {DROPPED: "attended"},
        "What the attention gives is never dropped: with p = 1 in training it "
        "still adds to the stream.",
        THREE_PLACES,
    ),
    edit(
        "dropout-in-evaluation",
        {"self.training": "True"},
        "Dropout works in evaluation too.",
        "Who tells dropout whether the block is in training?",
        GITHUB + "delip/PyTorchNLPBook/issues/28",
    ),
    edit(
        "dropout-on-the-weights",
        {
            ATTENTION: BATCH_FIRST.replace("batch", "dropout=dropout, batch"),
            ATTENDED: NORMED,
            DROPPED: "attended",
        },
        "Dropout hits the attention's weights, not what the attention gives.",
        "With p = 1, which number of the attention is still added to the stream?",
    ),
    edit(
        "dropout-twice",
        {
            LAST: f"computed = {COMPUTED}\n"
            "        return x + dropout(computed, self.dropout, self.training)"
        },
        "The MLP drops what it gives, and the block drops it once more.",
        "Who has dropped it already when the MLP returns?",
    ),
)


def of_the_mlp(name: str, /, **own: str) -> Misconception:
    """A misconception of MLP as it shows in the block; own: what is said otherwise."""
    (found,) = inside(EncoderBlock, named(mlp.MISCONCEPTIONS["MLP"], name))
    return replace(found, **own)


MLPS = (
    of_the_mlp(
        "no-activation",
        seen="Nothing stands between the two linear layers: together they are one "
        "affine map.",
    ),
    of_the_mlp(
        "activation-at-the-end", ask="Can your MLP take something away from a token?"
    ),
    of_the_mlp("relu", name="relu-in-the-mlp", seen="The MLP's activation is ReLU."),
    of_the_mlp(
        "tanh-formula",
        name="tanh-gelu",
        seen="The MLP's activation is the tanh formula of GELU, which is off by up to "
        "0.0005.",
    ),
    of_the_mlp(
        "dropout-once",
        seen="The hidden units of the MLP are never dropped; dropout stands at its "
        "end alone.",
    ),
    of_the_mlp(
        "dropout-only-inside",
        name="no-dropout-at-the-end",
        seen="The MLP drops hidden units, but not what it gives: with p = 1 in "
        "training its last bias is still added.",
        ask=THREE_PLACES,
    ),
)
BLOCK = (*WIRING, *OTHER_PARTS, *MLPS, *DROPOUT)

# The first half of a block, and what people get wrong about it.


class AttentionHalf(nn.Module):
    """Equation 2: tokens (B, N, D) become (B, N, D)."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        attended = self.attn(self.norm(x))
        return x + attended


def half(name: str, /, **own: object) -> dict:
    """The edit of a misconception of the block as one of its first half.

    own: what is another in it. Its only norm has no number.
    """
    (found,) = named(BLOCK, name)
    changes = {
        old.replace("norm1", "norm"): new.replace("norm1", "norm")
        for old, new in found.changes.items()
    }
    return edit(name, changes, found.seen, found.ask, found.source) | own


SUM = "x + attended"
HALF = edits(
    AttentionHalf,
    half(
        "post-norm",
        changes={"self.attn(self.norm(x))": "self.attn(x)", SUM: f"self.norm({SUM})"},
        seen="The LayerNorm stands after the sum, so every token leaves with the same "
        "size.",
        ask="If the attention were silent, what should come out?",
    ),
    half(
        "norm-on-the-first-skip",
        name="norm-on-the-skip",
        seen="The skip carries the normalized tokens: the stream forgets their sizes.",
        ask=BEFORE,
    ),
    edit(
        "norm-on-the-sum",
        {SUM: f"self.norm({SUM})"},
        "The LayerNorm works twice: on what the attention reads, and on the sum.",
        "How often does LN stand in equation 2?",
    ),
    half("no-first-skip", name="no-skip", changes={SUM: "attended"}),
    half("added-to-itself"),
    half(
        "no-first-norm",
        name="no-norm",
        seen="The attention reads the stream as it is; the LayerNorm is never used.",
        ask="What stands between the stream and the attention?",
    ),
    half(
        "norm-on-the-output",
        changes={"self.attn(self.norm(x))": "self.norm(self.attn(x))"},
        seen="The LayerNorm stands behind the attention: it normalizes what is added, "
        "not what is read.",
        ask="What should be of one size: what the attention reads, or what it adds?",
    ),
    half("norm-on-query-only"),
    half("added-in-place", changes={SUM: "x.add_(attended)"}),
    half("attention-across-images"),
    half("one-head"),
    half("arguments-exchanged"),
    half("heads-for-head-width"),
    half(
        "torchs-epsilon",
        changes={"= LayerNorm": "= nn.LayerNorm"},
        seen="The norm has PyTorch's default ε, 1e-5. It shows on tokens of small "
        "numbers.",
    ),
)

# A whole post-norm block, and what people get wrong about it.


class PostNormBlock(nn.Module):
    """Each LayerNorm after a sum, as in the first Transformer."""

    def __init__(self, dim: int, num_heads: int, mlp_dim: int):
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim)

    def forward(self, x: Tensor) -> Tensor:
        z = self.norm1(x + self.attn(x))
        return self.norm2(z + self.mlp(z))


FIRST, SECOND = "z = self.norm1(x + self.attn(x))", "self.norm2(z + self.mlp(z))"
TWO_LINES = (
    "How does each of the two lines of post-norm begin, and what does it end in?"
)
POST_NORM = edits(
    PostNormBlock,
    edit(
        "pre-norm",
        {
            FIRST: "z = x + self.attn(self.norm1(x))",
            SECOND: "z + self.mlp(self.norm2(z))",
        },
        "Each LayerNorm stands on its branch: this is a pre-norm block.",
        "Where do the norms stand in the block that you were given?",
    ),
    edit(
        "skip-before-the-norm",
        {
            FIRST: "total = x + self.attn(x)\n        z = self.norm1(total)",
            SECOND: "self.norm2(total + self.mlp(z))",
        },
        "The second skip carries the tokens as they were before the first LayerNorm.",
        "Through which LayerNorms does a token pass if both branches are silent?",
    ),
    edit(
        "skip-from-the-input",
        {SECOND: "self.norm2(x + self.mlp(z))"},
        "The second skip starts at the block's input, so what the attention added is "
        "lost.",
        TWO_LINES,
    ),
    edit(
        "mlp-reads-the-input",
        {SECOND: "self.norm2(z + self.mlp(x))"},
        "The MLP reads the tokens that entered the block.",
        "Has the attention spoken before the MLP listens?",
    ),
    edit(
        "first-norm-on-the-branch",
        {FIRST: "z = x + self.norm1(self.attn(x))"},
        "The first LayerNorm normalizes what the attention gives, not the sum.",
        TWO_LINES,
    ),
    edit(
        "second-norm-on-the-branch",
        {SECOND: "z + self.norm2(self.mlp(z))"},
        "The second LayerNorm normalizes what the MLP gives, not the sum.",
        TWO_LINES,
    ),
    edit(
        "one-norm-twice",
        {"self.norm2(z": "self.norm1(z"},
        "The first LayerNorm serves both halves; the second is there but never used.",
        "At the start the two are twins. What tells them apart after training?",
    ),
    edit(
        "norms-swapped",
        {"self.norm1(x": "self.norm2(x", "self.norm2(z": "self.norm1(z"},
        "The two LayerNorms have changed places.",
        "Which gain and bias did training fit to the first sum?",
    ),
    edit(
        "no-first-norm",
        {FIRST: "z = x + self.attn(x)"},
        "The first sum is not normalized.",
        "How often is a token normalized on its way through the block?",
    ),
    edit(
        "no-second-norm",
        {SECOND: "z + self.mlp(z)"},
        "The second sum is not normalized.",
        "How often is a token normalized on its way through the block?",
    ),
    edit(
        "no-first-skip",
        {FIRST: "z = self.norm1(self.attn(x))"},
        "What the attention gives replaces the tokens; nothing is added to them.",
        "How does a token keep what it knew before the attention?",
    ),
    edit(
        "no-second-skip",
        {SECOND: "self.norm2(self.mlp(z))"},
        "What the MLP gives replaces the tokens; nothing is added to them.",
        "How does a token keep what it knew before the MLP?",
    ),
    TORCHS_EPSILON,
)
# A block whose branches stand side by side, and what people get wrong about it.


class ParallelBlock(nn.Module):
    """Attention and MLP read the same tokens, through one layer in and one out."""

    def __init__(self, dim: int, num_heads: int, mlp_dim: int):
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"expected num_heads that divides {dim}, got {num_heads}")
        self.num_heads = num_heads
        self.norm = LayerNorm(dim)
        self.enter = nn.Linear(dim, 3 * dim + mlp_dim)
        self.leave = nn.Linear(dim + mlp_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        z = self.enter(self.norm(x))
        qkv = z[..., : 3 * x.shape[-1]].chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)) for part in qkv)
        heads, _ = attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        merged = heads.transpose(1, 2).flatten(-2)
        hidden = gelu(z[..., 3 * x.shape[-1] :])
        return x + self.leave(torch.cat([merged, hidden], dim=-1))


ENTER, WRITE = (
    "self.enter(self.norm(x))",
    "self.leave(torch.cat([merged, hidden], dim=-1))",
)
FOUR_PIECES = "In which order does `enter` hold its four pieces, and how wide is each?"
HEADS = (
    "How do the heads lie in the D numbers of a query, and which axis is the tokens?"
)
BENT = "What stands between `enter` and `leave` for each of the four pieces?"
ONE_BY_ONE = "qkv.unbind(-2)"
CUT = "part.reshape(len(x), self.num_heads, x.shape[1], -1)"
PARALLEL = edits(
    ParallelBlock,
    edit(
        "norm-on-the-skip",
        {f"z = {ENTER}": "x = self.norm(x)\n        z = self.enter(x)"},
        "The skip carries the normalized tokens: the stream forgets their sizes.",
        BEFORE,
        GITHUB + "pytorch/pytorch/issues/61165",
    ),
    edit(
        "no-skip",
        {"return x + ": "return "},
        "What the branches give replaces the tokens; nothing is added to them.",
        "How does a token keep what it knew before the block?",
    ),
    edit(
        "two-skips",
        {"return x + ": "return 2 * x + "},
        "The tokens are added twice, once for each branch.",
        "How many sums does this block have?",
    ),
    edit(
        "no-norm",
        {ENTER: "self.enter(x)"},
        "Both branches read the stream as it is; the LayerNorm is never used.",
        BETWEEN,
    ),
    edit(
        "post-norm",
        {ENTER: "self.enter(x)", f"x + {WRITE}": f"self.norm(x + {WRITE})"},
        "The LayerNorm stands after the sum, so every token leaves with the same size.",
        "If both branches were silent, what should come out?",
        GITHUB + "jeonsworld/ViT-pytorch/issues/5",
    ),
    edit(
        "norm-on-the-output",
        {ENTER: "self.enter(x)", WRITE: f"self.norm({WRITE})"},
        "The LayerNorm normalizes what is added, not what is read.",
        "What should be of one size: what the branches read, or what they add?",
        GITHUB + "lucidrains/vit-pytorch/issues/244",
    ),
    edit(
        "no-activation",
        {"gelu(z[..., 3 * x.shape[-1] :])": "z[..., 3 * x.shape[-1] :]"},
        "There is no GELU.",
        BENT,
    ),
    edit(
        "gelu-on-everything",
        {f"z = {ENTER}": f"z = gelu({ENTER})", "hidden = gelu(": "hidden = ("},
        "GELU is taken of queries, keys and values, too.",
        BENT,
    ),
    edit(
        "gelu-on-the-heads",
        {
            "hidden = gelu(": "hidden = (",
            "torch.cat([merged, hidden], dim=-1)": "gelu(torch.cat([merged, hidden], "
            "dim=-1))",
        },
        "GELU is taken of what the heads give, too.",
        BENT,
    ),
    edit(
        "hidden-units-first-in",
        {
            "z[..., : 3 * x.shape[-1]]": "z[..., -3 * x.shape[-1] :]",
            "z[..., 3 * x.shape[-1] :]": "z[..., : -3 * x.shape[-1]]",
        },
        "The hidden units are read from the front of what `enter` gives.",
        FOUR_PIECES,
    ),
    edit(
        "hidden-units-first-out",
        {"[merged, hidden]": "[hidden, merged]"},
        "`leave` reads the hidden units first.",
        "In which order does `leave` read what the two branches give?",
    ),
    edit(
        "query-and-value-swapped",
        {"q, k, v =": "v, k, q ="},
        "Queries and values have changed places.",
        FOUR_PIECES,
    ),
    edit(
        "query-and-key-swapped",
        {"q, k, v =": "k, q, v ="},
        "Queries and keys have changed places.",
        FOUR_PIECES,
    ),
    edit(
        "heads-hold-all-three",
        {
            ".chunk(3, dim=-1)": ".unflatten(-1, (self.num_heads, 3, -1))",
            "(part.unflatten(-1, (self.num_heads, -1)) for part in qkv)": ONE_BY_ONE,
        },
        "Each head's query, key and value are read from numbers that stand side by "
        "side.",
        FOUR_PIECES,
    ),
    edit(
        "features-of-heads-mixed",
        {"(self.num_heads, -1)) for": "(-1, self.num_heads)).mT for"},
        "A head gets every h-th feature, not D_h features in a row.",
        HEADS,
    ),
    edit(
        "one-head",
        {"(self.num_heads, -1)) for": "(1, -1)) for"},
        "There is one head, whatever num_heads says.",
        "Where does the number of heads go that the module was built with?",
    ),
    edit(
        "heads-look-at-heads",
        {
            "q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)": "q, k, v",
            "heads.transpose(1, 2)": "heads",
        },
        "The heads of one token attend to each other, and no token sees another.",
        HEADS,
    ),
    edit(
        "heads-cut-across-tokens",
        {
            "part.unflatten(-1, (self.num_heads, -1))": CUT,
            "q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)": "q, k, v",
            "heads.transpose(1, 2).flatten(-2)": "heads.reshape(x.shape)",
        },
        "`view` or `reshape` has made heads of pieces that run on from one token into "
        "the next.",
        HEADS,
    ),
    edit(
        "merged-feature-by-feature",
        {"heads.transpose(1, 2).flatten(-2)": "heads.permute(0, 2, 3, 1).flatten(-2)"},
        "The merged heads begin with the first feature of each head, not with all "
        "features of the first.",
        "How do the heads lie in the D numbers that `leave` reads first?",
    ),
    edit(
        "heads-not-merged",
        {"heads.transpose(1, 2).flatten(-2)": "heads.reshape(x.shape)"},
        "The heads are put into rows without turning the axes back: tokens are mixed.",
        HEADS,
    ),
    edit(
        "added-in-place",
        {f"x + {WRITE}": f"x.add_({WRITE})"},
        "It writes its result into the tensor that it was given.",
        "Who else holds this tensor, and needs it as it was?",
        GITHUB + "karpathy/nanoGPT/pull/72",
    ),
    edit(
        "torchs-epsilon",
        {"= LayerNorm": "= nn.LayerNorm"},
        "The norm has PyTorch's default ε, 1e-5. It shows on tokens of small numbers.",
        "Whose default do you know by heart: PyTorch's, or that of ViT?",
        GITHUB + "keras-team/keras-hub/issues/642",
    ),
)

# Drop path, and what people get wrong about it.


def drop_path(x: Tensor, p: float, training: bool) -> Tensor:
    """In training, leave out what a branch gives for some images; x: (B, N, D)."""
    if not training:
        return x
    kept = torch.rand(len(x), 1, 1, device=x.device) >= p
    return x * kept / (1 - p)


ONE_DRAW = "How many draws does a batch of B images need, and which numbers share one?"
DROP_PATH = edits(
    drop_path,
    edit(
        "one-draw-for-the-batch",
        {"len(x), 1, 1": "1, 1, 1"},
        "A single draw decides for all images of a batch.",
        ONE_DRAW,
    ),
    edit(
        "a-draw-for-each-token",
        {"len(x), 1, 1": "*x.shape[:2], 1"},
        "Each token has a draw of its own, so an image loses some of its tokens.",
        ONE_DRAW,
    ),
    edit(
        "path-not-scaled",
        {" / (1 - p)": ""},
        "What is kept is not divided, so the mean shrinks by the factor 1 - p in "
        "training.",
        "What is the mean of many draws, and what comes out after training?",
        "Huang et al. 2016, section 3",
    ),
)
MISCONCEPTIONS = {
    "AttentionHalf": HALF,
    "EncoderBlock": BLOCK,
    "PostNormBlock": POST_NORM,
    "ParallelBlock": PARALLEL,
    "drop_path": DROP_PATH,
}

# The oracles.


def first_half(x: Tensor, get: Get, dim: int, num_heads: int) -> Tensor:
    """AttentionHalf."""
    normed = oracle.norm(x, get, "norm")
    return x + oracle.multi_head(normed, get, num_heads, "attn.")


def without_dropout(x: Tensor, get: Get, num_heads: int, **_built: float) -> Tensor:
    """EncoderBlock where nothing is dropped."""
    return oracle.encoder_block(x, get, num_heads)


def block_oracle(question: Question, taken: tuple[str, ...]) -> tuple:
    """EncoderBlock. In training with p = 1 the tokens leave as they came."""
    x = question.inputs[0].double()
    if question.name in DROPS:
        generator, added = torch.Generator().manual_seed(1), x
        for _ in range(DROPS[question.name]):
            added = gated(added, P, generator)
        return (settled(x, added),), {}
    if question.training and question.arguments.get("dropout") == 1:
        return (x,), {}
    return oracle_of(without_dropout)(question, taken)


def post_norm(x: Tensor, get: Get, num_heads: int, **_built: float) -> Tensor:
    """PostNormBlock."""
    z = x + oracle.multi_head(x, get, num_heads, "attn.")
    z = oracle.norm(z, get, "norm1")
    return oracle.norm(z + oracle.mlp(z, get, "mlp."), get, "norm2")


def side_by_side(x: Tensor, get: Get, num_heads: int, **_built: int) -> Tensor:
    """ParallelBlock."""
    dim = x.shape[-1]
    z = oracle.linear(oracle.norm(x, get, "norm"), get, "enter")
    q, k, v = (z[..., i * dim : (i + 1) * dim].chunk(num_heads, -1) for i in range(3))
    heads = [oracle.exact(*qkv)[0] for qkv in zip(q, k, v, strict=True)]
    to_heads, to_hidden = get("leave.weight").tensor_split([dim], 1)
    attended = torch.einsum("...i,oi->...o", torch.cat(heads, -1), to_heads)
    computed = torch.einsum("...m,om->...o", oracle.gelu(z[..., 3 * dim :]), to_hidden)
    return x + attended + computed + get("leave.bias")


def settled_block(
    question: Question, outputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """An output's law, where ones meet dropout."""
    ones, output = question.inputs[0], outputs[0]
    if question.name not in DROPS or output.shape != ones.shape:
        return outputs
    return (settled(ones, output - 1),)


# The questions.

P = 0.7
# Question → how often a number meets dropout on its way through the branch.
DROPS = {"dropout behind the attention": 1, "dropout in the MLP": 2}

# Normalized, the tokens are (3, -1, -1, -1) / √3 and (-1, 1, 1, -1).
SMALL = small([5, 1, 1, 1], [0, 4, 4, 0])[None]
TWO_IMAGES = torch.cat([SMALL, small([1, 3, 1, 3], [1, 2, 6, 3])[None]])
EYE, ZEROS = torch.eye(4, dtype=torch.float64, device="cpu"), small([0, 0, 0, 0])[0]
NO_WEIGHTS = 0 * EYE


def small_attention(query: Tensor) -> dict[str, Tensor]:
    """Attention that hands on what it reads; with query 0 the mean of all tokens."""
    parameters = {
        f"attn.{name}.weight": EYE for name in ("query", "key", "value", "proj")
    }
    parameters |= {name.replace("weight", "bias"): ZEROS for name in parameters}
    return parameters | {"attn.query.weight": query}


def small_norm(name: str, gain: list[float], bias: list[float]) -> dict[str, Tensor]:
    """A LayerNorm with this gain and bias."""
    return {f"{name}.weight": small(gain)[0], f"{name}.bias": small(bias)[0]}


SMALL_BLOCK = {
    **small_norm("norm1", [1, 1, 1, 1], [0, 0, 0, 0]),
    **small_attention(NO_WEIGHTS),
    **small_norm("norm2", [2, 1, 1, -1], [0, 0, 1, 0]),
    "mlp.fc1.weight": torch.cat([EYE, small([1, 1, 0, 0], [0, 0, 1, -1])]),
    "mlp.fc1.bias": small([0, 0, 0, 0, 1, 0])[0],
    "mlp.fc2.weight": torch.cat([EYE, small([1, 0, 0, 0], [0, 0, 1, 0]).T], dim=1),
    "mlp.fc2.bias": small([0, 0, 0, 1])[0],
}
SMALL_HALF = {
    **small_norm("norm", [1, 1, 1, 1], [0, 0, 0, 0]),
    **small_attention(NO_WEIGHTS),
}
# Each branch adds 1 to every number. GELU leaves 8 as it is, whichever formula.
ONES_BLOCK = {
    **{n: 0 * value for n, value in block_parameters(Normal(0), 16, 20).items()},
    "norm1.bias": torch.ones(16, device="cpu"),
    "attn.value.weight": torch.eye(16, device="cpu"),
    "attn.proj.weight": torch.eye(16, device="cpu"),
    "mlp.fc1.bias": torch.full((20,), 8.0, device="cpu"),
    "mlp.fc2.weight": torch.eye(16, 20, device="cpu") / 8,
}


def silent(*layers: str) -> dict[str, Tensor]:
    """Weights and biases of 0 for these layers of the small block."""
    return {
        f"{layer}.{kind}": 0 * SMALL_BLOCK[f"{layer}.{kind}"]
        for layer in layers
        for kind in ("weight", "bias")
    }


SIZES = ("dim", "num_heads", "mlp_dim")


def built(dim: int, num_heads: int, mlp_dim: int, **dropout: float) -> dict[str, float]:
    """What EncoderBlock is built with."""
    return {"dim": dim, "num_heads": num_heads, "mlp_dim": mlp_dim, **dropout}


def block_questions(seed: int) -> list[Question]:
    """Random ones for the verdict, small fixed ones for messages."""
    normal = Normal(seed)
    x, parameters = 3 * normal(2, 5, 12), block_parameters(normal, 12, 20)
    three = {"arguments": built(12, 3, 20, dropout=0.0), "parameters": parameters}
    one = {
        "arguments": built(10, 1, 7, dropout=0.0),
        "parameters": block_parameters(normal, 10, 7),
    }
    tiny = {"arguments": built(4, 2, 6, dropout=0.0)}
    large = parameters | {"attn.query.weight": 300 * parameters["attn.query.weight"]}

    def three_with(name: str, x: Tensor = x, **other: object) -> Question:
        return Question(name, (x,), **{**three, **other})

    def small_one(name: str, x: Tensor, *changes: dict[str, Tensor]) -> Question:
        changed = {n: value for change in changes for n, value in change.items()}
        return Question(name, (x,), **tiny, parameters=SMALL_BLOCK | changed)

    def without(layer: str) -> dict[str, Tensor]:
        weights = {f"{layer}.{kind}" for kind in ("weight", "bias")}
        return {n: v * (n not in weights) for n, v in parameters.items()}

    all_dropped = {"arguments": built(12, 3, 20, dropout=1.0)}
    no_mlp, no_attention = silent("mlp.fc2"), silent("attn.proj")
    sharp = {"attn.query.weight": EYE}
    return [
        three_with("three heads"),
        three_with("three heads, MLP silent", parameters=without("mlp.fc2")),
        three_with("three heads, attention silent", parameters=without("attn.proj")),
        three_with("all dropped in evaluation", **all_dropped, rehearsals=(True,)),
        three_with("all dropped in training", **all_dropped, training=True),
        three_with(
            "all dropped again",
            **all_dropped,
            training=True,
            rehearsals=(True, False),
            secondary=True,
        ),
        three_with("in training", x[[0, 0]], arguments=built(12, 3, 20), training=True),
        three_with("called again", rehearsals=(False,), secondary=True),
        three_with("a nan", with_nan(x), secondary=True),
        dropout_question("dropout behind the attention", "mlp.fc2.weight"),
        dropout_question("dropout in the MLP", "attn.proj.weight"),
        Question("one head", (3 * normal(3, 4, 10),), **one),
        Question("one token", (normal(3, 1, 10),), **one),
        small_one("both silent", SMALL, no_mlp, no_attention),
        small_one("MLP silent", SMALL, no_mlp),
        small_one("attention silent", SMALL, no_attention),
        small_one("small numbers", SMALL, sharp),
        small_one("two small images", TWO_IMAGES, sharp),
        small_one("tiny tokens, MLP silent", SMALL / 1000, no_mlp),
        small_one("tiny tokens, attention silent", SMALL / 1000, no_attention),
        three_with(
            "a p above 1",
            arguments=built(12, 3, 20, dropout=1.5),
            training=True,
            refused=True,
        ),
        three_with(
            "heads that do not divide", arguments=built(12, 5, 20), refused=True
        ),
        three_with("large scores", x.float(), parameters=large),
        *edges((x,), normal(2, 5, 12), **three),
    ]


def post_norm_questions(seed: int) -> list[Question]:
    """Those for the block that do not ask about dropout."""
    return [
        replace(question, arguments=built(*(question.arguments[n] for n in SIZES)))
        for question in block_questions(seed)
        if question.name not in DROPS
        and question.name != "a p above 1"
        and "dropped" not in question.name
    ]


def dropout_question(name: str, silent: str) -> Question:
    """4096 ones, to which one branch adds ones.

    Two tokens share one attention, so that with dropout on its weights some numbers
    become 1 and others 0.5.
    """
    x = torch.ones(128, 2, 16, dtype=torch.float64, device="cpu")
    parameters = ONES_BLOCK | {silent: 0 * ONES_BLOCK[silent]}
    return Question(name, (x,), built(16, 8, 20, dropout=P), parameters, training=True)


def half_questions(seed: int) -> list[Question]:
    """As for the block, with the first half alone."""
    normal = Normal(seed)

    def random(dim: int, num_heads: int) -> dict:
        parameters = norm_parameters(normal, "norm", dim)
        parameters |= attention_parameters(normal, dim, "attn.")
        arguments = {"dim": dim, "num_heads": num_heads}
        return {"arguments": arguments, "parameters": parameters}

    x, three, one = 3 * normal(2, 5, 12), random(12, 3), random(10, 1)
    weights = three["parameters"]
    large = weights | {"attn.query.weight": 300 * weights["attn.query.weight"]}

    def three_with(name: str, x: Tensor = x, **other: object) -> Question:
        return Question(name, (x,), **{**three, **other})

    def small_one(name: str, x: Tensor, **changes: Tensor) -> Question:
        arguments = {"dim": 4, "num_heads": 2}
        return Question(name, (x,), arguments, SMALL_HALF | changes)

    sharp = {"attn.query.weight": EYE}
    uneven = {"arguments": {"dim": 12, "num_heads": 5}, "refused": True}
    return [
        three_with("three heads"),
        Question("one head", (3 * normal(3, 4, 10),), **one),
        Question("one token", (normal(3, 1, 10),), **one),
        small_one("attention silent", SMALL, **silent("attn.proj")),
        small_one("mean of the tokens", SMALL),
        small_one("small numbers", SMALL, **sharp),
        small_one("two small images", TWO_IMAGES, **sharp),
        small_one("tiny tokens", SMALL / 1000),
        three_with("in training", x[[0, 0]], training=True),
        three_with("called again", rehearsals=(False,), secondary=True),
        three_with("a nan", with_nan(x), secondary=True),
        three_with("heads that do not divide", **uneven),
        three_with("large scores", x.float(), parameters=large),
        *edges((x,), normal(2, 5, 12), **three),
    ]


SMALL_PARALLEL = {
    **small_norm("norm", [1, 1, 1, 1], [0, 0, 0, 0]),
    "enter.weight": torch.cat([EYE, EYE, EYE, small([1, 1, 0, 0], [0, 0, 1, -1])]),
    "enter.bias": small([*[0] * 13, 1])[0],
    "leave.weight": torch.cat([EYE, small([1, 0, 0, 0], [0, 0, 1, 1]).T], dim=1),
    "leave.bias": small([0, 0, 0, 1])[0],
}


def parallel_questions(seed: int) -> list[Question]:
    """As for the block, with what `leave` reads of one branch set to 0."""
    normal = Normal(seed)

    def random(dim: int, num_heads: int, mlp_dim: int) -> dict:
        parameters = {
            **norm_parameters(normal, "norm", dim),
            **linear_parameters(normal, "enter", 3 * dim + mlp_dim, dim),
            **linear_parameters(normal, "leave", dim, dim + mlp_dim),
        }
        return {"arguments": built(dim, num_heads, mlp_dim), "parameters": parameters}

    x, three, one = 3 * normal(2, 5, 12), random(12, 3, 20), random(10, 1, 7)
    weights = three["parameters"]
    heads = (torch.arange(32, device="cpu") < 12).double()  # of what `leave` reads
    large = {"enter.weight": 300 * weights["enter.weight"]}
    large |= {"leave.weight": weights["leave.weight"] * heads}

    def three_with(name: str, x: Tensor = x, **other: object) -> Question:
        return Question(name, (x,), **{**three, **other})

    def leaving(name: str, factor: Tensor | int) -> Question:
        changes = {"leave.weight": factor * weights["leave.weight"]}
        changes |= {"leave.bias": 0 * weights["leave.bias"]}
        return three_with(name, parameters=weights | changes)

    def small_one(name: str, x: Tensor) -> Question:
        return Question(name, (x,), built(4, 2, 2), SMALL_PARALLEL)

    uneven = {"arguments": built(12, 5, 20), "refused": True}
    return [
        three_with("three heads"),
        leaving("three heads, nothing leaves", 0),
        leaving("three heads, attention alone", heads),
        leaving("three heads, MLP alone", 1 - heads),
        Question("one head", (3 * normal(3, 4, 10),), **one),
        Question("one token", (normal(3, 1, 10),), **one),
        small_one("small numbers", SMALL),
        small_one("two small images", TWO_IMAGES),
        small_one("tiny tokens", SMALL / 1000),
        three_with("in training", x[[0, 0]], training=True),
        three_with("called again", rehearsals=(False,), secondary=True),
        three_with("a nan", with_nan(x), secondary=True),
        three_with("heads that do not divide", **uneven),
        three_with("large scores", x.float(), parameters=weights | large),
        *edges((x,), normal(2, 5, 12), **three),
    ]


# The properties that are the block's own.

# Attention may do without biases.
OPTIONAL = ("query.bias", "key.bias", "value.bias", "attn.proj.bias")


@each(
    "two LayerNorms, attention and MLP are there",
    ("three heads",),
    "Which parts does the task name, and which have parameters of their own?",
    core=True,
)
def has_parts(trial: Trial) -> None:
    """All parameters are there; the norms have each its own."""
    if ("norm1.weight", "norm2.weight") in trial.reply.shared:
        text = "Its norm1 and its norm2 are one and the same object."
        raise Fails(text, "one-norm-twice")
    require_parameters(trial, OPTIONAL)


def leaves_tokens_alone(name: str, question: str, seen: str) -> Property:
    """What comes out is what went in."""
    return each(name, (question,), WIRE, core=True, example=True)(
        lambda trial: trial.require_right(seen, "stream-changed")
    )


def adds(
    name: str, question: str, branch: str, called: str, ask: str = WIRE
) -> Property:
    """What one branch adds is right, where the other adds nothing.

    called: the name of the misunderstanding where it is not.
    """

    @each(name, (question,), ask, core=True, example=True)
    def test(trial: Trial) -> None:
        if trial.right():
            return
        trial.require_no_rounding()
        x = trial.question.inputs[0]
        got, right = trial.output - x, trial.expected[0] - x
        times = float((got * right).sum() / right.square().sum())
        if close(got, times * right):
            text = f"What the {branch} adds is {times:.3g} times what it should be."
            ask = "What is done with it between the branch and the sum?"
            raise Fails(text, "branch-scaled", ask)
        text = f"The {branch} adds something else{trial.by()}, for {trial.sizes()}."
        raise Fails(text.replace(" by up to", ", off by up to"), called)

    return test


def has_epsilon_of_vit(*questions: str) -> Property:
    """Tokens of small numbers show how large epsilon is."""

    @holds("epsilon is 1e-6", named(BLOCK, "torchs-epsilon")[0].ask)
    def test(trials: Trials) -> None:
        if trials["small numbers"].right():
            for question in questions:
                text = "On tokens a thousand times smaller the numbers differ: ε is not"
                trials[question].require_right(f"{text} 1e-6.", "other-epsilon")

    return test


@holds(
    "nothing is dropped in evaluation",
    "Who tells dropout whether the block is in training?",
)
def drops_nothing_in_evaluation(trials: Trials) -> None:
    """In evaluation p does not matter."""
    if trials["three heads"].right():
        trials["all dropped in evaluation"].require_right(
            "In evaluation the output depends on p.", "dropout-in-evaluation"
        )


@holds("with p = 1 the branches are dropped, the stream stays", PLACES)
def drops_branches_in_training(trials: Trials) -> None:
    """In training with p = 1 the tokens leave as they came."""
    trial, plain = trials["all dropped in training"], trials["three heads"]
    if not plain.right() or trial.right():
        return
    if close(trial.output, plain.output):
        text = "In training with p = 1 it does the same as with p = 0."
        raise Fails(text, "dropout-ignored")
    if not trial.output.any():
        raise shows(DROPOUT, "dropout-on-the-stream")
    text = "In training with p = 1 other tokens leave than came."
    raise Fails(text, "dropout-elsewhere")


@holds("dropout stands in three places", PLACES)
def drops_in_three_places(trials: Trials) -> None:
    """Once behind the attention, twice in the MLP.

    Where p = 1 shows it, another property says so.
    """
    if not (
        trials["three heads"].right() and trials["all dropped in training"].right()
    ):
        return
    for name, times in DROPS.items():
        trial = trials[name]
        if not trial.right():
            branch = "attention" if times == 1 else "MLP"
            _, what = trial.output, f"the numbers that the {branch} adds"
            require_drops(what, trial.drawn[0] - 1, P, times)
            raise Fails(NOT_BY_CHANCE, "by-no-chance")


@holds(
    "training after evaluation drops again",
    "What does a call leave behind in your module?",
)
def drops_again(trials: Trials) -> None:
    """One evaluation does not switch dropout off for good."""
    if trials["all dropped in training"].right():
        text = "After training and evaluation, it drops otherwise in training again."
        trials["all dropped again"].require_right(text, "dropout-off-for-good")


@each("the halves work together", ("three heads",), WIRE, core=True, example=True)
def joins_the_halves(trial: Trial) -> None:
    """The second half reads and keeps what the first one gives."""
    text = f"Each half works alone, both together do not, for {trial.sizes()}."
    trial.require_right(text, "halves-joined-wrongly")


ATTENTION_HALF = ("attention", "attention-half")
LAST_PROPERTIES = (
    same_in_training("three heads"),
    learns_no_more("three heads"),
    UNEVEN_HEADS,
    LARGE_SCORES,
    KEEPS_NO_STATE,
    PASSES_NAN_ON,
    *EDGES,
)
SHAPES = returns_right_shapes(
    "the shape (B, N, D) comes back",
    *("three heads", "one head", "small numbers"),
    ask="Which of your lines changes the shape?",
)
HALF_PROPERTIES = (
    REPEATS,
    has_parameters(
        "a LayerNorm and an attention are there",
        "three heads",
        ask="Which of its parts has parameters?",
        optional=OPTIONAL,
    ),
    SHAPES,
    leaves_tokens_alone(
        "a silent attention changes nothing",
        "attention silent",
        "The attention gives zero, and yet other tokens leave than came.",
    ),
    SEPARATES_IMAGES,
    adds("the attention adds what it should", "three heads", *ATTENTION_HALF),
    agrees(
        "the numbers agree with equation 2 in float64",
        *("one head", "one token"),
        ask=WIRE,
        core=True,
    ),
    has_epsilon_of_vit("tiny tokens"),
    *LAST_PROPERTIES,
)
BLOCK_PROPERTIES = (
    REPEATS,
    has_parts,
    SHAPES,
    leaves_tokens_alone(
        "silent branches change nothing",
        "both silent",
        "Both branches give zero, and yet other tokens leave than came.",
    ),
    SEPARATES_IMAGES,
    adds(
        "the first half works alone",
        *("three heads, MLP silent", *ATTENTION_HALF),
    ),
    adds(
        "the second half works alone",
        *("three heads, attention silent", "MLP", "mlp-half"),
    ),
    joins_the_halves,
    agrees(
        "the numbers agree with equations 2 and 3 in float64",
        *("one head", "one token"),
        ask=WIRE,
        core=True,
    ),
    has_epsilon_of_vit("tiny tokens, MLP silent", "tiny tokens, attention silent"),
    drops_nothing_in_evaluation,
    drops_branches_in_training,
    drops_in_three_places,
    drops_again,
    refuses(
        "a p above 1 is refused",
        "any-probability-taken",
        "a p above 1",
        ask="Which numbers can be a probability?",
    ),
    *LAST_PROPERTIES,
)

POST_NORM_PROPERTIES = (
    REPEATS,
    has_parts,
    SHAPES,
    SEPARATES_IMAGES,
    agrees(
        "the numbers agree with post-norm in float64",
        *("three heads", "one head", "one token", "both silent", "MLP silent"),
        ask=TWO_LINES,
        core=True,
    ),
    *LAST_PROPERTIES,
)
PARALLEL_PROPERTIES = (
    REPEATS,
    has_parameters(
        "`norm`, `enter` and `leave` are there",
        "three heads",
        ask="Which three parts does the task name, and how wide is each of them?",
    ),
    SHAPES,
    leaves_tokens_alone(
        "where nothing leaves, nothing changes",
        "three heads, nothing leaves",
        "`leave` gives 0, and yet other tokens leave the block than came.",
    ),
    SEPARATES_IMAGES,
    adds(
        "the attention adds what it should",
        *("three heads, attention alone", "attention", "attention-part", HEADS),
    ),
    adds(
        "the MLP adds what it should",
        *("three heads, MLP alone", "MLP", "mlp-part", BENT),
    ),
    as_defined(
        *("three heads", "one head", "one token"),
        ask="Which pieces does `enter` make, and which two does `leave` read?",
    ),
    has_epsilon_of_vit("tiny tokens"),
    *LAST_PROPERTIES,
)

# The tasks.


def form(*reference: object) -> Form:
    """A module that returns tokens and may use all earlier parts."""
    return Form(
        outputs=("output",),
        is_class=True,
        fused=FUSED,
        aliases=ALIASES,
        builtin_parts=(nn.TransformerEncoderLayer,),
        reference=reference,
    )


# What a message says of the small questions beside their input.
NOTES = {
    "both silent": "with both branches silent",
    "MLP silent": "with a silent MLP",
    "attention silent": "with a silent attention",
    "tiny tokens, MLP silent": "with a silent MLP",
    "tiny tokens, attention silent": "with a silent attention",
}


def show(*questions: str) -> Show:
    """Tokens as rows."""
    axes = {"output": ("token", "feature")}
    return Show(questions, axes=axes, notes=NOTES)


WRITE_HALF = Implement(
    form=form(AttentionHalf, EncoderBlock),
    ask_about=half_questions,
    oracle=oracle_of(first_half),
    properties=HALF_PROPERTIES,
    misconceptions=HALF,
    show=show(
        "attention silent",
        "mean of the tokens",
        "small numbers",
        "two small images",
        "tiny tokens",
    ),
)
WRITE_BLOCK = Implement(
    form=form(EncoderBlock, oracle.encoder_block),
    ask_about=block_questions,
    oracle=block_oracle,
    properties=BLOCK_PROPERTIES,
    misconceptions=BLOCK,
    show=show(
        "both silent",
        "MLP silent",
        "attention silent",
        "small numbers",
        "two small images",
        "tiny tokens, MLP silent",
        "tiny tokens, attention silent",
    ),
    without_chance=settled_block,
)


class SummedAtTheEnd(nn.Module):
    """A right block that rounds in another order: the branches are added first."""

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x: Tensor) -> Tensor:
        attended = dropout(self.attn(self.norm1(x)), self.dropout, self.training)
        return x + (attended + self.mlp(self.norm2(x + attended)))


TEST_THE_WIRING = BreakIt(
    right={
        "the course's own": EncoderBlock,
        "one that adds the branches first": SummedAtTheEnd,
    },
    wrong=named(BLOCK, "post-norm", "one-norm-twice", "mlp-reads-the-input"),
    ask="Do your norms differ from new ones, and do you compare with all of the "
    "equations?",
)
(BUG,) = named(POST_NORM, "skip-before-the-norm")
REPAIR_POST_NORM = Implement(
    form=form(PostNormBlock),
    ask_about=post_norm_questions,
    oracle=oracle_of(post_norm),
    properties=POST_NORM_PROPERTIES,
    misconceptions=POST_NORM,
    show=show("both silent", "MLP silent", "attention silent", "two small images"),
    bug=BUG,
)
WRITE_PARALLEL = Implement(
    form=Form(
        outputs=("output",),
        is_class=True,
        builtin_parts=(nn.TransformerEncoderLayer,),
        reference=(ParallelBlock,),
    ),
    ask_about=parallel_questions,
    oracle=oracle_of(side_by_side),
    properties=PARALLEL_PROPERTIES,
    misconceptions=PARALLEL,
    show=show("small numbers", "two small images", "tiny tokens"),
)


def as_timm_does(x: Tensor, p: float, training: bool) -> Tensor:
    """Drop path with another stream of random numbers, for any number of axes."""
    if p == 0 or not training:
        return x
    gate = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - p)
    return x * gate.div_(1 - p)


AGAIN = {  # a test that is right by luck with one draw is not with six
    f"the course's own with other draws ({n})": drop_path for n in range(1, 5)
}
TEST_DROP_PATH = BreakIt(
    right={"the course's own": drop_path, "one made as timm does": as_timm_does}
    | AGAIN,
    wrong=DROP_PATH,
    draws=6,
    ask="Which numbers of a batch are 0 together, and which number stays of a 1?",
)

TASKS = {
    "AttentionHalf": WRITE_HALF,
    "EncoderBlock": WRITE_BLOCK,
    "wrong_wiring": TEST_THE_WIRING,
    "find_the_bug": REPAIR_POST_NORM,
    "ParallelBlock": WRITE_PARALLEL,
    "drop_path": TEST_DROP_PATH,
}
