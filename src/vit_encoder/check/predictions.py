"""Tasks whose answer is a prediction: a letter, numbers, or a word for each claim.

They offer what the tasks of `vit_encoder.check.tasks` offer. What they hold is declared
in the exercises' sources; `make sync` makes the catalogue and the file read here.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import resources

from vit_encoder.check.hearing import predictions
from vit_encoder.check.hearing.data import Hearing, Problem
from vit_encoder.check.hearing.predictions import sentence, which
from vit_encoder.check.judging.verdicts import Verdict, failing, with_question

Listener = Callable[[object], Hearing]
ALIKE = 0.004  # two numbers have the same digits, whatever their size
CLOSE = 0.025  # as much may be a slip, or a small part
FACTORS = (2, 3, 4, 8)  # how often something is counted by mistake
LEAST = 10  # a multiple of less may be chance
FEW = 2  # numbers that a message names
MANY = 8  # numbers, of which a single wrong one is a slip


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
        found, left = self.recognize(given, wrong)
        if left and all(map(self.near, sorted(given), sorted(self.right))):
            text = f"These are the right numbers in another order.{which(self.names)}"
            return failing(Problem("another-order", text, self.asks[min(wrong)]))
        if left:
            found.append(self.first_wrong(given, min(left), alone=len(wrong) == 1))
        return verdict_of(found)

    def near(self, got: float, other: float) -> bool:
        """Equal up to the tolerance."""
        return math.isclose(got, other, rel_tol=0, abs_tol=self.tolerance * (1 + 1e-9))

    def recognize(
        self, given: list[float], wrong: set[int]
    ) -> tuple[list[Mistake], set[int]]:
        """The known mistakes that explain wrong numbers; the places that none does.

        What explains most comes first. A mistake whose numbers are not all given counts
        only if no other explains as many.
        """
        known = [self.compared(given, wrong, *pair) for pair in self.wrong]
        found, left = [], set(wrong)
        while likely := [match for match in known if match and match.places & left]:
            ranks = [(match.whole, len(match.places & left)) for match in likely]
            best = [
                m for m, rank in zip(likely, ranks, strict=True) if rank == max(ranks)
            ]
            if not best[0].whole and len({match.mistake.name for match in best}) > 1:
                break
            found.append(told(best[0], given))
            left -= best[0].places
        return found, left

    def compared(
        self,
        given: list[float],
        wrong: set[int],
        numbers: tuple[float | None, ...],
        mistake: Mistake,
    ) -> "Match | None":
        """The places where a known mistake gives what was given, if they say enough.

        More than half must fit, or one of two. Where a mistake leaves numbers right,
        the first must: others may follow from it, and fit another mistake by chance.
        """
        stated = {i for i, number in enumerate(numbers) if number is not None}
        places = {i for i in stated & wrong if self.near(given[i], numbers[i])}
        enough = len(stated) // 2 + 1 if len(stated) > 2 else 1
        leads = len(stated) == len(given) or min(stated) in places
        if not leads or len(places) < enough:
            return None
        if len(stated) > len(places) == 1 and self.clear_slip(given, *places):
            return None
        return Match(mistake, frozenset(places), places == stated)

    def clear_slip(self, given: list[float], place: int) -> bool:
        """The number is the right one but for a slip."""
        found = slip_in(given[place], self.right[place], self.tolerance)
        return bool(found and found.clear)

    def first_wrong(self, given: list[float], place: int, *, alone: bool) -> Mistake:
        """What can be said of a number that no known mistake explains.

        alone: all other numbers are right.
        """
        got, right, ask = given[place], self.right[place], self.asks[place]
        text = f"{sentence(self.names[place])} is not {got:.10g}."
        slip = slip_in(got, right, self.tolerance)
        if slip:
            return Mistake(
                slip.name, f"{text} {slip.remark}", "" if slip.clear else ask
            )
        if alone and len(self.right) >= MANY:
            return Mistake("one-number-off", f"{text} All others are right.", ask)
        return Mistake("", text, ask)


@dataclass(frozen=True)
class Match:
    """A known mistake, and where it gives the numbers that were given.

    whole: it does so wherever it says something.
    """

    mistake: Mistake
    places: frozenset[int]
    whole: bool


def told(match: Match, given: list[float]) -> Mistake:
    """The mistake, with the numbers that show it where they are few of several."""
    mistake = match.mistake
    if len(match.places) > FEW or len(match.places) == len(given):
        return mistake
    numbers = ", ".join(f"{given[i]:.10g}" for i in sorted(match.places))
    return replace(mistake, seen=f"{numbers}: {mistake.seen}")


def verdict_of(found: list[Mistake]) -> Verdict:
    """No points: what was seen first, with its question, and what else was."""
    first, *others = found
    names = tuple(dict.fromkeys(mistake.name for mistake in found if mistake.name))
    lines = [with_question(first.seen, first.ask)]
    lines += [f"Also seen: {mistake.seen}" for mistake in others]
    return Verdict(0, False, names, "\n".join(lines))


# Slips. Each test gets the number given, the right one, and the tolerance.


def has_wrong_sign(got: float, right: float, tolerance: float) -> bool:
    """Its size is right."""
    return abs(got + right) <= tolerance


def is_percent(got: float, right: float, tolerance: float) -> bool:
    """It is a share in percent."""
    return 0 < right < 1 and abs(got / 100 - right) <= tolerance


def is_too_coarse(got: float, right: float, _tolerance: float) -> bool:
    """It is the right number, rounded or cut to fewer digits."""
    digits = len(digits_of(got))
    unit = 10.0 ** (power_of(got) - digits + 1)  # what 1 in its last digit stands for
    least = 2 if is_whole(right) else 1  # one digit of a whole number says little
    missing = abs(right) - abs(got)
    return (
        got * right > 0
        and least <= digits < len(digits_of(right))
        and unit < abs(right)
        and -unit / 2 <= missing < unit
    )


def is_shifted(got: float, right: float, _tolerance: float) -> bool:
    """The digits are right, at least three of them, and the decimal point is not."""
    if len(digits_of(right)) < 3 or got * right <= 0:
        return False
    places = math.log10(got / right)
    return round(places) != 0 and abs(10 ** (places - round(places)) - 1) < ALIKE


def is_close(got: float, right: float, _tolerance: float) -> bool:
    """It is off by little, as where a small part is forgotten."""
    return is_whole(right) and abs(got - right) < CLOSE * abs(right)


def is_multiple(got: float, right: float, _tolerance: float) -> bool:
    """It is the right number some times."""
    return is_whole(right) and abs(right) >= LEAST and got / right in FACTORS


def is_part(got: float, right: float, _tolerance: float) -> bool:
    """The right number is this number some times."""
    return got != 0 and is_whole(right) and is_multiple(right, got, 0)


def is_whole(number: float) -> bool:
    """It is a whole number."""
    return float(number).is_integer()


def digits_of(number: float) -> str:
    """The digits of a number, without zeros at either end."""
    return f"{abs(number):.10e}".split("e")[0].replace(".", "").strip("0")


def power_of(number: float) -> int:
    """The power of ten of its first digit; 0 for 0."""
    return math.floor(math.log10(abs(number))) if number else 0


@dataclass(frozen=True)
class Slip:
    """How a number can be near the right one; clear: it needs no question."""

    name: str
    applies: Callable[[float, float, float], bool]
    remark: str
    clear: bool = False


SLIPS = (
    Slip("sign", has_wrong_sign, "Its size is right, its sign is not.", True),
    Slip("percent", is_percent, "It seems to be in percent: 1 % is 0.01.", True),
    Slip("too-coarse", is_too_coarse, "It needs more digits.", True),
    Slip(
        "shifted", is_shifted, "Its digits are right, its decimal point is not.", True
    ),
    Slip("close", is_close, "It is close, off by less than 3 %."),
    Slip("several-times", is_multiple, "Something is counted more than once."),
    Slip("a-part-of-it", is_part, "Something is left out."),
)


def slip_in(got: float, right: float, tolerance: float) -> Slip | None:
    """The slip that leads from the right number to this one."""
    if not math.isfinite(got):
        return None
    return next((slip for slip in SLIPS if slip.applies(got, right, tolerance)), None)


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
    known = entry["prediction"]
    module, _, name = entry["id"].partition(".")
    judged = _judged(module)[name]
    if "choices" in known:
        wrong = {letter: Mistake(**told) for letter, told in judged["wrong"].items()}
        return Choose(known["choices"], judged["right"], judged["because"], wrong)
    if "claims" in known:
        claims = {name: Claim(**told) for name, told in judged["claims"].items()}
        return JudgeClaims(tuple(known["words"]), claims)
    wrong = tuple(
        (tuple(numbers), Mistake(told["name"], told["seen"], told["ask"]))
        for told in judged["wrong"]
        for numbers in told["numbers"]
    )
    return PredictNumbers(
        tuple(known["numbers"]),
        tuple(judged["right"]),
        tuple(judged["asks"]),
        wrong,
        judged["tolerance"],
    )


@cache
def _judged(module: str) -> dict:
    """Prediction of a chapter → what is right, and what explains each wrong answer."""
    folder = resources.files("vit_encoder.check.judging") / "predictions"
    return json.loads((folder / f"{module}.json").read_text(encoding="utf-8"))
