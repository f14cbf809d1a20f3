"""Run a test that a student wrote, on versions of a part that are lent to it."""

import dis
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import FrameType, FunctionType

import torch
from torch import Tensor, nn

from vit_encoder.check.hearing.data import (
    LATE,
    Form,
    Hearing,
    Opinion,
    Problem,
)
from vit_encoder.check.hearing.errors import require_fit, unwritten
from vit_encoder.check.hearing.exceptions import (
    innermost,
    line_at,
    one_line,
    raised,
    shortened,
)
from vit_encoder.check.hearing.expressions import (
    assertion_of_a_tuple,
    compact,
    last_line,
    passing,
    two_sides,
)
from vit_encoder.check.hearing.guard import TimeUp, under_guard

FEW = 2  # calls of a version that a message shows
WHICH_NAME = "Which line of your test runs the version that it is given?"
CHANCE = Problem(
    "depends-on-chance",
    "Asked again, it accepts the same version.",
    "Which random numbers does it draw, and what does it keep from one version to the "
    "next?",
)
NEVER_CALLED = Problem(
    "version-never-called",
    "It never calls the version that it is given.",
    WHICH_NAME,
)
OTHER_WEIGHTS = Problem(
    "weights-differ",
    "Two modules that it compares have different weights: each new one draws its own.",
    "How do two modules get the same weights?",
)


SAYS_NOTHING = Problem(
    "test-says-nothing",
    "Your test neither returned a value nor raised.",
    "How does your test say no?",
)
KEEPS = Problem(
    "keeps-between-versions",
    "It keeps something from one version to the next.",
    "What is compared here, two versions or one version and what must be true of it?",
)


# What an exception asks where a test raised it, and no part.
IN_A_TEST = {
    "in-place-on-leaf": "Under which `with` may a parameter be overwritten?",
    "dtypes-mixed": "Which dtype do the module's parameters have, and which the input?",
    "number-for-tensor": "How is a tensor made that holds such numbers?",
    "gradient-inside": "Was the history recorded that `backward` follows?",
}


@dataclass
class Noted:
    """What a test did with the version that it was given.

    calls: how it was called, and what came back. modules: what was built of it.
    """

    calls: list[str]
    modules: list[nn.Module]


NOTED = Noted([], [])  # of the test that runs now


def ask_test(test: object, versions: list[Callable]) -> Hearing:
    """Run a student's test on versions of a part, which are `lent` to it.

    The replies hold an Opinion of each version, by its place in the list.
    """
    late = Opinion("no", LATE)
    replies: dict[str, Opinion] = {str(i): late for i in range(len(versions))}

    def put_questions():
        require_fit(test, Form(()))
        for i, version in enumerate(versions):
            opinion = opinion_of(test, version)
            named = opinion.problem and opinion.problem.name
            if opinion.said == "no" and not named:
                opinion = asked_again(opinion, test, version)
            replies[str(i)] = opinion

    return under_guard(put_questions, replies)


def asked_again(opinion: Opinion, test: Callable, version: Callable) -> Opinion:
    """A refusal that may have another reason than the version: chance, or memory."""
    before = seen(kept_by, test)
    again = says_no(test, version)
    where = opinion.problem.where if opinion.problem else ""
    if seen(kept_by, test) != before:
        return replace(opinion, problem=replace(KEEPS, where=where))
    if not again:
        return replace(opinion, problem=replace(CHANCE, where=where))
    return opinion


def says_no(test: Callable, version: Callable) -> bool:
    """The test has something against the version, for whatever reason."""
    try:
        came = test(version)
        return came is not None and not came
    except (TimeUp, KeyboardInterrupt):
        raise
    except BaseException:
        return True


def seen(look: Callable, *at: object) -> object:
    """What a look at a student's things tells; None where they forbid it."""
    try:
        return look(*at)
    except (TimeUp, KeyboardInterrupt):
        raise
    except BaseException:
        return None


def kept_by(test: Callable) -> list[tuple]:
    """What a test finds outside of itself: name, which thing, how many are in it."""
    found = inspect.getclosurevars(test) if inspect.isfunction(test) else None
    things = {**found.globals, **found.nonlocals} if found else {}
    things |= dict(enumerate(getattr(test, "__defaults__", None) or ()))
    return [
        (name, id(thing), len(thing) if isinstance(thing, list | dict | set) else 0)
        for name, thing in things.items()
        if not inspect.ismodule(thing)
    ]


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
            def __init__(self, *args, **kwargs):
                note("built", args, kwargs)
                super().__init__(*args, **kwargs)
                NOTED.modules.append(self)

            def forward(self, *args, **kwargs):
                note("called", args, kwargs)
                return noted(super().forward, args, kwargs)

        return Part

    def part(*args, **kwargs):
        note("called", args, kwargs)
        return noted(version, args, kwargs)

    return part


def note(what: str, args: tuple, kwargs: dict) -> None:
    """Keep how a version was built or called."""
    given = [compact(x) for x in args] + [
        f"{n}={compact(x)}" for n, x in kwargs.items()
    ]
    NOTED.calls.append(f"It was {what} with {', '.join(given) or 'nothing'}.")


def noted(version: Callable, args: tuple, kwargs: dict) -> object:
    """Call a version, and keep what it returned or raised."""
    try:
        result = version(*args, **kwargs)
    except Exception as error:
        said = shortened(one_line(error))
        NOTED.calls[-1] = f"{NOTED.calls[-1][:-1]} and raised {said}"
        raise
    NOTED.calls[-1] = f"{NOTED.calls[-1][:-1]} and returned {compact(result)}."
    return result


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


class Tracer:
    """Keeps the frame of a test, which knows its line and names when it has ended.

    A function for sys.settrace, which is called at every call of a function.
    """

    def __init__(self, test: Callable):
        of_class = getattr(type(test).__call__, "__code__", None)
        self.code = getattr(test, "__code__", of_class)
        self.frame: FrameType | None = None

    def __call__(self, frame: FrameType, _event: str, _argument: object) -> None:
        if frame.f_code is self.code:
            self.frame = frame

    def where(self) -> str:
        """The line of the test that ran last."""
        return line_at(self.frame.f_code, last_line(self.frame)) if self.frame else ""


def opinion_of(test: Callable, version: Callable) -> Opinion:
    """What a student's test says of one version, and why."""
    NOTED.calls, NOTED.modules = [], []
    tracer, before = Tracer(test), sys.gettrace()
    try:
        sys.settrace(tracer)
        try:
            came = test(version)
        finally:
            sys.settrace(before)
            calls = NOTED.calls[-FEW:]
        opinion = opinion_from(came, test, tracer)
    except (TimeUp, KeyboardInterrupt):
        raise
    except AssertionError as error:
        opinion = Opinion("no", seen(failed_assertion, error))
    except BaseException as error:
        problem = raised(error, test)
        problem = replace(problem, ask=IN_A_TEST.get(problem.name, problem.ask))
        where = problem.where or tracer.where()
        opinion = Opinion("no", replace(problem, where=where), stopped=True)
    return replace(opinion, calls="\n".join(calls))


def opinion_from(came: object, test: Callable, tracer: Tracer) -> Opinion:
    """What a test says that came to its end. Raises what `bool` of it raises."""
    said = "silent" if came is None else "yes" if bool(came) else "no"
    if not NOTED.calls:
        where = "" if came is None else tracer.where()
        return Opinion(said, replace(NEVER_CALLED, where=where))
    if is_truth(came) and said == "no":
        return Opinion(said, seen(refusal, tracer.frame))
    if is_truth(came) or said == "silent":
        slip = seen(assertion_of_a_tuple, tracer.frame)
        if said == "silent" and not can_refuse(tracer.frame):
            slip = SAYS_NOTHING
        return Opinion(said, slip, sides=seen(passing, tracer.frame))
    name, rule = "always-true", "all that is not empty"
    ask = "What would be empty or False here, and can it ever come back?"
    if isinstance(came, int | float | Tensor):
        name, rule = "number-for-verdict", "any number but 0"
        ask = "Which comparison makes a yes or no of this number?"
    text = f"It returned {compact(came)}, and {rule} counts as yes."
    return Opinion(said, Problem(name, text, ask, tracer.where()))


def can_refuse(frame: FrameType | None) -> bool:
    """The test that ran has an `assert`, a `raise`, or a function that asserts."""
    if not frame:
        return True
    asserts = any(name.startswith("assert") for name in frame.f_code.co_names)
    steps = dis.get_instructions(frame.f_code)
    return asserts or any(step.opname == "RAISE_VARARGS" for step in steps)


def is_truth(came: object) -> bool:
    """True or False, of Python, numpy or torch."""
    if isinstance(came, Tensor):
        return came.dtype == torch.bool
    return type(came).__name__ in ("bool", "bool_")


def failed_assertion(error: AssertionError) -> Problem:
    """Which line of the test failed, and what stood on its two sides."""
    step = innermost(error)
    found = refusal(step.tb_frame, step.tb_lineno) if step else Problem("", "")
    said = shortened(" ".join(str(error).split()))
    text = f'{found.text}\nIt says: "{said}"' if said else found.text
    return replace(found, text=text.strip())


def refusal(frame: FrameType | None, number: int = 0) -> Problem:
    """Why a line of a test says no, as far as its two sides tell.

    number: of the line; 0 for the one that ran last.
    """
    if not frame:
        return Problem("", "")
    number = number or last_line(frame)
    where = line_at(frame.f_code, number)
    if not NOTED.calls:
        return replace(NEVER_CALLED, where=where)
    modules = [x for x in frame.f_locals.values() if isinstance(x, nn.Module)]
    found = two_sides(frame, number)
    if not found.name and weights_differ([*NOTED.modules, *modules]):
        found = OTHER_WEIGHTS
    return replace(found, where=where)


def weights_differ(modules: list[nn.Module]) -> bool:
    """Two of the modules have parameters of equal shapes and other values.

    modules: those that were built of the version first; one of the two is among them.
    """
    measured = [sorted(map(measure, m.parameters())) for m in modules]
    return any(
        [shape for shape, _ in first] == [shape for shape, _ in second]
        and first != second
        for i, first in enumerate(measured[: len(NOTED.modules)])
        for second in measured[i + 1 :]
    )


def measure(parameter: Tensor) -> tuple[tuple[int, ...], float]:
    """What tells one parameter from another one: its shape, and a sum."""
    return tuple(parameter.shape), float(parameter.detach().double().abs().sum())
