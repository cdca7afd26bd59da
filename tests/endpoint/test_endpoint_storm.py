"""Everything at once under load: nobody gets a wrong answer, and nobody is forgotten.

`test_endpoint_soak.py` does the same to a real model, and for an hour.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from rehearsal import LIMITS, Endpoint, everything, spec

from hieno.endpoint import control
from hieno.endpoint.state import Limits
from waiting import wait_until

PARALLEL = 1000
LIMIT = 32
BODY = b'{"padding": "%s"}' % (b"x" * 20_000)


@dataclass(frozen=True)
class Raw:
    """A status and its headers as they came over the wire."""

    status: int
    head: str


def test_thousand_at_once_are_served_or_refused_and_none_is_lost(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    record = tmp_path / "record"
    limits = Limits(request_timeout=60, max_concurrent=LIMIT // 2, drain_timeout=2)
    endpoint.deploy(spec("1", "--delay", "0.2", "--record", str(record)), limits=limits)
    gateway = psutil.Process(endpoint.gateway().pid)
    asyncio.run(storm(endpoint))
    record.unlink()
    before = gateway.memory_info().rss
    answers = asyncio.run(storm(endpoint))
    seen = Counter(answer.status for answer in answers)
    assert set(seen) == {200, 429}
    assert seen.total() == PARALLEL
    assert LIMIT <= seen[200] < PARALLEL
    refused = [answer.head for answer in answers if answer.status == 429]
    assert all("\r\nretry-after: 1\r\n" in head for head in refused)
    # what was refused never reached the model, and what reached it was answered
    assert len(record.read_text("utf-8").splitlines()) == seen[200]
    assert gateway.memory_info().rss < before + 20_000_000
    with endpoint.client() as client:
        assert {client.post("/score", content=BODY).status_code for _ in range(5)} == {200}


async def storm(endpoint: Endpoint) -> list[Raw]:
    """Connect a thousand times, then send all requests at once."""
    key = control.keys(endpoint.folder).primary.get_secret_value()
    port = int(endpoint.status().url.rpartition(":")[2])
    head = (
        f"POST /score HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
        f"content-length: {len(BODY)}\r\nconnection: close\r\n\r\n"
    ).encode()
    everyone = asyncio.Event()
    connected = 0

    async def one() -> Raw:
        nonlocal connected
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        connected += 1
        if connected == PARALLEL:
            everyone.set()
        await everyone.wait()
        writer.write(head + BODY)
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        text = answer.decode("latin-1")
        return Raw(int(text.split(" ", 2)[1]), text.partition("\r\n\r\n")[0] + "\r\n")

    return list(await asyncio.gather(*(one() for _ in range(PARALLEL))))


class Crowd:
    """Clients that each ask something of their own and check that it is theirs that comes back."""

    def __init__(self, endpoint: Endpoint, key: Callable[[], str], clients: int = 6) -> None:
        self.right = 0
        self.wrong: list[str] = []
        self._endpoint = endpoint
        self._key = key
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(clients)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 40) -> None:
        """Wait for so many more right answers."""
        wanted = self.right + count
        wait_until(lambda: self.right >= wanted or self.wrong, "right answers")

    def _ask(self, number: int) -> None:
        asked = 0
        with self._endpoint.client() as client:
            while not self._end.is_set():
                asked += 1
                body = json.dumps({"mine": f"{number}-{asked}"})
                headers = {"authorization": f"Bearer {self._key()}"}
                try:
                    answer = client.post("/score", content=body, headers=headers)
                except httpx.HTTPError as error:
                    self.wrong.append(type(error).__name__)
                    continue
                if answer.status_code == 200 and answer.json()["body"] == body:
                    self.right += 1
                else:
                    self.wrong.append(f"{answer.status_code} {answer.text[:200]}")


@pytest.fixture
def crowd(endpoint: Endpoint) -> Iterator[Crowd]:
    endpoint.deploy(spec("0", instances=2), limits=LIMITS)
    key = control.keys(endpoint.folder).primary.get_secret_value()
    with Crowd(endpoint, lambda: key) as made:
        yield made


def test_kill_deploy_rotation_rollback_and_drain_cost_no_answer(
    endpoint: Endpoint, crowd: Crowd
) -> None:
    everything(endpoint, crowd, 1, lambda version: spec(version, instances=2))
    assert crowd.wrong == []


def test_renewed_key_is_taken_over_without_a_pause(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("1"))
    now = control.keys(endpoint.folder)
    using = now.secondary.get_secret_value()
    with Crowd(endpoint, lambda: using) as crowd:
        for _ in range(3):
            using = control.regenerate(endpoint.folder, "primary").primary.get_secret_value()
            crowd.more()
            using = control.keys(endpoint.folder).secondary.get_secret_value()
            crowd.more()
    assert crowd.wrong == []
