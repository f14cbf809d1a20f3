"""Keep a student's part: write its source into `my_encoder.py`.

What it needs of the notebook goes along: functions, classes and constants of other
cells, found by the global names that its source reads. In the module a name means one
thing, so a part that is kept later may change what an earlier one uses. Therefore,
before the old module is replaced, the new one is run, and each part in it that is new
or uses what is new is checked again. A constant of another notebook is not changed.
"""

import ast
import builtins
import errno
import hashlib
import inspect
import linecache
import math
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType

from vit_encoder.atomic import write_atomically, write_beside
from vit_encoder.check import progress
from vit_encoder.own_parts import (
    FILE,
    PARTS,
    among_courses,
    definitions,
    global_names,
    meanings,
    on_colab,
    place,
    read,
    run,
)

DOCSTRING = '''"""My own parts of a Vision Transformer's encoder.

I wrote them in the exercises of "Inside the ViT Encoder". Each has passed its check as
it stands here. What is imported from vit_encoder is the course's.
"""'''
SEAL = re.compile(r"^# Written by `check\(.*Seal: (\w+)\n", re.MULTILINE)
COURSE = "# The course's:\n"
HEADING = re.compile(r"^# Exercise \d\d -+$")
PUBLIC = ("torch", "torch.nn.functional", "math")  # where functions of C are known from
STALE = 10  # seconds; what a lock is for takes a moment
DOWNLOAD = (
    "It lies on a borrowed machine. To have it on yours, run: "
    f"from google.colab import files; files.download({FILE!r})"
)
Passes = Callable[[str, object], bool]  # exercise's id, answer → it passes its check


class NotKeptError(Exception):
    """The part cannot be kept; the text says why."""


@dataclass(frozen=True)
class Piece:
    """A statement of the module: the names that it binds, and its text."""

    names: tuple[str, ...]
    text: str
    is_import: bool = False

    @property
    def needs(self) -> set[str]:
        """The names that it reads."""
        return set() if self.is_import else global_names(self.text)


Pieces = dict[str, Piece]  # name → the statement that binds it


def keep(id: str, answer: object, passes: Passes) -> str:
    """Write a part that has passed its check; what to say of it in its report.

    Whatever stands in the way is said, and then the file stays as it was.
    """
    name, path = part_of(id), place()
    try:
        return keep_in(path.resolve(), name, answer, passes)
    except (NotKeptError, ImportError) as error:
        return f"Not kept in {FILE}: {error}"
    except OSError as error:
        progress.say(
            f"{FILE} cannot be written to {path.absolute().parent} "
            f"({error.strerror}). Your parts are not kept."
        )
        return ""


def part_of(id: str) -> str:
    """The name of the part that an exercise asks for. ValueError if it is none."""
    module, _, name = id.partition(".")
    if PARTS.get(name, ("", ""))[1] != module:
        known = ", ".join(f"{module}.{name}" for name, (_, module) in PARTS.items())
        raise ValueError(f"keep=True is for the parts ({known}), got {id!r}")
    return name


def keep_in(path: Path, name: str, answer: object, passes: Passes) -> str:
    """Compose the module anew, try it, and replace the old one."""
    while True:
        before = read(path)
        old, rest = taken_apart(before or "")
        new, changed = merged(old, name, gathered(name, answer, old))
        text = sealed(composed(new, rest))
        if before is not None and not changed:
            return said(before, name, ())
        if before is not None and not path.stat().st_mode & stat.S_IWUSR:
            raise PermissionError(errno.EACCES, "it is read-only", str(path))
        require_same_constants(name, old, new, changed)
        users = try_out(text, path, new, changed, passes, before)
        other = {name: old[name].text for name in changed & {*old} - {*PARTS}}
        with alone(path):
            if read(path) == before:  # no other kernel was faster
                edit = keep_edit(path, before) if is_edited(before) else ""
                write_atomically(path, text)
                return said(text, name, users, other) + edit


def said(
    text: str, name: str, users: Iterable[str], other: dict[str, str] | None = None
) -> str:
    """What the report says: where the part is, and what is the course's in it.

    users: the other parts that use something new. other: name → what it meant before.
    """
    lines = [f"Kept: your {name} is in {FILE}."]
    defined = definitions(text)
    if lent := among_courses(defined, name):
        lines.append(f"It is built on the course's {', '.join(lent)}.")
    if there := [part for part in lent if isinstance(defined.get(part), ast.stmt)]:
        lines.append(f"The file has a {', '.join(there)} of yours, for you to use.")
    if others := [user for user in users if user != name]:
        were = "were" if len(others) > 1 else "was"
        lines.append(f"Your {', '.join(others)} there {were} checked again with it.")
        for changed, before in (other or {}).items():
            was = f"; it was `{before}`" if "\n" not in before else ""
            lines.append(f"But `{changed}` means something else there now{was}.")
    if on_colab() and place() == Path(FILE):
        lines.append(DOWNLOAD)
    return " ".join(lines)


# What a part needs of the notebook


def gathered(name: str, answer: object, old: Pieces) -> Pieces:
    """The part and what it needs, as statements.

    old: what `my_encoder.py` holds, from which the notebook may have some of it.
    """
    found: Pieces = {}
    main = vars(sys.modules["__main__"])
    add(name, answer, found, old, main)
    if found[name].is_import:
        raise NotKeptError(f"`{name}` is imported. Its source must be in the notebook.")
    return found


def add(name: str, value: object, found: Pieces, old: Pieces, around: dict) -> None:
    """Add the statement that gives a name its value, and those that this one needs.

    around: the global names where it is used.
    """
    if name in found:
        return
    if not is_of_notebook(value):
        found[name] = statement_of(name, value)
        return
    bound, piece = defining(value, old)
    if bound != name:
        found[name] = Piece((name,), f"{name} = {bound}")
        add(bound, value, found, old, around)
        return
    found[name] = piece
    if value.__module__ == "my_encoder":  # what it needs is there
        return
    if function := next(functions_of(value), None):
        around = function.__globals__
    for needed in sorted(piece.needs - {name}):
        if needed in around and not needed.startswith("__"):
            add(needed, around[needed], found, old, around)
        elif not is_built_in(needed):
            raise NotKeptError(f"`{name}` uses `{needed}`, which is not defined.")


def is_of_notebook(value: object) -> bool:
    """A function or class that a cell defines, or that `my_encoder.py` gave."""
    kinds = type | FunctionType
    inner = value if isinstance(value, kinds) else getattr(value, "__wrapped__", None)
    return isinstance(inner, kinds) and value.__module__ in ("__main__", "my_encoder")


def is_built_in(name: str) -> bool:
    """Python knows the name by itself; a notebook adds two of its own."""
    return hasattr(builtins, name) and name not in ("display", "get_ipython")


def defining(value: type | FunctionType, old: Pieces) -> tuple[str, Piece]:
    """The name under which a function or a class is defined, and the statement."""
    if value.__module__ == "my_encoder":
        bound = value.__qualname__
        if bound == "<lambda>":
            held = value.__globals__.items()
            bound = next((n for n, other in held if other is value), bound)
        if bound not in old:
            raise NotKeptError(
                f"`{bound}` came from {FILE} and is no longer there. Run the cell that "
                "gets it again."
            )
        return bound, old[bound]
    for lines in cells_of(value):
        for node in parsed("".join(lines)):
            for bound in bound_by(node):
                if defines(node, bound, value):
                    return bound, Piece((bound,), with_comments(node, lines))
    raise NotKeptError(
        f"the source of `{value.__name__}` was not found. Define it at the left margin "
        "of a cell, run that cell, then check again."
    )


def cells_of(value: type | FunctionType) -> Iterator[list[str]]:
    """The lines of the cell that defines a function or a class.

    Python 3.11 looks for a class by its name alone, so its methods say where it is. For
    a class without any, all cells may be meant, the last ones first.
    """
    if function := next(functions_of(value), None):
        yield linecache.getlines(function.__code__.co_filename)
    else:
        for entry in reversed([*linecache.cache.values()]):
            if len(entry) == 4 and entry[1] is None and "ipy" in entry[3]:
                yield entry[2]


def functions_of(value: type | FunctionType) -> Iterator[FunctionType]:
    """The function itself, or those that a class defines."""
    if not isinstance(value, type):
        yield inspect.unwrap(value)
        return
    for held in vars(value).values():
        held = getattr(held, "fget", None) or getattr(held, "__func__", held)
        held = inspect.unwrap(held) if callable(held) else held
        own = getattr(held, "__qualname__", "").startswith(f"{value.__qualname__}.")
        if own and isinstance(held, FunctionType):
            yield held


def parsed(source: str) -> list[ast.stmt]:
    """The statements of a cell; none if it is no Python."""
    try:
        return ast.parse(source).body
    except SyntaxError:
        return []


def defines(node: ast.stmt, name: str, value: type | FunctionType) -> bool:
    """The statement binds the name to this function, lambda, or class."""
    if isinstance(node, ast.Assign | ast.AnnAssign) and not isinstance(value, type):
        return isinstance(node.value, ast.Lambda) and encloses(node, value)
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        return False
    if name != value.__name__:
        return False
    functions = [*functions_of(value)]
    return not functions or encloses(node, functions[0])


def encloses(node: ast.stmt, function: FunctionType) -> bool:
    """The function's first line is one of the statement's."""
    first = function.__code__.co_firstlineno
    return first_line(node) <= first <= node.end_lineno


def first_line(node: ast.stmt) -> int:
    """The line at which a statement begins, with its decorators."""
    decorators = getattr(node, "decorator_list", [])
    return min(n.lineno for n in (node, *decorators))


def with_comments(node: ast.stmt, lines: list[str]) -> str:
    """The text of a statement, with the comments right above it and at its end."""
    start = first_line(node) - 1
    while start and lines[start - 1].startswith("#"):
        start -= 1
    return "".join(lines[start : end_of(node, lines)]).rstrip()


def end_of(node: ast.stmt, lines: list[str]) -> int:
    """The last line of a statement, with the comments in it after its last step."""
    end = node.end_lineno
    for number, line in enumerate(lines[end:], end + 1):
        if re.match(r"\s+#", line):
            end = number
        elif line.strip():
            break
    return end


def statement_of(name: str, value: object) -> Piece:
    """An import or a constant that gives a name its value. NotKeptError if none can."""
    if isinstance(value, ModuleType):
        return Piece((name,), import_of(name, value), is_import=True)
    if found := home_of(value):
        text = f"from {found[0]} import {found[1]}"
        more = f" as {name}" if name != found[1] else ""
        return Piece((name,), text + more, is_import=True)
    if isinstance(value, float) and not math.isfinite(value):
        return Piece((name,), f'{name} = float("{value}")')
    with suppress(ValueError, SyntaxError, TypeError, RecursionError):
        if ast.literal_eval(repr(value)) == value:
            return Piece((name,), f"{name} = {value!r}")
    kind = type(value).__name__
    raise NotKeptError(
        f"it uses `{name}`, a {kind} that another cell has made. A part can take along "
        "functions, classes, and constants such as numbers. Make anything else inside "
        "the part, or give it as an argument."
    )


def import_of(name: str, module: ModuleType) -> str:
    """The line that imports a module under a name."""
    whole = module.__name__
    if whole == "my_encoder":
        raise NotKeptError(f"it uses {FILE} as a module. Get its parts by `my_parts`.")
    parent, _, last = whole.rpartition(".")
    if parent and last == name:
        return f"from {parent} import {name}"
    return f"import {whole}" if whole == name else f"import {whole} as {name}"


def home_of(value: object) -> tuple[str, str] | None:
    """The module from which something can be imported, the shortest, and its name."""
    name = getattr(value, "__name__", None)
    steps = str(getattr(value, "__module__", None) or "").split(".")
    within = [".".join(steps[:end]) for end in range(1, len(steps) + 1)]
    for module in sorted([*within, *PUBLIC], key=lambda module: "._" in module):
        found = sys.modules.get(module) if module != "__main__" else None
        if found and isinstance(name, str) and getattr(found, name, None) is value:
            return module, name
    return None


# The module


def taken_apart(text: str) -> tuple[Pieces, list[str]]:
    """The statements of a module by the names that they bind, and all other text."""
    pieces, rest, end = {}, [], 0
    lines = [f"{line}\n" for line in text.split("\n")]
    try:
        body = ast.parse(text).body
    except SyntaxError as error:
        raise NotKeptError(
            f"it is broken in line {error.lineno}: {error.msg}. Mend it, or give the "
            "file another name."
        ) from None
    for number, node in enumerate(body):
        start, end = end, end_of(node, lines)
        own = without_headings(lines[start:end])
        if number == 0 and ast.get_docstring(ast.Module([node], [])) is not None:
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                line = ast.unparse(one_of(node, alias))
                bound = alias.asname or alias.name
                bound = bound if alias.asname else bound.partition(".")[0]
                pieces[bound] = Piece((bound,), line, is_import=True)
        elif names := tuple(bound_by(node)):
            pieces |= dict.fromkeys(names, Piece(names, own))
        else:
            rest.append(own)
    rest.append(without_headings(lines[end:]))
    return pieces, [text for text in rest if text]


def one_of(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    """The import of one name alone."""
    if isinstance(node, ast.Import):
        return ast.Import([alias])
    return ast.ImportFrom(node.module, [alias], node.level)


def without_headings(lines: list[str]) -> str:
    """The lines without those that `composed` writes anew."""
    text = "".join(line for line in lines if not HEADING.match(line))
    return SEAL.sub("", text).strip("\n").rstrip()


def bound_by(node: ast.stmt) -> list[str]:
    """The names that a statement binds."""
    return list(dict(meanings(node)))


def merged(old: Pieces, name: str, found: Pieces) -> tuple[Pieces, set[str]]:
    """The statements with a part put in, and the names that now mean something else.

    Where the student has a part, it takes the place of the course's.
    """
    new, changed = dict(old), set()
    for bound, piece in found.items():
        before = old.get(bound)
        if before and piece.is_import and not before.is_import and bound in PARTS:
            continue
        if before is None or before.text != piece.text:
            new[bound] = piece
            changed.add(bound)
    left = reached(old, [name]) - reached(new, [*PARTS]) - {*PARTS}
    return {b: piece for b, piece in new.items() if b not in left}, changed


def require_same_constants(
    name: str, old: Pieces, new: Pieces, changed: set[str]
) -> None:
    """Raise NotKeptError if a constant would change in a part of another notebook.

    No check need see that, such as where it is the spread of random numbers. In the
    notebook of the part itself, the name means one thing already. Where the others use
    it through this part alone, it is this part that gets better.
    """
    others = {part: p for part, p in old.items() if part != name}
    for constant in sorted(changed & {*others}):
        before = constant_of(constant, old[constant])
        if before in (None, constant_of(constant, new[constant])):
            continue
        for part, (number, _) in PARTS.items():
            used = constant in reached(others, [part])
            if used and number != PARTS[name][0]:
                raise NotKeptError(
                    f"there `{constant}` is {before}, and `{part}` (exercise {number}) "
                    "uses it. In one file a name means one thing: give one of the two "
                    "another name."
                )


def constant_of(name: str, piece: Piece) -> str | None:
    """The value that a statement gives to a name; None if it is no constant."""
    for node in ast.parse(piece.text).body:
        value = getattr(node, "value", None)
        if name in bound_by(node) and value and not isinstance(value, ast.Lambda):
            return ast.unparse(value)
    return None


def reached(pieces: Pieces, names: Iterable[str]) -> set[str]:
    """The names of the module that these names lead to, themselves among them."""
    met, todo = set(), list(names)
    while todo:
        name = todo.pop()
        if name in pieces and name not in met:
            met.add(name)
            todo += pieces[name].needs
    return met


def composed(pieces: Pieces, rest: list[str]) -> str:
    """The text of the module: imports, the parts in order, each after what it needs."""
    imports = {p.text for p in pieces.values() if p.is_import}
    lent = {line for line in imports if re.match(r"(from|import) vit_encoder\b", line)}
    future = {line for line in imports if line.startswith("from __future__ ")}
    python = {line for line in imports if line.split()[1] in sys.stdlib_module_names}
    others = imports - python - lent
    blocks = [DOCSTRING]
    for lines, heading in (
        (future, ""),
        (python - future, ""),
        (others, ""),
        (lent, COURSE),
    ):
        if lines:
            blocks.append(heading + "\n".join(sorted(lines, key=by_kind)))
    text, number, written = "\n\n".join(blocks), "", set()
    for part in (*PARTS, *pieces):
        for name in in_order(part, pieces, written):
            if part in PARTS and PARTS[part][0] != number:
                number = PARTS[part][0]
                text += f"\n\n\n# Exercise {number} {'-' * 60}"
            text += f"\n\n\n{pieces[name].text}"
    return "\n\n\n".join([text, *rest]) + "\n"


def by_kind(line: str) -> tuple[bool, str]:
    """Sorts `import torch` before `from torch import nn`."""
    return line.startswith("from"), line


def in_order(name: str, pieces: Pieces, written: set[str]) -> Iterator[str]:
    """The name, after the names that its statement needs, where not written yet."""
    piece = pieces.get(name)
    if piece is None or piece.is_import or name in written:
        return
    written.update(piece.names)
    for needed in sorted(piece.needs):
        yield from in_order(needed, pieces, written)
    yield name


def try_out(
    text: str,
    path: Path,
    pieces: Pieces,
    changed: set[str],
    passes: Passes,
    before: str | None,
) -> list[str]:
    """Run the module and check its parts that use what has changed; which they are.

    before: the old text. NotKeptError says what does not work.
    """
    try:
        module = run(text, path)
    except ImportError as error:
        cause = error.__cause__
        raise NotKeptError(
            f"with it, the module does not run: {type(cause).__name__}: {cause}"
        ) from error
    users = [part for part in PARTS if reached(pieces, [part]) & changed]
    for part in users:
        own = not pieces[part].is_import
        id = f"{PARTS[part][1]}.{part}"
        if own and not passes(id, getattr(module, part)):
            old = getattr(run(before, path), part, None) if before else None
            kept = getattr(old, "__module__", "") == "my_encoder"
            if kept and not passes(id, old):
                raise NotKeptError(
                    f"`{part}` (exercise {PARTS[part][0]}) there does not pass its "
                    "check, without what is new either. Mend it, or what it uses."
                )
            new = ", ".join(f"`{name}`" for name in sorted(changed))
            raise NotKeptError(
                f"there `{part}` (exercise {PARTS[part][0]}) would not pass its check. "
                f"This would be new in the file: {new}. In one file a name means one "
                "thing: give what differs another name, or mend it."
            )
    return [part for part in users if not pieces[part].is_import]


# The file


def sealed(text: str) -> str:
    """The text with a digest of itself below its docstring."""
    end = len(DOCSTRING) + 1
    mark = f"\n# Written by `check(…, keep=True)`. Seal: {digest(text)}\n"
    return text[:end] + mark + text[end:]


def digest(text: str) -> str:
    """A short digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_edited(text: str | None) -> bool:
    """Whether somebody wrote into the file since it was kept."""
    if text is None:
        return False
    found = SEAL.search(text)
    return not found or found[1] != digest(text.replace(f"\n{found[0]}", "", 1))


def keep_edit(path: Path, text: str) -> str:
    """Keep an edited file beside the new one; what to say of it."""
    copy = write_beside(path, text.encode(), f"{path.name}.edited-")
    return f" You had edited the file: as it was, it is kept as {copy.name}."


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """No other kernel replaces the file in this block."""
    lock = path.with_name(f".{path.name}.lock")
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            with suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime > STALE:  # its kernel is gone
                    lock.unlink()
            time.sleep(0.02)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
