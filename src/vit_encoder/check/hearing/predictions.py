"""Read a prediction: numbers, a letter, or a word for each of several claims.

What a student plainly means is read, however it is written. Else a Problem says what
was expected and what came.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterator

from torch import Tensor

from vit_encoder.check.hearing.data import Hearing, Problem, ProblemError
from vit_encoder.check.hearing.errors import describe, not_answered, unwritten
from vit_encoder.check.hearing.exceptions import raised
from vit_encoder.check.hearing.guard import TimeUp, under_guard

MOST = 1000  # numbers that are read
DEEPEST = 9  # lists inside one another
LISTED = 6  # names that a message lists
LOOKALIKES = str.maketrans("АВСЕΑΒΕ", "ABCEABE")  # Cyrillic and Greek


def read_numbers(answer: object, names: list[str]) -> Hearing:
    """A prediction of numbers, as floats; lists may be nested.

    names: what each of the numbers is.
    """
    return heard(lambda: {"numbers": numbers_of(answer, names)})


def read_letter(answer: object, choices: dict[str, str]) -> Hearing:
    """A choice, as one capital letter. choices: letter → text."""
    return heard(lambda: {"letter": letter_of(answer, choices)})


def read_words(answer: object, claims: list[str], words: list[str]) -> Hearing:
    """A dictionary with one word for each claim; None for one that is still open."""
    return heard(lambda: words_of(answer, claims, words))


def heard(read: Callable[[], dict]) -> Hearing:
    """What `read` gives, or why there is nothing: an answer may be any object."""
    replies: dict = {}
    problems: list[Problem] = []

    def put_questions():
        try:
            replies.update(read())
        except ProblemError as error:
            problems.append(error.problem)
        except (TimeUp, KeyboardInterrupt):
            raise
        except BaseException as error:
            problems.append(raised(error))

    hearing = under_guard(put_questions, replies)
    problem = hearing.problem or (problems[0] if problems else None)
    return Hearing(hearing.replies, problem, hearing.printed)


def unfit(text: str) -> ProblemError:
    """The answer is not of the kind that is asked for."""
    return ProblemError("wrong-kind", text)


def still_open() -> ProblemError:
    """Nothing has been answered."""
    problem = not_answered()
    return ProblemError(problem.name, problem.text)


# Numbers


class NoNumberError(Exception):
    """Something among the numbers is none; its text says what it is."""


def numbers_of(answer: object, names: list[str]) -> list[float]:
    """The numbers in an answer, as many as there are names."""
    found: list[float | None] = []
    wanted = f"{len(names)} numbers in a list"
    try:
        for number in numbers_in(answer):
            found.append(number)
            if len(found) > MOST:
                raise unfit(f"Give {wanted}, not more than {MOST}.")
    except NoNumberError as error:
        if not isinstance(answer, list | tuple):
            raise unfit(f"Give {wanted}, not {error}.") from None
        place = [*names, f"number {len(found) + 1}"][min(len(found), len(names))]
        raise unfit(f"Give {wanted}. {sentence(place)} is {error}.") from None
    if found and not any(number is not None for number in found):
        raise still_open()
    if len(found) != len(names):
        text = f"Give {wanted}, not {len(found)} of them."
        raise unfit(text + which(names) + about_commas(found, names))
    missing = [n for n, number in zip(names, found, strict=True) if number is None]
    if missing:
        raise ProblemError("still-open", f"Still open: {', '.join(missing)}.")
    return found


def numbers_in(thing: object, depth: int = 0) -> Iterator[float | None]:
    """The numbers in whatever holds some, in order; None for one that is open."""
    if unwritten(thing):
        yield None
        return
    if isinstance(thing, str):
        yield from numbers_in_text(thing)
        return
    if hasattr(thing, "tolist"):  # of torch or numpy
        size = thing.numel() if isinstance(thing, Tensor) else thing.size
        if size > MOST:
            raise NoNumberError(f"{describe(thing)} with {size} entries")
        try:
            thing = thing.tolist()
        except (RuntimeError, NotImplementedError):  # meta, sparse, nested
            text = f"{describe(thing)} whose numbers cannot be read"
            raise NoNumberError(text) from None
    if isinstance(thing, dict):
        thing = [*thing.values()]
    if isinstance(thing, set | frozenset):
        raise NoNumberError("a set, which has no order")
    parts = None if isinstance(thing, type | bool | complex) else iterator(thing)
    if parts is None:
        yield number(thing)
    elif parts is thing:
        raise NoNumberError(f"{describe(thing)}, which can be read only once")
    elif depth == DEEPEST:
        raise NoNumberError(f"in more than {DEEPEST} lists")
    else:
        for part in parts:
            yield from numbers_in(part, depth + 1)


def iterator(thing: object) -> Iterator | None:
    """What gives its parts one after the other; None if it has no parts."""
    try:
        return iter(thing)
    except TypeError:
        return None


def number(thing: object) -> float:
    """A number of whatever type, as a float. NoNumberError if it is none."""
    if isinstance(thing, bool | complex):
        raise NoNumberError(f"{thing}")
    try:
        found = float(thing)
    except OverflowError:
        raise NoNumberError("larger than any number in float64") from None
    except TypeError:
        raise NoNumberError(describe(thing)) from None
    if not math.isfinite(found):
        raise NoNumberError(f"{found}")
    return found


def numbers_in_text(text: str) -> Iterator[float]:
    """The numbers in a text such as "0.25", "25 %", "1/4" or "[1, 2]"."""
    plain = unicodedata.normalize("NFKC", text).replace("−", "-")
    plain = re.sub(r"\s*(%|/)\s*", r"\1", plain.strip("[](){}\"'` \n\t"))
    for part in re.split(r"[\s,;]+", plain):
        above, _, below = part.rstrip("%").partition("/")
        try:
            value = float(above) / float(below or 1)
        except (ValueError, ZeroDivisionError):
            raise NoNumberError(f"the text {shown(text)}") from None
        yield number(value / 100 if part.endswith("%") else value)


def which(names: list[str]) -> str:
    """A sentence that lists what is asked for, if it is short."""
    return f" They are: {', '.join(names)}." if len(names) <= LISTED else ""


def about_commas(found: list[float | None], names: list[str]) -> str:
    """A hint where a comma may stand inside numbers, as in 58,080 or 0,25."""
    pieces = [n for n in found if n is not None and n == int(n) and 0 <= n < 1000]
    many = len(found) > len(names) and len(pieces) == len(found)
    hint = " A comma inside a number makes two of it: write 0.25, and 1000."
    return hint if many and max(pieces) >= 10 else ""


# Letters


def letter_of(answer: object, choices: dict[str, str]) -> str:
    """The letter that an answer names, or whose text it holds."""
    if unwritten(answer):
        raise still_open()
    wanted = f"Give one of the letters {', '.join(choices)} in quotes"
    if isinstance(answer, list | tuple | set | frozenset) and len(answer) == 1:
        (answer,) = answer
    if not isinstance(answer, str):
        raise unfit(f"{wanted}, not {describe(answer)}.")
    plain = unicodedata.normalize("NFKC", answer).strip()
    folded = fold(plain)
    for letter, text in choices.items():
        if folded in (fold(text), fold(f"{letter}{text}")):
            return letter
    word = r"(?:choice|answer|option|letter)?[\W_]*"
    named = re.fullmatch(rf"[\W_]*{word}([A-Z])[\W_]*", upper(plain), re.IGNORECASE)
    if not named:
        raise unfit(f"{wanted}, and nothing else. You gave {shown(answer)}.")
    if named[1] not in choices:
        raise unfit(f"{wanted}. There is no choice {named[1]}.")
    return named[1]


def upper(text: str) -> str:
    """In capitals, with those of other alphabets that look like Latin ones as Latin."""
    return text.upper().translate(LOOKALIKES)


def fold(text: str) -> str:
    """A text without case, spaces and marks, but with its signs."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("−", "-")
    return re.sub(r"[^\w+-]", "", text)


# Words


def words_of(answer: object, claims: list[str], words: list[str]) -> dict:
    """Claim → the chosen word, or None."""
    if unwritten(answer):
        raise still_open()
    keys = ", ".join(claims)
    if not isinstance(answer, dict):
        text = f"Give a dictionary with the keys {keys}, not {describe(answer)}."
        raise unfit(text)
    known = {fold(claim): claim for claim in claims}
    unknown = [key for key in answer if fold(str(key)) not in known]
    if unknown:
        named = ", ".join(map(shown, unknown[:3]))
        raise unfit(f"No claim is called {named}. The keys are {keys}.")
    given = {known[fold(str(key))]: word for key, word in answer.items()}
    if all(map(unwritten, given.values())):
        raise still_open()
    chosen: dict[str, str | None] = dict.fromkeys(claims)
    for claim, word in given.items():
        if not unwritten(word):
            chosen[claim] = word_of(claim, word, words)
    return chosen


def word_of(claim: str, word: object, words: list[str]) -> str:
    """One of the words, in small letters."""
    folded = fold(word) if isinstance(word, str) else ""
    for known in words:
        if folded == fold(known):
            return known
    raise unfit(
        f"For {claim}, give one of the words {', '.join(words)}, not {shown(word)}."
    )


# Text


def sentence(text: str) -> str:
    """As a sentence begins."""
    return text[:1].upper() + text[1:]


def shown(thing: object) -> str:
    """A thing as it is typed, on one line and not too long."""
    text = " ".join(repr(thing).split())
    return text if len(text) <= 40 else f"{text[:39]}…"
