"""Packages that notebooks may use beside the course's own, as `--with` names them."""

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions

from vit_encoder.grade.shell import is_here

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


class NotInstalled(Exception):  # noqa: N818, an outcome more than an error
    """A package is not here; the text says how to get it."""


def modules_of(packages: Iterable[str]) -> list[str]:
    """The modules to import; NotInstalled if a package has none here.

    packages: names of modules, such as sklearn, or what pip calls them: scikit-learn.
    """
    found = {package: _modules(package) for package in packages}
    if missing := [package for package, modules in found.items() if not modules]:
        names = " ".join(map(distribution_of, missing))
        raise NotInstalled(
            f"expected packages that are installed, got {', '.join(missing)}: "
            f"pip install {names}"
        )
    return [module for modules in found.values() for module in modules]


def _modules(package: str) -> list[str]:
    """The modules of a package, none if it is not installed."""
    if package.isidentifier() and is_here(package):
        return [package]
    return sorted(
        module
        for module, distributions in _installed().items()
        if module.isidentifier() and not module.startswith("_")
        if _folded(package) in map(_folded, distributions)
    )


def distribution_of(package: str) -> str:
    """What pip calls a package, as far as that is known here."""
    return next(iter(_installed().get(package, ())), package)


def _folded(name: str) -> str:
    """The name as pip compares it."""
    return re.sub(r"[._-]+", "-", name).lower()


_installed = cache(packages_distributions)  # module → what pip calls it
