"""A figure that answers: tokens on a plane, dragged, and attention between them."""

import anywidget
import torch
import traitlets

from vit_encoder.figures.front_end import Between, follows, front_end
from vit_encoder.figures.inputs import require_numbers

MOST = 8  # tokens, and columns of W_Q and W_K, for which the figure has room
TOKENS = [[-1.5, 0.6], [-0.6, -1.2], [0.3, 1.3], [0.9, -0.4], [1.6, 0.8]]
# The first two columns leave a token as it is; the others are of normal numbers.
W_Q = [[1, 0, -0.2, 1.3, -1.5, 0.3, 0.9, -1.1], [0, 1, 1.4, 0.2, 0.6, -0.8, 1.2, 0.7]]
W_K = [[1, 0, 0.8, 0.4, -1.1, 1.6, 0.6, -0.5], [0, 1, 1.1, -0.9, 1.3, -0.4, 1.5, 0.2]]
W_V = [[1.0, 0.0], [0.0, 1.0]]
NUMBER = Between(-1000, 1000)


class TokensExplorer(anywidget.AnyWidget):
    """Drag tokens on a plane and change the projections; one head of attention answers.

    tokens: (N, 2), N from 1 to 8; None gives five. w_q, w_k: (2, D_h), D_h from 1 to 8,
    as in x @ w_q, and w_v: (2, 2), so that values and outputs lie on the plane as well.
    None leaves a token as it is. All numbers are in [-1000, 1000]. query: the token
    whose weights and output are drawn first; None takes the middle one.

    `tokens`, `w_q`, `w_k`, `w_v`, `width` (D_h), `scaled` and `query` follow what the
    reader chooses; w_q and w_k hold eight columns, of which the first D_h count. Raises
    ValueError or TypeError for other arguments. The tests hold weights, entropies and
    outputs to within 1e-5 of PyTorch's.
    """

    _esm = front_end("tokens_explorer.js")
    _css = front_end("tokens_explorer.css")

    tokens = traitlets.List().tag(sync=True)
    w_q = traitlets.List().tag(sync=True)
    w_k = traitlets.List().tag(sync=True)
    w_v = traitlets.List().tag(sync=True)
    width = traitlets.Int(2).tag(sync=True)
    scaled = traitlets.Bool(True).tag(sync=True)
    query = traitlets.Int(0).tag(sync=True)
    _require = follows(
        tokens=lambda self: [[NUMBER] * 2] * len(self.tokens),  # stay as many
        w_q=[[NUMBER] * MOST] * 2,
        w_k=[[NUMBER] * MOST] * 2,
        w_v=[[NUMBER] * 2] * 2,
        width=range(1, MOST + 1),
        query=lambda self: range(len(self.tokens)),
    )

    def __init__(
        self,
        tokens: torch.Tensor | None = None,
        w_q: torch.Tensor | None = None,
        w_k: torch.Tensor | None = None,
        w_v: torch.Tensor | None = None,
        query: int | None = None,
    ):
        if tokens is not None:
            tokens = require_numbers(tokens, "tokens", N=MOST, D=(2, 2))
        given = {"w_q": w_q, "w_k": w_k}
        given = {
            name: require_numbers(table, name, D=(2, 2), D_h=MOST)
            for name, table in given.items()
            if table is not None
        }
        widths = {name: len(table[0]) for name, table in given.items()}
        if len({*widths.values()}) > 1:
            raise ValueError(
                f"expected w_q and w_k of one width D_h, got {widths['w_q']} and"
                f" {widths['w_k']}"
            )
        if w_v is not None:
            w_v = require_numbers(w_v, "w_v", D=(2, 2), D_v=(2, 2))
        tokens = tokens or TOKENS
        query = len(tokens) // 2 if query is None else query
        if type(query) is not int or not 0 <= query < len(tokens):
            raise ValueError(
                f"expected a query from 0 to {len(tokens) - 1}, got {query}"
            )
        super().__init__(
            tokens=tokens,
            w_q=filled(given.get("w_q", []), W_Q),
            w_k=filled(given.get("w_k", []), W_K),
            w_v=w_v or W_V,
            width=max(widths.values(), default=2),
            query=query,
        )

    def __repr__(self) -> str:
        return f"TokensExplorer({len(self.tokens)} tokens, D_h = {self.width})"


def filled(rows: list[list[float]], others: list[list[float]]) -> list[list[float]]:
    """Rows of eight numbers: where they end, those of the others follow."""
    rows = rows or [[], []]
    return [row + other[len(row) :] for row, other in zip(rows, others, strict=True)]
