"""`explore(attention)`: a reader's own function under sliders and buttons."""

import json
import math
import re
import subprocess
import sys

import ipywidgets
import nbformat
import pytest
import torch
import torch.nn.functional as F
from nbclient import NotebookClient

from node import install_checkers
from vit_encoder import attention, dropout, exploring, gelu
from vit_encoder.check.hearing.data import Problem
from vit_encoder.exploring import EXPLORATIONS, VIEW, Explorer, explore, html
from vit_encoder.figures import colours

THEMES = {"light": ("#fff", "#000"), "dark": ("#131416", "#cfd0d0")}


def layer_norm(x, weight, bias, eps):
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


RIGHT = {f.__name__: f for f in (attention, layer_norm, gelu, dropout)}


def named(name, function):
    function.__name__ = name
    return function


def numbers(explorer, row):
    """The numbers of a line of what is seen."""
    words = explorer.look().words[row].replace(",", "").split()
    return [
        float(word) for word in words if word.strip("-.").replace(".", "").isdigit()
    ]


@pytest.mark.parametrize("name", EXPLORATIONS)
def test_every_setting_shows_something(name):
    explorer = explore(RIGHT[name])
    for setting, control in explorer.exploration.controls.items():
        start, seen = explorer.settings[setting], set()
        choices = getattr(control, "choices", (False, True))
        for choice in choices:
            explorer.settings[setting] = choice
            assert not isinstance(explorer.look(), Problem)
            seen.add(explorer.look().picture.svg)
        explorer.settings[setting] = start
        assert len(seen) > 0.6 * len(choices), setting  # a few look alike


def test_the_weights_shown_are_those_of_the_function():
    explorer = explore(attention)
    for row in range(1, 5):
        *weights, total, entropy = numbers(explorer, row)[-8:]
        assert total == 1
        assert sum(weights) == pytest.approx(1, abs=0.03)
        right = -sum(w * math.log(w) for w in weights if w)
        assert entropy == pytest.approx(right, abs=0.06)


def test_wider_heads_get_sharper_without_the_scale_alone():
    def unscaled(q, k, v):
        weights = (q @ k.mT).softmax(-1)
        return weights @ v, weights

    def entropy(function):
        explorer = explore(function)
        found = []
        for width in (4, 1024):
            explorer.settings["width"] = width
            found.append(sum(numbers(explorer, row)[-1] for row in range(1, 5)) / 4)
        return found

    narrow, wide = entropy(named("attention", unscaled))
    assert wide < narrow / 3
    narrow, wide = entropy(attention)
    assert wide > narrow / 1.5


def test_the_token_shown_is_normalized():
    before, after = (numbers(explore(layer_norm), row)[:2] for row in (0, 2))
    assert before[0] == pytest.approx(3, abs=1.5)
    assert after == [0, 1]


def test_dropout_is_thrown_anew_and_switched_off():
    explorer = explore(dropout)
    first = repr(explorer)
    assert repr(explorer) == first
    explorer.seed += 1
    assert repr(explorer) != first
    explorer.settings["training"] = False
    assert "100 of 100 are left" in repr(explorer)


def test_the_notebook_s_own_random_numbers_go_on():
    torch.manual_seed(3)
    right = torch.rand(2)
    torch.manual_seed(3)
    repr(explore(dropout))
    repr(explore(attention))
    assert torch.rand(2).equal(right)


@pytest.mark.parametrize("name", EXPLORATIONS)
def test_the_random_numbers_of_a_gpu_go_on_too(name, monkeypatch):
    def seeded(_number):
        pytest.fail("it seeded the GPU")

    for device in (torch.cuda, torch.mps, torch.xpu):
        for seeds in {"manual_seed", "manual_seed_all"} & {*dir(device)}:
            monkeypatch.setattr(device, seeds, seeded)
    assert not isinstance(explore(RIGHT[name]).look(), Problem)


def uneven(x, p, training):
    x = x.clone()
    x[0, 0], x[0, 1:3] = 2, 0
    return x


def half_nan(x, p, training):
    x = x.clone()
    x[:5] = math.nan
    return x


@pytest.mark.parametrize(
    ("function", "p", "told"),
    [
        (dropout, 0.8, "each is 5.00"),
        (uneven, 0.3, "98 of 100 are left; from 1.00 to 2.00; the mean"),
        (dropout, 1.0, "0 of 100 are left; the mean of all is 0.00"),
        (half_nan, 0.3, "100 of 100 are left; from nan to nan; the mean"),
    ],
)
def test_what_dropout_leaves_is_told_as_it_is(function, p, told):
    explorer = Explorer(function, EXPLORATIONS["dropout"], settings={"p": p})
    assert told in "; ".join(explorer.look().words)


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", EXPLORATIONS)
def test_what_is_no_number_reaches_no_picture_and_hides_no_other(name, strange):
    def broken(*inputs):
        outputs = RIGHT[name](*inputs)
        *others, last = outputs if isinstance(outputs, tuple) else (outputs,)
        last.view(-1)[0] = strange
        return (*others, last) if others else last

    def sizes(function):
        explorer = Explorer(function, EXPLORATIONS[name])
        svg = explorer.look().picture.svg
        assert not re.search(r'="[^"]*(nan|inf)', svg)
        return re.findall(r' (?:fill-opacity|height|width|d)="[^"]*"', svg)

    before, after = sizes(RIGHT[name]), sizes(broken)
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    assert changed <= 2


def unwritten(q, k, v): ...


def stub(q, k, v):
    raise NotImplementedError


def unfinished_inside(q, k, v):
    return torch.nn.Module()(q)


def leaves(q, k, v):
    sys.exit(3)


def raises(q, k, v):
    return q @ k


def turned(q, k, v):
    weights = (q @ k.mT).softmax(-1)
    return weights @ v, weights.mT


def says_nothing(q, k, v):
    print("weights")


def never_ends(q, k, v):
    while True:
        pass


def gives_nan(q, k, v):
    weights = (q @ k.mT / 0).softmax(-1)
    return weights @ v, weights


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (unwritten, "Nothing to explore yet: replace `...` in `attention`"),
        (stub, "Nothing to explore yet: replace `...` in `attention`"),
        (unfinished_inside, "It raised NotImplementedError"),
        (leaves, "It raised SystemExit: 3"),
        (raises, "RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        (raises, "in `raises`: return q @ k"),
        (turned, "`weights` has shape (6, 4), expected (4, 6)"),
        (says_nothing, "It returned None, expected a tuple (output, weights)"),
        (never_ends, "It did not finish within 5 seconds."),
        (gives_nan, " nan"),
    ],
)
def test_an_unfinished_or_wrong_function_is_told_so(
    function, told, capsys, monkeypatch
):
    monkeypatch.setattr(exploring, "TIME_LIMIT", 0.3)  # and not the 5 that it says
    explorer = Explorer(named("attention", function), EXPLORATIONS["attention"])
    assert told in repr(explorer)
    assert html(explorer.look())
    assert capsys.readouterr().out == ""


def test_the_reader_can_stop_it():
    def interrupted(q, k, v):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Explorer(interrupted, EXPLORATIONS["attention"]).look()


@pytest.mark.parametrize(
    ("thing", "error", "told"),
    [
        (attention(*torch.ones(3, 2, 4)), TypeError, "got an object of type tuple"),
        (..., TypeError, "got an object of type ellipsis"),
        (torch.relu, ValueError, "named attention or layer_norm or gelu or dropout"),
        (lambda q, k, v: q, ValueError, "got the function <lambda>"),
    ],
)
def test_what_cannot_be_explored_is_refused(thing, error, told):
    with pytest.raises(error, match=told):
        explore(thing)


def test_controls_call_the_function_anew():
    explorer = explore(dropout)
    slider, switch, button, view = explorer.panel().children
    assert isinstance(slider, ipywidgets.SelectionSlider)
    before = view.value
    slider.value = 0.8
    assert "each is 5.00" in view.value
    switch.value = False
    assert "100 of 100" in view.value
    switch.value, slider.value = True, 0.3
    assert view.value == before
    button.click()
    assert view.value != before


def test_a_control_that_meets_an_error_shows_the_report_and_goes_on():
    def dropout(x, p, training):
        if p > 0.5:
            raise ValueError("too large")
        return x

    slider, *_, view = explore(dropout).panel().children
    slider.value = 0.8
    assert "ValueError: too large" in view.value
    slider.value = 0.2
    assert "100 of 100" in view.value


def test_it_is_called_once_when_it_is_shown(monkeypatch):
    calls = []

    def gelu(x):
        calls.append(x)
        return x

    monkeypatch.setattr("vit_encoder.exploring.has_kernel", lambda: True)
    assert set(explore(gelu)._repr_mimebundle_()) == {"text/plain", "text/html", VIEW}
    assert len(calls) == 1


def test_without_a_kernel_there_is_a_picture_and_text():
    bundle = explore(attention)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert "query 3:" in bundle["text/plain"]
    assert bundle["text/html"].startswith('<div class="vit-drawing"><svg')


def test_in_a_notebook_there_are_controls_and_where_none_can_be_shown_text():
    cells = [
        "from vit_encoder import gelu\nfrom vit_encoder.exploring import explore",
        "explore(gelu)",
        "def gelu(x): ...\nexplore(gelu)",
    ]
    new = nbformat.v4.new_code_cell
    notebook = nbformat.v4.new_notebook(cells=[new(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="python3").execute()
    shown, unanswered = (cell.outputs[0].data for cell in notebook.cells[1:])
    assert set(shown) == {VIEW, "text/plain", "text/html"}
    assert shown["text/plain"] == repr(explore(gelu))
    states = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"][
        "state"
    ]
    assert states[shown[VIEW]["model_id"]]["model_name"] == "VBoxModel"
    assert set(unanswered) == {"text/plain"}


def test_importing_loads_no_widgets():
    code = "import sys, vit_encoder.exploring; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "vit_encoder.exploring" in done.stdout.split()
    assert not {"ipywidgets", "matplotlib", "IPython"} & set(done.stdout.split())


@pytest.mark.xdist_group("widgets")
@pytest.mark.parametrize("theme", THEMES)
def test_pictures_are_accessible_and_fit_a_phone(theme, browser):
    background, colour = THEMES[theme]
    explorers = [*map(explore, RIGHT.values()), explore(dropout)]
    explorers[-1].settings["training"] = False  # 100 of 100
    shown = "".join(html(explorer.look()) for explorer in explorers)
    tab = browser.new_page(viewport={"width": 360, "height": 800})
    tab.set_content(
        '<!doctype html><html lang="en"><title>Explore</title><meta name="viewport" '
        f'content="width=device-width"><body style="background: {background}; color: '
        f'{colour}"><main><h1>Explore</h1>{shown}</main></body></html>'
    )
    tab.add_script_tag(path=install_checkers() / "axe-core" / "axe.min.js")
    found = tab.evaluate("axe.run().then(result => result.violations)")
    tab_width = tab.evaluate("document.documentElement.scrollWidth")
    cut_off = tab.locator("svg text").evaluate_all(
        "texts => texts.filter(text => text.getBoundingClientRect().right >"
        " text.ownerSVGElement.getBoundingClientRect().right)"
        ".map(text => text.textContent)"
    )
    tab.close()
    assert cut_off == []
    assert json.dumps(found) == "[]"
    assert tab_width == 360


@pytest.mark.xdist_group("widgets")
def test_a_picture_is_seen_where_the_notebook_is_not_trusted(browser):
    """Without SVG and styles, which JupyterLab then takes out."""
    trusted = explore(attention)._repr_mimebundle_()["text/html"]
    tab = browser.new_page()
    tab.set_content(re.sub(r"<(svg|style)\b.*?</\1>", "", trusted, flags=re.DOTALL))
    assert "query 3:" in tab.locator("img").get_attribute("alt")
    assert tab.locator("img").bounding_box()["width"] >= 300
    tab.close()


@pytest.mark.xdist_group("widgets")
@pytest.mark.parametrize("theme", THEMES)
def test_bars_of_the_weights_have_the_theme_s_colour_and_bear_no_number(theme, browser):
    tab = browser.new_page()
    view = explore(attention).panel().children[-1]
    tab.set_content(f'<html theme="{theme}"><body>{view.value}</body></html>')
    bars = tab.locator(f'rect[fill="{colours.WEIGHTS}"]')
    found = bars.evaluate_all("bars => bars.map(bar => getComputedStyle(bar).fill)")
    boxes = """found => found.map((each) => {
        const { x, y, right, bottom } = each.getBoundingClientRect();
        return [x, y, right, bottom];
    })"""
    bars, numbers = bars.evaluate_all(boxes), tab.locator("text").evaluate_all(boxes)
    tab.close()
    assert len(bars) == 24
    (colour,) = {bytes(map(int, re.findall(r"\d+", fill))).hex() for fill in found}
    dark = theme == "dark"
    assert f"#{colour}" == (colours.WEIGHTS_IN_THE_DARK if dark else colours.WEIGHTS)
    for x, y, right, bottom in bars:
        for left, top, end, below in numbers:
            # The last units of a line of text are for letters such as p.
            assert right <= left or end <= x or bottom <= top or below - 3 <= y
