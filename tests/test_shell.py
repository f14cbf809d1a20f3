"""Honest notebooks in the sandbox: what works in Jupyter works there, and costs nobody.

One sandbox for all, in which a cell may compute for two seconds.
"""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from tests.test_hostile import ALL, NAME, SOLUTION

from vit_encoder.grade import sandbox as sandbox_module
from vit_encoder.grade.mark import MACHINE, NEEDS, Marker
from vit_encoder.grade.notebook import read_notebook
from vit_encoder.grade.outcome import Submission
from vit_encoder.grade.packages import NotInstalled, distribution_of, modules_of
from vit_encoder.grade.sandbox import (
    Ended,
    Limits,
    Sandbox,
    SandboxError,
    Watchman,
)
from vit_encoder.grade.workers import Settings, mark_read

pytestmark = pytest.mark.xdist_group("hostile")


@pytest.fixture(scope="module")
def marker():
    limits, packages = Limits(seconds=60, cell=2), modules_of(["colorsys"])
    with Sandbox(limits=limits, packages=packages) as started:
        yield Marker(7, started)


def solved(*, first="", cells=(), **sources):
    """The solution as a submission.

    first: stands before the imports. cells: follow them, one by one. sources: what
    stands in place of the answer to a task.
    """
    made = json.loads(SOLUTION)
    for cell in made["cells"]:
        task = cell["metadata"].get("exercise", {}).get("id", "").split(".")[-1]
        cell["source"] = sources.get(task, "".join(cell["source"]))
    (place,) = (
        i
        for i, cell in enumerate(made["cells"])
        if cell["cell_type"] == "code" and "vit_encoder.check import" in cell["source"]
    )
    imports = made["cells"][place]
    imports["source"] = f"{first}\n{imports['source']}"
    made["cells"][place + 1 : place + 1] = [
        imports | {"source": source, "metadata": {}} for source in cells
    ]
    found = read_notebook(json.dumps(made).encode())
    return Submission(NAME, "ada", "", found.name, found.cells)


def states(outcome):
    """Task → its state, where it has no full points."""
    return {
        mark.id.split(".")[1]: mark.state
        for mark in outcome.marks
        if mark.points != mark.out_of
    }


@pytest.mark.parametrize(
    "cells",
    [
        [
            "import asyncio\nawait asyncio.sleep(0)",
            "async def f(): return 3",
            "assert await f() == 3",
        ],
        ["get_ipython().run_line_magic('matplotlib', 'inline')\ndisplay(3)"],
        ["40 + 2", "assert _ == 42 and Out[max(Out)] == 42 and '40 + 2' in In"],
        ["%%writefile helper.py\nX = 5", "import helper\nassert helper.X == 5"],
        ["from __future__ import annotations", "def f(x: nowhere): pass"],
        [
            "from torch.utils.data import DataLoader\n"
            "batches = DataLoader(torch.arange(90), batch_size=30, num_workers=2)\n"
            "assert [len(batch) for batch in batches] == [30, 30, 30]"
        ],
        ["open('notes.txt', 'w').write('mine')", "assert open('notes.txt').read()"],
    ],
    ids=["await", "get_ipython", "Out", "writefile", "future", "DataLoader", "files"],
)
def test_what_works_in_jupyter_works_here(marker, cells):
    outcome = marker.mark(solved(cells=cells))
    assert (outcome.status, outcome.note, outcome.points) == ("marked", "", ALL)


INSTALLED = """\
try:
    import math, a_package_of_nobody as p
except ImportError:
    %pip install a_package_of_nobody
    import math, a_package_of_nobody as p
"""


@pytest.mark.parametrize(
    "first",
    [
        INSTALLED,
        "import a_package_of_nobody",
        "import a_package_of_nobody as pd, math",
        "from a_package_of_nobody.parts import rearrange, repeat",
    ],
)
def test_a_missing_package_costs_nothing_where_it_is_not_used(marker, first):
    outcome = marker.mark(solved(first=first))
    assert (outcome.status, outcome.note, outcome.points) == ("marked", "", ALL)


USES_IT = "def attention(q, k, v):\n    return rearrange(q), v"


@pytest.mark.parametrize(
    ("first", "answer"),
    [
        ("from a_package_of_nobody import rearrange", USES_IT),
        ("import a_package_of_nobody as p", "attention = p.attention"),
        (INSTALLED, "attention, rest = p.attention, p.rest"),
        ("", "def attention(q, k, v):\n    import a_package_of_nobody"),
    ],
)
def test_what_needs_a_missing_package_is_no_zero(marker, first, answer):
    outcome = marker.mark(solved(first=first, attention=answer))
    # SelfAttention calls attention.
    assert states(outcome) == {"attention": NEEDS, "SelfAttention": NEEDS}
    assert "It needs a_package_of_nobody, which is not here." in outcome.note
    assert (outcome.status, outcome.points) == ("partly", ALL - 6)


@pytest.mark.parametrize(
    "answer",
    [
        "raise ModuleNotFoundError(\"No module named 'a_package_of_nobody'\")",
        "raise ModuleNotFoundError(\"No module named 'torch'\")",
        "def attention(*_):\n    raise ModuleNotFoundError(\"No module named 'x'\")",
    ],
)
def test_a_package_that_is_not_imported_is_no_excuse(marker, answer):
    outcome = marker.mark(solved(attention=answer))
    (mark,) = (m for m in outcome.marks if m.id.endswith(".attention"))
    assert (mark.points, outcome.status) == (0, "marked")


def test_a_package_that_may_be_used_is_imported_once_for_all(marker):
    look = "import sys\nassert 'colorsys' in sys.modules\nimport colorsys"
    outcome = marker.mark(solved(cells=[look]))
    assert (outcome.status, outcome.note, outcome.points) == ("marked", "", ALL)


def test_a_package_is_known_by_its_module_and_by_what_pip_calls_it():
    assert modules_of(["PyYAML", "pillow", "json", "PIL"]) == [
        *("yaml", "PIL", "json", "PIL")
    ]
    assert [*map(distribution_of, ("PIL", "pillow"))] == ["pillow", "pillow"]
    with pytest.raises(NotInstalled, match="got of_nobody: pip install of_nobody"):
        modules_of(["torch", "of_nobody"])


def test_a_machine_of_a_cluster_says_which_package_it_lacks():
    settings = Settings(7, packages=("of_nobody",))
    with pytest.raises(SandboxError, match="of_nobody: pip install of_nobody"):
        mark_read(solved(), settings)


UNFIT = {  # package → its source, and what is said of it
    "broken": (
        "raise OSError('no such library')",
        "imported: OSError: no such library",
    ),
    "threaded": (
        "import threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "starts threads when it is imported: leave it out",
    ),
}
PREPARE = """
import sys
from vit_encoder.grade.fork_server import prepare
sys.path.insert(0, sys.argv[1])
for package in sys.argv[2:]:
    try:
        prepare([package])
    except SystemExit as end:
        print(end.code)
"""


def test_a_package_that_no_sandbox_can_import(tmp_path):
    for package, (source, _) in UNFIT.items():
        (tmp_path / f"{package}.py").write_text(source)
    command = [sys.executable, "-c", PREPARE, tmp_path, *UNFIT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    for line, (package, (_, said)) in zip(lines, UNFIT.items(), strict=True):
        assert line.startswith(f"{package} ")
        assert said in line


def test_a_cell_that_takes_too_long_costs_no_other(marker):
    outcome = marker.mark(solved(cells=["x = 0\nwhile True: x += 1"]))
    assert (outcome.status, outcome.points) == ("marked", ALL)
    assert "it computed for 2 seconds and was stopped" in outcome.note
    assert "better taken out before it is handed in" in outcome.note


def test_a_loop_that_waits_for_points_costs_no_other(marker):
    loop = 'while not check("self_attention.entropy", "A").points: pass'
    outcome = marker.mark(solved(cells=[loop]))
    assert (outcome.status, outcome.points) == ("marked", ALL)
    assert "was called more than 20 times" in outcome.note


# Tests of students, which are heard at the end.


def answer(task):
    """The source of an answer in the solution."""
    (cell,) = (c for c in solved().cells if c.task == f"self_attention.{task}")
    return cell.source


def test_a_test_finds_what_was_there_when_it_was_checked(marker):
    test = "test = is_right\ndef is_right(attention): return test(attention)"
    sources = {
        "wrong_axis": f"{answer('wrong_axis')}\n{test}",
        "find_the_bug": f"{answer('find_the_bug')}\ntest = None",
    }
    outcome = marker.mark(solved(**sources))
    assert (outcome.status, outcome.note, outcome.points) == ("marked", "", ALL)


def test_of_several_tests_the_last_one_counts(marker):
    weak = 'check("self_attention.wrong_axis", lambda attention: True)'
    assert marker.mark(solved(cells=[weak])).points == ALL
    later = f"{answer('find_the_bug')}\n{weak}"
    outcome = marker.mark(solved(find_the_bug=later))
    assert "test accepts wrong" in states(outcome).pop("wrong_axis")
    assert not states(outcome).keys() - {"wrong_axis"}


def test_a_notebook_that_ends_early_loses_no_test_before_that(marker):
    ends = f"{answer('find_the_bug')}\nimport os; os._exit(0)"
    outcome = marker.mark(solved(find_the_bug=ends))
    assert outcome.status == "partly"
    assert not {"attention", "wrong_axis"} & states(outcome).keys()
    assert "find_the_bug" in states(outcome)


@pytest.mark.parametrize("ends", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_a_test_that_ends_its_process_costs_no_other(marker, ends):
    test = f"import os\ndef is_right(attention): {ends}"
    outcome = marker.mark(solved(wrong_axis=test))
    assert states(outcome) == {"wrong_axis": "no answer was heard"}


def test_a_test_may_be_handed_in_without_its_check(marker):
    found = solved()
    cells = tuple(c for c in found.cells if 'check("self_attention.w' not in c.source)
    outcome = marker.mark(replace(found, cells=cells))
    assert (outcome.status, outcome.points) == ("marked", ALL)


FAULT = 'raise RuntimeError("can\'t start new thread")'


def test_a_fault_of_the_machine_is_no_zero(marker):
    outcome = marker.mark(solved(attention=FAULT))
    assert states(outcome) == {"attention": MACHINE, "SelfAttention": MACHINE}
    assert outcome.status == "partly"


def test_a_fault_of_the_machine_that_goes_away_costs_nothing(marker, monkeypatch):
    visits = []

    def visit(submission):
        visits.append(submission)
        source = FAULT if len(visits) == 1 else None
        return Marker.visit(marker, solved(attention=source) if source else submission)

    monkeypatch.setattr(marker, "visit", visit)
    outcome = marker.mark(solved())
    assert len(visits) == 2
    assert (outcome.status, outcome.note, outcome.points) == ("marked", "", ALL)


def test_an_older_version_is_marked_by_todays(marker):
    def older(submission, **changes):
        return replace(
            submission,
            cells=tuple(
                replace(cell, version="00000000") if cell.task else cell
                for cell in submission.cells
            ),
        )

    outcome = marker.mark(older(solved()))
    assert (outcome.status, outcome.note, outcome.points) == ("marked", "", ALL)
    outcome = marker.mark(older(solved(attention="def attention(q, k, v): pass")))
    assert (outcome.status, outcome.points) == ("partly", ALL - 6)
    said = "Handed out in an older version, and marked by today's: "
    both = "self_attention.attention, self_attention.SelfAttention."
    assert f"{said}{both}" in outcome.note


def test_a_fault_of_the_judge_is_shown_once(marker, capsys, monkeypatch):
    monkeypatch.setattr(marker, "said", set())
    for line in (3, 3, 4):
        marker.say_once(f'Traceback\n  File "judge.py", line {line}, in f\nError')
    assert capsys.readouterr().err.count("Traceback") == 2


# Time


class Process:
    """A process that has computed for a while."""

    def __init__(self, seconds, pid=7):
        self.seconds, self.pid = seconds, pid

    def cpu_times(self):
        return (self.seconds, 0.0, 0.0, 0.0, 0.0)

    def memory_info(self):
        return type("Memory", (), {"rss": 0})


@pytest.fixture
def clock(monkeypatch):
    """A watchman, and what the machine tells it."""
    told = {"now": 0.0, "computed": 0.0, "waited": 0.0}
    monkeypatch.setattr(time, "monotonic", lambda: told["now"])
    monkeypatch.setattr(sandbox_module, "waited_for_a_core", lambda _: told["waited"])

    def found(_):
        return [Process(told["computed"]), Process(0, 8)]

    monkeypatch.setattr(sandbox_module, "below", found)
    return told, Watchman(1, Limits(seconds=10), found(1))


def test_time_is_not_what_others_took(clock):
    told, watchman = clock
    told |= {"now": 60.0, "waited": 52.0, "computed": 8.0}
    watchman.look()


def test_without_others_it_is_that_of_the_clock(clock):
    told, watchman = clock
    told |= {"now": 60.0, "computed": 8.0}
    with pytest.raises(Ended, match="did not finish within 10 seconds"):
        watchman.look()


def test_what_all_processes_compute_counts(clock):
    told, watchman = clock
    told |= {"now": 6.0, "computed": 11.0}
    with pytest.raises(Ended, match="computed for more than 10 seconds"):
        watchman.look()
