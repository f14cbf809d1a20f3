"""Tasks whose answer is code. Each puts questions, hears the answer, and judges it.

questions(seed) → plain data
listener(questions) → a function: answer → Hearing, plain data. It alone touches the
    answer, and it knows nothing of what is right: marking sends it to a sandbox.
judge(questions, hearing, out_of) → Verdict
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial

from torch import Tensor

from vit_encoder.check.hearing import asking, students_tests
from vit_encoder.check.hearing.data import (
    Form,
    Hearing,
    Opinion,
    Problem,
    Question,
    Reply,
)
from vit_encoder.check.hearing.errors import not_answered
from vit_encoder.check.hearing.guard import repeatable
from vit_encoder.check.judging import kept, verdicts
from vit_encoder.check.judging.misconceptions import Misconception
from vit_encoder.check.judging.pictures import Show, picture
from vit_encoder.check.judging.properties import Property
from vit_encoder.check.judging.trials import Trial, Trials
from vit_encoder.check.judging.verdicts import Failure, Verdict, failing, told

Listener = Callable[[object], Hearing]
UNWRITTEN = Problem(
    "branch-unwritten",
    "Here it is not written yet: a `...` or NotImplementedError is still in its place.",
    "Which way do these inputs take through your code?",
)


@dataclass(frozen=True, eq=False)
class Implement:
    """The student writes a part; with `bug`, repairs this wrong version of it.

    ask_about: seed → questions.
    oracle: question, names of the parameters taken → the right outputs and gradients
        in float64.
    misconceptions: the known wrong versions, the more telling first.
    without_chance: question, outputs → the outputs without what chance decides.
    remarks: trials → a line for an answer that passes all the same, or "".
    locate: trials → a line that says where a recognized mistake shows first, or "".
    """

    form: Form
    ask_about: Callable[[int], list[Question]]
    oracle: kept.Oracle
    properties: tuple[Property, ...]
    misconceptions: tuple[Misconception, ...]
    show: Show = field(default_factory=Show)
    bug: Misconception | None = None
    without_chance: (
        Callable[[Question, tuple[Tensor, ...]], tuple[Tensor, ...]] | None
    ) = None
    remarks: tuple[Callable[[Trials], str], ...] = ()
    locate: Callable[[Trials], str] | None = None

    def questions(self, seed: int) -> list[Question]:
        """The questions, with fresh random inputs for each seed."""
        return self.ask_about(seed)

    def listener(self, questions: list[Question]) -> Listener:
        """Hears what an answer says to the questions; no right version is in it."""
        blind = asking.blind(questions)
        known = asking.known_versions(self.form.reference)
        form = replace(self.form, reference=known)
        return partial(asking.ask_all, form=form, questions=blind)

    def judge(
        self, questions: list[Question], hearing: Hearing, out_of: int
    ) -> Verdict:
        """Compare with the oracle, then with the known wrong versions."""
        if hearing.problem:
            return failing(hearing.problem)
        hearing = named(hearing, questions)
        asked = [hearing.replies[q.name] for q in questions if not q.refused]
        if all(reply.problem == not_answered() for reply in asked):
            return failing(not_answered())
        hearing = self.fitting(questions, hearing)
        trials = self.trials(questions, hearing)
        failures = verdicts.evaluate(self.properties, trials)
        if not failures:
            remarks = filter(None, (remark(trials) for remark in self.remarks))
            text = "\n".join([f"All {len(self.properties)} properties hold.", *remarks])
            return Verdict(out_of, True, (), verdicts.with_remark(text, hearing))
        return self.diagnose(questions, hearing, trials, failures, out_of)

    def trials(self, questions: list[Question], hearing: Hearing) -> Trials:
        """Each question beside its reply and what is right."""
        return {q.name: self.trial(q, hearing.replies[q.name]) for q in questions}

    def trial(self, question: Question, reply: Reply) -> Trial:
        """A question beside its reply and what is right."""
        if reply.problem == not_answered():  # and others were answered
            reply = replace(reply, problem=UNWRITTEN, errors=("NotImplementedError",))
        if question.refused:
            return Trial(question, reply, (), {})
        drawn = reply.outputs
        if self.without_chance and drawn:
            reply = replace(reply, outputs=self.without_chance(question, drawn))
        right = kept.right(self.oracle, question, reply.taken)
        return Trial(question, reply, *right, drawn)

    def fitting(self, questions: list[Question], hearing: Hearing) -> Hearing:
        """The hearing whose square matrices are set the right way round."""
        if not hearing.turned:
            return hearing
        return min(
            (hearing, replace(hearing.turned, printed=hearing.printed)),
            key=lambda h: len(verdicts.wrong_questions(self.trials(questions, h))),
        )

    def diagnose(
        self,
        questions: list[Question],
        hearing: Hearing,
        trials: Trials,
        failures: list[Failure],
        out_of: int,
    ) -> Verdict:
        """Name what is recognized, and say what was seen."""
        failed = tuple(failure.property for failure in failures)
        recognized, explained = self.recognize(questions, trials, failed)
        if self.bug and recognized == [self.bug]:
            text = "It does what the version with the bug does."
            return failing(Problem("same-as-the-bug", text, self.bug.ask))
        rest = [f for f in failures if f.property.name not in explained]
        rest = verdicts.telling(rest)
        names = [m.name for m in recognized] + [f.problem.name for f in rest]
        shown = recognized or rest[0].property.example or not rest[0].problem.name
        example = picture(trials, self.form, self.show) if shown else ""
        if recognized and self.locate:
            example = "\n".join(filter(None, [self.locate(trials), example]))
        message = verdicts.explain(recognized, rest, example)
        return Verdict(
            verdicts.points_for(failures, out_of),
            False,
            tuple(dict.fromkeys(filter(None, names))),
            verdicts.with_remark(message, hearing),
        )

    def recognize(
        self, questions: list[Question], trials: Trials, failed: tuple[Property, ...]
    ) -> tuple[list[Misconception], set[str]]:
        """The known wrong versions that behave alike, and which of `failed` fail."""
        if self.form.is_class:
            questions = [without_biases(q, trials[q.name].reply) for q in questions]
        recognized, explained = {}, set()
        with repeatable():
            for misconception in self.misconceptions:
                wrong = self.trials_alike(misconception, questions, trials)
                if verdicts.recognizes(wrong, trials):
                    recognized[misconception] = verdicts.wrong_questions(wrong)
                    failures = verdicts.evaluate(failed, wrong)
                    explained |= {failure.property.name for failure in failures}
        # One that explains all that another does, and more, makes it superfluous.
        largest = [
            misconception
            for misconception, names in recognized.items()
            if not any(names < others for others in recognized.values())
        ]
        return largest, explained

    def trials_alike(
        self, misconception: Misconception, questions: list[Question], trials: Trials
    ) -> Trials:
        """What a known wrong version says; nothing if it is not what the answer said.

        Most part ways at one question, and are asked no more.
        """
        said: Trials = {}
        for place in self.most_telling_first(misconception, questions):
            question = questions[place]
            trial = trials[question.name]
            if question.device != "cpu" and runs_elsewhere(trial.reply):
                said[question.name] = trial  # slow to ask, and nothing to explain
                continue
            reply = kept.said(misconception, self.form, question, place)
            wrong = said[question.name] = self.trial(question, reply)
            if question.device != "cpu" or wrong.right():
                continue
            if question.secondary and not wrong_aside(self, misconception):
                continue
            if not verdicts.same(wrong.reply, trial.reply):
                PARTED[misconception] = place
                return {}
        return said

    def most_telling_first(
        self, misconception: Misconception, questions: list[Question]
    ) -> Iterator[int]:
        """The places of the questions, those first where it and an answer may part.

        Where it is kept what is said there, that costs nothing: on the small questions,
        which are the same for every seed.
        """
        last, small = PARTED.get(misconception), self.show.questions
        known = [
            kept.is_said(misconception, self.form, question, place)
            for place, question in enumerate(questions)
        ]
        places = range(len(questions))
        early = [
            i for i in places if known[i] or i == last or questions[i].name in small
        ]
        yield from sorted(early, key=lambda i: (not known[i], i != last))
        aside = wrong_aside(self, misconception)
        yield from sorted(
            (i for i in places if i not in early),
            key=lambda i: aside and not questions[i].secondary,
        )


# Where a known wrong version and an answer last parted: the place of the question.
PARTED: dict[Misconception, int] = {}


@cache
def wrong_aside(task: Implement, misconception: Misconception) -> bool:
    """A known wrong version is right but for what is asked aside, such as dropout."""
    return all(
        task.trial(q, kept.said(misconception, task.form, q, place)).right()
        for place, q in enumerate(task.questions(0))
        if q.device == "cpu" and not q.secondary
    )


def runs_elsewhere(reply: Reply) -> bool:
    """On another device it ran, and stayed there."""
    return not reply.problem and all(x.device.type != "cpu" for x in reply.outputs)


def named(hearing: Hearing, questions: list[Question]) -> Hearing:
    """The hearing with its replies by the questions' names, not by their places.

    What it took counts as far as it was given: a forged hearing may name anything.
    """
    replies = {}
    for i, question in enumerate(questions):
        reply = hearing.replies[str(i)]
        taken = set(reply.taken)
        given = tuple(name for name in question.parameters if name in taken)
        replies[question.name] = replace(reply, taken=given)
    turned = hearing.turned and named(hearing.turned, questions)
    return replace(hearing, replies=replies, turned=turned)


def without_biases(question: Question, reply: Reply) -> Question:
    """The question with 0 for each bias that an answer was built without."""
    if reply.problem:  # what it has is not known
        return question
    missing = [
        name
        for name in question.parameters
        if name.endswith("bias") and name not in reply.taken
    ]
    if not missing:
        return question
    without = {name: 0 * question.parameters[name] for name in missing}
    return replace(question, parameters=question.parameters | without)


@dataclass(frozen=True)
class BreakIt:
    """The student writes a test; it must pass right versions and fail wrong ones.

    right: what sets a right version apart, for a message → the version.
    wrong: versions that it must fail.
    draws: how often it must fail each, where chance may unmask one.
    """

    right: dict[str, Callable]
    wrong: tuple[Misconception, ...]
    ask: str
    draws: int = 1

    def questions(self, seed: int) -> list[str]:
        """The names of the versions, in an order that the test cannot know."""
        names = [*self.right, *self.drawn()]
        random.Random(seed).shuffle(names)
        return names

    def drawn(self) -> dict[str, Misconception]:
        """Each wrong version as often as it is tried, by a name of its own."""
        return {f"{m.name} ({n})": m for m in self.wrong for n in range(self.draws)}

    def listener(self, questions: list[str]) -> Listener:
        """Hears what a test says of each version."""
        versions = self.right | {name: m.wrong for name, m in self.drawn().items()}
        in_order = [students_tests.lent(versions[name]) for name in questions]
        return partial(students_tests.ask_test, versions=in_order)

    def judge(self, questions: list[str], hearing: Hearing, out_of: int) -> Verdict:
        """First the right versions must pass, then each wrong one must fail."""
        if hearing.problem:
            return failing(hearing.problem)
        said = {n: hearing.replies[str(i)] for i, n in enumerate(questions)}
        for version in self.right:
            if said[version].said == "no":
                return self.too_strict(version, said[version])
        for name, m in self.drawn().items():  # once is enough to let it pass
            if m.name not in said or said[name].said != "no":
                said[m.name] = said[name]
        missed = [m for m in self.wrong if said[m.name].said != "no"]
        if not missed:
            count = len(self.wrong)
            text = f"Your test passes right versions and fails {count} wrong ones."
            return Verdict(out_of, True, (), verdicts.with_remark(text, hearing))
        return self.too_kind(said, missed, out_of)

    def too_strict(self, version: str, opinion: Opinion) -> Verdict:
        """The test does not pass a right version."""
        does = "stopped on" if opinion.stopped else "says no to"
        why = opinion.problem or Problem("", "")
        lines = [f"Your test {does} a right version, {version}.", told(why).strip()]
        ask = why.ask or "Is what this line claims true of every right version?"
        text = "\n".join(filter(None, [*lines, opinion.calls]))
        names = filter(None, ("test-rejects-right", why.name))
        return Verdict(0, False, (*names,), verdicts.with_question(text, ask))

    def too_kind(
        self, said: dict[str, Opinion], missed: list[Misconception], out_of: int
    ) -> Verdict:
        """The test passes a wrong version."""
        lines = [f"Your test also passes {m.name}: {m.seen}" for m in missed]
        slips = [said[m.name].problem for m in missed]
        alike = len({slip and slip.name for slip in slips}) == 1
        slip = slips[0] if alike else None  # what came back may differ
        names = ("test-accepts-wrong", slip and slip.name)
        text, ask = "\n".join([told(slip), *lines] if slip else lines), self.ask
        sides = said[missed[0].name].sides
        if slip:
            ask = slip.ask or ask
        elif sides:
            text, ask = f"{text}\n{told(sides)}", sides.ask or ask
        text = verdicts.with_question(text, ask)
        points = out_of * (len(self.wrong) - len(missed)) // len(self.wrong)
        return Verdict(points, False, tuple(filter(None, names)), text)


CodeTask = Implement | BreakIt
