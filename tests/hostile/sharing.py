"""Submissions that change what the sandbox shares, for those who are marked after them.

An honest notebook is marked before and after each, in the same warm sandbox.
"""

from tests.hostile.kinds import LINE, Hostile

NOT_THERE = "Read-only|Permission|No such"  # what a refused file says
CALL = """
import ctypes, os, platform, struct
libc = ctypes.CDLL(None, use_errno=True)
PARENT = os.getppid()
def call(x86, arm, *arguments):
    number = {"x86_64": x86, "aarch64": arm}[platform.machine()]
    return libc.syscall(number, *arguments)
def refused(result):
    assert result < 0, "it was allowed"
    raise PermissionError(ctypes.get_errno(), "refused")
"""

STAY = """
def stay(work):
    "Go on in a process that outlives this one, if it can."
    import os, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            work()
            time.sleep(600)
        os._exit(0)
    time.sleep(0.2)
"""


def sysctl(name: str, value: str) -> Hostile:
    """Changes a setting of the kernel."""
    source = f"open('/proc/sys/{name}', 'w').write('{value}')"
    return Hostile(
        f"sets_{name.split('/')[-1]}", source, "Read-only|Permission|No such"
    )


SHARING = (
    # Settings that hold for a whole namespace.
    sysctl("kernel/pid_max", "301"),
    sysctl("kernel/ns_last_pid", "4194000"),
    sysctl("kernel/shmmax", "0"),
    sysctl("fs/mqueue/queues_max", "0"),
    sysctl("net/ipv4/ip_local_port_range", "1025 1026"),
    sysctl("user/max_inotify_instances", "0"),
    Hostile(
        "writes_pressure",
        "open('/proc/pressure/memory', 'r+').write('some 150000 1000000')",
        NOT_THERE,
    ),
    # Limits and the scheduler.
    Hostile(
        "is_nice_for_all",
        "import os\nos.setpriority(os.PRIO_USER, os.getuid(), 19)\n"
        "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
        ".",
    ),
    Hostile(
        "makes_its_parent_idle",
        CALL + "os.sched_setscheduler(PARENT, os.SCHED_IDLE, os.sched_param(0))",
        ".",
    ),
    Hostile(
        "idle_disk_for_all",
        CALL
        + "call(251, 30, 3, os.getuid(), 3 << 13)\ncall(251, 30, 1, PARENT, 3 << 13)",
        ".",
    ),
    Hostile(
        "no_processes_for_its_parent",
        "import os, resource as r\n"
        "for k in (r.RLIMIT_NPROC, r.RLIMIT_DATA, r.RLIMIT_STACK, r.RLIMIT_FSIZE):\n"
        "    r.prlimit(os.getppid(), k, (1, 1))",
        ".",
    ),
    Hostile(
        "autogroup_of_its_parent",
        "import os\nopen(f'/proc/{os.getppid()}/autogroup', 'w').write('19')",
        NOT_THERE,
    ),
    Hostile(
        "first_to_be_killed",
        "import os\nopen(f'/proc/{os.getppid()}/oom_score_adj', 'w').write('1000')",
        NOT_THERE,
    ),
    # Signals, timers, waiting.
    Hostile(
        "signals_to_its_parent",
        "import os, signal, time\n"
        "for s in set(signal.Signals) - {signal.SIGKILL}:\n"
        "    try: os.kill(os.getppid(), s)\n"
        "    except OSError: pass\n"
        "time.sleep(0.2)",
        ".",
    ),
    Hostile(
        "timers_that_go_on",
        STAY
        + """
import os, signal
def work():
    signal.signal(signal.SIGALRM, lambda *_: os.kill(-1, signal.SIGSTOP))
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.1)
stay(work)
""",
        ".",
    ),
    Hostile(
        "children_that_nobody_waits_for",
        "import os\nfor _ in range(30):\n    if os.fork() == 0: os._exit(0)",
        ".",
    ),
    # Locks and watches.
    Hostile(
        "locks_the_course",
        STAY
        + """
import fcntl, glob
def work():
    global kept
    kept = [open(f) for f in glob.glob("/course/**/*.py", recursive=True)]
    for f in kept: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
stay(work)
""",
        ".",
    ),
    Hostile(
        "watches_to_the_last",
        CALL
        + STAY
        + """
def work():
    global kept
    kept = [libc.inotify_init1(0) for _ in range(200)]
    for fd in kept: libc.inotify_add_watch(fd, b"/scratch", 0xfff)
stay(work)
""",
        ".",
    ),
    Hostile(
        "all_terminals",
        STAY
        + """
import os
def work():
    global kept
    kept = []
    try:
        while True: kept.append(os.openpty())
    except OSError: pass
stay(work)
""",
        ".",
    ),
    Hostile(
        "names_that_stay_taken",
        STAY
        + """
import socket
def work():
    global kept
    kept = []
    for i in range(100):
        kept.append(socket.socket(socket.AF_UNIX))
        kept[-1].bind(f"\\0left-{i}")
stay(work)
""",
        ".",
    ),
    # Memory that belongs to no process, keys, other families of sockets.
    Hostile(
        "shared_memory_that_stays",
        """
import os
os.mkdir("/dev/shm/left")
with open("/dev/shm/left/all", "wb") as file:
    while True: file.write(b"1" * 2**20)
""",
        "No space|too large",
    ),
    Hostile(
        "shared_memory_that_is_shut",
        "import os\nos.mkdir('/dev/shm/shut')\nos.chmod('/dev/shm/shut', 0)\n"
        "os.chmod('/dev/shm', 0)",
        ".",
    ),
    Hostile(
        "memory_in_sockets",
        """
import socket
kept = []
try:
    while True:
        kept.append(socket.socketpair())
        kept[-1][0].setblocking(False)
        try:
            while True: kept[-1][0].send(b"1" * 2**16)
        except BlockingIOError: pass
finally:
    assert len(kept) < 200, len(kept)
""",
        "Too many open files",
    ),
    Hostile(
        "files_without_end",
        "i = 0\nwhile True:\n    i += 1\n    open(f'/scratch/{i}', 'w').close()",
        "more files",
    ),
    Hostile(
        "links_without_end",
        "import os\nfor i in range(10**6): os.symlink('/', f'/dev/shm/{i}')",
        "more files",
    ),
    Hostile("a_ring_of_keys", CALL + "refused(call(250, 219, 1, b'left'))", "refused"),
    Hostile(
        "speaks_with_the_machine_below",
        "import socket\nsocket.socket(40, socket.SOCK_STREAM)",
        "PermissionError",
    ),
    Hostile(
        "packets",
        "import socket\nsocket.socket(17, socket.SOCK_RAW)",
        "PermissionError",
    ),
    # Files' metadata.
    Hostile(
        "marks_that_stay_on_a_folder",
        CALL
        + """
import fcntl
folder = os.open("/scratch", os.O_RDONLY)
for flag in (0x40, 0x10, 0x20):
    try: fcntl.ioctl(folder, 0x40086602, struct.pack("l", flag))
    except OSError: pass
for name in ("user.left", "system.posix_acl_access", "trusted.left"):
    try: os.setxattr("/scratch", name, b"left")
    except OSError: pass
os.utime("/scratch", (0, 0))
os.chmod("/scratch", 0o7000)
""",
        ".",
    ),
    # Namespaces, and the parent itself.
    Hostile(
        "namespaces_of_its_own",
        CALL + "refused(libc.unshare(0x10000000))",
        "refused",
    ),
    Hostile(
        "mounts_over_the_course",
        CALL + "refused(libc.mount(b'none', b'/course', b'tmpfs', 0, None))",
        "refused",
    ),
    Hostile(
        "takes_its_parents_files",
        CALL
        + """
found = call(434, 434, PARENT, 0)
refused(call(438, 438, found, 3, 0))
""",
        "refused",
    ),
    Hostile(
        "opens_its_parents_files",
        "import os\nos.open(f'/proc/{os.getppid()}/fd/2', os.O_WRONLY)",
        "Permission|No such",
    ),
    Hostile(
        "writes_its_parents_memory",
        "import os\nos.open(f'/proc/{os.getppid()}/mem', os.O_RDWR)",
        "Permission|No such",
    ),
    Hostile(
        "says_that_all_is_clean",
        LINE + 'tell({"clean": True})\ntell({"ready": True})\nline.sendall(b"end")',
        ".",
    ),
)
