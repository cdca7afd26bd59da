"""Which attention and which loss a run uses: the fast ones where they prove equal to the stock.

Chats of a step lie packed in rows. An attention that lets them see each other, or a head that
does more than a product (a scaling, a cap), would train something else without a word. So the
chosen kernels are held against the plain model, chat by chat, before the first step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from typing import Any  # models are untyped in transformers

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from hieno.config import Train
from hieno.errors import HienoError
from hieno.train import attention, fused
from hieno.train.loss import supervised_loss
from hieno.train.model import causal, last_hidden, on_device, products
from hieno.train.packing import IGNORED, Row, pack
from hieno.train.readings import Readings

PROBE_CHATS = 3
PROBE_TOKENS = 96  # of each chat
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}  # of the loss; a leak changes it by far more


@dataclass(frozen=True)
class Kernels:
    """The attention's name in transformers, and whether loss and layers are ours or stock."""

    attention: str
    loss: str = "stock"
    layers: str = "stock"

    @property
    def shares_prefix(self) -> bool:
        return self.attention == attention.NAME

    def __str__(self) -> str:
        return f"attention {self.attention}, loss {self.loss}, layers {self.layers}"


def wanted(settings: Train) -> Kernels:
    """Return what the settings ask for; `auto` is what is fastest for this kind of machine."""
    on_gpu = torch.cuda.is_available()
    chosen: str = settings.attention
    if chosen == "auto":
        chosen = "sdpa" if on_gpu else attention.NAME
    if chosen == attention.NAME:
        attention.register()
    loss = "chunked" if settings.loss == "auto" else settings.loss
    layers = settings.layers
    if layers == "auto":
        layers = "stock" if on_gpu else "fused"
    return Kernels(chosen, loss, layers)


def proven(model: Any, rows: Sequence[Row], kernels: Kernels, *, dtype: str) -> Kernels:
    """Give a model the kernels if they agree with it as it is, else those that do; return them.

    Tries the chosen ones, then the model's own layers, its own loss, its own attention. Raises
    `HienoError` where packed chats see each other whatever is used.
    """
    sample = [_probe(row) for row in nlargest(PROBE_CHATS, rows, key=lambda r: len(r["input_ids"]))]
    expected = one_by_one(model, sample)
    tries = [
        kernels,
        replace(kernels, layers="stock"),
        replace(kernels, layers="stock", loss="stock"),
        Kernels("sdpa"),
    ]
    for candidate in dict.fromkeys(tries):
        use(model, candidate)
        row = on_device(pack(sample, share_prefix=candidate.shares_prefix), model)
        count = float((row["labels"][:, 1:] != IGNORED).sum())
        with torch.no_grad(), products(model, dtype):
            found = float(row_loss(model, row, count, candidate.loss))
        if _same(found, expected, dtype):
            return candidate
    raise HienoError(
        f"packed chats would see each other in this model: loss {found:.4f}, alone {expected:.4f}",
        hint="please report the model's name: its attention does not know where a chat ends",
    )


def agree(
    model: Any, rows: Sequence[Row], kernels: Kernels, readings: Readings, *, dtype: str
) -> bool:
    """Tell whether the states that were read lead to the losses that the whole model has."""
    sample = nlargest(PROBE_CHATS, rows, key=lambda row: len(row["input_ids"]))
    packed = on_device(pack(sample, share_prefix=kernels.shares_prefix), model)
    count = max(1.0, float((packed["labels"] != IGNORED).sum()))
    model.eval()
    with torch.no_grad(), products(model, dtype):
        whole, above = (
            float(row_loss(model, packed, count, kernels.loss, read)) for read in (None, readings)
        )
    return _same(above, whole, dtype)


def one_by_one(model: Any, rows: Sequence[Row]) -> float:
    """Return the mean loss of chats that are read alone, by the model's own means."""
    plain = causal(model)
    before = plain.config._attn_implementation
    plain.set_attn_implementation("eager")
    total = count = 0.0
    model.eval()
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row["input_ids"]], device=plain.device)
            labels = torch.tensor(row["labels"], device=plain.device)[1:]
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
            total += float(cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"))
            count += float((labels != IGNORED).sum())
    plain.set_attn_implementation(before)
    return total / count


def use(model: Any, kernels: Kernels) -> None:
    """Give a model its attention and its layers."""
    causal(model).set_attn_implementation(kernels.attention)
    fused.unfuse(model)
    if kernels.layers == "fused":
        fused.fuse(model)


def row_loss(
    model: Any, row: dict[str, Any], count: float, loss: str, readings: Readings | None = None
) -> Tensor:
    """Return the loss of a packed row, summed over supervised tokens, over `count`.

    `row` is what `pack` makes, on the model's device; `readings` is what its pointers are for.
    """
    readings = readings or Readings()
    labels, taught = row["labels"], readings.taught(row)
    with readings.entered(model, row) as inputs:
        if loss == "chunked":
            hidden = last_hidden(model, inputs)
            head = causal(model).get_output_embeddings().weight  # of a sharded model whole by now
            return supervised_loss(hidden, head, labels, count, taught, readings.weight)
        logits = model(**inputs, use_cache=False).logits[0, :-1].float()
    return _stock(logits, labels[0, 1:], causal(model), taught, readings.weight) / count


def _same(loss: float, expected: float, dtype: str) -> bool:
    return abs(loss - expected) <= TOLERANCE[dtype] * max(1.0, abs(expected))


def _probe(row: Row) -> Row:
    """Return the beginning of a chat, its second half supervised, whatever is learnt of it."""
    ids = row["input_ids"][:PROBE_TOKENS]
    half = len(ids) // 2
    return {"input_ids": ids, "labels": [IGNORED] * half + ids[half:]}


def _stock(
    logits: Tensor, labels: Tensor, model: Any, states: Tensor | None, weight: float
) -> Tensor:
    if states is None:
        return cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    has_teacher = states[0, 1:].any(-1)
    own = labels.masked_fill(has_teacher, IGNORED)
    with torch.no_grad():
        goal = model.get_output_embeddings()(states[0, 1:][has_teacher]).float().log_softmax(-1)
    divergence = kl_div(logits[has_teacher].log_softmax(-1), goal, log_target=True, reduction="sum")
    return cross_entropy(logits, own, ignore_index=IGNORED, reduction="sum") + weight * divergence
