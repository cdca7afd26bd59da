"""Answers that readers of the chat page rated or corrected, as chats to learn from.

`docs/chat.md` shows the lines. Learnt is the last answer, as it was corrected or where it was rated
up; the turns before are shown. The last line of an id counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any  # a row of the user's file can hold anything

from hieno.data.sources import Record


def as_chat(row: dict[str, Any]) -> list[Any] | tuple[str, str]:
    """Return the messages of a rated answer, or the code and the problem of one not to learn."""
    messages, correction = row["messages"], row.get("correction")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return "no-messages", "the row has no list 'messages'"
    *before, answer = messages
    if isinstance(correction, str) and correction.strip():
        answer = {**answer, "content": correction}
    elif row.get("rating") == "down":
        return "rated-down", "the answer was rated down and not corrected"
    elif row.get("rating") != "up":
        return "not-rated", "the answer is neither rated nor corrected, or that was taken back"
    return [*map(_shown, before), answer]


def latest(records: Iterable[Record]) -> Iterator[Record]:
    """Yield every record; one that a later line of its id replaces has the code `replaced`.

    All are held in memory: the chat page lets its file grow to 100 MB and no further.
    """
    kept = list(records)
    last = {name: record.line for record in kept if (name := _id(record)) is not None}
    for record in kept:
        line = last.get(_id(record) or "", record.line)
        if line == record.line:
            yield record
        else:
            yield Record(record.line, code="replaced", problem=f"line {line} has a later word")


def _shown(message: Any) -> Any:
    """Return a turn before the rated answer, which is shown and not learnt."""
    if isinstance(message, dict) and message.get("role") == "assistant":
        return {**message, "weight": 0}
    return message


def _id(record: Record) -> str | None:
    value = record.value
    if record.raw is not None:
        try:
            value = json.loads(record.raw)
        except (ValueError, RecursionError):
            return None
    name = value.get("id") if isinstance(value, dict) else None
    return name if isinstance(name, str) else None
