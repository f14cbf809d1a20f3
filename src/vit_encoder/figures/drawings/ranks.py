"""The drawing of one step on two ranks: halves of a batch, and their mean gradient."""

from vit_encoder.figures.drawing import GREY, Drawing, arrow, box, drawing, text

GRADIENTS = ((1, 5), (3, 7))  # of each rank's images, for one weight
WIDE, CELL = 150, 46
LEFTS = (0, 188)  # of the two ranks
DESCRIPTION = (
    "Two ranks side by side, from top to bottom. Both hold the same weights. Rank 0"
    " reads two images with the gradients 1 and 5, so its mean is 3; rank 1 reads two"
    " with 3 and 7, mean 5. Arrows lead from both into one wide box, the all-reduce:"
    " each gives its mean and gets the sum, 3 + 5 = 8. Arrows lead back to both ranks,"
    " which divide by 2 and have 4. Both take the same step and hold the same weights"
    " again."
)


def ranks_drawing() -> Drawing:
    """Draw a training step on two ranks, from weights to the same weights again."""
    parts = []
    for rank, (x, pair) in enumerate(zip(LEFTS, GRADIENTS, strict=True)):
        middle = x + WIDE / 2
        parts += [
            text(f"rank {rank}", middle, 12, bold=True),
            *step("the same weights", x, 20),
            *images(pair, x, 64),
            *step(f"mean {sum(pair) / 2:.0f}", x, 132),
            arrow([(middle, 158), (middle, 180)]),
            *step("8 / 2 = 4", x, 232),
            *step("the same step", x, 276),
            *step("the same weights", x, 320),
        ]
        for top, bottom in ((46, 64), (114, 132), (208, 232), (258, 276), (302, 320)):
            parts.append(arrow([(middle, top), (middle, bottom)]))
    width = LEFTS[-1] + WIDE
    parts.append(box(1, 180, width - 2, 28, GREY))
    parts.append(text("all-reduce: 3 + 5 = 8", width / 2, 199, bold=True))
    return drawing("One step on two ranks", DESCRIPTION, parts, height=348)


def step(words: str, x: float, y: float) -> list[str]:
    """A box with a line of text."""
    return [box(x + 1, y, WIDE - 2, 26), text(words, x + WIDE / 2, y + 18)]


def images(gradients: tuple[int, int], x: float, y: float) -> list[str]:
    """A rank's images, each with its gradient."""
    parts = [text("gradients of its images", x + WIDE / 2, y + 14, size=11)]
    for i, gradient in enumerate(gradients):
        left = x + WIDE / 2 - CELL - 2 + (CELL + 4) * i
        parts.append(
            f'<rect x="{left:g}" y="{y + 20}" width="{CELL}" height="26" rx="4"'
            f' fill="{GREY}" fill-opacity=".3"/>'
        )
        parts.append(text(str(gradient), left + CELL / 2, y + 38, bold=True))
    return parts
