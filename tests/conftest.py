"""What several tests share: the built site, a browser, the address."""

import pytest

from address import read_address
from book import HTML
from browser import chromium
from site_server import serving

# Groups of tests that take or wait the longest: first, so that none is left over.
LONG = ("test_hostile", "test_command", "test_parity", "test_site", "test_exercises")


def pytest_collection_modifyitems(items):
    """The long ones first; apart from that the order stays."""
    order = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session")
def address():
    """The public address of the course."""
    return read_address()


@pytest.fixture(scope="session")
def site(address):
    """The address of the built book, served with compression."""
    if not (HTML / "index.html").exists():
        pytest.fail("The book is not built. Run `make book` first, or `make test`.")
    with serving(HTML, prefix=address.site_path) as url:
        yield url


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    with chromium() as browser:
        yield browser
