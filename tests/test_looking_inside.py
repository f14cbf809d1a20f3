"""What chapter 10 builds, against other ways to compute the same in float64."""

import math

import pytest
import torch

from vit_encoder import (
    VisionTransformer,
    attention_distance,
    attention_entropy,
    attention_maps,
    logit_lens,
    residual_stream,
    rollout,
)
from vit_encoder.check.judging import oracle

L, B, H, C, P, D, M, J = 3, 2, 4, 5, 2, 8, 7, 6
SIDE = 6  # of the images: 9 patches, 10 tokens


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def weights(*shape, seed=0):
    return (2 * normal(*shape, seed=seed)).softmax(-1)


@pytest.fixture
def model():
    """A small ViT whose parameters are all random, γ and β too."""
    vit = VisionTransformer(SIDE, P, C, J, L, D, H, M).double().eval()
    with torch.no_grad():
        for i, p in enumerate(vit.parameters()):
            p.copy_(normal(*p.shape, seed=i) / 2)
    return vit


@pytest.fixture
def images():
    return normal(B, C, SIDE, SIDE, seed=99)


def state_of(model):
    """The parameters of the encoder by the names that the oracle asks for."""
    state = {}
    for name, p in model.encoder.state_dict().items():
        if ".qkv." in name:
            for part, value in zip(("query", "key", "value"), p.chunk(3), strict=True):
                state[name.replace("qkv", part)] = value
        else:
            state[name] = p
    return state


def steps_by_hand(model, images):
    """Weights of all heads and the tokens between the blocks, by loops."""
    state = state_of(model)
    embedding = model.embedding.state_dict()
    x = oracle.patch_embedding(images, embedding.get, P)
    maps, stream = [], [x]
    for i in range(L):
        prefix = f"blocks.{i}."
        z = oracle.norm(x, state.get, f"{prefix}norm1")
        q, k = (
            oracle.linear(z, state.get, f"{prefix}attn.{part}").unflatten(-1, (H, -1))
            for part in ("query", "key")
        )
        layer = torch.zeros(B, H, x.shape[1], x.shape[1], dtype=torch.float64)
        for b in range(B):
            for head in range(H):
                for n in range(x.shape[1]):
                    scores = (k[b, :, head] @ q[b, n, head]) / math.sqrt(D / H)
                    layer[b, head, n] = scores.exp() / scores.exp().sum()
        maps.append(layer)
        x = oracle.encoder_block(x, state.get, H, prefix)
        stream.append(x)
    return torch.stack(maps), torch.stack(stream)


@torch.no_grad()
def test_maps_and_stream_agree_with_loops(model, images):
    maps, stream = steps_by_hand(model, images)
    found = attention_maps(model, images)
    assert found.shape == (L, B, H, 10, 10)
    torch.testing.assert_close(found, maps, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        residual_stream(model, images), stream, atol=1e-11, rtol=0
    )


@pytest.mark.parametrize("training", [False, True])
def test_the_logits_are_the_same_bits(model, images, training):
    model.train(training)
    before = model(images)
    assert not attention_maps(model, images).requires_grad
    assert torch.equal(model(images), before)
    assert model.training == training
    assert not any(m._forward_hooks for m in model.modules())


def test_hooks_are_removed_after_an_error(model, images):
    with pytest.raises(ValueError, match="expected images"):
        attention_maps(model, images[..., :4])
    model.encoder.blocks[1].mlp.fc1 = torch.nn.Linear(D + 1, M).double()
    with pytest.raises((RuntimeError, ValueError)):  # in the middle
        attention_maps(model, images)
    assert not any(m._forward_hooks for m in model.modules())


def test_hooks_of_others_stay(model, images):
    seen = []
    attn = model.encoder.blocks[0].attn
    handle = attn.register_forward_hook(lambda *_: seen.append(1))
    attention_maps(model, images)
    assert len(attn._forward_hooks) == 1
    handle.remove()
    assert seen == [1]


def test_distance_agrees_with_loops():
    maps, P = weights(2, 3, 17, 17), 5
    found = attention_distance(maps, P)
    assert found.shape == (2, 3)
    for place in torch.cartesian_prod(torch.arange(2), torch.arange(3)).tolist():
        table, total = maps[*place], 0.0
        for n in range(16):
            row = sum(
                table[1 + n, 1 + m] * P * math.dist(divmod(n, 4), divmod(m, 4))
                for m in range(16)
            )
            total += row / table[1 + n, 1:].sum() / 16
        torch.testing.assert_close(found[*place], total, rtol=0, atol=1e-12)


def test_distances_that_are_known():
    even = torch.full((5, 5), 0.2)
    assert attention_distance(even, 8).item() == pytest.approx((16 + 8 * 2**0.5) / 4)
    assert attention_distance(torch.eye(5), 8) == 0
    # A row of patches and the one below it: each looks one patch down or up.
    below = torch.zeros(5, 5)
    below[[1, 2, 3, 4], [3, 4, 1, 2]] = 1
    assert attention_distance(below, 3) == 3


def test_distance_refuses_what_is_no_grid():
    with pytest.raises(ValueError, match="expected a square grid, got 7 patches"):
        attention_distance(weights(2, 8, 8), 4)
    with pytest.raises(ValueError, match="patch_size"):
        attention_distance(weights(2, 5, 5), 0)


def test_entropy_agrees_with_a_distribution_of_torch():
    maps = weights(2, 3, 4, 7)
    expected = torch.distributions.Categorical(probs=maps).entropy()
    torch.testing.assert_close(attention_entropy(maps), expected, rtol=0, atol=1e-12)
    assert attention_entropy(torch.eye(6)).abs().max() == 0
    assert attention_entropy(torch.full((50,), 1 / 50)) == pytest.approx(math.log(50))


@pytest.mark.parametrize("identity", [0.0, 0.2, 0.5, 1.0])
def test_rollout_adds_up_all_ways(identity):
    """Each way through the layers has a weight; those that end alike are added."""
    maps = weights(2, 3, 4, 3, 3)  # (L, B, h, T, T)
    mixed = (1 - identity) * maps.mean(2) + identity * torch.eye(3).double()
    expected = torch.zeros(3, 3, 3, dtype=torch.float64)
    for b in range(3):
        for last in range(3):
            for between in range(3):
                for first in range(3):
                    way = mixed[1, b, last, between] * mixed[0, b, between, first]
                    expected[b, last, first] += way
    found = rollout(maps, identity)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.sum(-1), torch.ones(3, 3).double())


def test_rollout_refuses_what_is_no_share():
    with pytest.raises(ValueError, match=r"identity from 0 to 1, got 1\.5"):
        rollout(weights(2, 1, 2, 3, 3), 1.5)


@torch.no_grad()
def test_lens_reads_every_layer_and_ends_at_the_logits(model, images):
    stream = residual_stream(model, images)
    lens = logit_lens(model, stream)
    assert lens.shape == (L + 1, B, J)
    torch.testing.assert_close(lens[-1], model(images), rtol=0, atol=1e-12)
    norm, head = model.encoder.norm.state_dict(), model.head.state_dict()
    for tokens, logits in zip(stream, lens, strict=True):
        first = oracle.layer_norm(tokens[:, 0], norm["weight"], norm["bias"])
        expected = first @ head["weight"].T + head["bias"]
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("other", [{"pool": "mean"}, {"pre_logits_dim": 9}])
def test_lens_refuses_another_head(other):
    vit = VisionTransformer(SIDE, P, C, J, L, D, H, M, **other)
    with pytest.raises(ValueError, match='expected a model with pool "cls"'):
        logit_lens(vit, residual_stream(vit, torch.zeros(1, C, SIDE, SIDE)))
