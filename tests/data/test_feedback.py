"""What readers of the chat page said about answers becomes chats to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from preparing import chat, different, prepare, write

from hieno.endpoint.page import feedback


def rated(
    name: str, *turns: str, rating: str | None = None, correction: str | None = None
) -> dict[str, Any]:
    return {
        "id": f"answer-{name}",
        "messages": chat(*turns)["messages"],
        "rating": rating,
        "correction": correction,
        "model_version": "books:3",
    }


ROWS = [
    rated("a", "When do you open?", "At nine.", rating="up"),
    rated("b", "Hi", "Hello!", "And close?", "At five.", correction="At six."),
    rated("c", "Who?", "Nobody.", rating="down"),
    rated("d", "Where?", "There.", rating="down"),
    rated("d", "Where?", "There.", rating="down", correction="In Turku."),
    rated("e", "Why?", "Because.", rating="up"),
    rated("e", "Why?", "Because."),
]


def test_what_the_page_keeps_is_learnt_as_it_was_meant(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    for row in ROWS:
        feedback.append(path, feedback.read(row))
    made = prepare(tiny_model, tmp_path, [path, write(tmp_path / "chats.jsonl", different(1))])
    assert made.facts["sources"]["feedback.jsonl"].startswith("feedback (")
    assert made.codes() == [
        (3, "rated-down"), (4, "replaced"), (6, "replaced"), (7, "not-rated"),
    ]  # fmt: skip
    found = {row.get("id"): row["messages"] for row in made.rows("train") + made.rows("test")}
    assert found["answer-a"] == chat("When do you open?", "At nine.")["messages"]
    assert found["answer-d"] == chat("Where?", "In Turku.")["messages"]
    first, *_, last = (m for m in found["answer-b"] if m["role"] == "assistant")
    assert first == {"role": "assistant", "content": "Hello!", "weight": 0}
    assert last == {"role": "assistant", "content": "At six."}


def test_broken_lines_of_feedback_are_set_aside_as_any(tiny_model: Path, tmp_path: Path) -> None:
    rows = [*ROWS[:3], "{", '{"id": "answer-a", "messages": 7, "rating": "up", "correction": null}']
    made = prepare(tiny_model, tmp_path, write(tmp_path / "f.jsonl", rows))
    assert made.codes() == [
        (1, "replaced"), (3, "rated-down"), (4, "not-json"), (5, "no-messages"),
    ]  # fmt: skip


def test_chats_with_a_rating_alone_are_no_feedback(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{**row, "rating": 5} for row in different(2)]
    made = prepare(tiny_model, tmp_path, write(tmp_path / "c.jsonl", rows))
    assert made.facts["sources"]["c.jsonl"].startswith("messages (")
    assert made.codes() == []
