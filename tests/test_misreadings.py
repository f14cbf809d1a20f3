"""The page "What the common explanations get wrong": every claim has all its parts."""

import re
from collections import Counter

import pytest
from bs4 import BeautifulSoup

from address import ROOT
from book import HTML
from plain_markdown import directive_name, parse, read_directive
from specification import SIZES, flops, parameters_by_part

TEXT = (ROOT / "book" / "misreadings.md").read_text(encoding="utf-8")
VERDICTS = {
    "Right": "To add",
    "Imprecise": "Correction",
    "Wrong": "Correction",
    "Missing": "To add",
}


def claims():
    """(label, verdict, claim, class, paragraphs) of each block of the page."""
    found, label = [], None
    for token in parse(TEXT):
        if token.type == "myst_target":
            label = token.content
        elif directive_name(token) == "admonition":
            title, options, body = read_directive(token)
            verdict, claim = re.fullmatch(r"\*\*(\w+)\*\* (.+)", title).groups()
            paragraphs = body.split("\n\n")
            found.append((label, verdict, claim, options["class"], paragraphs))
            label = None
    return found


CLAIMS = claims()
CHAPTERS = sorted((ROOT / "chapters").glob("*.md"))


@pytest.mark.parametrize("claim", CLAIMS, ids=[str(c[0]) for c in CLAIMS])
def test_claim_has_verdict_correction_proof_and_chapter(claim):
    label, verdict, title, classes, paragraphs = claim
    assert re.fullmatch(r"claim-[a-z-]+", label)
    assert title[0].isupper() or title[0] == "$"
    assert classes == f"claim {verdict.lower()}"
    said, correction, proof, *elsewhere, chapter = paragraphs
    assert re.search(r"\barticle\b", said)
    assert correction.startswith(f"**{VERDICTS[verdict]}.** ")
    assert proof.startswith("**Proof.** ")
    assert re.search(r"\{(proof|cite:t)\}`", proof)
    for place in elsewhere:
        assert place.startswith("**Elsewhere.** ")
        assert "](https://" in place
        assert "{cite:p}`" in place
    named = re.fullmatch(r"\*\*Chapter\.\*\* (?:\{doc\}`/(chapters/\w+)`)", chapter)
    assert (ROOT / f"{named[1]}.md").exists()


def test_labels_are_unique():
    labels = [claim[0] for claim in CLAIMS]
    assert sorted(labels) == sorted(set(labels))


def test_the_table_counts_the_verdicts():
    rows = re.findall(r"^\| (\w+) \| [^|]+ \| (\d+) \|$", TEXT, re.M)
    counted = Counter(verdict for _, verdict, *_ in CLAIMS)
    assert {verdict: int(number) for verdict, number in rows} == counted
    assert counted.keys() == VERDICTS.keys()


def test_words_of_the_article_are_quoted_in_its_own_language():
    """English is our paraphrase, so it stands in no quotation marks."""
    assert not re.search("[“”]", TEXT)
    assert len(re.findall(r"\{ja\}`[^`]+`", TEXT)) > 25


def test_missing_is_said_to_be_about_the_text_alone():
    assert "could not see its figures" in TEXT
    assert "**Missing is a verdict about this text alone**" in TEXT


def test_the_numbers_of_a_base_model_are_those_of_the_specification():
    size = next(size for size in SIZES if size.name == "B/16")
    parts = parameters_by_part(size)
    said = re.search(r"blocks hold ([\d.]+) of ([\d.]+) million", TEXT)
    found = (parts["Blocks"], parts["All"])
    assert said.groups() == tuple(f"{count / 1e6:.1f}" for count in found)
    N, D = size.patches + 1, size.dim
    encoder = size.depth * (24 * N * D**2 + 4 * N**2 * D)
    said = re.search(r"([\d.]+) of the ([\d.]+) billion operations", TEXT)
    assert said.groups() == tuple(f"{n / 1e9:.1f}" for n in (encoder, flops(size)))


def test_nearly_every_claim_is_shown_in_a_cell():
    """What a word means or why authors chose a part is for sources alone."""
    unshown = {c[0] for c in CLAIMS if "{proof}`/chapters/" not in c[-1][2]}
    assert unshown == {"claim-covariate-shift", "claim-head", "claim-remnant"}


def test_the_built_page_says_each_verdict_in_words():
    html = (HTML / "book" / "misreadings.html").read_text(encoding="utf-8")
    blocks = BeautifulSoup(html, "html.parser").select(".admonition.claim")
    words = [
        block.select_one(".admonition-title strong").get_text() for block in blocks
    ]
    assert words == [verdict for _, verdict, *_ in CLAIMS]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_has_at_most_one_box_and_builds_the_right_thing_before(path):
    text = path.read_text(encoding="utf-8")
    boxes = [at.start() for at in re.finditer("What the common explanations", text)]
    parts = [at.start() for at in re.finditer(r"^:tags: \[part\]$", text, re.M)]
    assert len(boxes) <= 1
    assert all(box > max(parts) for box in boxes)
