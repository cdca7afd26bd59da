"""A real gateway process with stand-in containers, as tests use it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import httpx

from hieno import ports, processes
from hieno.endpoint import control
from hieno.endpoint.control import EndpointStatus
from hieno.endpoint.examination import Question
from hieno.endpoint.shares import divide, roll_back
from hieno.endpoint.state import (
    DeploymentSpec,
    DeploymentStatus,
    Limits,
    read_desired,
    read_observed,
)
from hieno.endpoint.watch import Guard
from waiting import wait_until

CONTAINER = Path(__file__).with_name("container.py")
GUARD = Guard(step_requests=5)
LIMITS = Limits(request_timeout=10, max_concurrent=8, max_body=100_000, drain_timeout=2)


def spec(version: str, *options: str, instances: int = 1) -> DeploymentSpec:
    """Describe a deployment of the stand-in container, named after its version."""
    command = (sys.executable, str(CONTAINER), "--port", "{port}", "--name", version, *options)
    return DeploymentSpec(version=version, command=command, instances=instances)


class Endpoint:
    """An endpoint in a folder, as a test uses it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []

    def deploy(
        self,
        wanted: DeploymentSpec,
        *,
        base: DeploymentSpec | None = None,
        limits: Limits = LIMITS,
        port: int | None = None,
        wait: float = 60,
        guard: Guard = GUARD,
        questions: Sequence[Question] = (),
    ) -> EndpointStatus:
        return control.deploy(
            self.folder,
            wanted,
            port=port or ports.free_port(),
            wait=wait,
            say=self.said.append,
            base=base,
            limits=limits,
            guard=guard,
            questions=questions,
        )

    def status(self) -> EndpointStatus:
        found = control.status(self.folder)
        assert found is not None
        return found

    @property
    def live(self) -> str:
        """The deployment that gets the traffic."""
        [name] = [name for name, share in self.status().traffic.items() if share]
        return name

    def live_state(self) -> DeploymentStatus:
        return self.status().deployments[self.live]

    def container(self) -> processes.ProcessId:
        """The process of the first instance that gets traffic."""
        process = self.live_state().instances[0].process
        assert process is not None
        return process

    def gateway(self) -> processes.ProcessId:
        seen = read_observed(self.folder)
        assert seen is not None
        return seen.gateway

    def client(self, *, key: str | None = None, timeout: float = 30) -> httpx.Client:
        secret = key or control.keys(self.folder).primary.get_secret_value()
        return httpx.Client(
            base_url=self.status().url,
            headers={"authorization": f"Bearer {secret}"},
            timeout=timeout,
            trust_env=False,
        )

    def ask(self, **body: object) -> httpx.Response:
        with self.client() as client:
            return client.post("/score", json=body)

    def processes(self) -> tuple[processes.ProcessId, ...]:
        seen = read_observed(self.folder)
        assert seen is not None
        return seen.processes


class Load:
    """Clients that ask without a pause until told to stop; counts names and failures."""

    def __init__(self, endpoint: Endpoint, clients: int = 3) -> None:
        self.seen: Counter[str] = Counter()
        self._endpoint = endpoint
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self.seen.total() > 10, "load")
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with self._endpoint.client() as client:
            while not self._end.is_set():
                try:
                    answer = client.post("/score", json={})
                except httpx.HTTPError as error:
                    self.seen[type(error).__name__] += 1
                else:
                    right = answer.status_code == 200
                    self.seen[answer.json()["name"] if right else str(answer.status_code)] += 1


class Asking(Protocol):
    """Clients that go on asking."""

    def more(self) -> None:
        """Wait for some more right answers."""


def everything(
    endpoint: Endpoint, asking: Asking, version: int, make: Callable[[str], DeploymentSpec]
) -> None:
    """Kill an instance, deploy, end one as asked, renew a key, roll back, retire by hand."""
    before = read_desired(endpoint.folder)
    assert before is not None
    os.kill(endpoint.container().pid, signal.SIGKILL)
    asking.more()
    # a real model loads slowly under load
    endpoint.deploy(make(str(version)), guard=GUARD, limits=before.limits, wait=300)
    asking.more()
    os.kill(endpoint.container().pid, signal.SIGTERM)
    asking.more()
    control.regenerate(endpoint.folder, "secondary")
    asking.more()
    roll_back(endpoint.folder)
    asking.more()
    divide(endpoint.folder, {"blue": 50, "green": 50})
    asking.more()
    divide(endpoint.folder, {"blue" if version % 2 else "green": 100})
    asking.more()
