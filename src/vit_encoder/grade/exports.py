"""Whose file it is, from the path that a learning platform gave it.

Known forms, as the platforms' own code or public examples of their exports show them.
Names of repositories of GitHub Classroom and of copies in Google Drive were not looked
up:

- Moodle: `Ada Lovelace_12345_assignsubmission_file/02.ipynb`, with the folder or, for
  who switched folders off, `Ada Lovelace_12345_assignsubmission_file_02.ipynb`
- Canvas: `lovelaceada_12345_67890_02.ipynb`, with `_LATE` after the name if it was
  late; `anon_x1y2z_67890_02.ipynb` in anonymous marking; the name of a group that is
  graded as one, with the id of a member; it may end in a number of its own
- Blackboard: `Exercise 2_alovelace_attempt_2026-01-31-10-00-00_02.ipynb`
- Brightspace: `12345-678 - Ada Lovelace - Jan 31, 2026 1000 AM/02.ipynb`
- ILIAS: `Lovelace_Ada_alovelace_12345/02.ipynb`, in the folder `Team 7` or in none
- Gradescope: `submission_12345/02.ipynb`, and `submission_metadata.yml` says who it is
- GitHub Classroom: `exercise-2-submissions/exercise-2-alovelace/02.ipynb`
- a folder for each student, made by hand
- files side by side, as of Google Classroom: what the name says beside that of the
  notebook, such as `Kopie von 02_self_attention - Ada (1).ipynb`
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import takewhile
from typing import NamedTuple

from vit_encoder.check import catalogue
from vit_encoder.grade.files import is_notebook_name
from vit_encoder.grade.origin import Author, Origin, Upload
from vit_encoder.grade.text import printable
from vit_encoder.grade.when import in_words

# What a student names comes last in each form, and may look like one of them itself: so
# a name is as short as can be.
MOODLE = re.compile(
    r"(?P<name>.+?)(_(?P<id>\d+))?_assign(submission|feedback)_[a-z]+(_.*)?"
)
CANVAS = re.compile(
    r"(?P<name>\w+?(_\d{1,2}(?=(_LATE)?_\d+_\d+_))?)(?P<late>_LATE)?"
    r"_(?P<id>\d+)_(?P<file>\d+)_.+"
)
CANVAS_ANONYMOUS = re.compile(
    r"(?P<late>LATE_)?(?P<name>anon_[^\W_]+)_(?P<file>\d+)_.+"
)
WHEN = r"\d{4}(-\d\d){5}"
ATTEMPT = rf"[^\W\d_]+_{WHEN}"  # the word is "attempt" in the site's language
BLACKBOARD = re.compile(  # assignment, name
    rf"(?P<name>.+?_.+?)_[^\W\d_]+_(?P<when>{WHEN})(_.+|\.txt)"
)
BRIGHTSPACE = re.compile(
    r"\d+-\d+ - (?P<name>.+?)( - (?P<when>[^-]*\d{4} \d{3,4}( ?[AP]M)?))?"
)
ILIAS = re.compile(r"(?P<last>[^_/]+)_(?P<first>[^_/]+)_(?P<login>[^_/]+)_\d+")
ILIAS_TEAM = re.compile(r"Team[ _]\d+")
GRADESCOPE = re.compile(r"(?P<name>submission_\d+)")

RECEIPT = re.compile(rf"(?P<attempt>.+_{ATTEMPT})\.txt")
ATTACHED = re.compile(rf"(?P<attempt>.+_{ATTEMPT})_[^/]+")
# What Drive, Windows, macOS and browsers add to the name of a copy.
COPY = re.compile(
    r"^(cop(y|ie|ia) (of|de|di)|cópia de|kopi[ea] (von|van|av|af)) +"
    r"|^コピー *[〜～~] *| *(のコピー|的副本)$"
    r"|[ _-]+(copy|kopie|copie|copia|コピー|副本)( *\(?\d+\)?)?$"
    r"|[ _-]*(?P<number>\(\d+\)|-\d{1,2})$",
    re.IGNORECASE,
)
NOBODY = re.compile(
    r"[\W\d_]*|(untitled|notebook|exercises?|homework|assignment|submission|solutions?"
    r"|final|copy|answers?|new)[\W\d_]*(v\d+)?",
    re.IGNORECASE,
)

Metadata = Mapping[str, Upload]  # folder of Gradescope → who, and when


class ByHand(NamedTuple):
    """What the name of a file or folder says that no platform gave."""

    name: str
    number: str = ""  # of the copy


def origins_of(
    paths: Sequence[str], metadata: Metadata | None = None, root: str = ""
) -> list[Origin]:
    """What each path tells.

    The folders that hold all paths are nobody's name, unless there is nothing else to
    go by. metadata: of Gradescope. root: the name of the folder that was handed over.
    """
    split = [path.split("/") for path in paths]
    levels = zip(*(parts[:-1] for parts in split), strict=False)
    common = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    flat = all(len(parts) == common + 1 for parts in split)
    kept = common - 1 if flat and common else common  # may be the one student's folder
    assignment = _assignment(parts[-1] for parts in split)
    ilias = _all_of_ilias([parts[kept:] for parts in split])
    classroom = _classroom([root, *split[0][:common]] if split else [])
    return [
        _from_platform(parts[: kept + 1], len(parts) == kept + 1, assignment, metadata)
        or (ilias and _from_ilias(parts[kept:]))
        or _by_hand(parts[kept:], flat, classroom)
        for parts in split
    ]


def labels(origins: Sequence[Origin]) -> list[str]:
    """The student of each origin, with the id where two ids share a name.

    "" where nothing tells.
    """
    ids = defaultdict(set)
    for origin in origins:
        ids[origin.student].add(_ids(origin))
    return [
        f"{origin.student} ({_ids(origin)})"
        if origin.student and _ids(origin) and len(ids[origin.student]) > 1
        else origin.student
        for origin in origins
    ]


def _ids(origin: Origin) -> str:
    """The ids of the authors."""
    return ", ".join(author.id for author in origin.authors if author.id)


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
    parts: list[str], whole: bool, assignment: str, metadata: Metadata | None
) -> Origin | None:
    """What the first part says that has a platform's form.

    parts: of the path, down to where those of the students part ways; what stands below
    is named by a student, who may want to be another. whole: the last one is the file.
    assignment: what stands before each name on Blackboard, if that is known.
    """
    for part in parts:
        last = part is parts[-1]
        if found := MOODLE.fullmatch(part):
            return _from_moodle(_tidy(found["name"]), found["id"] or "")
        if found := GRADESCOPE.fullmatch(part):
            upload = (metadata or {}).get(part, Upload())
            number = part.removeprefix("submission_")
            authors = upload.authors or (Author(id=number),)
            attempt = upload.when or number.rjust(20, "0")
            return Origin("gradescope", authors, attempt, back=part)
        if (found := BRIGHTSPACE.fullmatch(part)) and not (whole and last):
            return _from_brightspace(part, found)
        if (whole and last) or part.lower().endswith(".zip"):
            if found := CANVAS_ANONYMOUS.fullmatch(part) or CANVAS.fullmatch(part):
                return _from_canvas(part, found)
            if found := BLACKBOARD.fullmatch(part):
                return _from_blackboard(found, assignment)
    return None


def _from_moodle(name: str, id: str) -> Origin:
    """A student of Moodle."""
    # Moodle takes what stands between the first two underscores for the participant, so
    # it puts spaces into names itself, and a name that was changed by hand gets them.
    back = f"{name.replace('_', ' ')}_{id}_assignfeedback_file_" if id else ""
    return Origin("moodle", (Author(name, id),), back=back)


def _from_canvas(part: str, found: re.Match) -> Origin:
    """A student or group of Canvas. Later files have larger numbers there."""
    name = _tidy(found["name"])
    id = found.groupdict().get("id") or name.removeprefix("anon_")
    late, attempt = bool(found["late"]), found["file"].rjust(20, "0")
    return Origin("canvas", (Author(name, id),), attempt, late, back=part)


def _from_blackboard(found: re.Match, assignment: str) -> Origin:
    """A student of Blackboard, whose name is the login."""
    name = found["name"]
    known = assignment and name.startswith(assignment)
    name = _tidy(name[len(assignment) :] if known else name.rsplit("_")[-1])
    return Origin("blackboard", (Author(name, name),), found["when"])


def _from_brightspace(part: str, found: re.Match) -> Origin:
    """A student of Brightspace. A number before the name is the student's."""
    number, _, rest = found["name"].partition(" ")
    numbered = bool(rest) and number.isdecimal()
    author = Author(_tidy(rest), number) if numbered else Author(_tidy(found["name"]))
    return Origin("brightspace", (author,), in_words(found["when"] or ""), back=part)


def _all_of_ilias(rests: list[list[str]]) -> bool:
    """Whether every folder has the form of ILIAS; one alone may have it by chance."""
    folders = {_below_team(rest)[0] for rest in rests if len(_below_team(rest)) > 1}
    return bool(folders) and all(map(ILIAS.fullmatch, folders))


def _below_team(parts: list[str]) -> list[str]:
    """The path without the folder of the team."""
    return parts[1:] if ILIAS_TEAM.fullmatch(parts[0]) else parts


def _from_ilias(parts: list[str]) -> Origin | None:
    """A student of ILIAS; None for a file beside the folders."""
    inner = _below_team(parts)
    found = ILIAS.fullmatch(inner[0])
    if not found or len(inner) < 2:
        return None
    author = Author(_tidy(f"{found['first']} {found['last']}"), _tidy(found["login"]))
    back = "/".join(parts[: len(parts) - len(inner) + 1])
    return Origin("ilias", (author,), back=back)


def _classroom(folders: list[str]) -> str:
    """What `gh classroom clone` writes before each name, such as `exercise-2-`."""
    named = [f for f in folders if f.endswith("-submissions") and len(f) > 12]
    return named[-1].removesuffix("submissions") if named else ""


def _by_hand(parts: list[str], flat: bool, classroom: str) -> Origin:
    """The student's folder, or what a notebook's name says beside the notebook's.

    flat: all files lie side by side, so that a name of their own comes first.
    """
    folders = [part for part in parts[:-1] if part not in _notebooks()]
    if classroom and folders and folders[0].startswith(classroom):
        login = _tidy(folders[0].removeprefix(classroom))
        return Origin("github", (Author(login, login),))
    said = ByHand("")
    if is_notebook_name(parts[-1]):
        said = _said_by(parts[-1])
    folder = _tidy(re.sub(r"\.zip$", "", "".join(folders[:1]), flags=re.IGNORECASE))
    name = said.name if flat or not folders else ""
    authors = (Author(name or folder),) if name or folder else ()
    return Origin(authors=authors, attempt=said.number.rjust(4, "0") * bool(authors))


def _said_by(file: str) -> ByHand:
    """What a file is called beside the notebook's name, and which copy it is."""
    stem = re.sub(r"\.ipynb.*$", "", file, flags=re.IGNORECASE)
    stem, number = _without_copy(stem)
    name, again = _without_copy(re.sub("|".join(_notebooks()), "", stem).strip(" _-."))
    name = name.strip(" _-.")
    return ByHand("" if NOBODY.fullmatch(name) else _tidy(name), number or again)


def _without_copy(stem: str) -> tuple[str, str]:
    """A name without what marks it as a copy, and the number of the copy, or "0"."""
    number = ""
    while found := COPY.search(stem):
        stem = stem[: found.start()] + stem[found.end() :]
        number = number or re.sub(r"\D", "", found["number"] or "")
    return stem, number


@cache
def _notebooks() -> tuple[str, ...]:
    """The exercise notebooks, longer names first."""
    return tuple(sorted({entry["notebook"] for entry in catalogue()}, key=len))[::-1]


def named_notebook(path: str) -> str:
    """The exercise notebook that a path is named after, or ""."""
    name = path.rpartition("/")[2]
    return next((known for known in _notebooks() if known in name), "")


def _tidy(name: str) -> str:
    """The name in one form of Unicode: a Mac stores é as two characters."""
    return printable(unicodedata.normalize("NFC", name)).strip()
