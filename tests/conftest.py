"""What several tests share: the built site, a browser, the address."""

import pytest

from address import read_address
from asked_answers import is_due
from book import HTML
from browser import chromium
from site_server import serving

# Groups of tests that take or wait the longest: first, so that none is left over.
LONG = ("test_hostile", "test_command", "test_parity", "test_site", "test_exercises")


def pytest_addoption(parser):
    """An option for those answers that `make sync` has asked already."""
    parser.addoption("--all-answers", action="store_true", help="ask all of tests/bank")


def pytest_collection_modifyitems(config, items):
    """The long ones first; answers are left out if nothing that they rest on changed.

    Apart from that the order stays.
    """
    if not config.option.all_answers:
        left = [item for item in items if not is_asked_now(item)]
        config.hook.pytest_deselected(items=left)
        asked = {*items} - {*left}
        items[:] = [item for item in items if item in asked]
    order = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONG)))


def is_asked_now(item):
    """Whether a test is none of an answer of the bank, or one that is due."""
    answer = item.get_closest_marker("answer")
    return answer is None or is_due(*answer.args)


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
