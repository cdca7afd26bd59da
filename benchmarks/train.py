"""Train the demo model by the tutorial's settings, by stock TRL and by hieno: `make bench-train`.

The same chats everywhere: about 370 tokens on average and 1,400 at the 99th percentile, laid in
rows of 2048, two rows to an update. Every configuration runs in a process of its own; rounds
alternate and the median of each counts. A step before the measured ones warms up. Tokens are
those of chats, never padding. On a machine with a GPU the same configurations run there.

    ROUNDS=3 STEPS=2 CONFIGS=full,full-trl make bench-train
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any  # trainers and reports are untyped

ROW = 2048
ROWS_PER_UPDATE = 2
CHATS_PER_UPDATE = 11  # so many fill two rows
CONFIGS = ("tutorial", "full-trl", "full", "lora-trl", "lora")
LORA = {"r": 32, "lora_alpha": 64}
SEED = 0


def main() -> None:
    """Measure every configuration, print a table, and one JSON object as the last line."""
    rounds = int(os.environ.get("ROUNDS", "3"))
    configs = os.environ.get("CONFIGS", ",".join(CONFIGS)).split(",")
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in configs}
    print_conditions()
    for number in range(rounds):
        for name in configs:
            result = in_child(name)
            measured[name].append(result)
            print(
                f"round {number + 1}  {name:<9} {result['tokens_per_s']:>7.1f} tokens/s  "
                f"{result['peak_gb']:>5.2f} GB  {result['share']:>5.1%} of the matrix rate",
                flush=True,
            )
    print(json.dumps(ratios(measured) | in_child("equality")))


def ratios(measured: dict[str, list[dict[str, float]]]) -> dict[str, float]:
    """Return the ratios of the medians, as far as their configurations were run."""

    def median(name: str, key: str) -> float:
        return statistics.median(result[key] for result in measured[name])

    wanted = {
        "full_ratio_vs_tutorial": ("full", "tutorial", "tokens_per_s"),
        "full_ratio_vs_trl": ("full", "full-trl", "tokens_per_s"),
        "lora_ratio_vs_tutorial": ("lora", "tutorial", "tokens_per_s"),
        "lora_ratio_vs_trl": ("lora", "lora-trl", "tokens_per_s"),
        "rss_ratio_vs_trl": ("full", "full-trl", "peak_gb"),
    }
    found = {
        key: round(median(ours, of) / median(theirs, of), 3)
        for key, (ours, theirs, of) in wanted.items()
        if ours in measured and theirs in measured
    }
    if "full" in measured:
        found["share_of_matmul_rate"] = round(median("full", "share"), 3)
    return found


def in_child(name: str) -> dict[str, float]:
    """Run one configuration in a fresh process and return what it printed last."""
    done = subprocess.run(
        [sys.executable, __file__, name], stdout=subprocess.PIPE, check=True, encoding="utf-8"
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def print_conditions() -> None:
    """Say what the numbers were measured on."""
    from hieno.machine import cpu_model, gpus, speed

    rates = speed()
    print(f"{cpu_model()}, {os.cpu_count()} cores; GPUs: {[gpu.name for gpu in gpus()] or 'none'}")
    print(f"probe: {rates.bfloat16 / 1e9:.0f} GFLOP/s bfloat16, {rates.float32 / 1e9:.0f} float32")


# ---- in the child ---------------------------------------------------------------------------


def measure(name: str) -> dict[str, float]:
    """Train a few steps of one configuration and return its rate, memory and efficiency."""
    import torch

    rate = matrix_rate()
    with tempfile.TemporaryDirectory() as folder:
        trainer = TRAINERS[name](Path(folder))
        clock = clock_of(trainer)
        steps = int(os.environ.get("STEPS", "2"))
        trainer.args.max_steps = steps + 1
        trainer.add_callback(clock)
        trainer.train()
    tokens, seconds, supervised = clock.measured()
    on_gpu = torch.cuda.is_available()
    peak = torch.cuda.max_memory_allocated() if on_gpu else peak_memory()
    needed = flops(trainer.model, tokens, supervised, full=not name.startswith("lora"))
    return {
        "tokens_per_s": tokens / seconds,
        "peak_gb": peak / 1e9,
        "share": needed / seconds / rate,
    }


def chats() -> list[dict[str, list[int]]]:
    """Return tokenised chats of many turns, put together from the demo's, with their labels."""
    from hieno.models import pull
    from hieno.package.layout import weights_folder
    from hieno.reporting import Reporter
    from hieno.templates import load_tokenizer
    from hieno.train.stage import tokenise

    class Silent(Reporter):
        def stage(self, name: str) -> None: ...

        def say(self, line: str) -> None: ...

        def progress(self, *_: Any) -> None: ...

    tokenizer = load_tokenizer(weights_folder(pull("demo", reporter=Silent())))
    source = Path(__file__).parents[1] / "src" / "hieno" / "example" / "data" / "chats.jsonl"
    turns = [json.loads(line)["messages"] for line in source.read_text("utf-8").splitlines()]
    turns = [[m for m in messages if m["role"] != "system"] for messages in turns]
    draw = random.Random(SEED)  # noqa: S311  # lengths of chats, nothing secret
    rows = []
    for _ in range(CHATS_PER_UPDATE * 12):
        length = min(ROW, int(draw.lognormvariate(5.7, 0.66)))
        messages: list[dict[str, str]] = []
        while sum(len(m["content"]) for m in messages) < 3.1 * (length - 40):
            messages += draw.choice(turns)
        rows.append(tokenise(tokenizer, [{"messages": messages}])[0])
    return [{name: values[:ROW] for name, values in row.items()} for row in rows]


def base() -> Path:
    """Return the demo model's folder."""
    from hieno.models import find
    from hieno.package.layout import weights_folder

    root = find("demo")
    if root is None:
        raise SystemExit("get the model first: hieno models pull demo")
    return weights_folder(root)


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
    in_bfloat16 = tutorial or on_gpu or compute_dtype() == "bfloat16"
    half_weights = tutorial or (method == "lora" and in_bfloat16)
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
        gradient_accumulation_steps=ROWS_PER_UPDATE,
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


def clock_of(trainer: Any) -> Any:
    """Return a callback that counts the tokens and seconds of all steps but the first."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ends: list[float] = []
            self.tokens: list[tuple[int, int]] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(time.perf_counter())

        def measured(self) -> tuple[int, float, int]:
            steps = len(self.ends)
            counted = self.tokens[len(self.tokens) // steps :]  # as many batches in each step
            total, supervised = (sum(column) for column in zip(*counted, strict=True))
            return total, self.ends[-1] - self.ends[0], supervised

    clock = Clock()
    collate = trainer.data_collator

    def counting(rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = collate(rows)
        ids = sum(len(row["input_ids"]) for row in rows)
        clock.tokens.append((ids, int((batch["labels"] != -100).sum())))
        return batch

    trainer.data_collator = counting
    return clock


def flops(model: Any, tokens: int, supervised: int, *, full: bool) -> float:
    """Return the FLOP that a step needs: products with weights, the head where it is learnt.

    Six a weight and token, or four where the weight itself is frozen (forward, and back through
    it); attention's own products are left out, as they are in the machine's favour.
    """
    head = model.get_output_embeddings().weight.numel()
    body = sum(
        p.numel()
        for name, p in model.named_parameters()
        if p.dim() == 2 and "embed" not in name and "lm_head" not in name and "lora" not in name
    )
    adapters = sum(p.numel() for name, p in model.named_parameters() if "lora" in name)
    products = body * tokens + head * supervised
    return float((6 if full else 4) * products + 6 * adapters * tokens)


def matrix_rate() -> float:
    """Return the machine's rate of matrix products now, in FLOP/s."""
    import torch

    if not torch.cuda.is_available():
        from hieno import machine

        return max(machine.rate("bfloat16"), machine.rate("float32"))
    left = torch.ones(8192, 8192, dtype=torch.bfloat16, device="cuda")
    for _ in range(3):
        left @ left
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(20):
        left @ left
    torch.cuda.synchronize()
    return 20 * 2 * 8192**3 / (time.perf_counter() - began)


def peak_memory() -> int:
    """Return the most memory that this process held, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def equality() -> dict[str, float]:
    """Return the largest difference of a step's loss from stock TRL's, in float32."""
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import AutoModelForCausalLM
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from hieno.config import Train
    from hieno.train import kernels
    from hieno.train.packing import pack

    rows = [row for row in chats() if len(row["input_ids"]) < 500]
    chosen = kernels.wanted(Train())
    worst = 0.0
    model = AutoModelForCausalLM.from_pretrained(base(), dtype=torch.float32).eval()
    collate = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)
    with torch.no_grad():
        for start in range(0, 12, 4):
            some = rows[start : start + 4]
            batch = collate(some)
            labels = batch.pop("labels")[0, 1:]
            model.set_attn_implementation("sdpa")
            logits = model(**batch, use_cache=False).logits[0, :-1]
            stock = float(cross_entropy(logits, labels, ignore_index=-100))
            model.set_attn_implementation(chosen.attention)
            row = pack(some, share_prefix=chosen.shares_prefix)
            count = float((labels != -100).sum())
            worst = max(worst, abs(float(kernels.row_loss(model, row, count, "chunked")) - stock))
    return {"loss_max_diff_fp32": worst}


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "equality":
        print(json.dumps(equality()))
    else:
        print(json.dumps(measure(sys.argv[1])))
