"""Fashion-MNIST: what ships, what is found, and what is said where it is damaged."""

import gzip
import hashlib
import shutil
import sys
import types

import numpy as np
import pytest
import torch

from vit_encoder import datasets
from vit_encoder.datasets import CLASSES, LabelledImages, fashion_mnist


def test_the_part_that_ships_has_three_splits():
    splits = fashion_mnist()
    for part, count in zip(splits[:3], (4000, 1000, 1000), strict=True):
        assert part.images.shape == (count, 1, 28, 28)
        assert part.images.dtype == torch.uint8
        assert part.labels.shape == (count,)
        assert part.labels.dtype == torch.int64
        assert len(part) == count
        assert torch.bincount(part.labels, minlength=10).min() > 0.07 * count
    assert "ships with the course" in splits.source
    assert len(CLASSES) == 10


def test_the_part_that_ships_is_that_of_zalando():
    # As the published files begin: an ankle boot, then a T-shirt.
    splits = fashion_mnist()
    assert [CLASSES[k] for k in splits.train.labels[:4]] == [
        "ankle boot", "T-shirt", "T-shirt", "dress"
    ]  # fmt: skip
    assert splits.train.images[0].sum() == 76247


def test_no_image_is_in_two_splits():
    splits = fashion_mnist()
    seen = [
        {hashlib.sha256(i.numpy().tobytes()).digest() for i in part.images}
        for part in splits[:3]
    ]
    assert not seen[0] & seen[1]
    assert not (seen[0] | seen[1]) & seen[2]


def test_normalized_images_have_mean_0_and_deviation_1_or_so():
    images = fashion_mnist().train.normalized()
    assert images.dtype == torch.float32
    assert abs(images.mean()) < 0.02
    assert abs(images.std() - 1) < 0.02


def test_batches_give_all_in_order_and_slices_keep_labels_at_their_images():
    images = torch.arange(7, dtype=torch.uint8).view(7, 1, 1, 1).expand(7, 3, 2, 2)
    data = LabelledImages(
        images, torch.arange(7), torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
    )
    batches = list(data.batches(3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert torch.cat([batch.labels for batch in batches]).tolist() == [*range(7)]
    some = data[torch.tensor([5, 0])]
    assert some.images[:, 0, 0, 0].tolist() == some.labels.tolist() == [5, 0]
    assert data.to("cpu").labels.tolist() == data.labels.tolist()


def write(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder in the published form, each image of one grey; and its checksums."""
    folder, sums = tmp_path_factory.mktemp("published"), {}
    for split, count in (("train", 60_000), ("t10k", 10_000)):
        greys, classes = (np.arange(count) % n for n in (251, 10))
        for kind, header, numbers in (
            ("images-idx3-ubyte", 16, np.repeat(greys, 784)),
            ("labels-idx1-ubyte", 8, classes),
        ):
            content = bytes(header) + numbers.astype(np.uint8).tobytes()
            write(folder, f"{split}-{kind}", content)
            sums[f"{split}-{kind}"] = hashlib.sha256(content).hexdigest()
    return folder, sums


@pytest.fixture
def files(published, tmp_path, monkeypatch):
    """A copy of that folder, which a test may spoil."""
    folder, sums = published
    monkeypatch.setattr(datasets, "CHECKSUMS", sums)
    return shutil.copytree(folder, tmp_path / "raw")


def test_all_of_it_is_read_and_split(files):
    splits = fashion_mnist(full=True, folder=files)
    sizes = [len(part) for part in splits[:3]]
    assert sizes == [50_000, 10_000, 10_000]
    assert splits.validation.labels[:3].tolist() == [0, 1, 2]
    assert (splits.validation.images[1] == 50_001 % 251).all()
    assert (splits.test.images[3] == 3).all()
    assert str(files) in splits.source


def test_debian_s_package_is_found_first(files, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "DEBIAN", files)
    monkeypatch.setattr(datasets, "TORCHVISION", tmp_path / "none")
    assert str(files) in fashion_mnist(full=True).source


def test_torchvision_downloads_where_there_is_none(files, monkeypatch, tmp_path):
    target = tmp_path / "cache" / "FashionMNIST" / "raw"

    def download(root, download):
        assert download
        (root / "FashionMNIST").mkdir(parents=True)
        files.rename(root / "FashionMNIST" / "raw")

    module = types.SimpleNamespace(FashionMNIST=download)
    monkeypatch.setitem(sys.modules, "torchvision", types.SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    monkeypatch.setattr(datasets, "DEBIAN", tmp_path / "none")
    monkeypatch.setattr(datasets, "TORCHVISION", target)
    assert str(target) in fashion_mnist(full=True).source


@pytest.mark.parametrize(
    "error", [ImportError("no torchvision"), RuntimeError("offline")]
)
def test_missing_data_is_asked_for_with_the_cure(monkeypatch, tmp_path, error):
    def download(root, download):
        raise error

    module = types.SimpleNamespace(FashionMNIST=download)
    monkeypatch.setitem(sys.modules, "torchvision", types.SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    monkeypatch.setattr(datasets, "DEBIAN", tmp_path / "a")
    monkeypatch.setattr(datasets, "TORCHVISION", tmp_path / "b" / "c" / "raw")
    with pytest.raises(FileNotFoundError, match=rf"({error}).*apt-get install dataset"):
        fashion_mnist(full=True)


def test_a_missing_file_is_named(files):
    (files / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"expected .*t10k-labels-idx1-ubyte\.gz"
    ):
        fashion_mnist(full=True, folder=files)


@pytest.mark.parametrize("keep", [0, 20, 1000])
def test_a_cut_file_is_named(files, keep):
    path = files / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        ValueError, match=r"train-images-idx3-ubyte\.gz.*Remove it and .*apt-get"
    ) as told:
        fashion_mnist(full=True, folder=files)
    assert "expected" in str(told.value)


def test_a_file_with_a_wrong_bit_is_named(files):
    path = files / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    for place in range(40, len(content), 1000):
        content[place] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"expected .*train-images-idx3-ubyte\.gz"):
        fashion_mnist(folder=files)


def test_a_folder_is_never_passed_over(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected .*train-images"):
        fashion_mnist(folder=tmp_path)


def test_a_changed_file_is_named_with_both_checksums(files):
    write(files, "train-labels-idx1-ubyte", bytes(8) + bytes(60_000))
    with pytest.raises(ValueError, match=r"SHA-256 [0-9a-f]{12}….*got [0-9a-f]{12}…"):
        fashion_mnist(full=True, folder=files)


def test_a_damaged_copy_does_not_hide_a_good_one(monkeypatch, files, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(files, damaged)
    (damaged / "t10k-images-idx3-ubyte.gz").write_bytes(b"cut")
    for first, second in ((damaged, files), (files, damaged)):
        monkeypatch.setattr(datasets, "DEBIAN", first)
        monkeypatch.setattr(datasets, "TORCHVISION", second)
        assert fashion_mnist(full=True).source.endswith(str(files))
    monkeypatch.setattr(datasets, "DEBIAN", damaged)
    with pytest.raises(ValueError, match=r"damaged/t10k-images.*Remove it"):
        fashion_mnist(full=True)
