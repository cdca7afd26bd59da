"""Everything of the project that Azure still bills, also a little."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any  # JSON of Azure

from hieno.errors import HienoError
from hieno.project import Project
from hieno.targets.azure import budget, idleness, kinds, scaling
from hieno.targets.azure.failures import explained
from hieno.targets.azure.prices import Price, Prices
from hieno.targets.azure.site import Site, opened

GROUPS = "2025-04-01"
ML = "2025-12-01"
ENDED = ("completed", "failed", "canceled", "notresponding")

# Billed by what is in them or asked of them, and which price that is.
LITTLE = {
    "microsoft.containerregistry/registries": "registry",
    "microsoft.storage/storageaccounts": "storage",
    "microsoft.operationalinsights/workspaces": "logs",
    "microsoft.keyvault/vaults": "vault",
}
FREE = (
    "microsoft.insights/autoscalesettings",  # what they add is billed as instances
    "microsoft.insights/components",  # what it stores is Log Analytics's
    "microsoft.machinelearningservices/workspaces",
    "microsoft.managedidentity/userassignedidentities",
)


@dataclass(frozen=True)
class Billed:
    """Something that costs money now.

    `price` is that of all its machines or of one unit, None for what is not of this project.
    """

    kind: str
    name: str
    text: str
    price: Price | None


@dataclass(frozen=True)
class Job:
    """A job that has not ended, and what it may have cost so far."""

    name: str
    text: str


@dataclass(frozen=True)
class Bill:
    """What is billed now, and the jobs that have not ended."""

    resource_group: str
    subscription: str
    items: tuple[Billed, ...]
    jobs: tuple[Job, ...]
    hourly: Price | None


def look(project: Project) -> Bill:
    """Ask Azure what the project has there, and the public list what that costs."""
    azure = project.config.azure
    with opened(project) as site:
        return bill(site, Prices(azure.location, azure.currency))


def bill(site: Site, prices: Prices) -> Bill:
    """List what is billed: first by the hour, then by use."""
    items: list[Billed] = []
    jobs: list[Job] = []
    with explained("looking for what is billed"):
        if site.arm.find(site.group, GROUPS) is not None:
            found = site.arm.list(f"{site.group}/resources", GROUPS)
            if any(one["id"].lower() == site.workspace.lower() for one in found):
                items += _machines(site, prices, _bounds(site, found))
                jobs += _active_jobs(site)
            items += _by_use(found, prices)
    group, subscription = site.names.resource_group, site.account.subscription
    return Bill(group, subscription, tuple(items), tuple(jobs), _hourly(items))


def document(found: Bill) -> dict[str, Any]:
    """Return it as JSON; an unknown price is null."""
    return asdict(found)


def rows(found: Bill) -> list[list[str]]:
    """Return it as rows of a table."""
    if not found.items and not found.jobs:
        return [[f"nothing is billed in {found.resource_group}"]]
    lines = [[one.kind, one.name, str(one.price or "?"), one.text] for one in found.items]
    lines += [["job", job.name, "", job.text] for job in found.jobs]
    if found.hourly is not None:
        lines.append(["all machines", "", str(found.hourly), "until `hieno down`"])
    return lines


def _active_jobs(site: Site) -> list[Job]:
    jobs = site.arm.list(f"{site.workspace}/jobs", ML)
    return [
        Job(str(job["name"]), _unended(job))
        for job in jobs
        if str(job["properties"].get("status", "")).lower() not in ENDED
    ]


def _unended(job: dict[str, Any]) -> str:
    created = (job.get("systemData") or {}).get("createdAt", "")
    spent = budget.so_far(job["properties"].get("tags") or {}, created)
    return f"has not ended; {spent}" if spent else "has not ended"


def _hourly(items: list[Billed]) -> Price | None:
    """Add the machines up; one unknown price makes the sum unknown."""
    hourly = [one.price for one in items if one.price and one.price.unit == "hour"]
    if not hourly:
        return None
    amounts = [price.amount for price in hourly]
    known = [amount for amount in amounts if amount is not None]
    total = sum(known) if len(known) == len(amounts) else None
    return Price(total, "hour", hourly[0].currency, min(price.asked for price in hourly))


def _bounds(site: Site, found: list[dict[str, Any]]) -> dict[str, str]:
    """Return between how many instances a deployment is kept, by its id in small letters."""
    kind = scaling.TYPE.lower()
    if not any(one["type"].lower() == kind for one in found):
        return {}
    settings = site.arm.list(f"{site.group}/providers/{scaling.TYPE}", scaling.API)
    return {
        str(one["properties"].get("targetResourceUri")).lower(): scaling.bounds(one)
        for one in settings
        if one["properties"].get("enabled")
    }


def _machines(site: Site, prices: Prices, bounds: dict[str, str]) -> Iterator[Billed]:
    for endpoint in site.arm.list(f"{site.workspace}/onlineEndpoints", ML):
        deployments = site.arm.list(f"{endpoint['id']}/deployments", ML)
        used = _used(site, endpoint) if deployments else ""
        for one in deployments:
            size = one["properties"].get("instanceType", "?")
            count = int((one.get("sku") or {}).get("capacity") or 1)
            state = one["properties"].get("provisioningState", "?")
            name = f"{endpoint['name']}/{one['name']}"
            text = f"{count} x {size}, {str(state).lower()}"
            if kept := bounds.get(str(one["id"]).lower()):
                text += f", {kept}"
            text += f", {used}"
            yield Billed("deployment", name, text, prices.machine(size).times(count))
    for compute in site.arm.list(f"{site.workspace}/computes", ML):
        details = compute["properties"].get("properties") or {}
        nodes = int(details.get("currentNodeCount") or 0)
        if nodes:
            size, low = details.get("vmSize", "?"), details.get("vmPriority") == "LowPriority"
            price = prices.machine(size, low_priority=low).times(nodes)
            yield Billed("cluster", compute["name"], f"{nodes} x {size}", price)


def _used(site: Site, endpoint: dict[str, Any]) -> str:
    """Say when somebody was answered last; a bill is shown also where that cannot be asked."""
    try:
        use = idleness.look(site.arm, endpoint)
    except HienoError:
        return "not known when it was asked"
    ours = endpoint["name"] == site.names.endpoint
    over = ours and use.is_over(site.config.azure.endpoint.idle_hours)
    return f"{use}; `hieno down --idle` removes it" if over else str(use)


def _by_use(found: list[dict[str, Any]], prices: Prices) -> Iterator[Billed]:
    for one in found:
        kind = one["type"].lower()
        if kind in LITTLE:
            yield Billed(kinds.words(kind), one["name"], "", prices.of(LITTLE[kind]))
        elif kind not in FREE and kind.count("/") == 1:
            yield Billed(kinds.words(kind), one["name"], "not of this project", None)
