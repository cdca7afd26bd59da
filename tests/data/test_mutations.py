"""Whatever is done to rows and files, nothing is raised and every row is accounted for."""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from preparing import Made, chat, different, prepare, write

from hieno.data.chats import HINTS

Make = Callable[[random.Random, Path, int], tuple[list[Path], int | None]]

ROWS = [
    chat("When do you open?", "At nine.", id="a", answers=["nine"]),
    chat("a", "b", "c\u00e4", "\u4f60\u597d"),
    {"messages": [{"role": "system", "content": "Be kind."}, *chat("x", "y")["messages"]]},
    {"prompt": "a", "completion": "b"},
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
]
ODD = [
    "",
    " ",
    "\x00",
    "\ud800",
    "<|im_end|>",
    None,
    1,
    -0.0,
    True,
    [],
    {},
    [[]],
    "x" * 3000,
    2**70,
]


def mutated(random_: random.Random) -> Any:
    """Return a valid row with up to three of its parts replaced, removed, doubled or renamed."""
    row: Any = copy.deepcopy(random_.choice(ROWS))
    for _ in range(random_.randint(0, 3)):
        place: Any = row
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = random_.choice(keys)
            if isinstance(place[key], dict | list) and random_.random() < 0.7:
                place = place[key]
                continue
            action = random_.randrange(4)
            if action == 0:
                place[key] = copy.deepcopy(random_.choice(ODD))
            elif action == 1:
                del place[key]
            elif isinstance(place, list):
                place.insert(key, copy.deepcopy(place[key]))
            else:
                name = random_.choice(["role", "content", "messages", "weight", "x"])
                place[name] = copy.deepcopy(place[key])
            break
    return row


def damaged(random_: random.Random, raw: bytes, times: int) -> bytes:
    """Return bytes with some of them changed, removed or put in."""
    changed = bytearray(raw)
    for _ in range(times):
        place = random_.randrange(len(changed) + 1)
        kind = random_.randrange(3)
        if kind == 0:
            changed[place:place] = bytes([random_.randrange(256)])
        elif kind == 1 and place < len(changed):
            changed[place] = random_.randrange(256)
        else:
            del changed[place : place + random_.randint(1, 5)]
    return bytes(changed)


def rows_of(random_: random.Random, folder: Path, count: int) -> tuple[list[Path], int | None]:
    """Write mutated rows as JSONL; return the file and how many rows it has."""
    rows = (json.dumps(mutated(random_)).encode() for _ in range(count))
    times = [0, 0, 0, 1, 3]
    lines = [damaged(random_, row, random_.choice(times)).replace(b"\n", b" ") for row in rows]
    path = write(folder / "m.jsonl", lines)
    return [path], sum(1 for line in lines if line.strip())


def files_of(random_: random.Random, folder: Path, count: int) -> tuple[list[Path], int | None]:
    """Write mutated files of every kind; how many rows are left in them, nobody knows."""
    paths = []
    for number in range(count):
        suffix, whole = random_.choice(WHOLE)
        path = folder / f"{number:04}{suffix}"
        path.write_bytes(damaged(random_, whole(), random_.choice([1, 1, 2, 20])))
        paths.append(path)
    return paths, None


def _csv() -> bytes:
    return b"prompt,completion\n" + b"".join(b'"q, %d",a\n' % number for number in range(20))


def _jsonl() -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in PAIRS)


def _zstd() -> bytes:
    import pyarrow as pa

    return bytes(pa.Codec("zstd").compress(_jsonl(), asbytes=True))


def _parquet() -> bytes:
    import io

    import pyarrow as pa
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(PAIRS), out)
    return out.getvalue()


PAIRS = [{"prompt": f"q{number}", "completion": f"a{number}"} for number in range(20)]
WHOLE: list[tuple[str, Callable[[], bytes]]] = [
    (".json", lambda: json.dumps(PAIRS, indent=1).encode()),
    (".csv", _csv),
    (".csv.gz", lambda: gzip.compress(_csv())),
    (".jsonl", _jsonl),
    (".jsonl", lambda: json.dumps(PAIRS, indent=1).encode()),
    (".jsonl.zst", _zstd),
    (".jsonl", lambda: _jsonl().decode().encode("utf-16")),
    (".parquet", _parquet),
]


def account_for(make: Make, model: Path, folder: Path, random_: random.Random, count: int) -> Made:
    """Prepare what was mutated beside one good row, and count every row again."""
    sources, rows = make(random_, folder, count)
    good = write(folder / "good.jsonl", different(1))
    name = f"m{random_.getrandbits(60)}"
    made = prepare(model, folder, [good, *sources], name=name, workers=1)
    counts = made.facts["rows"]
    assert made.facts["read"] == counts["train"] + counts["test"] + counts["rejected"]
    assert rows is None or made.facts["read"] == rows + 1
    for side in ("train", "test", "rejected"):
        assert len(made.rows(side)) == counts[side]
    assert sum(made.facts["rejected_by_code"].values()) == counts["rejected"]
    for reject in made.rows("rejected"):
        assert reject["line"] >= 1
        assert reject["problem"]
        assert reject["fix"] == HINTS[reject["code"]]
    return made


CAMPAIGN = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


@pytest.mark.parametrize(("make", "count"), [(rows_of, 360), (files_of, 40)])
@settings(max_examples=5, derandomize=True, **CAMPAIGN)
@given(st.randoms(use_true_random=False))
def test_two_thousand_mutations_are_accounted_for(
    tiny_model: Path, tmp_path: Path, make: Make, count: int, random_: random.Random
) -> None:
    account_for(make, tiny_model, tmp_path, random_, count)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "count"), [(rows_of, 1800), (files_of, 200)])
@settings(max_examples=50, **CAMPAIGN)
@given(st.randoms(use_true_random=True))
def test_a_hundred_thousand_mutations_are_accounted_for(
    tiny_model: Path, tmp_path: Path, make: Make, count: int, random_: random.Random
) -> None:
    account_for(make, tiny_model, tmp_path, random_, count)
