"""The flow's one node: send the conversation to the model's endpoint, stream the answer back.

Settings come from the environment, so that no secret is ever in this folder:

    HIENO_ENDPOINT    address of the endpoint, with or without /score
    HIENO_API_KEY     one of its keys
    HIENO_DEPLOYMENT  optional: one deployment, past the endpoint's traffic split
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any  # JSON from prompt flow and from the endpoint

import httpx
from promptflow.core import tool

QUESTION, ANSWER = "question", "answer"  # what flow.dag.yaml calls them
MOST_TOKENS = 1024  # a slow machine still finishes within the 180 seconds that Azure allows
LONGEST_TURN = 20_000  # characters of one earlier question or answer
PATIENCE = 60.0  # seconds during which a busy or starting endpoint is asked again
TRY_AGAIN = {408, 429, 502, 503, 504}

# The endpoint is named by its owner, so a proxy from the environment has no business here.
client = httpx.Client(timeout=httpx.Timeout(180, connect=5), trust_env=False)


class EndpointError(Exception):
    """The endpoint did not answer, or refused."""


@tool
def chat(
    question: str,
    chat_history: list[Any],
    system: str = "",
    max_new_tokens: int = 512,
    temperature: float = 0.0,
    history_turns: int = 8,
) -> Iterator[str]:
    """Answer a question; the result is a stream of text pieces that prompt flow joins or relays."""
    if not question.strip():
        raise EndpointError("the question is empty")
    body = {
        "input_data": [conversation(question, chat_history, system, history_turns)],
        "params": {
            "max_new_tokens": max(1, min(int(max_new_tokens), MOST_TOKENS)),
            "temperature": float(temperature),
            "do_sample": float(temperature) > 0,
        },
    }
    pieces = answer(send(body))
    # Taking the first piece here makes a refusal an error of the flow, not an empty answer.
    return stream(next(pieces, ""), pieces)


def conversation(question: str, history: list[Any], system: str, turns: int) -> list[Any]:
    """Return the messages of a conversation in the order in which they were said."""
    messages = [{"role": "system", "content": system}] if system.strip() else []
    for turn in (history or [])[-turns:] if turns > 0 else []:
        asked, answered = part(turn, "inputs", QUESTION), part(turn, "outputs", ANSWER)
        if asked and answered:  # a turn that failed would leave a question without an answer
            messages.append({"role": "user", "content": asked[:LONGEST_TURN]})
            messages.append({"role": "assistant", "content": answered[:LONGEST_TURN]})
    return [*messages, {"role": "user", "content": question}]


def part(turn: Any, side: str, name: str) -> str:
    """Return one side of an earlier turn, empty where it is not there."""
    found = turn.get(side) if isinstance(turn, dict) else None
    return str(found.get(name) or "") if isinstance(found, dict) else ""


def send(body: dict[str, Any]) -> httpx.Response:
    """Return the endpoint's open reply; while it is busy or starting, ask again."""
    url = score_url()
    deadline = time.monotonic() + PATIENCE
    pause = 0.5
    while True:
        wait = pause
        try:
            reply = client.send(
                client.build_request("POST", url, json=body, headers=headers()), stream=True
            )
        except httpx.TransportError as error:
            problem = f"the endpoint {url} does not answer ({type(error).__name__})"
            again = not isinstance(error, httpx.ReadTimeout)  # it has the question already
        else:
            if reply.status_code == 200:
                return reply
            problem, again = refusal(reply)
            wait = max(pause, seconds(reply.headers.get("retry-after")))
        if not again or time.monotonic() + wait > deadline:
            raise EndpointError(problem)
        time.sleep(wait)
        pause = min(pause * 2, 8.0)


def score_url() -> str:
    """Return the address of the endpoint's /score route."""
    address = os.environ.get("HIENO_ENDPOINT", "").strip().rstrip("/")
    if not address:
        raise EndpointError("HIENO_ENDPOINT is not set: it holds the address of the endpoint")
    return address if address.endswith("/score") else f"{address}/score"


def headers() -> dict[str, str]:
    """Return the request's headers, the key among them."""
    made = {"Accept": "text/event-stream, application/json"}
    if key := os.environ.get("HIENO_API_KEY", "").strip():
        made["Authorization"] = f"Bearer {key}"
    if deployment := os.environ.get("HIENO_DEPLOYMENT", "").strip():
        made["azureml-model-deployment"] = deployment
    return made


def refusal(reply: httpx.Response) -> tuple[str, bool]:
    """Return what a reply other than 200 says, and whether it is worth asking again."""
    with closing(reply):
        text = words(reply.read().decode(errors="replace").strip())[:500]
    if reply.status_code == 401:
        return "the endpoint refuses the key (HTTP 401): set HIENO_API_KEY", False
    # Azure's gateway answers 424 for the model's own status, which stands in a header.
    inner = reply.headers.get("ms-azureml-model-error-statuscode", "")
    reason = reply.headers.get("ms-azureml-model-error-reason", "")
    status = int(inner) if reply.status_code == 424 and inner.isdigit() else reply.status_code
    problem = f"the endpoint answered HTTP {status}: {text or reason or 'no reason given'}"
    return problem, status in TRY_AGAIN or reason == "model_not_ready"


def words(body: str) -> str:
    """Return the message of a JSON error, or the body as it is."""
    try:
        error = json.loads(body)
        error = error.get("error", error) if isinstance(error, dict) else error
        return str(error["message"]) if isinstance(error, dict) else body
    except (ValueError, KeyError):
        return body


def seconds(text: str | None) -> float:
    """Return a Retry-After header in seconds, 0 where it says nothing of use."""
    return min(float(text), PATIENCE) if text and text.isdigit() else 0.0


def answer(reply: httpx.Response) -> Iterator[str]:
    """Yield the pieces of an answer, from a stream or from a whole reply."""
    with closing(reply):
        if reply.headers.get("content-type", "").startswith("text/event-stream"):
            yield from events(reply)
        else:
            yield whole(reply)


def events(reply: httpx.Response) -> Iterator[str]:
    """Yield the text of `data: {"answer": text}` events."""
    for line in reply.iter_lines():
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            error = event["error"]
            words = error.get("message") if isinstance(error, dict) else error
            raise EndpointError(f"the endpoint stopped: {words}")
        if event.get("answer"):
            yield event["answer"]


def whole(reply: httpx.Response) -> str:
    """Return the one answer of a JSON reply."""
    try:
        answers = json.loads(reply.read())
    except ValueError:
        answers = None
    if not isinstance(answers, list) or len(answers) != 1 or not isinstance(answers[0], str):
        raise EndpointError("the endpoint's reply is not a list with one answer")
    return answers[0]


def stream(first: str, rest: Iterator[str]) -> Iterator[str]:
    """Yield an answer; prompt flow streams only what is a real generator."""
    yield first
    try:
        yield from rest
    except (EndpointError, httpx.HTTPError, ValueError) as error:
        lost = f"the connection to the endpoint was lost ({type(error).__name__})"
        # The status went out with the first piece, and prompt flow would swallow the exception.
        yield f"\n\n[the answer was cut off: {error if isinstance(error, EndpointError) else lost}]"
