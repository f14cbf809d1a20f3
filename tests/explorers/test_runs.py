"""The recorded trainings."""

import json
import re
from statistics import mean

import pytest
import torch
from tests.explorers.cases import run

from vit_encoder.figures import RunsExplorer
from vit_encoder.training_runs import USUAL, ablation, runs

pytestmark = pytest.mark.xdist_group("explorer runs")


def test_means_are_those_of_the_records(visit):
    rng = torch.Generator().manual_seed(0)
    points = [
        [rate, seed, *torch.rand(2, generator=rng).double().tolist(), False]
        for rate in (1e-3, 3e-3)
        for seed in range(5)
    ]
    points[7][3], points[7][4] = None, True
    tab = visit("runs")
    for rate in (1e-3, 3e-3, 1e-2):
        own = [point for point in points if point[0] == rate]
        for column, measure in ((2, "accuracy"), (3, "loss")):
            known = [p[column] for p in own if p[column] is not None]
            code = f"figure.valueAt({json.dumps(points)}, {rate}, '{measure}')"
            found = run(tab, code)
            right = mean(known) if known else None
            assert found["mean"] == (right and pytest.approx(right, abs=1e-12))
            assert found["diverged"] == any(point[4] for point in own)


SETTINGS = {
    "2 blocks": {"depth": 2},
    "4 blocks": {},
    "24 blocks": {"depth": 24},
    "16 heads": {"num_heads": 16},
    "1600 steps": {"steps": 1600},
    "CIFAR-10, P = 8, 1600 steps": {"steps": 1600, "data": "cifar10", "patch_size": 8},
}


def table_of(tab):
    """Row → the texts of its two cells, as they are read."""
    rows = tab.locator(".runs-figure tbody tr").evaluate_all(
        "rows => rows.map(r => [...r.children].map(c => c.innerText.trim()))"
    )
    return {name: [re.split(r"\s*\n\s*", c) for c in cells] for name, *cells in rows}


def in_words(accuracy, whole):
    """An accuracy as the figure says it, and how far it is from the whole model's."""
    far = f"{100 * (accuracy - whole):+.1f}".replace("-", "−")
    return f"{100 * accuracy:.1f}\xa0%", far


def test_table_shows_every_ablation_as_it_was_recorded(visit):
    tab = visit("runs")
    for panel, changes in SETTINGS.items():
        tab.get_by_role("radio", name=panel, exact=True).check()
        key = {"study": "ablations"} | USUAL | changes
        records = [run for run in runs() if key.items() <= run.items()]
        rates = sorted({run["learning_rate"] for run in records})
        for i, rate in enumerate(rates):
            tab.get_by_role("slider").fill(str(i))
            found = table_of(tab)
            assert next(iter(found)) == "whole model"
            assert len(found) == len({run["variant"] for run in records})
            at_rate = {}
            for record in records:
                if record["learning_rate"] == rate:
                    values = at_rate.setdefault(record["variant"], [])
                    values.append(record["report"])
            for name, (here, best) in found.items():
                variant = "base" if name == "whole model" else name
                if variant not in at_rate:
                    assert here == ["–"]
                else:
                    whole = mean(at_rate["base"]) if "base" in at_rate else 0
                    value, far = in_words(mean(at_rate[variant]), whole)
                    assert here[0] == value
                    if variant != "base" and "base" in at_rate:
                        assert here[1].split()[0] == far
                chosen, whole = (ablation(v, **changes) for v in (variant, "base"))
                value, far = in_words(chosen.mean, whole.mean)
                note = f"at {chosen.learning_rate:f}".rstrip("0")
                assert best == [value, note if variant == "base" else f"{far} {note}"]


def test_line_is_the_first_seed_over_the_rates(visit):
    tab = visit("runs")
    for kind, top in (("accuracy", 1), ("loss", 1.05 * 4.4409)):
        tab.get_by_role("radio", name=kind, exact=True).check()
        path = tab.locator("[data-series='post-norm'] .runs-line").get_attribute("d")
        points = [[*map(float, p.split())] for p in re.split("[ML]", path)[1:]]
        key = {"study": "ablations", "variant": "post-norm", "seed": 0}
        records = [
            run
            for run in runs()
            if (key | USUAL | {"depth": 24}).items() <= run.items()
        ]
        records.sort(key=lambda run: run["learning_rate"])
        column = "report" if kind == "accuracy" else "train_loss"
        assert [250 * (1 - run[column] / top) for run in records] == pytest.approx(
            [y for _, y in points], abs=0.01
        )
        x = [torch.tensor(run["learning_rate"]).log10().item() for run in records]
        shown = [a[0] - points[0][0] for a in points]
        right = [(a - x[0]) / (x[-1] - x[0]) * shown[-1] for a in x]
        assert right == pytest.approx(shown, abs=0.05)


def test_curves_by_step_show_the_reader_s_own_first():
    history = [
        {"step": 80 * i, "train_loss": 2 / i, "train_accuracy": 0.1 * i,
         "validation_loss": 3 / i, "validation_accuracy": 0.09 * i, "seconds": 1.0}
        for i in range(1, 4)
    ]  # fmt: skip
    made = RunsExplorer([], {"mine": history})
    (panel,) = made.panels
    assert (made.panel, made.at) == ("long runs", 240)
    assert panel["names"] == ["mine, training", "mine, validation"]
    (_, middle, _) = panel["series"]["mine, validation"]["points"]
    assert middle == [160, 0, pytest.approx(0.18), 1.5, False]
    made = RunsExplorer(curves={"mine": history})
    assert made.panels[-1]["names"][:2] == ["mine, training", "mine, validation"]
    assert repr(made) == f"RunsExplorer({len(made.panels)} settings)"


def test_at_a_step_the_last_measurement_before_it_stands(visit):
    tab = visit("runs")
    tab.get_by_role("radio", name="long runs").check()
    (record,) = (r for r in runs() if r["study"] == "cifar10" and r["device"] == "cpu")
    slider = tab.get_by_role("slider")
    for i in range(int(slider.get_attribute("max")) + 1):
        slider.fill(str(i))
        step = float(slider.get_attribute("aria-valuetext").split()[-1])
        before = [e for e in record["history"] if e["step"] <= step]
        for kind, words in (("train", "training"), ("validation", "validation")):
            here, end = table_of(tab)[f"cifar10, {words}"]
            value = [e[f"{kind}_accuracy"] for e in before]
            assert here == [f"{100 * value[-1]:.1f}\xa0%" if value else "–"]
            last = record["history"][-1]
            wanted = f"{100 * last[f'{kind}_accuracy']:.1f}\xa0%"
            assert end == [wanted, f"at {last['step']}"]


def test_finger_chooses_the_nearest_rate(visit):
    tab = visit("runs", width=360, has_touch=True, is_mobile=True)
    box = tab.locator(".runs-plot > svg").bounding_box()
    for x, rate in ((0.25, "0.0003"), (0.97, "0.01"), (0.45, "0.001")):
        tab.touchscreen.tap(box["x"] + x * box["width"], box["y"] + 60)
        assert tab.get_by_role("columnheader").nth(0).inner_text() == f"at {rate}"


ROW = {"variant": "base", "learning_rate": 0.1, "seed": 0, "selection": 0.5}
EPOCH = {"step": 1, "train_loss": 1.0, "train_accuracy": 0.5, "validation_loss": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": []}, "runs with a learning_rate or a history, got none"),
        ({"runs": "all"}, "expected a dict of numbers, got str"),
        ({"runs": [ROW]}, "seed, selection, report, got a dict without report"),
        ({"runs": [ROW | {"report": 1.2}]}, "expected report from 0 to 1, got 1.2"),
        (
            {"runs": [ROW | {"report": 0.5, "seed": 1}]},
            r"a run with seed 0, .* of 'whole model', got seeds \[1\]",
        ),
        ({"runs": [ROW | {"report": 0.5, "depth": "4"}]}, "expected depth .* got '4'"),
        ({"curves": {"mine": []}}, "expected epochs in the curve 'mine', got none"),
        ({"curves": {"mine": [EPOCH]}}, "a dict without validation_accuracy"),
        ({"curves": [EPOCH]}, "expected curves as a dict, got list"),
        ({"curves": {"cifar10": [EPOCH]}}, "a name of its own, got .* 'cifar10'"),
        ({"panel": "3 blocks"}, "expected a panel of .*'24 blocks'.*, got '3 blocks'"),
    ],
)
def test_runs_explorer_refuses(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        RunsExplorer(**arguments)
