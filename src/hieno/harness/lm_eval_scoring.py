"""How lm-eval scores a reply to a held-out question; runs in its environment, by the task file."""

from __future__ import annotations

import re
import unicodedata
from typing import Any  # a row of the harness


def score(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Tell whether a reply holds an answer as whole words, and whether it is the reference."""
    said = _words(results[0])
    return {
        "right": float(any(_holds(said, _words(answer)) for answer in doc["answers"])),
        "exact": float(said == _words(doc["reference"])),
    }


def _words(text: str) -> list[str]:
    return re.sub(r"[^\w\s]|_", "", unicodedata.normalize("NFKC", text).lower()).split()


def _holds(said: list[str], wanted: list[str]) -> bool:
    width = len(wanted)
    return bool(width) and any(said[i : i + width] == wanted for i in range(len(said) - width + 1))
