"""What goes back to a platform: grades and feedback in the form that it takes.

For each platform of which something was handed in, beside the table:

    marks_for_PLATFORM.csv      grades, known by the ids that the platform uses; for
                                some one for each notebook, marks_for_PLATFORM_NN_….csv
    marks_for_PLATFORM.zip      feedback, named as the platform names it; not for all
"""

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vit_encoder.atomic import write_atomically
from vit_encoder.check import catalogue
from vit_encoder.grade.feedback import as_text, page
from vit_encoder.grade.files import is_notebook_name
from vit_encoder.grade.roster import Roster
from vit_encoder.grade.standings import Row, Standing, notebooks_of
from vit_encoder.grade.table import write_keeping
from vit_encoder.grade.text import safe_cell

Table = list[list[str | int]]
NUMBER = re.compile(r"-?[\d.,]*")  # also what Moodle writes for no time


def write_back(
    stem: Path, standings: Sequence[Standing], roster: Roster | None = None
) -> tuple[list[Path], list[Path]]:
    """Write what each platform takes back; the files, and where earlier tables are.

    stem: their path up to `_for_`, in which a dot may stand. roster: fills in ids that
    paths do not tell. If it is the worksheet that Moodle exported, its rows go back,
    with the grades in them.
    """
    written, earlier = [], []
    for platform in sorted({s.platform for s in standings if s.platform}):
        own = [standing for standing in standings if standing.platform == platform]
        name = f"{stem.name}_for_{platform}"
        for ending, graded in parted(platform, own).items():
            table = TABLES[platform](graded, roster)
            if len(table) > 1:
                written.append(stem.with_name(f"{name}{ending}.csv"))
                earlier.append(write_keeping(written[-1], as_csv(table)))
        if platform in ZIPS:
            written.append(stem.with_name(f"{name}.zip"))
            write_atomically(written[-1], zipped(ZIPS[platform](own)))
    return written, [path for path in earlier if path]


def parted(platform: str, own: Sequence[Standing]) -> dict[str, Sequence[Standing]]:
    """The end of a table's name → the students who are in it.

    Canvas clears a grade where a cell is empty. So nobody is in a table there whose
    notebook was not marked as a whole, and each notebook has a table of its own.
    """
    if platform not in CLEARING:
        return {"": own}
    notebooks = notebooks_of(own)
    found = {
        f"_{notebook}" if len(notebooks) > 1 else "": [
            replace(s, rows=tuple(r for r in s.rows if r.outcome.notebook == notebook))
            for s in own
            if s.points_of(notebook, final=True) is not None
        ]
        for notebook in notebooks
    }
    return {ending: graded for ending, graded in found.items() if graded}


def as_csv(table: Table) -> str:
    """The text of a table; nothing in it is taken for a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(
        [cell if NUMBER.fullmatch(str(cell)) else safe_cell(cell) for cell in row]
        for row in table
    )
    return text.getvalue()


def zipped(files: Iterable[tuple[str, str | bytes]]) -> bytes:
    """A zip, the same for the same files, as it holds no time. Scripts can be run."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in dict(files).items():
            info = zipfile.ZipInfo(name)
            is_program = isinstance(data, str) and data.startswith("#!")
            info.external_attr = (0o755 if is_program else 0o644) << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


# Grades.


def moodle(standings: Sequence[Standing], roster: Roster | None) -> Table:
    """The grading worksheet. Moodle needs the headings in the language of the site.

    So the worksheet of the site goes back if it is at hand. The time of the last change
    stays as it was: Moodle keeps a grade that was changed after it.
    """
    graded = [s for s in standings if s.status == "marked"]
    if roster and {"participant", "grade"} <= {*roster.columns}:
        rows = [list(row) for row in roster.rows]
        for standing in graded:
            if person := roster.find(standing.author, "moodle"):
                rows[person.row][roster.columns["grade"]] = standing.points
        return [list(roster.header), *rows]
    header = ["Identifier", "Full name", "Grade", "Last modified (grade)"]
    rows = [
        [f"Participant {s.author.id}", s.author.name, s.points, "-"]
        for s in graded
        if s.author.id
    ]
    return [header, *rows]


def canvas(standings: Sequence[Standing], _roster: Roster | None) -> Table:
    """The gradebook. Canvas asks which assignment a column that it does not know is."""
    notebooks = notebooks_of(standings)
    possible = [out_of(notebook) for notebook in notebooks]
    return [
        ["Student", "ID", "Section", *notebooks],
        ["    Points Possible", "", "", *possible],
        *(
            [s.author.name, s.author.id, "", *points(s, notebooks)]
            for s in standings
            if s.author.id.isdecimal()  # no anonymous id: Canvas does not take it here
        ),
    ]


def brightspace(standings: Sequence[Standing], roster: Roster | None) -> Table:
    """Grades by OrgDefinedId or Username. Brightspace wants # at the end of a row."""
    notebooks = notebooks_of(standings)
    rows = []
    for standing in standings:
        person = roster and roster.find(standing.author, "brightspace")
        ids = person.ids if person else {"id": standing.author.id}
        if ids.get("id") or ids.get("login"):
            cells = [ids.get("id", ""), ids.get("login", "")]
            rows.append([*cells, *points(standing, notebooks), "#"])
    grades = [f"{notebook} Points Grade" for notebook in notebooks]
    return [["OrgDefinedId", "Username", *grades, "End-of-Line Indicator"], *rows]


def by(*headings: str) -> Callable[[Sequence[Standing], Roster | None], Table]:
    """A table by the id that a platform uses. headings: of the id and of the name."""

    def table(standings: Sequence[Standing], _roster: Roster | None) -> Table:
        notebooks = notebooks_of(standings)
        rows = [
            [s.author.id, s.author.name, s.author.mail, *points(s, notebooks)]
            for s in standings
        ]
        return [[*headings, "Email", *notebooks], *rows]

    return table


def out_of(notebook: str) -> int:
    """The points that a notebook can earn."""
    return sum(e["points"] for e in catalogue() if e["notebook"] == notebook)


def points(standing: Standing, notebooks: Sequence[str]) -> list[int | str]:
    """The points in each notebook; empty where some lack."""
    found = [standing.points_of(notebook, final=True) for notebook in notebooks]
    return ["" if number is None else number for number in found]


# Feedback.


def moodle_files(standings: Sequence[Standing]) -> Iterator[tuple[str, str]]:
    """For *Upload multiple feedback files in a zip*."""
    for row in _rows(standings):
        if row.origin.back:
            yield f"{row.origin.back}{_name(row)}.html", page(row.outcome)


def canvas_files(standings: Sequence[Standing]) -> Iterator[tuple[str, str]]:
    """For *Upload submissions*: each file bears the name of the one that was handed in.

    Canvas finds the student by the ids in it, and shows the file under the name that
    the student gave: so what goes back is a notebook, like what came.
    """
    for row in _rows(standings):
        if is_notebook_name(row.origin.back):
            yield row.origin.back, as_notebook(as_text(row.outcome))


def folder_files(standings: Sequence[Standing]) -> Iterator[tuple[str, str]]:
    """A page in each student's folder, as Brightspace and ILIAS take it."""
    for row in _rows(standings):
        if row.origin.back:
            yield f"{row.origin.back}/{_name(row)}_feedback.html", page(row.outcome)


def _rows(standings: Sequence[Standing]) -> Iterator[Row]:
    """What counts, of all."""
    for standing in standings:
        yield from standing.rows


def _name(row: Row) -> str:
    """The name of the page of a notebook."""
    return row.outcome.notebook or "submission"


def as_notebook(text: str) -> str:
    """A notebook that shows plain text; a cell of this kind renders nothing."""
    cell = {"cell_type": "raw", "metadata": {}, "source": text}
    return json.dumps(
        {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    )


TABLES = {
    "moodle": moodle,
    "canvas": canvas,
    "brightspace": brightspace,
    "blackboard": by("Username", "Name"),
    "ilias": by("Login", "Name"),
    "gradescope": by("SID", "Name"),
    "github": by("github_username", "Name"),
}
CLEARING = ("canvas", "brightspace")  # known of Canvas, not known of Brightspace
ZIPS = {
    "moodle": moodle_files,
    "canvas": canvas_files,
    "brightspace": folder_files,
    "ilias": folder_files,
}
