"""The kinds of task. Each puts questions, hears the answer, and judges it.

    questions(seed) → plain data
    listener(questions) → a function: answer → Hearing, plain data. It alone touches the
        answer, and it knows nothing of what is right: marking sends it to a sandbox.
    judge(questions, hearing, out_of) → Verdict

`again` names the chapter's section that helps.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from vit_encoder.check import adapter, judge
from vit_encoder.check.adapter import Form, Hearing, Problem, Question, Reply
from vit_encoder.check.guard import repeatable
from vit_encoder.check.judge import (
    Failure,
    Property,
    Show,
    Trial,
    Trials,
    Verdict,
    failing,
)
from vit_encoder.check.misconceptions import Misconception

Listener = Callable[[object], Hearing]


@dataclass(frozen=True)
class Implement:
    """The student writes a part; with `bug`, repairs this wrong version of it.

    ask_about: seed → questions.
    oracle: question, names of the parameters taken → the right outputs and gradients
        in float64.
    bank: the known wrong versions, the more telling first.
    settle: question, outputs → the outputs without what chance decides.
    remarks: trials → a line for an answer that passes all the same, or "".
    locate: trials → a line that says where a recognised mistake shows first, or "".
    """

    form: Form
    ask_about: Callable[[int], list[Question]]
    oracle: Callable[[Question, tuple[str, ...]], tuple[tuple[Tensor, ...], dict]]
    properties: tuple[Property, ...]
    bank: tuple[Misconception, ...]
    show: Show
    again: str
    bug: Misconception | None = None
    settle: Callable[[Question, tuple[Tensor, ...]], tuple[Tensor, ...]] | None = None
    remarks: tuple[Callable[[Trials], str], ...] = ()
    locate: Callable[[Trials], str] | None = None

    def questions(self, seed: int) -> list[Question]:
        """The questions, with fresh random inputs for each seed."""
        return self.ask_about(seed)

    def listener(self, questions: list[Question]) -> Listener:
        """Hears what an answer says to the questions."""
        blind = adapter.blind(questions)
        return partial(adapter.ask_all, form=self.form, questions=blind)

    def judge(
        self, questions: list[Question], hearing: Hearing, out_of: int
    ) -> Verdict:
        """Compare with the oracle, then with the known wrong versions."""
        if hearing.problem:
            return failing(hearing.problem)
        hearing = self.fitting(questions, named(hearing, questions))
        trials = self.trials(questions, hearing)
        if trials[questions[0].name].reply.problem == adapter.not_answered():
            return failing(adapter.not_answered())
        failures = judge.evaluate(self.properties, trials)
        if not failures:
            remarks = filter(None, (remark(trials) for remark in self.remarks))
            text = "\n".join([f"All {len(self.properties)} properties hold.", *remarks])
            return Verdict(out_of, True, (), judge.with_remark(text, hearing))
        return self.diagnose(questions, hearing, trials, failures, out_of)

    def trials(self, questions: list[Question], hearing: Hearing) -> Trials:
        """Each question beside its reply and what is right."""
        return {q.name: self.trial(q, hearing.replies[q.name]) for q in questions}

    def trial(
        self, question: Question, reply: Reply, known: Trial | None = None
    ) -> Trial:
        """A question beside its reply and what is right.

        known: a trial of the same question, whose right outputs may serve again.
        """
        if question.refused:
            return Trial(question, reply, (), {})
        drawn = reply.outputs
        if self.settle and drawn:
            reply = replace(reply, outputs=self.settle(question, drawn))
        if known and known.reply.taken == reply.taken:
            return Trial(question, reply, known.expected, known.gradients, drawn)
        return Trial(question, reply, *self.oracle(question, reply.taken), drawn)

    def fitting(self, questions: list[Question], hearing: Hearing) -> Hearing:
        """The hearing whose square matrices are set the right way round."""
        if not hearing.turned:
            return hearing
        return min(
            (hearing, replace(hearing.turned, printed=hearing.printed)),
            key=lambda h: len(judge.wrong_questions(self.trials(questions, h))),
        )

    def diagnose(
        self,
        questions: list[Question],
        hearing: Hearing,
        trials: Trials,
        failures: list[Failure],
        out_of: int,
    ) -> Verdict:
        """Name what is recognised, and say what was seen."""
        recognised, explained = self.recognise(questions, trials)
        if self.bug and recognised == [self.bug]:
            text = "Not answered yet: this is still the version with the bug."
            return failing(Problem("not-answered", text))
        rest = [f for f in failures if f.property.name not in explained]
        rest = judge.telling(rest)
        names = [m.name for m in recognised] + [f.problem.name for f in rest]
        explained_by_name = not recognised and bool(rest[0].problem.name)
        example = "" if explained_by_name else judge.picture(trials, self.show)
        if recognised and self.locate:
            example = "\n".join(filter(None, [self.locate(trials), example]))
        message = judge.explain(recognised, rest, example)
        return Verdict(
            judge.points_for(failures, out_of),
            False,
            tuple(dict.fromkeys(filter(None, names))),
            judge.with_remark(message, hearing),
        )

    def recognise(
        self, questions: list[Question], trials: Trials
    ) -> tuple[list[Misconception], set[str]]:
        """The known wrong versions that behave alike, and the properties they fail."""
        if self.form.is_class:
            questions = [without_biases(q, trials[q.name].reply) for q in questions]
        recognised, explained = {}, set()
        for misconception in self.bank:
            wrong = self.trials_alike(misconception, questions, trials)
            if judge.recognises(wrong, trials):
                recognised[misconception] = judge.wrong_questions(wrong)
                failures = judge.evaluate(self.properties, wrong)
                explained |= {failure.property.name for failure in failures}
        # One that explains all that another does, and more, makes it superfluous.
        largest = [
            misconception
            for misconception, names in recognised.items()
            if not any(names < others for others in recognised.values())
        ]
        return largest, explained

    def trials_alike(
        self, misconception: Misconception, questions: list[Question], trials: Trials
    ) -> Trials:
        """What a known wrong version says; nothing if it is not what the answer said.

        Most part ways at the first question. They are the course's own and run without
        guard, which makes torch several times slower.
        """
        said = {}
        with repeatable():
            for question in questions:
                reply = adapter.ask(misconception.wrong, self.form, question)
                known = trials[question.name]
                said[question.name] = self.trial(question, reply, known)
                if not judge.behaves_as(said, trials):
                    return {}
        return said


def named(hearing: Hearing, questions: list[Question]) -> Hearing:
    """The hearing with its replies by the questions' names, not by their places.

    What it took counts as far as it was given: a forged hearing may name anything.
    """
    replies = {}
    for i, question in enumerate(questions):
        reply = hearing.replies[str(i)]
        taken = set(reply.taken)
        given = tuple(name for name in question.parameters if name in taken)
        replies[question.name] = replace(reply, taken=given)
    turned = hearing.turned and named(hearing.turned, questions)
    return replace(hearing, replies=replies, turned=turned)


def without_biases(question: Question, reply: Reply) -> Question:
    """The question with 0 for each bias that an answer was built without."""
    if reply.problem:  # what it has is not known
        return question
    parameters = {
        name: value * 0 if name.endswith("bias") and name not in reply.taken else value
        for name, value in question.parameters.items()
    }
    return replace(question, parameters=parameters)


@dataclass(frozen=True)
class Wrong:
    """A wrong prediction that says what was thought."""

    name: str
    seen: str
    ask: str


@dataclass(frozen=True)
class PredictNumbers:
    """The student predicts numbers; known wrong numbers explain themselves.

    right: the numbers. names: what each of them is, as a sentence begins.
    wrong: misconceptions with the numbers that they lead to. tolerance: absolute.
    """

    right: tuple[float, ...]
    names: tuple[str, ...]
    wrong: tuple[tuple[tuple[float, ...], Misconception | Wrong], ...]
    ask: str
    again: str
    tolerance: float = 0.01

    def questions(self, seed: int) -> list[Question]:
        """Nothing to ask: the answer is the numbers themselves."""
        return []

    def listener(self, questions: list[Question]) -> Listener:
        """Hears the numbers as floats."""
        return partial(adapter.read_numbers, count=len(self.right))

    def judge(
        self, questions: list[Question], hearing: Hearing, out_of: int
    ) -> Verdict:
        """Equal up to the tolerance, or equal to what a misconception leads to."""
        if hearing.problem:
            return failing(hearing.problem)
        given = hearing.replies["numbers"]
        if self.near(given, self.right):
            return Verdict(out_of, True, (), "All numbers are right.")
        for numbers, misconception in self.wrong:
            if self.near(given, numbers):
                return failing(
                    Problem(misconception.name, misconception.seen), misconception.ask
                )
        text = self.first_wrong(given)
        return Verdict(0, False, (), judge.with_question(text, self.ask))

    def first_wrong(self, given: list[float]) -> str:
        """The first number that is not right, by its name."""
        for name, got, right in zip(self.names, given, self.right, strict=True):
            if not self.near([got], [right]):
                return f"{name} is not {got:.10g}."
        return ""

    def near(self, given: Sequence[float], numbers: Sequence[float]) -> bool:
        """All numbers agree."""
        return len(given) == len(numbers) and all(
            math.isclose(a, b, rel_tol=0, abs_tol=self.tolerance)
            for a, b in zip(given, numbers, strict=True)
        )


@dataclass(frozen=True)
class Choose:
    """The student picks a letter; every wrong choice explains itself."""

    right: str
    because: str
    wrong: dict[str, Wrong]
    again: str

    def questions(self, seed: int) -> list[Question]:
        """Nothing to ask: the answer is the letter itself."""
        return []

    def listener(self, questions: list[Question]) -> Listener:
        """Hears the letter, in capitals."""
        letters = "".join(sorted([self.right, *self.wrong]))
        return partial(adapter.read_letter, letters=letters)

    def judge(
        self, questions: list[Question], hearing: Hearing, out_of: int
    ) -> Verdict:
        """The right letter, or what the wrong one means."""
        if hearing.problem:
            return failing(hearing.problem)
        letter = hearing.replies["letter"]
        if letter == self.right:
            return Verdict(out_of, True, (), self.because)
        wrong = self.wrong[letter]
        return failing(Problem(wrong.name, wrong.seen), wrong.ask)


@dataclass(frozen=True)
class Claim:
    """A statement to judge.

    verdict: the right word. others: each wrong word → why it does not fit.
    ask: the question that leads on.
    """

    verdict: str
    others: dict[str, str]
    ask: str


@dataclass(frozen=True)
class Verdicts:
    """The student judges several claims, each with one word."""

    claims: dict[str, Claim]
    words: tuple[str, ...]
    again: str

    def questions(self, seed: int) -> list[Question]:
        """Nothing to ask: the answer is the words themselves."""
        return []

    def listener(self, questions: list[Question]) -> Listener:
        """Hears claim → the chosen word; None for a claim that is still open."""
        options = dict.fromkeys(self.claims, self.words)
        return partial(adapter.read_choices, options=options)

    def judge(
        self, questions: list[Question], hearing: Hearing, out_of: int
    ) -> Verdict:
        """Points for the claims judged rightly; why each of the others is not."""
        if hearing.problem:
            return failing(hearing.problem)
        chosen = hearing.replies
        missed = {n: c for n, c in self.claims.items() if chosen[n] != c.verdict}
        if not missed:
            text = f"All {len(self.claims)} verdicts are right."
            return Verdict(out_of, True, (), text)
        wrong = {n: c for n, c in missed.items() if chosen[n]}
        lines = [
            f"{n}: not {chosen[n]}. {c.others[chosen[n]]}" for n, c in wrong.items()
        ]
        if len(wrong) < len(missed):
            still_open = (n for n in missed if n not in wrong)
            lines.append(f"Not judged yet: {', '.join(still_open)}.")
        ask = next((c.ask for c in wrong.values()), "")
        points = out_of * (len(self.claims) - len(missed)) // len(self.claims)
        names = tuple(f"{n}-called-{chosen[n]}".replace("_", "-") for n in wrong)
        text = judge.with_question("\n".join(lines), ask)
        return Verdict(points, False, names, text)


@dataclass(frozen=True)
class BreakIt:
    """The student writes a test; it must pass right versions and fail wrong ones.

    right: versions that a good test passes. wrong: versions that it must fail.
    """

    right: tuple[Callable, ...]
    wrong: tuple[Misconception, ...]
    ask: str
    again: str

    def questions(self, seed: int) -> list[str]:
        """The names of the versions, in an order that the test cannot know."""
        names = [f"right {i}" for i in range(len(self.right))]
        names += [misconception.name for misconception in self.wrong]
        random.Random(seed).shuffle(names)
        return names

    def listener(self, questions: list[str]) -> Listener:
        """Hears what a test says of each version."""
        versions = {f"right {i}": part for i, part in enumerate(self.right)}
        versions |= {m.name: m.wrong for m in self.wrong}
        in_order = [adapter.lent(versions[name]) for name in questions]
        return partial(adapter.ask_test, versions=in_order)

    def judge(self, questions: list[str], hearing: Hearing, out_of: int) -> Verdict:
        """First the right versions must pass, then each wrong one must fail."""
        if hearing.problem:
            return failing(hearing.problem)
        said = {n: hearing.replies[str(i)] for i, n in enumerate(questions)}
        for name in sorted(n for n in questions if n.startswith("right")):
            refusal = refused(said[name])
            if refusal:
                ask = (
                    "What may a right version do that your test forbids, such as "
                    "rounding in another way?"
                )
                return failing(Problem("test-rejects-right", refusal), ask)
        missed = [m for m in self.wrong if accepted(said[m.name])]
        if not missed:
            count = len(self.wrong)
            text = f"Your test passes right versions and fails {count} wrong ones."
            return Verdict(out_of, True, (), judge.with_remark(text, hearing))
        return self.too_kind(said, missed, out_of)

    def too_kind(self, said: dict, missed: list[Misconception], out_of: int) -> Verdict:
        """The test passes a wrong version."""
        lines = [f"Your test also passes {m.name}: {m.seen}" for m in missed]
        if set(said.values()) == {"silent"}:
            lines.insert(0, "Your test neither returned a value nor raised.")
        points = out_of * (len(self.wrong) - len(missed)) // len(self.wrong)
        text = judge.with_question("\n".join(lines), self.ask)
        return Verdict(points, False, ("test-accepts-wrong",), text)


def accepted(said: str | Problem) -> bool:
    """The test has nothing against this version."""
    return said in ("yes", "silent")


def refused(said: str | Problem) -> str:
    """Why a test does not pass a right version; '' if it does."""
    if accepted(said):
        return ""
    if isinstance(said, Problem):
        return f"On a right version your test stopped. {said.text}"
    return "Your test says no to a right version."


Task = Implement | PredictNumbers | Choose | Verdicts | BreakIt
