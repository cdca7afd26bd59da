"""The loss over supervised positions only, in chunks: exact, and lean.

The stock loss multiplies every position with the whole vocabulary and keeps the result for the
backward pass. Only supervised positions count, and their gradient can be had at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any  # autograd's context is untyped

import torch
from torch import Tensor

from hieno.train.packing import IGNORED

CHUNK = 1024  # positions whose logits exist at the same time


def supervised_loss(
    hidden: Tensor,
    head: Tensor,
    labels: Tensor,
    count: float,
    teacher: Tensor | None = None,
    weight: float = 1.0,
) -> Tensor:
    """Return the summed loss of the next token over supervised positions, over `count`.

    It is the cross-entropy with the label; where a teacher's hidden state is given, it is the
    Kullback-Leibler divergence from the teacher's distribution (Hinton et al. 2015,
    arXiv:1503.02531, at temperature 1), times `weight`. Shapes: hidden (1, tokens, width), head
    (vocabulary, width), labels (1, tokens) with -100 where nothing is learnt, teacher (1, tokens,
    width): the state that predicts the token there, zeros where there is none.
    """
    targets = labels[0, 1:]
    chosen = (targets != IGNORED).nonzero()[:, 0]
    taught = None
    if teacher is not None:
        has_teacher = teacher[0, 1:][chosen].any(-1)
        chosen = torch.cat([chosen[~has_teacher], chosen[has_teacher]])
        taught = teacher[0, 1:][chosen[len(chosen) - int(has_teacher.sum()) :]]
    return _ChunkedLoss.apply(hidden[0, chosen], head, targets[chosen], count, taught, weight)  # type: ignore[no-any-return,no-untyped-call]


class _ChunkedLoss(torch.autograd.Function):
    """A loss whose gradient is computed with it, so that no logits are kept.

    The last rows of `hidden` are those of `teacher`, in its order.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: Tensor,
        targets: Tensor,
        count: float,
        teacher: Tensor | None,
        teacher_weight: float,
    ) -> Tensor:
        device = hidden.device.type
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else hidden.dtype
        weight = head.to(dtype)
        need_hidden, need_head = ctx.needs_input_grad[:2]
        d_hidden = torch.empty_like(hidden) if need_hidden else None
        d_head: Tensor | None = None
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        with torch.autocast(device, enabled=False):
            for rows, states in _chunks(len(hidden), teacher):
                h = hidden[rows].to(dtype)
                log_p = _log_softmax(h @ weight.t())
                if states is None:
                    part, slope = _cross_entropy(log_p, targets[rows, None])
                else:
                    log_q = _log_softmax(states.to(dtype) @ weight.t())
                    part, slope = _divergence(log_p, log_q, teacher_weight)
                loss += part
                slope = slope.to(dtype)
                if d_hidden is not None:
                    d_hidden[rows] = slope @ weight
                if need_head:
                    d_head = _add_product(d_head, slope, h)
        if need_head and d_head is None:
            d_head = torch.zeros_like(head)
        ctx.gradients = (d_hidden, None if d_head is None else d_head.to(head.dtype))
        ctx.count = count
        return loss / count

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        # they are scaled where they lie, and let go: whoever adds them up need not copy them
        (d_hidden, d_head), ctx.gradients = ctx.gradients, None
        scale = upstream / ctx.count
        return (
            None if d_hidden is None else d_hidden.mul_(scale),
            None if d_head is None else d_head.mul_(scale),
            *[None] * 4,
        )


def _add_product(total: Tensor | None, slope: Tensor, hidden: Tensor) -> Tensor:
    """Add a chunk's share of the head's gradient to the total, which is in float32."""
    if total is None:
        return (slope.t() @ hidden).float()
    if slope.dtype == total.dtype:
        return total.addmm_(slope.t(), hidden)
    return total.add_(slope.t() @ hidden)


def _chunks(total: int, teacher: Tensor | None) -> Iterator[tuple[slice, Tensor | None]]:
    alone = total if teacher is None else total - len(teacher)
    for start in range(0, alone, CHUNK):
        yield slice(start, min(start + CHUNK, alone)), None
    if teacher is not None:
        for states in torch.split(teacher, CHUNK):
            yield slice(alone, alone + len(states)), states
            alone += len(states)


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.float().log_softmax(-1)


def _cross_entropy(log_p: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed loss and its gradient at the logits; `log_p` is used up."""
    loss = -log_p.gather(1, targets).sum()
    minus_one = torch.full_like(targets, -1.0, dtype=log_p.dtype)
    return loss, log_p.exp_().scatter_add_(1, targets, minus_one)


def _divergence(log_p: Tensor, log_q: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """Return weight * the summed KL(q || p) and its gradient at p's logits; both are used up."""
    q = log_q.exp()
    loss = (log_q.sub_(log_p).mul_(q)).sum()
    return loss * weight, log_p.exp_().sub_(q).mul_(weight)
