"""Files that are written whole or not at all, and copies beside them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Errors of the block name the file, also those of a write to a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_atomically(path: Path, data: str | bytes, lasting: bool = True) -> None:
    """Write a file; whoever looks sees the old file or all of the new.

    data: text is written in UTF-8. lasting: wait until the disk has it, some 10 ms.
    Raises OSError, which names the file, if it cannot be written; the old file is still
    there.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with named(path):
            with open(new, "wb") as file:
                file.write(data if isinstance(data, bytes) else data.encode())
                if lasting:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(new, path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    if lasting:
        _keep_name(path.parent)


def _keep_name(folder: Path) -> None:
    """Have the disk remember the new name, where it can."""
    with suppress(OSError):  # Windows opens no folder, and some network disks refuse
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_beside(path: Path, data: bytes, before: str, after: str = "") -> Path:
    """Write a file beside another, under the first name that is free; its path.

    before, after: its name, without the number between them.
    """
    for number in count(1):
        copy = path.with_name(f"{before}{number}{after}")
        with suppress(FileExistsError), named(copy), copy.open("xb") as file:
            file.write(data)
            return copy
