"""Layer normalization: what people get wrong."""

import torch
from torch import nn

from vit_encoder.arguments import require_features
from vit_encoder.check.misconceptions import against
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
    source=GITHUB + "lucidrains/segformer-pytorch/issues/7",
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
        self.norm = nn.BatchNorm1d(dim, eps)

    def forward(self, x):
        return self.norm(x.flatten(0, -2)).view_as(x)


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
    seen="The gain starts at 0: every token comes out as the bias, 0.",
    ask="What must gain and bias be so that a new layer only normalises?",
    source=OURS,
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
    seen="Gain and bias are plain tensors: no optimizer meets them, and `.to` and "
    "`.double` leave them where they are.",
    ask="How does a module know which of its tensors are to be trained?",
    source=OURS,
)
class PlainTensors(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.weight = torch.ones(dim)
        self.bias = torch.zeros(dim)

    def forward(self, x):
        return layer_norm(x, self.weight, self.bias, self.eps)


MISCONCEPTIONS = {
    "layer_norm": (
        unbiased_variance,
        epsilon_outside_root,
        divided_by_variance,
        root_of_deviation_minus_epsilon,
        root_of_deviation,
        epsilon_subtracted,
        no_epsilon,
        squared_instead_of_root,
        statistics_over_tokens,
        statistics_over_image,
        statistics_over_images,
        mean_not_subtracted,
        one_pass_variance,
        squares_in_float16,
        bias_multiplied,
        no_gain_and_bias,
        input_overwritten,
    ),
    "LayerNorm": (BatchNormInstead, ScalarGain, GainStartsAtZero, PlainTensors),
}
