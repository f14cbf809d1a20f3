"""The photograph: its weights, and the sets that a page loads when they are chosen."""

import json

import pytest
import torch
from PIL import Image
from tests.explorers.cases import layer_24, made, rand, run, value

from vit_encoder import patchify
from vit_encoder.figures import AttentionExplorer

pytestmark = pytest.mark.xdist_group("explorer attention")
WEIGHTS = "cells => cells.map(cell => Number(cell.dataset.weight))"
LOST = "“b” could not be loaded."


def weights(tab):
    """Those that lie on the picture."""
    shown = tab.locator(".vit-cell").evaluate_all(WEIGHTS)
    return torch.tensor(shown, dtype=torch.float64)


def right(label, row, *, scaled=True):
    """What PyTorch gives for the figure of CASES, from the same numbers in float32."""
    if label == "a":
        q, k = 9 * rand(216, 24) - 4, 9 * rand(216, 24, seed=2) - 4
    else:
        q = k = rand(216, 768, seed=1) - 0.5
    scores = q[row].double() @ k.double().T
    return (scores * (q.shape[1] ** -0.5 if scaled else 1)).softmax(-1)


@pytest.mark.parametrize("width", [1, 7, 14, 15, 24, 192])
@pytest.mark.parametrize("same", [True, False])
def test_weights_are_those_of_torch_for_the_numbers_that_are_kept(visit, width, same):
    tab = visit("attention")
    rng = torch.Generator().manual_seed(width)
    q, k = torch.randn(2, 15, width, generator=rng, dtype=torch.float64)
    k = q if same else k
    figure = AttentionExplorer(rand(1, 12, 20), (3, 5), {"a": q}, {"a": k})
    stored = f"{json.dumps(figure.parts['a'])}, {figure.steps['a']}, 15"
    read = f"const pair = figure.readPair({stored})"
    kept = run(
        tab,
        f"(() => {{ {read}; const rows = (x) => Array.from({{ length: 15 }}, (_, i) =>"
        " [...x.subarray(i * pair.width, (i + 1) * pair.width)]);"
        " return [rows(pair.q), rows(pair.k), pair.step]; })()",
    )
    found = run(
        tab,
        f"(() => {{ {read}; return Array.from({{ length: 15 }}, (_, i) =>"
        " figure.scoresOf(pair, i)); })()",
    )
    whole_q, whole_k = (torch.tensor(x, dtype=torch.float64) for x in kept[:2])
    ours = torch.tensor(found, dtype=torch.float64).softmax(-1)
    rounded = (kept[2] * whole_q @ whole_k.T).softmax(-1)
    torch.testing.assert_close(ours, rounded, rtol=0, atol=1e-9)
    torch.testing.assert_close(ours, (q @ k.T).softmax(-1), rtol=0, atol=1e-3)


def come(tab, wanted):
    """The picture shows these weights, at once or when their set has been loaded."""
    for _ in range(200):
        if (weights(tab) - wanted).abs().max() < 3e-3:
            return True
        tab.wait_for_timeout(50)
    return False


def test_the_picture_shows_the_weights_of_each_set(visit):
    tab = visit("attention")
    for label in ("a", "b", "a"):
        tab.get_by_role("radio", name=label).check()
        for scaled in (True, False):
            tab.get_by_role("switch").set_checked(scaled)
            wanted = right(label, 4 * 18 + 6, scaled=scaled)
            assert come(tab, wanted)
            assert float(value(tab, "most").split()[0]) == pytest.approx(
                wanted.max().item(), abs=3e-3
            )


def test_a_set_is_loaded_once_and_when_it_is_chosen(visit):
    tab = visit("attention")

    def parts():
        return [url for url in tab.asked if "widget-part" in url]

    assert parts() == []
    before = weights(tab)
    for label in ("b", "a", "b"):
        tab.get_by_role("radio", name=label).check()
        assert come(tab, right(label, 4 * 18 + 6))
    assert len(parts()) == 1
    assert (weights(tab) - before).abs().max() > 0.01


def test_what_cannot_be_loaded_is_told_and_the_old_set_stays(visit):
    tab = visit("attention", allowed="Failed to load")
    tab.route("**/widget-part*", lambda route: route.abort())
    before = weights(tab)
    tab.get_by_role("radio", name="b").check(force=True)
    tab.get_by_text(LOST).wait_for()
    assert tab.get_by_role("radio", name="a").is_checked()
    assert weights(tab).equal(before)
    tab.unroute("**/widget-part*")
    tab.get_by_role("radio", name="b").check()
    tab.get_by_text(LOST).wait_for(state="detached")
    assert (weights(tab) - right("b", 4 * 18 + 6)).abs().max() < 3e-3


def test_a_page_from_the_disk_loads_a_set_too(visit, pages, browser):
    pages.of("attention", "light")
    tab = browser.new_page()
    tab.goto((pages.folder / "attention-light.html").as_uri())
    tab.locator(".vit-still").wait_for(state="detached")
    tab.get_by_role("radio", name="b").check()
    tab.wait_for_function(
        "weight => [...document.querySelectorAll('.vit-cell')].some(cell =>"
        " Math.abs(cell.dataset.weight - weight) < 1e-3)",
        arg=right("b", 4 * 18 + 6).max().item(),
    )
    tab.close()


def test_a_notebook_keeps_all_sets():
    assert not any(text.endswith(".js") for text in made("attention").parts.values())


def of_own(pixels, layer):
    """Queries and keys of an image (3, H, W) of bytes, in float64, by PyTorch."""
    patches = patchify(pixels[None].double() / 255, 16)[0]  # (N, D)
    x = patches - patches.mean(0)
    x = x / x.square().mean(-1, keepdim=True).sqrt()
    if layer is None:
        return x, x
    both = [
        layer[f"{name}.{part}"].double()
        for name in ("query", "key")
        for part in ("weight", "bias")
    ]
    return x @ both[0].T + both[1], x @ both[2].T + both[3]


def test_reader_s_own_image_goes_through_the_layers_until_a_reset(visit, tmp_path):
    tab = visit("attention")
    given = weights(tab)
    picture = tab.locator(".vit-picture image")
    shown, told = (
        picture.get_attribute("href"),
        tab.locator(".vit-picture").get_attribute("aria-label"),
    )
    pixels = (255 * rand(3, 192, 288, seed=9)).byte()
    pixels[:, 40:120, 60:200] //= 4  # a dark place
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "own.png")
    tab.get_by_label("Your own image").set_input_files(tmp_path / "own.png")
    for label, layer in (("a", layer_24()), ("b", None)):
        tab.get_by_role("radio", name=label).check()
        q, k = of_own(pixels, layer)
        wanted = (q[4 * 18 + 6] @ k.T * q.shape[1] ** -0.5).softmax(-1)
        for _ in range(200):
            if (weights(tab) - wanted).abs().max() < (5e-3 if layer else 2e-5):
                break
            tab.wait_for_timeout(50)
        else:
            raise AssertionError((weights(tab) - wanted).abs().max())
        assert wanted.max() > 3 / 216  # and the reader sees something
    assert picture.get_attribute("href") != shown
    assert "an image of your own" in tab.locator(".vit-picture").get_attribute(
        "aria-label"
    )
    (tmp_path / "own.txt").write_text("no image")
    tab.get_by_label("Your own image").set_input_files(tmp_path / "own.txt")
    tab.get_by_text("Expected an image").wait_for()
    tab.get_by_role("button", name="Reset").click()
    assert come(tab, given)
    assert picture.get_attribute("href") == shown
    assert tab.locator(".vit-picture").get_attribute("aria-label") == told


@pytest.mark.parametrize("width", [1, 5])
def test_queries_and_keys_of_an_own_image_are_those_of_torch(visit, width):
    """For the whole numbers that are kept, within 1e-9."""
    rng = torch.Generator().manual_seed(width)
    sizes = {"query.weight": (width, 48), "query.bias": (width,)}
    sizes |= {name.replace("query", "key"): size for name, size in sizes.items()}
    layer = {n: torch.randn(*size, generator=rng) for n, size in sizes.items()}
    q, k = torch.randn(2, 6, width, generator=rng)
    photo = rand(3, 8, 12)
    figure = AttentionExplorer(photo, (2, 3), {"a": q}, {"a": k}, layers={"a": layer})
    rgb = (255 * photo).byte().permute(1, 2, 0).flatten().tolist()
    stored = f"{json.dumps(figure.layers['a'])}, {figure.layer_steps['a']}, {width}"
    tab = visit("attention")
    found = run(
        tab,
        f"(() => {{ const x = figure.tokensOf(Uint8Array.from({rgb}), [8, 12], [2, 3]);"
        f" const pair = figure.pairOfTokens(x, {stored});"
        " return [x.map((row) => [...row]), Array.from({ length: 6 }, (_, i) =>"
        " figure.scoresOf(pair, i))]; })()",
    )
    tokens, scores = (torch.tensor(x, dtype=torch.float64) for x in found)
    patches = patchify(
        torch.tensor(rgb).view(1, 8, 12, 3).permute(0, 3, 1, 2) / 255.0, 4
    )
    x = patches[0].double() - patches[0].double().mean(0)
    x = x / x.square().mean(-1, keepdim=True).sqrt()
    torch.testing.assert_close(tokens[:, :-1], x, rtol=0, atol=1e-5)
    assert tokens[:, -1].eq(1).all()
    kept = {}
    for i, name in enumerate(("query", "key")):
        step = figure.layer_steps["a"][i]
        kept[name] = {
            part: (layer[f"{name}.{part}"].double() / step).round() * step
            for part in ("weight", "bias")
        }
    ours, theirs = (tokens[:, :-1] @ m["weight"].T + m["bias"] for m in kept.values())
    torch.testing.assert_close(scores, ours @ theirs.T, rtol=0, atol=1e-9)


def test_a_layer_is_loaded_when_an_own_image_needs_it(visit, tmp_path):
    tab = visit("attention")
    Image.new("RGB", (30, 20), (200, 10, 10)).save(tmp_path / "own.png")
    assert [url for url in tab.asked if "widget-part" in url] == []
    tab.get_by_label("Your own image").set_input_files(tmp_path / "own.png")
    tab.wait_for_function("document.querySelector('[aria-label^=\"an image of\"]')")
    # Every patch is the mean patch, so that all tokens are alike.
    assert come(tab, torch.full((216,), 1 / 216, dtype=torch.float64))
    assert len([url for url in tab.asked if "widget-part" in url]) == 1


def test_an_own_image_whose_layer_does_not_load_is_not_shown(visit, tmp_path):
    """Not with the weights of another image."""
    tab = visit("attention", allowed="Failed to load")
    given, picture = weights(tab), tab.locator(".vit-picture image")
    shown = picture.get_attribute("href")
    Image.new("RGB", (30, 20), (200, 10, 10)).save(tmp_path / "own.png")
    tab.route("**/widget-part*", lambda route: route.abort())
    choose = tab.locator("input[type=file]")
    choose.set_input_files(tmp_path / "own.png")
    tab.get_by_text("“a” could not be loaded.").wait_for()
    assert picture.get_attribute("href") == shown
    assert weights(tab).equal(given)
    tab.unroute("**/widget-part*")
    choose.set_input_files([])
    choose.set_input_files(tmp_path / "own.png")
    tab.get_by_role("application", name="an image of your own").wait_for()
    assert come(tab, torch.full((216,), 1 / 216, dtype=torch.float64))
    tab.route("**/widget-part*", lambda route: route.abort())
    tab.get_by_role("radio", name="b").check()  # which has no layer to load
    assert picture.get_attribute("href") != shown
