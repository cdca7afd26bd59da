"""Managed identities: those that are resources, and those that a resource has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.arm.errors import ArmError
from emulator.arm.kinds import Kind
from emulator.arm.resources import Resource
from emulator.entra import Principal, object_id

if TYPE_CHECKING:
    from emulator.cloud import Cloud

USER_ASSIGNED = "Microsoft.ManagedIdentity/userAssignedIdentities"


def fill(cloud: Cloud, resource: Resource, old: Resource | None) -> None:
    """Complete a resource's `identity`. Raises 400 where it names one that is not there."""
    identity = resource.body.get("identity")
    if not identity:
        return
    if "systemassigned" in str(identity.get("type", "")).lower():
        principal = _principal(resource, "system")
        cloud.entra.add(principal)
        identity |= {"principalId": principal.id, "tenantId": cloud.settings.tenant}
    for name in identity.get("userAssignedIdentities") or {}:
        found = cloud.resources.get(name)
        if found is None:
            message = f"The user assigned identity '{name}' was not found."
            raise ArmError(400, "FailedIdentityOperation", message)
        shown = {key: found.properties[key] for key in ("principalId", "clientId")}
        identity["userAssignedIdentities"][name] = shown


def forget(cloud: Cloud, resource: Resource) -> None:
    """Remove the principals of a resource that goes."""
    identity = resource.body.get("identity") or {}
    own = resource.id.type.lower() == USER_ASSIGNED.lower()
    id = resource.properties.get("principalId") if own else identity.get("principalId")
    if id:
        cloud.entra.remove(id)


def principal_of(cloud: Cloud, resource: Resource) -> Principal | None:
    """Return who a resource acts as: its user-assigned identity, else its own, else None."""
    identity = resource.body.get("identity") or {}
    named = [one["principalId"] for one in (identity.get("userAssignedIdentities") or {}).values()]
    id = (named or [identity.get("principalId", "")])[0]
    return cloud.entra.find(id) if id else None


def _fill_user_assigned(cloud: Cloud, resource: Resource, old: Resource | None) -> None:
    principal = _principal(resource, "user")
    cloud.entra.add(principal)
    resource.properties.update(
        principalId=principal.id, clientId=principal.client, tenantId=cloud.settings.tenant
    )


def _principal(resource: Resource, kind: str) -> Principal:
    seed = f"{kind}:{resource.id.text}"
    return Principal(object_id(seed), object_id(f"client:{seed}"), resource.id.name)


KIND = Kind(USER_ASSIGNED, fill=_fill_user_assigned, has_state=False)
