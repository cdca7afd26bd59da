"""What an identity must be allowed before Azure ML works with blobs or images in its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.arm.errors import ArmError
from emulator.arm.identities import principal_of
from emulator.arm.ids import ResourceId
from emulator.arm.resources import Resource

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
PULL = "Microsoft.ContainerRegistry/registries/pull/read"


def may(cloud: Cloud, principal: str, storage: str, *, write: bool) -> bool:
    """Tell whether a principal may read, or write, the blobs of a storage account."""
    return cloud.roles.permits(principal, f"{_BLOBS}/{'write' if write else 'read'}", storage)


def require_mounts(cloud: Cloud, workspace: ResourceId, cluster: Resource) -> None:
    """Raise 403 where a cluster's identity may not write what its jobs are to write.

    With keys the service mounts in its own name, and nobody's role matters.
    """
    properties = cloud.resources.require(workspace).properties
    if properties.get("systemDatastoresAuthMode", "AccessKey").lower() == "accesskey":
        return
    principal, storage = principal_of(cloud, cluster), properties["storageAccount"]
    if principal is None:
        message = (
            "StreamAccess.Authentication: the workspace's datastores use identities and the cluster"
            f" '{cluster.id.name}' has none."
        )
        raise ArmError(403, "UserError", message)
    if not may(cloud, principal.id, storage, write=True):
        message = (
            f"ScriptExecution.StreamAccess.Authentication: the identity '{principal.name}' of the"
            f" cluster has no permission to write to '{ResourceId(storage).name}'; it needs the"
            " role Storage Blob Data Contributor."
        )
        raise ArmError(403, "UserError", message)


def require_model(cloud: Cloud, workspace: ResourceId, endpoint: Resource) -> None:
    """Raise 400 where an endpoint's identity may not read models or pull images."""
    properties = cloud.resources.require(workspace).properties
    principal = principal_of(cloud, endpoint)
    if principal is None:
        raise ArmError(400, "UserError", f"The endpoint '{endpoint.id.name}' has no identity.")
    # the roles that the service itself gives to an identity that belongs to the endpoint alone
    if principal.id == (endpoint.body.get("identity") or {}).get("principalId"):
        return
    if not may(cloud, principal.id, properties["storageAccount"], write=False):
        raise _lacking(principal.name, "Storage Blob Data Reader", properties["storageAccount"])
    registry = properties.get("containerRegistry")
    if registry and not cloud.roles.permits(principal.id, PULL, registry):
        raise _lacking(principal.name, "AcrPull", registry)


def _lacking(name: str, role: str, scope: str) -> ArmError:
    return ArmError(
        400,
        "AuthorizationFailed",
        f"The managed identity '{name}' does not have the role {role} on {scope}. Grant it and"
        " deploy again; see https://aka.ms/oe-tsg#authorization-error",
    )
