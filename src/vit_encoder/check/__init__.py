"""Checks of the exercises: instant, in the learner's own kernel, advisory.

`check("self_attention.attention", attention)` gives a report that shows itself.
"""

import json
from dataclasses import replace
from functools import cache
from importlib import import_module, resources

from vit_encoder.check import keeping, kernel, progress
from vit_encoder.check.hearing.guard import plain_torch
from vit_encoder.check.hearing.students_tests import Bug, anonymous
from vit_encoder.check.judging.misconceptions import Misconception
from vit_encoder.check.predictions import Prediction, prediction
from vit_encoder.check.report import Report, Row, ScoreCard
from vit_encoder.check.tasks import CodeTask

__all__ = [
    *("Report", "bug", "catalogue", "check", "misconception", "score_card"),
    "trained",
]
CHANGED = "the task has changed since: run its check again"


def __getattr__(name: str) -> object:
    """Import `trained` when it is asked for: other notebooks need no such data."""
    if name == "trained":
        return import_module(f"{__name__}.hearing.trained").trained
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def check(id: str, answer: object, seed: int = 0, *, keep: bool = False) -> Report:
    """Check an answer; whatever it is, a Report comes back.

    id: an exercise, such as self_attention.attention. answer: what it asks for.
    seed: chooses the random inputs. keep: if the answer passes, write its source into
    `my_encoder.py`; `vit_encoder.my_parts` gives it back. Raises ValueError if there is
    no such exercise, or nothing to keep of it.

    The best report of a task is kept for the score card. In a notebook, a report is not
    kept if the cell that defines the answer has failed since: its first line says so.
    """
    if keep:
        keeping.part_of(id)
    report = judged(id, answer, seed)
    if report.warning:
        return report
    progress.remember(_entry(id)["notebook"], report)
    if not keep or not report.passed:
        return report
    said = keeping.keep(id, answer, lambda *part: judged(*part, seed).passed)
    return replace(report, kept=said)


def judged(id: str, answer: object, seed: int) -> Report:
    """The report of an answer; nothing is remembered of it."""
    entry, asked = _entry(id), task(id)
    with plain_torch():
        questions = asked.questions(seed)
        hearing = asked.listener(questions)(answer)
        verdict = asked.judge(questions, hearing, entry["points"])
    return Report(
        id,
        verdict.points,
        entry["points"],
        verdict.passed,
        verdict.misconceptions,
        verdict.message,
        verdict.answered,
        entry["title"],
        entry["version"],
        kernel.warning_of(entry["answer"], answer),
        again=entry["again"],
        read=entry["read"],
    )


def catalogue() -> list[dict]:
    """Every exercise, in order: id, title, kind, points, minutes, notebook.

    Also again, the section to read again; read, its address; answer, the name that its
    notebook gives the answer; version, which changes with what a student is given; and
    for a prediction what is known of it, such as the texts of its choices.
    """
    return [dict(entry) for entry in _catalogue()]


def score_card(notebook: str) -> ScoreCard:
    """The points of a notebook's best checks, in this kernel or before it.

    notebook: such as 02_self_attention. ValueError if there is no such notebook.
    """
    entries = [entry for entry in _catalogue() if entry["notebook"] == notebook]
    if not entries:
        known = ", ".join(sorted({entry["notebook"] for entry in _catalogue()}))
        raise ValueError(f"No exercises in {notebook!r}; expected one of {known}.")
    results = progress.known(notebook)
    return ScoreCard(notebook, tuple(_row(entry, results) for entry in entries))


def misconception(id: str, name: str) -> Misconception:
    """A known wrong version: .wrong, .seen, .ask, .source, .code() and .diff().

    id: the part, such as self_attention.attention. name: such as no-scale.
    ValueError if there is none.
    """
    module, _, part = id.partition(".")
    declared = _module(module).MISCONCEPTIONS.get(part, ())
    for found in declared:
        if found.name == name:
            return found
    known = ", ".join(m.name for m in declared) or "none"
    raise ValueError(f"No misconception {name!r} of {id!r}; known are: {known}.")


def bug(id: str) -> Bug:
    """The wrong version that an exercise of the kind "find the bug" is about."""
    found = getattr(task(id), "bug", None)
    if not found:
        raise ValueError(f"The exercise {id!r} has no bug to find.")
    return Bug(anonymous(found.wrong), found.code())


@cache
def _catalogue() -> list[dict]:
    """The list that `make sync` makes from the exercises' sources."""
    path = resources.files(__package__) / "catalogue.json"
    return json.loads(path.read_text(encoding="utf-8"))


def _entry(id: str) -> dict:
    """The catalogue's entry of an exercise."""
    for entry in _catalogue():
        if entry["id"] == id:
            return entry
    known = ", ".join(entry["id"] for entry in _catalogue())
    raise ValueError(f"No exercise {id!r}; expected one of {known}.")


@cache
def task(id: str) -> CodeTask | Prediction:
    """The task of an exercise: a prediction, or code, from its chapter's module."""
    entry = _entry(id)
    if "prediction" in entry:
        return prediction(entry)
    module, _, name = id.partition(".")
    return _module(module).TASKS[name]


def _module(name: str):
    """The checks of a chapter."""
    try:
        return import_module(f"{__package__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__package__}.{name}":
            raise
        raise ValueError(f"No checks of {name!r}.") from None


def _row(entry: dict, results: progress.Results) -> Row:
    """A task's line on the score card. What it earned in another version is void."""
    id, out_of = entry["id"], entry["points"]
    if report := results.get((id, entry["version"], out_of)):
        tried = report.answered and not report.passed
        again = entry["again"] if tried else ""
        return Row(id, entry["title"], report.points, out_of, report.state, again)
    before = any(old.id == id and old.answered for old in results.values())
    state = CHANGED if before else "not checked"
    return Row(id, entry["title"], 0, out_of, state, "")


kernel.watch()
