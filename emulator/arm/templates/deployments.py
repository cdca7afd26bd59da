"""Deployments of a template into a resource group: make, foresee, check, list."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import GROUP, Call, route
from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.arm.resources import Resource, now
from emulator.arm.templates.execution import authorize, execute, outputs_of
from emulator.arm.templates.template import Planned, Template, read_template
from emulator.arm.templates.whatif import changes

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_DEPLOYMENT = f"{GROUP}/providers/microsoft.resources/deployments/{{name}}"


def routes(cloud: Cloud) -> list[Route]:
    """Return the routes of deployments."""

    def put(call: Call) -> Response:
        template = read(call)
        authorize(cloud, call.caller, template)
        deployment = _deployment(call, template)
        cloud.resources.put(deployment)
        operation = cloud.operations.start(
            deployment.id.text,
            _address(cloud),
            lambda: _make(cloud, deployment, template),
            lambda error: deployment.properties.update(
                provisioningState="Failed", error=error.body()
            ),
        )
        return JSONResponse(deployment.shown(), 201, headers=operation.headers())

    def validate(call: Call) -> Response:
        template = read(call)
        authorize(cloud, call.caller, template)
        deployment = _deployment(call, template)
        deployment.properties["provisioningState"] = "Succeeded"
        return JSONResponse(deployment.shown())

    def what_if(call: Call) -> Response:
        template = read(call)

        def work() -> dict[str, Any]:
            return {"changes": changes(cloud, template)}

        operation = cloud.operations.start(
            call.subject.text,
            _address(cloud),
            lambda: {"status": "Succeeded", "properties": work()},
        )
        return Response(status_code=202, headers=operation.headers())

    def operations(call: Call) -> Response:
        deployment = cloud.resources.require(call.subject)
        return JSONResponse({"value": deployment.private["operations"]})

    def export(call: Call) -> Response:
        deployment = cloud.resources.require(call.subject)
        return JSONResponse({"template": deployment.private["template"]})

    def read(call: Call) -> Template:
        properties = call.body.get("properties") or {}
        if str(properties.get("mode", "")).lower() not in ("incremental", ""):
            raise ArmError(501, "NotEmulated", "The emulator deploys incrementally only.")
        return read_template(cloud, ResourceId(call.path).group, properties)

    return [
        route("PUT", _DEPLOYMENT, put),
        route("POST", f"{_DEPLOYMENT}/validate", validate),
        route("POST", f"{_DEPLOYMENT}/whatif", what_if),
        route("POST", f"{_DEPLOYMENT}/exporttemplate", export),
        route("GET", f"{_DEPLOYMENT}/operations", operations),
    ]


def _deployment(call: Call, template: Template) -> Resource:
    id = ResourceId(call.path.removesuffix("/validate"))
    properties: dict[str, Any] = {
        "provisioningState": "Running",
        "mode": "Incremental",
        "correlationId": str(uuid.uuid4()),
        "timestamp": now(),
        "duration": "PT0S",
        "parameters": call.body["properties"].get("parameters") or {},
        "outputResources": [],
    }
    body = {"id": id.text, "name": id.name, "type": id.type, "properties": properties}
    private = {"template": call.body["properties"]["template"], "operations": []}
    return Resource(id, body, private)


def _make(cloud: Cloud, deployment: Resource, template: Template) -> None:
    def made(planned: Planned) -> None:
        deployment.properties["outputResources"].append({"id": planned.id.text})
        deployment.private["operations"].append(_operation(deployment, planned))

    execute(cloud, template, made)
    deployment.properties.update(outputs=outputs_of(template), provisioningState="Succeeded")


def _operation(deployment: Resource, planned: Planned) -> dict[str, Any]:
    id = f"{len(deployment.private['operations']):016X}"
    return {
        "id": f"{deployment.id.text}/operations/{id}",
        "operationId": id,
        "properties": {
            "provisioningOperation": "Create",
            "provisioningState": "Succeeded",
            "targetResource": {
                "id": planned.id.text,
                "resourceName": planned.id.name,
                "resourceType": planned.id.type,
            },
        },
    }


def _address(cloud: Cloud) -> str:
    return f"{cloud.subscription}/providers/Microsoft.Resources/locations/eastus2"
