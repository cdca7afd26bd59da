"""One process that loads one model and answers HTTP until it is asked to stop."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hieno import ports
from hieno.config import Serve
from hieno.errors import UsageError
from hieno.serve.engines.choice import choose_engine, open_engine
from hieno.serve.model import read_model
from hieno.tracing import Traces, open_traces

if TYPE_CHECKING:
    import socket

    import uvicorn

    from hieno.serve.service import Service

_GRACE = 5
_IDLE = 15
_LOOPBACK = (ports.LOOPBACK, "localhost", "::1")
_FIRST_PORT = 8000


def serve(
    root: Path,
    *,
    port: int | None = None,
    host: str = ports.LOOPBACK,
    engine: str = "auto",
    weights: str = "auto",
    settings: Serve | None = None,
    name: str = "hieno",
    aliases: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = lambda url: None,
) -> None:
    """Load a package and answer until SIGTERM or Ctrl-C; then finish what is being answered.

    Without a port it is the first free one from 8000. It is taken at once, for good, and `tell`
    gets the address; it opens when the model can answer. Requests may call the model by `name` or
    an alias; `headers` go out with every answer. There are no keys here: who listens beyond this
    machine puts a gateway in front.
    """
    settings = settings or Serve()
    headers = _checked(headers or {})
    tries = 100 if port is None else 1
    with ports.reserve(_FIRST_PORT if port is None else port, host=host, tries=tries) as taken:
        url = f"http://{f'[{host}]' if ':' in host else host}:{ports.number(taken)}"
        tell(url)
        service, traces = _opened(root, engine, weights, settings, (name, *aliases), headers)
        try:
            _run(service, traces, taken, url, loopback=host in _LOOPBACK)
        finally:
            service.engine.close()
            traces.close()


def _opened(
    root: Path,
    engine: str,
    weights: str,
    settings: Serve,
    names: tuple[str, ...],
    headers: Mapping[str, str],
) -> tuple[Service, Traces]:
    from hieno.serve.admission import Slots
    from hieno.serve.service import Service

    choice = choose_engine(root, engine, weights)
    print(f"hieno: engine {choice.name}: {choice.reason}", file=sys.stderr, flush=True)
    model = read_model(root, settings)
    opened = open_engine(root, name=choice.name, weights=weights, settings=settings, model=model)
    service = Service(
        engine=opened,
        model=model,
        settings=settings,
        names=names,
        headers=headers,
        slots=Slots(settings.max_requests),
    )
    return service, open_traces("hieno-container")


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not value.isprintable() or not value.isascii() or len(value) > 200:
            raise UsageError(
                f"the answer header {name} cannot be {value[:40]!r}",
                hint="use up to 200 printable ASCII characters",
            )
    return {name.lower(): value for name, value in headers.items()}


def _run(
    service: Service, traces: Traces, taken: socket.socket, url: str, *, loopback: bool
) -> None:
    import uvicorn

    from hieno.connection import Connection
    from hieno.serve.app import make_app

    config = uvicorn.Config(
        make_app(service, loopback=loopback, traces=traces),
        http=Connection,
        access_log=False,
        log_level="warning",
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=_GRACE,
        # Far more connections than answers: a refusal with 429 is cheap and must get through.
        limit_concurrency=None,
    )
    server = uvicorn.Server(config)
    # uvicorn raises the signal again once it has drained; ending as asked is a success here.
    signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
    # What is loaded now stays: a collection that walks all of it stalls every stream.
    gc.collect()
    gc.freeze()
    asyncio.run(_until_told(server, service, taken, url))


async def _until_told(
    server: uvicorn.Server, service: Service, taken: socket.socket, url: str
) -> None:
    await _warm_up(service)
    ports.listen(taken)

    async def announce() -> None:
        while not (server.started or server.should_exit):
            await asyncio.sleep(0.05)
        if server.started:
            print(f"hieno: ready at {url}", file=sys.stderr, flush=True)
        while not server.should_exit:
            await asyncio.sleep(0.1)
        service.stopping = True

    announcing = asyncio.create_task(announce())
    try:
        await server.serve(sockets=[taken])
    finally:
        announcing.cancel()


async def _warm_up(service: Service) -> None:
    """Answer one token before the port opens: a broken model is found here, not by a user."""
    from hieno.serve.answer import complete
    from hieno.serve.engines import Sampling

    prompt = await service.prompt([{"role": "user", "content": "Hello"}], param="messages")
    await complete(service.engine, service.model, prompt, Sampling(max_new_tokens=1))
