"""Agent Framework's two clients of OpenAI, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import openai
import pytest

agent_framework = pytest.importorskip("agent_framework")
clients = pytest.importorskip("agent_framework.openai")

if TYPE_CHECKING:
    from conftest import Container

Result = TypeVar("Result")
KINDS = ["OpenAIChatCompletionClient", "OpenAIChatClient"]  # chat completions, responses


def run(work: Coroutine[Any, Any, Result]) -> Result:
    async def bounded() -> Result:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(bounded())


@asynccontextmanager
async def agent(
    container: Container, kind: str, *, tools: list[Any] | None = None, **options: Any
) -> AsyncIterator[Any]:
    # Its own clients never close their connections, so they get one that is closed here.
    async with openai.AsyncOpenAI(base_url=container.url, api_key=container.key) as connection:
        yield agent_framework.Agent(
            client=getattr(clients, kind)(model=container.name, async_client=connection),
            instructions="Be kind.",
            tools=tools,
            default_options={"max_tokens": 12, **options},
        )


@pytest.mark.parametrize("kind", KINDS)
def test_an_agent_answers_whole_and_streamed(container: Container, kind: str) -> None:
    async def both() -> tuple[Any, list[Any], Any]:
        async with agent(container, kind) as made:
            whole = await made.run("Who?")
            stream = made.run("Who?", stream=True)
            updates = [update async for update in stream]
            return whole, updates, await stream.get_final_response()

    whole, updates, streamed = run(both())
    assert whole.text
    assert streamed.text == whole.text
    assert streamed.usage_details == whole.usage_details
    assert len([update for update in updates if update.text]) > 2
    assert 0 < whole.usage_details["output_token_count"] <= 12


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_sends_the_whole_conversation(container: Container, kind: str) -> None:
    # Nothing is kept on our side: the responses client has to be told that.
    options = {"store": False} if kind == "OpenAIChatClient" else {}

    async def twice() -> tuple[Any, Any]:
        async with agent(container, kind, **options) as made:
            session = made.create_session()
            first = await made.run("Who looks after the boats?", session=session)
            return first, await made.run("And then?", session=session)

    first, second = run(twice())
    before, after = (each.usage_details["input_token_count"] for each in (first, second))
    assert after > before + len(first.text.split())


@pytest.mark.parametrize("kind", KINDS)
def test_tools_are_refused_by_name(container: Container, kind: str) -> None:
    def ferry(hour: int) -> str:
        """Call the ferry."""
        return "called"

    async def ask() -> None:
        async with agent(container, kind, tools=[ferry]) as made:
            await made.run("Who?")

    with pytest.raises(Exception, match="'tools' is not supported with this model"):
        run(ask())
