"""What counts for each student, of all files that were handed in."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vit_encoder.grade.origin import Author, Origin
from vit_encoder.grade.outcome import NOT_ANSWERED, Outcome, Status
from vit_encoder.grade.roster import Roster
from vit_encoder.grade.text import sentences, some

Policy = Literal["last", "best", "all"]


@dataclass(frozen=True)
class Row:
    """A file that was handed in, with its marks. earlier: not handed over this time."""

    origin: Origin
    outcome: Outcome
    earlier: bool = False


@dataclass(frozen=True)
class Standing:
    """A student. rows: what counts, one for each notebook. files: how many came.

    listed: in the list of the class, or there is no list.
    """

    author: Author
    platform: str = ""
    rows: tuple[Row, ...] = ()
    files: int = 0
    listed: bool = True

    @property
    def status(self) -> Status | Literal["missing"]:
        """The worst of what counts; missing if nothing came."""
        states = {row.outcome.status for row in self.rows}
        return next(
            (s for s in ("failed", "partly", "marked") if s in states), "missing"
        )

    @property
    def points(self) -> int | None:
        """The sum of what counts, None if nothing could be marked."""
        marked = [r.outcome.points for r in self.rows if r.outcome.status != "failed"]
        return sum(marked) if marked else None

    @property
    def out_of(self) -> int:
        """The points that can be earned in the notebooks that came."""
        return sum(row.outcome.out_of for row in self.rows)

    @property
    def late(self) -> bool:
        """The platform calls something late that counts."""
        return any(row.origin.late for row in self.rows)

    def points_of(self, notebook: str, *, final: bool = False) -> int | None:
        """The points of a notebook, None if it did not come or could not be marked.

        final: None also if some of its tasks could not be marked.
        """
        for row in self.rows:
            known = {"marked"} if final else {"marked", "partly"}
            if row.outcome.notebook == notebook and row.outcome.status in known:
                return row.outcome.points
        return None


def standings(
    rows: Sequence[Row], policy: Policy = "last", roster: Roster | None = None
) -> list[Standing]:
    """One for each student, in the order of their names, those who are missing last.

    policy: which attempt counts. With "all" each file has a standing of its own. Where
    nothing tells which attempt is the last, the better one counts. Files of nobody that
    is known have one each.
    """
    grouped: dict[tuple, list[Row]] = defaultdict(list)
    authors: dict[tuple, Author] = {}
    for row in rows:
        path = row.outcome.submission
        for author in row.origin.authors or (Author(),):
            key = (author.key, path if policy == "all" or not author.key else "")
            grouped[key].append(row)
            authors[key] = author
    found = [
        Standing(
            authors[key],
            group[0].origin.platform,
            tuple(counting(group, policy)),
            len(group),
            _is_listed(authors[key], group[0].origin.platform, roster),
        )
        for key, group in grouped.items()
    ]
    found.sort(key=lambda s: (not s.author.name, s.author.name.casefold()))
    return [*found, *missing(roster, found)] if roster else found


def notebooks_of(standings: Sequence[Standing]) -> list[str]:
    """The notebooks that count for anybody, in the course's order."""
    found = {row.outcome.notebook for s in standings for row in s.rows}
    return sorted(found - {""})


def _is_listed(author: Author, platform: str, roster: Roster | None) -> bool:
    """Whether a student is in the list of the class."""
    return roster is None or roster.find(author, platform) is not None


def missing(roster: Roster, found: Iterable[Standing]) -> list[Standing]:
    """Those in the list of the class of whom nothing came."""
    people = (roster.find(standing.author, standing.platform) for standing in found)
    came = {person.row for person in people if person}
    return [
        Standing(person.author(Author()))
        for person in roster.people
        if person.row not in came
    ]


def counting(rows: Sequence[Row], policy: Policy) -> list[Row]:
    """Which files of a student count: one for each notebook, in the course's order."""
    attempts: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        attempts[row.outcome.notebook].append(row)
    if len(attempts) > 1:
        attempts.pop("", None)  # a PDF beside notebooks
    order = _by_points if policy == "best" else _by_attempt
    return [max(attempts[notebook], key=order) for notebook in sorted(attempts)]


def _by_points(row: Row) -> tuple:
    """The better one is larger, and of equals the later."""
    return _worth(row.outcome), row.origin.attempt


def _by_attempt(row: Row) -> tuple:
    """The later one is larger, and of equals the better.

    What was not handed over this time is earlier than all that was.
    """
    return not row.earlier, row.origin.attempt, _worth(row.outcome)


def _worth(outcome: Outcome) -> int:
    """The points; what failed is worth less than 0."""
    return -1 if outcome.status == "failed" else outcome.points


def with_notes(rows: Sequence[Row]) -> list[Row]:
    """The rows, with a note on what came late or equals another student's file."""
    same: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.outcome.digest and not _untouched(row.outcome):
            same[row.outcome.digest].append(row)
    return [_noted(row, same[row.outcome.digest]) for row in rows]


def _untouched(outcome: Outcome) -> bool:
    """Nothing in it is answered, so that it equals all others that are."""
    return all(mark.state == NOT_ANSWERED for mark in outcome.marks)


def _noted(row: Row, same: Sequence[Row]) -> Row:
    """The row, with what there is to say of it."""
    others = [
        other.outcome.submission
        for other in same
        if other.origin.key != row.origin.key or not row.origin.key
        if other.outcome.submission != row.outcome.submission
    ]
    notes = [row.outcome.note, "Late" if row.origin.late else ""]
    notes += ["Kept from an earlier run"] if row.earlier else []
    notes += [f"Byte for byte the same as {some(others)}"] if others else []
    return replace(row, outcome=replace(row.outcome, note=sentences(notes)))
