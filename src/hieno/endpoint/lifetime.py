"""The gateway's process as the commands see it: start it, wait for what it says, stop it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from hieno import keeper, processes
from hieno.endpoint import state
from hieno.endpoint.state import Observed, read_observed
from hieno.errors import Busy, HienoError, Unreachable
from hieno.processes import ProcessId

GATEWAY_OUTPUT = "gateway.out"  # what the gateway prints, which is why it ended
GATEWAY_START = 60.0  # seconds
SHOWN_LINES = 5
NO_CREDENTIAL = SecretStr("")


def start(folder: Path, *, credential: SecretStr = NO_CREDENTIAL) -> None:
    """Start the gateway unless it runs; return when it listens."""
    seen = read_observed(folder)
    if seen and processes.is_alive(seen.gateway):
        return
    _stop_left_over(folder)
    output = folder / GATEWAY_OUTPUT
    output.unlink(missing_ok=True)
    started = processes.start_detached(
        processes.python_module("hieno.endpoint", str(folder)),
        log=output,
        secret=credential.get_secret_value(),
    )
    try:
        _wait_for_gateway(folder, started)
    except BaseException:
        processes.stop(started)
        raise


def stop(folder: Path) -> list[str]:
    """Stop the gateway and all that it started; return what was stopped, in words."""
    seen = read_observed(folder)
    if seen is None:
        return []
    stopped = [
        f"{name} (process {instance.process.pid})"
        for name, deployment in seen.deployments.items()
        for instance in deployment.instances
        if instance.process and processes.is_alive(instance.process)
    ]
    desired = state.read_desired(folder)
    drain = desired.limits.drain_timeout if desired else state.Limits().drain_timeout
    if processes.stop(seen.gateway, grace=drain + keeper.GRACE + 15):
        stopped.append(f"gateway (process {seen.gateway.pid})")
    _stop_left_over(folder)
    for process in seen.processes:
        processes.stop(process, grace=keeper.GRACE)
    return stopped


def wait_until(folder: Path, holds: Callable[[Observed], bool], wait: float) -> bool:
    """Wait for what the gateway says; return whether it came true. Raises why a gateway ended."""
    deadline = time.monotonic() + wait
    while True:
        seen = read_observed(folder)
        if seen and holds(seen):
            return True
        if seen is None or not processes.is_alive(seen.gateway):
            raise _why_not(folder)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)


def _wait_for_gateway(folder: Path, started: ProcessId) -> None:
    deadline = time.monotonic() + GATEWAY_START
    while time.monotonic() < deadline:
        seen = read_observed(folder)
        if seen and processes.is_alive(seen.gateway):
            return
        if not processes.is_alive(started):
            raise _why_not(folder)
        time.sleep(0.05)
    raise Unreachable(
        f"the gateway of {folder.name} did not start within {GATEWAY_START:g} seconds",
        hint=f"{folder / GATEWAY_OUTPUT} may say why; try again when the machine has less to do",
    )


def _why_not(folder: Path) -> HienoError:
    said = state.last_lines(folder / GATEWAY_OUTPUT, SHOWN_LINES)
    if len(said) == 2 and said[0].startswith("port "):
        return Busy(said[0], hint=said[1])
    return HienoError(
        "\n".join([f"the gateway of {folder.name} did not start:", *said]),
        hint=f"{folder / GATEWAY_OUTPUT} holds all that it said",
    )


def _stop_left_over(folder: Path) -> None:
    """End the containers that a killed gateway has left, if their keepers have not yet."""
    seen = read_observed(folder)
    for process in seen.processes if seen else ():
        processes.stop(process, grace=keeper.GRACE)
