"""A table of mistakes against checks: which check sees which mistake."""

from collections.abc import Mapping

from vit_encoder.figures.colours import WRONG
from vit_encoder.figures.table import Table, look_of

PASSES, FAILS = "✓", "✗"


class CheckMatrix(Table):
    """A row for each version, a column for each check: ✓ it passes, ✗ it is caught.

    passed: version → check → whether the version passes it. beside: heading → version →
    a text in a column of its own, such as an accuracy. ValueError if the rows have not
    the same columns.
    """

    box = "vit-checks"  # it may be too wide for a phone

    def __init__(
        self,
        passed: Mapping[str, Mapping[str, bool]],
        beside: Mapping[str, Mapping[str, str]] | None = None,
    ):
        beside = beside or {}
        titles = [*next(iter(passed.values()), {}), *beside]
        rows = {}
        for name, checks in passed.items():
            marks = {check: PASSES if ok else FAILS for check, ok in checks.items()}
            row = marks | {title: texts.get(name) for title, texts in beside.items()}
            if [*row] != titles or None in row.values():
                raise ValueError(f"expected for {name!r} {titles}, got {row}")
            rows[name] = row.values()
        super().__init__(["version", *titles], rows)
        self.label = "Which check sees which mistake"
        self.sides = ["left"] + ["center"] * len(titles)

    def cell_html(self, text: str, side: str) -> str:
        """A mark, with its meaning for who cannot see it; or a text."""
        if text == FAILS:
            look = f"{look_of(side)}; background: {WRONG}44"
            mark = f'<strong role="img" aria-label="caught">{FAILS}</strong>'
            return f'<td style="{look}">{mark}</td>'
        if text == PASSES:
            mark = f'<span role="img" aria-label="passes">{PASSES}</span>'
            return f'<td style="{look_of(side)}">{mark}</td>'
        return super().cell_html(text, side)
