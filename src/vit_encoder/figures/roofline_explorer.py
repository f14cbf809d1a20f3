"""A figure that answers: what arithmetic binds in a block, and what memory."""

import math

import anywidget
import traitlets

from vit_encoder.figures.front_end import Between, follows, front_end, require_fit

HEAD_DIM, MLP_RATIO = 64, 4
# What a block does, in order: name, family, then sums of products such as "2 B N D D"
# for FLOPs, for the numbers of the weights, and for those that are read and written
# besides. T counts the tokens that go on: N, or 1 where the class token alone does. A
# multiply-add is two FLOPs; a bias and the division by √D_h come along with a product.
# What works number by number has one FLOP for each +, −, ×, /, max, exp and erf: a
# LayerNorm has 7 for each number, softmax and GELU have 5.
OPERATIONS = (
    ("norm1", "norm", "7 B N D", "2 D", "2 B N D"),
    ("qkv", "", "6 B N D D", "3 D D + 3 D", "4 B N D"),
    ("scores", "attention", "2 B T N D", "", "B T D + B N D + B h T N"),
    ("softmax", "attention", "5 B h T N", "", "2 B h T N"),
    ("weighted sum", "attention", "2 B T N D", "", "B h T N + B N D + B T D"),
    ("proj", "", "2 B T D D", "D D + D", "2 B T D"),
    ("skip 1", "skip", "B T D", "", "3 B T D"),
    ("norm2", "norm", "7 B T D", "2 D", "2 B T D"),
    ("fc1", "mlp", "2 B T D M", "D M + M", "B T D + B T M"),
    ("GELU", "mlp", "5 B T M", "", "2 B T M"),
    ("fc2", "mlp", "2 B T D M", "D M + D", "B T M + B T D"),
    ("skip 2", "skip", "B T D", "", "3 B T D"),
)
# Three of them in one go: the scores stay where the arithmetic is.
FUSED = ("attention", "attention", "4 B T N D + 5 B h T N", "", "2 B T D + 2 B N D")
UNFUSED = ("scores", "softmax", "weighted sum")
# Name, GB/s, and TFLOP/s in fp32 and in 16 bits, without sparsity or TF32. Those of the
# GPUs are NVIDIA's; the T4's 16 bits are fp16. The laptop is an example: two channels
# of DDR4-3200, and eight cores of 32 FLOPs a cycle at 2 GHz, whatever the precision.
MACHINES = (
    ("laptop", 51.2, 0.512, 0.512),
    ("T4", 320.0, 8.1, 65.0),
    ("RTX 4090", 1008.0, 82.6, 165.2),
    ("H100", 3350.0, 66.9, 989.4),
    ("H200", 4800.0, 66.9, 989.4),
)
BYTES = {"fp32": (4, 4), "bf16": (2, 2), "int8 weights": (1, 2)}  # a weight, others
ALLOWED = {
    "batch": range(1, 4097),
    "tokens": range(1, 16386),
    "dim": range(HEAD_DIM, 4097, HEAD_DIM),
    "precision": tuple(BYTES),
    "peak": Between(0.1, 3000),
    "bandwidth": Between(20, 10000),
    "operation": tuple(name for name, *_ in (*OPERATIONS, FUSED)),
}


class RooflineExplorer(anywidget.AnyWidget):
    """Operations of a block under the roof of a machine, its peak and its bandwidth.

    batch: images, from 1 to 4096. tokens: N, from 1 to 16385. dim: D, a multiple of 64,
    the width of a head, up to 4096; the MLP is 4·D wide. precision: "fp32", "bf16" or
    "int8 weights", which are multiplied as bf16. machine: "laptop", "T4", "RTX 4090",
    "H100" or "H200"; peak (0.1 to 3000 TFLOP/s) and bandwidth (20 to 10000 GB/s) stand
    for another one. fused: the scores never go to memory. last: the last block, in
    which the class token alone goes on after q, k and v. operation: the one looked at.

    All but `machine` follow what the reader chooses. Each operation is taken to start
    at once, to read its inputs and weights once, to write its output once, and to take
    the longer of the times that its FLOPs and its bytes demand. Raises ValueError for
    other arguments. The tests compare FLOPs with PyTorch's count, bytes with the sizes
    of tensors.
    """

    _esm = front_end("roofline_explorer.js")
    _css = front_end("roofline_explorer.css")

    operations = traitlets.List().tag(sync=True)
    machines = traitlets.List().tag(sync=True)
    batch = traitlets.Int().tag(sync=True)
    tokens = traitlets.Int().tag(sync=True)
    dim = traitlets.Int().tag(sync=True)
    precision = traitlets.Unicode().tag(sync=True)
    peak = traitlets.Float().tag(sync=True)  # TFLOP/s
    bandwidth = traitlets.Float().tag(sync=True)  # GB/s
    fused = traitlets.Bool().tag(sync=True)
    last = traitlets.Bool().tag(sync=True)
    operation = traitlets.Unicode().tag(sync=True)
    _require = follows(**ALLOWED)

    def __init__(
        self,
        batch: int = 1,
        tokens: int = 197,
        dim: int = 768,
        precision: str = "bf16",
        machine: str = "T4",
        *,
        peak: float | None = None,
        bandwidth: float | None = None,
        fused: bool = False,
        last: bool = False,
        operation: str = "qkv",
    ):
        require_fit("machine", machine, tuple(name for name, *_ in MACHINES))
        require_fit("precision", precision, ALLOWED["precision"])
        _, known, fp32, half = next(m for m in MACHINES if m[0] == machine)
        chosen = {
            "batch": batch,
            "tokens": tokens,
            "dim": dim,
            "precision": precision,
            "peak": (fp32 if precision == "fp32" else half) if peak is None else peak,
            "bandwidth": known if bandwidth is None else bandwidth,
            "operation": operation,
        }
        require_allowed(chosen)
        super().__init__(
            operations=[list(op) for op in (*OPERATIONS, FUSED)],
            machines=[list(m) for m in MACHINES],
            fused=bool(fused),
            last=bool(last),
            **chosen,
        )

    def __repr__(self) -> str:
        sizes = f"B = {self.batch}, N = {self.tokens}, D = {self.dim}"
        return f"RooflineExplorer({sizes}, {self.precision})"


def block_costs(
    batch: int,
    tokens: int,
    dim: int,
    precision: str = "fp32",
    *,
    fused: bool = False,
    last: bool = False,
) -> dict[str, tuple[int, int]]:
    """FLOPs and bytes of each operation of a block, forward, by name and in order.

    Sizes, `precision`, `fused` and `last` are those of `RooflineExplorer`. Raises
    ValueError for others.
    """
    given = {"batch": batch, "tokens": tokens, "dim": dim, "precision": precision}
    require_allowed(given)
    T = 1 if last else tokens
    sizes = {"B": batch, "N": tokens, "T": T, "D": dim}
    sizes |= {"M": MLP_RATIO * dim, "h": dim // HEAD_DIM}
    of_weight, of_other = BYTES[precision]
    operations = [op for op in OPERATIONS if not fused or op[0] not in UNFUSED]
    if fused:
        operations.insert(2, FUSED)
    return {
        name: (
            amount(flops, sizes),
            of_weight * amount(weights, sizes) + of_other * amount(others, sizes),
        )
        for name, _, flops, weights, others in operations
    }


def require_allowed(values: dict[str, object]):
    """Raise ValueError for a value, by its name, that the figure does not have."""
    for name, value in values.items():
        require_fit(name, value, ALLOWED[name])


def amount(terms: str, sizes: dict[str, int]) -> int:
    """What a sum of products, such as "2 D D + D", comes to."""
    products = (term.split() for term in terms.split(" + ") if term)
    return sum(
        math.prod(sizes.get(f) or int(f) for f in factors) for factors in products
    )
