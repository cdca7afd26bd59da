"""Attention by document for packed rows on CPUs: exact, and fast where chats are short.

Stock attention builds one square mask for the whole row, so its cost grows with the square of
the row, and its CPU kernel is slow for many short documents. Here the documents of a row become
a padded batch (only inside this function), or, where they differ too much in length, one call
each. Both equal stock attention up to rounding; the tests hold them to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any  # autograd's context and transformers' arguments are untyped

import torch
import torch.nn.functional as F
from torch import Tensor

NAME = "by_document"
MOST_PADDING = 2.5  # slots for queries of a padded batch, per token of the row
MOST_SCORES = 512  # pairs of a query and a key, per token: the batch keeps them for its backward


def register() -> str:
    """Make the attention known to transformers and return its name for `attn_implementation`."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, attend_by_document)
    return NAME


def layout(lengths: Sequence[int], sharing: int) -> dict[str, Tensor]:
    """Return how the segments of a row become a padded batch, or nothing where it would waste.

    With `sharing` > 0 the first segment is seen by the `sharing` segments after it.
    `document_queries` (n, q) and `document_keys` (n, k) are positions in the row,
    `document_mask` (n, q, k) says which key a query sees, `document_order` (tokens) where in the
    batch each token of the row is.
    """
    longest, tokens = max(lengths), sum(lengths)
    before = lengths[0] if sharing else 0
    slots_wanted = len(lengths) * longest
    if (
        slots_wanted > MOST_PADDING * tokens
        or slots_wanted * (before + longest) > MOST_SCORES * tokens
    ):
        return {}
    slots = torch.arange(longest)
    length = torch.tensor(lengths)[:, None]
    start = length.cumsum(0) - length
    queries = torch.where(slots < length, start + slots, start)
    beginning = torch.arange(before).expand(len(lengths), before)
    causal = (slots <= slots[:, None]) & (slots < length[:, :, None])
    number = torch.arange(len(lengths))
    sees_beginning = ((number > 0) & (number <= sharing))[:, None, None]
    return {
        "document_queries": queries,
        "document_keys": torch.cat([beginning, queries], 1),
        "document_mask": torch.cat([sees_beginning.expand(-1, longest, before), causal], 2),
        "document_order": torch.cat(
            [row * longest + torch.arange(size) for row, size in enumerate(lengths)]
        ),
    }


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
    document_queries: Tensor | None = None,
    document_keys: Tensor | None = None,
    document_mask: Tensor | None = None,
    document_order: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend within each segment of a packed row, and to the beginning that `sharing` share.

    Shapes: query (1, heads, tokens, width), key and value (1, kv heads, tokens, width); returns
    (1, tokens, heads, width).
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if document_queries is not None and not dropout:
        return _PaddedAttention.apply(  # type: ignore[no-untyped-call]
            query,
            key,
            value,
            document_queries,
            document_keys,
            document_mask,
            document_order,
            scale,
        ), None
    if cu_seq_lens_q is None:  # a plain row or batch: one document each
        cu_seq_lens_q = torch.tensor([0, query.shape[2]])
    lengths = cu_seq_lens_q.diff().tolist()
    return _one_by_one(query, key, value, lengths, sharing, scale, dropout), None


def _one_by_one(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: list[int],
    sharing: int,
    scale: float,
    dropout: float,
) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    parts = list(zip(*(torch.split(x, lengths, 2) for x in (query, key, value)), strict=True))
    done = []
    for index, (q, k, v) in enumerate(parts):
        mask = None
        if 0 < index <= sharing:
            k, v = torch.cat([parts[0][1], k], 2), torch.cat([parts[0][2], v], 2)
            mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(lengths[0])
        done.append(
            F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale, dropout_p=dropout
            )
        )
    return torch.cat(done, 2).transpose(1, 2).contiguous()


class _PaddedAttention(torch.autograd.Function):
    """Softmax attention over a padded batch of documents, scores in float32."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        queries: Tensor,
        keys: Tensor,
        mask: Tensor,
        order: Tensor,
        scale: float,
    ) -> Tensor:
        kv_heads = key.shape[1]
        q = _gather(query, queries, kv_heads)
        k, v = _gather(key, keys, kv_heads), _gather(value, keys, kv_heads)
        scores = torch.bmm(q.float(), k.float().transpose(1, 2)).mul_(scale)
        scores = scores.view(len(queries), -1, *mask.shape[1:])
        scores.masked_fill_(~mask[:, None], float("-inf"))
        weights = scores.softmax(-1).to(v.dtype).view(len(q), -1, mask.shape[2])
        ctx.save_for_backward(q, k, v, weights, queries, keys, order)
        ctx.scale, ctx.shapes = scale, (query.shape, key.shape)
        return _scatter(torch.bmm(weights, v), queries, order, query.shape).transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, queries, keys, order = ctx.saved_tensors
        query_shape, key_shape = ctx.shapes
        flat = upstream.reshape(upstream.shape[1], -1)
        padded = flat.new_zeros(queries.numel(), flat.shape[1]).index_copy_(0, order, flat)
        slope = _fold(padded.view(*queries.shape, *upstream.shape[2:]), key_shape[1])
        d_value = torch.bmm(weights.transpose(1, 2), slope)
        d_weights = torch.bmm(slope, v.transpose(1, 2)).float()
        exact = weights.float()
        d_weights -= (d_weights * exact).sum(-1, keepdim=True)
        d_scores = d_weights.mul_(exact).mul_(ctx.scale).to(q.dtype)
        d_query = _scatter(torch.bmm(d_scores, k), queries, order, query_shape)
        d_key = torch.bmm(d_scores.transpose(1, 2), q)
        return (
            d_query,
            _add_up(d_key, keys, key_shape),
            _add_up(d_value, keys, key_shape),
            *[None] * 5,
        )


def _gather(x: Tensor, positions: Tensor, kv_heads: int) -> Tensor:
    """Take (1, heads, tokens, width) at positions (n, slots), folded for the kv heads."""
    rows = x[0].transpose(0, 1).reshape(x.shape[2], -1).index_select(0, positions.flatten())
    return _fold(rows.view(*positions.shape, x.shape[1], x.shape[3]), kv_heads)


def _fold(x: Tensor, kv_heads: int) -> Tensor:
    """Turn (n, slots, heads, width) into (n * kv heads, heads per kv head * slots, width)."""
    n, slots, heads, width = x.shape
    grouped = x.view(n, slots, kv_heads, heads // kv_heads, width).permute(0, 2, 3, 1, 4)
    return grouped.reshape(n * kv_heads, -1, width)


def _scatter(folded: Tensor, queries: Tensor, order: Tensor, shape: Sequence[int]) -> Tensor:
    """Put a folded result back into the row's order; the inverse of `_gather` for queries."""
    n, slots = queries.shape
    _, heads, tokens, width = shape
    grouped = folded.view(n, -1, heads * n // len(folded), slots, width).permute(0, 3, 1, 2, 4)
    rows = grouped.reshape(n * slots, heads * width).index_select(0, order)
    return rows.view(1, tokens, heads, width).transpose(1, 2)


def _add_up(folded: Tensor, keys: Tensor, shape: Sequence[int]) -> Tensor:
    """Sum the gradient of keys or values over every document that saw them, in float32."""
    _, heads, tokens, width = shape
    rows = folded.view(len(keys), heads, -1, width).transpose(1, 2).reshape(keys.numel(), -1)
    total = torch.zeros(tokens, heads * width).index_add_(0, keys.flatten(), rows.float())
    return total.to(folded.dtype).view(1, tokens, heads, width).transpose(1, 2)
