"""The figures of chapter 07: what they draw and what they refuse."""

from importlib import import_module

import pytest
import torch

from vit_encoder import Encoder
from vit_encoder.figures import (
    encoder_drawing,
    show_collapse,
    show_parameters,
)


def test_drawing_shows_the_sizes_of_its_own_example():
    module = import_module("vit_encoder.figures.drawings.encoder")
    with torch.no_grad():
        encoder, z = module.small_example()
        for number, block in enumerate(encoder.blocks, start=1):
            z = block(z)
            sizes = z.square().mean(dim=-1).sqrt()
            words = f"{sizes.min():.1f} to {sizes.max():.1f} after block {number}"
            assert words in encoder_drawing().svg


def test_drawing_leaves_the_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    encoder_drawing()
    assert torch.equal(torch.rand(3), expected)


def test_collapse_has_a_plot_for_each_kind_and_a_line_for_each_way():
    curves = {("new", "a"): [1.0, 0.1], ("new", "b"): [1.0, 0.9]}
    curves |= {("trained", "a"): [0.8, 0.2], ("trained", "b"): [0.8, 0.7]}
    figure = show_collapse(curves)
    assert [ax.get_title() for ax in figure.axes] == ["new blocks", "trained blocks"]
    for ax in figure.axes:
        kind = ax.get_title().split()[0]
        drawn = {line.get_label(): [*line.get_ydata()] for line in ax.lines}
        assert drawn == {way: curves[kind, way] for way in "ab"}
        assert ax.get_yscale() == "log"
    assert [text.get_text() for text in figure.legends[0].texts] == ["a", "b"]


def test_collapse_refuses_curves_of_several_lengths():
    with pytest.raises(ValueError, match="expected curves of one length"):
        show_collapse({("new", "a"): [1.0], ("new", "b"): [1.0, 0.9]})


def test_areas_are_numbers_of_parameters():
    with torch.device("meta"):
        encoder = Encoder(3, 12, 4, 20)
    others = {"head": 500, "positions": 70}
    (ax,) = show_parameters(encoder, others).axes
    blocks, rest = ax.patches[:-1], ax.patches[-1]
    in_block = sum(p.numel() for p in encoder.blocks[0].parameters())
    areas = [bar.get_width() * bar.get_height() for bar in blocks]
    assert areas[:6] == pytest.approx([156, 156, 156, 156, 12 * 20 + 20, 20 * 12 + 12])
    assert sum(areas) == pytest.approx(3 * (in_block - 4 * 12))
    assert rest.get_width() == pytest.approx(570)
    assert ax.get_xlim() == pytest.approx((0, 3 * in_block + 570))
