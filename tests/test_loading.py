"""The weights of five libraries give the same numbers in the course's parts.

All parameters are random, LayerNorm's and biases too, all sizes differ, and all is
computed in float64. A mapping that is right for parameters is right for their
gradients, so the gradients of each library pass through the same function.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from library_models import (
    CourseViT,
    Sizes,
    ViTModel,
    jax_arrays,
    randomize,
    timm_vit,
    torch_encoder,
    torchvision_vit,
    transformers_vit,
)
from vit_encoder import Encoder, VisionTransformer
from vit_encoder.check.encoder import RegisterEncoder, intermediate
from vit_encoder.loading import (
    Weights,
    fold_layer_scale,
    from_jax,
    from_timm,
    from_timm_blocks,
    from_torch_encoder,
    from_torchvision,
    from_transformers,
    load,
    load_part,
    set_eps,
)

# isort: split

import timm
import timm.layers
from transformers.models.vit import modeling_vit

SIZES = Sizes(
    image_size=24,
    patch_size=4,
    in_channels=3,
    depth=3,
    dim=30,
    num_heads=5,
    mlp_dim=70,
    num_classes=11,
)
TWO_CHANNELS = replace(SIZES, in_channels=2)
HIDDEN = 17  # the width of a head's hidden layer
LIKE_VIT = {
    "activation": "gelu",
    "layer_norm_eps": 1e-6,
    "batch_first": True,
    "norm_first": True,
}


def random_numbers(*shape: int) -> torch.Tensor:
    """Random numbers, the same at each call."""
    rng = torch.Generator().manual_seed(1)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def close(ours, theirs):
    """Equal to 1e-10."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def same(ours: Weights, theirs: Weights) -> None:
    """The same tensors under the same names."""
    for part, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(part, other, rtol=0, atol=0)


@dataclass
class Case:
    """A library's model, how its weights are mapped, and its last norm."""

    build: Callable
    mapping: Callable
    last_norm: str
    sizes: Sizes = TWO_CHANNELS
    eps: float = 1e-6

    def models(self) -> tuple[nn.Module, CourseViT]:
        """The library's with random weights, and the course's with the same."""
        theirs = randomize(self.build(self.sizes).double())
        ours = CourseViT(self.sizes).double().load(self.mapping(theirs.state_dict()))
        set_eps(ours, self.eps)
        return theirs, ours.eval()

    def images(self) -> torch.Tensor:
        """Two images."""
        side = self.sizes.image_size
        return random_numbers(2, self.sizes.in_channels, side, side)


CASES = {
    "timm": Case(timm_vit, from_timm, "norm"),
    "torchvision": Case(torchvision_vit, from_torchvision, "encoder.ln", sizes=SIZES),
    "transformers": Case(
        lambda sizes: transformers_vit(sizes, attn_implementation="sdpa"),
        from_transformers,
        "vit.layernorm",
        eps=1e-12,
    ),
    "transformers, eager": Case(
        lambda sizes: transformers_vit(sizes, attn_implementation="eager"),
        from_transformers,
        "vit.layernorm",
        eps=1e-12,
    ),
}


def outputs(model: nn.Module, norm: str, images: torch.Tensor) -> tuple:
    """All tokens that leave the last norm, and the logits."""
    kept = []
    hook = model.get_submodule(norm).register_forward_hook(
        lambda module, args, output: kept.append(output)
    )
    logits = model(images)
    hook.remove()
    (tokens,) = kept
    return tokens, getattr(logits, "logits", logits)


def gradients(model: nn.Module, inputs: torch.Tensor, results: tuple) -> tuple:
    """Of all results, weighted at random: for the inputs, and for each parameter."""
    total = sum((result * random_numbers(*result.shape)).sum() for result in results)
    parameters = dict(model.named_parameters())
    first, *rest = torch.autograd.grad(total, (inputs, *parameters.values()))
    return first, dict(zip(parameters, rest, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_tokens_logits_and_gradients_agree(name, monkeypatch):
    if "eager" in name:  # its softmax alone is in float32: see the next test
        softmax = lambda scores, dim, dtype: scores.softmax(dim)  # noqa: E731
        monkeypatch.setattr(modeling_vit.nn.functional, "softmax", softmax)
    case = CASES[name]
    theirs, ours = case.models()
    images = case.images().requires_grad_()
    their_outputs = outputs(theirs, case.last_norm, images)
    our_outputs = outputs(ours, "encoder.norm", images)
    assert their_outputs[0].std() > 0.1
    close(our_outputs, their_outputs)

    their_image, their_gradients = gradients(theirs, images, their_outputs)
    our_image, our_gradients = gradients(ours, images, our_outputs)
    close(our_image, their_image)
    mapped = case.mapping(their_gradients)
    named = {
        f"{part}.{name}": gradient
        for part in ("embedding", "encoder", "head")
        for name, gradient in getattr(mapped, part).items()
    }
    assert named.keys() == our_gradients.keys()
    close({name: named[name] for name in our_gradients}, our_gradients)


def test_eager_attention_of_transformers_rounds_to_float32():
    case = CASES["transformers, eager"]
    theirs, ours = case.models()
    difference = ours(case.images()) - theirs(case.images()).logits
    assert 1e-9 < difference.abs().max() < 1e-6


def test_torch_encoder():
    theirs = torch_encoder(SIZES, dropout=0.0, **LIKE_VIT).double()
    theirs = randomize(theirs).train()  # in evaluation it may take another path
    weights = from_torch_encoder(theirs.state_dict())
    assert [part for part in Weights._fields if getattr(weights, part)] == ["encoder"]
    ours = Encoder(SIZES.depth, SIZES.dim, SIZES.num_heads, SIZES.mlp_dim).double()
    ours.load_state_dict(weights.encoder)

    tokens = random_numbers(2, 7, SIZES.dim).requires_grad_()
    our_output, their_output = ours(tokens), theirs(tokens)
    close(our_output, their_output)
    our_tokens, our_gradients = gradients(ours, tokens, (our_output,))
    their_tokens, their_gradients = gradients(theirs, tokens, (their_output,))
    close(our_tokens, their_tokens)
    close(our_gradients, from_torch_encoder(their_gradients).encoder)


def test_jax_arrays_give_what_timm_makes_of_them(tmp_path):
    path = tmp_path / "random.npz"
    np.savez(path, **jax_arrays(SIZES))
    theirs = timm_vit(SIZES).double().eval()
    theirs.load_pretrained(path)
    ours = CourseViT(SIZES).double().load(from_jax(np.load(path)))
    images = CASES["torchvision"].images()
    close(outputs(ours, "encoder.norm", images), outputs(theirs, "norm", images))


def test_tanh_in_the_blocks_as_the_page_puts_it():
    theirs = randomize(timm_vit(SIZES, act_layer="gelu_tanh").double())
    ours = CourseViT(SIZES).double().load(from_timm(theirs.state_dict()))
    images = CASES["torchvision"].images()
    assert (ours(images) - theirs(images)).abs().max() > 1e-6
    for block in ours.encoder.blocks:
        tanh = nn.GELU(approximate="tanh")
        block.mlp = nn.Sequential(block.mlp.fc1, tanh, block.mlp.fc2)
    close(ours(images), theirs(images))


def logits_of(weights: Weights, token: torch.Tensor) -> torch.Tensor:
    """What a head with a hidden layer makes of the class token."""
    pre_logits = nn.Linear(SIZES.dim, HIDDEN).double()
    head = nn.Linear(HIDDEN, SIZES.num_classes).double()
    pre_logits.load_state_dict(weights.pre_logits)
    head.load_state_dict(weights.head)
    return head(pre_logits(token).tanh())


def test_hidden_layer_in_the_head_of_jax():
    arrays = jax_arrays(SIZES) | {
        "pre_logits/kernel": random_numbers(SIZES.dim, HIDDEN).numpy(),
        "pre_logits/bias": random_numbers(HIDDEN).numpy(),
        "head/kernel": random_numbers(HIDDEN, SIZES.num_classes).numpy(),
    }
    token = random_numbers(2, SIZES.dim)
    hidden = token.numpy() @ arrays["pre_logits/kernel"] + arrays["pre_logits/bias"]
    logits = np.tanh(hidden) @ arrays["head/kernel"] + arrays["head/bias"]
    close(logits_of(from_jax(arrays), token), torch.from_numpy(logits))


def test_hidden_layer_in_the_head_of_torchvision():
    model = randomize(torchvision_vit(SIZES, representation_size=HIDDEN).double())
    token = random_numbers(2, SIZES.dim)
    close(logits_of(from_torchvision(model.state_dict()), token), model.heads(token))


def test_pooler_of_transformers():
    model = transformers_vit(TWO_CHANNELS, ViTModel, pooler_output_size=HIDDEN).double()
    weights = from_transformers(randomize(model).state_dict())
    assert not weights.head
    pre_logits = nn.Linear(SIZES.dim, HIDDEN).double()
    pre_logits.load_state_dict(weights.pre_logits)
    output = model(CASES["transformers"].images())
    close(pre_logits(output.last_hidden_state[:, 0]).tanh(), output.pooler_output)


def test_last_hidden_state_of_transformers_is_after_the_norm():
    model = randomize(transformers_vit(TWO_CHANNELS, ViTModel).double())
    output = model(CASES["transformers"].images(), output_hidden_states=True)
    assert (output.hidden_states[-1] - output.last_hidden_state).abs().max() > 0.1
    close(model.layernorm(output.hidden_states[-1]), output.last_hidden_state)


def test_files_of_transformers_have_earlier_names(tmp_path):
    model = randomize(transformers_vit(SIZES))
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert "vit.encoder.layer.0.attention.attention.query.weight" in stored
    assert not stored.keys() & {key for key in model.state_dict() if "layers" in key}
    same(from_transformers(stored), from_transformers(model.state_dict()))


def test_earlier_names_of_torchvision():
    state = randomize(torchvision_vit(SIZES)).state_dict()
    stored = {
        key.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): value
        for key, value in state.items()
    }
    model = torchvision_vit(SIZES)
    model.load_state_dict(dict(stored))  # torchvision accepts them and renames them
    torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)
    same(from_torchvision(stored), from_torchvision(state))


def test_published_size_of_timm_loads():
    theirs = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    ours = CourseViT(Sizes()).load(from_timm(theirs.state_dict()))
    images = random_numbers(1, 3, 224, 224).float()
    with torch.no_grad():
        torch.testing.assert_close(
            ours(images), theirs.eval()(images), rtol=0, atol=1e-5
        )


def test_eps_of_transformers_must_be_set():
    case = CASES["transformers"]
    theirs, ours = case.models()
    assert theirs.config.layer_norm_eps == 1e-12
    set_eps(ours, 1e-6)
    logits = theirs(case.images()).logits
    assert (ours(case.images()) - logits).abs().max() > 1e-8
    set_eps(ours, 1e-12)
    close(ours(case.images()), logits)


def test_eps_is_set_in_every_norm():
    encoder = nn.Sequential(Encoder(2, 6, 3, 5), nn.LayerNorm(6))
    set_eps(encoder, 1e-3)
    found = [m.eps for m in encoder.modules() if hasattr(m, "eps")]
    assert found == [1e-3] * 6


def test_eps_needs_a_norm():
    with pytest.raises(ValueError, match="expected a module with LayerNorms"):
        set_eps(nn.Linear(2, 3), 1e-5)


STATES = {
    "timm": (from_timm, lambda: timm_vit(SIZES).state_dict()),
    "torchvision": (from_torchvision, lambda: torchvision_vit(SIZES).state_dict()),
    "transformers": (from_transformers, lambda: transformers_vit(SIZES).state_dict()),
    "JAX": (from_jax, lambda: jax_arrays(SIZES)),
    "nn.TransformerEncoder": (
        from_torch_encoder,
        lambda: torch_encoder(SIZES, **LIKE_VIT).state_dict(),
    ),
}


@pytest.fixture(params=STATES)
def mapping_and_state(request):
    """A mapping, and the smallest state dict that it accepts."""
    mapping, build = STATES[request.param]
    return mapping, dict(build())


def test_every_missing_key_is_named(mapping_and_state):
    mapping, state = mapping_and_state
    mapping(state)
    for key in state:
        with pytest.raises(ValueError, match="1 missing: ") as error:
            mapping({k: v for k, v in state.items() if k != key})
        assert str(error.value).endswith(f" {key.removeprefix('vit.')}")


def test_every_unexpected_key_is_named(mapping_and_state):
    mapping, state = mapping_and_state
    for key in [f"{key}_2" for key in state]:
        with pytest.raises(ValueError, match="1 unexpected: ") as error:
            mapping(state | {key: next(iter(state.values()))})
        assert str(error.value).endswith(f" {key.removeprefix('vit.')}")


def test_every_axis_too_many_is_named(mapping_and_state):
    mapping, state = mapping_and_state
    for key, value in state.items():
        with pytest.raises(ValueError, match="of shape") as error:
            mapping(state | {key: value[None]})
        assert f"expected {key.removeprefix('vit.')} of shape" in str(error.value)
        assert str(error.value).endswith(f"got {tuple(value[None].shape)}")


def test_every_axis_of_twice_the_size_is_refused(mapping_and_state):
    mapping, state = mapping_and_state
    free = ("pos_emb", "position_emb")  # any number of tokens, any number of channels
    for key, value in state.items():
        for axis in range(len(value.shape)):
            twice = torch.from_numpy(np.concatenate([value, value], axis))
            if any(word in key for word in free) and axis == 1:
                continue
            if twice.shape[axis] == 2 * SIZES.in_channels:
                continue
            with pytest.raises(ValueError, match="of shape"):
                mapping(state | {key: twice})


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("cls_token", (30,), "cls_token of shape (1, 1, D), got (30,)"),
        ("patch_embed.proj.weight", (30, 3, 4, 5), "(D, C, P, P') with D = 30"),
        ("blocks.1.attn.qkv.weight", (60, 30), "(3D, D) with D = 30, got (60, 30)"),
        ("head.weight", (11, 31), "(J, R) with R = 30, J = 11, got (11, 31)"),
    ],
)
def test_message_says_what_was_expected_and_what_came(key, shape, message):
    with pytest.raises(ValueError, match=r"^expected ") as error:
        from_timm(timm_vit(SIZES).state_dict() | {key: torch.zeros(shape)})
    assert message in str(error.value)


def test_average_pooling_of_timm_is_refused():
    with pytest.raises(ValueError, match=r"missing: norm\..*unexpected: fc_norm\."):
        from_timm(timm_vit(SIZES, global_pool="avg").state_dict())


def test_average_pooling_of_timm_leaves_out_the_class_token():
    theirs = randomize(timm_vit(SIZES, global_pool="avg").double())
    renamed = {key.replace("fc_", ""): v for key, v in theirs.state_dict().items()}
    ours = CourseViT(SIZES).double().load(from_timm(renamed))
    images = CASES["torchvision"].images()
    norm, ours.encoder.norm = ours.encoder.norm, nn.Identity()
    patches = ours.encoder(ours.embedding(images))[:, 1:]  # (B, N, D)
    close(ours.head(norm(patches.mean(1))), theirs(images))


def test_bias_of_timm_is_off_in_attention_alone():
    assert timm.layers.Attention(SIZES.dim, SIZES.num_heads).qkv.bias is None
    assert timm_vit(SIZES).blocks[0].attn.qkv.bias is not None


def test_heads_that_do_not_fill_the_width():
    arrays = {
        key: value[..., :4] if value.shape[-2:] == (5, 6) else value
        for key, value in jax_arrays(SIZES).items()
    }
    with pytest.raises(ValueError, match=r"\(D, h, D/h\) with D = 30, h = 5"):
        from_jax(arrays)


def test_model_in_place_of_its_state_dict():
    with pytest.raises(TypeError, match="expected a state dict, got VisionTransformer"):
        from_timm(timm_vit(SIZES))


def test_empty_state_dict():
    with pytest.raises(ValueError, match=r"expected the keys of timm.*18 missing"):
        from_timm({})


# Into the course's model, all or nothing


SMALL_VIT = {
    "image_size": 24,
    "patch_size": 4,
    "in_channels": 3,
    "num_classes": 11,
    "depth": 3,
    "dim": 30,
    "num_heads": 5,
    "mlp_dim": 70,
}


def course_vit(**changes):
    """The course's model with random weights, in float64."""
    return randomize(VisionTransformer(**SMALL_VIT | changes).double(), seed=5)


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_refused(model, weights, *words, **options):
    """A ValueError with these words, and not one number of the model has changed."""
    before = state_of(model)
    with pytest.raises(ValueError, match="nothing was loaded") as error:
        load(model, weights, **options)
    for word in words:
        assert word in str(error.value)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["timm", "torchvision", "JAX"])
def test_load_gives_the_logits_of_the_library(name):
    mapping, _ = STATES[name]
    model = course_vit()
    theirs = {
        "timm": lambda: randomize(timm_vit(SIZES).double()),
        "torchvision": lambda: randomize(torchvision_vit(SIZES).double()),
        "JAX": lambda: None,
    }[name]()
    state = theirs.state_dict() if theirs else jax_arrays(SIZES)
    load(model, mapping(state))
    images = CASES["torchvision"].images()
    if theirs:
        close(model(images), theirs(images))
    close(model(images), CourseViT(SIZES).double().load(mapping(state))(images))


def test_load_keeps_dtype_and_parameters_of_the_model():
    model = course_vit().float()
    parameters = dict(model.named_parameters())
    load(model, from_timm(randomize(timm_vit(SIZES).double()).state_dict()))
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert all(p is parameters[name] for name, p in model.named_parameters())
    assert all(p.requires_grad for p in model.parameters())


def test_load_copies():
    source = randomize(timm_vit(SIZES).double())
    model = course_vit()
    load(model, from_timm(source.state_dict()))
    with torch.no_grad():
        source.head.bias.zero_()
        source.norm.weight.zero_()
    assert model.head.bias.abs().sum() > 0
    assert model.encoder.norm.weight.abs().sum() > 0


def test_the_last_tensor_that_does_not_fit_leaves_the_first_alone():
    weights = from_timm(randomize(timm_vit(SIZES).double()).state_dict())
    wrong = weights._replace(head=weights.head | {"bias": torch.zeros(12)})
    assert_refused(course_vit(), wrong, "head.bias is (12,), expected (11,)")


@pytest.mark.parametrize("part", ["embedding", "encoder", "head"])
def test_load_names_what_is_missing_left_over_and_of_a_wrong_shape(part):
    weights = from_timm(randomize(timm_vit(SIZES).double()).state_dict())
    state = getattr(weights, part)
    model = course_vit()
    for name, value in state.items():
        shape = tuple(value.shape)
        rest = {k: v for k, v in state.items() if k != name}
        wrong = weights._replace(**{part: rest})
        assert_refused(model, wrong, f"{part}.{name} is missing, expected {shape}")
        wrong = weights._replace(**{part: state | {f"{name}_2": value}})
        assert_refused(model, wrong, f"{part}.{name}_2 {shape} is left over")
        wrong = weights._replace(**{part: state | {name: value[None]}})
        expected = f"{part}.{name} is {(1, *shape)}, expected {shape}"
        assert_refused(model, wrong, expected)
        wrong = weights._replace(**{part: state | {name: value.long()}})
        assert_refused(model, wrong, f"{part}.{name} is {shape} of torch.int64")
        wrong = weights._replace(**{part: state | {name: value.to("meta")}})
        assert_refused(model, wrong, f"{part}.{name} is {shape} without numbers")


def test_another_depth_is_named():
    weights = from_timm(randomize(timm_vit(SIZES).double()).state_dict())
    missing = "encoder.blocks.3.norm1.weight is missing, expected (30,)"
    assert_refused(course_vit(depth=4), weights, missing, "and 4 more")
    left = "encoder.blocks.2.norm1.weight (30,) is left over"
    assert_refused(course_vit(depth=2), weights, left)


def test_another_image_size_is_named():
    weights = from_timm(randomize(timm_vit(SIZES).double()).state_dict())
    words = "embedding.pos_embed is (1, 37, 30), expected (1, 65, 30)"
    assert_refused(course_vit(image_size=32), weights, words, "interpolate_positions")


def test_another_number_of_classes_is_named_and_the_own_head_can_stay():
    source = randomize(timm_vit(SIZES).double())
    weights = from_timm(source.state_dict())
    model = course_vit(num_classes=4)
    words = "head.weight is (11, 30), expected (4, 30)"
    assert_refused(model, weights, words, "head=False keeps the model's own head")

    own = model.head.weight.clone()
    load(model, weights, head=False)
    assert torch.equal(model.head.weight, own)
    images = CASES["torchvision"].images()
    tokens, _ = outputs(source, "norm", images)
    close(model(images), model.head(tokens[:, 0]))


def test_a_hidden_layer_in_the_head():
    with_hidden = randomize(torchvision_vit(SIZES, representation_size=HIDDEN).double())
    without = randomize(torchvision_vit(SIZES).double())
    weights, plain = (
        from_torchvision(source.state_dict()) for source in (with_hidden, without)
    )
    model = course_vit(pre_logits_dim=HIDDEN)
    missing = f"pre_logits.weight is missing, expected ({HIDDEN}, 30)"
    assert_refused(model, plain, missing, "head=False")
    left = f"pre_logits.weight ({HIDDEN}, 30) is left over"
    assert_refused(course_vit(), weights, left, "head=False")

    load(model, weights)
    images = CASES["torchvision"].images()
    close(model(images), with_hidden(images))
    load(course_vit(), weights, head=False)
    load(model, plain, head=False)


def test_a_pooler_without_a_head_needs_head_false():
    source = transformers_vit(SIZES, ViTModel, pooler_output_size=HIDDEN).double()
    weights = from_transformers(randomize(source).state_dict())
    assert_refused(course_vit(), weights, "head.weight is missing", "head=False")
    model = course_vit()
    load(model, weights, head=False)
    set_eps(model, 1e-12)
    images = CASES["torchvision"].images()
    tokens = source(images).last_hidden_state
    close(model(images), model.head(tokens[:, 0]))


def test_an_encoder_alone_lacks_the_embedding():
    weights = from_torch_encoder(torch_encoder(SIZES, **LIKE_VIT).state_dict())
    assert_refused(course_vit(), weights, "embedding.cls_token is missing")


@pytest.mark.parametrize(
    "options",
    [
        {"init_values": 0.7, "reg_tokens": 4, "no_embed_class": True},  # as DINOv2
        {"class_token": False, "global_pool": "map"},  # as SigLIP's tower
        {"global_pool": "avg", "class_token": False, "fc_norm": False},
    ],
)
def test_blocks_of_timm_whatever_stands_around_them(options):
    theirs = randomize(timm_vit(SIZES, **options).double())
    with torch.no_grad():  # randomize leaves LayerScale near 0
        for name, p in theirs.named_parameters():
            if name.endswith("gamma"):
                p.copy_(random_numbers(*p.shape))
    state = theirs.state_dict()
    if "init_values" in options:
        with pytest.raises(ValueError, match=r"6 unexpected: blocks\.0\.ls1\.gamma"):
            from_timm_blocks(state)
    before = {name: value.clone() for name, value in state.items()}
    weights = from_timm_blocks(fold_layer_scale(state))
    torch.testing.assert_close(dict(state), before, rtol=0, atol=0)
    ours = Encoder(SIZES.depth, SIZES.dim, SIZES.num_heads, SIZES.mlp_dim).double()
    ours.load_state_dict(weights.encoder)
    images = CASES["torchvision"].images()
    tokens = theirs._pos_embed(theirs.patch_embed(images))
    close(ours(tokens), theirs.forward_features(images))


def test_registers_and_chosen_blocks_are_those_of_timm():
    options = {"reg_tokens": 4, "no_embed_class": True}
    theirs = randomize(timm_vit(SIZES, **options).double())
    sizes = (SIZES.depth, SIZES.dim, SIZES.num_heads, SIZES.mlp_dim)
    ours = RegisterEncoder(*sizes, 4).double()
    ours.encoder.load_state_dict(from_timm_blocks(theirs.state_dict()).encoder)
    ours.registers.data = theirs.reg_token.data
    images = CASES["torchvision"].images()
    inside = theirs._pos_embed(theirs.patch_embed(images))  # class token, registers, …

    def without(tokens):
        return torch.cat([tokens[:, :1], tokens[:, 5:]], dim=1)

    close(ours(without(inside)), without(theirs.forward_features(images)))
    chosen = {"n": [0, 2], "norm": True, "return_prefix_tokens": True}
    layers = theirs.get_intermediate_layers(images, **chosen)
    found = intermediate(ours.encoder, inside, (0, 2))
    for got, (patches, first) in zip(found, layers, strict=True):
        close(got, torch.cat([first, patches], dim=1))


def test_folding_without_a_layer_scale_changes_nothing():
    state = dict(timm_vit(SIZES).state_dict())
    folded = fold_layer_scale(state)
    torch.testing.assert_close(folded, state, rtol=0, atol=0)


# One part, built as the exercises allow


class Apart(nn.Module):
    """Attention's projections one by one, in an encoder of one block."""

    def __init__(self, dim):
        super().__init__()
        for name in ("query", "key", "value"):
            setattr(self, name, nn.Linear(dim, dim))
        self.proj = nn.Linear(dim, dim)


def test_a_part_of_another_design_is_loaded():
    weights = from_timm(randomize(timm_vit(SIZES)).state_dict())
    embedding = nn.Module()
    embedding.proj = nn.Conv2d(3, 30, 4, stride=4)
    embedding.cls_token = nn.Parameter(torch.zeros(1, 1, 30))
    embedding.pos_embed = nn.Parameter(torch.zeros(1, 37, 30))
    load_part(embedding, weights.embedding)
    kernel = embedding.proj.weight.flatten(1)  # (D, C·P·P)
    assert torch.equal(kernel, weights.embedding["proj.weight"])

    attention = {
        key.removeprefix("blocks.0.attn."): value
        for key, value in weights.encoder.items()
        if key.startswith("blocks.0.attn.")
    }
    apart = Apart(30)
    load_part(apart, attention)
    joined = torch.cat([apart.query.bias, apart.key.bias, apart.value.bias])
    assert torch.equal(joined, attention["qkv.bias"])
    assert torch.equal(apart.proj.weight, attention["proj.weight"])


def test_what_does_not_fit_a_part_is_named_and_nothing_is_loaded():
    weights = from_timm(timm_vit(SIZES).state_dict()).encoder
    encoder = Encoder(2, 30, 5, 80)
    before = [p.clone() for p in encoder.parameters()]
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        load_part(encoder, weights)
    message = str(caught.value)
    assert "blocks.2.norm1.weight (30,) is left over" in message
    assert "and 10 more" in message
    assert all(map(torch.equal, before, encoder.parameters()))
    conv = nn.Module()
    conv.proj = nn.Conv2d(3, 30, 5)
    with pytest.raises(
        ValueError, match=r"proj.weight is \(30, 48\), expected \(30, 3"
    ):
        load_part(conv, {"proj.weight": torch.zeros(30, 48)})
