"""A Hugging Face folder: what `from_pretrained` of transformers and every hub read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any  # models are untyped in transformers

from hieno.export.formats import Wanted
from hieno.export.hearing import Heard, Request
from hieno.models.checks import WEIGHTS
from hieno.models.weights import INDEX

SETTINGS = "generation_config.json"


def write(
    model: Path, folder: Path, wanted: Wanted, *, work: Path, say: Callable[[str], None]
) -> None:
    """Write weights, settings, tokenizer and template into an existing, empty folder."""
    if wanted.weights != "fp32":
        import torch

        _load(model, torch.bfloat16).save_pretrained(folder)
    for path in model.iterdir():
        written = WEIGHTS.fullmatch(path.name) or path.name in (INDEX, "config.json")
        if wanted.weights == "fp32" or not written:
            shutil.copyfile(path, folder / path.name)


def hear(folder: Path, request: Request, *, work: Path, say: Callable[[str], None]) -> Heard:
    """Open the folder as anybody would, with transformers alone, and ask it."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    network = _load(folder, "auto")
    prompts = [
        tokenizer.apply_chat_template(list(chat), add_generation_prompt=True)["input_ids"]
        for chat in request.chats
    ]
    answer = _generate(network, prompts[0], request.tokens)
    stopped = {stop: _generate(network, prompts[0], 3, stop) == [stop] for stop in request.stops}
    text = tokenizer.decode(answer, skip_special_tokens=True).strip()
    return Heard(prompts, answer, text, stopped, f"transformers {transformers.__version__}")


def declared(folder: Path, model: Path) -> Mapping[str, frozenset[int]]:
    """Return the stop tokens in generation_config.json."""
    found = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["eos_token_id"]
    return {SETTINGS: frozenset(found if isinstance(found, list) else [found])}


def template_of(folder: Path) -> str | None:
    """Return the chat template of the folder."""
    path = folder / "chat_template.jinja"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _load(folder: Path, dtype: Any) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False
    ).eval()


def _generate(network: Any, prompt: list[int], most: int, forced: int | None = None) -> list[int]:
    import torch
    from transformers import LogitsProcessorList

    def force(ids: Any, scores: Any) -> Any:
        return torch.full_like(scores, -torch.inf).index_fill(1, torch.tensor([forced]), 0.0)

    ids = torch.tensor([prompt])
    made = network.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=most,
        do_sample=False,
        logits_processor=LogitsProcessorList([] if forced is None else [force]),
    )
    return [int(token) for token in made[0, len(prompt) :]]
