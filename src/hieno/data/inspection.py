"""Chats as the model learns them: token by token, with the supervised ones marked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any  # rows of JSONL

from hieno.files import read_jsonl


@dataclass(frozen=True)
class Shown:
    """A chat's tokens as text with their marks, its counts and the share that is learnt."""

    tokens: tuple[tuple[str, bool], ...]
    supervised: int

    @property
    def share(self) -> float:
        return self.supervised / max(1, len(self.tokens))


def inspect(model: Path, chats: Iterable[dict[str, Any]]) -> list[Shown]:
    """Return chats as training will show them, proved against what serving shows.

    Raises `BadData` where none or all of a chat's tokens would be learnt, `ConfigError` where
    training and serving differ or a reply does not learn to stop.
    """
    from hieno.templates import load_tokenizer, prove, render_training

    tokenizer = load_tokenizer(model)
    rows = [chat["messages"] for chat in chats]
    prove(tokenizer, rows)
    shown = []
    for messages in rows:
        tokens = render_training(tokenizer, messages)
        pairs = zip(_texts(tokenizer, tokens.input_ids), tokens.supervised, strict=True)
        shown.append(Shown(tuple(pairs), sum(tokens.supervised)))
    return shown


def sample(path: Path, count: int) -> list[dict[str, Any]]:
    """Return the first chats of a file of a dataset."""
    rows = read_jsonl(path)
    return [row for _, row in zip(range(count), rows, strict=False)]


def stretches(shown: Shown) -> list[tuple[str, bool, int]]:
    """Join neighbouring tokens of one mark: (text, supervised, tokens)."""
    joined = []
    for supervised, group in groupby(shown.tokens, key=lambda token: token[1]):
        texts = [text for text, _ in group]
        joined.append(("".join(texts), supervised, len(texts)))
    return joined


def _texts(tokenizer: Any, ids: list[int]) -> list[str]:
    """Return each token's text; letters that several tokens form stand with the last of them."""
    texts, start = [], 0
    for place in range(1, len(ids) + 1):
        now = tokenizer.decode(ids[start:place], clean_up_tokenization_spaces=False)
        if now.endswith("\ufffd") and place - start < 8:
            texts.append("")
            continue
        texts.append(now)
        start = place
    return texts
