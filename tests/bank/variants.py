"""Answers that differ from another one in a few words."""

import warnings

from vit_encoder.check.judging.misconceptions import edit, edits


def variant(answer, changes):
    """A function or class with other text in some places.

    changes: old text → new text. ValueError if an old text does not stand there once.
    """
    name = "; ".join(" ".join(new.split()) for new in changes.values())
    (changed,) = edits(answer, edit(name, changes, "", ""))
    with warnings.catch_warnings():  # Python, too, sees what some of them do wrong
        warnings.simplefilter("ignore", SyntaxWarning)
        found = changed.wrong
    found.__name__ = f"{answer.__name__}: {name}"
    return found


def variants(answer, *changes):
    """Several of them."""
    return [variant(answer, one) for one in changes]
