"""Answers from an endpoint's OpenAI-compatible route, piece by piece, and its errors in our words.

The field names are those of OpenAI's chat completions. A 424 is unwrapped, because Azure's gateway
puts it around every other status of the model.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any  # JSON from the endpoint

import httpx
from pydantic import SecretStr

from hieno.chat.text import printable
from hieno.errors import (
    AccessDenied,
    ConfigError,
    HienoError,
    MissingInput,
    TryLater,
    Unreachable,
    UsageError,
)

Message = dict[str, str]
PATIENCE = 180.0  # seconds to wait for a model that is loading or busy


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn; temperature 0 gives the same answer each time."""

    max_new_tokens: int = 512
    temperature: float = 0.0


def connect(endpoint: str, key: SecretStr, deployment: str | None) -> httpx.Client:
    """Return a client of an endpoint, named by its base address or by that of its /score."""
    secret = key.get_secret_value()
    if not secret.isascii() or not secret.isprintable():
        raise AccessDenied("the key holds characters that no key has", hint=_KEY_HINT)
    headers = {"authorization": f"Bearer {secret}"}
    if deployment:
        headers["azureml-model-deployment"] = deployment
    base = endpoint.strip().rstrip("/").removesuffix("/score").removesuffix("/v1")
    try:
        return httpx.Client(
            base_url=base,
            headers=headers,
            timeout=httpx.Timeout(180, connect=5),
            trust_env=False,  # a proxy from the environment must not see the key
        )
    except httpx.InvalidURL as error:
        raise ConfigError(
            f"'{endpoint}' is not an address ({error})", hint="it looks like http://127.0.0.1:8000"
        ) from None


def model(client: httpx.Client, *, say: Callable[[str], None]) -> str:
    """Return the name of the endpoint's model; wait where it is still loading."""
    with _opened(client, "GET", "/v1/models", None, say) as reply:
        try:
            return str(json.loads(reply.read())["data"][0]["id"])
        except (ValueError, LookupError, TypeError):
            raise HienoError(
                f"{client.base_url} does not answer like a model's endpoint",
                hint="`hieno status` shows the address of your endpoint",
            ) from None


def answer(
    client: httpx.Client,
    name: str,
    messages: list[Message],
    sampling: Sampling,
    *,
    say: Callable[[str], None],
) -> Generator[str]:
    """Yield the answer's pieces as they come; closing the iterator stops the model.

    Raises `Unreachable`, `AccessDenied`, `TryLater`, or `UsageError` for a conversation that is
    too long for the model.
    """
    body = {
        "model": name,
        "messages": messages,
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "stream": True,
    }
    with _opened(client, "POST", "/v1/chat/completions", body, say) as reply:
        finished = False
        for event in _events(reply):
            if error := event.get("error"):
                words = error.get("message") if isinstance(error, dict) else error
                raise TryLater(
                    f"the model stopped: {printable(str(words))}", hint="ask the question again"
                )
            for choice in event.get("choices") or []:
                if piece := (choice.get("delta") or {}).get("content"):
                    yield str(piece)
                finished = finished or bool(choice.get("finish_reason"))
                if choice.get("finish_reason") == "length":
                    say(f"(stopped after {sampling.max_new_tokens} tokens: --max-new-tokens)")
        if not finished:
            raise Unreachable("the answer was cut off", hint="ask the question again")


_KEY_HINT = "`hieno keys` shows the endpoint's keys; `hieno up` brings page and endpoint together"


@contextmanager
def _opened(
    client: httpx.Client,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    say: Callable[[str], None],
) -> Iterator[httpx.Response]:
    try:
        reply = _patient(client, method, path, body, say)
        with closing(reply):
            yield reply
    except httpx.UnsupportedProtocol as error:
        raise ConfigError(
            f"'{client.base_url}' is not an address ({error})",
            hint="it looks like http://127.0.0.1:8000",
        ) from None
    except httpx.ConnectError:
        raise Unreachable(
            f"nothing answers at {client.base_url}", hint="`hieno up` starts the endpoint"
        ) from None
    except httpx.TimeoutException:
        raise TryLater(
            f"{client.base_url} took too long to answer",
            hint="ask for fewer tokens, or look at `hieno status`",
        ) from None
    except httpx.TransportError as error:
        raise Unreachable(
            f"the connection to {client.base_url} broke ({type(error).__name__})",
            hint="`hieno status` shows whether the endpoint runs; ask the question again",
        ) from None


def _patient(
    client: httpx.Client,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    say: Callable[[str], None],
) -> httpx.Response:
    deadline = time.monotonic() + PATIENCE
    told = False
    while True:
        reply = client.send(client.build_request(method, path, json=body), stream=True)
        if reply.status_code == 200:
            return reply
        with closing(reply):
            reply.read()
        wait = _wait(reply)
        if wait is None or time.monotonic() + wait > deadline:
            raise _refusal(reply)
        if not told:
            busy = _status(reply) == 429
            say("the model is busy; waiting" if busy else "the model is loading; waiting")
            told = True
        time.sleep(wait)


def _wait(reply: httpx.Response) -> float | None:
    """Return the seconds after which to ask again, None where that makes no sense."""
    reason = reply.headers.get("ms-azureml-model-error-reason", "")
    if _status(reply) not in (429, 503) and reason != "model_not_ready":
        return None
    named = reply.headers.get("retry-after", "")
    return min(float(named), 30.0) if named.isdigit() else 1.0


def _refusal(reply: httpx.Response) -> HienoError:
    status, (words, code) = _status(reply), _error(reply)
    if status == 401:
        return AccessDenied("the endpoint refuses the key", hint=_KEY_HINT)
    if code == "context_length_exceeded":
        return UsageError(
            f"the conversation is too long for the model: {words}",
            hint="type /reset to begin a new one, or ask for fewer tokens",
        )
    if status in (408, 429) or status >= 500:
        return TryLater(
            f"the endpoint answered HTTP {status}: {words}",
            hint="wait a little, then ask again; `hieno status` shows its state",
        )
    if status == 404:
        return MissingInput(
            f"the endpoint answered HTTP 404: {words}",
            hint="`hieno status` shows the deployments that can be asked",
        )
    return HienoError(
        f"the endpoint answered HTTP {status}: {words}", hint="`hieno status` shows its state"
    )


def _status(reply: httpx.Response) -> int:
    inner = reply.headers.get("ms-azureml-model-error-statuscode", "")
    return int(inner) if reply.status_code == 424 and inner.isdigit() else reply.status_code


def _error(reply: httpx.Response) -> tuple[str, str]:
    """Return the words and the code of an error body, whatever its form."""
    words, code = reply.text, ""
    try:
        error = json.loads(words)["error"]
        words, code = str(error["message"]), str(error.get("code"))
    except (ValueError, LookupError, TypeError, AttributeError):
        pass  # plain text, or another server's form: its own words are the best there is
    return printable(words).strip()[:300] or "no reason given", code


def _events(reply: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in _lines(reply):
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        try:
            event = json.loads(data)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            raise HienoError(
                "the endpoint sent an event that is not JSON",
                hint="is this the address of a model's endpoint? `hieno status` shows it",
            )
        yield event


def _lines(reply: httpx.Response) -> Iterator[str]:
    """Yield an answer's lines; one that is cut off ends, and its end is missing."""
    with suppress(httpx.RemoteProtocolError, httpx.ReadError):
        yield from reply.iter_lines()
