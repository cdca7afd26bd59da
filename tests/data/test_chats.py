"""Every row of a user's file is either a chat or a reject with a reason; none disappears."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hieno.data.chats import Chat, Reject, read
from hieno.data.split import split, without_repeats
from hieno.errors import MissingInput


def row(*turns: str) -> str:
    roles = ["user", "assistant"]
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]
    return json.dumps({"messages": messages})


def write(tmp_path: Path, *lines: str | bytes) -> Path:
    path = tmp_path / "chats.jsonl"
    raw = [line.encode() if isinstance(line, str) else line for line in lines]
    path.write_bytes(b"\n".join(raw) + b"\n")
    return path


@pytest.mark.parametrize(
    ("line", "code", "problem"),
    [
        ("{", "not-json", "not JSON: Expecting property name"),
        (b'{"messages": "\xff"}', "not-utf8", "byte 15 of the line is not UTF-8"),
        ("[1, 2]", "no-messages", "the row has no list 'messages'"),
        ('{"messages": []}', "no-messages", "the row has no list 'messages'"),
        (
            '{"messages": [{"role": "bot", "content": "x"}]}',
            "bad-role",
            "messages[0].role is 'bot'",
        ),
        ('{"messages": ["hello"]}', "bad-role", "messages[0].role is 'hello'"),
        (row("hello", ""), "bad-content", "messages[1].content is empty"),
        (row("hello", " \n"), "bad-content", "messages[1].content is no text"),
        (
            '{"messages": [{"role": "user", "content": ["x"]}]}',
            "bad-content",
            "messages[0].content is no text",
        ),
        (
            '{"messages": [{"role": "assistant", "content": "hello"}]}',
            "bad-order",
            "turn 1 is the assistant's",
        ),
        (row("hello"), "no-reply", "the chat does not end with a reply"),
        (
            '{"messages": [{"role": "system", "content": "be kind"}]}',
            "no-reply",
            "the chat does not end with a reply",
        ),
        (
            row("hi", "hello")[:-1] + ', "answers": "Paris"}',
            "bad-answers",
            "answers is 'Paris'",
        ),
        ("[" * 100_000, "not-json", "not JSON: "),
    ],
)
def test_a_bad_row_is_named_with_its_line_and_reason(
    tmp_path: Path, line: str | bytes, code: str, problem: str
) -> None:
    path = write(tmp_path, row("hi", "hello"), line)
    good, bad = list(read(path))
    assert isinstance(good, Chat)
    assert isinstance(bad, Reject)
    assert (bad.code, bad.line) == (code, 2)
    assert bad.problem.startswith(problem)
    assert str(bad.error()).startswith(f"{path}:2: {problem}")
    assert bad.error().exit_code == 2


def test_a_byte_order_mark_and_empty_lines_are_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbf" + row("hi", "hello").encode(), "", row("a", "b"))
    assert [chat.line for chat in read(path)] == [1, 3]


def test_answers_and_ids_stay_with_a_chat(tmp_path: Path) -> None:
    path = write(tmp_path, row("hi", "hello")[:-1] + ', "answers": ["hello"], "other": 1}')
    [chat] = read(path)
    assert isinstance(chat, Chat)
    assert chat.row()["answers"] == ["hello"]
    assert "other" not in chat.row()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInput) as caught:
        list(read(tmp_path / "none.jsonl"))
    assert str(tmp_path / "none.jsonl") in caught.value.message
    assert caught.value.hint == "set data.source in hieno.yaml to your JSONL file"


def test_repeats_and_held_out_chats_are_set_aside(tmp_path: Path) -> None:
    held = write(tmp_path, row("secret", "answer"))
    test = [chat for chat in read(held) if isinstance(chat, Chat)]
    path = tmp_path / "more.jsonl"
    lines = [row("a", "b"), row("secret", "answer"), row("a", "b")]
    path.write_text("\n".join(lines), encoding="utf-8")
    found = list(without_repeats(read(path), held_out=test))
    assert [getattr(item, "code", "kept") for item in found] == ["kept", "in-test", "duplicate"]


def test_the_split_is_seeded_whole_and_independent_of_the_order(tmp_path: Path) -> None:
    path = write(tmp_path, *[row(f"question {i}", f"answer {i}") for i in range(100)])
    chats = [chat for chat in read(path) if isinstance(chat, Chat)]
    train, test = split(chats, test_size=0.2, seed=0)
    assert (len(train), len(test)) == (80, 20)
    assert {c.digest for c in train} | {c.digest for c in test} == {c.digest for c in chats}
    again = split(list(reversed(chats)), test_size=0.2, seed=0)[1]
    assert {c.digest for c in again} == {c.digest for c in test}
    other = split(chats, test_size=0.2, seed=1)[1]
    assert {c.digest for c in other} != {c.digest for c in test}


@pytest.mark.parametrize(("count", "held_out"), [(1, 0), (2, 1), (3, 1)])
def test_a_tiny_set_keeps_something_to_learn(tmp_path: Path, count: int, held_out: int) -> None:
    path = write(tmp_path, *[row(f"q{i}", "a") for i in range(count)])
    chats = [chat for chat in read(path) if isinstance(chat, Chat)]
    assert len(split(chats, test_size=0.2, seed=0)[1]) == held_out
