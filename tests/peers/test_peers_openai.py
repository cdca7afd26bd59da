"""The client of OpenAI, on every route, as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import openai
import pytest
from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from conftest import Container


class Crew(BaseModel):
    kind: Literal["captain", "carpenter"]
    awake: bool


@pytest.fixture
def client(container: Container) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=container.url, api_key=container.key, max_retries=0) as made:
        yield made


def test_completions_are_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="peer", prompt="The ferry", max_tokens=8, seed=1)
    assert whole.usage is not None
    chunks = client.completions.create(
        model="peer", prompt="The ferry", max_tokens=8, seed=1, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="peer", prompt="The ferry", echo=True)
    assert refused.value.param == "echo"


def test_responses_are_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.responses.create(
        model="peer", input="Who?", instructions="Be kind.", max_output_tokens=8
    )
    assert whole.output_text
    assert whole.usage is not None
    with client.responses.stream(
        model="peer", input="Who?", instructions="Be kind.", max_output_tokens=8
    ) as stream:
        found = list(stream)
    text = "".join(each.delta for each in found if each.type == "response.output_text.delta")
    final = found[-1]
    assert final.type in ("response.completed", "response.incomplete")
    assert text == final.response.output_text == whole.output_text
    assert final.response.usage == whole.usage


def test_the_output_of_one_response_is_the_input_of_the_next(client: openai.OpenAI) -> None:
    first = client.responses.create(model="peer", input="Who?", max_output_tokens=8)
    history = [
        {"role": "user", "content": "Who?"},
        *(item.model_dump() for item in first.output),
        {"role": "user", "content": "And then?"},
    ]
    second = client.responses.create(model="peer", input=history, max_output_tokens=8)  # type: ignore[call-overload]
    assert second.usage.input_tokens > first.usage.input_tokens  # type: ignore[union-attr]
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="peer", input="Go on", previous_response_id=first.id)
    assert refused.value.param == "previous_response_id"


def test_an_answer_is_parsed_into_a_class(client: openai.OpenAI, container: Container) -> None:
    if not container.constrains:
        pytest.skip("this machine's engine cannot constrain answers")
    # A random model may write white space up to its limit; then it is asked again.
    parsed: list[object] = []
    for seed in range(20):
        with suppress(openai.LengthFinishReasonError):
            chat = client.chat.completions.parse(
                model="peer",
                messages=[{"role": "user", "content": "Who?"}],
                response_format=Crew,
                max_tokens=400,
                temperature=1.0,
                seed=seed,
            )
            parsed.append(chat.choices[0].message.parsed)
        with suppress(ValidationError):
            response = client.responses.parse(
                model="peer",
                input="Who?",
                text_format=Crew,
                max_output_tokens=400,
                temperature=1.0,
            )
            parsed.append(response.output_parsed)
    assert len(parsed) > 10
    assert all(isinstance(each, Crew) for each in parsed)


def test_the_developers_words_are_read(client: openai.OpenAI) -> None:
    def tokens(role: Literal["system", "developer"]) -> int:
        made = client.chat.completions.create(
            model="peer",
            messages=[{"role": role, "content": "Be kind."}, {"role": "user", "content": "Who?"}],  # type: ignore[misc,list-item]
            max_completion_tokens=1,
        )
        assert made.usage is not None
        return made.usage.prompt_tokens

    assert tokens("developer") == tokens("system")
