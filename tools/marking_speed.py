"""The measured speed of marking, and the table made from it."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "book" / "marking_speed.json"


def read_speed(path: Path = FILE) -> dict:
    """What studies/benchmark_grading.py recorded."""
    return json.loads(path.read_text(encoding="utf-8"))


def speed_table(measured: dict) -> str:
    """Submissions a second for each notebook, as Markdown, and what they ran on."""
    versions = ", ".join(f"{name} {v}" for name, v in measured["versions"].items())
    return "\n".join(
        [
            "| Notebook | Warm, a second | Cold, a second | Ratio |",
            "|---|---:|---:|---:|",
            *map(speed_row, measured["notebooks"]),
            speed_row(measured["all"] | {"name": "one of each"}),
            "",
            f"{measured['date']}, {measured['machine']}, {measured['cores']} cores, "
            f"{versions}. In each of {measured['rounds']} rounds {measured['copies']} "
            f"warm and {measured['cores']} cold submissions of each notebook; the "
            f"middle one of the rounds. Load before: {measured['load_before']}.",
        ]
    )


def speed_row(row: dict) -> str:
    """One row of the table."""
    return (
        f"| {row['name']} | {row['warm_per_second']} | {row['cold_per_second']} "
        f"| {row['ratio']:.0f} |"
    )
