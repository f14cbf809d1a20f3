"""The list of a class: who is in it, and whose files came.

It may be any CSV with a row for each student, such as what a platform exports: Moodle's
grading worksheet, the gradebook or the groups of Canvas, the gradebook of Blackboard or
Brightspace, the roster or the grades of Gradescope, the roster of GitHub Classroom.
Columns are known by their headings.
"""

import contextlib
import csv
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from vit_encoder.grade.origin import Author, Origin
from vit_encoder.grade.text import printable
from vit_encoder.grade.when import in_words

# Heading, in lower case, → what stands below it.
HEADINGS = {
    "participant": ("identifier", "id-nummer", "identifiant", "identificador"),
    "id": (
        *("id", "sid", "student id", "id number", "orgdefinedid", "matrikelnummer"),
        "canvas_user_id",
    ),
    "login": (
        *("username", "sis login id", "login", "github_username", "user name"),
        "login_id",
    ),
    "other": ("sis user id", "student_id", "identifier", "user_id"),
    "mail": ("email", "email address", "e-mail", "mail", "e-mail-adresse"),
    "name": ("name", "full name", "student", "student name", "vollständiger name"),
    "first": ("first name", "firstname", "given name", "vorname"),
    "last": ("last name", "lastname", "surname", "family name", "nachname"),
    "grade": ("grade", "bewertung", "note", "calificación"),
    # Of Canvas: groups_controller and its doc/api/group_category_csv.md.
    "group": ("group_name",),
    # Of Moodle: col_status and col_timesubmitted in mod/assign/gradingtable.php.
    "state": ("status",),
    "handed in": ("last modified (submission)",),
    "maximum": ("maximum grade",),
    # Of Gradescope, in the grades of an assignment.
    "lateness": ("lateness (h:m:s)",),
}
LATE = re.compile(r"\blate\b")  # Submitted for grading - 3 mins 31 secs late - …
PARTICIPANT = re.compile(r"\D+(\d+)")  # of Moodle: Participant 12345
NO_STUDENT = re.compile(r"\s*(points possible|student, test|manual posting)\b", re.I)


@dataclass(frozen=True)
class Person:
    """A student in the list.

    row: the place there, from 0. ids: by kind of heading. group: of those who hand in
    together. when, late: the last submission came then, and the platform calls it late.
    """

    row: int
    name: str
    mail: str
    ids: dict[str, str]
    group: str = ""
    when: str = ""
    late: bool = False

    def author(self, seen: Author) -> Author:
        """The student, with what a platform's path told."""
        id = seen.id or next(iter(self.ids.values()), "")
        return Author(self.name or seen.name, id, self.mail or seen.mail)


@dataclass(frozen=True)
class Roster:
    """A list of students. header, rows: as they stand in the file."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    columns: dict[str, int]

    @cached_property
    def people(self) -> tuple[Person, ...]:
        """The students, in order."""
        return tuple(self._people())

    def _people(self) -> Iterator[Person]:
        """The students; rows of a gradebook that hold none are left out."""
        for number, row in enumerate(self.rows):
            cell = {
                kind: printable(row[place].strip())
                for kind, place in self.columns.items()
            }
            joined = f"{cell.get('first', '')} {cell.get('last', '')}".strip()
            name = cell.get("name") or joined
            ids = {
                kind: cell[kind].removeprefix("#")
                for kind in ("participant", "id", "login", "other")
                if cell.get(kind)
            }
            if found := PARTICIPANT.fullmatch(ids.get("participant", "")):
                ids["participant"] = found[1]
            if (name or ids) and not NO_STUDENT.match(name):
                late = LATE.search(cell.get("state", "")) is not None
                late |= re.search(r"[1-9]", cell.get("lateness", "")) is not None
                when = in_words(cell.get("handed in", ""))
                group, mail = cell.get("group", ""), cell.get("mail", "")
                yield Person(number, name, mail, ids, group, when, late)

    @property
    def maximum(self) -> float | None:
        """The most points that Moodle's worksheet takes; None if it does not say so."""
        if {"participant", "maximum"} <= {*self.columns}:
            for row in self.rows:
                with contextlib.suppress(ValueError):
                    return float(row[self.columns["maximum"]].replace(",", "."))
        return None

    def find(self, author: Author, platform: str) -> Person | None:
        """The one student that an author is, None if there is none or more than one.

        Ids come before mails, and those before names, whose words may be turned round.
        """
        first = "participant" if platform == "moodle" else "id"
        others = () if platform == "moodle" else ("id", "login", "other")
        for kind in (first, *others, "mail", "name"):
            said = {"mail": author.mail, "name": author.name}.get(kind, author.id)
            if kind == "mail" and not said:
                continue
            found = self._by(kind).get(_folded(said)) if said else None
            if found:
                return found[0] if len(found) == 1 else None
            if said and kind == "participant" and kind in self.columns:
                return None  # somebody else, who may bear the same name
        return self._by_words(author) if platform == "brightspace" else None

    def _by(self, kind: str) -> dict[str, list[Person]]:
        """A value, folded, → who has it."""
        if kind not in self._indexes:
            index = defaultdict(list)
            for person in self.people:
                values = {person.ids.get(kind, "")}
                if kind == "mail":
                    values = {person.mail}
                elif kind == "name":  # Canvas writes "Lovelace, Ada" as lovelaceada
                    last, _, first = person.name.partition(", ")
                    values = {person.name, f"{last}{first}".replace(" ", "")}
                    values.add(f"{first} {last}")
                    words = person.name.split()
                    values.add("".join([*words[-1:], *words[:-1]]))
                for value in {_folded(value) for value in values if value}:
                    index[value].append(person)
            self._indexes[kind] = index
        return self._indexes[kind]

    @cached_property
    def _indexes(self) -> dict[str, dict[str, list[Person]]]:
        """Made once for each kind."""
        return {}

    def _by_words(self, author: Author) -> Person | None:
        """Brightspace may write a login or a number before a name or a part of it."""
        words = set(author.name.casefold().split()) | {author.id.casefold()}
        found = [
            person
            for person in self.people
            if words & {id.casefold() for id in person.ids.values()}
        ]
        return found[0] if len(found) == 1 else None

    def joined(self, origin: Origin) -> Origin:
        """The origin, with names, ids and mails of the authors that are in the list.

        Where a group handed in, all its members are authors.
        """
        authors: list[Author] = []
        for author in origin.authors:
            person = self.find(author, origin.platform)
            if person and origin.platform == "canvas" and is_group(author, person):
                others = [p for p in self.people if p.group == person.group]
                authors += [p.author(Author()) for p in others]
            else:
                authors.append(person.author(author) if person else author)
        return replace(origin, authors=tuple(authors))

    def timed(self, origin: Origin) -> Origin:
        """The origin, with what the list says of when the last submission came.

        So it is for what is handed over now, and not for what came before that.
        """
        if origin.platform not in ("moodle", "gradescope"):
            return origin
        people = [self.find(author, origin.platform) for author in origin.authors]
        whens = [person.when for person in people if person and person.when]
        late = origin.late or any(person.late for person in people if person)
        return replace(
            origin, attempt=origin.attempt or max(whens, default=""), late=late
        )


def is_group(author: Author, person: Person) -> bool:
    """A file bears the name of the group that one of its members stands for.

    That is how Canvas names it: representatives in its abstract_assignment.rb, and
    sanitize_user_name in its content_zipper.rb.
    """
    name = re.sub(r"_(\d+)_", r"\1", person.group).lower()
    name = re.sub(r"\W", "", unicodedata.normalize("NFC", name))
    return bool(name) and name == author.name


def read_roster(path: Path) -> Roster:
    """The list in a file. ValueError if it holds no column that tells students apart.

    UTF-8, UTF-16 or the code page of Western Windows; parted by commas, semicolons or
    tabs.
    """
    text = _decoded(path.read_bytes())
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    header = tuple(heading.strip() for heading in rows[0]) if rows else ()
    columns = _columns(header)
    if not {*columns} & {"participant", "id", "login", "other", "mail", "name", "last"}:
        expected = "such as Name, ID, Username or Email"
        got = ", ".join(header[:8]) or "nothing"
        raise ValueError(f"expected columns {expected} in {path}, got {got}")
    filled = tuple((*row, *[""] * (len(header) - len(row))) for row in rows[1:])
    return Roster(header, filled, columns)


def _columns(header: tuple[str, ...]) -> dict[str, int]:
    """Kind → the first column that has a heading of it."""
    folded = [heading.casefold() for heading in header]
    found = {}
    for kind, names in HEADINGS.items():
        place = next((folded.index(name) for name in names if name in folded), None)
        if place is not None and place not in found.values():
            found[kind] = place
    return found


def _decoded(data: bytes) -> str:
    """The text of a file that a platform or a spreadsheet wrote."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace").removeprefix("\ufeff")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _folded(text: str) -> str:
    """A name or id, so that case, accents and spaces do not matter."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return " ".join(re.sub(r"[,.]", " ", plain).split())
