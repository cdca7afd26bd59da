"""What the model answers while it is trained: held-out questions, asked after each epoch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # models and tokenizers are untyped in transformers

import torch

from hieno.reporting import Reporter
from hieno.train import group, kernels
from hieno.train.kernels import Kernels
from hieno.train.model import causal

SAMPLES = "samples.jsonl"
MOST_TOKENS = 48


@dataclass(frozen=True)
class Questions:
    """Questions as text and as the prompts that ask them, and how answers end and are read."""

    texts: Sequence[str]
    prompts: Sequence[Sequence[int]]
    tokenizer: Any
    stops: frozenset[int]


def sampler(
    model: Any,
    questions: Questions | None,
    chosen: Kernels,
    *,
    work: Path,
    reporter: Reporter,
    together: bool = False,
) -> Callable[[int, float], None]:
    """Return what asks the questions after an epoch: it reports the answers and keeps them.

    Of several processes the leader asks; all do where the model takes them `together`.
    """

    def ask(step: int, epoch: float) -> None:
        if questions is None or not (together or group.leads()):
            return
        found = answers(model, questions, chosen)
        if not group.leads():
            return
        with (work / SAMPLES).open("a", encoding="utf-8") as file:
            for question, answer in zip(questions.texts, found, strict=True):
                row = {"step": step, "epoch": epoch, "question": question, "answer": answer}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                reporter.say(f"epoch {epoch:g}: {question} -> {' '.join(answer.split())}")

    return ask


def answers(
    model: Any, questions: Questions, chosen: Kernels, *, most_tokens: int = MOST_TOKENS
) -> list[str]:
    """Return a model's most likely answers, without a draw of chance; training goes on unchanged.

    `chosen` are the kernels that it is trained with, which know nothing of a cache.
    """
    from transformers import GenerationConfig

    longest = max(map(len, questions.prompts))
    filler = min(questions.stops)
    ids = [[filler] * (longest - len(p)) + list(p) for p in questions.prompts]
    seen = [[0] * (longest - len(p)) + [1] * len(p) for p in questions.prompts]
    device = causal(model).device
    kernels.use(model, Kernels("sdpa"))
    model.eval()
    with torch.no_grad():
        made = model.generate(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=torch.tensor(seen, device=device),
            generation_config=GenerationConfig(
                max_new_tokens=most_tokens,
                do_sample=False,
                use_cache=True,
                eos_token_id=sorted(questions.stops),
                pad_token_id=filler,
            ),
        )[:, longest:].tolist()
    kernels.use(model, chosen)
    return [_text(tokens, questions) for tokens in made]


def _text(tokens: Sequence[int], questions: Questions) -> str:
    end = next((at for at, token in enumerate(tokens) if token in questions.stops), len(tokens))
    text: str = questions.tokenizer.decode(tokens[:end])
    return text.strip()
