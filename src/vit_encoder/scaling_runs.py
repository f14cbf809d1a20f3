"""Recorded times: data/scaling_runs.json, which `studies/scaling.py` wrote."""

import json
from pathlib import Path
from statistics import median

FILE = Path(__file__).parent / "data" / "scaling_runs.json"


def record() -> dict:
    """All that was measured, and on what."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def seconds(what: str, kind: str) -> float:
    """What one step, or one all-reduce, took: the median over the rounds.

    what: "small", "wide" or "all-reduce". kind: such as "ddp 32", or bytes.
    """
    return median(record()["seconds"][what][kind])


def ratio(what: str, kind: str, other: str) -> float:
    """How many times as long `kind` took as `other`: the median over the rounds."""
    rounds = record()["seconds"][what]
    pairs = zip(rounds[kind], rounds[other], strict=True)
    return median(a / b for a, b in pairs)
