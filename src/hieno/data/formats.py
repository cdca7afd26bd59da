"""The shapes that chats come in, and each understood as OpenAI's `messages`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any  # a row of the user's file can hold anything

from hieno.data.feedback import as_chat

# Each format's fields, with the column names under which they are usually found.
FIELDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "feedback": {
        "messages": ("messages",),
        "rating": ("rating",),
        "correction": ("correction",),
    },
    "messages": {"messages": ("messages",)},
    "sharegpt": {"conversations": ("conversations", "conversation"), "system": ("system",)},
    "alpaca": {
        "instruction": ("instruction",),
        "output": ("output",),
        "input": ("input",),
        "system": ("system",),
    },
    "prompt-completion": {
        "prompt": ("prompt", "question", "query"),
        "completion": ("completion", "response", "answer", "reply"),
        "system": ("system", "system_prompt"),
    },
}
NEEDED = {
    "feedback": ("messages",),
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "prompt-completion": ("prompt", "completion"),
}
MOST_NAMED = 6  # columns of a row that has none of those that are needed
_SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "assistant": "assistant",
    "system": "system",
    "function_call": "tool",
    "observation": "tool",
}


@dataclass(frozen=True)
class Mapped:
    """How the rows of a source are understood: a format, and the column of each of its fields."""

    format: str
    columns: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = ", ".join(f"{theirs} as {ours}" for ours, theirs in self.columns.items())
        return f"{self.format} ({shown})"


def detect(
    rows: Iterable[Any], *, format: str = "auto", columns: Mapping[str, str] | None = None
) -> Mapped:
    """Choose the format that most rows have; `format` and `columns` of the configuration win."""
    chosen = columns or {}
    found: Counter[str] = Counter()
    candidates: dict[str, Mapped] = {}
    for row in rows:
        if not isinstance(row, dict):
            continue
        for name in FIELDS if format == "auto" else (format,):
            mapped = _columns(name, row, chosen)
            if mapped is not None:
                candidates[str(mapped)] = mapped
                found[str(mapped)] += 1
                break
    if not found:
        name = "messages" if format == "auto" else format
        return Mapped(name, {need: chosen.get(need, need) for need in NEEDED[name]})
    return candidates[found.most_common(1)[0][0]]


def as_messages(row: Any, mapped: Mapped) -> dict[str, Any] | tuple[str, str]:
    """Return a row with its `messages`, or the code and the problem of one that has none.

    Only the shape is changed here; whether the messages can be used is for `chats.check`.
    """
    if not isinstance(row, dict):
        return "no-messages", f"the row is {_kind(row)}, not an object"
    missing = [
        mapped.columns.get(need, need)
        for need in NEEDED[mapped.format]
        if row.get(mapped.columns.get(need, need)) is None
    ]
    if missing:
        return "no-messages", f"the row has no {missing[0]!r}, it has {_names(row)}"
    got = {ours: row.get(theirs) for ours, theirs in mapped.columns.items()}
    if mapped.format == "feedback":
        chat = as_chat({**row, "messages": got["messages"]})
        return chat if isinstance(chat, tuple) else {**row, "messages": chat}
    if mapped.format == "messages":
        return {**row, "messages": _parsed(got["messages"])}
    if mapped.format == "sharegpt":
        turns = _parsed(got["conversations"])
        if not isinstance(turns, list) or not turns:
            return "no-messages", "the conversation is not a list, or an empty one"
        messages = [_turn(turn) for turn in turns]
    elif mapped.format == "alpaca":
        question, more = got["instruction"], got.get("input")
        if isinstance(question, str) and isinstance(more, str) and more.strip():
            question = f"{question}\n\n{more}"
        messages = _pair(question, got["output"])
    else:
        messages = _pair(got["prompt"], got["completion"])
    system = got.get("system")
    if isinstance(system, str) and system.strip():
        messages.insert(0, {"role": "system", "content": system})
    rest = {name: row[name] for name in ("id", "answers", "tools") if name in row}
    return {**rest, "messages": messages}


def _columns(name: str, row: Mapping[str, Any], chosen: Mapping[str, str]) -> Mapped | None:
    columns = {}
    found = {str(column).lower(): column for column in list(row)[::-1]}  # of two, the first
    for ours, usual in FIELDS[name].items():
        names = (chosen[ours],) if ours in chosen else usual
        theirs = next((found[name.lower()] for name in names if name.lower() in found), None)
        if theirs is not None:
            columns[ours] = theirs
    needed = FIELDS[name] if name == "feedback" else NEEDED[name]  # else a chat looks like it
    return Mapped(name, columns) if all(need in columns for need in needed) else None


def _parsed(value: Any) -> Any:
    """Return a list that a cell of a table holds as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _turn(turn: Any) -> Any:
    if not isinstance(turn, dict):
        return turn
    role = turn.get("from", turn.get("role"))
    known = _SHAREGPT_ROLES.get(role.lower(), role) if isinstance(role, str) else role
    return {"role": known, "content": turn.get("value", turn.get("content"))}


def _pair(question: Any, reply: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]


def _names(row: Mapping[str, Any]) -> str:
    names = [repr(str(name)) for name in list(row)[:MOST_NAMED]]
    more = [f"{len(row) - MOST_NAMED} more"] if len(row) > MOST_NAMED else []
    return ", ".join([*names, *more]) if row else "nothing"


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
