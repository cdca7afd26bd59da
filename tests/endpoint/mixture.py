"""Clients of all kinds at a real model, each of which knows what it must be told."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
from rehearsal import Endpoint

from waiting import wait_until

QUESTIONS = [f"{number} boats, and the ferry of {number + 7}?" for number in range(12)]
TOKENS = 12
ENDLESS = 1500  # longer than anybody stays


def references(endpoint: Endpoint) -> dict[str, str]:
    """Return what the model says to each question when nobody else asks."""
    with endpoint.client(timeout=120) as client:
        return {question: _whole(client, question) for question in QUESTIONS}


class Mixture:
    """Threads that ask whole answers, streams and lists, hang up, and send what is refused."""

    def __init__(
        self,
        endpoint: Endpoint,
        expected: dict[str, str],
        *,
        clients: int,
        pause: float,
        may_break: bool = False,
    ) -> None:
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._endpoint = endpoint
        self._expected = expected
        self._pause = pause
        self._may_break = may_break  # an instance is killed now and then
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(clients)]

    def __enter__(self) -> Mixture:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 20) -> None:
        """Wait for so many more requests that went as they should."""
        wanted = self.done.total() + count
        wait_until(lambda: self.done.total() >= wanted or self.wrong, "more", seconds=300)

    def _ask(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - a repeatable mixture, nothing secret
        kinds: list[Callable[[httpx.Client, str], bool]] = [
            self._a_whole_answer,
            self._a_stream,
            self._a_list,
            self._a_stream_that_is_left,
            self._a_mistake,
            self._a_wrong_key,
        ]
        with self._endpoint.client(timeout=120) as client:
            while not self._end.wait(self._pause):
                kind = chance.choice(kinds)
                try:
                    right = kind(client, chance.choice(QUESTIONS))
                except httpx.HTTPError as error:
                    self.wrong.append(f"{kind.__name__}: {type(error).__name__}")
                    continue
                if right:
                    self.done[kind.__name__] += 1

    def _a_whole_answer(self, client: httpx.Client, question: str) -> bool:
        return self._is(_whole(client, question), self._expected[question], "whole")

    def _a_stream(self, client: httpx.Client, question: str) -> bool:
        body = _chat(question) | {"stream": True}
        lines = client.post("/v1/chat/completions", json=body).text.split("\n\n")
        events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        if self._may_break and any("error" in event for event in events):
            return False  # it was being made by the instance that was killed
        text = "".join(
            event["choices"][0]["delta"].get("content", "") if "choices" in event else str(event)
            for event in events
        )
        return self._is(text, self._expected[question], "stream")

    def _a_list(self, client: httpx.Client, question: str) -> bool:
        pair = [question, QUESTIONS[0]]
        params = {"max_new_tokens": TOKENS, "ignore_eos": True}
        answer = client.post("/score", json={"input_data": pair, "params": params})
        return self._is(answer.json(), [self._expected[each] for each in pair], "list")

    def _a_stream_that_is_left(self, client: httpx.Client, question: str) -> bool:
        body = _chat(question) | {"stream": True, "max_tokens": ENDLESS}
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            return self._is(next(answer.iter_raw())[:7], b"data: {", "left")

    def _a_mistake(self, client: httpx.Client, question: str) -> bool:
        answer = client.post("/v1/chat/completions", json=_chat(question) | {"n": 5})
        return self._is(answer.status_code, 400, "mistake")

    def _a_wrong_key(self, client: httpx.Client, question: str) -> bool:
        answer = client.post("/score", json={}, headers={"authorization": "Bearer x"})
        return self._is(answer.status_code, 401, "key")

    def _is(self, found: object, wanted: object, kind: str) -> bool:
        if found != wanted:
            self.wrong.append(f"{kind}: {found!r} and not {wanted!r}")
        return found == wanted


def _chat(question: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": "tiny", "messages": messages, "max_tokens": TOKENS, "ignore_eos": True}


def _whole(client: httpx.Client, question: str) -> str:
    answer = client.post("/v1/chat/completions", json=_chat(question))
    if answer.status_code != 200:
        return f"{answer.status_code} {answer.text[:200]}"
    return str(answer.json()["choices"][0]["message"]["content"])
