"""The container as a web application: routes, and the doorway that every request passes."""

from __future__ import annotations

import ipaddress
import json
import sys
import time
import traceback
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from hieno.serve.admission import ClientGone
from hieno.serve.engines import EngineFailed
from hieno.serve.openai import openai_routes
from hieno.serve.refusals import UNEXPECTED, Refused, refusal_response
from hieno.serve.score import score_routes
from hieno.serve.service import Service
from hieno.serve.swagger import swagger
from hieno.tracing import Trace, Traces, open_traces

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_REQUEST_IDS = ("x-request-id", "x-ms-request-id", "x-ms-client-request-id")
_LONGEST_ID = 100
_PROBES = ("/", "/health")  # a supervisor asks every few seconds
_TRACED = ("/score", "/v1/chat/completions", "/v1/completions", "/v1/responses")
_GONE = 499  # nobody receives it; it is what the access line says


def make_app(service: Service, *, loopback: bool = True, traces: Traces | None = None) -> ASGIApp:
    """Return the application for one loaded model.

    With `loopback`, a request whose Host is not this machine is refused: that is how a web page
    in a browser would reach a server that asks for no key.
    """
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.include_router(openai_routes(service))
    app.include_router(score_routes(service))
    _add_plain_routes(app, service)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(ClientGone, _client_gone)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_exception_handler(Exception, _unexpected)
    traces = traces or open_traces("hieno-container", {})
    return Doorway(app, service.headers, traces, loopback=loopback)


def _add_plain_routes(app: FastAPI, service: Service) -> None:
    @app.get("/")
    async def healthy() -> Response:
        words = "Healthy" if service.engine.healthy() else "Unhealthy"
        return PlainTextResponse(
            words, 200 if service.engine.healthy() else 503, media_type="text/html"
        )

    @app.get("/health")
    async def health() -> Response:
        if service.ready():
            return JSONResponse({"status": "ready", "in_flight": service.slots.taken})
        status = "stopping" if service.engine.healthy() else "failed"
        return JSONResponse({"status": status}, 503)

    @app.options("/score")
    async def score_options() -> Response:
        return Response()

    @app.get("/swagger.json")
    async def swagger_json(request: Request) -> Response:
        return JSONResponse(swagger(request.query_params.get("version", "2")))


async def _refused(request: Request, error: Exception) -> Response:
    return refusal_response(request.url.path, cast("Refused", error))


async def _no_route(request: Request, error: Exception) -> Response:
    found = cast("HTTPException", error)
    refused = Refused(found.status_code, found.detail, headers=found.headers or {})
    return refusal_response(request.url.path, refused)


async def _client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=_GONE)


async def _unexpected(request: Request, error: Exception) -> Response:
    if isinstance(error, EngineFailed):
        refused = Refused(500, f"The answer failed: {error.message}.", "engine_failed")
    else:
        refused = Refused(500, UNEXPECTED, "internal_error")
    response = refusal_response(request.url.path, refused)
    response.headers["x-ms-run-function-failed"] = "True"
    return response


class Doorway:
    """Checks host and request ids, adds the headers of every answer, writes the access line."""

    def __init__(
        self, app: ASGIApp, headers: Mapping[str, str], traces: Traces, *, loopback: bool
    ) -> None:
        self._app = app
        self._headers = headers
        self._traces = traces
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (the interface of ASGI)."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        started = time.monotonic()
        asked = Headers(scope=scope)
        if scope["path"] == "/score" and (route := asked.get("hieno-route")):
            scope = {**scope, "path": route, "raw_path": route.encode("latin-1")}
        answer_headers = {**self._headers, **_answer_ids(asked)}
        status = 0
        trace = self._traced(scope)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in answer_headers.items():
                    headers[name] = value
            await send(message)

        try:
            problem = self._problem(asked)
            if problem is not None:
                await refusal_response(scope["path"], problem)(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except Exception as error:  # it was answered by `_unexpected`, and raised again for us
            _report(error)
        finally:
            _access_line(scope, status, time.monotonic() - started, answer_headers["x-request-id"])
            if trace:
                trace.end(failed=status == 0 or status >= 500, attributes=self._told(scope, status))

    def _told(self, scope: Scope, status: int) -> dict[str, str | int]:
        named = {
            "hieno." + name.removeprefix("hieno-").replace("-", "_"): value
            for name, value in self._headers.items()
        }
        return {
            "http.request.method": scope["method"],
            "http.route": scope["path"],
            "http.response.status_code": status,
            **named,
        }

    def _traced(self, scope: Scope) -> Trace | None:
        if scope["path"] not in _TRACED:
            return None
        name = f"{scope['method']} {scope['path']}"
        return self._traces.begin(name, list(scope["headers"]))

    def _problem(self, asked: Headers) -> Refused | None:
        if self._loopback and not _is_this_machine(asked.get("host", "")):
            return Refused(400, "This server answers to its own machine only.", "invalid_host")
        for name in _REQUEST_IDS:
            if len(asked.get(name, "")) > _LONGEST_ID:
                return Refused(431, f"{name} must not exceed {_LONGEST_ID} characters")
        return None


def _answer_ids(asked: Headers) -> dict[str, str]:
    """Return the id headers of the answer: echoed where they were sent, else one new id."""
    sent = {name: asked.get(name, "")[:_LONGEST_ID] for name in _REQUEST_IDS}
    client = sent["x-ms-client-request-id"]
    request = sent["x-request-id"] or str(uuid.uuid4())
    ids = {
        "x-request-id": request,
        "x-ms-request-id": sent["x-ms-request-id"] or client or request,
    }
    return ids | ({"x-ms-client-request-id": client} if client else {})


def _is_this_machine(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _report(error: Exception) -> None:
    """Tell the operator where it broke; an exception's own words may quote a prompt."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    print(f"{frames}{type(error).__name__}", file=sys.stderr, flush=True)


def _access_line(scope: Scope, status: int, seconds: float, request_id: str) -> None:
    if scope["path"] in _PROBES and status == 200:
        return
    path = json.dumps(scope["path"][:100])[1:-1]
    shown_id = json.dumps(request_id)[1:-1]
    line = f"{scope['method']} {path} {status} {seconds:.3f}s {shown_id}"
    print(line, file=sys.stderr, flush=True)
