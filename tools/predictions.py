"""Read what the sources declare of predictions: choices, numbers, or claims.

A prediction is declared once, in the options of its cell, and its answer is the cell's
solution. The lists in the text, what a student may know and what judges an answer are
made from there.
"""

import ast
import re
from collections.abc import Iterable
from string import ascii_uppercase

from nbformat import NotebookNode

COMMON = ("id", "title", "kind", "points", "minutes", "again")
OWN = {  # what else the options of a prediction hold, by its form
    "choices": ("choices",),
    "numbers": ("numbers", "ask", "tolerance", "wrong"),
    "claims": ("words", "claims"),
}
MISTAKE = ("name", "seen", "ask")
NO_TEXTS = {
    "points",
    "minutes",
    "count",
    *(key for keys in OWN.values() for key in keys),
}
TOLERANCE = 0.01
MARK = re.compile(r"^```\{(choices|claims)\} *(.*)\n```$", re.MULTILINE)
LITERAL = (  # what an answer that needs no names is made of
    *(ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Load),
    *(ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator),
)


class DeclarationError(ValueError):
    """What is wrong with the options of an exercise, and the cure."""


def public(cell: NotebookNode) -> dict:
    """What a student may know of a prediction, to read an answer by.

    {"choices": letter → text}, {"numbers": what each of them is}, or
    {"claims": name → text, "words": word → meaning}.
    """
    exercise = cell.metadata["exercise"]
    form = form_of(exercise)
    if form == "numbers":
        return {"numbers": [what for what, _ in numbers_of(exercise)]}
    texts = {name: entry["text"] for name, entry in exercise[form].items()}
    return {form: texts} | ({"words": exercise["words"]} if form == "claims" else {})


def judged(cell: NotebookNode) -> dict:
    """What is right, and what explains each wrong answer; not for students.

    Raises DeclarationError for whatever does not fit together.
    """
    exercise = cell.metadata["exercise"]
    form = form_of(exercise)
    require(exercise, (*COMMON, *OWN[form]), COMMON, "the exercise")
    judge = {
        "choices": judged_choices,
        "numbers": judged_numbers,
        "claims": judged_claims,
    }[form]
    try:
        return judge(exercise, solution_of(cell))
    except (AttributeError, IndexError, KeyError, TypeError):
        raise DeclarationError(
            f"its `{form}` are not of the form that is read"
        ) from None


def form_of(exercise: dict) -> str:
    """How a prediction is answered: choices, numbers or claims."""
    found = [form for form in OWN if form in exercise]
    if len(found) != 1:
        raise DeclarationError(
            "a prediction has one of `choices`, `numbers` and `claims` in its "
            f"options, found {' and '.join(found) or 'none'}"
        )
    return found[0]


def judged_choices(exercise: dict, right: object) -> dict:
    """The right letter, why it is right, and what each other letter means."""
    choices = exercise["choices"]
    if [*choices] != [*ascii_uppercase[: len(choices)]]:
        raise DeclarationError("the choices are A, B, C and so on, in this order")
    if right not in choices:
        raise DeclarationError(f"its solution is {right!r}, and no choice is called so")
    wrong = {letter: choice for letter, choice in choices.items() if letter != right}
    keys = ("text", "because")
    require(choices[right], keys, keys, f"choice {right}, the solution,")
    for letter, choice in wrong.items():
        keys = ("text", *MISTAKE)
        require(choice, keys, keys, f"choice {letter}, which is not the solution,")
    mistakes = {letter: mistake(choice) for letter, choice in wrong.items()}
    return {"right": right, "because": choices[right]["because"], "wrong": mistakes}


def judged_numbers(exercise: dict, solution: object) -> dict:
    """The right numbers, the questions about each, and the known wrong ones."""
    right = flat(solution)
    numbers = numbers_of(exercise)
    if len(right) != len(numbers):
        raise DeclarationError(
            f"its solution has {len(right)} numbers, and `numbers` names {len(numbers)}"
        )
    tolerance = exercise.get("tolerance", TOLERANCE)
    wrong, seen = [], {}
    for entry in exercise["wrong"]:
        keys = ("numbers", *MISTAKE)
        require(entry, keys, keys, f"the wrong answer {entry.get('name')}")
        given = entry["numbers"]
        rows = given if isinstance(given[0], list) else [given]
        stated = [stated_in(row, right, tolerance, entry["name"]) for row in rows]
        for row in map(str, stated):
            if row in seen:
                raise DeclarationError(
                    f"{seen[row]} and {entry['name']} have the same numbers, {row}"
                )
            seen[row] = entry["name"]
        wrong.append({"numbers": stated, **mistake(entry)})
    return {
        "right": right,
        "asks": [ask for _, ask in numbers],
        "tolerance": tolerance,
        "wrong": wrong,
    }


def stated_in(row: list, right: list, tolerance: float, name: str) -> list:
    """A wrong answer's numbers, and None where it is as right as the right one."""
    if len(row) != len(right):
        raise DeclarationError(
            f"{name} has {len(row)} numbers, and the solution {len(right)}; write `~` "
            "for a number that it leaves right"
        )
    stated = [
        None if n is None or abs(n - r) <= tolerance else float(n)
        for n, r in zip(row, right, strict=True)
    ]
    if not any(n is not None for n in stated):
        raise DeclarationError(f"{name} has the numbers of the solution")
    return stated


def numbers_of(exercise: dict) -> list[tuple[str, str]]:
    """What each number is, and the question about it.

    An entry of `numbers` is a text, or has `what`, and `ask` where another question
    than the exercise's leads on, and `count` where it stands for several numbers.
    """
    found = []
    for entry in exercise["numbers"]:
        if isinstance(entry, str):
            entry = {"what": entry}
        require(entry, ("what", "ask", "count"), ("what",), "an entry of `numbers`")
        ask = entry.get("ask") or exercise.get("ask")
        if not ask:
            raise DeclarationError(f"`ask` is missing for {entry['what']}")
        names = [entry["what"]]
        if "count" in entry:
            names = [f"value {i} of {entry['what']}" for i in range(entry["count"])]
        found += [(name, ask) for name in names]
    return found


def judged_claims(exercise: dict, right: object) -> dict:
    """The right word for each claim, why each other does not fit, and a question."""
    words, claims = exercise["words"], exercise["claims"]
    if not isinstance(right, dict) or [*right] != [*claims]:
        raise DeclarationError("its solution has not the claims of its options as keys")
    told = {}
    for name, claim in claims.items():
        if right[name] not in words:
            raise DeclarationError(f"its solution for {name} is none of its `words`")
        others = [word for word in words if word != right[name]]
        keys = ("text", "ask", *others)
        require(claim, keys, keys, f"the claim {name}, which is {right[name]},")
        told[name] = {
            "verdict": right[name],
            "others": {word: claim[word] for word in others},
            "ask": claim["ask"],
        }
    return {"claims": told}


def require(entry: dict, known: Iterable[str], needed: Iterable[str], what: str):
    """Each key that is needed is there, none is unknown, and texts are texts."""
    for key in entry:
        if key not in known:
            raise DeclarationError(f"{what} has `{key}`; known are {', '.join(known)}")
    for key in needed:
        if entry.get(key) in (None, ""):
            raise DeclarationError(f"{what} has no `{key}`")
    for key, value in entry.items():
        if not isinstance(value, str) and key not in NO_TEXTS:
            raise DeclarationError(f"`{key}` of {what} is no text; put it in quotes")


def mistake(entry: dict) -> dict:
    """What is told of a wrong answer: name, what is seen, the question."""
    return {key: entry[key] for key in MISTAKE}


def solution_of(cell: NotebookNode) -> object:
    """The value that a cell assigns, made of literals and simple arithmetic."""
    *_, last = ast.parse(cell.source).body
    if not isinstance(last, ast.Assign):
        raise DeclarationError("its cell must end with `answer = …`")
    try:
        if not all(isinstance(node, LITERAL) for node in ast.walk(last.value)):
            raise ValueError
        return eval(compile(ast.Expression(last.value), "<solution>", "eval"))
    except (ArithmeticError, TypeError, ValueError):
        raise DeclarationError(
            "the solution of a prediction is read without running it; write it with "
            "literals and arithmetic, without names and calls"
        ) from None


def flat(thing: object) -> list[float]:
    """The numbers in nested lists, one after the other."""
    if isinstance(thing, list | tuple):
        return [number for part in thing for number in flat(part)]
    if not isinstance(thing, int | float):
        raise DeclarationError(f"its solution has {thing!r} among its numbers")
    return [float(thing)]


def put_lists(cells: list[NotebookNode]) -> None:
    """Put the choices, or claims, of the next exercise in place of each mark."""
    waiting: list[tuple[NotebookNode, re.Match]] = []
    for cell in cells:
        if cell.cell_type == "markdown":
            waiting += [(cell, mark) for mark in MARK.finditer(cell.source)]
        elif "exercise" in cell.metadata:
            exercise = cell.metadata["exercise"]
            wanted = {"choices": ["choices"], "claims": ["claims", "choices"]}
            expected = next((wanted[f] for f in wanted if f in exercise), [])
            if sorted(mark[1] for _, mark in waiting) != sorted(expected):
                marks = " and ".join(f"one ```{{{name}}}```" for name in expected)
                raise DeclarationError(
                    f"the text of {exercise.get('id')} has {marks or 'no mark'}, where "
                    "its options have it, and no other"
                )
            for text, mark in waiting:
                text.source = text.source.replace(mark[0], listed(mark, exercise))
            waiting = []


def listed(mark: re.Match, exercise: dict) -> str:
    """The Markdown that a mark stands for."""
    if mark[1] == "claims":
        head = f"| Name | {mark[2]} |\n|---|---|\n"
        claims = exercise["claims"].items()
        return head + "\n".join(f"| `{name}` | {c['text']} |" for name, c in claims)
    if "words" in exercise:
        words = exercise["words"].items()
        return ";\n".join(f'- `"{word}"`: {meaning}' for word, meaning in words) + "."
    choices = exercise["choices"].items()
    return "\n".join(f"- {letter}: {choice['text']}" for letter, choice in choices)
