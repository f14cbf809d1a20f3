"""What notebooks show in place of MyST: one sample of each construct."""

import re

import nbformat
import pytest

from address import ROOT
from plain_markdown import (
    Context,
    MarkdownError,
    labels,
    number_equations,
    to_plain,
)

SITE = "https://site/"


def look_up(table):
    """A look-up that fails as the real ones do."""

    def get(key):
        if key not in table:
            raise KeyError(key)
        return table[key]

    return get


@pytest.fixture
def context():
    return Context(
        page=lambda name: f"{SITE}{name}.html",
        title=look_up({"book/notation": "Notation"}),
        target=look_up(
            {
                "elsewhere": f"{SITE}book/notation.html#elsewhere",
                "/chapters/02_a#my-cell": f"{SITE}chapters/02_a.html#my-cell",
            }
        ),
        citation=look_up(
            {
                "vaswani2017": ("Vaswani et al. (2017)", f"{SITE}refs.html"),
                "ba2016": ("Ba et al. (2016)", f"{SITE}refs.html"),
            }
        ),
        term=look_up({"token": f"{SITE}glossary.html#term-token"}),
        here={"my-cell"},
        equations={"eq-a": 1, "eq-b": 2},
    )


SAMPLES = {
    "text stays": ("a *b* `c` [d](https://e.org) $x_1$", None),
    "citation in parentheses": (
        "so {cite:p}`vaswani2017`.",
        "so ([Vaswani et al., 2017](https://site/refs.html)).",
    ),
    "citation in the text": (
        "{cite:t}`vaswani2017` say",
        "[Vaswani et al. (2017)](https://site/refs.html) say",
    ),
    "two citations": (
        "{cite:p}`vaswani2017,ba2016`",
        "([Vaswani et al., 2017](https://site/refs.html); "
        "[Ba et al., 2016](https://site/refs.html))",
    ),
    "page": (
        "see {doc}`/book/notation`",
        "see [Notation](https://site/book/notation.html)",
    ),
    "page with a text": (
        "see {doc}`names </book/notation>`",
        "see [names](https://site/book/notation.html)",
    ),
    "label of this page": ("{ref}`that <my-cell>`", "[that](#my-cell)"),
    "label of another page": (
        "{ref}`that <elsewhere>`",
        "[that](https://site/book/notation.html#elsewhere)",
    ),
    "term": ("a {term}`token`", "a [token](https://site/glossary.html#term-token)"),
    "term in other words": (
        "{term}`tokens <token>`",
        "[tokens](https://site/glossary.html#term-token)",
    ),
    "equation's number": ("by {eq}`eq-b`", "by (2)"),
    "proof in a cell": (
        "True. {proof}`my-cell`",
        "True. <sup>[shown](#my-cell)</sup>",
    ),
    "proof in a cell of another page": (
        "True. {proof}`/chapters/02_a#my-cell`",
        "True. <sup>[shown](https://site/chapters/02_a.html#my-cell)</sup>",
    ),
    "proof in a source": (
        "True. {proof}`ba2016`",
        "True. <sup>[source](https://site/refs.html)</sup>",
    ),
    "Japanese": ("{ja}`自己注意`", "自己注意"),
    "role quoted as code stays": ("`` {cite:p}`x` ``", None),
    "role over a line's end": (
        "a {ref}`long\ntext <my-cell>` b",
        "a [long text](#my-cell) b",
    ),
    "label": ("(my-cell)=\ntext", '<a id="my-cell" name="my-cell"></a>\n\ntext'),
    "comment": ("a\n\n% secret\n\nb", "a\n\n\nb"),
    "equation": ("$$\na = b\n$$", None),
    "labelled equation": ("$$\na = b\n$$ (eq-a)", "$$\na = b \\tag{1}\n$$"),
    "equation as a directive": (
        "```{math}\n:label: eq-a\na = b\n```",
        "$$\na = b \\tag{1}\n$$",
    ),
    "admonition": (
        ":::{note}\nMind {ref}`it <my-cell>`.\n:::",
        "> **Note**\n>\n> Mind [it](#my-cell).",
    ),
    "admonition with a title": (
        ":::{admonition} Wrong $x$\n:class: important\nBody\n:::",
        "> **Wrong $x$**\n>\n> Body",
    ),
    "admonition in a list": (
        "- item\n\n  ```{tip}\n  Body\n  ```",
        "- item\n\n  > **Tip**\n  >\n  > Body",
    ),
    "nested": (
        "::::{note}\n:::{dropdown} More\nBody\n:::\n::::",
        "> **Note**\n>\n> <details><summary>More</summary>\n>\n> Body\n>\n> </details>",
    ),
    "dropdown": (
        "```{dropdown} Hint 1\nThink.\n```",
        "<details><summary>Hint 1</summary>\n\nThink.\n\n</details>",
    ),
    "figure": (
        "```{figure} https://e.org/a.png\n:alt: A cat\nThe *cat*\n```",
        "![A cat](https://e.org/a.png)\n\n**Figure.** The *cat*",
    ),
    "code": ("```{code-block} python\nx = 1\n```", "```python\nx = 1\n```"),
    "plain code stays": ("```python\n# {cite:p}`x`\n```", None),
    "row of a table": (
        "| a | b | c |\n|---|---|---|\n| $x$ | {term}`token` | {eq}`eq-a` |",
        "| a | b | c |\n|---|---|---|\n"
        "| $x$ | [token](https://site/glossary.html#term-token) | (1) |",
    ),
    "table": (
        "| a | b |\n|---|---|\n| {term}`token` | $x$ |",
        "| a | b |\n|---|---|\n"
        "| [token](https://site/glossary.html#term-token) | $x$ |",
    ),
}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
def test_sample(sample, context):
    text, plain = sample
    assert to_plain(text, context) == (text if plain is None else plain)


REFUSED = {
    "unknown directive": "```{glossary}\na\n  b\n```",
    "unknown role": "{abbr}`x`",
    "image without text": "![](https://e.org/a.png)",
    "figure without text": "```{figure} a.png\n```",
    "link that leads nowhere": "[x](../book/notation.md)",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_refused(text, context):
    with pytest.raises(MarkdownError):
        to_plain(text, context)


UNKNOWN = ["{cite:p}`nobody`", "{term}`nothing`", "{ref}`a <b>`", "{eq}`eq-z`"]


UNPROVEN = ["{proof}`nothing`", "{proof}`/chapters/02_a#other`", "{proof}`elsewhere`"]


@pytest.mark.parametrize("text", [*UNKNOWN, *UNPROVEN])
def test_unknown_names_are_errors(text, context):
    with pytest.raises(KeyError):
        to_plain(text, context)


def test_no_role_is_left_in_any_notebook():
    for path in [*ROOT.glob("*/0*.ipynb")]:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                assert not re.search(r"\{[\w:]+\}`", cell.source), cell.source


def test_labels_and_numbers():
    texts = ["(one)=\n# A\n\n$$\nx\n$$ (eq-1)", "```{math}\n:label: eq-2\ny\n```"]
    assert labels(texts[0]) == {"one", "eq-1"}
    assert number_equations(texts) == {"eq-1": 1, "eq-2": 2}
