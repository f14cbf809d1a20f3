"""Build the book, serve it on localhost, rebuild it when a source changes."""

import subprocess
import sys

from watchfiles import DefaultFilter, watch

from address import ROOT
from book import HTML
from site_server import start

PORT = 8000
SOURCES = ("book", "chapters", "solutions", "src", "tools", "_config.yml", "_toc.yml")


class SourceFilter(DefaultFilter):
    """What an author edits: not the files that `make sync` writes."""

    def __call__(self, change, path: str) -> bool:
        """Whether a change of this file asks for a new build."""
        return super().__call__(change, path) and not path.endswith(".ipynb")


def main() -> None:
    """Serve until Ctrl-C."""
    rebuild()
    server = start(HTML, PORT)
    print(f"The book is at http://127.0.0.1:{PORT}/ (Ctrl-C ends it)", flush=True)
    paths = [ROOT / name for name in (*SOURCES, "index.md")]
    try:
        for _ in watch(*paths, watch_filter=SourceFilter(), raise_interrupt=True):
            rebuild()
    except KeyboardInterrupt:
        server.shutdown()


def rebuild() -> None:
    """Run what changed and build; a fault is shown and the server goes on."""
    for script in ("sync.py", "book.py"):
        done = subprocess.run([sys.executable, str(ROOT / "tools" / script)])
        if done.returncode:
            print("Not rebuilt. Mend the fault above; saving builds again.", flush=True)
            return


if __name__ == "__main__":
    main()
