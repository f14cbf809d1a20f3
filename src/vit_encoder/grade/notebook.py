"""A submitted notebook, from its bytes: which one it is, and its code cells."""

import json
import re
from collections import Counter
from dataclasses import dataclass

from vit_encoder.check import catalogue
from vit_encoder.grade.files import UnreadableError
from vit_encoder.grade.outcome import Cell
from vit_encoder.grade.text import one_line, some

GENERATED = re.compile(r"From solutions/(\w+)\.md\b")
MOST_CODE = 2**20  # characters; a course's notebook has some ten thousand
CHECK = re.compile(r"\bcheck\(\s*[\"']([\w.]+)[\"']")

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# The beginning of a file that is called a notebook → what it is.
OTHER_KINDS = {
    b"version https://git-lfs": "a pointer of Git LFS, without the notebook itself",
    b"<!doctype html": "an HTML page, saved under the name of a notebook",
    b"<html": "an HTML page, saved under the name of a notebook",
    b"%pdf": "a PDF under the name of a notebook",
    b"pk\x03\x04": "a zip under the name of a notebook",
    b"\x1f\x8b": "a gzip file under the name of a notebook",
}
CONFLICT = re.compile(rb"^<{7} ", re.MULTILINE)


@dataclass(frozen=True)
class Notebook:
    """What a file holds. name: such as 02_self_attention. notes: what was odd."""

    name: str
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]


def read_notebook(data: bytes) -> Notebook:
    """The notebook in a file. UnreadableError if it is none of this course."""
    content, repaired = _parsed(data)
    cells = tuple(map(_cell, _code_cells(content)))
    if sum(len(cell.source) + 1 for cell in cells) > MOST_CODE:
        raise UnreadableError(f"code of more than {MOST_CODE // 2**20} MB")
    name = _generated_as(content) or _most_of(cells)
    if not name:
        raise UnreadableError("holds no exercise of this course")
    if not cells:
        raise UnreadableError("holds no code cell")
    return Notebook(name, cells, repaired + _notes(name, cells))


def _parsed(data: bytes) -> tuple[dict, tuple[str, ...]]:
    """The notebook as JSON, checked as deep as it is used, and what was repaired."""
    if not data.strip():
        raise UnreadableError("an empty file")
    utf16 = data.startswith(UTF16_MARKS)
    try:
        content = json.loads(data.decode("utf-16" if utf16 else "utf-8-sig"))
    except RecursionError:
        raise UnreadableError("JSON that is nested too deeply") from None
    except ValueError as error:  # also a number of more digits than Python reads
        raise UnreadableError(_what_else(data) or _broken(error)) from None
    if not isinstance(content, dict) or "nbformat" not in content:
        raise UnreadableError("JSON that is no notebook")
    repaired = ("stored as UTF-16",) if utf16 else ()
    if content["nbformat"] == 3 and isinstance(content.get("worksheets"), list):
        content = _from_format_3(content)
        repaired = (*repaired, "a notebook of format 3, read as one of format 4")
    if type(content["nbformat"]) is not int or content["nbformat"] != 4:
        got = one_line(repr(content["nbformat"]), 30)
        raise UnreadableError(f"expected a notebook of format 4, got format {got}")
    if not isinstance(content.get("cells"), list):
        raise UnreadableError("a notebook without a list of cells")
    return content, repaired


def _broken(error: ValueError) -> str:
    """What is wrong with text that is no JSON."""
    if isinstance(error, UnicodeDecodeError):
        return f"not {error.encoding.upper()} at byte {error.start}"
    return f"broken JSON: {one_line(str(error), 100)}"


def _what_else(data: bytes) -> str:
    """What a file is that is called a notebook and is no JSON, or ""."""
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    for beginning, kind in OTHER_KINDS.items():
        if start.startswith(beginning):
            return kind
    if conflict := CONFLICT.search(data):
        line = data.count(b"\n", 0, conflict.start()) + 1
        return (
            f"holds a merge conflict of Git, from line {line} on, that nobody resolved"
        )
    return ""


def _from_format_3(content: dict) -> dict:
    """A notebook of format 3, whose cells stand in worksheets, as one of format 4."""
    sheets = (_dict(sheet).get("cells") for sheet in content["worksheets"])
    cells = [cell for sheet in sheets if isinstance(sheet, list) for cell in sheet]
    moved = [
        {**cell, "source": cell["input"]}
        if isinstance(cell, dict) and "input" in cell
        else cell
        for cell in cells
    ]
    return {"nbformat": 4, "metadata": content.get("metadata"), "cells": moved}


def _code_cells(content: dict) -> list[dict]:
    """The cells of kind "code". Raises UnreadableError if one is no cell."""
    for number, cell in enumerate(content["cells"], 1):
        if not isinstance(cell, dict):
            raise UnreadableError(f"cell {number} is no cell but {_kind(cell)}")
        if cell.get("cell_type") == "code" and not _is_text(cell.get("source")):
            raise UnreadableError(f"cell {number} has no text as its source")
    return [cell for cell in content["cells"] if cell.get("cell_type") == "code"]


def _is_text(source: object) -> bool:
    """Whether a source is text, whole or as a list of lines."""
    lines = source if isinstance(source, list) else [source]
    return all(isinstance(line, str) for line in lines)


def _kind(value: object) -> str:
    """What JSON calls a value."""
    names = {list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _cell(cell: dict) -> Cell:
    """The source of a cell, with the exercise and version that its metadata names.

    Half a surrogate pair, which JSON can hold and UTF-8 cannot, becomes "?".
    """
    source = "".join(cell["source"]).encode(errors="replace").decode()
    exercise = _dict(_dict(cell.get("metadata")).get("exercise"))
    return Cell(source, _text(exercise.get("id")), _text(exercise.get("version")))


def _dict(value: object) -> dict:
    """The value if it is a dict, else an empty one."""
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    """The value if it is text, shown on one line, else ""."""
    return one_line(value, 100) if isinstance(value, str) else ""


def _generated_as(content: dict) -> str:
    """The exercise notebook that the metadata names, or ""."""
    metadata = _dict(_dict(content.get("metadata")).get("vit_encoder"))
    found = GENERATED.match(_text(metadata.get("generated")))
    known = {entry["notebook"] for entry in catalogue()}
    return found[1] if found and found[1] in known else ""


def _most_of(cells: tuple[Cell, ...]) -> str:
    """The exercise notebook that most exercises belong to, or "".

    They count by the ids of the cells and those that `check` is called with.
    """
    ids = {cell.task for cell in cells}
    ids.update(id for cell in cells for id in CHECK.findall(cell.source))
    count = Counter(entry["notebook"] for entry in catalogue() if entry["id"] in ids)
    return count.most_common(1)[0][0] if count else ""


def _notes(name: str, cells: tuple[Cell, ...]) -> tuple[str, ...]:
    """What a teacher should know of the exercises in a notebook."""
    home = {entry["id"]: entry["notebook"] for entry in catalogue()}
    count = Counter(cell.task for cell in cells if cell.task)
    if not count:
        return ("no cell says which exercise it answers",)
    odd = {
        "unknown exercise": [id for id in count if id not in home],
        "exercise of another notebook": [
            id for id in count if home.get(id, name) != name
        ],
        "more than one cell for": [id for id in count if id in home and count[id] > 1],
        "no cell for": [id for id in home if home[id] == name and id not in count],
    }
    return tuple(f"{what} {some(ids)}" for what, ids in odd.items() if ids)
