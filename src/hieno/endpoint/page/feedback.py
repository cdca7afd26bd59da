"""What readers of the chat page say about answers, as JSON lines that `hieno data` learns from.

A file grows only: a later line with the same id takes the place of an earlier one, and a line with
neither rating nor correction takes the earlier one back. `docs/chat.md` shows the form.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self  # Any: a body before it is checked

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MOST_BYTES = 100_000_000  # of the whole file: guests must not fill the disk

_Text = Annotated[str, Field(max_length=1_000_000)]


class Full(Exception):
    """The file has reached its bound."""


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    role: Literal["system", "user", "assistant"]
    content: _Text


class Feedback(BaseModel):
    """What is kept of one answer, which is the last of the messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-zA-Z-]{8,64}$")]
    messages: Annotated[list[Message], Field(min_length=2, max_length=2000)]
    rating: Literal["up", "down"] | None = None
    correction: _Text | None = None
    model_version: Annotated[str, Field(pattern=r"^[!-~]{0,100}$")] = ""

    @model_validator(mode="after")
    def _ends_with_an_answer(self) -> Self:
        roles = [message.role for message in self.messages]
        if roles[-2:] != ["user", "assistant"]:
            raise ValueError("the messages end with a question and its answer")
        return self


def read(body: Any) -> Feedback:
    """Check what a page has sent; `ValueError` says which field is wrong, not what it holds."""
    try:
        return Feedback.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place}: {first['msg']}".removeprefix(": ")) from None


def append(path: Path, feedback: Feedback, *, now: datetime | None = None) -> None:
    """Add a line, whole or not at all, to a file that its owner alone can read.

    Raises `Full` where the file would pass its bound.
    """
    time = (now or datetime.now(UTC)).isoformat(timespec="seconds").replace("+00:00", "Z")
    row = {**feedback.model_dump(), "time": time}
    line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size + len(line) > MOST_BYTES:
            raise Full(str(path))
        try:
            _write(descriptor, line)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)  # a disk that filled up leaves no half line
            raise
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
