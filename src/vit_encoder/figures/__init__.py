"""Figures of the course: the map of the encoder, plots, and figures that answer.

What needs matplotlib or anywidget is imported when it is first asked for.
"""

from importlib import import_module

from vit_encoder.figures.attention_drawing import attention_drawing
from vit_encoder.figures.block_drawing import block_drawing, norm_places_drawing
from vit_encoder.figures.colours import HIDDEN, KEY, QUERY, TOGETHER, VALUE, WRONG
from vit_encoder.figures.encoder_drawing import encoder_drawing
from vit_encoder.figures.encoder_map import encoder_map
from vit_encoder.figures.layer_norm_drawing import layer_norm_drawing
from vit_encoder.figures.mlp_drawing import mlp_drawing
from vit_encoder.figures.multi_head_drawing import multi_head_drawing
from vit_encoder.figures.norm_axes_drawing import norm_axes_drawing
from vit_encoder.figures.patches_drawing import patches_drawing
from vit_encoder.figures.reshape_drawing import reshape_drawing

_HOMES = {
    "ATTENTION": "style",
    "AttentionExplorer": "self_attention",
    "show_attention": "photo",
    "show_branches": "branches",
    "show_changes": "norms",
    "show_heads": "text_line",
    "show_images": "patch_plots",
    "show_line_bars": "line_bars",
    "show_parameters": "parameters",
    "show_parts": "patch_plots",
    "show_patch_sizes": "patch_plots",
    "show_photos": "norms",
    "show_reading": "reading",
    "show_reads": "heads",
    "show_split": "heads",
    "show_tokens": "photo",
    "use_style": "style",
}

__all__ = [
    "HIDDEN",
    "KEY",
    "QUERY",
    "TOGETHER",
    "VALUE",
    "WRONG",
    "attention_drawing",
    "block_drawing",
    "encoder_drawing",
    "encoder_map",
    "layer_norm_drawing",
    "mlp_drawing",
    "multi_head_drawing",
    "norm_axes_drawing",
    "norm_places_drawing",
    "patches_drawing",
    "reshape_drawing",
    *_HOMES,
]


def __getattr__(name: str) -> object:
    """Find a name in its module, which is imported now."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
