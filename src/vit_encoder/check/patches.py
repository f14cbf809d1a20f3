"""Patches and positions: what people get wrong."""

import torch
import torch.nn.functional as F
from torch import nn

from vit_encoder.arguments import require_divides, require_images
from vit_encoder.check.misconceptions import against
from vit_encoder.patches import PatchEmbedding, patchify

GITHUB = "https://github.com/"
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


PATCHIFY = (
    bare_reshape,
    channels_not_moved,
    column_by_column,
    patches_transposed,
    channels_last,
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
    seen="The position embeddings are no parameters: training leaves them as they are, "
    "and they are neither saved nor moved to another device.",
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


PATCH_EMBEDDING = (
    ConvolutionReshaped,
    OnePositionForAll,
    NoPositions,
    PositionsBeforeClassToken,
    PositionsNotLearned,
    ClassTokenLast,
    ClassTokenFromImage,
)
MISCONCEPTIONS = {"patchify": PATCHIFY, "PatchEmbedding": PATCH_EMBEDDING}
