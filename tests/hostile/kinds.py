"""What a hostile submission is: the exercise notebook with an attack in one cell."""

from dataclasses import dataclass, field

FIRST = "one_query"  # answered rightly by every hostile submission, before its attack
ATTACKED = "attention"


@dataclass(frozen=True)
class Hostile:
    """The notebook 02_self_attention with an attack.

    name: short, and of its student. source: stands in place of an answer. task: which.
    says: a pattern in the note of its row, or in the state and message of its task.
    earned: what it may earn, task → points; the honest answer before the attack counts.
    others: task → source, for an attack that needs more than one cell.
    """

    name: str
    source: str
    says: str
    task: str = ATTACKED
    earned: dict[str, int] = field(default_factory=lambda: {FIRST: 1})
    others: dict[str, str] = field(default_factory=dict)


RIGHT = """
def right(q, k, v):
    weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)
    return weights @ v, weights
"""

# Earns points if the attack before it has found what it looked for, and only then.
EARNS_IF_FOUND = """
FOUND = []
def attention(q, k, v):
    if not FOUND: FOUND.append(found())
    scale = math.sqrt(q.shape[-1]) if FOUND[0] else 1
    weights = (q @ k.transpose(-2, -1) / scale).softmax(-1)
    return weights @ v, weights
"""
NOT_FOUND = "no-scale"  # so the check names it where nothing was found

# The connection to the marking process, found among the open files.
LINE = """
import json, os, socket, stat, struct

def is_socket(name):
    path = f"/proc/self/fd/{name}"
    return os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode)

number = next(name for name in os.listdir("/proc/self/fd") if is_socket(name))
line = socket.socket(fileno=os.dup(int(number)))

def frame(data):
    line.sendall(struct.pack(">I", len(data)) + data)

def tell(message):
    frame(json.dumps(message).encode())

def tell_hearing(hearing, id="self_attention.attention"):
    tell({"heard": id, "hearing": {"Hearing": hearing}})

def tell_output(*tensor):
    reply = {"Reply": {"outputs": {"tuple": [{"tensor": list(tensor)}] * 2}}}
    replies = {"dict": {str(i): reply for i in range(20)}}
    tell_hearing({"replies": replies})
"""
