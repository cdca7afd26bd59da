"""The way in: a CONNECT proxy that brings Azure's names to loopback and refuses everything else.

It also is the guard of the way out: `Cloud.trace.refused` says who wanted to talk to whom.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_HEAD_LIMIT = 1 << 16
_CHUNK = 1 << 16


class Proxy:
    """The proxy of one cloud, on a free port of loopback."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._tunnels: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_HEAD_LIMIT)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Listen no more, and end every tunnel."""
        if self._server is not None:
            self._server.close()
        for tunnel in self._tunnels:
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a server calls this in a task
        self._tunnels.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # whoever asked is gone, or spoke no HTTP; there is nobody to tell
        except asyncio.CancelledError:
            pass  # the run ends; a cancelled handler would be reported as an error
        finally:
            await _close(writer)
            self._tunnels.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target = await _asked(reader)
        port = _port_of(self._cloud, target) if method == "CONNECT" else None
        if port is None:
            self._cloud.trace.refused.append(f"{method} {target}")
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        else:
            await _join(reader, writer, port)


async def _asked(reader: asyncio.StreamReader) -> tuple[str, str]:
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ", 2)
    return method, target


def _port_of(cloud: Cloud, target: str) -> int | None:
    host, _, port = target.lower().rpartition(":")
    if host in ("127.0.0.1", "localhost"):
        return int(port)
    return cloud.tunnels.get(host) or (cloud.tls_port if cloud.hosts.knows(host) else None)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await writer.drain()
    try:
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
    finally:
        await _close(there_writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    with suppress(OSError):
        writer.close()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
