"""Lay a batch of chats end to end in one row: no padding, and no chat sees another.

Chats often begin alike (the same system message). The beginning that most of them have in common
is laid down once and seen by all of those, which changes nothing in the numbers: a token's hidden
state depends only on what stands before it in its own chat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any  # a collator's batches are untyped in transformers

Row = dict[str, list[int]]  # a tokenised chat
IGNORED = -100
NOBODY = -1  # in a further column: a token that has nothing there
SHORTEST_PREFIX = 8


def pack(chats: Sequence[Row], *, share_prefix: bool) -> dict[str, Any]:
    """Return one row as tensors of shape (1, tokens), for the model and its attention.

    Each chat is {"input_ids": [...], "labels": [...]} with -100 at unsupervised tokens; a further
    column (such as that of `hieno.train.teacher`) is laid out like the labels.
    `cu_seq_lens_q` (int32, segments + 1) marks the segments. With a shared beginning, the first
    segment is that beginning and the `sharing` segments after it continue it.
    """
    import torch

    sharing, rest, length = _largest_group(chats) if share_prefix else ([], list(chats), 0)
    ids: list[int] = list(sharing[0]["input_ids"][:length]) if sharing else []
    labels: list[int] = [IGNORED] * length
    further = {name: [NOBODY] * length for name in chats[0] if name not in ("input_ids", "labels")}
    positions: list[int] = list(range(length))
    ends = [0, length] if length else [0]
    for chat, start in [*((c, length) for c in sharing), *((c, 0) for c in rest)]:
        ids += chat["input_ids"][start:]
        # the token before it in the row is another chat's, so nothing predicts the first one
        labels += [IGNORED, *chat["labels"][start + 1 :]]
        for name, column in further.items():
            column += [NOBODY, *chat[name][start + 1 :]]
        positions += range(start, len(chat["input_ids"]))
        ends.append(len(ids))
    bounds = torch.tensor(ends, dtype=torch.int32)
    longest = int(bounds.diff().max())
    return {
        "input_ids": torch.tensor([ids]),
        "labels": torch.tensor([labels]),
        "position_ids": torch.tensor([positions]),
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": longest,
        "max_length_k": longest,
        **{name: torch.tensor([column]) for name, column in further.items()},
        **(_for_our_attention(bounds.diff().tolist(), len(sharing)) if share_prefix else {}),
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
    if shares[rank]:
        return shares[rank]
    nothing = {"labels": IGNORED, "teacher": NOBODY}
    return [
        {
            name: [nothing[name]] * len(values) if name in nothing else values[:SHORTEST_PREFIX]
            for name, values in chats[0].items()
        }
    ]


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


def _largest_group(chats: Sequence[Row]) -> tuple[list[Row], list[Row], int]:
    """Return the most chats that begin alike, the others, and the length of that beginning."""
    groups: dict[tuple[int, ...], list[Row]] = {}
    for chat in chats:
        groups.setdefault(tuple(chat["input_ids"][:SHORTEST_PREFIX]), []).append(chat)
    largest = max(groups.values(), key=len)
    length = common_prefix(largest)
    if not length:
        return [], list(chats), 0
    rest = [chat for group in groups.values() if group is not largest for chat in group]
    return largest, rest, length


def _for_our_attention(lengths: list[int], sharing: int) -> dict[str, Any]:
    from hieno.train.attention import layout

    return {"sharing": sharing, "documents": layout(lengths, sharing)}


def _first_supervised(labels: Sequence[int]) -> int:
    return next((i for i, label in enumerate(labels) if label != IGNORED), len(labels))
