"""The plan of the course: its numbers are counted, its questions have true answers."""

import json
import re

import pytest
import torch

from address import ROOT, read_address
from course_plan import PARTS, WEEKS, exercise_totals, reading_minutes, rows
from sources import read_source

PAGE = (ROOT / "book" / "plan.md").read_text(encoding="utf-8")
CHAPTERS, EXERCISES = (
    sorted((ROOT / folder).glob("*.md")) for folder in ("chapters", "solutions")
)
CATALOGUE = ROOT / "src" / "vit_encoder" / "check" / "catalogue.json"


def test_every_page_of_the_contents_is_planned_once():
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    chapters = re.findall(r"- file: (chapters/\S+|exercises/08_capstone)", contents)
    assert [page for _, page, *_ in rows()] == chapters
    assert {part for part, *_ in rows()} == PARTS.keys()


def test_points_and_minutes_are_those_of_the_tasks():
    tasks = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    assert sum(row[4] for row in rows()) == sum(t["points"] for t in tasks)
    counted = sum(t["minutes"] for t in tasks if t["points"])
    assert sum(row[3] for row in rows()) == counted


WORDS = {6: "Six", 7: "Seven", 8: "Eight", 9: "Nine", 10: "Ten"}


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_a_notebook_says_how_much_it_holds(path):
    source, text = read_source(path, read_address()), path.read_text(encoding="utf-8")
    tasks = [cell.metadata["exercise"] for cell in source.cells("exercise")]
    count = WORDS[sum(task["points"] > 0 for task in tasks)]
    minutes, points = exercise_totals(source)
    head = rf"^{count} tasks.*: about {minutes} minutes, {points} points\."
    assert re.search(head, text, re.MULTILINE), f"expected in its head {head}"
    if all(task["points"] for task in tasks):
        assert f"description: {count} graded exercises " in text


def test_minutes_of_reading_are_counted():
    cell = "```{code-cell} ipython3\n" + "x = 1\n" * 60 + "```\n"
    assert reading_minutes("word " * 590) == 5
    assert reading_minutes("word " * 590 + "\n" + cell) == 5
    assert reading_minutes("word " * 1000 + "\n" + cell) == 10


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_says_how_long_it_takes(path):
    text = path.read_text(encoding="utf-8")
    words = {25: "twenty-five", 30: "thirty"}[reading_minutes(text)]
    assert f"Reading and running take about {words} minutes." in text


def test_no_chapter_takes_more_than_half_an_hour_to_read():
    assert max(minutes for _, _, minutes, *_ in rows()) == 30


def test_of_a_cell_s_options_the_caption_is_read():
    figure = "mystnb:\n  figure:\n    caption: " + "word " * 1000
    image = "\n  image:\n    alt: " + "word " * 1000
    cell = "```{code-cell} ipython3\n---\n" + figure + image + "\n---\nx = 1\n```\n"
    tagged = "```{code-cell} ipython3\n" + ":tags: [part]\n" * 300 + "x = 1\n```\n"
    assert reading_minutes(cell) == 5
    assert reading_minutes(tagged) == 0


def test_weeks_run_on_and_none_is_more_than_twice_another():
    for index, count in ((0, 10), (1, 4)):
        weeks = [week[index] for week in WEEKS.values()]
        assert sorted(set(weeks)) == list(range(1, count + 1))
        assert weeks == sorted(weeks)
        minutes = dict.fromkeys(weeks, 0)
        for _, page, reading, exercises, _ in rows():
            stem = page.partition("/")[2]
            week = next(w for start, w in WEEKS.items() if stem.startswith(start))
            minutes[week[index]] += reading + exercises
        assert max(minutes.values()) < 2.5 * min(minutes.values())


def test_the_answers_of_the_test_are_true(capsys):
    names = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(compile(code, "plan.md", "exec"), names)
    assert capsys.readouterr().out == "[1.0, 2.0]\n"
    assert (torch.zeros(2, 3) @ torch.zeros(3, 4)).shape == (2, 4)
    assert torch.dot(torch.tensor([1, 2, 3]), torch.tensor([4, 0, 1])) == 7
    a, b = names["a"], names["b"]
    shapes = [(a + b).shape, a.transpose(0, 1).shape, a[:, None].shape]
    assert shapes == [(5, 3), (3, 5), (5, 1, 3)]
    linear = torch.nn.Linear(3, 4)
    assert sum(p.numel() for p in linear.parameters()) == 16
    assert linear(torch.zeros(2, 5, 3)).shape == (2, 5, 4)
    x = torch.tensor(3.0, requires_grad=True)
    (x**2).backward()
    assert x.grad == 6
    numbers = torch.tensor([1.0, 3, 5, 7])
    assert (numbers.mean(), numbers.var(correction=0)) == (4, 5)
    assert torch.special.erf(torch.tensor(0.5**0.5)).item() == pytest.approx(
        0.68, abs=0.005
    )
