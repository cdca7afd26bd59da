"""LangChain's clients, as they come."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import httpx
import openai
import pytest
from pydantic import BaseModel

langchain_openai = pytest.importorskip("langchain_openai")

if TYPE_CHECKING:
    from conftest import Container

CONVERSATION = [("system", "Be kind."), ("human", "Who?"), ("ai", "The carpenter."), ("human", "?")]


class Crew(BaseModel):
    kind: Literal["captain", "carpenter"]
    awake: bool


def chat_model(container: Container, **fields: Any) -> Any:
    return langchain_openai.ChatOpenAI(
        base_url=container.url,
        api_key=container.key,
        model=container.name,
        max_retries=0,
        max_tokens=fields.pop("max_tokens", 12),
        **fields,
    )


@pytest.mark.parametrize("responses", [False, True])
def test_an_answer_and_its_stream_are_the_same(container: Container, responses: bool) -> None:
    model = chat_model(container, stream_usage=True, use_responses_api=responses)
    whole = model.invoke(CONVERSATION)
    assert whole.text
    chunks = list(model.stream(CONVERSATION))
    assert len(chunks) > 2
    assert "".join(chunk.text for chunk in chunks) == whole.text
    usage = next(chunk.usage_metadata for chunk in reversed(chunks) if chunk.usage_metadata)
    assert usage["output_tokens"] == whole.usage_metadata["output_tokens"] <= 12
    assert usage["input_tokens"] == whole.usage_metadata["input_tokens"]


def test_asynchronous_calls_are_answered_at_the_same_time(container: Container) -> None:
    questions = [
        "Who looks after the boats in winter?",
        "What is the capital of France?",
        "The ferry leaves the harbour at twenty past six.",
        "user model chat",
    ]

    async def together() -> list[str]:
        # Its own asynchronous client is never closed, so it gets one that is closed here.
        async with httpx.AsyncClient() as connection:
            model = chat_model(container, temperature=0, http_async_client=connection)
            return [answer.text for answer in await model.abatch(questions)]

    answers = asyncio.run(together())
    assert len(set(answers)) == 4


def test_stop_words_and_seed_are_honoured(container: Container) -> None:
    model = chat_model(container, temperature=1.0, seed=5)
    text = model.invoke("Who?").text
    assert model.invoke("Who?").text == text
    stop = text[3:5]
    assert model.invoke("Who?", stop=[stop]).text == text[: text.index(stop)]


def test_a_completion_goes_on_from_a_text(container: Container) -> None:
    model = langchain_openai.OpenAI(
        base_url=container.url, api_key=container.key, model=container.name, max_tokens=12, seed=1
    )
    text = model.invoke("The ferry leaves")
    assert text
    assert "".join(model.stream("The ferry leaves")) == text


def test_structured_output_is_an_object_of_the_class(container: Container) -> None:
    if not container.constrains:
        pytest.skip("this machine's engine cannot constrain answers")
    # A random model may write white space up to its limit; then it is asked again.
    parsed = []
    for seed in range(10):
        model = chat_model(container, max_tokens=400, temperature=1.0, seed=seed)
        asked = model.with_structured_output(Crew, method="json_schema")
        with suppress(openai.LengthFinishReasonError):
            parsed.append(asked.invoke("Who?"))
    assert len(parsed) > 3
    assert all(isinstance(each, Crew) for each in parsed)


def test_tools_are_refused_by_name(container: Container) -> None:
    def ferry(hour: int) -> str:
        """Call the ferry."""
        return "called"

    with pytest.raises(openai.BadRequestError) as refused:
        chat_model(container).bind_tools([ferry]).invoke("Who?")
    assert refused.value.param == "tools"
