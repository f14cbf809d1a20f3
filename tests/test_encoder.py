"""The part of chapter 07 against independent implementations, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_encoder import Encoder, EncoderBlock
from vit_encoder.check import misconception
from vit_encoder.check.encoder import ENCODER, LIKENESS, likeness

EXACT = {"rtol": 0, "atol": 1e-10}
SIZES = [(1, 6, 1, 11), (3, 12, 4, 20), (5, 10, 2, 7)]  # L, D, h, M


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(7)


def randn(rng, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=rng, dtype=dtype)


def with_random_parameters(rng, *sizes, make=Encoder):
    """An encoder in which every number is random, gains and biases too."""
    encoder = make(*sizes).double()
    with torch.no_grad():
        for p in encoder.parameters():
            p.copy_(randn(rng, *p.shape) / p.shape[-1] ** 0.5)
    return encoder


def their_name(name):
    """The name of a parameter in PyTorch's own encoder."""
    for ours, theirs in (
        ("blocks", "layers"),
        ("attn.qkv.", "self_attn.in_proj_"),
        ("attn.proj", "self_attn.out_proj"),
        ("mlp.fc", "linear"),
    ):
        name = name.replace(ours, theirs)
    return name


def pytorchs_encoder(ours, depth, dim, num_heads, mlp_dim):
    """PyTorch's own encoder with the same numbers."""
    layer = nn.TransformerEncoderLayer(
        dim, num_heads, mlp_dim, dropout=0, activation="gelu", layer_norm_eps=1e-6,
        norm_first=True, batch_first=True,
    )  # fmt: skip
    norm = nn.LayerNorm(dim, eps=1e-6)
    theirs = nn.TransformerEncoder(layer, depth, norm=norm, enable_nested_tensor=False)
    state = {their_name(name): p for name, p in ours.state_dict().items()}
    theirs.double().load_state_dict(state)
    return theirs


@pytest.mark.parametrize("sizes", SIZES)
def test_equals_pytorchs_encoder(sizes, rng):
    ours = with_random_parameters(rng, *sizes)
    theirs = pytorchs_encoder(ours, *sizes)
    x = randn(rng, 2, 9, sizes[1]).requires_grad_()
    torch.testing.assert_close(ours(x), theirs(x), **EXACT)

    upstream = randn(rng, 2, 9, sizes[1])
    names = [name for name, _ in ours.named_parameters()]
    for mine, other in zip(
        torch.autograd.grad(ours(x), [x, *ours.parameters()], upstream),
        torch.autograd.grad(
            theirs(x), [x, *(theirs.get_parameter(their_name(n)) for n in names)],
            upstream,
        ),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(mine, other, **EXACT)


def test_output_is_the_normalized_sum_of_what_entered_and_all_branches(rng):
    encoder = with_random_parameters(rng, 3, 12, 4, 20)
    added = []
    for block in encoder.blocks:
        for branch in (block.attn, block.mlp):
            branch.register_forward_hook(lambda m, i, output: added.append(output))
    x = randn(rng, 2, 5, 12)
    y = encoder(x)
    norm = encoder.norm
    expected = F.layer_norm(x + sum(added), (12,), norm.weight, norm.bias, 1e-6)
    assert len(added) == 6
    torch.testing.assert_close(y, expected, **EXACT)


def test_blocks_are_independent(rng):
    encoder = Encoder(4, 6, 3, 11)
    assert len({id(block) for block in encoder.blocks}) == 4
    assert len({block.mlp.fc1.weight[0, 0].item() for block in encoder.blocks}) == 4
    in_block = sum(p.numel() for p in EncoderBlock(6, 3, 11).parameters())
    assert sum(p.numel() for p in encoder.parameters()) == 4 * in_block + 2 * 6


def test_new_encoder_gives_normalized_tokens(rng):
    y = Encoder(3, 12, 4, 20).double()(100 * randn(rng, 2, 5, 12))
    torch.testing.assert_close(y.mean(-1), torch.zeros(2, 5).double(), **EXACT)
    variance = y.var(-1, correction=0)
    torch.testing.assert_close(variance, torch.ones_like(variance), rtol=0, atol=1e-6)


def test_order_and_number_of_tokens_are_free(rng):
    encoder = with_random_parameters(rng, 3, 12, 4, 20)
    x = randn(rng, 2, 9, 12)
    order = torch.randperm(9, generator=rng)
    torch.testing.assert_close(encoder(x[:, order]), encoder(x)[:, order], **EXACT)
    for count in (1, 2, 50):
        assert encoder(randn(rng, 1, count, 12)).shape == (1, count, 12)


def test_gradient_reaches_every_parameter_but_the_biases_of_the_keys(rng):
    """A key's bias shifts all scores of a query alike; softmax does not see that."""
    encoder = with_random_parameters(rng, 3, 12, 4, 20)
    (encoder(randn(rng, 2, 5, 12)) * randn(rng, 2, 5, 12)).sum().backward()
    for name, p in encoder.named_parameters():
        gradient = p.grad
        if name.endswith("attn.qkv.bias"):
            query, key, value = gradient.chunk(3)
            assert key.abs().max() < 1e-10, name
            gradient = torch.cat([query, value])
        assert gradient.abs().max() > 1e-6, name


def test_train_and_eval_reach_the_blocks_and_dropout(rng):
    encoder = Encoder(2, 12, 4, 20, dropout=0.5)
    x = randn(rng, 2, 5, 12, dtype=torch.float32)
    assert not torch.equal(encoder(x), encoder(x))
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_is_kept(dtype, rng):
    encoder = Encoder(2, 6, 3, 11).to(dtype)
    assert encoder(randn(rng, 2, 5, 6, dtype=dtype)).dtype == dtype


def test_input_is_not_changed(rng):
    x = randn(rng, 2, 5, 6)
    before = x.clone()
    Encoder(2, 6, 3, 11).double()(x)
    assert torch.equal(x, before)


WRONG_SIZES = {
    "no block": ((0, 6, 3, 11), ValueError, "expected depth of 1 or more, got 0"),
    "half a block": ((1.5, 6, 3, 11), TypeError, "a whole number as depth, got 1.5"),
    "heads": ((2, 6, 4, 11), ValueError, "num_heads that divides dim, got 4 and 6"),
}


@pytest.mark.parametrize(
    ("sizes", "error", "words"), WRONG_SIZES.values(), ids=WRONG_SIZES.keys()
)
def test_wrong_size_is_named(sizes, error, words):
    with pytest.raises(error, match=words):
        Encoder(*sizes)


WRONG_INPUTS = {
    "integers": (
        torch.ones(2, 5, 6, dtype=torch.long),
        TypeError,
        "floating-point dtype, got torch.int64",
    ),
    "two axes": (torch.ones(5, 6), ValueError, r"got shape \(5, 6\)"),
    "other width": (torch.ones(2, 5, 7), ValueError, r"got shape \(2, 5, 7\)"),
}


@pytest.mark.parametrize(
    ("x", "error", "words"), WRONG_INPUTS.values(), ids=WRONG_INPUTS.keys()
)
def test_wrong_input_is_named(x, error, words):
    with pytest.raises(error, match=words):
        Encoder(2, 6, 3, 11)(x)


# The wrong versions.

# Right numbers once weights are loaded; wrong in how blocks are made, or in dropout.
LOADED = {"copies-of-one-block", "plain-list-of-blocks", "dropout-not-passed-on"}
LOADED |= {"dropout-before-the-blocks", "dropout-at-the-end", "eval-in-forward"}


OF_THE_SAME_FORM = [  # which can hold the parameters of a right one
    m
    for m in ENCODER
    if m.name not in ("depth-and-heads-exchanged", "all-layers-returned")
]


@pytest.mark.parametrize("wrong", OF_THE_SAME_FORM, ids=lambda m: m.name)
def test_wrong_version_differs_in_what_it_says(wrong, rng):
    right = with_random_parameters(rng, 3, 12, 4, 20)
    encoder = wrong.wrong(3, 12, 4, 20)
    # One of them holds a single block.
    for mine, other in zip(encoder.blocks, right.blocks, strict=False):
        mine.double().load_state_dict(other.state_dict())
    encoder.norm.double().load_state_dict(right.norm.state_dict())
    x = randn(rng, 2, 5, 12)
    made, expected = encoder(x), right(x)
    same = made.shape == expected.shape and torch.allclose(made, expected, 0, 1e-10)
    assert same == (wrong.name in LOADED)
    assert misconception("encoder.Encoder", wrong.name) is wrong


def test_likeness_is_the_mean_cosine_of_pairs(rng):
    x = randn(rng, 3, 4, 5)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    cosines = [F.cosine_similarity(x[:, i], x[:, j], dim=-1) for i, j in pairs]
    torch.testing.assert_close(likeness(x), torch.stack(cosines).mean(0), **EXACT)


def test_bug_in_the_likeness_hides_where_tokens_are_alike_or_many():
    wrong = LIKENESS[0].wrong
    equal = torch.ones(1, 3, 2)
    torch.testing.assert_close(wrong(equal), likeness(equal))
    for count in (3, 30):
        angles = torch.eye(count)[None]
        assert likeness(angles).item() == 0
        torch.testing.assert_close(wrong(angles), torch.tensor([1 / count]))


def test_dropout_reaches_the_blocks_of_the_right_encoder_alone():
    wrong = misconception("encoder.Encoder", "dropout-not-passed-on").wrong
    found = [
        {b.dropout for b in make(3, 6, 3, 11, 0.5).blocks} for make in (Encoder, wrong)
    ]
    assert found == [{0.5}, {0.0}]


def test_copies_start_alike_and_a_plain_list_hides_the_blocks():
    copies = misconception("encoder.Encoder", "copies-of-one-block").wrong(3, 6, 3, 11)
    assert len({block.mlp.fc1.weight[0, 0].item() for block in copies.blocks}) == 1
    listed = misconception("encoder.Encoder", "plain-list-of-blocks").wrong(3, 6, 3, 11)
    assert [name for name, _ in listed.named_parameters()] == [
        "norm.weight",
        "norm.bias",
    ]
