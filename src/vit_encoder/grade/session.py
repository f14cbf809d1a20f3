"""A run of the command, from what was handed in to the table and the feedback."""

import contextlib
import functools
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tqdm import tqdm

from vit_encoder.atomic import write_atomically
from vit_encoder.grade.anonymous import write_anonymous
from vit_encoder.grade.back import write_back
from vit_encoder.grade.class_report import class_page
from vit_encoder.grade.exports import labels
from vit_encoder.grade.feedback import write_feedback
from vit_encoder.grade.gradescope import combined
from vit_encoder.grade.journal import Journal, JournalError
from vit_encoder.grade.origin import Origin
from vit_encoder.grade.outcome import Outcome
from vit_encoder.grade.overrides import (
    Override,
    read_overrides,
    require_known,
    with_overrides,
)
from vit_encoder.grade.packages import NotInstalled, modules_of
from vit_encoder.grade.record import Kept, made_by, read_record, write_record
from vit_encoder.grade.roster import Roster, read_roster
from vit_encoder.grade.sandbox import USUAL, Limits, SandboxError, require_isolation
from vit_encoder.grade.standings import Policy, Row, Standing, standings, with_notes
from vit_encoder.grade.submissions import (
    Entry,
    Found,
    find_submissions,
    read_submission,
)
from vit_encoder.grade.table import (
    lost_rows,
    note_repeats,
    summary,
    write_students,
    write_table,
)
from vit_encoder.grade.text import some
from vit_encoder.grade.workers import Settings, dask_workers, local_workers, mark_all

PACKAGE = Path(__file__).parents[1]


class Refused(Exception):  # noqa: N818, an outcome more than an error
    """What was asked for cannot be done; the text says why."""


# Each says what is wrong.
REFUSALS = (Refused, NotInstalled, OSError, JournalError, SandboxError)


@dataclass(frozen=True)
class Wishes:
    """What an instructor may ask for.

    assignments: exercise notebooks such as 02_self_attention; others are not marked.
    roster: the list of the class. attempt: which one counts for a student. only: names,
    ids or paths; what else is there is left as it was. again: mark also what has not
    changed. due: after that moment, in the form of an attempt, something is late.
    anonymous: write a copy without names, too. results: where one results.json is
    written, for Gradescope. packages: that notebooks may use, by name.
    """

    assignments: tuple[str, ...] = ()
    roster: Path | None = None
    attempt: Policy = "last"
    only: tuple[str, ...] = ()
    again: bool = False
    due: str = ""
    anonymous: bool = False
    results: Path | None = None
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Places:
    """Where things are written: beside the table, with the same beginning."""

    table: Path

    def beside(self, ending: str) -> Path:
        """The path of something else."""
        return self.table.with_name(f"{self.table.stem}_{ending}")

    @property
    def journal(self) -> Path:
        """Of a run that was stopped."""
        return self.table.with_name(f"{self.table.name}.journal")


def grade(
    submissions: Path,
    output: Path,
    *,
    seed: int | None = None,
    workers: int = 1,
    dask: str | None = None,
    isolated: bool = True,
    limits: Limits = USUAL,
    wishes: Wishes = Wishes(),
) -> list[Outcome]:
    """Mark a folder or a zip, and write the tables, the feedback and what goes back.

    seed: of the random inputs; fresh ones if None. dask: the address of a cluster,
    instead of workers. isolated: run the code of students in a sandbox. limits: of each
    submission. A run that was stopped goes on where it was, and what an earlier run has
    marked is marked again only if it has changed. The outcomes are those of all rows of
    the table. Raises one of REFUSALS, most often before anything is marked.
    """
    require_place(output, submissions)
    if not dask:  # a worker of a cluster says itself what it has not
        modules_of(wishes.packages)
        if isolated:
            require_isolation()
    places = Places(output)
    try:
        plan = planned(submissions, places, wishes)
    except ValueError as error:
        raise Refused(str(error)) from error
    seed_of_run = seed_of(places.journal, seed)
    settings = Settings(seed_of_run, isolated, limits, wishes.packages)
    header = asdict(settings) | {"depends_on": own_digest()}
    header["assignments"] = wishes.assignments
    del header["packages"]  # what lacks one is marked again anyway
    digest = made_by({**header, "seed": 0})
    fresh = {e.path for e in plan.entries if not plan.is_kept(e, digest, seed, wishes)}
    if dask:
        open_workers = functools.partial(dask_workers, settings, dask)
    else:
        open_workers = functools.partial(local_workers, settings, workers)
    with Journal(places.journal, header) as journal, bar(len(fresh)) as progress:
        kept = {path: one for path, one in plan.record.items() if path not in fresh}
        asked = {entry.path for entry in plan.entries}
        # What the journal knows stays, also where `only` is narrower than before.
        for (path, _), outcome in journal.known.items():
            if path in plan.origins and path not in asked:
                kept[path] = Kept(digest, settings.seed, plan.origins[path], outcome)
        waiting = tuple(entry for entry in plan.entries if entry.path in fresh)
        with contextlib.closing(go_on(waiting, journal, open_workers)) as made:
            for outcome in made:
                origin = plan.origins[outcome.submission]
                kept[outcome.submission] = Kept(digest, settings.seed, origin, outcome)
                progress.update()
        try:
            written = write_all(places, kept, plan, wishes)
        except ValueError as error:  # points set by hand; the journal keeps the rest
            raise Refused(str(error)) from error
        write_record(places.beside("record.jsonl"), kept.values())
        journal.finish()
    if wishes.due:
        tell_undated(written.rows)
    tell(places, plan, written, settings.seed, taken_over=len(kept) - len(fresh))
    return [row.outcome for row in written.rows]


@dataclass(frozen=True)
class Plan:
    """What is to be done. entries: to be marked, if they are not known already.

    origins: path → who handed it in, with names from the roster. record: what earlier
    runs have marked. others: how many `only` leaves out.
    """

    found: Found
    entries: tuple[Entry, ...]
    origins: dict[str, Origin]
    record: dict[str, Kept]
    roster: Roster | None
    overrides: list[Override]
    others: int

    def is_kept(
        self, entry: Entry, digest: str, seed: int | None, wishes: Wishes
    ) -> bool:
        """Whether an earlier run has marked the same file in the same way."""
        known = self.record.get(entry.path)
        return (
            known is not None
            and not wishes.again
            and known.made_by == digest
            and known.outcome.status == "marked"
            and seed in (None, known.seed)
            and known.outcome.digest == read_submission(entry).digest
        )


def planned(submissions: Path, places: Places, wishes: Wishes) -> Plan:
    """What is known before anything is marked. ValueError if it cannot be done."""
    own = (places.table, places.beside("feedback"), places.journal)
    found = find_submissions(submissions, without=own)
    roster = read_roster(wishes.roster) if wishes.roster else None
    overrides = read_overrides(places.beside("overrides.csv"))
    record = read_record(places.beside("record.jsonl"))
    handed_in = [entry.path for entry in found.entries]
    if lost := lost_rows(places.table, [*handed_in, *record]):
        raise ValueError(
            f"{places.table} has marks of {some(lost)}, not handed in here, which "
            "would be lost. Give another output, or all submissions."
        )
    origins = {path: one.origin for path, one in record.items()}
    new = {entry.path: entry.origin for entry in found.entries}
    origins |= {p: roster.timed(o) for p, o in new.items()} if roster else new
    if wishes.due:
        origins = {path: o.against(wishes.due) for path, o in origins.items()}
    if roster:
        origins = {path: roster.joined(origin) for path, origin in origins.items()}
    named = students(origins)
    entries = tuple(
        replace(
            entry,
            student=named[entry.path],
            origin=origins[entry.path],
            asked=wishes.assignments,
        )
        for entry in found.entries
    )
    wanted = tuple(entry for entry in entries if is_wanted(entry, wishes.only))
    for name in wishes.only:
        if not any(is_wanted(entry, (name,)) for entry in entries):
            raise ValueError(f"expected a student or a file for --only, got {name!r}")
    names = {*named, *named.values()}
    names |= {name for origin in origins.values() for name in origin.names}
    authors = [author for origin in origins.values() for author in origin.authors]
    require_known(overrides, names, authors)
    left_out = len(entries) - len(wanted)
    return Plan(found, wanted, origins, record, roster, overrides, left_out)


def students(origins: dict[str, Origin]) -> dict[str, str]:
    """Path → what its student is called, "" where nothing tells."""
    return dict(zip(origins, labels([*origins.values()]), strict=True))


def is_wanted(entry: Entry, only: tuple[str, ...]) -> bool:
    """Whether a file is of one of the students that were named, or is named itself."""
    names = {entry.path, entry.student, *entry.origin.names}
    return not only or bool({*only} & (names - {""}))


@dataclass(frozen=True)
class Written:
    """What was written. earlier: tables that were there before, at their new places."""

    rows: list[Row]
    standings: list[Standing]
    back: list[Path]
    earlier: list[Path]


def write_all(
    places: Places, kept: dict[str, Kept], plan: Plan, wishes: Wishes
) -> Written:
    """Write what comes of the marks: tables, feedback, report, and what goes back."""
    named = students(plan.origins)
    handed_in = {entry.path for entry in plan.found.entries}
    rows = [
        Row(
            plan.origins[path],
            replace(kept[path].outcome, student=named[path]),
            earlier=path not in handed_in,
        )
        for path in sorted(kept)
    ]
    rows = with_overrides(with_notes(rows), plan.overrides)
    found = standings(rows, wishes.attempt, plan.roster)
    outcomes = note_repeats([row.outcome for row in rows])
    rows = [replace(r, outcome=o) for r, o in zip(rows, outcomes, strict=True)]
    earlier = [
        write_table(places.table, outcomes),
        write_students(places.beside("students.csv"), found),
    ]
    write_feedback(places.beside("feedback"), outcomes)
    once = found  # a student is counted once, and a platform takes one grade
    if wishes.attempt == "all":
        once = standings(rows, "last", plan.roster)
    report = places.beside("class.html")
    write_atomically(report, class_page(once), lasting=False)
    stem = places.table.with_suffix("")
    back, replaced = write_back(stem, once, plan.roster)
    if wishes.anonymous:
        key = places.beside("names.csv")
        write_anonymous(places.beside("anonymous"), key, rows)
    if wishes.results:
        counted = [row.outcome for standing in found for row in standing.rows]
        write_atomically(wishes.results, json.dumps(combined(counted), indent=1))
    return Written(rows, found, back, [path for path in earlier if path] + replaced)


def tell(
    places: Places, plan: Plan, written: Written, seed: int, taken_over: int
) -> None:
    """Print what was done, and what needs a look."""
    found = plan.found
    if found.skipped:
        print(f"Left out, as not handed in: {counted(found.skipped, 'file')}.")
    if found.beside:
        print(f"Left out, beside notebooks: {counted(found.beside, 'other file')}.")
    if plan.others:
        print(f"Left as they were, as --only names others: {plan.others}.")
    if taken_over > 0:
        print(f"Taken over from earlier runs, unchanged: {taken_over}.")
    for path in written.earlier:
        print(f"The table that was there is kept: {path}.")
    if plan.roster:
        missing = [
            s.author.name or s.author.key for s in written.standings if not s.rows
        ]
        unknown = [
            s.author.name or s.rows[0].outcome.submission
            for s in written.standings
            if s.rows and not s.listed
        ]
        for what, names in {
            "Nothing came from": missing,
            "Not in the list": unknown,
        }.items():
            if names:
                print(f"{what}: {some(names)}.")
    if written.back:
        print(f"For the platform: {', '.join(map(str, written.back))}.")
        unfinished = [
            s.author.name or s.author.key
            for s in written.standings
            if s.platform and s.status in ("partly", "failed")
        ]
        if unfinished:
            print(f"Not marked in full, and not for the platform: {some(unfinished)}.")
    if plan.roster and (most := plan.roster.maximum) is not None:
        above = [s.author.name for s in written.standings if (s.points or 0) > most]
        if above:
            print(
                f"Moodle takes at most {most:g} points and skips what is more, without "
                f"a word: {some(above)}. Raise the maximum grade of the assignment."
            )
    feedback = places.beside("feedback")
    print(f"Written: {places.table} and {feedback}{os.sep}. Seed: {seed}.")
    print(summary([row.outcome for row in written.rows]))


def tell_undated(rows: list[Row]) -> None:
    """Print which files nobody can call late or in time."""
    undated = [
        row.outcome.submission
        for row in rows
        if row.outcome.digest and not row.origin.is_dated
        if row.origin.platform != "canvas"  # which says it in the name
    ]
    if undated:
        print(f"When it came is not known, so --due says nothing of: {some(undated)}.")


def counted(number: int, what: str) -> str:
    """A number of things, such as 1 file or 2 files."""
    return f"{number} {what}{'' if number == 1 else 's'}"


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
        raise Refused(f"{output.parent}, the folder of the output, is not there")
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
