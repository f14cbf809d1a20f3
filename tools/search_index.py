"""What the search finds: Pagefind's index of the built pages.

Pagefind leads to a heading if the heading has an id, which Sphinx gives to its section.
A formula stands in a page twice, for the eye and for a screen reader; in the index it
is plain text, as a reader would type it: W_O, d_k.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

FORMULA = re.compile(r"<math\b.*?</math>", re.DOTALL)
SECTION = re.compile(
    r'<section id="([^"]+)">((?:\s*<span[^>]* id="[^"]*"></span>)*\s*)<(h[1-6])>'
)
SIGNS = {
    "msub": "{}_{}",
    "msup": "{}^{}",
    "msubsup": "{}_{}^{}",
    "munderover": "{}_{}^{}",
    "mfrac": "{}/{}",
}
UNSEEN = dict.fromkeys(range(0x2061, 0x2065))  # operators that are not drawn
SPACED = {"mtd", "mtr", "mspace"}  # cells and what stands apart
LEFT_OUT = (".headerlink", ".katex-html", ".launch", ".leads-nowhere", ".colophon")
OPTIONS = (
    "--root-selector=#furo-main-content",
    f"--exclude-selectors={','.join(LEFT_OUT)}",
    "--include-characters=_",
    "--force-language=en",
    "--keep-index-url",
)
NO_TEXT = {"404", "genindex", "search"}
# Where a word means the same in several places, what teaches it comes first.
TEACHING, NOTES = 3, 0.5
TERM = 10  # bold: where a chapter says what a word means
BEGINNING = 4  # letters; Pagefind itself is content with the first one
WORD = re.compile(rf"[^\W\d]{{{BEGINNING},}}")


def write_index(html: Path) -> None:
    """Write the index of all pages below a folder into its folder `pagefind`.

    Pagefind runs as a command: its service may be ended before all is on the disk
    (https://github.com/Pagefind/pagefind/pull/1272).
    """
    known: set[str] = set()
    with TemporaryDirectory() as site:
        for path in sorted(html.rglob("*.html")):
            page = path.relative_to(html)
            if path.stem in NO_TEXT or "_static" in page.parts:
                continue
            text = searchable(path.read_text(encoding="utf-8"), page.as_posix())
            known |= beginnings(text)
            copy = Path(site, page)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "pagefind", f"--site={site}", *OPTIONS]
        command += [f"--output-path={html / 'pagefind'}", "--silent"]
        subprocess.run(command, check=True)
    path = html / "pagefind" / "beginnings.json"
    path.write_text(json.dumps(sorted(known), separators=(",", ":")), encoding="utf-8")


def beginnings(page: str) -> set[str]:
    """How the words of a page begin: a word that begins otherwise is not in the course.

    The parts of a name such as split_heads begin words, too.
    """
    words = WORD.findall(re.sub(r"<[^>]*>", " ", page).lower())
    parts = [part for word in words for part in (word, *word.split("_"))]
    return {part[:BEGINNING] for part in parts if len(part) >= BEGINNING}


def searchable(page: str, name: str) -> str:
    """A page as Pagefind reads it best. name: its path, which tells what it is for."""
    page = FORMULA.sub(lambda found: typed(ElementTree.fromstring(found[0])), page)
    page = SECTION.sub(r'<section>\2<\3 id="\1">', page)
    weight = TEACHING if name.startswith("chapters/") else NOTES
    if weight == TEACHING:
        page = page.replace("<strong>", f'<strong data-pagefind-weight="{TERM}">')
    body = '<article id="furo-main-content"'
    return page.replace(body, f'{body} data-pagefind-weight="{weight}"', 1)


def typed(formula: ElementTree.Element) -> str:
    """MathML as somebody would type it, such as softmax(QK^⊤/√(d_k))V."""
    name = formula.tag.rpartition("}")[2]
    if name == "annotation":
        return ""
    parts = [typed(child) for child in formula]
    if name in SIGNS and len(parts) == SIGNS[name].count("{}"):
        return SIGNS[name].format(*parts)
    text = "".join([formula.text or "", *parts]).translate(UNSEEN).strip()
    if name in SPACED:
        return f"{text} "
    return f"√({text})" if name == "msqrt" else text
