"""Azure Machine Learning: workspaces and all that lies in them.

Jobs really run, in processes of this machine; deployments really serve. What that does not prove is
in `images.py` and `containers.py`.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.arm.ids import ResourceId
from emulator.ml.containers import Container
from emulator.ml.monitor import Monitor
from emulator.ml.processes import Workers
from emulator.ml.runs import Runs

if TYPE_CHECKING:
    from emulator.cloud import Cloud


class MachineLearning:
    """What works in the workspaces of one cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.runs = Runs(cloud)
        self.monitor = Monitor()
        self.machine = dict(os.environ)  # before anybody was led to the emulator
        self.threads: list[threading.Thread] = []  # of jobs
        self._workers: dict[str, Workers] = {}
        self._containers: dict[str, Container] = {}
        self._logs: dict[str, Path] = {}

    def started(self, job: ResourceId, workers: Workers) -> None:
        """Know the processes of a job."""
        self._workers[job.key] = workers

    def serve(self, deployment: ResourceId, container: Container) -> None:
        """Let a container answer for a deployment in the place of an earlier one."""
        before = self._containers.get(deployment.key)
        self._containers[deployment.key] = container
        self.keep_log(deployment, container.log)
        container.keep()
        if before is not None:
            before.close()

    def container(self, deployment: ResourceId) -> Container | None:
        """Return what answers for a deployment."""
        return self._containers.get(deployment.key)

    def stop(self, deployment: ResourceId) -> None:
        """End what answers for a deployment."""
        container = self._containers.pop(deployment.key, None)
        if container is not None:
            container.close()

    def keep_log(self, deployment: ResourceId, log: Path) -> None:
        """Know where the newest container of a deployment says what happens."""
        self._logs[deployment.key] = log

    def log_of(self, deployment: ResourceId) -> str:
        """Return what the newest container of a deployment said."""
        log = self._logs.get(deployment.key)
        return log.read_text(encoding="utf-8", errors="replace") if log else ""

    def end(self, workspace: ResourceId | None = None) -> None:
        """End all jobs and containers, of one workspace or of all."""
        prefix = workspace.key + "/" if workspace else ""
        for key, workers in list(self._workers.items()):
            if key.startswith(prefix):
                workers.end(kill=True)
        for key in [key for key in self._containers if key.startswith(prefix)]:
            self._containers.pop(key).close()

    def close(self) -> None:
        """End everything; what waits for a node is not waited for."""
        for run in self.runs.all():
            run.stopped.set()
        self.end()
        for thread in self.threads:
            thread.join(5)


def register(cloud: Cloud) -> None:
    """Register the service's kinds of resources, its routes and its hosts."""
    from emulator.arm.plane import HOST
    from emulator.ml import (
        assets,
        autoscale,
        computes,
        data_plane,
        datastores,
        deployments,
        endpoints,
        jobs,
        monitor,
        workspaces,
    )
    from emulator.ml.inference import Gateway

    for part in (workspaces, assets, computes, jobs, endpoints, deployments, autoscale):
        cloud.kinds.add(*part.kinds())
    for part in (assets, datastores, jobs, endpoints, deployments, monitor):
        cloud.hosts.add(HOST, part.routes(cloud))
    data_plane.mount(cloud)
    cloud.hosts.mount(f"*.{endpoints.SUFFIX}", Gateway(cloud))
    cloud.closing.callback(cloud.ml.close)
