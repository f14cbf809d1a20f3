"""12 Scaling out: what chapter 12_scaling_out builds."""

# Generated from chapters/12_scaling_out.md by `make sync`. Do not edit.
# Seal: 97fdc7d143ae3f0f

from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from vit_encoder.arguments import require_whole


def average_gradients(model: nn.Module) -> None:
    """Put the mean over all ranks in place of each gradient. All ranks call it.

    It is the gradient of the whole batch if all ranks read equally many images.
    """
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)  # now the sum over the ranks
        parameter.grad /= dist.get_world_size()


def distribute(model: nn.Module, engine: str) -> nn.Module:
    """The model as one of torch's engines trains it; make the optimizer afterwards.

    model: with blocks in `model.encoder.blocks`. engine: "ddp", or "zero-2" or
    "zero-3", which shard the model in place. Raises ValueError for another engine.
    """
    if engine == "ddp":
        # gradients live in the buckets, not a second time
        return DistributedDataParallel(model, gradient_as_bucket_view=True)
    if engine not in ("zero-2", "zero-3"):
        raise ValueError(f'expected "ddp", "zero-2" or "zero-3", got {engine!r}')
    device = next(model.parameters()).device.type  # else a GPU, where there is one
    how = {
        "mesh": init_device_mesh(device, (dist.get_world_size(),)),
        "reshard_after_forward": engine == "zero-3",  # and gather again for backward
    }
    for block in model.encoder.blocks:
        fully_shard(block, **how)
    return fully_shard(model, **how)  # what is in no block


def save(
    folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Write a checkpoint into a new folder `step-…`. All ranks call it."""
    weights, states = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": states}
    dcp.save(state, checkpoint_id=folder / f"step-{step:06}")


def resume(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load the last whole checkpoint; the step to go on with, 0 if there is none."""
    found = sorted(file.parent for file in folder.glob("step-*/.metadata"))
    if not found:
        return 0
    weights, states = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": states}
    dcp.load(state, checkpoint_id=found[-1])  # into the tensors of `state`
    set_state_dict(
        model,
        optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
    )
    return int(found[-1].name.removeprefix("step-"))


def ring_all_reduce(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """The sum of all tensors, for each rank, by messages to the right neighbour alone.

    tensors: one of each rank, all of the same shape (n,), with n a multiple of the
    ranks. Returns new ones. Raises ValueError for other shapes.
    """
    p = len(tensors)
    if any(x.dim() != 1 or x.shape != tensors[0].shape or len(x) % p for x in tensors):
        shapes = [tuple(x.shape) for x in tensors]
        raise ValueError(f"expected shapes (n,) with n a multiple of {p}, got {shapes}")
    held = [list(x.clone().chunk(p)) for x in tensors]  # rank → its p pieces
    for adds in (True, False):  # first add up, then hand round what is complete
        for i in range(p - 1):
            first = 0 if adds else 1  # rank 0 sends piece 0 at first; then piece 1
            sent = [(r, (r + first - i) % p) for r in range(p)]
            pieces = [held[r][k] for r, k in sent]  # all send at once
            for (r, k), piece in zip(sent, pieces, strict=True):
                there = held[(r + 1) % p]
                there[k] = there[k] + piece if adds else piece
    return [torch.cat(pieces) for pieces in held]


def ring_seconds(size: float, ranks: int, speed: float, message: float) -> float:
    """What a ring all-reduce takes (Patarasuk and Yuan 2009).

    size: bytes of the tensor. speed: bytes a second. message: seconds that each takes
    however short it is. Raises ValueError or TypeError for ranks that cannot be.
    """
    require_whole(ranks, "ranks")
    return 2 * (ranks - 1) * (message + size / ranks / speed)


def step_seconds(compute: float, ring: float, overlap: float = 0.0) -> float:
    """A step's seconds. overlap: the share of `compute` in which messages travel."""
    return compute + max(0.0, ring - overlap * compute)
