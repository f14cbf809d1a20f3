"""What `pip install` of the repository gives."""

import subprocess
import sys
import zipfile
from importlib import import_module

import pytest

from address import ROOT
from sources import read_all


def run(code):
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_importing_brings_torch_and_nothing_else_that_is_heavy():
    code = "import sys, vit_encoder; print(*sys.modules)"
    modules = set(run(code).split())
    heavy = {"matplotlib", "anywidget", "ipywidgets", "IPython", "safetensors"}
    assert "torch" in modules
    assert not heavy & modules


def test_every_chapter_s_part_can_be_imported(address):
    chapters = [s for s in read_all(address) if s.path.parent.name == "chapters"]
    assert chapters
    for source in chapters:
        assert import_module(f"vit_encoder.{source.module}").__doc__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", folder, ROOT], check=True
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_wheel_holds_the_whole_package(wheel):
    package = ROOT / "src"
    files = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files <= wheel
    extra = {name for name in wheel - files if ".dist-info/" not in name}
    assert extra == set()
