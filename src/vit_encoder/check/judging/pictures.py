"""Show small tensors in a message, what came beside what is right."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from vit_encoder.check.hearing.data import Form, Question
from vit_encoder.check.judging.trials import Trials


@dataclass(frozen=True)
class Show:
    """How a message shows small tensors.

    questions: the names of the small ones, smallest first.
    inputs: the names of the inputs, if they are not the arguments of the part.
    axes: output → what a row is, what a column is; the most telling output first.
    parameters: the names of those that are small enough to be shown, too.
    notes: question → what is special about it beside its inputs.
    same_draw: question, output → what is right with the chance of this output, where
        chance decides.
    """

    questions: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    axes: dict[str, tuple[str, str]] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)
    same_draw: Callable[[Question, Tensor], Tensor] | None = None


def picture(trials: Trials, form: Form, show: Show) -> str:
    """The first small matrix that is wrong, beside the expected one; or ''."""
    for trial in (trials[name] for name in show.questions):
        if trial.problem():
            continue
        for output, (row, column) in show.axes.items():
            index = form.outputs.index(output)
            got, expected = trial.reply.outputs[index].double(), trial.expected[index]
            if show.same_draw:
                got = trial.drawn[index].double()
                expected = show.same_draw(trial.question, got)
            if expected.ndim == 1:  # a row for each number
                got, expected = got[:, None], expected[:, None]
            place = first_wrong_matrix(got, expected)
            if place is None:
                continue
            where = f"{output}{list(place)}" if place else output
            where = f"{where} {show.notes.get(trial.question.name, '')}".rstrip()
            lines = [
                *input_lines(trial.question, show.inputs or arguments_of(form)),
                *parameter_lines(trial.question, show.parameters),
                f"{where}, a row {one(row)}, a column {one(column)}; * marks a "
                "difference:",
                *table(got[place], expected[place], row),
            ]
            return "\n".join(lines)
    return ""


def one(thing: str) -> str:
    """The word with its article."""
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"


def first_wrong_matrix(got: Tensor, expected: Tensor) -> tuple[int, ...] | None:
    """The leading indices of the first matrix that differs when rounded."""
    wrong = differs(got, expected).flatten(-2).any(-1)
    if not wrong.any():
        return None
    return tuple(wrong.nonzero()[0].tolist()) if wrong.ndim else ()


def differs(got: Tensor, expected: Tensor) -> Tensor:
    """Where the numbers differ by more than rounding to two places hides."""
    return ~((got - expected).abs() < 0.005)


def arguments_of(form: Form) -> tuple[str, ...]:
    """The names of what a call of the part takes, as the course's own version does."""
    own = form.reference[0]
    called = own.forward if form.is_class else own
    return tuple(n for n in inspect.signature(called).parameters if n != "self")


def input_lines(question: Question, names: tuple[str, ...]) -> list[str]:
    """The inputs, and what a class was built with."""
    pairs = zip(names, question.inputs, strict=True)
    lines = [f"{name} = {as_python(value)}" for name, value in pairs]
    lines += [f"{name} = {value}" for name, value in question.arguments.items()]
    return ["On this input:", *(f"  {line}" for line in lines)]


def parameter_lines(question: Question, names: tuple[str, ...]) -> list[str]:
    """The parameters of these names."""
    return [f"  {name} = {as_python(question.parameters[name])}" for name in names]


def as_python(value: object) -> str:
    """A tensor as Python lists, whole numbers without a point."""
    shown = value.tolist() if isinstance(value, Tensor) else value
    return re.sub(r"\.0(?!\d)", "", str(shown))


def table(got: Tensor, expected: Tensor, row: str) -> list[str]:
    """Two small matrices side by side, what differs marked with *."""
    marks = differs(got, expected)
    left = [
        " ".join(number(x) + ("*" if m else " ") for x, m in zip(xs, ms, strict=True))
        for xs, ms in zip(got.tolist(), marks.tolist(), strict=True)
    ]
    right = [" ".join(number(x) for x in xs) for xs in expected.tolist()]
    margin, width = len(row) + 6, max(map(len, left))
    lines = [f"{'':{margin}}{'got':<{width}}  expected"]
    for i, (a, b) in enumerate(zip(left, right, strict=True)):
        lines.append(f"  {row} {i:<2} {a:<{width}}  {b}".rstrip())
    return lines


def number(value: float) -> str:
    """Two places; the same text on every machine."""
    text = f"{value:.2f}"
    return f"{'0.00' if text == '-0.00' else text:>6}"
