"""Turn MyST into Markdown that Colab, GitHub and Jupyter show as it is meant.

Works on the tokens of the parser that the book itself uses, so what counts as a role
or a directive is decided once. All that MyST does not add stays as it was written.
A construct without a plain form is an error, never passed through.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

import yaml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

import quiz

ADMONITIONS = {
    "attention",
    "caution",
    "danger",
    "error",
    "hint",
    "important",
    "note",
    "seealso",
    "tip",
    "warning",
}


class MarkdownError(ValueError):
    """A construct that has no plain form, with its line and the cure."""


@dataclass
class Context:
    """What a page refers to beyond itself.

    page: docname → address.
    title: docname → title.
    target: label, or /page#label, → address, for the labels of other pages.
    citation: key → (text such as "Vaswani et al. (2017)", address).
    term: a glossary term → address.
    equations: label → number on this page; filled while converting, in order.
    here: the labels of this page. own: its address.
    """

    page: Callable[[str], str]
    title: Callable[[str], str]
    target: Callable[[str], str]
    citation: Callable[[str], tuple[str, str]]
    term: Callable[[str], str]
    here: set[str] = field(default_factory=set)
    equations: dict[str, int] = field(default_factory=dict)
    own: str = ""


@cache
def parser():
    """The book's Markdown parser, with the extensions of `_config.yml`."""
    extensions = {"amsmath", "colon_fence", "deflist", "dollarmath"}
    return create_md_parser(MdParserConfig(enable_extensions=extensions), RendererHTML)


@cache  # a text is read for its headings, labels, equations and plain form
def parse(text: str) -> list[Token]:
    """The block tokens of a MyST text. Parsed once: leave them unchanged."""
    return parser().parse(text)


@cache
def labels(text: str) -> set[str]:
    """The labels that a text defines: `(label)=` and labelled equations."""
    return {
        token.content if token.type == "myst_target" else token.info
        for token in parse(text)
        if token.type in ("myst_target", "math_block_label")
    }


def number_equations(texts: list[str]) -> dict[str, int]:
    """Label → number, in the order in which the book numbers a page's equations."""
    found: list[str] = []
    for text in texts:
        for token in parse(text):
            if token.type == "math_block_label":
                found.append(token.info)
            elif directive_name(token) == "math":
                found += [o for o in [read_directive(token)[1].get("label")] if o]
    return {label: number for number, label in enumerate(found, start=1)}


def to_plain(text: str, context: Context) -> str:
    """Convert one Markdown cell; MarkdownError names the line that cannot be."""
    lines = text.split("\n")
    pieces: list[str] = []
    done = 0
    for token in merge_cells(parse(text)):
        if token.map is None or token.map[0] < done:
            continue
        start, end = token.map
        replacement = plain_block(token, lines[start:end], context)
        if replacement is None:
            continue
        pieces += lines[done:start] + replacement
        done = end
    return "\n".join(pieces + lines[done:]).strip("\n")


def merge_cells(tokens: list[Token]) -> list[Token]:
    """Join the texts of a table's row into one, since they stand on one line."""
    merged: list[Token] = []
    rows: dict[int, Token] = {}
    for token in tokens:
        if token.type == "inline" and token.map:
            line = token.map[0]
            if line in rows:
                rows[line].children += token.children
                continue
            token = rows[line] = replace(token, children=[*token.children])
        merged.append(token)
    return merged


def plain_block(token: Token, lines: list[str], context: Context) -> list[str] | None:
    """The lines that stand for a block token; None keeps them as they are."""
    if token.type == "inline":
        return plain_inline(token, "\n".join(lines), context).split("\n")
    if token.type == "myst_target":
        # Colab and Jupyter follow links to either; sites differ in which they keep.
        return [f'<a id="{token.content}" name="{token.content}"></a>', ""]
    if token.type == "myst_line_comment":
        return []
    if token.type == "math_block_label":
        return equation(token.content, token.info, context)
    if directive_name(token):
        prefix = re.match(r"[\s>]*", lines[0])[0]
        return [
            (prefix + line).rstrip()
            for line in plain_directive(token, context).split("\n")
        ]
    return None


def equation(tex: str, label: str | None, context: Context) -> list[str]:
    """A displayed equation, numbered as the book numbers it."""
    tag = rf" \tag{{{context.equations[label]}}}" if label else ""
    return ["$$", tex.strip() + tag, "$$"]


def directive_name(token: Token) -> str | None:
    """The name if the token is a directive."""
    if token.type not in ("fence", "colon_fence"):
        return None
    match = re.match(r"\{([\w:-]+)\}", token.info)
    return match[1] if match else None


def read_directive(token: Token) -> tuple[str, dict, str]:
    """The argument, options and body of a directive."""
    argument = token.info.split("}", 1)[1].strip()
    content = token.content
    options: dict = {}
    if content.startswith("---\n"):
        block, _, content = content[4:].partition("\n---\n")
        options = yaml.safe_load(block) or {}
    else:
        given = re.match(r"(?::[\w-]+:.*\n?)+", content)
        if given:
            content = content[given.end() :]
            for line in given[0].splitlines():
                name, _, value = line[1:].partition(":")
                options[name] = value.strip()
    return argument, options, content.strip("\n")


def plain_directive(token: Token, context: Context) -> str:
    """The plain form of a directive."""
    name = directive_name(token)
    argument, options, body = read_directive(token)
    if name in ADMONITIONS or name == "admonition":
        title = to_plain(argument, context) or name.title()
        return quote(f"**{title}**\n\n{to_plain(body, context)}")
    if name == "dropdown":
        inner = to_plain(body, context)
        summary = f"<summary>{argument}</summary>"
        return f"<details>{summary}\n\n{inner}\n\n</details>"
    if name == "math":
        label = options.get("label")
        return "\n".join(equation(body, label, context))
    if name == "quiz":
        return quiz.plain(body, context.own)
    if name in ("figure", "image"):
        return plain_image(token, argument, options, to_plain(body, context))
    if name == "code-block":
        return f"```{argument}\n{body}\n```"
    raise MarkdownError(
        f"line {token.map[0] + 1}: the directive {{{name}}} has no plain form for "
        "notebooks. Use another, or teach tools/plain_markdown.py its form."
    )


def plain_image(token: Token, source: str, options: dict, caption: str) -> str:
    """An image with its alternative text, and its caption below."""
    if not options.get("alt"):
        raise MarkdownError(
            f"line {token.map[0] + 1}: the image {source} has no alternative text. "
            "Add `:alt:` and say what the picture shows."
        )
    image = f"![{options['alt']}]({source})"
    return f"{image}\n\n**Figure.** {caption}" if caption else image


def quote(text: str) -> str:
    """A block quote, which every viewer sets apart from the text."""
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def plain_inline(token: Token, raw: str, context: Context) -> str:
    """Replace the roles in a paragraph; all else stays as written."""
    pieces: list[str] = []
    position = 0
    for child in token.children:
        if child.type == "image" and not child.content:
            raise MarkdownError(
                f"line {token.map[0] + 1}: the image {child.attrs['src']} has no "
                "alternative text. Write it between the square brackets."
            )
        if child.type == "link_open":
            require_public(child.attrs["href"], token.map[0] + 1)
        # What is quoted as code or mathematics may look like a role and is none.
        if child.type not in ("code_inline", "math_inline", "myst_role"):
            continue
        found = written_as(child).search(raw, position)
        if child.type == "myst_role":
            pieces += [raw[position : found.start()], plain_role(child, context)]
        else:
            pieces.append(raw[position : found.end()])
        position = found.end()
    return "".join(pieces) + raw[position:]


def written_as(child: Token) -> re.Pattern:
    """A pattern of the text that this inline token was read from."""
    words = r"[\s>]+".join(re.escape(word) for word in child.content.split())
    if child.type == "math_inline":
        return re.compile(rf"\$\s*{words}\s*\$")
    name = rf"\{{{child.meta['name']}\}}" if child.type == "myst_role" else ""
    return re.compile(rf"{name}(`+)\s*{words}\s*\1")


def require_public(href: str, line: int) -> None:
    """A link must lead somewhere from Colab too."""
    if not re.match(r"https?://|mailto:|#", href):
        raise MarkdownError(
            f"line {line}: the link to {href} leads nowhere from Colab. "
            "Use {doc} for a page, {ref} for a label, or a full address."
        )


def plain_role(child: Token, context: Context) -> str:
    """The plain form of a role."""
    name, content = child.meta["name"], child.content
    match = re.fullmatch(r"(.*?)\s*<([^<>]+)>", content, re.DOTALL)
    text, key = (match[1], match[2]) if match else (None, content)
    if name == "proof":
        if key in context.here:
            return f"<sup>[shown](#{key})</sup>"
        if "#" in key:
            return f"<sup>[shown]({context.target(key)})</sup>"
        return f"<sup>[source]({context.citation(key)[1]})</sup>"
    if name in ("cite:p", "cite:t", "cite"):
        return citations(key, parenthesized=name != "cite:t", context=context)
    if name == "doc":
        docname = key.lstrip("/")
        return f"[{text or context.title(docname)}]({context.page(docname)})"
    if name == "ref":
        address = f"#{key}" if key in context.here else context.target(key)
        return f"[{text or key}]({address})"
    if name == "eq":
        return f"({context.equations[key]})"
    if name == "term":
        return f"[{text or key}]({context.term(key)})"
    if name == "ja":
        return content
    raise MarkdownError(
        f"the role {{{name}}} has no plain form for notebooks. "
        "Use another, or teach tools/plain_markdown.py its form."
    )


def citations(keys: str, *, parenthesized: bool, context: Context) -> str:
    """Links to the references page, as "Name (year)" or "(Name, year)"."""
    links = []
    for key in keys.split(","):
        text, address = context.citation(key.strip())
        if parenthesized:
            text = re.sub(r" \((\w+)\)$", r", \1", text)
        links.append(f"[{text}]({address})")
    joined = "; ".join(links)
    return f"({joined})" if parenthesized else joined
