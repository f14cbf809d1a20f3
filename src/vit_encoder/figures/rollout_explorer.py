"""A figure that answers: rollout through the layers, beside each layer's attention."""

import base64
import math

import torch
import traitlets

from vit_encoder.figures.encoder_at_work import (
    AsksForWeights,
    file_of,
    per_channel,
    require_codes,
    require_plain,
    sizes_of,
)
from vit_encoder.figures.front_end import follows, front_end
from vit_encoder.figures.inputs import describe, fade, require_photo
from vit_encoder.figures.pixels import as_picture, few_pixels
from vit_encoder.looking_inside import attention_maps
from vit_encoder.training import VisionTransformer

STEPS = 10_000  # a weight is kept as so many parts of its row
MOST = 500_000  # weights that a browser multiplies while a reader waits
SIDE = 112  # pixels that are shown at most


class RolloutExplorer(AsksForWeights):
    """Walk through the layers: what a token attends to, and what rollout makes of it.

    image: (C, H, W), C = 1 or 3, H = W, values in [0, 1]; one on black is drawn as its
    negative. maps: name → the weights (L, h, N, N) of this image, as `attention_maps`
    gives them for one image, class token first, then n patches in a square grid. The
    first name is shown first, and the others are its controls. alt: what the image
    shows, for those who cannot see. model: the one whose maps have the first name, so
    that readers can look at an image of their own; it gets (image - mean) / std, where
    mean and std are a number or one for each channel.

    `layer` (from 0), `query` (0 for the class token), `identity`, `chosen` (a name) and
    `stretched` follow what the reader chooses. Raises ValueError or TypeError for other
    arguments. Kept are the means over the heads, within 1e-4, in rows that sum to 1.
    The tests hold what the figure computes to within 1e-5 of `rollout`.
    """

    _esm = front_end("rollout_explorer.js", "vit.js")
    _css = front_end("rollout_explorer.css")

    picture = traitlets.Unicode().tag(sync=True)  # a data URL of the pale image
    alt = traitlets.Unicode().tag(sync=True)
    sizes = traitlets.List().tag(sync=True)  # L, N
    names = traitlets.List().tag(sync=True)  # a saved notebook sorts keys of a dict
    maps = traitlets.Dict().tag(sync=True)  # name → see `as_bytes`
    later = traitlets.Dict({"maps": "chosen"}).tag(sync=True)
    vit = traitlets.Dict().tag(sync=True)  # what runs an own image; empty: nothing
    layer = traitlets.Int().tag(sync=True)
    query = traitlets.Int(0).tag(sync=True)
    identity = traitlets.Bool(True).tag(sync=True)
    chosen = traitlets.Unicode().tag(sync=True)
    stretched = traitlets.Bool(False).tag(sync=True)
    _require = follows(
        layer=lambda self: range(self.sizes[0]),
        query=lambda self: range(self.sizes[1]),
        chosen=lambda self: tuple(self.names),
    )

    def __init__(
        self,
        image: torch.Tensor,
        maps: dict[str, torch.Tensor],
        alt: str = "an image",
        model: VisionTransformer | None = None,
        mean: float | torch.Tensor = 0.0,
        std: float | torch.Tensor = 1.0,
    ):
        if not isinstance(maps, dict) or not maps:
            got = "none" if isinstance(maps, dict) else type(maps).__name__
            raise TypeError(f"expected a dict of maps, name → weights, got {got}")
        means = {str(name): means_of(name, given) for name, given in maps.items()}
        shapes = {tuple(mean.shape) for mean in means.values()}
        if len(shapes) > 1:
            raise ValueError(f"expected maps of one L and N, got {sorted(shapes)}")
        ((depth, count, _),) = shapes
        vit = {}
        if model is not None:
            first = next(iter(means.items()))
            vit, self._plain = require_vit(model, image, mean, std, *first)
        super().__init__(
            picture=as_picture(pale(image)),
            alt=alt,
            sizes=[depth, count],
            names=[*means],
            maps={name: as_bytes(mean) for name, mean in means.items()},
            vit=vit,
            file=file_of(self._plain) if self._plain else "",
            layer=depth - 1,
            chosen=next(iter(means)),
        )

    def __repr__(self) -> str:
        depth, count = self.sizes
        return f"RolloutExplorer({', '.join(self.names)}: L = {depth}, N = {count})"


def means_of(name: str, maps: torch.Tensor) -> torch.Tensor:
    """The means over the heads, (L, N, N) in float64 on the CPU. Raises ValueError."""
    if not isinstance(maps, torch.Tensor) or maps.dim() != 4:
        got = describe(getattr(maps, "shape", type(maps).__name__))
        raise ValueError(f"expected weights (L, h, N, N) in {name!r}, got {got}")
    depth, heads, rows, count = maps.shape
    if rows != count or not depth or not heads or count < 2:
        raise ValueError(
            f"expected weights (L, h, N, N) in {name!r}, got {describe(maps.shape)}"
        )
    if math.isqrt(count - 1) ** 2 != count - 1:
        raise ValueError(
            "expected a class token and a square number of patches in"
            f" {name!r}, got {count} tokens"
        )
    if depth * count**2 > MOST:
        raise ValueError(
            f"expected at most {MOST} weights L·N·N in {name!r}, got {depth * count**2}"
        )
    mean = maps.detach().to("cpu", torch.float64).mean(dim=1)  # (L, N, N)
    sums = mean.sum(-1)
    if not (mean >= 0).all() or not ((sums - 1).abs() < 1e-2).all():
        raise ValueError(
            f"expected rows of weights ≥ 0 that sum to 1 in {name!r}, got sums from"
            f" {sums.min():g} to {sums.max():g} and a smallest weight {mean.min():g}"
        )
    return mean / sums.unsqueeze(-1)


def require_vit(
    model: VisionTransformer,
    image: torch.Tensor,
    mean: float | torch.Tensor,
    std: float | torch.Tensor,
    name: str,
    means: torch.Tensor,
) -> tuple[dict, VisionTransformer]:
    """What runs an own image, and a plain model. means: (L, N, N) that it must give.

    Raises ValueError or TypeError for a model that gives other weights for the image.
    """
    sizes = sizes_of(model)
    codes = require_codes(image.unsqueeze(0), sizes)  # (1, C, H, W), uint8
    mean, std = (per_channel(x, sizes["in_channels"]) for x in (mean, std))
    images = (image.detach().to("cpu", torch.float32).unsqueeze(0) - mean) / std
    plain = require_plain(model, sizes, images)
    found = attention_maps(plain, images)[:, 0].mean(1).double()
    if found.shape != means.shape or not (found - means).abs().max() < 1e-3:
        raise ValueError(
            f"expected the model whose attention weights are {name!r}, with the mean"
            " and std it was trained with, got one that gives others for this image"
        )
    vit = {
        "sizes": sizes,
        "mean": mean.flatten().tolist(),
        "std": std.flatten().tolist(),
        "negative": bool(codes.median() < 26),
    }
    return vit, plain


def as_bytes(mean: torch.Tensor) -> str:
    """Rows of whole parts that sum to STEPS, each less the row above it, as base64.

    mean: (L, N, N). What rounding down leaves of a row goes to its largest fractions.
    A difference d is written as 2 d, and as -2 d - 1 if it is negative. First come the
    low bytes of all, then the high ones: queries are much alike, so that most numbers
    are small and few high bytes are not 0, and they pack well.
    """
    parts = mean * STEPS
    whole = parts.floor()
    left = STEPS - whole.sum(-1, keepdim=True)  # from 0 to N - 1
    rank = (parts - whole).argsort(dim=-1, descending=True, stable=True)
    rank = rank.argsort(dim=-1, stable=True)
    codes = (whole + (rank < left)).long()
    above = torch.nn.functional.pad(codes[:, :-1], (0, 0, 1, 0))
    more = (codes - above).flatten()
    kept = torch.where(more < 0, -2 * more - 1, 2 * more)
    planes = torch.stack([kept % 256, kept // 256]).byte()
    return base64.b64encode(planes.numpy().tobytes()).decode()


def pale(image: torch.Tensor) -> torch.Tensor:
    """A square image in light grey, as bytes (1, side, side). Raises ValueError."""
    photo = require_photo(image, (1, 1))  # (3, H, W)
    height, width = photo.shape[1:]
    if height != width:
        raise ValueError(f"expected a square image, got {height} × {width} pixels")
    side = min(SIDE, height)
    grey = fade(1 - photo if photo.median() < 0.1 else photo)  # (H, W)
    return few_pixels(grey.unsqueeze(0), side, side)[:1]
