"""The files around the course: workflows, licences, citation, and the one address."""

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from readme import BEGIN, END, README

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+(\.\d+)*")
# In halves, so that this file does not hold what it looks for.
REGISTRIES = [
    f"{host}.{domain}"
    for host, domain in (
        ("pypi", "org"),
        ("files.pythonhosted", "org"),
        ("registry.npmjs", "org"),
        ("deb.debian", "org"),
    )
]


def tracked_files() -> list[Path]:
    """Every file that is in the repository or would be added to it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    paths = {ROOT / name for name in listed.split("\0") if name}
    return sorted(path for path in paths if path.is_file())


def files_that_hold(words: list[str], paths: list[Path]) -> list[str]:
    """The files in which one of the words stands, with the word."""
    found = []
    for path in paths:
        content = path.read_bytes()
        name = path.relative_to(ROOT).as_posix()
        found += [f"{name}: {word}" for word in words if word.encode() in content]
    return found


def unpinned(workflow: str) -> list[str]:
    """What a workflow uses without a full commit and its version in a comment.

    A workflow of this repository has the commit of the one that calls it.
    """
    uses = re.findall(r"^[\s-]*uses:\s*(.*?)\s*$", workflow, re.MULTILINE)
    ours = {f"./{path.relative_to(ROOT).as_posix()}" for path in WORKFLOWS}
    return [used for used in uses if used not in ours and not PINNED.fullmatch(used)]


def permission_faults(workflow: str) -> list[str]:
    """Where a workflow may do more than it says it needs."""
    content = yaml.safe_load(workflow)
    faults = [] if content.get("permissions") == {} else ["no `permissions: {}` on top"]
    for name, job in content["jobs"].items():
        if not isinstance(job.get("permissions"), dict):
            faults.append(f"{name}: its permissions are not listed one by one")
        if any(keeps_credentials(step) for step in job.get("steps", [])):
            faults.append(f"{name}: checkout without `persist-credentials: false`")
    return faults


def keeps_credentials(step: dict) -> bool:
    """Whether a step checks out and leaves the token where later steps can read it."""
    checks_out = step.get("uses", "").startswith("actions/checkout@")
    return checks_out and step.get("with", {}).get("persist-credentials") is not False


def commands() -> list[str]:
    """The shell commands of the workflows and of the hooks of pre-commit."""
    found = []
    for path in WORKFLOWS:
        jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
        found += [step.get("run", "") for job in jobs for step in job.get("steps", [])]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    return found + [hook["entry"] for repo in hooks["repos"] for hook in repo["hooks"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_pins_its_actions(path: Path) -> None:
    assert unpinned(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_has_least_permissions(path: Path) -> None:
    assert permission_faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_job_has_a_timeout(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    own = {name: job for name, job in jobs.items() if "uses" not in job}
    assert [name for name, job in own.items() if "timeout-minutes" not in job] == []


def test_workflows_are_found() -> None:
    assert {path.stem for path in WORKFLOWS} == {
        "bare",
        "colab",
        "deploy",
        "gpu",
        "links",
        "release",
        "start",
        "test",
    }


@pytest.mark.parametrize(
    "used",
    [
        "actions/checkout@v4",
        "actions/checkout@main # v4.0.0",
        f"actions/checkout@{'a' * 40}",
        f"actions/checkout@{'a' * 39} # v4.0.0",
        f"actions/checkout@{'a' * 40} # latest",
        "./.github/workflows/none.yml",
    ],
)
def test_an_action_without_its_pin_is_seen(used: str) -> None:
    assert unpinned(f"    steps:\n      - uses: {used}\n") == [used]


@pytest.mark.parametrize(
    ("workflow", "fault"),
    [
        ("jobs: {}", "no `permissions: {}` on top"),
        ("permissions: {contents: read}\njobs: {}", "no `permissions: {}` on top"),
        (
            "permissions: {}\njobs: {a: {permissions: write-all, steps: []}}",
            "a: its permissions are not listed one by one",
        ),
        (
            "permissions: {}\n"
            "jobs: {a: {permissions: {}, steps: [{uses: actions/checkout@v4}]}}",
            "a: checkout without `persist-credentials: false`",
        ),
    ],
)
def test_too_many_permissions_are_seen(workflow: str, fault: str) -> None:
    assert permission_faults(workflow) == [fault]


def test_every_make_target_that_is_run_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    known |= {f"programs-{name}" for name in known}  # a pattern rule
    calls = r"^\s*(?:- )?make ([a-z][a-z-]*)"  # not `install git make python3`
    run = set(re.findall(calls, "\n".join(commands()), re.MULTILINE))
    assert {"test", "test-colab", "test-gpu", "book", "check-sources"} <= run
    assert run - known == set()


def test_public_address_stands_in_the_configuration_alone() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    site = urlsplit(config["html"]["baseurl"])
    words = [
        urlsplit(config["repository"]["url"]).path.strip("/"),
        f"{site.netloc}{site.path}".rstrip("/"),
    ]
    assert all(words), "_config.yml: repository.url or html.baseurl is not an address"
    # Generated notebooks hold it because Colab must know where to install from, and the
    # catalogue because reports link to what to read again.
    catalogue = ROOT / "src" / "vit_encoder" / "check" / "catalogue.json"
    made_from_it = (ROOT / "_config.yml", README, catalogue)
    elsewhere = [
        path
        for path in tracked_files()
        if path.suffix != ".ipynb" and path not in made_from_it
    ]
    assert files_that_hold(words, elsewhere) == []
    written, made = README.read_text("utf-8").split(BEGIN)
    assert not any(word in written + made.split(END)[1] for word in words)
    assert len(files_that_hold(words, [ROOT / "_config.yml"])) == 2


def test_no_file_names_a_package_registry() -> None:
    assert files_that_hold(REGISTRIES, tracked_files()) == []


def test_yaml_files_parse() -> None:
    paths = [p for p in tracked_files() if p.suffix in {".yml", ".yaml", ".cff"}]
    assert ROOT / "CITATION.cff" in paths
    for path in paths:
        assert yaml.safe_load(path.read_text(encoding="utf-8")), path


def test_citation_names_no_address() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert not {"url", "repository-code"} & citation.keys()


def test_licences_are_whole() -> None:
    code = (ROOT / "LICENSE").read_text(encoding="utf-8")
    content = (ROOT / "LICENSE-CONTENT").read_text(encoding="utf-8")
    assert code.startswith("MIT License")
    for section in range(1, 9):
        assert f"\nSection {section} -- " in content


def test_generated_modules_are_marked() -> None:
    mark = "# Generated from "
    modules = (ROOT / "src" / "vit_encoder").glob("*.py")
    names = [
        path.relative_to(ROOT).as_posix()
        for path in modules
        if f"\n{mark}" in path.read_text(encoding="utf-8")
    ]
    attributes = subprocess.run(
        ["git", "check-attr", "linguist-generated", "--", *names, "chapters/x.ipynb"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.splitlines()
    unmarked = [line for line in attributes if not line.endswith(": set")]
    assert unmarked == [], "Mark it linguist-generated in .gitattributes."


@pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" not in os.environ, reason="for several processes of pytest"
)
@pytest.mark.xdist_group("together")
def test_groups_of_tests_stay_in_one_process(request):
    """What they share is made once; some versions of pytest scatter them in silence."""
    assert request.node.nodeid.endswith("@together")
