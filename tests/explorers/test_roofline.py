"""The roofline: FLOPs, bytes, times and marks."""

import json
import math
import random

import pytest
import torch
from tests.explorers.cases import run, value
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from vit_encoder import EncoderBlock
from vit_encoder.costs import traffic
from vit_encoder.fast import block_flops, run_block
from vit_encoder.figures import RooflineExplorer
from vit_encoder.figures.roofline_explorer import (
    FUSED,
    MACHINES,
    OPERATIONS,
    block_costs,
)

pytestmark = pytest.mark.xdist_group("explorer roofline")

DTYPES = {  # of weights, of all else
    "fp32": (torch.float32, torch.float32),
    "bf16": (torch.bfloat16, torch.bfloat16),
    "int8 weights": (torch.int8, torch.bfloat16),
}
PRODUCTS = ("qkv", "scores", "weighted sum", "proj", "fc1", "fc2")
ATTENTION = ("scores", "softmax", "weighted sum")


class NumberByNumber(TorchDispatchMode):
    """Counts a FLOP for each number of the largest tensor that an operator touches.

    What touches one number a row alone, such as a root, is left out.
    """

    def __init__(self, numel: int):
        super().__init__()
        self.numel, self.flops = numel, 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        out = operator(*args, **(kwargs or {}))
        tensors = [t for t in (*args, out) if isinstance(t, torch.Tensor)]
        if max(t.numel() for t in tensors) == self.numel:
            self.flops += self.numel
        return out


def layer_norm(x, weight, bias):
    far = x - x.mean(-1, keepdim=True)
    return far * (far * far).mean(-1, keepdim=True).rsqrt() * weight + bias


def softmax(x):
    powers = (x - x.amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True)


def gelu(x):
    return 0.5 * x * ((x / math.sqrt(2)).erf() + 1)


def counted(batch, tokens, dim, precision, fused, last):
    """FLOPs and bytes of each operation, counted while a block is computed.

    PyTorch counts the FLOPs of products. The tensors have shapes and types, no numbers.
    """
    of_weight, of_other = DTYPES[precision]
    found = {}

    def tensor(*shape, dtype=of_other):
        return torch.empty(*shape, dtype=dtype, device="meta")

    def count(name, compute, *inputs, weights=()):
        """Run it with all as floats, and note what it read and wrote."""
        as_floats = [t.to(of_other) for t in (*inputs, *weights)]
        each = NumberByNumber(inputs[0].numel())
        with FlopCounterMode(display=False) as products:
            if name not in PRODUCTS:
                with each:
                    out = compute(*as_floats)
            else:
                out = compute(*as_floats)
        outs = out if isinstance(out, tuple) else (out,)
        moved = sum(t.numel() * t.element_size() for t in (*inputs, *weights, *outs))
        found[name] = [products.get_total_flops() + each.flops, moved]
        return out

    def linear(*inputs, name, out, compute=torch.nn.functional.linear):
        width = inputs[0].shape[-1]
        weights = tensor(out, width, dtype=of_weight), tensor(out, dtype=of_weight)
        return count(name, compute, *inputs, weights=weights)

    def in_heads(x):  # (B, N, D) → (B, h, N, 64)
        return x.unflatten(-1, (-1, 64)).transpose(1, 2)

    def qkv(y, weight, bias):
        return torch.nn.functional.linear(y, weight, bias).chunk(3, -1)

    def norm(name, x):
        weights = [tensor(dim, dtype=of_weight) for _ in range(2)]
        return count(name, layer_norm, x, weights=weights)

    x = tensor(batch, tokens, dim)
    y = norm("norm1", x)
    q, k, v = map(in_heads, linear(y, name="qkv", out=3 * dim, compute=qkv))
    q = q[:, :, :1] if last else q  # the class token alone goes on
    scores = count("scores", lambda q, k: q @ k.transpose(-2, -1), q, k)
    weights = count("softmax", softmax, scores)
    y = count("weighted sum", lambda a, v: a @ v, weights, v)
    if fused:
        flops = sum(found.pop(name)[0] for name in ATTENTION)
        moved = sum(t.numel() * t.element_size() for t in (q, k, v, y))
        found["attention"] = [flops, moved]
    y = linear(y.transpose(1, 2).flatten(2), name="proj", out=dim)
    x = count("skip 1", lambda x, y: x + y, x[:, :1] if last else x, y)
    y = linear(norm("norm2", x), name="fc1", out=4 * dim)
    y = linear(count("GELU", gelu, y), name="fc2", out=dim)
    count("skip 2", lambda x, y: x + y, x, y)
    order = [name for name, *_ in OPERATIONS if name in found]
    if fused:
        order.insert(2, "attention")
    return {name: found[name] for name in order}


def settings(count):
    """Random sizes, with each precision, fused or not, last or not."""
    rng = random.Random(0)
    for i in range(count):
        yield {
            "batch": rng.choice([1, 2, 3, 8, 37, 256, 4096]),
            "tokens": rng.choice([2, 5, 50, 197, 577, 1025, 16385]),
            "dim": 64 * rng.choice([1, 3, 6, 12, 16, 22, 64]),
            "precision": [*DTYPES][i % 3],
            "fused": bool(i // 3 % 2),
            "last": bool(i // 6 % 2),
        }


def test_flops_and_bytes_are_those_of_tensors(visit):
    asked = [*settings(60)]
    machine = {"peak": 65, "bandwidth": 320, "operations": [*OPERATIONS, FUSED]}
    full = [setting | machine for setting in asked]
    shown = run(visit("roofline"), f"{json.dumps(full)}.map(figure.costsOf)")
    for setting, ours in zip(asked, shown, strict=True):
        right = counted(**setting)
        sizes = [setting[key] for key in ("batch", "tokens", "dim", "precision")]
        costs = block_costs(*sizes, fused=setting["fused"], last=setting["last"])
        assert [*costs] == [*right] == [cost["name"] for cost in ours]
        for cost in ours:
            flops, moved = right[cost["name"]]
            assert costs[cost["name"]] == (flops, moved), (setting, cost["name"])
            assert cost["flops"] == pytest.approx(flops, rel=1e-12)
            assert cost["weights"] + cost["others"] == pytest.approx(moved, rel=1e-12)
            times = flops / 65e12, moved / 320e9
            assert cost["arithmetic"] == pytest.approx(times[0], rel=1e-12)
            assert cost["memory"] == pytest.approx(times[1], rel=1e-12)
            assert cost["time"] == pytest.approx(max(times), rel=1e-12)
            assert cost["speed"] == pytest.approx(flops / max(times), rel=1e-12)


def test_products_are_those_of_the_chapter(visit):
    machine = {"peak": 65, "bandwidth": 320, "operations": [*OPERATIONS, FUSED]}
    asked = [setting | machine for setting in settings(24)]
    shown = run(visit("roofline"), f"{json.dumps(asked)}.map(figure.blockOf)")
    for setting, block in zip(asked, shown, strict=True):
        B, N, D = (setting[key] for key in ("batch", "tokens", "dim"))
        costs = block_costs(B, N, D, last=setting["last"])
        products = sum(costs[name][0] for name in PRODUCTS)
        assert products == B * block_flops(D, 4 * D, N, 1 if setting["last"] else None)
        assert block["products"] == pytest.approx(products, rel=1e-12)


@pytest.mark.parametrize("queries", [None, 1])
def test_bytes_of_products_are_those_that_the_chapter_counts(queries):
    block = EncoderBlock(192, 3, 768).eval()
    x = torch.zeros(2, 17, 192)
    found = traffic(run_block, block, x, queries)["products"]
    costs = block_costs(2, 17, 192, fused=True, last=queries == 1)
    assert sum(costs[name][1] for name in ("qkv", "proj", "fc1", "fc2")) == found


def test_fused_attention_moves_less_by_the_square_of_the_tokens():
    def moved(fused):
        costs = block_costs(3, 577, 768, "bf16", fused=fused)
        return sum(bytes_ for _, bytes_ in costs.values())

    # The scores and the weights of 12 heads, each written and read, two bytes a number.
    assert moved(False) - moved(True) == 4 * 3 * 12 * 577**2 * 2


def bound(batch, machine, precision="bf16", tokens=197):
    """name → whether memory binds."""
    _, bandwidth, fp32, half = next(m for m in MACHINES if m[0] == machine)
    peak = fp32 if precision == "fp32" else half
    costs = block_costs(batch, tokens, 768, precision)
    return {
        name: moved / (1e9 * bandwidth) > flops / (1e12 * peak)
        for name, (flops, moved) in costs.items()
    }


def test_what_a_reader_shall_discover_is_there():
    for machine in ("T4", "H100", "H200"):
        one, many = bound(1, machine), bound(256, machine)
        assert all(one.values())
        assert not any(many[name] for name in ("qkv", "fc1", "fc2"))
    for machine, *_ in MACHINES:
        for batch in (1, 256):
            for tokens in (197, 4097):
                for precision in ("fp32", "bf16"):
                    found = bound(batch, machine, precision, tokens)
                    for name in ("norm1", "softmax", "skip 1", "norm2", "GELU"):
                        assert found[name], (machine, batch, name)


def times_of(setting, peak, bandwidth):
    """name → the least seconds."""
    return {
        name: max(flops / (1e12 * peak), moved / (1e9 * bandwidth))
        for name, (flops, moved) in counted(**setting).items()
    }


def number(text):
    """What a text such as "1.08 ms" says."""
    digits, prefix = text.replace("\u00a0", " ").split(" ")[:2]
    powers = {"n": -9, "µ": -6, "m": -3, "s": 0}
    return float(digits) * 10 ** powers[prefix[0]]


def test_page_shows_these_numbers(visit):
    tab = visit("roofline")
    base = {"batch": 1, "tokens": 197, "dim": 768, "precision": "bf16"}
    plain = base | {"fused": False, "last": False}

    def compare(setting, peak, bandwidth):
        times = times_of(setting, peak, bandwidth)
        time = sum(times.values())
        assert number(value(tab, "time")) == pytest.approx(time, rel=6e-3)
        for name, least in times.items():
            share = tab.locator(f"[data-value='{name} share']").inner_text()
            exact = 100 * least / time
            digits = share.removeprefix("<\u00a0").split()[0]
            assert float(digits) == pytest.approx(exact, abs=0.51)
        whole = setting | {"last": False}
        others = sum(times_of(whole, peak, bandwidth).values())
        a_second = setting["batch"] / (11 * others + time)
        images = value(tab, "images").removeprefix("at most ").split(" images")[0]
        images = float(images.replace("\u00a0", ""))
        assert images == pytest.approx(a_second, rel=6e-3)
        counts = counted(**setting | {"fused": False})
        flops = sum(counts[name][0] for name in PRODUCTS)
        share = value(tab, "ofPeak").removeprefix("at most ").split()[0]
        exact = 100 * flops / (time * peak * 1e12)
        assert float(share) == pytest.approx(exact, abs=0.51)

    compare(plain, 65, 320)
    tab.get_by_role("slider", name="batch").fill("8")
    tab.get_by_role("radio", name="H200").check()
    tab.get_by_role("switch", name="fused").click()
    compare(plain | {"batch": 256, "fused": True}, 989.4, 4800)
    tab.get_by_role("switch", name="last").click()
    compare(plain | {"batch": 256, "fused": True, "last": True}, 989.4, 4800)
    tab.get_by_role("radio", name="fp32").check()  # the same machine, another peak
    assert tab.get_by_role("radio", name="H200").is_checked()
    changed = {"batch": 256, "fused": True, "last": True, "precision": "fp32"}
    compare(plain | changed, 66.9, 4800)
    tab.get_by_role("slider", name="peak").fill("3")
    tab.get_by_role("slider", name="bandwidth").fill("2")
    assert not tab.get_by_role("radio", name="H200").is_checked()
    compare(plain | changed, 1000, 100)


def test_readout_says_how_the_numbers_come_about(visit):
    tab = visit("roofline")
    said = {key: value(tab, key).replace("\u00a0", " ") for key in ("flops", "weights")}
    assert said == {"flops": "6BND² = 697 M", "weights": "3D² + 3D numbers, 3.54 MB"}
    assert value(tab, "others").replace("\u00a0", " ") == "4BND numbers, 1.21 MB"
    assert value(tab, "arithmetic") == "10.7\u00a0µs"
    assert value(tab, "memory") == "14.9\u00a0µs, the longer"
    tab.get_by_role("radio", name="scores").check()
    assert value(tab, "flops").replace("\u00a0", " ") == "2BN²D = 59.6 M"
    assert value(tab, "weights") == "none"
    assert "2BND + BhN² numbers" in value(tab, "others")
    tab.get_by_role("switch", name="fused").click()  # what was chosen is part of it
    assert tab.get_by_role("radio", name="attention").is_checked()
    assert tab.get_by_role("radio", name="softmax").count() == 0
    assert value(tab, "others").startswith("4BND numbers")
    tab.get_by_role("switch", name="last").click()
    assert value(tab, "flops").startswith("4BND + 5BhN =")


def test_formulas_come_to_what_is_computed(visit):
    """What a reader sees, with numbers put in, is what the figure computed."""
    tab = visit("roofline")
    sizes = {"B": 2, "N": 50, "D": 192, "M": 768, "h": 3}
    texts = [text for op in (*OPERATIONS, FUSED) for text in op[2:] if text]
    for last in (False, True):
        code = f"{json.dumps(texts)}.map(t => figure.written(t, {json.dumps(last)}))"
        for text, seen in zip(texts, run(tab, code), strict=True):
            code = "".join(f"*{c}" if c.isalpha() else c for c in seen)
            code = code.replace("²", "**2").replace(" *", " ").lstrip("*")
            right = sum(
                math.prod(
                    (sizes | {"T": 1 if last else 50}).get(factor) or int(factor)
                    for factor in term.split()
                )
                for term in text.split(" + ")
            )
            assert eval(code, {}, sizes) == right, seen


def marks(tab):
    """The centres of all marks, in the plot's units."""
    code = "all => all.map(p => p.getAttribute('d'))"
    paths = tab.locator(".roof-plot g > .roof-mark").evaluate_all(code)
    for path in paths:
        x, y = path.removeprefix("M").split("a")[0].split()
        yield float(x) + 4.5, float(y)


def test_marks_stand_on_the_roof_at_their_intensity(visit):
    tab = visit("roofline")
    for batch in (1, 64):
        tab.get_by_role("slider", name="batch").fill(str(int(math.log2(batch))))
        found = [*marks(tab)]
        costs = block_costs(batch, 197, 768, "bf16")
        assert len(found) == len(costs) == 12
        for (x, y), (flops, moved) in zip(found, costs.values(), strict=True):
            intensity = math.log10(flops / moved)
            speed = math.log10(min(65e12, 320e9 * flops / moved))
            assert x == pytest.approx((intensity + 1.5) / 6.4 * 400, abs=0.2)
            assert y == pytest.approx((15.9 - speed) / 7.4 * 300, abs=0.2)
    hollow = tab.locator(".roof-plot g > .roof-hollow").count()
    assert hollow == sum(bound(64, "T4").values())
    assert 0 < hollow < 12


BOXES = "all => all.map(e => (b => [b.x, b.y, b.width, b.height])(e.getBBox()))"


def test_words_beside_marks_do_not_overlap(visit):
    tab = visit("roofline")
    tab.get_by_role("slider", name="tokens").fill("11")  # the most
    tab.get_by_role("switch", name="fused").click()
    for batch in (0, 5, 12):
        tab.get_by_role("switch", name="last").set_checked(batch == 12)
        if batch == 5:
            tab.get_by_role("slider", name="tokens").fill("4")
            tab.get_by_role("switch", name="fused").click()
        for machine in ("laptop", "T4", "H200"):
            for precision in ("fp32", "int8 weights"):
                tab.get_by_role("slider", name="batch").fill(str(batch))
                tab.get_by_role("radio", name=machine).check()
                tab.get_by_role("radio", name=precision).check()
                boxes = tab.locator(".roof-names text").evaluate_all(BOXES)
                for i, (x, y, width, height) in enumerate(boxes):
                    assert x + width <= 406
                    assert y + height <= 302
                    for x2, y2, width2, height2 in boxes[:i]:
                        apart = x + width <= x2 or x2 + width2 <= x
                        # A box is higher than its letters.
                        above = y + height <= y2 + 3 or y2 + height2 <= y + 3
                        assert apart or above, (batch, machine, precision)


def test_finger_takes_the_nearest_mark_and_keys_the_next(visit):
    tab = visit("roofline", width=360, has_touch=True, is_mobile=True)
    box = tab.locator(".roof-plot > svg").bounding_box()
    x, y = [*marks(tab)][6]  # that of a skip
    scale = box["width"] / 450
    tab.touchscreen.tap(box["x"] + (x + 44) * scale, box["y"] + (y + 24) * scale)
    assert tab.get_by_role("radio", name="skip 1").is_checked()
    assert tab.locator(".roof-title").last.inner_text().startswith("skip 1, 3.1")
    tab.get_by_role("radio", name="skip 1").press("ArrowDown")
    assert tab.get_by_role("radio", name="norm2").is_checked()
    assert tab.locator(".roof-title").last.inner_text().startswith("norm2, 2.1")


def test_start_is_what_python_asks_for():
    made = RooflineExplorer(8, 577, 1024, "fp32", "H100", fused=True)
    assert (made.peak, made.bandwidth) == (66.9, 3350)
    assert repr(made) == "RooflineExplorer(B = 8, N = 577, D = 1024, fp32)"
    made = RooflineExplorer(peak=790, bandwidth=4000)
    assert (made.peak, made.bandwidth) == (790, 4000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 0}, "expected batch from 1 to 4096, got 0"),
        ({"batch": "1"}, "expected batch from 1 to 4096, got '1'"),
        ({"tokens": 1e9}, "expected tokens from 1 to 16385, got 1000000000.0"),
        ({"dim": 100}, "expected dim from 64 to 4096 in steps of 64, got 100"),
        ({"precision": "fp8"}, "among 'fp32', 'bf16', 'int8 weights', got 'fp8'"),
        ({"machine": "B200"}, "expected machine among 'laptop', .*, got 'B200'"),
        ({"peak": 0}, "expected peak from 0.1 to 3000, got 0"),
        ({"bandwidth": math.nan}, "expected bandwidth from 20 to 10000, got nan"),
        ({"operation": "q"}, "expected operation among 'norm1', .*, got 'q'"),
    ],
)
def test_roofline_explorer_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        RooflineExplorer(**arguments)
