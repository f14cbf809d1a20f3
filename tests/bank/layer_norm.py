"""Answers on layer normalization: right designs, and wrong ones with their names.

What the package itself declares wrong (vit_encoder.check.layer_norm) is not repeated;
here stand other ways of writing the same, and other faults.
"""

import torch
import torch.nn.functional as F
from tests.bank.variants import variants
from torch import nn

import vit_encoder
from vit_encoder.check.judging import oracle
from vit_encoder.check.layer_norm import BUILT_WRONG, folded, normed_attention
from vit_encoder.layer_norm import layer_norm as course_layer_norm
from vit_encoder.self_attention import attention as course_attention

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


def four_steps(x, weight, bias, eps):
    mean = x.mean(dim=-1, keepdim=True)
    variance = (x - mean).square().mean(dim=-1, keepdim=True)
    normalized = (x - mean) / torch.sqrt(variance + eps)
    return weight * normalized + bias


def with_std_mean(x, weight, bias, eps):
    std, mean = torch.std_mean(x, dim=-1, unbiased=False, keepdim=True)
    return (x - mean) / (std**2 + eps).sqrt() * weight + bias


def with_length(x, weight, bias, eps):
    z = x - x.mean(axis=-1, keepdims=True)
    length = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    return z / (length.square() / x.shape[-1] + eps).sqrt() * weight + bias


def with_constants_in_float32(x, weight, bias, eps):
    share = 1 / torch.tensor(x.shape[-1], dtype=torch.float32)
    root = torch.sqrt(torch.tensor(eps, dtype=torch.float32))
    z = x - x.sum(-1, keepdim=True) * share
    variance = z.square().sum(-1, keepdim=True) * share
    return z / torch.sqrt(variance + root**2) * weight + bias


def with_tensors_of_constants(x, weight, bias, eps):
    dim, epsilon = x.new_tensor(x.shape[-1]), torch.tensor(eps)
    z = x.sub(x.sum(dim=-1, keepdim=True).div(dim))
    root = z.square().sum(-1, True).div(dim).add(epsilon).rsqrt()
    return z.mul(root).mul(weight).add(bias)


def filled_in_place(x, weight, bias, eps):
    y = x - x.mean(-1, keepdim=True)
    y = y / (y.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    y *= weight
    y += bias
    return y


def in_rows(x, weight, bias, eps):
    shape = x.shape
    x = x.reshape(-1, shape[-1])
    mean, var = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    return ((x - mean) / torch.sqrt(var + eps) * weight + bias).view(shape)


def features_first(x, weight, bias, eps):
    x = x.movedim(-1, 0)
    x = (x - x.mean(0)) / (x.var(0, unbiased=False) + eps).sqrt()
    return x.movedim(0, -1) * weight + bias


def with_vmap(x, weight, bias, eps):
    def one(token):
        token = token - token.mean()
        return token / (token.square().mean() + eps).sqrt() * weight + bias

    return torch.vmap(one)(x.reshape(-1, x.shape[-1])).reshape(x.shape)


def calling_itself(x, weight, bias, eps):
    if x.dim() > 1:
        return torch.stack([calling_itself(part, weight, bias, eps) for part in x])
    z = x - x.mean()
    return z / torch.sqrt((z * z).mean() + eps) * weight + bias


def with_logarithm(x: torch.Tensor, weight, bias, eps: float = 1e-5) -> torch.Tensor:
    z = torch.sub(x, torch.mean(x, dim=-1, keepdim=True))
    log = torch.log(torch.add(torch.square(z).mean(-1, True), eps))
    return torch.addcmul(bias, z * torch.exp(-0.5 * log), weight)


def made_wide(x, weight, bias, eps):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean, var = wide.mean(-1, True), wide.var(-1, correction=0, keepdim=True)
    return ((wide - mean) * torch.rsqrt(var + eps) * weight + bias).to(x.dtype)


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
    four_steps,
    with_std_mean,
    with_length,
    with_constants_in_float32,
    with_tensors_of_constants,
    filled_in_place,
    in_rows,
    features_first,
    with_vmap,
    calling_itself,
    with_logarithm,
    made_wide,
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


class AsInTorch(nn.Module):
    __constants__ = ("eps",)

    def __init__(self, normalized_shape, eps=1e-6, elementwise_affine=True):
        super(AsInTorch, self).__init__()  # noqa: UP008, as people write it
        self.normalized_shape, self.eps = (normalized_shape,), eps
        self.weight = nn.Parameter(torch.empty(self.normalized_shape))
        self.bias = nn.Parameter(torch.empty(self.normalized_shape))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, input):
        return four_steps(input, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return f"{self.normalized_shape}, eps={self.eps}"


class EpsilonInABuffer(nn.Module):
    def __init__(self, dim, eps=0.000001):
        super().__init__()
        self.register_parameter("bias", nn.Parameter(torch.zeros(dim)))
        self.register_parameter("weight", nn.Parameter(torch.ones(dim)))
        self.register_buffer("eps", torch.tensor(eps))

    def forward(self, x):
        return with_var(x, self.weight, self.bias, self.eps)


class OtherNamesToo(WithCourse):
    @property
    def gamma(self):
        return self.weight

    @property
    def beta(self):
        return self.bias

    def normalize(self, x):
        return step_by_step(x, 1, 0, self.eps)

    def forward(self, x):
        return self.gamma * self.normalize(x) + self.beta


class HalfOfIt(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.Tensor(dim).fill_(1.0))


class OtherHalf(HalfOfIt):
    def __init__(self, dim, eps=1e-6):
        super().__init__(dim)
        self.bias = nn.Parameter(torch.zeros_like(self.weight))
        self.dropout, self.linear, self.eps = nn.Dropout(0), None, float(eps)

    def forward(self, x, mask=None):
        y = course_layer_norm(x=x, weight=self.weight, bias=self.bias, eps=self.eps)
        return self.dropout(y)


class KeepsTheOutput(WithCourse):
    """It counts its calls, which changes nothing."""

    def __init__(self, dim, eps=1e-6):
        super().__init__(dim, eps)
        self.calls, self.last = 0, None
        self.norm = lambda x: step_by_step(x, self.weight, self.bias, eps)

    def forward(self, x):
        self.calls += 1
        self.last = self.norm(x) if self.training else with_sums(x, *self.learned())
        return self.last

    def learned(self):
        return self.weight, self.bias, self.eps


RIGHT_MODULE = [
    WithCourse,
    ThroughPackage,
    WithOwn,
    InPlainSight,
    WithBuffers,
    FilledLater,
    KeepsTheMean,
    AroundRMS,
    AsInTorch,
    EpsilonInABuffer,
    OtherNamesToo,
    OtherHalf,
    KeepsTheOutput,
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


def standardized_by_normalize(x, weight, bias, eps):
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


def only_normalized(x, weight, bias, eps):
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


def median_subtracted(x, weight, bias, eps):
    centred = x - x.median(-1, keepdim=True).values
    return (
        centred / (x.var(-1, keepdim=True, correction=0) + eps).sqrt() * weight + bias
    )


def smallest_to_largest(x, weight, bias, eps):
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    return (x - low) / (high - low + eps) * weight + bias


def softmax_instead(x, weight, bias, eps):
    return x.softmax(-1) * weight + bias


MEAN, VARIANCE = (
    "x.mean(dim=-1, keepdim=True)",
    "(x - mean).square().mean(dim=-1, keepdim=True)",
)
ROOT, OUTPUT = "torch.sqrt(variance + eps)", "weight * normalized + bias"
OVER = "(x - mean) /"
FIRST = f"mean = {MEAN}"


def steps(*changes):
    """Variants of four_steps."""
    return variants(four_steps, *changes)


def over(axes):
    """The edit that takes both statistics over other axes."""
    return {
        MEAN: f"x.mean(dim={axes}, keepdim=True)",
        VARIANCE: f"(x - mean).square().mean(dim={axes}, keepdim=True)",
    }


WRONG_FUNCTION = {
    "unbiased-variance": [
        std_with_bessel,
        squares_by_count_less_one,
        *steps(
            {VARIANCE: "x.var(-1, keepdim=True)"},
            {OVER: "(x - mean) * 1 /", ROOT: "x.std(-1, keepdim=True)"},
            {
                VARIANCE: "x.std(-1, keepdim=True)",
                ROOT: "torch.sqrt(variance**2 + eps)",
            },
        ),
    ],
    "epsilon-outside-root": [
        std_and_epsilon,
        *steps(
            {
                VARIANCE: "x.std(-1, unbiased=False, keepdim=True)",
                ROOT: "(variance + eps)",
            }
        ),
    ],
    "unbiased-and-outside": [std_of_torch_and_epsilon],
    "divided-by-variance": [over_the_variance, *steps({ROOT: "variance"})],
    "root-of-deviation": [root_of_root],
    "squared-instead-of-root": [power_of_two],
    "epsilon-ignored": [
        epsilon_of_another,
        epsilon_of_pytorch,
        standardized_by_normalize,
    ],
    "statistics-over-tokens": [over_tokens],
    "statistics-over-image": [over_both],
    "statistics-over-images": [over_first_axis],
    "statistics-over-everything": [over_all],
    "statistics-of-features": [of_features],
    "mean-not-subtracted": [root_mean_square],
    "mean-kept": [only_scaled],
    "spread-kept": [only_centred, *steps({ROOT: "(variance + eps) ** (1 // 2)"})],
    "one-pass-variance": [squares_minus_square, squares_minus_square_clamped],
    "axis-of-mean-lost": [mean_without_keepdim],
    "gain-and-bias-swapped": [parameters_first_and_last],
    "bias-multiplied": [product_of_all],
    "no-gain-and-bias": [only_normalized],
    "bias-stretched": [shifted_then_stretched],
    "squares-not-averaged": [
        length_one,
        *steps({f"{OVER} {ROOT}": "F.normalize(x - mean, dim=-1)"}),
    ],
    "mean-before-square": steps({VARIANCE: "(x - mean).mean(-1, True) ** 2"}),
    "mean-left-in-variance": steps({VARIANCE: "x.pow(2).mean(-1, True)"}),
    "mean-not-squared": steps({VARIANCE: "(x * x).mean(-1, True) - mean"}),
    "variance-negative": steps({VARIANCE: "mean**2 - (x**2).mean(-1, True)"}),
    "absolute-deviations": steps(
        {VARIANCE: "(x - mean).abs().mean(-1, True)", ROOT: "(variance + eps)"}
    ),
    "wrong-divisor": steps(
        {VARIANCE: "x.std(-1, keepdim=True)"},
        {ROOT: "(x - mean).abs().amax(-1, True)"},
        {VARIANCE: "x.std(-1, keepdim=True) ** 2", ROOT: "(variance + eps)"},
        {VARIANCE: "(x - mean).square().sum(-1, True) / len(x)"},
        {ROOT: "(torch.sqrt(variance) + eps**0.5)"},
    ),
    "wrong-mean": [
        median_subtracted,
        smallest_to_largest,
        *steps(
            {MEAN: "x.sum(dim=-1, keepdim=True)"},
            {MEAN: "x[..., :1]"},
            {f"{OVER} {ROOT}": "F.normalize(x, dim=-1)"},
            {f"return {OUTPUT}": "return weight * x + bias"},
        ),
    ],
    "wrong-gain": steps(
        {OUTPUT: "normalized / weight + bias"},
        {OUTPUT: "weight**2 * normalized + bias"},
        {OUTPUT: "weight.mean() * normalized + bias"},
        {OUTPUT: "weight.abs() * normalized + bias"},
    ),
    "wrong-bias": steps(
        {OUTPUT: "weight * normalized + bias.mean()"},
        {OUTPUT: "weight * normalized + 2 * bias"},
    ),
    "bias-divided": steps({OUTPUT: f"(weight * (x - mean) + bias) / {ROOT}"}),
    "gain-and-bias-before-norm": steps(
        {FIRST: f"x = weight * x + bias\n    {FIRST}", OUTPUT: "normalized"}
    ),
    "gain-before-norm": steps(
        {FIRST: f"x = weight * x\n    {FIRST}", OUTPUT: "normalized + bias"}
    ),
    "epsilon-as-floor": steps(
        {"variance + eps": "variance.clamp(min=eps)"},
        {"variance + eps": "torch.maximum(variance, x.new_tensor(eps))"},
    ),
    "epsilon-misplaced": steps(
        {ROOT: "torch.sqrt(variance).clamp(min=eps)"},
        {OUTPUT: f"{OUTPUT} + eps"},
        {OVER: "(x - mean + eps) /"},
    ),
    "no-epsilon": steps(
        {"variance + eps": "variance"},
        {ROOT: "x.std(-1, unbiased=False, keepdim=True)"},
    ),
    "statistics-over-axis-1": steps(over("1")),
    "statistics-over-axis-2": [axis_two, *steps(over("2"))],
    "three-axes-assumed": [
        for_three_axes,
        *steps({MEAN: "x.mean(dim=2, keepdim=True)"}),
    ],
    "tokens-mixed": steps(
        {MEAN: "x.mean(dim=-2, keepdim=True)"},
        {VARIANCE: "(x - mean).square().mean(dim=1, keepdim=True)"},
    ),
    "images-mixed": steps(
        over("(0, 1)"), {MEAN: "x.mean()"}, {MEAN: "x[0].mean(dim=-1, keepdim=True)"}
    ),
    "axis-of-mean-alone-lost": steps({MEAN: "x.mean(dim=-1)"}),
    "axis-of-variance-lost": steps({VARIANCE: "x.var(dim=-1, unbiased=False)"}),
    "gradient-differs": steps(
        {MEAN: "x.detach().mean(dim=-1, keepdim=True)"},
        {VARIANCE: "(x - mean).detach().square().mean(dim=-1, keepdim=True)"},
    ),
    "nan-hidden": steps({OUTPUT: f"({OUTPUT}).nan_to_num()"}),
    "seed-set": steps({FIRST: f"torch.manual_seed(0)\n    {FIRST}"}),
    "token-lost": steps({"(x - mean) /": "(x - mean).mean(-1, True) /"}),
    "rounded": steps({OUTPUT: f"torch.round({OUTPUT}, decimals=3)"}),
    "axis-squeezed": steps({OUTPUT: f"({OUTPUT}).squeeze()"}),
    "input-overwritten": [centred_in_place],
    "input-changed": [writes_into_input],
    "dtype-changed": [in_half, in_float32],
    "computed-in-float32": [float32_and_back],
    "device-fixed": [ones_made_on_cpu, moved_to_cpu],
    "not-deterministic": [with_dropout],
    "gradient-cut": [through_numpy, without_gradient, parameters_detached],
    "no-such-attribute": [misspelt],
    "returns-none": [returns_nothing],
    "wrong-type": [returns_list, returns_pair],
    "wrong-shape": [returns_means, *steps({OUTPUT: f"({OUTPUT}).flatten(0, -2)"})],
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


class Layer(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return course_layer_norm(x, self.weight, self.bias, self.eps)


def layers(*changes):
    """Variants of Layer."""
    return variants(Layer, *changes)


def before(line):
    """The edit that puts a line before the last one of `forward`."""
    return {"return course": f"{line}\n        return course"}


CALL = "course_layer_norm(x, self.weight, self.bias, self.eps)"
GAIN, BIAS = "nn.Parameter(torch.ones(dim))", "nn.Parameter(torch.zeros(dim))"
KEEP = "self.eps = eps"
WRONG_MODULE = {
    "other-default-epsilon": [DefaultOfPyTorch, DefaultOfBERT, *layers({"1e-6": "0"})],
    "other-start": [
        RandomStart,
        BiasStartsAtOne,
        *layers(
            {GAIN: "nn.Parameter(torch.full((dim,), 0.5))"},
            {BIAS: "nn.Parameter(torch.randn(dim))"},
        ),
    ],
    "plain-tensors": [
        PlainInOwn,
        *layers(
            {
                GAIN: "torch.ones(dim, requires_grad=True)",
                BIAS: "torch.zeros(dim, requires_grad=True)",
            }
        ),
    ],
    "nothing-learned": [NothingLearned, InBuffers],
    "missing-parameters": [PyTorchNames, NoBias, *layers({GAIN: "torch.ones(dim)"})],
    "shared-parameters": [SameTensor],
    "wrong-parameter-shape": [
        TokensAndFeatures,
        *layers(
            {GAIN: "nn.Parameter(torch.ones(1, dim))"},
            {BIAS: "nn.Parameter(torch.zeros(dim, 1))"},
        ),
    ],
    "scalar-gain": [
        OneNumber,
        *layers(
            {GAIN: "nn.Parameter(torch.ones(1))", BIAS: "nn.Parameter(torch.zeros(1))"}
        ),
    ],
    "epsilon-not-kept": [AlwaysThatOfPyTorch, *layers({KEEP: "self.eps = 1e-6"})],
    "gain-and-bias-unused": [
        Unused,
        *layers({CALL: "step_by_step(x, 1, 0, self.eps)"}),
    ],
    "gain-forgotten": [
        NoGain,
        *layers(before("self.weight = nn.Parameter(0 * x.flatten(0, -2)[0] + 1)")),
    ],
    "unbiased-and-outside": [Annotated],
    "epsilon-outside-root": [OutsideTheRoot],
    "statistics-over-image": [OverImage],
    "input-overwritten": [InPlace],
    "batch-norm-instead": [BatchNormByHand],
    "differs-in-training": [
        OnlyInTraining,
        *layers(before("x = F.dropout(x, 0.1, self.training)")),
    ],
    "no-default-epsilon": layers({"eps=1e-6": "eps"}),
    "more-learned": layers({KEEP: "self.eps = nn.Parameter(torch.tensor(eps))"}),
    "gain-and-bias-swapped": layers(
        {"self.weight, self.bias, self": "self.bias, self.weight, self"}
    ),
    "gradient-cut": layers(
        {GAIN: f"{GAIN[:-1]}, requires_grad=False)"}, {CALL: f"nn.Parameter({CALL})"}
    ),
    "nan-hidden": layers({CALL: f"{CALL}.nan_to_num()"}),
    "seed-set": layers({KEEP: f"{KEEP}\n        torch.manual_seed(0)"}),
    "unasked-dropout": layers({CALL: f"F.dropout({CALL}, 0.1, self.training)"}),
    "not-deterministic": layers({CALL: f"F.dropout({CALL}, 0.1)"}),
    "state-kept": layers(
        {
            **before("self.eps, eps = 0.5, self.eps"),
            "self.bias, self.eps": "self.bias, eps",
        }
    ),
    "dtype-changed": layers(
        before("x = x.double()"),
        {CALL: f"{CALL}.half()"},
    ),
    "axis-squeezed": layers({CALL: f"{CALL}.squeeze()"}),
    "built-in-used": [Wrapped, BatchNormOfTorch, FromTorch, nn.LayerNorm],
    "reference-used": [Inherited, vit_encoder.LayerNorm],
}

for known in BUILT_WRONG:  # the task's own list has none of these
    WRONG_MODULE.setdefault(known.name, []).append(known.wrong)

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


# The bug to find: features on axis 1.


def on_axis_one(x, weight, bias, eps):
    z = x - x.mean(1, keepdim=True)
    z = z * (z.pow(2).mean(1, keepdim=True) + eps).rsqrt()
    return torch.einsum("bdhw,d->bdhw", z, weight) + bias.view(-1, 1, 1)


def moved_and_back(x, weight, bias, eps):
    return step_by_step(x.movedim(1, -1), weight, bias, eps).movedim(-1, 1)


def in_columns(x, weight, bias, eps):
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    variance, mean = torch.var_mean(rows, 1, correction=0, keepdim=True)
    rows = (rows - mean) / (variance + eps) ** 0.5 * weight + bias
    return rows.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)


def place_by_place(x, weight, bias, eps):
    output = torch.empty_like(x)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            output[:, :, i, j] = step_by_step(x[:, :, i, j], weight, bias, eps)
    return output


def instance_norm_by_hand(x, weight, bias, eps):
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    z = (x - mean) / (variance + eps).sqrt()
    return z * weight[:, None, None] + bias[:, None, None]


def group_norm_of_one(x, weight, bias, eps):
    return F.group_norm(x, 1, weight, bias, eps)


def through_course(x, weight, bias, eps):
    return course_layer_norm(x.movedim(1, -1), weight, bias, eps).movedim(-1, 1)


def without_gain(x, weight, bias, eps):
    return moved_and_back(x, torch.ones_like(weight), bias, eps)


def forgotten_on_the_way_back(x, weight, bias, eps):
    return step_by_step(x.movedim(1, -1), weight, bias, eps)


# Gain and bias folded into the next layer.


def with_a_diagonal_matrix(weight, bias, gain, shift):
    return weight @ torch.diag(gain), F.linear(shift, weight, bias)


def as_in_transformer_lens(weight, bias, gain, shift):
    new_bias = bias + (weight * shift[None, :]).sum(-1)
    new_weight = weight * gain[None, :]
    return new_weight, new_bias


def row_by_row(weight, bias, gain, shift):
    rows, numbers = [], []
    for row, number in zip(weight, bias, strict=True):
        rows.append(row * gain)
        numbers.append(torch.dot(row, shift) + number)
    return torch.stack(rows), torch.stack(numbers)


def through_the_new_weight(weight, bias, gain, shift):
    weight = weight * gain
    bias = bias + weight @ shift
    return weight, bias


def into_the_weight(weight, bias, gain, shift):
    bias = bias + weight @ shift
    weight *= gain
    return weight, bias


def through_columns(weight, bias, gain, shift):
    return (weight.T * gain).T, bias + weight @ shift


def returns_the_weight(weight, bias, gain, shift):
    return weight * gain


RIGHT_FOLDED = [with_a_diagonal_matrix, as_in_transformer_lens, row_by_row]
NEW_BIAS = "bias + (weight * shift[None, :]).sum(-1)"
WRONG_FOLDED = {
    "shift-stretched": [through_the_new_weight],
    "sizes-do-not-broadcast": [through_columns],
    ("input-changed", "in-place-on-leaf"): [into_the_weight],
    "bias-left-as-it-was": variants(as_in_transformer_lens, {NEW_BIAS: "bias"}),
    "old-bias-lost": variants(
        with_a_diagonal_matrix,
        {"F.linear(shift, weight, bias)": "F.linear(shift, weight)"},
    ),
    "shift-not-multiplied": variants(
        as_in_transformer_lens, {NEW_BIAS: "bias + shift"}
    ),
    "gain-divided-out": variants(
        with_a_diagonal_matrix, {"torch.diag(gain)": "torch.diag(1 / gain)"}
    ),
    "reference-used": [folded],
}


def shift_subtracted(weight, bias, gain, shift):
    return weight * gain, bias - weight @ shift


def bias_stretched(weight, bias, gain, shift):
    return weight * gain, bias * gain.mean() + weight @ shift


# Norms inside attention.


def rms_norm(x, gain, eps):
    return gain * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def with_rms_norm(q, k, v, q_gain, k_gain, eps):
    q, k = rms_norm(q, q_gain, eps), rms_norm(k, k_gain, eps)
    return course_attention(q, k, v)[0]


def with_torchs_own(q, k, v, q_gain, k_gain, eps):
    q = F.rms_norm(q, q.shape[-1:], q_gain, eps)
    k = F.rms_norm(k, k.shape[-1:], k_gain, eps)
    return F.scaled_dot_product_attention(q, k, v)


def by_lengths(q, k, v, q_gain, k_gain, eps):
    D_h = q.shape[-1]
    q_rms = (q.norm(dim=-1, keepdim=True) ** 2 / D_h + eps) ** 0.5
    k_rms = ((k * k).sum(-1, keepdim=True) / D_h + eps) ** 0.5
    scores = (q / q_rms * q_gain) @ (k / k_rms * k_gain).transpose(-2, -1)
    return (scores / D_h**0.5).softmax(dim=-1) @ v


def with_layer_norm(q, k, v, q_gain, k_gain, eps):
    q = F.layer_norm(q, q.shape[-1:], q_gain, eps=eps)
    k = F.layer_norm(k, k.shape[-1:], k_gain, eps=eps)
    return F.scaled_dot_product_attention(q, k, v)


def before_the_split(q, k, v, q_gain, k_gain, eps):
    def norm(x, gain):
        x = x.transpose(1, 2).flatten(2)
        x = F.rms_norm(x, x.shape[-1:], eps=eps)
        return x.unflatten(2, (-1, len(gain))).transpose(1, 2) * gain

    return F.scaled_dot_product_attention(norm(q, q_gain), norm(k, k_gain), v)


NORMED = "q, k = rms_norm(q, q_gain, eps), rms_norm(k, k_gain, eps)"
WRONG_NORMED = {
    "mean-subtracted": [with_layer_norm],
    "norm-over-all-heads": [before_the_split],
    "keys-left-as-they-are": variants(
        with_rms_norm, {NORMED: "q = rms_norm(q, q_gain, eps)"}
    ),
    "one-gain-for-both": variants(
        with_rms_norm, {"rms_norm(k, k_gain, eps)": "rms_norm(k, q_gain, eps)"}
    ),
    "no-norm": variants(with_rms_norm, {NORMED: "q, k = q_gain * q, k_gain * k"}),
    "no-scale": variants(by_lengths, {"(scores / D_h**0.5)": "scores"}),
    "length-one": variants(
        by_lengths,
        {"** 2 / D_h + eps": "** 2 + eps", "True) / D_h + eps": "True) + eps"},
    ),
    "wrong-type": variants(with_rms_norm, {"(q, k, v)[0]": "(q, k, v)"}),
    "reference-used": [normed_attention],
}


def cosines(q, k, v, q_gain, k_gain, eps):
    scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT
    return scores.softmax(dim=-1) @ v


def norm_of_the_scores(q, k, v, q_gain, k_gain, eps):
    scores = (q * q_gain) @ (k * k_gain).mT
    return F.rms_norm(scores, scores.shape[-1:], eps=eps).softmax(-1) @ v


# What tests/test_exercises.py runs: task → answers.

RIGHT = {
    "layer_norm": RIGHT_FUNCTION,
    "LayerNorm": RIGHT_MODULE,
    "find_the_bug": [on_axis_one, moved_and_back, in_columns, place_by_place],
    "folded": RIGHT_FOLDED,
    "normed_attention": [with_rms_norm, with_torchs_own, by_lengths],
}
WRONG = {
    "layer_norm": WRONG_FUNCTION,
    "LayerNorm": WRONG_MODULE,
    "find_the_bug": {
        "statistics-over-places": [instance_norm_by_hand],
        "built-in-used": [group_norm_of_one],
        "reference-used": [through_course, course_layer_norm],
        "wrong-shape": [forgotten_on_the_way_back],
        "sizes-do-not-broadcast": [step_by_step],  # the answer to the second task
    },
    "folded": WRONG_FOLDED,
    "normed_attention": WRONG_NORMED,
}
NAMELESS = {
    "layer_norm": [
        softmax_instead,
        *steps({OUTPUT: f"({OUTPUT}).clamp(-3, 3)"}, {OUTPUT: f"{OUTPUT} + x"}),
    ],
    "LayerNorm": layers({f"return {CALL}": f"return x + {CALL}"}),
    "folded": [shift_subtracted, bias_stretched],
    "normed_attention": [cosines, norm_of_the_scores],
}
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
