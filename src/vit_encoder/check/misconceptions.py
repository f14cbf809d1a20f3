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
        """The wrong version as code under the right version's name.

        A class that inherits from the right one is shown whole, with its own methods.
        """
        tree = plain_tree(self.wrong)
        if inspect.isclass(self.wrong) and issubclass(self.wrong, self.right):
            tree = with_methods(plain_tree(self.right), tree)
        return code_of(tree, self.right.__name__)

    def diff(self) -> str:
        """What the wrong version changes: lines with - and +, one line around them."""
        right = code_of(plain_tree(self.right), self.right.__name__)
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


def plain_tree(thing: Callable) -> ast.Module:
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
    return tree


def with_methods(right: ast.Module, wrong: ast.Module) -> ast.Module:
    """The right class with the methods that the wrong one has of its own."""
    own = {method.name: method for method in wrong.body[0].body}
    right.body[0].body = [own.pop(m.name, m) for m in right.body[0].body]
    right.body[0].body += own.values()
    return right


def code_of(tree: ast.Module, name: str) -> str:
    """A function or class as text, under this name."""
    tree.body[0].name = name
    return ast.unparse(tree)
