"""What is kept of ratings and corrections, and what is refused."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rehearsal import Endpoint, spec

from hieno.endpoint import control, state
from hieno.endpoint.page import feedback
from hieno.endpoint.state import Page

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def body(**changes: Any) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "When do you open?"},
        {"role": "assistant", "content": "At ten."},
    ]
    made = {"id": "a-0000001", "messages": messages, "rating": "up", "model_version": "books:3"}
    return made | changes


def test_a_rating_is_one_line_that_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    feedback.append(path, feedback.read(body()), now=NOON)
    feedback.append(path, feedback.read(body(rating=None, correction="At nine.\n")), now=NOON)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows[0] == body() | {"correction": None, "time": "2026-11-25T12:00:00Z"}
    assert [row["correction"] for row in rows] == [None, "At nine.\n"]
    if os.name != "nt":
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_file_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "feedback.jsonl"
    feedback.append(path, feedback.read(body()))
    before = path.read_bytes()
    monkeypatch.setattr(feedback, "MOST_BYTES", len(before) + 10)
    with pytest.raises(feedback.Full):
        feedback.append(path, feedback.read(body()))
    assert path.read_bytes() == before


def test_a_write_that_fails_half_way_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "feedback.jsonl"
    feedback.append(path, feedback.read(body()))
    before, write = path.read_bytes(), os.write

    def full_disk(descriptor: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) - 10])

    monkeypatch.setattr(os, "write", full_disk)
    with pytest.raises(OSError, match="No space left"):
        feedback.append(path, feedback.read(body()))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rating": "meh"}, "rating: Input should be 'up' or 'down'"),
        (
            {"correction": "\ud800"},
            "correction: Input should be a valid string, unable to parse raw data as a unicode "
            "string",
        ),
        ({"id": "../x"}, "id: String should match pattern '^[0-9a-zA-Z-]{8,64}$'"),
        ({"who": "me"}, "who: Extra inputs are not permitted"),
        ({"messages": []}, "messages: List should have at least 2 items after validation, not 0"),
        (
            {"messages": body()["messages"][:2]},
            "Value error, the messages end with a question and its answer",
        ),
        (
            {"model_version": "a\nb"},
            "model_version: String should match pattern '^[!-~]{0,100}$'",
        ),
    ],
)
def test_what_is_wrong_is_named_without_quoting_it(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
        feedback.read(body(**changes))


def test_feedback_can_be_turned_on_and_off_without_a_restart(endpoint: Endpoint) -> None:
    endpoint.deploy(spec("1"))
    before = endpoint.processes()
    for wanted in (Page("books", feedback="/somewhere/feedback.jsonl"), Page("books")):
        control.ensure_running(endpoint.folder, wait=60, page=wanted)
        desired = state.read_desired(endpoint.folder)
        assert desired is not None
        assert desired.page == wanted
    assert endpoint.processes() == before
