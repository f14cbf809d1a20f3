"""Writing what comes out: the table, the feedback and the journal."""

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from html.parser import HTMLParser

import pytest

from vit_encoder import atomic
from vit_encoder.atomic import write_atomically
from vit_encoder.check import catalogue
from vit_encoder.grade.feedback import (
    OURS,
    feedback_name,
    gradescope_results,
    page,
    write_feedback,
)
from vit_encoder.grade.journal import Journal, JournalError
from vit_encoder.grade.mark import Marker
from vit_encoder.grade.outcome import Mark, Outcome, Submission
from vit_encoder.grade.table import note_repeats, summary, write_table

TASKS = [e["id"] for e in catalogue() if e["notebook"] == "02_self_attention"]
HEADER = {"seed": 7, "depends_on": "abc"}


def outcome(submission="ada/02.ipynb", **changes):
    """An outcome that is partly marked."""
    marks = (
        Mark(TASKS[0], 1, 1, "passed"),
        Mark(TASKS[1], 0, 3, "not passed yet", ("no-scale",), "What is\n√D_h for?"),
        Mark(TASKS[2], None, 1, "took too long"),
    )
    made = Outcome(
        submission, "ada", "d1", "02_self_attention", "partly", marks, "late"
    )
    return replace(made, **changes)


FAILED = Outcome("essay.pdf", "", "", "", "failed", (), "not a notebook")


def table(path, outcomes):
    """The rows of the table, as a script reads them."""
    write_table(path, outcomes)
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# The table


def test_a_row_for_each_submission(tmp_path):
    first, second = table(tmp_path / "marks.csv", [outcome(), FAILED])
    assert list(first) == [
        *("submission", "student", "notebook", "status", "points", "out_of"),
        *TASKS,
        "note",
    ]
    assert [first[task] for task in TASKS] == ["1", "0", *[""] * (len(TASKS) - 2)]
    known = ("submission", "student", "status", "points", "out_of", "note")
    row = ["ada/02.ipynb", "ada", "partly", "1", "5", "late"]
    assert [first[column] for column in known] == row
    row = ["essay.pdf", "", "failed", "", "", "not a notebook"]
    assert [second[column] for column in known] == row


def test_tasks_of_the_notebooks_that_occur_in_the_order_of_the_course(tmp_path):
    other = outcome(notebook="01_patches_and_positions", marks=())
    (row, _) = table(tmp_path / "marks.csv", [outcome(), other])
    both = [e["id"] for e in catalogue() if e["notebook"][:2] in ("01", "02")]
    assert list(row)[6:-1] == both
    (row,) = table(tmp_path / "marks.csv", [FAILED])
    assert list(row)[6:] == ["note"]


def test_a_submission_that_failed_has_no_points_rather_than_zero(tmp_path):
    marks = (Mark(TASKS[0], None, 1, "took too long"),)
    failed = outcome(status="failed", marks=marks)
    (row,) = table(tmp_path / "marks.csv", [failed])
    assert (row["points"], row["out_of"]) == ("", "1")


OPTIONAL = "capstone.verdicts"


def test_an_optional_task_is_part_of_no_total(tmp_path):
    own = [e for e in catalogue() if e["notebook"] == "08_capstone"]
    marks = {e["id"]: Mark(e["id"], 0, e["points"], "not passed yet") for e in own}
    submission = Submission("ada/08.ipynb", "ada", "d1", "08_capstone")
    for state, points in (("passed", 0), ("not passed yet", 0), ("lost", None)):
        marks[OPTIONAL] = Mark(OPTIONAL, points, 0, state)
        found = Marker(0, None).outcome(submission, marks, [])
        assert (found.status, found.out_of) == ("marked", 21)
        (row,) = table(tmp_path / f"{state}.csv", [found])
        assert "capstone.TextEncoder" in row
        assert OPTIONAL not in row
        (test,) = (
            t for t in gradescope_results(found)["tests"] if t["name"] == "The audit"
        )
        status = {"passed": "passed", "not passed yet": "failed"}.get(state)
        assert (test["max_score"], test.get("status")) == (0, status)
        assert f"<p>optional: {state}</p>" in page(found)
    marks["capstone.TextEncoder"] = Mark("capstone.TextEncoder", None, 5, "lost")
    assert Marker(0, None).outcome(submission, marks, []).status == "partly"


@pytest.mark.parametrize(
    "start", ["=1+1", "+1", "-1", "@SUM(A1)", "＝1", "=cmd|'/c'!A1"]
)
def test_no_cell_is_a_formula(tmp_path, start):
    evil = outcome(start, student=start, note=start)
    (row,) = table(tmp_path / "marks.csv", [evil])
    assert {row["submission"], row["student"], row["note"]} == {f"'{start}"}


def test_a_cell_stays_a_cell(tmp_path):
    evil = outcome(
        'a",b\r\n;c', student="\t=1\x00\udc80", note="x\n\n=1\ud800" + "y" * 9000
    )
    (row,) = table(tmp_path / "marks.csv", [evil])
    assert row["submission"] == r'a",b\x0d\x0a;c'
    assert row["student"] == r"\x09=1\x00\x80"
    assert row["note"].startswith(r"x =1\ud800yyy")
    assert len(row["note"]) == 2000
    assert (tmp_path / "marks.csv").read_bytes().count(b"\n") == 2


def test_names_of_all_languages_in_plain_utf8(tmp_path):
    write_table(tmp_path / "marks.csv", [outcome(student="Zoë 李")])
    data = (tmp_path / "marks.csv").read_bytes()
    assert data.startswith(b"submission,")
    assert "Zoë 李".encode() in data


def test_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "marks.csv"
    write_table(path, [outcome()])
    before = path.read_bytes()
    monkeypatch.setattr(atomic.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_table(path, [FAILED])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["marks.csv"]


def fail(*_):
    """As a disk that is full."""
    raise OSError(28, "No space left on device")


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "marks.csv"
    monkeypatch.setattr(atomic.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left") as raised:
        write_atomically(path, b"text")
    assert raised.value.filename == str(path)
    path = tmp_path / "journal"
    with pytest.raises(OSError, match="No space left") as raised:
        fill(path)
    assert raised.value.filename == str(path)


def test_a_folder_that_is_not_there(tmp_path):
    path = tmp_path / "none" / "marks.csv"
    with pytest.raises(FileNotFoundError) as raised:
        write_atomically(path, "text")
    assert raised.value.filename == str(path)


def test_a_system_that_opens_no_folder(tmp_path, monkeypatch):
    """As Windows: the file is written all the same."""

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(atomic.os, "open", refuse)
    write_atomically(tmp_path / "marks.csv", "text")
    assert (tmp_path / "marks.csv").read_text() == "text"


def test_two_files_of_one_student_for_one_notebook():
    first, second = outcome("a"), outcome("b", note="")
    alone = [
        outcome("c", notebook="05_mlp"),
        outcome("d", student="bob"),
        outcome("e", student=""),
        outcome("f", student=""),
        FAILED,
    ]
    noted = note_repeats([first, second, *alone])
    assert [o.note for o in noted[:2]] == [
        "Late. Same student and notebook: b.",
        "Same student and notebook: a.",
    ]
    assert noted[2:] == alone
    third = note_repeats([first, second, outcome("z")])[0]
    assert third.note == "Late. Same student and notebook: b and 1 more."


def test_the_last_line_counts():
    outcomes = [outcome(), outcome(), FAILED]
    assert summary(outcomes) == "3 submissions: 0 marked, 2 partly, 1 failed."
    assert summary([FAILED]) == "1 submission: 0 marked, 0 partly, 1 failed."


# The feedback


class Reader(HTMLParser):
    """The tags and the text of a page; it checks that tags are closed in order."""

    VOID = ("meta",)

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_says_what_was_earned_and_why():
    reader = Reader(page(outcome()))
    text = " ".join(" ".join(reader.text).split())
    assert "Attention 0 of 3 points: not passed yet" in text
    assert "What is √D_h for?" in text
    assert "Entropy without the scale Not marked (1 point): took too long" in text
    assert "Points 1 of 5 points" in text
    assert "Note late" in text
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("h1") == tags.count("main") == 1
    assert tags.count("section") == tags.count("h2") == 3
    assert ("html", {"lang": "en"}) in reader.tags
    kinds = [
        attributes.get("class") for tag, attributes in reader.tags if tag == "section"
    ]
    assert kinds == ["right", "wrong", "open"]


def test_a_submission_that_failed_has_a_page():
    text = " ".join(Reader(page(FAILED)).text)
    assert "This submission could not be marked." in text
    assert "not a notebook" in text
    assert "none given" in text


def test_nothing_of_a_submission_becomes_a_tag():
    evil = "<script>alert(1)</script>\"'><img src=x onerror=1>&amp;\x00\ud800\u202e"
    marks = (Mark(evil, 0, 1, evil, (evil,), evil),)
    made = Outcome(evil, evil, evil, evil, "partly", marks, evil)
    text = page(made)
    text.encode()
    reader = Reader(text)
    tags = {tag for tag, _ in reader.tags}
    assert tags.isdisjoint({"script", "img"})
    assert "".join(reader.text).count("<script>alert(1)</script>") >= 6
    assert not re.search(r"[\x00\u202e]", text)


def test_the_policy_forbids_all_but_the_style():
    text = page(outcome())
    (meta,) = (a for t, a in Reader(text).tags if "http-equiv" in a)
    assert meta["http-equiv"] == "Content-Security-Policy"
    assert meta["content"].startswith("default-src 'none'; ")
    assert "unsafe" not in meta["content"]
    assert "style=" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_results_have_the_form_of_gradescope():
    results = gradescope_results(outcome())
    assert results["score"] == 1
    assert results["visibility"] == "after_published"
    assert results["output"].endswith("late")
    assert results["tests"][1] == {
        "name": "Attention",
        "number": "2",
        "score": 0,
        "max_score": 3,
        "status": "failed",
        "output": "not passed yet\n\nWhat is\n√D_h for?",
    }
    assert [test.get("status") for test in results["tests"]] == [
        "passed",
        "failed",
        None,
    ]
    assert results["score"] == sum(test["score"] for test in results["tests"])
    assert gradescope_results(FAILED)["tests"] == []


def test_two_files_for_each_submission(tmp_path):
    folder = tmp_path / "marks_feedback"
    write_feedback(folder, [outcome(), FAILED])
    write_feedback(folder, [outcome(), FAILED])  # again, over the first
    names = sorted(os.listdir(folder))
    assert len(names) == 4
    assert all(OURS.fullmatch(name) for name in names)
    name = feedback_name("ada/02.ipynb")
    assert (folder / f"{name}.html").read_text(encoding="utf-8") == page(outcome())
    results = json.loads((folder / f"{name}.results.json").read_bytes())
    assert results == gradescope_results(outcome())


def test_feedback_of_an_earlier_run_goes_and_other_files_stay(tmp_path):
    write_feedback(tmp_path, [outcome(), FAILED])
    (tmp_path / "mine.html").touch()
    write_feedback(tmp_path, [outcome()])
    stem = feedback_name("ada/02.ipynb")
    assert sorted(os.listdir(tmp_path)) == [
        f"{stem}.html",
        f"{stem}.results.json",
        "mine.html",
    ]


@pytest.mark.parametrize(
    "path",
    [
        "a/b.ipynb",
        "../../x",
        "/etc/passwd",
        ".hidden",
        "-rf",
        "",
        "李",
        "a" * 9000,
        "\udc80",
    ],
)
def test_names_are_safe(path):
    name = feedback_name(path)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{,92}", name)
    assert OURS.fullmatch(f"{name}.html")


def test_names_are_readable_and_the_same_in_every_run():
    name = feedback_name(
        "Ada Lovelace_12_assignsubmission_file/02_self_attention.ipynb"
    )
    assert (
        name == "Ada-Lovelace-12-assignsubmission-file-02-self-attention-1382e8fbbcee"
    )


def test_names_stay_apart():
    paths = [
        "a/b.ipynb",
        "a-b.ipynb",
        "A/b.ipynb",
        "a_b.ipynb",
        "a/b",
        "a" * 99,
        "a" * 98,
    ]
    assert len({feedback_name(path).lower() for path in paths}) == len(paths)


# The journal


def fill(path, *outcomes):
    """A journal as a run leaves it that is killed."""
    with Journal(path, HEADER) as journal:
        for made in outcomes:
            journal.add(made)


def known(path, header=HEADER):
    """What the next run finds."""
    with Journal(path, header) as journal:
        return dict(journal.known)


def test_what_was_added_is_known_to_the_next_run(tmp_path):
    path = tmp_path / "marks.csv.journal"
    odd = outcome("\udc80\ud800\n", student="李", digest="d2")
    fill(path, outcome(), odd)
    fill(path, FAILED)
    assert known(path) == {
        ("ada/02.ipynb", "d1"): outcome(),
        ("\udc80\ud800\n", "d2"): odd,
        ("essay.pdf", ""): FAILED,
    }


def test_an_outcome_is_on_disk_once_it_is_added(tmp_path):
    path = tmp_path / "journal"
    with Journal(path, HEADER) as journal:
        journal.add(outcome())
        line = path.read_bytes().splitlines()[1]
        assert json.loads(line) == json.loads(json.dumps(asdict(outcome())))
        assert journal.known == {("ada/02.ipynb", "d1"): outcome()}


def test_a_run_killed_at_any_byte_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a thousand take seconds
    path = tmp_path / "journal"
    fill(path, outcome(), FAILED)
    data = path.read_bytes()
    first, second, _ = (i for i, byte in enumerate(data) if byte == ord("\n"))
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with Journal(path, HEADER) as journal:
            found, left = dict(journal.known), path.read_bytes()
        whole_lines = (length > first) + (length > second) - 1
        assert len(found) == max(whole_lines, 0)
        kept = data[: max(data.rfind(b"\n", 0, length), first) + 1]
        assert left == kept  # the half line is gone, the header is there
        fill(path, FAILED)
        assert known(path)["essay.pdf", ""] == FAILED


def test_a_journal_without_an_outcome_binds_nobody(tmp_path):
    path = tmp_path / "journal"
    with Journal(path, HEADER):
        killed = path.read_bytes()
    assert not path.exists()
    path.write_bytes(killed)
    with Journal(path, HEADER | {"seed": 8}) as journal:
        journal.add(outcome())
    assert len(known(path, HEADER | {"seed": 8})) == 1
    path.write_text("{}\n")  # of somebody else
    with pytest.raises(JournalError, match="Remove it to mark anew"):
        known(path)


def test_finish_removes_the_file(tmp_path):
    path = tmp_path / "journal"
    with Journal(path, HEADER) as journal:
        journal.add(outcome())
        journal.finish()
    assert not path.exists()
    assert known(path) == {}


def test_an_error_in_the_block_keeps_the_file(tmp_path):
    path = tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        interrupt(path)
    assert len(known(path)) == 1


def interrupt(path):
    """A run that its teacher stops."""
    with Journal(path, HEADER) as journal:
        journal.add(outcome())
        raise KeyboardInterrupt


def test_another_header_is_refused_and_the_file_kept(tmp_path):
    path = tmp_path / "journal"
    fill(path, outcome())
    before = path.read_bytes()
    with pytest.raises(JournalError, match=r"another seed.*Remove it to mark anew"):
        known(path, HEADER | {"seed": 8})
    assert path.read_bytes() == before
    assert len(known(path)) == 1  # the lock was given back


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"points": 1', b'"points": "1"'),
        (b'"points": 1', b'"points": true'),
        (b'"points": 1', b'"points": 1.0'),
        (b'"status": "partly"', b'"status": "good"'),
        (b'"status": "partly"', b'"status": []'),
        (b'"note": "late"', b'"note": null'),
        (b'"note": "late"', b'"note": "late", "more": 1'),
        (b', "note": "late"', b""),
        (b'"marks": [', b'"marks": [7, '),
        (b'{"submission"', b'["submission"'),
        (b'{"submission"', b"[" * 99_999),
        (b'{"submission"', b"\xff"),
    ],
)
def test_a_damaged_line_is_refused(tmp_path, old, new):
    path = tmp_path / "journal"
    fill(path, outcome(), FAILED)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    with pytest.raises(JournalError, match=r"is damaged in line 2: .*Remove it"):
        known(path)


def test_a_file_that_is_no_journal(tmp_path):
    path = tmp_path / "journal"
    path.write_text("my notes\n")
    with pytest.raises(JournalError, match="is damaged in line 1"):
        known(path)
    assert path.read_text() == "my notes\n"


def test_two_runs_on_one_output_are_refused(tmp_path):
    path = tmp_path / "journal"
    with Journal(path, HEADER) as journal:
        journal.add(outcome())
        with pytest.raises(JournalError, match="Another run is writing"):
            known(path)
        assert "BlockingIOError" in lock_in_another_process(path)
        journal.add(FAILED)
    assert len(known(path)) == 2


def lock_in_another_process(path):
    """What a process says that asks for the lock."""
    code = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), 6)"  # 6: at once or never
    run = [sys.executable, "-c", code, str(path)]
    return subprocess.run(run, capture_output=True, text=True, check=False).stderr


def test_a_lock_on_a_file_that_was_removed_does_not_count(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    fill(path, outcome())
    taken = []

    def removed_meanwhile(file, how):
        if not taken:
            path.unlink()  # the run before has finished in this moment
        taken.append(how)

    monkeypatch.setattr("fcntl.flock", removed_meanwhile)
    fill(path, FAILED)
    assert len(taken) == 2
    monkeypatch.undo()
    assert list(known(path)) == [("essay.pdf", "")]
