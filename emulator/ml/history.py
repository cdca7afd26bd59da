"""Run history: how a run is, why it failed, and where its logs are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import Call
from emulator.arm.ids import ResourceId
from emulator.ml.data_plane import workspace_route
from emulator.ml.runs import Run

if TYPE_CHECKING:
    from emulator.cloud import Cloud


def routes(cloud: Cloud) -> list[Route]:
    """Answer for runs."""

    def details(workspace: ResourceId, call: Call) -> Response:
        return JSONResponse(_details(cloud, cloud.ml.runs.require(workspace, call.names["run"])))

    def shown(workspace: ResourceId, call: Call) -> Response:
        return JSONResponse(_shown(cloud.ml.runs.require(workspace, call.names["run"])))

    def data(workspace: ResourceId, call: Call) -> Response:
        run = cloud.ml.runs.require(workspace, call.body["runId"])
        return JSONResponse({"runMetadata": {**_shown(run), "outputs": {}}})

    base = "/history/v1.0{ws}"
    in_experiment = f"{base}/experiments/{{experiment}}/runs/{{run}}"
    return [
        workspace_route(cloud, "GET", f"{base}/runs/{{run}}/details", details),
        workspace_route(cloud, "GET", f"{in_experiment}/details", details),
        workspace_route(cloud, "GET", f"{base}/runs/{{run}}", shown),
        workspace_route(cloud, "POST", f"{base}/rundata", data),
    ]


def _details(cloud: Cloud, run: Run) -> dict[str, Any]:
    artifacts = cloud.ml.runs.artifacts(run)
    return {
        "runId": run.id,
        "status": run.status,
        "startTimeUtc": run.started or None,
        "endTimeUtc": run.ended or None,
        "properties": {"attempts": str(run.attempts)},
        "logFiles": {name: artifacts.signed(name) for name in run.logs},
        "warnings": [],
        "error": {"error": run.error} if run.error else None,
        "inputDatasets": [],
        "outputDatasets": [],
        "tags": run.tags,
        "runDefinition": None,
    }


def _shown(run: Run) -> dict[str, Any]:
    return {
        "runId": run.id,
        "runUuid": run.id,
        "displayName": run.name,
        "status": run.status,
        "startTimeUtc": run.started or None,
        "endTimeUtc": run.ended or None,
        "dataContainerId": f"dcid.{run.id}",
        "tags": run.tags,
        "properties": {},
    }
