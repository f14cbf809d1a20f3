"""Generated files: an edit is seen, kept beside the file, and told of."""

import json

import nbformat
import pytest

import sources
from seals import is_edited, keep_edit, seal, seal_notebook, seal_text
from sync import sync_texts

MODULE = '"""A part."""\n\n# Generated from chapters/01.md. Do not edit.\n\nx = 1\n'
TABLE = "% Generated from book/a.json. Do not edit.\n\n| a | b |\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that messages take for the repository."""
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    return tmp_path


def write_notebook(path, change=lambda notebook: None):
    """Write a sealed notebook, changed after it was sealed."""
    output = nbformat.v4.new_output("stream", name="stdout", text="1\n2\n")
    cells = [
        nbformat.v4.new_markdown_cell("Read this.\nAnd this.", id="a"),
        nbformat.v4.new_code_cell("1 + 1\n2", id="b", outputs=[output]),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["vit_encoder"] = {"generated": "From a.md", "files": ["a.py"]}
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python"}
    seal_notebook(notebook)
    change(notebook)
    nbformat.write(notebook, path)


@pytest.mark.parametrize("name", ["mlp.py", "sizes.md", "catalogue.json", "02.ipynb"])
def test_what_was_written_is_not_edited_and_any_change_is(folder, name):
    path = folder / name
    if path.suffix == ".ipynb":
        write_notebook(path)
    elif path.suffix == ".json":
        path.write_text('[{"points": 3}]\n')
        path.with_suffix(".seal").write_text(seal('[{"points": 3}]\n') + "\n")
    else:
        path.write_text(seal_text(MODULE if path.suffix == ".py" else TABLE))
    assert not is_edited(path)
    text = path.read_text()
    for spoilt in (
        text.replace("x = 1", "x = 2").replace("a | b", "a | c"),
        text.replace("Seal", "Deal").replace('"seal"', '"deal"'),
        text[: len(text) // 2],
        "<<<<<<< HEAD\n" + text,
        "",
    ):
        if spoilt != text:
            path.write_text(spoilt)
            assert is_edited(path), spoilt
    path.write_bytes(b"\xff\xfe")
    assert is_edited(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda nb: nb.cells[1].update(source="1 + 2\n2"),
        lambda nb: nb.cells[0].update(source="Read that."),
        lambda nb: nb.cells[1].outputs[0].update(text="1\n3\n"),
        lambda nb: nb.cells.append(nbformat.v4.new_markdown_cell("My notes.")),
        lambda nb: nb.cells.pop(),
        lambda nb: nb.metadata["vit_encoder"].update(files=[]),
        lambda nb: nb.metadata.update(widgets={"state": {}}),
        lambda nb: nb.metadata.pop("vit_encoder"),
    ],
)
def test_edited_notebook(folder, change):
    write_notebook(folder / "02.ipynb", change)
    assert is_edited(folder / "02.ipynb")


def test_what_an_editor_writes_into_metadata_is_no_edit(folder):
    path = folder / "02.ipynb"
    write_notebook(path, lambda nb: nb.metadata.update(language_info={"name": "p"}))
    # Editors keep the text of a cell as a list of lines, indented in their way.
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4))
    assert not is_edited(path)


def test_no_copy_is_ever_overwritten(folder):
    path = folder / "02.ipynb"
    for number in (1, 2, 3):
        path.write_text(f"answer {number}")
        assert keep_edit(path).name == f"02.ipynb.edited-{number}"
    kept = [(folder / f"02.ipynb.edited-{n}").read_text() for n in (1, 2, 3)]
    assert kept == ["answer 1", "answer 2", "answer 3"]


def test_an_edited_text_is_kept_and_told_of(folder, capsys):
    path = folder / "generated" / "mlp.py"
    new = {path: seal_text(MODULE)}
    assert sync_texts(new, check=True) == [
        "generated/mlp.py is stale. Run `make sync`."
    ]
    assert sync_texts(new, check=False) == []
    assert sync_texts(new, check=True) == []
    path.write_text(path.read_text().replace("x = 1", "x = 2"))
    (fault,) = sync_texts(new, check=True)
    assert fault.startswith("generated/mlp.py was edited. Edit its source instead;")
    capsys.readouterr()
    sync_texts(new, check=False)
    assert capsys.readouterr().out == (
        "generated/mlp.py was edited; the edit is kept: generated/mlp.py.edited-1\n"
        "wrote  generated/mlp.py\n"
    )
    assert "x = 2" in (path.parent / "mlp.py.edited-1").read_text()
    assert path.read_text() == seal_text(MODULE)


def test_a_stale_text_leaves_no_copy(folder):
    path = folder / "mlp.py"
    for number in range(3):
        new = {path: seal_text(MODULE.replace("x = 1", f"x = {number}"))}
        sync_texts(new, check=False)
    assert [*folder.iterdir()] == [path]
