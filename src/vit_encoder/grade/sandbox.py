"""A sandbox with a warm process that runs submissions, one after the other.

bubblewrap shuts it off: no network, no home folder, nothing of the checks that knows
what is right, a root folder that cannot be written to. Inside runs `fork_server`, with
torch already imported.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from vit_encoder.check.hearing.guard import waited_for_a_core
from vit_encoder.grade.fork_server import ISOLATED, SHARED
from vit_encoder.grade.wire import Line, TimeOver, WireError

START = 600  # seconds for importing torch, on however busy a machine
LAST_RESORT = 10  # times the seconds of a submission; then it ends, whatever waited
PAUSE = 0.1  # seconds between two looks at what a submission uses
PACKAGE = Path(__file__).parents[1]
COURSE = "/course"  # where it stands in the sandbox
SCRATCH = "/scratch"  # this folder and SHARED can be written to there, no other
ROOM = 64 * 2**20  # bytes in each of them
SETTINGS = ("/proc/sys", "/proc/pressure")
INSIDE = {"PYTHONPATH": COURSE, "TMPDIR": SCRATCH, "HOME": SCRATCH}
SHOWN_OF_GRADE = tuple(
    f"{name}.py" for name in ("__init__", "syscalls", "wire", "shell", "fork_server")
)
HOW_TO_GET_ONE = (
    "On Debian or Ubuntu: sudo apt-get install bubblewrap. On other systems, run this "
    "in a Linux container or virtual machine. With --no-sandbox, code of students runs "
    "with all your rights: only for code that you have read."
)


LEAST_VERSION = (0, 8)  # of bubblewrap; the first that knows --disable-userns
HOW_TO_ALLOW_IT = (
    "Ubuntu 24.04 and later, and most containers, forbid what it needs: the page "
    '"For instructors" of the course says how to allow it. With --no-sandbox, code of '
    "students runs with all your rights: only for code that you have read."
)


class SandboxError(RuntimeError):
    """No sandbox can be had; the text says why, and how to get one."""


class Ended(Exception):  # noqa: N818, an outcome more than an error
    """A submission was ended before its last cell; the text says why."""


class Hindered(Ended):
    """It was ended since the machine had no time for it."""


@dataclass(frozen=True)
class Limits:
    """What a submission may use, all that it starts taken together.

    seconds: of computing, by all of its processes; and of the clock while it does not
    wait for a core that others use. cell: seconds of computing in one cell, which is
    then stopped, and the next goes on. memory: in bytes. messages, received: how many
    messages it may send, and bytes. cleaning: seconds until all of it is gone.
    """

    seconds: float = 60
    cell: float = 25
    memory: int = 6 * 2**30
    processes: int = 70
    messages: int = 500  # an honest one sends some forty
    received: int = 128 * 2**20
    cleaning: float = 10


USUAL = Limits()


class Sandbox:
    """A warm process in a sandbox. Use it as a context manager.

    isolated: if not, nothing is shut off. packages: modules that it imports, too.
    SandboxError if it does not start.
    """

    def __init__(
        self,
        *,
        isolated: bool = True,
        limits: Limits = USUAL,
        packages: Sequence[str] = (),
    ):
        self.isolated = isolated
        self.limits = limits
        self.packages = packages
        self.process: subprocess.Popen | None = None
        self.control: socket.socket | None = None
        self.folder: tempfile.TemporaryDirectory | None = None
        self.warm: list[psutil.Process] = []  # all that is there without a submission

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def start(self) -> None:
        """Start the warm process; where that fails, which may be chance, once more."""
        try:
            self.start_once()
        except SandboxError:
            self.start_once()

    def start_once(self) -> None:
        """Start the warm process, and wait until it has imported torch."""
        self.control, other = socket.socketpair()
        with other:
            if self.isolated:
                command = in_bubblewrap()
                self.process = launch(command, INSIDE, other, ISOLATED, self.packages)
            else:
                self.folder = tempfile.TemporaryDirectory(prefix="vit-encoder-")
                places = in_plain_folder(self.folder.name)
                self.process = launch([], places, other, "", self.packages)
        try:
            Line(self.control, time.monotonic() + START).receive()
        except (EOFError, TimeOver, WireError, OSError):
            said = self.process.stderr.read1(2000) if self.process.stderr else b""
            self.stop()
            reason = said.decode(errors="replace").strip() or "it ended at once"
            raise SandboxError(f"The sandbox did not start: {reason}") from None
        self.warm = below(self.process.pid)

    def stop(self, patience: float = 2) -> None:
        """End the process and all that it started. patience: seconds for it to end."""
        if self.process:
            self.control.close()  # at which it ends by itself, if it still can
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.process.stderr.close()
        if self.folder:
            self.folder.cleanup()
        self.process = self.folder = None

    def run(
        self, cells: list[dict], answer: Callable[[dict], dict | bytes | None]
    ) -> None:
        """Run the cells of one submission.

        answer: gets each message, gives what to say to it, or None. Raises Ended if the
        submission did not come to its end; the sandbox can be used again all the same.
        """
        channel, other = socket.socketpair()
        with channel:
            with other:
                self.begin(other)
            ended = None
            try:
                self.converse(channel, cells, answer)
            except Ended as error:
                ended = error
            finally:
                reason = self.clean()
        if reason or ended:
            raise Ended(reason) if reason else ended

    def begin(self, other: socket.socket) -> None:
        """Hand over the socket of a submission, to a new process if need be."""
        try:
            socket.send_fds(self.control, [b"begin"], [other.fileno()])
        except OSError:  # it has ended
            self.stop()
            self.start()
            socket.send_fds(self.control, [b"begin"], [other.fileno()])

    def converse(
        self, channel: socket.socket, cells: list[dict], answer: Callable
    ) -> None:
        """Send the cells, and answer until the submission says that it is done."""
        limits = self.limits
        watch = Watchman(self.process.pid, limits, self.warm)
        deadline = time.monotonic() + LAST_RESORT * limits.seconds
        line = Line(channel, deadline, watch.look, limits.received)
        try:
            line.send({"cells": cells, "seconds": limits.cell})
            while not (message := line.receive()).get("done"):
                said = answer(message)
                if said is not None:
                    line.send(said)
        except TimeOver:
            raise Hindered(watch.too_long()) from None
        except (EOFError, OSError):
            raise Ended("Its process ended before its last cell.") from None
        except WireError as error:
            raise Ended(f"It sent something else than an answer: {error}.") from None

    def clean(self) -> str:
        """Let the warm process end what is left; if that fails, end it whole.

        Why the warm process had ended the submission before, or "".
        """
        try:
            self.control.sendall(b"end")
            deadline = time.monotonic() + self.limits.cleaning
            told = Line(self.control, deadline).receive()
        except (EOFError, OSError, TimeOver, WireError):
            told = {}
        if told.get("clean") is not True:
            self.stop(patience=0)
        too_many = told.get("too many files") is True
        return "It made more files than a submission may." if too_many else ""


class Watchman:
    """Counts the processes below one, their memory and time. Raises Ended above limits.

    The limits of a process hold for each by itself; this is for all together.
    warm: the processes that were there before. To find them reads all of /proc.
    """

    def __init__(self, pid: int, limits: Limits, warm: Sequence[psutil.Process]):
        self.pid = pid
        self.limits = limits
        self.begun = time.monotonic()
        self.next = self.begun + PAUSE  # the time of the next look
        self.computed_before = sum(map(computed, warm))
        self.waited: dict[int, tuple[float, float]] = {}  # pid → at first, at last
        self.note_waiting(warm)

    def look(self) -> None:
        """Count, if the last time is a while ago."""
        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + PAUSE
        found = below(self.pid)
        if len(found) > self.limits.processes:
            text = f"It started more than {self.limits.processes} processes."
            raise Ended(text)
        # The exact count takes long, so only where the quick one is too high.
        if found and all(
            sum(map(count, found)) > self.limits.memory
            for count in (resident, proportional)
        ):
            most = self.limits.memory / 2**30
            raise Ended(f"It used more than {most:.3g} GiB of memory.")
        if sum(map(computed, found)) - self.computed_before > self.limits.seconds:
            raise Ended(f"It computed for more than {self.limits.seconds:g} seconds.")
        self.note_waiting(found)
        starved = max((last - first for first, last in self.waited.values()), default=0)
        if time.monotonic() - self.begun - starved > self.limits.seconds:
            raise Ended(self.too_long())

    def note_waiting(self, processes: Sequence[psutil.Process]) -> None:
        """Note how long each process has waited for a core by now."""
        for process in processes:
            waited = waited_for_a_core(process.pid)
            first, _ = self.waited.get(process.pid, (waited, waited))
            self.waited[process.pid] = first, waited

    def too_long(self) -> str:
        """That it did not finish."""
        return f"It did not finish within {self.limits.seconds:g} seconds."


def below(pid: int) -> list[psutil.Process]:
    """All processes that the warm one and a submission consist of."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def computed(process: psutil.Process) -> float:
    """Seconds of computing by a process and those that it has waited for."""
    with contextlib.suppress(psutil.Error):
        return sum(process.cpu_times()[:4])
    return 0.0


def resident(process: psutil.Process) -> int:
    """The memory of a process, with all that it shares with others."""
    with contextlib.suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def proportional(process: psutil.Process) -> int:
    """The memory of a process, what it shares divided among those that share it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        try:
            return process.memory_full_info().pss
        except psutil.AccessDenied:  # better too much than nothing
            return resident(process)
    return 0


def shown() -> list[tuple[Path, str]]:
    """What student code may see of the package: a file or folder, and its place."""
    modules = [(path, path.name) for path in sorted(PACKAGE.glob("*.py"))]
    folders = [(PACKAGE / n, n) for n in ("data", "figures", "check/hearing")]
    own = [(PACKAGE / "grade" / name, f"grade/{name}") for name in SHOWN_OF_GRADE]
    stand_in = PACKAGE / "grade" / "check_in_sandbox.py"
    return [*modules, *folders, *own, (stand_in, "check/__init__.py")]


def copy_shown(course: Path) -> None:
    """The same as files in a folder, for want of a sandbox."""
    for source, place in shown():
        target = course / PACKAGE.name / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)


def in_plain_folder(folder: str) -> dict[str, str]:
    """Where the course and a submission's files lie when nothing is shut off."""
    course, scratch = Path(folder, "course"), Path(folder, "scratch")
    copy_shown(course)
    scratch.mkdir()
    return {"PYTHONPATH": str(course), "TMPDIR": str(scratch), "HOME": str(scratch)}


def launch(
    before: list[str],
    places: dict[str, str],
    other: socket.socket,
    isolated: str,
    packages: Sequence[str],
) -> subprocess.Popen:
    """Start the warm process.

    before: a command that runs it. other: its socket. isolated: ISOLATED, or "".
    packages: modules that it imports.
    """
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "agg",
        "OMP_NUM_THREADS": "1",  # many small tensors, and as many processes as cores
        "OPENBLAS_NUM_THREADS": "1",
    }
    module = ["-m", "vit_encoder.grade.fork_server", str(other.fileno()), isolated]
    module += packages
    return subprocess.Popen(
        [*before, sys.executable, *module],
        pass_fds=[other.fileno()],
        env=environment | places,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        start_new_session=True,
    )


def in_bubblewrap() -> list[str]:
    """The command that shuts a program off. SandboxError if it cannot be had."""
    if shutil.which("bwrap") is None:
        raise SandboxError(f"bubblewrap is not installed. {HOW_TO_GET_ONE}")
    before = as_nobody() if os.geteuid() == 0 else []
    return [*before, *bubblewrap()]


def require_isolation() -> None:
    """Raise SandboxError if no sandbox can be had on this machine."""
    require_version()
    command = [*in_bubblewrap(), "/usr/bin/env", "true"]
    try:
        done = subprocess.run(command, capture_output=True, cwd="/", timeout=START)
        failed, said = done.returncode, done.stderr.decode(errors="replace").strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        failed, said = True, str(error)
    if failed:
        raise SandboxError(f"bubblewrap does not work here: {said}. {HOW_TO_ALLOW_IT}")


def require_version() -> None:
    """Raise SandboxError if bubblewrap says that it is too old."""
    if shutil.which("bwrap") is None:
        raise SandboxError(f"bubblewrap is not installed. {HOW_TO_GET_ONE}")
    command = [shutil.which("bwrap"), "--version"]
    try:
        said = subprocess.run(command, capture_output=True, timeout=START).stdout
    except (OSError, subprocess.TimeoutExpired):
        return  # the test of the sandbox says more
    found = re.search(rb"(\d+)\.(\d+)", said)
    if found and (int(found[1]), int(found[2])) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise SandboxError(
            f"expected bubblewrap {least} or later, which knows --disable-userns, got "
            f"{found[0].decode()}. {HOW_TO_GET_ONE}"
        )


def as_nobody() -> list[str]:
    """What comes before a command that root wants to run without being root.

    The limit on processes does not hold for root. A Python in root's own folder, which
    others may not enter, is put where they can.
    """
    command = [shutil.which("bwrap"), "--die-with-parent", "--dev-bind", "/", "/"]
    command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    folders = [*python_folders(), str(PACKAGE)]
    shut = {part for f in folders for part in Path(f).parents if not open_to_all(part)}
    for part in sorted(part for part in shut if not shut & set(part.parents)):
        command += ["--tmpfs", str(part)]
    for path in (Path(folder) for folder in folders):
        if shut & set(path.parents):
            for part in reversed(path.parents):
                command += ["--perms", "0755", "--dir", str(part)]
            command += ["--ro-bind", str(path), str(path)]
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    return [*command, *user]


def open_to_all(folder: Path) -> bool:
    """Every user may enter it."""
    return bool(folder.stat().st_mode & 0o001)


def bubblewrap() -> list[str]:
    """bubblewrap, with all that it shuts off and all that it lets in."""
    shut = "--unshare-all --unshare-user --disable-userns --die-with-parent "
    # With no process of bubblewrap's own inside, the warm process is the first one: no
    # other there can end it, or stand beside it and be changed.
    shut += "--new-session --cap-drop ALL --as-pid-1"
    command = [shutil.which("bwrap"), *shut.split(), "--ro-bind", "/usr", "/usr"]
    for name in ("lib", "lib64", "bin"):
        if Path(f"/{name}").is_symlink():
            command += ["--symlink", f"usr/{name}", f"/{name}"]
        elif Path(f"/{name}").exists():
            command += ["--ro-bind", f"/{name}", f"/{name}"]
    for path in python_folders():
        command += ["--ro-bind", path, path]
    for path in sorted({Path(sysconfig.get_path("purelib"), PACKAGE.name), PACKAGE}):
        # It holds what is right.
        if path.exists() and any(map(path.is_relative_to, ("/usr", *python_folders()))):
            command += ["--tmpfs", str(path), "--remount-ro", str(path)]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for part in SETTINGS:  # of the kernel; some hold for the whole sandbox, and stay
        command += ["--ro-bind-try", part, part]
    for folder in (str(SHARED), SCRATCH):
        command += ["--size", str(ROOM), "--tmpfs", folder]
    command += ["--remount-ro", "/dev"]
    if not any(Path(path).is_relative_to("/tmp") for path in python_folders()):
        command += ["--symlink", SCRATCH, "/tmp"]
    for source, place in shown():
        command += ["--ro-bind", str(source), f"{COURSE}/{PACKAGE.name}/{place}"]
    return [*command, "--remount-ro", "/", "--chdir", SCRATCH]


def python_folders() -> list[str]:
    """Where this Python and its packages lie, outside /usr."""
    prefixes = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix)}
    prefixes |= {prefix.resolve() for prefix in prefixes}
    return sorted(str(p) for p in prefixes if not p.is_relative_to("/usr"))
