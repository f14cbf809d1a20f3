"""The figures of chapter 04: what they draw is true, what does not fit is refused."""

import re
import xml.etree.ElementTree as ET

import pytest
import torch
import torch.nn.functional as F

from vit_encoder.figures import (
    layer_norm_drawing,
    norm_axes_drawing,
    show_growth,
    show_spreads,
)
from vit_encoder.figures.colours import TOGETHER, WRONG
from vit_encoder.figures.drawings.layer_norm import (
    CENTRE,
    TOKENS,
    UNIT,
    normalize,
    place,
)

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", TOKENS)
def test_the_tokens_of_the_drawing_are_normalized_as_by_pytorch(name):
    token = torch.tensor(TOKENS[name], dtype=torch.float64)
    expected = F.layer_norm(token, (3,), eps=0.0)
    _, normalized = normalize(TOKENS[name])
    torch.testing.assert_close(torch.tensor(normalized).double(), expected)
    shown = ", ".join(f"{x:.2f}" for x in expected.tolist())
    description = ET.fromstring(layer_norm_drawing().svg).find(f"{SVG}desc").text
    assert f"normalized: {shown}" in description


@pytest.mark.parametrize("name", TOKENS)
def test_normalized_tokens_lie_on_the_circle(name):
    x, y = place(normalize(TOKENS[name])[1])
    circle = [
        e
        for e in ET.fromstring(layer_norm_drawing().svg).iter(f"{SVG}ellipse")
        if e.get("stroke") == TOGETHER
    ]
    rx, ry = (float(circle[0].get(radius)) for radius in ("rx", "ry"))
    assert rx == pytest.approx(UNIT * 3**0.5, abs=0.1)
    place_on_circle = ((x - CENTRE[0]) / rx) ** 2 + ((y - CENTRE[1]) / ry) ** 2
    assert place_on_circle == pytest.approx(1, abs=0.01)


def test_blocks_colour_what_shares_a_mean():
    """As many sides as can be seen: of 4 numbers, of 4 x 3 x 2, of 4 x 3."""
    sides = ET.fromstring(norm_axes_drawing().svg).iter(f"{SVG}polygon")
    colours = [side.get("fill") for side in sides]
    per_block = len(colours) // 3
    assert per_block == 4 * 3 + 4 * 2 + 3 * 2
    layer, batch, image = (
        colours[i * per_block : (i + 1) * per_block] for i in range(3)
    )
    assert layer.count(TOGETHER) == 4 + 1
    assert batch.count(TOGETHER) == 3 + 2 + 3 * 2
    assert image.count(WRONG) == 4 * 3 + 4 + 3


def test_the_drawing_counts_the_means():
    words = [t.text for t in ET.fromstring(norm_axes_drawing().svg).iter(f"{SVG}text")]
    counts = [re.search(r"= (\d+)", w)[1] for w in words if w and "=" in w]
    assert counts == ["6", "4", "4", "6", "2", "12"]


def photo(channels=3):
    rng = torch.Generator().manual_seed(0)
    return torch.rand(channels, 12, 20, generator=rng)


def test_spreads_are_drawn_from_the_smallest_to_the_largest():
    values = [torch.tensor([0.1, 0.2, 5.0]), torch.tensor([1.0, 2.0, 4.0])]
    figure = show_spreads({"in": values, "out": [v / v for v in values]}, ["a", "end"])
    (ax,) = figure.axes
    bars = [
        [line[:, 1].tolist() for line in bars.get_segments()] for bars in ax.collections
    ]
    assert bars[0] == [pytest.approx([0.1, 5]), pytest.approx([1, 4])]
    assert bars[1] == [[1, 1], [1, 1]]
    medians = [line.get_ydata() for line in ax.get_lines()]
    assert [*medians[0]] == pytest.approx([0.2, 2])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "end"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["in", "out"]


def test_spreads_refuse_what_does_not_fit():
    one = [torch.ones(3)]
    with pytest.raises(ValueError, match="one to three kinds of spread, got 0"):
        show_spreads({}, ["a"])
    with pytest.raises(ValueError, match="2 tensors of positive numbers for 'in'"):
        show_spreads({"in": one}, ["a", "b"])
    with pytest.raises(ValueError, match="1 tensors of positive numbers for 'in'"):
        show_spreads({"in": [torch.zeros(3)]}, ["a"])


def test_growth_is_drawn_block_by_block():
    curves = {"with": [1.0, 2.0, 3.0], "without": [1.0, 10.0, 100.0]}
    (ax,) = show_growth(curves).axes
    assert [[*line.get_ydata()] for line in ax.get_lines()] == [*curves.values()]
    assert ax.get_yscale() == "log"
    assert [line.get_linestyle() for line in ax.get_lines()] == ["-", "--"]


def test_growth_refuses_what_has_no_logarithm():
    for curves in ({}, {"a": [1.0, 0.0]}):
        with pytest.raises(ValueError, match="expected curves of positive numbers"):
            show_growth(curves)
