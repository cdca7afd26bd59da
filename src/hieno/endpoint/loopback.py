"""A container on this machine, reached over HTTP/1.1 with as little in between as possible.

Every token of every stream passes here. A client library takes as much of a core for it as the
container itself does, and sends a request in two parts; this sends one and hands bytes on. What
it need not know of HTTP is left out: the other side is a server that we have started.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import httpx

from hieno.endpoint.upstream import Answer, Call, Headers, Health, UpstreamGone, UpstreamTimeout

CONNECT_TIMEOUT = 5.0
IDLE = 3.0  # seconds; uvicorn closes an idle connection after 5 or more
MOST_IDLE = 128
PIECE = 65_536
_BROKEN = (OSError, EOFError, asyncio.LimitOverrunError, ValueError, IndexError)


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    buffer: bytearray = field(default_factory=bytearray)
    idle_since: float = 0.0
    whole: bool = False  # all of the answer was read, and another one may follow

    async def more(self, timeout: float) -> bool:
        """Read what has come; return False at the end of the connection."""
        async with asyncio.timeout(timeout):
            data = await self.reader.read(PIECE)
        self.buffer += data
        return bool(data)

    def take(self, count: int) -> bytes:
        """Take bytes off the front of what was read."""
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken


class Loopback:
    """The container that listens on a port, with the connections to it that are idle."""

    def __init__(self, client: httpx.AsyncClient, port: int) -> None:
        self._client = client
        self._port = port
        self._idle: list[_Connection] = []
        self._closed = False

    async def health(self, *, timeout: float) -> Health:
        """Return what the container says of itself, or that it says nothing."""
        try:
            answer = await self._client.get(f"http://127.0.0.1:{self._port}/", timeout=timeout)
        except httpx.HTTPError:
            return "silent"
        return "well" if answer.status_code == 200 else "sick"

    def close(self) -> None:
        """Close what is idle now and whatever would become so."""
        self._closed = True
        while self._idle:
            self._idle.pop().writer.close()

    @asynccontextmanager
    async def open(self, call: Call, *, timeout: float) -> AsyncIterator[Answer]:
        """Send a call; see `Upstream.open`."""
        try:
            connection = self._reused() or await self._connected()
        except (OSError, TimeoutError) as error:
            raise UpstreamGone(type(error).__name__) from error
        try:
            connection.writer.write(_request(call, self._port))
            with _in_our_words():
                status, headers = await _head(connection, timeout)
            chunks = _body(connection, status, headers, timeout)
            async with aclosing(chunks):
                yield Answer(status, headers, chunks)
        finally:
            self._give_back(connection)

    def _reused(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            fresh = time.monotonic() - connection.idle_since < IDLE
            if fresh and not connection.reader.at_eof() and not connection.writer.is_closing():
                return connection
            connection.writer.close()
        return None

    async def _connected(self) -> _Connection:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            return _Connection(*await asyncio.open_connection("127.0.0.1", self._port))

    def _give_back(self, connection: _Connection) -> None:
        clean = connection.whole and not connection.buffer and not connection.reader.at_eof()
        if not clean or self._closed or len(self._idle) >= MOST_IDLE:
            # Not `close`: what was not sent yet is not wanted any more.
            connection.writer.transport.abort()
            return
        connection.whole = False
        connection.idle_since = time.monotonic()
        self._idle.append(connection)


def _request(call: Call, port: int) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (call.method.encode(), call.target), b"host: 127.0.0.1:%d" % port]
    lines += [b"%b: %b" % header for header in call.headers]
    if call.body or call.method == "POST":
        lines.append(b"content-length: %d" % len(call.body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + call.body


async def _head(connection: _Connection, timeout: float) -> tuple[int, Headers]:
    while True:
        while (end := connection.buffer.find(b"\r\n\r\n")) < 0:
            if len(connection.buffer) > PIECE or not await connection.more(timeout):
                raise EOFError
        first, *lines = connection.take(end + 4)[:-4].split(b"\r\n")
        version, _, rest = first.partition(b" ")
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise ValueError(version)
        status = int(rest[:3])
        if status >= 200:  # those below are before the answer
            break
    headers = []
    for line in lines:
        name, _, value = line.partition(b":")
        headers.append((name, value.strip()))
    return status, headers


async def _body(
    connection: _Connection, status: int, headers: Headers, timeout: float
) -> AsyncGenerator[bytes, None]:
    """Yield the body as it comes; note when all of it was read and the connection may go on."""
    found = {name.lower(): value.lower() for name, value in headers}
    with _in_our_words():
        if found.get(b"transfer-encoding") == b"chunked":
            pieces = _chunked(connection, timeout)
        elif (length := found.get(b"content-length")) is not None or status in (204, 304):
            pieces = _counted(connection, _number(length or b"0", 10), timeout)
        else:
            pieces = _until_closed(connection, timeout)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece
    connection.whole = found.get(b"connection") != b"close"


async def _counted(
    connection: _Connection, left: int, timeout: float
) -> AsyncGenerator[bytes, None]:
    while left:
        if not connection.buffer and not await connection.more(timeout):
            raise EOFError
        piece = connection.take(left)
        left -= len(piece)
        yield piece


async def _chunked(connection: _Connection, timeout: float) -> AsyncGenerator[bytes, None]:
    """Yield at once all chunks that have come."""
    ready = bytearray()
    while True:
        size, start = _chunk(connection.buffer)
        if size is not None and len(connection.buffer) >= start + size + 2:
            ready += connection.take(start + size + 2)[start : start + size]
            if size:
                continue
            if ready:
                yield bytes(ready)
            return
        if ready:
            yield bytes(ready)
            ready.clear()
        elif not await connection.more(timeout):
            raise EOFError


def _chunk(buffer: bytearray) -> tuple[int | None, int]:
    """Return the size of the chunk that a buffer begins with, and where its data begins."""
    end = buffer.find(b"\r\n", 0, 64)
    if end < 0:
        if len(buffer) >= 64:
            raise ValueError("no size of a chunk")
        return None, 0
    return _number(bytes(buffer[:end]).partition(b";")[0], 16), end + 2


def _number(text: bytes, base: int) -> int:
    if not text.isalnum():  # Python would also take signs and underscores
        raise ValueError("no length")
    return int(text, base)


async def _until_closed(connection: _Connection, timeout: float) -> AsyncGenerator[bytes, None]:
    while connection.buffer or await connection.more(timeout):
        yield connection.take(len(connection.buffer))


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Say what went wrong on the other side as any upstream does."""
    try:
        yield
    except TimeoutError:
        raise UpstreamTimeout from None
    except _BROKEN as error:
        raise UpstreamGone(type(error).__name__) from error
