"""Messages between the marking process and the sandbox: JSON, read with distrust.

A frame is a length of four bytes, the most significant first, and that many bytes of
JSON. Objects of Python never cross towards the marking process: a tensor is its dtype,
shape and bytes, and a Hearing is read against the annotations of its own fields.
"""

import base64
import contextlib
import functools
import json
import math
import re
import select
import socket
import struct
import time
import types
import typing
from dataclasses import dataclass, fields, is_dataclass

import torch
from torch import Tensor

from vit_encoder.check.hearing.data import (
    MOST_AXES,
    Hearing,
    Opinion,
    Problem,
    Reply,
)

MAX_FRAME = 16 * 2**20  # bytes; an honest hearing has some four MB at most
MOST_ENTRIES = 10_000  # of a list or a dictionary
PROBLEM = re.compile(r"[a-z0-9-]{0,60}")  # its name
LONGEST = 4000  # characters of a text in a hearing
CLASSES = {cls.__name__: cls for cls in (Hearing, Opinion, Problem, Reply)}
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.complex128, torch.complex64),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    )
}


class WireError(Exception):
    """What came is no message of this protocol."""


class TimeOver(Exception):  # noqa: N818, as asyncio's own it says what happened
    """Nothing came before the deadline."""


@dataclass
class Line:
    """One end of a connection.

    deadline: in the time of time.monotonic(). look: called while it waits, ten times a
    second or more often; what it raises ends the wait. left: how many bytes may still
    come, or None.
    """

    channel: socket.socket
    deadline: float | None = None
    look: typing.Callable[[], None] = lambda: None
    left: int | None = None

    def send(self, message: dict | bytes) -> None:
        """Send a message, or its JSON. TimeOver; OSError if the other side is gone."""
        data = message if isinstance(message, bytes) else packed(message)
        rest = memoryview(struct.pack(">I", len(data)) + data)
        while rest:
            # The other side may never read, so nothing here may block.
            self.wait(writing=True)
            with contextlib.suppress(BlockingIOError):
                rest = rest[self.channel.send(rest, socket.MSG_DONTWAIT) :]

    def receive(self) -> dict:
        """The next message.

        Raises TimeOver, EOFError where the other side is gone, WireError where it sent
        something else or too much.
        """
        (size,) = struct.unpack(">I", self.exactly(4))
        if size > MAX_FRAME:
            raise WireError(f"a message of {size} bytes, at most {MAX_FRAME} are read")
        if self.left is not None:
            self.left -= size
            if self.left < 0:
                raise WireError("more bytes than an answer can have")
        try:
            message = json.loads(self.exactly(size))
        except (ValueError, RecursionError) as error:
            raise WireError(f"no JSON: {type(error).__name__}") from None
        if not isinstance(message, dict):
            raise WireError("a message that is no JSON object")
        return message

    def exactly(self, size: int) -> bytes:
        """So many bytes, no more and no less."""
        data = bytearray()
        while len(data) < size:
            self.wait()
            part = self.channel.recv(min(size - len(data), 2**20))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def wait(self, *, writing: bool = False) -> None:
        """Until the other side has sent something, or can be sent something."""
        reads, writes = ([], [self.channel]) if writing else ([self.channel], [])
        while True:
            self.look()
            if self.deadline is not None and time.monotonic() > self.deadline:
                raise TimeOver
            if any(select.select(reads, writes, [], 0.1)):
                return


def packed(message: dict) -> bytes:
    """A message as it is sent."""
    return json.dumps(message).encode()


def encode(value: object) -> object:
    """A Hearing, and what it is made of, as JSON has it."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Tensor):
        return {"tensor": encode_tensor(value)}
    if isinstance(value, dict):
        return {"dict": {key: encode(entry) for key, entry in value.items()}}
    if isinstance(value, tuple):
        return {"tuple": [encode(entry) for entry in value]}
    if isinstance(value, list):
        return {"list": [encode(entry) for entry in value]}
    if type(value) in CLASSES.values():
        entries = {f.name: encode(getattr(value, f.name)) for f in fields(value)}
        return {type(value).__name__: entries}
    raise TypeError(f"{type(value).__name__} is no plain data")


def encode_tensor(tensor: Tensor) -> list:
    """Dtype, shape, device and bytes; a tensor on meta has none."""
    name = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_meta:
        return [name, list(tensor.shape), "meta", ""]
    flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    data = base64.b64encode(flat.numpy().tobytes()).decode()
    return [name, list(tensor.shape), "cpu", data]


def decode_hearing(data: object) -> Hearing:
    """The Hearing that was sent. WireError if it is none, down to the last field."""
    try:
        hearing = decode(data)
    except (TypeError, ValueError, KeyError, RecursionError, OverflowError) as error:
        raise WireError(f"no hearing: {type(error).__name__}") from None
    if not fits(hearing, Hearing):
        raise WireError("a hearing with something else in its fields")
    return hearing


def decode(data: object) -> object:
    """The inverse of `encode`."""
    if isinstance(data, str) and len(data) > LONGEST:
        raise ValueError(f"a text of {len(data)} characters")
    if not isinstance(data, dict):
        return data
    ((kind, inside),) = data.items()
    if kind == "tensor":
        return decode_tensor(*inside)
    if len(inside) > MOST_ENTRIES:
        raise ValueError(f"{len(inside)} entries")
    if kind == "dict":
        return {key: decode(entry) for key, entry in inside.items()}
    if kind == "tuple":
        return tuple(decode(entry) for entry in inside)
    if kind == "list":
        return [decode(entry) for entry in inside]
    thing = CLASSES[kind](**{name: decode(entry) for name, entry in inside.items()})
    if type(thing) is Problem and not PROBLEM.fullmatch(thing.name):
        raise ValueError("a name that no problem has")
    return thing


def decode_tensor(name: str, shape: list, device: str, data: str) -> Tensor:
    """A tensor from its parts, which must agree."""
    dtype = DTYPES[name]
    if len(shape) > MOST_AXES:
        raise ValueError(f"{len(shape)} axes")
    if not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise ValueError(f"shape {shape}")
    if device == "meta":
        return torch.empty(shape, dtype=dtype, device="meta")
    raw = base64.b64decode(data, validate=True)
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(raw)} bytes for shape {shape}")
    if not raw:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)


def fits(value: object, annotation: object) -> bool:
    """The value is what the annotation says, with all that is inside it."""
    return checker(annotation)(value)


@functools.cache
def checker(annotation: object) -> typing.Callable[[object], bool]:
    """A function that says whether a value is what the annotation says."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type) and not origin:
        hints = typing.get_type_hints(annotation) if is_dataclass(annotation) else {}
        # Looked up when a value comes, as a class may hold another of its own.
        return lambda value: (
            type(value) is annotation
            and all(checker(hint)(getattr(value, name)) for name, hint in hints.items())
        )
    if origin in (types.UnionType, typing.Union):
        options = [checker(option) for option in args]
        return lambda value: any(fit(value) for fit in options)
    if origin is tuple and args[-1:] != (...,):
        parts = [checker(part) for part in args]
        return lambda value: (
            type(value) is tuple
            and len(value) == len(parts)
            and all(fit(entry) for fit, entry in zip(parts, value, strict=True))
        )
    if origin in (tuple, list):
        each = checker(args[0])
        return lambda value: type(value) is origin and all(map(each, value))
    if origin is dict:
        key, entry = map(checker, args)
        return lambda value: (
            type(value) is dict
            and all(map(key, value))
            and all(map(entry, value.values()))
        )
    raise TypeError(f"no check for {annotation}")
