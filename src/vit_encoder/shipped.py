"""Pictures and weights that ship with the package, checked when they are read."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

FOLDER = Path(__file__).parent / "data"


def shipped_file(name: str) -> Path:
    """Where a file of the package's data is; it is just as it was published.

    Raises ValueError that names the file and the cure, if it is not there, damaged or
    another file.
    """
    file = FOLDER / name
    try:
        lines = (FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
        listed = [line.split() for line in lines if not line.startswith("#")]
        (wanted,) = [checksum for checksum, other in listed if other == name]
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        if found != wanted:
            raise ValueError(f"SHA-256 {wanted[:12]}… was expected, got {found[:12]}…")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"expected data of the course in {file}: {error}. "
            "Install the package vit_encoder again."
        ) from error
    return file


def shipped_weights(name: str) -> dict[str, Tensor]:
    """Name → tensor, on the CPU, of a file in the format safetensors.

    Raises ValueError, as `shipped_file` does.
    """
    from safetensors.torch import load_file

    return load_file(shipped_file(name))


def shipped_pixels(name: str) -> "np.ndarray":
    """The pixels of a picture: uint8 (H, W), or (H, W, C) where it has colours.

    Raises ValueError, as `shipped_file` does.
    """
    import numpy as np
    from PIL import Image

    with Image.open(shipped_file(name)) as picture:
        return np.array(picture)
