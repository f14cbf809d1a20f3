"""What can be said of an answer before it is asked."""

import difflib
import dis
import inspect
from dataclasses import replace
from types import ModuleType

from torch import Tensor, nn

from vit_encoder.check.hearing.data import Form, Problem, ProblemError
from vit_encoder.check.hearing.exceptions import raised
from vit_encoder.check.hearing.guard import TimeUp

EMPTY_BODY = {"RESUME", "NOP", "RETURN_VALUE", "COPY_FREE_VARS"}
LOADS = {"LOAD_CONST", "RETURN_CONST"}


def not_answered(where: str = "") -> Problem:
    """The stub is still as it came."""
    return Problem(
        "not-answered", f"Not answered yet{where}. Replace `...`, then run both cells."
    )


def require_fit(answer: object, form: Form) -> None:
    """ProblemError if an object cannot be asked at all, whatever it is."""
    try:
        problem = unfit(answer, form)
    except (TimeUp, KeyboardInterrupt):
        raise
    except BaseException as error:
        problem = raised(error)
        problem = replace(problem, text=f"It cannot be looked at. {problem.text}")
    if problem:
        raise ProblemError(problem.name, problem.text, problem.ask)


def unfit(answer: object, form: Form) -> Problem | None:
    """Why an object cannot be asked at all."""
    if unwritten(answer):
        return not_answered()
    if form.is_class:
        return unfit_class(answer)
    if inspect.isclass(answer) or not callable(answer):
        return wrong_kind("a function", answer, mistaken(answer))
    return None


def unfit_class(answer: object) -> Problem | None:
    """Why an object is no module class that can be asked."""
    wanted = "a class that inherits from nn.Module"
    if isinstance(answer, nn.Module):
        ask = "What do the round brackets behind the name of a class make?"
        return wrong_kind(wanted, answer, ask)
    if not inspect.isclass(answer) or not issubclass(answer, nn.Module):
        return wrong_kind(wanted, answer, mistaken(answer))
    if answer.forward is nn.Module.forward:
        alike = difflib.get_close_matches("forward", vars(answer), 1)
        more = f" It has `{alike[0]}`." if alike else ""
        ask = "Which method does torch look for when a module is called?"
        return Problem("wrong-kind", f"It has no `forward`.{more}", ask if more else "")
    if unwritten(answer.forward):
        return not_answered(": `forward` is empty")
    return None


def wrong_kind(wanted: str, came: object, ask: str) -> Problem:
    """Something else came than a task asks for."""
    return Problem("wrong-kind", f"Give {wanted}, not {describe(came)}.", ask)


def mistaken(answer: object) -> str:
    """The question for what people hand in by mistake, or ''."""
    if isinstance(answer, str):
        return "Are the quotes needed? What does a name without them stand for?"
    if isinstance(answer, ModuleType):
        return "Does one name stand for a file here, and for what is defined in it?"
    if isinstance(answer, Tensor | tuple | bool):
        return "Is it called here, so that its result is handed in and not itself?"
    if inspect.isclass(answer) and hasattr(answer, "forward"):
        return "What does it inherit from, so that torch can call it?"
    return ""


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
    if isinstance(thing, ModuleType):
        return f"the file {thing.__name__}"
    return f"an object of type {type(thing).__name__}"
