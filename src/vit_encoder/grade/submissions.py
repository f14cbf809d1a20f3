"""What was handed in: found first, which is quick, then read one file at a time.

    found = find_submissions(path)
    for entry in found.entries:       # len(found.entries) is the number of rows
        submission = read_submission(entry)

An entry is small and can be sent to another process; only what is being read is held
in memory. Every file gets an entry, also one that cannot be marked.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from vit_encoder.grade.exports import (
    GRADESCOPE,
    labels,
    named_notebook,
    origins_of,
    receipts,
)
from vit_encoder.grade.files import (
    BY_PRODUCT,
    Item,
    UnreadableError,
    content,
    is_notebook_name,
    list_files,
)
from vit_encoder.grade.gradescope import METADATA, read_metadata
from vit_encoder.grade.notebook import read_notebook
from vit_encoder.grade.origin import Origin
from vit_encoder.grade.outcome import Submission
from vit_encoder.grade.text import printable, shorten

LONGEST_PATH = 255  # characters
MOST_WITHOUT_NOTEBOOK = 3  # files of a student that each get a row
OF_ENVIRONMENTS = ("lib", "lib64", "bin", "include", "share", "Lib", "Scripts")
NOTHING_KNOWN = Origin()
NOTHING = "a folder in which nothing was handed in"
DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Entry:
    """A file that was handed in and is not read yet.

    path: inside SUBMISSIONS, with /, printable, no other entry has it. student: "" if
    the path does not tell. item: where the bytes are. notes: what is odd in its name.
    origin: what the platform says of it. asked: the notebooks that are marked, all if
    there are none.
    """

    path: str
    student: str
    item: Item
    notes: tuple[str, ...] = ()
    origin: Origin = NOTHING_KNOWN
    asked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """The files in SUBMISSIONS, sorted by path.

    skipped: how many nobody handed in, such as .DS_Store, progress files and a
    platform's receipts. A folder of such files counts once. beside: how many lie beside
    the notebooks of a student and are none.
    """

    entries: tuple[Entry, ...]
    skipped: int
    beside: int = 0


def find_submissions(path: Path, without: Iterable[Path] = ()) -> Found:
    """The files in a folder or zip that was handed in.

    without: files and folders that are left out, such as the marks of an earlier run.
    Raises FileNotFoundError if nothing is there, ValueError if it is neither a folder
    nor a zip that can be read, or holds no file.
    """
    own = {other.resolve() for other in without}
    items = without_environments(
        [
            item
            for item in list_files(path)
            if own.isdisjoint({item.file, *item.file.parents})
        ]
    )
    handed_in = [item for item in items if not item.by_product]
    handed_in += empty_folders(items)
    handed_in.sort(key=lambda item: (_shown(item.name), item.name, item.members))
    paths = _unique(map(_shown, (item.name for item in handed_in)))
    places = [  # an empty folder is somebody's folder, and no file of that name
        f"{shown}/" if item.problem == NOTHING else shown
        for shown, item in zip(paths, handed_in, strict=True)
    ]
    origins = origins_of(places, metadata_in(items), path.resolve().name)
    entries = [
        Entry(shown, student, item, _notes(item.name), origin)
        for shown, student, item, origin in zip(
            paths, labels(origins), handed_in, origins, strict=True
        )
    ]
    left_out = receipts(paths) | status_files(entries)
    kept = [entry for entry in entries if entry.path not in left_out]
    if not any(entry.item in items for entry in kept):
        raise ValueError(f"expected notebooks, but {path} holds no file")
    files = [item for item in items if not item.name.endswith("/")]
    skipped = sum(item.by_product for item in files) + len(left_out)
    notebooks = without_companions(kept)
    return Found(tuple(notebooks), skipped, len(kept) - len(notebooks))


def without_environments(items: list[Item]) -> list[Item]:
    """The items; those that came with a virtual environment were not handed in.

    Its folder may have any name, or be the student's own, in which the work lies, too.
    """
    inside = {
        f"{item.name.removesuffix('pyvenv.cfg')}{folder}"
        for item in items
        if item.name.endswith("/pyvenv.cfg")
        for folder in OF_ENVIRONMENTS
    }
    return [
        replace(item, by_product=True) if _folders(item.name) & inside else item
        for item in items
    ]


def _folders(name: str) -> set[str]:
    """All folders that a file is in."""
    parts = name.split("/")[:-1]
    return {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}


def metadata_in(items: list[Item]) -> dict:
    """What Gradescope's file of names says; nothing if there is none.

    One inside of a folder that it names was handed in, and tells nothing of others.
    ValueError if it cannot be read: nobody's name would be known.
    """
    for item in items:
        *folders, name = item.name.split("/")
        if name == METADATA and not any(map(GRADESCOPE.fullmatch, folders)):
            try:
                return read_metadata(content(item))
            except UnreadableError as error:
                raise ValueError(
                    f"cannot read who handed in from {item.name}: {error}. Remove the "
                    "file to mark without names."
                ) from None
    return {}


def status_files(entries: list[Entry]) -> set[str]:
    """What Brightspace and ILIAS write beside the folders of students."""
    platforms = {entry.origin.platform for entry in entries}
    written = {"brightspace": {"index.html"}, "ilias": {"status.xlsx", "status.csv"}}
    names = set().union(*(written.get(platform, ()) for platform in platforms))
    return {
        entry.path
        for entry in entries
        if not entry.origin.platform and entry.path.rpartition("/")[2].lower() in names
    }


def without_companions(entries: list[Entry]) -> list[Entry]:
    """The notebooks of a student, without the files beside them.

    Who handed in no notebook keeps a row: for one file, or for the first of several.
    """
    rows = []
    grouped: dict[tuple, list[Entry]] = defaultdict(list)
    for entry in entries:
        grouped[entry.origin.key or (entry.path, "")].append(entry)
    for group in grouped.values():
        asked = [e for e in group if _may_be_notebook(e)]
        if not asked and len(group) > MOST_WITHOUT_NOTEBOOK:
            others = f"and {len(group) - 1} more files, none of them a notebook"
            asked = [replace(group[0], notes=(*group[0].notes, others))]
        rows += asked or group
    kept = {entry.path: entry for entry in rows}
    return [kept[entry.path] for entry in entries if entry.path in kept]


def _may_be_notebook(entry: Entry) -> bool:
    """It is a notebook by its name, or nobody can know as it cannot be opened."""
    return is_notebook_name(entry.item.name) or bool(entry.item.problem)


def empty_folders(items: list[Item]) -> list[Item]:
    """An item for each folder, side by side with others, in which nothing is handed in.

    It may be that of a student, who then has a row that says so. A folder that holds
    all of them is nobody's.
    """
    around = _around(
        [item for item in items if "/" in item.name or not item.by_product]
    )
    first: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        name = item.name.replace("\\", "/")
        folder, slash, _ = name.removeprefix(around).partition("/")
        if name.startswith(around) and slash and not BY_PRODUCT.fullmatch(folder):
            first[folder].append(item)
    return [
        replace(inside[0], name=f"{around}{folder}/", by_product=False, problem=NOTHING)
        for folder, inside in first.items()
        if all(item.by_product for item in inside)
    ]


def _around(items: list[Item]) -> str:
    """The folder in which all folders lie and no file that was handed in, or ""."""
    names = [item.name.replace("\\", "/") for item in items]
    tops = {name.partition("/")[0] for name in names}
    tops = {top for top in tops if not BY_PRODUCT.fullmatch(top)}
    if len(tops) != 1:
        return ""
    around = f"{tops.pop()}/"
    beside = {item.name for item in items if not item.by_product}
    return "" if any(name.count("/") < 2 for name in beside) else around


def read_submission(entry: Entry) -> Submission:
    """The submission in a file; if it cannot be marked, its problem says why."""
    submission = Submission(entry.path, entry.student, notes=entry.notes)
    try:
        if len(entry.asked) == 1:
            submission = replace(submission, notebook=entry.asked[0])
        if not entry.item.problem and not is_notebook_name(entry.item.name):
            raise UnreadableError("not a notebook")
        data = content(entry.item)
        digest = hashlib.sha256(data).hexdigest()
        submission = replace(submission, digest=digest)
        notebook = read_notebook(data)
        if entry.asked and notebook.name not in entry.asked:
            asked = " or ".join(entry.asked)
            raise UnreadableError(f"expected {asked}, got {notebook.name}")
    except UnreadableError as reason:
        return replace(submission, problem=printable(str(reason)))
    named = named_notebook(entry.path)
    other = named and named != notebook.name
    renamed = (f"named after {named}, but holds {notebook.name}",) if other else ()
    return replace(
        submission,
        notebook=notebook.name,
        cells=notebook.cells,
        notes=(*entry.notes, *renamed, *notebook.notes),
    )


def _shown(name: str) -> str:
    """The name as a relative path with /, whatever a zip says, and printable."""
    parts = (part for part in re.split(r"[/\\]", name) if _is_folder_or_file(part))
    return shorten(printable("/".join(parts)), LONGEST_PATH) or "(no name)"


def _is_folder_or_file(part: str) -> bool:
    """Whether a part of a path names something, rather than leading elsewhere."""
    return part not in ("", ".", "..") and not DRIVE.fullmatch(part)


def _notes(name: str) -> tuple[str, ...]:
    """A note where the path that is shown is not the name that was given."""
    parts = re.split(r"[/\\]", name)
    if all(map(_is_folder_or_file, parts)):
        return ()
    return (f"named {shorten(printable(name), LONGEST_PATH)}",)


def _unique(paths: Iterable[str]) -> list[str]:
    """The paths, with a number behind each that came before."""
    seen: set[str] = set()
    count = Counter()
    unique = []
    for path in paths:
        name = path
        while name in seen:
            count[path] += 1
            name = f"{path} ({count[path] + 1})"
        seen.add(name)
        unique.append(name)
    return unique
