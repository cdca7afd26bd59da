"""A few steps of a trainer: tokens a second, peak memory, share of the machine's matrix rate."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any  # trainers are untyped

from benchmarks.train.trainers import TRAINERS


def measure(name: str) -> dict[str, float]:
    """Train a few steps of one configuration and return its rate, memory and efficiency."""
    from hieno.train.memory import peak

    before = matrix_rate()
    with tempfile.TemporaryDirectory() as folder:
        trainer = TRAINERS[name](Path(folder))
        clock = clock_of(trainer)
        steps = int(os.environ.get("STEPS", "1"))
        trainer.args.max_steps = steps + 1
        trainer.add_callback(clock)
        trainer.train()
    rate = max(before, matrix_rate())  # others on the machine only ever make it look slower
    tokens, seconds, supervised = clock.measured()
    needed = flops(trainer.model, tokens, supervised, full=not name.startswith("lora"))
    return {
        "tokens_per_s": tokens / seconds,
        "peak_gb": peak() / 1e9,
        "share": needed / seconds / rate,
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
            counted = self.tokens[1:steps]  # a batch each; the next one is fetched ahead
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
