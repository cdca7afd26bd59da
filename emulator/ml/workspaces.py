"""Workspaces."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.arm.kinds import Kind
from emulator.arm.resources import Resource
from emulator.ml import datastores

if TYPE_CHECKING:
    from emulator.cloud import Cloud

TYPE = "Microsoft.MachineLearningServices/workspaces"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}")
# What a workspace cannot be without; a container registry is made at the first image otherwise.
_NEEDED = {
    "storageAccount": "Microsoft.Storage/storageAccounts",
    "keyVault": "Microsoft.KeyVault/vaults",
    "applicationInsights": "Microsoft.Insights/components",
}


def kinds() -> list[Kind]:
    """Return the type."""
    return [
        Kind(TYPE, fill=_fill, build=_build, remove=_remove, slow_removal=True, retained=True),
        Kind(datastores.TYPE, has_state=False),
    ]


def data_plane(region: str) -> str:
    """Return the host of a region's services for workspaces."""
    return f"{region}.api.azureml.ms"


def _fill(cloud: Cloud, workspace: Resource, old: Resource | None) -> None:
    properties = workspace.properties
    if not _NAME.fullmatch(workspace.id.name):
        message = (
            f"'{workspace.id.name}' is no name of a workspace: 3 to 33 letters, digits, '-' and"
            " '_', the first a letter or a digit."
        )
        raise ArmError(400, "ValidationError", message)
    for name, type in _NEEDED.items():
        given = properties.get(name)
        if not given:
            raise ArmError(
                400, "ValidationError", f"Missing dependent resources in workspace: {name}."
            )
        if cloud.resources.get(given) is None or ResourceId(given).type.lower() != type.lower():
            raise ArmError(400, "ValidationError", f"The {type} '{given}' was not found.")
    host = data_plane(workspace.region)
    number = uuid.uuid5(uuid.NAMESPACE_URL, f"{cloud.folder}{workspace.id.key}")
    properties |= {
        "workspaceId": old.properties["workspaceId"] if old else str(number),
        "discoveryUrl": f"https://{host}/discovery",
        "mlFlowTrackingUri": f"azureml://{host}/mlflow/v1.0{workspace.id}",
        "tenantId": cloud.settings.tenant,
    }
    properties.setdefault("friendlyName", workspace.id.name)
    properties.setdefault("publicNetworkAccess", "Enabled")


def _build(cloud: Cloud, workspace: Resource) -> None:
    datastores.make_own(cloud, workspace, ResourceId(workspace.properties["storageAccount"]).name)


def _remove(cloud: Cloud, workspace: Resource) -> None:
    cloud.ml.end(workspace.id)
