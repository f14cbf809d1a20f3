"""Pickles for the sandbox, which has no module of the checks to look things up in.

They go into the sandbox only. What comes out of it is never unpickled.
"""

import functools
import io
import sys

import cloudpickle
import torch
from torch import Tensor

SHOWN = "vit_encoder.check.hearing"  # what the sandbox shows of the checks


class Pickler(cloudpickle.Pickler):
    """Takes functions of the checks along as code, and kept results as functions."""

    def reducer_override(self, thing: object) -> object:
        """How to pickle what cloudpickle looks up by name, or torch reads slowly."""
        if hasattr(thing, "cache_info"):
            return functools.cache, (thing.__wrapped__,)
        if type(thing) is Tensor and is_plain_array(thing):
            return torch.from_numpy, (thing.numpy(),)
        return super().reducer_override(thing)


def is_plain_array(tensor: Tensor) -> bool:
    """Numbers and nothing else, so that numpy can take them along."""
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    return (
        plain
        and tensor.dtype != torch.bfloat16  # numpy has none
        and not tensor.requires_grad
        and not tensor.is_conj()
        and not tensor.is_neg()
        and tensor.is_contiguous()
    )


def by_value(thing: object) -> bytes:
    """A pickle that needs nothing of the checks but what the sandbox shows."""
    modules = [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith("vit_encoder.check.") and not name.startswith(SHOWN)
    ]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        file = io.BytesIO()
        Pickler(file).dump(thing)
        return file.getvalue()
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
