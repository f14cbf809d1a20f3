"""What a computation costs, counted: FLOPs, bytes moved, bytes kept.

Counts are the same on every machine. Times are not: `recorded_speed` reads those that
`studies/profile_encoder.py` measured on one.
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

SPEED_FILE = Path(__file__).parent / "data" / "speed_steps.json"
PRODUCTS = ("addmm", "mm", "bmm", "baddbmm")


def flops(run: Callable, *inputs: object) -> int:
    """FLOPs of the matrix products in `run(*inputs)`, as torch counts them.

    A multiply-add counts as two. torch knows no FLOPs of attention in one call on the
    CPU and counts 0 for it.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run(*inputs)
    return counter.get_total_flops()


def traffic(run: Callable, *inputs: object) -> dict[str, int]:
    """Bytes that the operations of `run(*inputs)` read and write, by kind.

    Kinds: "products" of matrices, "attention" in one call, "the rest". Each operation
    counts all that goes in and comes out, as if nothing stayed in a cache; one that
    only gives a tensor another shape counts nothing. Without gradients.
    """
    with torch.no_grad(), _Traffic() as mode:
        run(*inputs)
    return {kind: mode.moved[kind] for kind in ("products", "attention", "the rest")}


def largest_tensor(run: Callable, *inputs: object) -> int:
    """Bytes of the largest tensor that `run(*inputs)` makes, without gradients."""
    with torch.no_grad(), _Traffic() as mode:
        run(*inputs)
    return mode.largest


class _Traffic(TorchDispatchMode):
    """Notes what each operation reads, writes and makes."""

    def __init__(self):
        super().__init__()
        self.moved = Counter()
        self.largest = 0

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        result = op(*args, **(kwargs or {}))
        tensors = [
            t for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor)
        ]
        if not op.is_view:
            name = op.overloadpacket.__name__
            kind = "products" if name in PRODUCTS else "the rest"
            kind = "attention" if "scaled_dot_product" in name else kind
            self.moved[kind] += sum(map(_bytes, tensors))
            made = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
            self.largest = max(self.largest, *map(_bytes, made), 0)
        return result


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def kept_bytes(run: Callable[[], Tensor], model: nn.Module) -> int:
    """Bytes that `run()` keeps for its gradient, without the parameters of `model`.

    Each piece of memory counts once, whole, however many tensors look into it.
    """
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}  # the address of a piece of memory → its size

    def note(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in own:
            kept[memory.data_ptr()] = memory.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = run()  # held, so that no address is used twice
    del result
    return sum(kept.values())


def recorded_speed() -> dict:
    """What studies/profile_encoder.py measured for ViT-Ti/16 on a CPU, one thread.

    "steps": version → its time as a multiple of the textbook's, in order. "profile":
    "textbook" and "fast" → kind of operation → share of the time. "attention": N →
    version → its time as a multiple of the textbook's. Beside them stand "processor",
    "torch", "date" and "sizes".
    """
    return json.loads(SPEED_FILE.read_text(encoding="utf-8"))
