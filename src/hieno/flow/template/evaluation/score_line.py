"""Score one answer: how many of its words are right, and whether it holds what it must."""

import re
import unicodedata
from collections import Counter
from typing import Any  # JSON from prompt flow

from promptflow.core import tool


@tool
def line(answer: str, ground_truth: str, answers: list[str] | None = None) -> dict[str, Any]:
    """Return the F1 of the words (0 to 1), and whether the answer is right where that is known."""
    return {
        "f1": f1(words(answer), words(ground_truth)),
        "right": any(holds(words(answer), words(each)) for each in answers) if answers else None,
    }


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, punctuation inside words removed."""
    return re.sub(r"[^\w\s]|_", "", unicodedata.normalize("NFKC", text).lower()).split()


def f1(found: list[str], wanted: list[str]) -> float:
    """Return the harmonic mean of word precision and recall."""
    shared = sum((Counter(found) & Counter(wanted)).values())
    return 2 * shared / (len(found) + len(wanted)) if shared else 0.0


def holds(found: list[str], wanted: list[str]) -> bool:
    """Tell whether words contain other words in a row."""
    width = len(wanted)
    return bool(width) and any(
        found[start : start + width] == wanted for start in range(len(found) - width + 1)
    )
