"""The artifacts of runs: listed, and given as addresses to read from and to write to."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import Call
from emulator.arm.ids import ResourceId
from emulator.ml.data_plane import unknown, workspace_route

if TYPE_CHECKING:
    from emulator.cloud import Cloud


def routes(cloud: Cloud) -> list[Route]:
    """Answer for artifacts."""

    def listed(workspace: ResourceId, call: Call) -> Response:
        run = cloud.ml.runs.require(workspace, call.names["run"])
        below = call.query.get("path", "").strip("/")
        names = [
            name
            for name in cloud.ml.runs.artifacts(run).names()
            if not below or name.startswith(f"{below}/")
        ]
        return JSONResponse({"value": [_about(run.id, name) for name in names]})

    def content(workspace: ResourceId, call: Call) -> Response:
        run = cloud.ml.runs.require(workspace, call.names["run"])
        path, place = posixpath.normpath(call.query["path"]), cloud.ml.runs.artifacts(run)
        if path not in place.names():
            raise unknown(f"The artifact '{path}' of the run {run.id}")
        return JSONResponse({**_about(run.id, path), "contentUri": place.signed(path)})

    def made(workspace: ResourceId, call: Call) -> Response:
        run = cloud.ml.runs.require(workspace, call.names["run"])
        place, paths = cloud.ml.runs.artifacts(run), [one["path"] for one in call.body["paths"]]
        return JSONResponse(
            {
                "artifacts": {path: _about(run.id, path) for path in paths},
                "artifactContentInformation": {
                    path: {
                        **_about(run.id, path),
                        "contentUri": place.signed(posixpath.normpath(path), write=True),
                    }
                    for path in paths
                },
                "errors": {},
            }
        )

    found = []
    for service in ("/history/v1.0{ws}", "/artifact/v2.0{ws}"):
        base = f"{service}/experiments/{{experiment}}/runs/{{run}}/artifacts"
        found += [
            workspace_route(cloud, "GET", base, listed),
            workspace_route(cloud, "GET", f"{base}/path", listed),
            workspace_route(cloud, "GET", f"{base}/contentinfo", content),
            workspace_route(cloud, "POST", f"{base}/batch/metadata", made),
        ]
    return found


def _about(run: str, path: str) -> dict[str, Any]:
    return {"path": path, "origin": "ExperimentRun", "container": f"dcid.{run}"}
