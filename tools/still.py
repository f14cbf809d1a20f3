"""The figures that answer, as a page shows them before or without scripts."""

import base64
import hashlib
import json
import re
import subprocess
from pathlib import Path

from node import BIN

SCRIPT = Path(__file__).with_name("still.mjs")
PICTURE = re.compile(r"data:image/(jpeg|png);base64,(.+)")


def draw(states: dict[str, dict]) -> dict[str, str]:
    """The HTML of each figure as it starts, drawn by its own module. id → HTML.

    states: id → the state of an anywidget. RuntimeError if one cannot be drawn.
    """
    done = subprocess.run(
        [BIN / "node", SCRIPT], input=json.dumps(states), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"a figure could not be drawn: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def pictures_to_files(state: dict, folder: Path, prefix: str) -> None:
    """Put the pictures in a state into files, so that page and figure share them."""
    for key, value in state.items():
        found = PICTURE.fullmatch(value) if isinstance(value, str) else None
        if found:
            data = base64.b64decode(found[2])
            name = f"figure-{hashlib.sha256(data).hexdigest()[:8]}.{found[1]}"
            (folder / name).write_bytes(data)
            state[key] = prefix + name
