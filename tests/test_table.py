"""The table of numbers and words that cells show."""

import math
import re

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup

from node import install_checkers
from vit_encoder.figures import Table

HEAD = ["blocks", 2, "loss <1>", "ends"]
ROWS = {"base": (0.5, 12345, "at <once>"), "<no> skips": (-0.125, None, False)}


def page_of(table):
    return BeautifulSoup(table._repr_html_(), "html.parser")


def texts(page, selector):
    return [found.get_text() for found in page.select(selector)]


def test_it_stands_in_columns_in_text():
    assert repr(Table(HEAD, ROWS, ".1%", "right of all")).splitlines() == [
        "right of all",
        "blocks           2  loss <1>  ends",
        "base         50.0%    12,345  at <once>",
        "<no> skips  −12.5%            no",
    ]


def test_names_that_are_numbers_stand_as_numbers_do():
    table = Table(["steps", "ahead"], {400: 0.015, 1600: 0.006}, ".1%")
    assert repr(table).splitlines() == ["steps  ahead", "  400   1.5%", " 1600   0.6%"]


def test_a_zero_has_no_minus():
    (row,) = Table([*"abcd"], {"x": [-0.0001, -0.01, -math.inf]}, ".1%").rows
    assert row == ["x", "0.0%", "−1.0%", "−inf%"]


def test_it_has_headings_in_html_and_texts_are_escaped():
    page = page_of(Table(HEAD, ROWS, ".1%", "right < all"))
    assert texts(page, "caption") == ["right < all"]
    assert texts(page, "thead th[scope=col]") == [str(title) for title in HEAD]
    assert texts(page, "tbody th[scope=row]") == [*ROWS]
    first, second = page.select("tbody tr")
    assert texts(first, "td") == ["50.0%", "12,345", "at <once>"]
    assert texts(second, "td") == ["−12.5%", "", "no"]
    assert page.div["aria-label"] == "right < all"
    assert page_of(Table(HEAD, ROWS)).div["aria-label"] == "blocks, 2, loss <1>, ends"


def test_numbers_stand_at_the_right_with_their_titles():
    page = page_of(Table(HEAD, ROWS))
    for line in page.select("tr"):
        sides = [re.search(r"text-align: (\w+)", c["style"])[1] for c in line]
        assert sides == ["left", "right", "right", "left"]
    assert "tabular-nums" in page.table["style"]


@pytest.mark.parametrize("array", [torch.tensor, np.array])
def test_rows_and_cells_may_be_tensors(array):
    rows = {"cells": (array(0.25), array(2)), "row": array([0.5, 2.0])}
    page = page_of(Table(["name", "x", "n"], rows, ".2f"))
    assert texts(page, "td") == ["0.25", "2", "0.50", "2.00"]


def test_rows_may_begin_with_their_name_and_have_it_twice():
    rows = [("P = 7", 4, "α"), ("P = 7", 5, "β")]
    page = page_of(Table(["patch", "n", "letter"], rows))
    assert texts(page, "tbody th") == ["P = 7", "P = 7"]
    assert texts(page, "td") == ["4", "α", "5", "β"]


def test_each_column_may_have_its_form():
    table = Table(["name", "share", "loss"], {"a": (0.5, 2.0)}, [".0%", ".2f"])
    assert texts(page_of(table), "td") == ["50%", "2.00"]


def test_a_single_cell_needs_no_brackets():
    table = Table(["name", "value"], {"a": "word", "b": 0.5, "c": torch.tensor(2.0)})
    assert texts(page_of(table), "td") == ["word", "0.5", "2.0"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("name", {}), "a title for two columns or more, got 'name'"),
        ((["name"], {}), r"a title for two columns or more, got \['name'\]"),
        ((["", "x"], {}), r"a title for two columns or more, got \['', 'x'\]"),
        ((["name", "x", "y"], {"a": 1}), r"for 'a' \['x', 'y'\], got \[1\]"),
        ((["name", "x"], [("a", 1, 2)]), r"for 'a' \['x'\], got \[1, 2\]"),
        ((["name", 2, 4], {"a": {2: 0.5, 4: 0.6}}), r"for 'a' \[2, 4\], got \[\{"),
        ((["name", "x", "y"], {}, [".1%"]), r"one form or 2, got 1: \['\.1%'\]"),
        ((["name", "x"], {"a": 0.5}, ".1q"), "Unknown format code 'q'"),
    ],
)
def test_what_does_not_fit_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        Table(*given)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_it_is_accessible_and_scrolls_where_it_is_wide(tabs, theme):
    narrow = Table(HEAD, ROWS, ".1%", "shares")
    wide = Table([f"column {i}" for i in range(20)], {"row": range(19)})
    shown = "".join(table._repr_html_() for table in (narrow, wide))
    tab = tabs("about:blank", viewport={"width": 360, "height": 640})
    tab.set_content(
        '<!doctype html><html lang="en"><title>Tables</title><main><h1>Tables</h1>'
        f"<style>:root {{ color-scheme: {theme} }}</style>{shown}</main></html>"
    )
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    boxes = tab.locator(".vit-table").evaluate_all(
        "all => all.map(box => box.scrollWidth > box.clientWidth)"
    )
    assert boxes == [False, True]
    assert tab.get_by_role("row", name="base 50.0% 12,345").count() == 1
    tab.add_script_tag(path=install_checkers() / "axe-core" / "axe.min.js")
    found = tab.evaluate("axe.run().then(result => result.violations)")
    assert [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found] == []
