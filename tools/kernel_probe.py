"""Runs inside a notebook's kernel while it is tested: what the notebook has used.

tools/run_notebooks.py makes it a startup file of IPython, so that the notebooks
themselves hold nothing that only tests need.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

START = time.process_time()
PROBE = Path(os.environ["NOTEBOOK_PROBE"])


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


def write(*_) -> None:
    """Write what was used so far; the last cell's writing is what counts."""
    PROBE.write_text(json.dumps(measure()))


# Where no progress of an earlier run lies, and a run leaves none beside the notebook.
os.chdir(PROBE.parent)
get_ipython().events.register("post_run_cell", write)  # noqa: F821
