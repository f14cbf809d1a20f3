"""Judge what an answer said: plain tensors against an oracle and known wrong versions.

Nothing here calls what a student wrote.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vit_encoder.check.adapter import LOUD, Hearing, Problem, Question, Reply
from vit_encoder.check.misconceptions import Misconception

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}  # absolute and relative
ROUNDED = 1e-5  # what float64 still agrees to when it was float32 on the way
FOLLOWS = (
    "",
    "raises",
    "wrong-error",
    "gradient-cut",
)  # what a failure of the core brings along
ASK_OF_PROBLEM = {  # where the property's own question would not fit
    "raises": "",
    "wrong-type": "",
    "returns-none": "",
    "missing-parameters": "",
    "shared-parameters": "Which parts should learn apart from one another?",
    "wrong-parameter-shape": "What goes into this part, and what comes out?",
    "wrong-error": "Which error says that an argument has a value that does not fit?",
    "computed-in-float32": "Where does a number of another type enter?",
}


@dataclass(frozen=True)
class Trial:
    """A question, what was answered, and what is right.

    expected: the outputs in float64. gradients: as in Reply, in float64.
    drawn: the outputs with what chance decided, which those in `reply` are without.
    """

    question: Question
    reply: Reply
    expected: tuple[Tensor, ...]
    gradients: dict[str, Tensor]
    drawn: tuple[Tensor, ...] = ()

    def problem(self) -> Problem | None:
        """Why the outputs cannot be compared number by number."""
        if self.question.refused:
            return None
        problem = self.reply.problem
        if problem and problem.name == "raises":
            return Problem("raises", f"For {self.sizes()}: {problem.text}")
        if problem:
            return problem
        for got, expected in zip(self.reply.outputs, self.expected, strict=True):
            if got.shape != expected.shape:
                shapes = f"{tuple(got.shape)}, expected {tuple(expected.shape)}"
                text = f"It returned a tensor of shape {shapes}, for {self.sizes()}."
                return Problem("wrong-shape", text)
        return None

    def right(self, at_least: float = ROUNDED) -> bool:
        """The outputs are those of the oracle, up to a tolerance."""
        if self.question.refused:
            return "ValueError" in self.reply.errors
        if self.problem():
            return False
        pairs = zip(self.reply.outputs, self.expected, strict=True)
        return all(close(got, expected, at_least) for got, expected in pairs)

    def sizes(self) -> str:
        """The inputs' shapes and what a class was built with, for a message."""
        inputs = self.question.inputs
        shapes = [
            str(tuple(x.shape)) if isinstance(x, Tensor) else str(x) for x in inputs
        ]
        many = "inputs" if len(shapes) > 1 else "an input"
        text = f"{many} of shape {', '.join(shapes)}"
        if not all(isinstance(x, Tensor) for x in inputs):
            text = f"arguments ({', '.join(shapes)})"
        built = [f"{n} {value}" for n, value in self.question.arguments.items()]
        return f"{text} and a module built with {', '.join(built)}" if built else text


Trials = dict[str, Trial]


@dataclass(frozen=True)
class Property:
    """Something that holds for every right answer.

    name: what holds, as a student reads it.
    test: all trials → None if it holds, or a Problem; the Problem's name is empty
        where the failure does not tell what was misunderstood.
    ask: the question that leads on.
    core: without it the answer earns nothing; the others cost one point each.
    """

    name: str
    test: Callable[[Trials], Problem | None]
    ask: str
    core: bool = False


@dataclass(frozen=True)
class Failure:
    """A property that does not hold, and what was seen."""

    property: Property
    problem: Problem


@dataclass(frozen=True)
class Verdict:
    """Points are between 0 and out_of; the rest as in Report."""

    points: int
    passed: bool
    misconceptions: tuple[str, ...]
    message: str
    answered: bool = True


def failing(problem: Problem, ask: str = "") -> Verdict:
    """No points for one reason."""
    answered = problem.name != "not-answered"
    names = (problem.name,) if answered else ()
    return Verdict(0, False, names, with_question(problem.text, ask), answered)


def with_question(text: str, ask: str) -> str:
    """What was seen, then the question that leads on."""
    return f"{text}\nQuestion: {ask}" if ask else text


def with_remark(text: str, hearing: Hearing) -> str:
    """The message, and a line if the answer printed a lot."""
    if hearing.printed < LOUD:
        return text
    return f"{text}\nIt printed {hearing.printed} characters, which are left out here."


def close(got: Tensor, expected: Tensor, at_least: float = ROUNDED) -> bool:
    """Equal shapes and numbers, up to what the dtype can hold; nan equals nan."""
    if got.shape != expected.shape or got.device != expected.device:
        return False
    tolerance = tolerance_of(got, at_least)
    return torch.allclose(
        got.double(), expected.double(), tolerance, tolerance, equal_nan=True
    )


def tolerance_of(got: Tensor, at_least: float = ROUNDED) -> float:
    """How far numbers of this dtype may be off, absolute and relative."""
    return max(at_least, TOLERANCE.get(got.dtype, 1e-2))


# Properties that every part has. Each function gives a test for Property.


def returns_right_shapes(*names: str) -> Callable[[Trials], Problem | None]:
    """The questions have answers of the expected shapes."""

    def test(trials: Trials) -> Problem | None:
        return next(filter(None, (trials[name].problem() for name in names)), None)

    return test


def agrees(*names: str) -> Callable[[Trials], Problem | None]:
    """The outputs of these questions are the oracle's."""

    def test(trials: Trials) -> Problem | None:
        for name in names:
            trial = trials[name]
            if trial.problem():
                return trial.problem()
            if not trial.right():
                return Problem("", f"The numbers differ, for {trial.sizes()}.")
        return None

    return test


def keeps_digits(name: str) -> Callable[[Trials], Problem | None]:
    """On float64 inputs nothing is rounded on the way."""

    def test(trials: Trials) -> Problem | None:
        trial = trials[name]
        if not trial.right() or trial.right(at_least=0):
            return None
        came = trial.drawn or trial.reply.outputs
        if any(torch.equal(x, x.float().double()) for x in came):
            text = "On float64 inputs it computes in float32: digits are lost."
            return Problem("computed-in-float32", text)
        return Problem("", "On float64 inputs fewer than 9 digits are right.")

    return test


def stays_finite(name: str) -> Callable[[Trials], Problem | None]:
    """No nan and no infinity where the oracle has none."""

    def test(trials: Trials) -> Problem | None:
        problem = trials[name].problem()
        if problem or trials[name].right():
            return problem
        if all(x.isfinite().all() for x in trials[name].reply.outputs):
            return Problem("", f"The numbers differ on {name}.")
        return Problem("", f"It returns nan or infinity on {name}.")

    return test


def same_gradients(name: str) -> Callable[[Trials], Problem | None]:
    """The gradients of inputs and parameters are the oracle's."""

    def test(trials: Trials) -> Problem | None:
        trial = trials[name]
        if trial.problem():
            return trial.problem()
        for place, expected in trial.gradients.items():
            got = trial.reply.gradients.get(place)
            if got is None:
                return Problem("gradient-cut", f"No gradient reaches {place}.")
            # A coarse output makes coarse gradients, whatever their own dtype.
            if not close(got, expected, tolerance_of(trial.reply.outputs[0])):
                return Problem("", f"The gradient of {place} differs.")
        return None

    return test


def keeps_dtype(*names: str) -> Callable[[Trials], Problem | None]:
    """The outputs have the dtype of the inputs."""

    def test(trials: Trials) -> Problem | None:
        for trial in (trials[name] for name in names):
            wanted = trial.question.inputs[0].dtype  # the first input is a tensor
            for got in trial.reply.outputs:
                if got.dtype != wanted:
                    text = f"For {wanted} inputs it returns {got.dtype}."
                    return Problem("dtype-changed", text)
        return None

    return test


def keeps_device(name: str) -> Callable[[Trials], Problem | None]:
    """Nothing is made on the CPU while the inputs are elsewhere.

    An answer that looks at numbers cannot run on the meta device; that is no fault.
    """

    def test(trials: Trials) -> Problem | None:
        reply = trials[name].reply
        text = reply.problem.text.lower() if reply.problem else ""
        mixed = "expect" in text and "device" in text
        mixed = mixed or "copy out of meta" in text  # such as x.cpu()
        if mixed or any(x.device.type != "meta" for x in reply.outputs):
            text = "It makes a tensor on the CPU, also when its inputs are elsewhere."
            return Problem("device-fixed", text)
        return None

    return test


def keeps_inputs(trials: Trials) -> Problem | None:
    """No input was changed."""
    for trial in trials.values():
        pairs = zip(trial.question.inputs, trial.reply.inputs_after, strict=False)
        for place, (before, after) in enumerate(pairs):
            if not isinstance(before, Tensor) or before.device != after.device:
                continue
            if not unchanged(before, after):
                text = f"It changes its own input, number {place} counted from 0."
                return Problem("input-changed", text)
    return None


def unchanged(before: Tensor, after: Tensor) -> bool:
    """Equal in shape and in every number; nan equals nan."""
    if before.shape != after.shape:
        return False
    return bool(((before == after) | (before.isnan() & after.isnan())).all())


def refuses(name: str, *names: str) -> Callable[[Trials], Problem | None]:
    """Arguments that do not fit together raise a ValueError.

    name: of the misconception behind an answer that takes them all the same.
    """

    def test(trials: Trials) -> Problem | None:
        for trial in (trials[n] for n in names):
            if trial.right():
                continue
            came = trial.reply.problem
            got = came.text if came else "It gave a result."
            text = f"For {trial.sizes()} a ValueError is expected. {got}"
            return Problem("wrong-error" if came else name, text)
        return None

    return test


def has_parameters(
    name: str, *, optional: tuple[str, ...] = (), owner: str = ""
) -> Callable[[Trials], Problem | None]:
    """All parameters of the question are there, none of them twice.

    optional: how the names end of those that may be missing. owner: who learns them,
    for the message.
    """

    def test(trials: Trials) -> Problem | None:
        trial = trials[name]
        if trial.reply.problem:
            return trial.problem()
        missing = [
            n
            for n in trial.question.parameters
            if n not in trial.reply.taken and not n.endswith(optional)
        ]
        if missing:
            shown = ", ".join(missing[:4]) + (", …" if len(missing) > 4 else "")
            has = ", ".join([*trial.reply.parameters][:8]) or "none"
            text = f"It has no {shown}. Its parameters are: {has}."
            return Problem("missing-parameters", text)
        if trial.reply.shared:
            first, second = trial.reply.shared[0]
            text = f"Its {first} and its {second} are one and the same parameter."
            return Problem("shared-parameters", text)
        return None

    return test


def repeats(first: str, second: str) -> Callable[[Trials], Problem | None]:
    """The same question gets the same answer."""

    def test(trials: Trials) -> Problem | None:
        pairs = zip(
            trials[first].reply.outputs, trials[second].reply.outputs, strict=False
        )
        if all(close(a, b) for a, b in pairs):
            return None
        return Problem("not-deterministic", "Two equal calls give different numbers.")

    return test


# From trials to a verdict.


def evaluate(properties: Iterable[Property], trials: Trials) -> list[Failure]:
    """The properties that do not hold, in their order."""
    found = ((p, p.test(trials)) for p in properties)
    return [Failure(p, problem) for p, problem in found if problem]


def points_for(failures: list[Failure], out_of: int) -> int:
    """None without the core, else one less for each failure, and at least one."""
    if any(failure.property.core for failure in failures):
        return 0
    return max(out_of - len(failures), min(1, out_of - 1))


def wrong_questions(trials: Trials) -> set[str]:
    """The questions on the CPU that were not answered as the oracle does."""
    return {
        name
        for name, trial in trials.items()
        if trial.question.device == "cpu" and not trial.right()
    }


def telling_questions(trials: Trials) -> set[str]:
    """The wrong questions; what is asked aside counts only if all the rest is right."""
    names = wrong_questions(trials)
    return {name for name in names if not trials[name].question.aside} or names


def behaves_as(wrong: Trials, trials: Trials) -> bool:
    """Wherever a known wrong version is wrong, the answer says the same."""
    names = telling_questions(wrong)
    return all(same(wrong[name].reply, trials[name].reply) for name in names)


def recognises(wrong: Trials, trials: Trials) -> bool:
    """The answer is a known wrong version, to judge by all it says.

    Where the wrong version gives errors or nan only, which others may share, the two
    must be wrong on exactly the same questions.
    """
    names = wrong_questions(wrong)
    if not names or not behaves_as(wrong, trials):
        return False
    return any(has_numbers(wrong[name].reply) for name in names) or (
        telling_questions(wrong) == telling_questions(trials)
    )


def same(a: Reply, b: Reply) -> bool:
    """Equal outputs, or the same problem."""
    if a.problem or b.problem:
        return a.problem == b.problem
    pairs = list(zip(a.outputs, b.outputs, strict=False))
    return len(a.outputs) == len(b.outputs) and all(close(x, y) for x, y in pairs)


def has_numbers(reply: Reply) -> bool:
    """The reply holds finite numbers."""
    return bool(reply.outputs) and all(bool(x.isfinite().all()) for x in reply.outputs)


@dataclass(frozen=True)
class Show:
    """How a message shows small tensors.

    questions: the names of the small ones, smallest first.
    inputs: the names of the inputs.
    order: output → its place in what the answer returns; the most telling first.
    axes: output → what a row is, what a column is.
    parameters: the names of those that are small enough to be shown, too.
    notes: question → what is special about it beside its inputs.
    same_draw: question, output → what is right with the chance of this output, where
        chance decides.
    """

    questions: tuple[str, ...]
    inputs: tuple[str, ...]
    order: dict[str, int]
    axes: dict[str, tuple[str, str]]
    parameters: tuple[str, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)
    same_draw: Callable[[Question, Tensor], Tensor] | None = None


def picture(trials: Trials, show: Show) -> str:
    """The first small matrix that is wrong, beside the expected one; or ''."""
    for trial in (trials[name] for name in show.questions):
        if trial.problem():
            continue
        for output, index in show.order.items():
            got, expected = trial.reply.outputs[index].double(), trial.expected[index]
            if show.same_draw:
                got = trial.drawn[index].double()
                expected = show.same_draw(trial.question, got)
            place = first_wrong_matrix(got, expected)
            if place is None:
                continue
            row, column = show.axes[output]
            where = f"{output}{list(place)}" if place else output
            where = f"{where} {show.notes.get(trial.question.name, '')}".rstrip()
            lines = [
                *input_lines(trial.question, show.inputs),
                *parameter_lines(trial.question, show.parameters),
                f"{where}, a row a {row}, a column a {column}; * marks a difference:",
                *table(got[place], expected[place], row),
            ]
            return "\n".join(lines)
    return ""


def first_wrong_matrix(got: Tensor, expected: Tensor) -> tuple[int, ...] | None:
    """The leading indices of the first matrix that differs when rounded."""
    wrong = differs(got, expected).flatten(-2).any(-1)
    if not wrong.any():
        return None
    return tuple(wrong.nonzero()[0].tolist()) if wrong.ndim else ()


def differs(got: Tensor, expected: Tensor) -> Tensor:
    """Where the numbers differ by more than rounding to two places hides."""
    return ~((got - expected).abs() < 0.005)


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


def telling(failures: list[Failure]) -> list[Failure]:
    """The failures worth a line: the first, and the edges that fail beside it.

    Beside the core an edge needs a name of its own; most others follow from it.
    Where the first one already stops the answer, all others do.
    """
    if not failures:
        return []
    first, *others = failures
    if first.property.core and first.problem.name:
        return [first]
    others = [f for f in others if not f.property.core]
    if any(f.property.core for f in failures):
        others = [f for f in others if f.problem.name not in FOLLOWS]
    return [first, *others]


def question_of(failure: Failure) -> str:
    """The question that leads on; '' where the failure says enough."""
    return ASK_OF_PROBLEM.get(failure.problem.name, failure.property.ask)


def explain(
    recognised: list[Misconception], failures: list[Failure], example: str
) -> str:
    """The message: what was seen, a small example, the question, what else fails.

    failures: those that no recognised misconception explains.
    """
    if recognised:
        seen, ask = recognised[0].seen, recognised[0].ask
        others = [m.seen for m in recognised[1:]] + [f.problem.text for f in failures]
    else:
        seen, ask = failures[0].problem.text, question_of(failures[0])
        others = [f.problem.text for f in failures[1:]]
    lines = [seen, example, f"Question: {ask}" if ask else ""]
    lines += [f"Also seen: {other}" for other in dict.fromkeys(others) if other != seen]
    return "\n".join(filter(None, lines))
