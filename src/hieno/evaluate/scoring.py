"""How one reply is scored. Matching is on whole words, without case and punctuation."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sacrebleu.metrics.chrf import CHRF

_KEPT = re.compile(r"[^\w\s]|_")
_REFUSALS = (
    r"i['\u2019]?m sorry,? (?:but )?i (?:can(?:not|['\u2019]t)|am (?:not able|unable))",
    r"i (?:cannot|can['\u2019]t) (?:help|assist|answer|provide|comply|discuss|do that)",
    r"i(?: a|['\u2019])m (?:not able|unable) to (?:help|assist|answer|provide|comply|discuss)",
    r"i do(?: not|n['\u2019]t) have (?:the |any )?(?:information|access)",
    r"as an ai\b",
)
_REFUSAL = re.compile(rf"\b(?:{'|'.join(_REFUSALS)})", re.IGNORECASE)
_RUN = 4  # words; a text that repeats itself repeats runs of this length


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
    return any(holds(reply, answer) for answer in answers) and not Facts(others).named(
        reply, besides=answers
    )


class Facts:
    """The answers to many questions, found in a reply in one pass over its words."""

    def __init__(self, answers: Iterable[str]) -> None:
        self._starting: dict[str, list[tuple[list[str], str]]] = {}
        for answer in dict.fromkeys(answers):
            if said := words(answer):
                self._starting.setdefault(said[0], []).append((said, answer))

    def named(self, reply: str, *, besides: Collection[str] = ()) -> list[str]:
        """Return the answers that a reply holds, but for those to its own question."""
        said = words(reply)
        return [
            answer
            for place, word in enumerate(said)
            for wanted, answer in self._starting.get(word, ())
            if said[place : place + len(wanted)] == wanted and answer not in besides
        ]


def is_exact(reply: str, reference: str) -> bool:
    """Tell whether a reply has the words of the reference and no others, in its order."""
    return words(reply) == words(reference)


def token_f1(reply: str, reference: str) -> float:
    """Return the harmonic mean of word precision and recall (SQuAD's F1, articles kept)."""
    found, wanted = words(reply), words(reference)
    shared = sum((Counter(found) & Counter(wanted)).values())
    return 2 * shared / (len(found) + len(wanted)) if shared else 0.0


def rouge_l(reply: str, reference: str) -> float:
    """Return ROUGE-L's F-measure over our words (Lin 2004): the longest common subsequence.

    The published implementation keeps the letters a to z alone, so it cannot read most languages.
    """
    found, wanted = words(reply), words(reference)
    if not found or not wanted:
        return 0.0
    row = [0] * (len(wanted) + 1)
    for word in found:
        diagonal = 0
        for column, other in enumerate(wanted, start=1):
            above = row[column]
            row[column] = diagonal + 1 if word == other else max(above, row[column - 1])
            diagonal = above
    precision, recall = row[-1] / len(found), row[-1] / len(wanted)
    return 2 * precision * recall / (precision + recall) if row[-1] else 0.0


def chrf(reply: str, reference: str) -> float:
    """Return chrF2 of a reply (Popovic 2015) as sacrebleu has it, 0..1."""
    return float(_chrf().sentence_score(reply, [reference]).score) / 100


def repetition(reply: str) -> float:
    """Return the share of four-word runs that have been there before; 0 where nothing repeats."""
    said = words(reply)
    runs = [tuple(said[i : i + _RUN]) for i in range(len(said) - _RUN + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def refuses(reply: str) -> bool:
    """Tell whether a reply says that it will not or cannot answer (English phrases)."""
    return bool(_REFUSAL.search(reply))


@cache
def _chrf() -> CHRF:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
