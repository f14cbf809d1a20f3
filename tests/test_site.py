"""The built book in a browser: what a reader meets, and what must not happen."""

import gzip
import json
import re
import statistics
import subprocess
from functools import cache
from urllib.parse import quote_plus, urldefrag, urljoin
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup

from address import ROOT
from book import HTML
from node import install_checkers
from release import read_version
from search_index import typed
from system_packages import JAVA

PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.rglob("*.html"))
OURS = [p for p in PAGES if p not in ("genindex.html", "search.html", "404.html")]
CHAPTER = "chapters/02_self_attention.html"
EXERCISE = "exercises/02_self_attention.html"
CHAPTERS = [p for p in PAGES if p.startswith("chapters/")]
WIDTHS = (360, 1280)  # pixels, of a phone and of a desktop
WORDS_CUT = """[...document.querySelectorAll("article svg text")].filter(words => {
    const inner = words.getBoundingClientRect();
    const outer = words.ownerSVGElement.getBoundingClientRect();
    return inner.width && getComputedStyle(words.ownerSVGElement).overflow !== "visible"
        && (inner.left < outer.left - 1 || inner.right > outer.right + 1);
}).map(words => words.textContent)"""
CUT_OFF = """[...document.querySelectorAll("div.math .katex-html")]
    .filter(formula => formula.scrollWidth > formula.clientWidth)
    .map(formula => formula.textContent)"""  # formulas, which end before their number
TOO_WIDE = """[...document.querySelectorAll(".vit-table")]
    .filter(table => table.scrollWidth > table.clientWidth)
    .map(table => table.getAttribute("aria-label"))"""
# For Java: to compile well costs more than a short run gains, and takes more stack.
SHORT_RUN = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xss4m")
BUDGET = 250_000  # bytes that a chapter sends before its pictures


@cache
def soup(page):
    """The page, parsed."""
    return BeautifulSoup((HTML / page).read_text(encoding="utf-8"), "html.parser")


@cache
def by_id(page):
    """The elements of a page that have an id, by it."""
    return {tag["id"]: tag for tag in soup(page).find_all(id=True)}


# In one process, for which a page is parsed once.
parses_pages = pytest.mark.xdist_group("parses pages")


@pytest.fixture
def visit(tabs, site):
    """Open a page."""

    def open_page(page, **options):
        tab = tabs(site, **options)
        tab.goto(site + page, wait_until="networkidle")
        return tab

    return open_page


def test_there_are_pages():
    assert "index.html" in PAGES
    assert CHAPTER in PAGES


@pytest.mark.parametrize("page", PAGES)
def test_page(page, visit):
    """No error, no outside request, no overflow, no accessibility violation.

    On a phone formulas are not cut off, and no cell's table has to be scrolled. Each
    width is looked at in one theme: the next test looks at the other ones.

    Formulas and code become plain text first: they are most of the elements of a page,
    and the next test looks at their colours.
    """
    tab = visit(page, reduced_motion="reduce")
    for width in reversed(WIDTHS):
        tab.set_viewport_size({"width": width, "height": 800})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(CUT_OFF) == []
    assert tab.evaluate(TOO_WIDE) == []
    assert tab.evaluate(WORDS_CUT) == []
    tab.evaluate(
        """for (const formula of document.querySelectorAll(".katex"))
               formula.replaceWith("formula");
           for (const code of document.querySelectorAll("pre"))
               code.textContent = code.textContent;"""
    )
    phone, desktop = WIDTHS
    light = assert_accessible(tab, desktop, "light")
    assert assert_accessible(tab, phone, "dark") != light


@pytest.mark.parametrize("page", ["index.html", CHAPTER, EXERCISE])
def test_page_with_its_code_and_formulas(page, visit):
    """Their colours come from one style sheet, the same for each page."""
    tab = visit(page, reduced_motion="reduce")
    phone, desktop = WIDTHS
    assert_accessible(tab, desktop, "dark")
    assert_accessible(tab, phone, "light")


def assert_accessible(tab, width, theme, inside="html"):
    """Nothing that axe-core objects to, inside a selector; the colour of the page."""
    tab.set_viewport_size({"width": width, "height": 800})
    tab.emulate_media(color_scheme=theme)
    if not tab.evaluate("'axe' in window"):
        tab.add_script_tag(path=install_checkers() / "axe-core" / "axe.min.js")
    assert violations(tab, inside) == []
    return background(tab)


def violations(tab, inside="html"):
    """What axe-core finds inside what a selector names."""
    run = f"axe.run('{inside}', {{resultTypes: ['violations']}})"
    found = tab.evaluate(f"{run}.then(result => result.violations)")
    return [
        f"{v['id']}: {n['html'][:200]} {n['failureSummary']}"
        for v in found
        for n in v["nodes"]
    ]


def background(tab):
    """The colour of the page, which tells the theme."""
    return tab.evaluate("getComputedStyle(document.body).backgroundColor")


def test_html_is_valid():
    """The HTML of our pages passes the Nu checker."""
    jar = install_checkers() / "vnu-jar" / "build" / "dist" / "vnu.jar"
    command = [JAVA.path(), *SHORT_RUN, "-jar", jar]
    command += ["--errors-only", "--format", "json"]
    done = subprocess.run(
        [*command, *(HTML / page for page in OURS)], capture_output=True, text=True
    )
    messages = json.loads(done.stderr)["messages"]
    assert [
        f"{m['url'].rsplit('/html/')[-1]}:{m['lastLine']}: {m['message']}"
        for m in messages
    ] == []


@parses_pages
def test_links_within_the_book_lead_somewhere():
    broken = []
    for page in OURS:
        for link in soup(page).find_all(href=True):
            path, anchor = urldefrag(urljoin(f"/{page}", link["href"]))
            if re.match(r"\w+:", path):
                continue
            path = path.lstrip("/") or "index.html"
            if not (HTML / path).exists():
                broken.append(f"{page}: {link['href']}")
            elif anchor and path in PAGES and anchor not in by_id(path):
                broken.append(f"{page}: no anchor {link['href']}")
    assert broken == []


@parses_pages
def test_no_link_says_only_more():
    """Lighthouse refuses these words: they do not say where a link leads."""
    empty = {"click here", "here", "information", "learn more", "more", "read more"}
    empty |= {"click this", "go", "more info", "right here", "start", "this"}
    links = [(p, a.get_text().strip().lower()) for p in OURS for a in soup(p)("a")]
    assert [(page, words) for page, words in links if words in empty] == []


@parses_pages
def test_every_picture_says_what_it_shows():
    bare = []
    for page in OURS:
        for image in soup(page).find_all("img"):
            if len(image.get("alt", "").split()) < 3:
                bare.append(f"{page}: {image.get('src')}")
        for drawing in soup(page).select("article svg[role]"):
            if not drawing.find("title") and not drawing.get("aria-label"):
                bare.append(f"{page}: a drawing without a title")
    assert bare == []


@parses_pages
@pytest.mark.parametrize("page", OURS)
def test_search_engines_get_a_description(page):
    described = soup(page).find("meta", attrs={"name": "description"})
    assert described
    assert 50 <= len(described["content"]) <= 160
    assert "\\" not in described["content"]


def test_sitemap_robots_card_and_favicon(address):
    sitemap = (HTML / "sitemap.xml").read_text()
    assert f"<loc>{address.page('chapters/02_self_attention')}</loc>" in sitemap
    assert f"Sitemap: {address.site}sitemap.xml" in (HTML / "robots.txt").read_text()
    card = soup("index.html").find("meta", property="og:image")["content"]
    assert card.startswith(address.site)
    assert (HTML / card.removeprefix(address.site)).exists()
    icon = soup("index.html").find("link", rel="icon")["href"]
    assert (HTML / icon).exists()


def test_a_lost_reader_finds_the_way(address):
    links = [a["href"] for a in soup("404.html").find_all("a", href=True)]
    assert address.site_path + "index.html" in links


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("permutation equivariance", "chapters/02_self_attention.html"),
        ("softmax", "chapters/02_self_attention.html"),
        ("split_heads", "chapters/03_multi_head_self_attention.html"),
        ("W_O", "chapters/03_multi_head_self_attention.html"),
        ("layernorm", "chapters/04_layer_norm.html"),
        ("gelu", "chapters/05_mlp.html"),
        ("logit lens", "chapters/10_looking_inside.html"),
        ("residual", "chapters/06_encoder_block.html"),
        ("skip connection", "chapters/06_encoder_block.html"),
        ("class token", "chapters/01_patches_and_positions.html"),
        ("rollout", "chapters/10_looking_inside.html"),
        ("dropout", "chapters/05_mlp.html"),
        ("d_k", "chapters/02_self_attention.html"),
    ],
)
def test_search_finds_what_teaches_it_first(words, page, visit):
    tab = visit(f"search.html?q={quote_plus(words)}")
    first = tab.locator(".pagefind-ui__result").first
    assert first.locator("a").first.get_attribute("href").endswith(page)
    nested = first.locator(".pagefind-ui__result-nested a").first
    assert f"{page}#" in nested.get_attribute("href")


@pytest.mark.parametrize("words", ["zzzqqq", "xylophone", "xylophone softmax"])
def test_search_finds_nothing_where_a_word_is_not_in_the_course(words, visit):
    tab = visit(f"search.html?q={quote_plus(words)}")
    message = tab.locator(".pagefind-ui__message")
    message.filter(has_text="No results").wait_for()
    assert words in message.inner_text()
    assert tab.locator(".pagefind-ui__result").count() == 0


def test_a_formula_stands_once_in_what_the_search_shows(visit):
    tab = visit("search.html?q=d_k")
    tab.locator(".pagefind-ui__result").first.wait_for()
    text = tab.locator("#search").inner_text()
    assert "\\" not in text
    assert not re.search(r"(d_?k)\1", text)


def test_the_search_comes_back_with_its_words(visit):
    tab = visit("search.html")
    tab.locator("#search input").fill("split_heads")
    first = tab.locator("#search .pagefind-ui__result").first  # the next may come first
    result = first.locator(".pagefind-ui__result-link").first
    result.click()
    tab.wait_for_url("**/chapters/**")
    tab.go_back()
    tab.wait_for_url("**/search.html?q=split_heads")
    result.wait_for()


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("<msub><mi>W</mi><mi>O</mi></msub>", "W_O"),
        ("<mtr><mtd>a</mtd><mtd>=b</mtd></mtr><mtr><mtd>c</mtd></mtr>", "a =b c"),
        ("<mi>f</mi><mtext>\u2063</mtext><mo>(</mo>", "f("),
        ("<munderover><mo>∑</mo><mi>j</mi><mi>N</mi></munderover>", "∑_j^N"),
    ],
)
def test_a_formula_is_found_as_one_types_it(formula, text):
    assert typed(ElementTree.fromstring(f"<math>{formula}</math>")).split() == (
        text.split()
    )


def test_the_search_is_accessible(visit):
    tab = visit("search.html?q=softmax", reduced_motion="reduce")
    tab.locator(".pagefind-ui__result").first.wait_for()
    phone, desktop = WIDTHS
    assert_accessible(tab, desktop, "light")
    assert_accessible(tab, phone, "dark")
    assert tab.evaluate("document.documentElement.scrollWidth") <= phone
    wide = "[...document.querySelectorAll('#search p, #search a')]"
    wide += ".filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth).length"
    assert tab.evaluate(wide) == 0


def test_the_search_field_has_a_key(visit):
    tab = visit(CHAPTER)
    tab.wait_for_function("document.readyState === 'complete'")
    tab.keyboard.press("/")
    tab.wait_for_function("document.activeElement.name === 'q'")


def test_dark_mode_switches_and_stays(visit):
    tab = visit(CHAPTER, viewport={"width": 1280, "height": 800}, color_scheme="light")
    light = background(tab)
    button = tab.locator(".theme-toggle-content .theme-toggle")
    for _ in range(3):
        button.click()
        if tab.evaluate("document.body.dataset.theme") == "dark":
            break
    dark = background(tab)
    assert light != dark
    tab.reload()
    assert background(tab) == dark


@pytest.mark.parametrize("page", CHAPTERS)
def test_colab_button_leads_to_the_notebook(page, address):
    notebook = page.replace(".html", ".ipynb")
    button = soup(page).select_one("a.launch-button")
    assert button["href"] == address.colab(notebook)
    assert (ROOT / notebook).exists()


@parses_pages
def test_address_and_version_are_filled_in():
    for page in OURS:
        assert not re.search(r"\b(ADDRESS|TAG|VERSION)\b", soup(page).get_text()), page
        assert f"Version {read_version()}" in soup(page).select_one(".colophon").text


@parses_pages
def test_pages_say_that_an_address_leads_nowhere(address):
    for page in (*CHAPTERS, EXERCISE, "book/how_to_use.html", "book/plan.html"):
        said = soup(page).select_one(".leads-nowhere") is not None
        assert said == address.is_placeholder, page


def test_copy_button_copies(visit):
    tab = visit(CHAPTER, permissions=["clipboard-read", "clipboard-write"])
    cell = tab.locator(".cell_input:has-text('rng = torch.Generator')").first
    cell.hover()
    cell.locator("button.copybtn").click()
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("rng = torch.Generator().manual_seed(0)")


def test_mathematics_needs_no_script(visit):
    tab = visit(CHAPTER, java_script_enabled=False)
    assert tab.locator(".katex-display").count() >= 4
    assert tab.locator(".katex-error").count() == 0


@parses_pages
def test_no_mathematics_failed():
    assert [page for page in PAGES if soup(page).select(".katex-error")] == []


@parses_pages
def test_equations_are_numbered_from_1_on_each_page():
    numbers = {p: [n.get_text() for n in soup(p).select(".eqno")] for p in OURS}
    for page, found in numbers.items():
        wanted = [f"({number})" for number in range(1, len(found) + 1)]
        assert [n.removesuffix("¶") for n in found] == wanted, page
    assert sum(map(bool, numbers.values())) > 1


def test_keyboard_reaches_the_text_first(visit):
    tab = visit(CHAPTER)
    tab.keyboard.press("Tab")
    assert "Skip to content" in tab.evaluate("document.activeElement.textContent")


@parses_pages
def test_marks_beside_claims_lead_to_a_cell_or_a_source():
    kinds = {"shown": ".cell, .cell *", "source": ".citation"}
    for page in OURS:
        marks = soup(page).select(".proof > a")
        for mark in marks:
            path, label = urldefrag(urljoin(f"/{page}", mark["href"]))
            target = by_id(path.lstrip("/"))[label]
            assert target.css.match(kinds[mark.text]), f"{page}: {mark['href']}"
        if page in CHAPTERS:
            assert set(kinds) == {mark.text for mark in marks}


CELL, SOURCE = '.proof > a[href="#same-patch"]', '.proof > a[href*="references"]'
FOCUSED = "document.activeElement.getAttribute('href')"
IN_SIGHT = """(() => {
    const { top, bottom } = document.activeElement.getBoundingClientRect();
    return top >= 0 && bottom <= innerHeight; })()"""


def test_a_proof_opens_in_place_for_the_keyboard(visit):
    tab = visit(CHAPTER, reduced_motion="reduce")
    mark, panel = tab.locator(CELL).first, tab.locator("#proof-panel")
    height = mark.evaluate("mark => mark.closest('p').offsetHeight")
    mark.press("Enter")
    panel.get_by_text("Proof: 91.5% of 1000 test images").wait_for()
    tab.keyboard.press("ArrowRight")  # scrolls, and does not turn the page
    tab.wait_for_timeout(500)
    assert panel.evaluate("panel => panel === document.activeElement")
    assert panel.get_by_text("def changed(change):").is_hidden()
    assert mark.evaluate("mark => mark.closest('p').offsetHeight") == height
    assert mark.get_attribute("aria-expanded") == "true"
    for width in WIDTHS:
        for theme in ("light", "dark"):
            assert_accessible(tab, width, theme, "#proof-panel")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.text") == "Go to the cell"
    tab.keyboard.press("Escape")
    assert panel.is_hidden()
    assert tab.evaluate(FOCUSED) == "#same-patch"
    assert mark.get_attribute("aria-expanded") == "false"


def test_a_proof_opens_by_touch_and_leads_to_its_cell_and_back(visit):
    phone = {"width": WIDTHS[0], "height": 800}
    tab = visit(CHAPTER, viewport=phone, has_touch=True, is_mobile=True)
    panel, text = tab.locator("#proof-panel"), tab.url
    tab.locator(SOURCE).first.tap()  # an entry of another page
    panel.get_by_text("An image is worth 16x16 words").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") == WIDTHS[0]
    tab.touchscreen.tap(2, 790)
    panel.wait_for(state="hidden")
    tab.wait_for_function(f"{FOCUSED}?.includes('references')")
    for selector, url in (
        (CELL, text + "#same-patch"),
        (SOURCE, "**/references.html#*"),
    ):
        mark = tab.locator(selector).first
        mark.tap()
        panel.get_by_role("link", name="Go to the").tap()
        tab.wait_for_url(url)
        tab.get_by_role("button", name="Back to the text").tap()
        tab.wait_for_url(text)
        tab.get_by_role("button", name="Back to the text").wait_for(state="detached")
        assert mark.evaluate("mark => mark === document.activeElement")
        tab.wait_for_function(IN_SIGHT)


def test_a_proof_opens_under_the_mouse_and_takes_no_focus(visit):
    tab = visit("book/misreadings.html")
    mark = tab.locator(".proof > a").first
    panel = tab.locator("#proof-panel")
    before = tab.evaluate("document.activeElement.tagName")
    mark.hover()
    panel.wait_for()
    assert tab.evaluate("document.activeElement.tagName") == before
    panel.hover()
    tab.wait_for_timeout(500)  # longer than it waits to close
    assert panel.is_visible()
    tab.mouse.move(2, 2)
    panel.wait_for(state="hidden")


def test_print_leaves_the_navigation_out(visit):
    tab = visit(CHAPTER)
    tab.emulate_media(media="print")
    assert not tab.locator(".sidebar-drawer").is_visible()
    assert tab.locator("article h1").is_visible()


@pytest.mark.parametrize("page", ["index.html", *CHAPTERS])
def test_weight_before_pictures(page, tabs, site):
    """What the server sends, compressed, until the page is at rest."""
    tab = tabs(site, viewport={"width": 412, "height": 823})
    session = tab.context.new_cdp_session(tab)
    session.send("Network.enable")
    kinds, sizes = {}, {}
    session.on(
        "Network.responseReceived",
        lambda e: kinds.__setitem__(e["requestId"], e["type"]),
    )
    session.on(
        "Network.loadingFinished",
        lambda e: sizes.__setitem__(e["requestId"], e["encodedDataLength"]),
    )
    tab.goto(site + page, wait_until="networkidle")
    sent = sum(size for key, size in sizes.items() if kinds.get(key) != "Image")
    assert 0 < sent <= BUDGET


def test_a_figure_loads_its_own_data_and_no_other_s(visit):
    """In chapter 02 the one on the plane, and not the scores of the photograph's."""
    tab = visit(CHAPTER)
    tab.locator(".plane-figure").scroll_into_view_if_needed()
    tab.locator(".vit-still .plane-figure").wait_for(state="detached")
    (asked,) = [url for url in tab.asked if "widget-state" in url]
    data = (HTML / "_static" / asked.rpartition("/")[2]).read_bytes()
    assert len(gzip.compress(data)) < 40_000


FIGURE = ".vit-work:not(.work-still)"


def test_first_screen_has_the_figure_and_one_button(visit):
    desktop = {"width": WIDTHS[1], "height": 800}
    tab = visit("index.html", viewport=desktop, reduced_motion="reduce")
    (button,) = tab.locator("main .start").all()
    assert button.inner_text() == "Start with chapter 01"
    assert button.get_attribute("href") == "chapters/01_patches_and_positions.html"
    picture, guesses = (
        tab.locator(f"{FIGURE} .work-{part}").bounding_box()
        for part in ("picture", "guesses")
    )
    for box in (button.bounding_box(), picture, guesses):
        assert box["y"] + box["height"] < 800
    box = button.bounding_box()
    assert picture["x"] > box["x"] + box["width"]
    assert not tab.locator(".work-still").is_visible()


def test_first_page_loads_the_weights_when_they_are_needed(visit):
    tab = visit("index.html", reduced_motion="reduce")
    asked = []
    tab.on("response", lambda answer: asked.append(answer))
    assert "safetensors" not in " ".join(
        tab.evaluate("performance.getEntriesByType('resource').map(e => e.name)")
    )
    tab.locator(f"{FIGURE} .work-picture").click(position={"x": 5, "y": 5})
    tab.get_by_text("the patch at row 0, column 0 attends most").wait_for()
    (answer,) = [a for a in asked if "safetensors" in a.url]
    assert 0 < len(answer.body()) <= 500_000


@pytest.mark.parametrize("width", WIDTHS)
def test_first_page_does_not_shift(width, visit):
    """Not when the figure takes the place of its still picture, nor when it plays."""
    tab = visit("index.html", viewport={"width": width, "height": 800})
    tab.locator(FIGURE).wait_for()
    tab.locator(FIGURE).scroll_into_view_if_needed()
    tab.wait_for_timeout(1500)
    shifts = """new Promise(done => new PerformanceObserver(list =>
        done(list.getEntries().reduce((sum, entry) => sum + entry.value, 0))
    ).observe({type: "layout-shift", buffered: true}) || setTimeout(done, 500, 0))"""
    assert tab.evaluate(shifts) < 0.01


@parses_pages
def test_no_icons_for_the_source_of_a_page():
    for page in OURS:
        assert not soup(page).select(".view-this-page, .edit-this-page"), page


HEADS = "chapters/03_multi_head_self_attention.html"


@pytest.mark.parametrize(
    ("page", "width"),
    [
        (HEADS, 1280),
        (HEADS, 1440),
        ("book/misreadings.html", 1280),
        ("book/references.html", 1280),
    ],
)
def test_lines_are_easy_to_read_and_the_contents_stand_beside_them(page, width, visit):
    tab = visit(page, viewport={"width": width, "height": 900})
    letters = tab.evaluate(
        """[...document.querySelectorAll(
            "article :is(section, .admonition, .citation) > p")]
            .filter((p) => !p.querySelector(".katex"))
            .map((p) => [p, parseFloat(getComputedStyle(p).lineHeight)])
            .map(([p, line]) => [p.innerText.length, Math.round(p.clientHeight / line)])
            .filter(([, lines]) => lines > 2)
            .map(([letters, lines]) => letters / (lines - 0.5))"""
    )
    assert 60 <= statistics.median(letters) <= 75
    contents = tab.locator(".toc-drawer:not(.no-toc)")
    for box in [each.bounding_box() for each in contents.all()]:
        assert box["x"] + box["width"] <= width
    assert contents.count() == (page != "book/references.html")
    assert tab.evaluate("document.documentElement.scrollWidth") == width


# A drawing, a plot, a figure that answers, ✓ and ✗, a coloured diff, a question.
PICTURES = "img, svg[role], .vit-figure, .vit-checks, .highlight-diff, form.answer"
WITHOUT = """pictures => {
    const { top, bottom } = document.querySelector("article").getBoundingClientRect();
    const boxes = [...document.querySelectorAll(`article :is(${pictures})`)]
        .map((e) => e.getBoundingClientRect()).filter((box) => box.height > 40)
        .sort((one, other) => one.top - other.top);
    let last = top, longest = 0;
    for (const box of [...boxes, { top: bottom, bottom }]) {
        longest = Math.max(longest, box.top - last);
        last = Math.max(last, box.bottom);
    }
    return longest / innerHeight; }"""


@pytest.mark.parametrize("page", CHAPTERS)
def test_no_six_screens_of_a_chapter_are_without_a_picture(page, visit):
    tab = visit(page, viewport={"width": 1280, "height": 800})
    assert tab.evaluate(WITHOUT, PICTURES) < 6


def test_what_a_wrong_version_changes_is_coloured():
    diffs = soup(HEADS).select(".stream.highlight-diff")
    assert len(diffs) >= 2
    assert all(diff.select(".gd") and diff.select(".gi") for diff in diffs)


def test_a_phone_shows_the_results_of_the_recorded_runs(visit):
    tab = visit("book/tested.html", viewport={"width": 360, "height": 800})
    edges = tab.locator(".recorded-runs td:nth-child(2)").evaluate_all(
        "cells => cells.map(cell => cell.getBoundingClientRect().right)"
    )
    assert edges
    assert max(edges) < 360


@pytest.mark.usefixtures("site")
def test_what_the_course_s_figures_load_later_is_small():
    """But for the weights of a whole ViT, which the first page has as well."""
    files = [*HTML.glob("_static/widget-part-*.js")]
    assert len(files) >= 4  # of the photograph in 02, and of the rollout in 10
    packed = {file.name: len(gzip.compress(file.read_bytes())) for file in files}
    assert {name: size for name, size in packed.items() if size > 40 * 1024} == {}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_title_of_a_box_fills_its_width(width, visit):
    tab = visit("book/misreadings.html", viewport={"width": width, "height": 800})
    widths = tab.locator(".admonition > .admonition-title").evaluate_all(
        "titles => titles.map(title => [title.getBoundingClientRect().width,"
        " title.parentElement.clientWidth])"
    )
    assert len(widths) > 40
    assert {title - box for title, box in widths} == {0}


SCROLLS_UNSEEN = """[...document.querySelectorAll("article *")].filter(e =>
    e.scrollWidth > e.clientWidth + 1
    && ["auto", "scroll"].includes(getComputedStyle(e).overflowX)
    && e.getBoundingClientRect().height > 0
    && getComputedStyle(e).maskImage === "none"
    && !e.closest(".katex, .math-wrapper")
).map(e => `${e.className}: ${e.innerText.slice(0, 60)}`)"""


@pytest.mark.parametrize("page", CHAPTERS)
def test_what_scrolls_on_a_phone_fades_at_the_edge(page, visit):
    tab = visit(page, viewport={"width": WIDTHS[0], "height": 800})
    assert tab.evaluate(SCROLLS_UNSEEN) == []


def test_rows_of_a_tensor_and_lines_of_a_diff_stay_whole(visit):
    tab = visit(CHAPTER, viewport={"width": WIDTHS[0], "height": 800})
    for kind in ("lined-up", "highlight-diff"):
        kept = tab.locator(f".output.{kind} pre").evaluate_all(
            "all => all.map(pre => getComputedStyle(pre).whiteSpace)"
        )
        assert kept
        assert {*kept} == {"pre"}
