"""How fast the encoder is beside five libraries with the same weights: `make bench`.

All models live in one process. First each is compared with the textbook, in logits and
gradients. Then they run in rounds, each round in a new random order, so that what else
the machine does hits all of them. A product of two large matrices runs among them: its
speed is the machine's peak. The file holds the seconds of every round; the tables take
ratios within a round, and the middle of the rounds.

Each row enters the file when it is measured, and a run goes on where one was stopped.
A file of another machine or of other versions is refused, not mixed: `--fresh` begins
anew. What the course itself takes, such as a page or a check, is measured last.
"""

import argparse
import ctypes
import datetime
import gc
import importlib.metadata
import json
import os
import platform
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import accumulate, product
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile

import speed_models
from benchmark_course import COURSE_ROWS
from run_notebooks import machine
from speed import FILES, PRODUCT
from speed_models import SIZES, TOLERANCE, contestants, differences, off
from vit_encoder import attention, block_flops

LEAST, FEW, MOST = 3, 2, 60  # rounds
LONG = 1.0  # seconds: a step that takes longer needs no warming
MINUTE = 60  # seconds: if a round takes longer, a row has few of them
SHORT = 0.1  # seconds: a shorter step is repeated until they have passed
SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices whose product is the peak
NEAR = {"fp32": 1e-5, "fp16": 0.02, "bf16": 0.1}  # of logits as they are timed
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}

Step = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """How long the rounds of a row go on at least, and which clock times a step."""

    seconds: float = 0.0
    clock: str = "wall"


def main() -> None:
    """Measure the rows that are asked for, or all that the file does not have."""
    given = arguments().parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("No CUDA device was found. `--device cuda` needs a machine with one.")
    rows = cuda_rows() if given.device == "cuda" else cpu_rows()
    unknown = {*given.only} - rows.keys()
    if unknown:
        sys.exit(f"expected rows of {', '.join(rows)}, got {', '.join(unknown)}")
    torch.set_num_threads(given.threads)
    path = given.output or FILES[given.device]
    try:
        here = about(given.device, given.threads, given.clock)
        found = begin(path, here, fresh=given.fresh)
    except ValueError as error:
        sys.exit(str(error))
    for name in given.only or [name for name in rows if name not in found["rows"]]:
        start, load = time.perf_counter(), os.getloadavg()[0]
        measured = rows[name](Timing(given.seconds, given.clock))
        date = datetime.date.today().isoformat()
        found["rows"][name] = {"date": date, "load": round(load, 1), **measured}
        write(path, found)
        took = time.perf_counter() - start
        print(f"{name}: {took:.0f} s, load before {load:.1f}", flush=True)


def arguments() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--only", nargs="+", default=[], metavar="ROW", help="measure these again")
    add("--seconds", type=float, default=10, help="for the rounds of a row, at least")
    add("--threads", type=int, default=os.cpu_count())
    cpu = "cpu counts this process's time alone: on a busy machine, with --threads 1"
    add("--clock", choices=CLOCKS, default="wall", help=cpu)
    add("--device", choices=FILES, default="cpu")
    add("--fresh", action="store_true", help="forget what the file holds")
    add("--output", type=Path, help="a file of another name")
    return parser


# The file


def about(device: str, threads: int, clock: str = "wall") -> dict:
    """What must be the same for all rows of a file."""
    packages = {p: importlib.metadata.version(p) for p in speed_models.PACKAGES}
    cpuinfo = Path("/proc/cpuinfo")
    return {
        "device": device,
        "machine": machine(cuda=device == "cuda"),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "amx": cpuinfo.exists() and "amx_bf16" in cpuinfo.read_text(),
        "threads": threads,
        "clock": clock,
        "versions": {"Python": platform.python_version(), **packages},
    }


def begin(path: Path, about: dict, *, fresh: bool) -> dict:
    """What the file holds, or nothing yet. ValueError if it is about something else."""
    if fresh or not path.exists():
        return {**about, "rows": {}}
    found = json.loads(path.read_text(encoding="utf-8"))
    for key, value in about.items():
        if found.get(key) != value:
            raise ValueError(
                f"{path.name} was measured with {key} {found.get(key)!r}, this run has "
                f"{value!r}. Give --fresh to measure all rows anew, or --output."
            )
    return found


def write(path: Path, found: dict) -> None:
    """Write the file at once, a list of numbers on one line."""
    text = json.dumps(found, indent=1, ensure_ascii=False)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda m: re.sub(r"\s+", " ", m[0]), text)
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(f"{text}\n", encoding="utf-8")
    beside.replace(path)


# A race


def race(steps: dict[str, Step], timing: Timing, device: str = "cpu") -> dict:
    """Seconds of each step in every round, and the peak of memory that one takes.

    A first round measures the memory and warms what is called. It counts as well where
    a step takes long.
    """
    clock = partial(clocked, device=device, clock=CLOCKS[timing.clock])
    first = {name: measure_memory(step, clock, device) for name, step in steps.items()}
    times = {name: [took] for name, (took, _) in first.items()}
    if max(took for took, _ in first.values()) < LONG:
        times = {name: [] for name in steps}
    repeats = {
        name: max(1, round(SHORT / clock(step, 1))) if took < SHORT else 1
        for (name, step), (took, _) in zip(steps.items(), first.values(), strict=True)
    }
    least = FEW if sum(took for took, _ in first.values()) > MINUTE else LEAST
    start, order = time.perf_counter(), [*steps]
    while len(times[order[0]]) < MOST:
        random.shuffle(order)
        for name in order:
            times[name].append(clock(steps[name], repeats[name]))
        rounds = len(times[order[0]])
        if time.perf_counter() - start > timing.seconds and rounds >= least:
            break
    return {
        "seconds": {name: [float(f"{t:.4g}") for t in times[name]] for name in steps},
        "megabytes": {name: megabytes for name, (_, megabytes) in first.items()},
    }


def clocked(step: Step, repeats: int, device: str, clock: Callable[[], float]) -> float:
    """Seconds by the clock that a step takes, in the mean of so many."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = clock()
    for _ in range(repeats):
        step()
    wait()
    return (clock() - start) / repeats


def measure_memory(
    step: Step, clock: Callable[[Step, int], float], device: str
) -> tuple[float, float | None]:
    """Seconds of one step, and by how many MB the memory in use rises in it.

    On a CPU it is the resident memory of the process, which Linux alone tells; what
    was freed before is given back to the system first.
    """
    gc.collect()
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        took = clock(step, 1)
        return took, round((torch.cuda.max_memory_allocated() - before) / 1e6, 1)
    if not Path("/proc/self/clear_refs").exists():
        return clock(step, 1), None
    ctypes.CDLL(None).malloc_trim(0)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
    took = clock(step, 1)
    return took, round(resident("VmHWM") - before, 1)


def resident(key: str) -> float:
    """MB of this process: VmRSS are there now, VmHWM were there at most."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) * 1024 / 1e6


def matrix_product(dtype: torch.dtype, device: str) -> tuple[Step, int]:
    """A product of two square matrices of random numbers, and its FLOPs."""
    side = SIDE[device]
    a, b = torch.randn(2, side, side, device=device).to(dtype)
    return partial(torch.mm, a, b), 2 * side**3


# Models


@dataclass(frozen=True)
class Models:
    """A row in which all contestants do the same."""

    size: str
    batch: int
    training: bool
    precision: str = "fp32"
    compiled: bool = False
    device: str = "cpu"

    @property
    def name(self) -> str:
        """How `--only` calls it."""
        mode = "training" if self.training else "inference"
        words = [self.size.lower(), str(self.batch), mode]
        if self.device == "cuda":
            words += [self.precision, "compiled" if self.compiled else "eager"]
        return "-".join(words)

    def measure(self, timing: Timing) -> dict:
        """Compare, then race."""
        differences = equal(self.size)
        models = {name: c.model for name, c in contestants(SIZES[self.size]).items()}
        steps = {name: self.step(model) for name, model in models.items()}
        if (self.precision, self.compiled, self.device) != ("fp32", False, "cpu"):
            self.require_near(steps)
        steps[PRODUCT], count = matrix_product(DTYPES[self.precision], self.device)
        flops = {name: self.flops(name) for name in models} | {PRODUCT: count}
        settings = {k: v for k, v in vars(self).items() if k != "device"}
        found = {**settings, "off": differences, "flops": flops}
        return found | race(steps, timing, self.device)

    def require_near(self, steps: dict[str, Step]) -> None:
        """Compare the logits once more as they are timed; it compiles and warms, too.

        RuntimeError if one is not near the textbook's.
        """
        logits = {name: step().float() for name, step in steps.items()}
        found = {name: off(got, logits["textbook"]) for name, got in logits.items()}
        far = {
            name: size for name, size in found.items() if size > NEAR[self.precision]
        }
        if far:
            raise RuntimeError(f"expected at most {NEAR[self.precision]}, got {far}")

    def step(self, model: nn.Module) -> Step:
        """One forward, in training with the loss and the gradients of all parameters.

        It gives the logits of the same random images whatever the model.

        In 16 bits the parameters have 16 bits in inference; in training they keep 32,
        and autocast chooses. There is no optimizer, and nothing scales the loss.
        """
        dtype = DTYPES[self.precision]
        sizes = SIZES[self.size]
        side = sizes.image_size
        rng = torch.Generator().manual_seed(0)
        shape = (self.batch, sizes.in_channels, side, side)
        images = torch.randn(shape, generator=rng).to(self.device)
        labels = torch.arange(self.batch, device=self.device) % sizes.num_classes
        model = model.to(self.device).train(self.training)
        if not self.training:
            model, images = model.to(dtype), images.to(dtype)
        run = torch.compile(model, dynamic=False) if self.compiled else model
        narrow = self.training and dtype != torch.float32
        context = partial(torch.autocast, self.device, dtype) if narrow else nullcontext

        def train() -> torch.Tensor:
            with context():
                logits = run(images)
                loss = F.cross_entropy(logits, labels)
            loss.backward()
            model.zero_grad(set_to_none=True)
            return logits.detach()

        def infer() -> torch.Tensor:
            with torch.no_grad():
                return run(images)

        return train if self.training else infer

    def flops(self, contestant: str) -> int:
        """What matrix products take, a multiply-add counted as two."""
        return (
            flops(self.size, "class token" in contestant)
            * self.batch
            * (3 if self.training else 1)
        )


def flops(size: str, class_token_alone: bool) -> int:
    """FLOPs of a forward for one image: patches, blocks and head."""
    s = SIZES[size]
    n = (s.image_size // s.patch_size) ** 2
    block = partial(block_flops, s.dim, s.mlp_dim, n + 1)
    last = block(1) if class_token_alone else block()
    patches = 2 * n * s.in_channels * s.patch_size**2 * s.dim
    head = 2 * s.dim * s.num_classes
    return patches + (s.depth - 1) * block() + last + head


@cache
def equal(size: str) -> dict[str, dict[str, float]]:
    """What `differences` finds. RuntimeError if a contestant is not the textbook."""
    found = differences(SIZES[size])
    far = {n: sizes for n, sizes in found.items() if max(sizes.values()) > TOLERANCE}
    if far:
        raise RuntimeError(f"expected differences below {TOLERANCE}, got {far}")
    return {
        name: {what: float(f"{size:.2g}") for what, size in sizes.items()}
        for name, sizes in found.items()
    }


# What only a CPU is asked


def measure_attention(tokens: int, timing: Timing) -> dict:
    """The textbook's attention beside PyTorch's fused one: 8 heads of 64, forward."""
    q, k, v = torch.randn(3, 1, 8, tokens, 64)
    calls = {
        "explicit": lambda: attention(q, k, v)[0],
        "fused": partial(F.scaled_dot_product_attention, q, k, v),
    }
    right, got = (call() for call in calls.values())
    if off(got, right) > TOLERANCE:
        raise RuntimeError(f"expected {TOLERANCE} at most, got {off(got, right)}")
    del right, got
    with torch.no_grad():
        return {
            "tokens": tokens,
            **race(calls, replace(timing, seconds=timing.seconds / 3)),
        }


def measure_frozen(timing: Timing) -> dict:
    """Compiled for inference with frozen weights, Ti, 8 images, beside eager models."""
    from torch._inductor import config

    if not (shutil.which("g++") or shutil.which("clang++")):
        return {"missing": "a C++ compiler, which torch.compile needs"}
    row = Models("Ti", 8, training=False)
    equal(row.size)
    models = {name: c.model for name, c in contestants(SIZES[row.size]).items()}
    steps = {name: row.step(models[name]) for name in ("timm", "fast")}
    images = torch.randn(8, 3, 224, 224)
    with (
        tempfile.TemporaryDirectory() as folder,  # a run that was stopped leaves halves
        patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=folder),
        config.patch(freezing=True),
        torch.no_grad(),
    ):
        for name in ("timm", "fast", "fast, class token"):
            model = models[name].eval()
            right, compiled = model(images), torch.compile(model, dynamic=False)
            if off(compiled(images), right) > TOLERANCE:
                raise RuntimeError(f"expected the logits of {name} when it is frozen")
            steps[f"{name}, frozen"] = partial(without_gradients, compiled, images)
        return race(steps, replace(timing, seconds=2 * timing.seconds))


def without_gradients(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The logits."""
    with torch.no_grad():
        return model(images)


def measure_checkpointing(timing: Timing) -> dict:
    """What is kept for the gradients, in training of Ti with 32 images."""
    row = Models("Ti", 32, training=True)
    equal(row.size)
    models = {name: c.model for name, c in contestants(SIZES[row.size]).items()}
    recomputing = contestants(SIZES[row.size])["fast"].model
    recomputing.checkpointing = True
    kept = {name: models[name] for name in ("textbook", "timm", "fast")}
    kept["fast, checkpointing"] = recomputing
    images = torch.randn(32, 3, 224, 224)
    steps = {name: row.step(model) for name, model in kept.items()}
    saved = {
        name: tensor_megabytes(partial(model.train(), images))[1]
        for name, model in kept.items()
    }
    highest = {name: tensor_megabytes(step)[0] for name, step in steps.items()}
    return {"saved": saved, "highest": highest, **race(steps, timing)}


def tensor_megabytes(step: Step) -> tuple[float, float]:
    """MB of the tensors that a step makes: at most, and of those left at its end.

    After a forward these are what the gradients need, and the logits.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = step()
    events = profiler.profiler.kineto_results.events()
    changes = [event for event in events if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    sums = [0, *accumulate(event.nbytes() for event in changes)]
    del result
    return round(max(sums) / 1e6, 1), round(sums[-1] / 1e6, 1)


def measure_bf16(training: bool, timing: Timing) -> dict:
    """The fast form and timm's in float32 and in bfloat16, Ti, 8 images."""
    steps, flops = {}, {}
    for precision in ("fp32", "bf16"):
        row = Models("Ti", 8, training, precision)
        equal(row.size)
        made = contestants(SIZES[row.size])
        for name in ("timm", "fast"):
            steps[f"{name}, {precision}"] = row.step(made[name].model)
            flops[f"{name}, {precision}"] = row.flops(name)
        step, count = matrix_product(DTYPES[precision], "cpu")
        steps[f"{PRODUCT}, {precision}"] = step
        flops[f"{PRODUCT}, {precision}"] = count
    return {"flops": flops, **race(steps, timing)}


# The rows

Row = Callable[[Timing], dict]


def cpu_rows() -> dict[str, Row]:
    """Name → what measures a row."""
    models = [
        Models(size, batch, training)
        for size, batch, training in product(SIZES, (1, 8, 32), (False, True))
    ]
    return {
        **{row.name: row.measure for row in models},
        "frozen": measure_frozen,
        "checkpointing": measure_checkpointing,
        "bf16-inference": partial(measure_bf16, False),
        "bf16-training": partial(measure_bf16, True),
        **{
            f"attention-{tokens}": partial(measure_attention, tokens)
            for tokens in (197, 512, 1024, 2048, 4096)
        },
        **COURSE_ROWS,
    }


def cuda_rows() -> dict[str, Row]:
    """As `cpu_rows`, for a GPU."""
    models = [
        Models(size, batch, training, precision, compiled, "cuda")
        for size, batch, training, precision, compiled in product(
            SIZES, (8, 256), (False, True), ("bf16", "fp16"), (False, True)
        )
    ]
    return {row.name: row.measure for row in models}


if __name__ == "__main__":
    main()
