"""Give the book the outputs of the committed notebooks, so that it runs nothing."""

import re
import shutil
from copy import deepcopy

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.util import logging

from address import read_address
from sources import Source, read_all

logger = logging.getLogger(__name__)


def fill_cache(app: Sphinx) -> None:
    """Put the outputs where MyST-NB looks for them before it runs a notebook."""
    folder = app.config.nb_execution_cache_path
    shutil.rmtree(folder, ignore_errors=True)
    cache = get_cache(folder)
    for source in read_all(read_address()):
        done = nbformat.read(source.path.with_suffix(".ipynb"), as_version=4)
        bundle = CacheBundleIn(with_outputs(source, done), str(source.path))
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def with_outputs(source: Source, done: NotebookNode) -> NotebookNode:
    """The cells as the book reads them, with the outputs of the executed notebook."""
    notebook = deepcopy(source.notebook)
    written = [c for c in notebook.cells if c.cell_type == "code"]
    executed = [c for c in done.cells if c.cell_type == "code"]
    for cell, result in zip(written, executed, strict=True):
        cell.outputs, cell.execution_count = result.outputs, result.execution_count
        for output in cell.outputs:
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = without_picture(output.data["text/html"])
    notebook.metadata["widgets"] = done.metadata.get("widgets", {})
    notebook.metadata["language_info"] = done.metadata["language_info"]
    return notebook


def without_picture(html: str) -> str:
    """A drawing without the picture of it, which a page of the book does not need."""
    return re.sub(
        r"<style>[^<]*</style><img [^>]*data:image/svg\+xml[^>]*>(?=</div>)", "", html
    )


def require_nothing_ran(app: Sphinx, error: Exception | None) -> None:
    """Warn if the build has run a notebook, whose outputs nobody has committed."""
    cached = get_cache(app.config.nb_execution_cache_path).list_cache_records()
    if not error and len(cached) > len(read_all(read_address())):
        logger.warning("a notebook ran; the book must show the committed outputs alone")
