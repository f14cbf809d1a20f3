"""Wrong answers with the reports that students get for them, for pages of the book."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from address import read_address
from sources import read_all
from vit_encoder.check import check, judged, task
from vit_encoder.check.report import Report
from vit_encoder.check.tasks import BreakIt, Implement

TASK = "self_attention.attention"
ANSWER = """\
def attention(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=-2)
    return weights @ v, weights"""


def report() -> str:
    """What `check` says of the answer."""
    return repr(check(TASK, made(ANSWER)))


def shown() -> str:
    """Both, as a page shows them."""
    return f"```python\n{ANSWER}\n```\n\n```text\n{report()}\n```"


def made(code: str) -> object:
    """What the code defines last."""
    names = {"math": math, "nn": nn, "torch": torch}
    exec(code, names)
    return list(names.values())[-1]


@dataclass(frozen=True)
class WrongAnswer:
    """A wrong answer to a task whose answer is code, and its report.

    what: the answer in words. code: what the student wrote, or "" where that would be
    all but the right answer, which stands nowhere in the book.
    """

    what: str
    code: str
    report: Report


def wrong_answer(id: str, test: str = "") -> WrongAnswer:
    """A wrong answer to a task. test: the code of one, where the answer is a test."""
    found = task(id)
    if isinstance(found, BreakIt):
        return WrongAnswer("a weak test", test, judged(id, made(test), 0))
    if found.bug:
        handed_in = judged(id, found.bug.wrong, 0)
        return WrongAnswer("the version with the bug", "", handed_in)
    return known_wrong(id, found)


def known_wrong(id: str, found: Implement) -> WrongAnswer:
    """The first known wrong version that the check names."""
    for version in found.misconceptions:
        said = judged(id, version.wrong, 0)
        if version.name in said.misconceptions:
            is_in_chapter = version.right.__module__ in modules_of_chapters()
            code = version.code() if is_in_chapter else ""
            return WrongAnswer("a wrong version", code, said)
    raise ValueError(f"{id}: the check names none of the known wrong versions.")


def modules_of_chapters() -> set[str]:
    """The modules whose code stands in a chapter."""
    sources = read_all(read_address())
    chapters = [s for s in sources if s.path.parent.name == "chapters"]
    return {f"vit_encoder.{source.module}" for source in chapters}
