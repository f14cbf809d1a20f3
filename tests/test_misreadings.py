"""The page "What the common explanations get wrong": every claim has all its parts."""

import re
from collections import Counter

import pytest
from bs4 import BeautifulSoup

from address import ROOT
from book import HTML
from plain_markdown import directive_name, parse, read_directive

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
