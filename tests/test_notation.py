"""One notation and one spelling in everything that a reader sees."""

import ast
import re

import pytest

from address import ROOT

PAGES = sorted(
    [
        *(ROOT / "chapters").glob("*.md"),
        *(ROOT / "solutions").glob("*.md"),
        *(ROOT / "book").glob("*.md"),
        *(ROOT / name for name in ("index.md", "README.md", "CONTRIBUTING.md")),
    ]
)
MODULES = sorted((ROOT / "src").rglob("*.py"))

N_PLUS_ONE = r"\bN ?\+ ?1\b"
# A size of a shape: (B, K), (N, K), (K,). The three letters Q, K, V are matrices.
SIZE = r"[\w·.²+ ]+"
K_IN_A_SHAPE = rf"\((?:{SIZE}, )*K(?:, {SIZE})*,?\)"
K_CLASSES = r"\bK classes|num_classes: K\b|\\ln K\b|\\mathbb\{R\}\^K|/K\b"
# W alone is the width of an image and stands beside its height H; matrices of weights
# have an index: W_Q, W_1.
BARE_W = r"(?<![\w\\{])W(?!'?\w)|\\mathbf\{W\}(?!_)"
H_BESIDE_W = r"(?<![A-Za-z\\])H(?![a-z_])"
# m is what an MLP adds to the stream, bold and with its block; M is its hidden width.
BARE_M = r"(?<![\w\\{])m(?![\w}])|\{m\}(?!_\\ell)"
FORMULA = r"\$\$.*?\$\$|\$[^$\n]+\$"
W_IN_A_PRODUCT = r"@ W\b|\bW @|\bW\.T\b"
NOT_OXFORD = (
    r"\w*(?:normal|recogn|optim|initial|random|standard)is"
    r"(?:e|ed|es|er|ers|ing|ation|ations)\b"
)
AMERICAN = r"\b(?:colou?r(?<!colour)|center|gray)(?:s|ed|ing|ful)?\b"


def notation_faults(text: str) -> list[str]:
    """Where a size is written as the course does not write it."""
    shapes = [shape[0] for shape in re.finditer(K_IN_A_SHAPE, text)]
    return [
        *re.findall(N_PLUS_ONE, text),
        *(shape for shape in shapes if not re.search(r"\b[QV]\b", shape)),
        *re.findall(K_CLASSES, text),
    ]


def m_faults(page: str) -> list[str]:
    """Formulas of a page in which m is something else than what an MLP adds."""
    formulas = re.findall(FORMULA, prose_of(page), re.S)
    return [formula for formula in formulas if re.search(BARE_M, formula)]


def matrix_faults(page: str) -> list[str]:
    """Lines of a page in which W alone seems to be a matrix of weights."""
    lines = [line for line in prose_of(page).splitlines() if re.search(BARE_W, line)]
    return [line for line in lines if not re.search(H_BESIDE_W, line)] + re.findall(
        W_IN_A_PRODUCT, page
    )


def spelling_faults(prose: str) -> list[str]:
    """Words that Oxford English spells in another way."""
    prose = re.sub(r"https?://\S+", "", prose)
    return [
        word[0]
        for pattern in (NOT_OXFORD, AMERICAN)
        for word in re.finditer(pattern, prose, re.I)
    ]


def prose_of(page: str) -> str:
    """A page without cells, listings, code in a line and HTML."""
    page = re.sub(r"^(`{3,})(?:\{code-cell\}|\w).*?^\1$", "", page, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`|<[^>\n]*>", "", page)


def docstrings(source: str) -> str:
    """All docstrings of a module, without the code in them."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    found = [
        ast.get_docstring(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, kinds)
    ]
    return re.sub(r"`[^`]*`", "", "\n".join(filter(None, found)))


def named(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [*PAGES, *MODULES], ids=named)
def test_sizes_are_written_as_the_course_writes_them(path):
    assert notation_faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_a_matrix_of_weights_has_an_index(path):
    assert matrix_faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_m_is_what_an_mlp_adds(path):
    assert m_faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("formula", ["$m = 4$", r"$$\n\mathbf{m} + x\n$$", r"$x^m$"])
def test_a_planted_m_is_found(formula):
    assert m_faults(f"Let {formula} be.\n") == [formula]
    assert m_faults(r"Add $\mathbf{m}_\ell$, in $\mathrm{mean}$ or \text{mm}.") == []


@pytest.mark.parametrize("path", [*PAGES, *MODULES], ids=named)
def test_spelling_is_oxford(path):
    text = path.read_text(encoding="utf-8")
    prose = docstrings(text) if path.suffix == ".py" else prose_of(text)
    assert spelling_faults(prose) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("tokens (B, N + 1, D)", "N + 1"),
        ("an image of N+1 tokens", "N+1"),
        ("return self.head(x)  # (B, K)", "(B, K)"),
        ("the bias (K,)", "(K,)"),
        ("weights (K, D_h)", "(K, D_h)"),
        ("num_classes: K.", "num_classes: K"),
        (r"a loss of $\ln K$", r"\ln K"),
    ],
)
def test_a_planted_fault_of_notation_is_found(text, fault):
    assert notation_faults(text) == [fault]


@pytest.mark.parametrize(
    "text",
    [
        "n + 1 tokens",
        "(B, N, D)",
        "(Q, K, V)",
        "a matrix K of keys",
        "ln J",
        "(L + 1, B)",
    ],
)
def test_right_notation_is_no_fault(text):
    assert notation_faults(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "$x W + b$",
        r"$W^\top$ as `weight`",
        r"+ A'(X + AXW_{VO})\,W' \\",
        r"$\mathbf{W}\mathbf{x}$",
        "the matrix $W$",
        "```python\ny = x @ W\n```\n",
    ],
)
def test_a_planted_matrix_without_an_index_is_found(text):
    assert len(matrix_faults(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        r"$H \times W$ pixels",
        r"n = \frac{H}{P} \cdot \frac{W}{P} = \frac{HW}{P^2}.",
        "the remainders of $H$ and $W$",
        r"$W_Q$, $W'_{VO}$, $\mathbf{W}_0$ and $\mathbf{W}_{qkv}$",
        "```python\nx = x.unflatten(3, (W // P, P))\n```\n",
    ],
)
def test_the_width_of_an_image_is_no_matrix(text):
    assert matrix_faults(text) == []


@pytest.mark.parametrize(
    "word",
    [
        "normalise",
        "Recognises",
        "initialisation",
        "optimiser",
        "color",
        "centers",
        "gray",
    ],
)
def test_a_planted_misspelling_is_found(word):
    page = f"Text with {word}.\n\n```{{code-cell}} ipython3\nplot(color=1)\n```\n"
    assert spelling_faults(prose_of(page)) == [word]
    module = f'def f():\n    """It is {word}."""\n    return {{"color": 1}}\n'
    assert spelling_faults(docstrings(module)) == [word]


def test_right_words_and_code_are_no_misspellings():
    page = "Optimism, a colour, the centre, grey, normalize, `color`, a basis.\n"
    assert spelling_faults(prose_of(page)) == []
