"""Copies of the exercises: nothing in them is ever written over, read or removed."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from sphinx.util.matching import get_matching_files

from address import ROOT
from vit_encoder import atomic, exercises
from vit_encoder.exercises import FOLDER, copy_all, course_notebooks, main
from vit_encoder.grade.notebook import read_notebook

NAMES = sorted(path.name for path in (ROOT / "exercises").glob("*.ipynb"))
FIRST = "01_patches_and_positions.ipynb"


@pytest.fixture
def course(tmp_path):
    """The course's notebooks, in a folder where they may be changed."""
    return Path(shutil.copytree(ROOT / "exercises", tmp_path / "course"))


@pytest.fixture
def mine(course, tmp_path):
    """A folder with a copy of each, in which a student has written."""
    folder = tmp_path / FOLDER
    list(copy_all(course, folder))
    change(folder / FIRST, "my answer")
    (folder / "notes.txt").write_text("mine")
    return folder


def change(path, text):
    """Change the first cell of a notebook, as an editor does that saves it."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"][0]["source"] = text
    path.write_text(json.dumps(notebook), encoding="utf-8")


def contents(folder):
    """Path → bytes of every file in a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What is copied


def test_every_exercise_is_copied_with_nothing_run(course, tmp_path, capsys):
    folder = tmp_path / "a" / "b"
    assert len(NAMES) >= 11
    assert list(copy_all(course, folder)) == [f"new   {folder / n}" for n in NAMES]
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    for name in NAMES:
        copy = json.loads((folder / name).read_text(encoding="utf-8"))
        given = json.loads((course / name).read_text(encoding="utf-8"))
        assert "widgets" not in copy["metadata"]
        for cell, original in zip(copy["cells"], given["cells"], strict=True):
            assert cell["source"] == original["source"]
            assert cell["metadata"] == original["metadata"]
            assert not cell.get("outputs")
            assert not cell.get("execution_count")


def test_marking_knows_a_copy(course, mine):
    for name in NAMES:
        copy, given = (read_notebook((d / name).read_bytes()) for d in (mine, course))
        assert copy.name == given.name == Path(name).stem
        assert [c.version for c in copy.cells] == [c.version for c in given.cells]


def test_the_command_says_where_and_how_to_open_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    said = capsys.readouterr().out
    assert f"new   {FOLDER}/{FIRST}\n" in said
    assert sys.executable in said
    assert main([]) == 0
    assert f"kept  {FOLDER}/{FIRST}\n" in capsys.readouterr().out
    assert main(["other"]) == 0
    assert (tmp_path / "other" / FIRST).exists()


# What is there stays


def test_what_a_student_wrote_is_kept(course, mine):
    before = contents(mine)
    assert list(copy_all(course, mine)) == [f"kept  {mine / n}" for n in NAMES]
    assert contents(mine) == before


def test_what_was_removed_is_added_again(course, mine):
    (mine / FIRST).rename(mine / "old.ipynb")
    before = contents(mine)
    assert f"new   {mine / FIRST}" in list(copy_all(course, mine))
    assert contents(mine).items() > before.items()
    assert len(contents(mine)) == len(before) + 1


def test_a_notebook_that_the_course_has_changed_comes_beside(course, mine):
    kept = contents(mine)
    for ending in ("_new", "_new_2"):
        change(course / FIRST, f"the course says {ending}")
        beside = mine / FIRST.replace(".ipynb", f"{ending}.ipynb")
        line, *rest = copy_all(course, mine)
        assert line == f"new   {beside}  ({FIRST} is of another version, and stays)"
        assert all(line.startswith("kept  ") for line in rest)
        assert f"the course says {ending}" in beside.read_text()
        assert contents(mine).items() > kept.items()
        change(beside, "my answer to it")
        kept = contents(mine)
        assert f"kept  {beside}" in list(copy_all(course, mine))
        assert contents(mine) == kept


def test_another_output_is_no_change_of_a_notebook(course, mine):
    notebook = json.loads((course / FIRST).read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell |= {"outputs": []} if cell["cell_type"] == "code" else {}
    notebook["metadata"]["vit_encoder"]["digest"] = "another"
    (course / FIRST).write_text(json.dumps(notebook))
    assert f"kept  {mine / FIRST}" in list(copy_all(course, mine))


@pytest.mark.parametrize(
    "text", ["", "not a notebook", "[]", '{"metadata": []}', "[" * 200_000]
)
def test_another_file_of_that_name_stays(course, mine, text):
    (mine / FIRST).write_text(text)
    beside = mine / FIRST.replace(".ipynb", "_new.ipynb")
    assert next(copy_all(course, mine)).startswith(f"new   {beside}")
    assert (mine / FIRST).read_text() == text


def test_a_folder_or_a_dead_link_of_that_name_stays(course, mine):
    (mine / FIRST).unlink()
    (mine / FIRST).symlink_to("nowhere")
    (mine / FIRST.replace(".ipynb", "_new.ipynb")).mkdir()
    assert f"{FIRST[:-6]}_new_2.ipynb  (" in next(copy_all(course, mine))
    assert (mine / FIRST).is_symlink()


# What is in the way


def test_a_file_in_place_of_the_folder_stays(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for place in ("file", "file/folder"):
        assert main([str(tmp_path / place)]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"{tmp_path / place}: ")
        assert "What was there stays." in said
    assert (tmp_path / "file").read_text() == "mine"


def test_the_course_s_own_folder_is_refused(capsys):
    before = contents(course_notebooks())
    assert main([str(course_notebooks())]) == 1
    assert "Expected a folder of yours" in capsys.readouterr().err
    assert contents(course_notebooks()) == before


def test_a_damaged_notebook_is_named(course, tmp_path, monkeypatch, capsys):
    (course / NAMES[1]).write_text("<<<<<<< ours")
    monkeypatch.setattr(exercises, "course_notebooks", lambda: course)
    assert main([str(tmp_path / FOLDER)]) == 1
    said = capsys.readouterr()
    assert f"{course / NAMES[1]}: The course's notebook is damaged" in said.err
    assert f"new   {tmp_path / FOLDER / FIRST}" in said.out


@pytest.mark.parametrize("problem", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_folder_that_takes_no_more(mine, monkeypatch, capsys, problem):
    def refuse(*_):
        raise OSError(problem, os.strerror(problem))

    (mine / FIRST).unlink()
    before = contents(mine)
    monkeypatch.setattr(atomic.os, "replace", refuse)
    assert main([str(mine)]) == 1
    said = capsys.readouterr().err
    assert said == f"{mine / FIRST}: {os.strerror(problem)}. What was there stays.\n"
    assert contents(mine) == before


def test_an_interrupted_copy_leaves_nothing(course, mine, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    (mine / FIRST).unlink()
    before = contents(mine)
    monkeypatch.setattr(atomic.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(copy_all(course, mine))
    assert contents(mine) == before


# What the other commands do with the folder


@pytest.fixture
def checkout(tmp_path):
    """The files that say what commands read, and a student's folder of anything."""
    for name in ("Makefile", "pyproject.toml", "_config.yml", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    folder = tmp_path / FOLDER
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "again").symlink_to(folder)
    for name in ("a.md", "b.ipynb", "conf.py", "test_c.py", "index.rst", "deep/d.md"):
        (folder / name).write_text("}{ import")
    return tmp_path


def run(checkout, *command):
    """Run a command there; what it prints."""
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_git_ignores_it(checkout):
    run(checkout, "git", "init", "--quiet")
    untracked = run(checkout, "git", "status", "--short", "--untracked-files=all")
    assert "?? Makefile\n" in untracked
    assert FOLDER not in untracked


def test_the_book_does_not_look_into_it(checkout):
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    found = set(get_matching_files(checkout, ["**"], config["exclude_patterns"]))
    assert "Makefile" in found
    assert not [path for path in found if path.startswith(FOLDER)]
    # With it, sphinx-external-toc follows links before anything is excluded.
    assert not config.get("only_build_toc_files")


def test_the_style_is_not_checked_there(checkout):
    (checkout / "bad.py").write_text("import os")
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "--show-files"]
    assert "bad.py" in (shown := run(checkout, *ruff))
    assert FOLDER not in shown


def test_make_clean_leaves_it(checkout):
    before = contents(checkout / FOLDER)
    (checkout / "_build").mkdir()
    run(checkout, "make", "clean")
    assert not (checkout / "_build").exists()
    assert contents(checkout / FOLDER) == before
