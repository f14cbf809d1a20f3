"""The figures of chapter 03: that what they draw is true, and what they refuse."""

import xml.etree.ElementTree as ET
from importlib import import_module

import pytest
import torch

from vit_encoder import split_heads
from vit_encoder.figures import multi_head_drawing, show_reads, show_split
from vit_encoder.figures.colours import WRONG
from vit_encoder.figures.heads import TOKEN_COLOURS

SVG = "{http://www.w3.org/2000/svg}"
NUMBERS = (10 * torch.arange(3)[:, None] + torch.arange(8))[None]  # (1, 3, 8)
example = import_module("vit_encoder.figures.drawings.multi_head").example


def texts(drawing):
    root = ET.fromstring(drawing.svg)
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def test_drawing_shows_the_weights_that_torch_finds():
    x, projections, _ = example()
    x = torch.tensor(x, dtype=torch.float64)
    q, k, _ = (
        split_heads((x @ torch.tensor(w, dtype=torch.float64))[None], 2)[0]
        for w in projections.values()
    )
    weights = (q @ k.mT / 3**0.5).softmax(-1)[:, 1]  # (h, N), those of token 1
    assert weights.argmax(-1).tolist() == [0, 3], "the chapter names these tokens"
    shown = [line for line in texts(multi_head_drawing()) if line.endswith("= 1")]
    for line, row in zip(shown, weights, strict=True):
        numbers = [float(number) for number in line.removesuffix(" = 1").split(" + ")]
        assert numbers == pytest.approx(row.tolist(), abs=0.005)
        assert sum(numbers) == pytest.approx(1)


def test_split_colours_tokens_and_frames_rows_of_another_token():
    cut = split_heads(NUMBERS, 2)
    drawing = show_split(NUMBERS, right_way=cut, bare=NUMBERS.reshape(1, 2, 3, 4))
    root = ET.fromstring(drawing.svg)
    fills = [rect.get("fill") for rect in root.iter(f"{SVG}rect")]
    assert [fills.count(colour) for colour in TOKEN_COLOURS] == [24, 24, 24]
    strokes = [rect.get("stroke") for rect in root.iter(f"{SVG}rect")]
    assert strokes.count(WRONG) == 4  # rows 1 and 2 of head 0, rows 0 and 1 of head 1
    assert {"right way", "bare", "12"} <= set(texts(drawing))
    assert "bare, head 0, row by row: 00 01 02 03; 04 05 06 07" in drawing.svg


@pytest.mark.parametrize(
    ("x", "cut", "words"),
    [
        (NUMBERS[0], split_heads(NUMBERS, 2), r"expected x \(1, N, D\).*\(3, 8\)"),
        (NUMBERS, NUMBERS, r"in cut the numbers of x as \(1, h, 3, D_h\)"),
        (NUMBERS, split_heads(NUMBERS + 1, 2), "in cut the numbers of x"),
    ],
)
def test_split_refuses_what_does_not_fit(x, cut, words):
    with pytest.raises(ValueError, match=words):
        show_split(x, cut=cut)


def test_reads_has_a_panel_a_table_and_names_the_heads():
    tables = {"one": torch.rand(3, 4, 12), "two": torch.rand(3, 4, 12)}
    first, second = show_reads(tables, "of a head", "of the token").axes
    assert (first.get_title(), second.get_title()) == ("one", "two")
    assert (first.get_ylabel(), first.get_xlabel()) == ("of a head", "of the token")
    assert first.get_images()[0].get_array().shape == (12, 12)
    labels = [label.get_text() for label in first.get_yticklabels()]
    assert labels == ["head 0", "head 1", "head 2"]


@pytest.mark.parametrize("table", [torch.rand(12, 12), -torch.rand(3, 4, 12)])
def test_reads_refuses_what_does_not_fit(table):
    with pytest.raises(ValueError, match=r"in 'a' numbers from 0 of shape \(h, D_h"):
        show_reads({"a": table}, "", "")
