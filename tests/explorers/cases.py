"""The figures that are tested in a browser, and what a reader does to each."""

import json
from collections import Counter
from dataclasses import dataclass
from functools import cache

import torch
from ipywidgets.embed import dependency_state, embed_data

from vit_encoder import EncoderBlock, VisionTransformer, attention_maps
from vit_encoder.check import misconception
from vit_encoder.data import fashion_vit
from vit_encoder.datasets import CLASSES, fashion_mnist
from vit_encoder.figures import (
    ActivationExplorer,
    AttentionExplorer,
    HeadsExplorer,
    NormExplorer,
    PatchExplorer,
    RolloutExplorer,
    RooflineExplorer,
    RunsExplorer,
    TokensExplorer,
    WiringExplorer,
    fashion_tour,
)

TIMELINE = ["devtools.timeline", "disabled-by-default-devtools.timeline"]
FRAME = "FireAnimationFrame"
TASK = "RunTask"  # what a thread of the browser does in one go
# A page in which a touch moves marks. Where this was measured, that took 8 ms, of which
# a CPU four times as slow still does thirty in a second.
MARKS = 1200
REFERENCE = f"""<svg viewBox="0 0 100 100" width="600" height="600"></svg><script>
    const svg = document.querySelector("svg");
    const marks = Array.from({{ length: {MARKS} }}, () => svg.appendChild(
        document.createElementNS(svg.namespaceURI, "rect")));
    for (const mark of marks) {{
        mark.setAttribute("width", 2);
        mark.setAttribute("height", 2);
    }}
    svg.onpointerdown = svg.onpointermove = (event) => marks.forEach((mark, i) => {{
        mark.setAttribute("x", (event.clientX + 7 * i) % 98);
        mark.setAttribute("y", (event.clientX + i) % 98);
    }});
</script>"""
THEMES = {"light": ("#fff", "#000"), "dark": ("#131416", "#cfd0d0")}


def rand(*shape, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=rng, device="cpu")


def attention():
    """As large as that of chapter 02, with vectors as wide as a head and as a patch."""
    seen = rand(3, 12, 18).repeat_interleave(16, 1).repeat_interleave(16, 2)
    wide = rand(216, 768, seed=1) - 0.5
    queries = {"a": 9 * rand(216, 24) - 4, "b": wide}
    keys = {"a": 9 * rand(216, 24, seed=2) - 4, "b": wide}
    layers = {"a": layer_24(), "b": None}
    return AttentionExplorer(seen, (12, 18), queries, keys, (4, 6), layers=layers)


def layer_24():
    """What makes queries and keys of 24 numbers from a token of 768."""
    return {
        name: (rand(*size, seed=seed) - 0.5) / 4
        for seed, (name, size) in enumerate(
            {
                "query.weight": (24, 768),
                "query.bias": (24,),
                "key.weight": (24, 768),
                "key.bias": (24,),
            }.items()
        )
    }


@cache
def boot_maps():
    """A boot in [0, 1], (1, 28, 28), and the weights of all heads in two models."""
    test, trained = fashion_mnist().test, fashion_vit()
    first = int((test.labels == CLASSES.index("ankle boot")).nonzero()[0])
    data = test[first : first + 1]
    torch.manual_seed(0)
    sizes = {"depth": 6, "dim": 64, "num_heads": 4, "mlp_dim": 128}
    new = VisionTransformer(28, 4, 1, 10, **sizes).eval()
    models = {"trained": trained, "untrained": new}
    images = data.normalized()
    maps = {name: attention_maps(m, images)[:, 0] for name, m in models.items()}
    return data.images[0] / 255, maps


@cache
def boot_model():
    """The model of the first maps, and what its images were normalized with."""
    test = fashion_mnist().test
    return {"model": fashion_vit(), "mean": test.mean, "std": test.std}


def boot():
    return RolloutExplorer(*boot_maps(), alt="an ankle boot", **boot_model())


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
    "norms": Case(
        lambda: NormExplorer(poke=(0, 1, 2)),
        ".cube-block",
        (("radio", "BatchNorm"), ("radio", "your own"), ("radio", "x̂")),
    ),
    "tokens": Case(
        lambda: TokensExplorer(),
        ".plane-view > svg",
        (("radio", "query 1"), ("switch", "scale"), ("button", "Random")),
    ),
    "wiring": Case(
        WiringExplorer,
        ".wiring-plots",
        (("radio", "no norm"), ("switch", "skips"), ("radio", "weights × 2")),
    ),
    "tour": Case(
        fashion_tour,
        ".tour-main",
        (("button", "Next"), ("radio", "Depth and skips"), ("switch", "skips")),
    ),
    "rollout": Case(
        boot,
        ".roll-picture",
        (("switch", "identity"), ("radio", "untrained"), ("radio", "stretched")),
    ),
    "roofline": Case(
        RooflineExplorer,
        ".roof-plot > svg",
        (("switch", "fused"), ("radio", "H200"), ("radio", "GELU")),
    ),
    "runs": Case(
        lambda: RunsExplorer(panel="24 blocks"),
        ".runs-plot > svg",
        (("radio", "loss"), ("checkbox", "post-norm"), ("switch", "magni")),
    ),
}


@cache
def made(name):
    """A figure of CASES as it starts, for tests that leave it so."""
    return CASES[name].make()


WIRINGS = {  # written down one by one
    "pre skips": lambda b, x: EncoderBlock.forward(b, x),
    "pre row": lambda b, x: b.mlp(b.norm2(b.attn(b.norm1(x)))),
    "post skips": lambda b, x: misconception(
        "encoder_block.EncoderBlock", "post-norm"
    ).wrong.forward(b, x),
    "post row": lambda b, x: b.norm2(b.mlp(b.norm1(b.attn(x)))),
    "none skips": lambda b, x: x + b.attn(x) + b.mlp(x + b.attn(x)),
    "none row": lambda b, x: b.mlp(b.attn(x)),
}


def stored(figure):
    """The state of a figure as a notebook stores it."""
    own = dependency_state([figure], drop_defaults=False)
    return embed_data([figure], state=own)["manager_state"]


def value(tab, key):
    return tab.locator(f"[data-value={key}]").inner_text()


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


def time_a_touch(tab, browser, heart, touches=20):
    """Seconds of computing that one of many touches takes."""
    tab.wait_for_load_state("networkidle")  # what it loads is there
    browser.start_tracing(page=tab, categories=TIMELINE)
    tab.evaluate(
        """async ([heart, touches]) => {
            const target = document.querySelector(heart);
            target.setPointerCapture = () => {}; // there is no real pointer
            const box = target.getBoundingClientRect();
            for (let i = 0; i < touches; i++) {
                await new Promise(requestAnimationFrame);
                const at = { clientX: box.left + box.width * (0.1 + 0.8 * i / touches),
                             clientY: box.top + box.height / 2,
                             bubbles: true, buttons: 1 };
                const kind = i ? "pointermove" : "pointerdown";
                target.dispatchEvent(new PointerEvent(kind, at));
            }
        }""",
        [heart, touches],
    )
    events = json.loads(browser.stop_tracing())["traceEvents"]
    times = Counter()
    for event in events:
        if event["ph"] == "X":
            thread = event["pid"], event["tid"]
            times[event["name"], thread] += event.get("tdur", 0)  # microseconds
    drawn = {t: time for (name, t), time in times.items() if name == FRAME}
    return times[TASK, max(drawn, key=drawn.get)] / 1e6 / touches


def slowness(tab, browser, heart, touches=20):
    """What a touch takes, as a share of what it takes to move all marks.

    Both are measured in turns, so that a slow machine makes no difference; a busy one
    makes a run slower, and none quicker, so where it is slow there are more.
    """
    other = browser.new_page(viewport={"width": 900, "height": 800})
    other.set_content(REFERENCE)
    rounds = []
    for number in range(1, 7):
        touch = time_a_touch(tab, browser, heart, touches)
        rounds.append((touch, time_a_touch(other, browser, "svg", touches)))
        touch, marks = map(min, zip(*rounds, strict=True))
        if number >= 3 and touch < marks:
            break
    other.close()
    assert touch > 0
    return touch / marks
