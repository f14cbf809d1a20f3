"""Answers on patches and positions: right designs, and wrong ones with their names.

What the package itself declares wrong (vit_encoder.check.patches) is not repeated; here
stand other ways of writing the same, and other faults.
"""

import torch
import torch.nn.functional as F
from torch import nn

import vit_encoder
from vit_encoder.check.judging import oracle

# Right designs of patchify.


def divides(images, patch_size):
    """What all right designs begin with."""
    H, W = images.shape[-2:]
    if H % patch_size or W % patch_size:
        raise ValueError(f"{patch_size} does not divide {H} and {W}")


def with_reshape(images, patch_size):
    divides(images, patch_size)
    B, C, H, W = images.shape
    P = patch_size
    x = images.reshape(B, C, H // P, P, W // P, P)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * P * P)


def with_f_unfold(images, patch_size):
    divides(images, patch_size)
    return F.unfold(images, patch_size, stride=patch_size).transpose(1, 2)


def with_tensor_unfold(images, patch_size):
    divides(images, patch_size)
    P = patch_size
    x = images.unfold(2, P, P).unfold(3, P, P)
    return x.movedim(1, 3).flatten(3).flatten(1, 2)


def with_pixel_unshuffle(images, patch_size):
    divides(images, patch_size)
    return F.pixel_unshuffle(images, patch_size).flatten(2).mT


def with_loops(images, patch_size):
    divides(images, patch_size)
    P = patch_size
    rows = []
    for y in range(0, images.shape[2], P):
        for x in range(0, images.shape[3], P):
            rows.append(images[:, :, y : y + P, x : x + P].flatten(1))
    return torch.stack(rows, dim=1)


def with_split(images, patch_size):
    divides(images, patch_size)
    strips = images.split(patch_size, dim=2)
    patches = [p for strip in strips for p in strip.split(patch_size, dim=3)]
    return torch.cat([patch.flatten(1)[:, None] for patch in patches], dim=1)


def with_einsum(images, patch_size):
    divides(images, patch_size)
    x = images.unflatten(-1, (-1, patch_size)).unflatten(-3, (-1, patch_size))
    x = torch.einsum("bcypxq->byxcpq", x)
    return x.flatten(1, 2).flatten(2)


def with_identity_kernel(images, patch_size):
    divides(images, patch_size)
    C, P = images.shape[1], patch_size
    size = C * P * P
    kernel = torch.eye(size, dtype=images.dtype, device=images.device)
    x = F.conv2d(images, kernel.view(size, C, P, P), stride=P)
    return x.flatten(2).transpose(1, 2)


def filled_in_place(images, patch_size):
    divides(images, patch_size)
    B, C, H, W = images.shape
    P = patch_size
    patches = images.new_empty(B, H // P * (W // P), C * P * P)
    for n in range(patches.shape[1]):
        y, x = divmod(n, W // P)
        piece = images[:, :, y * P : (y + 1) * P, x * P : (x + 1) * P]
        patches[:, n] = piece.reshape(B, -1)
    return patches


class AsModule(nn.Module):
    def forward(self, images, patch_size):
        return with_reshape(images, patch_size)


def looks_at_numbers(images, patch_size):
    print(images.max().item())
    return with_tensor_unfold(images, patch_size)


RIGHT_PATCHIFY = [
    with_reshape,
    with_f_unfold,
    with_tensor_unfold,
    with_pixel_unshuffle,
    with_loops,
    with_split,
    with_einsum,
    with_identity_kernel,
    filled_in_place,
    AsModule(),
    looks_at_numbers,
]

# Right designs of PatchEmbedding.


class Linear(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        if image_size % patch_size != 0:
            raise ValueError("the patches do not fill the image")
        self.patch_size = patch_size
        N = (image_size // patch_size) ** 2
        self.make(in_channels, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, N + 1, dim))

    def make(self, in_channels, dim):
        self.proj = nn.Linear(in_channels * self.patch_size**2, dim)

    def patches(self, images):
        """(B, N, D)."""
        return self.proj(vit_encoder.patchify(images, self.patch_size))

    def forward(self, images):
        first = self.cls_token.repeat(images.shape[0], 1, 1)
        return torch.cat((first, self.patches(images)), 1) + self.pos_embed


class Convolution(Linear):
    def make(self, in_channels, dim):
        P = self.patch_size
        self.proj = nn.Conv2d(in_channels, dim, P, P)

    def patches(self, images):
        return self.proj(images).flatten(2).transpose(1, 2)


class ConvolutionWithoutBias(Convolution):
    def make(self, in_channels, dim):
        P = self.patch_size
        self.proj = nn.Conv2d(in_channels, dim, P, stride=P, bias=False)

    def patches(self, images):
        return self.proj(images).permute(0, 2, 3, 1).flatten(1, 2)


class ConvolutionByEinsum(Convolution):
    def patches(self, images):
        x = F.unfold(images, self.patch_size, stride=self.patch_size)
        weight = self.proj.weight.flatten(1)
        return torch.einsum("bin,oi->bno", x, weight) + self.proj.bias


class BareMatrix(Linear):
    def make(self, in_channels, dim):
        self.proj = nn.Parameter(torch.randn(in_channels * self.patch_size**2, dim))

    def patches(self, images):
        return with_reshape(images, self.patch_size) @ self.proj


class LazyProjection(Linear):
    def make(self, in_channels, dim):
        self.proj = nn.LazyLinear(dim)


class LazyConvolution(Convolution):
    def make(self, in_channels, dim):
        P = self.patch_size
        self.proj = nn.LazyConv2d(dim, P, P)


class PositionsInTwoParts(Linear):
    def forward(self, images):
        B, first = len(images), self.cls_token + self.pos_embed[:, :1]
        x = self.patches(images) + self.pos_embed[:, 1:]
        return torch.cat([first.expand(B, 1, -1), x], dim=-2)


class FilledInPlace(Linear):
    def forward(self, images):
        x = self.patches(images)
        B, N, D = x.shape
        tokens = x.new_empty(B, N + 1, D)
        tokens[:, :1] = self.cls_token
        tokens[:, 1:] = x
        tokens += self.pos_embed
        return tokens


class Refusing(Linear):
    """Refuses images of another size, with dropout that is off and a buffer."""

    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__(image_size, patch_size, in_channels, dim)
        self.shape = (in_channels, image_size, image_size)
        self.drop = nn.Dropout(0.1)
        self.register_buffer("unused", torch.arange(3))

    def forward(self, images):
        if images.shape[1:] != self.shape:
            raise ValueError(f"expected images {self.shape}")
        return self.drop(super().forward(images))


RIGHT_PATCH_EMBEDDING = [
    Linear,
    Convolution,
    ConvolutionWithoutBias,
    ConvolutionByEinsum,
    BareMatrix,
    LazyProjection,
    LazyConvolution,
    PositionsInTwoParts,
    FilledInPlace,
    Refusing,
]

# Wrong answers of patchify: name → answers that must get exactly this name.


def lines_of_memory(images, patch_size):
    divides(images, patch_size)
    size = images.shape[1] * patch_size**2
    return images.flatten(1).unflatten(1, (-1, size))


def grid_viewed(images, patch_size):
    divides(images, patch_size)
    B, C, H, W = images.shape
    P = patch_size
    return images.reshape(B, H // P, W // P, C, P, P).flatten(3).flatten(1, 2)


def windows_left_with_channels(images, patch_size):
    divides(images, patch_size)
    P = patch_size
    x = images.unfold(2, P, P).unfold(3, P, P)
    return x.reshape(len(images), -1, images.shape[1] * P * P)


def loops_the_other_way(images, patch_size):
    divides(images, patch_size)
    P = patch_size
    rows = []
    for x in range(0, images.shape[3], P):
        for y in range(0, images.shape[2], P):
            rows.append(images[:, :, y : y + P, x : x + P].flatten(1))
    return torch.stack(rows, dim=1)


def patches_turned(images, patch_size):
    divides(images, patch_size)
    P = patch_size
    x = with_reshape(images, P).unflatten(2, (-1, P, P))
    return x.mT.flatten(2)


def width_first(images, patch_size):
    divides(images, patch_size)
    return with_f_unfold(images.transpose(2, 3), patch_size)


def colour_last(images, patch_size):
    divides(images, patch_size)
    B, C, H, W = images.shape
    P = patch_size
    x = images.permute(0, 2, 3, 1).reshape(B, H // P, P, W // P, P, C)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(B, -1, P * P * C)


def every_second_pixel(images, patch_size):
    divides(images, patch_size)
    P = patch_size
    pieces = [images[:, :, y::h, x::w] for h, w, y, x in combs(images, P)]
    return torch.stack([piece.flatten(1) for piece in pieces], 1)


def combs(images, P):
    h, w = images.shape[2] // P, images.shape[3] // P
    return [(h, w, y, x) for y in range(h) for x in range(w)]


def step_forgotten(images, patch_size):
    divides(images, patch_size)
    return F.unfold(images, patch_size).mT


def unfolded_only(images, patch_size):
    divides(images, patch_size)
    return F.unfold(images, patch_size, stride=patch_size)


def rest_ignored(images, patch_size):
    return F.unfold(images, patch_size, stride=patch_size).mT


def rest_padded(images, patch_size):
    H, W = images.shape[2:]
    images = F.pad(images, (0, -W % patch_size, 0, -H % patch_size))
    return with_reshape(images, patch_size)


def only_height_checked(images, patch_size):
    if images.shape[2] % patch_size:
        raise ValueError("height")
    return rest_ignored(images, patch_size)


def reshape_complains(images, patch_size):
    B, C, H, W = images.shape
    P = patch_size
    x = images.reshape(B, C, H // P, P, W // P, P)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * P * P)


def asserts(images, patch_size):
    assert images.shape[2] % patch_size == images.shape[3] % patch_size == 0
    return with_reshape(images, patch_size)


def width_for_both(images, patch_size):
    divides(images, patch_size)
    B, C, _, W = images.shape
    P = patch_size
    x = images.reshape(B, C, W // P, P, W // P, P)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * P * P)


def made_on_cpu(images, patch_size):
    divides(images, patch_size)
    B, C, H, W = images.shape
    P = patch_size
    patches = torch.zeros(B, H // P * (W // P), C * P * P, dtype=images.dtype)
    patches[:] = with_reshape(images, P)
    return patches


def made_in_float32(images, patch_size):
    return with_reshape(images, patch_size).float()


def float32_and_back(images, patch_size):
    return with_reshape(images.float(), patch_size).to(images.dtype)


def cut_out(images, patch_size):
    patches = with_reshape(images, patch_size).clone()
    with torch.no_grad():
        images.zero_()
    return patches


def through_numpy(images, patch_size):
    return torch.from_numpy(with_reshape(images, patch_size).detach().numpy())


def as_numpy(images, patch_size):
    return with_reshape(images, patch_size).detach().numpy()


@torch.no_grad()
def without_gradient(images, patch_size):
    return with_reshape(images, patch_size)


def shuffles(images, patch_size):
    patches = with_reshape(images, patch_size)
    return patches[:, torch.randperm(patches.shape[1])]


def list_of_patches(images, patch_size):
    return list(with_reshape(images, patch_size).unbind(1))


def no_return(images, patch_size):
    with_reshape(images, patch_size)


def one_image_alone(images, patch_size):
    return with_reshape(images[:1], patch_size)


def pixels_averaged(images, patch_size):
    divides(images, patch_size)
    return F.avg_pool2d(images, patch_size).flatten(2).mT


WRONG_PATCHIFY = {
    "bare-reshape": [lines_of_memory, grid_viewed],
    "channels-not-moved": [windows_left_with_channels],
    "column-by-column": [loops_the_other_way],
    "patches-transposed": [patches_turned],
    "image-turned": [width_first],
    "channels-last": [colour_last],
    "pixels-spread": [every_second_pixel],
    "windows-overlap": [step_forgotten],
    "patches-in-columns": [unfolded_only],
    "edges-dropped": [rest_ignored],
    "edges-not-refused": [rest_padded, only_height_checked],
    "wrong-error": [reshape_complains, asserts],
    "square-assumed": [width_for_both],
    "device-fixed": [made_on_cpu],
    "dtype-changed": [made_in_float32],
    "computed-in-float32": [float32_and_back],
    "input-changed": [cut_out],
    "gradient-cut": [through_numpy, without_gradient],
    "wrong-type": [as_numpy, list_of_patches],
    "returns-none": [no_return],
    "not-deterministic": [shuffles],
    "wrong-shape": [one_image_alone, pixels_averaged],
    "wrong-kind": [with_reshape(torch.ones(1, 1, 2, 2), 1), AsModule],
    "reference-used": [
        vit_encoder.patchify,
        oracle.patchify,
        lambda images, patch_size: vit_encoder.patchify(images, patch_size),
    ],
}

# Nobody recorded these: they fail, and get no name.


def snake(images, patch_size):
    divides(images, patch_size)
    rows = with_reshape(images, patch_size).unflatten(
        1, (-1, images.shape[3] // patch_size)
    )
    rows = [row.flip(1) if i % 2 else row for i, row in enumerate(rows.unbind(1))]
    return torch.cat(rows, dim=1)


def last_patch_first(images, patch_size):
    return with_reshape(images, patch_size).flip(1)


def blue_green_red(images, patch_size):
    return with_reshape(images.flip(1), patch_size)


def patches_centred(images, patch_size):
    patches = with_reshape(images, patch_size)
    return patches - patches.mean(-1, keepdim=True)


def images_exchanged(images, patch_size):
    return with_reshape(images.flip(0), patch_size)


def all_alike(images, patch_size):
    patches = with_reshape(images, patch_size)
    return patches[:, :1].expand_as(patches)


UNRECORDED_PATCHIFY = [
    snake,
    last_patch_first,
    blue_green_red,
    patches_centred,
    images_exchanged,
    all_alike,
]

# Wrong answers of PatchEmbedding.


class Reshaped(Convolution):
    def patches(self, images):
        x = self.proj(images)
        return x.reshape(len(x), -1, x.shape[1])


class Viewed(ConvolutionWithoutBias):
    def patches(self, images):
        x = self.proj(images)
        return x.view(x.shape[0], x.shape[2] * x.shape[3], x.shape[1])


class NotTransposed(Convolution):
    def patches(self, images):
        return self.proj(images).flatten(2)


class OverlappingWindows(Convolution):
    def make(self, in_channels, dim):
        self.proj = nn.Conv2d(in_channels, dim, self.patch_size)


class ColumnsFirst(Convolution):
    def patches(self, images):
        return self.proj(images).transpose(2, 3).flatten(2).mT


class ColourLast(Linear):
    def patches(self, images):
        return self.proj(colour_last(images, self.patch_size))


class BareReshape(Linear):
    def patches(self, images):
        return self.proj(lines_of_memory(images, self.patch_size))


def learned(*shape):
    return nn.Parameter(torch.randn(*shape))


def replaced(name, make):
    """Linear with another value for one of its parameters: dim, N → value."""

    class Replaced(Linear):
        def __init__(self, image_size, patch_size, in_channels, dim):
            super().__init__(image_size, patch_size, in_channels, dim)
            N = (image_size // patch_size) ** 2
            delattr(self, name)
            setattr(self, name, make(dim, N))

    return Replaced


class FixedPosition(replaced("pos_embed", lambda D, N: torch.ones(1, N + 1, D))):
    """Fixed, and the same everywhere."""


class RandomBuffer(Linear):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__(image_size, patch_size, in_channels, dim)
        value = torch.randn(self.pos_embed.shape)
        del self.pos_embed
        self.register_buffer("pos_embed", value)


class WaveBuffer(RandomBuffer):
    """Sines and cosines, one half after the other."""

    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__(image_size, patch_size, in_channels, dim)
        steps = torch.arange(self.pos_embed.shape[1])[:, None] * torch.rand(1, dim)
        self.pos_embed[0] = torch.cat([steps.sin(), steps.cos()], 1)[:, ::2]


class PositionsToDevice(Linear):
    """nn.Parameter(...).to(...) need not be a parameter any more."""

    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__(image_size, patch_size, in_channels, dim)
        moved = nn.Parameter(torch.randn(self.pos_embed.shape)).to(torch.float64)
        del self.pos_embed
        self.pos_embed = moved


class NoPositionAnywhere(Linear):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__(image_size, patch_size, in_channels, dim)
        del self.pos_embed

    def forward(self, images):
        first = self.cls_token.expand(len(images), -1, -1)
        return torch.cat([first, self.patches(images)], 1)


class PositionsIgnored(Linear):
    def forward(self, images):
        x = self.patches(images)
        return torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)


class PositionsOfPatchesAlone(replaced("pos_embed", lambda D, N: learned(1, N, D))):
    def forward(self, images):
        x = self.patches(images) + self.pos_embed
        return torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)


class PositionsOfPatchesTaken(Linear):
    def forward(self, images):
        x = self.patches(images) + self.pos_embed[:, 1:]
        return torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)


class PositionsTwice(Linear):
    def patches(self, images):
        return super().patches(images) + self.pos_embed[:, 1:]


class FirstPositionForAll(Linear):
    def forward(self, images):
        x = self.patches(images)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        return x + self.pos_embed[:, :1]


class PositionsAsEmbedding(Linear):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__(image_size, patch_size, in_channels, dim)
        N = self.pos_embed.shape[1]
        del self.pos_embed
        self.pos_embed = nn.Embedding(N, dim)

    def forward(self, images):
        x = self.patches(images)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        return x + self.pos_embed.weight


class Last(Linear):
    def forward(self, images):
        x = self.patches(images)
        x = torch.cat([x, self.cls_token.expand(len(x), -1, -1)], 1)
        return x + self.pos_embed


class TokensAlone(replaced("pos_embed", lambda D, N: learned(1, N, D))):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__(image_size, patch_size, in_channels, dim)
        del self.cls_token

    def forward(self, images):
        return self.patches(images) + self.pos_embed


class MeanInFront(Linear):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__(image_size, patch_size, in_channels, dim)
        del self.cls_token

    def forward(self, images):
        x = self.patches(images)
        return torch.cat([x.mean(1, keepdim=True), x], 1) + self.pos_embed


class ZerosInFront(Linear):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__(image_size, patch_size, in_channels, dim)
        del self.cls_token

    def forward(self, images):
        x = self.patches(images)
        return torch.cat([torch.zeros_like(x[:, :1]), x], 1) + self.pos_embed


class BatchOfEight(replaced("cls_token", lambda D, N: learned(8, 1, D))):
    def forward(self, images):
        x = torch.cat([self.cls_token, self.patches(images)], 1)
        return x + self.pos_embed


class OtherNames(Linear):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__(image_size, patch_size, in_channels, dim)
        self.class_token, self.positions = self.cls_token, self.pos_embed
        self.linear = self.proj
        del self.cls_token, self.pos_embed, self.proj

    def forward(self, images):
        x = self.linear(vit_encoder.patchify(images, self.patch_size))
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1)
        return x + self.positions


class FlatPositions(replaced("pos_embed", lambda D, N: learned(N + 1, D))):
    """Right numbers, but not the shape that is asked for."""


class NotChecked(Linear):
    def __init__(self, image_size, patch_size, in_channels, dim):
        whole = image_size // patch_size * patch_size
        super().__init__(whole, patch_size, in_channels, dim)


class ConvolutionNotChecked(Convolution, NotChecked):
    pass


class AssertedWhenBuilt(NotChecked):
    def __init__(self, image_size, patch_size, in_channels, dim):
        assert image_size % patch_size == 0
        super().__init__(image_size, patch_size, in_channels, dim)


class RootOfWidth(Linear):
    def patches(self, images):
        x = super().patches(images)
        return x * x.shape[-1] ** 0.5


class Inherited(vit_encoder.PatchEmbedding):
    pass


class Wrapped(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
        self.inner = vit_encoder.PatchEmbedding(*sizes)

    def forward(self, images):
        return self.inner(images)


class Detached(Linear):
    def forward(self, images):
        return super().forward(images).detach()


class OnCpu(Linear):
    def forward(self, images):
        zeros = torch.zeros(1, dtype=images.dtype)
        return super().forward(images) + zeros.view(1, 1, 1).expand(1, 1, 1)


class Centres(Linear):
    def forward(self, images):
        with torch.no_grad():
            images += 0.5
            images -= 0.25
        return super().forward(images - 0.25)


class WithDropout(Linear):
    def forward(self, images):
        return F.dropout(super().forward(images), 0.1)


class NoBatch(Linear):
    def forward(self, images):
        return super().forward(images)[0]


WRONG_PATCH_EMBEDDING = {
    "convolution-reshaped": [Reshaped, Viewed],
    "raises": [NotTransposed, OverlappingWindows],
    "column-by-column": [ColumnsFirst],
    "channels-last": [ColourLast],
    "bare-reshape": [BareReshape],
    "one-position-for-all": [
        replaced("pos_embed", lambda D, N: learned(1, 1, D)),
        replaced("pos_embed", lambda D, N: learned(D)),
    ],
    "no-positions": [NoPositionAnywhere, PositionsIgnored, FixedPosition],
    "positions-not-learned": [RandomBuffer, WaveBuffer, PositionsToDevice],
    "positions-before-class-token": [PositionsOfPatchesAlone, PositionsOfPatchesTaken],
    "positions-added-twice": [PositionsTwice],
    "class-token-last": [Last],
    "no-class-token": [TokensAlone],
    "class-token-from-image": [MeanInFront],
    "class-token-not-learned": [ZerosInFront],
    "class-token-per-image": [BatchOfEight],
    "missing-parameters": [OtherNames, PositionsAsEmbedding],
    "wrong-parameter-shape": [FlatPositions],
    "sizes-not-checked": [NotChecked, ConvolutionNotChecked],
    "wrong-error": [AssertedWhenBuilt],
    "embedding-scaled": [RootOfWidth],
    "reference-used": [vit_encoder.PatchEmbedding, Inherited, Wrapped],
    "gradient-cut": [Detached],
    "device-fixed": [OnCpu],
    "input-changed": [Centres],
    "not-deterministic": [WithDropout],
    "wrong-shape": [NoBatch],
    "wrong-kind": [with_reshape, nn.Linear(2, 3)],
}


class TwoProjections(Linear):
    def patches(self, images):
        return super().patches(images) + super().patches(images.flip(1))


class ActivationAfter(Linear):
    def patches(self, images):
        return super().patches(images).relu()


class PositionsInReverse(Linear):
    def forward(self, images):
        x = self.patches(images)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        return x + self.pos_embed.flip(1)


class PositionsOffByOne(Linear):
    def forward(self, images):
        x = self.patches(images)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        return x + self.pos_embed.roll(1, dims=1)


class Normalised(Linear):
    def forward(self, images):
        x = super().forward(images)
        return F.layer_norm(x, x.shape[-1:])


UNRECORDED_PATCH_EMBEDDING = [
    FirstPositionForAll,
    TwoProjections,
    ActivationAfter,
    PositionsInReverse,
    PositionsOffByOne,
    Normalised,
]

# Tests that a student may write.


def places(patchify, H, W, P, pixels):
    """The rows that pixels light, and those that they should."""
    for c, y, x in pixels:
        images = torch.zeros(1, 3, H, W)
        images[0, c, y, x] = 1
        lit = patchify(images, P)[0].any(-1).nonzero().flatten().tolist()
        yield lit, [y // P * (W // P) + x // P]


def every_pixel(patchify):
    pixels = torch.cartesian_prod(*map(torch.arange, (3, 4, 6))).tolist()
    for lit, expected in places(patchify, 4, 6, 2, pixels):
        assert lit == expected


def three_pixels(patchify):
    found = places(patchify, 6, 9, 3, [(0, 0, 4), (1, 1, 8), (2, 5, 2)])
    return all(lit == expected for lit, expected in found)


def red_patch(patchify):
    images = torch.rand(1, 3, 8, 12)
    red = images.clone()
    red[:, :, 4:8, 4:8] = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
    changed = (patchify(images, 4) != patchify(red, 4)).any(-1)[0]
    return changed.nonzero().flatten().tolist() == [4]


def folds_back(patchify):
    images = torch.randn(2, 3, 8, 12)
    back = F.fold(patchify(images, 4).mT, (8, 12), 4, stride=4)
    return torch.equal(back, images)


def gradient_of_a_row(patchify):
    images = torch.randn(1, 2, 4, 6, requires_grad=True)
    patchify(images, patch_size=2)[0, 1].sum().backward()
    expected = torch.zeros_like(images)
    expected[..., :2, 2:4] = 1
    torch.testing.assert_close(images.grad, expected)


def shape(patchify):
    return patchify(torch.zeros(2, 3, 8, 12), 4).shape == (2, 6, 48)


def first_pixel(patchify):
    return all(lit == [0] for lit, _ in places(patchify, 4, 6, 2, [(0, 0, 0)]))


def count_alone(patchify):
    found = places(patchify, 4, 6, 2, [(0, 0, 4), (1, 1, 3), (2, 3, 2)])
    return all(len(lit) == 1 for lit, _ in found)


def a_square(patchify):
    found = places(patchify, 6, 6, 2, [(0, 2, 2), (1, 3, 3), (2, 4, 4)])
    return all(lit == expected for lit, expected in found)


def columns_expected(patchify):
    images = torch.zeros(1, 1, 4, 6)
    images[0, 0, 0, 2] = 1
    return bool(patchify(images, 2)[0, 2].any())


def whole_numbers(patchify):
    return patchify(torch.arange(24).view(1, 1, 4, 6), 2)[0, 1, 0] == 2


def one_size_for_all(patchify):
    return patchify(torch.zeros(1, 3, 10, 10), 4) is not None


# What tests/test_exercises.py runs: task → answers.

RIGHT = {
    "patchify": RIGHT_PATCHIFY,
    "PatchEmbedding": RIGHT_PATCH_EMBEDDING,
    "find_the_bug": RIGHT_PATCHIFY,
}
WRONG = {"patchify": WRONG_PATCHIFY, "PatchEmbedding": WRONG_PATCH_EMBEDDING}
NAMELESS = {
    "patchify": UNRECORDED_PATCHIFY,
    "PatchEmbedding": UNRECORDED_PATCH_EMBEDDING,
}
GOOD_TESTS = {
    "lit_pixel": [
        every_pixel,
        three_pixels,
        red_patch,
        folds_back,
        gradient_of_a_row,
    ]
}
WEAK_TESTS = {
    "lit_pixel": [
        (shape, 0, "test-accepts-wrong"),
        (first_pixel, 0, "test-accepts-wrong"),
        (count_alone, 0, "test-accepts-wrong"),
        (a_square, 1, "test-accepts-wrong"),
        (columns_expected, 0, "test-rejects-right"),
        (whole_numbers, 0, "test-rejects-right"),
        (one_size_for_all, 0, "test-rejects-right"),
    ]
}
