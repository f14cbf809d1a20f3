"""Two mistakes of training on several processes, for chapter 12 to run.

torchrun --standalone --nproc-per-node 2 -m vit_encoder.rank_failures
"""

import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vit_encoder.train_on_ranks import launch

PATIENCE = timedelta(seconds=60)  # how long a rank waits for the others
SOON = timedelta(seconds=3)  # where it waits in vain


class TwoHeads(nn.Module):
    """One body and two heads, of which the loss uses the first alone."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 3), nn.Linear(3, 1)
        self.spare_head = nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def unused_parameter(find: bool) -> None:
    """Two steps in which `spare_head` gets no gradient."""
    model = DistributedDataParallel(TwoHeads(), find_unused_parameters=find)
    for _ in range(2):
        model(torch.ones(5, 4)).sum().backward()


def unequal_batches(join: bool) -> None:
    """Rank 0 has three batches, the other ranks have two."""
    group = dist.new_group(timeout=PATIENCE if join else SOON)
    model = DistributedDataParallel(nn.Linear(4, 1), process_group=group)
    count = 3 if dist.get_rank() == 0 else 2
    with model.join() if join else nullcontext():
        for _ in range(count):
            model(torch.ones(5, 4)).sum().backward()
    dist.barrier(group)


def attempt(mistake: Callable[[bool], None], cured: bool) -> str:
    """Make the mistake; what this rank is told."""
    try:
        mistake(cured)
    except RuntimeError as error:
        return str(error)
    return "no error"


def run() -> dict[str, list[str]]:
    """Both, and their cures, on two processes: name → what each rank was told."""
    with tempfile.TemporaryDirectory() as folder:
        launch("-m", "vit_encoder.rank_failures", folder)
        told = [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in (0, 1)]
    return {name: [of_rank[name] for of_rank in told] for name in told[0]}


def main() -> None:
    """What runs in each process. The last mistake leaves no group to go on with."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dist.init_process_group("gloo", timeout=PATIENCE)
    told = {
        "unused, found": attempt(unused_parameter, True),
        "unequal, joined": attempt(unequal_batches, True),
        "unused": attempt(unused_parameter, False),
        "unequal": attempt(unequal_batches, False),
    }
    Path(sys.argv[1], f"{dist.get_rank()}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
