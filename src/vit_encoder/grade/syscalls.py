"""Take away what would let a submission outlive its processes, or watch another one.

Shared memory, queues and keys of the kernel stay when a process ends, and files without
a name count nowhere as memory. No honest notebook needs them.
"""

import ctypes
import platform
import struct

# machine → its name for seccomp, and the calls by number, from the kernel's tables.
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
            "io_uring_setup": 425,
        },
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
            "io_uring_setup": 425,
        },
    ),
}
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of the kernel's filter machine
NUMBER, MACHINE = 0, 4  # where the filter finds them
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


def program(machine: int, calls: dict[str, int]) -> bytes:
    """The filter, in steps of 8 bytes: what, steps to skip if so, if not, a number."""
    last = len(calls) + 1  # so many steps lie between the first test and the refusal
    tests = [(AT_LEAST, last, 0, OTHER_TABLE)]
    tests += [
        (EQUAL, last - place, 0, number)
        for place, number in enumerate(calls.values(), 1)
    ]
    steps = [
        (LOAD, 0, 0, MACHINE),
        (EQUAL, 0, last + 2, machine),
        (LOAD, 0, 0, NUMBER),
        *tests,
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
