"""Patches and positions: what people get wrong, what must hold, and the tasks."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vit_encoder.check.hearing import asking
from vit_encoder.check.hearing.data import Form, Question
from vit_encoder.check.judging import oracle
from vit_encoder.check.judging.misconceptions import GITHUB, edit, edits, inside, named
from vit_encoder.check.judging.oracle import (
    Get,
    linear_parameters,
    oracle_of,
    oracle_of_function,
)
from vit_encoder.check.judging.pictures import Show
from vit_encoder.check.judging.properties import (
    EDGES,
    KEEPS_DTYPE,
    KEEPS_NO_STATE,
    PASSES_NAN_ON,
    REPEATS,
    SAME_IN_TRAINING,
    agrees,
    each,
    has_parameters,
    holds,
    refuses,
    returns_right_shapes,
    runs,
    shows,
)
from vit_encoder.check.judging.questions import (
    Normal,
    double,
    edges,
    finish,
    small,
    with_nan,
)
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
        "height-and-width-exchanged",
        {
            f"images.{SPLIT}": "images.reshape(\n        *images.shape[:2], "
            "images.shape[3] // P, P, images.shape[2] // P, P\n    )"
        },
        "Height and width have changed places: square images come out right, others "
        "do not.",
        "In which order does the shape of the images give height and width?",
    ),
    edit(
        "columns-reshaped",
        {JOINED: f"{JOINED}.mT.reshape(len(images), -1, {AS_MANY})"},
        "Two axes had to change places, and a reshape was to do it. It cuts the same "
        "run of numbers into other rows.",
        "Which of `reshape` and `transpose` moves a number to another place?",
    ),
    edit(
        "steps-of-one-pixel",
        {
            SPLIT: "unfold(2, P, 1).unfold(3, P, 1)\n"
            "    x = x[:, :, : images.shape[2] // P, : images.shape[3] // P]",
            ORDER: "(0, 2, 3, 1, 4, 5)",
        },
        "There are as many patches as there should be, but each lies one pixel beside "
        "the one before it. Only a corner of the image is read.",
        "At which pixel does the second patch begin?",
    ),
    # From here on another shape comes back.
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
        "How many rows should a patch become, and how many numbers does it have?",
    ),
    edit(
        "patches-in-columns",
        {JOINED: f"{JOINED}.transpose(1, 2)"},
        "A patch is a column of the result, not a row.",
        "Over which axis does a linear layer go, and what must stand there?",
    ),
    edit(
        "patches-before-images",
        {JOINED: f"{JOINED}.transpose(0, 1)"},
        "The patches stand on the first axis, the images on the second.",
        "Which axis of the result counts the images, and which the patches?",
    ),
    edit(
        "grid-kept",
        {JOINED: "x.flatten(3)"},
        "The patches still stand in a grid: rows and columns of patches are two axes.",
        "Does the encoder take a grid of patches, or a list?",
    ),
    edit(
        "patches-not-flattened",
        {JOINED: "x.flatten(1, 2)"},
        "A patch is still a small image, with axes for channel, row and column.",
        "What does a linear layer take: an image, or a list of numbers?",
    ),
    edit(
        "patches-joined",
        {JOINED: "x.flatten(1)"},
        "All patches of an image stand in one row.",
        "How many rows should an image have, and how long should each be?",
    ),
    edit(
        "images-joined",
        {JOINED: "x.flatten(3).flatten(0, 2)"},
        "The patches of all images stand in one list: the axis of the images is gone.",
        "How could a later layer tell which patches belong to one image?",
    ),
    edit(
        "count-and-size-exchanged",
        {SPLIT: SPLIT.replace("-1, P", "P, -1")},
        "Each side of an image is cut into P pieces, not into pieces of P pixels.",
        "Is P the number of patches along a side, or the length of one?",
    ),
    edit(
        "side-counted-once",
        {JOINED: f"x.reshape(len(images), -1, {AS_MANY.removesuffix(' * P')})"},
        "A row has C · P numbers: as many as one line of a patch.",
        "How many pixels does a square whose side is P have?",
    ),
    edit(
        "channels-lost",
        {JOINED: "x.mean(3).flatten(3).flatten(1, 2)"},
        "A row has P² numbers, one for each pixel: the channels are gone.",
        "How many numbers describe one coloured pixel?",
    ),
    edit(
        "patches-reduced",
        {JOINED: "x.mean((4, 5)).flatten(1, 2)"},
        "A patch has become a single number in each channel.",
        "What should be left of the pixels of a patch?",
    ),
    edit(
        "one-row-of-patches",
        {JOINED: "x[:, 0].flatten(2)"},
        "There are only as many patches as stand side by side.",
        "How many rows of patches are there, and where do the others get lost?",
    ),
    edit(
        "last-patches-missing",
        {f"images.{SPLIT}": f"images[..., :-P, :-P].{SPLIT}"},
        "The last row and the last column of patches are missing.",
        "Where does the last patch begin, and do your loops reach it?",
    ),
    # And here, where nothing should come back.
    edit(
        "edges-dropped",
        {
            CHECKED: "    H, W = (side // P * P for side in images.shape[2:])\n"
            "    images = images[:, :, :H, :W]\n"
        },
        "Images with a side that is no multiple of P are accepted, and pixels at that "
        "edge are dropped.",
        REST,
    ),
)

# Misconceptions of PatchEmbedding.

PROJECTED = "self.proj(patchify(images, self.patch_size))"
SIZES = "nn.Linear(in_channels * patch_size**2, dim)"
SUM = "return x + self.pos_embed"
SHOWN = "self.cls_token.expand(len(x), -1, -1)"
TOKEN = "nn.Parameter(torch.zeros(1, 1, dim))"
PLACES = "nn.Parameter(0.02 * torch.randn(1, N, dim))"
NORM = "Does equation 1 have a norm, or does it stand in the encoder's blocks?"
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
        "features-before-patches",
        {
            f"x = {PROJECTED}": "P = self.patch_size\n"
            "        weight = self.proj.weight.unflatten(1, (-1, P, P))\n"
            "        x = F.conv2d(images, weight, self.proj.bias, stride=P).flatten(2)"
        },
        "The D features stand before the n patches, as a convolution leaves them.",
        "Which axis of the convolution's result is D, and where does the class token "
        "need it?",
    ),
    edit(
        "projection-reversed",
        {SIZES: "nn.Linear(dim, in_channels * patch_size**2)"},
        "The projection takes D numbers and gives as many as a patch has.",
        "What goes into the projection, and what comes out?",
    ),
    edit(
        "channels-and-width-exchanged",
        {SIZES: "nn.Linear(dim * patch_size**2, in_channels)"},
        "Channels and width have changed places: the projection takes D channels and "
        "gives C numbers.",
        "Which of C and D does the image bring along, and which do you choose?",
    ),
    edit(
        "projection-of-one-channel",
        {"in_channels * patch_size**2, dim": "patch_size**2, dim"},
        "The projection takes P² numbers. A patch of C channels has more.",
        "How many numbers describe one coloured pixel?",
    ),
    edit(
        "projection-of-one-line",
        {"in_channels * patch_size**2, dim": "in_channels * patch_size, dim"},
        "The projection takes C · P numbers: as many as one line of a patch.",
        "How many pixels does a square whose side is P have?",
    ),
    edit(
        "projection-of-the-image",
        {"in_channels * patch_size**2, dim": "in_channels * image_size**2, dim"},
        "The projection takes all numbers of the image at once.",
        "How many numbers of an image go into one token?",
    ),
    edit(
        "projection-of-the-count",
        {"in_channels * patch_size**2, dim": "in_channels * n, dim"},
        "The projection takes as many pixels as there are patches.",
        "Is it the number of patches that says how large one is?",
    ),
    edit(
        "one-position-for-all",
        {"randn(1, N, dim)": "randn(1, 1, dim)"},
        "The same vector is added at every position, so it says nothing about places.",
        "How many different positions are there, and how many vectors?",
        GITHUB + "pytorch/examples/issues/1178",
    ),
    edit(
        "first-position-for-all",
        {SUM: f"{SUM}[:, :1]"},
        "Every token gets the first position, so it says nothing about places.",
        "How many different positions are there, and which one does token 5 get?",
    ),
    edit(
        "positions-of-one-side",
        {"randn(1, N, dim)": "randn(1, image_size // patch_size + 1, dim)"},
        "There are positions for as many patches as stand side by side.",
        "How many squares does a grid of 5 rows and 5 columns have?",
    ),
    edit(
        "positions-of-pixels",
        {"randn(1, N, dim)": "randn(1, image_size**2 + 1, dim)"},
        "There is a position for each pixel.",
        "What gets a position: a pixel, or a token?",
    ),
    edit(
        "two-tokens-more",
        {"randn(1, N, dim)": "randn(1, n + 2, dim)"},
        "There are positions for two tokens beside the patches, as in DeiT.",
        "Which tokens does equation 1 have beside the patches?",
    ),
    edit(
        "positions-as-wide-as-patches",
        {"randn(1, N, dim)": "randn(1, N, in_channels * patch_size**2)"},
        "A position has as many numbers as a flattened patch.",
        "To what is a position added: to a patch, or to a token?",
    ),
    edit(
        "no-positions",
        {"x + self.pos_embed": "x"},
        "No position is added to the tokens.",
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
        "positions-on-class-token-alone",
        {SHOWN: f"{SHOWN} + self.pos_embed[:, :1]", SUM: "return x"},
        "The class token gets its position, the patches get none.",
        "To how many vectors does equation 1 add a position?",
    ),
    edit(
        "positions-shifted",
        {SUM: f"{SUM}.roll(1, dims=1)"},
        "The class token gets the last position, and each patch that of the token "
        "before it.",
        "Which row of `pos_embed` belongs to token 0?",
    ),
    edit(
        "positions-multiplied",
        {"x + self.pos_embed": "x * self.pos_embed"},
        "The tokens are multiplied by the position embeddings.",
        "What would a position embedding of 0 leave of its token?",
    ),
    edit(
        "positions-concatenated",
        {
            SUM: "places = self.pos_embed.expand(len(x), -1, -1)\n"
            "        return torch.cat([x, places], dim=-1)"
        },
        "The positions stand beside the features, so a token is twice as wide.",
        "Which step of equation 1 brings the positions in: a plus, or a bracket?",
    ),
    edit(
        "sinusoidal-positions",
        {
            f"self.pos_embed = {PLACES}": "steps = torch.arange(N)[:, None]\n"
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
        {PLACES: "0.02 * torch.randn(1, N, dim)"},
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
        "There are only as many tokens as patches. None stands for the whole image.",
        "Equation 1 has one row more than there are patches. Which is it?",
    ),
    edit(
        "class-token-not-expanded",
        {SHOWN: "self.cls_token"},
        "One class token is put in front of several images. With a single image it "
        "works.",
        "How many class tokens does a batch of B images need, and how many are there?",
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
        "The class token is computed from the image, such as the mean of its patches.",
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
        "Token 0 starts from no parameter: training cannot change it.",
        OWNER,
    ),
    edit(
        "class-token-alone",
        {SUM: f"{SUM.replace('x + self.pos_embed', '(x + self.pos_embed)[:, 0]')}"},
        "One vector comes back for an image. The patches are gone.",
        "How many tokens does the encoder read?",
    ),
    edit(
        "tokens-before-images",
        {SUM: "return (x + self.pos_embed).transpose(0, 1)"},
        "The tokens stand on the first axis, the images on the second.",
        "Which axis of the result counts the images, and which the tokens?",
    ),
    edit(
        "features-before-tokens",
        {SUM: "return (x + self.pos_embed).mT"},
        "A token is a column of the result, not a row.",
        "Which axis holds the D numbers of one token?",
    ),
    edit(
        "norm-of-the-sum",
        {SUM: "return F.layer_norm(x + self.pos_embed, x.shape[-1:])"},
        "The tokens are normalized after the sum, as in BERT.",
        NORM,
    ),
    edit(
        "norm-of-the-projection",
        {PROJECTED: f"{PROJECTED}\n        x = F.layer_norm(x, x.shape[-1:])"},
        "The projected patches are normalized, as in Swin.",
        NORM,
    ),
    edit(
        "norm-of-the-patches",
        {
            PROJECTED: "patchify(images, self.patch_size)\n"
            "        x = self.proj(F.layer_norm(x, x.shape[-1:]))"
        },
        "The flattened patches are normalized before the projection.",
        NORM,
    ),
    edit(
        "projection-bent",
        {PROJECTED: f"{PROJECTED}.relu()"},
        "A nonlinearity stands behind the projection.",
        "Is there anything but a linear map between a patch and its token?",
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
        "How many numbers does a flattened patch have, and how many a token?",
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


def keep_some(
    x: Tensor, kept: list[int], cls_token: Tensor, pos_embed: Tensor
) -> Tensor:
    """The tokens of some patches of an image, class token first.

    x: the projected patches (B, n, D), all of them. kept: the numbers of the k patches
    to keep, from 0. cls_token: (1, 1, D). pos_embed: (1, N, D). Returns (B, 1 + k, D).
    """
    places = pos_embed[:, 1:][:, kept]  # (1, k, D)
    x = x[:, kept] + places  # (B, k, D)
    first = cls_token + pos_embed[:, :1]  # (1, 1, D)
    return torch.cat([first.expand(len(x), -1, -1), x], dim=1)


OWN_PLACE = "pos_embed[:, 1:][:, kept]"
WHERE = "Where in the image did a kept patch lie, and which position was it given?"
KEEP = edits(
    keep_some,
    edit(
        "place-in-the-list",
        {OWN_PLACE: "pos_embed[:, 1 : 1 + len(kept)]"},
        "A patch gets the position of its place among those that are kept, not of its "
        "place in the image.",
        WHERE,
    ),
    edit(
        "class-position-not-skipped",
        {OWN_PLACE: "pos_embed[:, kept]"},
        "Each patch gets the position of the token before it.",
        "Which row of `pos_embed` belongs to patch 0?",
    ),
    edit(
        "first-patches-kept",
        {"x = x[:, kept]": "x = x[:, : len(kept)]"},
        "The positions are those of the patches to keep, but the patches are the first "
        "ones of the image.",
        "Which patches should be kept?",
    ),
    edit(
        "kept-without-position",
        {"x[:, kept] + places": "x[:, kept]"},
        "The patches that are kept get no position.",
        "How could a later layer tell where a patch lay?",
    ),
    edit(
        "class-token-without-position",
        {"cls_token + pos_embed[:, :1]": "cls_token"},
        "The class token gets no position.",
        "To how many vectors does equation 1 add a position?",
    ),
    edit(
        "class-token-last",
        {"[first.expand(len(x), -1, -1), x]": "[x, first.expand(len(x), -1, -1)]"},
        "The class token stands after the patches, not before them.",
        "In equation 1, which stands first: the class token or the patches?",
    ),
)


def add_sincos(x: Tensor, rows: int, columns: int) -> Tensor:
    """Tokens with the sines and cosines of their places in a grid, class token first.

    x: (B, 1 + rows · columns, D). Returns the same shape. In the position of a patch
    the first half of the D features says the column, the second the row; each half
    holds D/4 sines, then D/4 cosines. The class token gets a position of zeros.
    ValueError if D is no multiple of 4.
    """
    D = x.shape[-1]
    if D % 4:
        raise ValueError(f"expected a width that 4 divides, got {D}")
    steps = torch.arange(D // 4, dtype=x.dtype, device=x.device) / (D // 4)
    omega = 10000.0**-steps  # (D/4,), from 1 down
    row = torch.arange(rows, device=x.device).repeat_interleave(columns)  # (n,)
    column = torch.arange(columns, device=x.device).repeat(rows)  # (n,)
    halves = []
    for place in (column, row):
        angles = place[:, None] * omega  # (n, D/4)
        halves.append(torch.cat([angles.sin(), angles.cos()], dim=-1))
    places = torch.cat(halves, dim=-1)  # (n, D)
    nowhere = places.new_zeros(1, D)  # that of the class token
    return x + torch.cat([nowhere, places])


ROW = "torch.arange(rows, device=x.device).repeat_interleave(columns)"
COLUMN = "torch.arange(columns, device=x.device).repeat(rows)"
WAVES = "torch.cat([angles.sin(), angles.cos()], dim=-1)"
SINCOS = edits(
    add_sincos,
    edit(
        "halves-exchanged",
        {"(column, row)": "(row, column)"},
        "The first half of the features says the row, and the second the column.",
        "Two patches lie side by side. In which half should their positions differ?",
        GITHUB + "facebookresearch/mae/issues/18",
    ),
    edit(
        "column-by-column",
        {
            ROW: "torch.arange(rows, device=x.device).repeat(columns)",
            COLUMN: "torch.arange(columns, device=x.device).repeat_interleave(rows)",
        },
        "The places come column by column: the second patch is said to lie below the "
        "first.",
        "In which order does `patchify` list the patches?",
        GITHUB + "huggingface/transformers/pull/41380",
    ),
    edit(
        "rows-and-columns-exchanged",
        {
            ROW: "torch.arange(columns, device=x.device).repeat_interleave(rows)",
            COLUMN: "torch.arange(rows, device=x.device).repeat(columns)",
        },
        "The grid lies on its side: it has as many rows as there should be columns. "
        "With a square grid nothing is wrong.",
        "After how many patches does the second row of the grid begin?",
        GITHUB + "facebookresearch/mae/issues/151",
    ),
    edit(
        "places-in-one-row",
        {
            "steps = torch.arange(D // 4, dtype=x.dtype, device=x.device) / (D // 4)": (
                "steps = torch.arange(D // 2, dtype=x.dtype, device=x.device) "
                "/ (D // 2)"
            ),
            "(column, row)": "(row * columns + column,)",
        },
        "The patches are numbered from 0 to n − 1, and the whole width says this "
        "number, as in the first Transformer.",
        "Which patch is nearer to patch 0 in the image: the last one of its row, or "
        "the one below it? And in your positions?",
        VASWANI,
    ),
    edit(
        "sines-and-cosines-alternate",
        {WAVES: "torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)"},
        "Sines and cosines alternate, as in the first Transformer.",
        "In which order does the task list the four quarters?",
        GITHUB + "facebookresearch/mae/issues/63",
    ),
    edit(
        "sines-and-cosines-exchanged",
        {WAVES: "torch.cat([angles.cos(), angles.sin()], dim=-1)"},
        "The cosines stand before the sines.",
        "In which order does the task list the four quarters?",
    ),
    edit(
        "frequencies-of-the-half",
        {"/ (D // 4)": "/ (D // 2)"},
        "The frequencies fall too slowly: in a wide token the last one lies near "
        "1/100, where it should come near 1/10000.",
        "How many frequencies are there, and which one is the last?",
    ),
    edit(
        "last-frequency-reached",
        {"/ (D // 4)": "/ max(D // 4 - 1, 1)"},
        "The frequencies fall too fast: the last one is 1/10000 itself. So it is in "
        "big_vision; here the list ends one step earlier.",
        "Put the last i into the formula. What does it give?",
    ),
    edit(
        "frequencies-rise",
        {"10000.0**-steps": "10000.0**steps"},
        "The frequencies rise where they should fall, in a wide token up to nearly "
        "10000: neighbours get positions that have little in common.",
        "Should the last sine change slowly from patch to patch, or fast?",
        GITHUB + "aharley/pips/issues/30",
    ),
    edit(
        "counted-from-one",
        {
            ROW: ROW.replace("arange(rows", "arange(1, rows + 1"),
            COLUMN: COLUMN.replace("arange(columns", "arange(1, columns + 1"),
        },
        "Rows and columns are counted from 1.",
        "What is the sine of the place of patch 0?",
    ),
    edit(
        "class-token-in-the-corner",
        {"places.new_zeros(1, D)": "places[:1]"},
        "The class token gets the position of patch 0, whose cosines are 1.",
        "Where in the image does the class token lie?",
    ),
    edit(
        "class-token-last",
        {"[nowhere, places]": "[places, nowhere]"},
        "Each token gets the position of the one after it: the row of zeros stands at "
        "the end.",
        "Which token of x is the class token?",
    ),
    edit(
        "positions-alone",
        {
            "return x + torch.cat([nowhere, places])": (
                "return torch.cat([nowhere, places]).expand_as(x)"
            )
        },
        "The positions come back alone. The tokens are lost.",
        "What does the encoder read: tokens, or places?",
    ),
)


def random_masking(x: Tensor, noise: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The patches of smallest noise, and what puts them back.

    x: the tokens of the patches (B, n, D). noise: (B, n). count: k, how many are kept.
    Returns kept (B, k, D), smallest noise first, and restore (B, n): the place of each
    patch in this order, from 0, where those that are not kept come after the others.
    """
    order = noise.argsort(dim=1)  # (B, n), the numbers of the patches
    first = order[:, :count]  # (B, k)
    kept = x.gather(1, first[..., None].expand(-1, -1, x.shape[-1]))  # (B, k, D)
    return kept, order.argsort(dim=1)


GATHERED = "x.gather(1, first[..., None].expand(-1, -1, x.shape[-1]))"
BACK = "order.argsort(dim=1)"
MASKING = edits(
    random_masking,
    edit(
        "order-for-its-inverse",
        {BACK: "order"},
        "`restore` is the order itself: it says which patch stands at a place, not at "
        "which place a patch stands.",
        "Three patches come in the order 2, 0, 1. At which place stands patch 0?",
        GITHUB + "facebookresearch/mae/issues/124",
    ),
    edit(
        "mask-for-restore",
        {BACK: f"({BACK} >= count).long()"},
        "`restore` is a mask: it says of each patch whether it is kept, with 0 and 1, "
        "and not at which place it stands.",
        "Two patches of an image are kept. Does a mask say which of them came first?",
    ),
    edit(
        "places-for-the-order",
        {"order[:, :count]": f"{BACK}[:, :count]"},
        "The numbers by which patches are picked are places in the order of the noise, "
        "so other patches are kept.",
        "Three patches have the noise 0.5, 0.9 and 0.1. Which number picks the first?",
    ),
    edit(
        "largest-noise-kept",
        {"noise.argsort(dim=1)": "noise.argsort(dim=1, descending=True)"},
        "The patches of largest noise are kept.",
        "Which end of the order should be kept?",
    ),
    edit(
        "sorted-across-images",
        {"noise.argsort(dim=1)": "noise.argsort(dim=0)"},
        "The noise is put in order across the images, not across an image's patches.",
        "Which axis of the noise counts the patches of an image?",
    ),
    edit(
        "first-image-for-all",
        {"noise.argsort(dim=1)": "noise[:1].argsort(dim=1).expand_as(noise)"},
        "Every image keeps the patches that the noise of the first image picks.",
        "Should two images of a batch keep the same patches?",
    ),
    edit(
        "kept-in-reading-order",
        {"order[:, :count]": "order[:, :count].sort(dim=1).values"},
        "The right patches are kept, but in the order in which they lie in the image. "
        "`restore` counts in the order of the noise.",
        "Put the kept patches back with `restore`. Does each come to its own place?",
    ),
    edit(
        "first-patches-kept",
        {GATHERED: "x[:, :count]"},
        "The first patches of the image are kept, whatever the noise is.",
        "What decides which patches are kept?",
    ),
    edit(
        "others-kept",
        {"order[:, :count]": "order[:, count:]"},
        "Returned are the patches that should be left out.",
        "How many patches does the encoder get to see: k, or n − k?",
    ),
    # From here on another shape comes back.
    edit(
        "one-feature-gathered",
        {GATHERED: "x.gather(1, first[..., None])"},
        "Of each kept patch one feature comes back.",
        "`gather` returns as many numbers as its index holds. How many do you want?",
    ),
    edit(
        "indexed-across-images",
        {GATHERED: "x[:, first]"},
        "Each image is indexed with the picks of all images, so an axis comes in "
        "between.",
        "Which picks belong to image 0, and which does your index give it?",
    ),
    edit(
        "left-out-as-zeros",
        {GATHERED: f"x.masked_fill(({BACK} >= count)[..., None], 0)"},
        "The other patches are still there, as zeros, so the encoder has as much to do "
        "as before.",
        "How many tokens should the encoder get?",
    ),
    edit(
        "places-of-the-kept-alone",
        {BACK: f"{BACK}[:, :count]"},
        "`restore` has k numbers an image. With one for each patch it would have n.",
        "The decoder fills all places of the image. How many are there?",
    ),
)
# Those of patchify that show in square images, and can be projected or stop it.
INSIDE = named(
    PATCHIFY,
    "bare-reshape",
    "channels-not-moved",
    "column-by-column",
    "patches-transposed",
    "image-turned",
    "channels-last",
    "pixels-spread",
    "columns-reshaped",
    "steps-of-one-pixel",
    "windows-overlap",
    "patches-in-columns",
    "grid-kept",
)
MISCONCEPTIONS = {
    "patchify": PATCHIFY,
    "PatchEmbedding": (*PATCH_EMBEDDING, *inside(PatchEmbedding, INSIDE)),
    "keep_some": KEEP,
    "add_sincos": SINCOS,
    "random_masking": MASKING,
}

# The oracles.


def embed(images: Tensor, get: Get, patch_size: int, **_built: int) -> Tensor:
    """PatchEmbedding."""
    return oracle.patch_embedding(images, get, patch_size)


patch_embedding_oracle = oracle_of(embed)


@oracle_of_function
def kept_oracle(x: Tensor, kept: Tensor, first: Tensor, places: Tensor) -> Tensor:
    """The class token and each kept patch with its own position, one by one."""
    tokens = [(first[0] + places[0, :1]).expand(len(x), -1)]  # each (B, D)
    tokens += [x[:, i] + places[:, i + 1] for i in kept]
    return torch.stack(tokens, 1)


@oracle_of_function
def sincos_oracle(x: Tensor, _rows: int, columns: int) -> Tensor:
    """Number by number, from the formula."""
    N, D = x.shape[1:]
    positions = [[0.0] * D]
    for patch in range(N - 1):
        row, column = divmod(patch, columns)
        positions.append(
            [
                wave(place / 10000 ** (4 * i / D))
                for place in (column, row)
                for wave in (math.sin, math.cos)
                for i in range(D // 4)
            ]
        )
    return x + torch.tensor(positions, dtype=torch.float64, device="cpu")


def masking_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """A patch's place is how many patches of its image have less noise."""
    x, noise, count = question.inputs
    leaves = {"input 0": double(x)}
    restore = (noise[:, None] < noise[:, :, None]).sum(-1)  # (B, n)
    places = torch.arange(count, device="cpu")
    picks = (restore[:, None] == places[:, None]).long().argmax(-1)  # (B, k)
    images = torch.arange(len(x), device="cpu")[:, None]
    return finish(question, leaves, (leaves["input 0"][images, picks], restore))


# The questions. Sizes differ, so that a wrong axis cannot hide; where some are equal,
# a wrong version must fail by its numbers.

LIT = (0, 13, 6)  # channel, row and column of the number that changes
LIT_PIXEL = "channel 0, row 13, column 6, counted from 0"
LIGHT = 3  # by how much
LIT_TOKEN, LIT_VALUE = 17, 6  # the token of its patch, and its place in the patch


def memory(*shape: int) -> Tensor:
    """Images whose numbers are their places in memory."""
    return torch.arange(math.prod(shape), dtype=torch.float64, device="cpu").view(shape)


def lit(images: Tensor) -> Tensor:
    """The same images; in the first one, one number is larger."""
    images = images.clone()
    images[(0, *LIT)] += LIGHT
    return images


def patchify_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict."""
    normal = Normal(seed)
    images = normal(2, 3, 20, 28)
    return [
        Question("an image", (images, 4)),
        Question("small image", (memory(1, 1, 4, 6), 2)),
        Question("small image, two channels", (memory(1, 2, 2, 4), 2)),
        Question("a square image", (normal(4, 2, 15, 15), 3)),
        Question("one patch", (normal(3, 2, 5, 5), 5)),
        Question("patches of one pixel", (normal(2, 4, 3, 5), 1)),
        Question("a nan", (with_nan(images), 4)),
        *edges((images, 4), normal(2, 35, 48)),
        # As many pixels as three whole patches have.
        Question("rows left over", (normal(1, 2, 6, 8), 4), refused=True),
        Question("columns left over", (normal(1, 2, 8, 6), 4), refused=True),
    ]


def patch_embedding_questions(seed: int) -> list[Question]:
    """As for patchify, with parameters."""
    normal = Normal(seed)
    images = normal(2, 3, 20, 20)
    common = given(normal, 20, 4, 3, 7)
    wide = given(normal, 8, 2, 3, 12)
    patch = normal(1, 3, 4, 4)
    left_over = given(normal, 10, 4, 3, 7)
    return [
        Question("an image", (images,), **common),
        Question("one number changed", (lit(images),), **common),
        Question("small image", (memory(1, 1, 4, 4),), **SMALL_GREY),
        Question("small image, two channels", (memory(1, 2, 2, 2),), **SMALL_COLOUR),
        Question("equal patches", (patch.tile(1, 1, 5, 5),), **common),
        Question("as wide as a patch", (normal(5, 3, 8, 8),), **wide),
        Question("one patch", (normal(3, 2, 5, 5),), **given(normal, 5, 5, 2, 8)),
        Question("called again", (images,), **common, rehearsals=(False,)),
        Question("in training", (images,), **common, training=True),
        Question("a nan", (with_nan(images),), **common),
        *edges((images,), normal(2, 26, 7), **common),
        # Two inputs: who can be called with them was built without an error.
        Question("pixels left over", (images, images), **left_over, refused=True),
    ]


def kept_questions(seed: int) -> list[Question]:
    """Patches to keep, not always in order; the first three, where a place is safe."""
    normal = Normal(seed)
    x, first, places = normal(2, 6, 5), normal(1, 1, 5), normal(1, 7, 5)
    kept = (4, 1, 5)
    tokens = torch.arange(1.0, 4.0, dtype=torch.float64, device="cpu").view(1, 3, 1)
    small_ones = (tokens.repeat(1, 1, 2), -tokens[:, :1].repeat(1, 1, 2))
    positions = tenths(4).repeat(1, 1, 2)
    return [
        Question("two of three", (small_ones[0], (2, 0), small_ones[1], positions)),
        Question("some patches", (x, kept, first, places)),
        Question("the first ones", (x, (0, 1, 2), first, places)),
        Question("all patches", (x, (0, 1, 2, 3, 4, 5), first, places)),
        Question("one patch", (x, (3,), first, places)),
        Question("a nan", (with_nan(x), kept, first, places)),
        *edges((x, kept, first, places), normal(2, 4, 5)),
    ]


def sincos_questions(seed: int) -> list[Question]:
    """Grids of several shapes; the small tokens are zeros, so that positions show."""
    normal = Normal(seed)
    x, narrow = normal(2, 16, 24), normal(2, 16, 8).float()
    nothing = torch.zeros(1, 7, 8, dtype=torch.float64, device="cpu")
    return [
        Question("six patches", (nothing[..., :4], 2, 3)),
        Question("two patches", (nothing[:, :3], 1, 2)),
        Question("a grid", (x, 3, 5)),
        Question("a tall grid", (normal(1, 15, 16), 7, 2)),
        Question("a square grid", (normal(3, 17, 12), 4, 4)),
        Question("one row", (normal(2, 8, 20), 1, 7)),
        Question("one patch", (normal(3, 2, 4), 1, 1)),
        Question("float32", (narrow, 3, 5)),
        Question("float32 again", (narrow, 3, 5)),
        Question("a nan", (with_nan(x), 3, 5)),
        Question("gradients", (x, 3, 5), cotangent=normal(2, 16, 24)),
        Question("another device", (x, 3, 5), device="meta"),
        Question("a width of 10", (normal(2, 7, 10), 2, 3), refused=True),
    ]


def masking_questions(seed: int) -> list[Question]:
    """Patches and noise; in the small images half of the patches are kept."""
    normal = Normal(seed)
    x, noise = normal(3, 7, 5), normal(3, 7)
    return [
        Question("small images", (SMALL_PATCHES, SMALL_NOISE, 2)),
        Question("a batch", (x, noise, 4)),
        Question("one patch", (normal(2, 6, 4), normal(2, 6), 1)),
        Question("all patches", (normal(4, 5, 3), normal(4, 5), 5)),
        Question("one image", (normal(1, 9, 2), normal(1, 9), 3)),
        Question("a nan", (with_nan(x), noise, 4)),
        *edges((x, noise, 4), normal(3, 4, 5)),
    ]


def given(
    normal: Normal, image_size: int, patch_size: int, in_channels: int, dim: int
) -> dict[str, dict]:
    """What PatchEmbedding is built with, and random parameters for it."""
    n = (image_size // patch_size) ** 2
    arguments = built(image_size, patch_size, in_channels, dim)
    parameters = {
        **linear_parameters(normal, "proj", dim, in_channels * patch_size**2),
        "cls_token": normal(1, 1, dim),
        "pos_embed": normal(1, n + 1, dim),
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

# The patches come in the orders 2, 3, 1, 0 and 1, 2, 3, 0, which are not their own
# inverses.
SMALL_PATCHES = torch.stack([small([1, 2], [3, 4], [5, 6], [7, 8])] * 2)
SMALL_PATCHES[1] *= 10
SMALL_NOISE = small([0.9, 0.6, 0.1, 0.4], [0.8, 0.2, 0.3, 0.5])

# The properties that are this chapter's own: those of patchify.

RANDOM = ("an image", "a square image", "one patch", "patches of one pixel")
MOVED = "Does your code only move numbers, or does it also compute with them?"


@holds(
    "height and width may differ",
    "How many patches stand side by side, and how many above one another?",
    core=True,
)
def works_oblong(trials: Trials) -> None:
    """Images need not be square."""
    oblong = trials["an image"]
    if trials["a square image"].right() and not oblong.right():
        text = f"Square images work, others do not. {what_is_wrong(oblong)}"
        raise Fails(text, "square-assumed")


@holds(
    "images and patches of any size work",
    "Which numbers in your code should come from the images, or from `patch_size`?",
    core=True,
)
def fits_all_sizes(trials: Trials) -> None:
    """No size is a constant of the code."""
    first, *others = (trials[name] for name in RANDOM)
    wrong = next((trial for trial in others if not trial.right()), None)
    squeezed = wrong and wrong.problem() and wrong.problem().name == "axis-squeezed"
    if first.right() and wrong and not squeezed:
        text = f"It works for {first.sizes()}, but not always. {what_is_wrong(wrong)}"
        raise Fails(text, "sizes-fixed")


def what_is_wrong(trial: Trial) -> str:
    """Why an answer to a question is not right, in a sentence."""
    problem = trial.problem()
    return problem.text if problem else f"The numbers differ for {trial.sizes()}."


@each("each number of an image comes out once", RANDOM, MOVED, core=True)
def keeps_all_numbers(trial: Trial) -> None:
    """The numbers of an image, put in order, are those of its patches."""
    got, right = trial.output.double(), trial.expected[0]
    if same_numbers(got, right):
        return
    trial.require_no_rounding()
    if same_numbers(got[None], right[None]):
        text = "Numbers of one image are found in the patches of another."
        ask = "Which axis must stay first, whatever you do with the others?"
        raise Fails(text, "images-mixed", ask)
    in_order, got = right.flatten().sort().values, got.flatten()
    place = torch.searchsorted(in_order, got + 1e-6) - 1  # the largest not above it
    if ((in_order[place.clamp_min(0)] - got).abs() < 1e-5).all():
        text = "Some numbers of an image are missing, and others are there twice."
        raise Fails(text, "numbers-missing")
    raise Fails("Numbers come out that are in none of the images.", "numbers-changed")


@each(
    "a row holds one patch, and each patch is in its place",
    RANDOM,
    "In which row and column of patches does a pixel lie?",
    core=True,
)
def holds_one_patch(trial: Trial) -> None:
    """Row i holds numbers of patch i and of no other."""
    got, right = trial.output.double(), trial.expected[0]
    if close(got.sort().values, right.sort().values) or not same_numbers(got, right):
        return
    patches = from_which_patch(got, right)
    mixed = (patches.amin(-1) < patches.amax(-1)).any()
    for row, found in enumerate(patches[0]):
        there = found.unique().tolist()
        if there == [row]:
            continue
        shown = ", ".join(map(str, there[:6])) + (", …" if len(there) > 6 else "")
        text = (
            f"Row {row} holds numbers of patch {shown}, expected those of patch {row} "
            f"alone, for {trial.sizes()}. Rows and patches are counted from 0."
        )
        raise Fails(text, "patches-mixed" if mixed else "patches-in-another-order")


def same_numbers(got: Tensor, right: Tensor) -> bool:
    """Each image has its own numbers, in any order."""
    return close(got.flatten(1).sort().values, right.flatten(1).sort().values)


def from_which_patch(got: Tensor, right: Tensor) -> Tensor:
    """The patch (B, n, C·P·P) from which each number came, if none is missing."""
    patches = right.flatten(1).argsort() // right.shape[-1]
    places = got.flatten(1).argsort()
    return torch.empty_like(places).scatter(1, places, patches).view_as(got)


@each(
    "the values of a patch come as channel, row, column",
    RANDOM,
    "Read the values of a patch aloud. Which index changes fastest, which slowest?",
    core=True,
)
def has_order_of_convolution(trial: Trial) -> None:
    """A row times a filter of a convolution, made flat, is what it computes."""
    if trial.right():
        return
    trial.require_no_rounding()
    text = "A row holds the numbers of its patch in another order."
    raise Fails(text, "values-in-another-order")


# Those of PatchEmbedding.

FORM = Form(
    outputs=("tokens",),
    is_class=True,
    reference=(PatchEmbedding, oracle.patch_embedding),
)
EMBEDDINGS = MISCONCEPTIONS["PatchEmbedding"]
WHICH_AXIS = "Which axis of each tensor is which: image, channel, row, column, patch?"


def patch_count(trial: Trial) -> int:
    """How many patches the images of a question on PatchEmbedding have."""
    sizes = trial.question.arguments
    return (sizes["image_size"] // sizes["patch_size"]) ** 2


@holds(
    "one image and several work",
    "Which of your tensors knows nothing of how many images there are?",
    core=True,
)
def takes_several_images(trials: Trials) -> None:
    """The size of the batch is free."""
    several, one = trials["an image"], trials["equal patches"]
    if one.right() and several.reply.errors:
        text = f"It works with one image, and stops with two. {several.problem().text}"
        raise Fails(text, "one-image-alone")


@each(
    "there is one learned class token",
    ("an image",),
    "Which parameter is the first row of equation 1, and how many images share it?",
    core=True,
)
def class_token_is_learned(trial: Trial) -> None:
    """It is the same for all images and any number of them."""
    shapes, outputs = trial.reply.parameters, trial.reply.outputs
    n = patch_count(trial)
    if len(shapes.get("cls_token", ())) == 3 and shapes["cls_token"][0] > 1:
        raise shows(PATCH_EMBEDDING, "class-token-per-image")
    if "cls_token" in shapes or under_other_names(trial):
        return
    if shapes.get("pos_embed", ())[-2:-1] == (n,) or has_tokens(trial, n):
        raise shows(PATCH_EMBEDDING, "no-class-token")
    if has_tokens(trial, n + 1):
        first, second = outputs[0][:, 0]
        learned = close(first, second)
        name = f"class-token-{'not-learned' if learned else 'from-image'}"
        raise shows(PATCH_EMBEDDING, name)


def under_other_names(trial: Trial) -> bool:
    """It has parameters that nobody asked for, maybe in place of a missing one."""
    return bool(trial.reply.parameters.keys() - {*trial.question.parameters, "proj"})


def has_tokens(trial: Trial, count: int) -> bool:
    """The result holds so many tokens for each image."""
    outputs = trial.reply.outputs
    return bool(outputs) and outputs[0].shape[:-1] == (2, count)


@holds(
    "there is a learned position for each token",
    "Which parameter holds a position for each of the N tokens?",
    core=True,
)
def positions_are_learned(trials: Trials) -> None:
    """N of them are parameters."""
    trial = trials["an image"]
    shapes, n = trial.reply.parameters, patch_count(trial)
    D, equal = trial.question.arguments["dim"], trials["equal patches"]
    if "pos_embed" in shapes:
        found = {D: "one-position-for-all", n * D: "positions-before-class-token"}
        name = found.get(math.prod(shapes["pos_embed"]))
    elif under_other_names(trial) or equal.problem():
        name = None
    else:
        name = "no-positions" if places_alike(equal) else "positions-not-learned"
    if name:
        raise shows(PATCH_EMBEDDING, name)


def places_alike(trial: Trial) -> bool:
    """All patches have the same token."""
    patches = trial.output[0, 1:]
    return close(patches, patches[:1].expand_as(patches))


@each(
    "equal patches in different places have different tokens",
    ("equal patches",),
    "How could a later layer tell where a patch lay?",
    core=True,
)
def places_differ(trial: Trial) -> None:
    """The positions have an effect."""
    if places_alike(trial):
        text = "Equal patches give equal tokens, wherever they lie."
        raise Fails(text, "positions-without-effect")


@each(
    "each parameter has the right shape",
    ("an image",),
    "Which of C, D, n, N and P says how long each axis of this parameter is?",
    core=True,
)
def parameters_have_right_shapes(trial: Trial) -> None:
    """As in the text of the task; a convolution's weight has four axes."""
    problem = trial.problem()
    if not problem or problem.name != "wrong-parameter-shape":
        return
    sizes = trial.question.arguments
    P = sizes["patch_size"]
    right = {n: tuple(value.shape) for n, value in trial.question.parameters.items()}
    came = trial.reply.parameters
    if len(came.get("proj.weight", ())) == 4:
        right["proj.weight"] = (sizes["dim"], sizes["in_channels"], P, P)
    name, shape = next((n, came[n]) for n in right if came.get(n, right[n]) != right[n])
    text = f"Its parameter `{name}` has shape {shape}, expected {right[name]}."
    for wrong in PATCH_EMBEDDING:
        parameters = asking.ask(wrong.wrong, FORM, trial.question).parameters
        if flat(parameters.get(name, ())) == flat(shape):
            raise Fails.like(wrong, f"{text} {wrong.seen}")
    raise Fails(text, problem.name)


def flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a convolution's weight as that of a linear layer's."""
    return (shape[0], math.prod(shape[1:])) if len(shape) == 4 else shape


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
        raise shows(PATCH_EMBEDDING, "class-token-last")
    raise Fails("Token 0 differs from image to image.", "class-token-varies")


@holds(
    "one number lights one token, the right one",
    "In which row and column of patches does this pixel lie?",
    core=True,
)
def lights_one_token(trials: Trials) -> None:
    """One number of an image changes the token of its patch."""
    before, after = trials["an image"].output, trials["one number changed"].output
    change = (after.double() - before.double()).abs().amax(-1)
    found = (change > 1e-9).nonzero().tolist()  # [image, token]
    if found == [[0, LIT_TOKEN]]:
        return
    tokens = [number for image, number in found if image == 0]
    seen = ", ".join(map(str, tokens[:8])) + (", …" if len(tokens) > 8 else "")
    text = (
        f"One number of image 0 was changed: {LIT_PIXEL}. Token {LIT_TOKEN} should "
        f"change and no other. In image 0, what changed is token {seen or '(none)'}."
    )
    if len(tokens) < len(found):
        raise Fails(f"{text} Image 1 changed, too.", "images-mixed")
    raise Fails(text, "patches-mixed" if len(tokens) > 1 else "patches-out-of-place")


@holds(
    "the values of a patch meet the weights of channel, row, column",
    "In which order does `proj.weight` expect the numbers of a patch?",
    core=True,
)
def meets_its_weights(trials: Trials) -> None:
    """A number of an image is multiplied by the weights of its place in the patch."""
    before, after = trials["an image"], trials["one number changed"]
    change = (after.output.double() - before.output.double())[0, LIT_TOKEN]
    weights = before.question.parameters["proj.weight"].T  # a row for each value
    alike = torch.isclose(weights * LIGHT, change).all(-1).nonzero().flatten().tolist()
    if alike not in ([], [LIT_VALUE]):
        text = (
            f"Number {LIT_VALUE} of a patch is multiplied by the weights of number "
            f"{alike[0]}. The numbers stand in another order."
        )
        raise Fails(text, "values-in-another-order")


@each(
    "the numbers agree with equation 1 in float64",
    ("an image", "equal patches", "as wide as a patch", "one patch"),
    "Compare token 0, then token 1, with equation 1. Which term differs?",
    core=True,
)
def agrees_with_equation_1(trial: Trial) -> None:
    """What differs is looked for term by term."""
    if trial.right():
        return
    trial.require_no_rounding()
    got, right = trial.output.double(), trial.expected[0]
    places = trial.question.parameters["pos_embed"]
    require_positions(got - right + places, places)
    if close(got[:, 1:], right[:, 1:]):
        raise Fails("Token 0 differs, and the others are right.", "class-token-differs")
    factor = float((got * right).sum() / right.square().sum())
    if close(got, factor * right):
        text = f"Every token is {factor:.3g} times what it should be."
        raise Fails(text, "tokens-scaled")
    require_patches(trial, (got - places)[:, 1:], (right - places)[:, 1:])
    if len(got) > 1 and close(got - right, (got - right)[:1].expand_as(got)):
        text = (
            "Every image differs by the same vectors, so it is what all images share."
        )
        raise Fails(text, "positions-changed")
    trial.require_right()


def require_positions(added: Tensor, places: Tensor) -> None:
    """Fails if the tokens differ by their positions alone.

    added: what an answer added to the tokens (B, N, D), were all else right.
    """
    times = (added * places).sum(-1) / places.square().sum(-1)
    if close(added, times[..., None] * places):
        token = int((times[0] - 1).abs().argmax())
        text = f"The position of token {token} is added {float(times[0, token]):.3g} "
        raise Fails(f"{text}times, expected once.", "positions-scaled")
    rows = torch.cat([places[0], torch.zeros_like(places[0, :1])])  # the last is none
    apart, taken = torch.cdist(added, rows).min(-1)
    if apart.max() < 1e-6:
        wrong = (taken[0] != torch.arange(len(taken[0]))).nonzero()[0]
        row = int(taken[0, wrong])
        which = (
            "no position" if row == len(taken[0]) else f"the position of token {row}"
        )
        raise Fails(f"Token {int(wrong)} gets {which}.", "positions-shifted")


BENDS = (F.relu, F.gelu, torch.tanh, torch.sigmoid, F.silu)


def require_patches(trial: Trial, got: Tensor, right: Tensor) -> None:
    """Fails if what the patches bring in was bent, normalized, stretched or shifted.

    got, right: the tokens of the patches without their positions, (B, n, D).
    """
    whole = trial.output, trial.expected[0]
    if any(close(a, bend(b)) for a, b in (whole, (got, right)) for bend in BENDS):
        raise shows(PATCH_EMBEDDING, "projection-bent")
    for tokens, name in ((trial.output, "sum"), (got, "projection")):
        variance, mean = torch.var_mean(tokens.double(), -1, correction=0)
        if mean.abs().max() < 1e-3 and (variance - 1).abs().max() < 1e-3:
            raise shows(PATCH_EMBEDDING, f"norm-of-the-{name}")
    spread, right_spread = (x - x.mean((0, 1)) for x in (got, right))
    factor = float((spread * right_spread).sum() / right_spread.square().sum())
    if not close(spread, factor * right_spread):
        return
    if abs(factor - 1) > 1e-5:
        if abs(factor - right.shape[-1] ** 0.5) < 1e-5:
            raise shows(PATCH_EMBEDDING, "embedding-scaled")
        text = f"The patches bring in {factor:.3g} times what they should."
        raise Fails(
            text, "patches-scaled", "What is done to a patch but to project it?"
        )
    bias, more = trial.question.parameters["proj.bias"], (got - right)[0, 0]
    times = next((n for n in (-2, -1, 1) if close(more, n * bias)), 0)
    text, ask = "The same vector is added to each patch's token.", "Where is it from?"
    if times:
        text = f"The bias of the projection is added {1 + times} times."
        ask = "Which of the terms of `proj` do you compute yourself?"
    raise Fails(text, "vector-added" if not times else "bias-miscounted", ask)


@each(
    "sizes that do not divide are refused when it is built",
    ("pixels left over",),
    "10 pixels, patches of 4: what becomes of the rest, and when can you tell?",
)
def refuses_when_built(trial: Trial) -> None:
    """The error comes from `__init__`."""
    if trial.right():
        return
    problem = trial.reply.problem
    if not problem or "positional argument" in problem.text:  # it was called
        raise shows(PATCH_EMBEDDING, "sizes-not-checked")
    built = ", ".join(f"{n} {value}" for n, value in trial.question.arguments.items())
    raise Fails(
        f"Built with {built} it should raise a ValueError. {problem.text}",
        "wrong-error",
        "Which error says that an argument has a value that does not fit?",
    )


PATCHIFY_FORM = Form(outputs=("patches",), reference=(patchify, oracle.patchify))
PATCHIFY_PROPERTIES = (
    REPEATS,
    works_oblong,
    fits_all_sizes,
    returns_right_shapes(
        "patches (B, n, C·P·P) come back",
        *("an image", "small image, two channels", "one patch"),
        ask=WHICH_AXIS,
        form=PATCHIFY_FORM,
        known=PATCHIFY,
    ),
    keeps_all_numbers,
    holds_one_patch,
    has_order_of_convolution,
    PASSES_NAN_ON,
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
    takes_several_images,
    runs("images become tokens", "an image", ask=WHICH_AXIS),
    class_token_is_learned,
    positions_are_learned,
    parameters_have_right_shapes,
    has_parameters(
        "projection, class token and positions are there",
        "an image",
        ask="What is learned here?",
        optional=(".bias",),
    ),
    returns_right_shapes(
        "tokens (B, N, D) come back",
        *("an image", "small image", "one patch"),
        ask=WHICH_AXIS,
        form=FORM,
        known=EMBEDDINGS,
    ),
    class_token_ignores_images,
    places_differ,
    lights_one_token,
    meets_its_weights,
    agrees_with_equation_1,
    KEEPS_NO_STATE,
    SAME_IN_TRAINING,
    PASSES_NAN_ON,
    *EDGES,
    refuses_when_built,
)

# Those of keep_some.


def call_with_list(answer: Callable, inputs: list, _parameters: dict) -> object:
    """The numbers of the patches as a list, so that they can be an index."""
    x, kept, first, places = inputs
    return answer(x, list(kept), first, places)


KEEP_FORM = Form(outputs=("tokens",), reference=(keep_some,), call=call_with_list)


@each(
    "the class token comes first, with the first position",
    ("some patches", "one patch"),
    "Of which two vectors is token 0 the sum?",
    core=True,
)
def starts_with_class_token(trial: Trial) -> None:
    """Token 0 is the class token and its position."""
    if not close(trial.output[:, 0], trial.expected[0][:, 0]):
        raise Fails("Token 0 is not the class token with its position.", "")


KEEP_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "tokens (B, 1 + k, D) come back",
        *("some patches", "one patch", "all patches"),
        ask="Which axis counts the tokens, and how many are there?",
    ),
    starts_with_class_token,
    agrees(
        "a patch has the position of its place in the image",
        *("all patches", "the first ones", "one patch", "some patches"),
        ask=WHERE,
        core=True,
    ),
    PASSES_NAN_ON,
    *EDGES,
)

# Those of add_sincos.

SINCOS_FORM = Form(outputs=("tokens",), reference=(add_sincos,))


@each(
    "the class token gets a position of zeros",
    ("a grid", "one row"),
    "Which token is the class token, and where in the image does it lie?",
    core=True,
)
def leaves_class_token_alone(trial: Trial) -> None:
    """Token 0 leaves as it came."""
    if not close(trial.output[:, 0], trial.expected[0][:, 0]):
        raise Fails("Token 0 leaves with other numbers than it came with.")


@each(
    "one half of the features says the column, the other the row",
    ("a grid", "a tall grid"),
    "Which patches share a column, and which share a row?",
    core=True,
)
def halves_say_column_and_row(trial: Trial) -> None:
    """The first half is equal down a column, the second along a row."""
    x, rows, columns = trial.question.inputs
    added = (trial.output.double() - x)[0, 1:].unflatten(0, (rows, columns))
    halves = added.chunk(2, -1)
    for half, axis, name in zip(halves, (0, 1), ("column", "row"), strict=True):
        first = half.narrow(axis, 0, 1)
        if close(half, first.expand_as(half)):
            continue
        if close(half, half.narrow(1 - axis, 0, 1).expand_as(half)):
            raise shows(SINCOS, "halves-exchanged")
        patch = int((half - first).abs().amax(-1).flatten().argmax())
        other = patch % columns if axis == 0 else patch - patch % columns
        text = f"Patches {other} and {patch} lie in the same {name}, but in the "
        which = "first" if axis == 0 else "second"
        raise Fails(f"{text}{which} half of the features their positions differ.")


SINCOS_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "tokens (B, N, D) come back",
        *("a grid", "six patches", "one patch"),
        ask="Which axis counts the tokens, and which the features?",
    ),
    leaves_class_token_alone,
    halves_say_column_and_row,
    agrees(
        "the numbers agree with the formula in float64",
        *("a grid", "a tall grid", "a square grid", "one row", "one patch"),
        ask="Take a token of zeros in row 0, column 1. Which four quarters do you get, "
        "and which does the formula give?",
        core=True,
    ),
    PASSES_NAN_ON,
    *EDGES,
    refuses(
        "a width that 4 does not divide is refused",
        "width-not-refused",
        "a width of 10",
        ask="Into how many equal parts is the width cut?",
    ),
)

# Those of random_masking.


def call_as_it_is(answer: Callable, inputs: list, _parameters: dict) -> object:
    """A plain call, from which whole numbers may come back."""
    return answer(*inputs)


MASKING_FORM = Form(
    outputs=("kept", "restore"), reference=(random_masking,), call=call_as_it_is
)


@each(
    "the patches of smallest noise are kept",
    ("small images", "a batch"),
    "What does the order of the noise say about each patch?",
    core=True,
)
def keeps_smallest_noise(trial: Trial) -> None:
    """Each image keeps the right patches, in any order."""
    x, noise, count = trial.question.inputs
    for image, (tokens, got) in enumerate(zip(x, trial.output.double(), strict=True)):
        apart, patches = torch.cdist(got, tokens).min(-1)
        if apart.max() > 1e-6:
            raise Fails(f"For image {image} it returns tokens that are none of x's.")
        found, right = patches.unique().tolist(), noise[image].argsort()[:count]
        if found != sorted(right.tolist()):
            text = f"Image {image} keeps the patches {found}, counted from 0. Others "
            raise Fails(f"{text}have less noise.")


@each(
    "each kept patch finds its place again",
    ("small images", "a batch", "all patches"),
    "A row holds the kept patches, then a filler for each of the others. Which number "
    "of this row belongs to place 0 of the image?",
    core=True,
)
def finds_its_place(trial: Trial) -> None:
    """With fillers behind the kept patches, `restore` puts all of them in place."""
    x, _noise, count = trial.question.inputs
    kept, restore = trial.outputs[0].double(), trial.outputs[1].long()
    n, D = x.shape[1:]
    if not ((restore >= 0) & (restore < n)).all():
        raise Fails(f"`restore` should hold places from 0 to {n - 1}. It holds others.")
    filler = torch.full((len(x), n - count, D), torch.nan, device="cpu")
    row = torch.cat([kept, filler.double()], 1)
    back = row.gather(1, restore[..., None].expand(-1, -1, D))
    for image, place in (~back.isnan().any(-1)).nonzero().tolist():
        patch = int(torch.cdist(back[image, place][None], x[image]).argmin())
        if patch != place:
            text = f"In image {image}, `restore` brings patch {patch} to place {place}."
            raise Fails(text)


@each(
    "float32 and float64 are kept, and places are whole numbers",
    ("float32", "gradients"),
    "Where does a number of another type enter?",
)
def keeps_dtype_of_tokens(trial: Trial) -> None:
    """The tokens have the dtype that they came with; places are whole numbers."""
    wanted = trial.question.inputs[0].dtype
    if trial.output.dtype != wanted:
        text = f"For {wanted} inputs it returns {trial.output.dtype}."
        raise Fails(text, "dtype-changed")
    if (found := trial.outputs[1].dtype).is_floating_point:
        text = f"`restore` has the dtype {found}. A place is a whole number."
        raise Fails(text, "dtype-changed")


MASKING_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "kept (B, k, D) and restore (B, n) come back",
        *("a batch", "small images", "one patch"),
        ask="Which axis of each tensor counts images, patches and features?",
        form=MASKING_FORM,
        known=MASKING,
    ),
    keeps_smallest_noise,
    finds_its_place,
    agrees(
        "the order is that of the noise",
        *("a batch", "one patch", "all patches", "one image"),
        ask="Which patch comes first among the kept, and which place has each patch?",
        core=True,
    ),
    PASSES_NAN_ON,
    keeps_dtype_of_tokens,
    *(edge for edge in EDGES if edge is not KEEPS_DTYPE),
)

# The tasks.

WRITE_PATCHIFY = Implement(
    form=PATCHIFY_FORM,
    ask_about=patchify_questions,
    oracle=oracle_of_function(oracle.patchify),
    properties=PATCHIFY_PROPERTIES,
    misconceptions=PATCHIFY,
    show=Show(
        ("small image", "small image, two channels"),
        axes={"patches": ("patch", "value")},
    ),
)
WRITE_PATCH_EMBEDDING = Implement(
    form=FORM,
    ask_about=patch_embedding_questions,
    oracle=patch_embedding_oracle,
    properties=PATCH_EMBEDDING_PROPERTIES,
    misconceptions=EMBEDDINGS,
    show=Show(
        ("small image", "small image, two channels"),
        axes={"tokens": ("token", "feature")},
    ),
)


def unfolded(images: Tensor, patch_size: int) -> Tensor:
    """A right patchify of another design."""
    if any(side % patch_size for side in images.shape[2:]):
        raise ValueError(f"{patch_size} does not divide {tuple(images.shape[2:])}")
    return oracle.patchify(images, patch_size)


TEST_WITH_ONE_PIXEL = BreakIt(
    right={"the course's own": patchify, "one made with F.unfold": unfolded},
    wrong=named(
        PATCHIFY,
        *("bare-reshape", "channels-not-moved", "column-by-column", "pixels-spread"),
        "height-and-width-exchanged",
    ),
    ask="Which row must change with a pixel in row y and column x? Try more pixels "
    "than one, in every channel, and an image that is not square.",
)
REPAIR_KEEP_SOME = Implement(
    form=KEEP_FORM,
    ask_about=kept_questions,
    oracle=kept_oracle,
    properties=KEEP_PROPERTIES,
    misconceptions=KEEP,
    show=Show(("two of three",), axes={"tokens": ("token", "feature")}),
    bug=named(KEEP, "place-in-the-list")[0],
)
WRITE_SINCOS = Implement(
    form=SINCOS_FORM,
    ask_about=sincos_questions,
    oracle=sincos_oracle,
    properties=SINCOS_PROPERTIES,
    misconceptions=SINCOS,
    show=Show(("six patches", "two patches"), axes={"tokens": ("token", "feature")}),
)
WRITE_MASKING = Implement(
    form=MASKING_FORM,
    ask_about=masking_questions,
    oracle=masking_oracle,
    properties=MASKING_PROPERTIES,
    misconceptions=MASKING,
    show=Show(
        ("small images",),
        axes={"kept": ("kept patch", "feature"), "restore": ("image", "patch")},
    ),
)

TASKS = {
    "patchify": WRITE_PATCHIFY,
    "PatchEmbedding": WRITE_PATCH_EMBEDDING,
    "lit_pixel": TEST_WITH_ONE_PIXEL,
    "find_the_bug": REPAIR_KEEP_SOME,
    "add_sincos": WRITE_SINCOS,
    "random_masking": WRITE_MASKING,
}
