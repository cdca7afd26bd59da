"""How tests ask the server of a flow or an agent project, and what its endpoint may refuse."""

from __future__ import annotations

import httpx
from pydantic import SecretStr

from endpoint import KEY
from hieno import flow

KEY_SECRET = SecretStr(KEY)
NOT_READY = {"ms-azureml-model-error-reason": "model_not_ready"}
REFUSED = {"ms-azureml-model-error-statuscode": "400"}


def score(served: flow.Served, question: object, **inputs: object) -> httpx.Response:
    """Ask a question of a server."""
    body = {"question": question, "chat_history": [], **inputs}
    return httpx.post(f"{served.url}score", json=body, timeout=60, trust_env=False)
