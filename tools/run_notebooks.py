"""Run every notebook with nbval: it must still run and still print the same.

With --cuda a GPU must be there and every chapter must use it. With --record NAME the
run enters book/recorded_runs.json, which the page "Where this was tested" is made from.
Then each kernel starts on its own; else they are forked from one that has torch.
Runs in any environment that has the course's package, nbval and pytest.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from recorded_runs import ROOT, add_run

FOLDERS = ("chapters", "solutions", "exercises")
AT_ONCE = 2  # as many notebooks run
CPU_BUDGET = 60  # seconds a notebook; the run fails at twice as much
MEMORY_BUDGET = 2000  # MB of resident memory; CUDA itself takes as much again
# No plugin but nbval's, no threads beside the notebooks that run at the same time, and
# no progress bar, which says something else each time.
ALONE = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "OMP_NUM_THREADS": "1",
    "TQDM_DISABLE": "1",
}
OWN_KERNEL = ["--nbval-current-env"]  # options of nbval: started on its own
PACKAGES = ("torch", "numpy", "matplotlib", "ipython", "ipykernel", "ipywidgets")


def main() -> None:
    """Run all; say what each used; exit with 1 if anything does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("--record", metavar="NAME")
    args = parser.parse_args()
    if args.cuda and not torch.cuda.is_available():
        sys.exit("No CUDA device was found. `make test-gpu` needs a machine with one.")
    paths = [
        path for folder in FOLDERS for path in sorted(ROOT.glob(f"{folder}/*.ipynb"))
    ]
    if not paths:
        sys.exit("There is no notebook to run. Make them with `make sync`.")

    forked = not args.record and sys.platform == "linux"
    with (
        tempfile.TemporaryDirectory() as name,
        forked_kernels(Path(name)) if forked else nullcontext(OWN_KERNEL) as kernel,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        results = list(pool.map(lambda path: run(path, Path(name), kernel), paths))
    for result in results:
        print(summary(result), flush=True)
    faults = [f for result in results for f in faults_of(result, cuda=args.cuda)]
    if args.record and not faults:
        add_run(record(args.record, results, cuda=args.cuda))
    if faults:
        sys.exit("\n".join(faults))


@contextmanager
def forked_kernels(folder: Path) -> Iterator[list[str]]:
    """The options of nbval for kernels that are forked while the block lasts."""
    script, address = str(ROOT / "tools" / "forked_kernel.py"), folder / "kernels"
    start = [sys.executable, "-IS", script, "start", str(address), "{connection_file}"]
    spec = {"argv": start, "display_name": "Python 3", "language": "python"}
    path = folder / "jupyter" / "kernels" / "forked" / "kernel.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(spec))
    server = subprocess.Popen(
        [sys.executable, script, "serve", str(address)],
        env=os.environ | ALONE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not address.exists():
            if server.poll() is not None:
                sys.exit("The server of kernels did not start.")
            time.sleep(0.05)
        yield ["--nbval-kernel-name", "forked"]
    finally:
        server.terminate()
        server.wait()


def run(notebook: Path, folder: Path, kernel: list[str] = OWN_KERNEL) -> dict:
    """Run one notebook and compare its outputs; what it used, and pytest's words.

    kernel: the options of nbval that choose one.
    """
    probe = folder / notebook.parent.name / notebook.stem / "probe.json"
    probe.parent.mkdir(parents=True)
    command = [sys.executable, "-m", "pytest", "--quiet", "-p", "nbval.plugin"]
    command += ["--nbval", *kernel, "--nbval-cell-timeout", "600"]
    command += ["--nbval-kernel-startup-timeout", "600"]
    command += ["--nbval-sanitize-with", str(ROOT / "tests" / "sanitize.cfg")]
    ours = {"IPYTHONDIR": start_up(folder), "NOTEBOOK_PROBE": str(probe)}
    ours["JUPYTER_PATH"] = str(folder / "jupyter")
    done = subprocess.run(
        [*command, "--rootdir", str(ROOT), "-p", "no:cacheprovider", str(notebook)],
        env=os.environ | ALONE | ours,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    used = json.loads(probe.read_text()) if probe.exists() else {}
    return {
        "name": f"{notebook.parent.name}/{notebook.name}",
        "passed": done.returncode == 0,
        "output": done.stdout + done.stderr,
        "cpu_seconds": used.get("cpu_seconds", 0.0),
        "peak_megabytes": used.get("peak_megabytes", 0.0),
        "cuda_megabytes": used.get("cuda_megabytes", 0.0),
    }


def start_up(folder: Path) -> str:
    """An IPython folder whose kernels start with the probe and with no trace of it."""
    path = folder / "ipython" / "profile_default" / "startup" / "00-probe.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    probe = ROOT / "tools" / "kernel_probe.py"
    names = '{"get_ipython": get_ipython}'
    path.write_text(f'__import__("runpy").run_path({str(probe)!r}, {names})\n')
    return str(folder / "ipython")


def summary(result: dict) -> str:
    """One line a notebook; all that pytest said if it failed."""
    line = (
        f"{'passed' if result['passed'] else 'FAILED'}  {result['name']}: "
        f"{result['cpu_seconds']:.1f} s CPU, {result['peak_megabytes']:.0f} MB"
    )
    if result["cuda_megabytes"]:
        line += f", {result['cuda_megabytes']:.0f} MB on the GPU"
    return line if result["passed"] else f"{line}\n{result['output']}"


def faults_of(result: dict, *, cuda: bool) -> list[str]:
    """What does not hold for one notebook."""
    name = result["name"]
    if not result["passed"]:
        return [f"{name}: see the difference above. If it is right, run `make sync`."]
    faults = []
    if result["cpu_seconds"] > 2 * CPU_BUDGET:
        faults.append(
            f"{name} took {result['cpu_seconds']:.0f} s of CPU time; its budget is "
            f"{CPU_BUDGET} s."
        )
    if result["peak_megabytes"] > MEMORY_BUDGET * (2 if cuda else 1):
        faults.append(
            f"{name} took {result['peak_megabytes']:.0f} MB; its budget is "
            f"{MEMORY_BUDGET} MB."
        )
    if cuda and name.startswith("chapters/") and not result["cuda_megabytes"]:
        faults.append(f"{name} ran without using the GPU.")
    return faults


def record(name: str, results: list[dict], *, cuda: bool) -> dict:
    """The entry of this run."""
    kept = ("name", "passed", "cpu_seconds", "peak_megabytes", "cuda_megabytes")
    return {
        "name": name,
        "date": datetime.date.today().isoformat(),
        "device": "cuda" if cuda else "cpu",
        "machine": machine(cuda=cuda),
        "versions": {"Python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in PACKAGES},
        "notebooks": [
            {k: round(v, 1) if isinstance(v, float) else v for k, v in row.items()}
            for row in ({key: result[key] for key in kept} for result in results)
        ],
    }


def machine(*, cuda: bool) -> str:
    """The processor, its cores and the GPU, as the system names them."""
    text = f"{platform.system()} on {processor()}, {os.cpu_count()} cores"
    if cuda:
        text += f", {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return text


def processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    found = info.exists() and re.search(r"model name\s*: (.+)", info.read_text())
    return found[1] if found else platform.machine()


if __name__ == "__main__":
    main()
