"""What does not depend on an answer: computed once in a process, for equal questions.

Marking asks all submissions the same; and small questions, which messages show, are
the same for every seed.
"""

from collections.abc import Callable, Hashable
from functools import lru_cache

import torch
from torch import Tensor

from vit_encoder.check.hearing import asking
from vit_encoder.check.hearing.data import Form, Question, Reply
from vit_encoder.check.judging.misconceptions import Misconception

Oracle = Callable[[Question, tuple[str, ...]], tuple[tuple[Tensor, ...], dict]]
MOST = 5000  # replies; the one that was not looked for the longest goes first
REPLIES: dict[Hashable, Reply] = {}


@lru_cache(maxsize=2000)  # a forged hearing may name any parameters
def right(oracle: Oracle, question: Question, taken: tuple[str, ...]) -> tuple:
    """What an oracle gives."""
    return oracle(question, taken)


def said(wrong: Misconception, form: Form, question: Question, place: int) -> Reply:
    """What a known wrong version says to a question at this place of a list.

    It is the course's own and runs without guard, which makes torch several times
    slower. Call it where random numbers may be seeded.
    """
    key = wrong, form, question, place
    if key not in REPLIES:
        torch.default_generator.manual_seed(place)
        REPLIES[key] = asking.ask(wrong.wrong, form, question)
        if len(REPLIES) > MOST:
            del REPLIES[next(iter(REPLIES))]
    REPLIES[key] = REPLIES.pop(key)
    return REPLIES[key]


def is_said(wrong: Misconception, form: Form, question: Question, place: int) -> bool:
    """It is kept what a known wrong version says."""
    return (wrong, form, question, place) in REPLIES
