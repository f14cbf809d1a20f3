"""What pages include: tables of data files and of the course's parts, and a report.

Each is a file of book/generated, which `make sync` writes.
"""

from pathlib import Path

import course_plan
import library_differences
import specification
import speed
import wrong_answer
from address import ROOT
from marking_speed import read_speed, speed_table
from recorded_runs import read_runs, runs_table
from speed_plot import speed_plot

FOLDER = ROOT / "book" / "generated"


def all_tables() -> dict[Path, str]:
    """Path → text of every table; its first line says what it is made from."""
    texts = {
        "marking-speed": from_file("marking_speed", speed_table(read_speed())),
        "recorded-runs": from_file("recorded_runs", runs_table(read_runs())),
    }
    answered = wrong_answer.shown()
    texts["wrong-answer"] = said("tools/wrong_answer.py", answered)
    for name, table in specification.TABLES.items():
        texts[f"specification-{name}"] = said("the parts in src/vit_encoder", table())
    for name, table in course_plan.TABLES.items():
        texts[f"plan-{name}"] = said("chapters", table())
    measured = library_differences.read_differences()
    for name, table in library_differences.TABLES.items():
        # The class keeps the first column in sight on a phone.
        text = f"```{{container}} library-differences\n{table(measured)}\n```"
        texts[f"numbers-{name}"] = from_file("library_differences", text)
    timed = speed.read_speed()
    for name, table in (speed.TABLES | {"plot": speed_plot}).items():
        text = table(timed)
        if text.startswith("| "):
            text = f"```{{container}} library-differences\n{text}\n```"
        texts[f"speed-{name}"] = from_file("speed", text)
    on_a_gpu = speed.cuda_table(speed.read_speed("cuda"))
    texts["speed-cuda"] = said("studies/benchmark_speed.py", on_a_gpu)
    return {FOLDER / f"{name}.md": text for name, text in texts.items()}


def from_file(data: str, table: str) -> str:
    """The table, made from a data file of that name."""
    return said(f"book/{data}.json", table)


def said(source: str, table: str) -> str:
    """The table below a line that says what it is made from."""
    return f"% Generated from {source} by `make sync`. Do not edit.\n\n{table}\n"
