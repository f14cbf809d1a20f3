"""The shipped data: what it is, that it fits together, and what its README says."""

import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import vit_encoder.data
import vit_encoder.shipped
from vit_encoder import SelfAttention, VisionTransformer, attention, split_heads
from vit_encoder.data import (
    CIFAR_CLASSES,
    cifar_vit,
    photo,
    read_line,
    self_attention_weights,
    text_encoder,
    text_encoder_weights,
    text_line,
)
from vit_encoder.datasets import fashion_mnist
from vit_encoder.fit import accuracy, predict
from vit_encoder.foreign import (
    GARMENTS,
    KNOWN,
    garments_file,
    library_weights,
    only,
)
from vit_encoder.loading import from_timm, load
from vit_encoder.training_runs import trainings

FOLDER = Path(vit_encoder.data.__file__).parent
README = (FOLDER / "README.md").read_text(encoding="utf-8")
P, D, D_H = 16, 768, 24
ROWS, COLUMNS = 12, 18
PUPILS = (4 * COLUMNS + 6, 5 * COLUMNS + 12)


def tokens():
    """The photograph's patches, standardized by the rule of the README: (N, D)."""
    patches = F.unfold(photo().unsqueeze(0), P, stride=P)[0].T
    x = patches - patches.mean(dim=0)
    return x / x.pow(2).mean(dim=-1, keepdim=True).sqrt()


def trained():
    """The head with the shipped weights; loading is strict."""
    head = SelfAttention(D, D_H)
    head.load_state_dict(self_attention_weights())
    return head


def new():
    """Two projections as torch makes them."""
    torch.manual_seed(0)
    return nn.Linear(D, D_H), nn.Linear(D, D_H)


def scores(which):
    """Scaled scores (N, N) of one line of the README's last table."""
    x = tokens()
    head = trained()
    query, key = {
        "trained": (head.query, head.key),
        "new": new(),
        "none": (nn.Identity(), nn.Identity()),
    }[which]
    with torch.no_grad():
        q, k = query(x), key(x)
    return q @ k.T / q.shape[-1] ** 0.5


def rows(label):
    """The numbers of the README's table line that starts with `label`."""
    (line,) = re.findall(rf"^\| {label} \|(.*)\|$", README, re.MULTILINE)
    return [float(cell) for cell in line.split("|")]


def test_photo_is_what_its_docstring_says():
    image = photo()
    assert image.shape == (3, ROWS * P, COLUMNS * P)
    assert image.dtype == torch.float32
    assert image.device.type == "cpu"
    assert image.min() >= 0
    assert image.max() <= 1
    assert image.max() > 0.8, "expected values that fill [0, 1], not [0, 1/255]"
    assert all(side % 32 == 0 for side in image.shape[1:])
    assert image.shape[1] != image.shape[2]


def test_photo_is_the_crop_that_the_readme_gives():
    box = re.search(r"box = \((\d+), (\d+), (\d+), (\d+)\)", README).groups()
    chelsea = Image.fromarray(skimage.data.chelsea())
    again = chelsea.resize(
        (288, 192), Image.Resampling.LANCZOS, box=tuple(int(edge) for edge in box)
    )
    expected = torch.from_numpy(np.array(again)).permute(2, 0, 1) / 255
    torch.testing.assert_close(photo(), expected, atol=2 / 255, rtol=0)


def test_licence_is_quoted_from_its_source():
    quoted = re.search(r'"(No copyright restrictions\.[^"]*)"', README).group(1)
    source = " ".join(skimage.data.chelsea.__doc__.split())
    assert " ".join(quoted.split()) in source


def test_readme_names_every_file():
    files = {path.name for path in FOLDER.iterdir() if path.is_file()} - {"README.md"}
    assert {name for name in files if f"`{name}`" not in README} == set()


@pytest.mark.parametrize("name", ["fashion", "cifar10", "garments"])
def test_each_trained_vit_has_a_card(name):
    card = README.split(f"## `{name}.safetensors`")[1].split("## `")[0]
    said = re.findall(r"^\*\*(\w+)\.\*\*", card, re.MULTILINE)
    assert said == ["Model", "Data", "Recipe", "Accuracy", "Limits"]
    percent = float(re.search(r"\*\*Accuracy\.\*\* ([\d.]+) %", card)[1])
    if name == "garments":  # recorded nowhere else; measured on what ships
        model = VisionTransformer(**GARMENTS).eval()
        load(model, from_timm(load_file(garments_file())))
        images = only(fashion_mnist().test, KNOWN)
        found = accuracy(predict(model, images), images.labels)
        assert abs(percent / 100 - found) < 0.02
    else:
        (run,) = trainings(name)
        assert percent == pytest.approx(100 * run["test_accuracy"], abs=0.005)


def test_readme_names_every_photograph_of_the_training():
    script = FOLDER.parents[2] / "studies" / "train_self_attention.py"
    block = re.search(r"PHOTOGRAPHS = \{.*?^\}", script.read_text(), re.S | re.M)
    used = set(re.findall(r'"(\w+)":', block.group()))
    named = set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))
    assert used == named
    assert "chelsea" not in used


def test_files_are_small():
    assert (FOLDER / "photo.png").stat().st_size < 150_000
    assert (FOLDER / "self_attention.safetensors").stat().st_size < 200_000
    assert (FOLDER / "text_encoder.safetensors").stat().st_size < 1_000_000
    assert (FOLDER / "text_line.safetensors").stat().st_size < 350_000


def test_weights_are_a_float32_state_dict():
    weights = self_attention_weights()
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    expected = SelfAttention(D, D_H).state_dict()
    assert shapes == {name: tuple(value.shape) for name, value in expected.items()}
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_weights_fit_the_photo():
    x = tokens()
    assert x.shape == (ROWS * COLUMNS, D)
    torch.testing.assert_close(x.pow(2).mean(dim=-1), torch.ones(len(x)))
    assert trained()(x.unsqueeze(0)).shape == (1, len(x), D_H)


def test_pupils_find_each_other():
    weights = scores("trained").softmax(dim=-1)
    left, right = PUPILS
    assert weights[left, right] > 10 / len(weights)
    assert weights[right, left] > 10 / len(weights)


@pytest.mark.parametrize("which", ["trained", "new", "none"])
def test_readme_s_numbers_are_measured(which):
    s = scores(which)
    a = s.softmax(dim=-1)
    measured = [
        a.diagonal().mean().item(),
        torch.special.entr(a).sum(dim=-1).mean().item(),
        (a - a.T).abs().max().item(),
        (s - s.T).abs().max().item(),
    ]
    assert measured == pytest.approx(rows(which), abs=1e-3)


# The trained text encoder: onnxruntime computed what is recorded.

WORDS = "An image is worth 16x16 words"


def test_course_s_encoder_computes_what_onnxruntime_recorded():
    line, encoder = text_line(), text_encoder()
    x = line["tokens"]
    with torch.no_grad():
        for i, block in enumerate(encoder.blocks):
            x = block(x)
            torch.testing.assert_close(x, line[f"block {i}"], rtol=0, atol=5e-5)
        torch.testing.assert_close(encoder.norm(x), line["encoder"], rtol=0, atol=5e-5)
        torch.testing.assert_close(encoder(line["tokens"]), encoder.norm(x))


def test_attention_weights_of_the_line_are_those_recorded():
    line, encoder = text_line(), text_encoder()
    for i, enters in enumerate(("tokens", "block 0")):
        block = encoder.blocks[i]
        with torch.no_grad():
            q, k, v = block.attn.qkv(block.norm1(line[enters])).chunk(3, dim=-1)
        heads = (split_heads(t, 8) for t in (q, k, v))
        _, weights = attention(*heads)
        recorded = line[f"block {i}, weights"]
        torch.testing.assert_close(weights, recorded, rtol=0, atol=1e-5)


def test_course_s_encoder_reads_the_line():
    line = text_line()
    with torch.no_grad():
        features = text_encoder()(line["tokens"])
    assert read_line(features + line["skip"]) == WORDS
    assert read_line(line["encoder"] + line["skip"]) == WORDS
    assert read_line(line["encoder"][0] + line["skip"][0]) == WORDS
    assert read_line(line["skip"]) != WORDS, "without the encoder it must not be read"


def test_readme_counts_the_text_encoder_s_parameters():
    count = sum(value.numel() for value in text_encoder_weights().values())
    assert f"{count:,} parameters".replace(",", " ") in README


@pytest.mark.parametrize("shape", [(120,), (5, 119), (2, 5, 120)])
def test_features_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected features \(N, 120\)"):
        read_line(torch.zeros(shape))


# The ViT for CIFAR-10


def test_the_vit_for_cifar_takes_pixels_as_they_are():
    stored = load_file(FOLDER / "cifar10.safetensors")
    mean, std = stored.pop("mean"), stored.pop("std")
    # Of all training images of CIFAR-10, as they are mostly given.
    assert mean.flatten().tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-3)
    assert std.flatten().tolist() == pytest.approx([0.2470, 0.2435, 0.2616], abs=1e-3)
    sizes = {"depth": 6, "dim": 64, "num_heads": 4, "mlp_dim": 128}
    plain = VisionTransformer(32, 4, 3, 10, **sizes).eval()
    plain.load_state_dict(stored)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = plain((images - mean) / std)
        torch.testing.assert_close(cifar_vit()(images), expected)
        new = cifar_vit(trained=False)
        plain.load_state_dict(new.state_dict())
        seen = plain.embedding((images - mean) / std)
        torch.testing.assert_close(new.embedding(images), seen)
    assert expected.shape[1] == len(CIFAR_CLASSES)


def test_models_that_ship_are_small():
    for name in ("fashion", "cifar10", "garments"):
        assert (FOLDER / f"{name}.safetensors").stat().st_size <= 500_000


def test_a_photograph_of_the_reader_is_cut_scaled_and_upright(tmp_path):
    tall = torch.zeros(600, 288, 3, dtype=torch.uint8)
    tall[204:396] = torch.tensor([10, 20, 30], dtype=torch.uint8)  # the middle
    stored = Image.fromarray(tall.numpy())
    stored.save(tmp_path / "tall.png")
    found = photo(tmp_path / "tall.png")
    middle = torch.tensor([10, 20, 30]).view(3, 1, 1) / 255
    torch.testing.assert_close(found, middle.expand(3, 192, 288))

    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn it to the right
    left = Image.new("RGB", (300, 200))
    left.paste((255, 255, 255), (0, 0, 150, 200))
    left.save(tmp_path / "turned.png", exif=exif)
    turned = photo(str(tmp_path / "turned.png"))
    assert turned.shape == (3, 192, 288)
    assert turned[:, :80].min() > 0.9 > 0.1 > turned[:, 112:].max()
    assert torch.equal(photo(FOLDER / "photo.png"), photo())


def test_a_photograph_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"photograph in .*none\.jpg, found no"):
        photo(tmp_path / "none.jpg")
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"photograph in .*text\.jpg: cannot identify"):
        photo(tmp_path / "text.jpg")


def broken_chunk(png):
    start = png.rindex(b"IDAT")
    return png[:start] + b"I?AT" + png[start + 4 :]


def long_text(png):
    """What it says about itself is packed, and more than Pillow unpacks."""
    packed = b"Comment\0\0" + zlib.compress(bytes(2**21))
    chunk = len(packed).to_bytes(4) + b"zTXt" + packed
    return png[:33] + chunk + zlib.crc32(chunk[4:]).to_bytes(4) + png[33:]


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda png: png[: len(png) // 2], "truncated"),
        (broken_chunk, "broken PNG file"),
        (long_text, "too large"),
    ],
)
def test_a_damaged_photograph_is_named(harm, told, tmp_path):
    damaged = harm((FOLDER / "photo.png").read_bytes())
    (tmp_path / "own.png").write_bytes(damaged)
    with pytest.raises(ValueError, match=rf"photograph in .*own\.png: .*{told}"):
        photo(tmp_path / "own.png")


def test_a_photograph_that_is_far_too_large_is_named(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    own = FOLDER / "photo.png"
    with pytest.raises(ValueError, match=r"photograph in .*photo\.png: .*exceeds"):
        photo(own)


def cut(content):
    return content[: len(content) // 2]


def one_bit_flipped(content):
    changed = bytearray(content)
    changed[2 * len(content) // 3] ^= 1
    return bytes(changed)


READERS = {
    "cifar10.safetensors": vit_encoder.data.cifar_vit,
    "fashion.safetensors": vit_encoder.data.fashion_vit,
    "fashion_mnist.png": fashion_mnist,
    "fashion_mnist_labels.npy": fashion_mnist,
    "garments.safetensors": garments_file,
    "libraries.safetensors": lambda: library_weights("timm"),
    "photo.png": photo,
    "self_attention.safetensors": self_attention_weights,
    "text_encoder.safetensors": text_encoder,
    "text_line.png": text_line,
    "text_line.safetensors": text_line,
}


@pytest.mark.parametrize("harm", [None, cut, one_bit_flipped, lambda _: b"", "other"])
@pytest.mark.parametrize("name", READERS)
def test_what_does_not_ship_whole_is_said(monkeypatch, tmp_path, name, harm):
    for file in FOLDER.iterdir():
        if file.name != name:
            (tmp_path / file.name).symlink_to(file)
    damaged = tmp_path / name
    if harm == "other":  # a whole file of the same kind under this name
        kind = Path(name).suffix
        others = [f for f in FOLDER.iterdir() if f.suffix == kind and f.name != name]
        if not others:
            np.save(damaged, np.zeros(6000, np.uint8))
        else:
            shutil.copy(others[0], damaged)
    elif harm:
        damaged.write_bytes(harm((FOLDER / name).read_bytes()))
    monkeypatch.setattr(vit_encoder.shipped, "FOLDER", tmp_path)
    told = f"^expected data of the course in .*{re.escape(name)}: .*Install the package"
    with pytest.raises(ValueError, match=told):
        READERS[name]()


def test_every_picture_and_all_weights_have_a_checksum_and_a_reader_above():
    kinds = {".npy", ".png", ".safetensors"}
    files = {path.name for path in FOLDER.iterdir() if path.suffix in kinds}
    lines = (FOLDER / "SHA256SUMS").read_text().splitlines()
    assert {line.split()[1] for line in lines if not line.startswith("#")} == files
    assert set(READERS) == files


def test_a_folder_without_checksums_is_said(monkeypatch, tmp_path):
    shutil.copy(FOLDER / "photo.png", tmp_path)
    monkeypatch.setattr(vit_encoder.shipped, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"SHA256SUMS.*Install the package"):
        photo()
