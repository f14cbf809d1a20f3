"""The part of chapter 04 against PyTorch's own layer, and its known wrong versions."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_encoder import LayerNorm
from vit_encoder.check import misconception
from vit_encoder.check.layer_norm import MISCONCEPTIONS
from vit_encoder.layer_norm import layer_norm

EXACT = {"rtol": 0, "atol": 1e-12}


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(4)


def randn(rng, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=rng, dtype=dtype)


def random_layers(rng, dim, eps):
    """The course's layer and PyTorch's, with the same random gain and bias."""
    ours, theirs = LayerNorm(dim, eps).double(), nn.LayerNorm(dim, eps).double()
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(randn(rng, dim))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("leading", [(), (2,), (2, 3), (2, 3, 5)])
@pytest.mark.parametrize("dim", [4, 7])
@pytest.mark.parametrize("eps", [1e-6, 1e-2])
def test_layer_norm_equals_pytorch(leading, dim, eps, rng):
    inputs = [
        tensor.requires_grad_()
        for tensor in (randn(rng, *leading, dim), randn(rng, dim), randn(rng, dim))
    ]
    x, weight, bias = inputs
    ours = layer_norm(x, weight, bias, eps)
    theirs = F.layer_norm(x, (dim,), weight, bias, eps)
    torch.testing.assert_close(ours, theirs, **EXACT)
    upstream = randn(rng, *leading, dim)
    for mine, other in zip(
        torch.autograd.grad(ours, inputs, upstream),
        torch.autograd.grad(theirs, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, **EXACT)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_module_equals_pytorch_at_every_scale(scale, rng):
    ours, theirs = random_layers(rng, 6, 1e-6)
    x = scale * randn(rng, 2, 5, 6)
    torch.testing.assert_close(ours(x), theirs(x), **EXACT)


def test_statistics_are_those_of_the_data_in_training_too(rng):
    ours, _ = random_layers(rng, 6, 1e-6)
    x = randn(rng, 2, 5, 6)
    assert torch.equal(ours.train()(x), ours.eval()(x))
    assert not list(ours.buffers())


def test_a_new_layer_only_normalizes_with_the_epsilon_of_vit(rng):
    layer = LayerNorm(6).double()
    x = randn(rng, 2, 5, 6) / 1000
    torch.testing.assert_close(layer(x), F.layer_norm(x, (6,), eps=1e-6), **EXACT)
    shapes = {name: tuple(p.shape) for name, p in layer.named_parameters()}
    assert shapes == {"weight": (6,), "bias": (6,)}


def test_a_constant_token_becomes_the_bias_and_its_gradient_is_finite(rng):
    layer, _ = random_layers(rng, 6, 1e-6)
    x = torch.full((2, 6), 3.0, dtype=torch.float64, requires_grad=True)
    output = layer(x)
    torch.testing.assert_close(output, layer.bias.expand(2, 6), **EXACT)
    (gradient,) = torch.autograd.grad(output, x, randn(rng, 2, 6))
    assert gradient.isfinite().all()


def test_a_large_mean_costs_few_digits(rng):
    x = randn(rng, 50, 64, dtype=torch.float32) + 1e4
    exact = F.layer_norm(x.double(), (64,), eps=1e-6)
    error = (LayerNorm(64)(x).double() - exact).abs().max()
    assert error < 5e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_as_in_pytorch(dtype, rng):
    ours, theirs = (layer.to(dtype) for layer in random_layers(rng, 64, 1e-6))
    x = (300 * randn(rng, 5, 64)).to(dtype)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16]
)
def test_dtype_is_kept(dtype, rng):
    layer = LayerNorm(6).to(dtype)
    assert layer(randn(rng, 2, 5, 6, dtype=dtype)).dtype == dtype


def test_input_is_not_changed(rng):
    x = randn(rng, 2, 5, 6)
    before = x.clone()
    LayerNorm(6).double()(x)
    assert torch.equal(x, before)


WRONG_INPUTS = {
    "no tensor": ([1.0], TypeError, "expected a tensor of features, got list"),
    "integers": (
        torch.ones(2, 5, 6, dtype=torch.long),
        TypeError,
        "floating-point dtype, got torch.int64",
    ),
    "no axis": (torch.ones(()), ValueError, r"\(\.\.\., 6\), got shape \(\)"),
    "other width": (torch.ones(2, 6, 7), ValueError, r"got shape \(2, 6, 7\)"),
    "width of 1": (torch.ones(2, 6, 1), ValueError, r"got shape \(2, 6, 1\)"),
}


@pytest.mark.parametrize(
    ("x", "error", "words"), WRONG_INPUTS.values(), ids=WRONG_INPUTS.keys()
)
def test_wrong_input_is_named(x, error, words):
    with pytest.raises(error, match=words):
        LayerNorm(6)(x)


# The wrong versions that the course knows.

FUNCTIONS = MISCONCEPTIONS["layer_norm"]


def revealing_inputs():
    """Tokens (..., 4) that together expose every wrong version of the function."""
    rng = torch.Generator().manual_seed(0)
    usual = randn(rng, 2, 3, 4) * 3 + 1
    return {
        "usual": usual,
        "four axes": torch.stack([usual, 2 * usual.flip(1)]),
        "small": usual / 3000,
        "constant": torch.full_like(usual, 3.0),
        "far from 0": usual.float() + 1e4,
        "float16": (300 * usual.sign()).half(),
    }


def reveals(wrong, x):
    """Whether the wrong version differs from the right one, or writes into x."""
    weight, bias = (torch.arange(1.0, 5.0, dtype=x.dtype) + shift for shift in (0, 2))
    x = x.clone().requires_grad_()
    expected = F.layer_norm(x.double(), (4,), weight.double(), bias.double(), 1e-6)
    (slope,) = torch.autograd.grad(expected.sum(), x)
    before = x.detach().clone()
    given = before.clone()
    try:
        output = wrong(given, weight, bias, 1e-6)
    except RuntimeError:  # a lost axis, or gains of tokens: the sizes do not fit
        return True
    assert output.shape == x.shape
    (its_slope,) = torch.autograd.grad(wrong(x * 1, weight, bias, 1e-6).sum(), x)
    pairs = ((output.double(), expected), (its_slope, slope), (given, before))
    return not all(
        torch.allclose(got.double(), wanted.double(), rtol=2e-2, atol=5e-2)
        for got, wanted in pairs
    )


@pytest.mark.parametrize("wrong", FUNCTIONS, ids=lambda m: m.name)
def test_each_wrong_version_is_revealed(wrong):
    seen = [n for n, x in revealing_inputs().items() if reveals(wrong.wrong, x)]
    assert seen, wrong.name


def test_the_right_version_is_not_revealed():
    assert not any(reveals(layer_norm, x) for x in revealing_inputs().values())


@pytest.mark.parametrize(
    "wrong", [m for bank in MISCONCEPTIONS.values() for m in bank], ids=lambda m: m.name
)
def test_each_wrong_version_is_described_and_runs_as_shown(wrong):
    assert wrong.seen.endswith(".")
    assert wrong.ask.endswith("?")
    assert wrong.source
    compile(wrong.code(), wrong.name, "exec")
    assert any(line[0] in "+-" for line in wrong.diff().splitlines())


def test_the_axes_of_a_wrong_version_are_shown_as_a_tuple():
    wrong = misconception("layer_norm.layer_norm", "statistics-over-image")
    assert "wide.mean(dim=(-2, -1), keepdim=True)" in wrong.diff()


def test_wrong_modules_differ_from_the_layer(rng):
    x, layer = randn(rng, 2, 5, 6), LayerNorm(6).double()
    expected = layer(x)
    wrong = {m.name: m.wrong(6) for m in MISCONCEPTIONS["LayerNorm"]}
    batch, scalar, plain = (
        wrong[name] for name in ("batch-norm-instead", "scalar-gain", "plain-tensors")
    )
    assert not torch.allclose(batch.double()(x), expected, atol=1e-2)
    for name, start in (("gain-starts-at-zero", 0), ("starts-swapped", 1)):
        output = wrong[name].double()(x)
        torch.testing.assert_close(output, torch.full_like(x, start), **EXACT)
    torch.testing.assert_close(scalar.double()(x), expected, **EXACT)
    assert sum(p.numel() for p in scalar.parameters()) == 2
    torch.testing.assert_close(plain(x), expected, rtol=0, atol=1e-6)
    assert not list(plain.parameters())
    for name in ("epsilon-not-kept", "other-default-epsilon"):
        assert not torch.allclose(wrong[name].double()(x / 1000), layer(x / 1000))
    unused = wrong["gain-and-bias-unused"].double()
    with torch.no_grad():
        unused.weight.fill_(7)
    torch.testing.assert_close(unused(x), expected, **EXACT)


def test_batch_norm_by_hand_is_that_of_pytorch(rng):
    wrong = misconception("layer_norm.LayerNorm", "batch-norm-instead").wrong
    ours, theirs = wrong(6).double(), nn.BatchNorm1d(6, 1e-6).double()
    for _ in range(3):
        x = 3 * randn(rng, 5, 6) + 1
        torch.testing.assert_close(ours(x), theirs(x), **EXACT)
    mean = ours.eval().statistics[1]
    torch.testing.assert_close(mean, theirs.running_mean, **EXACT)
    assert not torch.allclose(ours(x), ours.train()(x))
