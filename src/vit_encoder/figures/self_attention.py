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

MOST = 2**15 - 1  # the largest whole number that is kept
LONGEST = 480  # pixels of the picture's longer side, enough for a phone


class AttentionExplorer(anywidget.AnyWidget):
    """Choose a query on a photograph; its attention weights are laid over the picture.

    photo: (C, H, W), C = 1 or 3, values in [0, 1]. grid: rows and columns of patches,
    N in all, numbered row by row. queries, keys: for each label a tensor (N, D_h), not
    yet scaled; D_h may differ from label to label. query: row and column to start with.
    alt: what the photo shows, for those who cannot see it.

    `query`, `label` and `scaled` follow what the reader chooses. Raises ValueError or
    TypeError if the arguments do not fit together. Queries and keys are rounded to 16
    bits, and the rest is computed from them in float64. The tests hold the weights
    to within 1e-5 of PyTorch's for the rounded numbers, and to within 0.003 of those
    for the numbers given.
    """

    _esm = front_end("self_attention.js")
    _css = front_end("self_attention.css")

    picture = traitlets.Unicode().tag(sync=True)  # a data URL
    alt = traitlets.Unicode().tag(sync=True)
    grid = traitlets.List().tag(sync=True)
    ramp = traitlets.List().tag(sync=True)
    parts = traitlets.Dict().tag(sync=True)  # label → text; a page loads one at a time
    steps = traitlets.Dict().tag(sync=True)  # label → what the whole numbers count
    scale = traitlets.Dict().tag(sync=True)  # label → 1 / √D_h
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
    ):
        photo = require_photo(photo, grid)
        grid = require_grid(grid)
        pairs = require_pairs(queries, keys, math.prod(grid))
        kept = {label: encode(*pair) for label, pair in pairs.items()}
        super().__init__(
            picture=data_url(photo),
            alt=alt,
            grid=list(grid),
            ramp=list(RAMP),
            parts={label: text for label, (text, _) in kept.items()},
            steps={label: steps for label, (_, steps) in kept.items()},
            scale={label: q.shape[1] ** -0.5 for label, (q, _) in pairs.items()},
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


def encode(q: torch.Tensor, k: torch.Tensor) -> tuple[str, list[float]]:
    """Whole numbers of 16 bits as base64, queries before keys, and what they count.

    Keys that are the queries are kept once. Of vectors wider than N their coordinates
    in the space of the keys are kept, which have the same products, and half of which
    are 0 in the keys.
    """
    pair = (q,) if torch.equal(q, k) else (q, k)
    if q.shape[1] > len(q):
        axes, triangle = torch.linalg.qr(k.T)  # (D_h, N), (N, N)
        pair = (triangle.T,) if len(pair) == 1 else (q @ axes, triangle.T)
    steps = [x.abs().max().item() / MOST or 1.0 for x in pair]
    codes = [(x / step).round().short() for x, step in zip(pair, steps, strict=True)]
    content = torch.stack(codes).numpy().astype("<i2").tobytes()
    return base64.b64encode(content).decode(), steps


def data_url(photo: torch.Tensor) -> str:
    """The faded photo as a JPEG inside a URL."""
    from PIL import Image  # comes with matplotlib; only this figure needs it

    image = Image.fromarray((fade(photo) * 255).round().byte().numpy())
    image.thumbnail((LONGEST, LONGEST))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
