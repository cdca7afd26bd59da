"""What a batch has found: each line's answer or error, and the counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # outputs are the flow's JSON

from hieno.flow.rows import Row
from hieno.flow.shape import Shape

ANSWERS, SUMMARY, REPORT = "answers.jsonl", "summary.json", "report.html"


@dataclass(frozen=True)
class Answered:
    """What became of one line; either `outputs` or `error` is there."""

    line: int
    outputs: Mapping[str, Any] | None
    error: str | None
    seconds: float
    tries: int


@dataclass(frozen=True)
class Batch:
    """A batch as it stands; `unasked` lines were left when it was given up."""

    folder: Path
    shape: Shape
    rows: Sequence[Row]
    results: Mapping[int, Answered]
    earlier: int = 0  # answers of an earlier call

    @property
    def answered(self) -> int:
        return sum(result.error is None for result in self.results.values())

    @property
    def failed(self) -> int:
        return len(self.results) - self.answered

    @property
    def unasked(self) -> int:
        return len(self.rows) - len(self.results)

    @property
    def complete(self) -> bool:
        return self.answered == len(self.rows)

    def answer(self, row: Row) -> str:
        """Return the text of a line's answer, empty where it has none."""
        result = self.results.get(row.line)
        found = result.outputs if result else None
        return str(found.get(self.shape.answer, "")) if found else ""

    def as_json(self) -> dict[str, Any]:
        """Return the counts, and where everything is."""
        return {
            "lines": len(self.rows),
            "answered": self.answered,
            "failed": self.failed,
            "unasked": self.unasked,
            "earlier": self.earlier,
            "answers": str(self.folder / ANSWERS),
            "report": str(self.folder / REPORT),
        }
