"""Divide chats into what is learnt and what is held out, with nothing alike on both sides.

In this order: no group of near-duplicates stands on both sides; a chat that was held out in the
dataset before stays held out; the share is met.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hieno.data.likeness import near_pairs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRAIN, TEST, ASIDE = 0, 1, 2
NEW = -1  # a chat that the dataset before did not hold
REASONS = ("", "near-duplicate", "near-test", "bridge")


@dataclass(frozen=True)
class Division:
    """Where each chat goes; for those aside the reason (`REASONS`) and the chat they are near."""

    side: NDArray[np.int8]
    reason: NDArray[np.int8]
    near: NDArray[np.int64]
    pairs: int


def repeats(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return for each digest (n, 2) the first place at which it stands."""
    import numpy as np

    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: the first of equals comes first
    ordered = digests[order]
    begins = np.ones(len(ordered), dtype=bool)
    begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = np.empty(len(digests), dtype=np.int64)
    first[order] = order[begins][np.cumsum(begins) - 1] if len(order) else order
    return first


def divide(
    digests: NDArray[np.uint64],
    signatures: NDArray[np.uint32],
    *,
    held_out: NDArray[np.bool_],
    before: NDArray[np.int8],
    test_size: float,
    seed: int,
    similarity: float,
    keep_near: bool,
) -> Division:
    """Divide different chats.

    `held_out` marks those of the user's own held-out file: with any, no other is held out.
    `before` is the side of each in the dataset before (`TRAIN`, `TEST` or `NEW`).
    """
    import numpy as np

    count = len(digests)
    own = bool(held_out.any())
    side = np.full(count, NEW, dtype=np.int8) if own else before.copy()
    side[held_out] = TEST
    reason = np.zeros(count, dtype=np.int8)
    near = np.full(count, -1, dtype=np.int64)
    pairs = near_pairs(signatures, similarity)
    ranks = _ranks(digests[:, 0], seed)

    def aside(member: int, code: str, twin: int) -> None:
        side[member], reason[member], near[member] = ASIDE, REASONS.index(code), twin

    alone: list[list[int]] = []
    for group in _groups(pairs):
        known = {place: int(side[place]) for place in group if side[place] != NEW}
        if own:
            for member in (m for m in group if not held_out[m] and known):
                aside(member, "near-test", next(iter(known)))
            if known:
                continue
        newcomers = [member for member in group if member not in known]
        for member, twin in _bridges(group, pairs, known).items():
            aside(member, "bridge", twin)
            newcomers.remove(member)
        if not keep_near:
            leader = next(iter(known), newcomers[0] if newcomers else -1)
            for member in newcomers:
                if member != leader:
                    aside(member, "near-duplicate", leader)
        elif newcomers and not own:
            alone += _join(newcomers, pairs, known, side)
    _hold_out(alone, side, ranks, test_size)
    _fill(side, ranks, 0.0 if own else test_size)
    return Division(side, reason, near, len(pairs))


def _ranks(digests: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Mix each digest with the seed (the finaliser of SplitMix64)."""
    import numpy as np

    mixed = digests + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)


def _groups(pairs: Iterable[NDArray[np.int64]]) -> list[list[int]]:
    """Return the connected groups of at least two, their members in order."""
    parent: dict[int, int] = {}

    def root(place: int) -> int:
        while (above := parent.setdefault(place, place)) != place:
            parent[place] = parent[above]
            place = above
        return place

    for first, second in pairs:
        low, high = sorted((root(int(first)), root(int(second))))
        parent[high] = low
    groups: dict[int, list[int]] = defaultdict(list)
    for place in sorted(parent):
        groups[root(place)].append(place)
    return list(groups.values())


def _bridges(group: list[int], pairs: NDArray[np.int64], known: dict[int, int]) -> dict[int, int]:
    """Return the newcomers that join both sides, each with a held-out chat that it is near.

    Those that touch both sides go; where others still form a path between the sides, all of the
    path's group go.
    """
    import numpy as np

    if len(set(known.values())) < 2:
        return {}
    within = pairs[np.isin(pairs, group).all(axis=1)]
    sides: dict[int, dict[int, int]] = defaultdict(dict)
    for one, other in within.tolist():
        for newcomer, neighbour in ((one, other), (other, one)):
            if newcomer not in known and neighbour in known:
                sides[newcomer].setdefault(known[neighbour], neighbour)
    bridges = {member: found[TEST] for member, found in sides.items() if len(found) == 2}
    rest = [pair for pair in within if not any(int(place) in bridges for place in pair)]
    for part in _groups(rest):
        if len({known[place] for place in part if place in known}) == 2:
            held = next(place for place in part if known.get(place) == TEST)
            bridges |= {place: held for place in part if place not in known}
    return bridges


def _join(
    newcomers: list[int],
    pairs: NDArray[np.int64],
    known: dict[int, int],
    side: NDArray[np.int8],
) -> list[list[int]]:
    """Put newcomers where those stand whom they are near; return those that are near none."""
    import numpy as np

    members = {*newcomers, *known}
    parts = _groups(pairs[np.isin(pairs, list(members)).all(axis=1)])
    single = members.difference(*parts)
    apart = []
    for part in (*parts, *([place] for place in sorted(single))):
        sides = {known[place] for place in part if place in known}
        if not sides:
            apart.append(part)
        for place in part:
            if sides and place not in known:
                side[place] = min(sides)
    return apart


def _hold_out(
    groups: list[list[int]], side: NDArray[np.int8], ranks: NDArray[np.uint64], test_size: float
) -> None:
    """Hold out whole groups, those with the smallest hashes first, as far as the share goes."""
    wanted = test_size * sum(map(len, groups))
    held = 0
    for group in sorted(groups, key=lambda group: min(int(ranks[place]) for place in group)):
        fits = held + len(group) <= wanted
        held += len(group) * fits
        side[group] = TEST if fits else TRAIN


def _fill(side: NDArray[np.int8], ranks: NDArray[np.uint64], test_size: float) -> None:
    """Hold out the chats with the smallest hashes until the share is met; the rest is learnt."""
    import numpy as np

    kept = int((side != ASIDE).sum())
    wanted = round(kept * test_size)
    if test_size and kept > 1:
        wanted = min(max(wanted, 1), kept - 1)
    elif kept == 1:
        wanted = 0
    free = np.flatnonzero(side == NEW)
    missing = max(0, wanted - int((side == TEST).sum()))
    side[free] = TRAIN
    side[free[np.argsort(ranks[free], kind="stable")][:missing]] = TEST
