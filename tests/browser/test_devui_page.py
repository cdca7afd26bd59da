"""Agent Framework's developer page in a real browser, for the generated agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from pydantic import SecretStr

from endpoint import KEY, Endpoint
from hieno import flow
from hieno.flow.frameworks import AGENTS

HOSTILE = "Who? <img src=x onerror=window.hacked=1><script>window.hacked=1</script>"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[flow.Served]:
    folder = tmp_path_factory.mktemp("project")
    flow.init(folder / "agent", name="my-model", framework=AGENTS)
    yield flow.start(
        folder / "agent",
        endpoint.url,
        SecretStr(KEY),
        state=folder / "state",
        page=True,
        say=print,
    )
    flow.stop(folder / "state")


def test_a_question_typed_into_the_page_is_answered_below_it(
    served: flow.Served, browser: Browser, endpoint: Endpoint, tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    elsewhere: list[str] = []
    page.on(
        "request",
        lambda sent: None if sent.url.startswith(served.url) else elsewhere.append(sent.url),
    )
    page.goto(served.url)
    box = page.get_by_role("textbox").last
    expect(box).to_be_enabled(timeout=60_000)
    for question, turns in (("Who are you?", 1), (HOSTILE, 3)):
        box.fill(question)
        box.press("Enter")
        answer = page.get_by_text(f"{turns} messages, the last is {question[:4]}")
        expect(answer.first).to_be_visible(timeout=60_000)
    page.screenshot(path=tmp_path / "page.png")
    assert [len(request["messages"]) for request in endpoint.requests] == [1, 3]
    assert page.evaluate("window.hacked") is None
    assert elsewhere == []
    page.close()
