"""The norms: who shares a mean, and where outputs lie."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.explorers.cases import CASES, rand, run, value

import still
from vit_encoder.figures import NormExplorer

pytestmark = pytest.mark.xdist_group("explorer norms")


SIZES = [(2, 4, 3), (3, 2, 5), (1, 6, 4), (4, 1, 2)]


def instance_norm(x, eps):
    """One mean and one variance for each feature of each image."""
    return F.instance_norm(x.transpose(1, 2), eps=eps).transpose(1, 2)


def batch_norm(x, eps):
    D = x.shape[-1]
    flat = F.batch_norm(x.reshape(-1, D), None, None, training=True, eps=eps)
    return flat.view(x.shape)


NORMS = {  # name → the axes that a set runs along, what PyTorch makes of it
    "LayerNorm": ((2,), lambda x, eps: F.layer_norm(x, x.shape[2:], eps=eps)),
    "BatchNorm": ((0, 1), batch_norm),
    "LayerNorm over N and D": (
        (1, 2),
        lambda x, eps: F.layer_norm(x, x.shape[1:], eps=eps),
    ),
    "all numbers together": (
        (0, 1, 2),
        lambda x, eps: F.layer_norm(x, x.shape, eps=eps),
    ),
    "InstanceNorm": ((1,), instance_norm),
}


def set_through(place, axes, sizes):
    """Places, in reading order, of the numbers that share a mean with this one."""
    together = torch.zeros(sizes, dtype=torch.bool)
    where = [slice(None) if a in axes else at for a, at in enumerate(place)]
    together[tuple(where)] = True
    return together.flatten().nonzero().flatten().tolist()


def normalized(tab, x, painted, weight, bias, eps):
    """What the figure makes of a block: its name for the norm, and the outputs."""
    arguments = f"{x.flatten().tolist()}, sets, {weight.tolist()}, {bias.tolist()}"
    code = (
        f"(() => {{ const sets = figure.partition({painted}, {[*x.shape]});"
        f"const name = figure.nameOf({painted}, {[*x.shape]}) ?? null;"
        f"return [name, figure.normalize({arguments}, {eps}).y]; }})()"
    )
    name, y = run(tab, code)
    return name, torch.tensor(y).double().view(x.shape)


@pytest.mark.parametrize("name", NORMS)
def test_outputs_of_a_norm_are_those_of_torch(visit, name):
    axes, function = NORMS[name]
    tab = visit("norms")
    for seed, sizes in enumerate(SIZES):
        if math.prod(sizes[a] for a in axes) == 1 or 1 in sizes:
            continue  # then one set may be that of another norm as well
        rng = torch.Generator().manual_seed(seed)
        x = 3 * torch.randn(sizes, generator=rng).double() + 2
        weight, bias = torch.randn(2, sizes[2], generator=rng).double()
        painted = set_through([n - 1 for n in sizes], axes, sizes)
        for eps in (1e-6, 0.1):
            said, y = normalized(tab, x, painted, weight, bias, eps)
            right = weight * function(x, eps) + bias
            assert said == name
            torch.testing.assert_close(y, right, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sizes", SIZES)
def test_layer_norm_is_that_of_torch_for_every_size(visit, sizes):
    x, eps = 3 * rand(*sizes).double() - 1, 1e-6
    weight, bias = rand(2, sizes[2], seed=1).double()
    painted = set_through((0, 0, 0), (2,), sizes)
    name, y = normalized(visit("norms"), x, painted, weight, bias, eps)
    assert name == "LayerNorm"
    right = F.layer_norm(x, sizes[2:], weight, bias, eps)
    torch.testing.assert_close(y, right, rtol=0, atol=1e-5)


def test_of_a_set_of_one_s_own_the_rest_stays_as_it_is(visit):
    x, painted = 4 * rand(2, 4, 3).double(), [0, 4, 5, 17]
    weight, bias = rand(2, 3, seed=1).double()
    name, y = normalized(visit("norms"), x, painted, weight, bias, 1e-6)
    right = x.flatten().clone()
    right[painted] = F.layer_norm(right[painted], (4,), eps=1e-6)
    right = weight * right.view(2, 4, 3) + bias
    assert name is None
    torch.testing.assert_close(y, right, rtol=0, atol=1e-5)


def block(tab):
    """The numbers shown, which are painted and which change with the poked one."""
    cells = tab.locator(".cube-cells > g")
    numbers = [float(t.replace("−", "-")) for t in cells.all_text_contents()]
    kinds = [cells.nth(i).get_attribute("class") or "" for i in range(cells.count())]
    marked = [
        [i for i, kind in enumerate(kinds) if name in kind]
        for name in ("cube-painted", "cube-changed")
    ]
    return torch.tensor(numbers).double(), *marked


def test_who_changes_with_a_poked_number(visit):
    tab = visit("norms")
    x = torch.tensor(CASES["norms"].make().x).double()
    poked = x.clone()
    poked[0, 1, 2] += 2
    for choice, name in (
        ("LayerNorm", "LayerNorm"),
        ("BatchNorm", "BatchNorm"),
        ("whole image", "LayerNorm over N and D"),
    ):
        tab.get_by_role("radio", name=choice).check()
        axes, function = NORMS[name]
        shown, painted, changed = block(tab)
        after = function(poked, 1e-6)
        assert (shown - after.flatten()).abs().max() < 0.0051
        assert painted == set_through((0, 1, 2), axes, (2, 4, 3))
        moved = ((after - function(x, 1e-6)).abs() > 1e-6).flatten()
        assert changed == [i for i in moved.nonzero().flatten().tolist() if i != 5]
        near = sum(3 <= i < 6 for i in changed)
        counts = f"{near} in its token, {len(changed) - near} elsewhere"
        assert value(tab, "others") == counts
        for key, distance in (
            ("plane", after.sum(-1).abs() / 3**0.5),
            ("sphere", (after.norm(dim=-1) - 3**0.5).abs()),
        ):
            said = float(value(tab, key).removeprefix("by up to "))
            assert said == pytest.approx(distance.max().item(), abs=0.0006)


def test_gain_and_bias_of_the_poked_feature_move_the_outputs(visit):
    tab = visit("norms")
    tab.get_by_role("slider", name="γ").fill("-1.5")
    tab.get_by_role("slider", name="β").fill("0.7")
    x = torch.tensor(CASES["norms"].make().x).double()
    x[0, 1, 2] += 2
    weight, bias = torch.tensor([[1, 1, -1.5], [0, 0, 0.7]]).double()
    right = F.layer_norm(x, (3,), weight, bias, 1e-6)
    assert (block(tab)[0] - right.flatten()).abs().max() < 0.0051
    tab.get_by_role("radio", name="x", exact=True).check()
    assert (block(tab)[0] - x.flatten()).abs().max() < 0.0051


def points(tab, name):
    """The points of a path of the drawing in space, in its own units."""
    path = tab.locator(f".cube-{name}").get_attribute("d")
    pairs = [p.split() for p in path.strip("Mz").replace("M", "L").split("L")]
    return torch.tensor([[float(a), float(b)] for a, b in pairs]).double()


def dots(tab):
    """Where the outputs stand in space, in the drawing's units."""
    at = tab.locator(".cube-outputs circle").evaluate_all(
        "all => all.map(c => [c.getAttribute('cx'), c.getAttribute('cy')])"
    )
    return torch.tensor([[float(a), float(b)] for a, b in at]).double()


def test_outputs_of_layer_norm_lie_on_the_circle_however_it_is_moved(visit):
    tab = visit("norms")
    tab.locator(".cube-space").focus()
    for key in ("ArrowRight", "ArrowUp", "ArrowUp"):
        tab.keyboard.press(key)
    for weight, bias in ((1, 0), (1.7, -0.6)):
        tab.get_by_role("slider", name="γ").fill(str(weight))
        tab.get_by_role("slider", name="β").fill(str(bias))
        # 72 steps around: half a step off is 0.1 % of the radius.
        apart = torch.cdist(dots(tab), points(tab, "circle")).min(-1).values
        assert apart.max() < 6
        corners = points(tab, "circle")[:-1]
        edges = corners.roll(-1, 0) - corners
        across = dots(tab)[:, None] - corners
        along = ((across * edges).sum(-1) / edges.square().sum(-1)).clamp(0, 1)
        off = (across - along[..., None] * edges).norm(dim=-1).min(-1).values
        assert off.max() < 0.4
    tab.get_by_role("radio", name="BatchNorm").check()
    assert torch.cdist(dots(tab), points(tab, "circle")).min(-1).values.max() > 10


@pytest.mark.parametrize("view", [(-28, 24), (0, 90), (211, -57)])
def test_sphere_s_outline_is_as_far_out_as_the_sphere_in_every_direction(visit, view):
    tab = visit("norms")
    for weight, bias in (((1, 1, 1), (0, 0, 0)), ((1.5, -0.4, 0), (0.3, -2, 1))):
        arguments = f"{[*weight]}, {[*bias]}, figure.directions({[*view]})"
        found = run(
            tab, f"[figure.directions({[*view]}), figure.outlineOf({arguments})]"
        )
        directions, outline = (torch.tensor(rows).double() for rows in found)
        eye = torch.eye(2).double()
        torch.testing.assert_close(directions @ directions.T, eye, rtol=0, atol=1e-6)
        assert directions[0].sum().abs() < 1e-6  # (1, 1, 1) points up
        angles = torch.arange(len(outline)).double() * torch.pi / 36
        seen = torch.stack([angles.cos(), angles.sin()], -1)  # (73, 2)
        space = seen @ directions  # (73, 3)
        weight, bias = torch.tensor([weight, bias]).double()
        # The largest u·(γs + β) over all s of length √3 is √3 |γu| + u·β.
        farthest = 3**0.5 * (weight * space).norm(dim=-1) + space @ bias
        reached = (seen[:, None] * outline).sum(-1).amax(-1)
        torch.testing.assert_close(reached, farthest, rtol=0, atol=1e-5)


def test_painting_by_hand_and_by_keys(visit):
    tab = visit("norms")
    tab.get_by_role("radio", name="touch paints").check()
    one = tab.locator(".cube-cells rect").nth(0).bounding_box()
    assert min(one["width"], one["height"]) >= 24
    for index in (3, 4):  # two numbers of the painted token: take them away
        cell = tab.locator(".cube-cells rect").nth(index).bounding_box()
        tab.mouse.click(cell["x"] + cell["width"] / 2, cell["y"] + cell["height"] / 2)
    assert block(tab)[1] == [5]
    assert value(tab, "painted") == "1 number: a set of your own"
    assert tab.get_by_role("radio", name="your own").is_checked()
    tab.locator(".cube-block").focus()
    for key in (
        "ArrowDown",
        " ",
        "ArrowDown",
        " ",
        "ArrowUp",
        "ArrowUp",
        "ArrowUp",
        " ",
    ):
        tab.keyboard.press(key)
    assert block(tab)[1] == [2, 5, 8, 11]  # feature 2 of image 0
    assert value(tab, "painted") == "4 numbers: InstanceNorm"
    assert value(tab, "means") == "6, each of 4 numbers"


def test_finger_pokes_a_number(visit):
    tab = visit("norms", width=360, has_touch=True, is_mobile=True)
    cell = tab.locator(".cube-cells rect").nth(19).bounding_box()
    assert min(cell["width"], cell["height"]) >= 24
    tab.touchscreen.tap(cell["x"] + 9, cell["y"] + 9)
    assert value(tab, "poked") == "image 1, token 2, feature 1"


def test_a_whole_number_may_be_eps():
    made = NormExplorer(eps=1)
    assert (made.eps, type(made.eps)) == (1.0, float)


def test_space_paints_alone_and_the_page_does_not_see_it(visit):
    tab = visit("norms")
    tab.evaluate("addEventListener('keydown', (e) => { window.reached = e.key; })")
    tab.locator(".cube-block").focus()
    before = value(tab, "painted")
    for key in ("Control+Space", "Shift+Space"):
        tab.keyboard.press(key)
        assert value(tab, "painted") == before
        assert tab.evaluate("window.reached") == " "
    tab.evaluate("window.reached = null")
    tab.keyboard.press("Space")
    assert value(tab, "painted") != before
    assert tab.evaluate("window.reached") is None


def test_without_three_features_there_is_no_space():
    made = NormExplorer(rand(3, 2, 5), poke=torch.tensor([2, 1, 4]))
    assert made.poke == [2, 1, 4]
    assert repr(made) == "NormExplorer(3 × 2 × 5 numbers)"
    drawn = still.draw({"a": made.get_state()})["a"]
    assert "cube-block" in drawn
    assert "cube-space" not in drawn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": [[1.0]]}, "expected a tensor of real numbers as x, got list"),
        ({"x": rand(2, 3)}, r"x \(B, N, D\) with B from 1 to 4 .*, got shape \(2, 3\)"),
        ({"x": rand(2, 7, 3)}, r"N from 1 to 6 .*, got shape \(2, 7, 3\)"),
        ({"x": rand(2, 0, 3)}, r"N from 1 to 6 .*, got shape \(2, 0, 3\)"),
        ({"x": rand(2, 4, 1)}, r"D from 2 to 6, got shape \(2, 4, 1\)"),
        ({"x": rand(1, 1, 3)}, r"two tokens in x, got shape \(1, 1, 3\)"),
        ({"x": np.zeros((2, 4, 3))}, "tensor of real numbers as x, got ndarray"),
        ({"x": rand(2, 4, 3) / 0}, "-1000 to 1000 in x, got inf to inf"),
        ({"x": 2e3 * torch.eye(3)[None]}, "-1000 to 1000 in x, got 0 to 2000"),
        ({"weight": rand(4)}, r"expected weight \(3\), got shape \(4,\)"),
        ({"bias": torch.tensor([0, torch.nan, 0])}, "-1000 to 1000 in bias"),
        ({"eps": 0.0}, r"expected eps in \(0, 1\], got 0.0"),
        ({"eps": True}, r"expected eps in \(0, 1\], got True"),
        ({"eps": "small"}, r"expected eps in \(0, 1\], got small"),
        ({"poke": (2, 0, 0)}, r"a poke .* inside 2 × 4 × 3, got \(2, 0, 0\)"),
        ({"poke": (0, 0)}, r"a poke .* inside 2 × 4 × 3, got \(0, 0\)"),
        ({"poke": 3}, "a poke .* inside 2 × 4 × 3, got 3"),
    ],
)
def test_norm_explorer_refuses(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        NormExplorer(**arguments)
