"""Questions to a deployment by its name, before anybody else can ask it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: JSON of an answer

from hieno.endpoint import credentials

if TYPE_CHECKING:
    import httpx

FIRST = {"input_data": ["Hello"], "params": {"max_new_tokens": 1}}
MOST_TOKENS = 32
LEAST_LIKENESS = 0.5  # word F1; the same model differs by a word where batches are rounded apart
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Question:
    """A conversation, and what the model said to it when it was evaluated."""

    messages: Sequence[dict[str, str]]
    reply: str
    max_tokens: int = MOST_TOKENS


class Examination:
    """One deployment behind a gateway, and what it is asked; times are in seconds."""

    def __init__(self, folder: Path, port: int, name: str) -> None:
        self._folder = folder
        self._address = f"http://127.0.0.1:{port}"
        self._name = name

    def first(self, *, timeout: float) -> str:
        """Ask for one token; return why there was none, or nothing."""
        import httpx

        with self._client(timeout) as client:
            try:
                answer = client.post("/score", json=FIRST)
            except httpx.HTTPError as error:
                return f"no answer ({type(error).__name__})"
        return "" if answer.status_code == 200 else f"{answer.status_code} {answer.text[:300]}"

    def likeness(self, questions: Sequence[Question], *, timeout: float) -> float:
        """Ask what the evaluation asked; return how like its replies are, 0 to 1.

        Only the first tokens of each answer count. A question without an answer counts as 0.
        """
        from hieno.evaluate.scoring import token_f1

        with self._client(timeout) as client, ThreadPoolExecutor(len(questions)) as pool:
            replies = list(pool.map(lambda question: _reply(client, question), questions))
        return sum(
            token_f1(reply, _beginning(question.reply, reply)) if reply.strip() else 0.0
            for question, reply in zip(questions, replies, strict=True)
        ) / len(questions)

    def metrics(self) -> str:
        """Return the gateway's `/metrics`."""
        with self._client(30) as client:
            return client.get("/metrics").raise_for_status().text

    @contextmanager
    def _client(self, timeout: float) -> Iterator[httpx.Client]:
        import httpx

        # read anew each time: a key may be renewed meanwhile
        key = credentials.read(self._folder).primary.get_secret_value()
        headers = {"authorization": f"Bearer {key}", "azureml-model-deployment": self._name}
        with httpx.Client(
            base_url=self._address, headers=headers, trust_env=False, timeout=max(1.0, timeout)
        ) as client:
            yield client


def _reply(client: httpx.Client, question: Question) -> str:
    import httpx

    body: dict[str, Any] = {
        "model": client.headers["azureml-model-deployment"],
        "messages": list(question.messages),
        "max_tokens": question.max_tokens,
        "temperature": 0,
    }
    try:
        answer = client.post("/v1/chat/completions", json=body).raise_for_status()
        return str(answer.json()["choices"][0]["message"]["content"] or "")
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return ""


def _beginning(text: str, reply: str) -> str:
    """Return as many words of an evaluated reply as this one has."""
    words = list(_WORD.finditer(text))
    count = len(_WORD.findall(reply))
    return text if count >= len(words) else text[: words[count - 1].end()] if count else ""
