"""How tests ask the server of a flow or an agent project, and what its endpoint may refuse."""

from __future__ import annotations

import json

import httpx
from pydantic import SecretStr

from endpoint import KEY, Reply
from hieno import flow

KEY_SECRET = SecretStr(KEY)
REFUSED = {"ms-azureml-model-error-statuscode": "400"}
# An endpoint that is asked again a little later.
BUSY = {
    "503": Reply(status=503),
    "429": Reply(status=429, headers={"retry-after": "1"}),
    "not ready": Reply(status=424, headers={"ms-azureml-model-error-reason": "model_not_ready"}),
    "408": Reply(status=408, body="upstream request timeout"),
}


def score(served: flow.Served, question: object, **inputs: object) -> httpx.Response:
    """Ask a question of a server."""
    body = {"question": question, "chat_history": [], **inputs}
    return httpx.post(f"{served.url}score", json=body, timeout=60, trust_env=False)


def pieces(served: flow.Served, question: str) -> list[str]:
    """Ask a question of a server, and return the pieces in which its answer comes."""
    url, accept = f"{served.url}score", {"accept": "text/event-stream"}
    with httpx.stream(
        "POST", url, json={"question": question}, headers=accept, trust_env=False
    ) as reply:
        lines = [line for line in reply.iter_lines() if line]
    return [json.loads(line.removeprefix("data: "))["answer"] for line in lines]
