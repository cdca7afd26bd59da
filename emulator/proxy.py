"""The way in: a CONNECT proxy that brings Azure's names to loopback and refuses everything else.

It also is the guard of the way out: `Cloud.trace.refused` says who wanted to talk to whom.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.cloud import Cloud

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_HEAD_LIMIT = 1 << 16
_CHUNK = 1 << 16


async def listen(cloud: Cloud) -> asyncio.Server:
    """Listen on a free port of loopback."""
    return await asyncio.start_server(_handler(cloud), "127.0.0.1", 0, limit=_HEAD_LIMIT)


def _handler(cloud: Cloud) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            method, target = await _asked(reader)
            port = _port_of(cloud, target) if method == "CONNECT" else None
            if port is None:
                cloud.trace.refused.append(f"{method} {target}")
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
            await _join(reader, writer, port)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # whoever asked is gone, or spoke no HTTP; there is nobody to tell
        finally:
            writer.close()

    return handle


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
    await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    with suppress(OSError):
        writer.close()
