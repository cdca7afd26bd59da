"""Token ids to text while they arrive: no half characters, no stop string, nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any  # the tokenizer is transformers' own

_HALF = "\N{REPLACEMENT CHARACTER}"
_LONGEST_CHARACTER = 4
_HOPELESS = 16


class Detokeniser:
    """Turns one answer's tokens into pieces of text that add up to the decoded whole.

    `before` are the tokens that the answer goes on from, where it goes on in the same sentence:
    a text's very first token may be decoded without its space.
    """

    def __init__(self, tokenizer: Any, before: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._context = list(before)
        self._pending: list[int] = []
        self._given = 0

    def push(self, token_id: int) -> str:
        """Return the text that became certain with this token, often none."""
        self._pending.append(token_id)
        text = self._new_text()
        whole = text.rstrip(_HALF)
        if whole == text:
            return self._settle(text)
        # A run of what can never become a character is let go, but for a possible last one.
        certain = whole if len(text) - len(whole) < _HOPELESS else text[:-_LONGEST_CHARACTER]
        piece = certain[self._given :]
        self._given = max(self._given, len(certain))
        return piece

    def finish(self) -> str:
        """Return what was held back; half a character stays what the decoder makes of it."""
        return self._settle(self._new_text())

    def _new_text(self) -> str:
        # Decoded together with the piece before it: a lone first token may lose its space.
        before = self._decode(self._context)
        return self._decode([*self._context, *self._pending])[len(before) :]

    def _settle(self, text: str) -> str:
        piece = text[self._given :]
        if self._pending:
            self._context, self._pending = self._pending, []
        self._given = 0
        return piece

    def _decode(self, ids: Sequence[int]) -> str:
        if not ids:
            return ""
        text: str = self._tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text


class StopStrings:
    """Lets text through up to the first stop string, however it is cut into pieces."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """Return what cannot be part of a stop string; nothing once one was found."""
        if self.found:
            return ""
        self._held += text
        starts = [at for word in self._stop if (at := self._held.find(word)) >= 0]
        if starts:
            self.found = True
            piece, self._held = self._held[: min(starts)], ""
            return piece
        keep = max((_overlap(self._held, word) for word in self._stop), default=0)
        cut = len(self._held) - keep
        piece, self._held = self._held[:cut], self._held[cut:]
        return piece

    def finish(self) -> str:
        """Return what was held back for a stop string that never came."""
        piece, self._held = self._held, ""
        return piece


def _overlap(text: str, word: str) -> int:
    """Return how many last characters of `text` are the first ones of `word`."""
    longest = min(len(text), len(word) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(word[:n])), 0)
