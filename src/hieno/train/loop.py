"""Fine-tune: load the base, train it from where it stands, measure it before and after."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # trainers are untyped in transformers

from hieno.config import Train
from hieno.reporting import Reporter
from hieno.train import checkpoints, kernels
from hieno.train.kernels import Kernels
from hieno.train.model import load
from hieno.train.packing import Row
from hieno.train.steps import count_steps
from hieno.train.teacher import with_teacher
from hieno.train.trainer import trainer_of
from hieno.train.watch import BEST, METRICS, Watch, held_out_losses, rewind


@dataclass(frozen=True)
class Outcome:
    """What a run measured; losses are means over supervised tokens, in nats."""

    steps: int
    seconds: float
    test_loss: float | None
    base_test_loss: float | None
    resumed_from: int
    kernels: str


@dataclass(frozen=True)
class Prepared:
    """A trainer that stands before its first step."""

    trainer: Any
    rows: list[Row]
    kernels: Kernels


def fine_tune(
    model_folder: Path,
    train: Sequence[Row],
    test: Sequence[Row],
    settings: Train,
    *,
    replayed: Sequence[Row] = (),
    dtype: str,
    work: Path,
    weights: Path,
    reporter: Reporter,
) -> Outcome:
    """Train on tokenised chats and save the adapter, or the whole model, in `weights`.

    Rows are {"input_ids", "labels"} with -100 at unsupervised tokens; `replayed` are the base's
    own answers, learnt as `settings.replay_loss` says. Checkpoints go to `work`; an interrupted
    run continues from the last whole one and ends in the same weights.
    """
    prepared = prepare(
        model_folder,
        train,
        settings,
        replayed=replayed,
        dtype=dtype,
        work=work,
        reporter=reporter,
    )
    trainer = prepared.trainer
    steps = count_steps(len(prepared.rows), batch_size=settings.batch_size, epochs=settings.epochs)
    watch = Watch(
        settings,
        work,
        reporter,
        steps_per_epoch=steps.per_epoch,
        measure=lambda: trainer.mean_loss(test),
        keep=trainer.model.save_pretrained,
    )
    trainer.add_callback(watch)
    base = trainer.mean_loss(test)
    checkpoint = checkpoints.latest(work)
    step = checkpoints.step_of(checkpoint) if checkpoint else 0
    rewind(work / METRICS, step)
    started = time.monotonic()
    with watch.until_terminated():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.monotonic() - started
    losses = held_out_losses(work / METRICS)
    if settings.patience and losses:
        tuned: float | None = min(losses.values())
        (work / BEST).rename(weights)
    else:
        tuned = trainer.mean_loss(test)
        trainer.model.save_pretrained(weights)
    return Outcome(
        steps=trainer.state.global_step,
        seconds=seconds,
        test_loss=tuned,
        base_test_loss=base,
        resumed_from=step,
        kernels=str(prepared.kernels),
    )


def prepare(
    model_folder: Path,
    train: Sequence[Row],
    settings: Train,
    *,
    replayed: Sequence[Row] = (),
    dtype: str,
    work: Path,
    reporter: Reporter,
) -> Prepared:
    """Load the model, prove its kernels, and set up the trainer for chats and replayed answers."""
    chosen = kernels.wanted(settings)
    model = load(model_folder, settings, dtype=dtype, attention=chosen.attention)
    chosen = kernels.proven(model, train, chosen, dtype=dtype)
    reporter.say(f"matrix products in {dtype}, {chosen}")
    rows, teacher = [*train, *replayed], None
    if replayed and settings.replay_loss == "distribution":
        rows, teacher = with_teacher(model, train, replayed, dtype=dtype, most=settings.pass_tokens)
    trainer = trainer_of(model, rows, settings, chosen, dtype=dtype, work=work, teacher=teacher)
    return Prepared(trainer, rows, chosen)
