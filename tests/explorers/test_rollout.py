"""Rollout, layer by layer."""

import base64
import json

import pytest
import torch
from PIL import Image
from tests.explorers.cases import boot_maps, rand, run

from vit_encoder import VisionTransformer, attention_maps, rollout
from vit_encoder.data import fashion_vit
from vit_encoder.datasets import LabelledImages, fashion_mnist
from vit_encoder.figures import RolloutExplorer
from vit_encoder.figures.rollout_explorer import as_bytes

pytestmark = pytest.mark.xdist_group("explorer rollout")


EVEN_5 = torch.full((2, 1, 5, 5), 0.2)


def maps_of(depth, num_heads, count, seed=0):
    """Random weights (L, h, N, N) in float64, some rows of one weight alone."""
    rng = torch.Generator().manual_seed(seed)
    scores = torch.randn(depth, num_heads, count, count, generator=rng).double()
    scores[0, :, ::3] *= 200
    return (3 * scores).softmax(-1)


def rows_apart(table):
    """How far the rows (N, N) are from their mean row."""
    return (table - table.mean(0)).abs().sum(-1).mean() / 2


def test_the_first_name_is_shown_first():
    made = RolloutExplorer(rand(3, 20, 20), {"new": maps_of(2, 3, 5), "a": EVEN_5})
    assert (made.names, made.chosen, made.layer) == (["new", "a"], "new", 1)
    assert repr(made) == "RolloutExplorer(new, a: L = 2, N = 5)"


@pytest.mark.parametrize("share", [0, 0.3, 0.5, 1])
def test_rollout_is_that_of_torch(visit, share):
    tab = visit("rollout")
    for depth, num_heads, count, seed in ((1, 2, 5, 0), (4, 3, 10, 1), (7, 5, 17, 2)):
        maps = maps_of(depth, num_heads, count, seed)
        layers = json.dumps(maps.mean(1).tolist())
        code = (
            f"(() => {{ const all = figure.rollOut({layers}, {share});"
            "return [all.map(t => t.map(r => [...r])), all.map(figure.rowsApart)];"
            "})()"
        )
        tables, apart = run(tab, code)
        assert len(tables) == depth
        for i, table in enumerate(tables):
            right = rollout(maps[: i + 1, None], share)[0]
            found = torch.tensor(table, dtype=torch.float64)
            torch.testing.assert_close(found, right, rtol=0, atol=1e-9)
            assert apart[i] == pytest.approx(rows_apart(right).item(), abs=1e-9)


def test_weights_are_kept_in_rows_that_sum_to_one(visit):
    tab = visit("rollout")
    for depth, num_heads, count in ((2, 3, 17), (3, 1, 10)):
        maps = maps_of(depth, num_heads, count)
        made = RolloutExplorer(rand(1, 28, 28), {"a": maps})
        code = f"figure.readTables({json.dumps(made.maps['a'])}, [{depth}, {count}])"
        kept = run(tab, f"{code}.map(t => t.map(r => [...r]))")
        kept = torch.tensor(kept, dtype=torch.float64)
        torch.testing.assert_close(kept, maps.mean(1), rtol=0, atol=1e-4)
        ones = torch.ones_like(kept[..., 0])
        torch.testing.assert_close(kept.sum(-1), ones, rtol=0, atol=1e-12)


def test_table_and_maps_show_attention_and_rollout_of_the_models(visit):
    tab = visit("rollout")
    maps = boot_maps()[1]
    for layer, on, name, query in (
        (5, True, "trained", 0),
        (0, True, "trained", 23),
        (3, False, "untrained", 48),
        (5, False, "trained", 1),
    ):
        tab.get_by_role("slider", name="layer").fill(str(layer))
        tab.get_by_role("switch", name="identity").set_checked(on)
        tab.get_by_role("radio", name=name, exact=True).check()
        tab.get_by_role("radio", name="from 0").check()
        if query:
            box = tab.locator(".roll-picture").bounding_box()
            row, column = divmod(query - 1, 7)
            at = {"x": (column + 0.4) / 7, "y": (row + 0.6) / 7}
            at = {"x": at["x"] * box["width"], "y": at["y"] * box["height"]}
            tab.locator(".roll-picture").click(position=at)
        given = maps[name].double()
        tables = [
            given[layer].mean(0),
            rollout(given[: layer + 1, None], 0.5 if on else 0)[0],
        ]
        for i, table in enumerate(tables):
            patches = table[query, 1:]
            wanted = {
                "most": patches.max(),
                "own": table[query, query],
                "apart": rows_apart(table),
            }
            for key, right in wanted.items():
                found = float(tab.locator(f"[data-value='{key} {i}']").inner_text())
                assert found == pytest.approx(right.item(), abs=7e-4), (key, i)
            shades = shades_of(tab, i)
            right = 0.85 * patches / patches.max()
            assert (shades - right).abs().max() < 0.012
            place = tab.locator(f"[data-value='place {i}']").inner_text()
            row, column = map(int, place.split(", "))
            assert patches[7 * row + column] > patches.max() - 2e-4
            assert 0.84 < shades[7 * row + column] < 0.86
    tab.get_by_role("radio", name="stretched").check()
    for i in range(2):
        assert shades_of(tab, i).min() == 0


def shades_of(tab, i):
    """The opacities of the patches of a map."""
    cells = tab.locator(".roll-map").nth(i).locator(":not(.roll-token) > .roll-cells")
    code = "g => [...g.children].map(c => Number(c.getAttribute('fill-opacity')))"
    return torch.tensor(cells.evaluate(code), dtype=torch.float64)


def test_arrow_keys_and_the_square_choose_the_query(visit):
    tab = visit("rollout")
    chosen = tab.get_by_role("radio", name="class token")
    assert chosen.is_checked()
    tab.locator(".roll-picture").focus()
    for key in ["ArrowRight"] * 9 + ["ArrowUp"]:
        tab.keyboard.press(key)
    assert tab.get_by_role("radio", name="a patch").is_checked()
    ring = tab.locator(".roll-ring").first
    assert (ring.get_attribute("x"), ring.get_attribute("y")) == ("6", "2")
    tab.locator(".roll-token").first.click()
    assert chosen.is_checked()
    tab.get_by_role("radio", name="a patch").check()  # the last one
    assert (ring.get_attribute("x"), ring.get_attribute("y")) == ("6", "2")


def test_finger_chooses_a_query_on_either_map(visit):
    tab = visit("rollout", width=360, has_touch=True, is_mobile=True)
    for i, (x, y) in enumerate([(0.9, 0.1), (0.3, 0.95)]):
        box = tab.locator(".roll-map > svg, .roll-picture").nth(i).bounding_box()
        tab.touchscreen.tap(box["x"] + x * box["width"], box["y"] + y * box["height"])
        for ring in tab.locator(".roll-ring").all():
            places = [int(ring.get_attribute(name)) for name in "xy"]
            assert places == [int(7 * x), int(7 * y)]


def test_equal_fractions_are_rounded_up_from_the_left():
    kept = base64.b64decode(as_bytes(torch.full((1, 70, 70), 1 / 70).double()))
    low, high = torch.tensor([*kept]).view(2, 70 * 70)[:, :70]  # of the first row
    assert (low + 256 * high).tolist() == 60 * [2 * 143] + 10 * [2 * 142]


@pytest.mark.parametrize("shape", [(1, 28, 20), (3, 20, 28)])
def test_an_image_that_is_no_square_is_refused(shape):
    message = f"expected a square image, got {shape[1]} × {shape[2]} pixels"
    with pytest.raises(ValueError, match=message):
        RolloutExplorer(rand(*shape), {"a": EVEN_5})


EVEN = torch.full((2, 3, 10, 10), 0.1)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (EVEN, "expected a dict of maps, name → weights, got Tensor"),
        ({}, "expected a dict of maps, .* got none"),
        ({"a": EVEN[0]}, r"weights \(L, h, N, N\) in 'a', got shape \(3, 10, 10\)"),
        ({"a": EVEN[..., :9]}, r"\(L, h, N, N\) in 'a', got shape \(2, 3, 10, 9\)"),
        ({"a": EVEN[..., :8, :8]}, "square number of patches in 'a', got 8 tokens"),
        (
            {"a": EVEN, "b": EVEN[:1]},
            r"one L and N, got \[\(1, 10, 10\), \(2, 10, 10\)",
        ),
        ({"a": 2 * EVEN}, "sum to 1 in 'a', got sums from 2 to 2"),
        ({"a": EVEN * torch.nan}, "sum to 1 in 'a', got sums from nan to nan"),
        ({"a": torch.ones(1, 1, 730, 730)}, "at most 500000 weights .* got 532900"),
    ],
)
def test_rollout_explorer_refuses(maps, message):
    with pytest.raises((TypeError, ValueError), match=message):
        RolloutExplorer(rand(1, 28, 28), maps)


def shown(tab):
    """What the table says: largest weight and how much rows differ, twice each."""
    cells = tab.locator("td[data-value^=most], td[data-value^=apart]")
    return [float(text) for text in cells.all_inner_texts()]


def test_reader_s_own_image_goes_through_the_model_until_a_reset(visit, tmp_path):
    tab = visit("rollout")
    given, picture = shown(tab), tab.locator(".roll-picture image")
    before = picture.get_attribute("href")
    data = fashion_mnist().test
    shirt = data.images[77, 0]
    drawn = 255 - shirt.repeat_interleave(10, 0).repeat_interleave(10, 1)  # on white
    Image.fromarray(drawn.numpy()).convert("RGB").save(tmp_path / "own.png")
    choose = tab.locator("input[type=file]")
    choose.set_input_files(tmp_path / "own.png")
    tab.get_by_role("application", name="an image of your own").wait_for()
    assert not tab.get_by_role("radio", name="untrained").is_visible()
    with torch.no_grad():
        own = LabelledImages(shirt[None, None], data.labels[:1], data.mean, data.std)
        maps = attention_maps(fashion_vit(), own.normalized()).double()
    for layer in (5, 2):
        tab.get_by_role("slider", name="layer").fill(str(layer))
        attention = maps[layer, 0].mean(0)
        rolled = rollout(maps[: layer + 1])[0]
        wanted = [
            *(table[0, 1:].max().item() for table in (attention, rolled)),
            *(rows_apart(table).item() for table in (attention, rolled)),
        ]
        # Grey from the canvas is a few 255ths off.
        assert shown(tab) == pytest.approx(wanted, abs=0.01)
    assert shown(tab) != pytest.approx(given, abs=0.01)
    assert picture.first.get_attribute("href") != before
    (tmp_path / "own.txt").write_text("no image")
    choose.set_input_files(tmp_path / "own.txt")
    tab.get_by_text("Expected an image").wait_for()
    tab.get_by_role("button", name="Reset").click()
    assert shown(tab) == given
    assert picture.first.get_attribute("href") == before
    assert tab.get_by_role("radio", name="untrained").is_visible()


def test_weights_that_do_not_load_are_told_and_the_given_image_stays(visit, tmp_path):
    tab = visit("rollout", allowed="")  # whatever the browser says of it
    tab.route("**/*.safetensors*", lambda route: route.abort())
    given = shown(tab)
    Image.new("RGB", (40, 40), (9, 80, 200)).save(tmp_path / "own.png")
    tab.locator("input[type=file]").set_input_files(tmp_path / "own.png")
    tab.get_by_text("could not be loaded").wait_for()
    assert shown(tab) == given
    tab.unroute("**/*.safetensors*")
    tab.locator("input[type=file]").set_input_files([])
    tab.locator("input[type=file]").set_input_files(tmp_path / "own.png")
    tab.get_by_role("application", name="an image of your own").wait_for()


@pytest.mark.parametrize("channels", [1, 3])
def test_model_must_be_that_of_the_maps(channels):
    torch.manual_seed(channels)
    sizes = {"depth": 2, "dim": 8, "num_heads": 2, "mlp_dim": 12}
    model = VisionTransformer(6, 3, channels, 4, **sizes).eval()
    photo, mean, std = rand(channels, 6, 6), torch.full((channels,), 0.4), 0.3
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(generator=torch.Generator().manual_seed(p.numel()))
        maps = attention_maps(model, (photo[None] - 0.4) / std)[:, 0]
    made = RolloutExplorer(photo, {"a": maps}, model=model, mean=mean, std=std)
    assert made.vit["sizes"]["depth"] == 2
    assert made.file == ""
    assert made.weights == ""  # until they are asked for
    made.asked = True
    assert made.weights.startswith("data:")
    with pytest.raises(ValueError, match=r"attention weights are 'a', with the mean"):
        RolloutExplorer(photo, {"a": maps}, model=model)
    with pytest.raises(TypeError, match="expected a VisionTransformer, got str"):
        RolloutExplorer(photo, {"a": maps}, model="vit")


def test_the_second_model_s_maps_come_when_it_is_chosen(visit):
    tab = visit("rollout", allowed="Failed to load")
    tab.route("**/widget-part*", lambda route: route.abort())
    given = shown(tab)
    tab.get_by_role("radio", name="untrained").check(force=True)
    tab.get_by_text("“untrained” could not be loaded.").wait_for()
    assert tab.get_by_role("radio", name="trained", exact=True).is_checked()
    assert shown(tab) == given
    tab.unroute("**/widget-part*")
    for _ in range(2):
        tab.get_by_role("radio", name="untrained").check()
        tab.wait_for_function(
            "before => document.querySelector('td[data-value=\"most 0\"]').textContent"
            " != before",
            arg=f"{given[0]:.3f}",
        )
        tab.get_by_role("radio", name="trained", exact=True).check()
        assert shown(tab) == given
    assert sum("widget-part" in url for url in tab.asked) == 2  # one of them in vain
