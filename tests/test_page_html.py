"""The rules that mend the HTML of the book: one that finds nothing is named."""

import base64
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils import nodes
from PIL import Image

import book_extension
import still
from page_html import (
    RULES,
    Rule,
    Site,
    caption_plots,
    colour_code,
    drop_tabs,
    finish,
    glue_formulas,
    join_numbers,
    join_styles,
    name_proofs,
    size_pictures,
    still_figures,
    sub,
    swap,
    write_widget_state,
)

HERE = Rule("here", swap("<b>", "<b class=x>"), everywhere=True)
SOMEWHERE = Rule("somewhere", sub(r"<i>(\w)</i>", r"<em>\1</em>"))


@pytest.fixture
def site(tmp_path):
    (tmp_path / "_static").mkdir()
    return Site(tmp_path / "_static")


def write_pages(folder, **texts):
    """Write pages; their paths."""
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return [folder / f"{name}.html" for name in texts]


def test_rules_that_match_change_the_pages(site, tmp_path):
    pages = write_pages(tmp_path, a="<b>1</b><i>2</i>", b="<b>3</b>")
    assert finish(site, pages, [HERE, SOMEWHERE], whole=True) == []
    assert [page.read_text() for page in pages] == [
        "<b class=x>1</b><em>2</em>",
        "<b class=x>3</b>",
    ]


def test_a_rule_for_every_page_that_finds_nothing_on_one_is_named(site, tmp_path):
    pages = write_pages(tmp_path, a="<b>1</b><i>2</i>", b="<B>3</B>")
    faults = finish(site, pages, [HERE, SOMEWHERE], whole=True)
    assert faults == ["b.html has nothing for the rule `here`"]


def test_a_rule_that_finds_nothing_in_the_book_is_named(site, tmp_path):
    pages = write_pages(tmp_path, a="<b>1</b>", b="<b>3</b>")
    faults = finish(site, pages, [HERE, SOMEWHERE], whole=True)
    assert faults == ["no page has anything for the rule `somewhere`"]
    # A build of a few pages cannot know.
    pages = write_pages(tmp_path, a="<b>1</b>")
    assert finish(site, pages, [HERE, SOMEWHERE], whole=False) == []


def test_rules_have_names_of_their_own():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("found", "warnings"), [("b", 0), ("u", 1)])
def test_a_build_warns_of_it_and_so_fails(tmp_path, monkeypatch, found, warnings):
    said = []
    logger = SimpleNamespace(warning=lambda text, *values: said.append(text % values))
    monkeypatch.setattr(book_extension, "logger", logger)
    monkeypatch.setattr(book_extension, "RULES", [HERE])
    monkeypatch.setattr(book_extension, "written", ["a"])
    # The search refuses a site without a text to find.
    text = f'<article id="furo-main-content"><{found}>1</{found}></article>'
    write_pages(tmp_path, a=f"<html><body>{text}</body></html>")
    app = SimpleNamespace(
        outdir=tmp_path,
        srcdir=tmp_path,
        builder=SimpleNamespace(
            format="html", images={}, get_target_uri=lambda name: f"{name}.html"
        ),
        env=SimpleNamespace(found_docs={"a"}),
    )
    book_extension.finish_pages(app, None)
    assert len(said) == warnings
    assert all("the rule `here`, in tools/page_html.py" in text for text in said)


@pytest.mark.parametrize(
    ("classes", "text", "is_diff"),
    [
        (["output", "stream"], " x = 1\n-y = 2\n+y = 3\n", True),
        (["output", "stream"], " x = 1\n\n-y = 2\n+y = 3\n", True),
        (["output", "stream"], "-0.3 and -1.387833 both become -0.114627\n", False),
        (["output", "stream"], "     x = 1\n-     y = 2\n", True),
        (["output", "stream"], "- one\n- two\n", False),
        (["output", "stream"], "-0.3\n-1.4\n", False),
        (["output", "stream"], "+0.3\n+1.4\n", False),
        (["output", "stream"], "-0.3\n+1.4\nand 2\n", False),
        ([], "-y = 2\n+y = 3\n", False),
    ],
)
def test_what_takes_lines_away_and_adds_some_is_coloured(classes, text, is_diff):
    page = nodes.container()
    page += nodes.literal_block(text, text, classes=classes, language="none")
    book_extension.colour_diffs(None, page)
    assert (page[0]["language"] == "diff") == is_diff


def test_a_page_loads_the_states_of_two_figures(site, tabs):
    tab = tabs("about:blank")  # fails at its end if a script has failed
    for id in ("1", "2"):
        name = write_widget_state(site, {"state": {id: {}}})
        tab.add_script_tag(content=(site.static / name).read_text(encoding="utf-8"))
    states = tab.locator('script[type$="widget-state+json"]').all_text_contents()
    assert [json.loads(text)["state"] for text in states] == [{"1": {}}, {"2": {}}]


def test_pictures_get_their_size(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    site = Site(tmp_path, {"a1.png": tmp_path / "a.png"})
    html, times = size_pictures(site, '<img alt="A" src="../_images/a1.png" />')
    assert 'width="30" height="20" loading="lazy" src="../_images/a1.png"' in html
    assert times == 1
    for other in ('<img src="b.svg">', '<img width="3" src="a1.png">', "<p>"):
        assert size_pictures(site, other) == (other, 0)


def test_style_sheets_become_one(site):
    (site.static / "a").mkdir()
    (site.static / "a" / "a.css").write_text("/* no */p { background: url(b.png) }")
    (site.static / "c.css").write_text("i { color: red }")
    link = '<link rel="stylesheet" href="../_static/{}">'
    links = link.format("a/a.css") + link.format("c.css")
    html, times = join_styles(site, f"<head>{links}</head>")
    assert times == 2
    (name,) = re.findall(r'href="\.\./_static/(styles-\w+\.css)"', html)
    text = (site.static / name).read_text()
    assert text == "p { background: url(a/b.png) }\ni { color: red }"
    assert join_styles(site, "<head></head>") == ("<head></head>", 0)


FIGURE = """export default { render({ model, el }) {
    const image = document.createElement("img");
    image.setAttribute("src", model.get("picture"));
    el.append(image, model.get("words"));
} };"""


def test_figures_stand_still_before_scripts_run(site):
    state = {"_esm": FIGURE, "_css": "p { /* no */\n  color: red; }", "words": "a < b"}
    state["picture"] = "data:image/png;base64," + base64.b64encode(b"a cat").decode()
    entries = {
        "a": {"model_module": "anywidget", "state": state},
        "b": {"model_module": "@jupyter-widgets/base", "state": {}},
        "c": {"model_module": "anywidget", "state": {"_esm": "shown by the page"}},
    }
    kind = "application/vnd.jupyter.widget"
    loader = '<script defer src="../_static/widgets.js"></script>'
    view = f'<script type="{kind}-view+json">{{"model_id": "a"}}</script>'
    stored = json.dumps({"state": entries})
    page = f'<head></head>{view}<script type="{kind}-state+json">{stored}</script>'
    page += view.replace('"a"', '"c"')
    html, times = still_figures(site, page + loader)
    assert times == 1
    (sheet,) = re.findall(r'href="\.\./_static/(figures-\w+\.css)"></head>', html)
    assert (site.static / sheet).read_text() == state["_css"]
    shown = view.removeprefix("<script ")
    image = r'<div class="vit-still"><img src="(.*?)">a &lt; b</div>'
    (picture,) = re.findall(re.escape(shown) + image, html)
    assert (site.static / picture.removeprefix("../_static/")).read_bytes() == b"a cat"
    names = re.findall(r'data-state="\.\./_static/(widget-state-\w+\.js)"', html)
    text, other = ((site.static / name).read_text() for name in names)
    assert picture in text
    assert "shown by the page" not in text  # each figure has a file of its own
    assert "shown by the page" in other
    assert html.count("vit-still") == 1
    assert "a < b" in text
    assert "color" not in text
    assert still_figures(site, loader) == (loader, 0)


def test_a_figure_that_cannot_be_drawn_is_named():
    with pytest.raises(RuntimeError, match=r"could not be drawn[\s\S]*no such thing"):
        still.draw({"a": {"_esm": "throw new Error('no such thing')"}})


def cell(label, code, *outputs):
    """A folded cell, as MyST-NB writes it."""
    shown = "".join(
        '<div class="output stream highlight-myst-ansi notranslate">'
        '<div class="highlight"><pre tabindex="0"><span></span>'
        f"{text}\n</pre></div>\n</div>\n"
        for text in outputs
    )
    return (
        f'<div class="cell tag_hide-input docutils container" id="{label}">\n'
        '<details class="admonition hide above-input">\n<summary>\n'
        '<span class="collapsed admonition-title">Show the code</span>\n</summary>\n'
        f'<div class="cell_input"><pre>{code}</pre></div>\n</details>\n'
        f'<div class="cell_output docutils container">\n{shown}</div>\n</div>\n'
    )


@pytest.mark.parametrize("line", ["agrees to 1e-12", "proof: agrees to 1e-12"])
def test_a_folded_proof_says_what_it_proves(line):
    page = cell("id3", "assert y", "not labelled") + cell("parity", "assert x", line)
    html, times = name_proofs(None, page)
    assert times == 1
    assert ">Proof: agrees to 1e-12</span>" in html
    assert html.count("proof-line") == 1
    assert f"<span></span>{line}\n</pre>" in html


@pytest.mark.parametrize(
    "page",
    [
        cell("plot", "x = 1", "agrees"),  # asserts nothing
        cell("table", "assert x", "two\nlines"),
        cell("both", "assert x", "one", "another"),
        cell("none", "assert x"),
        cell("plot", "x = 1", "agrees") + "<p>text</p>" + cell("id3", "assert x", "y"),
    ],
)
def test_other_folded_cells_stay(page):
    assert name_proofs(None, page) == (page, 0)


def figure(inside: str, caption: str) -> str:
    """An output with a caption, as MyST-NB writes it."""
    return (
        f'<figure class="align-default" id="id7">\n{inside}<figcaption>\n<p>'
        f'<span class="caption-text">{caption}</span><a class="headerlink" href="#id7">'
        "¶</a></p>\n</figcaption>\n</figure>\n"
    )


TABLE, PLOT = "<div><table></table></div>", '<img src="plot.png" />\n'


def test_of_a_table_and_its_plot_the_plot_keeps_the_caption():
    page = figure(TABLE, "Other") + figure(TABLE, "Seeds") + figure(PLOT, "Seeds")
    html, times = caption_plots(None, page)
    assert times == 1
    expected = figure(TABLE, "Other") + TABLE + "\n" + figure(PLOT, "Seeds")
    assert html == expected
    html, times = caption_plots(None, figure(PLOT, "Seeds") + figure(TABLE, "Seeds"))
    assert (html, times) == (figure(PLOT, "Seeds") + TABLE + "\n", 1)


def formula(tex: str) -> str:
    """A formula in a line, as KaTeX writes it, in short."""
    return (
        f'<span class="math"><span class="katex"><annotation x="y">{tex}</annotation>'
        f"<span><span>{tex}</span></span></span></span>"
    )


def test_a_formula_is_glued_to_what_touches_it():
    short, long = formula("N^2"), formula("1 + " * 10)
    page = f"<p>From ({short}, {short}-th to {short}. {short} {long}.</p>"
    glued = [f"({short},", f"{short}-th", f"{short}."]
    expected = "<p>From {} {} to {} {} {}.</p>".format(
        *(f'<span class="glued">{words}</span>' for words in glued), short, long
    )
    assert glue_formulas(None, page) == (expected, 3)


def test_a_comma_begins_no_line(tabs):
    tab = tabs("data:")
    style = Path("book/_static/course.css").read_text(encoding="utf-8")
    number = '<span class="base" style="display: inline-block">10</span>'
    words = formula("10").replace("<span>10</span>", number) + "<i>,</i>"
    places = "() => ['i', '.base'].map((e) => document.querySelector(e).offsetTop)"
    for page, falls in ((words, True), (f'<b class="glued">{words}</b>', False)):
        narrow = f'<p style="font: 16px monospace; width: 46px">ab {page}</p>'
        tab.set_content(f"<style>{style}</style>{narrow}")
        comma, ten = tab.evaluate(places)
        assert (comma > ten + 8) == falls


def test_printed_code_is_shown_as_code():
    code, words = (
        cell("bug", "x", "def f(x):\n    return x &lt; 1"),
        cell("t", "x", "defs"),
    )
    html, times = colour_code(None, code + words)
    assert times == 1
    assert html.count("output stream highlight-python notranslate") == 1
    assert '<span class="k">return</span>' in html
    assert re.sub(r"<[^>]+>", "", html) == re.sub(r"<[^>]+>", "", code + words)


@pytest.mark.parametrize(
    ("page", "joined"),
    [
        ("<p>All 50 003 of 1 234 567, or 1 000.</p>", 3),
        ("<p>28 × 28 pixels, 22 % of them, a × b and c %.</p>", 2),
        ("<pre>50 003</pre><p title='50 003'>In 2024 300</p>", 0),
        ("<svg><path d='M10 200 300'/>10 200</svg><p>0.5 300, 1, 2 and 300</p>", 0),
    ],
)
def test_a_number_is_joined(page, joined):
    html, times = join_numbers(None, page)
    assert times == joined
    assert html.replace("\u00a0", " ") == page


def test_the_script_for_tabs_goes_where_tabs_are(site):
    script = '\n    <script data-x="y" src="../_static/design-tabs.js?v=1"></script>'
    assert drop_tabs(site, f"<p>Text</p>{script}") == ("<p>Text</p>", 1)
    tabs = f'<div class="sd-tab-set"></div>{script}'
    assert drop_tabs(site, tabs) == (tabs, 0)
