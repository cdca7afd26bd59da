"""Whether the region has the machines, and whether the subscription may use enough of them."""

from __future__ import annotations

from hieno.doctor import Finding
from hieno.targets.azure import quota as rooms
from hieno.targets.azure.failures import explained
from hieno.targets.azure.quota import Room
from hieno.targets.azure.site import Site
from hieno.targets.azure.sizes import Size, available

PROVIDERS = "2025-04-01"
LOCATIONS = "2022-12-01"


def region(site: Site) -> list[Finding]:
    """Look whether Azure ML is in the region."""
    location = site.config.azure.location
    provider = f"{site.subscription}/providers/Microsoft.MachineLearningServices"
    with explained("looking for regions"):
        types = site.arm.get(provider, PROVIDERS).get("resourceTypes") or ()
        regions = site.arm.list(f"{site.subscription}/locations", LOCATIONS)
    known = {one["name"] for one in regions}
    offered = {
        "".join(name.lower().split())
        for one in types
        if one["resourceType"].lower() == "workspaces"
        for name in one["locations"]
    }
    if location in known and location in (offered or known):
        return [Finding("region", "ok", location)]
    why = f"Azure ML is not in {location}" if location in known else f"there is no {location}"
    near = ", ".join(sorted(offered & known or known)[:6])
    return [Finding("region", "fail", why, f"set azure.location to one of {near}")]


def sizes(site: Site) -> list[Finding]:
    """Look whether the region has both sizes, and gives them to this subscription."""
    azure = site.config.azure
    found = available(site, azure.location)
    return [
        _size("cluster", azure.cluster.size, found, site),
        _size("endpoint", azure.endpoint.size, found, site),
    ]


def quota(site: Site) -> list[Finding]:
    """Count the cluster, the serving version and the one after it against the quota."""
    found = available(site, site.config.azure.location)
    return [_room(site, room, found) for room in rooms.rooms(site, found)]


def request(site: Site) -> list[str]:
    """Ask for the quota that is short; return what became of each request."""
    found = available(site, site.config.azure.location)
    return [rooms.request(site, room) for room in rooms.rooms(site, found) if room.short]


def _size(part: str, name: str, found: dict[str, Size], site: Site) -> Finding:
    location = site.config.azure.location
    size = found.get(name.lower())
    key = f"azure.{part}.size"
    if size is None:
        return Finding(part, "fail", f"{location} has no {name}", f"choose another {key}")
    words = f"{size.name}: {size.cores} cores, {size.memory_gb:.0f} GB"
    words += f", {size.gpus} GPU" if size.gpus else ""
    if size.restriction:
        remedy = f"choose another {key} or azure.location, or ask Azure's support to open it"
        text = f"{size.name} is closed to you in {location} ({size.restriction})"
        return Finding(part, "fail", text, remedy)
    if part == "endpoint" and not size.may_serve:
        text = f"{words}; Microsoft's list of sizes for endpoints does not name it"
        return Finding(part, "warn", text, f"choose a {key} of that list where it is refused")
    if part == "cluster" and site.config.azure.cluster.low_priority and not size.low_priority:
        remedy = "set azure.cluster.low_priority to false, or choose another size"
        return Finding(part, "fail", f"{size.name} has no low priority", remedy)
    return Finding(part, "ok", words)


def _room(site: Site, room: Room, found: dict[str, Size]) -> Finding:
    parts = ", ".join(f"{need.part} {need.cores}" for need in room.needs)
    text = (
        f"{room.family}: {room.needed} cores needed ({parts}), {room.others} used by others, "
        f"limit {room.limit}"
    )
    if not room.short:
        return Finding("quota", "ok", text)
    choices = [f"`hieno azure doctor --request-quota` asks for {room.wanted}"]
    if others := rooms.alternatives(site, room, found)[:3]:
        choices.append(f"a size with room: {', '.join(size.name for size in others)}")
    if regions := rooms.elsewhere(site, room)[:3]:
        choices.append(f"a region with room: {', '.join(regions)}")
    if room.fits("cluster", "blue") and not room.fits("cluster", "blue", "green"):
        choices.append("`hieno deploy --replace` serves one version at a time, with a gap")
        return Finding("quota", "warn", f"{text}: no room for the second version", _or(choices))
    return Finding("quota", "fail", f"{text}: {room.short} short", _or(choices))


def _or(choices: list[str]) -> str:
    return "; or ".join(choices)
