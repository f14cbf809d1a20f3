"""Mark many submissions: in several processes of this machine, or on a Dask cluster."""

import contextlib
import ctypes
import functools
import logging
import multiprocessing
import os
import signal
import threading
import time
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
from vit_encoder.grade.packages import NotInstalled, modules_of
from vit_encoder.grade.sandbox import USUAL, Limits, Sandbox, SandboxError
from vit_encoder.grade.submissions import Entry, read_submission

AHEAD = 4  # submissions for each worker that wait in its queue
MOST_OF_A_STUDENT = 600  # seconds that the files of one may take, all together
DIE_WITH_PARENT = (1, 9)  # prctl: SIGKILL when the process that started this one ends
MARKERS: dict["Settings", Marker] = {}  # of this process; one at most
LOCK = threading.Lock()  # torch's random numbers and threads belong to the process

TOO_MUCH = (
    f"Not marked: the files of this student that came before it took more than "
    f"{MOST_OF_A_STUDENT / 60:g} minutes. The same command goes on with the next ones."
)

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


@dataclass(frozen=True)
class Marked:
    """An outcome and what it took. hindered: others used the machine meanwhile."""

    outcome: Outcome
    seconds: float
    hindered: bool


def mark_all(
    entries: Iterable[Entry], workers: Callable[[], AbstractContextManager[Workers]]
) -> Iterator[Outcome]:
    """Mark submissions; the outcomes come as they are made.

    workers: opens what marks, `local_workers` or `dask_workers`. What was under way
    where a process ended unasked, or was hindered by others, is tried once more, one at
    a time, so that only what ends its process is lost. Of a student who has had
    MOST_OF_A_STUDENT, no more is marked. Raises SandboxError if a sandbox is wanted and
    none starts, ConnectionError if a cluster is gone.
    """
    spent: Counter[tuple[str, ...] | str] = Counter()
    suspects, lost_again = [], []
    yield from mark_each(entries, workers, suspects, spent)
    alone = [entry for entry, _ in suspects]
    yield from mark_each(alone, workers, lost_again, spent, most=1)
    yield from (outcome for _, outcome in lost_again)


def mark_each(
    entries: Iterable[Entry],
    workers: Callable[[], AbstractContextManager[Workers]],
    again: list[tuple[Entry, Outcome]],
    spent: Counter,
    most: int | None = None,
) -> Iterator[Outcome]:
    """Mark with workers that are opened again when they are gone.

    again: gets what should be tried once more, with the outcome that stands otherwise.
    spent: the seconds of each student. most: under way at a time.
    """
    waiting = deque(entries)
    while waiting:
        with workers() as (submit, ahead):
            yield from flow(submit, most or ahead, waiting, again, spent)


def flow(
    submit: Submit,
    ahead: int,
    waiting: deque[Entry],
    again: list[tuple[Entry, Outcome]],
    spent: Counter,
) -> Iterator[Outcome]:
    """Keep so many submissions under way, until all are marked or the workers gone.

    No two of one student, who so has no more of the machine than others, and is stopped
    in time.
    """
    pending: dict[Future, Entry] = {}
    gone = False
    while pending or (waiting and not gone):
        while len(pending) < ahead and not gone:
            entry = taken(waiting, {*map(student_of, pending.values())})
            if not entry:
                break
            if spent[student_of(entry)] > MOST_OF_A_STUDENT:
                yield lost(entry, TOO_MUCH)
                continue
            try:
                pending[submit(entry)] = entry
            except BrokenProcessPool:
                waiting.appendleft(entry)
                gone = True
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in [future for future in pending if future in done]:
            entry = pending.pop(future)
            try:
                marked = future.result()
            except BrokenProcessPool:
                text = "The marking process ended, each time."
                again.append((entry, lost(entry, text)))
                continue
            spent[student_of(entry)] += marked.seconds
            if marked.hindered:
                again.append((entry, marked.outcome))
            else:
                yield marked.outcome


def taken(waiting: deque[Entry], busy: set) -> Entry | None:
    """The first that waits and is of no student who has one under way, taken out."""
    for place, entry in enumerate(waiting):
        if student_of(entry) not in busy:
            del waiting[place]
            return entry
    return None


def student_of(entry: Entry) -> tuple[str, ...] | str:
    """Whose an entry is, or its path where nothing tells."""
    return entry.origin.key or entry.student or entry.path


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


def read_and_mark(entry: Entry, settings: Settings) -> Marked:
    """Read and mark one submission."""
    return mark_read(read_submission(entry), settings)


def mark_read(submission: Submission, settings: Settings) -> Marked:
    """Mark a submission in this process, in a sandbox that it keeps.

    An Outcome comes back whatever happens. SandboxError if none starts for the first
    submission of this process, as where the installation is broken.
    """
    with LOCK:
        own = marker(settings)
        begun, hindered = time.monotonic(), False
        try:
            outcome = own.mark(submission)
            hindered = own.hindered
        except SandboxError as error:  # not the first: a machine with much to do
            outcome, hindered = lost(submission, str(error)), True
        except Exception as error:
            outcome = lost(submission, f"The marking failed: {type(error).__name__}.")
        return Marked(outcome, time.monotonic() - begun, hindered)


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
