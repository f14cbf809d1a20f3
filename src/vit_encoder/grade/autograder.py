"""An autograder for Gradescope: a zip with this package and two scripts.

Gradescope unpacks it in /autograder/source of an Ubuntu image, runs setup.sh once, and
run_autograder in a fresh container for each submission. The root folder can be another,
so that the scripts can be tried elsewhere: AUTOGRADER=FOLDER.
"""

from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from vit_encoder.atomic import write_atomically
from vit_encoder.grade.back import zipped
from vit_encoder.grade.packages import distribution_of

PACKAGE = Path(__file__).parents[1]
NEEDED = (  # what the parts, the checks and the marking import
    *("numpy", "matplotlib", "pillow", "anywidget", "safetensors", "tqdm"),
    *("cloudpickle", "psutil"),
)
# Python of the image is too old on Ubuntu 22.04, so uv brings one.
SETUP = """\
#!/usr/bin/env bash
set -euo pipefail
apt-get update
apt-get install -y curl ca-certificates{sandbox}
curl -LsSf https://astral.sh/uv/install.sh | env UV_INSTALL_DIR=/opt/uv sh
export UV_PYTHON_INSTALL_DIR=/opt/python
/opt/uv/uv venv --python 3.12 /opt/marking
export VIRTUAL_ENV=/opt/marking
/opt/uv/uv pip install {torch} --index-url https://download.pytorch.org/whl/cpu
/opt/uv/uv pip install {needed}
"""
RUN = """\
#!/usr/bin/env bash
root="${{AUTOGRADER:-/autograder}}"
python="${{MARKING_PYTHON:-/opt/marking/bin/python}}"
results="$root/results/results.json"
export PYTHONPATH="$root/source"
mkdir -p "$root/results"
"$python" -m vit_encoder.command grade "$root/submission" \\
  --output "$(mktemp -d)/marks.csv" --results "$results" --workers 1{options}
status=$?
if [ ! -s "$results" ]; then
  echo '{{"score": 0, "visibility": "visible", "output": "Nothing could be marked.' \\
    'The 0 is no mark: show this page to your instructor."}}' > "$results"
fi
exit $status
"""


def write_autograder(
    path: Path,
    notebooks: Sequence[str],
    isolated: bool,
    packages: Sequence[str] = (),
) -> None:
    """Write the zip. notebooks: that are marked, all if there are none.

    isolated: with the sandbox, for which the image must let bubblewrap work. packages:
    that notebooks may use beside the course's own. All are asked for in the versions
    that this Python has. FileExistsError if the file is there and is no autograder: it
    may be what students handed in.
    """
    if path.exists() and not _is_autograder(path):
        raise FileExistsError(0, "This file is there and is no autograder", str(path))
    options = [f"--assignment {notebook}" for notebook in notebooks]
    options += [f"--with {package}" for package in packages]
    options += [] if isolated else ["--no-sandbox"]
    scripts = {
        "setup.sh": SETUP.format(
            sandbox=" bubblewrap" if isolated else "",
            torch=_pinned("torch"),
            needed=" ".join(map(_pinned, (*NEEDED, *map(distribution_of, packages)))),
        ),
        "run_autograder": RUN.format(
            options="".join(f" \\\n  {option}" for option in options)
        ),
    }
    package = {
        f"{PACKAGE.name}/{file.relative_to(PACKAGE).as_posix()}": file.read_bytes()
        for file in sorted(PACKAGE.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    }
    write_atomically(path, zipped((scripts | package).items()))


def _is_autograder(path: Path) -> bool:
    """Whether a file is such a zip."""
    with suppress(OSError, BadZipFile), ZipFile(path) as archive:
        return {"setup.sh", "run_autograder"} <= {*archive.namelist()}
    return False


def _pinned(package: str) -> str:
    """A package in the version that is installed here, or in any if it is not."""
    try:
        return f"{package}=={version(package).partition('+')[0]}"
    except PackageNotFoundError:
        return package
