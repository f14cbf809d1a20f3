"""What cells show: no printed columns, which break on a phone; no wide pictures."""

import re
from base64 import b64decode
from io import BytesIO

import nbformat
import pytest
from matplotlib import rc_params_from_file
from PIL import Image

from address import ROOT

NOTEBOOKS = [
    path
    for folder in ("chapters", "solutions")
    for path in sorted((ROOT / folder).glob("*.ipynb"))
]
STYLE = ROOT / "src" / "vit_encoder" / "figures" / "course.mplstyle"
CODE = re.compile(r"[-+ ] {3}|tensor\(| *\[")  # a line of a diff or of a tensor


def in_columns(text):
    """Whether three lines have words under each other, with padding between them."""
    lines = [line for line in text.splitlines() if line.strip()]
    return any(
        has_gap(lines[i : i + 3])
        for i in range(len(lines) - 2)
        if not any(map(CODE.match, lines[i : i + 3]))
    )


def has_gap(lines):
    """Whether behind their first words all lines have a space in one place.

    In one line at least two must stand there: else it is a place between two words.
    """
    inner = [[*re.finditer(r"(?<=\S) +(?=\S)", line)] for line in lines]
    places = [{at for gap in gaps for at in range(*gap.span())} for gaps in inner]
    wide = {
        at
        for gaps in inner
        for gap in gaps
        if gap.end() - gap.start() > 1
        for at in range(*gap.span())
    }
    return bool(wide & set.intersection(*places))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("base         82.4%\nno positions 80.6%\nmean         80.9%\n", True),
        ("blocks     2   24\nbase   82.5% 79.6%\nmean   79.9% 77.0%\n", True),
        ("  4 draws: 0.1\n 20 draws: 0.0\n200 draws: 0.0\n", False),
        ("base  1\nmean  2\n", False),  # two lines
        ("step 0: loss 2.3\nstep 20: loss 0.9\nstep 40: loss 0.1\n", False),
        ("tensor([[ 0,  1],\n        [ 2,  3],\n        [ 4,  5]])\n", False),
        ("[[0.   0.5 ]\n [0.25 1.  ]\n [0.5  0.  ]]\n", False),
        ("     x = 1\n-    y  = 2\n+    z  = 2\n", False),
        ("one of them\ntwo of them\nsix of them\n", False),
        ("ends  here\nnot  here though\nbut this  is later\n", False),
    ],
)
def test_columns_are_told_from_other_lines(text, expected):
    assert in_columns(text) == expected


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_printed_in_columns(path):
    """A `Table` shows numbers and words in columns."""
    printed = [
        output.text
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and in_columns(output.text)
    ]
    assert not printed, "\n".join(printed)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_word_is_padded_to_a_width(path):
    """That makes columns, even of two lines."""
    cells = nbformat.read(path, as_version=4).cells
    lines = [
        line for c in cells if c.cell_type == "code" for line in c.source.split("\n")
    ]
    padded = re.compile(r"""print\(f["'].*\{[^{}]*:[<>^]?\d+[sd]?\}""")
    assert [line for line in lines if padded.search(line)] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_pictures_are_as_narrow_as_the_course_s_style(path):
    """Else their text is too small on a phone."""
    style = rc_params_from_file(STYLE, use_default_template=False)
    margin = 0.2  # inches: Jupyter cuts a picture out with 0.1 at each side
    most = (style["figure.figsize"][0] + margin) * style["figure.dpi"]
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            picture = output.get("data", {}).get("image/png")
            if picture:
                width, _ = Image.open(BytesIO(b64decode(picture))).size
                assert width <= most, cell.source.split("\n")[0]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_prints_a_diff_prints_nothing_else(path):
    """A page colours an output that is a diff."""
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            lines = output.get("text", "").splitlines()
            if any(re.match("[-+] {3}", line) for line in lines):
                others = [line for line in lines if not re.match("$|[-+ ]", line)]
                assert others == []


def test_no_text_of_a_picture_is_small():
    """Ten points of a picture 5.2 inches wide are eight pixels on a phone."""
    sources = [*STYLE.parent.rglob("*.py"), *(ROOT / "chapters").glob("*.md")]
    sources += (ROOT / "solutions").glob("*.md")
    small = re.compile(r"\b(?:font)?size=([0-9](?:\.\d+)?)(?=[,)])")
    found = [(p.name, m[0]) for p in sources for m in small.finditer(p.read_text())]
    assert found == []
