"""The parts of chapter 09 against independent implementations, and what it ships."""

import ast
import math
import re
from types import SimpleNamespace

import nbformat
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from torch import nn

import library_models as lib
import record_foreign_weights as study
from address import ROOT
from vit_encoder import LoRALinear, VisionTransformer, interpolate_positions
from vit_encoder.check import misconception
from vit_encoder.check.real_weights import LORA, POSITIONS, weights_of
from vit_encoder.data import photo
from vit_encoder.foreign import (
    GARMENTS,
    KNOWN,
    NEW,
    as_timm,
    few,
    garments,
    garments_file,
    library_positions,
    library_weights,
    suspects,
)
from vit_encoder.loading import (
    first_difference,
    fold_layer_scale,
    from_jax,
    from_timm,
    from_timm_blocks,
    from_torchvision,
    from_transformers,
    load,
    set_eps,
)

# isort: split

import timm
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed

EXACT = {"rtol": 0, "atol": 1e-12}
# prefix, n, rows, columns, D
GRIDS = [(1, 7, 10, 9, 3), (2, 5, 3, 8, 4), (0, 4, 2, 3, 5), (5, 6, 6, 6, 2)]
SOURCES = {
    "timm": {},
    "transformers": {"antialias": False},
    "torchvision": {"antialias": False, "align_corners": True},
    "jax": {"mode": "bilinear", "antialias": False, "align_corners": True},
}


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(4)


def randn(rng, *shape):
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


# Positions


def by_matrices(given, grid, prefix, weights):
    """With one matrix of weights for each side."""
    n = math.isqrt(given.shape[1] - prefix)
    rows, columns = (weights(n, m) for m in grid)
    old = given[0, prefix:].unflatten(0, (n, n))
    new = torch.einsum("rn,cm,nmd->rcd", rows, columns, old).flatten(0, 1)
    return torch.cat([given[:, :prefix], new[None]], dim=1)


def linear_weights(n, m, *, corners):
    """Straight lines between old places; the edge is repeated."""
    weights = torch.zeros(m, n, dtype=torch.float64)
    for i in range(m):
        if corners:
            u = i * (n - 1) / (m - 1) if m > 1 else 0.0
        else:
            u = (i + 0.5) * n / m - 0.5
        left = math.floor(u)
        for place, share in ((left, left + 1 - u), (left + 1, u - left)):
            weights[i, min(max(place, 0), n - 1)] += share
    return weights


def cubic_weights(n, m, *, corners):
    """Cubic convolution with a = -0.75, without antialiasing."""
    weights, a = torch.zeros(m, n, dtype=torch.float64), -0.75
    for i in range(m):
        if corners:
            u = i * (n - 1) / (m - 1) if m > 1 else 0.0
        else:
            u = (i + 0.5) * n / m - 0.5
        for place in range(math.floor(u) - 1, math.floor(u) + 3):
            t = abs(place - u)
            if t <= 1:
                share = (a + 2) * t**3 - (a + 3) * t**2 + 1
            else:
                share = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
            weights[i, min(max(place, 0), n - 1)] += share
    return weights


@pytest.mark.parametrize(("prefix", "n", "rows", "columns", "dim"), GRIDS)
@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "antialiased"])
def test_positions_equal_sums_by_hand(
    prefix, n, rows, columns, dim, corners, mode, rng
):
    given = randn(rng, 1, prefix + n * n, dim).requires_grad_()
    if mode == "antialiased":
        ours = interpolate_positions(given, (rows, columns), prefix)
        weights = weights_of
    else:
        options = {"mode": mode, "antialias": False, "align_corners": corners}
        ours = interpolate_positions(given, (rows, columns), prefix, **options)
        of_one_side = linear_weights if mode == "bilinear" else cubic_weights

        def weights(n, m):
            return of_one_side(n, m, corners=corners)

    theirs = by_matrices(given, (rows, columns), prefix, weights)
    torch.testing.assert_close(ours, theirs, **EXACT)
    upstream = randn(rng, *ours.shape)
    (a,), (b,) = (torch.autograd.grad(x, given, upstream) for x in (ours, theirs))
    torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize(("prefix", "n", "rows", "columns", "dim"), GRIDS)
def test_positions_equal_timm_s(prefix, n, rows, columns, dim, rng, monkeypatch):
    given = randn(rng, 1, prefix + n * n, dim)
    ours = interpolate_positions(given, (rows, columns), prefix)
    theirs = resample_abs_pos_embed(given, [rows, columns], num_prefix_tokens=prefix)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)  # timm: in float32
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    theirs = resample_abs_pos_embed(given, [rows, columns], num_prefix_tokens=prefix)
    torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize("n", [4, 10])
@pytest.mark.parametrize("name", SOURCES)
def test_each_source_has_its_own_rule(name, n):
    given, answers = library_positions(n)
    ours = interpolate_positions(given, (n, n), **SOURCES[name])
    atol = 1e-5 if name == "timm" else 1e-12
    torch.testing.assert_close(ours, answers[name], rtol=0, atol=atol)
    others = [other for other in SOURCES if other != name]
    if n == 4:  # the new places lie on old ones where the outer ones are tied
        others = [x for x in others if {x, name} != {"jax", "torchvision"}]
    for other in others:
        assert (ours - answers[other]).abs().max() > 0.1


def test_recorded_positions_are_what_the_libraries_give():
    found = study.positions()
    for n in (4, 10):
        given, answers = library_positions(n)
        assert torch.equal(found["positions"], given)
        for name, answer in answers.items():
            now = found[f"positions|{name}|{n}"]
            torch.testing.assert_close(now, answer, rtol=0, atol=1e-5)


def test_scipy_ties_the_outer_places(rng):
    row = randn(rng, 5)
    zoomed = torch.from_numpy(scipy.ndimage.zoom(row.numpy(), 2, order=1))
    expected = linear_weights(5, 10, corners=True) @ row
    torch.testing.assert_close(zoomed, expected, **EXACT)


@pytest.mark.parametrize("options", SOURCES.values(), ids=SOURCES)
def test_the_same_grid_changes_nothing(options, rng):
    given = randn(rng, 1, 1 + 25, 3)
    same = interpolate_positions(given, (5, 5), **options)
    torch.testing.assert_close(same, given, rtol=0, atol=1e-14)
    assert same is not given


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_dtypes_are_computed_in_float32(dtype, rng):
    given = randn(rng, 1, 1 + 25, 3).to(dtype)
    ours = interpolate_positions(given, (7, 4))
    assert ours.dtype == dtype
    wide = interpolate_positions(given.double(), (7, 4))
    torch.testing.assert_close(ours, wide.to(dtype), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "prefix"),
    [((1, 26, 3), 2), ((2, 26, 3), 1), ((26, 3), 1), ((1, 1, 3), 1), ((1, 3, 4), 4)],
)
def test_positions_of_another_shape_are_refused(shape, prefix):
    expected = re.escape(f"expected positions (1, {prefix} + side², D), got {shape}")
    with pytest.raises(ValueError, match=expected):
        interpolate_positions(torch.zeros(shape), (3, 4), prefix)


@pytest.mark.parametrize(
    ("grid", "error"),
    [((0, 3), ValueError), ((3, -1), ValueError), ((2.0, 3), TypeError)],
)
def test_another_grid_is_refused(grid, error):
    with pytest.raises(error, match="expected"):
        interpolate_positions(torch.zeros(1, 26, 3), grid)


def test_positions_of_whole_numbers_are_refused():
    with pytest.raises(TypeError, match="floating-point"):
        interpolate_positions(torch.zeros(1, 26, 3, dtype=torch.long), (3, 3))


# LoRA


def lora(rng, inputs=7, outputs=5, rank=3, alpha=4.0):
    layer = LoRALinear(nn.Linear(inputs, outputs).double(), rank, alpha)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(randn(rng, *p.shape))
    return layer


@pytest.mark.parametrize(
    ("inputs", "outputs", "rank", "alpha"),
    [(7, 5, 3, 4.0), (4, 9, 1, 0.5), (6, 6, 6, 12)],
)
def test_lora_equals_a_changed_weight(inputs, outputs, rank, alpha, rng):
    layer = lora(rng, inputs, outputs, rank, alpha)
    x = randn(rng, 2, 3, inputs).requires_grad_()
    A, B = layer.lora_A, layer.lora_B
    weight = layer.linear.weight + alpha / rank * torch.einsum("or,ri->oi", B, A)
    expected = torch.einsum("...i,oi->...o", x, weight) + layer.linear.bias
    torch.testing.assert_close(layer(x), expected, **EXACT)
    upstream = randn(rng, *expected.shape)
    ours = torch.autograd.grad(layer(x), (x, A, B), upstream)
    theirs = torch.autograd.grad(expected, (x, A, B), upstream)
    torch.testing.assert_close(ours, theirs, **EXACT)

    merged = layer.merge()
    torch.testing.assert_close(merged(x), layer(x), **EXACT)
    assert type(merged) is nn.Linear
    assert all(p.requires_grad for p in merged.parameters())
    assert (merged.weight - layer.linear.weight).abs().max() > 0.1
    change = merged.weight - layer.linear.weight
    assert torch.linalg.matrix_rank(change) == rank


def test_lora_starts_as_no_change(rng):
    linear = nn.Linear(7, 5)
    layer = LoRALinear(linear, rank=3, alpha=9)
    x = randn(rng, 4, 7).float()
    assert torch.equal(layer(x), linear(x))
    assert layer.linear is linear
    layer(x).sum().backward()
    assert layer.lora_A.grad.eq(0).all()
    assert layer.lora_B.grad.abs().max() > 0
    assert linear.weight.grad is None
    assert linear.bias.grad is None


def test_lora_has_two_matrices_that_learn():
    layer = LoRALinear(nn.Linear(7, 5), rank=3, alpha=9)
    learned = {
        n: tuple(p.shape) for n, p in layer.named_parameters() if p.requires_grad
    }
    assert learned == {"lora_A": (3, 7), "lora_B": (5, 3)}
    assert (layer.in_features, layer.out_features) == (7, 5)


def test_lora_takes_a_layer_without_a_bias(rng):
    layer = LoRALinear(nn.Linear(7, 5, bias=False).double(), rank=2, alpha=1)
    nn.init.normal_(layer.lora_B)
    x = randn(rng, 3, 7)
    torch.testing.assert_close(layer.merge()(x), layer(x), **EXACT)


def test_lora_has_the_dtype_of_its_layer():
    layer = LoRALinear(nn.Linear(7, 5).double(), rank=2, alpha=1)
    assert {p.dtype for p in layer.parameters()} == {torch.float64}


@pytest.mark.parametrize(
    ("rank", "error"), [(0, ValueError), (6, ValueError), (1.5, TypeError)]
)
def test_another_rank_is_refused(rank, error):
    with pytest.raises(error, match="expected"):
        LoRALinear(nn.Linear(7, 5), rank, alpha=1)


def test_lora_stands_in_a_block(rng):
    model = VisionTransformer(**GARMENTS)
    for block in model.encoder.blocks:
        block.attn.qkv = LoRALinear(block.attn.qkv, 2, 4)
        block.mlp.fc1 = LoRALinear(block.mlp.fc1, 2, 4)
    images = randn(rng, 2, 1, 28, 28).float()
    assert model(images).shape == (2, 6)


# What ships


BUILT = {
    "timm": from_timm,
    "torchvision": from_torchvision,
    "transformers": from_transformers,
    "jax": from_jax,
}


@pytest.mark.parametrize("name", BUILT)
def test_recorded_weights_give_the_recorded_logits(name):
    weights, image, logits = library_weights(name)
    sizes = study.LIBRARY_SIZES
    ours = VisionTransformer(**sizes).double()
    load(ours, BUILT[name](weights))
    set_eps(ours, 1e-12 if name == "transformers" else 1e-6)
    torch.testing.assert_close(ours(image), logits, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["timm", "torchvision", "transformers"])
def test_recorded_weights_are_those_of_the_installed_library(name):
    weights, image, logits = library_weights(name)
    theirs = study.models(lib.Sizes(**study.LIBRARY_SIZES))[name].double().eval()
    theirs.load_state_dict(weights)
    found = theirs(image)
    found = getattr(found, "logits", found)
    torch.testing.assert_close(found, logits, rtol=0, atol=1e-10)


def test_another_library_is_refused():
    with pytest.raises(ValueError, match="expected one of jax, timm"):
        library_weights("keras")
    with pytest.raises(ValueError, match="expected 4 or 10"):
        library_positions(5)


def test_as_timm_is_what_timm_has(rng):
    ours = lib.randomize(VisionTransformer(**GARMENTS).double())
    sizes = lib.Sizes(**GARMENTS)
    theirs = lib.timm_vit(sizes).double().eval()
    theirs.load_state_dict(as_timm(ours))
    images = randn(rng, 2, 1, 28, 28)
    torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=1e-10)


@torch.no_grad()
def share_right(model, data):
    right = model(data.normalized()).argmax(-1) == data.labels
    return right.float().mean().item()


def test_garments_reads_the_known_classes():
    model = VisionTransformer(**GARMENTS).eval()
    load(model, from_timm(load_file(garments_file())))
    known, new = garments("test")
    assert share_right(model, known) > 0.9
    assert len(known) + len(new) == 1000
    assert sorted(KNOWN + NEW) == [*range(10)]
    assert set(known.labels.tolist()) == {*range(6)}
    assert set(new.labels.tolist()) == {*range(4)}


def test_few_are_as_many_of_each_class():
    _, new = garments("train")
    drawn = [few(new, 10, seed) for seed in (0, 0, 1)]
    assert all(x.labels.bincount().tolist() == [10] * 4 for x in drawn)
    assert torch.equal(drawn[0].images, drawn[1].images)
    assert not torch.equal(drawn[0].images, drawn[2].images)


def test_another_split_is_refused():
    with pytest.raises(ValueError, match="expected"):
        garments("validate")


def deep():
    sizes = {"depth": 12, "dim": 24, "num_heads": 3, "mlp_dim": 40}
    return lib.randomize(VisionTransformer(**GARMENTS | sizes).double(), seed=3)


def blocks_of(model, images):
    kept = []
    for block in model.encoder.blocks:
        block.register_forward_hook(lambda module, given, left: kept.append(left))
    with torch.no_grad():
        model(images)
    return kept


def test_suspects_differ_where_they_should_and_nowhere_before(rng):
    model = deep()
    images = randn(rng, 2, 1, 28, 28)
    copies = suspects(model)
    right = blocks_of(model, images)
    found = {
        name: first_difference(blocks_of(copied, images), right, 1e-10)
        for name, copied in copies.items()
    }
    assert found == {"A": 4, "B": None, "C": 7, "D": 10}


def test_suspects_have_twelve_layers():
    with pytest.raises(ValueError, match="expected 12 layers, got 6"):
        suspects(VisionTransformer(**GARMENTS))


# The models from the hub, small and with random weights


def test_deit_of_timm_loads(rng):
    name, sizes = "deit_small_patch16_224", {"embed_dim": 24, "depth": 2}
    theirs = timm.create_model(name, pretrained=False, num_heads=3, **sizes)
    theirs = lib.randomize(theirs.double())
    ours = VisionTransformer(224, 16, 3, 1000, 2, 24, 3, 96).double()
    load(ours, from_timm(theirs.state_dict()))
    images = randn(rng, 1, 3, 224, 224)
    torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "size", "prefix"),
    [
        ("vit_small_patch14_reg4_dinov2", (168, 252), 5),
        ("vit_base_patch16_siglip_224", None, 0),
    ],
)
def test_blocks_of_models_from_the_hub(name, size, prefix, rng):
    sizes = {"embed_dim": 24, "depth": 2, "num_heads": 3}
    options = {"dynamic_img_size": True} if size else {}
    theirs = timm.create_model(
        name, pretrained=False, num_classes=0, **sizes, **options
    )
    theirs = lib.randomize(theirs.double())
    assert theirs.num_prefix_tokens == prefix
    weights = from_timm_blocks(fold_layer_scale(theirs.state_dict()))
    ours = VisionTransformer(16, 8, 3, 2, 2, 24, 3, 96).encoder.double()
    ours.load_state_dict(weights.encoder)
    images = randn(rng, 1, 3, *(size or (224, 224)))
    with torch.no_grad():
        tokens = theirs._pos_embed(theirs.patch_embed(images))
        close = torch.testing.assert_close
        close(ours(tokens), theirs.forward_features(images), rtol=0, atol=1e-10)
    assert theirs.patch_embed.patch_size == ((14, 14) if size else (16, 16))


def cells_for_the_hub():
    """The cells of chapter 09 that download, and the functions and imports before."""
    notebook = nbformat.read(ROOT / "chapters" / "09_real_weights.ipynb", 4)
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    (start,) = (i for i, text in enumerate(sources) if "DOWNLOAD = False" in text)
    last = max(i for i, text in enumerate(sources) if "if DOWNLOAD:" in text)
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    before = [
        node
        for text in sources[1:start]  # the first installs the package on Colab
        for node in ast.parse(text).body
        if isinstance(node, kinds) or "RATES" in ast.unparse(node)[:5]
    ]
    return ast.Module(before, []), sources[start : last + 1]


def trained(model):
    """What of a model is trained."""
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    if len(names) == len([*model.parameters()]):
        return "all"
    return " ".join(sorted({name.split(".")[-1] for name in names}))


@pytest.mark.parametrize(
    ("way", "learned"),
    [
        ("LoRA", "bias lora_A lora_B weight"),
        ("probe", "bias weight"),
        ("full fine-tuning", "all"),
    ],
)
@pytest.mark.parametrize(
    ("classifies", "tower", "mean", "prefix"),
    [
        (
            "vit_base_patch16_224.augreg_in21k_ft_in1k",
            "vit_small_patch14_reg4_dinov2.lvd142m",
            0.5,
            5,
        ),
        (
            "deit_small_patch16_224.fb_in1k",
            "vit_base_patch16_siglip_224.webli",
            0.485,
            0,
        ),
    ],
)
def test_cells_for_the_hub_compute_what_timm_does(
    classifies, tower, mean, prefix, way, learned, monkeypatch, capsys
):
    """With the architectures that the page names, small and with random weights."""
    made = {}

    def create(name, pretrained, **options):
        sizes = {"embed_dim": 24, "depth": 2, "num_heads": 3}
        made[name] = real(name, pretrained=False, **sizes, **options)
        return lib.randomize(made[name])

    real = timm.create_model
    monkeypatch.setattr(timm, "create_model", create)
    before, cells = cells_for_the_hub()
    scope = {"device": torch.device("cpu"), "torch": torch}
    scope |= {"state": load_file(garments_file())}
    scope |= {"training": garments("train")[1], "new": garments("test")[1][:8]}
    exec(compile(before, "before", "exec"), scope)
    drawn, ways = [], []
    scope["plt"] = SimpleNamespace(imshow=drawn.append, show=lambda: None)
    scope["adapt"] = lambda model, *_, **__: ways.append(trained(model)) or 0
    names = ("vit_base_patch16_224.augreg_in21k_ft_in1k",)
    names += ("vit_small_patch14_reg4_dinov2.lvd142m",)
    for text in cells:
        text = text.replace("DOWNLOAD = False", "DOWNLOAD = True")
        text = text.replace('WAY = "LoRA"', f"WAY = {way!r}")
        for name, other in zip(names, (classifies, tower), strict=True):
            text = text.replace(name, other)
        exec(text, scope)

    assert made.keys() == {classifies, tower}
    theirs = made[classifies].eval()
    theirs.set_input_size((192, 288))
    center = torch.tensor(theirs.pretrained_cfg["mean"]).view(3, 1, 1)
    spread = torch.tensor(theirs.pretrained_cfg["std"]).view(3, 1, 1)
    assert center[0].item() == pytest.approx(mean)
    shares = theirs(((photo() - center) / spread)[None]).softmax(-1)[0]
    torch.testing.assert_close(scope["shares"], shares, rtol=0, atol=1e-5)

    theirs = made[tower]
    assert theirs.num_prefix_tokens == prefix
    patches = theirs.forward_features(scope["image"])[0, prefix:]
    torch.testing.assert_close(scope["patches"], patches, rtol=0, atol=1e-4)
    assert len(patches) == 12 * 18
    chosen = patches[4 * 18 + 6]
    expected = F.cosine_similarity(patches, chosen[None], dim=-1).view(12, 18)
    (alike,) = drawn
    torch.testing.assert_close(alike, expected, rtol=0, atol=1e-4)
    assert "% right" in capsys.readouterr().out
    assert ways == [learned]


# Misconceptions do what their names say


@pytest.mark.parametrize("name", [m.name for m in POSITIONS])
def test_wrong_positions_differ(name, rng):
    wrong = misconception("real_weights.interpolate_positions", name).wrong
    given = randn(rng, 1, 2 + 25, 3)
    right = interpolate_positions(given, (4, 7), 2)
    found = wrong(given, (4, 7), 2)
    assert found.shape != right.shape or (found - right).abs().max() > 1e-3


def test_wrong_lora_keeps_its_parameters():
    for wrong in LORA:
        layer = wrong.wrong(nn.Linear(7, 5), 2, 5)
        assert {"lora_A", "lora_B"} <= dict(layer.named_parameters()).keys()


def test_both_zero_never_learns():
    wrong = misconception("real_weights.LoRALinear", "both-start-at-zero").wrong
    layer = wrong(nn.Linear(7, 5), 2, 4)
    F.mse_loss(layer(torch.ones(3, 7)), torch.zeros(3, 5)).backward()
    assert layer.lora_A.grad.eq(0).all()
    assert layer.lora_B.grad.eq(0).all()
