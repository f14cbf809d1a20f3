"""A figure that answers: which numbers of a block are normalized together."""

import math
from operator import index

import anywidget
import torch
import traitlets

from vit_encoder.figures.front_end import Between, follows, front_end, is_number
from vit_encoder.figures.inputs import require_numbers

SIZES = {"B": 4, "N": 6, "D": (2, 6)}  # for which the figure has room
NUMBER = Between(-1000, 1000)
X = [  # (2, 4, 3): two images, four tokens, three features
    [[1.9, 0.2, -0.7], [0.4, 1.6, -1.2], [-0.9, 0.8, 2.1], [1.2, -1.4, 0.5]],
    [[-0.3, -1.6, 1.1], [2.2, 1.0, -0.2], [0.1, 1.3, 1.8], [-1.1, 0.6, -0.4]],
]


class NormExplorer(anywidget.AnyWidget):
    """Paint which numbers share a mean and a variance, poke one, move gain and bias.

    x: (B, N, D), images, tokens and features, with B up to 4, N up to 6, two tokens at
    least, and D from 2 to 6; None gives (2, 4, 3). weight: γ (D,), None gives ones.
    bias: β (D,), None gives zeros. eps: ε in (0, 1]. All numbers are in [-1000, 1000].
    poke: image, token and feature of the number that is changed first. With D = 3
    tokens and outputs are drawn in space as well.

    A painted set that runs along whole axes stands for a norm: all the block is cut
    into such sets. Of any other set the numbers are normalized together, and the rest
    stays as it is. γ and β belong to a feature, for every norm.

    `norm` (LayerNorm, BatchNorm, image or own), `painted` (places of the reader's own
    set, in reading order), `poke`, `added`, `weight`, `bias`, `shown`, `touch` and
    `view` follow what the reader chooses. Raises ValueError or TypeError for other
    arguments. The tests hold outputs to within 1e-5 of PyTorch's.
    """

    _esm = front_end("norm_explorer.js")
    _css = front_end("norm_explorer.css")

    x = traitlets.List().tag(sync=True)
    weight = traitlets.List().tag(sync=True)
    bias = traitlets.List().tag(sync=True)
    eps = traitlets.Float().tag(sync=True)
    norm = traitlets.Unicode("LayerNorm").tag(sync=True)
    painted = traitlets.List().tag(sync=True)
    poke = traitlets.List().tag(sync=True)
    added = traitlets.Float(2.0).tag(sync=True)  # to the poked number
    shown = traitlets.Unicode("y").tag(sync=True)  # or "x", or "normalized"
    touch = traitlets.Unicode("poke").tag(sync=True)  # or "paint"
    view = traitlets.List([-28, 24]).tag(sync=True)  # degrees: turned, tilted
    _require = follows(
        norm=("LayerNorm", "BatchNorm", "image", "own"),
        painted=lambda self: frozenset(range(math.prod(self.sizes))),
        poke=lambda self: [range(n) for n in self.sizes],
        added=NUMBER,
        weight=lambda self: [NUMBER] * self.sizes[2],
        bias=lambda self: [NUMBER] * self.sizes[2],
        shown=("y", "x", "normalized"),
        touch=("poke", "paint"),
        view=[Between(-math.inf, math.inf), Between(-90, 90)],
    )

    def __init__(
        self,
        x: torch.Tensor | None = None,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        eps: float = 1e-6,
        poke: tuple[int, int, int] = (0, 0, 0),
    ):
        x = X if x is None else require_numbers(x, "x", **SIZES)
        sizes = len(x), len(x[0]), len(x[0][0])
        D = sizes[2]
        given = {"weight": weight, "bias": bias}
        for name, start in (("weight", 1.0), ("bias", 0.0)):
            if given[name] is None:
                given[name] = [start] * D
            else:
                given[name] = require_numbers(given[name], name, D=(D, D))
        if sizes[0] * sizes[1] == 1:
            raise ValueError(f"expected at least two tokens in x, got shape {sizes}")
        if not is_number(eps) or not 0 < eps <= 1:
            raise ValueError(f"expected eps in (0, 1], got {eps}")
        try:
            inside = [0 <= index(i) < n for i, n in zip(poke, sizes, strict=True)]
        except (TypeError, ValueError):  # no numbers, no whole ones, or not three
            inside = [False]
        if not all(inside):
            where = " × ".join(map(str, sizes))
            raise ValueError(
                f"expected a poke (image, token, feature) inside {where}, got {poke}"
            )
        super().__init__(x=x, eps=float(eps), poke=[index(i) for i in poke], **given)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """B, N, D."""
        return len(self.x), len(self.x[0]), len(self.x[0][0])

    def __repr__(self) -> str:
        return f"NormExplorer({' × '.join(map(str, self.sizes))} numbers)"
