"""When a notebook runs again: if its code changed, or what it read of the package."""

import os
import shutil
import sys

import nbformat
import pytest

import dependencies
import sources
import sync
from dependencies import package_digests

pytestmark = pytest.mark.xdist_group("sync")  # one course, run twice, for all
PACKAGE = {
    "__init__.py": "",
    "used.py": "ONE = 1\n",
    "lazy.py": "TWO = 2\n",
    "removed.py": "THREE = 3\n",
    "other.py": "FOUR = 4\n",
    "data/__init__.py": (
        "from pathlib import Path\n\n"
        "def numbers():\n"
        "    return (Path(__file__).parent / 'numbers.json').read_text()\n"
    ),
    "data/numbers.json": "[5]",
    "data/unread.json": "[6]",
    "data/README.md": "What the files are.",
    "data/weights.safetensors": "read by a library that is not Python",
    "figures/curve.safetensors": "in a folder that the notebook leaves alone",
}
CODE = [
    "from vit_encoder import used\nprint(used.ONE)",
    "import sys\nimport vit_encoder.removed\ndel sys.modules['vit_encoder.removed']",
    "def later():\n    from vit_encoder import lazy\n    return lazy.TWO",
    "from vit_encoder import data\nprint(later(), data.numbers())",
]


def unrun(text="Some text.", code=CODE):
    """The notebook as the generator makes it, before anything has run."""
    cells = [nbformat.v4.new_markdown_cell(text, id="cell-text")]
    for number, source in enumerate(code):
        cells.append(nbformat.v4.new_code_cell(source, id=f"cell-{number}"))
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["vit_encoder"] = {"generated": "From solutions/01.md"}
    return notebook


class Course:
    """A folder with a package and one notebook."""

    def __init__(self, root):
        self.package = root / "src" / "vit_encoder"
        self.path = root / "exercises" / "01.ipynb"

    def sync(self, notebook=None, *, check=False):
        """Make or check the notebook; the faults."""
        notebook = notebook or unrun()
        return sync.sync_notebook(self.path, notebook, package_digests(), check=check)

    def read(self):
        return nbformat.read(self.path, as_version=4)


def use(monkeypatch, root):
    """Let the tools work in another folder."""
    monkeypatch.setattr(sources, "ROOT", root)
    monkeypatch.setattr(dependencies, "PACKAGE", root / "src" / "vit_encoder")
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder whose notebook ran twice, the second time with cached modules."""
    root = tmp_path_factory.mktemp("course").resolve()
    course = Course(root)
    for name, text in PACKAGE.items():
        path = course.package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(monkeypatch, root)
        monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        assert course.sync() == []
        first = course.read()
        course.path.unlink()
        assert course.sync() == []
    assert any(course.package.rglob("lazy.*.pyc"))
    assert course.read() == first
    return root


@pytest.fixture
def course(made, tmp_path, monkeypatch):
    """A copy of that folder, to be changed."""
    root = tmp_path.resolve() / "copy"
    shutil.copytree(made, root)
    use(monkeypatch, root)
    return Course(root)


@pytest.fixture
def runs(monkeypatch):
    """The notebooks that are run, without running them."""
    found = []

    def execute(path, notebook, package):
        found.append(path.name)
        notebook.metadata["vit_encoder"] |= {"files": [], "digest": "none"}

    monkeypatch.setattr(sync, "execute", execute)
    return found


def test_a_run_notes_what_it_read(course):
    assert course.read().metadata["vit_encoder"]["files"] == [
        "__init__.py",
        "data/__init__.py",
        "data/numbers.json",
        "data/weights.safetensors",
        "lazy.py",
        "removed.py",
        "used.py",
    ]
    assert course.read().cells[-1].outputs[0].text == "2 [5]\n"


def test_an_untouched_course_is_up_to_date(course, runs):
    before = course.path.read_bytes()
    assert course.sync(check=True) == []
    assert course.sync() == []
    assert course.path.read_bytes() == before
    assert runs == []


@pytest.mark.parametrize(
    "name",
    [
        "__init__.py",
        "used.py",
        "lazy.py",
        "removed.py",
        "data/__init__.py",
        "data/numbers.json",
        "data/weights.safetensors",
    ],
)
@pytest.mark.parametrize("deed", ["edit", "delete"])
def test_a_change_of_what_was_read_makes_it_stale(course, runs, name, deed):
    path = course.package / name
    if deed == "edit":
        path.write_text(path.read_text() + "\n")
    else:
        path.unlink()
    assert course.sync(check=True) == ["exercises/01.ipynb is stale. Run `make sync`."]
    course.sync()
    assert runs == ["01.ipynb"]


@pytest.mark.parametrize(
    "name",
    [
        "other.py",
        "new.py",
        "data/new.py",
        "data/unread.json",
        "data/README.md",
        "figures/curve.safetensors",
        "new/__init__.py",
    ],
)
def test_a_change_of_anything_else_does_not(course, runs, name):
    path = course.package / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("changed")
    assert course.sync(check=True) == []
    course.sync()
    assert runs == []


def test_a_folder_that_takes_the_place_of_a_module_makes_it_stale(course):
    (course.package / "used").mkdir()
    (course.package / "used" / "__init__.py").write_text("ONE = 7\n")
    assert course.sync(check=True) == ["exercises/01.ipynb is stale. Run `make sync`."]


def test_changed_code_makes_it_stale(course, runs):
    new = unrun(code=[*CODE[:-1], "print(later())"])
    assert course.sync(new, check=True) != []
    course.sync(new)
    assert runs == ["01.ipynb"]


def test_changed_text_is_written_and_runs_nothing(course, runs):
    new = unrun("Other text.")
    assert course.sync(new, check=True) != []
    assert course.sync(unrun("Other text.")) == []
    assert runs == []
    assert course.read().cells[0].source == "Other text."
    assert course.read().cells[-1].outputs[0].text == "2 [5]\n"
    assert course.sync(unrun("Other text."), check=True) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda nb: nb.cells[-1].outputs[0].update(text="3 [5]\n"),
        lambda nb: nb.metadata["vit_encoder"].update(files=["used.py"]),
        lambda nb: nb.metadata["vit_encoder"].update(digest="0" * 16),
        lambda nb: nb.cells.append(nbformat.v4.new_code_cell("my_answer = 1")),
    ],
)
def test_an_edited_notebook_is_kept_and_made_anew(course, runs, change, capsys):
    notebook = course.read()
    change(notebook)
    nbformat.write(notebook, course.path)
    edited = course.path.read_bytes()
    (fault,) = course.sync(check=True)
    assert fault.startswith("exercises/01.ipynb was edited.")
    course.sync()
    assert runs == ["01.ipynb"]
    kept = course.path.with_name("01.ipynb.edited-1")
    assert kept.read_bytes() == edited
    said = "01.ipynb was edited; the edit is kept: exercises/01.ipynb.edited-1\n"
    assert f"exercises/{said}" in capsys.readouterr().out


def test_an_error_in_a_notebook_leaves_the_old_one_as_it_was(course):
    before = course.path.read_bytes()
    with pytest.raises(sources.SourceError, match=r"exercises/01\.ipynb: .*"):
        course.sync(unrun(code=["1 / 0"]))
    assert course.path.read_bytes() == before
    assert [*course.path.parent.iterdir()] == [course.path]


def test_a_run_leaves_nothing_beside_the_notebook(course):
    course.sync(unrun(code=["print(open('progress', 'x').write('some'))"]))
    assert [*course.path.parent.iterdir()] == [course.path]


def test_a_package_of_another_folder_is_refused(course, monkeypatch, tmp_path):
    other = tmp_path / "other" / "vit_encoder"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(other.parent), *sys.path]))
    with pytest.raises(sources.SourceError, match="vit_encoder was imported from"):
        course.sync(unrun(code=["import vit_encoder"]))


def test_a_kept_edit_makes_no_notebook_stale(tmp_path, monkeypatch):
    monkeypatch.setattr("dependencies.PACKAGE", tmp_path)
    (tmp_path / "part.py").write_text("x = 1")
    before = package_digests()
    (tmp_path / "part.py.edited-1").write_text("x = 2")
    assert package_digests() == before
    assert [*before] == ["part.py"]
