"""Points that an instructor gives by hand. They hold however often a file is marked."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vit_encoder.check import catalogue
from vit_encoder.grade.mark import OUT_OF_DATE, status_of, unmarked
from vit_encoder.grade.origin import Author
from vit_encoder.grade.outcome import Mark, Outcome
from vit_encoder.grade.standings import Row
from vit_encoder.grade.text import one_line, sentences, some

COLUMNS = ("student", "task", "points", "reason")
BY_HAND = "set by hand"


@dataclass(frozen=True)
class Override:
    """One line of the file. student: a name, an id, a mail or the path of a file."""

    line: int
    student: str
    task: str
    points: int
    reason: str


def read_overrides(path: Path) -> list[Override]:
    """The lines of the file, none if there is no file. ValueError if one is odd."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {*COLUMNS} <= {*(reader.fieldnames or ())}:
                got = ", ".join(reader.fieldnames or ()) or "nothing"
                raise ValueError(
                    f"expected the columns {', '.join(COLUMNS)}, got {got}"
                )
            return [_read(number, row) for number, row in enumerate(reader, 2)]
    except FileNotFoundError:
        return []
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from None


def _read(line: int, row: dict) -> Override:
    """An override from a row. ValueError names the line."""
    student, task, points, reason = ((row[name] or "").strip() for name in COLUMNS)
    out_of = {entry["id"]: entry["points"] for entry in catalogue()}
    if task not in out_of:
        raise ValueError(f"line {line}: no task {one_line(task, 60)!r}")
    if not points.isdecimal() or int(points) > out_of[task]:
        raise ValueError(
            f"line {line}: expected 0 to {out_of[task]} points for {task}, got "
            f"{one_line(points, 20)!r}"
        )
    return Override(line, student, task, int(points), one_line(reason, 500))


def require_known(
    overrides: Sequence[Override], names: set[str], authors: Iterable[Author]
) -> None:
    """Raise ValueError if a line is about nobody, or about two students of one name.

    So it is said before anything is marked, and nobody gets the points of another.
    """
    called: dict[str, set[str]] = defaultdict(set)
    for author in authors:
        for name in (author.name, author.id, author.mail):
            called[name].add(author.key)
    for override in overrides:
        name = one_line(override.student, 60)
        if override.student not in names - {""}:
            raise ValueError(
                f"line {override.line} of the points set by hand: nobody is called "
                f"{name!r}"
            )
        if len(keys := called[override.student]) > 1:
            raise ValueError(
                f"line {override.line} of the points set by hand: {len(keys)} students "
                f"are called {name!r}; write an id, one of {some(sorted(keys))}"
            )


def with_overrides(rows: Sequence[Row], overrides: Sequence[Override]) -> list[Row]:
    """The rows, with the points that were set by hand.

    ValueError if a line is about no file: its points would be lost without a word.
    """
    of_row: dict[int, list[Override]] = defaultdict(list)
    for override in overrides:
        about = [n for n, row in enumerate(rows) if _is_about(override, row)]
        home = _notebook(override.task)
        places = [n for n in about if rows[n].outcome.notebook == home]
        places = places or [n for n in about if not rows[n].outcome.notebook]
        if not places:
            raise ValueError(
                f"line {override.line} of the points set by hand: "
                f"{one_line(override.student, 60)!r} has not handed in the notebook of "
                f"{override.task}"
            )
        for place in places:
            of_row[place].append(override)
    return [
        _changed(row, of_row[n]) if n in of_row else row for n, row in enumerate(rows)
    ]


def _is_about(override: Override, row: Row) -> bool:
    """Whether a line is about the student of a file, or about the file."""
    names = {row.outcome.submission, row.outcome.student, *row.origin.names}
    return bool(override.student) and override.student in names


def _changed(row: Row, overrides: list[Override]) -> Row:
    """The row, with new points and the reason for them."""
    outcome = row.outcome
    notebook = outcome.notebook or _notebook(overrides[0].task)
    marks = outcome.marks or tuple(
        unmarked(e) for e in catalogue() if e["notebook"] == notebook
    )
    by_task = {override.task: override for override in overrides}
    new = tuple(_set(m, by_task[m.id]) if m.id in by_task else m for m in marks)
    decided = None in {m.points for m in marks} or OUT_OF_DATE in outcome.note
    decided = decided and not _open_of_older(outcome, {*by_task})
    complete = outcome.status == "marked" or decided
    note = sentences([outcome.note, f"Set by hand: {', '.join(by_task)}"])
    status = status_of(new, complete)
    return replace(
        row,
        outcome=replace(
            outcome, notebook=notebook, marks=new, status=status, note=note
        ),
    )


def _open_of_older(outcome: Outcome, by_hand: set[str]) -> bool:
    """Whether a task of an older version, which the note names, has its old points."""
    _, _, named = outcome.note.partition(OUT_OF_DATE)
    every = re.search(r" and \d+ more", named)  # the note does not name all of them
    left = (m.id for m in outcome.marks if not m.passed and m.id not in by_hand)
    return bool(named) and any(every or id in named for id in left)


def _notebook(task: str) -> str:
    """The notebook of a task."""
    return next(e["notebook"] for e in catalogue() if e["id"] == task)


def _set(mark: Mark, override: Override) -> Mark:
    """The mark with new points; what was seen stays below the reason."""
    was = "not marked" if mark.points is None else f"{mark.points} before"
    reason = override.reason or "no reason is given"
    message = "\n\n".join(
        filter(None, [f"Set by hand, {was}: {reason}.", mark.message])
    )
    return replace(mark, points=override.points, state=BY_HAND, message=message)
