"""Traces of the gateway, as a collector gets them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from rehearsal import Endpoint, spec
from visiting import question

from collector import Collector, collecting
from hieno.endpoint import control
from hieno.endpoint.page import invitations
from hieno.endpoint.requests import find_request

SECRET = "xyzzy-prompt-that-no-span-may-hold"
CALLER = "00-11111111111111111111111111111111-2222222222222222-01"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")  # milliseconds
        yield made


def test_a_request_is_one_span_below_the_callers_and_above_the_containers(
    endpoint: Endpoint, collector: Collector
) -> None:
    endpoint.deploy(replace(spec("7"), data_digest="ab12"))
    collector.wait_for(1)  # the question that a new deployment is asked
    body = {"secret": SECRET}
    with endpoint.client() as client:
        headers = {"traceparent": CALLER, "tracestate": "a=b", "x-request-id": "mine"}
        seen = client.post(f"/score?q={SECRET}", json=body, headers=headers).json()["headers"]
        client.get("/health")
        client.get("/metrics")
        client.get(f"/{SECRET}")
        client.post("/v1/chat/completions", json={"do": "status", "status": 500})
    spans = collector.wait_for(3)[1:]
    assert [span.name for span in spans] == ["POST /score", "POST /v1/"]
    first, second = spans
    assert (first.service, first.parent, first.failed) == ("hieno-gateway", "2" * 16, False)
    assert seen["traceparent"] == f"00-{'1' * 32}-{first.id}-01"
    assert seen["tracestate"] == "a=b"
    assert 0 < float(str(first.attributes.pop("hieno.first_byte_seconds"))) < 60
    assert first.attributes == {
        "http.request.method": "POST",
        "http.route": "/score",
        "http.response.status_code": 200,
        "hieno.request_id": "mine",
        "hieno.deployment": "blue",
        "hieno.model_version": "7",
        "hieno.data_digest": "ab12",
    }
    assert (second.failed, second.attributes["http.response.status_code"]) == (True, 500)
    assert second.trace != first.trace
    key = control.keys(endpoint.folder).primary.get_secret_value()
    assert SECRET.encode() not in collector.raw
    assert key.encode() not in collector.raw


def test_a_question_of_the_page_is_logged_and_traced_as_any_other(
    endpoint: Endpoint, collector: Collector
) -> None:
    endpoint.deploy(replace(spec("7"), data_digest="ab12"))
    collector.wait_for(1)  # the question that a new deployment is asked
    [code] = invitations.invite(endpoint.folder)
    url = endpoint.status().url
    with httpx.Client(base_url=url, headers={"origin": url}, trust_env=False, timeout=30) as page:
        page.post("/chat/api/session", json={"code": code.get_secret_value()})
        page.get("/chat/main.js")
        mine = {"x-request-id": "mine"}
        seen = page.post("/chat/api/completions", json=question(SECRET), headers=mine).json()
    [span] = collector.wait_for(2)[1:]
    assert (span.name, span.failed) == ("POST /chat/api/completions", False)
    assert seen["headers"]["traceparent"].startswith(f"00-{span.trace}-{span.id}-")
    told = {name.removeprefix("hieno."): value for name, value in span.attributes.items()}
    assert (told["request_id"], told["deployment"]) == ("mine", "blue")
    assert (told["model_version"], told["data_digest"]) == ("7", "ab12")
    assert SECRET.encode() not in collector.raw
    logged = find_request(endpoint.folder.parent, "mine")
    assert logged is not None
    assert (logged.path, logged.status) == ("/chat/api/completions", 200)
    assert (logged.deployment, logged.version) == ("blue", "7")


def test_a_collector_that_is_away_costs_no_answer(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    endpoint.deploy(spec("1"))
    assert all(endpoint.ask().status_code == 200 for _ in range(5))


def test_without_a_collector_the_callers_trace_goes_on_as_it_came(
    running: Endpoint, tmp_path: Path
) -> None:
    with running.client() as client:
        seen = client.post("/score", json={}, headers={"traceparent": CALLER}).json()["headers"]
    assert seen["traceparent"] == CALLER
