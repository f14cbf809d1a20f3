"""The runner of the notebooks: it must find what does not hold."""

import sys
from contextlib import nullcontext

import nbformat
import pytest

from recorded_runs import add_run, read_runs, runs_table
from run_notebooks import OWN_KERNEL, faults_of, forked_kernels, record, run

GOOD = {
    "name": "chapters/02_x.ipynb",
    "passed": True,
    "output": "",
    "cpu_seconds": 3.0,
    "peak_megabytes": 400.0,
    "cuda_megabytes": 0.0,
}


# In one process, for which the server of kernels starts once.
pytestmark = pytest.mark.xdist_group("kernels")


@pytest.fixture(scope="module")
def forked_run(tmp_path_factory):
    """A function that runs a notebook in a forked kernel, which starts soonest."""
    folder = tmp_path_factory.mktemp("forked")
    with forked_kernels(folder) as kernel:
        yield lambda path: run(path, folder, kernel)


@pytest.fixture
def notebook(tmp_path, request):
    """Write a notebook of one cell with the output that it claims to have."""

    def write(code, printed):
        output = nbformat.v4.new_output("stream", name="stdout", text=printed)
        cell = nbformat.v4.new_code_cell(code, outputs=[output], execution_count=1)
        path = tmp_path / "chapters" / f"{request.node.originalname}.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
        return path

    return write


def test_same_output_passes_and_is_measured(notebook, forked_run):
    result = forked_run(notebook("print(6 * 7)", "42\n"))
    assert result["passed"], result["output"]
    assert result["cpu_seconds"] > 0
    assert result["peak_megabytes"] > 10


def test_a_forked_kernel_is_like_one_that_starts_on_its_own(
    notebook, tmp_path, monkeypatch
):
    code = """import os, sys, threading
set_by_torch = "TORCHINDUCTOR_CACHE_DIR"
variables = sorted({*os.environ} - {"JPY_PARENT_PID", set_by_torch})
found = sys.path, sys.argv[1], variables, os.getcwd(), dir(), threading.active_count()
print(open(os.environ["FOUND"], "w").write(str(found)) > 0)"""
    path = notebook(code, "True\n")
    said = []
    for forked in (False, True):
        folder = tmp_path / str(forked)
        folder.mkdir()
        monkeypatch.setenv("FOUND", str(folder / "found"))
        with forked_kernels(folder) if forked else nullcontext(OWN_KERNEL) as kernel:
            result = run(path, folder, kernel)
        assert result["passed"], result["output"]
        assert result["cpu_seconds"] > 0
        assert result["peak_megabytes"] > 10
        said.append((folder / "found").read_text().replace(str(folder), ""))
    assert said[0] == said[1]


def test_other_output_fails(notebook, forked_run):
    result = forked_run(notebook("print(6 * 7)", "41\n"))
    assert not result["passed"]
    assert "42" in result["output"]
    assert "make sync" in faults_of(result, cuda=False)[0]


def test_error_fails(notebook, forked_run):
    assert not forked_run(notebook("print(1 / 0)", "42\n"))["passed"]


def test_the_device_may_differ(notebook, forked_run):
    code = 'print("This notebook runs on: cpu")'
    assert forked_run(notebook(code, "This notebook runs on: cuda\n"))["passed"]


def test_the_probe_leaves_no_name_behind(notebook, forked_run):
    code = "print([n for n in dir() if n in ('json', 'os', 'sys', 'time', 'write')])"
    assert forked_run(notebook(code, "[]\n"))["passed"]


def test_a_run_leaves_nothing_beside_the_notebook(notebook, forked_run):
    path = notebook("print(open('progress', 'x').write('some'))", "4\n")
    assert forked_run(path)["passed"]
    assert list(path.parent.iterdir()) == [path]


FAULTS = {
    "too slow": ({"cpu_seconds": 121.0}, False, "its budget is 60 s"),
    "too large": ({"peak_megabytes": 2001.0}, False, "its budget is 2000 MB"),
    "GPU unused": ({}, True, "ran without using the GPU"),
}


@pytest.mark.parametrize(
    ("change", "cuda", "words"), FAULTS.values(), ids=FAULTS.keys()
)
def test_faults(change, cuda, words):
    assert faults_of(GOOD, cuda=False) == []
    (fault,) = faults_of(GOOD | change, cuda=cuda)
    assert words in fault


def test_used_gpu_is_no_fault():
    assert faults_of(GOOD | {"cuda_megabytes": 5.0}, cuda=True) == []


def test_record_becomes_a_table(tmp_path):
    path = tmp_path / "runs.json"
    assert "No run on a GPU" in runs_table(read_runs(path))
    entry = record("Here", [GOOD], cuda=False)
    add_run(entry, path)
    add_run(entry, path)  # a newer run of the same name takes the place
    assert read_runs(path) == [entry]
    text = runs_table(read_runs(path))
    assert "| chapters/02_x.ipynb | passed | 3 s | 400 MB | none |" in text
    assert entry["versions"]["Python"] == sys.version.split()[0]
