"""Run the stage `data` on real files, with the tiny model's tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hieno.config import Data
from hieno.data import stage
from hieno.files import read_jsonl, read_manifest
from hieno.stages import StagePlan
from told import Told


@dataclass(frozen=True)
class Made:
    """A dataset that the stage published."""

    folder: Path
    facts: dict[str, Any]
    told: list[str]

    def rows(self, name: str) -> list[dict[str, Any]]:
        return list(read_jsonl(self.folder / f"{name}.jsonl"))

    def asked(self, name: str) -> list[str]:
        return [row["messages"][0]["content"] for row in self.rows(name)]

    def codes(self) -> list[tuple[int, str]]:
        return [(row["line"], row["code"]) for row in self.rows("rejected")]


def base_of(model: Path, folder: Path) -> Path:
    """Return the folder of a package whose model is `model`."""
    from hieno.package import layout

    root = folder / "base"
    place = root / layout.MODEL
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(model, target_is_directory=True)
    return root


def plan_of(
    model: Path,
    folder: Path,
    source: Path | list[Path],
    *,
    test: Path | None = None,
    earlier: Path | None = None,
    name: str = "made",
    max_length: int = 512,
    **settings: Any,
) -> StagePlan:
    sources = source if isinstance(source, list) else [source]
    return StagePlan(
        stage="data",
        key=name,
        output=str(folder / name),
        work=str(folder / f"{name}.work"),
        inputs={"base": str(base_of(model, folder))},
        settings={
            "data": Data(**settings).model_dump(),
            "max_length": max_length,
            "train": {
                "batch_size": 8,
                "epochs": 3.0,
                "method": "lora",
                "checkpointing": False,
                "dtype": "auto",
            },
            "serve": {},
            "sources": [(str(path), path.name) for path in sources],
            "tests": [(str(test), test.name)] if test else [],
            "unread": [],
            "hub": None,
            "shown": "chats",
            "earlier": str(earlier) if earlier else None,
            "replay": None,
            "tracking": None,
        },
    )


def prepare(model: Path, folder: Path, source: Path | list[Path], **options: Any) -> Made:
    """Prepare files with the keys of `plan_of` and of the configuration's section `data`."""
    plan = plan_of(model, folder, source, **options)
    told = Told()
    stage.run(plan, told)
    manifest = read_manifest(Path(plan.output))
    assert manifest is not None
    assert not Path(plan.work).exists()
    return Made(Path(plan.output), dict(manifest.facts), told.lines)


def chat(*turns: str, **extra: Any) -> dict[str, Any]:
    roles = ["user", "assistant"]
    return {
        "messages": [{"role": roles[i % 2], "content": t} for i, t in enumerate(turns)],
        **extra,
    }


def write(path: Path, rows: Iterable[str | bytes | dict[str, Any]]) -> Path:
    lines = [json.dumps(row) if isinstance(row, dict) else row for row in rows]
    raw = [line.encode() if isinstance(line, str) else line for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in raw))
    return path


def different(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Return chats of which no two are alike."""
    return [
        chat(f"question {i} about {i * 7919} and {i * 104729}?", f"answer {i * 15485863} for {i}.")
        for i in range(start, start + count)
    ]
