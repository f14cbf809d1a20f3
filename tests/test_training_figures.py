"""The figures of training: they show what they are given, and refuse the rest."""

import matplotlib.pyplot as plt
import pytest
import torch

from vit_encoder.figures import (
    show_ablations,
    show_confusion,
    show_guesses,
    show_sweep,
    use_style,
)
from vit_encoder.figures.colours import WRONG
from vit_encoder.training_runs import Ablation


@pytest.fixture(autouse=True)
def style():
    use_style()
    yield
    plt.close("all")


def test_guesses_stand_above_their_images_and_wrong_ones_differ():
    images = torch.rand(5, 1, 6, 7)
    titles = [f"guess {i}" for i in range(5)]
    fig = show_guesses(images, titles, [False, True, False, False, True], columns=3)
    shown = [ax for ax in fig.axes if ax.images]
    assert [ax.get_title() for ax in shown] == titles
    assert len(fig.axes) == 6
    for ax, image in zip(shown, images, strict=True):
        assert torch.equal(torch.tensor(ax.images[0].get_array()), image[0])
    marked = [ax.title.get_color() == WRONG for ax in shown]
    assert marked == [False, True, False, False, True]
    assert [ax.title.get_weight() == "bold" for ax in shown] == marked


@pytest.mark.parametrize("shape", [(2, 3, 6, 6), (3, 1, 6, 6), (2, 6, 6)])
def test_other_images_are_refused(shape):
    with pytest.raises(
        ValueError, match=r"expected images \(2, 1, H, W\), one a title"
    ):
        show_guesses(torch.zeros(shape), ["a", "b"], [False] * 2)


def test_confusion_shows_shares_of_each_row():
    counts = torch.tensor([[3.0, 1.0, 0.0], [0.0, 5.0, 0.0], [1.0, 1.0, 8.0]])
    fig = show_confusion(counts, ("a", "b", "c"))
    shown = torch.tensor(fig.axes[0].images[0].get_array())
    torch.testing.assert_close(shown.sum(1), torch.ones(3))
    texts = {t.get_position(): t.get_text() for t in fig.axes[0].texts}
    assert texts == {
        (0, 0): "75", (1, 0): "25", (1, 1): "100", (0, 2): "10", (1, 2): "10",
        (2, 2): "80",
    }  # fmt: skip


def test_class_without_images_is_no_division_by_zero():
    fig = show_confusion(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), ("a", "b"))
    assert [t.get_text() for t in fig.axes[0].texts] == ["100"]


def test_confusion_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"expected counts \(2, 2\), got \(2, 3\)"):
        show_confusion(torch.zeros(2, 3), ("a", "b"))


def test_ablations_show_every_seed_and_the_mean():
    rows = {
        "base": Ablation(0.1, (0.5, 0.6, 0.7)),
        "no skips": Ablation(0.1, (0.1, 0.3, 0.2)),
    }
    (ax,) = show_ablations(rows, "base").axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["base", "no skips"]
    dots = [line.get_xdata() for line in ax.lines if line.get_marker() == "o"]
    assert [tuple(d) for d in dots] == [r.accuracies for r in rows.values()]
    bars = [float(line.get_xdata()[0]) for line in ax.lines if line.get_marker() == "|"]
    assert bars == pytest.approx([0.6, 0.2])


def test_sweep_shows_a_line_a_version_with_its_band():
    points = {2: Ablation(0.1, (0.5, 0.6, 0.7)), 8: Ablation(0.1, (0.2, 0.2, 0.5))}
    (ax,) = show_sweep({"base": points}, "depth").axes
    (line,) = ax.lines
    assert line.get_xydata().tolist() == [
        pytest.approx([2, 0.6]),
        pytest.approx([8, 0.3]),
    ]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["2", "8"]
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0.2, 0.7)
