"""Look at the line of a student's test that said no: what stood on its two sides."""

import ast
import builtins
import functools
import inspect
import linecache
import re
import textwrap
from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType

import torch
from torch import Tensor, nn

from vit_encoder.check.hearing.data import Problem
from vit_encoder.check.hearing.exceptions import is_students, line_at

FEW = 6  # as many numbers or things are shown
SMALL = 0.1  # up to here, a limit is one for rounding
NEAR = 1e-4  # how far two right programs are apart, absolute and relative, and more
COMPARISONS = ("allclose", "equal", "isclose", "assert_close", "assert_allclose")
# What draws anew, or changes what it is called on.
CHANGING = re.compile(r"rand.*|normal|bernoulli|multinomial|dropout|.*seed|.*_")
BEGINNING = re.compile(r"\s*(async\s+)?def\s|.*(?<!\w)lambda[:\s]|\s*@")  # a function's
TOO_EXACT = "How far may two right programs be apart?"
INVERTED = Problem(
    "answer-inverted",
    "What is compared here agrees, and then your test says no.",
    "Which answer does a version deserve where the two sides agree?",
)
AND_NAN = "What is every comparison with nan?"
MUST_AGREE = "How far apart may they be, and how many of the numbers must agree?"
WHICH_INPUTS = (
    "Which inputs, sizes or parameters would make them differ? If none would: what "
    "else is true of right versions alone?"
)
LARGER, SMALLER = (ast.Gt, ast.GtE), (ast.Lt, ast.LtE)


def two_sides(frame: FrameType, number: int) -> Problem:
    """What stood on the two sides of the comparison in this line, as far as it is seen.

    The name is too-exact where they differ by no more than two right programs may.
    """
    tree, before = tree_of(frame.f_code)
    claimed = [*claims(tree, decided(tree, number - before))]
    joined = [node.op for node in claimed if isinstance(node, ast.BoolOp)]
    if any(isinstance(how, ast.Or) for how in joined):
        return Problem("", "")  # one of the two may fail and the whole still hold
    alone = not joined
    inverted = False
    again = recomputed(frame, comparisons(frame.f_code, number))
    for comparison, held, values in again:
        if comparison not in claimed:
            continue
        if held == asks_apart(comparison):
            return sides_seen(*values)
        inverted = alone
    return INVERTED if inverted else Problem("", "")


def recomputed(
    frame: FrameType, compared: list[tuple[ast.expr, ast.expr, ast.expr]]
) -> Iterator[tuple[ast.expr, bool, list]]:
    """Those that can be computed again: comparison, whether it holds, its two sides."""
    scope = {**frame.f_globals, **frame.f_locals}
    for comparison, *sides in compared:
        try:
            values = [value_of(side, scope) for side in sides]
            held = holds(comparison, scope)
        except Exception:
            continue
        yield comparison, held, values


def asks_apart(comparison: ast.expr) -> bool:
    """It asks whether two things differ: `a != b`, or an error above a small number."""
    if not isinstance(comparison, ast.Compare):
        return False
    above, below = (isinstance(comparison.ops[0], k) for k in (LARGER, SMALLER))
    limit = comparison.comparators[0] if above else comparison.left
    number = getattr(limit, "value", None)
    small = isinstance(number, float) and 0 < number <= SMALL
    return isinstance(comparison.ops[0], ast.NotEq) or ((above or below) and small)


def claims(tree: ast.AST, node: ast.AST | None) -> Iterator[ast.AST]:
    """What a statement decides by, below `return`, `if`, `not`, `and` and `.all()`."""
    while node:
        yield node
        inner = getattr(node, "operand", getattr(node, "value", None))
        if isinstance(node, ast.Assert):
            inner = node.test
        elif isinstance(node, ast.Name):
            inner = assigned(tree, node.id)
        elif isinstance(node, ast.Call) and called(node) in ("all", "any", "bool"):
            inner = node.args[0] if node.args else getattr(node.func, "value", None)
        elif isinstance(node, ast.BoolOp):
            for one in node.values:
                yield from claims(tree, one)
        node = inner if isinstance(inner, ast.expr) else None


def passing(frame: FrameType) -> Problem | None:
    """What stood on the two sides of the comparison by which a test says yes."""
    number = last_line(frame)
    again = recomputed(frame, comparisons(frame.f_code, number))
    for comparison, held, (left, right) in again:
        if not held or not all(isinstance(x, Tensor | float) for x in (left, right)):
            continue
        where = line_at(frame.f_code, number)
        if isinstance(comparison, ast.Compare):
            text = f"Its two sides are {compact(left)} and {compact(right)}."
            return Problem("", text, None, where)
        apart, size = distance(left, right)
        if apart != apart:
            return Problem("", "One of its sides holds nan there.", AND_NAN, where)
        if apart > NEAR * (1 + size):
            text = f"Its two sides differ there by up to {apart:.2g}."
            return Problem("", text, MUST_AGREE, where)
        tensors = isinstance(left, Tensor) and isinstance(right, Tensor)
        if tensors and left.shape == right.shape and left.numel():
            text = (
                "Its two sides agree there." if size else "Its two sides are 0 there."
            )
            return Problem("", text, WHICH_INPUTS, where)
    return None


def holds(comparison: ast.expr, scope: dict[str, object]) -> bool:
    """A comparison is true, for all entries."""
    try:
        value = value_of(comparison, scope)
    except AssertionError:
        return False
    return value is None or bool(torch.as_tensor(value).all())


def sides_seen(left: object, right: object) -> Problem:
    """Two things that were compared, in words."""
    apart, size = distance(left, right)
    if 0 < apart <= NEAR * (1 + size):
        text = f"Its two sides differ by no more than {apart:.2g}."
        return Problem("too-exact", text, TOO_EXACT)
    shown = [compact(side) for side in (left, right)]
    if shown[0] == shown[1]:
        more = f", and differ by up to {apart:.3g}" if 0 < apart < float("inf") else ""
        return Problem("", f"Its two sides are each {shown[0]}{more}.")
    return Problem("", f"Its two sides are {shown[0]} and {shown[1]}.")


def distance(left: object, right: object) -> tuple[float, float]:
    """How far two tensors or numbers are apart at most, and how large they are.

    0 where they are no numbers of equal shape.
    """
    kinds = (Tensor, float)
    if not (isinstance(left, kinds) or isinstance(right, kinds)):
        return 0.0, 0.0
    try:
        a, b = (torch.as_tensor(x).detach().double() for x in (left, right))
        if a.shape != b.shape and 1 not in (a.numel(), b.numel()):
            return 0.0, 0.0
        return float((a - b).abs().max()), float(torch.maximum(a.abs(), b.abs()).max())
    except (TypeError, ValueError, RuntimeError):
        return 0.0, 0.0


@functools.lru_cache(maxsize=8)
def tree_of(code: CodeType) -> tuple[ast.AST, int]:
    """The source of a function as a tree, and the number of the line before it.

    `inspect.getsource` would ask every loaded module first whether the file is its own.
    """
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename)
    before = min(code.co_firstlineno, len(lines)) - 1
    while before > 0 and not BEGINNING.match(lines[before]):  # of a comprehension
        before -= 1
    try:
        source = "".join(inspect.getblock(lines[before:]))
        return ast.parse(textwrap.dedent(source)), before
    except (SyntaxError, ValueError):
        return ast.Module([], []), 0


def last_line(frame: FrameType) -> int:
    """The line that ran last; where that is a `with`, the `return` inside of it.

    Python comes back to the `with` when the block is left.
    """
    tree, before = tree_of(frame.f_code)
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and node.lineno == frame.f_lineno - before:
            inside = [x for x in ast.walk(node) if isinstance(x, ast.Return)]
            if len(inside) == 1:
                return before + inside[0].lineno
    return frame.f_lineno


@functools.lru_cache(maxsize=8)
def comparisons(
    code: CodeType, number: int
) -> list[tuple[ast.expr, ast.expr, ast.expr]]:
    """The comparisons in a line of a function, each with its two sides."""
    tree, before = tree_of(code)
    found = decided(tree, number - before)
    if not found:
        return []
    names = [node.id for node in ast.walk(found) if isinstance(node, ast.Name)]
    parts = filter(None, [found, *(assigned(tree, name) for name in names)])
    sides = []
    for node in (node for part in parts for node in ast.walk(part)):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            sides.append((node, node.left, node.comparators[0]))
        elif isinstance(node, ast.Call) and called(node) in COMPARISONS:
            given = [*node.args[:2]]
            if isinstance(node.func, ast.Attribute) and len(given) == 1:
                given = [node.func.value, *given]  # a.equal(b)
            if len(given) == 2:
                sides.append((node, *given))
    return sides


def decided(tree: ast.AST, number: int) -> ast.AST | None:
    """What decided at this line: the statement, or the `if` around a mere value."""
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= number <= node.end_lineno
    ]
    around.sort(key=lambda node: node.end_lineno - node.lineno)
    if not around or isinstance(around[0], ast.FunctionDef | ast.ClassDef):
        return None
    if isinstance(getattr(around[0], "value", None), ast.Constant):
        return next((node.test for node in around if isinstance(node, ast.If)), None)
    return around[0]


def assigned(tree: ast.AST, name: str) -> ast.expr | None:
    """What a name stands for that is set once, as in `ok = a == b`."""
    values = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
    ]
    return values[0] if len(values) == 1 else None


def called(node: ast.Call) -> str:
    """The last name of what is called."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def value_of(node: ast.expr, scope: dict[str, object]) -> object:
    """Compute an expression anew. ValueError if that might give something else."""
    for part in ast.walk(node):
        if isinstance(part, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
            raise ValueError("not computed again")
        if isinstance(part, ast.Call) and not same_again(part, scope):
            raise ValueError("not computed again")
    code = compile(ast.Expression(node), "part", "eval")
    return eval(code, scope)


def same_again(node: ast.Call, scope: dict[str, object]) -> bool:
    """The call gives what it gave before: it draws nothing, and changes nothing."""
    name = called(node)
    if isinstance(node.func, ast.Attribute):
        return not CHANGING.fullmatch(name)
    thing = scope.get(name, getattr(builtins, name, None))
    if isinstance(thing, FunctionType):  # a version of the course, and no student's
        return not is_students(thing.__code__)
    return isinstance(thing, nn.Module) or hasattr(builtins, name)


def assertion_of_a_tuple(frame: FrameType | None) -> Problem | None:
    """The `assert (condition, "text")` of a test, if it has one."""
    tree, before = tree_of(frame.f_code) if frame else (ast.Module([], []), 0)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Tuple):
            text = "A tuple that is not empty is always true, and so is this `assert`."
            ask = "Which brackets are too many?"
            where = line_at(frame.f_code, before + node.lineno)
            return Problem("assert-of-a-tuple", text, ask, where)
    return None


def compact(value: object) -> str:
    """A thing in a few words: small tensors as numbers, large ones by their shape."""
    try:
        return compact_text(value)
    except Exception:  # its class may be hostile
        return f"a {type(value).__name__}"


def compact_text(value: object) -> str:
    """As `compact`; raises what the thing's own class raises."""
    if isinstance(value, Tensor):
        if value.numel() > FEW or value.is_meta:
            return f"a tensor {tuple(value.shape)}"
        return compact_text(value.tolist())
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None or isinstance(value, int | str):
        return f"{value!r:.60}"
    if isinstance(value, tuple | list):
        inside = [compact(x) for x in value[:FEW]] + ["…"] * (len(value) > FEW)
        text = ", ".join(inside)
        comma = "," if len(inside) == 1 else ""
        return f"[{text}]" if isinstance(value, list) else f"({text}{comma})"
    return f"a {type(value).__name__}"
