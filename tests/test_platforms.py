"""Exports of learning platforms, built as the platforms make them, there and back."""

import csv
import json
import os
import re
import subprocess
import time
import zipfile
from contextlib import nullcontext
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path

import pytest

from vit_encoder.check import catalogue
from vit_encoder.command import main
from vit_encoder.grade import files
from vit_encoder.grade.anonymous import write_anonymous
from vit_encoder.grade.autograder import write_autograder
from vit_encoder.grade.back import write_back
from vit_encoder.grade.class_report import class_page
from vit_encoder.grade.exports import labels, origins_of
from vit_encoder.grade.gradescope import combined, read_metadata, refusal
from vit_encoder.grade.mark import OUT_OF_DATE
from vit_encoder.grade.origin import Author, Origin
from vit_encoder.grade.outcome import Mark, Outcome
from vit_encoder.grade.overrides import Override, require_known, with_overrides
from vit_encoder.grade.record import Kept
from vit_encoder.grade.roster import read_roster
from vit_encoder.grade.session import (
    Places,
    Plan,
    Wishes,
    tell_undated,
    write_all,
)
from vit_encoder.grade.standings import Row, standings, with_notes
from vit_encoder.grade.submissions import Found, find_submissions
from vit_encoder.grade.when import in_numbers, in_words

ROOT = Path(__file__).parents[1]
NAME = "02_self_attention"
NOTEBOOK = (ROOT / "exercises" / f"{NAME}.ipynb").read_bytes()
TASK = "self_attention.one_query"
POINTS = sum(e["points"] for e in catalogue() if e["notebook"] == NAME)


def export(folder, *names, **contents):
    """A zip that a platform makes: notebooks under these names, and other files."""
    path = folder / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, NOTEBOOK if name.endswith(".ipynb") else b"text")
        for name, data in contents.items():
            archive.writestr(name, data)
    return find_submissions(path)


def who(found):
    """The students of an export, in the order of the paths."""
    return [entry.student for entry in found.entries]


def row(origin, points=1, path="", **changes):
    """A file with marks: `points` of its one task that is marked."""
    (author, *_) = origin.authors or (Author(),)
    marks = (Mark(TASK, points, 1, "passed"),)
    told = {"submission": path or f"{author.key}.ipynb", "student": origin.student}
    told |= {"digest": path, "notebook": NAME, "status": "marked"}
    return Row(origin, Outcome(**{**told, "marks": marks, "note": "", **changes}))


def rows_of(paths, **options):
    """A row for each path of an export."""
    origins = origins_of(paths, **options)
    return [row(o, path=path) for path, o in zip(paths, origins, strict=True)]


def back(folder, rows, roster=None):
    """What goes back: name → rows of a table, or name → text in a zip."""
    written = {}
    found = standings(rows, "last", roster)
    for path in write_back(folder / "marks.v1", found, roster)[0]:
        assert path.name.startswith("marks.v1_for_")
        if path.suffix == ".csv":
            table = list(csv.reader(StringIO(path.read_text())))
            written[path.name.replace(".v1", "")] = table
        else:
            with zipfile.ZipFile(path) as archive:
                texts = {n: archive.read(n).decode() for n in archive.namelist()}
                modes = {info.external_attr >> 16 for info in archive.infolist()}
                assert modes <= {0o644}  # with 0 nobody could read what is unpacked
            written[path.name.replace(".v1", "")] = texts
    return written


def listed(folder, text):
    """The roster in a CSV."""
    path = folder / "roster.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_roster(path)


# Moodle: mod/assign/locallib.php writes the names, feedback/file/importziplib.php and
# feedback/offline/importgradeslib.php read what comes back.


def taken_by_moodle(name):
    """Participant and name of a feedback file, as Moodle's importer reads them."""
    *_, part = name.split("/")
    fullname, id, kind, plugin, rest = part.split("_", 4)
    assert id.isdecimal()
    assert (kind, plugin) == ("assignfeedback", "file")
    assert rest
    return fullname, id, rest


def test_moodle(tmp_path):
    form = "{}_assignsubmission_file/{}.ipynb"
    names = [form.format("Ada Lovelace_101", NAME), form.format("Bo_B_102", "my work")]
    online = "Ada Lovelace_101_assignsubmission_onlinetext/onlinetext.html"
    found = export(tmp_path, *names, online)
    assert who(found) == ["Ada Lovelace", "Bo_B"]
    assert found.beside == 1
    written = back(tmp_path, rows_of(names))
    assert written["marks_for_moodle.csv"] == [
        ["Identifier", "Full name", "Grade", "Last modified (grade)"],
        ["Participant 101", "Ada Lovelace", "1", "-"],
        ["Participant 102", "Bo_B", "1", "-"],
    ]
    assert sorted(map(taken_by_moodle, written["marks_for_moodle.zip"])) == [
        ("Ada Lovelace", "101", f"{NAME}.html"),
        ("Bo B", "102", f"{NAME}.html"),
    ]
    assert "<!doctype html>" in next(iter(written["marks_for_moodle.zip"].values()))


def test_a_grade_goes_back_if_the_whole_notebook_was_marked(tmp_path):
    moodle = [f"{who}_assignsubmission_file/a.ipynb" for who in ("Ada_101", "Bo_102")]
    canvas = [f"{who}_{NAME}.ipynb" for who in ("ada_8001_990", "bo_8002_991")]
    for names, place in ((moodle, 2), (canvas, -1)):
        ada, bo = (one.origin for one in rows_of(names))
        written = back(tmp_path, [row(ada), row(bo, status="partly")])
        (table,) = (rows for name, rows in written.items() if name.endswith(".csv"))
        assert [line[place] for line in table if "1" in line] == ["1"]
        assert not [line for line in table if line[place] == "" or "bo" in line]


def test_no_cell_is_empty_where_that_clears_a_grade(tmp_path):
    ada, bo = (one.origin for one in rows_of(["ada_1_7_x.ipynb", "bo_2_8_x.ipynb"]))
    rows = [row(ada), row(bo, 0), row(bo, notebook="05_mlp")]
    rows += [row(ada, status="partly", notebook="05_mlp")]
    rows += [row(ada, status="partly", notebook="06_encoder_block")]
    tables = {n: t for n, t in back(tmp_path, rows).items() if n.endswith(".csv")}
    assert {name: [line[1::2] for line in t[2:]] for name, t in tables.items()} == {
        f"marks_for_canvas_{NAME}.csv": [["1", "1"], ["2", "0"]],
        "marks_for_canvas_05_mlp.csv": [["2", "1"]],
    }


def test_what_was_written_into_a_table_that_goes_back_is_kept(tmp_path):
    found = standings(rows_of(["Ada_1_assignsubmission_file/a.ipynb"]))
    ((table, *_), earlier) = write_back(tmp_path / "marks", found)
    assert earlier == write_back(tmp_path / "marks", found)[1] == []
    table.write_text(by_hand := table.read_text() + "Participant 2,Bo,3,-\n")
    (kept,) = write_back(tmp_path / "marks", found)[1]
    assert kept.read_text() == by_hand


def test_the_worksheet_of_moodle_goes_back_with_grades(tmp_path):
    worksheet = (
        "Identifier,Full name,Email address,Status,Grade,Maximum grade,"
        '"Last modified (grade)","Feedback comments"\n'
        '"Participant 101","Ada Lovelace",ada@uni.example,"Submitted",,12.00,-,\n'
        '"Participant 102","Bo Berg",bo@uni.example,"No submission",3.00,12.00,-,\n'
    )
    roster = listed(tmp_path, "\ufeff" + worksheet)
    rows = rows_of([f"Ada Lovelace_101_assignsubmission_file/{NAME}.ipynb"])
    table = back(tmp_path, rows, roster)["marks_for_moodle.csv"]
    assert table[0] == list(roster.header)
    assert [line[4] for line in table[1:]] == ["1", "3.00"]
    found = standings(rows, "last", roster)
    assert [(s.author.name, s.status) for s in found] == [
        ("Ada Lovelace", "marked"),
        ("Bo Berg", "missing"),
    ]


def test_the_worksheet_of_moodle_says_what_is_late(tmp_path):
    worksheet = (
        "Identifier,Full name,Status,Grade,Last modified (submission)\n"
        "Participant 1,Ada,Submitted for grading,,"
        '"Friday, 4 September 2026, 10:36 PM"\n'
        "Participant 2,Bo,Submitted for grading - 3 mins 31 secs late - Graded,,"
        '"Saturday, September 5, 2026, 12:03 AM"\n'
        "Participant 3,Cy,No submission - Assignment is overdue by: 3 days,,-\n"
    )
    roster = listed(tmp_path, worksheet)
    form = "{}_assignsubmission_file/a.ipynb"
    paths = [form.format(who) for who in ("Ada_1", "Bo_2", "Cy_3", "Di_4")]
    origins = [roster.timed(origin) for origin in origins_of(paths)]
    assert [origin.late for origin in origins] == [False, True, False, False]
    assert [origin.attempt for origin in origins] == [
        "2026-09-04-22-36-00",
        "2026-09-05-00-03-00",
        "",
        "",
    ]
    late = [origin.against("2026-09-04-20-00-00").late for origin in origins]
    assert late == [True, True, False, False]
    (by_hand,) = origins_of(["Bo.ipynb"])
    assert roster.timed(by_hand) == by_hand


# Canvas: lib/content_zipper.rb writes the names, lib/gradebook_importer.rb and
# infer_comment_context_from_filename read what comes back.


def test_canvas(tmp_path):
    names = [
        f"bergbo_LATE_8002_991_{NAME}-1.ipynb",
        f"lovelaceada_8001_990_{NAME}.ipynb",
        f"group_1_8003_992_{NAME}.ipynb",
        "anon_xY12z_993_work.ipynb",
    ]
    found = export(tmp_path, *names)
    by_name = {entry.student: entry.origin for entry in found.entries}
    assert {*by_name} == {"anon_xY12z", "bergbo", "group_1", "lovelaceada"}
    assert [name for name, origin in by_name.items() if origin.late] == ["bergbo"]
    assert by_name["group_1"].authors[0].id == "8003"
    roster = listed(
        tmp_path,
        "Student,ID,SIS Login ID,Section,Old (12)\n"
        "    Points Possible,,,,10\n"
        '"Lovelace, Ada",8001,al1,A,9\n"Berg, Bo",8002,bb2,A,9\n"Cy, Di",8009,x,A,1\n',
    )
    rows = [
        Row(roster.joined(one.origin), one.outcome) for one in rows_of(sorted(names))
    ]
    written = back(tmp_path, rows, roster)
    table = written["marks_for_canvas.csv"]
    assert table[:2] == [
        ["Student", "ID", "Section", NAME],
        ["    Points Possible", "", "", str(POINTS)],
    ]
    assert ["Berg, Bo", "8002", "", "1"] in table
    assert [line[1] for line in table[2:]] == ["8002", "8003", "8001"]
    # Canvas finds the student by the ids in the name, and shows the file under the name
    # that the student gave it: so it must be a notebook again.
    assert sorted(written["marks_for_canvas.zip"]) == sorted(names)
    for text in written["marks_for_canvas.zip"].values():
        notebook = json.loads(text)
        assert (notebook["nbformat"], len(notebook["cells"])) == (4, 1)


def test_the_members_of_a_group_on_canvas_each_get_the_mark(tmp_path):
    # People, Download Course Roster CSV: doc/api/group_category_csv.md of Canvas.
    roster = listed(
        tmp_path,
        "name,canvas_user_id,user_id,login_id,sections,group_name,canvas_group_id,"
        "group_id\n"
        "Ada Lovelace,8001,s1,al1,A,Tide Clock_7_!,55,\n"
        "Bo Berg,8002,s2,bb2,A,Tide Clock_7_!,55,\n"
        "Cy Roe,8003,s3,cr3,A,Engines,56,\n"
        "Di Poe,8004,s4,dp4,A,,,\n",
    )
    names = [f"tideclock7_LATE_8002_991_{NAME}.ipynb"]  # of Bo, who stands for both
    names += [f"roecy_8003_992_{NAME}.ipynb", f"poedi_8004_993_{NAME}.ipynb"]
    rows = [Row(roster.joined(one.origin), one.outcome) for one in rows_of(names)]
    assert labels([one.origin for one in rows]) == [
        "Ada Lovelace; Bo Berg",
        "Cy Roe",  # handed in alone
        "Di Poe",
    ]
    assert [roster.joined(one.origin) for one in rows] == [one.origin for one in rows]
    written = back(tmp_path, rows, roster)
    assert written["marks_for_canvas.csv"][2:] == [
        ["Ada Lovelace", "8001", "", "1"],
        ["Bo Berg", "8002", "", "1"],
        ["Cy Roe", "8003", "", "1"],
        ["Di Poe", "8004", "", "1"],
    ]
    # Canvas gives a comment on its representative to the whole group.
    assert sorted(written["marks_for_canvas.zip"]) == sorted(names)
    found = {s.author.name: s for s in standings(rows, "last", roster)}
    assert [found[name].late for name in ("Ada Lovelace", "Bo Berg")] == [True, True]
    assert not [name for name, one in found.items() if not (one.listed and one.rows)]


# Gradescope


METADATA = b"""---
submission_111:
  :submitters:
  - :name: Ada Lovelace
    :sid: '0042'
    :email: ada@uni.example
  - :name: "Zo\\xEB O'Neil"
    :sid:
    :email: zoe@uni.example
  :created_at: 2026-01-31 10:00:00.000000000 Z
  :history:
  - :score: 1.0
    :created_at: 2026-01-30 10:00:00.000000000 Z
  :score: 3.0
  :results:
    output: |
      submission_222:
        :submitters:
        - :name: Mallory
submission_222:
  :submitters:
  - :name: 'Bo ''B'' Berg'
    :sid: '0043'
    :email: bo@uni.example
"""


def test_gradescope(tmp_path):
    names = ["assignment_9_export/submission_111/a.ipynb"]
    names += [f"assignment_9_export/submission_222/{NAME}.ipynb"]
    metadata = {"assignment_9_export/submission_metadata.yml": METADATA}
    found = export(tmp_path, *names, **metadata)
    assert who(found) == ["Ada Lovelace; Zoë O'Neil", "Bo 'B' Berg"]
    assert found.skipped == 1
    rows = rows_of(names, metadata=read_metadata(METADATA))
    table = back(tmp_path, rows)["marks_for_gradescope.csv"]
    assert table == [
        ["SID", "Name", "Email", NAME],
        ["0042", "Ada Lovelace", "ada@uni.example", "1"],
        ["0043", "Bo 'B' Berg", "bo@uni.example", "1"],
        ["", "Zoë O'Neil", "zoe@uni.example", "1"],
    ]


@pytest.fixture
def in_zone():
    """A function that puts this machine into a time zone, until the test ends."""
    with pytest.MonkeyPatch.context() as patch:

        def put(zone):
            patch.setenv("TZ", zone)
            time.tzset()

        yield put
    time.tzset()


def test_gradescope_says_when(tmp_path, in_zone):
    in_zone("America/New_York")
    names = ["x/submission_111/a.ipynb", "x/submission_222/a.ipynb"]
    ada, bo = export(
        tmp_path, *names, **{"x/submission_metadata.yml": METADATA}
    ).entries
    assert ada.origin.attempt == "2026-01-31-05-00-00"
    assert ada.origin.against("2026-01-31-04-59-00").late
    assert not ada.origin.against("2026-01-31-05-00-00").late
    assert not bo.origin.against("2026-01-01-00-00-00").late  # its time is not told
    grades = (
        "Name,SID,Email,Status,Submission ID,Submission Time,Lateness (H:M:S)\n"
        "Ada Lovelace,0042,,Graded,111,2026-01-31 10:00:00 +0000,00:00:00\n"
        "Bo Berg,0043,,Graded,222,2026-01-31 10:00:00 +0000,00:01:20\n"
    )
    roster = listed(tmp_path, grades)
    assert [roster.timed(one.origin).late for one in (ada, bo)] == [False, True]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T23:59", "2026-01-31-23-59-00"),
        ("2026-01-31 23:59:58.123456789", "2026-01-31-23-59-58"),
        ("2026-01-31T23:59-05:00", "2026-02-01-04-59-00"),
        ("2026-01-31 23:59:00.000000000 +0100", "2026-01-31-22-59-00"),
        ("2026-01-31", ""),  # at its beginning or at its end?
        ("2026-02-31T23:59", ""),
        ("soon", ""),
    ],
)
def test_a_moment_in_numbers(in_zone, text, moment):
    in_zone("UTC")
    assert in_numbers(text) == moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Friday, 04 September 2026, 12:36 AM", "2026-09-04-00-36-00"),
        ("Friday, September 4, 2026, 12:36 PM", "2026-09-04-12-36-00"),
        ("Friday, 4 September 2026, 22:36", "2026-09-04-22-36-00"),
        ("Jul 4, 2026 1253 PM", "2026-07-04-12-53-00"),
        ("Monday, 31 September 2026, 10:00 PM", ""),
        ("vendredi 4 septembre 2026", ""),
        ("-", ""),
        ("", ""),
    ],
)
def test_a_moment_in_words(text, moment):
    assert in_words(text) == moment


def test_canvas_need_not_say_when_what_is_in_time_came(capsys):
    tell_undated(rows_of(["adalovelace_1_2_x.ipynb", "z/bo.ipynb", "z/cy.ipynb"]))
    said = "When it came is not known, so --due says nothing of: z/bo.ipynb, z/cy.ipynb"
    assert capsys.readouterr().out == f"{said}.\n"


def test_a_student_cannot_name_others(tmp_path):
    forged = {"x/submission_222/submission_metadata.yml": METADATA}
    names = ["x/submission_111/a.ipynb", "x/submission_222/a.ipynb"]
    assert who(export(tmp_path, *names, **forged)) == ["", ""]


def test_names_that_cannot_be_read_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LIMIT", 100)
    metadata = {"x/submission_metadata.yml": METADATA}
    with pytest.raises(ValueError, match=r"who handed in from x/submission_metadata"):
        export(tmp_path, "x/submission_111/a.ipynb", **metadata)


def test_gradescope_without_names(tmp_path):
    found = export(tmp_path, "x/submission_111/a.ipynb", "x/submission_222/a.ipynb")
    assert who(found) == ["", ""]  # and never submission_111
    assert read_metadata(b"\xff\x00- [odd") == {}


def test_one_result_for_all_that_a_student_handed_in():
    results = combined([row(Origin()).outcome, row(Origin(), points=0).outcome])
    assert results["score"] == 1
    assert [test["number"] for test in results["tests"]] == ["1", "2"]
    assert refusal("no \x1b sandbox")["score"] == 0
    assert "no \\x1b sandbox" in refusal("no \x1b sandbox")["output"]


def test_the_autograder_shows_a_page_whatever_happens(tmp_path):
    write_autograder(tmp_path / "auto.zip", [NAME], isolated=False)
    with zipfile.ZipFile(tmp_path / "auto.zip") as archive:
        modes = {i.filename: i.external_attr >> 16 for i in archive.infolist()}
        run = archive.read("run_autograder").decode()
        setup = archive.read("setup.sh").decode()
    assert {modes["run_autograder"], modes["setup.sh"]} == {0o755}
    assert modes["vit_encoder/grade/command.py"] == 0o644
    assert not [name for name in modes if "__pycache__" in name]
    assert "bubblewrap" not in setup
    assert f"--assignment {NAME}" in run
    assert "--no-sandbox" in run
    (tmp_path / "run.sh").write_text(run)
    environment = {**os.environ, "AUTOGRADER": str(tmp_path / "root")}
    environment["MARKING_PYTHON"] = "false"  # a Python that does nothing, and fails
    done = subprocess.run(["bash", tmp_path / "run.sh"], env=environment, check=False)
    assert done.returncode == 1
    told = json.loads((tmp_path / "root" / "results" / "results.json").read_text())
    assert told["score"] == 0
    assert "show this page to your instructor" in told["output"]


def test_the_autograder_installs_what_notebooks_may_use(tmp_path):
    arguments = ["--output", str(tmp_path / "auto.zip"), "--with", "PIL,of-nobody"]
    assert main(["autograder", *arguments]) == 0
    with zipfile.ZipFile(tmp_path / "auto.zip") as archive:
        run = archive.read("run_autograder").decode()
        (*_, install) = archive.read("setup.sh").decode().splitlines()
    assert re.search(r" pillow==\S+ of-nobody$", install)
    assert "--with PIL" in run
    assert "--with of-nobody" in run


def test_no_autograder_is_written_over_what_students_handed_in(tmp_path):
    export(tmp_path, "ada.ipynb")
    path = tmp_path / "export.zip"
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="is no autograder"):
        write_autograder(path, [NAME], isolated=True)
    assert path.read_bytes() == before
    for _ in range(2):
        write_autograder(tmp_path / "auto.zip", [NAME], isolated=True)


# Blackboard, Brightspace, ILIAS, GitHub, Google Classroom


def test_blackboard_attempts_by_date(tmp_path):
    form = "Exercise 2_{}_attempt_2026-01-{}-10-00-00_02.ipynb"
    names = [
        form.format("ada", "09"),
        form.format("ada", "31"),
        form.format("bo", "10"),
    ]
    rows = rows_of(names)
    rows[0] = row(rows[0].origin, path=names[0], points=1)
    rows[1] = row(rows[1].origin, path=names[1], points=0)
    table = back(tmp_path, rows)["marks_for_blackboard.csv"]
    assert [line[:2] + line[3:] for line in table] == [
        ["Username", "Name", NAME],
        ["ada", "ada", "0"],
        ["bo", "bo", "1"],
    ]
    (ada, _) = standings(rows, "best")
    assert (ada.points, ada.files) == (1, 2)
    assert len(standings(rows, "all")) == 3


def test_what_came_after_the_time_is_late():
    form = "Exercise 2_{}_attempt_2026-01-{}-10-00-00_02.ipynb"
    origins = origins_of([form.format("ada", "09"), form.format("bo", "31")])
    origins += origins_of(["x_1_999_02.ipynb", "y_LATE_2_998_02.ipynb"])  # undated
    late = [origin.against("2026-01-30-23-59-00").late for origin in origins]
    assert late == [False, True, False, True]
    extended = origins[1].against("2026-01-30-23-59-00").against("2026-02-01-00-00-00")
    assert not extended.late


def test_brightspace(tmp_path):
    names = [
        f"27236-46025 - 23304308 Angood - 05 March 2026 612 PM/{NAME}.ipynb",
        f"27237-46025 - astudent Avery Student - Jul 30, 2026 1053 AM/{NAME}.ipynb",
        f"27237-46025 - astudent Avery Student - Jul 4, 2026 1253 PM/{NAME}.ipynb",
    ]
    found = export(tmp_path, *names, "index.html")
    assert [entry.origin.attempt for entry in found.entries] == [
        "2026-03-05-18-12-00",
        "2026-07-30-10-53-00",
        "2026-07-04-12-53-00",
    ]
    assert who(found)[0] == "Angood"
    assert found.skipped == 1
    roster = listed(
        tmp_path,
        "OrgDefinedId,Username,Last Name,First Name,Email,End-of-Line Indicator\n"
        "#23304308,#cangood,Angood,Cy,c@u.example,#\n"
        "#23304309,#astudent,Student,Avery,a@u.example,#\n",
    )
    rows = [Row(roster.joined(one.origin), one.outcome) for one in rows_of(names)]
    written = back(tmp_path, rows, roster)
    assert written["marks_for_brightspace.csv"] == [
        ["OrgDefinedId", "Username", f"{NAME} Points Grade", "End-of-Line Indicator"],
        ["23304309", "astudent", "1", "#"],
        ["23304308", "cangood", "1", "#"],
    ]
    folders = [name.split("/")[0] for name in written["marks_for_brightspace.zip"]]
    assert sorted(folders) == [names[0].split("/")[0], names[1].split("/")[0]]


def test_ilias(tmp_path):
    names = [
        f"Abgaben/Team 7/Lovelace_Ada_al1_301/{NAME}.ipynb",
        f"Abgaben/Team 8/Berg_Bo_bb2_302/{NAME}.ipynb",
    ]
    found = export(tmp_path, *names, "Abgaben/status.xlsx")
    assert who(found) == ["Ada Lovelace", "Bo Berg"]
    assert found.skipped == 1
    written = back(tmp_path, rows_of(names))
    assert written["marks_for_ilias.csv"][1] == ["al1", "Ada Lovelace", "", "1"]
    assert sorted(written["marks_for_ilias.zip"]) == [
        f"Team 7/Lovelace_Ada_al1_301/{NAME}_feedback.html",
        f"Team 8/Berg_Bo_bb2_302/{NAME}_feedback.html",
    ]


def test_a_clone_has_one_row_for_its_notebook(tmp_path):
    root = tmp_path / "exercise-2-submissions"
    for name in ("exercise-2-ada", "exercise-2-bo-b", "exercise-2-cy"):
        made = root / name / ("" if name.endswith("ada") else "env")
        (made / "lib").mkdir(parents=True)
        (made / "pyvenv.cfg").touch()
        for number in range(40):
            (made / "lib" / f"{number}.ipynb").touch()
        for other in ("README.md", "LICENSE", "requirements.txt", "notes.txt"):
            (root / name / other).touch()
        (root / name / f"{NAME}.ipynb").write_bytes(NOTEBOOK)
    (root / "exercise-2-cy" / f"{NAME}.ipynb").unlink()
    found = find_submissions(root)
    assert [(entry.student, entry.path.split("/")[1]) for entry in found.entries] == [
        ("ada", f"{NAME}.ipynb"),
        ("bo-b", f"{NAME}.ipynb"),
        ("cy", "notes.txt"),
    ]
    assert found.beside == 2


@pytest.mark.parametrize(
    "names",
    [
        ("class/ada/x.ipynb", "class/bo/"),
        ("ada/x.ipynb", "bo/README.md"),
        ("class/", "class/ada/x.ipynb", "class/bo/README.md", "__MACOSX/class/._x"),
        ("ada_1_assignsubmission_file/x.ipynb", "bo_2_assignsubmission_file/"),
    ],
)
def test_an_empty_folder_bears_its_students_name(tmp_path, names):
    assert who(export(tmp_path, *names)) == ["ada", "bo"]


@pytest.mark.parametrize(
    "file",
    [
        f"Copy of {NAME}",
        f"Kopie von {NAME}",
        f"Copie de {NAME} (1)",
        f"{NAME} のコピー",
        f"コピー ～ {NAME}",
        f"{NAME} - Copy (2)",
        f"{NAME} – Kopie".replace("–", "-"),
        f"{NAME}的副本",
        f"{NAME} copy 2",
        f"Copy of Copy of {NAME}",
        "Untitled1",
        "final",
        "Copy of Untitled",
    ],
)
def test_a_copy_is_nobodys_name(file):
    assert labels(origins_of([f"{file}.ipynb", "zoe.ipynb"])) == ["", "zoe"]


def test_a_name_beside_the_copy_is_found():
    paths = [f"Copy of {NAME} - Ada Lovelace (1).ipynb", f"李_{NAME} のコピー.ipynb"]
    assert labels(origins_of(paths)) == ["Ada Lovelace", "李"]


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("山田 太郎_課題/解答.ipynb", "cp932"), ("王小明/作业.ipynb", "gbk")],
)
def test_names_in_the_code_page_of_windows(tmp_path, name, encoding):
    data = name.encode(encoding)
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x" * len(data), NOTEBOOK)
    (tmp_path / "a.zip").write_bytes(stream.getvalue().replace(b"x" * len(data), data))
    assert [entry.path for entry in find_submissions(tmp_path / "a.zip").entries] == [
        name
    ]


@pytest.mark.parametrize("name", ["König", "Jürgen Müller", "Léa", "Zoë", "Gößl"])
def test_western_names_stay_western(tmp_path, name):
    data = f"{name}.ipynb".encode("cp437")
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x" * len(data), NOTEBOOK)
    (tmp_path / "a.zip").write_bytes(stream.getvalue().replace(b"x" * len(data), data))
    (entry,) = find_submissions(tmp_path / "a.zip").entries
    assert entry.student == name


# What counts, and what is said of the class


def hand(name, attempt="", **about):
    """A file that was collected by hand."""
    origin = Origin(authors=(Author(name),), attempt=attempt)
    return row(origin, path=f"{name}{attempt}", **about)


def test_one_row_for_each_student_and_notebook():
    failed = {"status": "failed", "marks": ()}
    rows = [
        hand("ada", "1", points=1),
        hand("ada", "2", points=0),
        hand("ada", notebook="05_mlp"),
        hand("ada", "9", notebook="", marks=(), status="failed"),  # a PDF beside them
        hand("bo", points=0),
        hand("bo", points=1),  # nothing tells which is the last
        hand("cy", "1", points=1),
        hand("cy", "2", **failed),
    ]
    last = {s.author.name: s for s in standings(rows)}
    assert [r.outcome.notebook for r in last["ada"].rows] == [NAME, "05_mlp"]
    assert {n: (s.points, s.status) for n, s in last.items()} == {
        "ada": (1, "marked"),
        "bo": (1, "marked"),
        "cy": (None, "failed"),
    }
    earlier = [replace(one, earlier=True) for one in rows[:2]]  # of another run
    assert standings([*earlier, hand("ada", "0", points=0)])[0].points == 0
    best = {s.author.name: s.points for s in standings(rows, "best")}
    assert best == {"ada": 2, "bo": 1, "cy": 1}
    assert len(standings(rows, "all")) == len({r.outcome.submission for r in rows})


def test_a_student_counts_once_in_what_goes_back_and_in_the_report(tmp_path):
    rows = rows_of(["ada_1_7_x.ipynb", "ada_1_8_x-1.ipynb"])
    kept = {r.outcome.submission: Kept("", 0, r.origin, r.outcome) for r in rows}
    origins = {path: one.origin for path, one in kept.items()}
    plan = Plan(Found((), 0), (), origins, {}, None, [], 0)
    write_all(Places(tmp_path / "m.csv"), kept, plan, Wishes(attempt="all"))
    texts = {file.name: file.read_text() for file in tmp_path.glob("*.[ch]*")}
    assert texts["m_students.csv"].count("\n") == 3
    assert texts["m_for_canvas.csv"].count("\n") == 3  # two of them are headings
    assert "1 student handed in." in texts["m_class.html"]


def test_a_group_earns_what_it_handed_in():
    group = Origin("gradescope", (Author("Ada", "1"), Author("Bo", "2")))
    assert [(s.author.name, s.points) for s in standings([row(group)])] == [
        ("Ada", 1),
        ("Bo", 1),
    ]


def test_what_is_the_same_or_late_is_noted():
    late = row(Origin("canvas", (Author("cy"),), late=True), digest="d", path="c")
    idle = (Mark(TASK, 0, 1, "not answered yet"),)
    rows = [hand("ada", digest="d"), hand("ada", "1", digest="d"), late]
    rows += [hand("di", digest="e", marks=idle), hand("el", digest="e", marks=idle)]
    assert [one.outcome.note for one in with_notes(rows)] == [
        "Byte for byte the same as c.",
        "Byte for byte the same as c.",
        "Late. Byte for byte the same as ada, ada1.",
        "",
        "",
    ]


def test_the_report_of_the_class():
    evil = "<script>alert(1)</script>"
    task = "self_attention.attention"
    wrong = (Mark(task, 0, 3, "no", ("no-scale",), "x"),)
    slip = (Mark(task, 0, 3, "no", (evil,), f"{evil} 7\nQuestion: {evil}?"),)
    rows = [hand(name, marks=wrong) for name in ("ada", "bo")] + [
        hand("cy", marks=slip)
    ]
    page = class_page(standings([*rows, hand("di")]))
    said = "<strong>no scale</strong>: 2 students, in “Attention”"
    assert page.index(said) < page.index(": 1 student, in “Attention”")
    assert "How does the spread of a sum depend on how many terms it has?" in page
    assert f"Read again: {NAME}, section “Code”." in page
    assert "4 of 4 could be marked. The median is 0 of 3 points." in page
    assert 'aria-label="Students by points: 3 with 0, 1 with 1"' in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert not {"ada", "bo", "cy", "di"} & {*re.findall(r"\w+", page)}
    assert "Nothing could be marked" not in page
    assert "0 students" in class_page([])


def test_the_report_of_a_notebook_with_optional_tasks():
    entries = [e for e in catalogue() if e["notebook"] == "08_capstone"]
    marks = tuple(Mark(e["id"], e["points"], e["points"], "passed") for e in entries)
    page = class_page(standings([hand("ada", notebook="08_capstone", marks=marks)]))
    assert page.count("100 %</meter>") == sum(e["points"] > 0 for e in entries)
    assert len(entries) > page.count("<meter")


def test_an_empty_folder_is_not_handed_in():
    nothing = "A folder in which nothing was handed in."
    empty = hand("bo", marks=(), status="failed", notebook="", note=nothing)
    assert "1 student handed in, 1 did not." in class_page(
        standings([hand("ada"), empty])
    )


# Points set by hand, and names left out


@pytest.mark.parametrize(
    ("called", "refused"),
    [("Ada", "2 students are called 'Ada'; write an id, one of 1, 2"), ("1", "")],
)
def test_points_by_hand_go_to_one_of_two_of_a_name(called, refused):
    overrides = [Override(2, called, TASK, 1, "")]
    authors = [Author("Ada", "1"), Author("Ada", "2"), Author("Ada", "1")]
    with pytest.raises(ValueError, match=refused) if refused else nullcontext():
        require_known(overrides, {"Ada", "1", "2"}, authors)


def test_points_by_hand_finish_a_row_if_nothing_else_is_open():
    other = "self_attention.attention"
    old = (Mark(TASK, 0, 1, "no"), Mark(other, 3, 3, "passed"))
    lacks = (old[0], Mark(other, None, 3, "no answer was heard"))
    named, unnamed = f"{OUT_OF_DATE}: {TASK}.", "Unknown exercise x.y."

    def status(marks, note, *tasks):
        one = hand("ada", marks=marks, note=note, status="partly")
        lines = [Override(2, "ada", task, 1, "") for task in tasks]
        return with_overrides([one], lines)[0].outcome.status

    assert status(old, named, TASK) == "marked"
    assert status(old, named, other) == "partly"
    assert status(lacks, named, other) == "partly"
    assert status(lacks, named, other, TASK) == "marked"
    assert status(lacks, "", other) == "marked"
    assert status(old, unnamed, TASK) == "partly"
    assert status(lacks, f"{OUT_OF_DATE}: a.b and 1 more.", other) == "partly"


def test_names_of_two_characters_are_hidden(tmp_path):
    rows = [hand("李明"), hand("ada", note="As 李明 said.")]
    write_anonymous(tmp_path / "a", tmp_path / "names.csv", rows)
    assert "李明" in (tmp_path / "names.csv").read_text()
    for path in [
        tmp_path / "a" / "marks.csv",
        *(tmp_path / "a" / "feedback").iterdir(),
    ]:
        assert "李明" not in path.read_text()


# The roster


@pytest.mark.parametrize(
    "text",
    [
        "Name,SID,Email\nÁda Lovelace,7,ada@u.example\n",
        "First Name;Last Name;Student ID\nAda;Lovelace;7\n",
        '"Student","ID","SIS Login ID","Section"\n"Lovelace, Ada",7,al,A\n',
        "\ufeffName\tID\nAda Lovelace\t7\n".encode("utf-16"),
        "Vollständiger Name,ID\nAda Lovelace,7\n".encode("cp1252"),
    ],
)
def test_rosters_of_several_makes(tmp_path, text):
    roster = listed(tmp_path, text)
    assert len(roster.people) == 1
    for seen in (Author(id="7"), Author("ada  lovelace"), Author("lovelaceada")):
        found = roster.find(seen, "canvas" if " " not in seen.name else "")
        assert found, seen
        assert found.ids["id"] == "7"
    assert roster.find(Author("Ada Lovelace", "8"), "canvas").ids["id"] == "7"
    assert roster.find(Author("Bo", "9"), "") is None


def test_another_participant_of_the_same_name_is_another(tmp_path):
    roster = listed(tmp_path, "Identifier,Full name\nParticipant 7,Ada\n")
    assert roster.find(Author("Ada", "8"), "moodle") is None
    assert roster.find(Author("A. L.", "7"), "moodle").name == "Ada"
    assert roster.find(Author("Ada"), "").ids == {"participant": "7"}


def test_a_name_in_a_roster_cannot_clear_a_screen(tmp_path):
    roster = listed(tmp_path, "Name,ID\nAda\x1b[2J,1\n")
    assert roster.people[0].name == "Ada\\x1b[2J"


def test_two_of_one_name_are_not_guessed(tmp_path):
    roster = listed(tmp_path, "Name,ID\nAda,1\nAda,2\n")
    assert roster.find(Author("Ada"), "") is None
    assert roster.find(Author("Ada", "2"), "").ids["id"] == "2"


@pytest.mark.parametrize("data", [b"", b"\n", b"\x00\xff\x00", b"Colour\nred\n"])
def test_a_roster_without_students_is_refused(tmp_path, data):
    with pytest.raises(ValueError, match="expected columns such as Name"):
        listed(tmp_path, data)


def test_nothing_that_goes_back_is_a_formula_or_leads_elsewhere(tmp_path):
    evil = "=cmd|'/c calc'!A1"
    rows = [row(Origin("ilias", (Author(evil, "@id"),), back="Team 1/a_b_c_1"))]
    rows += rows_of([f"{evil}_1_assignsubmission_file/x.ipynb"])
    rows += rows_of(["../../eve_1_2_x.ipynb", "z/bo_3_4_x.ipynb"])
    written = back(tmp_path, rows)
    cells = [c for t in written.values() if isinstance(t, list) for r in t for c in r]
    assert f"'{evil}" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "@"))]
    names = [n for t in written.values() if isinstance(t, dict) for n in t]
    assert not [n for n in names if ".." in n or n.startswith("/")]
