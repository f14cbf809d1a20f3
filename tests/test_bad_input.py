"""What an author can get wrong: each fails with one line, the file and the cure."""

import json
import shutil

import pytest
from tests.forked import run_script

from address import ROOT

CHAPTER = "chapters/02_self_attention.md"
EXERCISE = "solutions/02_self_attention.md"
COPIED = ("book", "chapters", "exercises", "solutions", "src", "tools")


@pytest.fixture
def course(tmp_path):
    """A copy of all that the sources' check reads, to be spoilt."""
    for name in COPIED:
        leave = shutil.ignore_patterns("__pycache__", "katex")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=leave)
    for name in ("_config.yml", "index.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def check(course, package=None):
    """What `make check-sources` says about the copy. package: another than its own."""
    script = course / "tools" / "sync.py"
    return run_script(script, "--check", paths=[package or course / "src"])


def test_the_course_itself_is_well_formed(course):
    done = check(course)
    assert done.returncode == 0, done.stderr


# The file, the text that is replaced, by what, and words of the message.
SPOILT = {
    "missing section": (
        CHAPTER,
        ("## Summary", "### Summary"),
        "the section `## Summary` is missing",
    ),
    "sections in another order": (
        CHAPTER,
        ("## Check\n", "## Look\n"),
        "the section `## Check` is missing",
    ),
    "second title": (CHAPTER, ("## Summary", "# Summary"), "2 headings of level 1"),
    "no front matter": (CHAPTER, ("---\nfile_format", "file_format"), "front matter"),
    "malformed front matter": (
        CHAPTER,
        ("file_format: mystnb", "file_format: [mystnb"),
        "the front matter is not valid YAML",
    ),
    "no description": (CHAPTER, ("    description: ", "    keywords: "), "description"),
    "malformed cell options": (
        CHAPTER,
        ("---\nmystnb:\n  image:", "---\nmystnb: [\n  image:"),
        "a cell's options",
    ),
    "plot without alternative text": (
        CHAPTER,
        ("    alt: >-", "    alternative: >-"),
        "has no alt",
    ),
    "plot without caption": (
        CHAPTER,
        ("    caption: ", "    title: "),
        "has no caption",
    ),
    "image without alternative text": (
        CHAPTER,
        ("## Summary\n", "## Summary\n\n![](https://e.org/a.png)\n"),
        "has no alternative text",
    ),
    "unknown directive": (
        CHAPTER,
        ("## Summary\n", "## Summary\n\n```{tab-set}\n```\n"),
        "{tab-set} has no plain form",
    ),
    "unknown source": (
        CHAPTER,
        ("{proof}`variance`", "{proof}`nobody2020`"),
        "'nobody2020' is no known source",
    ),
    "unknown term": (CHAPTER, ("{term}`token`", "{term}`tokken`"), "no known term"),
    "no part": (CHAPTER, (":tags: [part]", ":tags: [parts]"), "tagged `part`"),
    "changed code": (
        CHAPTER,
        ("B, N, D, D_h = 2, 4, 6, 3", "B, N, D, D_h = 2, 4, 6, 4"),
        "chapters/02_self_attention.ipynb is stale",
    ),
    "exercise without id": (
        EXERCISE,
        ("exercise: {id: ", "exercise: {name: "),
        "has no `id`",
    ),
    "exercise without points": (EXERCISE, ("points: ", "marks: "), "has no `points`"),
    "points that are no number": (EXERCISE, ("points: ", "points: -"), "whole number"),
    "exercise of no kind": (EXERCISE, ("kind: ", "kind: un"), "known are"),
    "prediction with an explained solution": (
        EXERCISE,
        ("because: >-", "seen: >-"),
        "choice B, the solution, has `seen`",
    ),
    "exercise without tag": (
        EXERCISE,
        ("tags: [exercise]", "tags: [task]"),
        "lacks `tags: [exercise]`",
    ),
    "solution without end": (EXERCISE, ("# END SOLUTION", "# END"), "END SOLUTION"),
    "package edited by hand": (
        "src/vit_encoder/self_attention.py",
        ("weights @ v", "weights  @ v"),
        "vit_encoder/self_attention.py was edited",
    ),
    "catalogue edited by hand": (
        "src/vit_encoder/check/catalogue.json",
        ('"points": ', '"points": 1'),
        "catalogue.json was edited",
    ),
    "table edited by hand": (
        "book/generated/recorded-runs.md",
        ("passed", "failed"),
        "generated/recorded-runs.md was edited",
    ),
}


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT.keys())
def test_spoilt_source(spoilt, course):
    name, (old, new), words = spoilt
    path = course / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    every = words.startswith("tagged")
    path.write_text(text.replace(old, new, -1 if every else 1), encoding="utf-8")
    done = check(course)
    (line,) = [line for line in done.stderr.splitlines() if words in line]
    assert name.rsplit(".", 1)[0] in line
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def spoil_notebook(course, change):
    """Edit the chapter's notebook as a hand would; what the check says."""
    path = course / CHAPTER.replace(".md", ".ipynb")
    notebook = json.loads(path.read_text(encoding="utf-8"))
    change(notebook)
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return check(course).stderr


def test_notebook_whose_text_was_edited(course):
    said = spoil_notebook(course, lambda nb: nb["cells"][0]["source"].append("!"))
    assert "chapters/02_self_attention.ipynb was edited" in said


def test_notebook_that_was_never_executed(course):
    def forget(notebook):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell["outputs"], cell["execution_count"] = [], None

    said = spoil_notebook(course, forget)
    assert "chapters/02_self_attention.ipynb was edited" in said


def test_notebook_that_is_no_json(course):
    (course / CHAPTER.replace(".md", ".ipynb")).write_text("{", encoding="utf-8")
    assert "chapters/02_self_attention.ipynb was edited" in check(course).stderr


def test_address_without_an_entry(course):
    config = course / "_config.yml"
    config.write_text(config.read_text().replace("  branch: main", "  twig: main"))
    assert "repository.branch" in check(course).stderr


def test_data_that_a_table_was_not_made_from(course):
    data = course / "book" / "recorded_runs.json"
    data.write_text(data.read_text().replace("true", "false", 1), encoding="utf-8")
    assert "book/generated/recorded-runs.md is stale" in check(course).stderr


def test_table_that_nothing_makes_any_more(course):
    (course / "book" / "generated" / "old.md").write_text("| a |", encoding="utf-8")
    said = check(course).stderr
    assert "book/generated/old.md is made from nothing any more. Delete it." in said


def test_package_of_another_folder(course):
    done = check(course, package=ROOT / "src")
    assert done.returncode == 1
    assert f"was imported from {ROOT / 'src' / 'vit_encoder'}, not" in done.stderr
