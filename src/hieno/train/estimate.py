"""What a run will take, before it is paid for: `hieno train --plan`.

Tokens and steps are counted. Memory is reckoned (`hieno.train.memory`). Time is measured: a few
real steps on the project's own chats, and from there by the token.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any  # trainers are untyped in transformers

from hieno.config import Train
from hieno.files import published
from hieno.reporting import Reporter
from hieno.stages import StagePlan
from hieno.train.packing import Row

STEPS = 6  # that are timed, after one that warms up


def run(plan: StagePlan, reporter: Reporter) -> None:
    """Publish the estimate of the run that a plan describes; nothing is kept of the training."""
    from hieno.train.stage import open_run

    with TemporaryDirectory(prefix="hieno-plan-") as folder:
        work = Path(folder)
        opened = open_run(plan, work)
        from hieno.train.loop import prepare

        prepared = prepare(
            opened.model_folder,
            opened.train,
            opened.settings,
            replayed=opened.replayed,
            dtype=opened.dtype,
            work=work,
            reporter=reporter,
        )
        settings, rows = opened.settings, prepared.rows
        per_token = seconds_per_token(prepared.trainer, rows, settings, reporter)
    tokens = sum(len(row["input_ids"]) for row in rows)
    with published(Path(plan.output), kind="estimate", key=plan.key) as (_, facts):
        facts.update(
            {
                "chats": len(rows),
                "tokens": tokens,
                "supervised": sum(label != -100 for row in rows for label in row["labels"]),
                "steps": math.ceil(math.ceil(len(rows) / settings.batch_size) * settings.epochs),
                "seconds": round(per_token * tokens * settings.epochs, 1),
                "tokens_per_second": round(1 / per_token, 1),
                "dtype": opened.dtype,
                "kernels": str(prepared.kernels),
                "method": settings.method,
                "pass_tokens": settings.pass_tokens,
                "checkpointing": settings.checkpointing,
                "changed": opened.changed,
                "memory": opened.memory,
            }
        )


def seconds_per_token(
    trainer: Any, rows: Sequence[Row], settings: Train, reporter: Reporter
) -> float:
    """Return the seconds that a token of a chat takes, by real steps; the model is changed."""
    draw = random.Random(settings.seed)  # noqa: S311  # which chats, nothing secret
    optimizer = trainer.create_optimizer()
    began, tokens = 0.0, 0
    for number in range(STEPS + 1):
        chats = draw.sample(list(rows), min(settings.batch_size, len(rows)))
        if number == 1:
            began = time.monotonic()
        step = trainer.data_collator(chats)
        trainer.training_step(trainer.model, step, int((step["labels"] != -100).sum()))
        optimizer.step()
        optimizer.zero_grad()
        tokens += sum(len(chat["input_ids"]) for chat in chats) if number else 0
        reporter.progress(number, STEPS, "steps", "timing")
    return (time.monotonic() - began) / tokens
