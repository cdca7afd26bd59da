"""Merge an adapter into its base, and prove on real tokens that nothing was lost."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hieno.errors import HienoError

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


def merge(base: Path, adapter: Path, folder: Path, *, probe: Sequence[int]) -> float:
    """Write base + adapter as a plain model folder; return the largest relative difference.

    `probe` are the token ids on which the logits of the adapter on its base and of the merged
    model, read back from the disk, are compared. Raises `HienoError` if they differ.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    def load(path: Path) -> torch.nn.Module:
        return AutoModelForCausalLM.from_pretrained(  # type: ignore[no-any-return]
            path, dtype=torch.float32, local_files_only=True, trust_remote_code=False
        ).eval()

    tokens = torch.tensor([list(probe)])
    model = PeftModel.from_pretrained(load(base), adapter).eval()
    with torch.no_grad():
        expected = model(tokens, use_cache=False).logits
    folder.mkdir(parents=True)
    merged = model.merge_and_unload()
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
            f"the merged model differs from adapter + base by {difference:.1e} of its logits",
            hint="this is a defect of hieno or of a library: please report it with the versions",
        )
    return difference
