"""The MLP: what people get wrong."""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from vit_encoder.arguments import require_features, require_probability
from vit_encoder.check.misconceptions import Misconception, against
from vit_encoder.mlp import MLP, dropout, gelu

GITHUB = "https://github.com/"
OURS = "constructed for this course"

# Misconceptions of gelu. Each is the course's version with one visible change.

wrong_gelu = against(gelu)


@wrong_gelu(
    seen="It differs from x Φ(x) by up to 0.0005, most near x = 2.7 and x = -2.7.",
    ask="Two formulas are called GELU. In which digit do they differ?",
    source=GITHUB + "kyutai-labs/pocket-tts/pull/278",
)
def tanh_formula(x):
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + torch.tanh(inner))


@wrong_gelu(
    seen="It differs from x Φ(x) by up to 0.02, most near x = 2.2 and x = -2.2.",
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
    source=OURS,
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
    source=OURS,
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


GELU = (
    tanh_formula,
    sigmoid_formula,
    silu,
    relu,
    no_root_of_two,
    gate_alone,
    no_half,
)
DROPOUT = (
    not_scaled,
    divided_by_p,
    kept_with_p,
    always_on,
    scaled_twice,
    divided_by_zero,
    in_place,
)
WHOLE = (
    ActivationAtTheEnd,
    NoActivation,
    TokensMixed,
    HiddenWidthIgnored,
    DropoutAlwaysOn,
    DropoutOnce,
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


# Those that show in a module. always_on is DropoutAlwaysOn there, and in_place changes
# nothing that anyone else holds.
INSIDE = (*GELU, not_scaled, divided_by_p, kept_with_p, scaled_twice, divided_by_zero)
MISCONCEPTIONS = {
    "gelu": GELU,
    "dropout": DROPOUT,
    "MLP": (*WHOLE, *map(inside, INSIDE)),
}
