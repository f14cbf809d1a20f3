"""The table of mistakes against checks."""

import re

import pytest
from bs4 import BeautifulSoup

from vit_encoder.figures import CheckMatrix

PASSED = {
    "right": {"shape": True, "D=4": True},
    "no-<scale>": {"shape": True, "D=4": False},
}
BESIDE = {"ViT": {"right": "92%", "no-<scale>": "43%"}}


def test_it_is_a_table_in_text():
    assert repr(CheckMatrix(PASSED, BESIDE)).splitlines() == [
        "version     shape  D=4  ViT",
        "right         ✓     ✓   92%",
        "no-<scale>    ✓     ✗   43%",
    ]


def test_a_cell_longer_than_its_heading_moves_no_column():
    beside = {
        "ViT": {"right": "92.25%", "no-<scale>": "9%"},
        "n": dict.fromkeys(PASSED, "1"),
    }
    assert repr(CheckMatrix(PASSED, beside)).splitlines() == [
        "version     shape  D=4   ViT    n",
        "right         ✓     ✓   92.25%  1",
        "no-<scale>    ✓     ✗     9%    1",
    ]


def test_it_is_a_table_with_headings_in_html():
    page = BeautifulSoup(CheckMatrix(PASSED, BESIDE)._repr_html_(), "html.parser")
    heads = [th.get_text() for th in page.select("thead th[scope=col]")]
    assert heads == ["version", "shape", "D=4", "ViT"]
    assert [th.get_text() for th in page.select("th[scope=row]")] == [*PASSED]
    right, wrong = page.select("tbody tr")
    assert [mark["aria-label"] for mark in right.select("[role=img]")] == ["passes"] * 2
    assert wrong.select("[role=img]")[1]["aria-label"] == "caught"
    assert wrong.select("td")[2].get_text() == "43%"
    assert page.div["class"] == ["vit-checks"]
    assert page.div["aria-label"] == "Which check sees which mistake"
    assert "background" in wrong.select("td")[1]["style"]
    sides = [re.search(r"text-align: (\w+)", c["style"])[1] for c in wrong]
    assert sides == ["left", "center", "center", "center"]


@pytest.mark.parametrize(
    ("passed", "beside"),
    [
        (PASSED | {"other": {"shape": True}}, {}),
        (PASSED | {"other": {"D=4": True, "shape": True}}, {}),
        (PASSED, {"ViT": {"right": "92%"}}),
    ],
)
def test_rows_that_do_not_fit_are_refused(passed, beside):
    with pytest.raises(ValueError, match=r"expected for '.*' \['shape', 'D=4'"):
        CheckMatrix(passed, beside)
