"""How many answers are in the making: enough or not at all, never a queue without an end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar  # the two unused parameters of a Coroutine

from fastapi import Request

from hieno.serve.refusals import Refused

Result = TypeVar("Result")


class ClientGone(Exception):
    """The client hung up before its answer was whole."""


class Slots:
    """Counts the answers in the making; used from one event loop only."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    @contextmanager
    def take(self, count: int = 1) -> Iterator[None]:
        """Hold `count` slots, or refuse at once with 429 where so many are not free."""
        if self.taken + count > self.limit:
            raise Refused(
                429,
                f"{self.limit} answers are already in the making; ask again in a second.",
                "rate_limit_exceeded",
                headers={"retry-after": "1"},
            )
        self.taken += count
        try:
            yield
        finally:
            self.taken -= count


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Return what `work` returns; cancel it and raise `ClientGone` when the client hangs up.

    The request's body must have been read.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        for each in (task, gone):
            if not each.done():
                each.cancel()
                with suppress(asyncio.CancelledError):
                    await each


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
