"""How long each step of chapter 11 takes on a CPU: writes data/speed_steps.json.

Every time is CPU time of one thread. The versions take turns, so that what else the
machine does hits all of them, and the median over the rounds is recorded. Without
gradients, with random weights: they do not change what is computed.
"""

import argparse
import copy
import datetime
import json
import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from unittest.mock import patch

import torch
import torch._inductor.config
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from run_notebooks import processor
from vit_encoder import Encoder, attention, encode, online_attention
from vit_encoder.costs import PRODUCTS, SPEED_FILE

SIZES = {"depth": 12, "dim": 192, "num_heads": 3, "mlp_dim": 768}  # ViT-Ti/16
IMAGES, TOKENS = 8, 197
LENGTHS = (197, 512, 1024, 2048)


def at_once(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> torch.Tensor:
    return F.layer_norm(x, weight.shape, weight, bias, eps)


def in_one_call(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
) -> tuple[torch.Tensor, None]:
    return F.scaled_dot_product_attention(q, k, v), None


NORM = {"layer_norm.layer_norm": at_once}
GELU = NORM | {"mlp.gelu": F.gelu}
# Step of chapter 11 → functions of the textbook → what stands in their place.
STEPS = {
    "textbook": {},
    "LayerNorm at once": NORM,
    "GELU at once": GELU,
    "attention at once": GELU | {"multi_head.attention": in_one_call},
}


def main() -> None:
    """Measure all, print and record."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=15)
    rounds = options.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoder = Encoder(**SIZES).eval()
    x = torch.randn(IMAGES, TOKENS, SIZES["dim"])
    versions = {name: replaced(encoder, x, new) for name, new in STEPS.items()}
    versions["in place"] = lambda: encode(encoder, x)
    versions["class token alone"] = lambda: encode(encoder, x, 1)
    for name, run in (("textbook, compiled", alone), ("compiled", encode)):
        versions[name] = compiled(run, encoder, x, freezing=False)
    versions["compiled and frozen"] = compiled(encode, encoder, x, freezing=True)
    with torch.no_grad():
        found = {
            "date": datetime.date.today().isoformat(),
            "processor": processor(),
            "torch": torch.__version__.partition("+")[0],
            "Python": platform.python_version(),
            "sizes": SIZES | {"images": IMAGES, "tokens": TOKENS},
            "rounds": rounds,
            "steps": relative(versions, rounds),
            "profile": {
                "textbook": shares(versions["textbook"]),
                "fast": shares(versions["in place"]),
            },
            "attention": {n: attention_times(n, rounds) for n in LENGTHS},
        }
    text = json.dumps(found, indent=1)
    print(text)
    SPEED_FILE.write_text(text + "\n", encoding="utf-8")


def replaced(encoder: Encoder, x: torch.Tensor, new: dict[str, Callable]) -> Callable:
    """The encoder on x, with functions of the textbook replaced."""

    def run() -> None:
        with ExitStack() as stack:
            for name, function in new.items():
                stack.enter_context(patch(f"vit_encoder.{name}", function))
            encoder(x)

    return run


def alone(encoder: Encoder, x: torch.Tensor, queries: int) -> torch.Tensor:
    """What `encode` gives, on the textbook's path."""
    return encoder(x)[:, :queries]


def compiled(
    run: Callable, encoder: Encoder, x: torch.Tensor, *, freezing: bool
) -> Callable:
    """`run` for the class token, compiled; frozen: its weights are constants."""
    own = copy.deepcopy(encoder)  # else what was compiled first would serve for all
    program = torch.compile(lambda x: run(own, x, 1), fullgraph=True)
    with torch.no_grad(), patch("torch._inductor.config.freezing", freezing):
        program(x)
    return lambda: program(x)


def relative(versions: dict[str, Callable], rounds: int) -> dict[str, float]:
    """How long each version takes, as a multiple of the first one's time."""
    times: dict[str, list[float]] = {name: [] for name in versions}
    for number in range(rounds + 1):
        for name, run in versions.items():
            start = time.process_time()
            run()
            if number:  # the first round warms up
                times[name].append(time.process_time() - start)
    first, *_ = times.values()
    return {
        name: round(
            statistics.median(t / f for t, f in zip(own, first, strict=True)), 3
        )
        for name, own in times.items()
    }


def shares(run: Callable, times: int = 10) -> dict[str, float]:
    """The share of the time that each kind of operation takes."""
    run()
    with profile(activities=[ProfilerActivity.CPU]) as measured:
        for _ in range(times):
            run()
    spent = Counter()
    for event in measured.key_averages():
        name = event.key.removeprefix("aten::")
        kind = {"copy_": "copies"}.get(name, "the rest")
        kind = "products" if name in PRODUCTS else kind
        kind = "attention" if "scaled_dot_product" in name else kind
        spent[kind] += event.self_cpu_time_total
    kinds = ("products", "attention", "copies", "the rest")
    return {kind: round(spent[kind] / spent.total(), 3) for kind in kinds}


def attention_times(length: int, rounds: int) -> dict[str, float]:
    """Attention of one image with 3 heads of width 64, forward."""
    q, k, v = torch.randn(3, 1, 3, length, 64)
    versions = {
        "textbook": lambda: attention(q, k, v),
        "in one call": lambda: F.scaled_dot_product_attention(q, k, v),
        "tile by tile": lambda: online_attention(q, k, v, 128),
    }
    return relative(versions, rounds)


if __name__ == "__main__":
    main()
