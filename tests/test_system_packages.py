"""A missing program is installed where that may be done, else named."""

import pytest

import browser


@pytest.fixture
def bare(monkeypatch):
    """A machine without the program, and without apt-get."""
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    monkeypatch.setattr(browser, "MAC", "/nowhere")


@pytest.mark.parametrize(
    ("find", "package"),
    [
        (browser.chromium, "chromium"),
        (browser.java, "default-jre-headless"),
        (browser.bubblewrap, "bubblewrap"),
    ],
)
def test_missing_program_names_the_command(bare, find, package):
    with pytest.raises(RuntimeError, match=f"sudo apt-get install {package}"):
        find()


def test_root_installs_it(monkeypatch):
    present, commands = set(), []

    def pretend(command, **_):
        commands.append(command)
        if "install" in command:
            present.add("java")

    def which(name):
        known = name == "apt-get" or name in present
        return "/bin/sh" if known else None

    monkeypatch.setattr(browser.shutil, "which", which)
    monkeypatch.setattr(browser.os, "geteuid", lambda: 0)
    monkeypatch.setattr(browser.subprocess, "run", pretend)
    assert browser.java() == "/bin/sh"
    assert commands[-1][-1] == "default-jre-headless"
