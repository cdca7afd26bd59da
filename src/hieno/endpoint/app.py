"""The gateway as an ASGI application: who may ask, what is asked, and what is refused.

Everything but `/` and `/health` needs a key, also addresses that do not exist.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any  # an ASGI scope and its messages are untyped by that standard
from urllib.parse import unquote

from hieno.endpoint import dialect
from hieno.endpoint.credentials import KeyFile
from hieno.endpoint.dialect import Problem
from hieno.endpoint.fleet import Fleet
from hieno.endpoint.meter import CONTENT_TYPE, Meter
from hieno.endpoint.mirror import Mirror
from hieno.endpoint.outgoing import ClientLeft, Outgoing
from hieno.endpoint.relay import CutOff, relay
from hieno.endpoint.state import Limits
from hieno.endpoint.supervisor import Deployment
from hieno.endpoint.upstream import Call, Headers, passed_on

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class Route:
    """An address, its methods, and whether it needs a key; `/v1/` stands for all below it."""

    path: str
    methods: tuple[str, ...]
    open: bool = False


ROUTES = (
    Route("/", ("GET", "HEAD"), open=True),
    Route("/health", ("GET", "HEAD"), open=True),
    Route("/score", ("POST", "GET", "OPTIONS")),
    Route("/swagger.json", ("GET",)),
    Route("/metrics", ("GET",)),
    Route("/v1/", ("GET", "POST")),
)

MAX_HEADERS = 16_384  # bytes
BODY_TIMEOUT = 30.0  # seconds between two pieces of a request's body

_HOST = re.compile(rb"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", re.IGNORECASE)
_TARGET = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:@%/-]+")
_QUERY = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:@%/?\[\]-]*")
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,100}")
_DEPLOYMENT = b"azureml-model-deployment"

# What a container has no business to see, or gets from us instead. A length is not passed on
# because the whole body is read first.
_OURS = frozenset(
    b"authorization api-key x-api-key cookie host content-length expect x-request-id "
    b"azureml-model-deployment".split()
)


class Refused(Exception):
    """The request gets an answer of ours."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class App:
    """The ASGI application of one endpoint."""

    def __init__(self, fleet: Fleet, keys: KeyFile, log: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._keys = keys
        self._log = log
        self._meter = Meter(fleet)
        self._mirror = Mirror(fleet, self._meter)
        self._draining = False

    def drain(self) -> None:
        """Say from now on that this endpoint is not ready."""
        self._draining = True

    async def close(self) -> None:
        """Abandon what only we are waiting for."""
        await self._mirror.close()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        outgoing = Outgoing(scope, send, timeout=self._fleet.desired.limits.request_timeout)
        incoming = _Incoming(scope, receive)
        try:
            await self._answer(incoming, outgoing)
        except (ClientLeft, CutOff) as ended:
            outgoing.ended_by = type(ended).__name__  # the server closes the connection
        finally:
            self._log(outgoing.line())
            route = _route(incoming.raw_path)
            self._meter.record(outgoing, route.path if route else "unknown")

    async def _answer(self, incoming: _Incoming, outgoing: Outgoing) -> None:
        try:
            await self._respond(incoming, outgoing)
        except Refused as refused:
            # where the body was not read yet, the server drops it, and the client sees the refusal
            await outgoing.reply(dialect.refuse(refused.problem, incoming.path))

    async def _respond(self, incoming: _Incoming, outgoing: Outgoing) -> None:
        headers = incoming.headers
        if not _HOST.fullmatch(_only(headers, b"host") or b""):
            raise Refused(dialect.BAD_HOST)
        if sum(len(name) + len(value) for name, value in headers) > MAX_HEADERS:
            raise Refused(dialect.BIG_HEADERS)
        outgoing.request_id = _request_id(headers)
        route = _route(incoming.raw_path)
        if route is None or not route.open:
            self._check_key(headers)
        if route is None:
            raise Refused(dialect.NO_ROUTE)
        if incoming.method not in route.methods:
            raise Refused(dialect.NO_METHOD.allowing(route.methods))
        if route.open:
            return await outgoing.reply(self._health())
        if route.path == "/metrics":
            page = dialect.Reply(200, self._meter.page(), [(b"content-type", CONTENT_TYPE)])
            return await outgoing.reply(page)
        await self._relay(incoming, outgoing)

    def _check_key(self, headers: Headers) -> None:
        values = [value for name, value in headers if name == b"authorization"]
        if not values:
            raise Refused(dialect.KEY_REFUSED)
        found = re.fullmatch(rb"Bearer ([!-\xff]+)", values[0])
        if found is None or len(values) > 1:
            raise Refused(dialect.KEY_MALFORMED)
        if not self._keys.accepts(found[1]):
            raise Refused(dialect.KEY_REFUSED)

    def _health(self) -> dialect.Reply:
        ready = self._fleet.is_ready() and not self._draining
        body = b"Healthy" if ready else b"Not ready"
        return dialect.Reply(200 if ready else 503, body, [(b"content-type", b"text/html")])

    async def _relay(self, incoming: _Incoming, outgoing: Outgoing) -> None:
        self._meter.arrived()
        limits = self._fleet.desired.limits
        deployment = self._named_or_chosen(incoming.headers)
        with self._admitted(deployment, limits):
            call = await incoming.call(limits, outgoing.request_id)
            named = self._named_by_model(incoming, call.body)
            if named is None or named is deployment:
                if named is None and not _names_deployment(incoming.headers):
                    self._mirror.copy(call)
                return await self._through(deployment, call, incoming, outgoing)
        with self._admitted(named, limits):
            await self._through(named, call, incoming, outgoing)

    def _named_or_chosen(self, headers: Headers) -> Deployment:
        names = [value for name, value in headers if name == _DEPLOYMENT]
        if names:
            named = self._fleet.deployments.get(names[0].decode("latin-1"))
            if named is None or len(names) > 1:
                raise Refused(dialect.NO_DEPLOYMENT)
            return named
        chosen = self._fleet.choose()
        if chosen is None:
            raise Refused(dialect.NO_TRAFFIC)
        return chosen

    def _named_by_model(self, incoming: _Incoming, body: bytes) -> Deployment | None:
        """Return the deployment that an OpenAI request names as its model, if it names one."""
        deployments = self._fleet.deployments
        if _names_deployment(incoming.headers) or not dialect.speaks_openai(incoming.path):
            return None
        if not any(f'"{name}"'.encode() in body for name in deployments):
            return None  # nearly always, and without reading JSON
        try:
            model = json.loads(body).get("model")
        except (ValueError, AttributeError, RecursionError):
            return None  # the container says what is wrong with it
        return deployments.get(model) if isinstance(model, str) else None

    def _admitted(self, deployment: Deployment, limits: Limits) -> AbstractContextManager[None]:
        if deployment.in_flight >= 2 * limits.max_concurrent * deployment.spec.instances:
            raise Refused(dialect.TOO_MANY)
        return deployment.slot()

    async def _through(
        self, deployment: Deployment, call: Call, incoming: _Incoming, outgoing: Outgoing
    ) -> None:
        """Relay, and abandon the container's work as soon as the client has left."""
        outgoing.deployment = deployment.name
        limits = self._fleet.desired.limits
        work = asyncio.create_task(relay(deployment, call, outgoing, limits))
        left = asyncio.create_task(incoming.until_left())
        try:
            await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
            if not work.done():
                work.cancel()
            await asyncio.gather(work, left, return_exceptions=True)
        if work.cancelled():
            raise ClientLeft
        if problem := work.result():
            raise Refused(problem)


class _Incoming:
    """A request as it arrives."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive) -> None:
        self.method: str = scope["method"]
        self.raw_path: bytes = scope["raw_path"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers: Headers = list(scope["headers"])
        self._receive = receive

    async def call(self, limits: Limits, request_id: str) -> Call:
        """Read the whole body, never more than the limit, and return what is relayed."""
        if not _QUERY.fullmatch(self.query):
            raise Refused(dialect.BAD_TARGET)
        target = self.raw_path + (b"?" + self.query if self.query else b"")
        headers = passed_on(self.headers, without=_OURS)
        headers.append((b"x-request-id", request_id.encode()))
        return Call(self.method, target, headers, await self._body(limits.max_body))

    async def until_left(self) -> None:
        """Wait until the client has closed the connection; call after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            continue

    async def _body(self, limit: int) -> bytes:
        declared = _only(self.headers, b"content-length")
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


def _route(raw_path: bytes) -> Route | None:
    if not _TARGET.fullmatch(raw_path):
        return None
    path = raw_path.decode("ascii")
    for route in ROUTES:
        if path == route.path:
            return route if path != "/v1/" else None
        if route.path == "/v1/" and path.startswith("/v1/"):
            return route if _stays_below(path) else None
    return None


def _names_deployment(headers: Headers) -> bool:
    return any(name == _DEPLOYMENT for name, _ in headers)


def _stays_below(path: str) -> bool:
    parts = path.split("/")[2:]
    return all(unquote(part) not in ("", ".", "..") for part in parts)


def _request_id(headers: Headers) -> str:
    given = [value for name, value in headers if name == b"x-request-id"]
    if not given:
        return str(uuid.uuid4())
    if len(given) > 1 or not _REQUEST_ID.fullmatch(given[0]):
        raise Refused(dialect.BAD_REQUEST_ID)
    return given[0].decode("ascii")


def _only(headers: Headers, wanted: bytes) -> bytes | None:
    values = [value for name, value in headers if name == wanted]
    return values[0] if len(values) == 1 else None
