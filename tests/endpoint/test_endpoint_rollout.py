"""One deployment after another behind one gateway: switching, failing, crashing, healing.

The tests share an endpoint, so each deploys something of its own first.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from rehearsal import LIMITS, Endpoint, Load, spec

from hieno import processes
from hieno.endpoint import control
from hieno.endpoint.state import read_desired, read_observed, write_desired
from hieno.endpoint.supervisor import pause_after
from hieno.errors import Busy, HienoError
from waiting import wait_until

OTHER = {"blue": "green", "green": "blue"}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    made = Endpoint(tmp_path_factory.mktemp("endpoint") / "hieno")
    yield made
    control.down(made.folder)


def test_same_specification_is_not_deployed_twice(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("1"))
    first = endpoint.container()
    endpoint.deploy(spec("1"))
    assert endpoint.container() == first
    assert endpoint.said[-1] == f"{endpoint.live} serves version 1: nothing to do"


def test_second_deploy_keeps_the_first_one_serving(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("1"))
    first, old = endpoint.live, endpoint.container()
    second = OTHER[first]
    with Load(endpoint) as load:
        status = endpoint.deploy(spec("2"))
        wait_until(lambda: load.seen["2"] > 20, "answers of the second one")
        wait_until(lambda: not processes.is_alive(old), "the first one has ended")
    assert set(load.seen) == {"1", "2"}
    assert status.traffic == {second: 100}
    assert sorted(status.deployments) == [second]
    assert endpoint.deploy(spec("3")).traffic == {first: 100}
    assert endpoint.ask().json()["name"] == "3"


def test_old_deployment_finishes_its_stream(endpoint: Endpoint, tmp_path: Path) -> None:
    patient = replace(LIMITS, request_timeout=120)
    endpoint.deploy(spec("streaming"), limits=patient)
    go_on = tmp_path / "go-on"
    body = {"do": "stream", "file": str(go_on)}
    with endpoint.client() as client, client.stream("POST", "/score", json=body) as answer:
        events = answer.iter_raw()
        assert b"one" in next(events)
        endpoint.deploy(spec("2"), limits=patient)
        assert endpoint.ask().json()["name"] == "2"
        go_on.touch()
        assert b"".join(events) == b'data: {"answer": "two"}\n\n'


@pytest.mark.parametrize(
    ("option", "wait", "reason"),
    [
        ("--fail", 60, "the weights are broken\nloading"),
        ("--never-ready", 2, "it was not ready in time"),
        ("--refuse", 60, "it did not answer a first question: 424"),
    ],
)
def test_failed_deploy_keeps_the_old_one(
    endpoint: Endpoint, option: str, wait: float, reason: str
) -> None:
    endpoint.deploy(spec("1"))
    old, before = endpoint.live, endpoint.container()
    new = OTHER[old]
    with Load(endpoint) as load, pytest.raises(HienoError) as caught:
        endpoint.deploy(spec("2", option), wait=wait)
    assert caught.value.message.startswith(f"{new} (version 2) did not start: {reason}")
    assert caught.value.message.endswith(f"\n{old} goes on as before")
    assert caught.value.hint == (
        f"{endpoint.folder / new}.log holds all that it said; correct it, then deploy again"
    )
    assert set(load.seen) == {"1"}
    wait_until(lambda: sorted(endpoint.status().deployments) == [old], "the new one is gone")
    assert endpoint.container() == before


def test_killed_container_is_replaced(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("killed"))
    first = endpoint.container()
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: endpoint.live_state().restarts == 1, "a restart")
    wait_until(lambda: endpoint.live_state().state == "ready", "ready again")
    assert endpoint.ask().json()["pid"] == endpoint.container().pid != first.pid
    assert endpoint.live_state().error == "it was ended by signal 9"


def test_container_that_says_that_its_model_is_lost_is_replaced(
    endpoint: Endpoint,
) -> None:
    endpoint.deploy(spec("sick"))
    first = endpoint.container()
    assert endpoint.ask(do="sicken").status_code == 424
    wait_until(lambda: endpoint.live_state().restarts == 1, "a restart")
    wait_until(lambda: endpoint.live_state().state == "ready", "ready again")
    assert endpoint.ask().json()["pid"] == endpoint.container().pid != first.pid
    assert endpoint.live_state().error == "it said that its model is lost"


def test_pauses_between_restarts_grow_to_half_a_minute_and_no_further() -> None:
    assert [pause_after(failures) for failures in range(1, 8)] == [0.5, 1, 2, 4, 8, 16, 30]
    assert pause_after(100_000) == 30


def test_killed_instance_is_covered_by_the_other(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("pair", instances=2))
    with Load(endpoint) as load:
        os.kill(endpoint.container().pid, signal.SIGKILL)
        wait_until(lambda: endpoint.live_state().restarts == 1, "a restart")
    assert set(load.seen) == {"pair"}


def test_instance_that_dies_within_its_answer_is_covered_by_the_other(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.deploy(spec("pair", instances=2))
    answer = endpoint.ask(do="die-in-answer", file=str(tmp_path / "died"))
    assert (tmp_path / "died").exists()
    assert answer.json()["name"] == "pair"


def test_killed_keeper_takes_its_container_along(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("kept"))
    wait_until(lambda: len(endpoint.processes()) == 2, "earlier ones have ended")
    process, kept_by = endpoint.processes()
    assert process == endpoint.container()
    os.kill(kept_by.pid, signal.SIGKILL)
    wait_until(lambda: not processes.is_alive(process), "the container has ended")
    wait_until(lambda: endpoint.live_state().state == "ready", "ready again")


def test_no_ready_instance_is_said_in_both_dialects(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("1"))
    wanted = read_desired(endpoint.folder)
    assert wanted is not None
    broken = replace(wanted, deployments={endpoint.live: spec("2", "--never-ready")})
    write_desired(endpoint.folder, broken)
    wait_until(lambda: endpoint.live_state().version == "2", "the new one")
    answer = endpoint.ask()
    assert answer.status_code == 424
    assert answer.headers["ms-azureml-model-error-reason"] == "model_not_ready"
    assert answer.headers["ms-azureml-model-error-statuscode"] == "503"
    with endpoint.client() as client:
        answer = client.post("/v1/chat/completions", json={})
        assert client.get("/health").status_code == 503
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["error"]["code"] == "model_not_ready"


def test_container_that_dies_in_a_stream_ends_it_with_an_error_event(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("dies"))
    answer = endpoint.ask(do="die-in-stream")
    assert answer.status_code == 200
    assert answer.text == (
        'data: {"answer": "one"}\n\n\n\ndata: {"error": {"message": "the answer was cut off", '
        '"type": "server_error", "param": null, "code": "upstream_error"}}\n\n'
    )


def test_container_that_dies_in_a_whole_answer_never_looks_finished(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("dies too"))
    with pytest.raises(httpx.RemoteProtocolError):
        endpoint.ask(do="die-in-stream", type="application/json")


def test_late_answer_is_408_and_full_endpoint_429(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.deploy(spec("1"), limits=replace(LIMITS, request_timeout=3, max_concurrent=1))
    answers: list[httpx.Response] = []
    hung = [tmp_path / "a", tmp_path / "b"]
    threads = [
        threading.Thread(
            target=lambda file=file: answers.append(endpoint.ask(do="hang", file=file))
        )
        for file in map(str, hung)
    ]
    for thread in threads:
        thread.start()
    for file in hung:
        wait_until(file.with_suffix(".asked").exists, "both are being answered")
    full = endpoint.ask()
    with endpoint.client() as client:
        openai = client.post("/v1/chat/completions", json={})
    for thread in threads:
        thread.join()
    assert (full.status_code, full.content) == (429, b"")
    assert full.headers["ms-azureml-model-error-reason"] == "too_many_pending_request"
    assert openai.json()["error"]["code"] == "rate_limit_exceeded"
    assert [(one.status_code, one.text) for one in answers] == [
        (408, "upstream request timeout")
    ] * 2
    assert endpoint.ask().status_code == 200


def test_idle_base_is_stopped(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("1"), base=spec("base"), limits=replace(LIMITS, idle_timeout=0.2))
    with endpoint.client() as client:
        headers = {"azureml-model-deployment": "base"}
        for _ in range(2):
            assert client.post("/score", json={}, headers=headers).json()["name"] == "base"
            wait_until(lambda: endpoint.status().deployments["base"].state == "idle", "idle")
    wait_until(lambda: len(endpoint.processes()) == 2, "only the live one is left")


def test_traffic_is_split_by_weight(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("1"))
    wanted = read_desired(endpoint.folder)
    assert wanted is not None
    first, second = endpoint.live, OTHER[endpoint.live]
    both = {first: spec("1"), second: spec("2")}
    write_desired(endpoint.folder, replace(wanted, deployments=both, revision=1001))
    wait_until(
        lambda: second in (now := endpoint.status().deployments) and now[second].state == "ready",
        "the second deployment",
    )
    split = {first: 80, second: 20}
    write_desired(
        endpoint.folder,
        replace(wanted, deployments=both, traffic=split, revision=1002, seed=1),
    )
    wait_until(lambda: getattr(read_observed(endpoint.folder), "revision", 0) == 1002, "the split")
    with endpoint.client() as client:
        seen = Counter(client.post("/score", json={}).json()["name"] for _ in range(200))
    assert 140 <= seen["1"] <= 180
    assert seen.total() == 200
    with Load(endpoint) as load:
        endpoint.deploy(spec("3"))
    assert set(load.seen) <= {"1", "2", "3"}


def test_spoilt_wishes_change_nothing_and_are_shown(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("1"))
    path = endpoint.folder / "endpoint.json"
    good = path.read_text(encoding="utf-8")
    path.write_text("{", encoding="utf-8")
    observed = lambda: read_observed(endpoint.folder)  # noqa: E731
    wait_until(lambda: "is not valid JSON" in getattr(observed(), "problem", ""), "a problem")
    path.write_text(good, encoding="utf-8")
    wait_until(lambda: endpoint.status().problem == "", "no problem")
    assert endpoint.ask().json()["name"] == "1"


def test_two_deploys_at_once_one_wins_and_the_other_is_busy(endpoint: Endpoint) -> None:
    ends: list[object] = []

    def attempt(version: str) -> None:
        try:
            ends.append(endpoint.deploy(spec(version)).name)
        except Busy as busy:
            ends.append(busy.message)

    threads = [threading.Thread(target=attempt, args=(version,)) for version in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, ends)) == ["another command is changing the endpoint hieno", "hieno"]
