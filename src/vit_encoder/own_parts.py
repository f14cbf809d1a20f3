"""The student's own parts: `my_encoder.py`, which the exercises write part by part.

`my_parts` gives them where they are there, and the course's where not. The file is
plain Python and belongs to the student. Nothing here writes it: `check(…, keep=True)`
does.
"""

import ast
import symtable
import sys
import traceback
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

FILE = "my_encoder.py"
DRIVE = Path("/content/drive/MyDrive")  # where Colab shows a mounted Drive
# Part → the number of its exercise notebook and its module, in the course's order.
PARTS = {
    "patchify": ("01", "patches"),
    "PatchEmbedding": ("01", "patches"),
    "attention": ("02", "self_attention"),
    "SelfAttention": ("02", "self_attention"),
    "split_heads": ("03", "multi_head"),
    "merge_heads": ("03", "multi_head"),
    "MultiHeadSelfAttention": ("03", "multi_head"),
    "layer_norm": ("04", "layer_norm"),
    "LayerNorm": ("04", "layer_norm"),
    "gelu": ("05", "mlp"),
    "dropout": ("05", "mlp"),
    "MLP": ("05", "mlp"),
    "EncoderBlock": ("06", "encoder_block"),
    "Encoder": ("07", "encoder"),
}


def my_parts(*names: str) -> object:
    """The student's own parts where `my_encoder.py` has them, else the course's.

    names: such as "PatchEmbedding", "Encoder". Prints a line that says which is which.
    Returns the parts as a tuple, in this order; the part itself for one name.
    Raises ValueError for another name, and ImportError if `my_encoder.py` is broken:
    then no part is the course's unasked.
    """
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        known = ", ".join(PARTS)
        raise ValueError(f"expected names of parts ({known}), got {unknown}")
    path = place()
    text = read(path)
    module = None if text is None else load(text, path)
    defined = definitions(text or "")
    inside = {  # own part → those of the course that it is built on
        name: among_courses(defined, name)
        for name in names
        if isinstance(defined.get(name), ast.stmt)
    }
    print(told(names, inside, there=module is not None))
    parts = tuple(
        getattr(module if name in inside else of_course(name), name) for name in names
    )
    return parts if len(parts) > 1 else parts[0]


def of_course(name: str) -> ModuleType:
    """The course's module that has a part."""
    return import_module(f"vit_encoder.{PARTS[name][1]}")


def place() -> Path:
    """Where `my_encoder.py` is, or belongs: a mounted Drive on Colab, else here."""
    here = Path(FILE)
    if not (on_colab() and DRIVE.is_dir()):
        return here
    in_drive = DRIVE / FILE
    return here if here.exists() and not in_drive.exists() else in_drive


def on_colab() -> bool:
    """Whether this is a kernel of Colab."""
    return "google.colab" in sys.modules


def read(path: Path) -> str | None:
    """The text of `my_encoder.py`; None if there is none. ImportError if unreadable."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ImportError(f"{path} cannot be read: {error}") from error


def load(text: str, path: Path) -> ModuleType:
    """The module `my_encoder`, made anew if its text has changed.

    Raises ImportError that names the line if the text cannot be run.
    """
    known = sys.modules.get("my_encoder")
    if getattr(known, "__text__", None) == text:
        return known
    module = run(text, path)
    sys.modules["my_encoder"] = module  # what pickles its classes looks here
    return module


def run(text: str, path: Path) -> ModuleType:
    """A module of this text. ImportError names the line at which it fails."""
    module = ModuleType("my_encoder")
    module.__file__, module.__text__ = str(path.absolute()), text
    try:
        exec(compile(text, module.__file__, "exec"), vars(module))
    except Exception as error:
        at = line_of(error, module.__file__)
        raise ImportError(
            f"{path} is broken{at}: {type(error).__name__}: {error}. Mend it, or give "
            "the file another name to work with the course's parts."
        ) from error
    return module


def line_of(error: Exception, file: str) -> str:
    """Such as " in line 12": the last line of the file that led to the error."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f" in line {error.lineno}"
    steps = traceback.extract_tb(error.__traceback__)
    lines = [step.lineno for step in steps if step.filename == file]
    return f" in line {lines[-1]}" if lines else ""


def told(names: Iterable[str], inside: dict[str, list[str]], *, there: bool) -> str:
    """The line that says whose parts these are, and how to get those that are not.

    inside: own part → the course's parts in it. there: there is a `my_encoder.py`.
    """
    others = [name for name in names if name not in inside]
    says = []
    if inside:
        own = (
            f"{name} (on the course's {', '.join(on)})" if on else name
            for name, on in inside.items()
        )
        says.append(f"Yours, from {FILE}: {', '.join(own)}.")
    if others:
        missing = "" if there else f" There is no {FILE} here."
        says.append(f"The course's: {', '.join(others)}.{missing}")
    lent = {*others, *(name for on in inside.values() for name in on)}
    if lent:
        numbers = sorted({PARTS[name][0] for name in lent})
        word = "exercises" if len(numbers) > 1 else "exercise"
        says.append(f"To keep your own, do {word} {', '.join(numbers)}.")
    return " ".join(says)


# What a part is built on


def definitions(text: str) -> dict[str, ast.stmt | str]:
    """The names that a module binds → the statement, or what is imported, dotted."""
    return dict(pair for node in ast.parse(text).body for pair in meanings(node))


def among_courses(defined: dict[str, ast.stmt | str], name: str) -> list[str]:
    """The course's parts that a part of the module is built on, in their order.

    defined: what `definitions` gives.
    """
    found, met, todo = set(), set(), [name]
    while todo:
        name = todo.pop()
        if name in met or name not in defined:
            continue
        met.add(name)
        meaning = defined[name]
        if isinstance(meaning, str):
            found.update(part_of(meaning))
        else:
            todo += global_names(ast.unparse(meaning))
            found.update(through_modules(meaning, defined))
    return [part for part in PARTS if part in found]


def meanings(node: ast.stmt) -> Iterator[tuple[str, ast.stmt | str]]:
    """The names that a statement binds, each with what `definitions` has for it."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            yield alias.asname or whole, whole
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name, node
    else:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                yield inner.id, node


def global_names(source: str) -> set[str]:
    """The names that a statement reads and does not bind inside: globals, built-ins."""
    found = set()
    tables = [symtable.symtable(source, FILE, "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        found |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and symbol.is_global()
        }
    return found


def through_modules(node: ast.stmt, defined: dict) -> Iterator[str]:
    """The course's parts that are reached as in `vit_encoder.attention`."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute):
            steps = ast.unparse(inner).split(".")
            root = defined.get(steps[0])
            if isinstance(root, str):
                yield from part_of(".".join([root, *steps[1:]]))


def part_of(dotted: str) -> list[str]:
    """The part of the course that a dotted name stands for, if it is one."""
    first, *steps = dotted.split(".")
    parts = [step for step in steps if step in PARTS]
    # A module has the name of a part: vit_encoder.layer_norm.LayerNorm.
    return parts[-1:] if first == "vit_encoder" else []
