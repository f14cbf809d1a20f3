"""A student's encoder with trained weights, as a cell of the capstone wants it.

Nothing here tells what is right: marking shows this module to the code of students.
"""

from functools import cache

import torch
from torch import Tensor, nn

from vit_encoder.check.hearing.data import Form
from vit_encoder.check.hearing.parameters import ALIASES, FUSED, find_places
from vit_encoder.data import text_encoder_weights, text_line

TRAINED = {"depth": 2, "dim": 120, "num_heads": 8, "mlp_dim": 240}
FORM = Form(("output",), is_class=True, fused=FUSED, aliases=ALIASES)
weights = cache(text_encoder_weights)
line = cache(text_line)


def split(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with query, key and value apart."""
    parts = {}
    for name, value in state.items():
        if "qkv" in name:
            names = (name.replace("qkv", p) for p in ("query", "key", "value"))
            parts |= dict(zip(names, value.chunk(3), strict=True))
        else:
            parts[name] = value
    return parts


def trained(answer: type[nn.Module]) -> nn.Module:
    """A student's class, built for the line of text and filled with trained weights.

    The weights go where the class holds them, as in the check: joined or apart, square
    matrices the way round that agrees with the record.
    """
    for turn in (False, True):
        encoder = answer(*TRAINED.values()).eval()
        values = split(weights())
        places = find_places(encoder, values, FORM, turn)
        for name, place in places.items():
            place.put(values[name])
        with torch.no_grad():
            output = encoder(line()["tokens"])
        if output.allclose(line()["encoder"], rtol=1e-4, atol=1e-4):
            break
    return encoder
