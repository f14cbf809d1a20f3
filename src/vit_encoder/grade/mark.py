"""Mark a submission: what it says comes from the sandbox, points are made here."""

import functools
import re
import sys
import traceback
from base64 import b64encode
from collections.abc import Set
from dataclasses import dataclass, field, replace

from vit_encoder import check
from vit_encoder.check import catalogue
from vit_encoder.check.hearing.guard import plain_torch
from vit_encoder.check.judging.verdicts import Verdict
from vit_encoder.check.predictions import Prediction
from vit_encoder.check.report import Report
from vit_encoder.check.tasks import BreakIt, CodeTask, Implement
from vit_encoder.grade.by_value import by_value
from vit_encoder.grade.magics import plain_source
from vit_encoder.grade.outcome import (
    NOT_ANSWERED,
    Mark,
    Outcome,
    Status,
    Submission,
)
from vit_encoder.grade.sandbox import Ended, Hindered, Sandbox
from vit_encoder.grade.shell import is_here  # the Python of the sandbox is this one
from vit_encoder.grade.text import printable, sentences, shorten, some
from vit_encoder.grade.wire import WireError, decode_hearing, packed

MOST_KEPT = 50  # results of an oracle, for each exercise
LONGEST = 4000  # characters of a message that a student gets
ODDITIES = 5  # as many are named in a note
OUT_OF_DATE = "Handed out in an older version, and marked by today's"
NOT_HEARD = "no answer was heard"
NEEDS = "its cell needs a package that is not here"
MACHINE = "the machine was short of something"
NOT_JUDGED = "what it answered could not be judged"
# What Python and torch say where the machine, or the sandbox, has no more to give. The
# answer may be right, so it is no zero.
FAULTS_OF_THE_MACHINE = re.compile(
    r"can't start new thread|Resource temporarily unavailable|Cannot allocate memory"
    r"|can't allocate memory|Read-only file system|No space left on device"
    r"|Too many open files|unable to (?:open|mmap|allocate|write)|MemoryError"
)
LASTING = {"Read-only file system"}  # so in every sandbox
NO_MODULE = re.compile(r"No module named '(\w{1,60})\b")
HOW_TO_HAND_IN = (
    "A training, or a loop around `check`, is better taken out before it is handed in"
)


@dataclass(frozen=True)
class Prepared:
    """An exercise, made ready for a run.

    questions: with the run's random inputs. listener: pickled, for the sandbox alone;
    with the points, as it is sent.
    """

    entry: dict
    task: CodeTask | Prediction
    questions: list
    listener: bytes


class Marker:
    """Marks submissions, all with the same random inputs, in one sandbox.

    seed: chooses the random inputs. sandbox: started, and ended by whoever made it.
    """

    def __init__(self, seed: int, sandbox: Sandbox):
        self.seed = seed
        self.sandbox = sandbox
        self.entries = {entry["id"]: entry for entry in catalogue()}
        self.prepared: dict[str, Prepared] = {}
        self.bugs: dict[str, str] = {}  # pickled, for the sandbox
        self.hindered = False  # the last submission, by what else the machine does
        self.said: set[str] = set()  # faults of the judge that the instructor was shown

    def mark(self, submission: Submission) -> Outcome:
        """The marks of a submission; whatever it does, an Outcome comes back."""
        self.hindered = False
        if submission.problem:
            return self.outcome(submission, {}, [submission.problem])
        visit = self.visits(submission)
        if visit.faults - LASTING:  # by the one before? Once more in a fresh sandbox
            self.sandbox.stop()
            visit = self.visits(submission)
        if visit.faults:
            visit.marks = {id: without_fault(m) for id, m in visit.marks.items()}
        notes = [*submission.notes, *visit.ended, *visit.oddities()]
        if any("seconds" in note for note in notes):
            notes.append(HOW_TO_HAND_IN)
        return self.outcome(submission, visit.marks, notes)

    def visits(self, submission: Submission) -> "Visit":
        """What a submission says; where it ended early, what its tests would have said.

        They wait for the end, so the cells before that run once more, without a test
        that has ended it itself.
        """
        visit = self.visit(submission)
        if visit.ended and visit.tests - visit.lent:
            cells = submission.cells[: None if visit.lent else visit.cell - 1]
            again = self.visit(replace(submission, cells=cells), without=visit.lent)
            heard = {i: m for i, m in again.marks.items() if i in visit.tests}
            visit.marks = heard | visit.marks
            visit.faults |= again.faults
        return visit

    def visit(self, submission: Submission, without: Set[str] = frozenset()) -> "Visit":
        """What a submission says in the sandbox, from its first cell to its last.

        without: tests that are lent nothing.
        """
        visit = Visit(self, submission, without)
        try:
            self.sandbox.run(visit.cells(), visit.answer)
            if visit.cell != len(submission.cells):
                raise Ended("It said that it was done, and was not.")
        except Ended as ended:
            visit.ended = [str(ended), f"That was in {visit.place}."]
            self.hindered = isinstance(ended, Hindered)
        return visit

    def outcome(
        self, submission: Submission, marks: dict[str, Mark], notes: list[str]
    ) -> Outcome:
        """The marks of all tasks of the notebook; a task without one has no points.

        Optional tasks are marked too; whether all is marked does not hang on them.
        """
        own = [e for e in catalogue() if e["notebook"] == submission.notebook]
        row = tuple(marks.get(e["id"], unmarked(e)) for e in own)
        strange = {cell.task for cell in submission.cells} - {
            "",
            *(e["id"] for e in own),
        }
        old = self.old_tasks(submission)
        asked = tuple(mark for mark in row if mark.out_of)
        lost = [m.id for m in asked if m.id in old and not m.passed]
        if lost:
            notes = [*notes, f"{OUT_OF_DATE}: {some(lost)}."]
        if not submission.problem:  # which says why nothing was heard
            notes = [*notes, *reasons(asked), *still_open(asked)]
        recognized = dict.fromkeys(n for mark in row for n in mark.misconceptions)
        if recognized:
            notes = [*notes, f"Recognized: {', '.join(recognized)}"]
        return Outcome(
            submission.path,
            submission.student,
            submission.digest,
            submission.notebook,
            status_of(asked, complete=not strange and not lost),
            row,
            sentences(notes),
        )

    def old_tasks(self, submission: Submission) -> set[str]:
        """Tasks that were changed since the notebook was handed out."""
        return {
            cell.task
            for cell in submission.cells
            if cell.version
            and cell.task in self.entries
            and cell.version != self.entries[cell.task]["version"]
        }

    def prepare(self, id: str) -> Prepared:
        """An exercise, made ready once for the whole run. ValueError if unknown."""
        if id not in self.prepared:
            task = check.task(id)
            questions = task.questions(self.seed)
            entry = self.entries[id]
            listener = b64encode(by_value(task.listener(questions))).decode()
            told = packed({"listener": listener, "out_of": entry["points"]})
            task = with_kept_oracle(task, questions)
            self.prepared[id] = Prepared(entry, task, questions, told)
        return self.prepared[id]

    def bug(self, id: str) -> str:
        """The wrong version that an exercise is about. ValueError if it has none."""
        if id not in self.bugs:
            self.bugs[id] = b64encode(by_value(check.bug(id))).decode()
        return self.bugs[id]

    def judge(self, id: str, data: object) -> Mark:
        """The mark for what an answer said."""
        prepared = self.prepare(id)
        points = prepared.entry["points"]
        try:
            hearing = decode_hearing(data)
            with plain_torch():
                verdict = prepared.task.judge(prepared.questions, hearing, points)
        except WireError as error:
            text = f"What it sent could not be read: {error}."
            return Mark(id, 0, points, "not an answer", (), text)
        except Exception:  # forged replies, or a fault of the judge: a person must look
            self.say_once(traceback.format_exc())
            text = "What this answer says could not be judged. Please show it a person."
            return Mark(id, None, points, NOT_JUDGED, (), text)
        return mark_of(prepared.entry, verdict)

    def say_once(self, fault: str) -> None:
        """Show the instructor a fault of the judge, once for each place."""
        place = "".join(line for line in fault.splitlines() if "  File " in line)
        if place not in self.said:
            self.said.add(place)
            print(fault, file=sys.stderr)


@dataclass
class Visit:
    """One submission in the sandbox: what it asks, says and earns."""

    marker: Marker
    submission: Submission
    without: Set[str] = frozenset()  # tests that are lent nothing
    marks: dict[str, Mark] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)  # why before its last cell, if so
    faults: set[str] = field(default_factory=set)  # of the machine
    tests: set[str] = field(default_factory=set)  # that wait for the end
    # Those that were lent versions; once there is one, tests alone are heard.
    lent: set[str] = field(default_factory=set)
    messages: int = 0
    cell: int = 0  # the last that began, counted from 1
    place: str = "no cell"  # what runs, for a note

    def cells(self) -> list[dict]:
        """The cells as the sandbox takes them."""
        entries = self.marker.entries
        told = []
        for cell in self.submission.cells:
            entry = entries.get(cell.task)
            answer = entry["answer"] if entry else ""
            source = plain_source(cell.source)
            told.append({"source": source, "task": cell.task, "answer": answer})
        return told

    def answer(self, message: dict) -> dict | bytes | None:
        """What to say to a message from the sandbox."""
        self.messages += 1
        most = self.marker.sandbox.limits.messages
        if self.messages > most + 2 * len(self.submission.cells):
            raise Ended(f"It sent more than {most} messages.")
        if "listen" in message:
            return self.listener(message["listen"])
        if "lend" in message:
            return self.lend(message["lend"])
        if "bug" in message:
            return self.bug(message["bug"])
        if "catalogue" in message:
            return {"catalogue": catalogue()}
        if "heard" in message:
            self.hear(message["heard"], message.get("hearing"))
        elif "unchecked" in message:
            self.place = printable(f"the check of {message['unchecked']!s:.60}")
            self.problems.append(f"No check of {message['unchecked']!s:.60} ran.")
        elif "broken" in message:
            self.note_broken(message["broken"], message.get("problem"))
        elif "problem" in message:
            problem = printable(f"{message['problem']!s:.200}")
            self.problems.append(f"{self.place.capitalize()} raised {problem}.")
            self.faults |= {*FAULTS_OF_THE_MACHINE.findall(problem)}
        elif message.get("cell") in range(1, len(self.submission.cells) + 1):
            self.cell = int(message["cell"])
            self.place = f"cell {self.cell}"
        return None

    def listener(self, id: object) -> dict | bytes:
        """What hears the answer to an exercise, for the sandbox.

        With what hears a test come versions of a part, so that has to wait.
        """
        try:
            prepared = self.marker.prepare(id)
        except (ValueError, TypeError):
            self.problems.append(f"The course has no exercise {id!r:.60}.")
            return {"unknown": f"No exercise {id!r:.60}."}
        if isinstance(prepared.task, BreakIt):
            self.tests.add(id)
            return {"out_of": prepared.entry["points"]}
        return prepared.listener

    def lend(self, id: object) -> dict | bytes:
        """What hears a test, with the versions; from now on nothing else is heard."""
        if not isinstance(id, str) or id not in self.tests - self.without:
            return {"unknown": f"No test {id!r:.60} waits."}
        self.lent.add(id)
        self.place = f"the check of {id}"
        return self.marker.prepare(id).listener

    def bug(self, id: object) -> dict:
        """The wrong version that an exercise is about, for the sandbox."""
        try:
            return {"bug": self.marker.bug(id)}
        except (ValueError, TypeError) as error:
            return {"unknown": str(error)}

    def hear(self, id: object, data: object) -> None:
        """Judge an answer; the last one to an exercise counts."""
        own = self.marker.entries.get(id) if isinstance(id, str) else None
        if own is None or own["notebook"] != self.submission.notebook:
            self.problems.append(f"It also answers {id!r:.60}, of another notebook.")
        elif self.lent and id not in self.tests:
            self.problems.append(f"It answers {id} after it was lent versions.")
        else:
            self.marks[id] = self.excused(self.marker.judge(id, data), data)

    def excused(self, mark: Mark, data: object) -> Mark:
        """A mark that is no zero where the fault is not the student's.

        data: holds what the answer or its cell said.
        """
        if mark.passed:
            return mark
        said = str(data)
        for package in dict.fromkeys(NO_MODULE.findall(said)):
            if self.imports(package) and not is_here(package):
                self.problems.append(f"It needs {package}, which is not here.")
                return replace(mark, points=None, state=NEEDS)
        self.faults |= {*FAULTS_OF_THE_MACHINE.findall(said)}
        return mark

    def imports(self, package: str) -> bool:
        """Whether a cell imports a package, so that it is not named to be excused."""
        line = re.compile(rf"^\s*(import|from)\b.*\b{package}\b", re.MULTILINE)
        return any(line.search(cell.source) for cell in self.submission.cells)

    def note_broken(self, id: object, problem: object) -> None:
        """The cell of an exercise defines no answer, since it stopped before."""
        entry = self.marker.entries.get(id) if isinstance(id, str) else None
        if entry and id not in self.marks:
            said = printable(f"{problem!s:.200}")
            text = f"The cell of this task raised {said}"
            mark = Mark(id, 0, entry["points"], "its cell does not run", (), text)
            self.marks[id] = self.excused(mark, said)

    def oddities(self) -> list[str]:
        """What went wrong in the cells, the first few."""
        found = list(dict.fromkeys(self.problems))
        more = len(found) - ODDITIES
        return [*found[:ODDITIES], *([f"And {more} more."] if more > 0 else [])]


def unmarked(entry: dict) -> Mark:
    """The mark of a task that was not heard."""
    text = "No answer to this task was heard."
    return Mark(entry["id"], None, entry["points"], NOT_HEARD, (), text)


def without_fault(mark: Mark) -> Mark:
    """A mark where the machine was short of something, twice: no zero."""
    return mark if mark.passed else replace(mark, points=None, state=MACHINE)


def mark_of(entry: dict, verdict: Verdict) -> Mark:
    """A verdict as a mark, with the state that a score card shows."""
    report = Report(
        entry["id"],
        verdict.points,
        entry["points"],
        verdict.passed,
        verdict.misconceptions,
        verdict.message,
        verdict.answered,
    )
    return Mark(
        report.id,
        report.points,
        report.out_of,
        report.state,
        report.misconceptions,
        shorten(verdict.message, LONGEST),
    )


def status_of(marks: tuple[Mark, ...], complete: bool) -> Status:
    """marked, partly or failed. complete: no exercise is left that has no mark."""
    known = [mark for mark in marks if mark.points is not None]
    if not known:
        return "failed"
    return "marked" if complete and len(known) == len(marks) else "partly"


def reasons(marks: tuple[Mark, ...]) -> list[str]:
    """Which tasks have no mark, and why; each reason once."""
    without: dict[str, list[str]] = {}
    for mark in marks:
        if mark.points is None:
            without.setdefault(mark.state, []).append(mark.id)
    return [f"Not marked, {state}: {some(ids)}." for state, ids in without.items()]


def still_open(marks: tuple[Mark, ...]) -> list[str]:
    """How many tasks are as they were handed out."""
    count = sum(mark.state == NOT_ANSWERED for mark in marks)
    return [f"Not answered: {count} of {len(marks)} tasks"] if count else []


def with_kept_oracle(
    task: CodeTask | Prediction, questions: list
) -> CodeTask | Prediction:
    """The task with an oracle that computes what is right once for each question."""
    if not isinstance(task, Implement):
        return task
    kept: dict[tuple[int, tuple[str, ...]], tuple] = {}
    known = set(map(id, questions))

    @functools.wraps(task.oracle)
    def oracle(question, taken: tuple[str, ...]) -> tuple:
        if id(question) not in known:
            return task.oracle(question, taken)
        key = (id(question), taken)
        if key in kept:
            return kept[key]
        right = task.oracle(question, taken)
        if len(kept) < MOST_KEPT:  # a forged hearing may name any parameters
            kept[key] = right
        return right

    return replace(task, oracle=oracle)
