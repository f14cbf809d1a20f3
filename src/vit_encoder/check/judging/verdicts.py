"""From trials to a verdict: points, the names of what is recognized, a message."""

from collections.abc import Iterable
from dataclasses import dataclass

from vit_encoder.check.hearing.data import LOUD, Hearing, Problem, Reply
from vit_encoder.check.hearing.meanings import NAMES as RAISED
from vit_encoder.check.judging.misconceptions import Misconception
from vit_encoder.check.judging.properties import Property
from vit_encoder.check.judging.trials import Fails, Trials, close

# What a failure of the core brings along.
FOLLOWS = RAISED | {"", "wrong-error", "gradient-cut"}


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


def failing(problem: Problem) -> Verdict:
    """No points for one reason."""
    answered = problem.name != "not-answered"
    names = (problem.name,) if answered and problem.name else ()
    text = with_question(told(problem), problem.ask or "")
    return Verdict(0, False, names, text, answered)


def told(problem: Problem) -> str:
    """What was seen, and the line of the answer where it happened."""
    return f"{problem.text}\n{problem.where}" if problem.where else problem.text


def with_question(text: str, ask: str) -> str:
    """What was seen, then the question that leads on."""
    return f"{text}\nQuestion: {ask}" if ask else text


def with_remark(text: str, hearing: Hearing) -> str:
    """The message, and a line if the answer printed a lot."""
    if hearing.printed < LOUD:
        return text
    return f"{text}\nIt printed {hearing.printed} characters, which are left out here."


def evaluate(properties: Iterable[Property], trials: Trials) -> list[Failure]:
    """The properties that do not hold, in their order."""
    failures = []
    for found in properties:
        try:
            found.test(trials)
        except Fails as failure:
            failures.append(Failure(found, failure.problem))
    return failures


def points_for(failures: list[Failure], out_of: int) -> int:
    """None without the core, else one less for each failure, and at least one.

    An optional task, which has none, gives none.
    """
    if not out_of or any(failure.property.core for failure in failures):
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
    return {name for name in names if not trials[name].question.secondary} or names


def behaves_as(wrong: Trials, trials: Trials) -> bool:
    """Wherever a known wrong version is wrong, the answer says the same."""
    names = telling_questions(wrong)
    return all(same(wrong[name].reply, trials[name].reply) for name in names)


def recognizes(wrong: Trials, trials: Trials) -> bool:
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
    ask = failure.problem.ask
    return failure.property.ask if ask is None else ask


def explain(
    recognized: list[Misconception], failures: list[Failure], example: str
) -> str:
    """The message: what was seen, a small example, the question, what else fails.

    failures: those that no recognized misconception explains.
    """
    if recognized:
        seen, ask = recognized[0].seen, recognized[0].ask
        others = [m.seen for m in recognized[1:]]
    else:
        first, *failures = failures
        seen, ask = told(first.problem), question_of(first)
        others = []
    others += [failure.problem.text for failure in failures]
    lines = [seen, example, f"Question: {ask}" if ask else ""]
    lines += [f"Also seen: {other}" for other in dict.fromkeys(others) if other != seen]
    return "\n".join(filter(None, lines))
