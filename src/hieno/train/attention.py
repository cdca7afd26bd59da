"""Attention by document for packed rows on CPUs: exact, and fast where chats are short.

Stock attention builds one square mask for the whole row, so its cost grows with the square of
the row, and its CPU kernel is slow for many short documents. Here the documents of a row become
padded batches of documents of about one length (only inside this function), and long ones get a
call each. Both equal stock attention up to rounding; the tests hold them to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any  # autograd's context and transformers' arguments are untyped

import torch
import torch.nn.functional as F
from torch import Tensor

NAME = "by_document"
LONG = 320  # tokens from which a document gets a call of its own, which keeps no scores
ALIKE = 0.6  # the shortest document of a batch, as a share of its longest


@dataclass(frozen=True)
class Batch:
    """Documents of a row as a padded batch.

    `queries` (n, q) and `keys` (n, k) are positions in the row, `mask` (n, q, k) says which key a
    query sees. The token at `slots` of the flattened batch stands at `places` of the row.
    """

    queries: Tensor
    keys: Tensor
    mask: Tensor
    slots: Tensor
    places: Tensor


@dataclass(frozen=True)
class Layout:
    """How the documents of a row are attended to; `long` are (start, end, tokens seen before)."""

    batches: tuple[Batch, ...]
    long: tuple[tuple[int, int, int], ...]


def register() -> str:
    """Make the attention known to transformers and return its name for `attn_implementation`."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, attend_by_document)
    return NAME


def layout(lengths: Sequence[int], sharing: int) -> Layout:
    """Return how the segments of a row become padded batches, and which are too long for one.

    With `sharing` > 0 the first segment is seen by the `sharing` segments after it.
    """
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    before = [lengths[0] if 0 < number <= sharing else 0 for number in range(len(lengths))]
    long = [number for number, length in enumerate(lengths) if length > LONG]
    return Layout(
        tuple(
            _batch([(starts[n], lengths[n], before[n]) for n in numbers])
            for numbers in _alike(lengths)
        ),
        tuple((starts[n], starts[n + 1], before[n]) for n in long),
    )


def _alike(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the numbers of short documents in groups of about one length."""
    short = sorted(
        (n for n in range(len(lengths)) if lengths[n] <= LONG), key=lambda n: -lengths[n]
    )
    group: list[int] = []
    for number in short:
        if group and lengths[number] < ALIKE * lengths[group[0]]:
            yield group
            group = []
        group.append(number)
    if group:
        yield group


def _batch(documents: Sequence[tuple[int, int, int]]) -> Batch:
    start, length, before = (
        torch.tensor(column)[:, None] for column in zip(*documents, strict=True)
    )
    longest, most_before = int(length.max()), int(before.max())
    slots = torch.arange(longest)
    real = slots < length
    queries = torch.where(real, start + slots, start)
    beginning = torch.arange(most_before).expand(len(documents), most_before)
    causal = (slots <= slots[:, None]) & real[:, None, :]
    sees_beginning = (torch.arange(most_before) < before)[:, None, :]
    return Batch(
        queries=queries,
        keys=torch.cat([beginning, queries], 1),
        mask=torch.cat([sees_beginning.expand(-1, longest, most_before), causal], 2),
        slots=real.flatten().nonzero()[:, 0],
        places=queries[real],
    )


def attend_by_document(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: Tensor | None = None,
    sharing: int = 0,
    documents: Layout | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend within each segment of a packed row, and to the beginning that `sharing` share.

    Shapes: query (1, heads, tokens, width), key and value (1, kv heads, tokens, width); returns
    (1, tokens, heads, width).
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # where the rotation is in float32, these two came out of it wider than the values
    query, key = query.to(value.dtype), key.to(value.dtype)
    if documents is None or dropout:
        if cu_seq_lens_q is None:  # a plain row or batch: one document each
            cu_seq_lens_q = torch.tensor([0, query.shape[2]])
        ends = cu_seq_lens_q.tolist()
        before = [ends[1] if 0 < n <= sharing else 0 for n in range(len(ends) - 1)]
        documents = Layout((), tuple(zip(ends, ends[1:], before, strict=False)))
    if not documents.batches:
        return _one_by_one(query, key, value, documents.long, scale, dropout), None
    short = _PaddedAttention.apply(query, key, value, documents.batches, scale)  # type: ignore[no-untyped-call]
    if not documents.long:
        return short, None
    places = torch.cat([torch.arange(start, end) for start, end, _ in documents.long])
    alone = _one_by_one(query, key, value, documents.long, scale, dropout)
    return short.index_copy(1, places, alone), None


def _one_by_one(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    documents: Sequence[tuple[int, int, int]],
    scale: float,
    dropout: float,
) -> Tensor:
    done = []
    for start, end, before in documents:
        q, k, v = (x[:, :, start:end] for x in (query, key, value))
        mask = None
        if before:
            k, v = torch.cat([key[:, :, :before], k], 2), torch.cat([value[:, :, :before], v], 2)
            mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(before)
        done.append(
            F.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=mask,
                is_causal=mask is None,
                scale=scale,
                dropout_p=dropout,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        )
    return torch.cat(done, 2).transpose(1, 2).contiguous()


class _PaddedAttention(torch.autograd.Function):
    """Softmax attention over padded batches of documents, scores in float32.

    Tokens of documents that are in no batch come out as zeros.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, batches: Sequence[Batch], scale: float
    ) -> Tensor:
        _, heads, tokens, width = query.shape
        rows = value.new_zeros(tokens, heads * width)
        kept: list[Tensor] = []
        for batch in batches:
            q = _gather(query, batch.queries, key.shape[1])
            k = _gather(key, batch.keys, key.shape[1])
            v = _gather(value, batch.keys, key.shape[1])
            scores = torch.bmm(q.float(), k.float().transpose(1, 2)).mul_(scale)
            scores = scores.view(len(batch.queries), -1, *batch.mask.shape[1:])
            scores.masked_fill_(~batch.mask[:, None], float("-inf"))
            weights = scores.softmax(-1).to(v.dtype).view(len(q), -1, batch.mask.shape[2])
            kept += [q, k, v, weights]
            rows.index_copy_(0, batch.places, _unfold(torch.bmm(weights, v), batch, heads))
        ctx.save_for_backward(*kept)
        ctx.batches, ctx.scale, ctx.shapes = batches, scale, (query.shape, key.shape)
        return rows.view(1, tokens, heads, width)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (_, heads, tokens, width), (_, kv_heads, _, _) = ctx.shapes
        flat = upstream.reshape(tokens, heads * width)
        d_query = torch.zeros_like(flat)
        d_key, d_value = torch.zeros(2, tokens, kv_heads * width)
        for number, batch in enumerate(ctx.batches):
            q, k, v, weights = ctx.saved_tensors[4 * number : 4 * number + 4]
            padded = flat.new_zeros(batch.queries.numel(), flat.shape[1])
            padded[batch.slots] = flat.index_select(0, batch.places)
            slope = _fold(padded.view(*batch.queries.shape, heads, width), kv_heads)
            _add_up(d_value, torch.bmm(weights.transpose(1, 2), slope), batch.keys)
            d_weights = torch.bmm(slope, v.transpose(1, 2)).float()
            exact = weights.float()
            d_weights -= (d_weights * exact).sum(-1, keepdim=True)
            d_scores = d_weights.mul_(exact).mul_(ctx.scale).to(q.dtype)
            d_query.index_copy_(0, batch.places, _unfold(torch.bmm(d_scores, k), batch, heads))
            _add_up(d_key, torch.bmm(d_scores.transpose(1, 2), q), batch.keys)
        made = (d.to(flat.dtype).view(1, tokens, -1, width) for d in (d_query, d_key, d_value))
        return *(d.transpose(1, 2) for d in made), None, None


def _gather(x: Tensor, positions: Tensor, kv_heads: int) -> Tensor:
    """Take (1, heads, tokens, width) at positions (n, slots), folded for the kv heads."""
    rows = x[0].transpose(0, 1).reshape(x.shape[2], -1).index_select(0, positions.flatten())
    return _fold(rows.view(*positions.shape, x.shape[1], x.shape[3]), kv_heads)


def _fold(x: Tensor, kv_heads: int) -> Tensor:
    """Turn (n, slots, heads, width) into (n * kv heads, heads per kv head * slots, width)."""
    n, slots, heads, width = x.shape
    grouped = x.view(n, slots, kv_heads, heads // kv_heads, width).permute(0, 2, 3, 1, 4)
    return grouped.reshape(n * kv_heads, -1, width)


def _unfold(folded: Tensor, batch: Batch, heads: int) -> Tensor:
    """Return the rows (tokens, heads * width) of a batch's real slots; undoes `_fold`."""
    n, slots = batch.queries.shape
    kv_heads = len(folded) // n
    grouped = folded.view(n, kv_heads, heads // kv_heads, slots, -1).permute(0, 3, 1, 2, 4)
    return grouped.reshape(n * slots, -1).index_select(0, batch.slots)


def _add_up(total: Tensor, folded: Tensor, keys: Tensor) -> None:
    """Add the gradient of keys or values, for every document that saw them, in float32."""
    width = folded.shape[2]
    heads = total.shape[1] // width
    rows = folded.view(len(keys), heads, -1, width).transpose(1, 2).reshape(keys.numel(), -1)
    total.index_add_(0, keys.flatten(), rows.float())
