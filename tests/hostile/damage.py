"""Submissions that try to damage the machine, the run, or what comes after them."""

from tests.hostile.kinds import LINE, Hostile

ENDED = "process ended"

KILLING = (
    Hostile("kills_the_first_process", "import os\nos.kill(1, 9)", "."),
    # The rest is ended with its parent, or a moment before that comes to its own end.
    Hostile("kills_its_parent", "import os\nos.kill(os.getppid(), 9)", "."),
    Hostile("kills_all", "import os\nos.kill(-1, 9)", "."),
    Hostile(
        "stops_its_parent",
        "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)",
        ".",
    ),
    Hostile(
        "threads_that_go_on",
        """
import threading, time
def go_on():
    while True: time.sleep(0.01)
for _ in range(20): threading.Thread(target=go_on).start()
""",
        ".",
    ),
    Hostile(
        "fork_bomb",
        """
import os
while True:
    try: os.fork()
    except OSError: pass
""",
        "more than 40 processes",
    ),
)

ENDLESS = (  # their time alone ends them
    Hostile(
        "stops_itself",
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
        "did not finish within",
    ),
    Hostile(
        "daemons_that_hold_the_line",
        LINE
        + """
import time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                time.sleep(0.3)
                tell({"catalogue?": True})
        os._exit(0)
os._exit(0)
""",
        "did not finish within|more than 500 messages",
    ),
    Hostile(
        "never_ends_and_hears_no_signal",
        """
import itertools, signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
sum(itertools.count())
""",
        "did not finish within",
    ),
    Hostile(
        "an_answer_that_never_ends",
        "def attention(q, k, v):\n    while True: pass",
        "did not finish within",
    ),
)

FILLING = (
    Hostile(
        "memory_of_one_process",
        "kept = []\nwhile True: kept.append(bytearray(2**28))",
        "MemoryError|GiB of memory|process ended",
    ),
    Hostile(
        "memory_of_many_processes",
        """
import os, time
for _ in range(7):
    if os.fork() == 0: break
kept = bytearray(b"1") * 2**28
time.sleep(100)
""",
        "GiB of memory",
    ),
    Hostile(
        "memory_that_is_shared",
        """
import mmap, time
kept = []
for _ in range(12):
    kept.append(mmap.mmap(-1, 2**28))
    for place in range(0, 2**28, 4096): kept[-1][place] = 1
time.sleep(100)
""",
        "GiB of memory",
    ),
    Hostile(
        "memory_behind_a_talk",
        LINE
        + """
import time
kept = []
while True:
    kept.append(b"1" * 2**26)
    line.sendall(b"\\0" if len(kept) < 2 else b" ")
    time.sleep(0.02)
""",
        "GiB of memory|MemoryError|no JSON|bytes",
    ),
    Hostile(
        "memory_in_files_without_a_name",
        """
import os
kept = []
while True:
    kept.append(os.memfd_create("left"))
    os.write(kept[-1], b"1" * 2**24)
""",
        "raised (PermissionError|OSError)",
    ),
    Hostile(
        "memory_that_outlives_its_process",
        """
import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
made = [libc.shmget(7 + i, 2**26, 0o1666) for i in range(30)]
assert min(made) >= 0, "no shared memory"
""",
        "raised AssertionError: no shared memory",
    ),
    Hostile(
        "messages_that_outlive_their_process",
        """
import ctypes
libc = ctypes.CDLL(None)
made = libc.msgget(7, 0o1666), libc.semget(7, 1, 0o1666)
queue = libc.mq_open(b"/left", 0o102, 0o666, None)
assert max(*made, queue) >= 0, "no queue"
""",
        "raised AssertionError: no queue",
    ),
    Hostile(
        "keys_that_outlive_their_process",
        """
import ctypes
libc = ctypes.CDLL(None)
ADD_KEY = {"x86_64": 248, "aarch64": 217}[__import__("platform").machine()]
made = libc.syscall(ADD_KEY, b"user", b"left", b"points", 6, -4)
assert made > 0, "no key"
""",
        "raised AssertionError: no key",
    ),
    Hostile(
        "the_disk",
        """
import os
try:
    for i in range(100):
        with open(f"/scratch/left-{i}", "wb") as file: file.write(b"1" * 2**24)
finally:
    open("/course/left", "w")
""",
        "Read-only|No space",
    ),
    Hostile(
        "files_that_are_hard_to_remove",
        """
import os
os.makedirs("/scratch/left/shut/inner")
for name in (b"\\xff\\xfe", b"\\n", b"-rf", "\\u202e".encode()):
    open(b"/scratch/left/shut/" + name, "w").close()
    os.symlink("/", b"/scratch/left-link" + name)
os.mkfifo("/scratch/left/pipe")
os.chmod("/scratch/left/shut/inner", 0)
os.chmod("/scratch/left/shut", 0)
os.chmod("/scratch/left", 0)
os.chmod("/scratch", 0)
""",
        ".",
    ),
    Hostile(
        "folders_in_folders",
        """
import os
for _ in range(3000):
    os.mkdir("left")
    os.chdir("left")
""",
        ".",
    ),
    Hostile(
        "many_open_files",
        """
import os
while True: os.open("/dev/null", os.O_RDONLY)
""",
        "OSError: .*Too many open files",
    ),
    Hostile(
        "much_output",
        """
import os, sys
for _ in range(50):
    print("x" * 2**20)
    print("x" * 2**20, file=sys.stderr)
    os.write(1, b"x" * 2**20)
    os.write(2, b"x" * 2**20)
def attention(q, k, v):
    print("x" * 10**7)
""",
        "printed|returns none",
    ),
    Hostile(
        "torch_for_all_who_follow",
        """
import vit_encoder.check.hearing.asking as asking
torch.softmax = torch.Tensor.softmax = None
adapter.ask_all = adapter.read_numbers = None
""",
        "raised|not callable",
        earned={"one_query": 1},
    ),
)

AFTER_ME = (  # what would take something from the next submission
    Hostile(
        "takes_memory_from_its_parent",
        """
import os, resource
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.prlimit(os.getppid(), resource.RLIMIT_AS, (used, used))
resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (12, 12))
os.sched_setaffinity(os.getppid(), {0})
""",
        ".",
    ),
    Hostile(
        "takes_rights_from_files_to_come",
        """
import os, struct
entries = [(1, 0, 2**32 - 1), (4, 0, 2**32 - 1), (32, 0, 2**32 - 1)]
rights = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)
os.setxattr("/scratch", "system.posix_acl_default", rights)
""",
        ".",
    ),
    Hostile("spaces", " " * 100_000, "."),
)
