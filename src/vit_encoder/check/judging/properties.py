"""Properties: what holds for every right answer.

A property of one part is a function that says what it saw by raising `Fails`:

    @holds("the weights of a query add up to 1", ask="How much is there?", core=True)
    def rows_sum_to_one(trials): ...

The others are made here, from the names of the questions that show them.
"""

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from vit_encoder.check.hearing import asking
from vit_encoder.check.hearing.data import Form
from vit_encoder.check.hearing.parameters import FUSED
from vit_encoder.check.judging.misconceptions import Misconception, named
from vit_encoder.check.judging.trials import (
    Fails,
    Trial,
    Trials,
    close,
    tolerance_of,
    unchanged,
)

COARSE = 2e-6  # what float64 still agrees to with a constant held in float32


@dataclass(frozen=True)
class Property:
    """Something that holds for every right answer.

    name: what holds, as a student reads it.
    test: raises Fails if it does not hold, for all trials.
    ask: the question that leads on.
    core: without it the answer earns nothing; the others cost one point each.
    example: the small example is shown, too, where what was seen has a name.
    """

    name: str
    test: Callable[[Trials], None]
    ask: str
    core: bool = False
    example: bool = False


def holds(
    name: str, ask: str, *, core: bool = False, example: bool = False
) -> Callable[..., Property]:
    """A decorator that makes a test a Property; its arguments are those of Property."""
    return lambda test: Property(name, test, ask, core, example)


def each(
    name: str,
    questions: tuple[str, ...],
    ask: str,
    *,
    core: bool = False,
    example: bool = False,
) -> Callable[..., Property]:
    """A decorator for what one trial shows, looked for in each of these questions."""

    def declare(look: Callable[[Trial], None]) -> Property:
        def test(trials: Trials) -> None:
            for question in questions:
                look(trials[question])

        return Property(name, test, ask, core, example)

    return declare


def returns_right_shapes(
    name: str,
    *questions: str,
    ask: str,
    core: bool = True,
    form: Form | None = None,
    known: tuple[Misconception, ...] = (),
) -> Property:
    """The questions have answers of the expected shapes.

    known: wrong versions, called as `form` says. The first that returns the shapes that
    came gives them its name.
    """

    @each(name, questions, ask, core=core)
    def test(trial: Trial) -> None:
        problem = trial.problem()
        if problem and problem.name == "wrong-shape":
            shapes = [x.shape for x in trial.reply.outputs]
            for wrong in known:
                outputs = asking.ask(wrong.wrong, form, trial.question).outputs
                if [x.shape for x in outputs] == shapes:
                    raise Fails.like(wrong, f"{problem.text} {wrong.seen}")
        if problem:
            raise Fails.because(problem)

    return test


def runs(name: str, *questions: str, ask: str) -> Property:
    """No exception stops it; the properties after this one need not ask."""

    @each(name, questions, ask, core=True)
    def test(trial: Trial) -> None:
        if trial.reply.errors:
            raise Fails.because(trial.problem())

    return test


def agrees(name: str, *questions: str, ask: str, core: bool = False) -> Property:
    """The outputs of these questions are the oracle's."""
    return each(name, questions, ask, core=core)(Trial.require_right)


def as_defined(*questions: str, ask: str) -> Property:
    """The outputs of these questions are the oracle's, or the answer earns nothing."""
    name = "the numbers agree with the definition in float64"
    return agrees(name, *questions, ask=ask, core=True)


def stays_finite(name: str, question: str, ask: str) -> Property:
    """No nan and no infinity where the oracle has none."""

    @each(name, (question,), ask)
    def test(trial: Trial) -> None:
        if trial.right():
            return
        if all(x.isfinite().all() for x in trial.outputs):
            trial.require_right(f"The numbers differ{trial.by()} on {question}.")
        raise Fails(f"It returns nan or infinity on {question}.")

    return test


def refuses(name: str, taken: str, *questions: str, ask: str) -> Property:
    """Arguments that do not fit together raise a ValueError.

    taken: the name of the misconception behind an answer that takes them all the same.
    """

    @each(name, questions, ask)
    def test(trial: Trial) -> None:
        if trial.right():
            return
        came = trial.reply.problem
        got = came.text if came else "It gave a result."
        text = f"For {trial.sizes()} a ValueError is expected."
        if came and came.name == "error-returned":
            raise Fails(f"{text} {got}", came.name, came.ask)
        if came and not trial.reply.errors:  # it printed, or returned something odd
            question = "Which word makes an error stop a function?"
            raise Fails(f"{text} None was raised.", "wrong-error", question)
        text = f"{text} {got}"
        if not came:
            raise Fails(text, taken)
        question = "Which error says that an argument has a value that does not fit?"
        raise Fails(text, "wrong-error", question)

    return test


def has_parameters(
    name: str, question: str, *, ask: str, optional: tuple[str, ...] = ()
) -> Property:
    """All parameters of the question are there, none of them twice.

    optional: how the names end of those that may be missing.
    """
    return each(name, (question,), ask, core=True)(
        lambda trial: require_parameters(trial, optional)
    )


def require_parameters(trial: Trial, optional: tuple[str, ...] = ()) -> None:
    """Fails if a parameter is missing or is there twice."""
    if trial.reply.problem:
        raise Fails.because(trial.problem())
    missing = [
        n
        for n in trial.question.parameters
        if n not in trial.reply.taken and not n.endswith(optional)
    ]
    if missing:
        shown = ", ".join(missing[:4]) + (", …" if len(missing) > 4 else "")
        has = listed(trial.reply.parameters, near=missing)
        text = f"It has no {shown}. Its parameters are: {has or 'none'}."
        raise Fails(text, "missing-parameters", "")
    if trial.reply.shared:
        raise one_and_the_same(*trial.reply.shared[0])


def listed(names: Iterable[str], near: Iterable[str] = ()) -> str:
    """Names in a row, at most eight. near: those that look like these come first."""
    names = [*names]
    likely = [n for one in near for n in difflib.get_close_matches(one, names, 2)]
    names = [*dict.fromkeys([*likely, *names])]
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def one_and_the_same(first: str, second: str) -> Fails:
    """What a property raises where two names stand for one parameter."""
    text = f"Its {first} and its {second} are one and the same parameter."
    ask = "Which parts should learn apart from one another?"
    return Fails(text, "shared-parameters", ask)


def learns_no_more(question: str) -> Property:
    """There are not more numbers to learn than in the question's parameters."""

    @each(
        "no other part is learned",
        (question,),
        "Which part of it did the task not ask for?",
    )
    def test(trial: Trial) -> None:
        held = sum(map(math.prod, trial.reply.parameters.values()))
        wanted = sum(value.numel() for value in trial.question.parameters.values())
        if held > wanted:
            known = trial.question.parameters
            has = listed(
                n
                for n in trial.reply.parameters
                if n not in known and FUSED.keys().isdisjoint(n.split("."))
            )
            text = f"It has {held} numbers to learn, expected {wanted}. "
            text += f"Among them are: {has or listed(trial.reply.parameters)}."
            raise Fails(text, "extra-parameters")

    return test


def follows_order(question: str, moved: str, *, ask: str, name: str = "") -> Property:
    """Tokens in another order give the same outputs in that order.

    name: what it tells where they do not.
    """

    @holds("the order of tokens does not matter", ask, core=True)
    def test(trials: Trials) -> None:
        before, after = trials[question].output, trials[moved].output
        apart = (before.double()[:, :, None] - after.double()[:, None]).abs().amax(-1)
        limit = tolerance_of(before)
        if not ((apart.amin(-1) < limit).all() and (apart.amin(-2) < limit).all()):
            text = "When the tokens change places, the outputs change values."
            raise Fails(text, name)

    return test


def shows(misconceptions: Iterable[Misconception], name: str) -> Fails:
    """What a property raises that shows one of these misconceptions."""
    (wrong,) = named(misconceptions, name)
    return Fails.like(wrong)


# What every part has, with the names of the questions that show it.


def repeats(question: str) -> Property:
    """The same question, asked twice; the second is called `… again`."""

    @holds(
        "equal questions get equal answers",
        "Where do random numbers enter, and is any layer made anew in each call?",
    )
    def test(trials: Trials) -> None:
        first, second = (
            trials[n].reply.outputs for n in (question, f"{question} again")
        )
        if not all(close(a, b) for a, b in zip(first, second, strict=False)):
            raise Fails("Two equal calls give different numbers.", "not-deterministic")

    return test


REPEATS = repeats("float32")


def require_dtype(trial: Trial) -> None:
    """Fails if the outputs have not the dtype of the inputs."""
    wanted = trial.question.inputs[0].dtype  # the first input is a tensor
    for got in trial.reply.outputs:
        if got.dtype != wanted:
            raise Fails(f"For {wanted} inputs it returns {got.dtype}.", "dtype-changed")


def keeps_dtype(name: str, *questions: str) -> Property:
    """The outputs of these questions have the dtype of the inputs."""
    ask = "Where does a number of another type enter?"
    return each(name, questions, ask)(require_dtype)


KEEPS_DTYPE = keeps_dtype("float32 and float64 are kept", "float32", "gradients")


@each("float64 keeps its digits", ("gradients",), "Is something rounded on the way?")
def KEEPS_DIGITS(trial: Trial) -> None:  # noqa: N802
    """On float64 inputs nothing is rounded to float32 on the way.

    A single constant may be: √D_h from a float32 tensor changes the seventh digit.
    """
    if not trial.right() or trial.right(at_least=0):
        return
    came = trial.drawn or trial.reply.outputs
    if any(torch.equal(x, x.float().double()) for x in came):
        text = "On float64 inputs it computes in float32: digits are lost."
        ask = "Where does a number of another type enter?"
        raise Fails(text, "computed-in-float32", ask)
    if not trial.right(at_least=COARSE):
        raise Fails(f"On float64 inputs the numbers are off{trial.by()}.")


@each(
    "the device is kept",
    ("another device",),
    "A new tensor can ask an old one where it lives. Does yours?",
)
def KEEPS_DEVICE(trial: Trial) -> None:  # noqa: N802
    """Nothing is made on the CPU while the inputs are elsewhere.

    An answer that looks at numbers cannot run on the meta device; that is no fault.
    """
    reply = trial.reply
    text = reply.problem.text.lower() if reply.problem else ""
    mixed = "expect" in text and "device" in text
    mixed = mixed or "copy out of meta" in text  # such as x.cpu()
    if mixed or any(x.device.type != "meta" for x in reply.outputs):
        text = "It makes a tensor on the CPU, also when its inputs are elsewhere."
        raise Fails(text, "device-fixed")


@holds(
    "the input is not changed",
    "Which of your lines writes into a tensor that it was given?",
)
def KEEPS_INPUTS(trials: Trials) -> None:  # noqa: N802
    """No input was changed, by any question."""
    for trial in trials.values():
        for place in changed_inputs(trial):
            text = f"It changes its own input, number {place} counted from 0."
            raise Fails(text, "input-changed")


def changed_inputs(trial: Trial) -> list[int]:
    """The places of the inputs that an answer wrote into."""
    pairs = zip(trial.question.inputs, trial.reply.inputs_after, strict=False)
    return [
        place
        for place, (before, after) in enumerate(pairs)
        if isinstance(before, Tensor)
        and after is not None
        and before.device == after.device
        and not unchanged(before, after)
    ]


def require_gradients(trial: Trial, name: str = "") -> None:
    """Fails if the gradients of inputs and parameters are not the oracle's.

    name: what to call it where the outputs are.
    """
    output = trial.output
    for place, expected in trial.gradients.items():
        got = trial.reply.gradients.get(place)
        if got is None:
            raise Fails(f"No gradient reaches {place}.", "gradient-cut")
        # A coarse output makes coarse gradients, whatever their own dtype.
        if not close(got, expected, max(COARSE, tolerance_of(output))):
            raise Fails(
                f"The gradient of {place} differs.", name if trial.right() else ""
            )


@each(
    "gradients are right",
    ("gradients",),
    "Is every step from the input to the output one that autograd can follow?",
)
def GRADIENTS(trial: Trial) -> None:  # noqa: N802
    """The gradients of inputs and parameters are the oracle's."""
    alone = not changed_inputs(trial)  # what is written into spoils them, too
    require_gradients(trial, "gradient-differs" if alone else "")


@each(
    "nan stays visible",
    ("a nan",),
    "What should a caller see if one number of the input is nan?",
)
def PASSES_NAN_ON(trial: Trial) -> None:  # noqa: N802
    """Where the oracle gives nan, so does the answer, unless it refuses the input."""
    if trial.problem():
        return
    hidden = trial.expected[0].isnan() & ~trial.output.isnan()
    if hidden.any() and close(trial.output[~hidden], trial.expected[0][~hidden]):
        text = "A number of its input is nan, and the output hides it."
        raise Fails(text, "nan-hidden")


@holds("the seed is left alone", "Who else draws random numbers after your part?")
def LEAVES_THE_SEED(trials: Trials) -> None:  # noqa: N802
    """It never seeds a generator."""
    if any(trial.reply.seeded for trial in trials.values()):
        text = "It sets the seed of the random numbers: every call then draws the same."
        raise Fails(text, "seed-set")


def require_as_before(trials: Trials, question: str, text: str, name: str) -> None:
    """Fails if this question is answered wrong, and the same one in a new module right.

    Where both are wrong, another property says so. text, name: what to say of it.
    """
    trial = trials[question]
    asked = trial.question
    for other in trials.values():
        new = other.question
        alike = new.inputs[0] is asked.inputs[0] and new.parameters is asked.parameters
        plain = not (new.training or new.rehearsals or new.refused)
        if alike and plain and new.device == "cpu" and not other.right():
            return
    trial.require_right(text, name)


@holds("a second call gives the same", "What does a call leave behind in your module?")
def KEEPS_NO_STATE(trials: Trials) -> None:  # noqa: N802
    """What a module computes does not depend on calls before."""
    text = "Called a second time, a module gives other numbers."
    require_as_before(trials, "called again", text, "state-kept")


@holds(
    "training changes nothing",
    "Which step behaves in another way in training, and did the task ask for it?",
)
def SAME_IN_TRAINING(trials: Trials) -> None:  # noqa: N802
    """A part without dropout does in training what it does after it."""
    text = "In training it gives other numbers."
    require_as_before(trials, "in training", text, "unasked-dropout")


def same_in_training(evaluated: str, *, core: bool = False) -> Property:
    """SAME_IN_TRAINING for two equal images, which dropout would tell apart.

    evaluated: the question that shows whether the part is right in evaluation.
    """

    @holds(SAME_IN_TRAINING.name, SAME_IN_TRAINING.ask, core=core)
    def test(trials: Trials) -> None:
        trial = trials["in training"]
        if trials[evaluated].right() and not trial.right():
            dropped = not close(trial.output[0], trial.output[1])
            p = trial.question.arguments.get("dropout", 0.0)
            gives = "other numbers" if trial.output.any() else "nothing but 0"
            text = f"In training it gives {gives}, also with dropout {p:g}."
            raise Fails(text, "unasked-dropout" if dropped else "differs-in-training")

    return test


@each(
    "heads that do not divide the width are refused",
    ("heads that do not divide",),
    "Can so many heads have equally many features? If not, who should be told?",
)
def UNEVEN_HEADS(trial: Trial) -> None:  # noqa: N802
    """Heads that do not divide the width stop a part.

    Which error does it is the part's affair: nn.MultiheadAttention, which may stand
    inside, has one of its own.
    """
    if not trial.reply.problem:
        text = f"It gave a result, not an error, for {trial.sizes()}."
        raise Fails(text, "remainder-dropped")


EDGES = (
    KEEPS_DTYPE,
    KEEPS_DIGITS,
    KEEPS_DEVICE,
    KEEPS_INPUTS,
    GRADIENTS,
    LEAVES_THE_SEED,
)
