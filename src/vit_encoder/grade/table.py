"""The table of marks: a row for each submission, a column for each task."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from vit_encoder.atomic import write_atomically, write_beside
from vit_encoder.check import catalogue
from vit_encoder.grade.outcome import Outcome
from vit_encoder.grade.standings import Standing, notebooks_of
from vit_encoder.grade.text import one_line, printable, safe_cell, sentences

FIRST = ("submission", "student", "notebook", "status", "points", "out_of")
STUDENT = ("student", "id", "email", "status", "late", "files", "points", "out_of")
LONGEST_NOTE = 2000  # characters


def write_table(path: Path, outcomes: Sequence[Outcome]) -> Path | None:
    """Write the marks as CSV, whole or not at all.

    An earlier table that differs is kept; its new place comes back.

    The tasks are those of the notebooks that occur, in the order of the course, without
    optional ones. A cell is empty where a task is not of the notebook or could not be
    marked, and points is empty where none could: it is not a zero. UTF-8 without a byte
    order mark, which scripts and platforms would read as a part of the first column's
    name. A spreadsheet is told the encoding when it imports the file.
    """
    tasks = _tasks(outcomes)
    rows = [_row(outcome, tasks) for outcome in outcomes]
    return _write(path, [[*FIRST, *tasks, "note"], *rows])


def write_students(path: Path, standings: Sequence[Standing]) -> Path | None:
    """Write what counts for each student, a row each, in the same way."""
    notebooks = notebooks_of(standings)
    rows = [
        [
            *(safe_cell(printable(field)) for field in asdict(s.author).values()),
            s.status,
            "late" if s.late else "",
            s.files,
            "" if s.points is None else s.points,
            s.out_of or "",
            *("" if s.points_of(n) is None else s.points_of(n) for n in notebooks),
            safe_cell(one_line(_about(s), LONGEST_NOTE)),
        ]
        for s in standings
    ]
    return _write(path, [[*STUDENT, *notebooks, "note"], *rows])


def _about(standing: Standing) -> str:
    """Which files count, and whether the student is known."""
    counted = [row.outcome.submission for row in standing.rows]
    if not counted:
        return "Nothing was handed in."
    unknown = "" if standing.listed else "not in the list of the class"
    some_of = len(counted) < standing.files or not standing.author.name
    return sentences([f"counts: {', '.join(counted)}" if some_of else "", unknown])


def _write(path: Path, rows: list[list]) -> Path | None:
    """Write rows; where an earlier file that differs is kept, or None."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return write_keeping(path, text.getvalue())


def write_keeping(path: Path, text: str) -> Path | None:
    """Write a table; where an earlier file that differs is kept, or None."""
    kept = None
    if path.exists() and path.read_bytes() != text.encode():
        kept = keep_earlier(path)
    try:
        write_atomically(path, text)
    except BaseException:
        if kept:
            kept.unlink()
        raise
    return kept


def lost_rows(path: Path, submissions: Sequence[str]) -> list[str]:
    """Which rows of an earlier table a run over these submissions would lose.

    Raises ValueError if the file is no table of marks.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        earlier = [row["submission"] for row in rows]
    except FileNotFoundError:
        return []
    except (KeyError, ValueError, csv.Error):
        raise ValueError(f"expected a table of marks, but {path} is another") from None
    new = {safe_cell(printable(submission)) for submission in submissions}
    return [row for row in earlier if row not in new]


def keep_earlier(path: Path) -> Path:
    """Keep a table beside itself, since somebody may have written into it."""
    return write_beside(path, path.read_bytes(), f"{path.stem}.before-", path.suffix)


def note_repeats(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes, with a note where a student handed in a notebook more than once."""
    same = defaultdict(list)
    for outcome in outcomes:
        if outcome.student and outcome.notebook:
            same[outcome.student, outcome.notebook].append(outcome.submission)
    return [
        _noted(outcome, same[outcome.student, outcome.notebook]) for outcome in outcomes
    ]


def summary(outcomes: Sequence[Outcome]) -> str:
    """One line that counts: "3 submissions: 1 marked, 1 partly, 1 failed."."""
    number = Counter(outcome.status for outcome in outcomes)
    total = f"{len(outcomes)} submission{'' if len(outcomes) == 1 else 's'}"
    states = ("marked", "partly", "failed")
    return f"{total}: {', '.join(f'{number[state]} {state}' for state in states)}."


def _tasks(outcomes: Sequence[Outcome]) -> list[str]:
    """The ids of the tasks that give points, of all notebooks that occur."""
    notebooks = {outcome.notebook for outcome in outcomes}
    entries = [e for e in catalogue() if e["notebook"] in notebooks]
    return [entry["id"] for entry in entries if entry["points"]]


def _row(outcome: Outcome, tasks: list[str]) -> list[str | int]:
    """A line of the table."""
    points = {mark.id: mark.points for mark in outcome.marks}
    earned = [points.get(task) for task in tasks]
    return [
        safe_cell(printable(outcome.submission)),
        safe_cell(printable(outcome.student)),
        outcome.notebook,
        outcome.status,
        "" if outcome.status == "failed" else outcome.points,
        outcome.out_of if outcome.marks else "",
        *("" if number is None else number for number in earned),
        safe_cell(one_line(outcome.note, LONGEST_NOTE)),
    ]


def _noted(outcome: Outcome, paths: list[str]) -> Outcome:
    """The outcome, with the other files of its student for its notebook."""
    others = [path for path in paths if path != outcome.submission]
    if not others:
        return outcome
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    note = f"Same student and notebook: {others[0]}{more}"
    return replace(outcome, note=sentences([outcome.note, note]))
