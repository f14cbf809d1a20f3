"""Where an answer holds the parameters that it is given."""

import functools
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vit_encoder.check.hearing.data import Form, ProblemError, Reply

Pairs = tuple[tuple[str, tuple[str, ...]], ...]
# How answers may hold parameters: joined, or in torch's own modules.
FUSED = {"qkv": ("query", "key", "value"), "in_proj": ("query", "key", "value")}
ALIASES = {
    # nn.MultiheadAttention, by itself and in nn.TransformerEncoderLayer; a projection
    # with dropout behind it
    "attn.query": ("self_attn.query",),
    "attn.key": ("self_attn.key",),
    "attn.value": ("self_attn.value",),
    "attn.proj": ("attn.out_proj", "self_attn.out_proj", "attn.proj.0"),
    # nn.Sequential, with or without dropout, and nn.TransformerEncoderLayer
    "mlp.fc1": ("mlp.0", "linear1"),
    "mlp.fc2": ("mlp.2", "mlp.3", "linear2"),
}


@dataclass(frozen=True)
class Place:
    """Where an answer holds a parameter.

    rows: its part of a joined parameter. turned: held as (in, out), for `x @ weight`.
    kernel: held as a convolution holds it, with the inputs along several axes.
    """

    tensor: Tensor
    rows: slice
    turned: bool
    kernel: bool

    def view(self, tensor: Tensor) -> Tensor:
        """The part of a tensor laid out like `self.tensor`."""
        if self.kernel:
            tensor = tensor.flatten(1)
        return (tensor.T if self.turned else tensor)[self.rows]

    def put(self, value: Tensor) -> None:
        """Set the parameter."""
        with torch.no_grad():
            self.view(self.tensor).copy_(value)


def find_places(
    module: nn.Module, values: dict[str, Tensor], form: Form, turn: bool
) -> dict[str, Place]:
    """Name → place of each parameter that the module has, joined or not.

    turn: a square matrix is held as (in, out). Raises ProblemError if one has another
    shape than expected.
    """
    own = dict(module.named_parameters(remove_duplicate=False))
    fused, aliases = tuple(form.fused.items()), tuple(form.aliases.items())
    places = {}
    for name, value in values.items():
        spots = held_as(name, fused, aliases)
        found = next((spot for spot in spots if spot[0] in own), None)
        if found is None:
            continue
        held, index, parts = found
        tensor = own[held]
        shape = (parts * len(value), *value.shape[1:])
        kernel = tensor.ndim > value.ndim == 2
        held_shape = tuple(tensor.flatten(1).shape if kernel else tensor.shape)
        square = (
            value.ndim == 2 and shape == shape[::-1] and not held.endswith(".weight")
        )
        turned = (turn and square) or (held_shape != shape and tensor.ndim == 2)
        if (held_shape[::-1] if turned else held_shape) != shape:
            raise ProblemError(
                "wrong-parameter-shape",
                f"Its parameter `{held}` has shape {tuple(tensor.shape)}, "
                f"expected {shape}.",
                "What goes into this part, and what comes out?",
            )
        rows = slice(index * len(value), (index + 1) * len(value))
        places[name] = Place(tensor, rows, turned, kernel)
    return places


def require_known_layers(module: object) -> None:
    """ProblemError if a plain list or dict hides parameters, whose dtype then stays."""
    if not isinstance(module, nn.Module):
        return
    known = {*map(id, module.parameters())}
    for part in module.modules():
        for name, held in vars(part).items():
            plain = {list: "list", tuple: "tuple", dict: "dict"}.get(type(held))
            if not plain or name.startswith("_"):
                continue
            inside = held.values() if plain == "dict" else held
            hidden = {*map(id, itertools.chain(*map(parameters_of, inside)))}
            if not hidden <= known:
                raise ProblemError(
                    "layers-hidden",
                    f"`{name}` is a plain {plain}. Torch does not look inside it, so "
                    "what it holds is no part of the module: the module cannot change "
                    "or train these parameters.",
                    "How does a module come to know of the layers inside it?",
                )


def parameters_of(thing: object) -> list[nn.Parameter]:
    """The parameters of a layer, or a parameter itself."""
    if isinstance(thing, nn.Module):
        return [*thing.parameters()]
    return [thing] if isinstance(thing, nn.Parameter) else []


@functools.cache
def held_as(name: str, fused: Pairs, aliases: Pairs) -> list[tuple[str, int, int]]:
    """The names under which a parameter may be held, its index there, and of how many.

    name: such as blocks.0.attn.query.weight. fused, aliases: as in Form.
    An answer may join it with others (blocks.0.attn.qkv.weight), hold the matrix by
    itself (blocks.0.attn.query), or use one of torch's modules, which has names of its
    own.
    """
    part, _, kind = name.rpartition(".")
    if not part:  # the module holds it by itself
        return [(name, 0, 1)]
    ends = [part]
    for ending, others in aliases:
        if part == ending or part.endswith(f".{ending}"):
            ends += [part.removesuffix(ending) + other for other in others]
    spots = [(end, 0, 1) for end in ends]
    for end, (joined, parts) in itertools.product(ends, fused):
        stem, dot, last = end.rpartition(".")
        if last in parts:
            spots.append((f"{stem}{dot}{joined}", parts.index(last), len(parts)))
    return [
        (f"{held}{spelling}", index, count)
        for held, index, count in spots
        # The last as in nn.MultiheadAttention's in_proj_bias.
        for spelling in (f".{kind}", *([""] if kind == "weight" else []), f"_{kind}")
    ]


def shared_pairs(places: dict[str, Place]) -> tuple[tuple[str, str], ...]:
    """The pairs of names that stand for the same part of the same tensor."""
    return tuple(
        (a, b)
        for a, b in itertools.combinations(places, 2)
        if places[a].tensor is places[b].tensor and places[a].rows == places[b].rows
    )


def has_square(reply: Reply) -> bool:
    """The answer holds a square matrix by itself, as in `x @ self.query`.

    A layer says which of its axes are the inputs; a bare matrix says so by its shape,
    unless that is square.
    """
    return any(
        len(shape) == 2 and shape[0] == shape[1] and not name.endswith(".weight")
        for name, shape in reply.parameters.items()
    )
