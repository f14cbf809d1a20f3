"""Answers that differ from another one in a few words."""

import linecache
import sys
import warnings

import torch
from torch import nn

from vit_encoder.check.judging.misconceptions import edit, edits


def variant(answer, changes):
    """A function or class with other text in some places.

    changes: old text → new text. ValueError if an old text does not stand there once.
    """
    name = "; ".join(" ".join(new.split()) for new in changes.values())
    (changed,) = edits(answer, edit(name, changes, "", ""))
    path = f"{answer.__name__}, {name}"  # not as the course's own versions are called
    lines = changed.text.splitlines(keepends=True)
    linecache.cache[path] = (len(changed.text), None, lines, path)
    scope = dict(vars(sys.modules[answer.__module__]))
    with warnings.catch_warnings():  # Python, too, sees what some of them do wrong
        warnings.simplefilter("ignore", SyntaxWarning)
        exec(compile(changed.text, path, "exec"), scope)
    found = scope[answer.__name__]
    found.__name__ = f"{answer.__name__}: {name}"
    return found


def with_one_more(part):
    """The part with one more number to learn, which it multiplies its output by."""

    class WithOneMore(part):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.gain = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return super().forward(x) * self.gain

    return WithOneMore


def variants(answer, *changes):
    """Several of them."""
    return [variant(answer, one) for one in changes]
