"""The parts of chapter 05 against independent implementations, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_encoder import MLP, dropout, gelu
from vit_encoder.check.mlp import MISCONCEPTIONS

EXACT = {"rtol": 0, "atol": 1e-12}


@pytest.fixture
def rng():
    torch.manual_seed(5)  # what dropout draws from
    return torch.Generator().manual_seed(5)


def randn(rng, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=rng, dtype=dtype)


def randomize(layer, rng):
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(randn(rng, *p.shape))
    return layer


def same_gradients(ours, theirs, ours_from, theirs_from, upstream):
    for mine, other in zip(
        torch.autograd.grad(ours, ours_from, upstream),
        torch.autograd.grad(theirs, theirs_from, upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, **EXACT)


# gelu


def test_gelu_equals_three_other_implementations():
    x = torch.linspace(-12, 12, 4801, dtype=torch.float64).requires_grad_()
    scalar = [v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()]
    torch.testing.assert_close(
        gelu(x).detach(), torch.tensor(scalar, dtype=torch.float64), **EXACT
    )
    for oracle in (F.gelu(x), x * torch.distributions.Normal(0, 1).cdf(x)):
        torch.testing.assert_close(gelu(x), oracle, **EXACT)
        same_gradients(gelu(x), oracle, (x,), (x,), torch.ones_like(x))


def test_gelu_gradient_is_that_of_finite_differences():
    x = torch.tensor([-3.0, -0.75, 0.0, 0.5, 2.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(gelu, x.requires_grad_())


def test_gelu_far_out():
    x = torch.tensor([-1e30, -40.0, 0.0, 40.0, 1e30], requires_grad=True)
    expected = torch.tensor([0.0, 0.0, 0.0, 40.0, 1e30])
    torch.testing.assert_close(gelu(x).detach(), expected, rtol=1e-6, atol=0)
    (slope,) = torch.autograd.grad(gelu(x).sum(), x)
    torch.testing.assert_close(slope, torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]))


# dropout


@pytest.mark.parametrize("p", [0.1, 0.3, 0.9])
@pytest.mark.parametrize("drop", [dropout, F.dropout])
def test_dropout_obeys_its_equation(drop, p, rng):
    """PyTorch's does too: so both are the same but for what they draw."""
    x = randn(rng, 200, 300).requires_grad_()
    output = drop(x, p, True)
    kept = output != 0
    torch.testing.assert_close(output, x * kept / (1 - p), **EXACT)
    (slope,) = torch.autograd.grad(output.sum(), x)
    torch.testing.assert_close(slope, kept.double() / (1 - p), **EXACT)
    spread = math.sqrt(p * (1 - p) / x.numel())
    assert abs(kept.double().mean() - (1 - p)) < 6 * spread


def test_dropout_draws_each_number_apart(rng):
    """No row, column or earlier call predicts what is kept."""
    kept = torch.stack([dropout(torch.ones(400, 300), 0.5, True) for _ in range(2)])
    kept = (kept != 0).double()
    for axis in range(3):
        neighbours = kept.narrow(axis, 0, kept.shape[axis] - 1)
        agree = neighbours == kept.narrow(axis, 1, kept.shape[axis] - 1)
        assert abs(agree.double().mean() - 0.5) < 6 * 0.5 / math.sqrt(agree.numel())


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_dropout_returns_its_input_outside_training(p, rng):
    x = randn(rng, 3, 7)
    assert dropout(x, p, False) is x


def test_dropout_with_p_0_and_1(rng):
    x = randn(rng, 3, 7).requires_grad_()
    assert torch.equal(dropout(x, 0.0, True), x)
    nothing = dropout(x, 1.0, True)
    assert torch.equal(nothing, torch.zeros_like(x))
    (slope,) = torch.autograd.grad(nothing.sum(), x)
    assert torch.equal(slope, torch.zeros_like(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dropout_keeps_the_dtype_and_the_share(dtype):
    """A draw in bfloat16 would keep 1.0 or 0.996 of the numbers."""
    x = torch.ones(1_000_000, dtype=dtype)
    output = dropout(x, 0.001, True)
    assert output.dtype == dtype
    share = (output == 0).double().mean().item()
    assert abs(share - 0.001) < 6 * math.sqrt(0.001 / x.numel())


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("training", [True, False])
def test_wrong_p_is_named(p, training):
    with pytest.raises(ValueError, match=f"expected p from 0 to 1, got {p}"):
        dropout(torch.ones(3), p, training)
    with pytest.raises(ValueError, match=f"expected dropout from 0 to 1, got {p}"):
        MLP(3, 12, dropout=p)


# MLP


@pytest.mark.parametrize("leading", [(), (7,), (2, 7), (2, 3, 7)])
@pytest.mark.parametrize("training", [True, False])
def test_mlp_equals_pytorch(leading, training, rng):
    layer = randomize(MLP(5, 11).double(), rng).train(training)
    oracle = nn.Sequential(nn.Linear(5, 11), nn.GELU(), nn.Linear(11, 5)).double()
    names = {"0.weight": "fc1.weight", "0.bias": "fc1.bias"}
    names |= {"2.weight": "fc2.weight", "2.bias": "fc2.bias"}
    oracle.load_state_dict({o: layer.state_dict()[n] for o, n in names.items()})
    x = randn(rng, *leading, 5).requires_grad_()
    torch.testing.assert_close(layer(x), oracle(x), **EXACT)
    same_gradients(
        layer(x),
        oracle(x),
        (x, *layer.parameters()),
        (x, *oracle.parameters()),
        randn(rng, *leading, 5),
    )


def test_mlp_has_exactly_two_linear_layers():
    shapes = {name: tuple(p.shape) for name, p in MLP(5, 11).named_parameters()}
    assert shapes == {
        "fc1.weight": (11, 5),
        "fc1.bias": (11,),
        "fc2.weight": (5, 11),
        "fc2.bias": (5,),
    }


def test_each_token_is_on_its_own(rng):
    layer = randomize(MLP(5, 11).double(), rng)
    x = randn(rng, 2, 7, 5)
    one_by_one = torch.stack([layer(token) for token in x.flatten(0, 1)])
    torch.testing.assert_close(layer(x).flatten(0, 1), one_by_one, **EXACT)


def test_dropout_stands_after_gelu_and_at_the_end(rng):
    """With fc2 the identity, a draw shows both gates: 0, or GELU / (1 - p)²."""
    layer = randomize(MLP(5, 5, dropout=0.5).double(), rng)
    with torch.no_grad():
        layer.fc2.weight.copy_(torch.eye(5))
        layer.fc2.bias.zero_()
    x = randn(rng, 5)
    output = layer(x.expand(40_000, 5))
    kept = output != 0
    torch.testing.assert_close(output, kept * gelu(layer.fc1(x)) * 4, **EXACT)
    assert abs(kept.double().mean() - 0.25) < 6 * math.sqrt(0.25 * 0.75 / kept.numel())


def test_hidden_and_output_gates_are_drawn_apart(rng):
    layer = randomize(MLP(5, 11, dropout=0.5).double(), rng)
    with torch.no_grad():
        layer.fc2.weight.zero_()
        layer.fc2.bias.fill_(3.0)
    output = layer(randn(rng, 40_000, 5))  # the last gate alone
    assert set(output.flatten().tolist()) == {0.0, 6.0}


def test_mean_in_training_is_the_output_in_evaluation(rng):
    layer = randomize(MLP(5, 11, dropout=0.25).double(), rng)
    x = randn(rng, 5)
    draws = layer.train()(x.expand(200_000, 5))
    error = draws.mean(0) - layer.eval()(x)
    assert (error.abs() < 6 * draws.std(0) / math.sqrt(len(draws))).all()


def test_evaluation_repeats_and_training_does_not(rng):
    layer = MLP(5, 11, dropout=0.5).double()
    x = randn(rng, 2, 7, 5)
    assert torch.equal(layer.eval()(x), layer.eval()(x))
    assert not torch.equal(layer.train()(x), layer.train()(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_dtype_is_kept(dtype, training, rng):
    layer = MLP(5, 11, dropout=0.5).to(dtype).train(training)
    assert layer(randn(rng, 2, 7, 5, dtype=dtype)).dtype == dtype
    assert gelu(randn(rng, 7, dtype=dtype)).dtype == dtype


def test_device_is_kept():
    layer = MLP(5, 11, dropout=0.5).to("meta")
    assert layer(torch.ones(2, 7, 5, device="meta")).device.type == "meta"


def test_input_is_not_changed(rng):
    x = randn(rng, 2, 7, 5)
    before = x.clone()
    MLP(5, 11, dropout=0.5).double()(x)
    gelu(x)
    dropout(x, 0.5, True)
    assert torch.equal(x, before)


WRONG_INPUTS = {
    "no tensor": ([1.0], TypeError, "expected a tensor of features, got list"),
    "integers": (
        torch.ones(2, 7, 5, dtype=torch.long),
        TypeError,
        "floating-point dtype, got torch.int64",
    ),
    "one number": (torch.tensor(1.0), ValueError, r"\(..., 5\), got shape \(\)"),
    "other width": (torch.ones(2, 7, 6), ValueError, r"got shape \(2, 7, 6\)"),
}


@pytest.mark.parametrize(
    ("x", "error", "words"), WRONG_INPUTS.values(), ids=WRONG_INPUTS.keys()
)
def test_wrong_input_is_named(x, error, words):
    with pytest.raises(error, match=words):
        MLP(5, 11)(x)


# The known mistakes are mistakes.


def known(part):
    return [pytest.param(m, id=m.name) for m in MISCONCEPTIONS[part]]


def test_each_mistake_has_a_name_of_its_own():
    for mistakes in MISCONCEPTIONS.values():
        names = [m.name for m in mistakes]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("mistake", known("gelu"))
def test_wrong_gelu_keeps_the_shape_and_nothing_else(mistake):
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)
    wrong = mistake.wrong(x)
    assert wrong.shape == x.shape
    assert (wrong - F.gelu(x)).abs().max() > 1e-4
    assert mistake.diff()


def dropout_is_right(drop):
    """What the tests above ask, in a few lines."""
    x = torch.ones(100_000, dtype=torch.float64)
    before = x.clone()
    for p in (0.2, 1.0):
        try:
            output = drop(x, p, True)
        except ZeroDivisionError:
            return False
        share = (output == 0).double().mean().item()
        mean = output.mean().item()
        if abs(share - p) > 0.01 or abs(mean - (p < 1)) > 0.01:
            return False
    return torch.equal(x, before) and torch.equal(drop(x, 0.2, False), x)


@pytest.mark.parametrize("mistake", known("dropout"))
def test_wrong_dropout_is_wrong(mistake, rng):
    assert dropout_is_right(dropout)
    assert not dropout_is_right(mistake.wrong)
    assert mistake.diff()


def mlp_is_right(version, rng):
    """Parity in evaluation; mean, both shares of zeros and p = 1 in training."""
    right = randomize(MLP(5, 20, dropout=0.2).double(), rng)
    layer = version(5, 20, dropout=0.2).double()
    shapes = {name: p.shape for name, p in layer.named_parameters()}
    if shapes != {name: p.shape for name, p in right.named_parameters()}:
        return False
    layer.load_state_dict(right.state_dict())
    x = randn(rng, 2, 7, 5)
    expected = right.eval()(x)
    if (layer.eval()(x) - expected).abs().max() > 1e-10:
        return False
    draws = layer.train()(x[0, 0].expand(50_000, 5)).detach()
    error = (draws.mean(0) - expected[0, 0]).abs()
    if (error > 6 * draws.std(0) / math.sqrt(len(draws))).any():
        return False
    if abs((draws == 0).double().mean() - 0.2) > 0.01:
        return False
    if len(draws[:, 0][draws[:, 0] != 0].unique()) < 10:  # no hidden unit was dropped
        return False
    with torch.no_grad():  # now each output shows one hidden unit
        layer.fc2.weight.copy_(torch.eye(5, 20))
        layer.fc2.bias.zero_()
        shown = layer(x[0, 0].expand(1000, 5))
        unit = gelu(right.fc1(x[0, 0]))[:5] / 0.8**2
    if (shown - unit * (shown != 0)).abs().max() > 1e-10:
        return False
    layer.dropout = 1.0
    return not layer(x).isnan().any()


@pytest.mark.parametrize("mistake", known("MLP"))
def test_wrong_mlp_keeps_the_shape_and_is_wrong(mistake, rng):
    assert mlp_is_right(MLP, rng)
    assert not mlp_is_right(mistake.wrong, rng)
    if mistake.name != "layers-exchanged":  # it raises
        x = randn(rng, 2, 7, 5)
        assert mistake.wrong(5, 20).double()(x).shape == x.shape
