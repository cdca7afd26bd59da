"""The loss of a model on each chat: in nats, over the tokens that are supervised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any  # models are untyped in transformers

from hieno.evaluate.intervals import Sample
from hieno.package.layout import weights_folder
from hieno.train.packing import IGNORED, Row

PASS_TOKENS = 4096  # in one forward pass
CHUNK = 1024  # positions whose logits exist at the same time


def of_chats(
    root: Path,
    chats: Sequence[Sequence[Mapping[str, Any]]],
    texts: Sequence[str],
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Sample, Sample]:
    """Return (summed loss, supervised tokens) of each chat and of each plain text, by its number.

    Chats go through the training template, so what counts is what was learnt in training. Loaded
    is the package's own model, in the type that matrix products are fastest in here.
    """
    from hieno.templates import encode_text, load_tokenizer
    from hieno.train.stage import tokenise

    tokenizer = load_tokenizer(weights_folder(root))
    rows = tokenise(tokenizer, [{"messages": chat} for chat in chats])
    for text in texts:
        ids = list(encode_text(tokenizer, text))
        rows.append({"input_ids": ids, "labels": [IGNORED, *ids[1:]]})
    found = _losses(root, rows, on_progress)
    return dict(enumerate(found[: len(chats)])), dict(enumerate(found[len(chats) :]))


def _losses(
    root: Path, rows: Sequence[Row], on_progress: Callable[[int, int], None]
) -> list[tuple[float, float]]:
    if not rows:
        return []
    import torch

    from hieno.config import Train
    from hieno.machine import compute_dtype
    from hieno.train import kernels
    from hieno.train.model import on_device, products
    from hieno.train.packing import pack, passes

    dtype = compute_dtype()
    chosen = kernels.wanted(Train())
    model = _load(root, dtype, chosen.attention)
    chosen = kernels.proven(model, rows, chosen, dtype=dtype)
    numbered = [{**row, "chat": [number] * len(row["labels"])} for number, row in enumerate(rows)]
    sums, counts = torch.zeros(len(rows), dtype=torch.float64), torch.zeros(len(rows))
    done = 0
    for chats in passes(numbered, most=PASS_TOKENS):
        packed = on_device(pack(chats, share_prefix=chosen.shares_prefix), model)
        with torch.inference_mode(), products(model, dtype):
            owners, losses = _token_losses(model, packed, chosen.loss)
        sums.index_add_(0, owners, losses.double())
        counts.index_add_(0, owners, torch.ones_like(losses))
        done += len(chats)
        on_progress(done, len(rows))
    return list(zip(sums.tolist(), counts.tolist(), strict=True))


def _load(root: Path, dtype: str, attention: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        weights_folder(root),
        dtype=getattr(torch, dtype),
        attn_implementation=attention,
        local_files_only=True,
        trust_remote_code=False,
    )
    model.config.use_cache = False
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _token_losses(model: Any, row: dict[str, Any], loss: str) -> tuple[Any, Any]:
    """Return, of each supervised token of a packed row, the number of its chat and its loss."""
    import torch

    from hieno.train.model import last_hidden

    inputs = {name: value for name, value in row.items() if name not in ("labels", "chat")}
    targets = row["labels"][0, 1:]
    chosen = (targets != IGNORED).nonzero()[:, 0]
    if loss == "chunked":
        states, head = last_hidden(model, inputs)[0, chosen], model.get_output_embeddings()
    else:
        states, head = model(**inputs, use_cache=False).logits[0, chosen], torch.nn.Identity()
    losses = []
    for some, wanted in zip(
        torch.split(states, CHUNK), torch.split(targets[chosen], CHUNK), strict=True
    ):
        logits = head(some).float()
        losses.append(logits.logsumexp(-1) - logits.gather(1, wanted[:, None])[:, 0])
    return row["chat"][0, 1:][chosen].cpu(), torch.cat(losses).cpu()
