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

from hieno.train.packing import IGNORED, NOBODY, Row, pack


def with_teacher(
    model: Any, rows: Sequence[Row], replayed: Sequence[Row], *, at_once: int
) -> tuple[list[Row], Tensor]:
    """Return all rows with a column `teacher`, and the table that it points into.

    The table has shape (supervised tokens of `replayed` + 1, width). `model` is a PEFT model; its
    adapter is switched off for the reading. `at_once` chats are read in one pass.
    """
    states: list[Tensor] = []
    taught: list[Row] = []
    known = 0
    causal = model.get_base_model()
    model.eval()
    with torch.no_grad(), model.disable_adapter():
        for start in range(0, len(replayed), at_once):
            batch = pack(replayed[start : start + at_once], share_prefix=False)
            labels = batch.pop("labels")[0, 1:]
            inputs = {
                name: value.to(causal.device) if isinstance(value, Tensor) else value
                for name, value in batch.items()
            }
            hidden = causal.model(**inputs, use_cache=False).last_hidden_state[0, :-1]
            states.append(hidden[(labels != IGNORED).to(hidden.device)])
    for row in replayed:
        pointers = [NOBODY] * len(row["labels"])
        for position, label in enumerate(row["labels"]):
            if position and label != IGNORED:
                pointers[position] = known
                known += 1
        taught.append({**row, "teacher": pointers})
    nobody = torch.zeros_like(states[0][:1])
    table = torch.cat([*states, nobody])
    return [*({**row, "teacher": [NOBODY] * len(row["labels"])} for row in rows), *taught], table
