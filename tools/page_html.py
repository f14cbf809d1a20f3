"""Mend and lighten the HTML that Sphinx and its extensions write.

Each rule says where it must find what it looks for. If a new version of a tool writes
something else, the build stops and names the rule.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from html import unescape
from pathlib import Path

from PIL import Image
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

import still


@dataclass(frozen=True)
class Site:
    """The folder of the built book's static files, and its pictures: name → file."""

    static: Path
    pictures: dict[str, Path] = field(default_factory=dict, hash=False)


# From a page's HTML to what it becomes, and in how many places it changed.
Change = Callable[[Site, str], tuple[str, int]]


@dataclass(frozen=True)
class Rule:
    """A change of the pages, by a name that says who writes what it mends.

    everywhere: each page must hold what it looks for; else some page of the book must.
    """

    name: str
    change: Change
    everywhere: bool = False


def finish(
    site: Site, pages: list[Path], rules: list[Rule], *, whole: bool
) -> list[str]:
    """Apply the rules to pages; a line for each rule that finds nothing where it must.

    whole: these are all pages of the book, so that each rule must find something.
    """
    faults, found = [], Counter()
    for page in pages:
        html = page.read_text(encoding="utf-8")
        for rule in rules:
            html, times = rule.change(site, html)
            found[rule] += times
            if rule.everywhere and not times:
                faults.append(f"{page.name} has nothing for the rule `{rule.name}`")
        page.write_text(html, encoding="utf-8")
    idle = [rule for rule in rules if whole and not rule.everywhere and not found[rule]]
    return faults + [f"no page has anything for the rule `{r.name}`" for r in idle]


def swap(old: str, new: str) -> Change:
    """Put one text in the place of another."""
    return lambda _, html: (html.replace(old, new), html.count(old))


def sub(pattern: str, new: str) -> Change:
    """Put a text in the place of what a regular expression finds."""
    compiled = re.compile(pattern, re.DOTALL)
    return lambda _, html: compiled.subn(new, html)


def size_pictures(site: Site, html: str) -> tuple[str, int]:
    """Give every picture of the book its width and height in pixels."""
    changed = []

    def sized(match: re.Match) -> str:
        path = site.pictures.get(match[2].strip('"').rsplit("/", 1)[-1])
        if "width=" in match[0] or not path or path.suffix not in (".png", ".jpg"):
            return match[0]
        with Image.open(path) as image:
            width, height = image.size
        changed.append(path)
        size = f'width="{width}" height="{height}" loading="lazy"'
        return f"{match[1]} {size} src={match[2]}{match[3]}"

    html = re.sub(r'(<img\b[^>]*?) src=("[^"]+")([^>]*>)', sized, html)
    return html, len(changed)


FOLDED_PROOF = re.compile(
    r'(<div class="cell [^"]*tag_hide-input[^"]*" id="(?!id\d)[^"]*">\s*<details[^>]*>'
    r'\s*<summary>\s*<span class="collapsed[^>]*>)[^<]*'
    r'(</span>(?:(?!</details>).)*</details>\s*<div class="cell_output)'
    r'([^>]*>\s*<div class="output stream[^>]*><div class="highlight">'
    r"<pre[^>]*><span></span>)([^\n<]+)(\n</pre></div>\s*</div>\s*</div>\s*</div>)",
    re.DOTALL,
)


def name_proofs(_: Site, html: str) -> tuple[str, int]:
    """Where a folded cell with a label asserts, say on its fold the line it prints.

    The line itself is hidden as long as the cell is folded.
    """
    changed = []

    def named(match: re.Match) -> str:
        start, code, middle, line, end = match.groups()
        if "assert" not in code:
            return match[0]
        changed.append(line)
        said = line.removeprefix("proof: ")
        return f"{start}Proof: {said}{code} proof-line{middle}{line}{end}"

    return FOLDED_PROOF.sub(named, html), len(changed)


FIGURE = re.compile(
    r'<figure class="align-default"[^>]*>\n((?:(?!</figure>).)*?)<figcaption>\n'
    r'<p><span class="caption-text">((?:(?!</figure>).)*?)</figcaption>\n</figure>',
    re.DOTALL,
)


def caption_plots(_: Site, html: str) -> tuple[str, int]:
    """Where a cell shows a table beside its plot, leave the caption to the plot."""
    plots = {said(figure) for figure in FIGURE.finditer(html) if "<img" in figure[1]}
    changed = []

    def alone(figure: re.Match) -> str:
        if "<img" in figure[1] or said(figure) not in plots:
            return figure[0]
        changed.append(figure)
        return figure[1]

    return FIGURE.sub(alone, html), len(changed)


def said(figure: re.Match) -> str:
    """The caption of a figure, without the link to itself."""
    return figure[2].split('<a class="headerlink"')[0]


MATH = '<span class="math">'
SHORT = 30  # characters of TeX: what fits on a line of a phone


def glue_formulas(_: Site, html: str) -> tuple[str, int]:
    """Keep a short formula on one line with the comma, or the like, that touches it.

    A browser may begin a new line on either side of a formula.
    """
    pieces, done = [], 0
    while (start := html.find(MATH, done)) >= 0:
        end = end_of_span(html, start)
        before = re.search(r"[^\s<>]*$", html[done:start])[0]
        after = re.match(r"[^\s<>]*", html[end:])[0]
        tex = re.search(r"<annotation[^>]*>([^<]*)<", html[start:end])
        pieces.append(html[done : start - len(before)])
        formula = before + html[start:end] + after
        if (before or after) and tex and len(tex[1]) <= SHORT:
            formula = f'<span class="glued">{formula}</span>'
        pieces.append(formula)
        done = end + len(after)
    glued = sum(piece.startswith('<span class="glued">') for piece in pieces)
    return "".join(pieces) + html[done:], glued


def end_of_span(html: str, start: int) -> int:
    """Where the <span> that begins at `start` is over."""
    depth = 0
    for tag in re.compile(r"<(/?)span\b[^>]*>").finditer(html, start):
        depth += -1 if tag[1] else 1
        if not depth:
            return tag.end()
    raise ValueError(f"a <span> has no end: {html[start : start + 80]}")


PRINTED_CODE = re.compile(
    r'(<div class="output (?:stream|text_plain)) highlight-myst-ansi( notranslate">'
    r'<div class="highlight"><pre[^>]*>)<span></span>'
    r"((?:def|class) \w+[(:][^<]*)(</pre>)"
)


def colour_code(_: Site, html: str) -> tuple[str, int]:
    """Show Python that a cell prints as code: coloured, and its lines not wrapped."""

    def coloured(match: re.Match) -> str:
        before, after, code, end = match.groups()
        shown = highlight(unescape(code), PythonLexer(), HtmlFormatter(nowrap=True))
        return f"{before} highlight-python{after}<span></span>{shown}{end}"

    return PRINTED_CODE.subn(coloured, html)


PRINTED_TENSOR = re.compile(
    r'(<div class="output (?:stream|text_plain))( highlight-myst-ansi notranslate">'
    r'<div class="highlight"><pre[^>]*><span></span>(?:tensor\(|\[)\[.*\n)'
)


def line_up(_: Site, html: str) -> tuple[str, int]:
    """Keep the rows of a tensor that a cell prints, in which places are counted."""
    return PRINTED_TENSOR.subn(r"\1 lined-up\2", html)


# What is no text of a page, or must stay as it is; then all other tags.
NO_TEXT = re.compile(
    r"(<(pre|code|script|style|svg|math|title|textarea)\b.*?</\2>|<[^>]+>)", re.DOTALL
)
THOUSANDS = re.compile(r"(?<![\d.,] )(?<![\d.,])(\d{1,3})((?: \d{3})+)(?!\d)")


BESIDE_NUMBERS = re.compile(r"(?<=\d) (?=%)|(?<=\d) × (?=\d)")


def join_numbers(_: Site, html: str) -> tuple[str, int]:
    """Keep 50 000, 28 × 28 and 22 % on one line."""
    pieces, changed, done = [], 0, 0

    def join(text: str) -> str:
        nonlocal changed
        text, times = THOUSANDS.subn(lambda m: m[0].replace(" ", "\u00a0"), text)
        changed += times
        text, times = BESIDE_NUMBERS.subn(lambda m: m[0].replace(" ", "\u00a0"), text)
        changed += times
        return text

    for skipped in NO_TEXT.finditer(html):
        pieces += [join(html[done : skipped.start()]), skipped[0]]
        done = skipped.end()
    return "".join([*pieces, join(html[done:])]), changed


STYLE_LINK = re.compile(
    r'\s*<link rel="stylesheet"[^>]*href="([^"]*_static/)([^"?]+\.css)[^"]*"[^>]*>'
)


def join_styles(site: Site, html: str) -> tuple[str, int]:
    """Link one style sheet in place of many: the first paint waits for each of them."""
    links = list(STYLE_LINK.finditer(html))
    if not links:
        return html, 0
    names = tuple(dict.fromkeys(link[2] for link in links))
    joined = joined_styles(site.static, names)
    tag = f'\n    <link rel="stylesheet" href="{links[0][1]}{joined}">'
    start = links[0].start()
    return html[:start] + tag + STYLE_LINK.sub("", html[start:]), len(links)


CODE_WORD = re.compile(r'<span class="pre">([^<]+)</span>')
OPTION = re.compile(r"--?\w[\w-]*")


def break_code(_: Site, html: str) -> tuple[str, int]:
    """Keep an option of a command whole; a long name ends a line after . / _ or =."""

    def broken(match: re.Match) -> str:
        word = match[1]
        if OPTION.fullmatch(word):
            return f'<span class="pre option">{word}</span>'
        if len(word) < 16 or "&" in word:
            return match[0]
        return f'<span class="pre">{re.sub("(?<=[./_=])(?=.)", "<wbr>", word)}</span>'

    return CODE_WORD.subn(broken, html)


PROOF_MARK = re.compile(r'(?<=\S) +(<span class="proof">)')


def glue_proofs(_: Site, html: str) -> tuple[str, int]:
    """A mark stays beside the claim's last word, and close to a comma behind it."""
    html, count = PROOF_MARK.subn("\N{NO-BREAK SPACE}\\1", html)
    return re.sub(
        r'(<span class="proof">(?:(?!</span>).)*</span>) (?=[,;:])', r"\1", html
    ), count


WIDGET_STATE = re.compile(
    r'<script type="application/vnd\.jupyter\.widget-state\+json">(.*?)</script>',
    re.DOTALL,
)
WIDGET_VIEW = re.compile(
    r'<script type="application/vnd\.jupyter\.widget-view\+json">(.*?)</script>',
    re.DOTALL,
)
WIDGET_LOADER = re.compile(r'<script([^>]*src="([^"]*_static/)widgets\.js)')


def still_figures(site: Site, html: str) -> tuple[str, int]:
    """Show each interactive figure as it starts; load its own data when it is seen.

    One that has no style in its state is styled and shown by the page itself. The data
    are a script and not a JSON file, so that they load in a book opened from the disk.
    """
    found, loader = WIDGET_STATE.search(html), WIDGET_LOADER.search(html)
    if not found or not loader:
        return html, 0
    data = json.loads(found[1])
    figures = {
        id: entry["state"]
        for id, entry in data["state"].items()
        if entry["model_module"] == "anywidget" and "_css" in entry["state"]
    }
    for state in figures.values():
        still.pictures_to_files(state, site.static, loader[2])
        if state.get("file"):  # what a figure loads when it needs it
            state["weights"] = loader[2] + state["file"]
        # Tables of which a page loads at first what is shown: name → who says what is.
        for table, shown in state.get("later", {}).items():
            for name, text in state[table].items():
                if text and name != state.get(shown):
                    state[table][name] = loader[2] + write_part(site, text)
    stills = still.draw(figures)
    styles = dict.fromkeys(state.pop("_css") for state in figures.values())

    def shown(match: re.Match) -> str:
        id = json.loads(match[1])["model_id"]
        drawn, view = stills.get(id), match[0]
        if id in data["state"]:
            name = write_widget_state(site, data | {"state": {id: data["state"][id]}})
            tag = f'<script data-state="{loader[2]}{name}"'
            view = view.replace("<script", tag, 1)
        return view + (f'<div class="vit-still">{drawn}</div>' if drawn else "")

    html = WIDGET_VIEW.sub(shown, WIDGET_STATE.sub("", html))
    css = "\n".join(styles)
    sheet = f"figures-{digest(css)}.css"
    (site.static / sheet).write_text(css, encoding="utf-8")
    link = f'<link rel="stylesheet" href="{loader[2]}{sheet}">'
    return html.replace("</head>", f"{link}</head>", 1), 1


def write_widget_state(site: Site, data: dict) -> str:
    """The name of a script that adds the state of a figure to a page.

    A page may load several, and they share their names: hence the block.
    """
    text = (
        '{\nconst state = document.createElement("script");\n'
        'state.type = "application/vnd.jupyter.widget-state+json";\n'
        f"state.textContent = {json.dumps(json.dumps(data))};\n"
        "document.body.append(state);\n}\n"
    )
    name = f"widget-state-{digest(text)}.js"
    (site.static / name).write_text(text, encoding="utf-8")
    return name


def write_part(site: Site, text: str) -> str:
    """The name of a script that holds a part of a figure's state, as its `part`."""
    name = f"widget-part-{digest(text)}.js"
    code = f"document.currentScript.part = {json.dumps(text)};\n"
    (site.static / name).write_text(code, encoding="utf-8")
    return name


TABS_SCRIPT = re.compile(r"\s*<script[^>]*design-tabs\.js[^>]*></script>")


def drop_tabs(_: Site, html: str) -> tuple[str, int]:
    """Send the script for tabs to pages that have some."""
    return (html, 0) if "sd-tab-set" in html else TABS_SCRIPT.subn("", html)


def digest(text: str) -> str:
    """A few digits that change with the text, so that caches do not keep the old."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@cache
def joined_styles(static: Path, names: tuple[str, ...]) -> str:
    """The name of the one file that holds these style sheets, in their order."""
    parts = []
    for name in names:
        folder = Path(name).parent
        css = (static / name).read_text(encoding="utf-8")
        css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
        # An address in a style sheet counts from the sheet's own folder.
        css = re.sub(
            r"url\((?!data:|#)[\"']?([^)\"']+)[\"']?\)",
            lambda match, folder=folder: f"url({(folder / match[1]).as_posix()})",
            css,
        )
        # Show the text at once, in another font until the right one is there.
        parts.append(css.replace("font-display:block", "font-display:swap"))
    text = "\n".join(parts)
    name = f"styles-{digest(text)}.css"
    (static / name).write_text(text, encoding="utf-8")
    return name


ARTICLE = '<article role="main" id="furo-main-content">'
RULES = [
    # What is no valid HTML or misleads a screen reader.
    Rule(
        "Sphinx: a heading's role needs a level",
        swap('role="heading"', 'role="heading" aria-level="2"'),
        everywhere=True,
    ),
    Rule(
        "docutils: roles of a bibliography do not fit their elements",
        sub(r' role="doc-biblio\w+"', ""),
    ),
    Rule(
        "docutils: a bibliography is no list",
        swap('<div role="list" class="citation-list">', "<div>"),
    ),
    Rule(
        "Sphinx: figures are numbered through the whole book, in notebooks not at all",
        sub(r'<span class="caption-number">[^\n]*?</span>', ""),
    ),
    Rule(
        "Sphinx: code that scrolls must be reached by the keyboard",
        swap("<pre>", '<pre tabindex="0">'),
    ),
    Rule(
        "Furo: a table that scrolls must be reached by the keyboard",
        swap('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper'),
    ),
    Rule(
        "MyST-NB: the text of a summary says more than its label",
        swap('<summary aria-label="Toggle hidden content">', "<summary>"),
    ),
    Rule(
        "MyST-NB: a summary cannot hold paragraphs",
        sub(
            r'<p class="((?:collapsed|expanded)[^"]*)">([^\n]*?)</p>',
            r'<span class="\1">\2</span>',
        ),
    ),
    Rule("MyST-NB: what is folded does not say what it proves", name_proofs),
    Rule("MyST-NB: a table beside a plot has the plot's caption too", caption_plots),
    Rule("MyST-NB: code that a cell prints is plain text, wrapped", colour_code),
    Rule("MyST-NB: the rows of a tensor are wrapped", line_up),
    Rule("browsers: a comma after a formula begins a line", glue_formulas),
    Rule("browsers: a line ends within a number", join_numbers),
    Rule("browsers: a line ends within an option or a name of code", break_code),
    Rule("browsers: the mark of a proof begins a line", glue_proofs),
    Rule(
        "sphinxcontrib-katex: the wrapper of an equation has its id already",
        sub(
            r'(<div class="math-wrapper[^>]*>\s*<div class="math") id="[^"]*"',
            r"\1",
        ),
    ),
    # Furo: all that a reader may need stands in a landmark with a name.
    Rule(
        "Furo: the text stands in no landmark",
        swap(
            '<div class="article-container">',
            '<main class="article-container">',
        ),
        everywhere=True,
    ),
    Rule(
        "Furo: the landmark of the text is too small",
        swap(ARTICLE, '<article id="furo-main-content">'),
        everywhere=True,
    ),
    Rule(
        "Furo: the end of the text",
        swap("</article>\n      </div>", "</article>\n      </main>"),
        everywhere=True,
    ),
    Rule(
        "Furo: the list of pages has no name",
        swap(
            '<aside class="sidebar-drawer"',
            '<aside class="sidebar-drawer" aria-label="Book"',
        ),
        everywhere=True,
    ),
    Rule(
        "Furo: the list of headings has no name",
        swap(
            '<aside class="toc-drawer"',
            '<aside class="toc-drawer" aria-label="On this page"',
        ),
    ),
    # What delays the first paint, or moves the text after it.
    Rule("pictures without a size", size_pictures),
    # Its style sheet is one of those that the next rule joins.
    Rule("interactive figures that nobody sees without scripts", still_figures),
    Rule("style sheets, one by one", join_styles, everywhere=True),
    Rule("sphinx-design: a script for tabs where there are none", drop_tabs),
]
