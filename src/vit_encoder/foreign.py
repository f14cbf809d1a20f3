"""Weights as other people store them, for chapter 09. data/README.md says whence."""

from pathlib import Path

from torch import Tensor

_FOLDER = Path(__file__).parent / "data"
GARMENTS_FILE = _FOLDER / "garments.safetensors"
LIBRARIES_FILE = _FOLDER / "libraries.safetensors"
KNOWN = (0, 1, 3, 4, 7, 8)  # T-shirt, trousers, dress, coat, sneaker, bag
NEW = (2, 5, 6, 9)  # pullover, sandal, shirt, ankle boot
GARMENTS = {
    "image_size": 28,
    "patch_size": 4,
    "in_channels": 1,
    "num_classes": 6,
    "depth": 6,
    "dim": 48,
    "num_heads": 4,
    "mlp_dim": 96,
}


def library_weights(name: str) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """A small ViT with random weights, and what its library computes from an image.

    name: "timm", "torchvision", "transformers" or "jax". All tensors are float64.
    Returns the parameters under the library's names, an image (1, 3, 12, 12) and the
    logits (1, 7) that the library gave for it. "jax" are the arrays of an `.npz` file;
    their logits are those of timm, which reads such files, too.
    Source: studies/record_foreign_weights.py. Raises ValueError for another name.
    """
    from safetensors.torch import load_file

    stored = load_file(LIBRARIES_FILE)
    own = {
        key.removeprefix(f"{name}|"): value
        for key, value in stored.items()
        if key.startswith(f"{name}|")
    }
    if not own:
        known = ", ".join(sorted({k.partition("|")[0] for k in stored if "|" in k}))
        raise ValueError(f"expected one of {known}, got {name!r}")
    logits = own.pop("| logits")
    return own, stored["image"], logits
