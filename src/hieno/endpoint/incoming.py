"""A request on its way in: bounded while it is read, and refused with words of ours."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any  # an ASGI scope and its messages are untyped by that standard

from hieno.endpoint import dialect
from hieno.endpoint.dialect import Problem
from hieno.endpoint.outgoing import ClientLeft
from hieno.endpoint.state import Limits
from hieno.endpoint.upstream import Call, Headers, passed_on

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

BODY_TIMEOUT = 30.0  # seconds between two pieces of a request's body

_QUERY = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:@%/?\[\]-]*")

# What a container has no business to see, or gets from us instead. A length is not passed on
# because the whole body is read first.
_OURS = frozenset(
    b"authorization api-key x-api-key cookie host content-length expect x-request-id "
    b"azureml-model-deployment".split()
)
_CONTEXT = frozenset((b"traceparent", b"tracestate"))


class Refused(Exception):
    """The request gets an answer of ours."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Incoming:
    """A request as it arrives."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive) -> None:
        self.method: str = scope["method"]
        self.raw_path: bytes = scope["raw_path"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers: Headers = list(scope["headers"])
        self._receive = receive

    async def call(
        self, limits: Limits, request_id: str, parent: Sequence[tuple[bytes, bytes]] = ()
    ) -> Call:
        """Read the whole body, never more than the limit, and return what is relayed.

        `parent` are the headers of our own span; without any, the client's go on as they came.
        """
        if not _QUERY.fullmatch(self.query):
            raise Refused(dialect.BAD_TARGET)
        target = self.raw_path + (b"?" + self.query if self.query else b"")
        dropped = _OURS | _CONTEXT if parent else _OURS
        headers = [*passed_on(self.headers, without=dropped), *parent]
        headers.append((b"x-request-id", request_id.encode()))
        return Call(self.method, target, headers, await self._body(limits.max_body))

    async def until_left(self) -> None:
        """Wait until the client has closed the connection; call after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            continue

    async def _body(self, limit: int) -> bytes:
        # Our server believes one of the two; another one on the way may believe the other.
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in self.headers}:
            raise Refused(dialect.BAD_LENGTH)
        declared = only(self.headers, b"content-length")
        if declared is not None and declared.isdigit() and int(declared[:20]) > limit:
            raise Refused(dialect.BODY_TOO_LARGE)
        body = bytearray()
        more = True
        while more:
            piece, more = await self._piece()
            body += piece
            if len(body) > limit:
                raise Refused(dialect.BODY_TOO_LARGE)
        return bytes(body)

    async def _piece(self) -> tuple[bytes, bool]:
        try:
            # unlike `wait_for`, this does not let a thousand others go first
            async with asyncio.timeout(BODY_TIMEOUT):
                message = await self._receive()
        except TimeoutError:
            raise Refused(dialect.BODY_TOO_SLOW) from None
        if message["type"] == "http.disconnect":
            raise ClientLeft
        return message.get("body", b""), message.get("more_body", False)


def only(headers: Headers, wanted: bytes) -> bytes | None:
    """Return a header's value where it came exactly once."""
    values = [value for name, value in headers if name == wanted]
    return values[0] if len(values) == 1 else None
