"""Fine-tune: load the base with a fresh adapter, train it from where it stands, measure it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # models are untyped in transformers

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from hieno.config import Train
from hieno.errors import ConfigError
from hieno.files import write_atomic
from hieno.reporting import Reporter
from hieno.train import attention, checkpoints
from hieno.train.packing import Row
from hieno.train.teacher import with_teacher
from hieno.train.trainer import METRICS, micro_batches, trainer_of


@dataclass(frozen=True)
class Outcome:
    """What a run measured; losses are means over supervised tokens, in nats."""

    steps: int
    seconds: float
    test_loss: float | None
    base_test_loss: float | None
    resumed_from: int


def fine_tune(
    model_folder: Path,
    train: Sequence[Row],
    test: Sequence[Row],
    settings: Train,
    *,
    replayed: Sequence[Row] = (),
    dtype: str,
    work: Path,
    adapter: Path,
    reporter: Reporter,
) -> Outcome:
    """Train a LoRA adapter on tokenised chats and save it in `adapter`.

    Rows are {"input_ids", "labels"} with -100 at unsupervised tokens; `replayed` are the base's
    own answers, learnt as `settings.replay_loss` says. Checkpoints go to `work`;
    an interrupted run continues from the last whole one and ends in the same weights.
    """
    model = load(model_folder, settings, dtype=dtype)
    rows, teacher = [*train, *replayed], None
    if replayed and settings.replay_loss == "distribution":
        at_once, _ = micro_batches(rows, settings.batch_size)
        rows, teacher = with_teacher(model, train, replayed, at_once=at_once)
    trainer = trainer_of(
        model, rows, settings, dtype=dtype, work=work, reporter=reporter, teacher=teacher
    )
    checkpoint = checkpoints.latest(work)
    step = checkpoints.step_of(checkpoint) if checkpoint else 0
    _rewind(work / METRICS, step)
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.monotonic() - started
    tuned = mean_loss(trainer, test)
    with model.disable_adapter():
        base = mean_loss(trainer, test)
    model.save_pretrained(adapter)
    return Outcome(
        steps=trainer.state.global_step,
        seconds=seconds,
        test_loss=tuned,
        base_test_loss=base,
        resumed_from=step,
    )


def load(model_folder: Path, settings: Train, *, dtype: str) -> PeftModel:
    """Load the base in the compute dtype and put a fresh adapter on it (seeded)."""
    torch.manual_seed(settings.seed)
    on_cpu = not torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(
        model_folder,
        dtype=getattr(torch, dtype),
        attn_implementation=attention.register() if on_cpu else "sdpa",
        local_files_only=True,
        trust_remote_code=False,
    )
    model.config.use_cache = False
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets(model, settings.targets),
    )
    return get_peft_model(model, config)


def targets(model: Any, wanted: str | list[str]) -> list[str]:
    """Return the names of the linear layers to adapt, read from the model itself.

    Recipes for other families name layers that a Phi does not have (it fuses them), and PEFT
    then adapts only what matches: so every wanted name must exist.
    """
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    present = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    if wanted == "all":
        return sorted(present)
    missing = sorted(set(wanted) - present)
    if missing:
        raise ConfigError(
            f"train.targets: the model has no layer named {', '.join(missing)}",
            hint=f"it has {', '.join(sorted(present))}",
        )
    return sorted(wanted)


def mean_loss(trainer: Any, rows: Sequence[Row]) -> float | None:
    """Return the mean loss of a trainer's model over the supervised tokens of rows."""
    if not rows:
        return None
    total = count = 0.0
    trainer.model.eval()
    with torch.no_grad(), trainer.compute_loss_context_manager():
        size = trainer.args.per_device_train_batch_size  # what fitted in training fits here
        for start in range(0, len(rows), size):
            batch = trainer.data_collator(rows[start : start + size])
            supervised = int((batch["labels"] != -100).sum())
            batch = trainer._prepare_inputs(batch)
            total += float(trainer.compute_loss(trainer.model, batch)) * supervised
            count += supervised
    return total / count


def _rewind(metrics: Path, step: int) -> None:
    """Forget the steps after the checkpoint: they are about to be taken again."""
    if metrics.is_file():
        lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        write_atomic(metrics, "".join(kept))
