"""TRL's trainer, set up for chats: packed rows, a loss over replies only, whole checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any  # trainer states and batches are untyped in transformers

import torch
from accelerate.data_loader import BatchSamplerShard
from torch import Tensor
from torch.utils.data import DataLoader
from trl import SFTConfig, SFTTrainer

from hieno.config import Train
from hieno.train import group, memory, sharding
from hieno.train.kernels import Kernels, row_loss
from hieno.train.packing import IGNORED, Row, nothing_of, pack, passes, share
from hieno.train.readings import Readings


def trainer_of(
    model: Any,
    rows: Sequence[Row],
    settings: Train,
    kernels: Kernels,
    *,
    dtype: str,
    work: Path,
    readings: Readings | None = None,
) -> SFTTrainer:
    """Return TRL's trainer for tokenised chats, with our packing and loss.

    `readings` is what columns of the rows point into. It saves nothing by itself: a callback says
    when.
    """
    from datasets import Dataset

    memory.keep_freed()
    arguments = SFTConfig(
        output_dir=str(work),
        use_cpu=not torch.cuda.is_available(),
        bf16=dtype == "bfloat16",
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,  # see `get_train_dataloader`
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.gradient_clip,
        gradient_checkpointing=settings.checkpointing,
        seed=settings.seed,
        data_seed=settings.seed,
        save_strategy="no",
        save_total_limit=settings.keep_checkpoints,
        logging_steps=1,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="all",
        report_to="none",
        disable_tqdm=True,
        activation_checkpointing=False,
        remove_unused_columns=False,
        average_tokens_across_devices=False,  # the labels of a step are those of all processes
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        dataloader_pin_memory=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return _Trainer(
        kernels=kernels,
        readings=readings or Readings(),
        sharded=settings.sharding == "full",
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(list(rows)),
        data_collator=partial(
            step_of,
            kernels=kernels,
            most=settings.pass_tokens,
            in_step=settings.sharding == "full",
        ),
    )


def step_of(
    chats: Sequence[Row], *, kernels: Kernels, most: int, in_step: bool = False
) -> dict[str, Any]:
    """Return what this process learns in a step: its packed passes, and what is counted.

    The ids are its own, as they are summed over processes; the labels are those of the whole step.
    With `in_step` all processes have as many passes, some of which teach nothing: each pass of a
    sharded model needs all of them.
    """
    divided = [
        passes(share(chats, rank=rank, of=group.size()), most=most)
        for rank in (range(group.size()) if in_step else [group.rank()])
    ]
    own = divided[group.rank() if in_step else 0]
    packed = [pack(some, share_prefix=kernels.shares_prefix) for some in own]
    idle = [pack([nothing_of(chats[0])], share_prefix=False)] * (max(map(len, divided)) - len(own))
    labels = [label for chat in chats for label in (IGNORED, *chat["labels"][1:])]
    return {
        "passes": [*packed, *idle],
        "input_ids": torch.cat([row["input_ids"] for row in packed], 1),
        "labels": torch.tensor([labels]),
    }


class _Trainer(SFTTrainer):  # type: ignore[misc]  # transformers is untyped here
    """TRL's trainer with a step of our own: several passes, one update (its extension points)."""

    def __init__(
        self, *, kernels: Kernels, readings: Readings, sharded: bool, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._kernels = kernels
        self._sharded = sharded
        self._readings = readings.on(self.args.device)

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        model.train()
        *early, last = self._prepare_inputs(inputs)["passes"]
        # of the whole step's tokens: losses and gradients are averaged over the processes
        count = max(float(num_items_in_batch), 1.0) / self.accelerator.num_processes
        total = torch.zeros((), device=self.args.device)
        for row in [*early, last]:
            # gradients travel between processes once a step; to their shares at once
            at_once = self._sharded or row is last
            with nullcontext() if at_once else self.accelerator.no_sync(model):
                loss = self._row_loss(model, row, count)
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Give every process the chats of whole steps, of which the collator takes its share.

        accelerate would give each its own chats and repeat some where they do not come out even.
        """
        loader: DataLoader[Any] = super().get_train_dataloader()
        if isinstance(loader.batch_sampler, BatchSamplerShard):
            loader.batch_sampler.num_processes, loader.batch_sampler.process_index = 1, 0
            loader.batch_sampler.even_batches = False
        return loader

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Shard the model, if it is to be, before an optimizer is made for its parameters."""
        first = self._sharded and self.optimizer is None
        if first:
            sharding.shard(self.model)
            # autocast as every model gets it; what is prepared is not copied to each process
            self.accelerator.prepare_model(self.model, device_placement=False, evaluation_mode=True)
            self.model._is_accelerate_prepared = True
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if first:
            sharding.take_shares(optimizer)
        return optimizer

    def save_weights(self, folder: Path) -> None:
        """Save what is tuned: the leader writes, and of a sharded model all give their shares."""
        state = sharding.gathered(self.model) if self._sharded else None
        if group.leads():
            self.model.save_pretrained(folder, state_dict=state)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if self._sharded:
            self._save(output_dir, state_dict=sharding.gathered(self.model))
        else:
            super().save_model(output_dir, _internal_call)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        inner: Any = getattr(self.optimizer, "optimizer", self.optimizer)
        with sharding.whole_states(inner) if self._sharded else nullcontext():
            super()._save_optimizer_and_scheduler(output_dir)

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        return norm.full_tensor() if self._sharded else norm

    def mean_loss(self, rows: Sequence[Row]) -> float | None:
        """Return the mean loss of the model over the supervised tokens of rows, if there are."""
        total = count = 0.0
        self.model.eval()
        with torch.no_grad():
            for start in range(0, len(rows), self.args.per_device_train_batch_size):
                step = self.data_collator(
                    rows[start : start + self.args.per_device_train_batch_size]
                )
                for row in self._prepare_inputs(step)["passes"]:
                    total += float(self._row_loss(self.model, row, 1.0))
                count += int((step["labels"] != IGNORED).sum())
        return group.total(total)[0] / count if count else None

    def _row_loss(self, model: Any, row: dict[str, Any], count: float) -> Tensor:
        # accelerate wraps the outer forward only: the head's products are outside of it
        with self.accelerator.autocast():
            return row_loss(model, row, count, self._kernels.loss, self._readings)
