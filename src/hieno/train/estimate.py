"""What a run will take, before it is paid for: `hieno train --plan`.

Tokens and steps are counted. Memory is reckoned (`hieno.train.memory`). Time is measured, by a
few real steps on the project's own chats.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any  # trainers are untyped in transformers

from transformers import TrainerCallback

from hieno.files import published
from hieno.reporting import Reporter
from hieno.stages import StagePlan
from hieno.train.loop import prepare
from hieno.train.packing import IGNORED
from hieno.train.stage import open_run
from hieno.train.steps import count_steps

STEPS = 8  # that are timed, after one that warms up


def run(plan: StagePlan, reporter: Reporter) -> None:
    """Publish the estimate of the run that a plan describes; nothing is kept of the training."""
    with TemporaryDirectory(prefix="hieno-plan-") as folder:
        work = Path(folder)
        opened = open_run(plan, work)
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
        per_step = seconds_per_step(prepared.trainer, reporter)
    steps = count_steps(len(rows), batch_size=settings.batch_size, epochs=settings.epochs).total
    tokens = sum(len(row["input_ids"]) for row in rows)
    with published(Path(plan.output), kind="estimate", key=plan.key) as (_, facts):
        facts.update(
            {
                "chats": len(rows),
                "tokens": tokens,
                "supervised": sum(label != IGNORED for row in rows for label in row["labels"]),
                "steps": steps,
                "seconds": round(per_step * steps, 1),
                "tokens_per_second": round(tokens * settings.epochs / (per_step * steps), 1),
                "dtype": opened.dtype,
                "kernels": str(prepared.kernels),
                "method": settings.method,
                "pass_tokens": settings.pass_tokens,
                "checkpointing": settings.checkpointing,
                "changed": opened.changed,
                "memory": opened.memory,
            }
        )


def seconds_per_step(trainer: Any, reporter: Reporter) -> float:
    """Return the seconds of a step, by real steps of the trainer; its model is changed."""
    clock = _Clock(reporter)
    trainer.add_callback(clock)
    trainer.args.max_steps = STEPS + 1
    trainer.train()
    return (clock.ends[-1] - clock.ends[0]) / max(1, len(clock.ends) - 1)


class _Clock(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Notes when each step ends."""

    def __init__(self, reporter: Reporter) -> None:
        self.ends: list[float] = []
        self._reporter = reporter

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.monotonic())
        self._reporter.progress(len(self.ends), STEPS + 1, "steps", "timing")
