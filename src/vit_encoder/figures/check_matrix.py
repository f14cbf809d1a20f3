"""A table of mistakes against checks: which check sees which mistake."""

from collections.abc import Mapping
from html import escape

from vit_encoder.figures.colours import WRONG

PASSES, FAILS = "✓", "✗"


class CheckMatrix:
    """A row for each version, a column for each check: ✓ it passes, ✗ it is caught.

    passed: version → check → whether the version passes it. beside: heading → version →
    a text in a column of its own, such as an accuracy. ValueError if the rows have not
    the same columns.
    """

    def __init__(
        self,
        passed: Mapping[str, Mapping[str, bool]],
        beside: Mapping[str, Mapping[str, str]] | None = None,
    ):
        beside = beside or {}
        self.head = [*next(iter(passed.values()), {}), *beside]
        self.rows = {}
        for name, checks in passed.items():
            marks = {check: PASSES if ok else FAILS for check, ok in checks.items()}
            row = marks | {title: texts.get(name) for title, texts in beside.items()}
            if [*row] != self.head or None in row.values():
                raise ValueError(f"expected for {name!r} {self.head}, got {row}")
            self.rows[name] = [*row.values()]

    def __repr__(self) -> str:
        width = max(map(len, self.rows), default=0)
        columns = zip(self.head, *self.rows.values(), strict=True)
        widths = [max(map(len, column)) for column in columns]
        heads = (t.center(w) for t, w in zip(self.head, widths, strict=True))
        lines = [" ".join([" " * width, *heads]).rstrip()]
        for name, row in self.rows.items():
            cells = (c.center(w) for c, w in zip(row, widths, strict=True))
            lines.append(" ".join([f"{name:{width}}", *cells]).rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """A table with headings for screen readers, which scrolls where it is wide."""
        head = "".join(heading("col", title) for title in ("version", *self.head))
        body = "".join(
            f"<tr>{heading('row', name)}{''.join(map(cell, row))}</tr>"
            for name, row in self.rows.items()
        )
        return (
            '<div class="vit-checks" role="region" tabindex="0"'
            ' aria-label="Which check sees which mistake" style="overflow-x: auto">'
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )


def heading(scope: str, title: str) -> str:
    """The heading of a row or of a column."""
    side = "left" if scope == "row" or title == "version" else "center"
    look = f"padding: 0.2em 0.6em; text-align: {side}"
    return f'<th scope="{scope}" style="{look}">{escape(title)}</th>'


def cell(text: str) -> str:
    """A mark, with its meaning for who cannot see it; or a text."""
    look = "padding: 0.2em 0.6em; text-align: center"
    if text == FAILS:
        look += f"; background: {WRONG}44"
        text = '<strong role="img" aria-label="caught">✗</strong>'
    elif text == PASSES:
        text = '<span role="img" aria-label="passes">✓</span>'
    else:
        text = escape(text)
    return f'<td style="{look}">{text}</td>'
