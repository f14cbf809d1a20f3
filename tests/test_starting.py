"""The ways to start: what the pages tell a reader to type is there, and works."""

import json
import re
import sys
import tomllib
from types import ModuleType, SimpleNamespace

import pytest

from address import ROOT, Address
from book_extension import filled_in
from readme import BEGIN, END, NO_ADDRESS, with_links
from vit_encoder import command
from vit_encoder.command import REFUSED, main

PAGES = {
    path.stem: path.read_text(encoding="utf-8")
    for path in [*ROOT.glob("book/*.md"), *ROOT.glob("*.md")]
}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTAINER = json.loads(
    (ROOT / ".devcontainer" / "devcontainer.json").read_text("utf-8")
)
REAL = Address("https://github.com/we/course", "main", "https://we.example/course/")


def targets(text):
    """The targets of make that a text names as code or at the beginning of a line."""
    return set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE))


def locked(name):
    """Package → version in a lock file."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def test_commands_that_pages_name_are_there(capsys):
    known = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
    extras = PROJECT["project"]["optional-dependencies"]
    with pytest.raises(SystemExit):
        main(["--help"])
    usage = capsys.readouterr().out
    for name, page in PAGES.items():
        assert targets(page) <= known, name
        for command_of_ours in re.findall(r"vit-encoder ([a-z-]+)", page):
            assert command_of_ours in usage, name
        for wanted in re.findall(r"(?:vit-encoder|\.)\[([a-z,]+)\]", page):
            assert {*wanted.split(",")} <= {*extras}, name
    assert {"lab", "exercises", "book"} <= targets(PAGES["how_to_use"])


def test_the_container_makes_what_its_editor_uses():
    (target,) = targets(CONTAINER["postCreateCommand"])
    assert f"\n{target}: .venv-lab/ready" in MAKEFILE
    editor = CONTAINER["customizations"]["vscode"]["settings"]
    python = "${containerWorkspaceFolder}/.venv-lab/bin/python"
    assert editor["python.defaultInterpreterPath"] == python
    assert re.search(r"/python:3-3\.1[123]$", CONTAINER["image"])
    (opened,) = CONTAINER["customizations"]["codespaces"]["openFiles"]
    assert (ROOT / opened.replace("my_exercises", "exercises")).exists()


def test_readers_get_the_versions_that_are_tested():
    ours, tested = locked("requirements-lab.lock"), locked("requirements.lock")
    assert "jupyterlab" in ours
    assert "torch" not in ours  # tools/environment.py installs it
    shared = ours.keys() & tested.keys()
    assert len(shared) > 50
    assert {n: ours[n] for n in shared} == {n: tested[n] for n in shared}


# vit-encoder lab


@pytest.fixture
def jupyterlab(monkeypatch):
    """JupyterLab, which starts nothing: the list of the arguments that it got."""
    got = []
    lab = ModuleType("jupyterlab.labapp")
    lab.LabApp = SimpleNamespace(launch_instance=got.append)
    monkeypatch.setitem(sys.modules, "jupyterlab", ModuleType("jupyterlab"))
    monkeypatch.setitem(sys.modules, "jupyterlab.labapp", lab)
    monkeypatch.setattr(command, "find_spec", lambda name: name == "jupyterlab")
    return got


def test_lab_copies_and_opens(jupyterlab, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["lab", "--no-browser", "--port=8889"]) == 0
    assert jupyterlab == [["my_exercises", "--no-browser", "--port=8889"]]
    copies = {path.name for path in (tmp_path / "my_exercises").iterdir()}
    assert copies == {path.name for path in ROOT.glob("exercises/*.ipynb")}
    assert "new   my_exercises" in capsys.readouterr().out


def test_lab_opens_nothing_if_it_cannot_copy(jupyterlab, tmp_path, capsys):
    (tmp_path / "taken").write_text("mine")
    assert main(["lab", str(tmp_path / "taken")]) == 1
    assert "Expected a folder" in capsys.readouterr().err
    assert jupyterlab == []


def test_lab_without_jupyterlab_copies_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["lab", str(tmp_path / "mine")]) == REFUSED
    assert 'pip install "vit-encoder[lab]"' in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


def test_options_that_grade_does_not_know_are_refused(capsys):
    with pytest.raises(SystemExit) as left:
        main(["grade", "class", "--output", "marks.csv", "--port=8889"])
    assert left.value.code == 2
    assert "unrecognized arguments: --port=8889" in capsys.readouterr().err


# The address


def test_the_address_and_the_version_are_filled_in():
    text = "`git+ADDRESS@TAG`, VERSION; MY_ADDRESS and TAGS stay"
    said = "`git+https://github.com/we/course@v1.2.0`, 1.2.0; MY_ADDRESS and TAGS stay"
    assert filled_in(text, REAL, "1.2.0") == said
    for page in ("how_to_use", "instructors", "plan"):
        assert "ADDRESS" in PAGES[page]


def test_the_readme_links_to_the_book_and_to_colab():
    readme = f"# Course\n{BEGIN}old\n{END}rest\n"
    made = with_links(readme, REAL)
    assert made.startswith(f"# Course\n{BEGIN}**[Read the book](https://we.example/")
    assert made.endswith(f"{END}rest\n")
    links = re.findall(r"\]\((\S+)\)", made)
    assert all(link.startswith(REAL.site) or "/we/course/" in link for link in links)
    colab = next(link for link in links if "colab" in link)
    assert (ROOT / colab.partition("/main/")[2]).exists()
    assert with_links(made, REAL) == made


def test_the_readme_says_so_while_there_is_no_address():
    nowhere = Address("https://github.com/example-org/course", "main", REAL.site)
    assert with_links(f"{BEGIN}{END}", nowhere) == f"{BEGIN}{NO_ADDRESS}{END}"


@pytest.mark.parametrize("readme", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_readme_without_a_place_for_the_links_is_named(readme):
    with pytest.raises(ValueError, match=r"README.md: expected `<!-- From"):
        with_links(readme, REAL)
