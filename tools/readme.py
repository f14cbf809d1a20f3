"""The links at the top of the README, which `make sync` makes from the address."""

from address import ROOT, Address

README = ROOT / "README.md"
BEGIN, END = "<!-- From _config.yml, by `make sync`. -->\n", "<!-- To here. -->\n"
NO_ADDRESS = """\
The course has no public address yet. Once it stands in [_config.yml](_config.yml),
links to the book and to Colab are put here.
"""


def sync_readme(address: Address, *, check: bool) -> list[str]:
    """Put the links into the README; or its fault, if they are others."""
    old = README.read_text(encoding="utf-8")
    new = with_links(old, address)
    if new == old:
        return []
    if check:
        return ["README.md is stale. Run `make sync`."]
    README.write_text(new, encoding="utf-8", newline="\n")
    print("wrote  README.md", flush=True)
    return []


def with_links(readme: str, address: Address) -> str:
    """The README with the links to this address. ValueError if it has no place."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(
            f"README.md: expected `{BEGIN.strip()}` and, below it, `{END.strip()}`. "
            "Between them stand the links that `make sync` makes."
        )
    return f"{before}{begin}{links(address)}{end}{after}"


def links(address: Address) -> str:
    """The links, or why there are none."""
    if address.is_placeholder:
        return NO_ADDRESS
    colab = address.colab("chapters/01_patches_and_positions.ipynb")
    return (
        f"**[Read the book]({address.site})** ·\n"
        f"[open its first chapter on Colab]({colab}) ·\n"
        f"[how to start]({address.page('book/how_to_use')}) ·\n"
        f"[where to ask]({address.page('book/plan')}#where-to-ask)\n"
    )
