from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import Response
from serving import Client, error_of, named_events

ORDER = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]


def output_of(body: dict[str, Any]) -> str:
    return str(body["output"][0]["content"][0]["text"])


def test_a_response_is_what_a_chat_says(client: Client) -> None:
    body = client.respond(max_output_tokens=12).json()
    chat = client.chat("Who?", max_tokens=12).json()
    assert output_of(body) == chat["choices"][0]["message"]["content"]
    assert body["usage"] == {
        "input_tokens": chat["usage"]["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 12,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": chat["usage"]["prompt_tokens"] + 12,
    }
    assert body["id"].startswith("resp_")
    assert body["output"][0]["id"].startswith("msg_")
    assert (body["status"], body["output"][0]["status"]) == ("incomplete", "incomplete")
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert body["store"] is False


def test_a_response_fits_the_clients_own_type(client: Client) -> None:
    body = client.respond(max_output_tokens=2, metadata={"a": "b"}, temperature=0).json()
    parsed = Response.model_validate(body, strict=True)
    assert parsed.metadata == {"a": "b"}
    assert parsed.temperature == 0
    assert parsed.output_text == output_of(body)


def test_an_answer_that_ends_by_itself_is_completed(client: Client) -> None:
    seeds = range(40)
    bodies = (client.respond(max_output_tokens=64, temperature=2.0, top_p=1.0) for _ in seeds)
    body = next(found for each in bodies if (found := each.json())["status"] == "completed")
    assert body["incomplete_details"] is None
    assert body["completed_at"] >= body["created_at"]


def test_a_stream_has_the_contracts_events_in_order(client: Client) -> None:
    whole = client.respond(max_output_tokens=12).json()
    response = client.respond(max_output_tokens=12, stream=True)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    found = named_events(response)
    names = [each["type"] for each in found]
    assert list(dict.fromkeys(names)) == [*ORDER, "response.incomplete"]
    assert [each["sequence_number"] for each in found] == list(range(len(found)))
    deltas = [each["delta"] for each in found if each["type"] == "response.output_text.delta"]
    assert len(deltas) > 1
    assert "".join(deltas) == output_of(whole)
    first, last = found[0]["response"], found[-1]["response"]
    assert (first["status"], first["output"], first["usage"]) == ("in_progress", [], None)
    assert last["id"] == first["id"]
    assert last["usage"] == whole["usage"]
    done = next(each for each in found if each["type"] == "response.output_item.done")
    assert done["item"] == last["output"][0]
    assert output_of(last) == output_of(whole)
    assert {each["item_id"] for each in found if "item_id" in each} == {done["item"]["id"]}
    assert client.service.slots.taken == 0


def test_a_conversation_is_read_in_all_its_forms(client: Client) -> None:
    def tokens(given: object, **fields: Any) -> int:
        body = client.respond(given, max_output_tokens=1, **fields).json()
        return int(body["usage"]["input_tokens"])

    system = {"role": "system", "content": "Be kind."}
    developer = {"role": "developer", "content": "Be kind.", "type": "message"}
    user = {"role": "user", "content": "Who?"}
    parts = {"role": "user", "content": [{"type": "input_text", "text": "Who?"}]}
    assert tokens([user]) == tokens([parts]) == tokens("Who?")
    kind = tokens([system, user])
    assert kind == tokens([developer, user]) == tokens("Who?", instructions="Be kind.")
    answer = client.respond(max_output_tokens=3).json()["output"][0]
    text = answer["content"][0]["text"]
    assert tokens([user, answer, user]) == tokens(
        [user, {"role": "assistant", "content": text}, user]
    )


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"store": True}, "unsupported_parameter", "store"),
        ({"previous_response_id": "resp_1"}, "unsupported_parameter", "previous_response_id"),
        ({"conversation": "conv_1"}, "unsupported_parameter", "conversation"),
        ({"tools": [{"type": "function"}]}, "unsupported_parameter", "tools"),
        ({"tool_choice": "required"}, "unsupported_parameter", "tool_choice"),
        ({"background": True}, "unsupported_parameter", "background"),
        ({"truncation": "auto"}, "unsupported_parameter", "truncation"),
        ({"reasoning": {"effort": "high"}}, "unsupported_parameter", "reasoning"),
        ({"include": ["message.output_text.logprobs"]}, "unsupported_parameter", "include"),
        ({"text": {"format": {"type": "json_object"}}}, "unsupported_parameter", "text.format"),
        ({"text": {"verbosity": "low"}}, "unknown_parameter", "text.verbosity"),
        ({"seed": 5}, "unknown_parameter", "seed"),
        ({"stop": "x"}, "unknown_parameter", "stop"),
        ({"max_output_tokens": 65}, "invalid_value", "max_output_tokens"),
        ({"temperature": 2.1}, "invalid_value", "temperature"),
        ({"metadata": {"a": 1}}, "invalid_value", "metadata.a"),
        ({"stream_options": {"include_obfuscation": False}}, "invalid_value", "stream_options"),
        ({"input": []}, "invalid_value", "input"),
        ({"input": 5}, "invalid_value", "input"),
        ({"input": [{"role": "bot", "content": "x"}]}, "invalid_value", "input[0].role"),
        ({"input": [{"role": "assistant", "content": "x"}]}, "invalid_value", "input"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "invalid_value",
            "input[0].content[0].type",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "a", "output": "b"}]},
            "invalid_value",
            "input[0].type",
        ),
        ({"input": "boats " * 3000}, "context_length_exceeded", "input"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    client: Client, fields: dict[str, Any], code: str, param: str
) -> None:
    response = client.post("/v1/responses", {"model": "tiny", "input": "Who?", **fields})
    assert response.status_code == 400
    error = error_of(response)
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    assert client.service.slots.taken == 0


def test_harmless_settings_of_other_services_are_accepted(client: Client) -> None:
    fields: dict[str, Any] = {
        "background": False,
        "include": ["reasoning.encrypted_content"],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "truncation": "disabled",
        "user": "me",
    }
    assert client.respond(max_output_tokens=1, **fields).status_code == 200
