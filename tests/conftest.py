"""What several tests share: the built site, a browser, the address."""

import pytest

from address import read_address
from asked_answers import is_due
from book import HTML
from browser import chromium
from site_server import serving

PATIENCE = 120_000  # milliseconds that a busy machine may take for a step of a browser
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


@pytest.fixture
def tabs(browser):
    """Opens tabs; fails at its end if one logged an error or asked another host.

    address: of the host. allowed: whether a tab may log this. A tab's `asked` holds
    what it asked for.
    """
    contexts, faults = [], []

    def new_tab(address, allowed=lambda _text: False, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        tab = context.new_page()
        tab.asked = []

        def log(text):
            if not allowed(text):
                faults.append(text)

        def ask(request):
            tab.asked.append(request.url)
            if not request.url.startswith((address, "data:", "blob:")):
                faults.append(f"asked for {request.url}")

        tab.on("pageerror", lambda error: log(error.stack or str(error)))
        tab.on("console", lambda message: message.type == "error" and log(message.text))
        tab.on("request", ask)
        return tab

    yield new_tab
    for context in contexts:
        context.close()
    assert faults == []
