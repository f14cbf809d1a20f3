"""`explore(attention)`: a reader's own function under sliders and buttons."""

import json
import math
import subprocess
import sys

import ipywidgets
import nbformat
import pytest
import torch
import torch.nn.functional as F
from nbclient import NotebookClient

from node import install_checkers
from vit_encoder import attention, dropout, gelu
from vit_encoder.check.hearing.data import Problem
from vit_encoder.exploring import EXPLORATIONS, VIEW, Explorer, explore, html

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
    seen = {repr(explorer)}
    for setting, control in explorer.exploration.controls.items():
        start = explorer.settings[setting]
        for choice in getattr(control, "choices", (False, True)):
            explorer.settings[setting] = choice
            assert not isinstance(explorer.look(), Problem)
            seen.add(repr(explorer))
        explorer.settings[setting] = start
    assert len(seen) > 5 or name == "dropout"


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
    assert "100 of 100 numbers are left" in repr(explorer)


def test_the_notebook_s_own_random_numbers_go_on():
    torch.manual_seed(3)
    right = torch.rand(2)
    torch.manual_seed(3)
    repr(explore(dropout))
    assert torch.rand(2).equal(right)


def unwritten(q, k, v): ...


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
        (raises, "RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        (raises, "in `raises`: return q @ k"),
        (turned, "`weights` has shape (6, 4), expected (4, 6)"),
        (says_nothing, "It returned None, expected a tuple (output, weights)"),
        (never_ends, "It did not finish within 5 seconds."),
        (gives_nan, " nan"),
    ],
)
def test_an_unfinished_or_wrong_function_is_told_so(function, told, capsys):
    explorer = Explorer(named("attention", function), EXPLORATIONS["attention"])
    assert told in repr(explorer)
    assert html(explorer.look())
    assert capsys.readouterr().out == ""


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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not {"ipywidgets", "matplotlib", "IPython"} & set(done.stdout.split())


@pytest.mark.xdist_group("widgets")
@pytest.mark.parametrize("theme", THEMES)
def test_pictures_are_accessible_and_fit_a_phone(theme, browser):
    background, colour = THEMES[theme]
    shown = "".join(html(explore(f).look()) for f in RIGHT.values())
    tab = browser.new_page(viewport={"width": 360, "height": 800})
    tab.set_content(
        '<!doctype html><html lang="en"><title>Explore</title><meta name="viewport" '
        f'content="width=device-width"><body style="background: {background}; color: '
        f'{colour}"><main><h1>Explore</h1>{shown}</main></body></html>'
    )
    tab.add_script_tag(path=install_checkers() / "axe-core" / "axe.min.js")
    found = tab.evaluate("axe.run().then(result => result.violations)")
    tab_width = tab.evaluate("document.documentElement.scrollWidth")
    tab.close()
    assert json.dumps(found) == "[]"
    assert tab_width == 360
