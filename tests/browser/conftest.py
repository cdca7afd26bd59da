"""A browser, and an endpoint with a chat page. The flow's tests have the stand-in for another."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "flow"))

from books import Books, Visit, visiting

from endpoint import Endpoint, running
from hieno.endpoint import control

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return Debian's Chromium, without a window."""
    if not CHROMIUM.exists():
        pytest.skip("needs Debian's package chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        yield started
        started.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    """Return the stand-in for the endpoint of a flow."""
    with running() as stand_in:
        yield stand_in


@pytest.fixture(scope="session")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """Return an endpoint whose models say what they are told."""
    made = Books(tmp_path_factory.mktemp("page") / "books")
    made.deploy(made.parrot("3"), made.parrot("base"))
    yield made
    control.down(made.folder)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Books]:
    """Return an endpoint that a test may break."""
    made = Books(tmp_path / "books")
    made.deploy(made.parrot("3"), made.parrot("base"))
    yield made
    control.down(made.folder)


@pytest.fixture
def visit(books: Books, browser: Browser) -> Iterator[Visit]:
    """Return a window that is signed in."""
    with visiting(books, browser) as opened:
        yield opened.enter()
