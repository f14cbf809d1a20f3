"""The glossary: every term once, each with its Japanese name, none missing."""

import re

import pytest

from address import ROOT
from book_context import glossary_terms
from plain_markdown import directive_name, parse, read_directive

TEXT = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
TERMS = glossary_terms(TEXT)
FOLDERS = ["book", "chapters", "solutions"]
PAGES = [ROOT / "index.md", *sorted(p for f in FOLDERS for p in ROOT.glob(f"{f}/*.md"))]


def entries():
    """(terms, definition) of each entry; the definition as a list of lines."""
    (glossary,) = (t for t in parse(TEXT) if directive_name(t) == "glossary")
    found = []
    for line in filter(str.strip, read_directive(glossary)[2].splitlines()):
        if line[0].isspace():
            found[-1][1].append(line.strip())
        elif found and not found[-1][1]:
            found[-1][0].append(line)
        else:
            found.append(([line], []))
    return found


def used_terms(text):
    """The glossary keys that a page refers to, such as query in {term}`ask <query>`."""
    for content in re.findall(r"\{term\}`([^`]+)`", text):
        match = re.fullmatch(r".*<([^<>]+)>", content, re.DOTALL)
        yield " ".join((match[1] if match else content).split())


def test_no_term_twice():
    names = [term.lower() for term in TERMS]
    assert len(names) > 60
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    ("terms", "definition"), [pytest.param(*e, id=e[0][0]) for e in entries()]
)
def test_entry_is_a_definition_and_a_japanese_line(terms, definition):
    *meaning, japanese = definition
    assert " ".join(meaning).endswith("."), f"{terms}: the definition is no sentence"
    names = re.fullmatch(r"Japanese: (\{ja\}`[^`]+`( / (?=\{))?)+", japanese)
    assert names, f"{terms}: expected a last line Japanese: {{ja}}`…`, got {japanese!r}"
    for name in re.findall(r"`([^`]+)`", japanese):
        assert re.search(r"[぀-ヿ一-鿿]", name), f"{terms}: {name!r} is not Japanese"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_term_that_a_page_uses_is_there(path):
    known = {term.lower() for term in TERMS}
    used = used_terms(path.read_text(encoding="utf-8"))
    missing = {term for term in used if term.lower() not in known}
    assert not missing, f"{path.name}: add {sorted(missing)} to book/glossary.md"
