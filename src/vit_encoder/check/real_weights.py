"""Real weights: what people get wrong, what must hold, and the tasks."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from vit_encoder.check.hearing.data import Form, Question
from vit_encoder.check.judging.misconceptions import edit, edits, named
from vit_encoder.check.judging.oracle import linear_parameters, oracle_of_function
from vit_encoder.check.judging.pictures import Show
from vit_encoder.check.judging.properties import (
    EDGES,
    KEEPS_DEVICE,
    KEEPS_INPUTS,
    KEEPS_NO_STATE,
    LEAVES_THE_SEED,
    PASSES_NAN_ON,
    REPEATS,
    SAME_IN_TRAINING,
    agrees,
    each,
    has_parameters,
    holds,
    keeps_dtype,
    learns_no_more,
    returns_right_shapes,
    shows,
)
from vit_encoder.check.judging.questions import (
    Normal,
    double,
    edges,
    finish,
    small,
    with_nan,
)
from vit_encoder.check.judging.trials import Fails, Trial, Trials, close
from vit_encoder.check.tasks import BreakIt, Implement
from vit_encoder.real_weights import LoRALinear, interpolate_positions

# Misconceptions of interpolate_positions.

TO_GRID = "places.unflatten(1, (side, side)).permute(0, 3, 1, 2)"
TO_ROW = "exact.to(places.dtype).flatten(2).transpose(1, 2)"
CUT = "pos_embed[:, :prefix], pos_embed[:, prefix:]"
JOINED = "torch.cat([first, places], dim=1)"
CALL = """F.interpolate(
        exact, (rows, columns), None, mode, align_corners, antialias=antialias
    )"""
WHICH_TOKENS = "Which tokens stand somewhere in the image, and which do not?"
POSITIONS = edits(
    interpolate_positions,
    edit(
        "grid-read-by-columns",
        {TO_GRID: "places.unflatten(1, (side, side)).permute(0, 3, 2, 1)"},
        "Rows and columns of the old grid have changed places.",
        "Which patch is token 2: the one to the right of the first, or below it?",
    ),
    edit(
        "rows-and-columns-exchanged",
        {"exact, (rows, columns)": "exact, (columns, rows)"},
        "The new grid has as many rows as it should have columns. With a square one "
        "nothing is wrong.",
        "In which order does F.interpolate take height and width?",
    ),
    edit(
        "features-as-a-grid",
        {TO_GRID: "places.reshape(1, -1, side, side)"},
        "The numbers were cut into grids as they lie in memory: neighbours in a grid "
        "are features of one position, not positions.",
        "Which of `reshape` and `permute` brings the features to the front?",
    ),
    edit(
        "interpolated-along-the-row",
        {
            f"places = {TO_GRID}": "places = places.transpose(1, 2).unsqueeze(2)",
            "exact, (rows, columns)": "exact, (1, rows * columns)",
        },
        "The positions were stretched as one long row: the end of a row of patches "
        "runs into the start of the next one.",
        "Which positions are neighbours of token 1 in the image?",
    ),
    edit(
        "class-token-interpolated",
        {CUT: "pos_embed[:, :prefix], pos_embed[:, : side**2]"},
        "The grid begins one place too early: what belongs to another token was taken "
        "for a patch, and the last patch is lost.",
        WHICH_TOKENS,
    ),
    edit(
        "prefix-always-one",
        {CUT: "pos_embed[:, :1], pos_embed[:, pos_embed.shape[1] - side**2 :]"},
        "One token stays as it is, whatever `prefix` says.",
        WHICH_TOKENS,
    ),
    edit(
        "prefix-at-the-end",
        {JOINED: "torch.cat([places, first], dim=1)"},
        "The positions of the other tokens stand after those of the patches.",
        "Where in the sequence does the class token stand?",
    ),
    edit(
        "prefix-lost",
        {JOINED: "places"},
        "Only the positions of the patches come back.",
        "To how many tokens are positions added?",
    ),
    edit(
        "corners-tied",
        {
            CALL: "F.interpolate(\n        exact, (rows, columns), mode=mode, "
            "align_corners=True, antialias=antialias\n    )"
        },
        "The outer positions of both grids lie on one another: `align_corners=True`.",
        "Is a position the middle of its patch, or a corner of the image?",
    ),
    edit(
        "not-antialiased",
        {CALL: "F.interpolate(\n        exact, (rows, columns), mode=mode\n    )"},
        "With `antialias` left out the curve is another one, and a smaller grid skips "
        "old positions.",
        "Which of the four sources of the chapter does the task name?",
    ),
    edit(
        "linear",
        {"None, mode, align_corners": 'None, "bilinear", align_corners'},
        "The positions lie on straight lines between their neighbours.",
        "Which curve does the task ask for?",
    ),
    edit(
        "nearest",
        {CALL: "F.interpolate(exact, (rows, columns))"},
        "Each new position is a copy of an old one: that is what F.interpolate does "
        "when it is told nothing.",
        "Which curve does the task ask for?",
    ),
    edit(
        "rows-not-put-back",
        {TO_ROW: "exact.to(places.dtype).reshape(1, rows * columns, -1)"},
        "The grid was made a row again without moving the features to the end.",
        "Which axis of the interpolated grid holds the features?",
    ),
    edit(
        "turned-on-the-way-back",
        {TO_ROW: "exact.to(places.dtype).transpose(2, 3).flatten(2).transpose(1, 2)"},
        "The new grid is read column by column.",
        "Which new patch is token 2: the one to the right of the first, or below it?",
    ),
    edit(
        "as-many-as-before",
        {"exact, (rows, columns)": "exact, (side, side)"},
        "As many positions come back as were given.",
        "How many patches does the new grid have?",
    ),
)

# Misconceptions of LoRALinear.

SCALED = "self.scale * change"
FROZEN = "self.linear = linear.requires_grad_(False)"
DRAWN = "nn.init.normal_(self.lora_A, std=self.in_features**-0.5)"
CHANGE = "x @ self.lora_A.T @ self.lora_B.T"
WHAT_FACTOR = "By which two constants of the task is the change scaled, and how?"
LORA = edits(
    LoRALinear,
    edit(
        "both-start-at-zero",
        {f"        {DRAWN}\n": ""},
        "Both matrices start at zero, so neither ever gets a gradient.",
        "The gradient of one is a product with the other. What is it at the start?",
    ),
    edit(
        "starts-with-a-change",
        {DRAWN: f"{DRAWN}\n        nn.init.normal_(self.lora_B)"},
        "A new layer does not do what the frozen one does: `lora_B` is not zero.",
        "What should the model compute before the first step of training?",
    ),
    edit(
        "zero-and-random-exchanged",
        {DRAWN: "nn.init.normal_(self.lora_B)"},
        "`lora_A` starts at zero and `lora_B` at random. Nothing is changed at the "
        "start, but it is the other way round in the paper.",
        "Which of the two does the task want to be zero?",
    ),
    edit(
        "not-scaled",
        {SCALED: "change"},
        "The change is added as it is: neither alpha nor the rank is used.",
        WHAT_FACTOR,
    ),
    edit(
        "rank-not-used",
        {"alpha / rank\n": "alpha\n"},
        "The change is multiplied by alpha and not divided by the rank.",
        WHAT_FACTOR,
    ),
    edit(
        "alpha-not-used",
        {"alpha / rank\n": "1 / rank\n"},
        "The change is divided by the rank and not multiplied by alpha.",
        WHAT_FACTOR,
    ),
    edit(
        "upside-down",
        {"alpha / rank\n": "rank / alpha\n"},
        "The scale is the rank over alpha.",
        WHAT_FACTOR,
    ),
    edit(
        "root-of-the-rank",
        {"alpha / rank\n": "alpha / rank**0.5\n"},
        "The change is divided by the root of the rank. There is a paper that does so, "
        "but it is not this one.",
        WHAT_FACTOR,
        "https://arxiv.org/abs/2312.03732",
    ),
    edit(
        "whole-number",
        {"alpha / rank\n": "alpha // rank\n"},
        "The scale has lost its digits after the point.",
        "What does `//` make of 5 and 2?",
    ),
    edit(
        "not-frozen",
        {FROZEN: "self.linear = linear"},
        "The weight and the bias of the old layer still learn.",
        "Which parameters should get a gradient, and who tells the others?",
    ),
    edit(
        "bias-not-frozen",
        {FROZEN: "self.linear = linear\n        linear.weight.requires_grad_(False)"},
        "The weight of the old layer is frozen, and its bias still learns.",
        "Which parameters should get a gradient, and who tells the others?",
    ),
    edit(
        "old-layer-scaled",
        {f"self.linear(x) + {SCALED}": "self.scale * (self.linear(x) + change)"},
        "What the old layer gives is scaled, too.",
        "Which of the three terms of the equation has the factor in front of it?",
    ),
    edit(
        "old-layer-left-out",
        {f"return self.linear(x) + {SCALED}": f"return {SCALED}"},
        "The change comes back alone, without what the old layer gives.",
        "What is left of the trained weight?",
    ),
    edit(
        "bent-between",
        {CHANGE: "F.gelu(x @ self.lora_A.T) @ self.lora_B.T"},
        "A nonlinearity stands between the two matrices, so no single matrix can do "
        "the same afterwards.",
        "What must hold if the change is to be added to the weight in the end?",
    ),
    edit(
        "change-of-the-output",
        {
            f"return self.linear(x) + {SCALED}": "y = self.linear(x)\n"
            "        return y + y * change"
        },
        "The change multiplies what the old layer gives.",
        "Is the change added or multiplied in the equation?",
    ),
)


# What a task is given, where it is not the chapter's part as it stands.


def by_numbers(interpolate: Callable) -> Callable:
    """The chapter's function, called as the task's: two numbers for the grid."""

    def called(pos_embed: Tensor, rows: int, columns: int, prefix: int) -> Tensor:
        return interpolate(pos_embed, (rows, columns), prefix)

    return called


def by_sizes(lora: type[nn.Module]) -> type[nn.Module]:
    """The chapter's class, built as the task's: it makes the linear layer itself."""

    class Built(lora):
        def __init__(self, in_features, out_features, rank, alpha):
            super().__init__(nn.Linear(in_features, out_features), rank, alpha)

    return Built


MISCONCEPTIONS = {"interpolate_positions": POSITIONS, "LoRALinear": LORA}
ASKED_POSITIONS = tuple(replace(m, given_as=by_numbers) for m in POSITIONS)
ASKED_LORA = tuple(replace(m, given_as=by_sizes) for m in LORA)


# A part that the course does not have: attention's weights from the JAX code.


def attention_from_jax(query, key, value, out):
    """Kernels (D, h, D_h) and (h, D_h, D) as weights of `qkv` and `proj`."""
    D, h, width = query.shape
    rows = []
    for kernel in (query, key, value):
        heads = kernel.permute(1, 2, 0)
        rows.append(heads.reshape(h * width, D))
    qkv = torch.cat(rows)
    heads = out.permute(2, 0, 1)
    proj = heads.reshape(D, h * width)
    return qkv, proj


AS_STORED = "In which order do the rows of `qkv` hold heads and features, and `proj`?"
JAX = edits(
    attention_from_jax,
    edit(
        "output-heads-interleaved",
        {"out.permute(2, 0, 1)": "out.permute(2, 1, 0)"},
        "`qkv` is right. The columns of `proj` run over the heads first and over the "
        "features of a head last.",
        "Which number of the heads' outputs meets column 1 of `proj`?",
    ),
    edit(
        "rows-interleaved",
        {"kernel.permute(1, 2, 0)": "kernel.permute(2, 1, 0)"},
        "The rows of `qkv` run over the heads first and over the features of a head "
        "last; `proj` is right.",
        AS_STORED,
    ),
    edit(
        "heads-interleaved-everywhere",
        {
            "kernel.permute(1, 2, 0)": "kernel.permute(2, 1, 0)",
            "out.permute(2, 0, 1)": "out.permute(2, 1, 0)",
        },
        "Everywhere the heads run fast and the features of a head slowly.",
        AS_STORED,
    ),
    edit(
        "kernels-not-turned",
        {
            "heads = kernel.permute(1, 2, 0)\n        ": "",
            "heads.reshape(h * width, D)": "kernel.reshape(D, h * width)",
        },
        "`qkv` holds the kernels as (in, out), not as (out, in).",
        "Which axis of a weight of nn.Linear is the input?",
    ),
    edit(
        "output-not-turned",
        {
            "    heads = out.permute(2, 0, 1)\n": "",
            "heads.reshape(D, h * width)": "out.reshape(h * width, D)",
        },
        "`proj` holds the kernel as (in, out), not as (out, in).",
        "Which axis of a weight of nn.Linear is the input?",
    ),
    edit(
        "keys-and-values-exchanged",
        {"(query, key, value):": "(query, value, key):"},
        "In `qkv` keys and values have changed places.",
        "In which order does the course stack the three?",
    ),
)
(BUG,) = named(JAX, "output-heads-interleaved")

# A loader for the test that is to be written.


def load_strictly(model, state):
    """Copy a state dict into a model: all of it, or nothing and a ValueError."""
    own = dict(model.named_parameters())
    if own.keys() != state.keys():
        raise ValueError("other keys than the model has")
    for name, p in own.items():
        if state[name].shape != p.shape:
            raise ValueError(f"another shape of {name}")
    for name in own:
        own[name].data.copy_(state[name])


def load_in_two_steps(model, state):
    """The same, in another way: the keys and shapes at once, then PyTorch's method."""
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    if wanted != given:
        raise ValueError("the state dict does not fit")
    model.load_state_dict(state)


LOADERS = edits(
    load_strictly,
    edit(
        "skips-what-is-missing",
        {
            "dict(model.named_parameters())": "{\n        n: p for n, p in "
            "model.named_parameters() if n in state\n    }"
        },
        "A parameter that the state dict lacks stays as it was, and nobody is told.",
        "What if a key is missing?",
    ),
    edit(
        "ignores-what-is-left-over",
        {"own.keys() != state.keys()": "own.keys() - state.keys()"},
        "A key that the model has no place for is dropped, and nobody is told.",
        "What if a key is left over?",
    ),
    edit(
        "loads-halfway",
        {"    for name in own:\n": ""},
        "It raises an error, and some parameters are already overwritten.",
        "What is in the model after the error?",
    ),
    edit(
        "spreads-small-tensors",
        {"state[name].shape != p.shape": "state[name].numel() > p.numel()"},
        "A tensor that is too small is spread over the parameter.",
        "What does `copy_` do with a tensor of one number?",
    ),
)


# The oracles.


def kernel_of(distance: Tensor) -> Tensor:
    """The cubic kernel of an antialiased resize, with a = -0.5."""
    t, a = distance.abs(), -0.5
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return torch.where(t < 1, near, torch.where(t < 2, far, torch.zeros_like(t)))


def weights_of(old: int, new: int) -> Tensor:
    """What each new place takes from each old one, (new, old)."""
    stretch = old / new
    wide = max(stretch, 1.0)
    middles = (torch.arange(new, dtype=torch.float64, device="cpu") + 0.5) * stretch
    places = torch.arange(old, dtype=torch.float64, device="cpu") + 0.5
    weights = kernel_of((places - middles[:, None]) / wide)
    return weights / weights.sum(1, keepdim=True)


@oracle_of_function
def positions_oracle(whole: Tensor, rows: int, columns: int, prefix: int) -> Tensor:
    """By two matrices of weights, one for the rows and one for the columns."""
    side = round((whole.shape[1] - prefix) ** 0.5)
    grid = whole[0, prefix:].unflatten(0, (side, side))
    grid = torch.einsum(
        "rn,cm,nmd->rcd", weights_of(side, rows), weights_of(side, columns), grid
    )
    return torch.cat([whole[0, :prefix], grid.flatten(0, 1)])[None]


MATRICES = ("lora_A.weight", "lora_B.weight")  # the checks' names; bare ones fit, too


def lora_oracle(question: Question, taken: tuple[str, ...]) -> tuple:
    """The frozen layer has no gradients."""
    leaves = {"input 0": double(question.inputs[0])}
    learned = [name for name in MATRICES if name in taken]
    leaves |= {name: double(question.parameters[name]) for name in learned}
    found = {n: p.double() for n, p in question.parameters.items()} | leaves
    scale = question.arguments["alpha"] / question.arguments["rank"]
    weight = found["linear.weight"]
    weight = weight + scale * torch.einsum(
        "or,ri->oi", found["lora_B.weight"], found["lora_A.weight"]
    )
    y = torch.einsum("...i,oi->...o", leaves["input 0"], weight)
    return finish(question, leaves, (y + found["linear.bias"],))


@oracle_of_function
def jax_oracle(*tensors: Tensor) -> tuple[Tensor, Tensor]:
    """Row by row and column by column."""
    *kernels, out = tensors
    _, h, width = kernels[0].shape
    pairs = [(i, j) for i in range(h) for j in range(width)]
    qkv = torch.stack([kernel[:, i, j] for kernel in kernels for i, j in pairs])
    proj = torch.stack([out[i, j] for i, j in pairs], dim=1)
    return qkv, proj


# The questions.


def positions_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict."""
    normal = Normal(seed)
    five = normal(1, 1 + 25, 3)

    def asked(name: str, given: Tensor, *sizes: int, **more: object) -> Question:
        return Question(name, (given, *sizes), **more)

    return [
        asked("small grid", SMALL_PLACES, 2, 3, 1),
        asked("small grid, two prefixes", TWO_BEFORE, 2, 3, 2),
        asked("small grid, no prefix", SMALL_PLACES[:, 1:], 3, 2, 0),
        asked("larger", five, 7, 9, 1),
        asked("smaller", normal(1, 2 + 36, 4), 3, 4, 2),
        asked("one side larger", normal(1, 16, 5), 3, 6, 0),
        asked("square", five, 8, 8, 1),
        asked("the same grid", five, 5, 5, 1),
        asked("one position", normal(1, 1 + 1, 4), 2, 3, 1),
        asked("four prefixes", normal(1, 4 + 9, 2), 5, 6, 4),
        asked("float32", five.float(), 7, 9, 1),
        asked("float32 again", five.float(), 7, 9, 1),
        asked("gradients", five, 7, 9, 1, cotangent=normal(1, 64, 3)),
        asked("another device", five, 7, 9, 1, device="meta"),
    ]


SMALL_PLACES = small([9, 9], [0, 1], [4, 1], [0, 3], [4, 3])[None]
TWO_BEFORE = small([9, 9], [7, 7], [0, 1], [4, 1], [0, 3], [4, 3])[None]


def lora_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict."""
    normal = Normal(seed)
    x = normal(2, 5, 6)
    common = {"arguments": built(6, 9, 2, 5), "parameters": lora(normal, 6, 9, 2)}
    narrow = {"arguments": built(8, 4, 3, 2), "parameters": lora(normal, 8, 4, 3)}
    tiny = {"arguments": built(3, 4, 2, 6), "parameters": SMALL_LORA}
    return [
        Question("small numbers", (SMALL_X,), **tiny),
        Question("wide", (x,), **common, initial=True),
        Question("narrow", (normal(4, 8),), **narrow),
        Question("one token", (normal(1, 6),), **common),
        Question("four axes", (normal(2, 3, 4, 6),), **common),
        Question("in training", (x,), **common, training=True),
        Question("called again", (x,), **common, rehearsals=(False,)),
        Question("a nan", (with_nan(x),), **common),
        *edges((x,), normal(2, 5, 9), **common),
    ]


def built(
    in_features: int, out_features: int, rank: int, alpha: float
) -> dict[str, float]:
    """What LoRALinear is built with."""
    return {
        "in_features": in_features,
        "out_features": out_features,
        "rank": rank,
        "alpha": alpha,
    }


def lora(normal: Normal, inputs: int, outputs: int, rank: int) -> dict[str, Tensor]:
    """Random parameters; neither matrix is zero."""
    return {
        **linear_parameters(normal, "linear", outputs, inputs),
        "lora_A.weight": normal(rank, inputs),
        "lora_B.weight": normal(outputs, rank),
    }


SMALL_X = small([1, 0, 2], [0, 1, -1])
SMALL_LORA = {
    "linear.weight": small([1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]),
    "linear.bias": small([0, 1, 0, 2])[0],
    "lora_A.weight": small([1, 0, 1], [0, 2, 0]),
    "lora_B.weight": small([1, 0], [0, 1], [0, 0], [1, -1]),
}


def jax_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict."""
    normal = Normal(seed)

    def kernels(D: int, h: int, width: int) -> tuple[Tensor, ...]:
        return *(normal(D, h, width) for _ in range(3)), normal(h, width, D)

    some = kernels(6, 2, 3)
    four = torch.arange(4.0, dtype=torch.float64, device="cpu")
    tiny = (*(10 * i + four.view(2, 1, 2) for i in range(3)), four.view(1, 2, 2))
    sixteen = torch.arange(16.0, dtype=torch.float64, device="cpu")
    pair = (*(20 * i + sixteen.view(4, 2, 2) for i in range(3)), sixteen.view(2, 2, 4))
    return [
        Question("one small head", tiny),
        Question("two small heads", pair),
        Question("two heads", some),
        Question("five heads", kernels(15, 5, 3)),
        Question("as many heads as features", kernels(9, 3, 3)),
        Question("two wide heads", kernels(10, 2, 5)),
        Question("a nan", (with_nan(some[0]), *some[1:])),
        Question("float32", tuple(x.float() for x in some)),
        Question("float32 again", tuple(x.float() for x in some)),
        Question("another device", some, device="meta"),
    ]


# The properties that are this chapter's own.

CURVE = "Which curve, which places at the edges, and what for a smaller grid?"


@each(
    "positions of other tokens stay as they are",
    ("small grid", "small grid, two prefixes", "larger", "four prefixes"),
    WHICH_TOKENS,
    core=True,
)
def keeps_the_prefix(trial: Trial) -> None:
    """The first positions are those that were given."""
    given, *_, prefix = trial.question.inputs
    if not close(trial.output[:, :prefix], given[:, :prefix].double()):
        raise Fails(
            f"With prefix = {prefix} the first {prefix} positions have changed.",
            "prefix-changed",
        )


@each(
    "the same grid changes nothing",
    ("the same grid",),
    "What should come back for the grid that the positions have already?",
)
def keeps_the_same_grid(trial: Trial) -> None:
    """A grid of the same size gives the same positions."""
    trial.require_right("For the grid that it has, other positions come back.")


@each(
    "a grid of one position is spread",
    ("one position",),
    "What lies between one position and itself?",
)
def spreads_one_position(trial: Trial) -> None:
    """One position is everywhere."""
    trial.require_right()


@holds(
    "a new layer changes nothing, and can learn",
    "What should the model compute before the first step, and what must not be zero?",
    core=True,
)
def starts_as_no_change(trials: Trials) -> None:
    """lora_B is zero at the start and lora_A is not."""
    initial = trials["wide"].reply.initial
    if not {*MATRICES} <= initial.keys():
        return
    first, second = (initial[name] for name in MATRICES)
    a, b = first.any(), second.any()
    if b and a:
        raise shows(LORA, "starts-with-a-change")
    if b:
        raise shows(LORA, "zero-and-random-exchanged")
    if not a:
        raise shows(LORA, "both-start-at-zero")
    if (first == first.flatten()[0]).all():
        text = "All numbers of `lora_A` are equal at the start."
        ask = "Can two rows of it ever become different?"
        raise Fails(text, "starts-all-alike", ask)


@each(
    "the old layer is frozen",
    ("gradients",),
    "Which parameters should get a gradient, and who tells the others?",
    core=True,
)
def is_frozen(trial: Trial) -> None:
    """No gradient reaches the old layer."""
    if trial.reply.problem:
        raise Fails.because(trial.problem())
    found = trial.reply.gradients
    learns = [n for n in ("weight", "bias") if found.get(f"linear.{n}") is not None]
    if learns == ["bias"]:
        raise shows(LORA, "bias-not-frozen")
    if learns:
        raise shows(LORA, "not-frozen")


POSITIONS_FORM = Form(outputs=("positions",), reference=(interpolate_positions,))
WRITE_POSITIONS = Implement(
    form=POSITIONS_FORM,
    ask_about=positions_questions,
    oracle=positions_oracle,
    properties=(
        REPEATS,
        returns_right_shapes(
            "positions (1, prefix + rows · columns, D) come back",
            *("small grid", "larger", "smaller", "one side larger", "four prefixes"),
            ask="How many tokens have positions, and how many numbers does each have?",
            form=POSITIONS_FORM,
            known=ASKED_POSITIONS,
        ),
        keeps_the_prefix,
        agrees(
            "the numbers are those of an antialiased cubic resize in float64",
            *("small grid", "larger", "smaller", "one side larger", "square"),
            ask=CURVE,
            core=True,
        ),
        agrees(
            "any prefix works",
            *("small grid, no prefix", "small grid, two prefixes", "four prefixes"),
            ask=WHICH_TOKENS,
        ),
        keeps_the_same_grid,
        spreads_one_position,
        *EDGES,
    ),
    misconceptions=ASKED_POSITIONS,
    show=Show(
        ("small grid", "small grid, no prefix", "small grid, two prefixes"),
        inputs=("pos_embed", "rows", "columns", "prefix"),
        axes={"positions": ("position", "feature")},
    ),
)
WRITE_LORA = Implement(
    form=Form(
        outputs=("output",),
        is_class=True,
        reference=(LoRALinear,),
    ),
    ask_about=lora_questions,
    oracle=lora_oracle,
    properties=(
        REPEATS,
        has_parameters(
            "`linear`, `lora_A` and `lora_B` are there",
            "wide",
            ask="What is kept, and what is learned?",
        ),
        returns_right_shapes(
            "an output (..., out) comes back",
            *("small numbers", "wide", "narrow"),
            ask="Which axis of the input do both matrices act on?",
        ),
        starts_as_no_change,
        is_frozen,
        agrees(
            "the numbers are W x + b + α/r B A x in float64",
            *("small numbers", "wide", "narrow", "one token", "four axes"),
            ask="Compare your forward with the equation, term by term.",
            core=True,
        ),
        learns_no_more("wide"),
        KEEPS_NO_STATE,
        SAME_IN_TRAINING,
        PASSES_NAN_ON,
        *EDGES,
    ),
    misconceptions=ASKED_LORA,
    show=Show(
        ("small numbers",),
        axes={"output": ("token", "feature")},
        parameters=("linear.weight", "linear.bias", *MATRICES),
    ),
)
REPAIR_JAX = Implement(
    form=Form(outputs=("qkv", "proj"), reference=(attention_from_jax,)),
    ask_about=jax_questions,
    oracle=jax_oracle,
    properties=(
        REPEATS,
        returns_right_shapes(
            "qkv (3D, D) and proj (D, D) come back",
            *("two heads", "five heads"),
            ask="Which sizes has a weight of nn.Linear, and in which order?",
        ),
        agrees(
            "the weights are those of the kernels",
            *("one small head", "two small heads", "two heads", "five heads"),
            ask=AS_STORED,
            core=True,
        ),
        agrees(
            "other sizes work",
            *("as many heads as features", "two wide heads"),
            ask="Which sizes does your code take from the wrong tensor?",
        ),
        PASSES_NAN_ON,
        keeps_dtype("float32 and float64 are kept", "float32", "two heads"),
        KEEPS_DEVICE,
        KEEPS_INPUTS,
        LEAVES_THE_SEED,
    ),
    misconceptions=JAX,
    show=Show(
        ("one small head", "two small heads"),
        axes={"qkv": ("row", "input"), "proj": ("row", "column")},
    ),
    bug=BUG,
)
TEST_A_LOADER = BreakIt(
    right={
        "one that checks first": load_strictly,
        "one that compares all shapes at once": load_in_two_steps,
    },
    wrong=LOADERS,
    ask="What may be wrong with a state dict, and what must be in the model then?",
)

TASKS = {
    "interpolate_positions": WRITE_POSITIONS,
    "LoRALinear": WRITE_LORA,
    "load": TEST_A_LOADER,
    "find_the_bug": REPAIR_JAX,
}
