"""The MLP: what people get wrong, what must hold, and the tasks."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vit_encoder.arguments import require_features, require_probability
from vit_encoder.check import oracle
from vit_encoder.check.adapter import Form, Problem, Question
from vit_encoder.check.judge import (
    Property,
    Show,
    Trial,
    Trials,
    agrees,
    close,
    has_parameters,
    refuses,
    returns_right_shapes,
    stays_finite,
    tolerance_of,
)
from vit_encoder.check.misconceptions import Misconception, against
from vit_encoder.check.oracle import Get, linear_parameters, oracle_of
from vit_encoder.check.properties import (
    GRADIENTS,
    KEEPS_DEVICE,
    KEEPS_DIGITS,
    KEEPS_DTYPE,
    KEEPS_INPUTS,
    REPEATS,
)
from vit_encoder.check.questions import Normal, batch, double, finish, small
from vit_encoder.check.tasks import BreakIt, Choose, Implement, PredictNumbers, Wrong
from vit_encoder.mlp import MLP, dropout, gelu

GITHUB = "https://github.com/"
OURS = "constructed for this course"

# Misconceptions of gelu. Each is the course's version with one visible change.

wrong_gelu = against(gelu)


@wrong_gelu(
    seen="It differs from x Φ(x) by up to 0.0005, most near x = 2.7 and x = -2.7: there"
    " it gives -0.0089, expected -0.0094.",
    ask="Two formulas are called GELU. In which digit do they differ?",
    source=GITHUB + "kyutai-labs/pocket-tts/pull/278",
)
def tanh_formula(x):
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + torch.tanh(inner))


@wrong_gelu(
    seen="It differs from x Φ(x) by up to 0.02, most near x = 2.2 and x = -2.2: there"
    " it gives -0.05, expected -0.03.",
    ask="Which function is a good stand-in for Φ, and how good is it?",
    source=GITHUB + "huggingface/pytorch-image-models/issues/1754",
)
def sigmoid_formula(x):
    return x * torch.sigmoid(1.702 * x)


@wrong_gelu(
    seen="This is SiLU: the gate is the logistic sigmoid of x, not Φ(x).",
    ask="What is Φ(1), and what is the sigmoid of 1?",
    source=GITHUB + "huggingface/candle/issues/3745",
)
def silu(x):
    return x * torch.sigmoid(x)


@wrong_gelu(
    seen="This is ReLU: every negative number becomes 0.",
    ask="What should come out at x = -0.75?",
    source=GITHUB + "timeseriesAI/tsai/issues/361",
)
def relu(x):
    return x.clamp_min(0)


@wrong_gelu(
    seen="The gate rises too steeply: x is not divided by √2 inside erf.",
    ask="How does Φ follow from erf?",
    source=OURS,
)
def no_root_of_two(x):
    return 0.5 * x * (1 + torch.erf(x))


@wrong_gelu(
    seen="It returns the gate Φ(x) alone, from 0 to 1.",
    ask="What is multiplied by the gate?",
    source=GITHUB + "tensorflow/tfjs/pull/8224",
)
def gate_alone(x):
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


@wrong_gelu(
    seen="It is twice as large as it should be: for large x it is 2 x, not x.",
    ask="Between which two numbers does 1 + erf lie?",
    source=OURS,
)
def no_half(x):
    return x * (1 + torch.erf(x / math.sqrt(2)))


@wrong_gelu(
    seen="Half of the gate is missing: an even function of x, never below 0.",
    ask="What is Φ(0), and what is erf(0)?",
    source=OURS,
)
def no_one(x):
    return 0.5 * x * torch.erf(x / math.sqrt(2))


@wrong_gelu(
    seen="The gate is turned round: negative numbers pass, positive ones do not.",
    ask="Is Φ(x) the probability of a number below x, or above it?",
    source=OURS,
)
def gate_reversed(x):
    return 0.5 * x * (1 - torch.erf(x / math.sqrt(2)))


@wrong_gelu(
    seen="The gate is the bell curve, the density of the normal distribution: large"
    " numbers do not pass either.",
    ask="Which function of the normal distribution rises from 0 to 1?",
    source=OURS,
)
def density(x):
    return x * torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


@wrong_gelu(
    seen="This is the tanh formula, with x² in place of x³.",
    ask="Which powers of x can an odd function such as 2 Φ(x) - 1 have?",
    source=OURS,
)
def tanh_with_square(x):
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**2)
    return 0.5 * x * (1 + torch.tanh(inner))


@wrong_gelu(
    seen="This is the tanh formula without its factor √(2/π).",
    ask="How steep is Φ at 0?",
    source=OURS,
)
def tanh_without_root(x):
    inner = x + 0.044715 * x**3
    return 0.5 * x * (1 + torch.tanh(inner))


# Misconceptions of dropout.

wrong_dropout = against(dropout)


@wrong_dropout(
    seen="What is kept is not made larger, so the mean shrinks by the factor 1 - p in"
    " training.",
    ask="What is the mean of many draws, and what comes out after training?",
    source=OURS,
)
def not_scaled(x, p, training):
    require_probability(p, "p")
    if not training or p == 0:
        return x
    kept = torch.rand(x.shape, dtype=torch.float32, device=x.device) >= p
    return x * kept


@wrong_dropout(
    seen="What is kept is divided by p, not by 1 - p: with p = 0.1 the mean becomes"
    " nine times as large.",
    ask="Which share of the numbers is kept?",
    source=GITHUB + "lmjohns3/theanets/pull/123",
)
def divided_by_p(x, p, training):
    require_probability(p, "p")
    if not training or p == 0:
        return x
    kept = torch.rand(x.shape, dtype=torch.float32, device=x.device) >= p
    scale = 1 / p
    return x * kept * scale


@wrong_dropout(
    seen="p is the probability of keeping a number, not of dropping it.",
    ask="How many zeros do you expect with p = 0.1?",
    source=GITHUB + "scut-mingqinchen/Self2Self/issues/7",
)
def kept_with_p(x, p, training):
    require_probability(p, "p")
    if not training or p == 0:
        return x
    kept = torch.rand(x.shape, dtype=torch.float32, device=x.device) < p
    return x * kept / p


@wrong_dropout(
    seen="It drops numbers outside training too: two calls differ.",
    ask="What should a trained model answer if you ask it twice?",
    source=GITHUB + "pytorch/pytorch/issues/26338",
)
def always_on(x, p, training):
    require_probability(p, "p")
    if p == 0:
        return x
    kept = torch.rand(x.shape, dtype=torch.float32, device=x.device) >= p
    scale = 1 / (1 - p) if p < 1 else 0.0
    return x * kept * scale


@wrong_dropout(
    seen="Outside training it multiplies by 1 - p, although training has already"
    " divided by 1 - p.",
    ask="How often must the scale be made good?",
    source=GITHUB + "clab/dynet/issues/186",
)
def scaled_twice(x, p, training):
    require_probability(p, "p")
    if not training:
        return x * (1 - p)
    if p == 0:
        return x
    kept = torch.rand(x.shape, dtype=torch.float32, device=x.device) >= p
    scale = 1 / (1 - p) if p < 1 else 0.0
    return x * kept * scale


@wrong_dropout(
    seen="With p = 1 it fails or returns nan: it divides by 1 - p = 0.",
    ask="What remains if every number is dropped?",
    source=GITHUB + "google/flax/pull/2055",
)
def divided_by_zero(x, p, training):
    require_probability(p, "p")
    if not training or p == 0:
        return x
    kept = torch.rand(x.shape, dtype=torch.float32, device=x.device) >= p
    return x * kept / (1 - p)


@wrong_dropout(
    seen="It changes its input: whoever else holds that tensor sees the zeros.",
    ask="Who else may still need x, such as a residual connection?",
    source=GITHUB + "BierOne/bottom-up-attention-vqa/issues/6",
)
def in_place(x, p, training):
    require_probability(p, "p")
    if not training or p == 0:
        return x
    kept = torch.rand(x.shape, dtype=torch.float32, device=x.device) >= p
    scale = 1 / (1 - p) if p < 1 else 0.0
    return x.mul_(kept).mul_(scale)


@wrong_dropout(
    seen="A number is kept with probability p, not dropped with it; the scale is made"
    " for dropping.",
    ask="How many zeros do you expect with p = 0.2?",
    source=OURS,
)
def gate_turned(x, p, training):
    require_probability(p, "p")
    if not training or p == 0:
        return x
    kept = torch.rand(x.shape, dtype=torch.float32, device=x.device) < p
    scale = 1 / (1 - p) if p < 1 else 0.0
    return x * kept * scale


@wrong_dropout(
    seen="What is kept is multiplied by 1 - p in training, and so becomes smaller.",
    ask="If fewer numbers are left, must each be larger or smaller to keep the mean?",
    source=OURS,
)
def multiplied_in_training(x, p, training):
    require_probability(p, "p")
    if not training or p == 0:
        return x
    kept = torch.rand(x.shape, dtype=torch.float32, device=x.device) >= p
    scale = 1 - p
    return x * kept * scale


@wrong_dropout(
    seen="Training leaves what is kept as it is, and evaluation multiplies by 1 - p:"
    " the mean stays, but after training x does not come back.",
    ask="Two conventions make the scale good. Which mode does the chapter's equation"
    " choose?",
    source="Srivastava et al. 2014, figure 2",
)
def scaled_after_training(x, p, training):
    require_probability(p, "p")
    if not training:
        return x * (1 - p)
    kept = torch.rand(x.shape, dtype=torch.float32, device=x.device) >= p
    return x * kept


@wrong_dropout(
    seen="It drops nothing, not in training either.",
    ask="When should numbers become 0, and when not?",
    source=OURS,
)
def never_on(x, p, training):
    require_probability(p, "p")
    return x


@wrong_dropout(
    seen="Training and evaluation have changed places: it drops after training.",
    ask="In which of the two modes should x come back as it is?",
    source=OURS,
)
def modes_swapped(x, p, training):
    require_probability(p, "p")
    if training or p == 0:
        return x
    kept = torch.rand(x.shape, dtype=torch.float32, device=x.device) >= p
    scale = 1 / (1 - p) if p < 1 else 0.0
    return x * kept * scale


@wrong_dropout(
    seen="One gate serves many numbers: they are kept together, or dropped together.",
    ask="How many random numbers must be drawn for a tensor of shape (B, N, D)?",
    source=GITHUB + "clab/dynet/pull/812",
)
def shared_gates(x, p, training):
    require_probability(p, "p")
    if not training or p == 0:
        return x
    kept = torch.rand(x[..., :1].shape, dtype=torch.float32, device=x.device) >= p
    scale = 1 / (1 - p) if p < 1 else 0.0
    return x * kept * scale


# Misconceptions of the MLP.

wrong_mlp = against(MLP)


@wrong_mlp(
    seen="GELU comes last: no output is below -0.17, and the two linear layers before"
    " it act like one.",
    ask="What may lie between two linear layers so that they do not become one?",
    source=GITHUB + "neuraloperator/neuraloperator/pull/197",
)
class ActivationAtTheEnd(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x):
        require_features(x, self.fc1.in_features)
        x = dropout(self.fc1(x), self.dropout, self.training)
        return dropout(gelu(self.fc2(x)), self.dropout, self.training)


@wrong_mlp(
    seen="There is no activation: the whole is one affine map.",
    ask="What is the product of two matrices?",
    source=GITHUB + "stanfordnlp/stanza/pull/1610",
)
class NoActivation(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x):
        require_features(x, self.fc1.in_features)
        x = dropout(self.fc1(x), self.dropout, self.training)
        return dropout(self.fc2(x), self.dropout, self.training)


@wrong_mlp(
    seen="The first layer is a convolution over three tokens: a token's output depends"
    " on its neighbours.",
    ask="How many tokens may one output look at?",
    source=OURS,
)
class TokensMixed(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Conv1d(dim, mlp_dim, kernel_size=3, padding=1)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x):
        require_features(x, self.fc1.in_channels)
        x = self.fc1(x.transpose(-2, -1)).transpose(-2, -1)
        x = dropout(gelu(x), self.dropout, self.training)
        return dropout(self.fc2(x), self.dropout, self.training)


@wrong_mlp(
    seen="The hidden layer has the width of a token, whatever mlp_dim says.",
    ask="How many parameters should fc1 have?",
    source=GITHUB + "brightmart/text_classification/pull/86",
)
class HiddenWidthIgnored(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, dim)
        self.fc2 = nn.Linear(dim, dim)

    def forward(self, x):
        require_features(x, self.fc1.in_features)
        x = dropout(gelu(self.fc1(x)), self.dropout, self.training)
        return dropout(self.fc2(x), self.dropout, self.training)


@wrong_mlp(
    seen="Dropout works in evaluation too: F.dropout drops unless it is told not to.",
    ask="Who tells a function that training is over?",
    source=GITHUB + "delip/PyTorchNLPBook/issues/28",
)
class DropoutAlwaysOn(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x):
        require_features(x, self.fc1.in_features)
        x = F.dropout(gelu(self.fc1(x)), self.dropout)
        return F.dropout(self.fc2(x), self.dropout)


@wrong_mlp(
    seen="The hidden units are never dropped; dropout stands at the end alone.",
    ask="After which layers does the ViT paper put dropout?",
    source=GITHUB + "keras-team/keras-hub/pull/2070",
)
class DropoutOnce(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x):
        require_features(x, self.fc1.in_features)
        x = gelu(self.fc1(x))
        return dropout(self.fc2(x), self.dropout, self.training)


@wrong_mlp(
    seen="GELU follows fc2 as well: no output is below -0.17.",
    ask="What does the block need from its MLP: only additions, or subtractions too?",
    source=OURS,
)
class ActivationTwice(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x):
        require_features(x, self.fc1.in_features)
        x = dropout(gelu(self.fc1(x)), self.dropout, self.training)
        return dropout(gelu(self.fc2(x)), self.dropout, self.training)


@wrong_mlp(
    seen="GELU bends the input, and nothing stands between the two linear layers.",
    ask="Which numbers should GELU bend: those of the token, or the hidden units?",
    source=OURS,
)
class ActivationFirst(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x):
        require_features(x, self.fc1.in_features)
        x = dropout(self.fc1(gelu(x)), self.dropout, self.training)
        return dropout(self.fc2(x), self.dropout, self.training)


@wrong_mlp(
    seen="The input is added to the output. So does the block: it counts twice.",
    ask="Who adds the input back: the MLP, or the block around it?",
    source=GITHUB + "nlpyang/hiersumm/issues/28",
)
class ResidualInside(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x):
        require_features(x, self.fc1.in_features)
        hidden = dropout(gelu(self.fc1(x)), self.dropout, self.training)
        return x + dropout(self.fc2(hidden), self.dropout, self.training)


@wrong_mlp(
    seen="The mean over all tokens is added to the hidden units: each output depends on"
    " every token.",
    ask="How many tokens may one output look at?",
    source=OURS,
)
class TokensAveraged(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x):
        require_features(x, self.fc1.in_features)
        x = self.fc1(x)
        x = x + x.mean(dim=-2, keepdim=True)
        x = dropout(gelu(x), self.dropout, self.training)
        return dropout(self.fc2(x), self.dropout, self.training)


@wrong_mlp(
    seen="Dropout stands before GELU: what is kept is made larger, and then bent.",
    ask="Is GELU of 2 u twice GELU of u?",
    source=OURS,
)
class DropoutBeforeActivation(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x):
        require_features(x, self.fc1.in_features)
        x = gelu(dropout(self.fc1(x), self.dropout, self.training))
        return dropout(self.fc2(x), self.dropout, self.training)


@wrong_mlp(
    seen="Numbers of the input are dropped; the hidden units are not.",
    ask="After which layers does the ViT paper put dropout?",
    source=OURS,
)
class DropoutAtTheStart(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x):
        require_features(x, self.fc1.in_features)
        x = gelu(self.fc1(dropout(x, self.dropout, self.training)))
        return dropout(self.fc2(x), self.dropout, self.training)


@wrong_mlp(
    seen="The hidden units are dropped, but no output is: none stands at the end.",
    ask="After which layers does the ViT paper put dropout?",
    source=GITHUB + "tensorflow/swift-models/issues/104",
)
class DropoutOnlyInside(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x):
        require_features(x, self.fc1.in_features)
        x = dropout(gelu(self.fc1(x)), self.dropout, self.training)
        return self.fc2(x)


@wrong_mlp(
    seen="Nothing is dropped in training, whatever it was built with.",
    ask="Where does the number go that the module was built with?",
    source=GITHUB + "isaaccorley/mlp-mixer-pytorch/issues/2",
)
class DropoutIgnored(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        require_probability(dropout, "dropout")
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x):
        require_features(x, self.fc1.in_features)
        x = gelu(self.fc1(x))
        return self.fc2(x)


GELU = (
    tanh_formula,
    sigmoid_formula,
    silu,
    relu,
    no_root_of_two,
    gate_alone,
    no_half,
    no_one,
    gate_reversed,
    density,
    tanh_with_square,
    tanh_without_root,
)
DROPOUT = (
    not_scaled,
    divided_by_p,
    kept_with_p,
    always_on,
    scaled_twice,
    divided_by_zero,
    in_place,
    gate_turned,
    multiplied_in_training,
    scaled_after_training,
    never_on,
    modes_swapped,
    shared_gates,
)
WHOLE = (
    ActivationAtTheEnd,
    NoActivation,
    TokensMixed,
    HiddenWidthIgnored,
    DropoutAlwaysOn,
    DropoutOnce,
    ActivationTwice,
    ActivationFirst,
    ResidualInside,
    TokensAveraged,
    DropoutBeforeActivation,
    DropoutAtTheStart,
    DropoutOnlyInside,
    DropoutIgnored,
)


def inside(misconception: Misconception) -> Misconception:
    """A misconception of gelu or dropout as it shows in MLP."""
    bend = misconception.wrong if misconception.right is gelu else gelu
    drop = misconception.wrong if misconception.right is dropout else dropout

    class Wrong(MLP):
        def forward(self, x):
            require_features(x, self.fc1.in_features)
            x = drop(bend(self.fc1(x)), self.dropout, self.training)
            return drop(self.fc2(x), self.dropout, self.training)

    return replace(misconception, wrong=Wrong, right=MLP)


# Those that show in a module, where always_on and never_on have a counterpart, and
# in_place changes nothing that anyone else holds.
SEEN_OTHERWISE = (always_on, never_on, in_place)
INSIDE = tuple(m for m in (*GELU, *DROPOUT) if m not in SEEN_OTHERWISE)
MISCONCEPTIONS = {
    "gelu": GELU,
    "dropout": DROPOUT,
    "MLP": (*WHOLE, *map(inside, INSIDE)),
}

# The oracles.


def gelu_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """GELU and its gradient in float64."""
    x = double(question.inputs[0])
    return finish(question, {"input 0": x}, (oracle.gelu(x),))


def gated(x: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """Dropout in training, with gates of its own."""
    kept = torch.bernoulli(torch.full_like(x, 1 - p), generator=generator)
    return x * kept / max(1 - p, 1e-9)


def dropout_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """What does not depend on chance in dropout, and its gradient where none does."""
    x, p, training = question.inputs
    leaf = double(x)
    output = gated(leaf, p if training else 0.0, torch.Generator().manual_seed(1))
    outputs, gradients = finish(question, {"input 0": leaf}, (output,))
    by_chance = training and 0 < p < 1
    return settled_dropout(question, outputs), {} if by_chance else gradients


def mlp_oracle(question: Question, taken: tuple[str, ...]) -> tuple:
    """What does not depend on chance in the MLP, and its gradients."""
    generator = torch.Generator().manual_seed(1)

    def compute(x: Tensor, get: Get, dropout: float = 0.0, **_sizes: int) -> Tensor:
        p = dropout if question.training else 0.0
        hidden = gated(oracle.gelu(oracle.linear(x, get, "fc1")), p, generator)
        return gated(oracle.linear(hidden, get, "fc2"), p, generator)

    outputs, gradients = oracle_of(compute)(question, taken)
    return settled_mlp(question, outputs), gradients


# What does not depend on chance: two right answers draw other gates, by one law.

FEW = 1000  # too few numbers to tell a law by


class Law(NamedTuple):
    """How one tensor became another.

    zeros: the share of zeros. low, high: by what the others were multiplied.
    alike: for each axis, in which share of neighbours both are zero or neither is.
    """

    zeros: float
    low: float
    high: float
    alike: tuple[float, ...]

    @property
    def shared(self) -> bool:
        """Along some axis all numbers have one gate."""
        return 0 < self.zeros < 1 and max(self.alike) > 0.999


def law_of(x: Tensor, y: Tensor) -> Law:
    """The law by which x, without a zero in it, became y."""
    kept = y != 0
    factors = (y.double() / x.double())[kept]
    low, high = factors.aminmax() if len(factors) else (0.0, 0.0)
    axes = range(x.ndim)
    alike = tuple(share(~kept.diff(dim=axis)) for axis in axes)
    return Law(share(~kept), float(low), float(high), alike)


def share(true: Tensor) -> float:
    """The share of True."""
    return float(true.double().mean())


def settled_dropout(
    question: Question, outputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """An output's law, the shares rounded; nothing of a small output.

    The shares of right answers lie far from where the rounding goes over: 0.2 and 0.7
    in tenths, 0.68 and 0.58 for neighbours in quarters.
    """
    x, y = question.inputs[0], outputs[0]
    if y.is_meta or y.shape != x.shape:
        return outputs
    if x.numel() < FEW:
        return (torch.zeros_like(y),)
    law = law_of(x, y)
    if law.shared:  # then few gates were drawn, and the shares tell little
        return (written([float(a > 0.999) for a in law.alike], y),)
    shares = [round(10 * law.zeros), *(round(4 * a) for a in law.alike)]
    return (written([*shares, law.low, law.high], y),)


def written(numbers: list[float], y: Tensor) -> Tensor:
    """Zeros like y that begin with these numbers."""
    result = torch.zeros_like(y).flatten()
    result[: len(numbers)] = torch.tensor(numbers).to(y.dtype)
    return result.view_as(y)


class Levels(NamedTuple):
    """What one feature is for many tokens that were alike before.

    values: the different numbers other than 0. shares: of each of them among these.
    zeros: the share of zeros among all.
    """

    values: Tensor
    shares: Tensor
    zeros: float


def levels_of(y: Tensor) -> Levels:
    """The levels of one feature; numbers closer than 1e-6 are one."""
    kept = y[y != 0].sort().values
    if not len(kept):
        return Levels(kept, kept, 1.0)
    new = torch.cat([kept.new_ones(1), (kept.diff() > 1e-6).to(kept)])
    values = kept[new.bool()]
    counts = new.cumsum(0).long().bincount()[1:]
    return Levels(values, counts / len(kept), share(y == 0))


def settled_mlp(question: Question, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The levels of each feature, where many equal tokens meet dropout.

    Their shares are in quarters: 0.09, 0.21, 0.21 and 0.49 lie far from the borders.
    """
    y = outputs[0]
    by_chance = question.arguments.get("dropout") and not y.is_meta
    if not by_chance or y.shape != question.inputs[0].shape or y.isnan().any():
        return outputs
    gates = law_of(torch.ones_like(y), y)
    numbers = [float(gates.shared)]
    for feature in y.double().flatten(0, -2).unbind(-1):
        levels = levels_of(feature)
        numbers += [round(10 * levels.zeros), len(levels.values)]
        if len(levels.values) <= 8:
            numbers += levels.values.tolist()
            numbers += (4 * levels.shares).round().tolist()
    return (written(numbers, y),)


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
        Question("from -6 to 6", (hundredths,)),
        Question("three axes", (x,)),
        Question("four axes", (normal(2, 3, 1, 4),)),
        Question("far from zero", (large,)),
        Question("large numbers", (large.float(),)),
        Question("float32", (x.float(),)),
        Question("float32 again", (x.float(),)),
        Question("gradients", (x,), cotangent=normal(2, 5, 7)),
        Question("another device", (x,), device="meta"),
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
        Question("p = 0", (all_axes, 0.0, True)),
        Question("p = 1", (all_axes, 1.0, True)),
        Question("p = 1, gradients", (two, 1.0, True), cotangent=normal(60, 50)),
        Question("p = 1.5", (SMALL_DROPOUT, 1.5, True), refused=True),
        Question("p = -0.1", (SMALL_DROPOUT, -0.1, True), refused=True),
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
# Hidden units of 1 and 2, so that the four ways to drop them give four outputs.
EQUAL_TOKENS = small([1, 2, -1]).expand(60, 50, 3).clone()
EQUAL_PARAMETERS = {
    "fc1.weight": small([2, -1, -1], [1, 0, 1]),
    "fc1.bias": small([0, 2])[0],
    "fc2.weight": small([1, 1], [2, -1], [-1, 3]),
    "fc2.bias": small([1, 4, -1])[0],
}
P = 0.3


def mlp_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict.

    Those with dropout get one token many times: what comes out then shows the gates.
    """
    normal = Normal(seed)
    x, parameters = normal(2, 5, 6), mlp_parameters(normal, 6, 11)
    changed = x.clone()
    changed[0, 1] += normal(6)
    wide = {"arguments": built(6, 11), "parameters": parameters}
    narrow = {"arguments": built(7, 4), "parameters": mlp_parameters(normal, 7, 4)}
    tiny = {"arguments": built(2, 3), "parameters": SMALL_PARAMETERS}
    equal = {"parameters": EQUAL_PARAMETERS, "aside": True}
    dropped = {"arguments": built(3, 2, P), **equal}
    return [
        Question("small numbers", (SMALL_X,), **tiny),
        Question("in training", (EQUAL_TOKENS,), **dropped, training=True),
        Question("after training", (EQUAL_TOKENS,), **dropped),
        Question("two small images", (batch(SMALL_X[0]),), **tiny),
        Question("a wide hidden layer", (x,), **wide),
        Question("one token changed", (changed,), **wide),
        Question("twice the input", (2 * x,), **wide),
        Question("zeros", (0 * x,), **wide),
        Question("a narrow hidden layer", (normal(3, 4, 7),), **narrow),
        Question("one token", (normal(3, 1, 7),), **narrow),
        Question("training without dropout", (x,), **wide, training=True),
        Question("float32", (x.float(),), **wide),
        Question("float32 again", (x.float(),), **wide),
        Question("gradients", (x,), **wide, cotangent=normal(2, 5, 6)),
        Question("p = 1", (EQUAL_TOKENS,), built(3, 2, 1.0), **equal, training=True),
        Question(
            "p = 1.5",
            (EQUAL_TOKENS,),
            built(3, 2, 1.5),
            **equal,
            training=True,
            refused=True,
        ),
        Question(
            "another device", (EQUAL_TOKENS,), **dropped, training=True, device="meta"
        ),
    ]


def built(dim: int, mlp_dim: int, dropout: float | None = None) -> dict[str, float]:
    """What MLP is built with; None leaves dropout to its default."""
    arguments = {"dim": dim, "mlp_dim": mlp_dim}
    return arguments if dropout is None else {**arguments, "dropout": dropout}


def mlp_parameters(normal: Normal, dim: int, mlp_dim: int) -> dict[str, Tensor]:
    """Random weights and biases of both layers."""
    return {
        **linear_parameters(normal, "fc1", mlp_dim, dim),
        **linear_parameters(normal, "fc2", dim, mlp_dim),
    }


# The properties of gelu.


def equals_definition(*names: str) -> Callable[[Trials], Problem | None]:
    """The numbers are x Φ(x); if not, the worst of them is told."""

    def test(trials: Trials) -> Problem | None:
        for trial in (trials[name] for name in names):
            if trial.problem():
                return trial.problem()
            if trial.right():
                continue
            x, got = trial.question.inputs[0], trial.reply.outputs[0].double()
            right = trial.expected[0]
            worst = (got - right).abs().nan_to_num(torch.inf).argmax()
            x, got, right = (float(t.flatten()[worst]) for t in (x, got, right))
            text = f"At x = {x:.4g} it gives {got:.6f}, expected {right:.6f}."
            return Problem("", text)
        return None

    return test


# The properties of dropout.


def law_in(trial: Trial) -> Law:
    """The law of what was drawn."""
    return law_of(trial.question.inputs[0], trial.drawn[0])


def percent(part: float) -> str:
    """A share as people write it."""
    return f"{100 * part:.0f} %"


def returns_input(*names: str) -> Callable[[Trials], Problem | None]:
    """x comes back as it is."""

    def test(trials: Trials) -> Problem | None:
        for trial in (trials[name] for name in names):
            if trial.problem():
                return trial.problem()
            if trial.right():
                continue
            law = law_in(trial)
            _, p, training = trial.question.inputs
            text = f"With p = {p:g} and training = {training}, x should come back."
            if law.zeros:
                return Problem("", f"{text} {percent(law.zeros)} of it became 0.")
            return Problem("", f"{text} It came back times {factors(law)}.")
        return None

    return test


def factors(law: Law) -> str:
    """By what the numbers that are not zero were multiplied."""
    low, high = (f"{x:.2f}" for x in (law.low, law.high))
    return low if low == high else f"{low} to {high}"


def has_gates_of_their_own(trials: Trials) -> Problem | None:
    """Whether one number is dropped says nothing about its neighbour."""
    laws = []
    for trial in (trials[name] for name in BY_CHANCE):
        if trial.problem():
            return trial.problem()
        laws.append(law_in(trial))
    p = trials[BY_CHANCE[0]].question.inputs[1]
    # All of them kept, and yet made larger; or all kept here, and all dropped there.
    scaled = laws[0].zeros == 0 and abs(laws[0].low - 1 / (1 - p)) < 1e-4
    at_once = scaled or {law.zeros for law in laws} == {0, 1}
    if at_once or any(law.shared for law in laws):
        return Problem(shared_gates.name, shared_gates.seen)
    return None


def drops_the_share(trials: Trials) -> Problem | None:
    """About a share p becomes 0."""
    for trial in (trials[name] for name in BY_CHANCE):
        if trial.problem():
            return trial.problem()
        x, p, _ = trial.question.inputs
        zeros = law_in(trial).zeros
        if abs(zeros - p) > 0.05:
            return Problem(
                "",
                f"With p = {p:g} in training, {percent(zeros)} of {x.numel()} numbers "
                f"became 0, expected about {percent(p)}.",
            )
    return None


def scales_what_is_kept(trials: Trials) -> Problem | None:
    """What is kept is divided by 1 - p."""
    for trial in (trials[name] for name in BY_CHANCE):
        if trial.problem():
            return trial.problem()
        p, law = trial.question.inputs[1], law_in(trial)
        wanted = 1 / (1 - p)
        if not abs(law.low - wanted) + abs(law.high - wanted) < 1e-4:
            return Problem(
                "",
                f"With p = {p:g} in training, what is kept is multiplied by "
                f"{factors(law)}, expected {wanted:.2f}.",
            )
    return None


def draws_by_law(trials: Trials) -> Problem | None:
    """Neighbours are dropped together as often as chance has it."""
    if all(trials[name].right() for name in BY_CHANCE):
        return None
    return Problem("", "The zeros do not lie as chance would have them.")


def draws_anew(trials: Trials) -> Problem | None:
    """Two calls drop other numbers, and not always equally many."""
    first, second = trials[TWO_AXES], trials["gradients"]
    if first.problem() or second.problem():
        return first.problem()
    gates = [trial.drawn[0] != 0 for trial in (first, second)]
    if torch.equal(*gates):
        text = "Two calls on the same x drop the same numbers."
        return Problem("same-gates-again", text)
    exactly = [
        round(p * x.numel()) == int((trial.drawn[0] == 0).sum())
        for trial in (first, second, trials[THREE_AXES])
        for x, p, _ in [trial.question.inputs]
        if trial.drawn
    ]
    if all(exactly):
        text = "It drops exactly the share p in each call, never one number more."
        return Problem("count-fixed", text)
    return None


def drops_everything(trials: Trials) -> Problem | None:
    """With p = 1 in training zeros come back, and no nan."""
    trial = trials["p = 1"]
    problem = trial.problem()
    failed = "ZeroDivisionError" in trial.reply.errors
    if failed or (not problem and not trial.drawn[0].isfinite().all()):
        return Problem(divided_by_zero.name, divided_by_zero.seen)
    if problem or trial.right():
        return problem
    return Problem("", "With p = 1 in training, not everything becomes 0.")


def stops_every_gradient(trials: Trials) -> Problem | None:
    """With p = 1 the gradient of x is 0; if none flows at all, that is as good."""
    reply = trials["p = 1, gradients"].reply
    got = reply.gradients.get("input 0")
    if reply.problem or got is None or not got.any():
        return None
    what = "nan" if got.isnan().any() else "not 0"
    return Problem("", f"With p = 1 in training, the gradient of x is {what}.")


def passes_gradient_of_gates(trials: Trials) -> Problem | None:
    """The gradient is stopped where the number was dropped, and scaled elsewhere."""
    trial = trials["gradients"]
    if trial.problem():
        return trial.problem()
    got = trial.reply.gradients["input 0"]
    if got is None:
        return Problem("gradient-cut", "No gradient reaches x.")
    drawn = trial.drawn[0].double()
    slope = drawn / trial.question.inputs[0]
    if close(got, trial.question.cotangent * slope, tolerance_of(trial.drawn[0])):
        return None
    text = "The gradient of x is not the gradient of the output times the same gates."
    return Problem("", text)


# The properties of the MLP.


def keeps_tokens_apart(trials: Trials) -> Problem | None:
    """A token's output depends on that token alone."""
    before, after = trials["a wide hidden layer"], trials["one token changed"]
    if before.problem() or after.problem():
        return before.problem() or after.problem()
    apart = (before.reply.outputs[0] - after.reply.outputs[0]).abs().amax(-1)
    apart[0, 1] = 0
    if apart.max() < tolerance_of(before.reply.outputs[0]):
        return None
    text = "One token was changed, and the outputs of other tokens changed, too."
    return Problem(TokensMixed.name, text)


def bends(trials: Trials) -> Problem | None:
    """It is no affine map f: there f(2x) - f(x) and f(x) - f(0) are equal."""
    names = ("twice the input", "a wide hidden layer", "zeros")
    problem = next(filter(None, (trials[name].problem() for name in names)), None)
    if problem:
        return problem
    twice, once, zero = (trials[name].reply.outputs[0].double() for name in names)
    if not close(twice - once, once - zero):
        return None
    return Problem(NoActivation.name, NoActivation.seen)


def same_in_training(trials: Trials) -> Problem | None:
    """Built without dropout, it does in training what it does in evaluation."""
    trial = trials["training without dropout"]
    if trial.problem() or trial.right():
        return trial.problem()
    text = "Built with dim and mlp_dim alone, it gives other numbers in training."
    return Problem("", text)


def has_biases(trials: Trials) -> Problem | None:
    """Both layers have a bias."""
    trial = trials["small numbers"]
    if trial.reply.problem:
        return trial.problem()
    biases = [n for n in trial.question.parameters if n.endswith("bias")]
    missing = [n for n in biases if n not in trial.reply.taken]
    if not missing:
        return None
    return Problem("no-bias", f"It has no {' and no '.join(missing)}.")


def drops_nothing_after_training(trials: Trials) -> Problem | None:
    """In evaluation equal tokens have equal outputs, as without dropout."""
    trial = trials["after training"]
    if trial.problem() or trial.right():
        return trial.problem()
    zeros = share(trial.drawn[0] == 0)
    what = f"{percent(zeros)} of the output is 0" if zeros else "the numbers differ"
    return Problem("", f"In evaluation, with dropout {P:g}, {what}.")


def drops_twice(trials: Trials) -> Problem | None:
    """In training hidden units and outputs are dropped."""
    trial = trials["in training"]
    if trial.problem() or trial.right():
        return trial.problem()
    y = trial.drawn[0]
    zeros, values = share(y == 0), len(levels_of(y[..., 0].double().flatten()).values)
    start = f"In training, with dropout {P:g},"
    if abs(zeros - P) > 0.05:
        text = f"{start} {percent(zeros)} of the output is 0, expected {percent(P)}."
    else:
        text = (
            f"{start} a feature of one token, asked {y[..., 0].numel()} times, takes "
            f"{values} different values beside 0. With two hidden units there are 4: "
            "both dropped, one of them, or none."
        )
        if values == 4:
            text = f"{start} the four values of a feature are not those expected."
    return Problem("", text)


def refuses_what_is_no_probability(trials: Trials) -> Problem | None:
    """Dropout of 1.5 raises a ValueError, unless its number is ignored altogether."""
    problem, drawn = trials["p = 1.5"].reply.problem, trials["in training"].drawn
    unfit = problem and problem.name != "raises"
    if unfit or (drawn and close(drawn[0], drawn[0][:1, :1].expand_as(drawn[0]))):
        return None
    return refuses("probability-not-checked", "p = 1.5")(trials)


SHAPE = "What shape comes in, and what shape must come out?"
KEPT = (
    KEEPS_DIGITS,
    KEEPS_DEVICE,
    KEEPS_INPUTS,
    KEEPS_DTYPE,
)
GELU_PROPERTIES = (
    REPEATS,
    Property(
        "the shape of x comes back",
        returns_right_shapes("small numbers", "three axes", "four axes"),
        SHAPE,
        core=True,
    ),
    Property(
        "the numbers are x Φ(x)",
        equals_definition(
            "small numbers", "from -6 to 6", "three axes", "four axes", "far from zero"
        ),
        "Which probability is Φ(x), and which function of PyTorch gives it exactly?",
        core=True,
    ),
    Property(
        "large numbers stay finite",
        stays_finite("large numbers"),
        "Which step leaves the range of float32 when x is 10 000?",
    ),
    *KEPT,
    GRADIENTS,
)
DROPOUT_PROPERTIES = (
    Property(
        "the shape of x comes back",
        returns_right_shapes("small numbers after training", *BY_CHANCE),
        SHAPE,
        core=True,
    ),
    Property(
        "after training x comes back",
        returns_input("after training", "after training, p = 1"),
        "What should a trained model answer if you ask it twice?",
        core=True,
    ),
    Property(
        "each number has a gate of its own",
        has_gates_of_their_own,
        shared_gates.ask,
        core=True,
    ),
    Property(
        "a share p becomes 0",
        drops_the_share,
        "What is the probability that `torch.rand` gives a number below p?",
        core=True,
    ),
    Property(
        "what is kept is divided by 1 - p",
        scales_what_is_kept,
        "By what must the rest be multiplied so that the mean stays?",
        core=True,
    ),
    Property(
        "each call draws anew",
        draws_anew,
        "Where do your random numbers come from, and who decides how many are 0?",
        core=True,
    ),
    Property(
        "chance alone decides",
        draws_by_law,
        "Does the gate of one number depend on another number?",
        core=True,
    ),
    Property("p = 0 drops nothing", returns_input("p = 0"), "What is 1 - p if p is 0?"),
    Property("p = 1 drops everything", drops_everything, divided_by_zero.ask),
    Property(
        "p = 1 lets no gradient through",
        stops_every_gradient,
        "What is computed with the numbers that are dropped, before they are?",
    ),
    Property(
        "p outside 0 to 1 is refused",
        refuses("probability-not-checked", "p = 1.5", "p = -0.1"),
        "Which p is a probability?",
    ),
    *KEPT,
    Property(
        "the gradient passes where the number did",
        passes_gradient_of_gates,
        "Is every step from the input to the output one that autograd can follow?",
    ),
)
MLP_PROPERTIES = (
    REPEATS,
    Property(
        "`fc1` and `fc2` are there",
        has_parameters("small numbers", optional=(".bias",)),
        "Which two layers are learned, and what are they called?",
        core=True,
    ),
    Property(
        "the shape of x comes back",
        returns_right_shapes("small numbers", "a narrow hidden layer"),
        SHAPE,
        core=True,
    ),
    Property(
        "each token is on its own", keeps_tokens_apart, TokensMixed.ask, core=True
    ),
    Property("it bends", bends, NoActivation.ask, core=True),
    Property(
        "the numbers agree with the definition in float64",
        agrees(
            "small numbers",
            "a wide hidden layer",
            "a narrow hidden layer",
            "one token",
        ),
        "In which order come the two layers and GELU, and what else is in between?",
        core=True,
    ),
    Property(
        "without dropout, training and evaluation give the same",
        same_in_training,
        "Which value has `dropout` if nobody gives one, and what asks for the mode?",
        core=True,
    ),
    Property(
        "both layers have a bias",
        has_biases,
        "What does a linear layer add to the weighted sum?",
    ),
    Property(
        "after training nothing is dropped",
        drops_nothing_after_training,
        "Who tells a function that training is over?",
    ),
    Property(
        "in training hidden units and outputs are dropped",
        drops_twice,
        "After which layers does the ViT paper put dropout?",
    ),
    Property("dropout 1 gives zeros", drops_everything, divided_by_zero.ask),
    Property(
        "dropout outside 0 to 1 is refused",
        refuses_what_is_no_probability,
        "Which number is a probability?",
    ),
    *KEPT,
    GRADIENTS,
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
    oracle=gelu_oracle,
    properties=GELU_PROPERTIES,
    bank=GELU,
    show=Show(("small numbers",), ("x",), {"output": 0}, AXES),
    again="Code",
)
WRITE_DROPOUT = Implement(
    form=Form(outputs=("output",), builtins=("dropout",), reference=(dropout,)),
    ask_about=dropout_questions,
    oracle=dropout_oracle,
    properties=DROPOUT_PROPERTIES,
    bank=DROPOUT,
    show=Show(
        ("small numbers after training", "small numbers in training"),
        ("x", "p", "training"),
        {"output": 0},
        AXES,
        same_draw=same_draw,
    ),
    again="Code",
    settle=settled_dropout,
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
    bank=MISCONCEPTIONS["MLP"],
    show=Show(
        ("small numbers", "two small images"),
        ("x",),
        {"output": 0},
        {"output": ("token", "feature")},
        parameters=tuple(SMALL_PARAMETERS),
    ),
    again="Code",
    settle=settled_mlp,
)

# An MLP with D = 5 and M = 20, in a block whose attention has 120 parameters.


def sizes(fc1: int, fc2: int, rest: int = 140) -> tuple[float, ...]:
    """The parameters of both layers, and their share beside the rest of a block."""
    return fc1, fc2, (fc1 + fc2) / (fc1 + fc2 + rest)


COUNT_PARAMETERS = PredictNumbers(
    right=sizes(120, 105),
    names=("The number of fc1", "The number of fc2", "The share"),
    wrong=(
        (
            (120, 105, 2 / 3),
            Wrong(
                "two-thirds-everywhere",
                "Two thirds is what the share comes to when D is large. Here D is 5.",
                "How many parameters has this block, with its norms and all biases?",
            ),
        ),
        (
            sizes(120, 105, 120),
            Wrong(
                "norms-forgotten",
                "That is the share of the MLP beside attention alone.",
                "What else in a block is learned?",
            ),
        ),
        (
            (120, 105, 225 / 120),
            Wrong(
                "ratio-for-share",
                "That is how many times as large as attention the MLP is.",
                "What is the whole of which you want the share?",
            ),
        ),
        (
            (120, 105, 225 / 140),
            Wrong(
                "ratio-for-share",
                "That is the MLP divided by the rest of the block.",
                "What is the whole of which you want the share?",
            ),
        ),
        (
            sizes(100, 100),
            Wrong(
                "no-biases",
                "Those are the weights. Each layer has a bias, too.",
                "What does a linear layer add to the weighted sum?",
            ),
        ),
        (
            sizes(105, 120),
            Wrong(
                "layers-swapped",
                "fc1 and fc2 have changed places.",
                "Which layer makes a token wide, and how many biases has it then?",
            ),
        ),
        (
            sizes(105, 105),
            Wrong(
                "bias-as-wide-as-input",
                "Both layers got a bias of width 5. That of fc1 is as wide as what "
                "comes out of it.",
                "To which numbers is the bias of fc1 added?",
            ),
        ),
        (
            sizes(120, 120),
            Wrong(
                "bias-as-wide-as-hidden",
                "Both layers got a bias of width 20. That of fc2 is as wide as what "
                "comes out of it.",
                "To which numbers is the bias of fc2 added?",
            ),
        ),
        (
            sizes(30, 30),
            Wrong(
                HiddenWidthIgnored.name,
                "Those are two layers from 5 to 5.",
                "How wide is a token between the two layers?",
            ),
        ),
    ),
    ask="How many weights and how many biases has a linear layer from 5 to 20?",
    again="Code",
)
CHOOSE_TOLERANCE = Choose(
    right="C",
    because="In float32, another way to compute x Φ(x) is off by less than 1e-6. The "
    "tanh formula is off by 4.7e-4, the sigmoid formula by 2e-2.",
    wrong={
        "A": Wrong(
            "tolerance-passes-all",
            "With 1e-1 all of them pass: the sigmoid formula is off by 2e-2.",
            "How large is the largest difference between the three formulas?",
        ),
        "B": Wrong(
            "tolerance-passes-tanh",
            "With 1e-3 the sigmoid formula fails, but the tanh formula passes.",
            "In which digit does the tanh formula differ from x Φ(x)?",
        ),
        "D": Wrong(
            "tolerance-below-rounding",
            "With 1e-10 the right version fails, too: it rounds in another way.",
            "How many digits has a number in float32?",
        ),
    },
    again="Break it",
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
    right=(MLP, InOneRow),
    wrong=(TokensMixed, TokensAveraged, NoActivation),
    ask="What stays as it is when one token changes, and what can no affine map do?",
    again="Check",
)

TASKS = {
    "parameters": COUNT_PARAMETERS,
    "gelu": WRITE_GELU,
    "tolerance": CHOOSE_TOLERANCE,
    "dropout": WRITE_DROPOUT,
    "MLP": WRITE_MLP,
    "alone_and_bent": TEST_TOKENS,
    "find_the_bug": replace(WRITE_MLP, bug=DropoutAlwaysOn, again="Check"),
}
