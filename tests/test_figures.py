"""The figures: what they draw, what they refuse, and what they do not import."""

import base64
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
import torch
from tests.explorers.cases import CASES

import still
from address import ROOT
from outputs import without_picture
from vit_encoder import attention, figures, patchify
from vit_encoder.exploring import explore
from vit_encoder.figures import (
    AttentionExplorer,
    colours,
    encoder_map,
    fashion_at_work,
    show_activations,
    show_attention,
    show_images,
    show_parts,
    show_patch_twice,
    show_tokens,
)
from vit_encoder.figures.colours import KEY, QUERY, RAMP, VALUE
from vit_encoder.figures.drawings import attention as attention_drawings
from vit_encoder.figures.drawings.encoder_map import (
    BOXES,
    HEIGHT,
    INK,
    LIT,
    PARTS,
    WIDTH,
)
from vit_encoder.figures.drawings.patches import IMAGE, P, cut

SVG = "{http://www.w3.org/2000/svg}"
GRID = (3, 5)


def test_importing_the_figures_brings_no_heavy_package():
    code = "import sys, vit_encoder.figures as f; f.encoder_map(); print(*sys.modules)"
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert not {"matplotlib", "anywidget", "ipywidgets"} & set(printed.split())


CONCEPTS = {  # colour of a concept → the modules of figures that draw that concept
    "QUERY": {
        *("attention", "encoder_at_work", "encoder_map"),
        *("multi_head", "parameters", "photo"),
    },
    "KEY": {"attention", "encoder_map", "fast", "multi_head", "parameters"},
    "VALUE": {
        *("attention", "encoder_map", "fast", "multi_head", "parameters", "tiles"),
    },
    "WEIGHTS": {"attention", "block", "drawing", "multi_head"},
    "CLASS": {"encoder_at_work", "encoder_map", "fast", "patches"},
    "POSITION": {"encoder_map", "patches"},
    "HIDDEN": {"activations", "encoder_map", "gates", "mlp"},
    "TOGETHER": {"encoder_map", "layer_norm", "norm_axes", "norms", "rms_norm"},
}
HEX = re.compile(r"#?\b[0-9a-f]{6}\b", re.I)
FIGURES = ROOT / "src" / "vit_encoder" / "figures"


def hexes(text):
    """The colours that a text names, all in one spelling."""
    return {found.lstrip("#").upper() for found in HEX.findall(text)}


def of_concepts():
    """The colours of the concepts, of wrong things too."""
    return [getattr(colours, name)[1:].upper() for name in [*CONCEPTS, "WRONG"]]


def test_each_concept_has_a_colour_of_its_own_and_notation_lists_them():
    own = of_concepts()
    assert len({*own}) == len(own)
    assert not {*own} & hexes(" ".join(colours.SERIES))
    page = (ROOT / "book" / "notation.md").read_text(encoding="utf-8")
    in_ramp = {colours.WEIGHTS[1:].upper()}  # the page shows the ramp
    assert {*own} - in_ramp <= hexes(page)


@pytest.mark.parametrize("path", sorted(FIGURES.rglob("*.py")), ids=lambda p: p.stem)
def test_a_figure_uses_the_colour_of_a_concept_for_this_alone(path):
    source = path.read_text(encoding="utf-8")
    imports = r"from vit_encoder\.figures\.colours import (\([^)]*\)|.*)"
    names = set(re.findall(r"\w+", " ".join(re.findall(imports, source))))
    assert {c for c in CONCEPTS if c in names} == {
        concept for concept, users in CONCEPTS.items() if path.stem in users
    }
    if path.stem != "colours":
        assert not {*of_concepts()} & hexes(source)


FRONT_ENDS = {  # the concepts in the scripts and style sheets of figures that answer
    "activation_explorer": {"HIDDEN"},
    "encoder_at_work": set(),  # Python sends them
    "encoder_tour": {"QUERY"},
    "heads_explorer": {"QUERY"},
    "norm_explorer": {"TOGETHER"},
    "patch_explorer": {"CLASS"},
    "rollout_explorer": {"QUERY"},
    "roofline_explorer": {"HIDDEN", "TOGETHER"},
    "runs_explorer": set(),
    "self_attention": {"QUERY"},
    "shared": set(),
    "tokens_explorer": {"QUERY", "KEY", "VALUE"},
    "vit": set(),
    "wiring_explorer": set(),
}


def test_every_front_end_is_looked_at():
    assert FRONT_ENDS.keys() == {path.stem for path in FIGURES.glob("*.js")}


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_a_front_end_uses_the_colour_of_a_concept_for_this_alone(name):
    paths = FIGURES.glob(f"{name}.[jc]*s")  # vit.js has no style sheet
    used = hexes(" ".join(path.read_text(encoding="utf-8") for path in paths))
    found = {c for c in CONCEPTS if getattr(colours, c)[1:].upper() in used}
    assert found == FRONT_ENDS[name]


def test_what_stands_for_no_concept_has_no_colour_of_one():
    style = (FIGURES / "course.mplstyle").read_text(encoding="utf-8")
    (cycle,) = re.findall(r"prop_cycle: (.*)", style)
    assert hexes(cycle) == hexes(" ".join(colours.SERIES))
    for folder in ("chapters", "solutions"):
        for path in (ROOT / folder).glob("*.md"):
            text = path.read_text(encoding="utf-8")
            assert not {*of_concepts()} & hexes(text), path.name
            assert not re.findall(rf"\b(?:{'|'.join(CONCEPTS)})\b", text), path.name


def luminance(colour):
    """Relative luminance of a hexadecimal colour, from 0 to 1 (WCAG 2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_attention_ramp_falls_evenly_in_lightness():
    lightness = [116 * luminance(colour) ** (1 / 3) - 16 for colour in RAMP]
    steps = [a - b for a, b in pairwise(lightness)]
    assert max(steps) - min(steps) < 0.6


# The map.


def drawn(**arguments):
    return ET.fromstring(encoder_map(**arguments).svg)


def texts(root):
    return [text.text for text in root.iter(f"{SVG}text")]


def test_map_is_an_image_with_a_name_and_a_description():
    root = drawn()
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == "Map of the ViT encoder"
    assert "residual stream" in root.find(f"{SVG}desc").text
    assert {g.get("data-part") for g in root.iter(f"{SVG}g")} - {None} == set(PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_can_be_lit(part):
    root = drawn(lit=part)
    assert "you are here" in texts(root)
    assert PARTS[part] in root.find(f"{SVG}title").text
    thick = [
        group.get("data-part")
        for group in root.iter(f"{SVG}g")
        for rect in group.findall(f"{SVG}rect")
        if rect.get("stroke-width") == "3"
    ]
    assert set(thick) == {part}


def test_several_lit_parts_have_ticks_instead_of_the_tag():
    root = drawn(lit=["mlp", "patches"])
    assert "you are here" not in texts(root)
    ticks = [c for c in root.iter(f"{SVG}circle") if c.get("stroke") == LIT]
    assert len(ticks) == 2


def test_links_stand_on_their_parts_and_nowhere_else():
    root = drawn(links={"mlp": "05_mlp.html?a=1&b=2", "layer_norm": "04.html"})
    assert root.get("role") == "group"
    links = [(a.get("href"), a.get("aria-label")) for a in root.iter(f"{SVG}a")]
    norms = sum(box.part == "layer_norm" for box in BOXES)
    assert sorted(links) == [
        *[("04.html", "LayerNorm")] * norms,
        ("05_mlp.html?a=1&b=2", "MLP"),
    ]


@pytest.mark.parametrize("arguments", [{"lit": "mlpp"}, {"links": {"mlpp": "#"}}])
def test_unknown_parts_are_refused(arguments):
    with pytest.raises(ValueError, match=r"expected parts among patches.*got 'mlpp'"):
        encoder_map(**arguments)


def test_map_is_the_same_each_time_and_two_fit_on_one_page():
    one = encoder_map("mlp", {"mlp": "#"})
    assert one.svg == encoder_map("mlp", {"mlp": "#"}).svg
    assert repr(one) == "EncoderMap(lit=['mlp'])"
    assert all(node.get("id") is None for node in ET.fromstring(one.svg).iter())


def test_map_stays_inside_its_frame_and_its_text_can_be_read():
    for box in BOXES:
        assert 0 <= box.x < box.x + box.width <= WIDTH == 340
        assert 0 <= box.y < box.y + box.height <= HEIGHT
    root = drawn(lit="self_attention")
    sizes = [float(n.get("font-size")) for n in root.iter() if n.get("font-size")]
    assert min(sizes) >= 11
    assert min(contrast(INK, fill) for fill in (LIT, KEY, VALUE)) >= 4.5
    assert contrast("#ffffff", QUERY) >= 4.5


# The drawings.

DRAWINGS = [name for name in figures.__all__ if name.endswith("_drawing")]


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawing_says_what_it_shows_and_can_be_read(name):
    drawing = getattr(figures, name)()
    root = ET.fromstring(drawing.svg)
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == drawing.name
    assert len(root.find(f"{SVG}desc").text.split()) > 30
    assert float(root.get("width")) <= 340
    assert min(float(t.get("font-size")) for t in root.iter(f"{SVG}text")) >= 11
    assert all(node.get("id") is None for node in root.iter())
    assert drawing.svg == getattr(figures, name)().svg
    assert repr(drawing) == f"Drawing({drawing.name!r})"


@pytest.mark.parametrize("name", [*DRAWINGS, "encoder_map"])
def test_a_drawing_is_a_picture_where_the_notebook_is_not_trusted(name, browser):
    """Without SVG and styles, which JupyterLab then takes out, the picture is seen."""
    trusted = getattr(figures, name)()._repr_html_()
    sanitized = re.sub(r"<(svg|style)\b.*?</\1>", "", trusted, flags=re.DOTALL)
    tab = browser.new_page()
    tab.set_content(trusted)
    assert tab.locator("svg").is_visible()
    assert not tab.locator("img").is_visible()
    tab.set_content(sanitized)
    assert len(tab.locator("img").get_attribute("alt").split()) > 30
    assert tab.evaluate("document.images[0].decode().then(() => true)")
    assert tab.locator("img").bounding_box()["width"] >= 300
    tab.close()
    assert without_picture(trusted) == trusted.partition("<style>.vit-")[0] + "</div>"


@pytest.mark.parametrize("dark", [False, True])
def test_attention_weights_stand_out_from_the_page(dark):
    """The strongest cell by 4 : 1 and each by 1.3 : 1 at least, in both themes."""
    page = "#131416" if dark else "#ffffff"
    colour = colours.WEIGHTS_IN_THE_DARK if dark else colours.WEIGHTS
    pictures = figures.attention_drawing(), figures.multi_head_drawing()
    for picture in (*pictures, explore(attention).look().picture):
        root = ET.fromstring(picture.svg)
        cells = [c for c in root.iter(f"{SVG}rect") if c.get("fill") == colours.WEIGHTS]
        shares = [float(c.get("opacity", 1)) for c in cells]
        found = [contrast(mixed(colour, share, page), page) for share in shares]
        assert max(found) > 4
        assert min(found) > 1.3


def mixed(colour, share, page):
    """A colour laid over the page with this opacity."""
    pairs = zip(rgb(colour), rgb(page), strict=True)
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


def rgb(colour):
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def test_the_page_s_dark_twin_is_the_notebook_s():
    css = (ROOT / "book" / "_static" / "course.css").read_text()
    rule = f'[fill="{colours.WEIGHTS}"] {{\n'
    assert css.count(rule) == 2
    assert css.count(f"fill: {colours.WEIGHTS_IN_THE_DARK};") == 2


def test_drawn_patches_are_those_of_patchify():
    image = torch.tensor(IMAGE, dtype=torch.float32)
    assert patchify(image[None, None], P)[0].tolist() == cut(IMAGE)


def test_the_query_drawn_by_hand_is_that_of_attention():
    names = ("ASKED", "KEYS", "VALUES")
    numbers = (getattr(attention_drawings, name) for name in names)
    q, k, v = (torch.tensor(n, dtype=torch.float32) for n in numbers)
    output, weights = attention(q[None], k, v)
    shown = texts(ET.fromstring(figures.one_query_drawing().svg))
    assert all(f"{w:.2f}" in shown for w in weights[0].tolist())
    assert f"output ({', '.join(f'{y:.1f}' for y in output[0].tolist())})" in shown


# The explorer.


def photo(channels=3):
    rng = torch.Generator().manual_seed(0)
    return torch.rand(channels, 12, 20, generator=rng)


def pair(width=64, dtype=torch.float64):
    """Queries and keys, (15, width) each."""
    rng = torch.Generator().manual_seed(1)
    q, k = torch.randn(2, 15, width, generator=rng, dtype=torch.float64).to(dtype)
    return q, k


def scores(width=64):
    q, k = pair(width)
    return q @ k.T


def explorer(**changes):
    (q, k), (other_q, other_k) = pair(), pair(16, torch.float32)
    arguments = {
        "photo": photo(),
        "grid": GRID,
        "queries": {"trained": q, "other": other_q},
        "keys": {"trained": k, "other": other_k},
        "query": (1, 2),
    }
    return AttentionExplorer(**arguments | changes)


def layer(bias):
    """What makes queries and keys of 64 numbers from a token of 48."""
    names = ("query", "key")
    return {f"{name}.weight": torch.ones(64, 48) for name in names} | {
        f"{name}.bias": torch.full((64,), bias) for name in names
    }


def kept_scores(made, label):
    """The products of queries and keys, as the front end reads them."""
    low, high = np.frombuffer(base64.b64decode(made.parts[label]), "u1").reshape(2, -1)
    codes = low + 256 * high.astype(int)
    codes = np.where(codes % 2, -(codes + 1) // 2, codes // 2)
    steps = made.steps[label]
    whole = torch.from_numpy(codes.astype(float)).view(len(steps), 15, -1)
    return steps[0] * whole[0] @ (steps[-1] * whole[-1]).T


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("width", [1, 14, 15, 16, 64, 192, 768])
def test_explorer_keeps_queries_and_keys_up_to_rounding(width, same, scaled):
    """Those wider than N too, of which it keeps coordinates."""
    q, k = pair(width)
    keys = q if same else k
    made = explorer(queries={"a": q}, keys={"a": keys})
    factor = width**-0.5 if scaled else 1
    assert made.scale == {"a": width**-0.5}
    kept, given = kept_scores(made, "a"), q @ keys.T
    error = (kept * factor).softmax(-1) - (given * factor).softmax(-1)
    assert error.abs().max() < 3e-3
    assert len(made.steps["a"]) == (1 if same else 2)
    numbers = 15 * min(width, 15) * len(made.steps["a"])
    assert len(base64.b64decode(made.parts["a"])) == 2 * numbers


def test_explorer_takes_zeros_and_a_grey_photo():
    zeros = {"a": torch.zeros(15, 4)}
    made = explorer(photo=photo(1).half(), queries=zeros, keys=zeros)
    assert kept_scores(made, "a").eq(0).all()
    assert repr(made) == "AttentionExplorer(15 patches, 1 set of queries and keys)"
    assert made.picture.startswith("data:image/jpeg;base64,")


def test_choices_keep_their_order():
    """Names that look like numbers too, which a script would sort."""
    names = ["10", "b", "2"]
    q, k = pair()
    labelled = {"queries": dict.fromkeys(names, q), "keys": dict.fromkeys(names, k)}
    drawn = still.draw({"a": explorer(**labelled).get_state()})["a"]
    assert re.findall(r'type="radio"[^>]* value="(\w+)"', drawn) == names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"photo": photo()[0]}, r"expected a photo \(C, H, W\), got shape \(12, 20\)"),
        ({"photo": "cat.jpg"}, r"expected a photo \(C, H, W\), got str"),
        ({"photo": photo(2)}, "expected a photo with 1 or 3 channels, got 2"),
        ({"photo": 255 * photo()}, r"expected a photo with values in \[0, 1\], got"),
        ({"photo": photo() * torch.nan}, r"values in \[0, 1\], got nan"),
        ({"photo": photo()[:, :-1]}, "3 rows and 5 columns divide, got 11 × 20"),
        ({"grid": (3, 5, 1)}, r"expected a grid \(rows, columns\), got \(3, 5, 1\)"),
        ({"grid": 15}, r"expected a grid \(rows, columns\), got 15"),
        (
            {"grid": (2, 5)},
            r"queries of 'trained' \(10, D_h\) for 10 patches, got shape \(15, 64\)",
        ),
        ({"query": (3, 0)}, r"inside 3 × 5 patches, got \(3, 0\)"),
        ({"query": (0.5, 1)}, r"inside 3 × 5 patches, got \(0.5, 1\)"),
        ({"queries": pair()[0]}, "expected queries as a dict .* got Tensor"),
        ({"keys": {1: pair()[1]}}, r"expected keys as a dict .* got \[1\]"),
        ({"queries": {}}, "expected at least one set of queries, got none"),
        ({"queries": {"a": 3.0}, "keys": {"a": 3.0}}, r"'a' \(15, D_h\).* got float"),
        ({"queries": {"a": torch.ones(15, 0)}, "keys": {"a": 0}}, r"shape \(15, 0\)"),
        ({"keys": {"trained": pair()[1]}}, r"keys for each of \['other', 'trained'\]"),
        (
            {"keys": {"trained": pair(8)[1], "other": pair(16)[1]}},
            r"keys of 'trained' \(15, 64\) as the queries, got shape \(15, 8\)",
        ),
        (
            {"keys": {"trained": pair()[1] / 0, "other": pair(16)[1]}},
            "expected finite keys of 'trained', got inf or nan",
        ),
        (
            {"layers": {"trained": None, "other": None}},
            "expected queries of 'trained' as wide as a patch, 48, where .* got 64",
        ),
        ({"layers": {"other": None}}, r"layers for each of \['other', 'trained'\]"),
        (
            {"photo": photo()[:, :6], "layers": dict.fromkeys(["trained", "other"])},
            "expected square patches for layers, got 2 × 4",
        ),
        (
            {"layers": {"trained": {"query.weight": pair(48)[0]}, "other": None}},
            r"query\.weight \(64, 48\) in the layer of 'trained', got shape \(15, 48\)",
        ),
        (
            {"layers": {"trained": {}, "other": None}},
            r"query\.weight \(64, 48\) in the layer of 'trained', got NoneType",
        ),
        (
            {"layers": {"trained": layer(torch.nan), "other": None}},
            "expected a finite layer of 'trained', got inf or nan",
        ),
    ],
)
def test_explorer_refuses_what_does_not_fit(changes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        explorer(**changes)


@pytest.mark.parametrize("name", [*CASES, "at work"])
def test_figures_that_answer_need_no_default_device(name):
    make = CASES[name].make if name in CASES else fashion_at_work
    make()  # what it is made of is kept
    with torch.device("meta"):  # as unlike the CPU as a GPU is
        make()


# The plots.


def test_tokens_are_drawn_beside_the_photo():
    left, right = show_tokens(photo(), GRID).axes
    assert left.get_images()[0].get_array().shape == (12, 20, 3)
    assert right.get_title() == "15 patches of 4 × 4"
    assert [text.get_text() for text in right.texts] == ["0", "4", "10", "14"]


def test_attention_has_a_panel_a_query_and_one_colour_bar():
    weights = scores().softmax(-1)
    figure = show_attention(photo(), weights, GRID, [(0, 0), (2, 4)])
    first, second, bar = figure.axes
    assert (first.get_title(), second.get_title()) == ("query (0, 0)", "query (2, 4)")
    assert bar.get_xlabel() == "attention weight"
    top = weights[[0, 14]].max().item()
    assert bar.get_xlim() == pytest.approx((0, top))


def test_attention_draws_a_table_for_each_panel():
    even, weights = torch.full((15, 15), 1 / 15), scores().softmax(-1)
    figure = show_attention(photo(), [even, weights], GRID, [(0, 0)] * 2, ["a", "b"])
    first, second, bar = figure.axes
    assert bar.get_xlim()[1] == pytest.approx(max(1 / 15, weights[0].max().item()))
    alone, _ = show_attention(photo(), weights, GRID, [(0, 0)]).axes
    drawn = [ax.get_images()[0].get_array() for ax in (first, second, alone)]
    assert (drawn[1] == drawn[2]).all()
    assert (drawn[0] != drawn[1]).any()


def test_one_patch_is_drawn_beside_each_of_two_images():
    images = torch.stack([photo(), 1 - photo()])
    titles = ["one", "another", "this", "that"]
    figure = show_patch_twice(images, (2, 4), 4, titles)
    assert [ax.get_title() for ax in figure.axes] == titles
    drawn = [picture.float() for picture in pictures(figure)]
    for piece, whole in zip(drawn[:2], drawn[2:], strict=True):
        assert torch.equal(piece, whole[8:12, 16:20])
    torch.testing.assert_close(drawn[2], photo().permute(1, 2, 0))
    with pytest.raises(ValueError, match=r"two images \(2, C, H, W\) and 4 titles"):
        show_patch_twice(images[:1], (2, 4), 4, titles)
    with pytest.raises(ValueError, match=r"inside 3 × 5 patches, got \(3, 0\)"):
        show_patch_twice(images, (3, 0), 4, titles)


def test_attention_refuses_what_does_not_fit():
    weights = scores().softmax(-1)
    with pytest.raises(ValueError, match="table of weights a query, got 1 for 2"):
        show_attention(photo(), [weights], GRID, [(0, 0), (1, 1)])
    with pytest.raises(ValueError, match=r"expected weights \(15, 15\).*got shape"):
        show_attention(photo(), weights[:5], GRID, [(0, 0)])
    with pytest.raises(ValueError, match="one title a query, got 1 for 2 queries"):
        show_attention(photo(), weights, GRID, [(0, 0), (1, 1)], ["one"])
    with pytest.raises(ValueError, match=r"inside 3 × 5 patches, got \(0, 5\)"):
        show_attention(photo(), weights, GRID, [(0, 5)])


def pictures(figure):
    return [torch.from_numpy(ax.get_images()[0].get_array()) for ax in figure.axes]


def test_only_marked_patches_and_channels_keep_their_colour():
    image = photo()
    patches = torch.zeros(GRID, dtype=torch.bool)
    patches[1, 2] = True
    green = torch.zeros(image.shape, dtype=torch.bool)
    green[1, 3] = True
    by_patch, by_channel = pictures(show_parts(image, [patches, green], ["a", "b"]))
    colours = image.permute(1, 2, 0)  # (H, W, C)
    inside = torch.zeros(12, 20, dtype=torch.bool)
    inside[4:8, 8:12] = True
    assert torch.equal(by_patch[inside], colours[inside])
    outside = by_patch[~inside]
    assert torch.equal(outside, outside[:, :1].expand_as(outside))  # grey
    assert torch.equal(by_channel[3, :, 1], colours[3, :, 1])
    assert by_channel[3, :, [0, 2]].eq(0).all()


def test_a_pixel_is_circled_in_every_panel():
    figure = show_parts(photo(), [torch.ones(GRID) > 0] * 2, ["a", "b"], pixel=(7, 3))
    for ax in figure.axes:
        assert {(*line.get_xdata(), *line.get_ydata()) for line in ax.lines} == {(3, 7)}


def test_images_of_chapter_01_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="one title an image, got 1 for 2 images"):
        show_images([photo(), photo()], ["one"])
    with pytest.raises(ValueError, match=r"expected a mask .* got shape \(3, 5, 5\)"):
        show_parts(photo(), [torch.ones(3, 5, 5) > 0], ["a"])


def test_activations_are_drawn():
    figure = show_activations({"square": lambda x: x**2, "double": lambda x: 2 * x}, 3)
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.get_lines()] == ["square", "double"]
    square, double = axes.get_lines()
    assert square.get_ydata().tolist() == pytest.approx(
        (torch.linspace(-3, 3, 801) ** 2).tolist(), abs=1e-5
    )
    assert double.get_xdata().tolist() == pytest.approx(
        (double.get_ydata() / 2).tolist(), abs=1e-5
    )
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "value")


def test_activations_are_one_to_three():
    with pytest.raises(ValueError, match="expected 1 to 3 functions, got 0"):
        show_activations({})
