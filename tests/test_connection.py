"""Clients that do not get to the end of a request's head."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from hieno.connection import Connection
from hieno.ports import free_port


class Hasty(Connection):
    head_timeout = 0.2


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/slow":
        await asyncio.sleep(3 * Hasty.head_timeout)
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    port = free_port()
    config = uvicorn.Config(
        app, port=port, http=Hasty, lifespan="off", log_level="error", ws="none", loop="asyncio"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield port
    finally:
        server.should_exit = True
        await task


async def until_closed(port: int, *pieces: bytes) -> bytes:
    """Send pieces and return all that comes until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"GET / HT",),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\n", b"x-a: 1\r\n"),
    ],
)
def test_head_that_does_not_come_to_its_end_closes_the_connection(pieces: tuple[bytes]) -> None:
    async def ask() -> bytes:
        async with serving() as port:
            return await until_closed(port, *pieces)

    assert asyncio.run(ask()) == b""


def test_second_head_is_waited_for_no_longer_than_the_first() -> None:
    async def ask() -> bytes:
        async with serving() as port:
            return await until_closed(port, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"GET / HT")

    answer = asyncio.run(ask())
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"ok")


def test_answer_that_takes_long_is_waited_for() -> None:
    async def ask() -> bytes:
        async with serving() as port:
            head = b"GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
            return await until_closed(port, head)

    assert asyncio.run(ask()).endswith(b"ok")
