"""Tell that somebody edited a generated file, and keep the edit.

Each generated file holds a seal: a digest of all else that was written into it. JSON
has no comments, so the seal of `name.json` is the file `name.seal` beside it.
"""

import hashlib
import json
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from vit_encoder.atomic import write_beside

LINE = re.compile(r"^([#%]) .*Do not edit\.\n", re.MULTILINE)
SEAL = re.compile(r"^[#%] Seal: (\w+)\n", re.MULTILINE)


def seal(content: object) -> str:
    """A digest of a text, or of anything else that JSON can hold."""
    text = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def seal_text(text: str) -> str:
    """The text with its seal below the line that says what it is made from."""
    line = LINE.search(text)
    mark = f"{line[1]} Seal: {seal(text)}\n"
    return text[: line.end()] + mark + text[line.end() :]


def seal_notebook(notebook: NotebookNode) -> None:
    """Put the seal into the notebook's metadata."""
    notebook.metadata["vit_encoder"]["seal"] = seal(sealed_part(notebook))


def sealed_part(notebook: NotebookNode) -> list:
    """What the seal vouches for: not what editors write into metadata unasked."""
    about = dict(notebook.metadata.get("vit_encoder", {}))
    about.pop("seal", None)
    return [notebook.cells, about, notebook.metadata.get("widgets")]


def is_edited(path: Path) -> bool:
    """Whether a generated file is not as any `make sync` wrote it."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".seal":
            return False  # nobody loses anything by its being written anew
        if path.suffix == ".json":
            return path.with_suffix(".seal").read_text().strip() != seal(text)
        if path.suffix == ".ipynb":
            notebook = nbformat.reads(text, as_version=4)
            found = notebook.metadata["vit_encoder"]["seal"]
            return found != seal(sealed_part(notebook))
        found = SEAL.search(text)
        return not found or found[1] != seal(SEAL.sub("", text, count=1))
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return True  # no file of this kind any more


def keep_edit(path: Path) -> Path:
    """Copy a file beside itself, under the first name that is free; the copy's path.

    Its name ends so that no command takes the copy for a notebook or a module.
    """
    return write_beside(path, path.read_bytes(), f"{path.name}.edited-")
