"""Answers on patches and positions: right designs, and wrong ones with their names.

What the package itself declares wrong (vit_encoder.check.patches) is not repeated; here
stand other ways of writing the same, and other faults.
"""

import math

import torch
import torch.nn.functional as F
from tests.bank.variants import variants
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


def with_einsum_as_in_mae(images, patch_size):
    divides(images, patch_size)
    p, (B, C) = patch_size, images.shape[:2]
    h, w = images.shape[2] // p, images.shape[3] // p
    x = images.reshape(shape=(B, C, h, p, w, p))
    return torch.einsum("nchpwq->nhwcpq", x).reshape(shape=(B, h * w, p**2 * C))


def with_contiguous_view(images, patch_size):
    divides(images, patch_size)
    x = images.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)
    x = x.permute(0, 2, 3, 1, 4, 5).contiguous()
    return x.view(len(images), -1, images.shape[1] * patch_size * patch_size)


def with_strides(images, patch_size):
    divides(images, patch_size)
    images = images.contiguous()
    (B, C, H, W), P = images.shape, patch_size
    size, steps = (B, H // P, W // P, C, P, P), (C * H * W, P * W, P, H * W, W, 1)
    return images.as_strided(size, steps).reshape(B, -1, C * P * P)


def with_indices(images, patch_size):
    divides(images, patch_size)
    (H, W), P = images.shape[2:], patch_size
    n = torch.arange(H // P * (W // P), device=images.device)
    i = torch.arange(P, device=images.device)
    y = (n // (W // P) * P)[:, None, None] + i[:, None]
    x = (n % (W // P) * P)[:, None, None] + i
    return images[:, :, y, x].transpose(1, 2).flatten(2)


def image_by_image(images, patch_size):
    divides(images, patch_size)
    batch = []
    for image in images:
        patches = []
        for i in range(image.shape[1] // patch_size):
            for j in range(image.shape[2] // patch_size):
                patch = image.narrow(1, i * patch_size, patch_size)
                patch = patch.narrow(2, j * patch_size, patch_size)
                patches.append(patch.reshape(-1))
        batch.append(torch.stack(patches))
    return torch.stack(batch)


class OwnError(ValueError):
    pass


def with_own_error(images, patch_size: int = 16):
    (h, r), (w, s) = (divmod(side, patch_size) for side in images.shape[2:])
    if r + s:
        raise OwnError(f"{r} rows and {s} columns left over")
    x = images.reshape(len(images), -1, h, patch_size, w * patch_size)
    x = x.transpose(1, 2).reshape(len(images), h, -1, patch_size, w, patch_size)
    return torch.movedim(x, 4, 2).reshape(len(images), h * w, -1)


def with_torchs_error_told_anew(images, patch_size):
    B, C, H, W = images.shape
    P = patch_size
    try:
        x = images.reshape(B, C, H // P, P, W // P, P)
    except RuntimeError as error:
        raise ValueError("the patches do not fill the image") from error
    return x.swapaxes(3, 4).swapaxes(1, 2).swapaxes(2, 3).reshape(B, -1, C * P * P)


def with_vmap(images, patch_size):
    def cut(image):
        x = image.unfold(1, patch_size, patch_size).unfold(2, patch_size, patch_size)
        return x.permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)

    divides(images, patch_size)
    return torch.vmap(cut)(images)


def channel_by_channel(images, patch_size):
    divides(images, patch_size)
    x = F.unfold(images.flatten(0, 1)[:, None], patch_size, stride=patch_size)
    return x.unflatten(0, images.shape[:2]).permute(0, 3, 1, 2).flatten(2)


class WithCall:
    def __call__(self, images, patch_size):
        return with_split(images, patch_size).clone()


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
    with_einsum_as_in_mae,
    with_contiguous_view,
    with_strides,
    with_indices,
    image_by_image,
    with_own_error,
    with_torchs_error_told_anew,
    with_vmap,
    channel_by_channel,
    WithCall(),
]

# Right designs of PatchEmbedding.


class Linear(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        if image_size % patch_size != 0:
            raise ValueError("the patches do not fill the image")
        self.patch_size = patch_size
        n = (image_size // patch_size) ** 2
        self.make(in_channels, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, n + 1, dim))

    def make(self, in_channels, dim):
        self.proj = nn.Linear(in_channels * self.patch_size**2, dim)

    def patches(self, images):
        """(B, n, D)."""
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
        B, n, D = x.shape
        tokens = x.new_empty(B, n + 1, D)
        tokens[:, :1] = self.cls_token
        tokens[:, 1:] = x
        tokens += self.pos_embed
        return tokens


class Refusing(Linear):
    """Refuses images of another size, and has a buffer."""

    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__(image_size, patch_size, in_channels, dim)
        self.shape = (in_channels, image_size, image_size)
        self.register_buffer("unused", torch.arange(3))

    def forward(self, images):
        if images.shape[1:] != self.shape:
            raise ValueError(f"expected images {self.shape}")
        return super().forward(images)


class AsInTimm(Convolution):
    """With what is there for other uses and does nothing here."""

    def __init__(self, img_size: int, patch_size: int, in_chans=3, embed_dim=768):
        super().__init__(img_size, patch_size, in_chans, embed_dim)
        self.norm, self.pos_drop = nn.Identity(), nn.Dropout(p=0.0)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, x):
        x = self.norm(self.proj(x).flatten(2).transpose(1, 2))
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.pos_drop(x + self.pos_embed[:, : x.shape[1]])


class AsInTorchvision(Convolution):
    def forward(self, x):
        n, _, h, w = x.shape
        p = self.patch_size
        torch._assert(h % p == 0, "wrong height")
        x = self.proj(x)
        x = x.reshape(n, x.shape[1], (h // p) * (w // p)).permute(0, 2, 1)
        x = torch.cat([self.cls_token.expand(n, -1, -1), x], dim=1)
        x += self.pos_embed
        return x


class Padded(Linear):
    def forward(self, images):
        x = F.pad(self.patches(images), (0, 0, 1, 0))
        return x + F.pad(self.cls_token, (0, 0, 0, x.shape[1] - 1)) + self.pos_embed


class Stretched(Linear):
    def forward(self, images):
        x = vit_encoder.patchify(images, self.patch_size)
        x = F.linear(x, self.proj.weight, self.proj.bias)
        token = self.cls_token + x.new_zeros(len(x), 1, 1)
        return torch.hstack([token, x]).add(self.pos_embed.expand(len(x), -1, -1))


class OneImageAtATime(Linear):
    def forward(self, images):
        return torch.stack([self.tokens(image[None])[0] for image in images])

    def tokens(self, image):
        x = torch.concat([self.cls_token, self.patches(image)], dim=-2)
        return torch.add(x, self.pos_embed)


class WithUnfold(Linear):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__(image_size, patch_size, in_channels, dim)
        self.unfold = nn.Unfold(patch_size, stride=patch_size)
        self.register_buffer("places", torch.arange(self.num_tokens), persistent=False)

    @property
    def num_tokens(self):
        return self.pos_embed.shape[1]

    def forward(self, images):
        x = self.unfold(images).mT @ self.proj.weight.mT + self.proj.bias
        x = torch.cat([self.cls_token.tile(len(x), 1, 1), x], 1)
        return x + self.pos_embed[:, self.places]


class Registered(nn.Module):
    def __init__(
        self, image_size=224, patch_size=16, in_channels=3, dim=768, bias=True
    ):
        nn.Module.__init__(self)
        vit_encoder.patches.require_divides(patch_size, image_size, "P", "H")
        P, n = (patch_size, patch_size), (image_size // patch_size) ** 2
        self.proj = nn.Conv2d(
            in_channels=in_channels,
            out_channels=dim,
            kernel_size=P,
            stride=P,
            bias=bias,
        )
        token = nn.Parameter(torch.empty(1, 1, dim).normal_())
        self.register_parameter("cls_token", token)
        self.pos_embed = nn.Parameter(torch.zeros(1, n + 1, dim), requires_grad=True)

    def forward(self, images, mask=None):
        assert images.shape[2] == images.shape[3], "square images only"
        x = torch.einsum("bdhw->bhwd", self.proj(images))
        x = x.reshape(len(x), -1, x.shape[-1])
        first = self.cls_token.repeat(len(x), 1, 1)
        return torch.cat((first, x), dim=1) + self.pos_embed


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
    AsInTimm,
    AsInTorchvision,
    Padded,
    Stretched,
    OneImageAtATime,
    WithUnfold,
    Registered,
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


def unfolded_and_reshaped(images, patch_size):
    divides(images, patch_size)
    x = F.unfold(images, patch_size, stride=patch_size)
    return x.reshape(len(images), -1, images.shape[1] * patch_size**2)


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


CHECK = "    divides(images, patch_size)\n"
SPLIT = "images.reshape(B, C, H // P, P, W // P, P)"
JOINED = ".reshape(B, -1, C * P * P)"
PATCH = "images[:, :, y : y + P, x : x + P].flatten(1)"
ROWS, COLUMNS = "range(0, images.shape[2], P)", "range(0, images.shape[3], P)"
STACK = "torch.stack(rows, dim=1)"


def checked(condition, then="raise ValueError('no')"):
    """An edit: another condition in place of the right one."""
    lines = f"    H, W = images.shape[2:]\n    if {condition}:\n        {then}\n"
    return {CHECK: lines.replace("P", "patch_size")}


REMAINDERS = "H % P or W % P"
WRONG_PATCHIFY = {
    "bare-reshape": [
        lines_of_memory,
        grid_viewed,
        *variants(with_reshape, {"return x.permute(0, 2, 4, 1, 3, 5)": "return x"}),
    ],
    "channels-not-moved": [windows_left_with_channels],
    "column-by-column": [
        loops_the_other_way,
        *variants(with_split, {"dim=2": "dim=3", "dim=3)]": "dim=2)]"}),
    ],
    "patches-transposed": [
        patches_turned,
        *variants(
            with_tensor_unfold,
            {".unfold(2, P, P).unfold(3": ".unfold(3, P, P).unfold(2"},
        ),
    ],
    "image-turned": [width_first],
    "channels-last": [colour_last],
    "pixels-spread": [every_second_pixel],
    "height-and-width-exchanged": variants(
        with_reshape,
        {"B, C, H, W = images": "B, C, W, H = images"},
        {"H // P, P, W // P": "W // P, P, H // P"},
    ),
    "columns-reshaped": [unfolded_and_reshaped],
    "steps-of-one-pixel": variants(
        with_loops,
        {ROWS: "range(images.shape[2] // P)", COLUMNS: "range(images.shape[3] // P)"},
    ),
    "windows-overlap": [
        step_forgotten,
        *variants(
            with_tensor_unfold,
            {"(2, P, P).unfold(3, P, P)": "(2, P, 1).unfold(3, P, 1)"},
        ),
    ],
    "channels-apart": variants(with_reshape, {"C * P * P": "P * P"}),
    "patches-in-columns": [unfolded_only],
    "patches-before-images": variants(
        with_loops, {STACK: "torch.stack(rows)"}, {"dim=1": "dim=0"}
    ),
    "grid-kept": variants(
        with_reshape, {JOINED: ".reshape(B, H // P, W // P, C * P * P)"}
    ),
    "patches-not-flattened": [
        *variants(with_reshape, {JOINED: ".reshape(B, -1, C, P, P)"}),
        *variants(with_loops, {".flatten(1)": ""}),
    ],
    "patches-joined": [
        *variants(with_reshape, {JOINED: ".reshape(B, -1)"}),
        *variants(with_loops, {STACK: "torch.cat(rows, dim=1)"}),
    ],
    "images-joined": [
        *variants(with_reshape, {JOINED: ".reshape(-1, C * P * P)"}),
        *variants(with_loops, {STACK: "torch.cat(rows)"}),
    ],
    "count-and-size-exchanged": [
        *variants(with_reshape, {JOINED: ".reshape(B, P * P, -1)"}),
        *variants(
            with_split, {"images.split": "images.chunk", "strip.split": "strip.chunk"}
        ),
    ],
    "side-counted-once": variants(with_reshape, {"C * P * P": "C * P"}),
    "channels-lost": [lambda images, P: with_reshape(images.mean(1, keepdim=True), P)],
    "patches-reduced": [
        pixels_averaged,
        lambda images, P: F.max_pool2d(images, P).flatten(2).mT,
        lambda images, P: images[:, :, ::P, ::P].flatten(2).mT,
    ],
    "one-row-of-patches": variants(
        with_loops,
        {f"    return {STACK}": f"        return {STACK}"},
        {"        for x in": "        rows = []\n        for x in"},
    ),
    "last-patches-missing": variants(
        with_loops,
        {
            ROWS: "range(0, images.shape[2] - P, P)",
            COLUMNS: "range(0, images.shape[3] - P, P)",
        },
    ),
    "patches-mixed": variants(
        with_reshape,
        {SPLIT: "images.reshape(B, C, P, H // P, P, W // P)"},
        {"(0, 2, 4, 1, 3, 5)": "(0, 2, 3, 1, 4, 5)"},
        {"(0, 2, 4, 1, 3, 5)": "(0, 5, 4, 3, 2, 1)"},
    ),
    "patches-in-another-order": [
        snake,
        last_patch_first,
        *variants(
            with_reshape,
            {f"{SPLIT}": "images.flip(-1).reshape(B, C, H // P, P, W // P, P)"},
            {f"{SPLIT}": "images.rot90(2, (2, 3)).reshape(B, C, H // P, P, W // P, P)"},
        ),
    ],
    "values-in-another-order": [
        blue_green_red,
        *variants(with_reshape, {"(0, 2, 4, 1, 3, 5)": "(0, 2, 4, 3, 1, 5)"}),
        lambda images, P: with_reshape(images, P).sort(-1).values,
    ],
    "images-mixed": [images_exchanged],
    "numbers-missing": [all_alike],
    "numbers-changed": [
        patches_centred,
        *variants(with_reshape, {"= images.reshape": "= (images / 255).reshape"}),
    ],
    "rounded": [lambda images, P: with_reshape((1000 * images).round() / 1000, P)],
    "sizes-fixed": variants(
        with_reshape, {"C * P * P": "3 * P * P"}, {"P = patch_size": "P = 4"}
    ),
    "axis-squeezed": variants(with_reshape, {JOINED: f"{JOINED}.squeeze()"}),
    "nan-hidden": variants(with_reshape, {"x.permute": "x.nan_to_num().permute"}),
    "seed-set": variants(with_reshape, {CHECK: f"{CHECK}    torch.manual_seed(0)\n"}),
    "edges-dropped": [
        rest_ignored,
        *variants(
            with_f_unfold,
            checked("H % P and W % P"),
            checked("H * W % P"),
            checked("H * W % P**2"),
            checked("P > H or P > W"),
            {CHECK: "    assert (images.shape[2] % patch_size == 0, 'no')\n"},
        ),
    ],
    "edges-not-refused": [rest_padded, only_height_checked],
    "wrong-error": [
        reshape_complains,
        asserts,
        *variants(
            with_reshape,
            checked("H % P and W % P"),
            checked(REMAINDERS, "raise TypeError('no')"),
            checked(REMAINDERS, "raise 'no'"),
            checked(REMAINDERS, "print('no')"),
            checked(REMAINDERS, "return None"),
        ),
    ],
    "square-assumed": [
        width_for_both,
        *variants(with_reshape, checked(f"H != W or {REMAINDERS}")),
    ],
    "device-fixed": [made_on_cpu],
    "dtype-changed": [made_in_float32],
    "computed-in-float32": [float32_and_back],
    "input-changed": [cut_out],
    "gradient-cut": [through_numpy, without_gradient],
    "wrong-type": [list_of_patches],
    "numpy-returned": [as_numpy],
    "returns-none": [no_return],
    "not-deterministic": [shuffles],
    "wrong-shape": [
        one_image_alone,
        *variants(with_reshape, {"C * P * P": "C * 2 * P"}),
        lambda images, P: torch.cat([with_reshape(images, P)] * 2, 1),
    ],
    "wrong-kind": [with_reshape(torch.ones(1, 1, 2, 2), 1), AsModule],
    "reference-used": [
        vit_encoder.patchify,
        oracle.patchify,
        lambda images, patch_size: vit_encoder.patchify(images, patch_size),
    ],
}

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
    """Linear with another value for one of its parameters: dim, n → value."""

    class Replaced(Linear):
        def __init__(self, image_size, patch_size, in_channels, dim):
            super().__init__(image_size, patch_size, in_channels, dim)
            n = (image_size // patch_size) ** 2
            delattr(self, name)
            setattr(self, name, make(dim, n))

    return Replaced


class FixedPosition(replaced("pos_embed", lambda D, n: torch.ones(1, n + 1, D))):
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


class PositionsOfPatchesAlone(replaced("pos_embed", lambda D, n: learned(1, n, D))):
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


class TokensAlone(replaced("pos_embed", lambda D, n: learned(1, n, D))):
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


class BatchOfEight(replaced("cls_token", lambda D, n: learned(8, 1, D))):
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


class FlatPositions(replaced("pos_embed", lambda D, n: learned(n + 1, D))):
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


class Whole(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        if image_size % patch_size:
            raise ValueError("the patches do not fill the image")
        self.patch_size = patch_size
        n = (image_size // patch_size) ** 2
        self.proj = nn.Linear(in_channels * patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, n + 1, dim))

    def forward(self, images):
        x = vit_encoder.patchify(images, self.patch_size)
        x = self.proj(x)
        first = self.cls_token.expand(len(x), -1, -1)
        x = torch.cat([first, x], dim=1)
        x = x + self.pos_embed
        return x


class WholeConvolution(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        if image_size % patch_size:
            raise ValueError("the patches do not fill the image")
        n = (image_size // patch_size) ** 2
        self.proj = nn.Conv2d(in_channels, dim, patch_size, stride=patch_size)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, n + 1, dim))

    def forward(self, images):
        x = self.proj(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.repeat(len(x), 1, 1), x], dim=1)
        return x + self.pos_embed


def linear(*changes):
    """Variants of Whole."""
    return variants(Whole, *changes)


def convolution(*changes):
    """Variants of WholeConvolution."""
    return variants(WholeConvolution, *changes)


IN, COUNT = "in_channels * patch_size**2", "(image_size // patch_size) ** 2"
TOKEN = "nn.Parameter(torch.randn(1, 1, dim))"
PLACES = "nn.Parameter(torch.randn(1, n + 1, dim))"
FIRST = "self.cls_token.expand(len(x), -1, -1)"
CUT, PROJECT = "vit_encoder.patchify(images, self.patch_size)", "x = self.proj(x)"
JOIN, ADD = "x = torch.cat([first, x], dim=1)", "x = x + self.pos_embed"
TEST = "if image_size % patch_size:"
RAISE = 'raise ValueError("the patches do not fill the image")'
LISTED, KERNEL = ".flatten(2).transpose(1, 2)", "patch_size, stride=patch_size"
START = "self.patch_size = patch_size"


class ProjectionInATuple(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        self.patch_size = patch_size
        self.layers = (nn.Linear(in_channels * patch_size**2, dim), nn.Dropout(0))
        n = (image_size // patch_size) ** 2
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.zeros(1, n + 1, dim))

    def forward(self, images):
        project, drop = self.layers
        x = project(vit_encoder.patchify(images, self.patch_size))
        first = self.class_token.expand(len(x), -1, -1)
        return drop(torch.cat([first, x], dim=1) + self.positions)


WRONG_PATCH_EMBEDDING = {
    "layers-hidden": [ProjectionInATuple],
    "convolution-reshaped": [
        Reshaped,
        Viewed,
        *convolution(
            {LISTED: ".view(len(images), -1, self.pos_embed.shape[-1])"},
            {LISTED: ".flatten(2).reshape(len(images), -1, self.pos_embed.shape[-1])"},
        ),
    ],
    "features-before-patches": [NotTransposed, *convolution({LISTED: ".flatten(2)"})],
    "windows-overlap": [OverlappingWindows, *convolution({", stride=patch_size": ""})],
    "grid-kept": convolution({LISTED: ""}, {LISTED: ".permute(0, 2, 3, 1)"}),
    "patches-in-columns": linear(
        {CUT: "F.unfold(images, self.patch_size, stride=self.patch_size)"}
    ),
    "columns-reshaped": linear(
        {
            CUT: "F.unfold(images, self.patch_size, stride=self.patch_size)",
            PROJECT: "x = self.proj(x.reshape(len(x), x.shape[2], x.shape[1]))",
        }
    ),
    "column-by-column": [ColumnsFirst],
    "channels-last": [ColourLast],
    "bare-reshape": [
        BareReshape,
        *linear({CUT: "images.reshape(len(images), -1, self.proj.in_features)"}),
    ],
    "image-turned": linear({CUT: CUT.replace("images,", "images.mT,")}),
    "patches-out-of-place": linear(
        {CUT: CUT.replace("images,", "images.flip(-1),")}, {CUT: f"{CUT}.flip(1)"}
    ),
    "values-in-another-order": linear({CUT: CUT.replace("images,", "images.flip(1),")}),
    "projection-reversed": linear({f"{IN}, dim": f"dim, {IN}"}),
    "channels-and-width-exchanged": [
        *convolution({"in_channels, dim, patch": "dim, in_channels, patch"}),
        *linear({"patch_size, in_channels, dim)": "patch_size, dim, in_channels)"}),
    ],
    "projection-of-one-channel": [
        *linear({IN: "patch_size**2"}),
        *convolution({"Conv2d(in_channels": "Conv2d(1"}),
    ],
    "projection-of-one-line": linear({IN: "in_channels * patch_size"}),
    "projection-of-the-image": convolution({KERNEL: "image_size, stride=patch_size"}),
    "projection-of-the-count": convolution(
        {KERNEL: "image_size // patch_size, stride=patch_size"}
    ),
    "projection-bent": linear(
        {PROJECT: "x = self.proj(x).relu()"},
        {PROJECT: "x = F.gelu(self.proj(x))"},
        {PROJECT: "x = torch.tanh(self.proj(x))"},
    ),
    "norm-of-the-sum": linear(
        {"return x": "return F.layer_norm(x, x.shape[-1:])"},
        {
            START: f"{START}\n        self.norm = nn.LayerNorm(dim, eps=1e-6)",
            "return x": "return self.norm(x)",
        },
    ),
    "norm-of-the-projection": linear(
        {PROJECT: f"{PROJECT}\n        x = F.layer_norm(x, x.shape[-1:], eps=1e-6)"}
    ),
    "norm-of-the-patches": linear(
        {PROJECT: "x = self.proj(F.layer_norm(x, x.shape[-1:]))"}
    ),
    "embedding-scaled": [
        RootOfWidth,
        *linear({ADD: "x = x * x.shape[-1] ** 0.5 + self.pos_embed"}),
    ],
    "patches-scaled": linear(
        {CUT: CUT.replace("images,", "images / 255,")},
        {CUT: CUT.replace("images,", "(images - 0.5) / 0.5,")},
        {PROJECT: "x = self.proj(x) * x.shape[-1] ** 0.5"},
    ),
    "bias-miscounted": linear(
        {PROJECT: "x = x @ self.proj.weight.T"},
        {PROJECT: "x = self.proj(x) + self.proj.bias"},
    ),
    "patches-not-projected": linear({PROJECT: "x = x"}),
    "one-position-for-all": [
        replaced("pos_embed", lambda D, n: learned(1, 1, D)),
        replaced("pos_embed", lambda D, n: learned(D)),
    ],
    "first-position-for-all": [
        FirstPositionForAll,
        *linear({ADD: "x = x + self.pos_embed[:, 0]"}),
    ],
    "positions-without-effect": linear({ADD: "x = x + self.pos_embed[:, -1:]"}),
    "positions-of-one-side": linear({COUNT: "image_size // patch_size"}),
    "positions-of-pixels": linear({COUNT: "image_size**2"}),
    "positions-as-wide-as-patches": linear({"n + 1, dim": f"n + 1, {IN}"}),
    "two-tokens-more": linear(
        {"n + 1, dim": "n + 2, dim", JOIN: "x = torch.cat([first, first, x], dim=1)"}
    ),
    "no-positions": [
        NoPositionAnywhere,
        PositionsIgnored,
        FixedPosition,
        *linear({ADD: "x + self.pos_embed"}),
    ],
    "positions-not-learned": [RandomBuffer, WaveBuffer, PositionsToDevice],
    "positions-before-class-token": [
        PositionsOfPatchesAlone,
        PositionsOfPatchesTaken,
        *linear({"n + 1, dim": "n, dim"}),
        *linear({ADD: "x[:, 1:] = x[:, 1:] + self.pos_embed[:, 1:]"}),
    ],
    "positions-on-class-token-alone": linear(
        {ADD: "x[:, 0] = x[:, 0] + self.pos_embed[:, 0]"}
    ),
    "positions-added-twice": [PositionsTwice],
    "positions-scaled": linear(
        {ADD: "x = x + self.pos_embed + self.pos_embed"},
        {FIRST: f"{FIRST} + self.pos_embed[:, :1]"},
        {ADD: "x = x - self.pos_embed"},
        {ADD: "x = x + 0.02 * self.pos_embed"},
    ),
    "positions-shifted": linear(
        {ADD: "x = x + self.pos_embed.roll(-1, dims=1)"},
        {ADD: "x = x + self.pos_embed.flip(1)"},
        {ADD: "x[:, 1:] = x[:, 1:] + self.pos_embed[:, :-1]"},
    ),
    "positions-concatenated": linear(
        {ADD: "x = torch.cat([x, self.pos_embed.expand(len(x), -1, -1)], dim=-1)"}
    ),
    "class-token-not-expanded": [
        *linear({FIRST: "self.cls_token"}, {FIRST: "self.cls_token.expand(-1, 1, -1)"}),
        *convolution({"self.cls_token.repeat(len(x), 1, 1)": "self.cls_token"}),
    ],
    "class-token-last": [Last],
    "no-class-token": [
        TokensAlone,
        *linear(
            {JOIN: "x = x + first", ADD: "x = x + self.pos_embed[:, 1:]"},
            {JOIN: "x[:, 0] = first[:, 0]", ADD: "x = x + self.pos_embed[:, 1:]"},
            {"return x": "return x[:, 1:]"},
        ),
    ],
    "class-token-from-image": [
        MeanInFront,
        *linear({FIRST: "x[:, :1]", f"self.cls_token = {TOKEN}": "pass"}),
    ],
    "class-token-varies": linear(
        {FIRST: "x[:, :1]"}, {FIRST: "self.cls_token + x.mean(1, keepdim=True)"}
    ),
    "class-token-differs": linear(
        {FIRST: "self.pos_embed[:, :1].expand(len(x), -1, -1)"}
    ),
    "class-token-not-learned": [
        ZerosInFront,
        *linear(
            {
                f"self.cls_token = {TOKEN}": "pass",
                FIRST: "nn.Parameter(0 * x[:1, :1]).expand(len(x), -1, -1)",
            }
        ),
    ],
    "class-token-per-image": [BatchOfEight],
    "class-token-alone": linear(
        {"return x": "return x[:, 0]"}, {"return x": "return x.mean(1)"}
    ),
    "tokens-before-images": linear({"return x": "return x.transpose(0, 1)"}),
    "features-before-tokens": linear({"return x": "return x.mT"}),
    "missing-parameters": [
        OtherNames,
        PositionsAsEmbedding,
        *linear(
            {f"nn.Linear({IN}, dim)": f"nn.Sequential(nn.Linear({IN}, dim), nn.ReLU())"}
        ),
    ],
    "wrong-parameter-shape": [
        FlatPositions,
        *linear(
            {TOKEN: TOKEN.replace("1, 1, ", "1, ")},
            {PLACES: PLACES.replace("1, n", "2, n")},
            {COUNT: "image_size // patch_size**2"},
            {IN: "in_channels"},
        ),
        *convolution({KERNEL: "1, stride=patch_size"}),
    ],
    "sizes-not-checked": [
        NotChecked,
        ConvolutionNotChecked,
        *linear(
            {RAISE: "print('no')"},
            {TEST: "if image_size**2 % patch_size:"},
            {
                f"        {TEST}\n            {RAISE}\n": "",
                f"x = {CUT}": "if images.shape[-1] % self.patch_size:\n"
                f"            raise ValueError\n        x = {CUT}",
            },
        ),
    ],
    "wrong-error": [
        AssertedWhenBuilt,
        *linear({RAISE: "raise TypeError('no')"}, {RAISE: "return ValueError('no')"}),
    ],
    "reference-used": [vit_encoder.PatchEmbedding, Inherited, Wrapped],
    "gradient-cut": [
        Detached,
        *linear(
            {PLACES: PLACES.replace("dim))", "dim), requires_grad=False)")},
            {ADD: "x = x + self.pos_embed.data"},
        ),
    ],
    "device-fixed": [OnCpu],
    "dtype-changed": linear({"return x": "return x.float()"}),
    "input-changed": [Centres],
    "nan-hidden": linear({"return x": "return x.nan_to_num()"}),
    "seed-set": linear(
        {START: f"{START}\n        torch.manual_seed(0)"},
        {PROJECT: f"torch.manual_seed(0)\n        {PROJECT}"},
    ),
    "state-kept": linear({"return x": "self.pos_embed.data += 0.01\n        return x"}),
    "unasked-dropout": linear(
        {"return x": "return F.dropout(x, 0.1, self.training)"},
        {
            START: f"{START}\n        self.drop = nn.Dropout(0.1)",
            ADD: "x = x + self.drop(self.pos_embed)",
        },
    ),
    "not-deterministic": [WithDropout],
    "axis-squeezed": linear({"return x": "return x.squeeze()"}),
    "wrong-shape": [NoBatch, *linear({"return x": "return x.flatten(0, 1)"})],
    "wrong-type": linear({"return x": "return x, first"}),
    "wrong-kind": [with_reshape, nn.Linear(2, 3)],
}


class TwoProjections(Linear):
    def patches(self, images):
        return super().patches(images) + super().patches(images.flip(1))


# Right designs of keep_some, and wrong ones.


def all_positions_first(x, kept, cls_token, pos_embed):
    x = x + pos_embed[:, 1:]
    first = (cls_token + pos_embed[:, :1]).repeat(len(x), 1, 1)
    return torch.cat((first, x[:, kept]), 1)


def whole_then_picked(x, kept, cls_token, pos_embed):
    tokens = torch.cat([cls_token.expand(len(x), 1, -1), x], dim=1) + pos_embed
    return tokens[:, [0, *(i + 1 for i in kept)]]


def by_index_select(x, kept, cls_token, pos_embed):
    numbers = torch.tensor([0, *(i + 1 for i in kept)], device=x.device)
    places = pos_embed.index_select(1, numbers)
    x = x.index_select(1, numbers[1:] - 1)
    return torch.cat([cls_token.expand(x.shape[0], -1, -1), x], 1) + places


def one_by_one(x, kept, cls_token, pos_embed):
    tokens = [(cls_token + pos_embed[:, :1]).expand(x.shape[0], 1, -1)]
    for i in kept:
        tokens.append(x[:, i : i + 1] + pos_embed[:, i + 1 : i + 2])
    return torch.cat(tokens, dim=1)


def first_places(x, kept, cls_token, pos_embed):
    x = torch.cat([cls_token.expand(len(x), -1, -1), x[:, kept]], dim=1)
    return x + pos_embed[:, : x.shape[1]]


def in_image_order(x, kept, cls_token, pos_embed):
    return whole_then_picked(x, sorted(kept), cls_token, pos_embed)


# Right designs of add_sincos.


def divided_by_four(x):
    """What all right designs begin with."""
    if x.shape[-1] % 4 != 0:
        raise ValueError("the width must be a multiple of 4")


def as_in_mae(x, rows, columns):
    """A grid of two axes, made flat."""
    divided_by_four(x)
    quarter = x.shape[-1] // 4
    grid_r, grid_c = torch.meshgrid(
        torch.arange(rows), torch.arange(columns), indexing="ij"
    )
    omega = 1.0 / 10000 ** (torch.arange(quarter, dtype=torch.float64) / quarter)

    def halves(grid):
        out = torch.einsum("m,d->md", grid.reshape(-1).double(), omega)
        return torch.cat([torch.sin(out), torch.cos(out)], dim=1)

    table = torch.cat([halves(grid_c), halves(grid_r)], dim=1)
    table = torch.cat([torch.zeros(1, x.shape[-1]), table], dim=0)
    return x + table.to(x)


def on_the_grid(x, rows, columns):
    """One table for rows and one for columns, each repeated along the other axis."""
    divided_by_four(x)
    D = x.shape[-1]
    wave = torch.exp(
        torch.arange(D // 4, dtype=x.dtype, device=x.device) * -math.log(10000) * 4 / D
    )

    def table(count):
        angles = torch.arange(count, device=x.device)[:, None] * wave[None]
        return torch.cat([angles.sin(), angles.cos()], 1)

    across = table(columns)[None].expand(rows, -1, -1)
    down = table(rows)[:, None].expand(-1, columns, -1)
    places = torch.cat([across, down], -1).view(1, rows * columns, D)
    return torch.cat([x[:, :1], x[:, 1:] + places], dim=1)


def filled_in_a_loop(x, rows, columns):
    divided_by_four(x)
    D = x.size(2)
    table = torch.zeros(x.shape[1:], dtype=x.dtype, device=x.device)
    for r in range(rows):
        for c in range(columns):
            for i in range(D // 4):
                w = 10000 ** (-4 * i / D)
                token = 1 + r * columns + c
                table[token, i] = math.sin(w * c)
                table[token, i + D // 4] = math.cos(w * c)
                table[token, i + D // 2] = math.sin(w * r)
                table[token, i + 3 * D // 4] = math.cos(w * r)
    return x + table


def padded(x, rows, columns):
    divided_by_four(x)
    D = x.shape[-1]
    w = torch.logspace(0, -4, D // 4 + 1, dtype=torch.float64)[:-1]
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    angles = places.flip(1)[:, :, None] * w  # (n, 2, D/4)
    table = torch.stack([angles.sin(), angles.cos()], 2).flatten(1)
    return x + F.pad(table, (0, 0, 1, 0)).to(x.device, x.dtype)


RIGHT_SINCOS = [as_in_mae, on_the_grid, filled_in_a_loop, padded]

# Wrong answers of add_sincos.


def grid_as_in_moco_v3(x, rows, columns):
    """Columns first, and "ij": a square grid has its halves exchanged, others more."""
    divided_by_four(x)
    quarter = x.shape[-1] // 4
    grid_w, grid_h = torch.arange(columns), torch.arange(rows)
    grid_w, grid_h = torch.meshgrid(grid_w, grid_h, indexing="ij")
    omega = 1.0 / (10000.0 ** (torch.arange(quarter) / quarter))
    out_w = torch.einsum("m,d->md", grid_w.flatten(), omega)
    out_h = torch.einsum("m,d->md", grid_h.flatten(), omega)
    table = torch.cat([out_w.sin(), out_w.cos(), out_h.sin(), out_h.cos()], dim=1)
    table = torch.cat([torch.zeros(1, x.shape[-1]), table], dim=0)
    return x + table.to(x)


MAE_TABLE = "[halves(grid_c), halves(grid_r)]"


def on_one_axis(x, rows, columns):
    """The first Transformer's, in the order of MAE."""
    divided_by_four(x)
    half = x.shape[-1] // 2
    omega = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.outer(torch.arange(rows * columns).double(), omega)
    table = torch.cat([angles.sin(), angles.cos()], 1)
    return x + F.pad(table, (0, 0, 1, 0)).to(x)


def counted_by_rows(x, rows, columns):
    """It divides by the wrong side of the grid."""
    divided_by_four(x)
    D = x.shape[-1]
    patch = torch.arange(rows * columns, device=x.device)
    wave = 10000.0 ** (-torch.arange(D // 4, dtype=x.dtype, device=x.device) * 4 / D)
    across, down = (p[:, None] * wave for p in (patch % rows, patch // rows))
    table = torch.cat([across.sin(), across.cos(), down.sin(), down.cos()], 1)
    return x + F.pad(table, (0, 0, 1, 0))


def writes_into_x(x, rows, columns):
    with torch.no_grad():
        x.copy_(padded(x, rows, columns))
    return x * 1


def in_float64_throughout(x, rows, columns):
    return padded(x.double(), rows, columns)


def table_on_the_cpu(x, rows, columns):
    return x + padded(torch.zeros(x.shape[1:])[None], rows, columns).to(x.dtype)


def width_not_asked(x, rows, columns):
    D = x.shape[-1] // 4 * 4
    return torch.cat([padded(x[..., :D], rows, columns), x[..., D:]], -1)


def asserts_the_width(x, rows, columns):
    assert x.shape[-1] % 4 == 0
    return padded(x, rows, columns)


WRONG_SINCOS = {
    "halves-exchanged": variants(
        as_in_mae, {MAE_TABLE: "[halves(grid_r), halves(grid_c)]"}
    ),
    "column-by-column": [grid_as_in_moco_v3],
    "rows-and-columns-exchanged": [counted_by_rows],
    "places-in-one-row": [on_one_axis],
    "sines-and-cosines-alternate": variants(
        as_in_mae,
        {
            "torch.cat([torch.sin(out), torch.cos(out)], dim=1)": (
                "torch.stack([torch.sin(out), torch.cos(out)], 2).flatten(1)"
            )
        },
    ),
    "frequencies-of-the-half": variants(on_the_grid, {"10000) * 4": "10000) * 2"}),
    "last-frequency-reached": variants(
        padded, {"D // 4 + 1": "max(D // 4, 1)", ")[:-1]": ")"}
    ),
    "frequencies-rise": variants(as_in_mae, {"1.0 / 10000": "10000"}),
    "class-token-last": variants(padded, {"1, 0))": "0, 1))"}),
    "input-changed": [writes_into_x],
    "dtype-changed": [in_float64_throughout],
    "device-fixed": [table_on_the_cpu],
    "width-not-refused": [width_not_asked],
    "wrong-error": [asserts_the_width],
}
SINES_ALONE, BASE_1000, DEGREES = variants(
    on_the_grid,
    {"angles.cos()": "angles.sin()"},
    {"log(10000)": "log(1000)"},
    {"wave[None]": "(wave * math.pi / 180)[None]"},
)

# Right designs of random_masking.


def ranks_by_comparison(x, noise, count):
    restore = (noise[:, :, None] > noise[:, None, :]).sum(dim=-1)
    order = torch.zeros_like(restore).scatter(
        1, restore, torch.arange(x.shape[1], device=x.device).expand_as(restore)
    )
    rows = torch.arange(len(x), device=x.device)[:, None]
    return x[rows, order[:, :count]], restore


def image_by_image(x, noise, count):
    kept, places = [], []
    for tokens, numbers in zip(x, noise, strict=True):
        _, order = numbers.sort()
        kept.append(tokens[order[:count]])
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=x.device)
        places.append(back)
    return torch.stack(kept), torch.stack(places)


def with_top_k(x, noise, count):
    picks = noise.topk(count, dim=1, largest=False).indices
    kept = torch.take_along_dim(x, picks.unsqueeze(-1), dim=1)
    return kept, torch.argsort(torch.argsort(noise, dim=1), dim=1)


def all_shuffled_first(x, noise, count):
    order = torch.argsort(noise, dim=1)
    shuffled = torch.gather(x, 1, order.unsqueeze(-1).repeat(1, 1, x.shape[-1]))
    return shuffled[:, :count], torch.argsort(order, dim=1).to(torch.int32)


RIGHT_MASKING = [ranks_by_comparison, image_by_image, with_top_k, all_shuffled_first]

# Wrong answers of random_masking.


def sorted_once(x, noise, count):
    order = noise.argsort(-1)
    return torch.take_along_dim(x, order[:, :count, None], 1), order


def picks_places(x, noise, count):
    restore = noise.argsort(-1).argsort(-1)
    return torch.take_along_dim(x, restore[:, :count, None], 1), restore


def mask_as_index(x, noise, count):
    """A mask of truth values keeps the order of the image."""
    restore = noise.argsort(1).argsort(1)
    return x[restore < count].view(len(x), count, -1), restore


def one_order(x, noise, count):
    order = noise[0].argsort()
    return x[:, order[:count]], order.argsort().expand(len(x), -1)


def largest(x, noise, count):
    order = (-noise).argsort(dim=1)
    return torch.take_along_dim(x, order[:, :count, None], 1), order.argsort(dim=1)


def gathers_one_feature(x, noise, count):
    order = noise.argsort(dim=1)
    return x.gather(1, order[:, :count].unsqueeze(2)), order.argsort(dim=1)


def indexes_with_all(x, noise, count):
    order = torch.argsort(noise, 1)
    return x[:, order[:, :count]], torch.argsort(order, 1)


def zeros_for_the_others(x, noise, count):
    restore = noise.argsort(dim=1).argsort(dim=1)
    return x * (restore < count).unsqueeze(-1), restore


def noise_of_its_own(x, noise, count):
    return with_top_k(x, torch.rand_like(noise), count)


def tokens_detached(x, noise, count):
    kept, restore = with_top_k(x.detach(), noise, count)
    return kept + 0 * noise.sum(), restore


def kept_alone(x, noise, count):
    return with_top_k(x, noise, count)[0]


def places_as_floats(x, noise, count):
    kept, restore = with_top_k(x, noise, count)
    return kept, restore.to(x.dtype)


WRONG_MASKING = {
    "order-for-its-inverse": [sorted_once],
    "places-for-the-order": [picks_places],
    "kept-in-reading-order": [mask_as_index],
    "first-image-for-all": [one_order],
    "largest-noise-kept": [largest],
    "one-feature-gathered": [gathers_one_feature],
    "indexed-across-images": [indexes_with_all],
    "left-out-as-zeros": [zeros_for_the_others],
    "not-deterministic": [noise_of_its_own],
    "gradient-cut": [tokens_detached],
    "dtype-changed": [places_as_floats],
    "wrong-type": [kept_alone],
}


def last_ones_first(x, noise, count):
    """The kept patches come with the largest of their noise first."""
    kept, restore = with_top_k(x, noise, count)
    return kept.flip(1), restore


def counted_from_one(x, noise, count):
    kept, restore = with_top_k(x, noise, count)
    return kept, restore + 1


def others_anywhere(x, noise, count):
    """All that is left out is said to stand at place k."""
    kept, restore = with_top_k(x, noise, count)
    return kept, restore.clamp(max=count)


NAMELESS_MASKING = [last_ones_first, counted_from_one, others_anywhere]


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


def and_refuses_the_rest(patchify):
    """It asks for all that the chapter promises."""
    try:
        patchify(torch.zeros(1, 2, 6, 7), 3)
    except ValueError:
        return every_pixel(patchify)
    return False


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
    "find_the_bug": [
        all_positions_first,
        whole_then_picked,
        by_index_select,
        one_by_one,
    ],
    "add_sincos": RIGHT_SINCOS,
    "random_masking": RIGHT_MASKING,
}
WRONG = {
    "patchify": WRONG_PATCHIFY,
    "PatchEmbedding": WRONG_PATCH_EMBEDDING,
    "find_the_bug": {"same-as-the-bug": [first_places]},
    "add_sincos": WRONG_SINCOS,
    "random_masking": WRONG_MASKING,
}
NAMELESS = {
    "PatchEmbedding": [TwoProjections],
    "find_the_bug": [in_image_order],
    "add_sincos": [SINES_ALONE, BASE_1000, DEGREES],
    "random_masking": NAMELESS_MASKING,
}
GOOD_TESTS = {
    "lit_pixel": [
        every_pixel,
        and_refuses_the_rest,
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
