"""Build the book into `_build/html`, from sources and outputs that are up to date.

With `--draft`, outputs may be stale: to look at one page while others wait.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbformat import NotebookNode

import node
from address import ROOT, read_address
from sources import Source, SourceError, read_all
from sync import read_notebook, sync

CACHE = ROOT / "_build" / ".jupyter_cache"
HTML = ROOT / "_build" / "html"


def main() -> None:
    """Check, fill the cache with the committed outputs, build strictly."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--draft", action="store_true")
    draft = arguments.parse_args().draft
    address = read_address()
    try:
        faults = [] if draft else sync(address, check=True)
        if faults:
            sys.exit("\n".join(faults))
        sources = read_all(address)
        fill_cache(sources)
    except SourceError as error:
        sys.exit(str(error))
    status = build()
    if status:
        sys.exit(status)
    if len(get_cache(CACHE).list_cache_records()) > len(sources):
        sys.exit("The build ran a notebook; it must show the committed outputs alone.")
    print(f"The book is built: {(HTML / 'index.html').relative_to(ROOT)}")
    if address.is_placeholder:
        print(
            "The public address in _config.yml is still the placeholder: the links to "
            "Colab and to the repository lead nowhere yet."
        )


def fill_cache(sources: list[Source]) -> None:
    """Give the book the outputs of the committed notebooks, so that it runs nothing."""
    shutil.rmtree(CACHE, ignore_errors=True)
    cache = get_cache(CACHE)
    for source in sources:
        done = read_notebook(source.path.with_suffix(".ipynb"))
        bundle = CacheBundleIn(with_outputs(source, done), str(source.path))
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def with_outputs(source: Source, done: NotebookNode) -> NotebookNode:
    """The cells as the book reads them, with the outputs of the executed notebook."""
    notebook = source.notebook
    written = [c for c in notebook.cells if c.cell_type == "code"]
    executed = [c for c in done.cells if c.cell_type == "code"]
    for cell, result in zip(written, executed, strict=True):
        cell.outputs, cell.execution_count = result.outputs, result.execution_count
    notebook.metadata["widgets"] = done.metadata.get("widgets", {})
    notebook.metadata["language_info"] = done.metadata["language_info"]
    return notebook


def build() -> int:
    """Run Jupyter Book from nothing, warnings being errors; its exit status."""
    for folder in (HTML, HTML.with_name(".doctrees")):
        shutil.rmtree(folder, ignore_errors=True)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", "--quiet"]
    return subprocess.run(
        [*command, "-W", "-n", "--keep-going", str(ROOT)],
        env=node.environment(),  # KaTeX typesets the mathematics while building
    ).returncode


if __name__ == "__main__":
    main()
