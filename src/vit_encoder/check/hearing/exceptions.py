"""What an answer raised: a name, the line where it happened, and what it means."""

import contextlib
import difflib
import dis
import inspect
import linecache
import re
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType, FunctionType, TracebackType

import torch
from torch import Tensor, nn

from vit_encoder.check.hearing.data import Problem
from vit_encoder.check.hearing.guard import TimeUp
from vit_encoder.check.hearing.meanings import (
    ALIKE,
    ARGUMENTS,
    MENTIONED,
    OF_TORCH,
    OTHERS,
    OWN_RAISE,
    SHAPES,
    STRAY,
    TORCH_ARGUMENTS,
)

LONGEST = 160  # characters of an error's own text, and of a line of code
LENT = "part"  # the file of code that is lent to students
FOREIGN = (  # where no student's code lies
    str(Path(__file__).parents[2]),
    str(Path(torch.__file__).parent),
    *(sysconfig.get_path(n) for n in ("stdlib", "platstdlib", "purelib", "platlib")),
    "<frozen ",
    "<__array_function__",
)
# Code that the course keeps in no file: versions of a part, such as <gelu: no-tanh>.
# In the sandbox, code of the course may lie elsewhere than its files.
FOREIGN_NAME = re.compile(rf"<\w+: .*>|{LENT}|.*[/\\]vit_encoder[/\\].*")
CELL = re.compile(r"<cell (\d+)>")  # what marking calls a cell
SELF = ("self", "this", "me", "s")  # what people call the first argument of a method
CLOSE = 0.7  # from which likeness on a name is taken for another one misspelt


def raised(error: BaseException, answer: object = None) -> Problem:
    """An exception of an answer as a Problem, whatever the exception does.

    answer: what was called, a function or a class.
    """
    try:
        return problem_of(error, answer)
    except (TimeUp, KeyboardInterrupt):
        raise
    except BaseException:  # its class may be hostile
        return Problem("raises", "It raised an error that cannot be shown.")


def problem_of(error: BaseException, answer: object) -> Problem:
    """The most exact of what can be said."""
    said, steps = one_line(error), [*traceback_of(error)]
    own = [step for step in steps if is_students(step.tb_frame.f_code)]
    if isinstance(error, RecursionError):  # the last one never began
        own = own[:-1] or own
    frame = own[-1].tb_frame if own else None
    name, means, ask = (
        (own and own[-1] is steps[-1] and raised_by_hand(own[-1], error))
        or misfit_call(said, steps, own, answer)
        or known_message(said)
        or stray(said, frame)
        or missing_name(error, steps, frame)
        or (OF_TORCH.match(said) and TORCH_ARGUMENTS)
        or ("raises", "", "")
    )
    text = f"It raised {shortened(said)}"
    if means:
        text = f"{text}{'' if text.endswith(('.', '?', '!', '…')) else '.'} {means}"
    where = line_at(frame.f_code, own[-1].tb_lineno) if own else ""
    return Problem(name, text, ask, where)


def one_line(error: BaseException) -> str:
    """An exception as its class and what it says."""
    text = ""
    with contextlib.suppress(Exception):
        text = " ".join(str(error).split())
    kind = type.__dict__["__name__"].__get__(type(error))  # whatever its class says
    return f"{kind}: {text}" if text else kind


def shortened(text: str) -> str:
    """A text that is not too long, without torch's list of all signatures."""
    text = re.sub(r", but expected one of:.*", "", text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def class_names(error: BaseException) -> tuple[str, ...]:
    """The names of its class and of those that it inherits from."""
    known = type.__dict__["__mro__"].__get__(type(error))  # whatever its class says
    return tuple(map(type.__dict__["__name__"].__get__, known))


def traceback_of(error: BaseException) -> Iterable[TracebackType]:
    """The steps from whoever asked to where it was raised."""
    step = error.__traceback__
    while step:
        yield step
        step = step.tb_next


def is_students(code: CodeType) -> bool:
    """The code that runs is neither the course's nor a library's."""
    path = code.co_filename
    return not (path.startswith(FOREIGN) or FOREIGN_NAME.fullmatch(path))


def innermost(error: BaseException) -> TracebackType | None:
    """The last step that is the student's own."""
    own = [step for step in traceback_of(error) if is_students(step.tb_frame.f_code)]
    return own[-1] if own else None


def line_at(code: CodeType, number: int) -> str:
    """A line of code, as "Line 3, in `forward`: x = x + 1"."""
    cell = CELL.fullmatch(code.co_filename)
    parts = [f"Cell {cell[1]}, line {number}" if cell else f"Line {number}"]
    if not code.co_name.startswith("<"):
        parts.append(f"in `{code.co_name}`")
    text = shortened(linecache.getline(code.co_filename, number).strip())
    return ", ".join(parts) + (f": {text}" if text else "")


def raises_here(step: TracebackType) -> bool:
    """The step is at a `raise` or `assert`, not at a call that failed."""
    return any(
        at.offset == step.tb_lasti and at.opname == "RAISE_VARARGS"
        for at in dis.get_instructions(step.tb_frame.f_code)
    )


def is_stub(error: BaseException) -> bool:
    """It is the answer's own `raise NotImplementedError`."""
    steps = [*traceback_of(error)]
    return is_students(steps[-1].tb_frame.f_code) and raises_here(steps[-1])


Said = tuple[str, str, str]  # name, what it means, the question


def raised_by_hand(step: TracebackType, error: BaseException) -> Said | None:
    """A `raise` or `assert` of the student's own."""
    if not raises_here(step):
        return None
    return OWN_RAISE[type(error) is AssertionError]


def is_init_of_module(code: CodeType) -> bool:
    """Whether it is that of nn.Module, also where torch.compile wrapped it."""
    return (code.co_filename, code.co_name) == (nn.modules.module.__file__, "__init__")


def misfit_call(
    said: str, steps: list[TracebackType], own: list[TracebackType], answer: object
) -> Said | None:
    """The arguments of a call of Python do not fit the function."""
    found = ARGUMENTS.match(said)
    if not found:
        return None
    if is_init_of_module(steps[-1].tb_frame.f_code):
        ask = "Which arguments does `__init__` of nn.Module take?"
        return "arguments-to-super-init", "", ask
    called = function_named(found[1], steps, answer)
    means = ""
    if called:
        means = f"It is defined as `{called.__name__}{inspect.signature(called)}`."
        if lacks_self(called, said):
            means = f"{means} Python gives a method the module itself, before all else."
            ask = "What must the first name in the brackets of a method stand for?"
            return "self-forgotten", means, ask
    if not own:
        ask = "Which arguments does the task give, and in which order?"
        return "wrong-signature", f"So the task calls it. {means}".strip(), ask
    if not called:
        return TORCH_ARGUMENTS
    ask = "Which arguments does it take, and which ones does this line give?"
    return "wrong-arguments", means, ask


def lacks_self(called: FunctionType, said: str) -> bool:
    """A method that takes an argument less than it was given, the module itself."""
    method = "." in called.__qualname__.rpartition("<locals>.")[2]
    first = next(iter(inspect.signature(called).parameters), "")
    return method and first not in SELF and bool(re.search(r"takes \d+ .* but", said))


def function_named(
    name: str, steps: list[TracebackType], answer: object
) -> FunctionType | None:
    """The function of this qualified name; None if it is not the student's.

    It is looked for among the names where the calls were made, and in the classes of
    what they stand for.
    """
    things = [answer]
    for step in steps:
        things += [*step.tb_frame.f_locals.values(), *step.tb_frame.f_globals.values()]
    classes = [x if inspect.isclass(x) else type(x) for x in things]
    last = name.rpartition(".")[2]
    bases = (b for c in classes if issubclass(c, nn.Module) for b in c.__mro__)
    methods = (vars(base).get(last) for base in bases)
    for found in (*things, *methods):
        if inspect.isfunction(found) and found.__qualname__ == name:
            foreign = found.__code__.co_filename.startswith(FOREIGN)
            return None if foreign else found
    return None


def known_message(said: str) -> Said | None:
    """One of the commonest messages of torch and Python."""
    for name, pattern, means, ask in (*SHAPES, *OTHERS):
        found = re.search(pattern, said)
        if found:
            return name, means.format(*found.groups()), ask
    return None


def stray(said: str, frame: FrameType | None) -> Said | None:
    """A thing of another type stands where a tensor, or a function, should."""
    found = MENTIONED.search(said)
    kinds = [kind_of(name, frame) for name in found.groups() if name] if found else []
    if "has no attribute" in said:  # of a layer: missing_name looks closer
        kinds = [kind for kind in kinds if kind != "layer"]
    kinds = sorted(filter(STRAY.get, kinds), key=[*STRAY].index)
    return STRAY[kinds[0]] if kinds else None


def kind_of(name: str, frame: FrameType | None) -> str:
    """The entry of STRAY for a type of this name, or the name."""
    name = name.rpartition(".")[2]
    known = getattr(nn, name, frame and frame.f_globals.get(name))
    if inspect.isclass(known) and issubclass(known, nn.Module):
        return "layer"
    return ALIKE.get(name, name)


def missing_name(
    error: BaseException, steps: list[TracebackType], frame: FrameType | None
) -> Said | None:
    """A name or an attribute that is not there."""
    scope = {**frame.f_globals, **frame.f_locals} if frame else {}
    if isinstance(error, NameError):
        name, me = error.name, scope.get("self")
        if isinstance(me, nn.Module) and hasattr(me, name):
            means = f"The module has a `{name}` of its own."
            ask = "How does a method reach what belongs to its module?"
            return "self-dot-forgotten", means, ask
        ask = "Where does this name get its value, and is it spelled alike there?"
        return "undefined-name", like(name, scope), ask
    if not isinstance(error, AttributeError):
        return None
    last = steps[-1].tb_frame.f_locals
    thing, name = error.obj, error.name
    if thing is None and isinstance(last.get("self"), nn.Module):  # torch's own error
        thing, name = last["self"], last.get("name")
    if name is None:
        return None
    me = scope.get("self")
    if isinstance(thing, nn.Module) and thing is not me and hasattr(Tensor, name):
        return STRAY["layer"]
    if isinstance(thing, nn.Module) and not type(thing).__module__.startswith("torch."):
        held = (*vars(thing), *thing._modules, *thing._parameters, *thing._buffers)
        own = [n for n in dict.fromkeys(held) if n not in vars(nn.Module())]
        means = f"It has: {', '.join(own[:8]) or 'nothing'}."
        ask = "Where is it set, and is it spelled alike there?"
        return "attribute-never-set", means, ask
    ask = "Is it spelled as in the documentation?"
    return "no-such-attribute", like(name, dir(thing)), ask


def like(name: str, names: Iterable[str]) -> str:
    """A name that is there and looks like the missing one, in a sentence, or ''."""
    public = [n for n in names if not n.startswith("_")]
    found = difflib.get_close_matches(name, public, 1, CLOSE)
    return f"There is a `{found[0]}`." if found else ""
