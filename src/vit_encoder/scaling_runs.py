"""Recorded times: data/scaling_runs.json, which `studies/scaling.py` wrote."""

import json
from pathlib import Path

FILE = Path(__file__).parent / "data" / "scaling_runs.json"


def record() -> dict:
    """All that was measured, and on what."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def seconds(what: str, kind: str) -> float:
    """What one step, or one all-reduce, took in the fastest round.

    what: "small", "wide" or "all-reduce". kind: such as "ddp 32", or bytes. The fastest
    is taken since whatever else a machine does can only make a step slower.
    """
    return min(record()["seconds"][what][kind])
