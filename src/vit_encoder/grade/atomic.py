"""Files that are written whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, text: str, lasting: bool = True) -> None:
    """Write a file of UTF-8 text; whoever looks sees the old file or all of the new.

    lasting: wait until the disk has it, some 10 ms. Raises OSError if it cannot be
    written; the old file is still there.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with open(new, "w", encoding="utf-8", newline="") as file:
            file.write(text)
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
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks refuse
            os.fsync(handle)
    finally:
        os.close(handle)
