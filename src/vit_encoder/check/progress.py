"""Progress in the exercises: kept in this kernel, and beside the notebook.

In a notebook the latest report of each exercise is written to
`02_self_attention.progress.json`, one file for each exercise notebook, in the folder
where the notebook runs. It is plain text and belongs to the learner.
"""

import contextlib
import json
import os
import sys
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path

from vit_encoder.check.report import Report

VERSION = 1
_reports: dict[str, dict[str, Report]] = {}  # notebook → id → report, of this kernel


def remember(notebook: str, report: Report) -> None:
    """Keep a report, in the kernel and in the notebook's file."""
    reports = known(notebook) | {report.id: report}
    _reports[notebook] = reports
    if runs_in_a_notebook():
        write(path_of(notebook), reports)


def known(notebook: str) -> dict[str, Report]:
    """Id → latest report, from this kernel or else from the file."""
    if notebook not in _reports:
        in_file = read(path_of(notebook)) if runs_in_a_notebook() else {}
        _reports[notebook] = in_file
    return _reports[notebook]


def forget() -> None:
    """Drop what this kernel knows; files stay."""
    _reports.clear()


def path_of(notebook: str) -> Path:
    """The file of an exercise notebook, in the current folder."""
    return Path(f"{notebook}.progress.json")


def runs_in_a_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


def read(path: Path) -> dict[str, Report]:
    """The reports in a file; none if there is no file.

    A file that cannot be read is kept under another name, with a warning.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["version"] != VERSION:
            raise ValueError(f"version {stored['version']}, expected {VERSION}")
        reports = [report_from(entry) for entry in stored["reports"]]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        with contextlib.suppress(OSError):
            path.replace(path.with_suffix(".json.unreadable"))
        warnings.warn(
            f"{path} could not be read ({error}); it is kept as {path}.unreadable, "
            "and progress starts anew.",
            stacklevel=2,
        )
        return {}
    return {report.id: report for report in reports}


def report_from(entry: dict) -> Report:
    """A report from what `asdict` made of it."""
    return Report(**entry | {"misconceptions": tuple(entry["misconceptions"])})


def write(path: Path, reports: dict[str, Report]) -> None:
    """Write the file whole or not at all; a folder that is read-only is no fault."""
    entries = [asdict(report) for report in reports.values()]
    text = json.dumps({"version": VERSION, "reports": entries}, indent=1)
    with contextlib.suppress(OSError):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
