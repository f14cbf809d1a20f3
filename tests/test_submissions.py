"""Reading what was handed in: a row for every file, whatever is in it."""

import json
import os
import pickle
import random
import socket
import stat
import struct
import tracemalloc
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from vit_encoder.check import catalogue
from vit_encoder.grade import files
from vit_encoder.grade.exports import labels, origins_of
from vit_encoder.grade.magics import plain_source
from vit_encoder.grade.submissions import find_submissions, read_submission

EXERCISES = Path(__file__).parents[1] / "exercises"
SOLUTIONS = Path(__file__).parents[1] / "solutions"
NOTEBOOK = (EXERCISES / "02_self_attention.ipynb").read_bytes()
TASKS = [
    "self_attention.one_query",
    "self_attention.attention",
    "self_attention.entropy",
    "self_attention.SelfAttention",
    "self_attention.wrong_axis",
    "self_attention.find_the_bug",
    "self_attention.CrossAttention",
    "self_attention.masked_attention",
]


def read_all(path):
    """Path → submission, for all that is found."""
    return {e.path: read_submission(e) for e in find_submissions(path).entries}


def read_one(folder, data, name="ada.ipynb"):
    """The submission in the only file of a folder."""
    (folder / name).write_bytes(data)
    (submission,) = read_all(folder).values()
    return submission


def changed(change):
    """The bytes of a notebook after a change."""
    notebook = json.loads(NOTEBOOK)
    change(notebook)
    return json.dumps(notebook).encode()


def exercise_cells(notebook):
    """The cells that have an exercise in their metadata."""
    return [cell for cell in notebook["cells"] if "exercise" in cell["metadata"]]


def zipped(members, **options):
    """The bytes of a zip. members: pairs of a name or ZipInfo and bytes."""
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


@pytest.fixture
def class_zip(tmp_path):
    """A function that writes a zip of a class and reads it."""

    def write(*members):
        path = tmp_path / "class.zip"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *_, **__: None)  # of a name twice
            path.write_bytes(zipped(members))
        return read_all(path)

    return write


# A notebook


def test_every_cell_is_delivered_in_order(tmp_path):
    submission = read_one(tmp_path, NOTEBOOK)
    assert submission.notebook == "02_self_attention"
    assert [cell.task for cell in submission.cells if cell.task] == TASKS
    cells = json.loads(NOTEBOOK)["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    assert [cell.source for cell in submission.cells] == sources
    versions = {entry["id"]: entry["version"] for entry in catalogue()}
    assert submission.cells[2].version == versions[TASKS[0]]
    assert submission.cells[2].source.startswith("prediction = (")
    assert (submission.problem, submission.notes) == ("", ())
    assert len(submission.digest) == 64


@pytest.mark.parametrize(
    "folder", [EXERCISES, SOLUTIONS], ids=["exercises", "solutions"]
)
def test_the_notebooks_of_the_course_are_read(folder):
    notebooks = {p: s for p, s in read_all(folder).items() if p.endswith(".ipynb")}
    assert len(notebooks) >= 11
    for path, submission in notebooks.items():
        assert path == f"{submission.notebook}.ipynb"
        assert (submission.student, submission.notes) == ("", ())


def test_a_chapter_is_no_exercise():
    chapters = read_all(EXERCISES.parent / "chapters")
    problem = chapters["02_self_attention.ipynb"].problem
    assert problem == "holds no exercise of this course"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "an empty file"),
        (b" \n", "an empty file"),
        (b"{", "broken JSON: Expecting property name"),
        (b"[]", "JSON that is no notebook"),
        (b"3", "JSON that is no notebook"),
        (b"{}", "JSON that is no notebook"),
        (b"\xff\xfe{", "not UTF-16"),
        (b"\x80{}", "not UTF-8 at byte 0"),
        (b'{"nbformat": 3}', "of format 4, got format 3"),
        (b'{"nbformat": 3, "worksheets": [7]}', "holds no exercise of this course"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><p>", "an HTML page"),
        (b"%PDF-1.7", "a PDF under the name of a notebook"),
        (b"PK\x03\x04", "a zip under the name of a notebook"),
        (b'{\n<<<<<<< HEAD\n"a"', "a merge conflict of Git, from line 2 on"),
        (b'{"nbformat": 5, "cells": []}', "of format 4, got format 5"),
        (b'{"nbformat": NaN, "cells": []}', "of format 4, got format nan"),
        (b'{"nbformat": 4.0, "cells": []}', "of format 4, got format 4.0"),
        (b'{"nbformat": "4", "cells": []}', "of format 4, got format '4'"),
        (b'{"nbformat": 4}', "without a list of cells"),
        (b'{"nbformat": 4, "cells": {}}', "without a list of cells"),
        (b'{"nbformat": 4, "cells": []}', "holds no exercise of this course"),
        (b'{"nbformat": 4, "cells": [7]}', "cell 1 is no cell but a number"),
        (b'{"nbformat": 4, "cells": [{}, null]}', "cell 2 is no cell but null"),
        (b"[" * 100_000, "JSON that is nested too deeply"),
        (b'{"nbformat": ' + b"9" * 5000 + b"}", "broken JSON: Exceeds the limit"),
    ],
)
def test_what_is_no_notebook_says_so(tmp_path, data, problem):
    submission = read_one(tmp_path, data)
    assert problem in submission.problem
    assert (submission.path, submission.cells) == ("ada.ipynb", ())
    assert len(submission.digest) == 64


@pytest.mark.parametrize("source", [None, 3, {}, ["x", 3], [["x"]]])
def test_a_source_that_is_no_text(tmp_path, source):
    data = changed(lambda n: n["cells"][1].update(source=source))
    assert read_one(tmp_path, data).problem == "cell 2 has no text as its source"


def test_sources_may_be_lists_or_text(tmp_path):
    def join(notebook):
        for cell in notebook["cells"]:
            cell["source"] = "".join(cell["source"])

    def split(notebook):
        for cell in notebook["cells"]:
            cell["source"] = "".join(cell["source"]).splitlines(keepends=True)

    whole = read_one(tmp_path, changed(join)).cells
    assert whole == read_one(tmp_path, changed(split)).cells
    assert "\n" in whole[0].source


def test_a_byte_order_mark_and_nan_do_no_harm(tmp_path):
    data = changed(lambda n: n["cells"][1].update(outputs=[float("nan")]))
    assert b"NaN" in data
    submission = read_one(tmp_path, b"\xef\xbb\xbf" + data)
    assert (submission.problem, submission.notebook) == ("", "02_self_attention")


@pytest.mark.parametrize("odd", [7, [], {"exercise": 3}, {"exercise": {"id": 3}}])
def test_odd_metadata_is_as_none(tmp_path, odd):
    def change(notebook):
        notebook["metadata"] = odd
        for cell in notebook["cells"]:
            cell["metadata"] = odd

    submission = read_one(tmp_path, changed(change))
    assert submission.notebook == "02_self_attention"  # by the calls of check
    assert {cell.task for cell in submission.cells} == {""}
    assert submission.notes == ("no cell says which exercise it answers",)


def test_an_old_format_and_utf16_are_read_and_named(tmp_path):
    def to_format_3(notebook):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell["input"] = cell.pop("source")
        cells = notebook.pop("cells")
        notebook.update(
            nbformat=3, worksheets=[{"cells": cells[:3]}, {"cells": cells[3:]}]
        )

    old = read_one(tmp_path, changed(to_format_3))
    assert old.cells == read_one(tmp_path, NOTEBOOK).cells
    assert old.notes == ("a notebook of format 3, read as one of format 4",)
    wide = read_one(tmp_path, NOTEBOOK.decode().encode("utf-16"))
    assert (wide.cells, wide.notes) == (old.cells, ("stored as UTF-16",))


def test_a_notebook_under_the_name_of_another(tmp_path):
    (tmp_path / "08_capstone_ada.ipynb").write_bytes(NOTEBOOK)
    (entry,) = find_submissions(tmp_path).entries
    said = "named after 08_capstone, but holds 02_self_attention"
    assert read_submission(entry).notes == (said,)
    other = read_submission(replace(entry, asked=("08_capstone",)))
    assert other.problem == "expected 08_capstone, got 02_self_attention"
    assert other.notebook == "08_capstone"


def test_another_notebook_than_the_one_that_was_asked_for(tmp_path):
    (tmp_path / "02_self_attention.ipynb").write_bytes(
        (SOLUTIONS / "08_capstone.ipynb").read_bytes()
    )
    (entry,) = find_submissions(tmp_path).entries
    any_of_them = read_submission(entry)
    assert any_of_them.notebook == "08_capstone"
    assert (
        any_of_them.notes[0] == "named after 02_self_attention, but holds 08_capstone"
    )
    asked = read_submission(replace(entry, asked=("02_self_attention",)))
    assert asked.problem == "expected 02_self_attention, got 08_capstone"
    assert (asked.notebook, asked.cells) == ("02_self_attention", ())


def test_more_code_than_a_notebook_has_is_not_read(tmp_path):
    def swell(notebook):  # a small zip may hold it
        notebook["cells"].append({**exercise_cells(notebook)[0], "source": "#" * 2**20})

    submission = read_one(tmp_path, changed(swell))
    assert (submission.problem, submission.cells) == ("code of more than 1 MB", ())


def test_half_a_surrogate_pair_can_be_sent_on(tmp_path):
    data = changed(lambda n: n["cells"][1].update(source="x = '\ud800'"))
    submission = read_one(tmp_path, data)
    assert submission.cells[0].source.encode() == b"x = '?'"


def test_the_metadata_of_the_notebook_comes_first(tmp_path):
    other = json.loads((EXERCISES / "03_multi_head_self_attention.ipynb").read_bytes())
    data = changed(lambda n: n["cells"].extend(exercise_cells(other)))
    submission = read_one(tmp_path, data)
    assert submission.notebook == "02_self_attention"
    (note,) = submission.notes
    assert note.startswith("exercise of another notebook multi_head.costs, ")
    assert note.endswith(" and 4 more")


def test_without_it_most_exercises_decide(tmp_path):
    other = json.loads((EXERCISES / "03_multi_head_self_attention.ipynb").read_bytes())

    def change(notebook):
        notebook["metadata"]["vit_encoder"]["generated"] = "From solutions/99_none.md"
        notebook["cells"].append(exercise_cells(other)[0])

    assert read_one(tmp_path, changed(change)).notebook == "02_self_attention"


def test_notes_name_what_is_odd(tmp_path):
    def change(notebook):
        first, second, third, *_ = exercise_cells(notebook)
        first["metadata"]["exercise"] = {"id": "no.such\u202e\n", "version": "1"}
        second["metadata"]["exercise"]["version"] = "older"
        notebook["cells"].append(third)

    submission = read_one(tmp_path, changed(change))
    assert submission.notes == (
        r"unknown exercise no.such\u202e",
        "more than one cell for self_attention.entropy",
        "no cell for self_attention.one_query",
    )
    versions = {cell.task: cell.version for cell in submission.cells}
    assert versions["self_attention.attention"] == "older"


def test_a_notebook_without_code(tmp_path):
    submission = read_one(tmp_path, changed(lambda n: n.update(cells=[])))
    assert submission.problem == "holds no code cell"


# A folder


def test_every_file_gets_a_row_in_order(tmp_path):
    names = ("b/02.ipynb", "a/essay.pdf", "a/02.IPYNB", "a/02.ipynb.txt", "c/essay.pdf")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(NOTEBOOK)
    found = read_all(tmp_path)
    assert {path: s.problem for path, s in found.items()} == {
        "a/02.IPYNB": "",
        "a/02.ipynb.txt": "",
        "b/02.ipynb": "",
        "c/essay.pdf": "not a notebook",
    }
    assert list(found) == sorted(found)
    assert find_submissions(tmp_path).beside == 1


def test_by_products_are_counted(tmp_path):
    (tmp_path / "ada.ipynb").write_bytes(NOTEBOOK)
    for name in (
        ".DS_Store",
        "Thumbs.db",
        "._ada.ipynb",
        "02.progress.jsonl",
        "my_encoder.py",
    ):
        (tmp_path / name).touch()
    for name in (".ipynb_checkpoints", "__MACOSX"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ada.ipynb").touch()
    found = find_submissions(tmp_path)
    assert [entry.path for entry in found.entries] == ["ada.ipynb"]
    assert found.skipped == 7


def test_own_output_is_left_out(tmp_path):
    (tmp_path / "ada.ipynb").write_bytes(NOTEBOOK)
    (tmp_path / "marks.csv").touch()
    (tmp_path / "marks_feedback").mkdir()
    (tmp_path / "marks_feedback" / "ada.html").touch()
    own = [tmp_path / "marks.csv", tmp_path / "marks_feedback"]
    found = find_submissions(tmp_path, without=own)
    assert [entry.path for entry in found.entries] == ["ada.ipynb"]
    assert len(find_submissions(tmp_path).entries) == 3


def test_an_entry_can_be_sent_to_another_process(tmp_path):
    (tmp_path / "ada.ipynb").write_bytes(NOTEBOOK)
    (entry,) = find_submissions(tmp_path).entries
    sent = pickle.dumps(entry)
    assert len(sent) < 1000
    assert read_submission(pickle.loads(sent)) == read_submission(entry)


def test_links_are_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key.ipynb").write_bytes(NOTEBOOK)
    folder = tmp_path / "class"
    folder.mkdir()
    (folder / "file.ipynb").symlink_to(secret / "key.ipynb")
    (folder / "folder").symlink_to(secret)
    (folder / "loop.ipynb").symlink_to("loop.ipynb")
    (folder / "up").symlink_to("..")
    found = read_all(folder)
    assert list(found) == ["file.ipynb", "folder", "loop.ipynb", "up"]
    assert {s.problem for s in found.values()} == {"a link, which is not followed"}
    assert {s.digest for s in found.values()} == {""}


def test_a_link_that_appears_after_the_listing(tmp_path):
    folder = tmp_path / "class"
    folder.mkdir()
    (folder / "ada.ipynb").write_bytes(NOTEBOOK)
    (entry,) = find_submissions(folder).entries
    (folder / "ada.ipynb").rename(tmp_path / "elsewhere.ipynb")
    (folder / "ada.ipynb").symlink_to(tmp_path / "elsewhere.ipynb")
    assert read_submission(entry).problem.startswith("cannot be opened: ")


def test_a_file_that_is_gone_after_the_listing(tmp_path):
    (tmp_path / "ada.ipynb").write_bytes(NOTEBOOK)
    (entry,) = find_submissions(tmp_path).entries
    (tmp_path / "ada.ipynb").unlink()
    assert (
        read_submission(entry).problem == "cannot be opened: No such file or directory"
    )


def test_pipes_and_sockets_do_not_hang(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    os.mkfifo("pipe.ipynb")
    os.mkfifo("pipe.zip")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.ipynb")
        found = read_all(tmp_path)
    assert list(found) == ["pipe.ipynb", "pipe.zip", "socket.ipynb"]
    assert {s.problem for s in found.values()} == {"not a plain file"}


def test_a_pipe_that_appears_after_the_listing(tmp_path):
    (tmp_path / "ada.ipynb").write_bytes(NOTEBOOK)
    (entry,) = find_submissions(tmp_path).entries
    (tmp_path / "ada.ipynb").unlink()
    os.mkfifo(tmp_path / "ada.ipynb")
    assert read_submission(entry).problem == "not a plain file"


def test_a_folder_that_is_called_a_notebook(tmp_path):
    (tmp_path / "ada.ipynb").mkdir()
    (tmp_path / "ada.ipynb" / "02_self_attention.ipynb").write_bytes(NOTEBOOK)
    found = read_all(tmp_path)
    assert found["ada.ipynb"].problem == "a folder, not a notebook"
    assert found["ada.ipynb/02_self_attention.ipynb"].problem == ""


def test_what_may_not_be_read_gets_a_row(tmp_path, monkeypatch):
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "02.ipynb").write_bytes(NOTEBOOK)
    listed, opened = os.scandir, os.open
    # In the place of permissions, which do not bind root.
    monkeypatch.setattr(os, "scandir", lambda f: refuse(f, "closed") or listed(f))
    monkeypatch.setattr(
        os, "open", lambda f, *a: refuse(f, "02.ipynb") or opened(f, *a)
    )
    assert {path: s.problem for path, s in read_all(tmp_path).items()} == {
        "closed": "a folder that cannot be listed: Permission denied",
        "open/02.ipynb": "cannot be opened: Permission denied",
    }


def refuse(file, name):
    """Raise the error of a file that may not be read, for files of this name."""
    if Path(file).name == name:
        raise PermissionError(13, os.strerror(13), file)


def test_folders_deeper_than_the_stack(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    Path("02.ipynb").write_bytes(NOTEBOOK)
    (path,) = read_all(tmp_path)
    os.unlink("02.ipynb")
    for _ in range(1200):  # pytest's own tidying would recurse
        os.chdir("..")
        os.rmdir("d")
    assert len(path) == 255
    assert path.endswith("/d/02.ipynb")


def test_names_are_shown_visibly_and_stay_apart(tmp_path):
    names = [b"new\nline.ipynb", b"not\xfftext.ipynb", b"rtl\xe2\x80\xaex.ipynb"]
    names += [b"back\\slash.ipynb", "ä.ipynb".encode()]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(NOTEBOOK)
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "slash.ipynb").write_bytes(NOTEBOOK)
    found = read_all(tmp_path)
    assert set(found) == {
        r"new\x0aline.ipynb",
        r"not\xfftext.ipynb",
        r"rtl\u202ex.ipynb",
        "back/slash.ipynb",
        "back/slash.ipynb (2)",
        "ä.ipynb",
    }
    assert {s.problem for s in found.values()} == {""}
    "".join(found).encode()


def test_too_large_a_file(tmp_path):
    with open(tmp_path / "ada.ipynb", "wb") as file:
        file.truncate(200 * 2**20)  # no block of it is written
    (tmp_path / "bob.ipynb").write_bytes(
        NOTEBOOK + b" " * (files.LIMIT - len(NOTEBOOK))
    )
    found = read_all(tmp_path)
    assert found["ada.ipynb"].problem == "larger than 20 MB"
    assert found["bob.ipynb"].problem == ""


# A zip


def test_a_zip_is_read_as_the_folder_is(tmp_path, class_zip):
    (tmp_path / "class" / "ada").mkdir(parents=True)
    (tmp_path / "class" / "ada" / "02.ipynb").write_bytes(NOTEBOOK)
    (tmp_path / "class" / "essay.pdf").write_bytes(b"%PDF")
    found = class_zip(("essay.pdf", b"%PDF"), ("ada/", b""), ("ada/02.ipynb", NOTEBOOK))
    assert found == read_all(tmp_path / "class")
    assert len(found) == 2


def test_nothing_is_extracted(tmp_path, class_zip):
    found = class_zip(
        ("../../up.ipynb", NOTEBOOK),
        ("/etc/root.ipynb", NOTEBOOK),
        ("C:\\win\\drive.ipynb", NOTEBOOK),
    )
    assert {path: s.notes for path, s in found.items()} == {
        "etc/root.ipynb": ("named /etc/root.ipynb",),
        "up.ipynb": ("named ../../up.ipynb",),
        "win/drive.ipynb": ("named C:\\win\\drive.ipynb",),
    }
    assert {s.problem for s in found.values()} == {""}
    assert [file.name for file in tmp_path.iterdir()] == ["class.zip"]


def test_one_name_twice(class_zip):
    other = changed(lambda n: n["cells"][1].update(source="second"))
    found = class_zip(("ada.ipynb", NOTEBOOK), ("ada.ipynb", other))
    assert list(found) == ["ada.ipynb", "ada.ipynb (2)"]
    assert found["ada.ipynb (2)"].cells[0].source == "second"
    assert found["ada.ipynb"].cells[0].source != "second"


def test_odd_names_in_a_zip(class_zip):
    found = class_zip(
        ("..", b""),
        ("a\nb.ipynb", b""),
        ("l" * 60_000 + ".ipynb", b""),
        ("ä.ipynb", b""),
    )
    assert list(found)[:2] == ["(no name)", r"a\x0ab.ipynb"]
    long = next(path for path in found if path.startswith("lll"))
    assert (len(long), long[-6:]) == (255, ".ipynb")
    assert "ä.ipynb" in found


def test_a_mac_writes_utf8_without_saying_so(tmp_path):
    name = "Zoë.ipynb".encode()
    data = zipped([("Zo__.ipynb", NOTEBOOK)]).replace(b"Zo__.ipynb", name)
    (tmp_path / "class.zip").write_bytes(data)
    assert list(read_all(tmp_path / "class.zip")) == ["Zoë.ipynb"]


def test_a_link_in_a_zip(class_zip):
    link = zipfile.ZipInfo("link.ipynb")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    pipe = zipfile.ZipInfo("pipe.ipynb")
    pipe.external_attr = (stat.S_IFIFO | 0o666) << 16
    found = class_zip((link, "/etc/passwd"), (pipe, ""))
    assert found["link.ipynb"].problem == "a link, which is not followed"
    assert found["pipe.ipynb"].problem == "not a plain file"


def test_a_folder_in_a_zip_that_is_called_a_notebook(class_zip):
    found = class_zip(("ada.ipynb/", b""), ("ada.ipynb/02.ipynb", NOTEBOOK))
    assert found["ada.ipynb"].problem == "a folder, not a notebook"
    assert found["ada.ipynb/02.ipynb"].problem == ""


def test_by_products_in_a_zip(tmp_path):
    members = [
        ("ada.ipynb", NOTEBOOK),
        ("__MACOSX/._ada.ipynb", b""),
        (".DS_Store", b""),
    ]
    (tmp_path / "class.zip").write_bytes(zipped(members))
    found = find_submissions(tmp_path / "class.zip")
    assert ([e.path for e in found.entries], found.skipped) == (["ada.ipynb"], 2)


def test_an_encrypted_member(tmp_path):
    data = bytearray(zipped([("ada.ipynb", NOTEBOOK), ("bob.ipynb", NOTEBOOK)]))
    data[6] |= 1  # the flags of the first member, before it and in the list of members
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "class.zip").write_bytes(data)
    found = read_all(tmp_path / "class.zip")
    assert found["ada.ipynb"].problem == "encrypted"
    assert found["bob.ipynb"].problem == ""


def test_a_bomb_is_read_to_the_limit_only(class_zip, monkeypatch):
    monkeypatch.setattr(files, "LIMIT", 2**20)
    found = class_zip(("ada.ipynb", b" " * 2**24))
    assert found["ada.ipynb"].problem == "larger than 1 MB"


@pytest.mark.parametrize("size", [7, 2**31])
def test_a_declared_size_is_not_trusted(tmp_path, size, monkeypatch):
    monkeypatch.setattr(files, "LIMIT", 2**20)
    data = bytearray(zipped([("ada.ipynb", b" " * 2**22)]))
    directory = data.index(b"PK\x01\x02")
    for at in (22, directory + 24):
        data[at : at + 4] = struct.pack("<I", size)
    (tmp_path / "class.zip").write_bytes(data)
    problem = read_all(tmp_path / "class.zip")["ada.ipynb"].problem
    assert problem.startswith(("larger than 1 MB", "cannot be unpacked: "))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_without_a_limit_are_not_read(class_zip, method):
    member = zipfile.ZipInfo("ada.ipynb")
    member.compress_type = method
    with BytesIO() as stream:
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(member, NOTEBOOK)
        found = class_zip(("work.zip", stream.getvalue()))
    problem = found["work.zip/ada.ipynb"].problem
    assert problem == "compressed by a method other than deflate"


def test_a_damaged_member(tmp_path):
    data = bytearray(zipped([("ada.ipynb", NOTEBOOK), ("bob.ipynb", NOTEBOOK)]))
    data[60:90] = b"\xff" * 30
    (tmp_path / "class.zip").write_bytes(data)
    found = read_all(tmp_path / "class.zip")
    assert found["ada.ipynb"].problem.startswith("cannot be unpacked: ")
    assert found["bob.ipynb"].problem == ""


def test_the_zip_of_a_student_is_looked_into(tmp_path, class_zip):
    work = zipped([("02.ipynb", NOTEBOOK), ("inner.zip", zipped([("x", b"")]))])
    moodle = "Ada Lovelace_12_assignsubmission_file/work.zip"
    found = class_zip((moodle, work))
    assert found[f"{moodle}/02.ipynb"].problem == ""
    assert found[f"{moodle}/02.ipynb"].student == "Ada Lovelace"
    inner = found[f"{moodle}/inner.zip"]
    assert inner.problem == "a zip inside a zip, which is not looked into"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "ada.zip").write_bytes(work)
    (first, second) = read_all(folder).values()
    assert (first.path, first.student) == ("ada.zip/02.ipynb", "ada")
    assert first.cells
    assert second.problem == inner.problem


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "a zip that cannot be read: File is not a zip file"),
        (b"PK\x03\x04 and no more", "a zip that cannot be read: "),
        (zipped([]), "a zip of 0 files, expected 1 to 50"),
        (zipped([(str(n), b"") for n in range(201)]), "a zip of 201 files"),
    ],
    ids=["empty", "broken", "no files", "many files"],
)
def test_the_zip_of_a_student_that_cannot_be_read(tmp_path, class_zip, data, problem):
    assert class_zip(("ada.zip", data))["ada.zip"].problem.startswith(problem)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "ada.zip").write_bytes(data)
    assert read_all(folder)["ada.zip"].problem.startswith(problem)


def test_a_large_zip_of_a_student(tmp_path, class_zip, monkeypatch):
    monkeypatch.setattr(files, "LIMIT", 2**20)
    work = zipped([("02.ipynb", NOTEBOOK)]) + bytes(2**21)
    assert class_zip(("ada.zip", work))["ada.zip"].problem == "larger than 1 MB"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "ada.zip").write_bytes(work)
    assert read_all(folder)["ada.zip"].problem == "larger than 1 MB"


def test_a_name_that_is_not_the_utf8_it_says(class_zip):
    work = zipped([("Zoë.ipynb", NOTEBOOK)]).replace("ë".encode(), b"\xff\xff")
    problem = class_zip(("ada.zip", work))["ada.zip"].problem
    assert problem.startswith("a zip that cannot be read: 'utf-8' codec")


# What cannot be marked at all


def test_a_path_where_nothing_is(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"expected a folder or a zip, but .*none"
    ):
        find_submissions(tmp_path / "none")


@pytest.mark.parametrize(
    "data",
    [b"", b"text", zipped([("a", b"")])[:40]],
    ids=["nothing", "text", "half a zip"],  # a zip holds the time
)
def test_a_file_that_is_no_zip(tmp_path, data):
    (tmp_path / "class.zip").write_bytes(data)
    with pytest.raises(
        ValueError, match=r"expected a folder or a zip, got 'class\.zip'"
    ):
        find_submissions(tmp_path / "class.zip")


def test_nothing_inside(tmp_path):
    (tmp_path / ".DS_Store").touch()
    with pytest.raises(ValueError, match=r"expected notebooks, but .* holds no file"):
        find_submissions(tmp_path)
    (tmp_path / "class.zip").write_bytes(zipped([]))
    with pytest.raises(ValueError, match=r"expected notebooks, but .* holds no file"):
        find_submissions(tmp_path / "class.zip")


def test_a_pipe_in_the_place_of_a_zip(tmp_path):
    os.mkfifo(tmp_path / "class.zip")
    with pytest.raises(ValueError, match="not a plain file"):
        find_submissions(tmp_path / "class.zip")


@pytest.mark.parametrize("seed", range(40))
def test_a_zip_with_random_faults_is_read_or_refused(tmp_path, seed):
    random.seed(seed)
    data = bytearray(
        zipped([("ada.ipynb", b"{}" * 50), ("b/b.zip", zipped([("x", b"")]))])
    )
    for _ in range(4):
        data[random.randrange(len(data))] = random.randrange(256)
    (tmp_path / "class.zip").write_bytes(data)
    try:
        found = read_all(tmp_path / "class.zip")
    except ValueError as error:
        found, message = {}, str(error)
    else:
        message = "expected "
    assert message.startswith("expected ")
    assert all(submission.problem for submission in found.values())


# Students


def students_of(paths):
    """The student of each path, "" where nothing tells."""
    return labels(origins_of(paths))


@pytest.mark.parametrize(
    ("path", "student"),
    [
        ("Ada Lovelace_12345_assignsubmission_file_/02.ipynb", "Ada Lovelace"),
        ("Ada Lovelace_12345_assignsubmission_file/02.ipynb", "Ada Lovelace"),
        ("Ada Lovelace_12345_assignsubmission_file_02.ipynb", "Ada Lovelace"),
        ("Ada Lovelace_9_assignsubmission_onlinetext/onlinetext.html", "Ada Lovelace"),
        ("Default group_assignsubmission_file/02.ipynb", "Default group"),
        ("lovelaceada_12345_67890_02_self_attention.ipynb", "lovelaceada"),
        ("lovelaceada_LATE_12345_67890_02_self_attention-1.ipynb", "lovelaceada"),
        ("léontief_1_2_work.zip/02.ipynb", "léontief"),
        ("anon_Xy12z_67890_02.ipynb", "anon_Xy12z"),
        ("LATE_anon_Xy12z_67890_02.ipynb", "anon_Xy12z"),
        ("Task 2_alovelace_attempt_2026-01-31-10-00-00_02.ipynb", "alovelace"),
        ("Taak_2_alovelace_poging_2026-01-31-10-00-00_02.ipynb", "alovelace"),
        ("class/submission_12345/02.ipynb", ""),
        ("Ada_L Love_12345_assignsubmission_file_/02.ipynb", "Ada_L Love"),
        ("Ada_12_assignsubmission_file_Bob_34_assignsubmission_file_2.ipynb", "Ada"),
        ("ada/Bob B_1_assignsubmission_file/02.ipynb", "ada"),
        ("ada/bob_1_2_02.ipynb", "ada"),
        ("class/assignment-alovelace/deep/02.ipynb", "assignment-alovelace"),
        ("02_self_attention/ada/02.ipynb", "ada"),
        ("02_self_attention.ipynb", ""),
        ("02_self_attention (1).ipynb", ""),
        ("02_self_attention-2.ipynb", ""),
        ("02_self_attention_ada.ipynb", "ada"),
        ("Ada - 02_self_attention.ipynb", "Ada"),
        ("ada.ipynb", "ada"),
        ("essay.pdf", ""),
        ("Ame\u0301lie/02.ipynb", "Am\u00e9lie"),
    ],
)
def test_whose_file_it_is(path, student):
    others = ["class/zoe/02.ipynb"] if path.startswith("class/") else ["zoe/02.ipynb"]
    assert students_of([path, *others]) == [student, "zoe"]


def test_folders_that_hold_all_are_nobodys_name():
    paths = ["class/ada/02.ipynb", "class/bob/02.ipynb", "class/02.ipynb"]
    assert students_of(paths) == ["ada", "bob", ""]
    assert students_of(["ada/02_self_attention.ipynb", "ada/03.ipynb"]) == ["ada"] * 2
    assert students_of(["class/ada.ipynb", "class/bob.ipynb"]) == ["ada", "bob"]


def test_two_ids_of_one_name_stay_apart():
    form = "Participant_{}_assignsubmission_file/{}.ipynb"
    paths = [form.format(1, "a"), form.format(1, "b"), form.format(2, "a")]
    assert students_of(paths) == [
        "Participant (1)",
        "Participant (1)",
        "Participant (2)",
    ]


def test_a_file_that_is_named_like_another_students_on_blackboard():
    form = "Exercise_2_{}_attempt_2026-01-31-10-00-00_{}"
    paths = [
        form.format("j_smith", "02.ipynb"),
        form.format("k_smith", form.format("bob", "02.ipynb")),
        form.format("bob", "02.ipynb"),
    ]
    assert students_of(paths) == ["j_smith", "k_smith", "bob"]
    assert students_of(paths[1:2]) == ["smith"]  # where the assignment ends is unknown


def test_receipts_of_blackboard_are_skipped_where_a_file_came_too(tmp_path):
    attempt = "Task 2_{}_attempt_2026-01-31-10-00-00"
    (tmp_path / f"{attempt.format('ada')}.txt").touch()
    (tmp_path / f"{attempt.format('ada')}_02.ipynb").write_bytes(NOTEBOOK)
    (tmp_path / f"{attempt.format('bob')}.txt").touch()
    found = find_submissions(tmp_path)
    assert [entry.student for entry in found.entries] == ["ada", "bob"]
    assert found.skipped == 1


# Magics


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ("%pip install x\ny = 1", "pass  # %pip install x\ny = 1"),
        ("!ls 'it\"s\nx = 1", "pass  # !ls 'it\"s\nx = 1"),
        ("!ls \\\n  -l\nx", "pass  # !ls \\\n#   -l\nx"),
        ("try:\n    a\nexcept E:\n    %pip x\nb", None),
        ("if x:\n\t!ls\n", "if x:\n\tpass  # !ls\n"),
        ("%matplotlib inline", "pass  # %matplotlib inline"),
        ("%time x = f()", "x = f()"),
        ("if x:\n  %time x = f()\n", "if x:\n  x = f()\n"),
        ("%%time\nx = 1\n!ls", "pass  # %%time\nx = 1\npass  # !ls"),
        ("%%bash\nls\n\nrm", "# %%bash\n# ls\n# \n# rm"),
        (
            "%%writefile -a a.py\nx\ny",
            "with open('a.py', 'a') as _file: _file.write('x\\ny')  "
            "# %%writefile -a a.py\n# x\n# y",
        ),
        ("?x", "pass  # ?x"),
        ("nn.Linear??\nx", "pass  # nn.Linear??\nx"),
        ("files = !ls\nx", "pass  # files = !ls\nx"),
        ("a, b = %magic x", "pass  # a, b = %magic x"),
        ("!ls\r\nx = 1\r\n", "pass  # !ls\nx = 1\n"),
        ("x = 1\n%cd\n\n\ny", "x = 1\npass  # %cd\n\n\ny"),
    ],
)
def test_magics_become_comments(source, plain):
    if plain is None:
        plain = "try:\n    a\nexcept E:\n    pass  # %pip x\nb"
    assert plain_source(source) == plain
    assert plain.count("\n") == source.count("\n")
    compile(plain, "cell", "exec")


@pytest.mark.parametrize(
    "source",
    [
        "",
        "\n\n",
        "x = 7 % 3\ny = x != 3",
        'text = """\n%pip\n!ls\n?x\n"""',
        "text = '''\n!it's\n'''\n",
        'r"\\"; x = """\\"""\n!ls\n"""',
        "x = (7\n%3\n)",
        "x = [  # ) (\n1\n%2]",
        "x = 7 \\\n% 3",
        'f"{x!r}" % 3',
        '"a =!b"',
        "# !ls\nx  # what?\n",
        "'%s' \\\n  % x",
        "def f():\n    '''\n    %d\n    '''\n    return 1 #'''\n",
    ],
)
def test_python_stays_as_it_is(source):
    assert plain_source(source) == source


def test_every_cell_of_the_course_compiles():
    for folder in (EXERCISES, SOLUTIONS):
        for submission in read_all(folder).values():
            for cell in submission.cells:
                compile(plain_source(cell.source), "cell", "exec")


@pytest.mark.parametrize(
    "source",
    [
        '"""\\' * 100_000,
        "%" * 300_000,
        "(" * 300_000,
        "!\\\n" * 100_000,
        "x, " * 100_000,
    ],
)
def test_hostile_cells_take_no_time(source):
    assert len(plain_source(source)) >= len(source)


@pytest.mark.parametrize("in_zip", [False, True], ids=["folder", "zip"])
def test_no_more_than_one_file_is_held_in_memory(tmp_path, in_zip):
    def draw(notebook):
        image = {"image/png": "A" * 4_000_000}
        output = {"output_type": "display_data", "metadata": {}, "data": image}
        exercise_cells(notebook)[0]["outputs"] = [output]

    names = [f"s{number}/a.ipynb" for number in range(12)]
    (tmp_path / "class.zip").write_bytes(zipped([(n, changed(draw)) for n in names]))
    path = tmp_path / "class.zip"
    if not in_zip:
        path = tmp_path / "class"
        with zipfile.ZipFile(tmp_path / "class.zip") as archive:
            archive.extractall(path)
    tracemalloc.start()
    try:
        found = [read_submission(entry) for entry in find_submissions(path).entries]
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == len(names)
    assert kept < 4_000_000
    assert most < 7 * 4_000_000  # a file, its text, and what is read from it


def test_a_submission_is_plain_data(tmp_path):
    submission = read_one(tmp_path, NOTEBOOK)
    assert pickle.loads(pickle.dumps(submission)) == submission
    assert replace(submission, student="x") != submission


def test_folders_in_which_nothing_was_handed_in_have_a_row(tmp_path):
    for name in (
        "ada/02_self_attention.ipynb",
        "bob/.git/config",
        "cy/a.progress.jsonl",
    ):
        path = tmp_path / "class" / name
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    (tmp_path / "class" / "di").mkdir()
    (tmp_path / "class" / "eve.zip").write_bytes(zipped([("02/", b"")]))
    found = find_submissions(tmp_path / "class")
    rows = {entry.path: read_submission(entry).problem for entry in found.entries}
    nothing = "a folder in which nothing was handed in"
    assert {name: rows[name] for name in ("bob", "cy", "di")} == dict.fromkeys(
        ("bob", "cy", "di"), nothing
    )
    assert rows["eve.zip"] == "a zip that holds no notebook"
    assert found.skipped == 2
