"""Online endpoints: a name, two keys, and who answers how much of what is asked."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import WORKSPACE, Call, route
from emulator.arm.errors import ArmError
from emulator.arm.kinds import Kind
from emulator.arm.resources import Resource

if TYPE_CHECKING:
    from emulator.cloud import Cloud

TYPE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"
SUFFIX = "inference.ml.azure.com"
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9]|-(?!$)){2,31}")
_MOST_MIRRORED = 50  # per cent


def kinds() -> list[Kind]:
    """Return the type."""
    return [Kind(TYPE, fill=_fill, build=_build, slow_removal=True)]


def routes(cloud: Cloud) -> list[Route]:
    """Answer for keys."""

    def keys(call: Call) -> Response:
        return JSONResponse(cloud.resources.require(call.subject).private["keys"])

    def regenerate(call: Call) -> Response:
        held = cloud.resources.require(call.subject).private["keys"]
        wanted = call.body.get("keyType")
        if wanted not in ("Primary", "Secondary"):
            raise ArmError(400, "UserError", "keyType is Primary or Secondary.")
        # azure-ai-ml sends the old key as `keyValue`, and the service makes a new one all the same
        held[f"{wanted.lower()}Key"] = secrets.token_urlsafe(48)
        region = cloud.resources.require(call.subject.parent).region
        address = f"{cloud.subscription}/providers/Microsoft.MachineLearningServices/locations"
        operation = cloud.operations.start(call.subject.text, f"{address}/{region}", lambda: None)
        return Response(status_code=202, headers=operation.headers())

    endpoint = f"{WORKSPACE}/onlineendpoints/{{name}}"
    return [
        route("POST", f"{endpoint}/listkeys", keys),
        route("POST", f"{endpoint}/regeneratekeys", regenerate),
    ]


def find(cloud: Cloud, host: str) -> Resource | None:
    """Return the endpoint that answers under a host name."""
    name, region, *_ = [*host.split("."), ""]
    for one in cloud.resources.of_type(TYPE):
        if one.id.name.lower() == name and _region(cloud, one) == region:
            return one
    return None


def _fill(cloud: Cloud, endpoint: Resource, old: Resource | None) -> None:
    properties, name = endpoint.properties, endpoint.id.name
    if not _NAME.fullmatch(name):
        message = (
            f"'{name}' is no name of an endpoint: 3 to 32 letters, digits and '-', the first a"
            " letter, the last no '-'."
        )
        raise ArmError(400, "BadArgument", message)
    if properties.get("authMode") != "Key":
        raise ArmError(400, "UserError", f"authMode {properties.get('authMode')} is not emulated.")
    region = _region(cloud, endpoint)
    taken = find(cloud, f"{name.lower()}.{region}")
    if taken is not None and taken.id.key != endpoint.id.key:
        raise ArmError(409, "Conflict", f"There already is an endpoint '{name}' in {region}.")
    traffic, mirror = properties.get("traffic") or {}, properties.get("mirrorTraffic") or {}
    _check_shares(cloud, endpoint, traffic, mirror)
    given = properties.pop("keys", None) or {}
    if old is None:
        endpoint.private["keys"] = {
            "primaryKey": given.get("primaryKey") or secrets.token_urlsafe(48),
            "secondaryKey": given.get("secondaryKey") or secrets.token_urlsafe(48),
        }
    if not endpoint.body.get("identity"):
        endpoint.body["identity"] = {"type": "SystemAssigned"}
    base = f"https://{name}.{region}.{SUFFIX}"
    properties |= {
        "traffic": traffic,
        "mirrorTraffic": mirror,
        "properties": properties.get("properties") or {},
        "publicNetworkAccess": properties.get("publicNetworkAccess") or "Enabled",
        "scoringUri": f"{base}/score",
        "swaggerUri": f"{base}/swagger.json",
    }


def _build(cloud: Cloud, endpoint: Resource) -> None:
    """Do nothing more: an endpoint without deployments runs nothing."""


def _check_shares(
    cloud: Cloud, endpoint: Resource, traffic: dict[str, Any], mirror: dict[str, Any]
) -> None:
    for name, share in {**traffic, **mirror}.items():
        if share and cloud.resources.get(endpoint.id.child("deployments", name)) is None:
            message = f"The deployment '{name}' that traffic names does not exist."
            raise ArmError(400, "UserError", message)
    if sum(traffic.values()) not in (0, 100) or any(share < 0 for share in traffic.values()):
        raise ArmError(400, "UserError", "The shares of the traffic must sum to 0 or to 100.")
    if len([share for share in mirror.values() if share]) > 1:
        raise ArmError(400, "UserError", "Traffic can be mirrored to one deployment only.")
    for name, share in mirror.items():
        if share > _MOST_MIRRORED or (share and traffic.get(name)):
            message = (
                f"At most {_MOST_MIRRORED} % can be mirrored, to a deployment without traffic."
            )
            raise ArmError(400, "UserError", message)


def _region(cloud: Cloud, endpoint: Resource) -> str:
    return endpoint.region or cloud.resources.require(endpoint.id.parent).region
