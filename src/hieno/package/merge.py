"""Make a plain model of what a run tuned, and prove on real tokens that nothing was lost."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any  # models are untyped in transformers

from hieno.errors import HienoError
from hieno.package.layout import ADAPTER, RUN_MODEL

COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
)
TOLERANCE = 2e-3  # of the largest logit: float32 sums in another order


def merge(base: Path, run: Path, folder: Path, *, probe: Sequence[int]) -> float:
    """Write a run's model as a plain folder; return the largest relative difference of logits.

    A run holds an adapter, or every weight. `probe` are the token ids on which the logits of the
    adapter on its base (or of the run's weights) and of the merged model, read back from the
    disk, are compared. Raises `HienoError` if they differ.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    def load(path: Path) -> Any:
        return AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, local_files_only=True, trust_remote_code=False
        ).eval()

    tokens = torch.tensor([list(probe)])
    if (run / ADAPTER).is_dir():
        model = PeftModel.from_pretrained(load(base), run / ADAPTER).eval()
    else:
        model = load(run / RUN_MODEL)
    with torch.no_grad():
        expected = model(tokens, use_cache=False).logits
    folder.mkdir(parents=True)
    merged = model.merge_and_unload() if isinstance(model, PeftModel) else model
    merged.config.use_cache = True
    merged.save_pretrained(folder)
    for name in COPIED:
        if (base / name).is_file():
            shutil.copy2(base / name, folder / name)
    del model, merged  # a second copy of a large model is enough
    with torch.no_grad():
        found = load(folder)(tokens, use_cache=False).logits
    difference = float((found - expected).abs().max() / expected.abs().max())
    if not difference <= TOLERANCE:
        raise HienoError(
            f"the merged model differs from what was tuned by {difference:.1e} of its logits",
            hint="this is a defect of hieno or of a library: please report it with the versions",
        )
    return difference
