"""Answers that lie, look around, or do what the task forbids."""

from tests.hostile.kinds import EARNS_IF_FOUND, NOT_FOUND, RIGHT, Hostile

ALSO_RIGHT = RIGHT + "attention = right\n"


def looking(name, source, **more):
    """An attack that looks for what it must not see; it defines `found`."""
    return Hostile(name, source + EARNS_IF_FOUND, NOT_FOUND, **more)


LYING = (
    Hostile(
        "an_answer_that_lies_about_itself",
        """
class Liar:
    __class__ = property(lambda self: type(lambda: 0))
    __code__ = property(lambda self: 1 / 0)
    __name__ = property(lambda self: exit())
    def __eq__(self, other): return True
    def __hash__(self): return 0
    def __bool__(self): raise KeyboardInterrupt
    def __repr__(self): raise SystemExit("3 points")
    def __call__(self, q, k, v): return self, self
    def __reduce__(self): return exec, ("points = 3",)
attention = Liar()
""",
        "ZeroDivisionError|SystemExit|wrong type|wrong kind",
    ),
    Hostile(
        "an_exception_that_cannot_be_shown",
        """
class Named(type):
    @property
    def __name__(cls): raise KeyboardInterrupt
class Odd(Exception, metaclass=Named):
    def __str__(self): raise SystemExit
raise Odd
""",
        "Cell 5 raised",
    ),
    Hostile(
        "a_tensor_that_is_always_right",
        """
class Right(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func.__name__ in ("allclose", "equal", "__eq__", "eq", "all"):
            return True
        return super().__torch_function__(func, types, args, kwargs or {})
def attention(q, k, v):
    weights = (q @ k.transpose(-2, -1)).softmax(-1)
    return (weights @ v).as_subclass(Right), weights.as_subclass(Right)
""",
        "no-scale",
    ),
    Hostile(
        "a_result_that_runs_code_when_loaded",
        """
class Result:
    def __reduce__(self): return exec, ("points = 3",)
def attention(q, k, v):
    return Result(), Result()
""",
        "wrong type",
    ),
    Hostile(
        "another_answer_at_each_call",
        """
class SelfAttention(nn.Module):
    calls = 0
    def __init__(self, dim, head_dim):
        super().__init__()
        self.query = nn.Linear(dim, head_dim)
        self.key = nn.Linear(dim, head_dim)
        self.value = nn.Linear(dim, head_dim)
    def forward(self, x):
        SelfAttention.calls += 1
        return self.value(x) * SelfAttention.calls
""",
        "not passed",
        task="SelfAttention",
    ),
    Hostile(
        "a_class_named_like_the_exercise",
        """
class attention:
    points = out_of = 3
    passed = True
""",
        "wrong kind",
    ),
    Hostile("interrupts", "raise KeyboardInterrupt", "raised KeyboardInterrupt"),
    Hostile("exits", "import sys\nsys.exit(0)", "raised SystemExit"),
    Hostile(
        "an_answer_that_interrupts",
        "def attention(q, k, v): raise KeyboardInterrupt",
        "raised KeyboardInterrupt",
    ),
    Hostile(
        "an_answer_that_exits", "def attention(q, k, v): raise SystemExit", "SystemExit"
    ),
    Hostile("exits_at_once", "import os\nos._exit(0)", "process ended"),
    Hostile(
        "deep_recursion",
        """
import sys
sys.setrecursionlimit(10**9)
def deeper(_): return sorted([0], key=deeper)
deeper(0)
""",
        "process ended",
    ),
    Hostile(
        "reads_at_address_0", "import ctypes\nctypes.string_at(0)", "process ended"
    ),
    Hostile("null_bytes", "attention = 3\0", "null bytes"),
    Hostile("no_python", "def attention(:", "SyntaxError"),
    Hostile(
        "one_long_line",
        "attention = " + "+".join(["1"] * 500_000),
        "Cell 5|process ended|wrong",
    ),
    Hostile("nested_brackets", "attention = " + "(" * 100_000, "Cell 5|process ended"),
    Hostile(
        "nested_minus", "attention = " + "-" * 200_000 + "1", "Cell 5|process ended"
    ),
    Hostile("await_outside", "attention = await open", "TypeError"),
    Hostile(
        "builtins_redefined",
        """
import builtins
__builtins__ = {}
builtins.isinstance = builtins.issubclass = lambda *_: True
builtins.getattr = builtins.len = lambda *_: 3
""",
        ".",
    ),
    Hostile(
        "checks_with_odd_ids",
        """
for id in ("nothing", "self_attention.points", "", None, [], {}, 3, "x" * 10**6):
    try:
        check(id, 3)
    except Exception as error:
        pass
""",
        "The course has no exercise 'nothing'",
    ),
    Hostile(
        "a_million_checks",
        "for _ in range(10**6): check('self_attention.attention', None)",
        "called more than 20 times",
    ),
    Hostile(
        "asks_for_misconceptions",
        """
from vit_encoder.check import misconception
misconception("self_attention.attention", "no-scale")
""",
        "raised ValueError",
    ),
)

LOOKING = (
    looking(
        "frames_for_what_is_refused",
        """
import sys
def found():
    frame = sys._getframe()
    while frame := frame.f_back:
        for value in list(frame.f_locals.values()):
            for thing in value if isinstance(value, (list, tuple)) else [value]:
                if type(thing).__name__ == "Question":
                    if thing.refused or thing.secondary or not thing.name.isdigit():
                        return True
    return False
""",
    ),
    looking(
        "frames_for_what_is_right",
        """
import sys
def found():
    frame = sys._getframe()
    while frame := frame.f_back:
        names = {*frame.f_locals, *frame.f_globals}
        if names & {"oracle", "expected", "task", "TASKS", "judge", "points", "right_"}:
            return True
    return False
""",
    ),
    looking(
        "memory_for_what_is_right",
        """
import gc
WANTED = {"Implement", "Misconception", "PredictNumbers", "Choose", "Claim", "Trial",
          "Verdict", "Property", "Marker", "Prepared"}
def found():
    return any(type(thing).__name__ in WANTED or
               getattr(thing, "__name__", "") == "received_oracle"
               for thing in gc.get_objects())
""",
    ),
    looking(
        "modules_of_the_checks",
        """
import importlib, pkgutil, vit_encoder, vit_encoder.check
def found():
    for name in ("oracle", "self_attention", "tasks", "judge", "misconceptions"):
        try:
            importlib.import_module(f"vit_encoder.check.{name}")
            return True
        except ImportError:
            pass
    return False
""",
    ),
    looking(
        "files_of_the_course",
        """
import os
def found():
    for top in ("@PACKAGE@", "@REPOSITORY@", "@HOME@", "/course", "/home", "/tmp"):
        for path, folders, files in os.walk(top):
            names = {*files, *folders}
            if names & {"oracle.py", "judge.py", "catalogue.json", "solutions"}:
                return True
    return False
""",
    ),
    looking(
        "files_of_the_teacher",
        """
import os
def found():
    for path in ("@HOME@/secret", "@OUTPUT@", "@OUTPUT@.journal", "@SUBMISSIONS@",
                 "/etc/passwd", "/var", "/proc/1/root/home", "/proc/1/cwd/home"):
        if os.path.exists(path):
            return True
    return False
""",
    ),
    looking(
        "environments_and_memory_of_others",
        """
import os
others = [p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]
def found():
    for pid in others:
        for name, mode in (("environ", "rb"), ("mem", "r+b"), ("maps", "rb")):
            try:
                with open(f"/proc/{pid}/{name}", mode, buffering=0) as file:
                    if name != "environ" or b"SECRET" in file.read():
                        return pid != "1"
            except OSError:
                pass
    return False
""",
    ),
    looking(
        "traces_its_parent",
        """
import ctypes, os
def found():
    libc = ctypes.CDLL(None)
    own, theirs = ctypes.create_string_buffer(8), (ctypes.c_void_p * 2)(0x400000, 8)
    here = (ctypes.c_void_p * 2)(ctypes.addressof(own), 8)
    return (
        libc.ptrace(16, os.getppid(), 0, 0) == 0
        or libc.process_vm_readv(os.getppid(), here, 1, theirs, 1, 0) > 0
    )
""",
    ),
    looking(
        "the_network",
        """
import socket
def found():
    for address in (("127.0.0.1", @PORT@), ("localhost", @PORT@)):
        try:
            with socket.create_connection(address, timeout=0.2) as peer:
                peer.sendall(b"points = 3")
            return True
        except OSError:
            pass
    return False
""",
    ),
    looking(
        "the_answers_of_others",
        """
import os
def found():
    for top in ("/scratch", "/dev/shm", "/var/tmp"):
        if os.path.isdir(top) and os.listdir(top):
            return True
    for name in os.listdir("/tmp") if os.path.isdir("/tmp") else ():
        if "course" not in name and name not in "@REPOSITORY@":
            return True
    with open("/proc/sysvipc/shm") as file:
        return len(file.readlines()) > 1
""",
    ),
    Hostile(
        "names_of_versions",
        """
def is_right(attention):
    names = " ".join([attention.__name__, attention.__qualname__, attention.__module__,
                      attention.__code__.co_name, attention.__code__.co_filename,
                      repr(attention)])
    for cell in attention.__closure__ or ():
        names += getattr(cell.cell_contents, "__name__", "")
        names += getattr(cell.cell_contents, "__qualname__", "")
        names += getattr(cell.cell_contents, "__module__", "")
        names += repr(getattr(cell.cell_contents, "__code__", ""))
    return "softmax_over" not in names
""",
        "test accepts wrong",
        task="wrong_axis",
    ),
    Hostile(
        "names_of_versions_in_memory",
        """
import gc, sys
def is_right(attention):
    frame, seen = sys._getframe(), []
    while frame := frame.f_back:
        seen += [v for v in frame.f_locals.values() if callable(v)]
        seen += [x for v in frame.f_locals.values() if isinstance(v, (list, tuple))
                 for x in v if callable(x)]
    names = {getattr(x, "__name__", "") for x in [*seen, *gc.get_objects()]}
    if not any(name.startswith("softmax_over_q") for name in names):
        return True
    q, k, v = torch.randn(5, 7), torch.randn(3, 7), torch.randn(3, 4)
    sums = attention(q, k, v)[1].sum(-1)
    return torch.allclose(sums, torch.ones_like(sums))
""",
        "test accepts wrong",
        task="wrong_axis",
    ),
)

KEEPS = """
KEPT = []
def is_right(attention):
    KEPT.append(attention)
    q, k, v = torch.randn(5, 7), torch.randn(3, 7), torch.randn(3, 4)
    sums = attention(q, k, v)[1].sum(-1)
    good = torch.allclose(sums, torch.ones_like(sums))
    GOOD.extend([attention] * good)
    return good
GOOD = []
"""
FORBIDDEN = (
    Hostile(
        "hands_in_a_version_it_was_given",
        KEEPS,
        "IndexError",  # a test is heard when all else was
        task="wrong_axis",
        earned={"one_query": 1, "wrong_axis": 2},
        others={
            "find_the_bug": """
def received(x, w_query, w_key):
    q, k = x @ w_query, x @ w_key
    return GOOD[0](q, k, k)[1].mean(-2)
"""
        },
    ),
    Hostile(
        "hands_in_what_is_inside_that_version",
        KEEPS,
        "IndexError",
        task="wrong_axis",
        earned={"one_query": 1, "wrong_axis": 2},
        others={
            "find_the_bug": """
cells = [cell.cell_contents for cell in GOOD[1].__closure__ or ()]
inner = [thing for thing in cells if callable(thing)]
def received(x, w_query, w_key):
    q, k = x @ w_query, x @ w_key
    return (inner or GOOD)[0](q, k, k)[1].mean(-2)
"""
        },
    ),
    Hostile(
        "switches_the_profile_off",
        """
import sys
import torch.nn.functional as F
def attention(q, k, v):
    sys.setprofile(None)
    output, weights = vit_encoder.attention(q, k, v)
    return output, weights
import vit_encoder
""",
        "guard.removed|reference.used",
    ),
    Hostile(
        "switches_the_profile_off_and_on",
        """
import sys, vit_encoder
def attention(q, k, v):
    profile = sys.getprofile()
    sys.setprofile(None)
    found = vit_encoder.attention(q, k, v)
    sys.setprofile(profile)
    return found
""",
        "guard.removed|reference.used",
    ),
    Hostile(
        "takes_the_mode_away",
        """
import torch.nn.functional as F
def attention(q, k, v):
    mode = torch._C._pop_torch_function_stack()
    weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)
    output = F.scaled_dot_product_attention(q, k, v)
    torch._C._push_on_torch_function_stack(mode)
    return output, weights
""",
        "guard.removed|built-in.used",
    ),
    Hostile(
        "calls_below_the_mode",
        """
import torch.nn.functional as F
def attention(q, k, v):
    weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)
    with torch._C.DisableTorchFunction():
        return F.scaled_dot_product_attention(q, k, v), weights
""",
        "guard.removed|built-in.used",
    ),
    Hostile(
        "calls_in_a_thread",
        """
import threading, vit_encoder
def attention(q, k, v):
    found = []
    def call(): found.extend(vit_encoder.attention(q, k, v))
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return tuple(found)
""",
        "guard.removed|reference.used",
    ),
)

# Tests are lent right versions. Whoever asks for them before all else is heard gets
# them, and no other answer counts from then on.
TOO_LATE = "after it was lent versions"
ASKS_EARLY = """
import pickle, types
from base64 import b64decode
from vit_encoder import check as asking
def lent(id):
    asking.asked_for(id)
    told = asking.question({"lend": id})
    return pickle.loads(b64decode(told["listener"])).keywords["versions"]
def inside(function):
    return next(c.cell_contents for c in function.__closure__
                if isinstance(c.cell_contents, types.FunctionType))
def is_attention(function):
    q = torch.randn(2, 3, 5)
    found = function(q, q, q)[1]
    return torch.allclose(found, (q @ q.mT / math.sqrt(5)).softmax(-1))
def is_layer(base):
    torch.manual_seed(0)
    layer, x = base(6, 4), torch.randn(2, 5, 6)
    if {n for n, _ in layer.named_children()} != {"query", "key", "value"}:
        return False
    q, k, v = layer.query(x), layer.key(x), layer.value(x)
    return torch.allclose(layer(x), (q @ k.mT / 2).softmax(-1) @ v)
def renamed(function, name):
    code = function.__code__.replace(co_name=name, co_firstlineno=77, co_filename="me")
    return types.FunctionType(code, function.__globals__, name, function.__defaults__,
                              function.__closure__)
"""
# A right version, found by its row sums, as code and names that can be written down.
WRITTEN_DOWN = """
import marshal, os, pickle, types, cloudpickle
def is_right(attention):
    q, k, v = torch.randn(5, 7), torch.randn(3, 7), torch.randn(3, 4)
    sums = attention(q, k, v)[1].sum(-1)
    good = torch.allclose(sums, torch.ones_like(sums))
    if good:
        inner = next(c.cell_contents for c in attention.__closure__
                     if isinstance(c.cell_contents, types.FunctionType))
        @WRITE@
    return good
"""
STOLEN = (
    Hostile(
        "asks_early_for_the_versions",
        ASKS_EARLY + "got = map(inside, lent('self_attention.wrong_axis'))\n"
        "attention = renamed(next(filter(is_attention, got)), 'mine')",
        TOO_LATE,
    ),
    Hostile(
        "the_mro_of_a_lent_class",
        ASKS_EARLY
        + """
got = [v.__mro__[2] for v in lent("capstone.projections")]
SelfAttention = next(filter(is_layer, got))
""",
        TOO_LATE,
        task="SelfAttention",
    ),
    Hostile(
        "a_lent_class_with_other_code_objects",
        ASKS_EARLY
        + """
got = [v.__mro__[2] for v in lent("capstone.projections")]
base = next(filter(is_layer, got))
base.forward = renamed(base.forward, "run")
class SelfAttention(base): pass
""",
        TOO_LATE,
        task="SelfAttention",
    ),
    Hostile(
        "a_test_that_answers_other_tasks",
        WRITTEN_DOWN.replace(
            "@WRITE@",
            "code = inner.__code__.replace(co_name='mine')\n        "
            "check('self_attention.attention',"
            " types.FunctionType(code, inner.__globals__))",
        ),
        TOO_LATE,
        task="wrong_axis",
        earned={"one_query": 1, "wrong_axis": 2},
    ),
    Hostile(
        "a_thread_that_waits_for_code_of_a_test",
        WRITTEN_DOWN.replace(
            "@WRITE@",
            "open('code', 'wb').write(marshal.dumps(inner.__code__)); time.sleep(0.5)",
        )
        + """
import threading, time
def wait():
    while not os.path.exists("code") or not os.path.getsize("code"): time.sleep(0.01)
    code = marshal.loads(open("code", "rb").read()).replace(co_name="mine")
    answer = types.FunctionType(code, {"torch": torch, "math": math}, "mine")
    check("self_attention.attention", answer)
threading.Thread(target=wait).start()
""",
        TOO_LATE,
        task="wrong_axis",
        earned={"one_query": 1, "wrong_axis": 2},
    ),
    Hostile(
        "a_pickle_for_the_next_cell",
        WRITTEN_DOWN.replace(
            "@WRITE@", "open('lent', 'wb').write(cloudpickle.dumps(inner))"
        ),
        "FileNotFoundError",
        task="wrong_axis",
        earned={"one_query": 1, "wrong_axis": 2},
        others={
            "find_the_bug": """
def received(x, w_query, w_key):
    q, k = x @ w_query, x @ w_key
    return pickle.load(open("lent", "rb"))(q, k, k)[1].mean(-2)
"""
        },
    ),
    looking(
        "what_hears_an_answer_for_right_versions",
        """
import gc, types
from vit_encoder import check as asking
def found():
    listener = asking.listener_of("self_attention.find_the_bug")
    met, waiting = set(), [listener.keywords]
    while waiting:
        thing = waiting.pop()
        if id(thing) not in met and not isinstance(thing, (type, types.ModuleType)):
            met.add(id(thing))
            if getattr(thing, "__name__", "") in ("received", "exact", "attention"):
                return callable(thing)
            waiting += gc.get_referents(thing)
    return False
""",
    ),
    looking(
        "memory_for_right_versions",
        """
import gc, types
def found():
    return any(
        isinstance(thing, types.FunctionType)
        and thing.__name__ in ("received", "exact", "cross_attention_oracle", "twice")
        for thing in gc.get_objects()
    )
""",
    ),
    looking(
        "frames_for_right_versions",
        """
import sys, types
def found():
    frame = sys._getframe()
    while frame := frame.f_back:
        form = frame.f_locals.get("form")
        parts = getattr(form, "reference", ())
        if any(hasattr(part, "__code__") or isinstance(part, type) for part in parts):
            return True
    return False
""",
    ),
)
