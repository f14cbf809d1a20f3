"""The process in the sandbox: imports torch once, then forks one child a submission.

It speaks with the marking process over a socket that it is started with. The child gets
a socket of its own, runs the cells, and sends what the answers say. When the marking
process ends a submission, everything that it started is killed and its files are
removed, before the next one begins.
"""

import array
import contextlib
import ctypes
import gc
import importlib
import os
import resource
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from pkgutil import iter_modules

from vit_encoder.check.hearing.data import Hearing, Problem
from vit_encoder.grade.shell import Shell
from vit_encoder.grade.syscalls import deny
from vit_encoder.grade.wire import MAX_FRAME, Line, encode, packed

MEMORY = 4 * 2**30  # bytes that a process may take beyond what torch has
LIMITS = {  # for each process of a submission
    resource.RLIMIT_CPU: 60,  # seconds
    resource.RLIMIT_FSIZE: 32 * 2**20,
    resource.RLIMIT_NOFILE: 128,  # what waits in sockets counts nowhere as memory
    resource.RLIMIT_NPROC: 64,
    resource.RLIMIT_CORE: 0,
}
MOST_FILES = 5000  # they count nowhere as memory either
PAUSE = 0.2  # seconds between two looks at them
ACL = "system.posix_acl_default"  # the rights that files to come will have
SETTINGS = (  # of the kernel: what one process can set for another, or for all of them
    *(f"/proc/self/{n}" for n in ("autogroup", "oom_score_adj", "coredump_filter")),
    *(f"/proc/sys/kernel/{n}" for n in ("pid_max", "threads-max", "shmmax", "msgmax")),
    "/proc/sys/fs/mqueue/queues_max",
    "/proc/self/mounts",
)
ISOLATED = "isolated"  # the argument that says that nothing else runs beside it
TOO_LARGE = Problem("too-large", "What it returned is too large to be looked at.")
SHARED = Path("/dev/shm")  # where processes of PyTorch's DataLoader pass tensors on
LARGE_PAGE = 2**21  # bytes; what is shorter stays as it is
COLLAPSE = 25  # for madvise: small pages become large ones
NOT_DUMPABLE = (4, 0)  # prctl: no other process may look into this one
OFTEN_NEEDED = (  # what notebooks and what hears them import, so that no child does
    *("cloudpickle", "matplotlib.backends.backend_agg", "PIL.features"),
    *("safetensors.torch", "torch.utils.serialization.config"),
    *("torch._subclasses.schema_check_mode", "xml.etree.ElementTree"),
    *("vit_encoder.exploring", "vit_encoder.foreign", "vit_encoder.loading"),
    *("torch.utils.flop_counter", "vit_encoder.figures.table"),
    *("vit_encoder.figures.training", "vit_encoder.training_runs"),
)


def main() -> None:
    """Serve submissions until the marking process is gone."""
    control = socket.socket(fileno=int(sys.argv[1]))
    isolated = sys.argv[2] == ISOLATED
    ctypes.CDLL(None).prctl(*NOT_DUMPABLE, 0, 0, 0)
    prepare(sys.argv[3:])
    before = standing()
    Line(control).send({"ready": True})
    while True:
        message, descriptors = receive_with_socket(control)
        if message != b"begin":
            return
        channel = socket.socket(fileno=descriptors[0])
        child = os.fork()
        if child == 0:
            control.close()
            attend(channel)
        channel.close()
        too_many = watch_files(control, child, isolated)
        if control.recv(5) != b"end":
            return
        clean(child, isolated)
        same = standing() == before
        told = {"clean": same and is_clean(isolated), "too many files": too_many}
        Line(control).send(told)


def watch_files(control: socket.socket, child: int, isolated: bool) -> bool:
    """Wait for a word. True if a submission was ended since it had too many files."""
    too_many = False
    while not select.select([control], [], [], PAUSE)[0]:
        if isolated and not too_many and any(map(is_crowded, folders())):
            too_many = True
            kill(child, isolated)
    return too_many


def is_crowded(folder: Path) -> bool:
    """It holds more files than a submission needs, links and folders counted."""
    room = os.statvfs(folder)
    return room.f_files - room.f_ffree > MOST_FILES


def standing() -> tuple:
    """What the system grants this process, and a submission can take from it."""
    kinds = sorted(n for n in dir(resource) if n.startswith("RLIMIT_"))
    return (
        [resource.getrlimit(getattr(resource, kind)) for kind in kinds],
        os.getpriority(os.PRIO_PROCESS, 0),
        os.sched_getscheduler(0),
        os.sched_getparam(0).sched_priority,
        os.sched_getaffinity(0),
        os.getsid(0),
        os.getpgid(0),
        signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        [setting(name) for name in SETTINGS],
    )


def setting(name: str) -> str:
    """What a file of the kernel says, or "" where there is none."""
    with contextlib.suppress(OSError):
        return Path(name).read_text()
    return ""


def receive_with_socket(control: socket.socket) -> tuple[bytes, list[int]]:
    """A word, and the socket that came with it."""
    size = array.array("i").itemsize
    message, ancillary, _, _ = control.recvmsg(5, socket.CMSG_SPACE(size))
    descriptors = array.array("i")
    for _level, _kind, data in ancillary:
        descriptors.frombytes(data[:size])
    return message, list(descriptors)


def prepare(packages: list[str]) -> None:
    """What every submission needs, loaded once; nothing that starts a thread.

    packages: further modules that many submissions need.
    """
    import matplotlib.pyplot  # noqa: F401
    import torch

    import vit_encoder
    import vit_encoder.check
    import vit_encoder.data
    import vit_encoder.figures
    from vit_encoder.check import hearing
    from vit_encoder.check.hearing.guard import load_meta

    load_meta()
    for part in vit_encoder.__all__:
        getattr(vit_encoder, part)  # its module is imported now
    hears = [f"{hearing.__name__}.{m.name}" for m in iter_modules(hearing.__path__)]
    for name in (*hears, *OFTEN_NEEDED):
        importlib.import_module(name)
    for package in packages:
        try:
            importlib.import_module(package)
        except Exception as error:
            sys.exit(f"{package} cannot be imported: {one_line(error)}")
        if len(os.listdir("/proc/self/task")) > 1:  # a fork would not have the others
            sys.exit(f"{package} starts threads when it is imported: leave it out")
    torch.set_num_threads(1)
    # A collection in a child would touch, and so copy, all that is loaded here.
    gc.collect()
    gc.freeze()
    use_large_pages()


def use_large_pages() -> None:
    """Put this process's memory into large pages where the system has any.

    A fork then copies some hundred entries of the page table instead of 60 000.
    """
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    with contextlib.suppress(OSError):  # of a system without /proc
        for line in Path("/proc/self/maps").read_text().splitlines():
            place, rights, _, _, file, *_ = line.split(maxsplit=5)
            start, end = (int(n, 16) for n in place.split("-"))
            start = -(-start // LARGE_PAGE) * LARGE_PAGE
            if rights == "rw-p" and file == "0" and end - start >= LARGE_PAGE:
                advise(start, (end - start) // LARGE_PAGE * LARGE_PAGE, COLLAPSE)


def attend(channel: socket.socket) -> None:
    """Run one submission in this child, and leave."""
    code = 1
    try:
        restrain()
        run_notebook(channel)
        code = 0
    finally:
        os._exit(code)


def restrain() -> None:
    """Limits, a group of its own, and no terminal."""
    os.setsid()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = {resource.RLIMIT_AS: pages * resource.getpagesize() + MEMORY}
    for limit, value in (memory | LIMITS).items():
        _, most = resource.getrlimit(limit)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (value, value))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.chdir(scratch())
    with contextlib.suppress(OSError):  # where memory is short, this goes first
        Path("/proc/self/oom_score_adj").write_text("1000")
    deny()


def run_notebook(channel: socket.socket) -> None:
    """Run the cells one after the other; an exception ends its cell alone."""
    from vit_encoder.check import WAITING, begin_cell, check, hear_waiting, open_line

    line, heard = Line(channel), set()

    def ask(message: dict) -> dict:
        line.send(message)
        return line.receive()

    def tell(id: str, hearing: object) -> None:
        heard.add(id)
        message = packed({"heard": id, "hearing": encode(hearing)})
        if len(message) > MAX_FRAME:
            message = packed({"heard": id, "hearing": encode(Hearing({}, TOO_LARGE))})
        line.send(message)

    open_line(ask, tell)
    sys.path.insert(0, str(scratch()))  # as Jupyter does with the notebook's folder
    told, answers = line.receive(), {}
    shell = Shell(told["seconds"])
    for number, cell in enumerate(told["cells"], 1):
        line.send({"cell": number})
        begin_cell()
        error = shell.run(cell["source"], number)
        problem = one_line(error) if error else ""
        if problem:
            line.send({"problem": problem})
        if cell["answer"] and problem and cell["answer"] not in shell.namespace:
            line.send({"broken": cell["task"], "problem": problem})
        elif cell["answer"]:
            answers[cell["task"]] = shell.namespace.get(cell["answer"])

    def report(work: Callable, *arguments: object) -> None:
        try:
            work(*arguments)
        except BaseException as error:
            line.send({"problem": one_line(error)})

    for id, answer in answers.items():
        if id not in heard | WAITING.keys():
            line.send({"unchecked": id})
            report(check, id, answer)
    for id in WAITING:
        report(hear_waiting, id)
    line.send({"done": True})


def one_line(error: BaseException) -> str:
    """An exception as its class and what it says."""
    text = ""
    with contextlib.suppress(BaseException):
        text = " ".join(str(error).split())[:160]
    name = type.__dict__["__name__"].__get__(type(error))  # whatever its class says
    return f"{name}: {text}" if text else name


def kill(child: int, isolated: bool) -> None:
    """Kill all that a submission started."""
    everything = isolated and sandboxed()
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1 if everything else child, signal.SIGKILL)
    if not everything:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)


def clean(child: int, isolated: bool) -> None:
    """Kill all that a submission started, and remove what it wrote."""
    kill(child, isolated)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    for folder in folders():
        empty(folder)


def empty(folder: Path) -> None:
    """Remove what lies in a folder, and the rights that it was given."""
    folder.chmod(0o700)
    for name in os.listxattr(folder):
        with contextlib.suppress(OSError):
            os.removexattr(folder, name)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            make_removable(path)
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def make_removable(folder: Path) -> None:
    """Folders that may not be entered may not be emptied either."""
    folder.chmod(0o700)
    for path, folders, _ in os.walk(folder):
        for name in folders:
            if not os.path.islink(os.path.join(path, name)):
                os.chmod(os.path.join(path, name), 0o700)


def is_clean(isolated: bool) -> bool:
    """No process but this one and the sandbox's own, and no file."""
    if any(any(f.iterdir()) or ACL in os.listxattr(f) for f in folders()):
        return False
    if not isolated:
        return True
    for _ in range(50):  # a killed process of another parent is gone in a moment
        others = [p for p in os.listdir("/proc") if p.isdigit()]
        if set(map(int, others)) <= {os.getpid()}:
            return True
        time.sleep(0.02)
    return False


def sandboxed() -> bool:
    """This process is the first of a namespace, where it may kill all others.

    That it was asked for is not enough, as what it started may live on without it.
    """
    return os.getpid() == 1


def scratch() -> Path:
    """The folder of a submission's own files."""
    return Path(os.environ["TMPDIR"])


def folders() -> list[Path]:
    """All that can be written to and is a submission's own."""
    return [scratch(), *([SHARED] if sandboxed() else [])]


if __name__ == "__main__":
    main()
