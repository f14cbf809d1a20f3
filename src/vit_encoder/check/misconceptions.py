"""A misconception: declared once, used by checks, tests, bug hunts and chapters."""

import ast
import difflib
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Misconception:
    """Something people get wrong, as code beside the right version.

    name: short, such as softmax-over-queries.
    wrong: a whole function or class with one visible change to `right`.
    seen: what it looks like from outside, in a sentence or two.
    ask: the question that leads out of it.
    source: where it was met.
    right: the version of the course.
    """

    name: str
    wrong: Callable
    seen: str
    ask: str
    source: str
    right: Callable

    def code(self) -> str:
        """The wrong version as code under the right version's name."""
        return plain_code(self.wrong, self.right.__name__)

    def diff(self) -> str:
        """What the wrong version changes: lines with - and +, one line around them."""
        right = plain_code(self.right, self.right.__name__)
        lines = difflib.unified_diff(
            right.splitlines(), self.code().splitlines(), lineterm="", n=1
        )
        return "\n".join(x for x in lines if not x.startswith(("---", "+++", "@@")))


def against(right: Callable) -> Callable:
    """A decorator that makes a wrong version of `right` a Misconception.

    The name comes from the function or class: softmax_over_queries and
    SoftmaxOverQueries both give softmax-over-queries.
    """

    def declare(*, seen: str, ask: str, source: str) -> Callable:
        def wrap(wrong: Callable) -> Misconception:
            return Misconception(
                dashed(wrong.__name__), wrong, seen, ask, source, right
            )

        return wrap

    return declare


def dashed(name: str) -> str:
    """softmax_over_queries or SoftmaxOverQueries as softmax-over-queries."""
    words = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    return words.strip("_").replace("_", "-")


def plain_code(thing: Callable, name: str) -> str:
    """The code of a function or class: no docstrings, comments or annotations.

    Two versions of one part then differ only in what they do.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
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
    tree.body[0].name = name
    return ast.unparse(tree)
