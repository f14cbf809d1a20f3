"""The page of the search without Pagefind: what it does with the words it gets."""

import pytest

from address import ROOT
from search_index import beginnings

ADDRESS = "http://course.test/"
PAGEFIND = """class PagefindUI {
    constructor(options) {
        Object.assign(window, { options, searched: [] });
        options.element.append(document.createElement("input"));
    }
    triggerSearch(words) { window.searched.push(window.options.processTerm(words)); }
}"""


@pytest.fixture
def search(tabs):
    """Open the page of the search; what it makes of the words in its address.

    stored: the answer where the beginnings of words are asked for, or None: no file.
    """

    def open_page(words, stored):
        script = (ROOT / "book" / "_static" / "search.js").read_text(encoding="utf-8")
        page = f"<div id=search></div><script>{PAGEFIND}</script>"
        page += f"<script>{script}</script>"

        def answer(route):
            if not route.request.url.endswith("beginnings.json"):
                route.fulfill(body=page, content_type="text/html")
            elif stored is None:
                route.fulfill(status=404, body="<h1>not found</h1>")
            else:
                route.fulfill(json=stored)

        tab = tabs(ADDRESS, allowed=lambda text: "status of 404" in text)
        tab.route("**/*", answer)
        tab.goto(f"{ADDRESS}search.html?q={words}", wait_until="networkidle")
        tab.wait_for_function("window.searched.length")
        return tab.evaluate("window.searched")

    return open_page


@pytest.mark.parametrize("length", [3, 4, 6])
def test_a_word_that_begins_as_none_of_the_course_is_found_nowhere(length, search):
    stored = ["dropout"[:length], "softmax"[:length]]
    assert search("softmax", stored) == ["softmax"]
    assert search("xylophone", stored) == ["\u2205"]
    assert search("sox", stored) == (["\u2205"] if length == 3 else ["sox"])


@pytest.mark.parametrize("stored", [None, []])
def test_it_searches_without_the_beginnings_of_words(stored, search):
    assert search("xylophone", stored) == ["xylophone"]


def test_all_beginnings_are_as_long():
    found = beginnings("<p>The softmax of d_model, split_heads and W_O</p>")
    assert found == {"soft", "mode", "d_mo", "spli", "head"}
