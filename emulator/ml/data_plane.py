"""The services of a workspace that clients reach directly: run history, artifacts, MLflow.

They take Resource Manager's tokens, and the token that every job is given for its own run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import Call, route
from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.entra import MACHINE_LEARNING
from emulator.ml.workspaces import data_plane

if TYPE_CHECKING:
    from emulator.cloud import Cloud

WORKSPACE = (
    "/subscriptions/{subscription}/resourceGroups/{group}/providers"
    "/Microsoft.MachineLearningServices/workspaces/{workspace}"
)
AUDIENCE = "https://ml.azure.com"
RUN = "run"  # the claim of a job's token that names its run
_RUNS = "Microsoft.MachineLearningServices/workspaces/experiments/runs"

Handler = Callable[[ResourceId, Call], Response]


def mount(cloud: Cloud) -> None:
    """Answer under the host names of all regions."""
    from emulator.ml import artifacts, history, tracking

    host = data_plane("*")
    cloud.hosts.add(host, [Route("/discovery", _discovery)])
    for part in (history, artifacts, tracking):
        cloud.hosts.add(host, part.routes(cloud))


def workspace_route(cloud: Cloud, methods: str, path: str, handler: Handler) -> Route:
    """Return a route below a workspace; `path` has `{ws}` where the workspace's id stands."""

    def handle(call: Call) -> Response:
        names = call.names
        id = ResourceId(
            f"/subscriptions/{names['subscription']}/resourceGroups/{names['group']}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{names['workspace']}"
        )
        workspace = cloud.resources.require(id)
        _require_right(cloud, workspace.id, call)
        return handler(workspace.id, call)

    return route(methods, path.replace("{ws}", WORKSPACE), handle)


def _require_right(cloud: Cloud, workspace: ResourceId, call: Call) -> None:
    given = call.headers.get("authorization", "")
    claims = cloud.entra.claims(given, MACHINE_LEARNING)
    if claims.get(RUN):
        return  # the job's own token, for what it tells about itself
    principal = cloud.entra.verify(given, MACHINE_LEARNING)
    right = "read" if call.method == "GET" or call.path.endswith("/search") else "write"
    cloud.roles.require(principal, f"{_RUNS}/{right}", workspace.text)


def _discovery(request: Any) -> Response:
    base = f"https://{request.url.hostname}"
    names = (
        *("api", "history", "artifacts", "mlflow", "catalog", "experimentation", "hyperdrive"),
        *("gallery", "inference", "labeling", "mms", "modelmanagement", "notebooks", "pipelines"),
    )
    return JSONResponse({**dict.fromkeys(names, base), "studio": "https://ml.azure.com"})


def unknown(what: str) -> ArmError:
    """Say that something is not there, as these services do."""
    return ArmError(404, "UserError", f"{what} was not found.")
