"""What the course itself takes: a check, a notebook's start, the book, its pages.

The rows of these in the data file are measured after those of the encoder's speed, by
`benchmark_speed.py`. How long a submission takes to be marked is measured apart, by
`benchmark_grading.py`.
"""

import json
import linecache
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import matplotlib.pyplot as plt
from IPython.core.inputtransformer2 import TransformerManager
from jupyter_client.manager import start_new_kernel
from playwright.sync_api import Browser

from book import HTML
from browser import chromium
from run_notebooks import ROOT
from site_server import serving
from vit_encoder import check as checks
from vit_encoder.check import progress

TIMES = 3
FIRST = "01_patches_and_positions.ipynb"  # the chapter whose notebook is started
PATIENCE = 600  # seconds


def measure_checks(_timing: object) -> dict:
    """Seconds of each check of a right answer, in the notebooks of the parts."""
    found = {}
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for path in sorted((ROOT / "solutions").glob("0[1-7]*.ipynb")):
            found |= times_of_checks(path)
    return {"seconds": found}


def times_of_checks(path: Path) -> dict[str, float]:
    """Run the cells of a solved notebook; exercise → seconds of its check."""
    found, check = {}, checks.check

    def timed(name: str, *arguments, **options) -> checks.Report:
        check(name, *arguments, **options)  # the first time, questions are prepared
        start = time.perf_counter()
        report = check(name, *arguments, **options)
        found[name] = rounded(time.perf_counter() - start)
        assert report.passed, report
        return report

    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names = {"__name__": "__main__", "display": lambda *_, **__: None}
    with patch.object(checks, "check", timed), redirect_stdout(StringIO()):
        for number, cell in enumerate(code, 1):
            source = TransformerManager().transform_cell(cell)
            place = f"<cell {number}>"
            lines = source.splitlines(keepends=True)
            linecache.cache[place] = (len(source), None, lines, place)
            exec(compile(source, place, "exec"), names)
    progress.forget()
    plt.close("all")
    return found


def measure_start(_timing: object) -> dict:
    """Seconds until a kernel answers, and until a chapter's first cell has run."""
    notebook = json.loads((ROOT / "chapters" / FIRST).read_text(encoding="utf-8"))
    cells = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    answers, ready = [], []
    for _ in range(TIMES):
        start = time.perf_counter()
        manager, client = start_new_kernel(startup_timeout=PATIENCE)
        try:
            answers.append(rounded(time.perf_counter() - start))
            reply = client.execute_interactive(
                "".join(cells[0]["source"]),
                timeout=PATIENCE,
                output_hook=lambda _message: None,
            )
            assert reply["content"]["status"] == "ok", reply
            ready.append(rounded(time.perf_counter() - start))
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    return {"notebook": FIRST, "seconds": {"kernel": answers, "first cell": ready}}


def measure_book(_timing: object) -> dict:
    """Seconds of a build of the book without what an earlier one left, and again."""
    for name in ("html", ".doctrees", ".jupyter_cache"):
        shutil.rmtree(HTML.with_name(name), ignore_errors=True)
    command = [sys.executable, str(ROOT / "tools" / "book.py")]
    found = {}
    for state in ("cold", "warm"):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found[state] = rounded(time.perf_counter() - start)
    return {"seconds": found}


TIMING = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const all = [page, ...performance.getEntriesByType("resource")];
  return [page.loadEventEnd, all.reduce((sum, one) => sum + one.transferSize, 0)];
}"""


def measure_pages(_timing: object) -> dict:
    """Of each page, kB sent until it is loaded, and seconds, served by this machine."""
    if not (HTML / "index.html").exists():
        sys.exit("The book is not built. Run `make book` first.")
    pages = ["index.html", *sorted(p.name for p in (HTML / "chapters").glob("*.html"))]
    found = {}
    with serving(HTML) as site, chromium() as browser:
        for page in pages:
            folder = "" if page == "index.html" else "chapters/"
            loads = [load(browser, f"{site}{folder}{page}") for _ in range(TIMES)]
            found[page] = {
                "kilobytes": round(max(size for _, size in loads) / 1000),
                "seconds": [rounded(milliseconds / 1000) for milliseconds, _ in loads],
            }
    return {"pages": found}


def load(browser: Browser, url: str) -> tuple[float, float]:
    """Open a page in a new browser window: milliseconds, and bytes that were sent."""
    context = browser.new_context()
    try:
        tab = context.new_page()
        tab.goto(url, wait_until="load", timeout=PATIENCE * 1000)
        tab.wait_for_function(
            "performance.getEntriesByType('navigation')[0].loadEventEnd > 0"
        )
        return tuple(tab.evaluate(TIMING))
    finally:
        context.close()


def rounded(value: float) -> float:
    """With three digits."""
    return float(f"{value:.3g}")


COURSE_ROWS = {
    "checks": measure_checks,
    "start": measure_start,
    "book": measure_book,
    "pages": measure_pages,
}
