"""What a check hears: whatever an answer does is told, with its line and a question."""

import inspect
import json
import linecache
import math
import random
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.masked import masked_tensor
from torch.utils.checkpoint import checkpoint

from vit_encoder import attention, check
from vit_encoder.check.hearing import asking, meanings, students_tests
from vit_encoder.check.hearing.data import Form, Question
from vit_encoder.check.judging.misconceptions import edit, edits
from vit_encoder.check.judging.pictures import Show
from vit_encoder.check.judging.properties import (
    EDGES,
    REPEATS,
    SAME_IN_TRAINING,
    agrees,
    returns_right_shapes,
    stays_finite,
)
from vit_encoder.check.judging.questions import double, finish
from vit_encoder.check.self_attention import ATTENTION
from vit_encoder.check.tasks import BreakIt, Implement
from vit_encoder.grade import wire
from vit_encoder.grade.by_value import by_value

X = torch.randn(2, 5, 7, dtype=torch.float64)
FUNCTION = Form(("output",))
PAIR = Form(("output", "weights"))
MODULE = Form(("output",), is_class=True)
CALL = Question("x", (X,))
BUILD = Question("x", (X,), arguments={"dim": 7, "width": 4})
KNOWN = {"torch": torch, "nn": nn, "F": F}


def written(source, name, cell=3):
    """What a cell of a notebook defines under this name."""
    path = f"<cell {cell}>"
    linecache.cache[path] = (len(source), None, source.splitlines(True), path)
    scope = dict(KNOWN)
    with warnings.catch_warnings(action="ignore"):  # of Python, about such code
        exec(compile(source, path, "exec"), scope)
    return scope[name]


def heard(answer, form=FUNCTION, question=CALL):
    """What it said to one question, or what is wrong with it."""
    hearing = asking.ask_all(answer, form, [question])
    return hearing.problem or hearing.replies[question.name].problem


# Exceptions

A_MODULE = """
class Part(nn.Module):
    def __init__(self, dim, width):
        super().__init__()
        self.layer = nn.Linear(dim, width)
        self.layers = [nn.Linear(dim, width)]
        self.more = nn.ModuleList(self.layers)
        self.named = nn.ModuleDict({"a": self.layer})

    def helper(self, x, y):
        return x + y

    def forward(self, x):
        THE_LINE
"""
# Name → lines of a function of x, of which the last one raises, or of a `forward`.
FUNCTIONS = {
    "shapes-do-not-multiply": [
        "return x[0] @ x[0]",
        "return x @ x",
        "return x[0] @ x[0, 0, :3]",
        "return x[0, 0] @ x[0, 0, :3]",
        "return torch.bmm(x[0], x[0])",
        "return x @ x.sum()",
        "return F.linear(x, x[0].T)",
    ],
    "einsum-does-not-fit": [
        "return torch.einsum('bnd,bde->bne', x, x)",
        "return torch.einsum('nd->n', x)",
    ],
    "numbers-do-not-fill-shape": [
        "return x.view(2, 5, 3)",
        "return x.reshape(-1, 3)",
        "return x.unflatten(-1, (3, -1))",
    ],
    "view-of-reordered-tensor": ["return x.transpose(1, 2).view(2, 35)"],
    "split-does-not-add-up": ["return x.split([3, 3], -1)[0]"],
    "sizes-do-not-broadcast": [
        "return x + x[:, :3]",
        "return x.expand(3, 5, 7)",
        "return x.expand(5, 7)",
        "return x[0].clone().add_(x)",
        "return x.repeat(2)",
        "x.clone()[:, :2] = x[:, :3]",
    ],
    "parts-do-not-fit": [
        "return torch.cat([x, x[:1]], 1)",
        "return torch.cat([x, x[0]], 1)",
        "return torch.stack([x, x[:1]])",
        "return torch.stack([])",
        "return torch.cat([])",
        "return torch.cat([x.sum(), x.sum()])",
    ],
    "no-such-axis": ["return x.softmax(3)", "return x.transpose(1, 3)"],
    "too-many-indices": ["return x[:, :, :, 0]"],
    "permute-does-not-fit": ["return x.permute(0, 2)", "return x.permute(0, 1, 1)"],
    "index-out-of-range": [
        "return x[:, 5]",
        "return x.shape[3]",
        "return [x][1]",
        "return x.narrow(1, 0, 9)",
        "return F.embedding(torch.tensor([5]), x[0])",
    ],
    "wrong-number-of-axes": [
        "return F.conv2d(x[0], x[None])",
        "return x[0, 0].mT",
        "return x.t()",
        "return list(x.sum())",
        "return len(x.sum())",
        "return torch.triu(x[0, 0])",
    ],
    "layer-of-another-width": [
        "return F.layer_norm(x, (5,))",
        "return F.conv2d(x[None], torch.ones(3, 4, 1, 1).double())",
    ],
    "kernel-too-large": ["return F.conv2d(x[None], torch.ones(3, 2, 6, 6).double())"],
    "unpacking-does-not-fit": ["a, b = x.shape", "a, b, c, d = x.shape"],
    "parts-without-list": ["return torch.cat(x, x)", "return torch.stack(x, x)"],
    "dtypes-mixed": [
        "return x @ torch.ones(7, 4)",
        "return F.linear(x, torch.ones(4, 7))",
        "return torch.einsum('bnd,de->bne', x, torch.ones(7, 4))",
        "return F.conv2d(x[None], torch.ones(3, 2, 1, 1), torch.ones(3))",
        "return F.layer_norm(x, (7,), torch.ones(7))",
    ],
    "whole-numbers": [
        "return x.long().softmax(-1)",
        "return x.long().mean()",
        "return x.long().var()",
        "return nn.Parameter(x.long())",
        "return x.long().div_(2)",
        "return x.long() ** -1",
        "return F.gelu(x.int())",
    ],
    "mask-not-boolean": [
        "return x.masked_fill(x, 0)",
        "return torch.where(x, x, x)",
    ],
    "index-not-whole": [
        "return x[torch.ones(1)]",
        "return x[1.5]",
        "return x[:, :2.5]",
        "return [x][0.0]",
    ],
    "fraction-for-whole-number": [
        "return nn.Linear(7, 7 / 2)",
        "return range(7 / 2)",
        "return x.view(5, 3.5)",
        "return torch.zeros(2, 3.5)",
        "return x.chunk(2.0)",
    ],
    "in-place-on-expanded": ["return x[:, :, :1].expand(2, 5, 7).add_(1)"],
    "in-place-on-view": ["(x.requires_grad_() * 1).unbind(0)[0].add_(1)"],
    "in-place-on-leaf": ["x.requires_grad_().add_(1)"],
    "through-numpy": [
        "return x.requires_grad_().numpy()",
        "import numpy\n    return torch.softmax(numpy.ones(3), 0)",
    ],
    "graph-used-twice": [
        "y = (x.requires_grad_() ** 2).sum()\n    y.backward()\n    y.backward()"
    ],
    "gradient-inside": [
        "return x.sum().backward()",
        "return x.requires_grad_().backward()",
    ],
    "tensor-as-truth": ["return x if x > 0 else x", "assert x == x"],
    "tensor-as-number": [
        "import math\n    return math.exp(x)",
        "return int(x)",
        "return x.item()",
        "return range(x)",
    ],
    "not-a-layer": [
        "return nn.ModuleList([(x, x)])",
        "return nn.Sequential(F.gelu)",
        "return nn.ModuleList(nn.Linear(2, 3))",
    ],
    "tensor-for-parameter": ["nn.Linear(7, 5).weight = x"],
    "called-no-function": [
        "return x.shape(0)",
        "return x(0)",
        "a = 2\n    return a (x)",
    ],
    "list-called": ["return [nn.Identity()](x)", "return (nn.Identity(),)(x)"],
    "number-not-iterable": ["return [x for i in 3]"],
    "package-missing": ["import no_such_package"],
    "too-much-memory": ["return torch.empty(10**15)"],
    "endless-recursion": ["return answer(x)"],
    "division-by-zero": ["return x / (1 / 0)", "return 3 % 0"],
    "no-such-key": ["return {'a': x}['b']"],
    "name-without-value": ["if x is None:\n        y = x\n    return y"],
    "none-used": [
        "return x @ None",
        "return [x].sort().shape",
        "return F.linear(None, x)",
        "a, b = [x].sort()",
        "return None(x)",
        "return None[0]",
        "return torch.cat([x, None])",
        "return len(None)",
    ],
    "ellipsis-left": [
        "y = ...\n    return y @ x",
        "return (...).softmax(-1)",
        "return F.linear(..., x)",
    ],
    "tuple-for-tensor": ["return (x, x).softmax(-1)", "return x + (x,)"],
    "list-for-tensor": [
        "return [x].softmax(-1)",
        "return x + [x]",
        "return [x] + x",
        "return torch.softmax([1.0], 0)",
    ],
    "brackets-missing": [
        "return x / x.mean",
        "return x.dim - 1",
        "return x.size[0]",
        "return x + answer",
    ],
    "class-for-instance": ["return x + nn.Linear"],
    "number-for-tensor": [
        "return torch.sqrt(7)",
        "return x @ 3",
        "return (3).softmax(-1)",
        "return torch.cat([x, 3])",
    ],
    "text-for-tensor": ["return x + 'x'"],
    "iterator-for-list": ["return (y for y in x)[0]", "return map(abs, x) @ x"],
    "layer-not-called": [
        "return x + nn.Linear(7, 7)",
        "return nn.Linear(7, 7).softmax(-1)",
        "return torch.cat([nn.Linear(7, 7)])",
    ],
    "own-error": ["raise ValueError('no')", "raise SystemExit"],
    "own-assert": ["assert x.ndim == 2"],
    "undefined-name": ["return scores @ x"],
    "no-such-attribute": [
        "return x.sofmax(-1)",
        "return torch.sofmax(x, -1)",
        "return nn.Linar(2, 3)",
        "return nn.Linear(2, 3).wieght",
    ],
    "wrong-torch-arguments": [
        "return x.softmax()",
        "return x.transpose(1)",
        "return x.sum('a')",
        "return x.softmax(dim=(0, 1))",
        "return nn.Linear(7)",
        "return nn.Linear(7, 7)(x, x)",
        "return x.reshape(2.5, 2)",
        "return torch.softmax(x, -1, 3, 4, 5)",
    ],
    "wrong-arguments": ["f = lambda a, b: a\n    return f(x)", "return answer(x, x)"],
}
METHODS = {
    "container-called": ["return self.more(x)", "return self.named(x)"],
    "list-called": ["return self.layers(x)"],
    "no-such-key": ["return self.named['b'](x)"],
    "undefined-name": ["return laier(x)"],
    "self-dot-forgotten": ["return layer(x)"],
    "attribute-never-set": ["return self.layr(x)", "return self.values(x)"],
    "layer-not-called": ["return self.layer.softmax(-1)", "return x @ self.layer"],
    "wrong-arguments": ["return self.helper(x)", "return self.helper(x, x, x)"],
    "wrong-torch-arguments": ["return self.layer(self, x)"],
    "tensor-for-parameter": ["self.layer = x"],
    "shapes-do-not-multiply": ["return self.layer(x.mT)"],
    "none-used": ["return self.layer([x].sort())"],
}


BACKWARD = {
    "in-place-breaks-gradient": [
        "y = x.exp()\n    y2 = y * 2\n    y.mul_(2)\n    return y2 + y"
    ],
}


A_PART = written(A_MODULE.replace("THE_LINE", "return self.layer(x)"), "Part")


def told_in(table):
    return [
        pytest.param(name, lines, id=f"{name}-{lines[-30:]}")
        for name, found in table.items()
        for lines in found
    ]


@pytest.mark.parametrize(("name", "lines"), told_in(FUNCTIONS))
def test_an_exception_has_a_name_a_question_and_its_line(name, lines):
    source = f"def answer(x):\n    {lines}\n"
    problem = heard(written(source, "answer"))
    last = lines.splitlines()[-1].strip()
    assert (problem.name, problem.where.partition(": ")[2]) == (name, last), problem
    number = len(source.splitlines())
    assert problem.where.startswith(f"Cell 3, line {number}, in `answer`: ")
    assert problem.text.startswith("It raised ")
    assert problem.ask.endswith("?")


@pytest.mark.parametrize(("name", "line"), told_in(METHODS))
def test_an_exception_in_a_module_too(name, line):
    source = A_MODULE.replace("THE_LINE", line)
    problem = heard(written(source, "Part"), MODULE, BUILD)
    assert problem.name == name, problem
    assert problem.where == f"Cell 3, line 14, in `forward`: {line}"
    assert problem.ask.endswith("?")


def changed(**lines):
    """The module with other lines: what they stand for by their first word."""
    source = A_MODULE.replace("THE_LINE", "return self.layer(x)")
    for old, new in lines.values():
        assert source.count(old) == 1
        source = source.replace(old, new)
    return written(source, "Part")


MODULES = {  # the line that is changed, into what, what must be seen
    "super-init-missing": ("        super().__init__()\n", "", "line 4"),
    "arguments-to-super-init": (
        "super().__init__()",
        "super().__init__(dim)",
        "line 4",
    ),
    "self-forgotten": ("forward(self, x)", "forward(x)", "defined as `forward(x)`"),
    "wrong-signature": ("(self, dim, width)", "(self, dim)", "`__init__(self, dim)`"),
    "error-returned": (
        "        super",
        "        return ValueError()\n        super",
        "",
    ),
}


def test_all_names_are_tried():
    tried = {*FUNCTIONS, *METHODS, *MODULES, *BACKWARD, "raises", "branch-unwritten"}
    assert tried == meanings.NAMES


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_cannot_be_built_or_called(name):
    old, new, seen = MODULES[name]
    problem = heard(changed(line=(old, new)), MODULE, BUILD)
    assert problem.name == name
    assert seen in problem.text + problem.where
    assert problem.ask.endswith("?")


def test_arguments_to_super_init_are_told_after_a_compilation():
    """What is compiled puts a function around that of nn.Module, for good."""
    torch.compile(nn.Linear(2, 3), backend="eager")(torch.zeros(1, 2))
    assert nn.Module.__init__.__module__ != nn.Module.__module__
    test_a_module_that_cannot_be_built_or_called("arguments-to-super-init")


@pytest.mark.parametrize(("name", "lines"), told_in(BACKWARD))
def test_what_stops_the_gradients_is_told(name, lines):
    question = Question("x", (X,), cotangent=torch.ones_like(X))
    problem = heard(
        written(f"def answer(x):\n    {lines}\n", "answer"), FUNCTION, question
    )
    assert problem.name == name
    assert problem.text.startswith(
        "Its gradients cannot be computed. It raised Runtime"
    )


def test_the_line_is_the_students_own():
    """Not that of a library, or of the course, which it calls."""

    def answer(x):
        y = x.mT
        return attention(y, x, x)

    problem = heard(answer)
    assert problem.name == "shapes-do-not-multiply"
    number = answer.__code__.co_firstlineno + 2
    assert problem.where == f"Line {number}, in `answer`: return attention(y, x, x)"


def test_a_call_of_the_task_has_no_line():
    problem = heard(lambda: 3)
    assert (problem.name, problem.where) == ("wrong-signature", "")
    assert "() takes 0 positional arguments but 1 was given." in problem.text


def test_code_of_the_course_is_shown_nowhere():
    """A version that is lent is called by the student, whose line it is."""
    wrong = students_tests.lent(edited("keys-not-transposed").wrong)
    reply = asking.ask(lambda x: wrong(x, x, x), PAIR, CALL)
    assert "lambda x: wrong(x, x, x)" in reply.problem.where


def edited(name):
    return next(m for m in ATTENTION if m.name == name)


def test_long_texts_are_cut():
    line = f"raise ValueError({'long ' * 100!r})"
    problem = heard(written(f"def answer(x):\n    {line}\n", "answer"))
    assert max(map(len, (problem.text, problem.where))) < 300
    assert "…" in problem.text
    assert "…" in problem.where


def test_an_exception_that_cannot_be_shown_is_survived():
    class HostileError(Exception):
        def __str__(self):
            raise SystemExit

        def __getattribute__(self, name):
            raise SystemExit

    class Named(type):
        __name__ = property(lambda self: 1 / 0)
        __mro__ = property(lambda self: 1 / 0)

    class NamelessError(Exception, metaclass=Named):
        pass

    def raises(error):
        def answer(x):
            raise error

        return answer

    assert heard(raises(HostileError)).name == "raises"
    assert heard(raises(NamelessError)).name == "own-error"


# Not answered, in all or in part

STUBS = {
    "not-answered": [
        "raise NotImplementedError",
        "raise NotImplementedError('still to do')",
        "y = x\n    return ...",
    ],
    "container-called": ["return nn.ModuleList([nn.Identity()])(x)"],
    "own-error": ["raise ValueError"],
    "whole-numbers": ["return x.long().softmax(-1)"],
}


@pytest.mark.parametrize(("name", "lines"), told_in(STUBS))
def test_only_a_stub_is_not_answered(name, lines):
    assert heard(written(f"def answer(x):\n    {lines}\n", "answer")).name == name


def doubled(question, taken):
    """The oracle of the small task below."""
    return finish(question, {}, (2 * question.inputs[0].double(),))


TASK = Implement(
    form=FUNCTION,
    ask_about=lambda seed: [CALL, Question("one image", (X[:1],))],
    oracle=doubled,
    properties=(
        agrees("it doubles", "x", ask="How often?", core=True),
        agrees("one image", "one image", ask="How many?"),
    ),
    misconceptions=(),
)


def judged(answer, task=TASK, out_of=2):
    """The verdict on an answer to a small task."""
    questions = task.questions(0)
    return task.judge(questions, task.listener(questions)(answer), out_of)


@pytest.mark.parametrize("left", ["return ...", "raise NotImplementedError"])
def test_a_branch_that_is_not_written_is_told_with_its_inputs(left):
    lines = f"if len(x) == 1:\n        {left}\n    return 2 * x"
    verdict = judged(written(f"def answer(x):\n    {lines}\n", "answer"))
    assert (verdict.answered, verdict.points) == (True, 1)
    assert verdict.misconceptions == ("branch-unwritten",)
    assert "For an input of shape (1, 5, 7): Here it is not written" in verdict.message
    assert judged(lambda x: ...).answered is False


def test_inputs_are_named_only_where_they_matter():
    def by_size(x):
        return x @ x

    def always(x):
        return nothing @ x  # noqa: F821

    assert "For an input" in judged(by_size).message
    assert "For an input" not in judged(always).message
    assert "For an input" not in judged(lambda: 3).message


# What comes back

RETURNED = {  # name → last lines of an answer of which one tensor is expected
    "returns-none": ["y = 2 * x", "y = x\n    return", "return [x].sort()"],
    "printed-not-returned": ["print(2 * x)"],
    "trailing-comma": ["y = 2 * x,\n    return y", "return 2 * x,"],
    "error-returned": ["return ValueError('no')", "return TypeError"],
    "function-returned": ["return x.softmax", "return torch.relu", "return answer"],
    "layer-returned": ["return nn.Linear(7, 7)"],
    "truth-value-returned": ["return bool((x == x).all())"],
    "number-returned": ["return x.sum().item()", "return 3"],
    "text-returned": ["return str(x)"],
    "generator-returned": ["yield x", "return (y for y in x)", "return map(abs, x)"],
    "numpy-returned": ["return x.numpy()", "return x.numpy().sum()"],
    "not-implemented-returned": ["return NotImplemented"],
    "wrong-type": ["return [x]", "return x, x", "return {'x': x}", "return ()"],
    "not-answered": ["return ..."],
}
PAIRED = {  # the same where a pair is expected
    "returns-none": ["y = x, x"],
    "trailing-comma": ["y = 2 * x,\n    return y, x", "return (x, x),", "return x,"],
    "numpy-returned": ["return x, x.numpy()"],
    "wrong-type": ["return x", "return [x, x]", "return x, x, x", "return x, None"],
}


@pytest.mark.parametrize(
    ("form", "name", "lines"),
    [
        *((FUNCTION, *case.values) for case in told_in(RETURNED)),
        *((PAIR, *case.values) for case in told_in(PAIRED)),
    ],
)
def test_what_comes_instead_has_a_name(form, name, lines):
    problem = heard(written(f"def answer(x):\n    {lines}\n", "answer"), form)
    assert problem.name == name
    if name != "not-answered":
        wanted = "one tensor" if form is FUNCTION else "a tuple (output, weights)"
        assert f", expected {wanted}." in problem.text


def test_a_parameter_is_a_tensor():
    assert heard(lambda x: nn.Parameter(x)) is None


def test_printing_alone_is_no_fault(capsys):
    def loud(x):
        print(x)
        return 2 * x

    assert judged(loud).passed
    assert capsys.readouterr().out == ""


# What is handed in

HANDED_IN = [
    (FUNCTION, "None", "not-answered", "Replace `...`"),
    (FUNCTION, "...", "not-answered", "Replace `...`"),
    (FUNCTION, "'answer'", "wrong-kind", "Are the quotes needed?"),
    (FUNCTION, "torch.ones(3)", "wrong-kind", "Is it called here"),
    (FUNCTION, "(torch.ones(3),)", "wrong-kind", "Is it called here"),
    (FUNCTION, "True", "wrong-kind", "Is it called here"),
    (FUNCTION, "math", "wrong-kind", "Give a function, not the file math."),
    (FUNCTION, "nn.Linear", "wrong-kind", "not the class Linear."),
    (MODULE, "nn.Linear(2, 3)", "wrong-kind", "What do the round brackets"),
    (MODULE, "'Part'", "wrong-kind", "Are the quotes needed?"),
    (MODULE, "lambda: 3", "wrong-kind", "not the function <lambda>."),
    (MODULE, "math", "wrong-kind", "not the file math."),
    (MODULE, "Bare", "wrong-kind", "What does it inherit from"),
    (MODULE, "Misspelt", "wrong-kind", "It has no `forward`. It has `foward`."),
    (MODULE, "nn.ModuleDict", "wrong-kind", "It has no `forward`."),
    (MODULE, "Empty", "not-answered", "`forward` is empty"),
]


class Bare:
    def forward(self, x):
        return x


class Misspelt(nn.Module):
    def foward(self, x):
        return x


class Empty(nn.Module):
    def forward(self, x): ...


@pytest.mark.parametrize(("form", "given", "name", "seen"), HANDED_IN)
def test_what_cannot_be_asked_is_told(form, given, name, seen):
    answer = eval(given, KNOWN | globals() | {"math": math})
    problem = heard(answer, form)
    assert problem.name == name
    assert seen in f"{problem.text} {problem.ask}"


class Liar:
    __class__ = property(lambda self: type(lambda: 0))
    __code__ = property(lambda self: 1 / 0)
    __name__ = property(lambda self: exit())


@pytest.mark.parametrize("form", [FUNCTION, MODULE])
def test_what_lies_about_itself_is_survived(form):
    problem = heard(Liar(), form)
    assert problem.text.startswith("It cannot be looked at. It raised ZeroDivision")


# Anything may come back: a task of each kind, with all that a report is made of

SMALL = torch.tensor([[[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]]], dtype=torch.float64)
WEIGHT = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]], dtype=torch.float64)


def asked(*inputs, **more):
    """The questions that the edges of every part look at."""
    single = tuple(x.float() for x in inputs)
    return [
        Question("small", inputs, **more),
        Question("in training", inputs, **more, training=True),
        Question("float32", single, **more),
        Question("float32 again", single, **more),
        Question("gradients", inputs, **more, cotangent=torch.ones(1, 2, 2).double()),
        Question("another device", inputs, **more, device="meta"),
    ]


def product(question, taken):
    """The oracle of all three: x Wᵀ, and where two are wanted its shares."""
    leaves = {"input 0": double(question.inputs[0])}
    if question.parameters:
        leaves |= {name: double(question.parameters[name]) for name in taken}
        weight = leaves.get("layer.weight", WEIGHT)
    else:
        leaves["input 1"] = weight = double(question.inputs[1])
    y = leaves["input 0"] @ weight.mT
    return finish(question, leaves, (y, y.softmax(-1)))


def one(question, taken):
    outputs, gradients = product(question, taken)
    return outputs[:1], gradients


def small_task(form, questions, oracle=one):
    return Implement(
        form=form,
        ask_about=lambda seed: questions,
        oracle=oracle,
        properties=(
            REPEATS,
            returns_right_shapes("shapes", "small", ask="Which?"),
            agrees("numbers", "small", ask="Which?", core=True),
            stays_finite("finite", "small", "Which?"),
            SAME_IN_TRAINING,
            *EDGES,
        ),
        misconceptions=(),
        show=Show(
            ("small",),
            inputs=("x", "weight")[: len(questions[0].inputs)],
            axes=dict.fromkeys(form.outputs, ("token", "feature")),
        ),
    )


BUILT = {
    "initial": True,
    "arguments": {"dim": 3, "width": 2},
    "parameters": {"layer.weight": WEIGHT},
}
TASKS = {
    "one": small_task(FUNCTION, asked(SMALL, WEIGHT)),
    "two": small_task(PAIR, asked(SMALL, WEIGHT), product),
    "class": small_task(MODULE, asked(SMALL, **BUILT)),
}


def answer_of(kind, make):
    """An answer of the kind of a task that is right but for `make`, done in the end."""

    class Part(nn.Module):
        def __init__(self, dim, width):
            super().__init__()
            self.layer = nn.Linear(dim, width, bias=False)

        def forward(self, x):
            return make(self.layer(x))

    def two(x, weight):
        y = x @ weight.mT
        return make(y), make(y.softmax(-1))

    return {"one": lambda x, w: make(x @ w.mT), "two": two, "class": Part}[kind]


def sent(hearing):
    """The hearing as it arrives in the marking process."""
    return wire.decode_hearing(json.loads(json.dumps(wire.encode(hearing))))


def judged_twice(answer, task):
    """The verdict in a notebook, which is that of marking, too."""
    questions = task.questions(0)
    hearing = task.listener(questions)(answer)
    verdict = task.judge(questions, hearing, 3)
    assert task.judge(questions, sent(hearing), 3) == verdict
    return verdict


def hostile(**methods):
    """A subclass of tensors with these methods, made of a plain one."""
    kind = type("Odd", (torch.Tensor,), methods)
    return lambda y: y.as_subclass(kind)


def fails(*_, **__):
    raise ZeroDivisionError("odd")


@classmethod
def always_true(cls, func, types, args=(), kwargs=None):
    if func.__name__ in ("allclose", "equal", "eq", "all", "__get__"):
        return True
    return torch.Tensor.__torch_function__.__func__(cls, func, types, args, kwargs)


def in_fake_mode(y):
    with FakeTensorMode():
        return torch.ones(y.shape)


def leaked(y):
    kept = []
    torch.vmap(lambda row: (kept.append(row), row)[1])(y)
    return kept[0]


def in_inference(y):
    with torch.inference_mode():
        return y + 0


def of_dtype(dtype):
    """Numbers of a dtype; whatever is in memory where it cannot be computed."""

    def make(y):
        try:
            return y.to(dtype)
        except (RuntimeError, TypeError, NotImplementedError):
            return torch.empty(y.shape, dtype=dtype, device=y.device)

    return make


ALL_DTYPES = sorted(
    {d for d in vars(torch).values() if isinstance(d, torch.dtype)}, key=str
)
FRACTIONS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
STILL_RIGHT = {  # odd, and right all the same
    "not contiguous": lambda y: y.mT.contiguous().mT,
    "conjugate twice": lambda y: torch.complex(y, 0 * y).conj().real,
    "negative view": lambda y: torch.complex(0 * y, -y).conj().imag,
    "parameter": lambda y: y + nn.Parameter(torch.zeros(2)).to(y),
    "subclass": hostile(),
    "repr raises": hostile(__repr__=fails, __str__=fails),
    "eq raises": hostile(__eq__=fails, __bool__=fails, __len__=fails, __float__=fails),
    "torch function lies": hostile(__torch_function__=always_true),
    "class lies": hostile(__class__=int),
    "methods raise": hostile(detach=fails, double=fails, clone=fails, numel=fails),
}
ODD = {  # what comes back → words of the report
    "sparse": (lambda y: y.to_sparse(), "torch.sparse_coo"),
    "csr": (lambda y: y[0].to_sparse_csr(), "torch.sparse_csr"),
    "bsr": (lambda y: y[0].to_sparse_bsr((1, 1)), "torch.sparse_bsr"),
    "mkldnn": (lambda y: y.detach().float().to_mkldnn(), "torch._mkldnn"),
    "nested": (lambda y: torch.nested.nested_tensor([*y]), "nested"),
    "jagged": (
        lambda y: torch.nested.nested_tensor([*y], layout=torch.jagged),
        "Nested",
    ),
    "masked": (lambda y: masked_tensor(y.detach(), y > 0), "MaskedTensor"),
    "fake": (in_fake_mode, "FakeTensor"),
    "functional": (lambda y: torch._to_functional_tensor(y), "functional"),
    "leaked": (leaked, "torch.func"),
    "quantized": (
        lambda y: torch.quantize_per_tensor(y.detach().float(), 0.1, 0, torch.qint8),
        "torch.qint8",
    ),
    "meta": (lambda y: y.to("meta"), "the device meta, expected cpu"),
    "repeated": (lambda y: y[..., :1].expand(y.shape), "differ"),
    "number": (lambda y: y.sum(), "shape ()"),
    "empty": (lambda y: y[:0], "shape (0, 2, 2)"),
    "no axis of it": (lambda y: y.new_empty(0), "shape (0,)"),
    "huge": (lambda y: y[..., :1].expand(1, 2, 10**11), "far too large"),
    "all axes": (lambda y: y.view(*[1] * 60, 2, 2), "shape (1, 1,"),
    "nan": (lambda y: y * torch.nan, "nan"),
    "detached": (lambda y: y.detach(), "No gradient flows"),
    "inference": (in_inference, "gradient"),
    "leaf": (lambda y: y.detach().requires_grad_(), "No gradient reaches"),
    "torch function raises": (hostile(__torch_function__=classmethod(fails)), "odd"),
    "shape lies": (hostile(shape=(1,), ndim=0, device="x", dtype=3, layout=1), ""),
}


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", STILL_RIGHT)
def test_an_odd_tensor_may_be_right(kind, name):
    verdict = judged_twice(answer_of(kind, STILL_RIGHT[name]), TASKS[kind])
    assert verdict.passed, verdict.message


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", ODD)
def test_whatever_comes_back_is_told(kind, name):
    make, seen = ODD[name]
    verdict = judged_twice(answer_of(kind, make), TASKS[kind])
    assert not verdict.passed
    assert seen in verdict.message


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("dtype", ALL_DTYPES, ids=str)
def test_whatever_dtype_comes_back_is_told(kind, dtype):
    verdict = judged_twice(answer_of(kind, of_dtype(dtype)), TASKS[kind])
    assert not verdict.passed
    assert str(dtype) in verdict.message
    name = "dtype-changed" if dtype in FRACTIONS else "wrong-dtype"
    assert verdict.misconceptions == (name,)
    assert (verdict.points > 0) == (dtype in FRACTIONS)


def retyped(x):
    x.data = x.data.to(torch.complex64)


LEFT = {  # what is done to the input
    "written": lambda x: x.mul_(2),
    "retyped": retyped,
    "resized": lambda x: x.resize_(10**3),
    "turned": lambda x: x.transpose_(1, 2),
    "emptied": lambda x: x.set_(),
}


@pytest.mark.parametrize("name", LEFT)
def test_whatever_an_input_becomes_is_told(name):
    def answer(x, weight):
        y = x @ weight.mT
        with torch.no_grad():
            LEFT[name](x)
        return y

    verdict = judged_twice(answer, TASKS["one"])
    assert "input-changed" in verdict.misconceptions


HELD = {
    "complex": lambda w: nn.Parameter(w.to(torch.complex64)),
    "whole": lambda w: nn.Parameter(w.long(), requires_grad=False),
    "float8": lambda w: nn.Parameter(w.to(torch.float8_e4m3fn), requires_grad=False),
    "sparse": lambda w: nn.Parameter(w.to_sparse()),
    "meta": lambda w: nn.Parameter(w.to("meta")),
    "hostile": lambda w: nn.Parameter(hostile(copy_=fails, T=3)(w)),
}


@pytest.mark.parametrize("name", HELD)
def test_whatever_a_module_holds_is_survived(name):
    class Part(nn.Module):
        def __init__(self, dim, width):
            super().__init__()
            self.layer = nn.Linear(dim, width, bias=False)
            self.layer.weight = HELD[name](torch.ones(width, dim))

        def forward(self, x):
            return self.layer(x)

    assert judged_twice(Part, TASKS["class"]).message


# Random numbers

SEEDED = {
    "torch": lambda: torch.manual_seed(0),
    "torch.random": lambda: torch.random.manual_seed(0),
    "generator": lambda: torch.Generator().manual_seed(0),
    "default generator": lambda: torch.default_generator.manual_seed(0),
    "cuda": lambda: torch.cuda.manual_seed(0),
    "all of cuda": lambda: torch.cuda.manual_seed_all(0),
    "python": lambda: random.seed(0),
}
UNSEEDED = {
    "nothing": lambda: None,
    "drawn": lambda: torch.rand(3),
    "kept": lambda: torch.set_rng_state(torch.get_rng_state()),
    "python": lambda: random.Random().random(),
    "checkpoint": lambda: checkpoint(torch.relu, X, use_reentrant=False),
}


@pytest.mark.parametrize(
    ("do", "seeded"),
    [
        *(pytest.param(do, True, id=f"seeds {n}") for n, do in SEEDED.items()),
        *(pytest.param(do, False, id=f"leaves {n}") for n, do in UNSEEDED.items()),
    ],
)
def test_who_seeds_is_noticed_in_the_reply_alone(do, seeded):
    def answer(x, first):
        if first:
            do()
        return x

    questions = [Question("first", (X, True)), Question("then", (X, False))]
    replies = asking.ask_all(answer, FUNCTION, questions).replies
    assert (replies["first"].seeded, replies["then"].seeded) == (seeded, False)


def test_to_build_seeds_nothing():
    replies = asking.ask_all(A_PART, MODULE, [BUILD]).replies
    assert not replies["x"].problem
    assert not replies["x"].seeded


# Tests that students write


def twice(x):
    """2 x."""
    return 2 * x


class Twice(nn.Module):
    """A layer whose output is doubled."""

    def __init__(self, dim):
        super().__init__()
        self.layer = nn.Linear(dim, dim)

    def forward(self, x):
        return 2 * self.layer(x)


def added(x):
    return x + x * (1 + 1e-6)


class Added(Twice):
    def forward(self, x):
        return self.layer(x) + self.layer(x)


WRONG = edits(twice, edit("thrice", {"2 * x": "3 * x"}, "It is three times x.", "How?"))
WRONG_CLASS = edits(
    Twice, edit("once", {"2 * self": "self"}, "It is the layer.", "How often?")
)
TEST = BreakIt({"the first": twice, "one that adds": added}, WRONG, "What is true?")
TEST_CLASS = BreakIt({"the first": Twice, "one that adds": Added}, WRONG_CLASS, "What?")
GOOD = "return torch.allclose(part(torch.ones(3)), 2 * torch.ones(3))"
GOOD_CLASS = """m = part(3)
    x = torch.randn(2, 3)
    return torch.allclose(m(x), 2 * m.layer(x))"""
X_3 = "x = torch.tensor([1.0, 2.0, 3.0])"
REJECTS = {  # the slip, or "" → the lines of a test, and words of the report
    "": [
        (
            f"{X_3}\n    return torch.equal(part(x), x)",
            "Its two sides are [2, 4, 6] and [1, 2, 3].",
        ),
        (
            f"{X_3}\n    y = part(x)\n    assert y.shape == (3, 1), 'one column'",
            'Its two sides are (3,) and (3, 1).\nIt says: "one column"',
        ),
        (
            f"{X_3}\n    ok = part(x).sum() < 7\n    return bool(ok)",
            "Its two sides are 12 and 7.",
        ),
        (
            f"{X_3}\n    if part(x)[0] != 1:\n        return False\n    return True",
            "Its two sides are 2 and 1.",
        ),
        (
            "x = torch.randn(9)\n    torch.testing.assert_close(part(x), x)",
            "Its two sides are each a tensor (9,), and differ by up to",
        ),
        ("part(torch.ones(1))\n    return False", "line 4, in `test`: return False"),
        (
            "with torch.no_grad():\n        x = torch.ones(3)\n"
            "        return torch.equal(part(x), x)",
            "line 5, in `test`: return torch.equal(part(x), x)",
        ),
        (
            "try:\n        part(None)\n    except TypeError:\n        return False",
            "It was called with None and raised TypeError: unsupported operand",
        ),
        (
            "try:\n        part(torch.ones(2, 3), torch.ones(2))\n"
            "    except TypeError:\n        return False",
            "and raised TypeError: ",
        ),
        (  # the claim that fails cannot be computed again
            f"{X_3}\n    return part(x)[0] == 2 and next(iter([False]))",
            "line 4, in `test`: return part(x)[0] == 2 and",
        ),
    ],
    "answer-inverted": [
        (f"{X_3}\n    return not torch.allclose(part(x), 2 * x)", "agrees, and then"),
        (f"{X_3}\n    return bool((part(x) - 2 * x).abs().max() > 1e-4)", "agrees"),
        (f"{X_3}\n    if part(x)[0] == 2:\n        return False", "agrees, and then"),
    ],
    "too-exact": [
        (
            f"{X_3}\n    return torch.equal(part(x), 2 * x)",
            "a right version, one that adds.\nIts two sides differ by no more than",
        ),
        (f"{X_3}\n    assert (part(x) == 2 * x).all()", "line 4, in `test`: assert"),
        (f"{X_3}\n    assert part(x)[2] == 6.0", "differ by no more than"),
    ],
    "depends-on-chance": [
        (
            "test.turn = getattr(test, 'turn', 0) + 1\n    part(torch.ones(3))\n"
            "    return test.turn % 2 == 0",
            "Asked again, it accepts the same version.",
        )
    ],
    "keeps-between-versions": [
        (
            "kept.append(part(torch.randn(3)))\n    return kept[0].equal(kept[-1])",
            "It keeps something",
        )
    ],
    "version-never-called": [
        ("return False", "It never calls"),
        ("assert False", "It"),
    ],
    "tensor-as-truth": [("return part(torch.ones(3)) == 2", "return part(torch.ones")],
    "wrong-arguments": [("return part(3, 4)", "It is defined as `part(x)`.")],
    "attribute-never-set": [],
    "number-for-verdict": [("return part(torch.zeros(1))", "any number but 0")],
    "no-such-attribute": [("return part(torch.ones(3)).alclose", "Tensor")],
    "undefined-name": [("return twice(part)", "name 'twice' is not defined")],
}
ACCEPTS = {
    "": [
        ("return part(torch.ones(3)).shape == (3,)", "It is three times x."),
        ("assert part(torch.ones(3)).shape == (3,)", "It is three times x."),
        (
            "torch.testing.assert_close(part(torch.zeros(3)), torch.zeros(3))",
            "Its two sides are 0 there.",
        ),
        (
            f"{X_3}\n    return torch.allclose(part(x), 2 * x, atol=9)",
            "Its two sides differ there by up to 3.\nCell 3, line 4, in `test`: return",
        ),
        (
            f"{X_3}\n    return torch.allclose(part(0 * x - 1), part(-x / x))",
            "Its two sides agree there.",
        ),
        (
            f"{X_3}\n    return bool((2 * x - part(x)).max() < 1e-4)",
            "Its two sides are -1 and 0.0001.",
        ),
    ],
    "test-says-nothing": [("part(torch.ones(3))", "neither returned a value nor")],
    "version-never-called": [
        ("return True", "return True"),
        ("x = 3", "It never calls"),
    ],
    "assert-of-a-tuple": [
        ("assert (part(torch.ones(1)) == 2, 'twice')", "line 3, in `test`: assert (")
    ],
    "always-true": [
        ("return part(torch.ones(1)) == 2, 'twice'", "It returned ([False], 'twice')"),
        ("return 'no' if part(torch.ones(1)) > 2 else 'yes'", "It returned 'no'"),
        ("part(torch.ones(1))\n    return nn.Identity()", "It returned a Identity"),
    ],
    "number-for-verdict": [("return part(torch.ones(1)) - 5", "any number but 0")],
}


def test_of(lines, name="part"):  # noqa: PT028, no test of this file
    """A student's test with these lines."""
    source = f"kept = []\ndef test({name}):\n    {lines}\n"
    return written(source, "test")


test_of.__test__ = False


def cases(table):
    return [
        pytest.param(name, lines, seen, id=f"{name}-{lines[-30:]}")
        for name, found in table.items()
        for lines, seen in found
    ]


@pytest.mark.parametrize(("slip", "lines", "seen"), cases(REJECTS))
def test_why_a_right_version_is_refused_is_told(slip, lines, seen):
    verdict = judged_twice(test_of(lines), TEST)
    names = ("test-rejects-right", slip) if slip else ("test-rejects-right",)
    assert (verdict.points, verdict.misconceptions) == (0, names), verdict.message
    first = verdict.message.splitlines()[0]
    assert first.startswith(
        ("Your test says no to a right", "Your test stopped on a ri")
    )
    assert (
        seen.replace("line 2", "line 3") in verdict.message or seen in verdict.message
    )
    assert "\nCell 3, line " in verdict.message
    assert "\nQuestion: " in verdict.message
    called = slip not in ("version-never-called", "undefined-name")
    assert ("\nIt was called with " in verdict.message) == called


@pytest.mark.parametrize(("slip", "lines", "seen"), cases(ACCEPTS))
def test_why_a_wrong_version_is_accepted_is_told(slip, lines, seen):
    verdict = judged_twice(test_of(lines), TEST)
    names = ("test-accepts-wrong", slip) if slip else ("test-accepts-wrong",)
    assert (verdict.points, verdict.misconceptions) == (0, names), verdict.message
    assert seen in verdict.message
    assert ("nor raised" in verdict.message) == (slip == "test-says-nothing")
    assert "Your test also passes thrice: It is three times x." in verdict.message
    assert "\nQuestion: " in verdict.message


def test_the_numbers_of_a_refusal_are_shown():
    verdict = judged_twice(test_of(f"{X_3}\n    return part(x)[0] == x[0]"), TEST)
    assert "It was called with [1, 2, 3] and returned [2, 4, 6]." in verdict.message


def test_good_tests_pass_and_leave_no_trace():
    before = sys.gettrace()
    assert judged_twice(test_of(GOOD), TEST).passed
    assert judged_twice(test_of(GOOD_CLASS), TEST_CLASS).passed
    assert sys.gettrace() is before


CLASSES = {
    "weights-differ": [
        (
            "x = torch.randn(2, 3)\n    a, b = part(3), part(3)\n"
            "    return torch.allclose(a(x), b(x))",
            "\nIt was called with [[",
        ),
        (
            "x = torch.randn(1, 3)\n    a, b = part(3), nn.Linear(3, 3)\n"
            "    return torch.allclose(a(x), 2 * b(x))",
            "each new one draws its own",
        ),
    ],
    "": [
        (
            "x = torch.randn(1, 3)\n    a, b = part(3), part(3)\n"
            "    b.load_state_dict(a.state_dict())\n"
            "    return torch.allclose(a(x), 2 * b(x))",
            "Its two sides are [[",
        )
    ],
    "wrong-arguments": [("return part()", "It was built with nothing.")],
    "attribute-never-set": [("return part(3).linear", "It has: layer.")],
}


@pytest.mark.parametrize(("slip", "lines", "seen"), cases(CLASSES))
def test_why_a_right_class_is_refused_is_told(slip, lines, seen):
    verdict = judged_twice(test_of(lines), TEST_CLASS)
    names = ("test-rejects-right", slip) if slip else ("test-rejects-right",)
    assert (verdict.points, verdict.misconceptions) == (0, names), verdict.message
    assert seen in verdict.message
    assert "\nCell 3, line " in verdict.message


def test_a_test_that_takes_nothing_is_told_so():
    verdict = judged_twice(test_of(GOOD, name=""), TEST)
    assert verdict.misconceptions == ("test-rejects-right", "wrong-signature")
    assert "`test()`" in verdict.message


class Hostile:
    """Nothing about it can be looked at."""

    def __call__(self, part):
        part(torch.ones(3))
        return self

    def __bool__(self):
        return True

    def __repr__(self):
        raise SystemExit

    def __getattribute__(self, name):
        raise SystemExit


def test_a_hostile_test_is_survived():
    assert not judged_twice(Hostile(), TEST).passed


def test_what_a_test_was_lent_is_no_answer():
    kept = []
    judged_twice(kept.append, TEST)
    judged(lambda part: kept.append(part) or True, TEST)
    form = Form(("output",), reference=(twice,))
    for version in kept:
        assert heard(version, form).name == "reference-used"


def codes(thing):
    """The code objects of a function, or of what a class of the course defines."""
    found = []
    if inspect.isclass(thing) and thing.__module__.startswith("vit_encoder"):
        found = [f.__code__ for f in vars(thing).values() if inspect.isfunction(f)]
    elif inspect.isfunction(thing):
        found = [thing.__code__]
    for code in found:
        found += [c for c in code.co_consts if inspect.iscode(c)]
    return found


def test_what_hears_an_answer_holds_no_right_version():
    """It is sent into the sandbox, where a submission may take it apart."""
    tasks = {entry["id"]: check.task(entry["id"]) for entry in check.catalogue()}
    right = {}
    for id, task in tasks.items():
        versions = []
        if isinstance(task, Implement):
            versions = [*task.form.reference, task.oracle]
        elif isinstance(task, BreakIt):
            versions = task.right.values()
        for code in (code for version in versions for code in codes(version)):
            if not code.co_name.startswith("<") and len(code.co_code) > 60:
                right[code.co_code] = f"{id}: {code.co_qualname}"
    assert len(right) > 100
    lent = 0
    for task in tasks.values():
        sent = by_value(task.listener(task.questions(3)))
        found = [name for code, name in right.items() if code in sent]
        if isinstance(task, BreakIt):
            lent += bool(found)
        else:
            assert found == []
    assert lent > 10  # so it would be seen
