"""Start the emulator in a thread of this process, and end it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from emulator import certificates, services
from emulator.cloud import Cloud
from emulator.proxy import Proxy
from emulator.settings import Settings

_START_SECONDS = 30
_LAST_TURNS = 10  # of the loop, in which sockets that are closed already are let go


@contextmanager
def running(folder: Path, settings: Settings | None = None) -> Iterator[Cloud]:
    """Give a cloud that listens on free ports of loopback; afterwards nothing of it is left."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    cloud = Cloud(folder, settings)
    listener = Listener(cloud)
    try:
        listener.start()
        services.install(cloud)
        yield cloud
    finally:
        cloud.close()
        listener.stop()


class Listener:
    """The servers of one cloud: Azure's names over TLS, a plain port, and the proxy before them."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="emulator", daemon=True)

    def start(self) -> None:
        """Listen. Raises what went wrong in the thread."""
        self._thread.start()
        self._ready.wait(_START_SECONDS)
        if self._failure is not None:
            raise self._failure
        if not self._ready.is_set():
            raise TimeoutError("the emulator does not listen")

    def stop(self) -> None:
        """End the servers and wait until they have ended."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_START_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._failure = error
            self._ready.set()
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        chain, key = self._cloud.certificates.issue("azure", *certificates.AZURE)
        tls = _server(self._cloud, ssl_certfile=str(chain), ssl_keyfile=str(key))
        plain = _server(self._cloud)
        tasks = [asyncio.create_task(server.serve()) for server in (tls, plain)]
        while not (tls.started and plain.started):
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)
        gate = Proxy(self._cloud)
        self._cloud.tls_port, self._cloud.plain_port = _port(tls), _port(plain)
        self._cloud.proxy_port = await gate.start()
        self._ready.set()
        await self._stop.wait()
        await gate.stop()
        tls.should_exit = plain.should_exit = True
        await asyncio.gather(*tasks)
        for _ in range(_LAST_TURNS):
            await asyncio.sleep(0)


def _server(cloud: Cloud, **tls: str) -> uvicorn.Server:
    config = uvicorn.Config(
        cloud.hosts,
        host="127.0.0.1",
        port=0,
        log_level="critical",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
        **tls,  # type: ignore[arg-type] # mypy reads the file names as every option there is
    )
    return uvicorn.Server(config)


def _port(server: uvicorn.Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port
