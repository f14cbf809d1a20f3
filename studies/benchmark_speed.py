"""How fast the encoder is, beside five libraries with the same weights: `make bench`.

All models live in one process. First each is compared with the textbook: logits and
gradients of random weights in float32. Then they run in rounds, in a new random order
each, so that whatever else the machine does hits all of them; a product of two matrices
runs among them, whose speed is the machine's peak. The file holds the seconds of every
round; the tables take ratios within a round, and the middle of these.

Each row enters the file when it is measured. A file of another machine or of other
versions is refused, not mixed: `--fresh` begins anew.
"""

import argparse
import ctypes
import datetime
import gc
import importlib.metadata
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import speed_models
from run_notebooks import machine
from speed import FILES
from speed_models import SIZES, contestants, differences
from vit_encoder import attention, fast

TOLERANCE = 1e-5  # of the largest number; float32 rounds to about 1e-6 here
LONG = 1.0  # seconds; a step that takes longer needs no warming
SHORT = 0.1  # seconds; shorter steps are repeated until this has passed
LEAST = 3  # rounds
MOST = 60
SIDE = {"cpu": 2048, "cuda": 8192}  # of the square matrices whose product is the peak
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PRODUCT = "matrix product"
FREEZING = "the matrix of the last row"

Step = Callable[[], object]


def main() -> None:
    """Measure the rows that are asked for, or all that the file does not have."""
    given = arguments().parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("No CUDA device was found. `--device cuda` needs a machine with one.")
    torch.set_num_threads(given.threads)
    rows = {row.name: row for row in all_rows(given.device)}
    unknown = set(given.only) - rows.keys()
    if unknown:
        sys.exit(f"expected rows of {', '.join(rows)}, got {', '.join(unknown)}")
    try:
        found = begin(given.output or FILES[given.device], given)
    except ValueError as error:
        sys.exit(str(error))
