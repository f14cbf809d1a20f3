"""Recorded trainings: data/training_runs.json, which `studies/train_vit.py` wrote."""

import json
from pathlib import Path
from statistics import mean
from typing import NamedTuple

FILE = Path(__file__).parent / "data" / "training_runs.json"
SEEDS = (0, 1, 2)
USUAL = {  # the setting of the ablations, where a call says nothing else
    "depth": 4,
    "dim": 64,
    "num_heads": 4,
    "mlp_dim": 128,
    "patch_size": 7,
    "steps": 400,
    "data": "fashion",
}


class Ablation(NamedTuple):
    """One version of the model, trained with the learning rate that suits it best.

    learning_rate: chosen with the first seed, on images that serve for nothing else.
    accuracies: on 10 000 other images, 5000 of CIFAR-10, one for each of SEEDS, in
        [0, 1].
    """

    learning_rate: float
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean of the accuracies."""
        return mean(self.accuracies)

    @property
    def summary(self) -> tuple[float, float, float]:
        """The mean of the accuracies, the lowest and the highest one."""
        return self.mean, min(self.accuracies), max(self.accuracies)


def runs() -> list[dict]:
    """All that was measured, one dictionary a run."""
    return json.loads(FILE.read_text()) if FILE.exists() else []


def trainings(study: str) -> list[dict]:
    """The runs of one study on all of its data, such as "fashion", by their seeds."""
    found = [run for run in runs() if run["study"] == study]
    return sorted(found, key=lambda run: run["seed"])


def ablation(variant: str, **setting: int | str) -> Ablation | None:
    """A version of the model such as "no skips"; None if not all of it was measured.

    setting: what differs from USUAL. Raises ValueError for a name that is not there.
    """
    if unknown := setting.keys() - USUAL.keys():
        raise ValueError(f"expected names among {[*USUAL]}, got {sorted(unknown)}")
    key = {"study": "ablations", "variant": variant} | USUAL | setting
    found = [run for run in runs() if key.items() <= run.items()]
    chosen = best_rate(found)
    reports = {r["seed"]: r["report"] for r in found if r["learning_rate"] == chosen}
    if reports.keys() < set(SEEDS):
        return None
    return Ablation(chosen, tuple(reports[seed] for seed in SEEDS))


def best_rate(found: list[dict]) -> float | None:
    """The learning rate with the best selection accuracy of the first seed.

    found: runs of one version. The smaller one of two that are as good.
    """
    tried = {r["learning_rate"]: r["selection"] for r in found if r["seed"] == SEEDS[0]}
    return max(tried, key=lambda rate: (tried[rate], -rate), default=None)
