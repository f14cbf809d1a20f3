"""Which answers of tests/bank need not be asked again, as nothing they rest on changed.

`make sync` asks the others, and notes in tests/bank/asked.json on what it was done. So
`make test` asks those on some exercises alone, on others after each change, and on all
of them where Python, torch or the processor's instructions are others: with other
instructions torch may round and treat nan differently.
"""

import hashlib
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import torch

from address import ROOT

CHECK = ROOT / "src" / "vit_encoder" / "check"
BANK = ROOT / "tests" / "bank"
ASKED = BANK / "asked.json"
PART = 8  # of so many exercises, one is asked though nothing changed
TESTS = "tests/test_exercises.py"
IMPORTED = re.compile(r"vit_encoder\.check(?:\.(\w+)| import ([\w, ]+))")


def entries() -> list[dict]:
    """The catalogue of all exercises."""
    return json.loads((CHECK / "catalogue.json").read_text(encoding="utf-8"))


def modules() -> dict[str, str]:
    """The modules of checks, and the notebook that each is for."""
    return {e["id"].partition(".")[0]: e["notebook"] for e in entries()}


@cache
def stamp(module: str) -> dict[str, str]:
    """What the answers on a module of checks rest on, as it stands now."""
    own = [e for e in entries() if e["id"].startswith(f"{module}.")]
    parts = [json.dumps(own), *map(digest_of, files_under(module))]
    return {
        "sources": hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16],
        "python": ".".join(map(str, sys.version_info[:2])),
        "torch": torch.__version__.partition("+")[0],
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


@cache
def digest_of(path: Path) -> str:
    """A file's name and a digest of it."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{path.relative_to(ROOT).as_posix()} {digest}"


def files_under(module: str) -> list[Path]:
    """The files that a report on an answer can come from: all but those of others."""
    others = {*modules()} - with_imported(module)
    package = ROOT / "src" / "vit_encoder"
    folders = (package, package / "data", CHECK, CHECK / "hearing", CHECK / "judging")
    found = {path for folder in folders for path in folder.iterdir()}
    found |= {BANK / f"{module}.py", BANK / "variants.py", ROOT / TESTS}
    found |= {*(CHECK / "judging" / "predictions").glob(f"{module}.json")}
    return sorted(
        path
        for path in found
        if path.is_file() and ".edited-" not in path.name
        if path.parent != CHECK or (path.suffix == ".py" and path.stem not in others)
    )


@cache
def with_imported(module: str) -> set[str]:
    """A module of checks, and those that it or its bank takes something from."""
    paths = (CHECK / f"{module}.py", BANK / f"{module}.py")
    text = "".join(path.read_text(encoding="utf-8") for path in paths)
    named = {name for found in IMPORTED.findall(text) for name in found}
    named = {name for some in named for name in re.findall(r"\w+", some)}
    return {module}.union(*map(with_imported, (named & {*modules()}) - {module}))


def recorded() -> dict[str, dict[str, str]]:
    """Module of checks → its stamp when its answers were asked; what is there of it."""
    try:
        return json.loads(ASKED.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def stale(only: str = "") -> list[str]:
    """The modules whose answers were not asked since something changed.

    only: how the names of their notebooks begin.
    """
    known = recorded()
    return [
        module
        for module, notebook in modules().items()
        if notebook.startswith(only)
        if known.get(module, {}).get("sources") != stamp(module)["sources"]
    ]


def is_due(exercise: str) -> bool:
    """Whether `make test` asks the answers on an exercise."""
    module = exercise.partition(".")[0]
    now = stamp(module)
    drawn = hashlib.sha256(f"{now['sources']} {exercise}".encode()).digest()[0]
    return recorded_once().get(module) != now or drawn % PART == 0


recorded_once = cache(recorded)


def ask(asked: list[str]) -> list[str]:
    """Ask all answers on these modules and note that it was done; or the faults."""
    now = {module: stamp(module) for module in asked}
    names = " or ".join(f"{module}." for module in asked)
    command = [sys.executable, "-m", "pytest", "--quiet", "--all-answers", TESTS]
    command += ["-k", names, "--numprocesses", "2", "--dist", "loadgroup"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return [
            f"{done.stdout}{done.stderr}\nSome answers do not get what they should."
        ]
    text = json.dumps(dict(sorted((recorded() | now).items())), indent=1)
    ASKED.write_text(f"{text}\n", encoding="utf-8", newline="\n")
    return []
