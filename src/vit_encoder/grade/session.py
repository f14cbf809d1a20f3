"""A run of the command, from what was handed in to the table and the feedback."""

import contextlib
import functools
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from tqdm import tqdm

from vit_encoder.grade.feedback import write_feedback
from vit_encoder.grade.journal import Journal, JournalError
from vit_encoder.grade.outcome import Outcome
from vit_encoder.grade.sandbox import USUAL, Limits, SandboxError, require_isolation
from vit_encoder.grade.submissions import Entry, find_submissions, read_submission
from vit_encoder.grade.table import (
    lost_rows,
    note_repeats,
    summary,
    write_table,
)
from vit_encoder.grade.text import some
from vit_encoder.grade.workers import Settings, dask_workers, local_workers, mark_all

PACKAGE = Path(__file__).parents[1]


class Refused(Exception):  # noqa: N818, an outcome more than an error
    """What was asked for cannot be done; the text says why."""


REFUSALS = (Refused, OSError, JournalError, SandboxError)  # each says what is wrong


def grade(
    submissions: Path,
    output: Path,
    *,
    seed: int | None = None,
    workers: int = 1,
    dask: str | None = None,
    isolated: bool = True,
    limits: Limits = USUAL,
) -> list[Outcome]:
    """Mark a folder or a zip, and write the table and the feedback.

    seed: of the random inputs; fresh ones if None. dask: the address of a cluster,
    instead of workers. isolated: run the code of students in a sandbox. limits: of each
    submission. A run that was stopped goes on where it was. Raises one of REFUSALS,
    most often before anything is marked.
    """
    require_place(output, submissions)
    if isolated and not dask:  # a worker of a cluster says itself if it has none
        require_isolation()
    feedback = output.with_name(f"{output.stem}_feedback")
    journal_path = output.with_name(f"{output.name}.journal")
    try:
        found = find_submissions(submissions, without=(output, feedback, journal_path))
        lost = lost_rows(output, [entry.path for entry in found.entries])
    except ValueError as error:
        raise Refused(str(error)) from error
    if lost:
        raise Refused(
            f"{output} has marks of {some(lost)}, not handed in here, which would be "
            "lost. Give another output, or all submissions."
        )
    settings = Settings(seed_of(journal_path, seed), isolated, limits)
    header = asdict(settings) | {"depends_on": own_digest()}
    if dask:
        open_workers = functools.partial(dask_workers, settings, dask)
    else:
        open_workers = functools.partial(local_workers, settings, workers)
    with Journal(journal_path, header) as journal, bar(len(found.entries)) as progress:
        outcomes = {}
        with contextlib.closing(go_on(found.entries, journal, open_workers)) as made:
            for outcome in made:
                outcomes[outcome.submission] = outcome
                progress.update()
        in_order = note_repeats([outcomes[entry.path] for entry in found.entries])
        before = write_table(output, in_order)
        write_feedback(feedback, in_order)
        journal.finish()
    if found.skipped:
        print(f"Left out, as nobody handed them in: {found.skipped} files or folders.")
    if before:
        print(f"The table that was there is kept: {before}.")
    print(f"Written: {output} and {feedback}{os.sep}. Seed: {settings.seed}.")
    print(summary(in_order))
    return in_order


def require_place(output: Path, submissions: Path) -> None:
    """Raise Refused where no table should be written, before anything is marked.

    Not among the submissions: what lies there was handed in, and may want to be taken
    for a journal or be in the way of a mark.
    """
    if output.resolve().is_relative_to(submissions.resolve()):
        raise Refused(f"expected an output outside of {submissions}, got {output}")
    if output.suffix != ".csv":
        raise Refused(f"expected an output that ends in .csv, got {output.name!r}")
    if not output.parent.is_dir():
        raise Refused(f"expected an output in a folder, got {output.parent}")
    if output.is_dir():
        raise Refused(f"expected a file as output, but {output} is a folder")


def go_on(
    entries: tuple[Entry, ...], journal: Journal, open_workers: Callable
) -> Iterator[Outcome]:
    """The outcomes that the journal knows, then those that are made and added to it."""
    met = {path for path, _ in journal.known}
    waiting = []
    for entry in entries:
        digest = read_submission(entry).digest if entry.path in met else ""
        known = digest and journal.known.get((entry.path, digest))
        if known:
            yield replace(known, student=entry.student)
        else:
            waiting.append(entry)
    for outcome in mark_all(waiting, open_workers):
        journal.add(outcome)
        yield outcome


def seed_of(journal_path: Path, seed: int | None) -> int:
    """The seed that was asked for, else that of a run that was stopped, else a new one.

    A journal that cannot be read is left to Journal, which says so.
    """
    if seed is not None:
        return seed
    with (
        contextlib.suppress(OSError, ValueError, KeyError, TypeError),
        journal_path.open(encoding="utf-8") as file,
    ):
        return int(json.loads(file.readline())["seed"])
    return secrets.randbits(62)


def own_digest() -> str:
    """Changes with all that the marks depend on: the code of checks and of marking."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix in (".py", ".json"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def bar(total: int) -> tqdm:
    """A progress bar, in a terminal only."""
    return tqdm(total=total, unit=" submissions", file=sys.stderr, disable=None)
