"""What a learner sees: the report of one check, and the score card of a notebook."""

import csv
import io
import json
from dataclasses import asdict, dataclass, fields
from html import escape
from pathlib import Path

from vit_encoder.message_html import message_html

GREEN, VERMILION, GREY = "#009E73", "#D55E00", "#767676"
OPTIONAL = "optional"  # stands where a task that gives points has its points


@dataclass(frozen=True)
class Report:
    """The result of one check; it shows itself in a notebook and in a terminal.

    id: the exercise. points, out_of: whole numbers, points ≤ out_of. An optional task
    has 0 of 0.
    passed: every property holds. answered: it is no untouched stub.
    misconceptions: short names of what was recognized.
    message: what was seen, and the question that leads on. title: the exercise's.
    version: of the task, as in the catalogue. warning: why it does not count, or "".
    kept: what became of an answer that was to be kept, or "".
    again, read: the section to read again and its address, or "".
    """

    id: str
    points: int
    out_of: int
    passed: bool
    misconceptions: tuple[str, ...]
    message: str
    answered: bool = True
    title: str = ""
    version: str = ""
    warning: str = ""
    kept: str = ""
    again: str = ""
    read: str = ""

    @property
    def state(self) -> str:
        """In a few words."""
        if self.passed:
            return "passed"
        if not self.answered:
            return "not answered yet"
        recognized = ", ".join(self.misconceptions[:2]).replace("-", " ")
        if len(self.misconceptions) > 2:
            recognized += f" and {len(self.misconceptions) - 2} more"
        return f"not passed yet ({recognized})" if recognized else "not passed yet"

    @property
    def heading(self) -> str:
        """The first line: what was checked and what it earned."""
        name = self.title or self.id
        colon = "" if name.endswith("?") else ":"
        return f"{name}{colon} {count(self.points, self.out_of)}, {self.state}"

    def __repr__(self) -> str:
        parts = (self.warning, self.heading, self.message, self.kept)
        return "\n\n".join(filter(None, parts))

    def _repr_html_(self) -> str:
        """HTML that takes its text colours from the page, so light and dark work."""
        colour = GREEN if self.passed else VERMILION if self.answered else GREY
        first = (
            f"<p><strong>{escape(self.warning)}</strong></p>" if self.warning else ""
        )
        last = f"<p>{escape(self.kept)}</p>" if self.kept else ""
        if self.read and self.answered and not self.passed:
            link = f'<a href="{escape(self.read)}">{escape(self.again)}</a>'
            last += f"<p>Read again: {link}</p>"
        return (
            f'<div style="border-left: 4px solid {colour}; padding: 0 1em">{first}'
            f"<p><strong>{escape(self.heading)}</strong></p>"
            f"{message_html(self.message)}{last}</div>"
        )


@dataclass(frozen=True)
class Row:
    """A task on a score card.

    out_of: the points that it gives; 0 if it is optional.
    again: the section to read again if an answer is not right yet, else "".
    """

    id: str
    title: str
    points: int
    out_of: int
    state: str
    again: str

    @property
    def earned(self) -> str:
        """Such as "1 of 3"."""
        return f"{self.points} of {self.out_of}" if self.out_of else OPTIONAL


@dataclass(frozen=True)
class ScoreCard:
    """The points of a notebook's tasks, and what to read again."""

    notebook: str
    rows: tuple[Row, ...]

    @property
    def points(self) -> int:
        """The points earned so far."""
        return sum(row.points for row in self.rows)

    @property
    def out_of(self) -> int:
        """The points that can be earned."""
        return sum(row.out_of for row in self.rows)

    @property
    def last_line(self) -> str:
        """The sum, and what it is worth."""
        total = count(self.points, self.out_of)
        return (
            f"Total: {total}. The best result of each task counts. "
            "This card is for you: nobody else sees it."
        )

    def export(self, path: str | Path) -> Path:
        """Write the card to a file, as .csv, .json or .html, and give its path.

        Raises ValueError for another ending.
        """
        path = Path(path)
        columns = [field.name for field in fields(Row)]
        if path.suffix == ".csv":
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(map(asdict, self.rows))
            path.write_text(text.getvalue(), encoding="utf-8")
        elif path.suffix == ".json":
            card = asdict(self) | {"points": self.points, "out_of": self.out_of}
            text = json.dumps(card, indent=2, ensure_ascii=False)
            path.write_text(f"{text}\n", encoding="utf-8")
        elif path.suffix == ".html":
            head = (
                '<!doctype html><html lang="en"><meta charset="utf-8">'
                '<meta name="color-scheme" content="light dark">'
                f"<title>{self.notebook}</title>"
            )
            path.write_text(f"{head}\n{self._repr_html_()}\n", encoding="utf-8")
        else:
            raise ValueError(f"expected a .csv, .json or .html file, got {path.name!r}")
        return path

    def __repr__(self) -> str:
        width = max(len(row.title) for row in self.rows)
        lines = [f"Score card of {self.notebook}", ""]
        for row in self.rows:
            again = f'; read again: "{row.again}"' if row.again else ""
            lines.append(f"{row.title:{width}}  {row.earned}  {row.state}{again}")
        return "\n".join([*lines, "", self.last_line])

    def _repr_html_(self) -> str:
        """A table with a caption and headings that a screen reader reads out.

        Where the page is narrower, the table scrolls inside its region. That can have
        the focus, so that the arrow keys scroll it, too.
        """
        titles = ("Task", "Points", "State", "Section to read again")
        look = 'style="padding: 0.3em 0.8em; text-align: left"'
        head = "".join(f'<th scope="col" {look}>{title}</th>' for title in titles)
        body = "".join(
            f'<tr><th scope="row" {look}>{escape(row.title)}</th>'
            f"<td {look}>{row.earned}</td>"
            f"<td {look}>{escape(row.state)}</td>"
            f"<td {look}>{escape(row.again)}</td></tr>"
            for row in self.rows
        )
        name = f"Score card of {escape(self.notebook)}"
        return (
            f'<div role="region" aria-label="{name}" tabindex="0"'
            ' style="overflow-x: auto"><table>'
            f'<caption style="text-align: left">{name}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
            f"<p>{escape(self.last_line)}</p>"
        )


def count(points: int, out_of: int) -> str:
    """Such as "1 of 3 points", or that the task is optional."""
    if not out_of:
        return OPTIONAL
    return f"{points} of {out_of} point{'' if out_of == 1 else 's'}"
