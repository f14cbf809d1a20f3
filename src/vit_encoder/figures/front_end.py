"""The front end of a figure that answers: what all of them share, then its own."""

from pathlib import Path

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
