"""Cut out the part of Fashion-MNIST that ships with the course.

    python studies/fashion_mnist_subset.py

needs the whole of it (`fashion_mnist(full=True)` says where it looks) and writes
src/vit_encoder/data/fashion_mnist.png and fashion_mnist_labels.npy: the first 5000
training images and the first 1000 test images, 100 in a row.
"""

import numpy as np
import torch
from PIL import Image

from vit_encoder.datasets import SUBSET, SUBSET_LABELS, SUBSET_SIZES, fashion_mnist


def main() -> None:
    """Write the picture and the labels."""
    splits = fashion_mnist(full=True)
    *learned, tested = SUBSET_SIZES
    parts = splits.train[: sum(learned)], splits.test[:tested]
    images = torch.cat([part.images for part in parts])  # (count, 1, 28, 28)
    grid = images.reshape(-1, 100, 28, 28).transpose(1, 2).reshape(-1, 2800)
    Image.fromarray(grid.numpy()).save(SUBSET, optimize=True)
    labels = torch.cat([part.labels for part in parts]).numpy().astype(np.uint8)
    np.save(SUBSET_LABELS, labels)


if __name__ == "__main__":
    main()
