"""A plot of activation functions and their slopes."""

from collections.abc import Callable

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from vit_encoder.figures.colours import HIDDEN

STYLES = (("-", HIDDEN), ("--", "black"), (":", "black"))


def show_activations(
    functions: dict[str, Callable[[torch.Tensor], torch.Tensor]],
    reach: float = 4,
    *,
    slopes: bool = True,
) -> Figure:
    """The curves of one to three functions, and below them their slopes if wanted.

    functions: name → a function of each number of a tensor; the first has the colour of
    hidden units. reach: x runs from -reach to reach. Raises ValueError for another
    number of functions.
    """
    if not 1 <= len(functions) <= len(STYLES):
        raise ValueError(f"expected 1 to {len(STYLES)} functions, got {len(functions)}")
    x = torch.linspace(-reach, reach, 801, device="cpu").requires_grad_()
    rows = 1 + slopes
    fig, axes = plt.subplots(
        rows, 1, figsize=(5.2, 2.5 * rows), sharex=True, squeeze=False
    )
    above, below = axes[0, 0], axes[-1, 0]
    for (name, function), (style, colour) in zip(
        functions.items(), STYLES, strict=False
    ):
        y = function(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
        above.plot(x.detach(), y.detach(), style, color=colour, label=name)
        if slopes:
            below.plot(x.detach(), slope, style, color=colour)
    above.set(ylabel="value", ylim=(-0.5, 3))
    below.set(xlabel="x")
    if slopes:
        below.set(ylabel="slope")
    above.legend()
    return fig
