"""The management plane as one application: who calls, what for, and may they."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

import anyio.to_thread
from starlette.datastructures import Headers, QueryParams
from starlette.routing import Route

from emulator.arm import (
    availability,
    clouds,
    generic,
    identities,
    infrastructure,
    retention,
    roles,
    subscriptions,
)
from emulator.arm.calls import route
from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId, canonical, routing_path
from emulator.arm.templates import deployments, stacks
from emulator.entra import MANAGEMENT
from emulator.hosts import application

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from emulator.cloud import Cloud

HOST = "management.azure.com"

_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}
_OPEN = "/metadata/endpoints"  # clients ask for it before they sign in


def install(cloud: Cloud) -> None:
    """Register what the plane itself owns; the services add theirs to the same host."""
    cloud.kinds.add(identities.KIND, roles.KIND, subscriptions.KIND, *infrastructure.KINDS)
    cloud.hosts.add(HOST, _polls(cloud))
    cloud.hosts.add(HOST, clouds.routes())
    cloud.hosts.add(HOST, cloud.quota.routes())
    cloud.hosts.add(HOST, cloud.roles.routes())
    cloud.hosts.add(HOST, retention.routes(cloud))
    cloud.hosts.add(HOST, availability.routes(cloud))
    cloud.hosts.add(HOST, subscriptions.routes(cloud))
    cloud.hosts.add(HOST, deployments.routes(cloud))
    cloud.hosts.add(HOST, stacks.routes(cloud))


def mount(cloud: Cloud) -> None:
    """Put the plane on its host; what services added is tried before what answers for anything."""
    for principal in cloud.entra.callers:
        for role in cloud.settings.caller_roles:
            cloud.roles.grant(principal, role, cloud.subscription)
    routes = [*cloud.hosts.routes(HOST), *generic.routes(cloud)]
    cloud.hosts.mount(HOST, Plane(cloud, application(routes)))


class Plane:
    """Checks token, API version and roles; then the path is spelt as the routes are."""

    def __init__(self, cloud: Cloud, app: ASGIApp) -> None:
        self._cloud = cloud
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call (the interface of ASGI)."""
        asked = unquote(scope["path"]).rstrip("/")
        inner = {**scope, "asked": canonical(asked, self._cloud.kinds.words)}
        inner["path"] = routing_path(asked)
        inner["raw_path"] = inner["path"].encode()
        try:
            if not asked.startswith(_OPEN):
                inner["caller"] = self._cloud.entra.verify(
                    Headers(scope=scope).get("authorization", ""), MANAGEMENT
                )
                await anyio.to_thread.run_sync(self._check, inner)
        except ArmError as error:
            await error.response()(scope, receive, send)
            return
        await self._app(inner, receive, send)

    def _check(self, scope: Scope) -> None:
        if "api-version" not in QueryParams(scope["query_string"]):
            message = (
                "The api-version query parameter (?api-version=) is required for all requests."
            )
            raise ArmError(400, "MissingApiVersionParameter", message)
        action, on = action_of(scope["method"], scope["asked"])
        if action:
            self._cloud.roles.require(scope["caller"], action, on)


def action_of(method: str, path: str) -> tuple[str, str]:
    """Return what a call does, in the words of roles, and on which scope."""
    if not path.lower().startswith("/subscriptions/") or "/operation" in path.lower():
        return "", path
    if method == "POST":
        subject, _, verb = path.rpartition("/")
        return f"{ResourceId(subject).type}/{verb}/action", subject
    id = ResourceId(path)
    if "/" not in id.type:  # a provider of the subscription
        return f"{id.type}/{_VERBS[method]}", path
    return f"{id.type}/{_VERBS[method]}", path


def _polls(cloud: Cloud) -> list[Route]:
    return [
        route("GET", "/{path:path}/operationstatuses/{id}", cloud.operations.status),
        route("GET", "/{path:path}/operationresults/{id}", cloud.operations.result),
    ]
