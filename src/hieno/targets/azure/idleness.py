"""Since when nobody was answered by an endpoint, as Azure Monitor counts it.

An endpoint cannot have no machine, so one that is not used is billed until it is removed. Only
answers of a model count (2xx): a stranger without a key, and a gateway that looks whether the
endpoint is there, use nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any  # an endpoint as JSON, and what Azure's client returns

from hieno.config import Config
from hieno.errors import Unreachable, UsageError
from hieno.targets.azure import scaling
from hieno.targets.azure.arm import Arm
from hieno.targets.azure.failures import explained
from hieno.targets.azure.serving import API, ROLLING, SCALE
from hieno.targets.azure.site import Site

METRIC = "RequestsPerMinute"
ANSWERED = "statusCodeClass eq '2xx'"
LONGEST = timedelta(days=30)  # Azure Monitor keeps more, and answers for so much at a time
GRAIN = timedelta(hours=1)


@dataclass(frozen=True)
class Use:
    """When an endpoint was used last: `since` is when it was made where it never was."""

    since: datetime
    was_asked: bool
    hours: float  # from then to now

    def is_over(self, most: float | None) -> bool:
        """Tell whether it is idle for too long; never where nobody has said what that is."""
        return most is not None and self.hours >= most

    def __str__(self) -> str:
        made = "last asked" if self.was_asked else "not asked since it was made"
        return f"{made} {self.since:%Y-%m-%d %H:%M} UTC, {self.hours:.0f} h ago"


def look(arm: Arm, endpoint: Mapping[str, Any]) -> Use:
    """Ask Azure Monitor when an endpoint has answered last."""
    now = datetime.now(UTC)
    told = (endpoint.get("systemData") or {}).get("createdAt")
    if not told:
        raise _unknown("nor when it was made")
    made = datetime.fromisoformat(told).astimezone(UTC)
    start = max(made, now - LONGEST)
    last: datetime | None = None
    if now - start >= GRAIN:
        with explained(f"asking when {endpoint['name']} was used"):
            last = max(_answered(arm, endpoint["id"], start, now), default=None)
    # An hour in which somebody was answered may have been so until its end.
    since = min(last + GRAIN, now) if last else start
    return Use(since, last is not None, (now - since) / timedelta(hours=1))


def require_hours(config: Config) -> float:
    """Return after how many hours an endpoint is idle; raises `UsageError` where nobody said."""
    if config.azure.endpoint.idle_hours is None:
        raise UsageError(
            "azure.endpoint.idle_hours does not say after how long an endpoint is idle",
            hint="`hieno down --idle --set azure.endpoint.idle_hours=24`, or write it into "
            "hieno.yaml",
        )
    return config.azure.endpoint.idle_hours


def remove_idle(site: Site, say: Callable[[str], None]) -> list[str]:
    """Remove the project's endpoint where it is idle for too long; return what was removed."""
    most = require_hours(site.config)
    name = site.names.endpoint
    address = f"{site.workspace}/onlineEndpoints/{name}"
    with explained("looking for the endpoint"):
        endpoint = site.arm.find(address, API)
    if endpoint is None:
        say(f"there is no endpoint {name}")
        return []
    tags = endpoint.get("tags") or {}
    use = look(site.arm, endpoint)
    if tags.get(ROLLING) or not use.is_over(most):
        why = "a version is coming in" if tags.get(ROLLING) else f"{most:g} h make it idle"
        say(f"endpoint {name} stays: {use}; {why}")
        return []
    say(f"endpoint {name} is idle: {use}")
    with explained(f"removing the endpoint {name}"):
        if tags.get(SCALE):
            scaling.remove_from(site.arm, site.group, name)
        site.arm.remove(address, API)
    return [f"endpoint {name}"]


def _answered(arm: Arm, endpoint: str, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the beginnings of the hours in which somebody was answered."""
    found = arm.monitor.metrics.list(
        endpoint.lstrip("/"),
        timespan=f"{start:%Y-%m-%dT%H:%M:%SZ}/{end:%Y-%m-%dT%H:%M:%SZ}",
        interval="PT1H",
        metricnames=METRIC,
        aggregation="Average",
        filter=ANSWERED,
    )
    for metric in found.value:
        if metric.error_code not in (None, "Success"):
            raise _unknown(f"({metric.error_message})")
        for series in metric.timeseries:
            for point in series.data or ():
                if point.average:
                    yield point.time_stamp.astimezone(UTC)


def _unknown(why: str) -> Unreachable:
    return Unreachable(
        f"Azure does not say when the endpoint was used {why}", hint="type the same command later"
    )
