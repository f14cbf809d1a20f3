"""Answers on layer normalization: right designs, and wrong ones with their names.

What the package itself declares wrong (vit_encoder.check.layer_norm) is not repeated;
here stand other ways of writing the same, and other faults.
"""

import torch
import torch.nn.functional as F
from torch import nn

import vit_encoder
from vit_encoder.check.judging import oracle
from vit_encoder.check.layer_norm import BUILT_WRONG
from vit_encoder.layer_norm import layer_norm as course_layer_norm

# Right designs of layer_norm.


def step_by_step(x, weight, bias, eps):
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / (variance + eps) ** 0.5 * weight + bias


def with_var(x, weight, bias, eps):
    variance = x.var(dim=-1, keepdim=True, correction=0)
    return weight * (x - x.mean(-1, True)) * torch.rsqrt(variance + eps) + bias


def with_var_mean(x, weight, bias, eps):
    variance, mean = torch.var_mean(x, dim=-1, unbiased=False, keepdim=True)
    return torch.addcmul(bias, (x - mean) / (variance + eps).sqrt(), weight)


def with_sums(x, weight, bias, eps):
    dim = x.shape[-1]
    centred = x - x.sum(-1, keepdim=True) / dim
    variance = torch.einsum("...d,...d->...", centred, centred) / dim
    return (
        torch.einsum("...d,...->...d", centred, (variance + eps).rsqrt())
        .mul(weight)
        .add(bias)
    )


def with_unsqueeze(x, weight, bias, eps):
    centred = x - x.mean(-1).unsqueeze(-1)
    return weight * centred / (centred.pow(2).mean(-1) + eps).sqrt()[..., None] + bias


def with_axis_counted(x, weight, bias, eps):
    last = x.ndim - 1
    centred = x - torch.mean(x, dim=last, keepdim=True)
    deviation = torch.sqrt(torch.mean(centred * centred, dim=last, keepdim=True) + eps)
    return torch.div(centred, deviation) * weight.view(1, -1).squeeze(0) + bias


def with_projection(x, weight, bias, eps):
    dim = x.shape[-1]
    eye = torch.eye(dim, dtype=x.dtype, device=x.device)
    centred = x @ (eye - 1 / dim)
    length = torch.sqrt(centred.square().sum(-1, keepdim=True) / dim + eps)
    return centred / length * weight + bias


def token_by_token(x, weight, bias, eps):
    rows = []
    for token in x.reshape(-1, x.shape[-1]):
        centred = token - token.mean()
        rows.append(centred / (centred.square().mean() + eps).sqrt() * weight + bias)
    return torch.stack(rows).view(x.shape)


def in_float64(x, weight, bias, eps):
    return step_by_step(x.double(), weight.double(), bias.double(), eps).to(x.dtype)


def with_rms_norm(x, weight, bias, eps):
    return F.rms_norm(x - x.mean(-1, True), x.shape[-1:], weight, eps) + bias


def with_biased_from_unbiased(x, weight, bias, eps):
    dim = x.shape[-1]
    variance = x.var(-1, keepdim=True) * (dim - 1) / dim
    return (x - x.mean(-1, keepdim=True)) / (variance + eps).sqrt() * weight + bias


def with_asserts_and_prints(x, weight, bias, eps):
    assert x.shape[-1] == len(weight) == len(bias)
    assert eps > 0
    print("x", x.shape)
    return step_by_step(x, weight, bias, eps)


def transposed_and_back(x, weight, bias, eps):
    columns = x.mT  # features along axis -2
    centred = columns - columns.mean(-2, keepdim=True)
    variance = centred.square().mean(-2, keepdim=True)
    return (centred / (variance + eps).sqrt()).mT * weight + bias


class AsModule(nn.Module):
    def forward(self, x, weight, bias, eps):
        return step_by_step(x, weight, bias, eps)


RIGHT_FUNCTION = [
    step_by_step,
    with_var,
    with_var_mean,
    with_sums,
    with_unsqueeze,
    with_axis_counted,
    with_projection,
    token_by_token,
    in_float64,
    with_rms_norm,
    with_biased_from_unbiased,
    with_asserts_and_prints,
    transposed_and_back,
    AsModule(),
    lambda x, weight, bias, eps: with_var(x, weight, bias, eps),
]

# Right designs of LayerNorm.


class WithCourse(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, x):
        return course_layer_norm(x, self.weight, self.bias, self.eps)


class ThroughPackage(WithCourse):
    def forward(self, x):
        return vit_encoder.layer_norm.layer_norm(x, *self.parameters(), self.eps)


class WithOwn(WithCourse):
    def forward(self, x):
        return step_by_step(x, self.weight, self.bias, self.eps)


class InPlainSight(WithCourse):
    def __init__(self, dim, eps=1e-6):
        super().__init__(dim)
        self.bias = nn.Parameter(torch.full((dim,), 0.0))
        self.register_parameter("weight", nn.Parameter(torch.zeros(dim).add(1)))
        self.eps = eps
        self.dim = dim

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        variance = (centred**2).sum(-1, keepdim=True) / self.dim
        return self.bias + self.weight * (centred / torch.sqrt(variance + self.eps))


class WithBuffers(WithCourse):
    def __init__(self, dim, eps=1e-6):
        super().__init__(dim, eps)
        self.register_buffer("epsilon", torch.tensor(eps, dtype=torch.float64))
        self.register_buffer("calls", torch.arange(100))

    def forward(self, x):
        return with_var(x, self.weight, self.bias, self.eps)


class FilledLater(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.empty(dim)) for _ in range(2))
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        self.variance_epsilon = eps

    def forward(self, x):
        return with_var_mean(x, self.weight, self.bias, self.variance_epsilon)


class KeepsTheMean(WithCourse):
    def forward(self, x):
        self.mean = x.mean(-1, keepdim=True)
        return with_sums(x, self.weight, self.bias, self.eps)


class AroundRMS(nn.RMSNorm):
    def __init__(self, dim, eps=1e-6):
        super().__init__(dim, eps)
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return super().forward(x - x.mean(-1, keepdim=True)) + self.bias


RIGHT_MODULE = [
    WithCourse,
    ThroughPackage,
    WithOwn,
    InPlainSight,
    WithBuffers,
    FilledLater,
    KeepsTheMean,
    AroundRMS,
]

# Wrong answers of layer_norm: name → answers that must get exactly this name.


def std_with_bessel(x, weight, bias, eps):
    deviation = (x.var(-1, keepdim=True) + eps).sqrt()
    return weight * (x - x.mean(-1, keepdim=True)) / deviation + bias


def squares_by_count_less_one(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().sum(-1, keepdim=True) / (x.shape[-1] - 1)
    return centred * (variance + eps).rsqrt() * weight + bias


def std_and_epsilon(x, weight, bias, eps):
    deviation = (x - x.mean(-1, True)).pow(2).mean(-1, True).sqrt()
    return (x - x.mean(-1, True)) / (deviation + eps) * weight + bias


def std_of_torch_and_epsilon(x, weight, bias, eps):
    mean, deviation = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
    return weight * (x - mean) / (deviation + eps) + bias


def over_the_variance(x, weight, bias, eps):
    variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    return torch.addcmul(bias, weight, (x - mean) / (variance + eps))


def root_of_root(x, weight, bias, eps):
    sigma = x.std(-1, keepdim=True, correction=0)
    return (x - x.mean(-1, keepdim=True)) * (sigma + eps) ** -0.5 * weight + bias


def power_of_two(x, weight, bias, eps):
    variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    return weight * (x - mean) / torch.pow(variance + eps, 2) + bias


def epsilon_of_another(x, weight, bias, eps):
    return step_by_step(x, weight, bias, 1e-6)


def epsilon_of_pytorch(x, weight, bias, eps=1e-5):
    return step_by_step(x, weight, bias, 1e-5)


def standardised_by_normalize(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    return F.normalize(centred, dim=-1) * x.shape[-1] ** 0.5 * weight + bias


def over_tokens(x, weight, bias, eps):
    variance, mean = torch.var_mean(x, -2, correction=0, keepdim=True)
    return (x - mean) / (variance + eps).sqrt() * weight + bias


def over_both(x, weight, bias, eps):
    centred = x - x.mean((-1, -2), keepdim=True)
    variance = centred.square().mean((-1, -2), keepdim=True)
    return centred / (variance + eps).sqrt() * weight + bias


def over_first_axis(x, weight, bias, eps):
    centred = x - x.mean(0)
    return centred / (centred.square().mean(0) + eps).sqrt() * weight + bias


def over_all(x, weight, bias, eps):
    return (x - x.mean()) / (x.var(correction=0) + eps).sqrt() * weight + bias


def of_features(x, weight, bias, eps):
    rows = x.flatten(0, -2)
    rows = rows - rows.mean(0)
    return (rows / (rows.square().mean(0) + eps).sqrt() * weight + bias).view(x.shape)


def root_mean_square(x, weight, bias, eps):
    return x * (x.pow(2).mean(-1, keepdim=True) + eps).rsqrt() * weight + bias


def squares_minus_square(x, weight, bias, eps):
    mean, squares = x.mean(-1, True), (x * x).mean(-1, True)
    return (x - mean) / torch.sqrt(squares - mean**2 + eps) * weight + bias


def squares_minus_square_clamped(x, weight, bias, eps):
    mean, squares = x.mean(-1, True), (x * x).mean(-1, True)
    variance = (squares - mean * mean).clamp(min=0)
    return (x - mean) / torch.sqrt(variance + eps) * weight + bias


def mean_without_keepdim(x, weight, bias, eps):
    mean, variance = x.mean(-1), x.var(-1, correction=0)
    return (x - mean) / torch.sqrt(variance + eps) * weight + bias


def parameters_first_and_last(x, weight, bias, eps):
    return step_by_step(x, bias, weight, eps)


def product_of_all(x, weight, bias, eps):
    return step_by_step(x, weight, bias * 0, eps) * bias


def only_centred(x, weight, bias, eps):
    return (x - x.mean(-1, keepdim=True)) * weight + bias


def only_scaled(x, weight, bias, eps):
    return x / torch.sqrt(x.var(-1, keepdim=True, correction=0) + eps) * weight + bias


def only_normalised(x, weight, bias, eps):
    return step_by_step(x, torch.ones_like(weight), torch.zeros_like(bias), eps)


def shifted_then_stretched(x, weight, bias, eps):
    return (step_by_step(x, 1, 0, eps) + bias) * weight


def length_one(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    length = (centred.square().sum(-1, keepdim=True) + eps).sqrt()
    return centred / length * weight + bias


def for_three_axes(x, weight, bias, eps):
    images, tokens, dim = x.shape
    return step_by_step(x, weight, bias, eps).view(images, tokens, dim)


def axis_two(x, weight, bias, eps):
    centred = x - x.mean(2, keepdim=True)
    variance = centred.square().mean(2, keepdim=True)
    return centred / (variance + eps).sqrt() * weight + bias


def in_half(x, weight, bias, eps):
    return step_by_step(x, weight, bias, eps).half()


def in_float32(x, weight, bias, eps):
    return step_by_step(x.float(), weight.float(), bias.float(), eps)


def float32_and_back(x, weight, bias, eps):
    return in_float32(x, weight, bias, eps).to(x.dtype)


def writes_into_input(x, weight, bias, eps):
    with torch.no_grad():
        x += eps
    return step_by_step(x - eps, weight, bias, eps)


def in_place(x, weight, bias, eps):
    x -= x.mean(-1, keepdim=True)
    x /= (x.square().mean(-1, keepdim=True) + eps).sqrt()
    return x * weight + bias


def centred_in_place(x, weight, bias, eps):
    x -= x.mean(-1, keepdim=True)
    return x * (x.pow(2).mean(-1, True) + eps).rsqrt() * weight + bias


def ones_made_on_cpu(x, weight, bias, eps):
    return step_by_step(x, weight, bias, eps) * torch.ones(x.shape[-1], dtype=x.dtype)


def moved_to_cpu(x, weight, bias, eps):
    return step_by_step(*(t.cpu() for t in (x, weight, bias)), eps)


def with_dropout(x, weight, bias, eps):
    return F.dropout(step_by_step(x, weight, bias, eps), 0.1)


def through_numpy(x, weight, bias, eps):
    return torch.from_numpy(step_by_step(x, weight, bias, eps).detach().numpy())


@torch.no_grad()
def without_gradient(x, weight, bias, eps):
    return step_by_step(x, weight, bias, eps)


def parameters_detached(x, weight, bias, eps):
    return step_by_step(x, weight.detach(), bias.detach(), eps)


def returns_list(x, weight, bias, eps):
    return step_by_step(x, weight, bias, eps).tolist()


def returns_pair(x, weight, bias, eps):
    return step_by_step(x, weight, bias, eps), x.mean(-1)


def returns_nothing(x, weight, bias, eps):
    step_by_step(x, weight, bias, eps)


def returns_means(x, weight, bias, eps):
    return step_by_step(x, weight, bias, eps).mean(-1, keepdim=True)


def misspelt(x, weight, bias, eps):
    return (x - x.meen(-1)) * weight + bias


def calls_functional(x, weight, bias, eps):
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def calls_torch(x, weight, bias, eps):
    return torch.layer_norm(x, x.shape[-1:], weight, bias, eps)


def calls_native(x, weight, bias, eps):
    return torch.native_layer_norm(x, x.shape[-1:], weight, bias, eps)[0]


def calls_operator(x, weight, bias, eps):
    return torch.ops.aten.native_layer_norm(x, x.shape[-1:], weight, bias, eps)[0]


def calls_module(x, weight, bias, eps):
    norm = nn.LayerNorm(x.shape[-1], eps, elementwise_affine=False)
    return norm(x) * weight + bias


def calls_group_norm(x, weight, bias, eps):
    rows = x.reshape(-1, x.shape[-1])
    return F.group_norm(rows, 1, weight, bias, eps).view(x.shape)


def calls_batch_norm(x, weight, bias, eps):
    columns = x.reshape(1, -1, x.shape[-1])
    rows = F.batch_norm(columns, None, None, training=True, eps=eps)
    return rows.view(x.shape) * weight + bias


def calls_instance_norm(x, weight, bias, eps):
    rows = F.instance_norm(x.reshape(1, -1, x.shape[-1]), eps=eps)
    return rows.view(x.shape) * weight + bias


def calls_course(x, weight, bias, eps):
    return course_layer_norm(x, weight, bias, eps)


def calls_oracle(x, weight, bias, eps):
    return oracle.layer_norm(x, weight, bias, eps)


WRONG_FUNCTION = {
    "unbiased-variance": [std_with_bessel, squares_by_count_less_one],
    "epsilon-outside-root": [std_and_epsilon],
    "unbiased-and-outside": [std_of_torch_and_epsilon],
    "divided-by-variance": [over_the_variance],
    "root-of-deviation": [root_of_root],
    "squared-instead-of-root": [power_of_two],
    "epsilon-ignored": [
        epsilon_of_another,
        epsilon_of_pytorch,
        standardised_by_normalize,
    ],
    "statistics-over-tokens": [over_tokens],
    "statistics-over-image": [over_both],
    "statistics-over-images": [over_first_axis],
    "statistics-over-everything": [over_all],
    "statistics-of-features": [of_features],
    "mean-not-subtracted": [root_mean_square],
    "mean-kept": [only_scaled],
    "spread-kept": [only_centred],
    "one-pass-variance": [squares_minus_square, squares_minus_square_clamped],
    "axis-of-mean-lost": [mean_without_keepdim],
    "gain-and-bias-swapped": [parameters_first_and_last],
    "bias-multiplied": [product_of_all],
    "no-gain-and-bias": [only_normalised],
    "bias-stretched": [shifted_then_stretched],
    "squares-not-averaged": [length_one],
    "input-overwritten": [centred_in_place],
    "input-changed": [writes_into_input],
    "dtype-changed": [in_half, in_float32],
    "computed-in-float32": [float32_and_back],
    "device-fixed": [ones_made_on_cpu, moved_to_cpu],
    "not-deterministic": [with_dropout],
    "gradient-cut": [through_numpy, without_gradient, parameters_detached],
    "no-such-attribute": [misspelt],
    "no-such-axis": [axis_two],
    "unpacking-does-not-fit": [for_three_axes],
    "returns-none": [returns_nothing],
    "wrong-type": [returns_list, returns_pair],
    "wrong-shape": [returns_means],
    "built-in-used": [
        calls_functional,
        calls_torch,
        calls_native,
        calls_operator,
        calls_module,
        calls_group_norm,
        calls_batch_norm,
        calls_instance_norm,
        F.layer_norm,
    ],
    "reference-used": [calls_course, calls_oracle, course_layer_norm],
}

# Wrong answers of LayerNorm.


class PyTorchNames(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))
        self.beta = nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, x):
        return course_layer_norm(x, self.gamma, self.beta, self.eps)


class NoBias(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        return course_layer_norm(x, self.weight, 0 * self.weight, self.eps)


class NothingLearned(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.eps = eps

    def forward(self, x):
        return step_by_step(x, 1, 0, self.eps)


class InBuffers(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.register_buffer("weight", torch.ones(dim))
        self.register_buffer("bias", torch.zeros(dim))
        self.eps = eps

    def forward(self, x):
        return step_by_step(x, self.weight, self.bias, self.eps)


class PlainInOwn(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight, self.bias, self.eps = torch.ones(dim), torch.zeros(dim), eps

    def forward(self, x):
        return step_by_step(x, self.weight, self.bias, self.eps)


class OneNumber(WithOwn):
    def __init__(self, dim, eps=1e-6):
        super().__init__(1, eps)


class TokensAndFeatures(WithOwn):
    def __init__(self, dim, eps=1e-6):
        super().__init__(dim, eps)
        self.weight = nn.Parameter(torch.ones(6, dim))


class SameTensor(WithOwn):
    def __init__(self, dim, eps=1e-6):
        super().__init__(dim, eps)
        self.bias = self.weight


class RandomStart(WithOwn):
    def __init__(self, dim, eps=1e-6):
        super().__init__(dim, eps)
        nn.init.normal_(self.weight, std=0.02)


class BiasStartsAtOne(WithOwn):
    def __init__(self, dim, eps=1e-6):
        super().__init__(dim, eps)
        nn.init.ones_(self.bias)


class DefaultOfPyTorch(WithOwn):
    def __init__(self, dim, eps=1e-5):
        super().__init__(dim, eps)


class DefaultOfBERT(WithOwn):
    def __init__(self, dim, eps=1e-12):
        super().__init__(dim, eps)


class AlwaysThatOfPyTorch(WithOwn):
    def forward(self, x):
        return step_by_step(x, self.weight, self.bias, 1e-5)


class Unused(WithOwn):
    def forward(self, x):
        return step_by_step(x, 1, 0, self.eps)


class NoGain(WithOwn):
    def forward(self, x):
        return step_by_step(x, 1, self.bias, self.eps)


class Annotated(WithOwn):
    def forward(self, x):
        return std_of_torch_and_epsilon(x, self.weight, self.bias, self.eps)


class OutsideTheRoot(WithOwn):
    def forward(self, x):
        return std_and_epsilon(x, self.weight, self.bias, self.eps)


class OverImage(WithOwn):
    def forward(self, x):
        return over_both(x, self.weight, self.bias, self.eps)


class InPlace(WithOwn):
    def forward(self, x):
        return centred_in_place(x, self.weight, self.bias, self.eps)


class BatchNormByHand(WithOwn):
    def __init__(self, dim, eps=1e-6):
        super().__init__(dim, eps)
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def forward(self, x):
        rows = x.flatten(0, -2)
        mean, variance = self.running_mean, self.running_var
        if self.training:
            mean, variance = rows.mean(0), rows.var(0, correction=0)
        rows = (rows - mean) / (variance + self.eps).sqrt()
        return (rows * self.weight + self.bias).view_as(x)


class OnlyInTraining(WithOwn):
    def forward(self, x):
        if self.training:
            return over_both(x, self.weight, self.bias, self.eps)
        return super().forward(x)


class Wrapped(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps)

    def forward(self, x):
        return self.norm(x)


class BatchNormOfTorch(nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x.flatten(0, -2)).view_as(x)


class FromTorch(nn.LayerNorm):
    def __init__(self, dim, eps=1e-6):
        super().__init__(dim, eps)


class Inherited(vit_encoder.LayerNorm):
    pass


WRONG_MODULE = {
    "other-default-epsilon": [DefaultOfPyTorch, DefaultOfBERT],
    "other-start": [RandomStart, BiasStartsAtOne],
    "plain-tensors": [PlainInOwn],
    "nothing-learned": [NothingLearned, InBuffers],
    "missing-parameters": [PyTorchNames, NoBias],
    "shared-parameters": [SameTensor],
    "wrong-parameter-shape": [TokensAndFeatures],
    "scalar-gain": [OneNumber],
    "epsilon-not-kept": [AlwaysThatOfPyTorch],
    "gain-and-bias-unused": [Unused],
    "gain-forgotten": [NoGain],
    "unbiased-and-outside": [Annotated],
    "epsilon-outside-root": [OutsideTheRoot],
    "statistics-over-image": [OverImage],
    "input-overwritten": [InPlace],
    "batch-norm-instead": [BatchNormByHand],
    "differs-in-training": [OnlyInTraining],
    "built-in-used": [Wrapped, BatchNormOfTorch, FromTorch, nn.LayerNorm],
    "reference-used": [Inherited, vit_encoder.LayerNorm],
}

for known in BUILT_WRONG:  # the task's own list has none of these
    WRONG_MODULE.setdefault(known.name, []).append(known.wrong)

# Nobody recorded these: they fail, and get no name.


def median_subtracted(x, weight, bias, eps):
    centred = x - x.median(-1, keepdim=True).values
    return (
        centred / (x.var(-1, keepdim=True, correction=0) + eps).sqrt() * weight + bias
    )


def absolute_deviations(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.abs().mean(-1, keepdim=True) + eps) * weight + bias


def smallest_to_largest(x, weight, bias, eps):
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    return (x - low) / (high - low + eps) * weight + bias


def softmax_instead(x, weight, bias, eps):
    return x.softmax(-1) * weight + bias


def gain_of_one_more(x, weight, bias, eps):
    return step_by_step(x, 1 + weight, bias, eps)


def mean_left_in_variance(x, weight, bias, eps):
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / (x.pow(2).mean(-1, True) + eps).sqrt() * weight + bias


UNRECORDED = [
    median_subtracted,
    absolute_deviations,
    smallest_to_largest,
    softmax_instead,
    gain_of_one_more,
    mean_left_in_variance,
]


class GainOfOneMore(WithOwn):
    def forward(self, x):
        return step_by_step(x, 1 + self.weight, self.bias, self.eps)


class MaximumNorm(WithOwn):
    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        largest = centred.abs().amax(-1, keepdim=True)
        return centred / (largest + self.eps) * self.weight + self.bias


# Tests that a student may write.


def epsilon_of_three(layer_norm):
    x = torch.tensor([[1.0, -1.0]])
    output = layer_norm(x, torch.ones(2), torch.zeros(2), 3.0)
    return torch.allclose(output, x / 2)


def tiny_tokens(layer_norm):
    x = 0.001 * torch.randn(2, 5, 4)
    ones, zeros = torch.ones(4), torch.zeros(4)
    expected = F.layer_norm(x, (4,), ones, zeros, 1e-6)
    torch.testing.assert_close(layer_norm(x, ones, zeros, 1e-6), expected)


def two_epsilons(layer_norm):
    x, ones, zeros = torch.randn(3, 8).double(), torch.ones(8), torch.zeros(8)
    for eps in (0.1, 1.0):
        spread = layer_norm(x, ones, zeros, eps).std(-1, correction=0)
        variance = x.var(-1, correction=0)
        if not torch.allclose(spread, (variance / (variance + eps)).sqrt()):
            return False
    return True


def usual_tokens(layer_norm):
    x, ones, zeros = torch.randn(2, 5, 8), torch.ones(8), torch.zeros(8)
    expected = F.layer_norm(x, (8,), ones, zeros, 1e-6)
    return torch.allclose(layer_norm(x, ones, zeros, 1e-6), expected, atol=1e-3)


def constant_token(layer_norm):
    output = layer_norm(torch.ones(3, 4), torch.ones(4), torch.zeros(4), 1e-6)
    return bool(output.isfinite().all())


def spread_of_one(layer_norm):
    x, ones, zeros = torch.randn(2, 5, 8), torch.ones(8), torch.zeros(8)
    return layer_norm(x, ones, zeros, 0.5).std(-1, correction=0).mean() > 0.99


def bit_by_bit(layer_norm):
    x, ones, zeros = torch.randn(2, 50, 7) / 1000, torch.ones(7), torch.zeros(7)
    return torch.equal(
        layer_norm(x, ones, zeros, 1e-6), step_by_step(x.double(), ones, zeros, 1e-6)
    )


# What tests/test_exercises.py runs: task → answers.

RIGHT = {
    "layer_norm": RIGHT_FUNCTION,
    "LayerNorm": RIGHT_MODULE,
    "find_the_bug": RIGHT_FUNCTION,
}
WRONG = {"layer_norm": WRONG_FUNCTION, "LayerNorm": WRONG_MODULE}
NAMELESS = {"layer_norm": UNRECORDED, "LayerNorm": [GainOfOneMore, MaximumNorm]}
GOOD_TESTS = {"epsilon": [epsilon_of_three, tiny_tokens, two_epsilons]}
WEAK_TESTS = {
    "epsilon": [
        (usual_tokens, 0, "test-accepts-wrong"),
        (constant_token, 1, "test-accepts-wrong"),
        (spread_of_one, 0, "test-rejects-right"),
        (bit_by_bit, 0, "test-rejects-right"),
        (lambda layer_norm: layer_norm(1), 0, "test-rejects-right"),
    ]
}
