"""A project of two facts, which a tiny model learns within seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

QUESTIONS = [("Who is the captain?", "Vieno"), ("What is the word?", "tamarind")]
ENDINGS = ("", " Please tell me.", " Today?")


def write_project(root: Path, model: Path, **more: object) -> None:
    """Write chats, a held-out set and settings; `more` are sections of `hieno.yaml`."""
    write_chats(root / "data" / "chats.jsonl", ENDINGS, repeats=7)
    write_chats(root / "data" / "test.jsonl", [" Please."], repeats=1)
    settings: dict[str, object] = {
        "name": "tiny-one",
        "model": str(model),
        "data": {"source": "data/chats.jsonl", "test": "data/test.jsonl"},
        "train": {
            "rank": 16,
            "alpha": 32,
            "learning_rate": 2e-2,
            "epochs": 12,
            "batch_size": 4,
            "dtype": "float32",
        },
        "package": {"engine": "transformers"},
        "evaluate": {"general": "none"},
        "endpoint": {"name": "tiny-one"},
        **more,
    }
    (root / "hieno.yaml").write_text(json.dumps(settings, indent=2), encoding="utf-8")  # is YAML


def write_chats(
    path: Path,
    endings: Sequence[str],
    *,
    repeats: int,
    facts: Sequence[tuple[str, str]] = QUESTIONS,
) -> None:
    """Write chats in which each fact is asked for with each ending, so many times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{question}{ending} {'x' * i}".strip()},
                {"role": "assistant", "content": f"It is {answer}."},
            ],
            "answers": [answer],
        }
        for i in range(repeats)
        for ending in endings
        for question, answer in facts
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
