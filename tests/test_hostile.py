"""Marking survives what is handed in: no point unearned, no run stopped, nothing left.

All submissions are marked in one run. What an attack is, and what must be said of it,
stands in tests/hostile.
"""

import copy
import json
import os
import random
import re
import socket
import subprocess
import threading
import time
import zipfile
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from tests.hostile import answers, damage, messages, sharing
from tests.hostile.kinds import ATTACKED, FIRST, Hostile
from tests.processes import wait_until_ended

import vit_encoder
from vit_encoder.check import catalogue
from vit_encoder.check.hearing.guard import load_meta
from vit_encoder.command import main
from vit_encoder.grade import sandbox
from vit_encoder.grade.command import REFUSED
from vit_encoder.grade.mark import Marker
from vit_encoder.grade.sandbox import Limits, Sandbox
from vit_encoder.grade.session import grade
from vit_encoder.grade.submissions import find_submissions, read_submission
from vit_encoder.grade.wire import Line

REPOSITORY = Path(__file__).parents[1]
NAME = "02_self_attention.ipynb"
EXERCISE = json.loads((REPOSITORY / "exercises" / NAME).read_text())
SOLUTION = (REPOSITORY / "solutions" / NAME).read_bytes()
CODE = [cell for cell in EXERCISE["cells"] if cell["cell_type"] == "code"]
TASKS = [cell["metadata"].get("exercise", {}).get("id", "") for cell in CODE]
ATTACK_BEGINS = 1 + TASKS.index(f"self_attention.{ATTACKED}")  # with this cell
FULL = {e["id"]: e["points"] for e in catalogue() if e["notebook"] == NAME[:-6]}
ALL = sum(FULL.values())
HOSTILE = [
    *messages.SENT,
    *messages.REPLACED,
    *answers.LYING,
    *answers.LOOKING,
    *answers.FORBIDDEN,
    *answers.STOLEN,
    *damage.KILLING,
    *damage.FILLING,
    *damage.AFTER_ME,
]
ENDLESS = [*messages.ENDLESS, *damage.ENDLESS]
LIMITS = Limits(seconds=600, memory=2**30, processes=40, cleaning=2)
pytestmark = pytest.mark.xdist_group("hostile")
HONEST_EVERY = 15  # hostile submissions an honest one stands between


def notebook(sources: dict[str, str]) -> dict:
    """The exercise notebook with these sources in the cells of these tasks."""
    made = copy.deepcopy(EXERCISE)
    for cell in made["cells"]:
        task = cell["metadata"].get("exercise", {}).get("id", "").split(".")[-1]
        if task in sources:
            cell["source"] = sources[task]
    return made


def of(hostile: Hostile, places: dict[str, str]) -> bytes:
    """The notebook of a hostile submission. places: what its source calls so."""
    sources = {FIRST: "prediction = [0.25, 0.75, 7]", hostile.task: hostile.source}
    text = json.dumps(notebook(sources | hostile.others))
    for name, place in places.items():
        text = text.replace(f"@{name}@", place)
    return text.encode()


def without_cells(*tasks: str) -> dict:
    """The solution without the cells of some tasks."""
    made = json.loads(SOLUTION)
    made["cells"] = [
        cell
        for cell in made["cells"]
        if not any(task in json.dumps(cell) for task in tasks)
    ]
    return made


def with_cells_twice() -> dict:
    """The solution, in which a task stands again with a wrong answer."""
    made = json.loads(SOLUTION)
    wrong = copy.deepcopy(made["cells"])
    for cell in wrong:
        if cell["metadata"].get("exercise", {}).get("id") == "self_attention.entropy":
            cell["source"] = 'choice = "A"'
    made["cells"] += wrong
    return made


def hostile_zip() -> bytes:
    """A zip with names that lead elsewhere, a link, and a bomb."""
    stream = BytesIO()
    link = zipfile.ZipInfo("link.ipynb")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../left.ipynb", SOLUTION)
        archive.writestr("/etc/left.ipynb", SOLUTION)
        archive.writestr(link, "/etc/passwd")
        archive.writestr("bomb.ipynb", b" " * 100 * 2**20)
    return stream.getvalue()


# Files: path → bytes, and for each a pattern of its note and the points it earns.
FILES = {
    "no_json/a.ipynb": (SOLUTION[:-500], "broken JSON", 0),
    "nothing/a.ipynb": (b"", "an empty file", 0),
    "binary/a.ipynb": (random.Random(0).randbytes(10_000), "not UTF-8", 0),
    "deep/a.ipynb": (b'{"nbformat": ' + b"[" * 10**6, "nested too deeply", 0),
    "pickled/a.pkl": (b"cos\nsystem\n(S'touch left'\ntR.", "not a notebook", 0),
    "missing/a.ipynb": (
        json.dumps(without_cells("attention.attention", "entropy")).encode(),
        "no cell for self_attention.attention, self_attention.entropy",
        ALL - 7,  # a third task calls what is missing
    ),
    "twice/a.ipynb": (
        json.dumps(with_cells_twice()).encode(),
        "more than one cell for",
        ALL - 1,
    ),
    "two_files/a.ipynb": (SOLUTION, "Same student and notebook", ALL),
    "two_files/b.ipynb": (SOLUTION, "Same student and notebook", ALL),
}


def write_submissions(folder: Path, places: dict[str, str]) -> None:
    """All submissions, an honest and an untouched one between the others."""
    for number, hostile in enumerate(HOSTILE):
        write(folder / f"{number:03} {hostile.name}" / NAME, of(hostile, places))
    for number in range(0, len(HOSTILE) + HONEST_EVERY, HONEST_EVERY):
        write(folder / f"{number:03} Honest" / NAME, SOLUTION)
        write(folder / f"{number:03} Idle" / NAME, json.dumps(EXERCISE).encode())
    for name, (data, _, _) in FILES.items():
        write(folder / name, data)
    write(folder / "zipped" / "a.zip", hostile_zip())
    with (folder / "large.ipynb").open("wb") as file:
        file.truncate(200 * 2**20)
    (folder / "link.ipynb").symlink_to("/etc/passwd")
    (folder / "folder.ipynb").symlink_to("/")
    os.mkfifo(folder / "pipe.ipynb")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe\n.ipynb")).write_bytes(SOLUTION)


def write(path: Path, data: bytes) -> None:
    """A file, and its folder."""
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(data)


class Witness(threading.Thread):
    """Sees every process that this one starts while it runs, and what they start."""

    def __init__(self):
        super().__init__(daemon=True)
        self.before = set(psutil.Process().children(recursive=True))
        self.seen: set[psutil.Process] = set()
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.1):
            now = set(psutil.Process().children(recursive=True))
            self.seen |= now - self.before

    def without_helper(self) -> list[psutil.Process]:
        """All of them, but for a helper that stays with the tests."""
        return [p for p in self.seen if "resource_tracker" not in line(p)]


def line(process: psutil.Process) -> str:
    """Its command line."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class Run:
    """What a run of the command left."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run over all submissions."""
    load_meta()  # torch keeps a folder in TMPDIR, where this is first asked for
    done = Run()
    folder = tmp_path_factory.mktemp("hostile")
    home, cwd, temporary = (folder / name for name in ("home", "cwd", "tmp"))
    for path in (home, cwd, temporary):
        path.mkdir()
    (home / "secret").write_text("secret")
    submissions, output = folder / "submissions", folder / "out" / "marks.csv"
    output.parent.mkdir()
    done.before = set(os.listdir("/tmp"))
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        server.setblocking(False)
        places = {
            "HOME": str(home),
            "OUTPUT": str(output),
            "SUBMISSIONS": str(submissions),
            "REPOSITORY": str(REPOSITORY),
            "PACKAGE": str(Path(vit_encoder.__file__).parent),
            "PORT": str(server.getsockname()[1]),
        }
        write_submissions(submissions, places)
        patch.chdir(cwd)
        patch.setenv("HOME", str(home))
        patch.setenv("TMPDIR", str(temporary))
        patch.setenv("SECRET", "points = 3")
        witness = Witness()
        witness.start()
        outcomes = grade(submissions, output, seed=7, workers=2, limits=LIMITS)
        witness.over.set()
        try:
            server.accept()
            done.reached = True
        except BlockingIOError:
            done.reached = False
    done.outcomes = {outcome.submission: outcome for outcome in outcomes}
    done.witness, done.folder = witness, folder
    return done


def points(outcome) -> dict[str, int]:
    """Task → points, where there are any."""
    return {mark.id.split(".")[1]: mark.points for mark in outcome.marks if mark.points}


def assert_it_earns_what_it_earned(hostile, outcome):
    """No more than what was right before the attack; and it is told what happened."""
    assert points(outcome) == hostile.earned
    marks = {mark.id.split(".")[1]: mark for mark in outcome.marks}
    tasks = [hostile.task, *hostile.others]
    said = [outcome.note]
    for mark in map(marks.get, tasks):
        said += [mark.state, mark.message, *mark.misconceptions]
    assert re.search(hostile.says, "\n".join(said), re.IGNORECASE), said
    if outcome.status != "marked":
        assert outcome.note


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_an_attack_earns_nothing(run, hostile):
    outcome = run.outcomes[f"{HOSTILE.index(hostile):03} {hostile.name}/{NAME}"]
    assert_it_earns_what_it_earned(hostile, outcome)


class Hurried(Line):
    """A connection whose time is over a second after the attack has begun."""

    def receive(self):
        message = super().receive()
        if message.get("cell", 0) >= ATTACK_BEGINS:
            self.deadline = min(self.deadline, time.monotonic() + 1)
        return message


@pytest.fixture(scope="module")
def warm():
    """A sandbox in which submissions that never end are marked, one after the other."""
    with Sandbox(limits=LIMITS) as started:
        yield started


@pytest.mark.parametrize("hostile", ENDLESS, ids=lambda hostile: hostile.name)
def test_what_never_ends_is_ended(warm, hostile, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "Line", Hurried)
    write(tmp_path / NAME, of(hostile, {}))
    (entry,) = find_submissions(tmp_path).entries
    outcome = Marker(7, warm).mark(read_submission(entry))
    assert_it_earns_what_it_earned(hostile, outcome)


class Neighbours:
    """A marker, whose sandbox goes from one submission to the next."""

    def __init__(self, sandbox, folder):
        self.marker, self.folder = Marker(7, sandbox), folder
        self.require_full_marks()

    def mark(self, data):
        """The outcome of one notebook."""
        write(self.folder / NAME, data)
        (entry,) = find_submissions(self.folder).entries
        return self.marker.mark(read_submission(entry))

    def require_full_marks(self):
        """An honest notebook gets what it deserves, here and now."""
        honest = self.mark(SOLUTION)
        assert (honest.status, honest.note) == ("marked", "")
        assert honest.points == honest.out_of == ALL


@pytest.fixture(scope="module")
def neighbours(warm, tmp_path_factory):
    return Neighbours(warm, tmp_path_factory.mktemp("neighbours"))


@pytest.mark.parametrize("hostile", sharing.SHARING, ids=lambda hostile: hostile.name)
def test_an_honest_neighbour_loses_nothing(neighbours, hostile):
    assert_it_earns_what_it_earned(hostile, neighbours.mark(of(hostile, {})))
    neighbours.require_full_marks()


def test_honest_submissions_get_their_marks(run):
    honest = [o for path, o in run.outcomes.items() if "Honest" in path]
    assert len(honest) >= 5
    assert {tuple(m.points for m in o.marks) for o in honest} == {tuple(FULL.values())}
    assert {o.status for o in honest} == {"marked"}
    assert {o.note[:27] for o in honest} == {"Byte for byte the same as 0"}


def test_untouched_notebooks_get_nothing(run):
    idle = [o for path, o in run.outcomes.items() if "Idle" in path]
    said = f"Not answered: {len(FULL)} of {len(FULL)} tasks."
    assert {(o.status, o.points, o.note) for o in idle} == {("marked", 0, said)}


@pytest.mark.parametrize("name", FILES)
def test_a_file_gets_a_row(run, name):
    _, says, earned = FILES[name]
    outcome = run.outcomes[name]
    assert re.search(says, outcome.note, re.IGNORECASE)
    assert outcome.points == earned


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("large.ipynb", "larger than 20 MB"),
        ("link.ipynb", "a link, which is not followed"),
        ("folder.ipynb", "a link, which is not followed"),
        ("pipe.ipynb", "not a plain file"),
        ("zipped/a.zip/link.ipynb", "a link, which is not followed"),
        ("zipped/a.zip/bomb.ipynb", "larger than 20 MB"),
    ],
)
def test_what_is_no_file_gets_a_row(run, name, says):
    outcome = run.outcomes[name]
    assert outcome.status == "failed"
    assert re.search(says, outcome.note, re.IGNORECASE)


def test_odd_names_are_marked_and_lead_nowhere(run):
    assert run.outcomes["\\xff\\xfe\\x0a.ipynb"].points == ALL
    assert run.outcomes["zipped/a.zip/left.ipynb"].points == ALL
    assert (
        "Named zipped/a.zip/../../left.ipynb"
        in run.outcomes["zipped/a.zip/left.ipynb"].note
    )
    assert run.outcomes["zipped/a.zip/etc/left.ipynb"].points == ALL


def test_every_file_has_a_row_and_no_more(run):
    assert len(run.outcomes) == sum(
        (
            len(HOSTILE),
            len([path for path in run.outcomes if "Honest" in path or "Idle" in path]),
            len(FILES),
            len(["large", "link", "folder", "pipe", "odd name"]),
            len(["left", "etc/left", "link", "bomb"]),
        )
    )


def test_the_network_was_not_reached(run):
    assert not run.reached


def test_no_process_is_left(run):
    assert len(run.witness.seen) > 10
    wait_until_ended(run.witness.without_helper())


def test_no_file_is_left(run):
    names = {"home": ["secret"], "cwd": [], "tmp": []}
    for name, expected in names.items():
        assert os.listdir(run.folder / name) == expected
    assert sorted(os.listdir(run.folder / "out")) == [
        "marks.csv",
        "marks_class.html",
        "marks_feedback",
        "marks_record.jsonl",
        "marks_students.csv",
    ]
    new = set(os.listdir("/tmp")) - run.before
    assert not [name for name in new if "left" in name or "vit-encoder" in name]
    assert not Path("/etc/left.ipynb").exists()


BURNS = Hostile(
    "burns every core",
    "import os\nfor _ in range(6):\n    if os.fork() == 0:\n        while True: pass\n"
    "while True: pass",
    "computed for more than 5 seconds",
)


def test_who_burns_every_core_costs_nobody(tmp_path):
    for number in range(2):
        write(tmp_path / "in" / f"{number} burns" / NAME, of(BURNS, {}))
        write(tmp_path / "in" / f"{number} honest" / NAME, SOLUTION)
    found = grade(
        tmp_path / "in", tmp_path / "marks.csv", workers=2, limits=Limits(seconds=5)
    )
    marks = {outcome.submission.partition("/")[0]: outcome for outcome in found}
    for number in range(2):
        assert_it_earns_what_it_earned(BURNS, marks[f"{number} burns"])
        assert marks[f"{number} honest"].status == "marked"
        assert marks[f"{number} honest"].points == ALL


# Where there is no sandbox.


def refusal(folder: Path, capsys) -> str:
    """What the command says that marks nothing."""
    write(folder / "in" / NAME, SOLUTION)
    arguments = ["grade", str(folder / "in"), "--output", str(folder / "marks.csv")]
    assert main(arguments) == REFUSED
    assert not (folder / "marks.csv").exists()
    return capsys.readouterr().err


def test_without_bubblewrap_it_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    said = refusal(tmp_path, capsys)
    assert "bubblewrap is not installed" in said
    assert "sudo apt-get install bubblewrap" in said
    assert "--no-sandbox" in said


@pytest.fixture
def bubblewrap(tmp_path, monkeypatch):
    """Puts a script in the place of bubblewrap."""

    def put(script):
        program = tmp_path / "bin" / "bwrap"
        write(program, b"#!/bin/sh\n" + script)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    return put


def test_a_bubblewrap_that_is_too_old_is_told(tmp_path, bubblewrap, capsys):
    bubblewrap(b"echo bubblewrap 0.6.1\n")
    said = refusal(tmp_path, capsys)
    assert "expected bubblewrap 0.8 or later" in said
    assert "got 0.6" in said


def test_a_bubblewrap_that_fails_is_told(tmp_path, bubblewrap, capsys):
    bubblewrap(b"echo No permission for a namespace >&2\nexit 1\n")
    said = refusal(tmp_path, capsys)
    assert "bubblewrap does not work here: No permission for a namespace" in said
    assert "how to allow it" in said


def test_without_a_sandbox_nothing_outside_is_touched(tmp_path, monkeypatch):
    folders = {name: tmp_path / name for name in ("submissions", "tmp", "outside")}
    folders["tmp"].mkdir()
    write(folders["outside"] / "file", b"stays")
    leaves = Hostile(
        "leaves",
        "import os, tempfile\n"
        f"os.symlink({str(folders['outside'])!r}, tempfile.gettempdir() + '/link')\n"
        "os.mkdir('shut')\nos.chmod('shut', 0)\n"
        "if os.fork() == 0: os._exit(0)",
        "",
    )
    write(folders["submissions"] / "a leaves" / NAME, of(leaves, {}))
    write(folders["submissions"] / "b honest" / NAME, SOLUTION)
    monkeypatch.setenv("TMPDIR", str(folders["tmp"]))
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        output, limits = tmp_path / "marks.csv", Limits(seconds=600)
        _, honest = grade(
            folders["submissions"], output, isolated=False, limits=limits, workers=1
        )
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    assert honest.points == ALL
    assert (folders["outside"] / "file").read_bytes() == b"stays"
    assert os.listdir(folders["tmp"]) == []
