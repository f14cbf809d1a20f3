"""Messages of checks in HTML: words in the page's type, code and numbers in columns."""

import re
from html import escape

WHERE = re.compile(r"((?:Cell \d+, line|Line) \d+(?:, in `[^`]+`)?): (.+)")
ROWS = (
    '<pre tabindex="0" style="white-space: pre; overflow-x: auto; background: none;'
    ' color: inherit">{}</pre>'
)


def message_html(message: str) -> str:
    """Each line as a paragraph; lines that begin with two spaces stay in columns.

    A message has code between backticks, and behind the words "Line 3: ".
    """
    made = []
    for block in re.findall(r"(?:^  .*\n?)+|^.+", message, re.MULTILINE):
        if block.startswith("  "):
            made.append(ROWS.format(escape(block.rstrip("\n"))))
            continue
        where = WHERE.fullmatch(block)
        words, code = where.groups() if where else (block, "")
        words = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(words))
        made.append(f"<p>{words}{f': <code>{escape(code)}</code>' if code else ''}</p>")
    return "\n".join(made)
