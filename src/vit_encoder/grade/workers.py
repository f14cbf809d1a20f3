"""Mark many submissions: in several processes of this machine, or on a Dask cluster."""

import contextlib
import ctypes
import functools
import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.util import Finalize

import torch

from vit_encoder.grade.mark import Marker
from vit_encoder.grade.outcome import Outcome, Submission
from vit_encoder.grade.packages import NotInstalled, modules_of
from vit_encoder.grade.sandbox import USUAL, Limits, Sandbox, SandboxError
from vit_encoder.grade.submissions import Entry, read_submission

AHEAD = 4  # submissions for each worker that wait in its queue
DIE_WITH_PARENT = (1, 9)  # prctl: SIGKILL when the process that started this one ends
MARKERS: dict["Settings", Marker] = {}  # of this process; one at most
LOCK = threading.Lock()  # torch's random numbers and threads belong to the process

Submit = Callable[[Entry], Future]
Workers = tuple[Submit, int]  # with how many submissions to keep under way


@dataclass(frozen=True)
class Settings:
    """How a run marks: all that a marking process must know.

    seed: of the random inputs. isolated: mark in a sandbox. limits: of each submission.
    packages: that many notebooks use, by name.
    """

    seed: int
    isolated: bool = True
    limits: Limits = USUAL
    packages: tuple[str, ...] = ()


def mark_all(
    entries: Iterable[Entry], workers: Callable[[], AbstractContextManager[Workers]]
) -> Iterator[Outcome]:
    """Mark submissions; the outcomes come as they are made.

    workers: opens what marks, `local_workers` or `dask_workers`. What was under way
    where a process ended unasked is tried once more, one at a time, so that only what
    ends its process is lost. Raises SandboxError if a sandbox is wanted and none
    starts, ConnectionError if a cluster is gone.
    """
    suspects, lost_again = [], []
    yield from mark_each(entries, workers, suspects)
    yield from mark_each(suspects, workers, lost_again, most=1)
    for entry in lost_again:
        yield lost(entry, "The marking process ended, each time.")


def mark_each(
    entries: Iterable[Entry],
    workers: Callable[[], AbstractContextManager[Workers]],
    ended: list[Entry],
    most: int | None = None,
) -> Iterator[Outcome]:
    """Mark with workers that are opened again when they are gone.

    ended: gets what was under way where a process ended. most: under way at a time.
    """
    waiting = deque(entries)
    while waiting:
        with workers() as (submit, ahead):
            yield from flow(submit, most or ahead, waiting, ended)


def flow(
    submit: Submit, ahead: int, waiting: deque[Entry], ended: list[Entry]
) -> Iterator[Outcome]:
    """Keep so many submissions under way, until all are marked or the workers gone."""
    pending: dict[Future, Entry] = {}
    gone = False
    while pending or (waiting and not gone):
        while waiting and len(pending) < ahead and not gone:
            try:
                future = submit(waiting[0])
            except BrokenProcessPool:
                gone = True
            else:
                pending[future] = waiting.popleft()
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in [future for future in pending if future in done]:
            entry = pending.pop(future)
            try:
                yield future.result()
            except BrokenProcessPool:
                ended.append(entry)


@contextlib.contextmanager
def local_workers(settings: Settings, count: int) -> Iterator[Workers]:
    """Processes of this machine, each with a sandbox of its own.

    An error in the block, or Ctrl-C, ends them at once.
    """
    executor = ProcessPoolExecutor(
        count,
        multiprocessing.get_context("spawn"),
        initializer=end_with_parent,
        initargs=(os.getpid(),),
    )
    others = set(multiprocessing.active_children())

    def submit(entry: Entry) -> Future:
        with no_ctrl_c():  # this may start a process
            return executor.submit(read_and_mark, entry, settings)

    try:
        yield submit, AHEAD * count
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def dask_workers(settings: Settings, address: str) -> Iterator[Workers]:
    """The workers of a Dask cluster that runs, each with a sandbox of its own.

    A submission is read here, so that the workers need none of its files. What a worker
    that ends has not finished is done by another.
    """
    from distributed import Client

    # What goes wrong is raised, and said in one line.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        client = Client(address, set_as_default=False)
    except ValueError as error:  # no address
        raise ConnectionError(str(error)) from error
    with client:
        executor = client.get_executor(pure=False)

        def submit(entry: Entry) -> Future:
            told = Future()
            done = executor.submit(mark_read, read_submission(entry), settings)
            done.add_done_callback(functools.partial(pass_on, told=told))
            return told

        yield submit, AHEAD * max(1, len(client.nthreads()))
        executor.shutdown()
        client.run(end_marker)


def pass_on(done: Future, told: Future) -> None:
    """Tell what a cluster said in the words of `flow`."""
    from distributed import KilledWorker

    if done.cancelled():  # by Dask itself
        text = "the Dask cluster is gone; the same command goes on from here"
        told.set_exception(ConnectionError(text))
    elif isinstance(done.exception(), KilledWorker):
        told.set_exception(BrokenProcessPool())
    elif done.exception():
        told.set_exception(done.exception())
    else:
        told.set_result(done.result())


@contextlib.contextmanager
def no_ctrl_c() -> Iterator[None]:
    """Hold Ctrl-C back; a process that is started meanwhile never gets it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent(parent: int) -> None:
    """Let the system end this process when the one that started it ends."""
    with contextlib.suppress(AttributeError):  # Linux alone has it
        ctypes.CDLL(None).prctl(*DIE_WITH_PARENT, 0, 0, 0)
    if os.getppid() != parent:  # it ended before that
        os._exit(1)


def read_and_mark(entry: Entry, settings: Settings) -> Outcome:
    """Read and mark one submission."""
    return mark_read(read_submission(entry), settings)


def mark_read(submission: Submission, settings: Settings) -> Outcome:
    """Mark a submission in this process, in a sandbox that it keeps.

    An Outcome comes back whatever happens. SandboxError if none starts for the first
    submission of this process, as where the installation is broken.
    """
    with LOCK:
        own = marker(settings)
        try:
            return own.mark(submission)
        except SandboxError as error:  # not the first: a machine with much to do
            return lost(submission, str(error))
        except Exception as error:
            return lost(submission, f"The marking failed: {type(error).__name__}.")


def marker(settings: Settings) -> Marker:
    """The marker of this process; its sandbox ends with the process.

    One at a time: a process of a cluster sees many runs.
    """
    if settings not in MARKERS:
        end_markers()
        torch.set_num_threads(1)
        try:
            packages = modules_of(settings.packages)
        except NotInstalled as error:  # on a machine of a cluster
            raise SandboxError(str(error)) from None
        sandbox = Sandbox(
            isolated=settings.isolated, limits=settings.limits, packages=packages
        )
        sandbox.start()
        MARKERS[settings] = Marker(settings.seed, sandbox)
        Finalize(None, end_markers, exitpriority=10)
    return MARKERS[settings]


def end_markers() -> None:
    """End the sandbox that this process has, if any."""
    while MARKERS:
        _, ended = MARKERS.popitem()
        ended.sandbox.stop()


def end_marker() -> None:
    """The same at the end of a run on a cluster, unless another run is using it."""
    if LOCK.acquire(blocking=False):
        try:
            end_markers()
        finally:
            LOCK.release()


def lost(thing: Entry | Submission, note: str) -> Outcome:
    """The outcome of a submission that could not be marked at all."""
    return Outcome(thing.path, thing.student, "", "", "failed", (), note)
