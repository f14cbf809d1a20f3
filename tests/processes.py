"""What tests of processes share: to wait for what happens, whatever else runs."""

import time
from collections.abc import Callable, Iterable

import psutil

PATIENCE = 600  # seconds: a last resort, that a busy machine does not reach


def wait_until(true: Callable[[], object]) -> None:
    """Look again and again."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def runs(process: psutil.Process) -> bool:
    """It has not ended. One that has may wait for the machine's first process."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_ended(processes: Iterable[psutil.Process]) -> None:
    """Until none of them runs."""
    wait_until(lambda: not any(map(runs, processes)))
