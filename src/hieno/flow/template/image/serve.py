"""Serve the flow beside this file with promptflow-core: its page, `/score`, `/health`.

    python serve.py --port 8080

Listens on 127.0.0.1. For any other address set HIENO_FLOW_KEY: then every request but `/health`
needs the header `Authorization: Bearer KEY`. The flow reads HIENO_ENDPOINT and HIENO_API_KEY.
"""

import argparse
import hmac
import os
from pathlib import Path
from typing import Any  # ASGI's own types are dictionaries

os.environ.setdefault("PROMPTFLOW_PROJECT_PATH", str(Path(__file__).with_name("flow").resolve()))
# promptflow-core wants a provider of connections even where a flow has none; it is never called.
os.environ.setdefault("PF_HTTP_CONNECTION_PROVIDER_ENDPOINT", "http://127.0.0.1:9/")

import uvicorn
from promptflow.core._serving.app import create_app

REFUSED = b'{"error": {"code": "Unauthorized", "message": "send Authorization: Bearer KEY"}}'


class Guarded:
    """An app behind a key; and its answers are for no other web page to read."""

    def __init__(self, app: Any, key: str) -> None:
        self._app, self._key = app, key

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if self._key and scope["path"] != "/health" and not self._allowed(scope["headers"]):
            head = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": head})
            return await send({"type": "http.response.body", "body": REFUSED})
        return await self._app(scope, receive, without_cors(send))

    def _allowed(self, headers: Any) -> bool:
        sent = dict(headers).get(b"authorization", b"").removeprefix(b"Bearer ")
        return hmac.compare_digest(sent, self._key.encode())


def without_cors(send: Any) -> Any:
    """Drop the headers by which prompt flow opens its answers to every web page."""

    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (name, value)
                for name, value in message["headers"]
                if not name.lower().startswith(b"access-control-")
            ]
            message = message | {"headers": kept}
        await send(message)

    return sent


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    asked = parser.parse_args()
    key = os.environ.get("HIENO_FLOW_KEY", "").strip()
    if asked.host not in ("127.0.0.1", "localhost", "::1") and not key:
        parser.error("set HIENO_FLOW_KEY first: other machines would reach the flow without a key")
    app = Guarded(create_app(engine="fastapi"), key)
    uvicorn.run(app, host=asked.host, port=asked.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
