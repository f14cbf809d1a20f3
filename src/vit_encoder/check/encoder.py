"""The encoder: what people get wrong, what must hold, and the tasks."""

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vit_encoder.check import encoder_block
from vit_encoder.check.hearing.data import Form, ProblemError, Question
from vit_encoder.check.hearing.parameters import ALIASES, FUSED
from vit_encoder.check.judging import oracle
from vit_encoder.check.judging.misconceptions import GITHUB, edit, edits, inside, named
from vit_encoder.check.judging.oracle import Get, oracle_of, oracle_of_function
from vit_encoder.check.judging.pictures import Show
from vit_encoder.check.judging.properties import (
    EDGES,
    GRADIENTS,
    KEEPS_DEVICE,
    KEEPS_DIGITS,
    KEEPS_INPUTS,
    LEAVES_THE_SEED,
    PASSES_NAN_ON,
    REPEATS,
    SAME_IN_TRAINING,
    UNEVEN_HEADS,
    Property,
    agrees,
    as_defined,
    has_parameters,
    holds,
    keeps_dtype,
    learns_no_more,
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
from vit_encoder.check.judging.trials import Fails, Trial, Trials, close
from vit_encoder.check.tasks import BreakIt, Implement
from vit_encoder.encoder import Encoder
from vit_encoder.encoder_block import EncoderBlock

# Misconceptions of Encoder.

BUILD = """nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )"""
LOOP = """        for block in self.blocks:
            x = block(x)  # (B, N, D)
        return self.norm(x)"""
ONE_NORM = "How often does equation 4 stand in an encoder, and where?"
WHERE_DROPPED = "Where does the task want dropout: in the blocks, or around them?"
ROUNDS = "Count the rounds of your loop. How many are there for L blocks?"
EPSILON = "Which ε do the ViT's norms have, and where can you say so?"
WHO_POOLS = (
    "Who chooses between the class token and the mean: the encoder, or what comes "
    "after it?"
)
ESPNET = GITHUB + "espnet/espnet/issues/1278"
COPIES = edits(
    Encoder,
    edit(
        "copies-of-one-block",
        {
            "LayerNorm(dim)": """LayerNorm(dim)
        for block in self.blocks[1:]:
            block.load_state_dict(self.blocks[0].state_dict())"""
        },
        "All blocks start with the same numbers: they are copies of one block.",
        "When are a block's random numbers drawn, and how often does that happen here?",
        GITHUB + "pytorch/pytorch/issues/86274",
    ),
)
ENCODER = edits(
    Encoder,
    edit(
        "one-block-repeated",
        {
            BUILD: """nn.ModuleList(
            [EncoderBlock(dim, num_heads, mlp_dim, dropout)] * depth
        )"""
        },
        "The encoder has the parameters of one block: L times the same object.",
        "How many blocks did you create, and how many names did you give to them?",
        ESPNET,
    ),
    edit(
        "plain-list-of-blocks",
        {"nn.ModuleList(": "list("},
        "The blocks' parameters are missing: a plain list hides the blocks, so that "
        "an optimizer, .to() and .eval() do not reach them.",
        "How does a module learn which modules are its children?",
        GITHUB + "pytorch/pytorch/issues/715",
    ),
    edit(
        "no-final-norm",
        {"return self.norm(x)": "return x"},
        "The final LayerNorm is missing or never used: what leaves is the residual "
        "stream as it is.",
        "Which of the norms before it stood on the residual stream itself?",
        GITHUB + "mlc-ai/mlc-llm/pull/3456",
    ),
    edit(
        "norm-after-every-block",
        {"x = block(x)": "x = self.norm(block(x))", "return self.norm(x)": "return x"},
        "The final LayerNorm runs after every block, so the residual stream is "
        "normalized L times.",
        "How often does LN stand in equations 2 to 4, and on which path each time?",
        GITHUB + "lucidrains/vit-pytorch/pull/274",
    ),
    edit(
        "norm-before-the-blocks",
        {
            "        for block": "        x = self.norm(x)\n        for block",
            "return self.norm(x)": "return x",
        },
        "The norm stands before the blocks: it normalizes what enters, not what "
        "leaves.",
        "At which end of the stack has the residual stream grown?",
    ),
    edit(
        "norm-twice",
        {"self.norm(x)": "self.norm(self.norm(x))"},
        "The final norm runs twice.",
        ONE_NORM,
    ),
    edit(
        "norm-after-every-block-too",
        {"x = block(x)": "x = self.norm(block(x))"},
        "The final norm runs after every block, and once more at the end.",
        ONE_NORM,
    ),
    edit(
        "norm-before-every-block",
        {"block(x)": "block(self.norm(x))"},
        "The final norm also runs before every block, which has norms of its own.",
        ONE_NORM,
    ),
    edit(
        "norm-without-parameters",
        {"self.norm(x)": "F.layer_norm(x, x.shape[-1:], eps=1e-6)"},
        "The final norm has no gain and no bias.",
        "What does a LayerNorm learn?",
    ),
    edit(
        "norm-at-both-ends",
        {"        for block": "        x = self.norm(x)\n        for block"},
        "The final norm also stands before the blocks: what enters is normalized.",
        ONE_NORM,
    ),
    edit(
        "every-block-fed-the-input",
        {
            "x = block(x)": "out = block(x)",
            "return self.norm(x)": "return self.norm(out)",
        },
        "Every block reads the encoder's input; only the last one has an effect.",
        "What does block 2 read, and who wrote it?",
        GITHUB + "Atcold/NYU-DLSP20/issues/270",
    ),
    edit(
        "result-thrown-away",
        {"x = block(x)": "block(x)"},
        "The blocks have no effect: what they return is not kept.",
        "What does the name `x` stand for after the call of a block?",
    ),
    edit(
        "return-inside-the-loop",
        {"        return self": "            return self"},
        "One block runs, and no other: more blocks have no effect.",
        "How often does the body of your loop run?",
    ),
    edit(
        "class-token-alone",
        {"return self.norm(x)": "return self.norm(x)[:, 0]"},
        "Only the class token comes back: one vector an image, not one a token.",
        WHO_POOLS,
        "the article that this course grew out of",
    ),
    edit(
        "one-block-in-a-loop",
        {
            "range(depth)": "range(1)",
            "self.norm = ": "self.depth = depth\n        self.norm = ",
            "for block in self.blocks": "for _ in range(self.depth)",
            "x = block(x)": "x = self.blocks[0](x)",
        },
        "One block does all the work, whatever `depth` says.",
        "Which of the paper's counts would be right if all rounds shared one block?",
        ESPNET,
    ),
    edit(
        "blocks-reversed",
        {"in self.blocks": "in reversed(self.blocks)"},
        "The blocks run from the last to the first.",
        "Which block reads what enters the encoder?",
    ),
    edit(
        "last-block-left-out",
        {"in self.blocks": "in self.blocks[:-1]"},
        "The last block is missing or never runs.",
        ROUNDS,
    ),
    edit(
        "first-block-left-out",
        {"in self.blocks": "in self.blocks[1:]"},
        "The first block never runs.",
        ROUNDS,
    ),
    edit(
        "stack-runs-twice",
        {"in self.blocks": "in [*self.blocks, *self.blocks]"},
        "Every block runs twice.",
        ROUNDS,
    ),
    edit(
        "depth-and-heads-exchanged",
        {
            "self, depth: int, dim: int, num_heads: int": "self, num_heads: int, "
            "dim: int, depth: int"
        },
        "It has as many blocks as it should have heads, and as many heads as blocks.",
        "In which order does the task name what the encoder is built with?",
    ),
    edit(
        "heads-from-depth",
        {"EncoderBlock(dim, num_heads": "EncoderBlock(dim, depth"},
        "Each block has as many heads as the encoder has blocks.",
        "Which number does a block get for its heads?",
    ),
    edit(
        "batch-taken-for-tokens",
        {
            "        for block": "        x = x.transpose(0, 1)\n        for block",
            "self.norm(x)": "self.norm(x).transpose(0, 1)",
        },
        "The images attend to one another; the tokens of an image do not.",
        "Which axis do the blocks take for the tokens, and which one comes first?",
        "nn.TransformerEncoderLayer without batch_first=True",
    ),
    edit(
        "skip-around-each-block",
        {"x = block(x)": "x = x + block(x)"},
        "Each block's result is added to the tokens that it read, although the "
        "block has added them by itself.",
        "How often is the residual stream counted after one block?",
    ),
    edit(
        "added-in-place",
        {"x = block(x)": "x += block(x)"},
        "Each block's result is added to the tokens that it read, and in their place: "
        "the caller's tokens change, too.",
        "How often is the residual stream counted after one block? Who else holds it?",
    ),
    edit(
        "skip-around-the-stack",
        {
            "        for block": "        entered = x\n        for block",
            "self.norm(x)": "self.norm(entered + x)",
        },
        "What entered the encoder is added once more after the last block.",
        "Put all blocks into one sum: is what entered in it already?",
    ),
    edit(
        "skip-past-the-norm",
        {
            "        for block": "        entered = x\n        for block",
            "self.norm(x)": "entered + self.norm(x)",
        },
        "What entered the encoder is added after the final norm.",
        "Put all blocks into one sum: is what entered in it already?",
    ),
    edit(
        "streams-added",
        {
            "        for block": "        streams = 0\n        for block",
            "x = block(x)": "x = block(x)\n            streams = streams + x",
            "self.norm(x)": "self.norm(streams)",
        },
        "What leaves each block is added up, though the stream is such a sum already.",
        "Which of the tokens that leave the blocks does the final norm read?",
    ),
    edit(
        "norm-added-to-the-stream",
        {"return self.norm(x)": "return x + self.norm(x)"},
        "The normalized tokens are added to the stream, so its size stays in the "
        "output.",
        "What does the head expect: the stream, its normalized version, or both?",
    ),
    edit(
        "blocks-outputs-added",
        {LOOP: "        return self.norm(sum(block(x) for block in self.blocks))"},
        "Each block reads the encoder's input, and the results are added up.",
        "Can block 2 then use what block 1 has found?",
    ),
    edit(
        "mean-returned",
        {"return self.norm(x)": "return self.norm(x).mean(dim=1)"},
        "One vector an image comes back, the mean of its tokens.",
        WHO_POOLS,
    ),
    edit(
        "all-layers-returned",
        {
            "        for block": "        layers = []\n        for block",
            "x = block(x)": "x = block(x)\n            layers.append(x)",
            "return self.norm(x)": "return self.norm(x), layers",
        },
        "It returns the layers beside the tokens, expected the tokens alone.",
        "What does the next part take?",
    ),
    edit(
        "norm-with-torchs-eps",
        {"LayerNorm(dim)": "nn.LayerNorm(dim)"},
        "The final norm has torch's ε, 1e-5. It shows in tokens of small numbers.",
        EPSILON,
    ),
    edit(
        "blocks-with-torchs-eps",
        {
            "LayerNorm(dim)": """LayerNorm(dim)
        for block in self.blocks:
            block.norm1, block.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)"""
        },
        "The norms inside the blocks have torch's ε, 1e-5. It shows in tokens of "
        "small numbers.",
        EPSILON,
    ),
    edit(
        "dropout-before-the-blocks",
        {
            "self.norm = ": "self.dropout = nn.Dropout(dropout)\n        self.norm = ",
            "        for block": "        x = self.dropout(x)\n        for block",
        },
        "What enters the encoder is dropped, too.",
        WHERE_DROPPED,
        "torchvision.models.vision_transformer.Encoder, on purpose",
    ),
    edit(
        "dropout-at-the-end",
        {
            "self.norm = ": "self.dropout = nn.Dropout(dropout)\n        self.norm = ",
            "self.norm(x)": "self.dropout(self.norm(x))",
        },
        "What leaves the encoder is dropped, too.",
        WHERE_DROPPED,
    ),
    edit(
        "eval-in-forward",
        {"        for block": "        self.eval()\n        for block"},
        "It switches itself to evaluation when it is called: nothing is ever dropped.",
        "Who decides whether a module is in training?",
    ),
    edit(
        "dropout-not-passed-on",
        {"mlp_dim, dropout)": "mlp_dim)"},
        "The blocks do not know of `dropout`: with p = 1 in training they still add "
        "to the stream.",
        "What do your blocks do with the p that the encoder is built with?",
    ),
)
BLOCK = encoder_block.MISCONCEPTIONS["EncoderBlock"]
POST_NORM, RELU = named(BLOCK, "post-norm")[0], "self.mlp.fc2(self.mlp.fc1(x).relu())"
TORCHS_DEFAULTS = replace(
    POST_NORM,
    name="torchs-defaults",
    changes={
        **POST_NORM.changes,
        encoder_block.LAST: f"return self.norm2(x + {RELU})",
    },
    seen="The blocks are what torch's own are by default: post-norm, with ReLU.",
    ask="Which arguments make torch's layer a block of the ViT?",
)
INHERITED = (
    replace(
        *inside(Encoder, named(BLOCK, "post-norm")),
        name="post-norm-blocks",
        seen="Inside the blocks the norms stand after the sums, and one more follows "
        "at the end.",
        ask="If all branches were silent, how often would a token be normalized on its "
        "way?",
        source=GITHUB + "pytorch/pytorch/issues/50086",
    ),
    *inside(
        Encoder,
        named(
            BLOCK,
            *("norm-on-the-skip", "one-norm-twice", "mlp-reads-the-input"),
            *("no-first-skip", "no-second-skip", "no-first-norm", "no-second-norm"),
            *("skip-from-the-input", "mlp-first", "one-head", "relu-in-the-mlp"),
            *("tanh-gelu", "no-activation"),
        ),
    ),
    *inside(Encoder, (TORCHS_DEFAULTS,)),
)

# One vector for the head, and what people get wrong about it.


def image_vector(encoded: Tensor, pool: str) -> Tensor:
    """One vector an image, (B, N, D) to (B, D), from the tokens that left.

    pool: "token" for the class token, "mean" for the mean of the patch tokens.
    """
    if pool == "token":
        return encoded[:, 0]
    return encoded[:, 1:].mean(dim=1)


VECTOR = edits(
    image_vector,
    edit(
        "pool-not-read",
        {
            """    if pool == "token":
        return encoded[:, 0]
    return encoded[:, 1:].mean(dim=1)""": "    return encoded[:, 0]"
        },
        "The class token comes back whatever `pool` says.",
        "What shall `mean` do with the tokens that are not the class token?",
    ),
    edit(
        "mean-whatever-pool-says",
        {
            """    if pool == "token":
        return encoded[:, 0]
""": ""
        },
        "The mean comes back whatever `pool` says.",
        "What shall `token` do?",
    ),
    edit(
        "choices-swapped",
        {'== "token"': '== "mean"'},
        "`token` gives the mean, and `mean` gives the class token.",
        "Which of the two branches runs for `token`?",
    ),
    edit(
        "last-token-taken",
        {"[:, 0]": "[:, -1]"},
        "With `token` it takes the last token, which belongs to a patch.",
        "Where did the patch embedding put the class token?",
    ),
    edit(
        "first-patch-taken",
        {"[:, 0]": "[:, 1]"},
        "With `token` it takes token 1, which belongs to the first patch.",
        "From which number does Python count?",
    ),
    edit(
        "first-image-taken",
        {"[:, 0]": "[0]"},
        "With `token` it takes all tokens of the first image.",
        "Which axis counts the images, and which the tokens?",
    ),
    edit(
        "feature-taken",
        {"[:, 0]": "[..., 0]"},
        "With `token` it takes one feature of every token.",
        "Which axis counts the tokens, and which the features?",
    ),
    edit(
        "token-axis-kept",
        {"[:, 0]": "[:, :1]"},
        "With `token` an axis of length 1 is left: a list of one token an image.",
        "What is the difference between an index and a slice of length 1?",
    ),
    edit(
        "mean-axis-kept",
        {"mean(dim=1)": "mean(dim=1, keepdim=True)"},
        "With `mean` an axis of length 1 is left: a list of one vector an image.",
        "What does `keepdim` keep?",
    ),
    edit(
        "class-token-in-the-mean",
        {"[:, 1:]": ""},
        "The class token is counted in the mean, as if it were a patch.",
        "How many of the N tokens came from a patch?",
    ),
    edit(
        "divided-by-all-tokens",
        {".mean(dim=1)": ".sum(dim=1) / encoded.shape[1]"},
        "The sum of the patch tokens is divided by N, the number of all tokens.",
        "How many of the N tokens came from a patch?",
    ),
    edit(
        "divided-by-image-count",
        {".mean(dim=1)": ".sum(dim=1) / len(encoded)"},
        "The sum of the patch tokens is divided by the number of images.",
        "Which axis does `len` count?",
    ),
    edit(
        "divided-by-width",
        {".mean(dim=1)": ".sum(dim=1) / encoded.shape[-1]"},
        "The sum of the patch tokens is divided by the number of features.",
        "Which axis counts the tokens that were added up?",
    ),
    edit(
        "last-token-left-out",
        {"[:, 1:]": "[:, :-1]"},
        "The mean leaves out a patch and counts the class token.",
        "At which end of the tokens is the one that came from no patch?",
    ),
    edit(
        "first-patch-left-out",
        {"[:, 1:]": "[:, 2:]"},
        "The mean leaves out the first patch.",
        "Which number has the token of the first patch?",
    ),
    edit(
        "mean-over-features",
        {"mean(dim=1)": "mean(dim=2)"},
        "The mean runs over the features: one number a token is left.",
        "Which axis shall disappear, and which shall the vector have?",
    ),
    edit(
        "mean-over-images",
        {"mean(dim=1)": "mean(dim=0)"},
        "The mean runs over the images: their tokens are mixed.",
        "May the vector of one image depend on the others in its batch?",
    ),
    edit(
        "mean-of-everything",
        {"mean(dim=1)": "mean()"},
        "One number is left: the mean of all tokens, features and images.",
        "Which axis shall disappear, and which two shall stay?",
    ),
    edit(
        "sum-of-the-patches",
        {"mean(dim=1)": "sum(dim=1)"},
        "The patch tokens are added up, so larger images have larger vectors.",
        "What turns a sum into a mean?",
    ),
    edit(
        "largest-of-the-patches",
        {"mean(dim=1)": "amax(dim=1)"},
        "Of each feature the largest is taken, not the mean.",
        "Which number stands for all patches alike?",
    ),
    edit(
        "median-of-the-patches",
        {"mean(dim=1)": "median(dim=1).values"},
        "Of each feature the median is taken, not the mean.",
        "Which number stands for all patches alike?",
    ),
)

# How alike the tokens of an image are, and what people get wrong about it.


def likeness(tokens: Tensor) -> Tensor:
    """The mean cosine of the angle between two tokens of an image, (B, N, D) to (B,).

    It is the mean over all pairs of different tokens; there are two or more.
    """
    directions = F.normalize(tokens, dim=-1)  # (B, N, D)
    cosines = directions @ directions.mT  # (B, N, N)
    count = tokens.shape[1]
    return (cosines.sum(dim=(1, 2)) - count) / (count * (count - 1))


MEAN = "(cosines.sum(dim=(1, 2)) - count) / (count * (count - 1))"
LIKENESS = edits(
    likeness,
    edit(
        "token-with-itself",
        {
            "    count = tokens.shape[1]\n": "",
            MEAN: "cosines.mean(dim=(1, 2))",
        },
        "Each token is compared with itself, too, so that tokens at right angles "
        "come out a little alike.",
        "Which entries of the N × N cosines stand for two different tokens?",
    ),
    edit(
        "divided-by-all-pairs",
        {"(count * (count - 1))": "count**2"},
        "The pairs of different tokens are added up, and the sum is divided by N².",
        "How many pairs of different tokens do N tokens make?",
    ),
    edit(
        "lengths-not-divided-out",
        {"F.normalize(tokens, dim=-1)": "tokens"},
        "The products of the tokens are averaged, so that long tokens count more.",
        "What is the cosine of the angle between (3, 0) and (5, 0)?",
    ),
    edit(
        "normalized-over-tokens",
        {"dim=-1": "dim=1"},
        "Each feature is divided by its size over the tokens, not each token by its "
        "own length.",
        "Which axis must have length 1 for a product to be a cosine?",
    ),
    edit(
        "one-number-for-the-batch",
        {MEAN: f"({MEAN}).mean()"},
        "One number comes back for all images together.",
        "Which axis counts the images, and shall it disappear?",
    ),
    edit(
        "tokens-centred-first",
        {"F.normalize(tokens": "F.normalize(tokens - tokens.mean(1, keepdim=True)"},
        "The mean token is subtracted first, so that equal tokens are not alike.",
        "How alike are tokens that are all the same?",
    ),
    edit(
        "signs-lost",
        {"directions @ directions.mT": "(directions @ directions.mT).abs()"},
        "Opposite tokens count as alike: the signs of the cosines are lost.",
        "What is the cosine of the angle between (1, 0) and (-1, 0)?",
    ),
)

# Registers, and what people get wrong about them.


class RegisterEncoder(nn.Module):
    """An encoder with R more tokens inside (Darcet et al. 2024), which do not leave."""

    def __init__(self, depth, dim, num_heads, mlp_dim, num_registers):
        super().__init__()
        self.encoder = Encoder(depth, dim, num_heads, mlp_dim)
        self.registers = nn.Parameter(0.02 * torch.randn(1, num_registers, dim))

    def forward(self, x):
        registers = self.registers.expand(len(x), -1, -1)
        x = torch.cat([x[:, :1], registers, x[:, 1:]], dim=1)
        x = self.encoder(x)
        R = registers.shape[1]
        return torch.cat([x[:, :1], x[:, 1 + R :]], dim=1)


PUT_IN = """        x = torch.cat([x[:, :1], registers, x[:, 1:]], dim=1)
"""
RUN = """        x = self.encoder(x)
        R = registers.shape[1]
"""
TAKEN_OUT = "torch.cat([x[:, :1], x[:, 1 + R :]], dim=1)"
WHICH_LEAVE = "Number the tokens inside from 0: which are registers, and which leave?"
REGISTERS = edits(
    RegisterEncoder,
    edit(
        "registers-left-in",
        {TAKEN_OUT: "x"},
        "The registers leave with the other tokens: N + R come back, not N.",
        "What will the part behind take token 1 for?",
    ),
    edit(
        "patches-cut-off",
        {TAKEN_OUT: "x[:, : x.shape[1] - R]"},
        "The last R patches are cut off, and the registers leave in their place.",
        WHICH_LEAVE,
    ),
    edit(
        "class-token-cut-off",
        {TAKEN_OUT: "x[:, R:]"},
        "The class token is cut off, and a register leaves in its place.",
        WHICH_LEAVE,
    ),
    edit(
        "registers-never-enter",
        {PUT_IN: "", TAKEN_OUT: "x"},
        "The registers have no effect: the blocks do not see them.",
        "Which tokens can the patches attend to?",
    ),
    edit(
        "registers-replace-patches",
        {"registers, x[:, 1:]": "registers, x[:, 1 + registers.shape[1] :]"}
        | {TAKEN_OUT: "x"},
        "The registers stand in the places of the first R patches, which are lost.",
        "How many tokens do the blocks get?",
    ),
    edit(
        "registers-added",
        {
            PUT_IN: "        x = x + registers.sum(dim=1, keepdim=True)\n",
            TAKEN_OUT: "x",
        },
        "The registers are added to the tokens. No token is their own.",
        "How many tokens do the blocks get?",
    ),
    edit(
        "registers-new-in-every-block",
        {
            PUT_IN: "",
            RUN: """        R = registers.shape[1]
        for block in self.encoder.blocks:
            x = block(torch.cat([x[:, :1], registers, x[:, 1:]], dim=1))
            x = torch.cat([x[:, :1], x[:, 1 + R :]], dim=1)
""",
            TAKEN_OUT: "self.encoder.norm(x)",
        },
        "Each block gets the registers as they were learned: what a block has written "
        "into them is gone.",
        "Who reads what block 0 has put into a register?",
        "prompts of visual prompt tuning, VPT-deep, on purpose",
    ),
    edit(
        "class-token-last",
        {TAKEN_OUT: "torch.cat([x[:, 1 + R :], x[:, :1]], dim=1)"},
        "The class token leaves behind the patches.",
        "Which token will the head read?",
    ),
    edit(
        "patches-before-class-token",
        {"[x[:, :1], registers, x[:, 1:]]": "[registers, x]"},
        "The registers were put in front of all tokens, and taken out behind the "
        "first: what leaves first is a register.",
        WHICH_LEAVE,
    ),
    edit(
        "registers-leave-in-front",
        {
            "[x[:, :1], registers, x[:, 1:]]": "[registers, x]",
            TAKEN_OUT: "x[:, : x.shape[1] - R]",
        },
        "The registers were put in front of all tokens, and the first N leave: the "
        "registers among them.",
        WHICH_LEAVE,
    ),
    edit(
        "nothing-left-without-registers",
        {
            "[x[:, :1], registers, x[:, 1:]]": "[x, registers]",
            TAKEN_OUT: "x[:, :-R]",
        },
        "Without registers no token is left: the slice ends at -0.",
        "What is `[1, 2, 3][:-0]` in Python?",
    ),
)

# The outputs of chosen blocks, and what people get wrong about them.


def intermediate(encoder, x, blocks):
    """What leaves the chosen blocks, normalized: a list of (B, N, D), as asked for."""
    found = {}
    for i, block in enumerate(encoder.blocks):
        x = block(x)
        if i in blocks:
            found[i] = encoder.norm(x)
    return [found[i] for i in blocks]


NORMED = "found[i] = encoder.norm(x)"
STEP = """        x = block(x)
        if i in blocks:
            found[i] = encoder.norm(x)
"""
INTERMEDIATE = edits(
    intermediate,
    edit(
        "stream-not-normalized",
        {NORMED: "found[i] = x"},
        "The stream comes back as it leaves the blocks, not normalized.",
        "On which scale does the head read, and who brings the stream to it?",
    ),
    edit(
        "norm-put-into-the-stream",
        {NORMED: "x = found[i] = encoder.norm(x)"},
        "Behind a chosen block the normalized tokens go on: later blocks no longer "
        "read the stream.",
        "What should the last block read: does it depend on which others you ask for?",
    ),
    edit(
        "norm-behind-every-block",
        {"x = block(x)": "x = encoder.norm(block(x))", NORMED: "found[i] = x"},
        "Behind every block the normalized tokens go on: the next block no longer "
        "reads the stream.",
        "What does block 1 read in the encoder: what block 0 returns, or its norm?",
    ),
    edit(
        "chosen-blocks-alone",
        {
            STEP: """        if i in blocks:
            x = block(x)
            found[i] = encoder.norm(x)
"""
        },
        "Only the chosen blocks run, and those between them are left out.",
        "What has block 2 read in training?",
    ),
    edit(
        "what-enters-the-block",
        {
            STEP: """        entered, x = x, block(x)
        if i in blocks:
            found[i] = encoder.norm(entered)
"""
        },
        "It gives what enters the chosen blocks, not what leaves them.",
        "In which line does the name `x` begin to stand for the block's output?",
    ),
    edit(
        "blocks-counted-from-one",
        {"enumerate(encoder.blocks)": "enumerate(encoder.blocks, 1)"},
        "The blocks are counted from 1.",
        "Which number has the first block in `encoder.blocks`?",
    ),
    edit(
        "in-the-order-of-the-stack",
        {"[found[i] for i in blocks]": "list(found.values())"},
        "The tensors come in the order of the stack, not in that of `blocks`.",
        "For `blocks = (2, 0)`: which of the two comes first?",
        "DINOv2's get_intermediate_layers, on purpose",
    ),
    edit(
        "every-block-fed-the-input",
        {"x = block(x)": "y = block(x)", NORMED: "found[i] = encoder.norm(y)"},
        "Every block reads what enters the encoder.",
        "What does block 1 read, and who wrote it?",
    ),
    edit(
        "a-blocks-own-norm",
        {NORMED: "found[i] = block.norm1(x)"},
        "A norm from inside the block is used.",
        "Which norm stands on the stream itself, and prepares it for what follows?",
    ),
    edit(
        "norm-without-parameters",
        {NORMED: "found[i] = F.layer_norm(x, x.shape[-1:], eps=1e-6)"},
        "Mean and spread are right, gain and bias are missing.",
        "What did the final norm learn?",
    ),
    edit(
        "last-blocks-given",
        {
            "[found[i] for i in blocks]": "list(found.values())[-len(blocks) :]",
            "if i in blocks": "if True",
        },
        "The last blocks are given, as many as were asked for.",
        "Does `blocks` say how many, or which?",
    ),
    edit(
        "what-the-block-adds",
        {
            "x = block(x)": "before, x = x, block(x)",
            NORMED: "found[i] = encoder.norm(x - before)",
        },
        "It gives what each block has added to the stream.",
        "Is what leaves a block its two branches, or the stream with them?",
    ),
    edit(
        "class-token-alone",
        {NORMED: "found[i] = encoder.norm(x)[:, 0]"},
        "Of each block it gives the class token alone.",
        "Whoever wants to segment an image: which tokens do they need?",
    ),
)
MISCONCEPTIONS = {
    "Encoder": (*ENCODER, *COPIES, *INHERITED),
    "image_vector": VECTOR,
    "likeness": LIKENESS,
    "RegisterEncoder": REGISTERS,
    "intermediate": INTERMEDIATE,
}

# The oracles.


def stack(x: Tensor, get: Get, depth: int, num_heads: int, **_built: float) -> Tensor:
    """The encoder, without what dropout does."""
    return oracle.encoder(x, get, depth, num_heads)


def silent(x: Tensor, get: Get, **_built: float) -> Tensor:
    """The encoder where all that its branches add is dropped."""
    return oracle.norm(x, get, "norm")


def encoder_oracle(question: Question, taken: tuple[str, ...]) -> tuple:
    """The encoder in float64; in training the questions drop all or nothing."""
    dropped = question.training and question.arguments.get("dropout")
    return oracle_of(silent if dropped else stack)(question, taken)


@oracle_of_function
def vector_oracle(tokens: Tensor, pool: str) -> Tensor:
    """One vector an image, by a product with the share of each token."""
    shares = torch.zeros(tokens.shape[1], dtype=torch.float64, device="cpu")
    if pool == "token":
        shares[0] = 1
    else:
        shares[1:] = 1 / (len(shares) - 1)
    return torch.einsum("bnd,n->bd", tokens, shares)


@oracle_of_function
def likeness_oracle(tokens: Tensor) -> Tensor:
    """Pair by pair."""
    lengths = tokens.square().sum(-1).sqrt()  # (B, N)
    pairs = [
        (tokens[:, i] * tokens[:, j]).sum(-1) / (lengths[:, i] * lengths[:, j])
        for i, j in itertools.combinations(range(tokens.shape[1]), 2)
    ]
    return torch.stack(pairs).mean(0)


def compute_with_registers(
    x: Tensor, get: Get, depth: int, num_heads: int, **_built: int
) -> Tensor:
    """The encoder with R more tokens at the end. Where they stand is no matter."""
    registers = get("registers").expand(len(x), -1, -1)
    inside = torch.cat([x, registers], 1)
    output = oracle.encoder(inside, lambda n: get(f"encoder.{n}"), depth, num_heads)
    return output[:, : x.shape[1]]


def intermediate_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """Encoders that end after each of the chosen blocks, one by one."""
    x, num_heads, blocks = question.inputs
    tokens = double(x)
    values = {name: value.double() for name, value in question.parameters.items()}
    found = [
        oracle.encoder(tokens, values.__getitem__, i + 1, num_heads) for i in blocks
    ]
    return finish(question, {"input 0": tokens}, (torch.stack(found),))


def call_with_stack(answer: Callable, inputs: list, parameters: dict) -> Tensor:
    """Call an answer with an encoder that has the parameters; stack what it gives."""
    x, num_heads, blocks = inputs
    depth = sum(name.endswith("norm1.bias") for name in parameters)
    mlp_dim = len(parameters["blocks.0.mlp.fc1.bias"])
    with torch.random.fork_rng(devices=[]):
        encoder = Encoder(depth, x.shape[-1], num_heads, mlp_dim)
    encoder.to(x.dtype).load_state_dict(joined(parameters))
    found = answer(encoder.to(x.device).eval(), x, blocks)
    if found is Ellipsis:
        return found
    given = list(found) if isinstance(found, list | tuple) else None
    if not given or not all(isinstance(y, Tensor) for y in given):
        wanted = "a list of tensors, one for each chosen block"
        raise ProblemError(
            "wrong-type", f"It returned {type(found).__name__}, expected {wanted}."
        )
    if len({y.shape for y in given}) > 1:
        shapes = ", ".join(str(tuple(y.shape)) for y in given)
        raise ProblemError("wrong-shape", f"Its tensors have the shapes {shapes}.")
    return torch.stack(given)


def joined(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the course's Encoder, from query, key and value apart."""
    state = {}
    for name, value in parameters.items():
        if "query" in name:
            names = [name.replace("query", p) for p in ("query", "key", "value")]
            state[name.replace("query", "qkv")] = torch.cat(
                [parameters[n] for n in names]
            )
        elif "key" not in name and "value" not in name:
            state[name] = value
    return state


# The questions.


def encoder_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict.

    Sizes differ within a random one, so that a wrong axis cannot hide.
    """
    normal = Normal(seed)
    # Large enough that ε matters only to the small tokens.
    x, y, z = 10 * normal(2, 5, 12), 10 * normal(3, 1, 8), 10 * normal(2, 3, 4)
    three = about(normal, depth=3, dim=12, num_heads=6, mlp_dim=7)
    one = about(normal, depth=1, dim=8, num_heads=4, mlp_dim=3)
    two = about(normal, depth=2, dim=4, num_heads=1, mlp_dim=3)
    quiet = {**two, "parameters": silenced(two["parameters"])}
    dropped = {**with_dropout(three, 1.0), "training": True}
    uneven = {**three, "arguments": {**three["arguments"], "num_heads": 5}}
    again = {"rehearsals": (True, False)}
    tiny = normal(1, 3, 4) / 1000
    return [
        # The same for every seed, so that wrong versions are asked once. They tell most
        # of them apart, the next four the others.
        Question("small numbers", (SMALL_X,), **LOUD),
        Question("two small images", (batch(SMALL_X[0]),), **LOUD),
        Question("silent blocks", (SMALL_X,), **SILENT),
        Question("three blocks", (x,), **three, initial=True),
        Question("small tokens, silent blocks", (tiny,), **quiet, secondary=True),
        Question("small tokens", (tiny,), **two, secondary=True),
        Question("all dropped", (x,), **dropped, secondary=True),
        Question("dropped again", (x,), **dropped, **again, secondary=True),
        Question("in training", (x,), **three, training=True, secondary=True),
        Question("another order", (x[:, normal.order(5)],), **three),
        Question("one block, one token", (y,), **one),
        Question("float32", (x.float(),), **three),
        Question("float32 again", (x.float(),), **three),
        Question("at rest", (z,), **with_dropout(two, 0.4), secondary=True),
        Question("at rest again", (z,), **with_dropout(two, 0.4), secondary=True),
        Question(
            "p = 1.5", (x,), **with_dropout(three, 1.5), refused=True, secondary=True
        ),
        Question(
            "heads that do not divide", (x,), **uneven, refused=True, secondary=True
        ),
        Question("a nan", (with_nan(x),), **three),
        Question("gradients", (x,), **three, cotangent=normal(2, 5, 12)),
        Question("another device", (y,), **one, device="meta"),
    ]


def about(normal: Normal, **sizes: int) -> dict:
    """What an encoder of these sizes is built with, and random parameters."""
    dim, parameters = sizes["dim"], {}
    for i in range(sizes["depth"]):
        parameters |= oracle.block_parameters(
            normal, dim, sizes["mlp_dim"], f"blocks.{i}."
        )
    parameters |= oracle.norm_parameters(normal, "norm", dim)
    return {"arguments": sizes, "parameters": parameters}


def with_dropout(asked: dict, p: float) -> dict:
    """The same with dropout."""
    return {**asked, "arguments": {**asked["arguments"], "dropout": p}}


def silenced(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with branches that add nothing and a final norm without gain or bias."""
    ends = ("attn.proj.weight", "attn.proj.bias", "mlp.fc2.weight", "mlp.fc2.bias")
    quiet = {n: p * 0 if n.endswith(ends) else p for n, p in parameters.items()}
    return quiet | {
        "norm.weight": torch.ones_like(parameters["norm.weight"]),
        "norm.bias": torch.zeros_like(parameters["norm.bias"]),
    }


SMALL_X = small([1, 1, 5, 5], [0, 4, 0, 0])[None]
LOUD = about(Normal(7), depth=2, dim=4, num_heads=1, mlp_dim=3)
SILENT = {**LOUD, "parameters": silenced(LOUD["parameters"])}


def register_questions(seed: int) -> list[Question]:
    """Small and the same for every seed; random; without registers; and the edges."""
    normal = Normal(seed)
    x, y = 10 * normal(2, 6, 12), 10 * normal(3, 1, 8)
    three = with_registers(normal, 4, depth=3, dim=12, num_heads=6, mlp_dim=7)
    none = with_registers(normal, 0, depth=1, dim=8, num_heads=4, mlp_dim=3)
    return [
        Question("small numbers", (FOUR_TOKENS,), **TWO_REGISTERS),
        Question("four registers", (x,), **three),
        Question("one image", (x[:1],), **three),
        Question("no registers", (10 * normal(2, 5, 8),), **none),
        Question("in training", (x,), **three, training=True),
        Question("float32", (x.float(),), **three),
        Question("float32 again", (x.float(),), **three),
        Question("a nan", (with_nan(x),), **three),
        Question("gradients", (x,), **three, cotangent=normal(2, 6, 12)),
        Question("another device", (y,), **none, device="meta"),
    ]


def with_registers(normal: Normal, count: int, **sizes: int) -> dict:
    """What an encoder with registers is built with, and random parameters."""
    inside = about(normal, **sizes)["parameters"]
    parameters = {f"encoder.{name}": value for name, value in inside.items()}
    parameters["registers"] = 5 * normal(1, count, sizes["dim"])
    return {"arguments": {**sizes, "num_registers": count}, "parameters": parameters}


FOUR_TOKENS = small([1, 1, 5, 5], [0, 4, 0, 0], [2, 0, 1, 0], [0, 0, 3, 1])[None]
TWO_REGISTERS = with_registers(Normal(8), 2, depth=2, dim=4, num_heads=1, mlp_dim=3)


THREE_LAYERS = about(Normal(9), depth=3, dim=4, num_heads=1, mlp_dim=3)["parameters"]


def intermediate_questions(seed: int) -> list[Question]:
    """Chosen blocks in any order: small and the same for every seed, random, edges."""
    normal = Normal(seed)
    x = 10 * normal(2, 5, 12)
    stack = about(normal, depth=4, dim=12, num_heads=6, mlp_dim=7)["parameters"]
    chosen = (x, 6, (3, 0, 2))
    return [
        Question("blocks 2 and 0", (SMALL_X, 1, (2, 0)), parameters=THREE_LAYERS),
        Question("blocks 3, 0 and 2", chosen, parameters=stack),
        Question("block 1 alone", (x, 6, (1,)), parameters=stack),
        Question("the last block", (10 * normal(1, 3, 12), 6, (3,)), parameters=stack),
        Question("a nan", (with_nan(x), 6, (3, 0, 2)), parameters=stack),
        *edges(chosen, normal(3, 2, 5, 12), parameters=stack),
    ]


def vector_questions(seed: int) -> list[Question]:
    """Each way to choose: small numbers, random ones, one patch, and the edges."""
    normal = Normal(seed)
    x = normal(2, 5, 3)
    questions = []
    for pool in ("token", "mean"):
        questions += [
            Question(f"small numbers, {pool}", (SMALL_TOKENS, pool)),
            Question(f"random numbers, {pool}", (x, pool)),
            Question(f"one image, one patch, {pool}", (normal(1, 2, 4), pool)),
            Question(f"float32, {pool}", (x.float(), pool)),
            Question(f"gradients, {pool}", (x, pool), cotangent=normal(2, 3)),
            Question(f"a nan, {pool}", (with_nan(x), pool)),
            Question(f"another device, {pool}", (x, pool), device="meta"),
        ]
    return questions


SMALL_TOKENS = torch.stack(
    [small([9, 0], [1, 2], [3, 4], [5, 6]), small([0, 8], [1, 1], [1, 1], [4, 1])]
)


def likeness_questions(seed: int) -> list[Question]:
    """Tokens at right angles, equal ones, opposite ones, random ones, and the edges."""
    normal = Normal(seed)
    x = normal(2, 5, 3)
    return [
        Question("right angles", (RIGHT_ANGLES,)),
        Question("equal and opposite", (ALONG_A_LINE,)),
        Question("random numbers", (x,)),
        Question("two tokens", (normal(3, 2, 4),)),
        Question("other lengths", (x * normal(2, 5, 1).exp(),)),
        Question("float32", (x.float(),)),
        Question("gradients", (x,), cotangent=normal(2)),
        Question("a nan", (with_nan(x),)),
        Question("another device", (x,), device="meta"),
    ]


RIGHT_ANGLES = small([3, 0, 0], [0, 2, 0], [0, 0, 1])[None]
ALONG_A_LINE = torch.stack(
    [small([1, 2], [1, 2], [1, 2]), small([1, 2], [-1, -2], [2, 4])]
)

# The properties that are the encoder's own.


@holds(
    "there are as many blocks as depth says, and a final norm",
    "How many parts are created in `__init__`, and who knows of them?",
    core=True,
)
def HAS_BLOCKS_AND_NORM(trials: Trials) -> None:  # noqa: N802, the capstone has it, too
    """There are L blocks and a final norm, which the module knows of."""
    trial = trials["float32"]  # in float64, blocks in a list stop at their dtype
    if trial.reply.problem:
        raise because_of_sizes(trial)
    built = trial.question.arguments
    shapes, depth = trial.reply.parameters, built["depth"]
    entries = {n: p.numel() for n, p in trial.question.parameters.items()}
    of_norm = entries["norm.weight"] + entries["norm.bias"]
    of_block = sum(c for n, c in entries.items() if n.startswith("blocks.0."))
    learned = sum(map(math.prod, shapes.values()))
    if learned == of_norm:
        require_kept_blocks(trials)
        raise shows(ENCODER, "plain-list-of-blocks")
    if learned == of_block + of_norm and not trial.reply.shared:
        raise shows(ENCODER, "one-block-in-a-loop")
    numbers = set(re.findall(r"^blocks\.(\d+)\.", "\n".join(shapes), re.MULTILINE))
    if len(numbers) == built["num_heads"] != depth:
        raise shows(ENCODER, "depth-and-heads-exchanged")
    if len(numbers) == depth - 1:
        raise shows(ENCODER, "last-block-left-out")
    if len(numbers) not in (0, depth):  # none: other names, which are asked for next
        text = f"Built with depth {depth} it has parameters of {len(numbers)} blocks."
        raise Fails(text, "wrong-depth")
    if learned == depth * of_block and not trial.reply.shared:
        normed = trials["silent blocks"].right()
        raise shows(ENCODER, "norm-without-parameters" if normed else "no-final-norm")


def because_of_sizes(trial: Trial) -> Fails:
    """Why there is nothing to compare; a part of the course may refuse the sizes."""
    problem = trial.problem()
    if "that divides dim" not in problem.text:
        return Fails.because(problem)
    ask = "In which order does your `__init__` get the sizes, and the block?"
    return Fails.because(replace(problem, name="sizes-exchanged", ask=ask))


def require_kept_blocks(trials: Trials) -> None:
    """Fails if a module that knows of no blocks makes them anew in each call."""
    try:
        REPEATS.test(trials)
    except Fails:
        text = "Built, it knows of no blocks, and equal calls give different numbers: "
        text += "the blocks are made anew in each call."
        ask = "When are a block's random numbers drawn, and who keeps them?"
        raise Fails(text, "blocks-made-in-forward", ask) from None


@holds("in evaluation nothing is dropped", "What shall dropout do after `eval()`?")
def drops_nothing_in_evaluation(trials: Trials) -> None:
    """The same question, asked twice."""
    first, second = (trials[n].reply.outputs for n in ("at rest", "at rest again"))
    if not all(close(a, b) for a, b in zip(first, second, strict=False)):
        raise Fails("Two equal calls give different numbers.", "not-deterministic")


@holds("small tokens are normalized with ε = 1e-6", EPSILON)
def has_epsilon(trials: Trials) -> None:
    """Tokens of small numbers, by which ε shows."""
    else_right = trials["three blocks"].right()
    for name in ("small tokens, silent blocks", "small tokens"):
        trials[name].require_right(name="another-epsilon" if else_right else "")


def start_alike(trials: Trials) -> str:
    """A remark on blocks that are copies of one."""
    initial = trials["three blocks"].reply.initial
    name = "attn.query.weight"
    first, second = (initial.get(f"blocks.{i}.{name}") for i in (0, 1))
    if first is None or second is None or not torch.equal(first, second):
        return ""
    return f"A remark: {COPIES[0].seen}\nQuestion: {COPIES[0].ask}"


ENCODER_PROPERTIES: tuple[Property, ...] = (
    HAS_BLOCKS_AND_NORM,
    REPEATS,
    has_parameters(
        "every block has parameters of its own, and so has the final norm",
        "three blocks",
        ask="How many blocks are created in `__init__`, and who knows of them?",
        # Attention may do without biases.
        optional=("query.bias", "key.bias", "value.bias", "attn.proj.bias"),
    ),
    returns_right_shapes(
        "output (B, N, D) comes back",
        *("three blocks", "small numbers", "one block, one token", "at rest"),
        ask="How many tokens enter, and how many leave?",
    ),
    agrees(
        "silent blocks leave what the final norm makes of the input",
        "silent blocks",
        ask="If no block adds anything, what reaches the end, and what happens there?",
        core=True,
    ),
    as_defined(
        *("three blocks", "two small images", "another order", "one block, one token"),
        ask="Which block reads what, and where does the final norm stand?",
    ),
    learns_no_more("three blocks"),
    drops_nothing_in_evaluation,
    agrees(
        "in training, p reaches the blocks",
        *("all dropped", "dropped again"),
        ask="What do your blocks do with the p that the encoder is built with?",
    ),
    SAME_IN_TRAINING,
    refuses(
        "a p above 1 is a ValueError",
        "dropout-out-of-range",
        "p = 1.5",
        ask="Who checks p, and does it get there?",
    ),
    UNEVEN_HEADS,
    has_epsilon,
    PASSES_NAN_ON,
    *EDGES,
)


def asked_in(known: Property, *questions: str) -> Property:
    """A property that every part has, asked in these questions alone."""

    def test(trials: Trials) -> None:
        for name in questions:
            known.test({name.partition(",")[0]: trials[name]})

    return replace(known, test=test)


VECTOR_PROPERTIES: tuple[Property, ...] = (
    returns_right_shapes(
        "output (B, D) comes back",
        *("random numbers, token", "random numbers, mean"),
        ask="Which of the three axes shall disappear?",
    ),
    agrees(
        "`token` gives the class token",
        *("random numbers, token", "one image, one patch, token"),
        ask="Where did the patch embedding put the class token?",
        core=True,
    ),
    agrees(
        "`mean` gives the mean of the patch tokens",
        *("random numbers, mean", "one image, one patch, mean"),
        ask="Which tokens came from a patch, and how many are they?",
        core=True,
    ),
    keeps_dtype(
        "float32 and float64 are kept",
        *("float32, token", "float32, mean", "gradients, mean"),
    ),
    asked_in(KEEPS_DIGITS, "gradients, mean"),
    asked_in(KEEPS_DEVICE, "another device, mean"),
    KEEPS_INPUTS,
    asked_in(GRADIENTS, "gradients, token", "gradients, mean"),
    asked_in(PASSES_NAN_ON, "a nan, mean"),
    LEAVES_THE_SEED,
)

LIKENESS_PROPERTIES: tuple[Property, ...] = (
    returns_right_shapes(
        "one number for each image comes back",
        *("random numbers", "two tokens"),
        ask="Which of the three axes shall stay?",
    ),
    agrees(
        "tokens at right angles have the likeness 0",
        "right angles",
        ask="What is the cosine of a right angle, and which pairs are averaged?",
        core=True,
    ),
    agrees(
        "equal tokens have the likeness 1, opposite ones -1",
        "equal and opposite",
        ask="What is the cosine of the angle between a token and its opposite?",
        core=True,
    ),
    agrees(
        "the numbers agree with the mean over pairs in float64",
        *("random numbers", "two tokens", "other lengths"),
        ask="Which pairs are averaged, and how many are they?",
        core=True,
    ),
    keeps_dtype("float32 and float64 are kept", "float32", "gradients"),
    asked_in(KEEPS_DIGITS, "gradients"),
    asked_in(KEEPS_DEVICE, "another device"),
    KEEPS_INPUTS,
    asked_in(GRADIENTS, "gradients"),
    asked_in(PASSES_NAN_ON, "a nan"),
    LEAVES_THE_SEED,
)

# The tasks.

WRITE_ENCODER = Implement(
    form=Form(
        outputs=("output",),
        is_class=True,
        fused=FUSED,
        aliases=ALIASES,
        builtin_parts=(nn.TransformerEncoder,),
        reference=(Encoder, oracle.encoder),
    ),
    ask_about=encoder_questions,
    oracle=encoder_oracle,
    properties=ENCODER_PROPERTIES,
    misconceptions=(*ENCODER, *INHERITED),
    show=Show(
        ("silent blocks", "small numbers", "two small images"),
        axes={"output": ("token", "feature")},
    ),
    remarks=(start_alike,),
)
WRITE_IMAGE_VECTOR = Implement(
    form=Form(outputs=("vectors",), reference=(image_vector,)),
    ask_about=vector_questions,
    oracle=vector_oracle,
    properties=VECTOR_PROPERTIES,
    misconceptions=VECTOR,
    show=Show(
        ("small numbers, token", "small numbers, mean"),
        axes={"vectors": ("vector", "feature")},
    ),
)


class EncoderInSequence(nn.Module):
    """A right encoder in other words: torch's containers and LayerNorm."""

    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.blocks = nn.Sequential(
            *(EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth))
        )

    def forward(self, x):
        return self.norm(self.blocks(x))


TEST_THE_STACK = BreakIt(
    right={
        "the course's own": Encoder,
        "one from torch's containers and LayerNorm": EncoderInSequence,
    },
    wrong=named(
        ENCODER,
        *("one-block-repeated", "plain-list-of-blocks"),
        *("no-final-norm", "every-block-fed-the-input"),
    ),
    ask="Which number differs from a right encoder: parameters, gradients, or outputs?",
)
REPAIR_LIKENESS = Implement(
    form=Form(
        outputs=("likeness",), builtins=("cosine_similarity",), reference=(likeness,)
    ),
    ask_about=likeness_questions,
    oracle=likeness_oracle,
    properties=LIKENESS_PROPERTIES,
    misconceptions=LIKENESS,
    bug=LIKENESS[0],
)

WRITE_REGISTERS = Implement(
    form=Form(
        outputs=("output",),
        is_class=True,
        fused=FUSED,
        aliases=ALIASES,
        reference=(RegisterEncoder,),
    ),
    ask_about=register_questions,
    oracle=oracle_of(compute_with_registers),
    properties=(
        REPEATS,
        has_parameters(
            "the encoder and the registers are learned",
            "four registers",
            ask="What are the two parts called, and which module knows of them?",
        ),
        returns_right_shapes(
            "as many tokens leave as entered",
            *("four registers", "one image", "no registers"),
            ask="Which tokens are there inside, and which of them leave?",
            form=Form(outputs=("output",), is_class=True, fused=FUSED, aliases=ALIASES),
            known=REGISTERS,
        ),
        as_defined(
            *("four registers", "one image"),
            ask="Which tokens do the blocks see, and which of them leave, in which "
            "order?",
        ),
        agrees(
            "without registers it is the encoder",
            "no registers",
            ask="What does your slice do where there is nothing to take out?",
        ),
        learns_no_more("four registers"),
        SAME_IN_TRAINING,
        PASSES_NAN_ON,
        *EDGES,
    ),
    misconceptions=REGISTERS,
    show=Show(("small numbers",), axes={"output": ("token", "feature")}),
)
WRITE_INTERMEDIATE = Implement(
    form=Form(outputs=("layers",), reference=(intermediate,), call=call_with_stack),
    ask_about=intermediate_questions,
    oracle=intermediate_oracle,
    properties=(
        REPEATS,
        returns_right_shapes(
            "one tensor (B, N, D) for each chosen block comes back",
            *("blocks 3, 0 and 2", "block 1 alone"),
            ask="How many blocks were chosen, and how many tokens leave each?",
        ),
        agrees(
            "the last block gives what the encoder gives",
            "the last block",
            ask="What does the encoder do behind its last block?",
            core=True,
        ),
        as_defined(
            *("blocks 3, 0 and 2", "block 1 alone"),
            ask="What would an encoder give that ended after this block?",
        ),
        PASSES_NAN_ON,
        *EDGES,
    ),
    misconceptions=INTERMEDIATE,
    show=Show(
        ("blocks 2 and 0",),
        inputs=("x", "num_heads", "blocks"),
        axes={"layers": ("token", "feature")},
    ),
)

TASKS = {
    "image_vector": WRITE_IMAGE_VECTOR,
    "Encoder": WRITE_ENCODER,
    "wrong_stack": TEST_THE_STACK,
    "find_the_bug": REPAIR_LIKENESS,
    "RegisterEncoder": WRITE_REGISTERS,
    "intermediate": WRITE_INTERMEDIATE,
}
