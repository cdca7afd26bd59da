"""The trainers that are compared: hieno's, stock TRL's, and TRL's by the tutorial's settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any  # trainers are untyped

from benchmarks.train.chats import CHATS_PER_UPDATE, ROW, SEED, base, chats

LORA = {"r": 32, "lora_alpha": 64}


def ours(method: str, work: Path) -> Any:
    """Return hieno's trainer."""
    from hieno.config import Train
    from hieno.machine import compute_dtype
    from hieno.train import kernels
    from hieno.train.model import load
    from hieno.train.trainer import trainer_of

    rows, dtype = chats(), compute_dtype()
    settings = Train.model_validate(
        {
            "method": method,
            "rank": LORA["r"],
            "alpha": LORA["lora_alpha"],
            "learning_rate": 1e-5,
            "batch_size": CHATS_PER_UPDATE,
            "pass_tokens": ROW,
        }
    )
    chosen = kernels.wanted(settings)
    model = load(base(), settings, dtype=dtype, attention=chosen.attention)
    chosen = kernels.proven(model, rows, chosen, dtype=dtype)
    return trainer_of(model, rows, settings, chosen, dtype=dtype, work=work)


def theirs(method: str, work: Path, *, tutorial: bool = False) -> Any:
    """Return stock TRL's trainer with its best settings, or with the tutorial's."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    from hieno.machine import compute_dtype

    on_gpu = torch.cuda.is_available()
    # where bfloat16 is slow, the tutorial's would take hours: it gets what is fast here, too
    in_bfloat16 = on_gpu or compute_dtype() == "bfloat16"
    half_weights = in_bfloat16 and (tutorial or method == "lora")
    rows = chats()
    if tutorial:  # it learns every token
        rows = [{"input_ids": row["input_ids"]} for row in rows]
    model = AutoModelForCausalLM.from_pretrained(
        base(),
        dtype=torch.bfloat16 if half_weights else torch.float32,
        attn_implementation="eager" if tutorial else "sdpa",
    )
    arguments = SFTConfig(
        output_dir=str(work),
        use_cpu=not on_gpu,
        bf16=in_bfloat16 and not tutorial,
        max_length=ROW,
        packing=True,
        packing_strategy="wrapped" if tutorial else "bfd",
        per_device_train_batch_size=1,
        gradient_checkpointing=tutorial,
        learning_rate=5e-6 if tutorial else 1e-5,
        lr_scheduler_type="cosine",
        seed=SEED,
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    return SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", **LORA)
        if method == "lora"
        else None,
    )


TRAINERS: dict[str, Callable[[Path], Any]] = {
    "tutorial": lambda work: theirs("full", work, tutorial=True),
    "full-trl": lambda work: theirs("full", work),
    "full": lambda work: ours("full", work),
    "lora-trl": lambda work: theirs("lora", work),
    "lora": lambda work: ours("lora", work),
}
