"""Layer normalization: what people get wrong, what must hold, and the tasks."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from vit_encoder.arguments import require_features
from vit_encoder.check import oracle
from vit_encoder.check.adapter import Form, Problem, Question
from vit_encoder.check.judge import (
    Property,
    Show,
    Trials,
    agrees,
    close,
    has_parameters,
    keeps_device,
    keeps_dtype,
    returns_right_shapes,
    same_gradients,
    stays_finite,
)
from vit_encoder.check.misconceptions import Misconception, against
from vit_encoder.check.oracle import Get, oracle_of
from vit_encoder.check.properties import (
    GRADIENTS,
    KEEPS_DEVICE,
    KEEPS_DIGITS,
    KEEPS_INPUTS,
    REPEATS,
)
from vit_encoder.check.questions import Normal, batch, double, finish, small
from vit_encoder.check.tasks import BreakIt, Choose, Implement, PredictNumbers, Wrong
from vit_encoder.layer_norm import LayerNorm, layer_norm

# Misconceptions of layer_norm. Each is the course's version with one visible change.

GITHUB = "https://github.com/"
OURS = "constructed for this course"
ARTICLE = "the Japanese article that this course grew out of"
wrong_layer_norm = against(layer_norm)


@wrong_layer_norm(
    seen="Every output is too small by the factor √((D − 1)/D): a lot for a narrow "
    "token, next to nothing for a wide one.",
    ask="Are the D features a sample from a larger set, or all there are?",
    source=GITHUB + "codertimo/BERT-pytorch/issues/30",
)
def unbiased_variance(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = wide.var(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="A token of usual size comes out right. One with a tiny spread comes out too "
    "large, and the gradient of a constant token is nan.",
    ask="What is the slope of a square root at 0?",
    source=GITHUB + "pyg-team/pytorch_geometric/pull/2917",
)
def epsilon_outside_root(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / (torch.sqrt(variance) + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="The larger the spread of a token, the smaller that of its output.",
    ask="If x is a length in metres, what is the unit of its variance?",
    source=ARTICLE,
)
def divided_by_variance(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / (variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="A root is taken twice, and epsilon is subtracted: the output keeps part of "
    "the input's scale, and a constant token gives nan.",
    ask="What is under the root if all features of a token are equal?",
    source=ARTICLE,
)
def root_of_deviation_minus_epsilon(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    deviation = (wide - mean).square().mean(dim=-1, keepdim=True).sqrt()
    normalised = (wide - mean) / torch.sqrt(deviation - eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="A root is taken twice: the output keeps part of the input's scale.",
    ask="Which of σ and σ² stands under the root?",
    source=GITHUB + "hyunwoongko/transformer/issues/7",
)
def root_of_deviation(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    deviation = (wide - mean).square().mean(dim=-1, keepdim=True).sqrt()
    normalised = (wide - mean) / torch.sqrt(deviation + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="A token of usual size comes out right. A constant token gives nan.",
    ask="Which sign keeps the number under the root above 0 for every token?",
    source=ARTICLE,
)
def epsilon_subtracted(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance - eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="A constant token gives nan: 0 is divided by 0.",
    ask="What keeps the divisor above 0 if all features of a token are equal?",
    source=GITHUB + "torchcvnn/torchcvnn/issues/32",
)
def no_epsilon(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="The deviations are divided by the square of the variance, not by its root.",
    ask="Which power takes a variance back to the unit of the features?",
    source=GITHUB + "131250208/TPlinker-joint-extraction/issues/37",
)
def squared_instead_of_root(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / (variance + eps) ** 2
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="The mean runs over the tokens: when one token changes, others change too.",
    ask="Which axis holds the numbers of one single token?",
    source=GITHUB + "jadore801120/attention-is-all-you-need-pytorch/pull/17",
)
def statistics_over_tokens(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-2, keepdim=True)
    variance = (wide - mean).square().mean(dim=-2, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="All tokens of an image share one mean: when one token changes, all others "
    "change too.",
    ask="May the mean of token 3 depend on token 7?",
    source=GITHUB + "karpathy/minGPT/issues/113",
)
def statistics_over_image(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=(-2, -1), keepdim=True)
    variance = (wide - mean).square().mean(dim=(-2, -1), keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="The mean runs over the first axis: when one image changes, others do too.",
    ask="Should an image's output depend on which others are in its batch?",
    source=OURS,
)
def statistics_over_images(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=0, keepdim=True)
    variance = (wide - mean).square().mean(dim=0, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="The mean stays in: adding one number to all features changes the output.",
    ask="What is left of x if all its features are equal?",
    source=OURS,
)
def mean_not_subtracted(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    normalised = wide / torch.sqrt(wide.square().mean(dim=-1, keepdim=True) + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="With a large mean the variance is lost in rounding: it may come out as 0 or "
    "below.",
    ask="What is left of the digits when two large, nearly equal numbers are "
    "subtracted?",
    source=GITHUB + "pytorch/pytorch/issues/51102",
)
def one_pass_variance(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = wide.square().mean(dim=-1, keepdim=True) - mean.square()
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="In float16 the squares of numbers above 255 are inf, and the output is 0.",
    ask="What is the largest number that float16 can hold, and what is its root?",
    source=GITHUB + "microsoft/onnxruntime/issues/17692",
)
def squares_in_float16(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="The bias multiplies where it should be added: with bias 0 all outputs are 0.",
    ask="What do gain 1 and bias 0 leave of a normalised token?",
    source=ARTICLE,
)
def bias_multiplied(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight * normalised * bias).to(x.dtype)


@wrong_layer_norm(
    seen="Gain and bias have no effect; a test with gain 1 and bias 0 cannot see it.",
    ask="Which values must gain and bias have, so that a test notices them?",
    source=OURS,
)
def no_gain_and_bias(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return normalised.to(x.dtype)


@wrong_layer_norm(
    seen="The tensor that the caller passed in has lost its mean.",
    ask="Who else holds this tensor, and still needs it?",
    source=OURS,
)
def input_overwritten(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    wide -= wide.mean(dim=-1, keepdim=True)
    variance = wide.square().mean(dim=-1, keepdim=True)
    normalised = wide / torch.sqrt(variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="The value of eps has no effect: another one gives the same output.",
    ask="Who chooses epsilon: the one who writes the function, or the one who calls "
    "it?",
    source=GITHUB + "keras-team/keras-hub/issues/642",
)
def epsilon_ignored(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + 1e-5)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="The wider a token, the wider its output: the deviations are multiplied by σ.",
    ask="Shall a wide token become wider, or as wide as all others?",
    source=OURS,
)
def multiplied_by_deviation(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) * torch.sqrt(variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="A normalised token has length 1, whatever D is.",
    ask="By how many is a sum divided to become a mean?",
    source=OURS,
)
def squares_not_averaged(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().sum(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="The mean is gone, but each token keeps its own spread.",
    ask="What should be equal for all tokens beside the mean?",
    source=OURS,
)
def spread_kept(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    normalised = wide - mean
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="The mean stays in: it is used for the variance, but not subtracted from the "
    "features.",
    ask="What is the mean of a normalised token?",
    source=OURS,
)
def mean_kept(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = wide / torch.sqrt(variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="The mean is of one token, but the variance is of all tokens of an image.",
    ask="Which numbers say how far the features of one token spread?",
    source=OURS,
)
def variance_over_image(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=(-2, -1), keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="One mean and one variance serve all tokens of all images.",
    ask="May the mean of one image depend on another image?",
    source=OURS,
)
def statistics_over_everything(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean()
    variance = (wide - mean).square().mean()
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="Each feature has one mean, from all tokens of all images. That is BatchNorm.",
    ask="In which direction do you average: along a token, or across tokens?",
    source=GITHUB + "GokuMohandas/fast-weights/issues/9",
)
def statistics_of_features(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    axes = tuple(range(x.ndim - 1))
    mean = wide.mean(dim=axes, keepdim=True)
    variance = (wide - mean).square().mean(dim=axes, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="The means have lost an axis. The sizes do not fit, or fit by chance: then "
    "the mean of token 3 is subtracted from feature 3.",
    ask="Which shape does the mean of (B, N, D) have, and how is it stretched to (B, "
    "N, D)?",
    source=GITHUB + "jadore801120/attention-is-all-you-need-pytorch/pull/17",
)
def axis_of_mean_lost(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1)
    variance = wide.var(dim=-1, correction=0)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight * normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="The gain is added where it should multiply.",
    ask="Which of gain and bias stretches, and which shifts?",
    source=OURS,
)
def gain_added(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight + normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="Gain and bias have changed places: with gain 1 and bias 0 every output is 1.",
    ask="Which of gain and bias stretches, and which shifts?",
    source=OURS,
)
def gain_and_bias_swapped(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (bias * normalised + weight).to(x.dtype)


@wrong_layer_norm(
    seen="The gain has no effect.",
    ask="What makes a feature weigh more than others after the norm?",
    source=OURS,
)
def gain_forgotten(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="The bias has no effect.",
    ask="How can a feature have another mean than 0 after the norm?",
    source=OURS,
)
def bias_forgotten(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight * normalised).to(x.dtype)


@wrong_layer_norm(
    seen="The gain stretches the bias too.",
    ask="Which of the two comes first: to stretch, or to shift?",
    source=OURS,
)
def bias_stretched(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight * (normalised + bias)).to(x.dtype)


@wrong_layer_norm(
    seen="The gain multiplies before the norm, so a gain that is the same for all "
    "features has no effect.",
    ask="What does the norm do to a token that was stretched before?",
    source=OURS,
)
def gain_before_norm(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    wide = weight * wide
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (normalised + bias).to(x.dtype)


@wrong_layer_norm(
    seen="Gain and bias belong to tokens, not to features: the sizes do not fit, or "
    "fit by chance.",
    ask="What shares one gain: the features of a token, or the tokens in a feature?",
    source=OURS,
)
def gain_of_tokens(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide - mean).square().mean(dim=-1, keepdim=True)
    normalised = (wide - mean) / torch.sqrt(variance + eps)
    return (weight[:, None] * normalised + bias[:, None]).to(x.dtype)


@wrong_layer_norm(
    seen="Two things at once: the outputs are too small by the factor √((D − 1)/D), "
    "and epsilon stands outside the root.",
    ask="What does `std` divide by, and to what is epsilon added in the equation?",
    source=GITHUB + "harvardnlp/annotated-transformer/issues/122",
)
def unbiased_and_outside(x, weight, bias, eps):
    require_features(x, len(weight))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.mean(dim=-1, keepdim=True)
    deviation = wide.std(dim=-1, keepdim=True)
    normalised = (wide - mean) / (deviation + eps)
    return (weight * normalised + bias).to(x.dtype)


FUNCTION = (
    unbiased_variance,
    epsilon_outside_root,
    unbiased_and_outside,
    divided_by_variance,
    root_of_deviation_minus_epsilon,
    root_of_deviation,
    epsilon_subtracted,
    no_epsilon,
    epsilon_ignored,
    squared_instead_of_root,
    multiplied_by_deviation,
    squares_not_averaged,
    spread_kept,
    mean_not_subtracted,
    mean_kept,
    statistics_over_tokens,
    statistics_over_image,
    statistics_over_images,
    statistics_over_everything,
    statistics_of_features,
    variance_over_image,
    axis_of_mean_lost,
    one_pass_variance,
    gain_added,
    bias_multiplied,
    gain_and_bias_swapped,
    gain_forgotten,
    bias_forgotten,
    no_gain_and_bias,
    bias_stretched,
    gain_before_norm,
    gain_of_tokens,
    input_overwritten,
)

# Misconceptions of LayerNorm.

wrong_module = against(LayerNorm)


@wrong_module(
    seen="In training the output of one image depends on the other images; after "
    "training, on averages that were kept.",
    ask="Should an image's output depend on which others are in its batch?",
    source=OURS,
)
class BatchNormInstead(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("statistics", torch.stack([self.weight, self.bias]).data)

    def forward(self, x):
        variance, mean = self.statistics
        if self.training:
            variance, mean = torch.var_mean(x.flatten(0, -2), 0, correction=0)
            self.statistics.lerp_(torch.stack([variance, mean]).detach(), 0.1)
        normalised = (x - mean) / torch.sqrt(variance + self.eps)
        return self.weight * normalised + self.bias


@wrong_module(
    seen="There is one gain and one bias for all features, not one for each.",
    ask="How many features shall be able to go up while others go down?",
    source=OURS,
)
class ScalarGain(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        weight, bias = (p.expand(x.shape[-1]) for p in (self.weight, self.bias))
        return layer_norm(x, weight, bias, self.eps)


@wrong_module(
    seen="Gain and bias are not those of the layer: whatever it has learned, gain 1 "
    "and bias 0 are used.",
    ask="Which line of `forward` uses what `__init__` made?",
    source=OURS,
)
class GainAndBiasUnused(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        weight, bias = x.new_ones(x.shape[-1]), x.new_zeros(x.shape[-1])
        return layer_norm(x, weight, bias, self.eps)


@wrong_module(
    seen="The layer always uses the same epsilon, whatever it was built with.",
    ask="Where does the number go that the layer was built with?",
    source=GITHUB + "keras-team/keras-hub/issues/642",
)
class EpsilonNotKept(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return layer_norm(x, self.weight, self.bias, 1e-5)


@wrong_module(
    seen="Built without an epsilon, the layer takes another one than 1e-6.",
    ask="Whose default do you know by heart: PyTorch's, or that of ViT?",
    source=GITHUB + "keras-team/keras-hub/issues/642",
)
class OtherDefaultEpsilon(nn.Module):
    def __init__(self, dim, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return layer_norm(x, self.weight, self.bias, self.eps)


@wrong_module(
    seen="The gain starts at 0: every token comes out as the bias, 0.",
    ask="What must gain and bias be so that a new layer only normalises?",
    source=GITHUB + "ecmwf/anemoi-core/issues/633",
)
class GainStartsAtZero(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return layer_norm(x, self.weight, self.bias, self.eps)


@wrong_module(
    seen="Gain and bias have changed places at the start: a new layer gives 1 for "
    "every feature.",
    ask="What must gain and bias be so that a new layer only normalises?",
    source=GITHUB + "google/objax/pull/94",
)
class StartsSwapped(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return layer_norm(x, self.weight, self.bias, self.eps)


@wrong_module(
    seen="Gain and bias are plain tensors: no optimizer meets them, and `.to` and "
    "`.double` leave them where they are.",
    ask="How does a module know which of its tensors are to be trained?",
    source=GITHUB + "harvard-edge/cs249r_book/pull/1504",
)
class PlainTensors(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.weight = torch.ones(dim)
        self.bias = torch.zeros(dim)

    def forward(self, x):
        return layer_norm(x, self.weight, self.bias, self.eps)


BEHAVIOUR = (BatchNormInstead, ScalarGain, EpsilonNotKept)
# What these compute does not tell them apart from others: a property sees them.
BUILT_WRONG = (
    GainAndBiasUnused,
    OtherDefaultEpsilon,
    GainStartsAtZero,
    StartsSwapped,
    PlainTensors,
)


def inside(misconception: Misconception) -> Misconception:
    """A misconception of layer_norm as it shows in LayerNorm."""

    class WrongInside(LayerNorm):
        def forward(self, x):
            return misconception.wrong(x, self.weight, self.bias, self.eps)

    return replace(misconception, wrong=WrongInside, right=LayerNorm)


# Those that show in a module. Three others have a counterpart, or a property sees them.
SEEN_OTHERWISE = (no_gain_and_bias, gain_forgotten, epsilon_ignored)
INSIDE = tuple(m for m in FUNCTION if m not in SEEN_OTHERWISE)
MISCONCEPTIONS = {
    "layer_norm": (*FUNCTION, squares_in_float16),
    "LayerNorm": (*BEHAVIOUR, *BUILT_WRONG),
}

# The oracles.


def function_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """The output and gradients of layer_norm in float64."""
    *tensors, eps = question.inputs
    leaves = {f"input {i}": double(x) for i, x in enumerate(tensors)}
    return finish(question, leaves, (oracle.layer_norm(*leaves.values(), eps),))


def normalised(x: Tensor, get: Get, dim: int, eps: float = oracle.EPS) -> Tensor:
    """LayerNorm."""
    return oracle.layer_norm(x, get("weight"), get("bias"), eps)


# The questions.

SMALL = small([5, 1, 1, 1], [0, 4, 4, 0])
CONSTANT = small([3, 3, 3, 3], [5, 1, 1, 1])
# Their mean and their squares are exact in float32, so that every version rounds alike.
FAR = (small([1, 0, 0, 0], [0, 0, 0, 1]) + 10_000).float()
ONES, ZEROS = small([1, 1, 1, 1])[0], small([0, 0, 0, 0])[0]
GAIN, BIAS = small([2, 1, 1, -1])[0], small([0, 0, 3, 0])[0]


def tokens(seed: int) -> dict[str, Tensor]:
    """Random tokens, wide enough for epsilon not to matter, with unlike sizes.

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
        Question("a large epsilon", (SMALL, ONES, ZEROS, 0.5)),
        Question("features near 10000", (FAR, ONES.float(), ZEROS.float(), eps)),
        *(Question(name, (*case, eps)) for name, case in cases.items()),
        Question("float16", (*half, eps)),
        Question("gradients", three, cotangent=normal(2, 5, 7)),
        Question("gradients at a constant token", constant, cotangent=normal(2, 4)),
        Question("another device", three, device="meta"),
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
        Question("a large epsilon", (SMALL,), **built(ONES, ZEROS, eps=0.5)),
        Question("no epsilon given", (SMALL / 1000,), **built(ONES, ZEROS)),
        Question("features near 10000", (FAR,), **only),
        *(
            Question(name, (x,), **built(gain, bias, **eps))
            for name, (x, gain, bias) in cases.items()
        ),
        Question("in training", (three,), **as_three, training=True),
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


def tokens_stand_alone(trials: Trials) -> Problem | None:
    """When one token changes, the others keep their outputs."""
    before, after = trials["three axes"], trials["one token changed"]
    if before.problem() or after.problem():
        return before.problem() or after.problem()
    outputs = [trial.reply.outputs[0].double() for trial in (before, after)]
    moved = (outputs[0] - outputs[1]).abs().amax(-1) > 1e-4
    moved[0, 1] = False
    if not moved.any():
        return None
    text = (
        "Of 2 images with 5 tokens each, one token changed. The outputs of "
        f"{int(moved.sum())} other tokens changed too."
    )
    return Problem("", text)


def uses_epsilon(name: str) -> Callable[[Trials], Problem | None]:
    """Epsilon is added to the variance, and it is the one that was given.

    name: of the misconception behind an answer that always takes the same.
    """

    def test(trials: Trials) -> Problem | None:
        one, other = trials["small numbers"], trials["a large epsilon"]
        if one.right() and not other.problem() and not other.right():
            pair = one.reply.outputs[0], other.reply.outputs[0]
            if close(*pair):
                text = "It gives the same for eps = 1e-06 and for eps = 0.5."
                return Problem(name, text)
        return agrees("a large epsilon", "tiny features")(trials)

    return test


def default_is_that_of_vit(trials: Trials) -> Problem | None:
    """Without eps the layer does as with 1e-6."""
    trial = trials["no epsilon given"]
    if trial.problem() or trial.right() or not trials["tiny features"].right():
        return trial.problem()
    return Problem(OtherDefaultEpsilon.name, OtherDefaultEpsilon.seen)


def has_gain_and_bias(trials: Trials) -> Problem | None:
    """Gain and bias are parameters, one number for each feature."""
    trial = trials["small numbers"]
    if trial.problem() or trial.reply.parameters:
        return trial.problem() or has_parameters("small numbers")(trials)
    if keeps_device("another device")(trials):
        return Problem(PlainTensors.name, PlainTensors.seen)
    return Problem("nothing-learned", "It has no parameters: nothing is learned.")


def uses_gain_and_bias(trials: Trials) -> Problem | None:
    """Other gains and biases give another output."""
    one, other = trials["small numbers"], trials["gain and bias"]
    if one.problem() or other.problem():
        return one.problem() or other.problem()
    plain, learned = one.reply.outputs[0], other.reply.outputs[0]
    for unused, without in ((GainAndBiasUnused, plain), (gain_forgotten, plain + BIAS)):
        if close(learned, without):
            return Problem(unused.name, unused.seen)
    return None


def same_in_training(trials: Trials) -> Problem | None:
    """Training mode changes nothing."""
    if not trials["three axes"].right() or trials["in training"].right():
        return None
    text = "It is right in evaluation. In training mode it returns something else."
    return trials["in training"].problem() or Problem("differs-in-training", text)


def only_normalises_when_new(trials: Trials) -> Problem | None:
    """The gain starts as 1 and the bias as 0."""
    initial = trials["small numbers"].reply.initial
    if not {"weight", "bias"} <= initial.keys():
        return None  # has_gain_and_bias says so
    gain, bias = initial["weight"], initial["bias"]
    width = trials["small numbers"].question.parameters["weight"].shape
    if not gain.shape == bias.shape == width:  # forged: it could not be filled
        return Problem("other-start", "In a new layer the gain has another shape.")
    if (gain == 1).all() and (bias == 0).all():
        return None
    for start in (GainStartsAtZero, StartsSwapped):
        right = start.wrong(len(gain))
        if torch.equal(gain, right.weight) and torch.equal(bias, right.bias):
            return Problem(start.name, start.seen)
    name, values = ("gain", gain) if (gain != 1).any() else ("bias", bias)
    numbers = ", ".join(f"{value:.2f}" for value in values.tolist())
    return Problem("other-start", f"In a new layer the {name} is [{numbers}].")


WHICH_NUMBERS = "Which numbers share one mean and one variance?"
CORE = (
    Property(
        "the shape (..., D) comes back",
        returns_right_shapes("small numbers", "three axes"),
        "Which of your lines changes the shape?",
        core=True,
    ),
    Property("each token stands alone", tokens_stand_alone, WHICH_NUMBERS, core=True),
    Property(
        "the numbers agree with the definition in float64",
        agrees(
            "small numbers",
            "gain and bias",
            "three axes",
            "as many tokens as features",
            "one token",
        ),
        "Which step of the equation does something else in your code?",
        core=True,
    ),
)
CONSTANT_TOKEN = Property(
    "a constant token becomes its bias",
    stays_finite("a constant token"),
    "By what do you divide if all features of a token are equal?",
)
WHERE_EPSILON = "To what is epsilon added, and from where does it come?"
OWN_EDGES = (
    Property(
        "a large mean does no harm",
        agrees("features near 10000"),
        "Which two large numbers are subtracted in your code?",
    ),
    Property(
        "two, three or four axes work",
        agrees("two axes", "three axes", "four axes"),
        "Which axes do you name, and from which end do you count?",
    ),
    Property(
        "float16, float32 and float64 are kept",
        keeps_dtype("float16", "float32", "gradients"),
        "Where does a number of another type enter?",
    ),
    KEEPS_DIGITS,
    KEEPS_DEVICE,
    KEEPS_INPUTS,
    GRADIENTS,
    Property(
        "the gradient of a constant token is finite",
        same_gradients("gradients at a constant token"),
        "What is the slope of a square root at 0?",
    ),
)
FUNCTION_PROPERTIES = (
    REPEATS,
    *CORE,
    Property(
        "epsilon is added to the variance",
        uses_epsilon(epsilon_ignored.name),
        WHERE_EPSILON,
    ),
    CONSTANT_TOKEN,
    *OWN_EDGES,
)
MODULE_PROPERTIES = (
    REPEATS,
    Property(
        "gain and bias are learned",
        has_gain_and_bias,
        PlainTensors.ask,
        core=True,
    ),
    Property(
        "gain and bias are used",
        uses_gain_and_bias,
        GainAndBiasUnused.ask,
        core=True,
    ),
    *CORE,
    Property(
        "training and evaluation give the same",
        same_in_training,
        "Which of your lines depends on the mode, or on earlier calls?",
        core=True,
    ),
    Property(
        "a new layer only normalises",
        only_normalises_when_new,
        GainStartsAtZero.ask,
    ),
    Property(
        "epsilon is added to the variance",
        uses_epsilon(EpsilonNotKept.name),
        WHERE_EPSILON,
    ),
    Property(
        "epsilon is 1e-6 unless another is given",
        default_is_that_of_vit,
        OtherDefaultEpsilon.ask,
    ),
    CONSTANT_TOKEN,
    *OWN_EDGES,
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
    oracle=function_oracle,
    properties=FUNCTION_PROPERTIES,
    bank=FUNCTION,
    show=Show(
        questions=tuple(name for name in SHOWN if name != "no epsilon given"),
        inputs=("x", "weight", "bias", "eps"),
        order={"output": 0},
        axes={"output": ("token", "feature")},
    ),
    again="Code",
)
WRITE_MODULE = Implement(
    form=Form(
        outputs=("output",),
        is_class=True,
        builtins=BUILT_INS,
        reference=(LayerNorm, oracle.layer_norm),
    ),
    ask_about=module_questions,
    oracle=oracle_of(normalised),
    properties=MODULE_PROPERTIES,
    bank=(*BEHAVIOUR, *map(inside, INSIDE)),
    show=Show(
        questions=SHOWN,
        inputs=("x",),
        order={"output": 0},
        axes={"output": ("token", "feature")},
        parameters=("weight", "bias"),
    ),
    again="Code",
)

# One token with D = 5, so that σ = √(20/5) = 2. Gain 3 and bias 10 for each feature.
BY_HAND = (
    small([-2, 3, 3, 3, 3]),
    small([3, 3, 3, 3, 3])[0],
    small([10, 10, 10, 10, 10])[0],
    oracle.EPS,
)


def numbers_of(version: Callable) -> tuple[float, ...]:
    """The first and the last feature, as a student writes them."""
    output = version(*BY_HAND)[0].tolist()
    return output[0], output[-1]


PREDICT_BY_HAND = PredictNumbers(
    right=numbers_of(oracle.layer_norm),
    names=("The first feature", "The last feature"),
    wrong=tuple(
        (numbers_of(m.wrong), m)
        for m in (
            replace(
                unbiased_variance,
                seen="Here the sum of the squares is divided by D − 1.",
            ),
            replace(divided_by_variance, seen="Here the deviations are divided by 4."),
            replace(
                squared_instead_of_root,
                seen="Here the deviations are divided by 16, the square of σ².",
            ),
            replace(root_of_deviation, seen="Here the deviations are divided by √2."),
            replace(
                multiplied_by_deviation,
                seen="Here the deviations are multiplied by 2.",
            ),
            replace(
                squares_not_averaged,
                seen="Here the deviations are divided by √20: the squares were added "
                "up, and the sum was not divided.",
            ),
            replace(spread_kept, seen="Here the deviations are not divided."),
            replace(
                mean_not_subtracted,
                seen="Here the mean was never subtracted, not in the variance either.",
            ),
            mean_kept,
            gain_added,
            replace(bias_multiplied, seen="Here the bias multiplies."),
            replace(
                gain_and_bias_swapped, seen="Here gain and bias have changed places."
            ),
            gain_forgotten,
            bias_forgotten,
            replace(
                no_gain_and_bias,
                seen="This is the normalised token, before gain and bias.",
                ask="What is left to do after the norm?",
            ),
            replace(bias_stretched, seen="Here the gain stretches the bias too."),
        )
    ),
    ask="What are the mean, the deviations, their squares, and the mean of these?",
    again="The equation",
)
PREDICT_SHIFTED = Choose(
    right="C",
    because="Adding 3 changes nothing, the factor 2 changes nothing, and the minus "
    "turns the signs: the deviations of 3 − 2x are −2 times those of x.",
    wrong={
        "A": Wrong(
            "nothing-removed",
            "That would be so if the norm kept shift and stretch. Its output has "
            "mean 0, and 3 − 2y has mean 3.",
            "What is the mean of any normalised token?",
        ),
        "B": Wrong(
            "shift-removed-only",
            "The shift is gone, but y has spread 1 and −2y has spread 2.",
            "What is the spread of any normalised token?",
        ),
        "D": Wrong(
            "sign-removed",
            "The largest feature of x is the smallest of 3 − 2x. In y it is still the "
            "largest.",
            "Can you divide by a negative standard deviation?",
        ),
    },
    again="Check",
)
PREDICT_CLAIM = Choose(
    right="D",
    because="The means that LayerNorm fixes are those of tokens. The mean of a feature "
    "over the tokens is free, and training moves it.",
    wrong={
        "A": Wrong(
            "one-mean-for-a-batch",
            "BatchNorm has D means: one for each feature, over all tokens of all "
            "images.",
            "How long is `running_mean` of `nn.BatchNorm1d(D)`?",
        ),
        "B": Wrong(
            "output-is-normal",
            "A token of zeros and ones still has two values after the norm. Mean and "
            "spread are fixed, the shape of the distribution is not.",
            "Can a shift and a stretch turn two values into a bell curve?",
        ),
        "C": Wrong(
            "covariate-shift-mixed-up",
            "A difference between training and use is covariate shift. The internal "
            "one happens while training goes on, inside the network.",
            "What changes inside the network with each training step?",
        ),
        "E": Wrong(
            "running-statistics",
            "LayerNorm keeps no averages: it computes mean and variance from the "
            "token that it gets, in training and in evaluation.",
            "Which of the two norms needs other images?",
        ),
    },
    again="Look",
)
TEST_EPSILON = BreakIt(
    right=(layer_norm, oracle.layer_norm),
    wrong=(epsilon_outside_root, epsilon_subtracted, no_epsilon, epsilon_ignored),
    ask="Which tokens have a variance that is not large beside epsilon?",
    again="Break it",
)

TASKS = {
    "by_hand": PREDICT_BY_HAND,
    "layer_norm": WRITE_FUNCTION,
    "shifted": PREDICT_SHIFTED,
    "LayerNorm": WRITE_MODULE,
    "claim": PREDICT_CLAIM,
    "epsilon": TEST_EPSILON,
    "find_the_bug": replace(WRITE_FUNCTION, bug=variance_over_image, again="Break it"),
}
