"""What is asked of an answer and what it says: plain data, which can be sent."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, fields
from functools import cached_property

import torch
from torch import Tensor

LOUD = 2000  # characters from which on printing is worth a remark
MOST_AXES = 16  # of a tensor that is looked at
TIME_LIMIT = 5.0  # seconds of computing for a check; a right answer takes 0.1


@dataclass(frozen=True)
class Problem:
    """Why a question has no answer: a short name, and one line for the student.

    ask: the question that leads on; None where whoever asked knows a better one.
    where: the line of the answer where it happened, as code with its number.
    """

    name: str
    text: str
    ask: str | None = field(default=None, compare=False)
    where: str = field(default="", compare=False)


class ProblemError(Exception):
    """Carries a Problem out of the functions that find it."""

    def __init__(self, name: str, text: str, ask: str | None = None):
        super().__init__(text)
        self.problem = Problem(name, text, ask)


LATE = Problem(
    "too-slow",
    f"It did not finish within {TIME_LIMIT:g} seconds.",
    "Which loop of it goes on for long, or does one by one what torch can do at once?",
)


@dataclass(frozen=True, eq=False)
class Form:
    """What an answer must look like.

    outputs: names of the tensors that it returns.
    is_class: the answer is a module class, not a function.
    fused: a joined parameter → the parameters that it may stand for, in order.
    aliases: how a parameter's name may end → other endings under which it may be held.
    builtins: what the names of torch functions contain that it may not call.
    builtin_parts: torch's modules that it may not call.
    reference: the course's own versions of the part, which it may not call, the part
        itself first; in the sandbox what is known of them.
    call: answer, inputs, parameters → what it returned as tensors, for a function that
        takes or returns something else.
    optimizers: an answer may build an optimizer. At the first one torch loads for
        seconds, which no answer's time shall count.
    """

    outputs: tuple[str, ...]
    is_class: bool = False
    fused: dict[str, tuple[str, ...]] = field(default_factory=dict)
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    builtins: tuple[str, ...] = ()
    builtin_parts: tuple[Callable, ...] = ()
    reference: tuple[Callable, ...] = ()
    call: Callable | None = None
    optimizers: bool = False


@dataclass(frozen=True, eq=False)
class Question:
    """Build yourself, take these parameters, and compute this.

    inputs: tensors or plain values, in the order of the call.
    arguments: name → what a class is built with, in the order of the call.
    parameters: name such as query.weight → value.
    cotangent: the gradient of the first output, if gradients are asked for.
    device: cpu, or meta, which has no data and stands in for any other device.
    refused: the right answer is a ValueError.
    secondary: it asks for something apart, such as dropout, that a wrong version may
        do right or wrong beside its own mistake.
    initial: the values that a new module starts with are wanted, too.
    rehearsals: modes in which the same module is called before, True for training.
    """

    name: str
    inputs: tuple
    arguments: dict[str, object] = field(default_factory=dict)
    parameters: dict[str, Tensor] = field(default_factory=dict)
    cotangent: Tensor | None = None
    device: str = "cpu"
    training: bool = False
    refused: bool = False
    secondary: bool = False
    initial: bool = False
    rehearsals: tuple[bool, ...] = ()

    @cached_property
    def content(self) -> tuple:
        """All that is in it, so that equal questions are found to be equal."""
        return tuple(content_of(getattr(self, f.name)) for f in fields(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Question) and self.content == other.content

    @cached_property
    def hash(self) -> int:
        """Of the content, which may be long."""
        return hash(self.content)

    def __hash__(self) -> int:
        return self.hash


def content_of(value: object) -> Hashable:
    """A value as something that can be compared and looked up."""
    if isinstance(value, Tensor):
        flat = value.detach().contiguous().flatten().view(torch.uint8)
        return value.dtype, tuple(value.shape), flat.numpy().tobytes()
    if isinstance(value, dict):
        return tuple((name, content_of(entry)) for name, entry in value.items())
    if isinstance(value, tuple):
        return tuple(map(content_of, value))
    return value


@dataclass(frozen=True)
class Reply:
    """What came back.

    outputs: the tensors that were returned.
    inputs_after: the inputs as the answer left them, None for a tensor that it did not
        change.
    gradients: "input 0" or a parameter's name → gradient; None if there is none.
    taken: names of the parameters that could be set.
    shared: pairs of them that are one and the same parameter.
    parameters: name → shape of all parameters that the answer has.
    initial: as in `taken`, name → value before it was set, if it is wanted.
    errors: the names of the classes of the exception that was raised.
    seeded: it set the seed of the random numbers.
    """

    outputs: tuple[Tensor, ...] = ()
    inputs_after: tuple[
        Tensor | tuple[int, ...] | float | int | bool | str | None, ...
    ] = ()
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    taken: tuple[str, ...] = ()
    shared: tuple[tuple[str, str], ...] = ()
    parameters: dict[str, tuple[int, ...]] = field(default_factory=dict)
    initial: dict[str, Tensor] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    seeded: bool = False
    problem: Problem | None = None


@dataclass(frozen=True)
class Opinion:
    """What a student's test said of one version.

    said: yes, no, or silent if it neither returned a value nor raised. An exception is
        a no.
    problem: why, with a name where it is a slip that people make.
    stopped: it raised something else than an AssertionError.
    calls: how it built or called the version at last, and what came back; a line each.
    sides: what stood on the two sides of the comparison that let the version pass.
    """

    said: str
    problem: Problem | None = None
    stopped: bool = False
    calls: str = ""
    sides: Problem | None = None


# What may be said to one question: by a part, by a test, or as numbers and words.
Said = Reply | Opinion | str | list[float] | None


@dataclass(frozen=True)
class Hearing:
    """All that an answer said, as plain data.

    replies: one for each question, by its name.
    printed: how many characters it printed.
    turned: the same with each square matrix set the other way round, where the answer
        holds one whose rows may be inputs or outputs.
    """

    replies: dict[str, Said]
    problem: Problem | None = None
    printed: int = 0
    turned: "Hearing | None" = None
