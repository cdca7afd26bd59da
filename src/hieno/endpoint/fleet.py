"""All deployments of an endpoint: make them as desired, choose one for a request."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import replace
from pathlib import Path

import httpx
from pydantic import SecretStr

from hieno import processes
from hieno.endpoint import state
from hieno.endpoint.state import DeploymentSpec, Desired, Observed
from hieno.endpoint.supervisor import Deployment


class Fleet:
    """The deployments that run, and those that are being retired."""

    def __init__(
        self,
        folder: Path,
        desired: Desired,
        client: httpx.AsyncClient,
        *,
        credential: SecretStr,
    ) -> None:
        self.desired = desired
        self.deployments: dict[str, Deployment] = {}
        self.changed = asyncio.Event()
        self.problem = ""
        self._folder = folder
        self._client = client
        self._credential = credential
        self._retiring: dict[asyncio.Task[None], Deployment] = {}
        # a choice by traffic, nothing secret
        self._random = random.Random(desired.seed)  # noqa: S311
        self.apply(desired)

    def apply(self, desired: Desired) -> None:
        """Start what is new and retire what is gone, in one step as a request sees it."""
        before = self.deployments
        self.deployments = {}
        for name, spec in desired.deployments.items():
            if name in before and _is_same_place(before[name].spec, spec):
                self.deployments[name] = before.pop(name)
                self.deployments[name].spec = spec
            else:
                self.deployments[name] = Deployment(
                    name,
                    spec,
                    log=state.log_path(self._folder, name),
                    limits=desired.limits,
                    client=self._client,
                    changed=self.changed.set,
                    credential=self._credential,
                )
        self.desired = desired
        self.problem = ""
        for deployment in before.values():
            self._retire(deployment, drain=desired.limits.request_timeout)
        self.changed.set()

    def choose(self) -> Deployment | None:
        """Choose a deployment at random, weighted by the traffic; None without any traffic."""
        shares = {name: share for name, share in self.desired.traffic.items() if share > 0}
        if not shares:
            return None
        [name] = self._random.choices(list(shares), weights=list(shares.values()))
        return self.deployments[name]

    def is_ready(self) -> bool:
        """Tell whether a deployment that gets traffic can answer."""
        live = [name for name, share in self.desired.traffic.items() if share > 0]
        return any(self.deployments[name].state == "ready" for name in live)

    def rest(self) -> None:
        """Stop on-demand deployments that nobody has asked for long."""
        for deployment in self.deployments.values():
            stopping = deployment in self._retiring.values()
            if not stopping and deployment.is_forgotten(self.desired.limits.idle_timeout):
                self._retire(deployment, drain=0)

    async def close(self) -> None:
        """Stop every container at once."""
        everyone = [*self.deployments.values(), *self._retiring.values()]
        await asyncio.gather(*(deployment.stop() for deployment in everyone))
        for task in self._retiring:
            task.cancel()

    def observe(self) -> Observed:
        """Return what is, to be written down."""
        everyone = [*self.deployments.values(), *self._retiring.values()]
        return Observed(
            gateway=processes.identify(os.getpid()),
            port=self.desired.port,
            revision=self.desired.revision,
            deployments={name: one.status() for name, one in self.deployments.items()},
            processes=tuple(
                {
                    process: None
                    for deployment in everyone
                    for instance in deployment.instances
                    for process in instance.processes()
                }
            ),
            problem=self.problem,
        )

    def _retire(self, deployment: Deployment, *, drain: float) -> None:
        task = asyncio.create_task(deployment.stop(drain=drain))
        self._retiring[task] = deployment
        task.add_done_callback(self._retired)

    def _retired(self, task: asyncio.Task[None]) -> None:
        self._retiring.pop(task, None)
        self.changed.set()


def _is_same_place(before: DeploymentSpec, now: DeploymentSpec) -> bool:
    """Tell whether a deployment goes on: it is unchanged, or elsewhere and serves another version.

    A connection to an endpoint is not begun anew because of what is deployed there.
    """
    if not before.url:
        return before == now
    return replace(before, version=now.version, data_digest=now.data_digest) == now
