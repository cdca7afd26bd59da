"""The base model as the teacher of its own replayed answers.

Learning one's own most likely words makes a model surer of them, and that moves it: a replayed
answer holds old knowledge in place best when what is kept is the whole distribution behind each
of its words. The base's last hidden states say that distribution (the output head is not tuned)
and take little room: one vector for each replayed token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any  # models are untyped in transformers

import torch
from torch import Tensor

from hieno.train.model import last_hidden, on_device, products, untuned
from hieno.train.packing import IGNORED, NOBODY, Row, pack, passes
from hieno.train.readings import Readings


def with_teacher(
    model: Any,
    rows: Sequence[Row],
    replayed: Sequence[Row],
    *,
    dtype: str,
    most: int,
    readings: Readings | None = None,
) -> tuple[list[Row], Tensor]:
    """Return all rows with a column `teacher`, and the table that it points into.

    The table has shape (supervised tokens of `replayed` + 1, width), in the type of the products.
    An adapter is switched off for the reading; a model that is tuned whole must still be the
    base. A pass reads at most `most` tokens.
    """
    states: list[Tensor] = []
    taught: list[Row] = []
    known = 0
    model.eval()
    with torch.no_grad(), untuned(model), products(model, dtype):
        for chats in passes(replayed, most=most):
            row = on_device(pack(chats, share_prefix=False), model)
            supervised = row.pop("labels")[0, 1:] != IGNORED
            with (readings or Readings()).entered(model, row) as inputs:
                states.append(last_hidden(model, inputs)[0, :-1][supervised])
            for chat in chats:
                pointers = [NOBODY]  # nothing predicts the first token
                for label in chat["labels"][1:]:
                    pointers.append(NOBODY if label == IGNORED else known)
                    known += label != IGNORED
                taught.append({**chat, "teacher": pointers})
    table = torch.cat([*states, torch.zeros_like(states[0][:1])])
    return [*({**row, "teacher": [NOBODY] * len(row["labels"])} for row in rows), *taught], table
