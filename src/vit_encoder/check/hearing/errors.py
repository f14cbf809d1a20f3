"""What can be said of an answer before it is asked, and of what it raised."""

import dis
import inspect

from torch import nn

from vit_encoder.check.hearing.data import Form, Problem

EMPTY_BODY = {"RESUME", "NOP", "RETURN_VALUE", "COPY_FREE_VARS"}
LOADS = {"LOAD_CONST", "RETURN_CONST"}


def raised(error: BaseException) -> Problem:
    """An exception, in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""
    text = text if len(text) <= 160 else f"{text[:159]}…"
    kind = type(error).__name__
    return Problem(
        "raises", f"It raised {kind}: {text}" if text else f"It raised {kind}"
    )


def not_answered(where: str = "") -> Problem:
    """The stub is still as it came."""
    return Problem(
        "not-answered", f"Not answered yet{where}. Replace `...`, then run both cells."
    )


def unfit(answer: object, form: Form) -> Problem | None:
    """Why an object cannot be asked at all."""
    if unwritten(answer):
        return not_answered()
    if form.is_class:
        if not (inspect.isclass(answer) and issubclass(answer, nn.Module)):
            wanted = "a class that inherits from nn.Module"
            return Problem("wrong-kind", f"Give {wanted}, not {describe(answer)}.")
        if answer.forward is nn.Module.forward:
            return Problem("wrong-kind", "It has no `forward`.")
        if unwritten(answer.forward):
            return not_answered(": `forward` is empty")
    elif inspect.isclass(answer) or not callable(answer):
        return Problem("wrong-kind", f"Give a function, not {describe(answer)}.")
    return None


def unwritten(answer: object) -> bool:
    """The answer is None, `...`, or a function with nothing in it."""
    if answer is None or answer is Ellipsis:
        return True
    code = getattr(answer, "__code__", None)
    return inspect.iscode(code) and all(
        step.opname in EMPTY_BODY
        or (step.opname in LOADS and step.argval in (None, Ellipsis))
        for step in dis.get_instructions(code)
    )


def describe(thing: object) -> str:
    """A thing as a message names it."""
    if inspect.isclass(thing):
        return f"the class {thing.__name__}"
    if inspect.isfunction(thing):
        return f"the function {thing.__name__}"
    if isinstance(thing, nn.Module):
        return f"an instance of {type(thing).__name__}"
    return f"an object of type {type(thing).__name__}"
