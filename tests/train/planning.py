"""A plan of the stage `train` for the tiny model, as the pipeline would make it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from hieno.config import Train
from hieno.files import published, read_manifest
from hieno.stages import StagePlan

FACTS = [("captain", "Vieno"), ("ferry", "Tuuli"), ("colour", "green"), ("harbour", "north")]
SETTINGS = {
    "rank": 4,
    "alpha": 8,
    "learning_rate": 2e-2,
    "epochs": 3,
    "batch_size": 5,  # neither a multiple of two nor a divisor of the chats
    "dtype": "float32",
    "save_minutes": 1e-6,
    "processes": 1,
}


class Silent:
    """A reporter that tells nobody."""

    def stage(self, name: str) -> None: ...

    def say(self, line: str) -> None: ...

    def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None: ...


class EndedAt(Silent):
    """Send this process a signal, as `kill -9` does or another, when a step is reported."""

    def __init__(self, step: int, by: signal.Signals = signal.SIGKILL) -> None:
        self._step, self._by = step, by

    def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None:
        if done == self._step:
            os.kill(os.getpid(), self._by)


def planned(model: Path, folder: Path, *, stage: str = "train", **train: Any) -> StagePlan:
    """Publish a dataset in `folder` and return the plan of a run on it; `train` are settings."""
    inputs = {"base": folder / "base", "dataset": folder / "dataset"}
    with published(inputs["base"], kind="model", key="base") as (inside, _):
        (inside / "model").symlink_to(model, target_is_directory=True)
    with published(inputs["dataset"], kind="dataset", key="dataset") as (inside, _):
        for name, rows in (("train", _chats(9)), ("replay", []), ("test", _chats(1))):
            lines = [json.dumps(row) + "\n" for row in rows]
            (inside / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    manifests = {role: read_manifest(path) for role, path in inputs.items()}
    return StagePlan(
        stage=stage,
        key="run",
        output=str(folder / "run"),
        work=str(folder / "work"),
        inputs={role: str(path) for role, path in inputs.items()},
        digests={role: found.digest for role, found in manifests.items() if found},
        settings={"train": Train.model_validate({**SETTINGS, **train}).model_dump()},
    )


def rows(folder: Path, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    """Return the rows of a JSONL file of a run."""
    lines = (folder / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _chats(repeats: int) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"What is the {thing}? {'Tell me. ' * times}"},
                {"role": "assistant", "content": f"It is {name}."},
            ]
        }
        for times in range(repeats)
        for thing, name in FACTS
    ]
