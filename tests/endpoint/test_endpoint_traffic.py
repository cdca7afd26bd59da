"""Traffic by hand, the way back, the mirror, and steps that are watched at the gateway."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rehearsal import GUARD, LIMITS, Endpoint, Load, spec

from hieno.endpoint import control
from hieno.endpoint.examination import Question
from hieno.endpoint.shares import divide, roll_back
from hieno.endpoint.state import read_desired, write_desired
from hieno.endpoint.watch import Guard
from hieno.errors import HienoError, MissingInput, UsageError
from waiting import wait_until


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """An endpoint with version 1 retired as blue and version 2 serving as green."""
    made = Endpoint(tmp_path_factory.mktemp("endpoint") / "hieno")
    made.deploy(spec("1"))
    made.deploy(spec("2"))
    yield made
    control.down(made.folder)


def metric(endpoint: Endpoint, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that carry these labels."""
    with endpoint.client() as client:
        page = client.get("/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_retired_deployment_that_is_named_is_started_again(pair: Endpoint) -> None:
    divide(pair.folder, {"green": 100})
    assert control.status(pair.folder).retired == {"blue": "1"}  # type: ignore[union-attr]
    status = divide(pair.folder, {"blue": 30, "green": 70}, say=pair.said.append)
    assert status.traffic == {"blue": 30, "green": 70}
    assert pair.said[-2:] == [
        "blue starts with version 1",
        "blue serves version 1: blue 30%, green 70%",
    ]
    with pair.client() as client:
        seen = Counter(client.post("/score", json={}).json()["name"] for _ in range(100))
    assert seen["1"] > 5
    assert seen["2"] > 30


def test_unnamed_deployment_is_retired_after_its_answers(pair: Endpoint) -> None:
    divide(pair.folder, {"blue": 50, "green": 50})
    with Load(pair) as load:
        status = divide(pair.folder, {"blue": 100})
        wait_until(lambda: len(pair.processes()) == 2, "green has ended")
    assert set(load.seen) <= {"1", "2"}
    assert (list(status.deployments), status.retired) == (["blue"], {"green": "2"})


@pytest.mark.parametrize(
    ("shares", "mirror", "message"),
    [
        ({"blue": 60, "green": 60}, {}, "blue=60 green=60 does not divide the traffic of blue, gr"),
        ({"red": 100}, {}, "red=100 does not divide the traffic of blue, green"),
        ({}, {}, "no share does not divide the traffic of blue, green"),
        ({"blue": 101, "green": -1}, {}, "endpoint hieno: the traffic of blue is 101; it is a sh"),
        ({"green": 100}, {"blue": 10}, "endpoint hieno: the mirror copies to blue, which is not"),
        ({"green": 100, "blue": 0}, {"blue": 51}, "endpoint hieno: the mirror of blue is 51; 1 to"),
        ({"green": 50, "blue": 50}, {"blue": 9}, "endpoint hieno: blue has traffic of its own; th"),
        (
            {"green": 100, "blue": 0},
            {"blue": 9, "green": 9},
            "endpoint hieno: the mirror names blue and green; one deployment is possible",
        ),
    ],
)
def test_senseless_traffic_is_refused_and_changes_nothing(
    pair: Endpoint, shares: dict[str, int], mirror: dict[str, int], message: str
) -> None:
    before = read_desired(pair.folder)
    with pytest.raises(UsageError) as caught:
        divide(pair.folder, shares, mirror=mirror)
    assert caught.value.message.startswith(message)
    assert read_desired(pair.folder) == before


def test_rollback_leads_back_and_a_second_one_forward(pair: Endpoint) -> None:
    divide(pair.folder, {"green": 100})
    with Load(pair) as load:
        assert roll_back(pair.folder).traffic == {"blue": 100}
        assert pair.ask().json()["name"] == "1"
        desired = read_desired(pair.folder)
        assert desired is not None
        assert desired.is_held()
        assert roll_back(pair.folder).traffic == {"green": 100}
        assert pair.ask().json()["name"] == "2"
    assert set(load.seen) == {"1", "2"}


def test_rollback_of_a_split_leads_to_the_older_one(pair: Endpoint) -> None:
    divide(pair.folder, {"blue": 90, "green": 10})
    assert roll_back(pair.folder).traffic == {"blue": 100}


def test_rollback_without_an_earlier_deployment_says_so(endpoint: Endpoint) -> None:
    with pytest.raises(MissingInput, match="there is no endpoint in"):
        roll_back(endpoint.folder)
    endpoint.deploy(spec("1"))
    with pytest.raises(MissingInput, match="the endpoint hieno has had one deployment only"):
        roll_back(endpoint.folder)


def test_rollback_to_a_model_that_is_gone_changes_nothing(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    (tmp_path / "package").mkdir()
    endpoint.deploy(replace(spec("1"), root=str(tmp_path / "package")))
    endpoint.deploy(spec("2"))
    shutil.rmtree(tmp_path / "package")
    with pytest.raises(MissingInput, match=r"the model of blue \(version 1\) is gone: "):
        roll_back(endpoint.folder)
    assert endpoint.ask().json()["name"] == "2"


def test_rollback_to_what_does_not_start_keeps_what_serves(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("1"))
    endpoint.deploy(spec("2"))
    desired = read_desired(endpoint.folder)
    assert desired is not None
    write_desired(endpoint.folder, replace(desired, retired={"blue": spec("1", "--fail")}))
    with Load(endpoint) as load, pytest.raises(HienoError, match="the weights are broken"):
        roll_back(endpoint.folder)
    assert set(load.seen) == {"2"}
    assert control.status(endpoint.folder).traffic == {"green": 100}  # type: ignore[union-attr]


def test_new_version_gets_the_traffic_in_steps(pair: Endpoint) -> None:
    divide(pair.folder, {"green": 100})
    with Load(pair) as load:
        pair.deploy(spec("3"))
    assert pair.said[-6:] == [
        "blue starts with version 3",
        "blue has 10% of the traffic",
        "blue has 50% of the traffic",
        "blue has 100% of the traffic",
        "blue serves version 3",
        "green stops when its last answers are finished",
    ]
    assert set(load.seen) == {"2", "3"}
    pair.deploy(spec("2"))


def test_steps_that_end_early_leave_both_serving(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("1"))
    status = endpoint.deploy(spec("2"), guard=replace(GUARD, steps=(10, 40)))
    assert status.traffic == {"blue": 60, "green": 40}
    assert endpoint.said[-1] == "green serves version 2: blue 60%, green 40%"
    assert roll_back(endpoint.folder).traffic == {"blue": 100}


@pytest.mark.parametrize(
    ("options", "guard", "problem"),
    [
        (
            ("--refuse-after", "6"),
            Guard(step_requests=40),
            r"failed at \d+% of the traffic: (\d+ of \d+ answers failed|it did not answer )",
        ),
        (
            ("--delay", "1.2"),
            Guard(step_requests=40),
            r"failed at \d+% of the traffic: 95% of its answers took up to \d\.\d\d s, those of",
        ),
    ],
)
def test_version_that_fails_under_traffic_is_rolled_back(
    endpoint: Endpoint, options: tuple[str, ...], guard: Guard, problem: str
) -> None:
    endpoint.deploy(spec("1"))
    with Load(endpoint, clients=8) as load, pytest.raises(HienoError, match=problem) as caught:
        endpoint.deploy(spec("2", *options), guard=guard)
    assert caught.value.message.endswith("\nblue goes on as before")
    assert control.status(endpoint.folder).traffic == {"blue": 100}  # type: ignore[union-attr]
    wait_until(lambda: len(endpoint.processes()) == 2, "the new one has ended")
    assert load.seen["1"] > 100


def test_killed_roll_out_counts_as_failed(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("1"))
    desired = read_desired(endpoint.folder)
    assert desired is not None
    half = replace(
        desired,
        traffic={"blue": 90, "green": 10},
        deployments={**desired.deployments, "green": spec("2")},
        newest="green",
        settled=False,
        revision=desired.revision + 1,
    )
    write_desired(endpoint.folder, half)
    status = control.ensure_running(endpoint.folder)
    assert (status.traffic, list(status.deployments)) == ({"blue": 100}, ["blue"])
    endpoint.deploy(spec("2"))
    assert endpoint.live == "green"


def test_held_out_questions_are_asked_before_the_traffic_moves(endpoint: Endpoint) -> None:
    chat = [{"role": "user", "content": "What is the word?"}]
    asked = [Question(chat, "The word is tamarind. It is a tree.")]
    endpoint.deploy(spec("1", "--say", "The word is tamarind."), questions=asked)
    assert endpoint.said == [
        "blue starts with version 1",
        "blue answers 1 held-out questions as it was evaluated (1.00)",
        "blue serves version 1",
    ]
    with pytest.raises(HienoError) as caught:
        endpoint.deploy(spec("2", "--say", "I do not know."), questions=asked)
    assert caught.value.message == (
        "green (version 2) does not answer as it was evaluated: 1 held-out questions, likeness"
        " 0.00 (at least 0.5)\nblue goes on as before"
    )
    assert endpoint.live == "blue"


def test_mirror_gets_copies_and_nobody_waits_for_it(endpoint: Endpoint, tmp_path: Path) -> None:
    record = tmp_path / "record"
    endpoint.deploy(spec("1", "--record", str(record)))
    endpoint.deploy(spec("2"))
    divide(endpoint.folder, {"green": 100, "blue": 0}, mirror={"blue": 50})
    with endpoint.client() as client:
        for number in range(60):
            answer = client.post("/score", json={}, headers={"x-request-id": f"copy-{number}"})
            assert answer.json()["name"] == "2"
        for _ in range(12):
            named = {"azureml-model-deployment": "green", "x-request-id": "copy-named"}
            client.post("/score", json={}, headers=named)
    wait_until(lambda: metric(endpoint, "hieno_in_flight", deployment="blue") == 0, "all copies")
    copies = [line for line in record.read_text("utf-8").splitlines() if line.startswith("copy-")]
    assert 10 <= len(copies) <= 50
    assert "copy-named" not in copies
    assert metric(endpoint, "hieno_mirrored_total", outcome="answered") == len(copies)


def test_instance_with_the_least_to_do_is_asked(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.deploy(spec("1", instances=2))
    go_on = tmp_path / "go-on"
    body = {"do": "stream", "file": str(go_on)}
    with endpoint.client() as client, client.stream("POST", "/score", json=body) as answer:
        events = answer.iter_raw()
        next(events)
        [idle] = {endpoint.ask().json()["pid"] for _ in range(8)}
        os.kill(idle, signal.SIGKILL)  # which the stream does not notice
        go_on.touch()
        assert b"".join(events) == b'data: {"answer": "two"}\n\n'


def test_broken_mirror_is_noticed_by_the_metrics_alone(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("1", "--refuse-after", "2"))
    endpoint.deploy(spec("2"))
    divide(endpoint.folder, {"green": 100, "blue": 0})
    divide(endpoint.folder, {"green": 100, "blue": 0}, mirror={"blue": 50})
    with endpoint.client() as client:
        seen = Counter(client.post("/score", json={}).json()["name"] for _ in range(40))
    assert seen == {"2": 40}
    failed = lambda: metric(endpoint, "hieno_mirrored_total", outcome="failed")  # noqa: E731
    wait_until(lambda: failed() > 3, "copies that failed")


def test_metrics_need_a_key_and_count_by_deployment(endpoint: Endpoint) -> None:
    endpoint.deploy(replace(spec("1"), data_digest="d1"))
    with endpoint.client(key="x") as client:
        assert client.get("/metrics").status_code == 401
    for _ in range(3):
        endpoint.ask()
    endpoint.ask(do="status", status=500)
    one = {"deployment": "blue"}
    before = metric(endpoint, "hieno_request_seconds_count", **one)
    assert metric(endpoint, "hieno_requests_total", code="424", route="/score", **one) == 1
    assert metric(endpoint, "hieno_failures_total", **one) == 1
    assert metric(endpoint, "hieno_requests_total", code="200", route="/score", **one) == before - 1
    assert metric(endpoint, "hieno_model", version="1", data_digest="d1", **one) == 1
    assert metric(endpoint, "hieno_traffic_percent", **one) == 100
    assert metric(endpoint, "hieno_ready_instances", **one) == 1
    assert metric(endpoint, "hieno_requests_total", code="401", deployment="none") == 1


def test_base_that_does_not_fit_is_refused_with_what_is_missing(endpoint: Endpoint) -> None:
    large = replace(spec("base"), memory=10**15)
    endpoint.deploy(spec("1"), base=large, limits=replace(LIMITS, idle_timeout=600))
    with endpoint.client() as client:
        answer = client.post("/v1/chat/completions", json={"model": "base"})
    assert answer.status_code == 503
    message = answer.json()["error"]["message"]
    assert message.startswith("base does not fit: 999")
    assert message.endswith(" GB of memory are missing")
    assert endpoint.ask().json()["name"] == "1"
