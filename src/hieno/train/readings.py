"""What is read of the base once, before the first step, and looked up in every epoch.

`states` is what the frozen layers make of each token: below the lowest adapter nothing changes
while a model is trained, so no epoch needs to compute it again. `teacher` is the base's last state
before each replayed token (see `hieno.train.teacher`). Both are tables with one vector for each
token, and rows have a column of the same name that points into them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any  # models are untyped in transformers

import torch
from torch import Tensor

from hieno.train.model import causal, layers_of, on_device, products, stack_of
from hieno.train.packing import Row, arrange, lay, passes

COLUMNS = ("states", "teacher")


@dataclass(frozen=True)
class Readings:
    """Tables of shape (tokens, width), where there are any.

    `layers` is how many layers the states have been through, `weight` how much it counts to be
    where the teacher is.
    """

    teacher: Tensor | None = None
    weight: float = 1.0
    states: Tensor | None = None
    layers: int = 0

    def on(self, device: torch.device) -> Readings:
        """Return the same with the tables on a device."""
        teacher, states = (t if t is None else t.to(device) for t in (self.teacher, self.states))
        return replace(self, teacher=teacher, states=states)

    def taught(self, row: dict[str, Any]) -> Tensor | None:
        """Return the teacher's states for a packed row, zeros where it has none."""
        return (
            None if self.teacher is None or "teacher" not in row else self.teacher[row["teacher"]]
        )

    @contextmanager
    def entered(self, model: Any, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Give what a model is called with for a packed row: its ids, or the states that it made of
        them, and then the model begins at the layer above.
        """
        inputs = {n: value for n, value in row.items() if n not in ("labels", *COLUMNS)}
        if self.states is None or "states" not in row:
            yield inputs
            return
        del inputs["input_ids"]
        with layers_of(model, slice(self.layers, None)):
            yield {"inputs_embeds": self.states[row["states"]], **inputs}


def can_begin_above(model: Any, layers: int) -> bool:
    """Tell whether what lies below is a stack of layers in which chance has no part."""
    stack = stack_of(model)
    if not 0 < layers < len(stack):
        return False
    dropouts = (m for m in stack[:layers].modules() if isinstance(m, torch.nn.Dropout))
    return not any(dropout.p for dropout in dropouts) and not getattr(
        causal(model).config, "attention_dropout", 0
    )


def read_states(
    model: Any, rows: Sequence[Row], layers: int, *, dtype: str, most: int, share_prefix: bool
) -> tuple[list[Row], Tensor]:
    """Return rows with a column `states`, and the table that it points into.

    A beginning that chats share is in it once for each pass that reads it; a pass reads at most
    `most` tokens.
    """
    table: list[Tensor] = []
    pointers: dict[int, list[int]] = {}
    model.eval()
    read = 0
    with torch.no_grad(), products(model, dtype), layers_of(model, slice(layers)) as below:
        for chats in passes(rows, most=most):
            arranged = arrange(chats, share_prefix=share_prefix)
            laid = on_device(lay(arranged, for_our_attention=share_prefix), model)
            del laid["labels"]
            table.append(_out_of(below[-1], model, laid))
            for chat, places in arranged.places():
                pointers[id(chat)] = [read + place for place in places]
            read += len(table[-1])
    return [{**row, "states": pointers[id(row)]} for row in rows], torch.cat(table)


def _out_of(layer: torch.nn.Module, model: Any, row: dict[str, Any]) -> Tensor:
    """Return what comes out of a layer, (tokens, width), before any norm behind it."""
    found: list[Tensor] = []
    hook = layer.register_forward_hook(
        lambda _, __, out: found.append(out if isinstance(out, Tensor) else out[0])
    )
    try:
        causal(model).get_decoder()(**row, use_cache=False)
    finally:
        hook.remove()
    return found[0][0]
