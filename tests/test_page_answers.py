"""Tasks that are answered on the page: what it says is what `check` says."""

import random
from itertools import chain

import pytest
from tests.bank import predictions as bank

from address import ROOT
from vit_encoder.check import catalogue, judged, task
from vit_encoder.check.predictions import Choose, PredictNumbers

ENTRIES = {e["id"]: e for e in catalogue() if e["kind"] == "predict"}
NOTEBOOKS = sorted({e["notebook"] for e in ENTRIES.values()})
PATIENCE = 120_000  # milliseconds that a busy machine may take for a step
KEY = "inside-the-vit-encoder.progress"

# Fills in one form as a reader does, again and again; gives what it then shows.
ANSWER = """([name, answers]) => {
    const form = document.getElementById(name);
    const fields = [...form.querySelectorAll(".answer-fields input")];
    return answers.map((answer) => {
        if (typeof answer === "string")
            form.querySelector(`input[value="${answer}"]`).checked = true;
        else if (Array.isArray(answer)) {
            const rest = [...answer];
            for (const field of fields)
                field.value = rest.splice(0, Number(field.dataset.count)).join(", ");
        } else for (const menu of form.querySelectorAll("select"))
            menu.value = answer[menu.name] ?? "";
        form.querySelector("button").click();
        const box = form.querySelector(".answer-report");
        return [...box.children].map((part) => part.textContent).join("\\n\\n");
    });
}"""


@pytest.fixture
def visit(browser, site):
    """Open a page; fail at its end if it logged an error or asked another host."""
    opened, faults = [], []

    def open_page(page, script="", **options):
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        if script:
            context.add_init_script(script)
        tab = context.new_page()
        tab.on("pageerror", lambda error: faults.append(f"{page}: {error}"))
        tab.on("request", lambda r: r.url.startswith(site) or faults.append(r.url))
        tab.goto(site + page)
        opened.append(context)
        return tab

    yield open_page
    for context in opened:
        context.close()
    assert [f for f in faults if not f.startswith(("data:", "blob:"))] == []


def form_of(id):
    return "answer-" + id.replace(".", "-")


def answers_to(id):
    """Right, known wrong and unknown answers: letters, lists, or words by claim."""
    found = task(id)
    if isinstance(found, Choose):
        return list(found.choices)
    draw = random.Random(id)
    if isinstance(found, PredictNumbers):
        return numbers_for(found, draw)
    right = {name: claim.verdict for name, claim in found.claims.items()}
    words = [None, *found.words]
    mixed = [{name: draw.choice(words) for name in right} for _ in range(200)]
    single = [right | {n: w} for n in right for w in words]
    return [right, *single, *(answer for answer in mixed if any(answer.values()))]


def numbers_for(found, draw):
    """The right numbers; known rows; each place alone, known, slipped or unknown."""
    right, tolerance = list(found.right), found.tolerance
    answers = [right, [n + draw.uniform(-0.99, 0.99) * tolerance for n in right]]
    for row, _ in found.wrong:
        whole = [r if n is None else n for n, r in zip(row, right, strict=True)]
        near = [n + draw.uniform(-0.9, 0.9) * tolerance for n in whole]
        answers += [whole, near]
    for place, number in enumerate(right):
        stated = [row[place] for row, _ in found.wrong if row[place] is not None]
        slips = [-number, 100 * number, 10 * number, number / 1000, 1.01 * number]
        slips += [n * number for n in (2, 3, 4, 8)] + [
            n * number for n in (1 / 2, 1 / 4)
        ]
        slips += [float(f"{number:.{digits}g}") for digits in (1, 2, 3)]
        unknown = [draw.uniform(-1000, 1000) for _ in range(20)]
        for other in chain(stated, slips, unknown):
            answers.append([*right[:place], other, *right[place + 1 :]])
    answers += [[draw.uniform(1e4, 1e12) for _ in right] for _ in range(20)]
    return answers


def said(id, answer):
    """What the notebook shows."""
    return repr(judged(id, answer, 0))


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_the_page_says_what_check_says(notebook, visit):
    tab = visit(f"exercises/{notebook}.html")
    for id, entry in ENTRIES.items():
        if entry["notebook"] != notebook:
            continue
        answers = answers_to(id)
        shown = tab.evaluate(ANSWER, [form_of(id), answers])
        for answer, text in zip(answers, shown, strict=True):
            assert text == said(id, answer), answer
