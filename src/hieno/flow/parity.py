"""Prove that two projects answer alike: the same lines through both, the answers compared."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # JSON for `--json`

from pydantic import SecretStr

from hieno.errors import UsageError
from hieno.flow import batch
from hieno.flow.frameworks import AGENTS, entry
from hieno.flow.results import REPORT, Batch
from hieno.flow.shape import SETTINGS
from hieno.reporting import Reporter


@dataclass(frozen=True)
class Difference:
    """A line that the two answer otherwise; None is no answer."""

    line: int
    question: str
    answers: tuple[str | None, str | None]


@dataclass(frozen=True)
class Parity:
    """How two projects compare; `same` lines have one answer, word for word."""

    lines: int
    same: int
    refused: int  # lines that both refuse
    differences: tuple[Difference, ...]
    batches: tuple[Batch, Batch]

    @property
    def proven(self) -> bool:
        """Tell whether every line has the same answer."""
        return self.same == self.lines

    def as_json(self) -> dict[str, Any]:
        return {
            "lines": self.lines,
            "same": self.same,
            "refused": self.refused,
            "different": [vars(each) for each in self.differences],
            "reports": [str(each.folder / REPORT) for each in self.batches],
        }


def compare(
    folders: tuple[Path, Path],
    data: Path,
    endpoint: str,
    key: SecretStr,
    *,
    runs: Path,
    model: str = "",
    columns: Mapping[str, str] | None = None,
    workers: int = 4,
    reporter: Reporter,
) -> Parity:
    """Ask both projects every line of `data` at temperature 0 and compare the answers.

    Projects of another temperature are copied for it; nothing in their folders changes.
    """
    with tempfile.TemporaryDirectory(prefix="hieno-parity-") as copies:
        first, second = (
            batch.run(
                _at_zero(folder, Path(copies, str(number))),
                data,
                endpoint,
                key,
                runs=runs,
                model=model,
                columns=columns,
                workers=workers,
                fresh=True,
                reporter=reporter,
            )
            for number, folder in enumerate(folders)
        )
    same, refused, differences = 0, 0, []
    for row in first.rows:
        answers = tuple(_answer(each, row.line) for each in (first, second))
        if answers[0] is None and answers[1] is None:
            refused += 1
        elif answers[0] == answers[1]:
            same += 1
        else:
            question = str(row.inputs.get(first.shape.question, ""))
            differences.append(Difference(row.line, question, (answers[0], answers[1])))
    return Parity(len(first.rows), same, refused, tuple(differences), (first, second))


def _answer(done: Batch, line: int) -> str | None:
    result = done.results.get(line)
    if result is None or result.outputs is None:
        return None
    return str(result.outputs.get(done.shape.answer, ""))


def _at_zero(folder: Path, copy: Path) -> Path:
    framework, file = entry(folder)
    settings = folder / SETTINGS if framework is AGENTS else file
    sign = "=" if framework is AGENTS else ":"
    text = settings.read_text(encoding="utf-8")
    found = re.findall(rf"(?m)^\s*temperature\s*{sign}\s*([0-9.]+)", text)
    if len(found) != 1:
        raise UsageError(
            f"{settings} names {len(found)} temperatures, not one",
            hint=f"write `temperature{sign} 0.0` on a line of its own",
        )
    if float(found[0]) == 0:
        return folder
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(".promptflow", "__pycache__"))
    zero = re.sub(rf"(?m)^(\s*temperature\s*{sign}\s*)[0-9.]+", r"\g<1>0.0", text)
    (copy / settings.name).write_text(zero, encoding="utf-8", newline="\n")
    return copy
