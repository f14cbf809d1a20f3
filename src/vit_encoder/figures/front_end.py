"""The front end of a figure that answers: what all of them share, then its own."""

from pathlib import Path

HERE = Path(__file__).parent


def front_end(name: str) -> str:
    """The text of shared.js and of a figure's own module, or of the two style sheets.

    name: a file of this folder. An anywidget's module is one text, which can import
    nothing that stands beside it.
    """
    own = HERE / name
    shared = own.with_name(f"shared{own.suffix}")
    return "\n".join(path.read_text(encoding="utf-8") for path in (shared, own))
