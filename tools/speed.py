"""The measured speed of the encoder, and the tables made from it."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "cpu": ROOT / "book" / "speed.json",
    "cuda": ROOT / "book" / "speed_cuda.json",
}
PRODUCT = "matrix product"
