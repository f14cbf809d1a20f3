"""The measured differences between libraries, and the tables made from them."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "book" / "library_differences.json"
ROUNDING = 1e-12  # what is smaller differs from machine to machine


def read_differences(path: Path = FILE) -> dict:
    """What studies/compare_libraries.py measured."""
    return json.loads(path.read_text(encoding="utf-8"))


def versions_line(measured: dict) -> str:
    """The versions of the libraries that were measured."""
    return ", ".join(f"{name} {v}" for name, v in measured["versions"].items()) + "."


def effects_table(measured: dict) -> str:
    """The differences by the size of their effect, each linked to its section."""
    rows = sorted(measured["effects"], key=lambda row: row["random"])
    return table(
        ("Random weights", "Initial weights", "What differs"),
        (
            (
                size(row["random"]),
                size(row["initial"]),
                f"{{ref}}`{row['change']} <numbers-{row['section']}>`",
            )
            for row in rows
        ),
    )


def blocks_table(measured: dict) -> str:
    """What the libraries' blocks do by default."""
    return table(
        ("By default", "Norm", "eps", "Activation", "Last norm", "Dropout"),
        (
            (
                library,
                row["norms"],
                f"`{power(row['eps'])}`",
                row["activation"],
                row["last norm"],
                f"{row['dropout']:g}",
            )
            for library, row in measured["blocks"].items()
        ),
    )


SITES = {
    "positions": "Positions",
    "weights": "Weights",
    "projection": "Projection",
    "GELU": "GELU",
    "fc2": "fc2",
    "head": "Head",
}


def dropout_table(measured: dict) -> str:
    """After which steps a library has dropout."""
    return table(
        ("Dropout after", *SITES.values()),
        (
            (library, *("yes" if site in sites else "no" for site in SITES))
            for library, sites in measured["dropout"].items()
        ),
    )


def options_table(measured: dict) -> str:
    """Which option sets which dropout."""
    rows = []
    for library, sites in measured["dropout"].items():
        for option in dict.fromkeys(sites.values()):
            places = [SITES[site] for site in sites if sites[site] == option]
            rows.append((f"{library} `{option}`", ", ".join(places)))
    return table(("Option", "Sets dropout after"), rows)


def initial_table(columns: dict[str, str], measured: dict) -> str:
    """Initial values of some parameters, for the libraries that have them."""
    return table(
        ("Initial values", *columns.values()),
        (
            (library, *(initial(row[column]) for column in columns))
            for library, row in measured["initial"].items()
            if columns.keys() <= row.keys()
        ),
    )


def pixels_table(measured: dict) -> str:
    """How pixels are prepared."""
    return table(
        ("Library", "Mean", "Standard deviation", "Resized to", "Interpolation"),
        (
            (
                library,
                channels(row["mean"]),
                channels(row["std"]),
                row["resize"],
                row["interpolation"],
            )
            for library, row in measured["pixels"].items()
        ),
    )


BLOCK_COLUMNS = {
    "qkv": "qkv",
    "proj": "proj",
    "fc1": "fc1",
    "fc2": "fc2",
    "entropy": "Entropy",
}
EMBEDDING_COLUMNS = {
    "patches": "Patches",
    "class token": "Class token",
    "positions": "Positions",
    "head": "Head",
}
TABLES: dict[str, Callable[[dict], str]] = {
    "versions": versions_line,
    "effects": effects_table,
    "blocks": blocks_table,
    "dropout": dropout_table,
    "dropout-options": options_table,
    "initial-block": lambda measured: initial_table(BLOCK_COLUMNS, measured),
    "initial-embedding": lambda measured: initial_table(EMBEDDING_COLUMNS, measured),
    "pixels": pixels_table,
}


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def size(value: float) -> str:
    """A size with the digits that it was stored with, such as 3.9e-6 or 0.22."""
    if 0 < value < ROUNDING:
        return "rounding"
    return f"{value:g}" if value == 0 or value >= 0.01 else power(value)


def initial(value: float) -> str:
    """An entropy, or a standard deviation with as many decimals as its neighbours."""
    if value > 1:
        return f"{value:.2f}"
    return f"{value:.4f}" if value > 1e-3 else size(value)


def power(value: float) -> str:
    """A small number as it is written in code, such as 1e-6."""
    digits, exponent = f"{value:e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"


def channels(values: list[float]) -> str:
    """One number if it is the same for all channels."""
    return ", ".join(f"{value:g}" for value in dict.fromkeys(values))
