"""The environment is made by uv where it can be, else by pip, and never half."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import environment

PIN = "torch=="


@pytest.fixture
def made(monkeypatch, tmp_path):
    """A function that makes an environment in which nothing runs.

    fails: a command with one of these words does. Gives the commands that were run.
    """

    def make(*fails, gpu=False):
        commands = []

        def run(command, **_):
            commands.append(" ".join(map(str, command)))
            failed = any(word in commands[-1] for word in fails)
            if "nvidia-smi" in commands[-1]:
                failed = not gpu
            if "venv" in command:
                Path(command[-1]).mkdir()
            return subprocess.CompletedProcess(command, int(failed), b"", b"")

        monkeypatch.setattr(environment.subprocess, "run", run)
        arguments = ["", str(tmp_path / "made"), str(environment.LOCK), "--editable"]
        monkeypatch.setattr(sys, "argv", arguments)
        monkeypatch.setattr(sys, "platform", "linux")
        environment.main()
        return commands

    return make


def test_uv_comes_from_the_lock_and_installs_the_rest(made, tmp_path):
    venv, smi, torch, *others = (c for c in made() if "--require-hashes" not in c)
    locked = [c for c in made() if "--require-hashes" in c]
    assert venv.endswith(f"-m venv {tmp_path}/made")
    pin = (tmp_path / "made" / "uv.txt").read_text()
    assert pin.startswith("uv==")
    assert pin.count("==") == 1
    assert pin.count("--hash=sha256:") > 5
    assert " -m pip " in locked[0]
    assert locked[0].endswith(f"--no-deps -r {tmp_path}/made/uv.txt")
    assert locked[1].startswith(f"{tmp_path}/made/bin/uv --directory=/ pip install")
    assert locked[1].endswith(f"--no-deps -r {environment.LOCK}")
    assert "nvidia-smi" in smi
    assert torch.endswith("+cpu")
    assert len(locked) == 2
    assert len(others) == 1
    assert "--editable" in others[0]
    assert (tmp_path / "made" / "ready").exists()


@pytest.mark.parametrize("fails", [["uv.txt", "bin/uv"], ["bin/uv"]])
def test_where_uv_fails_pip_installs_the_same(made, fails):
    commands = made(*fails)
    (by_pip,) = (c for c in commands if " -m pip " in c and str(environment.LOCK) in c)
    assert "--require-hashes --no-deps" in by_pip
    assert " -m pip " in commands[-1]
    assert "--editable" in commands[-1]


def test_the_build_of_torch(made):
    def torch(*fails, gpu=False):
        return [c for c in made(*fails, gpu=gpu) if PIN in c]

    assert torch()[-1].endswith("+cpu")
    _, by_uv = torch("+cpu")
    assert "bin/uv --directory=/ pip install" in by_uv
    assert "--torch-backend cpu" in by_uv
    *_, default = torch("+cpu", "--torch-backend")
    assert not default.endswith("+cpu")
    assert " -m pip " in default
    (default,) = torch(gpu=True)
    assert not default.endswith("+cpu")


def test_uv_takes_torch_although_the_lock_leaves_it_out(tmp_path):
    wheel = tmp_path / "torch-2.13.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        about = "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n"
        archive.writestr("torch-2.13.0.dist-info/METADATA", about)
    uv = environment.uv(Path(sys.executable), Path(sys.prefix))
    options = ["--no-index", "--find-links", tmp_path, "--target", tmp_path / "new"]
    done = subprocess.run(
        [*(word for word in uv if word != "--quiet"), "--dry-run", *options, "torch"],
        cwd=environment.ROOT,
        capture_output=True,
        text=True,
    )
    assert "+ torch==2.13.0" in done.stderr


@pytest.mark.parametrize("fails", ["-m venv", "-r /", "torch==", "--editable"])
def test_a_half_made_environment_is_not_ready(made, tmp_path, fails):
    made()
    assert (tmp_path / "made" / "ready").exists()
    with pytest.raises(SystemExit):
        made(fails)
    assert not (tmp_path / "made" / "ready").exists()


def test_a_python_of_another_version_is_refused(made, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    with pytest.raises(SystemExit, match=r"Python 3\.11 to 3\.13 is needed"):
        made()
    assert not (tmp_path / "made").exists()
