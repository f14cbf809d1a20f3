"""The part of chapter 01 against independent implementations, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_encoder import PatchEmbedding, patchify
from vit_encoder.check import misconception
from vit_encoder.check.patches import MISCONCEPTIONS, PATCHIFY

EXACT = {"rtol": 0, "atol": 1e-12}
# B, C, P, patches above one another, patches side by side
SIZES = [(2, 3, 4, 5, 6), (3, 1, 2, 7, 4), (1, 4, 5, 1, 2), (2, 3, 1, 4, 5)]


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(1)


def randn(rng, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=rng, dtype=dtype)


def randomized(module, rng):
    """All parameters random, so that no zero hides a mistake."""
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(randn(rng, *p.shape))
    return module


def embedding(rng, image_size=20, patch_size=4, in_channels=3, dim=7):
    layer = PatchEmbedding(image_size, patch_size, in_channels, dim).double()
    return randomized(layer, rng)


def assert_same(ours, theirs, inputs, others, rng):
    """Equal outputs, and equal gradients with respect to the two lists of tensors."""
    torch.testing.assert_close(ours, theirs, **EXACT)
    upstream = randn(rng, *ours.shape)
    mine = torch.autograd.grad(ours, inputs, upstream)
    for ours_grad, other in zip(
        mine, torch.autograd.grad(theirs, others, upstream), strict=True
    ):
        torch.testing.assert_close(ours_grad.reshape(other.shape), other, **EXACT)


@pytest.mark.parametrize(("B", "C", "P", "rows", "columns"), SIZES)
def test_patchify_equals_unfold(B, C, P, rows, columns, rng):
    images = randn(rng, B, C, P * rows, P * columns).requires_grad_()
    expected = F.unfold(images, P, stride=P).transpose(1, 2)
    assert_same(patchify(images, P), expected, [images], [images], rng)


@pytest.mark.parametrize(("B", "C", "P", "rows", "columns"), SIZES)
def test_projected_patches_equal_a_convolution(B, C, P, rows, columns, rng):
    linear = randomized(nn.Linear(C * P * P, 7).double(), rng)
    conv = nn.Conv2d(C, 7, kernel_size=P, stride=P).double()
    conv.weight.data = linear.weight.detach().view(7, C, P, P).clone()
    conv.bias.data = linear.bias.detach().clone()
    images = randn(rng, B, C, P * rows, P * columns).requires_grad_()
    ours = linear(patchify(images, P))
    theirs = conv(images).flatten(2).transpose(1, 2)
    inputs, others = ([images, *module.parameters()] for module in (linear, conv))
    assert_same(ours, theirs, inputs, others, rng)


def by_hand(layer, images):
    """Equation 1 of the ViT paper, one patch at a time."""
    P = layer.patch_size
    places = range(0, images.shape[-1], P)
    tokens = []
    for image in images:
        rows = [layer.cls_token[0, 0]]
        rows += [
            layer.proj.weight @ image[:, y : y + P, x : x + P].flatten()
            + layer.proj.bias
            for y in places
            for x in places
        ]
        tokens.append(torch.stack(rows) + layer.pos_embed[0])
    return torch.stack(tokens)


@pytest.mark.parametrize(
    ("image_size", "patch_size", "in_channels", "dim"),
    [(20, 4, 3, 7), (9, 3, 1, 5), (6, 6, 2, 11), (5, 1, 3, 2)],
)
def test_embedding_equals_equation_1(image_size, patch_size, in_channels, dim, rng):
    layer = embedding(rng, image_size, patch_size, in_channels, dim)
    images = randn(rng, 2, in_channels, image_size, image_size).requires_grad_()
    inputs = [images, *layer.parameters()]
    assert_same(layer(images), by_hand(layer, images), inputs, inputs, rng)


def test_fold_puts_the_patches_back(rng):
    images = randn(rng, 2, 3, 12, 20)
    patches = patchify(images, 4)
    back = F.fold(patches.transpose(1, 2), (12, 20), 4, stride=4)
    assert torch.equal(back, images)


def test_class_token_comes_first_and_knows_no_image(rng):
    layer = embedding(rng)
    images = randn(rng, 3, 3, 20, 20).requires_grad_()
    first = layer(images)[:, 0]
    expected = (layer.cls_token + layer.pos_embed[:, :1])[:, 0].expand(3, 7)
    torch.testing.assert_close(first, expected, **EXACT)
    assert torch.autograd.grad(first.sum(), images)[0].eq(0).all()


def test_parameters_have_the_names_and_shapes_that_chapters_rely_on():
    shapes = {
        n: tuple(p.shape) for n, p in PatchEmbedding(20, 4, 3, 7).named_parameters()
    }
    assert shapes == {
        "cls_token": (1, 1, 7),
        "pos_embed": (1, 26, 7),
        "proj.weight": (7, 48),
        "proj.bias": (7,),
    }


def test_gradient_reaches_every_parameter(rng):
    layer = embedding(rng)
    layer(randn(rng, 2, 3, 20, 20)).square().sum().backward()
    assert min(p.grad.abs().min().item() for p in layer.parameters()) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_is_kept(dtype, rng):
    images = randn(rng, 2, 3, 20, 20, dtype=dtype)
    assert patchify(images, 4).dtype == dtype
    assert PatchEmbedding(20, 4, 3, 7).to(dtype)(images).dtype == dtype


def test_input_is_not_changed(rng):
    images = randn(rng, 2, 3, 20, 20)
    before = images.clone()
    embedding(rng)(images)
    assert torch.equal(images, before)


ONES = torch.ones(2, 3, 20, 20)
WRONG_INPUTS = {
    "no tensor": ([1.0], 4, TypeError, "expected a tensor of images, got list"),
    "integers": (ONES.long(), 4, TypeError, "floating-point dtype, got torch.int64"),
    "three axes": (ONES[0], 4, ValueError, r"\(B, C, H, W\), got shape \(3, 20, 20\)"),
    "height left over": (ONES[:, :, 1:], 4, ValueError, "divides .* got 4 and 19"),
    "width left over": (ONES[..., 3:], 4, ValueError, "divides .* got 4 and 17"),
    "patch larger than image": (ONES, 40, ValueError, "divides .* got 40 and 20"),
    "half a pixel": (ONES, 2.5, TypeError, "whole number as a patch_size, got 2.5"),
    "no size": (ONES, 0, ValueError, "a patch_size of 1 or more, got 0"),
}


@pytest.mark.parametrize(
    ("images", "patch_size", "error", "words"),
    WRONG_INPUTS.values(),
    ids=WRONG_INPUTS.keys(),
)
def test_wrong_input_is_named(images, patch_size, error, words):
    with pytest.raises(error, match=words):
        patchify(images, patch_size)


@pytest.mark.parametrize("shape", [(2, 3, 20, 24), (2, 3, 24, 20), (2, 4, 20, 20)])
def test_embedding_refuses_other_images(shape):
    words = (
        rf"expected images \(B, 3, 20, 20\), got shape \({', '.join(map(str, shape))}\)"
    )
    with pytest.raises(ValueError, match=words):
        PatchEmbedding(20, 4, 3, 7)(torch.ones(shape))


def test_embedding_refuses_sizes_that_do_not_divide():
    with pytest.raises(ValueError, match="divides the image_size, got 3 and 20"):
        PatchEmbedding(20, 3, 3, 7)


# The wrong versions.


def test_names_of_misconceptions_are_unique():
    for known in MISCONCEPTIONS.values():
        names = [m.name for m in known]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("wrong", PATCHIFY, ids=lambda m: m.name)
def test_wrong_patchify_is_wrong(wrong, rng):
    images = randn(rng, 2, 3, 12, 20)
    right, got = patchify(images, 4), wrong.wrong(images, 4)
    if wrong.name == "edges-dropped":
        assert torch.equal(wrong.wrong(F.pad(images, (0, 3, 0, 1)), 4), right)
    else:
        assert not torch.equal(got, right)


def test_a_bare_reshape_has_the_right_shape(rng):
    images = randn(rng, 2, 3, 12, 20)
    wrong = misconception("patches.patchify", "bare-reshape").wrong
    assert wrong(images, 4).shape == patchify(images, 4).shape


def test_channels_that_were_not_moved_do_not_show_in_a_grey_image(rng):
    images = randn(rng, 2, 1, 12, 20)
    wrong = misconception("patches.patchify", "channels-not-moved").wrong
    assert torch.equal(wrong(images, 4), patchify(images, 4))


@pytest.mark.parametrize("name", ["convolution-reshaped", "one-position-for-all"])
def test_embeddings_that_the_chapter_breaks_keep_the_shape_and_are_wrong(name, rng):
    layer = embedding(rng)
    other = misconception("patches.PatchEmbedding", name).wrong(20, 4, 3, 7).double()
    state = layer.state_dict()
    if name == "one-position-for-all":
        state["pos_embed"] = state["pos_embed"][:, :1]
    other.load_state_dict(state)
    images = randn(rng, 2, 3, 20, 20)
    right, got = layer(images), other(images)
    assert got.shape == right.shape
    assert (got - right).abs().max() > 0.1
