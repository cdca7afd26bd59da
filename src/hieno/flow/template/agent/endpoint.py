"""The model's endpoint, as a client for Agent Framework that is patient and says why it failed.

Settings come from the environment, so that no secret is ever in this folder:

    HIENO_ENDPOINT    address of the endpoint, with or without /score
    HIENO_API_KEY     one of its keys
    HIENO_DEPLOYMENT  optional: one deployment, past the endpoint's traffic split
"""

import asyncio
import os
import time

import httpx2
import openai

PATIENCE = 60.0  # seconds during which a busy or starting endpoint is asked again
TRY_AGAIN = {408, 429, 502, 503, 504}


class EndpointError(Exception):
    """The endpoint did not answer, or refused."""


def connect() -> openai.AsyncOpenAI:
    """Return a client of the endpoint's OpenAI routes."""
    deployment = os.environ.get("HIENO_DEPLOYMENT", "").strip()
    return openai.AsyncOpenAI(
        base_url=f"{address()}/v1",
        api_key=os.environ.get("HIENO_API_KEY", "").strip() or "none",
        default_headers={"azureml-model-deployment": deployment} if deployment else {},
        max_retries=0,  # the transport below does that, and knows Azure's gateway
        # The endpoint is named by its owner, so a proxy from the environment has no business here.
        http_client=httpx2.AsyncClient(
            transport=Patient(), timeout=httpx2.Timeout(180, connect=5), trust_env=False
        ),
    )


def address() -> str:
    """Return the endpoint's address, without its route."""
    named = os.environ.get("HIENO_ENDPOINT", "").strip().rstrip("/")
    if not named:
        raise EndpointError("HIENO_ENDPOINT is not set: it holds the address of the endpoint")
    return named.removesuffix("/score")


class Patient(httpx2.AsyncBaseTransport):
    """Ask a busy or starting endpoint again, and never once an answer has begun."""

    def __init__(self) -> None:
        limits = httpx2.Limits(max_connections=256, max_keepalive_connections=64)
        self._inner = httpx2.AsyncHTTPTransport(limits=limits, trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        deadline = time.monotonic() + PATIENCE
        pause = 0.5
        while True:
            wait, reply = pause, None
            try:
                reply = await self._inner.handle_async_request(request)
            except httpx2.ReadTimeout:  # it has the question already
                raise
            except httpx2.TransportError:
                if time.monotonic() + wait > deadline:
                    raise
            if reply is not None:
                # Azure's gateway answers 424 for the model's own status, which is in a header.
                inner = reply.headers.get("ms-azureml-model-error-statuscode", "")
                reason = reply.headers.get("ms-azureml-model-error-reason", "")
                if reply.status_code == 424 and inner.isdigit():
                    reply.status_code = int(inner)
                again = reply.status_code in TRY_AGAIN or reason == "model_not_ready"
                wait = max(pause, seconds(reply.headers.get("retry-after")))
                if not again or time.monotonic() + wait > deadline:
                    return reply
                await reply.aclose()
            await asyncio.sleep(wait)
            pause = min(pause * 2, 8.0)

    async def aclose(self) -> None:
        await self._inner.aclose()


def seconds(text: str | None) -> float:
    """Return a Retry-After header in seconds, 0 where it says nothing of use."""
    return min(float(text), PATIENCE) if text and text.isdigit() else 0.0


def explain(error: BaseException) -> str:
    """Return what went wrong at the endpoint, from whatever the framework wrapped around it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, EndpointError):
            return str(seen)
        if isinstance(seen, openai.AuthenticationError):
            return "the endpoint refuses the key (HTTP 401): set HIENO_API_KEY"
        if isinstance(seen, openai.APIStatusError):
            return f"the endpoint answered HTTP {seen.status_code}: {reason_of(seen)}"
        if isinstance(seen, openai.APIConnectionError):
            cause = seen.__cause__ or seen
            if isinstance(cause, httpx2.RemoteProtocolError | httpx2.ReadError):
                return f"the connection to the endpoint was lost ({type(cause).__name__})"
            return f"the endpoint {address()} does not answer ({type(cause).__name__})"
        if isinstance(seen, openai.APIError):
            return f"the endpoint stopped: {seen.message}"
        if isinstance(seen, httpx2.TransportError):
            return f"the connection to the endpoint was lost ({type(seen).__name__})"
        seen = seen.__cause__
    return f"{type(error).__name__}: {error}"


def reason_of(error: openai.APIStatusError) -> str:
    """Return the endpoint's own words of a refusal."""
    body = error.body
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])[:500]
    reason = error.response.headers.get("ms-azureml-model-error-reason", "")
    return str(body or reason or "no reason given")[:500]
