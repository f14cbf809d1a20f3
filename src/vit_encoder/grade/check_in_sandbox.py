"""What a notebook finds as vit_encoder.check while it is marked.

The same names as in the checks, with nothing behind them that knows what is right: an
answer is heard here, and judged in the marking process.
"""

import functools
import pickle
import sys
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch

from vit_encoder.check.hearing.data import Hearing
from vit_encoder.check.hearing.guard import plain_torch
from vit_encoder.check.hearing.trained import trained

__all__ = [
    *("Heard", "bug", "catalogue", "check", "misconception", "score_card"),
    "trained",
]

MOST_CALLS = 20  # in a cell, for each exercise
_calls: Counter[str] = Counter()  # of this cell
_ask: Callable[[dict], dict] | None = None  # sends a message, gives the answer to it
_tell: Callable[[str, object], None] | None = None  # sends a hearing
# Exercise → a test that waits, the names that there were, and the default dtype.
WAITING: dict[str, tuple[object, dict[str, object], torch.dtype]] = {}


@dataclass(frozen=True)
class Heard:
    """Stands where a Report stands in a notebook; it knows no points.

    passed: it could be heard, so that a notebook that goes on only then does go on.
    """

    id: str
    out_of: int
    points: int = 0
    passed: bool = False
    misconceptions: tuple[str, ...] = ()
    message: str = "Heard. The points are made elsewhere."
    answered: bool = True
    title: str = ""


def open_line(ask: Callable, tell: Callable) -> None:
    """Connect with the marking process."""
    global _ask, _tell
    _ask, _tell = ask, tell


def begin_cell() -> None:
    """Forget how often the cell before has called `check`."""
    _calls.clear()


def check(id: str, answer: object, seed: int = 0, *, keep: bool = False) -> Heard:
    """Hear an answer; the seed is that of the run, and nothing is kept.

    A test that versions are lent to is heard when all other answers were. ValueError as
    in the checks. RuntimeError where it is called again and again, as by a loop that
    waits for points.
    """
    told = asked_for(str(id))
    _calls[str(id)] += 1
    if _calls[str(id)] > MOST_CALLS:
        raise RuntimeError(f"check({id!r}) was called more than {MOST_CALLS} times")
    if "listener" not in told:
        wait_with(str(id), answer)
        return Heard(id, told["out_of"], passed=True)
    hearing = heard(str(id), answer, listener_of(str(id)))
    return Heard(id, told["out_of"], passed=hearing.problem is None)


def heard(id: str, answer: object, listener: Callable) -> Hearing:
    """Hear an answer, and send what it says."""
    with plain_torch():
        hearing = listener(answer)
    _tell(id, hearing)
    return hearing


def wait_with(id: str, test: object) -> None:
    """Keep a test with all names as they are now, until all else is heard.

    So nothing that a test is lent is there before. The last one counts.
    """
    WAITING[id] = test, dict(names_of_the_notebook()), torch.get_default_dtype()


def hear_waiting(id: str) -> None:
    """Hear a test that waits: it finds the names of its time."""
    test, names, dtype = WAITING[id]
    now = names_of_the_notebook()
    now.clear()
    now.update(names)
    torch.set_default_dtype(dtype)
    heard(id, test, pickle.loads(b64decode(question({"lend": id})["listener"])))


def names_of_the_notebook() -> dict[str, object]:
    """What its cells have defined, and all that they find."""
    return vars(sys.modules["__main__"])


@functools.cache
def asked_for(id: str) -> dict:
    """What the marking process says of an exercise: its points, and what hears it.

    No "listener" is there as long as versions of a part would come with it.
    """
    return question({"listen": id})


@functools.cache
def listener_of(id: str) -> Callable:
    """What hears the answer to an exercise."""
    return pickle.loads(b64decode(asked_for(id)["listener"]))


def catalogue() -> list[dict]:
    """Every exercise, as in the checks."""
    return question({"catalogue": True})["catalogue"]


class NoCard:
    """Stands where a score card stands; it knows no points and writes no file."""

    points = out_of = 0
    rows = ()

    def export(self, path: str) -> str:
        """The path, at which nothing is written."""
        return path


def score_card(notebook: str) -> NoCard:
    """No card: marks are not shown here."""
    return NoCard()


def bug(id: str) -> object:
    """The wrong version that an exercise is about."""
    return pickle.loads(b64decode(question({"bug": str(id)})["bug"]))


def misconception(id: str, name: str) -> object:
    """Not here: who knows the wrong versions can tell them from the right one."""
    raise ValueError("Misconceptions are not shown while a notebook is marked.")


def question(message: dict) -> dict:
    """Ask the marking process. ValueError with its reason if it has no answer."""
    told = _ask(message)
    if "unknown" in told:
        raise ValueError(told["unknown"])
    return told
