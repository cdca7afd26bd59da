"""How many cores may be used: limits, what uses them, refusals, and requests for more.

cloud.quota.take(holder, region, size, instances, endpoint=True)   # raises when there is no room
cloud.quota.release(holder)
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import Call, route
from emulator.arm.errors import ArmError, not_found
from emulator.arm.skus import REGIONS, SIZES, Size, find_size, sizes_in

if TYPE_CHECKING:
    from emulator.cloud import Cloud

LOW_PRIORITY = "TotalLowPriorityCores"

_DEFAULTS = {
    "standardDSv2Family": 24,
    "standardFSv2Family": 24,
    "standardESv3Family": 100,
    "standardNCSv3Family": 0,
    "standardNCADSA100v4Family": 48,
    LOW_PRIORITY: 100,
}
_LOCATION = (
    "/subscriptions/{subscription}/providers/microsoft.machinelearningservices/locations/{region}"
)
_QUOTAS = f"{_LOCATION}/providers/microsoft.quota"


@dataclass(frozen=True)
class Use:
    """Cores that a holder has taken."""

    region: str
    family: str
    cores: int


class Quota:
    """The limits of the subscription, by region and family, and what is taken of them."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._limits: dict[tuple[str, str], int] = {}
        self._uses: dict[str, Use] = {}
        self._asked: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def take(
        self,
        holder: str,
        region: str,
        size: str,
        instances: int,
        *,
        endpoint: bool = False,
        low_priority: bool = False,
    ) -> None:
        """Take cores for a holder, in the place of those that it had. Raises 400 without room."""
        found = find_size(size)
        if found is None or region.lower() in (*found.absent, *found.restricted):
            raise ArmError(400, "SkuNotAvailable", f"The size {size} is not available in {region}.")
        family = LOW_PRIORITY if low_priority else found.family
        cores = cores_of(found, instances, endpoint=endpoint)
        with self._lock:
            others = sum(
                use.cores
                for name, use in self._uses.items()
                if name != holder.lower() and self._same(use, region, family)
            )
            limit = self.limit(region, family)
            if others + cores > limit:
                message = (
                    f"Not enough quota available for {size} in {region}. Current usage/limit:"
                    f" {others}/{limit}. Additional needed: {cores}. Please see troubleshooting"
                    " guide, available here: https://aka.ms/oe-tsg#error-outofquota"
                )
                raise ArmError(400, "OutOfQuota", message)
            self._uses[holder.lower()] = Use(region.lower(), family, cores)

    def release(self, holder: str) -> None:
        """Give back what a holder took."""
        with self._lock:
            self._uses.pop(holder.lower(), None)

    def limit(self, region: str, family: str) -> int:
        """Return the limit of a family in a region; a family's name is compared without case."""
        name = family.lower()
        given = {key.lower(): value for key, value in self._cloud.settings.quota.items()}
        defaults = {key.lower(): value for key, value in _DEFAULTS.items()}
        usual = given.get(name, defaults.get(name, 0))
        return self._limits.get((region.lower(), name), usual)

    def used(self, region: str, family: str) -> int:
        """Return the cores that are taken."""
        with self._lock:
            return sum(use.cores for use in self._uses.values() if self._same(use, region, family))

    def routes(self) -> list[Route]:
        """Return the routes that list usages and sizes, and that ask for more."""
        return [
            route("GET", f"{_LOCATION}/usages", self._usages),
            route("GET", f"{_LOCATION}/vmsizes", self._sizes),
            route("GET", f"{_QUOTAS}/quotas/{{name}}", self._shown),
            route("PUT PATCH", f"{_QUOTAS}/quotas/{{name}}", self._request),
            route("GET", f"{_QUOTAS}/quotarequests", self._requests),
        ]

    def _same(self, use: Use, region: str, family: str) -> bool:
        return (use.region, use.family.lower()) == (region.lower(), family.lower())

    def _usages(self, call: Call) -> Response:
        region = _region(call)
        return JSONResponse(
            {
                "value": [
                    {
                        "id": f"{call.path}/{family}",
                        "type": "Microsoft.MachineLearningServices/locations/usages",
                        "unit": "Count",
                        "currentValue": self.used(region, family),
                        "limit": self.limit(region, family),
                        "name": {"value": family, "localizedValue": f"{family} Cluster vCPUs"},
                    }
                    for family in _DEFAULTS
                ]
            }
        )

    def _sizes(self, call: Call) -> Response:
        return JSONResponse({"value": [size.listed() for size in sizes_in(_region(call))]})

    def _shown(self, call: Call) -> Response:
        family = _family(call.names["name"])
        return JSONResponse(_quota(call, family, self.limit(_region(call), family)))

    def _request(self, call: Call) -> Response:
        family, region = _family(call.names["name"]), _region(call)
        wanted = int(call.body["properties"]["limit"]["value"])
        asked = {"name": family, "limit": wanted, "state": "InProgress"}
        self._asked.append(asked)

        def work() -> Any:
            asked["state"] = "Failed"
            refused = self._cloud.faults.take("refuse-quota", family)
            if refused or not self._cloud.settings.grants_quota:
                message = (
                    f"The request for {wanted} cores of {family} in {region} was not approved."
                )
                raise ArmError(400, "QuotaNotAvailableForResource", message)
            self._limits[(region, family.lower())] = wanted
            asked["state"] = "Succeeded"

        address = f"{self._cloud.subscription}/providers/Microsoft.Quota"
        operation = self._cloud.operations.start(call.path, address, work)
        body = _quota(call, family, wanted)
        body["properties"]["provisioningState"] = "InProgress"
        return JSONResponse(body, 202, headers=operation.headers())

    def _requests(self, call: Call) -> Response:
        return JSONResponse({"value": [_asked_for(call, one) for one in self._asked]})


def cores_of(size: Size, instances: int, *, endpoint: bool) -> int:
    """Return the cores that instances take; an endpoint's reserve is a fifth, rounded up."""
    counted = math.ceil(instances * 1.2) if endpoint and size.reserve else instances
    return counted * size.cores


def _family(name: str) -> str:
    known = {one.lower(): one for one in (*(size.family for size in SIZES), LOW_PRIORITY)}
    if name.lower() not in known:
        raise not_found(name)
    return known[name.lower()]


def _region(call: Call) -> str:
    region = call.names["region"].lower()
    if region not in REGIONS:
        message = (
            f"The provided location '{region}' is not available for resource type 'locations'."
        )
        raise ArmError(400, "LocationNotAvailableForResourceType", message)
    return region


def _asked_for(call: Call, asked: dict[str, Any]) -> dict[str, Any]:
    limit = {"limitObjectType": "LimitValue", "value": asked["limit"]}
    one = {"name": {"value": asked["name"]}, "limit": limit, "provisioningState": asked["state"]}
    properties = {"provisioningState": asked["state"], "value": [one]}
    return {"id": call.path, "type": "Microsoft.Quota/quotaRequests", "properties": properties}


def _quota(call: Call, family: str, limit: int) -> dict[str, Any]:
    return {
        "id": call.path,
        "name": family,
        "type": "Microsoft.Quota/quotas",
        "properties": {
            "limit": {"limitObjectType": "LimitValue", "value": limit},
            "name": {"value": family, "localizedValue": family},
            "isQuotaApplicable": True,
            "unit": "Count",
        },
    }
