"""Take away what would let a submission outlive its processes, or reach another one.

Shared memory, queues and keys of the kernel stay when a process ends, and files without
a name count nowhere as memory. Other calls look into a process, take its open files, or
speak with the machine below this one. No honest notebook needs them.
"""

import ctypes
import platform
import struct

# machine → its name for seccomp, the calls by number, and the numbers of socket and
# socketpair, from the kernel's tables.
DENIED = {
    "x86_64": (
        0xC000003E,
        {
            "memfd_create": 319,
            "memfd_secret": 447,
            "shmget": 29,
            "semget": 64,
            "msgget": 68,
            "mq_open": 240,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "ptrace": 101,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "process_madvise": 440,
            "pidfd_getfd": 438,
            "kcmp": 312,
            "io_uring_setup": 425,
            "perf_event_open": 298,
            "bpf": 321,
            "userfaultfd": 323,
            "fanotify_init": 300,
            "open_by_handle_at": 304,
        },
        (41, 53),
    ),
    "aarch64": (
        0xC00000B7,
        {
            "memfd_create": 279,
            "memfd_secret": 447,
            "shmget": 194,
            "semget": 190,
            "msgget": 186,
            "mq_open": 180,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
            "ptrace": 117,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "process_madvise": 440,
            "pidfd_getfd": 438,
            "kcmp": 272,
            "io_uring_setup": 425,
            "perf_event_open": 241,
            "bpf": 280,
            "userfaultfd": 282,
            "fanotify_init": 262,
            "open_by_handle_at": 265,
        },
        (198, 199),
    ),
}
# socket and socketpair of these families alone, by number: AF_UNIX, AF_INET, AF_INET6,
# AF_NETLINK. The sandbox has a network of its own, which a family such as AF_VSOCK
# does not respect.
FAMILIES = (1, 2, 10, 16)
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of the kernel's filter machine
NUMBER, MACHINE, FIRST_ARGUMENT = 0, 4, 16  # where the filter finds them
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # the call goes on; it fails with EPERM
OTHER_TABLE = 0x40000000  # numbers from here on are those of x32
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2  # for prctl


class Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def deny() -> None:
    """Refuse these calls to this process from now on, and to all that it starts.

    Does nothing on a machine whose numbers are not known.
    """
    if platform.machine() not in DENIED:
        return
    steps = program(*DENIED[platform.machine()])
    libc = ctypes.CDLL(None)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    libc.prctl(SECCOMP, FILTER, ctypes.byref(Program(len(steps) // 8, steps)))


def program(machine: int, calls: dict[str, int], sockets: tuple[int, ...]) -> bytes:
    """The filter, in steps of 8 bytes: what, steps to skip if so, if not, a number."""
    calls_end = 4 + len(calls)  # places in the list of steps
    load = calls_end + len(sockets) + 1
    allow = load + 1 + len(FAMILIES) + 1
    refuse = allow - 1
    steps = [
        (LOAD, 0, 0, MACHINE),
        (EQUAL, 0, refuse - 2, machine),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, refuse - 4, 0, OTHER_TABLE),
    ]
    for number in calls.values():
        steps.append((EQUAL, refuse - len(steps) - 1, 0, number))
    for number in sockets:
        steps.append((EQUAL, load - len(steps) - 1, 0, number))
    steps += [(RETURN, 0, 0, ALLOW), (LOAD, 0, 0, FIRST_ARGUMENT)]
    for family in FAMILIES:
        steps.append((EQUAL, allow - len(steps) - 1, 0, family))
    steps += [(RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
