"""Measure the built book with Lighthouse, as a phone on a slow network sees it.

The speed depends on the machine, so this is no part of `make test`. Each page is
measured three times; the median counts.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from book import HTML
from browser import ARGUMENTS
from node import BIN, environment, install_checkers
from site_server import serving
from system_packages import CHROMIUM

NO_PAGES = {"404", "genindex", "search"}  # nobody reads them for long
WANTED = {"performance": 95, "accessibility": 100, "best-practices": 100, "seo": 100}
TIMES = 3


def main() -> None:
    """Print the scores; exit with 1 if one is below what is wanted."""
    if not (HTML / "index.html").exists():
        sys.exit("The book is not built. Run `make book` first.")
    cli = install_checkers(lighthouse=True) / "lighthouse" / "cli" / "index.js"
    low = []
    with serving(HTML) as site:
        for page in pages():
            runs = [measure(cli, site + page) for _ in range(TIMES)]
            scores = {
                name: round(100 * statistics.median(run[name] for run in runs))
                for name in WANTED
            }
            kilobytes = runs[0]["bytes"] / 1000
            print(f"{page}: {scores}, {kilobytes:.0f} kB in all", flush=True)
            low += [f"{page}: {n} {scores[n]}" for n in WANTED if scores[n] < WANTED[n]]
    if low:
        sys.exit("Below what is wanted: " + "; ".join(low))


def pages() -> list[str]:
    """Every page of the book, the first one first."""
    found = [path for path in HTML.rglob("*.html") if path.stem not in NO_PAGES]
    names = [path.relative_to(HTML) for path in found]
    return sorted((p.as_posix() for p in names if "_static" not in p.parts), key=first)


def first(page: str) -> tuple[bool, str]:
    """Sorts the pages of the top folder before the others."""
    return "/" in page, page


def measure(cli: Path, url: str) -> dict[str, float]:
    """The scores of one run, from 0 to 1, and the bytes that were sent."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run(
            [
                *(BIN / "node", cli, url, "--quiet", "--output=json"),
                f"--output-path={report}",
                f"--chrome-flags=--headless {' '.join(ARGUMENTS)}",
            ],
            env=environment() | {"CHROME_PATH": CHROMIUM.path()},
            check=True,
        )
        result = json.loads(report.read_text())
    failed = [
        f"{name}: {audit['title']}"
        for name, audit in result["audits"].items()
        if audit["score"] is not None and audit["score"] < 0.9
    ]
    print(*failed, sep="\n", file=sys.stderr)
    scores = {name: part["score"] for name, part in result["categories"].items()}
    return scores | {"bytes": result["audits"]["total-byte-weight"]["numericValue"]}


if __name__ == "__main__":
    main()
