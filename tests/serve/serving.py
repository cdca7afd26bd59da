"""What the serving tests share: a service over a real model, and requests without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import httpx

from hieno.config import Serve
from hieno.serve.admission import Slots
from hieno.serve.app import make_app
from hieno.serve.engines import Engine
from hieno.serve.model import Model
from hieno.serve.service import Service

Result = TypeVar("Result")
LINEAGE = {"hieno-model-version": "7", "hieno-data-digest": "ab12"}


def run(work: Coroutine[Any, Any, Result], *, seconds: float = 60) -> Result:
    """Run a coroutine to its end, or fail after a deadline."""

    async def bounded() -> Result:
        async with asyncio.timeout(seconds):
            return await work

    return asyncio.run(bounded())


class Client:
    """Sends requests straight into the application; one service, one event loop per request."""

    def __init__(self, engine: Engine, model: Model, settings: Serve) -> None:
        self.service = Service(
            engine=engine,
            model=model,
            settings=settings,
            names=("tiny", "alias"),
            headers=LINEAGE,
            slots=Slots(settings.max_requests),
        )
        self._app = make_app(self.service)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1"
            ) as client:
                return await client.request(method, path, **options)

        return run(send())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, body: object, **options: Any) -> httpx.Response:
        return self.request("POST", path, json=body, **options)

    def chat(self, text: str = "Who looks after the boats?", **fields: Any) -> httpx.Response:
        body = {"model": "tiny", "messages": [{"role": "user", "content": text}], **fields}
        return self.post("/v1/chat/completions", body)

    def go_on(self, prompt: object = "The ferry leaves", **fields: Any) -> httpx.Response:
        return self.post("/v1/completions", {"model": "tiny", "prompt": prompt, **fields})

    def respond(self, given: object = "Who?", **fields: Any) -> httpx.Response:
        return self.post("/v1/responses", {"model": "tiny", "input": given, **fields})

    def score(self, *inputs: object, accept: str = "*/*", **params: Any) -> httpx.Response:
        body = {"input_data": list(inputs), "params": params}
        return self.post("/score", body, headers={"accept": accept})


def events(response: httpx.Response) -> list[Any]:
    """Return the data of each server-sent event; `[DONE]` stays a text."""
    blocks = [block for block in response.text.split("\n\n") if block]
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    texts = [block.removeprefix("data: ") for block in blocks]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]


def named_events(response: httpx.Response) -> list[dict[str, Any]]:
    """Return the data of each event, whose name must be the data's type."""
    found = []
    for block in filter(None, response.text.split("\n\n")):
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def error_of(response: httpx.Response) -> Mapping[str, Any]:
    """Return OpenAI's error object, which must have exactly its four keys."""
    body = response.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    found: Mapping[str, Any] = body["error"]
    return found
