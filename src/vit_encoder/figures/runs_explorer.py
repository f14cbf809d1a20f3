"""A figure that answers: recorded trainings by learning rate, and curves by step."""

import re
from collections.abc import Sequence

import anywidget
import traitlets

from vit_encoder.figures.front_end import follows, front_end
from vit_encoder.training_runs import SEEDS, USUAL, best_rate, runs

WHOLE = "whole model"
WORDS = {  # of a setting that differs from the usual one
    "depth": "{} blocks",
    "num_heads": "{} heads",
    "dim": "D = {}",
    "mlp_dim": "M = {}",
    "data": "{}",
    "patch_size": "P = {}",
    "steps": "{} steps",
}
CURVES = "long runs"
FIRST = (WHOLE, "post-norm", "no norms", "no skips")  # shown where a panel has many
LARGEST = 1e9  # that a record may hold
LIMITS = {
    **dict.fromkeys((key for key in USUAL if key != "data"), (1, LARGEST)),
    "learning_rate": (1e-12, LARGEST),
    "seed": (0, LARGEST),
    "step": (1, LARGEST),
    "selection": (0, 1),
    "report": (0, 1),
    "train_accuracy": (0, 1),
    "validation_accuracy": (0, 1),
    "train_loss": (0, LARGEST),
    "validation_loss": (0, LARGEST),
}


class RunsExplorer(anywidget.AnyWidget):
    """Compare versions of a model over learning rates, and trainings over their steps.

    runs: dictionaries as `training_runs.runs` gives them, which is what None stands
    for. One with a `learning_rate` is an ablation: it has `variant`, `seed`,
    `selection` and `report` (accuracies in [0, 1]; the first chooses the rate), if
    known `train_loss` and `diverged`, and what differs from the usual setting, such as
    `depth`. One with a `history` is a training: it has `study` and `seed`. Others are
    left out. curves: name → what `fit` returned, drawn before the recorded trainings.
    panel: the setting to start with, such as "4 blocks".

    `panel`, `at` (a rate or a step), `shown`, `measure` ("accuracy", "loss") and
    `magnified` follow what the reader chooses. Raises ValueError or TypeError for other
    arguments. The tests compare every number shown with the records.
    """

    _esm = front_end("runs_explorer.js")
    _css = front_end("runs_explorer.css")

    panels = traitlets.List().tag(sync=True)  # see `by_rate` and `by_step`
    panel = traitlets.Unicode().tag(sync=True)
    at = traitlets.Float().tag(sync=True)
    shown = traitlets.List().tag(sync=True)
    measure = traitlets.Unicode("accuracy").tag(sync=True)
    magnified = traitlets.Bool(False).tag(sync=True)
    _require = follows(
        panel=lambda self: tuple(p["name"] for p in self.panels),
        at=lambda self: self.places,
        shown=lambda self: frozenset(self.now["names"]),
        measure=("accuracy", "loss"),
    )

    def __init__(
        self,
        runs: Sequence[dict] | None = None,
        curves: dict[str, Sequence[dict]] | None = None,
        panel: str | None = None,
    ):
        given = recorded() if runs is None else runs
        panels = by_rate(given) + by_step(given, curves or {})
        names = [p["name"] for p in panels]
        if not panels:
            raise ValueError(
                "expected runs with a learning_rate or a history, got none"
            )
        if panel is not None and panel not in names:
            raise ValueError(f"expected a panel of {names}, got {panel!r}")
        first = panels[names.index(panel) if panel else 0]
        super().__init__(
            panels=panels, panel=first["name"], at=first["at"], shown=first["shown"]
        )

    @property
    def now(self) -> dict:
        """The panel that is shown."""
        return next(p for p in self.panels if p["name"] == self.panel)

    @property
    def places(self) -> tuple[float, ...]:
        """The rates or the steps of the panel that is shown."""
        series = self.now["series"].values()
        return tuple(sorted({point[0] for some in series for point in some["points"]}))

    def __repr__(self) -> str:
        return f"RunsExplorer({len(self.panels)} settings)"


def recorded() -> list[dict]:
    """The runs that ship; the trainings as they ran on a CPU."""
    return [run for run in runs() if run.get("device", "cpu") == "cpu"]


def by_rate(given: Sequence[dict]) -> list[dict]:
    """Ablations: a panel for each setting with two versions, or for the only setting.

    In a panel `series` maps each of `names` to its `best` rate and its `points`:
    learning rate, seed, accuracy, loss or None, whether it diverged. `at` and `shown`
    are what it starts with. (A saved notebook sorts the keys of a dict.)
    """
    found: dict[tuple, dict[str, list[dict]]] = {}
    for run in given:
        require(run)
        if "learning_rate" not in run:
            continue
        run = USUAL | require(run, "variant", "seed", "selection", "report")
        places = [run]
        if run["variant"] == "one head":  # is the whole model of another setting too
            places.append(run | {"variant": "base", "num_heads": 1})
        for place in places:
            setting = tuple(place[key] for key in USUAL)
            name = WHOLE if place["variant"] == "base" else str(place["variant"])
            found.setdefault(setting, {}).setdefault(name, []).append(place)
    if len(found) > 1:
        found = {s: versions for s, versions in found.items() if len(versions) > 1}
    order = sorted(
        found, key=lambda s: ({*changes(s)} > {"depth"}, changes(s)["depth"])
    )
    return [rate_panel(words(changes(s)), found[s]) for s in order]


def changes(setting: tuple) -> dict[str, int | str]:
    """The depth, and what else of a setting differs from the usual one."""
    found = dict(zip(USUAL, setting, strict=True))
    return {k: found[k] for k in WORDS if k == "depth" or found[k] != USUAL[k]}


def words(changed: dict[str, int | str]) -> str:
    """What tells a setting from the usual one; its depth where nothing else does."""
    told = [k for k in changed if k != "depth" or changed[k] != USUAL[k]] or ["depth"]
    text = ", ".join(WORDS[k].format(changed[k]) for k in told)
    return re.sub(r"\b1 (\w+)s\b", r"1 \1", text).replace("cifar10", "CIFAR-10")


def rate_panel(name: str, versions: dict[str, list[dict]]) -> dict:
    """The panel of one setting."""
    series = {}
    for version, found in sorted(versions.items(), key=lambda v: v[0] != WHOLE):
        best = best_rate(found)
        if best is None:
            raise ValueError(
                f"expected a run with seed {SEEDS[0]}, which chooses the rate, of"
                f" {version!r}, got seeds {sorted({r['seed'] for r in found})}"
            )
        series[version] = {"best": best, "points": [point_of(run) for run in found]}
    few = [v for v in FIRST if v in series] if len(series) > 5 else [*series]
    shown = few or [*series][:4]
    at = series[shown[0]]["best"]
    return panel_of(name, "learning rate", series, shown, at)


def panel_of(name: str, x: str, series: dict, shown: list[str], at: float) -> dict:
    """A panel, with the order of its series."""
    start = {"shown": shown, "at": at}
    return {"name": name, "x": x, "names": [*series], "series": series} | start


def point_of(run: dict) -> list:
    """What the figure keeps of an ablation."""
    loss, diverged = run.get("train_loss"), bool(run.get("diverged"))
    return [run["learning_rate"], run["seed"], run["report"], loss, diverged]


def by_step(given: Sequence[dict], curves: dict[str, Sequence[dict]]) -> list[dict]:
    """Trainings: one panel, or none. A curve for training and one for validation."""
    if not isinstance(curves, dict):
        raise TypeError(f"expected curves as a dict, got {type(curves).__name__}")
    histories = [(str(name), 0, history) for name, history in curves.items()]
    for run in given:
        if "history" in run:
            require(run, "study", "seed")
            if run["study"] in curves:
                raise ValueError(
                    "expected a curve with a name of its own, got that of a training,"
                    f" {run['study']!r}"
                )
            histories.append((run["study"], run["seed"], run["history"]))
    series: dict[str, dict] = {}
    for name, seed, history in histories:
        if not history:
            raise ValueError(f"expected epochs in the curve {name!r}, got none")
        for epoch in history:
            kinds = ("train", "validation")
            keys = [f"{kind}_{what}" for kind in kinds for what in ("accuracy", "loss")]
            require(epoch, "step", *keys)
            for kind, title in zip(kinds, ("training", "validation"), strict=True):
                points = series.setdefault(f"{name}, {title}", {"points": []})["points"]
                numbers = epoch[f"{kind}_accuracy"], epoch[f"{kind}_loss"]
                points.append([epoch["step"], seed, *numbers, False])
    if not series:
        return []
    for one in series.values():
        one["best"] = max(point[0] for point in one["points"])
    shown = [*series][:4]
    at = max(series[name]["best"] for name in shown)
    return [panel_of(CURVES, "step", series, shown, at)]


def require(run: dict, *keys: str) -> dict:
    """The run itself. ValueError if a key is missing or a number is not possible."""
    if not isinstance(run, dict):
        raise TypeError(f"expected a dict of numbers, got {type(run).__name__}")
    if missing := [key for key in keys if key not in run]:
        raise ValueError(
            f"expected {', '.join(keys)}, got a dict without {', '.join(missing)}"
        )
    for key, value in run.items():
        ends = LIMITS.get(key)
        if ends is None or (value is None and key == "train_loss"):
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not ends[0] <= value <= ends[1]:
            raise ValueError(
                f"expected {key} from {ends[0]:g} to {ends[1]:g}, got {value!r}"
            )
    return run
