"""The measured speed of the encoder and of the course, and the tables made from it."""

import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from marking_speed import read_speed as read_marking_speed

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "cpu": ROOT / "book" / "speed.json",
    "cuda": ROOT / "book" / "speed_cuda.json",
}
LIBRARIES = ("timm", "torchvision", "PyTorch", "transformers", "vit-pytorch")
FAST, ALONE = "fast", "fast, class token"
PRODUCT = "matrix product"
ORDER = ("Ti", "S", "B")  # of the tables
NOTHING = "not measured"
CLOCKS = {"wall": "timed by the clock", "cpu": "CPU time of the process"}

Quartiles = tuple[float, float, float]


def read_speed(device: str = "cpu") -> dict | None:
    """What studies/benchmark_speed.py measured there, if anything."""
    path = FILES[device]
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


# What follows from the seconds of a row


def ratios(row: dict, fast: str, slow: str) -> Quartiles:
    """How many times `fast` is faster: quartiles of the ratios within each round."""
    pairs = zip(row["seconds"][slow], row["seconds"][fast], strict=True)
    found = sorted(theirs / ours for theirs, ours in pairs)
    if len(found) == 1:
        return (found[0],) * 3
    low, _, high = statistics.quantiles(found, n=4, method="inclusive")
    return low, statistics.median(found), high


def over_the_fastest(row: dict, contestant: str) -> tuple[Quartiles, str]:
    """How many times it is faster than the library that is the hardest to beat here."""
    found = {name: ratios(row, contestant, name) for name in LIBRARIES}
    hardest = min(found, key=lambda name: found[name][1])
    return found[hardest], hardest


def share_of_peak(row: dict, contestant: str, peak: str = PRODUCT) -> float:
    """Its FLOPs a second, by those of the matrix product in the same rounds."""
    work = row["flops"][contestant] / row["flops"][peak]
    return work * ratios(row, contestant, peak)[1]


def milliseconds(row: dict, contestant: str) -> float:
    """The middle of the rounds."""
    return 1000 * statistics.median(row["seconds"][contestant])


def model_rows(measured: dict, training: bool | None = None) -> list[dict]:
    """The rows in which all contestants ran, in inference, in training or in both."""
    rows = [row for row in measured["rows"].values() if "batch" in row]
    rows.sort(key=lambda row: (ORDER.index(row["size"]), row["batch"], row["training"]))
    return [row for row in rows if training in (None, row["training"])]


# Goals


@dataclass(frozen=True)
class Goal:
    """Something that is wanted, and how it is found in what was measured.

    value: a KeyError says that a row is not there. at_least: more is better, or less.
    """

    what: str
    wanted: float
    value: Callable[[dict], tuple[float, str]]
    at_least: bool = True

    def line(self, measured: dict) -> tuple[str, ...]:
        """Its row of the table."""
        sign = "≥" if self.at_least else "≤"
        wanted = f"{sign} {self.wanted:.2f}"
        try:
            value, remark = self.value(measured)
        except (KeyError, ValueError):
            return self.what, wanted, "", NOTHING
        met = value >= self.wanted if self.at_least else value <= self.wanted
        return self.what, wanted, "yes" if met else "no", f"{value:.2f}{remark}"


def worst(contestant: str) -> Callable[[dict], tuple[float, str]]:
    """The smallest advantage over the fastest library, and the row where it is."""

    def value(measured: dict) -> tuple[float, str]:
        found = [
            (over_the_fastest(row, contestant), label(row))
            for row in model_rows(measured)
        ]
        (quartiles, library), where = min(found, key=lambda one: one[0][0][1])
        return quartiles[1], f" ({where}, {library})"

    return value


def count_of_rows(contestant: str, wanted: float) -> Callable[[dict], str]:
    """In how many rows its middle ratio reaches so much."""

    def text(measured: dict) -> str:
        rows = model_rows(measured)
        reached = sum(over_the_fastest(r, contestant)[0][1] >= wanted for r in rows)
        return f"{reached} of {len(rows)}"

    return text


def advantage(name: str, fast: str, slow: str) -> Callable[[dict], tuple[float, str]]:
    """The middle ratio of two in a row, with its quartiles."""

    def value(measured: dict) -> tuple[float, str]:
        low, middle, high = ratios(measured["rows"][name], fast, slow)
        return middle, f" ({low:.2f} to {high:.2f})"

    return value


def kept(unit: str) -> Callable[[dict], tuple[float, str]]:
    """What checkpointing leaves of the memory: of what is kept, or of the peak."""

    def value(measured: dict) -> tuple[float, str]:
        row = measured["rows"]["checkpointing"][unit]
        return row["fast, checkpointing"] / row[FAST], ""

    return value


GOALS = (
    Goal("fast against the fastest library, worst row", 1.0, worst(FAST)),
    Goal(
        "fast, class token, against the fastest library, worst row",
        1.08,
        worst(ALONE),
    ),
    Goal(
        "fast, class token, frozen, against timm (Ti, 8 images)",
        1.15,
        advantage("frozen", "fast, class token, frozen", "timm"),
    ),
    Goal(
        "fused attention against the textbook's, N = 2048",
        2.5,
        advantage("attention-2048", "fused", "explicit"),
    ),
    Goal(
        "memory kept with checkpointing, of that without (Ti, 32 images)",
        0.4,
        kept("saved"),
        at_least=False,
    ),
    Goal(
        "tensors at the peak of that step, of those without",
        0.4,
        kept("highest"),
        False,
    ),
)


def goals_table(measured: dict) -> str:
    """What is wanted, what was measured, and whether it is reached."""
    lines = [goal.line(measured) for goal in GOALS]
    for wanted, contestant in ((1.0, FAST), (1.08, ALONE)):
        text = count_of_rows(contestant, wanted)(measured)
        what = f"rows in which “{contestant}” is {wanted:.2f} times the fastest library"
        lines.append((what, "18 of 18", "yes" if text == "18 of 18" else "no", text))
    return table(("What", "Wanted", "Reached", "Measured"), lines, words=4)


# Tables


def label(row: dict) -> str:
    """Size, number of images and mode, such as "Ti, 8, training"."""
    mode = "training" if row["training"] else "inference"
    return f"{row['size']}, {row['batch']}, {mode}"


def ratios_table(training: bool, measured: dict) -> str:
    """Every code beside timm's, and the fast form beside the fastest library."""
    others = ("textbook", *LIBRARIES[1:])
    lines = []
    for row in model_rows(measured, training):
        low, middle, high = over_the_fastest(row, FAST)[0]
        lines.append(
            (
                f"{row['size']}, {row['batch']}",
                *(f"{ratios(row, name, 'timm')[1]:.2f}" for name in (FAST, ALONE)),
                f"{middle:.2f} ({low:.2f} to {high:.2f})",
                *(f"{ratios(row, name, 'timm')[1]:.2f}" for name in others),
            )
        )
    hardest = "fast against the fastest library"
    return table(("ViT, images", FAST, ALONE, hardest, *others), lines)


def rates_table(measured: dict) -> str:
    """Images a second, the share of the peak, and the memory of a step."""
    lines = []
    for row in model_rows(measured):
        memory = (row["megabytes"][name] for name in ("textbook", "timm", FAST))
        lines.append(
            (
                label(row),
                f"{1000 * row['batch'] / milliseconds(row, FAST):.3g}",
                f"{100 * share_of_peak(row, 'timm'):.0f} %",
                f"{100 * share_of_peak(row, FAST):.0f} %",
                *(NOTHING if m is None else f"{m:.0f} MB" for m in memory),
            )
        )
    header = ("ViT, images, mode", "fast, images a second", "timm, of the peak")
    header += ("fast, of the peak", "textbook, memory", "timm, memory", "fast, memory")
    return table(header, lines)


def attention_table(measured: dict) -> str:
    """The textbook's attention beside the fused one."""
    lines = []
    rows = [row for row in measured["rows"].values() if "tokens" in row]
    for row in sorted(rows, key=lambda row: row["tokens"]):
        low, middle, high = ratios(row, "fused", "explicit")
        lines.append(
            (
                str(row["tokens"]),
                *(took(row, name) for name in ("explicit", "fused")),
                f"{middle:.1f} ({low:.1f} to {high:.1f})",
                *(megabytes(row, name) for name in ("explicit", "fused")),
            )
        )
    header = ("N", "textbook", "fused", "ratio", "textbook, memory", "fused, memory")
    return table(header, lines)


def took(row: dict, name: str) -> str:
    """The time of a step."""
    value = milliseconds(row, name)
    return f"{value:.3g} ms" if value < 1000 else f"{value / 1000:.2f} s"


def megabytes(row: dict, name: str) -> str:
    """The memory that a step takes."""
    value = row["megabytes"][name]
    return NOTHING if value is None else f"{value:.0f} MB"


def further_table(measured: dict) -> str:
    """Freezing, 16 bits and checkpointing: Ti, each beside timm in float32."""
    lines = []
    for name, beside, what in (
        ("frozen", "timm", "inference, 8 images, float32"),
        ("bf16-inference", "timm, fp32", "inference, 8 images"),
        ("bf16-training", "timm, fp32", "training, 8 images"),
        ("checkpointing", "timm", "training, 32 images"),
    ):
        row = measured["rows"].get(name, {})
        for contestant in row.get("seconds", {}):
            if contestant.startswith(PRODUCT):
                continue
            low, middle, high = ratios(row, contestant, beside)
            tensors = [row.get(k, {}).get(contestant) for k in ("highest", "saved")]
            lines.append(
                (
                    what,
                    contestant,
                    took(row, contestant),
                    f"{middle:.2f} ({low:.2f} to {high:.2f})",
                    megabytes(row, contestant),
                    *("" if m is None else f"{m:.0f} MB" for m in tensors),
                )
            )
        if "missing" in row:
            lines.append((what, NOTHING, f"needs {row['missing']}", *[""] * 4))
    header = (
        "ViT-Ti",
        "code",
        "a step",
        "times as fast as timm in fp32",
        "memory",
        "tensors",
        "kept",
    )
    return table(header, lines, words=2)


def course_table(measured: dict) -> str:
    """What the course itself takes."""
    rows, lines = measured["rows"], []
    if "pages" in rows:
        pages = rows["pages"]["pages"]
        weights = [page["kilobytes"] for page in pages.values()]
        times = [statistics.median(page["seconds"]) for page in pages.values()]
        count = f"the first page and {len(pages) - 1} chapters"
        lines += [
            ("a page, sent until it is loaded", spread(weights, "kB"), count),
            ("a page, until it is loaded", spread(times, "s"), "from the same machine"),
        ]
    if "book" in rows:
        book = rows["book"]["seconds"]
        lines += [
            ("`make book`, cold", f"{book['cold']:.0f} s", "no earlier build"),
            ("`make book`, warm", f"{book['warm']:.0f} s", "right after it"),
        ]
    if "start" in rows:
        start = rows["start"]["seconds"]
        kernel, cell = (statistics.median(start[k]) for k in ("kernel", "first cell"))
        remark = f"until its kernel answers; {cell:.1f} s until the first cell has run"
        lines.append(("a notebook's start", f"{kernel:.1f} s", remark))
    if "checks" in rows:
        checks = rows["checks"]["seconds"]
        remark = f"{len(checks)} exercises, each answered right"
        milliseconds = [1000 * seconds for seconds in checks.values()]
        lines.append(("one check", spread(milliseconds, "ms"), remark))
    marking = read_marking_speed()
    lines.append(
        (
            "one marked submission",
            f"{marking['cores'] / marking['all']['warm_per_second']:.2g} s",
            f"of a core; {{ref}}`by kind <marking-speed>`, {marking['date']}",
        )
    )
    return table(("What", "It takes", "Measured on"), lines, words=3)


def spread(values: list[float], unit: str) -> str:
    """The middle, and from where to where."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.3g} {unit} ({low:.2g} to {high:.3g})"


def machine_line(measured: dict) -> str:
    """Where, when and with what it was measured."""
    rows = measured["rows"].values()
    dates = sorted({row["date"] for row in rows}) or [NOTHING]
    date = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    versions = ", ".join(f"{name} {v}" for name, v in measured["versions"].items())
    amx = "AMX" if measured["amx"] else "no AMX"
    threads = measured["threads"]
    loads = [row["load"] for row in rows] or [0]
    counts = [len(row["seconds"][FAST]) for row in model_rows(measured)] or [0]
    return (
        f"{date}. {measured['machine']}, {threads} thread{'s' * (threads > 1)}, "
        f"{measured['instructions']}, {amx}, {CLOCKS[measured['clock']]}. {versions}. "
        f"{min(counts)} to {max(counts)} rounds a row. "
        f"Load before a row: {min(loads)} to {max(loads)}."
    )


TABLES: dict[str, Callable[[dict], str]] = {
    "machine": machine_line,
    "goals": goals_table,
    "inference": lambda measured: ratios_table(False, measured),
    "training": lambda measured: ratios_table(True, measured),
    "rates": rates_table,
    "attention": attention_table,
    "further": further_table,
    "course": course_table,
}


def cuda_table(measured: dict | None) -> str:
    """The rows of a GPU: the fast form beside timm at the same precision."""
    if measured is None:
        return "Nothing has been measured on a GPU yet."
    lines = [
        (
            f"{label(row)}, {row['precision']}, "
            f"{'compiled' if row['compiled'] else 'eager'}",
            f"{1000 * row['batch'] / milliseconds(row, FAST):.4g}",
            f"{ratios(row, FAST, 'timm')[1]:.2f}",
            f"{100 * share_of_peak(row, FAST):.0f} %",
        )
        for row in model_rows(measured)
    ]
    header = ("ViT, images, mode", "fast, images a second", "times timm", "of the peak")
    return f"{machine_line(measured)}\n\n{table(header, lines)}"


def table(header: Iterable[str], lines: Iterable[Iterable[str]], words: int = 1) -> str:
    """A table in Markdown. words: how many columns hold text; numbers come after."""
    header = [*header]
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))
