"""Text that others wrote, made fit to be shown: names, notes and messages."""

import re
from collections.abc import Iterable

NAMED = 5  # how many things a note names
FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # what a spreadsheet may take for a formula


def printable(text: str, keep: str = "") -> str:
    r"""The text with a visible escape for each character that cannot be printed.

    A line break becomes \x0a; a byte of a name that is no text, such as 0xff, becomes
    \xff. So the result is valid UTF-8, and nothing in it can turn the direction of a
    line or clear a screen. keep: characters that stay, such as "\n".
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escape(c) for c in text)


def shorten(text: str, most: int) -> str:
    """The text, or its beginning and end with … between, of at most `most` characters.

    The beginning gets two thirds: of a path that is the student's folder.
    """
    if len(text) <= most:
        return text
    tail = (most - 1) // 3
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def one_line(text: str, most: int = 500) -> str:
    """The text on one line, printable and not too long for a cell of a table."""
    return shorten(printable(" ".join(text.split())), most)


def safe_cell(text: str) -> str:
    """The text, with an apostrophe before what a spreadsheet would compute.

    Some also part a line at other marks than the comma.
    """
    text = re.sub(r"([;|\t]\s*)(?=[=+\-@＝＋－＠])", r"\1'", text)
    return f"'{text}" if text.startswith(FORMULA) else text


def some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def sentences(notes: Iterable[str]) -> str:
    """The notes, each once, as sentences."""
    whole = (note.strip() for note in notes)
    whole = (n if n.endswith((".", "?", "!", "…")) else f"{n}." for n in whole if n)
    return " ".join(dict.fromkeys(f"{n[0].upper()}{n[1:]}" for n in whole))


def _escape(character: str) -> str:
    """The escape that Python would write, with the byte where a name held no text."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that did not decode
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
