"""The capstone: models with trained weights, how they go wrong, and the audit."""

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
from vit_encoder.check import patches
from vit_encoder.check import self_attention as single
from vit_encoder.check.encoder import joined
from vit_encoder.check.hearing.data import (
    Form,
    ProblemError,
    Question,
    content_of,
)
from vit_encoder.check.hearing.parameters import ALIASES, FUSED
from vit_encoder.check.hearing.trained import TRAINED, line, split, weights
from vit_encoder.check.judging import oracle
from vit_encoder.check.judging.misconceptions import edit, edits, inside, named
from vit_encoder.check.judging.oracle import Get, oracle_of
from vit_encoder.check.judging.pictures import Show
from vit_encoder.check.judging.properties import (
    EDGES,
    KEEPS_INPUTS,
    REPEATS,
    SAME_IN_TRAINING,
    UNEVEN_HEADS,
    Property,
    agrees,
    as_defined,
    each,
    has_parameters,
    holds,
    learns_no_more,
    returns_right_shapes,
)
from vit_encoder.check.judging.questions import Normal, edges, finish, small
from vit_encoder.check.judging.trials import ROUNDED, Trial, Trials
from vit_encoder.check.tasks import BreakIt, Implement
from vit_encoder.data import fashion_vit, read_line, text_encoder
from vit_encoder.datasets import fashion_mnist
from vit_encoder.encoder import Encoder
from vit_encoder.layer_norm import layer_norm
from vit_encoder.loading import first_difference
from vit_encoder.mlp import MLP
from vit_encoder.patches import PatchEmbedding
from vit_encoder.self_attention import SelfAttention, attention
from vit_encoder.training import VisionTransformer as CoursesModel

PADDLE = (
    "https://www.paddlepaddle.org.cn/documentation/docs/en/api/paddle/nn/Linear_en.html"
)
EPS_IN_BLOCKS, EPS_AT_THE_END = 1e-5, 1e-6

# A Vision Transformer from two parts and a head, and wrong ways to join them.


class VisionTransformer(nn.Module):
    """What the task asks for."""

    def __init__(
        self,
        image_size,
        patch_size,
        in_channels,
        num_classes,
        depth,
        dim,
        num_heads,
        mlp_dim,
    ):
        super().__init__()
        self.embedding = PatchEmbedding(image_size, patch_size, in_channels, dim)
        self.encoder = Encoder(depth, dim, num_heads, mlp_dim)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, images):
        x = self.embedding(images)
        x = self.encoder(x)
        return self.head(x[:, 0])


WHICH_TOKEN = "Which of the N tokens did the head meet in training?"
ONCE = "What stands between the encoder and the head, in the paper's equation 4?"
JOINED = edits(
    VisionTransformer,
    edit(
        "encoder-left-out",
        {"        x = self.encoder(x)\n": ""},
        "What the encoder returns is not used: the head reads the class token as the "
        "embedding makes it, so that all images get the same logits.",
        "Which of your parts does `forward` call, and what is done with the results?",
    ),
    edit(
        "last-token-read",
        {"x[:, 0]": "x[:, -1]"},
        "The head reads the last token, which belongs to a patch.",
        WHICH_TOKEN,
    ),
    edit(
        "first-patch-read",
        {"x[:, 0]": "x[:, 1]"},
        "The head reads token 1, which belongs to the first patch.",
        "From which number does Python count, and what stands at this place?",
    ),
    edit(
        "mean-of-patches-read",
        {"x[:, 0]": "x[:, 1:].mean(dim=1)"},
        "The head reads the mean of the patch tokens. Some ViTs are trained so; this "
        "head read the class token.",
        WHICH_TOKEN,
    ),
    edit(
        "mean-of-all-read",
        {"x[:, 0]": "x.mean(dim=1)"},
        "The head reads the mean of all tokens.",
        WHICH_TOKEN,
    ),
    edit(
        "first-image-read",
        {"x[:, 0]": "x[0]"},
        "The head reads all tokens of the first image, and no other image.",
        "Which axis counts the images, and which the tokens?",
    ),
    edit(
        "every-token-read",
        {"x[:, 0]": "x"},
        "Logits come back for every token, where an image should have one row.",
        "How many vectors of an image does the head take?",
    ),
    edit(
        "token-axis-kept",
        {"x[:, 0]": "x[:, :1]"},
        "An axis of length 1 is left between the images and the classes.",
        "What is the difference between an index and a slice of length 1?",
    ),
    edit(
        "softmax-at-the-end",
        {"self.head(x[:, 0])": "self.head(x[:, 0]).softmax(dim=-1)"},
        "Shares come back that add up to 1, where the task asks for logits.",
        "What does the loss expect, and who takes the softmax?",
    ),
    edit(
        "norm-once-more",
        {"self.head(x[:, 0])": "self.head(self.encoder.norm(x[:, 0]))"},
        "The class token is normalized once more before the head.",
        "Which part ends with a norm already?",
    ),
    edit(
        "activation-before-the-head",
        {"self.head(x[:, 0])": "self.head(torch.tanh(x[:, 0]))"},
        "A nonlinearity stands between the encoder and the head.",
        ONCE,
    ),
    edit(
        "encoder-run-twice",
        {"self.encoder(x)": "self.encoder(self.encoder(x))"},
        "The tokens go through the encoder twice.",
        "How many blocks does a token meet on its way?",
    ),
    edit(
        "positions-added-again",
        {"self.encoder(x)": "self.encoder(x + self.embedding.pos_embed)"},
        "The position embeddings are added a second time, before the encoder.",
        "What has the embedding added to its tokens before it returns them?",
    ),
)
JOINED_INSIDE = inside(
    VisionTransformer,
    (
        *named(
            patches.MISCONCEPTIONS["PatchEmbedding"],
            *("class-token-last", "no-positions", "positions-before-class-token"),
        ),
        *named(
            encoders.MISCONCEPTIONS["Encoder"],
            *("no-final-norm", "one-block-repeated", "every-block-fed-the-input"),
            *("return-inside-the-loop", "post-norm-blocks", "one-norm-twice"),
        ),
    ),
)
VIT = {
    "image_size": 28,
    "patch_size": 4,
    "in_channels": 1,
    "num_classes": 10,
    "depth": 6,
    "dim": 64,
    "num_heads": 4,
    "mlp_dim": 128,
}
IMAGES = "40 test images, with trained weights"
shown = cache(lambda: fashion_mnist().test[:40])
trained_vit = cache(lambda: fashion_vit().state_dict())


def compute_logits(
    images: Tensor, get: Get, patch_size: int, depth: int, num_heads: int, **_built: int
) -> Tensor:
    """The Vision Transformer, written apart from the course's parts."""
    x = oracle.patch_embedding(images, lambda n: get(f"embedding.{n}"), patch_size)
    x = oracle.encoder(x, lambda n: get(f"encoder.{n}"), depth, num_heads)
    return oracle.linear(x[:, 0], get, "head")


def vit_parameters(normal: Normal, **sizes: int) -> dict:
    """What a Vision Transformer of these sizes is built with, random parameters."""
    dim, values = sizes["dim"], sizes["in_channels"] * sizes["patch_size"] ** 2
    count = (sizes["image_size"] // sizes["patch_size"]) ** 2 + 1
    parameters = oracle.linear_parameters(normal, "embedding.proj", dim, values)
    parameters["embedding.cls_token"] = normal(1, 1, dim)
    parameters["embedding.pos_embed"] = normal(1, count, dim)
    encoder = random_parameters(normal, **sizes)
    parameters |= {f"encoder.{name}": value for name, value in encoder.items()}
    parameters |= oracle.linear_parameters(normal, "head", sizes["num_classes"], dim)
    return {"arguments": sizes, "parameters": parameters}


# A tool that says which layer differs first, and wrong versions of it.

SHAPES = """        if layer.shape != right.shape:
            return index
"""
NUMBERS = """        if not (layer - right).abs().max() <= tolerance:
            return index
"""
FIRST_DIFFERENCE = edits(
    first_difference,
    edit(
        "nan-passes",
        {"not (layer - right).abs().max() <=": "(layer - right).abs().max() >"},
        "A layer with nan passes: nan is neither above nor below the tolerance.",
        "What does Python say to nan > 0.1, and what to nan <= 0.1?",
    ),
    edit(
        "shapes-broadcast",
        {SHAPES: ""},
        "Tensors of unlike shapes are stretched until they fit, and so may agree.",
        "What does a minus make of the shapes (2, 3) and (1, 3)?",
    ),
    edit(
        "last-difference",
        {
            "    for index": "    found = None\n    for index",
            SHAPES: SHAPES.replace("return index", "found = index"),
            NUMBERS: NUMBERS.replace("if", "elif").replace(
                "return index", "found = index"
            ),
            "return None": "return found",
        },
        "It names the last layer that differs. All layers after a bug differ.",
        "A bug in block 0 also changes block 1. Which of them do you want to know?",
    ),
    edit(
        "sign-kept",
        {".abs().max()": ".max()"},
        "A number that is too small by any amount passes.",
        "Is -3 larger than a tolerance of 0.1?",
    ),
    edit(
        "mean-hides-it",
        {".abs().max()": ".abs().mean()"},
        "One wrong number among many right ones passes: the mean hides it.",
        "What is the mean of a thousand zeros and a single 1?",
    ),
    edit(
        "sums-cancel",
        {".abs().max()": ".sum().abs()"},
        "Differences are added up before they are compared, and so may cancel.",
        "What is the sum of 3 and -3?",
    ),
    edit(
        "mean-cancels",
        {".abs().max()": ".mean().abs()"},
        "Differences are averaged with their signs, and so may cancel.",
        "What is the mean of 3 and -3?",
    ),
    edit(
        "differences-added",
        {".abs().max()": ".abs().sum()"},
        "Many differences below the tolerance are added up, and come out above it.",
        "Which single number of a layer decides?",
    ),
    edit(
        "zero-taken-for-none",
        {
            SHAPES: SHAPES.replace("index\n", "index or None\n"),
            NUMBERS: NUMBERS.replace("index\n", "index or None\n"),
        },
        "A difference in layer 0 is reported as None.",
        "Is 0 true or false in Python, and what does `or` make of it?",
    ),
    edit(
        "minus-one-for-none",
        {"return None": "return -1"},
        "Where no layer differs it returns -1. That names the last layer of a list.",
        "What is `layers[-1]` in Python?",
    ),
    edit(
        "nothing-returned",
        {
            SHAPES: SHAPES.replace("return index", "return None"),
            NUMBERS: NUMBERS.replace("return index", "return None"),
        },
        "It returns None, whatever the layers are.",
        "Which value does the caller get: what is printed, or what is returned?",
    ),
    edit(
        "counted-from-one",
        {"strict=True)": "strict=True), 1"},
        "The layers are counted from 1.",
        "Which number does `layers[...]` need, so that it gives the layer you name?",
    ),
    edit(
        "relative-tolerance-left-on",
        {
            "not (layer - right).abs().max() <= tolerance": "not "
            "torch.allclose(layer, right, atol=tolerance)"
        },
        "Layers with large numbers may be off by more than the tolerance.",
        "`torch.allclose` has two tolerances. What is the other one if you leave it "
        "out?",
    ),
    edit(
        "only-layer-zero",
        {"    return None": "        return None"},
        "It answers after layer 0, whatever the others are.",
        "When may the loop end, if layer 0 agrees?",
    ),
    edit(
        "shapes-alone",
        {NUMBERS: ""},
        "It compares the shapes of the layers, and no numbers.",
        "Do two layers of one shape agree?",
    ),
    edit(
        "nan-equals-nan",
        {
            "not (layer - right).abs().max() <= tolerance": "not torch.allclose("
            "layer, right, rtol=0, atol=tolerance, equal_nan=True)"
        },
        "A layer with nan passes where nan is expected, too.",
        "Is what is expected right, if it holds nan?",
    ),
    edit(
        "tolerance-excluded",
        {"<= tolerance": "< tolerance"},
        "A number that is off by the tolerance, and not by more, is reported.",
        "Is 0.25 more than 0.25?",
    ),
    edit(
        "equal-exactly",
        {"(layer - right).abs().max() <= tolerance": "torch.equal(layer, right)"},
        "It asks for equal numbers: what differs in the seventh digit is reported.",
        "May two right programs round in different ways?",
    ),
)


def call_with_lists(answer: Callable, inputs: list, _parameters: dict) -> Tensor:
    """Give the layers as two lists; the index as a tensor, with nan for None."""
    *tensors, tolerance = inputs
    half = len(tensors) // 2
    found = answer(tensors[:half], tensors[half:], tolerance)
    if found is Ellipsis:
        return found
    try:
        number = torch.nan if found is None else operator.index(found)
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
    opposite = torch.zeros_like(right[1])
    opposite[0, :2] = torch.tensor([3.0, -3.0])
    large, spoilt = 1e4 + 1e4 * right[1].abs(), right[1].clone()
    spoilt[1, 2] = torch.nan
    zero = right[1].clone()
    zero[1, 2] = 0  # which nan_to_num makes of nan
    faults = {
        "layer 1 with smaller numbers": (right[1] - 3, right[1]),
        "layer 1 with one wrong number of a thousand": (many + one_off, many),
        "a layer 1 that is off by 3 and by -3": (right[1] + opposite, right[1]),
        "a layer 1 of 1000 numbers off by 0.001": (many + 1e-3, many),
        "a nan in layer 1": (spoilt, zero),
        "layer 1 of shape (1, 3) where (2, 3) is expected": (rows, rows.repeat(2, 1)),
        "a layer 1 above 10000 that is off by 0.05": (large + 0.05, large),
        "a nan in layer 1, and the same in what is expected": (spoilt, spoilt),
    }
    questions = [
        compared("six layers that agree", noise, right),
        compared("layers 0 and 2 with larger numbers", off(noise, 0, 2), right),
        compared("layers 1 and 2 with larger numbers", off(noise, 1, 2), right),
    ]
    for name, (layer, expected) in faults.items():
        found = off([noise[0], layer, *noise[2:]], 3, 4, 5)
        questions.append(compared(name, found, [right[0], expected, *right[2:]]))
    quarters = [
        (4 * layer).round() / 4 for layer in right
    ]  # exact, and so is 0.25 more
    found = off([quarters[0], quarters[1] + 0.25, *quarters[2:]], 3, 4, 5)
    name = "a layer 1 that is off by 0.25"
    return [*questions, compared(name, found, quarters, 0.25)]


def compared(
    name: str, layers: list[Tensor], expected: list[Tensor], tolerance: float = 0.01
) -> Question:
    """Which of the layers differs first by more than the tolerance?"""
    return Question(name, (*layers, *expected, tolerance))


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
    found = wrong.index(True) if True in wrong else torch.nan
    return finish(question, {}, (torch.tensor([found], dtype=torch.float64),))


def finds(name: str, *questions: str, ask: str, core: bool = False) -> Property:
    """The index is right for these questions."""

    @each(name, questions, ask, core=core)
    def test(trial: Trial) -> None:
        got, wanted = map(index_as_text, (trial.output, trial.expected[0]))
        tolerance = trial.question.inputs[-1]
        trial.require_right(
            f"It returns {got}, expected {wanted}, for {trial.question.name} "
            f"(tolerance {tolerance:g})."
        )

    return test


def index_as_text(number: Tensor) -> str:
    """An index as the student returned it."""
    return "None" if number.isnan() else f"{number.item():.0f}"


WRITE_FIRST_DIFFERENCE = Implement(
    form=Form(outputs=("index",), reference=(first_difference,), call=call_with_lists),
    ask_about=difference_questions,
    oracle=difference_oracle,
    properties=(
        finds(
            "the first layer that differs is found",
            *(
                "layers 0 and 2 with larger numbers",
                "layers 1 and 2 with larger numbers",
            ),
            ask="When may your loop stop, and which number does it then return?",
            core=True,
        ),
        finds(
            "layers that agree have no difference",
            *("six layers that agree", "a layer 1 of 1000 numbers off by 0.001"),
            ask="May two right programs differ in the seventh digit?",
            core=True,
        ),
        finds(
            "one wrong number is enough, in both directions",
            "layer 1 with smaller numbers",
            "layer 1 with one wrong number of a thousand",
            "a layer 1 that is off by 3 and by -3",
            ask="Which single number of a layer decides?",
            core=True,
        ),
        finds(
            "nan is a difference",
            *("a nan in layer 1", "a nan in layer 1, and the same in what is expected"),
            ask="What is every comparison with nan?",
        ),
        finds(
            "another shape is a difference",
            "layer 1 of shape (1, 3) where (2, 3) is expected",
            ask="What happens to unlike shapes before numbers are compared?",
        ),
        finds(
            "the tolerance does not grow with the numbers",
            "a layer 1 above 10000 that is off by 0.05",
            ask="Is your tolerance absolute?",
        ),
        finds(
            "a number may be off by the whole tolerance",
            "a layer 1 that is off by 0.25",
            ask="Which differences does the task call too large?",
        ),
        replace(KEEPS_INPUTS, name="the layers are not changed"),
    ),
    misconceptions=FIRST_DIFFERENCE,
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


ACTIVATION = "Which activation did the weights meet in training?"
OWN = edits(
    TextEncoder,
    edit(
        "gelu-kept",
        {"            block.mlp = TextMLP(dim, mlp_dim)\n": ""},
        "The MLPs still have GELU. These weights were trained with SiLU.",
        ACTIVATION,
    ),
    edit(
        "relu-instead",
        {"(dim, mlp_dim)\n            ": "(dim, mlp_dim, F.relu)\n            "},
        "The MLPs have ReLU. These weights were trained with SiLU.",
        ACTIVATION,
    ),
    edit(
        "sigmoid-alone",
        {"(dim, mlp_dim)\n            ": "(dim, mlp_dim, torch.sigmoid)\n            "},
        "The activation is the sigmoid alone: what it should weigh is missing.",
        "SiLU is a product. Of which two factors?",
    ),
    edit(
        "epsilon-of-vit",
        {"            block.norm1.eps = block.norm2.eps = 1e-5\n": ""},
        "Tokens of usual size come out almost right. In tokens with a tiny spread it "
        "shows: the norms in the blocks have ε = 1e-6.",
        "Which ε do the norms inside the blocks need here?",
    ),
    edit(
        "one-epsilon-everywhere",
        {"1e-5": "1e-5\n        self.norm.eps = 1e-5"},
        "The final norm has the ε of the blocks, 1e-5.",
        "Which of the norms has ε = 1e-6 here?",
    ),
    edit(
        "epsilon-in-one-norm",
        {"block.norm1.eps = block.norm2.eps": "block.norm1.eps"},
        "The first norm of each block has ε = 1e-5, the second still 1e-6.",
        "How many norms does a block have?",
    ),
    edit(
        "first-block-adapted",
        {"self.blocks": "self.blocks[:1]"},
        "Only block 0 is adapted. Later blocks have GELU and ε = 1e-6.",
        "Which blocks does your change reach?",
    ),
)
INHERITED = inside(
    TextEncoder,
    (
        *named(
            encoders.MISCONCEPTIONS["Encoder"],
            "one-block-repeated",
            "plain-list-of-blocks",
            "no-final-norm",
            "norm-after-every-block",
            "norm-before-the-blocks",
            "every-block-fed-the-input",
            "return-inside-the-loop",
            "class-token-alone",
        ),
        *named(
            blocks.MISCONCEPTIONS["EncoderBlock"],
            "post-norm",
            "norm-on-the-skip",
            "one-norm-twice",
            "mlp-reads-the-input",
            "no-first-skip",
            "no-second-skip",
            "mlp-first",
        ),
        *named(
            heads.MISCONCEPTIONS["MultiHeadSelfAttention"],
            "scaled-by-dim",
            "no-output-projection",
            "qkv-read-by-head",
        ),
        *named(
            norms.MISCONCEPTIONS["layer_norm"],
            "unbiased-variance",
            "epsilon-outside-root",
            "no-gain-and-bias",
        ),
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
VIT_LAYERS = ("the embedding, the final norm and the head", *BRANCHES)
SMALL_TOKENS = small([1, 0, 2, -1], [0, 3, 1, 0], [2, 1, 0, 0])[None]
SMALL = {"depth": 2, "dim": 4, "num_heads": 4, "mlp_dim": 5}
LINE = {  # question → what onnxruntime recorded before the final norm
    "the final norm, with trained weights": "tokens",
    "block 0, with trained weights": "block 0",
    "block 1, with trained weights": "block 1",
}
WHOLE_LINE = "block 1, with trained weights"


def silent(
    parameters: dict[str, Tensor], speaking: int, prefix: str = ""
) -> dict[str, Tensor]:
    """The parameters with 0 for all that branches write, but the first `speaking`."""
    ends = tuple(f"{prefix}{name}" for name in list(BRANCHES.values())[speaking:])
    return {n: v * 0 if n.startswith(ends) else v for n, v in parameters.items()}


def random_parameters(
    normal: Normal, depth: int, dim: int, mlp_dim: int, **_built: int
) -> dict[str, Tensor]:
    """Random parameters of an encoder."""
    parameters = oracle.norm_parameters(normal, "norm", dim)
    for i in range(depth):
        parameters |= oracle.block_parameters(normal, dim, mlp_dim, f"blocks.{i}.")
    return parameters


def compute(x: Tensor, get: Get, depth: int, num_heads: int, **_built: int) -> Tensor:
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
        Question("in training", (x,), **common, training=True),
        Question("one token", (normal(3, 1, 6),), **common),
        Question(
            "heads that do not divide", (x,), **uneven, refused=True, secondary=True
        ),
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


def all_agree(layers: tuple[str, ...]) -> Property:
    """Every branch adds what it should; those after it are silent meanwhile."""

    @holds(
        "every layer agrees, one after the other",
        "What does this layer read, what does it compute, and what is that added to?",
        core=True,
    )
    def test(trials: Trials) -> None:
        trial = first_wrong(trials, layers)
        if trial:
            trial.require_right(place_of(trial))

    return test


def where(trials: Trials) -> str:
    """The first layer that differs, in whatever digit."""
    layers = VIT_LAYERS if VIT_LAYERS[0] in trials else LAYERS
    trial = first_wrong(trials, layers, at_least=0)
    return place_of(trial) if trial and not trial.problem() else ""


def place_of(trial: Trial) -> str:
    """A layer that differs."""
    first = (LAYERS[0], VIT_LAYERS[0])
    behind = ", with all branches silent" if trial.question.name in first else ""
    return f"The first layer that differs: {trial.question.name}{behind}."


@holds(
    "on the recorded line every layer agrees with onnxruntime",
    "What do trained weights have that random ones do not?",
    core=True,
)
def line_agrees(trials: Trials) -> None:
    """With the trained weights the numbers are those that onnxruntime recorded."""
    trial = first_wrong(trials, tuple(LINE))
    if trial:
        trial.require_right(
            f"The first layer that differs: {trial.question.name}. It is off"
            f"{trial.by()} from what onnxruntime recorded.{reading(trials)}"
        )


def reading(trials: Trials) -> str:
    """What the recognizer reads with an encoder that passes the whole line on."""
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


def vit_questions(seed: int) -> list[Question]:
    """One branch after the other, the same for every seed; random sizes; images."""
    normal = Normal(seed)
    small = vit_parameters(Normal(11), **SMALL_VIT)
    images, parameters = Normal(12)(2, 1, 4, 4).round().abs(), small["parameters"]
    layers = [
        Question(
            name,
            (images,),
            small["arguments"],
            silent(parameters, count, "encoder."),
        )
        for count, name in enumerate(VIT_LAYERS)
    ]
    sizes = {**SMALL_VIT, "image_size": 6, "patch_size": 3, "in_channels": 2}
    sizes |= {"num_classes": 5, "depth": 3, "dim": 8, "num_heads": 2, "mlp_dim": 7}
    common = vit_parameters(normal, **sizes)
    x = normal(4, 2, 6, 6)
    return [
        *layers,
        Question("three blocks", (x,), **common),
        Question("one image", (x[:1],), **common),
        Question("in training", (x,), **common, training=True),
        Question(IMAGES, (shown().normalized(),), VIT, split(trained_vit())),
        *edges((x,), normal(4, 5), **common),
    ]


SMALL_VIT = {"image_size": 4, "patch_size": 2, "in_channels": 1, "num_classes": 3}
SMALL_VIT |= SMALL


@holds(
    "on images, with trained weights, the logits agree",
    "What do trained weights have that random ones do not?",
    core=True,
)
def images_agree(trials: Trials) -> None:
    """On real images the logits are those of the definition."""
    trial = trials[IMAGES]
    if not trial.right() and trial.outputs:  # none of a right shape: that is told
        trial.require_right(
            f"On {IMAGES}, the logits are off{trial.by()}.{guessing(trials)}"
        )


def guessing(trials: Trials) -> str:
    """How many images are guessed right, beside a right model."""
    trial = trials[IMAGES]
    if trial.problem():
        return ""
    guesses = (trial.outputs[0], trial.expected[0])
    labels = shown().labels
    mine, right = ((g.argmax(-1).cpu() == labels).sum().item() for g in guesses)
    return f" It guesses {mine} of 40 right; a right model guesses {right}."


def seen_on_images(trials: Trials) -> str:
    """Where a mistake begins, and what it does to guesses."""
    return f"{where(trials)}{guessing(trials)}".strip()


def it_sees(trials: Trials) -> str:
    """The remark on a right model."""
    right = (trials[IMAGES].output.argmax(-1).cpu() == shown().labels).sum().item()
    return f"With the trained weights it guesses {right} of 40 test images right."


WRITE_VISION_TRANSFORMER = Implement(
    form=Form(
        outputs=("logits",),
        is_class=True,
        fused=FUSED,
        aliases=ALIASES,
        reference=(CoursesModel, fashion_vit),
    ),
    ask_about=vit_questions,
    oracle=oracle_of(compute_logits),
    properties=(
        REPEATS,
        has_parameters(
            "all parameters are there, under the names that the weights ask for",
            "three blocks",
            ask="What are the parts of your module called?",
        ),
        returns_right_shapes(
            "logits (B, J) come back",
            *("three blocks", "one image"),
            ask="What does the head get of an image, and what does it give?",
        ),
        all_agree(VIT_LAYERS),
        as_defined(
            *("three blocks", "one image"),
            ask="Which of your numbers depends on sizes that it should not know?",
        ),
        images_agree,
        learns_no_more("three blocks"),
        SAME_IN_TRAINING,
        *EDGES,
    ),
    misconceptions=(*JOINED, *JOINED_INSIDE),
    show=Show(VIT_LAYERS, axes={"logits": ("picture", "class")}),
    remarks=(it_sees,),
    locate=seen_on_images,
)
AXES = {"output": ("token", "feature")}
WRITE_TEXT_ENCODER = Implement(
    form=Form(
        outputs=("output",),
        is_class=True,
        fused=FUSED,
        aliases=ALIASES,
        reference=(text_encoder,),
    ),
    ask_about=encoder_questions,
    oracle=encoder_oracle,
    properties=(
        REPEATS,
        encoders.HAS_BLOCKS_AND_NORM,
        has_parameters(
            "all parameters are there",
            "three blocks",
            ask="Which parts does your module know?",
        ),
        returns_right_shapes(
            "output (B, N, D) comes back",
            *("three blocks", "one token"),
            ask="Which tokens leave the encoder?",
        ),
        all_agree(LAYERS),
        as_defined(
            *("three blocks", "one token"),
            ask="Which of your numbers depends on sizes that it should not know?",
        ),
        agrees(
            "tokens with a tiny spread agree: each norm has its ε",
            *("tokens with a tiny spread", "the same, silent branches"),
            ask="Where does ε matter, and which ε has which norm?",
            core=True,
        ),
        line_agrees,
        learns_no_more("three blocks"),
        SAME_IN_TRAINING,
        UNEVEN_HEADS,
        *EDGES,
    ),
    misconceptions=(*OWN, *INHERITED),
    show=Show(LAYERS, inputs=("x",), axes=AXES),
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


LOAD = edits(
    load,
    edit(
        "square-matrices-not-turned",
        {"parameter.ndim == 2": "value.shape != parameter.shape"},
        "A square matrix stays as it is in the file: no shape tells that it must be "
        "turned.",
        "Which weights of an encoder have as many rows as columns?",
        PADDLE,
    ),
    edit(
        "key-and-value-bias-swapped",
        {
            "        state[name] = value": """        if name.endswith("qkv.bias"):
            query, key, value = value.chunk(3)
            value = torch.cat([query, value, key])
        state[name] = value"""
        },
        "The biases of keys and values have changed places; their weights have not.",
        "In which order do the weight and the bias of `qkv` hold their three parts?",
    ),
    edit(
        "norms-swapped",
        {
            "value = stored[name]": """other = {"norm1": "norm2", "norm2": "norm1"}
        value = stored[".".join(other.get(part, part) for part in name.split("."))]"""
        },
        "The two norms of each block have changed places.",
        "Which norm stands before the attention?",
    ),
    edit(
        "biases-left-out",
        {
            "        state[name] = value": """        if not name.endswith("bias"):
            state[name] = value""",
            "(state)": "(state, strict=False)",
        },
        "The biases are not loaded: they keep the numbers that they started with.",
        "Which parameters are no matrices?",
    ),
    edit(
        "no-matrix-turned",
        {
            """        if parameter.ndim == 2:
            value = value.T
""": "        value = value.reshape(parameter.shape)\n"
        },
        "The numbers of a matrix are filled in row by row, where its axes should "
        "change places.",
        "Where does a turned matrix have the number of row 0 and column 1?",
    ),
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
            Question(name, (SMALL_TOKENS, 4), parameters=silent(parameters, count))
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
        replace(
            all_agree(LAYERS),
            name="every layer of the encoder agrees",
            ask="Which parameters does this layer read?",
        ),
        agrees(
            "an encoder of other sizes agrees",
            "three blocks",
            ask="Does something in your code depend on a size?",
            core=True,
        ),
    ),
    misconceptions=LOAD,
    show=Show(LAYERS, inputs=("tokens", "num_heads"), axes=AXES),
    bug=LOAD[0],
    locate=where,
)

# Models that guess well, right and wrong.


def as_model(build: Callable[[], nn.Module]) -> Callable[[Tensor], Tensor]:
    """A function from images to the logits of a trained model.

    A test is run several times, with the same images: they are computed once.
    """
    kept, known = cache(build), {}

    def model(images):
        key = images.device, content_of(images.cpu())
        if key not in known:
            with torch.no_grad():
                known[key] = kept().to(images)(images)
        return known[key].clone()

    return model


def with_encoder(wrong: type[nn.Module]) -> Callable[[Tensor], Tensor]:
    """The trained ViT with a wrong encoder in it, which has its weights."""

    def build() -> nn.Module:
        model = fashion_vit()
        parts = ("depth", "dim", "num_heads", "mlp_dim")
        encoder = wrong(*(VIT[name] for name in parts))
        encoder.load_state_dict(model.encoder.state_dict())
        model.encoder = encoder
        return model.eval()

    return as_model(build)


def misloaded(wrong: Callable) -> Callable[[Tensor], Tensor]:
    """The trained ViT, its encoder filled in a wrong way."""

    def build() -> nn.Module:
        model = fashion_vit()
        wrong(model.encoder, as_stored(model.encoder.state_dict()))
        return model

    return as_model(build)


def without_key_bias() -> nn.Module:
    """A right one: what is added to all keys adds the same to all scores of a query."""
    model = fashion_vit()
    with torch.no_grad():
        for block in model.encoder.blocks:
            block.attn.qkv.bias.chunk(3)[1].zero_()
    return model


def in_float64(images: Tensor) -> Tensor:
    """A right one that rounds in another way."""
    values = {name: value.double() for name, value in split(trained_vit()).items()}
    return compute_logits(images.double(), values.__getitem__, **VIT).to(images)


def spoilt(wrong: Callable) -> Callable[[Tensor], Tensor]:
    """The trained ViT, with something done to its logits."""
    right = as_model(fashion_vit)
    return lambda images: wrong(right(images))


def unchanged(logits: Tensor) -> Tensor:
    """The logits as they are."""
    return logits.clone()


LOST = edits(
    unchanged,
    edit(
        "a-nan-for-one-class",
        {
            "logits.clone()": "logits.where(torch.arange(logits.shape[1], "
            "device=logits.device) != 4, torch.nan)"
        },
        "The logits of one class are nan.",
        "What does a comparison say that meets nan?",
    ),
    edit(
        "errors-that-cancel",
        {
            "logits.clone()": "logits + 0.01 * "
            "torch.tensor([1.0, -1.0], device=logits.device).repeat(5)"
        },
        "Half of the logits are too large, and half too small by the same amount.",
        "What is left of 0.01 and -0.01 in a sum?",
    ),
)
TEST_THE_MODEL = BreakIt(
    right={
        "the course's own": as_model(fashion_vit),
        "one without the bias of the keys, which changes no weight": as_model(
            without_key_bias
        ),
        "one that computes in float64": in_float64,
    },
    wrong=(
        replace(named(LOAD, "key-and-value-bias-swapped")[0], given_as=misloaded),
        *(
            replace(m, given_as=with_encoder)
            for m in named(
                encoders.MISCONCEPTIONS["Encoder"],
                *("one-norm-twice", "tanh-gelu", "blocks-with-torchs-eps"),
            )
        ),
        *(replace(m, given_as=spoilt) for m in LOST),
    ),
    ask="What do you have beside guesses, and how close do two right programs come?",
)

# The audit.


class JoinedProjections(nn.Module):
    """A right SelfAttention of another design."""

    def __init__(self, dim, head_dim):
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * head_dim)

    def forward(self, x):
        return attention(*self.qkv(x).chunk(3, dim=-1))[0]


UNPROJECTED = edits(
    SelfAttention,
    edit(
        "query-is-a-slice",
        {"self.query(x), ": "x[..., : self.key.out_features], "},
        "The queries are the first features of the input. A projection of queries is "
        "there, and nothing uses it.",
        "Which parameters get a gradient?",
    ),
    edit(
        "query-is-the-input",
        {
            "self.query = nn.Linear(dim, head_dim)\n        ": "",
            "self.key = nn.Linear(dim, head_dim)": "self.key = nn.Linear(dim, dim)",
            "self.query.in_features": "self.key.in_features",
            "self.query(x), ": "x, ",
        },
        "The queries are the input itself, and the keys are as wide as a token. All "
        "parameters are used, and the output has the right shape.",
        "How many numbers do three projections hold?",
    ),
    edit(
        "key-is-the-input",
        {
            "self.query = nn.Linear(dim, head_dim)": "self.query = nn.Linear(dim, dim)",
            "self.key = nn.Linear(dim, head_dim)\n        ": "",
            "self.key(x), ": "x, ",
        },
        "The keys are the input itself, and the queries are as wide as a token. All "
        "parameters are used, and the output has the right shape.",
        "How many numbers do three projections hold?",
    ),
)
TEST_THE_DIVISOR = BreakIt(
    right={
        "the course's own": layer_norm,
        "one that rounds in another order": oracle.layer_norm,
    },
    wrong=named(
        norms.MISCONCEPTIONS["layer_norm"],
        *("divided-by-variance", "root-of-deviation-minus-epsilon"),
    ),
    ask="What happens to the output if all numbers of a token grow tenfold?",
)
TEST_THE_PROJECTIONS = BreakIt(
    right={
        "the course's own": SelfAttention,
        "one that joins the three in `qkv`": JoinedProjections,
    },
    wrong=(
        *named(
            single.MISCONCEPTIONS["SelfAttention"],
            *("no-projections", "value-not-projected"),
        ),
        *UNPROJECTED,
    ),
    ask="How many learned numbers must have an effect on the output, and which shape?",
)
TEST_WHAT_LEAVES = BreakIt(
    right={
        "the course's own": Encoder,
        "one with SiLU and another ε in its blocks": TextEncoder,
    },
    wrong=named(
        encoders.MISCONCEPTIONS["Encoder"], *("no-final-norm", "class-token-alone")
    ),
    ask="How many vectors leave, and what do their means and variances say?",
)

MISCONCEPTIONS = {
    "VisionTransformer": (*JOINED, *JOINED_INSIDE),
    "first_difference": FIRST_DIFFERENCE,
    "TextEncoder": (*OWN, *INHERITED),
    "load": LOAD,
}
TASKS = {
    "VisionTransformer": WRITE_VISION_TRANSFORMER,
    "first_difference": WRITE_FIRST_DIFFERENCE,
    "find_the_bug": REPAIR_LOAD,
    "right_model": TEST_THE_MODEL,
    "TextEncoder": WRITE_TEXT_ENCODER,
    "divisor": TEST_THE_DIVISOR,
    "projections": TEST_THE_PROJECTIONS,
    "what_leaves": TEST_WHAT_LEAVES,
}
