"""What does not depend on an answer: computed once in a process, for equal questions.

Marking asks all submissions the same; and the small questions, which messages show, are
the same for every seed.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from vit_encoder.check.hearing import asking
from vit_encoder.check.hearing.data import Form, Question, Reply
from vit_encoder.check.judging.misconceptions import Misconception

Oracle = Callable[[Question, tuple[str, ...]], tuple[tuple[Tensor, ...], dict]]


@lru_cache(maxsize=2000)
def right(oracle: Oracle, question: Question, taken: tuple[str, ...]) -> tuple:
    """What an oracle gives."""
    return oracle(question, taken)


@lru_cache(maxsize=5000)
def said(wrong: Misconception, form: Form, question: Question, place: int) -> Reply:
    """What a known wrong version says to a question at this place of a list.

    It is the course's own and runs without guard, which makes torch several times
    slower. Call it where random numbers may be seeded.
    """
    torch.default_generator.manual_seed(place)
    return asking.ask(wrong.wrong, form, question)
