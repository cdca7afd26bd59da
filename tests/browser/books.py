"""An endpoint with a chat page, and a browser that notes what the page should never do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Locator, Page, Request

from hieno import ports
from hieno.endpoint import control, logs, state
from hieno.endpoint.page import invitations
from hieno.endpoint.page.invitations import Allowance
from hieno.endpoint.state import DeploymentSpec, Limits
from hieno.endpoint.state import Page as PageSettings
from hieno.processes import ProcessId
from waiting import wait_until

PARROT = Path(__file__).with_name("parrot.py")
LIMITS = Limits(request_timeout=30, max_concurrent=8, drain_timeout=2)

NOTE_VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => {
  violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
"""


class Books:
    """An endpoint in a folder, named books."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder.parent / "record.jsonl"
        self.feedback = folder.parent / "feedback.jsonl"

    def deploy(self, tuned: DeploymentSpec, base: DeploymentSpec, *, feedback: bool = True) -> None:
        control.deploy(
            self.folder,
            tuned,
            port=ports.free_port(),
            wait=120,
            say=print,
            base=base,
            limits=LIMITS,
            page=PageSettings("books", 1024, str(self.feedback) if feedback else ""),
        )

    def parrot(self, version: str, *options: str) -> DeploymentSpec:
        """Describe a deployment that says what it is told."""
        name = "base" if version == "base" else "books"
        given = ("--port", "{port}", "--record", str(self.record), "--name", name, *options)
        return DeploymentSpec(version, (sys.executable, str(PARROT), *given))

    @property
    def url(self) -> str:
        found = control.status(self.folder)
        assert found is not None
        return found.url

    def link(self, allowance: Allowance | None = None, **options: float) -> str:
        [code] = invitations.invite(self.folder, allowance=allowance, **options)
        return f"{self.url}/chat/#{code.get_secret_value()}"

    def asked(self) -> list[dict[str, Any]]:
        """Return every request that the parrots were sent."""
        lines = self.record.read_text(encoding="utf-8").splitlines() if self.record.exists() else ()
        return [json.loads(line) for line in lines]

    def container(self) -> ProcessId:
        """Return the process of the tuned model."""
        seen = state.read_observed(self.folder)
        assert seen is not None
        process = seen.deployments["blue"].instances[0].process
        assert process is not None
        return process

    def wait_until_not_ready(self) -> None:
        """Wait until the gateway has noticed that the tuned model is gone."""
        wait_until(lambda: httpx.get(f"{self.url}/health", trust_env=False).status_code == 503)

    def wait_for_log(self, words: str) -> None:
        """Wait until the gateway has written a line with these words."""
        wait_until(lambda: any(words in line for line in logs.last(self.folder, lines=20)))

    def rated(self) -> list[dict[str, Any]]:
        return [json.loads(row) for row in self.feedback.read_text(encoding="utf-8").splitlines()]


class Visit:
    """A signed-in browser window; what it does wrong is in `problems`."""

    def __init__(self, books: Books, page: Page) -> None:
        self.books = books
        self.page = page
        self.problems: list[str] = []
        self.field = page.get_by_role("textbox", name="Your question")
        self.answers = page.locator("article.answer")
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", self._note)
        page.on("dialog", lambda dialog: dialog.accept())

    def _note(self, request: Request) -> None:
        if not request.url.startswith((f"{self.books.url}/chat/", "blob:")):
            self.problems.append(f"request: {request.url}")

    def enter(self, **options: Any) -> Visit:
        self.page.goto(self.books.link(**options))
        self.page.locator("#model", has_text="books").wait_for()
        return self

    def ask(self, question: str) -> Locator:
        """Type a question, send it, and return its turn, whose answer is under way."""
        self.field.fill(question)
        self.field.press("Enter")
        return self.turn(-1)

    def ask_and_wait(self, question: str) -> Locator:
        self.ask(question)
        return self.wait()

    def wait(self) -> Locator:
        """Wait until nothing is being answered; return the last turn."""
        self.page.locator("#stop").wait_for(state="hidden")
        return self.turn(-1)

    def turn(self, index: int) -> Locator:
        return self.page.locator("section.turn").nth(index)

    def button(self, name: str, exact: bool = True) -> Locator:
        return self.page.get_by_role("button", name=name, exact=exact)

    def violations(self) -> list[str]:
        found: list[str] = self.page.evaluate("window.violations")
        return found


@contextmanager
def visiting(books: Books, browser: Browser, **options: Any) -> Iterator[Visit]:
    """Open a window; leave it with nothing wrong: no error, no violation, no foreign request."""
    context = browser.new_context(**{"viewport": {"width": 1180, "height": 820}} | options)
    context.set_default_timeout(20_000)
    context.add_init_script(NOTE_VIOLATIONS)
    visit = Visit(books, context.new_page())
    try:
        yield visit
        assert visit.problems + visit.violations() == []
    finally:
        context.close()
