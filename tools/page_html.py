"""Mend and lighten the HTML that Sphinx and its extensions write."""

import hashlib
import json
import re
from functools import cache
from pathlib import Path


def tidy(html: str) -> str:
    """Mend what the tools write that is no valid HTML or misleads a screen reader."""
    # Sphinx: a heading's role needs a level.
    html = html.replace('role="heading"', 'role="heading" aria-level="2"')
    # docutils: roles that do not fit their elements.
    html = re.sub(r' role="doc-biblio\w+"', "", html)
    html = html.replace('<div role="list" class="citation-list">', "<div>")
    # Sphinx: figures are numbered through the whole book, and in notebooks not at all.
    html = re.sub(r'<span class="caption-number">.*?</span>', "", html)
    # Sphinx, Furo: what scrolls must be reached by the keyboard.
    html = html.replace("<pre>", '<pre tabindex="0">')
    html = html.replace(
        '<div class="table-wrapper', '<div tabindex="0" class="table-wrapper'
    )
    # MyST-NB: a summary cannot hold paragraphs, and its text says more than its label.
    html = html.replace('<summary aria-label="Toggle hidden content">', "<summary>")
    html = re.sub(
        r'<p class="((?:collapsed|expanded)[^"]*)">(.*?)</p>',
        r'<span class="\1">\2</span>',
        html,
    )
    # sphinxcontrib-katex: the wrapper of an equation has its id already.
    return re.sub(
        r'(<div class="math-wrapper[^>]*>\s*<div class="math") id="[^"]*"', r"\1", html
    )


SIDEBAR, TOC = '<aside class="sidebar-drawer"', '<aside class="toc-drawer"'
RESULTS = '<div id="search-results"></div>'
LANDMARKS = {  # Furo: all that a reader may need stands in a landmark with a name
    # The search looks for the role to find a page's text.
    '<div class="article-container">': '<main class="article-container" role="main">',
    '<article role="main" id="furo-main-content">': '<article id="furo-main-content">',
    "</article>\n      </div>": "</article>\n      </main>",
    SIDEBAR: f'{SIDEBAR} aria-label="Book"',
    TOC: f'{TOC} aria-label="On this page"',
    RESULTS: f"<h1>Search</h1>{RESULTS}",
}


def name_landmarks(html: str) -> str:
    """Mend the landmarks of a finished page."""
    for old, new in LANDMARKS.items():
        html = html.replace(old, new)
    return html


STYLE_LINK = re.compile(
    r'\s*<link rel="stylesheet"[^>]*href="([^"]*_static/)([^"?]+\.css)[^"]*"[^>]*>'
)


def join_styles(static: Path, html: str) -> str:
    """Link one style sheet in place of many: the first paint waits for each of them."""
    links = list(STYLE_LINK.finditer(html))
    if not links:
        return html
    names = tuple(dict.fromkeys(link[2] for link in links))
    joined = joined_styles(static, names)
    tag = f'\n    <link rel="stylesheet" href="{links[0][1]}{joined}">'
    start = links[0].start()
    return html[:start] + tag + STYLE_LINK.sub("", html[start:])


WIDGET_STATE = re.compile(
    r'<script type="application/vnd\.jupyter\.widget-state\+json">(.*?)</script>',
    re.DOTALL,
)
WIDGET_LOADER = re.compile(r'<script[^>]*src="([^"]*_static/)widgets\.js')


def move_widget_state(static: Path, html: str) -> str:
    """Load the data of the interactive figures after the text, which it outweighs.

    A script and not a JSON file, so that it works in a book opened from the disk.
    """
    state, loader = WIDGET_STATE.search(html), WIDGET_LOADER.search(html)
    if not state or not loader:
        return html
    text = (
        'const state = document.createElement("script");\n'
        'state.type = "application/vnd.jupyter.widget-state+json";\n'
        f"state.textContent = {json.dumps(state[1])};\n"
        "document.body.append(state);\n"
    )
    name = f"widget-state-{digest(text)}.js"
    (static / name).write_text(text, encoding="utf-8")
    tag = f'<script defer src="{loader[1]}{name}"></script>\n    '
    html = WIDGET_STATE.sub("", html)
    return WIDGET_LOADER.sub(lambda match: tag + match[0], html, count=1)


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
