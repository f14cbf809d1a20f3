"""A figure that answers: activation functions at a number, and dropout after GELU."""

import anywidget
import torch
import traitlets

from vit_encoder.figures.front_end import Between, follows, front_end

MOST = 200  # numbers that can be told apart on the axis


class ActivationExplorer(anywidget.AnyWidget):
    """ReLU, GELU, its two approximations and SiLU at a number; dropout after GELU.

    hidden: the reader's own numbers as they come to the activation, a floating tensor
    of any shape; of more than 200 it keeps 200, evenly spaced in the order of their
    size. None gives 65 from -4 to 4. at: the number to start at. p: of dropout, in
    [0, 0.9].

    `at`, `view` (values, slopes, differences), `magnify`, `shown`, `dropout`, `p` and
    `numbers` follow what the reader chooses. Raises ValueError or TypeError for other
    arguments. The tests hold values and slopes to within 1e-5 of PyTorch's.
    """

    _esm = front_end("activation_explorer.js")
    _css = front_end("activation_explorer.css")

    numbers = traitlets.List().tag(sync=True)
    at = traitlets.Float().tag(sync=True)
    view = traitlets.Unicode("values").tag(sync=True)
    magnify = traitlets.Int(1).tag(sync=True)
    shown = traitlets.List(["ReLU", "GELU", "SiLU"]).tag(sync=True)
    dropout = traitlets.Bool(False).tag(sync=True)
    p = traitlets.Float().tag(sync=True)
    _require = follows(
        at=Between(-1e6, 1e6),
        view=("values", "slopes", "differences"),
        magnify=(1, 10, 100, 1000),
        shown=frozenset(("ReLU", "GELU", "GELU (tanh)", "QuickGELU", "SiLU")),
        p=Between(0, 0.9),
    )

    def __init__(
        self, hidden: torch.Tensor | None = None, at: float = -1.0, p: float = 0.3
    ):
        for name, number in (("p", p), ("at", at)):
            if not isinstance(number, int | float):
                got = type(number).__name__
                raise TypeError(f"expected a number as {name}, got {got}")
        if not 0 <= p <= 0.9:
            raise ValueError(f"expected p in [0, 0.9], got {p}")
        if not -1e6 < at < 1e6:
            raise ValueError(f"expected a number to start at, got {at}")
        numbers = (
            torch.linspace(-4, 4, 65, device="cpu")
            if hidden is None
            else some_of(hidden)
        )
        super().__init__(numbers=numbers.tolist(), at=float(at), p=float(p))

    def __repr__(self) -> str:
        return f"ActivationExplorer({len(self.numbers)} numbers)"


def some_of(hidden: torch.Tensor) -> torch.Tensor:
    """At most 200 of the numbers, in the order of their size. Raises ValueError."""
    if not isinstance(hidden, torch.Tensor) or not hidden.is_floating_point():
        got = getattr(hidden, "dtype", type(hidden).__name__)
        raise ValueError(f"expected a floating tensor of hidden units, got {got}")
    numbers = hidden.detach().to("cpu", torch.float64).flatten().sort().values
    if not len(numbers) or not numbers.isfinite().all():
        what = "inf or nan" if len(numbers) else "no number"
        raise ValueError(f"expected finite hidden units, got {what}")
    kept = torch.linspace(
        0, len(numbers) - 1, min(MOST, len(numbers)), device="cpu"
    ).long()
    return numbers[kept]
