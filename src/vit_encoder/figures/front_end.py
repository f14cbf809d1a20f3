"""The front end of a figure that answers: what all of them share, then its own."""

from pathlib import Path
from typing import NamedTuple

import traitlets

HERE = Path(__file__).parent


def front_end(name: str, *also: str) -> str:
    """The text of shared.js and of a figure's own module, or of the two style sheets.

    name, also: files of this folder; what `also` names comes between the two. An
    anywidget's module is one text, which can import nothing that stands beside it.
    """
    shared = f"shared{Path(name).suffix}"
    return "\n".join(
        (HERE / file).read_text(encoding="utf-8") for file in (shared, *also, name)
    )


class Between(NamedTuple):
    """Numbers from low to high, both included."""

    low: float
    high: float


def follows(**allowed: object) -> traitlets.ValidateHandler:
    """A validator of what a figure follows: ValueError for what it does not have.

    allowed: name → a range of whole numbers, `Between`, a tuple of which one is chosen,
    a frozenset of which some are, a list with what is allowed in each of its places, or
    a function that gives one of these for the figure.
    """

    @traitlets.validate(*allowed)
    def require(self: traitlets.HasTraits, proposal: dict) -> object:
        name, value = proposal["trait"].name, proposal["value"]
        wanted = allowed[name]
        if callable(wanted):
            wanted = wanted(self)
        require_fit(name, value, wanted)
        return value

    return require


def require_fit(name: str, value: object, wanted: object):
    """Raise ValueError for a value that is none of those that `follows` allows."""
    if not fits(value, wanted):
        raise ValueError(f"expected {name} {in_words(wanted)}, got {value!r}")


def fits(value: object, wanted: object) -> bool:
    """Whether a value is one of those that `follows` allows."""
    if isinstance(wanted, range):
        return type(value) is int and value in wanted
    if isinstance(wanted, Between):
        return is_number(value) and wanted.low <= value <= wanted.high
    if isinstance(wanted, tuple):
        return value in wanted
    if not isinstance(value, list | tuple):
        return False
    if isinstance(wanted, frozenset):
        each = tuple(wanted)  # unlike the set it can be asked for a list
        return all(v in each and value.count(v) == 1 for v in value)
    return len(value) == len(wanted) and all(map(fits, value, wanted))


def is_number(value: object) -> bool:
    """Whether a value is an int or a float; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def in_words(wanted: object) -> str:
    """What `follows` allows, for a message."""
    if isinstance(wanted, range):
        steps = "" if wanted.step == 1 else f" in steps of {wanted.step}"
        return f"from {wanted[0]} to {wanted[-1]}{steps}"
    if isinstance(wanted, Between):
        return f"from {wanted.low} to {wanted.high}"
    if isinstance(wanted, tuple):
        return f"among {', '.join(map(repr, wanted))}"
    if isinstance(wanted, frozenset):
        return f"as a list of some of {sorted(wanted)}, each once"
    each = [*map(in_words, wanted)]
    if len({*each}) == 1:
        return f"as a list of {len(each)}, each {each[0]}"
    return f"as a list ({', '.join(each)})"
