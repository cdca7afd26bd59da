"""Deployment stacks: a template whose resources stay together, and go together."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm import lifecycle
from emulator.arm.calls import GROUP, Call, route
from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.arm.resources import Resource, now
from emulator.arm.templates.execution import authorize, execute, outputs_of
from emulator.arm.templates.template import Planned, Template, read_template

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_STACK = f"{GROUP}/providers/microsoft.resources/deploymentstacks/{{name}}"
_DELETE = "unmanageAction.Resources"


def routes(cloud: Cloud) -> list[Route]:
    """Return the routes of stacks; GET and lists are the plane's own."""

    def put(call: Call) -> Response:
        properties = call.body["properties"]
        _require(properties, "actionOnUnmanage", "denySettings")
        template = read_template(cloud, ResourceId(call.path).group, properties)
        authorize(cloud, call.caller, template)
        with cloud.resources.lock:
            old = cloud.resources.get(call.id)
            _refuse_busy(old)
            stack = _stack(call, old)
            cloud.resources.put(stack)
        operation = cloud.operations.start(
            stack.id.text,
            _address(cloud),
            lambda: _make(cloud, stack, template),
            lambda error: _settle(stack, error),
        )
        return JSONResponse(stack.shown(), 200 if old else 201, headers=operation.headers())

    def delete(call: Call) -> Response:
        stack = cloud.resources.get(call.id)
        if stack is None:
            return Response(status_code=204)
        with cloud.resources.lock:
            _refuse_busy(stack)
            stack.busy = True
            stack.properties["provisioningState"] = "deletingResources"
        managed = [one["id"] for one in stack.properties["resources"]]
        doomed = managed if call.query.get(_DELETE, "detach").lower() == "delete" else []

        def work() -> None:
            _, failed = _remove(cloud, doomed)
            if failed:
                stack.properties["failedResources"] = failed
                raise _undeleted(failed)
            cloud.resources.remove(stack.id)

        operation = cloud.operations.start(
            stack.id.text, _address(cloud), work, lambda error: _settle(stack, error)
        )
        return Response(status_code=202, headers=operation.headers())

    def export(call: Call) -> Response:
        stack = cloud.resources.require(call.subject)
        return JSONResponse({"template": stack.private["template"]})

    return [
        route("PUT", _STACK, put),
        route("DELETE", _STACK, delete),
        route("POST", f"{_STACK}/exporttemplate", export),
    ]


def _stack(call: Call, old: Resource | None) -> Resource:
    sent = dict(call.body["properties"])
    template = sent.pop("template")
    before = old.properties if old else {}
    properties = {
        **sent,
        "provisioningState": "deploying",
        "correlationId": str(uuid.uuid4()),
        "resources": before.get("resources", []),
        "detachedResources": [],
        "deletedResources": [],
        "failedResources": [],
    }
    id = old.id if old else call.id
    data = {"createdAt": now(), "createdByType": "User", "lastModifiedAt": now()}
    body = {
        "id": id.text,
        "name": id.name,
        "type": "Microsoft.Resources/deploymentStacks",
        "tags": call.body.get("tags") or {},
        "systemData": data,
        "properties": properties,
    }
    return Resource(id, body, {"template": template}, busy=True)


def _make(cloud: Cloud, stack: Resource, template: Template) -> None:
    """Make what the template says, then see to what it no longer says."""
    before = [one["id"] for one in stack.properties["resources"]]
    made: list[str] = []

    def note(planned: Planned) -> None:
        made.append(planned.id.text)
        # also what a failed run made is managed: the next run and a removal must find it
        stack.properties["resources"] = _managed(dict.fromkeys([*before, *made]))

    try:
        execute(cloud, template, note)
        stack.properties["outputs"] = outputs_of(template)
        _unmanage(cloud, stack, [id for id in before if id.lower() not in _small(made)])
        stack.properties["resources"] = _managed(made)
    except ArmError as error:
        failed = [{"id": one["target"], "error": one} for one in error.details if "target" in one]
        stack.properties["failedResources"] = failed
        raise ArmError(
            error.status,
            "DeploymentStackDeploymentFailed",
            f"One or more resources could not be deployed. Correlation id:"
            f" '{stack.properties['correlationId']}'.",
            details=[error.body()],
        ) from None
    _settle(stack)


def _settle(stack: Resource, error: ArmError | None = None) -> None:
    stack.properties["provisioningState"] = "failed" if error else "succeeded"
    stack.properties["error"] = error.body() if error else None
    stack.properties["duration"] = "PT1S"
    stack.busy = False


def _unmanage(cloud: Cloud, stack: Resource, gone: list[str]) -> None:
    if stack.properties["actionOnUnmanage"].get("resources", "detach").lower() != "delete":
        stack.properties["detachedResources"] = [{"id": id} for id in gone]
        return
    deleted, failed = _remove(cloud, gone)
    stack.properties.update(deletedResources=deleted, failedResources=failed)
    if failed:
        raise _undeleted(failed)


def _remove(cloud: Cloud, ids: Iterable[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Remove resources, the last made first; return those that went and those that did not."""
    deleted, failed = [], []
    for id in reversed(list(ids)):
        if cloud.resources.get(id) is None:
            continue
        try:
            operation = lifecycle.remove(cloud, ResourceId(id))
            if operation is not None:
                operation.wait()
            deleted.append({"id": id})
        except ArmError as error:
            failed.append({"id": id, "error": error.body()})
    return deleted, failed


def _undeleted(failed: list[dict[str, Any]]) -> ArmError:
    return ArmError(
        409,
        "DeploymentStackDeleteResourcesFailed",
        "One or more resources could not be deleted.",
        details=[{**one["error"], "target": one["id"]} for one in failed],
    )


def _managed(ids: Iterable[str]) -> list[dict[str, str]]:
    return [{"id": id, "status": "managed", "denyStatus": "none"} for id in ids]


def _small(ids: Iterable[str]) -> set[str]:
    return {id.lower() for id in ids}


def _require(properties: dict[str, Any], *names: str) -> None:
    for name in names:
        if name not in properties:
            message = f"The required property '{name}' is missing."
            raise ArmError(400, "InvalidDeploymentStack", message)


def _refuse_busy(stack: Resource | None) -> None:
    if stack is not None and stack.busy:
        raise ArmError(
            409,
            "DeploymentStackInNonTerminalState",
            f"The deployment stack '{stack.id.name}' is in a non-terminal state.",
        )


def _address(cloud: Cloud) -> str:
    return f"{cloud.subscription}/providers/Microsoft.Resources/locations/eastus2"
