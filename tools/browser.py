"""A headless Chromium, for the tests and for pictures of the book."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from node import BIN
from system_packages import CHROMIUM

# As root a browser cannot start its own sandbox. The rest keeps it from asking the
# network for anything that the page did not ask for.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that runs while the block does. RuntimeError if there is none."""
    # The Node that Playwright brings needs libatomic, which a bare machine has not.
    os.environ["PLAYWRIGHT_NODEJS_PATH"] = str(BIN / "node")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM.path(), args=ARGUMENTS
        )
        yield browser
        browser.close()
