"""One request of a load test, as a client on the wire sees it."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from typing import Any  # JSON of requests and events

import httpx

VOCABULARY = (
    "river stone window garden letter winter candle bridge market silver morning harbour paper "
    "mountain summer orchard kettle lantern meadow thunder village copper blanket compass feather "
    "island ladder mirror needle ocean pocket quarry ribbon saddle timber umbrella valley whistle"
)
WORDS = VOCABULARY.split()
PROMPT_WORDS = 70  # about 100 tokens


@dataclass(frozen=True)
class Outcome:
    """What became of a request; times in seconds since it was due.

    `problem` is empty for a whole answer, else a status code or the name of an error.
    """

    began: float
    ended: float
    first: float | None = None
    tokens: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Ask:
    """How every request is made."""

    model: str
    max_new_tokens: int
    stream: bool


async def request(
    client: httpx.AsyncClient, ask: Ask, prompt: str, *, due: float | None = None
) -> Outcome:
    """Ask one question; its time counts from `due`, when it should have been sent."""
    began = time.monotonic() if due is None else due
    body: dict[str, Any] = {
        "model": ask.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": ask.max_new_tokens,
        "temperature": 0,
        "stream": ask.stream,
    }
    if ask.stream:
        body["stream_options"] = {"include_usage": True}
    try:
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            if answer.status_code != 200:
                await answer.aread()
                return Outcome(began, time.monotonic(), problem=str(answer.status_code))
            return await (_streamed(answer, began) if ask.stream else _whole(answer, began))
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        return Outcome(began, time.monotonic(), problem=type(error).__name__)


class Prompts:
    """Repeatable prompts of about 100 tokens."""

    def __init__(self, seed: int) -> None:
        # a choice of words, nothing secret
        self._random = random.Random(seed)  # noqa: S311
        self._count = 0

    def next(self) -> str:
        """Return the next prompt; the number at its beginning makes its first tokens differ."""
        self._count += 1
        words = " ".join(self._random.choices(WORDS, k=PROMPT_WORDS))
        return f"{self._random.randrange(10**6)}-{self._count}: tell a story with {words}."


async def _whole(answer: httpx.Response, began: float) -> Outcome:
    usage = json.loads(await answer.aread())["usage"]
    return Outcome(began, time.monotonic(), tokens=int(usage["completion_tokens"]))


async def _streamed(answer: httpx.Response, began: float) -> Outcome:
    first: float | None = None
    tokens, finished = 0, False
    async for line in answer.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            finished = True
            break
        event = json.loads(data)
        if "error" in event:
            return Outcome(began, time.monotonic(), first, problem="error in the stream")
        if usage := event.get("usage"):
            tokens = int(usage["completion_tokens"])
        has_text = any((choice.get("delta") or {}).get("content") for choice in event["choices"])
        if first is None and has_text:
            first = time.monotonic()
    problem = "" if finished else "cut off"
    return Outcome(began, time.monotonic(), first, tokens, problem)
