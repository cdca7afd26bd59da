"""How many optimiser steps a run has, counted as the trainer counts them."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Steps:
    """Steps of one pass over the chats, and of the whole run."""

    per_epoch: int
    total: int


def count_steps(chats: int, *, batch_size: int, epochs: float) -> Steps:
    """Return the steps of a run over so many chats; the last batch of an epoch may be smaller."""
    per_epoch = math.ceil(chats / batch_size)
    return Steps(per_epoch, math.ceil(per_epoch * epochs))
