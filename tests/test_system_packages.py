"""A missing program is installed or asked for before anything runs, by one step."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import system_packages
from system_packages import CHROME, CHROMIUM, JAVA, NEEDED

ROOT = Path(__file__).parents[1]
STEP = ROOT / "tools" / "system_packages.py"
FOLDERS = ("tests", "tools", "benchmarks")
OURS = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.py"))
INSTALLERS = re.compile(r"""["'](apt|apt-get|dpkg|snap|brew|playwright)["'](?!:)""")
ON_EVERY_MACHINE = {"bash", "sleep"}
OPTIONAL = {"nvidia-smi"}  # its absence is an answer
STARTS = {"run", "Popen", "check_call", "check_output", "call", "attempt", "which"}


@pytest.fixture
def machine(monkeypatch):
    """A machine without any program. What apt-get installs is there afterwards."""
    made = SimpleNamespace(commands={"apt-get"}, apt=[], probes=[], root=True)
    made.distribution, made.forbids = "debian", False
    brings = {p.package: p.commands[0] for p in NEEDED["test"]}
    brings[f"./{Path(CHROME).name}"] = "google-chrome"

    def run(command, **options):
        started = made.apt if command[0] == "apt-get" else made.probes
        started.append([word for word in command if not word.startswith("-")])
        if made.distribution == "offline":
            raise subprocess.CalledProcessError(100, command, stderr="no network")
        made.commands |= {brings[word] for word in command if word in brings}
        return SimpleNamespace(returncode=int(made.forbids), stderr="No permission")

    patch = monkeypatch.setattr
    patch(system_packages, "READY", STEP)
    patch(system_packages.shutil, "which", lambda c: c if c in made.commands else None)
    patch(system_packages.os, "geteuid", lambda: 0 if made.root else 1000)
    patch(system_packages, "os_name", lambda: made.distribution)
    patch(system_packages.subprocess, "run", run)
    patch(sys, "argv", ["", "test"])
    return made


def refusal():
    """What the step says when it stops."""
    with pytest.raises(SystemExit) as stopped:
        system_packages.main()
    return stopped.value.code


def test_others_are_told_the_command(machine):
    machine.root = False
    said = refusal()
    assert said.startswith("Missing: bubblewrap, setpriv, Chromium, git, Java. ")
    command = "sudo apt-get install bubblewrap util-linux chromium-headless-shell git "
    assert command in said
    assert machine.apt == []


def test_root_gets_all_at_once(machine):
    system_packages.main()
    assert [command[1] for command in machine.apt] == ["update", "install"]
    system_packages.main()
    assert len(machine.apt) == 2


def test_root_without_a_network_is_told_what_failed(machine, capsys):
    machine.distribution = "offline"
    assert "sudo apt-get install bubblewrap" in refusal()
    assert "no network" in capsys.readouterr().err


@pytest.mark.parametrize("root", [True, False])
def test_a_bubblewrap_that_is_forbidden_is_told(machine, root):
    machine.commands |= {"bwrap", "setpriv", "google-chrome", "git", "java"}
    machine.forbids, machine.root = True, root
    assert "bubblewrap does not work here: No permission\n" in refusal()
    ((*_, true),) = machine.probes
    assert true == "true"
    assert ("setpriv" in machine.probes[0]) == root


def test_a_machine_that_is_no_debian(machine):
    machine.commands.clear()
    assert "Missing: bubblewrap" in refusal()
    assert machine.apt == []


def test_what_is_there_is_left_alone(machine):
    machine.commands |= {"bwrap", "setpriv", "google-chrome", "git", "java"}
    system_packages.main()
    assert machine.apt == []


def test_ubuntu_has_no_package_of_a_browser(machine, monkeypatch):
    machine.distribution = "ubuntu"
    asked = []

    def reply(address, timeout):
        asked.append(address)
        return STEP.open("rb")

    monkeypatch.setattr(system_packages.urllib.request, "urlopen", reply)
    machine.root = False
    assert f"wget {CHROME} && sudo apt-get install bubblewrap" in refusal()
    machine.root = True
    system_packages.main()
    assert asked == [CHROME]
    assert f"./{Path(CHROME).name}" in machine.apt[-1]
    assert "chromium" not in machine.apt[-1]


def test_the_book_needs_no_program(machine, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["", "environment"])
    system_packages.main()
    monkeypatch.setattr(system_packages.importlib.util, "find_spec", lambda _: None)
    machine.root = False
    assert refusal().endswith(f"install python3.{sys.version_info.minor}-venv")


def test_venv_is_asked_for_with_the_rest(machine, monkeypatch):
    monkeypatch.setattr(system_packages.importlib.util, "find_spec", lambda _: None)
    machine.root = False
    assert "venv" not in refusal()  # the environment is there
    monkeypatch.setattr(system_packages, "READY", ROOT / "nowhere")
    assert f"install python3.{sys.version_info.minor}-venv bubblewrap" in refusal()


def test_a_tool_that_finds_none_names_the_command(machine):
    with pytest.raises(RuntimeError, match="sudo apt-get install default-jre-headless"):
        JAVA.path()
    machine.commands |= {"google-chrome"}
    assert CHROMIUM.path() == "google-chrome"


# The step is the only one.


def test_it_runs_with_the_modules_of_python_alone():
    done = subprocess.run(
        [sys.executable, "-S", "-I", STEP, "environment"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_make_runs_it_before_all_else():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    step = r"@\$\(MAKE\) --no-print-directory "
    for command in NEEDED.keys() - {"environment"}:
        rule = rf"^{command}: programs-{command} ##.*\n\t{step}\.venv/ready\n"
        assert re.search(rule, makefile, re.MULTILINE), command
    rule = rf"^\.venv\S*/ready: .*\n\t{step}programs-environment\n"
    assert len(re.findall(rule, makefile, re.MULTILINE)) == 3


def test_nothing_else_installs():
    found = [
        f"{path.relative_to(ROOT)}: {match[1]}"
        for path in OURS
        if path not in (STEP, Path(__file__))
        for match in INSTALLERS.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []
    assert INSTALLERS.search(STEP.read_text(encoding="utf-8"))


def programs_started(path):
    """The programs that a module starts or looks for by a name that it spells out."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            first = node.args[0]
            if isinstance(first, ast.List) and first.elts:
                first = first.elts[0]
            if name in STARTS and isinstance(first, ast.Constant):
                found.add(first.value)
    return {text for text in found if isinstance(text, str)}


def test_every_program_that_is_started_is_named():
    started = set().union(*(programs_started(p) for p in OURS if p != STEP))
    assert {"git", "sleep", "nvidia-smi"} <= started
    named = {command for program in NEEDED["test"] for command in program.commands}
    assert started - named - ON_EVERY_MACHINE - OPTIONAL == set()
