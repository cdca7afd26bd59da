"""The gateway as an ASGI application: who may ask, what is asked, and what is refused.

Everything but `/`, `/health` and the chat page needs a key, also addresses that do not exist. The
page's API needs a session of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any  # an ASGI scope and its messages are untyped by that standard

from hieno.endpoint import dialect, routes
from hieno.endpoint.credentials import KeyFile
from hieno.endpoint.fleet import Fleet
from hieno.endpoint.incoming import Incoming, Receive, Refused, only
from hieno.endpoint.meter import CONTENT_TYPE, Meter
from hieno.endpoint.mirror import Mirror
from hieno.endpoint.outgoing import ClientLeft, Outgoing
from hieno.endpoint.page.service import ROOT, ChatPage
from hieno.endpoint.relay import CutOff, relay
from hieno.endpoint.routes import Route
from hieno.endpoint.state import Limits
from hieno.endpoint.supervisor import Deployment
from hieno.endpoint.upstream import Call, Headers
from hieno.tracing import Trace, Traces

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_HEADERS = 16_384  # bytes

_HOST = re.compile(rb"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", re.IGNORECASE)
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,100}")
_DEPLOYMENT = b"azureml-model-deployment"


class App:
    """The ASGI application of one endpoint."""

    def __init__(
        self,
        fleet: Fleet,
        keys: KeyFile,
        folder: Path,
        log: Callable[[str], None],
        traces: Traces,
    ) -> None:
        self._fleet = fleet
        self._keys = keys
        self._log = log
        self._traces = traces
        self._meter = Meter(fleet)
        self._mirror = Mirror(fleet, self._meter)
        self._page = ChatPage(fleet, keys, folder, self._ask)

    async def close(self) -> None:
        """Abandon what only we are waiting for."""
        await self._mirror.close()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        outgoing = Outgoing(scope, send, timeout=self._fleet.desired.limits.request_timeout)
        incoming = Incoming(scope, receive)
        route = routes.find(incoming.raw_path)
        trace = self._traced(incoming, route)
        try:
            await self._answer(incoming, outgoing, trace.parent() if trace else [])
        except (ClientLeft, CutOff) as ended:
            outgoing.ended_by = type(ended).__name__  # the server closes the connection
        finally:
            self._log(outgoing.line())
            self._meter.record(outgoing, route.path if route else "unknown")
            if trace:
                trace.end(failed=outgoing.failed, attributes=self._told(incoming, route, outgoing))

    def _traced(self, incoming: Incoming, route: Route | None) -> Trace | None:
        """Begin a span for what is relayed to a model; probes and strangers' addresses get none."""
        if route is None or incoming.method not in route.methods or not route.relayed:
            return None
        return self._traces.begin(f"{incoming.method} {route.path}", incoming.headers)

    def _told(
        self, incoming: Incoming, route: Route | None, outgoing: Outgoing
    ) -> dict[str, str | int | float]:
        told: dict[str, str | int | float] = {
            "http.request.method": incoming.method,
            "http.route": route.path if route else "",
            "http.response.status_code": outgoing.status,
            "hieno.request_id": outgoing.request_id,
            "hieno.deployment": outgoing.deployment,
        }
        if deployment := self._fleet.deployments.get(outgoing.deployment):
            told["hieno.model_version"] = deployment.spec.version
            told["hieno.data_digest"] = deployment.spec.data_digest
        if outgoing.first_byte is not None:
            told["hieno.first_byte_seconds"] = outgoing.first_byte
        return told

    async def _answer(self, incoming: Incoming, outgoing: Outgoing, parent: Headers) -> None:
        try:
            await self._respond(incoming, outgoing, parent)
        except Refused as refused:
            # where the body was not read yet, the server drops it, and the client sees the refusal
            await outgoing.reply(dialect.refuse(refused.problem, incoming.path))

    async def _respond(self, incoming: Incoming, outgoing: Outgoing, parent: Headers) -> None:
        headers = incoming.headers
        if not _HOST.fullmatch(only(headers, b"host") or b""):
            raise Refused(dialect.BAD_HOST)
        if sum(len(name) + len(value) for name, value in headers) > MAX_HEADERS:
            raise Refused(dialect.BIG_HEADERS)
        outgoing.request_id = _request_id(headers)
        route = routes.find(incoming.raw_path)
        if route is None or not route.open:
            self._check_key(headers)
        if route is None:
            raise Refused(dialect.NO_ROUTE)
        if incoming.method not in route.methods:
            raise Refused(dialect.NO_METHOD.allowing(route.methods))
        if f"{route.path}/".startswith(ROOT):
            return await self._page.answer(incoming, outgoing, parent)
        if route.open:
            return await outgoing.reply(self._health())
        if route.path == "/metrics":
            page = dialect.Reply(200, self._meter.page(), [(b"content-type", CONTENT_TYPE)])
            return await outgoing.reply(page)
        await self._relay(incoming, outgoing, parent)

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
        ready = self._fleet.is_ready()
        body = b"Healthy" if ready else b"Not ready"
        return dialect.Reply(200 if ready else 503, body, [(b"content-type", b"text/html")])

    async def _relay(self, incoming: Incoming, outgoing: Outgoing, parent: Headers) -> None:
        self._meter.arrived()
        limits = self._fleet.desired.limits
        deployment = self._named_or_chosen(incoming.headers)
        with self._admitted(deployment, limits):
            call = await incoming.call(limits, outgoing.request_id, parent)
            named = self._named_by_model(incoming, call.body)
            if named is None or named is deployment:
                if named is None and not _names_deployment(incoming.headers):
                    self._mirror.copy(call)
                return await self._through(deployment, call, incoming, outgoing)
        with self._admitted(named, limits):
            await self._through(named, call, incoming, outgoing)

    async def _ask(
        self, deployment: Deployment, call: Call, incoming: Incoming, outgoing: Outgoing
    ) -> None:
        """Answer a question of the chat page as one of `/v1` is."""
        self._meter.arrived()
        with self._admitted(deployment, self._fleet.desired.limits):
            if self._fleet.desired.traffic.get(deployment.name):
                self._mirror.copy(call)
            await self._through(deployment, call, incoming, outgoing)

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

    def _named_by_model(self, incoming: Incoming, body: bytes) -> Deployment | None:
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
        self, deployment: Deployment, call: Call, incoming: Incoming, outgoing: Outgoing
    ) -> None:
        """Relay, and abandon the container's work as soon as the client has left."""
        outgoing.deployment, outgoing.version = deployment.name, deployment.spec.version
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


def _names_deployment(headers: Headers) -> bool:
    return any(name == _DEPLOYMENT for name, _ in headers)


def _request_id(headers: Headers) -> str:
    given = [value for name, value in headers if name == b"x-request-id"]
    if not given:
        return str(uuid.uuid4())
    if len(given) > 1 or not _REQUEST_ID.fullmatch(given[0]):
        raise Refused(dialect.BAD_REQUEST_ID)
    return given[0].decode("ascii")
