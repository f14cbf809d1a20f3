"""A plot of what the two branches of each block add, along a line of text."""

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from vit_encoder.figures.colours import WEIGHTS
from vit_encoder.figures.text_line import draw_text_line


def show_branches(
    image: torch.Tensor, attention: torch.Tensor, mlp: torch.Tensor
) -> Figure:
    """The line of text, and below it one panel a block: what its branches add.

    image: (H, W), grey values in [0, 1]. attention, mlp: (L, N), above 0: the size of
    what a branch adds to a token, divided by the token's size. N divides W. All panels
    have one logarithmic scale. Raises ValueError for other arguments.
    """
    if image.dim() != 2 or attention.dim() != 2 or attention.shape != mlp.shape:
        raise ValueError(
            "expected an image (H, W) and two tables (L, N), got shapes"
            f" {tuple(image.shape)}, {tuple(attention.shape)} and {tuple(mlp.shape)}"
        )
    depth, count = attention.shape
    if image.shape[1] % count:
        raise ValueError(f"expected N that divides {image.shape[1]}, got {count}")
    fig, (top, *axes) = plt.subplots(
        depth + 1, 1, figsize=(5.2, 0.7 + 1.5 * depth), sharex=True,
        height_ratios=[0.5, *[1] * depth],
    )  # fmt: skip
    draw_text_line(top, image, count)
    curves = (
        ("attention", attention, {"color": WEIGHTS, "marker": "."}),
        ("MLP", mlp, {"color": "#1a1a1a", "marker": ".", "linestyle": ":"}),
    )
    low = min(attention.min().item(), mlp.min().item())
    high = max(attention.max().item(), mlp.max().item())
    for i, ax in enumerate(axes):
        for name, shares, style in curves:
            ax.semilogy(
                shares[i].cpu().numpy(),
                label=name,
                linewidth=1.2,
                markersize=5,
                **style,
            )
        ax.axhline(1, color="gray", linewidth=0.8)
        ax.set_title(f"block {i}", loc="left")
        ax.set_ylim(low / 1.3, 1.3 * max(high, 1))
        ax.set_yticks([0.1, 1], ["10 %", "100 %"])
        ax.minorticks_off()
    axes[0].legend(ncols=2, loc="upper right", bbox_to_anchor=(1, 1.3))
    axes[-1].set_xlabel("token")
    fig.supylabel("size of the addition", fontsize=11)
    return fig
