"""Layer normalization: what people get wrong, what must hold, and the tasks."""

from contextlib import suppress

import torch
from torch import Tensor

from vit_encoder.check.hearing.data import Form, Question
from vit_encoder.check.judging import oracle
from vit_encoder.check.judging.misconceptions import GITHUB, edit, edits, inside, named
from vit_encoder.check.judging.oracle import Get, oracle_of, oracle_of_function
from vit_encoder.check.judging.pictures import Show, as_python
from vit_encoder.check.judging.properties import (
    EDGES,
    KEEPS_DEVICE,
    KEEPS_DTYPE,
    KEEPS_NO_STATE,
    PASSES_NAN_ON,
    REPEATS,
    Property,
    agrees,
    as_defined,
    each,
    holds,
    keeps_dtype,
    require_gradients,
    require_parameters,
    returns_right_shapes,
    runs,
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
from vit_encoder.check.judging.trials import Fails, Trial, Trials, close, tolerance_of
from vit_encoder.check.self_attention import ATTENTION
from vit_encoder.check.tasks import BreakIt, Implement
from vit_encoder.layer_norm import LayerNorm, layer_norm
from vit_encoder.self_attention import attention

ARTICLE = "the Japanese article that this course grew out of"
ANNOTATED = GITHUB + "harvardnlp/annotated-transformer/issues/122"
ATTENTION_IS_ALL = GITHUB + "jadore801120/attention-is-all-you-need-pytorch/pull/17"

# Misconceptions of layer_norm.

ROOT = "torch.sqrt(variance + eps)"
MEAN = "wide.mean(dim=-1, keepdim=True)"
SQUARES = "(wide - mean).square()"
VARIANCE = f"{SQUARES}.mean(dim=-1, keepdim=True)"
MADE_WIDE = "x.to(torch.promote_types(x.dtype, torch.float32))"
GAIN_AND_BIAS = "weight * normalized + bias"
FROM_THE_END = "Which axis holds the features however many axes stand in front?"
LOST = "Which shape has the mean of (B, N, D), and how is it stretched to (B, N, D)?"


def over(axes: str) -> dict[str, str]:
    """The edit that takes mean and variance over other axes than the last."""
    return {
        "wide.mean(dim=-1": f"wide.mean(dim={axes}",
        "square().mean(dim=-1": f"square().mean(dim={axes}",
    }


FUNCTION = edits(
    layer_norm,
    edit(
        "unbiased-variance",
        {VARIANCE: "wide.var(dim=-1, keepdim=True)"},
        "Every output is too small by the factor √((D − 1)/D): a lot for a narrow "
        "token, next to nothing for a wide one.",
        "Are the D features a sample from a larger set, or all there are?",
        GITHUB + "codertimo/BERT-pytorch/issues/30",
    ),
    edit(
        "epsilon-outside-root",
        {ROOT: "(torch.sqrt(variance) + eps)"},
        "With the usual small ε, tokens of usual size come out right. One with a tiny "
        "spread comes out too large, and the gradient of a constant token is nan.",
        "What is the slope of a square root at 0?",
        GITHUB + "pyg-team/pytorch_geometric/pull/2917",
    ),
    edit(
        "unbiased-and-outside",
        {
            f"variance = {VARIANCE}": "deviation = wide.std(dim=-1, keepdim=True)",
            ROOT: "(deviation + eps)",
        },
        "Two things at once: the outputs are too small by the factor √((D − 1)/D), "
        "and epsilon stands outside the root.",
        "What does `std` divide by, and to what is epsilon added in the equation?",
        ANNOTATED,
    ),
    edit(
        "divided-by-variance",
        {ROOT: "(variance + eps)"},
        "The larger the spread of a token, the smaller that of its output.",
        "If x is a length in metres, what is the unit of its variance?",
        ARTICLE,
    ),
    edit(
        "root-of-deviation-minus-epsilon",
        {
            f"variance = {VARIANCE}": f"deviation = {VARIANCE}.sqrt()",
            "variance + eps": "deviation - eps",
        },
        "A root is taken twice, and epsilon is subtracted: the output keeps part of "
        "the input's scale, and a constant token gives nan.",
        "What is under the root if all features of a token are equal?",
        ARTICLE,
    ),
    edit(
        "root-of-deviation",
        {
            f"variance = {VARIANCE}": f"deviation = {VARIANCE}.sqrt()",
            "variance + eps": "deviation + eps",
        },
        "A root is taken twice: the output keeps part of the input's scale.",
        "Which of σ and σ² stands under the root?",
        GITHUB + "hyunwoongko/transformer/issues/7",
    ),
    edit(
        "epsilon-subtracted",
        {"variance + eps": "variance - eps"},
        "With an ε as small as usual only a constant token shows it: it gives nan.",
        "Which sign keeps the number under the root above 0 for every token?",
        ARTICLE,
    ),
    edit(
        "no-epsilon",
        {"variance + eps": "variance"},
        "A constant token gives nan: 0 is divided by 0.",
        "What keeps the divisor above 0 if all features of a token are equal?",
        GITHUB + "torchcvnn/torchcvnn/issues/32",
    ),
    edit(
        "epsilon-as-floor",
        {"variance + eps": "variance.clamp(min=eps)"},
        "Epsilon has an effect only where the variance is smaller.",
        "Is epsilon added to the variance, or put in its place?",
    ),
    edit(
        "epsilon-squared",
        {"variance + eps": "variance + eps**2"},
        "The square of epsilon is added to the variance, not epsilon.",
        "Which of ε and ε² stands under the root?",
    ),
    edit(
        "epsilon-above",
        {"(wide - mean) /": "(wide - mean + eps) /", "variance + eps": "variance"},
        "Epsilon is added to what is divided. A constant token gives infinity.",
        "Which number must not become 0: the one above the line, or the one below?",
    ),
    edit(
        "epsilon-ignored",
        {"variance + eps": "variance + 1e-5"},
        "The value of eps has no effect: another one gives the same output.",
        "Who chooses epsilon: the one who writes the function, or the one who calls "
        "it?",
        GITHUB + "keras-team/keras-hub/issues/642",
    ),
    edit(
        "squared-instead-of-root",
        {ROOT: "(variance + eps) ** 2"},
        "The deviations are divided by the square of the variance, not by its root.",
        "Which power takes a variance back to the unit of the features?",
        GITHUB + "131250208/TPlinker-joint-extraction/issues/37",
    ),
    edit(
        "power-before-division",
        {ROOT: "(variance + eps) ** 1 / 2"},
        "The deviations are divided by the variance and then by 2, not by its root.",
        "In which order does Python work through `/ v ** 1 / 2`?",
    ),
    edit(
        "brackets-forgotten",
        {"(wide - mean) /": "wide - mean /"},
        "Only the mean is divided, and what comes out is subtracted from the features.",
        "Which does Python do first: the minus or the division?",
    ),
    edit(
        "sign-turned",
        {"(wide - mean) /": "(mean - wide) /"},
        "Every output has the wrong sign: the features are subtracted from the mean.",
        "Shall the largest feature come out as the largest, or as the smallest?",
    ),
    edit(
        "mean-before-square",
        {".square().mean(dim=-1, keepdim=True)": ".mean(-1, keepdim=True).square()"},
        "The variance is 0 for every token, so that epsilon alone is under the root.",
        "What is the mean of the deviations, before anything is squared?",
    ),
    edit(
        "mean-left-in-variance",
        {SQUARES: "wide.square()"},
        "The mean of the squares serves as the variance, with the mean still in them.",
        "From what are the deviations measured?",
    ),
    edit(
        "mean-not-squared",
        {VARIANCE: "wide.square().mean(dim=-1, keepdim=True) - mean"},
        "From the mean of the squares the mean is subtracted, not its square.",
        "If x is a length in metres, which two units are subtracted here?",
    ),
    edit(
        "variance-negative",
        {VARIANCE: "mean.square() - wide.square().mean(dim=-1, keepdim=True)"},
        "Every output is nan: the number under the root is negative.",
        "Which is larger: the square of the mean, or the mean of the squares?",
    ),
    edit(
        "absolute-deviations",
        {SQUARES: "(wide - mean).abs()", ROOT: "(variance + eps)"},
        "The deviations are divided by the mean of their sizes, not by σ.",
        "What is averaged in a variance: the deviations, or their squares?",
    ),
    edit(
        "multiplied-by-deviation",
        {"/ torch.sqrt": "* torch.sqrt"},
        "The larger the spread of a token, the larger that of its output: the "
        "deviations are multiplied by σ.",
        "Shall a token of large spread get a larger one, or the same as all others?",
    ),
    edit(
        "squares-not-averaged",
        {f"{SQUARES}.mean": f"{SQUARES}.sum"},
        "A normalized token has length 1, whatever D is.",
        "By how many is a sum divided to become a mean?",
    ),
    edit(
        "spread-kept",
        {f" / {ROOT}": ""},
        "The mean is gone, but each token keeps its own spread.",
        "What should be equal for all tokens beside the mean?",
    ),
    edit(
        "mean-not-subtracted",
        {
            f"mean = {MEAN}": "",
            "(wide - mean).square()": "wide.square()",
            "(wide - mean) /": "wide /",
        },
        "The mean stays in: adding one number to all features changes the output.",
        "What is left of x if all its features are equal?",
    ),
    edit(
        "mean-kept",
        {"(wide - mean) /": "wide /"},
        "The mean stays in: it is used for the variance, but not subtracted from the "
        "features.",
        "What is the mean of a token once its mean was taken away?",
    ),
    edit(
        "statistics-over-tokens",
        over("-2"),
        "The mean runs over the tokens: when one token changes, others change too.",
        "Which axis holds the numbers of one single token?",
        ATTENTION_IS_ALL,
    ),
    edit(
        "statistics-over-axis-1",
        over("1"),
        "The mean runs over axis 1, counted from the front. With two axes these are "
        "the features, with three the tokens.",
        FROM_THE_END,
    ),
    edit(
        "statistics-over-axis-2",
        over("2"),
        "The mean runs over axis 2, counted from the front. With three axes these are "
        "the features, with four the tokens, and with two there is no axis 2.",
        FROM_THE_END,
    ),
    edit(
        "statistics-over-image",
        over("(-2, -1)"),
        "All tokens of an image share one mean: when one token changes, all others "
        "change too.",
        "May the mean of token 3 depend on token 7?",
        GITHUB + "karpathy/minGPT/issues/113",
    ),
    edit(
        "statistics-over-images",
        over("0"),
        "The mean runs over the first axis: when one image changes, others do too.",
        "Should an image's output depend on which others are in its batch?",
    ),
    edit(
        "statistics-over-everything",
        {MEAN: "wide.mean()", VARIANCE: f"{SQUARES}.mean()"},
        "One mean and one variance serve all tokens of all images.",
        "May the mean of one image depend on another image?",
    ),
    edit(
        "statistics-of-features",
        over("tuple(range(x.ndim - 1))"),
        "Each feature has one mean, from all tokens of all images. That is BatchNorm.",
        "In which direction do you average: along a token, or across tokens?",
        GITHUB + "GokuMohandas/fast-weights/issues/9",
    ),
    edit(
        "variance-over-image",
        {"square().mean(dim=-1": "square().mean(dim=(-2, -1)"},
        "The mean is of one token, but the variance is of all tokens of an image.",
        "Which numbers say how far the features of one token spread?",
    ),
    edit(
        "axis-of-mean-lost",
        {MEAN: "wide.mean(dim=-1)", VARIANCE: "wide.var(dim=-1, correction=0)"},
        "The means have lost an axis. The sizes do not fit, or fit by chance: then "
        "the mean of token 3 is subtracted from feature 3.",
        LOST,
        ATTENTION_IS_ALL,
    ),
    edit(
        "axis-of-mean-alone-lost",
        {MEAN: "wide.mean(dim=-1)"},
        "The mean has lost an axis, so the sizes do not fit, or fit by chance.",
        LOST,
        ATTENTION_IS_ALL,
    ),
    edit(
        "axis-of-variance-lost",
        {VARIANCE: f"{SQUARES}.mean(dim=-1)"},
        "The variance has lost an axis, so the sizes do not fit, or fit by chance.",
        LOST,
        ATTENTION_IS_ALL,
    ),
    edit(
        "one-pass-variance",
        {VARIANCE: "wide.square().mean(dim=-1, keepdim=True) - mean.square()"},
        "With a large mean the variance is lost in rounding: it may come out as 0 or "
        "below.",
        "What is left of the digits when two large, nearly equal numbers are "
        "subtracted?",
        GITHUB + "pytorch/pytorch/issues/51102",
    ),
    edit(
        "gain-added",
        {"weight * normalized": "weight + normalized"},
        "The gain is added where it should multiply.",
        "Which of gain and bias stretches, and which shifts?",
    ),
    edit(
        "bias-multiplied",
        {"normalized + bias": "normalized * bias"},
        "The bias multiplies where it should be added: with bias 0 all outputs are 0.",
        "What do gain 1 and bias 0 leave of a normalized token?",
        ARTICLE,
    ),
    edit(
        "gain-and-bias-swapped",
        {GAIN_AND_BIAS: "bias * normalized + weight"},
        "Gain and bias have changed places: with gain 1 and bias 0 every output is 1.",
        "Which of gain and bias stretches, and which shifts?",
    ),
    edit(
        "gain-forgotten",
        {"weight * normalized": "normalized"},
        "The gain has no effect.",
        "What makes a feature weigh more than others after the norm?",
    ),
    edit(
        "bias-forgotten",
        {"normalized + bias": "normalized"},
        "The bias has no effect.",
        "How can a feature have another mean than 0 after the norm?",
    ),
    edit(
        "no-gain-and-bias",
        {f"({GAIN_AND_BIAS})": "normalized"},
        "Gain and bias have no effect; a test with gain 1 and bias 0 cannot see it.",
        "Which values must gain and bias have, so that a test notices them?",
    ),
    edit(
        "bias-stretched",
        {GAIN_AND_BIAS: "weight * (normalized + bias)"},
        "The gain stretches the bias too.",
        "Which of the two comes first: to stretch, or to shift?",
    ),
    edit(
        "gain-before-norm",
        {MADE_WIDE: f"weight * {MADE_WIDE}", "weight * normalized": "normalized"},
        "The gain multiplies before the norm, so a gain that is the same for all "
        "features has no effect.",
        "What does the norm do to a token that was stretched before?",
    ),
    edit(
        "gain-and-bias-before-norm",
        {MADE_WIDE: f"weight * {MADE_WIDE} + bias", f"({GAIN_AND_BIAS})": "normalized"},
        "Gain and bias come before the norm, which takes away most of what they do.",
        "What does the norm do to a token that was stretched and shifted before?",
    ),
    edit(
        "bias-subtracted",
        {"normalized + bias": "normalized - bias"},
        "The bias is subtracted where it should be added.",
        "Which of gain and bias stretches, which shifts, and in which direction?",
    ),
    edit(
        "gain-of-one-more",
        {"weight * normalized": "(1 + weight) * normalized"},
        "The gain is larger by 1 than the weight, as in Gemma.",
        "Which weight leaves a normalized token as it is?",
    ),
    edit(
        "bias-divided",
        {
            "(wide - mean) /": "(weight * (wide - mean) + bias) /",
            f"({GAIN_AND_BIAS})": "normalized",
        },
        "The bias is divided by σ, as the deviations are.",
        "Which of the two comes first: to divide, or to shift?",
    ),
    edit(
        "gain-of-tokens",
        {GAIN_AND_BIAS: "weight[:, None] * normalized + bias[:, None]"},
        "Gain and bias belong to tokens, not to features: the sizes do not fit, or "
        "fit by chance.",
        "What shares one gain: the features of a token, or the tokens in a feature?",
    ),
    edit(
        "input-overwritten",
        {
            f"mean = {MEAN}": f"wide -= {MEAN}",
            "(wide - mean).square()": "wide.square()",
            "(wide - mean) /": "wide /",
        },
        "The tensor that the caller passed in has lost its mean.",
        "Who else holds this tensor, and still needs it?",
    ),
)
# Seen by a property alone: as on the CPU in float32, no number is wrong.
HALF = edits(
    layer_norm,
    edit(
        "squares-in-float16",
        {MADE_WIDE: "x"},
        "In float16 the squares of numbers above 255 are inf, and the output is 0.",
        "What is the largest number that float16 can hold, and what is its root?",
        GITHUB + "microsoft/onnxruntime/issues/17692",
    ),
)

# Misconceptions of map_norm.


def map_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """LayerNorm where the features stand on axis 1, as in convolutional networks.

    x: (B, D, H, W). weight: γ (D,). bias: β (D,). Returns (B, D, H, W).
    """
    mean = x.mean(dim=1, keepdim=True)  # (B, 1, H, W)
    variance = (x - mean).square().mean(dim=1, keepdim=True)  # (B, 1, H, W)
    normalized = (x - mean) / torch.sqrt(variance + eps)  # (B, D, H, W)
    return weight[:, None, None] * normalized + bias[:, None, None]


def over_map(axes: str) -> dict[str, str]:
    """The edit that takes mean and variance over other axes than the features'."""
    return {
        "x.mean(dim=1": f"x.mean(dim={axes}",
        "square().mean(dim=1": f"square().mean(dim={axes}",
    }


ONE_PLACE = "Which numbers belong to one place of one map?"
MAPS = edits(
    map_norm,
    edit(
        "variance-over-image",
        {"square().mean(dim=1": "square().mean(dim=(1, 2, 3)"},
        "The mean is of one place, but the variance is of all places of an image.",
        "Which numbers say how far the features of one place spread?",
    ),
    edit(
        "statistics-over-image",
        over_map("(1, 2, 3)"),
        "All places of an image share one mean: when one changes, all others do too.",
        ONE_PLACE,
    ),
    edit(
        "statistics-over-places",
        over_map("(2, 3)"),
        "Each feature of an image has one mean, from all places: that is instance "
        "norm.",
        ONE_PLACE,
    ),
    edit(
        "statistics-over-last-axis",
        over_map("-1"),
        "The mean runs along a row of the map, not over the features of a place.",
        "Which of the four axes counts the features?",
    ),
    edit(
        "mean-over-image",
        {"x.mean(dim=1": "x.mean(dim=(1, 2, 3)"},
        "The variance is taken over the features of one place, but around the mean of "
        "the whole image.",
        ONE_PLACE,
    ),
    edit(
        "unbiased-variance",
        {"(x - mean).square().mean(dim=1,": "x.var(dim=1,"},
        "Every output is too small by the factor √((D − 1)/D).",
        "Are the D features a sample from a larger set, or all there are?",
    ),
    edit(
        "epsilon-outside-root",
        {"torch.sqrt(variance + eps)": "(torch.sqrt(variance) + eps)"},
        "With the usual small ε only places of tiny spread come out wrong.",
        "What is the slope of a square root at 0?",
    ),
)

# Misconceptions of LayerNorm.

MAKES = """        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
"""
USES = "return layer_norm(x, self.weight, self.bias, self.eps)"
START = "What must gain and bias be so that a new layer only normalizes?"
HUB = GITHUB + "keras-team/keras-hub/issues/642"
BEHAVIOUR = edits(
    LayerNorm,
    edit(
        "batch-norm-instead",
        {
            MAKES: f"{MAKES}        self.register_buffer("
            '"statistics", torch.stack([self.weight, self.bias]).data)\n',
            USES: """variance, mean = self.statistics
        if self.training:
            variance, mean = torch.var_mean(x.flatten(0, -2), 0, correction=0)
            self.statistics.lerp_(torch.stack([variance, mean]).detach(), 0.1)
        normalized = (x - mean) / torch.sqrt(variance + self.eps)
        return self.weight * normalized + self.bias""",
        },
        "In training the output of one image depends on the other images; after "
        "training, on averages that were kept.",
        "Should an image's output depend on which others are in its batch?",
    ),
    edit(
        "scalar-gain",
        {
            "torch.ones(dim)": "torch.ones(1)",
            "torch.zeros(dim)": "torch.zeros(1)",
            "self.weight, self.bias": "*(p.expand(x.shape[-1]) "
            "for p in self.parameters())",
        },
        "There is one gain and one bias for all features, not one for each.",
        "How many features shall be able to go up while others go down?",
    ),
    edit(
        "epsilon-not-kept",
        {"self.eps = eps": "", "self.eps)": "1e-5)"},
        "The layer always uses the same epsilon, whatever it was built with.",
        "Where does the number go that the layer was built with?",
        HUB,
    ),
)
# What these compute does not tell them apart from others: a property sees them.
BUILT_WRONG = edits(
    LayerNorm,
    edit(
        "gain-and-bias-unused",
        {"self.weight, self.bias": "0 * self.weight + 1, 0 * self.bias"},
        "Gain and bias are not those of the layer: whatever it has learned, gain 1 "
        "and bias 0 are used.",
        "Which line of `forward` uses what `__init__` made?",
    ),
    edit(
        "other-default-epsilon",
        {"1e-6": "1e-5"},
        "Built without an epsilon, the layer takes another one than 1e-6.",
        "Whose default do you know by heart: PyTorch's, or that of ViT?",
        HUB,
    ),
    edit(
        "gain-starts-at-zero",
        {"torch.ones": "torch.zeros"},
        "The gain starts at 0: every token comes out as the bias, 0.",
        START,
        GITHUB + "ecmwf/anemoi-core/issues/633",
    ),
    edit(
        "starts-swapped",
        {
            "weight = nn.Parameter(torch.ones": "weight = nn.Parameter(torch.zeros",
            "bias = nn.Parameter(torch.zeros": "bias = nn.Parameter(torch.ones",
        },
        "Gain and bias have changed places at the start: a new layer gives 1 for "
        "every feature.",
        START,
        GITHUB + "google/objax/pull/94",
    ),
    edit(
        "plain-tensors",
        {
            "nn.Parameter(torch.ones(dim))": "torch.ones(dim)",
            "nn.Parameter(torch.zeros(dim))": "torch.zeros(dim)",
        },
        "Gain and bias are plain tensors: no optimizer meets them, and `.to` and "
        "`.double` leave them where they are.",
        "How does a module know which of its tensors are to be trained?",
        GITHUB + "harvard-edge/cs249r_book/pull/1504",
    ),
)
# Three have a counterpart in a module, or a property sees them.
ELSEWHERE = ("no-gain-and-bias", "gain-forgotten", "epsilon-ignored")
LIFTED = inside(LayerNorm, FUNCTION)
INSIDE = tuple(m for m in LIFTED if m.name not in ELSEWHERE)
MODULE = (*BEHAVIOUR, *BUILT_WRONG, *LIFTED)
# Gain and bias folded into the linear layer that follows: the right version, and wrong
# ones.


def folded(
    weight: Tensor, bias: Tensor, gain: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear layer that does what γ and β in front of it did, too.

    weight: (D_out, D). bias: (D_out,). gain: γ (D,). shift: β (D,).
    Returns the new weight (D_out, D) and the new bias (D_out,).
    """
    return weight * gain, bias + weight @ shift


WHAT_REACHES_THE_BIAS = "Let x̂ be 0. What comes out of the old layers?"
FOLDED = edits(
    folded,
    edit(
        "bias-left-as-it-was",
        {"bias + weight @ shift": "bias"},
        "The new bias is the old one: β is lost.",
        WHAT_REACHES_THE_BIAS,
    ),
    edit(
        "old-bias-lost",
        {"bias + weight @ shift": "weight @ shift"},
        "The bias that the linear layer had is lost.",
        WHAT_REACHES_THE_BIAS,
    ),
    edit(
        "shift-stretched",
        {"weight @ shift": "(weight * gain) @ shift"},
        "β is multiplied by γ on its way into the bias, as if the new weight met it.",
        "Which comes first in a LayerNorm, to stretch or to shift? Does γ reach β?",
        "a fold that overwrites the weight before it makes the bias",
    ),
    edit(
        "shift-not-multiplied",
        {"weight @ shift": "shift"},
        "β is added to the bias as it is; the linear layer never multiplies it.",
        "How long is β, and how long is the bias that it should become a part of?",
    ),
    edit(
        "gain-on-outputs",
        {"weight * gain": "weight * gain[:, None]"},
        "γ multiplies the rows of the weight, and a row makes one output.",
        "Which entries of the weight meet feature 0 of the token?",
    ),
    edit(
        "gain-divided-out",
        {"weight * gain": "weight / gain"},
        "The weight is divided by γ: that undoes the gain, and does not take it over.",
        "If γ doubles a feature, what must the weight do once γ is 1?",
    ),
    edit(
        "weight-left-as-it-was",
        {"weight * gain": "weight"},
        "The new weight is the old one: γ is lost.",
        "If γ doubles a feature, what must the weight do once γ is 1?",
    ),
    edit(
        "gain-added",
        {"weight * gain": "weight + gain"},
        "γ is added to the weight where it should multiply.",
        "Which of gain and bias stretches, and which shifts?",
    ),
    edit(
        "shift-through-the-transpose",
        {"weight @ shift": "weight.T @ shift"},
        "β is multiplied by the columns of the weight, not by its rows.",
        "nn.Linear computes x Wᵀ + b. What does it make of β in place of x?",
    ),
    edit(
        "gain-and-shift-exchanged",
        {"weight * gain": "weight * shift", "weight @ shift": "weight @ gain"},
        "γ and β have changed places.",
        "Which of gain and bias stretches, and which shifts?",
    ),
    edit(
        "pair-swapped",
        {
            "weight * gain": "bias + weight @ shift",
            "bias + weight @ shift": "weight * gain",
        },
        "The bias comes first and the weight second.",
        "In which order does the task ask for the two?",
    ),
)

# Attention with normalized queries and keys: the right version, and wrong ones.


def normed_attention(
    q: Tensor, k: Tensor, v: Tensor, q_gain: Tensor, k_gain: Tensor, eps: float
) -> Tensor:
    """Attention whose queries and keys go through an RMSNorm each (qk-norm).

    q, k, v: (B, h, N, D_h). q_gain, k_gain: γ (D_h,), shared by all heads.
    Returns (B, h, N, D_h). Source: Dehghani et al. 2023.
    """
    q = q_gain * q / torch.sqrt(q.square().mean(dim=-1, keepdim=True) + eps)
    k = k_gain * k / torch.sqrt(k.square().mean(dim=-1, keepdim=True) + eps)
    output, _ = attention(q, k, v)
    return output


def both(old: str, new: str) -> dict[str, str]:
    """The edit of the line of the queries and of that of the keys."""
    return {old.format(t): new.format(t) for t in "qk"}


ATTENDED = "output, _ = attention(q, k, v)"
ONE_VECTOR = "How many numbers are in one query of one head, and which axis holds them?"
WHICH_GAIN = "How many gains come in, and what is each for?"
NORMED = (
    *edits(
        normed_attention,
        edit(
            "norm-over-tokens",
            both("{}.square().mean(dim=-1", "{}.square().mean(dim=-2"),
            "The mean of the squares runs over the tokens, feature by feature.",
            ONE_VECTOR,
        ),
        edit(
            "norm-over-all-heads",
            both("{}.square().mean(dim=-1", "{}.square().mean(dim=(1, 3)"),
            "One mean is taken for all heads of a token, as if the norm stood before "
            "the split: a head with large queries makes those of the others small.",
            ONE_VECTOR,
            "OLMo 2 (2025), on purpose",
        ),
        edit(
            "keys-left-as-they-are",
            {
                "    k = k_gain * k / torch.sqrt("
                "k.square().mean(dim=-1, keepdim=True) + eps)\n": ""
            },
            "Only the queries are normalized: large keys still make large scores.",
            "Which two vectors make a score?",
        ),
        edit(
            "values-normalized-too",
            {
                ATTENDED: "v = v / torch.sqrt(v.square().mean(-1, keepdim=True) + eps)"
                f"\n    {ATTENDED}"
            },
            "The values are normalized as well.",
            "Which two vectors make a score?",
        ),
        edit(
            "mean-subtracted",
            {
                "    q = q_gain": "    q, k = (t - t.mean(-1, keepdim=True) "
                "for t in (q, k))\n    q = q_gain"
            },
            "The mean is subtracted first: that is LayerNorm, and the task asks for "
            "RMSNorm.",
            "Which of its two invariances does RMSNorm give up?",
            "timm's qk_norm, whose default is LayerNorm",
        ),
        edit(
            "length-one",
            both("{}.square().mean(", "{}.square().sum("),
            "Queries and keys get the length 1: the squares are added up, not "
            "averaged. So the scores are too small by the factor D_h.",
            "By how many is a sum divided to become a mean?",
            "the cosine attention of Swin Transformer V2 (Liu et al. 2022), on purpose",
        ),
        edit(
            "root-forgotten",
            both(
                "torch.sqrt({}.square().mean(dim=-1, keepdim=True) + eps)",
                "({}.square().mean(dim=-1, keepdim=True) + eps)",
            ),
            "They are divided by the mean square, not by its root: a large query comes "
            "out small.",
            "If q is a length in metres, what is the unit of its mean square?",
        ),
        edit(
            "epsilon-outside-root",
            both(
                "torch.sqrt({}.square().mean(dim=-1, keepdim=True) + eps)",
                "(torch.sqrt({}.square().mean(dim=-1, keepdim=True)) + eps)",
            ),
            "Epsilon stands outside the root.",
            "To what is epsilon added in an RMSNorm?",
        ),
        edit(
            "one-gain-for-both",
            {"k_gain * k": "q_gain * k"},
            "Queries and keys share the gain of the queries.",
            WHICH_GAIN,
        ),
        edit(
            "gains-left-out",
            {"q_gain * q": "q", "k_gain * k": "k"},
            "No gain is applied.",
            WHICH_GAIN,
        ),
        edit(
            "no-norm",
            {
                "q = q_gain * q / torch.sqrt("
                "q.square().mean(dim=-1, keepdim=True) + eps)": "q = q_gain * q",
                "k = k_gain * k / torch.sqrt("
                "k.square().mean(dim=-1, keepdim=True) + eps)": "k = k_gain * k",
            },
            "The gains are applied, and nothing is normalized.",
            ONE_VECTOR,
        ),
    ),
    *inside(normed_attention, named(ATTENTION, "no-scale")),
)
MISCONCEPTIONS = {
    "layer_norm": (*FUNCTION, *HALF),
    "LayerNorm": MODULE,
    "map_norm": MAPS,
    "folded": FOLDED,
    "normed_attention": NORMED,
}

# The oracles.


def on_maps(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """LayerNorm over axis 1."""
    return oracle.layer_norm(x.movedim(1, -1), weight, bias, eps).movedim(-1, 1)


def normalized(x: Tensor, get: Get, dim: int, eps: float = oracle.EPS) -> Tensor:
    """LayerNorm."""
    return oracle.layer_norm(x, get("weight"), get("bias"), eps)


# The questions.

SMALL = small([5, 1, 1, 1], [0, 4, 4, 0])
CONSTANT = small([3, 3, 3, 3], [5, 1, 1, 1])
USUAL = ("three axes", "as many tokens as features", "one token")
LARGE = 5.0  # an epsilon above the variances of SMALL
# Their mean and their squares are exact in float32, so that every version rounds alike.
FAR = (small([1, 0, 0, 0], [0, 0, 0, 1]) + 10_000).float()
ONES, ZEROS = small([1, 1, 1, 1])[0], small([0, 0, 0, 0])[0]
GAIN, BIAS = small([2, 1, 1, -1])[0], small([0, 0, 3, 0])[0]


def tokens(seed: int) -> dict[str, Tensor]:
    """Random tokens, of a spread at which epsilon does not matter, with unlike sizes.

    Where two sizes are equal, a wrong version must fail by its numbers, not by its
    shapes.
    """
    normal = Normal(seed)
    three = 10 * normal(2, 5, 7) + 1
    changed = three.clone()
    changed[0, 1] += 10 * normal(7)
    return {
        "three axes": three,
        "one token changed": changed,
        "as many tokens as features": 10 * normal(1, 6, 6),
        "one token": 10 * normal(1, 1, 6) - 2,
        "two axes": 10 * normal(5, 4),
        "four axes": 10 * normal(2, 4, 3, 5) + 1,
        "float32": three.float(),
        "float32 again": three.float(),
    }


def random_cases(seed: int) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """The random tokens, each with a gain and a bias that cannot be left out unseen."""
    normal = Normal(seed + 1000)
    cases, learned = {}, {}
    for name, x in tokens(seed).items():
        dim = x.shape[-1]
        if dim not in learned:
            learned[dim] = 1 + normal(dim) / 2, normal(dim) / 2
        cases[name] = (x, *(t.to(x.dtype) for t in learned[dim]))
    return cases


def function_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict."""
    normal = Normal(seed + 2000)
    cases, eps = random_cases(seed), oracle.EPS
    three = (*cases["three axes"], eps)
    constant = (CONSTANT, GAIN, BIAS, eps)
    half = tuple(x.half() for x in (batch(SMALL), GAIN, BIAS))
    return [
        Question("gain and bias", (SMALL, GAIN, BIAS, eps)),
        Question("small numbers", (SMALL, ONES, ZEROS, eps)),
        Question("small numbers in a batch", (batch(SMALL), ONES, ZEROS, eps)),
        Question("a constant token", constant),
        Question("tiny features", (SMALL / 1000, ONES, ZEROS, eps)),
        Question("a large epsilon", (SMALL, ONES, ZEROS, LARGE)),
        Question("features near 10000", (FAR, ONES.float(), ZEROS.float(), eps)),
        *(Question(name, (*case, eps)) for name, case in cases.items()),
        Question("float16", (*half, eps)),
        Question("a nan", (with_nan(three[0]), *three[1:])),
        Question("gradients", three, cotangent=normal(2, 5, 7)),
        Question("gradients at a constant token", constant, cotangent=normal(2, 4)),
        Question("another device", three, device="meta"),
    ]


def folded_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """What the old layers make of 0, and of each unit vector, tells the new layer."""
    weight, bias, gain, shift = map(double, question.inputs)

    def layers(normalized: Tensor) -> Tensor:
        return torch.einsum("oi,...i->...o", weight, gain * normalized + shift) + bias

    new_bias = layers(torch.zeros_like(gain))  # (D_out,)
    unit = torch.eye(len(gain), device="cpu").double()
    new_weight = (layers(unit) - new_bias).T  # (D_out, D)
    leaves = {"input 0": weight, "input 2": gain}
    return finish(question, leaves, (new_weight, new_bias))


@oracle_of_function
def normed_oracle(
    q: Tensor, k: Tensor, v: Tensor, q_gain: Tensor, k_gain: Tensor, eps: float
) -> Tensor:
    """Directions of length √D_h where ε is nothing, stretched by the gains."""
    q, k = (
        torch.einsum(
            "...d,...->...d", t, (t.pow(2).sum(-1) / t.shape[-1] + eps).rsqrt()
        )
        * gain
        for t, gain in ((q, q_gain), (k, k_gain))
    )
    return oracle.exact(q, k, v)[0]


def folded_questions(seed: int) -> list[Question]:
    """A small layer for messages, random ones for the verdict."""
    normal = Normal(seed)
    wide, square = layer_of(normal, 4, 7), layer_of(normal, 5, 5)
    return [
        Question("small numbers", SMALL_LAYER),
        Question("more features than outputs", wide),
        Question("more outputs than features", layer_of(normal, 6, 3)),
        Question("as many outputs as features", square),
        Question("one output", layer_of(normal, 1, 3)),
        Question("one feature", layer_of(normal, 3, 1)),
        *edges(wide, normal(4, 7)),
    ]


def layer_of(normal: Normal, outputs: int, dim: int) -> tuple[Tensor, ...]:
    """Weight and bias of a linear layer, gain and bias of the LayerNorm before it."""
    return normal(outputs, dim), normal(outputs), 1 + normal(dim) / 2, normal(dim)


SMALL_LAYER = (
    small([1, 2, 0], [0, 1, 3]),
    small([1, 0])[0],
    small([2, 1, -1])[0],
    small([0, 1, 2])[0],
)


def normed_questions(seed: int) -> list[Question]:
    """Two small tokens for messages, random ones for the verdict."""
    normal = Normal(seed)
    # Lengths that differ from token to token, so that they cannot be exchanged.
    q, k, v = (normal(2, 3, 5, 4) * (0.5 + normal(2, 3, 5, 1).abs()) for _ in range(3))
    gains, eps = (1 + normal(4) / 2, 1 + normal(4) / 2), oracle.EPS
    zeros = q.clone()
    zeros[1, 2, 3] = 0
    equal = tuple(normal(4, 4, 4, 4) for _ in range(3))
    return [
        Question("small numbers", (*SMALL_HEAD, eps)),
        Question("tokens", (q, k, v, *gains, eps)),
        Question("all a hundredfold", (100 * q, 100 * k, v, *gains, eps)),
        Question("equal sizes", (*equal, *gains, eps)),
        Question("one token", (*(t[:, :, :1] for t in (q, k, v)), *gains, eps)),
        Question("a large epsilon", (q, k, v, *gains, 0.5)),
        Question("a query of zeros", (zeros, k, v, *gains, eps)),
        Question("a nan", (q, with_nan(k), v, *gains, eps)),
        *edges((q, k, v, *gains, eps), normal(2, 3, 5, 4)),
    ]


SMALL_HEAD = (
    small([30, 40], [50, 0])[None, None],
    small([2, 0], [1, 3])[None, None],
    small([1, 0], [0, 1])[None, None],
    small([1, 1])[0],
    small([1, 1])[0],
)


def map_questions(seed: int) -> list[Question]:
    """Random maps whose sizes differ, and one whose sizes are equal."""
    normal = Normal(seed)
    gain, bias, eps = 1 + normal(5) / 2, normal(5) / 2, oracle.EPS
    # Spreads that differ from place to place, so that they cannot be exchanged.
    maps = normal(2, 5, 3, 4) * (1 + 9 * normal(2, 1, 3, 4).abs()) + 1
    changed = maps.clone()
    changed[0, :, 1, 2] += 10 * normal(5)
    equal = 10 * normal(5, 5, 5, 5) + normal(5, 5, 5)
    constant = maps.clone()
    constant[1, :, 2] = 3
    return [
        Question("maps", (maps, gain, bias, eps)),
        Question("one place changed", (changed, gain, bias, eps)),
        Question("four equal sizes", (equal, gain, bias, eps)),
        Question("one place", (maps[:1, :, :1, :1], gain, bias, eps)),
        Question("tiny features", (maps / 1000, gain, bias, eps)),
        Question("equal features", (constant, gain, bias, eps)),
        Question("a nan", (with_nan(maps), gain, bias, eps)),
        *edges((maps, gain, bias, eps), normal(2, 5, 3, 4)),
        Question(
            "gradients at a constant token",
            (constant, gain, bias, eps),
            cotangent=normal(2, 5, 3, 4),
        ),
    ]


def module_questions(seed: int) -> list[Question]:
    """As for layer_norm, with gain and bias as parameters."""
    normal = Normal(seed + 2000)
    cases, eps = random_cases(seed), {"eps": oracle.EPS}
    only, both = built(ONES, ZEROS, **eps), built(GAIN, BIAS, **eps)
    three, *learned = cases["three axes"]
    as_three = built(*learned, **eps)
    return [
        Question("gain and bias", (SMALL,), **both),
        Question("small numbers", (SMALL,), **only, initial=True),
        Question("small numbers in a batch", (batch(SMALL),), **only),
        Question("a constant token", (CONSTANT,), **both),
        Question("tiny features", (SMALL / 1000,), **only),
        Question("a large epsilon", (SMALL,), **built(ONES, ZEROS, eps=LARGE)),
        Question("no epsilon given", (SMALL / 1000,), **built(ONES, ZEROS)),
        Question("features near 10000", (FAR,), **only),
        *(
            Question(name, (x,), **built(gain, bias, **eps))
            for name, (x, gain, bias) in cases.items()
        ),
        Question("called again", (three,), **as_three, rehearsals=(False,)),
        Question("in training", (three,), **as_three, training=True),
        Question("a nan", (with_nan(three),), **as_three),
        Question("float16", (batch(SMALL).half(),), **both),
        Question("gradients", (three,), **as_three, cotangent=normal(2, 5, 7)),
        Question(
            "gradients at a constant token",
            (CONSTANT,),
            **both,
            cotangent=normal(2, 4),
        ),
        Question("another device", (three,), **as_three, device="meta"),
    ]


def built(gain: Tensor, bias: Tensor, **eps: float) -> dict[str, dict]:
    """What LayerNorm is built with, and what it has learned."""
    return {
        "arguments": {"dim": len(gain), **eps},
        "parameters": {"weight": gain, "bias": bias},
    }


# The properties that are layer normalization's own.


@holds(
    "each token stands alone",
    "Which numbers share one mean and one variance?",
    core=True,
)
def tokens_stand_alone(trials: Trials) -> None:
    """When one token changes, the others keep their outputs."""
    before, after = trials["three axes"].output, trials["one token changed"].output
    moved = (before.double() - after.double()).abs().amax(-1) > 1e-4
    moved[0, 1] = False
    if moved.any():
        text = "Of 2 images with 5 tokens each, one token changed. The outputs of "
        text += f"{int(moved.sum())} other tokens changed too"
        if moved[1].any():
            raise Fails(f"{text}, also in the other image.", "images-mixed")
        raise Fails(f"{text}.", "tokens-mixed")


@holds("any number of axes may stand in front", FROM_THE_END, core=True)
def counts_from_the_end(trials: Trials) -> None:
    """Three axes are no more right than two."""
    for name in ("two axes", "four axes"):
        problem = trials[name].problem()
        if problem and trials["three axes"].right():
            text = f"Three axes work, {name} do not. {problem.text}"
            raise Fails(text, "three-axes-assumed")


def values_of(trial: Trial) -> tuple:
    """x, gain, bias and epsilon of a question, put to the function or to the module."""
    asked = trial.question
    if not asked.parameters:
        return asked.inputs
    eps = asked.arguments.get("eps", oracle.EPS)
    return (*asked.inputs, *asked.parameters.values(), eps)


@each(
    "the numbers agree with the definition in float64",
    (*USUAL, "small numbers", "gain and bias"),
    "Which step of the equation does something else in your code?",
    core=True,
)
def agrees_with_definition(trial: Trial) -> None:
    """What differs is looked for step by step."""
    if trial.right():
        return
    trial.require_no_rounding()
    for wrong in FUNCTION:
        x, *others = values_of(trial)
        with suppress(RuntimeError, IndexError):  # the sizes do not fit
            if close(trial.output, wrong.wrong(x.clone(), *others)):
                raise Fails.like(wrong)
    require_steps(trial)
    require_gain_and_bias(trial)
    trial.require_right()


def steps_of(normalized: Tensor, x: Tensor) -> tuple[Tensor, Tensor] | None:
    """What was subtracted from each token, and by what it was divided, each (..., 1).

    None if no two such numbers make the normalized tokens of x.
    """
    mean, level = x.mean(-1, keepdim=True), normalized.mean(-1, keepdim=True)
    deviations = x - mean
    factor = (normalized * deviations).sum(-1, keepdim=True)
    factor = factor / deviations.square().sum(-1, keepdim=True)
    if not close(factor * deviations + level, normalized):
        return None
    return mean - level / factor, 1 / factor


def require_steps(trial: Trial) -> None:
    """Fails if another mean is subtracted, or another deviation divides."""
    x, gain, bias, _ = values_of(trial)
    normalized = (trial.output.double() - bias) / gain
    if close(normalized, 0 * normalized):
        ask = "What is left of the differences between the features?"
        raise Fails("Every token comes out as the bias alone.", "token-lost", ask)
    steps = steps_of(normalized, x.double())
    if not steps:
        return
    right = x.double().mean(-1, True), x.double().std(-1, correction=0, keepdim=True)
    limit = tolerance_of(trial.output)
    wrong = [
        ~torch.isclose(a, b, limit, limit) for a, b in zip(steps, right, strict=True)
    ]
    if not (wrong[0] | wrong[1]).any():
        return
    token = int((wrong[0] | wrong[1]).flatten().nonzero()[0])
    shift, divisor, mean, deviation = (
        shown(found.flatten()[token]) for found in (*steps, *right)
    )
    text = (
        f"From token {token}, {shift} is subtracted, and what is left is divided by "
        f"{divisor}. Its mean is {mean}, and its standard deviation {deviation}."
    )
    raise Fails(text, "wrong-mean" if wrong[0].any() else "wrong-divisor")


def shown(value: Tensor) -> str:
    """A number for a message, without the dust of rounding."""
    return f"{round(float(value), 6) + 0.0:.4g}"


def require_gain_and_bias(trial: Trial) -> None:
    """Fails if a feature is multiplied by another gain, or gets another bias."""
    _, *right, _ = values_of(trial)
    normalized = ((trial.expected[0] - right[1]) / right[0]).flatten(0, -2)
    output = trial.output.double().flatten(0, -2)
    centred = normalized - normalized.mean(0)
    gain = (output * centred).sum(0) / centred.square().sum(0)
    bias = output.mean(0) - gain * normalized.mean(0)
    if len(output) < 2 or not close(gain * normalized + bias, output):
        return
    wrong = [~torch.isclose(a, b) for a, b in zip((gain, bias), right, strict=True)]
    feature = int((wrong[0] | wrong[1]).nonzero()[0])
    found = [shown(values[feature]) for values in (gain, bias, *right)]
    text = (
        f"Feature {feature} is multiplied by {found[0]}, and {found[1]} is added. Its "
        f"gain is {found[2]}, and its bias {found[3]}."
    )
    raise Fails(text, "wrong-gain" if wrong[0].any() else "wrong-bias")


def uses_epsilon(ignored: str) -> Property:
    """Epsilon is added to the variance, and it is the one that was given.

    ignored: the misconception behind an answer that always takes the same.
    """

    @holds(
        "epsilon is added to the variance",
        "To what is epsilon added, and from where does it come?",
    )
    def test(trials: Trials) -> None:
        one, other = trials["small numbers"], trials["a large epsilon"]
        if one.right() and not other.right() and close(one.output, other.output):
            text = f"It gives the same for eps = 1e-06 and for eps = {LARGE:g}."
            raise Fails(text, ignored)
        for trial in (other, trials["tiny features"]):
            if not trials["three axes"].right():
                trial.require_right()
            x, *_, eps = values_of(trial)
            variance, text = x[0].var(correction=0), ""
            steps = steps_of(trial.output, x)
            if steps and not torch.isclose(steps[1][0, 0] ** 2, variance + eps):
                text = (
                    f"With eps = {eps:g}, token 0 is divided by {steps[1][0, 0]:.4g}. "
                    f"Its variance is {variance:.4g}."
                )
            trial.require_right(text, "epsilon-misplaced")

    return test


@holds(
    "epsilon is 1e-6 unless another is given",
    "Whose default do you know by heart: PyTorch's, or that of ViT?",
)
def default_is_that_of_vit(trials: Trials) -> None:
    """Without eps the layer does as with 1e-6."""
    trial = trials["no epsilon given"]
    if "TypeError" in trial.reply.errors:
        text = f"Built without an epsilon it stops. {trial.reply.problem.text}"
        ask = "What shall hold if nobody says which epsilon?"
        raise Fails(text, "no-default-epsilon", ask)
    if trial.outputs and not trial.right() and trials["tiny features"].right():
        raise shows(MODULE, "other-default-epsilon")


@holds(
    "gain and bias are learned",
    "Where and when are tensors made, so that a module knows and trains them?",
    core=True,
)
def has_gain_and_bias(trials: Trials) -> None:
    """They are parameters, one number for each feature."""
    trial = trials["small numbers"]
    if trial.reply.problem:
        raise Fails.because(trial.problem())
    if trial.reply.parameters:
        require_parameters(trial)
        more = ", ".join(trial.reply.parameters.keys() - {"weight", "bias"})
        if more:
            raise Fails(f"It learns {more}, too.", "more-learned", "What is learned?")
        return
    try:
        KEEPS_DEVICE.test(trials)
    except Fails:
        raise shows(MODULE, "plain-tensors") from None
    raise Fails("It has no parameters: nothing is learned.", "nothing-learned")


@holds(
    "gain and bias are used",
    "Which line of `forward` uses what `__init__` made?",
    core=True,
)
def uses_gain_and_bias(trials: Trials) -> None:
    """Other gains and biases give another output."""
    plain, learned = trials["small numbers"].output, trials["gain and bias"].output
    if close(learned, plain):
        raise shows(MODULE, "gain-and-bias-unused")
    if close(learned, plain + BIAS):
        raise shows(MODULE, "gain-forgotten")


@holds(
    "training and evaluation give the same",
    "Which of your lines depends on the mode, or on earlier calls?",
    core=True,
)
def same_in_training(trials: Trials) -> None:
    """Training mode changes nothing."""
    trial = trials["in training"]
    if trials["three axes"].right() and not trial.right():
        dropped = (trial.output == 0).any()
        text = "It is right in evaluation. In training mode it returns something else."
        raise Fails(text, "unasked-dropout" if dropped else "differs-in-training")


@each("a new layer only normalizes", ("small numbers",), START)
def only_normalizes_when_new(trial: Trial) -> None:
    """The gain starts as 1 and the bias as 0."""
    initial = trial.reply.initial
    if not {"weight", "bias"} <= initial.keys():
        return  # has_gain_and_bias says so
    gain, bias = initial["weight"], initial["bias"]
    if not gain.shape == bias.shape == trial.question.parameters["weight"].shape:
        # Forged: it could not be filled.
        raise Fails("In a new layer the gain has another shape.", "other-start")
    if (gain == 1).all() and (bias == 0).all():
        return
    for start in named(BUILT_WRONG, "gain-starts-at-zero", "starts-swapped"):
        right = start.wrong(len(gain))
        if torch.equal(gain, right.weight) and torch.equal(bias, right.bias):
            raise shows(MODULE, start.name)
    name, values = ("gain", gain) if (gain != 1).any() else ("bias", bias)
    numbers = ", ".join(f"{value:.3g}" for value in values.tolist())
    raise Fails(f"In a new layer the {name} is [{numbers}].", "other-start")


SHAPES = returns_right_shapes(
    "the shape (..., D) comes back",
    *("small numbers", "three axes"),
    ask="Which of your lines changes the shape?",
)
CORE = (tokens_stand_alone, agrees_with_definition)
OWN_EDGES = (
    stays_finite(
        "a constant token becomes its bias",
        "a constant token",
        "By what do you divide if all features of a token are equal?",
    ),
    agrees(
        "a large mean does no harm",
        "features near 10000",
        ask="Which two large numbers are subtracted in your code?",
    ),
    agrees(
        "two, three or four axes work",
        *("two axes", "three axes", "four axes"),
        ask=FROM_THE_END,
    ),
    PASSES_NAN_ON,
    *(edge for edge in EDGES if edge is not KEEPS_DTYPE),
    keeps_dtype(
        "float16, float32 and float64 are kept", *("float16", "float32", "gradients")
    ),
    each(
        "the gradient of a constant token is finite",
        ("gradients at a constant token",),
        "What is the slope of a square root at 0?",
    )(require_gradients),
)
RUNS = runs(
    "tokens are normalized",
    *("small numbers", "three axes"),
    ask="Which shape has each tensor in the line that stopped, and which did you want?",
)
FUNCTION_PROPERTIES = (
    REPEATS,
    counts_from_the_end,
    RUNS,
    SHAPES,
    *CORE,
    uses_epsilon("epsilon-ignored"),
    *OWN_EDGES,
)
MODULE_PROPERTIES = (
    REPEATS,
    counts_from_the_end,
    RUNS,
    has_gain_and_bias,
    SHAPES,
    uses_gain_and_bias,
    *CORE,
    same_in_training,
    only_normalizes_when_new,
    uses_epsilon("epsilon-not-kept"),
    default_is_that_of_vit,
    KEEPS_NO_STATE,
    *OWN_EDGES,
)


def given(trial: Trial) -> str:
    """The small layer, for a message; '' where it is another."""
    if trial.question.name != "small numbers":
        return ""
    names = ("weight", "bias", "gain", "shift")
    pairs = zip(names, trial.question.inputs, strict=True)
    return f"With {', '.join(f'{n} = {as_python(x)}' for n, x in pairs)}:\n"


@each(
    "a normalized token of zeros comes out the same",
    ("small numbers", "more features than outputs"),
    "Let x̂ be 0. What comes out of the old layers, and what of the new ones?",
    core=True,
)
def zeros_come_out_the_same(trial: Trial) -> None:
    """There nothing but the bias is left."""
    bias, expected = trial.outputs[1].double(), trial.expected[1]
    if not close(bias, expected):
        place = int((bias - expected).abs().argmax())
        raise Fails(
            f"{given(trial)}Where x̂ is 0, output {place} was {shown(expected[place])}. "
            f"With the new layers it is {shown(bias[place])}."
        )


@each(
    "every feature has the effect that it had",
    ("small numbers", "more features than outputs"),
    "If feature i of x̂ grows by 1, by how much does output o grow before and after?",
    core=True,
)
def features_act_as_before(trial: Trial) -> None:
    """An output grows with a feature by one entry of the weight."""
    weight, expected = trial.output.double(), trial.expected[0]
    if not close(weight, expected):
        place = int((weight - expected).abs().argmax())
        output, feature = divmod(place, weight.shape[1])
        raise Fails(
            f"{given(trial)}If feature {feature} of x̂ grew by 1, output {output} grew "
            f"by {shown(expected[output, feature])}. With the new layers it grows by "
            f"{shown(weight[output, feature])}."
        )


FOLDED_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "a weight (D_out, D) and a bias (D_out,) come back",
        *("small numbers", "more features than outputs", "more outputs than features"),
        ask="Which of your lines changes a shape?",
    ),
    zeros_come_out_the_same,
    features_act_as_before,
    agrees(
        "old and new layers agree",
        *("more features than outputs", "more outputs than features"),
        *("as many outputs as features", "one output", "one feature"),
        ask="Write γx̂ + β in place of x in the equation of the linear layer. Which "
        "terms hold x̂, and which do not?",
        core=True,
    ),
    *EDGES,
)


@holds(
    "large queries and keys make no larger scores",
    "What is left of the length of a query after an RMSNorm?",
    core=True,
)
def scores_stay_small(trials: Trials) -> None:
    """Queries and keys that are a hundred times as large change nothing.

    Epsilon does change something where a random query or key is very short.
    """
    before, after = (
        trials[name].output.double() for name in ("tokens", "all a hundredfold")
    )
    if not close(after, before, 1e-2):
        most = float((after - before).abs().max())
        text = (
            "Queries and keys became a hundred times as large, and the output changes"
        )
        raise Fails(f"{text} by up to {most:.2g}.")


NORMED_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "output (B, h, N, D_h) comes back",
        *("tokens", "small numbers"),
        ask="Which of your lines changes the shape?",
    ),
    scores_stay_small,
    as_defined(
        *("small numbers", "tokens", "equal sizes", "one token"),
        ask="What is normalized, over which numbers, and what comes after it?",
    ),
    agrees(
        "epsilon is added to the mean square",
        "a large epsilon",
        ask="To what is epsilon added, and from where does it come?",
    ),
    stays_finite(
        "a query of zeros does no harm",
        "a query of zeros",
        "By what do you divide if all features of a query are 0?",
    ),
    PASSES_NAN_ON,
    *EDGES,
)

MAP_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "the shape (B, D, H, W) comes back",
        *("maps", "one place"),
        ask="Which of your lines changes the shape?",
    ),
    agrees(
        "each place is normalized over its own features",
        *("maps", "one place changed", "four equal sizes"),
        ask=ONE_PLACE,
        core=True,
    ),
    agrees("one place works", "one place", ask=ONE_PLACE),
    agrees(
        "epsilon is added to the variance",
        "tiny features",
        ask="To what is epsilon added?",
    ),
    stays_finite(
        "a place of equal features becomes the bias",
        "equal features",
        "By what do you divide if all features of a place are equal?",
    ),
    PASSES_NAN_ON,
    *EDGES,
    each(
        "the gradient at equal features is finite",
        ("gradients at a constant token",),
        "What is the slope of a square root at 0?",
    )(require_gradients),
)

# The tasks.

# The other norms do the same on tokens that stand in another shape.
BUILT_INS = ("layer_norm", "group_norm", "instance_norm", "batch_norm")
SHOWN = (
    "small numbers",
    "gain and bias",
    "small numbers in a batch",
    "a constant token",
    "tiny features",
    "a large epsilon",
    "no epsilon given",
    "features near 10000",
)
WRITE_FUNCTION = Implement(
    form=Form(
        outputs=("output",),
        builtins=BUILT_INS,
        reference=(layer_norm, oracle.layer_norm),
    ),
    ask_about=function_questions,
    oracle=oracle_of_function(oracle.layer_norm),
    properties=FUNCTION_PROPERTIES,
    misconceptions=FUNCTION,
    show=Show(
        tuple(name for name in SHOWN if name != "no epsilon given"),
        axes={"output": ("token", "feature")},
    ),
)
WRITE_MODULE = Implement(
    form=Form(
        outputs=("output",),
        is_class=True,
        builtins=BUILT_INS,
        reference=(LayerNorm, oracle.layer_norm),
    ),
    ask_about=module_questions,
    oracle=oracle_of(normalized),
    properties=MODULE_PROPERTIES,
    misconceptions=(*BEHAVIOUR, *INSIDE),
    show=Show(
        SHOWN, axes={"output": ("token", "feature")}, parameters=("weight", "bias")
    ),
)
TEST_EPSILON = BreakIt(
    right={
        "the course's own": layer_norm,
        "one that rounds in another order": oracle.layer_norm,
    },
    wrong=named(
        FUNCTION,
        *("epsilon-outside-root", "epsilon-subtracted"),
        *("no-epsilon", "epsilon-ignored"),
    ),
    ask="What must come out for your token and your ε? Does your test ask for that?",
)
REPAIR_MAPS = Implement(
    form=Form(
        outputs=("output",),
        builtins=BUILT_INS,
        reference=(layer_norm, map_norm, oracle.layer_norm),
    ),
    ask_about=map_questions,
    oracle=oracle_of_function(on_maps),
    properties=MAP_PROPERTIES,
    misconceptions=MAPS,
    bug=named(MAPS, "variance-over-image")[0],
)
FOLD = Implement(
    form=Form(outputs=("weight", "bias"), reference=(folded,)),
    ask_about=folded_questions,
    oracle=folded_oracle,
    properties=FOLDED_PROPERTIES,
    misconceptions=FOLDED,
    show=Show(("small numbers",), axes={"weight": ("output", "feature")}),
)
NORM_QUERIES_AND_KEYS = Implement(
    form=Form(outputs=("output",), reference=(normed_attention,)),
    ask_about=normed_questions,
    oracle=normed_oracle,
    properties=NORMED_PROPERTIES,
    misconceptions=NORMED,
    show=Show(("small numbers",), axes={"output": ("token", "feature")}),
)

TASKS = {
    "layer_norm": WRITE_FUNCTION,
    "LayerNorm": WRITE_MODULE,
    "epsilon": TEST_EPSILON,
    "find_the_bug": REPAIR_MAPS,
    "folded": FOLD,
    "normed_attention": NORM_QUERIES_AND_KEYS,
}
