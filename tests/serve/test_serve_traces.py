"""Traces of the container, as a collector gets them."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from serving import Client, run

from collector import collecting
from hieno.serve.app import make_app
from hieno.tracing import open_traces

SECRET = "xyzzy-prompt-that-no-span-may-hold"
GATEWAY = "00-11111111111111111111111111111111-2222222222222222-01"


def test_an_answer_is_a_span_below_the_gateways(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(app: object) -> None:
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as asking:
            body = {"input_data": [SECRET], "params": {"max_new_tokens": 1}}
            headers = {"traceparent": GATEWAY}
            answers = await asyncio.gather(
                asking.post("/score", json=body, headers=headers),
                asking.get("/health"),
                asking.get(f"/v1/models/{SECRET}"),
            )
        assert [answer.status_code for answer in answers] == [200, 200, 404]

    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
        traces = open_traces("hieno-container")
        run(ask(make_app(client.service, traces=traces)))
        traces.close()
        [span] = collector.spans
    assert (span.service, span.name, span.parent) == ("mine", "POST /score", "2" * 16)
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": "/score",
        "http.response.status_code": 200,
        "hieno.model_version": "7",
        "hieno.data_digest": "ab12",
    }
    assert SECRET.encode() not in collector.raw


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_traced_unless_it_is_asked_for(environment: dict[str, str]) -> None:
    trace = open_traces("hieno-container", environment).begin("POST /score", [])
    assert trace.parent() == []
