"""A copy of the marks without names, for a second marker."""

import csv
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from vit_encoder.atomic import write_atomically
from vit_encoder.grade.back import as_csv
from vit_encoder.grade.feedback import write_feedback
from vit_encoder.grade.outcome import Outcome
from vit_encoder.grade.standings import Row
from vit_encoder.grade.table import write_table

KEY = ["code", "student", "known_by"]
SHORTEST = 4  # bytes of a name that is looked for in texts: 李明 is, Bo is not


def write_anonymous(folder: Path, key: Path, rows: Sequence[Row]) -> None:
    """Write the table and the pages without names into a folder.

    Each student gets a code by chance, which stays the same in later runs. key: a table
    of the codes, for the instructor alone. ValueError if it is another table.
    """
    codes = _read(key)
    for row in rows:
        if _known_by(row) not in codes:
            codes[_known_by(row)] = _new_code({*codes.values()})
    names = {_known_by(row): row.outcome.student for row in rows}
    lines = [[code, names.get(known, ""), known] for known, code in codes.items()]
    write_atomically(key, as_csv([KEY, *sorted(lines)]))
    folder.mkdir(exist_ok=True)
    outcomes = _without_names(rows, codes)
    write_table(folder / "marks.csv", outcomes)
    write_feedback(folder / "feedback", outcomes)


def _read(key: Path) -> dict[str, str]:
    """Who → code, as an earlier run gave them."""
    with suppress(FileNotFoundError), key.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != KEY:
            raise ValueError(f"expected a table of codes, but {key} is another")
        return {_plain(line["known_by"]): line["code"] for line in reader}
    return {}


def _plain(cell: str) -> str:
    """A cell without the apostrophe that keeps it from being a formula."""
    return cell.removeprefix("'")


def _known_by(row: Row) -> str:
    """What stays the same of a student, or of a file if nobody knows whose it is."""
    return _plain(" & ".join(row.origin.key) or row.outcome.submission)


def _new_code(taken: set[str]) -> str:
    """A code that nobody has."""
    while (code := f"student-{secrets.token_hex(2)}") in taken:
        pass
    return code


def _without_names(rows: Sequence[Row], codes: dict[str, str]) -> list[Outcome]:
    """The outcomes, in the order of the codes; other files in notes have codes, too."""
    paths, numbers = {}, {}
    for row in rows:
        code = codes[_known_by(row)]
        numbers[code] = numbers.get(code, 0) + 1
        ending = row.outcome.notebook or "file"
        paths[row.outcome.submission] = f"{code}/{numbers[code]}_{ending}"
    called = {
        name: codes[_known_by(row)]
        for row in rows
        for name in (row.outcome.student, *row.origin.names)
    }
    long = {n: code for n, code in called.items() if len(n.encode()) >= SHORTEST}
    known = paths | long
    longest_first = sorted(known, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def hidden(text: str) -> str:
        return pattern.sub(lambda found: known[found[0]], text)

    outcomes = [
        replace(
            row.outcome,
            submission=paths[row.outcome.submission],
            student=codes[_known_by(row)],
            note=hidden(row.outcome.note),
            marks=tuple(
                replace(mark, message=hidden(mark.message))
                for mark in row.outcome.marks
            ),
        )
        for row in rows
    ]
    return sorted(outcomes, key=lambda outcome: outcome.submission)
