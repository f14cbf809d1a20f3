"""Pages that hold one figure each, served to a browser."""

import json
import shutil
from pathlib import Path

import pytest
from tests.explorers.cases import THEMES, made, stored

from address import ROOT
from page_html import Site, still_figures
from site_server import serving
from vit_encoder.figures.encoder_at_work import WEIGHTS

KIND = "application/vnd.jupyter.widget"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Figures</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<script defer src="_static/widgets.js"></script></head>
<body style="background: {background}; color: {colour}"><main><h1>Figures</h1>
<div style="height: {above}px"></div>
<div><script type="{kind}-view+json">{view}</script></div></main>
<script type="{kind}-state+json">{state}</script></body></html>"""


class Pages:
    """A figure in a light and a dark page and far down a page, made when asked for."""

    def __init__(self, folder: Path, url: str):
        self.folder, self.url = folder, url
        self.made = set()

    def of(self, name: str, kind: str) -> str:
        """The address of a page. kind: a theme, or "far"."""
        if name not in self.made:
            self.made.add(name)
            self.make(name)
        return f"{self.url.rstrip('/')}/{name}-{kind}.html"

    def make(self, name: str):
        """Write the pages of a figure."""
        figure = made(name)
        values = {
            "view": json.dumps({"model_id": figure.model_id}),
            "state": json.dumps(stored(figure), sort_keys=True),  # as in a notebook
            "kind": KIND,
        }
        colours = {t: {"background": b, "colour": c} for t, (b, c) in THEMES.items()}
        for kind, above in (*((theme, 0) for theme in THEMES), ("far", 3000)):
            colour = colours.get(kind, colours["light"])
            page = PAGE.format(above=above, **values, **colour)
            html, times = still_figures(Site(self.folder / "_static"), page)
            assert times == 1
            (self.folder / f"{name}-{kind}.html").write_text(html, encoding="utf-8")


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """All pages; each is made when it is first asked for."""
    folder = tmp_path_factory.mktemp("figures")
    static = folder / "_static"
    static.mkdir()
    shutil.copy(Path(ROOT) / "book" / "_static" / "widgets.js", static)
    shutil.copy(WEIGHTS, static)
    with serving(folder) as url:
        yield Pages(folder, url)


@pytest.fixture
def visit(tabs, pages):
    """Open a page. before: a script that runs before those of the page."""

    def open_page(
        name,
        kind="light",
        *,
        width=900,
        alive=True,
        allowed="Nothing",
        before="",
        **options,
    ):
        viewport = {"width": width, "height": 800}
        tab = tabs(
            pages.url, lambda text: allowed in text, viewport=viewport, **options
        )
        tab.add_init_script(before)
        tab.goto(pages.of(name, kind), wait_until="load")
        if alive:
            tab.locator(".vit-still").wait_for(state="detached")
        return tab

    return open_page
