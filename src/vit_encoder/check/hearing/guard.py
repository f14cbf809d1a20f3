"""Run a student's code so that nothing it does outlives the check."""

import contextlib
import ctypes
import hashlib
import inspect
import io
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType

import torch
from torch.overrides import TorchFunctionMode, _get_current_function_mode

from vit_encoder.check.hearing.data import LATE, TIME_LIMIT, Hearing, ProblemError

PATIENCE = 3  # how many times its limit a check may last by the clock on the wall
SWITCHES = ("setprofile", "start_new_thread")  # behind them Watch is blind
SEEDS = ("manual_seed",)  # what seeds a generator of torch
SEEDERS = (  # the same in Python; on a GPU that was not used yet nothing else is called
    inspect.unwrap(torch.manual_seed),  # its wrapper has code that others share
    torch.cuda.manual_seed,
    torch.cuda.manual_seed_all,
    random.seed.__func__,
)
TICK = 0.01  # seconds between two looks at the clocks, at least


class TimeUp(BaseException):
    """The time of a check is over; no `except Exception` of an answer catches it."""


class Sink(io.TextIOBase):
    """Takes what an answer prints and keeps only how much it was."""

    def __init__(self):
        self.characters = 0

    def writable(self) -> bool:
        """This stream can be written to."""
        return True

    def write(self, text: str) -> int:
        """Count the characters and drop them."""
        self.characters += len(text)
        return len(text)


@dataclass(frozen=True)
class Known:
    """A part that can be recognized, without its code: that may be an answer.

    name: of the part. called: of what runs when it is called. digest: of its code.
    """

    name: str
    called: str
    digest: str


class Watch(TorchFunctionMode):
    """Notes calls of forbidden built-ins, and of the course's own part, in its block.

    It makes torch several times slower, so it is put around an answer's calls alone.

    builtins: what a forbidden name contains, such as scaled_dot_product.
    builtin_parts: torch's functions or module classes.
    reference: the course's functions or module classes, or what is known of them.
    seen: ("built-in-used", "reference-used" or "guard-removed", name), in order. Code
        that is written to escape it can, as it runs in the same process.
    seeds: how often a generator was seeded.
    built: a module was built under watch. What `__init__` does, it does every time.
    """

    def __init__(
        self,
        builtins: tuple[str, ...] = (),
        builtin_parts: tuple[Callable, ...] = (),
        reference: tuple[Callable | Known, ...] = (),
    ):
        super().__init__()
        self.builtins = builtins
        self.parts = {
            known(part): kind
            for kind, parts in (
                ("built-in-used", builtin_parts),
                ("reference-used", reference),
                ("seed", SEEDERS),
            )
            for part in parts
        }
        self.kinds = Kinds(builtins)
        self.seen: list[tuple[str, str]] = []
        self.seeds = 0
        self.built = False
        self.over = False
        self.profile = self.profiler()

    def __enter__(self):
        self.before = sys.getprofile()
        if self.builtins:  # without a forbidden name there is nothing to see for a mode
            super().__enter__()
        self.over = False
        sys.setprofile(self.profile)
        return self

    def __exit__(self, kind, error, trace):
        self.over = True
        in_place = sys.getprofile() == self.profile
        if self.builtins:
            on_top = _get_current_function_mode() is self
            in_place = in_place and on_top
            if on_top:
                super().__exit__(kind, error, trace)
        set_profiler(self.before)
        # Python itself takes it away where a recursion is too deep to call it.
        if not in_place and error is None:
            self.seen.append(("guard-removed", "setprofile"))

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if self.kinds[name] == "built-in-used":
            self.seen.append(("built-in-used", name))
        return func(*args, **(kwargs or {}))

    def profiler(self) -> Callable:
        """What Python calls at every call; it sees a forbidden part under any name.

        It runs so often that it may look nothing up twice.
        """
        kinds, seen = self.kinds, self.seen
        names = {part.called for part in self.parts}
        found = {
            (part.called, part.digest): (kind, part.name)
            for part, kind in self.parts.items()
        }
        met = {}  # id of a code → the code, which so keeps its id, and what it is

        def profile(frame, event, called):
            if event == "call":
                code = frame.f_code
                if code.co_name not in names:
                    return
                if id(code) not in met:
                    met[id(code)] = code, found.get((code.co_name, digest_of(code)))
                _, is_known = met[id(code)]
                if is_known and is_known[0] == "seed":
                    self.seeds += frame.f_locals.get("a", 0) is not None
                elif is_known:
                    seen.append(is_known)
            elif event == "c_call":
                kind = kinds[called.__name__]
                if kind and not self.over:
                    if kind == "seed":
                        self.seeds += 1
                    else:
                        seen.append((kind, called.__name__))

        return profile


class Kinds(dict):
    """Name of a function of C → why it may not be called, or ""."""

    def __init__(self, builtins: tuple[str, ...]):
        super().__init__(dict.fromkeys(SWITCHES, "guard-removed"))
        self.update(dict.fromkeys(SEEDS, "seed"))
        self.builtins = builtins

    def __missing__(self, name: str) -> str:
        found = any(part in name for part in self.builtins)
        self[name] = "built-in-used" if found else ""
        return self[name]


@cache
def load_meta() -> None:
    """Load what the meta device needs: seconds, which no answer's time shall count.

    It has no data and stands in for a GPU. A first optimizer needs the same.
    """
    torch.empty(1, 1, device="meta") @ torch.empty(1, 1, device="meta") / 2


@contextlib.contextmanager
def on_meta() -> Iterator[None]:
    """Let tolist() fail on the meta device as item() does.

    Torch's own error reads like that of cpu(), which is another mistake.
    """

    def tolist(tensor):
        if tensor.is_meta:
            raise RuntimeError("Tensor.tolist() cannot be called on meta tensors")
        return torch._C.TensorBase.tolist(tensor)

    torch.Tensor.tolist = tolist
    try:
        yield
    finally:
        del torch.Tensor.tolist


def set_profiler(before: object) -> None:
    """Set again what sys.getprofile() gave; cProfile's, as in %prun, is no function."""
    if before is None or callable(before):
        sys.setprofile(before)
    else:
        before.enable()


def known(part: Callable | Known) -> Known:
    """By what a function or a module class is recognized."""
    if isinstance(part, Known):
        return part
    code = code_of(part)
    return Known(part.__name__, code.co_name, digest_of(code))


def digest_of(code: CodeType) -> str:
    """A digest of a code and its place, so that the same words elsewhere are others."""
    parts = code.co_code, code.co_names, code.co_varnames, code.co_linetable
    return hashlib.sha256(repr((code.co_firstlineno, *parts)).encode()).hexdigest()


def code_of(thing: Callable) -> CodeType:
    """The code object that runs when a part is called."""
    return (thing.forward if isinstance(thing, type) else thing).__code__


@contextlib.contextmanager
def plain_torch() -> Iterator[None]:
    """Gradients on and the CPU as default, whatever the notebook has set.

    One thread: tensors are small here, and several would wait for each other.
    """
    on_cpu = torch.get_default_device() == torch.device("cpu")
    # To set the device slows every call of torch, so only where it is another.
    device = contextlib.nullcontext() if on_cpu else torch.device("cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(False), torch.enable_grad(), device:
            yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """The same random numbers every time; then those from before go on."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), plain_torch():
        warnings.simplefilter("ignore")
        torch.default_generator.manual_seed(0)
        yield


@contextlib.contextmanager
def guarded(seconds: float, sink: Sink) -> Iterator[None]:
    """Limit the time and drop the output; then restore everything.

    Random numbers, gradient mode and default device are those from before, too.
    Raises TimeUp inside the block when the seconds of computing are over.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(repeatable())
        stack.enter_context(contextlib.redirect_stdout(sink))
        stack.enter_context(contextlib.redirect_stderr(sink))
        stack.callback(set_profiler, sys.getprofile())
        stack.enter_context(time_limit(seconds))
        yield


def time_limit(seconds: float) -> contextlib.AbstractContextManager[None]:
    """Raise TimeUp in the block when it has computed for so long.

    The seconds are those of the processor, as a right answer can take long by the clock
    where others use the machine. What sleeps is stopped after PATIENCE times as long,
    and what waits for a core waits.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and hasattr(signal, "setitimer"):
        return limit_by_signal(seconds)
    return limit_by_thread(seconds)


def countdown(seconds: float) -> Callable[[], float]:
    """Start the clocks; what it returns tells when to look again, or 0: time is up."""
    computed, began = time.process_time(), time.monotonic()
    waited = waited_for_a_core()

    def left() -> float:
        others = waited_for_a_core() - waited
        rest = min(
            seconds - (time.process_time() - computed),
            PATIENCE * seconds - (time.monotonic() - began - others),
        )
        return max(rest, TICK) if rest > 0 else 0.0

    return left


def waited_for_a_core(process: int | str = "self") -> float:
    """Seconds in which a process could have computed, and others did; 0 if unknown."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        file = Path(f"/proc/{process}/schedstat")
        return int(file.read_text().split()[1]) / 1e9
    return 0.0


@contextlib.contextmanager
def limit_by_signal(seconds: float) -> Iterator[None]:
    """The way of a notebook on Unix: an alarm, which also wakes a sleep."""
    left, over = countdown(seconds), False

    def ring(_number, _frame):
        if over:  # Python may call this late, and then the alarm is no longer ours
            return
        rest = left()
        if not rest:
            raise TimeUp
        signal.setitimer(signal.ITIMER_REAL, rest)

    before = signal.signal(signal.SIGALRM, ring)
    start = time.monotonic()
    rest, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)
        if rest:
            rest = max(rest - (time.monotonic() - start), 0.001)
            signal.setitimer(signal.ITIMER_REAL, rest, interval)


@contextlib.contextmanager
def limit_by_thread(seconds: float) -> Iterator[None]:
    """The way elsewhere: a second thread interrupts between two steps of Python."""
    target = ctypes.c_ulong(threading.get_ident())
    left = countdown(seconds)
    lock, over = threading.Lock(), threading.Event()

    def wait():
        while rest := left():
            if over.wait(rest):
                return
        with lock:
            if not over.is_set():
                error = ctypes.py_object(TimeUp)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(target, error)

    threading.Thread(target=wait, daemon=True).start()
    try:
        yield
    finally:
        with lock:
            over.set()


def under_guard(put_questions: Callable, replies: dict) -> Hearing:
    """Run the questions under guard; replies is filled as far as they come.

    A ProblemError says that there is nothing to ask.
    """
    sink = Sink()
    problem = None
    try:
        with guarded(TIME_LIMIT, sink):
            put_questions()
    except TimeUp:
        problem = LATE
    except ProblemError as error:
        problem = error.problem
    return Hearing(replies, problem, sink.characters)
