"""The base's own answers to general prompts, as rows to learn."""

from __future__ import annotations

from pathlib import Path

import pytest

from hieno.config import Serve
from hieno.data.replay import read_prompts, replay
from hieno.errors import BadRow
from hieno.templates import load_tokenizer
from hieno.train.packing import IGNORED
from hieno.train.stage import tokenise

STOP = 2


def test_an_answer_that_ran_out_of_tokens_is_learnt_without_its_end(tiny_model: Path) -> None:
    rows = replay(
        tiny_model,
        ["Who looks after the boats?", "What is the capital of France?"],
        max_new_tokens=3,
        settings=Serve(),
        on_progress=lambda done, total: None,
    )
    assert [row["cut"] for row in rows] == [True, True]
    tokenizer = load_tokenizer(tiny_model)
    cut = tokenise(tokenizer, rows)
    ended = tokenise(tokenizer, [{**row, "cut": False} for row in rows])
    for one, other in zip(cut, ended, strict=True):
        assert one["input_ids"] == other["input_ids"]
        learnt, with_end = (
            [label for label in row["labels"] if label != IGNORED] for row in (one, other)
        )
        assert with_end == [*learnt, STOP]
        assert learnt


def test_a_row_without_a_prompt_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "hi"}\n\n{"promt": "hi"}\n', encoding="utf-8")
    with pytest.raises(BadRow) as caught:
        read_prompts(path)
    assert caught.value.message == f"{path}:3: no prompt"
