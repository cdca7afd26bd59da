"""What answers under an endpoint's host name: keys, traffic, mirroring, limits, and the container.

It speaks as Azure's gateway does: 401 in plain text, 408 and 429 of its own, and 424 around
whatever a container answers that is not 200.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any  # Any: JSON

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from emulator.arm.resources import Resource
from emulator.ml import endpoints
from emulator.ml.containers import Container
from emulator.ml.durations import seconds

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from emulator.cloud import Cloud

DEPLOYMENT = "azureml-model-deployment"
_USUAL_TIMEOUT = 5.0
_LONGEST_TIMEOUT = 180.0
_NOT_PASSED = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "content-length", "host", "authorization",
     "te", "trailer", "upgrade", "accept-encoding", "content-encoding", "date", "server")
)  # fmt: skip


@dataclass
class Load:
    """What a deployment has to do at this moment."""

    in_flight: int = 0
    slots: asyncio.Semaphore | None = None
    size: int = 0


@dataclass
class Gateway:
    """The application for the host names of all endpoints."""

    cloud: Cloud
    _loads: dict[str, Load] = field(default_factory=dict)
    _copies: set[asyncio.Task[None]] = field(default_factory=set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (the interface of ASGI)."""
        request = Request(scope, receive)
        with suppress(ClientDisconnect):
            response = await self._answer(request)
            if endpoint := endpoints.find(self.cloud, request.url.hostname or ""):
                self.cloud.ml.monitor.answered(endpoint.id, response.status_code)
            await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        endpoint = endpoints.find(self.cloud, request.url.hostname or "")
        if endpoint is None:
            return Response(status_code=404)
        if refusal := _refuse_key(endpoint, request):
            return refusal
        name = request.headers.get(DEPLOYMENT) or _choose(endpoint.properties["traffic"])
        if name is None:
            return _message(404, "no valid deployment with positive weight")
        body = await request.body()
        if DEPLOYMENT not in request.headers:
            self._mirror(endpoint, request, body)
        return await self._ask(endpoint, name, request, body)

    async def _ask(self, endpoint: Resource, name: str, request: Request, body: bytes) -> Response:
        id = endpoint.id.child("deployments", name)
        deployment, container = self.cloud.resources.get(id), self.cloud.ml.container(id)
        if deployment is None or container is None:
            return _message(404, f"no deployment '{name}' is here")
        named = {DEPLOYMENT: name}
        settings = deployment.properties.get("requestSettings") or {}
        most = int(settings.get("maxConcurrentRequestsPerInstance") or 1)
        most *= int(deployment.body["sku"]["capacity"])
        load = self._load(id.key, most)
        if load.in_flight >= 2 * most:
            reason = {"ms-azureml-model-error-reason": "too_many_pending_request"}
            return Response(status_code=429, headers={**named, **reason})
        timeout = min(seconds(settings.get("requestTimeout"), _USUAL_TIMEOUT), _LONGEST_TIMEOUT)
        load.in_flight += 1
        handed_on = False
        try:
            async with asyncio.timeout(timeout):
                assert load.slots is not None  # noqa: S101 - `_load` made them
                await load.slots.acquire()
                answer = _Answer(load, container, timeout)
                handed_on = True
                return await answer.begin(request, body, named)
        except TimeoutError:
            reason = {"ms-azureml-model-error-reason": "model_timeout"}
            return PlainTextResponse("upstream request timeout", 408, headers={**named, **reason})
        finally:
            if not handed_on:
                load.in_flight -= 1

    def _mirror(self, endpoint: Resource, request: Request, body: bytes) -> None:
        """Send a copy of some requests to another deployment; nobody hears its answer."""
        for name, share in endpoint.properties["mirrorTraffic"].items():
            if random.random() * 100 >= share:  # noqa: S311 - chooses requests, guards nothing
                continue
            container = self.cloud.ml.container(endpoint.id.child("deployments", name))
            if container is not None:
                copy = asyncio.create_task(_send_copy(container, request, body))
                self._copies.add(copy)
                copy.add_done_callback(self._copies.discard)

    def _load(self, key: str, most: int) -> Load:
        load = self._loads.setdefault(key, Load())
        if load.size != most:
            load.slots, load.size = asyncio.Semaphore(most), most
        return load


class _Answer:
    """One request that a container answers; its place is free again when the answer is through."""

    def __init__(self, load: Load, container: Container, timeout: float) -> None:
        self._load, self._slots = load, load.slots
        self._container = container
        self._client = httpx.AsyncClient(trust_env=False, timeout=timeout)

    async def begin(self, request: Request, body: bytes, named: Mapping[str, str]) -> Response:
        """Send it on; return the answer as Azure passes it on."""
        try:
            sent = self._client.build_request(
                request.method,
                _address(self._container, request),
                content=body,
                headers=_passed(request.headers),
            )
            found = await self._client.send(sent, stream=True)
        except httpx.TimeoutException:
            await self._end()
            raise TimeoutError from None
        except httpx.HTTPError:
            await self._end()
            return PlainTextResponse("no healthy upstream", 503, headers=dict(named))
        except BaseException:
            await self._end()
            raise
        headers = {**_passed(found.headers), **named}
        if found.status_code != 200:
            headers["ms-azureml-model-error-statuscode"] = str(found.status_code)
        status = 200 if found.status_code == 200 else 424
        return StreamingResponse(self._chunks(found), status, headers=headers)

    async def _chunks(self, found: httpx.Response) -> AsyncIterator[bytes]:
        try:
            async for chunk in found.aiter_raw():
                yield chunk
        finally:
            await found.aclose()
            await self._end()

    async def _end(self) -> None:
        self._load.in_flight -= 1
        if self._slots is not None:
            self._slots.release()
        await self._client.aclose()


async def _send_copy(container: Container, request: Request, body: bytes) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=_LONGEST_TIMEOUT) as client:
        with suppress(httpx.HTTPError):
            await client.request(
                request.method,
                _address(container, request),
                content=body,
                headers=_passed(request.headers),
            )


def _refuse_key(endpoint: Resource, request: Request) -> Response | None:
    given = request.headers.get("authorization", "")
    scheme, _, key = given.partition(" ")
    if given and scheme.lower() != "bearer":
        return PlainTextResponse("key_auth_bad_header_forbidden", 401)
    known = endpoint.private["keys"].values()
    if not any(secrets.compare_digest(key.encode(), one.encode()) for one in known):
        return PlainTextResponse("key_auth_access_denied", 401)
    return None


def _choose(traffic: Mapping[str, Any]) -> str | None:
    shares = {name: share for name, share in traffic.items() if share}
    if not shares:
        return None
    return random.choices(list(shares), list(shares.values()))[0]  # noqa: S311 - as above


def _address(container: Container, request: Request) -> str:
    path = request.scope.get("raw_path") or request.url.path.encode()
    query = request.scope["query_string"]
    asked = path.split(b"?")[0] + (b"?" + query if query else b"")
    return f"http://127.0.0.1:{container.port}{asked.decode('latin-1')}"


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _NOT_PASSED}


def _message(status: int, text: str) -> Response:
    return JSONResponse({"message": text}, status)
