"""Schemathesis on the container's own description: what fits it is answered, what does not is not.

The gateway in front must make no difference, and must let nothing pass without its key. A request
that fits the description may still be refused for what a description cannot say; those reasons are
listed here, and no other is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from conftest import Layer

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.checks")

from schemathesis import GenerationMode  # noqa: E402

ROUTES = [
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{name}"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/score"),
]
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
BEYOND_DESCRIPTION = (
    "is the assistant's own",  # the last message
    "'stream_options' needs 'stream'.",
    "the model's context is",
    "token id that is not from",
    "prompts; at most",
    "a stream answers exactly one.",
    "'ignore_eos' cannot go on",
    "is not shown to the model",  # what a template leaves out
    "an empty one.",
)
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


WRAPPED = "ms-azureml-model-error-statuscode"  # what the container said, where Azure says 424
INSIDE = ("Traceback", "site-packages", "/src/", ".py", "uvicorn", "pydantic", "h11")


def asking(layer: Layer, method: str, path: str, mode: GenerationMode) -> Callable[[Any], None]:
    def ask(case: Any) -> None:
        response = case.call(base_url=layer.url, headers=layer.headers, timeout=60)
        if WRAPPED in response.headers:
            assert (response.status_code, path) == (424, "/score")
            response.status_code = int(response.headers[WRAPPED][0])
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400:
            assert not [word for word in INSIDE if word in response.text], response.text
        if mode is GenerationMode.POSITIVE and response.status_code == 400:
            body = response.json()
            message = body["error"]["message"] if "error" in body else body["message"]
            assert any(words in message for words in BEYOND_DESCRIPTION), message
        elif mode is GenerationMode.POSITIVE:
            assert response.status_code == 200, response.text
        else:
            case.validate_response(response, checks=[checks.negative_data_rejection])
        for wrong in ({}, {"Authorization": "Bearer x"}) if layer.headers else ():
            assert case.call(base_url=layer.url, headers=wrong, timeout=60).status_code == 401

    answer = httpx.get(f"{layer.url}/v1/openapi.json", headers=layer.headers, trust_env=False)
    operation = schemathesis.openapi.from_dict(answer.json())[path][method]
    return given(case=operation.as_strategy(generation_mode=mode))(ask)


def possible(mode: GenerationMode, path: str) -> bool:
    return mode is GenerationMode.POSITIVE or path != "/v1/models"  # which has nothing to be wrong


KINDS = [(*route, mode) for route in ROUTES for mode in MODES if possible(mode, route[1])]


@pytest.mark.parametrize(("method", "path", "mode"), KINDS)
@pytest.mark.parametrize(("layer", "examples"), [("container", 40), ("gateway", 10)])
def test_a_server_does_what_its_description_says(
    layers: dict[str, Layer],
    layer: str,
    examples: int,
    method: str,
    path: str,
    mode: GenerationMode,
) -> None:
    few = settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    few(asking(layers[layer], method, path, mode))()


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path", "mode"), KINDS)
@pytest.mark.parametrize("layer", ["container", "gateway"])
def test_a_server_does_what_its_description_says_at_length(
    layers: dict[str, Layer], layer: str, method: str, path: str, mode: GenerationMode
) -> None:
    many = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
    many(asking(layers[layer], method, path, mode))()
