"""What `pip install` of the repository gives."""

import os
import re
import subprocess
import sys
import zipfile
from importlib import import_module

import pytest

from address import ROOT, read_address
from sources import read_all


def run(code):
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_importing_brings_torch_and_nothing_else_that_is_heavy():
    code = "import sys; from vit_encoder import *; print(*sys.modules)"
    modules = set(run(code).split())
    heavy = {"matplotlib", "anywidget", "ipywidgets", "IPython", "safetensors"}
    assert "torch" in modules
    assert not heavy & modules


def test_importing_a_part_leaves_the_others_alone():
    code = "import sys; from vit_encoder import gelu; print(*sys.modules)"
    ours = {name for name in run(code).split() if name.startswith("vit_encoder")}
    assert ours == {"vit_encoder", "vit_encoder.arguments", "vit_encoder.mlp"}


def test_every_name_of_the_figures_is_used_somewhere():
    from vit_encoder import figures

    pages = "".join(source.text for source in read_all(read_address()))
    pages += (ROOT / "tools" / "book_extension.py").read_text(encoding="utf-8")
    # Two are for a notebook: pages show them with the course's ViT.
    names = {*figures.__all__} - {"EncoderTour", "EncoderAtWork"}
    assert [name for name in names if not re.search(rf"\b{name}\b", pages)] == []


def test_parts_and_their_modules_are_found_by_name():
    import vit_encoder

    for name in vit_encoder.__all__:
        assert getattr(vit_encoder, name).__name__ == name
    assert vit_encoder.layer_norm.__name__ == "vit_encoder.layer_norm"
    assert {*vit_encoder.__all__, "layer_norm"} <= {*dir(vit_encoder)}
    with pytest.raises(AttributeError, match="no attribute 'softmin'"):
        vit_encoder.softmin  # noqa: B018


@pytest.mark.xdist_group("sources")
def test_every_chapter_s_part_can_be_imported(address):
    chapters = [s for s in read_all(address) if s.path.parent.name == "chapters"]
    assert chapters
    for source in chapters:
        assert import_module(f"vit_encoder.{source.module}").__doc__


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the wheel's files are in."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", folder, ROOT], check=True
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


@pytest.mark.xdist_group("wheel")
def test_wheel_holds_the_package_and_the_exercises(installed):
    package = ROOT / "src"
    files = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        if ".edited-" not in path.name  # what `make sync` has kept
    }
    names = [path.name for path in (ROOT / "exercises").glob("*.ipynb")]
    files |= {f"vit_encoder/notebooks/{name}" for name in names}
    found = {
        path.relative_to(installed).as_posix()
        for path in installed.rglob("*")
        if path.is_file() and ".dist-info" not in path.parent.name
    }
    assert {name for name in found if ".dist-info/" not in name} == files


@pytest.mark.xdist_group("wheel")
def test_an_installed_package_gives_the_exercises(installed, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "vit_encoder.exercises"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        check=True,
    )
    copies = sorted(path.name for path in (tmp_path / "my_exercises").iterdir())
    assert copies == sorted(path.name for path in ROOT.glob("exercises/*.ipynb"))
