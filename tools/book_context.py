"""What a page of the course refers to beyond itself: pages, labels, sources, terms."""

import re
from pathlib import Path

from pybtex.database import parse_file
from pybtex.richtext import Text
from sphinx.util.nodes import _make_id

from address import ROOT, Address
from plain_markdown import Context, directive_name, labels, parse, read_directive
from sources import Source, first_heading

REFERENCES = "book/references"
GLOSSARY = "book/glossary"


def make_context(sources: list[Source], address: Address) -> Context:
    """Look up everything once; an unknown name is a KeyError that says what it is."""
    texts = {source.docname: source.text for source in sources}
    for path in (ROOT / "book").glob("*.md"):
        texts[f"book/{path.stem}"] = path.read_text(encoding="utf-8")
    titles = {name: first_heading(text) for name, text in texts.items()}
    titles |= {
        exercise: titles[f"solutions/{Path(exercise).name}"]
        for exercise in exercise_pages(sources)
    }
    # The cells of the sources are parsed anyway, their texts as a whole are not.
    parts = {name: [text] for name, text in texts.items()}
    parts |= {source.docname: source.prose for source in sources}
    targets = {
        key: f"{address.page(name)}#{anchor(label)}"
        for name, prose in parts.items()
        for text in prose
        for label in labels(text)
        for key in (label, f"/{name}#{label}")
    }
    names = citation_names(ROOT / "book" / "references.bib")
    terms = {
        term.lower(): f"{address.page(GLOSSARY)}#term-{_make_id(term)}"
        for term in glossary_terms(texts.get(GLOSSARY, ""))
    }
    pages = {name: address.page(name) for name in {*texts, *exercise_pages(sources)}}
    return Context(
        page=lambda name: look_up(pages, name, "page"),
        title=lambda name: look_up(titles, name, "page"),
        target=lambda label: look_up(targets, label, "label"),
        citation=lambda key: (
            look_up(names, key, "source in book/references.bib, or label"),
            address.page(REFERENCES),
        ),
        term=lambda term: look_up(terms, term.lower(), "term of the glossary"),
    )


def look_up(table: dict[str, str], key: str, kind: str) -> str:
    """The entry; KeyError in words that an author understands."""
    if key not in table:
        raise KeyError(f"{key!r} is no known {kind}")
    return table[key]


def exercise_pages(sources: list[Source]) -> set[str]:
    """The pages that are made from exercises."""
    solutions = [s for s in sources if s.path.parent.name == "solutions"]
    return {f"exercises/{s.path.stem}" for s in solutions}


def anchor(label: str) -> str:
    """The id that Sphinx gives to a label."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def glossary_terms(text: str) -> list[str]:
    """The headwords of the glossary: the lines of its body that are not indented."""
    return [
        line.strip()
        for token in parse(text)
        if directive_name(token) == "glossary"
        for line in read_directive(token)[2].splitlines()
        if line and not line[0].isspace()
    ]


def citation_names(bibliography: Path) -> dict[str, str]:
    """Key → "Vaswani et al. (2017)"."""
    if not bibliography.exists():
        return {}
    names = {}
    for key, entry in parse_file(str(bibliography)).entries.items():
        people = [
            str(Text.from_latex(" ".join(person.last_names)))
            for person in entry.persons.get("author", [])
        ]
        if not people:
            author = str(Text.from_latex(entry.fields["title"]))
        elif len(people) > 2:
            author = f"{people[0]} et al."
        else:
            author = " and ".join(people)
        names[key] = f"{author} ({entry.fields.get('year', 'n.d.')})"
    return names
