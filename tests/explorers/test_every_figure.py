"""What holds for every figure: usable, light, the same before scripts run."""

import gzip
import re

import pytest
from tests.explorers.cases import CASES, THEMES, made, slowness

from node import install_checkers

SMALL = """[...document.querySelectorAll(
        ".vit-figure :is(input, button):not([type=radio]):not([type=file])")]
    .map(e => (e.closest("label") ?? e).getBoundingClientRect())
    .filter(box => box.height && Math.min(box.width, box.height) < 23.9).length"""
STICK_OUT = """[...document.querySelectorAll(".vit-figure > div")].flatMap(column =>
    [...column.querySelectorAll("*")].filter(e => !e.closest("svg, .vit-live") &&
        e.getBoundingClientRect().right > column.getBoundingClientRect().right + 1)
    .map(e => e.outerHTML.slice(0, 99)))"""


def violations(tab):
    """What axe-core objects to."""
    if not tab.evaluate("'axe' in window"):
        tab.add_script_tag(path=install_checkers() / "axe-core" / "axe.min.js")
    run = "axe.run('html', {resultTypes: ['violations']})"
    found = tab.evaluate(f"{run}.then(result => result.violations)")
    return [
        f"{v['id']}: {n['html'][:200]} {n['failureSummary']}"
        for v in found
        for n in v["nodes"]
    ]


def parametrized(names):
    """Over figures; all that is asked of one figure is asked in one process."""
    groups = {name: pytest.mark.xdist_group(f"explorer {name}") for name in names}
    cases = [pytest.param(name, marks=group) for name, group in groups.items()]
    return pytest.mark.parametrize("name", cases)


every_figure = parametrized(CASES)
USABLE = ".vit-figure :is(.vit-controls, input, button, select):visible"


@every_figure
def test_without_scripts_a_picture_says_what_it_shows(visit, name):
    tab = visit(name, width=360, alive=False, java_script_enabled=False)
    figure = tab.locator(".vit-figure")
    assert figure.is_visible()
    assert tab.locator(USABLE).count() == 0
    assert tab.locator(":focus-visible, [tabindex]").count() == 0
    assert figure.get_by_role("img").first.get_attribute("aria-label")
    assert len(figure.get_by_role("status").text_content().split()) > 5
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


@every_figure
def test_paper_shows_the_figure_and_no_control(visit, name):
    tab = visit(name)
    tab.emulate_media(media="print")
    assert tab.locator(".vit-figure svg").first.is_visible()
    assert tab.locator(USABLE).count() == 0


@every_figure
def test_nothing_moves_when_the_figure_comes_to_life(visit, name):
    box = ".vit-figure"
    for width in (360, 900):
        still = visit(name, "far", width=width, alive=False)
        before = still.locator(box).bounding_box()["height"]
        assert not any(
            "widget-state" in url for url in still.asked
        )  # nobody has seen it
        still.locator(box).scroll_into_view_if_needed()
        still.locator(".vit-still").wait_for(state="detached")
        assert still.locator(box).bounding_box()["height"] == pytest.approx(
            before, abs=1
        )
        assert sum("widget-state" in url for url in still.asked) == 1


@every_figure
@pytest.mark.parametrize("theme", THEMES)
def test_no_accessibility_violation(visit, name, theme):
    """At each width, at the start and when all is changed; nothing sticks out."""
    tab = visit(name, theme, width=328, color_scheme=theme)
    for changes in ((), CASES[name].changes):
        for role, words in changes:
            tab.get_by_role(role, name=words).first.click()
        for width in (328, 760, 1280):  # the first leaves what a page has at 360
            tab.set_viewport_size({"width": width, "height": 800})
            assert violations(tab) == []
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.evaluate(SMALL) == 0
            assert tab.evaluate(STICK_OUT) == []


@every_figure
def test_reset_brings_back_the_start(visit, name):
    tab = visit(name)
    tab.clock.install()
    look = "document.querySelector('.vit-figure').innerHTML"
    controls = "[...document.querySelectorAll('input')].map(i => [i.checked, i.value])"
    start = tab.evaluate(look), tab.evaluate(controls)[1:]
    for role, words in CASES[name].changes:
        tab.get_by_role(role, name=words).first.click()
    assert tab.evaluate(look) != start[0]
    tab.get_by_role("button", name="Reset").click()
    tab.clock.run_for(1000)  # until the words for screen readers are back too
    assert tab.evaluate(look) == start[0]
    assert tab.evaluate(controls)[1:] == start[1]


@every_figure
def test_words_for_screen_readers_wait_until_the_reader_rests(visit, name):
    tab = visit(name)
    tab.clock.install()  # however long the ten moves take, the reader does not rest
    before = tab.get_by_role("status").text_content()
    tab.evaluate(
        """window.said = 0;
           const status = document.querySelector("[role=status]");
           new MutationObserver(() => { said += 1; }).observe(
               status, { childList: true, characterData: true, subtree: true });"""
    )
    box = tab.locator(CASES[name].heart).bounding_box()
    tab.mouse.move(box["x"] + 40, box["y"] + 40)
    tab.mouse.down()
    for step in range(10):
        tab.mouse.move(box["x"] + 40 + 12 * step, box["y"] + 40)
    tab.mouse.up()
    assert tab.evaluate("window.said") == 0
    tab.clock.run_for(1000)
    assert tab.evaluate("window.said") == 1
    assert tab.get_by_role("status").text_content() != before


@every_figure
def test_a_slow_phone_draws_thirty_frames_a_second(visit, browser, name):
    """A touch takes a thirtieth of a second of a CPU that is four times as slow.

    Counted is the time that the page's thread computes, script, layout and paint, which
    hardly depends on what else the machine does.
    """
    assert slowness(visit(name), browser, CASES[name].heart) < 1


@every_figure
def test_what_a_page_loads_of_a_figure_is_small(pages, name):
    pages.of(name, "light")
    page = (pages.folder / f"{name}-light.html").read_text(encoding="utf-8")
    static = pages.folder / "_static"
    (state,) = re.findall(r'data-state="_static/(.*?)"', page)
    text = (static / state).read_text(encoding="utf-8")
    files = {state, *re.findall(r"figures-\w+\.css", page)}
    files |= {*re.findall(r"figure-\w+\.(?:png|jpeg)", text)}
    assert len(files) >= 2
    packed = [len(gzip.compress((static / file).read_bytes())) for file in files]
    assert sum(packed) < 40_000


@every_figure
def test_text_of_a_figure_is_short(name):
    """Where there are no widgets, anywidget shows its first 110 characters."""
    assert len(repr(made(name))) <= 110
