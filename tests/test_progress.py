"""Progress: kept beside the notebook, read again, never lost, exported."""

import csv
import json

import pytest

from vit_encoder.check import check, progress, score_card

NOTEBOOK = "02_self_attention"
ONE_QUERY = "self_attention.one_query"
ENTROPY = "self_attention.entropy"


@pytest.fixture(autouse=True)
def notebook(tmp_path, monkeypatch):
    """As in the kernel of a notebook that lies in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "runs_in_a_notebook", lambda: True)
    progress.forget()
    yield tmp_path / f"{NOTEBOOK}.progress.json"
    progress.forget()


def test_points_are_there_again_after_a_restart(notebook):
    check(ONE_QUERY, [0.25, 0.75, 7])
    check(ENTROPY, "A")
    before = repr(score_card(NOTEBOOK))
    progress.forget()
    assert repr(score_card(NOTEBOOK)) == before
    assert score_card(NOTEBOOK).points == 1
    assert json.loads(notebook.read_text())["version"] == 1


def test_the_latest_check_counts(notebook):
    check(ONE_QUERY, [0.25, 0.75, 7])
    check(ONE_QUERY, None)
    progress.forget()
    assert score_card(NOTEBOOK).points == 0


def test_an_unreadable_file_is_kept(notebook):
    notebook.write_text("{ not json")
    with pytest.warns(UserWarning, match=r"it is kept as .*\.unreadable"):
        check(ONE_QUERY, [0.25, 0.75, 7])
    kept = notebook.with_suffix(".json.unreadable")
    assert kept.read_text() == "{ not json"
    progress.forget()
    assert score_card(NOTEBOOK).points == 1


@pytest.mark.parametrize(
    "text", ['{"version": 2, "reports": []}', "[]", '{"version": 1, "reports": [{}]}']
)
def test_a_file_of_another_form_is_kept(notebook, text):
    notebook.write_text(text)
    with pytest.warns(UserWarning, match="could not be read"):
        score_card(NOTEBOOK)
    assert notebook.with_suffix(".json.unreadable").read_text() == text


def test_outside_a_notebook_no_file_is_written(notebook, monkeypatch):
    monkeypatch.setattr(progress, "runs_in_a_notebook", lambda: False)
    check(ONE_QUERY, [0.25, 0.75, 7])
    assert not notebook.exists()
    assert score_card(NOTEBOOK).points == 1


def test_a_folder_that_cannot_be_written_is_no_fault(monkeypatch):
    monkeypatch.setattr(progress.tempfile, "mkstemp", refuse)
    assert check(ONE_QUERY, [0.25, 0.75, 7]).passed


def refuse(**_):
    raise PermissionError


def test_the_card_can_be_exported(tmp_path):
    check(ONE_QUERY, [0.25, 0.75, 7])
    card = score_card(NOTEBOOK)
    rows = list(csv.DictReader(card.export("card.csv").open()))
    assert rows[0]["id"] == ONE_QUERY
    assert sum(int(row["points"]) for row in rows) == 1
    stored = json.loads(card.export(tmp_path / "card.json").read_text())
    assert (stored["points"], stored["out_of"]) == (1, card.out_of)
    assert "<table>" in card.export("card.html").read_text()
    with pytest.raises(ValueError, match=r"expected a \.csv, \.json or \.html file"):
        card.export("card.pdf")
