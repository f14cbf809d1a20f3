"""The part of chapter 03 against independent implementations, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_encoder import (
    MultiHeadSelfAttention,
    SelfAttention,
    attention,
    merge_heads,
    split_heads,
)
from vit_encoder.check import misconception, multi_head

EXACT = {"rtol": 0, "atol": 1e-12}
SIZES = [(2, 5, 12, 3), (3, 7, 10, 5), (1, 4, 6, 1), (2, 1, 8, 4), (2, 9, 6, 6)]


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(3)


def randn(rng, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=rng, dtype=dtype)


def random_layer(rng, dim, num_heads, layer=MultiHeadSelfAttention):
    """A layer in float64, all of its parameters random."""
    layer = layer(dim, num_heads).double()
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(randn(rng, *p.shape) / dim**0.5)
    return layer


def pytorch_s(layer):
    """PyTorch's module with the parameters of ours, in the same order."""
    theirs = nn.MultiheadAttention(
        layer.proj.in_features, layer.num_heads, batch_first=True
    ).double()
    with torch.no_grad():
        for p, ours in zip(theirs.parameters(), layer.parameters(), strict=True):
            p.copy_(ours)
    return theirs


def by_indices(layer, x):
    """The definition by einsum: no split, no merge, no transpose."""
    h, dim = layer.num_heads, x.shape[-1]
    weight = layer.qkv.weight.view(3, h, dim // h, dim)
    bias = layer.qkv.bias.view(3, h, 1, dim // h)
    q, k, v = torch.einsum("bnd,thed->tbhne", x, weight) + bias[:, None]
    scores = torch.einsum("bhne,bhme->bhnm", q, k) * (dim // h) ** -0.5
    weights = (scores - scores.logsumexp(-1, keepdim=True)).exp()
    heads = torch.einsum("bhnm,bhme->bhne", weights, v)
    output_weight = layer.proj.weight.view(dim, h, dim // h)
    return torch.einsum("bhne,dhe->bnd", heads, output_weight) + layer.proj.bias


# Splitting and merging


def test_each_number_goes_to_its_head_token_and_feature(rng):
    x = randn(rng, 2, 5, 12)
    heads = split_heads(x, 3)
    assert heads.shape == (2, 3, 5, 4)
    for head in range(3):
        assert torch.equal(heads[:, head], x[..., 4 * head : 4 * head + 4])
    assert torch.equal(merge_heads(heads), torch.cat(heads.unbind(1), dim=-1))


@pytest.mark.parametrize(("batch", "tokens", "dim", "heads"), SIZES)
def test_merging_undoes_splitting(batch, tokens, dim, heads, rng):
    x = randn(rng, batch, tokens, dim)
    assert torch.equal(merge_heads(split_heads(x, heads)), x)


# The layer


@pytest.mark.parametrize(("batch", "tokens", "dim", "heads"), SIZES)
def test_layer_equals_pytorch_in_outputs_and_gradients(batch, tokens, dim, heads, rng):
    layer = random_layer(rng, dim, heads)
    theirs = pytorch_s(layer)
    x = randn(rng, batch, tokens, dim).requires_grad_()
    upstream = randn(rng, batch, tokens, dim)
    ours, expected = layer(x), theirs(x, x, x)[0]
    torch.testing.assert_close(ours, expected, **EXACT)
    torch.testing.assert_close(
        torch.autograd.grad(ours, (x, *layer.parameters()), upstream),
        torch.autograd.grad(expected, (x, *theirs.parameters()), upstream),
        **EXACT,
    )


@pytest.mark.parametrize(("batch", "tokens", "dim", "heads"), SIZES)
def test_layer_equals_the_definition_by_indices(batch, tokens, dim, heads, rng):
    layer = random_layer(rng, dim, heads)
    x = randn(rng, batch, tokens, dim).requires_grad_()
    upstream = randn(rng, batch, tokens, dim)
    ours, expected = layer(x), by_indices(layer, x)
    torch.testing.assert_close(ours, expected, **EXACT)
    wanted = (x, *layer.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(ours, wanted, upstream),
        torch.autograd.grad(expected, wanted, upstream),
        **EXACT,
    )


def test_weights_of_each_head_are_pytorch_s(rng):
    layer = random_layer(rng, 12, 3)
    x = randn(rng, 2, 5, 12)
    q, k, v = (split_heads(t, 3) for t in layer.qkv(x).chunk(3, dim=-1))
    _, expected = pytorch_s(layer)(x, x, x, average_attn_weights=False)
    torch.testing.assert_close(attention(q, k, v)[1], expected, **EXACT)


def test_one_head_is_self_attention_and_a_projection(rng):
    layer = random_layer(rng, 6, 1)
    head = SelfAttention(6, 6).double()
    for part, weight, bias in zip(
        (head.query, head.key, head.value),
        layer.qkv.weight.chunk(3),
        layer.qkv.bias.chunk(3),
        strict=True,
    ):
        part.load_state_dict({"weight": weight, "bias": bias})
    x = randn(rng, 2, 5, 6)
    torch.testing.assert_close(layer(x), layer.proj(head(x)), **EXACT)


def test_output_is_the_sum_of_what_heads_of_low_rank_add(rng):
    layer, x = random_layer(rng, 12, 3), randn(rng, 2, 5, 12)
    q, k, v = (split_heads(t, 3) for t in layer.qkv(x).chunk(3, dim=-1))
    weights = attention(q, k, v)[1]  # (B, h, N, N)
    value, value_bias = layer.qkv.weight[24:], layer.qkv.bias[24:]
    maps = torch.einsum(
        "hdi,ehd->hie", value.view(3, 4, 12), layer.proj.weight.view(12, 3, 4)
    )
    assert (torch.linalg.matrix_rank(maps) == 4).all()
    parts = weights @ x[:, None] @ maps  # (B, h, N, D)
    torch.testing.assert_close(parts.sum(1) + layer.proj(value_bias), layer(x), **EXACT)


def test_start_of_a_joined_layer_is_that_of_its_parts():
    """nn.Linear looks at the inputs alone, PyTorch's own module at the outputs too."""
    torch.manual_seed(0)
    joined = MultiHeadSelfAttention(768, 12).qkv.weight.std()
    assert abs(joined / nn.Linear(768, 768).weight.std() - 1) < 0.005
    theirs = nn.MultiheadAttention(768, 12).in_proj_weight.std()
    apart = nn.init.xavier_uniform_(torch.empty(768, 768)).std()
    assert abs(apart / theirs - 2**0.5) < 0.005


@pytest.mark.parametrize("heads", [1, 2, 3, 4, 6, 12])
def test_number_of_parameters_does_not_depend_on_the_heads(heads):
    layer = MultiHeadSelfAttention(12, heads)
    assert sum(p.numel() for p in layer.parameters()) == 4 * 12**2 + 4 * 12


def test_gradient_reaches_every_parameter_but_the_bias_of_the_keys(rng):
    layer = random_layer(rng, 12, 3)
    layer(randn(rng, 2, 5, 12)).square().sum().backward()
    query, key, value = layer.qkv.bias.grad.chunk(3)
    assert key.abs().max() < 1e-12
    others = (query, value, layer.qkv.weight.grad, layer.proj.weight.grad)
    assert min(grad.abs().min() for grad in others) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_is_kept(dtype, rng):
    layer = MultiHeadSelfAttention(12, 3).to(dtype)
    assert layer(randn(rng, 2, 5, 12, dtype=dtype)).dtype == dtype


def test_input_is_not_changed(rng):
    x = randn(rng, 2, 5, 12)
    before = x.clone()
    random_layer(rng, 12, 3)(x)
    assert torch.equal(x, before)


# Wrong arguments

WRONG_SIZES = {
    "do not divide": (12, 5, ValueError, "num_heads that divides dim, got 5 and 12"),
    "no heads": (12, 0, ValueError, "num_heads of 1 or more, got 0"),
    "no number": (12, 3.0, TypeError, "whole number as num_heads, got 3.0"),
    "no width": (-6, 3, ValueError, "dim of 1 or more, got -6"),
}


@pytest.mark.parametrize(
    ("dim", "heads", "error", "words"), WRONG_SIZES.values(), ids=WRONG_SIZES.keys()
)
def test_wrong_size_is_named(dim, heads, error, words):
    with pytest.raises(error, match=words):
        MultiHeadSelfAttention(dim, heads)


def test_split_refuses_heads_that_do_not_divide_the_width():
    with pytest.raises(ValueError, match="num_heads that divides the width, got 5"):
        split_heads(torch.ones(2, 4, 12), 5)


WRONG_INPUTS = {
    "no tensor": ([1.0], TypeError, "expected a tensor of tokens, got list"),
    "integers": (torch.ones(2, 5, 12).long(), TypeError, "dtype, got torch.int64"),
    "two axes": (torch.ones(5, 12), ValueError, r"\(B, N, 12\), got shape \(5, 12\)"),
    "other width": (torch.ones(2, 5, 6), ValueError, r"got shape \(2, 5, 6\)"),
}


@pytest.mark.parametrize(
    ("x", "error", "words"), WRONG_INPUTS.values(), ids=WRONG_INPUTS.keys()
)
def test_wrong_input_is_named(x, error, words):
    with pytest.raises(error, match=words):
        MultiHeadSelfAttention(12, 3)(x)


# The wrong versions

LAYER = "multi_head.MultiHeadSelfAttention"
HIDDEN_BY_ONE_HEAD = {
    "split-by-reshape",
    "every-hth-feature",
    "merge-by-reshape",
    "heads-alternate",
    "scaled-by-dim",
    "qkv-read-by-head",
}
# Those of the chapter that take a right layer's parameters; the exercises' tests have
# the others.
SAME_PARAMETERS = [
    misconception(LAYER, name)
    for name in (
        *sorted(HIDDEN_BY_ONE_HEAD),
        "no-output-projection",
        "no-scale",
        "softmax-over-queries",
        "softmax-over-heads",
    )
]


@pytest.mark.parametrize("wrong", SAME_PARAMETERS, ids=lambda m: m.name)
def test_wrong_version_has_the_right_shape_and_wrong_numbers(wrong, rng):
    x = randn(rng, 2, 5, 12)
    errors = {}
    for heads in (1, 3):
        right = random_layer(rng, 12, heads)
        layer = wrong.wrong(12, heads).double()
        layer.load_state_dict(right.state_dict())
        assert layer(x).shape == right(x).shape
        errors[heads] = (layer(x) - right(x)).abs().max().item()
    assert errors[3] > 1e-2
    assert (errors[1] < 1e-12) == (wrong.name in HIDDEN_BY_ONE_HEAD)


def test_sliced_token_is_read_slice_by_slice(rng):
    wrong = misconception(LAYER, "token-sliced").wrong
    layer = random_layer(rng, 12, 3, wrong)
    layer.proj = nn.Identity()
    slopes = torch.autograd.functional.jacobian(layer, randn(rng, 1, 5, 12))
    reads = slopes.abs().sum((0, 1, 3, 4)).view(3, 4, 3, 4).sum((1, 3))
    assert torch.equal(reads > 0, torch.eye(3, dtype=torch.bool))


def test_repeated_head_gives_each_head_the_same(rng):
    wrong = misconception(LAYER, "one-head-repeated").wrong
    layer = random_layer(rng, 12, 3, wrong)
    layer.proj = nn.Identity()
    first, *others = layer(randn(rng, 2, 5, 12)).chunk(3, dim=-1)
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("part", multi_head.MISCONCEPTIONS)
def test_names_of_wrong_versions_are_unique(part):
    names = [m.name for m in multi_head.MISCONCEPTIONS[part]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "wrong", [*multi_head.SPLIT, *multi_head.MERGE], ids=lambda m: m.name
)
def test_wrong_function_is_one_visible_change(wrong):
    changed = [line for line in wrong.diff().splitlines() if line[0] in "+-"]
    assert [line[0] for line in changed] == ["-", "+"]


def test_attention_inside_several_heads_is_scaled_by_their_width(rng):
    """Scores of unit-variance queries and keys keep variance 1 at every h."""
    q, k = randn(rng, 1, 500, 768), randn(rng, 1, 500, 768)
    for heads in (1, 12, 48):
        a, b = split_heads(q, heads), split_heads(k, heads)
        _, weights = attention(a, b, b)
        expected = F.softmax(a @ b.mT / (768 // heads) ** 0.5, dim=-1)
        torch.testing.assert_close(weights, expected, **EXACT)
        assert abs((a @ b.mT / (768 // heads) ** 0.5).var() - 1) < 0.05
