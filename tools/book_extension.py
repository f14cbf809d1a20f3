"""The book's own part of Sphinx: the setup cell, two roles, two directives, pictures.

Each exists because nothing that Sphinx ships does it; see CONTRIBUTING.md.
"""

import hashlib
import json
import re
from functools import cache
from pathlib import Path

from docutils import nodes
from PIL import Image
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from address import ROOT, read_address
from sources import with_setup
from test_runs import read_runs, runs_table
from vit_encoder.figures import encoder_map

logger = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    # Jupyter Book sets it for an extension that the course does not use.
    app.add_config_value("comments_config", {}, "html")
    app.add_role("proof", ProofRole())
    app.add_role("ja", JapaneseRole())
    app.add_directive("encoder-map", EncoderMap)
    app.add_directive("test-runs", TestRuns)
    app.connect("config-inited", put_address)
    app.connect("source-read", put_setup_cell)
    app.connect("missing-reference", resolve_proof)
    # After Furo, which makes the navigation.
    app.connect("html-page-context", add_to_page, priority=900)
    app.connect("build-finished", finish_pages, priority=900)  # after Furo's last
    app.connect("build-finished", write_robots)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def put_address(app: Sphinx, config) -> None:
    """Give the address to those extensions that ask for it under another name."""
    address = read_address()
    config.notfound_urls_prefix = address.site_path
    config.notfound_context = {
        "title": "Page not found",
        "body": "<h1>Page not found</h1><p>There is no page at this address. "
        f'Start again from the <a href="{address.site_path}index.html">first page</a>, '
        "or use the search.</p>",
    }
    config.ogp_site_url = address.site
    config.html_theme_options |= {
        "source_repository": address.repository,
        "source_branch": address.branch,
        "source_directory": "",
    }


def put_setup_cell(app: Sphinx, docname: str, source: list[str]) -> None:
    """The page shows the cell that every notebook starts with."""
    if docname.startswith("chapters/"):
        source[0] = with_setup(source[0], read_address())


class ProofRole(SphinxRole):
    """A small mark beside a claim: to the cell that shows it, or to its source.

    {proof}`label` where the label stands before a code cell, or is a key of
    references.bib.
    """

    def run(self) -> tuple[list[nodes.Node], list]:
        """A reference that is resolved once all pages are read."""
        reference = addnodes.pending_xref(
            "",
            nodes.inline("", self.text),
            refdomain="",
            reftype="proof",
            reftarget=self.text,
            refdoc=self.env.docname,
        )
        self.set_source_info(reference)
        return [reference], []


def resolve_proof(app: Sphinx, env, node, content) -> nodes.Node | None:
    """Make the mark lead to the labelled cell or to the entry in the bibliography."""
    if node["reftype"] != "proof":
        return None
    key = node["reftarget"]
    labels = env.domains["std"].anonlabels
    if key in labels:
        docname, anchor, _ = (*labels[key], "")[:3]
        text, title = "shown", "The cell that shows this"
    else:
        entries = [c for c in env.domains["cite"].citations if c.key == key]
        if not entries:
            return None
        docname, anchor = entries[0].bibliography_key.docname, entries[0].citation_id
        text, title = "source", "The source of this"
    address = app.builder.get_relative_uri(node["refdoc"], docname)
    if docname == node["refdoc"]:
        address = ""
    link = nodes.reference(
        "", text, refuri=f"{address}#{anchor}", internal=True, reftitle=title
    )
    return nodes.inline("", "", link, classes=["proof"])


class JapaneseRole(SphinxRole):
    """A Japanese word, marked as such for screen readers and fonts."""

    def run(self) -> tuple[list[nodes.Node], list]:
        """A span that names its language."""
        text = nodes.Text(self.text).astext()
        html = f'<span lang="ja">{text}</span>'
        return [nodes.raw("", html, format="html")], []


class EncoderMap(SphinxDirective):
    """The course's map, with a link from each part to its chapter."""

    def run(self) -> list[nodes.Node]:
        """Link the parts whose chapters are there."""
        pages = {
            Path(name).name.split("_", 1)[1]: name
            for name in self.env.found_docs
            if name.startswith("chapters/")
        }
        uri = self.env.app.builder.get_relative_uri
        links = {part: uri(self.env.docname, name) for part, name in pages.items()}
        drawing = encoder_map(links=links)
        return [nodes.raw("", drawing._repr_html_(), format="html")]


class TestRuns(SphinxDirective):
    """The table of the runs that were recorded on real machines."""

    def run(self) -> list[nodes.Node]:
        """One table a run, made from the data file."""
        self.env.note_dependency(str(ROOT / "book" / "test_runs.json"))
        return self.parse_text_to_nodes(runs_table(read_runs()))


def write_robots(app: Sphinx, error: Exception | None) -> None:
    """Tell search engines where the list of pages is."""
    if not error:
        text = f"User-agent: *\nSitemap: {read_address().site}sitemap.xml\n"
        (Path(app.outdir) / "robots.txt").write_text(text, encoding="utf-8")


def add_to_page(app: Sphinx, pagename: str, template: str, context: dict, doctree):
    """The Colab button, and pictures that reserve their space and load late."""
    folder = pagename.split("/")[0]
    if folder in ("chapters", "exercises"):
        address = read_address()
        context["colab_url"] = address.colab(f"{pagename}.ipynb")
        context["notebook_url"] = address.file(f"{pagename}.ipynb")
    if "body" in context:
        context["body"] = size_images(app, tidy(context["body"]))
    if "furo_navigation_tree" in context:
        context["furo_navigation_tree"] = tidy(context["furo_navigation_tree"])


def tidy(html: str) -> str:
    """Mend what the tools write that is no valid HTML or misleads a screen reader."""
    # Sphinx: a heading's role needs a level.
    html = html.replace('role="heading"', 'role="heading" aria-level="2"')
    # docutils: roles that do not fit their elements.
    html = re.sub(r' role="doc-biblio\w+"', "", html)
    html = html.replace('<div role="list" class="citation-list">', "<div>")
    # Sphinx: figures are numbered through the whole book, and in notebooks not at all.
    html = re.sub(r'<span class="caption-number">.*?</span>', "", html)
    # Sphinx: code that scrolls must be reached by the keyboard.
    html = html.replace("<pre>", '<pre tabindex="0">')
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


def size_images(app: Sphinx, body: str) -> str:
    """Give every picture of the book its width and height in pixels."""
    paths = {name: path for path, name in app.builder.images.items()}

    def sized(match: re.Match) -> str:
        name = match[2].strip('"').rsplit("/", 1)[-1]
        path = Path(app.srcdir, paths.get(name, ""))
        if "width=" in match[0] or path.suffix not in (".png", ".jpg"):
            return match[0]
        with Image.open(path) as image:
            width, height = image.size
        size = f'width="{width}" height="{height}" loading="lazy"'
        return f"{match[1]} {size} src={match[2]}{match[3]}"

    return re.sub(r'(<img\b[^>]*?) src=("[^"]+")([^>]*>)', sized, body)


STYLE_LINK = re.compile(
    r'\s*<link rel="stylesheet"[^>]*href="([^"]*_static/)([^"?]+\.css)[^"]*"[^>]*>'
)


def finish_pages(app: Sphinx, error: Exception | None) -> None:
    """Mend each page, and take out of its head and text what delays the first paint."""
    if error or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    for page in Path(app.outdir).rglob("*.html"):
        html = name_landmarks(page.read_text(encoding="utf-8"))
        html = move_widget_state(static, join_styles(static, html))
        page.write_text(html, encoding="utf-8")


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
