"""What a usable chat is, and of every row that cannot be used why."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any  # a row of the user's file can hold anything

from hieno.errors import BadRow, MissingInput

ROLES = ("system", "user", "assistant")
MOST_MESSAGES = 10_000
KEPT = 2000  # characters of a row's text that a reject keeps

HINTS = {
    "not-utf8": "save the file as UTF-8",
    "not-text": "export it as CSV in UTF-8, or as JSONL",
    "not-json": "each line is one JSON object in UTF-8",
    "bad-csv": "quote cells that hold the delimiter, and give each row a cell for each column and"
    " each column a name of its own",
    "broken-file": "copy the file again: it is damaged or cut off",
    "too-large": "split the row",
    "no-messages": 'give the row a list "messages" of {"role": ..., "content": ...}, or name its'
    " columns: data.format: prompt-completion, data.columns: {prompt: ..., completion: ...}",
    "bad-role": "roles are system, user and assistant",
    "tool-turn": "remove the tool's turns: the templates here show none",
    "bad-content": '"content" is a text that is not empty',
    "bad-order": "an optional system message, then user and assistant in turns",
    "no-reply": "the last message must be the assistant's",
    "bad-answers": '"answers" is a list of texts, any of which counts as right',
    "bad-weight": '"weight" is 0 or 1, on a reply, and 1 on at least one',
    "rated-down": "correct the answer on the chat page: a correction is learnt",
    "not-rated": "nothing: only what is rated up or corrected is learnt",
    "replaced": "nothing: the last line of an id counts",
    "control-character": "remove the character: it is none of a text's",
    "control-token": "take the template's token out of the text",
    "not-shown": "remove the message that the model's template leaves out",
    "too-long": "raise train.max_length or cut the chat",
    "duplicate": "nothing: the first one is used",
    "near-duplicate": "nothing: one of them is used; data.near_duplicates: keep uses all",
    "in-test": "nothing: the same chat is in the held-out set",
    "near-test": "nothing: nearly the same chat is in the held-out set",
    "bridge": "nothing: it is near a chat to learn and near a held-out one",
    "secret": "take the key out of the text, or set data.secrets to mask",
    "personal-data": "take the data out of the text, or set data.personal to mask",
}

# everything below U+00A0 that no text needs, and lone halves of surrogate pairs
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of a byte


@dataclass(frozen=True)
class Reject:
    """A row that was set aside: a stable code, the problem in words, and the row's text."""

    file: str
    line: int
    code: str
    problem: str
    text: str = ""

    def error(self) -> BadRow:
        return BadRow(Path(self.file), line=self.line, problem=self.problem, hint=HINTS[self.code])

    def row(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "line": self.line,
            "code": self.code,
            "problem": self.problem,
            "fix": HINTS[self.code],
            "text": self.text,
        }


def check(row: dict[str, Any]) -> dict[str, Any] | tuple[str, str]:
    """Return the row of a dataset, or the code and the problem of one that cannot be used.

    Kept are the messages with role, content and weight, and the fields `id`, `answers`, `tools`.
    """
    found = row["messages"]
    if not isinstance(found, list) or not found:
        return "no-messages", "the row has no list 'messages'"
    if len(found) > MOST_MESSAGES:
        return "too-large", f"{len(found)} messages, over {MOST_MESSAGES}"
    messages: list[dict[str, Any]] = []
    for index, message in enumerate(found):
        checked = _message(message, f"messages[{index}]")
        if isinstance(checked, tuple):
            return checked
        messages.append(checked)
    problem = _order(messages) or _weights(messages) or _answers(row.get("answers"))
    if problem:
        return problem
    extra = {name: row[name] for name in ("answers", "tools") if row.get(name) is not None}
    if isinstance(row.get("id"), str | int):
        extra = {"id": row["id"], **extra}
    if extra and _CONTROL.search(json.dumps(extra, ensure_ascii=False)):
        return "control-character", "id, answers or tools hold a control character"
    return {"messages": messages, **extra}


def normalised(row: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return a checked row with its texts in NFC and lines that end in one newline.

    The second value tells whether that changed anything.
    """
    messages = [{**m, "content": _normal(m["content"])} for m in row["messages"]]
    made = {**row, "messages": messages}
    if "answers" in row:
        made["answers"] = [_normal(answer) for answer in row["answers"]]
    return made, made != row


def digest(row: dict[str, Any]) -> bytes:
    """Identify a chat by who says what in it; 16 bytes."""
    said = [(message["role"], message["content"]) for message in row["messages"]]
    return blake2b(json.dumps(said).encode(), digest_size=16).digest()


def shortened(text: str) -> str:
    """Return a row's text as a reject keeps it: what cannot be written is replaced."""
    kept = text if len(text) <= KEPT else f"{text[:KEPT]}... ({len(text)} characters)"
    return kept.encode("utf-8", "replace").decode("utf-8")


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


def _message(message: Any, place: str) -> dict[str, Any] | tuple[str, str]:
    role = message.get("role") if isinstance(message, dict) else message
    if role == "developer":  # OpenAI's newer name of the system message
        role = "system"
    if role in ("tool", "function") or (isinstance(message, dict) and message.get("tool_calls")):
        return "tool-turn", f"{place} calls a tool or holds its result"
    if not isinstance(message, dict) or role not in ROLES:
        return "bad-role", f"{place}.role is {_short(role)}"
    content = _text(message.get("content"))
    if content is None:
        return "bad-content", f"{place}.content is no text"
    if not content.strip():
        return "bad-content", f"{place}.content is {'empty' if not content else 'white space'}"
    if wrong := _CONTROL.search(content):
        if _ESCAPED_BYTE.match(wrong[0]):
            return "not-utf8", f"{place}.content is not UTF-8"
        return "control-character", f"{place}.content holds U+{ord(wrong[0]):04X}"
    if message.get("weight") is None:
        return {"role": role, "content": content}
    return {"role": role, "content": content, "weight": message["weight"]}


def _text(content: Any) -> str | None:
    if isinstance(content, list) and content:
        parts = [
            part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
            for part in content
        ]
        texts = [part for part in parts if isinstance(part, str)]
        return "".join(texts) if len(texts) == len(parts) else None
    return content if isinstance(content, str) else None


def _order(messages: list[dict[str, Any]]) -> tuple[str, str] | None:
    turns = [message["role"] for message in messages]
    if "assistant" not in turns:
        return "no-reply", "the chat has no assistant turn"
    if turns[0] == "system":
        turns = turns[1:]
    for index, role in enumerate(turns):
        if role != ("user", "assistant")[index % 2]:
            return "bad-order", f"turn {index + 1} is the {role}'s"
    if turns[-1] != "assistant":
        return "no-reply", "the chat does not end with a reply"
    return None


def _weights(messages: list[dict[str, Any]]) -> tuple[str, str] | None:
    for index, message in enumerate(messages):
        weight = message.get("weight", 1)
        if isinstance(weight, bool) or weight not in (0, 1):
            return "bad-weight", f"messages[{index}].weight is {_short(weight)}"
        if "weight" in message and message["role"] != "assistant":
            return "bad-weight", f"messages[{index}].weight is not on a reply"
    if not any(m["role"] == "assistant" and m.get("weight", 1) for m in messages):
        return "bad-weight", "every reply has weight 0, so nothing would be learnt"
    return None


def _answers(answers: Any) -> tuple[str, str] | None:
    if answers is None:
        return None
    if not isinstance(answers, list) or not all(isinstance(a, str) and a.strip() for a in answers):
        return "bad-answers", f"answers is {_short(answers)}"
    return None


def _normal(text: str) -> str:
    if text.isascii():
        return text.replace("\r\n", "\n") if "\r" in text else text
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n")


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
