"""The explorer on a page without a kernel, shown by book/_static/widgets.js."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from ipywidgets.embed import embed_data

from address import ROOT
from node import install_checkers
from site_server import serving
from vit_encoder.figures import AttentionExplorer

pytestmark = pytest.mark.xdist_group("widgets")  # one server and browser for all
ROWS, COLUMNS = 3, 5
SCALE = {"trained": 1 / 8, "no projections": 1 / 4}
MISSING = "This figure needs a running notebook."
PAGE = """<!doctype html>
<html lang="en"><head><title>Widgets</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<script defer src="widgets.js"></script></head>
<body style="background: {background}; color: {colour}"><main><h1>Widgets</h1>
{views}
<script type="application/vnd.jupyter.widget-state+json">{state}</script>
</main></body></html>"""


def make_pairs():
    rng = torch.Generator().manual_seed(0)
    n = ROWS * COLUMNS
    q, k = torch.randn(2, n, 64, generator=rng, dtype=torch.float64)
    x = torch.randn(n, 16, generator=rng, dtype=torch.float64)
    return {"trained": (q, k), "no projections": (x, x)}


PAIRS = make_pairs()


@pytest.fixture(scope="module")
def stored():
    """The state that a notebook would store: an explorer, and three that cannot be."""
    photo = torch.rand(3, 30, 50, generator=torch.Generator().manual_seed(2))
    queries, keys = (
        {label: pair[i] for label, pair in PAIRS.items()} for i in range(2)
    )
    explorer = AttentionExplorer(
        photo, (ROWS, COLUMNS), queries, keys, query=(1, 2), alt="Coloured noise"
    )
    state = embed_data([explorer], drop_defaults=False)["manager_state"]
    own = state["state"][explorer.model_id]
    broken = own["state"] | {"_esm": "export default { render() { throw 1; } }"}
    state["state"]["broken"] = own | {"state": broken}
    state["state"]["slider"] = own | {"model_module": "@jupyter-widgets/controls"}
    return explorer.model_id, state


@pytest.fixture(scope="module")
def pages(stored, tmp_path_factory):
    """A light and a dark page: a slider, a fault, an unknown id, one figure twice."""
    own, state = stored
    folder = tmp_path_factory.mktemp("widgets")
    shutil.copy(Path(ROOT) / "book" / "_static" / "widgets.js", folder)
    kind = "application/vnd.jupyter.widget-view+json"
    views = "\n".join(
        f'<div><script type="{kind}">{json.dumps({"model_id": name})}</script></div>'
        for name in ("slider", "broken", "unknown", own, own)
    )
    themes = {"light": ("#fff", "#000"), "dark": ("#131416", "#cfd0d0")}
    for theme, (background, colour) in themes.items():
        page = PAGE.format(
            background=background, colour=colour, views=views, state=json.dumps(state)
        )
        (folder / f"{theme}.html").write_text(page, encoding="utf-8")
    with serving(folder) as url:
        yield url


@pytest.fixture
def visit(tabs, pages):
    """Open a page."""

    def open_page(theme="light", width=900, **options):
        tab = tabs(pages, viewport={"width": width, "height": 800}, **options)
        tab.goto(f"{pages.rstrip('/')}/{theme}.html", wait_until="networkidle")
        tab.locator(".vit-cell").first.wait_for(state="attached")
        return tab

    return open_page


def figure(tab):
    return tab.locator(".vit-explorer").first


def read(tab, key):
    return figure(tab).locator(f"[data-value={key}]").inner_text()


def shown(tab):
    """The weights on the picture, and the query that they belong to."""
    script = "cells => cells.map(cell => Number(cell.dataset.weight))"
    weights = figure(tab).locator(".vit-cell").evaluate_all(script)
    row, column = (int(w.strip(",")) for w in read(tab, "query").split()[1::2])
    return torch.tensor(weights, dtype=torch.float64), row * COLUMNS + column


def place(tab, row, column):
    """The middle of a patch, in pixels from the picture's corner."""
    box = figure(tab).locator(".vit-picture").bounding_box()
    x = box["width"] * (column + 0.5) / COLUMNS
    return {"x": x, "y": box["height"] * (row + 0.5) / ROWS}


def test_every_view_is_shown_or_says_why_not(visit):
    tab = visit()
    assert tab.locator(".vit-explorer").count() == 2
    assert tab.get_by_text(MISSING, exact=True).count() == 3


def test_start_is_what_python_gave(visit):
    tab = visit()
    assert read(tab, "query") == "row 1, column 2"
    assert figure(tab).get_by_role("radio", name="trained").is_checked()
    assert figure(tab).get_by_role("switch").is_checked()


@pytest.mark.parametrize("scaled", [True, False], ids=["scaled", "not scaled"])
@pytest.mark.parametrize("label", PAIRS)
def test_weights_equal_torch_s_softmax(visit, label, scaled):
    tab = visit()
    figure(tab).get_by_role("radio", name=label).check()
    figure(tab).get_by_role("switch").set_checked(scaled)
    q, k = PAIRS[label]
    right = (q @ k.T * (SCALE[label] if scaled else 1)).softmax(-1)
    for row, column in ((0, 0), (1, 3), (2, 4)):
        figure(tab).locator(".vit-picture").click(position=place(tab, row, column))
        weights, query = shown(tab)
        assert query == row * COLUMNS + column
        assert (weights - right[query]).abs().max() < 1e-3
        assert_readout(tab, right[query])


def assert_readout(tab, weights):
    """The words beside the picture say what the weights are."""
    most = int(weights.argmax())
    where = f"row {most // COLUMNS}, column {most % COLUMNS}"
    largest, at = read(tab, "most").split(" at ")
    assert float(largest) == pytest.approx(weights.max().item(), abs=1.5e-3)
    assert at == where
    entropy = -(weights * weights.clamp_min(1e-300).log()).sum().item()
    assert float(read(tab, "entropy").split()[0]) == pytest.approx(entropy, abs=0.01)
    spread = float(read(tab, "spread").split()[1])
    assert spread == pytest.approx(2.718281828**entropy, abs=0.6)


def test_mouse_shows_what_it_points_at_and_a_click_keeps_it(visit):
    tab = visit()
    picture = figure(tab).locator(".vit-picture")
    picture.hover(position=place(tab, 0, 4))
    assert read(tab, "query") == "row 0, column 4"
    tab.locator("h1").hover()
    assert read(tab, "query") == "row 1, column 2"
    picture.click(position=place(tab, 2, 0))
    tab.locator("h1").hover()
    assert read(tab, "query") == "row 2, column 0"


def test_finger_chooses_on_a_phone(visit):
    tab = visit(width=340, has_touch=True, is_mobile=True)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 340
    figure(tab).locator(".vit-picture").tap(position=place(tab, 0, 1))
    assert read(tab, "query") == "row 0, column 1"
    figure(tab).get_by_role("radio", name="no projections").tap()
    assert figure(tab).get_by_role("radio", name="no projections").is_checked()


def test_keyboard_reaches_everything(visit):
    tab = visit()
    tab.keyboard.press("Tab")
    tab.evaluate("addEventListener('keydown', () => { window.reached = true; })")
    for key, query in (
        ("ArrowRight", "row 1, column 3"),
        ("ArrowDown", "row 2, column 3"),
        ("ArrowDown", "row 2, column 3"),
        ("ArrowLeft", "row 2, column 2"),
        ("ArrowUp", "row 1, column 2"),
    ):
        tab.keyboard.press(key)
        assert read(tab, "query") == query
    assert tab.evaluate("window.reached") is None  # the page does not turn
    picture = figure(tab).locator(".vit-picture")
    assert picture.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    tab.keyboard.press("Tab")
    tab.keyboard.press("ArrowRight")
    assert figure(tab).get_by_role("radio", name="no projections").is_checked()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Space")
    assert not figure(tab).get_by_role("switch").is_checked()


def test_two_views_of_one_figure_agree(visit):
    tab = visit()
    figure(tab).locator(".vit-picture").click(position=place(tab, 0, 0))
    tab.locator("h1").hover()
    second = tab.locator(".vit-explorer").nth(1)
    assert second.locator("[data-value=query]").inner_text() == "row 0, column 0"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_accessibility_violation(visit, theme):
    tab = visit(theme, color_scheme=theme)
    tab.add_script_tag(path=install_checkers() / "axe-core" / "axe.min.js")
    found = tab.evaluate("axe.run().then(result => result.violations)")
    assert [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found] == []
