"""Who answers for which of Azure's names. Every call is recorded, and may meet a fault."""

from __future__ import annotations

import fnmatch
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from emulator.arm.errors import ArmError
from emulator.recording import Recording

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from emulator.cloud import Cloud
    from emulator.faults import Fault

_CUT = ("cut", "lost-answer")  # they answer nothing

# what the other faults answer
_ANSWERS = {
    "conflict": ArmError(409, "Conflict", "Another operation is in progress on the resource."),
    "throttle": ArmError(429, "TooManyRequests", "Too many requests; try again later."),
    "unavailable": ArmError(503, "ServiceUnavailable", "The service is unavailable."),
    "error": ArmError(500, "InternalServerError", "The service met an internal error."),
    "missing-role": ArmError(
        403,
        "AuthorizationFailed",
        "The client does not have authorization to perform this action. If access was recently"
        " granted, please refresh your credentials.",
    ),
}


class Hosts:
    """Routes by host name pattern: an ASGI application for all of them."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._routes: dict[str, list[BaseRoute]] = {}
        self._apps: dict[str, ASGIApp] = {}

    def add(self, pattern: str, routes: Sequence[BaseRoute]) -> None:
        """Answer `routes` under the host names that match; what was added first is tried first."""
        self._routes.setdefault(pattern, []).extend(routes)

    def mount(self, pattern: str, app: ASGIApp) -> None:
        """Give the host names that match to an application."""
        self._apps[pattern] = app

    def routes(self, pattern: str) -> list[BaseRoute]:
        """Return what was added for a pattern."""
        return self._routes.get(pattern, [])

    def knows(self, host: str) -> bool:
        """Tell whether somebody answers under this name."""
        patterns = (*self._apps, *self._routes)
        return any(fnmatch.fnmatchcase(host.lower(), pattern) for pattern in patterns)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call (the interface of ASGI)."""
        if scope["type"] != "http":
            return
        host = Headers(scope=scope).get("host", "").rsplit(":", 1)[0].lower()
        call = Recording(scope, host, receive, send)
        fault = self._fault(call)
        try:
            if fault is None:
                await self._answer(scope, host, call.receive, call.send)
            else:
                if fault.kind == "lost-answer":
                    await self._answer(scope, host, call.receive, _unheard)
                await _fail(fault, scope, call)
        except Exception:  # an ASGI server would hide what the emulator did wrong
            traceback.print_exc()
            await ArmError(
                500, "EmulatorFailed", "The emulator failed; see its output."
            ).response()(scope, call.receive, call.send)
        finally:
            self._cloud.trace.add(call.exchange(fault.kind if fault else ""))

    async def _answer(self, scope: Scope, host: str, receive: Receive, send: Send) -> None:
        app = self._app(host) or Response(status_code=421)
        await app(scope, receive, send)

    def _app(self, host: str) -> ASGIApp | None:
        for pattern in self._routes:
            if pattern not in self._apps:
                self._apps[pattern] = application(self._routes[pattern])
        matching = (app for name, app in self._apps.items() if fnmatch.fnmatchcase(host, name))
        return next(matching, None)

    def _fault(self, call: Recording) -> Fault | None:
        if call.host == "127.0.0.1":
            return None
        subject = f"{call.scope['method']}:{call.host}{call.path}"
        kinds = (*_ANSWERS, *_CUT)
        return next(
            (found for kind in kinds if (found := self._cloud.faults.take(kind, subject))), None
        )


def application(routes: Sequence[BaseRoute]) -> ASGIApp:
    """Return an application whose handlers may raise `ArmError`."""

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, ArmError)  # noqa: S101 - what the handler is registered for
        return error.response()

    return Starlette(routes=list(routes), exception_handlers={ArmError: refused})


async def _unheard(_: Message) -> None:
    """Take what a service answers, and tell nobody."""


async def _fail(fault: Fault, scope: Scope, call: Recording) -> None:
    if fault.kind in _CUT:
        # the server closes the connection of an answer that is promised and does not come
        head = {
            "type": "http.response.start",
            "status": 200,
            # Microsoft's client for blobs looks for the range before it reads
            "headers": [(b"content-length", b"9"), (b"content-range", b"bytes 0-8/9")],
        }
        await call.send(head)
        return
    error = _ANSWERS[fault.kind]
    seconds = fault.details.get(
        "retry_after", "1" if fault.kind in ("throttle", "unavailable") else ""
    )
    headers = {"Retry-After": seconds} if seconds else {}
    await error.response(headers)(scope, call.receive, call.send)
