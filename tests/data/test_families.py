"""A dataset is proven with the published template of every family, and refused where it fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from preparing import chat, different, prepare, write
from tokenizers_of_phi import make

from hieno.data.inspection import inspect, sample, stretches
from hieno.errors import BadData, ConfigError

STOPS = {
    "chatml": "<|im_end|>", "phi4": "<|im_end|>", "phi3": "<|end|>", "phi3_5": "<|end|>",
    "phi4_mini": "<|end|>",
}  # fmt: skip


def model_of(family: str, folder: Path, tiny: Path) -> Path:
    make(family, folder)
    shutil.copy(tiny / "config.json", folder)
    return folder


@pytest.mark.parametrize("family", STOPS)
def test_every_family_learns_its_replies_with_their_stop(
    tiny_model: Path, tmp_path: Path, family: str
) -> None:
    model = model_of(family, tmp_path / "model", tiny_model)
    system = {"role": "system", "content": "Be brief."}
    rows = [chat("Who?", "The carpenter."), chat("a", "b", "c", "d"), *different(3)]
    rows.append({"messages": [system, *chat("Hello!", "What is this?")["messages"]]})
    made = prepare(model, tmp_path, write(tmp_path / "a.jsonl", rows))
    assert made.facts["rows"]["rejected"] == 0
    kept = [*sample(made.folder / "train.jsonl", 9), *sample(made.folder / "test.jsonl", 9)]
    for row, shown in zip(kept, inspect(model, kept), strict=True):
        replies = [m["content"] for m in row["messages"] if m["role"] == "assistant"]
        learnt = [text.strip() for text, supervised, _ in stretches(shown) if supervised]
        stop = STOPS[family]
        assert [text[: text.index(stop)] for text in learnt] == replies


def test_a_template_that_does_not_train_its_stop_is_refused(
    tiny_model: Path, tmp_path: Path
) -> None:
    model = model_of("phi4_mini", tmp_path / "model", tiny_model)
    ids = {"eos_token_id": [0]}  # <|endoftext|> alone, where replies end in <|end|>
    (model / "generation_config.json").write_text(json.dumps(ids), encoding="utf-8")
    with pytest.raises(ConfigError, match="which does not stop the model"):
        prepare(model, tmp_path, write(tmp_path / "a.jsonl", different(3)))


def test_a_template_that_marks_everything_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    model = model_of("chatml", tmp_path / "model", tiny_model)
    template = (
        "{% generation %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        "{% endgeneration %}"
    )
    (model / "chat_template.jinja").write_text(template, encoding="utf-8")
    with pytest.raises(BadData) as caught:
        prepare(model, tmp_path, write(tmp_path / "a.jsonl", different(3)))
    assert caught.value.message == "of 3 chats nothing or everything would be learnt"
