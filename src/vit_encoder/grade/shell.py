"""What the cells of a notebook find around them in Jupyter, as far as it is safe.

Statements run one after the other, `await` stands where it likes, `get_ipython`, `In`
and `Out` are there, and files that a cell writes can be imported. A package that this
machine lacks costs only what needs it: its name is bound to something that says so when
it is used.
"""

import __future__

import ast
import asyncio
import contextlib
import linecache
import os
import signal
import sys
import types
from collections.abc import Iterator
from importlib.util import find_spec
from inspect import CO_COROUTINE


class TooLong(BaseException):
    """A cell was stopped. Not an Exception, so that no loop takes it for its own."""


class Quiet(types.ModuleType):
    """A part of Jupyter or Colab that is not here: whatever is called does nothing."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return Quiet(name)

    def __call__(self, *_, **__) -> None:
        return None


class NotHere:
    """Stands for what a package would give. ModuleNotFoundError when it is used."""

    def __init__(self, package: str):
        object.__setattr__(self, "_package", package)

    def __getattribute__(self, name: str) -> object:
        package = object.__getattribute__(self, "_package")
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    def __call__(self, *_, **__) -> None:
        return self.used

    def __getitem__(self, _) -> None:
        return self.used

    def __mro_entries__(self, _) -> None:
        return self.used


class Shell:
    """Runs cells, one after the other, in a module of their own.

    seconds: how long a cell may compute.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.futures = 0  # flags of `from __future__`, which stay for later cells
        self.loop = None
        self.home = os.getcwd()
        self.module = types.ModuleType("__main__")
        self.namespace = vars(self.module)
        self.inputs, self.outputs = [""], {}
        self.namespace |= {
            "display": lambda *_, **__: None,
            "get_ipython": lambda: Quiet("IPython"),
            "In": self.inputs,
            "Out": self.outputs,
        }
        sys.modules |= {"__main__": self.module, "google.colab": Quiet("google.colab")}
        sys.displayhook = self.keep
        signal.signal(signal.SIGPROF, self.stop)

    def run(self, source: str, number: int) -> BaseException | None:
        """Run a cell; what it raised. SystemExit, too, ends its cell alone."""
        name = f"<cell {number}>"
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        self.inputs.append(source)
        self.look_again()
        signal.setitimer(signal.ITIMER_PROF, self.seconds)
        try:
            for statement in single(ast.parse(source, name).body):
                self.step(statement, name)
        except BaseException as error:
            return error
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        return None

    def look_again(self) -> None:
        """Forget what lay in the submission's folders: a cell may write a module."""
        for folder, finder in [*sys.path_importer_cache.items()]:
            if finder and folder.startswith(self.home):
                finder.invalidate_caches()

    def step(self, statement: ast.stmt, name: str) -> None:
        """Run a statement; an expression's value goes to `Out`."""
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | self.futures
        if isinstance(statement, ast.Expr):
            code = compile(ast.Interactive([statement]), name, "single", flags)
        else:
            code = compile(ast.Module([statement], []), name, "exec", flags)
        self.futures |= code.co_flags & FUTURES
        try:
            if code.co_flags & CO_COROUTINE:
                self.loop = self.loop or asyncio.new_event_loop()
                self.loop.run_until_complete(eval(code, self.namespace))
            else:
                exec(code, self.namespace)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if is_here(package):
                raise
            if lacking := bound(statement, package):
                self.namespace |= dict.fromkeys(lacking, NotHere(package))
                return
            if any(type(value) is NotHere for value in self.namespace.values()):
                # What was to be made with the package is as little here.
                self.namespace |= dict.fromkeys(assigned(statement), NotHere(package))
            raise

    def keep(self, value: object) -> None:
        """What Python does with the value of a cell's expression."""
        if value is not None:
            self.outputs[len(self.inputs) - 1] = self.namespace["_"] = value

    def stop(self, *_) -> None:
        """End the cell: its time is over."""
        text = f"it computed for {self.seconds:g} seconds and was stopped"
        raise TooLong(text)


DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
FUTURES = 0
for _name in __future__.all_feature_names:
    FUTURES |= getattr(__future__, _name).compiler_flag


def single(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements, with `import a, b` as two."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                yield ast.copy_location(ast.Import([alias]), statement)
        else:
            yield statement


def bound(statement: ast.stmt, package: str) -> list[str]:
    """The names that a statement, or one within its blocks, imports from a package.

    As in `try: import p`, `except ImportError: %pip install p` and again `import p`.
    """
    inner = () if isinstance(statement, DEFINITIONS) else ast.walk(statement)
    return [name for node in inner for name, of in imported(node) if of == package]


def imported(node: ast.AST) -> list[tuple[str, str]]:
    """The names that an import binds, each with its package; none if it is another."""
    if isinstance(node, ast.Import):
        tops = [alias.name.partition(".")[0] for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        tops = [(node.module or "").partition(".")[0]] * len(node.names)
    else:
        return []
    names = [a.asname or a.name.partition(".")[0] for a in node.names]
    return list(zip(names, tops, strict=True))


def assigned(statement: ast.stmt) -> list[str]:
    """The names that an assignment or a definition binds."""
    if isinstance(statement, DEFINITIONS):
        return [statement.name]
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return [
        inner.id
        for target in filter(None, targets)
        for inner in ast.walk(target)
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
    ]


def is_here(package: str) -> bool:
    """A package can be found by this Python."""
    with contextlib.suppress(ImportError, ValueError):
        return find_spec(package) is not None
    return False
