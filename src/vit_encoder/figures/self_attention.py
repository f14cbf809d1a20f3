"""A figure that answers: touch a patch of a photograph and see where it attends."""

import base64
import io
import math

import anywidget
import numpy as np
import torch
import traitlets

from vit_encoder.figures.colours import RAMP
from vit_encoder.figures.front_end import follows, front_end
from vit_encoder.figures.inputs import (
    fade,
    require_grid,
    require_patch,
    require_photo,
    require_table,
)

DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
LEVELS = 64**2 - 1  # two digits a score
FARTHEST = 16  # a score that lies farther below the best has a weight under e^-16

LONGEST = 480  # pixels of the picture's longer side, enough for a phone


class AttentionExplorer(anywidget.AnyWidget):
    """Choose a query on a photograph; its attention weights are laid over the picture.

    photo: (C, H, W), C = 1 or 3, values in [0, 1]. grid: rows and columns of patches,
    N in all, numbered row by row. scores: for each label a tensor (N, N) of products
    q·k, not yet scaled. scale: for each label the number that its scores are multiplied
    by, such as 1/sqrt(D_h). query: row and column to start with. alt: what the photo
    shows, for those who cannot see it.

    `query`, `label` and `scaled` follow what the reader chooses. Raises ValueError or
    TypeError if the arguments do not fit together. Scores are rounded to 12 bits; the
    tests hold the weights shown to within 0.001 of the exact softmax.
    """

    _esm = front_end("self_attention.js")
    _css = front_end("self_attention.css")

    picture = traitlets.Unicode().tag(sync=True)  # a data URL
    alt = traitlets.Unicode().tag(sync=True)
    grid = traitlets.List().tag(sync=True)
    ramp = traitlets.List().tag(sync=True)
    gaps = traitlets.Dict().tag(sync=True)  # label → text, see `encode`
    reach = traitlets.Dict().tag(sync=True)  # label → the largest gap
    scale = traitlets.Dict().tag(sync=True)
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
        scores: dict[str, torch.Tensor],
        scale: dict[str, float],
        query: tuple[int, int] = (0, 0),
        alt: str = "a photograph",
    ):
        photo = require_photo(photo, grid)
        grid = require_grid(grid)
        scale = require_scale(scale, scores)
        tables = {
            label: encode(
                require_table(table, grid, f"scores of {label!r}"), scale[label]
            )
            for label, table in scores.items()
        }
        super().__init__(
            picture=data_url(photo),
            alt=alt,
            grid=list(grid),
            ramp=list(RAMP),
            gaps={label: text for label, (text, _) in tables.items()},
            reach={label: reach for label, (_, reach) in tables.items()},
            scale=scale,
            query=list(require_patch(query, grid)),
            labels=list(scores),  # in their order, which a stored table loses
            label=next(iter(scores)),
        )

    def __repr__(self) -> str:
        sets = "1 set" if len(self.gaps) == 1 else f"{len(self.gaps)} sets"
        patches = math.prod(self.grid)
        return f"AttentionExplorer({patches} patches, {sets} of scores)"


def require_scale(
    scale: dict[str, float], scores: dict[str, torch.Tensor]
) -> dict[str, float]:
    """A number above 0 for each label of the scores."""
    for name, labelled in (("scores", scores), ("scale", scale)):
        if not isinstance(labelled, dict) or not all(
            isinstance(k, str) for k in labelled
        ):
            got = [*labelled] if isinstance(labelled, dict) else type(labelled).__name__
            raise TypeError(
                f"expected {name} as a dict whose labels are texts, got {got}"
            )
    if not scores:
        raise ValueError("expected at least one set of scores, got none")
    if set(scale) != set(scores):
        raise ValueError(
            f"expected a scale for each of {sorted(scores)}, got {sorted(scale)}"
        )
    for label, factor in scale.items():
        if not isinstance(factor, int | float) or not 0 < factor < math.inf:
            raise ValueError(f"expected a scale above 0 for {label!r}, got {factor}")
    return {label: float(factor) for label, factor in scale.items()}


def encode(scores: torch.Tensor, scale: float) -> tuple[str, float]:
    """Scores as text, two digits each, and the number that turns it back.

    Only the gap below the best score of a row matters to a softmax. Its square root is
    rounded to 12 bits, so that small gaps, which carry the weight, are the most exact.
    """
    gaps = scores.max(dim=1, keepdim=True).values - scores  # (N, N)
    reach = min(gaps.max().item(), FARTHEST / min(scale, 1)) or 1.0
    codes = (gaps.clamp(max=reach) / reach).sqrt().mul(LEVELS).round().long().numpy()
    digits = np.frombuffer(DIGITS, np.uint8)
    return digits[np.stack([codes // 64, codes % 64], -1)].tobytes().decode(), reach


def data_url(photo: torch.Tensor) -> str:
    """The faded photo as a JPEG inside a URL."""
    from PIL import Image  # comes with matplotlib; only this figure needs it

    image = Image.fromarray((fade(photo) * 255).round().byte().numpy())
    image.thumbnail((LONGEST, LONGEST))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
