"""What marking says of a submission, as plain data."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["marked", "partly", "failed"]
PASSED, NOT_ANSWERED = "passed", "not answered yet"  # states, as on a score card


@dataclass(frozen=True)
class Cell:
    """A code cell of a submitted notebook.

    task: the id of the exercise that it answers, or "". version: of that exercise, as
    the notebook was handed out, or "".
    """

    source: str
    task: str = ""
    version: str = ""


@dataclass(frozen=True)
class Submission:
    """A file that was handed in, and what could be read of it.

    path: inside the folder or zip, with /. student: "" if not known.
    digest: of its bytes. notebook: the exercise notebook that it fills in, such as
    02_self_attention, or "". cells: its code cells, in order.
    problem: why it cannot be marked, or "". notes: what was odd and did no harm.
    """

    path: str
    student: str = ""
    digest: str = ""
    notebook: str = ""
    cells: tuple[Cell, ...] = ()
    problem: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mark:
    """The points of one task. points is None where it could not be marked.

    out_of: 0 for an optional task, which adds nothing to a total.
    state: in a few words. misconceptions: short names of what was recognized.
    message: for the student.
    """

    id: str
    points: int | None
    out_of: int
    state: str
    misconceptions: tuple[str, ...] = ()
    message: str = ""

    @property
    def passed(self) -> bool:
        """All is right; an optional task gives no points that would tell."""
        return self.state == PASSED


@dataclass(frozen=True)
class Outcome:
    """The marks of one submission.

    status: marked (every task of its notebook, and it has no other), partly (some could
    not be marked), or failed (none could). note: what was recognized or went wrong.
    """

    submission: str
    student: str
    digest: str
    notebook: str
    status: Status
    marks: tuple[Mark, ...]
    note: str

    @property
    def points(self) -> int:
        """The sum of the marks."""
        return sum(mark.points or 0 for mark in self.marks)

    @property
    def out_of(self) -> int:
        """The points that can be earned."""
        return sum(mark.out_of for mark in self.marks)
