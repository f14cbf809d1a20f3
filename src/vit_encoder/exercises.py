"""Copies of the exercises to work in: `python -m vit_encoder.exercises [FOLDER]`.

What is in the folder stays as it is. A notebook that is missing is added. If the course
has changed one since it was copied, the new one is put beside it.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path

from vit_encoder.atomic import write_atomically

FOLDER = "my_exercises"
HOW_TO_OPEN = """\
Open them with VS Code, JupyterLab or another program for notebooks.
As the kernel, choose this Python: {python}"""


def main(arguments: list[str] | None = None) -> int:
    """Copy, and say how to open the copies; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m vit_encoder.exercises",
        description="Copy the exercises into a folder to work in. What is there stays.",
    )
    add_folder(parser)
    status = copy_to(parser.parse_args(arguments).folder)
    if not status:
        print(HOW_TO_OPEN.format(python=sys.executable))
    return status


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says where the copies go."""
    parser.add_argument(
        "folder", nargs="?", type=Path, default=FOLDER, help=f"(default: {FOLDER})"
    )


def copy_to(folder: Path) -> int:
    """Copy, and say one line a notebook; the exit status."""
    try:
        for line in copy_all(course_notebooks(), folder):
            print(line, flush=True)
    except OSError as error:
        where = error.filename or folder
        print(f"{where}: {error.strerror}. What was there stays.", file=sys.stderr)
        return 1
    return 0


def course_notebooks() -> Path:
    """The folder of the exercises: in the installed package, else in the repository."""
    installed = Path(__file__).with_name("notebooks")
    return installed if installed.is_dir() else Path(__file__).parents[2] / "exercises"


def copy_all(source: Path, folder: Path) -> Iterator[str]:
    """Add what is missing; a line on each notebook. OSError says what is in the way."""
    paths = sorted(source.glob("*.ipynb"))
    if not paths:
        raise FileNotFoundError(0, "The exercises of the course are not there", source)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(0, "Expected a folder, and this is a file", folder)
    folder.mkdir(parents=True, exist_ok=True)
    if folder.samefile(source):
        raise FileExistsError(0, "Expected a folder of yours, not the course's", folder)
    for path in paths:
        yield add(path, folder)


def add(source: Path, folder: Path) -> str:
    """Copy a notebook, unless the folder has it as it is now; what was done."""
    try:
        notebook = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        reason = f"The course's notebook is damaged: {error}"
        raise OSError(0, reason, source) from error
    text = text_of(notebook)
    first = folder / source.name
    for path in places(first):
        if copied_text(path) == text:
            return f"kept  {path}"
        if not os.path.lexists(path):
            copied = copy_of(notebook, source.stem, text)
            write_atomically(path, copied, lasting=False)
            beside = f"  ({first.name} is of another version, and stays)"
            return f"new   {path}{beside if path != first else ''}"


def places(path: Path) -> Iterator[Path]:
    """Where a notebook may go: NAME.ipynb, NAME_new.ipynb, NAME_new_2.ipynb and on."""
    more = (f"_new_{number}" for number in count(2))
    for ending in chain(["", "_new"], more):
        yield path.with_stem(path.stem + ending)


def copied_text(path: Path) -> str | None:
    """The digest that a copy had when it was made; None if this is no such copy."""
    try:
        return json.loads(path.read_bytes())["metadata"]["vit_encoder"]["text"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def text_of(notebook: dict) -> str:
    """A digest of a notebook's cells, without what running them has shown."""
    cells = [[cell["cell_type"], "".join(cell["source"])] for cell in notebook["cells"]]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:16]


def copy_of(notebook: dict, name: str, text: str) -> str:
    """A notebook to work in: nothing is run yet, and it says what it is a copy of."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    notebook["metadata"].pop("widgets", None)
    notebook["metadata"]["vit_encoder"] = {
        "generated": f"From solutions/{name}.md. This copy is yours.",
        "text": text,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
