"""What a reader may choose, Python may set, and nothing else."""

import math
import re

import pytest
import traitlets
from tests.explorers.cases import CASES, made

REFUSED = [  # figure, key, value, the message
    ("attention", "query", [12, 0], r"a list \(from 0 to 11, from 0 to 17\), got"),
    ("attention", "label", "c", "expected label among 'a', 'b', got 'c'"),
    (
        "activations",
        "at",
        math.nan,
        "expected at from -1000000.0 to 1000000.0, got nan",
    ),
    ("activations", "view", "curves", "among 'values', 'slopes', 'differences', got"),
    ("activations", "magnify", 2, "among 1, 10, 100, 1000, got 2"),
    (
        "activations",
        "shown",
        ["Tanh"],
        r"some of \['GELU', .*, each once, got \['Tanh'",
    ),
    ("activations", "shown", [["GELU"]], r"each once, got \[\['GELU'\]\]"),
    ("activations", "p", 1.0, "expected p from 0 to 0.9, got 1.0"),
    ("patches", "patch_size", 3, "expected patch_size among 2, 4, 8, 16, got 3"),
    ("patches", "pixel", [0, 48], "from 0 to 31, from 0 to 47"),
    ("patches", "pixel", [0], "from 0 to 31, from 0 to 47"),
    ("patches", "order", [0, 0], "each once, got"),
    ("patches", "order", [24], "each once, got"),
    ("patches", "cut", "view", "expected cut among 'patchify', 'reshape', got 'view'"),
    ("heads", "output", [24, 0], "from 0 to 23, from 0 to 11"),
    ("heads", "output", [0.5, 0], "from 0 to 23, from 0 to 11"),
    ("heads", "cut", "view", "among 'transpose', 'reshape'"),
    ("norms", "norm", "RMSNorm", "expected norm among 'LayerNorm', .*, got 'RMSNorm'"),
    ("norms", "painted", [24], "each once, got"),
    ("norms", "poke", [0, 4, 0], "from 0 to 1, from 0 to 3, from 0 to 2"),
    ("norms", "added", math.inf, "expected added from -1000 to 1000, got inf"),
    ("norms", "weight", [1.0], "a list of 3, each from -1000 to 1000, got"),
    ("norms", "bias", [0, 0, "0"], "a list of 3, each from -1000 to 1000, got"),
    ("norms", "shown", "z", "among 'y', 'x', 'normalized'"),
    ("norms", "touch", "drag", "among 'poke', 'paint'"),
    ("norms", "view", [0, 91], "from -inf to inf, from -90 to 90"),
    ("tokens", "query", 99, "expected query from 0 to 4, got 99"),
    ("tokens", "query", True, "expected query from 0 to 4, got"),
    ("tokens", "width", 0, "expected width from 1 to 8, got 0"),
    ("tokens", "tokens", [[0, 1]], "a list of 5, each as a list of 2, each from"),
    ("tokens", "w_q", [[0] * 7] * 2, "a list of 2, each as a list of 8, each from"),
    ("tokens", "w_k", [[0] * 7] * 2, "a list of 2, each as a list of 8, each from"),
    ("tokens", "w_v", [[0, math.nan]] * 2, "each from -1000 to 1000, got"),
    ("wiring", "norm", "both", "expected norm among 'pre', 'post', 'none', got 'both'"),
    ("wiring", "times", 3, "expected times among 1, 2, got 3"),
    ("wiring", "depth", 25, "expected depth from 1 to 24, got 25"),
    ("wiring", "layer", -1, "expected layer from 0 to 24, got -1"),
    ("tour", "view", "both", "expected view among 'tour', 'depth', got 'both'"),
    ("tour", "step", 11, "expected step from 1 to 10, got 11"),
    ("tour", "image", 12, "expected image from 0 to 11, got 12"),
    ("tour", "token", 50, "expected token from 0 to 49, got 50"),
    ("tour", "feature", -1, "expected feature from 0 to 63, got -1"),
    ("tour", "block", 0, "expected block from 1 to 6, got 0"),
    ("tour", "head", 4, "expected head from 0 to 3, got 4"),
    ("tour", "depth", 7, "expected depth from 0 to 6, got 7"),
    ("rollout", "layer", 6, "expected layer from 0 to 5, got 6"),
    ("rollout", "query", 50, "expected query from 0 to 49, got 50"),
    ("rollout", "chosen", "x", "expected chosen among 'trained', 'untrained', got 'x'"),
    ("roofline", "batch", 0, "expected batch from 1 to 4096, got 0"),
    ("roofline", "tokens", 16386, "expected tokens from 1 to 16385, got 16386"),
    ("roofline", "dim", 100, "expected dim from 64 to 4096 in steps of 64, got 100"),
    ("roofline", "precision", "fp16", "among 'fp32', 'bf16', 'int8 weights', got"),
    ("roofline", "peak", math.inf, "expected peak from 0.1 to 3000, got inf"),
    ("roofline", "bandwidth", 0.0, "expected bandwidth from 20 to 10000, got 0.0"),
    ("roofline", "operation", "q", "expected operation among 'norm1', .* got 'q'"),
    ("runs", "panel", "3 blocks", "expected panel among .*, got '3 blocks'"),
    ("runs", "at", 0.5, "expected at among .*, got 0.5"),
    ("runs", "shown", ["x"], r"each once, got \['x'\]"),
    ("runs", "measure", "speed", "among 'accuracy', 'loss', got 'speed'"),
]


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        pytest.param(*row, marks=pytest.mark.xdist_group(f"explorer {row[0]}"))
        for row in REFUSED
    ],
)
def test_what_a_figure_does_not_have_cannot_be_set(name, key, value, message):
    figure = made(name)
    before = getattr(figure, key)
    with pytest.raises((ValueError, traitlets.TraitError), match=message):
        setattr(figure, key, value)
    assert getattr(figure, key) == before


FREE = {  # a text or numbers of the reader's own, a switch
    "activations": {"numbers", "dropout"},
    "attention": {"scaled"},
    "heads": {"mixed", "picture", "pixels"},
    "patches": {"positions", "picture", "pixels"},
    "rollout": {"identity", "stretched"},
    "roofline": {"fused", "last"},
    "runs": {"magnified"},
    "tokens": {"scaled"},
    "tour": {"skips"},
    "wiring": {"skips"},
}


@pytest.mark.parametrize("name", CASES)
def test_everything_that_a_reader_chooses_is_checked(name):
    """The keys that a figure puts back are those that it follows."""
    (listed,) = re.findall(r"const keys = \[([^\]]*)\];\n", made(name)._esm)
    keys = set(re.findall(r'"(\w+)"', listed))
    checked = {key for figure, key, *_ in REFUSED if figure == name}
    assert checked | FREE.get(name, set()) == keys
