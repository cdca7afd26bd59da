"""Azure Monitor's metrics of endpoints: who was asked when, and how it was answered.

Only `RequestsPerMinute` of an endpoint is measured here. The names of the others are known, so that
an autoscale rule about a metric that is none is refused.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import WORKSPACE, Call, route
from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.ml import endpoints
from emulator.ml.durations import seconds

if TYPE_CHECKING:
    from emulator.cloud import Cloud

REQUESTS = "RequestsPerMinute"
NAMESPACE = "microsoft.insights"
_LATENCIES = tuple(f"RequestLatency_P{share}" for share in (50, 90, 95, 99))
_LOADS = ("Cpu", "CpuMemory", "Gpu", "GpuMemory")
# Microsoft's list of metrics by type, in small letters (supported-metrics, read in November 2026).
KNOWN = {
    endpoints.TYPE.lower(): {REQUESTS, "RequestLatency", *_LATENCIES},
    f"{endpoints.TYPE}/deployments".lower(): {
        REQUESTS,
        "DiskUtilization",
        *(f"{load}UtilizationPercentage" for load in _LOADS),
        *_LATENCIES,
    },
}
_GRAINS = ("PT1M", "PT5M", "PT15M", "PT30M", "PT1H", "PT6H", "PT12H", "P1D")
_FILTER = re.compile(r"(?P<dimension>\w+) eq '(?P<value>[^']*)'")


@dataclass(frozen=True)
class Request:
    """A request that was answered."""

    endpoint: str  # its id in small letters
    status: int
    at: datetime


class Monitor:
    """What was measured in one run."""

    def __init__(self) -> None:
        self._requests: list[Request] = []
        self._lock = threading.Lock()

    def answered(self, endpoint: ResourceId, status: int) -> None:
        """Note a request that was answered just now."""
        with self._lock:
            self._requests.append(Request(endpoint.key, status, datetime.now(UTC)))

    def age(self, by: timedelta) -> None:
        """Make everything that was measured older, as if nobody had asked since."""
        with self._lock:
            self._requests = [replace(one, at=one.at - by) for one in self._requests]

    def requests(self, endpoint: ResourceId, since: datetime, until: datetime) -> list[Request]:
        """Return what an endpoint was asked in a span of time."""
        with self._lock:
            found = list(self._requests)
        return [one for one in found if one.endpoint == endpoint.key and since <= one.at < until]


def age(cloud: Cloud, by: timedelta) -> None:
    """Let time pass in which nobody asks: endpoints and their requests become older."""
    cloud.ml.monitor.age(by)
    for endpoint in cloud.resources.of_type(endpoints.TYPE):
        made = datetime.fromisoformat(endpoint.body["systemData"]["createdAt"])
        endpoint.body["systemData"]["createdAt"] = (made - by).isoformat()


def routes(cloud: Cloud) -> list[Route]:
    """Answer for the metrics of endpoints."""

    def metrics(call: Call) -> Response:
        endpoint = cloud.resources.require(call.path.rpartition("/providers/")[0])
        name = _name(endpoint.id, call.query.get("metricnames", ""))
        since, until = _span(call.query.get("timespan", ""))
        grain = call.query.get("interval", "PT1M")
        if grain not in _GRAINS or call.query.get("aggregation", "Average").lower() != "average":
            raise ArmError(400, "BadRequest", f"interval is one of {_GRAINS}, aggregation average.")
        kind = _kind(call.query.get("$filter", ""))
        asked = cloud.ml.monitor.requests(endpoint.id, since, until)
        found = [one for one in asked if kind in ("", f"{one.status // 100}xx")]
        points = list(_points(found, since, until, timedelta(seconds=seconds(grain, 60))))
        series = {"metadatavalues": _metadata(kind), "data": points}
        metric = {
            "id": f"{endpoint.id}/providers/Microsoft.Insights/metrics/{name}",
            "type": "Microsoft.Insights/metrics",
            "name": {"value": name, "localizedValue": "Requests Per Minute"},
            "displayDescription": "The number of requests sent to the endpoint within a minute",
            "unit": "Count",
            "timeseries": [series] if found else [],
            "errorCode": "Success",
        }
        return JSONResponse(
            {
                "cost": 0,
                "timespan": f"{_written(since)}/{_written(until)}",
                "interval": grain,
                "value": [metric],
                "namespace": endpoint.id.type,
                "resourceregion": "eastus2",
            }
        )

    path = f"{WORKSPACE}/onlineendpoints/{{name}}/providers/{NAMESPACE}/metrics"
    return [route("GET", path, metrics)]


def _name(id: ResourceId, given: str) -> str:
    if given not in KNOWN[id.type.lower()]:
        message = f"Failed to find metric configuration for provider: {id.type}, metric: {given}."
        raise ArmError(400, "BadRequest", message)
    if given != REQUESTS:
        raise ArmError(501, "NotEmulated", f"Nobody measures {given} here.")
    return given


def _span(given: str) -> tuple[datetime, datetime]:
    try:
        since, until = (datetime.fromisoformat(part) for part in given.split("/"))
    except ValueError:
        raise ArmError(400, "BadRequest", f"timespan '{given}' is not START/END.") from None
    if since.tzinfo is None or until <= since:
        raise ArmError(400, "BadRequest", f"timespan '{given}' is not START/END in UTC.")
    return since, until


def _kind(given: str) -> str:
    """Return the class of status that is asked for, or nothing."""
    if not given:
        return ""
    found = _FILTER.fullmatch(given)
    if found is None or found["dimension"] != "statusCodeClass":
        raise ArmError(501, "NotEmulated", f"The filter {given} is not emulated.")
    return found["value"]


def _metadata(kind: str) -> list[dict[str, Any]]:
    name = {"value": "statuscodeclass", "localizedValue": "statuscodeclass"}
    return [{"name": name, "value": kind}] if kind else []


def _points(
    found: list[Request], since: datetime, until: datetime, grain: timedelta
) -> Iterator[dict[str, Any]]:
    """Yield an average over the minutes of each interval; none where nobody asked."""
    counts = Counter((one.at - since) // grain for one in found)
    start, number = since, 0
    while start < until:
        point: dict[str, Any] = {"timeStamp": _written(start)}
        if counts[number]:
            point["average"] = counts[number] / (grain / timedelta(minutes=1))
        yield point
        start, number = start + grain, number + 1


def _written(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
