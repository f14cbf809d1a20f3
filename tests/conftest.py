"""What several tests share: the built site, a browser, the address."""

import gc
from itertools import groupby

import pytest

from address import read_address
from asked_answers import is_due
from book import HTML
from browser import chromium
from site_server import serving

PATIENCE = 120_000  # milliseconds that a busy machine may take for a step of a browser
# Files of tests that take or wait the longest, the longest first, so that none is left
# over when the others are through.
LONG = (
    *("test_hostile", "test_shell", "test_parity", "test_scaling", "test_speed"),
    *("test_command", "test_encoder_at_work", "test_every_figure", "test_site"),
    *("test_page_answers", "test_tokens", "test_exploring", "test_tour", "test_wiring"),
    *("test_roofline", "test_run_notebooks", "test_checks", "test_bad_input"),
    *("test_asked_answers", "test_fast", "test_figures", "test_package"),
    "test_exercises",
)
gc.disable()  # until all is imported and collected: none of it is garbage
PARTS = 16  # of a file, each of which a process is given at once


def pytest_addoption(parser):
    """An option for those answers that `make sync` has asked already."""
    parser.addoption("--all-answers", action="store_true", help="ask all of tests/bank")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config, items):
    """The long ones first; answers are left out if nothing that they rest on changed.

    Apart from that the order stays. Tests that are in no group get one: to hand out
    thousands one by one takes longer than most of them.
    """
    if not config.option.all_answers:
        left = [item for item in items if not is_asked_now(item)]
        config.hook.pytest_deselected(items=left)
        asked = {*items} - {*left}
        items[:] = [item for item in items if item in asked]
    order = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONG)))
    for path, alone in groupby(filter(is_alone, items), lambda item: item.path):
        tests = list(alone)
        size = -(-len(tests) // PARTS)
        for number, item in enumerate(tests):
            name = f"{path.stem} {number // size}"
            item.add_marker(pytest.mark.xdist_group(name))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop():
    """Garbage is looked for among what the tests make, not in all that was imported."""
    gc.freeze()
    gc.enable()


def is_alone(item):
    """Whether a test is in no group of those that one process runs."""
    return item.get_closest_marker("xdist_group") is None


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
