"""How far a step's loss is from stock TRL's, in float32."""

from __future__ import annotations

from benchmarks.train.chats import base, chats


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
