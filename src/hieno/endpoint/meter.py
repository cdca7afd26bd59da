"""What the gateway counts, for Prometheus and for the roll-out that reads the same page.

Labels are names of deployments, routes of ours and status codes: never anything a client wrote.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from hieno.endpoint.outgoing import Outgoing

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from hieno.endpoint.fleet import Fleet

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
NOBODY = "none"  # the deployment of a request that was refused before one was chosen

# Each is 1.5 times the one before: fine enough to say that something takes three times as long.
BUCKETS = tuple(round(0.002 * 1.5**power, 4) for power in range(29))  # 2 ms to 170 s


class Meter:
    """The counters of one gateway."""

    def __init__(self, fleet: Fleet) -> None:
        self._registry = registry = CollectorRegistry()
        one = ["deployment"]
        self._requests = Counter(
            "hieno_requests",
            "Answered requests.",
            ["deployment", "route", "code"],
            registry=registry,
        )
        self._failures = Counter(
            "hieno_failures",
            "Answers that failed on our side (5xx, late, cut off).",
            one,
            registry=registry,
        )
        self._whole = Histogram(
            "hieno_request_seconds",
            "Until the last byte.",
            one,
            buckets=BUCKETS,
            registry=registry,
        )
        self._first = Histogram(
            "hieno_first_byte_seconds",
            "Until the first byte.",
            one,
            buckets=BUCKETS,
            registry=registry,
        )
        self._mirrored = Counter(
            "hieno_mirrored",
            "Copies that were sent to a mirror.",
            ["deployment", "outcome"],
            registry=registry,
        )
        self._last = Gauge(
            "hieno_last_request_timestamp_seconds",
            "When a request last came.",
            registry=registry,
        )
        self._registry.register(_FleetCollector(fleet))

    def arrived(self) -> None:
        """Note that a request for a model has come."""
        self._last.set(time.time())

    def record(self, outgoing: Outgoing, route: str) -> None:
        """Count a request that has ended."""
        name = outgoing.deployment or NOBODY
        self._requests.labels(name, route, str(outgoing.status)).inc()
        if not outgoing.deployment:
            return
        if outgoing.failed:
            self._failures.labels(name).inc()
        self._whole.labels(name).observe(outgoing.seconds)
        if outgoing.first_byte is not None:
            self._first.labels(name).observe(outgoing.first_byte)

    def mirrored(self, deployment: str, outcome: str) -> None:
        """Count a copy: `answered`, `failed`, or `skipped` where the mirror had too much to do."""
        self._mirrored.labels(deployment, outcome).inc()

    def page(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _FleetCollector(Collector):
    """What is not counted but is so at the moment of asking."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def collect(self) -> Iterable[Metric]:
        yield from self._gauges()
        restarts = CounterMetricFamily(
            "hieno_restarts", "Containers started again.", labels=["deployment"]
        )
        for name, deployment in self._fleet.deployments.items():
            restarts.add_metric([name], deployment.status().restarts)
        yield restarts

    def _gauges(self) -> Iterator[Metric]:
        one = ["deployment"]
        flying = GaugeMetricFamily("hieno_in_flight", "Requests being answered.", labels=one)
        traffic = GaugeMetricFamily("hieno_traffic_percent", "Share of the traffic.", labels=one)
        ready = GaugeMetricFamily("hieno_ready_instances", "Instances that answer.", labels=one)
        info = GaugeMetricFamily(
            "hieno_model", "Which model serves.", labels=[*one, "version", "data_digest"]
        )
        for name, deployment in self._fleet.deployments.items():
            states = [instance.state for instance in deployment.instances]
            flying.add_metric([name], deployment.in_flight)
            traffic.add_metric([name], self._fleet.desired.traffic.get(name, 0))
            ready.add_metric([name], states.count("ready"))
            info.add_metric([name, deployment.spec.version, deployment.spec.data_digest], 1)
        yield from (flying, traffic, ready, info)
