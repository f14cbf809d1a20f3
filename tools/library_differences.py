"""The measured differences between libraries, and the tables made from them."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "book" / "library_differences.json"


def read_differences(path: Path = FILE) -> dict:
    """What tools/compare_libraries.py measured."""
    return json.loads(path.read_text(encoding="utf-8"))
