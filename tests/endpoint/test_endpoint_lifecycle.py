"""An endpoint's beginning and end: first deployment, port, crash of the gateway, down."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rehearsal import LIMITS, Endpoint, spec

from hieno import ports, processes
from hieno.endpoint import control, logs, upstream
from hieno.endpoint.state import DeploymentSpec, Desired, read_desired, read_observed, write_desired
from hieno.endpoint.supervisor import Instance
from hieno.errors import Busy, HienoError, MissingInput, UsageError
from loopback import Speaking, served
from waiting import wait_until


def test_nothing_deployed_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "hieno"
    assert control.status(folder) is None
    assert control.down(folder) == []
    with pytest.raises(MissingInput, match="there is no endpoint in") as caught:
        control.keys(folder)
    assert caught.value.hint == "`hieno deploy` makes one, with its keys"
    with pytest.raises(MissingInput, match="there is no endpoint in"):
        control.ensure_running(folder)


def test_taken_port_is_passed_over(endpoint: Endpoint) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status = endpoint.deploy(spec("1"), port=port)
    chosen = int(status.url.rpartition(":")[2])
    assert port < chosen < port + 100
    assert status.score_url == f"http://127.0.0.1:{chosen}/score"


def test_port_that_another_takes_at_the_same_moment_is_passed_over(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ports.reserve() as taken:
        lost = ports.number(taken)
        looked = iter([lost, ports.free_port()])  # the first was free when it was looked at
        monkeypatch.setattr(ports, "free_port", lambda _: next(looked))
        status = endpoint.deploy(spec("1"), port=lost)
    assert not status.url.endswith(f":{lost}")
    assert endpoint.ask().status_code == 200


def test_stranger_on_the_port_is_not_taken_for_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stranger(Speaking):
        def do_GET(self) -> None:
            self.send(200, b"Healthy", {})

    async def ports_when_ready(looked: Iterator[int]) -> set[int]:
        monkeypatch.setattr(ports, "free_port", lambda: next(looked))
        ready: set[int] = set()
        found = asyncio.Event()

        def changed() -> None:
            if instance.state == "ready":
                ready.add(instance.port)
                found.set()

        async with upstream.client() as client:
            instance = Instance(
                spec("1"), log=tmp_path / "log", limits=LIMITS, client=client, changed=changed
            )
            running = asyncio.create_task(instance.run())
            await asyncio.wait_for(found.wait(), 60)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return ready

    with served(Stranger) as url:
        taken, free = int(url.rpartition(":")[2]), ports.free_port()
        assert asyncio.run(ports_when_ready(iter([taken, free]))) == {free}


def test_failed_first_deploy_leaves_nothing_running(endpoint: Endpoint) -> None:
    with pytest.raises(HienoError, match="the weights are broken"):
        endpoint.deploy(spec("1", "--fail"))
    assert control.status(endpoint.folder) is None
    assert read_observed(endpoint.folder) is None


def test_command_that_does_not_exist_is_a_failed_deploy(endpoint: Endpoint) -> None:
    missing = DeploymentSpec(version="1", command=("/no/such/program",))
    with pytest.raises(HienoError, match=r"No such file or directory: '/no/such/program'"):
        endpoint.deploy(missing)


def test_impossible_traffic_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    deployments = {"blue": spec("1"), "green": spec("2")}
    good = Desired(name="hieno", port=9000, traffic={"blue": 100}, deployments=deployments)
    write_desired(tmp_path, good)
    for traffic, problem in (
        ({"blue": 60, "green": 60}, "the traffic adds up to 120, not to 0 or 100"),
        ({"blue": 101}, "the traffic of blue is 101; it is a share of 0 to 100"),
        ({"blue": -1, "green": 101}, "the traffic of blue is -1; it is a share of 0 to 100"),
        ({"red": 100}, "traffic goes to red, which is not deployed"),
    ):
        with pytest.raises(UsageError) as caught:
            write_desired(tmp_path, replace(good, traffic=traffic))
        assert caught.value.message == f"endpoint hieno: {problem}"
    assert read_desired(tmp_path) == good


def test_killed_gateway_leaves_no_container_and_comes_back(endpoint: Endpoint) -> None:
    url = endpoint.deploy(spec("1", instances=2)).url
    keys = control.keys(endpoint.folder)
    left = endpoint.processes()
    assert len(left) == 4
    os.kill(endpoint.gateway().pid, signal.SIGKILL)
    wait_until(lambda: not any(map(processes.is_alive, left)), "all containers have ended")
    assert not endpoint.status().alive
    assert endpoint.live_state().state == "stopped"
    status = control.ensure_running(endpoint.folder)
    assert (status.alive, status.url) == (True, url)
    assert control.keys(endpoint.folder) == keys
    assert endpoint.ask().json()["name"] == "1"


def test_lost_port_is_named_when_the_gateway_comes_back(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("1"))
    port = int(endpoint.status().url.rpartition(":")[2])
    control.down(endpoint.folder)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(Busy, match=f"port {port} is taken by another program"):
            control.ensure_running(endpoint.folder)


def test_down_stops_exactly_what_was_started(endpoint: Endpoint, tmp_path: Path) -> None:
    other = Endpoint(tmp_path / "other")
    other.deploy(spec("1"))
    endpoint.deploy(spec("1"))
    mine = [endpoint.gateway(), *endpoint.processes()]
    expected = [
        f"blue (process {endpoint.container().pid})",
        f"gateway (process {mine[0].pid})",
    ]
    try:
        assert control.down(endpoint.folder) == expected
        assert not any(map(processes.is_alive, mine))
        assert other.ask().json()["name"] == "1"
        assert control.down(endpoint.folder) == []
    finally:
        control.down(other.folder)


def test_stopping_gateway_finishes_its_answers(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.deploy(spec("1"))
    go_on = tmp_path / "go-on"
    body = {"do": "stream", "file": str(go_on)}
    process = endpoint.gateway()
    with endpoint.client() as client, client.stream("POST", "/score", json=body) as answer:
        events = answer.iter_raw()
        assert b"one" in next(events)
        os.kill(process.pid, signal.SIGTERM)
        port = int(endpoint.status().url.rpartition(":")[2])
        wait_until(lambda: ports.port_is_free(port), "it does not listen any more")
        go_on.touch()
        assert b"".join(events) == b'data: {"answer": "two"}\n\n'
    wait_until(lambda: not processes.is_alive(process), "the gateway has ended")
    assert endpoint.processes() == ()


def test_logs_are_the_last_lines_of_a_deployment(endpoint: Endpoint) -> None:
    with pytest.raises(HienoError):
        endpoint.deploy(spec("1", "--fail"))
    assert logs.last(endpoint.folder, "blue", lines=1) == ["the weights are broken"]
    for name in ("green", "../blue"):
        with pytest.raises(MissingInput, match="the endpoint hieno has no log of"):
            logs.last(endpoint.folder, name)
