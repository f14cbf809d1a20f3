"""Training on several processes: what one would train, also after one was killed."""

import json
import re
import subprocess

import psutil
import pytest
import torch
from tests.processes import wait_until_ended
from torch.utils.data import DistributedSampler

from address import ROOT
from vit_encoder import rank_failures, scaling_runs
from vit_encoder.datasets import fashion_mnist
from vit_encoder.figures.scaling import ring_counts
from vit_encoder.scaling_out import (
    distribute,
    resume,
    ring_all_reduce,
    ring_seconds,
    save,
    step_seconds,
)
from vit_encoder.train_on_ranks import ENGINES, batches, launch, new_model, train

pytestmark = pytest.mark.xdist_group("scaling")  # the runs below serve several tests
SCRIPT = ("-m", "vit_encoder.train_on_ranks", "--steps=12", "--batch-size=80")
ON_RANKS = ENGINES[1:]


@pytest.fixture(scope="module")
def alone():
    """The model of one process, and its report."""
    return train("alone", 12, 80, fashion_mnist().train)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Engine → the weights, and the report of each of two ranks."""
    folder = tmp_path_factory.mktemp("runs")
    launch(*SCRIPT, "--engine", *ON_RANKS, f"--output={folder}")
    return {engine: read(folder, engine) for engine in ON_RANKS}


def read(folder, engine):
    return torch.load(folder / f"{engine}.pt"), json.loads(
        (folder / f"{engine}.json").read_text()
    )


@pytest.mark.parametrize("engine", ON_RANKS)
def test_two_processes_give_the_losses_of_one(runs, alone, engine):
    _, reports = runs[engine]
    expected = alone[1]["losses"]
    assert expected[0] - expected[-1] > 0.1, "nothing was learned"
    for report in reports:
        assert report["losses"] == pytest.approx(expected, rel=0, abs=1e-5)


@pytest.mark.parametrize("engine", ON_RANKS)
def test_all_engines_end_with_the_same_weights(runs, engine):
    weights, by_hand = runs[engine][0], runs["by hand"][0]
    assert weights.keys() == by_hand.keys()
    for name, value in weights.items():
        torch.testing.assert_close(value, by_hand[name], rtol=0, atol=1e-6)


def test_each_rank_holds_what_sharding_leaves_it(runs):
    model = new_model()
    total = 4 * sum(p.numel() for p in model.parameters())
    block = 4 * sum(p.numel() for p in model.encoder.blocks[0].parameters())
    # Along the first axis, rank 0 gets the larger half.
    first = 4 * sum(-(-len(p) // 2) * p[0].numel() for p in model.parameters())
    for engine in ON_RANKS:
        sharded = engine.startswith("zero")
        whole = [total, total] if not sharded else [first, total - first]
        gathered = {"zero-2": total, "zero-3": total - 2 * block}.get(engine, 0)
        for report, size in zip(runs[engine][1], whole, strict=True):
            held = report["bytes"]
            assert held["parameters"] == held["gradients"] == size
            assert held["AdamW"] == 2 * size
            assert held["gathered"] == gathered


def test_what_is_saved_grows_with_the_images(runs, alone):
    for engine in ON_RANKS:
        for report in runs[engine][1]:
            share = report["bytes"]["saved"] / alone[1]["bytes"]["saved"]
            assert share == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("engine", ["ddp", "zero-3"])
def test_a_killed_run_ends_with_the_same_weights(runs, tmp_path, engine):
    folder = tmp_path / "checkpoints"
    launch(
        *(*SCRIPT, "--engine", engine, "--die-at=8"),
        *(f"--checkpoints={folder}", f"--output={tmp_path}"),
        restarts=1,
    )
    weights, reports = read(tmp_path, engine)
    assert [report["first"] for report in reports] == [5, 5]
    written = {f.name for f in (folder / engine).iterdir()}
    assert written == {"step-000005", "step-000010"}
    for name, value in runs[engine][0].items():
        assert torch.equal(weights[name], value), name


def test_without_a_restart_a_killed_run_fails(tmp_path):
    with pytest.raises(RuntimeError, match="Signal 9"):
        launch(*SCRIPT, "--die-at=2", f"--output={tmp_path}")
    assert not (tmp_path / "ddp.pt").exists()


@pytest.fixture(scope="module")
def told():
    """What the ranks are told of each mistake."""
    return rank_failures.run()


def test_an_unused_parameter_is_named(told):
    for rank, text in enumerate(told["unused"]):
        assert "Expected to have finished reduction in the prior iteration" in text
        assert "find_unused_parameters=True" in text
        assert f"did not receive grad for rank {rank}: 4 5" in text
    assert told["unused, found"] == ["no error", "no error"]


def test_unequal_batches_hang_until_the_time_is_up(told):
    assert any("Timed out" in text for text in told["unequal"])
    assert "no error" not in told["unequal"]
    assert told["unequal, joined"] == ["no error", "no error"]


def test_a_forgotten_epoch_repeats_the_order():
    sampler = DistributedSampler(range(50), 2, 1)
    first, again = list(sampler), list(sampler)
    sampler.set_epoch(1)
    assert first == again != list(sampler)


def test_batches_of_an_epoch_are_all_images_in_an_order_of_its_own():
    samplers = [DistributedSampler(range(40), 2, rank, seed=3) for rank in (0, 1)]
    read = [dict(batches(sampler, 5, range(12))) for sampler in samplers]
    epochs = [
        torch.stack([of_rank[step] for of_rank in read for step in range(e, e + 4)])
        for e in (0, 4, 8)
    ]
    for order in epochs:
        assert sorted(order.flatten().tolist()) == [*range(40)]
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[1], epochs[2])
    later = dict(batches(samplers[0], 5, range(6, 12)))
    assert all(torch.equal(later[step], read[0][step]) for step in later)


def test_a_run_that_takes_too_long_leaves_no_process(tmp_path):
    script, here = tmp_path / "sleep.py", psutil.Process()
    script.write_text("import time\ntime.sleep(600)\n")
    before = {*here.children(recursive=True)}
    with pytest.raises(subprocess.TimeoutExpired):
        launch(str(script), seconds=4)
    wait_until_ended({*here.children(recursive=True)} - before)


def test_a_checkpoint_that_was_not_finished_is_not_read(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    assert resume(tmp_path, model, optimizer) == 0
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    save(tmp_path, 5, model, optimizer)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    moments = optimizer.state[model.weight]["exp_avg"].clone()
    optimizer.step()
    save(tmp_path, 10, model, optimizer)
    (tmp_path / "step-000010" / ".metadata").unlink()
    optimizer.step()
    assert resume(tmp_path, model, optimizer) == 5
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept[name])
    assert torch.equal(optimizer.state[model.weight]["exp_avg"], moments)


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="expected an engine of alone, by hand"):
        train("horovod", 1, 80, fashion_mnist().train)
    with pytest.raises(ValueError, match="got 'zero-1'"):
        distribute(new_model(), "zero-1")


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_a_ring_gives_every_rank_the_sum(ranks):
    rng = torch.Generator().manual_seed(ranks)
    shape = (ranks, 4 * ranks)
    given = torch.randn(shape, generator=rng, dtype=torch.float64)
    before = given.clone()
    for got in ring_all_reduce([*given]):
        torch.testing.assert_close(got, given.sum(0), rtol=0, atol=1e-12)
    assert torch.equal(given, before)


@pytest.mark.parametrize("shapes", [[(5,), (5,)], [(4,), (6,)], [(2, 2), (2, 2)]])
def test_a_ring_refuses_other_shapes(shapes):
    with pytest.raises(ValueError, match="a multiple of 2"):
        ring_all_reduce([torch.zeros(shape) for shape in shapes])


def test_the_times_of_a_ring_are_those_of_its_rounds():
    for ranks in (1, 2, 7):
        rounds = len(ring_counts(ranks)) - 1
        taken = rounds * (3e-5 + 1e6 / ranks / 2e8)
        assert ring_seconds(1e6, ranks, 2e8, 3e-5) == pytest.approx(taken)
    with pytest.raises(ValueError, match="expected ranks of 1 or more"):
        ring_seconds(1e6, 0, 2e8, 3e-5)


@pytest.mark.parametrize(
    ("ring", "overlap", "seconds"),
    [(2.0, 0.0, 6.0), (2.0, 0.25, 5.0), (2.0, 0.5, 4.0), (2.0, 1.0, 4.0), (0, 0, 4.0)],
)
def test_what_travels_meanwhile_costs_nothing(ring, overlap, seconds):
    assert step_seconds(4.0, ring, overlap) == seconds


def test_the_figure_of_the_ring_counts_right():
    for ranks in (2, 3, 4):
        counts = ring_counts(ranks)
        assert counts[0] == [[1] * ranks] * ranks
        half = counts[ranks - 1]
        assert [row.count(ranks) for row in half] == [1] * ranks
        assert counts[-1] == [[ranks] * ranks] * ranks


def test_recorded_times_are_whole(monkeypatch):
    what = scaling_runs.record()
    rounds = {
        len(times) for of_one in what["seconds"].values() for times in of_one.values()
    }
    assert len(rounds) == 1
    assert rounds.pop() >= 5
    for kind, times in what["seconds"]["wide"].items():
        assert min(times) < scaling_runs.seconds("wide", kind) < max(times)
    assert scaling_runs.ratio("small", "ddp 64", "ddp 64") == 1
    doubled = {"seconds": {"x": {"a": [2, 6, 10], "b": [1, 3, 1]}}}
    monkeypatch.setattr(scaling_runs, "record", lambda: doubled)
    assert scaling_runs.ratio("x", "a", "b") == 2
    assert scaling_runs.seconds("x", "a") == 6


def test_the_recipes_for_a_cluster_start():
    """Their ranks share a batch evenly, and an epoch has at least one."""
    text = (ROOT / "chapters/12_scaling_out.md").read_text(encoding="utf-8")
    assert re.findall(r"--nodes=(\d+)|replicas: (\d+)", text) == [("4", ""), ("", "4")]
    assert re.findall(r"--nproc-per-node=8", text) == ["--nproc-per-node=8"] * 2
    sizes = [int(size) for size in re.findall(r"--batch-size=(\d+)", text)]
    for size in sizes[-2:]:
        assert size % 32 == 0
        assert size <= len(fashion_mnist().train)


def test_a_run_that_was_done_ends_at_once(tmp_path):
    run = ["-m", "vit_encoder.train_on_ranks", "--steps=5", "--batch-size=8"]
    run.append(f"--checkpoints={tmp_path}")
    assert re.search(r"ddp last loss: \d", launch(*run))
    assert re.search(r"ddp last loss:\s*$", launch(*run), re.M)
