"""Recorded trainings: every run says what it must, and what is told of them is so."""

import json

import pytest

import train_vit
from vit_encoder import training_runs
from vit_encoder.data import fashion_vit
from vit_encoder.datasets import fashion_mnist
from vit_encoder.fit import accuracy, predict
from vit_encoder.training_runs import (
    USUAL,
    Ablation,
    ablation,
    best_rate,
    runs,
    trainings,
)

SAID = {"study", "seed", "command", "date", "machine", "torch", "cpu_seconds"}


def test_every_run_says_how_it_was_made():
    assert runs()
    for run in runs():
        assert run.keys() >= SAID
        assert run["command"].startswith("python studies/train_vit.py ")


def test_no_run_twice():
    keys = [
        tuple(run.get(k) for k in ("study", "variant", "learning_rate", "seed", *USUAL))
        for run in runs()
    ]
    assert len(keys) == len({*keys})


def test_no_neighbour_of_a_chosen_rate_is_better():
    """As chapter 08 says; a rate at the edge of those that were tried has only one."""
    rates = train_vit.RATES
    cells = {tuple(r[name] for name in ("variant", *USUAL)) for r in ablations()}
    for variant, *sizes in cells:
        setting = dict(zip(USUAL, sizes, strict=True))
        if (chosen := ablation(variant, **setting)) is None:
            continue
        first = {
            r["learning_rate"]: r["selection"]
            for r in ablations()
            if r["seed"] == 0 and r["variant"] == variant
            if setting.items() <= r.items()
        }
        at = rates.index(chosen.learning_rate)
        best = first[rates[at]]
        assert first[rates[at - 1]] <= best >= first[rates[at + 1]], (variant, setting)


def ablations():
    return [run for run in runs() if run["study"] == "ablations"]


def run_of(rate, seed, selection, report, **more):
    return {
        "study": "ablations",
        "variant": "base",
        **USUAL,
        "learning_rate": rate,
        "seed": seed,
        "selection": selection,
        "report": report,
        **more,
    }


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    def write(*found):
        (tmp_path / "runs.json").write_text(json.dumps(found))
        monkeypatch.setattr(training_runs, "FILE", tmp_path / "runs.json")

    return write


def test_ablation_takes_the_rate_that_the_selection_prefers(recorded):
    recorded(
        run_of(0.001, 0, 0.5, 0.99),
        run_of(0.003, 0, 0.6, 0.1),
        run_of(0.003, 1, 0.0, 0.2),
        run_of(0.003, 2, 0.9, 0.3),
        run_of(0.01, 0, 0.4, 0.9),
        run_of(0.01, 1, 0.99, 0.9),  # another seed has no say
        run_of(0.01, 0, 0.99, 0.9, depth=8),
    )
    found = ablation("base")
    assert found == Ablation(0.003, (0.1, 0.2, 0.3))
    assert found.mean == pytest.approx(0.2)
    assert found.summary == pytest.approx((0.2, 0.1, 0.3))
    assert ablation("base", depth=8) is None
    assert ablation("no skips") is None


def test_ablation_that_lacks_a_seed_is_none(recorded):
    recorded(run_of(0.003, 0, 0.6, 0.1), run_of(0.003, 2, 0.6, 0.1))
    assert ablation("base") is None


def test_of_two_rates_as_good_the_smaller_is_taken():
    found = [run_of(0.01, 0, 0.5, 0), run_of(0.003, 0, 0.5, 0)]
    assert best_rate(found) == best_rate(found[::-1]) == 0.003
    assert best_rate([]) is None


def test_unknown_setting_is_refused():
    with pytest.raises(ValueError, match=r"expected names among .*got \['deepth'\]"):
        ablation("base", deepth=3)


def test_trainings_come_by_their_seeds(recorded):
    recorded(
        {"study": "a", "seed": 2}, {"study": "b", "seed": 0}, {"study": "a", "seed": 1}
    )
    assert [run["seed"] for run in trainings("a")] == [1, 2]


def test_the_model_that_ships_reaches_what_its_run_says():
    (run,) = (r for r in trainings("fashion") if r["seed"] == 0)
    test = (
        fashion_mnist().test
    )  # the first 1000 of the 10 000 that the run was tested on
    found = accuracy(predict(fashion_vit(), test), test.labels)
    assert abs(found - run["test_accuracy"]) < 0.03  # three standard errors
