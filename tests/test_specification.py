"""The page "Specification": its counts, shapes, errors and equations are the code's."""

import inspect
import re

import pytest
import torch
import torch.nn.functional as F
from bs4 import BeautifulSoup
from torch.utils.flop_counter import FlopCounterMode

import vit_encoder
from address import ROOT
from book import HTML
from specification import (
    IMAGE_SIZE,
    SIZES,
    TABLES,
    Size,
    build,
    build_on_meta,
    count,
    describe_start,
    flops,
    parameters_by_part,
    small_model,
)
from vit_encoder import (
    Encoder,
    EncoderBlock,
    PatchEmbedding,
    attention,
    gelu,
    merge_heads,
    patchify,
    split_heads,
)

TEXT = (ROOT / "book" / "specification.md").read_text(encoding="utf-8")
BY_NAME = {size.name: size for size in SIZES}

# Parameters with a head for 1000 classes, and multiply-adds in 10⁹: what torchvision
# 0.28.0 states with its weights. It has no Ti and S; timm 1.0.31 counts these.
PUBLISHED = {
    "Ti/16": (5_717_416, 1.254),
    "S/16": (22_050_664, 4.599),
    "B/16": (86_567_656, 17.564),
    "B/32": (88_224_232, 4.409),
    "L/16": (304_326_632, 61.555),
    "L/32": (306_535_400, 15.378),
    "H/14": (632_045_800, 167.295),
}


# Counts.


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(name):
    parameters, macs = PUBLISHED[name]
    assert count(build_on_meta(BY_NAME[name])) == parameters
    assert round(flops(BY_NAME[name]) / 2e9, 3) == macs


def test_every_size_has_published_counts():
    assert BY_NAME.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_formula_equals_the_counter(size):
    model = build_on_meta(size)
    images = torch.empty(1, 3, IMAGE_SIZE, IMAGE_SIZE, device="meta")
    with FlopCounterMode(display=False) as counter:
        model["head"](model["encoder"](model["embedding"](images))[:, 0])
    assert counter.get_total_flops() == flops(size)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_parts_add_up_and_the_mlp_is_two_thirds_of_a_block(size):
    *parts, everything = parameters_by_part(size).values()
    model = build_on_meta(size)
    assert sum(parts) == everything == count(model)
    D, M = size.dim, size.mlp_dim
    block = model["encoder"].blocks[0]
    assert count(block) == 4 * D**2 + 2 * D * M + 9 * D + M == 12 * D**2 + 13 * D
    assert count(block.mlp) / count(block) == pytest.approx(2 / 3, abs=0.002)


def test_the_papers_count_for_large_is_closer_to_patches_of_32():
    far, near = (abs(PUBLISHED[name][0] - 307e6) for name in ("L/16", "L/32"))
    assert near < far


def test_the_built_page_holds_the_counts_and_numbers_its_equations():
    html = (HTML / "book" / "specification.html").read_text(encoding="utf-8")
    page = BeautifulSoup(html, "html.parser")
    cells = {cell.get_text() for cell in page.select("td")}
    assert {f"{parameters:,}" for parameters, _ in PUBLISHED.values()} <= cells
    assert {"2.507", "9.198", "35.128"} <= cells  # operations of Ti, S and B
    numbers = [tag.get_text()[:3] for tag in page.select(".eqno")]
    assert numbers == [f"({number})" for number in range(1, 9)]


# The model written anew from the page.

BATCH, CLASSES = 2, 9
SMALL = Size("small", patch_size=5, depth=3, dim=24, mlp_dim=44, num_heads=4)
SIDE, CHANNELS = 15, 2  # 9 patches, 10 tokens


@pytest.fixture
def model():
    """All parameters at random, those of the norms too."""
    torch.manual_seed(0)
    made = build(SMALL, SIDE, CHANNELS, CLASSES).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return made


def random_images():
    return torch.randn(BATCH, CHANNELS, SIDE, SIDE, dtype=torch.float64)


def drop(x, p):
    """Dropout, as in training."""
    return torch.where(torch.rand(x.shape) >= p, x / (1 - p), 0)


def from_the_page(images, values, p):
    """Equations 1 to 8, with dropout after attn.proj, GELU and mlp.fc2."""
    P, h = SMALL.patch_size, SMALL.num_heads

    def linear(x, name):
        return x @ values[f"{name}.weight"].T + values[f"{name}.bias"]

    def norm(x, name):
        gain, bias = values[f"{name}.weight"], values[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], gain, bias, eps=1e-6)

    patches = F.unfold(images, kernel_size=P, stride=P).transpose(1, 2)  # (B, n, C·P·P)
    first = values["embedding.cls_token"].expand(len(images), 1, -1)
    z = torch.cat([first, linear(patches, "embedding.proj")], dim=1)
    z = z + values["embedding.pos_embed"]
    for i in range(SMALL.depth):
        block = f"encoder.blocks.{i}"
        packed = linear(norm(z, f"{block}.norm1"), f"{block}.attn.qkv")
        q, k, v = packed.unflatten(-1, (3, h, -1)).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        z = drop(linear(heads, f"{block}.attn.proj"), p) + z
        hidden = F.gelu(linear(norm(z, f"{block}.norm2"), f"{block}.mlp.fc1"))
        z = drop(linear(drop(hidden, p), f"{block}.mlp.fc2"), p) + z
    y = norm(z, "encoder.norm")[:, 0]
    return linear(y, "head")


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_the_page_is_enough_to_write_the_model(model, p):
    for module in model.modules():
        if hasattr(module, "dropout"):
            module.dropout = p
    images, values = random_images(), dict(model.named_parameters())
    torch.manual_seed(1)  # the same numbers are dropped in the same places
    ours = model["head"](model["encoder"](model["embedding"](images))[:, 0])
    torch.manual_seed(1)
    theirs = from_the_page(images, values, p)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    upstream = torch.randn(BATCH, CLASSES, dtype=torch.float64)
    parameters = list(values.values())
    for mine, other in zip(
        torch.autograd.grad(ours, parameters, upstream),
        torch.autograd.grad(theirs, parameters, upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)


# Shapes.


def section(title):
    """The text of a section of the page."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)[1]


def shapes_on_the_page():
    """The last column of the tables of tensors, with the small model's sizes."""
    sizes = {
        "B": BATCH,
        "C": CHANNELS,
        "H": SIDE,
        "W": SIDE,
        "P": SMALL.patch_size,
        "n": 9,
        "N": 10,
        "D": SMALL.dim,
        "h": SMALL.num_heads,
        "D_h": SMALL.dim // SMALL.num_heads,
        "M": SMALL.mlp_dim,
        "J": CLASSES,
    }
    found = re.findall(r"`\(([^()`]*)\)` \|$", section("From image to classes"), re.M)
    return [eval(f"({shape.replace('·', '*')})", {}, sizes) for shape in found]


def test_each_tensor_has_the_shape_on_the_page(model):
    embedding, encoder, head = model["embedding"], model["encoder"], model["head"]
    images = random_images()
    made = [images, patchify(images, SMALL.patch_size)]
    made += [embedding.proj(made[-1])]
    first = embedding.cls_token.expand(BATCH, -1, -1)
    made += [torch.cat([first, made[-1]], dim=1)]
    z = made[-1] + embedding.pos_embed
    torch.testing.assert_close(z, embedding(images))
    made += [z]
    block = encoder.blocks[0]
    made += [block.norm1(z)]
    made += [block.attn.qkv(made[-1])]
    q, k, v = (split_heads(t, SMALL.num_heads) for t in made[-1].chunk(3, dim=-1))
    heads, weights = attention(q, k, v)
    made += [q, weights, heads, merge_heads(heads)]
    made += [block.attn.proj(made[-1])]
    attended = made[-1] + z
    made += [attended, block.norm2(attended)]
    made += [gelu(block.mlp.fc1(made[-1]))]
    made += [block.mlp.fc2(made[-1])]
    made += [made[-1] + attended]
    torch.testing.assert_close(made[-1], block(z))
    tokens = encoder(z)
    made += [tokens, tokens[:, 0], head(tokens[:, 0])]
    assert [tuple(t.shape) for t in made] == shapes_on_the_page()


# Parameters.


def test_tables_name_every_parameter_once():
    named = []
    prefixes = {
        "embedding": "embedding.",
        "block": "encoder.blocks.0.",
        "norm": "encoder.norm.",
        "head": "head.",
    }
    for table, prefix in prefixes.items():
        assert f"```{{include}} generated/specification-{table}.md\n" in TEXT
        named += [prefix + n for n in re.findall(r"^\| `(.*?)`", TABLES[table](), re.M)]
    assert sorted(named) == sorted(small_model().state_dict())


def test_parameters_of_a_block_as_the_page_shows_them():
    rows = TABLES["block"]().splitlines()[2:]
    assert rows[0] == "| `norm1.weight` | `(D,)` | ones |"
    assert rows[2] == "| `attn.qkv.weight` | `(3·D, D)` | uniform, ±1/√D |"
    assert rows[-2] == "| `mlp.fc2.weight` | `(D, M)` | uniform, ±1/√M |"
    assert "normal, standard deviation 0.02" in TABLES["embedding"]()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (torch.zeros(160), "zeros"),
        (torch.ones(96), "ones"),
        (torch.linspace(-1, 1, 9999) / 96**0.5, "uniform, ±1/√D"),
        (torch.linspace(-1, 1, 9999) / 50**0.5, None),
        (torch.linspace(-1, 1, 9999) / 160**0.5, None),
        (torch.full((9999,), 0.1), None),
    ],
)
def test_a_start_is_described_or_refused(values, words):
    if words is None:
        with pytest.raises(ValueError, match="expected zeros, ones, uniform values"):
            describe_start(values, inputs=96)
    else:
        assert describe_start(values, inputs=96) == words


# What the page says in words.


def test_classes_have_the_signatures_on_the_page():
    listed = re.findall(r"^(\w+)(\(.*\))$", section("The classes"), re.M)
    assert len(listed) == 6
    for name, signature in listed:
        made = inspect.signature(getattr(vit_encoder, name))
        bare = [p.replace(annotation=p.empty) for p in made.parameters.values()]
        assert str(made.replace(parameters=bare)) == signature


def test_the_example_makes_the_tokens_that_it_says():
    code = re.search(r"```python\n(embedding = .*?)```", TEXT, re.S)[1]
    with torch.device("meta"):
        names = {"images": torch.empty(5, 3, 224, 224)}
        exec(f"from vit_encoder import *\n{code}", names)
    assert names["tokens"].shape == (5, 197, 768)
    assert count(names["encoder"]) == count(build_on_meta(BY_NAME["B/16"])["encoder"])


IMAGES = torch.zeros(2, 3, 32, 32)
TOKENS = torch.zeros(2, 5, 24)


def small_embedding(patch_size=8):
    return PatchEmbedding(image_size=32, patch_size=patch_size, in_channels=3, dim=24)


def small_encoder(depth=2, num_heads=3, dropout=0.0):
    return Encoder(depth, dim=24, num_heads=num_heads, mlp_dim=40, dropout=dropout)


@pytest.mark.parametrize(
    "call",
    [
        lambda: small_embedding(patch_size=5),
        lambda: small_encoder(num_heads=5),
        lambda: small_encoder(depth=0),
        lambda: small_encoder(depth=2.5),
        lambda: small_encoder(dropout=1.5),
        lambda: small_embedding()(IMAGES[:, :1]),
        lambda: small_embedding()(IMAGES.byte()),
        lambda: small_encoder()(TOKENS[..., :20]),
        lambda: small_encoder()(TOKENS[0]),
        lambda: small_encoder()([]),
    ],
)
def test_errors_are_those_on_the_page(call):
    with pytest.raises((ValueError, TypeError)) as raised:
        call()
    assert f"`{raised.type.__name__}: {raised.value}`\n" in section("The errors")


def test_every_error_on_the_page_is_tested():
    (mark,) = test_errors_are_those_on_the_page.pytestmark
    assert section("The errors").count("\n- ") == len(mark.args[1])


def test_encoder_takes_any_number_of_tokens():
    assert small_encoder()(torch.zeros(2, 7, 24)).shape == (2, 7, 24)


def test_blocks_share_no_parameter():
    encoder = small_encoder(depth=3)
    assert all(isinstance(block, EncoderBlock) for block in encoder.blocks)
    assert len({id(p) for p in encoder.parameters()}) == 3 * 12 + 2
