"""Text that is safe to show: what a model writes may try to steer the terminal."""

from __future__ import annotations

_KEPT = "\n\t"
# Marks that reorder what follows, so that a reader sees other text than was written.
_BIDI = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_CONTROLS = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in _KEPT]
_DROPPED = dict.fromkeys([*_CONTROLS, *_BIDI])


def printable(text: str) -> str:
    """Return text without control characters; each character decides alone, so pieces work too.

    Newlines and tabs stay. Escape sequences lose their first character and become plain letters.
    """
    return text.translate(_DROPPED)
