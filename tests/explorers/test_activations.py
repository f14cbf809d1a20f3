"""The activation functions: values, slopes, dropout."""

import json

import pytest
import torch
import torch.nn.functional as F
from tests.explorers.cases import rand, run

from vit_encoder.figures import ActivationExplorer

pytestmark = pytest.mark.xdist_group("explorer activations")


TORCH = {
    "ReLU": F.relu,
    "GELU": F.gelu,
    "GELU (tanh)": lambda x: F.gelu(x, approximate="tanh"),
    "QuickGELU": lambda x: x * torch.sigmoid(1.702 * x),
    "SiLU": F.silu,
}


def exactly(x):
    """name → (values, slopes) as PyTorch computes them, in float64."""
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    found = {}
    for name, function in TORCH.items():
        y = function(x)
        found[name] = y, torch.autograd.grad(y.sum(), x)[0]
    return found


def test_activations_and_slopes_are_those_of_torch(visit):
    rng = torch.Generator().manual_seed(3)
    x = torch.cat([4 * torch.randn(500, generator=rng), torch.linspace(-60, 60, 121)])
    x = [*x.double().tolist(), 1e-9, -1e-9]
    code = (
        f"Object.fromEntries(Object.entries(figure.FUNCTIONS)"
        f".map(([name, f]) => [name, {json.dumps(x)}.map(f)]))"
    )
    shown = run(visit("activations"), code)
    assert list(shown) == list(TORCH)
    for name, right in exactly(x).items():
        ours = torch.tensor(shown[name], dtype=torch.float64).T
        for mine, theirs in zip(ours, right, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-7)


def cell(tab, name, column):
    text = tab.locator(f"[data-value='{name} {column}']").inner_text()
    return float(text.replace("−", "-"))


def test_table_and_curve_show_these_numbers(visit):
    tab = visit("activations")
    slider = tab.get_by_role("slider", name="x =")
    for at in (-1.37, 0.0, 2.72):
        slider.fill(str(at))
        right = exactly([at])
        for name, (value, slope) in right.items():
            assert cell(tab, name, 0) == pytest.approx(value.item(), abs=1e-5)
            assert cell(tab, name, 1) == pytest.approx(slope.item(), abs=1e-5)
            distance = 1000 * (value - right["GELU"][0]).item()
            assert cell(tab, name, 2) == pytest.approx(distance, abs=0.01)


def curve(tab, i):
    """The points of a curve of the plot: x from -4 to 4, y in the plot's units."""
    path = tab.locator(f".act-plot .act-{i}").get_attribute("d")
    points = [p.split() for p in path.replace("M", "L").split("L")[1:]]
    return torch.tensor([[float(a), float(b)] for a, b in points])


def test_a_difference_is_drawn_a_thousandfold(visit):
    tab = visit("activations")
    tab.get_by_role("radio", name="minus GELU").check()
    tab.get_by_role("checkbox", name="GELU (tanh)").check()
    x = torch.linspace(-4, 4, 401, dtype=torch.float64)
    right = F.gelu(x, approximate="tanh") - F.gelu(x)
    for factor in (1, 1000):
        tab.get_by_role("radio", name=f"× {factor}", exact=True).check()
        height = 1 - curve(tab, 2)[:, 1] / 125  # the plot is 250 high, from -1 to 1
        assert (height - factor * right).abs().max() < 1e-3
    assert 0.4 < height.max() < 0.5


def test_dropout_keeps_or_zeroes_and_its_mean_is_kept(visit):
    tab = visit("activations")
    x = torch.linspace(-4, 4, 65, dtype=torch.float64)
    code = (
        f"(() => {{ const once = figure.throwDropout({x.tolist()}, 0.3, 1);"
        f"const more = figure.throwDropout({x.tolist()}, 0.3, 4999, once);"
        f"return [once, more]; }})()"
    )
    once, more = run(tab, code)
    last = torch.tensor(once["last"], dtype=torch.float64)
    kept = torch.tensor(once["kept"]).bool()
    torch.testing.assert_close(last, F.gelu(x) * kept / 0.7, rtol=0, atol=1e-7)
    assert 0 < kept.sum() < 65
    assert more["throws"] == 5000
    share = torch.tensor(more["kept"]).double() / 5000
    mean = torch.tensor(more["mean"], dtype=torch.float64)
    torch.testing.assert_close(mean, F.gelu(x) * share / 0.7, rtol=0, atol=1e-7)
    assert (share - 0.7).abs().max() < 0.04


def test_reader_throws_dropout_on_numbers_of_their_own(visit):
    tab = visit("activations")
    tab.get_by_label("your own x").fill("2, 2, 2, [−2]")
    tab.get_by_label("your own x").press("Enter")
    assert tab.locator("[data-value=x]").inner_text() == "At x = 2.00"
    tab.get_by_role("switch", name="dropout").click()
    tab.get_by_role("button", name="Throw once").click()
    assert tab.locator("[data-value=throws]").inner_text() == "1"
    for _ in range(5):
        tab.get_by_role("button", name="Throw 1000 times").click()
    assert tab.locator("[data-value=throws]").inner_text() == "5001"
    kept = float(tab.locator("[data-value=kept]").inner_text().split()[0])
    assert kept == pytest.approx(70, abs=2)
    assert tab.locator(".act-means").get_attribute("d").count("M") == 4
    tab.get_by_role("slider", name="p =").fill("0.5")  # starts anew
    assert tab.locator("[data-value=throws]").inner_text() == "0"
    tab.get_by_label("your own x").fill("two")
    tab.get_by_label("your own x").press("Enter")
    assert "Expected numbers" in tab.get_by_role("alert").inner_text()


def test_finger_moves_x_on_the_curve(visit):
    tab = visit("activations", width=360, has_touch=True, is_mobile=True)
    box = tab.locator(".act-plot > svg").bounding_box()
    two = 34 + 0.75 * 400  # of 442 units: where x = 2
    tab.touchscreen.tap(box["x"] + box["width"] * two / 442, box["y"] + 50)
    shown = tab.locator("[data-value=x]").inner_text()
    assert float(shown.removeprefix("At x = ")) == pytest.approx(2, abs=0.05)


def test_activation_explorer_keeps_some_of_many_numbers():
    made = ActivationExplorer(rand(3, 1000) - 0.5, at=0.5)
    assert len(made.numbers) == 200
    assert made.numbers == sorted(made.numbers)
    assert made.numbers[0] < -0.49
    assert made.numbers[-1] > 0.49
    assert repr(made) == "ActivationExplorer(200 numbers)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": [1.0]}, "expected a floating tensor of hidden units, got list"),
        ({"hidden": torch.ones(2).long()}, "floating tensor .*, got torch.int64"),
        (
            {"hidden": torch.tensor([1.0, torch.nan])},
            "expected finite .* got inf or nan",
        ),
        ({"hidden": torch.empty(0)}, "expected finite hidden units, got no number"),
        ({"p": 1.0}, r"expected p in \[0, 0.9\], got 1.0"),
        ({"at": torch.inf}, "expected a number to start at, got inf"),
        ({"at": "-1"}, "expected a number as at, got str"),
        ({"p": None}, "expected a number as p, got NoneType"),
    ],
)
def test_activation_explorer_refuses(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ActivationExplorer(**arguments)
