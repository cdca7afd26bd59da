"""The process of an endpoint: listen, follow endpoint.json, say what is in observed.json."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

import uvicorn
from pydantic import SecretStr

from hieno import ports, processes
from hieno.connection import Connection
from hieno.endpoint import state, upstream
from hieno.endpoint.app import App
from hieno.endpoint.credentials import KeyFile
from hieno.endpoint.fleet import Fleet
from hieno.endpoint.requests import LOG
from hieno.endpoint.state import Desired
from hieno.errors import Busy, HienoError
from hieno.tracing import open_traces

LOCK = "gateway.lock"
POLL = 0.1  # seconds between two looks at endpoint.json
LOG_BYTES = 10_000_000


def run(folder: Path, credential: SecretStr) -> int:
    """Serve the endpoint in a folder until SIGTERM or Ctrl-C; return the exit code.

    `credential` is what an endpoint elsewhere wants to see; it stays in this process.
    """
    from filelock import FileLock, Timeout

    os.umask(0o077)  # logs and state are their owner's alone
    processes.allow_many_files()  # a thousand clients are two thousand connections at most
    try:
        with FileLock(folder / LOCK, timeout=0):
            asyncio.run(_serve(folder, credential))
    except Timeout:
        print(f"another gateway serves {folder}", file=sys.stderr)
        return Busy.exit_code
    except HienoError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


async def _serve(folder: Path, credential: SecretStr) -> None:
    desired = state.read_desired(folder)
    if desired is None:
        raise state.missing(folder)
    for end in (signal.SIGTERM, signal.SIGINT):
        # uvicorn takes these over, drains, and raises them again for us: then we are done anyway
        signal.signal(end, lambda *_: None)
    with _listen(desired.port) as listener:
        async with upstream.client() as client:
            fleet = Fleet(folder, desired, client, credential=credential)
            traces = open_traces("hieno-gateway")
            app = App(fleet, KeyFile(folder), folder, _request_log(folder), traces)
            server = uvicorn.Server(_settings(app, desired))
            try:
                await _work(folder, fleet, server, listener)
            finally:
                await app.close()
                await fleet.close()
                await asyncio.to_thread(traces.close)
                state.write_observed(folder, fleet.observe())


async def _work(
    folder: Path, fleet: Fleet, server: uvicorn.Server, listener: socket.socket
) -> None:
    """Answer requests while following the wishes; an error in either ends both."""
    followers = [
        asyncio.create_task(_follow(folder, fleet)),
        asyncio.create_task(_report(folder, fleet)),
    ]
    for task in followers:
        task.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in followers:
            task.cancel()
        ends = await asyncio.gather(*followers, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _follow(folder: Path, fleet: Fleet) -> None:
    """Apply endpoint.json whenever it has changed."""
    seen = None
    while True:
        try:
            stat = (folder / state.DESIRED).stat()
            now = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if now != seen and (desired := state.read_desired(folder)):
                seen = now
                fleet.apply(desired)
        except (HienoError, FileNotFoundError) as error:
            # what runs goes on as it is; `status` shows what is wrong with the file
            fleet.problem = str(error)
            fleet.changed.set()
        fleet.rest()
        await asyncio.sleep(POLL)


async def _report(folder: Path, fleet: Fleet) -> None:
    """Write observed.json whenever something has changed."""
    while True:
        await fleet.changed.wait()
        fleet.changed.clear()
        await asyncio.to_thread(state.write_observed, folder, fleet.observe())


def _listen(port: int) -> socket.socket:
    try:
        listener = ports.reserve(port)
    except Busy:
        raise Busy(
            f"port {port} is taken by another program",
            hint="end that program, then `hieno up`: the endpoint keeps its address",
        ) from None
    ports.listen(listener)
    return listener


def _settings(app: App, desired: Desired) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, round(desired.limits.drain_timeout)),
        h11_max_incomplete_event_size=65_536,
    )


def _request_log(folder: Path) -> Callable[[str], None]:
    handler = RotatingFileHandler(folder / LOG, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("hieno.endpoint.requests")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return lambda line: logger.info("%s", line)
