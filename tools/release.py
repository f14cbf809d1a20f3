"""Say why the version cannot be published, or write what is new in it: `release.py`.

The version stands in pyproject.toml. It can be published once: from the public branch,
with the changelog's first section about it and CITATION.cff of the same date.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from address import ROOT, Address, read_address

SECTION = re.compile(r"^## (.+)\n", re.MULTILINE)


def main() -> None:
    """Print the version, or stop with a line for each fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", required=True, help="the page of this one")
    parser.add_argument("--branch", required=True, help="the one that is checked out")
    parser.add_argument("--notes", type=Path, required=True, help="gets what is new")
    given = parser.parse_args()
    git = subprocess.run(
        ["git", "tag", "--list"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    found = faults(ROOT, git.stdout.split())
    found += elsewhere(read_address(), given.repository, given.branch)
    if found:
        sys.exit("\n".join(found))
    given.notes.write_text(sections(ROOT)[0][1], encoding="utf-8")
    print(read_version(ROOT))


def read_version(root: Path = ROOT) -> str:
    """The version of the course, from where alone it is set."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return project["project"]["version"]


def tag_of(version: str) -> str:
    """The tag of a version."""
    return f"v{version}"


def sections(root: Path) -> list[tuple[str, str]]:
    """The heading and the text of each section of the changelog, the newest first."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    _, *parts = SECTION.split(text)
    texts = [part.strip() + "\n" for part in parts[1::2]]
    return list(zip(parts[::2], texts, strict=True))


def faults(root: Path, tags: list[str]) -> list[str]:
    """What in the files, or which of the tags, keeps the version from being published.

    tags: those that the repository has.
    """
    version = read_version(root)
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    date = citation["date-released"]
    (heading, text), *_ = [*sections(root), ("none", "")]
    found = []
    if tag_of(version) in tags:
        found.append(
            f"{tag_of(version)} is a tag already. Raise the version in pyproject.toml."
        )
    if citation["version"] != version:
        found.append(
            f"CITATION.cff: expected version {version}, as in pyproject.toml; found "
            f"{citation['version']}."
        )
    if heading != f"{version} – {date}":
        found.append(
            f"CHANGELOG.md: expected the first section to be `## {version} – {date}`, "
            f"with the date of CITATION.cff; found `## {heading}`."
        )
    elif not text.strip():
        found.append(f"CHANGELOG.md: the section on {version} is empty.")
    return found


def elsewhere(address: Address, repository: str, branch: str) -> list[str]:
    """What tells that this is not the repository or branch of the course's address."""
    found = []
    if address.repository != repository:
        found.append(
            f"_config.yml: expected repository.url to be {repository}, to which all "
            f"links lead; found {address.repository}."
        )
    if address.branch != branch:
        found.append(f"Expected the branch {address.branch}; this is {branch}.")
    return found


if __name__ == "__main__":
    main()
