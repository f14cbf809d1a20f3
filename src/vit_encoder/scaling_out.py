from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel


def average_gradients(model: nn.Module) -> None:
    for p in model.parameters():
        dist.all_reduce(p.grad)  # now the sum over the ranks
        p.grad /= dist.get_world_size()


def distribute(model, engine: str) -> nn.Module:
    if engine == "ddp":
        return DistributedDataParallel(model, gradient_as_bucket_view=True)
    again = engine == "zero-3"
    for block in model.encoder.blocks:
        fully_shard(block, reshard_after_forward=again)
    return fully_shard(model, reshard_after_forward=again)


def save(folder: Path, step: int, model, optimizer) -> None:
    weights, states = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": states}
    dcp.save(state, checkpoint_id=folder / f"step-{step:06}")


def resume(folder: Path, model, optimizer) -> int:
    found = sorted(file.parent for file in folder.glob("step-*/.metadata"))
    if not found:
        return 0
    weights, states = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": states}
    dcp.load(state, checkpoint_id=found[-1])
    set_state_dict(
        model,
        optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
    )
    return int(found[-1].name.removeprefix("step-"))
