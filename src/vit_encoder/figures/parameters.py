"""A plot of where an encoder's parameters are, drawn to scale."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from vit_encoder.encoder import Encoder
from vit_encoder.encoder_block import EncoderBlock
from vit_encoder.figures.colours import KEY, QUERY, VALUE

PARTS = {  # part → colour, hatching; in the order of the data, from below
    "query": (QUERY, ""),
    "key": (KEY, ""),
    "value": (VALUE, ""),
    "output": ("#8c8c8c", ""),
    "MLP, in": ("#d9d9d9", "///"),
    "MLP, out": ("#bdbdbd", "\\\\\\"),
}
REST = "#444444"


def show_parameters(encoder: Encoder, others: dict[str, int]) -> Figure:
    """One column a block, one for the rest; areas are numbers of parameters.

    encoder: its blocks have one size; it may lie on the meta device. others: how many
    parameters the model has elsewhere, by name. LayerNorms are too thin to be seen.
    """
    parts = parts_of_block(encoder.blocks[0])
    width = sum(parts.values())
    fig, ax = plt.subplots(figsize=(5.2, 3.4))
    for i in range(len(encoder.blocks)):
        bottom = 0.0
        for name, (colour, hatch) in PARTS.items():
            share = parts[name] / width
            ax.bar(
                i * width, share, width, bottom, align="edge", color=colour,
                hatch=hatch, edgecolor="white", linewidth=0.8,
            )  # fmt: skip
            bottom += share
    end = len(encoder.blocks) * width
    total = end + sum(others.values())
    ax.bar(end, 1, total - end, align="edge", color=REST, edgecolor="white")
    middles = [(i + 0.5) * width for i in range(len(encoder.blocks))]
    ax.set_xticks(middles, [str(i + 1) for i in range(len(middles))])
    ax.set(xlim=(0, total), ylim=(0, 1), xlabel="block")
    ax.set_yticks(*labels(parts, width))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.annotate(
        f"the rest: {', '.join(others)}", ((end + total) / 2, 1),
        xytext=(0, 14), textcoords="offset points", ha="right", size=10,
        arrowprops={"arrowstyle": "-|>", "color": REST},
    )  # fmt: skip
    return fig


def labels(parts: dict[str, int], width: int) -> tuple[list[float], list[str]]:
    """The middle of each band and its name with its share of a block."""
    middles, names, bottom = [], [], 0.0
    for name in PARTS:
        share = parts[name] / width
        middles.append(bottom + share / 2)
        names.append(f"{name} {share:.0%}")
        bottom += share
    return middles, names


def parts_of_block(block: EncoderBlock) -> dict[str, int]:
    """The number of parameters of each part of a block."""
    counts = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in block.named_modules()
    }
    third = counts["attn.qkv"] // 3
    return {
        "query": third,
        "key": third,
        "value": third,
        "output": counts["attn.proj"],
        "MLP, in": counts["mlp.fc1"],
        "MLP, out": counts["mlp.fc2"],
        "LayerNorms": counts["norm1"] + counts["norm2"],
    }
