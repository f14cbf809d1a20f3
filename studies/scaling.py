"""How much faster two processes train than one, and what their talking takes.

    .venv/bin/python studies/scaling.py

Both processes run from the beginning, one thread each. Where one trains alone, the
other waits. All that is compared takes turns in every round, so that what else the
machine does hits all of it. src/vit_encoder/scaling_runs.py reads what is recorded.
"""

import argparse
import datetime
import json
import os
import time
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from run_notebooks import processor
from vit_encoder.scaling_out import average_gradients, distribute
from vit_encoder.scaling_runs import FILE
from vit_encoder.train_on_ranks import launch
from vit_encoder.training import VisionTransformer

MODELS = {  # name → its depth, dim, num_heads, mlp_dim; images of one process at most
    "small": ((3, 64, 4, 128), 64),
    "wide": ((6, 192, 3, 768), 16),
}
MESSAGES = [2**k for k in range(2, 25, 2)]  # bytes, from 4 to 16 MiB
STEPS = 3  # of each kind in a round


def build(name: str) -> tuple[nn.Module, int]:
    """A new model for images 28 × 28 in patches of 7 × 7, and its largest batch."""
    sizes, images = MODELS[name]
    torch.manual_seed(0)
    return VisionTransformer(28, 7, 1, 10, *sizes), images


def stepper(
    model: nn.Module, images: int, after: Callable[[], None] = lambda: None
) -> Callable[[], None]:
    """One step of AdamW on that many images; `after` stands before the update."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    x, labels = torch.randn(images, 1, 28, 28), torch.randint(10, (images,))

    def step() -> None:
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        after()
        optimizer.step()

    return step


def kinds(name: str) -> dict[str, Callable[[], None]]:
    """What is timed of a model: kind → one step of it."""
    steps = {}
    for part in (1, 2):
        model, images = build(name)
        images //= part
        steps[f"alone {images}"] = stepper(model, images)
        steps[f"apart {images}"] = stepper(build(name)[0], images)
        steps[f"ddp {images}"] = stepper(distribute(build(name)[0], "ddp"), images)
        by_hand = build(name)[0]
        steps[f"by hand {images}"] = stepper(
            by_hand, images, lambda model=by_hand: average_gradients(model)
        )
    return steps


def timed(kind: str, step: Callable[[], None], count: int) -> float:
    """Seconds for one of `count` steps, of the rank that takes longer."""
    dist.barrier()
    start = time.perf_counter()
    if not kind.startswith("alone") or dist.get_rank() == 0:
        for _ in range(count):
            step()
    taken = torch.tensor((time.perf_counter() - start) / count)
    dist.all_reduce(taken, dist.ReduceOp.MAX)
    return round(taken.item(), 7)


def about() -> dict:
    """What is measured, and on what."""
    models = {name: build(name)[0] for name in MODELS}
    return {
        "date": datetime.date.today().isoformat(),
        "machine": processor(),
        "cores": os.cpu_count(),
        "processes": dist.get_world_size(),
        "threads": 1,
        "torch": torch.__version__,
        "backend": dist.get_backend(),
        "load_before": round(os.getloadavg()[0], 2),
        "steps": STEPS,
        "gradient_bytes": {
            name: sum(p.nbytes for p in m.parameters()) for name, m in models.items()
        },
        "tensors": {name: len([*m.parameters()]) for name, m in models.items()},
    }


def worker(rounds: int) -> None:
    """What runs in both processes; rank 0 writes the record, anew after each round."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    steps = {(name, kind): s for name in MODELS for kind, s in kinds(name).items()}
    tensors = {size: torch.zeros(size // 4) for size in MESSAGES}
    record = about() if dist.get_rank() == 0 else {"seconds": {}}
    seconds = record["seconds"] = {name: {} for name in (*MODELS, "all-reduce")}
    for number in range(rounds + 1):
        for (name, kind), step in steps.items():
            taken = timed(kind, step, STEPS)
            if number:  # the first round warms up
                seconds[name].setdefault(kind, []).append(taken)
        for size, tensor in tensors.items():
            taken = timed("", lambda x=tensor: dist.all_reduce(x), 10)
            if number:
                seconds["all-reduce"].setdefault(str(size), []).append(taken)
        if number and dist.get_rank() == 0:
            FILE.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    dist.destroy_process_group()


def main() -> None:
    """Start the two processes, or be one of them."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=40)
    given = options.parse_args()
    if "RANK" in os.environ:
        worker(given.rounds)
    else:
        print(launch(__file__, f"--rounds={given.rounds}", seconds=1800))


if __name__ == "__main__":
    main()
