"""TRL's trainer, set up for chats: packed rows, a loss over replies only, whole checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any  # trainer states and batches are untyped in transformers

import torch
from peft import PeftModel
from torch import Tensor
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from hieno.config import Train
from hieno.errors import HienoError
from hieno.reporting import Reporter
from hieno.train import checkpoints
from hieno.train.loss import supervised_loss
from hieno.train.packing import Row, pack

METRICS = "metrics.jsonl"
ROW_TOKENS = 4096  # most tokens in one forward pass before a step is split into several


def trainer_of(
    model: PeftModel,
    train: Sequence[Row],
    settings: Train,
    *,
    dtype: str,
    work: Path,
    reporter: Reporter,
    teacher: Tensor | None = None,
) -> SFTTrainer:
    """Return TRL's trainer for tokenised chats, with our packing, loss and checkpoints.

    `teacher` is the table that the rows' column `teacher` points into.
    """
    from datasets import Dataset

    on_cpu = not torch.cuda.is_available()
    at_once, accumulation = micro_batches(train, settings.batch_size)
    arguments = SFTConfig(
        output_dir=str(work),
        use_cpu=on_cpu,
        bf16=dtype == "bfloat16",
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.gradient_clip,
        seed=settings.seed,
        data_seed=settings.seed,
        save_strategy="no",  # the callback saves by the clock
        save_total_limit=settings.keep_checkpoints,
        logging_steps=1,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="all",
        report_to="none",
        disable_tqdm=True,
        activation_checkpointing=False,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return _Trainer(
        teacher=teacher,
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(list(train)),
        data_collator=partial(pack, share_prefix=on_cpu),
        callbacks=[_Watch(settings, work, reporter)],
    )


def micro_batches(rows: Sequence[Row], batch_size: int) -> tuple[int, int]:
    """Return (chats in one forward pass, passes in one step) for a step of `batch_size` chats.

    A pass holds about `ROW_TOKENS` tokens at most, judged by the longest tenth of the rows.
    """
    lengths = sorted(len(row["input_ids"]) for row in rows)
    long = lengths[int(len(lengths) * 0.9)]
    fitting = max(1, min(batch_size, ROW_TOKENS // long))
    at_once = next(size for size in range(fitting, 0, -1) if batch_size % size == 0)
    return at_once, batch_size // at_once


class _Trainer(SFTTrainer):  # type: ignore[misc]  # transformers is untyped here
    """TRL's trainer with the loss computed over supervised tokens only (its extension point)."""

    def __init__(self, *, teacher: Tensor | None, **settings: Any) -> None:
        super().__init__(**settings)
        self._teacher = teacher

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        labels = inputs["labels"]
        count = num_items_in_batch if num_items_in_batch is not None else (labels != -100).sum()
        causal = self.accelerator.unwrap_model(model).get_base_model()
        row = {name: inputs[name] for name in inputs if name not in ("labels", "teacher")}
        pointers = inputs.get("teacher")
        states = None if self._teacher is None or pointers is None else self._teacher[pointers]
        # accelerate wraps the outer forward only: without this the adapters compute in float32
        with self.accelerator.autocast():
            hidden = causal.model(**row, use_cache=False).last_hidden_state
            head = causal.get_output_embeddings().weight
            return supervised_loss(hidden, head, labels, max(float(count), 1.0), states)


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Report each step, write its metrics, save by the clock, and stop on a loss that is lost."""

    def __init__(self, settings: Train, work: Path, reporter: Reporter) -> None:
        self._interval = settings.save_minutes * 60
        self._saved = time.monotonic()
        self._work = work
        self._metrics = work / METRICS
        self._reporter = reporter

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise HienoError(
                f"the loss became {loss} at step {state.global_step}",
                hint="lower train.learning_rate, for example to a third, and try again",
            )
        row = {
            "step": state.global_step,
            "epoch": state.epoch,
            "loss": loss,
            "learning_rate": logs["learning_rate"],
            "grad_norm": float(logs["grad_norm"]),
            "tokens": int(state.num_input_tokens_seen),
        }
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._reporter.progress(state.global_step, state.max_steps, "steps", f"loss {loss:.3f}")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if time.monotonic() - self._saved >= self._interval:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        checkpoints.complete(self._work, state.global_step)
        self._saved = time.monotonic()
