"""Where a file came from: who handed it in, by which platform, in which attempt."""

from dataclasses import dataclass, replace
from typing import NamedTuple


@dataclass(frozen=True)
class Author:
    """A student. id: as the platform counts or calls students. "" if not known."""

    name: str = ""
    id: str = ""
    mail: str = ""

    @property
    def key(self) -> str:
        """What tells students apart, as far as they are known."""
        return self.id or self.mail or self.name


class Upload(NamedTuple):
    """What a platform writes beside the files. when: as in `when`, "" if not known."""

    authors: tuple[Author, ...] = ()
    when: str = ""


@dataclass(frozen=True)
class Origin:
    """What the path of a file says, and what the platform wrote beside it.

    platform: such as moodle, or "" for files that were collected by hand. authors: more
    than one if a group handed in. attempt: later ones sort behind; "" if nothing tells.
    late: the platform says so. back: the name under which the platform takes a file
    back, or "".
    """

    platform: str = ""
    authors: tuple[Author, ...] = ()
    attempt: str = ""
    late: bool = False
    back: str = ""

    def against(self, due: str) -> "Origin":
        """The same, late if it came after `due`, where the platform dates it.

        Whatever an earlier run, with another `due`, has called late.
        """
        return replace(self, late=self.attempt > due if self.is_dated else self.late)

    @property
    def is_dated(self) -> bool:
        """The attempt is a moment, as in `when`, and no number."""
        return "-" in self.attempt

    @property
    def student(self) -> str:
        """The names of the authors, "" if none is known."""
        return "; ".join(author.name for author in self.authors if author.name)

    @property
    def names(self) -> set[str]:
        """All by which the authors may be called."""
        called = ({author.name, author.id, author.mail} for author in self.authors)
        return set().union(*called) - {""}

    @property
    def key(self) -> tuple[str, ...]:
        """The same for all files of the same students, () if nothing tells."""
        return tuple(sorted(author.key for author in self.authors if author.key))
