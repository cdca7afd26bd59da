"""The lines of a batch, read from JSONL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hieno.errors import BadData, BadRow, MissingInput
from hieno.flow.rows import Row, read
from hieno.flow.shape import Shape

SHAPE = Shape("question", "chat_history", "answer")


def rows(tmp_path: Path, *lines: object, shape: Shape = SHAPE, **columns: str) -> list[Row]:
    path = tmp_path / "data.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts), encoding="utf-8")
    return read(path, shape, columns)


def test_a_row_gives_inputs_by_name_and_says_what_is_expected(tmp_path: Path) -> None:
    row = {"question": "Who?", "tone": "dry", "ground_truth": "Ann", "answers": ["Ann", "Anna"]}
    assert rows(tmp_path, "", row) == [
        Row(2, {"question": "Who?", "tone": "dry"}, "Ann", ("Ann", "Anna"))
    ]


def test_a_chat_is_asked_up_to_its_last_answer(tmp_path: Path) -> None:
    said = [("system", "Be kind."), ("user", "a"), ("assistant", "b"), ("user", "c")]
    messages = [{"role": role, "content": text} for role, text in said]
    history = [{"inputs": {"question": "a"}, "outputs": {"answer": "b"}}]
    inputs = {"question": "c", "chat_history": history}
    ending = {"role": "assistant", "content": "d"}
    assert rows(tmp_path, {"messages": messages}) == [Row(1, inputs)]
    assert rows(tmp_path, {"messages": [*messages, ending]}) == [Row(1, inputs, "d")]


def test_a_chat_takes_the_names_of_the_flow(tmp_path: Path) -> None:
    shape = Shape("input_data", None, "reply")
    (row,) = rows(tmp_path, {"messages": [{"role": "user", "content": "a"}]}, shape=shape)
    assert row.inputs == {"input_data": "a"}


def test_a_column_of_another_name_is_taken(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, {"prompt": "Who?"}, question="prompt")
    assert row.inputs["question"] == "Who?"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ({"prompt": "Who?"}, "no 'question' and no 'messages'"),
        ({"messages": "Who?"}, "messages is no list of texts"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "a role is unknown"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "do not take turns"),
        ({"messages": []}, "do not take turns"),
    ],
)
def test_a_line_that_is_neither_is_named(tmp_path: Path, line: object, problem: str) -> None:
    with pytest.raises(BadRow) as caught:
        rows(tmp_path, {"question": "fine"}, line)
    assert caught.value.message.startswith(f"{tmp_path / 'data.jsonl'}:2: ")
    assert problem in caught.value.message


def test_an_empty_or_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="has no row"):
        rows(tmp_path, "")
    with pytest.raises(MissingInput, match="cannot read"):
        read(tmp_path / "none.jsonl", SHAPE)
