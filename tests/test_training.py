"""The parts of chapter 08 against timm, PyTorch's schedulers, and slow loops."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    SequentialLR,
)

from library_models import Sizes, jax_arrays, randomize, timm_vit
from vit_encoder import VisionTransformer, augment, parameter_groups, warm_up_cosine
from vit_encoder.check import misconception, training
from vit_encoder.check.judging.questions import Normal
from vit_encoder.loading import from_jax, from_timm

EXACT = {"rtol": 0, "atol": 1e-10}
SIZES = {  # B differs from all of them
    "wide patches": Sizes(
        24, 8, 3, depth=2, dim=30, num_heads=5, mlp_dim=70, num_classes=11
    ),
    "one channel": Sizes(
        15, 5, 1, depth=3, dim=12, num_heads=2, mlp_dim=36, num_classes=4
    ),
    "one patch": Sizes(
        6, 6, 2, depth=1, dim=20, num_heads=4, mlp_dim=10, num_classes=7
    ),
}
sizes_of_all = pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(8)


def randn(rng, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=rng, dtype=dtype)


def course_vit(sizes, **options):
    """The course's model of these sizes, in float64."""
    s = sizes
    built = (s.image_size, s.patch_size, s.in_channels, s.num_classes)
    inside = (s.depth, s.dim, s.num_heads, s.mlp_dim)
    return VisionTransformer(*built, *inside, **options).double()


def load(ours, weights):
    """Give a model all weights of a library, and nothing else."""
    ours.embedding.load_state_dict(weights.embedding)
    ours.encoder.load_state_dict(weights.encoder)
    ours.head.load_state_dict(weights.head)
    if weights.pre_logits:
        ours.pre_logits.load_state_dict(weights.pre_logits)
    return ours


def images_for(sizes, rng, count=2):
    return randn(rng, count, sizes.in_channels, sizes.image_size, sizes.image_size)


# VisionTransformer


@sizes_of_all
def test_class_token_model_equals_timm(sizes, rng):
    theirs = randomize(timm_vit(sizes).double())
    ours = load(course_vit(sizes), from_timm(theirs.state_dict()))
    x = images_for(sizes, rng).requires_grad_()
    y, expected = ours(x), theirs(x)
    torch.testing.assert_close(y, expected, **EXACT)
    upstream = randn(rng, *y.shape)
    (mine,) = torch.autograd.grad(y, x, upstream, retain_graph=True)
    (same,) = torch.autograd.grad(expected, x, upstream, retain_graph=True)
    torch.testing.assert_close(mine, same, **EXACT)
    # What maps parameters maps their gradients.
    for p, g in zip(
        theirs.parameters(),
        torch.autograd.grad(expected, theirs.parameters(), upstream),
        strict=True,
    ):
        p.data = g
    wanted = load(course_vit(sizes), from_timm(theirs.state_dict()))
    found = torch.autograd.grad(y, ours.parameters(), upstream)
    for a, b in zip(found, wanted.parameters(), strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@sizes_of_all
def test_mean_of_the_patches_equals_timm_without_its_other_norm(sizes, rng):
    """timm averages first and normalizes then, unless it is told otherwise."""
    options = {"global_pool": "avg", "fc_norm": False}
    theirs = randomize(timm_vit(sizes, **options).double())
    ours = load(course_vit(sizes, pool="mean"), from_timm(theirs.state_dict()))
    x = images_for(sizes, rng)
    torch.testing.assert_close(ours(x), theirs(x), **EXACT)
    late = timm_vit(sizes, global_pool="avg").double()
    state = {
        k.replace("norm.", "fc_norm.") if k.startswith("norm.") else k: v
        for k, v in theirs.state_dict().items()
    }
    late.load_state_dict(state)
    if sizes.image_size != sizes.patch_size:  # one patch is its own mean
        assert (late(x) - ours(x)).abs().max() > 1e-3


@sizes_of_all
@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("hidden", [None, 13])
def test_head_by_hand(sizes, pool, hidden, rng):
    ours = randomize(course_vit(sizes, pool=pool, pre_logits_dim=hidden))
    x = images_for(sizes, rng, count=3)
    for image, logits in zip(x, ours(x), strict=True):
        tokens = ours.encoder(ours.embedding(image[None]))[0]
        vector = tokens[0]
        if pool == "mean":
            vector = sum(tokens[1:]) / (len(tokens) - 1)
        if hidden:
            z = ours.pre_logits.weight @ vector + ours.pre_logits.bias
            vector = (z.exp() - (-z).exp()) / (z.exp() + (-z).exp())
        expected = ours.head.weight @ vector + ours.head.bias
        torch.testing.assert_close(logits, expected, **EXACT)


def test_jax_weights_fill_the_model_with_a_hidden_layer():
    sizes = SIZES["wide patches"]
    arrays = jax_arrays(sizes)
    arrays |= {
        "pre_logits/kernel": torch.randn(30, 13, dtype=torch.float64).numpy(),
        "pre_logits/bias": torch.randn(13, dtype=torch.float64).numpy(),
        "head/kernel": torch.randn(13, 11, dtype=torch.float64).numpy(),
    }
    ours = load(course_vit(sizes, pre_logits_dim=13), from_jax(arrays))
    kernel = torch.from_numpy(arrays["pre_logits/kernel"])
    assert torch.equal(ours.pre_logits.weight, kernel.T)


def test_a_new_model_s_loss_is_that_of_even_probabilities(rng):
    sizes = SIZES["one channel"]
    ours = course_vit(sizes)
    logits = ours(images_for(sizes, rng, count=5))
    assert not logits.any()
    labels = torch.randint(sizes.num_classes, (5,), generator=rng)
    loss = F.cross_entropy(logits, labels)
    assert loss.item() == pytest.approx(math.log(sizes.num_classes), abs=1e-12)


def test_images_do_not_influence_one_another(rng):
    sizes = SIZES["one channel"]
    ours = randomize(course_vit(sizes, pool="mean"))
    x = images_for(sizes, rng, count=3)
    other = x.clone()
    other[1] = randn(rng, *x.shape[1:])
    changed = (ours(x) - ours(other)).abs().amax(1) > 1e-9
    assert changed.tolist() == [False, True, False]


def test_dropout_acts_in_training_alone(rng):
    sizes = SIZES["one channel"]
    ours = randomize(course_vit(sizes, dropout=0.5)).train()
    plain = course_vit(sizes)
    plain.load_state_dict(ours.state_dict())
    x = images_for(sizes, rng)
    assert not torch.equal(ours(x), ours(x))
    torch.testing.assert_close(ours.eval()(x), plain(x), **EXACT)


def test_with_p_1_only_the_bias_of_the_final_norm_is_left(rng):
    """Dropout after the positions empties the stream itself."""
    sizes = SIZES["one channel"]
    ours = randomize(course_vit(sizes, dropout=1.0)).train()
    expected = ours.head(ours.encoder.norm.bias).expand(2, -1)
    torch.testing.assert_close(ours(images_for(sizes, rng)), expected, **EXACT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_is_kept(dtype, rng):
    sizes = SIZES["one channel"]
    ours = course_vit(sizes, pre_logits_dim=5).to(dtype)
    assert ours(images_for(sizes, rng).to(dtype)).dtype == dtype


def test_another_pool_is_named():
    with pytest.raises(ValueError, match='"cls" or "mean" as pool, got \'max\''):
        course_vit(SIZES["one channel"], pool="max")


WRONG_IMAGES = {
    "integers": (torch.ones(2, 1, 15, 15, dtype=torch.uint8), TypeError, "uint8"),
    "no batch": (torch.ones(1, 15, 15), ValueError, r"\(B, 1, 15, 15\)"),
    "other channels": (torch.ones(2, 3, 15, 15), ValueError, r"\(2, 3, 15, 15\)"),
    "other size": (torch.ones(2, 1, 20, 15), ValueError, r"\(2, 1, 20, 15\)"),
}


@pytest.mark.parametrize(
    ("x", "error", "words"), WRONG_IMAGES.values(), ids=WRONG_IMAGES.keys()
)
def test_wrong_images_are_named(x, error, words):
    with pytest.raises(error, match=words):
        course_vit(SIZES["one channel"])(x)


# parameter_groups


def names_in(model, group):
    known = {id(p): n for n, p in model.named_parameters()}
    return {known[id(p)] for p in group["params"]}


@pytest.mark.parametrize("hidden", [None, 13])
def test_each_parameter_stands_in_one_group(hidden):
    ours = course_vit(SIZES["wide patches"], pre_logits_dim=hidden)
    decayed, kept = parameter_groups(ours, 0.07)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.07, 0.0)
    found = [names_in(ours, group) for group in (decayed, kept)]
    assert not found[0] & found[1]
    assert found[0] | found[1] == {n for n, _ in ours.named_parameters()}
    assert len(decayed["params"]) == len(found[0])
    linear = {
        f"{name}.weight" for name, m in ours.named_modules() if isinstance(m, nn.Linear)
    }
    assert found[0] == linear


def test_what_is_exempt_is_what_timm_exempts():
    from timm.optim import param_groups_weight_decay

    theirs = timm_vit(SIZES["wide patches"])
    groups = param_groups_weight_decay(
        theirs, 0.07, no_weight_decay_list=theirs.no_weight_decay()
    )
    (decayed,) = (group for group in groups if group["weight_decay"])
    names = names_in(theirs, decayed)
    assert {n for n, p in theirs.named_parameters() if p.dim() in (2, 4)} == names
    ours = course_vit(SIZES["wide patches"])
    mine, _ = parameter_groups(ours, 0.07)
    # timm's patch embedding is a convolution, whose kernel has four axes.
    counts = [sum(p.numel() for p in g["params"]) for g in (mine, decayed)]
    assert counts[0] == counts[1]


def test_frozen_parameters_stand_in_no_group():
    ours = course_vit(SIZES["one channel"])
    ours.encoder.requires_grad_(False)
    decayed, kept = parameter_groups(ours, 0.1)
    assert names_in(ours, decayed) == {"embedding.proj.weight", "head.weight"}
    assert not any(n.startswith("encoder") for n in names_in(ours, kept))


def test_a_step_without_gradient_shrinks_matrices_alone():
    ours = randomize(course_vit(SIZES["one channel"]))
    before = {n: p.detach().clone() for n, p in ours.named_parameters()}
    optimizer = torch.optim.AdamW(parameter_groups(ours, 0.5), lr=0.1)
    for p in ours.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in ours.named_parameters():
        factor = 1 - 0.1 * 0.5 if p.dim() == 2 else 1
        torch.testing.assert_close(p.detach(), factor * before[name], **EXACT)


# warm_up_cosine


def schedule(build, steps):
    """The factor of each step that a scheduler of PyTorch gives."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, found = build(optimizer), []
    for _ in range(steps + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(("warm_up", "steps"), [(3, 9), (1, 2), (7, 40), (39, 40)])
def test_schedule_equals_pytorch_s(warm_up, steps):
    def build(optimizer):
        rise = LinearLR(optimizer, 1 / (warm_up + 1), 1.0, total_iters=warm_up)
        fall = CosineAnnealingLR(optimizer, T_max=steps - warm_up)
        return SequentialLR(optimizer, [rise, fall], milestones=[warm_up])

    ours = [warm_up_cosine(t, warm_up, steps) for t in range(steps + 1)]
    assert ours == pytest.approx(schedule(build, steps), abs=1e-9)


def test_schedule_without_warm_up_equals_pytorch_s():
    ours = [warm_up_cosine(t, 0, 17) for t in range(18)]
    theirs = schedule(lambda o: CosineAnnealingLR(o, T_max=17), 17)
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_schedule_drives_lambda_lr():
    theirs = schedule(lambda o: LambdaLR(o, lambda t: warm_up_cosine(t, 4, 30)), 29)
    assert theirs == [warm_up_cosine(t, 4, 30) for t in range(30)]


@pytest.mark.parametrize(("warm_up", "steps"), [(0, 1), (3, 9), (8, 9), (50, 200)])
def test_schedule_at_its_ends(warm_up, steps):
    factors = [warm_up_cosine(t, warm_up, steps) for t in range(steps + 1)]
    rise = [b - a for a, b in zip([0, *factors], factors[: warm_up + 1], strict=False)]
    assert rise == pytest.approx([1 / (warm_up + 1)] * (warm_up + 1))
    assert factors[warm_up] == max(factors) == 1
    assert factors[-1] == pytest.approx(0, abs=1e-15)
    fall = factors[warm_up:]
    assert all(a > b for a, b in pairwise(fall))
    mirrored = [1 - f for f in reversed(fall)]
    assert fall == pytest.approx(mirrored, abs=1e-12)


@pytest.mark.parametrize(
    "given", [(-1, 3, 9), (10, 3, 9), (0, 9, 9), (0, 10, 9), (0, -1, 9)]
)
def test_steps_outside_of_the_run_are_named(given):
    words = "step {}, warm_up {}, steps {}".format(*given)
    with pytest.raises(ValueError, match=words):
        warm_up_cosine(*given)


# augment


def slow(image, mirrored, down, right):
    """One image, pixel by pixel."""
    C, H, W = image.shape
    made = torch.zeros_like(image)
    for c in range(C):
        for i in range(H):
            for j in range(W):
                y, x = i - down, j - right
                if 0 <= y < H and 0 <= x < W:
                    made[c, i, j] = image[c, y, W - 1 - x if mirrored else x]
    return made


def moves(came, image, shift):
    """Which move each image made, if exactly one explains it."""
    ways = range(-shift, shift + 1)
    known = {
        slow(image, m, d, r).numpy().tobytes(): (m, d, r)
        for m in (False, True)
        for d in ways
        for r in ways
    }
    assert len(known) == 2 * len(ways) ** 2
    return [known[x.contiguous().numpy().tobytes()] for x in came]


@pytest.mark.parametrize(("shift", "count"), [(0, 60), (1, 600), (2, 1500)])
def test_augment_makes_every_move_of_a_slow_loop(shift, count, rng):
    image = randn(rng, 2, 4, 5)
    images = image.repeat(count, 1, 1, 1)
    made = moves(augment(images, shift, rng), image, shift)
    assert len(set(made)) == 2 * (2 * shift + 1) ** 2
    assert torch.equal(images, image.repeat(count, 1, 1, 1))


def test_moves_are_even_and_independent(rng):
    image = randn(rng, 1, 4, 5)
    count = 9000
    made = moves(augment(image.repeat(count, 1, 1, 1), 1, rng), image, 1)
    expected = count / 18
    off = [(made.count(move) - expected) / expected**0.5 for move in set(made)]
    assert max(map(abs, off)) < 4.5  # standard deviations
    neighbours = set(pairwise(made))
    assert len(neighbours) == 18**2


def test_augment_draws_from_the_generator_alone(rng):
    images = randn(rng, 6, 1, 5, 7)
    state = torch.get_rng_state()
    first, again = (
        augment(images, 2, torch.Generator().manual_seed(4)) for _ in range(2)
    )
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    assert torch.equal(augment(images, 2), first)


def test_augment_passes_gradients_on(rng):
    images = randn(rng, 3, 1, 4, 5).requires_grad_()
    made = augment(images, 1, rng)
    (gradient,) = torch.autograd.grad(made.sum(), images)
    assert gradient.unique().tolist() == [0, 1]
    assert gradient.sum() == (made != 0).sum()


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (torch.ones(2, 1, 4, 4, dtype=torch.uint8), TypeError),
        (torch.ones(1, 4, 4), ValueError),
        ([1.0], TypeError),
    ],
)
def test_augment_names_wrong_images(x, error):
    with pytest.raises(error):
        augment(x, 1)


# What the exercises are made of


@pytest.mark.parametrize("version", training.TEST_THE_AUGMENTATION.right.values())
def test_right_augmentations_make_every_move(version, rng):
    image = randn(rng, 2, 4, 5)
    made = moves(version(image.repeat(1500, 1, 1, 1), 2, rng), image, 2)
    assert len(set(made)) == 50


@pytest.mark.parametrize("version", training.AUGMENT, ids=lambda version: version.name)
def test_wrong_augmentations_keep_the_shape_and_differ(version, rng):
    image = randn(rng, 2, 4, 5)
    images = image.repeat(600, 1, 1, 1)
    came = version.wrong(images, 1, rng)
    assert came.shape == images.shape
    same = torch.equal(images, image.repeat(600, 1, 1, 1))
    assert same == (version.name != "mirrored-in-place")
    if not same:
        return
    try:
        found = set(moves(came, image, 1))
    except KeyError:  # an image that no right version gives
        found = set()
    pairs = {"same-shift-for-all": 2, "mirrored-together": 9, "along-the-diagonal": 6}
    pairs |= {"never-to-one-side": 8, "always-mirrored": 9}
    assert len(found) == pairs.get(version.name, 0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.35, 1.0])
def test_smoothed_loss_equals_pytorch_s(smoothing, rng):
    logits = 3 * randn(rng, 5, 7)
    labels = torch.tensor([6, 0, 3, 3, 1])
    expected = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    ours = training.smoothed_cross_entropy(logits, labels, smoothing)
    torch.testing.assert_close(ours, expected, **EXACT)
    for question in training.loss_questions(3):
        x, y, epsilon = question.inputs
        (found,), _ = training.loss_oracle(question, ())
        expected = F.cross_entropy(x.double(), y.long(), label_smoothing=epsilon)
        torch.testing.assert_close(found[0, 0], expected, **EXACT)


def test_the_exercise_s_schedule_is_the_chapter_s_where_it_ends_at_0():
    for t in range(41):
        ours = training.factor_of(t, 7, 40, 0.0)
        assert ours == pytest.approx(warm_up_cosine(t, 7, 40), abs=1e-12)
        least = training.factor_of(t, 7, 40, 0.3)
        assert least == pytest.approx(ours if t < 7 else 0.3 + 0.7 * ours, abs=1e-12)


@pytest.mark.parametrize("version", training.SCHEDULE, ids=lambda version: version.name)
def test_wrong_schedules_differ_in_a_common_run(version):
    """But for the one that differs outside of the run."""
    right, wrong = (
        [factor(t, 10, 100, 0.1) for t in range(100)]
        for factor in (training.factor_of, version.wrong)
    )
    same = right == pytest.approx(wrong, abs=1e-9)
    assert same == (version.name == "any-step-taken")


def test_the_bug_shows_where_the_last_part_is_smaller(rng):
    """Its loss is right all the same."""
    model = nn.Linear(6, 4).double()
    x, labels = randn(rng, 11, 6), torch.arange(11) % 4
    F.cross_entropy(model(x), labels).backward()
    right = model.weight.grad.clone()
    loss = F.cross_entropy(model(x), labels).item()
    broken = misconception("training.accumulate", "every-part-counts-alike").wrong
    for version in (training.accumulate, broken):
        for size in (1, 3, 4, 11, 20):
            assert version(model, x, labels, size) == pytest.approx(loss, abs=1e-12)
            off = (model.weight.grad - right).abs().max().item()
            seen = version is broken and size in (3, 4)
            assert off > 1e-3 if seen else off < 1e-12


def test_the_exercise_s_classifier_is_the_chapter_s_model():
    normal = Normal(5)
    for pool, hidden in (("cls", None), ("mean", 9)):
        sizes = {"image_size": 6, "patch_size": 3, "num_classes": 5, "depth": 2}
        asked = training.about(
            normal, **sizes, dim=8, num_heads=2, pool=pool, pre_logits_dim=hidden
        )
        ours = VisionTransformer(6, 3, 1, 5, 2, 8, 2, 32, pool, hidden).double()
        exercise = training.Classifier(6, 3, 5, 2, 8, 2, pool, hidden).double()
        randomize(ours)
        exercise.load_state_dict(ours.state_dict())
        assert {n.replace("qkv", "query") for n in ours.state_dict()} <= {
            *asked["parameters"]
        }
        x = normal(3, 1, 6, 6)
        torch.testing.assert_close(exercise(x), ours(x), **EXACT)
