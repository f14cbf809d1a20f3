"""The questions at the end of a chapter, declared once, in its source.

In the book each is a form that explains every choice; in a notebook a plain list.
"""

import re
from string import ascii_uppercase

import yaml

from predictions import DeclarationError, require

BLOCK = re.compile(r"^```\{quiz\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def questions(text: str) -> list[dict]:
    """The questions of a quiz: name, ask, and choices, letter → text and explanation.

    One choice has `because`, why it is right; each other has `means`, what it would
    mean. DeclarationError for whatever does not fit together.
    """
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DeclarationError(f"a quiz is a list in YAML: {error}") from None
    if not isinstance(found, list):
        raise DeclarationError(f"a quiz is a list in YAML, of questions, not {text!r}")
    if not 3 <= len(found) <= 5:
        raise DeclarationError(f"a quiz has 3 to 5 questions, this one {len(found)}")
    for question in found:
        keys = ("name", "ask", "choices")
        require(question, keys, keys, "a question of a quiz")
        name, choices = question["name"], question["choices"]
        if [*choices] != [*ascii_uppercase[: len(choices)]]:
            raise DeclarationError(f"the choices of {name} are A, B, C and so on")
        if sum("because" in choice for choice in choices.values()) != 1:
            raise DeclarationError(f"one choice of {name} has `because`: the right one")
        for letter, choice in choices.items():
            keys = ("text", "because" if "because" in choice else "means")
            require(choice, keys, keys, f"choice {letter} of {name}")
    if len({question["name"] for question in found}) < len(found):
        raise DeclarationError("two questions of a quiz have the same name")
    return found


def read(text: str) -> list[dict]:
    """The questions of all quizzes in the source of a chapter."""
    return [q for block in BLOCK.findall(text) for q in questions(block)]


def words_to_read(text: str) -> str:
    """The source of a chapter with the part of its quizzes that everybody reads."""

    def kept(block: re.Match) -> str:
        lines = []
        for question in questions(block[1]):
            lines.append(question["ask"])
            for choice in question["choices"].values():
                lines += [choice["text"], choice.get("because", "")]
        return "\n".join(lines)

    return BLOCK.sub(kept, text)


def listed(question: dict) -> str:
    """The choices of a question, as a list in Markdown."""
    choices = question["choices"].items()
    return "\n".join(f"- {letter}: {choice['text']}" for letter, choice in choices)


def plain(text: str, page: str) -> str:
    """A quiz in a notebook, which leads to the page that answers."""
    parts = [
        f"**{number}.** {question['ask'].strip()}\n\n{listed(question)}"
        for number, question in enumerate(questions(text), start=1)
    ]
    lead = f"Answer on [the page of this chapter]({page}): it explains every choice."
    return "\n\n".join([*parts, lead])
