"""Lay a batch of chats end to end in one row: no padding, and no chat sees another.

Chats often begin alike (the same system message). The beginning that most of them have in common
is laid down once and seen by all of those, which changes nothing in the numbers: a token's hidden
state depends only on what stands before it in its own chat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any  # a collator's batches are untyped in transformers

Row = dict[str, list[int]]  # a tokenised chat
IGNORED = -100
NOBODY = -1  # in a further column: a token that has nothing there
SHORTEST_PREFIX = 8
WHOLE = ("input_ids", "states")  # columns of every token, also of the first; others are of labels


@dataclass(frozen=True)
class Arrangement:
    """Which chats of a row share their first `length` tokens, and which stand for themselves."""

    sharing: list[Row]
    rest: list[Row]
    length: int

    def chats(self) -> Iterator[tuple[Row, int]]:
        """Yield the chats as they are laid, each with how many of its tokens are laid already."""
        yield from ((chat, self.length) for chat in self.sharing)
        yield from ((chat, 0) for chat in self.rest)

    def places(self) -> Iterator[tuple[Row, list[int]]]:
        """Yield the chats as they are laid, each with where in the row its tokens stand."""
        end = self.length
        for chat, start in self.chats():
            begin, end = end, end + len(chat["input_ids"]) - start
            yield chat, [*range(start), *range(begin, end)]


def arrange(chats: Sequence[Row], *, share_prefix: bool) -> Arrangement:
    """Put the most chats that begin alike first."""
    return _largest_group(chats) if share_prefix else Arrangement([], list(chats), 0)


def pack(chats: Sequence[Row], *, share_prefix: bool) -> dict[str, Any]:
    """Return one row as tensors of shape (1, tokens), for the model and its attention.

    Each chat is {"input_ids": [...], "labels": [...]} with -100 at unsupervised tokens. Of further
    columns (see `hieno.train.readings`), `states` is laid out like the ids and others like the
    labels.
    `cu_seq_lens_q` (int32, segments + 1) marks the segments. With a shared beginning, the first
    segment is that beginning and the `sharing` segments after it continue it.
    """
    return lay(arrange(chats, share_prefix=share_prefix), for_our_attention=share_prefix)


def lay(arranged: Arrangement, *, for_our_attention: bool) -> dict[str, Any]:
    """Return the row of an arrangement; see `pack`."""
    import torch

    length = arranged.length
    columns: dict[str, list[int]] = {
        name: list(values[:length]) if name in WHOLE else [_nothing(name)] * length
        for name, values in (arranged.sharing or arranged.rest)[0].items()
    }
    positions: list[int] = list(range(length))
    ends = [0, length] if length else [0]
    for chat, start in arranged.chats():
        for name, column in columns.items():
            if name in WHOLE:
                column += chat[name][start:]
            else:
                # the token before it in the row is another chat's: nothing predicts the first one
                column += [_nothing(name), *chat[name][start + 1 :]]
        positions += range(start, len(chat["input_ids"]))
        ends.append(len(positions))
    bounds = torch.tensor(ends, dtype=torch.int32)
    longest = int(bounds.diff().max())
    return {
        **{name: torch.tensor([column]) for name, column in columns.items()},
        "position_ids": torch.tensor([positions]),
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": longest,
        "max_length_k": longest,
        **(_for_our_attention(bounds.diff().tolist(), arranged) if for_our_attention else {}),
    }


def passes(chats: Sequence[Row], *, most: int) -> list[list[Row]]:
    """Divide the chats of a step so that each pass holds at most `most` tokens.

    First-fit by decreasing length; a chat that is longer than that has a pass of its own.
    """
    made: list[list[Row]] = []
    room: list[int] = []
    for chat in sorted(chats, key=lambda chat: -len(chat["input_ids"])):
        length = len(chat["input_ids"])
        fitting = next((at for at, free in enumerate(room) if free >= length), None)
        if fitting is None:
            made.append([chat])
            room.append(most - length)
        else:
            made[fitting].append(chat)
            room[fitting] -= length
    return made


def share(chats: Sequence[Row], *, rank: int, of: int) -> list[Row]:
    """Return the chats of a step that one of several processes learns from.

    The longest go first, each to whom has the fewest tokens. Who is left without a chat gets one
    of which nothing is learnt, as all must take part in a step.
    """
    if of == 1:
        return list(chats)
    shares: list[list[Row]] = [[] for _ in range(of)]
    tokens = [0] * of
    for chat in sorted(chats, key=lambda chat: -len(chat["input_ids"])):
        least = tokens.index(min(tokens))
        shares[least].append(chat)
        tokens[least] += len(chat["input_ids"])
    return shares[rank] or [nothing_of(chats[0])]


def nothing_of(chat: Row) -> Row:
    """Return the beginning of a chat, of which nothing is learnt."""
    begun = {name: values[:SHORTEST_PREFIX] for name, values in chat.items()}
    return {
        name: begin if name in WHOLE else [_nothing(name)] * len(begin)
        for name, begin in begun.items()
    }


def common_prefix(chats: Sequence[Row]) -> int:
    """Return how many tokens all chats begin with, before any supervised one; 0 if too few."""
    if len(chats) < 2:
        return 0
    limit = min(_first_supervised(chat["labels"]) for chat in chats)
    first = chats[0]["input_ids"]
    shared = 0
    while shared < limit - 1 and all(c["input_ids"][shared] == first[shared] for c in chats):
        shared += 1
    return shared if shared >= SHORTEST_PREFIX else 0


def _largest_group(chats: Sequence[Row]) -> Arrangement:
    groups: dict[tuple[int, ...], list[Row]] = {}
    for chat in chats:
        groups.setdefault(tuple(chat["input_ids"][:SHORTEST_PREFIX]), []).append(chat)
    largest = max(groups.values(), key=len)
    length = common_prefix(largest)
    if not length:
        return Arrangement([], list(chats), 0)
    rest = [chat for group in groups.values() if group is not largest for chat in group]
    return Arrangement(largest, rest, length)


def _nothing(name: str) -> int:
    return IGNORED if name == "labels" else NOBODY


def _for_our_attention(lengths: list[int], arranged: Arrangement) -> dict[str, Any]:
    from hieno.train.attention import layout

    sharing = len(arranged.sharing)
    return {"sharing": sharing, "documents": layout(lengths, sharing)}


def _first_supervised(labels: Sequence[int]) -> int:
    return next((i for i, label in enumerate(labels) if label != IGNORED), len(labels))
