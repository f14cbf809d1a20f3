"""A drawing of the measured speeds: every code beside timm's, row by row."""

from speed import ALONE, FAST, LIBRARIES, label, model_rows, ratios
from vit_encoder.figures.colours import CLASS
from vit_encoder.figures.drawing import GREY, WIDTH, drawing, line, text

LEFT, RIGHT, TOP, STEP = 104, 8, 46, 19  # units
SCALE = (0.4, 1.25)  # of the ratios; what is slower or faster stands at the edge
TICKS = (0.4, 0.6, 0.8, 1.0, 1.2)
CODES = ("textbook", *LIBRARIES[1:], FAST, ALONE)


def speed_plot(measured: dict) -> str:
    """The drawing, as HTML that a page includes."""
    rows = model_rows(measured)
    bottom = TOP + STEP * len(rows)
    parts = [*legend()]
    for tick in TICKS:
        parts.append(line([(x_of(tick), TOP - 6), (x_of(tick), bottom)], GREY, 1))
        words = "timm" if tick == 1 else f"{tick:.1f}"
        parts.append(text(words, x_of(tick), bottom + 14, size=11))
    for place, row in enumerate(rows):
        parts += drawn(row, TOP + STEP * (place + 0.5))
    told = "; ".join(f"{label(row)}: {in_words(row)}" for row in rows)
    made = drawing(
        "Speed beside timm",
        f"How many times faster than timm each code is. {told or 'Nothing measured.'}",
        parts,
        bottom + 20,
    )
    return f"```{{raw}} html\n{made.svg}\n```"


def legend() -> list[str]:
    """What the marks mean."""
    marks = (
        (circle(8, 9, GREY, hollow=True), "textbook or a library", 16),
        (circle(160, 9, "currentColor"), "fast, with its quartiles", 168),
        (circle(8, 27, CLASS), "fast, class token alone in the last block", 16),
    )
    return [
        part
        for place, (mark, words, x) in enumerate(marks)
        for part in (mark, text(words, x, 31 if place == 2 else 13, "start", 11))
    ]


def drawn(row: dict, y: float) -> list[str]:
    """One row: its name, and a mark for each code; the fast form's lies on top."""
    parts = [text(label(row), 0, y + 4, "start", 11)]
    for code in CODES:
        low, middle, high = ratios(row, code, "timm")
        if code == FAST:
            parts.append(line([(x_of(low), y), (x_of(high), y)], "currentColor", 2))
        colour = {FAST: "currentColor", ALONE: CLASS}.get(code, GREY)
        parts.append(circle(x_of(middle), y, colour, hollow=colour == GREY))
    return parts


def x_of(ratio: float) -> float:
    """Where a ratio stands."""
    low, high = SCALE
    share = (min(max(ratio, low), high) - low) / (high - low)
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def circle(x: float, y: float, colour: str, hollow: bool = False) -> str:
    """A mark."""
    fill = f'fill="none" stroke="{colour}"' if hollow else f'fill="{colour}"'
    return f'<circle cx="{x:g}" cy="{y:g}" r="4" {fill}/>'


def in_words(row: dict) -> str:
    """The middle ratios, for those who cannot see the drawing."""
    return ", ".join(f"{code} {ratios(row, code, 'timm')[1]:.2f}" for code in CODES)
