"""The MLP: what people get wrong, what must hold, and the tasks."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vit_encoder.check.hearing.data import Form, Question
from vit_encoder.check.judging import oracle
from vit_encoder.check.judging.chance import (
    NOT_BY_CHANCE,
    Law,
    gated,
    law_of,
    percent,
    require_drops,
    settled,
    share,
)
from vit_encoder.check.judging.misconceptions import GITHUB, edit, edits, inside, named
from vit_encoder.check.judging.oracle import (
    Get,
    linear_parameters,
    oracle_of,
    oracle_of_function,
)
from vit_encoder.check.judging.pictures import Show
from vit_encoder.check.judging.properties import (
    EDGES,
    GRADIENTS,
    KEEPS_DTYPE,
    KEEPS_NO_STATE,
    PASSES_NAN_ON,
    REPEATS,
    SAME_IN_TRAINING,
    as_defined,
    each,
    has_parameters,
    holds,
    keeps_dtype,
    learns_no_more,
    refuses,
    require_gradients,
    returns_right_shapes,
    same_in_training,
    shows,
    stays_finite,
)
from vit_encoder.check.judging.questions import (
    Normal,
    batch,
    double,
    edges,
    finish,
    small,
    with_nan,
)
from vit_encoder.check.judging.trials import (
    Fails,
    Trial,
    Trials,
    close,
    tolerance_of,
    unchanged,
)
from vit_encoder.check.tasks import BreakIt, Implement
from vit_encoder.mlp import MLP, dropout, gelu

# Misconceptions of gelu.

ALL, ERF = "0.5 * x * (1 + torch.erf(x / math.sqrt(2)))", "torch.erf(x / math.sqrt(2))"
FROM_ERF = "How does Φ follow from erf?"
GELU = edits(
    gelu,
    edit(
        "tanh-formula",
        {
            "return": "inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)\n"
            "    return",
            ERF: "torch.tanh(inner)",
        },
        "It differs from x Φ(x) by up to 0.0005, most near x = 2.7 and x = -2.7: there "
        "it gives -0.0089, expected -0.0094.",
        "Two formulas are called GELU. In which digit do they differ?",
        GITHUB + "kyutai-labs/pocket-tts/pull/278",
    ),
    edit(
        "sigmoid-formula",
        {ALL: "x * torch.sigmoid(1.702 * x)"},
        "It differs from x Φ(x) by up to 0.02, most near x = 2.2 and x = -2.2: there "
        "it gives -0.05, expected -0.03.",
        "Which function is a good stand-in for Φ, and how good is it?",
        GITHUB + "huggingface/pytorch-image-models/issues/1754",
    ),
    edit(
        "silu",
        {ALL: "x * torch.sigmoid(x)"},
        "This is SiLU: the gate is the logistic sigmoid of x, not Φ(x).",
        "What is Φ(1), and what is the sigmoid of 1?",
        GITHUB + "huggingface/candle/issues/3745",
    ),
    edit(
        "relu",
        {ALL: "x.clamp_min(0)"},
        "This is ReLU: every negative number becomes 0.",
        "What should come out at x = -0.75?",
        GITHUB + "timeseriesAI/tsai/issues/361",
    ),
    edit(
        "no-root-of-two",
        {" / math.sqrt(2)": ""},
        "The gate rises too steeply: x is not divided by √2 inside erf.",
        FROM_ERF,
    ),
    edit(
        "multiplied-by-root",
        {"x / math": "x * math"},
        "The gate rises too steeply: x is multiplied by √2 inside erf.",
        FROM_ERF,
    ),
    edit(
        "halved-for-root",
        {"math.sqrt(2)": "2"},
        "The gate rises too slowly: inside erf, x is divided by 2, not by its root.",
        FROM_ERF,
    ),
    edit(
        "power-before-division",
        {"math.sqrt(2)": "2 ** 1 / 2"},
        "The gate rises too slowly: inside erf, x is divided by 2 twice.",
        "In which order does Python work through `x / 2 ** 1 / 2`?",
    ),
    edit(
        "root-outside-erf",
        {"x / math.sqrt(2))": "x) / math.sqrt(2)"},
        "The gate does not run from 0 to 1: erf itself is divided by √2, not x in it.",
        "Between which numbers does erf lie, and what does its argument change?",
    ),
    edit(
        "erfc-for-erf",
        {"torch.erf": "torch.erfc"},
        "The gate falls from 1.5 to 0.5: erfc(x) is 1 - erf(x).",
        "Which of the two rises: erf or erfc?",
    ),
    edit(
        "brackets-forgotten",
        {"(1 + torch.erf(x / math.sqrt(2)))": "1 + torch.erf(x / math.sqrt(2))"},
        "Half of x and erf are added up: x is multiplied by the 1 alone.",
        "Which comes first in Python, `*` or `+`, and what can change that?",
    ),
    edit(
        "gate-alone",
        {"0.5 * x * ": "0.5 * "},
        "It returns the gate Φ(x) alone, from 0 to 1.",
        "What is multiplied by the gate?",
        GITHUB + "tensorflow/tfjs/pull/8224",
    ),
    edit(
        "no-half",
        {"0.5 * ": ""},
        "It is twice as large as it should be: for large x it is 2 x, not x.",
        "Between which two numbers does 1 + erf lie?",
    ),
    edit(
        "no-one",
        {"(1 + torch": "(torch"},
        "Half of the gate is missing: an even function of x, never below 0.",
        "What is Φ(0), and what is erf(0)?",
    ),
    edit(
        "gate-reversed",
        {"1 + ": "1 - "},
        "The gate is turned round: negative numbers pass, positive ones do not.",
        "Is Φ(x) the probability of a number below x, or above it?",
    ),
    edit(
        "density",
        {ALL: "x * torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)"},
        "The gate is the bell curve, the density of the normal distribution: large "
        "numbers do not pass either.",
        "Which function of the normal distribution rises from 0 to 1?",
    ),
    edit(
        "tanh-with-square",
        {
            "return": "inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**2)\n"
            "    return",
            ERF: "torch.tanh(inner)",
        },
        "This is the tanh formula, with x² in place of x³.",
        "Which powers of x can an odd function such as 2 Φ(x) - 1 have?",
    ),
    edit(
        "tanh-without-root",
        {"return": "inner = x + 0.044715 * x**3\n    return", ERF: "torch.tanh(inner)"},
        "This is the tanh formula without its factor √(2/π).",
        "How steep is Φ at 0?",
    ),
    edit(
        "tanh-root-on-x-alone",
        {
            "return": "inner = math.sqrt(2 / math.pi) * x + 0.044715 * x**3\n"
            "    return",
            ERF: "torch.tanh(inner)",
        },
        "This is the tanh formula with its factor √(2/π) on x alone, not on x³.",
        "Two formulas are called GELU. Which one is asked for, and where are brackets?",
    ),
)

# Misconceptions of dropout.

SCALE = "1 / (1 - p) if p < 1 else 0.0"
NO_SCALE = {f"    scale = {SCALE}\n": "", " * scale": ""}
SHORT_CUT = "if not training or p == 0"
DROPOUT = edits(
    dropout,
    edit(
        "not-scaled",
        NO_SCALE,
        "What is kept is not made larger, so the mean shrinks by the factor 1 - p in "
        "training.",
        "What is the mean of many draws, and what comes out after training?",
    ),
    edit(
        "divided-by-p",
        {SCALE: "1 / p"},
        "What is kept is divided by p, not by 1 - p: with p = 0.1 the mean becomes "
        "nine times as large.",
        "Which share of the numbers is kept?",
        GITHUB + "lmjohns3/theanets/pull/123",
    ),
    edit(
        "kept-with-p",
        {">= p": "< p", SCALE: "1 / p"},
        "It keeps a number with probability p, where p is that of dropping it.",
        "How many zeros do you expect with p = 0.1?",
        GITHUB + "scut-mingqinchen/Self2Self/issues/7",
    ),
    edit(
        "always-on",
        {SHORT_CUT: "if p == 0"},
        "It drops numbers outside training too: two calls differ.",
        "What should a trained model answer if you ask it twice?",
        GITHUB + "pytorch/pytorch/issues/26338",
    ),
    edit(
        "scaled-twice",
        {SHORT_CUT: "if not training:\n        return x * (1 - p)\n    if p == 0"},
        "Outside training it multiplies by 1 - p, although training has already "
        "divided by 1 - p.",
        "How often must the mean be corrected?",
        GITHUB + "clab/dynet/issues/186",
    ),
    edit(
        "divided-by-zero",
        NO_SCALE | {" * scale": " / (1 - p)"},
        "With p = 1 it fails or returns nan: it divides by 1 - p = 0.",
        "What remains if every number is dropped?",
        GITHUB + "google/flax/pull/2055",
    ),
    edit(
        "in-place",
        {"x * kept * scale": "x.mul_(kept).mul_(scale)"},
        "It changes its input: whoever else holds that tensor sees the zeros.",
        "Who else may still need x, such as a residual connection?",
        GITHUB + "BierOne/bottom-up-attention-vqa/issues/6",
    ),
    edit(
        "gate-turned",
        {">= p": "< p"},
        "A number is kept with probability p, not dropped with it; the scale is made "
        "for dropping.",
        "How many zeros do you expect with p = 0.2?",
    ),
    edit(
        "normal-for-uniform",
        {"torch.rand(": "torch.randn("},
        "The random numbers come from the bell curve, so half of them are below 0.",
        "Which function of torch draws every number from 0 to 1 equally often?",
    ),
    edit(
        "multiplied-in-training",
        {SCALE: "1 - p"},
        "What is kept is multiplied by 1 - p in training, and so becomes smaller.",
        "If fewer numbers are left, must each be larger or smaller to keep the mean?",
    ),
    edit(
        "scaled-after-training",
        NO_SCALE
        | {
            SHORT_CUT: "if not training",
            "        return x\n": "        return x * (1 - p)\n",
        },
        "Training leaves what is kept as it is, and evaluation multiplies by 1 - p: "
        "the mean stays, but after training x does not come back.",
        "Two conventions keep the mean. In which mode does the chapter's equation "
        "scale?",
        "Srivastava et al. 2014, figure 2",
    ),
    edit(
        "never-on",
        {" * kept * scale": ""},
        "It drops nothing in training.",
        "When should numbers become 0, and when not?",
    ),
    edit(
        "modes-swapped",
        {"not training": "training"},
        "Training and evaluation have changed places: it drops after training.",
        "In which of the two modes should x come back as it is?",
    ),
    edit(
        "shared-gates",
        {"x.shape, ": "x[..., :1].shape, "},
        "One gate serves many numbers: they are kept together, or dropped together.",
        "How many random numbers must be drawn for a tensor of shape (B, N, D)?",
        GITHUB + "clab/dynet/pull/812",
    ),
)

# Misconceptions of the MLP.

BENT = "gelu(self.fc1(x))"
DROPPED = f"dropout({BENT}, self.dropout, self.training)"
LAST = "dropout(self.fc2(x), self.dropout, self.training)"
PLACES = "After which layers does the ViT paper put dropout?"
OWN = edits(
    MLP,
    edit(
        "activation-at-the-end",
        {BENT: "self.fc1(x)", "self.fc2(x)": "gelu(self.fc2(x))"},
        "GELU comes last: nothing that the MLP gives is below -0.17, and the two "
        "linear layers before it act like one.",
        "What may lie between two linear layers so that they do not become one?",
        GITHUB + "neuraloperator/neuraloperator/pull/197",
    ),
    edit(
        "no-activation",
        {BENT: "self.fc1(x)"},
        "There is no activation: the two linear layers are one affine map.",
        "What is the product of two matrices?",
        GITHUB + "stanfordnlp/stanza/pull/1610",
    ),
    edit(
        "tokens-mixed",
        {
            "nn.Linear(dim, mlp_dim)": "nn.Conv1d(dim, mlp_dim, 3, padding=1)",
            "self.fc1.in_features": "self.fc1.in_channels",
            "self.fc1(x)": "self.fc1(x.mT).mT",
        },
        "The first layer is a convolution over three tokens: a token's output depends "
        "on its neighbours.",
        "How many tokens may one output look at?",
    ),
    edit(
        "hidden-width-ignored",
        {
            "nn.Linear(dim, mlp_dim)": "nn.Linear(dim, dim)",
            "nn.Linear(mlp_dim, dim)": "nn.Linear(dim, dim)",
        },
        "The hidden layer has the width of a token, whatever mlp_dim says.",
        "How many parameters should fc1 have?",
        GITHUB + "brightmart/text_classification/pull/86",
    ),
    edit(
        "layers-exchanged",
        {
            "nn.Linear(dim, mlp_dim)": "nn.Linear(mlp_dim, dim)",
            "nn.Linear(mlp_dim, dim)": "nn.Linear(dim, mlp_dim)",
        },
        "fc1 goes from mlp_dim to dim, and fc2 from dim to mlp_dim.",
        "Which of the two layers makes a token wide, and which brings it back?",
    ),
    edit(
        "dropout-always-on",
        {
            DROPPED: f"F.dropout({BENT}, self.dropout)",
            LAST: "F.dropout(self.fc2(x), self.dropout)",
        },
        "Dropout works in evaluation, too.",
        "Who tells your dropout, in each call, whether this is training?",
        GITHUB + "delip/PyTorchNLPBook/issues/28",
    ),
    edit(
        "dropout-once",
        {DROPPED: BENT},
        "The hidden units are never dropped; dropout stands at the end alone.",
        PLACES,
        GITHUB + "keras-team/keras-hub/pull/2070",
    ),
    edit(
        "activation-twice",
        {"self.fc2(x)": "gelu(self.fc2(x))"},
        "GELU follows fc2 as well: no output is below -0.17.",
        "What does the block need from its MLP: only additions, or subtractions too?",
    ),
    edit(
        "activation-first",
        {BENT: "self.fc1(gelu(x))"},
        "GELU bends the input, and nothing stands between the two linear layers.",
        "Which numbers should GELU bend: those of the token, or the hidden units?",
    ),
    edit(
        "residual-inside",
        {
            "x = dropout(": "hidden = dropout(",
            "dropout(self.fc2(x)": "x + dropout(self.fc2(hidden)",
        },
        "The input is added to the output. So does the block: it counts twice.",
        "Who adds the input back: the MLP, or the block around it?",
        GITHUB + "nlpyang/hiersumm/issues/28",
    ),
    edit(
        "tokens-averaged",
        {
            "x = dropout(": "x = self.fc1(x)\n        x = x + x.mean(dim=-2, "
            "keepdim=True)\n        x = dropout(",
            BENT: "gelu(x)",
        },
        "The mean over all tokens is added to the hidden units: each output depends on "
        "every token.",
        "How many tokens may one output look at?",
    ),
    edit(
        "dropout-before-activation",
        {DROPPED: "gelu(dropout(self.fc1(x), self.dropout, self.training))"},
        "Dropout stands before GELU: what is kept is made larger, and then bent.",
        "Is GELU of 2 u twice GELU of u?",
    ),
    edit(
        "dropout-at-the-start",
        {DROPPED: "gelu(self.fc1(dropout(x, self.dropout, self.training)))"},
        "Numbers of the input are dropped; the hidden units are not.",
        PLACES,
    ),
    edit(
        "dropout-only-inside",
        {LAST: "self.fc2(x)"},
        "The hidden units are dropped, but no output is: none stands at the end.",
        PLACES,
        GITHUB + "tensorflow/swift-models/issues/104",
    ),
    edit(
        "dropout-ignored",
        {DROPPED: BENT, LAST: "self.fc2(x)"},
        "Nothing is dropped in training, whatever it was built with.",
        "What must your dropout know beside the p that the module was built with?",
        GITHUB + "isaaccorley/mlp-mixer-pytorch/issues/2",
    ),
)
# An MLP with a learned gate, and what people get wrong about it.


class SwiGLU(nn.Module):
    """Tokens (B, N, D) become (B, N, D), with about as many weights as MLP."""

    def __init__(self, dim: int, mlp_dim: int):
        super().__init__()
        hidden = 2 * mlp_dim // 3
        self.gate = nn.Linear(dim, hidden)
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


GATED, HALVES = "F.silu(self.gate(x)) * self.up(x)", "F.silu(self.gate(x))"
COUNT = "How many weights do three matrices have, and how many do two?"
WHICH = "Which of the two layers makes the gate, and which is let through by it?"
SWIGLU = edits(
    SwiGLU,
    edit(
        "silu-on-the-other",
        {GATED: "self.gate(x) * F.silu(self.up(x))"},
        "SiLU is taken of what `up` gives, not of what `gate` gives.",
        WHICH,
        GITHUB + "ml-explore/mlx-lm/pull/767",
    ),
    edit(
        "silu-of-the-product",
        {GATED: "F.silu(self.gate(x) * self.up(x))"},
        "SiLU is taken of the product.",
        "If `up` gave twice as much, how much more should reach `down`?",
        GITHUB + "Nijikadesu/breakdown-minimind/issues/3",
    ),
    edit(
        "silu-on-both",
        {GATED: f"{HALVES} * F.silu(self.up(x))"},
        "SiLU is taken of both.",
        WHICH,
    ),
    edit(
        "no-activation",
        {HALVES: "self.gate(x)"},
        "The two are multiplied as they are; nothing is taken of the gate.",
        "Which function stands between `gate` and the product?",
    ),
    edit(
        "sigmoid-for-silu",
        {"F.silu(": "torch.sigmoid("},
        "The gate is the sigmoid alone: it lies between 0 and 1.",
        "What is the sigmoid multiplied by to make SiLU?",
    ),
    edit(
        "gelu-for-silu",
        {"F.silu(": "F.gelu("},
        "The gate is GELU of what the layer gives.",
        "Which function of the gate does the task name?",
    ),
    edit(
        "added-for-multiplied",
        {f"{HALVES} *": f"{HALVES} +"},
        "The gate is added to what `up` gives.",
        "What should reach `down` where the gate is 0?",
    ),
    edit(
        "up-left-out",
        {GATED: HALVES},
        "What `up` gives is not used: this is an MLP with SiLU.",
        "How many layers does a token go through before `down`?",
        GITHUB + "google-research/timesfm/issues/493",
    ),
    edit(
        "gate-on-itself",
        {"self.up(x)": "self.gate(x)"},
        "The gate is multiplied by what made it; `up` is never called.",
        WHICH,
    ),
    edit(
        "input-added",
        {"return ": "return x + "},
        "The input is added to the output. So does the block: it counts twice.",
        "Who adds the input back: the MLP, or the block around it?",
    ),
    edit(
        "width-not-reduced",
        {"2 * mlp_dim // 3": "mlp_dim"},
        "It has mlp_dim hidden units, and so half as many weights again as the MLP.",
        COUNT,
    ),
    edit(
        "width-halved",
        {"2 * mlp_dim // 3": "mlp_dim // 2"},
        "It has half of mlp_dim hidden units, and so fewer weights than it may have.",
        COUNT,
    ),
    edit(
        "width-rounded-up",
        {"2 * mlp_dim // 3": "math.ceil(2 * mlp_dim / 3)"},
        "Its width is rounded up, so it can have more weights than the MLP.",
        "Which whole number comes next to two thirds of 11, and on which side of it?",
    ),
    edit(
        "width-rounded",
        {"2 * mlp_dim // 3": "round(2 * mlp_dim / 3)"},
        "Its width is rounded to the nearest whole number, and so sometimes too large.",
        "To which side may you round if there must not be more weights?",
    ),
    edit(
        "third-rounded-first",
        {"2 * mlp_dim // 3": "2 * (mlp_dim // 3)"},
        "A third is rounded down and then doubled, so the width can be too small.",
        "What is two thirds of 11, rounded down at the end, and what if at once?",
    ),
)

# The bias that takes over what idle hidden units add, and what people get wrong.


def folded_bias(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """The bias of fc2 once hidden units that read nothing are taken out.

    w1: (M, D). b1: (M,). w2: (D, M). b2: (D,). Returns (D,).
    """
    idle = (w1 == 0).all(dim=1)
    return b2 + w2[:, idle] @ gelu(b1[idle])


ADDED = "w2[:, idle] @ gelu(b1[idle])"
READS_NOTHING = "Which hidden units give every token the same?"
THROUGH = "Which steps lie between the bias of a hidden unit and fc2?"
FOLDED = edits(
    folded_bias,
    edit(
        "bias-not-bent",
        {ADDED: "w2[:, idle] @ b1[idle]"},
        "fc2 gets the biases of the idle units themselves.",
        THROUGH,
    ),
    edit(
        "nothing-taken-over",
        {f" + {ADDED}": ""},
        "The bias of fc2 comes back as it was.",
        "What did an idle unit with bias 2 add to each token?",
    ),
    edit(
        "all-units",
        {ADDED: "w2 @ gelu(b1)"},
        "All hidden units are taken for idle ones: so much does a token of zeros give.",
        READS_NOTHING,
    ),
    edit(
        "other-units",
        {"idle = ": "idle = ~"},
        "It adds what the units that stay would give for a token of zeros.",
        READS_NOTHING,
    ),
    edit(
        "one-zero-is-enough",
        {".all(": ".any("},
        "A unit with a single weight of 0 is taken for an idle one.",
        READS_NOTHING,
    ),
    edit(
        "weights-add-up-to-0",
        {"(w1 == 0).all(dim=1)": "w1.sum(dim=1) == 0"},
        "A unit is taken for an idle one if its weights add up to 0, as 1 and -1 do.",
        "What does a unit with the weights 1 and -1 give for the token (3, 1)?",
    ),
    edit(
        "first-bias-lost",
        {"b2 + ": ""},
        "What fc2 added itself is lost.",
        "What was in the bias of fc2 before?",
    ),
    edit(
        "bent-after-fc2",
        {ADDED: "gelu(w2[:, idle] @ b1[idle])"},
        "GELU is taken after fc2, of what the idle units add together.",
        THROUGH,
    ),
    edit(
        "taken-away",
        {"b2 + ": "b2 - "},
        "What the idle units add is taken away from the bias of fc2.",
        "Will the units that stay still add what the idle ones did?",
    ),
    edit(
        "relu-for-gelu",
        {"gelu(b1[idle])": "b1[idle].clamp_min(0)"},
        "The biases of the idle units go through ReLU.",
        "What does this MLP do with a hidden number of -1?",
    ),
    edit(
        "averaged",
        {ADDED: f"{ADDED} / max(1, idle.sum())"},
        "What the idle units add is divided by their number.",
        "If two idle units add 1 each, what do they add together?",
    ),
)

# What one of several devices adds to an MLP, and what people get wrong about it.


def share_of(
    x: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    rank: int,
    count: int,
) -> Tensor:
    """What device `rank` of `count` adds, as in Megatron-LM: (..., D) to (..., D)."""
    width = len(w1) // count
    if width * count != len(w1):
        raise ValueError(f"expected a count that divides {len(w1)}, got {count}")
    own = slice(rank * width, (rank + 1) * width)
    hidden = gelu(F.linear(x, w1[own], b1[own]))
    y = F.linear(hidden, w2[:, own])
    return y + b2 if rank == 0 else y


OWN_UNITS, GIVEN = (
    "slice(rank * width, (rank + 1) * width)",
    "y + b2 if rank == 0 else y",
)
FIRST = "gelu(F.linear(x, w1[own], b1[own]))"
ONCE = "The devices' results are added up. How often is the bias of `fc2` in the sum?"
COMPLETE = "Which cut lets a device know a hidden unit completely, before GELU?"
UNCUT = "With `count` 1 a device is the whole MLP. What stands between its two layers?"
PIECE = "Which hidden units does device 0 hold, and which device 1?"
SHARE = edits(
    share_of,
    edit(
        "bias-on-every-device",
        {GIVEN: "y + b2"},
        "Each device adds the bias of `fc2`, so the sum holds it `count` times.",
        ONCE,
        GITHUB + "huggingface/text-generation-inference/issues/1036",
    ),
    edit(
        "bias-on-no-device",
        {GIVEN: "y"},
        "No device adds the bias of `fc2`.",
        ONCE,
    ),
    edit(
        "bias-on-device-1",
        {"rank == 0": "rank == 1"},
        "Device 1 adds the bias of `fc2`.",
        "Which number does the first device have?",
    ),
    edit(
        "bias-shared-out",
        {GIVEN: "y + b2 / count"},
        "Each device adds a part of the bias of `fc2`. The sum is right, but not what "
        "device 0 gives.",
        "Which device adds the bias?",
        GITHUB + "pytorch/torchtitan/pull/4332",
    ),
    edit(
        "features-split",
        {
            OWN_UNITS: "torch.arange(x.shape[-1]).chunk(count)[rank]",
            FIRST: "gelu(F.linear(x[..., own], w1[:, own], b1 / count))",
            "w2[:, own]": "w2",
        },
        "Each device reads some features of a token and takes GELU of what they alone "
        "add to the hidden units.",
        "Is GELU of a sum the sum of the GELUs?",
        "Shoeybi et al. 2019, section 3",
    ),
    edit(
        "features-split-and-bias",
        {
            OWN_UNITS: "torch.arange(x.shape[-1]).chunk(count)[rank]",
            FIRST: "gelu(F.linear(x[..., own], w1[:, own], b1))",
            "w2[:, own]": "w2",
        },
        "Each device reads some features of a token, adds the whole bias of `fc1`, and "
        "takes GELU of that.",
        "Is GELU of a sum the sum of the GELUs?",
        "Shoeybi et al. 2019, section 3",
    ),
    edit(
        "first-bias-on-device-0",
        {"b1[own]": "b1[own] if rank == 0 else None"},
        "Device 0 alone adds a bias to its hidden units.",
        "Which hidden units need their bias before GELU?",
    ),
    edit(
        "no-first-bias",
        {", b1[own]": ""},
        "No hidden unit gets its bias.",
        "What does fc1 add to the weighted sum?",
    ),
    edit(
        "activation-at-the-end",
        {
            FIRST: "F.linear(x, w1[own], b1[own])",
            "F.linear(hidden, w2[:, own])": "gelu(F.linear(hidden, w2[:, own]))",
        },
        "GELU comes last, and none stands between the two layers.",
        "In which order come the two layers and GELU?",
    ),
    edit(
        "no-activation",
        {FIRST: "F.linear(x, w1[own], b1[own])"},
        "There is no GELU.",
        "What stands between the two layers of the MLP?",
    ),
    edit(
        "every-other-unit",
        {OWN_UNITS: "slice(rank, None, count)"},
        "Device r takes hidden units r, r + count, and so on. The sum is right, but "
        "these are not pieces.",
        PIECE,
    ),
    edit(
        "counted-from-1",
        {OWN_UNITS: "slice((rank - 1) * width, rank * width)"},
        "The pieces are counted from 1, so device 0 holds no hidden unit.",
        PIECE,
    ),
    edit(
        "first-columns-everywhere",
        {"w2[:, own]": "w2[:, :width]"},
        "Each device uses the first columns of `w2`, whichever units it holds.",
        "Which columns of `w2` are multiplied by the hidden units of device 1?",
    ),
    edit(
        "whole-on-every-device",
        {OWN_UNITS: "slice(None)"},
        "Each device computes with all hidden units, so the sum holds them `count` "
        "times.",
        "How much of the weights does one device hold?",
    ),
    edit(
        "whole-divided",
        {OWN_UNITS: "slice(None)", GIVEN: "(y + b2) / count"},
        "Each device computes the whole MLP and divides it by `count`. The sum is "
        "right, but nothing was spread.",
        "How much of the weights does one device hold?",
    ),
)

# Those of dropout that have a counterpart above, or that nobody sees from outside.
ELSEWHERE = ("always-on", "never-on", "in-place", "normal-for-uniform")
INSIDE = inside(MLP, (m for m in (*GELU, *DROPOUT) if m.name not in ELSEWHERE))
MISCONCEPTIONS = {
    "gelu": GELU,
    "dropout": DROPOUT,
    "MLP": (*OWN, *INSIDE),
    "find_the_bug": FOLDED,
    "SwiGLU": SWIGLU,
    "share": SHARE,
}

# The oracles.


def dropout_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """What does not depend on chance in dropout, and its gradient where none does."""
    x, p, training = question.inputs
    leaf = double(x)
    output = gated(leaf, p if training else 0.0, torch.Generator().manual_seed(1))
    outputs, gradients = finish(question, {"input 0": leaf}, (output,))
    by_chance = training and 0 < p < 1
    return settled_dropout(question, outputs), {} if by_chance else gradients


def settled_dropout(
    question: Question, outputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """An output's law."""
    return (settled(question.inputs[0], outputs[0]),)


def mlp_oracle(question: Question, taken: tuple[str, ...]) -> tuple:
    """What does not depend on chance in the MLP, and its gradients."""
    generator = torch.Generator().manual_seed(1)

    def compute(x: Tensor, get: Get, dropout: float = 0.0, **_sizes: int) -> Tensor:
        p = dropout if question.training else 0.0
        hidden = gated(oracle.gelu(oracle.linear(x, get, "fc1")), p, generator)
        return gated(oracle.linear(hidden, get, "fc2"), p, generator)

    outputs, gradients = oracle_of(compute)(question, taken)
    return settled_mlp(question, outputs), gradients


def settled_mlp(question: Question, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """An output's law, where ones meet dropout."""
    if "dropout" not in question.arguments:
        return outputs
    ones = torch.ones_like(question.inputs[0])
    return (settled(ones, outputs[0], columns=True),)


def gated_mlp(x: Tensor, get: Get, **_built: int) -> Tensor:
    """SwiGLU."""
    u, v = (oracle.linear(x, get, name) for name in ("gate", "up"))
    return oracle.linear(u * v / (1 + torch.exp(-u)), get, "down")


def folded_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """What a token of zeros gives, without the units that read something.

    No gradient reaches w1: that a weight is 0 has no slope.
    """
    w1, *rest = question.inputs
    leaves = {f"input {i}": double(x) for i, x in enumerate(rest, 1)}
    b1, w2, b2 = leaves.values()
    idle = (w1.abs().amax(1) == 0).double()
    output = b2 + torch.einsum("dm,m->d", w2, oracle.gelu(b1) * idle)
    return finish(question, leaves, (output,))


@oracle_of_function
def share_oracle(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, rank: int, count: int
) -> Tensor:
    """All hidden units, of which those of other devices count 0 times."""
    hidden = oracle.gelu(torch.einsum("...i,oi->...o", x, w1) + b1)
    place = torch.arange(len(b1), device="cpu") * count // len(b1)
    own = (place == rank).double()
    return torch.einsum("...m,dm->...d", hidden * own, w2) + b2 * (rank == 0)


# The questions.

SMALL_GELU = small([-3, -2, -1, -0.75], [-0.25, 0, 0.5, 2])


def gelu_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict."""
    normal = Normal(seed)
    x = 2 * normal(2, 5, 7)
    hundredths = torch.arange(-600 + seed % 7, 601, 7, device="cpu").double() / 100
    large = small([-1e4, -100, -40, -12], [12, 40, 100, 1e4])
    return [
        Question("small numbers", (SMALL_GELU,)),
        Question("from -6 to 6", (torch.stack([hundredths, -hundredths]),)),
        Question("three axes", (x,)),
        Question("a part of it", (x[:1, 2:, 3:],)),
        Question("four axes", (normal(2, 3, 1, 4),)),
        Question("far from zero", (large,)),
        Question("large numbers", (large.float(),)),
        Question("a nan", (with_nan(x),), secondary=True),
        *edges((x,), normal(2, 5, 7)),
    ]


SMALL_DROPOUT = small([4, 8, 12, 16], [-20, -16, 40, 24])
TWO_AXES, THREE_AXES = "p = 0.2, two axes", "p = 0.7, three axes"
BY_CHANCE = (TWO_AXES, THREE_AXES)


def dropout_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, large random ones that show a law."""
    normal = Normal(seed)
    two, three = normal(60, 50), normal(5, 40, 20)
    all_axes = normal(2, 3, 8, 25)
    return [
        Question("small numbers in training", (SMALL_DROPOUT, 0.2, True)),
        Question("small numbers after training", (SMALL_DROPOUT, 0.2, False)),
        Question(TWO_AXES, (two, 0.2, True)),
        Question(THREE_AXES, (three, 0.7, True)),
        Question("after training", (three, 0.7, False)),
        Question("after training, p = 1", (all_axes, 1.0, False)),
        Question("a nan", (with_nan(three), 0.7, False), secondary=True),
        Question("p = 0", (all_axes, 0.0, True)),
        Question("p = 1", (all_axes, 1.0, True)),
        Question(
            "gradients after training", (two, 0.2, False), cotangent=normal(60, 50)
        ),
        Question("p = 1, gradients", (two, 1.0, True), cotangent=normal(60, 50)),
        Question("p = 1.5", (SMALL_DROPOUT, 1.5, True), refused=True),
        Question("p = -0.1", (SMALL_DROPOUT, -0.1, True), refused=True),
        Question("p = 1.5 after training", (SMALL_DROPOUT, 1.5, False), refused=True),
        Question("float32", (two.float(), 0.2, True)),
        Question("gradients", (two, 0.2, True), cotangent=normal(60, 50)),
        Question("another device", (two, 0.2, True), device="meta"),
    ]


SMALL_X = small([1, 0], [0, 2], [-1, 1], [3, -2])[None]
SMALL_PARAMETERS = {
    "fc1.weight": small([1, 0], [1, -1], [0, 2]),
    "fc1.bias": small([0, 1, -1])[0],
    "fc2.weight": small([1, 2, 0], [-1, 0, 1]),
    "fc2.bias": small([1, -2])[0],
}
# Without dropout all outputs are 1. The first comes from a hidden unit that reads the
# input, the second from one that has a bias only. The third is a bias.
P, HIDDEN = 0.3, 2
ONES = torch.ones(60, 50, 3, dtype=torch.float64, device="cpu")
ONES_PARAMETERS = {
    "fc1.weight": small([1, 0, 0], [0, 0, 0]),
    "fc1.bias": small([0, 1])[0],
    "fc2.weight": small([1, 0], [0, 1], [0, 0]) / oracle.gelu(ONES[0, 0, 0]),
    "fc2.bias": small([0, 0, 1])[0],
}


def mlp_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict.

    Those with dropout get one token many times: what comes out then shows the gates.
    Those with `between` get layers that hand numbers on.
    """
    normal = Normal(seed)
    x, parameters = normal(2, 5, 6), mlp_parameters(normal, 6, 11)
    token, feature = x.clone(), 2 * x
    token[0, 1] += normal(6)
    feature[..., 0] += 1
    wide = {"arguments": built(6, 11), "parameters": parameters}
    nothing = {name: 0 * value for name, value in parameters.items()}
    no_weight = parameters | {"fc2.weight": nothing["fc2.weight"]}
    eye = torch.eye(11, 6, device="cpu")
    silent = wide | {"parameters": no_weight}
    between = wide | {"parameters": nothing | {"fc1.weight": eye, "fc2.weight": eye.T}}
    narrow = {"arguments": built(7, 4), "parameters": mlp_parameters(normal, 7, 4)}
    tiny = {"arguments": built(2, 3), "parameters": SMALL_PARAMETERS}

    def ones(name: str, p: float, *, training: bool = True, **more: object) -> Question:
        more |= {"training": training, "secondary": True}
        arguments = {**built(3, HIDDEN), "dropout": p}
        return Question(name, (ONES,), arguments, ONES_PARAMETERS, **more)

    return [
        Question("small numbers", (SMALL_X,), **tiny),
        ones("dropout in training", P),
        ones("dropout after training", P, training=False, rehearsals=(True,)),
        Question("two small images", (batch(SMALL_X[0]),), **tiny),
        Question("a wide hidden layer", (x,), **wide),
        Question("one token changed", (token,), **wide),
        Question("a hundred times the input", (100 * x,), **wide),
        Question("zeros", (0 * x,), **wide),
        Question("fc2 silent", (x,), **silent),
        Question("between the layers", (2 * x,), **between),
        Question("one feature changed", (feature,), **between),
        Question("a narrow hidden layer", (normal(3, 5, 7),), **narrow),
        Question("one token", (normal(3, 1, 7),), **narrow),
        Question("in training", (x[[0, 0]],), **wide, training=True),
        Question("called again", (x,), **wide, rehearsals=(False,), secondary=True),
        Question("a nan", (with_nan(x),), **wide, secondary=True),
        Question("float32", (x.float(),), **wide),
        Question("float32 again", (x.float(),), **wide),
        Question("gradients", (x,), **wide, cotangent=normal(2, 5, 6)),
        ones("dropout in training again", P, rehearsals=(True, False)),
        ones("p = 1", 1.0),
        ones("p = 1.5", 1.5, refused=True),
        ones("another device", P, device="meta"),
    ]


def built(dim: int, mlp_dim: int) -> dict[str, int]:
    """What MLP is built with."""
    return {"dim": dim, "mlp_dim": mlp_dim}


def mlp_parameters(normal: Normal, dim: int, mlp_dim: int) -> dict[str, Tensor]:
    """Random weights and biases of both layers."""
    return {
        **linear_parameters(normal, "fc1", mlp_dim, dim),
        **linear_parameters(normal, "fc2", dim, mlp_dim),
    }


SMALL_GATED = {
    "gate.weight": small([1, 0], [1, -1], [0, 2]),
    "gate.bias": small([0, 1, -1])[0],
    "up.weight": small([0, 1], [2, 0], [1, 1]),
    "up.bias": small([1, 0, 0])[0],
    "down.weight": small([1, 2, 0], [-1, 0, 1]),
    "down.bias": small([1, -2])[0],
}


def swiglu_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict.

    Those with `between` get layers that hand numbers on, where `up` gives ones.
    """
    normal = Normal(seed)

    def random(dim: int, mlp_dim: int, hidden: int) -> dict:
        parameters = {
            **linear_parameters(normal, "gate", hidden, dim),
            **linear_parameters(normal, "up", hidden, dim),
            **linear_parameters(normal, "down", dim, hidden),
        }
        return {"arguments": built(dim, mlp_dim), "parameters": parameters}

    x, wide, narrow = normal(2, 5, 6), random(6, 11, 7), random(7, 4, 2)
    parameters, token = wide["parameters"], x.clone()
    token[0, 1] += normal(6)

    def with_up(factor: float) -> dict:
        changes = {n: factor * parameters[n] for n in ("up.weight", "up.bias")}
        return wide | {"parameters": parameters | changes}

    eye = torch.eye(7, 6, device="cpu")
    zeros = {name: 0 * value for name, value in parameters.items()}
    ones = {"gate.weight": eye, "up.bias": zeros["up.bias"] + 1, "down.weight": eye.T}
    between = wide | {"parameters": zeros | ones}
    tiny = {"arguments": built(2, 5), "parameters": SMALL_GATED}
    return [
        Question("small numbers", (SMALL_X,), **tiny),
        Question("two small images", (batch(SMALL_X[0]),), **tiny),
        Question("a wide hidden layer", (x,), **wide),
        Question("one token changed", (token,), **wide),
        Question("up silent", (x,), **with_up(0)),
        Question("up turned round", (x,), **with_up(-2)),
        Question("between the layers", (2 * x,), **between),
        Question("a narrow hidden layer", (normal(3, 5, 7),), **narrow),
        Question("one token, no remainder", (normal(3, 1, 7),), **random(7, 6, 4)),
        Question("in training", (x,), **wide, training=True),
        Question("called again", (x,), **wide, rehearsals=(False,), secondary=True),
        Question("a nan", (with_nan(x),), **wide, secondary=True),
        *edges((x,), normal(2, 5, 6), **wide),
    ]


def folded_questions(seed: int) -> list[Question]:
    """Weights and biases of both layers; in most some hidden units read nothing."""
    normal = Normal(seed)
    few = (
        small([0, 0], [1, -1], [0, 0], [0, 2]),
        small([2, -1, -1, 0.5])[0],
        small([1, 2, 0, 1], [-1, 0, 2, 1]),
        small([1, -2])[0],
    )

    def layers(dim: int, mlp_dim: int, idle: list[int]) -> tuple[Tensor, ...]:
        w1, b1 = normal(mlp_dim, dim), normal(mlp_dim)
        w1[idle] = 0
        return w1, b1, normal(dim, mlp_dim), normal(dim)

    wide = layers(6, 11, [1, 4, 10])
    wide[0][2, 3] = 0  # a single weight
    wide[0][5] = small([1, -1, 2, -2, 3, -3])[0]  # they add up to 0
    *first, b2 = wide
    return [
        Question("small numbers", few),
        Question("three idle units", wide),
        Question("one idle unit", layers(5, 9, [8])),
        Question("no idle unit", layers(3, 8, [])),
        Question("idle units alone", layers(4, 7, [*range(7)])),
        Question("a nan", (*first, with_nan(b2)), secondary=True),
        *edges(wide, normal(6)),
    ]


def share_questions(seed: int) -> list[Question]:
    """The devices of an MLP one by one; the widths divide by the number of devices.

    So it shows in numbers, not in an error, if the features were split.
    """
    normal = Normal(seed)

    def layers(dim: int, mlp_dim: int) -> tuple[Tensor, ...]:
        parameters = mlp_parameters(normal, dim, mlp_dim)
        return tuple(parameters.values())  # w1, b1, w2, b2

    x, wide = normal(2, 5, 6), layers(6, 12)
    w1, b1, w2, b2 = wide
    others = (torch.arange(12, device="cpu") // 4 != 1).double()  # but device 1
    changed = (w1 + others[:, None], b1 - others, w2 + others, b2)
    few = (SMALL_X[0], *(small_layers()))
    three_axes = [
        Question(f"device {rank} of 3", (x, *wide, rank, 3)) for rank in range(3)
    ]
    return [
        Question("small numbers, device 0", (*few, 0, 2)),
        Question("small numbers, device 1", (*few, 1, 2)),
        *three_axes,
        Question("other devices changed", (x, *changed, 1, 3)),
        *(
            Question(f"{q.name}, w2 silent", (x, w1, b1, 0 * w2, *q.inputs[4:]))
            for q in three_axes
        ),
        Question("one device", (normal(3, 4, 7), *layers(7, 10), 0, 1)),
        Question("two axes", (normal(9, 8), *layers(8, 20), 3, 4)),
        Question("no equal pieces", (x, *wide, 1, 5), refused=True),
        Question("a nan", (with_nan(x), *wide, 2, 3), secondary=True),
        *edges((x, *wide, 0, 3), normal(2, 5, 6)),
    ]


def small_layers() -> tuple[Tensor, ...]:
    """Weights and biases of an MLP with four hidden units, for a message."""
    w1 = small([1, 0], [1, -1], [0, 2], [2, 1])
    return (
        w1,
        small([0, 1, -1, 0])[0],
        small([1, 2, 0, 1], [-1, 0, 1, 2]),
        small([1, -2])[0],
    )


# The properties of gelu.


@holds(
    "each number is on its own",
    "Does Φ of one number depend on the others?",
    core=True,
    example=True,
)
def keeps_numbers_apart(trials: Trials) -> None:
    """A part of a tensor gives the same alone."""
    whole, part = trials["three axes"].output, trials["a part of it"].output
    if not close(whole[:1, 2:, 3:], part):
        text = "A number gives something else among other numbers."
        raise Fails(text, "numbers-mixed")


@each(
    "far from zero it is 0 or x",
    ("far from zero",),
    "What is Φ of a very negative number, and what of a very large one?",
    core=True,
    example=True,
)
def right_far_from_zero(trial: Trial) -> None:
    """Nothing passes on the left, everything on the right."""
    if not trial.right():
        raise Fails(worst(trial), "wrong-far-from-zero")


@each(
    "Φ(x) and Φ(-x) add up to 1",
    ("from -6 to 6",),
    "Φ(x) is the probability of a number below x. What is that of one above it?",
    core=True,
    example=True,
)
def is_symmetric(trial: Trial) -> None:
    """Then f(x) - f(-x) is x."""
    x, y = trial.question.inputs[0], trial.output.double()
    off = (y[0] - y[1] - x[0]).abs().nan_to_num(torch.inf)
    if off.max() > tolerance_of(trial.output):
        at, left, right = (float(t[off.argmax()]) for t in (x[0], y[1], y[0]))
        at, left, right, apart = map(number, (at, left, right, right - left))
        raise Fails(
            f"At x = {at} it gives {right}, at -x it gives {left}. They are {apart} "
            f"apart, expected {at}.",
            "gate-not-symmetric",
        )


@each(
    "the numbers are x Φ(x)",
    ("small numbers", "from -6 to 6", "three axes", "four axes"),
    "Which probability is Φ(x), and which function of PyTorch gives it exactly?",
    core=True,
    example=True,
)
def equals_definition(trial: Trial) -> None:
    """The numbers are x Φ(x); if not, the worst of them is told."""
    if trial.right():
        return
    trial.require_no_rounding()
    off = (trial.output - trial.expected[0]).abs().max()
    if off < 2e-3:
        ask = "Which constants are in your formula, and how many of their digits?"
        raise Fails(worst(trial), "too-few-digits", ask)
    raise Fails(worst(trial), "another-activation")


def worst(trial: Trial) -> str:
    """The number that is most off."""
    x, got, right = trial.question.inputs[0], trial.output.double(), trial.expected[0]
    place = (got - right).abs().nan_to_num(torch.inf).argmax()
    x, got, right = (float(t.flatten()[place]) for t in (x, got, right))
    return f"At x = {x:g} it gives {number(got)}, expected {number(right)}."


def number(value: float) -> str:
    """Six places at most, and no sign before 0."""
    return f"{round(value, 6) + 0:.12g}"


# The properties of dropout.


def drawn_law(trial: Trial) -> Law:
    """The law of what was drawn. Fails if nothing of that shape was."""
    return law_of(trial.question.inputs[0], (trial.output, *trial.drawn)[1])


def returns_input(trial: Trial) -> None:
    """Fails if x does not come back as it is."""
    if trial.right():
        return
    _, p, training = trial.question.inputs
    if p in (0, 1):
        require_border(trial)
    law = drawn_law(trial)
    text = f"With p = {p:g} and training = {training}, x should come back."
    name = "changed-with-p-0" if training else "changed-after-training"
    if law.zeros:
        raise Fails(f"{text} {percent(law.zeros)} of it became 0.", name)
    raise Fails(f"{text} It came back times {law.factors}.", name)


def require_border(trial: Trial) -> None:
    """Fails if p = 0 or p = 1 is refused."""
    if "ValueError" in trial.reply.errors:
        ask = "Is something that never happens, or always, a probability?"
        raise Fails(trial.problem().text, "border-refused", ask)


@holds(
    "each number has a gate of its own",
    "How many random numbers must be drawn for a tensor of shape (B, N, D)?",
    core=True,
)
def has_gates_of_their_own(trials: Trials) -> None:
    """Whether one number is dropped says nothing about its neighbour."""
    laws = [drawn_law(trials[name]) for name in BY_CHANCE]
    p = trials[BY_CHANCE[0]].question.inputs[1]
    # All of them kept, and yet made larger; or all kept here, and all dropped there.
    scaled = laws[0].zeros == 0 and abs(laws[0].low - 1 / (1 - p)) < 1e-4
    at_once = scaled or {law.zeros for law in laws} == {0, 1}
    if at_once or any(law.shared for law in laws):
        raise shows(DROPOUT, "shared-gates")


@holds(
    "each call draws anew",
    "Where do your random numbers come from, and who decides how many are 0?",
    core=True,
)
def draws_anew(trials: Trials) -> None:
    """Two calls drop other numbers, and not always equally many."""
    drawn = [trials[n] for n in (TWO_AXES, "gradients", THREE_AXES) if trials[n].drawn]
    if not drawn_law(trials[TWO_AXES]).zeros or trials["gradients"].problem():
        return
    if torch.equal(*(trial.drawn[0] != 0 for trial in drawn[:2])):
        text = "Two calls on the same x drop the same numbers."
        raise Fails(text, "same-gates-again")
    if all(
        round(trial.question.inputs[1] * trial.drawn[0].numel())
        == int((trial.drawn[0] == 0).sum())
        for trial in drawn
    ):
        text = "It drops exactly the share p in each call, never one number more."
        raise Fails(text, "count-fixed")


@each(
    "a share p becomes 0",
    BY_CHANCE,
    "What is the probability that `torch.rand` gives a number below p?",
    core=True,
    example=True,
)
def drops_the_share(trial: Trial) -> None:
    """About a share p becomes 0."""
    (x, p, _), law = trial.question.inputs, drawn_law(trial)
    if not law.zeros:
        text = f"With p = {p:g} in training no number became 0."
        raise Fails(text, "nothing-becomes-0", "What is a number that was dropped?")
    if abs(law.zeros - p) > 0.05:
        raise Fails(
            f"With p = {p:g} in training, {percent(law.zeros)} of {x.numel()} numbers "
            f"became 0, expected about {percent(p)}.",
            "another-share",
        )


@each(
    "what is kept is divided by 1 - p",
    BY_CHANCE,
    "By what must the rest be multiplied so that the mean stays?",
    core=True,
    example=True,
)
def scales_what_is_kept(trial: Trial) -> None:
    """What is kept is divided by 1 - p."""
    p, law = trial.question.inputs[1], drawn_law(trial)
    wanted = 1 / (1 - p)
    if abs(law.low - wanted) + abs(law.high - wanted) < 1e-4:
        return
    text = f"With p = {p:g} in training, what is kept is multiplied by"
    if abs(law.low * (1 - law.zeros) - 1) + abs(law.high - law.low) < 1e-4:
        ask = "Is the share that was kept this time the same as 1 - p?"
        text = f"{text} {law.low:.4f}, another number in each call."
        raise Fails(text, "scaled-by-count", ask)
    raise Fails(f"{text} {law.factors}, expected {wanted:.2f}.", "another-scale")


@each(
    "chance alone decides",
    BY_CHANCE,
    "Does the gate of one number depend on another number?",
    core=True,
)
def draws_by_law(trial: Trial) -> None:
    """Neighbours are dropped together as often as chance has it."""
    trial.require_right(
        "The zeros do not lie as chance would have them.", "by-no-chance"
    )


@each("p = 1 drops everything", ("p = 1",), "What remains if every number is dropped?")
def drops_everything(trial: Trial) -> None:
    """With p = 1 in training zeros come back, and no nan."""
    failed = "ZeroDivisionError" in trial.reply.errors
    if failed or (not trial.problem() and not trial.drawn[0].isfinite().all()):
        raise shows(DROPOUT, "divided-by-zero")
    require_border(trial)
    trial.require_right("With p = 1 in training, not everything becomes 0.")


@each(
    "p = 1 lets no gradient through",
    ("p = 1, gradients",),
    "What is computed with the numbers that are dropped, before they are?",
)
def stops_every_gradient(trial: Trial) -> None:
    """With p = 1 the gradient of x is 0; if none flows at all, that is as good."""
    got = trial.reply.gradients.get("input 0")
    if trial.reply.problem or got is None or not got.any():
        return
    what = "nan" if got.isnan().any() else "not 0"
    text = f"With p = 1 in training, the gradient of x is {what}."
    raise Fails(text, "gradient-of-what-is-dropped")


@each(
    "the gradient passes where the number did",
    ("gradients",),
    "Is every step from the input to the output one that autograd can follow?",
)
def passes_gradient_of_gates(trial: Trial) -> None:
    """The gradient is stopped where the number was dropped, and scaled elsewhere.

    Where x itself was changed, another property says so.
    """
    _, (x, *_) = trial.output, trial.reply.inputs_after
    if x is not None and not unchanged(trial.question.inputs[0], x):
        return
    got = trial.reply.gradients["input 0"]
    if got is None:
        raise Fails("No gradient reaches x.", "gradient-cut")
    slope = trial.drawn[0].double() / trial.question.inputs[0]
    if not close(got, trial.question.cotangent * slope, tolerance_of(trial.drawn[0])):
        raise Fails(
            "The gradient of x is not the gradient of the output times the same gates.",
            "gradient-not-gated",
        )


# The properties of the MLP.


@holds("each token is on its own", "How many tokens may one output look at?", core=True)
def keeps_tokens_apart(trials: Trials) -> None:
    """A token's output depends on that token alone."""
    before = trials["a wide hidden layer"].output
    apart = (before - trials["one token changed"].output).abs().amax(-1)
    apart[0, 1] = 0
    if not apart.max() < tolerance_of(before):
        text = "One token was changed, and the outputs of other tokens changed, too."
        raise Fails(text, "tokens-mixed")


@holds("it bends", "What is the product of two matrices?", core=True)
def bends(trials: Trials) -> None:
    """It is no affine map f: there f(100 x) - f(0) is 100 times f(x) - f(0)."""
    names = ("a hundred times the input", "a wide hidden layer", "zeros")
    far, near, zero = (trials[name].output.double() for name in names)
    if close(far - zero, 100 * (near - zero)):
        raise shows(OWN, "no-activation")


@each(
    "a silent fc2 leaves its bias",
    ("fc2 silent",),
    "What is done with an output after fc2, and did the task ask for it?",
    core=True,
    example=True,
)
def ends_with_fc2(trial: Trial) -> None:
    """Nothing comes after fc2, and nothing goes round it."""
    text = "With fc2.weight = 0 something else than its bias comes out."
    trial.require_right(text, "not-only-the-bias")


@holds(
    "each hidden unit is on its own",
    "Which step looks at several numbers of a token at once?",
    core=True,
    example=True,
)
def keeps_features_apart(trials: Trials) -> None:
    """What stands between the layers looks at one number alone."""
    before, after = (
        trials[name].output[..., 1:]
        for name in ("between the layers", "one feature changed")
    )
    if not close(before, after):
        text = "The layers were set to hand each feature on. One feature was changed, "
        raise Fails(f"{text}and others came out changed, too.", "features-mixed")


@each(
    "between the layers stands GELU",
    ("between the layers",),
    "Which function bends what passes from fc1 to fc2?",
    core=True,
    example=True,
)
def bends_as_gelu(trial: Trial) -> None:
    """Layers that hand numbers on show what stands between them."""
    if not trial.right():
        trial.require_no_rounding()
        text = f"The layers were set to hand each number on. {worst(trial)}"
        raise Fails(text, "another-activation")


@each(
    "both layers have a bias",
    ("small numbers",),
    "What does a linear layer add to the weighted sum?",
)
def has_biases(trial: Trial) -> None:
    """Both layers have a bias."""
    if trial.reply.problem:
        raise Fails.because(trial.problem())
    biases = [n for n in trial.question.parameters if n.endswith("bias")]
    missing = [n for n in biases if n not in trial.reply.taken]
    if missing:
        raise Fails(f"It has no {' and no '.join(missing)}.", "no-bias")


@holds(
    "after training nothing is dropped", "Who tells a function that training is over?"
)
def drops_nothing_after_training(trials: Trials) -> None:
    """In evaluation outputs are as without dropout."""
    trial = trials["dropout after training"]
    if trial.right() or not trials["small numbers"].right():
        return
    _, zeros = trial.output, share(trial.drawn[0] == 0)
    what = f"{percent(zeros)} of the output is 0" if zeros else "the numbers differ"
    text = f"In evaluation, with dropout {P:g}, {what}."
    raise Fails(text, "dropout-after-training")


@holds("in training hidden units and outputs are dropped", PLACES)
def drops_twice(trials: Trials) -> None:
    """In training hidden units and outputs are dropped."""
    trial = trials["dropout in training"]
    if trial.right() or not trials["small numbers"].right():
        return
    _, y = trial.output, trial.drawn[0]
    require_drops("outputs that come from one hidden unit", y[..., :HIDDEN], P, 2)
    require_drops("outputs that come from no hidden unit", y[..., HIDDEN:], P, 1)
    raise Fails(NOT_BY_CHANCE, "by-no-chance")


@holds(
    "training after evaluation drops again",
    "What does a call leave behind in your module?",
)
def drops_again(trials: Trials) -> None:
    """One evaluation does not switch dropout off for good."""
    if trials["dropout in training"].right():
        text = "After training and evaluation, it drops otherwise in training again."
        trials["dropout in training again"].require_right(text, "dropout-off-for-good")


@holds("dropout outside 0 to 1 is refused", "Which number is a probability?")
def refuses_what_is_no_probability(trials: Trials) -> None:
    """Dropout of 1.5 raises a ValueError, unless its number is ignored altogether."""
    trial = trials["dropout in training"]
    if trial.drawn and (trial.drawn[0] == trial.drawn[0][:1, :1]).all():
        return
    if trials["small numbers"].right():
        REFUSES.test(trials)


NOT_CHECKED = ("p outside 0 to 1 is refused", "probability-not-checked", "p = 1.5")
REFUSES = refuses(*NOT_CHECKED, ask="Which number is a probability?")
SHAPE = "What shape comes in, and what shape must come out?"
GELU_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "the shape of x comes back",
        *("small numbers", "three axes", "four axes"),
        ask=SHAPE,
    ),
    keeps_numbers_apart,
    right_far_from_zero,
    is_symmetric,
    equals_definition,
    stays_finite(
        "large numbers stay finite",
        "large numbers",
        "Which step leaves the range of float32 when x is 10 000?",
    ),
    PASSES_NAN_ON,
    *EDGES,
)
DROPOUT_PROPERTIES = (
    returns_right_shapes(
        "the shape of x comes back",
        *("small numbers after training", *BY_CHANCE),
        ask=SHAPE,
    ),
    each(
        "after training x comes back",
        ("after training",),
        "What should a trained model answer if you ask it twice?",
        core=True,
        example=True,
    )(returns_input),
    has_gates_of_their_own,
    draws_anew,
    drops_the_share,
    scales_what_is_kept,
    draws_by_law,
    each(
        "p = 0 drops nothing, and p = 1 nothing after training",
        ("p = 0", "after training, p = 1"),
        "What is 1 - p if p is 0?",
    )(returns_input),
    drops_everything,
    stops_every_gradient,
    refuses(
        *NOT_CHECKED,
        *("p = -0.1", "p = 1.5 after training"),
        ask="Which p is a probability, and in which of the two modes?",
    ),
    PASSES_NAN_ON,
    keeps_dtype("float32 and float64 are kept", "float32", "gradients", "p = 1"),
    *(found for found in EDGES if found not in (KEEPS_DTYPE, GRADIENTS)),
    passes_gradient_of_gates,
    each(
        "after training the gradient passes, too",
        ("gradients after training",),
        "Which step between x and what comes back hides x from autograd?",
    )(require_gradients),
)
MLP_PROPERTIES = (
    REPEATS,
    has_parameters(
        "`fc1` and `fc2` are there",
        "small numbers",
        ask="Which two layers are learned, and what are they called?",
        optional=(".bias",),
    ),
    returns_right_shapes(
        "the shape of x comes back",
        *("small numbers", "a narrow hidden layer"),
        ask=SHAPE,
    ),
    keeps_tokens_apart,
    bends,
    ends_with_fc2,
    keeps_features_apart,
    bends_as_gelu,
    as_defined(
        *("small numbers", "a wide hidden layer", "a hundred times the input"),
        *("a narrow hidden layer", "one token"),
        ask="In which order come the two layers and GELU, and what else is in between?",
    ),
    same_in_training("a wide hidden layer", core=True),
    has_biases,
    learns_no_more("a wide hidden layer"),
    drops_nothing_after_training,
    drops_twice,
    drops_again,
    drops_everything,
    refuses_what_is_no_probability,
    KEEPS_NO_STATE,
    PASSES_NAN_ON,
    *EDGES,
)


@each(
    "it has the width that was asked for",
    (
        *("small numbers", "a wide hidden layer", "a narrow hidden layer"),
        "one token, no remainder",
    ),
    COUNT,
    core=True,
)
def has_width(trial: Trial) -> None:
    """The three matrices have as many weights as the MLP may have, or fewer by few."""
    problem = trial.reply.problem
    if not problem or problem.name != "wrong-parameter-shape":
        return
    dim, mlp_dim = trial.question.arguments.values()
    shapes = trial.reply.parameters.values()
    learned = sum(math.prod(shape) for shape in shapes if len(shape) == 2)
    text = f"With dim {dim} and mlp_dim {mlp_dim} its matrices have {learned} weights. "
    raise Fails(
        f"{text}The MLP has {2 * dim * mlp_dim}, and it should be as wide as this "
        "allows.",
        "another-width",
    )


@each(
    "where `up` gives 0, the bias of `down` is left",
    ("up silent",),
    "What is a product with 0, and what may still be done with it after that?",
    core=True,
)
def multiplies(trial: Trial) -> None:
    """A product is 0 where one of the two is."""
    text = "`up` gives 0, and yet something else than the bias of `down` comes out."
    trial.require_right(text, "not-only-the-bias")


@holds("it is linear in what `up` gives", WHICH, core=True, example=True)
def is_linear_in_up(trials: Trials) -> None:
    """-2 times what `up` gives makes -2 times the step from the bias of `down`."""
    names = ("up silent", "a wide hidden layer", "up turned round")
    zero, once, turned = (trials[name].output.double() for name in names)
    if not close(turned - zero, -2 * (once - zero)):
        text = "With -2 times what `up` gives, not -2 times as much reaches `down`."
        raise Fails(text, "up-bent")


def bends_as_silu(trial: Trial) -> None:
    """Layers that hand numbers on show what is taken of the gate."""
    if not trial.right():
        trial.require_no_rounding()
        text = f"The layers were set to hand each number on. {worst(trial)}"
        raise Fails(text, "another-activation")


SWIGLU_PROPERTIES = (
    REPEATS,
    has_width,
    has_parameters(
        "`gate`, `up` and `down` are there",
        "small numbers",
        ask="Which three layers are learned, and what are they called?",
        optional=(".bias",),
    ),
    returns_right_shapes(
        "the shape of x comes back",
        *("small numbers", "a narrow hidden layer"),
        ask=SHAPE,
    ),
    keeps_tokens_apart,
    multiplies,
    is_linear_in_up,
    each(
        "the gate is SiLU",
        ("between the layers",),
        "What should come out of SiLU for 0, and what for a large number?",
        core=True,
        example=True,
    )(bends_as_silu),
    as_defined(
        *("small numbers", "a wide hidden layer", "a narrow hidden layer"),
        "one token, no remainder",
        ask="Which two layers read the token, and what is done with the two results?",
    ),
    has_biases,
    learns_no_more("a wide hidden layer"),
    SAME_IN_TRAINING,
    KEEPS_NO_STATE,
    PASSES_NAN_ON,
    *EDGES,
)


@each(
    "without idle units the bias stays",
    ("no idle unit",),
    READS_NOTHING,
    core=True,
)
def changes_nothing_without_need(trial: Trial) -> None:
    """Where all units read something, the bias of fc2 comes back."""
    text = "Every hidden unit reads something, and yet the bias is changed."
    trial.require_right(text, "changed-without-need")


@each(
    "the smaller MLP gives what the whole one gives",
    ("small numbers", "three idle units", "one idle unit", "idle units alone"),
    "Follow the bias of an idle unit through the MLP: what reaches fc2?",
    core=True,
)
def keeps_outputs(trial: Trial) -> None:
    """With the new bias, the MLP without its idle units gives the same."""
    if not trial.right():
        got, right = trial.output.double(), trial.expected[0]
        off = ", ".join(number(x) for x in (got - right).tolist())
        trial.require_right(
            "Without its idle units and with this bias, the MLP is off by the same for "
            f"every token, for {trial.sizes()}: by {off}."
        )


FOLDED_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "a bias of width D comes back",
        *("small numbers", "three idle units"),
        ask="To which numbers is the bias of fc2 added?",
    ),
    changes_nothing_without_need,
    keeps_outputs,
    PASSES_NAN_ON,
    *EDGES,
)
DEVICES = tuple(f"device {rank} of 3" for rank in range(3))


@holds("all devices together give the MLP", ONCE, core=True, example=True)
def adds_up(trials: Trials) -> None:
    """The sum over the devices is what one device alone would give."""
    total = sum(trials[name].output.double() for name in DEVICES)
    right = sum(trials[name].expected[0] for name in DEVICES)
    if close(total, right):
        return
    bias = trials[DEVICES[0]].question.inputs[4]
    times = float(((total - right) @ bias / (bias @ bias)).mean())
    if close(total - right, (times * bias).expand_as(total)):
        text = "Added up, what three devices give is off by the same for every token: "
        raise Fails(f"{text}{times:.3g} times the bias of `fc2`.", "bias-miscounted")
    off = float((total - right).abs().max())
    text = f"Added up, what three devices give is off by up to {off:.2g}."
    if not trials["one device"].right():  # so the cut alone cannot be the reason
        raise Fails(f"{text} One device that holds all is off, too.", "", UNCUT)
    raise Fails(text, "", COMPLETE)


@holds("a device uses what it holds", PIECE, core=True, example=True)
def uses_its_own(trials: Trials) -> None:
    """Weights of other devices do not matter."""
    before, after = (trials[n].output for n in (DEVICES[1], "other devices changed"))
    if not close(before, after):
        text = "The weights of other devices were changed, and what device 1 gives "
        raise Fails(f"{text}changed, too.", "other-weights-used")


@each(
    "device 0 alone adds the bias of `fc2`",
    tuple(f"{name}, w2 silent" for name in DEVICES),
    "Which device adds the bias?",
    core=True,
)
def adds_bias_once(trial: Trial) -> None:
    """With w2 = 0, device 0 gives that bias, and the others give 0."""
    rank = trial.question.inputs[5]
    wanted = "0" if rank else "the bias of `fc2`"
    text = f"With w2 = 0, device {rank} gives something else than {wanted}."
    trial.require_right(text, "bias-elsewhere")


SHARE_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "the shape of x comes back",
        *("small numbers, device 0", "device 1 of 3", "two axes"),
        ask=SHAPE,
    ),
    uses_its_own,
    adds_up,
    adds_bias_once,
    as_defined(*(*DEVICES, "one device", "two axes"), ask=PIECE),
    refuses(
        "pieces that are not equal are refused",
        "remainder-dropped",
        "no equal pieces",
        ask="What becomes of 12 hidden units on 5 devices?",
    ),
    PASSES_NAN_ON,
    *EDGES,
)

# The tasks.

AXES = {"output": ("token", "feature")}


def same_draw(question: Question, got: Tensor) -> Tensor:
    """Dropout with the gates that an output shows."""
    x, p, training = question.inputs
    return x * (got != 0) / (1 - p) if training else x


WRITE_GELU = Implement(
    form=Form(outputs=("output",), builtins=("gelu",), reference=(gelu, oracle.gelu)),
    ask_about=gelu_questions,
    oracle=oracle_of_function(oracle.gelu),
    properties=GELU_PROPERTIES,
    misconceptions=GELU,
    show=Show(("small numbers",), axes=AXES),
)
WRITE_DROPOUT = Implement(
    form=Form(outputs=("output",), builtins=("dropout",), reference=(dropout,)),
    ask_about=dropout_questions,
    oracle=dropout_oracle,
    properties=DROPOUT_PROPERTIES,
    misconceptions=DROPOUT,
    show=Show(
        ("small numbers after training", "small numbers in training"),
        axes=AXES,
        same_draw=same_draw,
    ),
    without_chance=settled_dropout,
)
WRITE_MLP = Implement(
    form=Form(
        outputs=("output",),
        is_class=True,
        aliases={"fc1": ("0",), "fc2": ("2", "3")},  # nn.Sequential
        reference=(MLP,),
    ),
    ask_about=mlp_questions,
    oracle=mlp_oracle,
    properties=MLP_PROPERTIES,
    misconceptions=MISCONCEPTIONS["MLP"],
    show=Show(
        ("small numbers", "two small images"),
        axes=AXES,
        parameters=tuple(SMALL_PARAMETERS),
    ),
    without_chance=settled_mlp,
)

WRITE_SWIGLU = Implement(
    form=Form(outputs=("output",), is_class=True, reference=(SwiGLU,)),
    ask_about=swiglu_questions,
    oracle=oracle_of(gated_mlp),
    properties=SWIGLU_PROPERTIES,
    misconceptions=SWIGLU,
    show=Show(
        ("small numbers", "two small images"), axes=AXES, parameters=tuple(SMALL_GATED)
    ),
)


class InOneRow(nn.Sequential):
    """The MLP from PyTorch's parts."""

    def __init__(self, dim: int, mlp_dim: int, dropout: float = 0.0):
        super().__init__(
            nn.Linear(dim, mlp_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, dim),
            nn.Dropout(dropout),
        )


TEST_TOKENS = BreakIt(
    right={"the course's own": MLP, "one made of PyTorch's parts": InOneRow},
    wrong=named(OWN, "tokens-mixed", "tokens-averaged", "no-activation"),
    ask="What stays as it is when one token changes, and what can no affine map do?",
)
REPAIR_FOLDED = Implement(
    form=Form(outputs=("bias",), reference=(folded_bias,)),
    ask_about=folded_questions,
    oracle=folded_oracle,
    properties=FOLDED_PROPERTIES,
    misconceptions=FOLDED,
    bug=FOLDED[0],
)
WRITE_SHARE = Implement(
    form=Form(outputs=("output",), reference=(share_of,)),
    ask_about=share_questions,
    oracle=share_oracle,
    properties=SHARE_PROPERTIES,
    misconceptions=SHARE,
    show=Show(("small numbers, device 0", "small numbers, device 1"), axes=AXES),
)

TASKS = {
    "gelu": WRITE_GELU,
    "dropout": WRITE_DROPOUT,
    "MLP": WRITE_MLP,
    "alone_and_bent": TEST_TOKENS,
    "find_the_bug": REPAIR_FOLDED,
    "SwiGLU": WRITE_SWIGLU,
    "share": WRITE_SHARE,
}
