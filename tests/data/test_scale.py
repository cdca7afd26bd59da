"""The result is the same for any number of workers and any interruption."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from preparing import Told, chat, different, plan_of, prepare, write

from hieno.data import batches, stage, workers
from hieno.files import read_jsonl, tree_digests


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    from hieno.data import intake

    monkeypatch.setattr(intake, "MOST_ROWS", 10)


@pytest.mark.usefixtures("small_batches")
def test_any_number_of_workers_makes_the_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    rows = [*different(150), *different(10), "{", chat("x")]
    source = write(tmp_path / "a.jsonl", rows)
    alone = prepare(tiny_model, tmp_path, source, name="one", workers=1)
    shared = prepare(tiny_model, tmp_path, source, name="two", workers=2)
    assert tree_digests(alone.folder) == tree_digests(shared.folder)


@pytest.mark.usefixtures("small_batches")
def test_an_interrupted_preparation_goes_on_where_it_was(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "a.jsonl", different(60))
    whole = prepare(tiny_model, tmp_path, source, name="whole")
    plan = plan_of(tiny_model, tmp_path, source, name="cut")
    prepared: list[int] = []
    original = batches.prepare

    def interrupted(batch: batches.Batch) -> Any:
        if len(prepared) == 3:
            raise KeyboardInterrupt
        prepared.append(batch.number)
        return original(batch)

    monkeypatch.setattr(batches, "prepare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage.run(plan, Told())
    assert not Path(plan.output).exists()
    again: list[int] = []
    monkeypatch.setattr(batches, "prepare", lambda b: (again.append(b.number), original(b))[1])
    told = Told()
    stage.run(plan, told)
    assert (prepared, again) == ([0, 1, 2], [3, 4, 5])
    assert tree_digests(Path(plan.output)) == tree_digests(whole.folder)
    read = [(done, total) for done, total, unit in told.progressed if unit == "MB"]
    assert read[-1] == (source.stat().st_size / 1e6,) * 2


def test_tasks_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def tasks() -> Any:
        for number in range(100):
            taken.append(number)
            yield number

    results = workers.ordered(str, tasks(), setup=lambda: None, arguments=(), workers=1)
    assert next(results) == "0"
    assert len(taken) <= workers.FEW


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
    import copy

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
                place[key] = random_.choice(ODD)
            elif action == 1:
                del place[key]
            elif isinstance(place, list):
                place.insert(key, copy.deepcopy(place[key]))
            else:
                place[random_.choice(["role", "content", "messages", "weight", "x"])] = place[key]
            break
    return row


def damaged(random_: random.Random, raw: bytes) -> bytes:
    """Return bytes with some of them changed, removed or put in."""
    changed = bytearray(raw)
    for _ in range(random_.choice([0, 0, 0, 1, 3])):
        place = random_.randrange(len(changed) + 1)
        kind = random_.randrange(3)
        if kind == 0:
            changed[place:place] = bytes([random_.randrange(256)])
        elif kind == 1 and place < len(changed):
            changed[place] = random_.randrange(256)
        else:
            del changed[place : place + random_.randint(1, 5)]
    return bytes(changed).replace(b"\n", b" ")


def account_for(model: Path, folder: Path, random_: random.Random, count: int) -> None:
    """Prepare mutated rows; every one must be kept or set aside, and nothing may be raised."""
    import json

    lines = [damaged(random_, json.dumps(mutated(random_)).encode()) for _ in range(count)]
    source = write(folder / "m.jsonl", [*different(1), *lines])
    made = prepare(model, folder, source, name=f"m{random_.getrandbits(60)}")
    rows = sum(1 for line in lines if line.strip()) + 1
    counts = made.facts["rows"]
    assert made.facts["read"] == rows == counts["train"] + counts["test"] + counts["rejected"]
    assert len(made.rows("rejected")) == counts["rejected"]
    assert len(list(read_jsonl(made.folder / "train.jsonl"))) == counts["train"]


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.randoms(use_true_random=False))
def test_mutated_rows_are_all_accounted_for(
    tiny_model: Path, tmp_path: Path, random_: random.Random
) -> None:
    account_for(tiny_model, tmp_path, random_, 200)


@pytest.mark.slow
@settings(
    max_examples=50,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.randoms(use_true_random=True))
def test_a_hundred_thousand_mutations_are_all_accounted_for(
    tiny_model: Path, tmp_path: Path, random_: random.Random
) -> None:
    account_for(tiny_model, tmp_path, random_, 2000)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.randoms(use_true_random=False), st.sampled_from([".json", ".csv", ".csv.gz", ".parquet"]))
def test_mutated_files_of_every_kind_are_read_to_the_end(
    tmp_path: Path, random_: random.Random, suffix: str
) -> None:
    import gzip
    import json

    import pyarrow as pa
    from pyarrow import parquet

    from hieno.data.sources import read_file

    pairs = [{"prompt": f"q{i}", "completion": f"a{i}"} for i in range(20)]
    path = tmp_path / f"f{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(pairs), path)
        raw = path.read_bytes()
    elif suffix == ".json":
        raw = json.dumps(pairs, indent=1).encode()
    else:
        raw = b"prompt,completion\n" + b"".join(b"q,a\n" for _ in pairs)
        raw = gzip.compress(raw) if suffix.endswith("gz") else raw
    path.write_bytes(damaged(random_, raw))
    for record in read_file(path):
        assert record.line >= 1
        assert record.code or record.value is not None or record.raw is not None
