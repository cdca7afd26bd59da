"""Copies of a share of the requests, so that a deployment is seen at work before it is trusted.

Nobody waits for a copy and nobody sees its answer.
"""

from __future__ import annotations

import asyncio
import random

from hieno.endpoint.fleet import Fleet
from hieno.endpoint.meter import Meter
from hieno.endpoint.relay import drop
from hieno.endpoint.supervisor import Deployment
from hieno.endpoint.upstream import Call


class Mirror:
    """Sends copies; as many at a time as the deployment would be given as traffic."""

    def __init__(self, fleet: Fleet, meter: Meter) -> None:
        self._fleet = fleet
        self._meter = meter
        self._copies: set[asyncio.Task[None]] = set()
        # a choice by share, nothing secret
        self._random = random.Random(fleet.desired.seed)  # noqa: S311

    def copy(self, call: Call) -> None:
        """Send a copy of a call to the mirror's deployment, if there is one and chance says so."""
        desired = self._fleet.desired
        for name, share in desired.mirror.items():
            if self._random.uniform(0, 100) >= share:
                continue
            deployment = self._fleet.deployments[name]
            if deployment.in_flight >= desired.limits.max_concurrent * deployment.spec.instances:
                self._meter.mirrored(name, "skipped")
                continue
            task = asyncio.create_task(self._send(deployment, call))
            self._copies.add(task)
            task.add_done_callback(self._copies.discard)

    async def close(self) -> None:
        """Abandon the copies that are under way."""
        copies = list(self._copies)
        for task in copies:
            task.cancel()
        await asyncio.gather(*copies, return_exceptions=True)

    async def _send(self, deployment: Deployment, call: Call) -> None:
        with deployment.slot():
            good = await drop(deployment, call, self._fleet.desired.limits)
        self._meter.mirrored(deployment.name, "answered" if good else "failed")
