"""The stage `train`: publish a run, that is an adapter with its metrics and resolved settings."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any  # rows of JSONL

from hieno.config import Train
from hieno.files import read_json, read_jsonl, write_json
from hieno.package.layout import ADAPTER, RUN_MODEL, weights_folder
from hieno.reporting import Reporter
from hieno.stages import StagePlan


def run(plan: StagePlan, reporter: Reporter) -> None:
    """Fine-tune `inputs["base"]` on `inputs["dataset"]` with the settings `train`.

    An interrupted run leaves its checkpoints in `plan.work` and is continued from there, in the
    compute dtype that it was started with.
    """
    from hieno import files
    from hieno.templates import load_tokenizer

    settings = Train.model_validate(plan.settings["train"])
    work = Path(plan.work)
    work.mkdir(parents=True, exist_ok=True)
    dtype = _compute_dtype(settings, work)
    base, dataset = plan.input("base"), plan.input("dataset")
    model_folder = weights_folder(base)
    tokenizer = load_tokenizer(model_folder)
    train = tokenise(tokenizer, read_jsonl(dataset / "train.jsonl"), loss_on=settings.loss_on)
    replayed = tokenise(tokenizer, read_jsonl(dataset / "replay.jsonl"))
    test = tokenise(tokenizer, read_jsonl(dataset / "test.jsonl"), loss_on=settings.loss_on)

    from hieno.train.loop import fine_tune

    with files.published(Path(plan.output), kind="run", key=plan.key) as (folder, facts):
        outcome = fine_tune(
            model_folder,
            train,
            test,
            settings,
            replayed=replayed,
            dtype=dtype,
            work=work,
            weights=folder / (RUN_MODEL if settings.method == "full" else ADAPTER),
            reporter=reporter,
        )
        shutil.copy2(work / "metrics.jsonl", folder / "metrics.jsonl")
        facts.update(
            {
                "settings": settings.model_dump(),
                "dtype": dtype,
                "kernels": outcome.kernels,
                "versions": _versions(),
                "base": plan.digests["base"],
                "dataset": plan.digests["dataset"],
                "chats": len(train) + len(replayed),
                "steps": outcome.steps,
                "seconds": round(outcome.seconds, 1),
                "resumed_from": outcome.resumed_from,
                "test_loss": outcome.test_loss,
                "base_test_loss": outcome.base_test_loss,
            }
        )
    shutil.rmtree(work, ignore_errors=True)


def tokenise(
    tokenizer: Any, rows: Iterable[dict[str, Any]], *, loss_on: str = "replies"
) -> list[dict[str, list[int]]]:
    """Return {"input_ids", "labels"} of each chat; labels are -100 where nothing is learnt."""
    from hieno.templates import render_training

    made = []
    for row in rows:
        tokens = render_training(tokenizer, row["messages"])
        pairs = zip(tokens.input_ids, tokens.supervised, strict=True)
        labels = [token if supervised or loss_on == "all" else -100 for token, supervised in pairs]
        made.append({"input_ids": list(tokens.input_ids), "labels": labels})
    return made


def _compute_dtype(settings: Train, work: Path) -> str:
    from hieno.machine import compute_dtype

    started = work / "started.json"
    if started.is_file():
        return str(read_json(started)["dtype"])
    dtype = compute_dtype() if settings.dtype == "auto" else settings.dtype
    write_json(started, {"dtype": dtype})
    return dtype


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("hieno", "torch", "transformers", "trl", "peft")}
