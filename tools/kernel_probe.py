"""Runs inside a notebook's kernel: what the notebook has used.

tools/run_notebooks.py makes it a startup file of IPython, so that the notebooks
themselves hold nothing that only tests need.
"""

import importlib.util
import json
import os
import resource
import sys
import time
from pathlib import Path

START = time.process_time()
PROBE = Path(os.environ["NOTEBOOK_PROBE"])
opened = set()  # paths of which the course's package may be a part


def remember(event: str, arguments: tuple) -> None:
    """Note each file that Python opens. Importing a module opens it, or its .pyc."""
    if event == "open" and isinstance(arguments[0], str | bytes):
        path = os.fsdecode(arguments[0])
        if "vit_encoder" in path:
            opened.add(path)


def measure() -> dict:
    """CPU seconds, peak resident memory and peak CUDA memory (MB) of this kernel."""
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = usage / 1e6 if sys.platform == "darwin" else usage / 1e3
    used = {
        "cpu_seconds": time.process_time(),
        "peak_megabytes": peak,
        "cuda_megabytes": 0.0,
        "cuda_device": None,
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        used["cuda_megabytes"] = torch.cuda.max_memory_allocated() / 1e6
        used["cuda_device"] = torch.cuda.get_device_name()
    return used


def read_files() -> list[str]:
    """The files that were opened so far, a module's cached form by its source."""
    files = set()
    for path in opened.copy():
        if "__pycache__" in path:
            try:
                path = importlib.util.source_from_cache(path)
            except ValueError:  # a cached form that is being written
                continue
        files.add(os.path.realpath(path))
    return sorted(files)


def write(*_) -> None:
    """Write what was used so far; the last cell's writing is what counts."""
    PROBE.write_text(json.dumps(measure() | {"files": read_files()}))


sys.addaudithook(remember)
# Where no progress of an earlier run lies, and a run leaves none beside the notebook.
os.chdir(PROBE.parent)
get_ipython().events.register("post_run_cell", write)  # noqa: F821
