"""A misconception: an edit of the right version's source, declared once.

    ATTENTION = edits(
        attention,
        edit(
            "softmax-over-queries",
            {"dim=-1": "dim=-2"},
            seen="The weights of one query do not add up to 1.",
            ask="Which index runs over the things that are averaged?",
        ),
    )

Checks, tests, bug hunts and chapters use it. Each old text must stand exactly once in
the right version, so that a chapter which is changed fails loudly.
"""

import ast
import difflib
import inspect
import linecache
import math
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property

import torch
import torch.nn.functional as F
from torch import nn

GITHUB = "https://github.com/"
OURS = "constructed for this course"
KNOWN = {"F": F, "math": math, "nn": nn, "torch": torch}  # what an edit may use


@dataclass(frozen=True, eq=False)
class Misconception:
    """Something people get wrong, beside the right version.

    name: short, such as softmax-over-queries.
    right: the version of the course.
    changes: old text → new text, in the source of `right`.
    seen: what it looks like from outside, in a sentence or two.
    ask: the question that leads out of it.
    source: where it was met.
    part: the misconception of a small part, if `right` is a larger one that calls it.
    given_as: the wrong version → what is handed in in its place.
    """

    name: str
    right: Callable
    changes: Mapping[str, str]
    seen: str
    ask: str
    source: str = OURS
    part: "Misconception | None" = None
    given_as: Callable[[Callable], Callable] | None = None

    @cached_property
    def wrong(self) -> Callable:
        """The wrong version, a whole function or class."""
        inner = self.part
        parts = swapped(self.right, inner.right, inner.wrong) if inner else {}
        wrong = made(self.right, self.text, parts, self.name)
        return self.given_as(wrong) if self.given_as else wrong

    @property
    def text(self) -> str:
        """The source of the wrong version, with the right version's comments.

        Raises ValueError if an old text does not stand exactly once in the right one,
        or two overlap.
        """
        source = source_of(self.right)
        for old in self.changes:
            if source.count(old) != 1:
                raise ValueError(
                    f"{self.name}: expected {old!r} once in {self.right.__name__}, "
                    f"found it {source.count(old)} times"
                )
        if not self.changes:
            return source
        # All at once, so that no edit meets what another has written.
        olds = "|".join(map(re.escape, self.changes))
        text, count = re.subn(olds, lambda old: self.changes[old[0]], source)
        if count != len(self.changes):
            raise ValueError(f"{self.name}: old texts overlap in {self.right.__name__}")
        return text

    def code(self) -> str:
        """The wrong version as code, the wrong small part before what calls it."""
        own = plain(self.text)
        return f"{self.part.code()}\n\n\n{own}" if self.part else own

    def diff(self) -> str:
        """What is wrong: lines with - and +, one line around them."""
        if self.part:
            return self.part.diff()
        right = plain(source_of(self.right))
        lines = difflib.unified_diff(
            right.splitlines(), self.code().splitlines(), lineterm="", n=1
        )
        return "\n".join(x for x in lines if not x.startswith(("---", "+++", "@@")))


def edit(
    name: str, changes: Mapping[str, str], seen: str, ask: str, source: str = OURS
) -> dict:
    """What `edits` makes a Misconception of; the arguments are those of the class."""
    return {
        "name": name,
        "changes": changes,
        "seen": seen,
        "ask": ask,
        "source": source,
    }


def edits(right: Callable, *wrong: dict) -> tuple[Misconception, ...]:
    """Wrong versions of a part, the more telling first."""
    return tuple(Misconception(right=right, **given) for given in wrong)


def inside(
    right: Callable, misconceptions: Iterable[Misconception]
) -> tuple[Misconception, ...]:
    """Misconceptions of a part as they show in a larger one that is built from it."""
    return tuple(replace(m, right=right, changes={}, part=m) for m in misconceptions)


def named(
    misconceptions: Iterable[Misconception], *names: str
) -> tuple[Misconception, ...]:
    """Those of these names, in this order. KeyError if one is missing."""
    known = {m.name: m for m in misconceptions}
    return tuple(known[name] for name in names)


def plain(source: str) -> str:
    """A function or class without docstrings, comments, annotations and decorators.

    Two versions of one part then differ only in what they do.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.decorator_list = []
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.Assign | ast.Return) and isinstance(
            node.value, ast.Tuple
        ):
            # As people write it: `return a, b`, with no brackets around.
            node.value = ast.Name(", ".join(map(ast.unparse, node.value.elts)))
    return ast.unparse(tree)


def made(
    right: Callable, text: str, parts: Mapping[str, Callable], name: str
) -> Callable:
    """A version of `right` from its text, with other parts under the names it calls."""
    scope = {**KNOWN, **vars(sys.modules[right.__module__]), **parts}
    path = f"<{right.__name__}: {name}>"
    lines = text.splitlines(keepends=True)
    linecache.cache[path] = (len(text), None, lines, path)  # for inspect.getsource
    exec(compile(text, path, "exec"), scope)
    return scope[right.__name__]


def swapped(whole: Callable, old: Callable, new: Callable) -> dict[str, Callable]:
    """Name → what stands under it in `whole`, once `new` is in the place of `old`."""
    parts = {}
    for name, part in parts_of(whole).items():
        if part is old:
            parts[name] = new
        elif deeper := swapped(part, old, new):
            parts[name] = made(part, source_of(part), deeper, new.__name__)
    return parts


@cache
def parts_of(whole: Callable) -> dict[str, Callable]:
    """The course's own functions and classes whose names stand in the code of one."""
    known = vars(sys.modules[whole.__module__])
    nodes = ast.walk(ast.parse(source_of(whole)))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return {
        name: known[name]
        for name in sorted(names & set(known))
        if name != whole.__name__
        and inspect.isroutine(known[name]) | inspect.isclass(known[name])
        and known[name].__module__.startswith("vit_encoder.")
    }


@cache
def source_of(right: Callable) -> str:
    """The source of a function or class, from its own margin."""
    return textwrap.dedent(inspect.getsource(right))
