"""Weights that ship with the package, read with a clear error."""

from pathlib import Path

from torch import Tensor


def shipped_weights(file: Path) -> dict[str, Tensor]:
    """Name → tensor, on the CPU, of a file of the package in the format safetensors.

    Raises ValueError that names the file and the cure, if it is not there or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"expected weights of the course in {file}: {error}. "
            "Install the package vit_encoder again."
        ) from error
