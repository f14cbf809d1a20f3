"""The wiring of a block: the stream and the gradient, layer by layer."""

import copy
import json

import pytest
import torch
from tests.explorers.cases import CASES, WIRINGS, rand, run, value

from vit_encoder import (
    EncoderBlock,
)
from vit_encoder.figures import (
    WiringExplorer,
)

pytestmark = pytest.mark.xdist_group("explorer wiring")


def random_blocks(depth=4, scale=1.0):
    """Blocks whose every parameter is random, in float64."""
    rng = torch.Generator().manual_seed(depth)
    blocks = [EncoderBlock(6, 3, 10).double() for _ in range(depth)]
    for block in blocks:
        for p in block.parameters():
            p.data = scale * torch.randn(p.shape, generator=rng).double() / 2
    return blocks


@pytest.mark.parametrize("name", WIRINGS)
def test_stream_gradient_and_directions_are_those_of_torch(visit, name):
    blocks, tokens = random_blocks(), rand(5, 6, seed=2).double()
    made = WiringExplorer(blocks, tokens)
    measured = {key: getattr(made, key) for key in ("stream", "gradient", "directions")}
    tab = visit("wiring")
    for times in (1, 2):
        grown = copy.deepcopy(blocks)
        for p in (p for block in grown for p in block.parameters()):
            p.data *= times if p.dim() == 2 else 1
        stream = [tokens[None]]
        for block in grown:
            stream.append(WIRINGS[name](block, stream[-1]).detach())
        for depth in range(1, 5):
            code = f"figure.curvesOf({json.dumps(measured)}, '{name} {times}', {depth})"
            shown = run(tab, code)
            assert {len(curve) for curve in shown.values()} == {depth + 1}
            for layer in range(depth + 1):

                def rest(x, layer=layer, depth=depth, grown=grown):
                    for block in grown[layer:depth]:
                        x = WIRINGS[name](block, x)
                    return x[0, 0]

                jacobian = torch.autograd.functional.jacobian(rest, stream[layer])
                jacobian = jacobian.flatten(1)  # (D, N·D)
                singular = torch.linalg.svdvals(jacobian)
                right = {
                    "stream": stream[layer].square().mean().sqrt().item(),
                    "gradient": jacobian.norm().item() / 6**0.5,
                    "directions": (singular > singular[0] / 100).sum().item(),
                }
                for key, number in right.items():
                    assert shown[key][layer] == pytest.approx(number, rel=1e-5)


def test_controls_choose_the_curve_that_is_measured(visit):
    tab = visit("wiring")
    made = CASES["wiring"].make()
    for norm, skips, times, depth, layer in (
        ("no norm", False, 1, 24, 0),
        ("post-norm", True, 2, 17, 9),
        ("pre-norm", True, 2, 3, 2),
    ):
        tab.get_by_role("radio", name=norm).check()
        tab.get_by_role("switch", name="skips").set_checked(skips)
        tab.get_by_role("radio", name=f"weights × {times}").check()
        tab.get_by_role("slider", name="blocks").fill(str(depth))
        tab.locator(".wiring-plots").focus()
        for _ in range(25):
            tab.keyboard.press("ArrowLeft")  # and stops at the edge
        for _ in range(layer):
            tab.keyboard.press("ArrowRight")
        key = f"{norm.split()[0].removesuffix('-norm').replace('no', 'none')} "
        key += f"{'skips' if skips else 'row'} {times}"
        assert value(tab, "place") == f"{layer} of {depth}"
        left = made.directions[key][depth - 1][layer]
        assert value(tab, "directions") == f"{left} of 32"
        for name, right in (
            ("stream", made.stream[key][layer]),
            ("gradient", made.gradient[key][depth - 1][layer]),
        ):
            assert number_in(value(tab, name)) == pytest.approx(right, rel=0.06)
    tab.get_by_role("slider", name="blocks").fill("1")
    assert value(tab, "place") == "1 of 1"  # no layer behind the last


def number_in(text):
    """What a number with a power such as 1.5 · 10⁻³¹ means."""
    digits, _, power = text.partition(" · 10")
    return float(digits) * 10 ** int(power.translate(PLAIN) or 0)


PLAIN = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def test_finger_moves_the_layer(visit):
    tab = visit("wiring", width=360, has_touch=True, is_mobile=True)
    box = tab.locator(".wiring-plots").bounding_box()
    at = (38 + 8 + 336 * 18 / 24) / 396  # the plot is 396 wide
    tab.touchscreen.tap(box["x"] + box["width"] * at, box["y"] + 90)
    assert value(tab, "place") == "18 of 24"


def test_wiring_explorer_leaves_the_reader_s_blocks_and_numbers_alone():
    blocks, tokens = random_blocks(2), rand(5, 6)
    before = copy.deepcopy([*blocks[0].parameters()])
    torch.manual_seed(5)
    right = torch.rand(1)
    torch.manual_seed(5)
    assert repr(WiringExplorer(blocks, tokens)) == "WiringExplorer(2 blocks, 6 wide)"
    WiringExplorer(torch.nn.ModuleList(blocks), tokens)
    assert torch.equal(torch.rand(1), right)
    assert all(map(torch.equal, blocks[0].parameters(), before))
    assert blocks[0].training


def test_new_blocks_leave_the_random_numbers_of_a_gpu_alone(monkeypatch):
    seeds = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    monkeypatch.setattr(torch.mps, "manual_seed", seeds.append)
    torch.manual_seed(5)
    right = torch.rand(1)
    torch.manual_seed(5)
    seeds.clear()
    WiringExplorer()
    assert seeds == []
    assert torch.equal(torch.rand(1), right)


def test_the_page_keeps_the_arrow_keys_that_move_nothing(visit):
    tab = visit("wiring")
    tab.evaluate("""() => {
        window.reached = [];
        addEventListener("keydown", (event) => window.reached.push(event.key));
    }""")
    tab.locator(".wiring-plots").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowUp", "ArrowLeft"):
        tab.keyboard.press(key)
    assert tab.evaluate("window.reached") == ["ArrowDown", "ArrowUp"]


def test_what_is_too_large_for_a_number_is_said(visit):
    made = WiringExplorer(random_blocks(3, scale=1e40), rand(5, 6))
    assert made.stream["none skips 1"][-1] is None
    assert made.directions["none skips 1"][2][0] is None
    assert made.stream["post skips 1"][-1] is not None
    assert run(visit("wiring"), "figure.saySize(null)") == "too large for a number"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": []}, "expected 1 to 24 blocks, got 0"),
        ({"blocks": random_blocks(1) * 25}, "expected 1 to 24 blocks, got 25"),
        ({"blocks": EncoderBlock(6, 3, 10)}, "a list of blocks, got EncoderBlock"),
        ({"blocks": 3}, "a list of blocks, got int"),
        (
            {"blocks": [torch.nn.Linear(6, 6)]},
            "norm1, attn, norm2, mlp, got Linear without norm1, attn, norm2, mlp",
        ),
        ({"tokens": rand(2, 5, 6)}, r"tokens \(N, D\), got shape \(2, 5, 6\)"),
        ({"tokens": [[1.0]]}, r"tokens \(N, D\), got list"),
        ({"tokens": rand(50, 64)}, "1 to 640 numbers in tokens, got 3200"),
        ({"tokens": rand(5, 6) / 0}, "finite tokens, got inf or nan"),
        ({"tokens": rand(5, 7)}, "blocks for tokens of width 7: .*6"),
    ],
)
def test_wiring_explorer_refuses(arguments, message):
    given = {"blocks": random_blocks(1), "tokens": rand(5, 6)} | arguments
    with pytest.raises((TypeError, ValueError), match=message):
        WiringExplorer(**given)
