"""The tour through the encoder: ten steps, depth and skips."""

import base64
import json
import re

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save
from tests.explorers.cases import (
    WIRINGS,
    rand,
    run,
    value,
)
from torch.utils.flop_counter import FlopCounterMode

from vit_encoder import (
    LayerNorm,
    VisionTransformer,
    patchify,
)
from vit_encoder.data import fashion_vit
from vit_encoder.datasets import CLASSES, LabelledImages, fashion_mnist
from vit_encoder.figures import (
    EncoderTour,
)
from vit_encoder.figures.encoder_at_work import SHOWN

pytestmark = pytest.mark.xdist_group("explorer tour")


SIZES = {  # all different
    "image_size": 15,
    "patch_size": 3,
    "in_channels": 3,
    "num_classes": 7,
    "depth": 4,
    "dim": 24,
    "num_heads": 6,
    "mlp_dim": 40,
}


def random_vit(seed=0):
    """A ViT whose every weight is a random number, large enough to matter."""
    model = VisionTransformer(**SIZES).eval()
    rng = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.data = 0.3 * torch.randn(p.shape, generator=rng)
    return model


def steps_of(model, image, i, head):
    """What the ten steps make in block i, in float64. image: (1, C, H, W)."""
    embedding, block = model.embedding, model.encoder.blocks[i]
    patches = patchify(image, embedding.patch_size)
    tokens = embedding(image)  # (1, N, D)
    x = tokens
    for before in model.encoder.blocks[:i]:
        x = before(x)
    normed = block.norm1(x)
    thirds = F.linear(normed, block.attn.qkv.weight, block.attn.qkv.bias).chunk(3, -1)
    q, k, v = (t.unflatten(-1, (block.attn.num_heads, -1))[0, :, head] for t in thirds)
    attended = block.attn(normed)
    return [
        patches,
        embedding.proj(patches),
        tokens,
        normed,
        torch.cat([q, k, v], -1),
        (q @ k.T / q.shape[-1] ** 0.5).softmax(-1),
        attended,
        x + attended,
        block(x),
        model(image),
    ]


TOUR = """(async () => {{
    const bytes = Uint8Array.from(atob("{weights}"), (c) => c.charCodeAt(0));
    const weights = figure.unpack(bytes.buffer), sizes = {sizes};
    const image = Float64Array.from({image});
    const passes = [...figure.run(image, sizes, weights, {skips})].filter(Boolean);
    return ({code})(sizes, weights, image, passes);
}})()"""


def tour(tab, model, image, code, *, skips=True):
    """What a function in the page returns for a model and an image."""
    sizes = {name: SIZES[name] for name in SIZES} | {"eps": 1e-6}
    weights = base64.b64encode(save(model.float().state_dict())).decode()
    model.double()
    numbers = image.flatten().tolist()
    given = {"weights": weights, "sizes": json.dumps(sizes), "image": numbers}
    return run(tab, TOUR.format(**given, skips=str(skips).lower(), code=code))


SEEN = """(sizes, weights, image, passes) => [1, 2, 3, 4].map((block) =>
    [0, 1, 2, 3, 4, 5].map((head) => {
        const c = figure.contextOf({ sizes, weights, image, passes, block, head });
        return figure.STEPS.map(({ see }) => see(c).made.map((row) => [...row]));
    }))"""


@pytest.mark.parametrize("seed", [0, 1])
def test_every_step_shows_the_numbers_of_torch(visit, seed):
    model = random_vit(seed)
    image = 2 * rand(1, 3, 15, 15, seed=seed).double() - 1
    shown = tour(visit("tour"), model, image, SEEN)
    with torch.no_grad():
        for i, heads in enumerate(shown):
            for head, steps in enumerate(heads):
                for ours, theirs in zip(
                    steps, steps_of(model, image, i, head), strict=True
                ):
                    theirs = theirs.squeeze(0) if theirs.dim() == 3 else theirs
                    torch.testing.assert_close(
                        torch.tensor(ours).double(), theirs, rtol=0, atol=1e-5
                    )


PASSED = """(sizes, weights, image, passes) => passes.map(({ x, logits }) =>
    ({ logits: [...logits], differ: figure.difference(x) }))"""


def test_similarity_and_guesses_are_those_of_torch_without_skips_too(visit):
    model, image = random_vit(), rand(1, 3, 15, 15).double()
    for skips in (True, False):
        shown = tour(visit("tour"), model, image, PASSED, skips=skips)
        with torch.no_grad():
            x = model.embedding(image)
            for i, passed in enumerate(shown):
                centred = x - x.mean(1, keepdim=True)
                assert passed["differ"] == pytest.approx(
                    (centred.norm() / x.norm()).item(), abs=1e-5
                )
                logits = model.head(model.encoder.norm(x)[0, 0])
                ours = torch.tensor(passed["logits"]).double()
                torch.testing.assert_close(ours, logits, rtol=0, atol=1e-5)
                if i < len(model.encoder.blocks):
                    block = model.encoder.blocks[i]
                    x = WIRINGS["pre skips" if skips else "pre row"](block, x)


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_parameters_and_flops_are_those_that_torch_counts(visit, depth):
    sizes = SIZES | {"depth": depth}
    model = VisionTransformer(**sizes)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(rand(1, 3, 15, 15))
    blocks = model.encoder.blocks
    modules = {
        "patches": [model.embedding.proj],
        "attention": [block.attn for block in blocks],
        "MLP": [block.mlp for block in blocks],
        "LayerNorms": [m for m in model.modules() if isinstance(m, LayerNorm)],
        "head": [model.head],
    }
    names = {module: name for name, module in model.named_modules()}
    whole = "VisionTransformer"
    found = run(visit("tour"), f"figure.costs({json.dumps(sizes)}, {depth})")
    for part, parameters, flops in found:
        if part not in modules:
            assert part == "class token, positions"
            rest = [model.embedding.cls_token, model.embedding.pos_embed]
            assert (parameters, flops) == (sum(p.numel() for p in rest), 0)
            continue
        own = {id(p): p.numel() for m in modules[part] for p in m.parameters()}
        assert parameters == sum(own.values())
        counted = counter.get_flop_counts()
        total = [counted.get(f"{whole}.{names[m]}", {}) for m in modules[part]]
        assert flops == sum(sum(operations.values()) for operations in total)
    assert sum(row[1] for row in found) == sum(p.numel() for p in model.parameters())
    assert sum(row[2] for row in found) == counter.get_total_flops()


def numbers_of_text(text):
    return [float(n) for n in re.findall(r"-?\d+\.\d+", text.replace("−", "-"))]


def test_reader_walks_by_button_and_each_number_comes_about_as_is_said(visit):
    tab = visit("tour")
    tab.locator(".tour-photo svg").click(position={"x": 40, "y": 70})
    tab.locator(".tour-main").focus()
    for _ in range(9):
        tab.keyboard.press("ArrowRight")
    image = fashion_mnist().test[[0]]
    model = fashion_vit()
    normalized = image.normalized()
    with torch.no_grad():
        steps = [s.squeeze(0) for s in steps_of(model, normalized, 0, 0)]
    ways = {
        1: lambda a, b, c: (a - b) / c,
        4: lambda x, mean, spread, gain, bias: (x - mean) / spread * gain + bias,
    }
    for step in range(1, 11):
        shown = value(tab, "shape").split(" = ")[1]
        assert shown == str(tuple(steps[step - 1].shape))
        if step < 10:
            token = int(value(tab, "token").split()[0])
            row = token - 1 if step < 3 else token
            right = steps[step - 1][row, 9].item()
        else:
            right = steps[-1][9].item()
            assert value(tab, "token") == "0 (class token)"
        (number,) = numbers_of_text(value(tab, "number"))
        assert number == pytest.approx(right, abs=1e-4)
        numbers = numbers_of_text(tab.locator(".tour-how").inner_text())
        if step != 6:
            made = ways[step](*numbers) if step in ways else sum(numbers[:2])
            assert made == pytest.approx(right, abs=1e-3)
        if step < 10:
            tab.get_by_role("button", name="Next").click()
            tab.get_by_text(f"{step + 1} of 10").first.wait_for()
    assert tab.get_by_role("button", name="Next").is_disabled()
    tab.get_by_role("radio", name="10", exact=True).press("ArrowLeft")
    tab.get_by_text("9 of 10: MLP, block 1").wait_for()
    tab.get_by_role("button", name="Previous").click()
    tab.get_by_text("8 of 10: Residual, block 1").wait_for()


def test_guess_is_that_of_the_model_and_depth_cuts_it(visit):
    tab = visit("tour")
    images = fashion_mnist().test[sorted(SHOWN)]
    model = fashion_vit()
    with torch.no_grad():
        x = model.embedding(images.normalized())
        cut = {0: x}
        for i, block in enumerate(model.encoder.blocks):
            x = cut[i + 1] = block(x)
    tab.get_by_role("radio", name="Depth and skips").check()
    for i, depth in ((0, 6), (3, 2), (11, 0)):
        tab.get_by_role("slider", name="image").fill(str(i))
        tab.get_by_role("slider", name="blocks").fill(str(depth))
        with torch.no_grad():
            logits = model.head(model.encoder.norm(cut[depth])[i, 0])
        best = CLASSES[logits.argmax()]
        label = CLASSES[images.labels[i]]
        share = 100 * logits.softmax(-1).max().item()
        tab.wait_for_function(
            f"document.querySelector('[data-value=guess]').textContent"
            f".endsWith('(label: {label})')"
        )
        shown = value(tab, "guess")
        assert shown.startswith(f"{best}, ")
        assert float(re.search(r"([\d.]+) %", shown)[1]) == pytest.approx(share, abs=1)
    tab.get_by_role("switch", name="skips").click()
    tab.get_by_role("slider", name="blocks").fill("6")
    assert value(tab, "differ") == "less than 0.0001"


def test_reader_s_own_image_goes_through_the_model_until_a_reset(visit, tmp_path):
    tab = visit("tour")
    tab.get_by_role("radio", name="Depth and skips").check()
    tab.wait_for_function(
        "document.querySelector('[data-value=guess]').textContent.includes('label')"
    )
    given = value(tab, "guess")
    boot = fashion_mnist().test.images[77, 0]
    picture = 255 - boot.repeat_interleave(10, 0).repeat_interleave(10, 1)  # on white
    Image.fromarray(picture.numpy()).convert("RGB").save(tmp_path / "own.png")
    tab.get_by_label("Your own image").set_input_files(tmp_path / "own.png")
    tab.wait_for_function(
        "!/label|…/.test(document.querySelector('[data-value=guess]').textContent)"
    )
    data = fashion_mnist().test
    with torch.no_grad():
        own = LabelledImages(boot[None, None], data.labels[:1], data.mean, data.std)
        logits = fashion_vit()(own.normalized())[0]
    share = float(re.search(r"([\d.]+) %", value(tab, "guess"))[1])
    assert value(tab, "guess").startswith(f"{CLASSES[logits.argmax()]}, ")
    assert share == pytest.approx(100 * logits.softmax(-1).max().item(), abs=3)
    assert tab.get_by_text("0, your own").is_visible()
    (tmp_path / "own.txt").write_text("no image")
    tab.get_by_label("Your own image").set_input_files(tmp_path / "own.txt")
    tab.get_by_text("Expected an image").wait_for()
    tab.get_by_role("button", name="Reset").click()
    tab.get_by_role("radio", name="Depth and skips").check()
    tab.wait_for_function(
        "document.querySelector('[data-value=guess]').textContent.includes('label')"
    )
    assert value(tab, "guess") == given


def test_where_there_are_patches_alone_the_class_token_is_none_of_them(visit):
    tab = visit("tour")
    button = tab.get_by_role("button", name="class token")
    assert button.is_disabled()
    for step in (2, 3):
        tab.get_by_role("button", name="Next").click()
        tab.get_by_text(f"{step} of 10").first.wait_for()
        assert button.is_disabled() == (step == 2)
    button.click()
    assert value(tab, "token") == "0 (class token)"
    for step, token in ((2, "2 (row 0, column 1)"), (1, "3 (row 0, column 2)")):
        tab.get_by_role("button", name="Previous").click()
        tab.get_by_text(f"{step} of 10").first.wait_for()
        tab.locator(".tour-main").press("ArrowDown")
        assert value(tab, "token") == token


@pytest.mark.parametrize(("depth", "last"), [(1, 2), (6, 7), (24, 9), (100, 8)])
def test_no_more_layers_are_named_than_an_axis_has_room_for(visit, depth, last):
    all_texts = f"[...figure.makeCurves({depth}).svg.querySelectorAll('text')]"
    texts = run(visit("tour"), f"{all_texts}.map(text => text.textContent)")
    shares, layers = texts[:3], texts[3:]
    assert shares == ["0", "0.5", "1"]
    assert len(layers) == last
    assert layers[0] == "0"


def test_finger_chooses_the_patch_on_the_image(visit):
    tab = visit("tour", width=360, has_touch=True, is_mobile=True)
    box = tab.locator(".tour-photo svg").bounding_box()
    tab.touchscreen.tap(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.1)
    assert value(tab, "token") == "7 (row 0, column 6)"
    box = tab.locator(".tour-main").bounding_box()
    tab.touchscreen.tap(box["x"] + 2, box["y"] + box["height"] - 2)
    assert value(tab, "token") == "49 (row 6, column 6)"
    assert value(tab, "column") == "channel 0, pixel 0"


def test_weights_come_when_a_step_needs_them_and_their_loss_is_said(visit):
    tab = visit("tour", allowed="Failed to")
    logged = []
    tab.on("console", lambda message: logged.append(message))
    tab.route("**/*.safetensors*", lambda route: route.abort())
    assert not any("safetensors" in url for url in tab.asked)
    tab.get_by_role("button", name="Next").click()
    tab.get_by_text("could not be loaded").wait_for()
    assert tab.get_by_text("1 of 10: Patches", exact=True).is_visible()
    errors = [message.text for message in logged if message.type == "error"]
    assert any("TypeError: Failed to fetch" in error for error in errors)
    tab.unroute("**/*.safetensors*")
    tab.get_by_role("button", name="Next").click()
    tab.get_by_text("2 of 10: Projection", exact=True).wait_for()
    assert not tab.get_by_text("could not be loaded").is_visible()


def test_a_notebook_gives_the_weights_when_it_is_asked(visit):
    made = EncoderTour(random_vit(), rand(2, 3, 15, 15), list("abcdefg"))
    assert (made.file, made.weights) == ("", "")
    state = {name: getattr(made, name) for name in made.traits(sync=True)}
    state = {name: v for name, v in state.items() if name[0] != "_"}
    state.pop("comm", None)
    state.pop("layout", None)
    state.pop("tooltip", None)
    tab = visit("tour")
    made.asked = True
    given = made.weights
    assert given.startswith("data:")
    code = f"""(async () => {{
        const values = {json.dumps(state, default=str)}, heard = new Map();
        const tell = (key) => (heard.get(`change:${{key}}`) ?? []).forEach((f) => f());
        const model = {{
            get: (key) => values[key],
            off: (key, f) => heard.set(key, heard.get(key).filter((g) => g !== f)),
            set: (key, value) => {{ values[key] = value; tell(key); }},
            on: (key, f) => heard.set(key, [...(heard.get(key) ?? []), f]),
            save_changes() {{
                if (values.asked && !values.weights) this.set("weights", "{given}");
            }},
        }};
        const el = document.createElement("div");
        document.body.replaceChildren(el);
        figure.default.render({{ model, el }});
        window.waiting = () => heard.get("change:weights").length;
        model.set("step", 10);
    }})()"""
    run(tab, code)
    tab.get_by_text("10 of 10: Last norm and guess").wait_for()
    assert tab.evaluate("waiting()") == 0  # nothing is kept alive by the model
    with torch.no_grad():
        codes = (rand(2, 3, 15, 15)[:1] * 255).round() / 255
        right = random_vit()(codes)[0, 0].item()
    assert float(value(tab, "number").replace("−", "-")) == pytest.approx(
        right, abs=1e-4
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": torch.nn.Linear(2, 2)}, "a VisionTransformer, got Linear"),
        ({"images": rand(2, 1, 15, 15)}, r"images \(B, 3, 15, 15\), got shape \(2, 1,"),
        ({"classes": ["a"]}, "expected 7 names of classes, got 1"),
        ({"std": 0.0}, "expected a std above 0"),
    ],
)
def test_encoder_tour_refuses(arguments, message):
    given = {"model": random_vit(), "images": rand(2, 3, 15, 15)}
    given |= {"classes": list("abcdefg")}
    with pytest.raises((TypeError, ValueError), match=message):
        EncoderTour(**given | arguments)
