"""Which answers of the bank are asked again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import asked_answers
import sync
from address import ROOT

# Reports on two answers of each exercise; then the files that were opened.
READS = """
import json, os, sys
opened = set()

def note(event, arguments):
    if event == "open" and str(arguments[0]).endswith((".py", ".pyc", ".json")):
        opened.add(os.path.abspath(arguments[0]))

sys.addaudithook(note)
from importlib import import_module
bank = import_module(f"tests.bank.{sys.argv[1]}")
from vit_encoder.check import catalogue, check
for entry in catalogue():
    module, _, name = entry["id"].partition(".")
    if module == sys.argv[1]:
        answers = getattr(bank, "RIGHT", {}).get(name) or [None]
        check(entry["id"], answers[0], 0)
        check(entry["id"], lambda *_: None, 0)
print(json.dumps(sorted(opened)))
"""
NOTED = {"src/vit_encoder/check/catalogue.json"}  # its own entries are in the stamp


def paths(module):
    return {str(p.relative_to(ROOT)) for p in asked_answers.files_under(module)}


@pytest.fixture
def known(monkeypatch):
    """What is noted: that all was asked, as it stands now."""
    stamps = {m: dict(asked_answers.stamp(m)) for m in asked_answers.modules()}
    monkeypatch.setattr(asked_answers, "recorded", lambda: stamps)
    monkeypatch.setattr(asked_answers, "recorded_once", lambda: stamps)
    return stamps


@pytest.mark.parametrize("module", ["layer_norm", "training"])
def test_all_that_a_report_reads_is_in_the_stamp(module):
    path = ":".join(map(str, (ROOT, ROOT / "src", ROOT / "tools")))
    done = subprocess.run(
        [sys.executable, "-c", READS, module],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    opened = [Path(path) for path in json.loads(done.stdout.splitlines()[-1])]
    sources = {source_of(p) for p in opened if p.is_relative_to(ROOT / "src")}
    read = {str(path.relative_to(ROOT)) for path in sources} - NOTED
    assert f"src/vit_encoder/check/{module}.py" in read
    assert read <= paths(module)


def source_of(path):
    """The module that a compiled one was made from; another file is its own."""
    if path.parent.name != "__pycache__":
        return path
    return path.parents[1] / f"{path.name.partition('.')[0]}.py"


def test_an_edit_touches_what_rests_on_it():
    mlp = "src/vit_encoder/check/mlp.py"
    assert {m for m in asked_answers.modules() if mlp in paths(m)} == {
        *("mlp", "encoder_block", "encoder", "capstone"),
    }
    for path in ("src/vit_encoder/check/hearing/asking.py", "tests/bank/variants.py"):
        assert all(path in paths(m) for m in asked_answers.modules())
    bank = "tests/bank/mlp.py"
    assert [m for m in asked_answers.modules() if bank in paths(m)] == ["mlp"]


def test_a_part_is_asked_again(known):
    ids = [entry["id"] for entry in asked_answers.entries()]
    due = [id for id in ids if asked_answers.is_due(id)]
    assert 0 < len(due) < len(ids) / 3
    assert not asked_answers.stale()
    assert sync.sync_answers(check=True) == []


@pytest.mark.parametrize("key", ["sources", "python", "torch", "instructions"])
def test_all_are_asked_where_something_is_new(known, key):
    known["mlp"][key] = "another"
    own = [e["id"] for e in asked_answers.entries() if e["id"].startswith("mlp.")]
    assert all(map(asked_answers.is_due, own))
    assert asked_answers.stale() == (["mlp"] if key == "sources" else [])
    assert asked_answers.stale("04") == []


def test_what_was_not_asked_is_told(known):
    del known["encoder"]
    (fault,) = sync.sync_answers(check=True)
    assert "tests/bank/encoder.py" in fault
    assert "make sync" in fault


@pytest.mark.parametrize("status", [0, 1])
def test_only_answers_that_got_what_they_should_are_noted(
    known, tmp_path, monkeypatch, status
):
    known["mlp"] = {"sources": "old"}
    noted = tmp_path / "asked.json"
    monkeypatch.setattr(asked_answers, "ASKED", noted)
    done = subprocess.CompletedProcess([], status)
    monkeypatch.setattr(asked_answers.subprocess, "run", lambda *_, **__: done)
    faults = sync.sync_answers(check=False)
    assert bool(faults) == bool(status)
    assert noted.exists() == (not status)
    if not status:
        assert json.loads(noted.read_text())["mlp"] == asked_answers.stamp("mlp")
