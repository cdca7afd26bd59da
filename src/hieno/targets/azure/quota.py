"""How many cores may be used, what the project needs of them, and how to ask for more.

A new version is served beside the one before it until it is proven, so both are counted, and the
cluster with them: what fits today must still fit at the second deployment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any  # JSON of Azure

from hieno.targets.azure import scaling
from hieno.targets.azure.failures import explained
from hieno.targets.azure.site import Site
from hieno.targets.azure.sizes import Size, plain

ML = "2025-12-01"
LOCATIONS = "2022-12-01"
LOW_PRIORITY = "TotalLowPriorityCores"
REGIONS = ("eastus", "eastus2", "westus3", "northeurope", "westeurope", "swedencentral")


@dataclass(frozen=True)
class Need:
    """Cores of one family that one part of the project takes."""

    part: str  # cluster, blue or green
    family: str
    cores: int


@dataclass(frozen=True)
class Room:
    """A family's limit, what others use of it, and what the project needs."""

    family: str
    limit: int
    others: int
    needs: tuple[Need, ...]

    @property
    def needed(self) -> int:
        return sum(need.cores for need in self.needs)

    @property
    def short(self) -> int:
        """How many cores are lacking for everything at once."""
        return max(0, self.others + self.needed - self.limit)

    @property
    def wanted(self) -> int:
        """The limit to ask for."""
        return self.others + self.needed

    def fits(self, *parts: str) -> bool:
        """Tell whether these parts alone have room."""
        cores = sum(need.cores for need in self.needs if need.part in parts)
        return self.others + cores <= self.limit


def needs(site: Site, sizes: Mapping[str, Size]) -> list[Need]:
    """Return what the cluster and two deployments take; a size that is not there takes nothing."""
    cluster = site.config.azure.cluster
    found = []
    if node := sizes.get(cluster.size.lower()):
        family = LOW_PRIORITY if cluster.low_priority else node.family
        found.append(Need("cluster", family, node.cores * cluster.max_nodes))
    if instance := sizes.get(site.config.azure.endpoint.size.lower()):
        cores = instance.reserved(scaling.most(site.config))
        found += [Need(part, instance.family, cores) for part in ("blue", "green")]
    return found


def rooms(site: Site, sizes: Mapping[str, Size]) -> list[Room]:
    """Return the room in each family that the project needs, its own present use not counted."""
    used = usages(site, site.config.azure.location)
    own = _own(site, sizes)
    wanted = needs(site, sizes)
    return [
        _room(family, used, own, [need for need in wanted if need.family == family])
        for family in dict.fromkeys(need.family for need in wanted)
    ]


def usages(site: Site, location: str) -> dict[str, tuple[int, int]]:
    """Return each family's used cores and limit in a region."""
    place = f"{site.subscription}/providers/Microsoft.MachineLearningServices/locations/{location}"
    with explained(f"looking for quota in {location}"):
        listed = site.arm.list(f"{place}/usages", ML)
    return {
        plain(str((one.get("name") or {}).get("value", ""))): (
            int(one.get("currentValue") or 0),
            int(one.get("limit") or 0),
        )
        for one in listed
    }


def request(site: Site, room: Room) -> str:
    """Ask Azure for enough cores; return what became of it.

    It is decided by itself within minutes, or refused, or a person at Microsoft looks at it.
    """
    location = site.config.azure.location
    low = room.family == LOW_PRIORITY
    body = {
        "properties": {
            "limit": {"limitObjectType": "LimitValue", "value": room.wanted},
            "name": {"value": room.family},
            "resourceType": "lowPriority" if low else "dedicated",
        }
    }
    with explained(f"asking for {room.wanted} cores of {room.family} in {location}"):
        answer = site.arm.quotas.quota.begin_create_or_update(
            room.family,
            f"{site.subscription.lstrip('/')}/providers/Microsoft.MachineLearningServices"
            f"/locations/{location}",
            body,
        ).result()
    granted = getattr(getattr(answer.properties, "limit", None), "value", None)
    if granted is not None and granted >= room.wanted:
        return f"granted: {granted} cores of {room.family} in {location}"
    return f"asked for {room.wanted} cores of {room.family} in {location}; not decided yet"


def alternatives(site: Site, room: Room, sizes: Mapping[str, Size]) -> list[Size]:
    """Return other sizes in the region that have room for what is short, small ones first."""
    azure = site.config.azure
    serving = any(need.part == "green" for need in room.needs)
    present = sizes[(azure.endpoint.size if serving else azure.cluster.size).lower()]
    used = usages(site, azure.location)

    def fits(size: Size) -> bool:
        taken, limit = used.get(plain(size.family), (0, 0))
        instances = scaling.most(site.config)
        cores = 2 * size.reserved(instances) if serving else size.cores * azure.cluster.max_nodes
        return taken + cores <= limit

    def is_alike(size: Size) -> bool:
        suits = size.may_serve if serving else True
        return suits and not size.restriction and bool(size.gpus) == bool(present.gpus)

    found = (size for size in sizes.values() if size != present and is_alike(size) and fits(size))
    return sorted(found, key=lambda size: (size.memory_gb, size.name))


def elsewhere(site: Site, room: Room) -> list[str]:
    """Return other regions where what is short would have room."""

    def fits(location: str) -> bool:
        taken, limit = usages(site, location).get(plain(room.family), (0, 0))
        return taken + room.needed <= limit

    with explained("looking for regions"):
        known = {one["name"] for one in site.arm.list(f"{site.subscription}/locations", LOCATIONS)}
    others = (one for one in REGIONS if one in known and one != site.config.azure.location)
    return [one for one in others if fits(one)]


def _room(
    family: str,
    used: Mapping[str, tuple[int, int]],
    own: Mapping[str, int],
    wanted: Iterable[Need],
) -> Room:
    taken, limit = used.get(plain(family), (0, 0))
    others = max(0, taken - own.get(plain(family), 0))
    return Room(family, limit, others, tuple(wanted))


def _own(site: Site, sizes: Mapping[str, Size]) -> dict[str, int]:
    """Return the cores by family that the project itself uses now."""
    taken: dict[str, int] = {}
    with explained("looking for what runs"):
        if site.arm.find(site.workspace, ML) is None:
            return taken
        endpoint = f"{site.workspace}/onlineEndpoints/{site.names.endpoint}"
        found = site.arm.find(endpoint, ML)
        deployments = site.arm.list(f"{endpoint}/deployments", ML) if found else []
        cluster = site.arm.find(f"{site.workspace}/computes/{site.names.cluster}", ML)
    for one in deployments:
        size = sizes.get(str(one["properties"].get("instanceType")).lower())
        if size is not None:
            count = int((one.get("sku") or {}).get("capacity") or 1)
            _add(taken, size.family, size.reserved(count))
    details: dict[str, Any] = ((cluster or {}).get("properties") or {}).get("properties") or {}
    size = sizes.get(str(details.get("vmSize")).lower())
    if size is not None:
        family = LOW_PRIORITY if details.get("vmPriority") == "LowPriority" else size.family
        _add(taken, family, size.cores * int(details.get("currentNodeCount") or 0))
    return taken


def _add(taken: dict[str, int], family: str, cores: int) -> None:
    taken[plain(family)] = taken.get(plain(family), 0) + cores
