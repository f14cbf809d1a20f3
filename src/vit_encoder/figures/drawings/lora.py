"""The drawing of a frozen linear layer with a change of low rank beside it."""

from vit_encoder.figures.drawing import GREY, Drawing, arrow, box, drawing, text

OUT, IN, RANK = 10, 12, 2  # sizes of the example
CELL = 9
HEIGHT = 226

DESCRIPTION = (
    "The input x, {n} numbers, goes two ways. The upper way leads through the frozen"
    " matrix W0 with {out} rows and {n} columns, {frozen} numbers in grey. The lower"
    " way leads through A with {r} rows and {n} columns, then B with {out} rows and {r}"
    " columns, {learned} learned numbers together, with {r} numbers between them."
    " Both results meet in a sum, which is the output."
)


def lora_drawing() -> Drawing:
    """Draw LoRA (Hu et al. 2022, figure 1)."""
    wide, tall, thin = CELL * IN, CELL * OUT, CELL * RANK
    parts = [
        text("x", 14, 116, bold=True),
        arrow([(24, 110), (40, 110), (40, 66), (92, 66)]),
        arrow([(24, 110), (40, 110), (40, 182), (62, 182)]),
        sheet(96, 66 - tall / 2, wide, tall, GREY),
        text('W<tspan dy="3" font-size="9">0</tspan>', 150, 62, bold=True),
        text("frozen", 150, 78, size=11),
        box(66, 182 - thin / 2, wide, thin),
        text("A", 120, 168, bold=True),
        text("learned", 120, 206, size=11),
        arrow([(66 + wide, 182), (218, 182)]),
        text(f"r = {RANK}", 196, 172, size=11),
        box(222, 182 - 35, thin, 70),
        text("B", 231, 141, bold=True),
        text("learned", 250, 206, "start", 11),
        arrow([(96 + wide, 66), (280, 66), (280, 98)]),
        arrow([(222 + thin, 182), (280, 182), (280, 122)]),
        '<circle cx="280" cy="110" r="10" fill="none" stroke="currentColor"'
        ' stroke-width="1.5"/>',
        text("+", 280, 115, size=14),
        arrow([(290, 110), (322, 110)]),
        text("y", 331, 115, bold=True),
    ]
    description = DESCRIPTION.format(
        n=IN, out=OUT, r=RANK, frozen=OUT * IN, learned=RANK * (OUT + IN)
    )
    return drawing("A frozen layer and a small change", description, parts, HEIGHT)


def sheet(x: float, y: float, width: float, height: float, colour: str) -> str:
    """A filled matrix."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"'
        f' fill="{colour}" fill-opacity=".25" stroke="{colour}" stroke-width="1.5"/>'
    )
