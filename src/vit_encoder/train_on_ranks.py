"""Train the course's ViT on several processes: what chapter 12 launches with torchrun.

    torchrun --standalone --nproc-per-node 2 -m vit_encoder.train_on_ranks --engine ddp

The images are the part of Fashion-MNIST that ships. Processes on CPUs talk over gloo;
with `--device cuda` each has a GPU of its own, and they talk over NCCL.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
)
from torch.distributed.tensor import DTensor
from torch.utils.data import DistributedSampler

from vit_encoder.datasets import LabelledImages, fashion_mnist
from vit_encoder.scaling_out import average_gradients, distribute, resume, save
from vit_encoder.training import VisionTransformer

ENGINES = ("alone", "by hand", "ddp", "zero-2", "zero-3")
RATE, DECAY = 1e-3, 0.05
EPSILON = 1e-6  # 1e-8 lets AdamW blow up what is rounding alone
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    # Else a restarted process may find the address of one that is dead:
    # https://github.com/pytorch/pytorch/issues/135712
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


def new_model(seed: int = 0) -> VisionTransformer:
    """The small ViT of chapter 08; each rank makes the same one."""
    torch.manual_seed(seed)
    return VisionTransformer(28, 7, 1, 10, 3, 64, 4, 128)


def batches(
    sampler: DistributedSampler, size: int, steps: range
) -> Iterator[tuple[int, Tensor]]:
    """(step, indices) of one rank's batches; each epoch has an order of its own.

    The order depends on the step alone, so that a run that goes on sees what it would
    have seen.
    """
    per_epoch = len(sampler) // size
    for step in steps:
        epoch, batch = divmod(step, per_epoch)
        sampler.set_epoch(epoch)
        order = torch.tensor(list(sampler))
        yield step, order[batch * size : (batch + 1) * size]


def train(
    engine: str,
    steps: int,
    batch_size: int,
    data: LabelledImages,
    folder: Path | None = None,
    every: int = 5,
    die_at: int | None = None,
) -> tuple[nn.Module, dict]:
    """Train a new model with AdamW; the model, and what was measured on this rank.

    engine: one of ENGINES; "alone" needs no process group. batch_size: images of all
    ranks together in a step. data: on the device of the run. folder: of checkpoints, a
    new one after `every` steps; a run that finds one goes on from the last. die_at: the
    step in which rank 1 ends itself, if torchrun has not restarted it.
    The report holds `first` step, `losses` of the global batches, and `bytes` of this
    rank: parameters, gradients, AdamW's states, what is saved for the backward pass,
    and the most parameters that the forward pass has in full.
    Raises ValueError for another engine or a batch that the ranks cannot share evenly.
    """
    if engine not in ENGINES:
        raise ValueError(f"expected an engine of {', '.join(ENGINES)}, got {engine!r}")
    alone = engine == "alone"
    rank, ranks = (0, 1) if alone else (dist.get_rank(), dist.get_world_size())
    if batch_size % ranks:
        raise ValueError(
            f"expected a batch that {ranks} ranks share evenly, got {batch_size} images"
        )
    model = new_model().to(data.labels.device)
    trained = model if engine in ("alone", "by hand") else distribute(model, engine)
    optimizer = torch.optim.AdamW(
        trained.parameters(), RATE, eps=EPSILON, weight_decay=DECAY
    )
    first = resume(folder, trained, optimizer) if folder else 0
    sampler = DistributedSampler(data, num_replicas=ranks, rank=rank, seed=0)
    losses, measured = [], {}
    for step, indices in batches(sampler, batch_size // ranks, range(first, steps)):
        batch = data[indices.to(data.labels.device)]
        if (
            step == die_at
            and rank == 1
            and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        ):
            os.kill(os.getpid(), signal.SIGKILL)
        with counted(model) as counts:
            loss = F.cross_entropy(trained(batch.normalized()), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        if engine == "by hand":
            average_gradients(model)
        optimizer.step()
        losses.append(mean_over_ranks(loss.detach(), ranks))
        if not measured:
            measured = {
                "parameters": bytes_of(trained.parameters()),
                "gradients": bytes_of(p.grad for p in trained.parameters()),
                "AdamW": bytes_of(states(optimizer)),
                **counts,
            }
        if folder and (step + 1) % every == 0:
            save(folder, step + 1, trained, optimizer)
    return trained, {"first": first, "losses": losses, "bytes": measured}


def mean_over_ranks(loss: Tensor, ranks: int) -> float:
    """The mean of a number that each rank has."""
    if ranks > 1:
        dist.all_reduce(loss)
    return loss.item() / ranks


def states(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    """AdamW's running means; its count of steps is left out."""
    for state in optimizer.state.values():
        yield from (value for value in state.values() if value.dim())


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """The bytes that this rank holds of tensors, sharded or whole."""
    return sum((t.to_local() if isinstance(t, DTensor) else t).nbytes for t in tensors)


def whole(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of which this rank has at present all."""
    return [p for p in model.parameters() if not isinstance(p, DTensor)]


@contextmanager
def counted(model: VisionTransformer) -> Iterator[dict[str, int]]:
    """Count bytes during a forward pass: `saved` and, of a sharded model, `gathered`.

    saved: what autograd keeps for the backward pass, each storage once, without the
    parameters. gathered: the most that is there at once of parameters in full.
    """
    counts = {"saved": 0, "gathered": 0}
    sharded = len(whole(model)) < len([*model.parameters()])
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        places = {p.untyped_storage().data_ptr() for p in whole(model)}
        if storage.data_ptr() not in places:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def look(*_: object) -> None:
        if sharded:
            counts["gathered"] = max(counts["gathered"], bytes_of(whole(model)))

    hooks = [block.mlp.register_forward_hook(look) for block in model.encoder.blocks]
    try:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            yield counts
        look()
        counts["saved"] = sum(kept.values())
    finally:
        for hook in hooks:
            hook.remove()


def launch(
    *arguments: str, processes: int = 2, restarts: int = 0, seconds: float = 300
) -> str:
    """Run torchrun on this machine, one thread a process; what the processes print.

    arguments: a script or `-m` and a module, and what it takes. Nothing is left running
    afterwards. Raises RuntimeError with the end of the output if the run fails,
    subprocess.TimeoutExpired if it takes longer than `seconds`.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--local-addr=127.0.0.1", f"--nproc-per-node={processes}"]
    command += [f"--max-restarts={restarts}", *arguments]
    run = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | ENVIRONMENT,
    )
    try:
        output, _ = run.communicate(timeout=seconds)
    finally:
        if run.poll() is None:
            run.terminate()  # torchrun ends its workers first; to kill it would not
            run.communicate()
    if run.returncode:
        raise RuntimeError(f"torchrun ended with {run.returncode}:\n{output[-6000:]}")
    return output


def main() -> None:
    """What runs in each process that torchrun starts."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--engine", nargs="+", choices=ENGINES, default=["ddp"])
    options.add_argument("--steps", type=int, default=12)
    options.add_argument("--batch-size", type=int, default=80, help="of all ranks")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument("--output", type=Path, help="a folder for reports and weights")
    options.add_argument("--checkpoints", type=Path, help="a folder that all ranks see")
    options.add_argument("--die-at", type=int, help="a step in which rank 1 is killed")
    given = options.parse_args()
    device = torch.device(given.device)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    torch.set_num_threads(1)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(seconds=60))
    data = fashion_mnist().train.to(device)
    for engine in given.engine:
        model, report = train(
            engine,
            given.steps,
            given.batch_size,
            data,
            given.checkpoints and given.checkpoints / engine.replace(" ", "-"),
            die_at=given.die_at,
        )
        reports = [None] * dist.get_world_size()
        dist.all_gather_object(reports, report)
        whole_state = StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights = get_model_state_dict(model, options=whole_state)
        if dist.get_rank() == 0:
            last = [round(loss, 4) for loss in report["losses"][-1:]]  # or none
            print(engine, "last loss:", *last, flush=True)
            if given.output:
                given.output.mkdir(parents=True, exist_ok=True)
                torch.save(weights, given.output / f"{engine}.pt")
                (given.output / f"{engine}.json").write_text(json.dumps(reports))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
