from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from serving import Client, events

JSON = {"content-type": "application/json"}


def message_of(response: httpx.Response) -> str:
    body = response.json()
    assert list(body) == ["message"]
    return str(body["message"])


def test_texts_are_answered_in_order_as_a_bare_list(client: Client) -> None:
    response = client.score("Who?", "What?", max_new_tokens=6)
    assert response.status_code == 200
    assert response.json() == [
        client.score("Who?", max_new_tokens=6).json()[0],
        client.score("What?", max_new_tokens=6).json()[0],
    ]
    assert response.headers["x-ms-run-function-failed"] == "False"
    assert float(response.headers["x-ms-run-fn-exec-ms"]) > 0


def test_a_text_is_one_message_of_the_user(client: Client) -> None:
    conversation = [{"role": "user", "content": "Who?"}]
    both = client.score("Who?", conversation, max_new_tokens=6).json()
    assert both[0] == both[1]
    chat = client.chat("Who?", max_tokens=6).json()
    assert both[0] == chat["choices"][0]["message"]["content"]


def test_params_are_honoured(client: Client) -> None:
    def text(**params: Any) -> str:
        fields = {"max_new_tokens": 12, "ignore_eos": True, **params}
        return str(client.score("Who?", **fields).json()[0])

    greedy = text()
    assert text(max_new_tokens=3) == greedy[: len(text(max_new_tokens=3))]
    assert text(do_sample=False, temperature=1.5) == greedy
    assert text(temperature=0) == greedy
    assert text(do_sample=True, temperature=2.0, seed=1) == text(temperature=2.0, seed=1)
    assert len({text(do_sample=True, temperature=2.0) for _ in range(4)}) > 1
    assert text(return_full_text=True) == "Who?" + greedy
    assert text(stop=greedy[4:6]) == greedy[: greedy.index(greedy[4:6])]
    assert text(repetition_penalty=0.1) != greedy


def test_the_full_text_of_a_conversation_is_its_prompt(client: Client) -> None:
    conversation = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Who?"},
    ]
    (text,) = client.score(conversation, max_new_tokens=1, return_full_text=True).json()
    assert text.startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWho?")


def test_a_stream_carries_the_same_answer(client: Client) -> None:
    params: dict[str, Any] = {"max_new_tokens": 20, "ignore_eos": True}
    (whole,) = client.score("Who?", **params).json()
    response = client.score("Who?", accept="text/event-stream", **params)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    found = events(response)
    assert len(found) > 5
    assert all(list(each) == ["answer"] for each in found)
    assert "".join(each["answer"] for each in found) == whole
    assert client.service.slots.taken == 0


def test_a_stream_answers_exactly_one_input(client: Client) -> None:
    response = client.score("a", "b", accept="text/event-stream")
    assert response.status_code == 400
    assert message_of(response) == "A stream answers exactly one input; 'input_data' has 2."


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "A value is not provided for the 'input_data' parameter."),
        ({"input_data": None}, "A value is not provided for the 'input_data' parameter."),
        (
            {"input_data": "text"},
            "'input_data' must be a list of texts or of conversations, and not an empty one.",
        ),
        (
            {"input_data": []},
            "'input_data' must be a list of texts or of conversations, and not an empty one.",
        ),
        (
            {"input_data": {"columns": ["a"], "index": [0], "data": [["q"]]}},
            "'input_data' must be a list of texts or of conversations, and not an empty one.",
        ),
        (
            {"input_data": {"input_string": ["q"], "parameters": {}}},
            "'input_data' must be a list of texts or of conversations, and not an empty one.",
        ),
        (
            {"input_data": [{"role": "user", "content": "q"}]},
            "'input_data[0]' is a message: put the conversation into a list, [[{...}, {...}]].",
        ),
        ({"input_data": ["a", 5]}, "'input_data[1]' must be a text or a list of messages."),
        (
            {"input_data": ["a"] * 5},
            "'input_data' has 5 inputs; at most 4 are answered.",
        ),
        (
            {"input_data": [[{"role": "bot", "content": "q"}]]},
            "'input_data[0][0].role': input should be 'system', 'developer', 'user' or "
            "'assistant'.",
        ),
        ({"input_data": ["q"], "x": 1}, "Unknown field 'x'; fields are input_data and params."),
        ({"inputs": ["q"]}, "A value is not provided for the 'input_data' parameter."),
        (
            {"input_data": ["q"], "params": {"max_length": 5}},
            "Unknown parameter: 'params.max_length'.",
        ),
        (
            {"input_data": ["q"], "params": {"max_new_tokens": "5"}},
            "'params.max_new_tokens': input should be a valid integer.",
        ),
        (
            {"input_data": ["q"], "params": {"max_new_tokens": 65}},
            "'params.max_new_tokens' is 65; at most 64 are served.",
        ),
        (
            {"input_data": ["q"], "params": [1]},
            "'params' must be an object.",
        ),
    ],
)
def test_a_body_that_cannot_be_honoured_is_refused_by_name(
    client: Client, body: object, message: str
) -> None:
    response = client.post("/score", body)
    assert response.status_code == 400
    assert message_of(response) == message


def test_more_inputs_than_free_slots_are_refused_at_once(client: Client) -> None:
    with client.service.slots.take(3):
        assert client.score("a", "b", max_new_tokens=1).status_code == 429
        assert client.score("a", max_new_tokens=1).status_code == 200


@pytest.mark.parametrize(
    ("content", "headers", "status", "message"),
    [
        (b"", JSON, 400, "POST body is empty. Expecting a JSON dictionary."),
        (b"[1]", JSON, 400, "POST body should be a JSON dictionary."),
        (
            b"notjson",
            JSON,
            400,
            "POST body could not be decoded as JSON: Expecting value: line 1 column 1 (char 0)",
        ),
        (b"{}", {"content-type": "text/plain"}, 415, "Expects Content-Type to be application/json"),
        (b"{}", {}, 415, "Expects Content-Type to be application/json"),
        (
            b"{}",
            {"content-type": "application/json; charset=utf-16"},
            415,
            "Expects Content-Type to be application/json",
        ),
        (
            b"{}",
            {**JSON, "content-encoding": "gzip"},
            415,
            "Expects a body without Content-Encoding",
        ),
    ],
)
def test_what_is_not_a_json_object_gets_azures_words(
    client: Client, content: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    response = client.request("POST", "/score", content=content, headers=headers)
    assert response.status_code == status
    assert message_of(response) == message


def test_a_charset_of_utf_8_is_accepted(client: Client) -> None:
    content = json.dumps({"input_data": ["q"], "params": {"max_new_tokens": 1}}).encode()
    headers = {"content-type": "application/json; charset=utf-8"}
    assert client.request("POST", "/score", content=content, headers=headers).status_code == 200


def test_routes_and_methods_are_azures(client: Client) -> None:
    home = client.get("/")
    assert (home.status_code, home.text) == (200, "Healthy")
    assert home.headers["content-type"].startswith("text/html")
    assert client.request("OPTIONS", "/score").status_code == 200
    assert client.request("POST", "/").status_code == 405
    for path in ("/score/", "/nothing", "/score//", "/SCORE", "/docs", "/openapi.json"):
        response = client.get(path)
        assert response.status_code == 404, path
        assert message_of(response) == "Not Found"


def test_swagger_describes_score_in_three_versions(client: Client) -> None:
    assert client.get("/swagger.json").json()["swagger"] == "2.0"
    assert client.get("/swagger.json?version=3").json()["openapi"] == "3.0.3"
    newest = client.get("/swagger.json?version=3.1").json()
    assert newest["openapi"] == "3.1.0"
    schema = newest["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert "return_full_text" in schema["properties"]["params"]["properties"]
    unknown = client.get("/swagger.json?version=9")
    assert unknown.status_code == 404
    assert message_of(unknown).startswith("Swagger version [9] is not valid.")


def test_health_says_whether_an_answer_would_come(client: Client) -> None:
    assert client.get("/health").json() == {"status": "ready", "in_flight": 0}
    client.service.stopping = True
    response = client.get("/health")
    assert (response.status_code, response.json()) == (503, {"status": "stopping"})


def test_request_ids_are_echoed_or_made(client: Client) -> None:
    sent = {"x-request-id": "abc", "x-ms-client-request-id": "mine"}
    headers = client.get("/", headers=sent).headers
    assert headers["x-request-id"] == "abc"
    assert headers["x-ms-client-request-id"] == "mine"
    assert headers["x-ms-request-id"] == "mine"
    made = client.get("/").headers
    assert made["x-ms-request-id"] == made["x-request-id"]
    assert "x-ms-client-request-id" not in made


@pytest.mark.parametrize("name", ["x-request-id", "x-ms-request-id", "x-ms-client-request-id"])
def test_a_request_id_over_100_characters_is_refused(client: Client, name: str) -> None:
    assert client.get("/", headers={name: "a" * 100}).status_code == 200
    response = client.get("/", headers={name: "a" * 101})
    assert response.status_code == 431
    assert message_of(response) == f"{name} must not exceed 100 characters"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_foreign_host_is_refused(client: Client, host: str) -> None:
    response = client.get("/", headers={"host": host})
    assert response.status_code == 400
    assert message_of(response) == "This server answers to its own machine only."


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:80", "[::1]"])
def test_this_machine_is_known_by_all_its_names(client: Client, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


def test_a_header_leads_to_the_other_addresses_where_score_is_the_only_one(client: Client) -> None:
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "Who?"}], "max_tokens": 3}
    led = client.post("/score", asked, headers={"hieno-route": "/v1/chat/completions"})
    assert led.json()["choices"] == client.chat("Who?", max_tokens=3).json()["choices"]
    assert client.get("/score", headers={"hieno-route": "/v1/models"}).json()["object"] == "list"
    assert client.get("/score", headers={"hieno-route": "/nowhere"}).status_code == 404
