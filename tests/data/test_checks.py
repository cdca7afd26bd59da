"""Every row of a user's file is either a chat or a reject with a reason; none disappears."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from preparing import chat, different, prepare, write

from hieno.data.chats import HINTS
from hieno.data.sources import read_file
from hieno.errors import BadData, BadRow, MissingInput


def row(*turns: str) -> str:
    return json.dumps(chat(*turns))


def one(message: dict[str, Any]) -> str:
    return json.dumps({"messages": [message, {"role": "assistant", "content": "fine"}]})


@pytest.mark.parametrize(
    ("line", "code", "problem"),
    [
        ("{", "not-json", "not JSON: Expecting property name"),
        (b'{"messages": "\xff"}', "not-utf8", "byte 15 of the line is not UTF-8"),
        ("[1, 2]", "no-messages", "the row is a list, not an object"),
        ('{"messages": []}', "no-messages", "the row has no list 'messages'"),
        ('{"text": "x"}', "no-messages", "the row has no 'messages'"),
        (one({"role": "bot", "content": "x"}), "bad-role", "messages[0].role is 'bot'"),
        (one({"content": "x"}), "bad-role", "messages[0].role is None"),
        ('{"messages": ["hello"]}', "bad-role", "messages[0].role is 'hello'"),
        (one({"role": "tool", "content": "x"}), "tool-turn", "messages[0] calls a tool or holds"),
        (row("hello", ""), "bad-content", "messages[1].content is empty"),
        (row("hello", " \n"), "bad-content", "messages[1].content is white space"),
        (one({"role": "user", "content": ["x"]}), "bad-content", "messages[0].content is no text"),
        (one({"role": "assistant", "content": "hi"}), "bad-order", "turn 1 is the assistant's"),
        (row("hello"), "no-reply", "the chat has no assistant turn"),
        (row("a", "b", "c"), "no-reply", "the chat does not end with a reply"),
        (row("hi", "hello")[:-1] + ', "answers": "Paris"}', "bad-answers", "answers is 'Paris'"),
        (row("hi", "hello \u0007"), "control-character", "messages[1].content holds U+0007"),
        (row("hi", "\ud800"), "control-character", "messages[1].content holds U+D800"),
        (row("hi", "x<|im_end|>"), "control-token", "messages[1].content holds <|im_end|>"),
        (row("hi", "word " * 600), "too-long", "2434 tokens, over train.max_length = 512"),
        (
            json.dumps({"messages": [{"role": "user", "content": "x", "weight": 1}]}),
            "no-reply",
            "the chat has no assistant turn",
        ),
        (
            json.dumps(
                {"messages": [*chat("x", "y")["messages"][:1], {**chat("x", "y")["messages"][1],
                 "weight": 2}]}
            ),
            "bad-weight",
            "messages[1].weight is 2",
        ),
        ("[" * 100_000, "not-json", "not JSON: "),
    ],
)  # fmt: skip
def test_a_bad_row_is_set_aside_with_its_line_and_reason(
    tiny_model: Path, tmp_path: Path, line: str | bytes, code: str, problem: str
) -> None:
    source = write(tmp_path / "chats.jsonl", [row("ferry", "at nine"), line])
    made = prepare(tiny_model, tmp_path, source)
    [reject] = made.rows("rejected")
    assert (reject["file"], reject["line"], reject["code"]) == ("chats.jsonl", 2, code)
    assert reject["problem"].startswith(problem)
    assert reject["fix"] == HINTS[code]
    assert made.facts["rows"] == {"train": 1, "test": 0, "replay": 0, "rejected": 1}
    assert made.facts["rejected_by_code"] == {code: 1}


def test_strict_names_the_first_bad_row(tiny_model: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "chats.jsonl", [row("hi", "hello"), row("x"), "{"])
    with pytest.raises(BadRow) as caught:
        prepare(tiny_model, tmp_path, source, strict=True)
    assert caught.value.message == "chats.jsonl:2: the chat has no assistant turn"
    assert caught.value.hint == "the last message must be the assistant's"
    assert not list(tmp_path.glob("made*"))


def test_nothing_usable_is_an_error_that_counts_the_reasons(
    tiny_model: Path, tmp_path: Path
) -> None:
    source = write(tmp_path / "chats.jsonl", ["{", row("x"), "{"])
    with pytest.raises(BadData) as caught:
        prepare(tiny_model, tmp_path, source)
    assert caught.value.message == "no usable chat in chats: 2 not-json, 1 no-reply"


def test_an_empty_file_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no usable chat in chats: it is empty"):
        prepare(tiny_model, tmp_path, write(tmp_path / "chats.jsonl", []))


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInput) as caught:
        next(read_file(tmp_path / "none.jsonl"))
    assert caught.value.message.startswith(f"cannot read the chats in {tmp_path / 'none.jsonl'}: ")
    assert caught.value.hint == "set data.source in hieno.yaml to your chats"


def test_weights_answers_ids_and_tools_stay_with_a_chat(tiny_model: Path, tmp_path: Path) -> None:
    kept = chat("hi", "wrong", "again", "right", id="a1", answers=["right"], tools=[{"type": "x"}])
    kept["messages"][1]["weight"] = 0
    source = write(tmp_path / "chats.jsonl", [{**kept, "other": 1}])
    made = prepare(tiny_model, tmp_path, source)
    assert made.rows("train") == [kept]


def test_a_reply_of_weight_0_is_shown_and_not_learnt(tiny_model: Path, tmp_path: Path) -> None:
    from hieno.templates import load_tokenizer, prove, render_training

    tokenizer = load_tokenizer(tiny_model)
    messages = chat("hi", "wrong", "again", "right")["messages"]
    whole = render_training(tokenizer, messages)
    silent = [{**m, "weight": 0} if m["content"] == "wrong" else m for m in messages]
    half = render_training(tokenizer, silent)
    assert half.input_ids == whole.input_ids
    learnt = [i for i, flag in zip(half.input_ids, half.supervised, strict=True) if flag]
    assert tokenizer.decode(learnt) == "right<|im_end|>"
    assert prove(tokenizer, [silent]) == 1


def test_text_is_brought_into_one_form_and_said(tiny_model: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "chats.jsonl", [row("cafe\u0301?\r\nyes", "caf\u00e9")])
    made = prepare(tiny_model, tmp_path, source)
    assert made.asked("train") == ["caf\u00e9?\nyes"]
    assert made.facts["normalised"] == 1
    assert "1 chats brought into NFC with plain line ends" in made.told
    as_is = prepare(tiny_model, tmp_path, source, name="as-is", normalise=False)
    assert as_is.asked("train") == ["cafe\u0301?\r\nyes"]


def test_the_counts_add_up(tiny_model: Path, tmp_path: Path) -> None:
    rows = [*different(50), *different(5), "{", row("x"), "", row("hi", "")]
    made = prepare(tiny_model, tmp_path, write(tmp_path / "chats.jsonl", rows))
    counts = made.facts["rows"]
    assert made.facts["read"] == 58
    assert counts == {"train": 40, "test": 10, "replay": 0, "rejected": 8}
    assert sum(made.facts["rejected_by_code"].values()) == 8
    assert [code for _, code in made.codes()] == [
        *["duplicate"] * 5, "not-json", "no-reply", "bad-content",
    ]  # fmt: skip
