"""Distinct texts of one length in tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any  # the tokenizer is transformers' own

from benchmarks.serve.settings import PROMPT

VOCABULARY = (
    "ferry harbour winter carpenter captain boat island lamp letter morning river bridge market "
    "garden kitchen window mountain valley teacher student doctor village station ticket engine "
    "silver copper candle blanket orchard compass anchor barrel violin drummer thunder meadow"
)


class Prompts:
    """Texts of one length in tokens, none of which comes twice."""

    def __init__(self, root: Path) -> None:
        from hieno.package.layout import weights_folder
        from hieno.templates import load_tokenizer

        self._tokenizer: Any = load_tokenizer(weights_folder(root))
        self._random = random.Random(0)  # noqa: S311 - words, not secrets
        self._number = 0

    def take(self) -> str:
        """Return the next text; it differs from the others in its first words already."""
        self._number += 1
        words = [f"Report {self._number}:", *self._random.choices(VOCABULARY.split(), k=PROMPT)]
        ids = self._tokenizer.encode(" ".join(words), add_special_tokens=False)[:PROMPT]
        return str(self._tokenizer.decode(ids))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the texts' tokens."""
        return [self._tokenizer.encode(text, add_special_tokens=False) for text in texts]
