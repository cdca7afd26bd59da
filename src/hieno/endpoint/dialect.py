"""What the gateway itself answers: one problem, in the words of Azure or of OpenAI.

`/v1` and the chat page speak OpenAI's error objects with all four keys; every other route speaks as
an Azure Machine Learning online endpoint does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from hieno.endpoint.upstream import Headers


@dataclass(frozen=True)
class Problem:
    """Why a request is not relayed.

    `text` is Azure's plain body (None: a JSON object with the message), `reason` its
    `ms-azureml-model-error-reason`; `azure_status` differs where Azure has no such code.
    """

    status: int
    code: str
    message: str
    kind: str = "invalid_request_error"
    text: str | None = None
    reason: str = ""
    azure_status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def allowing(self, methods: tuple[str, ...]) -> Problem:
        """Name the methods that a route has."""
        return replace(self, headers=((b"allow", ", ".join(methods).encode()),))


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes
    headers: Headers = field(default_factory=list)


BAD_HOST = Problem(400, "invalid_host", "this endpoint answers to 127.0.0.1 and localhost only")
BAD_TARGET = Problem(400, "invalid_url", "the address of the request is malformed")
BAD_LENGTH = Problem(400, "invalid_length", "the body's length is given in two ways")
BAD_REQUEST_ID = Problem(
    431, "invalid_request_id", "x-request-id must not exceed 100 visible ASCII characters"
)
BIG_HEADERS = Problem(431, "headers_too_large", "the headers of the request are too large")
KEY_REFUSED = Problem(
    401,
    "invalid_api_key",
    "the key is missing or wrong; `hieno keys` shows yours",
    text="key_auth_access_denied",
    headers=((b"www-authenticate", b"Bearer"),),
)
KEY_MALFORMED = replace(
    KEY_REFUSED,
    message="the header must be `Authorization: Bearer KEY`",
    text="key_auth_bad_header_forbidden",
)
NO_ROUTE = Problem(404, "unknown_url", "there is no such address here")
NO_METHOD = Problem(405, "method_not_allowed", "this address does not take that method")
NO_DEPLOYMENT = Problem(404, "model_not_found", "no deployment of that name is here")
NO_TRAFFIC = Problem(404, "model_not_found", "no valid deployment with positive weight")
BODY_TOO_LARGE = Problem(413, "request_too_large", "the body of the request is too large")
BODY_TOO_SLOW = Problem(
    408,
    "request_timeout",
    "the body of the request took too long to arrive",
    kind="timeout_error",
)
TIMED_OUT = Problem(
    408,
    "request_timeout",
    "the model did not answer in time",
    kind="timeout_error",
    text="upstream request timeout",
)
TOO_MANY = Problem(
    429,
    "rate_limit_exceeded",
    "too many requests are being answered; try again soon",
    kind="rate_limit_error",
    text="",
    reason="too_many_pending_request",
    headers=((b"retry-after", b"1"),),
)
NOT_READY = Problem(
    503,
    "model_not_ready",
    "the model is not ready yet; try again soon",
    kind="service_unavailable_error",
    reason="model_not_ready",
    azure_status=424,
    headers=((b"retry-after", b"2"),),
)


def speaks_openai(path: str) -> bool:
    """Tell which dialect a path's answers are in."""
    return path == "/v1" or path.startswith(("/v1/", "/chat/"))


def refuse(problem: Problem, path: str) -> Reply:
    """Put a problem in the words of the route."""
    return _openai(problem) if speaks_openai(path) else _azure(problem)


def broken_stream() -> bytes:
    """Return the event that ends a stream whose container went away: never a bare cut."""
    return (
        b"\n\ndata: " + _error("the answer was cut off", "server_error", "upstream_error") + b"\n\n"
    )


def _openai(problem: Problem) -> Reply:
    body = _error(problem.message, problem.kind, problem.code)
    return Reply(problem.status, body, [(b"content-type", b"application/json"), *problem.headers])


def _azure(problem: Problem) -> Reply:
    status = problem.azure_status or problem.status
    headers = list(problem.headers)
    if problem.reason:
        headers.append((b"ms-azureml-model-error-reason", problem.reason.encode()))
    if status == 424:
        headers.append((b"ms-azureml-model-error-statuscode", str(problem.status).encode()))
    if problem.text is not None:
        return Reply(status, problem.text.encode(), [(b"content-type", b"text/plain"), *headers])
    body = json.dumps({"message": problem.message}).encode()
    return Reply(status, body, [(b"content-type", b"application/json"), *headers])


def _error(message: str, kind: str, code: str) -> bytes:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return json.dumps({"error": error}).encode()
