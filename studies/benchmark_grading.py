"""How fast submissions are marked: in a warm process, and in a cold one for each.

Each submission is a solved exercise notebook with lines that no other one has, so that
nothing can be known from before. The processes and their sandboxes are started, and
each exercise is prepared, before the clock runs. Warm and cold take turns, so that what
else the machine does hits both.
"""

import argparse
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from run_notebooks import processor
from vit_encoder.grade.mark import Marker
from vit_encoder.grade.outcome import Outcome
from vit_encoder.grade.sandbox import Sandbox
from vit_encoder.grade.submissions import Entry, find_submissions, read_submission
from vit_encoder.grade.workers import Settings, flow, local_workers

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "book" / "marking_speed.json"
CORES = 2
SETTINGS = Settings(seed=2026)


@dataclass
class Times:
    """Seconds for each submission of a notebook, one entry a round."""

    warm: list[float]
    cold: list[float]

    @property
    def ratio(self) -> float:
        """How many times longer a cold process takes, in the middle of the rounds."""
        pairs = zip(self.cold, self.warm, strict=True)
        return statistics.median(cold / warm for cold, warm in pairs)


def main() -> None:
    """Measure, print, and record if asked to."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "--copies", type=int, default=24, help="of a notebook, a round"
    )
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    given = options.parse_args()
    load = os.getloadavg()[0]
    times = measure(given.copies, given.rounds)
    found = result(times, given.copies, load)
    print(table(found))
    if given.record:
        text = json.dumps(found, indent=2, ensure_ascii=False)
        RECORD.write_text(f"{text}\n", encoding="utf-8")
        print(f"wrote {RECORD.relative_to(ROOT)}")


def measure(copies: int, rounds: int) -> dict[str, Times]:
    """Notebook → its times."""
    solved = sorted((ROOT / "solutions").glob("*.ipynb"))
    times = {path.stem: Times([], []) for path in solved}
    with (
        tempfile.TemporaryDirectory() as name,
        local_workers(SETTINGS, CORES) as local,
        cold_processes() as pool,
    ):
        folder = Path(name)
        mark_all_cold(pool, handed_in(folder, solved[:1], CORES))
        for _ in range(2):
            mark(local, handed_in(folder, solved, 2 * CORES))
        for number in range(rounds):
            for path in solved:
                warm = handed_in(folder, [path], copies)
                times[path.stem].warm.append(seconds(mark, local, warm) / copies)
                cold = handed_in(folder, [path], CORES)
                took = seconds(mark_all_cold, pool, cold)
                times[path.stem].cold.append(took / CORES)
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return times


def handed_in(folder: Path, solved: list[Path], copies: int) -> list[Entry]:
    """Copies of notebooks in a new folder, no two of them alike."""
    folder = Path(tempfile.mkdtemp(dir=folder))
    for path in solved:
        for number in range(copies):
            notebook = json.loads(path.read_text(encoding="utf-8"))
            for cell in notebook["cells"]:
                if cell["cell_type"] == "code":
                    source = "".join(cell["source"])
                    cell["source"] = f"{source}\n# {folder.name} {number}"
                    cell["outputs"] = []
            copy = folder / f"student{number}" / path.name
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(json.dumps(notebook), encoding="utf-8")
    return list(find_submissions(folder).entries)


def mark(local: tuple, entries: list[Entry]) -> None:
    """Mark with the processes of the command."""
    submit, ahead = local
    check(list(flow(submit, ahead, deque(entries), [], Counter())), entries)


def check(outcomes: list[Outcome], entries: list[Entry]) -> None:
    """What was timed is the marking of right answers."""
    right = [o for o in outcomes if o.status == "marked" and o.points == o.out_of]
    assert len(right) == len(entries), [o for o in outcomes if o not in right][:1]


def seconds(work: Callable, *arguments) -> float:
    """How long it takes by the clock."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


# Cold


# Of this process: its exercises are prepared.
KNOWN = Marker(SETTINGS.seed, sandbox=None)


def cold_processes() -> ProcessPoolExecutor:
    """Processes that start a sandbox anew for each submission."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(CORES, context, initializer=get_ready)


def get_ready() -> None:
    """Prepare every exercise, as a warm process has."""
    torch.set_num_threads(1)
    with Sandbox() as KNOWN.sandbox:
        for entry in find_submissions(ROOT / "solutions").entries:
            KNOWN.mark(read_submission(entry))


def mark_cold(entry: Entry) -> Outcome:
    """Mark in a sandbox that is started for this submission."""
    with Sandbox() as KNOWN.sandbox:
        return KNOWN.mark(read_submission(entry))


def mark_all_cold(pool: ProcessPoolExecutor, entries: list[Entry]) -> None:
    """Mark each in a process that is started for it."""
    check(list(pool.map(mark_cold, entries)), entries)


# The result


def result(times: dict[str, Times], copies: int, load: float) -> dict:
    """All that a page needs to say what was measured, and where."""
    notebooks = [row(name, found) for name, found in times.items()]
    rounds = range(len(next(iter(times.values())).warm))
    every = Times(  # a submission of the course: the mean over its notebooks
        [statistics.mean(found.warm[i] for found in times.values()) for i in rounds],
        [statistics.mean(found.cold[i] for found in times.values()) for i in rounds],
    )
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.system()} on {processor()}",
        "cores": CORES,
        "load_before": round(load, 1),
        "copies": copies,
        "rounds": len(rounds),
        "versions": {"Python": platform.python_version()}
        | {"torch": importlib.metadata.version("torch")},
        "notebooks": notebooks,
        "all": row("all", every),
    }


def row(name: str, times: Times) -> dict:
    """The middle of the rounds."""
    return {
        "name": name,
        "warm_per_second": round(1 / statistics.median(times.warm), 1),
        "cold_per_second": round(1 / statistics.median(times.cold), 2),
        "ratio": round(times.ratio, 1),
    }


def table(found: dict) -> str:
    """The result as lines of text."""
    lines = [f"{'notebook':30} {'warm':>8} {'cold':>8} {'ratio':>6}   (per second)"]
    for line in (*found["notebooks"], found["all"]):
        lines.append(
            f"{line['name']:30} {line['warm_per_second']:8} "
            f"{line['cold_per_second']:8} {line['ratio']:6}"
        )
    return "\n".join([*lines, f"load before: {found['load_before']}"])


if __name__ == "__main__":
    main()
