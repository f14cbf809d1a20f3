"""Figures of the course: the map of the encoder, plots, and figures that answer.

What needs matplotlib or anywidget is imported when it is first asked for.
"""

from importlib import import_module

from vit_encoder.figures.attention_drawing import attention_drawing
from vit_encoder.figures.colours import KEY, QUERY, VALUE, WRONG
from vit_encoder.figures.encoder_drawing import encoder_drawing
from vit_encoder.figures.encoder_map import encoder_map

_HOMES = {
    "AttentionExplorer": "self_attention",
    "show_attention": "photo",
    "show_parameters": "parameters",
    "show_reading": "reading",
    "show_tokens": "photo",
    "use_style": "style",
    "ATTENTION": "style",
}

__all__ = [
    "KEY",
    "QUERY",
    "VALUE",
    "WRONG",
    "attention_drawing",
    "encoder_drawing",
    "encoder_map",
    *_HOMES,
]


def __getattr__(name: str) -> object:
    """Find a name in its module, which is imported now."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
