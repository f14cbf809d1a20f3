"""Build the book into `_build/html`, from sources and outputs that are up to date.

With `--draft`, outputs may be stale: to look at one page while others wait.
"""

import argparse
import shutil
import subprocess
import sys

from address import ROOT, read_address
from sync import sync

HTML = ROOT / "_build" / "html"


def main() -> None:
    """Check, then build strictly."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--draft", action="store_true")
    draft = arguments.parse_args().draft
    address = read_address()
    try:
        faults = [] if draft else sync(address, check=True)
    except ValueError as error:  # SourceError, or what the address lacks
        sys.exit(str(error))
    if faults:
        sys.exit("\n".join(faults))
    status = build()
    if status:
        sys.exit(status)
    print(f"The book is built: {(HTML / 'index.html').relative_to(ROOT)}")
    if address.is_placeholder:
        print(
            "The public address in _config.yml is still the placeholder: the links to "
            "Colab and to the repository lead nowhere yet."
        )


def build() -> int:
    """Run Sphinx from nothing, warnings being errors; its exit status."""
    pages = HTML.with_name(".doctrees")
    for folder in (HTML, pages):
        shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "build", "--quiet"]
    command += ["--fail-on-warning", "--keep-going", "--nitpicky"]
    return subprocess.run([*command, "--doctree-dir", pages, ROOT, HTML]).returncode


if __name__ == "__main__":
    main()
