"""What each difference between libraries does to the logits of a reference model.

The reference is a ViT-Ti/16 in float64: pre-norm, eps 1e-6, GELU with erf, the class
token. Its weights are random or timm's initial ones, its images two crops of the
photograph. A change is a function from a model, which it may alter, and images to
logits.
"""

from collections.abc import Iterable
from copy import deepcopy
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from library_models import CourseViT, Sizes, randomize, timm_vit, transformers_vit
from vit_encoder.data import photo
from vit_encoder.loading import from_timm, from_transformers, set_eps

TINY = Sizes()
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean, standard deviation


def reference_images() -> torch.Tensor:
    """The left and the right of the photograph, in [-1, 1]: (2, 3, 224, 224)."""
    image = photo().double()  # (C, H, W)
    height = image.shape[1]
    squares = torch.stack([image[:, :, :height], image[:, :, -height:]])
    size = (TINY.image_size, TINY.image_size)
    return F.interpolate(squares, size, mode="bilinear") * 2 - 1


def with_weights(model: nn.Module, weights: str) -> nn.Module:
    """The model in float64 with "random" weights, or with the "initial" ones it has."""
    model = model.double().eval()
    return randomize(model) if weights == "random" else model


def reference(weights: str) -> CourseViT:
    """The reference model."""
    torch.manual_seed(0)
    theirs = with_weights(timm_vit(TINY), weights)
    return CourseViT(TINY).double().load(from_timm(theirs.state_dict())).eval()


def plain(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """Nothing is changed."""
    return model(images)


def timm_in_place(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """timm's model with the same weights, whose parts it names alike."""
    theirs = timm_vit(TINY).to(images.dtype).eval()
    weight = model.embedding.proj.weight.unflatten(1, (3, 16, 16))
    theirs.load_state_dict(
        {
            "cls_token": model.embedding.cls_token,
            "pos_embed": model.embedding.pos_embed,
            "patch_embed.proj.weight": weight,
            "patch_embed.proj.bias": model.embedding.proj.bias,
            **model.encoder.state_dict(),
            **{f"head.{name}": value for name, value in model.head.named_parameters()},
        }
    )
    return theirs(images)


def in_dtype(
    dtype: torch.dtype, model: CourseViT, images: torch.Tensor
) -> torch.Tensor:
    """Weights and computation in another dtype."""
    return timm_in_place(model.to(dtype), images.to(dtype)).double()


def with_eps(eps: float, model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """Another eps in every LayerNorm."""
    set_eps(model, eps)
    return model(images)


class PostNorm(nn.Module):
    """A block of the course with its norms after the additions."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block.norm1(x + self.block.attn(x))  # (B, N, D)
        return self.block.norm2(x + self.block.mlp(x))  # (B, N, D)


def post_norm(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """Post-norm blocks, as nn.TransformerEncoderLayer has by default."""
    model.encoder.blocks = nn.ModuleList(map(PostNorm, model.encoder.blocks))
    return model(images)


def no_last_norm(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """The head reads what the last block gives."""
    model.encoder.norm = nn.Identity()
    return model(images)


def with_activation(
    activation: nn.Module, model: CourseViT, images: torch.Tensor
) -> torch.Tensor:
    """Another function between the two layers of every MLP."""
    for block in model.encoder.blocks:
        block.mlp = nn.Sequential(block.mlp.fc1, activation, block.mlp.fc2)
    return model(images)


def packed_by_head(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """The rows of qkv are taken for (h, 3, D_h), not for (3, h, D_h)."""
    for block in model.encoder.blocks:
        for parameter in block.attn.qkv.parameters():
            rows = parameter.unflatten(0, (block.attn.num_heads, 3, -1))
            parameter.copy_(rows.transpose(0, 1).flatten(0, 2))
    return model(images)


def keys_for_values(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """Keys and values are exchanged."""
    for block in model.encoder.blocks:
        for parameter in block.attn.qkv.parameters():
            q, k, v = parameter.chunk(3)
            parameter.copy_(torch.cat([q, v, k]))
    return model(images)


def without_bias(
    thirds: tuple[int, ...], model: CourseViT, images: torch.Tensor
) -> torch.Tensor:
    """The biases of queries (0), keys (1) or values (2) are zero."""
    for block in model.encoder.blocks:
        for third in thirds:
            block.attn.qkv.bias.chunk(3)[third].zero_()
    return model(images)


def more_heads(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """Twice as many heads, each half as wide."""
    for block in model.encoder.blocks:
        block.attn.num_heads *= 2
    return model(images)


def square_kernel(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """The kernels of the output projections are taken for weights."""
    for block in model.encoder.blocks:
        block.attn.proj.weight.copy_(block.attn.proj.weight.T.clone())
    return model(images)


def channels_last(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """The patch kernel is flattened as (P, P, C), not as (C, P, P)."""
    P = TINY.patch_size
    weight = model.embedding.proj.weight  # (D, C·P·P)
    kernel = weight.unflatten(1, (-1, P, P))  # (D, C, P, P)
    weight.copy_(kernel.permute(0, 2, 3, 1).flatten(1))
    return model(images)


def batch_second(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """The encoder takes (B, N, D) for (N, B, D)."""
    tokens = model.embedding(images).transpose(0, 1)
    return model.head(model.encoder(tokens).transpose(0, 1)[:, 0])


def position_before_class(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """The class token joins after the positions are added, and gets none."""
    model.embedding.pos_embed[:, 0].zero_()
    return model(images)


def mean_of_patches(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """The head reads the mean of the patches' tokens."""
    return model.head(model.encoder(model.embedding(images))[:, 1:].mean(1))


def mean_of_all(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """The head reads the mean of all tokens."""
    return model.head(model.encoder(model.embedding(images)).mean(1))


def norm_after_mean(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """The last norm reads the mean of the patches' tokens."""
    norm, model.encoder.norm = model.encoder.norm, nn.Identity()
    tokens = model.encoder(model.embedding(images))  # (B, N, D)
    return model.head(norm(tokens[:, 1:].mean(1)))


def in_training(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """Dropout of 0.1 is on."""
    trained = CourseViT(TINY, dropout=0.1).to(images.dtype)
    trained.load_state_dict(model.state_dict())
    torch.manual_seed(0)
    return trained.train()(images)


def imagenet_statistics(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """Pixels are normalized with ImageNet's mean and deviation, not with 0.5."""
    mean, std = (torch.tensor(x).view(3, 1, 1).to(images) for x in IMAGENET)
    return model((images * 0.5 + 0.5 - mean) / std)


def blue_first(model: CourseViT, images: torch.Tensor) -> torch.Tensor:
    """The colour channels come in the order blue, green, red."""
    return model(images.flip(1))


# What differs: the section of the page that tells more, the change, and with what its
# logits are compared, if not with `plain`.
CHANGES: dict[str, tuple] = {
    "timm for the course, both in float64": ("rounding", timm_in_place),
    "float32 for float64": ("rounding", partial(in_dtype, torch.float32)),
    "bfloat16 for float64": ("rounding", partial(in_dtype, torch.bfloat16)),
    "eps 1e-12 for 1e-6": ("norms", partial(with_eps, 1e-12)),
    "eps 1e-5 for 1e-6": ("norms", partial(with_eps, 1e-5)),
    "post-norm for pre-norm": ("norms", post_norm),
    "no last norm": ("norms", no_last_norm),
    "tanh GELU for erf GELU": ("gelu", partial(with_activation, nn.GELU("tanh"))),
    "ReLU for GELU": ("gelu", partial(with_activation, nn.ReLU())),
    "rows of qkv in the order (h, 3, D_h)": ("packing", packed_by_head),
    "keys and values exchanged": ("packing", keys_for_values),
    "6 heads for 3": ("packing", more_heads),
    "no bias for keys": ("packing", partial(without_bias, (1,))),
    "no bias for queries, keys, values": ("packing", partial(without_bias, (0, 1, 2))),
    "output projection not transposed": ("packing", square_kernel),
    "patch kernel in the order (P, P, C)": ("packing", channels_last),
    "batch axis second": ("packing", batch_second),
    "no position for the class token": ("pooling", position_before_class),
    "mean of the patches for the class token": ("pooling", mean_of_patches),
    "mean with the class token for without": (
        "pooling",
        mean_of_all,
        mean_of_patches,
    ),
    "last norm after the mean for before": (
        "pooling",
        norm_after_mean,
        mean_of_patches,
    ),
    "dropout of 0.1 left on": ("dropout-sites", in_training),
    "ImageNet's pixel statistics for 0.5": ("pixels", imagenet_statistics),
    "blue, green, red for red, green, blue": ("pixels", blue_first),
}


@torch.no_grad()
def measure_changes(names: Iterable[str], weights: str) -> dict[str, float]:
    """How far each change moves the logits, for "random" or "initial" weights."""
    model, images = reference(weights), reference_images()
    expected, found = {}, {}
    for name in names:
        _, change, *other = CHANGES[name]
        right = other[0] if other else plain
        if right not in expected:
            expected[right] = right(deepcopy(model), images)
        found[name] = distance(change(deepcopy(model), images), expected[right])
    return found


@torch.no_grad()
def measure_eager(weights: str) -> float:
    """How far transformers' eager attention, in float64, is from the course."""
    torch.manual_seed(0)
    eager = transformers_vit(TINY, attn_implementation="eager")
    theirs, images = with_weights(eager, weights), reference_images()
    ours = CourseViT(TINY).double().load(from_transformers(theirs.state_dict()))
    set_eps(ours, theirs.config.layer_norm_eps)
    return distance(theirs(images).logits, ours(images))


def distance(got: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, in units of the root mean square of what is expected."""
    return ((got - expected).abs().max() / expected.square().mean().sqrt()).item()
