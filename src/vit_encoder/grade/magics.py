"""IPython's magics and shell lines, taken out of a cell so that Python can run it."""

import re
from collections.abc import Iterator

MAGIC = re.compile(
    r"[ \t]*(?:"
    r"[%!]"  # %pip install, !ls
    r"|\?{1,2}[\w.*]+[ \t]*$"  # ?x
    r"|%{0,2}[\w.*]+\?{1,2}[ \t]*$"  # x?
    r"|[\w.,\[\]][\w., \t\[\]]*=[ \t]*(?:!|%[a-z])"  # files = !ls
    r")",
    re.MULTILINE,
)
REST = re.compile(r"(?:[^\n\\]|\\\n|\\)*\n?")  # to the line break that no \ continues
TIMED = re.compile(r"([ \t]*)%time[ \t]+(?=\S)")
CELL_MAGIC = re.compile(r"\s*%%(\w+)")
WRITE_FILE = re.compile(
    r"\s*%%writefile[ \t]+(?P<add>(?:-a|--append)[ \t]+)?(?P<name>\S+)[ \t]*\n"
)
PYTHON_BODY = {"capture", "debug", "memit", "prun", "time", "timeit"}

# What may hide the end of a line from Python. An open string runs to the end, so that
# the scan stays linear.
HIDING = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)|' + r"'''(?:\\.|[^\\])*?(?:'''|\Z)|"
    r'"(?:\\.|[^"\\\n])*"?|' + r"'(?:\\.|[^'\\\n])*'?|"
    r"#[^\n]*|\\\n|[()\[\]{}]|\n",
    re.DOTALL,
)


def plain_source(source: str) -> str:
    """The cell with `pass` and a comment for each magic, shell line and question.

    Lines keep their numbers, and what is Python already stays as it is: a % in a
    string or in a continued line is no magic. `%time x = 1` becomes `x = 1`. Below a
    cell magic, Python stays (%%time) and all else becomes a comment (%%bash), but what
    %%writefile writes is written, so that it can be imported. Nothing is parsed, since
    hostile code can crash Python's parser.
    """
    source = source.replace("\r\n", "\n").replace("\r", "\n")  # as Python reads it
    found = CELL_MAGIC.match(source)
    if found and found[1] not in PYTHON_BODY:
        comments = "".join(f"# {line}" for line in source.splitlines(keepends=True))
        return _writing(source) + comments
    return "".join(map(_plain, _statements(source)))


def _writing(source: str) -> str:
    """What %%writefile does, as a statement before the first comment; "" otherwise."""
    found = WRITE_FILE.match(source)
    if not found:
        return ""
    add, name = bool(found["add"]), found["name"].strip("\"'")
    text = source[found.end() :]
    return f"with open({name!r}, {'wa'[add]!r}) as _file: _file.write({text!r})  "


def _plain(statement: str) -> str:
    """A statement, or a comment if it is a magic."""
    if not MAGIC.match(statement):
        return statement
    if TIMED.match(statement):
        return TIMED.sub(r"\1", statement)
    code = statement.lstrip(" \t")
    indent = statement[: len(statement) - len(code)]
    return "\n".join(
        f"{indent}{'' if number else 'pass  '}# {line}" if line or not number else line
        for number, line in enumerate(code.split("\n"))
    )


def _statements(source: str) -> Iterator[str]:
    """The logical lines of a cell; a magic ends where its line does."""
    start = 0
    while start < len(source):
        if MAGIC.match(source, start):
            stop = REST.match(source, start).end()
        else:
            stop = _end_of_statement(source, start)
        yield source[start:stop]
        start = stop


def _end_of_statement(source: str, start: int) -> int:
    """Behind the first line break outside strings, comments and brackets."""
    depth = 0
    for found in HIDING.finditer(source, start):
        token = found[0]
        if token in "([{":
            depth += 1
        elif token in ")]}":
            depth = max(depth - 1, 0)
        elif token == "\n" and not depth:
            return found.end()
    return len(source)
