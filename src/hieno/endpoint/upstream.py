"""What a gateway relays to: anything that speaks the container's contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import httpx

Headers = list[tuple[bytes, bytes]]
Health = Literal["well", "sick", "silent"]

# Headers that belong to one connection (RFC 9110 section 7.6.1) and are never passed on.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)


@dataclass(frozen=True)
class Call:
    """One request as it is relayed; `target` is path and query as they came."""

    method: str
    target: bytes
    headers: Headers
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What came back; `chunks` are the body's bytes as they arrive, undecoded."""

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]


class UpstreamGone(Exception):
    """No answer came: the connection was refused or broke before the first byte."""


class UpstreamTimeout(Exception):
    """The answer did not begin, or did not go on, in time."""


class UpstreamRefuses(Exception):
    """An endpoint behind this one refuses by itself: no model was asked."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Upstream(Protocol):
    """A place that answers requests."""

    def open(self, call: Call, *, timeout: float) -> AbstractAsyncContextManager[Answer]:
        """Send a call; leaving the context abandons what has not arrived yet.

        Raises `UpstreamGone` and `UpstreamTimeout`, the latter also between two chunks.
        """


@asynccontextmanager
async def opened(
    client: httpx.AsyncClient, base: str, call: Call, *, timeout: float
) -> AsyncIterator[Answer]:
    """Send a call to an address; see `Upstream.open`."""
    request = httpx.Request(
        call.method,
        httpx.URL(base).copy_with(raw_path=call.target),
        headers=call.headers,
        content=call.body,
        extensions={"timeout": httpx.Timeout(timeout, connect=5).as_dict()},
    )
    try:
        response = await client.send(request, stream=True)
    except httpx.ReadTimeout:
        raise UpstreamTimeout from None
    except httpx.TransportError as error:
        raise UpstreamGone(type(error).__name__) from error
    try:
        yield Answer(response.status_code, response.headers.raw, _chunks(response))
    finally:
        await response.aclose()


def client() -> httpx.AsyncClient:
    """Return the pool of connections to all containers; proxies of the environment are ignored."""
    # An idle connection is given up before a server would close it (uvicorn does after 5 s).
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=128, keepalive_expiry=3.0)
    return httpx.AsyncClient(trust_env=False, limits=limits, follow_redirects=False)


def passed_on(headers: Headers, *, without: frozenset[bytes]) -> Headers:
    """Return headers without those of the connection and those named (in lower case)."""
    named = {
        name.strip().lower()
        for header, value in headers
        if header.lower() == b"connection"
        for name in value.split(b",")
    }
    dropped = HOP_BY_HOP | without | named
    return [(name, value) for name, value in headers if name.lower() not in dropped]


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    except httpx.ReadTimeout:
        raise UpstreamTimeout from None
    except httpx.TransportError as error:
        raise UpstreamGone(type(error).__name__) from error
