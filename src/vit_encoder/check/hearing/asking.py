"""Put questions to an answer, in whatever process it lives."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vit_encoder.check.hearing.data import (
    LATE,
    Form,
    Hearing,
    Problem,
    ProblemError,
    Question,
    Reply,
)
from vit_encoder.check.hearing.errors import not_answered, require_fit
from vit_encoder.check.hearing.exceptions import class_names, is_stub, raised
from vit_encoder.check.hearing.guard import (
    Known,
    TimeUp,
    Watch,
    known,
    load_meta,
    on_meta,
    under_guard,
)
from vit_encoder.check.hearing.parameters import (
    Place,
    find_places,
    has_square,
    require_known_layers,
    shared_pairs,
)
from vit_encoder.check.hearing.returned import as_left, plain, printed, read_outputs
from vit_encoder.check.hearing.students_tests import LENT, anonymous


def ask_all(answer: object, form: Form, questions: list[Question]) -> Hearing:
    """Put all questions to an answer; whatever it does, a Hearing comes back."""
    replies = {q.name: Reply(problem=LATE) for q in questions}
    turned = {}
    reference = (*LENT, *known_versions(form.reference))
    watch = Watch(form.builtins, form.builtin_parts, reference)

    def put(question: Question, place: int, *, turn: bool = False) -> Reply:
        torch.default_generator.manual_seed(place)  # equal questions draw others
        return ask(answer, form, question, watch, turn=turn)

    def put_questions():
        require_fit(answer, form)
        for place, question in enumerate(questions):
            reply = replies[question.name] = put(question, place)
            if has_square(reply):
                turned[question.name] = put(question, place, turn=True)

    if form.optimizers or any(question.device == "meta" for question in questions):
        load_meta()
    hearing = under_guard(put_questions, replies)
    if watch.seen:
        hearing = replace(hearing, problem=forbidden(*watch.seen[0]))
    return replace(hearing, turned=Hearing(replies | turned)) if turned else hearing


def known_versions(reference: tuple[Callable | Known, ...]) -> tuple[Known, ...]:
    """What is known of the course's versions, as they are and as tests are lent them.

    A version that a test kept may be handed in, as it was lent or taken apart.
    """
    plain = [part for part in reference if not isinstance(part, Known)]
    return tuple(map(known, (*map(anonymous, plain), *reference)))


def blind(questions: list[Question]) -> list[Question]:
    """The questions without what they are for: a place for a name, nothing refused."""
    return [
        replace(q, name=str(i), refused=False, secondary=False)
        for i, q in enumerate(questions)
    ]


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
    watch: Watch | None = None,
    *,
    turn: bool = False,
) -> Reply:
    """Put one question; an error of the answer becomes a Problem.

    watch: around calls of the answer, if it is not the course's own. turn: set square
    matrices the other way round.
    """
    try:
        return reply_to(answer, form, question, watch, turn)
    except ProblemError as error:
        return Reply(problem=error.problem)
    except (TimeUp, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit, too: the notebook goes on
        if issubclass(type(error), NotImplementedError) and is_stub(error):
            return Reply(problem=not_answered())
        return Reply(problem=raised(error, answer), errors=class_names(error))


def reply_to(
    answer: Callable,
    form: Form,
    question: Question,
    watch: Watch | None,
    turn: bool,
) -> Reply:
    """Build the answer, call it, and bring home plain data."""
    seeds = watch.seeds if watch else 0
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
            dtypes = {n: value.dtype for n, value in question.parameters.items()}
            initial = {n: plain(view).to(dtypes[n]) for n, view in views.items()}
        for name, place in places.items():
            place.put(question.parameters[name])
    # On meta every call is slow, and none is made that was not made on the CPU.
    before = printed()
    try:
        with on_meta() if question.device == "meta" else watch or nullcontext():
            if form.call:
                result = form.call(answer, inputs, question.parameters)
            else:
                result = rehearsed(call, question)(*inputs)
    except RuntimeError as error:
        if raised(error).name == "dtypes-mixed":
            require_known_layers(call)
        raise
    came, outputs = read_outputs(result, form, question, printed() > before)
    reply = Reply(
        outputs,
        tuple(map(as_left, inputs, question.inputs)),
        taken=tuple(places),
        shared=shared_pairs(places),
        parameters=parameters,
        initial=initial,
        seeded=bool(watch) and watch.seeds > seeds,
    )
    if question.cotangent is None:
        return reply
    return replace(reply, gradients=gradients(came[0], question, inputs, places))


def rehearsed(call: Callable, question: Question) -> Callable:
    """The module, after it was called in the modes of the question's rehearsals."""
    for training in question.rehearsals:
        call.train(training)
        call(*(fresh(x, question) for x in question.inputs))
    if question.rehearsals:
        call.train(question.training)
    return call


def fresh(value: object, question: Question) -> object:
    """A copy of an input, so that the question stays as it is."""
    if not isinstance(value, Tensor):
        return value
    copy = value.detach().clone().to(question.device)
    learns = question.cotangent is not None and copy.is_floating_point()
    return copy.requires_grad_(learns)


def build(answer: Callable, question: Question, watch: Watch | None) -> nn.Module:
    """The module with the dtype and device of the inputs."""
    dtype = next(x.dtype for x in question.inputs if isinstance(x, Tensor))
    with torch.random.fork_rng(devices=[]):
        # Equal questions build equal modules; what differs then comes from forward.
        torch.default_generator.manual_seed(0)
        with watch if watch and not watch.built else nullcontext():
            module = answer(*question.arguments.values())
        if watch:
            watch.built = True
        module.train(question.training)
        if any(map(is_lazy, module.parameters())):
            on_cpu = replace(question, device="cpu")
            module.to(dtype=dtype)(*(fresh(x, on_cpu) for x in question.inputs))
    return module.to(dtype=dtype, device=question.device)


def gradients(
    output: Tensor, question: Question, inputs: list, places: dict[str, Place]
) -> dict[str, Tensor | None]:
    """The gradients of the inputs and of the parameters, by name."""
    if not output.requires_grad:
        raise ProblemError(
            "gradient-cut", "No gradient flows from its output back to its input."
        )
    try:
        output.backward(question.cotangent.to(output, copy=True))
    except Exception as error:
        problem = raised(error)
        text = f"Its gradients cannot be computed. {problem.text}"
        raise ProblemError(problem.name, text, problem.ask) from error
    tensors = ((i, x) for i, x in enumerate(inputs) if isinstance(x, Tensor))
    found = {f"input {i}": x.grad for i, x in tensors}
    for name, place in places.items():
        grad = place.tensor.grad
        found[name] = None if grad is None else place.view(grad)
    return {n: None if g is None else plain(g) for n, g in found.items()}
