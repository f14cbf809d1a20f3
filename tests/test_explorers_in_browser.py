"""The figures that answer, on a page of the built book: right, usable, light."""

import gzip
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from ipywidgets.embed import dependency_state, embed_data
from PIL import Image

from address import ROOT
from node import install_checkers
from page_html import Site, still_figures
from site_server import serving
from vit_encoder import MultiHeadSelfAttention, patchify
from vit_encoder.check import misconception
from vit_encoder.figures import (
    ActivationExplorer,
    AttentionExplorer,
    HeadsExplorer,
    PatchExplorer,
)
from vit_encoder.figures.pixels import few_pixels

pytestmark = pytest.mark.xdist_group("widgets")  # one server and browser for all
KIND = "application/vnd.jupyter.widget"
TIMELINE = ["devtools.timeline", "disabled-by-default-devtools.timeline"]
FRAME = "FireAnimationFrame"
TASK = "RunTask"  # what a thread of the browser does in one go
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Figures</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<script defer src="_static/widgets.js"></script></head>
<body style="background: {background}; color: {colour}"><main><h1>Figures</h1>
<div style="height: {above}px"></div>
<div><script type="{kind}-view+json">{view}</script></div></main>
<script type="{kind}-state+json">{state}</script></body></html>"""
THEMES = {"light": ("#fff", "#000"), "dark": ("#131416", "#cfd0d0")}
SMALL = """[...document.querySelectorAll(
        ".vit-figure :is(input, button):not([type=radio]):not([type=file])")]
    .map(e => (e.closest("label") ?? e).getBoundingClientRect())
    .filter(box => box.height && Math.min(box.width, box.height) < 23.9).length"""
STICK_OUT = """[...document.querySelectorAll(".vit-figure > div")].flatMap(column =>
    [...column.querySelectorAll("*")].filter(e => !e.closest("svg, .vit-live") &&
        e.getBoundingClientRect().right > column.getBoundingClientRect().right + 1)
    .map(e => e.outerHTML.slice(0, 99)))"""


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def attention():
    scores = {"a": rand(216, 216), "b": rand(216, 216, seed=1)}
    photo = rand(3, 192, 288)
    return AttentionExplorer(photo, (12, 18), scores, {"a": 9.0, "b": 7.0}, (4, 6))


def stored(figure):
    """The state of a figure as a notebook stores it."""
    own = dependency_state([figure], drop_defaults=False)
    return embed_data([figure], state=own)["manager_state"]


@dataclass(frozen=True)
class Case:
    """A figure, and what a reader does to it."""

    make: object
    heart: str  # selector of what a finger touches, which moves at each step
    changes: tuple  # (role, name) of what changes the figure when clicked


CASES = {
    "attention": Case(attention, ".vit-picture", (("switch", "scale"),)),
    "activations": Case(
        lambda: ActivationExplorer(),
        ".act-plot > svg",
        (("radio", "slopes"), ("checkbox", "SiLU"), ("switch", "dropout")),
    ),
    "patches": Case(
        lambda: PatchExplorer(rand(3, 64, 96), pixel=(12, 17)),
        ".patch-picture",
        (("radio", "P = 4"), ("button", "Shuffle"), ("radio", "reshape")),
    ),
    "heads": Case(
        lambda: HeadsExplorer(rand(3, 64, 96), output=(8, 5)),
        ".heads-picture",
        (("switch", "W"), ("radio", "reshape alone")),
    ),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Each figure in a light and a dark page, and far down a page."""
    folder = tmp_path_factory.mktemp("figures")
    static = folder / "_static"
    static.mkdir()
    shutil.copy(Path(ROOT) / "book" / "_static" / "widgets.js", static)
    for name, case in CASES.items():
        figure = case.make()
        state = stored(figure)
        values = {
            "view": json.dumps({"model_id": figure.model_id}),
            "state": json.dumps(state),
            "kind": KIND,
        }
        colours = {t: {"background": b, "colour": c} for t, (b, c) in THEMES.items()}
        for kind, above in (*((theme, 0) for theme in THEMES), ("far", 3000)):
            page = PAGE.format(
                above=above, **values, **colours.get(kind, colours["light"])
            )
            html, times = still_figures(Site(static), page)
            assert times == 1
            (folder / f"{name}-{kind}.html").write_text(html, encoding="utf-8")
    with serving(folder) as url:
        yield url


@pytest.fixture
def visit(tabs, pages):
    """Open a page."""

    def open_page(name, kind="light", *, width=900, alive=True, **options):
        tab = tabs(pages, viewport={"width": width, "height": 800}, **options)
        tab.goto(f"{pages.rstrip('/')}/{name}-{kind}.html", wait_until="load")
        if alive:
            tab.locator(".vit-still").wait_for(state="detached")
        return tab

    return open_page


def violations(tab):
    """What axe-core objects to."""
    if not tab.evaluate("'axe' in window"):
        tab.add_script_tag(path=install_checkers() / "axe-core" / "axe.min.js")
    found = tab.evaluate("axe.run().then(result => result.violations)")
    return [
        f"{v['id']}: {n['html'][:200]} {n['failureSummary']}"
        for v in found
        for n in v["nodes"]
    ]


def run(tab, code):
    """What a script in the page returns; `figure` is the figure's own module."""
    return tab.evaluate(
        """async code => {
            const script = document.querySelector('script[type$="widget-state+json"]');
            const { state } = JSON.parse(script.textContent);
            const { _esm } = Object.values(state).find(s => s.state._esm).state;
            const type = "text/javascript";
            const url = URL.createObjectURL(new Blob([_esm], { type }));
            const figure = await import(url);
            return await eval(code);
        }""",
        code,
    )


# What holds for every figure.

every_figure = pytest.mark.parametrize("name", CASES)


@every_figure
def test_without_scripts_a_picture_says_what_it_shows(visit, name):
    tab = visit(name, width=360, alive=False, java_script_enabled=False)
    figure = tab.locator(".vit-figure")
    assert figure.is_visible()
    assert tab.locator(".vit-controls:visible").count() == 0
    assert tab.locator(":focus-visible, [tabindex]").count() == 0
    assert figure.get_by_role("img").first.get_attribute("aria-label")
    assert len(figure.get_by_role("status").text_content().split()) > 5
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


@every_figure
def test_paper_shows_the_figure_and_no_control(visit, name):
    tab = visit(name)
    tab.emulate_media(media="print")
    assert tab.locator(".vit-figure svg").first.is_visible()
    assert tab.locator(".vit-controls:visible").count() == 0


@every_figure
def test_nothing_moves_when_the_figure_comes_to_life(visit, name):
    box = ".vit-figure"
    for width in (360, 900):
        still = visit(name, "far", width=width, alive=False)
        before = still.locator(box).bounding_box()["height"]
        assert not any(
            "widget-state" in url for url in still.asked
        )  # nobody has seen it
        still.locator(box).scroll_into_view_if_needed()
        still.locator(".vit-still").wait_for(state="detached")
        assert still.locator(box).bounding_box()["height"] == pytest.approx(
            before, abs=1
        )
        assert sum("widget-state" in url for url in still.asked) == 1


@every_figure
@pytest.mark.parametrize("theme", THEMES)
def test_no_accessibility_violation(visit, name, theme):
    for width in (328, 760, 1280):  # the first leaves what a page has at 360
        tab = visit(name, theme, width=width, color_scheme=theme)
        assert violations(tab) == []
        for role, words in CASES[name].changes:
            tab.get_by_role(role, name=words).first.click()
        assert violations(tab) == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate(SMALL) == 0
        assert tab.evaluate(STICK_OUT) == []


@every_figure
def test_reset_brings_back_the_start(visit, name):
    tab = visit(name)
    look = "document.querySelector('.vit-figure').innerHTML"
    controls = "[...document.querySelectorAll('input')].map(i => [i.checked, i.value])"
    start = tab.evaluate(look), tab.evaluate(controls)[1:]
    for role, words in CASES[name].changes:
        tab.get_by_role(role, name=words).first.click()
    assert tab.evaluate(look) != start[0]
    tab.get_by_role("button", name="Reset").click()
    tab.wait_for_timeout(1000)  # until the words for screen readers are back too
    assert tab.evaluate(look) == start[0]
    assert tab.evaluate(controls)[1:] == start[1]


@every_figure
def test_words_for_screen_readers_wait_until_the_reader_rests(visit, name):
    tab = visit(name)
    before = tab.get_by_role("status").text_content()
    tab.evaluate(
        """window.said = 0;
           const status = document.querySelector("[role=status]");
           new MutationObserver(() => { said += 1; }).observe(
               status, { childList: true, characterData: true, subtree: true });"""
    )
    box = tab.locator(CASES[name].heart).bounding_box()
    tab.mouse.move(box["x"] + 40, box["y"] + 40)
    tab.mouse.down()
    for step in range(10):
        tab.mouse.move(box["x"] + 40 + 12 * step, box["y"] + 40)
    tab.mouse.up()
    tab.wait_for_timeout(1500)
    assert tab.evaluate("window.said") == 1
    assert tab.get_by_role("status").text_content() != before


@every_figure
def test_a_slow_phone_draws_thirty_frames_a_second(visit, browser, name):
    """A touch takes a thirtieth of a second of a CPU that is four times as slow.

    Counted is the time that the page's thread computes, script, layout and paint, which
    hardly depends on what else the machine does.
    """
    tab = visit(name)
    # A busy machine makes a run slower, and none quicker.
    heart = CASES[name].heart
    assert 0 < min(time_a_touch(tab, browser, heart) for _ in range(3)) < 1 / 120


def time_a_touch(tab, browser, heart):
    """Seconds of computing that one of 40 touches takes."""
    browser.start_tracing(page=tab, categories=TIMELINE)
    tab.evaluate(
        """async heart => {
            const target = document.querySelector(heart);
            target.setPointerCapture = () => {}; // there is no real pointer
            const box = target.getBoundingClientRect();
            for (let i = 0; i < 40; i++) {
                await new Promise(requestAnimationFrame);
                const at = { clientX: box.left + box.width * (0.1 + i / 50),
                             clientY: box.top + box.height / 2,
                             bubbles: true, buttons: 1 };
                const kind = i ? "pointermove" : "pointerdown";
                target.dispatchEvent(new PointerEvent(kind, at));
            }
        }""",
        heart,
    )
    events = json.loads(browser.stop_tracing())["traceEvents"]
    times = Counter()
    for event in events:
        if event["ph"] == "X":
            thread = event["pid"], event["tid"]
            times[event["name"], thread] += event.get("tdur", 0)  # microseconds
    drawn = {t: time for (name, t), time in times.items() if name == FRAME}
    return times[TASK, max(drawn, key=drawn.get)] / 1e6 / 40


@pytest.mark.parametrize("name", [name for name in CASES if name != "attention"])
def test_figure_is_small(name):  # the scores of 216 patches alone weigh more
    packed = gzip.compress(json.dumps(stored(CASES[name].make())).encode())
    assert len(packed) < 40_000


# The activations.

TORCH = {
    "ReLU": F.relu,
    "GELU": F.gelu,
    "GELU (tanh)": lambda x: F.gelu(x, approximate="tanh"),
    "QuickGELU": lambda x: x * torch.sigmoid(1.702 * x),
    "SiLU": F.silu,
}


def exactly(x):
    """name → (values, slopes) as PyTorch computes them, in float64."""
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    found = {}
    for name, function in TORCH.items():
        y = function(x)
        found[name] = y, torch.autograd.grad(y.sum(), x)[0]
    return found


def test_activations_and_slopes_are_those_of_torch(visit):
    rng = torch.Generator().manual_seed(3)
    x = torch.cat([4 * torch.randn(500, generator=rng), torch.linspace(-60, 60, 121)])
    x = [*x.double().tolist(), 1e-9, -1e-9]
    code = (
        f"Object.fromEntries(Object.entries(figure.FUNCTIONS)"
        f".map(([name, f]) => [name, {json.dumps(x)}.map(f)]))"
    )
    shown = run(visit("activations"), code)
    assert list(shown) == list(TORCH)
    for name, right in exactly(x).items():
        ours = torch.tensor(shown[name], dtype=torch.float64).T
        for mine, theirs in zip(ours, right, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-7)


def cell(tab, name, column):
    text = tab.locator(f"[data-value='{name} {column}']").inner_text()
    return float(text.replace("−", "-"))


def test_table_and_curve_show_these_numbers(visit):
    tab = visit("activations")
    slider = tab.get_by_role("slider", name="x =")
    for at in (-1.37, 0.0, 2.72):
        slider.fill(str(at))
        right = exactly([at])
        for name, (value, slope) in right.items():
            assert cell(tab, name, 0) == pytest.approx(value.item(), abs=1e-5)
            assert cell(tab, name, 1) == pytest.approx(slope.item(), abs=1e-5)
            distance = 1000 * (value - right["GELU"][0]).item()
            assert cell(tab, name, 2) == pytest.approx(distance, abs=0.01)


def curve(tab, i):
    """The points of a curve of the plot: x from -4 to 4, y in the plot's units."""
    path = tab.locator(f".act-plot .act-{i}").get_attribute("d")
    points = [p.split() for p in path.replace("M", "L").split("L")[1:]]
    return torch.tensor([[float(a), float(b)] for a, b in points])


def test_a_difference_is_drawn_a_thousandfold(visit):
    tab = visit("activations")
    tab.get_by_role("radio", name="minus GELU").check()
    tab.get_by_role("checkbox", name="GELU (tanh)").check()
    x = torch.linspace(-4, 4, 401, dtype=torch.float64)
    right = F.gelu(x, approximate="tanh") - F.gelu(x)
    for factor in (1, 1000):
        tab.get_by_role("radio", name=f"× {factor}", exact=True).check()
        height = 1 - curve(tab, 2)[:, 1] / 125  # the plot is 250 high, from -1 to 1
        assert (height - factor * right).abs().max() < 1e-3
    assert 0.4 < height.max() < 0.5


def test_dropout_keeps_or_zeroes_and_its_mean_is_kept(visit):
    tab = visit("activations")
    x = torch.linspace(-4, 4, 65, dtype=torch.float64)
    code = (
        f"(() => {{ const once = figure.throwDropout({x.tolist()}, 0.3, 1);"
        f"const more = figure.throwDropout({x.tolist()}, 0.3, 4999, once);"
        f"return [once, more]; }})()"
    )
    once, more = run(tab, code)
    last = torch.tensor(once["last"], dtype=torch.float64)
    kept = torch.tensor(once["kept"]).bool()
    torch.testing.assert_close(last, F.gelu(x) * kept / 0.7, rtol=0, atol=1e-7)
    assert 0 < kept.sum() < 65
    assert more["throws"] == 5000
    share = torch.tensor(more["kept"]).double() / 5000
    mean = torch.tensor(more["mean"], dtype=torch.float64)
    torch.testing.assert_close(mean, F.gelu(x) * share / 0.7, rtol=0, atol=1e-7)
    assert (share - 0.7).abs().max() < 0.04


def test_reader_throws_dropout_on_numbers_of_their_own(visit):
    tab = visit("activations")
    tab.get_by_label("your own x").fill("2, 2, 2, [−2]")
    tab.get_by_label("your own x").press("Enter")
    assert tab.locator("[data-value=x]").inner_text() == "At x = 2.00"
    tab.get_by_role("switch", name="dropout").click()
    tab.get_by_role("button", name="Throw once").click()
    assert tab.locator("[data-value=throws]").inner_text() == "1"
    for _ in range(5):
        tab.get_by_role("button", name="Throw 1000 times").click()
    assert tab.locator("[data-value=throws]").inner_text() == "5001"
    kept = float(tab.locator("[data-value=kept]").inner_text().split()[0])
    assert kept == pytest.approx(70, abs=2)
    assert tab.locator(".act-means").get_attribute("d").count("M") == 4
    tab.get_by_role("slider", name="p =").fill("0.5")  # starts anew
    assert tab.locator("[data-value=throws]").inner_text() == "0"
    tab.get_by_label("your own x").fill("two")
    tab.get_by_label("your own x").press("Enter")
    assert "Expected numbers" in tab.get_by_role("alert").inner_text()


def test_finger_moves_x_on_the_curve(visit):
    tab = visit("activations", width=360, has_touch=True, is_mobile=True)
    box = tab.locator(".act-plot > svg").bounding_box()
    two = 34 + 0.75 * 400  # of 442 units: where x = 2
    tab.touchscreen.tap(box["x"] + box["width"] * two / 442, box["y"] + 50)
    shown = tab.locator("[data-value=x]").inner_text()
    assert float(shown.removeprefix("At x = ")) == pytest.approx(2, abs=0.05)


def test_activation_explorer_keeps_some_of_many_numbers():
    made = ActivationExplorer(rand(3, 1000) - 0.5, at=0.5)
    assert len(made.numbers) == 200
    assert made.numbers == sorted(made.numbers)
    assert made.numbers[0] < -0.49
    assert made.numbers[-1] > 0.49
    assert repr(made) == "ActivationExplorer(200 numbers)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": [1.0]}, "expected a floating tensor of hidden units, got list"),
        ({"hidden": torch.ones(2).long()}, "floating tensor .*, got torch.int64"),
        (
            {"hidden": torch.tensor([1.0, torch.nan])},
            "expected finite .* got inf or nan",
        ),
        ({"hidden": torch.empty(0)}, "expected finite hidden units, got no number"),
        ({"p": 1.0}, r"expected p in \[0, 0.9\], got 1.0"),
        ({"at": torch.inf}, "expected a number to start at, got inf"),
        ({"at": "-1"}, "expected a number as at, got str"),
        ({"p": None}, "expected a number as p, got NoneType"),
    ],
)
def test_activation_explorer_refuses(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ActivationExplorer(**arguments)


# The patches.


def matrix(P):
    """E (3·P·P, 9): of each colour the mean, right minus left and below minus above."""
    side = torch.sign(torch.arange(P) - (P - 1) / 2).double()
    columns = [torch.ones(P, P), side.expand(P, P), side[:, None].expand(P, P)]
    block = torch.stack([c.double() for c in columns], -1) / P**2  # (P, P, 3)
    return torch.block_diag(*3 * [block.flatten(0, 1)])  # (3·P·P, 9)


def tokens_of(image, P, cut="patchify", positions=True):
    """The tokens (N, 9) of an image (3, H, W), as the figure should make them."""
    patches = patchify(image[None], P)[0]
    if cut == "reshape":
        patches = image.reshape(patches.shape)
    k = torch.arange(9.0, dtype=torch.float64)
    tokens = torch.cat([torch.cos(k)[None] / 2, patches @ matrix(P)])
    place = torch.arange(len(tokens), dtype=torch.float64)[:, None]
    return tokens + positions * torch.sin((k + 1) * place * 0.7 + k)


def output_of(tokens):
    """What attention gives the class token."""
    return F.scaled_dot_product_attention(tokens[:1], tokens, tokens, scale=1.0)[0]


@pytest.mark.parametrize("cut", ["patchify", "reshape"])
@pytest.mark.parametrize("P", [2, 4, 8, 16])
def test_tokens_and_output_are_those_of_torch(visit, cut, P):
    image = torch.randn(3, 32, 48, generator=torch.Generator().manual_seed(P)).double()
    tab = visit("patches")
    for positions in (True, False):
        code = (
            f"(() => {{ const image = {image.flatten().tolist()};"
            f"const tokens = figure.embed(image, [32, 48], {P}, '{cut}',"
            f" {str(positions).lower()});"
            "return [tokens, figure.attend(tokens)]; })()"
        )
        tokens, output = (torch.tensor(t).double() for t in run(tab, code))
        right = tokens_of(image, P, cut, positions)
        torch.testing.assert_close(tokens, right, rtol=0, atol=1e-5)
        torch.testing.assert_close(output, output_of(right), rtol=0, atol=1e-5)


def value(tab, key):
    return tab.locator(f"[data-value={key}]").inner_text()


def test_a_pixel_changes_its_token_and_a_bare_reshape_three(visit):
    tab = visit("patches")
    picture = tab.locator(".patch-picture")
    for P, y, x in ((8, 12, 17), (4, 31, 47), (2, 0, 5), (16, 15, 16)):
        tab.get_by_role("radio", name=f"P = {P}", exact=True).check()
        box = picture.bounding_box()
        at = {"x": box["width"] * (x + 0.5) / 48, "y": box["height"] * (y + 0.5) / 32}
        picture.click(position=at)
        N = 32 * 48 // P**2 + 1
        assert value(tab, "count") == f"n = {N - 1}, N = {N}"
        assert value(tab, "cost") == "N² = " + f"{N * N:,}".replace(",", "\xa0")
        assert value(tab, "pixel") == f"row {y}, column {x}"
        token = y // P * (48 // P) + x // P + 1
        assert value(tab, "change") == f"1 of {N}: {token}"
        assert tab.locator(".patch-changed").count() == 1
        tab.get_by_role("radio", name="bare reshape").check()
        places = [32 * 48 * c + 48 * y + x for c in range(3)]
        wrong = sorted({place // (3 * P * P) + 1 for place in places})
        assert (
            value(tab, "change") == f"{len(wrong)} of {N}: {', '.join(map(str, wrong))}"
        )
        tab.get_by_role("radio", name="patchify").check()


def test_only_positions_tell_a_shuffle(visit):
    tab = visit("patches")
    assert value(tab, "tell") == "not shuffled yet"
    tab.get_by_role("button", name="Shuffle").click()
    changed = float(value(tab, "tell").removeprefix("changed by up to "))
    assert changed > 0.01
    tab.get_by_role("switch", name="positions").click()
    assert value(tab, "tell") == "changed by up to 0.00000"


def test_a_shuffle_moves_whole_patches(visit):
    image = rand(3, 32, 48).double()
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    numbers, places = image.flatten().tolist(), order.tolist()
    moved = run(visit("patches"), f"figure.shuffled({numbers}, [32, 48], 8, {places})")
    moved = torch.tensor(moved).double().view(1, 3, 32, 48)
    assert torch.equal(patchify(moved, 8)[0], patchify(image[None], 8)[0][order])


def test_arrow_keys_move_the_pixel_and_stop_at_the_edge(visit):
    tab = visit("patches")
    tab.locator(".patch-picture").focus()
    for key in ["ArrowUp"] * 13 + ["ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowDown"]:
        tab.keyboard.press(key)
    assert value(tab, "pixel") == "row 1, column 16"


def test_reader_s_own_image_is_cut_and_shrunk(visit, tmp_path):
    tab = visit("patches")
    # Twice as wide as it should be: of this its middle is taken.
    halves = Image.new("RGB", (960, 320), (255, 0, 0))
    halves.paste((0, 0, 255), (480, 0, 960, 320))
    halves.save(tmp_path / "own.png")
    tab.get_by_label("Your own image").set_input_files(tmp_path / "own.png")
    cells = tab.locator(".patch-strip rect")
    tab.wait_for_function(
        "document.querySelectorAll('.patch-strip rect')[1].getAttribute('fill') =="
        " 'rgb(255,0,0)'"
    )
    fills = [cells.nth(i).get_attribute("fill") for i in range(1, 7)]
    assert fills == ["rgb(255,0,0)"] * 3 + ["rgb(0,0,255)"] * 3
    (tmp_path / "own.txt").write_text("no image")
    tab.get_by_label("Your own image").set_input_files(tmp_path / "own.txt")
    tab.get_by_text("Expected an image").wait_for()
    assert cells.nth(1).get_attribute("fill") == "rgb(255,0,0)"


def test_few_pixels_are_the_mean_of_many():
    photo = rand(3, 64, 100)
    small = few_pixels(photo, 32, 48)
    assert (small.shape, small.dtype) == ((3, 32, 48), torch.uint8)
    right = photo[:, :, 2:98].unfold(1, 2, 2).unfold(2, 2, 2).mean((-1, -2))
    assert (small / 255 - right).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"photo": rand(2, 64, 96)}, "a photo with 1 or 3 channels, got 2"),
        ({"photo": rand(3, 1, 1)}, "expected a photo of more pixels, got 1 × 1"),
        ({"patch_size": 5}, r"a patch_size of \(2, 4, 8, 16\), got 5"),
        ({"photo": rand(3, 0, 96)}, "expected a photo with pixels, got 0 × 96"),
        ({"pixel": 3}, "a pixel .* inside 32 × 48, got 3"),
        ({"pixel": (1.5, 2)}, r"a pixel .* inside 32 × 48, got \(1.5, 2\)"),
        ({"pixel": (1, 2, 3)}, r"a pixel .* inside 32 × 48, got \(1, 2, 3\)"),
        ({"pixel": (32, 0)}, r"a pixel .* inside 32 × 48, got \(32, 0\)"),
    ],
)
def test_patch_explorer_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        PatchExplorer(**{"photo": rand(3, 64, 96)} | arguments)


# The heads.


def layer_of(num_heads, cut="transpose", *, mixed=True, seed=0):
    """A layer with random parameters, right or with a bare reshape, in float64."""
    name = "multi_head.MultiHeadSelfAttention"
    wrong = misconception(name, "split-by-reshape").wrong
    kind = MultiHeadSelfAttention if cut == "transpose" else wrong
    layer = kind(12, num_heads).double()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=rng) / 12**0.5)
    if not mixed:
        layer.proj = torch.nn.Identity()
    return layer


@pytest.mark.parametrize("num_heads", [1, 2, 3, 6])
def test_output_and_slopes_are_those_of_torch(visit, num_heads):
    tab = visit("heads")
    x = torch.randn(24, 12, generator=torch.Generator().manual_seed(1)).double()
    stored = HeadsExplorer(rand(3, 32, 48), layer_of(num_heads)).layer
    for mixed, cut, n, j in (
        (True, "transpose", 8, 5),
        (False, "transpose", 23, 11),
        (True, "reshape", 0, 7),
        (False, "reshape", 9, 4),
    ):
        options = json.dumps({"mixed": mixed, "cut": cut})
        arguments = f"{x.tolist()}, {json.dumps(stored)}, {num_heads}, [{n}, {j}]"
        found = run(tab, f"figure.explain({arguments}, {options})")
        tokens = x[None].clone().requires_grad_()
        right = layer_of(num_heads, cut, mixed=mixed)(tokens)[0, n, j]
        (slopes,) = torch.autograd.grad(right, tokens)
        assert found["value"] == pytest.approx(right.item(), abs=1e-5)
        ours = torch.tensor(found["slopes"]).double()
        torch.testing.assert_close(ours, slopes[0], rtol=0, atol=1e-5)


def test_tokens_are_two_by_two_means(visit):
    image = rand(3, 32, 48, seed=4).double()
    code = f"figure.tokensOf({image.flatten().tolist()}, [32, 48], [4, 6])"
    tokens = torch.tensor(run(visit("heads"), code)).double()
    right = patchify(F.avg_pool2d(image[None], 4), 2)[0]  # (24, 12)
    right = (right - right.mean()) / right.std(correction=0)
    torch.testing.assert_close(tokens, right, rtol=0, atol=1e-5)


def test_one_number_reads_one_head_without_w_o_and_one_third_if_reshaped(visit):
    tab = visit("heads")
    assert value(tab, "output") == "token 8, feature 5"
    assert value(tab, "heads") == "3 of 3: 0, 1, 2"
    assert value(tab, "inputs") == "288 of 288"
    assert value(tab, "asks") == "token 8"
    tab.get_by_role("switch", name="W").click()
    assert value(tab, "heads") == "1 of 3: 1"
    assert value(tab, "inputs") == "288 of 288"
    assert tab.locator(".heads-unused").count() == 2
    tab.get_by_role("radio", name="reshape alone").check()
    assert value(tab, "inputs") == "96 of 288"  # eight tokens; token 8 is one
    assert value(tab, "asks") == "token 10"  # of the one head that is read


def test_value_shown_is_that_of_the_photo_s_tokens(visit):
    tab = visit("heads")
    made = CASES["heads"].make()
    raw = few_pixels(rand(3, 64, 96), 32, 48).double() / 255
    x = patchify(F.avg_pool2d(raw[None], 4), 2)  # (1, 24, 12)
    x = (x - x.mean()) / x.std(correction=0)
    layer = MultiHeadSelfAttention(12, 3).double()
    layer.load_state_dict({k: torch.tensor(v) for k, v in made.layer.items()})
    tab.locator(".heads-picture").focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowDown")
    tab.get_by_role("slider", name="feature").fill("2")
    assert value(tab, "output") == "token 15, feature 2"
    shown = float(value(tab, "value").replace("−", "-"))
    assert shown == pytest.approx(layer(x)[0, 15, 2].item(), abs=1e-5)


def test_a_head_gets_the_patches_that_its_rows_are_made_from(visit):
    image = rand(3, 32, 48).double()
    numbers = image.flatten().tolist()
    code = f"figure.asGot({numbers}, [32, 48], [4, 6], n => 8 + Math.floor(n / 3))"
    got = torch.tensor(run(visit("heads"), code)).double().view(1, 3, 32, 48)
    right = patchify(image[None], 8)[0][8 + torch.arange(24) // 3]
    assert torch.equal(patchify(got, 8)[0], right)


def test_finger_chooses_a_patch(visit):
    tab = visit("heads", width=360, has_touch=True, is_mobile=True)
    box = tab.locator(".heads-picture").bounding_box()
    tab.touchscreen.tap(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.1)
    assert value(tab, "output") == "token 5, feature 5"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": torch.nn.Linear(12, 12)}, "a MultiHeadSelfAttention, got Linear"),
        ({"output": 5}, "an output .* inside 24 × 12, got 5"),
        ({"output": (24, 0)}, r"an output .* inside 24 × 12, got \(24, 0\)"),
        (
            {"layer": MultiHeadSelfAttention(8, 2)},
            r"qkv.weight of shape \(36, 12\)",
        ),
        ({"photo": "cat.jpg"}, r"expected a photo \(C, H, W\), got str"),
    ],
)
def test_heads_explorer_refuses(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        HeadsExplorer(**{"photo": rand(3, 64, 96)} | arguments)


def test_heads_explorer_refuses_a_layer_that_is_none():
    layer = MultiHeadSelfAttention(12, 3)
    layer.proj = torch.nn.Identity()
    with pytest.raises(ValueError, match=r"proj.weight of shape .*, got none"):
        HeadsExplorer(rand(3, 64, 96), layer)
    layer = MultiHeadSelfAttention(12, 3)
    layer.proj.bias.data[0] = torch.nan
    with pytest.raises(ValueError, match=r"finite numbers in proj.bias"):
        HeadsExplorer(rand(3, 64, 96), layer)
