"""Patches and positions: what people get wrong, what must hold, and the tasks."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from vit_encoder.check.hearing.data import Form, Question
from vit_encoder.check.judging import oracle
from vit_encoder.check.judging.misconceptions import GITHUB, edit, edits, inside, named
from vit_encoder.check.judging.oracle import Get, linear_parameters, oracle_of
from vit_encoder.check.judging.pictures import Show
from vit_encoder.check.judging.properties import (
    EDGES,
    REPEATS,
    Property,
    agrees,
    each,
    has_parameters,
    holds,
    refuses,
    returns_right_shapes,
)
from vit_encoder.check.judging.questions import Normal, double, finish
from vit_encoder.check.judging.trials import Fails, Trial, Trials, close
from vit_encoder.check.tasks import BreakIt, Implement
from vit_encoder.patches import PatchEmbedding, patchify

VASWANI = "https://arxiv.org/abs/1706.03762"

# Misconceptions of patchify.

CHECKED = """    for side in images.shape[2:]:
        require_divides(P, side, "a patch_size", "the image's height and width")
"""
SPLIT = "unflatten(3, (-1, P)).unflatten(2, (-1, P))"
ORDER = "(0, 2, 4, 1, 3, 5)"
JOINED = "x.flatten(3).flatten(1, 2)"
AS_MANY = "images.shape[1] * P * P"
REST = "What should happen to the pixels that fill no whole patch?"
PATCHIFY = edits(
    patchify,
    edit(
        "bare-reshape",
        {
            f"x = images.{SPLIT}": "",
            f"x = x.permute{ORDER}": "",
            JOINED: f"images.reshape(len(images), -1, {AS_MANY})",
        },
        "A patch holds a run of numbers as they lie in memory: pieces of long rows of "
        "one channel, not a square.",
        "Paint one patch red. In how many rows of your result do you find it?",
        GITHUB + "duoan/TorchCode/issues/21",
    ),
    edit(
        "channels-not-moved",
        {
            ORDER: "(0, 1, 2, 4, 3, 5)",
            JOINED: f"x.reshape(len(images), -1, {AS_MANY})",
        },
        "The channels stayed in front: a patch holds squares of one channel from "
        "different places. With one channel nothing is wrong.",
        "Where do the red, green and blue values of one pixel end up?",
        GITHUB + "gupta-abhay/pytorch-vit/issues/7",
    ),
    edit(
        "column-by-column",
        {ORDER: "(0, 4, 2, 1, 3, 5)"},
        "The patches come column by column, not row by row.",
        "Which patch comes second: the one to the right, or the one below?",
    ),
    edit(
        "patches-transposed",
        {ORDER: "(0, 2, 4, 1, 5, 3)"},
        "Inside a patch, rows and columns have changed places.",
        "Which of the two axes of length P came from the image's height?",
    ),
    edit(
        "image-turned",
        {ORDER: "(0, 4, 2, 1, 5, 3)"},
        "Rows and columns have changed places everywhere: inside the patches, and in "
        "their order.",
        "Which axis of the images is the height, and which the width?",
    ),
    edit(
        "channels-last",
        {ORDER: "(0, 2, 4, 3, 5, 1)"},
        "The values of a patch come in the order row, column, channel. That is a "
        "valid order, but not the one of a convolution's weight in PyTorch.",
        "In which order does the weight of nn.Conv2d hold its values?",
        GITHUB + "google-research/vision_transformer/issues/93",
    ),
    edit(
        "pixels-spread",
        {SPLIT: SPLIT.replace("-1, P", "P, -1"), ORDER: "(0, 3, 5, 1, 2, 4)"},
        "A patch holds pixels that lie far apart, at equal distances. The axes were "
        "split the other way round.",
        "Which of the two new axes is P long: the one that runs fast, or the other?",
    ),
    edit(
        "windows-overlap",
        {SPLIT: "unfold(2, P, 1).unfold(3, P, 1)", ORDER: "(0, 2, 3, 1, 4, 5)"},
        "The window moves by one pixel, so patches overlap and there are too many.",
        "How far must the window move so that each pixel is in exactly one patch?",
    ),
    edit(
        "channels-apart",
        {ORDER: "(0, 1, 2, 4, 3, 5)", JOINED: "x.flatten(4).flatten(1, 3)"},
        "Each channel is cut by itself: a row holds one channel of a patch, and there "
        "are C times too many rows.",
        "How many rows should one patch become, and how many numbers has a patch?",
    ),
    edit(
        "patches-in-columns",
        {JOINED: f"{JOINED}.transpose(1, 2)"},
        "A patch is a column of the result, not a row.",
        "Over which axis does a linear layer go, and what must stand there?",
    ),
    edit(
        "grid-kept",
        {JOINED: "x.flatten(3)"},
        "The patches still stand in a grid: rows and columns of patches are two axes.",
        "Does the encoder take a grid of patches, or a list?",
    ),
    edit(
        "edges-dropped",
        {
            CHECKED: "    H, W = (side // P * P for side in images.shape[2:])\n"
            "    images = images[:, :, :H, :W]\n"
        },
        "Pixels at the right and lower edge are dropped without a word.",
        REST,
    ),
)

# Misconceptions of PatchEmbedding.

PROJECTED = "self.proj(patchify(images, self.patch_size))"
SHOWN = "self.cls_token.expand(len(x), -1, -1)"
TOKEN = "nn.Parameter(torch.zeros(1, 1, dim))"
PLACES = "nn.Parameter(0.02 * torch.randn(1, N + 1, dim))"
OWNER = "Who tells the module that it owns this tensor?"
PATCH_EMBEDDING = edits(
    PatchEmbedding,
    edit(
        "convolution-reshaped",
        {
            f"x = {PROJECTED}": "P = self.patch_size\n"
            "        weight = self.proj.weight.unflatten(1, (-1, P, P))\n"
            "        x = F.conv2d(images, weight, self.proj.bias, stride=P)\n"
            "        x = x.reshape(len(x), -1, x.shape[1])"
        },
        "Each token mixes numbers of one output channel from several patches, because "
        "channels stand before places in the result of a convolution.",
        "Which axis of the convolution's result is D, and which axes are the grid?",
        GITHUB + "ohtlab/headpose-fsanet-pytorch/issues/10",
    ),
    edit(
        "one-position-for-all",
        {"randn(1, N + 1, dim)": "randn(1, 1, dim)"},
        "The same vector is added at every position, so it says nothing about places.",
        "How many different positions are there, and how many vectors?",
        GITHUB + "pytorch/examples/issues/1178",
    ),
    edit(
        "no-positions",
        {"x + self.pos_embed": "x"},
        "The position embeddings are there, but nothing is added.",
        "How could a later layer tell where a patch lay?",
        GITHUB + "lucidrains/DALLE2-pytorch/issues/252",
    ),
    edit(
        "positions-before-class-token",
        {
            "return x + self.pos_embed": "return x",
            PROJECTED: f"{PROJECTED} + self.pos_embed[:, 1:]",
        },
        "The class token gets no position embedding of its own.",
        "To how many vectors does equation 1 add a position?",
        GITHUB + "labmlai/annotated_deep_learning_paper_implementations/pull/221",
    ),
    edit(
        "positions-added-twice",
        {PROJECTED: f"{PROJECTED} + self.pos_embed[:, 1:]"},
        "The patches get their position twice.",
        "How many times does equation 1 add the positions, and to what?",
    ),
    edit(
        "positions-multiplied",
        {"x + self.pos_embed": "x * self.pos_embed"},
        "The tokens are multiplied by the position embeddings.",
        "What would a position embedding of 0 leave of its token?",
    ),
    edit(
        "sinusoidal-positions",
        {
            f"self.pos_embed = {PLACES}": "steps = torch.arange(N + 1)[:, None]\n"
            "        waves = steps / 10000 ** (torch.arange(0, dim, 2) / dim)\n"
            "        waves = torch.stack([waves.sin(), waves.cos()], dim=-1)\n"
            "        self.pos_embed = waves.flatten(1)[:, :dim]"
        },
        "The position embeddings are fixed sines and cosines. Those are the first "
        "Transformer's; the ViT learns its own.",
        "Which of the two does the paper on ViT use?",
        VASWANI,
    ),
    edit(
        "positions-not-learned",
        {PLACES: "0.02 * torch.randn(1, N + 1, dim)"},
        "The position embeddings are no parameters: training leaves them as they are.",
        OWNER,
        GITHUB + "pytorch/examples/issues/1178",
    ),
    edit(
        "no-class-token",
        {
            f"self.cls_token = {TOKEN}": "",
            f"cls_token = {SHOWN}": "",
            "x = torch.cat([cls_token, x], dim=1)": "",
            "x + self.pos_embed": "x + self.pos_embed[:, 1:]",
        },
        "There are N tokens, one a patch. No token stands for the whole image.",
        "Equation 1 has N + 1 rows. Which is the first?",
    ),
    edit(
        "class-token-last",
        {"[cls_token, x]": "[x, cls_token]"},
        "The class token stands behind the patches, not before them.",
        "In equation 1, which stands first: the class token or the patches?",
    ),
    edit(
        "class-token-from-image",
        {SHOWN: "x.mean(dim=1, keepdim=True)"},
        "The class token depends on the image: it is the mean of the patches.",
        "Is the class token computed from the image, or learned?",
    ),
    edit(
        "class-token-per-image",
        {"zeros(1, 1, dim)": "zeros(2, 1, dim)", SHOWN: "self.cls_token"},
        "There is a class token for each image of a batch, so it works with one batch "
        "size alone, and each learns by itself.",
        "How many class tokens does the model learn, and how many images use each?",
        GITHUB + "ahmadchalhoub/research_implementations/issues/2",
    ),
    edit(
        "class-token-not-learned",
        {TOKEN: "torch.zeros(1, 1, dim)"},
        "The class token is no parameter: training leaves it as it is.",
        OWNER,
    ),
    edit(
        "embedding-scaled",
        {PROJECTED: f"{PROJECTED} * self.proj.out_features**0.5"},
        "The patches are multiplied by √D before the positions are added, as in the "
        "first Transformer.",
        "Does equation 1 of the ViT paper have a factor before E?",
        VASWANI,
    ),
    edit(
        "patches-not-projected",
        {PROJECTED: "patchify(images, self.patch_size)"},
        "The flattened patches themselves are the tokens; `proj` is not used.",
        "How many numbers has a flattened patch, and how many a token?",
    ),
    edit(
        "sizes-not-checked",
        {
            'require_divides(patch_size, image_size, "a patch_size", '
            '"the image_size")': "",
            "(in_channels, image_size, image_size)": "(in_channels, None, None)",
        },
        "It can be built for an image that its patches do not fill.",
        "10 pixels, patches of 4: what becomes of the rest, and when can you tell?",
    ),
)
# Those of patchify that keep the shape.
INSIDE = named(
    PATCHIFY,
    "bare-reshape",
    "channels-not-moved",
    "column-by-column",
    "patches-transposed",
    "image-turned",
    "channels-last",
    "pixels-spread",
)
MISCONCEPTIONS = {
    "patchify": PATCHIFY,
    "PatchEmbedding": (*PATCH_EMBEDDING, *inside(PatchEmbedding, INSIDE)),
}

# The oracles.


def patchify_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """The patches and the gradient of the images in float64."""
    images, patch_size = question.inputs
    leaves = {"input 0": double(images)}
    return finish(question, leaves, (oracle.patchify(leaves["input 0"], patch_size),))


def embed(images: Tensor, get: Get, patch_size: int, **_built: int) -> Tensor:
    """PatchEmbedding."""
    return oracle.patch_embedding(images, get, patch_size)


patch_embedding_oracle = oracle_of(embed)


# The questions. Sizes differ, so that a wrong axis cannot hide; where some are equal,
# a wrong version must fail by its numbers.

LIT = (1, 13, 9)  # channel, row and column of the number that changes
LIT_PIXEL = "channel 1, row 13, column 9, counted from 0"


def memory(*shape: int) -> Tensor:
    """Images whose numbers are their places in memory."""
    return torch.arange(math.prod(shape), dtype=torch.float64, device="cpu").view(shape)


def lit(images: Tensor) -> Tensor:
    """The same images; in the first one, one number is larger by 3."""
    images = images.clone()
    images[(0, *LIT)] += 3
    return images


def patchify_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict."""
    normal = Normal(seed)
    images = normal(2, 3, 20, 28)
    return [
        Question("small image", (memory(1, 1, 4, 6), 2)),
        Question("small image, two channels", (memory(1, 2, 2, 4), 2)),
        Question("an image", (images, 4)),
        Question("one number changed", (lit(images), 4)),
        Question("a square image", (normal(3, 3, 9, 9), 3)),
        Question("one patch", (normal(3, 2, 5, 5), 5)),
        Question("patches of one pixel", (normal(2, 4, 3, 5), 1)),
        Question("float32", (images.float(), 4)),
        Question("float32 again", (images.float(), 4)),
        Question("gradients", (images, 4), cotangent=normal(2, 35, 48)),
        Question("another device", (images, 4), device="meta"),
        Question("rows left over", (normal(1, 2, 7, 6), 3), refused=True),
        Question("columns left over", (normal(1, 2, 6, 8), 3), refused=True),
    ]


def patch_embedding_questions(seed: int) -> list[Question]:
    """As for patchify, with parameters."""
    normal = Normal(seed)
    images = normal(2, 3, 20, 20)
    common = given(normal, 20, 4, 3, 7)
    square = given(normal, 6, 2, 3, 12)
    patch = normal(1, 3, 4, 4)
    left_over = given(normal, 10, 4, 3, 7)
    return [
        Question("small image", (memory(1, 1, 4, 4),), **SMALL_GREY),
        Question("small image, two channels", (memory(1, 2, 2, 2),), **SMALL_COLOUR),
        Question("an image", (images,), **common),
        Question("one number changed", (lit(images),), **common),
        Question("equal patches", (patch.tile(1, 1, 5, 5),), **common),
        Question("as wide as a patch", (normal(4, 3, 6, 6),), **square),
        Question("one patch", (normal(3, 2, 5, 5),), **given(normal, 5, 5, 2, 8)),
        Question("float32", (images.float(),), **common),
        Question("float32 again", (images.float(),), **common),
        Question("gradients", (images,), **common, cotangent=normal(2, 26, 7)),
        Question("another device", (images,), **common, device="meta"),
        # The whole patches alone: nothing in the call itself is amiss.
        Question("pixels left over", (normal(1, 3, 8, 8),), **left_over, refused=True),
    ]


def given(
    normal: Normal, image_size: int, patch_size: int, in_channels: int, dim: int
) -> dict[str, dict]:
    """What PatchEmbedding is built with, and random parameters for it."""
    N = (image_size // patch_size) ** 2
    arguments = built(image_size, patch_size, in_channels, dim)
    parameters = {
        **linear_parameters(normal, "proj", dim, in_channels * patch_size**2),
        "cls_token": normal(1, 1, dim),
        "pos_embed": normal(1, N + 1, dim),
    }
    return {"arguments": arguments, "parameters": parameters}


def built(
    image_size: int, patch_size: int, in_channels: int, dim: int
) -> dict[str, int]:
    """What PatchEmbedding is built with."""
    return {
        "image_size": image_size,
        "patch_size": patch_size,
        "in_channels": in_channels,
        "dim": dim,
    }


def tenths(count: int) -> Tensor:
    """Position embeddings of width 3: 0.1 for token 0, 0.2 for token 1, and so on."""
    return (torch.arange(1.0, count + 1, device="cpu").double() / 10).view(1, -1, 1)


# The features are three of a patch's numbers, the class token is -1.
MINUS_ONE = {
    "proj.bias": torch.zeros(3, dtype=torch.float64, device="cpu"),
    "cls_token": -torch.ones(1, 1, 3, dtype=torch.float64, device="cpu"),
}
SMALL_GREY = {
    "arguments": built(4, 2, 1, 3),
    "parameters": {
        "proj.weight": torch.eye(4, dtype=torch.float64, device="cpu")[:3],
        **MINUS_ONE,
        "pos_embed": tenths(5).repeat(1, 1, 3),
    },
}
SMALL_COLOUR = {
    "arguments": built(2, 2, 2, 3),
    "parameters": {
        "proj.weight": torch.eye(8, dtype=torch.float64, device="cpu")[:6:2],
        **MINUS_ONE,
        "pos_embed": tenths(2).repeat(1, 1, 3),
    },
}

# The properties that are this chapter's own.


def lights_one(row: str, place: int) -> Property:
    """One number of an image changes one row of the result, the right one.

    row: what a row is. place: where the lit number belongs.
    """

    @holds(
        f"one number lights one {row}, the right one",
        "In which row and column of patches does this pixel lie?",
        core=True,
    )
    def test(trials: Trials) -> None:
        before, after = trials["an image"].output, trials["one number changed"].output
        change = (after.double() - before.double()).abs().amax(-1)
        found = (change > 1e-9).nonzero().tolist()  # [image, row]
        if found == [[0, place]]:
            return
        rows = [number for image, number in found if image == 0]
        seen = ", ".join(map(str, rows[:8])) + (", …" if len(rows) > 8 else "")
        text = (
            f"One number of image 0 was changed: {LIT_PIXEL}. "
            f"{row.capitalize()} {place} should change and no other. "
            f"In image 0, what changed is {row} {seen or '(none)'}."
        )
        if len(rows) < len(found):
            text += " Image 1 changed, too."
        raise Fails(text)

    return test


@holds(
    "height and width may differ",
    "How many patches stand side by side, and how many above one another?",
    core=True,
)
def works_oblong(trials: Trials) -> None:
    """Images need not be square."""
    problem = trials["an image"].problem()
    if problem and trials["a square image"].right():
        text = f"Square images work, others do not. {problem.text}"
        raise Fails(text, "square-assumed")


@each(
    "each number of an image comes out once",
    ("an image",),
    "Does your code only move numbers, or does it also compute with them?",
    core=True,
)
def keeps_all_numbers(trial: Trial) -> None:
    """The numbers of an image, put in order, are those of its patches."""
    before = trial.question.inputs[0].flatten(1).sort().values
    if not close(trial.output.flatten(1).sort().values, before):
        raise Fails("Some numbers of an image are missing, changed, or there twice.")


def patch_count(trial: Trial) -> int:
    """N of a question on PatchEmbedding."""
    sizes = trial.question.arguments
    return (sizes["image_size"] // sizes["patch_size"]) ** 2


def known(name: str, text: str = "") -> Fails:
    """It is this misconception of PatchEmbedding. text: in place of what is seen."""
    (wrong,) = named(PATCH_EMBEDDING, name)
    return Fails(text or wrong.seen, name)


@each(
    "there is one learned class token",
    ("an image",),
    "Which parameter is the first row of equation 1, and how many images share it?",
    core=True,
)
def class_token_is_learned(trial: Trial) -> None:
    """It is the same for all images and any number of them."""
    shapes, outputs = trial.reply.parameters, trial.reply.outputs
    N, D = patch_count(trial), trial.question.arguments["dim"]
    if len(shapes.get("cls_token", ())) == 3 and shapes["cls_token"][0] > 1:
        raise known("class-token-per-image")
    if any(len(s) > 1 and math.prod(s) == D for s in shapes.values()):
        return  # it is there, perhaps under another name
    if shapes.get("pos_embed", ())[-2:-1] == (N,) or has_tokens(trial, N):
        raise known("no-class-token")
    if has_tokens(trial, N + 1):
        first, second = outputs[0][:, 0]
        learned = close(first, second)
        raise known(f"class-token-{'not-learned' if learned else 'from-image'}")


def has_tokens(trial: Trial, count: int) -> bool:
    """The result holds so many tokens for each image."""
    outputs = trial.reply.outputs
    return bool(outputs) and outputs[0].shape[:-1] == (2, count)


@holds(
    "there is a learned position for each token",
    "Which parameter holds a position for each of the N + 1 tokens?",
    core=True,
)
def positions_are_learned(trials: Trials) -> None:
    """N + 1 of them are parameters."""
    trial = trials["an image"]
    shapes, N = trial.reply.parameters, patch_count(trial)
    if "pos_embed" in shapes:
        rows = (1, *shapes["pos_embed"])[-2]
        found = {1: "one-position-for-all", N: "positions-before-class-token"}
        if rows in found:
            raise known(found[rows])
        return
    if any(N in shape or N + 1 in shape for shape in shapes.values()):
        return  # they are there, under another name
    equal = trials["equal patches"]
    if equal.problem():
        return
    patches = equal.output[0, 1:]
    if close(patches, patches[:1].expand_as(patches)):
        raise known("no-positions", "Equal patches give equal tokens everywhere.")
    raise known("positions-not-learned")


@each(
    "the class token is the same for every image",
    ("an image",),
    "Is the class token computed from the image, or learned?",
    core=True,
)
def class_token_ignores_images(trial: Trial) -> None:
    """Token 0 of two images is one and the same."""
    first, second = trial.output
    if close(first[0], second[0]):
        return
    if close(first[-1], second[-1]):
        raise known("class-token-last")
    raise Fails("Token 0 differs from image to image.")


WHICH_AXIS = "Which axis of each tensor is which: image, channel, row, column, patch?"
PATCHIFY_PROPERTIES = (
    REPEATS,
    works_oblong,
    returns_right_shapes(
        "patches (B, N, C·P·P) come back",
        *("an image", "small image, two channels", "one patch"),
        ask=WHICH_AXIS,
    ),
    keeps_all_numbers,
    lights_one("row", 23),
    agrees(
        "the values of a patch come as channel, row, column",
        *("an image", "a square image", "one patch", "patches of one pixel"),
        ask="Read the values of one patch aloud. Which index changes fastest?",
        core=True,
    ),
    *EDGES,
    refuses(
        "sizes that do not divide are refused",
        "edges-not-refused",
        *("rows left over", "columns left over"),
        ask=REST,
    ),
)
PATCH_EMBEDDING_PROPERTIES = (
    REPEATS,
    class_token_is_learned,
    positions_are_learned,
    has_parameters(
        "projection, class token and positions are there",
        "an image",
        ask="What is learned here?",
        optional=(".bias",),
    ),
    returns_right_shapes(
        "tokens (B, N + 1, D) come back",
        *("an image", "small image", "one patch"),
        ask=WHICH_AXIS,
    ),
    class_token_ignores_images,
    lights_one("token", 18),
    agrees(
        "the numbers agree with equation 1 in float64",
        *("an image", "equal patches", "as wide as a patch", "one patch"),
        ask="Compare token 0, then token 1, with equation 1. Which term differs?",
        core=True,
    ),
    *EDGES,
    refuses(
        "sizes that do not divide are refused when it is built",
        "sizes-not-checked",
        "pixels left over",
        ask="10 pixels, patches of 4: what becomes of the rest, and when can you tell?",
    ),
)

# The tasks.

WRITE_PATCHIFY = Implement(
    form=Form(outputs=("patches",), reference=(patchify, oracle.patchify)),
    ask_about=patchify_questions,
    oracle=patchify_oracle,
    properties=PATCHIFY_PROPERTIES,
    misconceptions=PATCHIFY,
    show=Show(
        questions=("small image", "small image, two channels"),
        inputs=("images", "patch_size"),
        order={"patches": 0},
        axes={"patches": ("patch", "value")},
    ),
)
WRITE_PATCH_EMBEDDING = Implement(
    form=Form(
        outputs=("tokens",),
        is_class=True,
        reference=(PatchEmbedding, oracle.patch_embedding),
    ),
    ask_about=patch_embedding_questions,
    oracle=patch_embedding_oracle,
    properties=PATCH_EMBEDDING_PROPERTIES,
    misconceptions=MISCONCEPTIONS["PatchEmbedding"],
    show=Show(
        questions=("small image", "small image, two channels"),
        inputs=("images",),
        order={"tokens": 0},
        axes={"tokens": ("token", "feature")},
    ),
)
TEST_WITH_ONE_PIXEL = BreakIt(
    right={"the course's own": patchify, "one made with F.unfold": oracle.patchify},
    wrong=named(
        PATCHIFY,
        *("bare-reshape", "channels-not-moved", "column-by-column", "pixels-spread"),
    ),
    ask="Which row must change with a pixel in row y and column x? Try more pixels "
    "than one, in every channel, and an image that is not square.",
)
(BUG,) = named(PATCHIFY, "patches-transposed")

TASKS = {
    "patchify": WRITE_PATCHIFY,
    "PatchEmbedding": WRITE_PATCH_EMBEDDING,
    "lit_pixel": TEST_WITH_ONE_PIXEL,
    "find_the_bug": replace(WRITE_PATCHIFY, bug=BUG),
}
