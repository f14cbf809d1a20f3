"""A question beside what was answered and what is right."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from vit_encoder.check.hearing.data import Problem, Question, Reply
from vit_encoder.check.hearing.meanings import WHATEVER_COMES
from vit_encoder.check.judging.misconceptions import Misconception

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}  # absolute and relative
ROUNDED = 1e-5  # what float64 still agrees to when it was float32 on the way


class Fails(Exception):  # noqa: N818, it says what a property does
    """A property does not hold.

    text: what was seen. name: what it tells of the misunderstanding, or "". ask: the
    question that leads on, "" for none; None where the property's own fits.
    """

    def __init__(self, text: str, name: str = "", ask: str | None = None):
        super().__init__(text)
        self.problem = Problem(name, text, ask)

    @classmethod
    def because(cls, problem: Problem) -> Self:
        """It does not hold, as there is nothing to compare."""
        failure = cls(problem.text)
        failure.problem = problem
        return failure

    @classmethod
    def like(cls, wrong: Misconception, text: str = "") -> Self:
        """It does not hold, as in a known wrong version. text: in place of its own."""
        return cls(text or wrong.seen, wrong.name, wrong.ask)


@dataclass(frozen=True)
class Trial:
    """A question, what was answered, and what is right.

    expected: the outputs in float64. gradients: as in Reply, in float64.
    drawn: the outputs with what chance decided, which those in `reply` are without.
    """

    question: Question
    reply: Reply
    expected: tuple[Tensor, ...]
    gradients: dict[str, Tensor]
    drawn: tuple[Tensor, ...] = ()

    def problem(self) -> Problem | None:
        """Why the outputs cannot be compared number by number."""
        if self.question.refused:
            return None
        problem = self.reply.problem
        if problem and self.reply.errors and problem.name not in WHATEVER_COMES:
            return replace(problem, text=f"For {self.sizes()}: {problem.text}")
        if problem:
            return problem
        for got, expected in zip(self.reply.outputs, self.expected, strict=True):
            if got.shape != expected.shape:
                return self.wrong_shape(got, expected)
        return None

    def wrong_shape(self, got: Tensor, expected: Tensor) -> Problem:
        """Another shape came back than expected."""
        shapes = f"{tuple(got.shape)}, expected {tuple(expected.shape)}"
        text = f"It returned a tensor of shape {shapes}, for {self.sizes()}."
        without_ones = [size for size in expected.shape if size != 1]
        if got.ndim < expected.ndim and list(got.shape) == without_ones:
            ask = "Which axes does `squeeze()` remove if you name none?"
            return Problem("axis-squeezed", f"{text} Axes of size 1 are gone.", ask)
        return Problem("wrong-shape", text)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The outputs, of the expected shapes. Fails if there are none."""
        problem = self.problem()
        if problem:
            raise Fails.because(problem)
        return self.reply.outputs

    @property
    def output(self) -> Tensor:
        """The first output. Fails if there is none of the expected shape."""
        return self.outputs[0]

    def right(self, at_least: float = ROUNDED) -> bool:
        """The outputs are those of the oracle, up to a tolerance."""
        return self.is_right if at_least == ROUNDED else self.compare(at_least)

    @cached_property
    def is_right(self) -> bool:
        """The outputs are those of the oracle, as far as float32 holds them."""
        return self.compare(ROUNDED)

    def compare(self, at_least: float) -> bool:
        """The outputs are those of the oracle, up to a tolerance."""
        if self.question.refused:
            return "ValueError" in self.reply.errors
        if self.problem():
            return False
        pairs = zip(self.reply.outputs, self.expected, strict=True)
        return all(close(got, expected, at_least) for got, expected in pairs)

    def require_right(self, text: str = "", name: str = "") -> None:
        """Fails if the outputs are not the oracle's. text: what to say of it."""
        if not self.right():
            self.require_no_rounding()
            text = text or f"The numbers differ{self.by()}, for {self.sizes()}."
            raise Fails(text, name)

    def require_no_rounding(self) -> None:
        """Fails if the outputs are the oracle's, rounded to a few digits."""
        for got, expected in zip(self.outputs, self.expected, strict=True):
            digits = rounded_to(got, expected)
            if digits is not None:
                text = f"The numbers are rounded to {digits} digits behind the point."
                raise Fails(text, "rounded", "Who needs the digits that are cut off?")

    def by(self) -> str:
        """By how much the outputs differ at most, or what they have for numbers."""
        pairs = zip(self.reply.outputs, self.expected, strict=True)
        numbers = [
            (got[right.isfinite()], right[right.isfinite()])
            for got, right in pairs
            if got.device == right.device and got.shape == right.shape
        ]
        apart = [
            (got.double() - right).abs().max()
            for got, right in numbers
            if not close(got, right)
        ]
        most = max(apart, default=torch.tensor(0.0))
        if not most.isfinite():
            return f": some are {'nan' if most.isnan() else 'infinite'}"
        return f" by up to {float(most):.2g}" if most else ""

    def sizes(self) -> str:
        """The inputs' shapes and what a class was built with, for a message."""
        inputs = self.question.inputs
        shapes = [
            str(tuple(x.shape)) if isinstance(x, Tensor) else str(x) for x in inputs
        ]
        many = "inputs" if len(shapes) > 1 else "an input"
        text = f"{many} of shape {', '.join(shapes)}"
        if not all(isinstance(x, Tensor) for x in inputs):
            text = f"arguments ({', '.join(shapes)})"
        built = [f"{n} {value}" for n, value in self.question.arguments.items()]
        return f"{text} and a module built with {', '.join(built)}" if built else text


Trials = dict[str, Trial]


def close(got: Tensor, expected: Tensor, at_least: float = ROUNDED) -> bool:
    """Equal shapes and numbers, up to what the dtype can hold; nan equals nan."""
    if got.shape != expected.shape or got.device != expected.device:
        return False
    if got.is_complex():
        return False
    tolerance = tolerance_of(got, at_least)
    return torch.allclose(
        got.double(), expected.double(), tolerance, tolerance, equal_nan=True
    )


def tolerance_of(got: Tensor, at_least: float = ROUNDED) -> float:
    """How far numbers of this dtype may be off, absolute and relative."""
    return max(at_least, TOLERANCE.get(got.dtype, 1e-2))


def rounded_to(got: Tensor, expected: Tensor) -> int | None:
    """To how many digits behind the point the right numbers were rounded, if to any."""
    if got.device != expected.device or len(got.unique()) < 4:
        return None
    for digits in range(1, 6):
        step = 10.0**-digits
        on_grid = (got.double() / step - (got.double() / step).round()).abs() < 1e-3
        near = (got.double() - expected).abs() <= 0.51 * step
        if on_grid.all() and near.all() and not torch.equal(expected, expected.round()):
            return digits
    return None


def unchanged(before: Tensor, after: Tensor) -> bool:
    """Equal in shape and in every number; nan equals nan."""
    if before.shape != after.shape:
        return False
    return bool(((before == after) | (before.isnan() & after.isnan())).all())
