"""A figure that answers: touch a patch of a photograph and see where it attends."""

import base64
import io
import math

import anywidget
import torch
import traitlets

from vit_encoder.figures.colours import RAMP
from vit_encoder.figures.front_end import follows, front_end
from vit_encoder.figures.inputs import (
    describe,
    fade,
    require_grid,
    require_patch,
    require_photo,
)

MOST = 2**14 - 1  # the largest whole number that is kept of queries and keys
MOST_OF_LAYER = 2**10 - 1  # of a layer, which has many numbers and is used less
LONGEST = 480  # pixels of the picture's longer side, enough for a phone


class AttentionExplorer(anywidget.AnyWidget):
    """Choose a query on a photograph; its attention weights are laid over the picture.

    photo: (C, H, W), C = 1 or 3, values in [0, 1]. grid: rows and columns of patches,
    N in all, numbered row by row. queries, keys: for each label a tensor (N, D_h), not
    yet scaled; D_h may differ from label to label. query: row and column to start with.
    alt: what the photo shows, for those who cannot see it.
    layers: for each label what makes queries and keys of a token, so that readers can
    look at an image of their own: `query.weight` (D_h, D), `query.bias` (D_h), and so
    for `key`, as in a state dict of `SelfAttention`; None if the tokens are both. A
    token is a patch (C, P, P) less the mean patch, divided by its root mean square.

    `query`, `label` and `scaled` follow what the reader chooses. Raises ValueError or
    TypeError if the arguments do not fit together. Queries and keys are rounded to 15
    bits, layers to 11, and the rest is computed from them in float64. The tests hold
    the weights to within 1e-5 of PyTorch's for the rounded numbers, and to within 0.003
    of those for the numbers given (0.005 on an image of the reader's own).
    """

    _esm = front_end("self_attention.js")
    _css = front_end("self_attention.css")

    picture = traitlets.Unicode().tag(sync=True)  # a data URL
    alt = traitlets.Unicode().tag(sync=True)
    grid = traitlets.List().tag(sync=True)
    ramp = traitlets.List().tag(sync=True)
    parts = traitlets.Dict().tag(sync=True)  # label → text
    steps = traitlets.Dict().tag(sync=True)  # label → what the whole numbers count
    scale = traitlets.Dict().tag(sync=True)  # label → 1 / √D_h
    layers = traitlets.Dict().tag(sync=True)  # label → text, "" where there is no layer
    layer_steps = traitlets.Dict().tag(sync=True)
    pixels = traitlets.List().tag(sync=True)  # height and width of an own image
    later = traitlets.Dict({"parts": "label", "layers": ""}).tag(sync=True)
    query = traitlets.List().tag(sync=True)
    labels = traitlets.List().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    scaled = traitlets.Bool(True).tag(sync=True)
    _require = follows(
        query=lambda self: [range(n) for n in self.grid],
        label=lambda self: tuple(self.labels),
    )

    def __init__(
        self,
        photo: torch.Tensor,
        grid: tuple[int, int],
        queries: dict[str, torch.Tensor],
        keys: dict[str, torch.Tensor],
        query: tuple[int, int] = (0, 0),
        alt: str = "a photograph",
        layers: dict[str, dict[str, torch.Tensor] | None] | None = None,
    ):
        photo = require_photo(photo, grid)
        grid = require_grid(grid)
        pairs = require_pairs(queries, keys, math.prod(grid))
        kept = {label: encode(*pair) for label, pair in pairs.items()}
        pixels = list(photo.shape[1:])
        ours = require_layers(layers, pairs, pixels, grid) if layers else {}
        own = {k: whole_numbers(x, MOST_OF_LAYER) for k, x in ours.items()}
        super().__init__(
            picture=data_url(photo),
            alt=alt,
            grid=list(grid),
            ramp=list(RAMP),
            parts={label: text for label, (text, _) in kept.items()},
            steps={label: steps for label, (_, steps) in kept.items()},
            scale={label: q.shape[1] ** -0.5 for label, (q, _) in pairs.items()},
            layers={label: text for label, (text, _) in own.items()},
            layer_steps={label: steps for label, (_, steps) in own.items()},
            pixels=pixels,
            query=list(require_patch(query, grid)),
            labels=list(pairs),  # in their order, which a stored table loses
            label=next(iter(pairs)),
        )

    def __repr__(self) -> str:
        sets = "1 set" if len(self.parts) == 1 else f"{len(self.parts)} sets"
        patches = math.prod(self.grid)
        return f"AttentionExplorer({patches} patches, {sets} of queries and keys)"


def require_pairs(
    queries: dict[str, torch.Tensor], keys: dict[str, torch.Tensor], n: int
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Queries and keys of each label, (n, D_h) each, as float64 on the CPU."""
    for name, labelled in (("queries", queries), ("keys", keys)):
        if not isinstance(labelled, dict) or not all(
            isinstance(k, str) for k in labelled
        ):
            got = [*labelled] if isinstance(labelled, dict) else type(labelled).__name__
            raise TypeError(
                f"expected {name} as a dict whose labels are texts, got {got}"
            )
    if not queries:
        raise ValueError("expected at least one set of queries, got none")
    if set(keys) != set(queries):
        raise ValueError(
            f"expected keys for each of {sorted(queries)}, got {sorted(keys)}"
        )
    pairs = {
        label: (
            require_vectors(queries[label], n, f"queries of {label!r}"),
            require_vectors(keys[label], n, f"keys of {label!r}"),
        )
        for label in queries
    }
    for label, (q, k) in pairs.items():
        if q.shape != k.shape:
            raise ValueError(
                f"expected keys of {label!r} {tuple(q.shape)} as the queries, got"
                f" {describe(k.shape)}"
            )
    return pairs


def require_vectors(vectors: torch.Tensor, n: int, name: str) -> torch.Tensor:
    """A vector for each of n patches, (n, D_h), as float64 on the CPU."""
    if (
        not isinstance(vectors, torch.Tensor)
        or vectors.dim() != 2
        or len(vectors) != n
        or not vectors.shape[1]
    ):
        got = getattr(vectors, "shape", type(vectors).__name__)
        raise ValueError(
            f"expected {name} ({n}, D_h) for {n} patches, got {describe(got)}"
        )
    vectors = vectors.detach().to("cpu", torch.float64)
    if not vectors.isfinite().all():
        raise ValueError(f"expected finite {name}, got inf or nan")
    return vectors


def require_layers(
    layers: dict[str, dict[str, torch.Tensor] | None],
    pairs: dict[str, tuple[torch.Tensor, torch.Tensor]],
    pixels: list[int],
    grid: tuple[int, int],
) -> dict[str, tuple[torch.Tensor, ...]]:
    """The maps from a token and a 1 to queries and keys, (D_h, D + 1) each, or none."""
    high, wide = (size // count for size, count in zip(pixels, grid, strict=True))
    if high != wide:
        raise ValueError(f"expected square patches for layers, got {high} × {wide}")
    if set(layers) != set(pairs):
        raise ValueError(
            f"expected layers for each of {sorted(pairs)}, got {sorted(layers)}"
        )
    found = {}
    for label, parameters in layers.items():
        width = pairs[label][0].shape[1]
        wanted = 3 * high * wide
        if parameters is None:
            if width != wanted:
                raise ValueError(
                    f"expected queries of {label!r} as wide as a patch, {wanted}, where"
                    f" there is no layer, got {width}"
                )
            found[label] = ()
            continue
        sizes = {"weight": (width, wanted), "bias": (width,)}
        maps = []
        for name in ("query", "key"):
            both = []
            for part, size in sizes.items():
                given = parameters.get(f"{name}.{part}")
                got = getattr(given, "shape", type(given).__name__)
                if got != size:
                    raise ValueError(
                        f"expected {name}.{part} {size} in the layer of {label!r}, got"
                        f" {describe(got)}"
                    )
                both.append(given.detach().to("cpu", torch.float64).view(width, -1))
            maps.append(torch.cat(both, dim=1))  # (D_h, D + 1)
        if not all(x.isfinite().all() for x in maps):
            raise ValueError(f"expected a finite layer of {label!r}, got inf or nan")
        found[label] = tuple(maps)
    return found


def encode(q: torch.Tensor, k: torch.Tensor) -> tuple[str, list[float]]:
    """Queries before keys as `whole_numbers`.

    Keys that are the queries are kept once. Of vectors wider than N their coordinates
    in the space of the keys are kept, which have the same products, and half of which
    are 0 in the keys.
    """
    pair = (q,) if torch.equal(q, k) else (q, k)
    if q.shape[1] > len(q):
        axes, triangle = torch.linalg.qr(k.T)  # (D_h, N), (N, N)
        pair = (triangle.T,) if len(pair) == 1 else (q @ axes, triangle.T)
    return whole_numbers(pair, MOST)


def whole_numbers(
    tensors: tuple[torch.Tensor, ...], most: int
) -> tuple[str, list[float]]:
    """Tensors of one shape as whole numbers in base64, and what 1 stands for in each.

    A number x is written as 2 x, and as -2 x - 1 if it is negative, the low bytes of
    all before the high ones, few of which are large: they pack well.
    """
    if not tensors:
        return "", []
    steps = [x.abs().max().item() / most or 1.0 for x in tensors]
    codes = [(x / step).round().long() for x, step in zip(tensors, steps, strict=True)]
    numbers = torch.stack(codes).flatten()
    kept = torch.where(numbers < 0, -2 * numbers - 1, 2 * numbers)
    planes = torch.stack([kept % 256, kept // 256]).byte()
    return base64.b64encode(planes.numpy().tobytes()).decode(), steps


def data_url(photo: torch.Tensor) -> str:
    """The faded photo as a JPEG inside a URL."""
    from PIL import Image  # comes with matplotlib; only this figure needs it

    image = Image.fromarray((fade(photo) * 255).round().byte().numpy())
    image.thumbnail((LONGEST, LONGEST))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
