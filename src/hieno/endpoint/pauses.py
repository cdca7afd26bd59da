"""Pauses between tries: each twice as long as the one before, up to a longest one."""

from __future__ import annotations


def doubled(first: float, times: int, *, longest: float) -> float:
    """Return the seconds of a pause that was doubled so many times."""
    # bounded before it is a power: a broken model may be started for days
    return float(min(longest, first * 2 ** min(times, 10)))
