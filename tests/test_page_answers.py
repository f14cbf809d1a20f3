"""Tasks that are answered on the page: what it says is what `check` says."""

import gzip
import json
import random
from functools import cache
from itertools import chain

import pytest
from bs4 import BeautifulSoup
from tests.bank import predictions as bank
from tests.test_site import assert_accessible, parses_pages, soup

import quiz
from address import ROOT, read_address
from book import HTML
from page_answers import declared
from plain_markdown import labels
from predictions import DeclarationError
from vit_encoder.check import catalogue, judged, progress, task
from vit_encoder.check.predictions import Choose, PredictNumbers
from vit_encoder.message_html import message_html
from wrong_answer import made, wrong_answer

ENTRIES = {e["id"]: e for e in catalogue() if e["kind"] == "predict"}
CODE = {e["id"]: e for e in catalogue() if e["kind"] != "predict"}
NOTEBOOKS = sorted({e["notebook"] for e in ENTRIES.values()})
QUIZZES = {
    path.stem: quiz.read(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "chapters").glob("*.md"))
}
PAGE = "exercises/02_self_attention.html"
CHOICE = "self_attention.entropy"  # its answer is B
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
        for (const code of box.querySelectorAll("p > code"))
            code.replaceWith("`" + code.textContent + "`");
        const [first, ...more] = [...box.querySelectorAll(":not(.answer-again)")]
            .filter((part) => part.parentElement === box)
            .map((part) => part.textContent);
        return [first, ...(more.length ? [more.join("\\n")] : [])].join("\\n\\n");
    });
}"""


@pytest.fixture
def visit(tabs, site):
    """Open a page. script: that runs first, after which others' scripts may fail.

    Where nothing can be kept, Furo's own script fails.
    """

    def open_page(page, script="", **options):
        tab = tabs(site, lambda text: script and "answers.js" not in text, **options)
        if script:
            tab.add_init_script(script)
        tab.goto(site + page)
        if options.get("java_script_enabled", True):
            wake(tab)
        return tab

    return open_page


def wake(tab):
    """Scroll to the forms, for which their script waits."""
    tab.evaluate("document.querySelector('form.answer').scrollIntoView()")
    tab.locator("form.answer fieldset:enabled").first.wait_for()


def form_of(id):
    return "answer-" + id.replace(".", "-")


def answer(tab, id, *answers):
    """What the page shows for each answer."""
    return tab.evaluate(ANSWER, [form_of(id), answers])


# What it says


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
        near = [n + draw.uniform(-0.1, 0.1) * tolerance for n in whole]
        answers += [whole, near]
    for place, number in enumerate(right):
        stated = [row[place] for row, _ in found.wrong if row[place] is not None]
        slips = [-number, 100 * number, 10 * number, number / 1000, 1.01 * number]
        slips += [factor * number for factor in (2, 3, 4, 8, 1 / 2, 1 / 4)]
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
        if entry["notebook"] == notebook:
            given = answers_to(id)
            for one, text in zip(given, answer(tab, id, *given), strict=True):
                assert text == said(id, one), one


def flat(numbers):
    for number in numbers:
        yield from flat(number) if isinstance(number, list) else [number]


def test_wrong_numbers_of_the_bank_are_told_alike(visit):
    """Many hold two mistakes, and some only a part of one: there the page says less."""
    alike = []
    for notebook in NOTEBOOKS:
        tab = visit(f"exercises/{notebook}.html")
        for id, rows in bank.NUMBERS.items():
            if ENTRIES[id]["notebook"] == notebook:
                given = [list(flat(row)) for row in chain(*rows.values())]
                for one, text in zip(given, answer(tab, id, *given), strict=True):
                    assert not judged(id, one, 0).passed
                    assert "not passed yet" in text
                    alike.append(text == said(id, one))
    assert len(alike) > 400
    assert sum(alike) > 0.94 * len(alike)


@pytest.mark.parametrize(
    ("typed", "number"),
    [("0,25", None), ("1/4", 0.25), ("25 %", 0.25), ("−2", -2), ("", None)],
)
def test_numbers_are_read_as_in_the_notebook(typed, number, visit):
    id = "self_attention.one_query"
    tab = visit(PAGE)
    shown = answer(tab, id, [typed, "0.75", "7"])[0]
    if number is None:  # a comma makes two numbers of it; nothing makes none
        assert shown.startswith("The weight of key 0: give one number; you gave ")
    else:
        assert shown == said(id, [number, 0.75, 7.0])


def test_what_is_missing_is_said(visit):
    tab = visit(PAGE)
    tab.locator(f"#{form_of(CHOICE)} button").click()
    tab.get_by_text("Choose an answer first.").wait_for()
    tab.locator(f"#{form_of('self_attention.one_query')} button").click()
    tab.get_by_text("The weight of key 0: give one number; you gave none.").wait_for()
    assert tab.evaluate(f"localStorage.getItem('{KEY}')") is None
    assert answer(tab, "self_attention.one_query", ["x", "0.75", "7"]) == [
        "The weight of key 0: “x” is not a number."
    ]
    answer(tab, "self_attention.one_query", ["0.25", "", "7"])
    focus = tab.evaluate("document.activeElement.labels[0].textContent")
    assert focus == "The weight of key 1"


# Tasks whose answer is code


@cache
def wrong_answer_to(id):
    """What the page shows as one, with its report."""
    test = declared(CODE[id]["notebook"])[id].get("wrong", "")
    return wrong_answer(id, test), test


@parses_pages
@pytest.mark.parametrize("notebook", sorted({e["notebook"] for e in CODE.values()}))
def test_code_tasks_show_a_wrong_answer_with_its_report(notebook):
    page = soup(f"exercises/{notebook}.html")
    text = page.select_one("article").get_text().casefold()
    assert "not answered yet" not in text
    assert "not checked" not in text
    found = page.select("details.answer-wrong")
    ids = [id for id, entry in CODE.items() if entry["notebook"] == notebook]
    for id, shown in zip(ids, found, strict=True):
        wrong, _ = wrong_answer_to(id)
        assert wrong.report.answered
        assert not wrong.report.passed
        assert wrong.report.misconceptions
        assert shown.select_one("strong").text == wrong.report.heading
        message = BeautifulSoup(message_html(wrong.report.message), "html.parser")
        assert message.get_text() in shown.get_text()
        again = shown.select_one(".text_html a")
        assert again.text == wrong.report.again
        assert again["href"].startswith("../")
        links = [link["href"] for link in shown.select("a")][1:]
        assert links[0].endswith(f"exercises/{notebook}.ipynb")
        assert links[0].startswith("https://colab.research.google.com/")


@parses_pages
@pytest.mark.parametrize("id", CODE)
def test_a_wrong_answer_gives_no_answer_away(id):
    """Code that is all but right is shown only if the right one stands in a chapter."""
    entry = CODE[id]
    wrong, test = wrong_answer_to(id)
    if entry["kind"] == "break it":
        assert wrong.report.misconceptions[0] == "test-accepts-wrong"
        assert made(test).__name__ == entry["answer"]
    elif wrong.code:
        right = task(id).misconceptions[0].right
        chapters = (ROOT / "chapters").glob("*.md")
        kind = "class" if isinstance(right, type) else "def"
        line = f"\n{kind} {right.__name__}("
        assert any(line in path.read_text(encoding="utf-8") for path in chapters)


# Quizzes


@pytest.mark.parametrize("stem", QUIZZES)
def test_a_quiz_explains_every_choice(stem, visit):
    tab = visit(f"chapters/{stem}.html")
    for number, question in enumerate(QUIZZES[stem], start=1):
        for letter, choice in question["choices"].items():
            right = "because" in choice
            state = "right" if right else "not this one"
            text = choice["because" if right else "means"]
            shown = answer(tab, f"{stem}.{question['name']}", letter)
            assert shown == [f"Question {number}, {letter}: {state}\n\n{text}"]


def test_each_chapter_has_a_quiz():
    assert [stem for stem, asked in QUIZZES.items() if not asked] == []


QUESTION = """
- name: {name}
  ask: What is it?
  choices:
    A: {{text: This, {a}: It is., }}
    B: {{text: That, {b}: It would be.}}
"""


def a_quiz(a="because", b="means", names="xyz"):
    return "".join(QUESTION.format(name=name, a=a, b=b) for name in names)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (a_quiz(names="xy"), "3 to 5 questions, this one 2"),
        (a_quiz(a="means"), "one choice of x has `because`"),
        (a_quiz(b="because"), "one choice of x has `because`"),
        (a_quiz(b="why"), "choice B of x has `why`"),
        (a_quiz(names="xyx"), "have the same name"),
        ("nothing", "a list in YAML"),
        ("a: [", "a list in YAML: while parsing"),
    ],
)
def test_a_quiz_that_is_malformed_is_named(text, fault):
    with pytest.raises(DeclarationError, match=fault):
        quiz.questions(text)


def test_a_notebook_lists_the_questions_and_tells_no_answer():
    shown = quiz.plain(a_quiz(), "https://site/page.html")
    assert shown.startswith("**1.** What is it?\n\n- A: This\n- B: That\n\n**2.**")
    assert "[the page of this chapter](https://site/page.html)" in shown
    assert "It is." not in shown
    assert labels(shown) == set()


def test_readers_of_a_quiz_read_its_questions_and_one_reason():
    text = quiz.words_to_read(f"Before.\n```{{quiz}}\n{a_quiz()}```\nAfter.")
    assert text.count("What is it?") == 3
    assert text.count("It is.") == 3
    assert "It would be." not in text


# Progress


def best(tab, id):
    return tab.locator(f"#{form_of(id)} .answer-best").inner_text()


def test_the_best_result_stays(visit):
    tab = visit(PAGE)
    assert best(tab, CHOICE) == ""
    answer(tab, CHOICE, "A")
    assert best(tab, CHOICE) == ""
    answer(tab, CHOICE, "B", "C")
    tab.reload()
    wake(tab)
    assert best(tab, CHOICE) == "✓ passed"
    assert tab.locator("[data-right]").inner_text() == "1"


def test_a_result_of_another_version_does_not_count(visit):
    tab = visit(PAGE)
    answer(tab, CHOICE, "B")
    tab.evaluate(
        f"""localStorage.setItem("{KEY}", localStorage.getItem("{KEY}")
            .replace(/"version":"\\w+"/, '"version":"old"'))"""
    )
    tab.reload()
    wake(tab)
    assert best(tab, CHOICE) == "The task has changed: answer again."
    assert tab.locator("[data-right]").inner_text() == "0"
    answer(tab, CHOICE, "A")  # is the best of this version
    assert best(tab, CHOICE) == ""


def test_progress_is_exported_as_notebooks_read_it(visit, tmp_path):
    tab = visit(PAGE)
    answer(tab, CHOICE, "B")
    answer(tab, "self_attention.one_query", [0.1, 0.9, 7.6])
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Export my progress").click()
    assert download.value.suggested_filename == "02_self_attention.progress.jsonl"
    path = tmp_path / "progress.jsonl"
    download.value.save_as(path)
    found = {report.id: report for report in progress.read(path).values()}
    for id, given in ((CHOICE, "B"), ("self_attention.one_query", [0.1, 0.9, 7.6])):
        expected = judged(id, given, 0)
        assert progress.record(found[id]) == progress.record(expected) | {
            "misconceptions": tuple(expected.misconceptions)
        }


def test_nothing_is_exported_where_nothing_is_answered(visit):
    tab = visit(PAGE)
    tab.on("download", lambda _: pytest.fail("an empty file"))
    tab.get_by_role("button", name="Export my progress").click()
    tab.get_by_text("there is nothing to export").wait_for()
    answer(tab, CHOICE, "B")
    assert tab.locator(".answer-progress [role=status]").inner_text() == ""


def test_a_damaged_result_spoils_no_other(visit):
    tab = visit(PAGE)
    answer(tab, CHOICE, "B")
    tab.evaluate(
        f"""localStorage.setItem("{KEY}", JSON.stringify(
            {{ bad: 1, ...JSON.parse(localStorage.getItem("{KEY}")) }}))"""
    )
    tab.reload()
    wake(tab)
    assert best(tab, CHOICE) == "✓ passed"
    remark = tab.locator(".answer-progress [role=status]").inner_text()
    assert "cannot be read" in remark


def test_progress_is_forgotten_on_request_alone(visit):
    tab = visit(PAGE)
    answer(tab, CHOICE, "B")
    forget = tab.get_by_role("button", name="Forget my progress")
    tab.once("dialog", lambda dialog: dialog.dismiss())
    forget.click()
    assert best(tab, CHOICE) == "✓ passed"
    tab.once("dialog", lambda dialog: dialog.accept())
    forget.click()
    assert best(tab, CHOICE) == ""
    assert tab.evaluate(f"localStorage.getItem('{KEY}')") is None


FORBIDDEN = """Object.defineProperty(window, "localStorage",
    { get() { throw new DOMException("no", "SecurityError"); } });"""
FULL = """Storage.prototype.setItem = () => {
    throw new DOMException("full", "QuotaExceededError"); };"""
MISSING = 'Object.defineProperty(window, "localStorage", { value: undefined });'


@pytest.mark.parametrize(
    ("script", "remark"),
    [
        (FORBIDDEN, "keeps nothing"),
        (MISSING, "keeps nothing"),
        (FULL, "storage is full"),
        (f"localStorage.setItem('{KEY}', '[{{')", "cannot be read"),
        (f"""localStorage.setItem('{KEY}', '{{"x": {{"y": 1}}}}')""", "cannot be read"),
        (f"localStorage.setItem('{KEY}', 'null')", "cannot be read"),
    ],
    ids=["forbidden", "missing", "full", "damaged", "other", "null"],
)
def test_it_works_where_nothing_can_be_kept(script, remark, visit):
    tab = visit(PAGE, script)
    assert answer(tab, CHOICE, "B") == [said(CHOICE, "B")]
    assert best(tab, CHOICE) == "✓ passed"
    assert remark in tab.locator(".answer-progress [role=status]").inner_text()


def test_nothing_is_sent(visit):
    tab = visit(PAGE)
    tab.wait_for_load_state("networkidle")
    sent = []
    tab.on("request", lambda request: sent.append(request.url))
    answer(tab, CHOICE, "A", "B")
    with tab.expect_download():
        tab.get_by_role("button", name="Export my progress").click()
    tab.wait_for_timeout(300)
    assert [url for url in sent if not url.startswith("blob:")] == []


# For everybody


def test_the_keyboard_answers(visit):
    tab = visit(PAGE)
    form = tab.locator(f"#{form_of(CHOICE)}")
    form.locator("input").first.focus()
    tab.keyboard.press("Space")
    tab.keyboard.press("ArrowRight")  # chooses, and does not turn the page
    tab.keyboard.press("Enter")
    form.get_by_text("Entropy without the scale: 1 of 1 point, passed").wait_for()
    assert tab.url.endswith(PAGE)
    group = form.get_by_role("group", name="Your answer: Entropy without the scale")
    assert group.get_by_role("radio", name="B: about 3.8, 0.7").is_checked()
    assert form.get_by_role("status").inner_text().startswith("Entropy")


@pytest.mark.parametrize("page", [PAGE, "chapters/02_self_attention.html"])
def test_answers_and_reports_are_accessible(page, visit):
    tab = visit(page, reduced_motion="reduce")
    tab.evaluate(
        """for (const form of document.querySelectorAll("form.answer")) {
               form.querySelector("input").click();
               form.querySelector("button").click();
           }"""
    )
    for width, theme in ((360, "dark"), (1280, "light")):
        assert_accessible(tab, width, theme, "form.answer, .answer-progress")


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_phone_shows_all_fields_and_numbers_below_each_other(notebook, visit):
    """Fields can be hit; and in reports no row of numbers wraps."""
    phone = {"width": 360, "height": 800}
    tab = visit(f"exercises/{notebook}.html", viewport=phone)
    sizes = tab.evaluate(
        """[...document.querySelectorAll(
            ".answer-choice label, .answer-fields :is(input, select), .answer button,"
            + " .answer-progress button")].map((target) => {
                const { width, height, right } = target.getBoundingClientRect();
                return [width, height, right]; })"""
    )
    assert sizes
    for width, height, right in sizes:
        assert min(width, height) >= 24
        assert right <= 360
    tab.evaluate(
        "document.querySelectorAll('.answer-wrong').forEach(d => { d.open = true; })"
    )
    wrapped = tab.evaluate(
        """[...document.querySelectorAll(".answer-wrong div pre")].filter((rows) => {
            const lines = rows.textContent.trimEnd().split("\\n").length;
            const { lineHeight } = getComputedStyle(rows);
            return rows.clientHeight > (lines + 1.5) * parseFloat(lineHeight);
        }).map((rows) => rows.textContent)"""
    )
    assert wrapped == []
    assert tab.evaluate("document.documentElement.scrollWidth") == 360


def test_without_javascript_the_question_stands_and_leads_to_the_notebook(visit):
    tab = visit(PAGE, java_script_enabled=False)
    form = tab.locator(f"#{form_of(CHOICE)}")
    assert form.get_by_text("B: about 3.8, 0.7 and 0.15 nats").is_visible()
    assert form.locator("noscript p").is_visible()
    assert form.get_by_role("button").is_disabled()
    assert not tab.locator(".answer-progress").is_visible()


def test_without_javascript_a_quiz_can_be_read_with_its_explanations(visit):
    stem = "02_self_attention"
    tab = visit(f"chapters/{stem}.html", java_script_enabled=False)
    question = QUIZZES[stem][0]
    form = tab.locator(f"#{form_of(stem + '.' + question['name'])}")
    form.locator("noscript summary").click()
    shown = form.locator("noscript").inner_text()
    for choice in question["choices"].values():
        assert choice.get("because", choice.get("means")) in shown


def test_a_report_leads_to_what_to_read_again(visit):
    tab = visit(PAGE)
    answer(tab, CHOICE, "A")
    link = tab.locator(f"#{form_of(CHOICE)} .answer-again a")
    assert link.inner_text() == ENTRIES[CHOICE]["again"]
    link.click()
    title, target = tab.url.rpartition("#")[::2]
    assert title.endswith("chapters/02_self_attention.html")
    assert tab.locator(f"[id='{target}'] > h2").inner_text().startswith("Break it")


@parses_pages
def test_every_section_to_read_again_is_where_its_address_says():
    prefix = read_address().site
    for entry in catalogue():
        page, _, target = entry["read"].removeprefix(prefix).partition("#")
        heading = soup(page).select_one(f"[id='{target}'] > :is(h1, h2, h3)")
        assert heading.get_text().rstrip("¶#") == entry["again"], entry["read"]


def test_a_changed_answer_marks_the_report_as_old(visit):
    tab = visit(PAGE)
    answer(tab, CHOICE, "A")
    form = tab.locator(f"#{form_of(CHOICE)}")
    report = form.locator(".answer-report")
    assert "old" not in report.get_attribute("class")
    form.locator("input[value=C]").check()
    assert "old" in report.get_attribute("class")
    assert report.locator("p").first.inner_text().startswith("Your answer has changed")
    form.get_by_role("button", name="Check").click()
    assert "old" not in report.get_attribute("class")
    assert "changed" not in report.inner_text()


@pytest.mark.parametrize("page", [PAGE, "chapters/02_self_attention.html"])
def test_the_script_moves_nothing(page, visit):
    heights = []
    for scripts in (True, False):
        tab = visit(page, java_script_enabled=scripts)
        boxes = [f.bounding_box() for f in tab.locator(".answer fieldset").all()]
        heights.append([(box["width"], box["height"]) for box in boxes])
    assert heights[0] == heights[1] != []


def test_the_script_is_small_and_only_where_it_is_needed():
    script = (ROOT / "book" / "_static" / "answers.js").read_bytes()
    assert len(gzip.compress(script)) <= 15_000
    for path in HTML.rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        assert ("_static/answers.js?v=" in html) == ('class="answer"' in html), path


@parses_pages
def test_data_beside_a_form_cannot_end_its_script():
    for page in (PAGE, "chapters/02_self_attention.html"):
        for data in soup(page).select("form.answer script"):
            assert json.loads(data.text)["id"]
