"""Rows of numbers and words under a head: a table in a page, columns in a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

LOOK = "border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.5em 0"
Cell = str | float | None  # or what becomes one by `tolist`, such as a tensor


class Table:
    """A row for each name, a column for each title.

    head: the titles; the first stands above the names.
    rows: name → its cells, or its only cell; or rows that begin with their name. A cell
        is a text, a number or a tensor of one, True or False; None leaves it empty.
    form: how numbers with a fraction are written, such as ".1%"; or a form for each
        column behind the names. Whole numbers get their commas and nothing else.
    caption: what all cells are, such as their unit.

    Raises ValueError if a title, a cell or a form is missing, or one is too many.
    """

    def __init__(
        self,
        head: Sequence[object],
        rows: Mapping[object, Iterable | Cell] | Iterable[Sequence],
        form: str | Sequence[str] = "",
        caption: str = "",
    ):
        if isinstance(head, str) or len(head) < 2 or "" in head:
            raise ValueError(f"expected a title for two columns or more, got {head!r}")
        count = len(head) - 1
        forms = [form] * count if isinstance(form, str) else [*form]
        if len(forms) != count:
            raise ValueError(f"expected one form or {count}, got {len(forms)}: {forms}")
        if isinstance(rows, Mapping):
            rows = [(name, *listed(cells)) for name, cells in rows.items()]
        values = [[plain(cell) for cell in row] for row in rows]
        for name, *cells in values:
            if len(cells) != count:
                raise ValueError(f"expected for {name!r} {[*head[1:]]}, got {cells}")
        self.head, self.caption = [str(title) for title in head], caption
        self.rows = [
            [str(name), *map(written, cells, forms)] for name, *cells in values
        ]
        self.right = [  # columns with numbers, whose digits stand under each other
            any(map(is_number, column)) for column in zip(*values, strict=True)
        ] or [False] * len(head)

    def __repr__(self) -> str:
        lines = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        sides = [">" if right else "<" for right in self.right]
        texts = [self.caption] if self.caption else []
        for line in lines:
            cells = (f"{t:{s}{w}}" for t, s, w in zip(line, sides, widths, strict=True))
            texts.append("  ".join(cells).rstrip())
        return "\n".join(texts)

    def _repr_html_(self) -> str:
        """A table with headings for screen readers, which scrolls where it is wide."""
        label = escape(self.caption or ", ".join(self.head))
        look = f"caption-side: top; {look_of(right=False)}"
        caption = f'<caption style="{look}">{label}</caption>' if self.caption else ""
        head = "".join(map(heading, ["col"] * len(self.head), self.head, self.right))
        body = "\n".join(f"<tr>{self.row_html(*row)}</tr>" for row in self.rows)
        return (
            f'<div class="vit-table" role="group" tabindex="0" aria-label="{label}"'
            f' style="overflow-x: auto">\n<table style="{LOOK}">{caption}\n'
            f'<thead style="border-bottom: 1px solid"><tr>{head}</tr></thead>\n'
            f"<tbody>{body}</tbody>\n</table></div>"
        )

    def row_html(self, name: str, *cells: str) -> str:
        """The name as the heading of its row, then the cells."""
        of_names, *others = self.right
        made = [heading("row", name, of_names)]
        for text, right in zip(cells, others, strict=True):
            made.append(f'<td style="{look_of(right)}">{escape(text)}</td>')
        return "".join(made)


def heading(scope: str, title: str, right: bool) -> str:
    """The heading of a row or of a column."""
    look = look_of(right) + "; font-weight: normal" * (scope == "row")
    return f'<th scope="{scope}" style="{look}">{escape(title)}</th>'


def listed(cells: object) -> list:
    """The cells of a row, which may be a tensor, or its only one."""
    cells = plain(cells)
    alone = isinstance(cells, str | Mapping) or not isinstance(cells, Iterable)
    return [cells] if alone else [*cells]


def plain(value: object) -> object:
    """A number in place of a tensor or an array of one."""
    return value.tolist() if hasattr(value, "tolist") else value


def is_number(cell: object) -> bool:
    """Whether it is a number, which True is not."""
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def written(cell: Cell, form: str) -> str:
    """The text of a cell, with a minus that is seen and read as one, none before 0."""
    if is_number(cell):
        text = format(cell, form if isinstance(cell, float) else ",")
        if not text.strip("-0.%"):
            text = text.removeprefix("-")
        return text.replace("-", "−")
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return "" if cell is None else str(cell)


def look_of(right: bool) -> str:
    """The style of a cell or a title; numbers stand at the right."""
    return f"padding: 0.2em 0.6em; text-align: {'right' if right else 'left'}"
