"""Read chats in OpenAI's `messages` form, and say of every row that cannot be used why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # a row of the user's file can hold anything

from hieno.errors import BadRow, MissingInput
from hieno.files import digest_json

ROLES = ("system", "user", "assistant")

HINTS = {
    "not-utf8": "save the file as UTF-8",
    "not-json": "each line is one JSON object in UTF-8",
    "no-messages": 'give the row a list "messages" of {"role": ..., "content": ...}',
    "bad-role": "roles are system, user and assistant",
    "bad-content": '"content" is a text that is not empty',
    "bad-order": "an optional system message, then user and assistant in turns",
    "no-reply": "the last message must be the assistant's",
    "bad-answers": '"answers" is a list of texts, any of which counts as right',
    "duplicate": "the same chat stands in the file before",
    "in-test": "the same chat is in the held-out set",
    "too-long": "raise train.max_length or cut the chat",
}


@dataclass(frozen=True)
class Chat:
    """One usable chat, and where it came from."""

    messages: tuple[dict[str, str], ...]
    source: Path
    line: int
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Identify the chat by what is said in it."""
        return digest_json(self.messages)

    def row(self) -> dict[str, Any]:
        """Return the chat as a row of a dataset."""
        return {"messages": list(self.messages), **self.extra}


@dataclass(frozen=True)
class Reject:
    """A row that was set aside: a stable code, the problem in words, and the row's text."""

    path: Path
    line: int
    code: str
    problem: str
    text: str

    def error(self) -> BadRow:
        return BadRow(self.path, line=self.line, problem=self.problem, hint=HINTS[self.code])

    def row(self) -> dict[str, Any]:
        return {
            "file": str(self.path),
            "line": self.line,
            "code": self.code,
            "problem": self.problem,
            "fix": HINTS[self.code],
            "text": self.text,
        }


def read(path: Path) -> Iterator[Chat | Reject]:
    """Yield every row of a JSONL file, usable or not; a byte-order mark is skipped."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise MissingInput(
            f"cannot read the chats in {path}: {error.strerror}",
            hint="set data.source in hieno.yaml to your JSONL file",
        ) from None
    with file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if raw.strip():
                yield _read_row(path, number, raw)


def json_rows(path: Path, *, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, row) of a JSONL file of objects that the configuration names under `key`.

    Raises `MissingInput` where it cannot be read and `BadRow` for anything but an object.
    """
    try:
        raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise MissingInput(
            f"cannot read {path}: {error.strerror}", hint=f"correct {key} in hieno.yaml"
        ) from None
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise BadRow(
                path, line=number, problem=f"not JSON: {error}", hint=HINTS["not-json"]
            ) from None
        if not isinstance(row, dict):
            raise BadRow(path, line=number, problem="not a JSON object", hint=HINTS["not-json"])
        yield number, row


def aside(chat: Chat, code: str, problem: str) -> Reject:
    """Return a readable chat as one that is set aside for a reason."""
    text = json.dumps(chat.row(), ensure_ascii=False)
    return Reject(chat.source, chat.line, code, problem, text)


def _read_row(path: Path, number: int, raw: bytes) -> Chat | Reject:
    text = raw.decode("utf-8", errors="replace").rstrip("\r\n")

    def reject(code: str, problem: str) -> Reject:
        return Reject(path, number, code, problem, text)

    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return reject("not-utf8", f"byte {error.start + 1} of the line is not UTF-8")
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        return reject("not-json", f"not JSON: {error}")
    found = _find_problem(row)
    if found:
        return reject(*found)
    messages = tuple({"role": m["role"], "content": m["content"]} for m in row["messages"])
    extra = {name: row[name] for name in ("id", "answers") if name in row}
    return Chat(messages, path, number, extra)


def _find_problem(row: Any) -> tuple[str, str] | None:
    messages = row.get("messages") if isinstance(row, dict) else None
    if not isinstance(messages, list) or not messages:
        return "no-messages", "the row has no list 'messages'"
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            role = message.get("role") if isinstance(message, dict) else message
            return "bad-role", f"{place}.role is {role!r}"
        content = message.get("content")
        if not isinstance(content, str) or not content.strip():
            return "bad-content", f"{place}.content is {'empty' if content == '' else 'no text'}"
    turns = [message["role"] for message in messages]
    if turns[0] == "system":
        turns = turns[1:]
    for index, role in enumerate(turns):
        if role != ("user", "assistant")[index % 2]:
            return "bad-order", f"turn {index + 1} is the {role}'s"
    if not turns or turns[-1] != "assistant":
        return "no-reply", "the chat does not end with a reply"
    answers = row.get("answers", ["-"])
    if not isinstance(answers, list) or not all(isinstance(a, str) and a.strip() for a in answers):
        return "bad-answers", f"answers is {answers!r}"
    return None
