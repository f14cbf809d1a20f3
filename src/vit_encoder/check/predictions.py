"""Tasks whose answer is a prediction: numbers, a letter, or words.

They offer what the tasks of `vit_encoder.check.tasks` offer.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from vit_encoder.check.hearing import predictions
from vit_encoder.check.hearing.data import Hearing, Problem, Question
from vit_encoder.check.judging.verdicts import Verdict, failing, with_question

Listener = Callable[[object], Hearing]


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
    tolerance: float = 0.01

    def questions(self, seed: int) -> list[Question]:
        """Nothing to ask: the answer is the numbers themselves."""
        return []

    def listener(self, questions: list[Question]) -> Listener:
        """Hears the numbers as floats."""
        return partial(predictions.read_numbers, count=len(self.right))

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
                wrong = misconception
                return failing(Problem(wrong.name, wrong.seen, wrong.ask))
        text = self.first_wrong(given)
        return Verdict(0, False, (), with_question(text, self.ask))

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

    def questions(self, seed: int) -> list[Question]:
        """Nothing to ask: the answer is the letter itself."""
        return []

    def listener(self, questions: list[Question]) -> Listener:
        """Hears the letter, in capitals."""
        letters = "".join(sorted([self.right, *self.wrong]))
        return partial(predictions.read_letter, letters=letters)

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
        return failing(Problem(wrong.name, wrong.seen, wrong.ask))


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

    def questions(self, seed: int) -> list[Question]:
        """Nothing to ask: the answer is the words themselves."""
        return []

    def listener(self, questions: list[Question]) -> Listener:
        """Hears claim → the chosen word; None for a claim that is still open."""
        options = dict.fromkeys(self.claims, self.words)
        return partial(predictions.read_choices, options=options)

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
        text = with_question("\n".join(lines), ask)
        return Verdict(points, False, names, text)


Prediction = PredictNumbers | Choose | Verdicts
