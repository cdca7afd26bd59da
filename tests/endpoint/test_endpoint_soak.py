"""A real model behind a real gateway under mixed load: nothing is lost, mixed or leaked.

A minute by default; `make soak` takes an hour (`HIENO_SOAK_SECONDS`): one half of it in peace, to
see whether memory grows, and one half with kills, deployments, rollbacks and renewed keys.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from mixture import Mixture, references
from rehearsal import Endpoint, everything

from hieno.endpoint.state import DeploymentSpec, Limits
from hieno.processes import python_module
from waiting import wait_until

LOAD_SECONDS = 60.0
SOAK_SECONDS = float(os.environ.get("HIENO_SOAK_SECONDS", "3600"))
MEMORY_SLOPE = 0.01  # of a process's memory, an hour
WARM = 15_000_000  # bytes that caches may still take after the first requests
LIMITS = Limits(request_timeout=120, max_concurrent=16, drain_timeout=10)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def of(model: Path, version: str) -> DeploymentSpec:
    command = python_module("hieno.serve", str(model), "--port", "{port}", "--name", "tiny")
    flags = ("--engine", "transformers", "--max-requests", "16", "--max-new-tokens", "2000")
    return DeploymentSpec(version, (*command, *flags))


def idle(endpoint: Endpoint) -> bool:
    """Tell whether nobody holds a slot of the gateway or of the model any more."""
    with endpoint.client() as client:
        lines = client.get("/metrics").text.splitlines()
    flying = [line for line in lines if line.startswith("hieno_in_flight{")]
    return bool(flying) and all(line.endswith(" 0.0") for line in flying)


def slots(endpoint: Endpoint) -> int:
    import httpx

    port = endpoint.live_state().instances[0].port
    return int(httpx.get(f"http://127.0.0.1:{port}/health").json()["in_flight"])


def measured(endpoint: Endpoint) -> dict[str, psutil.Process]:
    """Return the processes whose memory may not grow; an engine may have one of its own."""
    container = psutil.Process(endpoint.container().pid)
    gateway = psutil.Process(endpoint.gateway().pid)
    engines = {f"engine {each.pid}": each for each in container.children(recursive=True)}
    return {"gateway": gateway, "container": container, **engines}


def slope(sizes: list[tuple[float, int]]) -> float:
    """Return by how much of itself a size grows in an hour (least squares)."""
    times = [when / 3600 for when, _ in sizes]
    values = [float(size) for _, size in sizes]
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((when - middle) ** 2 for when in times)
    rise = sum((when - middle) * (size - mean) for when, size in zip(times, values, strict=True))
    return rise / spread / mean


def test_minute_of_mixed_load_loses_mixes_and_keeps_nothing(
    endpoint: Endpoint, tiny_model: Path
) -> None:
    endpoint.deploy(of(tiny_model, "1"), limits=LIMITS, wait=300)
    expected = references(endpoint)
    processes = list(measured(endpoint).values())
    ends = time.monotonic() + LOAD_SECONDS
    with Mixture(endpoint, expected, clients=4, pause=0.3) as mixture:
        mixture.more(60)
        before = [process.memory_info().rss for process in processes]
        while time.monotonic() < ends and not mixture.wrong:
            mixture.more(10)
    assert mixture.wrong == []
    assert len(mixture.done) == 6  # of every kind there were some
    wait_until(lambda: idle(endpoint) and slots(endpoint) == 0, "every slot is free again")
    after = [process.memory_info().rss for process in processes]
    assert all(now < then + WARM for then, now in zip(before, after, strict=True))
    assert references(endpoint) == expected


@pytest.mark.slow
@pytest.mark.skipif("HIENO_SOAK_SECONDS" not in os.environ, reason="an hour: run `make soak`")
def test_hour_of_mixed_load_loses_mixes_and_keeps_nothing(
    endpoint: Endpoint, tiny_model: Path
) -> None:
    endpoint.deploy(of(tiny_model, "1"), limits=LIMITS, wait=300)
    expected = references(endpoint)
    named = measured(endpoint)
    sizes: dict[str, list[tuple[float, int]]] = {name: [] for name in named}
    began = time.monotonic()
    with Mixture(endpoint, expected, clients=8, pause=0.05) as mixture:
        while time.monotonic() < began + SOAK_SECONDS / 2 and not mixture.wrong:
            mixture.more(50)
            for name, process in named.items():
                sizes[name].append((time.monotonic() - began, process.memory_info().rss))
    print(f"in peace: {dict(mixture.done)}")
    assert mixture.wrong == []
    wait_until(lambda: idle(endpoint) and slots(endpoint) == 0, "every slot is free again")
    for name, found in sizes.items():
        settled = found[len(found) // 5 :]  # caches fill at first
        rise = slope(settled)
        print(f"{name}: {settled[0][1]} -> {settled[-1][1]} bytes, {rise:+.2%} an hour")
        # in less than an hour a slope says little: then it is the growth itself that is bounded
        hours = (settled[-1][0] - settled[0][0]) / 3600
        assert rise * max(hours, 1e-9) <= MEMORY_SLOPE * max(1.0, hours), name
    in_turmoil(endpoint, tiny_model, lambda _: time.monotonic() < began + SOAK_SECONDS)


@pytest.mark.slow
def test_kills_deployments_keys_and_drains_cost_a_real_model_no_answer(
    endpoint: Endpoint, tiny_model: Path
) -> None:
    in_turmoil(endpoint, tiny_model, lambda rounds: rounds < 2)


def in_turmoil(endpoint: Endpoint, model: Path, more: Callable[[int], bool]) -> None:
    """Do everything to two instances of a model that is asked all the time, round after round."""

    def pair(version: str) -> DeploymentSpec:
        return replace(of(model, version), instances=2)

    endpoint.deploy(pair("0"), limits=LIMITS, wait=300)
    expected, rounds = references(endpoint), 0
    with Mixture(endpoint, expected, clients=8, pause=0.05, may_break=True) as mixture:
        while more(rounds) and not mixture.wrong:
            rounds += 1
            everything(endpoint, mixture, rounds, pair)
    print(f"{rounds} rounds of kills and deployments: {dict(mixture.done)}")
    assert mixture.wrong == []
    wait_until(lambda: idle(endpoint), "every slot is free again")
