"""The command: what it refuses, what it writes, and that it survives being killed."""

import contextlib
import functools
import json
import multiprocessing
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from csv import DictReader
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from tests.processes import wait_until, wait_until_ended

from vit_encoder.check import catalogue
from vit_encoder.command import main
from vit_encoder.grade import session, workers
from vit_encoder.grade.journal import Journal
from vit_encoder.grade.mark import Marker
from vit_encoder.grade.outcome import Mark, Outcome
from vit_encoder.grade.sandbox import Sandbox, SandboxError
from vit_encoder.grade.submissions import find_submissions, read_submission

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "vit_encoder.command", "grade"]
SOLVED = json.loads((ROOT / "solutions" / "02_self_attention.ipynb").read_text())
TASKS = {
    e["id"]: e["points"] for e in catalogue() if e["notebook"] == "02_self_attention"
}
POINTS = [str(points) for points in TASKS.values()]
ALL = sum(TASKS.values())


@pytest.fixture
def handed_in(tmp_path):
    """A function that writes a solved notebook, with a change to it, for a student."""
    folder = tmp_path / "handed_in"
    folder.mkdir()

    def write(name, change=lambda notebook: None):
        notebook = json.loads(json.dumps(SOLVED))
        change(notebook)
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook))
        return folder

    return write


def exercise(notebook, id):
    """The cell of a task."""
    return next(
        cell
        for cell in notebook["cells"]
        if cell["metadata"].get("exercise", {}).get("id") == id
    )


def with_cell(source):
    """A change that puts a cell at the top."""
    cell = {"cell_type": "code", "source": source, "metadata": {}}
    return lambda notebook: notebook["cells"].insert(0, cell)


HOSTILE = {
    "is ended": (
        "import itertools\nfor i in itertools.count(): open(str(i), 'w').close()"
    ),
    "leaves a process": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)"
    ),
    "kills itself": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
}


def rows(table):
    """Student or path → row of a table."""
    with open(table, encoding="utf-8", newline="") as file:
        return {row["student"] or row["submission"]: row for row in DictReader(file)}


def last_line(capsys):
    """What was printed last."""
    return capsys.readouterr().out.splitlines()[-1]


# What is refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--output", "marks.csv"], "nowhere is not there"),
        (["class", "--output", "marks.txt"], "ends in .csv, got 'marks.txt'"),
        (["class", "--output", "no/marks.csv"], "the folder of the output, is not"),
        (["class", "--output", "folder.csv"], "but folder.csv is a folder"),
        (["empty", "--output", "marks.csv"], "empty holds no file"),
        (["a.pdf", "--output", "marks.csv"], "expected a folder or a zip"),
        (["class", "--output", "marks.csv", "--dask", "x"], "missing port number"),
        (
            [
                "class",
                "--output",
                "m.csv",
                "--with",
                "numpy,of_nobody",
                "--with",
                "x-y",
            ],
            "installed, got of_nobody, x-y: pip install of_nobody x-y",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(
    tmp_path, handed_in, monkeypatch, capsys, arguments, said
):
    monkeypatch.chdir(tmp_path)
    handed_in("ada").rename("class")
    for folder in ("empty", "folder.csv"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    before = sorted(tmp_path.rglob("*"))
    assert main(["grade", *arguments]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.startswith("vit-encoder grade: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: SUBMISSIONS, --output"),
        (["class"], "required: --output"),
        (["class", "--output", "m.csv", "--seed", "-1"], "from 0 to .*, got '-1'"),
        (["class", "--output", "m.csv", "--seed", str(2**63)], "from 0 to"),
        (["class", "--output", "m.csv", "--seed", "x"], "a whole number .*, got 'x'"),
        (["class", "--output", "m.csv", "--workers", "0"], "from 1 to .*, got '0'"),
        (["class", "--output", "m.csv", "--assignment", "99"], "or its number, got"),
        (["class", "--output", "m.csv", "--due", "soon"], "a time such as .*'soon'"),
        (["class", "--output", "m.csv", "--results", "02.ipynb"], "a name in .json"),
        (["class", "--output", "m.csv", "--attempt", "first"], "invalid choice"),
        (["class", "--output", "m.csv", "--with", "a;b"], "names of packages .*'a;b'"),
        (["class", "--output", "m.csv", "--with", "a,"], "names of packages .*'a,'"),
        (
            ["class", "--output", "m.csv", "--workers", "2", "--dask", "x"],
            "not allowed",
        ),
    ],
)
def test_wrong_arguments_are_refused(capsys, arguments, said):
    with pytest.raises(SystemExit) as left:
        main(["grade", *arguments])
    assert left.value.code == 2
    assert re.search(said, capsys.readouterr().err)


def test_a_second_run_on_one_output_is_refused(tmp_path, handed_in, capsys):
    folder, table = handed_in("ada"), tmp_path / "marks.csv"
    with Journal(tmp_path / "marks.csv.journal", {}):
        assert main(["grade", str(folder), "--output", str(table)]) == 2
    assert "Another run is writing" in capsys.readouterr().err


def test_a_machine_without_a_sandbox(tmp_path, handed_in, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    folder, table = handed_in("ada"), tmp_path / "marks.csv"
    assert main(["grade", str(folder), "--output", str(table)]) == 2
    said = capsys.readouterr().err
    assert "bubblewrap is not installed" in said
    assert "--no-sandbox" in said
    assert not table.exists()


# What is written, with marks that are made up


def made_up(entries, workers):
    """Instead of `mark_all`: full marks, and nothing runs."""
    for entry in entries:
        submission = read_submission(entry)
        marks = tuple(Mark(id, 1, 1, "passed") for id in TASKS)
        yield Outcome(
            entry.path,
            entry.student,
            submission.digest,
            submission.notebook,
            "marked",
            marks,
            "",
        )


@pytest.fixture
def nothing_runs(monkeypatch):
    """Marks are made up; the list gets the paths of what was marked."""
    marked = []

    def mark_all(entries, workers):
        for outcome in made_up(entries, workers):
            marked.append(outcome.submission)
            yield outcome

    monkeypatch.setattr(session, "mark_all", mark_all)
    return marked


@pytest.mark.parametrize("broken", ["write_table", "write_feedback"])
def test_a_table_is_written_whole_or_not_at_all(
    tmp_path, handed_in, nothing_runs, monkeypatch, capsys, broken
):
    folder, table = handed_in("ada"), tmp_path / "marks.csv"
    command = ["grade", str(folder), "--output", str(table)]
    assert main(command) == 0
    assert last_line(capsys) == "1 submission: 1 marked, 0 partly, 0 failed."
    before = table.read_bytes()
    handed_in("bo")

    def full(*_):
        raise OSError(28, "No space left on device", "marks.csv")

    with monkeypatch.context() as patch:
        if broken == "write_table":
            patch.setattr(os, "fsync", lambda _: None)
            patch.setattr(os, "replace", full)
        else:
            patch.setattr(session, broken, full)
        assert main(command) == 2
    said, where = capsys.readouterr(), table if broken == "write_table" else "marks.csv"
    assert said.err == f"vit-encoder grade: {where}: No space left on device\n"
    if broken == "write_table":
        assert table.read_bytes() == before
    assert nothing_runs == ["ada.ipynb", "bo.ipynb"]  # ada.ipynb was in the record
    assert main(command) == 0
    assert len(nothing_runs) == 2  # and bo.ipynb in the journal
    assert list(rows(table)) == ["ada", "bo"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "handed_in",
        "marks.csv",
        "marks.before-1.csv",
        "marks_class.html",
        "marks_feedback",
        "marks_record.jsonl",
        "marks_students.csv",
        *(["marks_students.before-1.csv"]),
    }


def test_marks_of_a_class_are_not_lost_to_a_run_over_one(
    tmp_path, handed_in, nothing_runs, capsys
):
    for name in ("ada", "bo", "cy"):
        folder = handed_in(name)
    table, one = tmp_path / "marks.csv", tmp_path / "one"
    assert main(["grade", str(folder), "--output", str(table)]) == 0
    feedback = sorted((tmp_path / "marks_feedback").iterdir())
    one.mkdir()
    (folder / "bo.ipynb").rename(one / "bo.ipynb")
    (one / "bo.ipynb").write_text((one / "bo.ipynb").read_text() + " ")
    assert main(["grade", str(one), "--output", str(table)]) == 0
    assert nothing_runs == ["ada.ipynb", "bo.ipynb", "cy.ipynb", "bo.ipynb"]
    kept = {n for n, row in rows(table).items() if "earlier run" in row["note"]}
    assert kept == {"ada", "cy"}
    assert sorted((tmp_path / "marks_feedback").iterdir()) == feedback
    said = capsys.readouterr().out.splitlines()
    assert "Taken over from earlier runs, unchanged: 2." in said
    assert said[-1] == "3 submissions: 3 marked, 0 partly, 0 failed."
    (tmp_path / "marks_record.jsonl").unlink()  # a table of somebody else
    assert main(["grade", str(one), "--output", str(table)]) == 2
    said = capsys.readouterr().err
    assert f"{table} has marks of ada.ipynb, cy.ipynb, not handed in here" in said
    assert list(rows(table)) == ["ada", "bo", "cy"]


def test_only_what_changed_is_marked_again(tmp_path, handed_in, nothing_runs, capsys):
    handed_in("ada")
    folder, table = handed_in("bo"), tmp_path / "marks.csv"
    command = ["grade", str(folder), "--output", str(table), "--seed", "7"]
    assert main(command) == main(command) == 0
    assert nothing_runs == ["ada.ipynb", "bo.ipynb"]
    handed_in("bo", with_cell("pass"))
    assert main([*command, "--only", "ada"]) == 0
    assert len(nothing_runs) == 2  # bo has changed, and was not asked for
    assert main(command) == 0
    assert nothing_runs[2:] == ["bo.ipynb"]
    assert main([*command, "--only", "ada", "--again"]) == 0
    assert nothing_runs[3:] == ["ada.ipynb"]
    assert main([*command[:-1], "8"]) == 0  # other inputs: nothing is known
    assert len(nothing_runs) == 6
    assert list(rows(table)) == ["ada", "bo"]
    assert main([*command, "--only", "cy"]) == 2
    assert "for --only, got 'cy'" in capsys.readouterr().err


def test_a_run_that_was_stopped_is_not_lost_to_one_over_one(
    tmp_path, handed_in, nothing_runs, monkeypatch
):
    handed_in("ada")
    folder, table = handed_in("bo"), tmp_path / "marks.csv"
    command = ["grade", str(folder), "--output", str(table)]
    with monkeypatch.context() as patch:
        patch.setattr(session, "write_table", stop)
        assert main(command) == 130
    assert main([*command, "--only", "ada"]) == 0
    assert nothing_runs == ["ada.ipynb", "bo.ipynb"]
    assert list(rows(table)) == ["ada", "bo"]


def test_a_record_that_is_damaged_is_refused(tmp_path, handed_in, nothing_runs, capsys):
    folder, table = handed_in("ada"), tmp_path / "marks.csv"
    command = ["grade", str(folder), "--output", str(table)]
    assert main(command) == 0
    record = tmp_path / "marks_record.jsonl"
    for damaged in (b"{}\n", b"\xff\n", b"[" * 9999, record.read_bytes()[:-9]):
        record.write_bytes(damaged)
        assert main(command) == 2
        assert f"{record} is damaged in line 1" in capsys.readouterr().err
        assert record.read_bytes() == damaged


def test_points_set_by_hand_survive(tmp_path, handed_in, nothing_runs, capsys):
    folder, table = handed_in("ada"), tmp_path / "marks.csv"
    command = ["grade", str(folder), "--output", str(table), "--again"]
    lines = "student,task,points,reason\nada,self_attention.attention,3,=shown to me\n"
    (tmp_path / "marks_overrides.csv").write_text(lines)
    for _ in range(2):
        assert main(command) == 0
        (row,) = rows(table).values()
        assert row["self_attention.attention"] == "3"
        assert row["points"] == str(len(TASKS) + 2)
        assert row["note"] == "Set by hand: self_attention.attention."
        (page,) = (tmp_path / "marks_feedback").glob("*.html")
        assert "Set by hand, 1 before: =shown to me." in page.read_text()
    for wrong, said in {
        "bo,self_attention.attention,3,x": "nobody is called 'bo'",
        "ada,self_attention.nothing,3,x": "line 2: no task 'self_attention.nothing'",
        "ada,self_attention.attention,4,x": "expected 0 to 3 points",
        "ada,self_attention.attention,-1,x": "expected 0 to 3 points",
        "ada,mlp.MLP,1,x": "has not handed in the notebook of mlp.MLP",
    }.items():
        (tmp_path / "marks_overrides.csv").write_text(f"{lines[:27]}{wrong}\n")
        assert main(command) == 2
        assert said in capsys.readouterr().err
    assert rows(table)["ada"]["points"] == str(len(TASKS) + 2)


def test_a_roster_says_who_is_missing_and_who_is_unknown(
    tmp_path, handed_in, nothing_runs, capsys
):
    handed_in("ada")
    folder, table = handed_in("mallory"), tmp_path / "marks.csv"
    (tmp_path / "class.csv").write_text("Name;ID;Email\nAda;7;a@u.example\nCy;9;\n")
    arguments = ["grade", str(folder), "--output", str(table)]
    assert main([*arguments, "--roster", str(tmp_path / "class.csv")]) == 0
    said = capsys.readouterr().out
    assert "Nothing came from: Cy." in said
    assert "Not in the list: mallory." in said
    with open(tmp_path / "marks_students.csv", newline="") as file:
        found = list(DictReader(file))
    assert [(r["student"], r["id"], r["status"], r["points"]) for r in found] == [
        ("Ada", "7", "marked", str(len(TASKS))),
        ("mallory", "", "marked", str(len(TASKS))),
        ("Cy", "9", "missing", ""),
    ]
    (tmp_path / "class.csv").write_text("Colour\nred\n")
    assert main([*arguments, "--roster", str(tmp_path / "class.csv")]) == 2
    assert "expected columns such as Name" in capsys.readouterr().err


def test_what_came_late_on_moodle_is_flagged_and_what_came_before_is_not(
    tmp_path, handed_in, nothing_runs, capsys
):
    table, worksheet = tmp_path / "marks.csv", tmp_path / "worksheet.csv"
    ada = handed_in("ada") / "Ada_7_assignsubmission_file"
    ada.mkdir()

    def hand_in(name, state, when):
        (ada.parent / "ada.ipynb").rename(ada / f"{name}.ipynb")
        worksheet.write_text(
            "Identifier,Full name,Status,Grade,Maximum grade,"
            "Last modified (submission)\n"
            f'Participant 7,Ada,{state},,{len(TASKS)}.00,"{when}"\n'
        )

    command = ["grade", str(ada.parent), "--output", str(table)]
    command += ["--roster", str(worksheet)]
    hand_in("first", "Submitted for grading", "Friday, 4 September 2026, 10:36 PM")
    assert main(command) == 0
    (ada / "first.ipynb").unlink()
    handed_in("ada", with_cell("pass"))
    late = "Submitted for grading - 1 hour 3 mins late"
    hand_in("second", late, "Saturday, 5 September 2026, 1:03 AM")
    for due, flags in {
        "": [False, True],
        "2026-09-05T08:00": [False, False],
        "2026-09-04T08:00": [True, True],
    }.items():
        assert main([*command, *(["--due", due] if due else [])]) == 0
        with open(table, newline="") as file:
            notes = {row["submission"]: row["note"] for row in DictReader(file)}
        assert ["Late." in notes[path] for path in sorted(notes)] == flags
        with open(tmp_path / "marks_students.csv", newline="") as file:
            (student,) = DictReader(file)
        assert student["late"] == ("late" if flags[1] else "")
    said = capsys.readouterr().out
    assert "When it came is not known" not in said
    assert "Moodle takes at most" not in said
    assert main([*command[:4], "--again", "--due", "2026-09-05T08:00"]) == 0
    said = "When it came is not known, so --due says nothing of: "
    assert f"{said}Ada_7_assignsubmission_file/second.ipynb." in capsys.readouterr().out
    worksheet.write_text(
        "Identifier,Full name,Grade,Maximum grade\n"
        f'Participant 7,Ada,,"{len(TASKS) - 1},50"\n'
    )
    assert main(command) == 0
    said = f"Moodle takes at most {len(TASKS) - 1}.5 points and skips what is more"
    assert said in (printed := capsys.readouterr().out)
    assert "without a word: Ada. Raise the maximum grade" in printed


def test_one_notebook_may_be_asked_for(tmp_path, handed_in, monkeypatch):
    asked = []

    def mark_all(entries, workers):
        asked.extend(entry.asked for entry in entries)
        return made_up(entries, workers)

    monkeypatch.setattr(session, "mark_all", mark_all)
    command = ["grade", str(handed_in("ada")), "--output", str(tmp_path / "marks.csv")]
    for given in (["02"], ["2"], ["02_self_attention.ipynb"], ["02", "05"], []):
        options = [word for one in given for word in ("--assignment", one)]
        if given == ["2"]:
            with pytest.raises(SystemExit):
                main([*command, *options])
        else:
            assert main([*command, *options]) == 0
    assert asked == [
        ("02_self_attention",),
        ("02_self_attention", "05_mlp"),
        (),
    ]


def test_a_copy_without_names(tmp_path, handed_in, nothing_runs):
    handed_in("Ada Lovelace")
    folder, table = handed_in("Bo Berg"), tmp_path / "marks.csv"
    command = ["grade", str(folder), "--output", str(table), "--anonymous"]
    assert main(command) == main(command) == 0
    with open(tmp_path / "marks_names.csv", newline="") as file:
        key = {line["code"]: line["student"] for line in DictReader(file)}
    assert sorted(key.values()) == ["Ada Lovelace", "Bo Berg"]
    found = rows(tmp_path / "marks_anonymous" / "marks.csv")
    assert {*found} == {*key}
    files = [f for f in (tmp_path / "marks_anonymous").rglob("*") if f.is_file()]
    assert len(files) == 5  # the table did not change with the second run
    for file in files:
        text = f"{file.name} {file.read_text()}".lower()
        assert not re.search(r"lovelace|berg", text)


def test_an_empty_submission_makes_a_result(tmp_path, handed_in, capsys):
    (tmp_path / "submission").mkdir()
    results = tmp_path / "results.json"
    arguments = ["grade", str(tmp_path / "submission"), "--results", str(results)]
    assert main([*arguments, "--output", str(tmp_path / "marks.csv")]) == 2
    told = json.loads(results.read_text())
    assert told["score"] == 0
    assert "holds no file" in told["output"]


def test_what_an_instructor_wrote_into_a_table_is_kept(
    tmp_path, handed_in, nothing_runs, capsys
):
    folder, table = handed_in("ada"), tmp_path / "marks.csv"
    command = ["grade", str(folder), "--output", str(table)]
    assert main(command) == main(command) == 0
    assert not list(tmp_path.glob("*.before-*"))
    marked = f"marked,{len(TASKS)}"
    edited = table.read_text().replace(marked, "marked,5")
    table.write_text(edited)
    assert main(command) == 0
    kept = tmp_path / "marks.before-1.csv"
    assert f"The table that was there is kept: {kept}." in capsys.readouterr().out
    assert kept.read_text() == edited
    assert marked in table.read_text()


def test_another_file_is_not_written_over(tmp_path, handed_in, nothing_runs, capsys):
    folder, table = handed_in("ada"), tmp_path / "marks.csv"
    table.write_text("name,grade\nada,1\n")
    assert main(["grade", str(folder), "--output", str(table)]) == 2
    assert "expected a table of marks" in capsys.readouterr().err
    assert table.read_text() == "name,grade\nada,1\n"


def test_a_file_that_was_changed_is_marked_anew(
    tmp_path, handed_in, nothing_runs, monkeypatch
):
    folder, table = handed_in("ada"), tmp_path / "marks.csv"
    handed_in("bo")
    command = ["grade", str(folder), "--output", str(table)]
    with monkeypatch.context() as patch:
        patch.setattr(session, "write_table", stop)
        assert main(command) == 130
    handed_in("bo", with_cell("pass"))
    assert main(command) == 0
    assert nothing_runs == ["ada.ipynb", "bo.ipynb", "bo.ipynb"]


def test_what_a_stopped_run_made_of_another_file_does_not_stand(
    tmp_path, handed_in, nothing_runs, monkeypatch
):
    folder, table = handed_in("ada"), tmp_path / "marks.csv"
    command = ["grade", str(folder), "--output", str(table)]
    assert main(command) == 0
    record = (tmp_path / "marks_record.jsonl").read_text()
    handed_in("ada", with_cell("pass"))
    with monkeypatch.context() as patch:
        patch.setattr(session, "write_table", stop)
        assert main(command) == 130
    handed_in("ada")  # the file that the first run has marked
    assert main(command) == 0
    assert (tmp_path / "marks_record.jsonl").read_text() == record


def stop(*_):
    """A teacher who stops the run."""
    raise KeyboardInterrupt


def test_seeds(tmp_path, handed_in, monkeypatch):
    seeds = []

    def mark_all(entries, workers):
        seeds.append(workers.args[0].seed)
        return made_up(entries, workers)

    monkeypatch.setattr(session, "mark_all", mark_all)
    command = ["grade", str(handed_in("ada")), "--output", str(tmp_path / "marks.csv")]
    for given in (["--seed", "7"], ["--seed", "7"], [], []):
        assert main([*command, *given]) == 0
    assert seeds[:2] == [7, 7]
    assert len(set(seeds)) == 3


def test_the_same_seed_asks_the_same():
    first, again, other = (Marker(seed, sandbox=None) for seed in (7, 7, 8))
    for id in ("self_attention.attention", "mlp.MLP", "capstone.TextEncoder"):
        asked = [numbers(marker.prepare(id).questions) for marker in (first, again)]
        assert all(map(torch.equal, *asked))
        pairs = zip(asked[0], numbers(other.prepare(id).questions), strict=True)
        assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in pairs)


def numbers(questions):
    """The inputs of an exercise."""
    return [
        x.nan_to_num()
        for q in questions
        for x in q.inputs
        if isinstance(x, torch.Tensor)
    ]


# Sandboxes that do not start


def test_a_start_that_fails_is_tried_once_more(monkeypatch):
    starts = []

    def start_once(self):
        starts.append(self)
        if len(starts) != 2:
            raise SandboxError("The machine is busy.")

    monkeypatch.setattr(Sandbox, "start_once", start_once)
    Sandbox().start()
    assert len(starts) == 2
    with pytest.raises(SandboxError, match="busy"):
        Sandbox().start_once()


def test_a_sandbox_that_starts_no_more_costs_one_row(handed_in, monkeypatch):
    settings = workers.Settings(seed=1)
    (entry,) = find_submissions(handed_in("ada")).entries
    tired = Sandbox()

    def run(*_):
        raise SandboxError("The sandbox did not start.")

    monkeypatch.setattr(tired, "run", run)
    monkeypatch.setattr(workers, "MARKERS", {settings: Marker(1, tired)})
    marked = workers.read_and_mark(entry, settings)
    assert marked.hindered  # so it is marked again
    outcome = marked.outcome
    assert (outcome.status, outcome.note) == ("failed", "The sandbox did not start.")


def test_a_first_sandbox_that_does_not_start_ends_the_run(handed_in, monkeypatch):
    def start(self):
        raise SandboxError("bubblewrap is broken")

    monkeypatch.setattr(Sandbox, "start", start)
    monkeypatch.setattr(workers, "MARKERS", {})
    (entry,) = find_submissions(handed_in("ada")).entries
    with pytest.raises(SandboxError, match="broken"):
        workers.read_and_mark(entry, workers.Settings(seed=1))


# Students who take too much, and a machine that has no time


def at_hand(mark):
    """Workers in the place of `local_workers`, which call `mark` at once."""

    @contextlib.contextmanager
    def opened():
        def submit(entry):
            future = Future()
            future.set_result(mark(entry))
            return future

        yield submit, 4

    return opened


def outcome_of(entry, note=""):
    return Outcome(entry.path, entry.student, "d", "", "marked", (), note)


def test_fifty_notebooks_of_one_student_take_no_more_than_their_share(tmp_path):
    for number in range(50):
        path = tmp_path / "Ada_1_assignsubmission_file_" / f"{number:02}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    (tmp_path / "Bo_2_assignsubmission_file_").mkdir()
    (tmp_path / "Bo_2_assignsubmission_file_" / "02.ipynb").write_text("{}")
    entries = find_submissions(tmp_path).entries
    slow = at_hand(lambda e: workers.Marked(outcome_of(e), 61, hindered=False))
    outcomes = {o.submission: o for o in workers.mark_all(entries, slow)}
    assert len(outcomes) == len(entries) == 51
    of_ada = [o for path, o in outcomes.items() if path.startswith("Ada")]
    assert [o.status for o in of_ada] == ["marked"] * 10 + ["failed"] * 40
    assert (
        "files of this student that came before it took more than 10" in of_ada[-1].note
    )
    (of_bo,) = (o for path, o in outcomes.items() if path.startswith("Bo"))
    assert of_bo.status == "marked"


def test_no_two_files_of_a_student_are_under_way(tmp_path):
    for name in ("ada/1", "ada/2", "ada/3", "bo/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.ipynb").write_text("{}")
    pending, seen = set(), []

    def work(entry):
        time.sleep(0.05)
        pending.remove(entry.path)
        return workers.Marked(outcome_of(entry), 1, hindered=False)

    @contextlib.contextmanager
    def opened():
        with ThreadPoolExecutor(4) as pool:

            def submit(entry):
                pending.add(entry.path)
                seen.append({*pending})
                return pool.submit(work, entry)

            yield submit, 4

    entries = find_submissions(tmp_path).entries
    assert len([*workers.mark_all(entries, opened)]) == 4
    assert {"ada/1.ipynb", "bo/1.ipynb"} in seen
    assert not any(len([p for p in paths if "ada" in p]) > 1 for paths in seen)


def test_what_the_machine_had_no_time_for_is_marked_again_alone(handed_in):
    for name in ("ada", "bo", "cy"):
        folder = handed_in(name)
    entries, seen = find_submissions(folder).entries, []

    def mark(entry):
        seen.append(entry.student)
        hindered = entry.student == "bo" or seen.count("cy") == 1
        return workers.Marked(outcome_of(entry, str(len(seen))), 1, hindered)

    notes = {o.student: o.note for o in workers.mark_all(entries, at_hand(mark))}
    assert seen == ["ada", "bo", "cy", "bo", "cy"]
    assert notes == {"ada": "1", "bo": "4", "cy": "5"}


# Processes that end


class Deadly:
    """Ends the process that reads it."""

    def __reduce__(self):
        return os._exit, (1,)


def test_what_a_marking_process_had_when_it_was_killed_is_marked(handed_in):
    for name in ("ada", "bo", "cy"):
        folder = handed_in(name)
    entries = [*find_submissions(folder).entries]
    entries.append(replace(entries[0], path="deadly.ipynb", item=Deadly()))
    one = functools.partial(workers.local_workers, workers.Settings(seed=1), 1)
    others = {*multiprocessing.active_children()}  # such as a cluster's
    outcomes = []
    for outcome in workers.mark_all(entries, one):
        if not outcomes:
            (process,) = {*multiprocessing.active_children()} - others
            process.kill()
        outcomes.append(outcome)
    assert [(o.submission, o.status, o.points) for o in outcomes] == [
        ("ada.ipynb", "marked", ALL),
        ("bo.ipynb", "marked", ALL),
        ("cy.ipynb", "marked", ALL),
        ("deadly.ipynb", "failed", 0),
    ]
    assert outcomes[-1].note == "The marking process ended, each time."
    assert {*multiprocessing.active_children()} <= others


def below(process):
    """The command lines of all that a command started, by process."""
    found = {}
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found[child] = child.cmdline()
    return found


def in_the_sandbox(process):
    """The processes in the sandbox of a command, without the sandbox's own."""
    return [
        child
        for child, line in below(process).items()
        if "vit_encoder.grade.fork_server" in line and "python" in line[0]
    ]


def known_to(diary):
    """The submissions that a journal holds, whole lines only."""
    if not diary.exists():
        return []
    lines = diary.read_bytes().split(b"\n")[1:-1]
    return [json.loads(line)["submission"] for line in lines]


def test_killed_and_stopped_it_goes_on_and_loses_nothing(
    tmp_path, handed_in, monkeypatch, capsys
):
    others = {*multiprocessing.active_children()}
    for name in ("ada", "cy", "di"):
        folder = handed_in(name)
    for name, attack in zip(("aa", "bz", "cz"), HOSTILE.values(), strict=True):
        handed_in(name, with_cell(attack))
    handed_in("bo", with_cell("import time\ntime.sleep(600)"))  # here it is stopped
    table, diary = tmp_path / "marks.csv", tmp_path / "marks.csv.journal"
    arguments = [str(folder), "--output", str(table), "--workers", "1"]

    def start():
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # What runs in the background, as tests may, hears no Ctrl-C.
        hear = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return subprocess.Popen([*COMMAND, *arguments], preexec_fn=hear, **pipes)

    killed = start()
    wait_until(lambda: len(known_to(diary)) == 2)
    started = below(psutil.Process(killed.pid))
    assert any("bwrap" in line[0] for line in started.values())
    killed.kill()
    assert killed.communicate()[0] == ""
    wait_until_ended(started)
    assert known_to(diary) == ["aa.ipynb", "ada.ipynb"]
    assert not table.exists()
    seed = session.seed_of(diary, None)

    stopped = start()
    process = psutil.Process(stopped.pid)
    wait_until(lambda: len(in_the_sandbox(process)) == 2)  # warm, and a submission
    started = below(process)
    said = None
    while said is None:
        for pid in (stopped.pid, *(child.pid for child in started)):  # as a terminal
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == os.getsid(stopped.pid):
                    os.kill(pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):  # who waits presses again
            said = stopped.communicate(timeout=20)
    assert said == ("", "\nStopped. The same command goes on from here.\n")
    assert stopped.returncode == 130
    wait_until_ended(started)
    assert known_to(diary) == ["aa.ipynb", "ada.ipynb"]

    handed_in("bo")
    marked, real = [], session.mark_all

    def spy(entries, workers):
        marked.extend(entry.path for entry in entries)
        return real(entries, workers)

    monkeypatch.setattr(session, "mark_all", spy)
    assert session.seed_of(diary, None) == seed
    assert main(["grade", *arguments]) == 1  # what ended its sandbox has no marks
    assert marked == [f"{name}.ipynb" for name in ("bo", "bz", "cy", "cz", "di")]
    points = {name: row["points"] for name, row in rows(table).items()}
    assert {n: points[n] for n in ("ada", "bo", "cy", "di")} == dict.fromkeys(
        ("ada", "bo", "cy", "di"), str(ALL)
    )
    assert points["aa"] == points["cz"] == ""
    assert last_line(capsys).startswith("7 submissions: ")
    assert not diary.exists()
    assert {*multiprocessing.active_children()} <= others


# A class


def older(*ids):
    """A change that makes a notebook one of an older course."""

    def change(notebook):
        for id in ids:
            exercise(notebook, id)["metadata"]["exercise"]["version"] = "00000000"

    return change


def unknown(notebook):
    """A change that adds an exercise that the course does not have."""
    cell = exercise(notebook, "self_attention.entropy")
    strange = json.loads(json.dumps(cell))
    strange["metadata"]["exercise"]["id"] = "self_attention.nobody"
    notebook["cells"].append(strange)


def on_a_terminal(command):
    """Run a command whose messages go to a terminal: its status, output, messages."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(leader, (24, 80))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower) as process:
        os.close(follower)
        shown = b""
        with contextlib.suppress(OSError):  # how the end of a terminal reads
            while data := os.read(leader, 10_000):
                shown += data
        os.close(leader)
        printed = process.stdout.read()
    return process.returncode, printed.decode(), shown.decode()


def test_a_class(tmp_path, handed_in):
    handed_in("ada")
    handed_in("bo", older("self_attention.attention"))
    handed_in("cy", older(*TASKS))
    folder = handed_in("di", unknown)
    (folder / "fe.pdf").write_bytes(b"%PDF")
    (folder / "gi.ipynb").write_text("{")
    (folder / "chapter.ipynb").write_bytes(
        (ROOT / "chapters" / "02_self_attention.ipynb").read_bytes()
    )
    table = tmp_path / "marks.csv"
    status, printed, shown = on_a_terminal(
        [*COMMAND, str(folder), "--output", str(table), "--workers", "2"]
    )
    assert status == 1
    *_, where, last = printed.splitlines()
    assert where.startswith(f"Written: {table} and {tmp_path}/marks_feedback/. Seed: ")
    assert last == "7 submissions: 3 marked, 1 partly, 3 failed."
    assert "7/7" in shown
    assert "Traceback" not in shown
    found = rows(table)
    assert list(next(iter(found.values()))) == [
        *("submission", "student", "notebook", "status", "points", "out_of"),
        *TASKS,
        "note",
    ]
    assert {name: (row["status"], row["points"]) for name, row in found.items()} == {
        "ada": ("marked", str(ALL)),
        "bo": ("marked", str(ALL)),
        "chapter": ("failed", ""),
        "cy": ("marked", str(ALL)),
        "di": ("partly", str(ALL)),
        "fe.pdf": ("failed", ""),
        "gi": ("failed", ""),
    }
    assert [found["ada"][id] for id in TASKS] == POINTS
    assert {name: row["note"] for name, row in found.items()} == {
        "ada": "",
        "bo": "",
        "chapter": "Holds no exercise of this course.",
        "cy": "",
        "di": "Unknown exercise self_attention.nobody.",
        "fe.pdf": "Not a notebook.",
        "gi": found["gi"]["note"],
    }
    assert found["gi"]["note"].startswith("Broken JSON")
    feedback = sorted(path.name for path in (tmp_path / "marks_feedback").iterdir())
    assert len(feedback) == 14
    (results,) = (tmp_path / "marks_feedback").glob("ada-*.results.json")
    scores = [test["score"] for test in json.loads(results.read_text())["tests"]]
    assert list(map(str, scores)) == POINTS


# A cluster


@pytest.fixture(scope="module")
def cluster():
    """Two workers of Dask, reached from this machine alone."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=50,
    ) as started:
        yield started


@pytest.mark.xdist_group("cluster")
def test_a_cluster_one_of_whose_workers_is_killed(tmp_path, handed_in, cluster):
    names = [f"student{number}" for number in range(6)]
    for name in names:
        folder = handed_in(name, with_cell("import time\ntime.sleep(0.4)"))
    for number, attack in enumerate(HOSTILE.values()):
        handed_in(f"student{number}x", with_cell(attack))
    (folder / "essay.pdf").write_bytes(b"%PDF")
    table, diary = tmp_path / "marks.csv", tmp_path / "marks.csv.journal"
    killed = []

    def kill():
        wait_until(lambda: len(known_to(diary)) > 1)
        killed.append(cluster.workers[0].process.pid)
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    command = [str(folder), "--output", str(table), "--dask", cluster.scheduler_address]
    assert main(["grade", *command]) == 1
    thread.join()
    assert killed
    found = rows(table)
    assert found["essay.pdf"]["status"] == found["student0x"]["status"] == "failed"
    assert "more files" in found["student0x"]["note"]
    assert len(found) == len(names) + len(HOSTILE) + 1
    assert {name: found[name]["points"] for name in names} == dict.fromkeys(
        names, str(ALL)
    )


@pytest.mark.xdist_group("cluster")
def test_a_cluster_without_a_sandbox(tmp_path, handed_in, cluster, capsys):
    folder, table = handed_in("ada"), tmp_path / "marks.csv"
    with cluster.get_client() as client:
        client.wait_for_workers(2)  # one may still take the place of another
        client.run(lambda: os.environ.update(PATH=""))
    command = [str(folder), "--output", str(table), "--dask", cluster.scheduler_address]
    assert main(["grade", *command]) == 2
    assert "bubblewrap is not installed" in capsys.readouterr().err
    assert not table.exists()


@pytest.mark.xdist_group("cluster")
def test_what_a_cluster_says():
    from distributed import KilledWorker

    def said(**how):
        done, told = Future(), Future()
        for name, values in how.items():
            getattr(done, name)(*values)
        workers.pass_on(done, told)
        return told.exception() or told.result()

    assert said(set_result=["marks"]) == "marks"
    assert isinstance(
        said(set_exception=[KilledWorker("task", None, 3)]), BrokenProcessPool
    )
    assert isinstance(said(set_exception=[SandboxError("none")]), SandboxError)
    assert isinstance(said(cancel=[]), ConnectionError)
