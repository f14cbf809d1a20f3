"""The part of chapter 06 against PyTorch's own layer, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_encoder import EncoderBlock
from vit_encoder.check import misconception, task
from vit_encoder.check.encoder_block import WIRING

EXACT = {"rtol": 0, "atol": 1e-10}
SIZES = [(12, 3, 20), (10, 1, 7), (15, 5, 33)]  # dim, num_heads, mlp_dim
PYTORCH = {  # our names → those of nn.TransformerEncoderLayer
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "attn.qkv.weight": "self_attn.in_proj_weight",
    "attn.qkv.bias": "self_attn.in_proj_bias",
    "attn.proj.weight": "self_attn.out_proj.weight",
    "attn.proj.bias": "self_attn.out_proj.bias",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
    "mlp.fc1.weight": "linear1.weight",
    "mlp.fc1.bias": "linear1.bias",
    "mlp.fc2.weight": "linear2.weight",
    "mlp.fc2.bias": "linear2.bias",
}


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(6)


def randn(rng, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=rng, dtype=dtype)


def randomized(module, rng):
    """The module with new parameters, gains and biases of the norms included."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(randn(rng, *parameter.shape) / 2)
    return module


def block(rng, dim=12, num_heads=3, mlp_dim=20, dropout=0.0, version=EncoderBlock):
    return randomized(version(dim, num_heads, mlp_dim, dropout).double(), rng)


def oracle(ours):
    """nn.TransformerEncoderLayer as a ViT block with the same parameters."""
    dim, mlp_dim = ours.mlp.fc1.in_features, ours.mlp.fc1.out_features
    layer = nn.TransformerEncoderLayer(
        dim, ours.attn.num_heads, mlp_dim, dropout=0.0, activation="gelu",
        layer_norm_eps=1e-6, batch_first=True, norm_first=True,
    )  # fmt: skip
    parameters = {PYTORCH[name]: p for name, p in ours.state_dict().items()}
    layer.double().load_state_dict(parameters)
    return layer


def silence(*layers):
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


@pytest.mark.parametrize("sizes", SIZES)
def test_block_equals_pytorch(sizes, rng):
    ours = block(rng, *sizes)
    theirs = oracle(ours)
    x = randn(rng, 2, 5, sizes[0]).requires_grad_()
    y, expected = ours(x), theirs(x)
    torch.testing.assert_close(y, expected, **EXACT)
    upstream = randn(rng, *y.shape)
    names = dict(theirs.named_parameters())
    mine = torch.autograd.grad(y, [x, *ours.parameters()], upstream)
    same = [x, *(names[PYTORCH[name]] for name, _ in ours.named_parameters())]
    for a, b in zip(mine, torch.autograd.grad(expected, same, upstream), strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize("version", WIRING, ids=lambda version: version.name)
def test_wrong_versions_differ_and_pass_a_shape_test(version, rng):
    """One of them differs only beside the output."""
    wrong = block(rng, version=version.wrong)
    x = randn(rng, 2, 5, 12)
    before = x.clone()
    with torch.no_grad():
        y = wrong(x)
    assert y.shape == x.shape
    assert wrong.state_dict().keys() == PYTORCH.keys()
    same = torch.allclose(y, oracle(wrong)(before), rtol=0, atol=1e-6)
    assert same == (version.name == "added-in-place")
    assert torch.equal(x, before) == (version.name != "added-in-place")


def test_block_with_silent_branches_is_exactly_the_identity(rng):
    ours = block(rng)
    silence(ours.attn.proj, ours.mlp.fc2)
    x = 3 * randn(rng, 2, 5, 12)
    assert torch.equal(ours(x), x)


def test_silent_blocks_give_the_numbers_of_the_exercise(rng):
    token = torch.tensor([[[7.0, 3, 7, 3]]], dtype=torch.float64)
    post_norm = misconception("encoder_block.EncoderBlock", "post-norm").wrong
    right = task("encoder_block.silent").right
    for version, number in zip((EncoderBlock, post_norm), right, strict=True):
        ours = block(rng, 4, 2, 6, version=version)
        silence(ours.attn.proj, ours.mlp.fc2)
        for norm in (ours.norm1, ours.norm2):
            nn.init.constant_(norm.weight, 3)
            nn.init.constant_(norm.bias, 1)
        assert ours(token)[0, 0, 0].item() == pytest.approx(number, abs=1e-4)


def test_each_half_works_alone(rng):
    x = randn(rng, 2, 5, 12)
    ours = block(rng)
    silence(ours.mlp.fc2)
    torch.testing.assert_close(ours(x), x + ours.attn(ours.norm1(x)), **EXACT)
    ours = block(rng)
    silence(ours.attn.proj)
    torch.testing.assert_close(ours(x), x + ours.mlp(ours.norm2(x)), **EXACT)


def test_tokens_meet_in_the_attention_alone(rng):
    ours = block(rng)
    x = randn(rng, 2, 5, 12)
    other = x.clone()
    other[0, 3] = randn(rng, 12)
    changed = (ours(other) - ours(x)).abs().amax(-1) > 1e-9
    assert changed.tolist() == [[True] * 5, [False] * 5]
    silence(ours.attn.proj)
    changed = (ours(other) - ours(x)).abs().amax(-1) > 1e-9
    assert changed.nonzero().tolist() == [[0, 3]]


def test_dropout_acts_on_the_branches_in_training_alone(rng):
    ours = block(rng, dropout=1.0)
    x = randn(rng, 2, 5, 12)
    assert torch.equal(ours(x), x)  # all that the branches add is dropped
    torch.testing.assert_close(ours.eval()(x), oracle(ours)(x), **EXACT)


def test_dropout_acts_on_both_branches(rng):
    x = randn(rng, 2, 5, 12)
    for other in ("mlp.fc2", "attn.proj"):
        ours = block(rng, dropout=0.5)
        silence(ours.get_submodule(other))
        dropped = (ours(x) == x).double().mean()
        assert 0.2 < dropped < 0.8
        assert (ours.eval()(x) != x).all()


def test_gradient_reaches_every_parameter_but_the_bias_of_the_key(rng):
    ours = block(rng)
    ours(randn(rng, 2, 5, 12)).pow(3).sum().backward()
    sizes = {name: p.grad.abs() for name, p in ours.named_parameters()}
    query, key, value = sizes.pop("attn.qkv.bias").chunk(3)
    assert key.max() < 1e-9
    assert min(query.max(), value.max(), *(s.max() for s in sizes.values())) > 1e-6


def test_parameters_are_counted_by_the_formula():
    for dim in (12, 60):
        ours = EncoderBlock(dim, 3, 4 * dim)
        assert sum(p.numel() for p in ours.parameters()) == 12 * dim**2 + 13 * dim


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_is_kept(dtype, rng):
    ours = EncoderBlock(12, 3, 20).to(dtype)
    assert ours(randn(rng, 2, 5, 12, dtype=dtype)).dtype == dtype


def test_input_is_not_changed(rng):
    x = randn(rng, 2, 5, 12)
    before = x.clone()
    block(rng)(x)
    assert torch.equal(x, before)


def gradients(version, seed, depth=32, dim=48):
    """That of fc2 in each of the new blocks, (L,); the loss reads token 0 alone."""
    rng = torch.Generator().manual_seed(seed)
    blocks = [version(dim, 4, 4 * dim) for _ in range(depth)]
    for block in blocks:
        for name, parameter in block.named_parameters():
            if parameter.dim() == 2:
                nn.init.xavier_uniform_(parameter, generator=rng)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
    x = randn(rng, 16, 9, dim, dtype=torch.float32)
    for block in blocks:
        x = block(x)
    readout = randn(rng, dim, 10, dtype=torch.float32) / dim**0.5
    scores = F.layer_norm(x, (dim,))[:, 0] @ readout
    F.cross_entropy(scores, torch.arange(16) % 10).backward()
    return torch.stack([block.mlp.fc2.weight.grad.norm() for block in blocks])


def test_gradients_in_depth_are_as_the_exercise_says():
    assert task("encoder_block.gradients").right == "B"
    post_norm = misconception("encoder_block.EncoderBlock", "post-norm").wrong
    pre, post = (
        torch.stack([gradients(version, seed) for seed in range(3)]).mean(0)
        for version in (EncoderBlock, post_norm)
    )
    assert pre[0] > 3 * pre[-1]
    assert 0.7 * post[-1] < post[0] < 2 * post[-1]


def test_the_bug_hides_from_new_norms_where_the_mlp_is_silent(rng):
    right = misconception("encoder_block.PostNormBlock", "skip-before-the-norm")
    bug, right = right.wrong(12, 3, 20).double(), right.right(12, 3, 20).double()
    x = 3 * randn(rng, 2, 5, 12)
    for same in (True, False):
        bug.load_state_dict(right.state_dict())
        for version in (bug, right):
            silence(version.mlp.fc2)
        assert torch.allclose(bug(x), right(x), rtol=0, atol=1e-5) == same
        randomized(right, rng)


WRONG_INPUTS = {
    "no tensor": ([1.0], TypeError, "expected a tensor of features, got list"),
    "integers": (
        torch.ones(2, 5, 12, dtype=torch.long),
        TypeError,
        "floating-point dtype, got torch.int64",
    ),
    "two axes": (torch.ones(5, 12), ValueError, r"\(B, N, 12\), got shape \(5, 12\)"),
    "other width": (torch.ones(2, 5, 7), ValueError, r"12\), got shape \(2, 5, 7\)"),
}


@pytest.mark.parametrize(
    ("x", "error", "words"), WRONG_INPUTS.values(), ids=WRONG_INPUTS.keys()
)
def test_wrong_input_is_named(x, error, words):
    with pytest.raises(error, match=words):
        EncoderBlock(12, 3, 20)(x)


WRONG_ARGUMENTS = {
    "heads that do not divide": ((12, 5, 20), ValueError, "divides dim, got 5 and 12"),
    "heads that are no number": ((12, "3", 20), TypeError, "whole number as num_heads"),
    "no probability": ((12, 3, 20, 1.5), ValueError, "dropout from 0 to 1, got 1.5"),
}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    WRONG_ARGUMENTS.values(),
    ids=WRONG_ARGUMENTS.keys(),
)
def test_wrong_argument_is_named(arguments, error, words):
    with pytest.raises(error, match=words):
        EncoderBlock(*arguments)
