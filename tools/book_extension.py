"""The book's own part of Sphinx: setup cell, two roles, two directives, pictures.

Each exists because nothing that Sphinx ships does it; see CONTRIBUTING.md.
"""

import json
import re
import socket
import time
from functools import cache
from pathlib import Path
from subprocess import PIPE, Popen

import pybtex.plugin
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinxcontrib import katex
from sphinxcontrib.katex import KaTeXServer

import node
from address import ROOT, Address, read_address
from book_context import anchor
from outputs import fill_cache, require_nothing_ran, without_picture
from page_answers import Quiz, put_answers
from page_html import RULES, Site, digest, finish
from plain_markdown import labels
from release import read_version, tag_of
from search_index import write_index
from sources import read_all, with_setup
from vit_encoder.figures import encoder_at_work as at_work
from vit_encoder.figures import encoder_map
from vit_encoder.figures.drawings.encoder_map import PARTS

katex.NODEJS_BINARY = str(node.BIN / "node")
# On a busy machine five seconds are too few.
katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 60.0


def start_katex(folder: Path, timeout: float) -> tuple[Popen, socket.socket]:
    """Start KaTeX's helper, and connect to it as soon as it listens.

    The package's own way over a Unix socket asks once, maybe before it listens. Its way
    over the network asks again, but then each formula waits 80 ms for the kernel to
    put small packets together.
    """
    path = folder / "katex.sock"
    command = KaTeXServer.build_command(socket=path)
    process = Popen(command, stdin=PIPE, stdout=PIPE, cwd=folder)
    connection = socket.socket(socket.AF_UNIX)
    end = time.monotonic() + timeout
    while connection.connect_ex(str(path)):
        if time.monotonic() > end:
            raise KaTeXServer.timeout_error(timeout)
        time.sleep(0.01)
    return process, connection


KaTeXServer.start_server_process = start_katex
# It reads the descriptions of all installed packages, for each citation.
pybtex.plugin.find_plugin = cache(pybtex.plugin.find_plugin)
# Most readers of a chapter look at its text first, and some never get to the forms.
WHEN_SEEN = """
    (() => {
      const near = new IntersectionObserver((found) => {
        if (!found.some((form) => form.isIntersecting)) return;
        near.disconnect();
        const script = document.createElement("script");
        const { content_root: top } = document.documentElement.dataset;
        script.src = `${top}_static/answers.js?v=VERSION`;
        document.head.append(script);
      }, { rootMargin: "800px" });
      const forms = document.querySelectorAll("form.answer, .answer-progress");
      forms.forEach((form) => near.observe(form));
    })();
    """
logger = logging.getLogger(__name__)
written = []  # the names of the pages that this build has written


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    # Jupyter Book sets it for an extension that the course does not use.
    app.add_config_value("comments_config", {}, "html")
    app.add_role("proof", ProofRole())
    app.add_role("ja", JapaneseRole())
    app.add_directive("encoder-map", EncoderMap)
    app.add_directive("encoder-at-work", AtWork)
    app.add_directive("quiz", Quiz)
    app.connect("config-inited", put_address)
    app.connect("builder-inited", fill_cache)
    app.connect("env-get-outdated", restyle)
    app.connect("source-read", put_setup_cell)
    app.connect("source-read", fill_in_address)
    app.connect("doctree-read", put_answers)
    app.connect("doctree-read", colour_diffs)
    app.connect("missing-reference", resolve_proof)
    app.connect("html-page-context", add_to_page)
    app.connect("build-finished", finish_pages, priority=900)  # after Furo's last
    app.connect("build-finished", write_robots)
    app.connect("build-finished", require_nothing_ran)
    return {"parallel_read_safe": True, "parallel_write_safe": False}


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


def restyle(app: Sphinx, env, added, changed, removed) -> set[str]:
    """All pages, if what shapes every page is newer than the build before this one."""
    before = Path(app.doctreedir, "environment.pickle")
    shaping = [
        path
        for folder in ("book/_static", "book/_templates", "tools")
        for path in (ROOT / folder).iterdir()
        if path.is_file()
    ]
    newest = max(path.stat().st_mtime for path in shaping)
    is_new = before.exists() and newest > before.stat().st_mtime
    return set(env.found_docs) if is_new else set()


def put_setup_cell(app: Sphinx, docname: str, source: list[str]) -> None:
    """The page shows the cell that every notebook starts with."""
    if docname.startswith("chapters/"):
        # Its outputs come from there.
        app.env.note_dependency(app.env.doc2path(docname).replace(".md", ".ipynb"))
        source[0] = with_setup(source[0], read_address())


def colour_diffs(_app: Sphinx, doctree: nodes.document) -> None:
    """What a cell prints of a wrong version is a diff, and coloured as one.

    A diff takes lines away and adds some. If it has but one sign, a space stands
    behind that, and lines without a sign beside it: else it may be numbers, or a list.
    """
    for block in doctree.findall(nodes.literal_block):
        lines = block.astext().splitlines()
        signs = {line[:1] for line in lines}
        spaced = any(line[:2] in ("- ", "+ ") for line in lines)
        if (
            "stream" in block["classes"]
            and signs <= {*" -+", ""}
            and ({*"-+"} <= signs or (spaced and " " in signs))
        ):
            block["language"] = "diff"


def fill_in_address(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Commands on the pages of the book hold the address and the version."""
    if docname.startswith("book/"):
        source[0] = filled_in(source[0], read_address(), read_version())


def filled_in(text: str, address: Address, version: str) -> str:
    """The text of a page, with what stands for ADDRESS, VERSION and TAG."""
    known = {"ADDRESS": address.repository, "VERSION": version, "TAG": tag_of(version)}
    return re.sub(r"\b(ADDRESS|VERSION|TAG)\b", lambda name: known[name[0]], text)


class ProofRole(SphinxRole):
    """A small mark beside a claim: to the cell that shows it, or to its source.

    {proof}`label` where the label stands before a code cell of the same page, or is a
    key of references.bib; {proof}`/chapters/02_self_attention#label` for a cell of
    another page.
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
    page, _, label = node["reftarget"].rpartition("#")
    docname = page.removeprefix("/") or node["refdoc"]
    if docname in env.found_docs and label in page_labels(env.doc2path(docname)):
        target = anchor(label)
        text, title = "shown", "The cell that shows this"
    else:
        entries = [c for c in env.domains["cite"].citations if c.key == label]
        if page or not entries:
            return None
        docname, target = entries[0].bibliography_key.docname, entries[0].citation_id
        text, title = "source", "The source of this"
    address = app.builder.get_relative_uri(node["refdoc"], docname)
    if docname == node["refdoc"]:
        address = ""
    link = nodes.reference(
        "", text, refuri=f"{address}#{target}", internal=True, reftitle=title
    )
    return nodes.inline("", "", link, classes=["proof"])


@cache
def page_labels(path: str) -> set[str]:
    """The labels of a page. Sphinx keeps only the last of two pages' equal labels."""
    return labels(Path(path).read_text(encoding="utf-8"))


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
        uri = self.env.app.builder.get_relative_uri
        links = {
            source.module: uri(self.env.docname, source.docname)
            for source in read_all(read_address())
            if source.docname.startswith("chapters/") and source.module in PARTS
        }
        drawing = encoder_map(links=links)
        return [nodes.raw("", without_picture(drawing._repr_html_()), format="html")]


class AtWork(SphinxDirective):
    """The figure in which the ViT that ships runs, with a still picture until then."""

    def run(self) -> list[nodes.Node]:
        """The picture, the place of the figure, its state, as MyST-NB writes them."""
        for path in (
            *at_work.HERE.glob("encoder_at_work.*"),
            *(at_work.HERE / name for name in ("shared.js", "vit.js")),
        ):
            self.env.note_dependency(path)
        self.env.note_dependency(at_work.WEIGHTS)
        figure = at_work.fashion_at_work()
        state = {"at-work": at_work.for_page(figure, "_static")}
        kind = "application/vnd.jupyter.widget"
        html = (
            f'<div class="at-work">{at_work.still(figure)}'
            f'<script type="{kind}-view+json">{{"model_id": "at-work"}}</script></div>'
            f'<script type="{kind}-state+json">{json.dumps({"state": state})}</script>'
        )
        return [nodes.raw("", html, format="html")]


def write_robots(app: Sphinx, error: Exception | None) -> None:
    """Tell search engines where the list of pages is."""
    if not error:
        text = f"User-agent: *\nSitemap: {read_address().site}sitemap.xml\n"
        (Path(app.outdir) / "robots.txt").write_text(text, encoding="utf-8")


def add_to_page(app: Sphinx, pagename: str, template: str, context: dict, doctree):
    """The script of the marks; what the lines around the text say and lead to."""
    if doctree and any(
        "proof" in mark["classes"] for mark in doctree.findall(nodes.inline)
    ):
        app.add_js_file("proof.js", loading_method="defer")
    if 'class="at-work"' in context.get("body", ""):
        app.add_css_file("encoder_at_work.css")
        app.add_css_file("landing.css")
        app.add_js_file("widgets.js", loading_method="defer")
    if app.env.metadata.get(pagename, {}).get("answers"):
        script = ROOT / "book" / "_static" / "answers.js"
        version = digest(script.read_text(encoding="utf-8"))
        app.add_js_file(None, body=WHEN_SEEN.replace("VERSION", version))
    address = read_address()
    context["repository_url"] = address.repository
    context["course_version"] = read_version()
    if pagename.split("/")[0] in ("chapters", "exercises"):
        context["colab_url"] = address.colab(f"{pagename}.ipynb")
        context["notebook_url"] = address.file(f"{pagename}.ipynb")
    context["leads_nowhere"] = address.is_placeholder and (
        "colab_url" in context or address.repository in context.get("body", "")
    )
    written.append(pagename)


def finish_pages(app: Sphinx, error: Exception | None) -> None:
    """Mend and lighten each page that was written; then index them all."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    pictures = {
        name: Path(app.srcdir, path) for path, name in app.builder.images.items()
    }
    names = set(written)
    pages = [out / app.builder.get_target_uri(name) for name in sorted(names)]
    whole = app.env.found_docs <= names
    for fault in finish(Site(out / "_static", pictures), pages, RULES, whole=whole):
        # An exception here would make Sphinx tell of another one.
        logger.warning("%s, in tools/page_html.py", fault)
    write_index(out)
