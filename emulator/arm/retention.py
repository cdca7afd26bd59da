"""Soft delete: names that stay taken after their resource is gone, and how they are set free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any  # Any: resources are JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import Call, route
from emulator.arm.errors import ArmError, not_found
from emulator.arm.ids import ResourceId
from emulator.arm.resources import Resource, now

if TYPE_CHECKING:
    from emulator.cloud import Cloud

VAULT = "Microsoft.KeyVault/vaults"
_SUBSCRIPTION = "/subscriptions/{subscription}/providers/microsoft.keyvault"
_DELETED = f"{_SUBSCRIPTION}/locations/{{region}}/deletedvaults/{{name}}"


def keep(cloud: Cloud, resource: Resource) -> None:
    """Keep the name of a resource that was removed."""
    cloud.retained[resource.id.key] = resource


def refuse_retained(cloud: Cloud, id: ResourceId, body: dict[str, Any]) -> None:
    """Raise 409 where a removed resource still holds this name and it is not to be recovered."""
    found = find(cloud, id)
    if found is None:
        return
    if (body.get("properties") or {}).get("createMode") == "recover":
        del cloud.retained[found.id.key]
        return
    if id.type.lower() == VAULT.lower():
        raise ArmError(
            409,
            "ConflictError",
            f"A vault with the same name already exists in deleted state. You need to either"
            f" recover or purge existing key vault. (vault: {id.name})",
        )
    raise ArmError(409, "Conflict", "Soft-deleted workspace exists. Please purge or recover it.")


def find(cloud: Cloud, id: ResourceId) -> Resource | None:
    """Return the removed resource that holds a name; vault names are unique in all of Azure."""
    if id.type.lower() != VAULT.lower():
        return cloud.retained.get(id.key)
    same = (
        one
        for one in cloud.retained.values()
        if one.id.type.lower() == VAULT.lower() and one.id.name.lower() == id.name.lower()
    )
    return next(same, None)


def routes(cloud: Cloud) -> list[Route]:
    """Return the routes that list and purge removed vaults."""

    def deleted() -> list[Resource]:
        return [one for one in cloud.retained.values() if one.id.type.lower() == VAULT.lower()]

    def by_name(call: Call) -> Resource:
        for one in deleted():
            same = one.id.name.lower() == call.names["name"].lower()
            if same and one.region == call.names["region"].lower():
                return one
        raise not_found(call.names["name"])

    def listed(call: Call) -> Response:
        return JSONResponse({"value": [_shown(cloud, one) for one in deleted()]})

    def shown(call: Call) -> Response:
        return JSONResponse(_shown(cloud, by_name(call)))

    def purge(call: Call) -> Response:
        vault = by_name(call)
        address = f"{cloud.subscription}/providers/Microsoft.KeyVault/locations/{vault.region}"
        operation = cloud.operations.start(
            vault.id.text, address, lambda: cloud.retained.pop(vault.id.key, None) and None
        )
        return Response(status_code=202, headers=operation.headers())

    return [
        route("GET", f"{_SUBSCRIPTION}/deletedvaults", listed),
        route("GET", _DELETED, shown),
        route("POST", f"{_DELETED}/purge", purge),
    ]


def _shown(cloud: Cloud, vault: Resource) -> dict[str, Any]:
    id = f"{cloud.subscription}/providers/Microsoft.KeyVault/locations/{vault.region}"
    return {
        "id": f"{id}/deletedVaults/{vault.id.name}",
        "name": vault.id.name,
        "type": "Microsoft.KeyVault/deletedVaults",
        "properties": {
            "vaultId": vault.id.text,
            "location": vault.region,
            "deletionDate": now(),
            "tags": vault.body.get("tags") or {},
        },
    }
