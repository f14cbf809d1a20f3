"""Messages to the marking process that an honest submission would not send."""

from tests.hostile.kinds import LINE, Hostile

UNREAD = "could not be read"
UNJUDGED = "could not be (read|judged)"


def forged(name, source, says, **more):
    """An attack that speaks on the connection itself."""
    return Hostile(name, LINE + source, says, **more)


SENT = (
    forged(
        "points_in_a_hearing",
        """
tell({"heard": "self_attention.attention", "points": 3, "hearing": {"points": 3}})
attention = 3
""",
        "wrong kind|wrong-kind",
    ),
    forged(
        "points_alone",
        """
tell({"heard": "self_attention.attention", "points": 3, "passed": True})
line.shutdown(socket.SHUT_RDWR)
""",
        UNREAD,
    ),
    forged(
        "verdict_for_a_hearing",
        """
tell({"heard": "self_attention.attention",
      "hearing": {"Verdict": {"points": 3, "passed": True}}})
os._exit(0)
""",
        UNREAD,
    ),
    forged(
        "hearing_of_nothing",
        'tell_hearing({"replies": {"dict": {}}})\nos._exit(0)',
        UNJUDGED,
    ),
    forged(
        "hearing_without_fields",
        'tell({"heard": "self_attention.attention", "hearing": None})\nos._exit(0)',
        UNREAD,
    ),
    forged(
        "numbers_that_are_none",
        """
from base64 import b64encode
nan = b64encode(struct.pack("<f", float("nan"))).decode()
tell_output("float32", [1, 1], "cpu", nan)
os._exit(0)
""",
        "not passed|could not be judged",
    ),
    forged(
        "tensors_without_data",
        'tell_output("float32", [5, 7], "meta", "")\nos._exit(0)',
        "not passed|could not be judged",
    ),
    forged(
        "tensors_beyond_all_memory",
        'tell_output("float64", [2**31 - 1] * 3, "meta", "")\nos._exit(0)',
        UNJUDGED,
    ),
    forged(
        "negative_sizes",
        'tell_output("float32", [-1, -4], "cpu", "")\nos._exit(0)',
        UNREAD,
    ),
    forged(
        "sizes_that_are_no_numbers",
        'tell_output("float32", ["4", True], "cpu", "")\nos._exit(0)',
        UNREAD,
    ),
    forged(
        "more_sizes_than_data",
        'tell_output("int8", [9], "cpu", "AAAA")\nos._exit(0)',
        UNREAD,
    ),
    forged(
        "a_million_axes",
        """
tell_hearing({"replies": {"dict": {"0": {"Reply": {"outputs": {"tuple": [
    {"tensor": ["float32", [2**31 - 1] * 1_000_000, "cpu", ""]}]}}}}}})
os._exit(0)
""",
        UNREAD,
    ),
    forged(
        "unknown_dtype",
        'tell_output("object", [1], "cpu", "AAAA")\nos._exit(0)',
        UNREAD,
    ),
    forged(
        "text_for_tensors",
        """
reply = {"Reply": {"outputs": {"tuple": ["right", "right"]}}}
tell_hearing({"replies": {"dict": {str(i): reply for i in range(20)}}})
os._exit(0)
""",
        UNREAD,
    ),
    forged(
        "long_names",
        """
problem = {"Problem": {"name": "x" * 3_000_000, "text": "y" * 3_000_000}}
tell_hearing({"replies": {"dict": {}}, "problem": problem})
os._exit(0)
""",
        UNREAD,
    ),
    forged(
        "a_task_of_another_notebook",
        'tell_hearing({"replies": {"dict": {}}}, "mlp.gelu")',
        "also answers 'mlp.gelu', of another notebook",
    ),
    forged(
        "a_task_that_does_not_exist",
        'tell_hearing({"replies": {"dict": {}}}, "attention.points")',
        "also answers 'attention.points'",
    ),
    forged(
        "ids_that_are_no_text",
        """
for id in ([1], {"a": 1}, None, 3, 1e300):
    tell({"heard": id, "hearing": {}})
    tell({"listen": id})
    line.recv(10_000)
    tell({"unchecked": id})
os._exit(0)
""",
        "also answers",
    ),
    forged(
        "a_huge_message", 'line.sendall(b"\\xff\\xff\\xff\\xff")', "4294967295 bytes"
    ),
    forged("no_json", 'frame(b"\\x80\\x04 no JSON at all")', "no JSON"),
    forged("no_object", 'frame(b"[3, 3, 3]")', "no JSON object"),
    forged("deep_json", 'frame(b"[" * 1_000_000)', "no JSON: RecursionError"),
    forged(
        "nested_as_deep_as_can_be_read",
        """
for depth in range(50, 1000, 50):
    deep = "[" * depth + "]" * depth
    frame(f'{{"listen": {deep}}}'.encode())
    line.recv(10_000)
    frame(f'{{"heard": {deep}}}'.encode())
os._exit(0)
""",
        "process ended",
    ),
    forged(
        "many_digits",
        'frame(b\'{"cell": \' + b"9" * 1_000_000 + b"}")',
        "no JSON: ValueError",
    ),
    forged(
        "thousands_of_messages",
        'for _ in range(10_000): tell({"catalogue?": True})',
        "more than 500 messages",
    ),
    forged(
        "many_bytes",
        'for _ in range(50): tell({"cell": 1, "problem": "x" * 15_000_000})',
        "more bytes than an answer can have",
    ),
    forged(
        "half_a_message", 'line.sendall(b"\\0\\0\\1\\0{")\nos._exit(0)', "process ended"
    ),
    forged(
        "done_at_once",
        'tell({"done": True})\nos._exit(0)',
        "said that it was done, and was not. That was in cell 5",
    ),
    forged(
        "a_problem_that_controls_the_screen",
        """
text = "\\ud800\\x1b[2J\\n=cmd|' /C calc'!A0 <script>\\u202e" * 99
tell({"cell": 1, "problem": text})
os._exit(0)
""",
        r"\\x1b\[2J",
    ),
    forged(
        "a_pickle",
        """
import base64, pickle
class Command:
    def __reduce__(self):
        return exec, ("points = 3",)
data = base64.b64encode(pickle.dumps(Command())).decode()
tell({"heard": "self_attention.attention", "hearing": {"pickle": data}})
os._exit(0)
""",
        UNREAD,
    ),
)

ENDLESS = (
    forged(
        "questions_whose_answers_are_never_read",
        """
import time
for _ in range(400): tell({"listen": "self_attention.attention"})
time.sleep(1000)
""",
        "did not finish within",
    ),
)

REPLACED = (
    Hostile(
        "check_that_gives_points",
        """
import vit_encoder.check
from vit_encoder.check import Heard
vit_encoder.check.check = check = lambda id, answer, seed=0: Heard(id, 3, 3, True)
attention = None
""",
        "not answered",
    ),
    Hostile(
        "nothing_is_told",
        "import vit_encoder.check\nvit_encoder.check._tell = lambda *_: None",
        "no answer was heard",
    ),
    Hostile(
        "lines_that_send_nothing",
        "from vit_encoder.grade.wire import Line\nLine.send = exit",
        "process ended",
    ),
    Hostile(
        "lines_that_send_points",
        """
import json
from vit_encoder.grade.wire import Line
send = Line.send
def send_points(self, message):
    if isinstance(message, bytes):
        message = json.loads(message)
    if "heard" in message:
        message["hearing"] = {"Hearing": {"replies": {"dict": {}}, "points": 3}}
    send(self, message)
Line.send = send_points
""",
        UNREAD,
    ),
    Hostile(
        "json_patched",
        'import json\njson.dumps = lambda *_, **__: \'{"done": true, "points": 3}\'',
        "said that it was done, and was not",
    ),
    Hostile(
        "pickle_patched",
        "import pickle\npickle.loads = lambda *_: lambda answer: 3\nattention = None",
        UNREAD,
    ),
    Hostile(
        "socket_patched",
        "import socket\nsocket.socket.send = None",
        "process ended",
    ),
    Hostile(
        "encode_patched",
        """
from vit_encoder.check.hearing import asking
from vit_encoder.check.hearing.data import Hearing
class Full(Hearing):
    points = 3
asking.ask_all = lambda *_, **__: Full({})
""",
        "no plain data",
    ),
    Hostile(
        "torch_patched",
        """
yes = lambda *_, **__: True
torch.allclose = torch.equal = torch.isclose = yes
torch.Tensor.__eq__ = torch.Tensor.all = torch.Tensor.allclose = yes
torch.testing.assert_close = yes
def attention(q, k, v):
    weights = (q @ k.transpose(-2, -1)).softmax(-1)
    return weights @ v, weights
""",
        "no-scale",
    ),
    Hostile(
        "comparison_patched_in_the_checks",
        """
from vit_encoder.check.hearing import asking
asking.plain = lambda tensor: torch.zeros(())
def attention(q, k, v):
    return v, k
""",
        "not passed",
    ),
)
