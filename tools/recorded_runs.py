"""The record of real runs of the notebooks, and the tables made from it."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "book" / "recorded_runs.json"


def read_runs(path: Path = RUNS) -> list[dict]:
    """All recorded runs, the newest first."""
    if not path.exists():
        return []
    runs = json.loads(path.read_text(encoding="utf-8"))
    return sorted(runs, key=lambda run: run["date"], reverse=True)


def add_run(run: dict, path: Path = RUNS) -> None:
    """Add a run; it takes the place of an older one of the same name."""
    kept = [other for other in read_runs(path) if other["name"] != run["name"]]
    text = json.dumps([run, *kept], indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def runs_table(runs: list[dict]) -> str:
    """The runs as Markdown: where, with what, and what each notebook took."""
    parts = []
    for run in runs:
        versions = ", ".join(f"{name} {v}" for name, v in run["versions"].items())
        parts += [
            f"**{run['name']}**, {run['date']}",
            "",
            f"{verdict(run)} {run['machine']}. {versions}.",
            "",
            "| Notebook | Result | CPU time | Peak memory | GPU memory |",
            "|---|---|---:|---:|---:|",
            *(notebook_row(notebook) for notebook in run["notebooks"]),
            "",
        ]
    if not any(run["device"] == "cuda" for run in runs):
        parts += ["No run on a GPU has been recorded yet."]
    return "\n".join(parts)


def verdict(run: dict) -> str:
    """How many of a run's notebooks passed, in a sentence."""
    passed = sum(notebook["passed"] for notebook in run["notebooks"])
    all_of_them = passed == len(run["notebooks"])
    share = "All" if all_of_them else f"{passed} of"
    return f"{share} {len(run['notebooks'])} notebooks passed."


def notebook_row(notebook: dict) -> str:
    """One row of a run's table."""
    gpu = notebook["cuda_megabytes"]
    return (
        f"| {notebook['name']} | {'passed' if notebook['passed'] else 'failed'} "
        f"| {notebook['cpu_seconds']:.0f} s | {notebook['peak_megabytes']:.0f} MB "
        f"| {f'{gpu:.0f} MB' if gpu else 'none'} |"
    )
