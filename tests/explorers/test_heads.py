"""The heads: outputs, and what each number depends on."""

import json

import pytest
import torch
import torch.nn.functional as F
from tests.explorers.cases import CASES, rand, run, value

from vit_encoder import MultiHeadSelfAttention, patchify
from vit_encoder.check import misconception
from vit_encoder.figures import HeadsExplorer
from vit_encoder.figures.pixels import few_pixels

pytestmark = pytest.mark.xdist_group("explorer heads")


def layer_of(num_heads, cut="transpose", *, mixed=True, seed=0):
    """A layer with random parameters, right or with a bare reshape, in float64."""
    name = "multi_head.MultiHeadSelfAttention"
    wrong = misconception(name, "split-by-reshape").wrong
    kind = MultiHeadSelfAttention if cut == "transpose" else wrong
    layer = kind(12, num_heads).double()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=rng) / 12**0.5)
    if not mixed:
        layer.proj = torch.nn.Identity()
    return layer


@pytest.mark.parametrize("num_heads", [1, 2, 3, 6])
def test_output_and_slopes_are_those_of_torch(visit, num_heads):
    tab = visit("heads")
    x = torch.randn(24, 12, generator=torch.Generator().manual_seed(1)).double()
    stored = HeadsExplorer(rand(3, 32, 48), layer_of(num_heads)).layer
    for mixed, cut, n, j in (
        (True, "transpose", 8, 5),
        (False, "transpose", 23, 11),
        (True, "reshape", 0, 7),
        (False, "reshape", 9, 4),
    ):
        options = json.dumps({"mixed": mixed, "cut": cut})
        arguments = f"{x.tolist()}, {json.dumps(stored)}, {num_heads}, [{n}, {j}]"
        found = run(tab, f"figure.explain({arguments}, {options})")
        tokens = x[None].clone().requires_grad_()
        right = layer_of(num_heads, cut, mixed=mixed)(tokens)[0, n, j]
        (slopes,) = torch.autograd.grad(right, tokens)
        assert found["value"] == pytest.approx(right.item(), abs=1e-5)
        ours = torch.tensor(found["slopes"]).double()
        torch.testing.assert_close(ours, slopes[0], rtol=0, atol=1e-5)


def test_tokens_are_two_by_two_means(visit):
    image = rand(3, 32, 48, seed=4).double()
    code = f"figure.tokensOf({image.flatten().tolist()}, [32, 48], [4, 6])"
    tokens = torch.tensor(run(visit("heads"), code)).double()
    right = patchify(F.avg_pool2d(image[None], 4), 2)[0]  # (24, 12)
    right = (right - right.mean()) / right.std(correction=0)
    torch.testing.assert_close(tokens, right, rtol=0, atol=1e-5)


def test_one_number_reads_one_head_without_w_o_and_one_third_if_reshaped(visit):
    tab = visit("heads")
    assert value(tab, "output") == "token 8, feature 5"
    assert value(tab, "heads") == "3 of 3: 0, 1, 2"
    assert value(tab, "inputs") == "288 of 288"
    assert value(tab, "asks") == "token 8"
    tab.get_by_role("switch", name="W").click()
    assert value(tab, "heads") == "1 of 3: 1"
    assert value(tab, "inputs") == "288 of 288"
    assert tab.locator(".heads-unused").count() == 2
    tab.get_by_role("radio", name="reshape alone").check()
    assert value(tab, "inputs") == "96 of 288"  # eight tokens; token 8 is one
    assert value(tab, "asks") == "token 10"  # of the one head that is read


def test_value_shown_is_that_of_the_photo_s_tokens(visit):
    tab = visit("heads")
    made = CASES["heads"].make()
    raw = few_pixels(rand(3, 64, 96), 32, 48).double() / 255
    x = patchify(F.avg_pool2d(raw[None], 4), 2)  # (1, 24, 12)
    x = (x - x.mean()) / x.std(correction=0)
    layer = MultiHeadSelfAttention(12, 3).double()
    layer.load_state_dict({k: torch.tensor(v) for k, v in made.layer.items()})
    tab.locator(".heads-picture").focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowDown")
    tab.get_by_role("slider", name="feature").fill("2")
    assert value(tab, "output") == "token 15, feature 2"
    shown = float(value(tab, "value").replace("−", "-"))
    assert shown == pytest.approx(layer(x)[0, 15, 2].item(), abs=1e-5)


def test_a_head_gets_the_patches_that_its_rows_are_made_from(visit):
    image = rand(3, 32, 48).double()
    numbers = image.flatten().tolist()
    code = f"figure.asGot({numbers}, [32, 48], [4, 6], n => 8 + Math.floor(n / 3))"
    got = torch.tensor(run(visit("heads"), code)).double().view(1, 3, 32, 48)
    right = patchify(image[None], 8)[0][8 + torch.arange(24) // 3]
    assert torch.equal(patchify(got, 8)[0], right)


def test_finger_chooses_a_patch(visit):
    tab = visit("heads", width=360, has_touch=True, is_mobile=True)
    box = tab.locator(".heads-picture").bounding_box()
    tab.touchscreen.tap(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.1)
    assert value(tab, "output") == "token 5, feature 5"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": torch.nn.Linear(12, 12)}, "a MultiHeadSelfAttention, got Linear"),
        ({"output": 5}, "an output .* inside 24 × 12, got 5"),
        ({"output": (24, 0)}, r"an output .* inside 24 × 12, got \(24, 0\)"),
        (
            {"layer": MultiHeadSelfAttention(8, 2)},
            r"qkv.weight of shape \(36, 12\)",
        ),
        ({"photo": "cat.jpg"}, r"expected a photo \(C, H, W\), got str"),
    ],
)
def test_heads_explorer_refuses(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        HeadsExplorer(**{"photo": rand(3, 64, 96)} | arguments)


def test_heads_explorer_refuses_a_layer_that_is_none():
    layer = MultiHeadSelfAttention(12, 3)
    layer.proj = torch.nn.Identity()
    with pytest.raises(ValueError, match=r"proj.weight of shape .*, got none"):
        HeadsExplorer(rand(3, 64, 96), layer)
    layer = MultiHeadSelfAttention(12, 3)
    layer.proj.bias.data[0] = torch.nan
    with pytest.raises(ValueError, match=r"finite numbers in proj.bias"):
        HeadsExplorer(rand(3, 64, 96), layer)
