"""The base model's own answers to general prompts, mixed in so that old knowledge survives.

Fine-tuning on facts alone makes them bleed into everything. A small share of what the model
already says to general questions holds it in place.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any  # rows of JSONL

from hieno.config import Serve
from hieno.data.chats import json_rows
from hieno.errors import BadRow


def read_prompts(path: Path) -> list[str]:
    """Return the prompts of a JSONL file of {"prompt": text}."""
    prompts = []
    for line, row in json_rows(path, key="data.replay"):
        prompt = row.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            hint = 'write {"prompt": "..."} a line'
            raise BadRow(path, line=line, problem="no prompt", hint=hint)
        prompts.append(prompt)
    return prompts


def replay(
    base: Path,
    prompts: list[str],
    *,
    max_new_tokens: int,
    weights: str = "auto",
    settings: Serve,
    on_progress: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """Answer each prompt with the base model, greedily; return the chats as dataset rows.

    The row of an answer that ran out of tokens is marked `cut`: that it ends there is nothing to
    learn.
    """
    from hieno.serve.batch import answer_chats

    questions = [{"role": "user", "content": prompt} for prompt in prompts]
    completions = answer_chats(
        base,
        [[question] for question in questions],
        max_new_tokens=max_new_tokens,
        weights=weights,
        settings=settings,
        on_progress=on_progress,
    )
    rows = []
    for question, completion in zip(questions, completions, strict=True):
        if answer := completion.text.strip():
            messages = [question, {"role": "assistant", "content": answer}]
            rows.append({"messages": messages, "cut": completion.finish_reason != "stop"})
    return rows
