"""The seam between long work and whoever watches it."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """What long work tells while it runs."""

    def stage(self, name: str) -> None:
        """Say which work begins; the progress that follows is its own."""

    def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None:
        """Say how far it is; `total` is None where the end is not known."""

    def say(self, line: str) -> None:
        """Say one thing that is worth a line of its own."""


def duration(seconds: float) -> str:
    """Return a time for people: `4.2 s`, `3:07`, `1:02:03`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
