"""Tasks on the page: forms for predictions, and for code a wrong answer's report.

Every report is made here, by the checks themselves, when the book is built. The script
book/_static/answers.js looks up those of predictions.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import escape
from itertools import permutations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import quiz
from address import ROOT, read_address
from outputs import without_picture
from predictions import form_of
from sources import read_all
from vit_encoder.check import catalogue, judged, task
from vit_encoder.check.predictions import (
    ALIKE,
    CLOSE,
    FACTORS,
    Choose,
    JudgeClaims,
    PredictNumbers,
    digits_of,
    power_of,
)
from vit_encoder.check.report import Report
from vit_encoder.exploring import explore, html
from wrong_answer import wrong_answer

NO_SCRIPT = (
    "<p>Without JavaScript this page cannot check an answer. The notebook, at the top "
    "of the page, asks the same.</p>"
)
ON_THE_PAGE = (
    "<p>On this page you can answer the predictions. Code needs the notebook: for each "
    "such task, the page shows what the check says to a wrong answer.</p>"
)
STRANGE = 9876543.219  # a number that no mistake and no slip leads to


def known(report: Report) -> dict:
    """What the page shows of a report, and what it remembers."""
    return {
        "points": report.points,
        "passed": report.passed,
        "misconceptions": report.misconceptions,
        "heading": report.heading,
        "message": report.message,
    }


def head_of(report: Report) -> str:
    """How the heading begins: the task and its points."""
    return report.heading.removesuffix(f", {report.state}")


def reports_of(id: str) -> dict:
    """Every report that the page may need of a prediction, by the form of its answer.

    choices: letter → report. numbers: see `numbers_reports`. claims: see
    `claims_reports`.
    """
    found = task(id)
    if isinstance(found, Choose):
        return {"choices": {a: known(judged(id, a, 0)) for a in found.choices}}
    if isinstance(found, PredictNumbers):
        return {"numbers": numbers_reports(id, found)}
    return {"claims": claims_reports(id, found)}


# Numbers


class Texts:
    """The names and lines of many reports, each kept once."""

    def __init__(self):
        self.known: dict[str, int] = {}

    def packed(self, report: dict) -> list[list[int]]:
        """A report without points: the places of its names, and of its lines."""
        lines = report["message"].split("\n")
        parts = (report["misconceptions"], lines)
        return [[self.place(text) for text in part] for part in parts]

    def place(self, text: str) -> int:
        """Where the text stands."""
        return self.known.setdefault(text, len(self.known))


def numbers_reports(id: str, found: PredictNumbers) -> dict:
    """The reports of the right numbers, of known wrong ones, and of all others.

    head: how each heading begins. texts: of names and lines; a report that is not
    `passed` is two lists of places in it. {0} stands for the number given at place 0.
    rows: known wrong answers and their reports; None stands for a number left right.
    both: two rows, where the second has the say, and the report of both at once.
    single: for each place the reports of what is known there, the other numbers being
    right: [from, to, report]. alone, among: for each place the report of an unknown
    number, the others being right or not. order: the report of the right numbers in
    another order, by the first wrong place.
    """
    right, texts = list(found.right), Texts()

    def report(given: list[float]) -> dict:
        return known(judged(id, given, 0))

    def at(place: int, number: float) -> dict:
        given = [*right]
        given[place] = number
        return with_place(report(given), place, number)

    def among(place: int) -> dict:
        given = [STRANGE + i if i >= place else r for i, r in enumerate(right)]
        return with_place(report(given), place, given[place])

    alone = [at(place, STRANGE) for place in range(len(right))]
    names = {mistake.name for _, mistake in found.wrong}
    single = []
    for place, number in enumerate(right):
        stated = [row[place] for row, _ in found.wrong if row[place] is not None]
        # A known wrong number may say too little alone; as a slip it comes below.
        spans = [
            (n, found.tolerance, told)
            for n in stated
            if names.issuperset((told := at(place, n))["misconceptions"])
        ]
        spans += [(n, r, at(place, n)) for n, r in slips(number, found.tolerance)]
        single.append(
            [
                [n - r, n + r, texts.packed(told)]
                for n, r, told in spans
                if not told["passed"] and told["message"] != alone[place]["message"]
            ]
        )
    rows = [row for row, _ in found.wrong]
    return {
        "right": right,
        "tolerance": found.tolerance,
        "head": head_of(judged(id, [STRANGE] * len(right), 0)),
        "passed": report(right),
        "rows": [[row, texts.packed(row_report(id, found, row))] for row in rows],
        "both": [
            [*pair, texts.packed(row_report(id, found, row))]
            for row, pair in two_mistakes(rows).items()
        ],
        "single": single,
        "alone": [texts.packed(told) for told in alone],
        "among": [texts.packed(among(place)) for place in range(len(right))],
        "order": [told and texts.packed(told) for told in order_reports(right, report)],
        "texts": list(texts.known),
    }


Row = tuple[float | None, ...]


def two_mistakes(rows: list[Row]) -> dict[Row, tuple[int, int]]:
    """What two known mistakes lead to at once, where that is none of the rows."""
    found: dict[Row, tuple[int, int]] = {}
    for i, j in permutations(range(len(rows)), 2):
        pairs = zip(rows[i], rows[j], strict=True)
        both = tuple(a if b is None else b for a, b in pairs)
        if both not in rows:
            found.setdefault(both, (i, j))
    return found


def with_place(report: dict, place: int, number: float) -> dict:
    """The report with a mark in place of the number that it repeats."""
    text = re.escape(f"{number:.10g}")
    message = re.sub(
        rf"^{text}(?=: )|(?<= is not ){text}(?=\.)",
        f"{{{place}}}",
        report["message"],
        flags=re.MULTILINE,
    )
    return report | {"message": message}


def row_report(id: str, found: PredictNumbers, row: Row) -> dict:
    """The report of a known wrong answer, with marks for numbers that it repeats.

    The numbers are a little off, each by another amount, to be told from those that
    the text of the mistake holds.
    """
    off = found.tolerance / 1000
    given = [
        right if number is None else number + off * (place + 1)
        for place, (number, right) in enumerate(zip(row, found.right, strict=True))
    ]
    report = known(judged(id, given, 0))
    for place, number in enumerate(given):
        if row[place] is not None:
            text = f"{number:.10g}"
            report["message"] = report["message"].replace(text, f"{{{place}}}")
    return report


def slips(right: float, tolerance: float) -> Iterator[tuple[float, float]]:
    """Numbers that a slip leads to, and how far around them it is the same slip."""
    yield -right, tolerance
    yield 100 * right, 100 * tolerance
    for digits in range(1, len(digits_of(right))):
        unit = 10.0 ** (power_of(right) - digits + 1)
        for whole in {math.floor(right / unit), math.ceil(right / unit)}:
            yield round(whole * unit, 12), 0
    for places in (-6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6):
        yield right * 10.0**places, abs(right) * 10.0**places * ALIKE
    for factor in FACTORS:
        yield right * factor, 0
        yield right / factor, 0
    yield right * (1 + CLOSE / 2), abs(right) * CLOSE / 2
    yield right * (1 - CLOSE / 2), abs(right) * CLOSE / 2


def order_reports(right: list[float], report: Callable) -> list[dict | None]:
    """By the first wrong place, the report of the right numbers in another order."""
    found = []
    for place in range(len(right)):
        rest = right[place:]
        moved = [*right[:place], *rest[1:], rest[0]]
        told = report(moved)
        found.append(told if "another-order" in told["misconceptions"] else None)
    return found


# Claims


def claims_reports(id: str, found: JudgeClaims) -> dict:
    """What is said of each claim; a report is put together from that.

    points, heads: the number of right words → what it earns, and how the heading
    begins. wrong: claim → word → its name in the heading, the line, the question.
    passed: the report of the right words.
    """
    right = {name: claim.verdict for name, claim in found.claims.items()}
    wrong: dict[str, dict] = {name: {} for name in right}
    for name, claim in found.claims.items():
        for word in claim.others:
            told = judged(id, right | {name: word}, 0)
            line, _, ask = told.message.rpartition("\nQuestion: ")
            wrong[name][word] = [*told.misconceptions, line, ask]
    points = [told.out_of * n // len(right) for n in range(len(right))]
    return {
        "right": right,
        "points": points,
        "heads": [head_of(replace(told, points=earned)) for earned in points],
        "wrong": wrong,
        "passed": known(judged(id, right, 0)),
    }


def entry_of(id: str) -> dict:
    """The catalogue's entry of a task."""
    return next(entry for entry in catalogue() if entry["id"] == id)


# The page


def put_answers(app: Sphinx, doctree: nodes.document) -> None:
    """Put forms in place of the cells that predictions are written in and checked in.

    The score card, which would say nothing, becomes what the browser remembers.
    """
    docname = app.env.docname
    if not docname.startswith("exercises/"):
        return
    stem = docname.partition("/")[2]
    tasks = declared(stem)
    checks = {id: cell for cell in cells(doctree) for id in checked(cell)}
    first = cells(doctree)[0]
    first.parent.insert(first.parent.index(first), raw(ON_THE_PAGE))
    for cell in cells(doctree):
        id = cell["cell_metadata"].get("exercise", {}).get("id")
        if id and "prediction" in entry_of(id):
            put(checks[id], [])
            put(cell, form(tasks[id]["exercise"], choices_above(cell)))
        elif id:
            show_wrong_answer(checks[id], id, tasks[id].get("wrong", ""), docname)
        elif found := re.match(r"explore\((\w+)\)", source_of(cell)):
            (id,) = (id for id in tasks if id.endswith(f".{found[1]}"))
            cell[1:] = [raw(explored(id))]
        elif source_of(cell).startswith("score_card("):
            total = sum("prediction" in entry_of(id) for id in tasks)
            what = "one prediction" if total == 1 else f"{total} predictions"
            put(cell, [raw(progress_panel(stem, what))])
    app.env.metadata[docname]["answers"] = True
    app.env.note_dependency(str(ROOT / "solutions" / f"{stem}.md"))


def declared(stem: str) -> dict[str, dict]:
    """Task → the options of its cell, of a notebook's exercises."""
    sources = {source.docname: source for source in read_all(read_address())}
    tasks = sources[f"solutions/{stem}"].cells("exercise")
    return {cell.metadata["exercise"]["id"]: cell.metadata for cell in tasks}


def cells(doctree: nodes.document) -> list[nodes.container]:
    """The code cells of a page."""
    return [
        node
        for node in doctree.findall(nodes.container)
        if node.get("nb_element") == "cell_code"
    ]


def source_of(cell: nodes.container) -> str:
    """The code of a cell."""
    return next(cell.findall(nodes.literal_block)).astext()


def checked(cell: nodes.container) -> list[str]:
    """The tasks that a cell checks."""
    return re.findall(r'^check\("([^"]+)"', source_of(cell), re.MULTILINE)


def put(node: nodes.Node, new: list[nodes.Node]) -> None:
    """Put nodes in the place of one, which may be none."""
    place = node.parent.index(node)
    node.parent[place : place + 1] = new


def raw(html: str) -> nodes.raw:
    """A piece of HTML."""
    return nodes.raw("", html, format="html")


def choices_above(cell: nodes.container) -> nodes.bullet_list | None:
    """Take the list of choices out of the text above a cell."""
    before = cell.parent[: cell.parent.index(cell)]
    for node in reversed(before):
        if isinstance(node, nodes.bullet_list) and node.astext().startswith("A: "):
            node.parent.remove(node)
            return node
    return None


def show_wrong_answer(cell: nodes.container, id: str, test: str, docname: str) -> None:
    """Put a wrong answer and its report in place of a check that has nothing to say."""
    found = wrong_answer(id, test)
    address, path = read_address(), f"{docname}.ipynb"
    code = nodes.literal_block(found.code, found.code, language="python")
    cell[1:] = [
        raw(
            '<div class="cell_output"><details class="answer-wrong">'
            f"<summary>What the check says to {found.what}</summary>"
        ),
        *([code] if found.code else []),
        raw(
            f'<div class="output text_html">{on_page(found.report)}</div>'
            f'<p>Write yours <a href="{address.colab(path)}">in Colab</a> or in the '
            f'<a href="{address.file(path)}">notebook</a>.</p></details></div>'
        ),
    ]


def explored(id: str) -> str:
    """What the notebook explores, as a still picture of the right version."""
    explorer = explore(task(id).misconceptions[0].right)
    controls = explorer.exploration.controls.values()
    labels = " and ".join(f"<em>{escape(control.label)}</em>" for control in controls)
    return (
        '<div class="cell_output"><p>In the notebook you move here '
        f"{labels}, and your own function answers. The chapter’s function "
        f"starts like this:</p>{without_picture(html(explorer.look()))}</div>"
    )


def on_page(report: Report) -> str:
    """A report in HTML, whose links stay in the book."""
    inside = in_book(report.read)
    return report._repr_html_().replace(f'href="{report.read}"', f'href="{inside}"')


def in_book(address: str) -> str:
    """The address of a page of the book, as seen from a page of exercises."""
    return f"../{address.removeprefix(read_address().site)}"


def form(exercise: dict, choices: nodes.bullet_list | None) -> list[nodes.Node]:
    """The form of a prediction, with its reports beside it."""
    entry = entry_of(exercise["id"])
    kinds = {"choices": choice_fields, "numbers": number_fields, "claims": word_fields}
    name = exercise["id"].replace(".", "-")
    kind = form_of(exercise)
    fields = choice_fields(name, choices) if choices else kinds[kind](name, exercise)
    data = {key: entry[key] for key in ("id", "version", "again")}
    data |= {"out_of": entry["points"], "read": in_book(entry["read"])}
    title = f"Your answer: {entry['title']}"
    reports = reports_of(exercise["id"])
    return framed(name, data | reports, fields, "Your answer", title)


def framed(
    name: str,
    data: dict,
    fields: list[nodes.Node],
    legend: str,
    title: str,
    no_script: str = NO_SCRIPT,
) -> list[nodes.Node]:
    """A form around its fields. Without the script nothing of it can be used.

    legend: what is seen above the fields. title: what a screen reader says there.
    no_script: what stands below the fields where there are no scripts.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    text = text.replace("</", "<\\/")
    return [
        raw(
            f'<form class="answer" id="answer-{name}" novalidate>'
            f'<fieldset disabled aria-label="{escape(title)}"><legend>{legend}</legend>'
        ),
        *fields,
        raw(
            '<div class="answer-check"><button type="submit">Check</button>'
            '<span class="answer-best"></span></div></fieldset>'
            f"<noscript>{no_script}</noscript>"
            '<div class="answer-report" role="status"></div>'
            f'<script type="application/json">{text}</script></form>'
        ),
    ]


def choice_fields(name: str, choices: nodes.bullet_list) -> list[nodes.Node]:
    """A radio button for each item of the list, which begins with its letter."""
    found = []
    for item in choices:
        (text,) = item
        letter = text.astext()[0]
        label = nodes.paragraph(classes=["answer-choice"])
        field = f'<input type="radio" name="{name}" value="{letter}">'
        label += [raw(f"<label>{field}<span>"), *text.children, raw("</span></label>")]
        found.append(label)
    return found


def number_fields(name: str, exercise: dict) -> list[nodes.Node]:
    """A field for each number, or for several that are asked for as one list."""
    found, place = [], 0
    for entry in exercise["numbers"]:
        entry = {"what": entry} if isinstance(entry, str) else entry
        size = entry.get("count", 1)
        label = escape(entry["what"][:1].upper() + entry["what"][1:])
        if size > 1:
            label += f"<small>, {size} numbers</small>"
        found.append(
            f'<label for="{name}-{place}">{label}</label>'
            f'<input id="{name}-{place}" data-count="{size}" autocomplete="off" '
            'spellcheck="false">'
        )
        place += size
    return [raw(f'<div class="answer-fields">{"".join(found)}</div>')]


def word_fields(name: str, exercise: dict) -> list[nodes.Node]:
    """A menu of words for each claim."""
    words = "".join(f"<option>{escape(word)}</option>" for word in exercise["words"])
    found = [
        f'<label for="{name}-{claim}"><code>{claim}</code></label>'
        f'<select id="{name}-{claim}" name="{claim}">'
        f'<option value="">choose …</option>{words}</select>'
        for claim in exercise["claims"]
    ]
    return [raw(f'<div class="answer-fields">{"".join(found)}</div>')]


def progress_panel(stem: str, what: str) -> str:
    """What the browser remembers, to be saved as a file or forgotten.

    stem: the name of the chapter's notebook. The file is one that its score card reads.
    what: how many forms the page has, such as "4 predictions".
    """
    return (
        f'<div class="answer-progress" data-file="{stem}.progress.jsonl">'
        f"<p>Of the {what} on this page, right so far: <strong data-right>0</strong>. "
        "This is kept in your browser alone: nothing is sent.</p>"
        '<p><button type="button" data-do="export">Export my progress</button> '
        '<button type="button" data-do="forget">Forget my progress</button></p>'
        '<p role="status"></p></div>'
    )


# Quizzes


class Quiz(SphinxDirective):
    """A form for each question, and what the browser remembers of them."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The forms, with every explanation beside its question."""
        stem = self.env.docname.partition("/")[2]
        asked = quiz.questions("\n".join(self.content))
        found = []
        for number, question in enumerate(asked, start=1):
            name = f"{stem}-{question['name']}"
            (choices,) = self.parse_text_to_nodes(quiz.listed(question))
            fields = choice_fields(name, choices)
            ask = self.parse_text_to_nodes(question["ask"])
            data, legend = data_of(stem, number, question), f"Question {number}"
            title = f"{legend}: {''.join(node.astext() for node in ask)}"
            found += framed(
                name, data, [*ask, *fields], legend, title, explanations(data)
            )
        self.env.metadata[self.env.docname]["answers"] = True
        return [*found, raw(progress_panel(stem, f"{len(asked)} questions"))]


def explanations(data: dict) -> str:
    """What each choice is told, for readers without scripts."""
    items = "".join(
        f"<p><strong>{escape(told['heading'])}.</strong> {escape(told['message'])}</p>"
        for told in data["choices"].values()
    )
    return (
        "<details data-pagefind-ignore><summary>What each answer would mean</summary>"
        f"{items}</details>"
    )


def data_of(stem: str, number: int, question: dict) -> dict:
    """What the page shows of each choice, and remembers of the question."""
    text = json.dumps(question)
    return {
        "id": f"{stem}.{question['name']}",
        "version": hashlib.sha256(text.encode()).hexdigest()[:8],
        "out_of": 0,
        "choices": {
            letter: {
                "points": 0,
                "passed": "because" in choice,
                "misconceptions": [],
                "heading": f"Question {number}, {letter}: "
                + ("right" if "because" in choice else "not this one"),
                "message": choice.get("because") or choice["means"],
            }
            for letter, choice in question["choices"].items()
        },
    }
