"""What an answer returned, as plain tensors; or what came instead."""

import inspect
import sys

import torch
from torch import Tensor, nn

from vit_encoder.check.hearing.data import MOST_AXES, Form, ProblemError, Question
from vit_encoder.check.hearing.errors import describe, not_answered

FRACTIONS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
PLAIN = (*FRACTIONS, *WHOLE, torch.bool)
MOST = 2**20  # numbers in a tensor; a right answer returns some thousand
# What is returned in place of a tensor → name, what it means, the question.
INSTEAD = {
    "tuple": (
        "trailing-comma",
        "A comma at the end of a line makes a tuple of what stands before it.",
        "Is there a comma that should not be there?",
    ),
    "error": (
        "error-returned",
        "An error that is returned stops nothing: it is a value as any other.",
        "Which word makes an error stop a function?",
    ),
    "function": (
        "function-returned",
        "A function came back, not its result: it was not called.",
        "Which brackets call a function?",
    ),
    "layer": (
        "layer-returned",
        "A layer came back, not its output.",
        "What must a layer be given before there is an output?",
    ),
    "truth": (
        "truth-value-returned",
        "",
        "Does the task ask whether something is so, or for the numbers themselves?",
    ),
    "number": (
        "number-returned",
        "",
        "Which step made a plain number of a tensor, and which axes are gone?",
    ),
    "text": (
        "text-returned",
        "",
        "What should be handed on: numbers, or how they look?",
    ),
    "generator": (
        "generator-returned",
        "It would give its values one after the other, and has computed none yet.",
        "Is there a `yield`, or are there round brackets around a loop?",
    ),
    "array": (
        "numpy-returned",
        "Numpy keeps no record for gradients.",
        "Which function of torch does the same?",
    ),
    "not implemented": (
        "not-implemented-returned",
        "",
        "What should stand where `NotImplemented` stands?",
    ),
}


def read_outputs(
    result: object, form: Form, question: Question, printed: bool
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The returned tensors as they came, and plain copies of them.

    printed: the answer printed something. ProblemError says in one line what came
    instead of what the form asks for.
    """
    names = form.outputs
    wanted = f"a tuple ({', '.join(names)})" if len(names) > 1 else "one tensor"
    if result is Ellipsis:
        raise ProblemError("not-answered", not_answered().text)
    if result is None and printed:
        raise ProblemError(
            "printed-not-returned",
            f"It returned None, expected {wanted}. It printed something, and what is "
            "printed is not given back.",
            "How does a value get back to the line that called the function?",
        )
    if result is None:
        raise ProblemError(
            "returns-none",
            f"It returned None, expected {wanted}. Is there a `return`?",
            "",
        )
    outputs = result if len(names) > 1 else (result,)
    fits = isinstance(outputs, tuple) and len(outputs) == len(names)
    if not fits or not all(is_tensor(x) for x in outputs):
        raise ProblemError(*misfit(result, wanted))
    return outputs, tuple(plain_output(x, form, question) for x in outputs)


def is_tensor(thing: object) -> bool:
    """A tensor in truth, whatever its class says."""
    return issubclass(type(thing), Tensor)


def misfit(result: object, wanted: str) -> tuple[str, str, str]:
    """The name, text and question for something that is no tensor, or not as many."""
    text = f"It returned {described(result)}, expected {wanted}."
    odd = result
    if isinstance(result, tuple) and len(result) > 1:
        odd = next((x for x in result if not is_tensor(x)), result)
    name, means, ask = INSTEAD.get(kind_of(odd), ("wrong-type", "", ""))
    return name, f"{text} {means}".strip(), ask


def kind_of(thing: object) -> str:
    """The entry of INSTEAD for a thing, or ''."""
    kinds = {
        "tuple": isinstance(thing, tuple) and len(thing) == 1,
        "error": isinstance(thing, BaseException)
        or (inspect.isclass(thing) and issubclass(thing, BaseException)),
        "layer": isinstance(thing, nn.Module),
        "function": inspect.isroutine(thing),
        "array": type(thing).__module__ == "numpy",
        "truth": isinstance(thing, bool),
        "number": isinstance(thing, int | float | complex),
        "text": isinstance(thing, str),
        "generator": inspect.isgenerator(thing) or isinstance(thing, map | zip),
        "not implemented": thing is NotImplemented,
    }
    return next((kind for kind, fits in kinds.items() if fits), "")


def described(result: object) -> str:
    """A returned thing as a message names it, with what is in it."""
    if isinstance(result, tuple | list):
        inside = ", ".join(type(x).__name__ for x in result[:4])
        more = ", …" if len(result) > 4 else ""
        return f"a {type(result).__name__} of ({inside}{more})"
    return "one tensor" if is_tensor(result) else describe(result)


def plain_output(tensor: Tensor, form: Form, question: Question) -> Tensor:
    """A copy of a returned tensor. ProblemError if it is of another kind than asked."""
    kind = odd_class(tensor)
    came = tensor if kind else bare(tensor)
    kind = kind or odd_kind(came)
    if kind:
        raise ProblemError(
            "wrong-kind-of-tensor",
            f"It returned {kind}, expected an ordinary tensor.",
            "Which step made a tensor of this kind, and which one makes it ordinary?",
        )
    if not can_be_sent(came):
        text = f"It returned a tensor of shape {tuple(came.shape)}, far too large."
        ask = "Which axes should there be, and how long is each of them?"
        raise ProblemError("too-large", text, ask)
    if question.device != "meta" and came.device.type != question.device:
        text = f"It returned a tensor on the device {came.device.type}, expected "
        text += f"{question.device}, where its inputs are."
        ask = "A new tensor can ask an old one where it lives. Does yours?"
        raise ProblemError("device-changed", text, ask)
    require_dtype(came, form, question)
    return plain(came)


def can_be_sent(tensor: Tensor) -> bool:
    """It is not so large that marking would refuse it."""
    return tensor.numel() <= MOST and tensor.ndim <= MOST_AXES


def odd_class(tensor: Tensor) -> str:
    """What a tensor is that computes in a way of its own, or ''."""
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return "a tensor from inside torch.func"
    ordinary = type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__
    return "" if ordinary else f"a {type(tensor).__name__}"


def odd_kind(tensor: Tensor) -> str:
    """What sets a tensor apart that holds no plain table of numbers, or ''."""
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.layout != torch.strided:
        return f"a tensor of the layout {tensor.layout}"
    return "a functional tensor" if torch._is_functional_tensor(tensor) else ""


def require_dtype(came: Tensor, form: Form, question: Question) -> None:
    """ProblemError if fractions went in and something else than fractions came out."""
    wanted = next((x.dtype for x in question.inputs if is_tensor(x)), torch.float64)
    allowed = FRACTIONS if wanted in FRACTIONS and not form.call else PLAIN
    if came.dtype in allowed:
        return
    things = "truth values" if came.dtype == torch.bool else "whole numbers"
    if came.dtype not in PLAIN:
        things = "complex numbers" if came.dtype.is_complex else "unusual numbers"
    raise ProblemError(
        "wrong-dtype",
        f"It returned {things} ({came.dtype}), expected numbers of {wanted}, as its "
        "input has.",
        f"Which step made {things} of them?",
    )


def bare(tensor: Tensor) -> Tensor:
    """The tensor without its class and its record for gradients."""
    with torch._C.DisableTorchFunctionSubclass():
        tensor = Tensor.detach(tensor)
        return tensor if type(tensor) is Tensor else Tensor.as_subclass(tensor, Tensor)


def plain(tensor: Tensor) -> Tensor:
    """A copy that is an ordinary tensor, whatever subclass came."""
    tensor = bare(tensor)
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    copy = torch.empty(tuple(tensor.shape), dtype=tensor.dtype, device=tensor.device)
    return copy.copy_(tensor)


def as_left(value: object, before: object) -> object:
    """An input after the call, None if it is as before or of a device without data.

    A tensor of no entries if it is of another kind now.
    """
    if not isinstance(value, Tensor):
        return value
    alike = value.dtype == before.dtype and value.layout == before.layout
    if not alike or not can_be_sent(value):
        return torch.empty(0)
    if value.device != before.device or torch.equal(bare(value), before):
        return None
    return plain(value)


def printed() -> int:
    """How many characters have been printed, where that is counted."""
    return getattr(sys.stdout, "characters", 0)
