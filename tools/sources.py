"""Read the sources of chapters and exercises, and say what is wrong with them."""

import re
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path

import yaml
from myst_nb.core.read import MystMetadataParsingError, read_myst_markdown_notebook
from nbformat import NotebookNode

import quiz
from address import ROOT, Address
from plain_markdown import parse, parser
from predictions import COMMON, DeclarationError, judged, put_lists, require

SECTIONS = [
    "What you will build",
    "The idea in a picture",
    "The equation",
    "Code",
    "Check",
    "Look",
    "Break it",
    "Summary",
    "Exercises",
    "Sources",
]
KINDS = {"implement", "predict", "break it", "find the bug"}
SETUP = """\
```{{code-cell}} ipython3
:tags: [setup, hide-input]
try:
    import vit_encoder
except ModuleNotFoundError:  # on Colab: add the course's package, change nothing else
    %pip install --quiet --no-deps git+{repository}@{branch}
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
print(f"This notebook runs on: {{device}}")
```

"""


class SourceError(ValueError):
    """What is wrong with a source and how to cure it, in one line."""


@dataclass(frozen=True)
class Source:
    """A chapter or an exercise, as written.

    path: the file. text: its text, with the setup cell put in.
    notebook: the cells, with nothing run.
    """

    path: Path
    text: str
    notebook: NotebookNode

    @property
    def docname(self) -> str:
        """The page's name in the book, such as chapters/02_self_attention."""
        return f"{self.path.parent.name}/{self.path.stem}"

    @property
    def module(self) -> str:
        """The name of the chapter's module, such as self_attention.

        The file's name says it, unless the header has a shorter one under `module`.
        """
        return self.header.get("module") or self.path.stem.split("_", 1)[1]

    @cached_property
    def header(self) -> dict:
        """The front matter."""
        return yaml.safe_load(self.text.split("---\n")[1])

    @cached_property
    def title(self) -> str:
        """The text of the first heading."""
        return first_heading(self.text)

    @property
    def prose(self) -> list[str]:
        """The texts of the Markdown cells."""
        return [c.source for c in self.notebook.cells if c.cell_type == "markdown"]

    def cells(self, tag: str) -> list[NotebookNode]:
        """The code cells that carry a tag."""
        return [
            cell
            for cell in self.notebook.cells
            if cell.cell_type == "code" and tag in cell.metadata.get("tags", [])
        ]


def first_heading(text: str) -> str:
    """The text of a page's first heading; empty if there is none."""
    match = re.search(r"^# (.+)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


def with_setup(text: str, address: Address) -> str:
    """Put the cell that every notebook starts with before the first code cell."""
    cell = SETUP.format(repository=address.repository, branch=address.branch)
    return re.sub(
        r"^```\{code-cell\}",
        lambda _: cell + "```{code-cell}",
        text,
        count=1,
        flags=re.M,
    )


def read_source(path: Path, address: Address) -> Source:
    """Read and check one source; SourceError names the file, the fault, the cure."""
    text = path.read_text(encoding="utf-8")
    check_front_matter(path, text)
    text = with_setup(text, address)
    try:
        notebook = read_myst_markdown_notebook(text, config=parser_config())
    except (MystMetadataParsingError, yaml.YAMLError) as error:
        fault = " ".join(str(error).split())
        raise SourceError(f"{show(path)}: a cell's options: {fault}") from None
    source = Source(path, text, notebook)
    if path.parent.name == "solutions":
        check_exercises(source)
    else:
        check_sections(source)
    try:
        if path.parent.name == "solutions":
            put_lists(notebook.cells)
        else:
            quiz.read(text)
    except DeclarationError as fault:
        raise SourceError(f"{show(path)}: {fault}.") from None
    return source


def parser_config():
    """The configuration of the Markdown parser that the whole course uses."""
    return parser().options["myst_config"]


@cache
def read_all(address: Address, root: Path = ROOT) -> list[Source]:
    """All chapters, then all exercises, in order. Read once: leave them unchanged."""
    paths = [*sorted(root.glob("chapters/*.md")), *sorted(root.glob("solutions/*.md"))]
    sources = [read_source(path, address) for path in paths]
    check_headings(sources, root)
    return sources


def show(path: Path) -> str:
    """A path as the reader of a message knows it: from the repository's top."""
    return path.relative_to(ROOT).as_posix()


def check_front_matter(path: Path, text: str) -> None:
    """The header must be YAML, name the format, the kernel, and describe the page."""
    cure = "Copy the header of chapters/02_self_attention.md."
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    if not match:
        raise SourceError(f"{show(path)}: no front matter between two `---`. {cure}")
    try:
        header = yaml.safe_load(match[1])
        assert isinstance(header, dict)
    except (yaml.YAMLError, AssertionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 2}" if where else ""
        raise SourceError(
            f"{show(path)}: the front matter is not valid YAML{line}. {cure}"
        ) from None
    if header.get("file_format") != "mystnb":
        raise SourceError(f"{show(path)}: `file_format: mystnb` is missing. {cure}")
    if header.get("kernelspec", {}).get("name") != "python3":
        raise SourceError(f"{show(path)}: the kernelspec is not python3. {cure}")
    meta = header.get("myst", {}).get("html_meta", {})
    if not 50 <= len(meta.get("description", "")) <= 160:
        raise SourceError(
            f"{show(path)}: `description` under myst, html_meta must have 50 to 160 "
            f"characters; search engines and links show it. {cure}"
        )


def headings(texts: list[str]) -> list[tuple[str, str]]:
    """The level and the text of each heading, such as ("h2", "Summary")."""
    return [
        (opening.tag, inline.content)
        for text in texts
        for opening, inline in pairwise(parse(text))
        if opening.type == "heading_open"
    ]


def check_sections(source: Source) -> None:
    """A chapter has one title and the ten sections, in their order."""
    titles: dict[str, list[str]] = {"h1": [], "h2": []}
    for level, title in headings(source.prose):
        titles.setdefault(level, []).append(title)
    if len(titles["h1"]) != 1:
        raise SourceError(
            f"{show(source.path)}: {len(titles['h1'])} headings of level 1. "
            "A chapter has one, its title."
        )
    missing = [name for name in SECTIONS if name not in titles["h2"]]
    if missing:
        raise SourceError(
            f"{show(source.path)}: the section `## {missing[0]}` is missing. "
            f"A chapter has, in this order: {', '.join(SECTIONS)}."
        )
    if titles["h2"] != SECTIONS:
        raise SourceError(
            f"{show(source.path)}: its sections are {', '.join(titles['h2'])}. "
            f"A chapter has, in this order: {', '.join(SECTIONS)}."
        )


def check_exercises(source: Source) -> None:
    """Every answer has an id, points and the rest, and its solution is marked."""
    seen = set()
    for cell in source.notebook.cells:
        if cell.cell_type != "code":
            continue
        first = next(iter(cell.source.strip().splitlines()), "an empty cell")
        where = f"{show(source.path)}: the cell that starts `{first}`"
        tagged = "exercise" in cell.metadata.get("tags", [])
        marks = [cell.source.count(f"# {m} SOLUTION") for m in ("BEGIN", "END")]
        if not tagged:
            if any(marks) or "exercise" in cell.metadata:
                raise SourceError(f"{where} lacks `tags: [exercise]`.")
            continue
        exercise = cell.metadata.get("exercise", {})
        for key in COMMON:
            if key not in exercise:
                raise SourceError(
                    f"{where} has no `{key}`. Write `exercise: {{id: …, title: …, "
                    "kind: …, points: …, minutes: …, again: …}` in its options."
                )
        if exercise["kind"] not in KINDS:
            raise SourceError(
                f"{where} is of kind {exercise['kind']!r}; "
                f"known are {', '.join(sorted(KINDS))}."
            )
        for key, least in (("points", 0), ("minutes", 1)):  # 0 points: it is optional
            if type(exercise[key]) is not int or exercise[key] < least:
                raise SourceError(
                    f"{where}: `{key}` must be a whole number from {least}."
                )
        if marks[0] != marks[1] or not marks[0]:
            raise SourceError(
                f"{where} needs a `# BEGIN SOLUTION` and an `# END SOLUTION` around "
                "each answer."
            )
        if exercise["id"] in seen:
            raise SourceError(f"{where}: the id {exercise['id']} is there twice.")
        seen.add(exercise["id"])
        if ("wrong" in cell.metadata) != (exercise["kind"] == "break it"):
            raise SourceError(
                f"{where}: an exercise of the kind `break it`, and no other, has a "
                "weak test under `wrong` in the options of its cell."
            )
        try:
            if exercise["kind"] == "predict":
                judged(cell)
            else:
                require(exercise, COMMON, COMMON, "the exercise")
        except DeclarationError as fault:
            raise SourceError(
                f'{where}: {fault}. See "Write an exercise" in CONTRIBUTING.md.'
            ) from None


def check_headings(sources: list[Source], root: Path) -> None:
    """What to read `again` is a heading of a page that the exercises link to."""
    for source in sources:
        if not source.cells("exercise"):
            continue
        pages = linked(sources, source, root)
        known = {title for _, titles in pages for title in titles}
        for cell in source.cells("exercise"):
            exercise = cell.metadata["exercise"]
            if exercise["again"] not in known:
                names = " or ".join(page for page, _ in pages)
                raise SourceError(
                    f"{show(source.path)}: `again: {exercise['again']}` of "
                    f"{exercise['id']} is no heading of {names}. Name a "
                    "section there, or link with {doc} to the page that has it."
                )


def linked(
    sources: list[Source], source: Source, root: Path
) -> list[tuple[str, set[str]]]:
    """The pages that a source links to, and the headings of each."""
    texts = {s.docname: s.prose for s in sources}
    names = re.findall(r"\{doc\}`(?:[^`<]*<)?/([^`>]+)", "".join(source.prose))
    found = []
    for name in names:
        titles = headings(texts.get(name) or [text_of(root, name)])
        found.append((name, {title for _, title in titles}))
    return found


def text_of(root: Path, page: str) -> str:
    """The text of a page of the book; empty if there is none."""
    path = root / f"{page}.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""
