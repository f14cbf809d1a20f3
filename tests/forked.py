"""Run a script as a command would, in a process that has its libraries already.

To import torch and the notebook's libraries takes longer than most scripts do.
"""

import contextlib
import multiprocessing
import runpy
import sys
import tempfile
import traceback
from pathlib import Path
from subprocess import CompletedProcess

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["myst_nb.core.read", "nbclient", "torch", "torch._dynamo"]
)


def run_script(script: Path, *arguments: str, paths: list[Path]) -> CompletedProcess:
    """Run it. paths: the folders where it looks for modules first."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out", "error")]
        process = PROCESSES.Process(
            target=run_here, args=(script, arguments, paths, files)
        )
        process.start()
        process.join()
        out, error = (file.read_text(encoding="utf-8") for file in files)
    return CompletedProcess([script, *arguments], process.exitcode, out, error)


def run_here(script: Path, arguments: tuple, paths: list[Path], files: list[Path]):
    """Be the script; ends the process."""
    sys.argv = [str(script), *arguments]
    sys.path[:0] = [str(path) for path in (script.parent, *paths)]
    with (
        files[0].open("w", encoding="utf-8") as out,
        files[1].open("w", encoding="utf-8") as error,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
    ):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=error)
                sys.exit(1)
            raise
        except BaseException:
            traceback.print_exc()
            sys.exit(1)
