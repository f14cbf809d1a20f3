"""The checks: right designs pass, wrong ones are named, broken ones are survived."""

import cProfile
import math
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from tests.bank import encoder as encoder_bank
from tests.bank import layer_norm as layer_norm_bank
from tests.bank import mlp as mlp_bank
from tests.bank import multi_head as multi_head_bank
from tests.bank import self_attention as bank
from torch import nn

from address import ROOT
from vit_encoder import SelfAttention, attention
from vit_encoder.check import (
    bug,
    check,
    misconception,
    progress,
    score_card,
    self_attention,
)
from vit_encoder.check.hearing import asking, guard
from vit_encoder.check.hearing.data import LATE, Form, Question, Reply
from vit_encoder.check.hearing.parameters import ALIASES, FUSED, held_as
from vit_encoder.check.judging.misconceptions import edit, edits
from vit_encoder.check.judging.properties import (
    KEEPS_INPUTS,
    Property,
    agrees,
    refuses,
)
from vit_encoder.check.judging.trials import Fails, Trial
from vit_encoder.check.judging.verdicts import Failure, points_for
from vit_encoder.check.tasks import Implement, without_biases

ATTENTION = "self_attention.attention"
MODULE = "self_attention.SelfAttention"
ENTROPY = "self_attention.entropy"
ONE_QUERY = "self_attention.one_query"
AXIS = "self_attention.wrong_axis"
BUG = "self_attention.find_the_bug"
LAYER_NORM = "layer_norm.LayerNorm"


def test_properties_hold_for_many_seeds():
    for seed in range(50):
        assert check(ATTENTION, bank.with_einsum, seed).passed


def test_a_short_random_query_costs_no_points():
    seed = 95458755834548419  # draws one in which epsilon shows
    right, *_ = layer_norm_bank.RIGHT["normed_attention"]
    assert check("layer_norm.normed_attention", right, seed).passed


@pytest.mark.parametrize("sizes", [(2, 5, 3, 7, 4), (3, 2, 6, 1, 5)])
def test_the_oracle_is_torchs_attention(sizes):
    images, queries, keys, width, out = sizes
    q = torch.randn(images, queries, width, dtype=torch.float64)
    k = torch.randn(images, keys, width, dtype=torch.float64)
    v = torch.randn(images, keys, out, dtype=torch.float64)
    expected = F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(self_attention.exact(q, k, v)[0], expected)


# Wrong answers


def test_two_mistakes_are_both_named():
    def both(q, k, v):
        with torch.no_grad():
            q += 0.0
            q *= 1.0000001
        weights = (q @ k.mT).softmax(-1)
        return weights @ v, weights

    report = check(ATTENTION, both)
    assert set(report.misconceptions) == {"no-scale", "input-changed"}


@pytest.mark.parametrize(
    ("core", "edges", "out_of", "points"),
    [
        (False, 0, 3, 3),
        (False, 1, 3, 2),
        (False, 2, 3, 1),
        (False, 5, 3, 1),  # the core is worth a point, whatever else fails
        (False, 1, 1, 0),  # of a single point, none is left
        (True, 0, 3, 0),
        (True, 2, 3, 0),
        (False, 1, 0, 0),  # an optional task has none to lose
    ],
)
def test_points_of_what_fails(core, edges, out_of, points):
    edge = Property("an edge", Trial.right, "Why?")
    failures = [Failure(edge, LATE)] * edges
    failures += [Failure(replace(edge, core=True), LATE)] * core
    assert points_for(failures, out_of) == points


# Messages


class NoNormNoDropout(encoder_bank.NormNeverCalled):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__(depth, dim, num_heads, mlp_dim)


def test_a_secondary_question_hides_no_mistake():
    report = check("encoder.Encoder", NoNormNoDropout)
    assert report.misconceptions == ("no-final-norm", "dropout-out-of-range")


def test_a_mistake_that_another_one_contains_is_not_named():
    """To swap both choices is wrong twice; the class token for both, once."""
    report = check("encoder.image_vector", encoder_bank.swapped)
    assert report.misconceptions == ("choices-swapped",)


def test_an_answer_that_raises_is_not_taken_for_one_without_biases():
    question = Question("x", (torch.ones(2),), parameters={"norm.bias": torch.ones(2)})
    broken = Reply(problem=LATE)
    assert without_biases(question, broken) is question
    assert without_biases(question, Reply()).parameters["norm.bias"].sum() == 0


def test_wrong_numbers_are_shown_small_with_their_place():
    wrong = misconception(ATTENTION, "softmax-over-queries").wrong
    message = check(ATTENTION, wrong).message
    assert "q = [[2, 0, 1, 0], [0, 2, 0, 1]]" in message
    assert "  query 0    0.27*   0.18*   0.73*    0.04   0.11   0.84" in message


def test_a_row_of_numbers_is_shown_one_below_the_other():
    wrong = misconception("scaling_out.rank_indices", "one-block-for-each").wrong
    message = check("scaling_out.rank_indices", wrong).message
    assert "  order = [50, 10, 40, 20, 30]\n  rank = 0\n  ranks = 2\n" in message
    assert "  place 1   10.00*   40.00\n" in message


@pytest.mark.parametrize(
    ("got", "right", "text"),
    [
        ([1.0, 2.0], [1.0, 2.5], " by up to 0.5"),
        ([torch.nan, 2.0], [1.0, 2.5], ": some are nan"),
        ([1.0, -torch.inf], [1.0, 2.5], ": some are infinite"),
        ([1.0, 2.0], [torch.nan, 2.0], ""),
        ([1.0, 2.0], [torch.nan, 2.5], " by up to 0.5"),
    ],
)
def test_it_is_said_how_numbers_differ(got, right, text):
    reply = Reply(outputs=(torch.tensor(got),))
    trial = Trial(Question("", ()), reply, (torch.tensor(right).double(),), {})
    assert trial.by() == text


def test_what_a_layer_was_given_is_shown():
    epsilon = misconception(LAYER_NORM, "epsilon-not-kept").wrong
    message = check(LAYER_NORM, epsilon).message
    for line in ("dim = 4", "eps = 1e-06", "weight = [1, 1, 1, 1]"):
        assert f"  {line}\n" in message


def test_text_does_not_depend_on_the_seed_of_the_notebook():
    wrong = misconception(ATTENTION, "no-scale").wrong
    torch.manual_seed(1)
    first = repr(check(ATTENTION, wrong))
    torch.manual_seed(2)
    assert repr(check(ATTENTION, wrong)) == first


def test_reports_show_themselves_as_text_and_html():
    report = check(ATTENTION, lambda q, k, v: [].sort())
    assert repr(report).startswith(
        "Attention: 0 of 3 points, not passed yet (returns none)"
    )
    page = report._repr_html_()
    assert "<strong>Attention: 0 of 3 points" in page
    assert "<code>return</code>" in page
    report = check(ATTENTION, lambda q, k, v: int("<b>"))
    assert "&lt;b&gt;" in report._repr_html_()


def test_a_report_keeps_rows_in_columns_and_shows_code_as_code():
    page = check(ATTENTION, misconception(ATTENTION, "no-scale").wrong)._repr_html_()
    rows = re.search(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)[1]
    assert "  q = [[" in rows
    assert "<p>Question: " in page
    assert "white-space: pre;" in page  # and no word of the prose is broken


def test_a_report_shows_the_line_that_raised_as_code():
    def attention(q, k, v):
        return q.nothing

    page = check(ATTENTION, attention)._repr_html_()
    assert re.search(
        r"<p>Line \d+, in <code>attention</code>: <code>return q.nothing<", page
    )


def test_only_a_wrong_answer_leads_to_what_to_read_again():
    link = (
        r'<p>Read again: <a href="http\S+/chapters/02_self_attention.html#code">Code<'
    )
    wrong = misconception(ATTENTION, "no-scale").wrong
    for answer, links in ((root_of_a_float32_tensor, 0), (wrong, 1), (None, 0)):
        shown = check(ATTENTION, answer)._repr_html_()
        assert len(re.findall(link, shown)) == links


def small_number_added(q, k, v):
    scores = (q @ k.mT / q.shape[-1] ** 0.5).exp()
    weights = scores / (scores.sum(-1, keepdim=True) + 1e-8)
    return weights @ v, weights


def root_of_a_float32_tensor(q, k, v):
    root = torch.sqrt(torch.tensor(q.shape[-1], dtype=torch.float32))
    weights = (q @ k.mT / root).softmax(-1)
    return weights @ v, weights


def test_lost_digits_are_those_of_a_computation_not_of_a_constant():
    assert check(ATTENTION, root_of_a_float32_tensor).passed
    message = check(ATTENTION, small_number_added).message
    assert "computes in float32" not in message
    message = check(ATTENTION, bank.float32_and_back).message
    assert "computes in float32" in message
    assert "Question: Where does a number of another type enter?" in message


def test_shares_are_shown_with_the_digits_that_differ():
    def nearly(q, k, v):
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) * 0.9999
        return weights @ v, weights

    assert "add up to 0.9999, not 1." in check(ATTENTION, nearly).message


def test_float32_must_stay_float32():
    def in_float64(q, k, v):
        return bank.with_matmul(q.double(), k.double(), v.double())

    report = check(ATTENTION, in_float64)
    assert (report.points, report.misconceptions) == (2, ("dtype-changed",))


def test_half_precision_outputs_have_one_fault():
    report = check(ATTENTION, bank.in_half)
    assert (report.points, report.misconceptions) == (2, ("dtype-changed",))
    assert "Also seen" not in report.message


def test_the_scale_is_asked_about_only_where_it_shows():
    def unscaled_and_sharper(q, k, v):
        return bank.with_matmul(1.3 * q.shape[-1] ** 0.5 * q, k, v)

    assert "With D_h = 16" in check(ATTENTION, unscaled_and_sharper).message
    for answer in bank.UNRECORDED:
        assert "With D_h = 16" not in check(ATTENTION, answer).message


class TooWide(SelfAttention):
    def __init__(self, dim, head_dim):
        super().__init__(dim, 2 * head_dim)


@pytest.mark.parametrize(
    ("id", "answer"),
    [
        (ATTENTION, lambda q, k, v: [q, k]),
        (ATTENTION, lambda q, k, v: [].sort()),
        (MODULE, bank.OtherNames),
    ],
)
def test_what_says_enough_gets_no_question(id, answer):
    assert len(check(id, answer).message.splitlines()) == 1


def test_a_parameter_of_another_shape_gets_its_own_question():
    report = check(MODULE, TooWide)
    assert report.misconceptions == ("wrong-parameter-shape",)
    assert "Question: What goes into this part" in report.message


def test_layers_made_in_forward_show_as_random_numbers():
    report = check(MODULE, bank.LayersMadeInForward)
    assert report.misconceptions == ("not-deterministic", "device-fixed")
    assert "Question: Where do random numbers enter, and is" in report.message


def test_images_that_are_mixed_are_shown():
    message = check(MODULE, bank.BatchFlattened).message
    assert "x = [[[1, 0, 2], [0, 1, 1]], [[0, 2, 2], [2, 0, 4]]]" in message
    assert "output[0], a row a token" in message


def test_a_class_is_described_with_what_it_was_built_with():
    class Uneven(bank.Separate):
        def forward(self, x):
            return super().forward(x) + x.new_zeros(7)

    message = check(MODULE, Uneven).message
    assert "(2, 5, 6) and a module built with dim 6, head_dim 4: It raised" in message


# Stubs


def empty(q, k, v):
    """Shapes."""
    ...  # your answer


def not_implemented(q, k, v):
    raise NotImplementedError


class EmptyModule(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        ...  # your answer

    def forward(self, x): ...  # your answer


class HalfModule(SelfAttention):
    def forward(self, x):
        """Still to do."""


@pytest.mark.parametrize(
    ("id", "answer"),
    [
        (ATTENTION, empty),
        (ATTENTION, None),
        (ATTENTION, ...),
        (ATTENTION, not_implemented),
        (ATTENTION, lambda q, k, v: ...),
        (MODULE, EmptyModule),
        (MODULE, HalfModule),
        (MODULE, None),
        (AXIS, empty),
        (AXIS, None),
        (BUG, empty),
        (ENTROPY, None),
        (ONE_QUERY, None),
        (ONE_QUERY, ...),
        (ONE_QUERY, (..., ..., ...)),
    ],
)
def test_stubs_are_not_answered_yet(id, answer):
    report = check(id, answer)
    assert (report.points, report.passed, report.answered) == (0, False, False)
    assert report.misconceptions == ()
    assert report.message.startswith("Not answered yet")


def test_a_bug_that_is_still_there_is_an_answer():
    report = check(BUG, misconception(BUG, "averaged-before-softmax").wrong)
    assert (report.points, report.passed, report.answered) == (0, False, True)
    assert report.misconceptions == ("same-as-the-bug",)
    assert report.message.startswith("It does what the version with the bug does.")
    assert "Question: " in report.message


# Broken answers

BROKEN = {
    "returns-none": lambda q, k, v: [].sort(),
    "no-such-key": lambda q, k, v: {}[0],
    "wrong-type": lambda q, k, v: [q, k],
    "wrong-shape": lambda q, k, v: (q, k),
    "wrong-kind": [1, 2],
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_answers_get_one_line(name):
    report = check(ATTENTION, BROKEN[name])
    assert report.misconceptions == (name,)
    assert report.points == 0
    first, *rest = report.message.splitlines()
    assert len(first) < 200
    assert all(line.startswith(("Question: ", "Line ")) for line in rest)


@pytest.mark.parametrize("result", [torch.zeros(()), torch.zeros(2, 3)], ids=repr)
def test_one_tensor_for_two_is_named(result):
    report = check(ATTENTION, lambda q, k, v: result)
    assert report.misconceptions == ("weights-not-returned",)


def leave(q, k, v):
    sys.exit("bye")


def recurse(q, k, v):
    return recurse(q, k, v)


class BadTextError(Exception):
    def __str__(self):
        raise ValueError


def raise_bad_text(q, k, v):
    raise BadTextError


class NoSuperInit(nn.Module):
    def __init__(self, dim, head_dim):
        self.query = nn.Linear(dim, head_dim)

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("id", "answer", "text"),
    [
        (ATTENTION, leave, "SystemExit: bye"),
        (ATTENTION, recurse, "RecursionError"),
        (ATTENTION, raise_bad_text, "BadTextError"),
        (ATTENTION, lambda q: q, "TypeError"),
        (ATTENTION, SelfAttention, "Give a function, not the class SelfAttention."),
        (MODULE, bank.with_matmul, "not the function with_matmul."),
        (MODULE, SelfAttention(3, 4), "not an instance of SelfAttention."),
        (MODULE, dict, "not the class dict."),
        (MODULE, NoSuperInit, "__init__() call"),
        (MODULE, nn.ModuleDict, "It has no `forward`."),
        (MODULE, nn.Linear, "It has no query.weight, key.weight, value.weight."),
        (ENTROPY, "Z", "Give one of the letters A, B, C, D in quotes."),
        (ENTROPY, 2, "Give one of the letters A, B, C, D in quotes, not"),
        (ONE_QUERY, [1, 2], "Give 3 numbers in a list, not 2 of them."),
        (ONE_QUERY, [], "Give 3 numbers in a list, not 0 of them."),
        (ONE_QUERY, (0.25, ..., 7), "Still open: the weight of key 1."),
        (AXIS, 5, "Give a function, not an object of type int."),
    ],
)
def test_odd_answers_are_survived(id, answer, text):
    report = check(id, answer)
    assert text in report.message
    assert (report.points, report.passed) == (0, False)


def endless(q, k, v):
    while True:
        pass


def asleep(q, k, v):
    time.sleep(60)


@pytest.mark.parametrize("answer", [endless, asleep])
def test_loops_are_stopped(answer, monkeypatch):
    monkeypatch.setattr(guard, "TIME_LIMIT", 0.3)
    before = signal.getsignal(signal.SIGALRM)
    report = check(ATTENTION, answer)
    assert report.misconceptions == ("too-slow",)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@pytest.mark.parametrize(
    ("computed", "by_the_clock", "waited", "rest"),
    [
        (0.0, 0.0, 0.0, 5.0),
        (1.0, 9.0, 0.0, 4.0),
        (1.0, 90.0, 85.0, 4.0),  # another process has the machine
        (4.999, 5.1, 0.0, guard.TICK),
        (5.0, 5.0, 0.0, 0),
        (0.0, 13.0, 0.0, 2.0),  # it sleeps
        (0.0, 15.0, 0.0, 0),
        (0.0, 90.0, 75.0, 0),
    ],
)
def test_computing_counts_and_sleep_has_an_end(
    computed, by_the_clock, waited, rest, monkeypatch
):
    others = [7.0, 7.0 + waited]
    monkeypatch.setattr(guard, "waited_for_a_core", lambda: others.pop(0))
    now = SimpleNamespace(process_time=lambda: 2.0, monotonic=lambda: 7.0)
    monkeypatch.setattr(guard, "time", now)
    left = guard.countdown(5.0)
    now.process_time = lambda: 2.0 + computed
    now.monotonic = lambda: 7.0 + by_the_clock
    assert left() == pytest.approx(rest)


@pytest.mark.parametrize("limit", [guard.limit_by_signal, guard.limit_by_thread])
def test_a_machine_that_is_busy_with_others_makes_nothing_late(limit, monkeypatch):
    monkeypatch.setattr(guard, "PATIENCE", 1000)
    with limit(0.1):
        time.sleep(0.3)  # such a process stands still and computes nothing


def test_loops_are_stopped_outside_the_main_thread_too(monkeypatch):
    monkeypatch.setattr(guard, "TIME_LIMIT", 0.3)
    reports = []
    thread = threading.Thread(
        target=lambda: reports.append(check(ATTENTION, endless)), daemon=True
    )
    thread.start()
    thread.join(20)
    assert reports[0].misconceptions == ("too-slow",)


def test_an_alarm_that_was_set_before_still_rings():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        check(ATTENTION, bank.with_matmul)
        time.sleep(0.6)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert rung


def test_loud_answers_are_quiet(capsys):
    def loud(q, k, v):
        print("x" * 100_000)
        print("y", file=sys.stderr)
        return bank.with_matmul(q, k, v)

    report = check(ATTENTION, loud)
    assert report.passed
    assert "characters, which are left out here." in report.message
    assert capsys.readouterr() == ("", "")


def test_everything_is_as_before():
    functions = {name: getattr(torch, name) for name in ("softmax", "matmul")}
    sdpa, profile = F.scaled_dot_product_attention, sys.getprofile()
    threads = torch.get_num_threads()
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    with torch.no_grad():
        for answer in (bank.with_matmul, bank.calls_built_in, leave, bank.with_dropout):
            check(ATTENTION, answer)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.rand(3), expected)
    assert all(getattr(torch, name) is f for name, f in functions.items())
    assert F.scaled_dot_product_attention is sdpa
    assert sys.getprofile() is profile
    assert torch.get_num_threads() == threads
    assert torch.get_default_device() == torch.device("cpu")


def test_a_check_can_be_profiled():
    with cProfile.Profile() as profile:
        report = check(ATTENTION, bank.with_einsum)
        math.sqrt(2)
    assert report.passed
    names = {str(entry.code) for entry in profile.getstats()}
    assert any("sqrt" in name for name in names)  # it goes on after the check


def test_questions_are_not_changed_by_an_answer():
    questions = self_attention.attention_questions(0)
    copies = [tuple(x.clone() for x in q.inputs) for q in questions]
    asking.ask_all(
        lambda q, k, v: (q.zero_(), k.zero_()),
        self_attention.WRITE_ATTENTION.form,
        questions,
    )
    for question, copy in zip(questions, copies, strict=True):
        if question.device == "cpu":
            pairs = zip(question.inputs, copy, strict=True)
            assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)


ELSEWHERE = """
import torch
torch.set_default_device("meta")  # has no data and stands in for a GPU
from importlib import import_module
from vit_encoder.check import catalogue, check
for entry in catalogue():
    module, _, name = entry["id"].partition(".")
    bank = import_module(f"tests.bank.{module}")
    for answers in (bank.RIGHT, bank.GOOD_TESTS):
        for answer in answers.get(name, [])[:1]:
            report = check(entry["id"], answer)
            assert report.passed, report
            print("passed")
"""


def test_checks_are_loaded_and_run_where_another_device_is_the_default():
    run = [sys.executable, "-c", ELSEWHERE]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("passed") > 20


# Predictions


def test_the_right_choice_is_true():
    generator = torch.Generator().manual_seed(0)
    measured = []
    for width in (4, 64, 1024):
        q = torch.randn(2000, width, generator=generator)
        k = torch.randn(197, width, generator=generator)
        p = (q @ k.T).softmax(-1)
        measured.append(-(p * p.clamp_min(1e-30).log()).sum(-1).mean().item())
    assert measured == pytest.approx([3.8, 0.7, 0.15], abs=0.05)
    assert math.log(197) == pytest.approx(5.28, abs=0.005)


# Break it


def silent(attention):
    attention(torch.randn(5, 7), torch.randn(3, 7), torch.randn(3, 4))


def test_a_test_that_says_nothing_is_told_so():
    text = "Your test neither returned a value nor raised."
    assert text in check(AXIS, silent).message
    assert text not in check(AXIS, lambda attention: True).message


# Misconceptions, the bug, the score card, the catalogue


def test_diff_reads_well():
    assert misconception(ATTENTION, "softmax-over-queries").diff() == (
        "     scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])\n"
        "-    weights = scores.softmax(dim=-1)\n"
        "+    weights = scores.softmax(dim=-2)\n"
        "     return weights @ v, weights"
    )


def test_a_misconception_of_a_part_shows_the_part_where_it_is_built_in():
    wrong = misconception(MODULE, "no-scale")
    assert wrong.diff() == misconception(ATTENTION, "no-scale").diff()
    assert wrong.code().startswith("def attention(q, k, v):\n")
    assert "\n\n\nclass SelfAttention(nn.Module):\n" in wrong.code()


def test_a_changed_chapter_makes_an_edit_fail_loudly():
    (gone,) = edits(attention, edit("gone", {"no such line": ""}, "Seen.", "Why?"))
    with pytest.raises(ValueError, match="expected 'no such line' once in attention"):
        assert gone.wrong
    (twice,) = edits(attention, edit("twice", {"weights": "w"}, "Seen.", "Why?"))
    with pytest.raises(ValueError, match="found it 5 times"):
        assert twice.wrong


def test_names_are_unique_and_unknown_ones_are_explained():
    for misconceptions in self_attention.MISCONCEPTIONS.values():
        names = [m.name for m in misconceptions]
        assert len(set(names)) == len(names)
    with pytest.raises(ValueError, match=r"No misconception 'x'.*softmax-over-queries"):
        misconception(ATTENTION, "x")
    with pytest.raises(
        ValueError, match=r"expected one of .*self_attention\.one_query"
    ):
        check("self_attention.nothing", None)
    with pytest.raises(ValueError, match=r"expected one of .*02_self_attention"):
        score_card("x")
    with pytest.raises(ValueError, match="no bug to find"):
        bug(ATTENTION)
    with pytest.raises(ValueError, match="No checks of 'nothing'"):
        misconception("nothing.attention", "x")


def test_the_bug_runs_shows_its_code_and_hides_its_name():
    broken = bug(BUG)
    shares = broken(torch.randn(5, 7), torch.randn(7, 4), torch.randn(7, 4))
    torch.testing.assert_close(shares.sum(), torch.tensor(1.0))
    assert repr(broken).startswith("def received(x, w_query, w_key):\n")
    assert "before_softmax" not in repr(broken)
    built = bug("encoder_block.find_the_bug")(12, 3, 20)
    assert repr(built).startswith("Part(\n")


def test_score_card_adds_up_and_says_what_to_read():
    progress.forget()
    check(ONE_QUERY, [0.25, 0.75, 7])
    check(ATTENTION, bank.with_matmul)
    check(ENTROPY, None)
    check(MODULE, bank.OneLinear)
    check(AXIS, bank.batch_only)
    check(BUG, bank.mean_of_weights)
    card = score_card("02_self_attention")
    assert (card.points, card.out_of) == (7, 17)
    text = repr(card)
    assert "Entropy without the scale            0 of 1  not answered yet\n" in text
    assert text.count('; read again: "') == 2
    assert "Total: 7 of 17 points." in text
    page = card._repr_html_()
    assert '<th scope="col"' in page
    region = '<div role="region" aria-label="Score card of 02_self_attention"'
    assert f'{region} tabindex="0" style="overflow-x: auto"><table>' in page
    assert "</table></div>" in page


# How answers may hold their parameters


def test_names_under_which_a_parameter_may_be_held():
    tables = tuple(FUSED.items()), tuple(ALIASES.items())
    held = [name for name, _, _ in held_as("blocks.0.attn.key.weight", *tables)]
    for name in ("key.weight", "key", "qkv.weight", "qkv", "in_proj_weight"):
        assert f"blocks.0.attn.{name}" in held
    assert ("attn.qkv.bias", 1, 3) in held_as("attn.key.bias", *tables)
    assert "attn.out_proj.bias" in [n for n, _, _ in held_as("attn.proj.bias", *tables)]
    assert "mlp.3.weight" in [n for n, _, _ in held_as("mlp.fc2.weight", *tables)]
    assert held_as("weight", *tables) == [("weight", 0, 1)]
    layer = nn.TransformerEncoderLayer(4, 2, 8)
    for name in ("attn.query", "attn.proj", "mlp.fc1", "mlp.fc2", "norm2"):
        held = [n for n, _, _ in held_as(f"{name}.weight", *tables)]
        assert layer.state_dict().keys() & held, name
    assert ("self_attn.in_proj_bias", 2, 3) in held_as("attn.value.bias", *tables)
    assert held_as("pos_embed", *tables) == [("pos_embed", 0, 1)]


class Kernel(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 5, 2, stride=2)

    def forward(self, x):
        return self.proj(x)


class Bare(nn.Module):
    """Holds a square matrix by itself: its rows may be inputs or outputs."""

    def __init__(self):
        super().__init__()
        self.proj = nn.Parameter(torch.zeros(4, 4))


class RowsAreInputs(Bare):
    def forward(self, x):
        return x @ self.proj


class RowsAreOutputs(Bare):
    def forward(self, x):
        return F.linear(x, self.proj)


def without_profile(q, k, v):
    sys.setprofile(None)
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    return weights @ v, weights


def without_mode(q, k, v):
    torch.overrides._pop_mode()
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    return torch.nn.functional.scaled_dot_product_attention(q, k, v), weights


@pytest.mark.parametrize(
    ("answer", "name"),
    [(without_profile, "guard-removed"), (without_mode, "built-in-used")],
)
def test_who_switches_the_watch_off_is_found_out(answer, name):
    before = sys.getprofile()
    report = check("self_attention.attention", answer)
    assert (report.points, report.misconceptions) == (0, (name,))
    assert sys.getprofile() == before
    assert not torch.overrides._get_current_function_mode_stack()


def test_a_convolution_takes_a_flat_weight():
    weight, x = torch.randn(5, 12).double(), torch.randn(2, 3, 6, 8).double()
    question = Question("x", (x,), parameters={"proj.weight": weight}, initial=True)
    reply = asking.ask(Kernel, Form(("output",), is_class=True), question)
    expected = F.unfold(x, 2, stride=2).mT @ weight.T
    bias = reply.outputs[0].flatten(2).mT - expected
    assert (bias - bias[0, 0]).abs().max() < 1e-12
    assert reply.initial["proj.weight"].shape == (5, 12)


class BareWeight(nn.Module):
    """The same under another name, which is no layer's either."""

    def __init__(self):
        super().__init__()
        self.proj_weight = nn.Parameter(torch.zeros(4, 4))

    def forward(self, x):
        return x @ self.proj_weight


@pytest.mark.parametrize("answer", [RowsAreInputs, RowsAreOutputs, BareWeight])
def test_a_square_matrix_is_tried_both_ways_round(answer):
    weight, x = torch.randn(4, 4).double(), torch.randn(2, 3, 4).double()
    question = Question("x", (x,), parameters={"proj.weight": weight})
    form = Form(("output",), is_class=True)
    hearing = asking.ask_all(answer, form, [question])
    both = [h.replies["x"].outputs[0] for h in (hearing, hearing.turned)]
    assert sum(torch.allclose(output, x @ weight.T) for output in both) == 1
    task = Implement(
        form=form,
        ask_about=lambda seed: [question],
        oracle=lambda q, taken: ((x @ weight.T,), {}),
        properties=(agrees("right", "x", ask="Why?", core=True),),
        misconceptions=(),
    )
    assert task.judge([question], task.listener([question])(answer), 2).passed


def test_a_parameter_of_another_shape_leaves_the_shapes_known():
    question = Question(
        "x", (torch.ones(2, 3),), parameters={"proj.weight": torch.ones(4, 6)}
    )
    reply = asking.ask(Bare, Form(("output",), is_class=True), question)
    assert reply.problem.name == "wrong-parameter-shape"
    assert reply.parameters == {"proj": (4, 4)}


# What chance decides

MLP = "mlp.MLP"
DROPOUT = "mlp.dropout"


def test_a_random_output_is_shown_beside_what_is_right_for_its_draw():
    message = check(DROPOUT, misconception(DROPOUT, "not-scaled").wrong).message
    assert "  p = 0.2\n  training = True\n" in message
    for row in re.findall(r"^  token \d +(.*)$", message, re.MULTILINE):
        numbers = [float(n) for n in row.replace("*", "").split()]
        got, expected = numbers[:4], numbers[4:]
        assert expected == pytest.approx([1.25 * n for n in got], abs=0.01)
        assert row.count("*") == sum(n != 0 for n in got)


@pytest.mark.parametrize("draw", range(10))
def test_another_draw_changes_no_verdict(draw):
    def wrong(x, p, training):
        for _ in range(draw):  # other random numbers than those of the known version
            torch.rand(())
        return mlp_bank.only_masked(x, p, training)

    assert check(DROPOUT, mlp_bank.with_bernoulli, draw).passed
    assert check(DROPOUT, wrong, draw).misconceptions == ("not-scaled",)


def test_float32_on_the_way_is_seen_in_the_output_itself():
    """What is left of an output without chance is too round to tell."""
    report = check(DROPOUT, mlp_bank.dropout_in_float32)
    assert report.misconceptions == ("computed-in-float32",)


def test_errors_are_compared_without_secondary_questions():
    """It has the shape of the known version, and takes any p beside."""
    report = check(MLP, mlp_bank.WidthOfToken)
    assert report.misconceptions == ("hidden-width-ignored",)


# Arguments that are refused


def refuses_odd(x, n):
    if x.shape[-1] % n:
        raise ValueError("odd")
    return x


def wrong_error(x, n):
    assert x.shape[-1] % n == 0
    return x


@pytest.mark.parametrize(
    ("answer", "name", "text"),
    [
        (refuses_odd, "", ""),
        (wrong_error, "wrong-error", "is expected. It raised AssertionError"),
        (lambda x, n: x, "remainder-dropped", "is expected. It gave a result."),
    ],
)
def test_a_value_error_is_asked_for(answer, name, text):
    question = Question("odd", (torch.ones(2, 5), 3), refused=True)
    reply = asking.ask(answer, Form(("output",)), question)
    trials = {"odd": Trial(question, reply, (), {})}
    asked = refuses("odd sizes", "remainder-dropped", "odd", ask="Why?")
    assert trials["odd"].right() == (not text)
    if not text:
        asked.test(trials)
        return
    with pytest.raises(Fails, match=text) as failure:
        asked.test(trials)
    assert failure.value.problem.text.startswith("For arguments ((2, 5), 3)")
    assert failure.value.problem.name == name


class WrongShape(nn.Module):
    def __init__(self):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(4, 1, 5))


def test_parameters_are_known_even_if_one_has_another_shape():
    parameters = {"cls_token": torch.zeros(1, 1, 5)}
    question = Question("tokens", (torch.ones(1, 5),), parameters=parameters)
    reply = asking.ask(WrongShape, Form(("output",), is_class=True), question)
    assert reply.problem.name == "wrong-parameter-shape"
    assert reply.parameters == {"cls_token": (4, 1, 5)}


# Plain values beside tensors, and biases that an answer does without


def test_gradients_of_tensors_beside_plain_values():
    question = Question("x", (torch.ones(2, 3), 5.0), cotangent=torch.ones(2, 3))
    reply = asking.ask(lambda x, factor: factor * x, Form(("output",)), question)
    assert reply.problem is None
    assert torch.equal(reply.gradients["input 0"], torch.full((2, 3), 5.0))
    assert [*reply.gradients] == ["input 0"]


def test_only_biases_may_be_missing():
    names = ("norm.weight", "norm.bias", "fc.weight", "fc.bias")
    question = Question("x", (), parameters={name: torch.ones(2) for name in names})
    asked = without_biases(question, Reply(taken=("fc.weight", "fc.bias")))
    sums = {name: float(value.sum()) for name, value in asked.parameters.items()}
    assert sums == {n: 0.0 if n == "norm.bias" else 2.0 for n in names}


# Torch's own modules that are the task


class WholeBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, x):
        return self.layer(x)


def test_a_part_of_torch_can_be_forbidden():
    form = Form(("output",), is_class=True, builtin_parts=(nn.TransformerEncoderLayer,))
    question = Question("x", (torch.randn(2, 3, 4),), training=True)
    hearing = asking.ask_all(WholeBlock, form, [question])
    assert hearing.problem.name == "built-in-used"
    assert "the built-in `TransformerEncoderLayer`" in hearing.problem.text


def test_nan_in_an_input_is_no_change():
    form = Form(outputs=("output",))
    question = Question("nan", (torch.tensor([[1.0, torch.nan]]),))

    def trials(answer):
        reply = asking.ask_all(answer, form, [question]).replies["nan"]
        return {"nan": Trial(question, reply, (), {})}

    KEEPS_INPUTS.test(trials(lambda x: 2 * x))
    with pytest.raises(Fails, match="changes its own input"):
        KEEPS_INPUTS.test(trials(lambda x: x.nan_to_num_()))


def test_a_form_may_say_how_an_answer_is_called():
    form = Form(outputs=("sum",), call=lambda answer, inputs, _: answer(inputs).sum())
    question = Question("list", (torch.ones(2), torch.ones(2)))
    reply = asking.ask_all(torch.stack, form, [question]).replies["list"]
    assert reply.outputs[0].item() == 4


@pytest.mark.parametrize(
    ("id", "answer"),
    [
        ("layer_norm.normed_attention", layer_norm_bank.with_torchs_own),
        ("multi_head.windowed", multi_head_bank.with_a_mask),
    ],
)
def test_a_query_of_nan_that_pytorch_hides_costs_nothing(monkeypatch, id, answer):
    """With some instructions of a CPU fused attention gives 0 for such a query."""
    fused = F.scaled_dot_product_attention

    def hides(q, k, v, **options):
        rows = q.isnan().all(dim=-1, keepdim=True) & ~k.isnan().any()
        return fused(q, k, v, **options).masked_fill(rows, 0)

    monkeypatch.setattr(F, "scaled_dot_product_attention", hides)
    report = check(id, answer)
    assert report.passed, report
