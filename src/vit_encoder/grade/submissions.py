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

from vit_encoder.grade.files import (
    BY_PRODUCT,
    Item,
    UnreadableError,
    content,
    is_notebook_name,
    list_files,
)
from vit_encoder.grade.notebook import read_notebook
from vit_encoder.grade.outcome import Submission
from vit_encoder.grade.students import receipts, students_of
from vit_encoder.grade.text import printable, shorten

LONGEST_PATH = 255  # characters
NOTHING = "a folder in which nothing was handed in"
DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Entry:
    """A file that was handed in and is not read yet.

    path: inside SUBMISSIONS, with /, printable, no other entry has it. student: "" if
    the path does not tell. item: where the bytes are. notes: what is odd in its name.
    """

    path: str
    student: str
    item: Item
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """The files in SUBMISSIONS, sorted by path.

    skipped: how many nobody handed in, such as .DS_Store, progress files and a
    platform's receipts. A folder of such files counts once.
    """

    entries: tuple[Entry, ...]
    skipped: int


def find_submissions(path: Path, without: Iterable[Path] = ()) -> Found:
    """The files in a folder or zip that was handed in.

    without: files and folders that are left out, such as the marks of an earlier run.
    Raises FileNotFoundError if nothing is there, ValueError if it is neither a folder
    nor a zip that can be read, or holds no file.
    """
    own = {other.resolve() for other in without}
    items = [
        item
        for item in list_files(path)
        if own.isdisjoint({item.file, *item.file.parents})
    ]
    handed_in = [item for item in items if not item.by_product]
    handed_in += empty_folders(items)
    handed_in.sort(key=lambda item: (_shown(item.name), item.name, item.members))
    paths = _unique(map(_shown, (item.name for item in handed_in)))
    entries = [
        Entry(shown, student, item, _notes(item.name))
        for shown, student, item in zip(
            paths, students_of(paths), handed_in, strict=True
        )
    ]
    left_out = receipts(paths)
    kept = tuple(entry for entry in entries if entry.path not in left_out)
    if not any(entry.item in items for entry in kept):
        raise ValueError(f"expected notebooks, but {path} holds no file")
    files = [item for item in items if not item.name.endswith("/")]
    return Found(kept, sum(item.by_product for item in files) + len(left_out))


def empty_folders(items: list[Item]) -> list[Item]:
    """An item for each folder, side by side with others, in which nothing is handed in.

    It may be that of a student, who then has a row that says so.
    """
    first: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        folder, slash, _ = item.name.replace("\\", "/").partition("/")
        if slash and not BY_PRODUCT.fullmatch(folder):
            first[folder].append(item)
    return [
        replace(inside[0], name=f"{folder}/", by_product=False, problem=NOTHING)
        for folder, inside in first.items()
        if all(item.by_product for item in inside)
    ]


def read_submission(entry: Entry) -> Submission:
    """The submission in a file; if it cannot be marked, its problem says why."""
    submission = Submission(entry.path, entry.student, notes=entry.notes)
    try:
        if not entry.item.problem and not is_notebook_name(entry.item.name):
            raise UnreadableError("not a notebook")
        data = content(entry.item)
        digest = hashlib.sha256(data).hexdigest()
        submission = replace(submission, digest=digest)
        notebook = read_notebook(data)
    except UnreadableError as reason:
        return replace(submission, problem=printable(str(reason)))
    return replace(
        submission,
        notebook=notebook.name,
        cells=notebook.cells,
        notes=entry.notes + notebook.notes,
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
