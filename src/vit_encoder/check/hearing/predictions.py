"""Read a prediction: numbers, a letter, or a word for each of several things."""

import torch

from vit_encoder.check.hearing.data import Hearing, Problem
from vit_encoder.check.hearing.errors import describe, not_answered, unwritten


def read_numbers(answer: object, count: int) -> Hearing:
    """A prediction of numbers, as floats; lists may be nested."""
    listed = isinstance(answer, list | tuple)
    if unwritten(answer) or (listed and answer and all(map(unwritten, answer))):
        return Hearing({}, not_answered())
    try:
        flat = flatten(answer)
    except Exception:
        given = "not all entries are numbers" if listed else f"not {describe(answer)}"
        return Hearing({}, wrong_numbers(count, given))
    if len(flat) != count:
        return Hearing({}, wrong_numbers(count, f"not {len(flat)} of them"))
    return Hearing({"numbers": flat})


def wrong_numbers(count: int, given: str) -> Problem:
    """What came is no list of this many numbers."""
    return Problem("wrong-kind", f"Give {count} numbers in a list, {given}.")


def flatten(numbers: object) -> list[float]:
    """A number, a tensor, an array, or lists of them, as one list."""
    if isinstance(numbers, list | tuple):
        return [x for part in numbers for x in flatten(part)]
    return torch.as_tensor(numbers, dtype=torch.float64).flatten().tolist()


def read_letter(answer: object, letters: str) -> Hearing:
    """A choice, as one capital letter."""
    if unwritten(answer):
        return Hearing({}, not_answered())
    letter = answer.strip().upper() if isinstance(answer, str) else ""
    if len(letter) != 1 or letter not in letters:
        text = f"Give one of the letters {', '.join(letters)} in quotes."
        return Hearing({}, Problem("wrong-kind", text))
    return Hearing({"letter": letter})


def read_choices(answer: object, options: dict[str, tuple[str, ...]]) -> Hearing:
    """A dictionary with one word for each name; None for one that is still open.

    options: name → the words to choose from.
    """
    if unwritten(answer):
        return Hearing({}, not_answered())
    if not isinstance(answer, dict) or not set(answer) <= set(options):
        text = f"Give a dictionary with the keys {', '.join(options)}."
        return Hearing({}, Problem("wrong-kind", text))
    if all(map(unwritten, answer.values())):
        return Hearing({}, not_answered())
    chosen: dict[str, str | None] = dict.fromkeys(options)
    for name, word in answer.items():
        if unwritten(word):
            continue
        chosen[name] = word.strip().lower() if isinstance(word, str) else ""
        if chosen[name] not in options[name]:
            text = f"For {name}, give one of the words {', '.join(options[name])}."
            return Hearing({}, Problem("wrong-kind", text))
    return Hearing(chosen)
