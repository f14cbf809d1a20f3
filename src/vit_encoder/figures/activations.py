"""A plot of activation functions."""

from collections.abc import Callable

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from vit_encoder.figures.colours import HIDDEN

STYLES = (("-", HIDDEN), ("--", "black"), (":", "black"))


def show_activations(
    functions: dict[str, Callable[[torch.Tensor], torch.Tensor]], reach: float = 4
) -> Figure:
    """The curves of one to three functions.

    functions: name → a function of each number of a tensor; the first has the colour of
    hidden units. reach: x runs from -reach to reach. Raises ValueError for another
    number of functions.
    """
    if not 1 <= len(functions) <= len(STYLES):
        raise ValueError(f"expected 1 to {len(STYLES)} functions, got {len(functions)}")
    x = torch.linspace(-reach, reach, 801, device="cpu")
    fig, ax = plt.subplots(figsize=(5.2, 2.5))
    for (name, function), (style, colour) in zip(
        functions.items(), STYLES, strict=False
    ):
        ax.plot(x, function(x).detach(), style, color=colour, label=name)
    ax.set(xlabel="x", ylabel="value", ylim=(-0.5, 3))
    ax.legend()
    return fig
