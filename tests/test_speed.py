"""The speed benchmark: equal contestants, rounds, one machine a file, its tables."""

import json
import random

import pytest
import torch
from torch import nn

import speed
from speed import ALONE, FAST, GOALS, LIBRARIES, PRODUCT, TABLES
from speed_plot import speed_plot

pytestmark = pytest.mark.xdist_group("libraries")  # which take seconds to import

CODES = ("textbook", *LIBRARIES, FAST, ALONE)


@pytest.fixture(scope="module")
def models():
    import speed_models

    return speed_models


@pytest.fixture(scope="module")
def bench():
    import benchmark_speed

    return benchmark_speed


@pytest.fixture
def tiny(models, bench, monkeypatch):
    """A size that takes no time, whose numbers all differ."""
    sizes = models.Sizes(
        24, 6, 3, depth=2, dim=24, num_heads=4, mlp_dim=28, num_classes=11
    )
    monkeypatch.setitem(bench.SIZES, "Ti", sizes)
    monkeypatch.setitem(bench.SIDE, "cpu", 64)
    monkeypatch.setattr(bench, "SHORT", 0.0)
    bench.equal.cache_clear()
    yield sizes
    bench.equal.cache_clear()


# Contestants


def test_all_have_the_same_parameters(models, tiny):
    made = models.contestants(tiny)
    assert set(made) == set(CODES)
    right = models.parts_of(made["textbook"].model.state_dict())
    for name, contestant in made.items():
        got = contestant.read(contestant.model.state_dict())
        for part, expected in zip(got, right, strict=True):
            assert part.keys() == expected.keys(), name
            assert all(torch.equal(part[key], expected[key]) for key in part), name
        numbers = torch.cat([p.flatten() for p in contestant.model.parameters()])
        assert len(numbers.unique()) > 0.99 * len(numbers), name


def test_all_give_the_same_logits_and_gradients(models, tiny):
    found = models.differences(tiny)
    assert set(found) == set(CODES)
    assert all(max(off.values()) < models.TOLERANCE for off in found.values())
    assert found["timm"]["logits"] > 0  # another code


FAULTS = {
    "eps": lambda model: setattr(model.norm, "eps", 1e-3),
    "tanh": lambda model: setattr(model.blocks[0].mlp, "act", nn.GELU("tanh")),
    "a bias": lambda model: nn.init.zeros_(model.blocks[1].mlp.fc2.bias),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_contestant_that_does_other_work_is_refused(
    fault, models, bench, tiny, monkeypatch
):
    def spoilt(sizes, contestants=models.contestants):
        made = contestants(sizes)
        fault(made["timm"].model)
        return made

    monkeypatch.setattr(models, "contestants", spoilt)
    with pytest.raises(RuntimeError, match="'timm'"):
        bench.equal("Ti")


# A row


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_row_of_models(training, precision, bench, tiny):
    row = bench.Models("Ti", 3, training, precision).measure(bench.Timing())
    assert set(row["seconds"]) == {*CODES, PRODUCT} == set(row["megabytes"])
    assert {len(times) for times in row["seconds"].values()} == {bench.LEAST}
    assert all(t > 0 for times in row["seconds"].values() for t in times)
    assert json.loads(json.dumps(row)) == row
    times = 3 if training else 1
    assert row["flops"][PRODUCT] == 2 * 64**3
    assert row["flops"][FAST] == 3 * times * bench.flops("Ti", False)
    assert row["flops"][ALONE] < row["flops"][FAST] == row["flops"]["timm"]


def test_a_compiled_row_is_compared_again(bench, tiny, models, monkeypatch):
    def spoilt(model, **_options):
        return model if isinstance(model, models.AllTokens) else lambda x: model(x) + 9

    monkeypatch.setattr(torch, "compile", lambda model, **_options: model)
    assert bench.Models("Ti", 2, False, compiled=True).measure(bench.Timing())
    monkeypatch.setattr(torch, "compile", spoilt)
    with pytest.raises(RuntimeError, match="'fast'"):
        bench.Models("Ti", 2, False, compiled=True).measure(bench.Timing())


def test_flops_are_those_that_torch_counts(bench, tiny, models):
    from torch.utils.flop_counter import FlopCounterMode

    model = models.contestants(tiny)["textbook"].model
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randn(1, 3, 24, 24))
    assert counter.get_total_flops() == bench.flops("Ti", False)


def test_what_a_training_step_leaves(bench, tiny, models):
    model = models.contestants(tiny)["fast"].model
    step = bench.Models("Ti", 2, training=True).step(model)
    step()
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_rounds_are_in_random_order_and_repeat_short_steps(bench, monkeypatch):
    calls = []
    steps = {name: (lambda name=name: calls.append(name)) for name in "abcd"}
    monkeypatch.setattr(bench, "SHORT", 0.0)
    random.seed(1)
    found = bench.race(steps, bench.Timing())
    assert {len(times) for times in found["seconds"].values()} == {bench.LEAST}
    rounds = [tuple(calls[i : i + 4]) for i in range(len(calls) - 12, len(calls), 4)]
    assert all(sorted(one) == [*"abcd"] for one in rounds)
    assert len(set(rounds)) > 1
    monkeypatch.setattr(bench, "SHORT", 0.01)
    calls.clear()
    bench.race(steps, bench.Timing())
    assert len(calls) > 400  # a step that takes a microsecond


def test_a_long_first_round_counts(bench, monkeypatch):
    monkeypatch.setattr(bench, "LONG", 0.0)
    calls = []
    bench.race({"a": lambda: calls.append(1)}, bench.Timing())
    assert len(calls) >= bench.LEAST
    monkeypatch.setattr(bench, "MINUTE", 0.0)
    found = bench.race({"a": lambda: calls.append(1)}, bench.Timing())
    assert len(found["seconds"]["a"]) == bench.FEW


@pytest.mark.skipif("not __import__('pathlib').Path('/proc/self/clear_refs').exists()")
def test_memory_is_that_of_the_step(bench):
    def risen(step):
        return bench.measure_memory(step, lambda step, _: step() and 1.0, "cpu")[1]

    there = [torch.ones(30_000_000)]  # 120 MB, which do not count
    assert 95 < risen(lambda: len(torch.ones(25_000_000))) < 130
    assert risen(lambda: len(there)) < 20


def test_what_is_kept_for_gradients(bench):
    model = nn.Sequential(nn.Linear(1000, 3000), nn.GELU(), nn.Linear(3000, 10))
    highest, kept = bench.tensor_megabytes(lambda: model(torch.ones(500, 1000)).sum())
    assert kept == pytest.approx(500 * (1000 + 3000 + 3000) * 4 / 1e6, abs=0.2)
    assert kept <= highest < kept + 0.2
    highest, kept = bench.tensor_megabytes(lambda: len(torch.ones(1_000_000)))
    assert (highest, kept) == (4, 0)


def test_attention(bench):
    row = bench.measure_attention(64, bench.Timing())
    assert set(row["seconds"]) == {"explicit", "fused"}


# The file


def test_a_file_goes_on_and_refuses_another_machine(bench, tmp_path):
    path, about = tmp_path / "speed.json", bench.about("cpu", 1)
    found = bench.begin(path, about, fresh=False)
    found["rows"]["one"] = {"seconds": {"a": [0.25, 1.5]}}
    bench.write(path, found)
    assert '"a": [ 0.25, 1.5 ]' in path.read_text()
    assert bench.begin(path, about, fresh=False) == found
    for key, value in (("machine", "other"), ("threads", 2), ("clock", "cpu")):
        with pytest.raises(ValueError, match=f"measured with {key} "):
            bench.begin(path, about | {key: value}, fresh=False)
    assert bench.begin(path, about, fresh=True)["rows"] == {}
    assert json.loads(path.read_text()) == found


def test_rows_are_those_of_the_goals(bench):
    rows = bench.cpu_rows()
    assert len([name for name in rows if name.count("-") == 2]) == 18
    assert {"frozen", "attention-2048", "checkpointing", "ti-8-inference"} <= {*rows}
    assert {"checks", "start", "book", "pages"} <= {*rows}
    assert {"b-256-training-bf16-compiled", "b-256-inference-fp16-eager"} <= {
        *bench.cuda_rows()
    }


# What follows from it


def made_up(seconds):
    """A file with one row of models, in which each code takes so long in each round."""
    row = {
        "date": "2026-01-31",
        "load": 0.1,
        "size": "Ti",
        "batch": 8,
        "training": False,
        "flops": dict.fromkeys(CODES, 50) | {PRODUCT: 100},
        "seconds": seconds,
        "megabytes": dict.fromkeys(seconds, 12.3),
    }
    about = {"machine": "M", "threads": 2, "instructions": "I", "amx": False}
    about["clock"] = "wall"
    return {**about, "versions": {"torch": "2"}, "rows": {"ti-8-inference": row}}


def test_ratios_are_taken_within_a_round():
    """The machine is ten times slower in the second round, and nobody is to blame."""
    seconds = {code: [1.0, 10.0, 1.0] for code in CODES} | {PRODUCT: [0.5, 5.0, 0.5]}
    seconds[FAST] = [0.8, 8.0, 0.5]
    seconds["transformers"] = [0.9, 9.0, 0.9]
    measured = made_up(seconds)
    row = measured["rows"]["ti-8-inference"]
    assert speed.ratios(row, FAST, "timm") == pytest.approx((1.25, 1.25, 1.625))
    (low, middle, high), library = speed.over_the_fastest(row, FAST)
    assert (low, middle, library) == (1.125, 1.125, "transformers")
    assert high > middle
    assert speed.share_of_peak(row, FAST) == pytest.approx(0.5 * 0.625)
    table = speed.ratios_table(False, measured)
    others = "1.00 | 1.00 | 1.00 | 1.11 | 1.00"
    assert f"| Ti, 8 | 1.25 | 1.00 | 1.12 (1.12 to 1.46) | {others} |" in table


def test_goals_say_what_is_not_reached_and_what_is_not_measured():
    seconds = {code: [1.0, 1.0] for code in CODES} | {PRODUCT: [0.5, 0.5]}
    seconds[ALONE] = [0.9, 0.9]
    measured = made_up(seconds)
    rows = [goal.line(measured) for goal in GOALS]
    assert [row[2] for row in rows] == ["yes", "yes", "", "", "", ""]
    seconds["timm"] = [0.97, 0.97]
    same, alone, *others = [goal.line(measured) for goal in GOALS]
    assert same[2:] == ("no", "0.97 (Ti, 8, inference, timm)")
    assert alone[2:] == ("no", "1.08 (Ti, 8, inference, timm)")  # 1.078
    assert all("not measured" in row for row in others)


def test_tables_of_nothing_and_of_one_row():
    seconds = {code: [1.0, 1.0] for code in CODES} | {PRODUCT: [0.5, 0.5]}
    for measured in (made_up(seconds), made_up(seconds) | {"rows": {}}):
        for name, table in TABLES.items():
            assert table(measured), name
        assert "</svg>" in speed_plot(measured)
    assert "18 of 18 | no | 1 of 1" in TABLES["goals"](made_up(seconds))


def test_a_gpu_is_measured_or_said_to_wait():
    assert "yet" in speed.cuda_table(None)
    seconds = {code: [1.0, 1.0] for code in CODES} | {PRODUCT: [0.5, 0.5]}
    measured = made_up(seconds)
    measured["rows"]["ti-8-inference"] |= {"precision": "bf16", "compiled": True}
    assert "| Ti, 8, inference, bf16, compiled | 8 |" in speed.cuda_table(measured)
