"""What the chapters' questions and oracles are made of."""

import torch
from torch import Tensor

from vit_encoder.check.hearing.data import Question


class Normal:
    """Random float64 numbers and orders that depend on the seed alone."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(
            shape, generator=self.generator, dtype=torch.float64, device="cpu"
        )

    def order(self, count: int) -> Tensor:
        """An order of 0 to count - 1 that changes places."""
        start = torch.randint(1, count, (), generator=self.generator, device="cpu")
        return torch.arange(count, device="cpu").roll(int(start))


def small(*rows: list[float]) -> Tensor:
    """A float64 matrix for a message, from its rows."""
    return torch.tensor(rows, dtype=torch.float64, device="cpu")


def batch(x: Tensor) -> Tensor:
    """A batch of two: the matrix, and twice the matrix in reverse."""
    return torch.stack([x, 2 * x.flip(0)])


def with_nan(x: Tensor) -> Tensor:
    """A copy whose last number is nan."""
    x = x.clone()
    x.view(-1)[-1] = torch.nan
    return x


def edges(
    inputs: tuple, cotangent: Tensor | None = None, **given: object
) -> list[Question]:
    """What REPEATS and EDGES ask for: twice in float32, gradients, another device.

    inputs: of one call, with tensors of float64. cotangent: the gradient of its first
    output; without one gradients are not asked for. given: what else the question has,
    such as parameters.
    """
    narrow = tuple(
        x.float() if isinstance(x, Tensor) and x.is_floating_point() else x
        for x in inputs
    )
    return [
        Question("float32", narrow, **given),
        Question("float32 again", narrow, **given),
        Question("gradients", inputs, **given, cotangent=cotangent),
        Question("another device", inputs, **given, device="meta"),
    ]


def double(tensor: Tensor) -> Tensor:
    """A float64 copy that takes a gradient."""
    return tensor.detach().clone().double().requires_grad_()


def finish(
    question: Question, leaves: dict[str, Tensor], outputs: tuple[Tensor, ...]
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """What an oracle returns: the outputs, and the gradients if they are asked for.

    leaves: name → what the outputs were computed from.
    """
    gradients: dict[str, Tensor] = {}
    if question.cotangent is not None:
        found = torch.autograd.grad(
            outputs[0], list(leaves.values()), question.cotangent.double()
        )
        gradients = dict(zip(leaves, found, strict=True))
    return tuple(x.detach() for x in outputs), gradients
