"""Mark many submissions: in several processes of this machine, or on a Dask cluster."""

import contextlib
import ctypes
import functools
import multiprocessing
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.util import Finalize

import torch

from vit_encoder.grade.mark import Marker
from vit_encoder.grade.outcome import Outcome, Submission
from vit_encoder.grade.sandbox import USUAL, Limits, Sandbox, SandboxError
from vit_encoder.grade.submissions import Entry, read_submission

TRIES = 2  # of a submission during which a marking process ended
AHEAD = 4  # submissions for each worker that wait in its queue
DIE_WITH_PARENT = (1, 9)  # prctl: SIGKILL when the process that started this one ends
LOCK = threading.Lock()  # torch's random numbers and threads belong to the process

Submit = Callable[[Entry], Future]


@dataclass(frozen=True)
class Way:
    """How a run marks: all that a marking process must know.

    seed: of the random inputs. walls: mark in a sandbox. limits: of each submission.
    """

    seed: int
    walls: bool = True
    limits: Limits = USUAL


def mark_all(
    entries: Iterable[Entry], workers: Callable[[], AbstractContextManager[Submit]]
) -> Iterator[Outcome]:
    """Mark submissions; the outcomes come as they are made.

    workers: opens what marks, `local_workers` or `dask_workers`. Where processes end
    unasked they are opened again, and what they worked on is tried once more. Raises
    SandboxError if a sandbox is wanted and none starts.
    """
    waiting, tries = deque(entries), Counter()
    while waiting:
        pending: dict[Future, Entry] = {}
        with contextlib.suppress(BrokenProcessPool), workers() as (submit, ahead):
            yield from flow(submit, ahead, waiting, pending)
        for entry in pending.values():
            tries[entry] += 1
            if tries[entry] < TRIES:
                waiting.append(entry)
            else:
                yield lost(entry, "The marking process ended, each time.")


def flow(
    submit: Submit, ahead: int, waiting: deque[Entry], pending: dict[Future, Entry]
) -> Iterator[Outcome]:
    """Keep so many submissions under way. pending: those whose outcome is not known."""
    while waiting or pending:
        while waiting and len(pending) < ahead:
            future = submit(waiting[0])
            pending[future] = waiting.popleft()
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            outcome = future.result()
            del pending[future]
            yield outcome


@contextlib.contextmanager
def local_workers(way: Way, count: int) -> Iterator[tuple[Submit, int]]:
    """Processes of this machine, each with a sandbox of its own."""
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(count, context, initializer=end_with_parent)
    try:
        yield functools.partial(executor.submit, read_and_mark, way=way), AHEAD * count
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def dask_workers(way: Way, address: str) -> Iterator[tuple[Submit, int]]:
    """The workers of a Dask cluster that runs, each with a sandbox of its own.

    A submission is read here, so that the workers need none of its files. What a worker
    that ends has not finished is done by another.
    """
    from distributed import Client, KilledWorker

    with Client(address, set_as_default=False) as client:
        count = max(1, len(client.scheduler_info()["workers"]))
        executor = client.get_executor(pure=False)

        def submit(entry: Entry) -> Future:
            told = Future()

            def tell(done: Future) -> None:
                error = done.exception()
                if isinstance(error, KilledWorker):
                    told.set_result(lost(entry, "Every worker that marked it ended."))
                elif error:
                    told.set_exception(error)
                else:
                    told.set_result(done.result())

            submission = read_submission(entry)
            executor.submit(mark_read, submission, way).add_done_callback(tell)
            return told

        yield submit, AHEAD * count
        executor.shutdown()


def end_with_parent() -> None:
    """Let the system end this process when the one that started it ends."""
    with contextlib.suppress(AttributeError):  # Linux alone has it
        ctypes.CDLL(None).prctl(*DIE_WITH_PARENT, 0, 0, 0)


def read_and_mark(entry: Entry, way: Way) -> Outcome:
    """Read and mark one submission."""
    return mark_read(read_submission(entry), way)


def mark_read(submission: Submission, way: Way) -> Outcome:
    """Mark a submission in this process, in a sandbox that it keeps.

    An Outcome comes back whatever happens. SandboxError if no sandbox starts.
    """
    with LOCK:
        try:
            return marker(way).mark(submission)
        except SandboxError:
            raise
        except Exception as error:
            return lost(submission, f"The marking failed: {type(error).__name__}.")


@functools.cache
def marker(way: Way) -> Marker:
    """The marker of this process; its sandbox ends with the process."""
    torch.set_num_threads(1)
    sandbox = Sandbox(walls=way.walls, limits=way.limits).__enter__()
    Finalize(None, sandbox.stop, exitpriority=10)
    return Marker(way.seed, sandbox)


def lost(thing: Entry | Submission, note: str) -> Outcome:
    """The outcome of a submission that could not be marked at all."""
    return Outcome(thing.path, thing.student, "", "", "failed", (), note)
