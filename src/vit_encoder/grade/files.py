"""The files in a folder or a zip: listed, then read one at a time, never extracted.

What students hand in may be hostile. Links are not followed, nothing waits for a pipe,
and no more than `LIMIT` bytes of a file are read, whatever its size is said to be.
"""

import contextlib
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

LIMIT = 20 * 2**20  # bytes of one file
MOST_IN_STUDENT_ZIP = 50  # files; a notebook may run for a minute

BY_PRODUCT = re.compile(
    r"\.ipynb_checkpoints|__MACOSX|\.git|__pycache__|\.vscode|\.idea"
    r"|\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|\.gitignore|\.gitattributes|\.gitkeep"
    r"|.*\.progress\.jsonl|.*my_encoder\.py(\.edited-\d+)?|submission_metadata\.yml"
    # What a repository holds beside the work; the last are folders of packages.
    r"|(README|LICEN[CS]E|COPYING|CHANGELOG|CONTRIBUTING)(\.(md|rst|txt))?|\.github"
    r"|requirements\.txt|environment\.ya?ml|pyproject\.toml|\.pre-commit-config\.yaml"
    r"|pyvenv\.cfg|\.?venv|site-packages|node_modules|\.(mypy|ruff|pytest)_cache"
    r"|\..+\.csv\.\d+\.new",  # a table that was being written
    re.IGNORECASE | re.DOTALL,
)

# What zipfile raises for a damaged or hostile archive, beside its own BadZipFile.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class UnreadableError(Exception):
    """A file that cannot be marked; the text says why, for the teacher."""


@dataclass(frozen=True)
class Item:
    """A file, found and not yet read.

    name: as stored, with / between folders. file: on disk, the file or the zip that
    holds it. members: its place in the zip, and in the zip inside that zip.
    problem: why it is not to be read, or "". by_product: nobody handed it in.
    """

    name: str
    file: Path
    members: tuple[int, ...] = ()
    problem: str = ""
    by_product: bool = False


def list_files(path: Path) -> Iterator[Item]:
    """Every file in a folder or a zip, and in the zips that lie in it, in any order.

    Raises FileNotFoundError if there is no such path, ValueError if it is neither a
    folder nor a zip that can be read.
    """
    path = path.resolve()  # the teacher's own link may lead here
    if path.is_dir():
        yield from _in_folder(path)
        return
    if not path.exists():
        raise FileNotFoundError(f"expected a folder or a zip, but {path} is not there")
    try:
        with open_plain(path) as stream, zipfile.ZipFile(stream) as archive:
            yield from _in_zip(archive, Item("", path))
    except (UnreadableError, *BROKEN) as error:
        raise ValueError(
            f"expected a folder or a zip, got {path.name!r}: {error}"
        ) from None


def content(item: Item) -> bytes:
    """The bytes of a file. Raises UnreadableError if there are too many, or none."""
    if item.problem:
        raise UnreadableError(item.problem)
    with open_plain(item.file) as stream:
        if not item.members:
            return _limited(stream)
        data = _member(stream, item.members[0])
    for index in item.members[1:]:
        data = _member(BytesIO(data), index)
    return data


def open_plain(file: Path) -> BinaryIO:
    """A plain file, opened without following a link or waiting for a pipe."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(file, flags)
    except OSError as error:
        raise UnreadableError(f"cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UnreadableError("not a plain file")
    return os.fdopen(handle, "rb")


def _in_folder(root: Path) -> Iterator[Item]:
    """The files below a folder; folders that cannot be listed count as files."""
    waiting = [root]  # no recursion: folders may be nested deeper than Python's stack
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError as error:
            if folder == root:
                raise ValueError(f"cannot list {root}: {error.strerror}") from None
            problem = f"a folder that cannot be listed: {error.strerror}"
            yield Item(_name(folder, root), folder, problem=problem)
            continue
        if not entries and folder != root:
            yield Item(f"{_name(folder, root)}/", folder, by_product=True)
        for entry in entries:
            item = Item(_name(Path(entry), root), Path(entry))
            by_product = bool(BY_PRODUCT.fullmatch(entry.name))
            if entry.is_dir(follow_symlinks=False) and not by_product:
                waiting.append(item.file)
            yield from _from_entry(entry, replace(item, by_product=by_product))


def _name(path: Path, root: Path) -> str:
    """The path inside the folder."""
    return path.relative_to(root).as_posix()


def _from_entry(entry: os.DirEntry, item: Item) -> Iterator[Item]:
    """What an entry of a folder holds: itself, or the files of a student's zip."""
    if item.by_product:
        yield item
    elif entry.is_symlink():
        yield replace(item, problem="a link, which is not followed")
    elif entry.is_dir(follow_symlinks=False):
        if is_notebook_name(entry.name):
            yield replace(item, problem="a folder, not a notebook")
    elif not entry.is_file(follow_symlinks=False):
        yield replace(item, problem="not a plain file")
    elif entry.name.lower().endswith(".zip"):
        yield from _student_zip(item)
    else:
        yield item


def is_notebook_name(name: str) -> bool:
    """Whether a file is called a notebook; some browsers add .txt or .json."""
    return name.lower().endswith((".ipynb", ".ipynb.txt", ".ipynb.json"))


def _student_zip(item: Item, data: bytes | None = None) -> Iterator[Item]:
    """The files of a zip that a student handed in, or one item that says why not.

    data: its bytes, if it lies in a zip itself.
    """
    try:
        with BytesIO(data) if data is not None else open_plain(item.file) as stream:
            inside = _nested(stream, item)
        if all(file.by_product for file in inside):
            inside.append(replace(item, problem="a zip that holds no notebook"))
    except UnreadableError as error:
        inside = [replace(item, problem=str(error))]
    except BROKEN as error:
        inside = [replace(item, problem=f"a zip that cannot be read: {error}")]
    yield from inside


def _nested(stream: BinaryIO, item: Item) -> list[Item]:
    """The files of a student's zip, if it is not too large."""
    if stream.seek(0, os.SEEK_END) > LIMIT:
        raise UnreadableError(_too_large())
    with zipfile.ZipFile(stream) as archive:
        count = len(archive.infolist())
        if not 0 < count <= MOST_IN_STUDENT_ZIP:
            expected = f"expected 1 to {MOST_IN_STUDENT_ZIP}"
            raise UnreadableError(f"a zip of {count} files, {expected}")
        return list(_in_zip(archive, item, nested=True))


def _in_zip(
    archive: zipfile.ZipFile, outer: Item, nested: bool = False
) -> Iterator[Item]:
    """The files of an open zip. nested: a zip in it is not looked into."""
    for index, info in enumerate(archive.infolist()):
        name = f"{outer.name}/{_zip_name(info)}".removeprefix("/")
        item = Item(name, outer.file, (*outer.members, index), _problem(info))
        parts = re.split(r"[/\\]", name)
        if any(map(BY_PRODUCT.fullmatch, parts)):
            yield replace(item, by_product=True)
        elif not parts[-1]:  # a folder
            if is_notebook_name(parts[-2]):
                yield replace(item, problem="a folder, not a notebook")
            else:
                yield replace(item, by_product=True)
        elif item.problem or not name.lower().endswith(".zip"):
            yield item
        elif nested:
            yield replace(item, problem="a zip inside a zip, which is not looked into")
        else:
            yield from _zip_in_zip(archive, info, item)


def _zip_in_zip(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, item: Item
) -> Iterator[Item]:
    """The files of a student's zip inside the zip that an LMS made."""
    try:
        data = _read(archive, info)
    except UnreadableError as error:
        yield replace(item, problem=str(error))
    else:
        yield from _student_zip(item, data)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name of a member, also where its encoding is not told.

    A Mac writes UTF-8 without saying so, and Windows the code page of its language.
    """
    utf8_flag = 0x800
    if info.flag_bits & utf8_flag:
        return info.filename
    try:
        data = info.filename.encode("cp437")
    except UnicodeError:
        return info.filename
    for encoding in ("utf-8", "gb2312", "cp932", "gbk"):
        with contextlib.suppress(UnicodeError):
            name = data.decode(encoding)
            if encoding == "utf-8" or not NO_EAST_ASIAN_NAME.search(name):
                return name
    return info.filename


# No name decoded by chance: é and the letter behind it can be a character of cp932.
NO_EAST_ASIAN_NAME = re.compile(
    r"[^\x20-\x7e\u3005-\u30ff\u4e00-\u9fff\uff01-\uff5e]"
    r"|[A-Za-z][^\x00-\x7f]|[^\x00-\x7f][A-Za-z]"
)


def _problem(info: zipfile.ZipInfo) -> str:
    """Why a member of a zip is not read, as far as its header tells."""
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 unless it was made on Unix
    if stat.S_ISLNK(kind):
        return "a link, which is not followed"
    if kind and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        return "not a plain file"
    if info.flag_bits & 1:
        return "encrypted"
    # zipfile has no limit on what one step of the other methods unpacks.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "compressed by a method other than deflate"
    return ""


def _member(stream: BinaryIO, index: int) -> bytes:
    """The bytes of a member of a zip, by its place."""
    try:
        with zipfile.ZipFile(stream) as archive:
            return _read(archive, archive.infolist()[index])
    except BROKEN as error:
        raise UnreadableError(f"cannot be unpacked: {error}") from None


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The bytes of a member of an open zip."""
    try:
        with archive.open(info) as stream:
            return _limited(stream)
    except BROKEN as error:
        raise UnreadableError(f"cannot be unpacked: {error}") from None


def _limited(stream: BinaryIO) -> bytes:
    """All bytes of a stream, or UnreadableError if there are more than the limit."""
    try:
        data = stream.read(LIMIT + 1)
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from None
    if len(data) > LIMIT:
        raise UnreadableError(_too_large())
    return data


def _too_large() -> str:
    """The reason that names the limit."""
    return f"larger than {LIMIT // 2**20} MB"
