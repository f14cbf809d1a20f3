"""The capstone: an encoder with trained weights, how it goes wrong, and the audit."""

import operator
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vit_encoder.check import encoder as encoders
from vit_encoder.check import encoder_block as blocks
from vit_encoder.check import layer_norm as norms
from vit_encoder.check import multi_head as heads
from vit_encoder.check import oracle
from vit_encoder.check import self_attention as single
from vit_encoder.check.adapter import Form, Problem, ProblemError, Question
from vit_encoder.check.judge import (
    ROUNDED,
    Property,
    Show,
    Trial,
    Trials,
    agrees,
    has_parameters,
    keeps_inputs,
    returns_right_shapes,
)
from vit_encoder.check.misconceptions import Misconception, against
from vit_encoder.check.oracle import Get, oracle_of
from vit_encoder.check.properties import EDGES, REPEATS, UNEVEN_HEADS
from vit_encoder.check.questions import ALIASES, FUSED, Normal, finish, small
from vit_encoder.check.tasks import (
    BreakIt,
    Claim,
    Implement,
    PredictNumbers,
    Verdicts,
    Wrong,
)
from vit_encoder.check.trained import TRAINED, line, split, trained, weights
from vit_encoder.data import read_line, text_encoder
from vit_encoder.encoder import Encoder
from vit_encoder.layer_norm import LayerNorm, layer_norm
from vit_encoder.loading import first_difference
from vit_encoder.mlp import MLP
from vit_encoder.self_attention import SelfAttention, attention

OURS = "constructed for this course"
PADDLE = (
    "https://www.paddlepaddle.org.cn/documentation/guides/model_convert/"
    "convert_from_pytorch/api_difference/functional/torch.nn.functional.linear.html"
)
EPS_IN_BLOCKS, EPS_AT_THE_END = 1e-5, 1e-6

# A tool that says which layer differs first, and wrong versions of it.

wrong_difference = against(first_difference)


@wrong_difference(
    seen="A layer with nan passes: nan is neither above nor below the tolerance.",
    ask="What does Python say to nan > 0.1, and what to nan <= 0.1?",
    source=OURS,
)
def nan_passes(layers, expected, tolerance):
    for index, (layer, right) in enumerate(zip(layers, expected, strict=True)):
        if layer.shape != right.shape:
            return index
        if (layer - right).abs().max() > tolerance:
            return index
    return None


@wrong_difference(
    seen="Tensors of unlike shapes are stretched until they fit, and so may agree.",
    ask="What does a minus make of the shapes (2, 3) and (1, 3)?",
    source=OURS,
)
def shapes_broadcast(layers, expected, tolerance):
    for index, (layer, right) in enumerate(zip(layers, expected, strict=True)):
        if not (layer - right).abs().max() <= tolerance:
            return index
    return None


@wrong_difference(
    seen="It names the last layer that differs. All layers after a bug differ.",
    ask="A bug in block 0 also changes block 1. Which of them do you want to know?",
    source=OURS,
)
def last_difference(layers, expected, tolerance):
    found = None
    for index, (layer, right) in enumerate(zip(layers, expected, strict=True)):
        if layer.shape != right.shape or not (layer - right).abs().max() <= tolerance:
            found = index
    return found


@wrong_difference(
    seen="A number that is too small by any amount passes.",
    ask="Is -3 larger than a tolerance of 0.1?",
    source=OURS,
)
def sign_kept(layers, expected, tolerance):
    for index, (layer, right) in enumerate(zip(layers, expected, strict=True)):
        if layer.shape != right.shape:
            return index
        if not (layer - right).max() <= tolerance:
            return index
    return None


@wrong_difference(
    seen="One wrong number among many right ones passes: the mean hides it.",
    ask="What is the mean of a thousand zeros and a single 1?",
    source=OURS,
)
def mean_hides_it(layers, expected, tolerance):
    for index, (layer, right) in enumerate(zip(layers, expected, strict=True)):
        if layer.shape != right.shape:
            return index
        if not (layer - right).abs().mean() <= tolerance:
            return index
    return None


@wrong_difference(
    seen="A difference in layer 0 is reported as None.",
    ask="Is 0 true or false in Python, and what does `or` make of it?",
    source=OURS,
)
def zero_taken_for_none(layers, expected, tolerance):
    for index, (layer, right) in enumerate(zip(layers, expected, strict=True)):
        if layer.shape != right.shape:
            return index or None
        if not (layer - right).abs().max() <= tolerance:
            return index or None
    return None


@wrong_difference(
    seen="The layers are counted from 1.",
    ask="Which number does `layers[...]` need, so that it gives the layer you name?",
    source=OURS,
)
def counted_from_one(layers, expected, tolerance):
    for index, (layer, right) in enumerate(zip(layers, expected, strict=True), start=1):
        if layer.shape != right.shape:
            return index
        if not (layer - right).abs().max() <= tolerance:
            return index
    return None


@wrong_difference(
    seen="Layers with large numbers may be off by more than the tolerance.",
    ask="`torch.allclose` has two tolerances. What is the other one if you leave it "
    "out?",
    source=OURS,
)
def relative_tolerance_left_on(layers, expected, tolerance):
    for index, (layer, right) in enumerate(zip(layers, expected, strict=True)):
        if layer.shape != right.shape:
            return index
        if not torch.allclose(layer, right, atol=tolerance):
            return index
    return None


@wrong_difference(
    seen="It answers after layer 0, whatever the others are.",
    ask="When may the loop end, if layer 0 agrees?",
    source=OURS,
)
def only_layer_zero(layers, expected, tolerance):
    for index, (layer, right) in enumerate(zip(layers, expected, strict=True)):
        if layer.shape != right.shape:
            return index
        if not (layer - right).abs().max() <= tolerance:
            return index
        return None


FIRST_DIFFERENCE = (
    nan_passes,
    shapes_broadcast,
    last_difference,
    sign_kept,
    mean_hides_it,
    zero_taken_for_none,
    counted_from_one,
    relative_tolerance_left_on,
    only_layer_zero,
)


def call_with_lists(answer: Callable, inputs: list, _parameters: dict) -> Tensor:
    """Give the layers as two lists; the index as a tensor, with -1 for None."""
    *tensors, tolerance = inputs
    half = len(tensors) // 2
    found = answer(tensors[:half], tensors[half:], tolerance)
    if found is Ellipsis:
        return found
    try:
        number = -1 if found is None else operator.index(found)
    except TypeError:
        number = None
    if number is None or isinstance(found, bool):
        wanted = "the index of a layer, or None"
        raise ProblemError(
            "wrong-type", f"It returned {found!r:.60}, expected {wanted}."
        )
    return torch.tensor([number], dtype=torch.float64)


def difference_questions(seed: int) -> list[Question]:
    """Six layers each, with what is changed in them as the name.

    Behind a fault in layer 1, layers 3, 4 and 5 differ as well: each wrong version then
    gives another index.
    """
    normal = Normal(seed)
    right = [normal(1, 3, 4), normal(2, 3), *(normal(2, n) for n in (5, 3, 4, 6))]
    noise = [layer + 1e-7 * normal(*layer.shape) for layer in right]
    rows = normal(1, 3)
    many, one_off = normal(40, 25), torch.zeros(40, 25, dtype=torch.float64)
    one_off[7, 3] = 0.1
    large, spoilt = 1e4 + 1e4 * right[1].abs(), right[1].clone()
    spoilt[1, 2] = torch.nan
    faults = {
        "layer 1 with smaller numbers": (right[1] - 3, right[1]),
        "layer 1 with one wrong number of a thousand": (many + one_off, many),
        "a nan in layer 1": (spoilt, right[1]),
        "layer 1 of shape (1, 3) where (2, 3) is expected": (rows, rows.repeat(2, 1)),
        "a layer 1 above 10000 that is off by 0.05": (large + 0.05, large),
    }
    questions = [
        compared("six layers that agree", noise, right),
        compared("layers 0 and 2 with larger numbers", off(noise, 0, 2), right),
        compared("layers 1 and 2 with larger numbers", off(noise, 1, 2), right),
    ]
    for name, (layer, expected) in faults.items():
        found = off([noise[0], layer, *noise[2:]], 3, 4, 5)
        questions.append(compared(name, found, [right[0], expected, *right[2:]]))
    return questions


def compared(name: str, layers: list[Tensor], expected: list[Tensor]) -> Question:
    """Which of the layers differs first by more than 0.01?"""
    return Question(name, (*layers, *expected, 0.01))


def off(layers: list[Tensor], *indices: int) -> list[Tensor]:
    """The layers, with 0.5 added to those of these indices."""
    return [layer + 0.5 * (i in indices) for i, layer in enumerate(layers)]


def difference_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """The first index, found by looking at every layer."""
    *tensors, tolerance = question.inputs
    half = len(tensors) // 2
    wrong = [
        a.shape != b.shape or not bool(((a - b).abs() <= tolerance).all())
        for a, b in zip(tensors[:half], tensors[half:], strict=True)
    ]
    found = wrong.index(True) if True in wrong else -1
    return finish(question, {}, (torch.tensor([found], dtype=torch.float64),))


def finds(*names: str) -> Callable[[Trials], Problem | None]:
    """The index is right for these questions."""

    def test(trials: Trials) -> Problem | None:
        for trial in (trials[name] for name in names):
            if trial.problem():
                return trial.problem()
            if not trial.right():
                got, wanted = map(told, (trial.reply.outputs[0], trial.expected[0]))
                text = f"It returns {got}, expected {wanted}, for {trial.question.name}"
                tolerance = trial.question.inputs[-1]
                return Problem("", f"{text} (tolerance {tolerance:g}).")
        return None

    return test


def told(number: Tensor) -> str:
    """An index as the student returned it."""
    return "None" if number.item() == -1 else f"{number.item():.0f}"


NOTHING_SHOWN = Show((), (), {}, {})
WRITE_FIRST_DIFFERENCE = Implement(
    form=Form(outputs=("index",), reference=(first_difference,), call=call_with_lists),
    ask_about=difference_questions,
    oracle=difference_oracle,
    properties=(
        Property(
            "the first layer that differs is found",
            finds(
                "layers 0 and 2 with larger numbers",
                "layers 1 and 2 with larger numbers",
            ),
            "When may your loop stop, and which number does it then return?",
            core=True,
        ),
        Property(
            "layers that agree have no difference",
            finds("six layers that agree"),
            "May two right programs differ in the seventh digit?",
            core=True,
        ),
        Property(
            "one wrong number is enough, in both directions",
            finds(
                "layer 1 with smaller numbers",
                "layer 1 with one wrong number of a thousand",
            ),
            "Which single number of a layer decides?",
            core=True,
        ),
        Property(
            "nan is a difference",
            finds("a nan in layer 1"),
            "What is every comparison with nan?",
        ),
        Property(
            "another shape is a difference",
            finds("layer 1 of shape (1, 3) where (2, 3) is expected"),
            "What happens to unlike shapes before numbers are compared?",
        ),
        Property(
            "the tolerance does not grow with the numbers",
            finds("a layer 1 above 10000 that is off by 0.05"),
            "Is your tolerance absolute?",
        ),
        Property(
            "the layers are not changed",
            keeps_inputs,
            "Which of your lines writes into a layer?",
        ),
    ),
    bank=FIRST_DIFFERENCE,
    show=NOTHING_SHOWN,
    again="It reads",
)

# The text encoder: the course's parts with SiLU and two epsilons.


class TextMLP(MLP):
    """The course's MLP with another activation."""

    def __init__(self, dim, mlp_dim, activation=F.silu):
        super().__init__(dim, mlp_dim)
        self.activation = activation

    def forward(self, x):
        return self.fc2(self.activation(self.fc1(x)))


class TextEncoder(Encoder):
    """What the task asks for."""

    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)
        for block in self.blocks:
            block.mlp = TextMLP(dim, mlp_dim)
            block.norm1.eps = block.norm2.eps = 1e-5


wrong_encoder = against(TextEncoder)


@wrong_encoder(
    seen="The MLPs still have GELU. These weights were trained with SiLU.",
    ask="Which activation did the weights meet in training?",
    source=OURS,
)
class GeluKept(Encoder):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)
        for block in self.blocks:
            block.norm1.eps = block.norm2.eps = 1e-5


@wrong_encoder(
    seen="The MLPs have ReLU. These weights were trained with SiLU.",
    ask="Which activation did the weights meet in training?",
    source=OURS,
)
class ReluInstead(Encoder):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)
        for block in self.blocks:
            block.mlp = TextMLP(dim, mlp_dim, F.relu)
            block.norm1.eps = block.norm2.eps = 1e-5


@wrong_encoder(
    seen="The activation is the sigmoid alone: what it should weigh is missing.",
    ask="SiLU is a product. Of which two factors?",
    source=OURS,
)
class SigmoidAlone(Encoder):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)
        for block in self.blocks:
            block.mlp = TextMLP(dim, mlp_dim, torch.sigmoid)
            block.norm1.eps = block.norm2.eps = 1e-5


@wrong_encoder(
    seen="Tokens of usual size come out almost right. In tokens with a tiny spread it "
    "shows: the norms in the blocks have ε = 1e-6.",
    ask="Which ε do the norms inside the blocks need here?",
    source=OURS,
)
class EpsilonOfVit(Encoder):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)
        for block in self.blocks:
            block.mlp = TextMLP(dim, mlp_dim)


@wrong_encoder(
    seen="The final norm has the ε of the blocks, 1e-5.",
    ask="Which of the norms has ε = 1e-6 here?",
    source=OURS,
)
class OneEpsilonEverywhere(Encoder):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)
        for block in self.blocks:
            block.mlp = TextMLP(dim, mlp_dim)
            block.norm1.eps = block.norm2.eps = 1e-5
        self.norm.eps = 1e-5


@wrong_encoder(
    seen="The first norm of each block has ε = 1e-5, the second still 1e-6.",
    ask="How many norms does a block have?",
    source=OURS,
)
class EpsilonInOneNorm(Encoder):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)
        for block in self.blocks:
            block.mlp = TextMLP(dim, mlp_dim)
            block.norm1.eps = 1e-5


@wrong_encoder(
    seen="Only block 0 is adapted. Later blocks have GELU and ε = 1e-6.",
    ask="Which blocks does your change reach?",
    source=OURS,
)
class FirstBlockAdapted(Encoder):
    def __init__(self, depth, dim, num_heads, mlp_dim):
        super().__init__(depth, dim, num_heads, mlp_dim)
        for block in self.blocks[:1]:
            block.mlp = TextMLP(dim, mlp_dim)
            block.norm1.eps = block.norm2.eps = 1e-5


OWN = (
    GeluKept,
    ReluInstead,
    SigmoidAlone,
    EpsilonOfVit,
    OneEpsilonEverywhere,
    EpsilonInOneNorm,
    FirstBlockAdapted,
)


def adapt(parts: nn.ModuleList, dim: int, mlp_dim: int) -> None:
    """Give the blocks of a ViT what the text encoder has."""
    for block in parts:
        block.mlp = TextMLP(dim, mlp_dim)
        block.norm1.eps = block.norm2.eps = EPS_IN_BLOCKS


def around(misconception: Misconception) -> Misconception:
    """A misconception of Encoder as it shows in TextEncoder."""

    class Wrong(misconception.wrong):
        def __init__(self, depth, dim, num_heads, mlp_dim):
            super().__init__(depth, dim, num_heads, mlp_dim)
            adapt(self.blocks, dim, mlp_dim)

    return replace(misconception, wrong=Wrong, right=TextEncoder)


def with_block(misconception: Misconception) -> Misconception:
    """A misconception of EncoderBlock as it shows in TextEncoder."""

    class Wrong(TextEncoder):
        def __init__(self, depth, dim, num_heads, mlp_dim):
            super().__init__(depth, dim, num_heads, mlp_dim)
            self.blocks = nn.ModuleList(
                misconception.wrong(dim, num_heads, mlp_dim) for _ in range(depth)
            )
            adapt(self.blocks, dim, mlp_dim)

    return replace(misconception, wrong=Wrong, right=TextEncoder)


def with_attention(misconception: Misconception) -> Misconception:
    """A misconception of MultiHeadSelfAttention as it shows in TextEncoder."""

    class Wrong(TextEncoder):
        def __init__(self, depth, dim, num_heads, mlp_dim):
            super().__init__(depth, dim, num_heads, mlp_dim)
            for block in self.blocks:
                block.attn = misconception.wrong(dim, num_heads)

    return replace(misconception, wrong=Wrong, right=TextEncoder)


def with_norm(misconception: Misconception) -> Misconception:
    """A misconception of layer_norm as it shows in TextEncoder."""

    class Norm(LayerNorm):
        def forward(self, x):
            return misconception.wrong(x, self.weight, self.bias, self.eps)

    class Wrong(TextEncoder):
        def __init__(self, depth, dim, num_heads, mlp_dim):
            super().__init__(depth, dim, num_heads, mlp_dim)
            for block in self.blocks:
                block.norm1 = Norm(dim, EPS_IN_BLOCKS)
                block.norm2 = Norm(dim, EPS_IN_BLOCKS)
            self.norm = Norm(dim)

    return replace(misconception, wrong=Wrong, right=TextEncoder)


INHERITED = (
    *map(
        around,
        (
            encoders.OneBlockRepeated,
            encoders.PlainListOfBlocks,
            encoders.NoFinalNorm,
            encoders.NormAfterEveryBlock,
            encoders.NormBeforeTheBlocks,
            encoders.EveryBlockFedTheInput,
            encoders.ReturnInsideTheLoop,
            encoders.ClassTokenAlone,
        ),
    ),
    *map(
        with_block,
        (
            blocks.PostNorm,
            blocks.NormOnTheSkip,
            blocks.OneNormTwice,
            blocks.MlpReadsTheInput,
            blocks.NoFirstSkip,
            blocks.NoSecondSkip,
            blocks.MlpFirst,
        ),
    ),
    *map(
        with_attention,
        (heads.ScaledByDim, heads.NoOutputProjection, heads.QkvReadByHead),
    ),
    *map(
        with_norm,
        (norms.unbiased_variance, norms.epsilon_outside_root, norms.no_gain_and_bias),
    ),
)

# What is right, and the questions. A branch whose last linear layer is 0 adds nothing.
# So the layers can be heard one after the other, in any design.

BRANCHES = {
    "the attention of block 0": "blocks.0.attn.proj.",
    "the MLP of block 0": "blocks.0.mlp.fc2.",
    "the attention of block 1": "blocks.1.attn.proj.",
    "the MLP of block 1": "blocks.1.mlp.fc2.",
}
LAYERS = ("the skips and the final norm", *BRANCHES)
SMALL_TOKENS = small([1, 0, 2, -1], [0, 3, 1, 0], [2, 1, 0, 0])[None]
SMALL = {"depth": 2, "dim": 4, "num_heads": 2, "mlp_dim": 5}
LINE = {  # question → what onnxruntime recorded before the final norm
    "the final norm, with trained weights": "tokens",
    "block 0, with trained weights": "block 0",
    "block 1, with trained weights": "block 1",
}
WHOLE_LINE = "block 1, with trained weights"


def silent(parameters: dict[str, Tensor], speaking: int) -> dict[str, Tensor]:
    """The parameters with 0 for all that branches write, but the first `speaking`."""
    ends = tuple(list(BRANCHES.values())[speaking:])
    return {n: v * 0 if n.startswith(ends) else v for n, v in parameters.items()}


def joined(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the course's Encoder from what `split` makes."""
    state = {}
    for name, value in parameters.items():
        if "query" in name:
            names = [name.replace("query", p) for p in ("query", "key", "value")]
            state[name.replace("query", "qkv")] = torch.cat(
                [parameters[n] for n in names]
            )
        elif "key" not in name and "value" not in name:
            state[name] = value
    return state


def random_parameters(
    normal: Normal, depth: int, dim: int, num_heads: int, mlp_dim: int
) -> dict[str, Tensor]:
    """Random parameters of an encoder."""
    parameters = oracle.norm_parameters(normal, "norm", dim)
    for i in range(depth):
        parameters |= oracle.block_parameters(normal, dim, mlp_dim, f"blocks.{i}.")
    return parameters


def compute(
    x: Tensor, get: Get, depth: int, dim: int, num_heads: int, mlp_dim: int
) -> Tensor:
    """The text encoder, written apart from the course's parts."""

    def norm(x: Tensor, name: str, eps: float) -> Tensor:
        return oracle.layer_norm(x, get(f"{name}.weight"), get(f"{name}.bias"), eps)

    for i in range(depth):
        block = f"blocks.{i}"
        read = norm(x, f"{block}.norm1", EPS_IN_BLOCKS)
        x = x + oracle.multi_head(read, get, num_heads, f"{block}.attn.")
        read = norm(x, f"{block}.norm2", EPS_IN_BLOCKS)
        hidden = oracle.linear(read, get, f"{block}.mlp.fc1")
        x = x + oracle.linear(hidden / (1 + (-hidden).exp()), get, f"{block}.mlp.fc2")
    return norm(x, "norm", EPS_AT_THE_END)


computed = oracle_of(compute)


def encoder_oracle(question: Question, taken: tuple[str, ...]) -> tuple:
    """The definition in float64; on the line of text, what onnxruntime recorded."""
    if question.name not in LINE:
        return computed(question, taken)
    if question.name == WHOLE_LINE:
        return (line()["encoder"].double(),), {}
    stream = line()[LINE[question.name]].double()
    gain, bias = (weights()[f"norm.{k}"].double() for k in ("weight", "bias"))
    return (oracle.layer_norm(stream, gain, bias, EPS_AT_THE_END),), {}


def encoder_questions(seed: int) -> list[Question]:
    """All speak; then one branch after the other, made up and trained; then edges.

    The first question is small, and known wrong versions part ways there.
    """
    normal = Normal(seed)
    parameters = random_parameters(normal, **SMALL)
    layers = [
        Question(name, (SMALL_TOKENS,), SMALL, silent(parameters, count))
        for count, name in enumerate(LAYERS)
    ]
    trained = split(weights())
    recorded = [
        Question(name, (line()["tokens"],), TRAINED, silent(trained, 2 * count))
        for count, name in enumerate(LINE)
    ]
    sizes = {"depth": 3, "dim": 6, "num_heads": 3, "mlp_dim": 7}
    x, y = normal(2, 5, 6), normal(2, 3, 4)
    other = random_parameters(normal, **sizes)
    common = {"arguments": sizes, "parameters": other}
    uneven = {"arguments": {**sizes, "num_heads": 4}, "parameters": other}
    tiny = normal(1, 3, 4) / 500
    return [
        Question("tokens with a tiny spread", (tiny,), SMALL, parameters),
        Question("the same, silent branches", (tiny,), SMALL, silent(parameters, 0)),
        *layers,
        *recorded,
        Question("three blocks", (x,), **common),
        Question("one token", (normal(3, 1, 6),), **common),
        Question("heads that do not divide", (x,), **uneven, refused=True, aside=True),
        Question("float32", (y.float(),), SMALL, parameters),
        Question("float32 again", (y.float(),), SMALL, parameters),
        Question("gradients", (x,), **common, cotangent=normal(2, 5, 6)),
        Question("another device", (tiny,), SMALL, parameters, device="meta"),
    ]


def first_wrong(
    trials: Trials, names: tuple[str, ...], at_least: float = ROUNDED
) -> Trial | None:
    """The first of these questions that was not answered as it should be."""
    wrong = (trials[n] for n in names if not trials[n].right(at_least))
    return next(wrong, None)


def layers_agree(trials: Trials) -> Problem | None:
    """Every branch adds what it should; those behind it are silent meanwhile."""
    trial = first_wrong(trials, LAYERS)
    if not trial:
        return None
    return trial.problem() or Problem("", named(trial))


def where(trials: Trials) -> str:
    """The first layer that differs, in whatever digit."""
    trial = first_wrong(trials, LAYERS, at_least=0)
    return named(trial) if trial and not trial.problem() else ""


def named(trial: Trial) -> str:
    """A layer that differs."""
    behind = ", with all branches silent" if trial.question.name == LAYERS[0] else ""
    return f"The first layer that differs: {trial.question.name}{behind}."


def line_agrees(trials: Trials) -> Problem | None:
    """With the trained weights the numbers are those that onnxruntime recorded."""
    trial = first_wrong(trials, tuple(LINE))
    if not trial:
        return None
    if trial.problem():
        return trial.problem()
    off = (trial.reply.outputs[0].double() - trial.expected[0]).abs().max().item()
    text = (
        f"The first layer that differs: {trial.question.name}. It is off by {off:.2g}"
    )
    return Problem("", f"{text} from what onnxruntime recorded.{reading(trials)}")


def reading(trials: Trials) -> str:
    """What the recogniser reads with an encoder that passes the whole line on."""
    trial = trials[WHOLE_LINE]
    if trial.problem():
        return ""
    return f" It reads: {read_line(trial.reply.outputs[0] + line()['skip'])!r}."


def it_reads(trials: Trials) -> str:
    """The remark on a right encoder."""
    return (
        "With the trained weights, block 0, block 1 and the final norm agree with "
        f"what onnxruntime recorded.{reading(trials)}"
    )


ENCODER_FORM = Form(
    outputs=("output",),
    is_class=True,
    fused=FUSED,
    aliases=ALIASES,
    reference=(text_encoder,),
)
WRITE_TEXT_ENCODER = Implement(
    form=ENCODER_FORM,
    ask_about=encoder_questions,
    oracle=encoder_oracle,
    properties=(
        REPEATS,
        Property(
            "all parameters are there",
            has_parameters("three blocks"),
            "Which parts does your module know?",
            core=True,
        ),
        Property(
            "output (B, N, D) comes back",
            returns_right_shapes("three blocks", "one token"),
            "Which tokens leave the encoder?",
            core=True,
        ),
        Property(
            "every layer agrees, one after the other",
            layers_agree,
            "What does this layer read, and to what is its output added?",
            core=True,
        ),
        Property(
            "the numbers agree with the definition in float64",
            agrees("three blocks", "one token"),
            "Which of your numbers depends on sizes that it should not know?",
            core=True,
        ),
        Property(
            "tokens with a tiny spread agree: each norm has its ε",
            agrees("tokens with a tiny spread", "the same, silent branches"),
            "Where does ε matter, and which ε has which norm?",
            core=True,
        ),
        Property(
            "on the recorded line every layer agrees with onnxruntime",
            line_agrees,
            "What do trained weights have that random ones do not?",
            core=True,
        ),
        UNEVEN_HEADS,
        *EDGES,
    ),
    bank=(*OWN, *INHERITED),
    show=Show(
        questions=LAYERS,
        inputs=("x",),
        order={"output": 0},
        axes={"output": ("token", "feature")},
    ),
    again="It reads",
    remarks=(it_reads,),
    locate=where,
)


# Weights from a file into an encoder.


def load(encoder: nn.Module, stored: dict[str, Tensor]) -> None:
    """Set the parameters from weights as Paddle keeps them, linear ones (in, out)."""
    state = {}
    for name, parameter in encoder.named_parameters():
        value = stored[name]
        if parameter.ndim == 2:
            value = value.T
        state[name] = value
    encoder.load_state_dict(state)


wrong_load = against(load)


@wrong_load(
    seen="A square matrix stays as it is in the file: no shape tells that it must be "
    "turned.",
    ask="Which weights of an encoder have as many rows as columns?",
    source=PADDLE,
)
def square_matrices_not_turned(encoder, stored):
    state = {}
    for name, parameter in encoder.named_parameters():
        value = stored[name]
        if value.shape != parameter.shape:
            value = value.T
        state[name] = value
    encoder.load_state_dict(state)


@wrong_load(
    seen="The biases of keys and values have changed places; their weights have not.",
    ask="In which order do the weight and the bias of `qkv` hold their three parts?",
    source=OURS,
)
def key_and_value_bias_swapped(encoder, stored):
    state = {}
    for name, parameter in encoder.named_parameters():
        value = stored[name]
        if parameter.ndim == 2:
            value = value.T
        if name.endswith("qkv.bias"):
            query, key, value = value.chunk(3)
            value = torch.cat([query, value, key])
        state[name] = value
    encoder.load_state_dict(state)


@wrong_load(
    seen="The two norms of each block have changed places.",
    ask="Which norm stands before the attention?",
    source=OURS,
)
def norms_swapped(encoder, stored):
    state = {}
    for name, parameter in encoder.named_parameters():
        other = {"norm1": "norm2", "norm2": "norm1"}
        value = stored[".".join(other.get(part, part) for part in name.split("."))]
        if parameter.ndim == 2:
            value = value.T
        state[name] = value
    encoder.load_state_dict(state)


@wrong_load(
    seen="The biases are not loaded: they keep the numbers that they started with.",
    ask="Which parameters are no matrices?",
    source=OURS,
)
def biases_left_out(encoder, stored):
    state = {}
    for name, parameter in encoder.named_parameters():
        value = stored[name]
        if parameter.ndim == 2:
            value = value.T
        if not name.endswith("bias"):
            state[name] = value
    encoder.load_state_dict(state, strict=False)


LOAD = (
    square_matrices_not_turned,
    key_and_value_bias_swapped,
    norms_swapped,
    biases_left_out,
)


def as_stored(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as Paddle keeps them: linear layers (in, out)."""
    return {
        name: (value.T if value.ndim == 2 else value).clone()
        for name, value in state.items()
    }


def call_with_encoder(answer: Callable, inputs: list, parameters: dict) -> Tensor:
    """Let the answer load the weights into a new encoder, and run it."""
    tokens, num_heads = inputs
    state = joined(parameters)
    depth = sum(name.endswith("norm1.bias") for name in state)
    mlp_dim = len(state["blocks.0.mlp.fc1.bias"])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        encoder = Encoder(depth, tokens.shape[-1], num_heads, mlp_dim)
    encoder = encoder.to(tokens.dtype).eval()
    if answer(encoder, as_stored(state)) is Ellipsis:
        return Ellipsis
    return encoder(tokens)


def load_questions(seed: int) -> list[Question]:
    """All speak; then one branch after the other."""
    normal = Normal(seed)
    parameters = random_parameters(normal, **SMALL)
    other = random_parameters(normal, depth=3, dim=6, num_heads=3, mlp_dim=7)
    return [
        Question("three blocks", (normal(2, 5, 6), 3), parameters=other),
        *(
            Question(name, (SMALL_TOKENS, 2), parameters=silent(parameters, count))
            for count, name in enumerate(LAYERS)
        ),
    ]


def load_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """What an encoder gives that has the weights."""
    x, num_heads = question.inputs
    depth = sum(name.endswith("norm1.bias") for name in question.parameters)
    get = question.parameters.__getitem__
    return finish(question, {}, (oracle.encoder(x, get, depth, num_heads),))


REPAIR_LOAD = Implement(
    form=Form(outputs=("output",), reference=(load,), call=call_with_encoder),
    ask_about=load_questions,
    oracle=load_oracle,
    properties=(
        Property(
            "every layer of the encoder agrees",
            layers_agree,
            "Which parameters does this layer read?",
            core=True,
        ),
        Property(
            "an encoder of other sizes agrees",
            agrees("three blocks"),
            "Does something in your code depend on a size?",
            core=True,
        ),
    ),
    bank=LOAD,
    show=Show(
        questions=LAYERS,
        inputs=("tokens", "num_heads"),
        order={"output": 0},
        axes={"output": ("token", "feature")},
    ),
    again="It reads",
    bug=square_matrices_not_turned,
    locate=where,
)

# Encoders that read the line, right and wrong.


def as_encoder(build: Callable[[], nn.Module]) -> Callable[[Tensor], Tensor]:
    """A function from tokens to what a trained encoder gives."""
    kept = cache(build)

    def encoder(tokens):
        with torch.no_grad():
            return kept().to(tokens)(tokens)

    return encoder


def filled(load: Callable) -> nn.Module:
    """The text encoder, with the trained weights loaded by `load`."""
    encoder = text_encoder()
    load(encoder, as_stored(weights()))
    return encoder


def unlike(misconception: Misconception) -> Misconception:
    """A wrong text encoder with trained weights."""
    return replace(
        misconception, wrong=as_encoder(lambda: trained(misconception.wrong))
    )


def misloaded(misconception: Misconception) -> Misconception:
    """A text encoder with weights that were loaded in a wrong way."""
    return replace(misconception, wrong=as_encoder(lambda: filled(misconception.wrong)))


def without_key_bias() -> nn.Module:
    """A right one: what is added to all keys adds the same to all scores of a query."""
    encoder = text_encoder()
    with torch.no_grad():
        for block in encoder.blocks:
            block.attn.qkv.bias.chunk(3)[1].zero_()
    return encoder


def in_float64(tokens: Tensor) -> Tensor:
    """A right one that rounds in another way."""
    values = {name: value.double() for name, value in split(weights()).items()}
    return compute(tokens.double(), values.__getitem__, **TRAINED).to(tokens)


TEST_THE_READING = BreakIt(
    right=(as_encoder(text_encoder), as_encoder(without_key_bias), in_float64),
    wrong=(
        misloaded(square_matrices_not_turned),
        misloaded(key_and_value_bias_swapped),
        unlike(EpsilonOfVit),
    ),
    ask="What was recorded beside the text, and how close do two right programs come?",
    again="It reads",
)

# The prediction.

PARAMETERS = PredictNumbers(
    right=(58080, 57960, 233280),
    names=("The count of one attention", "The count of one MLP", "The whole count"),
    wrong=(
        (
            (58080, 115800, 348960),
            Wrong(
                "mlp-of-vit",
                "Here the MLP is 4D wide, as in a ViT.",
                "Which M does this encoder have?",
            ),
        ),
        (
            (57600, 57600, 230400),
            Wrong(
                "biases-and-norms-left-out",
                "Here only the matrices are counted.",
                "What does a linear layer add, and what does a LayerNorm learn?",
            ),
        ),
        (
            (58080, 57960, 232080),
            Wrong(
                "norms-left-out",
                "Attentions and MLPs are counted right, and the norms are missing.",
                "How many norms has a block, and what comes after the last one?",
            ),
        ),
        (
            (58080, 57960, 233040),
            Wrong(
                "final-norm-left-out",
                "All is counted but 240 numbers.",
                "What stands after the last block?",
            ),
        ),
        (
            (58080, 57960, 116760),
            Wrong(
                "one-block",
                "That is one block and the final norm.",
                "How many blocks are there, and do they share anything?",
            ),
        ),
        (
            (43560, 57960, 204240),
            Wrong(
                "no-output-projection",
                "Each attention lacks a matrix and its bias.",
                "What follows where the heads are joined?",
            ),
        ),
        (
            (464640, 57960, 1046400),
            Wrong(
                "heads-of-full-width",
                "Here each of the eight heads is as wide as the token.",
                "What is 120 divided by 8?",
            ),
        ),
    ),
    ask="Which matrices and which vectors does each part hold?",
    again="Where the parameters are",
    tolerance=0.5,
)

# The audit.

WORDS = ("right", "imprecise", "wrong", "missing")
IT_SAYS = "The article does say something here. Missing is what it leaves out."
VERDICTS = Verdicts(
    words=WORDS,
    claims={
        "input": Claim(
            "wrong",
            {
                "right": "Query, key and value differ from their input and from one "
                "another: three learned maps made them.",
                "imprecise": "In no reading does it hold: not one of the three equals "
                "the input.",
                "missing": IT_SAYS,
            },
            "What stands between the input and the query?",
        ),
        "formula": Claim(
            "right",
            {
                "imprecise": "The formula gives the weights that onnxruntime recorded.",
                "wrong": "The formula gives the weights that onnxruntime recorded.",
                "missing": IT_SAYS,
            },
            "What did the first difference say?",
        ),
        "split": Claim(
            "imprecise",
            {
                "right": "It leaves open what is split. A head reads all features.",
                "wrong": "Something is split among the heads: what the projections "
                "give.",
                "missing": IT_SAYS,
            },
            "Is the token split, or what is made from it?",
        ),
        "block": Claim(
            "right",
            {
                "imprecise": "Built like this, block 0 gives what was recorded.",
                "wrong": "Built like this, block 0 gives what was recorded.",
                "missing": IT_SAYS,
            },
            "Which order of norm, part and sum was measured?",
        ),
        "variance": Claim(
            "wrong",
            {
                "right": "Divided by the variance, ten times the token would give a "
                "tenth of the output.",
                "imprecise": "Variance and standard deviation are two numbers, unless "
                "they are 0 or 1.",
                "missing": IT_SAYS,
            },
            "If all features grow tenfold, what does the variance do?",
        ),
        "sequence": Claim(
            "imprecise",
            {
                "right": "It looks at even less than the sequence: count the tokens "
                "that changed.",
                "wrong": "No other sequence has an influence, so in one reading it "
                "holds.",
                "missing": IT_SAYS,
            },
            "How much of its sequence does the norm of one token see?",
        ),
        "optimise": Claim(
            "wrong",
            {
                "right": "Running the encoder changed no parameter.",
                "imprecise": "Optimising changes parameters. Here none changed.",
                "missing": IT_SAYS,
            },
            "What does an optimizer do, and when?",
        ),
        "end": Claim(
            "missing",
            {
                "right": "It says nothing here. Without this part the line is lost.",
                "imprecise": "There is no statement that could be read in two ways.",
                "wrong": "It says nothing here, so nothing can be wrong.",
            },
            "What was left out before the line was lost?",
        ),
    },
    again="What the common explanations get wrong",
)


class JoinedProjections(nn.Module):
    """A right SelfAttention of another design."""

    def __init__(self, dim, head_dim):
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * head_dim)

    def forward(self, x):
        return attention(*self.qkv(x).chunk(3, dim=-1))[0]


TEST_THE_DIVISOR = BreakIt(
    right=(layer_norm, oracle.layer_norm),
    wrong=(norms.divided_by_variance, norms.root_of_deviation_minus_epsilon),
    ask="What happens to the output if all numbers of a token grow tenfold?",
    again="What the common explanations get wrong",
)
TEST_THE_PROJECTIONS = BreakIt(
    right=(SelfAttention, JoinedProjections),
    wrong=(single.NoProjections, single.ValueNotProjected),
    ask="Which parameters must have an effect on the output?",
    again="What the common explanations get wrong",
)
TEST_WHAT_LEAVES = BreakIt(
    right=(Encoder, TextEncoder),
    wrong=(encoders.NoFinalNorm, encoders.ClassTokenAlone),
    ask="How many vectors leave, and what do their means and variances say?",
    again="What the common explanations get wrong",
)

MISCONCEPTIONS = {
    "first_difference": FIRST_DIFFERENCE,
    "TextEncoder": OWN,
    "load": LOAD,
}
TASKS = {
    "parameters": PARAMETERS,
    "first_difference": WRITE_FIRST_DIFFERENCE,
    "TextEncoder": WRITE_TEXT_ENCODER,
    "find_the_bug": REPAIR_LOAD,
    "right_reading": TEST_THE_READING,
    "verdicts": VERDICTS,
    "divisor": TEST_THE_DIVISOR,
    "projections": TEST_THE_PROJECTIONS,
    "what_leaves": TEST_WHAT_LEAVES,
}
