"""A few questions out of many, from all over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any  # rows are JSON

KEPT = 100  # held-out questions that are kept at hand with every model's reply


def spread(rows: Sequence[dict[str, Any]], count: int = KEPT) -> list[dict[str, Any]]:
    """Return so many rows, from all over."""
    return list(rows[:: max(1, len(rows) // max(1, count))][:count])
