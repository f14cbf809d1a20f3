"""Three mistakes of training on several processes, for chapter 12 to run.

torchrun --standalone --nproc-per-node 2 -m vit_encoder.rank_failures
"""

import json
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vit_encoder.train_on_ranks import launch

SECONDS = 3  # how long a rank waits for the others; torch's own default is minutes


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
    model = DistributedDataParallel(nn.Linear(4, 1))
    count = 3 if dist.get_rank() == 0 else 2
    with model.join() if join else nullcontext():
        for _ in range(count):
            model(torch.ones(5, 4)).sum().backward()
    dist.barrier()


def attempt(name: str, mistake: Callable[[bool], None], cured: bool) -> None:
    """Make the mistake; each rank prints what came of it, as a line of JSON."""
    try:
        mistake(cured)
        said = "no error"
    except RuntimeError as error:
        said = str(error)
    print(json.dumps([name, dist.get_rank(), said]), flush=True)


def run() -> dict[str, list[str]]:
    """All of them on two processes: name → what each rank said, by its number."""
    said = {}
    for line in launch("-m", "vit_encoder.rank_failures").splitlines():
        if line.startswith('["'):
            name, rank, text = json.loads(line)
            said.setdefault(name, {})[rank] = text
    return {name: [texts[0], texts[1]] for name, texts in said.items()}


def main() -> None:
    """What runs in each process. The last mistake leaves no group to go on with."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dist.init_process_group("gloo", timeout=timedelta(seconds=SECONDS))
    attempt("unused, found", unused_parameter, True)
    attempt("unequal, joined", unequal_batches, True)
    attempt("unused", unused_parameter, False)
    attempt("unequal", unequal_batches, False)


if __name__ == "__main__":
    main()
