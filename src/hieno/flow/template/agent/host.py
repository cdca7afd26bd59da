"""The agent over HTTP, with the contract that the prompt flow has: `/score`, whole or streamed.

    python host.py --port 8080

Listens on 127.0.0.1. For any other address set HIENO_FLOW_KEY: then every request needs the header
`Authorization: Bearer KEY`.
"""

import argparse
import hmac
import json
import os
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from agent import ANSWER, QUESTION
from endpoint import EndpointError
from workflow import answer, cut_off, pieces

MOST_BYTES = 4_000_000  # of one request; the endpoint itself takes less

app = FastAPI(title="chat", docs_url=None, redoc_url=None)


@app.get("/health")
def health() -> dict[str, str]:
    """Say that the host runs."""
    return {"status": "Healthy"}


@app.post("/score")
async def score(request: Request) -> Response:
    """Answer `{question, chat_history}`; an error is an error, with its reason."""
    if not allowed(request):
        return problem(
            401, "the key is missing or wrong: send Authorization: Bearer HIENO_FLOW_KEY"
        )
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return problem(413, f"the request is longer than {MOST_BYTES:,} bytes")
    try:
        inputs = json.loads(body)
    except (ValueError, RecursionError) as error:
        return problem(400, f"the request is not JSON: {error}")
    if not isinstance(inputs, dict):
        return problem(400, f"the request is not an object with '{QUESTION}'")
    if QUESTION not in inputs:
        return problem(400, f"Required input fields ['{QUESTION}'] are missing")
    if not isinstance(inputs.get("chat_history") or [], list):
        return problem(400, "chat_history is not a list")
    try:
        if "text/event-stream" not in request.headers.get("accept", ""):
            return JSONResponse(await answer(inputs))
        stream = pieces(inputs)
        # Taking the first piece here makes a refusal an error, not an empty answer.
        first = await anext(stream, "")
    except EndpointError as error:
        return problem(400, str(error))
    return StreamingResponse(events(first, stream), media_type="text/event-stream")


async def events(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yield the pieces of an answer as events."""
    yield event(first)
    try:
        async for piece in rest:
            yield event(piece)
    except EndpointError as error:  # the status went out with the first piece
        yield event(cut_off(error))


def event(piece: str) -> str:
    """Return one event of a stream."""
    return f"data: {json.dumps({ANSWER: piece})}\n\n"


def problem(status: int, message: str) -> JSONResponse:
    """Return an error as prompt flow words one."""
    return JSONResponse({"error": {"code": "UserError", "message": message}}, status)


def allowed(request: Request) -> bool:
    """Tell whether a request has the key, where one is set."""
    key = os.environ.get("HIENO_FLOW_KEY", "").strip()
    sent = request.headers.get("authorization", "").removeprefix("Bearer ")
    return not key or hmac.compare_digest(sent.encode(), key.encode())


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    asked = parser.parse_args()
    if asked.host not in ("127.0.0.1", "localhost", "::1") and not os.environ.get("HIENO_FLOW_KEY"):
        parser.error("set HIENO_FLOW_KEY first: other machines would reach the agent without a key")
    uvicorn.run(app, host=asked.host, port=asked.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
