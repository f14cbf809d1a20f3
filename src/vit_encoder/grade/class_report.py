"""A page about the class: how it did, what was hard, what to say in the next lecture.

It names no student, so it can be shown to the class.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from statistics import median

from vit_encoder.check import catalogue, misconception
from vit_encoder.grade.feedback import as_page
from vit_encoder.grade.outcome import NOT_ANSWERED, Mark, Outcome
from vit_encoder.grade.standings import Standing
from vit_encoder.grade.submissions import NOTHING
from vit_encoder.grade.text import one_line, sentences

MOST = 12  # misconceptions that are shown
QUESTION = "Question: "  # what stands before it in a message
WIDTH, HEIGHT = 640, 180  # of a picture


@dataclass(frozen=True)
class Recognized:
    """A misconception. count: of students. seen, ask: what to say of it."""

    task: str
    name: str
    count: int
    seen: str
    ask: str


def class_page(standings: Sequence[Standing]) -> str:
    """The page: no script, nothing loaded, nobody named."""
    outcomes = [row.outcome for s in standings for row in s.rows]
    notebooks = sorted({o.notebook for o in outcomes if o.notebook and o.marks})
    came = sum(map(_came, standings))
    missing = len(standings) - came
    facts = [f"{came} student{'' if came == 1 else 's'} handed in"]
    facts += [f"{missing} did not"] if missing else []
    facts += [f"{late} late"] if (late := sum(s.late for s in standings)) else []
    parts = [f"<p>{', '.join(facts)}.</p>"]
    for notebook in notebooks:
        parts += _about([o for o in outcomes if o.notebook == notebook], notebook)
    return as_page("Report of the class", "\n".join(parts))


def _came(standing: Standing) -> bool:
    """Whether a student handed in anything: an empty folder is nothing."""
    empty = sentences([NOTHING])
    return any(not row.outcome.note.startswith(empty) for row in standing.rows)


def _about(outcomes: list[Outcome], notebook: str) -> Iterator[str]:
    """What the class did in one notebook."""
    marked = [outcome for outcome in outcomes if outcome.status != "failed"]
    yield f"<h2>{escape(notebook)}</h2>"
    if not marked:
        yield "<p>Nothing could be marked.</p>"
        return
    points, out_of = [o.points for o in marked], marked[0].out_of
    yield (
        f"<p>{len(marked)} of {len(outcomes)} could be marked. The median is "
        f"{median(points):g} of {out_of} points.</p>"
    )
    yield histogram(points, out_of)
    yield "<h3>Tasks, the hardest first</h3>"
    yield _tasks(marked)
    found = recognized(marked)
    yield "<h3>What the class got wrong, and what to ask in the next lecture</h3>"
    yield _lecture(found, notebook) if found else "<p>No mistake was recognized.</p>"


def histogram(points: Sequence[int], out_of: int) -> str:
    """How many students have how many points."""
    count = Counter(points)
    most, step = max(count.values()), WIDTH / (out_of + 1)
    bars = []
    for number in range(out_of + 1):
        x, height = number * step, (HEIGHT - 46) * count[number] / most
        top, middle = HEIGHT - 26 - height, x + step / 2
        if count[number]:
            bars.append(
                f'<rect x="{x + 2:.1f}" y="{top:.1f}" width="{step - 4:.1f}" '
                f'height="{height:.1f}"/>'
                f'<text x="{middle:.1f}" y="{top - 4:.1f}">{count[number]}</text>'
            )
        if out_of <= 20 or number % 5 == 0:
            bars.append(f'<text x="{middle:.1f}" y="{HEIGHT - 4}">{number}</text>')
    said = ", ".join(f"{count[n]} with {n}" for n in sorted(count))
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Students by points: {said}">{"".join(bars)}</svg>'
        "<figcaption>Students by points</figcaption></figure>"
    )


def _tasks(outcomes: Sequence[Outcome]) -> str:
    """A table of the tasks: the share of the points, and who did not answer.

    Optional tasks, which give no points, are left out.
    """
    titles = {entry["id"]: entry["title"] for entry in catalogue()}
    of_task: dict[str, list[Mark]] = defaultdict(list)
    for outcome in outcomes:
        for mark in outcome.marks:
            if mark.points is not None and mark.out_of:
                of_task[mark.id].append(mark)
    share = {
        task: sum(m.points for m in marks) / sum(m.out_of for m in marks)
        for task, marks in of_task.items()
    }
    rows = []
    for task in sorted(share, key=share.get):
        marks, percent = of_task[task], round(100 * share[task])
        idle = sum(mark.state == NOT_ANSWERED for mark in marks)
        rows.append(
            f"<tr><td>{escape(titles.get(task, task))}</td>"
            f'<td><meter min="0" max="100" value="{percent}">{percent} %</meter></td>'
            f"<td>{percent} %</td><td>{idle or ''}</td></tr>"
        )
    head = "<th>Task</th><th></th><th>Points earned</th><th>Not answered</th>"
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def recognized(outcomes: Sequence[Outcome]) -> list[Recognized]:
    """The misconceptions of a class, the most frequent first.

    What is said of one is what its declaration says, else what its students were told.
    """
    seen: dict[tuple[str, str], list[Mark]] = defaultdict(list)
    for outcome in outcomes:
        for mark in outcome.marks:
            for name in mark.misconceptions:
                seen[mark.id, name].append(mark)
    found = [
        Recognized(task, name, len(marks), *_told(task, name, marks))
        for (task, name), marks in seen.items()
    ]
    return sorted(found, key=lambda one: (-one.count, one.task, one.name))


def _told(task: str, name: str, marks: Sequence[Mark]) -> tuple[str, str]:
    """What is seen where a mistake is made, and the question that leads on."""
    try:
        declared = misconception(task, name)
    except ValueError:
        first = [mark for mark in marks if mark.misconceptions[0] == name]
        message = (first or marks)[0].message
        lines = [line for line in message.split("\n") if line and line[0] != " "]
        ask = next((x for x in lines if x.startswith(QUESTION)), "")
        text = next((x for x in lines if not x.startswith(QUESTION)), "")
        return (one_line(text, 300) if first else ""), ask.removeprefix(QUESTION)
    return declared.seen, declared.ask


def _lecture(found: Sequence[Recognized], notebook: str) -> str:
    """The list: how many, what is seen, what to ask, what to read again."""
    entries = {entry["id"]: entry for entry in catalogue()}
    items = []
    for one in found[:MOST]:
        entry = entries.get(one.task, {})
        who = f"{one.count} student{'' if one.count == 1 else 's'}"
        title = escape(entry.get("title", one.task))
        ask = f"<p><strong>Ask:</strong> {escape(one.ask)}</p>" if one.ask else ""
        again = escape(f"{notebook}, section “{entry.get('again', '')}”")
        items.append(
            f"<li><p><strong>{escape(one.name.replace('-', ' '))}</strong>: {who}, in "
            f"“{title}”</p><p>{escape(one.seen)}</p>{ask}"
            f"<p>Read again: {again}.</p></li>"
        )
    rest = len(found) - MOST
    more = f"<p>And {rest} more, each as rare or rarer.</p>" if rest > 0 else ""
    return f"<ol>{''.join(items)}</ol>{more}"
