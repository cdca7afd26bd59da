"""Search for better training settings within a budget of time; nothing is changed silently."""

from hieno.tune.search import Found, tune

__all__ = ["Found", "tune"]
