"""What a notebook's outputs depend on: its code, and what it read of the package."""

import hashlib
import json
from pathlib import Path, PurePosixPath

from nbformat import NotebookNode

from address import ROOT
from sources import SourceError

PACKAGE = ROOT / "src" / "vit_encoder"
# Python opens these, so that tools/kernel_probe.py sees it. It does not see what a
# library of another language opens, as safetensors does.
SEEN = {".py", ".css", ".js", ".json", ".md", ".mplstyle", ".png", ".seal"}


def package_digests() -> dict[str, str]:
    """Path within the package → digest, for each file as it stands now."""
    paths = [p for p in PACKAGE.rglob("*") if p.is_file()]
    return {
        path.relative_to(PACKAGE).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(paths)
        if "__pycache__" not in path.parts
        if ".edited-" not in path.name  # what `make sync` has kept
    }


def digest_of(notebook: NotebookNode, files: list[str], package: dict[str, str]) -> str:
    """A digest of a notebook's code and of what it read, as that stands in `package`.

    It changes too if a file is gone, or if a folder of its name now takes its place.
    """
    parts = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    for name in files:
        hidden = f"{name.removesuffix('.py')}/__init__.py" in package
        parts.append(f"{name} {package.get(name)} {hidden}")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def files_read(probe: Path, package: dict[str, str]) -> list[str]:
    """The files of the package that a kernel read, from what its probe wrote.

    With the data files beside them that may have been read unseen. SourceError if the
    kernel imported the course's package from elsewhere.
    """
    paths = [Path(path) for path in json.loads(probe.read_text())["files"]]
    for path in paths:
        if path.match("vit_encoder/__init__.py"):
            require_own(path)
    read = {
        path.relative_to(PACKAGE).as_posix()
        for path in paths
        if path.is_relative_to(PACKAGE)
    }
    folders = {PurePosixPath(name).parent for name in read}
    unseen = {
        name
        for name in map(PurePosixPath, package)
        if name.suffix not in SEEN and name.parent in folders
    }
    return sorted(read | {str(name) for name in unseen})


def require_own(path: Path) -> None:
    """SourceError if the package that was imported is not that of this folder."""
    if path.resolve().parent != PACKAGE:
        raise SourceError(
            f"vit_encoder was imported from {path.parent}, not from {PACKAGE}. Run "
            f"`make sync`, or put {PACKAGE.parent} on PYTHONPATH."
        )
