"""The figures of chapter 10: that what they draw is true, and what they refuse."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from vit_encoder.figures import show_heads, show_lines, show_maps, show_similarities
from vit_encoder.figures.looking import tiles
from vit_encoder.figures.style import ATTENTION


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def images(count, level=1.0):
    return torch.full((count, 1, 6, 6), level)


def test_maps_are_darkest_at_their_largest_number_and_white_at_zero():
    maps = torch.tensor([[[0, 1, 2, 4.0], [-3, 0, 5, 10.0]]])  # (1, 2, 4)
    figure = show_maps(images(1), maps, ["a", "b"])
    image, *panels = (ax.images[0].get_array() for ax in figure.axes)
    assert image.shape == (6, 6, 3)
    assert [ax.get_title() for ax in figure.axes] == ["", "a", "b"]
    for panel in panels:
        np.testing.assert_allclose(panel[5, 5], ATTENTION(1.0)[:3], atol=1e-6)
        np.testing.assert_allclose(panel[0, 0], ATTENTION(0.0)[:3], atol=1e-6)
    np.testing.assert_allclose(panels[0][3, 0], panels[1][3, 0], atol=0.01)


def test_stretched_maps_begin_at_their_smallest_number():
    maps = torch.tensor([[[5, 6, 7, 8.0]]])
    figure = show_maps(images(1), maps, ["a"], ["row"], stretch=True)
    (ax,) = figure.axes
    assert ax.get_ylabel() == "row"
    np.testing.assert_allclose(ax.images[0].get_array()[0, 0], ATTENTION(0.0)[:3])


def test_an_image_on_black_is_drawn_as_its_negative():
    black = images(1, 0.0)
    black[..., :3, :3] = 1.0
    figure = show_maps(black, torch.zeros(1, 1, 4), ["a"], ["row"])
    drawn = figure.axes[0].images[0].get_array()
    assert (drawn[4, 4] > drawn[0, 0]).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((images(2), torch.rand(1, 2, 4), ["a", "b"]), "an image a row"),
        ((images(1), torch.rand(1, 2, 4), ["a"]), "a title a column"),
        ((images(1), torch.rand(1, 1, 4), ["a"], ["r", "s"]), "expected 1 labels"),
        ((images(1), torch.rand(1, 1, 5), ["a"]), "expected a square number"),
    ],
)
def test_maps_that_do_not_fit_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        show_maps(*arguments)


def test_tiles_put_each_row_where_its_position_is():
    table = torch.arange(16.0).view(4, 4)
    picture = tiles(table)
    assert picture.shape == (5, 5)
    assert picture[:2, :2].flatten().tolist() == [0, 1, 2, 3]
    assert picture[3:, :2].flatten().tolist() == [8, 9, 10, 11]
    assert picture[2].isnan().all()


def test_similarities_have_one_panel_a_table_and_one_scale():
    figure = show_similarities({"a": torch.eye(9), "b": torch.zeros(9, 9)})
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["a", "b"]
    assert {ax.images[0].get_clim() for ax in panels} == {(-1, 1)}
    with pytest.raises(ValueError, match=r"expected a table \(n, n\) in 'a'"):
        show_similarities({"a": torch.zeros(4, 9)})


def test_heads_are_dots_at_their_layer_and_the_level_a_line():
    measured = {"a": {"one": torch.tensor([[1.0, 2], [3, 4], [5, 6]])}}
    (ax,) = show_heads(measured, [2.5]).axes
    dots, level = ax.lines
    assert dots.get_xdata().round().tolist() == [0, 0, 1, 1, 2, 2]
    assert dots.get_ydata().tolist() == [1, 2, 3, 4, 5, 6]
    assert set(level.get_ydata()) == {2.5}
    assert ax.get_ylim()[1] > 6
    with pytest.raises(ValueError, match="a level for each of 1 panels, got 2"):
        show_heads(measured, [1, 2])


def test_lines_pass_through_their_values_and_no_two_look_alike():
    lines = {name: [i, 2 * i, 4 * i] for i, name in enumerate("abcdefg")}
    (ax,) = show_lines(lines, (1, 4, 12), "x", "y").axes
    assert [line.get_ydata().tolist() for line in ax.lines] == [*lines.values()]
    assert all(line.get_xdata().tolist() == [1, 4, 12] for line in ax.lines)
    looks = {(line.get_linestyle(), line.get_marker()) for line in ax.lines}
    assert len(looks) == 7
    with pytest.raises(ValueError, match="expected 2 values in 'a', got 3"):
        show_lines(lines, (1, 2), "x", "y")
