"""A plot of stacked blocks: what their branches add."""

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from vit_encoder.figures.colours import SERIES


def show_branches(shares: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> Figure:
    """One panel a stack of blocks: how much its two branches add to the stream.

    shares: name of the stack → attention (L,), MLP (L,), both above 0: the size of what
    a branch adds to a token, divided by the token's size. All panels have one
    logarithmic scale. Raises ValueError for other arguments.
    """
    for name, (attention, mlp) in shares.items():
        if attention.dim() != 1 or attention.shape != mlp.shape:
            raise ValueError(
                f"expected two rows (L,) for {name!r}, got shapes"
                f" {tuple(attention.shape)} and {tuple(mlp.shape)}"
            )
    fig, axes = plt.subplots(
        1, len(shares), figsize=(5.2, 2.8), sharey=True, squeeze=False
    )
    values = torch.cat([row for pair in shares.values() for row in pair])
    low, high = values.min().item(), values.max().item()
    for ax, (name, (attention, mlp)) in zip(axes[0], shares.items(), strict=True):
        number = range(1, len(attention) + 1)
        ax.semilogy(
            number, attention.cpu().numpy(), "o-", color=SERIES[0], label="attention"
        )
        ax.semilogy(number, mlp.cpu().numpy(), "s:", color=SERIES[1], label="MLP")
        ax.axhline(1, color="gray", linewidth=0.8)
        ax.set(title=name, xlabel="block", xticks=number)
        ax.set_ylim(min(0.1, low / 1.2), 1.2 * max(high, 1))
        ax.set_yticks([0.1, 0.2, 0.5, 1], ["10 %", "20 %", "50 %", "100 %"])
        ax.minorticks_off()
    axes[0, 0].set_ylabel("size of the addition")
    axes[0, -1].legend()
    return fig
