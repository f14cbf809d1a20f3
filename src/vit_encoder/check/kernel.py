"""The kernel of a notebook: whether this is one, and which of its cells have failed.

When a cell that defines an answer fails, the answer keeps what it held before. The
check below it would judge that, so it has to say so.
"""

import re
import sys

# What a line of a cell defines; it is searched for, as the cell may not parse.
DEFINES = re.compile(
    r"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)|^(\w+)[ \t]*(?::[^=\n]+)?=(?!=)",
    re.MULTILINE,
)
NOTHING = object()

_before: dict[str, object] = {}  # name → what it held when the running cell began
_older: dict[str, tuple[object, str]] = {}  # name → what it still holds, how it failed


def shell():
    """IPython's shell in the kernel of a notebook; None anywhere else."""
    ipython = sys.modules.get("IPython")
    found = ipython.get_ipython() if ipython else None
    return found if getattr(found, "kernel", None) is not None else None


def watch() -> None:
    """Follow the cells of this kernel from now on; nothing outside a notebook."""
    if found := shell():
        found.events.register("pre_run_cell", begin)
        found.events.register("post_run_cell", end)


def begin(info) -> None:
    """A cell starts: note what the names that it defines hold so far."""
    _before.clear()
    for name in defined(info.raw_cell):
        _before[name] = shell().user_ns.get(name, NOTHING)
        _older.pop(name, None)


def end(result) -> None:
    """A cell has ended: if it failed, note the names that it left as they were."""
    error = result.error_before_exec or result.error_in_exec
    for name in defined(result.info.raw_cell) if error else ():
        held = shell().user_ns.get(name, NOTHING)
        if _before.get(name) is held:
            _older[name] = held, how(result)


def defined(source: str) -> set[str]:
    """The names that a cell defines with def, class or =, as far as its text tells."""
    return {name for names in DEFINES.findall(source) for name in names if name}


def how(result) -> str:
    """The error of a cell and the cell's line, such as "NameError in line 3"."""
    error = result.error_before_exec or result.error_in_exec
    if result.error_before_exec:
        line = getattr(error, "lineno", None)
    else:
        line = line_of(error)
    return f"{type(error).__name__} in line {line}" if line else type(error).__name__


def line_of(error: BaseException) -> int | None:
    """The line of the cell at which an error came out of it."""
    step = error.__traceback__
    while step and step.tb_frame.f_globals is not shell().user_ns:
        step = step.tb_next
    return step.tb_lineno if step else None


def warning_of(name: str, answer: object) -> str:
    """What to say of an answer that is older than the cell that defines it, or ""."""
    held, failed = _older.get(name, (NOTHING, ""))
    if held is not answer:
        return ""
    return (
        f"The cell that defines `{name}` has just failed ({failed}). "
        "This report is of the version before, and it does not count. "
        "Mend the cell, run it, then run its check again."
    )
