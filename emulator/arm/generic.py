"""GET, PUT, PATCH and DELETE of any resource, and lists of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm import retention
from emulator.arm.calls import Call, route
from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.arm.kinds import merge
from emulator.arm.lifecycle import Applied, apply, remove
from emulator.arm.resources import missing

if TYPE_CHECKING:
    from emulator.cloud import Cloud


def routes(cloud: Cloud) -> list[Route]:
    """Return the routes for whatever no other route answers; they stand last."""

    def get(call: Call) -> Response:
        found = cloud.resources.get(call.id)
        if found is not None:
            return JSONResponse(found.shown())
        if _is_collection(call.path):
            _require_owner(cloud, call)
            listed = cloud.resources.children(call.path)
            return JSONResponse({"value": [one.shown() for one in listed]})
        raise missing(call.id)

    def head(call: Call) -> Response:
        return Response(status_code=204 if cloud.resources.get(call.id) else 404)

    def put(call: Call) -> Response:
        return answer(apply(cloud, call.id, call.body))

    def patch(call: Call) -> Response:
        old = cloud.resources.require(call.id)
        return answer(apply(cloud, old.id, merge(old.shown(), call.body)))

    def delete(call: Call) -> Response:
        purge = call.query.get("forceToPurge", "").lower() == "true"
        if cloud.resources.get(call.id) is None:
            kept = retention.find(cloud, call.id) if purge else None
            if kept is None:
                return Response(status_code=204)
            del cloud.retained[kept.id.key]
            return Response(status_code=200)
        operation = remove(cloud, call.id, purge=purge)
        if operation is None:
            return Response(status_code=200)
        return Response(status_code=202, headers=operation.headers())

    def other(call: Call) -> Response:
        message = f"The emulator does not know {call.method} {call.path}."
        raise ArmError(501, "NotEmulated", message)

    anything = "/{path:path}"
    return [
        route("GET", anything, get),  # Starlette lets a GET route answer HEAD, so HEAD stands first
        route("PUT", anything, put),
        route("PATCH", anything, patch),
        route("DELETE", anything, delete),
        route("POST", anything, other),
    ]


def answer(applied: Applied) -> Response:
    """Return what a PUT answers."""
    headers = applied.operation.headers() if applied.operation else {}
    return JSONResponse(applied.resource.shown(), 201 if applied.created else 200, headers=headers)


def _is_collection(path: str) -> bool:
    _, found, tail = path.rpartition("/providers/")
    return bool(found) and len(tail.split("/")) % 2 == 0


def _require_owner(cloud: Cloud, call: Call) -> None:
    owner = ResourceId(call.path).parent if "/providers/" in call.path else call.subject
    tail = call.path.rpartition("/providers/")[2].split("/")
    if len(tail) > 2:
        cloud.resources.require(call.subject)
    elif owner.group:
        cloud.resources.require(owner.group)
