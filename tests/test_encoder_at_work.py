"""The ViT that runs in a page: against PyTorch in a browser, and what a reader does."""

import base64
import copy
import json
import shutil

import pytest
import torch
from ipywidgets.embed import embed_data
from tests.explorers.cases import slowness

from address import ROOT
from node import install_checkers
from site_server import serving
from vit_encoder import VisionTransformer
from vit_encoder.data import cifar_vit, fashion_vit
from vit_encoder.datasets import CLASSES, fashion_mnist
from vit_encoder.figures import EncoderAtWork, fashion_at_work
from vit_encoder.figures.encoder_at_work import HERE, SHOWN, WEIGHTS, for_page, still
from vit_encoder.looking_inside import attention_maps, logit_lens, residual_stream
from vit_encoder.training_runs import trainings

pytestmark = pytest.mark.xdist_group("encoder at work")  # one server for all
SIZES = {  # all different
    "image_size": 15,
    "patch_size": 3,
    "in_channels": 2,
    "num_classes": 7,
    "depth": 4,
    "dim": 24,
    "num_heads": 6,
    "mlp_dim": 40,
}
VIEW = (
    '<div><script type="application/vnd.jupyter.widget-view+json">'
    '{{"model_id": "{id}"}}</script></div>'
)
PAGE = """<!doctype html>
<html lang="en"><head><title>Encoder at work</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"><link rel="stylesheet" href="encoder_at_work.css">
<script defer src="widgets.js"></script></head>
<body style="background: {background}; color: {colour}"><main><h1>At work</h1>
{still}
{views}
<script type="application/vnd.jupyter.widget-state+json">{state}</script>
</main></body></html>"""


def random_vit(seed=0, **changes):
    """A ViT whose every weight is a random number, large enough to matter."""
    model = VisionTransformer(**SIZES | changes).eval()
    rng = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.data = 0.3 * torch.randn(p.shape, generator=rng)
    return model


def random_images(count=3, **changes):
    sizes = SIZES | changes
    side = sizes["image_size"]
    rng = torch.Generator().manual_seed(1)
    return torch.rand(count, sizes["in_channels"], side, side, generator=rng)


def test_images():
    """A hundred of them, as the model gets them."""
    return fashion_mnist().test[:100]


test_images.__test__ = False


@pytest.fixture(scope="module")
def figure():
    return fashion_at_work()


@pytest.fixture(scope="module")
def folder(figure, tmp_path_factory):
    """Pages: the shipped ViT with its weights in a file, another that holds them."""
    folder = tmp_path_factory.mktemp("work")
    for path in (ROOT / "book/_static/widgets.js", WEIGHTS):
        shutil.copy(path, folder)
    shutil.copy(HERE / "encoder_at_work.css", folder)
    (folder / "encoder_at_work.js").write_text(EncoderAtWork._esm, encoding="utf-8")
    stored = {"version_major": 2, "version_minor": 0}
    page = stored | {"state": {"page": for_page(figure, ".")}}
    colour = random_vit(**COLOUR)
    other = EncoderAtWork(colour, random_images(**COLOUR), list("abcdefg"))
    embedded = embed_data([other], drop_defaults=False)["manager_state"]
    lost = json.loads(
        json.dumps(page).replace("fashion.safetensors", "lost.safetensors")
    )
    themes = {"light": ("#fff", "#000"), "dark": ("#131416", "#cfd0d0")}
    for name, id, state in (
        ("light", "page", page),
        ("dark", "page", page),
        ("lost", "page", lost),
        ("twice", "page", page),
        ("other", other.model_id, embedded),
    ):
        background, foreground = themes.get(name, themes["light"])
        html = PAGE.format(
            background=background,
            colour=foreground,
            still=still(figure) if name == "light" else "",
            views=(1 + (name == "twice")) * VIEW.format(id=id),
            state=json.dumps(state),
        )
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return folder


COLOUR = {"in_channels": 3}


@pytest.fixture(scope="module")
def pages(folder):
    with serving(folder) as url:
        yield url


@pytest.fixture
def visit(tabs, pages):
    """Open a page. allowed: a part of the errors that it may log."""

    def open_page(name="light", width=900, allowed="", **options):
        options = {"reduced_motion": "reduce"} | options
        viewport = {"width": width, "height": 900}
        may_log = (lambda text: allowed in text) if allowed else (lambda _text: False)
        tab = tabs(pages, may_log, viewport=viewport, **options)
        tab.goto(f"{pages}{name}.html", wait_until="networkidle")
        if options.get("java_script_enabled", True):
            tab.locator(".work-cells").last.wait_for(state="attached")
        return tab

    return open_page


RUN = """async ({sizes, weights, images}) => {
    const {run, unpack} = await import("./encoder_at_work.js");
    const bytes = Uint8Array.from(atob(weights), (c) => c.charCodeAt(0));
    const unpacked = unpack(bytes.buffer);
    const found = {logits: [], attention: []};
    for (const image of images) {
        for (const step of run(Float64Array.from(image), sizes, unpacked)) {
            if (!step) continue;
            found.logits.push(...step.logits);
            for (const row of (step.attention ?? []).flat()) {
                found.attention.push(...row);
            }
        }
    }
    const text = (numbers) => {
        const bytes = new Uint8Array(Float32Array.from(numbers).buffer);
        let letters = "";
        for (let i = 0; i < bytes.length; i += 8192)
            letters += String.fromCharCode(...bytes.subarray(i, i + 8192));
        return btoa(letters);
    };
    return {logits: text(found.logits), attention: text(found.attention)};
}"""


def in_page(tab, sizes, weights, images):
    """Logits (L + 1, B, J) and attention (L, B, h, N, N) that the page computes."""
    L, J, h = (sizes[name] for name in ("depth", "num_classes", "num_heads"))
    N = (sizes["image_size"] // sizes["patch_size"]) ** 2 + 1
    shapes = {"logits": (L + 1, J), "attention": (L, h, N, N)}
    found = {key: [] for key in shapes}
    for batch in images.split(10):
        asked = {
            "sizes": sizes,
            "weights": base64.b64encode(weights).decode(),
            "images": batch.flatten(1).tolist(),
        }
        for key, text in tab.evaluate(RUN, asked).items():
            numbers = bytearray(base64.b64decode(text))
            numbers = torch.frombuffer(numbers, dtype=torch.float32)
            found[key].append(numbers.view(len(batch), *shapes[key]))
    return tuple(torch.cat(parts).transpose(0, 1) for parts in found.values())


def by_torch(model, images):
    return logit_lens(model, residual_stream(model, images)), attention_maps(
        model, images
    )


def largest_difference(one, other):
    assert one.shape == other.shape
    return (one - other).abs().max().item()


def test_shipped_vit_gives_the_same_in_the_page_for_100_test_images(visit, figure):
    images = test_images().normalized()
    model = fashion_vit()
    logits, attention = in_page(visit(), figure.sizes, WEIGHTS.read_bytes(), images)
    right, maps = by_torch(model, images)
    assert largest_difference(logits, right) < 1e-5
    assert largest_difference(attention, maps) < 1e-5
    with torch.no_grad():
        assert largest_difference(logits[-1], model(images)) < 1e-5


@pytest.mark.parametrize("eps", [1e-6, 1e-3])
def test_another_vit_gives_the_same_in_the_page(visit, eps):
    from safetensors.torch import save

    model = random_vit()
    for module in model.modules():
        if hasattr(module, "eps"):
            module.eps = eps
    images = 3 * torch.randn(5, 2, 15, 15, generator=torch.Generator().manual_seed(2))
    found = in_page(visit(), SIZES | {"eps": eps}, save(model.state_dict()), images)
    for ours, theirs in zip(found, by_torch(model, images), strict=True):
        assert largest_difference(ours, theirs) < 1e-5


def test_shipped_weights_are_the_file_of_the_package(figure):
    """And so what a page loads is what the notebook's figure holds."""
    from safetensors.torch import load

    stored = load(WEIGHTS.read_bytes())
    held = load(base64.b64decode(figure.weights.split(",")[1]))
    assert stored.keys() == held.keys()
    for name, tensor in stored.items():
        assert torch.equal(tensor, held[name])
    assert WEIGHTS.stat().st_size <= 500_000


# What the page shows.


def work(tab):
    return tab.locator(".vit-work:not(.work-still)")


def settled(tab, words=""):
    """Wait until the figure has said what it shows."""
    tab.wait_for_function(
        """words => {
            const said = document.querySelector('.work-status').textContent;
            return said.startsWith('After') && said.includes(words);
        }""",
        arg=words,
    )


def said(tab):
    return work(tab).locator(".work-status").inner_text()


def logits(tab):
    """The table's numbers, (L + 1, J)."""
    script = "cells => cells.map(cell => Number(cell.dataset.logit))"
    numbers = work(tab).locator(".work-guesses td").evaluate_all(script)
    rows = work(tab).locator(".work-guesses tbody tr").count()
    return torch.tensor(numbers).view(rows, -1).T


def weights(tab):
    """What is laid over class token and patches, (N,)."""
    script = "cells => cells.map(cell => Number(cell.dataset.weight))"
    cells = work(tab).locator(".work-token, .work-cells i")
    return torch.tensor(cells.evaluate_all(script))


def shown_test_images():
    return fashion_mnist().test[list(SHOWN)]


def click_patch(tab, row, column, side=7):
    picture = work(tab).locator(".work-picture")
    box = picture.bounding_box()
    x, y = ((i + 0.5) / side for i in (column, row))
    picture.click(position={"x": box["width"] * x, "y": box["height"] * y})


def asked_for_weights(tab):
    return [url for url in tab.asked if "safetensors" in url]


def test_it_starts_with_the_record_and_without_the_weights(visit):
    tab = visit()
    settled(tab)
    image = shown_test_images()[:1].normalized()
    right, maps = by_torch(fashion_vit(), image)
    assert largest_difference(logits(tab), right[:, 0]) < 1e-3
    assert largest_difference(weights(tab), maps[-1, 0, :, 0].mean(0)) < 1e-4
    for head in range(4):
        work(tab).get_by_role("radio", name=f"head {head}").check()
        assert largest_difference(weights(tab), maps[-1, 0, head, 0]) < 1e-4
    work(tab).get_by_role("radio", name="2 blocks passed").check()
    assert largest_difference(weights(tab), maps[1, 0, 3, 0]) < 1e-4
    assert asked_for_weights(tab) == []


def test_a_touch_loads_the_weights_once_and_shows_what_the_patch_attends_to(visit):
    tab = visit(has_touch=True)
    click_patch(tab, 2, 5)
    settled(tab, "the patch at row 2, column 5")
    _, maps = by_torch(fashion_vit(), shown_test_images()[:1].normalized())
    for blocks, head in ((6, None), (3, 1), (1, 3)):
        name = "mean of the heads" if head is None else f"head {head}"
        work(tab).get_by_role("radio", name=name).check()
        work(tab).get_by_role("radio", name=f"{blocks} blocks passed").check()
        rows = maps[blocks - 1, 0, :, 1 + 2 * 7 + 5]
        right = rows.mean(0) if head is None else rows[head]
        assert largest_difference(weights(tab), right) < 1e-5
    mark, patch = (
        work(tab).locator(which).bounding_box()
        for which in (".work-mark", f".work-cells i:nth-child({2 * 7 + 5 + 1})")
    )
    assert mark == pytest.approx(patch, abs=1)
    most = right.argmax().item()
    place = f"row {(most - 1) // 7}, column {(most - 1) % 7}" if most else "the class"
    settled(tab, f"attends most to {place}")
    work(tab).get_by_role("radio", name="0 blocks passed").check()
    assert not work(tab).locator("[data-weight]:not([data-weight=''])").count()
    assert len(asked_for_weights(tab)) == 1


@pytest.mark.parametrize("index", [1, 10])
def test_each_image_gets_the_model_s_guesses(visit, index):
    tab = visit()
    image = shown_test_images()[index : index + 1]
    label = CLASSES[image.labels]
    work(tab).get_by_role("button", name=f"Image {index}: {label}").click()
    right, maps = by_torch(fashion_vit(), image.normalized())
    shares = right[:, 0].softmax(-1)
    guess = CLASSES[shares[-1].argmax()]
    settled(tab, f"{guess}, {100 * shares[-1].max():.0f} %. The label says {label}.")
    assert largest_difference(logits(tab), right[:, 0]) < 1e-5
    assert largest_difference(weights(tab), maps[-1, 0, :, 0].mean(0)) < 1e-5
    bars = (
        work(tab)
        .locator(".work-guesses td i")
        .evaluate_all("bars => bars.map(bar => new DOMMatrix(bar.style.transform).a)")
    )
    assert largest_difference(torch.tensor(bars).view(10, 7).T, shares) < 1e-4
    marked = work(tab).locator(".work-guesses .work-label").all_inner_texts()
    assert marked == [label]


def test_the_reader_s_own_model_and_images(visit):
    """Weights in the figure; three channels, another size, no labels."""
    tab = visit("other")
    model, images = random_vit(**COLOUR), random_images(**COLOUR)
    images = (images * 255).round() / 255
    work(tab).get_by_role("button", name="Image 2", exact=True).click()
    click_patch(tab, 4, 1, side=5)
    settled(tab, "the patch at row 4, column 1")
    right, maps = by_torch(model, images[2:])
    assert largest_difference(logits(tab), right[:, 0]) < 1e-5
    assert largest_difference(weights(tab), maps[-1, 0, :, 1 + 21].mean(0)) < 1e-5
    assert "The label says" not in said(tab)


KEEP_DRAWN = """() => {
    const encode = btoa;
    window.btoa = (text) => {
        if (text.length === 28 * 28) window.drawn = encode(text);
        return encode(text);
    };
}"""


def drawn(tab):
    """The pixels that the figure has kept of a drawing, as bytes (1, 1, 28, 28)."""
    stored = bytearray(base64.b64decode(tab.evaluate("window.drawn")))
    return torch.frombuffer(stored, dtype=torch.uint8).view(1, 1, 28, 28)


def assert_answers(tab, pixels):
    """The figure says of these bytes what PyTorch says."""
    test = fashion_mnist().test
    images = (pixels / 255 - test.mean) / test.std
    right, _ = by_torch(fashion_vit(), images)
    settled(tab, f"{CLASSES[right[-1].argmax()]},")
    assert largest_difference(logits(tab), right[:, 0]) < 1e-5


@pytest.mark.parametrize("touch", [False, True])
def test_a_drawing_is_answered(visit, touch):
    tab = visit(width=360 if touch else 900, has_touch=touch, is_mobile=touch)
    tab.evaluate(KEEP_DRAWN)
    work(tab).get_by_role("button", name="Draw").click()
    settled(tab)
    assert_answers(tab, torch.zeros(1, 1, 28, 28))
    picture = work(tab).locator(".work-picture")
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("e => getComputedStyle(e).touchAction") == "none"
    box = picture.bounding_box()
    low = work(tab).get_by_role("button", name="Draw").bounding_box()
    assert low["y"] + low["height"] - box["y"] < 640  # both are seen on a small phone
    pixel = box["width"] / 28
    line = [
        (box["x"] + x * pixel, box["y"] + y * pixel) for x, y in ((14, 4), (14, 24))
    ]
    if touch:
        session = tab.context.new_cdp_session(tab)
        for kind, points in (("Start", line[:1]), ("Move", line[1:]), ("End", [])):
            points = [{"x": x, "y": y} for x, y in points]
            event = {"type": f"touch{kind}", "touchPoints": points}
            session.send("Input.dispatchTouchEvent", event)
    else:
        tab.mouse.move(*line[0])
        tab.mouse.down()
        tab.mouse.move(*line[1])
        tab.mouse.up()
        tab.mouse.move(*line[0])  # draws nothing any more
    settled(tab)
    pixels = drawn(tab)[0, 0]
    assert (pixels[6:22, 13:15] > 200).all()
    assert pixels[:, :11].eq(0).all()
    assert pixels[:, 17:].eq(0).all()
    tab.wait_for_timeout(500)
    assert_answers(tab, drawn(tab))
    work(tab).get_by_role("button", name="Draw").click()
    click_patch(tab, 0, 0)  # chooses now, and the drawing stays
    settled(tab, "the patch at row 0, column 0")
    assert torch.equal(drawn(tab)[0, 0], pixels)
    work(tab).get_by_role("button", name="Clear").click()
    assert drawn(tab).eq(0).all()


def test_keyboard_chooses_draws_and_resets(visit):
    tab = visit()
    tab.evaluate("addEventListener('keydown', () => { window.reached = true; })")
    tab.evaluate(KEEP_DRAWN)
    picture = work(tab).locator(".work-picture")
    picture.focus()
    for key, place in (
        ("ArrowRight", "row 0, column 0"),
        ("ArrowDown", "row 1, column 0"),
        ("ArrowLeft", "row 1, column 0"),
        ("ArrowRight", "row 1, column 1"),
        ("ArrowUp", "row 0, column 1"),
    ):
        tab.keyboard.press(key)
        settled(tab, f"the patch at {place}")
    assert tab.evaluate("window.reached") is None  # the page does not turn
    assert picture.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    tab.keyboard.press("Space")  # no drawing yet
    assert tab.evaluate("window.drawn") is None
    work(tab).get_by_role("button", name="Draw").press("Enter")
    picture.focus()
    tab.keyboard.press("Space")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Space")
    wanted = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    wanted[..., :8, 4:8] = 255
    assert torch.equal(drawn(tab), wanted)
    settled(tab)
    tab.wait_for_timeout(500)
    assert_answers(tab, wanted)
    tab.keyboard.press("Space")  # and clears it again
    wanted[..., 4:8, 4:8] = 0
    assert torch.equal(drawn(tab), wanted)
    work(tab).get_by_role("button", name="Reset").press("Enter")
    settled(tab, "The label says sneaker. In block 6, the class token")
    assert work(tab).get_by_role("radio", name="6 blocks passed").is_checked()
    work(tab).get_by_role("radio", name="6 blocks passed").focus()
    tab.keyboard.press("ArrowLeft")
    assert work(tab).get_by_role("radio", name="5 blocks passed").is_checked()
    work(tab).get_by_role("button", name="class token").press("Enter")
    settled(tab, "In block 5, the class token")
    assert tab.evaluate("window.reached") is True  # other keys are the page's


def test_two_views_of_one_figure_agree(visit):
    """Both have one model, in a page and in a notebook."""
    tab = visit("twice")
    first, second = work(tab).all()
    first.get_by_role("button", name="Image 3").click()
    first.get_by_role("radio", name="head 1").check()
    first.get_by_role("button", name="Draw").click()
    first.locator(".work-picture").click(position={"x": 40, "y": 40})
    tab.wait_for_timeout(1500)
    for view in (first, second):
        assert view.get_by_role("radio", name="head 1").is_checked()
        view.get_by_text("After 6 of 6").wait_for()
    shown = "canvas => canvas.toDataURL()"
    one, other = (v.locator(".work-picture canvas") for v in (first, second))
    assert one.evaluate(shown) == other.evaluate(shown)


def test_an_image_file_is_shrunk_and_a_light_one_inverted(visit, tmp_path):
    from PIL import Image

    tab = visit()
    tab.evaluate(KEEP_DRAWN)
    light = torch.full((28, 28), 250, dtype=torch.uint8)
    light[8:20, 4:24] = 30
    for name, pixels in (("light", light), ("dark", 255 - light)):
        Image.fromarray(pixels.numpy()).save(tmp_path / f"{name}.png")
        work(tab).locator("input[type=file]").set_input_files(tmp_path / f"{name}.png")
        tab.wait_for_function("window.drawn")
        assert torch.equal(drawn(tab)[0, 0], 255 - light)
        tab.wait_for_timeout(800)
        assert_answers(tab, drawn(tab))
        tab.evaluate("() => { window.drawn = null; }")
    wide = Image.new("RGB", (560, 280), "red")
    wide.paste("black", (140, 0, 420, 280))  # what the square keeps
    wide.save(tmp_path / "wide.png")
    work(tab).locator("input[type=file]").set_input_files(tmp_path / "wide.png")
    tab.wait_for_function("window.drawn")
    assert drawn(tab)[..., 1:-1].eq(0).all()  # the edge may take from beside it
    (tmp_path / "text.png").write_text("no image")
    work(tab).locator("input[type=file]").set_input_files(tmp_path / "text.png")
    tab.get_by_text("This file is no image that the browser can read.").wait_for()


def test_it_plays_once_and_rests_at_the_end(visit):
    tab = visit(reduced_motion="no-preference")
    numbers = """new Promise(done => {
        const seen = [];
        const look = () => {
            const checked = document.querySelector('.work-guesses :checked').value;
            if (seen.at(-1) !== checked) seen.push(checked);
            const over = document.querySelector('.work-status').textContent;
            over ? done(seen) : setTimeout(look, 20);
        };
        look();
    })"""
    seen = [int(number) for number in tab.evaluate(numbers)]
    assert seen == [*range(seen[0], 7)]
    assert seen[0] < 4
    play = work(tab).get_by_role("button", name="Play")
    play.click()
    assert work(tab).locator(".work-later").count()
    click_patch(tab, 3, 3)  # who acts stops it
    settled(tab, "After 6 of 6")
    assert work(tab).locator(".work-later").count() == 0
    assert asked_for_weights(tab)


def test_it_stands_still_for_who_prefers_that(visit):
    tab = visit(reduced_motion="reduce")
    settled(tab, "After 6 of 6")
    assert tab.locator(".work-later").count() == 0
    transition = "e => getComputedStyle(e).transitionDuration"
    assert tab.locator(".work-cells i").first.evaluate(transition) == "0s"


def test_without_the_weights_the_first_image_stays_and_a_touch_tries_again(
    visit, folder
):
    tab = visit("lost", allowed="404")
    work(tab).get_by_role("button", name="Image 3").click()
    tab.get_by_text("The weights of the model could not be loaded").wait_for()
    right, _ = by_torch(fashion_vit(), shown_test_images()[:1].normalized())
    assert largest_difference(logits(tab), right[:, 0]) < 1e-3
    first = work(tab).get_by_role("button", name="Image 0")
    assert first.get_attribute("aria-pressed") == "true"
    tab.wait_for_timeout(400)
    assert "could not be loaded" in said(tab)
    shutil.copy(WEIGHTS, folder / "lost.safetensors")
    work(tab).get_by_role("button", name="Image 3").click()
    settled(tab, "The label says trousers")
    (folder / "lost.safetensors").unlink()


def test_without_scripts_there_is_a_still_picture_and_the_numbers(visit, figure):
    tab = visit(java_script_enabled=False)
    picture = tab.locator(".work-still img")
    assert "sneaker" in picture.get_attribute("alt")
    assert picture.bounding_box()["width"] > 200
    texts = tab.locator(".work-still td span").all_inner_texts()
    shares = torch.tensor(figure.recorded["logits"]).softmax(-1).T.flatten()
    assert texts == [f"{100 * p:.0f} %" for p in shares.tolist()]
    caption = tab.locator(".work-still caption").inner_text()
    assert f'"{caption}"' in EncoderAtWork._esm  # the script says the same


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_accessibility_violation_and_no_sideways_scroll(visit, theme):
    tab = visit(theme, color_scheme=theme, width=320)
    settled(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") == 320
    small = (
        work(tab)
        .locator("button, label, input")
        .evaluate_all(
            """all => all.map(e => e.getBoundingClientRect())
            .filter(box => box.width < 24 || box.height < 24).length"""
        )
    )
    assert small == 0
    tab.add_script_tag(path=install_checkers() / "axe-core" / "axe.min.js")
    found = tab.evaluate("axe.run().then(result => result.violations)")
    assert [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found] == []


# The Python side.


def test_images_are_one_of_each_class_and_two_that_the_model_gets_wrong():
    some = shown_test_images()
    assert {*some.labels.tolist()} == {*range(10)}
    with torch.no_grad():
        wrong = fashion_vit()(some.normalized()).argmax(-1) != some.labels
    assert wrong.tolist() == 10 * [False] + 2 * [True]


def test_the_accuracy_is_the_recorded_one(figure):
    recorded = trainings("fashion")[0]["test_accuracy"]
    assert f"{100 * recorded:.1f}\N{NO-BREAK SPACE}%" in figure.about


def test_figure_is_light(figure):
    import gzip

    sent = json.dumps(for_page(figure, "_static")).encode()
    assert (
        len(gzip.compress(sent)) + len(gzip.compress(still(figure).encode())) < 40_000
    )


def test_python_follows_what_is_shown(figure):
    made = EncoderAtWork(random_vit(**COLOUR), random_images(**COLOUR), list("abcdefg"))
    images = random_images(**COLOUR)
    assert (made.pixels - images[0]).abs().max() <= 0.5 / 255 + 1e-6
    made.chosen = 2
    assert (made.pixels - images[2]).abs().max() <= 0.5 / 255 + 1e-6
    own = torch.arange(3 * 15 * 15, dtype=torch.uint8)
    made.own, made.chosen = base64.b64encode(own.numpy().tobytes()).decode(), -1
    assert torch.equal((made.pixels * 255).round().flatten().byte(), own)
    assert repr(figure) == "EncoderAtWork(12 images, 6 blocks, 64 wide)"


def test_weights_that_float16_would_change_stay_float32():
    from safetensors.torch import load

    model = random_vit(**COLOUR)
    made = EncoderAtWork(model, random_images(**COLOUR), list("abcdefg"))
    held = load(base64.b64decode(made.weights.split(",")[1]))
    for name, tensor in model.state_dict().items():
        assert torch.equal(held[name], tensor)


def test_neither_model_nor_random_numbers_change():
    model = random_vit(**COLOUR).train()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    EncoderAtWork(model.double(), random_images(**COLOUR), list("abcdefg"))
    assert torch.equal(torch.rand(3), expected)
    assert model.training
    assert all(torch.equal(v.float(), before[k]) for k, v in model.state_dict().items())


def with_hook():
    return cifar_vit()


def with_other_eps():
    model = random_vit(**COLOUR)
    model.encoder.norm.eps = 1e-3
    return model


def with_inf():
    model = random_vit(**COLOUR)
    model.head.bias.data[0] = torch.inf
    return model


def with_an_extra_part():
    model = random_vit(**COLOUR)
    model.encoder.blocks[1].mlp.fc3 = torch.nn.Linear(2, 2)
    return model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": torch.nn.Linear(2, 2)}, "expected a VisionTransformer, got Linear"),
        ({"model": random_vit(**COLOUR, pool="mean")}, 'a model with pool "cls"'),
        ({"model": random_vit(**COLOUR, pre_logits_dim=5)}, "and no pre_logits"),
        ({"model": random_vit()}, "expected images .B, 2, 15, 15., got shape"),
        ({"model": random_vit(), "images": random_images()}, "for 1 or 3 channels"),
        (
            {
                "model": with_hook(),
                "images": torch.rand(1, 3, 32, 32),
                "classes": CLASSES,
            },
            "computes what its weights say, .* remove it and give mean and std",
        ),
        ({"model": with_other_eps()}, r"one eps in all LayerNorms, got \[1e-06, 0.001"),
        ({"model": with_inf()}, "expected finite weights, got inf or nan"),
        ({"model": with_an_extra_part()}, r"got \['encoder.blocks.1.mlp.fc3.weight'"),
        ({"images": random_images(101, **COLOUR)}, "expected 1 to 100 images, got 101"),
        ({"images": 2 * random_images(**COLOUR)}, r"values in \[0, 1\], got 0.0"),
        ({"images": random_images(**COLOUR) > 0}, "floating-point dtype, got torch.b"),
        ({"classes": ["a", "b"]}, "expected 7 names of classes, got 2"),
        ({"labels": torch.tensor([1, 2])}, r"expected 3 labels from 0 to 6, got \[1"),
        ({"labels": torch.tensor([1, 2, 7])}, "expected 3 labels from 0 to 6"),
        ({"labels": [0.5, 1, 2]}, "expected 3 labels from 0 to 6, got"),
        ({"mean": torch.zeros(2)}, "or one for each of 3 channels, got"),
        ({"std": 0.0}, "expected a std above 0, got"),
    ],
)
def test_it_refuses_what_does_not_fit(changes, message):
    arguments = {
        "model": random_vit(**COLOUR),
        "images": random_images(**COLOUR),
        "classes": list("abcdefg"),
    }
    with pytest.raises((TypeError, ValueError), match=message):
        EncoderAtWork(**arguments | changes)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("chosen", 99, "expected chosen from -1 to 11, got 99"),
        ("chosen", -2, "expected chosen from -1 to 11, got -2"),
        ("chosen", -1, "expected an own image before chosen is -1, got none"),
        ("blocks", 7, "expected blocks from 0 to 6, got 7"),
        ("head", 4, "expected head from -1 to 3, got 4"),
        ("query", 50, "expected query from 0 to 49, got 50"),
    ],
)
def test_what_it_does_not_have_cannot_be_chosen(key, value, message):
    figure = fashion_at_work()
    before = getattr(figure, key)
    with pytest.raises(ValueError, match=message):
        setattr(figure, key, value)
    assert getattr(figure, key) == before


def test_the_reader_s_own_image_can_be_chosen_at_once():
    figure = fashion_at_work()
    own = base64.b64encode(bytes(28 * 28)).decode()
    figure.set_state({"chosen": -1, "own": own})
    assert figure.pixels.sum() == 0


def test_drawing_keeps_thirty_frames_a_second_on_a_slow_phone(visit, browser):
    """Of a CPU that is four times as slow, as for other figures; the model runs."""
    tab = visit()
    work(tab).get_by_role("button", name="Draw").click()
    settled(tab)
    tab.evaluate(
        """const all = document.querySelectorAll(".work-picture");
           all[all.length - 1].id = "to-draw-on";"""
    )
    # So many that what the model computes once for all of them counts little.
    assert slowness(tab, browser, "#to-draw-on", touches=40) < 1
