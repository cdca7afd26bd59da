"""Other people's harnesses on our endpoint, each in a side environment of its own.

They know the endpoint only by its address and key, as any client does, and the held-out set as a
file of questions. Nothing of hieno is imported there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from hieno.errors import HienoError, MissingInput
from hieno.files import read_jsonl, write_atomic
from hieno.harness import azure, lm_eval

HARNESSES: Mapping[str, Callable[..., Mapping[str, float]]] = {
    "lm-eval": lm_eval.run,
    "azure": azure.run,
}
QUESTIONS = "questions.jsonl"


@dataclass(frozen=True)
class Subject:
    """What is examined: an endpoint, and the name that its model answers to."""

    url: str
    key: SecretStr
    model: str
    max_new_tokens: int


@dataclass(frozen=True)
class Result:
    """What a harness measured; `left_out` counts chats that it cannot ask."""

    harness: str
    asked: int
    left_out: int
    scores: Mapping[str, float]
    folder: Path


def examine(
    harness: str, subject: Subject, *, test: Path, folder: Path, say: Callable[[str], None]
) -> Result:
    """Run a harness on the held-out chats in a dataset's `test.jsonl`; it works in `folder`.

    Asks chats of one question and one answer: a longer one has no form that both harnesses share.
    Raises `MissingInput` where there is none.
    """
    rows = list(read_jsonl(test))
    questions = [row for row in map(_question, rows) if row]
    if not questions:
        raise MissingInput(
            f"{test} holds no chat of one question and one answer",
            hint="name such chats in data.test",
        )
    path = folder / QUESTIONS
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in questions))
    scores = HARNESSES[harness](subject, path, say=say)
    if not scores:
        raise HienoError(f"{harness} measured nothing", hint=f"its output is in {folder}")
    return Result(harness, len(questions), len(rows) - len(questions), scores, folder)


def _question(row: Mapping[str, object]) -> dict[str, object] | None:
    messages = row["messages"]
    if not isinstance(messages, list) or [m["role"] for m in messages] != ["user", "assistant"]:
        return None
    reference = messages[1]["content"]
    return {
        "question": messages[0]["content"],
        "reference": reference,
        "answers": row.get("answers") or [reference],
    }
