"""What goes back to a student: a page, and results in the form that Gradescope reads.

The form of the results is that of Gradescope's autograder specification:
https://gradescope-autograders.readthedocs.io/en/latest/specs/
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from vit_encoder.atomic import write_atomically
from vit_encoder.check import catalogue
from vit_encoder.check.report import count
from vit_encoder.grade.outcome import NOT_ANSWERED, Mark, Outcome
from vit_encoder.grade.text import one_line, printable

STATUS = {
    "marked": "Every task was marked.",
    "partly": "Not all of it could be marked; the note says what. The points are not "
    "final.",
    "failed": "This submission could not be marked.",
}
OURS = re.compile(r".+-[0-9a-f]{12}\.(html|results\.json)")
STYLE = """
:root { color-scheme: light dark; --open: #6b6b6b; --right: #00684c;
  --wrong: #a94600; --back: #fff; --text: #1a1a1a; --block: #f3f3f3 }
@media (prefers-color-scheme: dark) { :root { --open: #b0b0b0;
  --right: #4fd0a5; --wrong: #ff9d5c; --back: #161616; --text: #ededed;
  --block: #242424 } }
body { font: 1rem/1.5 system-ui, sans-serif; background: var(--back);
  color: var(--text); max-width: 46rem; margin: 0 auto; padding: 1rem }
h1, h2, dd { overflow-wrap: anywhere }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin: 0 0 .25rem }
dl { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem }
dt { font-weight: 600 } dd { margin: 0 }
section { border-left: .25rem solid var(--open); padding-left: 1rem; margin: 2rem 0 }
section.right { border-color: var(--right) }
section.wrong { border-color: var(--wrong) }
pre { background: var(--block); padding: .75rem; margin: .5rem 0; font-size: .9rem;
  overflow-x: auto }
p { margin: .25rem 0 }
figure { margin: 1rem 0 } svg { width: 100%; height: auto }
svg rect { fill: var(--right) } svg text { fill: var(--text); font-size: 13px;
  text-anchor: middle }
table { border-collapse: collapse } th, td { text-align: left;
  padding: .15rem .75rem .15rem 0 }
th:last-child, td:last-child { padding-right: 0 }
meter { width: min(8rem, 12vw) } li { margin: 1rem 0 }
@media (max-width: 30rem) { svg text { font-size: 20px } ol { padding-left: 1.5rem } }
"""
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; style-src "
    f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
)


def write_feedback(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Write NAME.html and NAME.results.json for each outcome; make the folder.

    Files of an earlier run, known by the form of their names, are removed if nothing
    was handed in for them any more. Whatever else is in the folder stays.
    """
    folder.mkdir(exist_ok=True)
    written = set()
    for outcome in outcomes:
        name = feedback_name(outcome.submission)
        results = json.dumps(gradescope_results(outcome), indent=1)
        # Not lasting: for a class it would take a minute, and a run makes them again.
        write_atomically(folder / f"{name}.html", page(outcome), lasting=False)
        write_atomically(folder / f"{name}.results.json", f"{results}\n", lasting=False)
        written |= {f"{name}.html", f"{name}.results.json"}
    for file in folder.iterdir():
        if OURS.fullmatch(file.name) and file.name not in written:
            file.unlink()


def feedback_name(submission: str) -> str:
    """The name of the files of a submission, without an ending.

    It is made from the path alone, so it is the same in every run. The digest at its
    end keeps names apart that differ in what a file name cannot hold.
    """
    digest = hashlib.sha256(submission.encode(errors="backslashreplace")).hexdigest()
    stem = re.sub(r"\.ipynb$", "", submission)
    readable = re.sub(r"[^A-Za-z0-9]+", "-", stem.replace("_", " ")).strip("-")
    return f"{readable[:80].strip('-') or 'submission'}-{digest[:12]}"


def gradescope_results(outcome: Outcome) -> dict:
    """What Gradescope's results.json holds for a submission.

    A task that could not be marked has no points and says so; students see the results
    when the marks are published.
    """
    titles = _titles()
    return {
        "score": outcome.points,
        "output": _plain(f"{STATUS[outcome.status]}\n{outcome.note}"),
        "visibility": "after_published",
        "tests": [
            {
                "name": titles.get(mark.id, mark.id),
                "number": str(number),
                "score": mark.points or 0,
                "max_score": mark.out_of,
                **({} if mark.points is None else {"status": _status(mark)}),
                "output": _plain(f"{mark.state}\n\n{mark.message}"),
            }
            for number, mark in enumerate(outcome.marks, 1)
        ],
    }


def _status(mark: Mark) -> str:
    """As Gradescope names it."""
    return "passed" if mark.passed else "failed"


def page(outcome: Outcome) -> str:
    """A page that stands alone: no script, nothing loaded, everything escaped."""
    title = f"Marks of {outcome.notebook or outcome.submission}"
    facts = {
        "Submission": outcome.submission,
        "Student": outcome.student or "not known",
        "Points": _total(outcome),
        "Status": STATUS[outcome.status],
    }
    facts |= {"Note": one_line(outcome.note, 2000)} if outcome.note else {}
    rows = "\n".join(
        f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in facts.items()
    )
    titles = _titles()
    tasks = "\n".join(
        _task(mark, titles.get(mark.id, mark.id)) for mark in outcome.marks
    )
    return as_page(title, f"<dl>\n{rows}\n</dl>\n{tasks}")


def as_page(title: str, content: str) -> str:
    """A whole page. title: text. content: HTML, with all that others wrote escaped."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{_text(title)}</h1>
{content}
</main>
</body>
</html>
"""


def as_text(outcome: Outcome) -> str:
    """The same in plain text, for where no page is taken."""
    titles = _titles()
    lines = [f"Marks of {outcome.notebook or outcome.submission}", _total(outcome)]
    lines += [STATUS[outcome.status], one_line(outcome.note, 2000)]
    for mark in outcome.marks:
        title = titles.get(mark.id, mark.id)
        title += "" if title.endswith("?") else "."
        lines += ["", f"{title} {_points(mark)}: {mark.state}", mark.message]
    return _plain("\n".join(lines))


def _task(mark: Mark, title: str) -> str:
    """A task on the page: points and state in words, so that no colour is needed."""
    kind = "right" if mark.passed else "wrong"
    if mark.points is None or mark.state == NOT_ANSWERED:
        kind = "open"
    lines = [
        f'<section class="{kind}">',
        f"<h2>{_text(title)}</h2>",
        f"<p>{_points(mark)}: {_text(mark.state)}</p>",
        *_message(mark.message),
        "</section>",
    ]
    return "\n".join(lines)


def _message(text: str) -> Iterator[str]:
    """A message: its sentences flow, and its matrices stay in columns."""
    for is_table, lines in groupby(_plain(text).split("\n"), _is_indented):
        if is_table:
            yield f'<pre tabindex="0">{escape(chr(10).join(lines))}</pre>'
        else:
            yield from (f"<p>{escape(line)}</p>" for line in lines if line)


def _is_indented(line: str) -> bool:
    """It belongs to a matrix or an input that is shown."""
    return line.startswith(" ")


def _points(mark: Mark) -> str:
    """The points of a task, in words."""
    if mark.points is None and mark.out_of:
        return f"Not marked ({mark.out_of} point{'' if mark.out_of == 1 else 's'})"
    return count(mark.points, mark.out_of)


def _total(outcome: Outcome) -> str:
    """The points of a submission, in words."""
    if outcome.status == "failed":
        return "none given"
    return count(outcome.points, outcome.out_of)


def _titles() -> dict[str, str]:
    """Task → its title."""
    return {entry["id"]: entry["title"] for entry in catalogue()}


def _plain(text: str) -> str:
    """Printable text, with its line breaks."""
    return printable(text, keep="\n\t").strip()


def _text(text: str) -> str:
    """Plain text, escaped for a page."""
    return escape(_plain(text))
