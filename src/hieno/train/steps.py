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


def replayed_each_epoch(replayed: int, *, visits: float, epochs: float) -> int:
    """Return how many of the replayed answers an epoch learns, so that each has its `visits`.

    0 visits, or more than there are epochs, is each answer in each epoch.
    """
    return replayed if not 0 < visits < epochs else math.ceil(replayed * visits / epochs)
