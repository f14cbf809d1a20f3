"""Put questions to an answer: the only module that touches what a student wrote.

Questions and replies are plain data (tensors, numbers, text). A notebook asks here in
its own process; marking can ask in a sandbox and keep the judge outside.
"""

import dis
import functools
import inspect
import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from types import FunctionType

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vit_encoder.check.guard import Sink, TimeUp, Watch, guarded, on_meta

TIME_LIMIT = 5.0  # seconds of computing for a check; a right answer takes 0.1
LOUD = 2000  # characters from which on printing is worth a remark
UNWATCHED = nullcontext()
Pairs = tuple[tuple[str, tuple[str, ...]], ...]
EMPTY_BODY = {"RESUME", "NOP", "RETURN_VALUE", "COPY_FREE_VARS"}
LOADS = {"LOAD_CONST", "RETURN_CONST"}


@dataclass(frozen=True)
class Problem:
    """Why a question has no answer: a short name, and one line for the student."""

    name: str
    text: str


LATE = Problem("too-slow", f"It did not finish within {TIME_LIMIT:g} seconds.")


class ProblemError(Exception):
    """Carries a Problem out of the functions that find it."""

    def __init__(self, name: str, text: str):
        super().__init__(text)
        self.problem = Problem(name, text)


@dataclass(frozen=True)
class Form:
    """What an answer must look like.

    outputs: names of the tensors that it returns.
    is_class: the answer is a module class, not a function.
    fused: a joined parameter → the parameters that it may stand for, in order.
    aliases: how a parameter's name may end → other endings under which it may be held.
    builtins: what the names of torch functions contain that it may not call.
    builtin_parts: torch's modules that it may not call.
    reference: the course's own versions of the part, which it may not call.
    call: answer, inputs, parameters → what it returned as tensors, for a function that
        takes or returns something else.
    """

    outputs: tuple[str, ...]
    is_class: bool = False
    fused: dict[str, tuple[str, ...]] = field(default_factory=dict)
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    builtins: tuple[str, ...] = ()
    builtin_parts: tuple[Callable, ...] = ()
    reference: tuple[Callable, ...] = ()
    call: Callable | None = None


@dataclass(frozen=True)
class Question:
    """Build yourself, take these parameters, and compute this.

    inputs: tensors or plain values, in the order of the call.
    arguments: name → what a class is built with, in the order of the call.
    parameters: name such as query.weight → value.
    cotangent: the gradient of the first output, if gradients are asked for.
    device: cpu, or meta, which has no data and stands in for any other device.
    refused: the right answer is a ValueError.
    aside: it asks for something apart, such as dropout, that a wrong version may do
        right or wrong beside its own mistake.
    initial: the values that a new module starts with are wanted, too.
    """

    name: str
    inputs: tuple
    arguments: dict[str, object] = field(default_factory=dict)
    parameters: dict[str, Tensor] = field(default_factory=dict)
    cotangent: Tensor | None = None
    device: str = "cpu"
    training: bool = False
    refused: bool = False
    aside: bool = False
    initial: bool = False


@dataclass(frozen=True)
class Reply:
    """What came back.

    outputs: the tensors that were returned.
    inputs_after: the inputs as the answer left them.
    gradients: "input 0" or a parameter's name → gradient; None if there is none.
    taken: names of the parameters that could be set.
    shared: pairs of them that are one and the same parameter.
    parameters: name → shape of all parameters that the answer has.
    initial: as in `taken`, name → value before it was set, if it is wanted.
    errors: the names of the classes of the exception that was raised.
    """

    outputs: tuple[Tensor, ...] = ()
    inputs_after: tuple[Tensor | float | int | bool | str | None, ...] = ()
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    taken: tuple[str, ...] = ()
    shared: tuple[tuple[str, str], ...] = ()
    parameters: dict[str, tuple[int, ...]] = field(default_factory=dict)
    initial: dict[str, Tensor] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    problem: Problem | None = None


# What may be said to one question: by a part, by a test, or as numbers and words.
Said = Reply | Problem | str | list[float] | None


@dataclass(frozen=True)
class Hearing:
    """All that an answer said, as plain data.

    replies: one for each question, by its name.
    printed: how many characters it printed.
    turned: the same with each square matrix set the other way round, where the answer
        holds one whose rows may be inputs or outputs.
    """

    replies: dict[str, Said]
    problem: Problem | None = None
    printed: int = 0
    turned: "Hearing | None" = None


def ask_all(answer: object, form: Form, questions: list[Question]) -> Hearing:
    """Put all questions to an answer; whatever it does, a Hearing comes back."""
    problem = unfit(answer, form)
    if problem:
        return Hearing({}, problem)
    replies = {q.name: Reply(problem=LATE) for q in questions}
    turned = {}
    # A version that a test kept may be handed in, as it was lent or taken apart.
    reference = (*LENT, *map(anonymous, form.reference), *form.reference)
    watch = Watch(form.builtins, form.builtin_parts, reference)

    def put_questions():
        for question in questions:
            reply = ask(answer, form, question, watch)
            replies[question.name] = reply
            if has_square(reply):
                turned[question.name] = ask(answer, form, question, watch, turn=True)

    hearing = under_guard(put_questions, replies)
    if watch.seen:
        hearing = replace(hearing, problem=forbidden(*watch.seen[0]))
    return replace(hearing, turned=Hearing(replies | turned)) if turned else hearing


def blind(questions: list[Question]) -> list[Question]:
    """The questions without what they are for: a place for a name, nothing refused."""
    return [
        replace(q, name=str(i), refused=False, aside=False)
        for i, q in enumerate(questions)
    ]


def has_square(reply: Reply) -> bool:
    """The answer holds a square matrix by itself, as in `x @ self.query`.

    A layer says which of its axes are the inputs; a bare matrix says so by its shape,
    unless that is square.
    """
    return any(
        len(shape) == 2 and shape[0] == shape[1] and not name.endswith(".weight")
        for name, shape in reply.parameters.items()
    )


def under_guard(put_questions: Callable, replies: dict) -> Hearing:
    """Run the questions under guard; replies is filled as far as they come."""
    sink = Sink()
    problem = None
    try:
        with guarded(TIME_LIMIT, sink):
            put_questions()
    except TimeUp:
        problem = LATE
    return Hearing(replies, problem, sink.characters)


def forbidden(name: str, called: str) -> Problem:
    """The answer called what this task asks for."""
    if name == "guard-removed":
        return Problem(name, f"It calls `{called}`, which blinds the check.")
    owner = "the course's own" if name == "reference-used" else "the built-in"
    return Problem(
        name, f"It calls {owner} `{called}`. This task asks you to do without it."
    )


def ask(
    answer: Callable,
    form: Form,
    question: Question,
    watch: AbstractContextManager = UNWATCHED,
    *,
    turn: bool = False,
) -> Reply:
    """Put one question; an error of the answer becomes a Problem.

    watch: around calls of the answer. turn: set square matrices the other way round.
    """
    try:
        return reply_to(answer, form, question, watch, turn)
    except ProblemError as error:
        return Reply(problem=error.problem)
    except (TimeUp, KeyboardInterrupt):
        raise
    except NotImplementedError as error:
        if question.device == "cpu":
            return Reply(problem=not_answered())
        return Reply(problem=raised(error))
    except BaseException as error:  # SystemExit, too: the notebook goes on
        errors = tuple(kind.__name__ for kind in type(error).__mro__)
        return Reply(problem=raised(error), errors=errors)


def raised(error: BaseException) -> Problem:
    """An exception, in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""
    text = text if len(text) <= 160 else f"{text[:159]}…"
    kind = type(error).__name__
    return Problem(
        "raises", f"It raised {kind}: {text}" if text else f"It raised {kind}"
    )


def not_answered(where: str = "") -> Problem:
    """The stub is still as it came."""
    return Problem(
        "not-answered", f"Not answered yet{where}. Replace `...`, then run both cells."
    )


def unfit(answer: object, form: Form) -> Problem | None:
    """Why an object cannot be asked at all."""
    if unwritten(answer):
        return not_answered()
    if form.is_class:
        if not (inspect.isclass(answer) and issubclass(answer, nn.Module)):
            wanted = "a class that inherits from nn.Module"
            return Problem("wrong-kind", f"Give {wanted}, not {describe(answer)}.")
        if answer.forward is nn.Module.forward:
            return Problem("wrong-kind", "It has no `forward`.")
        if unwritten(answer.forward):
            return not_answered(": `forward` is empty")
    elif inspect.isclass(answer) or not callable(answer):
        return Problem("wrong-kind", f"Give a function, not {describe(answer)}.")
    return None


def unwritten(answer: object) -> bool:
    """The answer is None, `...`, or a function with nothing in it."""
    if answer is None or answer is Ellipsis:
        return True
    code = getattr(answer, "__code__", None)
    return inspect.iscode(code) and all(
        step.opname in EMPTY_BODY
        or (step.opname in LOADS and step.argval in (None, Ellipsis))
        for step in dis.get_instructions(code)
    )


def describe(thing: object) -> str:
    """A thing as a message names it."""
    if inspect.isclass(thing):
        return f"the class {thing.__name__}"
    if inspect.isfunction(thing):
        return f"the function {thing.__name__}"
    if isinstance(thing, nn.Module):
        return f"an instance of {type(thing).__name__}"
    return f"an object of type {type(thing).__name__}"


def reply_to(
    answer: Callable,
    form: Form,
    question: Question,
    watch: AbstractContextManager,
    turn: bool,
) -> Reply:
    """Build the answer, call it, and bring home plain data."""
    inputs = [fresh(x, question) for x in question.inputs]
    places: dict[str, Place] = {}
    parameters: dict[str, tuple[int, ...]] = {}
    initial: dict[str, Tensor] = {}
    call = answer
    if form.is_class:
        call = build(answer, question, watch)
        parameters = {n: tuple(p.shape) for n, p in call.named_parameters()}
        try:
            places = find_places(call, question.parameters, form, turn)
        except ProblemError as error:
            return Reply(parameters=parameters, problem=error.problem)
        if question.initial:
            views = {n: place.view(place.tensor) for n, place in places.items()}
            initial = {name: plain(view) for name, view in views.items()}
        for name, place in places.items():
            place.put(question.parameters[name])
    # On meta every call is slow, and none is made that was not made on the CPU.
    with on_meta() if question.device == "meta" else watch:
        if form.call:
            result = form.call(answer, inputs, question.parameters)
        else:
            result = call(*inputs)
    outputs = read_outputs(result, form.outputs)
    reply = Reply(
        tuple(plain(x) for x in outputs),
        tuple(plain(x) if isinstance(x, Tensor) else x for x in inputs),
        taken=tuple(places),
        shared=shared_pairs(places),
        parameters=parameters,
        initial=initial,
    )
    if question.cotangent is None:
        return reply
    return replace(reply, gradients=gradients(outputs[0], question, inputs, places))


def fresh(value: object, question: Question) -> object:
    """A copy of an input, so that the question stays as it is."""
    if not isinstance(value, Tensor):
        return value
    copy = value.detach().clone().to(question.device)
    return copy.requires_grad_(question.cotangent is not None)


def plain(tensor: Tensor) -> Tensor:
    """A copy that is an ordinary tensor, whatever subclass came."""
    copy = torch.empty(tuple(tensor.shape), dtype=tensor.dtype, device=tensor.device)
    return copy.copy_(tensor.detach())


def build(
    answer: Callable, question: Question, watch: AbstractContextManager
) -> nn.Module:
    """The module with the dtype and device of the inputs."""
    dtype = next(x.dtype for x in question.inputs if isinstance(x, Tensor))
    with torch.random.fork_rng(devices=[]):
        # Equal questions build equal modules; what differs then comes from forward.
        torch.default_generator.manual_seed(0)
        with watch:
            module = answer(*question.arguments.values())
        module.train(question.training)
        if any(map(is_lazy, module.parameters())):
            on_cpu = replace(question, device="cpu")
            module.to(dtype=dtype)(*(fresh(x, on_cpu) for x in question.inputs))
    return module.to(dtype=dtype, device=question.device)


@dataclass(frozen=True)
class Place:
    """Where an answer holds a parameter.

    rows: its part of a joined parameter. turned: held as (in, out), for `x @ weight`.
    kernel: held as a convolution holds it, with the inputs along several axes.
    """

    tensor: Tensor
    rows: slice
    turned: bool
    kernel: bool

    def view(self, tensor: Tensor) -> Tensor:
        """The part of a tensor laid out like `self.tensor`."""
        if self.kernel:
            tensor = tensor.flatten(1)
        return (tensor.T if self.turned else tensor)[self.rows]

    def put(self, value: Tensor) -> None:
        """Set the parameter."""
        with torch.no_grad():
            self.view(self.tensor).copy_(value)


def find_places(
    module: nn.Module, values: dict[str, Tensor], form: Form, turn: bool
) -> dict[str, Place]:
    """Name → place of each parameter that the module has, joined or not.

    turn: a square matrix is held as (in, out). Raises ProblemError if one has another
    shape than expected.
    """
    own = dict(module.named_parameters(remove_duplicate=False))
    fused, aliases = tuple(form.fused.items()), tuple(form.aliases.items())
    places = {}
    for name, value in values.items():
        spots = held_as(name, fused, aliases)
        found = next((spot for spot in spots if spot[0] in own), None)
        if found is None:
            continue
        held, index, parts = found
        tensor = own[held]
        shape = (parts * len(value), *value.shape[1:])
        kernel = tensor.ndim > value.ndim == 2
        held_shape = tuple(tensor.flatten(1).shape if kernel else tensor.shape)
        square = (
            value.ndim == 2 and shape == shape[::-1] and not held.endswith(".weight")
        )
        turned = (turn and square) or (held_shape != shape and tensor.ndim == 2)
        if (held_shape[::-1] if turned else held_shape) != shape:
            raise ProblemError(
                "wrong-parameter-shape",
                f"Its parameter `{held}` has shape {tuple(tensor.shape)}, "
                f"expected {shape}.",
            )
        rows = slice(index * len(value), (index + 1) * len(value))
        places[name] = Place(tensor, rows, turned, kernel)
    return places


@functools.cache
def held_as(name: str, fused: Pairs, aliases: Pairs) -> list[tuple[str, int, int]]:
    """The names under which a parameter may be held, its index there, and of how many.

    name: such as blocks.0.attn.query.weight. fused, aliases: as in Form.
    An answer may join it with others (blocks.0.attn.qkv.weight), hold the matrix by
    itself (blocks.0.attn.query), or use one of torch's modules, which has names of its
    own.
    """
    part, _, kind = name.rpartition(".")
    if not part:  # the module holds it by itself
        return [(name, 0, 1)]
    ends = [part]
    for ending, others in aliases:
        if part == ending or part.endswith(f".{ending}"):
            ends += [part.removesuffix(ending) + other for other in others]
    spots = [(end, 0, 1) for end in ends]
    for end, (joined, parts) in itertools.product(ends, fused):
        stem, dot, last = end.rpartition(".")
        if last in parts:
            spots.append((f"{stem}{dot}{joined}", parts.index(last), len(parts)))
    return [
        (f"{held}{spelling}", index, count)
        for held, index, count in spots
        # The last as in nn.MultiheadAttention's in_proj_bias.
        for spelling in (f".{kind}", *([""] if kind == "weight" else []), f"_{kind}")
    ]


def shared_pairs(places: dict[str, Place]) -> tuple[tuple[str, str], ...]:
    """The pairs of names that stand for the same part of the same tensor."""
    return tuple(
        (a, b)
        for a, b in itertools.combinations(places, 2)
        if places[a].tensor is places[b].tensor and places[a].rows == places[b].rows
    )


def read_outputs(result: object, names: tuple[str, ...]) -> tuple[Tensor, ...]:
    """The returned tensors; ProblemError says in one line what came instead."""
    wanted = "one tensor"
    if len(names) > 1:
        wanted = f"a tuple ({', '.join(names)})"
    if result is None:
        raise ProblemError(
            "returns-none", f"It returned None, expected {wanted}. Is there a `return`?"
        )
    if result is Ellipsis:
        raise ProblemError("not-answered", not_answered().text)
    outputs = result if len(names) > 1 else (result,)
    fits = isinstance(outputs, tuple) and len(outputs) == len(names)
    if not fits or not all(is_plain_tensor(x) for x in outputs):
        raise ProblemError(
            "wrong-type", f"It returned {describe_result(result)}, expected {wanted}."
        )
    return outputs


def is_plain_tensor(thing: object) -> bool:
    """A dense tensor."""
    return isinstance(thing, Tensor) and thing.layout == torch.strided


def describe_result(result: object) -> str:
    """A returned thing as a message names it, with what is in it."""
    if isinstance(result, tuple | list):
        inside = ", ".join(type(x).__name__ for x in result[:4])
        more = ", …" if len(result) > 4 else ""
        return f"a {type(result).__name__} of ({inside}{more})"
    if isinstance(result, Tensor):
        return "one tensor"
    return describe(result)


def gradients(
    output: Tensor, question: Question, inputs: list, places: dict[str, Place]
) -> dict[str, Tensor | None]:
    """The gradients of the inputs and of the parameters, by name."""
    if not output.requires_grad:
        raise ProblemError(
            "gradient-cut", "No gradient flows from its output back to its input."
        )
    output.backward(question.cotangent.to(output))
    tensors = ((i, x) for i, x in enumerate(inputs) if isinstance(x, Tensor))
    found = {f"input {i}": x.grad for i, x in tensors}
    for name, place in places.items():
        grad = place.tensor.grad
        found[name] = None if grad is None else place.view(grad)
    return {n: None if g is None else plain(g) for n, g in found.items()}


def ask_test(test: object, versions: list[Callable]) -> Hearing:
    """Run a student's test on versions of a part, which are `lent` to it.

    The replies say for each version, by its place in the list: "yes", "no", "silent"
    (neither returned a value nor raised), or a Problem. An exception other than
    AssertionError is a "no" too, as in pytest, and its text is kept.
    """
    problem = unfit(test, Form(()))
    if problem:
        return Hearing({}, problem)
    replies: dict[str, str | Problem] = {str(i): LATE for i in range(len(versions))}

    def put_questions():
        for i, version in enumerate(versions):
            replies[str(i)] = verdict_of(test, version)

    return under_guard(put_questions, replies)


def anonymous(version: Callable) -> Callable:
    """The same function or class, with a name that does not tell the versions apart.

    Not hidden are its code, what a class inherits from, and the names of what else it
    calls: who looks there can tell which version it is.
    """
    if inspect.isclass(version):
        return type("Part", (version,), {})
    if not inspect.isfunction(version):
        return lambda *args, **kwargs: version(*args, **kwargs)
    names = {"co_name": "part", "co_qualname": "part", "co_filename": "part"}
    code = version.__code__.replace(**names, co_firstlineno=1)
    known = {n: x for n, x in version.__globals__.items() if not n.startswith("__")}
    known |= {"__name__": "part", "__builtins__": version.__globals__["__builtins__"]}
    part = FunctionType(code, known, "part", version.__defaults__, version.__closure__)
    part.__kwdefaults__ = version.__kwdefaults__
    return part


def lent(version: Callable) -> Callable:
    """An anonymous version that no answer can be made of: its calls can be told."""
    version = anonymous(version)
    if inspect.isclass(version):

        class Part(version):
            def forward(self, *args, **kwargs):
                return super().forward(*args, **kwargs)

        return Part

    def part(*args, **kwargs):
        return version(*args, **kwargs)

    return part


LENT = (lent(nn.Identity), lent(unwritten))  # for the code that all of them share


@dataclass(frozen=True)
class Bug:
    """A wrong version to repair: call it, or look at its code."""

    _part: Callable
    _code: str

    def __call__(self, *args):
        return self._part(*args)

    def __repr__(self) -> str:
        return self._code


def verdict_of(test: Callable, version: Callable) -> str | Problem:
    """What a student's test says of one version."""
    try:
        said = test(version)
        if said is None:
            return "silent"
        return "yes" if bool(said) else "no"
    except AssertionError:
        return "no"
    except (TimeUp, KeyboardInterrupt):
        raise
    except BaseException as error:
        return raised(error)


def read_numbers(answer: object, count: int) -> Hearing:
    """A prediction of numbers, as floats; lists may be nested."""
    listed = isinstance(answer, list | tuple)
    if unwritten(answer) or (listed and answer and all(map(unwritten, answer))):
        return Hearing({}, not_answered())
    try:
        flat = flatten(answer)
    except Exception:
        given = "not all entries are numbers" if listed else f"not {describe(answer)}"
        return Hearing({}, wrong_numbers(count, given))
    if len(flat) != count:
        return Hearing({}, wrong_numbers(count, f"not {len(flat)} of them"))
    return Hearing({"numbers": flat})


def wrong_numbers(count: int, given: str) -> Problem:
    """What came is no list of this many numbers."""
    return Problem("wrong-kind", f"Give {count} numbers in a list, {given}.")


def flatten(numbers: object) -> list[float]:
    """A number, a tensor, an array, or lists of them, as one list."""
    if isinstance(numbers, list | tuple):
        return [x for part in numbers for x in flatten(part)]
    return torch.as_tensor(numbers, dtype=torch.float64).flatten().tolist()


def read_letter(answer: object, letters: str) -> Hearing:
    """A choice, as one capital letter."""
    if unwritten(answer):
        return Hearing({}, not_answered())
    letter = answer.strip().upper() if isinstance(answer, str) else ""
    if len(letter) != 1 or letter not in letters:
        text = f"Give one of the letters {', '.join(letters)} in quotes."
        return Hearing({}, Problem("wrong-kind", text))
    return Hearing({"letter": letter})


def read_choices(answer: object, options: dict[str, tuple[str, ...]]) -> Hearing:
    """A dictionary with one word for each name; None for one that is still open.

    options: name → the words to choose from.
    """
    if unwritten(answer):
        return Hearing({}, not_answered())
    if not isinstance(answer, dict) or not set(answer) <= set(options):
        text = f"Give a dictionary with the keys {', '.join(options)}."
        return Hearing({}, Problem("wrong-kind", text))
    if all(map(unwritten, answer.values())):
        return Hearing({}, not_answered())
    chosen: dict[str, str | None] = dict.fromkeys(options)
    for name, word in answer.items():
        if unwritten(word):
            continue
        chosen[name] = word.strip().lower() if isinstance(word, str) else ""
        if chosen[name] not in options[name]:
            text = f"For {name}, give one of the words {', '.join(options[name])}."
            return Hearing({}, Problem("wrong-kind", text))
    return Hearing(chosen)
