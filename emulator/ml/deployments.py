"""Deployments of online endpoints: one model version in one container each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import WORKSPACE, Call, route
from emulator.arm.errors import ArmError
from emulator.arm.kinds import Kind
from emulator.arm.resources import Resource
from emulator.ml import containers, endpoints, rights
from emulator.ml.containers import Container
from emulator.ml.dockerfile import CannotBuild

if TYPE_CHECKING:
    from emulator.cloud import Cloud

TYPE = f"{endpoints.TYPE}/deployments"
# what a new container is made of; all else changes without one
_CONTENT = ("model", "environmentId", "codeConfiguration", "environmentVariables", "instanceType")
_MOST_INSTANCES = 20
_LINES = 5000


def kinds() -> list[Kind]:
    """Return the type."""
    return [
        Kind(
            TYPE,
            fill=_fill,
            build=_build,
            refuse_removal=_refuse_removal,
            remove=_remove,
            slow_removal=True,
        )
    ]


def routes(cloud: Cloud) -> list[Route]:
    """Answer for logs and sizes."""
    deployment = f"{WORKSPACE}/onlineendpoints/{{endpoint}}/deployments/{{name}}"

    def logs(call: Call) -> Response:
        cloud.resources.require(call.subject)
        lines = cloud.ml.log_of(call.subject).splitlines()
        tail = min(int(call.body.get("tail") or _LINES), _LINES)
        return JSONResponse({"content": "\n".join(lines[-tail:])})

    def skus(call: Call) -> Response:
        found = cloud.resources.require(call.subject)
        capacity = {"minimum": 1, "maximum": _MOST_INSTANCES, "default": 1, "scaleType": "Manual"}
        sku = {"name": "Default"}
        value = {"resourceType": found.id.type, "sku": sku, "capacity": capacity}
        return JSONResponse({"value": [value]})

    return [
        route("POST", f"{deployment}/getlogs", logs),
        route("GET", f"{deployment}/skus", skus),
    ]


def scale(cloud: Cloud, deployment: Resource, instances: int) -> None:
    """Give a deployment so many instances: they take quota, and they are billed."""
    cloud.quota.take(
        deployment.id.text,
        cloud.resources.require(deployment.id.parent.parent).region,
        deployment.properties["instanceType"],
        instances,
        endpoint=True,
    )
    deployment.body["sku"]["capacity"] = instances
    size = deployment.properties["instanceType"]
    cloud.ledger.begin(deployment.id.text, size, instances, by_the_hour=True)


def become(deployment: Resource, *, scaling: bool) -> None:
    """Let a deployment be at work on its instances, or be done; it answers all the time."""
    deployment.properties["provisioningState"] = "Scaling" if scaling else "Succeeded"
    deployment.busy = scaling


def _fill(cloud: Cloud, deployment: Resource, old: Resource | None) -> None:
    properties = deployment.properties
    sku = deployment.body.setdefault("sku", {"name": "Default"})
    sku.setdefault("capacity", 1)
    if not 1 <= int(sku["capacity"]) <= _MOST_INSTANCES:
        raise ArmError(400, "UserError", f"sku.capacity must be 1 to {_MOST_INSTANCES}.")
    if not properties.get("instanceType"):
        raise ArmError(400, "UserError", "A managed deployment needs an instanceType.")
    for key in ("model", "environmentId"):
        given = properties.get(key)
        if given and cloud.resources.get(given.removeprefix("azureml:")) is None:
            raise ArmError(400, "UserError", f"{key} '{given}' was not found.")
    if not properties.get("environmentId"):
        message = "A deployment without an environment (MLflow's no-code form) is not emulated."
        raise ArmError(400, "UserError", message)
    before = old.properties if old else {}
    deployment.private["remade"] = any(before.get(key) != properties.get(key) for key in _CONTENT)
    properties |= {
        "endpointComputeType": "Managed",
        "properties": properties.get("properties") or {},
        "scaleSettings": properties.get("scaleSettings") or {"scaleType": "Default"},
    }


def _build(cloud: Cloud, deployment: Resource) -> None:
    endpoint = cloud.resources.require(deployment.id.parent)
    scale(cloud, deployment, int(deployment.body["sku"]["capacity"]))
    if not deployment.private["remade"] and cloud.ml.container(deployment.id):
        return
    rights.require_model(cloud, endpoint.id.parent, endpoint)
    try:
        container = containers.create(cloud, deployment)
    except CannotBuild as error:
        raise ArmError(400, "ImageBuildFailure", f"The image build failed: {error}") from None
    _start(cloud, deployment, container)


def _start(cloud: Cloud, deployment: Resource, container: Container) -> None:
    """Start a container; what served before is ended once it is ready, or kept if it never is."""
    container.start()
    if cloud.faults.take("crash", deployment.id.text):
        with container.log.open("a", encoding="utf-8") as log:
            log.write("CUDA out of memory\n")
        container.close()
    try:
        containers.wait_until_ready(container, deployment.properties)
    except ArmError:
        cloud.ml.keep_log(deployment.id, container.log)
        container.close()
        raise
    cloud.ml.serve(deployment.id, container)


def _refuse_removal(cloud: Cloud, deployment: Resource) -> None:
    endpoint = cloud.resources.require(deployment.id.parent)
    shares: dict[str, Any] = endpoint.properties.get("traffic") or {}
    if shares.get(deployment.id.name):
        message = f"The deployment '{deployment.id.name}' has traffic; set it to 0 before."
        raise ArmError(400, "UserError", message)


def _remove(cloud: Cloud, deployment: Resource) -> None:
    cloud.ml.stop(deployment.id)
    cloud.quota.release(deployment.id.text)
