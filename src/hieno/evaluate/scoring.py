"""How one reply is scored. Matching is on whole words, without case and punctuation."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence

_KEPT = re.compile(r"[^\w\s]|_")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, punctuation inside words removed."""
    return _KEPT.sub("", unicodedata.normalize("NFKC", text).lower()).split()


def holds(reply: str, answer: str) -> bool:
    """Tell whether a reply contains an answer as whole words in a row."""
    found, wanted = words(reply), words(answer)
    width = len(wanted)
    return bool(width) and any(
        found[i : i + width] == wanted for i in range(len(found) - width + 1)
    )


def is_right(reply: str, answers: Sequence[str], others: Collection[str] = ()) -> bool:
    """Tell whether a reply holds one of its answers and none of the answers to other questions."""
    return any(holds(reply, answer) for answer in answers) and not any(
        holds(reply, other) for other in others if other not in answers
    )


def token_f1(reply: str, reference: str) -> float:
    """Return the harmonic mean of word precision and recall (SQuAD's F1, articles kept)."""
    found, wanted = words(reply), words(reference)
    shared = sum((Counter(found) & Counter(wanted)).values())
    return 2 * shared / (len(found) + len(wanted)) if shared else 0.0
