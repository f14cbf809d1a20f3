"""Every exercise: right answers pass, wrong ones are named, three states, plain data.

Answers come from tests/bank/NAME.py, one file beside each module of checks.
"""

import re
from dataclasses import fields, is_dataclass, replace
from importlib import import_module

import pytest
import torch

import asked_answers
import vit_encoder.check
from address import ROOT
from vit_encoder.check import catalogue, check, progress, score_card
from vit_encoder.check.judging.misconceptions import Misconception, plain, source_of
from vit_encoder.check.tasks import BreakIt, Implement

ENTRIES = catalogue()
IDS = [entry["id"] for entry in ENTRIES]
NOTEBOOKS = sorted({entry["notebook"] for entry in ENTRIES})
MODULES = sorted({id.partition(".")[0] for id in IDS})
CHECKS = {name: import_module(f"vit_encoder.check.{name}") for name in MODULES}
BANKS = {name: import_module(f"tests.bank.{name}") for name in MODULES}


task_of = vit_encoder.check.task


def answers(kind, id):
    """What the bank holds for an exercise under RIGHT, WRONG, NAMELESS and so on."""
    module, _, name = id.partition(".")
    return getattr(BANKS[module], kind, {}).get(name, ())


def of_type(*kinds):
    return [id for id in IDS if isinstance(task_of(id), kinds)]


def name_of(thing):
    if isinstance(thing, Misconception):
        return thing.name
    return getattr(thing, "__name__", type(thing).__name__)


def cases(rows):
    """Parameters with readable names: the exercise, then the answer.

    One process tests all of an exercise: it keeps what the known wrong versions say.
    What was asked and has not changed is left out, see tools/asked_answers.py.
    """
    return [
        pytest.param(
            *row,
            id="-".join([row[0], *map(name_of, row[-1:])]),
            marks=[pytest.mark.xdist_group(row[0]), pytest.mark.answer(row[0])],
        )
        for row in rows
    ]


def of_bank(kind, id):
    """Names of what is wrong, and answers that must get them."""
    found = answers(kind, id) or {}
    return [(name, answer) for name, given in found.items() for answer in given]


SEEDS = 2  # few, so that known wrong versions need not be asked anew for each answer
RIGHT = [
    (id, seed % SEEDS, answer)
    for id in of_type(Implement)
    for seed, answer in enumerate(answers("RIGHT", id))
]
WRONG = [
    (id, seed % SEEDS, name, answer)
    for id in of_type(Implement)
    for seed, (name, answer) in enumerate(of_bank("WRONG", id))
]
NAMELESS = [(id, a) for id in of_type(Implement) for a in answers("NAMELESS", id)]
DECLARED = {  # misconception → the first exercise that names it, and does not show it
    m: id
    for id in reversed(of_type(Implement))
    for m in task_of(id).misconceptions
    if m != task_of(id).bug
}
KNOWN = [
    (id, seed % SEEDS, m)
    for id in of_type(Implement)
    for seed, m in enumerate(task_of(id).misconceptions)
    if not task_of(id).bug or DECLARED.get(m) == id
]
SHOWN = [
    m for c in CHECKS.values() for known in c.MISCONCEPTIONS.values() for m in known
]
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture(params=DEVICES)
def device(request):
    """What a notebook calls `device`: its own tensors lie there."""
    return torch.device(request.param)


@pytest.fixture(params=DEVICES)
def session(request):
    """A learner's session with this default device; a check asks on the CPU anyway."""
    if request.param == "cpu":  # as it is; to set it would slow every call of torch
        yield
    else:
        torch.set_default_device(request.param)
        yield
        torch.set_default_device(None)


in_each_session = pytest.mark.usefixtures("session")


# Right answers


@in_each_session
@pytest.mark.parametrize(("id", "seed", "answer"), cases(RIGHT))
def test_right_designs_pass(id, seed, answer):
    report = check(id, answer, seed)
    assert (report.passed, report.misconceptions) == (True, ()), report
    assert report.points == report.out_of


@pytest.mark.parametrize("id", of_type(Implement))
def test_there_are_three_right_designs_or_more(id):
    assert len(answers("RIGHT", id)) >= 3


# Wrong answers


@in_each_session
@pytest.mark.parametrize(("id", "seed", "name", "answer"), cases(WRONG))
def test_wrong_answers_lose_marks_and_are_named(id, seed, name, answer):
    report = check(id, answer, seed)
    assert not report.passed
    assert report.points < report.out_of
    names = name if isinstance(name, tuple) else (name,)
    assert report.misconceptions == names, report


@in_each_session
@pytest.mark.parametrize(("id", "answer"), cases(NAMELESS))
def test_what_nobody_recorded_fails_without_a_name(id, answer):
    report = check(id, answer)
    assert (report.passed, report.points) == (False, 0)
    assert report.misconceptions == ()
    assert "Question: " in report.message


@in_each_session
@pytest.mark.parametrize(("id", "seed", "wrong"), cases(KNOWN))
def test_known_wrong_versions_are_named_and_asked_about(id, seed, wrong):
    report = check(id, wrong.wrong, seed)
    assert not report.passed
    assert report.points < report.out_of
    assert report.misconceptions == (wrong.name,), report
    assert wrong.seen in report.message
    assert f"Question: {wrong.ask}" in report.message
    assert not told(report.message, wrong)


@pytest.mark.parametrize("wrong", DECLARED, ids=name_of)
def test_what_is_known_to_be_wrong_ends_in_a_question(wrong):
    assert wrong.seen.endswith(".")
    assert wrong.ask.endswith("?")
    assert wrong.source


def told(message, wrong):
    """The lines of the right version that stand in a message, but for the wrong ones.

    An exception is shown with the line of the answer that raised it.
    """
    kept = wrong.code()
    while wrong.part:
        wrong = wrong.part
    lines = (line.strip() for line in plain(source_of(wrong.right)).splitlines())
    lines = [x for x in lines if ("=" in x or "return" in x) and x not in kept]
    halves = [half for x in lines for half in re.split(r" = |return ", x) if half]
    return [x for x in {*lines, *halves} if len(x) > 8 and x in message]


def test_a_message_that_tells_is_found_out():
    wrong = vit_encoder.check.misconception("self_attention.attention", "no-scale")
    right = "q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])"
    assert told(f"Write {right}.", wrong) == [right]
    assert not told(wrong.seen, wrong)


@pytest.mark.parametrize("wrong", SHOWN, ids=lambda m: m.name)
def test_a_misconception_is_a_small_visible_change(wrong):
    diff = wrong.diff()
    changed = [line for line in diff.splitlines() if line[0] in "+-"]
    assert 0 < len(changed) <= 12, diff
    assert '"""' not in diff
    while wrong.part:
        wrong = wrong.part
    # It is the edit itself that is shown.
    right, own = (
        set(plain(text).splitlines()) for text in (source_of(wrong.right), wrong.text)
    )
    removed = {line[1:] for line in changed if line[0] == "-"}
    added = {line[1:] for line in changed if line[0] == "+"}
    assert removed <= right
    assert added <= own
    assert removed - own or added - right, diff


def test_names_are_unique_in_an_exercise():
    for id in of_type(Implement):
        names = [m.name for m in task_of(id).misconceptions]
        assert len(set(names)) == len(names), id


# Tests that students write


@in_each_session
@pytest.mark.parametrize(
    ("id", "test"),
    cases((id, test) for id in of_type(BreakIt) for test in answers("GOOD_TESTS", id)),
)
def test_good_tests_pass(id, test):
    for seed in range(3):
        report = check(id, test, seed)
        assert (report.points, report.passed) == (report.out_of, True), report


@in_each_session
@pytest.mark.parametrize(
    ("id", "points", "name", "test"),
    cases(
        (id, points, name, test)
        for id in of_type(BreakIt)
        for test, points, name in [
            *answers("WEAK_TESTS", id),
            (lambda part: True, 0, "test-accepts-wrong"),
            (lambda part: False, 0, "test-rejects-right"),
        ]
    ),
)
def test_weak_tests_are_found_out(id, points, name, test):
    report = check(id, test)
    names = name if isinstance(name, tuple) else (name,)
    found = report.misconceptions[: len(names)]
    assert (report.points, found) == (points, names), report
    assert "Question: " in report.message


@pytest.mark.parametrize("id", of_type(BreakIt))
def test_what_a_test_must_pass_does_all_that_the_task_asks(id):
    """Where another task asks for the same function, its check accepts it."""
    wrong = {m.right for m in task_of(id).wrong if not m.given_as}
    for other in of_type(Implement):
        task = task_of(other)
        known = {m.right for m in task.misconceptions if not m.part}
        if other.partition(".")[0] != id.partition(".")[0] or not wrong & known:
            continue
        task = replace(task, form=replace(task.form, reference=()))  # one may call it
        questions = task.questions(0)
        for name, version in task_of(id).right.items():
            verdict = task.judge(questions, task.listener(questions)(version), 3)
            assert verdict.passed, f"{name}: {verdict.message}"


@pytest.mark.parametrize("id", of_type(BreakIt))
def test_there_are_good_and_weak_tests(id):
    assert len(answers("GOOD_TESTS", id)) >= 2
    assert len(answers("WEAK_TESTS", id)) >= 2


def test_every_answer_was_asked():
    stale = asked_answers.stale()
    assert not stale, f"the answers on {stale} changed, or what they rest on: make sync"


# The three states: untouched and solved here, wrong above


def run_exercises(name, device, *, solved):
    """Run the cells of solutions/name.md, with or without their answers."""
    text = (ROOT / "solutions" / f"{name}.md").read_text(encoding="utf-8")
    cell = r"^```\{code-cell\} ipython3\n(?:---\n.*?^---\n)?(.*?)^```$"
    answer = r"^( *)# BEGIN SOLUTION\n.*?^ *# END SOLUTION$"
    known = {"torch": torch, "device": device}
    for code in re.findall(cell, text, re.DOTALL | re.MULTILINE):
        if not solved:
            code = re.sub(answer, r"\1...", code, flags=re.DOTALL | re.MULTILINE)
        lines = code.splitlines(keepends=True)
        exec("".join(line for line in lines if not line.startswith(":tags:")), known)
    return score_card(name)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_untouched_exercises_score_nothing(name, device):
    progress.forget()
    card = run_exercises(name, device, solved=False)
    assert card.points == 0
    assert {row.state for row in card.rows} == {"not answered yet"}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_solutions_score_everything(name, device):
    card = run_exercises(name, device, solved=True)
    assert (
        card.points
        == card.out_of
        == sum(e["points"] for e in ENTRIES if e["notebook"] == name)
    )
    assert {row.state for row in card.rows} == {"passed"}


# The catalogue


def test_catalogue_and_tasks_agree():
    kinds = {"implement": Implement, "break it": BreakIt, "find the bug": Implement}
    coded = [entry for entry in ENTRIES if entry["kind"] in kinds]
    for module, checks in CHECKS.items():
        own = [e["id"] for e in coded if e["id"].startswith(f"{module}.")]
        assert own == [f"{module}.{name}" for name in checks.TASKS]
    for entry in coded:
        assert isinstance(task_of(entry["id"]), kinds[entry["kind"]])
        bug = getattr(task_of(entry["id"]), "bug", None)
        assert (entry["kind"] == "find the bug") == bool(bug)


BUGS = [entry["id"] for entry in ENTRIES if entry["kind"] == "find the bug"]


@pytest.mark.parametrize("id", BUGS)
def test_to_find_a_bug_takes_a_search(id):
    """Nothing in the book names it, and the answer of no other task repairs it."""
    pages = [*ROOT.glob("chapters/*.md"), *ROOT.glob("solutions/*.md")]
    bug = task_of(id).bug.name
    assert not [p.name for p in pages if bug in p.read_text(encoding="utf-8")]
    module = id.partition(".")[0]
    for other in of_type(Implement):
        if other.startswith(f"{module}.") and other != id:
            assert not check(id, answers("RIGHT", other)[0], 0).points, other


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_has_five_tasks_of_four_kinds_with_three_hints_each(name):
    own = [entry for entry in ENTRIES if entry["notebook"] == name]
    assert len(own) >= 5
    assert {e["kind"] for e in own} == {
        "implement",
        "predict",
        "break it",
        "find the bug",
    }
    text = (ROOT / "solutions" / f"{name}.md").read_text(encoding="utf-8")
    for number in (1, 2, 3):
        assert text.count(f"{{dropdown}} Hint {number}") == len(own)
    for e in own:
        points = f"{e['points']} point{'s' if e['points'] > 1 else ''}"
        points = points if e["points"] else "optional"
        line = f"**{e['kind'].capitalize()} · {e['minutes']} minutes · {points}**"
        assert line in text, f"{e['id']}: expected the line {line}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_imports_the_package_that_it_names(name):
    """The first cell does not do it on Colab, where it installs the package."""
    text = (ROOT / "solutions" / f"{name}.md").read_text(encoding="utf-8")
    if re.search(r"(?<!from )(?<!import )\bvit_encoder\.\w", text):
        assert re.search(r"^import vit_encoder$", text, re.MULTILINE)


# The seam to marking


def is_plain(thing):
    if thing is None or isinstance(thing, str | int | float | bool):
        return True
    if isinstance(thing, dict):
        return all(map(is_plain, [*thing, *thing.values()]))
    if isinstance(thing, tuple | list):
        return all(map(is_plain, thing))
    if is_dataclass(thing):
        return all(is_plain(getattr(thing, f.name)) for f in fields(thing))
    return type(thing) is torch.Tensor


SOME_RIGHT = [(id, answer) for id, _, answer in RIGHT[::5]]
ODD = [(id, answer) for id in IDS for answer in (None, "A", [1, 2.5], lambda x: x)]


@pytest.mark.parametrize(("id", "answer"), cases([*SOME_RIGHT, *NAMELESS[::3], *ODD]))
def test_questions_and_hearings_are_plain_data(id, answer):
    task = task_of(id)
    questions = task.questions(seed=5)
    hearing = task.listener(questions)(answer)
    assert is_plain(questions)
    assert is_plain(hearing)
    assert is_plain(task.judge(questions, hearing, 3))
