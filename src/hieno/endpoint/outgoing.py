"""The answer to one request on its way out, and the line about it in the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any  # an ASGI scope and its messages are untyped by that standard

from hieno.endpoint.dialect import Reply
from hieno.endpoint.upstream import Headers

CLIENT_LEFT = 499  # never on the wire: the log's code for an answer that nobody waited for


class ClientLeft(Exception):
    """The client closed the connection, or does not read what it is sent."""


class Outgoing:
    """What has been sent so far; a client that reads too slowly is given up."""

    def __init__(
        self,
        scope: MutableMapping[str, Any],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
        *,
        timeout: float,
    ) -> None:
        self.request_id = ""
        self.deployment = ""
        self.version = ""  # of the model that answers
        self.ended_by = ""
        self.failed = False  # on our side: what the client did wrong is no failure
        self.first_byte: float | None = None  # seconds
        # sees the status and each piece of the body, before the client does
        self.tap: Callable[[int, bytes], None] | None = None
        self._status = CLIENT_LEFT
        self._finished = False
        self._bytes = 0
        self._began = time.monotonic()
        self._head = scope["method"] == "HEAD"
        # without the query, which may hold a prompt, and with anything unprintable escaped
        self._name = f"{scope['method']} {scope['raw_path'].decode('latin-1')[:200]}"
        self._send = send
        self._timeout = timeout

    @property
    def status(self) -> int:
        """The code that the client got, or 499 where it did not wait for all of the answer."""
        return self._status if self._finished else CLIENT_LEFT

    @property
    def seconds(self) -> float:
        """How long the request has taken so far."""
        return time.monotonic() - self._began

    async def reply(self, reply: Reply) -> None:
        """Send a whole answer."""
        length = str(len(reply.body)).encode()
        await self.start(reply.status, [*reply.headers, (b"content-length", length)])
        await self.chunk(b"" if self._head else reply.body)
        await self.finish()

    async def start(self, status: int, headers: Headers) -> None:
        """Send status and headers, with those that every answer has."""
        ours: Headers = [(b"x-content-type-options", b"nosniff")]
        if self.request_id:
            ours.append((b"x-request-id", self.request_id.encode()))
        if self.deployment:
            ours.append((b"azureml-model-deployment", self.deployment.encode()))
        self._status = status
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*headers, *ours]}
        )

    async def chunk(self, data: bytes) -> None:
        """Send a piece of the body at once."""
        self._bytes += len(data)
        if self.first_byte is None and data:
            self.first_byte = self.seconds
        if self.tap:
            self.tap(self._status, data)
        try:
            async with asyncio.timeout(self._timeout):
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            raise ClientLeft from None

    async def finish(self) -> None:
        """Say that the answer is whole."""
        self._finished = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def line(self) -> str:
        """Return one line about the request, without anything that the user wrote.

        `hieno.endpoint.requests` reads it again.
        """
        status = f"{self.status}" if self._finished else f"{CLIENT_LEFT} {self.ended_by}".strip()
        took = round(self.seconds * 1000)
        name = self._name.encode("unicode_escape").decode("ascii")
        answered = f"{self.deployment}:{self.version}" if self.deployment else "-"
        ending = f"{answered} {self.request_id or '-'}"
        return f"{name} {status} {took}ms {self._bytes}B {ending}"
