"""A dataset in numbers: what the report, `--json` and the manifest tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any  # Any: facts are JSON

from hieno.data.assembly import Assembled
from hieno.data.intake import Intake
from hieno.data.lengths import Length
from hieno.data.split import TEST, TRAIN
from hieno.train.memory import Shape
from hieno.train.operations import count_operations, seconds_here
from hieno.train.steps import count_steps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BARS = 20


def gather(
    intake: Intake,
    made: Assembled,
    *,
    replayed: Sequence[Length],
    shape: Shape,
    train: Mapping[str, Any],
    max_length: int,
    split: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the facts of a dataset.

    Every row that was read is counted once: as one to learn, held out, or set aside.
    """
    side, tokens = made.columns["side"], made.columns["tokens"]
    supervised, turns = made.columns["supervised"], made.columns["turns"]
    rejected = sum(made.rejected_by_code.values())
    learnt = side == TRAIN
    steps = count_steps(
        int(learnt.sum()) + len(replayed), batch_size=train["batch_size"], epochs=train["epochs"]
    )
    lengths = Length(
        sum((length.tokens for length in replayed), int(tokens[learnt].sum(dtype="int64"))),
        sum((length.supervised for length in replayed), int(supervised[learnt].sum(dtype="int64"))),
    )
    return {
        "source": intake.source,
        "split": split,
        "sources": intake.mappings,
        "read": made.read,
        "rows": {**made.rows, "replay": len(replayed), "rejected": rejected},
        "rejected_by_code": made.rejected_by_code,
        "near_pairs": made.near_pairs,
        "normalised": made.normalised,
        "found": made.found,
        **{
            f"{name}_tokens": _tokens(tokens[side == which], supervised[side == which])
            for name, which in (("train", TRAIN), ("test", TEST))
        },
        "lengths": _histogram(tokens, max_length),
        "turns": _turns(turns),
        "held_out_by_turns": _strata(side == TEST, turns),
        "packing": {"length": max_length, "filled": _packing(tokens[learnt], max_length)},
        "steps": {
            "per_epoch": steps.per_epoch,
            "batch_size": train["batch_size"],
            "epochs": train["epochs"],
            "total": steps.total,
        },
        "training": _training(lengths, shape, train),
    }


def _training(lengths: Length, shape: Shape, train: Mapping[str, Any]) -> dict[str, Any]:
    """Reckon what training will take, in operations and, on this machine, in seconds."""
    operations = train["epochs"] * count_operations(
        shape,
        method=train["method"],
        checkpointing=train["checkpointing"],
        tokens=lengths.tokens,
        supervised=lengths.supervised,
    )
    seconds = seconds_here(operations, dtype=train["dtype"])
    return {
        "method": train["method"],
        "operations": operations,
        "seconds": None if seconds is None else round(seconds, 1),
    }


def _tokens(lengths: NDArray[np.int32], supervised: NDArray[np.int32]) -> dict[str, Any]:
    import numpy as np

    total, learnt = int(lengths.sum(dtype=np.int64)), int(supervised.sum(dtype=np.int64))
    return {
        "total": total,
        "supervised": learnt,
        "share": round(learnt / total, 4) if total else None,
        "median": int(np.sort(lengths)[len(lengths) // 2]) if len(lengths) else 0,
        "longest": int(lengths.max()) if len(lengths) else 0,
    }


def _histogram(lengths: NDArray[np.int32], limit: int) -> list[tuple[int, int]]:
    """Return (upper edge in tokens, chats) in equal steps up to the longest chat."""
    import numpy as np

    top = min(limit, int(lengths.max()) if len(lengths) else 1)
    width = max(1, math.ceil(top / BARS))
    counts = np.bincount((lengths - 1) // width, minlength=1)
    return [(width * (place + 1), int(count)) for place, count in enumerate(counts)]


def _turns(turns: NDArray[np.int32]) -> dict[str, int]:
    return {label: int(chosen.sum()) for label, chosen in _by_turns(turns) if chosen.any()}


def _strata(held_out: NDArray[np.bool_], turns: NDArray[np.int32]) -> dict[str, float]:
    return {
        label: round(float(held_out[chosen].mean()), 4)
        for label, chosen in _by_turns(turns)
        if chosen.any()
    }


def _by_turns(turns: NDArray[np.int32]) -> list[tuple[str, NDArray[np.bool_]]]:
    return [
        ("1", turns == 1),
        ("2", turns == 2),
        ("3-5", (turns >= 3) & (turns <= 5)),
        ("6 and more", turns >= 6),
    ]


def _packing(lengths: NDArray[np.int32], limit: int) -> float | None:
    """Return the share of slots that hold tokens when the longest chats are packed first, tightly.

    Rows with equal room are counted, not listed, so that a million chats take no more memory.
    """
    import numpy as np

    room = np.zeros(limit + 1, dtype=np.int64)  # how many rows have so much room
    rows = 0
    counts = np.bincount(lengths, minlength=limit + 1)
    for length in np.flatnonzero(counts)[::-1].tolist():
        left = int(counts[length])
        for place in range(length, limit):
            each = place // length
            while left and room[place]:
                number = min(each, left)
                several = min(int(room[place]), left // number)
                room[place] -= several
                room[place - number * length] += several
                left -= several * number
            if not left:
                break
        each = limit // length
        full, rest = divmod(left, each)
        room[limit - each * length] += full
        rows += full
        if rest:
            room[limit - rest * length] += 1
            rows += 1
    return round(float(lengths.sum(dtype=np.int64)) / (rows * limit), 4) if rows else None
