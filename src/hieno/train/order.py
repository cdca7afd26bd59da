"""In which order a run learns: every chat once an epoch, and replayed answers as often as wanted.

The order follows from the seed and the number of the epoch alone, so that a run which goes on
after an interruption, and every process of several, finds the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class Order(Sampler[int]):
    """The numbers of an epoch's rows: of `chats` all, of the `replayed` behind them `each_epoch`.

    Replayed ones take turns; over the epochs none is learnt twice before all were learnt once.
    """

    def __init__(self, chats: int, replayed: int, *, each_epoch: int, seed: int) -> None:
        self._chats, self._replayed, self._each_epoch = chats, replayed, each_epoch
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch; the loader calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._chats + self._each_epoch

    def __iter__(self) -> Iterator[int]:
        turns = _shuffled(self._replayed, seed=self._seed, epoch=-1)
        first = self._epoch * self._each_epoch
        replayed = [
            self._chats + turns[number % self._replayed]
            for number in range(first, first + self._each_epoch)
        ]
        rows = [*range(self._chats), *replayed]
        places = _shuffled(len(rows), seed=self._seed, epoch=self._epoch)
        return iter([rows[place] for place in places])


def _shuffled(count: int, *, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed((seed << 20) + epoch + 1)
    return [int(place) for place in torch.randperm(count, generator=generator)]
