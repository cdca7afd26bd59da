"""A few questions out of many, from all over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
KEPT = 100  # held-out questions that are kept at hand with every model's reply


def spread(rows: Sequence[T], count: int = KEPT) -> list[T]:
    """Return so many of many, from all over."""
    return list(rows[:: max(1, len(rows) // max(1, count))][:count])
