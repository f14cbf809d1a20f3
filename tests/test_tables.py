"""The tables of book/generated: each is on a page, and says what it is made from."""

import re

import wrong_answer
from address import ROOT
from tables import FOLDER, all_tables

PAGES = [ROOT / "index.md", *sorted((ROOT / "book").glob("*.md"))]


def test_every_table_is_on_one_page():
    used = []
    for page in PAGES:
        used += re.findall(
            r"\{include\} (?:book/)?generated/(\S+)", page.read_text("utf-8")
        )
    assert sorted(used) == sorted(path.name for path in all_tables())


def test_the_readme_shows_the_report_that_check_gives():
    assert wrong_answer.shown() in (ROOT / "README.md").read_text("utf-8")
    assert "(softmax over queries)" in wrong_answer.report()


def test_every_table_says_in_its_first_line_what_it_is_made_from():
    for path, text in all_tables().items():
        assert path.parent == FOLDER
        line = r"% Generated from (.+) by `make sync`\. Do not edit\.\n"
        source = re.match(line, text)
        named = source[1].removeprefix("the parts in ")
        assert (ROOT / named).exists(), named
