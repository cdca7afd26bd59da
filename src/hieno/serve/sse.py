"""Server-sent events: answers that arrive while they are made."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any  # any JSON object may be an event

from fastapi import Request
from fastapi.responses import StreamingResponse

from hieno.serve.admission import unless_gone


def event(data: Mapping[str, Any], name: str | None = None) -> str:
    """Return one event: its data as one line, below its name if it has one."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def event_stream(
    request: Request, events: AsyncGenerator[str, None], headers: Mapping[str, str] | None = None
) -> StreamingResponse:
    """Answer with events, once there is a first one: a refusal before it keeps its status.

    When the client hangs up, `events` is closed, and with it the generation.
    """
    first = await unless_gone(request, anext(events))

    async def all_events() -> AsyncGenerator[str, None]:
        async with aclosing(events):
            yield first
            async for later in events:
                yield later

    told = {"cache-control": "no-store", "x-accel-buffering": "no", **(headers or {})}
    return StreamingResponse(all_events(), media_type="text/event-stream", headers=told)
