"""Command jobs: asked for, listed, cancelled. How they run is in `execution.py`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import WORKSPACE, Call, route
from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.arm.kinds import Kind
from emulator.arm.lifecycle import apply
from emulator.arm.resources import Resource
from emulator.ml import bindings, execution
from emulator.ml.processes import Shape
from emulator.ml.runs import ENDED, Run
from emulator.ml.workspaces import data_plane

if TYPE_CHECKING:
    from emulator.cloud import Cloud

TYPE = "Microsoft.MachineLearningServices/workspaces/jobs"


def kinds() -> list[Kind]:
    """Return the type."""
    return [Kind(TYPE, fill=_fill, refuse_removal=_refuse_removal, has_state=False)]


def routes(cloud: Cloud) -> list[Route]:
    """Answer for jobs."""

    def put(call: Call) -> Response:
        applied = apply(cloud, call.id, call.body)
        if applied.created:
            _start(cloud, applied.resource)
        shown = _shown(cloud, applied.resource)
        return JSONResponse(shown, 201 if applied.created else 200)

    def get(call: Call) -> Response:
        return JSONResponse(_shown(cloud, cloud.resources.require(call.id)))

    def listed(call: Call) -> Response:
        found = [_shown(cloud, one) for one in reversed(cloud.resources.children(call.path))]
        if tag := call.query.get("tag"):
            name, _, value = tag.partition("=")
            found = [one for one in found if one["properties"]["tags"].get(name) == (value or None)]
        return JSONResponse({"value": found})

    def cancel(call: Call) -> Response:
        job = cloud.resources.require(call.subject)
        run = _run(cloud, job)
        if run.status in ENDED:
            return Response(status_code=200)
        run.become("CancelRequested")
        run.stopped.set()
        address = f"{cloud.subscription}/providers/Microsoft.MachineLearningServices/locations"
        region = cloud.resources.require(job.id.parent).region
        operation = cloud.operations.start(job.id.text, f"{address}/{region}", run.over.wait)
        headers = operation.headers()
        del headers["Azure-AsyncOperation"]  # Azure names only where the result will be
        return Response(status_code=202, headers=headers)

    return [
        route("GET", f"{WORKSPACE}/jobs", listed),
        route("PUT", f"{WORKSPACE}/jobs/{{name}}", put),
        route("GET", f"{WORKSPACE}/jobs/{{name}}", get),
        route("POST", f"{WORKSPACE}/jobs/{{name}}/cancel", cancel),
    ]


def _fill(cloud: Cloud, job: Resource, old: Resource | None) -> None:
    sent = job.properties
    if old is not None:  # only what people say about a job can change
        kept = {name: sent[name] for name in ("tags", "displayName", "isArchived") if name in sent}
        job.body["properties"] = {**old.properties, **kept}
        return
    if sent.get("jobType") != "Command":
        raise ArmError(
            400, "UserError", f"Jobs of the type {sent.get('jobType')} are not emulated."
        )
    _check(cloud, job)
    name, workspace = job.id.name, job.id.parent
    host = data_plane(cloud.resources.require(workspace).region)
    for output, asked in (sent.get("outputs") or {}).items():
        if not asked.get("uri"):
            path = f"azureml/{name}/{output}/"
            asked["uri"] = f"azureml://datastores/workspaceblobstore/paths/{path}"
    sent |= {
        "experimentName": sent.get("experimentName") or "Default",
        "displayName": sent.get("displayName") or name,
        "isArchived": False,
        "tags": sent.get("tags") or {},
        "properties": {**(sent.get("properties") or {}), "_azureml.ComputeTargetType": "amlctrain"},
        "outputs": {**(sent.get("outputs") or {}), bindings.DEFAULT: _artifacts(name)},
        "services": {
            "Tracking": _service("Tracking", f"azureml://{host}/mlflow/v1.0{workspace}?"),
            "Studio": _service("Studio", f"https://ml.azure.com/runs/{name}?wsid={workspace}"),
        },
    }


def _check(cloud: Cloud, job: Resource) -> None:
    sent = job.properties
    cluster = cloud.resources.get(sent.get("computeId") or "")
    if cluster is None:
        raise ArmError(400, "UserError", f"The compute '{sent.get('computeId')}' was not found.")
    for key in ("codeId", "environmentId"):
        if sent.get(key) and cloud.resources.get(sent[key]) is None:
            raise ArmError(400, "UserError", f"{key} '{sent[key]}' was not found.")
    wanted = int((sent.get("resources") or {}).get("instanceCount") or 1)
    most = int(cluster.properties["properties"]["scaleSettings"]["maxNodeCount"])
    if wanted > most:
        message = f"The job wants {wanted} nodes; '{cluster.id.name}' has at most {most}."
        raise ArmError(400, "UserError", message)
    bindings.check(sent)


def _refuse_removal(cloud: Cloud, job: Resource) -> None:
    if _run(cloud, job).status not in ENDED:
        raise ArmError(409, "Conflict", f"The job '{job.id.name}' is still active.")


def _start(cloud: Cloud, job: Resource) -> None:
    properties = job.properties
    run = cloud.ml.runs.begin(
        job.id.parent, properties["experimentName"], job.id.name, properties["displayName"]
    )
    work = execution.Work(
        job,
        run,
        ResourceId(properties["computeId"]),
        _shape(properties),
        cloud.folder / "jobs" / job.id.name,
    )
    thread = threading.Thread(target=execution.execute, args=(cloud, work), daemon=True)
    thread.start()
    cloud.ml.threads.append(thread)


def _shape(job: dict[str, Any]) -> Shape:
    distribution = job.get("distribution") or {}
    return Shape(
        int((job.get("resources") or {}).get("instanceCount") or 1),
        int(distribution.get("processCountPerInstance") or 1),
        distribution.get("distributionType") == "PyTorch",
    )


def _shown(cloud: Cloud, job: Resource) -> dict[str, Any]:
    shown = job.shown()
    shown["properties"]["status"] = _run(cloud, job).status
    return shown


def _run(cloud: Cloud, job: Resource) -> Run:
    return cloud.ml.runs.require(job.id.parent, job.id.name)


def _artifacts(name: str) -> dict[str, str]:
    return {
        "jobOutputType": "uri_folder",
        "mode": "ReadWriteMount",
        "uri": f"azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.{name}",
    }


def _service(type: str, endpoint: str) -> dict[str, str]:
    return {"jobServiceType": type, "endpoint": endpoint}
