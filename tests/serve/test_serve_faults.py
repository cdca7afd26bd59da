"""What a caller sees when the engine breaks while it answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import pytest
from serving import Client, error_of, events, named_events

from hieno.config import Serve
from hieno.serve.engines import EngineFailed, Sampling, Token
from hieno.serve.model import Model
from hieno.serve.refusals import UNEXPECTED


class FailingEngine:
    """Gives two tokens and breaks; it stands in for a real one only where that cannot be made."""

    name = "failing"
    constrains = False

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling
    ) -> AsyncGenerator[Token, None]:
        yield Token(40)
        yield Token(41)
        raise self._error

    def healthy(self) -> bool:
        return False

    def close(self) -> None:
        pass


@pytest.fixture
def client(model: Model) -> Client:
    failure = EngineFailed("the model has stopped", hint="ask again")
    return Client(FailingEngine(failure), model, Serve())


def test_a_failure_in_a_stream_is_one_error_event_and_the_end(client: Client) -> None:
    *chunks, last = events(client.chat(stream=True))
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert last == {
        "error": {
            "message": "the model has stopped",
            "type": "server_error",
            "param": None,
            "code": "engine_failed",
        }
    }
    *answers, last = events(client.score("Who?", accept="text/event-stream"))
    assert "".join(each["answer"] for each in answers)
    assert last == {"error": {"message": UNEXPECTED}}
    *chunks, last = events(client.go_on(stream=True))
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks)
    assert last["error"]["code"] == "engine_failed"
    *named, last = named_events(client.respond(stream=True))
    assert named[-1]["type"] == "response.output_text.delta"
    assert last == {
        "type": "error",
        "sequence_number": len(named),
        "code": "engine_failed",
        "message": "the model has stopped",
        "param": None,
    }
    assert client.service.slots.taken == 0


def test_a_failure_of_a_whole_answer_is_500_in_the_routes_dialect(client: Client) -> None:
    for response in (client.chat(), client.go_on(["a", "b"]), client.respond()):
        assert response.status_code == 500
        assert error_of(response)["message"] == "The answer failed: the model has stopped."
    scored = client.score("Who?")
    assert scored.status_code == 500
    assert scored.json() == {"message": UNEXPECTED}
    assert scored.headers["x-ms-run-function-failed"] == "True"
    assert client.service.slots.taken == 0


def test_a_lost_model_is_unhealthy(client: Client) -> None:
    assert client.get("/").status_code == 503
    response = client.get("/health")
    assert (response.status_code, response.json()) == (503, {"status": "failed"})


def test_an_unexpected_error_shows_neither_its_words_nor_a_prompt(
    model: Model, capfd: pytest.CaptureFixture[str]
) -> None:
    client = Client(FailingEngine(ValueError("the prompt was xyzzy")), model, Serve())
    response = client.chat("xyzzy")
    assert response.status_code == 500
    assert error_of(response)["message"] == UNEXPECTED
    log = capfd.readouterr().err
    assert "ValueError" in log
    assert "xyzzy" not in log
