"""A line of text in a plot, and what the heads attend to along it."""

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vit_encoder.figures.colours import QUERY
from vit_encoder.figures.inputs import fade
from vit_encoder.figures.style import ATTENTION


def draw_text_line(ax: Axes, image: torch.Tensor, count: int) -> None:
    """Draw the line of text so that token n has its middle at x = n.

    image: (H, W), grey values in [0, 1]. count: N, the number of tokens.
    """
    ax.imshow(
        image.cpu().numpy(), cmap="gray", vmin=0, vmax=1, aspect="auto",
        extent=(-0.5, count - 0.5, 1, 0),
    )  # fmt: skip
    ax.set_axis_off()


def show_heads(image: torch.Tensor, weights: torch.Tensor, query: int) -> Figure:
    """One strip a head: the attention weights of a query, laid over the line of text.

    image: (H, W), grey values in [0, 1]. weights: (h, N, N), N divides W; token n
    stands for W / N columns of pixels. query: a token, outlined in blue. Each strip has
    its own scale, up to its largest weight, which stands beside it. Raises ValueError
    for other arguments.
    """
    count = weights.shape[-1]
    if image.dim() != 2 or weights.dim() != 3 or image.shape[1] % count:
        raise ValueError(
            "expected an image (H, W) and weights (h, N, N) with N that divides W, got"
            f" shapes {tuple(image.shape)} and {tuple(weights.shape)}"
        )
    if not 0 <= query < count:
        raise ValueError(f"expected a query from 0 to {count - 1}, got {query}")
    height, width = image.shape
    grey = fade(image.cpu().expand(3, height, width))  # (H, W)
    step = width // count
    rows = weights[:, query].detach().cpu()  # (h, N)
    fig, axes = plt.subplots(len(rows), 1, figsize=(5.2, 0.52 * len(rows)))
    for head, (ax, row) in enumerate(zip(axes.flat, rows, strict=True)):
        colours = torch.from_numpy(ATTENTION((row / row.max()).numpy())[:, :3])
        colours = colours.repeat_interleave(step, 0)  # (W, 3)
        ax.imshow((grey[..., None] * colours).numpy(), aspect="auto")
        for colour, line in (("white", 3), (QUERY, 1.8)):
            style = {"color": colour, "linewidth": line, "fill": False}
            corner = (query * step - 0.5, -0.5)
            ax.add_patch(Rectangle(corner, step, height, clip_on=False, **style))
        ax.set_axis_off()
        for x, words, side in (
            (-0.01, f"head {head}", "right"),
            (1.01, f"{row.max():.2f}", "left"),
        ):
            ax.text(
                x, 0.5, words, transform=ax.transAxes, ha=side, va="center", size=10
            )
    return fig
