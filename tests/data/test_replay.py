from __future__ import annotations

from pathlib import Path

import pytest

from hieno.data.replay import read_prompts, whole_sentences
from hieno.errors import BadRow


def test_an_answer_that_ran_out_of_tokens_ends_with_a_sentence() -> None:
    assert whole_sentences("Paris is in France. It has 2.1 million inh") == "Paris is in France."
    assert whole_sentences("no sentence ends her") == ""
    assert whole_sentences("One! Two? Thr") == "One! Two?"


def test_a_row_without_a_prompt_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "hi"}\n\n{"promt": "hi"}\n', encoding="utf-8")
    with pytest.raises(BadRow) as caught:
        read_prompts(path)
    assert caught.value.message == f"{path}:3: no prompt"
