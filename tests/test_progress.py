"""Progress: kept beside the notebook, read again, never lost, exported."""

import csv
import errno
import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest

from vit_encoder.check import catalogue, check, progress, score_card
from vit_encoder.check.report import Report

NOTEBOOK = "02_self_attention"
ONE_QUERY = "self_attention.one_query"
ENTROPY = "self_attention.entropy"
RIGHT, WRONG = [0.25, 0.75, 7], [0.75, 0.25, 5]


@pytest.fixture(autouse=True)
def notebook(tmp_path, monkeypatch):
    """As in the kernel of a notebook that lies in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "runs_in_a_notebook", lambda: True)
    progress.forget()
    yield tmp_path / f"{NOTEBOOK}.progress.jsonl"
    progress.forget()


def row(id):
    """A task's line on the card of a kernel that has just started."""
    progress.forget()
    return next(row for row in score_card(NOTEBOOK).rows if row.id == id)


def entry(id):
    """A task in the catalogue."""
    return next(entry for entry in catalogue() if entry["id"] == id)


def stored(**changes):
    """The line of a right answer to the first task, with changes."""
    line = {
        "id": ONE_QUERY,
        "version": entry(ONE_QUERY)["version"],
        "points": 1,
        "out_of": 1,
        "passed": True,
        "answered": True,
        "misconceptions": [],
    }
    return json.dumps(line | changes)


# What counts


def test_points_are_there_again_after_a_restart(notebook):
    check(ONE_QUERY, RIGHT)
    check(ENTROPY, "A")
    before = repr(score_card(NOTEBOOK))
    progress.forget()
    assert repr(score_card(NOTEBOOK)) == before
    assert score_card(NOTEBOOK).points == 1
    assert notebook.read_text().split("\n")[1] == stored()


@pytest.mark.parametrize("worse", [WRONG, ..., None])
def test_the_best_check_counts(worse):
    check(ONE_QUERY, RIGHT)
    check(ONE_QUERY, worse)
    assert (row(ONE_QUERY).points, row(ONE_QUERY).state) == (1, "passed")


def test_a_fresh_copy_that_is_run_takes_no_points():
    check(ONE_QUERY, RIGHT)
    progress.forget()  # another kernel, with the untouched notebook
    check(ONE_QUERY, ...)
    assert score_card(NOTEBOOK).points == 1
    assert row(ONE_QUERY).points == 1


def test_of_two_that_are_as_good_the_later_is_shown():
    states = set()
    for choice in ("A", "C"):
        report = check(ENTROPY, choice)
        assert row(ENTROPY).state == report.state
        states.add(report.state)
    assert len(states) == 2


def test_the_same_again_adds_no_line(notebook):
    check(ENTROPY, "A")
    check(ONE_QUERY, RIGHT)
    before = notebook.read_text()
    for answer in (RIGHT, WRONG, ..., RIGHT):
        check(ONE_QUERY, answer)
    check(ENTROPY, "A")
    assert notebook.read_text() == before


def test_a_task_that_was_not_tried_is_not_to_be_read_again():
    check(ONE_QUERY, ...)
    check(ENTROPY, "A")
    rows = {row.id: row for row in score_card(NOTEBOOK).rows}
    assert rows[ONE_QUERY].state == "not answered yet"
    assert rows["self_attention.attention"].state == "not checked"
    assert [id for id, row in rows.items() if row.again] == [ENTROPY]
    assert repr(score_card(NOTEBOOK)).count("read again") == 1


# Tasks that change


@pytest.mark.parametrize("changes", [{"version": "0"}, {"out_of": 5, "points": 5}])
def test_a_result_of_another_version_does_not_count(notebook, changes):
    notebook.write_text(stored(**changes))
    found = row(ONE_QUERY)
    assert (found.points, found.out_of, found.again) == (0, 1, "")
    assert found.state == "the task has changed since: run its check again"
    check(ONE_QUERY, WRONG)
    assert row(ONE_QUERY).state.startswith("not passed yet")
    check(ONE_QUERY, RIGHT)
    assert row(ONE_QUERY).state == "passed"
    assert notebook.read_text().startswith(stored(**changes))


def test_a_task_left_open_before_it_changed_was_not_checked(notebook):
    nothing = {"points": 0, "passed": False, "answered": False}
    notebook.write_text(stored(version="0", **nothing))
    assert row(ONE_QUERY).state == "not checked"


# Damage


DAMAGED = {
    "not JSON": ("{ not json", "Expecting property name"),
    "a list": ("[]", r"expected a result, got []"),
    "empty": ("{}", "id: expected text, got None"),
    "points as text": (stored(points="1"), "expected a whole number, got '1'"),
    "points as truth": (stored(points=True), "expected a whole number, got True"),
    "half a point": (stored(points=0.5), "expected a whole number, got 0.5"),
    "too many points": (stored(points=5), "5 of 1 points cannot be"),
    "fewer than none": (stored(points=-1), "-1 of 1 points cannot be"),
    "passed with none": (stored(points=0), "0 of 1 points cannot be"),
    "passed as text": (stored(passed="yes"), "expected true or false, got 'yes'"),
    "answered as a number": (stored(answered=1), "expected true or false, got 1"),
    "names as text": (stored(misconceptions="x"), "expected a list of texts, got 'x'"),
    "a name as a number": (stored(misconceptions=[1]), "a list of texts, got (1,)"),
    "id as a list": (stored(id=[]), "id: expected text, got []"),
    "version as a number": (stored(version=1), "version: expected text, got 1"),
    "deep": ("[" * 200_000, "recursion"),
    "a number too long": ("1" * 9000, "integer string conversion"),
    "bytes": ("\x00\x01", "Expecting value"),
}


@pytest.mark.parametrize(("line", "said"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_line_is_said_once_and_spoils_no_other(notebook, capsys, line, said):
    good = stored(id=ENTROPY, version=entry(ENTROPY)["version"])
    notebook.write_text(f"{good}\n{line}\n")
    assert score_card(NOTEBOOK).points == 1
    warned = capsys.readouterr().err
    said_first = f"{notebook.name} is damaged. Lines that do not count: 1. "
    assert warned.startswith(f"{said_first}The first is line 2: ")
    assert said in warned
    check(ONE_QUERY, RIGHT)
    assert score_card(NOTEBOOK).points == 2
    assert capsys.readouterr().err == ""
    assert notebook.read_text().startswith(f"{good}\n{line}\n")
    assert row(ONE_QUERY).points == 1


def test_a_file_of_something_else_is_kept(notebook, capsys):
    picture = bytes(range(256)) * 5
    notebook.write_bytes(picture)
    check(ONE_QUERY, RIGHT)
    assert "The first is line 1: " in capsys.readouterr().err
    assert row(ONE_QUERY).points == 1
    assert notebook.read_bytes().startswith(picture)


def test_a_half_written_line_is_said_once_whole_ones_follow(notebook, capsys):
    notebook.write_text(stored()[:40])
    check(ONE_QUERY, RIGHT)
    assert capsys.readouterr().err == ""  # another kernel might be writing it
    assert row(ONE_QUERY).points == 1
    assert "The first is line 1: " in capsys.readouterr().err


@pytest.mark.parametrize("written", [1, 40, -1])
def test_a_line_that_another_kernel_is_writing_is_no_damage(notebook, capsys, written):
    line = stored()
    good = stored(id=ENTROPY, version=entry(ENTROPY)["version"])
    notebook.write_text(f"{good}\n{line[:written]}")
    assert score_card(NOTEBOOK).points == 1
    with notebook.open("a") as file:
        file.write(line[written:])
    assert score_card(NOTEBOOK).points == 2
    assert capsys.readouterr().err == ""


def test_an_editor_s_marks_are_no_damage(notebook, capsys):
    notebook.write_bytes(b"\xef\xbb\xbf" + f"{stored()}\r\n\r\n".encode())
    assert row(ONE_QUERY).points == 1
    assert capsys.readouterr().err == ""


# Folders that take nothing


def test_what_cannot_be_read_or_written_is_said_once(notebook, capsys):
    notebook.mkdir()
    assert check(ONE_QUERY, RIGHT).passed
    said = capsys.readouterr().err
    assert f"{notebook.name} cannot be read (Is a directory)" in said
    assert f"cannot be written to {notebook} (Is a directory)" in said
    check(ENTROPY, "A")
    assert score_card(NOTEBOOK).points == 1
    assert capsys.readouterr().err == ""


def test_what_could_not_be_written_is_written_later(notebook, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        check(ONE_QUERY, RIGHT)
    assert "No space left on device" in capsys.readouterr().err
    assert not notebook.exists()
    check(ENTROPY, "A")
    assert row(ONE_QUERY).points == 1


def test_outside_a_notebook_no_file_is_written(notebook, monkeypatch):
    monkeypatch.setattr(progress, "runs_in_a_notebook", lambda: False)
    check(ONE_QUERY, RIGHT)
    assert not notebook.exists()
    assert score_card(NOTEBOOK).points == 1


# Two kernels


def test_each_of_two_kernels_sees_what_the_other_did(notebook):
    check(ONE_QUERY, RIGHT)
    mine = {key: dict(results) for key, results in progress._kept.items()}
    progress.forget()  # the other kernel
    check(ENTROPY, "B")
    progress.forget()
    progress._kept.update(mine)
    assert score_card(NOTEBOOK).points == 2
    check(ONE_QUERY, WRONG)
    assert row(ENTROPY).points == row(ONE_QUERY).points == 1


def in_a_kernel(number, start):
    """Pass fifty tasks, one after the other."""
    progress.forget()
    start.wait()
    for task in range(50):
        report = Report(f"{number}.{task}", 1, 1, True, (), "")
        progress.remember(NOTEBOOK, report)
    os._exit(len(progress._said))


def test_kernels_that_write_at_once_lose_nothing(notebook):
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    kernels = [context.Process(target=in_a_kernel, args=(k, start)) for k in range(4)]
    for kernel in kernels:
        kernel.start()
    for kernel in kernels:
        kernel.join()
    assert [kernel.exitcode for kernel in kernels] == [0, 0, 0, 0]
    assert len(progress.read(notebook)) == 200


# The card


def test_the_card_can_be_exported(tmp_path):
    check(ONE_QUERY, RIGHT)
    card = score_card(NOTEBOOK)
    rows = list(csv.DictReader(card.export("card.csv").open()))
    assert rows[0]["id"] == ONE_QUERY
    assert sum(int(row["points"]) for row in rows) == 1
    stored = json.loads(card.export(tmp_path / "card.json").read_text())
    assert (stored["points"], stored["out_of"]) == (1, card.out_of)
    page = card.export("card.html").read_text()
    assert "<table>" in page
    assert '<html lang="en">' in page
    with pytest.raises(ValueError, match=r"expected a \.csv, \.json or \.html file"):
        card.export("card.pdf")


def test_a_report_that_does_not_count_says_so_first():
    report = replace(check(ONE_QUERY, RIGHT), warning="Its cell <b> has failed.")
    assert repr(report).startswith("Its cell <b> has failed.\n\nOne query by hand: 1")
    page = report._repr_html_()
    assert page.index("Its cell &lt;b&gt; has failed.") < page.index("One query by")
