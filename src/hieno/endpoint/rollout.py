"""Bring an endpoint from one state to the next, and back when the next one does not work."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from hieno import processes
from hieno.endpoint import credentials, keeper, state
from hieno.endpoint.state import Desired, Observed, read_observed, write_desired
from hieno.errors import Busy, HienoError, Unreachable
from hieno.processes import ProcessId

GATEWAY_OUTPUT = "gateway.out"  # what the gateway prints, which is why it ended
GATEWAY_START = 60.0  # seconds
SHOWN_LINES = 5
QUESTION = {"input_data": ["Hello"], "params": {"max_new_tokens": 1}}


def switch(
    folder: Path,
    before: Desired | None,
    wanted: Desired,
    *,
    wait: float,
    say: Callable[[str], None],
) -> None:
    """Start what `wanted` gives traffic beside what serves, ask it, then move the traffic.

    Raises `HienoError`, with `before` in force again, where the new deployment does not start
    or does not answer within `wait` seconds.
    """
    [name] = wanted.traffic
    version = wanted.deployments[name].version
    deadline = time.monotonic() + wait
    beside = replace(wanted, traffic={})
    if before:
        both = {**before.deployments, **wanted.deployments}
        beside = replace(wanted, traffic=_without(name, before), deployments=both)
    try:
        say(f"{name} starts with version {version}")
        asked = _write(folder, beside)
        _start_gateway(folder)
        _wait_until_ready(folder, name, asked, deadline)
        _ask(folder, name, wanted.port, deadline)
    except BaseException:
        _go_back(folder, before)
        raise
    done = _write(folder, wanted)
    if not _wait_until(folder, lambda seen: seen.revision >= done.revision, GATEWAY_START):
        raise Unreachable(
            f"the gateway of {folder.name} has not moved the traffic to {name} yet",
            hint="`hieno status` shows when it has",
        )
    say(f"{name} serves version {version}")
    for old in before.traffic if before else ():
        say(f"{old} stops when its last answers are finished")


def keep(folder: Path, before: Desired, wanted: Desired, *, wait: float) -> None:
    """Make sure that what should serve serves, with changed limits or base where they differ."""
    deadline = time.monotonic() + wait
    if wanted != before:
        wanted = _write(folder, wanted)
    _start_gateway(folder)
    for name, share in wanted.traffic.items():
        if share > 0:
            _wait_until_ready(folder, name, wanted, deadline)


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


def _without(name: str, before: Desired) -> Mapping[str, int]:
    """Return the traffic of before, all of it on the largest where `name` had a share of it."""
    live = before.live()
    return {live: 100} if live and before.traffic.get(name) else before.traffic


def _write(folder: Path, wanted: Desired) -> Desired:
    now = state.read_desired(folder)
    numbered = replace(wanted, revision=now.revision + 1 if now else 1)
    write_desired(folder, numbered)
    return numbered


def _start_gateway(folder: Path) -> None:
    """Start the gateway unless it runs; return when it listens."""
    seen = read_observed(folder)
    if seen and processes.is_alive(seen.gateway):
        return
    _stop_left_over(folder)
    output = folder / GATEWAY_OUTPUT
    output.unlink(missing_ok=True)
    started = processes.start_detached(
        processes.python_module("hieno.endpoint", str(folder)), log=output
    )
    try:
        _wait_for_gateway(folder, started)
    except BaseException:
        processes.stop(started)
        raise


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


def _wait_until_ready(folder: Path, name: str, wanted: Desired, deadline: float) -> None:
    def settled(seen: Observed) -> bool:
        if seen.revision < wanted.revision or name not in seen.deployments:
            return False
        if any(one.state == "failed" for one in seen.deployments[name].instances):
            raise _failed(folder, name, wanted, seen.deployments[name].error)
        return all(one.state == "ready" for one in seen.deployments[name].instances)

    if not _wait_until(folder, settled, deadline - time.monotonic()):
        raise _failed(folder, name, wanted, "it was not ready in time")


def _wait_until(folder: Path, holds: Callable[[Observed], bool], wait: float) -> bool:
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


def _ask(folder: Path, name: str, port: int, deadline: float) -> None:
    """Ask the new deployment one question, by its name, before anybody else can."""
    import httpx

    wanted = state.read_desired(folder)
    headers = {
        "authorization": f"Bearer {credentials.read(folder).primary.get_secret_value()}",
        "azureml-model-deployment": name,
    }
    try:
        with httpx.Client(trust_env=False, timeout=max(1.0, deadline - time.monotonic())) as client:
            answer = client.post(f"http://127.0.0.1:{port}/score", json=QUESTION, headers=headers)
        problem = "" if answer.status_code == 200 else f"{answer.status_code} {answer.text[:300]}"
    except httpx.HTTPError as error:
        problem = f"no answer ({type(error).__name__})"
    if problem and wanted:
        raise _failed(folder, name, wanted, f"it did not answer a first question: {problem}")


def _failed(folder: Path, name: str, wanted: Desired, reason: str) -> HienoError:
    log = state.log_path(folder, name)
    lines = [line for line in state.last_lines(log, SHOWN_LINES) if line != reason]
    version = wanted.deployments[name].version
    serving = [other for other, share in wanted.traffic.items() if share > 0 and other != name]
    message = [f"{name} (version {version}) did not start: {reason}", *lines]
    message += [f"{other} goes on as before" for other in serving]
    return HienoError(
        "\n".join(message), hint=f"{log} holds all that it said; correct it, then deploy again"
    )


def _go_back(folder: Path, before: Desired | None) -> None:
    if before:
        _write(folder, before)
        return
    stop(folder)
    (folder / state.DESIRED).unlink(missing_ok=True)
    (folder / state.OBSERVED).unlink(missing_ok=True)
