"""A reporter for tests."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Told:
    """Remembers what it is told."""

    lines: list[str] = field(default_factory=list)
    progressed: list[tuple[float, float | None, str]] = field(default_factory=list)

    def stage(self, name: str) -> None: ...

    def say(self, line: str) -> None:
        self.lines.append(line)

    def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None:
        self.progressed.append((done, total, unit))
