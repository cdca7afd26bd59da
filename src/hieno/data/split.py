"""Divide chats into train and test so that the same chat always falls on the same side."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from hieno.data.chats import Chat, Reject, aside


def split(chats: Sequence[Chat], *, test_size: float, seed: int) -> tuple[list[Chat], list[Chat]]:
    """Return (train, test): the share with the smallest seeded hashes is held out.

    At least one chat stays on each side wherever there are two.
    """
    held_out = round(len(chats) * test_size)
    held_out = min(max(held_out, 1), len(chats) - 1) if len(chats) > 1 else 0
    ordered = sorted(chats, key=lambda chat: _rank(chat, seed))
    chosen = {chat.digest for chat in ordered[:held_out]}
    train = [chat for chat in chats if chat.digest not in chosen]
    return train, [chat for chat in chats if chat.digest in chosen]


def without_repeats(
    rows: Iterable[Chat | Reject], held_out: Iterable[Chat] = ()
) -> Iterator[Chat | Reject]:
    """Pass rows on; a chat that was seen before, or is held out, becomes a reject."""
    test = {chat.digest: chat for chat in held_out}
    seen: dict[str, int] = {}
    for row in rows:
        if isinstance(row, Reject):
            yield row
        elif row.digest in test:
            twin = test[row.digest]
            yield aside(row, "in-test", f"the same chat is held out ({twin.source}:{twin.line})")
        elif row.digest in seen:
            yield aside(row, "duplicate", f"the same chat as in line {seen[row.digest]}")
        else:
            seen[row.digest] = row.line
            yield row


def _rank(chat: Chat, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{chat.digest}".encode()).hexdigest()
