"""The fast encoder against the textbook's, and against timm and PyTorch in float64."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from library_models import Sizes, randomize, timm_vit, torch_encoder
from vit_encoder import LoRALinear, encoder, fast, training
from vit_encoder.arguments import require_tokens
from vit_encoder.loading import from_timm, from_torch_encoder

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
NAMES = ("Encoder", "VisionTransformer")
POOLS = ("cls", "mean")
NEAR = {"rtol": 0, "atol": 1e-5}  # in float32
EXACT = {"rtol": 0, "atol": 1e-10}  # in float64
SIZES = Sizes(24, 6, 3, depth=3, dim=20, num_heads=5, mlp_dim=28, num_classes=11)
B, N = 2, 17  # no two sizes are equal, and N is odd


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(11)


def randn(rng, *shape, dtype=torch.float32, device="cpu"):
    return torch.randn(*shape, generator=rng, dtype=dtype).to(device)


def pair(name, device="cpu", dtype=torch.float32, **options):
    """The textbook's module and the fast one, with the same random parameters."""
    s = SIZES
    sizes = (s.depth, s.dim, s.num_heads, s.mlp_dim)
    if name == "VisionTransformer":
        sizes = (s.image_size, s.patch_size, s.in_channels, s.num_classes, *sizes)
    homes = {"Encoder": encoder, "VisionTransformer": training}
    ours = randomize(getattr(homes[name], name)(*sizes, **options))
    theirs = getattr(fast, name)(*sizes, **options).eval()
    theirs.load_state_dict(ours.state_dict())
    return [module.to(device, dtype) for module in (ours, theirs)]


def given(name, rng, device="cpu", dtype=torch.float32):
    """What such a module takes: tokens or images."""
    if name == "Encoder":
        return randn(rng, B, N, SIZES.dim, dtype=dtype, device=device)
    side = SIZES.image_size
    return randn(rng, B, 3, side, side, dtype=dtype, device=device)


def answer(module, x, seed=None):
    """What comes out, and the gradients of the input and of every parameter."""
    x = x.clone().requires_grad_()
    if seed is not None:
        torch.manual_seed(seed)
    y = module(x)
    upstream = torch.linspace(-0.3, 0.3, y.numel(), device=y.device).view_as(y)
    named = {n: p for n, p in module.named_parameters() if p.requires_grad}
    wanted = [x, *named.values()]
    gradients = torch.autograd.grad(y, wanted, upstream.to(y.dtype))
    return {
        "output": y.detach(),
        **dict(zip(["input", *named], gradients, strict=True)),
    }


def assert_same(got, expected, atol=1e-5):
    """Every tensor of an answer: names, shapes, dtypes and numbers."""
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            got[name], tensor, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
        )


# It is the textbook's, seen from outside


@pytest.mark.parametrize("name", NAMES)
def test_arguments_and_state_dict_are_the_textbooks(name):
    ours, theirs = pair(name)
    assert isinstance(theirs, type(ours))
    assert inspect.signature(type(theirs)) == inspect.signature(type(ours))
    states = [
        [(key, tensor.shape, tensor.dtype) for key, tensor in m.state_dict().items()]
        for m in (ours, theirs)
    ]
    assert states[0] == states[1]
    ours.load_state_dict(theirs.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_new_parameters_are_drawn_alike(name):
    sizes = (12, 4, 3, 7, 2, 6, 3, 10) if name == "VisionTransformer" else (2, 6, 3, 10)
    states = []
    for home in (fast, training if name == "VisionTransformer" else encoder):
        torch.manual_seed(3)
        states.append(getattr(home, name)(*sizes).state_dict())
    assert_same(*states, atol=0)


BAD_SIZES = [(0, 6, 3, 10), (2, 6, 4, 10), (2.0, 6, 3, 10), (2, 6, 3, 10, 1.5)]
BAD_TOKENS = {
    "rank": lambda: torch.zeros(N, SIZES.dim),
    "width": lambda: torch.zeros(B, N, SIZES.dim + 1),
    "whole numbers": lambda: torch.zeros(B, N, SIZES.dim, dtype=torch.long),
    "list": lambda: [[[0.0] * SIZES.dim]],
}
BAD_IMAGES = {
    "rank": lambda: torch.zeros(3, 24, 24),
    "side": lambda: torch.zeros(B, 3, 24, 30),
    "channels": lambda: torch.zeros(B, 1, 24, 24),
    "bytes": lambda: torch.zeros(B, 3, 24, 24, dtype=torch.uint8),
}


def error_of(call):
    """The type and the words of what a call raises."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    return caught.type, str(caught.value)


@pytest.mark.parametrize("sizes", BAD_SIZES, ids=str)
def test_bad_sizes_get_the_textbooks_error(sizes):
    expected = error_of(lambda: encoder.Encoder(*sizes))
    assert error_of(lambda: fast.Encoder(*sizes)) == expected


@pytest.mark.parametrize("make", BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_bad_images_get_the_textbooks_error(make):
    ours, theirs = pair("VisionTransformer")
    assert error_of(lambda: theirs(make())) == error_of(lambda: ours(make()))


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_bad_tokens_get_the_textbooks_type_of_error(make):
    """The words are about tokens, where the textbook's first norm asks for features."""
    ours, theirs = pair("Encoder")
    kind, words = error_of(lambda: theirs(make()))
    assert kind is error_of(lambda: ours(make()))[0]
    assert error_of(lambda: require_tokens(make(), SIZES.dim)) == (kind, words)


def test_an_unknown_pool_gets_the_textbooks_error():
    sizes = (24, 6, 3, 11, 3, 20, 5, 28, "max")
    expected = error_of(lambda: training.VisionTransformer(*sizes))
    assert error_of(lambda: fast.VisionTransformer(*sizes)) == expected


# Numbers and gradients

CASES = {
    "encoder": ("Encoder", {}),
    "class token": ("VisionTransformer", {"pool": "cls"}),
    "class token, hidden layer": ("VisionTransformer", {"pre_logits_dim": 9}),
    "mean": ("VisionTransformer", {"pool": "mean"}),
}
of_all = pytest.mark.parametrize(("name", "options"), CASES.values(), ids=CASES.keys())
MODES = [pytest.param(0.0, False, id="eval"), pytest.param(0.3, True, id="train")]
in_both_modes = pytest.mark.parametrize(("p", "train"), MODES)


@of_all
@in_both_modes
@pytest.mark.parametrize("checkpointing", [False, True])
def test_numbers_and_gradients(name, options, p, train, checkpointing, device, rng):
    ours, theirs = pair(name, device, dropout=p, **options)
    theirs.checkpointing = checkpointing
    x = given(name, rng, device)
    answers = [answer(module.train(train), x, seed=5) for module in (ours, theirs)]
    assert_same(*reversed(answers))


@of_all
def test_training_without_dropout(name, options, device, rng):
    ours, theirs = pair(name, device, **options)
    x = given(name, rng, device)
    assert_same(answer(theirs.train(), x), answer(ours.train(), x))


def test_dropout_is_on_in_training_alone(rng):
    _, theirs = pair("Encoder", dropout=0.3)
    x = given("Encoder", rng)
    assert torch.equal(theirs(x), theirs(x))
    theirs.train()
    assert not torch.equal(theirs(x), theirs(x))


def by_pytorch(theirs, images, pool):
    """The logits of the same parameters through PyTorch's own encoder, in float64."""
    options = {"activation": "gelu", "norm_first": True, "batch_first": True}
    model = torch_encoder(SIZES, **options, layer_norm_eps=1e-6, dropout=0.0).double()
    state = {}
    for key, tensor in theirs.encoder.state_dict().items():
        for name, other in (
            ("blocks", "layers"),
            ("attn.qkv.", "self_attn.in_proj_"),
            ("attn.proj", "self_attn.out_proj"),
            ("mlp.fc", "linear"),
        ):
            key = key.replace(name, other)
        state[key] = tensor
    model.load_state_dict(state)
    for kept, tensor in from_torch_encoder(model.state_dict()).encoder.items():
        assert torch.equal(tensor, theirs.encoder.state_dict()[kept])
    embedding, P = theirs.embedding, SIZES.patch_size
    patches = F.unfold(images, P, stride=P).transpose(1, 2)  # (B, n, C·P·P)
    x = F.linear(patches, embedding.proj.weight, embedding.proj.bias)
    x = torch.cat([embedding.cls_token.expand(len(x), 1, -1), x], 1)
    x = model(x + embedding.pos_embed)
    x = x[:, 0] if pool == "cls" else x[:, 1:].mean(1)
    return F.linear(x, theirs.head.weight, theirs.head.bias)


@pytest.mark.parametrize("pool", POOLS)
def test_equals_pytorchs_encoder_in_float64(pool, rng):
    _, theirs = pair("VisionTransformer", dtype=torch.float64, pool=pool)
    images = given("VisionTransformer", rng, dtype=torch.float64).requires_grad_()
    got, expected = theirs(images), by_pytorch(theirs, images, pool)
    torch.testing.assert_close(got, expected, **EXACT)
    upstream = randn(rng, *got.shape, dtype=torch.float64)
    wanted = [images, *theirs.head.parameters(), *theirs.embedding.parameters()]
    for mine, other in zip(
        torch.autograd.grad(got, wanted, upstream),
        torch.autograd.grad(expected, wanted, upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, **EXACT)


def test_equals_timm_in_float64(rng):
    model = randomize(timm_vit(SIZES).double())
    _, theirs = pair("VisionTransformer", dtype=torch.float64)
    weights = from_timm(model.state_dict())
    theirs.embedding.load_state_dict(weights.embedding)
    theirs.encoder.load_state_dict(weights.encoder)
    theirs.head.load_state_dict(weights.head)
    images = given("VisionTransformer", rng, dtype=torch.float64)
    labels = torch.tensor([3, 8])
    losses = []
    for module in (theirs, model):
        logits = module(images)
        losses.append(logits)
        F.cross_entropy(logits, labels).backward()
    torch.testing.assert_close(*losses, **EXACT)
    right = from_timm({name: p.grad for name, p in model.named_parameters()})
    for part in ("embedding", "encoder", "head"):
        got = dict(getattr(theirs, part).named_parameters())
        expected = getattr(right, part)
        assert got.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(got[name].grad, gradient, **EXACT)


@pytest.mark.parametrize("queries", range(1, N + 1))
def test_the_first_tokens_alone(queries, rng):
    ours, _ = pair("Encoder", dtype=torch.float64)
    x = given("Encoder", rng, dtype=torch.float64)
    got = answer(calling(ours, lambda x: fast.encode(ours, x, queries)), x)
    expected = answer(calling(ours, lambda x: ours(x)[:, :queries]), x)
    assert_same(got, expected, atol=1e-10)


def calling(owner, call):
    """A module with another's parameters, which calls a function."""
    module = nn.Module()
    module.owner, module.forward = owner, call
    return module


@pytest.mark.parametrize(
    ("pool", "dropout", "computed"), [("cls", 0, 1), ("cls", 0.3, N), ("mean", 0, N)]
)
def test_the_last_block_computes_what_is_read(pool, dropout, computed, rng):
    _, theirs = pair("VisionTransformer", pool=pool, dropout=dropout)
    seen = []
    for block in theirs.encoder.blocks:
        block.mlp.fc1.register_forward_hook(lambda _, x, y: seen.append(x[0].shape[1]))
    theirs.train()(given("VisionTransformer", rng))
    assert seen == [N, N, computed]


@pytest.mark.parametrize("eps", [1e-12, 0.5])
def test_eps_is_the_modules(eps, rng):
    ours, theirs = pair("Encoder")
    for module in (ours, theirs):
        for norm in (m for m in module.modules() if hasattr(m, "eps")):
            norm.eps = eps
    x = given("Encoder", rng)
    torch.testing.assert_close(theirs(x), ours(x), **NEAR)


@of_all
def test_with_lora(name, options, rng):
    modules = pair(name, **options)
    for module in modules:
        generator = torch.Generator().manual_seed(4)
        for block in (m for m in module.modules() if hasattr(m, "attn")):
            for owner, key in (
                *((block.attn, key) for key in ("qkv", "proj")),
                *((block.mlp, key) for key in ("fc1", "fc2")),
            ):
                adapted = LoRALinear(getattr(owner, key), rank=2, alpha=3)
                with torch.no_grad():
                    for p in (adapted.lora_A, adapted.lora_B):
                        p.copy_(0.3 * randn(generator, *p.shape))
                setattr(owner, key, adapted)
    x = given(name, rng)
    ours, theirs = (answer(module, x) for module in modules)
    assert sum("lora" in key for key in ours) == 8 * SIZES.depth
    assert_same(theirs, ours)


# Without gradients

WAYS = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}


@of_all
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_without_gradients_nothing_given_changes(name, options, way, device, rng):
    ours, theirs = pair(name, device, **options)
    x = given(name, rng, device)
    before = x.clone()
    state = {key: tensor.clone() for key, tensor in theirs.state_dict().items()}
    with way():
        expected, first, second = ours(x), theirs(x), theirs(x)
    torch.testing.assert_close(first, expected, **NEAR)
    assert torch.equal(first, second)
    assert torch.equal(x, before)
    assert_same(theirs.state_dict(), state, atol=0)
    assert not first.requires_grad


def test_frozen_parameters_leave_the_gradient_of_the_input(rng):
    ours, theirs = (module.requires_grad_(False) for module in pair("Encoder"))
    x = given("Encoder", rng)
    assert_same(answer(theirs, x), answer(ours, x))


# Checkpointing


@pytest.mark.parametrize("name", NAMES)
def test_checkpointing_computes_every_block_again_and_keeps_less(name, rng):
    _, theirs = pair(name)
    theirs.train()
    x = given(name, rng)
    calls = []
    for block in (m for m in theirs.modules() if hasattr(m, "attn")):
        block.mlp.fc1.register_forward_hook(lambda *_: calls.append(1))
    counts = []
    for theirs.checkpointing in (False, True):
        kept = []
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, kept=kept: kept.append(tensor.numel()) or tensor, lambda t: t
        )
        calls.clear()
        with hooks:
            y = theirs(x)
        y.sum().backward()
        counts.append((len(calls), sum(kept)))
    assert [count for count, _ in counts] == [SIZES.depth, 2 * SIZES.depth]
    assert counts[1][1] < 0.4 * counts[0][1]


# Narrow numbers and compilers


@of_all
@in_both_modes
def test_under_autocast(name, options, p, train, device, rng):
    """As near to float64 as the textbook is, which rounds as often."""
    modules = pair(name, device, dropout=p, **options)
    right, _ = pair(name, device, torch.float64, dropout=p, **options)
    x = given(name, rng, device)
    expected = answer(right.train(train), x.double(), seed=5)
    with torch.autocast(device, torch.bfloat16):
        ours, theirs = (answer(module.train(train), x, seed=5) for module in modules)
    assert {k: t.dtype for k, t in theirs.items()} == {
        k: t.dtype for k, t in ours.items()
    }
    for key, tensor in expected.items():
        far, allowed = ((a[key].double() - tensor).norm() for a in (theirs, ours))
        assert far <= 2 * allowed + 1e-3 * tensor.norm(), key
        assert far < 0.05 * tensor.norm() or "qkv.bias" in key, key


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_16_bits(dtype, rng):
    ours, theirs = pair("VisionTransformer", dtype=dtype)
    images = given("VisionTransformer", rng, dtype=torch.float64)
    right, _ = pair("VisionTransformer", dtype=torch.float64)
    with torch.no_grad():
        expected = right(images)
        far, allowed = (m(images.to(dtype)) for m in (theirs, ours))
    assert far.dtype == dtype
    far, allowed = ((y.double() - expected).norm() for y in (far, allowed))
    assert far <= 1.5 * allowed
    assert far < 0.05 * expected.norm()


@of_all
@in_both_modes
def test_compiles_without_a_graph_break(name, options, p, train, device, rng):
    ours, theirs = pair(name, device, dropout=p, **options)
    torch.compiler.reset()
    compiled = torch.compile(theirs.train(train), backend="aot_eager", fullgraph=True)
    x = given(name, rng, device)
    assert_same(
        {k.removeprefix("_orig_mod."): t for k, t in answer(compiled, x, 5).items()},
        answer(ours.train(train), x, 5),
    )
    if not train:
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), ours(x), **NEAR)


def test_compiles_with_checkpointing(device, rng):
    ours, theirs = pair("Encoder", device)
    theirs.checkpointing = True
    torch.compiler.reset()
    compiled = torch.compile(theirs.train(), backend="aot_eager", fullgraph=True)
    x = given("Encoder", rng, device)
    got = {k.removeprefix("_orig_mod."): t for k, t in answer(compiled, x).items()}
    assert_same(got, answer(ours.train(), x))
