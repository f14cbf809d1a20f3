"""The version stands in one place, and a release refuses what should not go out."""

import os
import re
import subprocess
import sys

import pytest
import yaml

import release
from address import ROOT, Address
from release import elsewhere, faults, read_version, sections, tag_of

HERE = Address("https://example.org/course", "main", "https://example.org/")
FILES = ("pyproject.toml", "CITATION.cff", "CHANGELOG.md")
WORKFLOW = yaml.safe_load(
    (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
)


@pytest.fixture
def course(tmp_path):
    """A function that writes the three files; what is left out is as it should be."""

    def write(version="1.2.0", cited="1.2.0", date="2027-01-31", log=None):
        log = log or "# Changelog\n\n## 1.2.0 – 2027-01-31\n\n- new\n\n## 1.1.0 – x\n"
        texts = (
            f'[project]\nversion = "{version}"\n',
            f"version: {cited}\ndate-released: {date}\n",
            log,
        )
        for name, text in zip(FILES, texts, strict=True):
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_what_can_be_published(course):
    assert faults(course(), ["v1.1.0"]) == []
    assert sections(course())[0] == ("1.2.0 – 2027-01-31", "- new\n")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cited": "1.1.0"}, "CITATION.cff: expected version 1.2.0.* found 1.1.0"),
        ({"date": "2027-02-01"}, "to be `## 1.2.0 – 2027-02-01`.* found `## 1.2.0 – "),
        ({"log": "## Unreleased\n\n- new\n"}, "found `## Unreleased`"),
        ({"log": "# Changelog\n"}, "found `## none`"),
        ({"log": "## 1.2.0 – 2027-01-31\n\n## 1.1.0\n\n- old\n"}, "on 1.2.0 is empty"),
    ],
)
def test_what_is_refused(course, changes, said):
    (found,) = faults(course(**changes), [])
    assert re.search(said, found)


def test_a_tag_that_is_there_is_refused(course):
    assert faults(course(), ["v1.1.0", "v1.2.0"]) == [
        "v1.2.0 is a tag already. Raise the version in pyproject.toml."
    ]


def test_another_repository_or_branch_is_refused():
    assert elsewhere(HERE, HERE.repository, "main") == []
    (found,) = elsewhere(HERE, "https://example.org/fork", "main")
    assert "expected repository.url to be https://example.org/fork" in found
    (found,) = elsewhere(HERE, HERE.repository, "draft")
    assert found == "Expected the branch main; this is draft."


def test_the_files_agree_on_the_version():
    """While changes wait under `Unreleased`, the section below is the last release."""
    version = read_version()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    released = [heading for heading, _ in sections(ROOT) if heading != "Unreleased"]
    assert citation["version"] == version
    assert released[0] == f"{version} – {citation['date-released']}"
    assert f"year    = {{{citation['date-released'].year}}}" in (
        ROOT / "book" / "plan.md"
    ).read_text(encoding="utf-8")


def test_the_command_writes_what_is_new(course, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(release, "ROOT", course())
    monkeypatch.setattr(release, "read_address", lambda: HERE)
    arguments = ["--repository", HERE.repository, "--notes", str(tmp_path / "notes.md")]
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.setattr(sys, "argv", ["", *arguments, "--branch", "main"])
    release.main()
    assert capsys.readouterr().out == "1.2.0\n"
    assert (tmp_path / "notes.md").read_text(encoding="utf-8") == "- new\n"
    monkeypatch.setattr(sys, "argv", ["", *arguments, "--branch", "draft"])
    with pytest.raises(SystemExit, match="Expected the branch main"):
        release.main()


# The workflow


def publish(folder, *, tagged=False):
    """Run the commands that publish, with a `gh` that notes its arguments."""
    (folder / "dist").mkdir(exist_ok=True)
    for name in ("a.whl", "a.tar.gz", "book-1.2.0.zip", "notes.md"):
        (folder / "dist" / name).touch()
    gh = folder / "gh"
    gh.write_text(f'#!/bin/sh\necho "$@" >> said\nexit {int(tagged)}\n')
    gh.chmod(0o755)
    given = {"GITHUB_REPOSITORY": "we/course", "GITHUB_SHA": "abc", "VERSION": "1.2.0"}
    given["PATH"] = f"{folder}:{os.environ['PATH']}"
    for step in WORKFLOW["jobs"]["publish"]["steps"]:
        if "run" in step:
            command = ["bash", "-e", "-c", step["run"]]  # as GitHub runs it
            if subprocess.run(command, cwd=folder, env=os.environ | given).returncode:
                break
    return (folder / "said").read_text().splitlines()


def test_the_tag_comes_first_then_what_was_built(tmp_path):
    tag, made = publish(tmp_path)
    assert "repos/we/course/git/refs" in tag
    assert f"ref=refs/tags/{tag_of('1.2.0')}" in tag
    assert "sha=abc" in tag
    assert made.startswith("release create v1.2.0 --repo we/course --verify-tag")
    assert made.endswith("dist/a.whl dist/a.tar.gz dist/book-1.2.0.zip")


def test_a_refused_tag_stops_it(tmp_path):
    assert len(publish(tmp_path, tagged=True)) == 1


def test_nothing_is_published_untested_and_one_job_alone_may_write():
    jobs = WORKFLOW["jobs"]
    assert jobs["publish"]["needs"] == ["build", "test"]
    assert jobs["test"]["uses"] == "./.github/workflows/test.yml"
    writes = [n for n, job in jobs.items() if "write" in job["permissions"].values()]
    assert writes == ["publish"]
