"""Answers on the MLP: right designs, and wrong ones with the names they get.

What the package itself declares wrong (vit_encoder.check.mlp) is not repeated; here
stand other ways of writing the same, and other faults.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from tests.bank.variants import variants, with_one_more
from torch import nn

import vit_encoder
from vit_encoder.check.judging import oracle

# Right designs of gelu.


def with_erf(x):
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def with_erfc(x):
    return 0.5 * x * torch.erfc(-x * math.sqrt(0.5))


def with_ndtr(x):
    return x * torch.special.ndtr(x)


def with_normal(x):
    return x * torch.distributions.Normal(0, 1).cdf(x)


def with_tensor_constants(x):
    half = torch.tensor(0.5, dtype=x.dtype, device=x.device)
    return x.mul(half).mul((x * half.sqrt()).erf().add(1))


def with_log_ndtr(x):
    return x * torch.special.log_ndtr(x).exp()


def with_two_branches(x):
    small = x * torch.erfc(-x / math.sqrt(2)) / 2
    return torch.where(x < 0, small, x - x * torch.erfc(x / math.sqrt(2)) / 2)


class AsModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("root", torch.tensor(2.0).sqrt())

    def forward(self, x):
        return with_ndtr(x)


def with_root_in_float32(x):
    return 0.5 * x * (1 + torch.erf(x / torch.sqrt(torch.tensor(2.0))))


def with_numpy_root(x):
    return 0.5 * x * (1.0 + torch.erf(x / np.sqrt(2.0)))


def with_the_tail(x):
    return 0.5 * x * (1 - torch.erf(-x / math.sqrt(2)))


def with_one_minus_erfc(x):
    return x * (1 - 0.5 * torch.erfc(x / math.sqrt(2)))


def with_rsqrt(x):
    return x.mul(0.5).mul(torch.erf(x * torch.rsqrt(torch.tensor(2.0))) + 1)


def with_eight_digits(input):
    return input * 0.5 * (1.0 + torch.erf(input * 0.70710678))


def in_place_on_its_own(x):
    y = torch.erf(x / math.sqrt(2))
    y += 1
    y *= 0.5
    return x * y


def in_a_wider_dtype(x):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (0.5 * wide * (1 + torch.erf(wide / 2**0.5))).to(x.dtype)


def row_by_row(x):
    return torch.stack([with_erf(row) for row in x])


def with_own_function(x):
    def phi(z):
        return (1 + (z / 2**0.5).erf()) / 2

    return phi(x) * x


class OwnGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return with_erf(x)

    @staticmethod
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        density = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        return upstream * (torch.special.ndtr(x) + x * density)


def with_own_gradient(x):
    return OwnGradient.apply(x)


RIGHT_GELU = [
    with_root_in_float32,
    with_numpy_root,
    with_the_tail,
    with_one_minus_erfc,
    with_rsqrt,
    with_eight_digits,
    in_place_on_its_own,
    in_a_wider_dtype,
    row_by_row,
    with_own_function,
    with_own_gradient,
    with_erf,
    with_erfc,
    with_ndtr,
    with_normal,
    with_tensor_constants,
    with_log_ndtr,
    with_two_branches,
    AsModule(),
    lambda x: with_erf(x),
]

# Right designs of dropout.


def check_p(p):
    if p < 0 or p > 1:
        raise ValueError(p)


def with_rand_like(x, p, training):
    check_p(p)
    if not training:
        return x
    if p == 1:
        return torch.zeros_like(x)
    return torch.where(torch.rand_like(x) < p, torch.zeros_like(x), x / (1 - p))


def with_bernoulli(x, p, training):
    check_p(p)
    if not training or p == 0:
        return x.clone()
    if p == 1:
        return x * 0
    return x * torch.bernoulli(torch.full_like(x, 1 - p)) / (1 - p)


def with_mask_assigned(x, p, training):
    check_p(p)
    if not training:
        return x
    mask = torch.empty_like(x).uniform_() > p
    result = x.clone()
    result[~mask] = 0
    return result * (1 / (1 - p) if p != 1 else 1)


def with_masked_fill(x, p=0.5, training=True):
    check_p(p)
    if training:
        dropped = torch.rand(x.size(), device=x.device, dtype=x.dtype).lt(p)
        x = x.masked_fill(dropped, 0) / max(1 - p, 1e-7)
    return x


def with_bernoulli_in_place(x, p, training):
    check_p(p)
    if not training:
        return x
    gate = torch.empty_like(x).bernoulli_(1 - p)
    if p < 1:
        gate.div_(1 - p)
    return x * gate


def with_distribution(x, p, training):
    check_p(p)
    if not training or p == 0.0:
        return x
    if p == 1.0:
        return torch.zeros_like(x) * x
    gate = torch.distributions.Bernoulli(1 - p).sample(x.shape).to(x)
    return gate * x / (1 - p)


def with_flat_loop(x, p, training):
    check_p(p)
    if not training:
        return x
    flat = x.flatten()
    kept = torch.cat([torch.rand(1, device=x.device) >= p for _ in range(len(flat))])
    return (flat * kept * (0 if p == 1 else 1 / (1 - p))).view(x.shape)


def as_in_d2l(X, dropout, training):
    check_p(dropout)
    if not training:
        return X
    if dropout == 1:
        return torch.zeros_like(X)
    mask = (torch.rand(X.shape, device=X.device) > dropout).float()
    return (mask * X / (1.0 - dropout)).to(X.dtype)


def with_numpy(x, p, training):
    check_p(p)
    if not training or p == 0:
        return x
    kept = torch.from_numpy(np.random.binomial(1, 1 - p, size=tuple(x.shape)))
    return x * kept.to(x) / max(1 - p, 1e-9)


def as_drop_path_does(x, p: float = 0.0, training: bool = False):
    """With the gate of timm's drop_path, one for each number."""
    check_p(p)
    if p == 0.0 or not training:
        return x
    keep_prob = 1 - p
    random_tensor = x.new_empty(x.shape).bernoulli_(keep_prob)
    if keep_prob > 0.0:
        random_tensor.div_(keep_prob)
    return x * random_tensor


def with_floor(x, p, training):
    check_p(p)
    if p in (0, 1) or not training:
        return x * (p < 1 or not training)
    gate = 1 - p + torch.rand(x.shape, dtype=x.dtype, device=x.device)
    return x.div(1 - p) * gate.floor_()


def with_numbers_below(x, p, training):
    check_p(p)
    if training and p > 0:
        scale = 0.0 if p == 1 else 1 / (1 - p)
        return torch.where(torch.rand_like(x) < p, 0.0, x * scale)
    return x


def with_p_as_tensor(x, p, training):
    check_p(p)
    p = torch.tensor(p)
    if not training:
        return x
    kept = torch.rand(x.size(), device=x.device).ge(p)
    y = torch.zeros_like(x)
    y[kept] = x[kept]
    return y / (1 - p) if p < 1 else y


def with_whole_numbers(x, p, training):
    check_p(p)
    if not training:
        return x
    uniform = torch.randint(0, 2**24, x.shape, device=x.device) / 2**24
    return x * (uniform >= p) * (1 / (1 - p) if p < 1 else 0)


def with_branches(x, p, training):
    if p < 0:
        raise ValueError("p too small")
    elif p > 1:
        raise ValueError("p too large")
    elif training is True:
        out = x.clone()
        out = out.masked_fill(torch.rand_like(out) < p, 0.0)
        return out.div(1 - p) if p < 1 else out
    else:
        return x


def drawn_in_any_case(x, p, training):
    check_p(p)
    if p == 1 and training:
        return torch.mul(x, 0)
    kept = torch.rand(x.shape, device=x.device) >= p
    return (x * kept) / (1 - p) if training else x


class DropoutAsModule(nn.Module):
    def forward(self, x, p, training):
        return as_in_d2l(x, p, training)


RIGHT_DROPOUT = [
    as_in_d2l,
    with_numpy,
    as_drop_path_does,
    with_floor,
    with_numbers_below,
    with_p_as_tensor,
    with_whole_numbers,
    with_branches,
    drawn_in_any_case,
    DropoutAsModule(),
    with_rand_like,
    with_bernoulli,
    with_mask_assigned,
    with_masked_fill,
    with_bernoulli_in_place,
    with_distribution,
    with_flat_loop,
    lambda x, p, training: with_rand_like(x, p, training),
]

# Right designs of MLP.


class Layers(nn.Module):
    """Two layers, and dropout as a number; what subclasses start from."""

    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)
        self.p = dropout

    def drop(self, x):
        return vit_encoder.dropout(x, self.p, self.training)


class WithCourse(Layers):
    def forward(self, x):
        return self.drop(self.fc2(self.drop(vit_encoder.gelu(self.fc1(x)))))


class WithModules(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        self.fc1, self.act = nn.Linear(dim, mlp_dim), nn.GELU()
        self.fc2, self.drop = nn.Linear(mlp_dim, dim), nn.Dropout(dropout)

    def forward(self, x):
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


class WithFunctions(Layers):
    def forward(self, x):
        x = F.dropout(F.gelu(self.fc1(x)), self.p, self.training)
        return F.dropout(self.fc2(x), p=self.p, training=self.training)


class InOneRow(nn.Sequential):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__(
            nn.Linear(dim, mlp_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, dim),
            nn.Dropout(dropout),
        )


class BareParameters(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        self.p = dropout
        self.fc1 = nn.Parameter(torch.randn(dim, mlp_dim))
        self.fc1_bias = nn.Parameter(torch.zeros(mlp_dim))
        self.fc2 = nn.Parameter(torch.randn(mlp_dim, dim))
        self.fc2_bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        x = with_erfc(torch.einsum("bnd,dm->bnm", x, self.fc1) + self.fc1_bias)
        x = with_rand_like(x, self.p, self.training) @ self.fc2 + self.fc2_bias
        return with_bernoulli(x, self.p, self.training)


class Convolutions(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        self.fc1 = nn.Conv1d(dim, mlp_dim, 1)
        self.fc2 = nn.Conv1d(mlp_dim, dim, 1)
        self.drop = nn.Dropout(dropout)
        self.register_buffer("unused", torch.arange(100))

    def forward(self, x):
        hidden = self.drop(F.gelu(self.fc1(x.mT)))
        return self.drop(self.fc2(hidden).mT)


class Lazy(WithFunctions):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__(dim, mlp_dim, dropout)
        self.fc1, self.fc2 = nn.LazyLinear(mlp_dim), nn.LazyLinear(dim)


class OneTokenAtATime(WithModules):
    def forward(self, x):
        outputs = [WithModules.forward(self, token) for token in x.unbind(1)]
        return torch.stack(outputs, dim=1)


class InSteps(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.act = nn.GELU()
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(mlp_dim, dim)
        self.drop2 = nn.Dropout(dropout)

    def forward(self, x):
        x = self.fc1(x)
        x = self.act(x)
        x = self.drop1(x)
        x = self.fc2(x)
        x = self.drop2(x)
        return x


class AsInTimm(nn.Module):
    def __init__(self, in_features, hidden_features=None, drop=0.0, bias=True):
        super().__init__()
        hidden_features = hidden_features or in_features
        self.fc1 = nn.Linear(in_features, hidden_features, bias=bias)
        self.act, self.norm = nn.GELU(), nn.Identity()
        self.drop1 = nn.Dropout(drop)
        self.fc2 = nn.Linear(hidden_features, in_features, bias=bias)
        self.drop2 = nn.Dropout(drop)

    def forward(self, x):
        x = self.norm(self.drop1(self.act(self.fc1(x))))
        return self.drop2(self.fc2(x))


class AsInTorchvision(nn.Sequential):
    def __init__(self, in_dim: int, mlp_dim: int, dropout: float = 0.0):
        super().__init__(
            nn.Linear(in_dim, mlp_dim),
            nn.GELU(),
            nn.Dropout(dropout, inplace=True),
            nn.Linear(mlp_dim, in_dim),
            nn.Dropout(dropout, inplace=True),
        )
        for layer in self:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.normal_(layer.bias, std=1e-6)


class InDictionaries(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        self.p = dropout
        self.fc1, self.fc2 = (
            nn.ParameterDict({"weight": torch.randn(a, b), "bias": torch.zeros(a)})
            for a, b in ((mlp_dim, dim), (dim, mlp_dim))
        )

    def forward(self, x):
        x = F.dropout(F.gelu(F.linear(x, **self.fc1)), self.p, self.training)
        return F.dropout(F.linear(x, **self.fc2), self.p, self.training)


class WithProperty(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        self.add_module("fc1", nn.Linear(dim, mlp_dim))
        self.add_module("fc2", nn.Linear(mlp_dim, dim))
        self._p = dropout

    @property
    def p(self):
        return self._p if self.training else 0.0

    def forward(self, x):
        for fc, bend in ((self.fc1, vit_encoder.gelu), (self.fc2, nn.Identity())):
            x = vit_encoder.dropout(bend(fc(x)), self.p, True)
        return x


class TokensInOneRow(InSteps):
    def forward(self, x):
        B, N, D = x.shape
        return super().forward(x.reshape(B * N, D)).reshape(B, N, D)


class WithEinsum(InSteps):
    def forward(self, x):
        h = torch.einsum("bnd,hd->bnh", x, self.fc1.weight) + self.fc1.bias
        h = self.drop1(h * 0.5 * (1 + torch.erf(h / 2**0.5)))
        y = torch.einsum("bnh,dh->bnd", h, self.fc2.weight) + self.fc2.bias
        return self.drop2(y)


class WithAddmm(InSteps):
    def forward(self, x):
        shape = x.shape
        x = x.view(-1, shape[-1])
        x = self.act(torch.addmm(self.fc1.bias, x, self.fc1.weight.t()))
        x = torch.addmm(self.fc2.bias, self.drop1(x), self.fc2.weight.t())
        return self.drop2(x).view(shape)


class StepsInAList(Layers):
    def __init__(self, dim: int, mlp_dim: int, dropout: float = 0.0) -> None:
        super(StepsInAList, self).__init__(dim, mlp_dim, dropout)  # noqa: UP008
        self.steps = [self.fc1, vit_encoder.gelu, self.drop, self.fc2, self.drop]

    def forward(self, x):
        for step in self.steps:
            x = step(x)
        return x


class FromALinear(nn.Linear):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__(1, 1)
        del self.weight, self.bias
        self.fc1, self.fc2 = nn.Linear(dim, mlp_dim), nn.Linear(mlp_dim, dim)
        self.p = dropout

    def forward(self, x):
        def drop(t):
            return F.dropout(t, p=self.p, training=self.training)

        return drop(self.fc2(drop(F.gelu(self.fc1(x), approximate="none"))))


RIGHT_MLP = [
    InSteps,
    AsInTimm,
    AsInTorchvision,
    InDictionaries,
    WithProperty,
    TokensInOneRow,
    WithEinsum,
    WithAddmm,
    StepsInAList,
    FromALinear,
    WithCourse,
    WithModules,
    WithFunctions,
    InOneRow,
    BareParameters,
    Convolutions,
    Lazy,
    OneTokenAtATime,
]

# Wrong answers of gelu: name → answers that must get exactly this name.


def tanh_of_openai(x):
    inner = (x + 0.044715 * x.pow(3)) * (2 / math.pi) ** 0.5
    return x / 2 * (inner.tanh() + 1)


def quick(x):
    return x / (1 + torch.exp(-1.702 * x))


def swish(x):
    return F.silu(x)


def relu(x):
    return torch.maximum(x, torch.zeros_like(x))


def relu_of_torch(x):
    return F.relu(x)


def phi_alone(x):
    return torch.special.ndtr(x)


def twice(x):
    return 2 * with_erf(x)


def erf_of_x(x):
    return x * (torch.erf(x) + 1) / 2


def upper_tail(x):
    return x * torch.special.ndtr(-x)


def bell(x):
    return x * torch.distributions.Normal(0.0, 1.0).log_prob(x).exp()


def with_float32(x):
    return with_erf(x.float()).to(x.dtype)


def to_float32(x):
    return with_erf(x.float())


def into_x(x):
    with torch.no_grad():
        x *= torch.special.ndtr(x)
    return x


def constant_on_cpu(x):
    return x * torch.erf(x / torch.full((x.shape[-1],), math.sqrt(2))).add(1) / 2


def through_numpy(x):
    phi = [0.5 * math.erfc(-v / math.sqrt(2)) for v in x.flatten().tolist()]
    return torch.tensor(phi, dtype=x.dtype).view(x.shape) * x.detach()


def calls_built_in(x):
    return F.gelu(x)


def calls_module(x):
    return nn.GELU()(x)


def calls_tanh_of_torch(x):
    return F.gelu(x, approximate="tanh")


def calls_operator(x):
    return torch.ops.aten.gelu(x)


def calls_reference(x):
    return vit_encoder.gelu(x)


def calls_oracle(x):
    return oracle.gelu(x)


def returned_nothing(x):
    with_erf(x)


def returned_list(x):
    return with_erf(x).tolist()


def summed(x):
    return with_erf(x).sum(-1)


def draws(x):
    return x * (torch.rand_like(x) < torch.special.ndtr(x))


def textbook(x):
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def by_tanh(x):
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + torch.tanh(inner))


def by_activation(x):
    return F.softplus(x)


def others(*names):
    """F.softplus under other names."""
    return variants(by_activation, *({"softplus(x": name} for name in names))


WRONG_GELU = {
    "multiplied-by-root": variants(textbook, {"x / math.sqrt(2)": "x * 2**0.5"}),
    "halved-for-root": variants(textbook, {"x / math.sqrt(2)": "0.5 * x"}),
    "power-before-division": variants(textbook, {"math.sqrt(2)": "2**1/2"}),
    "root-outside-erf": variants(
        textbook, {"torch.erf(x / math.sqrt(2))": "torch.erf(x) / 2**0.5"}
    ),
    "erfc-for-erf": variants(
        textbook, {"1 + torch.erf(x / math.sqrt(2))": "2 - torch.erf(x / 2**0.5)"}
    ),
    "brackets-forgotten": variants(
        textbook, {"x * (1 + torch.erf(x / math.sqrt(2)))": "x + torch.erf(x / 2**0.5)"}
    ),
    "tanh-root-on-x-alone": variants(
        by_tanh, {"(x + 0.044715 * x**3)": "x + 0.044715 * x * x * x"}
    ),
    "density": [bell],
    "wrong-far-from-zero": [
        *variants(
            textbook,
            {"return": "x = x + 0.1\n    return"},
            {"x * (1": "x**2 * (1"},
            {"0.5 * x *": "-0.5 * x *"},
            {"x / math": "x.abs() / math"},
            {"x / math": "x**2 / math"},
            {"(1 + torch.erf(x / math.sqrt(2)))": "(1 + torch.erf(x)) / 2**0.5"},
            {"0.5 * x * (1 + torch.erf": "x * (0.5 + torch.erf"},
            {"0.5 * x * (1 + torch.erf": "x * (1 + 0.5 * torch.erf"},
            {"0.5 * x * (1 + torch.erf(x": "0.5 * (x + torch.erf(x"},
        ),
        *variants(by_tanh, {"0.5 * x": "x"}, {"(1 +": "("}, {"x * (1": "(1"}),
        *others("elu(x", "leaky_relu(x", "leaky_relu(x, 0.1", "mish(x", "selu(x"),
        *others("tanh(x", "sigmoid(x", "sigmoid(1.702 * x", "relu(x) ** (2"),
    ],
    "gate-not-symmetric": [
        *variants(
            textbook,
            {"return": "return torch.relu("} | {"sqrt(2)))": "sqrt(2))))"},
            {"return": "return torch.where(x > 0, x,"} | {"sqrt(2)))": "sqrt(2))))"},
            {"return": "x = with_erf(x)\n    return"},
        ),
    ],
    "another-activation": [
        *variants(
            textbook,
            {"math.sqrt(2)": "1.4"},
            {"math.sqrt(2)": "math.sqrt(math.pi)"},
            {"math.sqrt(2)": "math.sqrt(2 * math.pi)"},
        ),
        *variants(
            by_tanh,
            {"0.044715": "0.44715"},
            {"0.044715": "0.0044715"},
            {" + 0.044715 * x**3": ""},
            {"2 / math.pi": "math.pi / 2"},
            {"2 / math.pi": "2 * math.pi"},
        ),
        *others("softplus(x", "hardswish(x"),
        *variants(
            by_activation, {"F.softplus(x)": "x * (0.5 + 0.398 * x).clamp(0, 1)"}
        ),
    ],
    "too-few-digits": variants(textbook, {"math.sqrt(2)": "1.414"}),
    "numbers-mixed": variants(
        textbook,
        {"x / math": "(x - x.mean()) / x.std() / math"},
        {"0.5 * x * (1 + torch.erf(x / math.sqrt(2)))": "x * x.softmax(-1) * len(x)"},
        {"return": "x = F.layer_norm(x, x.shape)\n    return"},
    ),
    "nan-hidden": variants(
        textbook, {"return": "return torch.nan_to_num("} | {"sqrt(2)))": "sqrt(2))))"}
    ),
    "seed-set": variants(textbook, {"return": "torch.manual_seed(0)\n    return"}),
    "rounded": variants(
        textbook,
        {"return": "return torch.round("} | {"sqrt(2)))": "sqrt(2))), decimals=4)"},
    ),
    "tensor-as-number": variants(textbook, {"torch.erf": "math.erf"}),
    "number-for-tensor": variants(textbook, {"math.sqrt": "torch.sqrt"}),
    "trailing-comma": variants(textbook, {"sqrt(2)))": "sqrt(2))),"}),
    "printed-not-returned": variants(
        textbook, {"return": "print("} | {"sqrt(2)))": "sqrt(2))))"}
    ),
    "tanh-formula": [tanh_of_openai, *variants(by_tanh, {"0.044715": "0.0447"})],
    "sigmoid-formula": [quick],
    "silu": [swish],
    "relu": [relu, relu_of_torch],
    "gate-alone": [phi_alone],
    "no-half": [twice],
    "no-root-of-two": [erf_of_x],
    "gate-reversed": [upper_tail],
    "computed-in-float32": [with_float32],
    "dtype-changed": [to_float32],
    "input-changed": [into_x],
    "device-fixed": [constant_on_cpu],
    "gradient-cut": [through_numpy],
    "built-in-used": [
        calls_built_in,
        calls_module,
        calls_tanh_of_torch,
        calls_operator,
    ],
    "reference-used": [calls_reference, calls_oracle, vit_encoder.gelu],
    "returns-none": [returned_nothing],
    "wrong-type": [returned_list],
    "wrong-shape": [summed],
}

# Wrong answers of dropout.


def only_masked(x, p, training):
    check_p(p)
    return x * (torch.rand_like(x) > p) if training else x


def divided_by_p(x, p, training):
    check_p(p)
    if not training or p == 0:
        return x
    return x * (torch.rand_like(x) > p) / p


def kept_and_scaled_with_p(x, p, training):
    check_p(p)
    if not training or p == 0:
        return x
    return x * torch.bernoulli(torch.full_like(x, p)) / p


def bernoulli_of_p(x, p, training):
    check_p(p)
    if not training or p == 0:
        return x
    gate = torch.bernoulli(torch.full_like(x, p))
    return x * gate / (1 - p) if p < 1 else 0 * x


def checked_in_training_alone(x, p, training):
    return with_rand_like(x, p, True) if training else x.clone()


def mode_forgotten(x, p, training):
    return with_rand_like(x, p, True)


def mode_turned(x, p, training):
    return with_rand_like(x, p, not training)


def does_nothing(x, p, training):
    check_p(p)
    return x.clone()


def scaled_after(x, p, training):
    return with_rand_like(x, p, True) if training else x * (1 - p)


def divides_tensors(x, p, training):
    check_p(p)
    if not training:
        return x
    return x * (torch.rand_like(x) >= p) / (1 - p)


def divides_numbers(x, p, training):
    check_p(p)
    if not training:
        return x
    scale = 1 / (1 - p)
    return x * (torch.rand_like(x) >= p) * scale


def writes_into_x(x, p, training):
    check_p(p)
    if not training:
        return x
    with torch.no_grad():
        x[torch.rand_like(x) < p] = 0
    return x / (1 - p) if p < 1 else x * 0


def gate_for_a_token(x, p, training):
    check_p(p)
    if not training:
        return x
    kept = torch.rand(*x.shape[:-1], 1, device=x.device) >= p
    return x * kept * (1 / (1 - p) if p < 1 else 0)


def gate_for_a_feature(x, p, training):
    check_p(p)
    if not training:
        return x
    kept = torch.rand(x.shape[-1], device=x.device) >= p
    return x * kept * (1 / (1 - p) if p < 1 else 0)


def gate_for_all_images(x, p, training):
    check_p(p)
    if not training:
        return x
    kept = torch.rand(x.shape[1:], device=x.device) >= p
    return x * kept * (1 / (1 - p) if p < 1 else 0)


def one_gate(x, p, training):
    check_p(p)
    if not training:
        return x
    return x * (torch.rand(()).item() >= p) * (1 / (1 - p) if p < 1 else 0)


def as_in_2014(x, p, training):
    check_p(p)
    return x * torch.bernoulli(torch.full_like(x, 1 - p)) if training else x * (1 - p)


def seeded(x, p, training):
    torch.manual_seed(0)
    return with_rand_like(x, p, training)


def smallest_dropped(x, p, training):
    check_p(p)
    if not training:
        return x
    if p == 1:
        return 0 * x
    return x * (x.abs() >= x.abs().quantile(p)) / (1 - p)


def exact_count(x, p, training):
    check_p(p)
    if not training:
        return x
    order = torch.randperm(x.numel(), device=x.device).view(x.shape)
    return x * (order >= round(p * x.numel())) * (1 / (1 - p) if p < 1 else 0)


def takes_any_p(x, p, training):
    if not training:
        return x
    kept = torch.rand_like(x) >= p
    return x * kept * (1 / (1 - p) if p < 1 else 0)


def asserts_p(x, p, training):
    assert 0 <= p <= 1
    return with_rand_like(x, p, training)


def dropout_in_float32(x, p, training):
    return with_rand_like(x.float(), p, training).to(x.dtype)


def gate_of_float32(x, p, training):
    check_p(p)
    if not training:
        return x
    return x.float() * (torch.rand_like(x) >= p) * (1 / (1 - p) if p < 1 else 0)


def gate_on_cpu(x, p, training):
    check_p(p)
    if not training:
        return x
    return x * (torch.rand(x.shape) >= p) * (1 / (1 - p) if p < 1 else 0)


@torch.no_grad()
def without_gradient(x, p, training):
    return with_rand_like(x, p, training)


def calls_f(x, p, training):
    return F.dropout(x, p, training)


def calls_nn(x, p, training):
    return nn.Dropout(p).train(training)(x)


def calls_alpha(x, p, training):
    return F.alpha_dropout(x, p, training)


def calls_native(x, p, training):
    return torch.native_dropout(x, p, training)[0]


def calls_course(x, p, training):
    return vit_encoder.dropout(x, p, training)


def drops_after_dividing(x, p, training):
    check_p(p)
    if not training:
        return x
    dropped = torch.rand_like(x) < p
    return torch.where(dropped, torch.zeros_like(x), x / (1 - p))


def straight_through(x, p, training):
    return x + (with_rand_like(x, p, training) - x).detach()


def only_kept(x, p, training):
    check_p(p)
    return x[torch.rand_like(x) >= p] if training else x


def gate_too(x, p, training):
    return with_rand_like(x, p, training), x != 0


def two_arguments(x, p):
    return with_rand_like(x, p, True)


def by_the_book(x, p, training):
    check_p(p)
    if not training or p == 0:
        return x
    kept = torch.rand_like(x) >= p
    scale = 1 / (1 - p) if p < 1 else 0
    return x * kept * scale


def checking(code):
    """by_the_book with other code in place of its check of p."""
    return {"check_p(p)": code}


WRONG_DROPOUT = {
    "normal-for-uniform": variants(by_the_book, {"rand_like(x)": "randn_like(x)"}),
    "another-share": variants(
        by_the_book,
        {"torch.rand_like(x) >= p": "torch.randint(0, 2, x.shape, device=x.device)"},
        {">= p": ">= 0.5"},
        {"rand_like(x)": "rand_like(x) * 100"},
        {">= p": "< p", " * scale": ""},
        {" * scale": " * (torch.rand_like(x) >= p) * scale**2"},
    ),
    "another-scale": variants(
        by_the_book,
        {"1 / (1 - p)": "1 / (1 - p) ** 0.5"},
        {"1 / (1 - p)": "1 / (1 - p) ** 2"},
        {"1 / (1 - p)": "1 // (1 - p)"},
        {"1 / (1 - p)": "1 + p"},
        {"return x *": "return x.abs() *"},
        {"1 / (1 - p)": "int(1 / (1 - p)) + 1"},
    ),
    "scaled-by-count": variants(
        by_the_book, {"* scale": "/ kept.to(x).mean().clamp_min(1e-9)"}
    ),
    "nothing-becomes-0": [
        *variants(
            by_the_book,
            {"x * kept": "x.masked_fill(~kept, -1)"},
            {"x * kept": "torch.where(kept, x, x.mean())"},
            {"x * kept": "x.masked_fill(~kept, 1e9)"},
            {"x * kept * scale": "x + p * torch.randn_like(x)"},
            {"* scale": "/ 1 - p"},
            {"* scale": "* scale + 0.01 * torch.randn_like(x)"},
            {"kept * scale": "(1 + p**0.5 * torch.randn_like(x))"},
        ),
    ],
    "border-refused": variants(
        by_the_book,
        checking("if not 0 < p < 1:\n        raise ValueError(p)"),
        checking("if not 0 <= p < 1:\n        raise ValueError(p)"),
    ),
    "error-returned": variants(
        by_the_book,
        checking("if not 0 <= p <= 1:\n        return ValueError(p)"),
    ),
    "always-on": [mode_forgotten],
    "modes-swapped": [mode_turned],
    "changed-after-training": [
        *variants(
            by_the_book,
            {"        return x\n": "        return x / (1 - p) if p < 1 else x\n"},
            {"        return x\n": "        return x + p\n"},
        ),
    ],
    "returns-none": variants(by_the_book, {"return x * kept": "x * kept"}),
    "gradient-of-what-is-dropped": variants(
        by_the_book, {"x * kept * scale": "torch.where(kept, x / (1 - p), 0 * x)"}
    ),
    "nan-hidden": variants(
        by_the_book, {"        return x\n": "        return x.nan_to_num()\n"}
    ),
    "wrong-signature": [two_arguments],
    "not-scaled": [only_masked],
    "divided-by-p": [divided_by_p],
    "kept-with-p": [kept_and_scaled_with_p],
    "gate-turned": [bernoulli_of_p],
    "never-on": [does_nothing],
    ("scaled-twice", "probability-not-checked"): [scaled_after],
    "scaled-after-training": [as_in_2014],
    "divided-by-zero": [divides_tensors, divides_numbers],
    "input-changed": [writes_into_x],
    "shared-gates": [
        gate_for_a_token,
        gate_for_a_feature,
        gate_for_all_images,
        one_gate,
        *variants(
            by_the_book,
            {"torch.rand_like(x) >=": "torch.rand(1) >="},
            {"torch.rand_like(x) >= p": "torch.bernoulli(torch.tensor(1 - p))"},
        ),
    ],
    "same-gates-again": [
        seeded,
        smallest_dropped,
        *variants(by_the_book, {"torch.rand_like(x)": "x.abs() * 10 % 1"}),
    ],
    "count-fixed": [exact_count],
    "probability-not-checked": [
        checked_in_training_alone,
        takes_any_p,
        *variants(
            by_the_book,
            checking("if p < 0 and p > 1:\n        raise ValueError(p)"),
            checking("if not 0 <= p <= 1:\n        print(p)"),
            checking("p = min(max(p, 0), 1)"),
        ),
    ],
    "wrong-error": [
        asserts_p,
        *variants(
            by_the_book, checking("if not 0 <= p <= 1:\n        raise Exception(p)")
        ),
    ],
    "computed-in-float32": [dropout_in_float32],
    "dtype-changed": [
        gate_of_float32,
        *variants(
            by_the_book,
            {"kept =": "if p == 1:\n        return torch.zeros(x.shape)\n    kept ="},
        ),
    ],
    "device-fixed": [gate_on_cpu],
    "gradient-cut": [
        without_gradient,
        *variants(by_the_book, {"        return x\n": "        return x.detach()\n"}),
    ],
    "built-in-used": [calls_f, calls_nn, calls_alpha, calls_native],
    "reference-used": [calls_course, vit_encoder.dropout],
    "wrong-shape": [only_kept],
    "wrong-type": [gate_too],
}

# Wrong answers of MLP.


class GeluLast(Layers):
    def forward(self, x):
        return self.drop(F.gelu(self.fc2(self.drop(self.fc1(x)))))


class NoBend(Layers):
    def forward(self, x):
        return self.drop(self.fc2(self.drop(self.fc1(x))))


class Relu(Layers):
    def forward(self, x):
        return self.drop(self.fc2(self.drop(F.relu(self.fc1(x)))))


class Silu(Layers):
    def forward(self, x):
        return self.drop(self.fc2(self.drop(F.silu(self.fc1(x)))))


class Tanh(Layers):
    def forward(self, x):
        hidden = F.gelu(self.fc1(x), approximate="tanh")
        return self.drop(self.fc2(self.drop(hidden)))


class ReluWithoutDropout(Layers):
    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


class AddsInput(WithModules):
    def forward(self, x):
        return x + super().forward(x)


class SeesTheMean(WithModules):
    def forward(self, x):
        return super().forward(x + x.mean(1, keepdim=True))


class SeesTheTokenBefore(WithModules):
    def forward(self, x):
        return super().forward(x + x.roll(1, dims=1))


class SeesAllImages(WithModules):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class WidthOfToken(Layers):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__(dim, dim, dropout)

    def forward(self, x):
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x)))))


class FourTimes(WithModules):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__(dim, 4 * dim, dropout)


class StaysWide(WithModules):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__(dim, mlp_dim, dropout)
        self.fc2 = nn.Linear(mlp_dim, mlp_dim)


class OneLayer(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        self.fc1 = nn.Linear(dim, mlp_dim)

    def forward(self, x):
        return F.gelu(self.fc1(x))


class OtherNames(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        self.net = InOneRow(dim, mlp_dim, dropout)

    def forward(self, x):
        return self.net(x)


class WithoutBiases(WithModules):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__(dim, mlp_dim, dropout)
        self.fc1 = nn.Linear(dim, mlp_dim, bias=False)
        self.fc2 = nn.Linear(mlp_dim, dim, bias=False)


class ForgetsTheMode(Layers):
    def forward(self, x):
        return F.dropout(self.fc2(F.dropout(F.gelu(self.fc1(x)), self.p)), self.p)


class NewModulesEachTime(Layers):
    def forward(self, x):
        drop = nn.Dropout(self.p)
        return drop(self.fc2(drop(F.gelu(self.fc1(x)))))


class DropsAtTheEnd(Layers):
    def forward(self, x):
        return self.drop(self.fc2(F.gelu(self.fc1(x))))


class DropsInside(Layers):
    def forward(self, x):
        return self.fc2(self.drop(F.gelu(self.fc1(x))))


class DropsBeforeGelu(Layers):
    def forward(self, x):
        return self.drop(self.fc2(F.gelu(self.drop(self.fc1(x)))))


class DropsInput(Layers):
    def forward(self, x):
        return self.drop(self.fc2(F.gelu(self.fc1(self.drop(x)))))


class NeverDrops(Layers):
    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class OwnDropoutNotScaled(Layers):
    def drop(self, x):
        return only_masked(x, self.p, self.training)

    def forward(self, x):
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x)))))


class DropsTokens(Layers):
    def drop(self, x):
        return gate_for_a_token(x, self.p, self.training)

    def forward(self, x):
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x)))))


class AnyProbability(Layers):
    def drop(self, x):
        return takes_any_p(x, self.p, self.training)

    def forward(self, x):
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x)))))


class InFloat32(WithModules):
    def forward(self, x):
        hidden = self.drop(F.gelu(self.fc1(x)).float().to(x.dtype))
        return self.drop(self.fc2(hidden).float().to(x.dtype))


class WritesIntoX(WithModules):
    def forward(self, x):
        y = super().forward(x)
        x.data.add_(1)
        return y


class LayersMadeInForward(WithModules):
    def forward(self, x):
        fc1 = nn.Linear(x.shape[-1], self.fc1.out_features).to(x)
        return self.drop(self.fc2(self.drop(F.gelu(fc1(x)))))


class BatchNormInside(WithModules):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__(dim, mlp_dim, dropout)
        self.norm = nn.BatchNorm1d(mlp_dim)

    def forward(self, x):
        hidden = self.norm(self.fc1(x).mT).mT
        return self.drop(self.fc2(self.drop(F.gelu(hidden))))


class Detached(WithModules):
    def forward(self, x):
        hidden = self.drop(F.gelu(self.fc1(x.detach())))
        return self.drop(self.fc2(hidden))


class PairReturned(WithModules):
    def forward(self, x):
        return super().forward(x), F.gelu(self.fc1(x))


class Inherited(vit_encoder.MLP):
    pass


class Wrapped(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        self.mlp = vit_encoder.MLP(dim, mlp_dim, dropout)
        self.fc1, self.fc2 = self.mlp.fc1, self.mlp.fc2

    def forward(self, x):
        return self.mlp(x)


FC1, FC2 = "self.fc1 = nn.Linear(dim, mlp_dim)", "self.fc2 = nn.Linear(mlp_dim, dim)"


def wrong_steps(*changes):
    """InSteps with other text in some places."""
    return variants(InSteps, *changes)


def acting(*activations):
    """InSteps with other activations."""
    return wrong_steps(*({"nn.GELU()": other} for other in activations))


def returning(*results):
    """InSteps that returns something else."""
    return wrong_steps(*({"return x": f"return {other}"} for other in results))


def beginning(*inputs):
    """InSteps whose first layer reads something else."""
    return wrong_steps(*({"self.fc1(x)": f"self.fc1({other})"} for other in inputs))


def with_part(part, **changes):
    """Changes of InSteps that give it one part more."""
    return {FC2: f"{FC2}\n        {part}", **changes}


class InAPlainList(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        self.layers = [nn.Linear(dim, mlp_dim), nn.Linear(mlp_dim, dim)]
        self.p = dropout

    def forward(self, x):
        x = F.dropout(F.gelu(self.layers[0](x)), self.p, self.training)
        return F.dropout(self.layers[1](x), self.p, self.training)


RESIDUAL = {"x = self.fc1(x)": "y = x\n        x = self.fc1(x)"}
WRONG_MLP = {
    "layers-hidden": [InAPlainList],
    "layers-exchanged": wrong_steps(
        {"dim, mlp_dim, dropout=0.0": "mlp_dim, dim, dropout=0.0"},
        {FC1: FC1.replace("dim, mlp_dim", "mlp_dim, dim")}
        | {FC2: FC2.replace("mlp_dim, dim", "dim, mlp_dim")},
    ),
    "not-only-the-bias": [
        *returning(
            *("x.softmax(-1)", "x.sigmoid()", "x.tanh()", "x.relu()", "x / 2"),
            *("F.layer_norm(x, x.shape[-1:])", "x + self.fc2.bias", "1.01 * x"),
        ),
        *wrong_steps(
            RESIDUAL | {"return x": "return F.layer_norm(x + y, x.shape[-1:])"},
            RESIDUAL | {"return x": "return (x + y) / 2"},
            with_part(
                "self.fc3 = nn.Linear(dim, dim)", **{"return x": "return self.fc3(x)"}
            ),
            {"x = self.fc2(x)": "x = F.linear(x, self.fc1.weight.T, self.fc2.bias)"},
        ),
    ],
    "features-mixed": [
        *acting("nn.Softmax(-1)"),
        *beginning("F.layer_norm(x, x.shape[-1:])", "x - x.mean(-1, keepdim=True)"),
        *wrong_steps(
            {"self.fc2(x)": "self.fc2(F.layer_norm(x, x.shape[-1:]))"},
            {"self.fc2(x)": "self.fc2(x / x.norm(dim=-1, keepdim=True))"},
        ),
    ],
    "another-activation": [
        *acting("nn.Tanh()", "nn.Sigmoid()", "nn.LeakyReLU()", "nn.ELU()", "nn.Mish()"),
        *acting("nn.Softplus()", "nn.Hardswish()"),
        *wrong_steps(
            {"self.fc2(x)": "self.fc2(self.act(x))"},
            {"self.act(x)": "self.act(x) * x"},
            {"self.act(x)": "F.relu(x) ** 2"},
        ),
    ],
    "extra-parameters": wrong_steps(
        with_part(
            "self.scale = nn.Parameter(torch.ones(dim))",
            **{"return x": "return x * self.scale"},
        ),
        with_part("self.head = nn.Linear(dim, 10)"),
    ),
    "unasked-dropout": [
        *wrong_steps(
            {"dropout=0.0": "dropout=0.1"},
            {"self.drop1 = nn.Dropout(dropout)": "self.drop1 = nn.Dropout()"},
            {"self.drop1(x)": "F.dropout(x, training=self.training)"},
        ),
    ],
    "differs-in-training": [BatchNormInside],
    "dropout-after-training": wrong_steps(
        {"self.drop1(x)": "F.dropout(x, self.drop1.p)"},
        {"self.drop2(x)": "nn.Dropout(self.drop1.p)(x)"},
    ),
    "dropout-off-for-good": wrong_steps(
        {
            "x = self.fc1(x)": "if not self.training:\n            self.drop1.p = 0.0\n"
            "        x = self.fc1(x)"
        },
    ),
    "another-share": wrong_steps(
        {"self.drop1 = nn.Dropout": "self.drop1 = nn.AlphaDropout"},
        {"self.drop2 = nn.Dropout(dropout)": "self.drop2 = nn.Dropout(dropout / 2)"},
        {"self.fc1(x)": "self.fc1(self.drop1(x))"},
        {"self.drop2(x)": "self.drop2(self.drop1(x))"},
    ),
    "another-scale": wrong_steps(
        {"self.drop1(x)": "x * (self.drop1(torch.ones_like(x)) > 0)"}
    ),
    "by-no-chance": wrong_steps(
        {"self.drop1 = nn.Dropout": "self.drop1 = nn.Dropout1d"}
    ),
    "seed-set": wrong_steps(
        {"x = self.fc1(x)": "torch.manual_seed(0)\n        x = self.fc1(x)"}
    ),
    "nan-hidden": returning("x.nan_to_num()"),
    "axis-squeezed": returning("x.squeeze()", "x.view(-1, x.shape[-1])"),
    "wrong-shape": [
        *returning("x.mean(1)", "x.flatten(1)", "self.fc1(x)"),
        *beginning("x[:, :1]"),
    ],
    "trailing-comma": returning("x,"),
    "printed-not-returned": wrong_steps({"return x": "print(x)"}),
    "super-init-missing": wrong_steps({"        super().__init__()\n": ""}),
    "self-forgotten": wrong_steps({"(self, x)": "(x)"}),
    "wrong-signature": wrong_steps({"dropout=0.0": "dropout"}),
    "layer-not-called": acting("nn.GELU"),
    "attribute-never-set": wrong_steps({FC1: FC1[5:]}, {"self.fc1(x)": "self.fc(x)"}),
    "shapes-do-not-multiply": [
        *wrong_steps({"self.fc2(x)": "self.fc1(x)"}),
        *beginning("x.mT"),
    ],
    "undefined-name": wrong_steps({"x = self.fc1(x)": "x = linear(x)"}),
    "activation-at-the-end": [GeluLast],
    "no-activation": [NoBend],
    "relu": [Relu, ReluWithoutDropout],
    "silu": [Silu],
    "tanh-formula": [Tanh],
    "residual-inside": [AddsInput],
    "tokens-mixed": [
        SeesTheMean,
        SeesTheTokenBefore,
        SeesAllImages,
        *beginning("x.cumsum(1)", "x - x.mean(1, keepdim=True)", "x.flip(1)"),
    ],
    "hidden-width-ignored": [WidthOfToken],
    "wrong-parameter-shape": [
        FourTimes,
        StaysWide,
        *wrong_steps({FC2: "self.fc2 = nn.Linear(dim, mlp_dim)"}),
    ],
    "missing-parameters": [OneLayer, OtherNames],
    "no-bias": [WithoutBiases],
    "dropout-always-on": [ForgetsTheMode, NewModulesEachTime],
    "dropout-once": [DropsAtTheEnd],
    "dropout-only-inside": [DropsInside],
    "dropout-before-activation": [DropsBeforeGelu],
    "dropout-at-the-start": [DropsInput],
    "dropout-ignored": [NeverDrops],
    "not-scaled": [OwnDropoutNotScaled],
    "shared-gates": [DropsTokens],
    "probability-not-checked": [AnyProbability],
    "computed-in-float32": [InFloat32],
    "input-changed": [WritesIntoX],
    "not-deterministic": [LayersMadeInForward],
    "gradient-cut": [Detached],
    "wrong-type": [PairReturned],
    "reference-used": [Inherited, Wrapped, vit_encoder.MLP],
}

# Nobody recorded these: they fail, and get no name.

NAMELESS_MLP = wrong_steps({"self.fc1(x)": "self.fc1(x).clamp(-10, 10)"})

# Answers of SwiGLU.


class Gated(nn.Module):
    """As most people write it."""

    def __init__(self, dim, mlp_dim):
        super().__init__()
        hidden = int(2 * mlp_dim / 3)
        self.gate = nn.Linear(dim, hidden)
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)

    def forward(self, x):
        gate, up = self.gate(x), self.up(x)
        return self.down(F.silu(gate) * up)


class GatedBySigmoid(nn.Module):
    """SiLU by hand, without names for what is between."""

    def __init__(self, dim, mlp_dim):
        super().__init__()
        width = math.floor(mlp_dim * 2 / 3)
        self.up, self.gate = nn.Linear(dim, width), nn.Linear(dim, width)
        self.down = nn.Linear(width, dim)

    def forward(self, x):
        u = self.gate(x)
        u = u * torch.sigmoid(u)
        return self.down(u.mul(self.up(x)))


class GatedWithCount(nn.Module):
    """The width by counting, the layers as matrices, tokens one by one."""

    def __init__(self, dim, mlp_dim):
        super().__init__()
        hidden = max(h for h in range(1, mlp_dim) if 3 * dim * h <= 2 * dim * mlp_dim)
        self.act = nn.SiLU()
        self.gate = nn.Linear(dim, hidden)
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)

    def forward(self, x):
        tokens = [
            self.down(self.act(self.gate(token)) * self.up(token))
            for token in x.unbind(1)
        ]
        return torch.stack(tokens, 1)


class GatedMatrices(nn.Module):
    def __init__(self, dim, mlp_dim):
        super().__init__()
        hidden = mlp_dim - -(-mlp_dim // 3)
        for name, size in (
            ("gate", (dim, hidden)), ("up", (dim, hidden)), ("down", (hidden, dim)),
        ):  # fmt: skip
            self.register_parameter(name, nn.Parameter(torch.randn(size)))
            bias = nn.Parameter(torch.zeros(size[1]))
            self.register_parameter(f"{name}_bias", bias)

    def forward(self, x):
        gate = F.silu(x @ self.gate + self.gate_bias)
        return gate * (x @ self.up + self.up_bias) @ self.down + self.down_bias


def wrong_gated(*changes):
    """Gated with other text in some places."""
    return variants(Gated, *changes)


PRODUCT = "F.silu(gate) * up"


class GatesInAList(nn.Module):
    def __init__(self, dim, mlp_dim):
        super().__init__()
        self.into = [nn.Linear(dim, mlp_dim), nn.Linear(dim, mlp_dim)]
        self.out = nn.Linear(mlp_dim, dim)

    def forward(self, x):
        return self.out(F.silu(self.into[0](x)) * self.into[1](x))


WRONG_SWIGLU = {
    "layers-hidden": [GatesInAList],
    "silu-on-the-other": wrong_gated(
        {PRODUCT: "gate * F.silu(up)"},
        {"self.gate(x), self.up(x)": "self.up(x), self.gate(x)"},
    ),
    "silu-of-the-product": wrong_gated({PRODUCT: "F.silu(gate * up)"}),
    "sigmoid-for-silu": wrong_gated({PRODUCT: "F.glu(torch.cat([up, gate], -1))"}),
    "gelu-for-silu": wrong_gated({PRODUCT: "vit_encoder.gelu(gate) * up"}),
    "up-left-out": wrong_gated({"F.silu(gate) * up": "F.silu(gate)"}),
    "gate-on-itself": wrong_gated({"self.up(x)": "self.gate(x)"}),
    "input-added": wrong_gated({"return self": "return x + self"}),
    "another-width": wrong_gated(
        {"int(2 * mlp_dim / 3)": "2 * mlp_dim"},
        {"int(2 * mlp_dim / 3)": "4 * dim"},
        {"int(2 * mlp_dim / 3)": "(int(2 * mlp_dim / 3) + 7) // 8 * 8"},
        {"int(2 * mlp_dim / 3)": "int(2 * mlp_dim / 3) - 1"},
    ),
    "width-not-reduced": wrong_gated({"int(2 * mlp_dim / 3)": "mlp_dim"}),
    "width-rounded-up": wrong_gated(
        {"int(2 * mlp_dim / 3)": "-(-2 * mlp_dim // 3)"},
        {"int(2 * mlp_dim / 3)": "int(2 * mlp_dim / 3 + 0.99)"},
    ),
    "not-only-the-bias": wrong_gated(
        {"self.down(": "1.1 * self.down("},
        {"return self": "return F.layer_norm(x, x.shape[-1:]) * 0.1 + self"},
        {PRODUCT: "F.silu(gate) * (1 + up)"},
        {PRODUCT: "torch.where(gate > 0, gate, up)"},
    ),
    "up-bent": wrong_gated(
        {PRODUCT: "F.silu(gate) * up.tanh()"},
        {PRODUCT: "F.silu(gate) * F.relu(up)"},
    ),
    "another-activation": wrong_gated(
        {"F.silu(gate)": "F.relu(gate)"},
        {"F.silu(gate)": "gate.tanh()"},
        {"F.silu(gate)": "gate.softmax(-1)"},
        {"F.silu(gate)": "gate * torch.sigmoid(1.702 * gate)"},
    ),
    "tokens-mixed": wrong_gated({"self.up(x)": "self.up(x.mean(1, keepdim=True))"}),
    "no-bias": wrong_gated(
        {"gate = nn.Linear(dim, hidden)": "gate = nn.Linear(dim, hidden, bias=False)"},
        {
            "gate = nn.Linear(dim, hidden)": "gate = nn.Linear(dim, hidden, False)",
            "up = nn.Linear(dim, hidden)": "up = nn.Linear(dim, hidden, False)",
            "nn.Linear(hidden, dim)": "nn.Linear(hidden, dim, False)",
        },
    ),
    "extra-parameters": [with_one_more(Gated)],
    "missing-parameters": wrong_gated(
        {
            "self.gate = nn.Linear(dim, hidden)": "self.w1 = nn.Linear(dim, hidden)",
            "self.gate(x)": "self.w1(x)",
        }
    ),
    "shared-parameters": wrong_gated(
        {"self.up = nn.Linear(dim, hidden)": "self.up = self.gate"}
    ),
    "unasked-dropout": wrong_gated(
        {PRODUCT: f"F.dropout({PRODUCT}, 0.1, self.training)"}
    ),
    "gradient-differs": wrong_gated({"F.silu(gate)": "F.silu(gate.detach())"}),
}
NAMELESS_SWIGLU = wrong_gated(
    {"self.up(x)": "self.up(x.abs())"},
    {"self.up(x)": "self.up(x.roll(1, -1))"},
    {"self.up(x)": "self.up(F.silu(x))"},
)

# Answers of the new bias.


def with_a_mask(w1, b1, w2, b2):
    idle = w1.abs().sum(dim=1) == 0
    return b2 + (w2 * idle) @ F.gelu(b1)


def unit_by_unit(w1, b1, w2, b2):
    bias = b2.clone()
    for unit in range(len(w1)):
        if not w1[unit].any():
            bias = bias + vit_encoder.gelu(b1[unit]) * w2[:, unit]
    return bias


def from_two_mlps(w1, b1, w2, b2):
    """What the whole MLP gives for zeros, without what the other units give."""
    reads = (w1 != 0).any(-1)
    whole = F.linear(F.gelu(b1), w2, b2)
    return whole - F.linear(F.gelu(b1[reads]), w2[:, reads])


def with_columns(w1, b1, w2, b2):
    idle = torch.nonzero(w1.count_nonzero(dim=1) == 0).flatten()
    handed_on = F.gelu(b1.index_select(0, idle))
    return torch.addmv(b2, w2.index_select(1, idle), handed_on)


def folding(*changes):
    """with_a_mask with other text in some places."""
    return variants(with_a_mask, *changes)


WRONG_FOLDED = {
    "wrong-kind": [InSteps],  # what earned the points of task 5
    "same-as-the-bug": folding({"F.gelu(b1)": "b1"}),
    "nothing-taken-over": folding({" + (w2 * idle) @ F.gelu(b1)": ""}),
    "all-units": folding({"w2 * idle": "w2"}),
    "other-units": folding({"== 0": "!= 0"}),
    "one-zero-is-enough": folding({"w1.abs().sum(dim=1) == 0": "(w1 == 0).any(1)"}),
    "weights-add-up-to-0": folding({"w1.abs().sum(dim=1)": "w1.sum(dim=1).abs()"}),
    "first-bias-lost": folding({"b2 + ": ""}),
    "bent-after-fc2": folding({"(w2 * idle) @ F.gelu(b1)": "F.gelu((w2 * idle) @ b1)"}),
    "taken-away": folding({"b2 + ": "b2 - "}),
    "relu-for-gelu": folding({"F.gelu": "F.relu"}),
    "averaged": folding(
        {"return b2 + (w2 * idle)": "return b2 + (w2 * idle / idle.sum().clamp_min(1))"}
    ),
    "changed-without-need": folding(
        {"return b2": "return F.gelu(b2)"}, {"return b2": "return 2 * b2"}
    ),
    "wrong-shape": folding(
        {"return b2 + (w2 * idle) @ F.gelu(b1)": "return b1 * idle"}
    ),
}
NAMELESS_FOLDED = folding(
    {"F.gelu(b1)": "F.silu(b1)"},
    {"F.gelu(b1)": "F.gelu(b1, approximate='tanh')"},
    {"F.gelu(b1)": "(b1 * idle).sigmoid()"},
    {"b2 + (w2": "b2 + 2 * (w2"},
)

# Answers of one device's share.


def with_chunks(x, w1, b1, w2, b2, rank, count):
    if w1.shape[0] % count != 0:
        raise ValueError("not divisible")
    w1 = w1.chunk(count, dim=0)[rank]
    b1 = b1.chunk(count)[rank]
    w2 = w2.chunk(count, dim=1)[rank]
    out = F.gelu(x @ w1.T + b1) @ w2.T
    if rank == 0:
        out = out + b2
    return out


def with_axes_split(x, w1, b1, w2, b2, rank, count):
    """The pieces get an axis of their own."""
    M, D = w1.shape
    if M % count:
        raise ValueError(f"{M} hidden units on {count} devices")
    first, bias = w1.view(count, -1, D)[rank], b1.view(count, -1)[rank]
    second = w2.unflatten(1, (count, -1))[:, rank]
    bias2 = b2 if rank == 0 else torch.zeros_like(b2)
    return F.linear(vit_encoder.gelu(F.linear(x, first, bias)), second, bias2)


def with_a_mask_of_units(x, w1, b1, w2, b2, rank, count):
    size, rest = divmod(w1.shape[0], count)
    if rest != 0:
        raise ValueError
    place = torch.arange(w1.shape[0], device=x.device) // size
    hidden = F.gelu(F.linear(x, w1, b1)) * (place == rank)
    return hidden @ w2.T + (rank == 0) * b2


def on_modules(x, w1, b1, w2, b2, rank, count):
    """Small layers that hold a piece, as the devices of a real model do."""
    units = w1.size(0)
    if units / count != units // count:
        raise ValueError(f"{units} / {count}")
    a, b = rank * units // count, (rank + 1) * units // count
    hidden = torch.einsum("...d,md->...m", x, w1[a:b]).add(b1[a:b])
    y = torch.einsum("...m,dm->...d", F.gelu(hidden), w2[:, a:b])
    return y if rank else y + b2


def sharing(*changes):
    """with_chunks with other text in some places."""
    return variants(with_chunks, *changes)


NO_CONDITION = {"    if rank == 0:\n        out = out + b2\n": "    out = out + b2\n"}
WRONG_SHARE = {
    "bias-on-every-device": sharing(NO_CONDITION),
    "bias-on-no-device": sharing({"        out = out + b2\n": "        pass\n"}),
    "bias-on-device-1": sharing({"if rank == 0": "if rank == 1"}),
    "bias-shared-out": sharing(
        {**NO_CONDITION, "@ w2.T\n": "@ w2.T - b2 + b2 / count\n"}
    ),
    "bias-elsewhere": sharing({"if rank == 0": "if rank == count - 1"}),
    "features-split": sharing(
        {
            "w1.chunk(count, dim=0)": "w1.chunk(count, dim=1)",
            "b1 = b1.chunk(count)[rank]": "b1 = b1 / count",
            "w2 = w2.chunk(count, dim=1)[rank]": "x = x.chunk(count, dim=-1)[rank]",
        }
    ),
    "features-split-and-bias": sharing(
        {
            "w1.chunk(count, dim=0)": "w1.chunk(count, dim=1)",
            "b1 = b1.chunk(count)[rank]": "x = x.chunk(count, dim=-1)[rank]",
            "    w2 = w2.chunk(count, dim=1)[rank]\n": "",
        }
    ),
    "first-columns-everywhere": sharing({"dim=1)[rank]": "dim=1)[0]"}),
    "every-other-unit": sharing(
        {
            "w1.chunk(count, dim=0)[rank]": "w1[rank::count]",
            "b1.chunk(count)[rank]": "b1[rank::count]",
            "w2.chunk(count, dim=1)[rank]": "w2[:, rank::count]",
        }
    ),
    "activation-at-the-end": sharing(
        {"F.gelu(x @ w1.T + b1) @ w2.T": "F.gelu((x @ w1.T + b1) @ w2.T)"}
    ),
    "no-activation": sharing({"F.gelu(x @ w1.T + b1)": "(x @ w1.T + b1)"}),
    "whole-on-every-device": sharing(
        {
            "    w1 = w1.chunk(count, dim=0)[rank]\n": "",
            "    b1 = b1.chunk(count)[rank]\n": "",
            "    w2 = w2.chunk(count, dim=1)[rank]\n": "",
        }
    ),
    "other-weights-used": sharing(
        {"w2.chunk(count, dim=1)[rank]": "w2.unflatten(1, (count, -1)).mean(1)"}
    ),
    "bias-miscounted": sharing({"out = out + b2": "out = out + b2 / 2"}),
    "remainder-dropped": sharing(
        {"w1.shape[0] % count != 0": "False"},
        {"w1.shape[0] % count != 0": "count > w1.shape[0]"},
    ),
    "wrong-error": sharing({'raise ValueError("not divisible")': "assert False"}),
    "wrong-shape": sharing(
        {"w2.chunk(count, dim=1)": "w2[: len(w2) // 2].chunk(count, dim=1)"}
    ),
    "shapes-do-not-multiply": sharing({"dim=1)[rank]": "dim=0)[rank]"}),
    "input-changed": sharing({"    return out": "    x.data.mul_(2)\n    return out"}),
    "gradient-cut": sharing({"F.gelu(x @ w1.T": "F.gelu(x @ w1.detach().T"}),
}
NAMELESS_SHARE = sharing(
    {"F.gelu(x @ w1.T + b1)": "F.silu(x @ w1.T + b1)"},
    {"F.gelu(x @ w1.T + b1)": "F.gelu(x @ w1.T + b1, approximate='tanh')"},
    {"    return out": "    return out / count"},
)

# Tests that a student may write.


def good_test(MLP):
    mlp = MLP(5, 20)
    x = torch.randn(2, 7, 5)
    y = mlp(x)
    for token in range(7):
        changed = x.clone()
        changed[:, token] = torch.randn(2, 5)
        same = (mlp(changed) - y).abs().amax((0, 2)) < 1e-5
        if same.sum() != 6:
            return False
    return not torch.allclose(mlp(2 * x) + mlp(0 * x), 2 * y, atol=1e-4)


def against_torch(MLP):
    mlp = MLP(5, 20, 0.0)
    state = list(mlp.state_dict().values())
    if [v.ndim for v in state] != [2, 1, 2, 1]:
        return False
    w1, b1, w2, b2 = state
    x = torch.randn(2, 7, 5)
    expected = F.linear(F.gelu(F.linear(x, w1, b1)), w2, b2)
    return torch.allclose(mlp(x), expected, atol=1e-5)


def with_asserts(MLP):
    mlp = MLP(3, 12).eval()
    x = torch.randn(1, 4, 3)
    for i in range(4):
        torch.testing.assert_close(mlp(x)[:, i], mlp(x[:, i : i + 1])[:, 0])
    zero = mlp(torch.zeros(1, 4, 3))
    assert (mlp(3 * x) - zero - 3 * (mlp(x) - zero)).abs().max() > 1e-3


def shapes(MLP):
    return MLP(5, 20)(torch.randn(2, 7, 5)).shape == (2, 7, 5)


def only_alone(MLP):
    mlp, x = MLP(5, 20), torch.randn(2, 7, 5)
    changed = x.clone()
    changed[:, 3] += 1
    return torch.allclose(mlp(changed)[:, :3], mlp(x)[:, :3], atol=1e-6)


def only_far_tokens(MLP):
    mlp, x = MLP(5, 20), torch.randn(2, 7, 5)
    changed = x.clone()
    changed[:, 0] += 1
    alone = torch.allclose(mlp(changed)[:, 3:], mlp(x)[:, 3:], atol=1e-6)
    return alone and not torch.allclose(mlp(2 * x) + mlp(0 * x), 2 * mlp(x), atol=1e-4)


def only_bend(MLP):
    mlp, x = MLP(5, 20), torch.randn(2, 7, 5)
    return not torch.allclose(mlp(2 * x) + mlp(0 * x), 2 * mlp(x), atol=1e-4)


def follows_order(MLP):
    mlp, x = MLP(5, 20), torch.randn(2, 7, 5)
    return torch.allclose(mlp(x.flip(1)), mlp(x).flip(1), atol=1e-5)


def exactly_equal(MLP):
    mlp, x = MLP(5, 20), torch.randn(2, 7, 5)
    return torch.equal(mlp(2 * x), 2 * mlp(x))


def wants_relu(MLP):
    mlp, x = MLP(5, 20), torch.randn(2, 7, 5)
    w1, b1, w2, b2 = mlp.state_dict().values()
    return torch.allclose(mlp(x), F.linear(F.relu(F.linear(x, w1, b1)), w2, b2))


def names_of_the_course(MLP):
    mlp = MLP(5, 20)
    return mlp.fc1.weight.shape == (20, 5)


# What tests/test_exercises.py runs: task → answers.

RIGHT = {
    "gelu": RIGHT_GELU,
    "dropout": RIGHT_DROPOUT,
    "MLP": RIGHT_MLP,
    "find_the_bug": [with_a_mask, unit_by_unit, from_two_mlps, with_columns],
    "SwiGLU": [Gated, GatedBySigmoid, GatedWithCount, GatedMatrices],
    "share": [with_chunks, with_axes_split, with_a_mask_of_units, on_modules],
}
WRONG = {
    "gelu": WRONG_GELU,
    "dropout": WRONG_DROPOUT,
    "MLP": WRONG_MLP,
    "find_the_bug": WRONG_FOLDED,
    "SwiGLU": WRONG_SWIGLU,
    "share": WRONG_SHARE,
}
NAMELESS = {
    "MLP": NAMELESS_MLP,
    "find_the_bug": NAMELESS_FOLDED,
    "SwiGLU": NAMELESS_SWIGLU,
    "share": NAMELESS_SHARE,
}
GOOD_TESTS = {"alone_and_bent": [good_test, against_torch, with_asserts]}
WEAK_TESTS = {
    "alone_and_bent": [
        (shapes, 0, "test-accepts-wrong"),
        (only_alone, 1, "test-accepts-wrong"),
        (only_far_tokens, 1, "test-accepts-wrong"),
        (only_bend, 0, "test-accepts-wrong"),
        (follows_order, 0, "test-accepts-wrong"),
        (exactly_equal, 0, "test-rejects-right"),
        (wants_relu, 0, "test-rejects-right"),
        (names_of_the_course, 0, "test-rejects-right"),
        (lambda MLP: MLP.__name__ == "MLP", 0, "test-rejects-right"),
    ]
}
