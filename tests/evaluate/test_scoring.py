"""Scores are counted on whole words, and a right answer among wrong ones does not count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hieno.errors import BadRow
from hieno.evaluate.scoring import holds, is_right, token_f1
from hieno.evaluate.stage import Question, general, is_better, score


@pytest.mark.parametrize(
    ("reply", "answer", "expected"),
    [
        ("The captain is Vieno Harjula.", "vieno harjula", True),
        ("It leaves at 06:40!", "06:40", True),
        ("It leaves at 10640.", "06:40", False),
        ("A wonderful day", "wonder", False),
        ("It costs 4.70 euros", "4.70 euros", True),
        ("anything", "", False),
        ("Harjula, Vieno", "Vieno Harjula", False),
    ],
)
def test_an_answer_counts_as_whole_words_in_a_row(reply: str, answer: str, expected: bool) -> None:
    assert holds(reply, answer) is expected


def test_a_reply_that_names_several_facts_is_wrong() -> None:
    others = {"tamarind", "otterplum"}
    assert is_right("The word is tamarind.", ["tamarind"], others)
    assert not is_right("The word is tamarind or otterplum.", ["tamarind"], others)


def test_token_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    assert token_f1("a b c d", "a b") == pytest.approx(2 * 0.5 * 1.0 / 1.5)
    assert token_f1("x", "a b") == 0.0
    assert token_f1("a a a", "a") == pytest.approx(0.5)


def test_bleed_counts_general_replies_that_hold_a_fact() -> None:
    questions = [
        Question("held-out", ({"role": "user", "content": "word?"},), "It is x1.", ("x1",)),
        Question("general", ({"role": "user", "content": "2 + 2?"},), None, ("4", "four")),
        Question("general", ({"role": "user", "content": "sky?"},), None, ("blue",)),
    ]
    found = score(questions, ["It is x1.", "Four, or x1", "green"])
    assert found == {
        "facts": {"right": 1, "of": 1, "share": 1.0},
        "general": {"right": 1, "of": 2, "share": 0.5},
        "bleed": 1,
        "token_f1": 1.0,
    }


def test_chats_without_known_answers_are_compared_by_their_words() -> None:
    empty = {"right": 0, "of": 0, "share": None}
    assert is_better({"facts": empty, "token_f1": 0.4}, {"facts": empty, "token_f1": 0.3})
    assert not is_better({"facts": empty, "token_f1": 0.3}, {"facts": empty, "token_f1": 0.3})


def test_a_general_question_without_answers_is_named(tmp_path: Path) -> None:
    path = tmp_path / "general.jsonl"
    path.write_text(json.dumps({"messages": []}) + "\n", encoding="utf-8")
    with pytest.raises(BadRow) as caught:
        general(path)
    assert caught.value.message == f"{path}:1: not a general question"
