"""What lies above resources: the tenant, the subscription, its providers, its resource groups."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import GROUP, Call, route
from emulator.arm.errors import ArmError
from emulator.arm.ids import GROUP_TYPE, ResourceId
from emulator.arm.kinds import Kind
from emulator.arm.resources import Resource
from emulator.arm.skus import REGIONS, sizes_in
from emulator.settings import PROVIDERS

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_SUBSCRIPTION = "/subscriptions/{subscription}"


def fill_group(cloud: Cloud, resource: Resource, old: Resource | None) -> None:
    """Check a resource group's region; once made it stays where it is."""
    if resource.region not in REGIONS:
        message = f"The provided location '{resource.region}' is not available for resource group."
        raise ArmError(400, "LocationNotAvailableForResourceGroup", message)
    if old is not None and old.region != resource.region:
        message = (
            f"Invalid resource group location '{resource.region}'. The Resource group already"
            f" exists in location '{old.region}'."
        )
        raise ArmError(409, "InvalidResourceGroupLocation", message)


KIND = Kind(GROUP_TYPE, fill=fill_group, slow_removal=True, stamped=False)


def routes(cloud: Cloud) -> list[Route]:
    """Return the routes for the subscription and what it holds."""

    def provider(name: str) -> dict[str, Any]:
        found = next((one for one in PROVIDERS if one.lower() == name.lower()), None)
        if found is None:
            message = f"The resource namespace '{name}' is invalid."
            raise ArmError(404, "InvalidResourceNamespace", message)
        state = "Registered" if found in cloud.registered else "NotRegistered"
        return {
            "id": f"{cloud.subscription}/providers/{found}",
            "namespace": found,
            "registrationState": state,
            "registrationPolicy": "RegistrationRequired",
            "resourceTypes": [],
        }

    def subscription(call: Call) -> Response:
        return JSONResponse(_subscription(cloud))

    def subscriptions(call: Call) -> Response:
        return JSONResponse({"value": [_subscription(cloud)]})

    def tenants(call: Call) -> Response:
        tenant = cloud.settings.tenant
        return JSONResponse({"value": [{"id": f"/tenants/{tenant}", "tenantId": tenant}]})

    def locations(call: Call) -> Response:
        listed = [
            {"id": f"{cloud.subscription}/locations/{name}", "name": name, "displayName": name}
            for name in REGIONS
        ]
        return JSONResponse({"value": listed})

    def providers(call: Call) -> Response:
        return JSONResponse({"value": [provider(name) for name in PROVIDERS]})

    def one_provider(call: Call) -> Response:
        return JSONResponse(provider(call.names["namespace"]))

    def register(call: Call) -> Response:
        found = provider(call.names["namespace"])
        cloud.registered.add(found["namespace"])
        return JSONResponse(provider(found["namespace"]))

    def groups(call: Call) -> Response:
        found = cloud.resources.children(f"{cloud.subscription}/resourceGroups")
        return JSONResponse({"value": [one.shown() for one in found]})

    def resources(call: Call) -> Response:
        inside = cloud.resources.within(call.subject)
        listed = [one.shown() for one in inside if _is_listed(one.id)]
        for one in listed:
            one.pop("properties", None)
        return JSONResponse({"value": listed})

    def skus(call: Call) -> Response:
        region = re.search(r"location eq '([^']+)'", call.query.get("$filter", ""))
        names = [region[1].lower()] if region else REGIONS
        return JSONResponse({"value": [sku for name in names for sku in _skus(name)]})

    return [
        route("GET", "/tenants", tenants),
        route("GET", "/subscriptions", subscriptions),
        route("GET", _SUBSCRIPTION, subscription),
        route("GET", f"{_SUBSCRIPTION}/locations", locations),
        route("GET", f"{_SUBSCRIPTION}/providers", providers),
        route("GET", f"{_SUBSCRIPTION}/providers/{{namespace}}", one_provider),
        route("POST", f"{_SUBSCRIPTION}/providers/{{namespace}}/register", register),
        route("GET", f"{_SUBSCRIPTION}/providers/microsoft.compute/skus", skus),
        route("GET", f"{_SUBSCRIPTION}/resourcegroups", groups),
        route("GET", f"{_SUBSCRIPTION}/resources", resources),
        route("GET", f"{GROUP}/resources", resources),
    ]


def _subscription(cloud: Cloud) -> dict[str, Any]:
    return {
        "id": cloud.subscription,
        "subscriptionId": cloud.settings.subscription,
        "tenantId": cloud.settings.tenant,
        "displayName": "Emulated",
        "state": "Enabled",
        "subscriptionPolicies": {"quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
        "authorizationSource": "RoleBased",
    }


def _is_listed(id: ResourceId) -> bool:
    """Tell whether a resource is of its own, no part and no extension of another."""
    tail = id.text.rpartition("/providers/")[2]
    hidden = ("microsoft.resources/", "microsoft.authorization/")
    return len(tail.split("/")) == 3 and not tail.lower().startswith(hidden)


def _skus(region: str) -> list[dict[str, Any]]:
    return [
        {
            "resourceType": "virtualMachines",
            "name": size.name,
            "family": size.family,
            "locations": [region],
            "capabilities": [
                {"name": "vCPUs", "value": str(size.cores)},
                {"name": "MemoryGB", "value": str(size.memory_gb)},
                {"name": "GPUs", "value": str(size.gpus)},
                {"name": "LowPriorityCapable", "value": str(size.low_priority)},
            ],
            "restrictions": [
                {
                    "type": "Location",
                    "values": [region],
                    "reasonCode": "NotAvailableForSubscription",
                    "restrictionInfo": {"locations": [region]},
                }
            ]
            if region in size.restricted
            else [],
        }
        for size in sizes_in(region)
    ]
