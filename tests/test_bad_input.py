"""What an author can get wrong: each fails with one line, the file and the cure."""

import json
import shutil

import pytest
from tests.forked import run_script

import sources
from address import ROOT, read_address
from sources import SourceError, read_all, read_source
from sync import generated_notebooks, package_texts

CHAPTER = "chapters/02_self_attention.md"
EXERCISE = "solutions/02_self_attention.md"
# In one process, for which the server of tests/forked.py starts once.
pytestmark = pytest.mark.xdist_group("forked")

COPIED = ("book", "chapters", "exercises", "solutions", "src", "tests", "tools")


@pytest.fixture
def course(tmp_path):
    """A copy of all that the sources' check reads, to be spoilt."""
    for name in COPIED:
        leave = shutil.ignore_patterns("__pycache__", "katex", "node_modules")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=leave)
    for name in ("_config.yml", "index.md", "CONTRIBUTING.md", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def check(course, package=None):
    """What `make check-sources` says about the copy. package: another than its own."""
    script = course / "tools" / "sync.py"
    return run_script(script, "--check", paths=[package or course / "src"])


def spoil(path, old, new, times=1):
    """Put a fault into a file of the copy."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, times), encoding="utf-8")


def test_the_course_itself_is_well_formed(course):
    done = check(course)
    assert done.returncode == 0, done.stderr


# The source, the text that is replaced, by what, and words of the message.
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
    "break it without a weak test": (EXERCISE, ("wrong: |", "weak: |"), "`wrong`"),
    "quiz without a right choice": (
        CHAPTER,
        ("      because: ", "      means: "),
        "one choice of other-direction has `because`",
    ),
    "solution without end": (EXERCISE, ("# END SOLUTION", "# END"), "END SOLUTION"),
}


def generate(path, others):
    """Make what `make sync` makes of one source, beside the others."""
    source = read_source(path, read_address())
    package_texts([source])
    next(generated_notebooks([source, *others], read_address()))


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT.keys())
def test_spoilt_source(spoilt, tmp_path, monkeypatch):
    name, (old, new), words = spoilt
    path = tmp_path / name
    path.parent.mkdir()
    shutil.copy(ROOT / name, path)
    spoil(path, old, new, -1 if words.startswith("tagged") else 1)
    others = [s for s in read_all(read_address()) if s.path != ROOT / name]
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    with pytest.raises(SourceError) as told:
        generate(path, others)
    (line,) = str(told.value).splitlines()
    assert line.startswith(f"{name}: ")
    assert words in line


def test_a_fault_of_a_source_is_one_line(course):
    spoil(course / CHAPTER, "## Summary", "### Summary")
    done = check(course)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{CHAPTER}: the section `## Summary` is missing")


def edit_notebook(course, name, change):
    """Edit a notebook as a hand would."""
    path = course / name
    notebook = json.loads(path.read_text(encoding="utf-8"))
    change(notebook)
    path.write_text(json.dumps(notebook), encoding="utf-8")


def test_what_is_stale_was_edited_or_lacks_words_is_named(course):
    """All that is generated from the sources, in one run."""
    chapters = course / "chapters"
    spoil(chapters / "01_patches_and_positions.md", "import torch", "import  torch")
    spoil(course / CHAPTER, "    alt: ", "    alternative: ")
    spoil(course / CHAPTER, "    caption: ", "    title: ")
    package = course / "src" / "vit_encoder"
    spoil(package / "real_weights.py", "    return ", "    return  ")
    spoil(package / "check" / "catalogue.json", '"points": ', '"points": 1')

    def forget(notebook):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell["outputs"], cell["execution_count"] = [], None

    def add(notebook):
        notebook["cells"][0]["source"].append("!")

    edit_notebook(course, "chapters/04_layer_norm.ipynb", add)
    edit_notebook(course, "chapters/05_mlp.ipynb", forget)
    (chapters / "06_encoder_block.ipynb").write_text("{", encoding="utf-8")
    done = check(course)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for name, words in (
        ("chapters/01_patches_and_positions.ipynb", "is stale"),
        (CHAPTER, "has no alt"),
        (CHAPTER, "has no caption"),
        ("src/vit_encoder/real_weights.py", "was edited"),
        ("src/vit_encoder/check/catalogue.json", "was edited"),
        ("chapters/04_layer_norm.ipynb", "was edited"),
        ("chapters/05_mlp.ipynb", "was edited"),
        ("chapters/06_encoder_block.ipynb", "was edited"),
    ):
        found = [x for x in done.stderr.splitlines() if name in x and words in x]
        assert len(found) == 1, (name, words, done.stderr)
        assert found[0].startswith(name)


def test_tables_that_are_stale_edited_or_left_over(course):
    tables = course / "book" / "generated"
    spoil(course / "book" / "recorded_runs.json", "true", "false")
    spoil(tables / "specification-head.md", "|", "| ")
    (tables / "old.md").write_text("| a |", encoding="utf-8")
    said = check(course).stderr
    assert "book/generated/recorded-runs.md is stale" in said
    assert "book/generated/specification-head.md was edited" in said
    assert "book/generated/old.md is made from nothing any more. Delete it." in said


def test_address_without_an_entry(course):
    spoil(course / "_config.yml", "  branch: main", "  twig: main")
    assert "repository.branch" in check(course).stderr


def test_package_of_another_folder(course):
    done = check(course, package=ROOT / "src")
    assert done.returncode == 1
    assert f"was imported from {ROOT / 'src' / 'vit_encoder'}, not" in done.stderr
