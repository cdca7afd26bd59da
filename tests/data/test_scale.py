"""The result is the same for any number of workers and any interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from preparing import chat, different, plan_of, prepare, write

from hieno.data import batches, stage, workers
from hieno.files import tree_digests
from told import Told


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
    read = [(done, total) for done, total, unit in told.progressed if unit == "kB"]
    assert read[-1] == (source.stat().st_size / 1e3,) * 2


def test_tasks_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def tasks() -> Any:
        for number in range(100):
            taken.append(number)
            yield number

    results = workers.ordered(str, tasks(), setup=lambda: None, arguments=(), workers=1)
    assert next(results) == "0"
    assert len(taken) <= workers.FEW
