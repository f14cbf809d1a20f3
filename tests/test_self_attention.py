"""The part of chapter 02 against independent implementations, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_encoder import SelfAttention, attention

EXACT = {"rtol": 0, "atol": 1e-12}


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(2)


def randn(rng, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=rng, dtype=dtype)


@pytest.mark.parametrize("leading", [(), (2,), (2, 3), (2, 3, 4)])
def test_attention_equals_pytorch(leading, rng):
    q, k, v = (
        randn(rng, *leading, rows, width).requires_grad_()
        for rows, width in ((5, 7), (11, 7), (11, 13))
    )
    output, weights = attention(q, k, v)
    expected = F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(output, expected, **EXACT)
    torch.testing.assert_close(weights @ v, output, **EXACT)
    upstream = randn(rng, *leading, 5, 13)
    for ours, theirs in zip(
        torch.autograd.grad(output, (q, k, v), upstream),
        torch.autograd.grad(expected, (q, k, v), upstream),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_weights_are_those_of_multi_head_attention_with_one_head(rng):
    """nn.MultiheadAttention projects, scales and averages by other code."""
    layer = SelfAttention(7, 7).double()
    oracle = nn.MultiheadAttention(7, 1, batch_first=True).double()
    projections = (layer.query, layer.key, layer.value)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(randn(rng, *p.shape))
        oracle.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        oracle.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
        oracle.out_proj.weight.copy_(torch.eye(7))
        oracle.out_proj.bias.zero_()
    x = randn(rng, 3, 5, 7)
    expected, weights = oracle(x, x, x)
    torch.testing.assert_close(layer(x), expected, **EXACT)
    q, k, v = (project(x) for project in projections)
    torch.testing.assert_close(attention(q, k, v)[1], weights, **EXACT)


def test_width_of_the_head_is_free(rng):
    layer = SelfAttention(6, 4).double()
    x = randn(rng, 2, 5, 6)
    q, k, v = (
        F.linear(x, p.weight, p.bias) for p in (layer.query, layer.key, layer.value)
    )
    expected = F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(layer(x), expected, **EXACT)
    assert layer(x).shape == (2, 5, 4)


def test_tokens_in_another_order_give_outputs_in_that_order(rng):
    layer, order = SelfAttention(6, 4).double(), [3, 0, 4, 1, 2]
    x = randn(rng, 2, 5, 6)
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order], **EXACT)


def test_scores_have_a_direction_unless_query_and_key_share_a_map(rng):
    x, w_query, w_key = (randn(rng, *shape) for shape in ((5, 6), (6, 4), (6, 4)))
    q, k = x @ w_query, x @ w_key
    apart, shared = q @ k.T, q @ q.T
    assert (apart - apart.T).abs().max() > 1
    torch.testing.assert_close(shared, shared.T, **EXACT)
    assert (shared.diagonal() >= 0).all()


def test_gradient_reaches_every_parameter_but_the_bias_of_the_key(rng):
    layer = SelfAttention(6, 4).double()
    layer(randn(rng, 2, 5, 6)).square().sum().backward()
    sizes = {name: p.grad.abs().max().item() for name, p in layer.named_parameters()}
    assert sizes.pop("key.bias") < 1e-12
    assert min(sizes.values()) > 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_is_kept(dtype, rng):
    layer = SelfAttention(6, 4).to(dtype)
    assert layer(randn(rng, 2, 5, 6, dtype=dtype)).dtype == dtype


def test_input_is_not_changed(rng):
    x = randn(rng, 2, 5, 6)
    before = x.clone()
    SelfAttention(6, 4).double()(x)
    assert torch.equal(x, before)


WRONG_INPUTS = {
    "no tensor": ([1.0], TypeError, "expected a tensor of tokens, got list"),
    "integers": (
        torch.ones(2, 5, 6, dtype=torch.long),
        TypeError,
        "floating-point dtype, got torch.int64",
    ),
    "two axes": (torch.ones(5, 6), ValueError, r"\(B, N, 6\), got shape \(5, 6\)"),
    "other width": (torch.ones(2, 5, 7), ValueError, r"got shape \(2, 5, 7\)"),
}


@pytest.mark.parametrize(
    ("x", "error", "words"), WRONG_INPUTS.values(), ids=WRONG_INPUTS.keys()
)
def test_wrong_input_is_named(x, error, words):
    with pytest.raises(error, match=words):
        SelfAttention(6, 4)(x)
