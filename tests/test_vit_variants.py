"""The versions of the ablations: each differs from the course's model in one thing."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_encoder import VisionTransformer
from vit_variants import VARIANTS, build

SIZES = {
    "image_size": 12,
    "patch_size": 4,
    "in_channels": 2,
    "num_classes": 5,
    "depth": 2,
    "dim": 24,
    "num_heads": 3,
    "mlp_dim": 20,
}


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def randomized(variant, rng):
    model = build(variant, **SIZES).double()
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.copy_(torch.randn(p.shape, generator=rng) / p.shape[-1] ** 0.5)
    return model


def images(rng):
    return torch.randn(3, 2, 12, 12, generator=rng, dtype=torch.float64)


def equal(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("variant", ["base", "one head", "mean", "no positions"])
def test_versions_of_the_same_parts_equal_the_course_s_model(variant, rng):
    model, x = randomized(variant, rng), images(rng)
    changes = {"one head": {"num_heads": 1}, "mean": {"pool": "mean"}}.get(variant, {})
    course = VisionTransformer(**SIZES | changes).double()
    course.load_state_dict(model.state_dict())
    equal(model(x), course(x))


def test_positions_are_gone(rng):
    model, x = randomized("no positions", rng), images(rng)
    turned = x.unflatten(3, (3, 4)).flip(3).flatten(3, 4)  # columns of patches
    equal(model(x), model(turned))
    base = randomized("base", rng)
    assert (base(x) - base(turned)).abs().max() > 1e-3
    assert not model.embedding.pos_embed.any()


def test_scale_is_gone(rng):
    model, x = randomized("no scale", rng), images(rng)
    base = VisionTransformer(**SIZES).double()
    base.load_state_dict(model.state_dict())
    with torch.no_grad():
        for block in base.encoder.blocks:
            block.attn.qkv.weight[:24] *= 8**0.5  # D_h = 8: undoes the division
            block.attn.qkv.bias[:24] *= 8**0.5
    equal(model(x), base(x))


def test_norms_are_gone(rng):
    model, x = randomized("no norms", rng), images(rng)
    assert not any("norm" in name for name, _ in model.named_parameters())
    z = model.embedding(x)
    for block in model.encoder.blocks:
        z = z + block.attn(z)
        z = z + block.mlp.fc2(F.gelu(block.mlp.fc1(z)))
    equal(model(x), model.head(z[:, 0]))


def test_post_norm_is_that_of_pytorch(rng):
    model, x = randomized("post-norm", rng), images(rng)
    z = model.embedding(x)
    for block in model.encoder.blocks:
        layer = nn.TransformerEncoderLayer(
            24, 3, 20, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True
        ).double()
        names = {"norm1": "norm1", "norm2": "norm2", "attn.proj": "self_attn.out_proj"}
        names |= {"mlp.fc1": "linear1", "mlp.fc2": "linear2"}
        state = {"self_attn.in_proj_weight": block.attn.qkv.weight}
        state["self_attn.in_proj_bias"] = block.attn.qkv.bias
        for ours, theirs in names.items():
            for kind in ("weight", "bias"):
                state[f"{theirs}.{kind}"] = block.get_parameter(f"{ours}.{kind}")
        layer.load_state_dict(state)
        z = layer(z)
    equal(model(x), model.head(z[:, 0]))


def test_skips_are_gone(rng):
    model, x = randomized("no skips", rng), images(rng)
    with torch.no_grad():
        model.encoder.blocks[0].mlp.fc2.weight.zero_()
        model.encoder.blocks[0].mlp.fc2.bias.zero_()
    equal(model(x)[0], model(x)[1])  # a silent branch leaves nothing of the image
    base = randomized("base", rng)
    with torch.no_grad():
        base.encoder.blocks[0].mlp.fc2.weight.zero_()
        base.encoder.blocks[0].mlp.fc2.bias.zero_()
    assert (base(x)[0] - base(x)[1]).abs().max() > 1e-3


def test_mlps_are_gone(rng):
    model, x = randomized("no MLP", rng), images(rng)
    z = model.embedding(x)
    for block in model.encoder.blocks:
        z = z + block.attn(block.norm1(z))
    equal(model(x), model.head(model.encoder.norm(z)[:, 0]))
    assert not any("mlp" in name for name, _ in model.named_parameters())


def test_final_norm_is_gone(rng):
    model, x = randomized("no final norm", rng), images(rng)
    z = model.embedding(x)
    for block in model.encoder.blocks:
        z = block(z)
    equal(model(x), model.head(z[:, 0]))
    assert not any(name.startswith("encoder.norm") for name in model.state_dict())


def test_attention_is_gone(rng):
    for variant in ("no attention", "no attention, mean"):
        model, x = randomized(variant, rng), images(rng)
        assert not any("attn" in name for name, _ in model.named_parameters())
        z = model.embedding(x)
        for block in model.encoder.blocks:
            z = z + block.mlp(block.norm2(z))
        z = model.encoder.norm(z)
        pooled = z[:, 0] if variant == "no attention" else z[:, 1:].mean(1)
        equal(model(x), model.head(pooled))


def test_every_parameter_that_is_left_is_trained(rng):
    for variant in VARIANTS:
        model = randomized(variant, rng)
        model(images(rng)).square().sum().backward()
        unused = {
            name
            for name, p in model.named_parameters()
            if p.requires_grad and (p.grad is None or not p.grad.any())
        }
        # A class token that attends to nothing, and the mean that leaves it out.
        allowed = {
            "embedding.proj.weight",
            "embedding.proj.bias",
            "embedding.cls_token",
        }
        assert unused <= (allowed if "no attention" in variant else set()), variant


def test_unknown_version_is_refused():
    with pytest.raises(ValueError, match=r"expected a variant of .* got 'no head'"):
        build("no head", **SIZES)
