"""The list of references holds what is cited, and pages name the locked versions."""

import re

import pytest

from address import ROOT

BIB = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
KEYS = re.findall(r"^@\w+\{([^,\s]+),", BIB, re.M)
PAGES = [
    ROOT / "index.md",
    *sorted(
        p for f in ("book", "chapters", "solutions") for p in ROOT.glob(f"{f}/*.md")
    ),
]
ROLE = re.compile(r"\{(proof|cite(?::\w+)?)\}`([^`]+)`")
LOCKED = dict(
    re.findall(
        r"^([\w-]+)==([\d.]+)",
        (ROOT / "requirements.lock").read_text(encoding="utf-8"),
        re.M,
    )
)
PACKAGES = ("timm", "torchvision", "transformers", "torch", "PyTorch")


def cited(text: str) -> set[str]:
    """The keys that a page cites; marks that lead to a cell are none."""
    labels = set(re.findall(r"^\(([\w-]+)\)=$", text, re.M))
    keys = {key.strip() for _, keys in ROLE.findall(text) for key in keys.split(",")}
    return {key for key in keys if key not in labels and "/" not in key}


def named_versions(text: str) -> list[tuple[str, str]]:
    """(package, version) where a page names both, such as timm 1.0.31 or `x` (1.0)."""
    pattern = (
        rf"\b({'|'.join(PACKAGES)})(?:2016`|2019`|2020`|docs`)? \(?(\d+\.\d+\.\d+)"
    )
    return re.findall(pattern, text)


def test_keys_are_sorted_and_unique():
    assert sorted(set(KEYS)) == KEYS


def test_the_list_holds_what_is_cited_and_nothing_else():
    used = set().union(*(cited(p.read_text(encoding="utf-8")) for p in PAGES))
    assert used - set(KEYS) == set(), "cited, and not in references.bib"
    assert set(KEYS) - used == set(), "in references.bib, and never cited"


def test_a_planted_key_is_found():
    text = "(cell)=\nSee {cite:p}`one, two`, {proof}`three`, {proof}`cell`.\n"
    assert cited(text + "{proof}`/chapters/02_self_attention#cell`") == {
        *("one", "two", "three")
    }


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_versions_are_the_locked_ones(path):
    for package, version in named_versions(path.read_text(encoding="utf-8")):
        name = "torch" if package == "PyTorch" else package
        assert version == LOCKED[name], f"{package} {version}"


def test_a_version_is_seen():
    text = "timm 1.0.28, {cite:t}`torchvision2016` (0.28.0) and PyTorch 2.13.0"
    assert named_versions(text) == [
        ("timm", "1.0.28"),
        ("torchvision", "0.28.0"),
        ("PyTorch", "2.13.0"),
    ]
