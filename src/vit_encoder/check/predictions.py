"""Tasks whose answer is a prediction: a letter, numbers, or a word for each claim.

They offer what the tasks of `vit_encoder.check.tasks` offer. What they hold is declared
in the exercises' sources; `make sync` makes the catalogue and the file read here.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources

from vit_encoder.check.hearing import predictions
from vit_encoder.check.hearing.data import Hearing, Problem
from vit_encoder.check.hearing.predictions import sentence, which
from vit_encoder.check.judging.verdicts import Verdict, failing, with_question

Listener = Callable[[object], Hearing]
ALIKE = 0.004  # two numbers have the same digits, whatever their size


@dataclass(frozen=True)
class Mistake:
    """What a wrong prediction says of the thought behind it."""

    name: str
    seen: str
    ask: str


class Prediction:
    """A task whose answer is plain data."""

    def questions(self, seed: int) -> list:
        """Nothing to ask: the answer says all."""
        return []


@dataclass(frozen=True)
class Choose(Prediction):
    """The student picks a letter; every wrong choice explains itself.

    choices: letter → text. because: why the right one is right.
    """

    choices: dict[str, str]
    right: str
    because: str
    wrong: dict[str, Mistake]

    def listener(self, questions: list) -> Listener:
        """Hears the letter, in capitals."""
        return partial(predictions.read_letter, choices=self.choices)

    def judge(self, questions: list, hearing: Hearing, out_of: int) -> Verdict:
        """The right letter, or what the wrong one means."""
        if hearing.problem:
            return failing(hearing.problem)
        letter = hearing.replies["letter"]
        if letter == self.right:
            return Verdict(out_of, True, (), self.because)
        wrong = self.wrong[letter]
        return failing(Problem(wrong.name, wrong.seen, wrong.ask))


@dataclass(frozen=True)
class PredictNumbers(Prediction):
    """The student predicts numbers; known wrong numbers explain themselves.

    names: what each number is. right: the numbers. asks: a question about each.
    wrong: what a mistake leads to, with None for a number that it leaves right.
    tolerance: absolute.
    """

    names: tuple[str, ...]
    right: tuple[float, ...]
    asks: tuple[str, ...]
    wrong: tuple[tuple[tuple[float | None, ...], Mistake], ...]
    tolerance: float

    def listener(self, questions: list) -> Listener:
        """Hears the numbers as floats."""
        return partial(predictions.read_numbers, names=list(self.names))

    def judge(self, questions: list, hearing: Hearing, out_of: int) -> Verdict:
        """Right up to the tolerance, or what the wrong numbers say."""
        if hearing.problem:
            return failing(hearing.problem)
        given = hearing.replies["numbers"]
        pairs = enumerate(zip(given, self.right, strict=True))
        wrong = {i for i, (got, right) in pairs if not self.near(got, right)}
        if not wrong:
            return Verdict(out_of, True, (), "All numbers are right.")
        found, left = self.recognise(given, wrong)
        if left and all(map(self.near, sorted(given), sorted(self.right))):
            text = f"These are the right numbers in another order.{which(self.names)}"
            return failing(Problem("another-order", text, self.asks[min(wrong)]))
        if left:
            found.append(self.first_wrong(min(left), given[min(left)]))
        return verdict_of(found)

    def near(self, got: float, other: float) -> bool:
        """Equal up to the tolerance."""
        return math.isclose(got, other, rel_tol=0, abs_tol=self.tolerance * (1 + 1e-9))

    def recognise(
        self, given: list[float], wrong: set[int]
    ) -> tuple[list[Mistake], set[int]]:
        """The known mistakes that explain wrong numbers; those that none explains.

        A mistake with all its numbers comes first. With half of them it counts where
        no other explains as many.
        """
        found: list[Mistake] = []
        left = set(wrong)
        while left:
            ranked: dict[tuple[bool, int], list[tuple[Mistake, set[int]]]] = {}
            for numbers, mistake in self.wrong:
                stated = {i for i, n in enumerate(numbers) if n is not None}
                fits = {i for i in stated & wrong if self.near(given[i], numbers[i])}
                if fits & left and 2 * len(fits) >= len(stated):
                    rank = fits == stated, len(fits & left)
                    ranked.setdefault(rank, []).append((mistake, fits))
            if not ranked:
                break
            whole, _ = best = max(ranked)
            mistake, fits = ranked[best][0]
            if not whole and any(
                other.name != mistake.name for other, _ in ranked[best]
            ):
                break
            found.append(mistake)
            left -= fits
        return found, left

    def first_wrong(self, place: int, got: float) -> Mistake:
        """What can be said of a number that no known mistake explains."""
        name, right, ask = self.names[place], self.right[place], self.asks[place]
        text = f"{sentence(name)} is not {got:.10g}."
        if self.near(-got, right):
            return Mistake("sign", f"{text} Its size is right, its sign is not.", ask)
        if 0 < right < 1 and self.near(got / 100, right):
            ask = "What is 1 % as a number?"
            return Mistake("percent", f"{text} That is in percent.", ask)
        if too_coarse(got, right):
            return Mistake("too-coarse", f"{text} It needs more digits.", "")
        if shifted(got, right):
            ask = "Is a zero missing, or is it in thousands or millions?"
            return Mistake("shifted", f"{text} The digits are right.", ask)
        return Mistake("", text, ask)


def verdict_of(found: list[Mistake]) -> Verdict:
    """No points: what was seen first, with its question, and what else was."""
    first, *others = found
    names = tuple(dict.fromkeys(mistake.name for mistake in found if mistake.name))
    seen = dict.fromkeys(mistake.seen for mistake in others)
    seen.pop(first.seen, None)
    lines = [with_question(first.seen, first.ask), *(f"Also seen: {s}" for s in seen)]
    return Verdict(0, False, names, "\n".join(lines))


def digits_of(number: float) -> str:
    """The digits of a number, without zeros at either end."""
    return f"{abs(number):.10e}".split("e")[0].replace(".", "").strip("0")


def too_coarse(got: float, right: float) -> bool:
    """It is the right number, rounded or cut to fewer digits."""
    if not (got and right and math.isfinite(got)):
        return False
    digits = len(digits_of(got))
    unit = 10.0 ** (math.floor(math.log10(abs(got))) - digits + 1)  # of the last digit
    least = 2 if right == int(right) else 1  # of one digit, a whole number says little
    off = right - got if right > 0 else got - right
    return (
        least <= digits < len(digits_of(right))
        and unit < abs(right)
        and (-unit / 2 <= off < unit)
    )


def shifted(got: float, right: float) -> bool:
    """The digits are right, at least three of them, and the decimal point is not."""
    if len(digits_of(right)) < 3 or not got / right > 0:
        return False
    places = math.log10(got / right)
    return round(places) != 0 and abs(10 ** (places - round(places)) - 1) < ALIKE


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
class JudgeClaims(Prediction):
    """The student judges several claims, each with one word."""

    words: tuple[str, ...]
    claims: dict[str, Claim]

    def listener(self, questions: list) -> Listener:
        """Hears claim → the chosen word; None for a claim that is still open."""
        known = {"claims": list(self.claims), "words": list(self.words)}
        return partial(predictions.read_words, **known)

    def judge(self, questions: list, hearing: Hearing, out_of: int) -> Verdict:
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


def prediction(entry: dict) -> Prediction:
    """The task of an exercise. entry: the catalogue's, which has a `prediction`."""
    known, judged = entry["prediction"], _judged()[entry["id"]]
    if "choices" in known:
        wrong = {letter: Mistake(**told) for letter, told in judged["wrong"].items()}
        return Choose(known["choices"], judged["right"], judged["because"], wrong)
    if "claims" in known:
        claims = {name: Claim(**told) for name, told in judged["claims"].items()}
        return JudgeClaims(tuple(known["words"]), claims)
    wrong = tuple(
        (tuple(told["numbers"]), Mistake(told["name"], told["seen"], told["ask"]))
        for told in judged["wrong"]
    )
    return PredictNumbers(
        tuple(known["numbers"]),
        tuple(judged["right"]),
        tuple(judged["asks"]),
        wrong,
        judged["tolerance"],
    )


@cache
def _judged() -> dict:
    """Exercise → what is right, and what explains each wrong answer."""
    path = resources.files("vit_encoder.check.judging") / "predictions.json"
    return json.loads(path.read_text(encoding="utf-8"))["predictions"]
