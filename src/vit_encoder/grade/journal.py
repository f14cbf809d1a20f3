"""The journal of a run that may be killed: each outcome is on disk once it is made.

One line of JSON each. The first says what the marks depend on, so that a run goes on
only where it would mark alike.
"""

import fcntl
import json
import os
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, BinaryIO, Literal, Self, get_args, get_origin, get_type_hints

from vit_encoder.atomic import named
from vit_encoder.grade.outcome import Outcome

VERSION = 1


class JournalError(Exception):
    """The journal cannot be used; the text says why, and what to do."""


class Journal:
    """The outcomes of a run, and of the run before it that did not finish.

        with Journal(path, {"seed": 7, "depends_on": digest}) as journal:
            journal.known     # (submission, digest) → Outcome
            journal.add(outcome)
            ...               # write the table
            journal.finish()

    header: plain JSON; what the marks depend on. A block that is left without `finish`
    leaves the file, and the next run finds the outcomes in `known`; a file without
    outcomes is removed. Raises JournalError on entering if another run holds the file,
    if it is damaged, or if its outcomes are of another header. The lock lasts while
    this process, or one forked from it, lives.
    """

    def __init__(self, path: Path, header: dict):
        self.path = path
        self.known: dict[tuple[str, str], Outcome] = {}
        self._header = json.loads(json.dumps({"version": VERSION} | header))

    def __enter__(self) -> Self:
        self._file = _locked(self.path)
        try:
            self._load()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_) -> None:
        if not self.known:
            self.path.unlink(missing_ok=True)
        self._file.close()

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome; it is on disk when this returns."""
        self._write(asdict(outcome))
        self.known[outcome.submission, outcome.digest] = outcome

    def finish(self) -> None:
        """Remove the file: what it held is written elsewhere."""
        self.path.unlink()

    def _write(self, entry: dict) -> None:
        """Add a line, down to the disk."""
        with named(self.path):
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def _load(self) -> None:
        """Read what an earlier run left, except a line that it wrote half."""
        lines = self._file.read().split(b"\n")
        self._file.seek(-len(lines.pop()), os.SEEK_END)
        self._file.truncate()
        if not lines:
            self._write(self._header)
            return
        found = self._parsed(lines[0], 1)
        if len(lines) == 1 and isinstance(found, dict) and {*found} == {*self._header}:
            self._file.seek(0)  # killed before its first outcome: nothing to keep
            self._file.truncate()
            self._write(self._header)
        elif found != self._header:
            raise JournalError(
                f"{self.path} is of a run that marked in another way: another seed, "
                "other exercises or limits. Remove it to mark anew, or give another "
                "output."
            )
        for number, line in enumerate(lines[1:], 2):
            outcome = self._outcome(line, number)
            self.known[outcome.submission, outcome.digest] = outcome

    def _outcome(self, line: bytes, number: int) -> Outcome:
        """The outcome in a line."""
        try:
            return typed(self._parsed(line, number), Outcome)
        except TypeError as error:
            raise self._damaged(number, error) from None

    def _parsed(self, line: bytes, number: int) -> Any:
        """The JSON in a line."""
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._damaged(number, error) from None

    def _damaged(self, number: int, error: Exception) -> JournalError:
        """The error for a line that no run of this version wrote."""
        return JournalError(
            f"{self.path} is damaged in line {number}: {error}. Remove it to mark anew."
        )


def _locked(path: Path) -> BinaryIO:
    """The file, made if it is not there, with a lock that no other run holds."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        file = os.fdopen(handle, "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise JournalError(
                f"Another run is writing {path}. Wait for it, or give another output."
            ) from None
        # The run before may have removed the file between the two calls.
        if _is_at(file, path):
            return file
        file.close()


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is the one that the path names."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def typed(value: Any, hint: Any) -> Any:
    """Plain JSON as the type that the hint names; TypeError if it is another."""
    if is_dataclass(hint):
        return _instance(value, hint)
    if get_origin(hint) is tuple and type(value) is list:
        return tuple(typed(item, get_args(hint)[0]) for item in value)
    if get_origin(hint) is Literal and value in get_args(hint):
        return value
    allowed = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if type(value) in allowed and type(value) in (str, int, bool, NoneType):
        return value
    raise TypeError(f"expected {hint}, got {type(value).__name__}")


def _instance(value: Any, kind: type) -> Any:
    """A dataclass, from what `asdict` and JSON made of it."""
    names = [field.name for field in fields(kind)]
    if type(value) is not dict or sorted(value) != sorted(names):
        raise TypeError(f"expected the fields {', '.join(names)}")
    hints = get_type_hints(kind)
    return kind(**{name: typed(value[name], hints[name]) for name in names})
