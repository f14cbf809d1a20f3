"""Moments in one form that sorts, by the clock of this machine: 2026-01-31-23-59-00."""

import contextlib
import re
from datetime import datetime

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun")
MONTHS += ("jul", "aug", "sep", "oct", "nov", "dec")
STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d)?)(?:\.\d+)? ?(Z|[+-]\d\d:?\d\d)?"
)


def in_numbers(text: str) -> str:
    """A moment such as 2026-01-31T23:59, or as YAML has it; "" if it is none."""
    with contextlib.suppress(ValueError):
        if found := STAMP.fullmatch(text.strip()):
            day, clock, zone = found.groups("")
            return _sortable(datetime.fromisoformat(f"{day}T{clock}{zone}"))
    return ""


def in_words(text: str) -> str:
    """A moment in English, such as Friday, 4 September 2026, 10:36 PM; "" if not one.

    The colon may be missing, as in Sep 4, 2026 1036 PM.
    """
    words = re.findall(r"\w+", text)
    month = next((w[:3].lower() for w in words if w[:3].lower() in MONTHS), "")
    numbers = [int(word) for word in words if word.isdecimal()]
    if len(numbers) == 3:
        numbers[2:] = divmod(numbers[2], 100)
    if not month or len(numbers) != 4:
        return ""
    day, year, hour, minute = numbers
    if words[-1].upper() in ("AM", "PM"):
        hour = hour % 12 + 12 * (words[-1].upper() == "PM")
    with contextlib.suppress(ValueError):
        return _sortable(datetime(year, MONTHS.index(month) + 1, day, hour, minute))
    return ""


def _sortable(moment: datetime) -> str:
    """The form; a moment of another time zone is turned into that of this machine."""
    here = moment.astimezone() if moment.tzinfo else moment
    return here.strftime("%Y-%m-%d-%H-%M-%S")
