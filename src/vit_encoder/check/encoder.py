"""The encoder: what people get wrong, what must hold, and the tasks."""

import math
import re
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from vit_encoder.arguments import require_whole
from vit_encoder.check import oracle
from vit_encoder.check.adapter import Form, Problem, Question
from vit_encoder.check.encoder_block import PostNorm
from vit_encoder.check.judge import (
    Property,
    Show,
    Trials,
    agrees,
    has_parameters,
    keeps_device,
    keeps_digits,
    keeps_dtype,
    refuses,
    repeats,
    returns_right_shapes,
    same_gradients,
)
from vit_encoder.check.misconceptions import Misconception, against
from vit_encoder.check.oracle import Get, oracle_of
from vit_encoder.check.properties import EDGES, KEEPS_INPUTS, REPEATS, UNEVEN_HEADS
from vit_encoder.check.questions import (
    ALIASES,
    FUSED,
    Normal,
    batch,
    double,
    finish,
    small,
)
from vit_encoder.check.tasks import BreakIt, Choose, Implement, PredictNumbers, Wrong
from vit_encoder.encoder import Encoder
from vit_encoder.encoder_block import EncoderBlock
from vit_encoder.layer_norm import LayerNorm

# Misconceptions of Encoder. Each is the course's version with one visible change.

GITHUB = "https://github.com/"
OURS = "constructed for this course"
wrong_encoder = against(Encoder)


@wrong_encoder(
    seen="The encoder has the parameters of one block: L times the same object.",
    ask="How many blocks did you create, and how many names did you give to them?",
    source=GITHUB + "espnet/espnet/issues/1278",
)
class OneBlockRepeated(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            [EncoderBlock(dim, num_heads, mlp_dim, dropout)] * depth
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


@wrong_encoder(
    seen="All blocks start with the same numbers: they are copies of one block.",
    ask="When are a block's random numbers drawn, and how often does that happen here?",
    source=GITHUB + "pytorch/pytorch/issues/86274",
)
class CopiesOfOneBlock(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        block = EncoderBlock(dim, num_heads, mlp_dim, dropout)
        self.blocks = nn.ModuleList(deepcopy(block) for _ in range(depth))
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


@wrong_encoder(
    seen="The blocks' parameters are missing: a plain list hides the blocks, so that "
    "an optimizer, .to() and .eval() do not reach them.",
    ask="How does a module learn which modules are its children?",
    source=GITHUB + "pytorch/pytorch/issues/715",
)
class PlainListOfBlocks(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = [
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        ]
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


@wrong_encoder(
    seen="The final LayerNorm is missing or never used: what leaves is the residual "
    "stream as it is.",
    ask="Which of the norms before it stood on the residual stream itself?",
    source=GITHUB + "mlc-ai/mlc-llm/pull/3456",
)
class NoFinalNorm(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


@wrong_encoder(
    seen="The final LayerNorm runs after every block, so the residual stream is "
    "normalised L times.",
    ask="How often does LN stand in equations 2 to 4, and on which path each time?",
    source=GITHUB + "lucidrains/vit-pytorch/pull/274",
)
class NormAfterEveryBlock(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = self.norm(block(x))
        return x


@wrong_encoder(
    seen="The norm stands before the blocks: it normalises what enters, not what "
    "leaves.",
    ask="At which end of the stack has the residual stream grown?",
    source=OURS,
)
class NormBeforeTheBlocks(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        x = self.norm(x)
        for block in self.blocks:
            x = block(x)
        return x


@wrong_encoder(
    seen="Every block reads the encoder's input; only the last one has an effect.",
    ask="What does block 2 read, and who wrote it?",
    source=GITHUB + "Atcold/NYU-DLSP20/issues/270",
)
class EveryBlockFedTheInput(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            out = block(x)
        return self.norm(out)


@wrong_encoder(
    seen="It returns after the first block; the others have no effect.",
    ask="How often does the body of your loop run?",
    source=OURS,
)
class ReturnInsideTheLoop(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
            return self.norm(x)


@wrong_encoder(
    seen="Only the class token comes back: one vector an image, not one a token.",
    ask="Who chooses between the class token and the mean: the encoder, or what "
    "comes after it?",
    source="the article that this course grew out of",
)
class ClassTokenAlone(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]


@wrong_encoder(
    seen="There is a single block, which runs L times; its parameters serve every "
    "round.",
    ask="Which of the paper's counts would be right if all rounds shared one block?",
    source=GITHUB + "espnet/espnet/issues/1278",
)
class OneBlockInALoop(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.depth = depth
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(1)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for _ in range(self.depth):
            x = self.blocks[0](x)
        return self.norm(x)


@wrong_encoder(
    seen="The blocks run from the last to the first.",
    ask="Which block reads what enters the encoder?",
    source=OURS,
)
class BlocksReversed(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in reversed(self.blocks):
            x = block(x)
        return self.norm(x)


@wrong_encoder(
    seen="The last block is missing or never runs.",
    ask="Count the rounds of your loop. How many are there for L blocks?",
    source=OURS,
)
class LastBlockLeftOut(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks[:-1]:
            x = block(x)
        return self.norm(x)


@wrong_encoder(
    seen="The first block never runs.",
    ask="Count the rounds of your loop. How many are there for L blocks?",
    source=OURS,
)
class FirstBlockLeftOut(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks[1:]:
            x = block(x)
        return self.norm(x)


@wrong_encoder(
    seen="Each block's result is added to the tokens that it read, although the "
    "block has added them by itself.",
    ask="How often is the residual stream counted after one block?",
    source=OURS,
)
class SkipAroundEachBlock(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return self.norm(x)


@wrong_encoder(
    seen="What entered the encoder is added once more after the last block.",
    ask="Put all blocks into one sum: is what entered in it already?",
    source=OURS,
)
class SkipAroundTheStack(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        entered = x
        for block in self.blocks:
            x = block(x)
        return self.norm(entered + x)


@wrong_encoder(
    seen="The normalised tokens are added to the stream, so its size stays in the "
    "output.",
    ask="What does the head expect: the stream, its normalised version, or both?",
    source=OURS,
)
class NormAddedToTheStream(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x + self.norm(x)


@wrong_encoder(
    seen="Each block reads the encoder's input, and the results are added up.",
    ask="Can block 2 then use what block 1 has found?",
    source=OURS,
)
class BlocksOutputsAdded(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        return self.norm(sum(block(x) for block in self.blocks))


@wrong_encoder(
    seen="One vector an image comes back, the mean of its tokens.",
    ask="Who chooses between the class token and the mean: the encoder, or what "
    "comes after it?",
    source=OURS,
)
class MeanReturned(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x).mean(dim=1)


@wrong_encoder(
    seen="Inside the blocks the norms stand after the sums, and one more follows at "
    "the end.",
    ask="If all branches were silent, how often would a token be normalised on its "
    "way?",
    source=GITHUB + "pytorch/pytorch/issues/50086",
)
class PostNormBlocks(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            PostNorm.wrong(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


@wrong_encoder(
    seen="The final norm has torch's ε, 1e-5. It shows in tokens of small numbers.",
    ask="Which ε do the ViT's norms have, and where can you say so?",
    source=OURS,
)
class NormWithTorchsEps(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


@wrong_encoder(
    seen="The norms inside the blocks have torch's ε, 1e-5. It shows in tokens of "
    "small numbers.",
    ask="Which ε do the ViT's norms have, and where can you say so?",
    source=OURS,
)
class BlocksWithTorchsEps(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)
        for block in self.blocks:
            block.norm1, block.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


@wrong_encoder(
    seen="The blocks do not know of `dropout`: with p = 1 in training they still add "
    "to the stream.",
    ask="What do your blocks do with the p that the encoder is built with?",
    source=OURS,
)
class DropoutNotPassedOn(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


ENCODER = (
    OneBlockRepeated,
    CopiesOfOneBlock,
    PlainListOfBlocks,
    NoFinalNorm,
    NormAfterEveryBlock,
    NormBeforeTheBlocks,
    EveryBlockFedTheInput,
    ReturnInsideTheLoop,
    ClassTokenAlone,
    OneBlockInALoop,
    BlocksReversed,
    LastBlockLeftOut,
    FirstBlockLeftOut,
    SkipAroundEachBlock,
    SkipAroundTheStack,
    NormAddedToTheStream,
    BlocksOutputsAdded,
    MeanReturned,
    PostNormBlocks,
    NormWithTorchsEps,
    BlocksWithTorchsEps,
    DropoutNotPassedOn,
)

# One vector for the head, and what people get wrong about it.


def image_vector(encoded: Tensor, pool: str) -> Tensor:
    """One vector an image, (B, N + 1, D) to (B, D), from the tokens that left.

    pool: "token" for the class token, "mean" for the mean of the patch tokens.
    """
    if pool == "token":
        return encoded[:, 0]
    return encoded[:, 1:].mean(dim=1)


wrong_vector = against(image_vector)


@wrong_vector(
    seen="With `token` it takes the last token, which belongs to a patch.",
    ask="Where did the patch embedding put the class token?",
    source=OURS,
)
def last_token_taken(encoded, pool):
    if pool == "token":
        return encoded[:, -1]
    return encoded[:, 1:].mean(dim=1)


@wrong_vector(
    seen="With `token` it takes all tokens of the first image.",
    ask="Which axis counts the images, and which the tokens?",
    source=OURS,
)
def first_image_taken(encoded, pool):
    if pool == "token":
        return encoded[0]
    return encoded[:, 1:].mean(dim=1)


@wrong_vector(
    seen="With `token` an axis of length 1 is left: a list of one token an image.",
    ask="What is the difference between an index and a slice of length 1?",
    source=OURS,
)
def token_axis_kept(encoded, pool):
    if pool == "token":
        return encoded[:, :1]
    return encoded[:, 1:].mean(dim=1)


@wrong_vector(
    seen="The class token is counted in the mean, as if it were a patch.",
    ask="How many of the N + 1 tokens came from a patch?",
    source=OURS,
)
def class_token_in_the_mean(encoded, pool):
    if pool == "token":
        return encoded[:, 0]
    return encoded.mean(dim=1)


@wrong_vector(
    seen="The mean leaves out a patch and counts the class token.",
    ask="At which end of the tokens is the one that came from no patch?",
    source=OURS,
)
def last_token_left_out(encoded, pool):
    if pool == "token":
        return encoded[:, 0]
    return encoded[:, :-1].mean(dim=1)


@wrong_vector(
    seen="The mean runs over the features: one number a token is left.",
    ask="Which axis shall disappear, and which shall the vector have?",
    source=OURS,
)
def mean_over_features(encoded, pool):
    if pool == "token":
        return encoded[:, 0]
    return encoded[:, 1:].mean(dim=2)


@wrong_vector(
    seen="The mean runs over the images: their tokens are mixed.",
    ask="May the vector of one image depend on the others in its batch?",
    source=OURS,
)
def mean_over_images(encoded, pool):
    if pool == "token":
        return encoded[:, 0]
    return encoded[:, 1:].mean(dim=0)


@wrong_vector(
    seen="The patch tokens are added up, so larger images have larger vectors.",
    ask="What turns a sum into a mean?",
    source=OURS,
)
def sum_of_the_patches(encoded, pool):
    if pool == "token":
        return encoded[:, 0]
    return encoded[:, 1:].sum(dim=1)


@wrong_vector(
    seen="The class token comes back whatever `pool` says.",
    ask="What shall `mean` do with the tokens that are not the class token?",
    source=OURS,
)
def pool_not_read(encoded, pool):
    return encoded[:, 0]


@wrong_vector(
    seen="`token` gives the mean, and `mean` gives the class token.",
    ask="Which of the two branches runs for `token`?",
    source=OURS,
)
def choices_swapped(encoded, pool):
    if pool == "mean":
        return encoded[:, 0]
    return encoded[:, 1:].mean(dim=1)


VECTOR = (
    pool_not_read,
    choices_swapped,
    last_token_taken,
    first_image_taken,
    token_axis_kept,
    class_token_in_the_mean,
    last_token_left_out,
    mean_over_features,
    mean_over_images,
    sum_of_the_patches,
)
MISCONCEPTIONS: dict[str, tuple[Misconception, ...]] = {
    "Encoder": ENCODER,
    "image_vector": VECTOR,
}

# The oracles.


def stack(x: Tensor, get: Get, depth: int, num_heads: int, **_built: float) -> Tensor:
    """The encoder, without what dropout does."""
    return oracle.encoder(x, get, depth, num_heads)


def silent(x: Tensor, get: Get, **_built: float) -> Tensor:
    """The encoder in training with p = 1: all that its branches add is dropped."""
    return oracle.norm(x, get, "norm")


def encoder_oracle(question: Question, taken: tuple[str, ...]) -> tuple:
    """The encoder in float64; in training the questions drop all or nothing."""
    return oracle_of(silent if question.training else stack)(question, taken)


def vector_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """One vector an image, by a product with the share of each token."""
    tokens = double(question.inputs[0])
    shares = torch.zeros(tokens.shape[1], dtype=torch.float64, device="cpu")
    if question.inputs[1] == "token":
        shares[0] = 1
    else:
        shares[1:] = 1 / (len(shares) - 1)
    output = torch.einsum("bnd,n->bd", tokens, shares)
    return finish(question, {"input 0": tokens}, (output,))


# The questions.


def encoder_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict.

    Sizes differ within a random one, so that a wrong axis cannot hide. The first one
    tells most wrong versions apart, the next three the others.
    """
    normal = Normal(seed)
    # Large enough that ε matters only to the small tokens.
    x, y, z = 10 * normal(2, 5, 6), 10 * normal(3, 1, 8), 10 * normal(2, 3, 4)
    three = about(normal, depth=3, dim=6, num_heads=2, mlp_dim=7)
    one = about(normal, depth=1, dim=8, num_heads=4, mlp_dim=3)
    two = about(normal, depth=2, dim=4, num_heads=2, mlp_dim=3)
    quiet = {**two, "parameters": silenced(two["parameters"])}
    dropped = {**with_dropout(three, 1.0), "training": True}
    uneven = {**three, "arguments": {**three["arguments"], "num_heads": 5}}
    tiny = normal(1, 3, 4) / 1000
    return [
        Question("three blocks", (x,), **three, initial=True),
        Question("small tokens, silent blocks", (tiny,), **quiet, aside=True),
        Question("small tokens", (tiny,), **two, aside=True),
        Question("all dropped", (x,), **dropped, aside=True),
        Question("silent blocks", (SMALL_X,), **SILENT),
        Question("small numbers", (SMALL_X,), **LOUD),
        Question("two small images", (batch(SMALL_X[0]),), **LOUD),
        Question("another order", (x[:, normal.order(5)],), **three),
        Question("one block, one token", (y,), **one),
        Question("float32", (x.float(),), **three),
        Question("float32 again", (x.float(),), **three),
        Question("at rest", (z,), **with_dropout(two, 0.4), aside=True),
        Question("at rest again", (z,), **with_dropout(two, 0.4), aside=True),
        Question("p = 1.5", (x,), **with_dropout(three, 1.5), refused=True, aside=True),
        Question("heads that do not divide", (x,), **uneven, refused=True, aside=True),
        Question("gradients", (x,), **three, cotangent=normal(2, 5, 6)),
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
LOUD = about(Normal(7), depth=2, dim=4, num_heads=2, mlp_dim=3)
SILENT = {**LOUD, "parameters": silenced(LOUD["parameters"])}


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
            Question(f"another device, {pool}", (x, pool), device="meta"),
        ]
    return questions


SMALL_TOKENS = torch.stack(
    [small([9, 0], [1, 2], [3, 4], [5, 6]), small([0, 8], [1, 1], [1, 1], [4, 1])]
)

# The properties that are the encoder's own.


def has_its_blocks_and_norm(trials: Trials) -> Problem | None:
    """There are L blocks and a final norm, which the module knows of."""
    trial = trials["float32"]  # in float64, blocks in a list stop at their dtype
    if trial.reply.problem:
        return trial.problem()
    shapes, depth = trial.reply.parameters, trial.question.arguments["depth"]
    entries = {n: p.numel() for n, p in trial.question.parameters.items()}
    of_norm = entries["norm.weight"] + entries["norm.bias"]
    of_block = sum(c for n, c in entries.items() if n.startswith("blocks.0."))
    learned = sum(map(math.prod, shapes.values()))
    if learned == of_norm:
        return Problem(PlainListOfBlocks.name, PlainListOfBlocks.seen)
    if learned == of_block + of_norm and not trial.reply.shared:
        return Problem(OneBlockInALoop.name, OneBlockInALoop.seen)
    numbers = set(re.findall(r"^blocks\.(\d+)\.", "\n".join(shapes), re.MULTILINE))
    if len(numbers) == depth - 1:
        return Problem(LastBlockLeftOut.name, LastBlockLeftOut.seen)
    if len(numbers) not in (0, depth):  # none: other names, which are asked for next
        text = f"Built with depth {depth} it has parameters of {len(numbers)} blocks."
        return Problem("wrong-depth", text)
    if learned == depth * of_block:
        return Problem(NoFinalNorm.name, NoFinalNorm.seen)
    return None


def start_alike(trials: Trials) -> str:
    """A remark on blocks that are copies of one."""
    initial = trials["three blocks"].reply.initial
    name = "attn.query.weight"
    first, second = (initial.get(f"blocks.{i}.{name}") for i in (0, 1))
    if first is None or second is None or not torch.equal(first, second):
        return ""
    return f"A remark: {CopiesOfOneBlock.seen}\nQuestion: {CopiesOfOneBlock.ask}"


ENCODER_PROPERTIES = (
    REPEATS,
    Property(
        "there are as many blocks as depth says, and a final norm",
        has_its_blocks_and_norm,
        "How many parts are created in `__init__`, and who knows of them?",
        core=True,
    ),
    Property(
        "every block has parameters of its own, and so has the final norm",
        # Attention may do without biases.
        has_parameters(
            "three blocks",
            optional=("query.bias", "key.bias", "value.bias", "attn.proj.bias"),
        ),
        "How many blocks are created in `__init__`, and who knows of them?",
        core=True,
    ),
    Property(
        "output (B, N, D) comes back",
        returns_right_shapes(
            "three blocks", "small numbers", "one block, one token", "at rest"
        ),
        "How many tokens enter, and how many leave?",
        core=True,
    ),
    Property(
        "silent blocks leave what the final norm makes of the input",
        agrees("silent blocks"),
        "If no block adds anything, what reaches the end, and what happens there?",
        core=True,
    ),
    Property(
        "the numbers agree with the definition in float64",
        agrees(
            "three blocks",
            "two small images",
            "another order",
            "one block, one token",
        ),
        "Which block reads what, and where does the final norm stand?",
        core=True,
    ),
    Property(
        "in evaluation nothing is dropped",
        repeats("at rest", "at rest again"),
        "What shall dropout do after `eval()`?",
    ),
    Property(
        "in training, p reaches the blocks",
        agrees("all dropped"),
        "What do your blocks do with the p that the encoder is built with?",
    ),
    Property(
        "a p above 1 is a ValueError",
        refuses("dropout-out-of-range", "p = 1.5"),
        "Who checks p, and does it get there?",
    ),
    UNEVEN_HEADS,
    Property(
        "small tokens are normalised with ε = 1e-6",
        agrees("small tokens, silent blocks", "small tokens"),
        "Which ε do the ViT's norms have, and where can you say so?",
    ),
    *EDGES,
)
VECTOR_PROPERTIES = (
    Property(
        "output (B, D) comes back",
        returns_right_shapes("random numbers, token", "random numbers, mean"),
        "Which of the three axes shall disappear?",
        core=True,
    ),
    Property(
        "`token` gives the class token",
        agrees("random numbers, token", "one image, one patch, token"),
        "Where did the patch embedding put the class token?",
        core=True,
    ),
    Property(
        "`mean` gives the mean of the patch tokens",
        agrees("random numbers, mean", "one image, one patch, mean"),
        "Which tokens came from a patch, and how many are they?",
        core=True,
    ),
    Property(
        "float32 and float64 are kept",
        keeps_dtype("float32, token", "float32, mean", "gradients, mean"),
        "Where does a number of another type enter?",
    ),
    Property(
        "float64 keeps its digits",
        keeps_digits("gradients, mean"),
        "Is something rounded, or a small number added?",
    ),
    Property(
        "the device is kept",
        keeps_device("another device, mean"),
        "A new tensor can ask an old one where it lives. Does yours?",
    ),
    KEEPS_INPUTS,
    Property(
        "gradients are right",
        lambda trials: (
            same_gradients("gradients, token")(trials)
            or same_gradients("gradients, mean")(trials)
        ),
        "Is every step from the input to the output one that autograd can follow?",
    ),
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
    bank=tuple(m for m in ENCODER if m is not CopiesOfOneBlock),
    show=Show(
        questions=("silent blocks", "small numbers", "two small images"),
        inputs=("x",),
        order={"output": 0},
        axes={"output": ("token", "feature")},
    ),
    again="Code",
    remarks=(start_alike,),
)
WRITE_IMAGE_VECTOR = Implement(
    form=Form(outputs=("vectors",), reference=(image_vector,)),
    ask_about=vector_questions,
    oracle=vector_oracle,
    properties=VECTOR_PROPERTIES,
    bank=VECTOR,
    show=Show(
        questions=("small numbers, token", "small numbers, mean"),
        inputs=("encoded", "pool"),
        order={"vectors": 0},
        axes={"vectors": ("vector", "feature")},
    ),
    again="The idea in a picture",
)

# Parameters of an encoder with L = 8, D = 512, M = 2048: one block, and all of it.
COUNT_DEPTH, COUNT_DIM = 8, 512


def counted(
    matrices: int = 12, vectors: int = 13, final: int = 2, depth: int = COUNT_DEPTH
) -> tuple[float, float]:
    """Parameters of a block and of an encoder, from how many D² and D are in them."""
    dim = COUNT_DIM
    block = matrices * dim**2 + vectors * dim
    return block, depth * block + final * dim


PREDICT_COUNT = PredictNumbers(
    right=counted(),
    names=("The number for one block", "The number for the encoder"),
    wrong=(
        (
            counted(final=0),
            Wrong(
                "final-norm-not-counted",
                "The block is right. The encoder holds more than its blocks.",
                "Which part stands after the last block, and what does it learn?",
            ),
        ),
        (
            counted(final=1),
            Wrong(
                "norm-without-bias",
                "The block is right. Of the final norm, one of two vectors is missing.",
                "With what does a LayerNorm multiply, and what does it add?",
            ),
        ),
        (
            counted(depth=1),
            Wrong(
                "blocks-share-parameters",
                "That is an encoder whose blocks are all the same one.",
                "Does each block learn numbers of its own?",
            ),
        ),
        (
            counted(vectors=0, final=0),
            Wrong(
                "only-matrices-counted",
                "Here the matrices are counted, and nothing else.",
                "Which layers add a bias, and what do the norms learn?",
            ),
        ),
        (
            counted(vectors=4),
            Wrong(
                "linear-biases-not-counted",
                "The matrices and the norms are counted, but no bias of a linear "
                "layer.",
                "How many numbers does `nn.Linear(a, b)` learn?",
            ),
        ),
        (
            counted(vectors=9),
            Wrong(
                "block-norms-not-counted",
                "The linear layers are counted, but not the two norms of a block.",
                "What does a LayerNorm learn, and how many stand in a block?",
            ),
        ),
        (
            counted(vectors=11),
            Wrong(
                "one-norm-a-block",
                "One norm a block is counted.",
                "Which parts of a block does a norm stand before?",
            ),
        ),
        (
            counted(matrices=11, vectors=12),
            Wrong(
                "output-projection-not-counted",
                "Attention is counted without its output projection.",
                "What happens to the heads after they are put side by side?",
            ),
        ),
        (
            counted(matrices=4 * 8 + 8, vectors=4 * 8 + 9),
            Wrong(
                "heads-multiply-parameters",
                "Here each of the 8 heads has projections from D to D.",
                "How wide is one head, and how wide are all heads together?",
            ),
        ),
    ),
    ask="Go through a block part by part: which matrices, biases, gains does it hold?",
    again="Look",
)
PREDICT_SILENT = PredictNumbers(
    right=(-1.0, 1.0, -1.0, 1.0),
    names=(
        "The first number of the first token",
        "The last number of the first token",
        "The first number of the second token",
        "The last number of the second token",
    ),
    wrong=(
        (
            (1.0, 5.0, 10.0, 50.0),
            Wrong(
                "no-final-norm",
                "That is the stream as it is, after the last block.",
                "Does the encoder end with its last block?",
            ),
        ),
        (
            (0.0, 0.0, 0.0, 0.0),
            Wrong(
                "stream-forgotten",
                "That is what the blocks add. The stream itself is lost.",
                "What does a skip hand on if its branch is silent?",
            ),
        ),
        (
            (-2.0, 2.0, -20.0, 20.0),
            Wrong(
                "only-centred",
                "The mean is gone, but the sizes are still unlike.",
                "By what does a LayerNorm divide?",
            ),
        ),
        (
            (-0.5, 0.5, -0.05, 0.05),
            Wrong(
                "divided-by-variance",
                "Here the distances from the mean are divided by the variance.",
                "In which unit is a variance, if the numbers are metres?",
            ),
        ),
        (
            (0.5, 2.5, 0.5, 2.5),
            Wrong(
                "not-centred",
                "The sizes are equal, but the mean is still in.",
                "What does a LayerNorm do before it divides?",
            ),
        ),
        (
            (-0.87, 0.87, -0.87, 0.87),
            Wrong(
                "sample-variance",
                "That is nearly it: here the variance is divided by 3, not by 4.",
                "Does a LayerNorm estimate a variance, or compute one?",
            ),
        ),
    ),
    ask="If no block adds anything, what reaches the final norm?",
    again="The equation",
    tolerance=0.02,
)
PREDICT_LARGER_IMAGE = Choose(
    right="B",
    because="24 N D² grows four times, 4 N² D sixteen times. In all it is 4.49 "
    "times as much, as the second term is small at these sizes.",
    wrong={
        "A": Wrong(
            "tokens-follow-the-side",
            "The tokens do not double: there are twice as many in a row, and twice as "
            "many rows.",
            "How many patches of 16 × 16 pixels has an image of 448 × 448?",
        ),
        "C": Wrong(
            "all-work-is-quadratic",
            "That would be so if all work were attention's scores and averages.",
            "Which part of the work meets each token alone?",
        ),
        "D": Wrong(
            "no-quadratic-term",
            "The matrices' share grows four times. There is a share that grows faster.",
            "How many scores does attention compute for N tokens?",
        ),
    },
    again="Look",
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
    right=(Encoder, EncoderInSequence),
    wrong=(
        OneBlockRepeated,
        PlainListOfBlocks,
        NoFinalNorm,
        EveryBlockFedTheInput,
    ),
    ask="Which number differs from a right encoder: parameters, gradients, or outputs?",
    again="Break it",
)

TASKS = {
    "count": PREDICT_COUNT,
    "silent": PREDICT_SILENT,
    "image_vector": WRITE_IMAGE_VECTOR,
    "larger_image": PREDICT_LARGER_IMAGE,
    "Encoder": WRITE_ENCODER,
    "wrong_stack": TEST_THE_STACK,
    "find_the_bug": replace(WRITE_ENCODER, bug=NormAfterEveryBlock, again="Check"),
}
