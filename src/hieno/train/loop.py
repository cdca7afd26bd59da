"""Fine-tune: load the base, train it from where it stands, measure it before and after."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any  # trainers are untyped in transformers

from hieno.config import Train
from hieno.reporting import Reporter
from hieno.train import checkpoints, group, kernels, memory
from hieno.train.kernels import Kernels
from hieno.train.model import load
from hieno.train.packing import Row
from hieno.train.readings import Readings, can_begin_above, read_states
from hieno.train.samples import SAMPLES, Questions, sampler
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
    peak_memory: int  # bytes, of all processes
    resumed_from: int
    kernels: str


@dataclass(frozen=True)
class Prepared:
    """A trainer that stands before its first step."""

    trainer: Any
    rows: list[Row]  # chats to learn, and replayed answers behind them
    test: list[Row]
    kernels: Kernels


def fine_tune(
    model_folder: Path,
    train: Sequence[Row],
    test: Sequence[Row],
    settings: Train,
    *,
    replayed: Sequence[Row] = (),
    questions: Questions | None = None,
    dtype: str,
    work: Path,
    weights: Path,
    reporter: Reporter,
) -> Outcome:
    """Train on tokenised chats and save the adapter, or the whole model, in `weights`.

    Rows are {"input_ids", "labels"} with -100 at unsupervised tokens; `replayed` are the base's
    own answers, learnt as `settings.replay_loss` says; `questions` are asked after each epoch.
    Checkpoints go to `work`; an interrupted run continues from the last whole one and ends in the
    same weights. Of several processes that train together, the leader writes.
    """
    prepared = prepare(
        model_folder,
        train,
        settings,
        replayed=replayed,
        test=test,
        dtype=dtype,
        work=work,
        reporter=reporter,
    )
    trainer, test = prepared.trainer, prepared.test
    steps = count_steps(len(prepared.rows), batch_size=settings.batch_size, epochs=settings.epochs)
    base = trainer.mean_loss(test)
    checkpoint = group.by_leader(lambda: _go_back(work))
    step = checkpoints.step_of(checkpoint) if checkpoint else 0
    watch = Watch(
        settings,
        work,
        reporter,
        steps_per_epoch=steps.per_epoch,
        measure=lambda: trainer.mean_loss(test),
        keep=trainer.save_weights,
        answer=sampler(
            trainer.model,
            questions,
            prepared.kernels,
            work=work,
            reporter=reporter,
            together=settings.sharding == "full",
        ),
    )
    trainer.add_callback(watch)
    started = time.monotonic()
    with watch.until_terminated():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.monotonic() - started
    losses = group.by_leader(lambda: held_out_losses(work / METRICS))
    if settings.patience and losses:
        tuned: float | None = min(losses.values())
    else:
        tuned = trainer.mean_loss(test)
    [peak] = group.total(memory.peak())
    _keep(trainer, work, weights)
    return Outcome(
        steps=trainer.state.global_step,
        seconds=seconds,
        test_loss=tuned,
        base_test_loss=base,
        peak_memory=int(peak),
        resumed_from=step,
        kernels=str(prepared.kernels),
    )


def _together() -> str:
    return f", {group.size()} processes" if group.size() > 1 else ""


def _go_back(work: Path) -> Path | None:
    """Return the newest whole checkpoint, and forget what came after it."""
    checkpoint = checkpoints.latest(work)
    for name in (METRICS, SAMPLES):
        rewind(work / name, checkpoints.step_of(checkpoint) if checkpoint else 0)
    return checkpoint


def _keep(trainer: Any, work: Path, weights: Path) -> None:
    """Put the weights that count into their folder: the best ones, where they were looked for."""

    def taken() -> bool:
        found = (work / BEST).is_dir()
        if found:
            (work / BEST).rename(weights)
        return found

    if not group.by_leader(taken):
        trainer.save_weights(weights)


def prepare(
    model_folder: Path,
    train: Sequence[Row],
    settings: Train,
    *,
    replayed: Sequence[Row] = (),
    test: Sequence[Row] = (),
    dtype: str,
    work: Path,
    reporter: Reporter,
) -> Prepared:
    """Load the model, prove its kernels, read what is known of the base, set up the trainer."""
    chosen = kernels.wanted(settings)
    model = load(model_folder, settings, dtype=dtype, attention=chosen.attention)
    chosen = kernels.proven(model, train, chosen, dtype=dtype)
    (train, replayed, test), readings = _with_states(
        model, (train, replayed, test), settings, chosen, dtype=dtype
    )
    rows = [*train, *replayed]
    if replayed and settings.replay_loss == "distribution":
        rows, teacher = with_teacher(
            model, train, replayed, dtype=dtype, most=settings.pass_tokens, readings=readings
        )
        readings = replace(readings, teacher=teacher, weight=settings.replay_weight)
    if group.leads():
        read = f", {readings.layers} frozen layers read once" if readings.layers else ""
        reporter.say(f"matrix products in {dtype}, {chosen}{read}{_together()}")
    trainer = trainer_of(model, rows, settings, chosen, dtype=dtype, work=work, readings=readings)
    return Prepared(trainer, rows, list(test), chosen)


def _with_states(
    model: Any, parts: Sequence[Sequence[Row]], settings: Train, chosen: Kernels, *, dtype: str
) -> tuple[Sequence[Sequence[Row]], Readings]:
    """Return the parts with their states below the adapters, or as they are where none are kept."""
    layers = settings.frozen_layers
    if not settings.keep_states or not can_begin_above(model, layers):
        return parts, Readings()
    rows, states = read_states(
        model,
        list(chain(*parts)),
        layers,
        dtype=dtype,
        most=settings.pass_tokens,
        share_prefix=chosen.shares_prefix,
    )
    readings = Readings(states=states, layers=layers)
    if not kernels.agree(model, rows, chosen, readings, dtype=dtype):
        return parts, Readings()
    unread = iter(rows)
    return [list(islice(unread, len(part))) for part in parts], readings
