"""The mark of an honest notebook's task is its last report; the card has the best."""

import copy
import inspect
import json
import linecache
from collections import defaultdict
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from io import StringIO

import matplotlib.pyplot as plt
import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient

from address import read_address
from sources import read_all
from sync import generated_notebooks
from vit_encoder import check as checks
from vit_encoder.check import catalogue, progress, score_card
from vit_encoder.check.predictions import Choose, JudgeClaims, PredictNumbers
from vit_encoder.check.tasks import BreakIt, Implement
from vit_encoder.grade.mark import Marker
from vit_encoder.grade.notebook import read_notebook
from vit_encoder.grade.outcome import Cell, Submission
from vit_encoder.grade.sandbox import Sandbox
from vit_encoder.grade.submissions import find_submissions, read_submission

ENTRIES = catalogue()
NOTEBOOKS = sorted({entry["notebook"] for entry in ENTRIES})
CHECKS_SEED = 0  # of check in a notebook; with it even the messages are equal
OTHER_SEED = 2026
IMPORTS = """\
import math
import torch.nn.functional as F
from torch import nn
from vit_encoder import *
from vit_encoder.arguments import *"""
WAYS = ("solved", "wrong", "untouched", "raises", "mended", "spoilt")


pytestmark = pytest.mark.xdist_group("parity")  # one sandbox for all


@pytest.fixture(scope="module")
def made():
    """Folder → name → a notebook as it is handed out now, not executed."""
    address = read_address()
    found = {"exercises": {}, "solutions": {}}
    for path, _, notebook in generated_notebooks(read_all(address), address):
        if path.parent.name in found:
            found[path.parent.name][path.stem] = notebook
    return found


@pytest.fixture(scope="module")
def marker():
    """Seed → what marks with it, as a class is marked: in one sandbox for all tests.

    To start it takes seconds, and so does it to ask the right answers anew.
    """
    with Sandbox() as started:
        yield cache(lambda seed: Marker(seed, started))


# Answers as text


def wrong_answer(entry):
    """A cell with a wrong answer: one that the course knows, where it is code."""
    task, name = checks.task(entry["id"]), entry["answer"]
    match task:
        case Choose():
            return f"{name} = {next(iter(task.wrong))!r}"
        case PredictNumbers():
            pairs = zip(task.wrong[0][0], task.right, strict=True)
            return f"{name} = {[r if wrong is None else wrong for wrong, r in pairs]!r}"
        case JudgeClaims():
            words = {n: next(iter(claim.others)) for n, claim in task.claims.items()}
            kept, *_ = words
            right = {kept: task.claims[kept].verdict}
            return f"{name} = {words | right!r}"
        case BreakIt():
            return f"def {name}(part):\n    return True"
        case Implement():
            known = next(m for m in task.misconceptions if m != task.bug)
            return f"{IMPORTS}\n\n{known.code()}\n\n{name} = {known.right.__name__}"
    raise TypeError(task)


@dataclass
class Mix:
    """A notebook in which every task is answered in a way of its own."""

    exercise: nbformat.NotebookNode
    solution: nbformat.NotebookNode
    shift: int

    def notebook(self):
        """The notebook, with cells added where a task is answered twice."""
        mixed = nbformat.from_dict({**self.exercise, "cells": []})
        after = {}
        for empty, full in zip(self.exercise.cells, self.solution.cells, strict=True):
            mixed.cells.append(cell := nbformat.from_dict(empty))
            if "exercise" in empty.metadata:
                cell.source, after = self.answered(empty, full)
            for source in after.pop(cell.source, []):
                mixed.cells.append(nbformat.v4.new_code_cell(source))
        return mixed

    def answered(self, empty, full):
        """The source of a task's cell; check → the cells that follow on it."""
        id = empty.metadata.exercise.id
        place = [entry["id"] for entry in ENTRIES].index(id)
        entry, right = ENTRIES[place], full.source
        wrong, test = wrong_answer(entry), f'check("{id}", {entry["answer"]})'
        match WAYS[(place + self.shift) % len(WAYS)]:
            case "solved":
                return right, {}
            case "wrong":
                return wrong, {}
            case "untouched":
                return empty.source, {}
            case "raises":
                return f"1 / 0\n{right}", {}
            case "mended":
                return wrong, {test: [right, test]}
            case "spoilt":
                return right, {test: [wrong, test]}


# The card and the marks


def reports_of(notebook):
    """Run a notebook's cells, as Jupyter does after an error too; id → its reports."""
    progress.forget()
    reports, keep = defaultdict(list), progress.remember
    known = {"__name__": "__main__", "display": lambda *_, **__: None}
    python = TransformerManager().transform_cell

    def remember(name, report):
        reports[report.id].append(report)
        keep(name, report)

    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()):
        patch.setattr(progress, "remember", remember)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for number, cell in enumerate(cells, 1):
            source, place = python(cell.source), f"<cell {number}>"
            lines = source.splitlines(keepends=True)
            linecache.cache[place] = (len(source), None, lines, place)  # as in marking
            with suppress(Exception):
                exec(compile(source, place, "exec"), known)
    plt.close("all")
    return reports


@pytest.fixture
def marks_of(marker, tmp_path):
    """A function that marks a notebook as it is handed in."""

    def mark(notebook, seed=CHECKS_SEED):
        nbformat.write(notebook, tmp_path / "ada.ipynb")
        (entry,) = find_submissions(tmp_path).entries
        return marker(seed).mark(read_submission(entry))

    return mark


def assert_equal(name, reports, outcome):
    """Every mark says what the task's last report says; the card has the best."""
    card = score_card(name)
    assert [row.id for row in card.rows] == [mark.id for mark in outcome.marks]
    for row, mark in zip(card.rows, outcome.marks, strict=True):
        assert mark.out_of == row.out_of
        assert row.points == best(reports, row.id)
        if not reports[row.id]:
            assert mark.points == 0, mark
            continue
        report = reports[row.id][-1]
        assert (mark.points, mark.state) == (report.points, report.state), mark
        assert mark.misconceptions == report.misconceptions
        assert mark.message == report.message
    assert outcome.out_of == card.out_of
    assert outcome.points == sum(mark.points for mark in outcome.marks)
    assert outcome.status == "marked"


def best(reports, id):
    """The most points that a report gave a task."""
    return max((report.points for report in reports[id]), default=0)


@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.parametrize("state", ["solutions", "exercises"])
def test_solved_and_untouched(name, state, made, marks_of):
    notebook = made[state][name]
    reports = reports_of(notebook)
    outcome = marks_of(notebook)
    assert_equal(name, reports, outcome)
    full = sum(e["points"] for e in ENTRIES if e["notebook"] == name)
    assert outcome.points == (full if state == "solutions" else 0)
    count = sum(mark.out_of > 0 for mark in outcome.marks)
    untouched = f"Not answered: {count} of {count} tasks."
    assert outcome.note == ("" if state == "solutions" else untouched)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_mix(name, made, marks_of):
    mix = Mix(made["exercises"][name], made["solutions"][name], 0)
    notebook = mix.notebook()
    reports = reports_of(notebook)
    outcome = marks_of(notebook)
    assert_equal(name, reports, outcome)
    assert 0 < outcome.points < outcome.out_of
    assert any(mark.misconceptions for mark in outcome.marks)


def test_a_kernel_of_jupyter(made, marks_of, tmp_path):
    name = "02_self_attention"
    mix = Mix(made["exercises"][name], made["solutions"][name], 1)
    notebook = mix.notebook()
    outcome, reports = marks_of(notebook), reports_of(notebook)
    export = f'score_card("{name}").export("card.json")'
    notebook.cells.append(nbformat.v4.new_code_cell(export))
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(
        notebook, allow_errors=True, startup_timeout=600, resources=resources
    ).execute()
    card = json.loads((tmp_path / "card.json").read_text())
    assert {r["id"]: r["points"] for r in card["rows"]} == {
        mark.id: best(reports, mark.id) for mark in outcome.marks
    }
    assert [mark.points for mark in outcome.marks] == [
        reports[mark.id][-1].points if reports[mark.id] else 0 for mark in outcome.marks
    ]
    assert card["points"] > outcome.points > 0  # one task is spoilt


def test_right_designs_of_the_bank(made, marks_of):
    name = "02_self_attention"
    bank = import_module("tests.bank.self_attention")
    for design in bank.RIGHT_ATTENTION[:3]:
        notebook = nbformat.from_dict(made["exercises"][name])
        cell = next(c for c in notebook.cells if c.source.startswith("def attention("))
        code = f"{IMPORTS}\n\n{inspect.getsource(design)}"
        cell.source = f"{code}\nattention = {design.__name__}"
        reports = reports_of(notebook)
        assert reports["self_attention.attention"][-1].points == 3
        assert_equal(name, reports, marks_of(notebook))


def test_an_answer_without_its_check_is_marked_all_the_same(made, marks_of):
    id = "self_attention.attention"
    notebook = nbformat.from_dict(made["solutions"]["02_self_attention"])
    notebook.cells = [c for c in notebook.cells if f'check("{id}"' not in c.source]
    assert not reports_of(notebook)[id]
    outcome = marks_of(notebook)
    assert (outcome.points, outcome.status) == (outcome.out_of, "marked")
    assert outcome.note == f"No check of {id} ran."


def test_a_cell_that_does_not_run_is_told_from_one_that_was_left(made, marks_of):
    notebook = copy.deepcopy(made["exercises"]["02_self_attention"])
    cell = next(
        c
        for c in notebook.cells
        if c.metadata.get("exercise", {}).get("id") == "self_attention.attention"
    )
    cell.source = "def attention(q, k, v)\n    return q"
    outcome = marks_of(notebook)
    mark = outcome.marks[1]
    assert (mark.points, mark.state) == (0, "its cell does not run")
    assert "The cell of this task raised SyntaxError: expected ':'" in mark.message
    assert "No check" not in outcome.note
    assert outcome.status == "marked"


def test_a_package_that_is_not_here_is_no_zero(made, marks_of):
    notebook = copy.deepcopy(made["solutions"]["02_self_attention"])
    cell = next(
        c
        for c in notebook.cells
        if c.metadata.get("exercise", {}).get("id") == "self_attention.attention"
    )
    cell.source = f"import not_installed_here\n{cell.source}"
    outcome = marks_of(notebook)  # imported, and used by nothing
    assert (outcome.marks[1].points, outcome.status) == (3, "marked")
    cell.source = f"import not_installed_here\nnot_installed_here.f()\n{cell.source}"
    outcome = marks_of(notebook)
    assert outcome.marks[1].points is None
    assert outcome.status == "partly"
    assert "needs a package that is not here: self_attention.attention" in outcome.note


def test_a_fault_of_the_judge_is_no_zero(made, marks_of, monkeypatch, capsys):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(BreakIt, "judge", broken)
    outcome = marks_of(made["solutions"]["02_self_attention"])
    mark = outcome.marks[4]
    assert (mark.points, outcome.status) == (None, "partly")
    assert "could not be judged: self_attention.wrong_axis" in outcome.note
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_with_another_seed_an_untouched_notebook_earns_nothing(name, made, marks_of):
    assert marks_of(made["exercises"][name], OTHER_SEED).points == 0


# Speed


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_child_of_a_submission_imports_nothing_itself(made, marker, name):
    """And with another seed, too, the solution earns all its points."""
    found = read_notebook(nbformat.writes(made["solutions"][name]).encode())
    look = "import sys\nknown = {*sys.modules}"
    tell = "new = {*sys.modules} - known\nassert not new, new"
    cells = (Cell(look), *found.cells, Cell(tell))
    outcome = marker(OTHER_SEED).mark(Submission(name, "", "", name, cells))
    assert (outcome.note, outcome.points) == ("", outcome.out_of)
