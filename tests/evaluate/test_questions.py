"""Which questions are asked, and which forms a reply can be checked for."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hieno.errors import BadRow
from hieno.evaluate import forms
from hieno.evaluate.intervals import LEAST
from hieno.evaluate.questions import SHIPPED, general, held_out, texts


def write(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_every_turn_of_a_chat_is_asked_with_what_was_said_before_it(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u1"},
        {"role": "assistant", "content": "a1"},
        {"role": "user", "content": "u2"},
        {"role": "assistant", "content": "shown, not learnt", "weight": 0},
        {"role": "user", "content": "u3"},
        {"role": "assistant", "content": "a3"},
    ]
    rows = [{"messages": messages[1:3]}, {"messages": messages, "answers": ["a3"]}]
    found = held_out(write(tmp_path / "test.jsonl", *rows))
    assert [(q.unit, len(q.prompt), q.reference, q.answers) for q in found] == [
        (0, 1, "a1", ()),
        (1, 2, "a1", ()),
        (1, 6, "a3", ("a3",)),
    ]
    assert found[2].prompt[4] == {"role": "assistant", "content": "shown, not learnt"}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"messages": []}, "not a general question"),
        ({"messages": [{"role": "user", "content": "?"}]}, "not a general question"),
        ({"messages": [{"role": "user", "content": "?"}], "answers": [" "]},
         "not a general question"),
        ({"messages": [{"role": "user", "content": "?"}], "form": {"rhymes": True}},
         "there is no form 'rhymes'"),
        ({"messages": [{"role": "user", "content": "?"}], "form": {"words": True}},
         "form words is True, not int"),
    ],
)  # fmt: skip
def test_a_general_question_that_nobody_can_check_is_named(
    tmp_path: Path, row: dict[str, Any], problem: str
) -> None:
    path = write(tmp_path / "general.jsonl", row)
    with pytest.raises(BadRow) as caught:
        general(path)
    assert caught.value.message == f"{path}:1: {problem}"


def test_the_shipped_questions_are_of_several_kinds_and_none_is_asked_twice() -> None:
    found = general(SHIPPED)
    assert len(found) >= 200
    topics = Counter(question.topic for question in found)
    assert set(topics) == {
        "knowledge", "arithmetic", "language", "common sense", "instructions"
    }  # fmt: skip
    assert min(topics.values()) >= 30
    asked = [question.prompt[-1]["content"] for question in found]
    assert len(set(asked)) == len(asked)
    assert all(question.checkable for question in found)


def test_the_shipped_texts_are_enough_for_an_interval() -> None:
    found = texts()
    assert len(found) >= LEAST
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ({"words": 1}, "Black.", "It is black."),
        ({"most_words": 3}, "a dog barks", "a dog barks loudly"),
        ({"sentences": 1}, "The sea is 3.5 miles wide.", "It is. It was."),
        ({"items": 2}, "1. one\n2) two", "- one\n- two\n- three"),
        ({"items": 2}, "Here:\n* one\n\u2022 two", "one, two"),
        ({"starts": "Yes"}, "yes, it is", "Oh yes"),
        ({"ends": "?"}, "Is it? ", "It is."),
        ({"holds": "lantern"}, "A Lantern!", "a lamp"),
        ({"without": "you"}, "be well", "thank you"),
        ({"capitals": True}, "HELLO!", "Hello"),
        ({"small_letters": True}, "bridge", "Bridge"),
        ({"json": True}, '```json\n{"a": 1}\n```', "{a: 1}"),
        ({"json": True}, "[1]", "1"),
        ({"words": 1, "capitals": True}, "YES", "yes"),
        ({"most_words": 5}, "a", "   "),
    ],
)
def test_a_form_is_checked(form: dict[str, Any], good: str, bad: str) -> None:
    assert not forms.problem(form)
    assert forms.follows(good, form)
    assert not forms.follows(bad, form)
