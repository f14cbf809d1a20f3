"""The public address of the course, read from `_config.yml`, where alone it stands."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import yaml

ROOT = Path(__file__).resolve().parents[1]
PLACEHOLDER = "example-org"


@dataclass(frozen=True)
class Address:
    """Where the course is published.

    repository: the repository's page, without a slash at its end.
    branch: the branch that is published.
    site: the book's first page, with a slash at its end.
    """

    repository: str
    branch: str
    site: str

    @cached_property
    def is_placeholder(self) -> bool:
        """Whether the course has no real address yet."""
        return PLACEHOLDER in self.repository or PLACEHOLDER in self.site

    @cached_property
    def site_path(self) -> str:
        """The path part of the site's address, for links from the 404 page."""
        return urlsplit(self.site).path

    def page(self, docname: str) -> str:
        """The address of a page, by its name without extension."""
        return f"{self.site}{docname}.html"

    def file(self, path: str) -> str:
        """The address of a file of the repository."""
        return f"{self.repository}/blob/{self.branch}/{path}"

    def colab(self, notebook: str) -> str:
        """The address that opens a notebook of the repository in Colab."""
        github_path = urlsplit(self.repository).path
        return (
            "https://colab.research.google.com/github"
            f"{github_path}/blob/{self.branch}/{notebook}"
        )


def read_address(root: Path = ROOT) -> Address:
    """Read the address; ValueError says which entry is missing."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    try:
        return Address(
            repository=config["repository"]["url"].rstrip("/"),
            branch=config["repository"]["branch"],
            site=config["html"]["baseurl"].rstrip("/") + "/",
        )
    except KeyError as missing:
        raise ValueError(
            f"_config.yml: {missing} is missing. The address needs repository.url, "
            "repository.branch and html.baseurl."
        ) from None
