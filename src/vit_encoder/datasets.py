"""Labelled images to train on: Fashion-MNIST, a part that ships and the whole of it."""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vit_encoder.shipped import FOLDER, shipped_file, shipped_pixels

CLASSES = (
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
MEAN, STD = 0.2860, 0.3530
SUBSET = FOLDER / "fashion_mnist.png"
SUBSET_LABELS = FOLDER / "fashion_mnist_labels.npy"
SUBSET_SIZES = (4000, 1000, 1000)  # training, validation, test
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
TORCHVISION = Path("~/.cache/vit-encoder/FashionMNIST/raw").expanduser()
# SHA-256 of the content. Who compressed it is no matter.
CHECKSUMS = {
    "train-images-idx3-ubyte": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    ),
    "train-labels-idx1-ubyte": (
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
    ),
    "t10k-images-idx3-ubyte": (
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
    ),
    "t10k-labels-idx1-ubyte": (
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
    ),
}
KINDS = ("images-idx3-ubyte", "labels-idx1-ubyte")
CURE = (
    "On Debian and Ubuntu `apt-get install dataset-fashion-mnist` gets it; elsewhere "
    "`pip install torchvision` lets this function download it. fashion_mnist() with no "
    "`full` takes the part that ships with the course and needs neither."
)


@dataclass(frozen=True)
class LabelledImages:
    """Images with the class of each.

    images: uint8 (count, C, H, W). labels: int64 (count,). mean, std: float (C, 1, 1),
    of a value in [0, 1] over the training images; `normalized` uses them.
    """

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | Tensor) -> "LabelledImages":
        """Some of them, by a slice or by indices."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def to(self, device: torch.device | str) -> "LabelledImages":
        """The same on another device."""
        return LabelledImages(*(getattr(self, f.name).to(device) for f in fields(self)))

    def normalized(self) -> Tensor:
        """The images as float32 (count, C, H, W), with mean 0 and deviation 1 or so."""
        return (self.images / 255 - self.mean) / self.std

    def batches(self, size: int) -> Iterator["LabelledImages"]:
        """All of them in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]


class Splits(NamedTuple):
    """What to learn from, what to choose by, what to look at once; and their source."""

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    source: str


def fashion_mnist(full: bool = False, folder: Path | str | None = None) -> Splits:
    """Fashion-MNIST (Xiao et al. 2017): grey images 28 × 28 of clothes, 10 classes.

    full=False: 4000 images to train with, 1000 to validate, 1000 to test, which ship
    with the course. full=True: 50 000, 10 000 and 10 000, from Debian's package
    dataset-fashion-mnist, or as torchvision downloads them; from `folder`, if there is
    one. The validation images are the last of the published training images.
    Raises FileNotFoundError if there is no such data, ValueError if it is damaged; both
    say how to cure it.
    """
    if not full and folder is None:
        return _subset()
    if folder is not None:
        return _splits(Path(folder))
    damaged = None
    for candidate in (DEBIAN, TORCHVISION):
        if all((candidate / f"{name}.gz").exists() for name in CHECKSUMS):
            try:
                return _splits(candidate)
            except ValueError as error:
                damaged = damaged or error
    if damaged:
        raise damaged
    return _splits(_download())


def _splits(folder: Path) -> Splits:
    """All images of a folder. FileNotFoundError, ValueError."""
    images, labels = (_read(folder, f"train-{kind}") for kind in KINDS)
    return Splits(
        _labelled(images[:50_000], labels[:50_000]),
        _labelled(images[50_000:], labels[50_000:]),
        _labelled(*(_read(folder, f"t10k-{kind}") for kind in KINDS)),
        f"all of Fashion-MNIST, from {folder}",
    )


def _subset() -> Splits:
    """The part that ships: a picture with 100 images in a row, and their labels."""
    pixels = shipped_pixels(SUBSET.name)  # (rows · 28, 100 · 28)
    labels = np.load(shipped_file(SUBSET_LABELS.name))
    grid = torch.from_numpy(pixels).unflatten(0, (-1, 28)).unflatten(2, (-1, 28))
    images = grid.transpose(1, 2).flatten(0, 1).unsqueeze(1)  # (count, 1, 28, 28)
    labels = torch.from_numpy(labels).long()
    parts = zip(images.split(SUBSET_SIZES), labels.split(SUBSET_SIZES), strict=True)
    source = "the part of Fashion-MNIST that ships with the course"
    return Splits(*(_labelled(*part) for part in parts), source)


def _labelled(images: Tensor, labels: Tensor) -> LabelledImages:
    """Images with the statistics of all published training images."""
    mean, std = (torch.tensor(x).view(1, 1, 1) for x in (MEAN, STD))
    return LabelledImages(images, labels, mean, std)


def _download() -> Path:
    """The folder into which torchvision loads the files. FileNotFoundError."""
    try:
        from torchvision.datasets import FashionMNIST

        FashionMNIST(TORCHVISION.parents[1], download=True)
    except (ImportError, RuntimeError, OSError) as error:
        raise FileNotFoundError(
            f"expected Fashion-MNIST in {DEBIAN} or {TORCHVISION}, and it could not be "
            f"downloaded ({error}). {CURE}"
        ) from error
    return TORCHVISION


def _read(folder: Path, name: str) -> Tensor:
    """One file: images uint8 (count, 1, 28, 28), or labels int64 (count,)."""
    path = folder / f"{name}.gz"
    if not path.exists():
        raise FileNotFoundError(f"expected {path}, which is not there. {CURE}")
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"expected a gzip file in {path}: {error}. "
            f"Remove it and get it again. {CURE}"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != CHECKSUMS[name]:
        raise ValueError(
            f"expected {path} to hold what Zalando published (SHA-256 "
            f"{CHECKSUMS[name][:12]}…), got {found[:12]}…: it is damaged or another "
            f"file. Remove it and get it again. {CURE}"
        )
    if "labels" in name:
        return torch.from_numpy(
            np.frombuffer(content, np.uint8, offset=8).copy()
        ).long()
    pixels = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return torch.from_numpy(pixels.copy())
