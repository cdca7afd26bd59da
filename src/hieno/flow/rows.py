"""The lines of a batch: JSONL rows, or held-out chats, as inputs of a flow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # rows are the user's JSON

from hieno.data.chats import json_rows
from hieno.errors import BadData, BadRow
from hieno.flow.shape import Shape

# What a row may say beside the inputs: the answer as it should be, and what it must hold.
EXPECTED, ACCEPTED = "ground_truth", "answers"


@dataclass(frozen=True)
class Row:
    """One line of a batch: its number in the file, what the flow is given, what is expected."""

    line: int
    inputs: Mapping[str, Any]
    expected: str | None = None
    accepted: tuple[str, ...] = ()


def read(path: Path, shape: Shape, columns: Mapping[str, str] | None = None) -> list[Row]:
    """Return the lines of a file.

    A row holds the flow's inputs by name, or by the column that `columns` says. A row with
    `messages` is a chat: its last answer is expected, and everything before it is asked.
    Raises `BadRow` at the first line that is neither.
    """
    rows = []
    for line, raw in json_rows(path, key="the batch's file"):
        row = dict(raw) | {
            name: raw[column] for name, column in (columns or {}).items() if column in raw
        }
        if shape.question in row or "messages" not in row:
            expected = row.pop(EXPECTED, None)
            accepted = _texts(row.pop(ACCEPTED, None))
            inputs: Mapping[str, Any] = row
        else:
            inputs, expected = _chat(path, line, row["messages"], shape)
            accepted = _texts(row.get(ACCEPTED))
        if shape.question not in inputs:
            raise BadRow(
                path,
                line=line,
                problem=f"no '{shape.question}' and no 'messages'",
                hint=f"name the column: --column {shape.question}=COLUMN",
            )
        rows.append(Row(line, inputs, None if expected is None else str(expected), accepted))
    if not rows:
        raise BadData(f"{path} has no row", hint="write one JSON object a line")
    return rows


def _chat(
    path: Path, line: int, messages: object, shape: Shape
) -> tuple[dict[str, Any], str | None]:
    if not isinstance(messages, list) or not all(
        isinstance(each, dict) and isinstance(each.get("content"), str) for each in messages
    ):
        raise BadRow(path, line=line, problem="messages is no list of texts", hint=_HINT)
    said = [(each.get("role"), each["content"]) for each in messages]
    if any(role not in ("system", "user", "assistant") for role, _ in said):
        raise BadRow(path, line=line, problem="a role is unknown", hint=_HINT)
    # The flow has instructions of its own: those of a chat would not reach the model.
    said = [(role, text) for role, text in said if role != "system"]
    expected = said.pop()[1] if said and said[-1][0] == "assistant" else None
    roles = [role for role, _ in said]
    if not said or roles != ["user", "assistant"] * (len(said) // 2) + ["user"]:
        raise BadRow(path, line=line, problem="user and assistant do not take turns", hint=_HINT)
    turns = list(zip([text for _, text in said[:-1:2]], [t for _, t in said[1::2]], strict=True))
    return shape.inputs(said[-1][1], turns), expected


def _texts(value: object) -> tuple[str, ...]:
    items: Iterable[object] = value if isinstance(value, list) else ()
    return tuple(str(item) for item in items)


_HINT = "`hieno data` checks chats; a batch takes what it has prepared"
