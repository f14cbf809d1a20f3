"""Patches and positions: what people get wrong, what must hold, and the tasks."""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vit_encoder.arguments import require_divides, require_images
from vit_encoder.check import oracle
from vit_encoder.check.adapter import Form, Problem, Question
from vit_encoder.check.judge import (
    Property,
    Show,
    Trial,
    Trials,
    agrees,
    close,
    has_parameters,
    refuses,
    returns_right_shapes,
)
from vit_encoder.check.misconceptions import Misconception, against
from vit_encoder.check.oracle import Get, linear_parameters, oracle_of
from vit_encoder.check.properties import EDGES, REPEATS
from vit_encoder.check.questions import Normal, double, finish
from vit_encoder.check.tasks import BreakIt, Choose, Implement, PredictNumbers, Wrong
from vit_encoder.patches import PatchEmbedding, patchify

GITHUB = "https://github.com/"
VASWANI = "https://arxiv.org/abs/1706.03762"
OURS = "constructed for this course"

# Misconceptions of patchify. Each is the course's version with one visible change.

wrong_patchify = against(patchify)


@wrong_patchify(
    seen="A patch holds a run of numbers as they lie in memory: pieces of long rows of "
    "one channel, not a square.",
    ask="Paint one patch red. In how many rows of your result do you find it?",
    source=GITHUB + "duoan/TorchCode/issues/21",
)
def bare_reshape(images, patch_size):
    require_images(images)
    P = patch_size
    for side in images.shape[2:]:
        require_divides(P, side, "a patch_size", "the image's height and width")
    return images.reshape(len(images), -1, images.shape[1] * P * P)


@wrong_patchify(
    seen="The channels stayed in front: a patch holds squares of one channel from "
    "different places. With one channel nothing is wrong.",
    ask="Where do the red, green and blue values of one pixel end up?",
    source=GITHUB + "gupta-abhay/pytorch-vit/issues/7",
)
def channels_not_moved(images, patch_size):
    require_images(images)
    P = patch_size
    for side in images.shape[2:]:
        require_divides(P, side, "a patch_size", "the image's height and width")
    x = images.unflatten(3, (-1, P)).unflatten(2, (-1, P))
    x = x.permute(0, 1, 2, 4, 3, 5)
    return x.reshape(len(images), -1, images.shape[1] * P * P)


@wrong_patchify(
    seen="The patches come column by column, not row by row.",
    ask="Which patch comes second: the one to the right, or the one below?",
    source=OURS,
)
def column_by_column(images, patch_size):
    require_images(images)
    P = patch_size
    for side in images.shape[2:]:
        require_divides(P, side, "a patch_size", "the image's height and width")
    x = images.unflatten(3, (-1, P)).unflatten(2, (-1, P))
    x = x.permute(0, 4, 2, 1, 3, 5)
    return x.flatten(3).flatten(1, 2)


@wrong_patchify(
    seen="Inside a patch, rows and columns have changed places.",
    ask="Which of the two axes of length P came from the image's height?",
    source=OURS,
)
def patches_transposed(images, patch_size):
    require_images(images)
    P = patch_size
    for side in images.shape[2:]:
        require_divides(P, side, "a patch_size", "the image's height and width")
    x = images.unflatten(3, (-1, P)).unflatten(2, (-1, P))
    x = x.permute(0, 2, 4, 1, 5, 3)
    return x.flatten(3).flatten(1, 2)


@wrong_patchify(
    seen="The values of a patch come in the order row, column, channel. That is a "
    "valid order, but not the one of a convolution's weight in PyTorch.",
    ask="In which order does the weight of nn.Conv2d hold its values?",
    source=GITHUB + "google-research/vision_transformer/issues/93",
)
def channels_last(images, patch_size):
    require_images(images)
    P = patch_size
    for side in images.shape[2:]:
        require_divides(P, side, "a patch_size", "the image's height and width")
    x = images.unflatten(3, (-1, P)).unflatten(2, (-1, P))
    x = x.permute(0, 2, 4, 3, 5, 1)
    return x.flatten(3).flatten(1, 2)


@wrong_patchify(
    seen="Pixels at the right and lower edge are dropped without a word.",
    ask="What should happen to the pixels that fill no whole patch?",
    source=OURS,
)
def edges_dropped(images, patch_size):
    require_images(images)
    P = patch_size
    images = images[:, :, : images.shape[2] // P * P, : images.shape[3] // P * P]
    x = images.unflatten(3, (-1, P)).unflatten(2, (-1, P))
    x = x.permute(0, 2, 4, 1, 3, 5)
    return x.flatten(3).flatten(1, 2)


@wrong_patchify(
    seen="A patch holds pixels that lie far apart, at equal distances. The axes were "
    "split the other way round.",
    ask="Which of the two new axes is P long: the one that runs fast, or the other?",
    source=OURS,
)
def pixels_spread(images, patch_size):
    require_images(images)
    P = patch_size
    for side in images.shape[2:]:
        require_divides(P, side, "a patch_size", "the image's height and width")
    x = images.unflatten(3, (P, -1)).unflatten(2, (P, -1))
    x = x.permute(0, 3, 5, 1, 2, 4)
    return x.flatten(3).flatten(1, 2)


@wrong_patchify(
    seen="Rows and columns have changed places everywhere: inside the patches, and in "
    "their order.",
    ask="Which axis of the images is the height, and which the width?",
    source=OURS,
)
def image_turned(images, patch_size):
    require_images(images)
    P = patch_size
    for side in images.shape[2:]:
        require_divides(P, side, "a patch_size", "the image's height and width")
    x = images.unflatten(3, (-1, P)).unflatten(2, (-1, P))
    x = x.permute(0, 4, 2, 1, 5, 3)
    return x.flatten(3).flatten(1, 2)


@wrong_patchify(
    seen="The window moves by one pixel, so patches overlap and there are too many.",
    ask="How far must the window move so that each pixel is in exactly one patch?",
    source=OURS,
)
def windows_overlap(images, patch_size):
    require_images(images)
    P = patch_size
    for side in images.shape[2:]:
        require_divides(P, side, "a patch_size", "the image's height and width")
    x = images.unfold(2, P, 1).unfold(3, P, 1)
    x = x.permute(0, 2, 3, 1, 4, 5)
    return x.flatten(3).flatten(1, 2)


@wrong_patchify(
    seen="Each channel is cut by itself: a row holds one channel of a patch, and there "
    "are C times too many rows.",
    ask="How many rows should one patch become, and how many numbers has a patch?",
    source=OURS,
)
def channels_apart(images, patch_size):
    require_images(images)
    P = patch_size
    for side in images.shape[2:]:
        require_divides(P, side, "a patch_size", "the image's height and width")
    x = images.unflatten(3, (-1, P)).unflatten(2, (-1, P))
    x = x.permute(0, 1, 2, 4, 3, 5)
    return x.flatten(4).flatten(1, 3)


@wrong_patchify(
    seen="A patch is a column of the result, not a row.",
    ask="Over which axis does a linear layer go, and what must stand there?",
    source=OURS,
)
def patches_in_columns(images, patch_size):
    require_images(images)
    P = patch_size
    for side in images.shape[2:]:
        require_divides(P, side, "a patch_size", "the image's height and width")
    x = images.unflatten(3, (-1, P)).unflatten(2, (-1, P))
    x = x.permute(0, 2, 4, 1, 3, 5)
    return x.flatten(3).flatten(1, 2).transpose(1, 2)


@wrong_patchify(
    seen="The patches still stand in a grid: rows and columns of patches are two axes.",
    ask="Does the encoder take a grid of patches, or a list?",
    source=OURS,
)
def grid_kept(images, patch_size):
    require_images(images)
    P = patch_size
    for side in images.shape[2:]:
        require_divides(P, side, "a patch_size", "the image's height and width")
    x = images.unflatten(3, (-1, P)).unflatten(2, (-1, P))
    x = x.permute(0, 2, 4, 1, 3, 5)
    return x.flatten(3)


PATCHIFY = (
    bare_reshape,
    channels_not_moved,
    column_by_column,
    patches_transposed,
    image_turned,
    channels_last,
    pixels_spread,
    windows_overlap,
    channels_apart,
    patches_in_columns,
    grid_kept,
    edges_dropped,
)


# Misconceptions of PatchEmbedding, written against the course's class.

wrong_patch_embedding = against(PatchEmbedding)


@wrong_patch_embedding(
    seen="Each token mixes numbers of one output channel from several patches, because "
    "channels stand before places in the result of a convolution.",
    ask="Which axis of the convolution's result is D, and which axes are the grid?",
    source=GITHUB + "ohtlab/headpose-fsanet-pytorch/issues/10",
)
class ConvolutionReshaped(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N + 1, dim))

    def forward(self, images):
        require_images(images, *self.image_shape)
        P = self.patch_size
        weight = self.proj.weight.unflatten(1, (-1, P, P))
        x = F.conv2d(images, weight, self.proj.bias, stride=P)
        x = x.reshape(len(x), -1, x.shape[1])
        cls_token = self.cls_token.expand(len(x), -1, -1)
        x = torch.cat([cls_token, x], dim=1)
        return x + self.pos_embed


@wrong_patch_embedding(
    seen="The same vector is added at every position, so it says nothing about places.",
    ask="How many different positions are there, and how many vectors?",
    source=GITHUB + "pytorch/examples/issues/1178",
)
class OnePositionForAll(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2  # noqa: F841
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1, dim))

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))
        cls_token = self.cls_token.expand(len(x), -1, -1)
        x = torch.cat([cls_token, x], dim=1)
        return x + self.pos_embed


@wrong_patch_embedding(
    seen="The position embeddings are there, but nothing is added.",
    ask="How could a later layer tell where a patch lay?",
    source=GITHUB + "lucidrains/DALLE2-pytorch/issues/252",
)
class NoPositions(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N + 1, dim))

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))
        cls_token = self.cls_token.expand(len(x), -1, -1)
        x = torch.cat([cls_token, x], dim=1)
        return x


@wrong_patch_embedding(
    seen="The class token gets no position embedding of its own.",
    ask="To how many vectors does equation 1 add a position?",
    source=GITHUB + "labmlai/annotated_deep_learning_paper_implementations/pull/221",
)
class PositionsBeforeClassToken(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N + 1, dim))

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))
        x = x + self.pos_embed[:, 1:]
        cls_token = self.cls_token.expand(len(x), -1, -1)
        x = torch.cat([cls_token, x], dim=1)
        return x


@wrong_patch_embedding(
    seen="The position embeddings are no parameters: training leaves them as they are.",
    ask="Who tells the module that it owns this tensor?",
    source=GITHUB + "pytorch/examples/issues/1178",
)
class PositionsNotLearned(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = 0.02 * torch.randn(1, N + 1, dim)

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))
        cls_token = self.cls_token.expand(len(x), -1, -1)
        x = torch.cat([cls_token, x], dim=1)
        return x + self.pos_embed


@wrong_patch_embedding(
    seen="The class token stands behind the patches, not before them.",
    ask="In equation 1, which stands first: the class token or the patches?",
    source=OURS,
)
class ClassTokenLast(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N + 1, dim))

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))
        cls_token = self.cls_token.expand(len(x), -1, -1)
        x = torch.cat([x, cls_token], dim=1)
        return x + self.pos_embed


@wrong_patch_embedding(
    seen="The class token depends on the image: it is the mean of the patches.",
    ask="Is the class token computed from the image, or learned?",
    source=OURS,
)
class ClassTokenFromImage(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N + 1, dim))

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))
        cls_token = x.mean(dim=1, keepdim=True)
        x = torch.cat([cls_token, x], dim=1)
        return x + self.pos_embed


@wrong_patch_embedding(
    seen="There are N tokens, one a patch. No token stands for the whole image.",
    ask="Equation 1 has N + 1 rows. Which is the first?",
    source=OURS,
)
class NoClassToken(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N + 1, dim))

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))
        return x + self.pos_embed[:, 1:]


@wrong_patch_embedding(
    seen="There is a class token for each image of a batch, so it works with one batch "
    "size alone, and each learns by itself.",
    ask="How many class tokens does the model learn, and how many images use each?",
    source=GITHUB + "ahmadchalhoub/research_implementations/issues/2",
)
class ClassTokenPerImage(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(2, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N + 1, dim))

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))
        x = torch.cat([self.cls_token, x], dim=1)
        return x + self.pos_embed


@wrong_patch_embedding(
    seen="The class token is no parameter: training leaves it as it is.",
    ask="Who tells the module that it owns this tensor?",
    source=OURS,
)
class ClassTokenNotLearned(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = torch.zeros(1, 1, dim)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N + 1, dim))

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))
        cls_token = self.cls_token.expand(len(x), -1, -1)
        x = torch.cat([cls_token, x], dim=1)
        return x + self.pos_embed


@wrong_patch_embedding(
    seen="The patches get their position twice.",
    ask="How many times does equation 1 add the positions, and to what?",
    source=OURS,
)
class PositionsAddedTwice(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N + 1, dim))

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))
        x = x + self.pos_embed[:, 1:]
        cls_token = self.cls_token.expand(len(x), -1, -1)
        x = torch.cat([cls_token, x], dim=1)
        return x + self.pos_embed


@wrong_patch_embedding(
    seen="The tokens are multiplied by the position embeddings.",
    ask="What would a position embedding of 0 leave of its token?",
    source=OURS,
)
class PositionsMultiplied(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N + 1, dim))

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))
        cls_token = self.cls_token.expand(len(x), -1, -1)
        x = torch.cat([cls_token, x], dim=1)
        return x * self.pos_embed


@wrong_patch_embedding(
    seen="The position embeddings are fixed sines and cosines. Those are the first "
    "Transformer's; the ViT learns its own.",
    ask="Which of the two does the paper on ViT use?",
    source=VASWANI,
)
class SinusoidalPositions(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        steps = torch.arange(N + 1)[:, None] / 10000 ** (torch.arange(0, dim, 2) / dim)
        waves = torch.stack([steps.sin(), steps.cos()], dim=-1).flatten(1)
        self.pos_embed = waves[None, :, :dim]

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))
        cls_token = self.cls_token.expand(len(x), -1, -1)
        x = torch.cat([cls_token, x], dim=1)
        return x + self.pos_embed


@wrong_patch_embedding(
    seen="The patches are multiplied by √D before the positions are added, as in the "
    "first Transformer.",
    ask="Does equation 1 of the ViT paper have a factor before E?",
    source=VASWANI,
)
class EmbeddingScaled(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N + 1, dim))

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))
        x = x * x.shape[-1] ** 0.5
        cls_token = self.cls_token.expand(len(x), -1, -1)
        x = torch.cat([cls_token, x], dim=1)
        return x + self.pos_embed


@wrong_patch_embedding(
    seen="The flattened patches themselves are the tokens; `proj` is not used.",
    ask="How many numbers has a flattened patch, and how many a token?",
    source=OURS,
)
class PatchesNotProjected(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        require_divides(patch_size, image_size, "a patch_size", "the image_size")
        self.image_shape = (in_channels, image_size, image_size)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N + 1, dim))

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = patchify(images, self.patch_size)
        cls_token = self.cls_token.expand(len(x), -1, -1)
        x = torch.cat([cls_token, x], dim=1)
        return x + self.pos_embed


@wrong_patch_embedding(
    seen="It can be built for an image that its patches do not fill.",
    ask="10 pixels, patches of 4: what becomes of the rest, and when can you tell?",
    source=OURS,
)
class SizesNotChecked(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        self.image_shape = (in_channels, None, None)
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N + 1, dim))

    def forward(self, images):
        require_images(images, *self.image_shape)
        x = self.proj(patchify(images, self.patch_size))
        cls_token = self.cls_token.expand(len(x), -1, -1)
        x = torch.cat([cls_token, x], dim=1)
        return x + self.pos_embed


PATCH_EMBEDDING = (
    ConvolutionReshaped,
    OnePositionForAll,
    NoPositions,
    PositionsBeforeClassToken,
    PositionsAddedTwice,
    PositionsMultiplied,
    SinusoidalPositions,
    PositionsNotLearned,
    NoClassToken,
    ClassTokenLast,
    ClassTokenFromImage,
    ClassTokenPerImage,
    ClassTokenNotLearned,
    EmbeddingScaled,
    PatchesNotProjected,
    SizesNotChecked,
)


def inside(misconception: Misconception) -> Misconception:
    """A misconception of patchify as it shows in PatchEmbedding."""

    class Inside(PatchEmbedding):
        def forward(self, images):
            require_images(images, *self.image_shape)
            x = self.proj(misconception.wrong(images, self.patch_size))
            cls_token = self.cls_token.expand(len(x), -1, -1)
            return torch.cat([cls_token, x], dim=1) + self.pos_embed

    return replace(misconception, wrong=Inside, right=PatchEmbedding)


# Those that keep the shape.
INSIDE = (
    bare_reshape,
    channels_not_moved,
    column_by_column,
    patches_transposed,
    image_turned,
    channels_last,
    pixels_spread,
)
MISCONCEPTIONS = {"patchify": PATCHIFY, "PatchEmbedding": PATCH_EMBEDDING}

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


def lights_one(row: str, place: int):
    """One number of an image changes one row of the result, the right one.

    row: what a row is. place: where the lit number belongs.
    """

    def test(trials: Trials) -> Problem | None:
        before, after = trials["an image"], trials["one number changed"]
        if before.problem() or after.problem():
            return before.problem() or after.problem()
        change = after.reply.outputs[0].double() - before.reply.outputs[0].double()
        found = (change.abs().amax(-1) > 1e-9).nonzero().tolist()  # [image, row]
        if found == [[0, place]]:
            return None
        rows = [number for image, number in found if image == 0]
        seen = ", ".join(map(str, rows[:8])) + (", …" if len(rows) > 8 else "")
        text = (
            f"One number of image 0 was changed: {LIT_PIXEL}. "
            f"{row.capitalize()} {place} should change and no other. "
            f"In image 0, what changed is {row} {seen or '(none)'}."
        )
        if len(rows) < len(found):
            text += " Image 1 changed, too."
        return Problem("", text)

    return test


def works_oblong(trials: Trials) -> Problem | None:
    """Height and width may differ."""
    square, oblong = trials["a square image"], trials["an image"]
    if square.right() and oblong.problem():
        text = f"Square images work, others do not. {oblong.problem().text}"
        return Problem("square-assumed", text)
    return None


def keeps_all_numbers(trials: Trials) -> Problem | None:
    """Each number of an image comes out once."""
    trial = trials["an image"]
    if trial.problem():
        return trial.problem()
    before = trial.question.inputs[0].flatten(1).sort().values
    if close(trial.reply.outputs[0].flatten(1).sort().values, before):
        return None
    return Problem("", "Some numbers of an image are missing, changed, or there twice.")


def patch_count(trial: Trial) -> int:
    """N of a question on PatchEmbedding."""
    sizes = trial.question.arguments
    return (sizes["image_size"] // sizes["patch_size"]) ** 2


def class_token_is_learned(trials: Trials) -> Problem | None:
    """One learned class token, the same for all images and any number of them."""
    trial = trials["an image"]
    shapes, outputs = trial.reply.parameters, trial.reply.outputs
    N, D = patch_count(trial), trial.question.arguments["dim"]
    if len(shapes.get("cls_token", ())) == 3 and shapes["cls_token"][0] > 1:
        return Problem(ClassTokenPerImage.name, ClassTokenPerImage.seen)
    if any(len(s) > 1 and math.prod(s) == D for s in shapes.values()):
        return None  # it is there, perhaps under another name
    if shapes.get("pos_embed", ())[-2:-1] == (N,) or has_tokens(trial, N):
        return Problem(NoClassToken.name, NoClassToken.seen)
    if not has_tokens(trial, N + 1):
        return None
    first, second = outputs[0][:, 0]
    found = ClassTokenNotLearned if close(first, second) else ClassTokenFromImage
    return Problem(found.name, found.seen)


def has_tokens(trial: Trial, count: int) -> bool:
    """The result holds so many tokens for each image."""
    outputs = trial.reply.outputs
    return bool(outputs) and outputs[0].shape[:-1] == (2, count)


def positions_are_learned(trials: Trials) -> Problem | None:
    """A learned position for each of the N + 1 tokens."""
    trial = trials["an image"]
    shapes, N = trial.reply.parameters, patch_count(trial)
    if "pos_embed" in shapes:
        rows = (1, *shapes["pos_embed"])[-2]
        found = {1: OnePositionForAll, N: PositionsBeforeClassToken}.get(rows)
        return Problem(found.name, found.seen) if found else None
    if any(N in shape or N + 1 in shape for shape in shapes.values()):
        return None  # they are there, under another name
    equal = trials["equal patches"]
    if equal.problem():
        return None
    patches = equal.reply.outputs[0][0, 1:]
    if close(patches, patches[:1].expand_as(patches)):
        return Problem(NoPositions.name, "Equal patches give equal tokens everywhere.")
    return Problem(PositionsNotLearned.name, PositionsNotLearned.seen)


def class_token_ignores_images(trials: Trials) -> Problem | None:
    """Token 0 is the same for every image."""
    trial = trials["an image"]
    if trial.problem():
        return trial.problem()
    tokens = trial.reply.outputs[0]
    if close(tokens[0, 0], tokens[1, 0]):
        return None
    if close(tokens[0, -1], tokens[1, -1]):
        return Problem(ClassTokenLast.name, ClassTokenLast.seen)
    return Problem("", "Token 0 differs from image to image.")


WHICH_AXIS = "Which axis of each tensor is which: image, channel, row, column, patch?"
PATCHIFY_PROPERTIES = (
    REPEATS,
    Property(
        "height and width may differ",
        works_oblong,
        "How many patches stand side by side, and how many above one another?",
        core=True,
    ),
    Property(
        "patches (B, N, C·P·P) come back",
        returns_right_shapes("an image", "small image, two channels", "one patch"),
        WHICH_AXIS,
        core=True,
    ),
    Property(
        "each number of an image comes out once",
        keeps_all_numbers,
        "Does your code only move numbers, or does it also compute with them?",
        core=True,
    ),
    Property(
        "one number lights one row, the right one",
        lights_one("row", 23),
        "In which row and column of patches does this pixel lie?",
        core=True,
    ),
    Property(
        "the values of a patch come as channel, row, column",
        agrees("an image", "a square image", "one patch", "patches of one pixel"),
        "Read the values of one patch aloud. Which index changes fastest?",
        core=True,
    ),
    *EDGES,
    Property(
        "sizes that do not divide are refused",
        refuses("edges-not-refused", "rows left over", "columns left over"),
        "What should happen to the pixels that fill no whole patch?",
    ),
)
PATCH_EMBEDDING_PROPERTIES = (
    REPEATS,
    Property(
        "there is one learned class token",
        class_token_is_learned,
        "Which parameter is the first row of equation 1, and how many images share it?",
        core=True,
    ),
    Property(
        "there is a learned position for each token",
        positions_are_learned,
        "Which parameter holds a position for each of the N + 1 tokens?",
        core=True,
    ),
    Property(
        "projection, class token and positions are there",
        has_parameters("an image", optional=(".bias",)),
        "What is learned here?",
        core=True,
    ),
    Property(
        "tokens (B, N + 1, D) come back",
        returns_right_shapes("an image", "small image", "one patch"),
        WHICH_AXIS,
        core=True,
    ),
    Property(
        "the class token is the same for every image",
        class_token_ignores_images,
        ClassTokenFromImage.ask,
        core=True,
    ),
    Property(
        "one number lights one token, the right one",
        lights_one("token", 18),
        "In which row and column of patches does this pixel lie?",
        core=True,
    ),
    Property(
        "the numbers agree with equation 1 in float64",
        agrees("an image", "equal patches", "as wide as a patch", "one patch"),
        "Compare token 0, then token 1, with equation 1. Which term differs?",
        core=True,
    ),
    *EDGES,
    Property(
        "sizes that do not divide are refused when it is built",
        refuses(SizesNotChecked.name, "pixels left over"),
        SizesNotChecked.ask,
    ),
)

# The tasks.

WRITE_PATCHIFY = Implement(
    form=Form(outputs=("patches",), reference=(patchify, oracle.patchify)),
    ask_about=patchify_questions,
    oracle=patchify_oracle,
    properties=PATCHIFY_PROPERTIES,
    bank=PATCHIFY,
    show=Show(
        questions=("small image", "small image, two channels"),
        inputs=("images", "patch_size"),
        order={"patches": 0},
        axes={"patches": ("patch", "value")},
    ),
    again="Code",
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
    bank=(*PATCH_EMBEDDING, *map(inside, INSIDE)),
    show=Show(
        questions=("small image", "small image, two channels"),
        inputs=("images",),
        order={"tokens": 0},
        axes={"tokens": ("token", "feature")},
    ),
    again="Code",
)

# RGB images of 96 × 160 pixels, P = 16, D = 64.
COUNT_THE_TOKENS = PredictNumbers(
    right=(60, 768, 61, 64),
    names=(
        "The number of patches",
        "The count of numbers in a flattened patch",
        "The number of tokens",
        "The count of numbers in a token",
    ),
    wrong=(
        (
            (60, 768, 60, 64),
            Wrong(
                "class-token-not-counted",
                "There is a token for each patch here, and no other.",
                "Which token comes from no patch?",
            ),
        ),
        (
            (61, 768, 61, 64),
            Wrong(
                "class-token-called-a-patch",
                "Here the class token counts as a patch.",
                "Into how many squares is the image cut?",
            ),
        ),
        (
            (60, 256, 61, 64),
            Wrong(
                "channels-not-counted",
                "A patch has 16 · 16 = 256 pixels. Each pixel holds more than one "
                "number.",
                "How many numbers describe one coloured pixel?",
            ),
        ),
        (
            (60, 768, 61, 768),
            Wrong(
                "token-as-wide-as-a-patch",
                "Here a token has as many numbers as a flattened patch.",
                "What stands between the flattened patch and the token?",
            ),
        ),
        (
            (16, 768, 17, 64),
            Wrong(
                "sides-added",
                "6 patches above one another and 10 side by side were added up.",
                "How many squares has a grid of 6 rows and 10 columns?",
            ),
        ),
        (
            (15360, 768, 15361, 64),
            Wrong(
                "pixels-counted",
                "There are 96 · 160 = 15360 pixels. A patch holds many of them.",
                "How many pixels does one patch cover?",
            ),
        ),
    ),
    ask="How many patches stand above one another, and how many side by side?",
    again="The equation",
)

# Two channels, 4 rows, 6 columns; the numbers are their places in memory; P = 2.
IN_MEMORY = memory(1, 2, 4, 6)


def second_row(cut) -> tuple[float, ...]:
    """Row 1 of the patches that a version cuts."""
    return tuple(cut(IN_MEMORY, 2)[0, 1].tolist())


IN_A_ROW = second_row(bare_reshape.wrong)
ROWS_AS_CUT = (
    replace(
        bare_reshape,
        seen="Both rows are runs of numbers as they lie in memory.",
        ask="Which two of these numbers lie below one another in the image?",
    ),
    column_by_column,
    patches_transposed,
    channels_last,
    replace(
        channels_not_moved,
        seen="This row mixes squares of one channel from different places.",
    ),
    pixels_spread,
    image_turned,
)
FIRST_ROWS = Wrong(
    "counted-from-one",
    "These are the rows 0, the first ones.",
    "From which number does Python count?",
)
PREDICT_ROWS = PredictNumbers(
    right=(*IN_A_ROW, *second_row(oracle.patchify)),
    names=tuple(
        f"Value {i} of row 1 of the {what}"
        for what in ("reshaped images", "patches")
        for i in range(8)
    ),
    wrong=(
        *(((*IN_A_ROW, *second_row(m.wrong)), m) for m in ROWS_AS_CUT),
        ((*range(8), 0, 1, 6, 7, 24, 25, 30, 31), FIRST_ROWS),
    ),
    ask="Which 2 × 2 square of channel 0 belongs to this row, and which of channel 1?",
    again="Code",
)
PREDICT_SHUFFLE = Choose(
    right="A",
    because="Without positions the encoder gets the same set of tokens. The patches' "
    "outputs follow their patches, and the class token sees no difference.",
    wrong={
        "B": Wrong(
            "order-known-without-positions",
            "Then something would have to tell the encoder where each patch lay. "
            "Nothing does.",
            "What in a token without position depends on the place of its patch?",
        ),
        "C": Wrong(
            "outputs-stay-in-place",
            "The output of a patch token starts from that token. If the token stands "
            "elsewhere in the list, so does its output.",
            "Follow one patch through the encoder. Where does its output stand?",
        ),
        "D": Wrong(
            "class-token-never-changes",
            "The class token is the same for every image where it enters. On its way "
            "it collects from the patches, so it leaves different for other images.",
            "How could the class token serve to tell a cat from a dog?",
        ),
    },
    again="Look",
)
TEST_WITH_ONE_PIXEL = BreakIt(
    right=(patchify, oracle.patchify),
    wrong=(bare_reshape, channels_not_moved, column_by_column, pixels_spread),
    ask="Which row must change with a pixel in row y and column x? Try more pixels "
    "than one, in every channel, and an image that is not square.",
    again="Break it",
)

TASKS = {
    "count_tokens": COUNT_THE_TOKENS,
    "rows_in_memory": PREDICT_ROWS,
    "patchify": WRITE_PATCHIFY,
    "shuffled_patches": PREDICT_SHUFFLE,
    "PatchEmbedding": WRITE_PATCH_EMBEDDING,
    "lit_pixel": TEST_WITH_ONE_PIXEL,
    "find_the_bug": replace(WRITE_PATCHIFY, bug=patches_transposed, again="Check"),
}
