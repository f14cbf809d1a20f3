"""A wrong answer with the report that a student gets for it, for the landing page."""

from vit_encoder.check import check

TASK = "self_attention.attention"
ANSWER = """\
def attention(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=-2)
    return weights @ v, weights"""


def report() -> str:
    """What `check` says of the answer."""
    names = {}
    exec(f"import math\n{ANSWER}", names)
    return repr(check(TASK, names["attention"]))


def shown() -> str:
    """Both, as a page shows them."""
    return f"```python\n{ANSWER}\n```\n\n```text\n{report()}\n```"
