"""Keep the containers of a deployment running: start, watch, restart with a pause, stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from pydantic import SecretStr

from hieno import keeper, machine, ports, processes
from hieno.endpoint import state
from hieno.endpoint.loopback import Loopback
from hieno.endpoint.pauses import doubled
from hieno.endpoint.remote import Remote
from hieno.endpoint.state import DeploymentSpec, DeploymentStatus, InstanceStatus, Limits, State
from hieno.processes import ProcessId

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
FAILED_AFTER = 3  # ends in a row after which an instance counts as failed; it is still restarted
STABLE = 60.0  # seconds of service after which earlier ends are forgotten
PROBE_PERIOD = 5.0
PROBES_MISSED = 6


def pause_after(failures: int) -> float:
    """Return the seconds until a container is started again after so many ends in a row."""
    return doubled(FIRST_PAUSE, failures - 1, longest=LONGEST_PAUSE)


class Instance:
    """One container at a time, replaced whenever it ends."""

    def __init__(
        self,
        spec: DeploymentSpec,
        *,
        log: Path,
        limits: Limits,
        client: httpx.AsyncClient,
        changed: Callable[[], None],
    ) -> None:
        self.state: State = "idle"
        self.port = 0
        self.kept: keeper.Kept | None = None
        self.restarts = 0
        self.error = ""
        self.in_flight = 0
        self._spec = spec
        self._log = log
        self._limits = limits
        self._client = client
        self._changed = changed
        self.upstream = Loopback(client, 0)

    def processes(self) -> list[ProcessId]:
        """Return the processes that must be gone when the instance is."""
        return [self.kept.container, self.kept.keeper] if self.kept else []

    async def run(self) -> None:
        """Keep a container running until cancelled."""
        failures = 0
        self._become("starting")
        while True:
            began = time.monotonic()
            try:
                was_ready = await self._live()
            except Exception as error:  # shown by `status`, and tried again after the pause
                self.error, was_ready = f"{type(error).__name__}: {error}", False
            finally:
                self.kept = None
            long = time.monotonic() - began > STABLE
            failures = 1 if was_ready and long else failures + 1
            self._become("failed" if failures >= FAILED_AFTER else "starting")
            await asyncio.sleep(pause_after(failures))
            self.restarts += 1

    async def _live(self) -> bool:
        """Run one container from its start to its end; tell whether it was ever ready."""
        self.port = await asyncio.to_thread(ports.free_port)
        self.upstream = Loopback(self._client, self.port)
        start = self._log.stat().st_size if self._log.exists() else 0
        command = [word.replace("{port}", str(self.port)) for word in self._spec.command]
        async with keeper.started(command, log=self._log) as self.kept:
            self._changed()
            end = asyncio.create_task(self.kept.wait())
            try:
                problem = await self._until_ready(end)
                was_ready = problem is None
                if was_ready:
                    self._become("ready")
                    problem = await self._until_sick(end)
            finally:
                end.cancel()
                self.upstream.close()
                self._become("stopped")
        self.error = self._reason(end, problem, start)
        return was_ready

    async def _until_ready(self, end: asyncio.Task[int]) -> str | None:
        deadline = time.monotonic() + self._limits.start_timeout
        while time.monotonic() < deadline:
            if end.done():
                return _exit(end.result())
            if await self.upstream.health(timeout=PROBE_PERIOD) == "well" and await self._is_ours():
                return None
            await asyncio.wait([end], timeout=0.1)
        return f"it was not ready after {self._limits.start_timeout:g} seconds"

    async def _is_ours(self) -> bool:
        """Tell whether the container has the port: another server may have been quicker."""
        if self.kept is None:
            return False
        return await asyncio.to_thread(processes.listens, self.kept.container, self.port)

    async def _until_sick(self, end: asyncio.Task[int]) -> str:
        missed = 0
        while missed < PROBES_MISSED:
            await asyncio.wait([end], timeout=PROBE_PERIOD)
            if end.done():
                return _exit(end.result())
            health = await self.upstream.health(timeout=PROBE_PERIOD)
            if health == "sick":
                return "it said that its model is lost"
            missed = 0 if health == "well" else missed + 1
        return "it stopped answering"

    def _reason(self, end: asyncio.Task[int], problem: str | None, start: int) -> str:
        by_itself = end.done() and not end.cancelled() and end.result() > 0
        lines = state.last_lines(self._log, 1, start=start) if by_itself else []
        return (lines[-1] if lines else problem or "")[:500]

    def _become(self, now: State) -> None:
        self.state = now
        self._changed()


class Deployment:
    """The instances of one specification; an on-demand one sleeps until it is asked."""

    def __init__(
        self,
        name: str,
        spec: DeploymentSpec,
        *,
        log: Path,
        limits: Limits,
        client: httpx.AsyncClient,
        changed: Callable[[], None],
        credential: SecretStr,
    ) -> None:
        self.name = name
        self.spec = spec
        self.in_flight = 0
        self.refusal = ""  # why an on-demand deployment was not started
        self._last_used = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self.instances: list[Instance | Remote] = [
            Remote(spec, credential, changed=changed)
            if spec.url
            else Instance(spec, log=log, limits=limits, client=client, changed=changed)
            for _ in range(spec.instances)
        ]
        if not spec.on_demand:
            self.wake()

    @property
    def state(self) -> State:
        """One word for all instances: ready as soon as one of them is."""
        states = {instance.state for instance in self.instances}
        order: tuple[State, ...] = ("ready", "failed", "starting", "stopped", "idle")
        return next(word for word in order if word in states)

    def wake(self) -> None:
        """Start the instances unless they are running; one on demand only where memory is free."""
        if self._tasks:
            return
        self.refusal = self._shortage() if self.spec.on_demand else ""
        if not self.refusal:
            self._tasks = [asyncio.create_task(instance.run()) for instance in self.instances]

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Count a request, from its head to the last byte of its answer."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self._last_used = time.monotonic()

    async def instance(
        self, *, timeout: float, but: Instance | Remote | None = None
    ) -> Instance | Remote | None:
        """Return the ready instance with the least to do, preferably another than `but`.

        Only an on-demand deployment is waited for, at most `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            ready = [instance for instance in self.instances if instance.state == "ready"]
            if ready:
                return min(ready, key=lambda one: (one is but, one.in_flight))
            if not self.spec.on_demand or time.monotonic() > deadline or self.state == "failed":
                return None
            self.wake()
            if self.refusal:
                return None
            await asyncio.sleep(0.05)

    def _shortage(self) -> str:
        missing = self.spec.memory * self.spec.instances - machine.memory().available
        if not self.spec.memory or missing <= 0:
            return ""
        return f"{self.name} does not fit: {max(missing, 1e8) / 1e9:.1f} GB of memory are missing"

    def is_forgotten(self, idle_timeout: float) -> bool:
        """Tell whether an on-demand deployment runs though nobody has asked it for long."""
        idle = time.monotonic() - self._last_used
        awake = self.spec.on_demand and bool(self._tasks) and self.in_flight == 0
        return awake and idle > idle_timeout

    async def stop(self, *, drain: float = 0.0) -> None:
        """Stop the instances, after what they are answering or after `drain` seconds."""
        deadline = time.monotonic() + drain
        while self.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        tasks = self._tasks
        for instance in self.instances:
            instance.state = "stopped"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks = []
        for instance in self.instances:
            instance.state = "idle" if self.spec.on_demand else "stopped"

    def status(self) -> DeploymentStatus:
        """Return what there is to say about the deployment."""
        return DeploymentStatus(
            version=self.spec.version,
            state=self.state,
            instances=tuple(
                InstanceStatus(one.state, one.port, one.kept.container if one.kept else None)
                for one in self.instances
            ),
            restarts=sum(one.restarts for one in self.instances),
            error=next((one.error for one in self.instances if one.error), ""),
        )


def _exit(code: int) -> str:
    return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"
