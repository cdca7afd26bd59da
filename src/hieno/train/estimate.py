"""What a run will take, before it is paid for: `hieno train --plan`.

Tokens and steps are counted. Time and memory are measured, by the first steps of the run itself,
which are thrown away. Whether a run fits at all is reckoned before (`hieno.train.memory`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any  # trainers are untyped in transformers

from transformers import TrainerCallback

from hieno.files import published
from hieno.reporting import Reporter
from hieno.stages import StagePlan
from hieno.train import group, memory
from hieno.train.launch import together
from hieno.train.loop import Prepared, prepare
from hieno.train.packing import IGNORED
from hieno.train.stage import Opened, open_run
from hieno.train.steps import count_steps

STEPS = 8  # that are timed, after one that warms up


def run(plan: StagePlan, reporter: Reporter) -> None:
    """Publish the estimate of the run that a plan describes; nothing is kept of the training."""
    if group.is_member():
        return _measure(plan, open_run(plan, Path(plan.work)), reporter)
    with TemporaryDirectory(prefix="hieno-plan-") as folder:
        aside = replace(plan, work=folder)  # what a run that was begun has settled stays its own
        opened = open_run(aside, Path(folder))
        if opened.processes > 1:
            return together(aside, opened.processes, reporter)
        _measure(aside, opened, reporter)


def _measure(plan: StagePlan, opened: Opened, reporter: Reporter) -> None:
    group.join()
    prepared = prepare(
        opened.model_folder,
        opened.train,
        opened.settings,
        replayed=opened.replayed,
        dtype=opened.dtype,
        work=Path(plan.work),
        reporter=reporter,
    )
    per_step = seconds_per_step(prepared.trainer, reporter)
    [peak] = group.total(memory.peak())
    if group.leads():
        _publish(plan, opened, prepared, per_step, int(peak))
    group.leave()


def _publish(
    plan: StagePlan, opened: Opened, prepared: Prepared, per_step: float, peak: int
) -> None:
    settings, rows = opened.settings, prepared.rows
    steps = count_steps(len(rows), batch_size=settings.batch_size, epochs=settings.epochs).total
    seconds = per_step * len(rows) * settings.epochs / settings.batch_size
    tokens = sum(len(row["input_ids"]) for row in rows)
    with published(Path(plan.output), kind="estimate", key=plan.key) as (_, facts):
        facts.update(
            {
                "chats": len(rows),
                "tokens": tokens,
                "supervised": sum(label != IGNORED for row in rows for label in row["labels"]),
                "steps": steps,
                "seconds": round(seconds, 1),
                "tokens_per_second": round(tokens * settings.epochs / seconds, 1),
                "dtype": opened.dtype,
                "processes": opened.processes,
                "kernels": str(prepared.kernels),
                "method": settings.method,
                "pass_tokens": settings.pass_tokens,
                "checkpointing": settings.checkpointing,
                "changed": opened.changed,
                "memory": opened.memory,
                "peak_memory": peak,
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
        if group.leads():
            self._reporter.progress(len(self.ends), STEPS + 1, "steps", "timing")
