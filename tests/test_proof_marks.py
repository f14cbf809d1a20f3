"""Where a mark {proof} leads: own page, another page, a source, or nowhere."""

from types import SimpleNamespace

import pytest

from book_extension import resolve_proof

PAGES = {
    "chapters/02": "(parity)=\n```python\n```\n\n(only-here)=\ntext\n",
    "chapters/03": "(parity)=\n```python\n```\n",
    "book/c": "text\n",
}


@pytest.fixture
def book(tmp_path):
    """A builder and an environment that know three pages and one source."""
    for docname, text in PAGES.items():
        path = tmp_path / f"{docname}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    source = SimpleNamespace(
        key="ba2016",
        bibliography_key=SimpleNamespace(docname="book/references"),
        citation_id="id1",
    )
    env = SimpleNamespace(
        found_docs=set(PAGES),
        doc2path=lambda docname: str(tmp_path / f"{docname}.md"),
        domains={"cite": SimpleNamespace(citations=[source])},
    )
    builder = SimpleNamespace(get_relative_uri=lambda _, docname: f"{docname}.html")
    return SimpleNamespace(builder=builder), env


def mark(book, target, page):
    """The address that a mark leads to and its text; None if it leads nowhere."""
    app, env = book
    node = {"reftype": "proof", "reftarget": target, "refdoc": page}
    made = resolve_proof(app, env, node, None)
    return made and (made[0]["refuri"], made.astext())


@pytest.mark.parametrize(
    ("target", "page", "address", "text"),
    [
        ("parity", "chapters/02", "#parity", "shown"),
        ("parity", "chapters/03", "#parity", "shown"),
        ("/chapters/02#parity", "book/c", "chapters/02.html#parity", "shown"),
        (
            "/chapters/03#parity",
            "chapters/02",
            "chapters/03.html#parity",
            "shown",
        ),
        ("/chapters/02#only-here", "chapters/02", "#only-here", "shown"),
        ("ba2016", "book/c", "book/references.html#id1", "source"),
    ],
)
def test_mark_leads_to_its_proof(book, target, page, address, text):
    assert mark(book, target, page) == (address, text)


@pytest.mark.parametrize(
    "target",
    ["parity", "nobody", "/chapters/02#ba2016", "/chapters/09#parity", "/book/c#x"],
)
def test_mark_without_a_proof_is_not_resolved(book, target):
    assert mark(book, target, "book/c") is None


def test_other_references_are_left_alone(book):
    app, env = book
    assert resolve_proof(app, env, {"reftype": "term"}, None) is None
