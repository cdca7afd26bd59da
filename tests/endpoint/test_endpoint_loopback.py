"""The gateway's way to a container: whatever pieces the bytes come in, and where they stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import pytest

from hieno.endpoint.loopback import Loopback
from hieno.endpoint.upstream import Call, UpstreamGone, UpstreamTimeout

CALL = Call("POST", b"/score?a=1", [(b"x-a", b"1")], b"{}")
HEAD = b"HTTP/1.1 200 OK\r\nServer: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass
class Container:
    """Answers each request with pieces of bytes, and then closes or waits for the next one."""

    answers: list[Sequence[bytes]]
    close: bool = False
    asked: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                self.asked.append(head + await reader.readexactly(len(CALL.body)))
                for piece in self.answers.pop(0):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if self.close:
                    return
            await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


async def ask(container: Container, times: int = 1, timeout: float = 30) -> list[bytes]:
    server = await asyncio.start_server(container.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    bodies = []
    async with server, httpx.AsyncClient() as client:
        loopback = Loopback(client, port)
        try:
            for _ in range(times):
                async with loopback.open(CALL, timeout=timeout) as answer:
                    assert answer.headers[0] == (b"Server", b"a")
                    bodies.append(b"".join([chunk async for chunk in answer.chunks]))
        finally:
            loopback.close()
    return bodies


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_any_framing_in_any_pieces_is_the_same_body(size: int) -> None:
    answers = [
        cut(CHUNKED + b"3\r\nabc\r\n5;x=y\r\nde\r\nf\r\n0\r\n\r\n", size),
        cut(HEAD + b"content-length: 8\r\n\r\nabcde\r\nf", size),
        cut(b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length:0\r\n\r\n", size),
        cut(CHUNKED + b"8\r\nabcde\r\nf\r\n0\r\n\r\n", size),
    ]
    container = Container(answers)
    wanted = [b"abcde\r\nf", b"abcde\r\nf", b"", b"abcde\r\nf"]
    assert asyncio.run(ask(container, times=4)) == wanted
    assert container.connections == 1


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    container = Container([[HEAD + b"\r\nab", b"c"]], close=True)
    assert asyncio.run(ask(container)) == [b"abc"]


def test_the_request_is_sent_whole_with_its_length() -> None:
    container = Container([[HEAD + b"content-length: 0\r\n\r\n"]])
    asyncio.run(ask(container))
    [asked] = container.asked
    first, host, *rest = asked.split(b"\r\n")
    assert first == b"POST /score?a=1 HTTP/1.1"
    assert host.startswith(b"host: 127.0.0.1:")
    assert rest == [b"x-a: 1", b"content-length: 2", b"", b"{}"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 20",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        HEAD + b"content-length: 5\r\n\r\nabc",
        HEAD + b"content-length: x\r\n\r\nabc",
        HEAD + b"content-length: -1\r\n\r\nabc",
        CHUNKED + b"5\r\nabc",
        CHUNKED + b"5\r\nabcde\r\n",
        CHUNKED + b"x\r\nabc",
        CHUNKED + b"-3\r\nabc\r\n",
        CHUNKED + b"1" * 100,
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000,
    ],
)
def test_an_answer_that_is_none_or_is_cut_off_is_never_taken_for_whole(answer: bytes) -> None:
    container = Container([[answer]], close=True)
    with pytest.raises(UpstreamGone):
        asyncio.run(ask(container))


def test_a_connection_that_was_closed_meanwhile_is_not_used_again() -> None:
    whole = [HEAD + b"content-length: 1\r\n\r\na"]
    container = Container([whole, whole], close=True)

    async def twice() -> list[bytes]:
        server = await asyncio.start_server(container.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        bodies = []
        async with server, httpx.AsyncClient() as client:
            loopback = Loopback(client, port)
            for _ in range(2):
                async with loopback.open(CALL, timeout=30) as answer:
                    bodies.append(b"".join([chunk async for chunk in answer.chunks]))
                while container.connections and loopback._idle and not _ended(loopback):
                    await asyncio.sleep(0)
            loopback.close()
        return bodies

    assert asyncio.run(twice()) == [b"a", b"a"]
    assert container.connections == 2


def _ended(loopback: Loopback) -> bool:
    return all(connection.reader.at_eof() for connection in loopback._idle)


def test_an_answer_that_is_left_closes_its_connection() -> None:
    container = Container([[CHUNKED + b"1\r\na\r\n"], [CHUNKED + b"1\r\nb\r\n0\r\n\r\n"]])

    async def leave() -> bytes:
        server = await asyncio.start_server(container.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, httpx.AsyncClient() as client:
            loopback = Loopback(client, port)
            async with loopback.open(CALL, timeout=30) as answer:
                async for _ in answer.chunks:
                    break
            async with loopback.open(CALL, timeout=30) as answer:
                body = b"".join([chunk async for chunk in answer.chunks])
            loopback.close()
        return body

    assert asyncio.run(leave()) == b"b"
    assert container.connections == 2


def test_an_answer_that_does_not_go_on_is_late_and_not_gone() -> None:
    container = Container([[CHUNKED + b"1\r\na\r\n"]])
    container.answers.append([])  # keeps the connection open
    with pytest.raises(UpstreamTimeout):
        asyncio.run(ask(container, timeout=0.2))


def test_nobody_there_is_gone() -> None:
    async def alone() -> None:
        async with httpx.AsyncClient() as client, Loopback(client, 9).open(CALL, timeout=30):
            raise AssertionError

    with pytest.raises(UpstreamGone, match="ConnectionRefusedError"):
        asyncio.run(alone())
