"""The drawings of chapter 12: the ring, and what each rank holds."""

import math

from vit_encoder.figures.drawing import GREY, Drawing, drawing, line, text

P = 4  # ranks of the ring and of the shards
RING = (
    "{p} ranks in a ring, each with a tensor of {p} pieces. An arrow leads from each to"
    " its right neighbour. In the first round rank r sends its piece r: {sent}. The"
    " piece that is sent is filled, and each neighbour adds it to its own."
)


def ring_drawing() -> Drawing:
    """Draw the first round of a ring all-reduce (Patarasuk and Yuan 2009)."""
    centre, radius = (170, 128), 92
    parts, sent = [], []
    for r in range(P):
        angle = 2 * math.pi * r / P - math.pi / 2
        x = centre[0] + 1.25 * radius * math.cos(angle)
        y = centre[1] + radius * math.sin(angle)
        parts.append(text(f"rank {r}", x, y - 18, bold=True))
        for k in range(P):
            left = x - 10 * P + 20 * k
            fill = f'fill="{GREY}"' if k == r else 'fill="none"'
            parts += [
                f'<rect x="{left:.1f}" y="{y - 10:.1f}" width="18" height="18" rx="3"'
                f' {fill} stroke="{GREY}" stroke-width="1.5"/>',
                text(str(k), left + 9, y + 3, size=11, colour="#fff" if k == r else ""),
            ]
        sent.append(f"rank {r} sends piece {r} to rank {(r + 1) % P}")
    parts += [
        way((222, 46), (276, 92)),
        way((276, 148), (222, 206)),
        way((118, 206), (64, 148)),
        way((64, 92), (118, 46)),
        text("each adds what", 170, 124, size=11),
        text("arrives to its own", 170, 139, size=11),
    ]
    description = RING.format(p=P, sent="; ".join(sent))
    return drawing("The first round of a ring", description, parts, 250)


def way(start: tuple[float, float], end: tuple[float, float]) -> str:
    """A slanted arrow."""
    (x0, y0), (x, y) = start, end
    length = math.hypot(x - x0, y - y0)
    a, b = (x - x0) / length, (y - y0) / length
    wings = [(x - 9 * a + s * 4.5 * b, y - 9 * b - s * 4.5 * a) for s in (1, -1)]
    head = "L".join(f"{p:.1f} {q:.1f}" for p, q in ((x, y), *wings))
    tail = [(x0, y0), (round(x - 6 * a, 1), round(y - 6 * b, 1))]
    return line(tail) + f'<path d="M{head}z"/>'


BYTES = {"parameters": 4, "gradients": 4, "AdamW’s means": 8}  # a parameter, float32
STAGES = {  # what is cut into p pieces
    "every rank all": (),
    "ZeRO 1": ("AdamW’s means",),
    "ZeRO 2": ("gradients", "AdamW’s means"),
    "ZeRO 3": tuple(BYTES),
}
SHARDS = (
    "Bars of the bytes that one of {p} ranks holds for each parameter in float32. Where"
    " every rank holds all: 4 of parameters, 4 of gradients, 8 of AdamW's means, {all}"
    " together. {others}."
)


def shards_drawing() -> Drawing:
    """Draw bytes a parameter on a rank (Rajbhandari et al. 2020, figure 1)."""
    parts, totals = [], {}
    for row, (stage, cut) in enumerate(STAGES.items()):
        x, y = 104.0, 14 + 40 * row
        parts.append(text(stage, 96, y + 17, "end", 12))
        for name, count in BYTES.items():
            held = count / P if name in cut else count
            parts.append(
                f'<rect x="{x:g}" y="{y}" width="{12 * held:g}" height="24"'
                f' fill="{GREY}" fill-opacity="{SHADES[name]}" stroke="{GREY}"/>'
            )
            x += 12 * held
            totals[stage] = totals.get(stage, 0) + held
        parts.append(text(f"{totals[stage]:g}", x + 8, y + 17, "start", bold=True))
    for x, (name, shade) in zip((8, 108, 200), SHADES.items(), strict=True):
        parts += [
            f'<rect x="{x}" y="182" width="12" height="12" fill="{GREY}"'
            f' fill-opacity="{shade}" stroke="{GREY}"/>',
            text(name, x + 18, 192, "start", 11),
        ]
    parts.append(text(f"bytes a parameter on one of {P} ranks", 170, 216, size=11))
    whole, *rest = totals.items()
    others = "; ".join(f"with {stage} {total:g} together" for stage, total in rest)
    description = SHARDS.format(p=P, all=f"{whole[1]:g}", others=others)
    return drawing("What a rank holds", description, parts, 224)


SHADES = {"parameters": 0.75, "gradients": 0.4, "AdamW’s means": 0.1}
