"""Run a test that a student wrote, on versions of a part that are lent to it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType

from torch import nn

from vit_encoder.check.hearing.data import LATE, Form, Hearing, Problem
from vit_encoder.check.hearing.errors import unfit, unwritten
from vit_encoder.check.hearing.exceptions import raised
from vit_encoder.check.hearing.guard import TimeUp, under_guard


def ask_test(test: object, versions: list[Callable]) -> Hearing:
    """Run a student's test on versions of a part, which are `lent` to it.

    The replies say for each version, by its place in the list: "yes", "no", "silent"
    (neither returned a value nor raised), or a Problem. An exception other than
    AssertionError is a "no" too, as in pytest, and its text is kept.
    """
    problem = unfit(test, Form(()))
    if problem:
        return Hearing({}, problem)
    replies: dict[str, str | Problem] = {str(i): LATE for i in range(len(versions))}

    def put_questions():
        for i, version in enumerate(versions):
            replies[str(i)] = verdict_of(test, version)

    return under_guard(put_questions, replies)


def anonymous(version: Callable) -> Callable:
    """The same function or class, with a name that does not tell the versions apart.

    Not hidden are its code, what a class inherits from, and the names of what else it
    calls: who looks there can tell which version it is.
    """
    if inspect.isclass(version):
        return type("Part", (version,), {})
    if not inspect.isfunction(version):
        return lambda *args, **kwargs: version(*args, **kwargs)
    names = {"co_name": "part", "co_qualname": "part", "co_filename": "part"}
    code = version.__code__.replace(**names, co_firstlineno=1)
    known = {n: x for n, x in version.__globals__.items() if not n.startswith("__")}
    known |= {"__name__": "part", "__builtins__": version.__globals__["__builtins__"]}
    part = FunctionType(code, known, "part", version.__defaults__, version.__closure__)
    part.__kwdefaults__ = version.__kwdefaults__
    return part


def lent(version: Callable) -> Callable:
    """An anonymous version that no answer can be made of: its calls can be told."""
    version = anonymous(version)
    if inspect.isclass(version):

        class Part(version):
            def forward(self, *args, **kwargs):
                return super().forward(*args, **kwargs)

        return Part

    def part(*args, **kwargs):
        return version(*args, **kwargs)

    return part


LENT = (lent(nn.Identity), lent(unwritten))  # for the code that all of them share


@dataclass(frozen=True)
class Bug:
    """A wrong version to repair: call it, or look at its code."""

    _part: Callable
    _code: str

    def __call__(self, *args):
        return self._part(*args)

    def __repr__(self) -> str:
        return self._code


def verdict_of(test: Callable, version: Callable) -> str | Problem:
    """What a student's test says of one version."""
    try:
        said = test(version)
        if said is None:
            return "silent"
        return "yes" if bool(said) else "no"
    except AssertionError:
        return "no"
    except (TimeUp, KeyboardInterrupt):
        raise
    except BaseException as error:
        return raised(error)
