"""Prompt flow's own chat page in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from pydantic import SecretStr

from endpoint import KEY, Endpoint
from hieno import flow

HOSTILE = "Who? <img src=x onerror=window.hacked=1><script>window.hacked=1</script>"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[flow.Served]:
    folder = tmp_path_factory.mktemp("project")
    flow.init(folder / "flow", name="my-model")
    state = folder / "state"
    yield flow.start(folder / "flow", endpoint.url, SecretStr(KEY), state=state, say=print)
    flow.stop(state)


def test_a_question_typed_into_the_page_is_answered_below_it(
    served: flow.Served, browser: Browser, endpoint: Endpoint, tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": 1100, "height": 700})
    # Its fonts come from elsewhere and are not needed: nothing else may leave this machine.
    page.route(lambda url: not url.startswith(served.url), lambda route: route.abort())
    page.goto(served.url)
    # The page draws its box before it knows its flow, and then draws it anew, empty.
    expect(page.get_by_text("flow(")).to_be_visible(timeout=30_000)
    box = page.get_by_role("textbox").last
    for question, turns in (("Who are you?", 1), (HOSTILE, 3)):
        box.fill(question)
        box.press("Enter")
        answer = page.get_by_text(f"{turns} messages, the last is {question[:4]}")
        expect(answer.first).to_be_visible(timeout=30_000)
    page.screenshot(path=tmp_path / "page.png")
    assert page.evaluate("window.hacked") is None
    assert [len(request["input_data"][0]) for request in endpoint.requests] == [1, 3]
    page.close()
