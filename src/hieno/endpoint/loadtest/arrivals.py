"""When requests are sent: so many at a time, or at random times with a given rate."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from hieno.endpoint.loadtest.client import Outcome

MOST_WAITING = 2000  # requests on their way at a time; one more is not sent and counts as failed

Send = Callable[[float | None], Awaitable[Outcome]]


@dataclass(frozen=True)
class Pattern:
    """`concurrency`: that many clients, each asking again at once; `rate`: Poisson arrivals per
    second, sent whether or not earlier ones were answered."""

    kind: Literal["concurrency", "rate"]
    load: float

    def __str__(self) -> str:
        return f"{self.load:g} at a time" if self.kind == "concurrency" else f"{self.load:g}/s"


async def drive(pattern: Pattern, send: Send, *, seconds: float, seed: int) -> list[Outcome]:
    """Send requests for so many seconds and wait for the last answer."""
    if pattern.kind == "concurrency":
        return await _closed(int(pattern.load), send, seconds)
    return await _poisson(pattern.load, send, seconds, seed)


async def _closed(clients: int, send: Send, seconds: float) -> list[Outcome]:
    deadline = time.monotonic() + seconds
    outcomes: list[Outcome] = []

    async def client() -> None:
        while True:
            outcomes.append(await send(None))
            if time.monotonic() >= deadline:
                return

    await asyncio.gather(*(client() for _ in range(clients)))
    return outcomes


async def _poisson(rate: float, send: Send, seconds: float, seed: int) -> list[Outcome]:
    """Send at times with exponential gaps; a late one still counts from when it was due."""
    chance = random.Random(seed)  # noqa: S311 - times of a test, nothing secret
    began = time.monotonic()
    due = began
    waiting: set[asyncio.Task[Outcome]] = set()
    sent: list[asyncio.Task[Outcome]] = []
    dropped: list[Outcome] = []
    while (due := due + chance.expovariate(rate)) < began + seconds:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if len(waiting) >= MOST_WAITING:
            dropped.append(Outcome(due, due, problem="not sent"))
            continue
        task = asyncio.ensure_future(send(due))
        sent.append(task)
        waiting.add(task)
        task.add_done_callback(waiting.discard)
    return [*await asyncio.gather(*sent), *dropped]
