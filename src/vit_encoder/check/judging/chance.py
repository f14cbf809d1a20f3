"""What does not depend on chance in dropout.

Two right answers draw other gates, by one law: how many numbers become 0, by what the
others are multiplied, and whether neighbours are dropped together.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from vit_encoder.check.judging.trials import Fails

FEW = 1000  # too few numbers to tell a law by


class Law(NamedTuple):
    """How one tensor became another.

    zeros: the share of zeros. low, high: by what the others were multiplied.
    alike: for each axis, in which share of neighbours both are zero or neither is.
    """

    zeros: float
    low: float
    high: float
    alike: tuple[float, ...]

    @property
    def shared(self) -> bool:
        """Along some axis all numbers have one gate."""
        return 0.01 < self.zeros < 0.99 and max(self.alike) > 0.999

    @property
    def factors(self) -> str:
        """By what the numbers that are not zero were multiplied, for a message."""
        low, high = (f"{x:.2f}" for x in (self.low, self.high))
        return low if low == high else f"{low} to {high}"

    @property
    def told(self) -> list[float]:
        """Numbers that are the same for two draws by one law.

        Shares are rounded, to tenths and those of neighbours to quarters: choose p so
        that those of right answers lie far from where the rounding goes over.
        """
        if self.shared:  # then few gates were drawn, and the shares tell little
            return [float(a > 0.999) for a in self.alike]
        shares = [round(10 * self.zeros), *(round(4 * a) for a in self.alike)]
        return [*shares, self.low, self.high]


def law_of(x: Tensor, y: Tensor) -> Law:
    """The law by which x, without a zero in it, became y."""
    kept = y != 0
    factors = (y.double() / x.double())[kept]
    low, high = factors.aminmax() if len(factors) else (0.0, 0.0)
    alike = tuple(share(~kept.diff(dim=axis)) for axis in range(x.ndim))
    return Law(share(~kept), float(low), float(high), alike)


def share(true: Tensor) -> float:
    """The share of True."""
    return float(true.double().mean())


def percent(part: float) -> str:
    """A share as people write it."""
    return f"{100 * part:.0f} %"


def settled(x: Tensor, y: Tensor, *, columns: bool = False) -> Tensor:
    """The law by which x became y, in zeros like y; nothing of a small y.

    columns: a law for each column, and for each column and the next.
    """
    if y.is_meta or y.shape != x.shape:
        return y
    numbers = [] if columns else law_of(x, y).told
    if columns:
        for one, other in zip(x.unbind(-1), y.unbind(-1), strict=True):
            numbers += law_of(one, other).told
        alike = ~(y != 0).diff(dim=-1)
        numbers += (4 * alike.double().flatten(0, -2).mean(0)).round().tolist()
    result = torch.zeros_like(y).flatten()
    if y.numel() >= FEW:
        result[: len(numbers)] = torch.tensor(numbers).to(y.dtype)
    return result.view_as(y)


def gated(x: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """Dropout in training, with gates of its own."""
    kept = torch.bernoulli(torch.full_like(x, 1 - p), generator=generator)
    return x * kept / max(1 - p, 1e-9)


NOT_BY_CHANCE = "In training the zeros do not lie as chance would have them."


def require_drops(what: str, y: Tensor, p: float, times: int) -> None:
    """Fails if numbers that were all 1 did not meet dropout so many times.

    what: which numbers, for a message.
    """
    law, kept = law_of(torch.ones_like(y), y), (1 - p) ** times
    start = f"In training, with dropout {p:g}, {what}"
    if abs(law.zeros - (1 - kept)) > 0.05:
        wanted = f"expected about {percent(1 - kept)}"
        text = f"{start} become 0 in {percent(law.zeros)} of cases, {wanted}."
        raise Fails(text, "another-share")
    if not abs(law.low * kept - 1) + abs(law.high * kept - 1) < 1e-3:
        raise Fails(
            f"{start} become {law.factors} times as large where they do not become 0, "
            f"expected {1 / kept:.2f} times.",
            "another-scale",
        )
    if law.shared:
        raise Fails(f"{start} have gates in common: one serves many.", "shared-gates")
