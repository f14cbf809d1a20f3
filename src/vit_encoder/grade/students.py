"""Whose file it is, from the path that a learning platform gave it.

Known forms, as the platforms' own code writes them:

- Moodle: `Ada Lovelace_12345_assignsubmission_file/02.ipynb`, with the folder or, for
  who switched folders off, `Ada Lovelace_12345_assignsubmission_file_02.ipynb`
- Canvas: `lovelaceada_12345_67890_02.ipynb`, with `_LATE` after the name if it was
  late; `anon_x1y2z_67890_02.ipynb` in anonymous marking
- Blackboard: `Exercise 2_alovelace_attempt_2026-01-31-10-00-00_02.ipynb`
- Gradescope: `submission_12345/02.ipynb`
- a folder for each student, as GitHub Classroom's or one made by hand
- files side by side: what the name says beside that of the notebook, such as
  `02_self_attention_ada.ipynb`
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import takewhile

from vit_encoder.check import catalogue
from vit_encoder.grade.files import is_notebook_name
from vit_encoder.grade.text import printable

# What a student names comes last in each form, and may look like one of them itself: so
# a name is as short as can be.
MOODLE = re.compile(r"(?P<name>.+?)(_(?P<id>\d+))?_assignsubmission_[a-z]+(_.*)?")
CANVAS = re.compile(r"(?P<name>\w+?)(_LATE)?_(?P<id>\d+)_\d+_.+")
CANVAS_ANONYMOUS = re.compile(r"(LATE_)?(?P<name>anon_[^\W_]+)_\d+_.+")
ATTEMPT = r"[^\W\d_]+_\d{4}(-\d\d){5}"  # the word is "attempt" in the site's language
BLACKBOARD = re.compile(rf"(?P<name>.+?_.+?)_{ATTEMPT}(_.+|\.txt)")  # assignment, name
GRADESCOPE = re.compile(r"(?P<name>submission_\d+)")
COPY = re.compile(r"\(?\d*\)?|copy\d*", re.IGNORECASE)  # what a browser adds
RECEIPT = re.compile(rf"(?P<attempt>.+_{ATTEMPT})\.txt")
ATTACHED = re.compile(rf"(?P<attempt>.+_{ATTEMPT})_[^/]+")


def students_of(paths: Sequence[str]) -> list[str]:
    """The student of each path, "" where nothing tells.

    Where two ids share a name, as in anonymous marking, the id follows it. The folders
    that hold all paths are nobody's name, unless there is nothing else to go by.
    """
    split = [path.split("/") for path in paths]
    levels = zip(*(parts[:-1] for parts in split), strict=False)
    common = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    flat = all(len(parts) == common + 1 for parts in split)
    kept = common - 1 if flat and common else common  # may be the one student's folder
    assignment = _assignment(parts[-1] for parts in split)
    found = [
        _from_platform(parts[: kept + 1], len(parts) == kept + 1, assignment)
        or (_by_hand(parts[kept:], flat), "")
        for parts in split
    ]
    ids = defaultdict(set)
    for name, id in found:
        ids[name].add(id)
    return [
        f"{name} ({id})" if id and len(ids[name]) > 1 else name for name, id in found
    ]


def receipts(paths: Sequence[str]) -> set[str]:
    """The text files that Blackboard adds to files that were handed in."""
    attached = {found["attempt"] for found in map(ATTACHED.fullmatch, paths) if found}
    written = (found for found in map(RECEIPT.fullmatch, paths) if found)
    return {found[0] for found in written if found["attempt"] in attached}


def _assignment(files: Iterable[str]) -> str:
    """What Blackboard writes before each name, such as `Exercise 2_`.

    Both may hold an underscore, and all names of one export stand behind the same
    assignment. "" where one name alone does not tell where it begins.
    """
    named = {found["name"] for found in map(BLACKBOARD.fullmatch, files) if found}
    if len(named) < 2:
        return ""
    pairs = zip(min(named), max(named), strict=False)
    shared = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return shared.rpartition("_")[0] + "_"


def _from_platform(
    parts: list[str], whole: bool, assignment: str
) -> tuple[str, str] | None:
    """Name and id from the first part that has a platform's form.

    parts: of the path, down to where those of the students part ways; what stands below
    is named by a student, who may want to be another. whole: the last one is the file.
    assignment: what stands before each name on Blackboard, if that is known.
    """
    for part in parts:
        is_file = (whole and part is parts[-1]) or part.lower().endswith(".zip")
        flat = (CANVAS_ANONYMOUS, CANVAS, BLACKBOARD) if is_file else ()
        for form in (MOODLE, GRADESCOPE, *flat):
            if found := form.fullmatch(part):
                name = found["name"]
                if form is BLACKBOARD:
                    known = assignment and name.startswith(assignment)
                    name = name[len(assignment) :] if known else name.rsplit("_")[-1]
                return _tidy(name), found.groupdict().get("id") or ""
    return None


def _by_hand(parts: list[str], flat: bool) -> str:
    """The student's folder, or what a notebook's name says beside the notebook's.

    flat: all files lie side by side, so that a name of their own comes first.
    """
    notebooks = {entry["notebook"] for entry in catalogue()}
    folders = [part for part in parts[:-1] if part not in notebooks]
    if (flat or not folders) and is_notebook_name(parts[-1]):
        stem = re.sub(r"\.ipynb.*$", "", parts[-1], flags=re.IGNORECASE)
        name = re.sub("|".join(notebooks), "", stem).strip(" _-.")
        if not COPY.fullmatch(name):
            return _tidy(name)
    return _tidy(re.sub(r"\.zip$", "", "".join(folders[:1]), flags=re.IGNORECASE))


def _tidy(name: str) -> str:
    """The name in one form of Unicode: a Mac stores é as two characters."""
    return printable(unicodedata.normalize("NFC", name)).strip()
