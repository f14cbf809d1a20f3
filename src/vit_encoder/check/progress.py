"""Progress in the exercises: kept in this kernel, and beside the notebook.

In a notebook, results go to `02_self_attention.progress.jsonl`, one file for each
exercise notebook, in the folder where the notebook runs. It is plain text and belongs
to the learner. Each better result is a new line. No line is ever changed or removed, so
two kernels at once lose nothing, and a damaged line spoils no other.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from vit_encoder.check import kernel
from vit_encoder.check.report import Report

FIELDS = {
    "id": (str, "text"),
    "version": (str, "text"),
    "points": (int, "a whole number"),
    "out_of": (int, "a whole number"),
    "passed": (bool, "true or false"),
    "answered": (bool, "true or false"),
    "misconceptions": (list, "a list of texts"),
}
Key = tuple[str, str, int]  # a task's id, its version, the points that it gives
Results = dict[Key, Report]  # the best report of each

_kept: dict[str, Results] = {}  # notebook → results of this kernel
_said: set[str] = set()  # warnings of this kernel


def remember(notebook: str, report: Report) -> None:
    """Keep a report if it is the task's best, in the kernel and in the file."""
    here = _kept.setdefault(notebook, {})
    keep_best(here, [report])
    if runs_in_a_notebook():
        stored = read(path_of(notebook))
        append(path_of(notebook), news(here.values(), report, stored))


def news(reports: Iterable[Report], latest: Report, stored: Results) -> list[Report]:
    """Those that are better than what is stored; the latest, too, if only as good.

    So the file says of a task that is not passed yet what went wrong last.
    """
    found = []
    for report in reports:
        old = stored.get(key_of(report))
        as_good = report is latest and rank(report) == rank(old)
        if rank(report) > rank(old) or (as_good and record(report) != record(old)):
            found.append(report)
    return found


def known(notebook: str) -> Results:
    """The best results, from this kernel and from the file."""
    results = read(path_of(notebook)) if runs_in_a_notebook() else {}
    keep_best(results, _kept.get(notebook, {}).values())
    return results


def forget() -> None:
    """Drop what this kernel knows; files stay."""
    _kept.clear()
    _said.clear()


def path_of(notebook: str) -> Path:
    """The file of an exercise notebook, in the current folder."""
    return Path(f"{notebook}.progress.jsonl")


def runs_in_a_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    return kernel.shell() is not None


def keep_best(results: Results, reports: Iterable[Report]) -> None:
    """Put reports among the results; of two that are as good, the later stays."""
    for report in reports:
        if rank(report) >= rank(results.get(key_of(report))):
            results[key_of(report)] = report


def rank(report: Report | None) -> tuple[int, ...]:
    """The better report has the greater one; none at all has the least."""
    return (report.passed, report.points, report.answered) if report else ()


def key_of(report: Report) -> Key:
    """Which task, and which version of it."""
    return report.id, report.version, report.out_of


def read(path: Path) -> Results:
    """The best results in a file; none if there is no file.

    A line that holds no result is left as it is and does not count; a warning says so.
    There is none for a last line without an end: another kernel may be writing it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        return {}
    except OSError as error:
        say(f"{path} cannot be read ({error.strerror}): earlier progress is unknown.")
        return {}
    results, faults = {}, []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        try:
            keep_best(results, [report_from(line.strip())] if line.strip() else [])
        except (ValueError, RecursionError) as error:
            if line.endswith("\n"):
                faults.append(f"line {number}: {error}")
    if faults:
        say(
            f"{path} is damaged. Lines that do not count: {len(faults)}. "
            f"The first is {faults[0]}. The file is left as it is."
        )
    return results


def record(report: Report) -> dict:
    """What the file holds of a report."""
    return {name: getattr(report, name) for name in FIELDS}


def report_from(line: str) -> Report:
    """The report in a line of a file. ValueError says what is wrong with the line."""
    stored = json.loads(line)
    if not isinstance(stored, dict):
        raise ValueError(f"expected a result, got {line}")
    for name, (kind, words) in FIELDS.items():
        if type(stored.get(name)) is not kind:
            raise ValueError(f"{name}: expected {words}, got {stored.get(name)!r}")
    names = tuple(stored["misconceptions"])
    if any(type(name) is not str for name in names):
        raise ValueError(f"misconceptions: expected a list of texts, got {names!r}")
    points, out_of = stored["points"], stored["out_of"]
    if not 0 <= points <= out_of or (stored["passed"] and points < out_of):
        raise ValueError(f"{points} of {out_of} points cannot be")
    kept = {name: stored[name] for name in FIELDS}
    return Report(**kept | {"misconceptions": names, "message": ""})


def append(path: Path, reports: list[Report]) -> None:
    """Add lines to a file, in one write; a file that cannot be written is no fault.

    Each begins with the end of the line before, which may be a half one.
    """
    text = "".join(f"\n{json.dumps(record(report))}" for report in reports)
    try:
        if text:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        say(
            f"Progress cannot be written to {path.absolute()} ({error.strerror}). "
            "The score card is right until this kernel ends."
        )


def say(text: str) -> None:
    """Tell the learner, once in a kernel."""
    if text not in _said:
        _said.add(text)
        print(text, file=sys.stderr)
