"""How a service is written: a plain function of one call, which may block.

    def list_keys(call: Call, workspace: str) -> Response: ...

    routes = [route("POST", f"{WORKSPACE}/listkeys", list_keys)]

The path of a route is small except for its names: `routing_path` makes every call so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any  # Any: bodies are JSON
from urllib.parse import unquote

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.entra import Principal

GROUP = "/subscriptions/{subscription}/resourcegroups/{group}"
WORKSPACE = f"{GROUP}/providers/microsoft.machinelearningservices/workspaces/{{workspace}}"


@dataclass(frozen=True)
class Call:
    """One request, read whole."""

    method: str
    path: str  # as the client wrote it, decoded
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    caller: Principal | None  # on the management plane there always is one
    names: Mapping[str, str]  # the route's path parameters

    @property
    def id(self) -> ResourceId:
        """The resource that a PUT, GET, PATCH or DELETE is about."""
        return ResourceId(self.path)

    @property
    def subject(self) -> ResourceId:
        """The resource that an action (`POST .../listKeys`) or a collection is of."""
        return ResourceId(self.path.rsplit("/", 1)[0])


Handler = Callable[[Call], Response]


def route(methods: str, path: str, handler: Handler) -> Route:
    """Return a route; the handler runs in a thread of its own and may raise `ArmError`."""

    async def endpoint(request: Request) -> Response:
        call = await read_call(request)
        return await anyio.to_thread.run_sync(handler, call)

    return Route(path, endpoint, methods=methods.split())


async def read_call(request: Request) -> Call:
    """Read a request whole. Raises 400 for a body that is not JSON."""
    content = await request.body()
    try:
        body = json.loads(content) if content.strip() else {}
    except ValueError as error:
        raise ArmError(400, "InvalidRequestContent", f"The body is not JSON: {error}.") from None
    path = str(request.scope.get("asked") or unquote(request.url.path)).rstrip("/")
    return Call(
        request.method,
        path,
        dict(request.query_params),
        dict(request.headers),
        body,
        request.scope.get("caller"),
        dict(request.path_params),
    )
